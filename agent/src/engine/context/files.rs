//! Opening what a context consists of, without being led out of it by a symbolic link.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::Errno;

use super::ContextError;

/// The most of a Dockerfile, and of a `.dockerignore`, that is read.
const MAX_TEXT: u64 = 1024 * 1024;
/// For a directory.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// For a file. NONBLOCK: opening a FIFO nobody writes to would wait for ever. NOCTTY: a terminal stays its owner's.
pub(super) const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// A small file, read whole.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

impl Text {
    pub(super) fn new(content: &[u8]) -> Self {
        Self {
            content: content.to_owned(),
            mode: 0o644,
        }
    }

    pub(super) fn lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.content)
    }

    pub(super) fn add_line(&mut self, line: &str) {
        if !self.content.is_empty() && !self.content.ends_with(b"\n") {
            self.content.push(b'\n');
        }
        self.content.extend_from_slice(line.as_bytes());
        self.content.push(b'\n');
    }
}

/// A text that was found, and whether a symbolic link led to it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) text: Text,
    pub(super) by_link: bool,
}

/// The directory of a context. Below `within` no link leads out of that; any other path is its operator's word, and is
/// followed as it is.
pub(super) fn directory(path: &Path, within: Option<&Path>) -> Result<OwnedFd, ContextError> {
    let opened = match below(path, within) {
        Some((base, rest)) => {
            open(base, DIRECTORY, Mode::empty()).and_then(|base| beneath(base, rest, DIRECTORY))
        }
        None => open(path, DIRECTORY, Mode::empty()),
    };
    opened.map_err(|errno| match errno {
        Errno::NOENT => ContextError::Wrong(format!("there is no build context {}", path.display())),
        Errno::NOTDIR => ContextError::Wrong(format!("the build context {} is no directory", path.display())),
        errno => failed(path, errno),
    })
}

/// The text at `path`, which is relative, in the directory `dir`, which is called `base`. `None`: there is none.
pub(super) fn text(dir: &OwnedFd, base: &Path, path: &Path) -> Result<Option<Found>, ContextError> {
    let (opened, by_link) = match plainly(dir, path) {
        // Not only a link says so; but nothing else can be opened by following one.
        Err(Errno::LOOP | Errno::NOTDIR) => {
            let dir = dir.try_clone().map_err(|source| io(&base.join(path), source))?;
            (beneath(dir, path, FILE), true)
        }
        other => (other, false),
    };
    read(opened, &base.join(path), by_link)
}

/// The text at a path outside of the context. Below `within` no link leads out of that.
pub(super) fn text_elsewhere(path: &Path, within: Option<&Path>) -> Result<Option<Found>, ContextError> {
    match below(path, within) {
        Some((base, rest)) => text(&directory(base, None)?, base, rest),
        None => read(openat(CWD, path, FILE, Mode::empty()), path, true),
    }
}

fn below<'a>(path: &'a Path, within: Option<&'a Path>) -> Option<(&'a Path, &'a Path)> {
    let base = within?;
    Some((base, path.strip_prefix(base).ok()?))
}

fn read(opened: Result<OwnedFd, Errno>, path: &Path, by_link: bool) -> Result<Option<Found>, ContextError> {
    let file = match opened {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(failed(path, errno)),
    };
    let meta = file.metadata().map_err(|source| io(path, source))?;
    let mut content = Vec::new();
    if !meta.is_file() {
        return Err(ContextError::Wrong(format!("{} is no file", path.display())));
    }
    let mut bounded = file.take(MAX_TEXT + 1);
    bounded
        .read_to_end(&mut content)
        .map_err(|source| io(path, source))?;
    if content.len() as u64 > MAX_TEXT {
        let words = format!("{} has more than {MAX_TEXT} bytes", path.display());
        return Err(ContextError::Wrong(words));
    }
    let text = Text {
        content,
        mode: meta.mode() & 0o7777,
    };
    Ok(Some(Found { text, by_link }))
}

/// Opens without following any link.
fn plainly(dir: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::NOENT);
    };
    let mut at = None;
    for component in parent.components() {
        let within = at.as_ref().unwrap_or(dir);
        at = Some(openat(
            within,
            component.as_os_str(),
            DIRECTORY | OFlags::NOFOLLOW,
            Mode::empty(),
        )?);
    }
    openat(
        at.as_ref().unwrap_or(dir),
        name,
        FILE | OFlags::NOFOLLOW,
        Mode::empty(),
    )
}

/// Opens what is below `base`; a link is followed as long as it stays there.
fn beneath(base: OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    if path.as_os_str().is_empty() {
        return Ok(base);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(&base, path, flags, Mode::empty(), resolve) {
        // A kernel, or a sandbox, that does not know it: no link at all is followed, then.
        Err(Errno::NOSYS | Errno::PERM) => {
            let mut at = base;
            let mut components = path.components().peekable();
            while let Some(component) = components.next() {
                let flags = if components.peek().is_some() {
                    DIRECTORY
                } else {
                    flags
                };
                at = openat(
                    &at,
                    component.as_os_str(),
                    flags | OFlags::NOFOLLOW,
                    Mode::empty(),
                )?;
            }
            Ok(at)
        }
        other => other,
    }
}

/// What the system says of `path`, as an error.
pub(super) fn failed(path: &Path, errno: Errno) -> ContextError {
    match errno {
        Errno::XDEV => ContextError::Wrong(format!("a symbolic link of {} leads out of it", path.display())),
        Errno::LOOP => ContextError::Wrong(format!(
            "the symbolic links of {} are not followed",
            path.display()
        )),
        errno => io(path, errno.into()),
    }
}

pub(super) fn io(path: &Path, source: std::io::Error) -> ContextError {
    ContextError::Io {
        path: path.to_owned(),
        source,
    }
}
