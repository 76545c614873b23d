//! The operator's own files on this host: read, and put back whole, each by a rename. Whoever may write in a stack's
//! directory cannot lead either out of it by a symbolic link. Which file gets which content is decided elsewhere.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use config::compose::{MAX_FILE, Source};
use config::read::{self, ReadError};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use state::bug::{self, Bug};
use state::durable::{self, HostFiles, NewFile};
use state::files::{FileOwner, OnDisk, Placed, ReleaseFiles, is_placed};
use state::ledger::Store;
use state::name::Digest;

/// The files of operators.
pub trait Files: Source + Send + Sync {
    /// Whose a file is; `None`: there is none, or nobody can say.
    fn owner(&self, path: &Path) -> Option<FileOwner>;

    /// When what is in a file was written, in milliseconds of the wall clock, as far as anybody can say.
    fn written(&self, path: &Path) -> Option<i64>;

    /// Puts a whole file at `path`, or takes it away (`None`). Whoever reads it sees the old content or the new one, also
    /// after a power cut. A file that is there keeps owner and mode; one that is made anew gets those of `owner`, or is its
    /// maker's alone.
    fn put(&self, path: &Path, content: Option<&[u8]>, owner: Option<FileOwner>) -> Result<(), PutError>;
}

/// Why a file could not be put. The message never holds any of its content.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// A symbolic link leads out of the stack's directory.
    #[error("{} leads out of {}", path.display(), base.display())]
    LeadsOut {
        /// The file.
        path: PathBuf,
        /// The directory of the stack.
        base: PathBuf,
    },
    /// Something else than a file is there.
    #[error("{} is no file", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{} cannot be written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// So many symbolic links in a row are one that leads to itself.
const LINKS: usize = 8;

/// The real disk.
#[derive(Debug, Clone, Default)]
pub struct HostDisk {
    /// The directories of all stacks: what is asked for below one of them is looked for nowhere else.
    bases: Vec<PathBuf>,
}

/// A file by its name in an open directory.
struct At {
    dir: OwnedFd,
    name: PathBuf,
}

impl HostDisk {
    /// A disk on which nothing that lies below one of these directories leads out of it.
    pub fn new(bases: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            bases: bases.into_iter().collect(),
        }
    }

    fn base_of(&self, path: &Path) -> Option<&Path> {
        let bases = self.bases.iter().map(PathBuf::as_path);
        let around = bases.filter(|base| path.starts_with(base) && path != *base);
        around.max_by_key(|base| base.components().count())
    }

    /// Where `path` really is: its directory, held open, and its name there.
    fn find(&self, path: &Path) -> Result<At, PutError> {
        let mut wanted = path.to_owned();
        for _ in 0..LINKS {
            let failed = |errno: Errno| match (errno, self.base_of(path)) {
                (Errno::XDEV, Some(base)) => PutError::LeadsOut {
                    path: path.to_owned(),
                    base: base.to_owned(),
                },
                _ => PutError::Io {
                    path: path.to_owned(),
                    source: errno.into(),
                },
            };
            let (Some(parent), Some(name)) = (wanted.parent(), wanted.file_name()) else {
                return Err(failed(Errno::INVAL));
            };
            let name = PathBuf::from(name);
            let dir = self.directory(path, parent).map_err(failed)?;
            let is_link = match rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Symlink,
                Err(Errno::NOENT) => false,
                Err(errno) => return Err(failed(errno)),
            };
            if !is_link {
                return Ok(At { dir, name });
            }
            let to = rustix::fs::readlinkat(&dir, &name, Vec::new()).map_err(failed)?;
            let to = PathBuf::from(std::ffi::OsString::from(to.to_string_lossy().into_owned()));
            wanted = plain(&parent.join(to)).ok_or_else(|| failed(Errno::XDEV))?;
            if let Some(base) = self.base_of(path)
                && !wanted.starts_with(base)
            {
                return Err(failed(Errno::XDEV));
            }
        }
        Err(PutError::Io {
            path: path.to_owned(),
            source: Errno::LOOP.into(),
        })
    }

    /// The directory `parent` of a file that was asked for as `path`. Below the directory of a stack it is looked for
    /// there alone.
    fn directory(&self, path: &Path, parent: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Some((base, below)) = self
            .base_of(path)
            .and_then(|base| Some((base, parent.strip_prefix(base).ok()?)))
        else {
            return rustix::fs::open(parent, flags, Mode::empty());
        };
        let base = rustix::fs::open(base, flags, Mode::empty())?;
        if below.as_os_str().is_empty() {
            return Ok(base);
        }
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&base, below, flags, Mode::empty(), beneath) {
            // A kernel, or a sandbox, that does not know it: no link at all is followed, then.
            Err(Errno::NOSYS | Errno::PERM) => below.components().try_fold(base, |dir, component| {
                rustix::fs::openat(
                    &dir,
                    component.as_os_str(),
                    flags | OFlags::NOFOLLOW,
                    Mode::empty(),
                )
            }),
            other => other,
        }
    }
}

