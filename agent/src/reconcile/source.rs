//! The repository that releases come from: which commits are meant, what has to be fetched, what has to be built.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use config::error::{Place, Problem, with_sources};
use state::bug::{self, Bug};
use state::desired::Desired;
use state::files::ReleaseFiles;
use state::journal::{Kind, OpenOperation, Operation, Outcome};
use state::name::{Commit, Digest, ImageId, ServiceName, Tag};
use state::plan::Plan;
use state::record::{Change, Standing};
use state::release::{Author, Request};
use state::stack_spec::ServiceSpec;
use state::step::Step;
use state::time::Moment;

use super::attend::End;
use super::{Stack, Stop, Wish};
use crate::backoff::Backoff;
use crate::inputs::{Checkout, Checkouts, Published};
use crate::source::SourceError;

/// How long Git may take where a pass waits for it.
const ASKED_WITHIN: Duration = Duration::from_secs(20);
/// Tags whose files cannot be used are resolved anew after this: somebody may have moved them to what is mended.
const ANEW_AFTER: Duration = Duration::from_secs(5 * 60);

/// What is known of the repository while the daemon runs.
#[derive(Default)]
pub(super) struct Fetching {
    /// What tags of the wish were resolved to, and no request has taken up yet.
    fetched: BTreeMap<Tag, Commit>,
    /// When that was, and which request was in force.
    at: Option<Moment>,
    under: Option<Digest>,
    /// The request whose files were read of what was fetched under it.
    read: Option<Digest>,
    /// The tags of the wish that have no checkout yet.
    lacks: BTreeSet<Tag>,
    /// Why they could not be had.
    failed: Option<Unfetched>,
}

/// A fetch that has failed.
struct Unfetched {
    tags: BTreeSet<Tag>,
    why: String,
    backoff: Backoff,
    again: Moment,
}

/// Where the image of a service comes from.
pub(super) enum Made {
    /// Not from the repository.
    Elsewhere,
    /// It is built, and called so.
    Known(ImageId),
    /// This makes it.
    By(Step),
    /// Nothing makes it, and why.
    Never(String),
    /// Not now.
    Later,
}

impl Stack {
    /// Another wish: its tags are resolved anew.
    pub(super) fn forget_fetched(&mut self) {
        self.fetching = Fetching::default();
    }

    /// The commit that a tag of the wish is, where that was asked. A tag is resolved once for each request; whoever asks
    /// for the same again asks for what it names now.
    fn commit_of(&self, tag: &Tag) -> Option<&Commit> {
        let request = self.record.request.as_ref();
        let pending = self.record.standing == Standing::Pending;
        let again = request.filter(|request| request.retries > 0 && pending);
        let fresh = again.is_none_or(|request| self.fetching.under == Some(request.id()));
        let fetched = self.fetching.fetched.get(tag).filter(|_| fresh);
        let known = request.filter(|_| again.is_none() && !bug::is(Bug::TagIsFollowed));
        let known = known.and_then(|known| known.commits.get(tag));
        known.or(fetched)
    }

    /// The checkouts of what a wish names, where releases come from a repository. `None`: that of its own tag is still to
    /// be made.
    pub(super) fn checkouts(&mut self, desired: &Desired) -> Option<Checkouts> {
        self.fetching.lacks.clear();
        let Some(source) = self.edges.source.clone() else {
            return Some(Checkouts::default());
        };
        let checkout = |tag: &Tag| {
            let commit = self.commit_of(tag)?.clone();
            let tree = source.tree(&commit)?;
            Some((tag.clone(), Checkout { commit, tree }))
        };
        let by_tag = desired.tags().into_iter().filter_map(checkout).collect();
        let checkouts = Checkouts {
            by_tag,
            published: source.published(),
        };
        if checkouts.by_tag.contains_key(&desired.tag) {
            return Some(checkouts);
        }
        self.note_lacking([desired.tag.clone()].into());
        None
    }

    /// Whether something that is built has no checkout yet.
    pub(super) fn lacks_what_is_built(&mut self, lacks: &BTreeSet<Tag>) -> bool {
        if lacks.is_empty() {
            self.fetching.failed = None;
        } else {
            self.note_lacking(lacks.clone());
        }
        !lacks.is_empty()
    }

    fn note_lacking(&mut self, tags: BTreeSet<Tag>) {
        let names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        self.waits
            .push(format!("{} to be fetched from the repository", names.join(", ")));
        self.fetching.failed.take_if(|failed| failed.tags != tags);
        if let Some(failed) = &self.fetching.failed {
            let key = format!("{}.tag", self.settings.name);
            self.problems.push(Problem::error(
                Place::file("desired.toml"),
                key,
                failed.why.clone(),
            ));
        }
        self.fetching.lacks = tags;
    }

    /// The files of what is asked for cannot be used. Its tags may be moved to what is mended.
    pub(super) fn files_are_wrong(&mut self) {
        let now = self.now();
        let age = self.fetching.at.as_ref().and_then(|at| now.since(at));
        if age.is_some_and(|age| age >= ANEW_AFTER) {
            self.forget_fetched();
        }
    }

