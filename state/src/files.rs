//! The operator's own files that a release is made of: `.env`, Compose and tracked files. Which version of each
//! belongs to a release, what the agent itself has put there, and which of them have to be put back. Their
//! contents are objects; nothing here reads a disk.

mod action;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bug::{self, Bug};
use crate::name::{Digest, ServiceName};
use crate::time::Moment;

pub use action::{Action, Signal, action_in, reads_otherwise};

/// What a file is to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// `.env` of the stack, or an `env_file` of a service: its content is a secret.
    Env,
    /// A Compose file, or one that it extends or includes.
    Compose,
    /// A file of `track`.
    Tracked,
    /// A directory of `track`: what the release has below it are files of their own, and it has no others there.
    Directory,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Env => "env file",
            Self::Compose => "Compose file",
            Self::Tracked => "tracked file",
            Self::Directory => "tracked directory",
        })
    }
}

/// A command that is asked before a version of a tracked file is used. What ends with 0 has nothing against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheck {
    /// The file.
    pub path: PathBuf,
    /// Whose new container it is asked in.
    pub service: ServiceName,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// A file that is compared with what a container sees of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Where it is on the host: what somebody has written there meanwhile is not the release's fault.
    pub path: PathBuf,
    /// Its content in the release; `None`: there is no such file.
    pub content: Option<Digest>,
}

/// How long such a command may take.
pub const CHECKED_WITHIN: Duration = Duration::from_secs(60);

/// Whose a file is, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOwner {
    /// Numeric user id.
    pub uid: u32,
    /// Numeric group id.
    pub gid: u32,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
}

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseFile {
    /// What it is.
    pub role: Role,
    /// The object that holds its content; `None`: there is no such file.
    pub content: Option<Digest>,
    /// Whose it was, for where it has to be made anew. It is no part of the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<FileOwner>,
    /// What is done with the containers that see it when it changes.
    #[serde(default, skip_serializing_if = "Action::is_recreate")]
    pub action: Action,
}

/// The files of a release, by their absolute paths. Empty: nobody has written down which they were.
pub type ReleaseFiles = BTreeMap<PathBuf, ReleaseFile>;

/// What a release says of a path: its version of a file, `Some(None)` where it has no such file, and `None` where it
/// says nothing. Below a directory that belongs to it, it says of every file whether there is one.
pub fn version_in<'f>(files: &'f ReleaseFiles, path: &Path) -> Option<Option<&'f Digest>> {
    match files.get(path) {
        Some(file) if file.role == Role::Directory => None,
        Some(file) => Some(file.content.as_ref()),
        None => is_below_directory(files, path).then_some(None),
    }
}

fn is_below_directory(files: &ReleaseFiles, path: &Path) -> bool {
    let mut above = path.ancestors().skip(1);
    above.any(|above| files.get(above).is_some_and(|file| file.role == Role::Directory))
}

/// The paths that a release says something of, among its own and these.
pub fn paths_of<'f>(
    files: &'f ReleaseFiles,
    others: impl IntoIterator<Item = &'f PathBuf>,
) -> BTreeSet<&'f PathBuf> {
    let all = files.keys().chain(others);
    all.filter(|path| version_in(files, path).is_some()).collect()
}

/// What the agent has put at these paths, in the place of the operator's own version, the newest last: whether that
/// could be written is seen on the disk.
pub type Placed = BTreeMap<PathBuf, Vec<Option<Digest>>>;

/// Whether what is at a path is what the agent has put there.
pub fn is_placed(placed: &Placed, path: &Path, is: Option<&Digest>) -> bool {
    placed
        .get(path)
        .is_some_and(|contents| contents.iter().any(|content| content.as_ref() == is))
}

