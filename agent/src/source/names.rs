//! What names are in the mirror: tags, the beginnings of commits, and branches, which are no releases.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path};

use config::error::nearest;
use state::name::{Commit, Tag};

use super::mirror::Mirror;
use super::run::{Call, Ended, parts};
use super::version::{Version, prefix};
use super::{Objects, Resolved, SourceError, TagInfo, said};

/// Fewer digits of a commit name too many.
const DIGITS: usize = 7;
/// So many names are offered instead.
const NEAR: usize = 3;

/// The fields of a tag, each ended by a NUL; what is on a commit at once has the second half empty.
const FIELDS: &str = "%(refname:strip=2)%00%(objecttype)%00%(objectname)%00%(committerdate:unix)%00%(subject)%00\
                      %(*objecttype)%00%(*objectname)%00%(*committerdate:unix)%00%(*subject)%00";

impl Mirror {
    /// The commits of all these names, or why one of them has none.
    pub(super) async fn resolve(&self, names: &BTreeSet<Tag>) -> Result<Resolved, SourceError> {
        let mut writing = self.begin().await?;
        let brought = self.bring(&mut writing).await;
        let stale = match brought {
            Ok(()) => None,
            Err(error @ (SourceError::NoGit | SourceError::Io { .. } | SourceError::TooLarge { .. })) => {
                return Err(error);
            }
            Err(error) => Some(error),
        };
        let mut found = self.look_up(names, stale.is_some()).await;
        // What is found to be damaged only now is brought anew, once.
        if stale.is_none() && matches!(found, Err(SourceError::Damaged { .. })) {
            self.is_damaged();
            self.bring(&mut writing).await?;
            found = self.look_up(names, false).await;
        }
        Self::end(writing);
        match (found, stale) {
            (Ok(commits), None) => Ok(Resolved { commits, stale: None }),
            (Ok(commits), Some(error)) => {
                let stale = Some(error.to_string());
                Ok(Resolved { commits, stale })
            }
            // It may be in what was not brought.
            (Err(SourceError::NoSuchName { .. } | SourceError::Shallow { .. }), Some(error)) => Err(error),
            (Err(error), _) => Err(error),
        }
    }

    async fn look_up(
        &self,
        names: &BTreeSet<Tag>,
        is_stale: bool,
    ) -> Result<BTreeMap<Tag, Commit>, SourceError> {
        let mut commits = BTreeMap::new();
        let known = self
            .ask(Call::new("for-each-ref", &self.path()).args(["--format=%(refname)"]))
            .await?;
        let known = known.text();
        let known: BTreeSet<&str> = known.lines().collect();
        for name in names {
            let commit = self.look_up_one(name, &known, is_stale).await?;
            commits.insert(name.clone(), commit);
        }
        Ok(commits)
    }

    async fn look_up_one(
        &self,
        name: &Tag,
        known: &BTreeSet<&str>,
        is_stale: bool,
    ) -> Result<Commit, SourceError> {
        let (tag, branch) = (format!("refs/tags/{name}"), format!("refs/heads/{name}"));
        if known.contains(tag.as_str()) {
            return self.peeled(name, &tag).await;
        }
        if known.contains(branch.as_str()) {
            let at = self.peeled(name, &branch).await?;
            let name = name.to_string();
            return Err(SourceError::IsABranch { name, at });
        }
        if let Some(commit) = self.of_digits(name, is_stale).await? {
            return Ok(commit);
        }
        let tags = known.iter().filter_map(|name| name.strip_prefix("refs/tags/"));
        let near = nearest(name.as_str(), tags).into_iter().take(NEAR);
        Err(SourceError::NoSuchName {
            origin: self.origin.to_string(),
            name: format!("tag or commit {name}"),
            near: near.map(str::to_owned).collect(),
        })
    }

