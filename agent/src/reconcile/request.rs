//! From the files to a request, from a request to a generation. First contact changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use state::bug::{self, Bug};
use state::common::Common;
use state::decide::{Asked, Reply, answer};
use state::drift::Wanted;
use state::files::ReleaseFiles;
use state::hold::moved;
use state::journal::{Kind, Operation};
use state::name::{ImageId, ServiceName};
use state::observed::ContainerObs;
use state::operation::{judged, never_begun};
use state::plan::Plan;
use state::record::{Approval, Ask, Change, Standing};
use state::release::{Author, Blame, Generation, GenerationNumber, Release, Request, Verdict};
use state::schema_fit::apart;
use state::stack_spec::{PullPolicy, ServiceSpec, StackSpec};
use state::step::Step;
use state::time::Moment;

use super::attend::End;
use super::schema::{Course, Learnt};
use super::source::Made;
use super::{AGAIN, Stack, Stop, Wish};
use crate::engine::NewContainer;
use crate::inputs::{self, Inputs};
use crate::shared::{Again, Difference, Next};
use crate::watch::Quiet;

/// What a service that was found, and is not what its Compose file says, has for a spec hash.
const FOUND: &str = "as found";

/// How far the first contact with a stack has come.
enum Meeting {
    /// It was met, or there is nothing to meet.
    Over,
    /// The files were not read yet.
    Waits,
    /// Now; `again`: under another request than the one that was asked about.
    Now { inputs: Arc<Inputs>, again: bool },
}

impl Stack {
    /// What has been quiet and valid for `settle` is a request.
    pub(super) fn look(&mut self) -> Result<(), Stop> {
        match self.settled_inputs() {
            Some(inputs) => self.take_inputs(inputs),
            None => self.let_go(),
        }
    }

    /// An entry that has been gone for `settle` is gone until a valid one is there: what the request in
    /// force was counts for nothing then, whatever becomes of the file and of the daemon.
    fn let_go(&mut self) -> Result<(), Stop> {
        let is_over = self.wish == Wish::LetGo && self.let_go_in() == Some(Duration::ZERO);
        if !is_over || self.record.let_go.is_some() {
            return Ok(());
        }
        tracing::info!(stack = %self.settings.name, "let go: desired.toml has no entry for it, nothing of it is touched");
        let now = self.now();
        self.commit(&[Change::LetGo(Some(now))])
    }

    /// What a stack waits for of which nothing is begun.
    pub(super) fn an_entry(&self) -> String {
        String::from(match (&self.wish, &self.record.let_go) {
            (Wish::LetGo, None) => "desired.toml to be quiet: it has no entry for this stack",
            (Wish::Asked(_), _) => {
                "its files to be valid and quiet: nothing is touched before, it was let go"
            }
            _ => "an entry in desired.toml: nothing is touched without one",
        })
    }

    /// Whether another release is asked for than the one in force. It is taken by the next pass.
    pub(super) fn is_asked_anew(&mut self) -> bool {
        let Some(inputs) = self.settled_inputs() else {
            return self.is_fetched_for_others();
        };
        let asked = self.request_for(&inputs);
        let anew = self.record.request.as_ref().is_none_or(|known| !known.is(&asked));
        if anew {
            self.look_again();
        } else {
            self.inputs = Some(inputs);
        }
        anew
    }

