//! What is known of a backup: the manifest that lies beside its dump.

mod file;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use config::settings::PgName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::name::{Digest, InvalidName, StackName};

use crate::database::Census;

/// The name of a backup: when it was begun, and of which operation it is. They are in the order of time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackupId {
    stamp: String,
    operation: u64,
}

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

impl BackupId {
    /// The name of what an operation begins at `begun`.
    pub fn new(begun: Timestamp, operation: u64) -> Self {
        Self {
            stamp: begun.strftime("%Y%m%dT%H%M%SZ").to_string(),
            operation,
        }
    }

    /// The operation that made it.
    pub fn operation(&self) -> u64 {
        self.operation
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.stamp, self.operation))
    }
}

impl FromStr for BackupId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let parse = || {
            let (stamp, operation) = text.split_once('-')?;
            let is_stamp = stamp.len() == 16
                && stamp.bytes().enumerate().all(|(at, byte)| match at {
                    8 => byte == b'T',
                    15 => byte == b'Z',
                    _ => byte.is_ascii_digit(),
                });
            let number: u64 = operation.parse().ok()?;
            // One backup has one name.
            (is_stamp && number.to_string() == operation).then(|| Self {
                stamp: stamp.to_owned(),
                operation: number,
            })
        };
        parse().ok_or_else(|| InvalidName {
            kind: "backup id",
            text: text.to_owned(),
            rule: "it is as 20261126T191500Z-7: a time in UTC and the number of an operation",
        })
    }
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
        manifest.id = BackupId::new(manifest.begun, operation);
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
    fn names_are_in_the_order_of_time() {
        for bad in [
            "",
            "7",
            "20261126T191500Z",
            "20261126T191500Z-",
            "20261126T191500Z-07",
            "20261126T191500Z-+7",
            "2026112ÄT91500Z-7",
            "20261126t191500Z-7",
            "20261126T191500Z-7.dump",
        ] {
            assert!(bad.parse::<BackupId>().is_err(), "{bad}");
        }
        let ids = ["20261126T191500Z-9", "20261126T191500Z-10", "20261126T191501Z-1"];
        let parsed: Vec<BackupId> = ids.iter().map(|id| id.parse().unwrap()).collect();
        assert!(parsed.is_sorted());
        assert_eq!(parsed.iter().map(ToString::to_string).collect::<Vec<_>>(), ids);
        assert_eq!(sample(9, 0).id, parsed[0]);
    }
}