    /// The one commit whose id begins so.
    async fn of_digits(&self, name: &Tag, is_stale: bool) -> Result<Option<Commit>, SourceError> {
        let digits = name.as_str().to_ascii_lowercase();
        if digits.len() < DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let mut found = self.commits_of(&digits).await?;
        if found.is_empty() && digits.parse::<Commit>().is_ok() && !is_stale {
            // It may be on no branch any more. Where the origin does not give it away, it has none for us.
            let _ = self.bring_commit(&digits).await;
            found = self.commits_of(&digits).await?;
        }
        let count = found.len();
        match found.pop() {
            Some(commit) if count == 1 => Ok(Some(commit)),
            Some(_) => Err(SourceError::AmbiguousCommit {
                name: name.to_string(),
                count,
            }),
            None if self.path().join("shallow").exists() => {
                let (origin, name) = (self.origin.to_string(), format!("commit {name}"));
                Err(SourceError::Shallow { origin, name })
            }
            None => Ok(None),
        }
    }

    /// The commit that a reference is on, which is there.
    async fn peeled(&self, name: &Tag, reference: &str) -> Result<Commit, SourceError> {
        let lines = self
            .look_at(&[reference.to_owned(), format!("{reference}^{{commit}}")])
            .await?;
        match lines.as_slice() {
            [_, Some((id, _))] => Ok(id.clone()),
            [Some(_), None] => Err(SourceError::NotACommit {
                name: name.to_string(),
            }),
            _ => Err(SourceError::Damaged {
                objects: Objects::Mirror(self.path()),
                said: format!("what {reference} is on is missing"),
            }),
        }
    }

    /// The commits whose id begins so. Names of branches and tags do not count.
    async fn commits_of(&self, digits: &str) -> Result<Vec<Commit>, SourceError> {
        let ids = if digits.parse::<Commit>().is_ok() {
            vec![digits.to_owned()]
        } else {
            let call = Call::new("rev-parse", &self.path()).args([format!("--disambiguate={digits}")]);
            self.ask(call).await?.text().lines().map(str::to_owned).collect()
        };
        let found = self.look_at(&ids).await?;
        let commits = found.into_iter().flatten().filter(|(_, kind)| kind == "commit");
        Ok(commits.map(|(id, _)| id).collect())
    }

    /// The object of each expression, and of what kind it is; `None`: there is none.
    async fn look_at(&self, expressions: &[String]) -> Result<Vec<Option<(Commit, String)>>, SourceError> {
        if expressions.is_empty() {
            return Ok(Vec::new());
        }
        let call = Call::new("cat-file", &self.path())
            .args(["--batch-check=%(objectname) %(objecttype)"])
            .input(expressions.join("\n") + "\n");
        let ended = self.ask(call).await?;
        // It goes on where something cannot be read, and calls that missing.
        self.complains(&ended)?;
        let line = |line: &str| {
            let (id, kind) = line.split_once(' ')?;
            Some((id.parse().ok()?, kind.to_owned()))
        };
        let text = ended.text();
        let lines = text
            .lines()
            .map(|text| line(text).filter(|(_, kind)| kind != "missing"));
        Ok(lines.collect())
    }

