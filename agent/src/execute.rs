//! Carries out a plan, step by step, each journaled before its effect. No policy in here: a step
//! says itself what it is and how it is taken back, and who calls an operation away knows why.

mod as_it_was;
mod backups;
mod checks;
mod files;
mod integrity;
mod restore;
mod rows;
mod schema;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use state::bug::{self, Bug};
use state::files::Placing;
use state::integrity::Seen;
use state::journal::{Event, OpenOperation, Outcome, Progress};
use state::ledger::{LedgerError, Store};
use state::name::{ContainerId, ServiceName, StackName};
use state::naming::Dialect;
use state::observed::{ContainerDetail, ContainerObs, ContainerState, DockerHealth};
use state::operation::{Halt, Move};
use state::record::Change;
use state::release::GenerationNumber;
use state::stack_spec::{RestartPolicy, StackSpec};
use state::step::{Condition, Step, Target};
use state::time::Moment;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::engine::{Engine, EngineError, NewContainer};
use crate::files::Files;
use crate::source::Repository;
pub use schema::Work;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How often a call whose outcome is unknown is made again before it counts as failed.
const ATTEMPTS: u32 = 3;
/// How often the removal of an old container is tried before it is left behind.
const REMOVALS: u32 = 5;
/// How often taking a step back is tried while its failure may pass.
const UNDO_TRIES: u32 = 30;
/// How often a database that does not answer is asked again: it may be on its way up.
const DATABASE_TRIES: u32 = 60;
/// How long to wait before an engine that is away is tried again.
const AWAY: Duration = Duration::from_secs(1);

/// What a plan is carried out on.
pub struct Executor<'a> {
    /// The engine.
    pub engine: &'a dyn Engine,
    /// The ledger.
    pub store: &'a dyn Store,
    /// The operator's files.
    pub files: &'a dyn Files,
    /// The repository that releases come from; `None`: they come from nowhere but the stack's directory.
    pub source: Option<&'a dyn Repository>,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// Set when the daemon is to stop: a step in flight is finished or left to the journal.
    pub stop: &'a watch::Receiver<bool>,
    /// Set, with the reason, when something more urgent waits for the end of the operation: a step
    /// that only waits, or only fetches, then fails as one whose failure says nothing.
    pub called: &'a watch::Receiver<Option<String>>,
    /// The stack.
    pub stack: &'a StackName,
    /// What containers are made of; `None` while images are fetched.
    pub spec: Option<&'a StackSpec>,
    /// How names are joined.
    pub dialect: Dialect,
    /// Where the stack lives, for Compose's labels.
    pub directory: &'a Path,
    /// Its Compose files, likewise.
    pub compose_files: &'a [PathBuf],
    /// How many events of the journal there were when the engine was last seen away, or the agent itself was: what
    /// was started before that may have ended while nobody looked.
    pub unseen: AtomicUsize,
    /// The database; `None`: the stack has none that is worked on.
    pub work: Option<Work<'a>>,
    /// Told after every step.
    pub tell: &'a (dyn Fn(&OpenOperation) + Send + Sync),
}

/// Why one step did not succeed.
enum Failure {
    /// For good.
    Final(String),
    /// For good, because of what was seen of the database.
    Broken(String, Box<Seen>),
    /// For good, and the schema is not where it was.
    Moved(String),
    /// The database does not answer, and was waited for.
    Away(String),
    /// Nothing is said about the release: trying again later may help.
    Passing(String),
    /// Likewise, and nobody can see what a migration has left.
    Unseen(String),
    /// The daemon stops.
    Interrupted,
}

impl Failure {
    /// In words; `None`: the daemon stops.
    fn why(&self) -> Option<&str> {
        match self {
            Self::Final(why)
            | Self::Broken(why, _)
            | Self::Moved(why)
            | Self::Away(why)
            | Self::Passing(why)
            | Self::Unseen(why) => Some(why),
            Self::Interrupted => None,
        }
    }
}