/// One file that is put where another version of it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub role: Role,
    /// The content that is there; whatever else is there by then is left alone.
    pub from: Option<Digest>,
    /// The content that it gets; `None`: it goes.
    pub to: Option<Digest>,
    /// Whose it is, where it has to be made anew; a file that is there keeps its owner and mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<FileOwner>,
    /// Whether what is there is the operator's, and not what the agent has put there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub theirs: bool,
    /// Whether this gives the operator back what was theirs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gives_back: bool,
    /// What is done with the containers that see it.
    #[serde(default, skip_serializing_if = "Action::is_recreate")]
    pub action: Action,
    /// When what is there was written, in milliseconds of the wall clock: whoever was started since has read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<i64>,
}

/// Two moments of one clock, told by two programs, may be so many milliseconds apart.
const SLACK_MS: i64 = 1000;

impl FileChange {
    /// Whether a container has read what is there that sees this `source` of the host and was started at `started`.
    /// Where nobody can say when, it may have.
    pub fn was_read(&self, source: &Path, started: Option<i64>) -> bool {
        let since = started.zip(self.written);
        self.role == Role::Tracked
            && self.path.starts_with(source)
            && since.is_none_or(|(started, written)| started + SLACK_MS >= written)
    }

    /// What takes it back.
    #[must_use]
    pub fn back(&self) -> Self {
        Self {
            from: self.to.clone(),
            to: self.from.clone(),
            theirs: false,
            gives_back: self.theirs,
            ..self.clone()
        }
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match (&self.from, &self.to) {
            (None, Some(_)) => write!(f, "{path} again"),
            (_, None) => write!(f, "{path} away"),
            _ => write!(f, "{path} back"),
        }
    }
}

/// A version of a file that the agent has replaced: it is kept for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub role: Role,
    /// The object that holds what was there.
    pub content: Digest,
    /// When.
    pub at: Moment,
}

/// So many of them are kept.
pub const KEPT_REPLACED: usize = 50;

/// Files that the agent puts, from a moment on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placing {
    /// The files.
    pub changes: Vec<FileChange>,
    /// When.
    pub at: Moment,
}

impl Placing {
    /// What this replaces, after what was replaced before.
    pub fn replacing(&self, before: &mut Vec<Replaced>) {
        for change in &self.changes {
            let Some(content) = change.from.clone() else {
                continue;
            };
            let one = Replaced {
                path: change.path.clone(),
                role: change.role,
                content,
                at: self.at.clone(),
            };
            keep_replaced(before, one);
        }
    }
}

/// Each version once, where it was last, and no more of them than are kept.
fn keep_replaced(before: &mut Vec<Replaced>, one: Replaced) {
    before.retain(|other| other.path != one.path || other.content != one.content);
    before.push(one);
    before.drain(..before.len().saturating_sub(KEPT_REPLACED));
}

/// A version of a file that a person has the agent write: theirs, whoever has put the same content there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub role: Role,
    /// The content that is there; `None`: there is no such file.
    pub from: Option<Digest>,
    /// The content that it gets.
    pub to: Digest,
    /// When.
    pub at: Moment,
}

impl Given {
    /// What this replaces, after what was replaced before.
    pub fn replacing(&self, before: &mut Vec<Replaced>) {
        let Some(content) = self.from.clone().filter(|content| *content != self.to) else {
            return;
        };
        let one = Replaced {
            path: self.path.clone(),
            role: self.role,
            content,
            at: self.at.clone(),
        };
        keep_replaced(before, one);
    }
}

/// What is on the disk at the paths of a release, as far as that can be seen.
pub type OnDisk = BTreeMap<PathBuf, Option<Digest>>;