    /// Reads the files when they may have changed.
    fn settled_inputs(&mut self) -> Option<Arc<Inputs>> {
        let now = self.now();
        let fresh = self
            .look_at
            .as_ref()
            .and_then(|at| now.since(at))
            .is_some_and(|age| age < self.resync);
        if fresh && self.settle_left.is_none() {
            return None;
        }
        self.look_at = Some(now.clone());
        self.settle_left = None;
        let desired = match &self.wish {
            Wish::Asked(desired) => {
                self.problems.clear();
                (**desired).clone()
            }
            Wish::LetGo => {
                self.lacks_nothing();
                self.problems.clear();
                self.settle_left = self.let_go_in().filter(|left| !left.is_zero());
                return None;
            }
            Wish::Unreadable(problems) => {
                self.problems.clone_from(problems);
                if self.record.let_go.is_some() {
                    self.lacks_nothing();
                    return None;
                }
                // The last valid entry stays in force, and what it makes of the other files with it.
                self.record.request.as_ref()?.desired.clone()
            }
        };
        let checkouts = self.checkouts(&desired)?;
        let key = self.edges.store.host_key();
        let last = self.looked.take();
        let (look, disk) = self.with_own(&desired.env, |source| {
            inputs::read_again(source, &self.settings, &desired, &key, &checkouts, last.as_ref())
        });
        self.disk = disk;
        self.note_others();
        if self.lacks_what_is_built(&look.lacks) {
            return None;
        }
        let fingerprint = look.fingerprint.clone();
        match self.looked.insert(look).inputs.clone() {
            Ok(inputs) => match self.settled.look(fingerprint, &now) {
                Quiet::Yes => return Some(inputs),
                Quiet::NotYet(left) => {
                    self.settle_left = Some(left);
                    self.waits.push(String::from("the files to be quiet"));
                }
            },
            Err(problems) => {
                self.files_are_wrong();
                self.settled.look(fingerprint, &now);
                for problem in &problems {
                    tracing::error!(stack = %self.settings.name, "{problem}; the last valid request stays in force");
                }
                self.problems.extend(problems);
            }
        }
        None
    }

    /// What these inputs ask for: what is in force already with its retries, or something new.
    fn request_for(&self, inputs: &Inputs) -> Request {
        let fresh = Request {
            desired: inputs.desired.clone(),
            env: inputs.env.clone(),
            config: inputs.config.clone(),
            spec: inputs.content.clone(),
            files: ReleaseFiles::new(),
            commits: inputs.commits.clone(),
            accepted: self.now(),
            retries: 0,
        };
        let retries = self.record.request.as_ref().map_or(0, |known| known.retries);
        let again = Request {
            retries,
            ..fresh.clone()
        };
        let known = self.record.request.as_ref();
        let moved = known.is_some_and(|known| self.is_asked_again(known, &again));
        if moved || known.is_some_and(|known| known.is(&again)) {
            again
        } else {
            fresh
        }
    }

    fn take_inputs(&mut self, inputs: Arc<Inputs>) -> Result<(), Stop> {
        let mut request = self.request_for(&inputs);
        // What could not be kept is read again: nothing may be made of it before.
        self.settle_left = Some(AGAIN);
        let back = state::order::taken_up(&self.record);
        self.commit(&back)?;
        // Also for what is in force already: they may have gone meanwhile.
        if !self.publish_files(&inputs.published) {
            return Ok(());
        }
        let known = self.record.request.as_ref();
        let seen = self.seen_files(&self.disk);
        if known.is_some_and(|known| known.is(&request)) {
            self.have(inputs);
            return self.commit(&seen.into_iter().collect::<Vec<_>>());
        }
        let (kept, _) = self.with_own(&inputs.desired.env, |source| self.keep_files(&inputs, source));
        match kept? {
            Some(files) => request.files = files,
            // It is read again: somebody is at it.
            None => return Ok(()),
        }
        let bytes = serde_json::to_vec(&inputs.spec).expect("a stack is plain data");
        if !bug::is(Bug::RequestBeforeItsContent) {
            self.edges.store.put_object(&bytes)?;
        }
        tracing::info!(stack = %self.settings.name, tag = %request.desired.tag, "a new request");
        if bug::is(Bug::ValueInTheLog) {
            tracing::info!(stack = %self.settings.name, "{:?}", self.env_values());
        }
        let accept = Change::Accept(Box::new(request));
        let changes: Vec<Change> = seen.into_iter().chain([accept]).collect();
        self.commit(&changes)?;
        if bug::is(Bug::RequestBeforeItsContent) {
            self.edges.store.put_object(&bytes)?;
        }
        self.have(inputs);
        self.retry = None;
        self.healing.clear();
        Ok(())
    }

