//! All that is remembered of one stack, and the changes that it can undergo. [`StackRecord::apply`]
//! is pure; the ledger makes a batch of [`Change`]s durable in one transaction, then it is applied.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::backup::BackupId;
use crate::bug::{self, Bug};
use crate::common::Common;
use crate::data_change::CarriedTargets;
use crate::env_version::{Imported, import};
use crate::files::{Given, OnDisk, Placed, Placing, Replaced, given, placed_as_seen, placing};
use crate::health::HealthRecord;
pub use crate::hold::Hold;
use crate::journal::{Entry, Event, IllegalTransition, Kind, OpenOperation, Operation, Outcome, SchemaMark};
use crate::migrations::History;
use crate::name::{AskId, ContainerId, Digest, ImageId, ServiceName, StackName};
use crate::observed::{Carried, ContainerObs, SchemaHead};
use crate::release::{Author, Generation, GenerationNumber, Quarantine, Request, Verdict};
use crate::retention::{self, Surplus};
use crate::schema_fit::{Direction, SchemaMove};
use crate::step::Step;
use crate::taken_back::{AllTakenBack, Losses, Return, TakenBack};
use crate::time::Moment;

/// A pause for working by hand. It ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who asked for it.
    pub by: Author,
    /// When.
    pub since: Moment,
    /// When it ends.
    pub until: Moment,
    /// Why.
    pub why: String,
}

/// What an approval is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// First contact: the stack runs something else than what is desired.
    FirstContact,
    /// A service with a writable data volume gets another image, or its data another place.
    DataChange,
    /// A failure whose severity asks for somebody's consent before the rollback.
    Rollback {
        /// The generation that failed.
        from: GenerationNumber,
        /// Where it would go back to.
        to: GenerationNumber,
    },
    /// The schema could not be taken back: the backup from before takes the place of the database, and what was written
    /// since is lost to what runs then.
    RestoreBackup {
        /// The generation that is left.
        from: GenerationNumber,
        /// Where it would go back to.
        to: GenerationNumber,
        /// With which backup.
        backup: BackupId,
        /// How many rows were at stake when it was asked.
        #[serde(default)]
        rows: u64,
    },
}

/// The answer to an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Do it.
    Granted,
    /// Do not.
    Denied,
}

/// Something that a person has to agree to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// What is asked.
    pub ask: Ask,
    /// The request that it was asked for; an answer is worth nothing for another one.
    pub request: Digest,
    /// Since when.
    pub asked: Moment,
    /// What would happen, a line each.
    pub detail: Vec<String>,
    /// The answer, and whose.
    pub answer: Option<(Answer, Author)>,
}

impl Approval {
    /// What the question is known by, whatever its answer: asked anew, it is another question.
    pub fn id(&self) -> AskId {
        let content = (&self.ask, self.asked.wall_ms, &self.detail);
        let bytes = serde_json::to_vec(&content).expect("a question is plain data");
        let digest = Digest::of(&bytes);
        digest
            .short()
            .parse()
            .expect("twelve hexadecimal digits are an ask id")
    }
}

/// What became of the request in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Not applied yet.
    Pending,
    /// It is this generation.
    Applied(GenerationNumber),
    /// It was left for the newest good generation, or never begun, because of this generation's quarantine.
    Quarantined(GenerationNumber),
}

/// After a rollback: what was left, what was gone back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The generation that failed.
    pub from: GenerationNumber,
    /// The generation that was restored.
    pub to: GenerationNumber,
    /// When the rollback ended.
    pub at: Moment,
    /// The request it happened under.
    pub request: Digest,
}

/// A migration whose end nobody has seen, because the database went away with it and stayed away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnseenMigration {
    /// The operation that it was a step of.
    pub operation: u64,
    /// What that was for.
    pub kind: Kind,
    /// The schema before it.
    pub before: SchemaMark,
}

/// One act of a person, with who, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Who.
    pub by: Author,
    /// When.
    pub at: Moment,
    /// `retry`, `rollback` …, and behind a space what it was about: `pause for 2h`.
    pub what: String,
    /// `--reason`.
    pub why: Option<String>,
}

