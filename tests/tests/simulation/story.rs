//! One run: a host, people, faults, and the real loop of one stack in the middle of it. At the end everything
//! outside is well again, and the stack has to come to rest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::backoff::Backoff;
use agent::inputs;
use agent::reconcile::{Edges, Inbox, Nudge, Nudges, Stack, Wish};
use agent::run::{Event, Paths, keep};
use agent::shared::{AboutEnv, ActKind, Order, Shared as Published};
use agent::source::Repository;
use config::settings::Settings;
use state::backup::Dumped;
use state::env_version::versions;
use state::files::OnDisk;
use state::last_resort::RestoreBackup;
use state::ledger::{MemoryStore, Objects, Store};
use state::name::{Digest, ImageId, StackName};
use state::record::{Answer, Approval, StackRecord, Standing};
use state::release::{Author, Generation, Verdict};
use steadfast_tests::disk::Disk;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) mod deaths;
pub(crate) mod tales;

use crate::database::{Data, Server, Stays, manual};
use crate::edges::{Clocks, Files, Killed, Ledger, Log, OfAgent, Probes, Schema, Shared, contents, lock};
use crate::engine::Simulated;
use crate::hand::{self, Act, Consequence};
use crate::laws::Terms;
use crate::repository::{self, Sources};
use crate::scenes::{self, Cue};
use crate::world::{Faults, Tracking, World};

pub(crate) const SECRET: &str = "hunter2-never-to-be-seen";
pub(crate) const IDENTITY: &str = "agent-one";
const STATE: &str = "/state";
const RIVAL: &str = "agent-two";
/// So many changes and records at rest are no rest.
const SPIN: u64 = 30;
/// So many changes and records are one try to heal that replaces containers, and is taken back.
const TRY: u64 = 80;
/// So many services may be ill at a time, each with a patience of its own.
const SERVICES: u64 = 4;

/// How fast a story goes, and how much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The terms of a stack that nobody has configured: five minutes, half an hour, an hour. Hours of trouble.
    Real,
    /// All terms an eighth of that, and trouble of minutes: for many runs.
    Brief,
}

impl Pace {
    /// So many times as fast as the real one.
    fn times(self) -> u32 {
        match self {
            Self::Real => 1,
            Self::Brief => 8,
        }
    }

    /// A span of the real pace at this one.
    pub(crate) fn span(self, real: Duration) -> Duration {
        real / self.times()
    }

    /// How long people and faults are at work.
    fn troubled(self) -> Duration {
        match self {
            Self::Real => Duration::from_secs(2 * 3600),
            Self::Brief => Duration::from_secs(360),
        }
    }

    /// How long the stack has to come to rest then.
    fn settles(self) -> Duration {
        self.span(Duration::from_secs(5400))
    }

    /// How long it is watched at rest: longer than any term but the budget's.
    fn rests(self) -> Duration {
        self.span(Duration::from_secs(1800))
    }

    /// What is written in steadfast.toml.
    fn settings(self, budget: u64, data: &Data, source: bool, tracking: Tracking) -> String {
        let terms = match self {
            Self::Real => String::new(),
            Self::Brief => format!("{BRIEF}budget = {budget}\n"),
        };
        let upgrade = if data.by_itself {
            "upgrade = \"stack\"\n"
        } else {
            ""
        };
        let database = if data.migrates {
            let tool = if data.one_way { ONE_WAY } else { MIGRATES };
            format!("{tool}{upgrade}{BACKUPS}{}", data.manual)
        } else {
            String::new()
        };
        let restores = match data.restores {
            RestoreBackup::Allow => "allow",
            RestoreBackup::Ask => "ask",
            RestoreBackup::Never => "never",
        };
        let stays = match data.stays {
            Stays::None | Stays::Odd => "",
            Stays::All => "rollback_schema = \"keep\"",
            Stays::Asks => "rollback_schema = \"ask\"",
        };
        let counts = if data.checks.is_empty() { "0s" } else { "10s" };
        let checks = data.checks;
        let settings = SETTINGS
            .replace("RESTORES", restores)
            .replace("COUNTS", counts)
            .replace("STAYS", stays)
            .replace("TRACK", tracking.settings());
        let source = if source { SOURCE } else { "" };
        format!("{settings}{source}{terms}{database}{checks}")
    }
}