    /// Nothing is asked for.
    pub(super) fn lacks_nothing(&mut self) {
        self.fetching.lacks.clear();
        self.fetching.failed = None;
    }

    /// When what could not be fetched is tried again.
    pub(super) fn fetches_again(&self) -> Option<&Moment> {
        let failed = self.fetching.failed.as_ref()?;
        (!self.fetching.lacks.is_empty()).then_some(&failed.again)
    }

    /// Whether the images that are being made are those of another wish than the one there is now, which can be had as
    /// far as anybody knows.
    pub(super) fn is_fetched_for_others(&self) -> bool {
        let Some(open) = &self.record.operation else {
            return false;
        };
        let fetching = &self.fetching;
        let own = |step: &Step| matches!(step, Step::FetchSource { .. });
        open.operation.kind == Kind::Fetch
            && !open.operation.plan.steps.iter().any(own)
            && !fetching.lacks.is_empty()
            && fetching.failed.is_none()
    }

    /// What an operation has fetched.
    pub(super) fn note_fetched(&mut self, open: &OpenOperation) {
        for (index, step) in open.operation.plan.steps.iter().enumerate() {
            if let (Step::FetchSource { .. }, Some(Outcome::Commits(commits))) = (step, open.outcome(index)) {
                self.fetching.fetched.extend(commits.clone());
                self.fetching.at = Some(self.now());
                self.fetching.under = self.record.request.as_ref().map(Request::id);
                self.look_again();
            }
        }
    }

    /// Whether `next` is what somebody has asked for again, where its tags name other commits by now.
    pub(super) fn is_asked_again(&self, known: &Request, next: &Request) -> bool {
        self.edges.source.is_some()
            && self.record.standing == Standing::Pending
            && known.retries > 0
            && (&known.desired, &known.env) == (&next.desired, &next.env)
    }

    /// The files of the request in force were read, of what its tags name.
    pub(super) fn note_read(&mut self) {
        let request = self.record.request.as_ref().map(Request::id);
        self.fetching.under.clone_from(&request);
        self.fetching.read = request;
    }

    /// Whether a request that is asked for again waits for what its tag names now, and for the files of that to be read.
    pub(super) fn waits_for_its_source(&mut self, request: &Request) -> bool {
        let is_meant = matches!(&self.wish, Wish::Asked(desired) if **desired == request.desired);
        let read = self.fetching.read.as_ref() == Some(&request.id());
        if self.edges.source.is_none() || request.retries == 0 || !is_meant || read {
            return false;
        }
        if self.commit_of(&request.desired.tag).is_none() && self.fetching.lacks.is_empty() {
            self.look_again();
        }
        self.waits
            .push(format!("the files of what {} names now", request.desired.tag));
        true
    }

    /// Fetches what is asked for and has no checkout yet.
    pub(super) async fn fetch_source(&mut self) -> Result<(), Stop> {
        if self.fetching.lacks.is_empty() || self.record.operation.is_some() {
            return Ok(());
        }
        let now = self.now();
        let tags = self.fetching.lacks.clone();
        let failed = self.fetching.failed.as_ref();
        if let Some(failed) = failed.filter(|failed| !now.until(&failed.again).is_zero()) {
            let left = state::decide::span(now.until(&failed.again));
            self.waits
                .push(format!("the next try, in {left}: {}", failed.why));
            return Ok(());
        }
        if !self.own().await? {
            return Ok(());
        }
        let known = tags.iter();
        let known = known.filter_map(|tag| Some((tag.clone(), self.commit_of(tag)?.clone())));
        let step = Step::FetchSource {
            known: known.collect(),
            tags: tags.clone(),
        };
        let names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        let operation = Operation {
            id: self.edges.store.next_operation_id()?,
            kind: Kind::Fetch,
            generation: None,
            request: Digest::of(names.join(" ").as_bytes()),
            by: Author::Agent,
            why: format!("{} is asked for", names.join(", ")),
            begun: now,
            plan: Plan::of(vec![step]),
        };
        self.commit(&[Change::Open(operation.into())])?;
        if let End::Failed { why, .. } = self.carry_on().await? {
            let before = self.fetching.failed.take().filter(|failed| failed.tags == tags);
            let mut backoff = before.map_or_else(|| Backoff::new(0.0), |before| before.backoff);
            let again = self.now().plus(backoff.next());
            tracing::error!(stack = %self.settings.name, "{why}; the last valid request stays in force");
            self.fetching.failed = Some(Unfetched {
                tags,
                why,
                backoff,
                again,
            });
        }
        self.look_again();
        Ok(())
    }

