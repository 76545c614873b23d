//! What is known of a backup: the manifest that lies beside its dump.

mod file;

use std::time::Duration;

use config::settings::PgName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::backup::BackupId;
use state::name::{Digest, StackName};

use crate::database::Census;

/// What a backup was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Before the migrations of a deploy.
    Deploy,
    /// Before the migrations of a rollback.
    Rollback,
    /// Somebody asked for it.
    Asked,
    /// Its time had come.
    Scheduled,
    /// Before another backup takes the database's place.
    BeforeRestore,
}

/// How a dump is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `pg_dump --format=custom`.
    Custom,
    /// SQL.
    Plain,
}

/// How one made sure of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It was restored, and what came of it counted.
    Restored,
    /// Its table of contents was read. Says nothing about the rows.
    List,
}

/// Somebody made sure of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How.
    pub how: How,
    /// When that was done.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The tables that were found.
    pub tables: u64,
    /// The rows in all of them; `None`: they were not counted.
    pub rows: Option<u64>,
}

/// A whole backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its name.
    pub id: BackupId,
    /// Whose it is.
    pub stack: StackName,
    /// The name of the stack's database.
    pub database: PgName,
    /// The copy that was dumped, if it was not the database itself.
    pub copy: Option<PgName>,
    /// What was counted in the dump's snapshot, with the schema head.
    pub counted: Census,
    /// What it was made for.
    pub why: Why,
    /// How it is written.
    pub format: Format,
    /// What `pg_dump --version` says.
    pub made_by: String,
    /// The size of the dump.
    pub bytes: u64,
    /// The digest of the dump.
    pub sha256: Digest,
    /// The size of the database on the server's disk.
    pub database_bytes: u64,
    /// When it was begun.
    pub begun: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Whether one made sure of it.
    pub verified: Option<Verified>,
}

/// The name of what an operation begins at `begun`.
pub fn id_of(begun: Timestamp, operation: u64) -> BackupId {
    let stamp = begun.max(Timestamp::UNIX_EPOCH).strftime("%Y%m%dT%H%M%SZ");
    let id = format!("{stamp}-{operation}").parse();
    id.expect("a time and a number")
}

impl Manifest {
    /// The rows that were counted in all tables.
    pub fn rows(&self) -> u64 {
        self.counted.tables.values().sum()
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// As version 1 writes it; it stays readable.
    const FIRST: &str = include_str!("manifest/version-1.json");

    /// One of `operation`, begun so many hours after some time.
    pub(in crate::backup) fn sample(operation: u64, hours: i64) -> Manifest {
        let mut manifest = Manifest::from_json(FIRST.as_bytes()).unwrap();
        manifest.begun += jiff::SignedDuration::from_hours(hours);
        manifest.id = id_of(manifest.begun, operation);
        manifest
    }

    #[test]
    fn the_first_version_is_read_and_written_as_it_was() {
        let manifest = Manifest::from_json(FIRST.as_bytes()).unwrap();
        assert_eq!(manifest.rows(), 2501);
        assert_eq!(String::from_utf8(manifest.to_json()).unwrap(), FIRST);
        let without = Manifest {
            verified: None,
            copy: Some("shop_steadfast_7".parse().unwrap()),
            ..manifest
        };
        assert_eq!(Manifest::from_json(&without.to_json()).unwrap(), without);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (from, to, expected) in [
            (
                "\"version\": 1",
                "\"version\": 2",
                "it is of version 2, and version 1 is known",
            ),
            ("20261126T191500Z-7", "../7", "\"../7\" is not a valid backup id"),
            (
                "\"why\": \"deploy\"",
                "\"why\": \"whim\"",
                "unknown variant `whim`",
            ),
            ("{", "", "invalid type: string"),
        ] {
            let said = Manifest::from_json(FIRST.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_name_says_when_and_by_which_operation() {
        assert_eq!(sample(9, 0).id.to_string(), "20261126T191500Z-9");
        assert_eq!(id_of(Timestamp::MIN, 7).to_string(), "19700101T000000Z-7");
        assert!(sample(10, 0).id > sample(9, 0).id && sample(1, 1).id > sample(10, 0).id);
    }
}
