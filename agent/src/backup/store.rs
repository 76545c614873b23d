//! `backups/<stack>/<id>.dump` in the state directory, and beside each its manifest `<id>.json`. The manifest is
//! written last and removed first: a dump without one is half a dump.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use state::backup::BackupId;
use state::durable::{self, FileSystem, NewFile, Owner, WriteError};
use state::name::StackName;

use super::BackupError;
use super::manifest::Manifest;

/// The directories and files of the backups.
#[derive(Debug, Clone)]
pub struct Store {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
}

/// What there is of one stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The backups, oldest first.
    pub backups: Vec<Manifest>,
    /// What has a manifest that cannot be read, or no dump; in words.
    pub damaged: Vec<(BackupId, String)>,
}

impl Store {
    /// In this state directory. Nothing is made before it is needed.
    pub fn new(fs: Arc<dyn FileSystem>, state_dir: &Path) -> Self {
        Self {
            fs,
            root: state_dir.join("backups"),
        }
    }

    /// Where the backups of a stack are.
    pub fn directory(&self, stack: &StackName) -> PathBuf {
        self.root.join(stack.as_str())
    }

    /// Where a dump is.
    pub fn dump(&self, stack: &StackName, id: &BackupId) -> PathBuf {
        self.directory(stack).join(format!("{id}.dump"))
    }

    /// Where its manifest is.
    pub fn manifest(&self, stack: &StackName, id: &BackupId) -> PathBuf {
        self.directory(stack).join(format!("{id}.json"))
    }

    /// Makes the directory of a stack, and removes what is half-made in it. Nobody is making one then.
    pub fn prepare(&self, stack: &StackName) -> Result<(), BackupError> {
        let dir = self.directory(stack);
        // Each by itself: what is above a directory that is there may not be durable yet.
        for dir in [&self.root, &dir] {
            durable::private_dir(&*self.fs, dir)?;
        }
        durable::sweep(&*self.fs, &dir).map_err(disk("clean", &dir))?;
        let names = self.names(stack)?;
        let with = ids(&names, ".json");
        for id in ids(&names, ".dump").difference(&with) {
            let path = self.dump(stack, id);
            durable::remove(&*self.fs, &path).map_err(disk("remove", &path))?;
        }
        Ok(())
    }

    /// How much more the disk takes.
    pub fn free(&self, stack: &StackName) -> Result<u64, BackupError> {
        let dir = self.directory(stack);
        self.fs.free(&dir).map_err(disk("ask for room in", &dir))
    }

    /// Writes a dump, durable when it is `Ok`. It does not count before its manifest is there.
    pub fn write(
        &self,
        stack: &StackName,
        id: &BackupId,
        fill: impl FnOnce(&mut dyn NewFile) -> io::Result<()>,
    ) -> Result<(), WriteError> {
        durable::stream(&*self.fs, &self.dump(stack, id), fill)
    }

    /// Writes a manifest, the first time or again.
    pub fn put(&self, manifest: &Manifest) -> Result<(), WriteError> {
        let path = self.manifest(&manifest.stack, &manifest.id);
        durable::replace(&*self.fs, &path, &manifest.to_json(), Owner::Private)
    }

    /// What there is of a stack.
    pub fn list(&self, stack: &StackName) -> Result<Listing, BackupError> {
        let names = self.names(stack)?;
        let dumps = ids(&names, ".dump");
        let mut listing = Listing::default();
        for id in ids(&names, ".json") {
            match self.read(stack, &id) {
                Ok(_) if !dumps.contains(&id) => {
                    listing.damaged.push((id, String::from("there is no dump of it")));
                }
                Ok(manifest) => listing.backups.push(manifest),
                Err(why) => listing.damaged.push((id, why)),
            }
        }
        Ok(listing)
    }

    /// One of them.
    pub fn get(&self, stack: &StackName, id: &BackupId) -> Result<Manifest, BackupError> {
        let listing = self.list(stack)?;
        if let Some((_, what)) = listing.damaged.into_iter().find(|(damaged, _)| damaged == id) {
            let id = id.clone();
            return Err(BackupError::Damaged { id, what });
        }
        let found = listing.backups.into_iter().find(|found| found.id == *id);
        found.ok_or_else(|| BackupError::Missing(id.clone()))
    }

    /// Removes one; gone is done.
    pub fn remove(&self, stack: &StackName, id: &BackupId) -> Result<(), BackupError> {
        let dir = self.directory(stack);
        if !self.fs.is_dir(&dir) {
            return Ok(());
        }
        for path in [self.manifest(stack, id), self.dump(stack, id)] {
            durable::remove(&*self.fs, &path).map_err(disk("remove", &path))?;
            self.fs.sync_dir(&dir).map_err(disk("sync", &dir))?;
        }
        Ok(())
    }