    /// Checkouts that nothing is built of any more go.
    pub(super) async fn forget_checkouts(&self) {
        let Some(source) = self.edges.source.clone().filter(|_| !self.only_looks) else {
            return;
        };
        let request = self.record.request.iter();
        let asked = request.flat_map(|request| request.commits.values());
        let keep = asked.chain(self.fetching.fetched.values()).cloned().collect();
        let forgotten = match tokio::time::timeout(ASKED_WITHIN, source.forget(&keep)).await {
            Ok(done) => done.map_err(|error| with_sources(&error)),
            Err(_) => Err(String::from("it took too long")),
        };
        if let Err(why) = forgotten {
            tracing::warn!(stack = %self.settings.name, "old checkouts are left: {why}");
        }
    }

    /// Puts the files of a release where containers have them mounted from. `false`: not all of them could be put.
    pub(super) fn publish_files(&mut self, files: &[Published]) -> bool {
        for file in files.iter().filter(|_| !self.only_looks) {
            let disk = &self.edges.files;
            let runs = disk
                .owner(&file.from)
                .is_some_and(|owner| owner.mode & 0o111 != 0);
            let read = disk.read(&file.from).map_err(|error| with_sources(&error));
            let put = read.and_then(|content| {
                let put = disk.publish(&file.at, &content, runs);
                put.map_err(|error| with_sources(&error))
            });
            if let Err(why) = put {
                tracing::error!(stack = %self.settings.name, "{why}; it is tried again");
                self.waits.push(format!("{}: {why}", file.at.display()));
                return false;
            }
        }
        true
    }

    /// Puts again what containers of a release have mounted from there, whatever has become of it: it has to be there before
    /// they are made. `Err`: what could not be put, and why.
    pub(super) fn publish_again(&self, wanted: &ReleaseFiles) -> Result<(), String> {
        let source = self.edges.source.as_ref().filter(|_| !self.only_looks);
        let Some(ours) = source.map(|source| source.published()) else {
            return Ok(());
        };
        for (path, file) in wanted.iter().filter(|(path, _)| path.starts_with(&ours)) {
            let Some(content) = &file.content else { continue };
            let kept = self
                .edges
                .store
                .object(content)
                .map_err(|error| error.to_string())?;
            let kept = kept.ok_or_else(|| format!("what {} held is kept no more", path.display()))?;
            let runs = file.owner.is_some_and(|owner| owner.mode & 0o111 != 0);
            let put = self.edges.files.publish(path, &kept, runs);
            put.map_err(|error| with_sources(&error))?;
        }
        Ok(())
    }

    /// Where the image of a service comes from that is `build`t from the repository.
    pub(super) async fn built_from_source(
        &mut self,
        request: &Request,
        (name, service): (&ServiceName, &ServiceSpec),
        reference: &str,
    ) -> Result<Made, Stop> {
        if self.edges.source.is_none() || service.build.is_none() {
            return Ok(Made::Elsewhere);
        }
        let tag = request.desired.tag_of(name);
        let Some(commit) = request.commits.get(tag).cloned() else {
            self.waits
                .push(format!("the files, to build {name} of what {tag} names"));
            return Ok(Made::Later);
        };
        let content = match self.content_of(&commit, service).await {
            Ok(Some(content)) => content,
            Ok(None) => {
                let context = service.build.as_ref().map_or("", |build| build.context.as_str());
                let why = format!("there is no directory {context} in {tag} to build {name} of");
                return Ok(Made::Never(why));
            }
            // What Git cannot say now says nothing about the release.
            Err(why) => {
                self.back_off(Kind::Fetch, &why);
                return Ok(Made::Later);
            }
        };
        let made_of = serde_json::to_vec(&(content, &service.build, &service.platform));
        let made_of = made_of.expect("a build is plain data");
        let key = self.edges.store.host_key().build_key(&made_of);
        let before = self.record.built.iter().rev().find(|(known, _)| *known == key);
        if let Some((_, image)) = before
            && self.edges.engine.image(reference).await?.as_ref() == Some(image)
        {
            return Ok(Made::Known(image.clone()));
        }
        let known = before.map(|(_, image)| image.clone());
        Ok(Made::By(Step::Build {
            service: name.clone(),
            reference: reference.to_owned(),
            platform: service.platform.clone(),
            commit,
            spec: request.spec.clone(),
            key,
            known,
        }))
    }

    /// What the image of a service is made of in a commit; `None`: there is no such directory.
    async fn content_of(&self, commit: &Commit, service: &ServiceSpec) -> Result<Option<String>, String> {
        let (Some(source), Some(build)) = (&self.edges.source, &service.build) else {
            return Ok(None);
        };
        let asked = source.content(commit, build.context.as_ref());
        let content = match tokio::time::timeout(ASKED_WITHIN, asked).await {
            Ok(said) => said.map_err(|error: SourceError| with_sources(&error))?,
            Err(_) => return Err(String::from("git takes too long to say what is in the commit")),
        };
        // A Dockerfile beside the context is in no part of it.
        let outside = |dockerfile: &String| dockerfile.split('/').any(|part| part == "..");
        if build.dockerfile.as_ref().is_some_and(outside) {
            return Ok(content.map(|content| format!("{content} {commit}")));
        }
        Ok(content)
    }
}
