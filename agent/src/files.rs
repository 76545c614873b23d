//! The operator's own files on this host: read, and put back whole, each by a rename. Whoever may write in a stack's
//! directory cannot lead either out of it by a symbolic link. Which file gets which content is decided elsewhere.

mod own;
mod staged;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use config::compose::{MAX_FILE, Source};
use config::read::{self, ReadError};
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, StatVfsMountFlags};
use rustix::io::Errno;
use state::durable::{self, HostFiles, NewFile};
use state::files::FileOwner;
use state::name::Digest;

pub(crate) use own::Own;
pub use staged::{Contents, Staged};

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

    /// Whether a file could be put at `path`, as far as that is seen without doing it: nothing is to be stopped for one
    /// that cannot.
    fn can_put(&self, path: &Path) -> Result<(), PutError>;

    /// Puts a content at `at`, a path of ours that is called after it. Everybody may read it, and run it where they are to.
    fn publish(&self, at: &Path, content: &[u8], runs: bool) -> Result<(), PutError>;

    /// Lays out at `place`, a path of ours that nothing else has, what `of` holds once these files are so: for a container that
    /// looks at them before they are. Everybody may read it. What was laid out there before stays, and is the same.
    fn stage(&self, place: &Path, of: &Path, files: &Contents) -> Result<Staged, PutError>;

    /// Takes away what was laid out at `place` and below it, but what lies under this name.
    fn clear(&self, place: &Path, but: Option<&str>) -> Result<(), PutError>;
}

/// Which version of a file is there; `None`: there is no such file.
pub(crate) fn version_at<S: Source + ?Sized>(disk: &S, path: &Path) -> Result<Option<Digest>, ReadError> {
    match disk.read(path) {
        Ok(bytes) => Ok(Some(Digest::of(&bytes))),
        Err(ReadError::Absent { .. }) => Ok(None),
        Err(error) => Err(error),
    }
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
    /// There is more beside the files of a release than a check is shown.
    #[error("{} has more than {most} entries beside the files of the release: mount the files themselves", path.display())]
    Crowded {
        /// The directory.
        path: PathBuf,
        /// So many are shown.
        most: usize,
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
    /// Where checkouts are, as `STACK/trees/COMMIT`: each is such a directory too.
    sources: Option<PathBuf>,
    /// Where files are laid out for checks; `None`: none are.
    copies: Option<PathBuf>,
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
            sources: None,
            copies: None,
        }
    }

    /// The same, with files laid out in this directory of ours.
    #[must_use]
    pub fn with_copies(self, at: PathBuf) -> Self {
        Self {
            copies: Some(at),
            ..self
        }
    }

    /// The same with a place for repositories: nothing that lies in one of their checkouts leads out of that.
    #[must_use]
    pub fn with_sources(mut self, sources: PathBuf) -> Self {
        self.sources = Some(sources);
        self
    }

    fn base_of<'p>(&'p self, path: &'p Path) -> Option<&'p Path> {
        if let Some(sources) = &self.sources
            && let Ok(below) = path.strip_prefix(sources)
        {
            // Of what lies beside the checkouts there is no more than a file in a directory of its own.
            let depth = below.components().count();
            return path.ancestors().nth(depth.saturating_sub(3).max(1));
        }
        let bases = self.bases.iter().map(PathBuf::as_path);
        let around = bases.filter(|base| path.starts_with(base) && path != *base);
        around.max_by_key(|base| base.components().count())
    }

    /// Whether it lies among what we have of the repositories.
    fn is_ours(&self, path: &Path) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|sources| path.starts_with(sources))
    }

    /// The directory of a file of ours. Those of operators are theirs to make.
    fn make_place(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if self.is_ours(path) && !parent.is_dir() => {
                std::fs::create_dir_all(parent)?;
                let mut all = parent.ancestors().skip(1).take(2);
                all.try_for_each(|above| std::fs::File::open(above)?.sync_all())
            }
            _ => Ok(()),
        }
    }

    /// Makes the directories of a file of an operator's that were taken away with it, as far as they lie below the stack's
    /// own: they are whose the file is.
    fn make_way(&self, path: &Path, owner: Option<FileOwner>) -> Result<(), Errno> {
        let (mut at, missing) = self.way(path)?;
        for name in missing.into_iter().rev() {
            match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = rustix::fs::openat(&at, name, flags, Mode::empty())?;
            if let Some(FileOwner { uid, gid, .. }) = owner {
                // Whoever may not give it away keeps it.
                let _ = std::os::unix::fs::fchown(&below, Some(uid), Some(gid));
            }
            rustix::fs::fsync(&at)?;
            at = below;
        }
        Ok(())
    }

    /// The directory above a file that is there, held open, and the names of those that are missing below it, the last
    /// one first.
    fn way<'p>(&self, path: &'p Path) -> Result<(OwnedFd, Vec<&'p OsStr>), Errno> {
        let (Some(base), Some(parent)) = (self.base_of(path), path.parent()) else {
            return Err(Errno::NOENT);
        };
        let mut missing = Vec::new();
        for above in parent.ancestors().take_while(|above| above.starts_with(base)) {
            match self.directory(path, above) {
                Ok(there) => return Ok((there, missing)),
                Err(Errno::NOENT) => missing.extend(above.file_name()),
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::NOENT)
    }

    /// Takes a file away; of a symbolic link the link itself, and not what it leads to.
    fn take_away(&self, path: &Path) -> Result<(), PutError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(self.refused(path, Errno::INVAL));
        };
        let name = PathBuf::from(name);
        let dir = match self.directory(path, parent) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(self.refused(path, errno)),
        };
        let what = match rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(self.refused(path, errno)),
        };
        if !matches!(what, FileType::RegularFile | FileType::Symlink) {
            let path = path.to_owned();
            return Err(PutError::NotRegular { path });
        }
        let at = At { dir, name };
        let failed = |source| PutError::Io {
            path: path.to_owned(),
            source,
        };
        durable::remove(&HostFiles, &at.path()).map_err(failed)?;
        rustix::fs::fsync(&at.dir).map_err(|errno| failed(errno.into()))
    }

    /// Why the kernel has refused something about `path`.
    fn refused(&self, path: &Path, errno: Errno) -> PutError {
        match (errno, self.base_of(path)) {
            (Errno::XDEV, Some(base)) => PutError::LeadsOut {
                path: path.to_owned(),
                base: base.to_owned(),
            },
            _ => PutError::Io {
                path: path.to_owned(),
                source: errno.into(),
            },
        }
    }

    /// Where `path` really is: its directory, held open, and its name there.
    fn find(&self, path: &Path) -> Result<At, PutError> {
        let mut wanted = path.to_owned();
        for _ in 0..LINKS {
            let failed = |errno| self.refused(path, errno);
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
                if component == Component::ParentDir {
                    return Err(Errno::XDEV);
                }
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
        self.path().with_file_name(read::unfinished(&self.name))
    }

    /// A path to it that nobody can lead elsewhere while the directory is held open.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.dir.as_raw_fd())).join(&self.name)
    }
}

