//! The repository that releases come from: what its names are now, a checkout of a commit, a branch for those who work
//! on. It is asked by the `git` command, from a mirror of our own: no checkout of an operator is ever touched. What is
//! made of a checkout, and whether a release may be applied, is decided elsewhere.

mod change;
mod error;
mod git;
mod head;
mod mirror;
mod names;
mod origin;
mod push;
mod run;
mod said;
#[cfg(test)]
mod tests;
mod tree;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use state::name::{BranchName, Commit, StackName, Tag};

pub use self::error::{Objects, SourceError};
pub use self::git::GitRepository;
pub use self::head::head_branch;

/// The repository of one stack. Every call but `tree` and `tree_of` runs commands, each bounded in time; a call that is
/// dropped ends them, and the next one mends what they left.
#[async_trait]
pub trait Repository: Send + Sync {
    /// Brings what the origin has, and says which commit each of these names is now: that of the tag, else the one of this
    /// id, full or at least seven digits of it. Where the origin is away, what was brought before counts, and only what is
    /// not known from then is an error.
    async fn resolve(&self, names: &BTreeSet<Tag>) -> Result<Resolved, SourceError>;

    /// A checkout of that commit, whole and durable; where there is one, nothing is done. Executable bits and symbolic
    /// links are kept, also a link that leads out of the checkout: whoever reads in it follows none blindly.
    async fn checkout(&self, commit: &Commit) -> Result<PathBuf, SourceError>;

    /// Where `checkout` has put it, if it is there.
    fn tree(&self, commit: &Commit) -> Option<PathBuf>;

    /// Where `checkout` puts it.
    fn tree_of(&self, commit: &Commit) -> PathBuf;

    /// Where files lie that containers have mounted, each named by its content.
    fn published(&self) -> PathBuf;

    /// The id of what a commit has in a directory, the same for the same content; `None`: it has no such directory.
    async fn content(&self, commit: &Commit, within: &Path) -> Result<Option<String>, SourceError>;

    /// The tags that match the pattern of the settings, newest version first. Nothing is brought for it.
    async fn tags(&self) -> Result<Vec<TagInfo>, SourceError>;

    /// Removes the checkouts that are not in `keep`.
    async fn forget(&self, keep: &BTreeSet<Commit>) -> Result<(), SourceError>;

    /// Makes a branch at this commit, in our mirror, and before that in the origin when `push`; where it is there at this
    /// commit, that is done. Never forced.
    async fn branch(&self, name: &BranchName, at: &Commit, push: bool) -> Result<(), SourceError>;

    /// Commits one file as it was on top of a branch. Done twice with the same words it is the same commit.
    async fn revert_file(&self, revert: &RevertFile<'_>, push: bool) -> Result<Commit, SourceError>;
}

/// What names are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// All that was asked for.
    pub commits: BTreeMap<Tag, Commit>,
    /// Why the origin was not asked; `None`: it was.
    pub stale: Option<String>,
}

/// A tag as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagInfo {
    /// Its name.
    pub name: Tag,
    /// What it is at.
    pub commit: Commit,
    /// When that was committed, in milliseconds of the wall clock.
    pub at: i64,
    /// The first line of the commit's message.
    pub subject: String,
}

/// One file that is to be as it was.
#[derive(Debug, Clone, Copy)]
pub struct RevertFile<'a> {
    /// The file, from the root of the repository. Where `from` has none, it is taken out.
    pub path: &'a Path,
    /// The commit that has it as it should be.
    pub from: &'a Commit,
    /// The branch of the origin that it is committed on top of.
    pub onto: &'a BranchName,
    /// The branch that is at the new commit then: `onto` itself, or one that there is not yet.
    pub to: &'a BranchName,
    /// The message of the commit.
    pub message: &'a str,
    /// Who asked for it.
    pub author: Signature<'a>,
    /// Who commits it.
    pub committer: Signature<'a>,
    /// When, in seconds of the wall clock.
    pub at: i64,
}

/// Somebody, as a commit names them.
#[derive(Debug, Clone, Copy)]
pub struct Signature<'a> {
    /// The name.
    pub name: &'a str,
    /// The mail address.
    pub email: &'a str,
}

/// The repositories, by stack.
pub type Repositories = BTreeMap<StackName, Arc<dyn Repository>>;

/// Where all of them have their place in a state directory.
pub fn place(state_dir: &Path) -> PathBuf {
    state_dir.join("source")
}
