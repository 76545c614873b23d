//! The walk through a context, and the archive that comes of it. In the order of names, so that the same content is
//! always the same archive: owned by root, as `docker build` sends it, and of 1970.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;

use super::files::{self, DIRECTORY, FILE};
use super::ignore::Matched;
use super::{Context, ContextError};
use crate::engine::tar::{self, Entry, Kind};

/// How deep directories may lie: each holds a descriptor while it is walked.
const DEPTH: usize = 200;
/// How much of a file is read at once.
const PART: usize = 64 * 1024;

impl Context {
    /// Writes the archive. It blocks.
    pub(super) fn write(&self, to: &mut dyn Write) -> Result<(), ContextError> {
        let mut walk = Walk {
            context: self,
            to,
            unsent: Vec::new(),
            part: vec![0; PART],
        };
        walk.directory(&self.dir, &[], &Matched::default(), 0)?;
        for (name, text) in &self.own {
            let kind = Kind::File(text.content.len() as u64);
            walk.send(&header(name.as_bytes(), kind, text.mode))?;
            walk.send(&text.content)?;
            walk.pad(text.content.len() as u64)?;
        }
        walk.send(&tar::END)?;
        walk.to.flush().map_err(|_| ContextError::Closed)
    }
}

struct Walk<'a> {
    context: &'a Context,
    to: &'a mut dyn Write,
    /// Headers of the excluded directories that lead here: sent when something in them is.
    unsent: Vec<Vec<u8>>,
    part: Vec<u8>,
}

fn header(path: &[u8], kind: Kind<'_>, mode: u32) -> Vec<u8> {
    tar::header(&Entry {
        path,
        kind,
        mode,
        uid: 0,
        gid: 0,
    })
}

impl Walk<'_> {
    fn directory(
        &mut self,
        dir: &OwnedFd,
        path: &[u8],
        parent: &Matched,
        depth: usize,
    ) -> Result<(), ContextError> {
        if depth > DEPTH {
            let words = format!(
                "{} lies deeper than {DEPTH} directories",
                self.named(path).display()
            );
            return Err(ContextError::Wrong(words));
        }
        for name in names(dir).map_err(|errno| files::failed(&self.named(path), errno))? {
            let mut path = path.to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            self.entry(dir, &name, &path, parent, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        path: &[u8],
        parent: &Matched,
        depth: usize,
    ) -> Result<(), ContextError> {
        if self.context.own.iter().any(|(own, _)| own.as_bytes() == path) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(path);
        let (excluded, matched) = self.context.rules.excludes(&text, parent);
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| self.gone(path, errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if excluded && !self.context.rules.may_send_below(&text) => Ok(()),
            FileType::Directory => {
                let before = self.unsent.len();
                self.unsent.push(header(path, Kind::Directory, stat.st_mode));
                if !excluded {
                    self.send(&[])?;
                }
                let below = openat(dir, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
                    .map_err(|errno| self.gone(path, errno))?;
                self.directory(&below, path, &matched, depth + 1)?;
                self.unsent.truncate(before);
                Ok(())
            }
            _ if excluded => Ok(()),
            FileType::RegularFile => self.file(dir, name, path),
            FileType::Symlink => {
                let to = readlinkat(dir, name, Vec::new()).map_err(|errno| self.gone(path, errno))?;
                self.send(&header(path, Kind::Link(to.as_bytes()), 0o777))
            }
            // Sockets, FIFOs and devices are nothing that an image is made of.
            _ => Ok(()),
        }
    }

    fn file(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), ContextError> {
        let fd = openat(dir, name, FILE | OFlags::NOFOLLOW, Mode::empty());
        let mut file = File::from(fd.map_err(|errno| self.gone(path, errno))?);
        let failed = |source: io::Error| files::io(&self.named(path), source);
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(ContextError::Changed(self.named(path)));
        }
        self.send(&header(path, Kind::File(meta.len()), meta.mode()))?;
        let mut part = std::mem::take(&mut self.part);
        let mut left = meta.len();
        // Once more than there is to read: it may have grown.
        loop {
            let read = match file.read(&mut part) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(files::io(&self.named(path), source)),
            };
            match left.checked_sub(read as u64) {
                Some(rest) if read > 0 => left = rest,
                Some(0) => break,
                _ => return Err(ContextError::Changed(self.named(path))),
            }
            self.send(&part[..read])?;
        }
        self.part = part;
        self.pad(meta.len())
    }

    fn pad(&mut self, size: u64) -> Result<(), ContextError> {
        self.send(&tar::END[..tar::padding(size)])
    }

    /// Sends `bytes`, after the directories that lead to them.
    fn send(&mut self, bytes: &[u8]) -> Result<(), ContextError> {
        for header in self.unsent.drain(..) {
            self.to.write_all(&header).map_err(|_| ContextError::Closed)?;
        }
        self.to.write_all(bytes).map_err(|_| ContextError::Closed)
    }

    fn named(&self, path: &[u8]) -> PathBuf {
        self.context.path.join(std::ffi::OsStr::from_bytes(path))
    }

    /// What an error means for something that was just seen.
    fn gone(&self, path: &[u8], errno: Errno) -> ContextError {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO => {
                ContextError::Changed(self.named(path))
            }
            errno => files::failed(&self.named(path), errno),
        }
    }
}

/// The names in a directory, in order.
fn names(dir: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => names.push(name.to_owned()),
        }
    }
    names.sort_unstable();
    Ok(names)
}
