//! The operators' files as they mean them, where the agent has put others in their places. Nothing is written here.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use config::compose::Source;
use config::read::ReadError;
use state::bug::{self, Bug};
use state::files::{OnDisk, Placed, ReleaseFiles, is_placed, version_in};
use state::ledger::Store;
use state::name::Digest;

/// The disk as its operators mean it: where the agent has put another version of a file, theirs is the one of the request
/// in force, until they write to it again.
pub(crate) struct Own<'a> {
    disk: &'a dyn Source,
    store: &'a dyn Store,
    theirs: &'a ReleaseFiles,
    placed: &'a Placed,
    /// The file that is pinned, and its content.
    pin: Option<(&'a Path, &'a Digest)>,
    seen: RefCell<OnDisk>,
}

impl<'a> Own<'a> {
    pub(crate) fn of(
        disk: &'a dyn Source,
        store: &'a dyn Store,
        (theirs, placed): (&'a ReleaseFiles, &'a Placed),
        pin: Option<(&'a Path, &'a Digest)>,
    ) -> Self {
        Self {
            disk,
            store,
            theirs,
            placed,
            pin,
            seen: RefCell::default(),
        }
    }

    /// What really was on the disk, of all that was read.
    pub(crate) fn seen(self) -> OnDisk {
        self.seen.into_inner()
    }

    /// What the operators mean, where `is` is there.
    fn meant(&self, path: &Path, is: Option<&Digest>) -> Meant<'a> {
        if let Some((_, content)) = self.pin.filter(|(pinned, _)| *pinned == path) {
            return Meant::instead_of(is, Some(content));
        }
        let ours = is_placed(self.placed, path, is) && !bug::is(Bug::OwnFileIsARequest);
        match version_in(self.theirs, path).filter(|_| ours) {
            Some(own) => Meant::instead_of(is, own),
            None => Meant::WhatIsThere,
        }
    }
}

/// What the operators mean by a file.
enum Meant<'a> {
    WhatIsThere,
    Nothing,
    Version(&'a Digest),
}

impl<'a> Meant<'a> {
    fn instead_of(is: Option<&Digest>, meant: Option<&'a Digest>) -> Self {
        match meant {
            meant if meant == is => Self::WhatIsThere,
            Some(content) => Self::Version(content),
            None => Self::Nothing,
        }
    }
}

impl Source for Own<'_> {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let read = self.disk.read(path);
        let is = match &read {
            Ok(bytes) => Some(Digest::of(bytes)),
            Err(ReadError::Absent { .. }) => None,
            Err(_) => return read,
        };
        let meant = self.meant(path, is.as_ref());
        self.seen.borrow_mut().insert(path.to_owned(), is.clone());
        let path = path.to_owned();
        match meant {
            Meant::WhatIsThere => read,
            Meant::Nothing => Err(ReadError::Absent { path }),
            Meant::Version(digest) => match self.store.object(digest) {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(ReadError::Unreadable {
                    path,
                    source: io::Error::other(
                        "the version that was asked for is gone from the state directory",
                    ),
                }),
                Err(error) => Err(ReadError::Unreadable {
                    path,
                    source: io::Error::other(error),
                }),
            },
        }
    }

    // What the agent has put, or taken away, is theirs as the request has it; all else is what is there.
    fn list(&self, directory: &Path) -> Result<BTreeSet<PathBuf>, ReadError> {
        let mut files = self.disk.list(directory)?;
        for path in self.placed.keys().filter(|path| path.starts_with(directory)) {
            if matches!(self.read(path), Err(ReadError::Absent { .. })) {
                files.remove(path);
            } else {
                files.insert(path.clone());
            }
        }
        Ok(files)
    }
}
