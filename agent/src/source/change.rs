//! What is put into the origin: a branch, or one file as it was on top of one. Nothing is forced, no checkout is needed
//! for it, and what the origin refuses leaves no trace.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use state::durable::{self, HostFiles};
use state::name::{BranchName, Commit};

use super::mirror::{Mirror, OURS, remove_tree};
use super::names::plain;
use super::run::{Call, Ended, Reads, parts};
use super::{RevertFile, SourceError, said};

/// What a tree has under a path: its mode and its object.
type Entry = (String, String);

impl Mirror {
    /// Makes a branch at a commit.
    pub(super) async fn branch(&self, name: &BranchName, at: &Commit, push: bool) -> Result<(), SourceError> {
        self.need(at).await?;
        let mut writing = self.begin().await?;
        if !push {
            // Where the origin is away, what is known of its branches counts.
            match self.bring(&mut writing).await {
                Err(error) if !error.passes() => return Err(error),
                _ => {}
            }
        }
        let there = if push {
            self.branch_there(name).await?
        } else {
            self.branch_here("refs/heads/", name).await?
        };
        match there.or(self.branch_here(OURS, name).await?) {
            Some(there) if there != *at => {
                let (name, at) = (name.clone(), there);
                return Err(SourceError::Exists { name, at });
            }
            _ => {}
        }
        if push {
            self.push(name, at, None, None).await?;
        }
        self.note(name, at).await?;
        Self::end(writing);
        Ok(())
    }

    /// Commits one file as it was.
    pub(super) async fn revert_file(
        &self,
        revert: &RevertFile<'_>,
        push: bool,
    ) -> Result<Commit, SourceError> {
        let mut writing = self.begin().await?;
        match self.bring(&mut writing).await {
            Err(error) if push || !error.passes() => return Err(error),
            _ => {}
        }
        Self::end(writing);
        self.need(revert.from).await?;
        let writing = self.begin().await?;
        let onto = self.branch_here("refs/heads/", revert.onto).await?;
        let onto = onto.ok_or_else(|| SourceError::NoSuchName {
            origin: self.origin.to_string(),
            name: format!("branch {}", revert.onto),
            near: Vec::new(),
        })?;
        let entry = self.what_changes(revert, &onto).await?;
        let change = Change {
            mirror: self,
            revert,
            onto: &onto,
            entry: entry.as_ref(),
        };
        let made = change.put(push).await;
        change.clear()?;
        Self::end(writing);
        made
    }

    /// The entry that the file is to have; `None`: it is to be none.
    async fn what_changes(
        &self,
        revert: &RevertFile<'_>,
        onto: &Commit,
    ) -> Result<Option<Entry>, SourceError> {
        let no_file = || SourceError::NoSuchFile {
            path: revert.path.to_owned(),
            commit: revert.from.clone(),
        };
        let path = plain(revert.path)
            .filter(|path| !path.is_empty())
            .ok_or_else(no_file)?;
        let was = self.entry(revert.from, &path).await?;
        let is = self.entry(onto, &path).await?;
        // A directory or a submodule is more than one file.
        let more = |entry: &Option<Entry>| {
            entry
                .as_ref()
                .is_some_and(|(mode, _)| !mode.starts_with('1') || mode == "160000")
        };
        if more(&was) || more(&is) || (was.is_none() && is.is_none()) {
            return Err(no_file());
        }
        if was == is {
            return Err(SourceError::NothingToDo {
                path: revert.path.to_owned(),
                onto: revert.onto.clone(),
                from: revert.from.clone(),
            });
        }
        Ok(was)
    }

    async fn entry(&self, commit: &Commit, path: &[u8]) -> Result<Option<Entry>, SourceError> {
        let call = Call::new("ls-tree", &self.path()).args(["-z", "--full-tree", commit.as_str(), "--"]);
        let ended = self.ask(call.args([super::run::path(path)])).await?;
        let entry = parts(&ended.stdout).find_map(|line| {
            let tab = line.iter().position(|byte| *byte == b'\t')?;
            let (fields, found) = (String::from_utf8_lossy(&line[..tab]), &line[tab + 1..]);
            let fields: Vec<&str> = fields.split(' ').collect();
            (found == path && fields.len() == 3).then(|| (fields[0].to_owned(), fields[2].to_owned()))
        });
        Ok(entry)
    }

    /// Where a branch of the origin is, as it says now.
    pub(super) async fn branch_there(&self, name: &BranchName) -> Result<Option<Commit>, SourceError> {
        let reference = format!("refs/heads/{name}");
        let call =
            Call::new("ls-remote", &self.path()).args(["--quiet", "--", self.origin.address(), &reference]);
        let ended = self.git.run(call.reads(Reads::Ours)).await?;
        if !ended.went_well() {
            return Err(said::of_origin(&self.git, &self.origin, &ended));
        }
        let text = ended.text();
        // It matches the ends of names, too.
        let mut lines = text.lines().filter_map(|line| line.split_once('\t'));
        let found = lines.find(|(_, found)| *found == reference);
        Ok(found.and_then(|(id, _)| id.parse().ok()))
    }

