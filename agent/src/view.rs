//! What is shown of a stack, as the control socket sends it and `--json` prints it. These fields are
//! a contract (`docs/reference/commands.md`): they are added to, never renamed; the domain types may
//! change without them. Beside each shape is how it is made from a snapshot: every judgement was made
//! before, here it is worded. No text layout in here.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::health::Overall;
use state::journal::Kind;
use state::record::{self, Ask, Standing};
use state::release::Verdict;
use state::rollback::is_unfinished;

use crate::shared::{Shared, Snapshot};

mod acts;
mod backups;
mod changes;
mod doing;
mod env;
mod expected;
mod health;
mod history;
mod log;
mod plan;
mod problem;
mod recent;
mod release;
mod releases;
#[cfg(any(test, feature = "samples"))]
pub mod sample;
mod seen;
mod stakes;

pub use acts::{ActList, ActRow};
pub use backups::{BackupList, BackupRow, Backups, Beside, DamagedBackup, TakenBackRow, VerifiedRow};
pub use doing::{Again, Approval, Hold, NextUp, OperationNow, Pause, ProgressNow, Rollback, TakesBack};
pub use env::{EnvDiff, EnvImport, EnvKey, EnvList, EnvRow, EnvShown, EnvText, EnvUse};
pub use expected::Expected;
pub use health::{Failing, FailingProbe, Probe, Trial};
pub use history::{CheckRow, GenerationRow, History, OperationRow, RowsRow, StepRow, TableRow};
pub use log::{Log, LogLine};
pub use plan::{Action, PlanView, PlannedChange};
pub use problem::ProblemView;
pub use recent::{AnswerRow, RecentAnswers};
pub use release::{Asked, Gap, Running};
pub use releases::{KnownRow, MovedTag, ReleaseList, TagRow};
pub use seen::{Diff, Engine, Schema, Service};

/// The version of these shapes. Counted up when a field changes its meaning.
pub const FORMAT: u32 = 1;

/// Answer to `status --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StatusList {
    /// [`FORMAT`].
    pub format: u32,
    /// Each stack, by name.
    pub stacks: Vec<Status>,
}

/// One word for how a stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// What was asked for runs, and is proven.
    Steady,
    /// Something is still to be done or to be seen; `waits` says what.
    Pending,
    /// Images are being fetched; nothing that runs is touched.
    Fetching,
    /// A release is being brought up.
    Deploying,
    /// What should run is being mended.
    Healing,
    /// An earlier generation is being brought back.
    RollingBack,
    /// A backup takes the database's place.
    Restoring,
    /// A generation is being watched.
    Trial,
    /// What runs fails its probes.
    Failing,
    /// Another release than the one asked for runs, because that one failed.
    RolledBack,
    /// The agent does no more by itself; a person is needed.
    Held,
    /// A person is asked to agree.
    AwaitingApproval,
    /// Hands off, for a while.
    Paused,
    /// The engine cannot be reached: nothing is known.
    Unknown,
}

impl State {
    /// Each of them.
    pub const ALL: [Self; 14] = [
        Self::Steady,
        Self::Pending,
        Self::Fetching,
        Self::Deploying,
        Self::Healing,
        Self::RollingBack,
        Self::Restoring,
        Self::Trial,
        Self::Failing,
        Self::RolledBack,
        Self::Held,
        Self::AwaitingApproval,
        Self::Paused,
        Self::Unknown,
    ];

    /// The word in `--json` and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Pending => "pending",
            Self::Fetching => "fetching",
            Self::Deploying => "deploying",
            Self::Healing => "healing",
            Self::RollingBack => "rolling_back",
            Self::Restoring => "restoring",
            Self::Trial => "trial",
            Self::Failing => "failing",
            Self::RolledBack => "rolled_back",
            Self::Held => "held",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
        }
    }
}

/// All that is shown of one stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// Its name.
    pub stack: String,
    /// Counts up with every publication; for `after=` of a wait.
    pub version: u64,
    /// When this was put together.
    pub taken: Timestamp,
    /// When the containers were seen; none: not yet. Beside a deploy, a rollback or a restore nobody looks at them.
    #[serde(default)]
    pub seen: Option<Timestamp>,
    /// How it is, in a word.
    pub state: State,
    /// Whether nobody has to look at it.
    pub fine: bool,
    /// Whether what was asked for is what runs.
    pub as_asked: bool,
    /// What was asked for last.
    pub asked: Option<Asked>,
    /// What runs.
    pub runs: Option<Running>,
    /// The generation that the stack is kept at.
    pub target: Option<u64>,
    /// Why what was asked for is not kept.
    pub gap: Option<Gap>,
    /// The operation that is under way.
    pub operation: Option<OperationNow>,
    /// The watch over what runs, while it is on trial.
    pub trial: Option<Trial>,
    /// The failure, while there is one.
    pub failing: Option<Failing>,
    /// Why the stack is held.
    pub hold: Option<Hold>,
    /// The pause.
    pub pause: Option<Pause>,
    /// What a person is asked.
    pub approval: Option<Approval>,
    /// What would be done next.
    pub next: Option<NextUp>,
    /// What differs from the target.
    pub drift: Vec<Diff>,
    /// What is waited for.
    pub waits: Vec<String>,
    /// What failed in passing and is tried again; none: nothing, or it is being tried.
    #[serde(default)]
    pub again: Option<Again>,
    /// What is wrong with the input files; the last valid ones are in force.
    pub problems: Vec<ProblemView>,
    /// Whether it could be rolled back right now.
    pub rollback: Rollback,
    /// Each container.
    pub services: Vec<Service>,
    /// Each probe.
    pub probes: Vec<Probe>,
    /// Where the schema stands.
    pub schema: Option<Schema>,
    /// What was left beside the database.
    #[serde(default)]
    pub beside: Vec<Beside>,
    /// What rollbacks have taken out of the database, the newest first.
    #[serde(default)]
    pub taken_back: Vec<TakenBackRow>,
    /// The backups, in short.
    #[serde(default)]
    pub backups: Option<Backups>,
    /// The engine.
    pub engine: Engine,
}