    /// These inputs are what the request in force was made of.
    fn have(&mut self, inputs: Arc<Inputs>) {
        self.inputs = Some(inputs);
        self.settle_left = None;
        self.note_read();
    }

    /// First contact: what runs is generation 1, by image, and nothing is touched. As long as nobody
    /// has agreed to the differences that were found, each new request meets the stack anew. `false`: it
    /// waits for the files, and nothing is applied before.
    pub(super) async fn meet_stack(&mut self) -> Result<bool, Stop> {
        let (inputs, again) = match self.meeting() {
            Meeting::Over => return Ok(true),
            Meeting::Waits => {
                self.waits
                    .push(String::from("the files, to compare them with what runs"));
                return Ok(false);
            }
            Meeting::Now { inputs, again } => (inputs, again),
        };
        let theirs: Vec<ContainerObs> = self
            .seen
            .iter()
            .filter(|c| !c.oneoff && inputs.spec.services.contains_key(&c.service))
            .cloned()
            .collect();
        if theirs.is_empty() {
            // What was found is gone, and what was asked about it with it.
            let moot = if again {
                vec![Change::Approval(None)]
            } else {
                Vec::new()
            };
            self.commit(&moot)?;
            return Ok(true);
        }
        let now = self.now();
        let mut images: BTreeMap<ServiceName, ImageId> = BTreeMap::new();
        for container in &theirs {
            images
                .entry(container.service.clone())
                .or_insert_with(|| container.image.clone());
        }
        let mut found = Self::missing_services(&inputs, &theirs);
        let whole = found.is_empty();
        let strange = Self::strange_containers(&inputs, &theirs, &images);
        let mut faithful = strange.is_empty();
        found.extend(strange);
        let mut otherwise: BTreeSet<ServiceName> = BTreeSet::new();
        for container in &theirs {
            for line in self.compare_found(&inputs.spec, container).await? {
                faithful = false;
                otherwise.insert(container.service.clone());
                found.push(line);
            }
        }
        let mut tag_runs = whole;
        for (service, spec) in &inputs.spec.services {
            let (Some(reference), Some(runs)) = (&spec.image, images.get(service)) else {
                continue;
            };
            if self.edges.engine.image(reference).await?.as_ref() != Some(runs) {
                tag_runs = false;
                found.push(format!(
                    "{service} runs image {}, {reference} is asked for",
                    runs.short()
                ));
            }
        }
        let mut generation = self.found_generation(&inputs, images, tag_runs, whole && faithful, &now);
        // What is not what the file says counts as nothing that could be asked for: it differs from every
        // request, and not from the generation that it is found as.
        for (service, hash) in &mut generation.hashes {
            if otherwise.contains(service) {
                *hash = String::from(FOUND);
            }
        }
        let adoptions = theirs.iter().filter_map(|c| {
            let hash = generation.hashes.get(&c.service)?;
            Some(Change::Adopt(c.id.clone(), hash.clone()))
        });
        let number = generation.number;
        let mut changes: Vec<Change> = adoptions.collect();
        if let Some(before) = self.record.current().filter(|g| g.verdict == Verdict::Trial) {
            let why = "another release was asked for before it was proven";
            changes.push(judged(before, Verdict::Superseded, &now, why));
        }
        changes.insert(0, Change::Begin(generation.into()));
        changes.push(Change::Approval(None));
        for container in &theirs {
            if let Some(detail) = self.edges.engine.container(container.id.as_str()).await? {
                let (service, number) = (container.service.clone(), container.number);
                if !detail.anonymous.is_empty() {
                    changes.push(Change::Carry(service, number, detail.anonymous));
                }
            }
        }
        changes.push(Change::SetCurrent(number));
        changes.push(Change::Applied(number, now.clone()));
        if let (false, Some(request)) = (found.is_empty(), &self.record.request) {
            changes.push(Change::Approval(Some(Box::new(Approval {
                ask: Ask::FirstContact,
                request: request.id(),
                asked: now,
                detail: found,
                answer: None,
            }))));
        }
        tracing::info!(stack = %self.settings.name, containers = theirs.len(), "found running: adopted as generation {number}, nothing is touched");
        self.commit(&changes)?;
        Ok(true)
    }

