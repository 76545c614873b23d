//! The repository as the `git` command sees it. What only this host knows, our own directory, is laid out here: the
//! mirror, the checkouts, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use state::name::Tag;
use state::name::{BranchName, Commit};

use super::mirror::Mirror;
use super::origin::Origin;
use super::run::Git;
use super::tree::Trees;
use super::{Repository, Resolved, RevertFile, SourceError, TagInfo};

/// A repository that is mirrored in a directory of ours. One process at a time works there.
#[derive(Debug)]
pub struct GitRepository {
    mirror: Mirror,
    trees: Trees,
    /// Where mounted files lie.
    published: PathBuf,
    /// Which tags are releases.
    pattern: String,
}

impl GitRepository {
    /// `base`: an absolute path, made when it is needed, and ours alone. `origin`: an address or an absolute path, as
    /// `git fetch` takes it. `tags`: a pattern as `git tag --list` takes it.
    pub fn new(base: PathBuf, origin: String, tags: String) -> Self {
        Self::by(std::ffi::OsString::from("git"), base, origin, tags)
    }

    /// The same, by another program.
    pub(super) fn by(program: std::ffi::OsString, base: PathBuf, origin: String, pattern: String) -> Self {
        let trees = Trees::new(&base);
        let published = base.join("files");
        let mirror = Mirror::new(Git { program, base }, Origin::new(origin));
        Self {
            mirror,
            trees,
            published,
            pattern,
        }
    }
}

#[async_trait]
impl Repository for GitRepository {
    async fn resolve(&self, names: &BTreeSet<Tag>) -> Result<Resolved, SourceError> {
        self.mirror.resolve(names).await
    }

    async fn checkout(&self, commit: &Commit) -> Result<PathBuf, SourceError> {
        self.trees.make(&self.mirror, commit).await
    }

    fn tree(&self, commit: &Commit) -> Option<PathBuf> {
        self.trees.find(commit)
    }

    fn tree_of(&self, commit: &Commit) -> PathBuf {
        self.trees.path(commit)
    }

    fn published(&self) -> PathBuf {
        self.published.clone()
    }

    async fn content(&self, commit: &Commit, within: &Path) -> Result<Option<String>, SourceError> {
        self.mirror.content(commit, within).await
    }

    async fn tags(&self) -> Result<Vec<TagInfo>, SourceError> {
        self.mirror.tags(&self.pattern).await
    }

    async fn forget(&self, keep: &BTreeSet<Commit>) -> Result<(), SourceError> {
        self.trees.keep(keep).await?;
        self.mirror.roll_up().await
    }

    async fn branch(&self, name: &BranchName, at: &Commit, push: bool) -> Result<(), SourceError> {
        self.mirror.branch(name, at, push).await
    }

    async fn revert_file(&self, revert: &RevertFile<'_>, push: bool) -> Result<Commit, SourceError> {
        self.mirror.revert_file(revert, push).await
    }
}