/// All that is remembered of one stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StackRecord {
    /// The stack.
    pub stack: StackName,
    /// The request in force.
    pub request: Option<Request>,
    /// What became of it.
    pub standing: Standing,
    /// Every generation, ascending.
    pub generations: Vec<Common<Generation>>,
    /// The generation whose containers run, or are being brought up.
    pub current: Option<GenerationNumber>,
    /// Releases that must not be applied.
    pub quarantine: Vec<Quarantine>,
    /// The operation that is open.
    pub operation: Option<OpenOperation>,
    /// Why the stack is held.
    pub hold: Option<Hold>,
    /// A pause.
    pub pause: Option<Pause>,
    /// What a person is asked.
    pub approval: Option<Approval>,
    /// How healthy the current generation has been.
    pub health: HealthRecord,
    /// The last rollback, while its target is what runs.
    pub restored: Option<Restored>,
    /// When the agent has rolled back by itself, and under which request.
    pub rollbacks: Common<Vec<(Digest, Moment)>>,
    /// Containers that were found and match: what they count as.
    pub adopted: Common<BTreeMap<ContainerId, String>>,
    /// Images that references of the request in force were resolved to, once.
    pub resolved: Common<BTreeMap<String, ImageId>>,
    /// The images that were built of a repository last, by what each is known by, the newest last.
    #[serde(default)]
    pub built: Common<Vec<(Digest, ImageId)>>,
    /// The anonymous volumes that each replica's rows are in, by `service/number:target`: they go on
    /// in the next container also when nobody can be asked for them any more.
    #[serde(default)]
    pub carried: Common<BTreeMap<String, String>>,
    /// Since when the last valid desired.toml has had no entry for the stack: nothing is touched.
    #[serde(default)]
    pub let_go: Option<Moment>,
    /// The migrations that images have, as far as they were read.
    #[serde(default)]
    pub histories: Common<BTreeMap<ImageId, History>>,
    /// The operation that has barred the database, until it is open again.
    #[serde(default)]
    pub barred: Option<u64>,
    /// What may have been left in the database, until somebody could look.
    #[serde(default)]
    pub unseen: Option<UnseenMigration>,
    /// The image that each service's containers ran on last: what it has written to its data outlives the container.
    #[serde(default)]
    pub written: Common<BTreeMap<ServiceName, ImageId>>,
    /// What the way back of each revision destroys, by the image that has the scripts, as far as they were read.
    #[serde(default)]
    pub losses: Common<BTreeMap<ImageId, Common<Losses>>>,
    /// What ways back of the schema have taken out of the database, by operation.
    #[serde(default)]
    pub taken_back: Common<AllTakenBack>,
    /// What the agent has put in the place of the operator's files: as long as it is there, the operator's version is
    /// that of the request in force.
    #[serde(default)]
    pub placed: Placed,
    /// The versions of files that the agent has replaced, the newest last.
    #[serde(default)]
    pub replaced: Common<Vec<Replaced>>,
    /// The versions of env files that persons have brought, the newest last.
    #[serde(default)]
    pub imported: Common<Vec<Imported>>,
}

