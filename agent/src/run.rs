//! The daemon: one task a stack, and one loop that hands on what wakes them. Events, file changes,
//! timers and orders only wake; what to do is found out by looking.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::settings::{EngineAddress, Settings};
use rustix::fs::StatVfsMountFlags;
use state::durable::HostFiles;
use state::ledger::{Ledger, LedgerError, Store};
use state::name::StackName;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::backup::{self, Archive};
use crate::clock::SystemClock;
use crate::control::{self, Access, Releases, SocketError, Sources};
use crate::database::Postgres;
use crate::engine::address::Address;
use crate::engine::{DockerEngine, Engine as _};
use crate::files::HostDisk;
use crate::http;
use crate::inputs;
use crate::log::Recent;
use crate::probe::NetProber;
use crate::reconcile::{Edges, Inbox, Nudge, Nudges, Stack, Wish};
use crate::rows::Keeper;
use crate::service::{Notify, Service, felt};
use crate::shared::{Order, Refusal, Shared};
use crate::signal::{Signal, Signals};
use crate::source::{self, GitRepository, Repositories, Repository};
use crate::watch::{FileWatch, WatchError};

/// How long a stop may take; what is in flight then is left to the journal.
const STOP_WITHIN: Duration = Duration::from_secs(25);
/// How often objects that nothing refers to are looked for; each is removed the second time.
const COLLECT_EVERY: Duration = Duration::from_secs(60 * 60);
/// So many of the operations that have ended are on the status page.
const SHOWN_OPERATIONS: u32 = 12;
/// How long the database may take to answer.
const DATABASE_WITHIN: Duration = Duration::from_secs(3);

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state directory.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The watch over the files.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The engine's address.
    #[error("the engine's address cannot be used: {0}")]
    Address(String),
    /// The probes' HTTP client.
    #[error("the http client cannot be made: {0}")]
    Prober(String),
    /// The kernel refused something.
    #[error("cannot {what}")]
    Io {
        /// A verb and what for.
        what: &'static str,
        /// What it said.
        source: std::io::Error,
    },
}

/// What wakes the daemon.
#[derive(Debug)]
pub enum Event {
    /// Some file changed.
    Files,
    /// A person asks.
    Order(Order),
    /// The kernel tells.
    Signal(Signal),
    /// The engine tells: of one stack, or of who knows which.
    Engine(Option<StackName>),
    /// The loop of a stack has ended.
    Ended(StackName),
}

/// Runs until it is told to stop. What it logs is heard by `recent`, for whoever watches.
pub async fn run(settings: Settings, recent: Arc<Recent>) -> Result<(), RunError> {
    let store: Arc<dyn Store> = Arc::new(Ledger::open(&settings.agent.state_dir)?);
    let edges = edges(&settings, Arc::clone(&store))?;
    tell_read_only(&settings);
    let shared = Arc::new(Shared::new(store.host_key()));
    let (events, inbox) = mpsc::channel(256);
    let (stop, stopped) = watch::channel(false);

    let mut tasks: JoinSet<()> = JoinSet::new();
    let repositories = repositories(&settings);
    let sources = Sources {
        shared: Arc::clone(&shared),
        store: Arc::clone(&store),
        files: Arc::clone(&edges.files),
        releases: Arc::new(Releases::new(&settings, &repositories)),
        clock: Arc::clone(&edges.clock),
        recent,
    };
    let control = serve_control(&settings, sources, &events, &stopped)?;
    follow_engine(&mut tasks, &edges, &events);
    let paths = Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    let stacks = open_stacks(
        &settings,
        &edges,
        &shared,
        &stopped,
        &events,
        &paths,
        &repositories,
    )?;
    serve_http(&mut tasks, &settings, &edges, &store, &shared)?;
    let wake = events.clone();
    let desired: BTreeSet<PathBuf> = [settings.agent.desired.clone()].into();
    // A full inbox has a look coming already.
    let files = FileWatch::new(desired, move || drop(wake.try_send(Event::Files)))?;
    let daemon = Daemon {
        settings,
        edges,
        service: Service::new(Notify::from_environment(), Arc::clone(&shared)),
        shared,
        stacks,
        files,
        paths,
        control,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        stacks = daemon.stacks.len(),
        "steadfast runs"
    );
    let outcome = daemon.serve(events, inbox, stop).await;
    tasks.abort_all();
    outcome
}

