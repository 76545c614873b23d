//! Where the agent can be killed, by name: before and after every call, write and read of its own. What dies where
//! is told, or drawn; what was hit is counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use state::journal::{Ending, Event};
use state::record::Change;

use crate::laws::Call;
use crate::world::World;

/// Every kind of place. Changes through the engine, what is asked of it, what is read elsewhere, and what is written
/// to the ledger.
pub(crate) const PLACES: [&str; 79] = [
    "create container",
    "start container",
    "unpause container",
    "stop container",
    "remove container",
    "rename container",
    "update restart policy",
    "connect network",
    "disconnect network",
    "create network",
    "create volume",
    "pull image",
    "fetch source",
    "check out",
    "find content",
    "build image",
    "tag image",
    "write built image",
    "keep image",
    "release images",
    "claim stack",
    "engine info",
    "list containers",
    "inspect container",
    "compare container",
    "list networks",
    "list volumes",
    "find image",
    "list keepers",
    "begin once",
    "await once",
    "read schema",
    "ask probe",
    "restore beside",
    "back up",
    "verify backup",
    "ask checks",
    "count rows",
    "close database",
    "take place",
    "open database",
    "read file",
    "put file",
    "read object",
    "put object",
    "load record",
    "take operation id",
    "write accept",
    "write standing",
    "write resolved image",
    "write generation",
    "write current",
    "write applied",
    "write verdict",
    "write schema",
    "write quarantine",
    "write lift",
    "write open",
    "write placed files",
    "write started",
    "write done",
    "write failed",
    "write undo started",
    "write undo done",
    "write undo failed",
    "write end",
    "write stuck",
    "write hold",
    "write end of hold",
    "write pause",
    "write approval",
    "write health",
    "write restored",
    "write rollback",
    "write adoption",
    "write let go",
    "write act",
    "write forgotten container",
    "write carried volumes",
];

/// What comes up in no told story, and is drawn only. Nor do `end once` and `exec`.
const RARE: &str = "write collection";

/// The places at which an operation comes to its end.
pub(crate) const ENDS: [&str; 2] = ["write end", "write stuck"];

/// The place of a change through the engine.
pub(crate) fn of_call(call: &Call<'_>) -> &'static str {
    match call {
        Call::Create(_) => "create container",
        Call::Start(_) => "start container",
        Call::Unpause(_) => "unpause container",
        Call::Stop(_) => "stop container",
        Call::Remove(_) => "remove container",
        Call::Rename(..) => "rename container",
        Call::SetRestart(_) => "update restart policy",
        Call::Connect(_) => "connect network",
        Call::Disconnect(_) => "disconnect network",
        Call::CreateNetwork(_) => "create network",
        Call::CreateVolume(_) => "create volume",
        Call::Pull => "pull image",
        Call::Build(_) => "build image",
        Call::Tag => "tag image",
        Call::Keep => "keep image",
        Call::Release => "release images",
        Call::RunOnce(_) => "begin once",
        Call::EndOnce(_) => "end once",
        Call::Exec(_) => "exec",
        Call::Signal(_) => "signal",
        Call::CloseDatabase => "close database",
        Call::OpenDatabase => "open database",
        Call::CopyDatabase => "copy database",
        Call::PutBack => "put back database",
        Call::DropCopy(_) => "drop copy",
        Call::RestoreBeside => "restore beside",
        Call::TakePlace => "take place",
        Call::GiveBack => "give back",
        Call::ApplySql => "apply sql",
        Call::BackUp => "back up",
        Call::Verify => "verify backup",
        Call::PutIn(_) => "put rows in",
        Call::PutFile(_) => "put file",
    }
}

/// The place of a write to the ledger. A batch is at the places of all that is in it.
pub(crate) fn of_change(change: &Change) -> &'static str {
    match change {
        Change::Accept(_) => "write accept",
        Change::Stand(_) => "write standing",
        Change::Resolve(..) => "write resolved image",
        Change::Built(..) => "write built image",
        Change::Begin(_) => "write generation",
        Change::SetCurrent(_) => "write current",
        Change::Applied(..) => "write applied",
        Change::Judge { .. } => "write verdict",
        Change::Schema(..) => "write schema",
        Change::Quarantine(_) => "write quarantine",
        Change::Lift(_) => "write lift",
        Change::Open(_) => "write open",
        Change::Journal(entry) => of_event(&entry.event),
        Change::Hold(Some(_)) => "write hold",
        Change::Hold(None) => "write end of hold",
        Change::Pause(_) => "write pause",
        Change::Approval(_) => "write approval",
        Change::Health(_) => "write health",
        Change::Restored(_) => "write restored",
        Change::RolledBack(..) => "write rollback",
        Change::Adopt(..) => "write adoption",
        Change::LetGo(_) => "write let go",
        Change::Act(_) => "write act",
        Change::Forget(_) => "write forgotten container",
        Change::Carry(..) => "write carried volumes",
        Change::Learn(..) => "write migrations",
        Change::LearnLosses(..) => "write losses",
        Change::TakeBack(..) => "write what was taken back",
        Change::Bar(Some(_)) => "write bar",
        Change::Bar(None) => "write end of bar",
        Change::Unseen(Some(_)) => "write unseen migration",
        Change::Unseen(None) => "write end of unseen migration",
        Change::Wrote(..) => "write what runs",
        Change::Place(_) => "write placed files",
        Change::SeenFiles(_) => "write seen files",
        Change::Give(_) => "write given file",
        Change::Import(_) => "write imported version",
        Change::Collect(_) => RARE,
    }
}

