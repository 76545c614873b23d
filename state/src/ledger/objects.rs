//! The object store: env files, Compose files, rendered specifications, each under the digest of
//! its content. The only place on disk where a secret value may be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{LedgerError, disk};
use crate::durable::{self, FileSystem, Owner};
use crate::name::Digest;

/// `objects/aa/<digest>`, mode 0600.
#[derive(Debug)]
pub struct Objects {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    /// The mutex also keeps two threads from writing the same temporary file.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// What this process has synced: a file that an earlier one left may still be in the page cache only.
    durable: BTreeSet<Digest>,
    /// What nothing referred to at the last collection, and was not put since.
    doomed: BTreeSet<Digest>,
}

impl Objects {
    /// Opens the store in the state directory, and removes what an interrupted run left half-written there.
    pub fn open(fs: Arc<dyn FileSystem>, state_dir: &Path) -> Result<Self, LedgerError> {
        let objects = Self::at(fs, state_dir);
        durable::private_dir(&*objects.fs, &objects.dir)?;
        for below in objects.below()? {
            disk::sweep(&*objects.fs, &below)?;
        }
        Ok(objects)
    }

    /// The store in the state directory, whether or not there is one.
    pub(super) fn at(fs: Arc<dyn FileSystem>, state_dir: &Path) -> Self {
        Self {
            fs,
            dir: state_dir.join("objects"),
            seen: Mutex::default(),
        }
    }

    /// Keeps `bytes`; durable when it returns. A corrupt file of that name is written anew.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, LedgerError> {
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.doomed.remove(&digest);
        let below = path.parent().unwrap_or(&self.dir);
        if disk::read(&*self.fs, &path)?.as_deref() != Some(bytes) {
            durable::private_dir(&*self.fs, below)?;
            durable::replace(&*self.fs, &path, bytes, Owner::Private)?;
        } else if !seen.durable.contains(&digest) {
            self.fs.sync(&path).map_err(disk::failed("sync", &path))?;
            disk::sync_dir(&*self.fs, below)?;
            disk::sync_dir(&*self.fs, &self.dir)?;
        }
        seen.durable.insert(digest.clone());
        Ok(digest)
    }

    /// The bytes of `digest`, verified.
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LedgerError> {
        let Some(bytes) = disk::read(&*self.fs, &self.path(digest))? else {
            return Ok(None);
        };
        if Digest::of(&bytes) == *digest {
            Ok(Some(bytes))
        } else {
            Err(LedgerError::CorruptObject {
                digest: digest.clone(),
            })
        }
    }

    /// Removes what `referred` does not name, and did not name the last time either: an object is put
    /// before the record that refers to it is written. How many were removed.
    pub fn collect(&self, referred: &BTreeSet<Digest>) -> Result<usize, LedgerError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut doomed = self.all()?;
        doomed.retain(|digest| !referred.contains(digest));
        let gone: Vec<Digest> = doomed.intersection(&seen.doomed).cloned().collect();
        for digest in &gone {
            disk::remove(&*self.fs, &self.path(digest))?;
            seen.durable.remove(digest);
            doomed.remove(digest);
        }
        seen.doomed = doomed;
        Ok(gone.len())
    }

    /// Every object that is there. What has no name of an object is not ours to judge.
    fn all(&self) -> Result<BTreeSet<Digest>, LedgerError> {
        let mut all = BTreeSet::new();
        for below in self.below()? {
            let prefix = below
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let names = self.fs.names(&below).map_err(disk::failed("read", &below))?;
            let digests = names.into_iter().filter(|name| name.starts_with(prefix));
            all.extend(digests.filter_map(|name| name.parse::<Digest>().ok()));
        }
        Ok(all)
    }

    /// The directories in which objects are.
    fn below(&self) -> Result<Vec<PathBuf>, LedgerError> {
        let names = self
            .fs
            .names(&self.dir)
            .map_err(disk::failed("read", &self.dir))?;
        let dirs = names
            .iter()
            .filter(|name| name.len() == 2)
            .map(|name| self.dir.join(name));
        Ok(dirs.filter(|dir| self.fs.is_dir(dir)).collect())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(&digest.as_str()[..2]).join(digest.as_str())
    }
}