/// A directory that cannot be written to is told of at the start, and not first when a rollback has to put a file back.
fn tell_read_only(settings: &Settings) {
    for (name, stack) in &settings.stacks {
        let seen = rustix::fs::statvfs(&stack.directory);
        if seen.is_ok_and(|seen| seen.f_flag.contains(StatVfsMountFlags::RDONLY)) {
            tracing::error!(
                stack = %name,
                "{} is read-only here: none of its files can be put back; under systemd a drop-in with ReadWritePaths= is \
                 missing (docs/operations.md)",
                stack.directory.display()
            );
        }
    }
}

/// The files that each stack reads.
pub type Paths = Arc<std::sync::Mutex<BTreeMap<StackName, BTreeSet<PathBuf>>>>;
type Control = tokio::task::JoinHandle<Result<(), SocketError>>;

struct Daemon {
    settings: Settings,
    edges: Edges,
    shared: Arc<Shared>,
    service: Service,
    stacks: BTreeMap<StackName, Nudges>,
    files: FileWatch,
    paths: Paths,
    control: Control,
}

impl Daemon {
    async fn serve(
        mut self,
        events: mpsc::Sender<Event>,
        mut inbox: mpsc::Receiver<Event>,
        stop: watch::Sender<bool>,
    ) -> Result<(), RunError> {
        let mut signals = Signals::new().map_err(|source| RunError::Io {
            what: "listen for signals",
            source,
        })?;
        tokio::spawn(async move {
            while let Some(signal) = signals.next().await {
                if events.send(Event::Signal(signal)).await.is_err() {
                    return;
                }
            }
        });
        self.read_desired();
        let mut collect = tokio::time::interval(COLLECT_EVERY);
        collect.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased;
                // Cancel-safe: the handle is polled by reference and keeps its result.
                ended = &mut self.control => {
                    return match ended {
                        Ok(outcome) => outcome.map_err(RunError::from),
                        Err(_) => Ok(()),
                    };
                }
                // Cancel-safe: nothing is taken before it is told. It is due seldom, so that what follows is heard.
                () = self.service.next() => {
                    self.service.turn();
                    continue;
                }
                // Cancel-safe: a message is taken only when it is returned.
                event = inbox.recv() => event,
                // Cancel-safe: a tick that was not returned comes again.
                _ = collect.tick() => {
                    self.collect_objects();
                    continue;
                }
            };
            match event {
                None | Some(Event::Signal(Signal::StopNow)) => return Ok(()),
                Some(Event::Files) => {
                    self.read_desired();
                    self.nudge_all(|| Nudge::LookAgain);
                    self.watch_files();
                }
                Some(Event::Signal(Signal::LookAgain)) => {
                    tracing::info!("asked to look again; steadfast.toml is read at the start only");
                    self.service.reloads();
                    self.read_desired();
                    self.nudge_all(|| Nudge::LookAgain);
                    self.service.reloaded();
                }
                Some(Event::Engine(Some(stack))) => self.nudge(&stack, Nudge::Containers),
                Some(Event::Engine(None)) => self.nudge_all(|| Nudge::Containers),
                Some(Event::Order(order)) => self.order(order),
                Some(Event::Ended(stack)) => tracing::error!(%stack, "the loop of this stack ended"),
                Some(Event::Signal(Signal::Stop)) => break,
            }
        }
        tracing::info!("stopping");
        self.service.stops();
        // Nobody listens any more when every loop has ended.
        let _ = stop.send(true);
        self.wait_for_the_end(inbox).await;
        Ok(())
    }

    /// What no stack refers to any more goes: nothing depends on it, so a failure is only told.
    fn collect_objects(&self) {
        match self.edges.store.collect_objects() {
            Ok(0) => {}
            Ok(gone) => tracing::info!(gone, "objects that nothing refers to were removed"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no object is removed");
            }
        }
    }

    async fn wait_for_the_end(&mut self, mut inbox: mpsc::Receiver<Event>) {
        let mut open: BTreeSet<StackName> = self.stacks.keys().cloned().collect();
        let deadline = tokio::time::sleep(STOP_WITHIN);
        tokio::pin!(deadline);
        while !open.is_empty() {
            tokio::select! {
                biased;
                // Cancel-safe: a message is taken only when it is returned.
                event = inbox.recv() => match event {
                    Some(Event::Ended(stack)) => { open.remove(&stack); }
                    Some(Event::Signal(Signal::StopNow)) | None => return,
                    Some(_) => {}
                },
                // Cancel-safe: the same sleep is polled again.
                () = &mut deadline => {
                    tracing::warn!("not everything ended in time; the journal says how far it came");
                    return;
                }
            }
        }
        tracing::info!("stopped");
    }

    fn read_desired(&self) {
        let path = &self.settings.agent.desired;
        let read = inputs::read_desired(&*self.edges.files, path, &self.settings.stacks);
        if let Err(problems) = &read {
            for problem in problems {
                tracing::error!("{problem}; the last valid one stays in force");
            }
        }
        for (name, stack) in &self.stacks {
            // Only orders are ever given back.
            let _ = stack.give(Nudge::Wish(Wish::of(&read, name)));
        }
    }

    /// The files that the stacks read now, and desired.toml.
    fn watch_files(&self) {
        let paths = self
            .paths
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut all: BTreeSet<PathBuf> = paths.values().flatten().cloned().collect();
        all.insert(self.settings.agent.desired.clone());
        self.files.set_paths(all);
    }

    fn nudge(&self, stack: &StackName, nudge: Nudge) {
        if let Some(stack) = self.stacks.get(stack) {
            // Only orders are ever given back.
            let _ = stack.give(nudge);
        }
    }

    fn nudge_all(&self, nudge: impl Fn() -> Nudge) {
        for stack in self.stacks.values() {
            let _ = stack.give(nudge());
        }
    }

    fn order(&self, order: Order) {
        if let Some(stack) = self.stacks.get(&order.stack) {
            if let Err(order) = stack.give(Nudge::Order(order)) {
                let why = String::from("the stack is at work and cannot take one more order now");
                let way_out = Some(String::from("try again; `steadfast status` shows what it does"));
                let _ = order.answer.send(Err(Refusal {
                    why,
                    way_out,
                    code: 5,
                }));
            }
        } else {
            let why = format!("there is no stack {}", order.stack);
            let way_out = self
                .shared
                .all()
                .first()
                .map(|s| format!("there is {}", s.record.stack));
            let _ = order.answer.send(Err(Refusal {
                why,
                way_out,
                code: 2,
            }));
        }
    }
}

