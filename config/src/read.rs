//! Reading a file that somebody else wrote, in bounded time and memory: a FIFO, a directory, a
//! device or a huge file is an error, never a wait. Nothing here looks at the content.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
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
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(File::from(fd)),
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "of an unknown type",
    };
    Err(ReadError::NotRegular {
        path: path.to_owned(),
        what,
    })
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
}