impl Executor<'_> {
    /// Carries an open operation on, from wherever its journal says it is. The caller ends it, with all that
    /// follows from it; `None`: the daemon stops, and the journal says how far it came.
    pub async fn carry_out(&self, open: &mut OpenOperation) -> Result<Option<Halt>, LedgerError> {
        loop {
            let goes_on = match open.next_move() {
                Move::Forward(index) => self.forward(open, index).await?,
                Move::Back(index) => self.backward(open, index).await?,
                Move::Halt(halt) => return Ok(Some(halt)),
            };
            if !goes_on {
                return Ok(None);
            }
            (self.tell)(open);
        }
    }

    fn journal(&self, open: &mut OpenOperation, event: Event) -> Result<(), LedgerError> {
        self.journal_with(open, event, None)
    }

    /// Durable first; then it is so.
    fn journal_with(
        &self,
        open: &mut OpenOperation,
        event: Event,
        more: Option<Change>,
    ) -> Result<(), LedgerError> {
        let entry = event.at(&self.clock.now());
        let mut changes = vec![Change::Journal(entry.clone())];
        changes.extend(more);
        self.commit(&changes)?;
        open.apply(entry).map_err(|source| LedgerError::Impossible {
            stack: self.stack.clone(),
            source: source.into(),
        })
    }

    /// What is under way comes to its end also on a full disk: the reserve is there for that.
    fn commit(&self, changes: &[Change]) -> Result<(), LedgerError> {
        match self.store.commit(self.stack, changes) {
            Err(LedgerError::Full { .. }) => {
                tracing::error!(stack = %self.stack, "the disk is full: using the reserve of the state directory");
                self.store.release_reserve()?;
                self.store.commit(self.stack, changes)
            }
            other => other,
        }
    }

    /// One step forward; `false` when the daemon stops.
    async fn forward(&self, open: &mut OpenOperation, index: usize) -> Result<bool, LedgerError> {
        let Some(step) = open.step(index).cloned() else {
            return Ok(false);
        };
        if *self.stop.borrow() {
            return Ok(false);
        }
        if bug::is(Bug::EffectBeforeItsStart) {
            let _ = self.effect(open, index, &step).await;
        }
        let started = Event::Started { index };
        let again = open.events.last().is_some_and(|entry| entry.event == started);
        let holds = from_its_start(&step, open, &self.clock.now());
        self.journal_with(open, started, holds)?;
        if again && bug::is(Bug::InFlightCountsAsDone) {
            let outcome = Outcome::Done;
            self.journal(open, Event::Done { index, outcome })?;
            return Ok(true);
        }
        tracing::info!(stack = %self.stack, step = index + 1, "{step}");
        let past_return = open.is_past_return();
        let mut tries = 0;
        loop {
            let done = match self.attempt(open, index, &step).await {
                Ok(outcome) => self.rows_begun(&step, &outcome).await.map(|rows| (outcome, rows)),
                Err(failure) => Err(failure),
            };
            let (done, seen) = apart(done);
            if let Some(seen) = seen {
                self.journal(open, Event::Seen { index, seen })?;
            }
            let done = match done {
                Ok((outcome, rows)) => Ok((outcome, rows.or_else(|| opened(&step)))),
                Err(Failure::Interrupted) => Err(Failure::Interrupted),
                Err(failure) if matches!(step, Step::Migrate { .. } | Step::ApplySql { .. }) => self
                    .aftermath(open, index, failure)
                    .await
                    .map(|outcome| (outcome, None)),
                Err(failure) => Err(failure),
            };
            match done {
                Ok((outcome, carried)) => {
                    self.journal_with(open, Event::Done { index, outcome }, carried)?;
                    return Ok(true);
                }
                Err(Failure::Interrupted) => return Ok(false),
                // What cannot be taken back any more is finished. A container that cannot be removed
                // is left behind, stopped and without a restart policy: it must not keep the trial waiting.
                Err(
                    Failure::Final(why)
                    | Failure::Broken(why, _)
                    | Failure::Moved(why)
                    | Failure::Away(why)
                    | Failure::Passing(why)
                    | Failure::Unseen(why),
                ) if past_return => {
                    tries += 1;
                    if tries >= REMOVALS && step.is_final() {
                        tracing::error!(stack = %self.stack, "{step}: {why}; it is left behind");
                        let outcome = Outcome::Done;
                        self.journal(open, Event::Done { index, outcome })?;
                        return Ok(true);
                    }
                    tracing::warn!(stack = %self.stack, "{step}: {why}; trying again");
                    if self.pause(AWAY * 5).await {
                        return Ok(false);
                    }
                }
                Err(failure) => {
                    let unseen = matches!(failure, Failure::Unseen(_));
                    let unseen = unseen.then(|| schema::unseen(open, index)).flatten();
                    let (why, passing, moved) = match failure {
                        Failure::Passing(why) | Failure::Away(why) | Failure::Unseen(why) => {
                            (why, true, false)
                        }
                        Failure::Final(why) | Failure::Broken(why, _) => (why, false, false),
                        Failure::Moved(why) => (why, false, true),
                        Failure::Interrupted => return Ok(false),
                    };
                    let why = format!("{step}: {why}");
                    tracing::warn!(stack = %self.stack, "{why}");
                    let event = open.failure_of(index, why, passing, moved);
                    self.journal_with(open, event, unseen)?;
                    return Ok(true);
                }
            }
        }
    }

    /// The anonymous volumes of a container that was just made: its rows go on in the next one, also when
    /// this one is taken back after it has run. An engine that is away is waited for.
    async fn rows_begun(&self, step: &Step, outcome: &Outcome) -> Result<Option<Change>, Failure> {
        let (
            Step::Create {
                service,
                number,
                carried,
                ..
            },
            Outcome::Created(id),
        ) = (step, outcome)
        else {
            return Ok(None);
        };
        let mut tries = 0;
        let detail = loop {
            let error = match self.engine.container(id.as_str()).await {
                Ok(detail) => break detail,
                Err(error) => error,
            };
            tries += u32::from(!matches!(error, EngineError::Unreachable { .. }));
            if tries > UNDO_TRIES {
                return Err(Failure::Passing(error.to_string()));
            }
            tracing::warn!(stack = %self.stack, "{step}: {error}; looking again");
            if let Err(Trouble::Failure(failure)) = self.look_again_in(AWAY).await {
                return Err(failure);
            }
        };
        let begun = detail.filter(|detail| detail.anonymous != *carried);
        Ok(begun.map(|detail| Change::Carry(service.clone(), *number, detail.anonymous)))
    }

    /// One step back; `false` when the daemon stops.
    async fn backward(&self, open: &mut OpenOperation, index: usize) -> Result<bool, LedgerError> {
        let resumed = matches!(open.progress, Progress::Undoing { started: true, .. });
        let undo = step_at(open, index).and_then(|step| step.undo());
        let now = self.clock.now();
        let holds = undo.as_ref().and_then(|undo| from_its_start(undo, open, &now));
        self.journal_with(open, Event::UndoStarted { index }, holds)?;
        let undo = undo.filter(|_| !(resumed && bug::is(Bug::UndoCountsAsDone)));
        let Some(undo) = undo else {
            if !self.end_check(open, index).await || !self.end_unseen(open, index).await {
                return Ok(false);
            }
            self.journal(open, Event::UndoDone { index })?;
            return Ok(true);
        };
        tracing::info!(stack = %self.stack, step = index + 1, "taking back: {undo}");
        let mut tries = 0;
        let outcome = loop {
            if self.is_gone(&undo).await {
                break Ok(Outcome::Done);
            }
            match self.attempt(open, index, &undo).await {
                Err(Failure::Passing(why)) if tries < UNDO_TRIES => {
                    tries += 1;
                    tracing::warn!(stack = %self.stack, "taking back: {undo}: {why}; trying again");
                    if self.pause(AWAY * 3).await {
                        return Ok(false);
                    }
                }
                outcome => break outcome,
            }
        };
        let failed = match &open.progress {
            Progress::Undoing { why, .. } => why.as_str(),
            _ => "",
        };
        let open_again = outcome.is_ok().then(|| opened(&undo)).flatten();
        let event = match outcome {
            Ok(_) => Event::UndoDone { index },
            // It is remembered that it is barred: it is opened when it is back.
            Err(Failure::Away(_)) if undo == Step::OpenDatabase => Event::UndoDone { index },
            // It lies beside the database, marked, and is in nobody's way.
            Err(Failure::Away(why) | Failure::Passing(why)) if undo == Step::DropRestored => {
                tracing::warn!(stack = %self.stack, "taking back: {undo}: {why}; it is left behind");
                Event::UndoDone { index }
            }
            Err(Failure::Interrupted) => return Ok(false),
            Err(
                Failure::Final(why)
                | Failure::Broken(why, _)
                | Failure::Moved(why)
                | Failure::Away(why)
                | Failure::Passing(why)
                | Failure::Unseen(why),
            ) => Event::UndoFailed {
                index,
                why: format!("{failed}; and taking back failed: {undo}: {why}"),
            },
        };
        self.journal_with(open, event, open_again)?;
        Ok(true)
    }

    /// Whether what a step is about is gone: it has nothing to be taken back, and a heal makes it anew.
    async fn is_gone(&self, undo: &Step) -> bool {
        match undo.target() {
            Some(Target::Existing(id)) => matches!(self.engine.container(id.as_str()).await, Ok(None)),
            _ => false,
        }
    }

    /// Does a step, again where the outcome is unknown, waiting while the engine is away.
    async fn attempt(&self, open: &OpenOperation, index: usize, step: &Step) -> Result<Outcome, Failure> {
        let (mut unclear, mut silent) = (0, 0);
        loop {
            let error = match self.effect(open, index, step).await {
                Ok(outcome) => return Ok(outcome),
                Err(Trouble::Failure(failure)) => return Err(failure),
                Err(Trouble::Engine(error)) => error,
                Err(Trouble::Silent(why)) => {
                    silent += 1;
                    if silent > DATABASE_TRIES {
                        return Err(Failure::Away(why));
                    }
                    tracing::warn!(stack = %self.stack, "{step}: {why}; trying again");
                    match self.look_again_in(AWAY).await {
                        Err(Trouble::Failure(failure)) => return Err(failure),
                        _ => continue,
                    }
                }
            };
            match &error {
                EngineError::Unreachable { .. } if bug::is(Bug::EngineAwayIsBlamed) => {
                    return Err(classify(step, &error));
                }
                EngineError::Unreachable { .. } => {
                    self.unseen.store(open.events.len(), Ordering::Relaxed);
                    tracing::warn!(stack = %self.stack, "{step}: {error}; waiting for the engine");
                    if self.pause(AWAY).await {
                        return Err(Failure::Interrupted);
                    }
                }
                // Looking has no effect, and what cannot be seen has not failed.
                error if error.leaves_unknown() && (step.only_looks() || unclear + 1 < ATTEMPTS) => {
                    unclear += 1;
                    if self.pause(POLL * 5).await {
                        return Err(Failure::Interrupted);
                    }
                }
                error => return Err(classify(step, error)),
            }
        }
    }

    /// Waits; `true` when the daemon stops meanwhile.
    async fn pause(&self, by: Duration) -> bool {
        let mut stop = self.stop.clone();
        if *stop.borrow() {
            return true;
        }
        tokio::select! {
            biased;
            // Cancel-safe: a watch loses no value.
            _ = stop.changed() => true,
            // Cancel-safe: a dropped sleep leaves nothing behind.
            () = self.clock.sleep(by) => false,
        }
    }

    /// Between two looks of a step that waits.
    async fn look_again_in(&self, by: Duration) -> Result<(), Trouble> {
        tokio::select! {
            biased;
            // Cancel-safe: a watch loses no value.
            why = self.called_away() => Err(Trouble::Failure(why)),
            // Cancel-safe: a dropped sleep leaves nothing behind.
            () = self.clock.sleep(by) => Ok(()),
        }
    }

    /// Waits for it, unless the daemon stops, or the operation is to give way. What is dropped in the middle is done again,
    /// which looks first.
    async fn unless_called_away<T>(&self, doing: impl Future<Output = T> + Send) -> Result<T, Failure> {
        tokio::select! {
            biased;
            // Cancel-safe: a watch loses no value.
            failure = self.called_away() => Err(failure),
            done = doing => Ok(done),
        }
    }

    /// Comes back when the daemon stops, or when the operation is to give way.
    async fn called_away(&self) -> Failure {
        let (mut stop, mut called) = (self.stop.clone(), self.called.clone());
        let stopped = async { stop.wait_for(|stop| *stop).await.is_ok() };
        let called = async { called.wait_for(Option::is_some).await.ok()?.clone() };
        tokio::select! {
            biased;
            // Cancel-safe, both: a watch loses no value. Whoever is gone calls nobody any more.
            true = stopped => Failure::Interrupted,
            Some(why) = called => Failure::Passing(format!("gives way: {why}")),
            else => std::future::pending().await,
        }
    }

    async fn effect(&self, open: &OpenOperation, index: usize, step: &Step) -> Result<Outcome, Trouble> {
        let engine = self.engine;
        match step {
            Step::Pull { reference, platform } => {
                let tell = |words: String| tracing::info!(stack = %self.stack, "{words}");
                return tokio::select! {
                    biased;
                    // Cancel-safe: a watch loses no value.
                    why = self.called_away() => Err(Trouble::Failure(why)),
                    // A pull that is dropped ends on the engine too; what it has is no image yet.
                    image = engine.pull(reference, platform.as_deref(), &tell) => Ok(Outcome::Pulled(image?)),
                };
            }
            Step::FetchSource { tags, known } => return self.fetch_source(tags, known).await,
            Step::Build { .. } => return self.build(step).await,
            Step::KeepImage { image } => match engine.keep_image(self.stack, image).await {
                // What is gone cannot be kept. A step that needs it says so itself.
                Err(EngineError::NotFound { message, .. }) => {
                    tracing::warn!(stack = %self.stack, "{step}: {message}");
                }
                done => done?,
            },
            Step::ReleaseImages { keep } => {
                // Nothing depends on it: what could not be let go of is let go of next time.
                if let Err(error) = engine.release_images(self.stack, keep).await {
                    tracing::warn!(stack = %self.stack, "{step}: {error}");
                }
            }
            Step::CreateNetwork { key, name } => {
                let spec = self.spec()?;
                let network = spec.networks.get(key).ok_or_else(|| missing(key))?;
                engine.create_network(spec, key, network, name).await?;
            }
            Step::CreateVolume { key, name } => {
                let spec = self.spec()?;
                let volume = spec.volumes.get(key).ok_or_else(|| missing(key))?;
                engine.create_volume(spec, key, volume, name).await?;
            }
            Step::Create { .. } => return self.create(open, step).await.map(Outcome::Created),
            Step::Await {
                target,
                service,
                until,
                within,
                untouched,
            } => {
                let id = self.existing(open, target).await?;
                if !untouched && self.was_unseen(open, target) {
                    self.start_what_ended_unseen(&id, service).await?;
                }
                let spared = *untouched || open.operation.plan.unchanged.contains(service);
                let waited = self.wait_for(&id, service, *until, *within).await;
                waited.map_err(|trouble| spare(trouble, spared))?;
            }
            Step::Watch { targets, span } => self.watch(open, targets, *span).await?,
            Step::PutFiles { changes } => return self.put_files(changes),
            Step::CheckFile { .. } => self.check_file(open, index, step).await?,
            // It is sent when it is taken back.
            Step::Signal { back: true, .. } => {}
            Step::Signal { target, signal, .. } => {
                engine
                    .signal(&self.existing(open, target).await?, *signal)
                    .await?;
            }
            Step::CompareFiles {
                target,
                files,
                within,
                ..
            } => {
                let id = self.existing(open, target).await?;
                return self.compare_files(&id, files, *within).await;
            }
            Step::ReadMigrations { .. }
            | Step::ReadLosses { .. }
            | Step::SaveRows { .. }
            | Step::PutIn { .. }
            | Step::Look { .. }
            | Step::Backup { .. }
            | Step::VerifyBackup { .. }
            | Step::HandOn { .. }
            | Step::RestoreBeside { .. }
            | Step::DropRestored
            | Step::TakePlace
            | Step::GiveBack
            | Step::DropBeside { .. }
            | Step::CloseDatabase { .. }
            | Step::CopyDatabase
            | Step::OpenDatabase
            | Step::Migrate { .. }
            | Step::ApplySql { .. }
            | Step::PutBack => return self.on_database(open, index, step).await,
            other => self.touch(open, other).await?,
        }
        Ok(Outcome::Done)
    }

    /// The steps that change one container that exists. One that is gone has nothing to be changed.
    async fn touch(&self, open: &OpenOperation, step: &Step) -> Result<(), Trouble> {
        let engine = self.engine;
        match step {
            Step::Quiesce { target, .. } => {
                let id = self.existing(open, target).await?;
                ignore_gone(engine.set_restart(&id, &RestartPolicy::No).await)?;
            }
            Step::GiveRestart { target, policy } => {
                let id = self.existing(open, target).await?;
                ignore_gone(engine.set_restart(&id, policy).await)?;
            }
            Step::Stop { target, grace, .. } => {
                if let Some(id) = self.resolve(open, target).await? {
                    ignore_gone(engine.stop(&id, *grace).await)?;
                }
            }
            Step::Detach { target, from } => {
                let id = self.existing(open, target).await?;
                for network in from {
                    ignore_gone(engine.disconnect(&id, &network.network).await)?;
                }
            }
            Step::Attach { target, to } => {
                let id = self.existing(open, target).await?;
                for attachment in to {
                    engine.connect(&id, attachment).await?;
                }
            }
            Step::Rename { target, to, .. } => {
                let Some(id) = self.resolve(open, target).await? else {
                    return Ok(());
                };
                ignore_gone(engine.rename(&id, to).await)?;
            }
            Step::Start { target, .. } => {
                let id = self.existing(open, target).await?;
                self.begin(&id).await?;
            }
            Step::Remove { target } => {
                if let Some(id) = self.resolve(open, target).await? {
                    engine.remove(&id).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Starts a container, or lets one that is paused go on; not where somebody has meanwhile started another one
    /// that writes to the same data.
    async fn begin(&self, id: &ContainerId) -> Result<(), Trouble> {
        let detail = self.engine.container(id.as_str()).await?;
        if let Some(detail) = detail.filter(|detail| !detail.summary.state.is_running()) {
            if let Some(other) = self.other_writer(&detail).await? {
                let words =
                    format!("{other} runs, and writes to the same data: somebody has started it meanwhile");
                return Err(passing(words));
            }
            if detail.summary.state == ContainerState::Paused {
                self.engine.unpause(id).await?;
            }
        }
        Ok(self.engine.start(id).await?)
    }

    /// The container of the same service that runs and writes to the data of this one.
    async fn other_writer(&self, of: &ContainerDetail) -> Result<Option<String>, Trouble> {
        if of.writable.is_empty() || bug::is(Bug::TwoWriters) {
            return Ok(None);
        }
        let seen = self.engine.containers(self.stack).await?;
        let of_this = |c: &ContainerObs| c.service == of.summary.service && c.number == of.summary.number;
        for other in seen.into_iter().filter(|c| of_this(c) && c.state.is_running()) {
            if other.id == of.summary.id {
                continue;
            }
            let detail = self.engine.container(other.id.as_str()).await?;
            if detail.is_some_and(|detail| !detail.writable.is_disjoint(&of.writable)) {
                return Ok(Some(other.name));
            }
        }
        Ok(None)
    }

    fn spec(&self) -> Result<&StackSpec, Trouble> {
        self.spec
            .ok_or_else(|| Trouble::Failure(Failure::Final(String::from("the generation's content is gone"))))
    }

    async fn create(&self, open: &OpenOperation, step: &Step) -> Result<ContainerId, Trouble> {
        let Step::Create {
            service,
            number,
            name,
            image,
            hash,
            carried,
        } = step
        else {
            return Err(missing("a container to create"));
        };
        let stack = self.spec()?;
        let spec = stack
            .services
            .get(service)
            .ok_or_else(|| missing(service.as_str()))?;
        let generation = open.operation.generation.unwrap_or(GenerationNumber(0));
        let new = NewContainer {
            stack,
            service,
            spec,
            number: *number,
            name: name.clone(),
            image: image.clone(),
            spec_hash: hash.clone(),
            operation: open.operation.id,
            generation: generation.0,
            carried: carried.clone(),
            restart: RestartPolicy::No,
            dialect: self.dialect,
            working_dir: self.directory.to_owned(),
            config_files: self.compose_files.to_vec(),
        };
        match self.engine.create(&new).await {
            Err(EngineError::Conflict { .. }) if bug::is(Bug::NameIsReasonEnough) => {
                if let Some(other) = self.engine.container(name).await? {
                    self.engine.remove(&other.summary.id).await?;
                }
                Ok(self.engine.create(&new).await?)
            }
            made => Ok(made?),
        }
    }

    /// The container that a target means; `None`: there is none (any more).
    async fn resolve(&self, open: &OpenOperation, target: &Target) -> Result<Option<ContainerId>, Trouble> {
        match target {
            Target::Existing(id) => Ok(Some(id.clone())),
            Target::New(service, number) => {
                if let Some(id) = journaled(open, service, *number) {
                    return Ok(Some(id));
                }
                // The answer to its creation may have been lost: its label says whose it is.
                self.labelled(open, service, *number).await
            }
        }
    }

    async fn labelled(
        &self,
        open: &OpenOperation,
        service: &ServiceName,
        number: u32,
    ) -> Result<Option<ContainerId>, Trouble> {
        let operation = Some(open.operation.id);
        let seen = self.engine.containers(self.stack).await?;
        Ok(seen
            .into_iter()
            .find(|c| !c.oneoff && c.operation == operation && c.service == *service && c.number == number)
            .map(|c| c.id))
    }

    async fn existing(&self, open: &OpenOperation, target: &Target) -> Result<ContainerId, Trouble> {
        self.resolve(open, target)
            .await?
            .ok_or_else(|| passing(format!("container {target} is gone")))
    }

    async fn wait_for(
        &self,
        id: &ContainerId,
        service: &ServiceName,
        until: Condition,
        within: Duration,
    ) -> Result<(), Trouble> {
        let mut looked = Looked::from(self.clock.now());
        loop {
            let Some(detail) = self.engine.container(id.as_str()).await? else {
                return Err(passing(format!("the container of {service} is gone")));
            };
            match (&detail.summary.state, until) {
                (ContainerState::Exited(Some(0)), Condition::Completed)
                | (ContainerState::Running(_), Condition::Running)
                | (ContainerState::Running(None | Some(DockerHealth::Healthy)), Condition::Healthy) => {
                    return Ok(());
                }
                (ContainerState::Running(Some(DockerHealth::Unhealthy)), Condition::Healthy) => {
                    return Err(final_(format!("{service} is unhealthy by its own HEALTHCHECK")));
                }
                // A job that is done before it was looked at has run.
                (ContainerState::Exited(Some(0)), Condition::Running) if !self.lasts(service) => {
                    return Ok(());
                }
                (ContainerState::Exited(code), _) => return Err(final_(exited(service, *code))),
                _ => {}
            }
            if looked.until(self.clock.now()) >= within {
                let long = state::decide::span(within);
                return Err(final_(format!("{service} did not get there within {long}")));
            }
            self.look_again_in(POLL).await?;
        }
    }

    async fn watch(
        &self,
        open: &OpenOperation,
        targets: &[(Target, ServiceName)],
        span: Duration,
    ) -> Result<(), Trouble> {
        let mut ids: BTreeMap<ContainerId, &ServiceName> = BTreeMap::new();
        for (target, service) in targets {
            let id = self.existing(open, target).await?;
            if self.was_unseen(open, target) {
                self.start_what_ended_unseen(&id, service).await?;
            }
            ids.insert(id, service);
        }
        let mut looked = Looked::from(self.clock.now());
        loop {
            let seen = self.engine.containers(self.stack).await?;
            for (id, service) in &ids {
                let state = seen.iter().find(|c| c.id == *id).map(|c| &c.state);
                let spared = open.operation.plan.unchanged.contains(*service);
                self.stands(state, service)
                    .map_err(|trouble| spare(trouble, spared))?;
            }
            if looked.until(self.clock.now()) >= span {
                return Ok(());
            }
            self.look_again_in(POLL * 3).await?;
        }
    }

    /// Whether a container that is watched is as it should be.
    fn stands(&self, state: Option<&ContainerState>, service: &ServiceName) -> Result<(), Trouble> {
        match state {
            Some(ContainerState::Exited(Some(0))) if !self.lasts(service) => Ok(()),
            Some(ContainerState::Exited(code)) => Err(final_(exited(service, *code))),
            Some(ContainerState::Running(Some(DockerHealth::Unhealthy))) => {
                Err(final_(format!("{service} is unhealthy by its own HEALTHCHECK")))
            }
            Some(_) => Ok(()),
            None => Err(passing(format!("the container of {service} is gone"))),
        }
    }

    /// Whether a container may have ended while nobody looked: since this operation last started it, if it did, the
    /// agent or the engine was away.
    fn was_unseen(&self, open: &OpenOperation, target: &Target) -> bool {
        let starts = |index: usize| matches!(open.operation.plan.steps.get(index), Some(Step::Start { target: of, .. }) if of == target);
        let started = open
            .events
            .iter()
            .rposition(|entry| matches!(entry.event, Event::Started { index } if starts(index)));
        self.unseen.load(Ordering::Relaxed) > started.unwrap_or(0)
    }

    /// A container that ended while nobody looked, as in a restart of the host, says nothing about its release: it
    /// is started once more. What then ends is seen.
    async fn start_what_ended_unseen(&self, id: &ContainerId, service: &ServiceName) -> Result<(), Trouble> {
        let detail = self.engine.container(id.as_str()).await?;
        let Some(ContainerState::Exited(code)) = detail.map(|detail| detail.summary.state) else {
            return Ok(());
        };
        if code == Some(0) && !self.lasts(service) {
            return Ok(());
        }
        let why = exited(service, code);
        tracing::warn!(stack = %self.stack, "{why} while nobody looked: started once more");
        match self.begin(id).await {
            // Who only looks would look for ever: somebody else may have its port by now.
            Err(Trouble::Engine(error @ EngineError::Refused { .. })) => {
                Err(passing(format!("{why} while nobody looked, and {error}")))
            }
            begun => begun,
        }
    }

    /// Whether an exit with 0 is an end too early: the service is restarted, probed or published.
    fn lasts(&self, service: &ServiceName) -> bool {
        self.spec
            .and_then(|spec| spec.services.get(service))
            .is_some_and(|spec| {
                matches!(
                    spec.restart_policy(),
                    RestartPolicy::Always | RestartPolicy::UnlessStopped
                ) || spec.healthcheck.is_some()
                    || !spec.ports.is_empty()
            })
    }
}

/// What became of a step, apart from what it has seen of the database, which is written down by itself.
fn apart<T>(done: Result<T, Failure>) -> (Result<T, Failure>, Option<Box<Seen>>) {
    match done {
        Err(Failure::Broken(why, seen)) => (Err(Failure::Final(why)), Some(seen)),
        done => (done, None),
    }
}

/// For how long something has been looked at: the sleep of a host, or any other long gap, is not of it.
struct Looked {
    last: Moment,
    sum: Duration,
}

impl Looked {
    /// What lies between two looks is no look any more when it is longer than this.
    const GAP: Duration = Duration::from_secs(5);

    fn from(now: Moment) -> Self {
        Self {
            last: now,
            sum: Duration::ZERO,
        }
    }

    fn until(&mut self, now: Moment) -> Duration {
        let gap = now.since(&self.last).unwrap_or_default();
        // Something of it was waited through: however slow the engine is, this comes to its end.
        self.sum += if gap > Self::GAP { POLL } else { gap };
        self.last = now;
        self.sum
    }
}

/// What is so from the start on of a step: that the database lets nobody in, and what is in files that are nobody's
/// request.
fn from_its_start(step: &Step, open: &OpenOperation, now: &Moment) -> Option<Change> {
    if let Step::PutFiles { changes } = step {
        let (changes, at) = (changes.clone(), now.clone());
        return Some(Change::Place(Box::new(Placing { changes, at })));
    }
    let bars = matches!(
        step,
        Step::CloseDatabase { .. } | Step::ApplySql { .. } | Step::PutBack | Step::GiveBack
    );
    bars.then(|| Change::Bar(Some(open.operation.id)))
}

/// What is so once a step is done that lets connections in again.
fn opened(step: &Step) -> Option<Change> {
    matches!(step, Step::OpenDatabase | Step::ApplySql { .. }).then_some(Change::Bar(None))
}

/// Why an effect did not succeed.
enum Trouble {
    Engine(EngineError),
    /// The database does not answer, or has hung up: what was asked of it is asked again.
    Silent(String),
    Failure(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<EngineError> for Trouble {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

fn final_(why: String) -> Trouble {
    Trouble::Failure(Failure::Final(why))
}

/// Somebody else's doing, which says nothing about the release.
fn passing(why: String) -> Trouble {
    if bug::is(Bug::RemovalIsBlamed) {
        return final_(why);
    }
    Trouble::Failure(Failure::Passing(why))
}

/// What the plan leaves as it was fails nobody's release.
fn spare(trouble: Trouble, spared: bool) -> Trouble {
    match trouble {
        Trouble::Failure(Failure::Final(why)) if spared && !bug::is(Bug::UntouchedIsBlamed) => {
            Trouble::Failure(Failure::Passing(why))
        }
        trouble => trouble,
    }
}

fn missing(what: &str) -> Trouble {
    final_(format!("the generation has no {what}"))
}

fn exited(service: &ServiceName, code: Option<i64>) -> String {
    match code {
        Some(code) => format!("{service} exited with code {code}"),
        None => format!("{service} exited"),
    }
}

fn ignore_gone(result: Result<(), EngineError>) -> Result<(), EngineError> {
    match result {
        Err(EngineError::NotFound { .. }) => Ok(()),
        other => other,
    }
}

/// What the engine says in its words alone where something that is not the release's is in the way, and goes
/// by itself: a full disk, its own end. A port that somebody else has is not among them: each try would
/// interrupt what serves, so a person says when.
const IN_THE_WAY: [&str; 5] = [
    "no space left on device",
    "shutting down",
    "transport is closing",
    "client connection is closing",
    "context canceled",
];

/// Whether a failed call says something about the release. A full disk, a registry that is away or
/// an engine that does not answer does not.
fn classify(step: &Step, error: &EngineError) -> Failure {
    let why = error.to_string();
    let passing = match error {
        EngineError::ManifestUnknown { .. } | EngineError::BuildFailed { .. } => false,
        EngineError::Unreachable { .. } if bug::is(Bug::EngineAwayIsBlamed) => false,
        EngineError::Unreachable { .. }
        | EngineError::Timeout { .. }
        | EngineError::Stream { .. }
        | EngineError::Garbled { .. } => true,
        _ if matches!(
            step,
            Step::Pull { .. } | Step::Build { .. } | Step::KeepImage { .. }
        ) =>
        {
            true
        }
        // An engine that cannot even say what there is says nothing about the release.
        EngineError::Refused { call, status, .. } if *status >= 500 && only_asks(call) => true,
        // A container that this operation made or found is not there any more: somebody removed it.
        EngineError::NotFound { .. } if !matches!(step, Step::Create { .. }) => {
            !bug::is(Bug::RemovalIsBlamed)
        }
        _ => {
            let words = why.to_lowercase();
            IN_THE_WAY.iter().any(|cause| words.contains(cause))
        }
    };
    if passing {
        Failure::Passing(why)
    } else {
        Failure::Final(why)
    }
}

/// Whether a call changes nothing.
fn only_asks(call: &str) -> bool {
    call.starts_with("inspect") || call.starts_with("list")
}

fn step_at(open: &OpenOperation, index: usize) -> Option<Step> {
    open.operation.plan.steps.get(index).cloned()
}

/// The container that this operation's journal says it has made for a service and number.
fn journaled(open: &OpenOperation, service: &ServiceName, number: u32) -> Option<ContainerId> {
    open.operation
        .plan
        .steps
        .iter()
        .enumerate()
        .find_map(|(index, step)| match step {
            Step::Create {
                service: of,
                number: n,
                ..
            } if of == service && *n == number => match open.outcome(index) {
                Some(Outcome::Created(id)) => Some(id.clone()),
                _ => None,
            },
            _ => None,
        })
}