/// Everything outside, as the settings say.
pub(crate) fn edges(settings: &Settings, store: Arc<dyn Store>) -> Result<Edges, RunError> {
    let address = engine_address(settings)?;
    let clock = SystemClock::new().map_err(|source| RunError::Io {
        what: "read the clock",
        source,
    })?;
    let (engine, clock) = (Arc::new(DockerEngine::new(address)), Arc::new(clock));
    let postgres = Arc::new(Postgres::new(DATABASE_WITHIN));
    let kept = backup::Store::new(Arc::new(HostFiles), &settings.agent.state_dir);
    let rows = Keeper::new(postgres.clone(), Arc::new(HostFiles), &settings.agent.state_dir);
    Ok(Edges {
        rows: Arc::new(rows),
        backups: Arc::new(Archive::new(
            engine.clone(),
            postgres.clone(),
            clock.clone(),
            kept,
        )),
        engine,
        database: postgres.clone(),
        maintenance: postgres,
        prober: Arc::new(NetProber::new().map_err(RunError::Prober)?),
        clock,
        files: Arc::new(
            HostDisk::new(settings.stacks.values().map(|stack| stack.directory.clone()))
                .with_sources(source::place(&settings.agent.state_dir))
                .with_copies(settings.agent.state_dir.join("checked")),
        ),
        source: None,
        store,
    })
}

