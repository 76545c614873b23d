//! What would be done next, as `plan` shows it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use state::health::Overall;
use state::record::{StackRecord, Standing};
use state::release::GenerationNumber;

use super::changes::changes;
use super::expected::{Expected, Past};
use super::release::{commit_of, named, shown, tag_of};
use super::{Approval, FORMAT, ProblemView};
use crate::reconcile::Foreseen;
use crate::shared::Snapshot;

/// Answer to `plan --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlanView {
    /// [`FORMAT`].
    pub format: u32,
    /// The stack.
    pub stack: String,
    /// `fetch`, `deploy`, `heal` or `rollback`; none when there is nothing to do.
    pub kind: Option<String>,
    /// Whether it is under way already.
    pub running: bool,
    /// The generation that it makes or restores.
    pub generation: Option<u64>,
    /// Its tag.
    #[serde(default)]
    pub tag: Option<String>,
    /// The first twelve digits of the commit that it is made of, where it comes from a repository.
    #[serde(default)]
    pub commit: Option<String>,
    /// Whether a daemon runs that will do it.
    #[serde(default = "yes")]
    pub daemon: bool,
    /// Why, or why not yet.
    pub why: Option<String>,
    /// What is waited for.
    pub waits: Vec<String>,
    /// What a person is asked before it is done.
    #[serde(default)]
    pub approval: Option<Approval>,
    /// What is wrong with the input files; the last valid ones are in force.
    #[serde(default)]
    pub problems: Vec<ProblemView>,
    /// What would change.
    pub changes: Vec<PlannedChange>,
    /// Every step, in order, in words.
    pub steps: Vec<String>,
    /// How long all of it may take, where it works on the database.
    #[serde(default)]
    pub expected: Option<Expected>,
}

/// What is done to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is brought to this host.
    Pull,
    /// It is made from the repository.
    Build,
    /// It comes to be.
    Create,
    /// A new one takes the place of the old one.
    Replace,
    /// It is started or given its settings back; it stays the same.
    Update,
    /// It goes.
    Remove,
}

/// One thing that would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlannedChange {
    /// What is done.
    pub action: Action,
    /// `container`, `image`, `network`, `volume`, `backup` or `schema`.
    pub what: String,
    /// Which one.
    pub name: String,
    /// More about it.
    pub detail: Vec<String>,
    /// Why.
    pub why: Vec<String>,
}

/// Why nothing is done although something else was asked for.
fn why_not(record: &StackRecord) -> Option<String> {
    let Standing::Quarantined(number) = record.standing else {
        return None;
    };
    let tag = record.request.as_ref().map(|request| &request.desired.tag)?;
    if !record.quarantine.iter().any(|q| q.generation == number)
        && let Some(hold) = &record.hold
    {
        return Some(format!(
            "{tag} was asked for; nothing is begun, because {}: {}",
            hold.why, hold.way_out
        ));
    }
    Some(format!(
        "{tag} was asked for; it is in quarantine since generation {number} failed: `steadfast retry {}` tries it again",
        record.stack
    ))
}

/// What a failure of what runs waits for.
fn watched(snapshot: &Snapshot) -> Option<String> {
    let record = &snapshot.record;
    let left = config::show_duration(Duration::from_secs(snapshot.time_left?.as_secs()));
    let overall = record.health.overall(&snapshot.probes, &snapshot.taken);
    let (Overall::Failing { .. }, Some(current)) = (overall, record.current) else {
        return None;
    };
    if record.pause.is_some() {
        return None;
    }
    let readiness = &snapshot.readiness;
    let then = match (readiness.to, &readiness.why_not, &readiness.one_way) {
        (Some(to), None, None) => format!("a rollback to {}", named(record, to)),
        (Some(to), None, Some(_)) => format!(
            "the question whether a backup of {} is gone back to",
            named(record, to)
        ),
        (_, Some(why), _) => format!("a hold: {why}"),
        (None, None, _) => String::from("a hold, for there is nothing to go back to"),
    };
    Some(format!(
        "{left} more of failure: {} fails, and then comes {then}",
        named(record, current)
    ))
}

/// The tag and the commit of a generation; of one that is not there yet, what is asked for.
fn release_of(record: &StackRecord, number: GenerationNumber) -> (Option<String>, Option<String>) {
    if let Some(generation) = record.generation(number) {
        return (tag_of(record, number), commit_of(&generation.release));
    }
    let request = record.request.as_ref();
    let tag = request.map(|request| &request.desired.tag);
    let commit = request.and_then(|request| request.commits.get(&request.desired.tag));
    (tag.map(ToString::to_string), commit.map(shown))
}

/// What an answer without the field comes from.
fn yes() -> bool {
    true
}

impl PlanView {
    /// The plan of the operation that is under way, else of the one that comes next.
    pub fn of(snapshot: &Snapshot) -> Self {
        let record = &snapshot.record;
        let open = record.operation.as_ref().map(|open| &open.operation);
        let mut view = Self {
            format: FORMAT,
            stack: record.stack.to_string(),
            kind: None,
            running: open.is_some(),
            generation: None,
            tag: None,
            commit: None,
            daemon: true,
            why: None,
            waits: snapshot.waits.clone(),
            approval: record
                .approval
                .as_ref()
                .filter(|approval| approval.answer.is_none())
                .map(|approval| Approval::of(approval, record)),
            problems: snapshot.problems.iter().map(ProblemView::of).collect(),
            changes: Vec::new(),
            steps: Vec::new(),
            expected: None,
        };
        let (kind, generation, why, plan) = match (open, &snapshot.next) {
            (Some(open), _) => (open.kind, open.generation, &open.why, &open.plan),
            (None, Some(next)) => (next.kind, next.generation, &next.why, &next.plan),
            (None, None) => {
                view.why = why_not(record);
                view.waits.extend(watched(snapshot));
                return view;
            }
        };
        view.kind = Some(kind.to_string());
        view.generation = generation.map(|n| n.0);
        (view.tag, view.commit) = generation.map(|n| release_of(record, n)).unwrap_or_default();
        view.why = Some(why.clone());
        view.changes = changes(kind, plan, snapshot, open.is_none());
        view.expected = Past::of(kind, plan, snapshot).of_all(plan);
        view.steps = (0..plan.steps.len()).map(|index| plan.in_words(index)).collect();
        view
    }

    /// What a daemon would do if one ran.
    pub(crate) fn foreseen(foreseen: &Foreseen) -> Self {
        let snapshot = &foreseen.snapshot;
        let mut view = Self::of(snapshot);
        view.daemon = false;
        if view.running {
            view.running = false;
            view.waits.push("a daemon, to finish what was interrupted".into());
        }
        if let Some(met) = snapshot.record.current().filter(|g| g.adopted && foreseen.first) {
            view.why = Some(format!(
                "first contact: what runs becomes generation {}, as it is; nothing is touched",
                met.number
            ));
        }
        view
    }
}
