//! The operator's files: which version of each is meant, what is kept of it, and what has to be put so that the disk has
//! the release that runs, whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::compose::Source;
use config::env_file::differing;
use state::desired::EnvWish;
use state::files::{
    FileChange, OnDisk, Placed, ReleaseFile, ReleaseFiles, Role, paths_of, placed_as_seen, put_already,
    to_put, version_in,
};
use state::name::Digest;
use state::record::{Change, Standing};
use state::release::GenerationNumber;
use state::time::Moment;

use super::attend::End;
use super::{Stack, Stop};
use crate::backoff::Backoff;
use crate::files::{Own, version_at};
use crate::inputs::Inputs;
use crate::shared::Difference;

/// So many variables are named.
const NAMED: usize = 8;

/// Who has left the files alone for so long is not fought with.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Since when files are others than those of what runs, as far as somebody has looked.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// In milliseconds of the wall clock.
    since: BTreeMap<PathBuf, i64>,
    /// When it was last looked, and which generation ran then.
    looked: Option<(i64, GenerationNumber)>,
}

impl Stack {
    /// Takes away what was laid out for checks that nobody waits for any more.
    pub fn clear_checks(&self) {
        let open = self.record.operation.as_ref();
        let open = open.map(|open| open.operation.id.to_string());
        let place = Path::new(self.settings.name.as_str());
        if let Err(error) = self.edges.files.clear(place, open.as_deref()) {
            let words = config::error::with_sources(&error);
            tracing::warn!(stack = %self.settings.name, "what was laid out for checks stays: {words}");
        }
    }

    /// What reads the files as the operator means them, where `.env` is wished for so; and what was really there.
    pub(super) fn with_own<T>(&self, env: &EnvWish, read: impl FnOnce(&dyn Source) -> T) -> (T, OnDisk) {
        let (own, placed) = (self.own_files(), self.placed());
        let (path, pin) = (self.settings.env_file.path(), self.pinned_env(env));
        let pin = pin.as_ref().map(|content| (path, content));
        let source = Own::of(&*self.edges.files, &*self.edges.store, (&own, &placed), pin);
        let done = read(&source);
        (done, source.seen())
    }