    fn meeting(&self) -> Meeting {
        let Some(request) = &self.record.request else {
            return Meeting::Over;
        };
        let unanswered = self.record.approval.as_ref();
        let again = unanswered.is_some_and(|a| a.ask == Ask::FirstContact && a.request != request.id());
        if !self.record.generations.is_empty() && !again {
            return Meeting::Over;
        }
        match &self.inputs {
            Some(inputs) => Meeting::Now {
                inputs: Arc::clone(inputs),
                again,
            },
            // Nothing is there that could be met.
            None if !again && self.seen.iter().all(|c| c.oneoff) => Meeting::Over,
            // An agent that was killed in the middle of this knows the request, and has not read the files yet.
            None => Meeting::Waits,
        }
    }

    fn missing_services(inputs: &Inputs, theirs: &[ContainerObs]) -> Vec<String> {
        inputs
            .spec
            .services
            .iter()
            .filter(|(name, spec)| spec.replicas() > 0 && !theirs.iter().any(|c| c.service == **name))
            .map(|(name, _)| format!("{name} has no container"))
            .collect()
    }

    /// Containers that are one too many, or that differ from their siblings.
    fn strange_containers(
        inputs: &Inputs,
        theirs: &[ContainerObs],
        images: &BTreeMap<ServiceName, ImageId>,
    ) -> Vec<String> {
        let replicas = |c: &ContainerObs| {
            inputs
                .spec
                .services
                .get(&c.service)
                .map_or(0, state::stack_spec::ServiceSpec::replicas)
        };
        let extra = theirs.iter().filter(|c| c.number == 0 || c.number > replicas(c));
        let other = theirs.iter().filter(|c| images.get(&c.service) != Some(&c.image));
        let extra = extra.map(|c| format!("{} is one too many", c.name));
        extra
            .chain(other.map(|c| format!("{} runs another image than its siblings", c.name)))
            .collect()
    }

    fn found_generation(
        &self,
        inputs: &Inputs,
        images: BTreeMap<ServiceName, ImageId>,
        tag_runs: bool,
        faithful: bool,
        now: &Moment,
    ) -> Generation {
        let release = Release {
            tag: tag_runs.then(|| inputs.desired.tag.clone()),
            pins: if tag_runs {
                inputs.desired.services.clone()
            } else {
                BTreeMap::new()
            },
            // Nobody knows of which commit it was built.
            commits: BTreeMap::new(),
            images,
            migration: inputs.desired.migration.clone(),
            env: inputs.env.clone(),
            config: inputs.config.clone(),
        };
        let request = self
            .record
            .request
            .as_ref()
            .map_or_else(|| inputs.config.clone(), Request::id);
        let files = self.own_files();
        let mut generation =
            self.new_generation(release, (&inputs.spec, &inputs.content), (request, files), now);
        generation.adopted = true;
        generation.why = String::from("found running");
        generation.not_restorable = (!faithful).then(|| {
            String::from(
                "it was found running and does not match its Compose file, so it cannot be made again",
            )
        });
        generation
    }

    /// What differs between a container that was found and what we would make, but for its image.
    async fn compare_found(&self, spec: &StackSpec, container: &ContainerObs) -> Result<Vec<String>, Stop> {
        let differences = self.differences(spec, container, "").await?;
        Ok(differences
            .into_iter()
            .filter(|d| d.field != "Image")
            .map(|d| {
                format!(
                    "{}-{}: {} {}",
                    container.service, container.number, d.field, d.detail
                )
            })
            .collect())
    }

