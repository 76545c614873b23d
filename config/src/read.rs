//! Reading a file that somebody else wrote, in bounded time and memory: a FIFO, a directory, a
//! device or a huge file is an error, never a wait. Nothing here looks at the content.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Why a file could not be read. The message never holds any of the content.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file, or it is a symbolic link to nothing.
    #[error("{} does not exist", path.display())]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// It may be there, but cannot be read: no permission, an error of the disk.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is something else than a file.
    #[error("{} is {what}, not a file", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What it is: `a directory`.
        what: &'static str,
    },
    /// There is more below it than anybody reads.
    #[error("{} holds more than {most}", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
        /// The most that is read, in words.
        most: &'static str,
    },
    /// It is larger than such a file ever is.
    #[error("{} is larger than {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read, in bytes.
        max: u64,
    },
}

/// The content of the regular file at `path` (symbolic links are followed), when it has at most
/// `max` bytes. Never blocks on a FIFO or a device.
pub fn read_regular(path: &Path, max: u64) -> Result<Vec<u8>, ReadError> {
    read_whole(
        open_regular(rustix::fs::CWD, path, path, OFlags::empty())?,
        path,
        max,
    )
}

/// As [`read_regular`], of the file `name` in an open directory, which is called `path`. A symbolic link is not followed.
pub fn read_regular_at(dir: impl AsFd, name: &Path, path: &Path, max: u64) -> Result<Vec<u8>, ReadError> {
    read_whole(open_regular(dir, name, path, OFlags::NOFOLLOW)?, path, max)
}

fn read_whole(mut file: File, path: &Path, max: u64) -> Result<Vec<u8>, ReadError> {
    let mut content = Vec::new();
    // One byte more than allowed: the file may have grown since it was opened.
    match file
        .by_ref()
        .take(max.saturating_add(1))
        .read_to_end(&mut content)
    {
        Ok(read) if read as u64 > max => Err(ReadError::TooLarge {
            path: path.to_owned(),
            max,
        }),
        Ok(_) => Ok(content),
        Err(source) => Err(ReadError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

/// So many files may lie below a directory that is read whole, so deep, and with so many bytes in all.
const FILES: usize = 1000;
const DEPTH: usize = 20;
const BYTES: u64 = 16 << 20;

/// What a file is called while it is written, before it is renamed: nobody reads it by that name.
pub fn unfinished(name: &Path) -> PathBuf {
    PathBuf::from(format!(".{}.steadfast", name.display()))
}

/// As [`files_below`], of the directory at `path`.
pub fn files_below_path(path: &Path) -> Result<BTreeSet<PathBuf>, ReadError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    files_below(opened.map_err(|errno| no_directory(path, errno))?, path)
}

/// Why a directory could not be opened.
pub fn no_directory(path: &Path, errno: Errno) -> ReadError {
    let path = path.to_owned();
    match errno {
        Errno::NOENT => ReadError::Absent { path },
        errno => ReadError::Unreadable {
            path,
            source: errno.into(),
        },
    }
}

/// The paths of all files below the open directory that is called `path`, hidden ones too. Whatever else is there is an
/// error, symbolic links too: whoever writes through one, or takes it away, has to do with another file.
pub fn files_below(directory: impl AsFd, path: &Path) -> Result<BTreeSet<PathBuf>, ReadError> {
    let mut below = Below {
        top: path,
        files: BTreeSet::new(),
        bytes: 0,
    };
    below.walk(directory.as_fd(), path, 0)?;
    Ok(below.files)
}

struct Below<'a> {
    top: &'a Path,
    files: BTreeSet<PathBuf>,
    bytes: u64,
}

impl Below<'_> {
    fn walk(&mut self, directory: BorrowedFd<'_>, path: &Path, depth: usize) -> Result<(), ReadError> {
        let unreadable = |errno: Errno| ReadError::Unreadable {
            path: path.to_owned(),
            source: errno.into(),
        };
        for entry in Dir::read_from(directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = Path::new(OsStr::from_bytes(entry.file_name().to_bytes()));
            let bytes = name.as_os_str().as_bytes();
            let is_unfinished = bytes.starts_with(b".") && bytes.ends_with(b".steadfast");
            if bytes == b"." || bytes == b".." || is_unfinished {
                continue;
            }
            self.entry(directory, name, &path.join(name), depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &Path,
        path: &Path,
        depth: usize,
    ) -> Result<(), ReadError> {
        let unreadable = |errno: Errno| ReadError::Unreadable {
            path: path.to_owned(),
            source: errno.into(),
        };
        // Paths are kept as text.
        if name.to_str().is_none() {
            return Err(ReadError::Unreadable {
                path: path.to_owned(),
                source: io::Error::new(io::ErrorKind::InvalidFilename, "its name is not UTF-8"),
            });
        }
        let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It went while we were looking.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(unreadable(errno)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth < DEPTH => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(directory, name, flags, Mode::empty()).map_err(unreadable)?;
                return self.walk(below.as_fd(), path, depth + 1);
            }
            FileType::Directory => return Err(self.too_many("20 directories, one in the other")),
            FileType::RegularFile => {
                self.bytes = self
                    .bytes
                    .saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
            }
            other => {
                return Err(ReadError::NotRegular {
                    path: path.to_owned(),
                    what: called(other),
                });
            }
        }
        self.files.insert(path.to_owned());
        if self.files.len() > FILES {
            return Err(self.too_many("1000 files"));
        }
        if self.bytes > BYTES {
            return Err(self.too_many("16 MiB"));
        }
        Ok(())
    }

    fn too_many(&self, most: &'static str) -> ReadError {
        ReadError::TooMany {
            path: self.top.to_owned(),
            most,
        }
    }
}

fn called(what: FileType) -> &'static str {
    match what {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown type",
    }
}