fn engine_address(settings: &Settings) -> Result<Address, RunError> {
    let address = match &settings.agent.engine {
        EngineAddress::Unix(path) => format!("unix://{}", path.display()),
        EngineAddress::Tcp { host, port } => format!("tcp://{}:{port}", host.as_str()),
    };
    address
        .parse::<Address>()
        .map_err(|error| RunError::Address(error.to_string()))
}

/// The repositories that releases come from, by stack.
pub(crate) fn repositories(settings: &Settings) -> Repositories {
    let place = source::place(&settings.agent.state_dir);
    let with = settings.stacks.iter().filter_map(|(name, stack)| {
        let from = stack.source.as_ref()?;
        let repository = GitRepository::new(place.join(name.as_str()), from.git.clone(), from.tags.clone());
        Some((name.clone(), Arc::new(repository) as Arc<dyn Repository>))
    });
    with.collect()
}

fn serve_control(
    settings: &Settings,
    sources: Sources,
    events: &mpsc::Sender<Event>,
    stopped: &watch::Receiver<bool>,
) -> Result<Control, RunError> {
    let (orders, mut taken) = mpsc::channel::<Order>(16);
    let events = events.clone();
    tokio::spawn(async move {
        while let Some(order) = taken.recv().await {
            if events.send(Event::Order(order)).await.is_err() {
                return;
            }
        }
    });
    let path = settings.agent.socket.clone();
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|source| RunError::Io {
            what: "make the socket's directory",
            source,
        })?;
    }
    let access = Access::new(settings.agent.control.clone());
    let mut stopped = stopped.clone();
    Ok(tokio::spawn(async move {
        let stop = async move {
            // The sender is gone when the daemon is: then it is the end, too.
            let _ = stopped.wait_for(|stop| *stop).await;
            // Answers that are under way are given.
            tokio::time::sleep(STOP_WITHIN).await;
        };
        control::serve(&path, sources, orders, access, stop).await
    }))
}

/// Tells metrics, where the settings say where. The engine is reached by a connection of its own: nobody who asks from
/// outside is in the way of the loops.
fn serve_http(
    tasks: &mut JoinSet<()>,
    settings: &Settings,
    edges: &Edges,
    store: &Arc<dyn Store>,
    shared: &Arc<Shared>,
) -> Result<(), RunError> {
    let Some(address) = settings.agent.http else {
        return Ok(());
    };
    let engine = Arc::new(DockerEngine::new(engine_address(settings)?));
    let ask: http::AskEngine = Arc::new(move || {
        let engine = Arc::clone(&engine);
        Box::pin(async move { engine.info().await.map(drop).map_err(|error| error.to_string()) })
    });
    let store = Arc::clone(store);
    let past: http::ReadPast = Arc::new(move |name| {
        let store = Arc::clone(&store);
        Box::pin(async move {
            // Reading the ledger blocks: not on the loop's thread.
            let ended = tokio::task::spawn_blocking(move || store.operations(&name, SHOWN_OPERATIONS)).await;
            let ended = ended.map_err(|error| error.to_string())?;
            ended.map_err(|error| error.to_string())
        })
    });
    let reading = http::Reading {
        shared: Arc::clone(shared),
        stacks: settings.stacks.keys().cloned().collect(),
        engine: ask,
        past,
        clock: Arc::clone(&edges.clock),
    };
    tasks.spawn(http::serve(address.get(), reading));
    Ok(())
}