/// One durable change. A batch is one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A new request is in force; what was resolved, asked or held under the old one is over.
    Accept(Box<Request>),
    /// What became of it.
    Stand(Standing),
    /// A reference of the request was resolved.
    Resolve(String, ImageId),
    /// An image was built of a repository.
    Built(Digest, ImageId),
    /// A generation was begun.
    Begin(Common<Generation>),
    /// Its containers are what runs now.
    SetCurrent(GenerationNumber),
    /// Its containers run: the trial begins, with a clean health record.
    Applied(GenerationNumber, Moment),
    /// What became of it.
    Judge {
        /// The generation.
        generation: GenerationNumber,
        /// The verdict.
        verdict: Verdict,
        /// When.
        at: Moment,
        /// Why.
        why: String,
    },
    /// Where the schema stands under it.
    Schema(GenerationNumber, SchemaHead),
    /// A release must not be applied again.
    Quarantine(Box<Quarantine>),
    /// A person lifted the quarantine of a generation.
    Lift(GenerationNumber),
    /// An operation was opened.
    Open(Common<Operation>),
    /// A journal entry of the open operation. `Ended` closes it.
    Journal(Entry),
    /// Held, or no longer.
    Hold(Option<Hold>),
    /// Paused, or no longer.
    Pause(Option<Pause>),
    /// Something is asked, answered, or settled.
    Approval(Option<Box<Approval>>),
    /// The health record, as it is now.
    Health(Box<HealthRecord>),
    /// A rollback ended, or its target is no longer what runs.
    Restored(Option<Restored>),
    /// The agent rolled back by itself: counts against the budget.
    RolledBack(Digest, Moment),
    /// A container that was found counts as having this spec hash.
    Adopt(ContainerId, String),
    /// A container is gone or replaced.
    Forget(ContainerId),
    /// The anonymous volumes of a replica.
    Carry(ServiceName, u32, Vec<Carried>),
    /// Taken out of desired.toml for good; or put back, which a valid entry alone does.
    LetGo(Option<Moment>),
    /// The migrations that an image has.
    Learn(ImageId, History),
    /// What the way back of its revisions destroys.
    LearnLosses(ImageId, Common<Losses>),
    /// An operation has taken the schema back.
    TakeBack(u64, Box<TakenBack>),
    /// The database lets nobody in from here on, for this operation; or everybody again.
    Bar(Option<u64>),
    /// Nobody has seen what a migration has left; or it was looked for.
    Unseen(Option<Box<UnseenMigration>>),
    /// A container of a service was seen to run on an image.
    Wrote(ServiceName, ImageId),
    /// The agent puts files, from here on: what is there then is nobody's request.
    Place(Box<Placing>),
    /// These files were seen, where the agent has put any: what it has put is there, or somebody has written since.
    SeenFiles(OnDisk),
    /// A person has a version of a file written, from here on: what is there then is theirs.
    Give(Box<Given>),
    /// A person has brought a version of an env file.
    Import(Box<Imported>),
    /// What a person did.
    Act(Box<Act>),
    /// What nothing needs any more is forgotten.
    Collect(Box<Surplus>),
}

/// A change that cannot be applied: a broken invariant of ours, or a damaged ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImpossibleChange {
    /// The journal does not allow it.
    #[error(transparent)]
    Journal(#[from] IllegalTransition),
    /// Two operations at once (invariant 1).
    #[error("operation {open} is open, {second} cannot be opened")]
    SecondOperation {
        /// The open one.
        open: u64,
        /// The other one.
        second: u64,
    },
    /// There is no operation.
    #[error("no operation is open")]
    NoOperation,
    /// There is no such generation.
    #[error("there is no generation {0}")]
    NoGeneration(GenerationNumber),
    /// Generations count up by one.
    #[error("generation {0} is out of order")]
    OutOfOrder(GenerationNumber),
    /// Something still refers to it.
    #[error("generation {0} is still needed")]
    Needed(GenerationNumber),
}

impl StackRecord {
    /// The record of a stack that was never seen.
    pub fn new(stack: StackName) -> Self {
        Self {
            stack,
            request: None,
            standing: Standing::Pending,
            generations: Vec::new(),
            current: None,
            quarantine: Vec::new(),
            operation: None,
            hold: None,
            pause: None,
            approval: None,
            health: HealthRecord::default(),
            restored: None,
            rollbacks: Common::default(),
            adopted: Common::default(),
            resolved: Common::default(),
            built: Common::default(),
            carried: Common::default(),
            let_go: None,
            histories: Common::default(),
            barred: None,
            unseen: None,
            written: Common::default(),
            losses: Common::default(),
            taken_back: Common::default(),
            placed: Placed::new(),
            replaced: Common::default(),
            imported: Common::default(),
        }
    }

    /// A generation by its number.
    pub fn generation(&self, number: GenerationNumber) -> Option<&Generation> {
        self.generations.iter().map(|g| &**g).find(|g| g.number == number)
    }

