//! What Git said when it did not do what it should, and what may be concluded from it. Its words are English: every
//! call is made with `LC_ALL=C`.

use std::io;

use super::origin::Origin;
use super::run::{Ended, Git};
use super::{Objects, SourceError};

/// As much of its words as is repeated.
const SAID: usize = 600;

const DAMAGED_THERE: [&str; 3] = [
    "on the remote side",
    "git-pack-objects died",
    "remote: fatal: bad object",
];
const DAMAGED: [&str; 21] = [
    // Either side may be meant: a mirror that is made anew tells.
    "did not send all necessary objects",
    "broken ref",
    "reference broken",
    "is corrupt",
    "corrupt loose object",
    "corrupt patch",
    "bad object",
    "missing blob",
    "missing tree",
    "inflate:",
    "unable to read tree",
    "unable to read sha1",
    "unable to parse object",
    "unable to unpack",
    "could not parse object",
    "object file is empty",
    "object file ",
    "bad tree object",
    "invalid object",
    "packfile",
    "not a git repository",
];
const DENIED: [&str; 14] = [
    // Root has to become the owner of a directory to push there.
    "'setpriv': no such file",
    "authentication failed",
    "permission denied",
    "could not read username",
    "could not read password",
    "terminal prompts disabled",
    "returned error: 401",
    "returned error: 403",
    "host key verification failed",
    "access denied",
    "dubious ownership",
    "insufficient permission",
    "unable to create temporary object directory",
    "not authorized",
];
const NOT_THERE: [&str; 5] = [
    "does not appear to be a git repository",
    "not a git repository",
    "repository not found",
    "returned error: 404",
    "not found",
];
const FULL: [&str; 2] = ["no space left on device", "disk quota exceeded"];

fn has(words: &str, any: &[&str]) -> bool {
    let lower = words.to_lowercase();
    any.iter().any(|text| lower.contains(text))
}

/// Of a call that is about our mirror alone.
pub(super) fn own(git: &Git, what: &'static str, ended: &Ended) -> SourceError {
    let said = shown(ended);
    if has(&ended.words, &FULL) {
        return full(git);
    }
    if has(&ended.words, &DAMAGED) {
        let objects = Objects::Mirror(git.base.join("repo.git"));
        return SourceError::Damaged { objects, said };
    }
    SourceError::Failed { what, said }
}

/// Of a call that goes to the origin.
pub(super) fn of_origin(git: &Git, origin: &Origin, ended: &Ended) -> SourceError {
    let (words, said) = (&ended.words, shown(ended));
    let address = origin.to_string();
    if has(words, &FULL) {
        return full(git);
    }
    if has(words, &DAMAGED_THERE) {
        let objects = Objects::Origin(address);
        return SourceError::Damaged { objects, said };
    }
    let mirror = git.base.join("repo.git");
    if words.contains(&format!("not a git repository: '{}'", mirror.display())) {
        let objects = Objects::Mirror(mirror);
        return SourceError::Damaged { objects, said };
    }
    if has(words, &DENIED) {
        return SourceError::Denied {
            origin: address,
            said,
        };
    }
    // A directory that is not there may be one that is not mounted.
    let is_away = origin.path().is_some_and(|path| !path.exists());
    if has(words, &NOT_THERE) && !is_away {
        return SourceError::NotARepository {
            origin: address,
            said,
        };
    }
    if has(words, &DAMAGED) && !is_away {
        let objects = Objects::Mirror(mirror);
        return SourceError::Damaged { objects, said };
    }
    SourceError::Unreachable {
        origin: address,
        said,
    }
}

fn full(git: &Git) -> SourceError {
    SourceError::io("write in", &git.base)(io::ErrorKind::StorageFull.into())
}

/// What it said that counts, on one line: first what it calls an error, else its last words.
pub(super) fn shown(ended: &Ended) -> String {
    let lines = || ended.words.lines().map(str::trim).filter(|line| !line.is_empty());
    let errors = ["fatal:", "error:", "remote:", "ssh:"];
    let mut told: Vec<&str> = lines()
        .filter(|line| errors.iter().any(|error| line.starts_with(error)))
        .collect();
    if told.is_empty() {
        told = lines().collect();
        told.drain(..told.len().saturating_sub(3));
    }
    told.dedup();
    match ended.code {
        _ if !told.is_empty() => few(&told),
        Some(code) => format!("it ended with code {code} and said nothing"),
        None => String::from("it was killed"),
    }
}

/// Lines as one, not too long.
pub(super) fn few(lines: &[&str]) -> String {
    let joined = lines.join("; ");
    match joined.char_indices().nth(SAID) {
        Some((end, _)) => format!("{}…", &joined[..end]),
        None => joined,
    }
}
