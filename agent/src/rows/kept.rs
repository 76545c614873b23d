//! `rows/<stack>/<operation>/` in the state directory: a compressed CSV file for each thing that was kept, and what they
//! are in `manifest.json`, which is written last: without it nothing counts.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use state::durable::{self, FileSystem, Owner};
use state::integrity::Seen;
use state::name::{Digest, StackName};
use state::taken_back::Saved;

use super::table::Column;
use crate::backup::BackupError;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// A table with all its rows.
    Table,
    /// A column that the table has not any more.
    Column(String),
    /// A column whose type is another one now.
    Type { column: String, now: String },
    /// Rows of a table that is still there.
    Rows,
    /// What an operator's query asked for; it is theirs to put back.
    Own { name: String },
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) what: What,
    /// In words.
    pub(super) shown: String,
    pub(super) schema: String,
    pub(super) table: String,
    /// What tells its rows apart; empty: nothing does.
    pub(super) keys: Vec<String>,
    /// What is in the file, in this order.
    pub(super) columns: Vec<Column>,
    pub(super) rows: u64,
    /// Its name; `None`: there was nothing to be kept.
    pub(super) file: Option<String>,
    pub(super) bytes: u64,
    /// Of the file as it is.
    pub(super) sha256: Digest,
}

/// All that was kept of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Of this layout.
    pub(super) version: u32,
    pub(super) operation: u64,
    pub(super) items: Vec<Item>,
    /// What could not be kept, in words.
    pub(super) words: Vec<String>,
    /// The rows of every table, in the copy and in the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<Seen>,
}

/// The layout that is written.
pub(super) const VERSION: u32 = 1;

impl Manifest {
    pub(super) fn saved(&self) -> Saved {
        let kept = self
            .items
            .iter()
            .map(|item| format!("{}: {} rows kept", item.shown, item.rows));
        Saved {
            lines: kept.chain(self.words.iter().cloned()).collect(),
            rows: self.items.iter().map(|item| item.rows).sum(),
            seen: self.seen.clone(),
        }
    }
}

/// The directories and files.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) fs: Arc<dyn FileSystem>,
    root: PathBuf,
}

const MANIFEST: &str = "manifest.json";

impl Kept {
    pub(super) fn new(fs: Arc<dyn FileSystem>, state_dir: &Path) -> Self {
        Self {
            fs,
            root: state_dir.join("rows"),
        }
    }

    pub(super) fn directory(&self, stack: &StackName, of: u64) -> PathBuf {
        self.root.join(stack.as_str()).join(of.to_string())
    }

    /// A directory for what is to be kept.
    pub(super) fn make(&self, stack: &StackName, of: u64) -> Result<PathBuf, BackupError> {
        let dir = self.directory(stack, of);
        for dir in [&self.root, &self.root.join(stack.as_str()), &dir] {
            durable::private_dir(&*self.fs, dir)?;
        }
        Ok(dir)
    }

    /// The same, empty: what is half-made in it goes.
    pub(super) fn prepare(&self, stack: &StackName, of: u64) -> Result<PathBuf, BackupError> {
        let dir = self.make(stack, of)?;
        self.empty(&dir)?;
        Ok(dir)
    }

    /// What was kept; `None`: nothing that counts.
    pub(super) fn get(&self, stack: &StackName, of: u64) -> Result<Option<Manifest>, BackupError> {
        let path = self.directory(stack, of).join(MANIFEST);
        let json = match self.fs.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(disk("read", &path))?,
        };
        // One that is damaged counts no more than none: as long as the copy is there it is made anew.
        let manifest = serde_json::from_slice(&json).ok();
        Ok(manifest.filter(|manifest: &Manifest| manifest.version == VERSION && manifest.operation == of))
    }

    /// From here on it counts.
    pub(super) fn put(&self, stack: &StackName, manifest: &Manifest) -> Result<(), BackupError> {
        let path = self.directory(stack, manifest.operation).join(MANIFEST);
        let json = serde_json::to_vec_pretty(manifest).expect("plain data");
        durable::replace(&*self.fs, &path, &json, Owner::Private)?;
        Ok(())
    }

    /// Removes what was kept of all other operations; the directories stay, empty.
    pub(super) fn keep_only(&self, stack: &StackName, of: &BTreeSet<u64>) -> Result<(), BackupError> {
        let dir = self.root.join(stack.as_str());
        if !self.fs.is_dir(&dir) {
            return Ok(());
        }
        for name in self.fs.names(&dir).map_err(disk("list", &dir))? {
            if name.parse().is_ok_and(|number: u64| !of.contains(&number)) {
                self.empty(&dir.join(name))?;
            }
        }
        Ok(())
    }

    /// The manifest first.
    fn empty(&self, dir: &Path) -> Result<(), BackupError> {
        let manifest = dir.join(MANIFEST);
        durable::remove(&*self.fs, &manifest).map_err(disk("remove", &manifest))?;
        for name in self.fs.names(dir).map_err(disk("list", dir))? {
            let path = dir.join(name);
            durable::remove(&*self.fs, &path).map_err(disk("remove", &path))?;
        }
        Ok(())
    }
}

pub(super) fn disk(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_path_buf();
    move |source| BackupError::Disk { what, path, source }
}
