//! Keeps rows in a state directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use config::settings::{PgName, PreserveSettings};
use state::durable::FileSystem;
use state::integrity::{Look, Seen, Tally, moved};
use state::name::{Digest, StackName};
use state::taken_back::{PutIn, Saved, TakenBack};

use super::kept::{Item, Kept, Manifest, VERSION, What};
use super::lost::{Lost, lost};
use super::stream::write_out;
use super::table::{Table, tables};
use super::{Rows, Taken, When, put_in};
use crate::backup::{BackupError, Deadline, MARGIN};
use crate::database::{
    CopyKind, DatabaseError, Link, Login, Staging, copy_name, session_forms, tally_in, without_values,
};

/// How long the rows of one database are counted, beside all that goes on.
const COUNTED_WITHIN: Duration = Duration::from_secs(5 * 60);
/// How long it may take to close what was open.
const CLEAN: Duration = Duration::from_secs(15);

/// Over a server and a directory.
pub struct Keeper {
    server: Arc<dyn Staging>,
    kept: Kept,
}

impl Keeper {
    /// In this state directory. Nothing is made before it is needed.
    pub fn new(server: Arc<dyn Staging>, fs: Arc<dyn FileSystem>, state_dir: &Path) -> Self {
        Self {
            server,
            kept: Kept::new(fs, state_dir),
        }
    }

    async fn save_anew(
        &self,
        taken: Taken<'_>,
        what: &TakenBack,
        own: &[PreserveSettings],
        deadline: Deadline,
    ) -> Result<Manifest, BackupError> {
        let mut manifest = Manifest {
            version: VERSION,
            operation: taken.of,
            items: Vec::new(),
            words: Vec::new(),
            seen: None,
        };
        let copy = copy_name(&taken.place.database()?, taken.of);
        let beside = self.server.copies(taken.place, deadline.left()?).await?;
        let is_it = |found: &crate::database::DatabaseCopy| {
            found.name == copy && found.complete && found.kind == Some(CopyKind::Copy)
        };
        if !beside.iter().any(is_it) {
            // What may have been kept before stays: nobody could make it anew.
            self.kept.make(taken.stack, taken.of)?;
            let words = format!("the copy {copy} is gone: nothing could be kept of it");
            manifest.words.push(words);
            return Ok(manifest);
        }
        let dir = self.kept.prepare(taken.stack, taken.of)?;
        if self.kept.fs.free(&dir).is_ok_and(|free| free < MARGIN) {
            return Err(BackupError::Full { dir });
        }
        self.server
            .open_copy(taken.place, &copy, deadline.left()?)
            .await?;
        let login = taken.place.login()?;
        let saving = self.read_out(&login, taken, what, own, copy.as_str(), deadline, &mut manifest);
        let saved = match tokio::time::timeout(deadline.left()?, saving).await {
            Ok(saved) => saved.map_err(|error| redacted(&login, error)),
            Err(_) => Err(deadline.late()),
        };
        if let Err(error) = self.server.close_copy(taken.place, &copy, CLEAN).await {
            tracing::warn!(stack = %taken.stack, %copy, %error, "a copy was read and is still open");
        }
        saved.map(|()| manifest)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one call, split in two for the copy's sake"
    )]
    async fn read_out(
        &self,
        login: &Login,
        taken: Taken<'_>,
        what: &TakenBack,
        own: &[PreserveSettings],
        copy: &str,
        deadline: Deadline,
        manifest: &mut Manifest,
    ) -> Result<(), BackupError> {
        let then = Link::connect(login, copy, deadline.left()?).await?;
        let now = Link::to(login, deadline.left()?).await?;
        let begin = session_forms("READ ONLY");
        then.run(&begin).await?;
        now.run(&begin).await?;
        let (had, has) = (tables(&then).await?, tables(&now).await?);
        // Of the copy the settings of its database were not copied.
        now.run("SET LOCAL search_path TO DEFAULT").await?;
        let path = now.value("SHOW search_path").await?.unwrap_or_default();
        now.end().await;
        let migrations = &taken.place.settings.migrations;
        let version_table = (&migrations.schema, &migrations.version_table);
        let (found, words) = lost(&had, &has, version_table, &what.losses, own);
        manifest.words.extend(words);
        let dir = self.kept.directory(taken.stack, taken.of);
        for (nth, lost) in found.iter().enumerate() {
            // What comes from a script or from an operator may be wrong, and spoils nothing else.
            let foreign = matches!(lost, Lost::Rows { .. } | Lost::Own(_));
            if foreign {
                // Names mean to it what they mean to whoever wrote it.
                then.run(&format!("SAVEPOINT ours; SET LOCAL search_path TO {path}"))
                    .await?;
            }
            let item = keep(&then, lost, nth, &self.kept.fs, &dir).await;
            if foreign {
                then.run("ROLLBACK TO SAVEPOINT ours; RELEASE SAVEPOINT ours")
                    .await?;
            }
            match item {
                Ok(item) => manifest.items.push(item),
                Err(BackupError::Database(
                    error @ (DatabaseError::Other { .. } | DatabaseError::Rights { .. }),
                )) if foreign => {
                    let why = without_values(error, "not kept").to_string();
                    manifest
                        .words
                        .push(format!("{}: {}", lost.shown(), login.redact(&why)));
                }
                Err(error) => return Err(error),
            }
        }
        // What is kept is kept: counting takes what is left of the time, and that it fails is told.
        let most = taken.place.settings.count_within;
        let parts = partitions(&then).await.unwrap_or_default();
        let before = counted(&then, most, deadline).await;
        then.end().await;
        let after = counted_now(login, &begin, most, deadline).await;
        manifest.seen = Some(Seen { before, after });
        let gone = unaccounted(manifest, &parts, &renamed(&had, &has), version_table);
        manifest.words.extend(gone);
        Ok(())
    }
}

