//! Files that survive a power cut: temporary file, fsync, rename, fsync of the directory. What is asked of a file
//! system is behind a seam small enough to be simulated whole. Nothing here knows what is in the files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::FileOwner;

mod host;

pub use host::HostFiles;

/// The few things that are asked of a file system. Each can fail by itself, and a power cut may come between any two.
pub trait FileSystem: fmt::Debug + Send + Sync {
    /// A new, empty file that only its owner may read and write. An error where there is one of that name.
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>>;

    /// Makes the content of an existing file durable.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Puts a file under another name; what had that name is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a name away.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes one directory that is its owner's alone. Its parent is there.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether there is a directory of that name.
    fn is_dir(&self, path: &Path) -> bool;

    /// Sees to it that an existing directory is its owner's alone.
    fn keep_private(&self, dir: &Path) -> io::Result<()>;

    /// The content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The names in a directory, as far as they are text.
    fn names(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// How many bytes of a file have room on the disk.
    fn allocated(&self, path: &Path) -> io::Result<u64>;

    /// How many bytes the disk below a directory still takes from this process.
    fn free(&self, dir: &Path) -> io::Result<u64>;
}

/// A file that is being written and has no reader yet.
pub trait NewFile {
    /// Appends all of `bytes`. After an error any part of them may be there.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Gives it room for `bytes`, which is what it is as long as, then.
    fn allocate(&mut self, bytes: u64) -> io::Result<()>;

    /// Gives it mode and, where permitted, owner of another file.
    fn take_after(&mut self, other: &Path) -> io::Result<()>;

    /// Gives it this owner, where permitted, and this mode.
    fn give_to(&mut self, owner: &FileOwner) -> io::Result<()>;

    /// Makes what was written durable. Its name is not, yet.
    fn sync(&mut self) -> io::Result<()>;
}

/// Which step of a durable write failed, and at which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", path.display())]
pub struct WriteError {
    /// A verb.
    pub what: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Whether a reader already sees the new content; whether it outlasts a power cut is open, then.
    pub in_place: bool,
    /// What the file system said.
    pub source: io::Error,
}

/// Whose mode and owner a file gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This process's alone.
    Private,
    /// As those of the file that it replaces.
    Kept,
}

const NEW: &str = ".new";

/// Where a file is written before it is renamed into place.
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(NEW);
    PathBuf::from(name)
}

/// Writes a whole file durably: whoever reads it sees the old content or the new one, also after a power cut at any
/// moment. One writer at a time; what an interrupted one left is removed.
pub fn replace(fs: &dyn FileSystem, path: &Path, bytes: &[u8], owner: Owner) -> Result<(), WriteError> {
    stream(fs, path, |file| {
        file.write(bytes)?;
        match owner {
            Owner::Private => Ok(()),
            Owner::Kept => file.take_after(path),
        }
    })
}

/// As [`replace`], with a file of `bytes` bytes that have their room on the disk.
pub fn reserve(fs: &dyn FileSystem, path: &Path, bytes: u64) -> Result<(), WriteError> {
    stream(fs, path, |file| file.allocate(bytes))
}

/// As [`replace`], with a file that `write` fills piece by piece. Where `write` fails, nothing of it is left.
pub fn stream(
    fs: &dyn FileSystem,
    path: &Path,
    write: impl FnOnce(&mut dyn NewFile) -> io::Result<()>,
) -> Result<(), WriteError> {
    stream_through(fs, &temporary(path), path, write)
}

/// The same, written under the name `new`, beside it, before it is renamed: where others keep files too, that is a name
/// that nobody else uses.
pub fn stream_through(
    fs: &dyn FileSystem,
    new: &Path,
    path: &Path,
    write: impl FnOnce(&mut dyn NewFile) -> io::Result<()>,
) -> Result<(), WriteError> {
    let failed = |what, in_place| {
        move |source| WriteError {
            what,
            path: path.to_path_buf(),
            in_place,
            source,
        }
    };
    remove(fs, new).map_err(failed("write", false))?;
    let written = fs
        .create(new)
        .and_then(|mut file| {
            write(file.as_mut())?;
            file.sync()
        })
        .and_then(|()| fs.rename(new, path));
    if let Err(error) = written {
        // Half a file would only take up room; the error that counts is the first one.
        let _ = fs.remove(new);
        return Err(failed("write", false)(error));
    }
    fs.sync_dir(parent(path)).map_err(failed("sync", true))
}

/// Removes a file, if there is one.
pub fn remove(fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
    match fs.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes sure that `dir` is there, is this user's alone, and stays: durable, whoever made it.
pub fn private_dir(fs: &dyn FileSystem, dir: &Path) -> Result<(), WriteError> {
    let failed = |what| {
        move |source| WriteError {
            what,
            path: dir.to_path_buf(),
            in_place: false,
            source,
        }
    };
    let above = parent(dir);
    let was_there = fs.is_dir(dir);
    if !was_there {
        if above.parent().is_some() && !fs.is_dir(above) {
            private_dir(fs, above)?;
        }
        fs.make_dir(dir).map_err(failed("create"))?;
    }
    fs.keep_private(dir).map_err(failed("make private"))?;
    match fs.sync_dir(above) {
        // Whoever made it may have been killed before this; unless it was somebody who may do more.
        Err(error) if was_there && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other.map_err(failed("sync")),
    }
}

/// Removes what writers that were interrupted left in a directory where nobody writes now.
pub fn sweep(fs: &dyn FileSystem, dir: &Path) -> io::Result<()> {
    for name in fs.names(dir)? {
        if name.ends_with(NEW) || name.ends_with(".new-journal") {
            remove(fs, &dir.join(name))?;
        }
    }
    Ok(())
}

/// The directory of a file; of a bare name, the present one.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}
