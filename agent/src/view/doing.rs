//! What is done, what would be, and what keeps it from being done.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::journal::Progress;
use state::record::{self, Answer, Ask, StackRecord};

use super::release::{named, tag_of};
use super::wall;
use crate::backup::Stage;
use crate::shared::Snapshot;

/// An operation under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OperationNow {
    /// Its id.
    pub id: u64,
    /// `fetch`, `deploy`, `heal`, `rollback`, `backup` or `restore`.
    pub kind: String,
    /// The generation that it makes or restores.
    pub generation: Option<u64>,
    /// Its tag.
    pub tag: Option<String>,
    /// Which step, from 1.
    pub step: usize,
    /// Of how many.
    pub steps: usize,
    /// The step, in words.
    pub doing: Option<String>,
    /// How far it is, where it says so.
    #[serde(default)]
    pub progress: Option<ProgressNow>,
    /// What failed, while the steps are being taken back.
    pub undoing: Option<String>,
    /// Why it was begun.
    pub why: String,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub begun: Timestamp,
}

/// How far a long step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProgressNow {
    /// `dumping`, `reading`, `restoring` or `counting`.
    pub stage: String,
    /// Bytes of the dump so far.
    pub bytes: u64,
    /// Of so many; while it is dumped a guess.
    pub of: u64,
}

/// What would be done next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NextUp {
    /// `fetch`, `deploy`, `heal` or `rollback`.
    pub kind: String,
    /// The generation that it makes or restores.
    pub generation: Option<u64>,
    /// Why, or why not yet.
    pub why: String,
}

/// What failed in passing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Again {
    /// What it was for: `fetch`, `deploy`, `rollback` or `restore`.
    pub kind: String,
    /// Why it failed.
    pub why: String,
    /// Not before this it is tried again.
    pub at: Timestamp,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Hold {
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub why: String,
    /// What a person can do.
    pub way_out: String,
    /// Whether what runs is not healed either.
    #[serde(default)]
    pub frozen: bool,
    /// What ends it by itself: `healthy`, `target`, `proven`. Nothing: only a person does.
    pub until: Vec<String>,
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pause {
    /// Who.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Why.
    pub why: String,
}

/// What a person is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Approval {
    /// What the question is known by; asked anew, it is another one.
    pub id: String,
    /// `first_contact`, `data_change`, `rollback` or `restore_backup`.
    pub ask: String,
    /// In words.
    pub question: String,
    /// Since when.
    pub asked: Timestamp,
    /// What would happen.
    pub detail: Vec<String>,
    /// `granted` or `denied`, once it is answered.
    pub answer: Option<String>,
    /// By whom.
    pub by: Option<String>,
}

/// Whether a rollback is possible right now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rollback {
    /// Whether it is.
    pub ready: bool,
    /// To which generation.
    pub to: Option<u64>,
    /// Its tag.
    pub tag: Option<String>,
    /// Why not, or what stands in the way.
    pub why_not: Option<String>,
    /// What it would take out of the database, a line each.
    #[serde(default)]
    pub destroys: Vec<String>,
    /// Why only a backup leads there, whose every row since it was made would be lost; none: something else does.
    #[serde(default)]
    pub one_way: Option<String>,
    /// The revisions that it would leave where they are.
    #[serde(default)]
    pub kept: Vec<String>,
    /// The deploy under way, which is what it would take back: `to` runs on.
    #[serde(default)]
    pub takes_back: Option<TakesBack>,
}

/// A deploy that a rollback would take back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TakesBack {
    /// What it brings up.
    pub generation: u64,
    /// Its tag.
    pub tag: Option<String>,
    /// Whether it moves the schema: once it has, it is left by a rollback from it.
    pub migrates: bool,
}

