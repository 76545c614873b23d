//! One stack, one pass: look at the files, observe, compare, decide, act. What woke the pass is
//! never asked. At most one pass is in flight per stack, so at most one operation is.

mod attend;
mod backups;
mod env;
mod files;
mod heal;
mod health;
mod inbox;
mod keep;
mod last_resort;
mod operate;
mod orders;
mod parsed;
mod preview;
mod request;
mod schema;
mod show;
mod source;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::error::Problem;
use config::settings::{PgName, ProbeSettings, StackSettings};
use state::bug::{self, Bug};
use state::common::Common;
use state::desired::Desired;
use state::drift::{Drift, Wanted};
use state::files::OnDisk;
use state::health::Sample;
use state::journal::Kind;
use state::ledger::{LedgerError, Store};
use state::name::{ContainerId, Digest, ProbeName, ServiceName, StackName};
use state::naming::Dialect;
use state::observed::{ContainerObs, Known, SchemaHead};
use state::policy::{ProbePolicy, SeverityMatrix};
use state::record::{Change, StackRecord};
use state::release::{GenerationNumber, Verdict};
use state::retention::surplus;
use state::stack_spec::StackSpec;
use state::strangers::Sightings;
use state::time::Moment;
use tokio::sync::watch;

use self::attend::End;
use crate::backoff::Backoff;
use crate::backup::{Backups, Listing, Progress};
use crate::clock::Clock;
use crate::database::{Database, DatabaseCopy, Maintenance};
use crate::engine::{Engine, EngineError, EngineInfo};
use crate::files::Files;
use crate::inputs::{Inputs, Look};
use crate::probe::Prober;
use crate::recent::Recent;
use crate::rows::Rows;
use crate::service::Heart;
use crate::shared::{Again, Next, Shared};
use crate::source::Repository;
use crate::took::Took;
use crate::watch::Settled;

use files::Others;
use heal::slot;
pub use health::Answered;
pub use inbox::{Heard, Inbox, Nudge, Nudges};
use orders::Called;
use parsed::Parsed;
pub(crate) use preview::{Foreseen, foresee};
use source::Fetching;

/// How often what nothing needs any more is forgotten.
const COLLECT_EVERY: Duration = Duration::from_secs(60 * 60);

/// So many looks at the engine are under way at a time.
const AT_ONCE: usize = 8;

/// What was due in a pass and was not done has something in its way: it is looked at again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// Everything outside, each behind a trait.
#[derive(Clone)]
pub struct Edges {
    /// The Docker Engine.
    pub engine: Arc<dyn Engine>,
    /// The stack's database.
    pub database: Arc<dyn Database>,
    /// What is done to it as a whole.
    pub maintenance: Arc<dyn Maintenance>,
    /// Its backups.
    pub backups: Arc<dyn Backups>,
    /// The rows that were taken out of it.
    pub rows: Arc<dyn Rows>,
    /// Health probes.
    pub prober: Arc<dyn Prober>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The operator's files.
    pub files: Arc<dyn Files>,
    /// The repository that the stack's releases come from.
    pub source: Option<Arc<dyn Repository>>,
    /// The ledger.
    pub store: Arc<dyn Store>,
}

/// What was read of desired.toml for one stack.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// Its entry.
    Asked(Box<Desired>),
    /// The file is good and has no entry for it: let go, nothing is touched.
    LetGo,
    /// The file cannot be used; the last valid entry stays in force.
    Unreadable(Vec<Problem>),
}

impl Wish {
    /// What `read` of desired.toml says of `stack`.
    pub fn of(read: &Result<BTreeMap<StackName, Desired>, Vec<Problem>>, stack: &StackName) -> Self {
        match read {
            Ok(all) => match all.get(stack) {
                Some(entry) => Self::Asked(Box::new(entry.clone())),
                None => Self::LetGo,
            },
            Err(problems) => Self::Unreadable(problems.clone()),
        }
    }
}

/// When to make the next pass, without being woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requeue(pub Duration);

/// How often healing one container has been tried, and when it may be tried again.
struct Healing {
    backoff: Backoff,
    /// How often it was down; what says nothing about it counts not.
    tries: u32,
    /// Whether a try has failed, for whatever reason.
    failed: bool,
    last: Moment,
    not_before: Moment,
}

