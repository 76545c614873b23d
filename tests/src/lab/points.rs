//! Where the daemon is killed, by name: what kind of operation, at which step, at which moment. A point is
//! told from outside by two facts, the last event of the journal and what the engine has heard since; the
//! daemon stands still meanwhile, at a transaction ([`super::gate`]) or at a call ([`super::proxy`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use state::journal::{Entry, Event, Kind, Operation};
use state::step::Step;

use super::gate::Commit;
use super::proxy::{Call, Moment};
use super::{Engine, Lab};

/// When the daemon is killed next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trap {
    /// At the point of this name.
    At(String),
    /// At the nth stop, counted from 1, at which an operation is open.
    Nth(usize),
}

/// The word of a step in the name of a point.
pub const fn word(step: &Step) -> &'static str {
    match step {
        Step::Pull { .. } => "pull",
        Step::FetchSource { .. } => "fetch_source",
        Step::Build { .. } => "build",
        Step::KeepImage { .. } => "keep_image",
        Step::ReleaseImages { .. } => "release_images",
        Step::CreateNetwork { .. } => "create_network",
        Step::CreateVolume { .. } => "create_volume",
        Step::Create { .. } => "create",
        Step::Quiesce { .. } => "quiesce",
        Step::Stop { .. } => "stop",
        Step::Detach { .. } => "detach",
        Step::Attach { .. } => "attach",
        Step::Rename { .. } => "rename",
        Step::Start { .. } => "start",
        Step::Await { .. } => "await",
        Step::Watch { .. } => "watch",
        Step::GiveRestart { .. } => "give_restart",
        Step::Remove { .. } => "remove",
        Step::ReadMigrations { .. } => "read_migrations",
        Step::ReadLosses { .. } => "read_losses",
        Step::SaveRows { .. } => "save_rows",
        Step::PutIn { .. } => "put_in",
        Step::Look { .. } => "look",
        Step::Backup { .. } => "backup",
        Step::VerifyBackup { .. } => "verify_backup",
        Step::HandOn { .. } => "hand_on",
        Step::RestoreBeside { .. } => "restore_beside",
        Step::DropRestored => "drop_restored",
        Step::TakePlace => "take_place",
        Step::GiveBack => "give_back",
        Step::DropBeside { .. } => "drop_beside",
        Step::CloseDatabase { .. } => "close_database",
        Step::CopyDatabase => "copy_database",
        Step::OpenDatabase => "open_database",
        Step::Migrate { .. } => "migrate",
        Step::ApplySql { .. } => "apply_sql",
        Step::PutBack => "put_back",
        Step::PutFiles { .. } => "put_files",
        Step::CheckFile { .. } => "check_file",
        Step::Signal { .. } => "signal",
        Step::CompareFiles { .. } => "compare_files",
    }
}

/// Where the daemon stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Transaction(Commit),
    Call(Moment),
    /// A call that changes nothing.
    Look,
}

/// What the engine has heard since the last event of the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Heard {
    #[default]
    Nothing,
    Look,
    Sent,
    Answered,
}

/// The open operation, as the ledger has it.
#[derive(Debug, Clone)]
struct Open {
    id: u64,
    kind: Kind,
    steps: Vec<Step>,
    /// How many events.
    events: i64,
    last: Option<Event>,
}