    pub(super) async fn differences(
        &self,
        stack: &StackSpec,
        container: &ContainerObs,
        hash: &str,
    ) -> Result<Vec<crate::engine::Difference>, Stop> {
        let Some(spec) = stack.services.get(&container.service) else {
            return Ok(Vec::new());
        };
        let new = NewContainer {
            stack,
            service: &container.service,
            spec,
            number: container.number,
            name: container.name.clone(),
            image: container.image.clone(),
            spec_hash: hash.to_owned(),
            operation: 0,
            generation: 0,
            carried: Vec::new(),
            restart: spec.restart_policy(),
            dialect: self.dialect(),
            working_dir: self.settings.directory.clone(),
            config_files: self
                .inputs
                .as_ref()
                .map(|i| i.compose_files.clone())
                .unwrap_or_default(),
        };
        Ok(self.edges.engine.differences(&container.id, &new).await?)
    }

    /// The next generation, of a stack and the digest under which that is kept.
    fn new_generation(
        &self,
        release: Release,
        (spec, content): (&StackSpec, &state::name::Digest),
        (request, files): (state::name::Digest, ReleaseFiles),
        now: &Moment,
    ) -> Generation {
        let key = self.edges.store.host_key();
        let hashes = release
            .images
            .iter()
            .filter_map(|(service, image)| {
                Some((service.clone(), key.spec_hash(spec, service, image, &files)?))
            })
            .collect();
        Generation {
            number: self.record.next_number(),
            release_id: release.id(),
            release,
            request,
            spec: content.clone(),
            hashes,
            verdict: Verdict::Trial,
            begun: now.clone(),
            applied: None,
            judged: None,
            why: String::from("on trial"),
            schema: None,
            files,
            adopted: false,
            not_restorable: None,
        }
    }

    /// Applies a request that is pending, as far as it can go now.
    pub(super) async fn answer_request(&mut self) -> Result<(), Stop> {
        if self.record.standing != Standing::Pending || self.backing_off() {
            return Ok(());
        }
        let Some(request) = self.record.request.clone() else {
            return Ok(());
        };
        if self.waits_for_its_source(&request) {
            return Ok(());
        }
        // What was accepted is what is applied, whatever the files say by now.
        let Some(spec) = self.load_spec(&request.spec)? else {
            return Ok(());
        };
        let Some(images) = self.resolve_images(&request, &spec).await? else {
            return Ok(());
        };
        let now = self.now();
        match self.learn(&images, &request.id()).await? {
            Learnt::All if self.is_still_asked(&request)? => {}
            Learnt::All => return Ok(()),
            Learnt::Later => return Ok(()),
            Learnt::Never(why) => {
                let release = request.release(images);
                let current = self.record.current().map(|g| &g.release);
                let blame = Blame::between(&release, current);
                let way_out =
                    "mend the migrations of the image, then `steadfast retry`; or pin another release";
                return self.cannot_begin(&request, &spec, release, blame, (&why, way_out));
            }
        }
        let release = request.release(images);
        let asked = (request.id(), request.files.clone());
        let generation = self.new_generation(release, (&spec, &request.spec), asked, &now);
        let found = self
            .record
            .approval
            .as_ref()
            .filter(|a| a.ask == Ask::FirstContact);
        let found = found.map(|a| a.detail.clone());
        let tagged = self.tagged(Some(&generation.release), &spec);
        let running = match self.record.current() {
            Some(current) => self.load_spec(&current.spec)?,
            None => None,
        };
        let images = self.images_at_work(&generation.release.images);
        let asked = Asked {
            images: &images,
            release: &generation.release,
            hashes: &generation.hashes,
            spec: &spec,
            tagged: &tagged,
            running: running.as_deref(),
            found: found.as_deref(),
        };
        match answer(&self.record, &asked) {
            Reply::IsCurrent(number) => self.is_current(number, &now).await,
            Reply::Quarantined(number) => {
                tracing::warn!(stack = %self.settings.name, "what is asked for is in quarantine since generation {number} failed; `steadfast retry` tries it again");
                let mut changes = vec![Change::Stand(Standing::Quarantined(number))];
                let way_out = "`steadfast retry` tries it again; or pin another release";
                changes.extend(self.held_where_nothing_runs(&format!("generation {number} failed"), way_out));
                self.commit(&changes)
            }
            // One question at a time: the failure first.
            Reply::Ask(..)
                if self
                    .record
                    .approval
                    .as_ref()
                    .is_some_and(|a| matches!(a.ask, Ask::Rollback { .. } | Ask::RestoreBackup { .. })) =>
            {
                self.waits.push(String::from("the answer about the rollback"));
                Ok(())
            }
            Reply::Ask(ask, detail) => {
                let approval = Approval {
                    ask,
                    request: request.id(),
                    asked: now,
                    detail,
                    answer: None,
                };
                self.show_next(&generation, &spec).await?;
                self.waits.push(self.an_approval());
                self.commit(&[Change::Approval(Some(Box::new(approval)))])
            }
            Reply::Waiting => {
                self.show_next(&generation, &spec).await?;
                self.waits.push(self.an_approval());
                Ok(())
            }
            Reply::Denied => {
                self.waits
                    .push(String::from("a new request: this one was denied"));
                Ok(())
            }
            Reply::Apply => self.deploy(generation, &spec).await,
        }
    }

