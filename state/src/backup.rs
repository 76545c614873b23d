//! The names of backups, and how one makes sure of them. What they are made of is the agent's.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::InvalidName;

/// The name of a backup: when it was begun, and of which operation it is. They are in the order of time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId {
    stamp: String,
    operation: u64,
}

impl BackupId {
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

impl TryFrom<String> for BackupId {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> String {
        id.to_string()
    }
}

/// How one makes sure of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// It is restored, and what comes of it counted. A safety copy is always proven so.
    #[default]
    Restore,
    /// Its table of contents is read, which says nothing about the rows.
    List,
    /// Nobody does.
    None,
}

/// What is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dumped {
    /// A backup of the stack.
    Backup(BackupId),
    /// A file of the operator's.
    File(PathBuf),
}

impl fmt::Display for Dumped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backup(id) => write!(f, "the backup {id}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_backup_has_one_name() {
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
        assert_eq!(parsed[1].operation(), 10);
    }
}