pub(super) fn operation(snapshot: &Snapshot) -> Option<OperationNow> {
    let record = &snapshot.record;
    let open = record.operation.as_ref()?;
    let operation = &open.operation;
    let (index, undoing) = match &open.progress {
        Progress::Ready { next, .. } => (Some(*next), None),
        Progress::InFlight { index, .. } => (Some(*index), None),
        Progress::Undoing {
            failed, why, next, ..
        } => (Some(next.unwrap_or(*failed)), Some(why.clone())),
        Progress::UndoFailed { why } => (None, Some(why.clone())),
        Progress::Ended(_) => (None, None),
    };
    let steps = operation.plan.steps.len();
    Some(OperationNow {
        id: operation.id,
        kind: operation.kind.to_string(),
        generation: operation.generation.map(|n| n.0),
        tag: operation.generation.and_then(|number| tag_of(record, number)),
        step: index.map_or(steps, |i| (i + 1).min(steps)),
        steps,
        doing: index.and_then(|i| open.step(i)).map(ToString::to_string),
        progress: snapshot.progress.map(|progress| ProgressNow {
            stage: match progress.stage {
                Stage::Dumping => "dumping",
                Stage::Reading => "reading",
                Stage::Restoring => "restoring",
                Stage::Counting => "counting",
            }
            .into(),
            bytes: progress.bytes,
            of: progress.of,
        }),
        undoing,
        why: operation.why.clone(),
        by: operation.by.to_string(),
        begun: wall(&operation.begun),
    })
}

/// What waits for another try; what is due is being tried.
pub(super) fn again(snapshot: &Snapshot) -> Option<Again> {
    let again = snapshot.again.as_ref()?;
    let waits = !snapshot.taken.until(&again.at).is_zero();
    waits.then(|| Again {
        kind: again.kind.to_string(),
        why: again.why.clone(),
        at: wall(&again.at),
    })
}

pub(super) fn rollback(snapshot: &Snapshot) -> Rollback {
    let readiness = &snapshot.readiness;
    Rollback {
        ready: readiness.to.is_some() && readiness.why_not.is_none(),
        to: readiness.to.map(|n| n.0),
        tag: readiness.to.and_then(|n| tag_of(&snapshot.record, n)),
        why_not: readiness.why_not.clone(),
        destroys: readiness.destroys.clone(),
        one_way: readiness.one_way.clone(),
        kept: readiness.kept.iter().map(ToString::to_string).collect(),
        takes_back: readiness.takes_back.map(|deploy| TakesBack {
            generation: deploy.generation.0,
            tag: tag_of(&snapshot.record, deploy.generation),
            migrates: deploy.migrates,
        }),
    }
}

impl Approval {
    pub(super) fn of(approval: &record::Approval, record: &StackRecord) -> Self {
        let (ask, question) = match &approval.ask {
            Ask::FirstContact => (
                "first_contact",
                "something else runs than desired.toml asks for: change it?".to_owned(),
            ),
            Ask::DataChange => (
                "data_change",
                "a service that keeps data gets another image, or its data another place: go on?".to_owned(),
            ),
            Ask::RestoreBackup { to, backup, .. } => (
                "restore_backup",
                format!(
                    "the schema cannot be taken back: go back to {} with the backup {backup}, and lose what was written since?",
                    named(record, *to)
                ),
            ),
            Ask::Rollback { from, to } => (
                "rollback",
                format!(
                    "{} fails: go back to {}?",
                    named(record, *from),
                    named(record, *to)
                ),
            ),
        };
        let answer = approval.answer.as_ref();
        Self {
            id: approval.id().to_string(),
            ask: ask.into(),
            question,
            asked: wall(&approval.asked),
            detail: approval.detail.clone(),
            answer: answer.map(|(answer, _)| match answer {
                Answer::Granted => "granted".into(),
                Answer::Denied => "denied".into(),
            }),
            by: answer.map(|(_, by)| by.to_string()),
        }
    }
}

impl Hold {
    pub(super) fn of(hold: &record::Hold) -> Self {
        Self {
            since: wall(&hold.since),
            why: hold.why.clone(),
            way_out: hold.way_out.clone(),
            frozen: hold.frozen,
            until: hold.until.iter().map(|fact| fact.as_str().into()).collect(),
        }
    }
}

impl Pause {
    pub(super) fn of(pause: &record::Pause) -> Self {
        Self {
            by: pause.by.to_string(),
            since: wall(&pause.since),
            until: wall(&pause.until),
            why: pause.why.clone(),
        }
    }
}