/// Follows the engine's events; after every break everything is looked at again.
fn follow_engine(tasks: &mut JoinSet<()>, edges: &Edges, events: &mpsc::Sender<Event>) {
    let engine = Arc::clone(&edges.engine);
    let clock = Arc::clone(&edges.clock);
    let events = events.clone();
    tasks.spawn(async move {
        loop {
            let wake = events.clone();
            let on = move |event: crate::engine::EngineEvent| {
                let stack = event.project.and_then(|project| project.parse().ok());
                if stack.is_some() {
                    // A full inbox has a look coming already.
                    drop(wake.try_send(Event::Engine(stack)));
                }
            };
            if let Err(error) = engine.follow_events(&on).await {
                tracing::debug!("events: {error}");
            }
            clock.sleep(Duration::from_secs(1)).await;
            if events.send(Event::Engine(None)).await.is_err() {
                return;
            }
        }
    });
}

fn open_stacks(
    settings: &Settings,
    edges: &Edges,
    shared: &Arc<Shared>,
    stopped: &watch::Receiver<bool>,
    events: &mpsc::Sender<Event>,
    paths: &Paths,
    repositories: &Repositories,
) -> Result<BTreeMap<StackName, Nudges>, RunError> {
    let mut stacks = BTreeMap::new();
    for (name, stack) in &settings.stacks {
        let (sender, inbox) = Inbox::new();
        let repository = repositories.get(name).cloned();
        let stack = Stack::open(
            stack.clone(),
            settings.policy.clone(),
            settings.agent.settle,
            settings.agent.resync,
            Edges {
                source: repository,
                ..edges.clone()
            },
            Arc::clone(shared),
            stopped.clone(),
            inbox,
        )?;
        stacks.insert(name.clone(), sender);
        let (events, paths, stopped) = (events.clone(), Arc::clone(paths), stopped.clone());
        let (name, shared) = (name.clone(), Arc::clone(shared));
        tokio::spawn(async move {
            let heart = shared.hearts().of(&name);
            felt(&heart, Box::pin(keep(stack, stopped, &events, &paths))).await;
            // The daemon is gone when nobody takes this.
            let _ = events.send(Event::Ended(name)).await;
        });
    }
    Ok(stacks)
}

/// The loop of one stack: sleep until something wakes it, look, act. Comes back when it is told to stop.
pub async fn keep(
    mut stack: Stack,
    mut stopped: watch::Receiver<bool>,
    events: &mpsc::Sender<Event>,
    paths: &Paths,
) {
    stack.clear_checks();
    // The first pass waits for desired.toml.
    let mut pass_at = Instant::now() + Duration::from_secs(5);
    let mut ask_at = pass_at;
    let mut known = BTreeSet::new();
    loop {
        let until = pass_at.min(ask_at);
        stack
            .heart()
            .sleeps(until.saturating_duration_since(Instant::now()));
        let heard = tokio::select! {
            biased;
            // Cancel-safe: a watch loses no value.
            _ = stopped.wait_for(|stop| *stop) => return,
            // Cancel-safe: what is not returned stays.
            heard = stack.heard() => match heard {
                Some(heard) => Some(heard),
                None => return,
            },
            // Cancel-safe: a dropped sleep leaves nothing behind.
            () = tokio::time::sleep_until(until) => None,
        };
        stack.heart().turns();
        let look = stack.take_all(heard).await;
        let passes = look || pass_at <= Instant::now();
        if passes {
            let next = stack.pass().await;
            pass_at = Instant::now() + next.0;
        }
        stack.ask_due().await;
        ask_at = Instant::now() + stack.next_question();
        if !passes {
            continue;
        }
        let files = stack.files();
        if files != known {
            known.clone_from(&files);
            let mut all = paths.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            all.insert(stack.record().stack.clone(), files);
            drop(all);
            drop(events.try_send(Event::Files));
        }
    }
}