    /// The generation whose containers run, or are being brought up.
    pub fn current(&self) -> Option<&Generation> {
        self.generation(self.current?)
    }

    /// The services that a release with these spec hashes leaves as they are in what runs, where that is proven.
    pub fn unchanged(&self, hashes: &BTreeMap<ServiceName, String>) -> BTreeSet<ServiceName> {
        let Some(proven) = self.current().filter(|current| current.verdict == Verdict::Good) else {
            return BTreeSet::new();
        };
        let same = hashes
            .iter()
            .filter(|(service, hash)| proven.hashes.get(*service) == Some(*hash));
        same.map(|(service, _)| service.clone()).collect()
    }

    /// What the agent has put in the place of the operator's files, also in the operation that is open.
    pub fn placed(&self) -> Placed {
        let events = self.operation.iter().flat_map(|open| {
            let steps = &open.operation.plan.steps;
            open.events.iter().filter_map(|entry| match entry.event {
                Event::Started { index } => steps.get(index).cloned(),
                Event::UndoStarted { index } => steps.get(index)?.undo(),
                _ => None,
            })
        });
        events.fold(self.placed.clone(), |placed, step| match step {
            Step::PutFiles { changes } => placing(&placed, &changes),
            _ => placed,
        })
    }

    /// The number that the next generation gets.
    pub fn next_number(&self) -> GenerationNumber {
        GenerationNumber(self.generations.last().map_or(1, |g| g.number.0 + 1))
    }

    /// Good generations, the newest first.
    pub fn good(&self) -> impl Iterator<Item = &Generation> {
        let unproven = bug::is(Bug::TargetWasNeverProven);
        self.generations
            .iter()
            .rev()
            .map(|g| &**g)
            .filter(move |g| g.verdict == Verdict::Good || (unproven && g.verdict == Verdict::Superseded))
    }

    /// What the hash of a container counts as: what it was adopted as, else its label.
    pub fn hash_of<'a>(&'a self, container: &'a ContainerObs) -> Option<&'a str> {
        let adopted = self.adopted.get(&container.id).map(String::as_str);
        adopted.or(container.spec.as_deref())
    }

    /// The anonymous volumes that a replica's rows are in, as last seen.
    pub fn carried_by(&self, service: &ServiceName, number: u32) -> Vec<Carried> {
        let prefix = slot(service, number);
        let mine = self.carried.iter().filter_map(|(key, volume)| {
            let target = key.strip_prefix(&prefix)?.to_owned();
            Some(Carried {
                target,
                volume: volume.clone(),
            })
        });
        mine.collect()
    }

    /// Where every service has anonymous volumes that are carried on, whichever replica's they are.
    pub fn carried_targets(&self) -> CarriedTargets {
        let mut targets = CarriedTargets::new();
        for key in self.carried.keys() {
            let place = key.split_once('/').and_then(|(service, rest)| {
                let (_, target) = rest.split_once(':')?;
                Some((service.parse().ok()?, target.to_owned()))
            });
            if let Some((service, target)) = place {
                targets.entry(service).or_default().insert(target);
            }
        }
        targets
    }

    /// What was taken out of the database, before its schema is moved up this way, the newest first: what is not kept yet
    /// is to be kept first, and some of it may have a place again after it.
    pub fn returning(&self, way: &SchemaMove) -> Vec<Return> {
        if way.direction == Direction::Down || bug::is(Bug::RowsStayOut) {
            return Vec::new();
        }
        let history = self.histories.get(&way.by.image);
        let all = self.taken_back.iter().rev();
        all.filter(|(_, taken)| !taken.is_over())
            .map(|(of, taken)| Return {
                of: *of,
                saved: taken.saved.is_some(),
                has_place: taken
                    .revisions
                    .iter()
                    .any(|revision| way.revisions.contains(revision)),
                last: history.is_some_and(|history| history.has_applied(&way.to, &taken.revisions)),
            })
            .filter(|rows| rows.has_place || !rows.saved)
            .collect()
    }