/// The table that each partition is of, both as the catalogue writes them.
async fn partitions(link: &Link) -> Result<BTreeMap<String, String>, BackupError> {
    let rows = link
        .rows(
            "SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', o.nspname, p.relname) \
             FROM pg_catalog.pg_inherits i \
             JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace o ON o.oid = p.relnamespace \
             WHERE c.relispartition",
        )
        .await?;
    let text = |row: &tokio_postgres::SimpleQueryRow, at: usize| row.get(at).unwrap_or_default().to_owned();
    Ok(rows.iter().map(|row| (text(row, 0), text(row, 1))).collect())
}

/// What has gone without a word of the script's: rows that went with others, partitions, what a function has deleted.
/// Found by counting, so that it may be whoever serves since who has removed it.
fn unaccounted(
    manifest: &Manifest,
    partitions: &BTreeMap<String, String>,
    renamed: &BTreeMap<String, String>,
    version_table: (&PgName, &PgName),
) -> Vec<String> {
    let rows = |look: &Option<Look>| look.as_ref().and_then(|look| look.rows.clone());
    let seen = manifest.seen.as_ref();
    let Some((before, after)) = seen.and_then(|seen| rows(&seen.before).zip(rows(&seen.after))) else {
        return Vec::new();
    };
    let before = by_plain_name(before, renamed);
    let after = by_plain_name(after, &BTreeMap::new());
    let partitions: BTreeMap<String, String> = partitions
        .iter()
        .map(|(of, root)| (plain(of), plain(root)))
        .collect();
    let mut gone: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (table, then, now) in moved(&before, &after) {
        let mut root = &table;
        while let Some(parent) = partitions.get(root) {
            root = parent;
        }
        let sum = gone.entry(root.clone()).or_default();
        *sum = (sum.0 + then, sum.1 + now);
    }
    gone.remove(&format!("{}.{}", version_table.0, version_table.1));
    let kept = |table: &str| -> u64 {
        let of_it = |item: &&Item| {
            let rows = matches!(item.what, What::Table | What::Rows);
            rows && plain(&format!("{}.{}", item.schema, item.table)) == table
        };
        manifest.items.iter().filter(of_it).map(|item| item.rows).sum()
    };
    let lines = gone.into_iter().filter_map(|(table, (then, now))| {
        let (fewer, kept) = (then.saturating_sub(now), kept(&table));
        let shown = table.strip_prefix("public.").unwrap_or(&table);
        (fewer > kept).then(|| {
            format!(
                "{shown}: {fewer} rows fewer than in the copy, and {kept} kept: the others are in the backup of the copy, \
                 where it is not the release that serves since that has removed them"
            )
        })
    });
    lines.collect()
}

fn plain(name: &str) -> String {
    name.replace('"', "")
}

/// With the names that the tables have in the database.
fn by_plain_name(tally: Tally, renamed: &BTreeMap<String, String>) -> Tally {
    let name = |table: String| {
        let table = plain(&table);
        renamed.get(&table).cloned().unwrap_or(table)
    };
    Tally {
        tables: tally
            .tables
            .into_iter()
            .map(|(of, rows)| (name(of), rows))
            .collect(),
        about: tally
            .about
            .into_iter()
            .map(|(of, about)| (name(of), about))
            .collect(),
        ..tally
    }
}

/// What was given another name: it is known by its number, which a copy has too.
fn renamed(had: &[Table], has: &[Table]) -> BTreeMap<String, String> {
    let name = |table: &Table| format!("{}.{}", table.schema, table.name);
    let now = |then: &Table| has.iter().find(|now| now.oid == then.oid);
    let is_copy = had
        .iter()
        .any(|then| now(then).is_some_and(|now| now.name == then.name));
    let both = had.iter().filter_map(|then| Some((name(then), name(now(then)?))));
    both.filter(|(then, now)| is_copy && then != now).collect()
}