fn read(ledger: &Path) -> rusqlite::Result<Option<Open>> {
    let connection = Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut open = connection.prepare("SELECT value FROM operation WHERE ended IS NULL")?;
    let Some(operation) = open.query_map([], |row| row.get::<_, String>(0))?.next() else {
        return Ok(None);
    };
    let Ok(operation) = serde_json::from_str::<Operation>(&operation?) else {
        return Ok(None);
    };
    let sql = "SELECT value, position FROM journal WHERE operation = ?1 ORDER BY position DESC LIMIT 1";
    let mut last = connection.prepare(sql)?;
    let id = i64::try_from(operation.id).unwrap_or(i64::MAX);
    let row = last.query_map([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let row = row.into_iter().next().transpose()?;
    Ok(Some(Open {
        id: operation.id,
        kind: operation.kind,
        steps: operation.plan.steps,
        events: row.as_ref().map_or(0, |(_, position)| position + 1),
        last: row.and_then(|(value, _)| Some(serde_json::from_str::<Entry>(&value).ok()?.event)),
    }))
}

/// The name of a point.
fn name(open: &Open, heard: Heard, stop: Stop) -> String {
    let about = |index: usize, moment: &str| match open.steps.get(index) {
        Some(at) => format!("{}.{}.{moment}", open.kind, word(at)),
        None => format!("{}.ending", open.kind),
    };
    let before = stop == Stop::Transaction(Commit::Before);
    match &open.last {
        None if before => about(0, "before-started"),
        None => format!("{}.opened", open.kind),
        // The last of these is the one with which it is done.
        Some(Event::Started { index }) if before && matches!(heard, Heard::Nothing | Heard::Look) => {
            about(*index, "under-way")
        }
        Some(Event::Started { index }) => {
            let looks = open.steps.get(*index).is_some_and(Step::only_looks);
            about(
                *index,
                match heard {
                    Heard::Answered => "answered",
                    Heard::Sent => "sent",
                    Heard::Look if looks => "waiting",
                    Heard::Look | Heard::Nothing => "started",
                },
            )
        }
        Some(Event::Done { index, .. }) if before => about(index + 1, "before-started"),
        Some(Event::Done { index, .. }) => about(*index, "done"),
        Some(Event::Seen { index, .. }) => about(*index, "under-way"),
        Some(Event::Failed { index, .. }) if before => about(*index, "undo-before-started"),
        Some(Event::Failed { index, .. }) => about(*index, "failed"),
        Some(Event::Instead { index, .. }) if before => about(*index, "instead-before-started"),
        Some(Event::Instead { index, .. }) => about(*index, "instead"),
        Some(Event::UndoStarted { index }) => about(
            *index,
            match heard {
                Heard::Answered => "undo-answered",
                Heard::Sent => "undo-sent",
                Heard::Look | Heard::Nothing => "undo-started",
            },
        ),
        Some(Event::UndoDone { index: 0 }) if before => format!("{}.undo-ending", open.kind),
        Some(Event::UndoDone { index }) if before => about(index - 1, "undo-before-started"),
        Some(Event::UndoDone { index }) => about(*index, "undo-done"),
        Some(Event::UndoFailed { index, .. }) => about(*index, "undo-failed"),
        Some(Event::Ended(_)) => format!("{}.ended", open.kind),
    }
}

/// What is done at a point instead of a kill of the daemon, which then goes on.
pub type Deed = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Inner {
    /// `None`: no daemon is to be killed.
    pid: Option<u32>,
    trap: Option<Trap>,
    deed: Option<Deed>,
    /// The point at which it was killed.
    sprung: Option<String>,
    /// The operation that was open when the daemon was killed.
    interrupted: Option<u64>,
    /// What was open at the last stop, and what the engine has heard since its last event.
    open: Option<Open>,
    heard: Heard,
    /// New containers die when the next watch over them begins.
    strikes: bool,
    passed: BTreeMap<String, usize>,
}

/// The traps of one lab.
#[derive(Clone)]
pub struct Points {
    inner: Arc<Mutex<Inner>>,
    ledger: PathBuf,
    engine: Engine,
    /// The stack.
    name: String,
}

impl Points {
    /// Stands in the lab's way to the engine and to the ledger. The daemon is not started yet.
    pub fn of(lab: &Lab) -> Result<Self> {
        let points = Self {
            inner: Arc::default(),
            ledger: lab.path("state/ledger.db"),
            engine: lab.engine.clone(),
            name: lab.name.clone(),
        };
        let (at_calls, at_transactions) = (points.clone(), points.clone());
        lab.proxy.watch(Arc::new(move |moment, call: &Call| {
            let stop = if call.changes() {
                Stop::Call(moment)
            } else {
                Stop::Look
            };
            at_calls.goes_on(stop)
        }));
        lab.gate(move |commit| at_transactions.goes_on(Stop::Transaction(commit)))?;
        Ok(points)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the daemon. What it does before its number is known waits for that.
    pub fn start(&self, lab: &Lab) -> Result<()> {
        let mut inner = self.inner();
        lab.start()?;
        inner.pid = Some(lab.pid()?);
        inner.heard = Heard::Nothing;
        Ok(())
    }

    /// Sets a trap. With `strikes` the new containers are killed when the watch over them begins, so that
    /// the operation is taken back.
    pub fn set(&self, trap: Trap, strikes: bool) {
        let mut inner = self.inner();
        inner.trap = Some(trap);
        inner.strikes |= strikes;
        inner.sprung = None;
    }

    /// At the trap that is set, `deed` is done, and the daemon lives on.
    pub fn instead(&self, deed: Deed) {
        self.inner().deed = Some(deed);
    }

    /// The point at which the daemon was killed, once.
    pub fn sprung(&self) -> Option<String> {
        self.inner().sprung.take()
    }

    /// Takes the trap away; whether there was one.
    pub fn clear(&self) -> bool {
        let mut inner = self.inner();
        inner.strikes = false;
        inner.interrupted = None;
        inner.deed = None;
        inner.trap.take().is_some()
    }

    /// How often each point was passed.
    pub fn passed(&self) -> BTreeMap<String, usize> {
        self.inner().passed.clone()
    }

    /// Whether what stands at `stop` goes on; if not, it has just been killed.
    fn goes_on(&self, stop: Stop) -> bool {
        let mut inner = self.inner();
        // While a daemon that was just started puts its ledger in order, nobody can look into it.
        let Ok(open) = read(&self.ledger) else { return true };
        let place = |open: &Option<Open>| open.as_ref().map(|open| (open.id, open.events));
        if place(&open) != place(&inner.open) {
            inner.heard = Heard::Nothing;
        }
        inner.heard = match (stop, inner.heard) {
            (Stop::Look, Heard::Nothing) => Heard::Look,
            (Stop::Call(Moment::Sent), _) => Heard::Sent,
            (Stop::Call(Moment::Answered), _) => Heard::Answered,
            (_, heard) => heard,
        };
        let before = std::mem::replace(&mut inner.open, open);
        let point = match (&inner.open, &before) {
            (Some(open), _) => (open.id, name(open, inner.heard, stop)),
            (None, Some(ended)) if stop == Stop::Transaction(Commit::After) => {
                (ended.id, format!("{}.ended", ended.kind))
            }
            _ => return true,
        };
        self.at(&mut inner, point)
    }

    fn at(&self, inner: &mut Inner, (operation, mut point): (u64, String)) -> bool {
        if inner.interrupted == Some(operation) {
            point = format!("recovery.{point}");
        }
        *inner.passed.entry(point.clone()).or_default() += 1;
        if inner.strikes && point.ends_with(".watch.started") {
            inner.strikes = false;
            if let Err(error) = strike(&self.engine, &self.name, operation) {
                eprintln!("the new containers were not struck: {error:#}");
            }
        }
        let springs = match &mut inner.trap {
            Some(Trap::At(wanted)) => *wanted == point,
            Some(Trap::Nth(left)) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            None => false,
        };
        let Some(pid) = inner.pid.filter(|_| springs) else {
            return true;
        };
        inner.trap = None;
        if let Some(deed) = inner.deed.take() {
            deed();
            inner.sprung = Some(point);
            return true;
        }
        inner.pid = None;
        inner.interrupted = Some(operation);
        if let Err(error) = kill(pid) {
            eprintln!("{error:#}");
        }
        inner.sprung = Some(point);
        false
    }
}

/// Kills what an operation has made; others on this engine count from one as well.
fn strike(engine: &Engine, stack: &str, operation: u64) -> Result<()> {
    let of = format!("label=com.docker.compose.project={stack}");
    let by = format!("label=io.steadfast.operation={operation}");
    let made = engine.docker(&["ps", "-q", "--filter", &of, "--filter", &by])?;
    let mut words = vec!["kill"];
    words.extend(made.lines());
    ensure!(words.len() > 1, "operation {operation} has made nothing");
    engine.docker(&words).map(drop)
}

fn kill(pid: u32) -> Result<()> {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    ensure!(killed.context("cannot kill")?.success(), "{pid} is not there");
    Ok(())
}