    /// Applies one change; on an error the record is as it was.
    pub fn apply(&mut self, change: &Change) -> Result<(), ImpossibleChange> {
        match change {
            Change::Accept(request) => {
                self.request = Some((**request).clone());
                self.standing = Standing::Pending;
                self.resolved.clear();
                // What was found on first contact stays a question until somebody agrees, whatever is asked for.
                self.approval.take_if(|approval| {
                    approval.ask != Ask::FirstContact || matches!(approval.answer, Some((Answer::Granted, _)))
                });
                self.hold = None;
                if bug::is(Bug::RequestEmptiesQuarantine) {
                    self.quarantine.clear();
                }
            }
            Change::Stand(standing) => self.standing = standing.clone(),
            Change::Resolve(reference, image) => {
                self.resolved.insert(reference.clone(), image.clone());
            }
            Change::Built(key, image) => self.note_built(key, image),
            Change::Quarantine(entry) => self.quarantine.push((**entry).clone()),
            Change::Lift(number) => self.quarantine.retain(|q| q.generation != *number),
            Change::Hold(hold) => self.hold.clone_from(hold),
            Change::Pause(pause) => self.pause.clone_from(pause),
            Change::Approval(approval) => self.approval = approval.as_deref().cloned(),
            Change::Health(health) => self.health = (**health).clone(),
            Change::Restored(restored) => self.restored.clone_from(restored),
            Change::RolledBack(request, at) => self.rollbacks.push((request.clone(), at.clone())),
            Change::Adopt(id, hash) => {
                self.adopted.insert(id.clone(), hash.clone());
            }
            Change::Forget(id) => {
                self.adopted.remove(id);
            }
            Change::Carry(service, number, volumes) => {
                let prefix = slot(service, *number);
                self.carried.retain(|key, _| !key.starts_with(&prefix));
                let entries = volumes
                    .iter()
                    .map(|v| (format!("{prefix}{}", v.target), v.volume.clone()));
                self.carried.extend(entries);
            }
            Change::LetGo(since) => self.let_go.clone_from(since),
            Change::Learn(image, history) => {
                self.histories.insert(image.clone(), history.clone());
            }
            Change::LearnLosses(image, losses) => {
                self.losses.insert(image.clone(), losses.clone());
            }
            Change::TakeBack(operation, taken) => {
                self.taken_back.insert(*operation, (**taken).clone());
                self.forget_what_is_over();
            }
            Change::Bar(operation) => self.barred = *operation,
            Change::Unseen(unseen) => self.unseen = unseen.as_deref().cloned(),
            Change::Wrote(service, image) => {
                self.written.insert(service.clone(), image.clone());
            }
            Change::Place(put) => {
                self.placed = placing(&self.placed, &put.changes);
                put.replacing(&mut self.replaced);
            }
            Change::SeenFiles(disk) => self.placed = placed_as_seen(&self.placed, disk),
            Change::Give(one) => {
                self.placed = given(&self.placed, one);
                one.replacing(&mut self.replaced);
            }
            Change::Import(one) => import(&mut self.imported, (**one).clone()),
            Change::Act(_) => {}
            Change::Collect(surplus) => self.collect(surplus)?,
            Change::Open(_) | Change::Journal(_) => self.apply_to_operation(change)?,
            Change::Begin(_)
            | Change::SetCurrent(_)
            | Change::Applied(..)
            | Change::Judge { .. }
            | Change::Schema(..) => self.apply_to_generations(change)?,
        }
        Ok(())
    }

    fn note_built(&mut self, key: &Digest, image: &ImageId) {
        const KEPT: usize = 100;
        self.built.retain(|(known, _)| known != key);
        self.built.push((key.clone(), image.clone()));
        let old = self.built.len().saturating_sub(KEPT);
        self.built.drain(..old);
    }