/// In the database itself, in a transaction of its own.
async fn counted_now(login: &Login, begin: &str, most: Duration, deadline: Deadline) -> Option<Look> {
    let now = Link::to(login, deadline.left().ok()?).await.ok()?;
    now.run(begin).await.ok()?;
    let counted = counted(&now, most, deadline).await;
    now.end().await;
    counted
}

/// The rows of every table, as far as they can be counted in the time that is set aside for it: nobody waits. `most`: zero
/// where nobody wants to know.
async fn counted(link: &Link, most: Duration, deadline: Deadline) -> Option<Look> {
    if most.is_zero() {
        return None;
    }
    let within = COUNTED_WITHIN.min(deadline.left().ok()? / 4);
    match tally_in(link, within).await {
        Ok(tally) => Some(Look {
            rows: Some(tally.bounded()),
            ..Look::default()
        }),
        Err(error) => {
            tracing::warn!(%error, "the rows are not counted");
            None
        }
    }
}

async fn keep(
    link: &Link,
    lost: &Lost,
    nth: usize,
    fs: &Arc<dyn FileSystem>,
    dir: &Path,
) -> Result<Item, BackupError> {
    let query = lost.query();
    let query = query.trim().trim_end_matches(';');
    let counted = link
        .value(&format!("SELECT count(*) FROM ({query}) \"the rows\""))
        .await?;
    let rows = counted.and_then(|counted| counted.parse().ok());
    let rows = rows.ok_or_else(|| DatabaseError::other("a count that is no number"))?;
    let (what, table) = (what(lost), lost.table());
    let mut item = Item {
        what,
        shown: lost.shown(),
        schema: table.map(|table| table.schema.clone()).unwrap_or_default(),
        table: table.map(|table| table.name.clone()).unwrap_or_default(),
        keys: table.map(|table| table.keys.clone()).unwrap_or_default(),
        columns: lost.columns(),
        rows,
        file: None,
        bytes: 0,
        sha256: Digest::of(b""),
    };
    if rows > 0 {
        let name = format!("{nth}.csv.gz");
        let written = write_out(link, query, fs, &dir.join(&name)).await?;
        item.file = Some(name);
        (item.bytes, item.sha256) = (written.bytes, written.sha256);
    }
    Ok(item)
}

fn what(lost: &Lost) -> What {
    match lost {
        Lost::Table(_) => What::Table,
        Lost::Column(_, column) => What::Column(column.name.clone()),
        Lost::Type { column, now, .. } => What::Type {
            column: column.name.clone(),
            now: now.clone(),
        },
        Lost::Rows { .. } => What::Rows,
        Lost::Own(own) => What::Own {
            name: own.name.to_string(),
        },
    }
}

fn redacted(login: &Login, error: BackupError) -> BackupError {
    match error {
        BackupError::Database(error) => BackupError::Database(error.map(|words| login.redact(words))),
        other => other,
    }
}

#[async_trait]
impl Rows for Keeper {
    async fn save(
        &self,
        taken: Taken<'_>,
        what: &TakenBack,
        own: &[PreserveSettings],
        within: Duration,
    ) -> Result<Saved, BackupError> {
        if let Some(manifest) = self.kept.get(taken.stack, taken.of)? {
            return Ok(manifest.saved());
        }
        let deadline = Deadline::new("keeping the rows that were taken back", within);
        let manifest = self.save_anew(taken, what, own, deadline).await?;
        self.kept.put(taken.stack, &manifest)?;
        Ok(manifest.saved())
    }

    async fn put_in(
        &self,
        taken: Taken<'_>,
        before: Option<&PutIn>,
        when: When,
        within: Duration,
    ) -> Result<PutIn, BackupError> {
        let deadline = Deadline::new("putting rows back", within);
        let Some(manifest) = self.kept.get(taken.stack, taken.of)? else {
            let words = format!("nothing is kept of operation {} any more", taken.of);
            return Ok(PutIn {
                lines: vec![words],
                ..PutIn::default()
            });
        };
        let dir = self.kept.directory(taken.stack, taken.of);
        let login = taken.place.login()?;
        let putting = put_in::all(&login, &manifest, &dir, before, when, deadline);
        let putting = tokio::time::timeout(deadline.left()?, putting);
        putting.await.map_err(|_| deadline.late())
    }

    fn keep_only(&self, stack: &StackName, of: &BTreeSet<u64>) -> Result<(), BackupError> {
        self.kept.keep_only(stack, of)
    }
}