    /// To fetch images and to read migrations takes its time: what was asked for since then counts.
    fn is_still_asked(&mut self, request: &Request) -> Result<bool, Stop> {
        self.look()?;
        let known = self.record.request.as_ref().map(Request::id);
        let pending = self.record.standing == Standing::Pending && known == Some(request.id());
        let is = pending && !self.is_let_go();
        if !is {
            self.look_again();
        }
        Ok(is)
    }

    /// What is asked for runs already. Whoever says `retry`, where the schema was moved by hand, takes that as it is.
    async fn is_current(&mut self, number: GenerationNumber, now: &Moment) -> Result<(), Stop> {
        let mut changes = vec![Change::Stand(Standing::Applied(number))];
        self.see_schema_anew(now).await;
        let again = self
            .record
            .request
            .as_ref()
            .is_some_and(|request| request.retries > 0);
        if let Some((is, proven)) = moved(&self.record, self.schema.as_ref()).filter(|_| again) {
            let (stands, at) = apart(is, proven);
            tracing::warn!(
                stack = %self.settings.name,
                "the schema stands at {stands}, generation {number} was proven at {at}: taken as it is, as somebody has asked"
            );
            changes.push(Change::Schema(number, is.clone()));
        }
        self.commit(&changes)
    }

    /// What would be done if it were approved, for `steadfast plan`.
    async fn show_next(&mut self, generation: &Generation, spec: &Common<StackSpec>) -> Result<(), Stop> {
        let wanted = Wanted::of(generation.number, generation, spec.clone());
        let drift = self.drift_from(&wanted);
        let now = self.now();
        let way = match self.course_of(&generation.release, spec, &now).await? {
            Course::Known(way) => way,
            Course::Unseen(_) | Course::None(_) => None,
        };
        let tag = generation.release.tag.as_ref();
        let name = tag.map_or("another release", |tag| tag.as_str());
        let why = self.asked_words(name, generation);
        self.next = self
            .make_plan(&wanted, &drift, Kind::Deploy, 0, way.as_deref(), None)
            .await?
            .ok()
            .map(|plan| Next {
                kind: Kind::Deploy,
                generation: Some(generation.number),
                why,
                plan,
                because: drift.iter().map(Difference::of).collect(),
                resolved: self.record.resolved.clone(),
            });
        Ok(())
    }