    fn apply_to_operation(&mut self, change: &Change) -> Result<(), ImpossibleChange> {
        match change {
            Change::Open(operation) => {
                if let Some(open) = &self.operation
                    && !bug::is(Bug::SecondOperation)
                {
                    let open = open.operation.id;
                    return Err(ImpossibleChange::SecondOperation {
                        open,
                        second: operation.id,
                    });
                }
                self.operation = Some(OpenOperation::new(operation.clone()));
            }
            Change::Journal(entry) => {
                let open = self.operation.as_mut().ok_or(ImpossibleChange::NoOperation)?;
                open.apply(entry.clone())?;
                let done = match &entry.event {
                    Event::Done { index, outcome } => {
                        open.operation.plan.steps.get(*index).zip(Some(outcome))
                    }
                    _ => None,
                };
                if let Some((step, outcome)) = done {
                    keep_of(&mut self.taken_back, step, outcome);
                }
                match &entry.event {
                    Event::Ended(_) => self.operation = None,
                    // From here on it may have written.
                    Event::Started { index } => {
                        if let Some((service, image)) = open.operation.plan.brings_up(*index) {
                            self.written.insert(service.clone(), image.clone());
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn apply_to_generations(&mut self, change: &Change) -> Result<(), ImpossibleChange> {
        match change {
            Change::Begin(generation) => {
                if generation.number != self.next_number() {
                    return Err(ImpossibleChange::OutOfOrder(generation.number));
                }
                self.generations.push(generation.clone());
            }
            Change::SetCurrent(number) => {
                self.known(*number)?;
                self.current = Some(*number);
                self.health = HealthRecord::default();
            }
            Change::Applied(number, at) => {
                self.known(*number)?.applied = Some(at.clone());
                self.health = HealthRecord::default();
            }
            Change::Judge {
                generation,
                verdict,
                at,
                why,
            } => {
                let known = self.known(*generation)?;
                known.verdict = *verdict;
                known.judged = Some(at.clone());
                known.why.clone_from(why);
            }
            Change::Schema(number, head) => self.known(*number)?.schema = Some(head.clone()),
            _ => {}
        }
        Ok(())
    }

    fn collect(&mut self, surplus: &Surplus) -> Result<(), ImpossibleChange> {
        if let Some(number) = retention::needed(self).intersection(&surplus.generations).next() {
            return Err(ImpossibleChange::Needed(*number));
        }
        self.generations
            .retain(|g| !surplus.generations.contains(&g.number));
        let rollbacks = surplus.rollbacks.min(self.rollbacks.len());
        self.rollbacks.drain(..rollbacks);
        self.histories
            .retain(|image, _| !surplus.histories.contains(image));
        self.losses.retain(|image, _| !surplus.histories.contains(image));
        Ok(())
    }

    /// Of what was put back, or had nothing in it, the newest stay for people.
    fn forget_what_is_over(&mut self) {
        const KEPT: usize = 20;
        let over: Vec<u64> = self
            .taken_back
            .iter()
            .filter(|(_, taken)| taken.is_over())
            .map(|(id, _)| *id)
            .collect();
        for id in over.iter().take(over.len().saturating_sub(KEPT)) {
            self.taken_back.remove(id);
        }
    }

    fn known(&mut self, number: GenerationNumber) -> Result<&mut Generation, ImpossibleChange> {
        self.generations
            .iter_mut()
            .find(|g| g.number == number)
            .map(|g| &mut **g)
            .ok_or(ImpossibleChange::NoGeneration(number))
    }
}

/// What a step that is done says of what was taken out of the database.
fn keep_of(all: &mut Common<AllTakenBack>, step: &Step, outcome: &Outcome) {
    let (Step::SaveRows { of } | Step::PutIn { of, .. }) = step else {
        return;
    };
    if !all.contains_key(of) {
        return;
    }
    let Some(taken) = all.get_mut(of) else { return };
    match outcome {
        Outcome::Saved(saved) => taken.saved = Some(saved.clone()),
        Outcome::PutIn(put_in) => taken.put_in = Some(put_in.clone()),
        _ => {}
    }
}

fn slot(service: &ServiceName, number: u32) -> String {
    format!("{service}/{number}:")
}

#[cfg(test)]
mod tests;