    fn read(&self, stack: &StackName, id: &BackupId) -> Result<Manifest, String> {
        let json = self
            .fs
            .read(&self.manifest(stack, id))
            .map_err(|error| error.to_string())?;
        let manifest = Manifest::from_json(&json)?;
        if manifest.id != *id || manifest.stack != *stack {
            return Err(format!(
                "its manifest is that of {} of {}",
                manifest.id, manifest.stack
            ));
        }
        Ok(manifest)
    }

    fn names(&self, stack: &StackName) -> Result<Vec<String>, BackupError> {
        let dir = self.directory(stack);
        match self.fs.names(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names.map_err(disk("list", &dir)),
        }
    }
}

fn ids(names: &[String], ending: &str) -> BTreeSet<BackupId> {
    let id = |name: &String| name.strip_suffix(ending)?.parse().ok();
    names.iter().filter_map(id).collect()
}

pub(super) fn disk(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_path_buf();
    move |source| BackupError::Disk { what, path, source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use state::durable::HostFiles;

    use super::super::manifest::tests::sample;
    use super::*;

    fn names(store: &Store, stack: &StackName) -> Vec<String> {
        let mut names = store.names(stack).unwrap();
        names.sort();
        names
    }

    fn keep(store: &Store, manifest: &Manifest) {
        store.prepare(&manifest.stack).unwrap();
        store
            .write(&manifest.stack, &manifest.id, |file| file.write(b"PGDMP"))
            .unwrap();
        store.put(manifest).unwrap();
    }

    #[test]
    fn what_is_kept_is_listed_and_private_and_removed() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::new(Arc::new(HostFiles), state.path());
        let (first, second) = (sample(7, 0), sample(8, 1));
        let stack = first.stack.clone();
        assert_eq!(store.list(&stack).unwrap(), Listing::default());
        store.remove(&stack, &first.id).unwrap();
        for manifest in [&second, &first] {
            keep(&store, manifest);
        }
        assert_eq!(
            store.list(&stack).unwrap().backups,
            [first.clone(), second.clone()]
        );
        assert_eq!(store.get(&stack, &second.id).unwrap(), second);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&state.path().join("backups")), 0o700);
        assert_eq!(mode(&store.directory(&stack)), 0o700);
        for path in [store.dump(&stack, &first.id), store.manifest(&stack, &first.id)] {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        for _ in 0..2 {
            store.remove(&stack, &first.id).unwrap();
        }
        assert_eq!(
            names(&store, &stack),
            ["20261126T201500Z-8.dump", "20261126T201500Z-8.json"]
        );
        let said = store.get(&stack, &first.id).unwrap_err();
        assert!(matches!(said, BackupError::Missing(_)), "{said}");
    }

    #[test]
    fn what_is_half_made_goes_and_what_is_damaged_stays_and_is_said() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::new(Arc::new(HostFiles), state.path());
        let manifests: Vec<Manifest> = (1..=4).map(|operation| sample(operation, 0)).collect();
        let stack = manifests[0].stack.clone();
        for manifest in &manifests {
            keep(&store, manifest);
        }
        let [whole, torn, alone, other] = &manifests[..] else {
            panic!("four")
        };
        fs::write(store.manifest(&stack, &torn.id), "{").unwrap();
        fs::remove_file(store.dump(&stack, &alone.id)).unwrap();
        fs::copy(
            store.manifest(&stack, &whole.id),
            store.manifest(&stack, &other.id),
        )
        .unwrap();
        let dir = store.directory(&stack);
        for half in [
            "20261126T191500Z-9.dump",
            "20261126T191500Z-9.dump.new",
            "notes.txt",
        ] {
            fs::write(dir.join(half), "PG").unwrap();
        }
        store.prepare(&stack).unwrap();
        let left = names(&store, &stack);
        assert_eq!(left.len(), 8, "{left:?}");
        assert!(left.contains(&String::from("notes.txt")) && !left.iter().any(|name| name.contains("-9")));
        let listing = store.list(&stack).unwrap();
        assert_eq!(listing.backups, std::slice::from_ref(whole));
        let damaged: Vec<&BackupId> = listing.damaged.iter().map(|(id, _)| id).collect();
        assert_eq!(damaged, [&torn.id, &alone.id, &other.id]);
        assert_eq!(listing.damaged[1].1, "there is no dump of it");
        assert_eq!(
            listing.damaged[2].1,
            "its manifest is that of 20261126T191500Z-1 of shop"
        );
        for damaged in [torn, alone, other] {
            let said = store.get(&stack, &damaged.id).unwrap_err();
            assert!(matches!(said, BackupError::Damaged { .. }), "{said}");
        }
    }
}
