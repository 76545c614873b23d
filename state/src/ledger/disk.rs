//! What the ledger asks of its directory: its lock, its reserve, random bytes, and files written durably.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::FlockOperation;

use super::LedgerError;
use crate::durable::{self, FileSystem, WriteError};

/// What is held back for the day on which the disk is full.
pub(super) const RESERVE_BYTES: u64 = 4 << 20;

/// Wraps what the file system said.
pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LedgerError::Full {
            dir: path.parent().unwrap_or(path).to_path_buf(),
        },
        _ => LedgerError::Io {
            what,
            path: path.to_path_buf(),
            source,
        },
    }
}

/// Whether the file system of `dir` has next to nothing left.
pub(super) fn is_full(dir: &Path) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|s| s.f_bavail.saturating_mul(s.f_frsize) < 128 << 10)
}

/// The content of a file; `None` when there is no such file.
pub(super) fn read(fs: &dyn FileSystem, path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
    match fs.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", path)(e)),
    }
}

/// Removes a file, if there is one.
pub(super) fn remove(fs: &dyn FileSystem, path: &Path) -> Result<(), LedgerError> {
    durable::remove(fs, path).map_err(failed("remove", path))
}

/// Removes what an interrupted run left half-written.
pub(super) fn sweep(fs: &dyn FileSystem, dir: &Path) -> Result<(), LedgerError> {
    durable::sweep(fs, dir).map_err(failed("clean up", dir))
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(fs: &dyn FileSystem, dir: &Path) -> Result<(), LedgerError> {
    fs.sync_dir(dir).map_err(failed("sync", dir))
}

impl From<WriteError> for LedgerError {
    fn from(error: WriteError) -> Self {
        failed(error.what, &error.path)(error.source)
    }
}

/// Random bytes of the kernel, fit for a key.
pub(super) fn random<const N: usize>() -> Result<[u8; N], LedgerError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; N];
    File::open(path)
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(failed("read", path))?;
    Ok(bytes)
}

/// The lock of a state directory, held for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// Given back in so many words: closing the file gives it back only once no child that was
    /// being started at that moment has the descriptor either.
    fn drop(&mut self) {
        // What fails here is done by the end of the process.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Takes the lock of the state directory.
pub(super) fn lock(dir: &Path) -> Result<Lock, LedgerError> {
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("open", &path))?;
    if let Err(e) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if e != rustix::io::Errno::WOULDBLOCK {
            return Err(failed("lock", &path)(e.into()));
        }
        let mut pid = String::new();
        // Who holds it is only a hint for people; the lock itself is the flock.
        let _ = file.read_to_string(&mut pid);
        return Err(LedgerError::InUse {
            dir: dir.to_path_buf(),
            pid: pid.trim().parse().ok(),
        });
    }
    // On a full disk the hint may be missing; the lock holds all the same.
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(Lock(file))
}

/// Holds back [`RESERVE_BYTES`] in `path`. `false`: there is no room.
pub(super) fn ensure_reserve(fs: &dyn FileSystem, path: &Path) -> Result<bool, LedgerError> {
    if fs.allocated(path).is_ok_and(|bytes| bytes >= RESERVE_BYTES) {
        return Ok(true);
    }
    match durable::reserve(fs, path, RESERVE_BYTES).map_err(LedgerError::from) {
        Ok(()) => Ok(true),
        Err(LedgerError::Full { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_lock_that_was_given_back_is_free_whoever_has_inherited_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        let inherited = held.0.try_clone().unwrap();
        assert!(matches!(lock(dir.path()), Err(LedgerError::InUse { .. })));
        drop(held);
        lock(dir.path()).unwrap();
        drop(inherited);
    }
}
