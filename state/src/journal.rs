//! What is durable of an operation, and which event may follow which: one total [`Progress::next`],
//! called by the live run and by the replay after a crash alike. Nothing here touches a disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::common::Common;
use crate::integrity::Seen;
use crate::migrations::History;
use crate::name::{Commit, ContainerId, Digest, ImageId, Tag};
use crate::observed::SchemaHead;
use crate::plan::Plan;
use crate::release::{Author, GenerationNumber};
use crate::step::Step;
use crate::taken_back::{Losses, PutIn, Saved};
use crate::time::Moment;

/// What an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// To fetch the images of a request.
    Fetch,
    /// To what was asked for.
    Deploy,
    /// Back to what should be running already.
    Heal,
    /// To an earlier generation.
    Rollback,
    /// About backups of the database, while everything goes on.
    Backup,
    /// A backup takes the database's place.
    Restore,
}

impl Kind {
    /// The word in files and in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Deploy => "deploy",
            Self::Heal => "heal",
            Self::Rollback => "rollback",
            Self::Backup => "backup",
            Self::Restore => "restore",
        }
    }
}

impl Kind {
    /// Whether it ends when something more urgent waits. The others come to their end first: what is left by them is
    /// known to be bad, or a person said so.
    pub const fn gives_way(self) -> bool {
        !matches!(self, Self::Rollback | Self::Restore)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One plan being executed. At most one per stack (invariant 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Counted over the whole ledger.
    pub id: u64,
    /// What it is for.
    pub kind: Kind,
    /// The generation that it makes or restores; `None` while images are fetched.
    pub generation: Option<GenerationNumber>,
    /// The request that it serves.
    pub request: Digest,
    /// Who or what asked for it.
    pub by: Author,
    /// Why, for people.
    pub why: String,
    /// When it was begun.
    pub begun: Moment,
    /// The steps.
    pub plan: Plan,
}

/// What a finished step has to say to later ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing.
    Done,
    /// The container that was created.
    Created(ContainerId),
    /// The image that was pulled, or built.
    Pulled(ImageId),
    /// What tags name in the repository.
    Commits(BTreeMap<Tag, Commit>),
    /// The migrations that an image has.
    Read(History),
    /// What stands for the schema as it is.
    Schema(SchemaMark),
    /// What the way back of an image's revisions destroys, as far as its scripts could be read.
    Losses(Losses),
    /// What was kept of what a way back has taken out of the database.
    Saved(Saved),
    /// What became of it.
    PutIn(PutIn),
    /// It is done, and there is something to be told about it, for people.
    Told(String),
    /// What was seen of the database, before or after.
    Seen(Box<Seen>),
    /// Both: something to be told, and what was seen.
    ToldAndSeen(String, Box<Seen>),
}

/// A schema, as it was seen at one moment: what changes it changes one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaMark {
    /// Where it stands.
    pub head: SchemaHead,
    /// A number for all that is in it but rows.
    pub fingerprint: Digest,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Every step was done.
    Succeeded,
    /// A step failed; all that was done is taken back, and what ran before runs.
    Undone {
        /// What failed, for people.
        why: String,
        /// Whether trying again could help: nothing is said about the release then.
        passing: bool,
    },
    /// A step failed and `failure_action` is `pause`: everything stays as it is, for a person.
    Paused {
        /// What failed, for people.
        why: String,
    },
    /// A step failed after the schema was moved, which is not taken back step by step: everything stays as it is,
    /// and a rollback follows.
    Left {
        /// What failed, for people.
        why: String,
        /// Whether it says nothing about the release: it is healed then, from where it has come to.
        #[serde(default)]
        passing: bool,
    },
    /// Taking back failed too. A person is needed.
    Stuck {
        /// What failed, for people.
        why: String,
    },
}

/// What can come in an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Durable before step `index` has any effect.
    Started {
        /// Index into the plan.
        index: usize,
    },
    /// Step `index` took effect.
    Done {
        /// Index into the plan.
        index: usize,
        /// What it has to say.
        outcome: Outcome,
    },
    /// What step `index` has seen of the database, where that fails it: `Failed` or `Instead` follows.
    Seen {
        /// Index into the plan.
        index: usize,
        /// What it has seen.
        seen: Box<Seen>,
    },
    /// Step `index` failed; it may have half happened.
    Failed {
        /// Index into the plan.
        index: usize,
        /// Why, for people.
        why: String,
        /// Whether trying again could help.
        passing: bool,
        /// Whether it has moved the schema, or may have: that is not taken back as the steps before it are.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        moved: bool,
    },
    /// Step `index` failed for good, and what the plan has in its place is begun next: nothing is taken back yet.
    Instead {
        /// Index into the plan.
        index: usize,
        /// Which attempt follows; the step itself was attempt 0.
        attempt: usize,
        /// Why the one before failed, for people.
        why: String,
    },
    /// Durable before step `index` is taken back.
    UndoStarted {
        /// Index into the plan.
        index: usize,
    },
    /// Step `index` is taken back.
    UndoDone {
        /// Index into the plan.
        index: usize,
    },
    /// Step `index` could not be taken back.
    UndoFailed {
        /// Index into the plan.
        index: usize,
        /// Why, for people.
        why: String,
    },
    /// The operation is over.
    Ended(Ending),
}