const BRIEF: &str = r#"
[stack.shop.trial]
window = "38s"
good_after = "38s"
trial_max = "225s"
budget_per = "450s"
"#;

const SOURCE: &str = r#"
[stack.shop.source]
git = "/srv/repository"
"#;

const MIGRATES: &str = r#"
[stack.shop.database.migrations]
tool = "alembic"
service = "api"
timeout = "2m"
"#;

/// A tool whose history says what it cannot take back.
const ONE_WAY: &str = r#"
[stack.shop.database.migrations]
tool = "custom"
service = "api"
timeout = "2m"
current = "SELECT version FROM {table}"
history = ["migrate", "history"]
upgrade = ["migrate", "upgrade", "{revision}"]
downgrade = ["migrate", "downgrade", "{revision}"]
sql = ["migrate", "downgrade", "base", "--sql"]
"#;

const CHECKS: &str = r#"
[[stack.shop.database.integrity]]
name = "orders"
query = "SELECT count(*) > 0 FROM orders"
expect = true
"#;

const BACKUPS: &str = r#"
[stack.shop.database.backup]
schedule = "1h"
verify = "list"
keep = 2
max_age = "30m"
"#;

const SETTINGS: &str = r#"
[agent]
state_dir = "/state"
desired = "/etc/steadfast/desired.toml"
settle = "5s"

[stack.shop]
directory = "/srv/shop"
compose = ["compose.yaml"]
env_file = ".env"
TRACK

[stack.shop.database]
service = "db"
restore_backup = "RESTORES"
count_within = "COUNTS"
STAYS

# So that a desired.toml without the shop is a valid one.
[stack.other]
directory = "/srv/other"
compose = ["compose.yaml"]

[[stack.shop.probe]]
name = "api"
service = "api"
kind = "http"
port = 8000

[[stack.shop.probe]]
name = "web"
service = "web"
kind = "http"
url = "http://127.0.0.1:8080/"
"#;

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) broken: Vec<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) ending: String,
    pub(crate) kills: u32,
    /// Changes through the engine by the agent.
    pub(crate) changes: u64,
    /// These, and what was written to the ledger: after each the laws were asked.
    pub(crate) states: u64,
    /// How long it took in the story.
    pub(crate) simulated: Duration,
    /// The crash points at which the agent was killed, how often.
    pub(crate) points: BTreeMap<String, u32>,
    /// What went wrong, how often.
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

/// One in so many seeds is of the real pace.
const REAL: u64 = 20;

/// Runs one seed.
pub(crate) fn run(seed: u64) -> Outcome {
    run_one(seed, false)
}

/// Runs one seed and keeps the trace.
pub(crate) fn trace(seed: u64) -> Outcome {
    run_one(seed, true)
}

fn run_one(seed: u64, traced: bool) -> Outcome {
    let pace = if seed.is_multiple_of(REAL) {
        Pace::Real
    } else {
        Pace::Brief
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let mut world = World::new(seed, pace);
    world.data.migrates = seed % 4 == 3;
    world.data.by_itself = seed % 16 == 15;
    world.data.stays = match seed % 64 {
        35 => Stays::All,
        51 => Stays::Odd,
        59 => Stays::Asks,
        _ => Stays::None,
    };
    world.data.manual = manual(seed, world.data.stays);
    if matches!(seed % 64, 23 | 39 | 47) {
        world.data.checks = CHECKS;
    }
    world.data.one_way = matches!(seed % 64, 7 | 43 | 55);
    if matches!(seed % 32, 25 | 26) {
        world.sources = Some(Sources::default());
    }
    world.tracking = match seed % 32 {
        5 => Tracking::Directory,
        13 => Tracking::Restart,
        21 => Tracking::Signal,
        _ => Tracking::File,
    };
    if seed % 32 == 7 {
        world.data.restores = RestoreBackup::Allow;
    }
    world.traced = traced;
    let world = Arc::new(Mutex::new(world));
    let log = Log(Arc::clone(&world));
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || log.clone())
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_max_level(tracing::Level::INFO)
        .finish();
    tracing::subscriber::with_default(subscriber, || runtime.block_on(story(world)))
}

