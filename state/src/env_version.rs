//! The versions of a stack's env files that are known of: what has used each, where it is now, and which one a person
//! means by an id. What is in them is nowhere in here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::desired::EnvWish;
use crate::files::{OnDisk, ReleaseFiles, Role};
use crate::name::{Digest, EnvId};
use crate::order::Refused;
use crate::record::StackRecord;
use crate::release::{Author, GenerationNumber, HostKey, Verdict};
use crate::time::Moment;

/// A version that a person has brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The env file that it is a version of.
    pub path: PathBuf,
    /// The object that holds it.
    pub content: Digest,
    /// The file that it was read from.
    pub from: PathBuf,
    /// Who.
    pub by: Author,
    /// When.
    pub at: Moment,
}

/// So many of them are remembered.
pub const KEPT_IMPORTED: usize = 20;

/// A version of an env file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvVersion {
    /// The file.
    pub path: PathBuf,
    /// The object that holds it, where it is kept.
    pub content: Digest,
    /// What it is shown by.
    pub id: EnvId,
    /// The generations that have it, the newest first.
    pub used_by: Vec<UsedBy>,
    /// Whether it is that of the request in force.
    pub is_asked_for: bool,
    /// Whether it is what the file holds.
    pub is_in_file: bool,
    /// Whether desired.toml pins it.
    pub is_pinned: bool,
    /// Who has brought it, and from where.
    pub imported: Option<Imported>,
    /// When it was last replaced by another one.
    pub replaced: Option<Moment>,
    /// When it was last used, asked for, replaced or brought; `None`: it is in the file, and nobody has taken it up.
    pub last: Option<Moment>,
}

/// A generation that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedBy {
    /// Its number.
    pub generation: GenerationNumber,
    /// What became of it.
    pub verdict: Verdict,
    /// When it was begun.
    pub begun: Moment,
}

/// Remembers one that a person has brought: each once, where it was last.
pub(crate) fn import(before: &mut Vec<Imported>, one: Imported) {
    before.retain(|other| !is_same(other, &one));
    before.push(one);
    before.drain(..before.len().saturating_sub(KEPT_IMPORTED));
}

/// The one that is forgotten when this one is remembered.
pub fn forgotten_for<'i>(before: &'i [Imported], one: &Imported) -> Option<&'i Imported> {
    let others = || before.iter().filter(|other| !is_same(other, one));
    others().next().filter(|_| others().count() >= KEPT_IMPORTED)
}

fn is_same(one: &Imported, other: &Imported) -> bool {
    one.path == other.path && one.content == other.content
}

/// Every env file that is known of, the stack's own first.
pub fn paths(record: &StackRecord, env_file: &Path) -> Vec<PathBuf> {
    let request = record.request.iter().map(|request| &request.files);
    let files = request.chain(record.generations.iter().map(|g| &g.files));
    let named = files
        .flatten()
        .filter(|(_, file)| file.role == Role::Env)
        .map(|(path, _)| path);
    let replaced = record.replaced.iter().filter(|one| one.role == Role::Env);
    let known: BTreeSet<&PathBuf> = named
        .chain(replaced.map(|one| &one.path))
        .chain(record.imported.iter().map(|one| &one.path))
        .filter(|path| path.as_path() != env_file)
        .collect();
    std::iter::once(env_file.to_owned())
        .chain(known.into_iter().cloned())
        .collect()
}

/// The env file that a person means: the stack's own, or the only one whose path ends so.
pub fn which<'p>(paths: &'p [PathBuf], named: Option<&Path>) -> Result<&'p Path, Refused> {
    let all: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let Some(named) = named else {
        let own = all.first().copied();
        return own.ok_or_else(|| Refused::new("the stack has no env file", "see `steadfast status`"));
    };
    let named = named.strip_prefix(".").unwrap_or(named);
    let fits: Vec<&Path> = all.iter().copied().filter(|path| path.ends_with(named)).collect();
    match fits.as_slice() {
        [path] => Ok(path),
        [] => Err(Refused::new(
            format!("the stack has no env file {}", named.display()),
            format!("its env files: {}", joined(&all)),
        )),
        several => Err(Refused::new(
            format!("several env files are called {}", named.display()),
            format!("write one whole: {}", joined(several)),
        )),
    }
}

fn joined(paths: &[&Path]) -> String {
    let words: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    words.join(", ")
}