/// One stack, with what is remembered only while the daemon runs.
pub struct Stack {
    settings: StackSettings,
    matrix: SeverityMatrix,
    resync: Duration,
    edges: Edges,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    inbox: Inbox,
    /// By which the daemon knows that this loop is alive.
    heart: Arc<Heart>,
    /// Orders that begin after the end of the operation that they have called away.
    called: VecDeque<Called>,
    /// Whether nothing is carried out and nothing claimed ([`foresee`]).
    only_looks: bool,

    record: StackRecord,
    wish: Wish,
    /// Since when the daemon has seen no entry in desired.toml. What came of it is in the record.
    let_go_at: Option<Moment>,
    settle: Duration,
    inputs: Option<Arc<Inputs>>,
    /// What was read last of the files.
    looked: Option<Look>,
    /// What was on the disk then, whoever has put it there.
    disk: OnDisk,
    /// Since when files are others than those of what runs.
    others: Others,
    /// The files that are not as the release has them that runs, in words; and when they may be put again.
    file_drift: Vec<String>,
    files_put: Option<(Backoff, Moment)>,
    /// What is known of the repository that releases come from.
    fetching: Fetching,
    problems: Vec<Problem>,
    settled: Settled<Digest>,
    settle_left: Option<Duration>,
    look_at: Option<Moment>,

    engine_info: Known<EngineInfo>,
    owned: bool,
    /// The other agent whose stack this is, and when that was asked.
    owner: Option<(String, Moment)>,
    seen: Vec<ContainerObs>,
    /// When that was: beside a deploy nobody looks.
    seen_at: Option<Moment>,
    drift: Vec<Drift>,
    wanted: Option<Arc<Wanted>>,
    parsed: Parsed,
    probes: Arc<[ProbeSettings]>,
    policies: Arc<[ProbePolicy]>,
    addresses: BTreeMap<ContainerId, IpAddr>,
    running_since: BTreeMap<ContainerId, Moment>,
    /// When the containers were seen for the first time: what ran then has run for longer.
    watching_since: Option<Moment>,
    restarts_before: BTreeMap<ContainerId, u32>,
    restarts_last: BTreeMap<ContainerId, u32>,
    restarts_of: Option<GenerationNumber>,
    sightings: Sightings,
    schema: Option<Known<SchemaHead>>,
    schema_at: Option<Moment>,
    /// Since when a release waits for a schema that cannot be seen.
    unseen_since: Option<Moment>,
    /// When it was last tried, and not done, to read again what was read of an image.
    relearnt_at: Option<Moment>,
    /// When it was last tried to open a database that was left barred.
    unbarred_at: Option<Moment>,
    available: BTreeMap<GenerationNumber, Result<(), String>>,
    available_at: Option<Moment>,

    asking: BTreeSet<ProbeName>,
    asked: BTreeMap<ProbeName, Moment>,
    /// How long the last answers took that said something.
    latencies: BTreeMap<ProbeName, Duration>,
    /// What they have answered lately; only shown.
    recent: BTreeMap<ProbeName, Common<Recent>>,
    healing: BTreeMap<(ServiceName, u32), Healing>,
    /// What failed in passing, with the patience for it.
    retry: Option<(Backoff, Again)>,
    saved: Option<Moment>,
    collected: Option<Moment>,
    /// How far the step that is under way is, and when that was last shown.
    progress: Option<Progress>,
    counted_at: Option<Moment>,
    /// The backups that there are, and when that was looked at.
    backups: Known<Arc<Listing>>,
    backups_at: Option<Moment>,
    /// What lies beside the database, when that was looked at, and what the database is called.
    beside: Vec<DatabaseCopy>,
    beside_at: Option<(Moment, bool)>,
    database_name: Option<PgName>,
    /// How large it is.
    database_bytes: Option<u64>,
    /// How long the last operations took, the newest first.
    past: Arc<[Took]>,
    /// Why the last backup that nobody asked for failed, and when the next one may be tried.
    backup_problem: Option<String>,
    backup_not_before: Option<Moment>,
    /// How often a copy left by a rollback could not be backed up, and when it is tried again.
    copy_tried: Option<(u32, Moment)>,
    /// When it was last looked which backups may go; and since when this agent looks at all.
    forgot_at: Option<Moment>,
    /// How often it could not be done that rows which were taken back are put in, and when it is tried again.
    put_in_tried: Option<(u32, Moment)>,
    /// When it was last looked which of them may go.
    forgot_rows_at: Option<Moment>,
    opened_at: Moment,
    waits: Vec<String>,
    /// What the step that is under way waits for.
    held_up: Option<String>,
    /// Whether the disk was full in the last pass.
    full: bool,
    agreement: Agreement,
    next: Option<Next>,
}