/// The agent's process.
pub(crate) struct Running {
    task: tokio::task::JoinHandle<()>,
    pub(crate) nudges: Nudges,
    stop: watch::Sender<bool>,
    pub(crate) published: Arc<Published>,
}

pub(crate) struct Host {
    pub(crate) world: Shared,
    pub(crate) clocks: Arc<Clocks>,
    settings: Settings,
    pub(crate) stack: StackName,
    kept: Arc<MemoryStore>,
    /// Where the objects are; a power cut takes from it what was not durable.
    disk: Disk,
    pub(crate) agent: Option<Running>,
    /// A second agent, with a state directory of its own, that has no business here.
    rival: Option<Running>,
    rivals: bool,
}

/// A host with the files of the stack and an agent that is not started, to which nothing happens by itself.
pub(crate) fn host(shared: &Shared) -> Host {
    let text = {
        let mut world = lock(shared);
        let source = world.sources.is_some();
        if source {
            world.tracking = Tracking::Checked;
        }
        world
            .pace
            .settings(world.budget, &world.data, source, world.tracking)
    };
    let (settings, _) = config::settings::parse(Path::new("/etc/steadfast/steadfast.toml"), &text)
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    let stack: StackName = "shop".parse().expect("a name");
    let mut held = lock(shared);
    let world = &mut *held;
    let trial = &settings.stacks[&stack].trial;
    world.laws.terms = Some(Terms {
        window: trial.window,
        good_after: trial.good_after,
        interval: Duration::from_secs(10),
        pass_after: 2,
        fail_after: 3,
        budget: trial.budget as usize,
        budget_per: trial.budget_per,
        secret: SECRET.to_owned(),
    });
    let compose = match &world.sources {
        Some(_) => Sources::compose(),
        None => hand::compose(world.tracking),
    };
    world.write(hand::COMPOSE, compose);
    hand::write_conf(world, 0);
    hand::write_env(world, SECRET, (0, 0));
    hand::ask(world, hand::TAGS[0]);
    Host {
        world: Arc::clone(shared),
        clocks: Arc::new(Clocks::new()),
        settings,
        stack,
        kept: Arc::new(MemoryStore::new()),
        disk: Disk::new(Path::new(STATE)),
        agent: None,
        rival: None,
        rivals: false,
    }
}

async fn story(shared: Shared) -> Outcome {
    let mut host = host(&shared);
    let theirs = host.populate();
    host.start();
    host.trouble().await;
    if lock(&host.world).laws.broken.is_empty() {
        host.calm().await;
        host.settle().await;
        host.judge(&theirs);
    }
    let ending = host.ending();
    for agent in host.agent.take().into_iter().chain(host.rival.take()) {
        agent.task.abort();
    }
    let world = lock(&host.world);
    Outcome {
        broken: world.laws.broken.clone(),
        trace: world.trace.clone(),
        ending,
        kills: world.kills,
        changes: world.changes,
        states: world.changes + world.writes,
        simulated: host.clocks.elapsed(),
        points: world
            .points
            .hit
            .iter()
            .map(|(point, times)| (point.to_string(), *times))
            .collect(),
        faults: world.faulted.clone(),
    }
}

/// The containers of others, as they were.
type Foreign = BTreeMap<state::name::ContainerId, String>;

/// How bad a run is: from no faults of the engine at all to many.
fn faults(harm: u64) -> Faults {
    let harm = u32::try_from(harm).unwrap_or(0);
    Faults {
        lost: 4 * harm,
        unanswered: 4 * harm,
        refused: 4 * harm,
        killed: 2 * harm,
        full: harm,
        broken: harm,
        silent: 10 * harm,
        slow: 10 * harm,
        deaf: 100 * harm,
        registry: 150 * harm,
    }
}