    fn complains(&self, ended: &Ended) -> Result<(), SourceError> {
        if ended.words.is_empty() {
            return Ok(());
        }
        match said::own(&self.git, "cat-file", ended) {
            error @ SourceError::Damaged { .. } => {
                self.is_damaged();
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Whether the mirror has a commit; if not, whether the origin gives it away.
    pub(super) async fn has(&self, commit: &Commit) -> Result<bool, SourceError> {
        Ok(!self.commits_of(commit.as_str()).await?.is_empty())
    }

    /// What a commit has in a directory.
    pub(super) async fn content(
        &self,
        commit: &Commit,
        within: &Path,
    ) -> Result<Option<String>, SourceError> {
        let mut expression = format!("{commit}:").into_bytes();
        let Some(within) = plain(within) else {
            return Ok(None);
        };
        expression.extend_from_slice(&within);
        // As an argument, since a name may hold a line's end.
        let call = Call::new("rev-parse", &self.path()).args(["--verify", "--quiet", "--end-of-options"]);
        self.need(commit).await?;
        let ended = {
            let _there = self.there.read().await;
            self.git.run(call.args([OsString::from_vec(expression)])).await?
        };
        // So Git says that there is no such name; whatever else it says is no answer.
        if ended.code == Some(1) && ended.words.trim().is_empty() {
            return Ok(None);
        }
        if !ended.went_well() {
            return Err(said::own(&self.git, "rev-parse", &ended));
        }
        let id = ended.text().trim().to_owned();
        let found = self.look_at(std::slice::from_ref(&id)).await?;
        Ok(matches!(found.as_slice(), [Some((_, kind))] if kind == "tree").then_some(id))
    }

    /// The tags that match a pattern.
    pub(super) async fn tags(&self, pattern: &str) -> Result<Vec<TagInfo>, SourceError> {
        let call = Call::new("for-each-ref", &self.path())
            .args([format!("--format={FIELDS}"), format!("refs/tags/{pattern}")]);
        let ended = self.ask(call).await?;
        let text = ended.text();
        let mut tags = Vec::new();
        // The end of each line is in front of the next one's first field.
        let fields: Vec<&str> = text
            .split('\0')
            .map(|field| field.trim_start_matches('\n'))
            .collect();
        for fields in fields.chunks_exact(9) {
            let Ok(name) = fields[0].parse::<Tag>() else {
                continue;
            };
            let tag = match (fields[1], fields[5]) {
                ("commit", _) => info(&name, &fields[2..5]),
                ("tag", "commit") => info(&name, &fields[6..9]),
                // A tag of a tag, which some versions of Git take off one layer of.
                ("tag", "tag") => self.nested(&name).await?,
                _ => None,
            };
            tags.extend(tag);
        }
        let prefix = prefix(pattern);
        tags.sort_by(|a, b| Version::of(b.name.as_str(), prefix).cmp(&Version::of(a.name.as_str(), prefix)));
        Ok(tags)
    }

    async fn nested(&self, name: &Tag) -> Result<Option<TagInfo>, SourceError> {
        let call = Call::new("log", &self.path())
            .args(["-1", "--no-color", "--format=%H%x00%ct%x00%s", "--end-of-options"])
            .args([format!("refs/tags/{name}^{{commit}}")]);
        match self.ask(call).await {
            Ok(ended) => {
                let text = ended.text();
                let fields: Vec<&str> = text.trim_end().split('\0').collect();
                Ok((fields.len() == 3).then(|| info(name, &fields)).flatten())
            }
            Err(SourceError::Failed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The submodules of a commit.
    pub(super) async fn submodules(&self, commit: &Commit) -> Result<Vec<Vec<u8>>, SourceError> {
        let call = Call::new("ls-tree", &self.path()).args(["-r", "-z", "--full-tree", commit.as_str()]);
        let ended = self.ask(call).await?;
        let entries = parts(&ended.stdout).filter(|entry| entry.starts_with(b"160000 "));
        let path = |entry: &[u8]| {
            let tab = entry.iter().position(|byte| *byte == b'\t');
            tab.map(|tab| entry[tab + 1..].to_vec())
        };
        Ok(entries.filter_map(path).collect())
    }
}

fn info(name: &Tag, fields: &[&str]) -> Option<TagInfo> {
    let at: i64 = fields[1].parse().ok()?;
    Some(TagInfo {
        name: name.clone(),
        commit: fields[0].parse().ok()?,
        at: at.saturating_mul(1000),
        subject: fields[2].to_owned(),
    })
}

/// A path within the repository as Git writes it; `None`: it leads out of it.
pub(super) fn plain(path: &Path) -> Option<Vec<u8>> {
    let mut plain: Vec<&[u8]> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => plain.push(part.as_bytes()),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(plain.join(&b'/'))
}