impl Event {
    /// The step that it is about.
    pub const fn step(&self) -> Option<usize> {
        match self {
            Self::Started { index }
            | Self::Done { index, .. }
            | Self::Seen { index, .. }
            | Self::Failed { index, .. }
            | Self::Instead { index, .. }
            | Self::UndoStarted { index }
            | Self::UndoDone { index }
            | Self::UndoFailed { index, .. } => Some(*index),
            Self::Ended(_) => None,
        }
    }

    /// The record of this event at `now`.
    pub fn at(self, now: &Moment) -> Entry {
        Entry {
            at_ms: Some(now.wall_ms),
            event: self,
        }
    }
}

/// An event, and when it was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since the Unix epoch, UTC; `None`: nobody wrote that down. For people only: what
    /// may follow what never depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<i64>,
    /// What came.
    #[serde(flatten)]
    pub event: Event,
}

/// How far an operation has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Steps before `next` are done. Left by `Started(next)`, or `Ended` when none is left.
    Ready {
        /// The step to start.
        next: usize,
        /// Which attempt at it: what the plan has in its place, from 1.
        #[serde(default, skip_serializing_if = "is_first")]
        attempt: usize,
    },
    /// Step `index` was started and nothing is known of its end. Left by `Done`, `Instead` or `Failed`; after a
    /// crash, the same attempt at the same step is started again.
    InFlight {
        /// The step.
        index: usize,
        /// Which attempt at it.
        #[serde(default, skip_serializing_if = "is_first")]
        attempt: usize,
    },
    /// Step `failed` failed. Steps from `next` downwards are still to be taken back. Left by
    /// `UndoStarted(next)`, or `Ended` when none is left or the plan is not to be taken back.
    Undoing {
        /// The step that failed.
        failed: usize,
        /// Why, for people.
        why: String,
        /// Whether trying again could help.
        passing: bool,
        /// Whether it has moved the schema, or may have.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        moved: bool,
        /// The step to take back next; `None` when all are.
        next: Option<usize>,
        /// Whether taking back `next` has been started.
        started: bool,
    },
    /// A step could not be taken back. Left by `Ended(Stuck)`.
    UndoFailed {
        /// Why, for people.
        why: String,
    },
    /// Over. Final.
    Ended(Ending),
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
const fn is_first(attempt: &usize) -> bool {
    *attempt == 0
}

/// An event that may not follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot follow {progress:?}")]
pub struct IllegalTransition {
    /// Where the operation was.
    pub progress: Box<Progress>,
    /// What came.
    pub event: Box<Event>,
}

impl Progress {
    /// Whether what is under way goes on as it was: it is started again after a crash, or has seen something.
    fn goes_on(&self, event: &Event) -> bool {
        matches!(
            (self, event),
            (Self::InFlight { index: at, .. }, Event::Started { index } | Event::Seen { index, .. }) if at == index
        )
    }

    /// The progress of an operation that was just opened.
    pub const fn new() -> Self {
        Self::Ready { next: 0, attempt: 0 }
    }

