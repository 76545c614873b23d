//! What the loop and the control socket share: the loop publishes what it last saw of each stack,
//! and takes orders. Nothing here decides anything, and no secret value ever gets in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::error::Problem;
use jiff::Timestamp;
use state::backup::{Dumped, Proof};
use state::common::Common;
use state::drift::Drift;
use state::journal::Kind;
use state::name::{AskId, ContainerId, Digest, EnvId, ImageId, ProbeName, Revision, ServiceName, StackName};
use state::observed::{ContainerState, Known, SchemaHead};
use state::plan::Plan;
use state::policy::{ProbePolicy, TrialPolicy};
use state::record::StackRecord;
use state::release::{Author, GenerationNumber, HostKey};
use state::time::Moment;
use tokio::sync::{oneshot, watch};

use crate::backup::{Listing, Progress};
use crate::database::DatabaseCopy;
use crate::engine::EngineInfo;
use crate::recent::Recent;
use crate::service::Hearts;
use crate::tally::Tally;
use crate::took::Took;

/// What the daemon shows of one stack. Replaced whole after every pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// All that is remembered of it.
    pub record: StackRecord,
    /// The generation that the stack is kept at, where one exists: the effective target.
    pub target: Option<GenerationNumber>,
    /// What differs between the effective target and what was seen.
    pub drift: Vec<Difference>,
    /// The operation that would be begun next; the open one is in the record.
    pub next: Option<Next>,
    /// What is waited for, a line each: "approval of generation 3", "the engine".
    pub waits: Vec<String>,
    /// What failed in passing, and when it is tried again.
    pub again: Option<Again>,
    /// What is wrong with the input files; the last valid ones are in force.
    pub problems: Vec<Problem>,
    /// Where the schema stands; `None`: no database is configured.
    pub schema: Option<Known<SchemaHead>>,
    /// Every service, as seen; empty while the engine is away.
    pub services: Vec<ServiceView>,
    /// The stack's probes, as configured.
    pub probes: Arc<[ProbePolicy]>,
    /// How long the last answer of each probe took that said how its service is.
    pub latencies: BTreeMap<ProbeName, Duration>,
    /// What each probe has answered lately.
    pub recent: BTreeMap<ProbeName, Common<Recent>>,
    /// The stack's spans, as configured.
    pub trial: TrialPolicy,
    /// The stack's own env file.
    pub env_file: PathBuf,
    /// Whether it could be rolled back right now.
    pub readiness: Readiness,
    /// While it is failing: how long until it is rolled back.
    pub time_left: Option<Duration>,
    /// How far the step that is under way is, where it says so.
    pub progress: Option<Progress>,
    /// The backups that there are.
    pub backups: Known<Arc<Listing>>,
    /// What was left beside the database, as last seen.
    pub beside: Vec<DatabaseCopy>,
    /// The size of the database, as last seen.
    pub database_bytes: Option<u64>,
    /// How long the last operations took, the newest first.
    pub past: Arc<[Took]>,
    /// When the next backup of the schedule is due.
    pub next_backup: Option<Timestamp>,
    /// Why the last backup that nobody asked for failed.
    pub backup_problem: Option<String>,
    /// The engine, or why it cannot be reached.
    pub engine: Known<EngineInfo>,
    /// When the containers were seen; `None`: not yet. Beside a deploy, a rollback or a restore nobody looks at them.
    pub seen: Option<Moment>,
    /// When all this was put together.
    pub taken: Moment,
}

/// What failed in passing: another try may help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// What it was for.
    pub kind: Kind,
    /// Why it failed, for people.
    pub why: String,
    /// Not before this it is tried again.
    pub at: Moment,
}

/// One difference between the effective target and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The service it belongs to, where it belongs to one.
    pub service: Option<ServiceName>,
    /// What differs, for people.
    pub what: String,
}

impl Difference {
    /// One of a container.
    pub fn of(drift: &Drift) -> Self {
        Self {
            service: Some(drift.service().clone()),
            what: drift.to_string(),
        }
    }
}