impl Host {
    /// Images, containers of others, maybe the stack itself, and how much goes wrong: by the dice.
    fn populate(&mut self) -> Foreign {
        let (theirs, found, harm) = {
            let mut held = lock(&self.world);
            let world = &mut *held;
            hand::make_images(world);
            let foreign = hand::add_foreign(world);
            let alike = |id: &state::name::ContainerId| (id.clone(), format!("{:?}", world.containers[id]));
            let theirs: Foreign = foreign.iter().map(alike).collect();
            let (found, harm) = (world.dice.in_thousand(400), world.dice.number(0..4));
            self.rivals = world.dice.in_thousand(150);
            if world.dice.in_thousand(400) {
                world.scene = scenes::draw(world).into();
            }
            (theirs, found, harm)
        };
        if found {
            let mut world = lock(&self.world);
            if world.data.migrates {
                world.schema = crate::database::at(1);
            }
            drop(world);
            hand::compose_up(&self.world, &self.settings.stacks[&self.stack]);
        }
        lock(&self.world).faults = faults(harm);
        theirs
    }

    pub(crate) fn start(&mut self) {
        // It may be killed before its loop begins, too.
        self.agent = self.unless_killed(|host| host.start_as(IDENTITY, Arc::clone(&host.kept)));
        self.tell_files();
    }