    /// The image of every service, resolved once per request; pulled where it is not here. `None`:
    /// not all of them can be had now.
    async fn resolve_images(
        &mut self,
        request: &Request,
        spec: &StackSpec,
    ) -> Result<Option<BTreeMap<ServiceName, ImageId>>, Stop> {
        let mut changes = Vec::new();
        let mut pulls: Vec<Step> = Vec::new();
        let mut never: BTreeSet<String> = BTreeSet::new();
        // What one service has built, another may run.
        let has_source = self.edges.source.is_some();
        let is_built = |service: &&ServiceSpec| has_source && service.build.is_some();
        let built = spec.services.values().filter(is_built);
        let built: BTreeSet<&String> = built.filter_map(|service| service.image.as_ref()).collect();
        for (name, service) in &spec.services {
            let Some(reference) = &service.image else { continue };
            if self.record.resolved.contains_key(reference) {
                continue;
            }
            match self
                .built_from_source(request, (name, service), reference)
                .await?
            {
                Made::Elsewhere if built.contains(reference) => continue,
                Made::Elsewhere => {}
                Made::Known(image) => {
                    changes.push(Change::Resolve(reference.clone(), image));
                    continue;
                }
                Made::By(step) => {
                    let same =
                        |known: &Step| matches!(known, Step::Build { reference: of, .. } if of == reference);
                    if !pulls.iter().any(same) {
                        pulls.push(step);
                    }
                    continue;
                }
                Made::Never(why) => {
                    self.no_such_image(request, spec, BTreeSet::from([reference.clone()]), &why)?;
                    return Ok(None);
                }
                Made::Later => return Ok(None),
            }
            let always = service.pull_policy == Some(PullPolicy::Always);
            let here = if always {
                None
            } else {
                self.edges.engine.image(reference).await?
            };
            match here {
                Some(image) => changes.push(Change::Resolve(reference.clone(), image)),
                None if matches!(service.pull_policy, Some(PullPolicy::Never | PullPolicy::Build))
                    || service.build.is_some() =>
                {
                    never.insert(reference.clone());
                }
                None => {
                    let step = Step::Pull {
                        reference: reference.clone(),
                        platform: service.platform.clone(),
                    };
                    if !pulls.contains(&step) {
                        pulls.push(step);
                    }
                }
            }
        }
        self.commit(&changes)?;
        if !never.is_empty() {
            let names: Vec<&str> = never.iter().map(String::as_str).collect();
            let why = format!("not on this host, and not to be pulled: {}", names.join(", "));
            self.no_such_image(request, spec, never.clone(), &why)?;
            return Ok(None);
        }
        if !pulls.is_empty() && !self.fetch(request, spec, pulls).await? {
            return Ok(None);
        }
        Ok(Some(resolved(spec, &self.record.resolved)))
    }

    async fn fetch(&mut self, request: &Request, spec: &StackSpec, pulls: Vec<Step>) -> Result<bool, Stop> {
        let references: BTreeSet<String> = pulls
            .iter()
            .filter_map(|step| match step {
                Step::Pull { reference, .. } | Step::Build { reference, .. } => Some(reference.clone()),
                _ => None,
            })
            .collect();
        if !self.own().await? {
            return Ok(false);
        }
        let operation = Operation {
            id: self.edges.store.next_operation_id()?,
            kind: Kind::Fetch,
            generation: None,
            request: request.id(),
            by: Author::Agent,
            why: format!("images of {} are not on this host", request.desired.tag),
            begun: self.now(),
            plan: Plan::of(pulls),
        };
        self.commit(&[Change::Open(operation.into())])?;
        match self.carry_on().await? {
            End::Done => Ok(references.iter().all(|r| self.record.resolved.contains_key(r))),
            End::GaveWay => Ok(false),
            End::Failed {
                why, passing: true, ..
            } => {
                self.back_off(Kind::Fetch, &why);
                Ok(false)
            }
            End::Failed {
                why, passing: false, ..
            } => {
                let missing = references
                    .into_iter()
                    .filter(|r| !self.record.resolved.contains_key(r));
                self.no_such_image(request, spec, missing.collect(), &why)?;
                Ok(false)
            }
        }
    }

