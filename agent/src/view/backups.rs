//! What is shown of the backups of a stack's database.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::observed::SchemaHead;
use state::taken_back::TakenBack;

use super::{FORMAT, wall};
use crate::backup::{Format, How, Manifest, Why, needs};
use crate::database::{CopyKind, DatabaseCopy};
use crate::shared::Snapshot;

/// Answer to `backup list --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BackupList {
    /// [`FORMAT`].
    pub format: u32,
    /// The stack.
    pub stack: String,
    /// The backups, the newest first.
    pub backups: Vec<BackupRow>,
    /// What cannot be used.
    pub damaged: Vec<DamagedBackup>,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BackupRow {
    /// Its name.
    pub id: String,
    /// The operation that made it.
    pub operation: u64,
    /// `deploy`, `rollback`, `asked`, `scheduled` or `before_restore`.
    pub why: String,
    /// When it was begun.
    pub begun: Timestamp,
    /// How long it took to make it.
    pub milliseconds: u64,
    /// The database.
    pub database: String,
    /// The copy that was dumped, if it was not the database itself.
    pub copy: Option<String>,
    /// The size of the dump.
    pub bytes: u64,
    /// The size of the database on the server's disk.
    pub database_bytes: u64,
    /// Its tables.
    pub tables: u64,
    /// The rows in all of them.
    pub rows: u64,
    /// The revisions at which its schema stands.
    pub schema: Vec<String>,
    /// `custom` or `plain`.
    pub written_as: String,
    /// What `pg_dump --version` said.
    pub made_by: String,
    /// The digest of the dump.
    pub sha256: String,
    /// How one has made sure of it.
    pub verified: Option<VerifiedRow>,
    /// What still needs it, a line each.
    pub needed_by: Vec<String>,
}

/// How one has made sure of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VerifiedRow {
    /// `restored` or `list`.
    pub how: String,
    /// When.
    pub at: Timestamp,
    /// How long it took.
    pub milliseconds: u64,
    /// The tables that were found.
    pub tables: u64,
    /// The rows in all of them, where they were counted.
    pub rows: Option<u64>,
}

/// What was left beside the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Beside {
    /// Its name.
    pub name: String,
    /// `copy`, `aside`, `restored`, `scratch`, `new`, or `half-made`.
    pub kind: String,
    /// Its size on the server's disk.
    pub bytes: u64,
}

/// What a rollback has taken out of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TakenBackRow {
    /// The operation.
    pub operation: u64,
    /// When.
    pub at: Timestamp,
    /// The revisions that were taken back.
    pub revisions: Vec<String>,
    /// `in_copy`: it is still to be read out of the copy; `kept`: until these revisions are there again; `put_back`;
    /// `dropped`: by a person; or `nothing`: nothing was lost.
    pub state: String,
    /// The rows that are kept.
    pub rows: u64,
    /// Of those, how many are there again, have no place any more, and are in conflict with what stands there.
    pub restored: u64,
    /// Likewise.
    pub skipped: u64,
    /// Likewise.
    pub conflicting: u64,
    /// What of each thing, a line each.
    pub lines: Vec<String>,
}

/// The backups, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Backups {
    /// How many there are.
    pub count: usize,
    /// The newest one.
    pub newest: Option<Timestamp>,
    /// The newest one that was restored to make sure of it.
    pub proven: Option<Timestamp>,
    /// When the next one of the schedule is due.
    pub next: Option<Timestamp>,
    /// Why the last one that nobody asked for failed.
    pub problem: Option<String>,
}

impl TakenBackRow {
    pub(super) fn of(operation: u64, taken: &TakenBack) -> Self {
        let saved = taken.saved.clone().unwrap_or_default();
        let put_in = taken.put_in.clone().unwrap_or_default();
        let state = match (&taken.saved, &taken.put_in) {
            (_, Some(put_in)) if put_in.dropped => "dropped",
            (_, Some(put_in)) if put_in.waiting.is_empty() => "put_back",
            (_, Some(_)) => "kept",
            (None, None) => "in_copy",
            (Some(saved), None) if saved.rows == 0 => "nothing",
            (Some(_), None) => "kept",
        };
        Self {
            operation,
            at: wall(&taken.at),
            revisions: taken.revisions.iter().map(|r| r.as_str().to_owned()).collect(),
            state: state.into(),
            rows: saved.rows,
            restored: put_in.restored,
            skipped: put_in.skipped,
            conflicting: put_in.conflicting,
            lines: if taken.put_in.is_some() {
                put_in.lines
            } else {
                saved.lines
            },
        }
    }
}