fn owner_in(stat: &Stat) -> FileOwner {
    FileOwner {
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
    }
}

impl HostDisk {
    /// Puts a file of our own, and the directory that it is in.
    fn put_ours(&self, at: &Path, content: &[u8], mode: u32) -> Result<(), PutError> {
        if let Some(parent) = at.parent() {
            std::fs::create_dir_all(parent).map_err(|source| PutError::Io {
                path: at.to_owned(),
                source,
            })?;
        }
        let (uid, gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        self.put(at, Some(content), Some(FileOwner { uid, gid, mode }))
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

    fn list(&self, directory: &Path) -> Result<BTreeSet<PathBuf>, ReadError> {
        let opened = self.directory(&directory.join("."), directory);
        read::files_below(
            opened.map_err(|errno| read::no_directory(directory, errno))?,
            directory,
        )
    }
}

impl Files for HostDisk {
    fn owner(&self, path: &Path) -> Option<FileOwner> {
        let at = self.find(path).ok()?;
        let stat = rustix::fs::statat(&at.dir, &at.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(owner_in(&stat))
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
        let failed = |source: io::Error| PutError::Io {
            path: path.to_owned(),
            source,
        };
        let Some(content) = content else {
            return self.take_away(path);
        };
        self.make_place(path).map_err(failed)?;
        let at = match self.find(path) {
            Err(PutError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.make_way(path, owner).map_err(|errno| failed(errno.into()))?;
                self.find(path)?
            }
            at => at?,
        };
        let there = match rustix::fs::statat(&at.dir, &at.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                Some(owner_in(&stat))
            }
            Ok(_) => {
                let path = path.to_owned();
                return Err(PutError::NotRegular { path });
            }
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(failed(errno.into())),
        };
        let real = at.path();
        // As it was seen here: by its name it may be a link to another file by now.
        let fill = |file: &mut dyn NewFile| {
            file.write(content)?;
            there.or(owner).map_or(Ok(()), |owner| file.give_to(&owner))
        };
        durable::stream_through(&HostFiles, &at.beside(), &real, fill).map_err(|error| failed(error.source))
    }

    fn can_put(&self, path: &Path) -> Result<(), PutError> {
        let failed = |errno: Errno| PutError::Io {
            path: path.to_owned(),
            source: errno.into(),
        };
        if self.is_ours(path) {
            return Ok(());
        }
        let dir = match self.find(path) {
            Ok(at) => at.dir,
            // Its directory is made with it.
            Err(PutError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.way(path).map_err(failed)?.0
            }
            Err(error) => return Err(error),
        };
        let seen = rustix::fs::fstatvfs(&dir).map_err(failed)?;
        if seen.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(failed(Errno::ROFS));
        }
        // A rename within the directory is all that is done. As who we are now, with the rights that the unit gives.
        let may = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(&dir, ".", may, AtFlags::EACCESS).map_err(failed)
    }

    fn publish(&self, at: &Path, content: &[u8], runs: bool) -> Result<(), PutError> {
        if self.read(at).is_ok_and(|there| there == content) {
            return Ok(());
        }
        let failed = |source: io::Error| PutError::Io {
            path: at.to_owned(),
            source,
        };
        self.make_place(at).map_err(failed)?;
        self.put_ours(at, content, if runs { 0o755 } else { 0o644 })
    }

    fn stage(&self, place: &Path, of: &Path, files: &Contents) -> Result<Staged, PutError> {
        self.lay_out(place, of, files)
    }

    fn clear(&self, place: &Path, but: Option<&str>) -> Result<(), PutError> {
        self.clear_away(place, but)
    }
}

#[cfg(test)]
mod tests;