    /// The tag names no image that can be had: the generation is bad, nothing was stopped.
    fn no_such_image(
        &mut self,
        request: &Request,
        spec: &StackSpec,
        references: BTreeSet<String>,
        why: &str,
    ) -> Result<(), Stop> {
        let release = request.release(resolved(spec, &self.record.resolved));
        let way_out = if self.settings.source.is_some() {
            "mend it and pin the release that is mended; or `steadfast retry`, which takes what the tag names then"
        } else {
            "push the image, then `steadfast retry`; or pin another release"
        };
        self.cannot_begin(request, spec, release, Blame::Tag { references }, (why, way_out))
    }

    /// A release that cannot even be begun is bad, and nothing was stopped.
    fn cannot_begin(
        &mut self,
        request: &Request,
        spec: &StackSpec,
        release: Release,
        blame: Blame,
        (why, way_out): (&str, &str),
    ) -> Result<(), Stop> {
        let now = self.now();
        let asked = (request.id(), request.files.clone());
        let mut generation = self.new_generation(release, (spec, &request.spec), asked, &now);
        why.clone_into(&mut generation.why);
        tracing::error!(stack = %self.settings.name, "{why}; nothing was stopped");
        let mut changes = vec![Change::Begin(generation.clone().into())];
        changes.extend(never_begun(&generation, blame, why, &now));
        changes.extend(self.held_where_nothing_runs(why, way_out));
        self.commit(&changes)
    }

    /// Where nothing runs there is nothing that goes on either: a person is needed.
    pub(super) fn held_where_nothing_runs(&self, why: &str, way_out: &str) -> Option<Change> {
        let why = format!("{why}, and nothing else is there to run");
        let nothing = self.record.current.is_none();
        nothing.then(|| state::operation::held(&why, way_out, &self.now()))
    }

    /// Whether a passing failure was too short a while ago to try again.
    pub(super) fn backing_off(&mut self) -> bool {
        let now = self.now();
        match &self.retry {
            Some((_, again)) if now.until(&again.at) > Duration::ZERO => {
                self.waits.push(format!("another try: {}", again.why));
                true
            }
            _ => false,
        }
    }

    /// What is waited for while a person is asked.
    pub(super) fn an_approval(&self) -> String {
        let name = &self.settings.name;
        format!("an approval: `steadfast approve {name}` or `steadfast deny {name}`")
    }

    /// A failure that may pass, of what was for `kind`: not again before a while.
    pub(super) fn back_off(&mut self, kind: Kind, why: &str) {
        let now = self.now();
        let mut backoff = self
            .retry
            .take()
            .map_or_else(|| crate::backoff::Backoff::new(0.0), |(backoff, _)| backoff);
        let delay = if bug::is(Bug::NoPatience) {
            Duration::ZERO
        } else {
            backoff.next()
        };
        tracing::warn!(stack = %self.settings.name, "{why}; trying again in {}", state::decide::span(delay));
        self.waits
            .push(format!("the next try, in {}: {why}", state::decide::span(delay)));
        let again = Again {
            kind,
            why: why.to_owned(),
            at: now.plus(delay),
        };
        self.retry = Some((backoff, again));
    }
}

fn resolved(spec: &StackSpec, known: &BTreeMap<String, ImageId>) -> BTreeMap<ServiceName, ImageId> {
    spec.services
        .iter()
        .filter_map(|(name, service)| Some((name.clone(), known.get(service.image.as_ref()?)?.clone())))
        .collect()
}