/// All versions, the newest first; what is on the disk is among them, also where nobody has taken it up.
pub fn versions(record: &StackRecord, env_file: &Path, key: &HostKey, disk: &OnDisk) -> Vec<EnvVersion> {
    let mut all = All {
        key,
        versions: BTreeMap::new(),
    };
    if let Some(request) = &record.request {
        for (path, content) in contents(&request.files, request.env.as_ref(), env_file) {
            let version = all.of(path, content);
            version.is_asked_for = true;
            version.was_there(&request.accepted);
        }
    }
    for generation in record.generations.iter().rev() {
        for (path, content) in contents(&generation.files, generation.release.env.as_ref(), env_file) {
            let version = all.of(path, content);
            version.used_by.push(UsedBy {
                generation: generation.number,
                verdict: generation.verdict,
                begun: generation.begun.clone(),
            });
            version.was_there(&generation.begun);
        }
    }
    for one in record.replaced.iter().filter(|one| one.role == Role::Env) {
        let version = all.of(&one.path, &one.content);
        version.replaced = Some(one.at.clone());
        version.was_there(&one.at);
    }
    for one in &record.imported {
        let version = all.of(&one.path, &one.content);
        version.imported = Some(one.clone());
        version.was_there(&one.at);
    }
    for (path, content) in disk {
        if let Some(content) = content {
            all.of(path, content).is_in_file = true;
        }
    }
    let wish = record.request.as_ref().map(|request| &request.desired.env);
    let mut versions: Vec<EnvVersion> = all.versions.into_values().collect();
    for version in &mut versions {
        version.is_pinned = version.path == env_file && wish.is_some_and(|wish| version.is_meant_by(wish));
    }
    // What nobody has taken up yet is the newest of all.
    versions.sort_by_key(|version| {
        let last = version.last.as_ref().map_or(i64::MAX, |last| last.wall_ms);
        std::cmp::Reverse(last)
    });
    versions
}

/// The version of a file that a person means by an id, or by the beginning of one.
pub fn find<'v>(all: &'v [EnvVersion], path: &Path, id: &EnvId) -> Result<&'v EnvVersion, Refused> {
    let begins = |version: &&EnvVersion| version.id.as_str().starts_with(id.as_str());
    let fits: Vec<&EnvVersion> = all
        .iter()
        .filter(|version| version.path == path)
        .filter(begins)
        .collect();
    match fits.as_slice() {
        [version] => Ok(version),
        [] => {
            let why = format!("no version of {} has the id {id}", path.display());
            Err(match all.iter().find(begins) {
                Some(other) => {
                    let of = other.path.display();
                    Refused::new(why, format!("it is one of {of}: name that by --file"))
                }
                None => Refused::new(why, "`steadfast env list` shows them"),
            })
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|version| version.id.as_str()).collect();
            let why = format!("{id} is the beginning of several ids: {}", ids.join(", "));
            Err(Refused::new(why, "write it whole"))
        }
    }
}

/// What the env files of a release hold. Of an older one only the stack's own is known.
fn contents<'f>(
    files: &'f ReleaseFiles,
    env: Option<&'f Digest>,
    env_file: &'f Path,
) -> impl Iterator<Item = (&'f Path, &'f Digest)> {
    let own = env.filter(|_| files.is_empty()).map(|env| (env_file, env));
    let named = files
        .iter()
        .filter(move |(path, file)| file.role == Role::Env || path.as_path() == env_file)
        .filter_map(|(path, file)| Some((path.as_path(), file.content.as_ref()?)));
    named.chain(own)
}

/// Whether this is what a pin means: it may be the beginning of an id, or longer than what is shown.
pub fn is_pin_of(pin: &EnvId, id: &EnvId) -> bool {
    id.as_str().starts_with(pin.as_str()) || pin.as_str().starts_with(id.as_str())
}

struct All<'k> {
    key: &'k HostKey,
    versions: BTreeMap<(PathBuf, Digest), EnvVersion>,
}

impl All<'_> {
    fn of(&mut self, path: &Path, content: &Digest) -> &mut EnvVersion {
        let key = self.key;
        let place = (path.to_owned(), content.clone());
        self.versions.entry(place).or_insert_with(|| EnvVersion {
            path: path.to_owned(),
            content: content.clone(),
            id: key.env_id(content),
            used_by: Vec::new(),
            is_asked_for: false,
            is_in_file: false,
            is_pinned: false,
            imported: None,
            replaced: None,
            last: None,
        })
    }
}

impl EnvVersion {
    fn was_there(&mut self, at: &Moment) {
        if self.last.as_ref().is_none_or(|last| last.wall_ms < at.wall_ms) {
            self.last = Some(at.clone());
        }
    }

    fn is_meant_by(&self, wish: &EnvWish) -> bool {
        match wish {
            EnvWish::Current => false,
            EnvWish::Sha256(digest) => *digest == self.content,
            EnvWish::Short(id) => is_pin_of(id, &self.id),
        }
    }
}

#[cfg(test)]
mod tests;
