//! What is shown of a stack's past: its generations, and its operations with their steps.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::common::Common;
use state::integrity::{Answer, Look, Seen, Tally};
use state::journal::{Ending, Entry, Event, Kind, OpenOperation, Operation, Outcome, Progress};
use state::observed::SchemaHead;
use state::record::StackRecord;
use state::release::{Generation, GenerationNumber};
use state::taken_back::{PutIn, Saved};

use super::release::commit_of;
use super::{FORMAT, wall};
use crate::shared::Shared;

/// Answer to `history --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct History {
    /// [`FORMAT`].
    pub format: u32,
    /// The stack.
    pub stack: String,
    /// Every generation, the newest first.
    pub generations: Vec<GenerationRow>,
    /// The operations that are remembered, the newest first; the open one too.
    pub operations: Vec<OperationRow>,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GenerationRow {
    /// Its number.
    pub generation: u64,
    /// Its tag; none where it was found running.
    pub tag: Option<String>,
    /// The first twelve digits of the commit that it was made of, where it comes from a repository.
    #[serde(default)]
    pub commit: Option<String>,
    /// Services pinned to a tag of their own.
    pub pins: BTreeMap<String, String>,
    /// `trial`, `good`, `bad` or `superseded`.
    pub verdict: String,
    /// Why.
    pub why: String,
    /// Whether its containers are what runs.
    pub current: bool,
    /// Whether its release must not be applied again.
    pub quarantined: bool,
    /// Whether it was found running.
    pub adopted: bool,
    /// When it was begun.
    pub begun: Timestamp,
    /// When its containers ran.
    pub applied: Option<Timestamp>,
    /// When the verdict was last changed.
    pub judged: Option<Timestamp>,
    /// The first twelve digits of each service's image id.
    pub images: BTreeMap<String, String>,
    /// The schema's revisions under it.
    pub schema: Vec<String>,
    /// The id of its env file.
    pub env_id: Option<String>,
    /// The first twelve digits of its release's digest.
    pub release: String,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OperationRow {
    /// Its id.
    pub id: u64,
    /// `fetch`, `deploy`, `heal`, `rollback`, `backup` or `restore`.
    pub kind: String,
    /// The generation that it made or restored.
    pub generation: Option<u64>,
    /// The generation that a rollback has left, where that is known.
    #[serde(default)]
    pub left: Option<u64>,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub why: String,
    /// When it was begun.
    pub begun: Timestamp,
    /// When it ended; `None`: it is open.
    pub ended: Option<Timestamp>,
    /// How long it took.
    pub milliseconds: Option<u64>,
    /// `open`, `succeeded`, `undone`, `paused` or `stuck`.
    pub ending: String,
    /// What failed.
    pub failure: Option<String>,
    /// Its steps.
    pub steps: Vec<StepRow>,
    /// What the integrity checks said before and after.
    #[serde(default)]
    pub checks: Vec<CheckRow>,
    /// The rows of the database before and after; none where nobody has counted.
    #[serde(default)]
    pub rows: Option<RowsRow>,
}

/// One integrity check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckRow {
    /// Its name.
    pub name: String,
    /// Before; `None`: it was not asked.
    pub before: Option<String>,
    /// After.
    pub after: Option<String>,
}

/// The rows of the database, as far as they were counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RowsRow {
    /// All that were counted before.
    pub before: Option<u64>,
    /// After.
    pub after: Option<u64>,
    /// Every table, by name.
    pub tables: Vec<TableRow>,
    /// Tables that are in none of the lines, because there are so many.
    pub more: u64,
}

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TableRow {
    /// `schema.table`.
    pub table: String,
    /// Before; `None`: it was not counted, or was not there.
    pub before: Option<u64>,
    /// After.
    pub after: Option<u64>,
    /// Whether it was there and was not counted, before or after, because there was no time left.
    pub not_counted: bool,
}

/// One step of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StepRow {
    /// In words.
    pub what: String,
    /// `to do`, `started`, `done`, `failed`, `taken back` or `not taken back`.
    pub outcome: String,
    /// When it was started, the first time where a crash came between.
    pub begun: Option<Timestamp>,
    /// How long it took until it was done, or had failed.
    pub milliseconds: Option<u64>,
    /// How long it took to take it back.
    pub undo_milliseconds: Option<u64>,
    /// What else is to be told of it.
    #[serde(default)]
    pub told: Option<String>,
}