/// The moment, on the wall.
pub(crate) fn wall(at: &state::time::Moment) -> Timestamp {
    Timestamp::from_millisecond(at.wall_ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Status {
    /// What is shown of `snapshot`, published as number `version`.
    pub fn of(snapshot: &Snapshot, shared: &Shared, version: u64) -> Self {
        let record = &snapshot.record;
        let overall = record.health.overall(&snapshot.probes, &snapshot.taken);
        let state = state_of(snapshot, &overall);
        let problems: Vec<_> = snapshot.problems.iter().map(ProblemView::of).collect();
        Self {
            stack: record.stack.to_string(),
            version,
            taken: wall(&snapshot.taken),
            seen: snapshot.seen.as_ref().map(wall),
            state,
            fine: is_fine(state)
                && !health::is_lost(snapshot)
                && problems.iter().all(|p| p.gravity != "error"),
            as_asked: release::is_as_asked(record),
            asked: record.request.as_ref().map(|r| release::asked(r, record, shared)),
            runs: record.current().map(|g| release::running(g, record)),
            target: snapshot.target.map(|n| n.0),
            gap: release::gap(record),
            operation: doing::operation(snapshot),
            trial: health::trial(snapshot, &overall),
            failing: health::failing(snapshot, &overall),
            hold: record.hold.as_ref().map(Hold::of),
            pause: record.pause.as_ref().map(Pause::of),
            approval: record.approval.as_ref().map(|a| Approval::of(a, record)),
            next: snapshot.next.as_ref().map(|next| NextUp {
                kind: next.kind.to_string(),
                generation: next.generation.map(|n| n.0),
                why: next.why.clone(),
            }),
            drift: snapshot.drift.iter().map(Diff::of).collect(),
            waits: snapshot.waits.clone(),
            again: doing::again(snapshot),
            problems,
            rollback: doing::rollback(snapshot),
            services: snapshot.services.iter().map(Service::of).collect(),
            probes: health::probes(snapshot),
            schema: snapshot.schema.as_ref().map(Schema::of),
            beside: snapshot.beside.iter().map(Beside::of).collect(),
            taken_back: record
                .taken_back
                .iter()
                .rev()
                .map(|(of, taken)| TakenBackRow::of(*of, taken))
                .collect(),
            backups: Backups::of(snapshot),
            engine: seen::engine(snapshot),
        }
    }

    /// Whether somebody refused what was asked for.
    pub fn is_denied(&self) -> bool {
        self.approval.as_ref().and_then(|a| a.answer.as_deref()) == Some("denied")
    }
}

fn is_fine(state: State) -> bool {
    !matches!(
        state,
        State::Failing
            | State::RollingBack
            | State::Restoring
            | State::RolledBack
            | State::Held
            | State::AwaitingApproval
            | State::Unknown
    )
}

fn state_of(snapshot: &Snapshot, overall: &Overall) -> State {
    let record = &snapshot.record;
    if snapshot.engine.known().is_none() {
        return State::Unknown;
    }
    let under_way = record.operation.as_ref().map(|open| open.operation.kind);
    match under_way {
        Some(Kind::Fetch) => return State::Fetching,
        Some(Kind::Deploy) => return State::Deploying,
        Some(Kind::Heal) => return State::Healing,
        Some(Kind::Rollback) => return State::RollingBack,
        Some(Kind::Restore) => return State::Restoring,
        // Beside it everything goes on.
        Some(Kind::Backup) | None => {}
    }
    if record.pause.is_some() {
        return State::Paused;
    }
    // What would lose rows is an offer, and nothing that is waited for.
    let waits = |a: &record::Approval| a.answer.is_none() && !matches!(a.ask, Ask::RestoreBackup { .. });
    if record.approval.as_ref().is_some_and(waits) {
        return State::AwaitingApproval;
    }
    if record.hold.is_some() {
        return State::Held;
    }
    // What runs is what is left: the way back has not come to its end, and is gone on with.
    if is_unfinished(record) {
        return State::RollingBack;
    }
    if matches!(overall, Overall::Failing { .. }) {
        return State::Failing;
    }
    let verdict = record.current().map(|g| g.verdict);
    match (&record.standing, verdict) {
        (Standing::Applied(number), Some(Verdict::Trial)) if record.current == Some(*number) => State::Trial,
        (Standing::Quarantined(_), Some(_)) => State::RolledBack,
        // What differs and is left alone keeps nobody waiting.
        (Standing::Applied(number), Some(Verdict::Good))
            if record.current == Some(*number)
                && *overall == Overall::Healthy
                && snapshot.waits.is_empty()
                && snapshot.next.is_none() =>
        {
            State::Steady
        }
        _ => State::Pending,
    }
}