impl Stack {
    /// A stack with what the ledger remembers of it.
    #[allow(
        clippy::too_many_arguments,
        reason = "one call, in `run`, with named arguments"
    )]
    pub fn open(
        settings: StackSettings,
        matrix: SeverityMatrix,
        settle: Duration,
        resync: Duration,
        edges: Edges,
        shared: Arc<Shared>,
        stop: watch::Receiver<bool>,
        inbox: Inbox,
    ) -> Result<Self, LedgerError> {
        let mut record = edges.store.load(&settings.name)?;
        record.health.reopen();
        if bug::is(Bug::RestartForgetsTheFailure) {
            record.health.failing_ms = 0;
        }
        let probes: Arc<[ProbeSettings]> = settings.probes.clone().into();
        let policies = probes.iter().map(|p| p.policy.clone()).collect();
        let opened_at = edges.clock.now();
        let heart = shared.hearts().of(&settings.name);
        let mut stack = Self {
            settings,
            matrix,
            resync,
            edges,
            shared,
            stop,
            inbox,
            heart,
            called: VecDeque::new(),
            only_looks: false,
            record,
            wish: Wish::Unreadable(Vec::new()),
            let_go_at: None,
            settle,
            inputs: None,
            looked: None,
            disk: OnDisk::new(),
            others: Others::default(),
            file_drift: Vec::new(),
            files_put: None,
            fetching: Fetching::default(),
            problems: Vec::new(),
            settled: Settled::new(settle),
            settle_left: None,
            look_at: None,
            engine_info: Known::Unknown(String::from("not asked yet")),
            owned: false,
            owner: None,
            seen: Vec::new(),
            seen_at: None,
            drift: Vec::new(),
            wanted: None,
            parsed: Parsed::default(),
            probes,
            policies,
            addresses: BTreeMap::new(),
            running_since: BTreeMap::new(),
            watching_since: None,
            restarts_before: BTreeMap::new(),
            restarts_last: BTreeMap::new(),
            restarts_of: None,
            sightings: Sightings::default(),
            schema: None,
            schema_at: None,
            unseen_since: None,
            relearnt_at: None,
            unbarred_at: None,
            available: BTreeMap::new(),
            available_at: None,
            asking: BTreeSet::new(),
            asked: BTreeMap::new(),
            latencies: BTreeMap::new(),
            recent: BTreeMap::new(),
            healing: BTreeMap::new(),
            retry: None,
            saved: None,
            collected: None,
            progress: None,
            counted_at: None,
            backups: Known::Unknown(String::from("not looked at yet")),
            backups_at: None,
            beside: Vec::new(),
            beside_at: None,
            database_name: None,
            database_bytes: None,
            past: Arc::new([]),
            backup_problem: None,
            backup_not_before: None,
            copy_tried: None,
            forgot_at: None,
            put_in_tried: None,
            forgot_rows_at: None,
            opened_at,
            waits: Vec::new(),
            held_up: None,
            next: None,
            full: false,
            agreement: Agreement::Sure,
        };
        // Which probes there are is known before anything is counted: what only one of the generation's own
        // sees to fail would be over otherwise.
        stack.wanted()?;
        stack.see_backups();
        stack.see_past();
        // Known to whoever asks, before anything was looked at.
        stack.publish();
        Ok(stack)
    }

    /// What is remembered of the stack.
    pub fn record(&self) -> &StackRecord {
        &self.record
    }

    /// By which the daemon knows that this stack's loop is alive.
    pub fn heart(&self) -> &Heart {
        &self.heart
    }

    /// The files that make up the stack's requests, as far as they are known.
    pub fn files(&self) -> BTreeSet<std::path::PathBuf> {
        let mut files: BTreeSet<_> = self.settings.compose.paths().into_iter().collect();
        files.insert(self.settings.env_file.path().to_owned());
        files.extend(self.settings.track.iter().cloned());
        files.extend(self.settings.track_below.iter().cloned());
        if let Some(inputs) = &self.inputs {
            files.extend(inputs.files.iter().cloned());
            // What comes into a directory that lies in a tracked one.
            let inner = inputs.files.iter().flat_map(|file| file.ancestors().skip(1));
            let inner = inner.filter(|directory| self.settings.tracks(directory));
            files.extend(inner.map(std::path::Path::to_owned));
        }
        files
    }

    /// Takes what desired.toml says now.
    pub fn wish(&mut self, wish: Wish) {
        if wish != Wish::LetGo {
            self.let_go_at = None;
        } else if self.let_go_at.is_none() {
            self.let_go_at = Some(self.now());
        }
        if self.wish != wish {
            self.forget_fetched();
        }
        self.wish = wish;
        self.look_again();
    }

    /// How long until a stack that was taken out of desired.toml is let go; zero when it is. The
    /// file may be half-written.
    fn let_go_in(&self) -> Option<Duration> {
        if self.record.let_go.is_some() {
            return Some(Duration::ZERO);
        }
        let since = self.now().since(self.let_go_at.as_ref()?).unwrap_or_default();
        Some(self.settle.saturating_sub(since))
    }

    /// Whether nothing is begun: no entry is there, or none has been valid since there was none.
    fn is_let_go(&self) -> bool {
        (self.wish == Wish::LetGo || self.record.let_go.is_some()) && !bug::is(Bug::LetGoIsTouched)
    }

    /// Something about the files changed: they are read again in the next pass.
    pub fn look_again(&mut self) {
        self.look_at = None;
    }

    /// Something about the containers changed: addresses may have.
    pub fn containers_changed(&mut self) {
        self.addresses.clear();
    }

    /// The next thing that is heard; `None`: nobody nudges any more. Cancel-safe.
    pub async fn heard(&mut self) -> Option<Heard> {
        self.inbox.next().await
    }

    /// Takes what was heard, and all else that is here already. `true`: a pass is worth its while.
    pub async fn take_all(&mut self, heard: Option<Heard>) -> bool {
        let mut look = false;
        let mut next = heard.or_else(|| self.inbox.try_next());
        while let Some(heard) = next {
            match heard {
                Heard::Nudge(Nudge::Order(order)) => {
                    self.order(order).await;
                    look = true;
                }
                Heard::Nudge(nudge) => {
                    self.take(nudge);
                    look = true;
                }
                // An answer that only says the same again costs the engine no call.
                Heard::Answer(answer) => look |= self.answered(answer),
            }
            next = self.inbox.try_next();
        }
        look
    }

    /// Takes a nudge that is no order.
    fn take(&mut self, nudge: Nudge) {
        match nudge {
            Nudge::Wish(wish) => self.wish(wish),
            Nudge::LookAgain => self.look_again(),
            Nudge::Containers => self.containers_changed(),
            Nudge::Order(_) => {}
        }
    }

    /// A pass, and another one after each order that called an operation away. Returns when to make
    /// the next one without being woken; probes are asked apart from it ([`Stack::ask_due`]).
    pub async fn pass(&mut self) -> Requeue {
        loop {
            let requeue = self.one_pass().await;
            if !self.order_after().await {
                return requeue;
            }
        }
    }

    /// Whether an order waits: nothing else is begun before it.
    fn is_called_away(&self) -> bool {
        !self.called.is_empty()
    }

    async fn one_pass(&mut self) -> Requeue {
        self.waits.clear();
        self.next = None;
        self.see_backups();
        let outcome = self.try_pass().await;
        // What is somebody else's is looked at no further.
        if outcome.is_ok() {
            self.heart.sees();
        }
        let requeue = match outcome {
            Ok(requeue) => requeue,
            Err(Stop::Engine(error)) => self.engine_away(&error),
            Err(Stop::Ledger(error)) => self.ledger_away(&error),
        };
        // What was called away may look like an end: whoever waits for what comes next sees that first.
        if !self.is_called_away() || self.record.operation.is_some() {
            self.publish();
        }
        requeue
    }

    async fn try_pass(&mut self) -> Result<Requeue, Stop> {
        self.be_sure()?;
        self.end_pause()?;
        // What is open comes to its end before anything new is taken: its end says what became of its request.
        let mut room = true;
        let open = self.record.operation.as_ref().map(|open| open.operation.kind);
        if let Some(kind) = open.filter(|_| !bug::is(Bug::SecondOperation)) {
            self.reach().await?;
            if !self.own().await? {
                return Ok(Requeue(self.resync));
            }
            // What a restart has found half-way is tried again with the same patience; a heal has its own.
            if let End::Failed {
                why, passing: true, ..
            } = self.carry_on().await?
                && !matches!(kind, Kind::Heal | Kind::Backup)
            {
                self.back_off(kind, &why);
            }
            let over = !self.is_called_away() && self.record.operation.is_none();
            if over {
                room = self.look_at_files()?;
            }
        } else {
            room = self.look_at_files()?;
            self.reach().await?;
        }
        if self.is_called_away() {
            return Ok(self.next_pass());
        }
        self.observe().await?;
        // What follows may take its time; whoever waits for a first look has it.
        self.heart.sees();
        let noted = self.note_writers();
        room &= self.unless_full(noted)?;
        let counted = self.take_health();
        room &= self.unless_full(counted)?;
        if *self.stop.borrow() {
            return Ok(Requeue(self.resync));
        }
        if self.is_paused() {
            let pause = String::from("the end of the pause, or `steadfast resume`");
            self.waits.insert(0, pause);
            self.compare()?;
            self.look_past_the_pause().await?;
            return Ok(self.next_pass());
        }
        if self.is_let_go() {
            // What is asked for again is known by its files, and they may have to be fetched.
            if room && self.wish != Wish::LetGo {
                let fetched = self.fetch_source().await;
                room = self.unless_full(fetched)?;
            }
            self.waits.push(self.an_entry());
        } else {
            room = self.decide_and_act(room).await?;
        }
        self.full &= !room;
        Ok(self.next_pass())
    }

    fn look_at_files(&mut self) -> Result<bool, Stop> {
        let looked = self.look();
        self.unless_full(looked)
    }

    /// What follows from what was seen: something new is begun, what runs is healed, and judged.
    async fn decide_and_act(&mut self, mut room: bool) -> Result<bool, Stop> {
        room = room && self.has_reserve()?;
        // What is asked for waits for that.
        if self.record.unseen.is_some() && self.goes_on() {
            self.open_and_look_into_database().await?;
        }
        if room {
            let begun = self.begin_what_is_new().await;
            room = self.unless_full(begun)?;
        }
        // What is bad is left before any of it is brought up again.
        if self.goes_on() && self.record.operation.is_none() {
            self.unfinished_rollback().await?;
        }
        if self.goes_on() {
            self.open_and_look_into_database().await?;
        }
        if self.goes_on() {
            self.put_files_right().await?;
        }
        if self.goes_on() {
            self.heal().await?;
        }
        if self.goes_on() {
            self.judge().await?;
        }
        // Nothing is begun by it that anything else would wait for.
        if room && self.goes_on() {
            let kept = Box::pin(self.keep_backups()).await;
            room = self.unless_full(kept)?;
        }
        Ok(room)
    }

    /// Whether the rest of a pass is worth its while: what was heard beside an operation may say that nothing more is to
    /// be touched. What only looks sees what comes after a pause.
    fn goes_on(&self) -> bool {
        let rests = self.is_paused() && !self.only_looks;
        !self.is_called_away() && !rests && !self.is_let_go()
    }

    /// What is new is begun only where there is room for what may have to mend it.
    fn has_reserve(&mut self) -> Result<bool, Stop> {
        let has = self.edges.store.ensure_reserve()?;
        if !has {
            if !self.full {
                tracing::error!(stack = %self.settings.name, "no space left for the reserve of the state directory: nothing new is begun");
            }
            self.full = true;
            self.waits
                .push(String::from("the ledger: no space left for its reserve"));
        }
        Ok(has)
    }

    async fn begin_what_is_new(&mut self) -> Result<(), Stop> {
        self.forget_surplus().await?;
        self.fetch_source().await?;
        let open = self.record.operation.is_some() && !bug::is(Bug::SecondOperation);
        if open || !self.goes_on() {
            return Ok(());
        }
        if !self.meet_stack().await? {
            return Ok(());
        }
        self.check_availability().await?;
        self.answer_request().await?;
        if self.goes_on() {
            self.learn_again().await?;
        }
        Ok(())
    }

    /// Forgets what nothing needs any more, now and then.
    async fn forget_surplus(&mut self) -> Result<(), Stop> {
        let now = self.now();
        let age = self.collected.as_ref().and_then(|at| now.since(at));
        if age.is_some_and(|age| age < COLLECT_EVERY) {
            return Ok(());
        }
        self.collected = Some(now.clone());
        self.forget_checkouts().await;
        match surplus(&self.record, self.settings.trial.budget_per, &now) {
            Some(surplus) => self.commit(&[Change::Collect(Box::new(surplus))]),
            None => Ok(()),
        }
    }

    /// A full disk stops what is new, and not what mends: that is journaled on the reserve. `false`: it is full.
    fn unless_full(&mut self, done: Result<(), Stop>) -> Result<bool, Stop> {
        match done {
            Ok(()) => Ok(true),
            Err(Stop::Ledger(error @ LedgerError::Full { .. })) => {
                if !self.full {
                    tracing::error!(stack = %self.settings.name, "{error}: nothing new is begun");
                }
                self.full = true;
                self.waits.push(format!("the ledger: {error}"));
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    fn is_paused(&self) -> bool {
        self.record.pause.is_some()
    }

    fn end_pause(&mut self) -> Result<(), Stop> {
        let now = self.now();
        if let Some(pause) = &self.record.pause
            && now.until(&pause.until).is_zero()
        {
            let over = state::order::end_of_pause(&self.record);
            self.commit(&over)?;
        }
        Ok(())
    }

    fn now(&self) -> Moment {
        self.edges.clock.now()
    }

    /// Makes changes durable, then applies them.
    fn commit(&mut self, changes: &[Change]) -> Result<(), Stop> {
        if changes.is_empty() {
            return Ok(());
        }
        let stack = self.record.stack.clone();
        let impossible = |source| LedgerError::Impossible {
            stack: stack.clone(),
            source,
        };
        // One change is taken whole or not at all, and the store refuses what is impossible.
        if let [change] = changes {
            self.write(changes)?;
            self.record.apply(change).map_err(impossible)?;
            return Ok(());
        }
        let mut after = self.record.clone();
        for change in changes {
            after.apply(change).map_err(impossible)?;
        }
        self.write(changes)?;
        self.record = after;
        Ok(())
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), LedgerError> {
        let written = self.edges.store.commit(&self.record.stack, changes);
        if bug::is(Bug::UnwrittenCounts) {
            return Ok(());
        }
        if let Err(error) = &written {
            self.note_unsure(error);
        }
        written
    }

    /// A write that failed may be durable all the same, unless no room was left for it; and what is impossible was
    /// thought of by one who did not know the ledger.
    fn note_unsure(&mut self, error: &LedgerError) {
        if !matches!(error, LedgerError::Full { .. }) {
            self.agreement = Agreement::Unsure;
        }
    }

    /// After a write that failed, what the ledger says is what is so.
    pub(crate) fn be_sure(&mut self) -> Result<(), Stop> {
        if self.agreement == Agreement::Sure {
            return Ok(());
        }
        let mut known = self.edges.store.load(&self.record.stack)?;
        let trial = |record: &StackRecord| record.current().map(|g| (g.number, g.applied.clone()));
        if trial(&known) == trial(&self.record) {
            // What was counted since it was last written down is as true as before.
            known.health = self.record.health.clone();
        } else {
            known.health.counted = None;
        }
        self.record = known;
        self.agreement = Agreement::Sure;
        Ok(())
    }

    /// Reaches the engine.
    async fn reach(&mut self) -> Result<(), Stop> {
        if self.engine_info.known().is_none() {
            self.engine_info = Known::Known(self.edges.engine.info().await?);
            self.owned = false;
        }
        Ok(())
    }

    /// Before anything is touched: this stack is this agent's on this engine (invariant 1). Looking
    /// alone claims nothing.
    async fn own(&mut self) -> Result<bool, Stop> {
        if self.owned || self.only_looks || bug::is(Bug::OwnerIsNotAsked) {
            return Ok(true);
        }
        let name = self.settings.name.clone();
        let now = self.now();
        let lately = |at: &Moment| now.since(at).is_some_and(|age| age < self.resync);
        let owner = if let Some((owner, _)) = self.owner.as_ref().filter(|(_, at)| lately(at)) {
            owner.clone()
        } else {
            let mine = self.edges.store.identity();
            let owner = self.edges.engine.claim(&name, &mine).await?;
            self.owned = owner == mine;
            if self.owned {
                self.owner = None;
                return Ok(true);
            }
            if self.owner.as_ref().is_none_or(|(before, _)| *before != owner) {
                tracing::error!(stack = %name, "another agent ({owner}) owns this stack on this engine: nothing of it is touched");
            }
            self.owner = Some((owner.clone(), now));
            owner
        };
        let way_out = format!(
            "if it is gone for good, `docker volume rm io.steadfast.owner.{name}` and wait for the next look"
        );
        let wait = format!("the other agent ({owner}) that owns this stack on this engine; {way_out}");
        if !self.waits.contains(&wait) {
            self.waits.push(wait);
        }
        Ok(false)
    }

    /// Sees the containers and the schema.
    async fn observe(&mut self) -> Result<(), Stop> {
        self.see_containers().await?;
        let now = self.now();
        self.see_schema(&now).await;
        // On the heap, as all that is rare: every pass has room for it.
        Box::pin(self.see_beside(&now)).await;
        Ok(())
    }

    /// Sees the containers: one call where nothing changed.
    async fn see_containers(&mut self) -> Result<(), Stop> {
        let seen = self.edges.engine.containers(&self.settings.name).await;
        self.seen = match seen {
            Err(_) if bug::is(Bug::UnknownIsAbsent) => Vec::new(),
            seen => seen?,
        };
        let now = self.now();
        self.seen_at = Some(now.clone());
        self.watching_since.get_or_insert_with(|| now.clone());
        self.running_since
            .retain(|id, _| self.seen.iter().any(|c| c.id == *id && c.state.is_running()));
        self.note_restarts();
        for container in self.seen.iter().filter(|c| c.state.is_running()) {
            self.running_since
                .entry(container.id.clone())
                .or_insert_with(|| now.clone());
        }
        self.sightings.take(&self.seen, &now);
        Ok(())
    }

    /// How often containers had been restarted before this generation had them: not its doing.
    fn note_restarts(&mut self) {
        let now: BTreeMap<ContainerId, u32> = self
            .seen
            .iter()
            .filter_map(|c| Some((c.id.clone(), c.restarts?)))
            .collect();
        if self.restarts_of != self.record.current {
            // After a start of the daemon nothing is known of before: what is seen first is the past.
            let first = self.restarts_of.is_none();
            self.restarts_before = if first {
                now.clone()
            } else {
                self.restarts_last.clone()
            };
            self.restarts_of = self.record.current;
        }
        let policies = Arc::clone(&self.policies);
        for container in &self.seen {
            let before = self.restarts_last.get(&container.id);
            let (Some(before), Some(now)) = (before, now.get(&container.id)) else {
                continue;
            };
            if now > before {
                let times = now - before;
                self.record.health.died(&container.service, &policies, times);
            }
        }
        self.restarts_last.extend(now);
        let seen = &self.seen;
        self.restarts_last
            .retain(|id, _| seen.iter().any(|c| c.id == *id));
    }

    /// How names are joined in this stack: as its containers are named.
    fn dialect(&self) -> Dialect {
        let v1 = |c: &ContainerObs| c.name == format!("{}_{}_{}", self.settings.name, c.service, c.number);
        if self.seen.iter().any(v1) {
            Dialect::Underscore
        } else {
            Dialect::Hyphen
        }
    }

    /// The current generation, whole; read from its object once.
    fn wanted(&mut self) -> Result<Option<Arc<Wanted>>, LedgerError> {
        let Some(number) = self.record.current else {
            return Ok(None);
        };
        if self
            .wanted
            .as_ref()
            .is_none_or(|wanted| wanted.generation != number)
        {
            self.wanted = self.load_wanted(number)?.map(Arc::new);
            self.probes = match &self.wanted {
                Some(wanted) => self.probes_of(&wanted.spec).into(),
                None => self.settings.probes.clone().into(),
            };
            self.policies = self.probes.iter().map(|p| p.policy.clone()).collect();
            let policies = &self.policies;
            self.recent
                .retain(|probe, _| policies.iter().any(|p| p.name == *probe));
        }
        Ok(self.wanted.clone())
    }

    fn load_wanted(&self, number: GenerationNumber) -> Result<Option<Wanted>, LedgerError> {
        let Some(generation) = self.record.generation(number) else {
            return Ok(None);
        };
        let Some(spec) = self.load_spec(&generation.spec)? else {
            return Ok(None);
        };
        Ok(Some(Wanted::of(number, generation, spec)))
    }

    /// The stack that is kept under `digest`. That it is still there, and whole, is seen each time.
    fn load_spec(&self, digest: &Digest) -> Result<Option<Common<StackSpec>>, LedgerError> {
        let Some(bytes) = self.edges.store.object(digest)? else {
            return Ok(None);
        };
        Ok(self.parsed.of(digest, &bytes))
    }

    /// Compares the current generation with what was seen.
    fn compare(&mut self) -> Result<(), Stop> {
        let wanted = self.wanted()?;
        self.drift = match &wanted {
            Some(wanted) => {
                let lasting = self.probes.iter().map(|p| p.policy.service.clone()).collect();
                state::drift::drift(wanted, &self.record, &self.seen, &lasting)
            }
            None => Vec::new(),
        };
        Ok(())
    }

    fn engine_away(&mut self, error: &EngineError) -> Requeue {
        tracing::warn!(stack = %self.settings.name, "{error}");
        self.engine_info = Known::Unknown(error.to_string());
        self.waits.push(String::from("the docker engine"));
        self.addresses.clear();
        // Nothing was observed: whatever the probes say of containers now counts for nobody.
        let probes = Arc::clone(&self.policies);
        let now = self.now();
        for policy in probes.iter() {
            self.record
                .health
                .take(policy, Sample::Unknown(error.to_string()), &now);
        }
        self.record.health.count(&probes, &now);
        Requeue(Duration::from_secs(1))
    }

    fn ledger_away(&mut self, error: &LedgerError) -> Requeue {
        self.note_unsure(error);
        tracing::error!(stack = %self.settings.name, error = error as &dyn std::error::Error, "nothing is done that cannot be journaled");
        self.waits.push(format!("the ledger: {error}"));
        Requeue(Duration::from_secs(5))
    }

    /// When the next pass is due. What the probes say needs none as long as they say the same; but
    /// time counts as observed only from pass to pass, so the passes are never far apart.
    fn next_pass(&self) -> Requeue {
        let now = self.now();
        let mut next = self.resync;
        let mut due = |at: Duration| next = next.min(at);
        if let Some(left) = self.settle_left {
            due(left);
        }
        // What called an operation away is taken now.
        if self.look_at.is_none() {
            due(Duration::ZERO);
        }
        if let Some(shortest) = self.policies.iter().map(|p| p.interval).min() {
            let proven = self.record.current().is_some_and(|g| g.verdict == Verdict::Good);
            let well = proven && self.record.health.failing_since.is_none();
            due(if well { shortest * 2 } else { shortest });
        }
        if let Some(pause) = &self.record.pause {
            due(now.until(&pause.until));
            return Requeue(next.max(Duration::from_millis(20)));
        }
        // What is whole again is waited for by nobody, though its tries still count for a while.
        for healing in self
            .drift
            .iter()
            .filter_map(|drift| self.healing.get(&slot(drift)))
        {
            due(now.until(&healing.not_before).max(AGAIN));
        }
        if !self.drift.is_empty() {
            let at_work = self.sightings.at_work(&self.record, &self.seen, &now);
            at_work.into_values().for_each(&mut due);
            if let Some(wanted) = &self.wanted {
                let settling = self.drift.iter().map(|d| self.settles(d, wanted, &now));
                settling.filter(|left| !left.is_zero()).for_each(&mut due);
            }
        }
        if let Some(at) = self.next_backup() {
            let left = at.as_millisecond().saturating_sub(now.wall_ms);
            // What is due already waits for something that wakes by itself.
            if let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) {
                due(Duration::from_millis(left));
            }
        }
        if let Some((_, again)) = &self.retry {
            due(now.until(&again.at).max(AGAIN));
        }
        if let Some(again) = self.fetches_again() {
            due(now.until(again).max(AGAIN));
        }
        Requeue(next.max(Duration::from_millis(20)))
    }

    /// How long until a probe is to be asked ([`Stack::ask_due`]).
    pub fn next_question(&self) -> Duration {
        if !self.asks() {
            return self.resync;
        }
        let now = self.now();
        let due = self.probes.iter().map(|probe| self.until_due(probe, &now)).min();
        due.unwrap_or(self.resync).max(Duration::from_millis(20))
    }

    fn until_due(&self, probe: &ProbeSettings, now: &Moment) -> Duration {
        if self.asking.contains(&probe.policy.name) {
            return probe.policy.timeout + Duration::from_secs(1);
        }
        match self.asked.get(&probe.policy.name) {
            Some(at) => probe
                .policy
                .interval
                .saturating_sub(now.since(at).unwrap_or(probe.policy.interval)),
            None => Duration::ZERO,
        }
    }
}

/// Whether what the agent remembers is what its ledger says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agreement {
    /// Every write was answered.
    Sure,
    /// A write failed, so that the ledger alone knows what became of it.
    Unsure,
}

/// Why a pass ends early. Nothing is concluded from it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