/// An operation that would be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// What it is for.
    pub kind: Kind,
    /// The generation that it makes or restores, where that is known.
    pub generation: Option<GenerationNumber>,
    /// Why it is not begun yet, or why it will be, for people.
    pub why: String,
    /// Its steps.
    pub plan: Plan,
    /// What differs between what was seen and what it makes.
    pub because: Vec<Difference>,
    /// What the request calls the images of it.
    pub resolved: Common<BTreeMap<String, ImageId>>,
}

/// One container of a service, or a service without any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// The service.
    pub service: ServiceName,
    /// Its container; `None`: there is none.
    pub container: Option<ContainerId>,
    /// The image as it is written, `registry/app/api:v1.5.0`; its id where another one runs.
    pub reference: String,
    /// The image that it runs.
    pub image: Option<ImageId>,
    /// Its life, with Docker's own health; `None`: there is no container.
    pub state: Option<ContainerState>,
    /// Since when it has run, where that is known: not of what ran before the daemon looked.
    pub since: Option<Moment>,
}

/// The answer to "could I roll back right now".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readiness {
    /// To which generation.
    pub to: Option<GenerationNumber>,
    /// Why not, or what stands in the way, for people.
    pub why_not: Option<String>,
    /// What it would take out of the database, a line each.
    pub destroys: Vec<String>,
    /// Why only a backup leads there; `None`: something else does.
    pub one_way: Option<String>,
    /// The revisions that stay, because the older release is declared to run with them.
    pub kept: Vec<Revision>,
    /// The deploy under way, which is what would be taken back: what runs would stay.
    pub takes_back: Option<TakesBack>,
}

/// A deploy that a rollback would take back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakesBack {
    /// What it brings up.
    pub generation: GenerationNumber,
    /// Whether it moves the schema. Once it has, it is left by a rollback from it.
    pub migrates: bool,
}

/// What a person can ask of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActKind {
    /// Lift the quarantine of what was asked for, and try it again.
    Retry,
    /// Leave the present release for the last good one.
    Rollback {
        /// They say that the schema fits the target, where the agent could not see it.
        schema_fits: bool,
    },
    /// Keep hands off for a while.
    Pause {
        /// For how long.
        span: Duration,
    },
    /// End the pause.
    Resume,
    /// Agree to what is asked.
    Approve,
    /// Refuse what is asked.
    Deny,
    /// Back the database up.
    Backup {
        /// How one makes sure of it.
        proof: Proof,
    },
    /// Make sure of a backup that is there.
    VerifyBackup {
        /// How.
        proof: Proof,
    },
    /// Put a backup, or a file, into the database's place.
    Restore,
    /// Drop a database that was left beside the stack's own.
    DropBeside,
    /// Put the rows back that an operation has taken out of the database.
    PutIn {
        /// The operation.
        of: u64,
    },
    /// Drop what is kept of them.
    DropRows {
        /// The operation.
        of: u64,
    },
    /// Put a version of an env file where it belongs, as the operator's own.
    RestoreEnv,
    /// Keep a file as a version of an env file.
    ImportEnv,
    /// Be shown the values of a version of an env file: it goes into the record before they are.
    RevealEnv,
}

impl ActKind {
    /// The word on the command line, in the socket's paths and in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Rollback { .. } => "rollback",
            Self::Pause { .. } => "pause",
            Self::Resume => "resume",
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Backup { .. } => "backup",
            Self::VerifyBackup { .. } => "verify",
            Self::Restore => "restore",
            Self::DropBeside => "drop",
            Self::PutIn { .. } => "put-in",
            Self::DropRows { .. } => "drop-rows",
            Self::RestoreEnv => "env-restore",
            Self::ImportEnv => "env-import",
            Self::RevealEnv => "env-show",
        }
    }
}