impl History {
    /// The past in `record`, and in the operations that have ended, the newest first.
    pub fn of(record: &StackRecord, ended: &[OpenOperation], shared: &Shared) -> Self {
        let open = record.operation.iter();
        Self {
            format: FORMAT,
            stack: record.stack.to_string(),
            generations: record
                .generations
                .iter()
                .rev()
                .map(|generation| GenerationRow::of(generation, record, shared))
                .collect(),
            operations: open
                .chain(ended)
                .map(|open| OperationRow::of(open, record))
                .collect(),
        }
    }
}

impl GenerationRow {
    fn of(generation: &Generation, record: &StackRecord, shared: &Shared) -> Self {
        let release = &generation.release;
        Self {
            generation: generation.number.0,
            tag: release.tag.as_ref().map(ToString::to_string),
            commit: commit_of(release),
            pins: release
                .pins
                .iter()
                .map(|(service, tag)| (service.to_string(), tag.to_string()))
                .collect(),
            verdict: generation.verdict.to_string(),
            why: generation.why.clone(),
            current: record.current == Some(generation.number),
            quarantined: record
                .quarantine
                .iter()
                .any(|q| q.generation == generation.number),
            adopted: generation.adopted,
            begun: wall(&generation.begun),
            applied: generation.applied.as_ref().map(wall),
            judged: generation.judged.as_ref().map(wall),
            images: release
                .images
                .iter()
                .map(|(service, image)| (service.to_string(), image.short().to_owned()))
                .collect(),
            schema: match &generation.schema {
                Some(SchemaHead::At(heads)) => heads.iter().map(ToString::to_string).collect(),
                Some(SchemaHead::NoTable) | None => Vec::new(),
            },
            env_id: release
                .env
                .as_ref()
                .map(|digest| shared.env_id(digest).to_string()),
            release: generation.release_id.short().to_owned(),
        }
    }
}

impl OperationRow {
    fn of(open: &OpenOperation, record: &StackRecord) -> Self {
        let operation = &open.operation;
        let seen = seen(open, record);
        let (ending, failure) = match &open.progress {
            Progress::Ended(Ending::Succeeded) => ("succeeded", None),
            Progress::Ended(Ending::Undone { why, .. }) => ("undone", Some(why)),
            Progress::Ended(Ending::Paused { why }) => ("paused", Some(why)),
            Progress::Ended(Ending::Left { why, .. }) => ("left", Some(why)),
            Progress::Ended(Ending::Stuck { why }) => ("stuck", Some(why)),
            Progress::Undoing { why, .. } | Progress::UndoFailed { why } => ("open", Some(why)),
            Progress::Ready { .. } | Progress::InFlight { .. } => ("open", None),
        };
        let last = open.events.last();
        let ended = last
            .filter(|entry| matches!(entry.event, Event::Ended(_)))
            .and_then(|entry| entry.at_ms);
        Self {
            id: operation.id,
            kind: operation.kind.to_string(),
            generation: operation.generation.map(|n| n.0),
            left: left(operation, record).map(|n| n.0),
            by: operation.by.to_string(),
            why: operation.why.clone(),
            begun: wall(&operation.begun),
            ended: ended.map(instant),
            milliseconds: between(Some(operation.begun.wall_ms), ended),
            ending: ending.into(),
            failure: failure.cloned(),
            steps: steps(open),
            checks: checks(&seen),
            rows: rows(&seen),
        }
    }
}

/// The generation that a rollback has left: what it leaves becomes bad as it is begun, in the same moment. One that goes on
/// with an earlier one judges nobody: while it is open, it leaves what is current.
fn left(operation: &Operation, record: &StackRecord) -> Option<GenerationNumber> {
    if operation.kind != Kind::Rollback {
        return None;
    }
    let is_left = |generation: &&Common<Generation>| generation.judged.as_ref() == Some(&operation.begun);
    let judged = record.generations.iter().rev().find(is_left);
    let is_open = record
        .operation
        .as_ref()
        .is_some_and(|open| open.operation.id == operation.id);
    let current = record.current.filter(|_| is_open);
    judged
        .map(|generation| generation.number)
        .or(current)
        .filter(|left| Some(*left) != operation.generation)
}

/// What was seen of the database before an operation and after it; of a rollback the rows are counted later.
fn seen(open: &OpenOperation, record: &StackRecord) -> Seen {
    let outcomes = open.events.iter().filter_map(|entry| match &entry.event {
        Event::Done {
            outcome: Outcome::Seen(seen) | Outcome::ToldAndSeen(_, seen),
            ..
        }
        | Event::Seen { seen, .. } => Some(&**seen),
        _ => None,
    });
    let taken = record.taken_back.get(&open.operation.id);
    let later = taken
        .and_then(|taken| taken.saved.as_ref())
        .and_then(|saved| saved.seen.as_ref());
    outcomes.chain(later).fold(Seen::default(), Seen::with)
}