    /// What is on the disk at these paths, as far as it can be read.
    pub(super) fn on_disk<'p>(&self, paths: impl Iterator<Item = &'p PathBuf>) -> OnDisk {
        let is = |path: &PathBuf| Some((path.clone(), version_at(&*self.edges.files, path).ok()?));
        paths.filter_map(is).collect()
    }

    /// The operator's version of every file, as the request in force has it.
    pub(super) fn own_files(&self) -> ReleaseFiles {
        let request = self.record.request.as_ref();
        request.map(|request| request.files.clone()).unwrap_or_default()
    }

    /// What the agent has put, also in the operation that is open.
    pub(super) fn placed(&self) -> Placed {
        self.record.placed()
    }

    /// The content that `.env` is pinned to, where it is kept.
    pub(super) fn pinned_env(&self, wish: &EnvWish) -> Option<Digest> {
        let path = self.settings.env_file.path();
        match wish {
            EnvWish::Current => None,
            EnvWish::Sha256(digest) => Some(digest.clone()).filter(|digest| self.is_kept(digest)),
            EnvWish::Short(id) => {
                let key = self.edges.store.host_key();
                let request = self.record.request.iter().map(|request| &request.files);
                let all = request.chain(self.record.generations.iter().map(|g| &g.files));
                let versions = all.filter_map(|files| files.get(path)?.content.as_ref());
                let replaced = self.record.replaced.iter().filter(|one| one.path == path);
                let imported = self.record.imported.iter().filter(|one| one.path == path);
                let mut fits = versions
                    .chain(replaced.map(|one| &one.content))
                    .chain(imported.map(|one| &one.content))
                    .filter(|content| key.env_id(content).as_str().starts_with(id.as_str()));
                fits.next().filter(|digest| self.is_kept(digest)).cloned()
            }
        }
    }

    fn is_kept(&self, digest: &Digest) -> bool {
        matches!(self.edges.store.object(digest), Ok(Some(_)))
    }

    /// Keeps the content of every file of a request, before that is in force. `None`: one of them was written to since it
    /// was read.
    pub(super) fn keep_files(
        &self,
        inputs: &Inputs,
        source: &dyn Source,
    ) -> Result<Option<ReleaseFiles>, Stop> {
        let mut kept = ReleaseFiles::new();
        for (path, file) in &inputs.versions {
            if let Some(content) = &file.content {
                match source.read(path) {
                    Ok(bytes) if Digest::of(&bytes) == *content => {
                        self.edges.store.put_object(&bytes)?;
                    }
                    _ => return Ok(None),
                }
            }
            let owner = self.edges.files.owner(path);
            let before = self
                .record
                .request
                .as_ref()
                .and_then(|request| request.files.get(path));
            let owner = owner.or_else(|| before.and_then(|before| before.owner));
            kept.insert(
                path.clone(),
                ReleaseFile {
                    owner,
                    ..file.clone()
                },
            );
        }
        Ok(Some(kept))
    }

    /// What the disk says of the files that the agent has put, where that is news.
    pub(super) fn seen_files(&self, disk: &OnDisk) -> Option<Change> {
        let placed = &self.record.placed;
        let ours = disk.iter().filter(|(path, _)| placed.contains_key(*path));
        let ours: OnDisk = ours.map(|(path, is)| (path.clone(), is.clone())).collect();
        (placed_as_seen(placed, &ours) != *placed).then_some(Change::SeenFiles(ours))
    }

    /// What has to be put so that a release is there whole.
    pub(super) fn files_to_put(&self, wanted: &ReleaseFiles) -> Vec<FileChange> {
        let (mut own, placed) = (self.own_files(), self.placed());
        let before = self.record.current().map(|current| &current.files);
        let known = own.keys().chain(placed.keys());
        let known = known.chain(before.into_iter().flat_map(ReleaseFiles::keys));
        let disk = self.on_disk(paths_of(wanted, known).into_iter());
        // Whoever has pinned it wants it back, whatever is there.
        if let Some(path) = self.pinned_path()
            && let Some(is) = disk.get(path)
        {
            own.entry(path.to_owned())
                .and_modify(|file| file.content.clone_from(is));
        }
        let mut changes = to_put(wanted, &own, &placed, &disk);
        changes.extend(
            before
                .into_iter()
                .flat_map(|before| put_already(wanted, before, &disk)),
        );
        for change in &mut changes {
            let written = self.edges.files.written(&change.path);
            let since = self.others.since.get(&change.path).copied();
            change.written = since.into_iter().chain(written).min();
        }
        changes
    }

    /// Whether those of these files could be put that would be, and that containers see: a release is not back without them.
    /// `Err`: why not, for people.
    pub(super) fn can_be_put(&self, files: &ReleaseFiles) -> Result<(), String> {
        let changes = self.files_to_put(files);
        let mut seen = changes.iter().filter(|change| change.role == Role::Tracked);
        seen.try_for_each(|change| self.can_put(&change.path))
    }

    /// Whether a file could be put at `path`. `Err`: why not, for people.
    pub(super) fn can_put(&self, path: &Path) -> Result<(), String> {
        let put = self.edges.files.can_put(path);
        put.map_err(|error| config::error::with_sources(&error))
    }

    /// Which variables the env files of two releases set otherwise, by their names; never a value.
    pub(super) fn other_variables(&self, one: &ReleaseFiles, other: &ReleaseFiles) -> Option<String> {
        // Of what nobody has written down nothing is said.
        let content = |files: &ReleaseFiles, path: &PathBuf| match &files.get(path)?.content {
            None => Some(Vec::new()),
            Some(kept) => self.edges.store.object(kept).ok()?,
        };
        let both = one.iter().chain(other);
        let paths: BTreeSet<&PathBuf> = both
            .filter(|(_, file)| file.role == Role::Env)
            .map(|(path, _)| path)
            .collect();
        let told = paths.into_iter().filter_map(|path| {
            let (one, other) = content(one, path).zip(content(other, path))?;
            let differ = differing(path, &one, &other);
            let named: Vec<&str> = differ.iter().take(NAMED).map(String::as_str).collect();
            let more = match differ.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let shown = path.strip_prefix(&self.settings.directory).unwrap_or(path);
            (!named.is_empty()).then(|| format!("{}: {}{more}", shown.display(), named.join(", ")))
        });
        let told: Vec<String> = told.collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// Since when each file is another one than that of what runs: who was started since may have read any version that
    /// was there, and the file itself tells of the last one alone, or, where it is gone, of none. It became another one after
    /// the last look. What was so before this generation ran, or before the agent was started, nobody knows since when:
    /// containers may have read it, and what the release before has.
    pub(super) fn note_others(&mut self) {
        let Some(current) = self.record.current() else {
            return;
        };
        let looked = self.others.looked.filter(|(_, of)| *of == current.number);
        let looked = looked.map_or(i64::MIN, |(at, _)| at);
        let number = current.number;
        if looked == i64::MIN {
            self.others.since.clear();
        }
        for path in paths_of(&current.files, self.disk.keys()) {
            match self.disk.get(path) {
                Some(is) if version_in(&current.files, path) == Some(is.as_ref()) => {
                    self.others.since.remove(path);
                }
                Some(_) => {
                    let written = || self.edges.files.written(path).unwrap_or(i64::MAX);
                    let since = self.others.since.entry(path.clone());
                    since.or_insert_with(|| written().min(looked));
                }
                None => {}
            }
        }
        self.others.looked = Some((self.now().wall_ms, number));
    }

    /// The env file, where the request in force pins it.
    fn pinned_path(&self) -> Option<&Path> {
        let request = self.record.request.as_ref()?;
        (request.desired.env != EnvWish::Current).then(|| self.settings.env_file.path())
    }

    /// Whether the disk may have other files than what runs, with nobody asking for them.
    pub(super) fn may_have_others(&self) -> bool {
        let quarantined = matches!(self.record.standing, Standing::Quarantined(_));
        let pinned = self.pinned_path().is_some();
        self.record.standing != Standing::Pending && (quarantined || pinned || !self.record.placed.is_empty())
    }

    /// Puts the files that are not as the release has them that runs. What somebody is just editing is left alone: it is
    /// a request, as soon as it is quiet.
    pub(super) async fn put_files_right(&mut self) -> Result<(), Stop> {
        self.file_drift.clear();
        if !self.may_have_others()
            || self.record.operation.is_some()
            || self.is_left_alone()
            || self.settle_left.is_some()
        {
            return Ok(());
        }
        let Some(wanted) = self.wanted()? else {
            return Ok(());
        };
        let changes = self.files_to_put(&wanted.files);
        let differs = |change: &FileChange| {
            format!(
                "the {} {} is not that of what runs",
                change.role,
                change.path.display()
            )
        };
        self.file_drift = changes.iter().map(differs).collect();
        let cannot: Vec<String> = changes
            .iter()
            .filter_map(|change| self.can_put(&change.path).err())
            .collect();
        if cannot.len() == changes.len() {
            self.waits.extend(cannot);
            return Ok(());
        }
        let now = self.now();
        let quiet = |at: &Moment| now.since(at).is_some_and(|age| age > PATIENCE);
        let put = self.files_put.take().filter(|(_, at)| !quiet(at));
        if let Some((backoff, at)) = put {
            let left = now.until(&at);
            self.files_put = Some((backoff, at));
            if !left.is_zero() {
                let left = state::decide::span(left);
                self.waits
                    .push(format!("the next try to put files back, in {left}"));
                return Ok(());
            }
        }
        let mut backoff = self
            .files_put
            .take()
            .map_or_else(|| Backoff::new(0.0), |(backoff, _)| backoff);
        let at = now.plus(backoff.next());
        self.files_put = Some((backoff, at));
        let differs = |change: &FileChange| {
            let (path, role) = (change.path.display(), change.role);
            format!(
                "{path} is another {role} than that of generation {}",
                wanted.generation
            )
        };
        let words: Vec<String> = changes.iter().map(differs).collect();
        let end = self.mend_for(&wanted, &[], &words.join("; ")).await?;
        if let End::Failed { why, .. } = end {
            self.waits.push(format!("another try to put files back: {why}"));
        }
        self.file_drift.clear();
        Ok(())
    }

    /// The files that the disk has otherwise than they were asked for, or than what runs has them.
    pub(super) fn files_shown(&self) -> Vec<Difference> {
        let own = self.own_files();
        let put = self.record.placed.iter().filter_map(|(path, contents)| {
            let theirs = version_in(&own, path)?;
            let role = own.get(path).map_or(Role::Tracked, |file| file.role);
            let differs = contents.last().is_none_or(|last| last.as_ref() != theirs);
            differs.then(|| format!(
                "the {role} {} is as what runs has it; the version that is asked for is kept, and comes with what is applied next",
                path.display()
            ))
        });
        let others = self.file_drift.iter().cloned();
        let all = others.chain(put);
        all.map(|what| Difference { service: None, what }).collect()
    }
}