    /// Where a branch is in the mirror.
    async fn branch_here(&self, below: &str, name: &BranchName) -> Result<Option<Commit>, SourceError> {
        let reference = format!("{below}{name}");
        let call =
            Call::new("for-each-ref", &self.path()).args(["--format=%(objectname) %(refname)", &reference]);
        let text = self.ask(call).await?.text();
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let found = lines.find(|(_, found)| *found == reference);
        Ok(found.and_then(|(id, _)| id.parse().ok()))
    }

    async fn note(&self, name: &BranchName, at: &Commit) -> Result<(), SourceError> {
        let reference = format!("{OURS}{name}");
        let call = Call::new("update-ref", &self.path()).args([&reference, at.as_str()]);
        self.ask(call).await.map(drop)
    }
}

/// A commit in the making.
struct Change<'a> {
    mirror: &'a Mirror,
    revert: &'a RevertFile<'a>,
    onto: &'a Commit,
    entry: Option<&'a Entry>,
}

impl Change<'_> {
    fn directory(&self) -> PathBuf {
        self.mirror.git.base.join("change.new")
    }

    fn clear(&self) -> Result<(), SourceError> {
        remove_tree(&self.directory())
    }

    /// Makes it and puts the branch there. What is pushed is first made beside the mirror: the same commit is made in it
    /// when the origin has taken it.
    async fn put(&self, push: bool) -> Result<Commit, SourceError> {
        self.clear()?;
        let dir = self.directory();
        durable::private_dir(&HostFiles, &dir)?;
        let (mirror, revert) = (self.mirror, self.revert);
        let moves = revert.onto == revert.to;
        if push {
            let objects = dir.join("objects");
            let info = objects.join("info");
            fs::create_dir_all(&info).map_err(SourceError::io("create", &info))?;
            let mut alternate = mirror.path().join("objects").into_os_string();
            alternate.push("\n");
            let list = info.join("alternates");
            fs::write(&list, alternate.as_encoded_bytes()).map_err(SourceError::io("write", &list))?;
            let commit = self.commit(Some(&objects)).await?;
            self.is_free(mirror.branch_there(revert.to).await?, &commit, moves)?;
            let from = moves.then_some(self.onto);
            mirror.push(revert.to, &commit, from, Some(&objects)).await?;
        }
        let commit = self.commit(None).await?;
        if !push {
            let there = mirror.branch_here("refs/heads/", revert.to).await?;
            self.is_free(
                there.or(mirror.branch_here(OURS, revert.to).await?),
                &commit,
                moves,
            )?;
        }
        mirror.note(revert.to, &commit).await?;
        Ok(commit)
    }

    /// Whether the branch may be put to the commit from where it is.
    fn is_free(&self, there: Option<Commit>, commit: &Commit, moves: bool) -> Result<(), SourceError> {
        match there {
            Some(at) if at != *commit && !(moves && at == *self.onto) => {
                let name = self.revert.to.clone();
                Err(SourceError::Exists { name, at })
            }
            _ => Ok(()),
        }
    }

    async fn commit(&self, objects: Option<&Path>) -> Result<Commit, SourceError> {
        let revert = self.revert;
        self.git("read-tree", objects, |call| call.args([self.onto.as_str()]))
            .await?;
        let mut line = match self.entry {
            Some((mode, object)) => format!("{mode} {object}\t"),
            None => format!("0 {}\t", "0".repeat(self.onto.as_str().len())),
        }
        .into_bytes();
        line.extend(plain(revert.path).unwrap_or_default());
        line.push(0);
        self.git("update-index", objects, |call| {
            call.args(["-z", "--index-info"]).input(line)
        })
        .await?;
        let tree = self.git("write-tree", objects, |call| call).await?.text();
        let date = OsString::from(format!("@{} +0000", revert.at));
        let made = self.git("commit-tree", objects, |call| {
            call.args([tree.trim(), "-p", self.onto.as_str(), "-F", "-"])
                .input(revert.message)
                .env("GIT_AUTHOR_NAME", revert.author.name)
                .env("GIT_AUTHOR_EMAIL", revert.author.email)
                .env("GIT_AUTHOR_DATE", &date)
                .env("GIT_COMMITTER_NAME", revert.committer.name)
                .env("GIT_COMMITTER_EMAIL", revert.committer.email)
                .env("GIT_COMMITTER_DATE", &date)
        });
        let said = made.await?.text().trim().to_owned();
        let what = "commit-tree";
        said.parse().map_err(|_| SourceError::Failed { what, said })
    }

    async fn git(
        &self,
        what: &'static str,
        objects: Option<&Path>,
        with: impl FnOnce(Call) -> Call,
    ) -> Result<Ended, SourceError> {
        let mut call =
            Call::new(what, &self.mirror.path()).env("GIT_INDEX_FILE", self.directory().join("index"));
        if let Some(objects) = objects {
            call = call.env("GIT_OBJECT_DIRECTORY", objects);
        }
        self.mirror.ask(with(call)).await
    }
}
