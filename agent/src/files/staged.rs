//! What a check is shown: a directory, or a file, of the operators' as it will be with the files of a release, laid out at a
//! place of ours. The operators' own stays as it is, and nothing of it is copied but links: what a release says nothing
//! of is mounted from where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, readlinkat, statat};
use rustix::io::Errno;

use super::{HostDisk, PutError};

/// The contents of files; `None`: there is no such file.
pub type Contents = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// Something that was laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Where: a directory for a directory, a file for a file.
    pub at: PathBuf,
    /// What else the directory holds, by its path below it: it has a place there, and is mounted on that.
    pub others: BTreeSet<PathBuf>,
}

/// So much else may lie beside the files of a release: each is a mount.
const OTHERS: usize = 500;
/// No more of one directory is looked at: as many files as a release may have there, and all that else.
const ENTRIES: usize = 1500;

impl HostDisk {
    pub(super) fn lay_out(&self, place: &Path, of: &Path, files: &Contents) -> Result<Staged, PutError> {
        let Some(copies) = &self.copies else {
            return Err(PutError::Io {
                path: of.to_owned(),
                source: io::ErrorKind::Unsupported.into(),
            });
        };
        let at = copies.join(place).join(of.file_name().unwrap_or_default());
        let below = |path: &PathBuf| path.strip_prefix(of).ok().map(Path::to_owned);
        let tracked: BTreeMap<PathBuf, &Option<Vec<u8>>> = files
            .iter()
            .filter_map(|(path, content)| Some((below(path)?, content)))
            .collect();
        let mut others = BTreeSet::new();
        let is_file = tracked.contains_key(Path::new(""));
        let directories: BTreeSet<&Path> = tracked
            .keys()
            .filter(|_| !is_file)
            .flat_map(|path| path.ancestors().skip(1))
            .collect();
        for directory in &directories {
            make(&at.join(directory))?;
            for (name, what) in self.entries(&of.join(directory))? {
                let path = directory.join(name);
                if tracked.contains_key(&path) || directories.contains(path.as_path()) {
                    continue;
                }
                if place_for(&at.join(&path), &what)? {
                    others.insert(path);
                }
                if others.len() > OTHERS {
                    return Err(PutError::Crowded {
                        path: of.to_owned(),
                        most: OTHERS,
                    });
                }
            }
        }
        for (path, content) in &tracked {
            if let Some(content) = content {
                let to = if is_file { at.clone() } else { at.join(path) };
                self.put_ours(&to, content, 0o644)?;
            }
        }
        Ok(Staged { at, others })
    }

    /// What is in a directory of the operators', in the order of names. One that is not there holds nothing.
    fn entries(&self, directory: &Path) -> Result<Vec<(OsString, Entry)>, PutError> {
        let failed = |errno: Errno| PutError::Io {
            path: directory.to_owned(),
            source: errno.into(),
        };
        let fd = match self.directory(&directory.join("."), directory) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            Err(errno) => return Err(failed(errno)),
        };
        let mut all = Vec::new();
        for entry in Dir::read_from(&fd).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if name == b"." || name == b".." {
                continue;
            }
            let stat = match statat(&fd, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            let what = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Entry::Directory,
                FileType::Symlink => {
                    let to = readlinkat(&fd, name.as_slice(), Vec::new()).map_err(failed)?;
                    Entry::Link(OsString::from_vec(to.into_bytes()))
                }
                _ => Entry::Other,
            };
            all.push((OsString::from_vec(name), what));
            if all.len() > ENTRIES {
                return Err(PutError::Crowded {
                    path: directory.to_owned(),
                    most: OTHERS,
                });
            }
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(all)
    }

    pub(super) fn clear_away(&self, place: &Path, but: Option<&str>) -> Result<(), PutError> {
        let Some(copies) = &self.copies else {
            return Ok(());
        };
        let at = copies.join(place);
        let Some(kept) = but else { return remove(&at) };
        let all = match fs::read_dir(&at) {
            Ok(all) => all,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(PutError::Io { path: at, source }),
        };
        for entry in all.flatten() {
            if entry.file_name() != kept {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// What lies beside the files of a release.
enum Entry {
    Directory,
    Link(OsString),
    Other,
}

/// Gives something else its place; whether it has to be mounted there. A link is one: it leads where it does in the container.
fn place_for(at: &Path, what: &Entry) -> Result<bool, PutError> {
    let done = match what {
        Entry::Directory => fs::create_dir(at),
        Entry::Link(to) => symlink(to, at),
        Entry::Other => fs::File::create_new(at).map(drop),
    };
    match done {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(PutError::Io {
            path: at.to_owned(),
            source: error,
        }),
        _ => Ok(!matches!(what, Entry::Link(_))),
    }
}

fn make(directory: &Path) -> Result<(), PutError> {
    fs::create_dir_all(directory).map_err(|source| PutError::Io {
        path: directory.to_owned(),
        source,
    })
}

fn remove(at: &Path) -> Result<(), PutError> {
    match fs::remove_dir_all(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PutError::Io {
            path: at.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}