    /// The progress after `event` in an operation with this plan.
    pub fn next(&self, event: &Event, plan: &Plan) -> Result<Self, IllegalTransition> {
        let illegal = || IllegalTransition {
            progress: Box::new(self.clone()),
            event: Box::new(event.clone()),
        };
        match (self, event) {
            (Self::Ready { next, attempt }, Event::Started { index })
                if next == index && *index < plan.steps.len() =>
            {
                Ok(Self::InFlight {
                    index: *index,
                    attempt: *attempt,
                })
            }
            _ if self.goes_on(event) => Ok(self.clone()),
            (Self::InFlight { index: at, .. }, Event::Done { index, .. }) if at == index => Ok(Self::Ready {
                next: index + 1,
                attempt: 0,
            }),
            (
                Self::InFlight { index: at, attempt },
                Event::Instead {
                    index, attempt: new, ..
                },
            ) if at == index && attempt + 1 == *new && plan.step(*index, *new).is_some() => Ok(Self::Ready {
                next: *index,
                attempt: *new,
            }),
            (
                Self::InFlight { index: at, .. },
                Event::Failed {
                    index,
                    why,
                    passing,
                    moved,
                },
            ) if at == index => Ok(Self::Undoing {
                failed: *index,
                why: why.clone(),
                passing: *passing,
                moved: *moved,
                next: Some(*index),
                started: false,
            }),
            (
                Self::Undoing {
                    failed,
                    why,
                    passing,
                    moved,
                    next: Some(at),
                    ..
                },
                Event::UndoStarted { index },
            ) if at == index => Ok(Self::Undoing {
                failed: *failed,
                why: why.clone(),
                passing: *passing,
                moved: *moved,
                next: Some(*at),
                started: true,
            }),
            (
                Self::Undoing {
                    failed,
                    why,
                    passing,
                    moved,
                    next: Some(at),
                    started: true,
                },
                Event::UndoDone { index },
            ) if at == index => Ok(Self::Undoing {
                failed: *failed,
                why: why.clone(),
                passing: *passing,
                moved: *moved,
                next: at.checked_sub(1),
                started: false,
            }),
            (
                Self::Undoing {
                    next: Some(at),
                    started: true,
                    ..
                },
                Event::UndoFailed { index, why },
            ) if at == index => Ok(Self::UndoFailed { why: why.clone() }),
            (Self::Ready { next, .. }, Event::Ended(Ending::Succeeded)) if *next == plan.steps.len() => {
                Ok(Self::Ended(Ending::Succeeded))
            }
            (Self::Undoing { next: None, .. }, Event::Ended(ending @ Ending::Undone { .. }))
            | (
                Self::Undoing { started: false, .. },
                Event::Ended(ending @ (Ending::Paused { .. } | Ending::Left { .. })),
            )
            | (Self::UndoFailed { .. }, Event::Ended(ending @ Ending::Stuck { .. })) => {
                Ok(Self::Ended(ending.clone()))
            }
            _ => Err(illegal()),
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// An operation with its journal, as the ledger keeps it while it is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOperation {
    /// The operation.
    pub operation: Common<Operation>,
    /// Its events so far.
    pub events: Common<Vec<Entry>>,
    /// How far it has come; always what replaying `events` gives.
    pub progress: Progress,
}

impl OpenOperation {
    /// A new one, with nothing done.
    pub fn new(operation: impl Into<Common<Operation>>) -> Self {
        Self {
            operation: operation.into(),
            events: Common::default(),
            progress: Progress::new(),
        }
    }

    /// Replays a journal.
    pub fn replay(
        operation: impl Into<Common<Operation>>,
        events: impl IntoIterator<Item = Entry>,
    ) -> Result<Self, IllegalTransition> {
        let mut open = Self::new(operation);
        for entry in events {
            open.apply(entry)?;
        }
        Ok(open)
    }

    /// Takes one event.
    pub fn apply(&mut self, entry: Entry) -> Result<(), IllegalTransition> {
        self.progress = self.progress.next(&entry.event, &self.operation.plan)?;
        self.events.push(entry);
        Ok(())
    }

    /// The step at `index`, or what is tried in its place now.
    pub fn step(&self, index: usize) -> Option<&Step> {
        let attempt = match &self.progress {
            Progress::Ready { next: at, attempt } | Progress::InFlight { index: at, attempt }
                if *at == index =>
            {
                *attempt
            }
            _ => 0,
        };
        self.operation.plan.step(index, attempt)
    }

    /// What the step at `index` had to say, once it is done.
    pub fn outcome(&self, index: usize) -> Option<&Outcome> {
        self.events.iter().find_map(|entry| match &entry.event {
            Event::Done { index: at, outcome } if *at == index => Some(outcome),
            _ => None,
        })
    }

    /// The last thing that the journal says of the schema before step `index`.
    pub fn mark_before(&self, index: usize) -> Option<&SchemaMark> {
        let steps = 0..self.operation.plan.steps.len().min(index);
        steps.rev().find_map(|at| match self.outcome(at) {
            Some(Outcome::Schema(mark)) => Some(mark),
            _ => None,
        })
    }

    /// Whether the step that failed says nothing about the release: trying again could help.
    pub fn failed_in_passing(&self) -> bool {
        let mut events = self.events.iter().map(|entry| &entry.event);
        events.any(|event| matches!(event, Event::Failed { passing: true, .. }))
    }

    /// Whether the step that failed starts a container, or looks at one that was started.
    pub fn failed_after_a_start(&self) -> bool {
        let starts = |index: &usize| {
            let step = self.operation.plan.steps.get(*index);
            step.is_some_and(|step| step.only_looks() || matches!(step, Step::Start { .. }))
        };
        let mut events = self.events.iter().map(|entry| &entry.event);
        events.any(|event| matches!(event, Event::Failed { index, .. } if starts(index)))
    }

    /// Whether a step that cannot be taken back has been started.
    pub fn is_past_return(&self) -> bool {
        self.events.iter().any(|entry| {
            matches!(&entry.event, Event::Started { index }
                if self.operation.plan.steps.get(*index).is_some_and(crate::step::Step::is_final))
        })
    }
}

#[cfg(test)]
mod tests;