impl Beside {
    pub(super) fn of(copy: &DatabaseCopy) -> Self {
        let kind = match copy.kind {
            Some(CopyKind::Copy) => "copy",
            Some(CopyKind::Aside) => "aside",
            Some(CopyKind::Restored) => "restored",
            Some(CopyKind::Scratch) => "scratch",
            Some(CopyKind::New) => "new",
            None => "half-made",
        };
        Self {
            name: copy.name.to_string(),
            kind: kind.into(),
            bytes: copy.bytes,
        }
    }
}

impl Backups {
    /// `None`: the stack has no database, or nobody knows.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Self> {
        snapshot.schema.as_ref()?;
        let listing = snapshot.backups.known()?;
        let proven = |backup: &&Manifest| {
            let verified = backup.verified.as_ref();
            verified.is_some_and(|verified| verified.how == How::Restored)
        };
        Some(Self {
            count: listing.backups.len(),
            newest: listing.backups.iter().map(|backup| backup.begun).max(),
            proven: listing
                .backups
                .iter()
                .filter(proven)
                .map(|backup| backup.begun)
                .max(),
            next: snapshot.next_backup,
            problem: snapshot.backup_problem.clone(),
        })
    }
}

/// A backup that cannot be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DamagedBackup {
    /// Its name.
    pub id: String,
    /// What is wrong with it.
    pub why: String,
}

impl BackupList {
    /// The backups of a snapshot; `Err`: why nobody knows them.
    pub fn of(snapshot: &Snapshot) -> Result<Self, String> {
        let Some(listing) = snapshot.backups.known() else {
            return Err(snapshot.backups.unknown().unwrap_or_default().to_owned());
        };
        let needs = needs(&snapshot.record, &listing.backups);
        let row = |backup: &Manifest| {
            let needed_by = needs.get(&backup.id).into_iter().flatten();
            BackupRow::of(backup, needed_by.map(ToString::to_string).collect())
        };
        let damaged = listing.damaged.iter().map(|(id, why)| DamagedBackup {
            id: id.to_string(),
            why: why.clone(),
        });
        Ok(Self {
            format: FORMAT,
            stack: snapshot.record.stack.to_string(),
            backups: listing.backups.iter().rev().map(row).collect(),
            damaged: damaged.collect(),
        })
    }
}

impl BackupRow {
    fn of(backup: &Manifest, needed_by: Vec<String>) -> Self {
        let why = match backup.why {
            Why::Deploy => "deploy",
            Why::Rollback => "rollback",
            Why::Asked => "asked",
            Why::Scheduled => "scheduled",
            Why::BeforeRestore => "before_restore",
        };
        let written_as = match backup.format {
            Format::Custom => "custom",
            Format::Plain => "plain",
        };
        Self {
            id: backup.id.to_string(),
            operation: backup.id.operation(),
            why: why.into(),
            begun: backup.begun,
            milliseconds: millis(backup.took),
            database: backup.database.to_string(),
            copy: backup.copy.as_ref().map(ToString::to_string),
            bytes: backup.bytes,
            database_bytes: backup.database_bytes,
            tables: backup.counted.tables.len() as u64,
            rows: backup.rows(),
            schema: match &backup.counted.head {
                SchemaHead::NoTable => Vec::new(),
                SchemaHead::At(heads) => heads.iter().map(ToString::to_string).collect(),
            },
            written_as: written_as.into(),
            made_by: backup.made_by.clone(),
            sha256: backup.sha256.to_string(),
            verified: backup.verified.as_ref().map(|verified| VerifiedRow {
                how: match verified.how {
                    How::Restored => "restored".into(),
                    How::List => "list".into(),
                },
                at: verified.at,
                milliseconds: millis(verified.took),
                tables: verified.tables,
                rows: verified.rows,
            }),
            needed_by,
        }
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