/// The files that have to be put for a release to be there whole, of those that were looked for. A file is only ever replaced where what is there is
/// known: the operator's version of the request in force (`own`), or what the agent has put there itself (`placed`).
/// Whatever else is there is somebody's edit, on its way to be a request.
pub fn to_put(wanted: &ReleaseFiles, own: &ReleaseFiles, placed: &Placed, disk: &OnDisk) -> Vec<FileChange> {
    let change = |(path, is): (&PathBuf, &Option<Digest>)| {
        let to = version_in(wanted, path)?;
        let theirs = !is_placed(placed, path, is.as_ref());
        let known = !theirs || version_in(own, path) == Some(is.as_ref()) || bug::is(Bug::EditIsOverwritten);
        let file = wanted.get(path);
        (known && is.as_ref() != to).then(|| FileChange {
            path: path.clone(),
            role: file
                .or_else(|| own.get(path))
                .map_or(Role::Tracked, |file| file.role),
            from: is.clone(),
            to: to.cloned(),
            owner: file.and_then(|file| file.owner),
            theirs,
            gives_back: false,
            action: action_in(wanted, path),
            written: None,
        })
    };
    disk.iter().filter_map(change).collect()
}

/// What the operator has put already of what containers see: nothing has to be done about it, but where the release is
/// taken back before it runs, it is put back to what the one before it has (`before`), and the old containers start on that.
pub fn put_already(wanted: &ReleaseFiles, before: &ReleaseFiles, disk: &OnDisk) -> Vec<FileChange> {
    let change = |(path, is): (&PathBuf, &Option<Digest>)| {
        let (from, to) = (version_in(before, path)?, version_in(wanted, path)?);
        let role = wanted.get(path).map_or(Role::Tracked, |file| file.role);
        let is_there = is.as_ref() == to;
        (is_there && role == Role::Tracked && from != to).then(|| FileChange {
            path: path.clone(),
            role,
            from: from.cloned(),
            to: to.cloned(),
            owner: before.get(path).and_then(|before| before.owner),
            theirs: false,
            gives_back: false,
            action: action_in(wanted, path),
            written: None,
        })
    };
    disk.iter().filter_map(change).collect()
}

/// What counts as put there by the agent once these changes are begun.
pub fn placing(placed: &Placed, changes: &[FileChange]) -> Placed {
    let mut after = placed.clone();
    // What is given back is none of ours: whether it is there again is seen.
    for change in changes.iter().filter(|change| !change.gives_back) {
        let contents = after.entry(change.path.clone()).or_default();
        contents.retain(|content| *content != change.to);
        contents.push(change.to.clone());
    }
    after
}

/// What counts as put there by the agent once a person has this version given to them. It alone is theirs then: what is
/// there until it is written stays whose it was, so that whoever is interrupted in between has asked for nothing.
pub fn given(placed: &Placed, given: &Given) -> Placed {
    let mut after = placed.clone();
    if let Some(contents) = after.get_mut(&given.path) {
        contents.retain(|content| content.as_ref() != Some(&given.to));
        if contents.is_empty() {
            after.remove(&given.path);
        }
    }
    after
}

/// Once the disk was seen, that is known of what the agent has put there: it is there, or somebody has written since.
pub fn placed_as_seen(placed: &Placed, disk: &OnDisk) -> Placed {
    let seen = |(path, contents): (&PathBuf, &Vec<Option<Digest>>)| match disk.get(path) {
        Some(is) if contents.contains(is) => Some((path.clone(), vec![is.clone()])),
        Some(_) => None,
        None => Some((path.clone(), contents.clone())),
    };
    placed.iter().filter_map(seen).collect()
}

/// The tracked files that a container is made for which has `source` mounted from the host, with their contents: the file
/// itself, or all that lie below a directory. What it reads again by itself is none of them.
pub fn seen_through<'f>(
    files: &'f ReleaseFiles,
    source: &Path,
) -> impl Iterator<Item = (&'f PathBuf, &'f Digest)> + use<'f> {
    let source = source.to_owned();
    files
        .iter()
        .filter(move |(path, file)| {
            file.role == Role::Tracked && file.action.is_recreate() && path.starts_with(&source)
        })
        .filter_map(|(path, file)| Some((path, file.content.as_ref()?)))
}

#[cfg(test)]
mod tests;