fn checks(seen: &Seen) -> Vec<CheckRow> {
    let answers = |look: &Option<Look>| look.as_ref().map(|look| look.answers.clone()).unwrap_or_default();
    let (before, after) = (answers(&seen.before), answers(&seen.after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let row = |name: &String| CheckRow {
        name: name.clone(),
        before: before.get(name).map(Answer::words),
        after: after.get(name).map(Answer::words),
    };
    names.into_iter().map(row).collect()
}

fn rows(seen: &Seen) -> Option<RowsRow> {
    let of = |look: &Option<Look>| look.as_ref().and_then(|look| look.rows.clone());
    let (before, after) = (of(&seen.before), of(&seen.after));
    if before.is_none() && after.is_none() {
        return None;
    }
    let sides: Vec<&Tally> = before.iter().chain(&after).collect();
    let names: BTreeSet<&String> = sides
        .iter()
        .flat_map(|tally| tally.tables.keys().chain(tally.about.keys()))
        .collect();
    // The sums are of what was counted both times: all else would be a loss that is none.
    let late: BTreeSet<&String> = sides.iter().flat_map(|tally| tally.about.keys()).collect();
    let counted = |side: &Option<Tally>, table: &String| side.as_ref()?.tables.get(table).copied();
    let row = |table: &String| TableRow {
        table: table.clone(),
        before: counted(&before, table),
        after: counted(&after, table),
        not_counted: sides.iter().any(|tally| tally.about.contains_key(table)),
    };
    Some(RowsRow {
        tables: names.into_iter().map(row).collect(),
        more: sides.iter().map(|tally| tally.more).max().unwrap_or(0),
        before: before.as_ref().map(|side| side.rows_but(&late)),
        after: after.as_ref().map(|side| side.rows_but(&late)),
    })
}

/// What the journal says of one step.
#[derive(Clone, Default)]
struct Traces {
    outcome: Option<&'static str>,
    started: Option<i64>,
    over: Option<i64>,
    undo_started: Option<i64>,
    undone: Option<i64>,
    told: Option<String>,
}

impl Traces {
    fn take(&mut self, entry: &Entry) {
        let at = entry.at_ms;
        match &entry.event {
            Event::Started { .. } => {
                self.started = self.started.or(at);
                self.outcome = Some("started");
            }
            Event::Done { outcome, .. } => {
                (self.outcome, self.over) = (Some("done"), at);
                match outcome {
                    Outcome::Told(words) | Outcome::ToldAndSeen(words, _) => {
                        self.told = Some(joined(self.told.take(), words));
                    }
                    Outcome::Saved(Saved { lines, .. }) | Outcome::PutIn(PutIn { lines, .. })
                        if !lines.is_empty() =>
                    {
                        self.told = Some(joined(self.told.take(), &lines.join("; ")));
                    }
                    _ => {}
                }
            }
            Event::Instead { why, .. } => {
                self.told = Some(joined(self.told.take(), why));
            }
            Event::Seen { .. } | Event::Ended(_) => {}
            Event::Failed { .. } => (self.outcome, self.over) = (Some("failed"), at),
            Event::UndoStarted { .. } => self.undo_started = self.undo_started.or(at),
            Event::UndoDone { .. } => {
                self.undone = at;
                // A step that failed stays the one that failed.
                if self.outcome != Some("failed") {
                    self.outcome = Some("taken back");
                }
            }
            Event::UndoFailed { .. } => (self.outcome, self.undone) = (Some("not taken back"), at),
        }
    }
}

fn steps(open: &OpenOperation) -> Vec<StepRow> {
    let mut traces = vec![Traces::default(); open.operation.plan.steps.len()];
    for entry in &open.events {
        if let Some(traces) = entry.event.step().and_then(|index| traces.get_mut(index)) {
            traces.take(entry);
        }
    }
    let steps = open.operation.plan.steps.iter().zip(traces);
    steps
        .map(|(step, traces)| StepRow {
            what: step.to_string(),
            outcome: traces.outcome.unwrap_or("to do").into(),
            begun: traces.started.map(instant),
            milliseconds: between(traces.started, traces.over),
            undo_milliseconds: between(traces.undo_started, traces.undone),
            told: traces.told,
        })
        .collect()
}

/// What is told after what was told before.
fn joined(before: Option<String>, words: &str) -> String {
    before.map_or_else(|| words.to_owned(), |before| format!("{before}; then: {words}"))
}

fn instant(wall_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(wall_ms).unwrap_or_default()
}

/// By the clock on the wall, which may have been set back: never negative.
fn between(from: Option<i64>, to: Option<i64>) -> Option<u64> {
    Some(u64::try_from(to?.saturating_sub(from?)).unwrap_or(0))
}
