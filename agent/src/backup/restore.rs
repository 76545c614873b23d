//! Restoring beside the present database: a backup of ours, or a file of the operator's. Nothing takes the database's
//! name here.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use config::settings::PgName;
use tokio::io::BufReader;

use super::archive::Archive;
use super::deadline::{CLEAN, Deadline};
use super::digest::{self, Feed};
use super::manifest::Manifest;
use super::sink::MAGIC;
use super::store::disk;
use super::tools::{Run, Tools};
use super::verify::compare;
use super::{BackupError, Dump, Format, Progress, Restored, Source, Stage, Tell, versions};
use crate::database::{Census, CopyKind, restored_name};

/// So much of a file of SQL is read at once.
const PIECE: usize = 64 * 1024;
/// So much of its beginning says what it is.
const HEAD: u64 = 512;

/// What is read, and how.
pub(super) struct Reading<'a> {
    pub(super) path: &'a Path,
    pub(super) bytes: u64,
    pub(super) format: Format,
    pub(super) tell: Tell<'a>,
}

impl Archive {
    pub(super) async fn restore_one(
        &self,
        source: Source<'_>,
        dump: Dump<'_>,
        operation: u64,
        tell: Tell<'_>,
        within: Duration,
    ) -> Result<Restored, BackupError> {
        let deadline = Deadline::new("the restore", within);
        let _turn = self.turn(source.stack, deadline).await?;
        let database = restored_name(&source.place.database()?, operation);
        let manifest = match dump {
            Dump::Backup(id) => Some(self.store.get(source.stack, id)?),
            Dump::File(_) => None,
        };
        let found = if self.is_restored(source, &database, deadline).await? {
            self.look_again(source, &database, deadline).await?
        } else {
            let restored = self
                .restore_into(
                    source,
                    dump,
                    manifest.as_ref(),
                    &database,
                    operation,
                    deadline,
                    tell,
                )
                .await;
            if restored.is_err()
                && let Err(error) = self.server.drop_scratch(source.place, &database, CLEAN).await
            {
                tracing::warn!(stack = %source.stack, %database, %error, "a database of ours is left");
            }
            restored?
        };
        Ok(Restored {
            database,
            tables: found.tables.len() as u64,
            rows: found.tables.values().sum(),
            head: found.head,
        })
    }

    async fn is_restored(
        &self,
        source: Source<'_>,
        database: &PgName,
        deadline: Deadline,
    ) -> Result<bool, BackupError> {
        let there = self.server.copies(source.place, deadline.left()?).await?;
        Ok(there
            .iter()
            .any(|found| found.name == *database && found.kind == Some(CopyKind::Restored)))
    }

    /// What an earlier call restored.
    async fn look_again(
        &self,
        source: Source<'_>,
        database: &PgName,
        deadline: Deadline,
    ) -> Result<Census, BackupError> {
        self.server
            .open_copy(source.place, database, deadline.left()?)
            .await?;
        let census = self.server.census(source.place, database, deadline.left()?).await;
        self.server.close_copy(source.place, database, CLEAN).await?;
        Ok(census?)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one call, split in two to clean up between"
    )]
    async fn restore_into(
        &self,
        source: Source<'_>,
        dump: Dump<'_>,
        manifest: Option<&Manifest>,
        database: &PgName,
        operation: u64,
        deadline: Deadline,
        tell: Tell<'_>,
    ) -> Result<Census, BackupError> {
        let path = match dump {
            Dump::Backup(id) => self.store.dump(source.stack, id),
            Dump::File(path) => path.to_path_buf(),
        };
        let (bytes, format) = if let Some(manifest) = manifest {
            digest::check(path.clone(), manifest, deadline, tell).await?;
            (manifest.bytes, manifest.format)
        } else {
            look_at(&path)?
        };
        self.server
            .make_scratch(source.place, database, operation, deadline.left()?)
            .await?;
        let reading = Reading {
            path: &path,
            bytes,
            format,
            tell,
        };
        let made_by = manifest.and_then(|manifest| versions::major(&manifest.made_by));
        let found = self.fill(source, &reading, database, made_by, deadline).await?;
        if let Some(manifest) = manifest {
            compare(manifest, &found)?;
        }
        self.server
            .keep_restored(source.place, database, operation, deadline.left()?)
            .await?;
        Ok(found)
    }

    /// Restores a dump into an empty database, and counts what is in there then. `made_by`: the version that made it.
    pub(super) async fn fill(
        &self,
        source: Source<'_>,
        reading: &Reading<'_>,
        into: &PgName,
        made_by: Option<u32>,
        deadline: Deadline,
    ) -> Result<Census, BackupError> {
        let mut feed = Feed::open(reading.path, reading.bytes, reading.tell).await?;
        match reading.format {
            Format::Plain => {
                let mut script = BufReader::with_capacity(PIECE, feed);
                self.server
                    .run_script(source.place, into, &mut script, deadline.left()?)
                    .await?;
            }
            Format::Custom => {
                let tools = self.tools_to_restore(source, into, made_by, deadline).await?;
                let run = Run {
                    tool: "pg_restore",
                    // A subscription would keep the database from being dropped.
                    arguments: ["--exit-on-error", "--no-subscriptions"]
                        .map(str::to_owned)
                        .into(),
                    database: Some(into),
                    input: Some(&mut feed),
                    output: &mut tokio::io::sink(),
                    within: deadline.left()?,
                };
                tools.run(&source.place.client()?, run).await?;
            }
        }
        (reading.tell)(Progress {
            stage: Stage::Counting,
            bytes: reading.bytes,
            of: reading.bytes,
        });
        let census = self.server.census(source.place, into, deadline.left()?).await?;
        Ok(census)
    }

    async fn tools_to_restore<'a>(
        &'a self,
        source: Source<'a>,
        into: &PgName,
        made_by: Option<u32>,
        deadline: Deadline,
    ) -> Result<Tools<'a>, BackupError> {
        let major = match made_by {
            Some(major) => major,
            None if source.container.is_some() => 0,
            // Of a dump that says no version, the server's own is the best guess.
            None => {
                let snapshot = self.server.snapshot(source.place, into, deadline.left()?).await?;
                let major = snapshot.major();
                snapshot.release().await;
                major
            }
        };
        self.tools(source, major).await
    }
}

/// How large a file of the operator's is, and what is in it.
fn look_at(path: &Path) -> Result<(u64, Format), BackupError> {
    let known = std::fs::metadata(path).map_err(disk("read", path))?;
    let no_dump = |what: &str| BackupError::NoDump {
        path: path.to_path_buf(),
        what: what.to_owned(),
    };
    if !known.is_file() {
        return Err(no_dump("it is no file"));
    }
    let mut head = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(HEAD).read_to_end(&mut head))
        .map_err(disk("read", path))?;
    let format = match head.as_slice() {
        [] => return Err(no_dump("it is empty")),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [b'B', b'Z', b'h', ..] => {
            return Err(no_dump("it is compressed: unpack it first"));
        }
        head if head.starts_with(MAGIC) => Format::Custom,
        head if head.contains(&0) => {
            return Err(no_dump("it is neither SQL nor of pg_dump's custom format"));
        }
        _ => Format::Plain,
    };
    Ok((known.len(), format))
}