    fn unless_killed<T>(&self, act: impl FnOnce(&Self) -> T) -> Option<T> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(self)))
            .map_err(|panic| {
                if !panic.is::<Killed>() {
                    std::panic::resume_unwind(panic);
                }
            })
            .ok()
    }

    fn wish(&self, wish: &Wish) {
        for agent in self.agent.iter().chain(&self.rival) {
            // One that is busy is told again by its resync.
            drop(agent.nudges.give(Nudge::Wish(wish.clone())));
            drop(agent.nudges.give(Nudge::LookAgain));
        }
    }

    /// A second agent comes up, once the first one has claimed the stack.
    fn start_rival(&mut self) {
        let marker = format!("io.steadfast.owner.{}", self.stack);
        if self.rivals && self.rival.is_none() && lock(&self.world).volumes.contains_key(&marker) {
            self.rival = Some(self.start_as(RIVAL, Arc::new(MemoryStore::new())));
        }
    }

    fn start_as(&self, identity: &str, kept: Arc<MemoryStore>) -> Running {
        let (stop, stopped) = watch::channel(false);
        let (nudges, inbox) = Inbox::new();
        let (events, heard) = mpsc::channel(16);
        let disk = if identity == IDENTITY {
            self.disk.clone()
        } else {
            Disk::new(Path::new(STATE))
        };
        let open = |disk: &Disk| {
            let objects = Objects::open(Arc::new(disk.clone()), Path::new(STATE));
            Arc::new(objects.expect("a disk"))
        };
        let objects = open(&disk);
        let ledger: Arc<dyn Store> = Arc::new(Ledger {
            objects: Arc::clone(&objects),
            disk,
            kept,
            identity: identity.to_owned(),
            stray: identity != IDENTITY,
            world: Arc::clone(&self.world),
            clocks: Arc::clone(&self.clocks),
        });
        let published = Arc::new(Published::new(ledger.host_key()));
        let server = Arc::new(Server {
            world: Arc::clone(&self.world),
            clocks: Arc::clone(&self.clocks),
            agent: identity.to_owned(),
        });
        let edges = Edges {
            engine: Arc::new(Simulated {
                world: Arc::clone(&self.world),
                clocks: Arc::clone(&self.clocks),
                agent: identity.to_owned(),
            }),
            database: Arc::new(Schema {
                world: Arc::clone(&self.world),
                clocks: Arc::clone(&self.clocks),
            }),
            maintenance: server.clone(),
            backups: server.clone(),
            rows: server,
            prober: Arc::new(Probes {
                world: Arc::clone(&self.world),
                clocks: Arc::clone(&self.clocks),
                stack: self.stack.clone(),
                stray: identity != IDENTITY,
            }),
            clock: Arc::clone(&self.clocks) as Arc<dyn agent::clock::Clock>,
            files: Arc::new(OfAgent {
                world: Arc::clone(&self.world),
                clocks: Arc::clone(&self.clocks),
                objects: if identity == IDENTITY {
                    objects
                } else {
                    open(&self.disk)
                },
                agent: identity.to_owned(),
            }),
            source: self.repository(identity),
            store: ledger,
        };
        lock(&self.world).note(format!("{identity} starts"));
        let stack = Stack::open(
            self.settings.stacks[&self.stack].clone(),
            self.settings.policy.clone(),
            self.settings.agent.settle,
            self.settings.agent.resync,
            edges,
            Arc::clone(&published),
            stopped.clone(),
            inbox,
        )
        .expect("the ledger can be read");
        let paths: Paths = Arc::default();
        let task = tokio::spawn(async move {
            Box::pin(keep(stack, stopped, &events, &paths)).await;
            drop::<mpsc::Receiver<Event>>(heard);
        });
        if identity == IDENTITY {
            let mut world = lock(&self.world);
            world.started_at = self.clocks.elapsed();
            world.agent = Some(task.abort_handle());
        }
        Running {
            task,
            nudges,
            stop,
            published,
        }
    }

    fn repository(&self, identity: &str) -> Option<Arc<dyn Repository>> {
        self.settings.stacks[&self.stack].source.as_ref()?;
        Some(Arc::new(repository::Simulated {
            world: Arc::clone(&self.world),
            clocks: Arc::clone(&self.clocks),
            agent: identity.to_owned(),
        }))
    }

    /// As the daemon does when a file changed.
    pub(crate) fn tell_files(&self) {
        let files = Files(Arc::clone(&self.world));
        let wish = match inputs::read_desired(&files, Path::new(hand::DESIRED), &self.settings.stacks) {
            Ok(desired) => desired
                .get(&self.stack)
                .map_or(Wish::LetGo, |entry| Wish::Asked(Box::new(entry.clone()))),
            Err(problems) => Wish::Unreadable(problems),
        };
        self.wish(&wish);
    }

    /// As the daemon does when the engine says that something changed; what the engine says may be lost, or come
    /// twice, or late, and so after what happened later.
    fn tell_containers(&self) {
        let Some(agent) = &self.agent else { return };
        let (times, late) = {
            let mut world = lock(&self.world);
            let deaf = world.faults.deaf;
            if world.dice.in_thousand(deaf) {
                match world.dice.number(0..3) {
                    0 => {
                        world.injected("event: lost", "AN EVENT IS LOST");
                        (0, 0)
                    }
                    1 => {
                        world.injected("event: doubled", "AN EVENT COMES TWICE");
                        (2, 0)
                    }
                    _ => {
                        world.injected("event: out of order", "AN EVENT COMES LATE");
                        (1, world.dice.number(1..60))
                    }
                }
            } else {
                (1, 0)
            }
        };
        let nudges = agent.nudges.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(late)).await;
            for _ in 0..times {
                drop(nudges.give(Nudge::Containers));
            }
        });
    }

    fn order(&self, act: ActKind) {
        // Whoever asked has hung up.
        drop(self.ask(act));
    }

    /// Gives an order; what comes of it says what it was answered. `None`: nobody takes it.
    pub(crate) fn ask(
        &self,
        act: ActKind,
    ) -> Option<oneshot::Receiver<Result<agent::shared::Accepted, agent::shared::Refusal>>> {
        let agent = self.agent.as_ref()?;
        let dump = self.about(act)?;
        let env = self.about_env(act)?;
        let (answer, answered) = oneshot::channel();
        let order = Order {
            stack: self.stack.clone(),
            act,
            by: Author::Person {
                uid: 0,
                name: Some(String::from("root")),
            },
            reason: Some(String::from("because")),
            ask: None,
            dump,
            database: None,
            env,
            answer,
        };
        agent.nudges.give(Nudge::Order(order)).ok()?;
        Some(answered)
    }

    /// What is restored: the newest backup that was proven. Outer `None`: there is none.
    #[allow(
        clippy::option_option,
        reason = "nothing to restore is another thing than nothing to name"
    )]
    fn about(&self, act: ActKind) -> Option<Option<Dumped>> {
        if act != ActKind::Restore {
            return Some(None);
        }
        let newest = lock(&self.world).data.newest_proven()?;
        Some(Some(Dumped::Backup(newest)))
    }

    /// What is put back: the newest version of `.env` that is not asked for, also where the agent has put it there
    /// itself. Outer `None`: there is none.
    #[allow(
        clippy::option_option,
        reason = "nothing to put back is another thing than nothing to name"
    )]
    fn about_env(&self, act: ActKind) -> Option<Option<AboutEnv>> {
        if act != ActKind::RestoreEnv {
            return Some(None);
        }
        let env = Path::new(hand::ENV);
        let is = lock(&self.world).files.get(env).map(|bytes| Digest::of(bytes));
        let disk = OnDisk::from([(env.to_owned(), is)]);
        let all = versions(&self.record(), env, &self.kept.host_key(), &disk);
        let other = all.into_iter().find(|version| !version.is_asked_for)?;
        Some(Some(AboutEnv::Version {
            id: other.id,
            of: None,
        }))
    }

    /// Sees whether the agent lives; a panic that was no kill is one of its own.
    pub(crate) async fn look_after(&mut self) {
        let Some(agent) = &mut self.agent else {
            return;
        };
        if !agent.task.is_finished() {
            return;
        }
        if let Err(error) = (&mut agent.task).await
            && error.is_panic()
            && !error.into_panic().is::<Killed>()
        {
            lock(&self.world).laws.breaks(0, "the agent panicked");
        }
        self.agent = None;
    }

    /// Waits for the next act: as long as the dice say, or for what a scene needs. The act that it tells.
    async fn next_act(&self) -> Option<Act> {
        let beat = lock(&self.world).scene.front().copied();
        let Some(beat) = beat else {
            let wait = {
                let mut world = lock(&self.world);
                let longest = world.dice.weighted(&[(3, 20), (4, 120), (2, 700)]);
                world.some_time(1..longest)
            };
            tokio::time::sleep(wait).await;
            return None;
        };
        let begun = self.clocks.elapsed();
        let look = lock(&self.world).pace.span(Duration::from_secs(2));
        loop {
            let now = self.clocks.elapsed();
            let cue = lock(&self.world).cue(beat.once, now.saturating_sub(begun));
            match cue {
                Cue::Now => {
                    lock(&self.world).scene.pop_front();
                    return Some(beat.act);
                }
                Cue::Cut => {
                    lock(&self.world).scene.clear();
                    return Some(Act::Rest);
                }
                Cue::Wait { asked: true } => self.order(ActKind::Approve),
                Cue::Wait { asked: false } => {}
            }
            let alive = self.agent.as_ref().is_some_and(|agent| !agent.task.is_finished());
            let over = now >= lock(&self.world).pace.troubled();
            if !alive || over || !lock(&self.world).laws.broken.is_empty() {
                return Some(Act::Rest);
            }
            tokio::time::sleep(look).await;
        }
    }

    async fn trouble(&mut self) {
        let pace = lock(&self.world).pace;
        while self.clocks.elapsed() < pace.troubled() {
            let told = self.next_act().await;
            self.look_after().await;
            if self.agent.is_none() {
                self.start();
                continue;
            }
            if !lock(&self.world).laws.broken.is_empty() {
                return;
            }
            self.start_rival();
            let settings = self.settings.stacks[&self.stack].clone();
            match hand::act(&self.world, &self.clocks, &settings, SECRET, told) {
                Consequence::None => {}
                Consequence::Files => self.tell_files(),
                Consequence::FilesTwice(after) => {
                    self.tell_files();
                    tokio::time::sleep(after).await;
                    hand::ask(&mut lock(&self.world), hand::TAGS[0]);
                    self.tell_files();
                }
                Consequence::Containers => self.tell_containers(),
                Consequence::Dies => {
                    self.end_agent(false).await;
                    self.lose_power();
                }
                Consequence::Order(act) => self.order(act),
            }
            let polite = lock(&self.world).dice.in_thousand(20);
            if polite {
                self.end_agent(true).await;
            }
        }
    }

    /// The agent ends: by SIGTERM, or with the host.
    pub(crate) async fn end_agent(&mut self, politely: bool) {
        let Some(mut agent) = self.agent.take() else {
            return;
        };
        lock(&self.world).note(if politely {
            "== SIGTERM"
        } else {
            "== the host goes down"
        });
        if politely {
            let _ = agent.stop.send(true);
            if tokio::time::timeout(Duration::from_secs(25), &mut agent.task)
                .await
                .is_ok()
            {
                return;
            }
        }
        agent.task.abort();
        // Gone, however it ended.
        let _ = agent.task.await;
    }

    /// What was not durable may be gone: and nothing that the ledger refers to is.
    fn lose_power(&self) {
        let mut world = lock(&self.world);
        world.laws.kept.clear();
        self.disk
            .cut(|of| usize::try_from(world.dice.number(0..of as u64)).unwrap_or(0));
        let objects = Objects::open(Arc::new(self.disk.clone()), Path::new(STATE)).expect("a disk");
        let record = self.record();
        for digest in contents(&record) {
            match objects.get(digest) {
                Ok(Some(_)) => {}
                other => {
                    world
                        .laws
                        .breaks(10, format!("an object that is referred to is lost: {other:?}"));
                }
            }
        }
    }

    /// All that was wrong outside is over.
    async fn calm(&mut self) {
        {
            let mut world = lock(&self.world);
            world.note("== everything outside is well again");
            world.faults = Faults::default();
            world.outage = false;
            world.hushed_until = Duration::ZERO;
            hand::leave(&mut world);
            world.sick_until = world.sick_until.min(world.now);
            world.away_until = Duration::ZERO;
        }
        self.look_after().await;
        if self.agent.is_none() {
            self.start();
        }
        self.tell_files();
    }

    /// Gives the stack time to come to rest; what then still changes things without end is no rest.
    async fn settle(&mut self) {
        let pace = lock(&self.world).pace;
        let count = |world: &World| world.changes + world.writes;
        let begun = |world: &World| world.laws.operations;
        let step = pace.rests() / 10;
        let end = self.clocks.elapsed() + pace.settles();
        let (mut quiet, mut before) = (0, u64::MAX);
        while self.clocks.elapsed() < end && quiet < 10 {
            tokio::time::sleep(step).await;
            self.look_after().await;
            let world = lock(&self.world);
            if self.agent.is_none() || !world.laws.broken.is_empty() {
                return;
            }
            let now = count(&world);
            drop(world);
            quiet = if now == before && self.is_at_rest() {
                quiet + 1
            } else {
                0
            };
            before = now;
        }
        if quiet == 10 {
            return;
        }
        // What is under way comes to its end first: a migration that never ends takes all of its time.
        let late = self.clocks.elapsed() + pace.settles();
        while self.clocks.elapsed() < late && self.record().operation.is_some() {
            tokio::time::sleep(step).await;
        }
        let before = count(&lock(&self.world));
        let begun_before = begun(&lock(&self.world));
        tokio::time::sleep(pace.rests()).await;
        let mut world = lock(&self.world);
        let (changes, begun) = (count(&world) - before, begun(&world) - begun_before);
        // What cannot be healed is tried again with patience; of each service one try may be due within any span.
        let tries = (pace.rests().as_secs() / Backoff::LONGEST.as_secs() + 1) * SERVICES;
        if changes > SPIN + begun.min(tries) * TRY {
            world
                .laws
                .breaks(13, format!("{changes} changes and records at rest"));
        }
    }

    /// Whether nothing is left to be done: a failure that has just begun is not answered yet.
    fn is_at_rest(&self) -> bool {
        let well = |world: &World| {
            ["api", "web"]
                .iter()
                .all(|s| world.answer(&self.stack, s).is_ok())
        };
        self.unrest().is_none() && (is_excused(&self.record()) || well(&lock(&self.world)))
    }

    /// Why the stack has not come to rest; `None`: it has.
    fn unrest(&self) -> Option<String> {
        let record = self.record();
        if record.operation.is_some() {
            return Some(format!("an operation is open for ever: {:?}", record.operation));
        }
        let current = record.current().map(|g| g.verdict);
        let steady = match &record.standing {
            Standing::Applied(number) => {
                current == Some(Verdict::Good)
                    && record.generation(*number).is_some_and(|g| answers(&record, g))
            }
            Standing::Quarantined(_) => current == Some(Verdict::Good),
            Standing::Pending => false,
        };
        if steady || is_excused(&record) {
            return None;
        }
        let agent = self.agent.as_ref();
        let waits = agent
            .and_then(|a| a.published.get(&self.stack))
            .map(|s| s.waits.clone());
        Some(format!(
            "not steady: {:?}, current is {current:?}, it waits for {waits:?}",
            record.standing
        ))
    }

    pub(crate) fn record(&self) -> StackRecord {
        self.kept.load(&self.stack).expect("the ledger can be read")
    }

    /// Invariant 13, and that nothing is left behind.
    fn judge(&self, foreign: &Foreign) {
        let (record, unrest) = (self.record(), self.unrest());
        let mut world = lock(&self.world);
        let world = &mut *world;
        if self.agent.as_ref().is_none_or(|agent| agent.task.is_finished()) {
            world.laws.breaks(13, "the agent does not run at the end");
        }
        for (id, before) in foreign {
            let after = world.containers.get(id).map(|c| format!("{c:?}"));
            let same = after.as_ref().is_some_and(|after| is_alike(before, after));
            if !same {
                world
                    .laws
                    .breaks(12, format!("a foreign container was {before}, is {after:?}"));
            }
        }
        if let Some(agent) = &self.agent
            && let Some(snapshot) = agent.published.get(&self.stack)
            && format!("{snapshot:?}").contains(SECRET)
        {
            world.laws.breaks(11, "a secret is in what is published");
        }
        world.is_held_rightly(&record);
        world.lets_everybody_in(&record);
        if let Some(unrest) = unrest {
            world.laws.breaks(13, unrest);
            return;
        }
        if is_excused(&record) {
            return;
        }
        world.has_its_files(&record);
        let left: Vec<String> = world
            .containers
            .values()
            .filter(|c| c.name.contains(".old-") || c.name.contains(".new-"))
            .map(|c| c.name.clone())
            .collect();
        if !left.is_empty() {
            world.laws.breaks(13, format!("left behind: {left:?}"));
        }
        // What has begun to fail lately is known, and its window runs.
        let window = world
            .laws
            .terms
            .as_ref()
            .map_or(Duration::ZERO, |terms| terms.window);
        if record.health.failing_since.is_some() && Duration::from_millis(record.health.failing_ms) < window {
            return;
        }
        for service in ["api", "web"] {
            // What comes and goes has not been heard to fail often enough yet.
            if let Err(why) = world.answer(&self.stack, service)
                && !world.was_heard_to_pass(service)
            {
                world.laws.breaks(13, format!("steady, and yet: {why}"));
            }
        }
    }

    /// Where it ended, for the count of endings.
    fn ending(&self) -> String {
        let record = self.record();
        if let Some(hold) = &record.hold {
            let why: String = hold
                .why
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .take(260)
                .collect();
            let world = lock(&self.world);
            let well = ["api", "web"]
                .iter()
                .all(|service| world.answer(&self.stack, service).is_ok());
            return format!("held{}: {why}", if well { " though well" } else { "" });
        }
        match (&record.approval, &record.standing) {
            (Some(approval), _) if approval.answer.is_none() => format!("asks: {:?}", approval.ask),
            (_, Standing::Quarantined(_)) => String::from("rolled back"),
            (_, Standing::Applied(_)) => String::from("as asked"),
            (_, Standing::Pending) => String::from("pending"),
        }
    }
}

/// Whether a generation is what the request in force asks for: by what it is made of, tags move.
fn answers(record: &StackRecord, generation: &Generation) -> bool {
    let Some(request) = &record.request else {
        return false;
    };
    let release = &generation.release;
    let same = release.env == request.env
        && release.config == request.config
        && release.migration == request.desired.migration;
    let named = |image: &ImageId| record.resolved.values().any(|resolved| resolved == image);
    generation.request == request.id() || (same && release.images.values().all(named))
}

/// Whether a person is waited for. A pause ends by itself, by the wall clock after a reboot.
fn is_excused(record: &StackRecord) -> bool {
    // What was denied waits for a new request, and says so.
    let granted = |a: &Approval| matches!(a.answer, Some((Answer::Granted, _)));
    let asks = record.approval.as_ref().is_some_and(|a| !granted(a));
    record.hold.is_some() || record.pause.is_some() || asks
}

/// Alike but for what a restarted engine changes by itself.
fn is_alike(before: &str, after: &str) -> bool {
    let name = |text: &str| text.split(", ").next().map(str::to_owned);
    name(before) == name(after) && after.contains("state: Running")
}
