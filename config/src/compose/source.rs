//! Where the loader's bytes come from: the disk, or something that plays one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::read::{self, ReadError};

/// The most that is read of one file.
pub const MAX_FILE: u64 = 4 << 20;

/// A disk to read from.
pub trait Source {
    /// The content of the file at `path`, which is absolute.
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError>;

    /// The paths of all files below `directory`, which is absolute. A source without directories has none there.
    fn list(&self, directory: &Path) -> Result<BTreeSet<PathBuf>, ReadError> {
        Err(ReadError::Absent {
            path: directory.to_owned(),
        })
    }
}

/// The real disk: only regular files, at most [`MAX_FILE`] bytes, never waiting.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Source for Disk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        read::read_regular(path, MAX_FILE)
    }

    fn list(&self, directory: &Path) -> Result<BTreeSet<PathBuf>, ReadError> {
        read::files_below_path(directory)
    }
}