fn of_event(event: &Event) -> &'static str {
    match event {
        Event::Started { .. } => "write started",
        Event::Done { .. } => "write done",
        Event::Seen { .. } => "write seen",
        Event::Failed { .. } => "write failed",
        Event::Instead { .. } => "write instead",
        Event::UndoStarted { .. } => "write undo started",
        Event::UndoDone { .. } => "write undo done",
        Event::UndoFailed { .. } => "write undo failed",
        Event::Ended(Ending::Stuck { .. }) => "write stuck",
        Event::Ended(_) => "write end",
    }
}

/// How often the agent was killed since an operation last came to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    #[default]
    Live,
    /// What a kill left is taken up.
    Recovery,
    /// What a kill in the recovery left.
    Again,
}

impl Stage {
    pub(crate) const ALL: [Self; 3] = [Self::Live, Self::Recovery, Self::Again];

    fn deeper(self) -> Self {
        match self {
            Self::Live => Self::Recovery,
            Self::Recovery | Self::Again => Self::Again,
        }
    }
}

/// A side of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Side {
    pub(crate) place: &'static str,
    pub(crate) after: bool,
}

/// A crash point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) side: Side,
    pub(crate) stage: Stage,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.side.after { "after" } else { "before" };
        let stage = match self.stage {
            Stage::Live => "live",
            Stage::Recovery => "in recovery",
            Stage::Again => "in recovery of recovery",
        };
        write!(f, "{side} {}, {stage}", self.side.place)
    }
}

/// Every crash point that a told story comes to.
pub(crate) fn all() -> Vec<Point> {
    let sides = PLACES
        .iter()
        .flat_map(|place| [false, true].map(|after| Side { place, after }));
    sides
        .flat_map(|side| Stage::ALL.map(|stage| Point { side, stage }))
        .collect()
}

/// Where the agent is killed, and where it was.
#[derive(Debug, Default)]
pub(crate) struct Points {
    stage: Stage,
    /// Where it is to die next, each the first time it comes there.
    pub(crate) told: VecDeque<Side>,
    /// The places that were passed.
    pub(crate) passed: BTreeSet<&'static str>,
    pub(crate) hit: BTreeMap<Point, u32>,
}

impl Points {
    /// An operation came to its end.
    pub(crate) fn ended(&mut self) {
        self.stage = Stage::Live;
    }

    fn told(&mut self, at: &[&'static str]) -> Option<bool> {
        let next = self.told.front().filter(|side| at.contains(&side.place))?;
        let after = next.after;
        self.told.pop_front();
        Some(after)
    }

    fn count(&mut self, at: &[&'static str], after: bool) {
        for place in at {
            let side = Side { place, after };
            let stage = self.stage;
            *self.hit.entry(Point { side, stage }).or_default() += 1;
        }
        self.stage = self.stage.deeper();
    }
}

impl World {
    /// Whether the agent dies here, before the effect (`false`) or after it. Who is told so has to die.
    pub(crate) fn dies(&mut self, at: &[&'static str]) -> Option<bool> {
        self.points.passed.extend(at);
        let after = match self.points.told(at) {
            Some(after) => after,
            None if self.dice.in_thousand(self.faults.killed) => self.dice.in_thousand(500),
            None => return None,
        };
        self.points.count(at, after);
        self.kills += 1;
        *self.faulted.entry("agent: killed").or_default() += 1;
        let side = if after { "after" } else { "before" };
        self.note(format!("KILLED {side} {}", at.join(", ")));
        Some(after)
    }

    /// It died in the middle of what is done at this place.
    pub(crate) fn died_within(&mut self, place: &'static str) {
        self.points.count(&[place], false);
        self.kills += 1;
    }
}