/// What a person asked, on its way to the loop.
#[derive(Debug)]
pub struct Order {
    /// Of which stack.
    pub stack: StackName,
    /// What.
    pub act: ActKind,
    /// Who.
    pub by: Author,
    /// Why, in their words.
    pub reason: Option<String>,
    /// The question that an answer is meant for, where they said which.
    pub ask: Option<AskId>,
    /// What is restored, or made sure of.
    pub dump: Option<Dumped>,
    /// The database that is dropped.
    pub database: Option<String>,
    /// The version of an env file that it is about.
    pub env: Option<AboutEnv>,
    /// Where the loop says what will happen, or why not.
    pub answer: oneshot::Sender<Result<Accepted, Refusal>>,
}

/// Which version of which env file an order is about. `of` names the file; without it, the stack's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AboutEnv {
    /// One that is known, by its id.
    Version {
        /// The id, or its beginning.
        id: EnvId,
        /// The env file.
        of: Option<PathBuf>,
    },
    /// One that a file holds.
    File {
        /// That file: an absolute path.
        from: PathBuf,
        /// The env file.
        of: Option<PathBuf>,
    },
}

/// An order that is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What will happen, for people.
    pub will: String,
    /// The operation that was begun, where its end is what was asked for.
    pub operation: Option<u64>,
}

impl From<String> for Accepted {
    fn from(will: String) -> Self {
        Self {
            will,
            operation: None,
        }
    }
}

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for people: lower case, no full stop.
    pub why: String,
    /// What can be done instead.
    pub way_out: Option<String>,
    /// The exit code of the command: 4 waiting for an approval, 5 refused or held, 1 failed.
    pub code: u8,
}

/// The latest snapshot of every stack.
#[derive(Debug)]
pub struct Shared {
    key: HostKey,
    snapshots: Mutex<BTreeMap<StackName, Arc<Snapshot>>>,
    tallies: Mutex<BTreeMap<StackName, Tally>>,
    version: watch::Sender<u64>,
    hearts: Hearts,
}

impl Shared {
    /// Nothing published yet. What is shown of an env file is keyed with `key`.
    pub fn new(key: HostKey) -> Self {
        Self {
            key,
            snapshots: Mutex::default(),
            tallies: Mutex::default(),
            version: watch::Sender::new(0),
            hearts: Hearts::default(),
        }
    }

    /// Replaces the snapshot of its stack and wakes whoever waits for a change.
    pub fn publish(&self, snapshot: Snapshot) {
        let stack = snapshot.record.stack.clone();
        self.locked().insert(stack, Arc::new(snapshot));
        self.version.send_modify(|version| *version += 1);
    }

    /// Forgets a stack that was taken out of the settings.
    pub fn withdraw(&self, stack: &StackName) {
        self.locked().remove(stack);
        self.version.send_modify(|version| *version += 1);
    }

    /// The latest snapshot of `stack`.
    pub fn get(&self, stack: &StackName) -> Option<Arc<Snapshot>> {
        self.locked().get(stack).cloned()
    }

    /// The latest snapshot of every stack, by name.
    pub fn all(&self) -> Vec<Arc<Snapshot>> {
        self.locked().values().cloned().collect()
    }

    /// How many publications there have been.
    pub fn version(&self) -> u64 {
        *self.version.borrow()
    }

    /// Tells of every publication from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Counts an operation of `stack` that has ended.
    pub fn count(&self, stack: &StackName, add: impl FnOnce(&mut Tally)) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        add(tallies.entry(stack.clone()).or_default());
    }

    /// The operations of `stack` that have ended since the daemon was started.
    pub fn tally(&self, stack: &StackName) -> Tally {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.get(stack).cloned().unwrap_or_default()
    }

    /// Whether the loops of the stacks are alive.
    pub fn hearts(&self) -> &Hearts {
        &self.hearts
    }

    /// The id under which an env file's content is shown.
    pub fn env_id(&self, content: &Digest) -> EnvId {
        self.key.env_id(content)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<StackName, Arc<Snapshot>>> {
        // A snapshot is replaced whole: a panic elsewhere leaves none half written.
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