/// The regular file `name` in `dir`, which is called `path`, opened for reading.
fn open_regular(dir: impl AsFd, name: &Path, path: &Path, more: OFlags) -> Result<File, ReadError> {
    let unreadable = |errno: Errno| ReadError::Unreadable {
        path: path.to_owned(),
        source: errno.into(),
    };
    // NONBLOCK: opening a FIFO nobody writes to would wait for ever. NOCTTY: a terminal stays its owner's.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY | more;
    let fd = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => {
            return Err(ReadError::Absent {
                path: path.to_owned(),
            });
        }
        // What opening a Unix socket says.
        Err(Errno::NXIO) => {
            return Err(ReadError::NotRegular {
                path: path.to_owned(),
                what: "a socket",
            });
        }
        Err(errno) => return Err(unreadable(errno)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(unreadable)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(File::from(fd)),
        other => Err(ReadError::NotRegular {
            path: path.to_owned(),
            what: called(other),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_not_a_byte_further() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_regular(&path, 5).unwrap(), b"12345");
        assert!(matches!(
            read_regular(&path, 4),
            Err(ReadError::TooLarge { max: 4, .. })
        ));
    }

    #[test]
    fn a_fifo_a_directory_a_socket_and_a_device_are_named_and_nothing_waits() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, expected) in [
            (fifo.as_path(), "a FIFO"),
            (dir.path(), "a directory"),
            (socket.as_path(), "a socket"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            match read_regular(path, 10) {
                Err(ReadError::NotRegular { what, .. }) => assert_eq!(what, expected),
                other => panic!("{}: {other:?}", path.display()),
            }
        }
    }

    #[test]
    fn absent_and_unreadable_are_different_things() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            read_regular(&dir.path().join("no"), 10),
            Err(ReadError::Absent { .. })
        ));
        let link = dir.path().join("dangling");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(matches!(read_regular(&link, 10), Err(ReadError::Absent { .. })));
        let circle = dir.path().join("circle");
        std::os::unix::fs::symlink("circle", &circle).unwrap();
        assert!(matches!(
            read_regular(&circle, 10),
            Err(ReadError::Unreadable { .. })
        ));
    }

    #[test]
    fn all_files_below_a_directory_are_listed_and_nothing_else_is_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("rules/deep/empty")).unwrap();
        for name in [
            "b.yml",
            ".hidden",
            "rules/a.yml",
            "rules/deep/c",
            "rules/.c.steadfast",
        ] {
            std::fs::write(at(name), name).unwrap();
        }
        let list = || {
            let opened = File::open(dir.path()).unwrap();
            let files = files_below(&opened, Path::new("/conf"));
            files.map(|files| {
                files
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect::<Vec<_>>()
                    .join(" ")
            })
        };
        assert_eq!(
            list().unwrap(),
            "/conf/.hidden /conf/b.yml /conf/rules/a.yml /conf/rules/deep/c"
        );
        std::os::unix::fs::symlink("b.yml", at("link")).unwrap();
        assert_eq!(
            list().unwrap_err().to_string(),
            "/conf/link is a symbolic link, not a file"
        );
        std::fs::remove_file(at("link")).unwrap();
        let odd = dir.path().join(OsStr::from_bytes(b"\xff.conf"));
        std::fs::write(&odd, "").unwrap();
        let said = list().unwrap_err();
        assert!(
            matches!(&said, ReadError::Unreadable { source, .. } if source.to_string() == "its name is not UTF-8")
        );
        std::fs::remove_file(&odd).unwrap();
        let fifo = at("rules/fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(
            list().unwrap_err().to_string(),
            "/conf/rules/fifo is a FIFO, not a file"
        );
        std::fs::remove_file(&fifo).unwrap();
        File::create(at("large")).unwrap().set_len(BYTES).unwrap();
        assert_eq!(list().unwrap_err().to_string(), "/conf holds more than 16 MiB");
        std::fs::remove_file(at("large")).unwrap();
        for number in 0..FILES {
            std::fs::write(at(&number.to_string()), "").unwrap();
        }
        assert_eq!(
            list().unwrap_err().to_string(),
            "/conf holds more than 1000 files"
        );
    }
}