/// A path without `.` and `..`, taken as it is written; `None` where it leads above the root.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop().then_some(())?;
            }
            other => plain.push(other),
        }
    }
    Some(plain)
}

impl At {
    /// Where it is written before it is renamed: under a name of ours, and no file that an operator keeps beside it.
    fn beside(&self) -> PathBuf {
        let name = format!(".{}.steadfast", self.name.display());
        self.path().with_file_name(name)
    }

    /// A path to it that nobody can lead elsewhere while the directory is held open.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.dir.as_raw_fd())).join(&self.name)
    }
}

impl Source for HostDisk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        if self.base_of(path).is_none() {
            return read::read_regular(path, MAX_FILE);
        }
        let at = match self.find(path) {
            Ok(at) => at,
            Err(PutError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let path = path.to_owned();
                return Err(ReadError::Absent { path });
            }
            Err(PutError::Io { path, source }) => return Err(ReadError::Unreadable { path, source }),
            Err(error) => {
                return Err(ReadError::Unreadable {
                    path: path.to_owned(),
                    source: io::Error::other(error),
                });
            }
        };
        read::read_regular_at(&at.dir, &at.name, path, MAX_FILE)
    }
}

impl Files for HostDisk {
    fn owner(&self, path: &Path) -> Option<FileOwner> {
        let at = self.find(path).ok()?;
        let stat = rustix::fs::statat(&at.dir, &at.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(FileOwner {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
        })
    }

    // A file that is renamed into place is as old as before; what is there then is not.
    fn written(&self, path: &Path) -> Option<i64> {
        let at = self.find(path).ok()?;
        let stat = rustix::fs::statat(&at.dir, &at.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let nanos = i64::try_from(stat.st_ctime_nsec).ok()?;
        Some(
            stat.st_ctime
                .saturating_mul(1000)
                .saturating_add(nanos / 1_000_000),
        )
    }

    fn put(&self, path: &Path, content: Option<&[u8]>, owner: Option<FileOwner>) -> Result<(), PutError> {
        let at = self.find(path)?;
        let failed = |source: io::Error| PutError::Io {
            path: path.to_owned(),
            source,
        };
        let there = match rustix::fs::statat(&at.dir, &at.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => true,
            Ok(_) => {
                let path = path.to_owned();
                return Err(PutError::NotRegular { path });
            }
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(failed(errno.into())),
        };
        let real = at.path();
        let Some(content) = content else {
            durable::remove(&HostFiles, &real).map_err(failed)?;
            return rustix::fs::fsync(&at.dir).map_err(|errno| failed(errno.into()));
        };
        let fill = |file: &mut dyn NewFile| {
            file.write(content)?;
            match owner {
                _ if there => file.take_after(&real),
                Some(owner) => file.give_to(&owner),
                None => Ok(()),
            }
        };
        durable::stream_through(&HostFiles, &at.beside(), &real, fill).map_err(|error| failed(error.source))
    }
}

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
        match self.theirs.get(path).filter(|_| ours) {
            Some(own) => Meant::instead_of(is, own.content.as_ref()),
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
}

#[cfg(test)]
mod tests;
