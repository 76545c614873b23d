//! The daemon's end: bounded in connections, bytes and time, so that whoever asks wrongly, slowly or too often costs nobody
//! else an answer. It reads snapshots and what has ended, and asks the engine whether it is there; nothing else can be asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Router, middleware};
use futures_util::future::BoxFuture;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use state::journal::OpenOperation;
use state::name::StackName;
use state::observed::Known;
use state::record::StackRecord;
use state::time::Moment;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::events::events;
use super::exposition::Format;
use super::guard::guard;
use super::lease::Lease;
use super::metrics::render;
use super::page::{self, Frame, Past, Seen};
use crate::cli::Reader;
use crate::clock::Clock;
use crate::shared::Shared;
use crate::view::{History, wall};

/// So many connections are served at once; the next one is closed.
const MAX_CONNECTIONS: usize = 64;
/// So many of them may be pages that listen for changes.
pub(super) const MAX_LISTENERS: usize = 16;
/// So many bytes may a request have before its body, which is not read.
pub(super) const MAX_HEADER: usize = 16 * 1024;
/// How often an address that is in use is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// How long an answer of the engine, or of the ledger, is good for: however many ask, it is asked once.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// How long a client, and the engine, may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The client for its header; one that says nothing is closed after it.
    pub(super) request: Duration,
    /// The client for everything, reading the answer included.
    pub(super) connection: Duration,
    /// The engine for its answer.
    pub(super) engine: Duration,
    /// A page that listens for changes: then it comes again.
    pub(super) listening: Duration,
    /// Until it is told that the daemon is still there.
    pub(super) beat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(5),
            connection: Duration::from_secs(20),
            engine: Duration::from_secs(2),
            listening: Duration::from_secs(10 * 60),
            beat: Duration::from_secs(10),
        }
    }
}

/// Asks the engine whether it is there. `Err`: why not, for people.
pub type AskEngine = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Reads the operations of a stack that have ended, the newest first. `Err`: why they cannot be read, for people.
pub type ReadPast =
    Arc<dyn Fn(StackName) -> BoxFuture<'static, Result<Vec<OpenOperation>, String>> + Send + Sync>;

/// What is read for an answer.
#[derive(Clone)]
pub struct Reading {
    /// What the loops have published.
    pub shared: Arc<Shared>,
    /// The stacks that there should be.
    pub stacks: BTreeSet<StackName>,
    /// The engine.
    pub engine: AskEngine,
    /// The ledger, as far as it is history.
    pub past: ReadPast,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

pub(super) struct App {
    pub(super) reading: Reading,
    started: Timestamp,
    pub(super) limits: Limits,
    /// What this host is called.
    host: String,
    pub(super) listeners: Arc<Semaphore>,
    /// What the engine said last, and when.
    said: Mutex<Option<(Moment, Result<(), String>)>>,
    /// What the ledger said last of each stack, and when.
    past: Mutex<BTreeMap<StackName, (Moment, Past)>>,
}

/// Serves `address` for as long as the daemon lives. Where it is in use the daemon goes on without, and it is tried again.
pub async fn serve(address: SocketAddr, reading: Reading) {
    let started = wall(&reading.clock.now());
    let shared = Arc::clone(&reading.shared);
    // Between the stop of an old container and the start of a new one its port is nobody's, and is not taken.
    let at_rest = move || shared.all().iter().all(|seen| seen.record.operation.is_none());
    let listener = bind(address, TRY_AGAIN, at_rest).await;
    serve_on(listener, reading, started, Limits::default()).await;
}

pub(super) async fn bind(
    address: SocketAddr,
    again: Duration,
    may_take_it: impl Fn() -> bool,
) -> TcpListener {
    let mut told = false;
    loop {
        if !may_take_it() {
            tokio::time::sleep(again).await;
            continue;
        }
        match TcpListener::bind(address).await {
            Ok(listener) => {
                // Which port it is where the kernel was to choose one.
                let at = listener.local_addr().unwrap_or(address);
                tracing::info!("the status page is at http://{at}/, metrics are at http://{at}/metrics");
                return listener;
            }
            Err(error) if !told => {
                told = true;
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no status page and no metrics: cannot listen on {address}; all else goes on, and it is tried again every {}s. \
                     `http` in [agent] of steadfast.toml names another address, or none (false)",
                    again.as_secs()
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(again).await;
    }
}

pub(super) async fn serve_on(listener: TcpListener, reading: Reading, started: Timestamp, limits: Limits) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let router = router(App {
        reading,
        started,
        limits,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        listeners: Arc::new(Semaphore::new(MAX_LISTENERS)),
        said: Mutex::default(),
        past: Mutex::default(),
    });
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: others will be closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                let router = router.clone();
                tokio::spawn(async move {
                    let lease = Lease::new(limits.connection);
                    let router = router.layer(Extension(lease.clone()));
                    tokio::select! {
                        // Cancel-safe, both: whichever is left is dropped, and with it the connection.
                        () = connection(stream, router, limits) => {}
                        () = lease.over() => {}
                    }
                    drop(slot);
                });
            }
            // Closed: an answer before the question would not be understood.
            Err(_) => drop(stream),
        }
    }
}

async fn connection(stream: TcpStream, router: Router, limits: Limits) {
    // One request a connection, so that the deadline of a connection is that of a request. What the
    // client does wrong is its own affair: there is nobody to tell.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .keep_alive(false)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
}

fn router(app: App) -> Router {
    let nothing = "there is nothing here: ask for /, /stacks/NAME, /metrics, /healthz or /readyz\n";
    Router::new()
        .route("/", get(overview))
        .route("/stacks/{name}", get(stack))
        .route("/events", get(events))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .fallback(async move || (StatusCode::NOT_FOUND, nothing))
        .layer(middleware::from_fn(guard))
        .with_state(Arc::new(app))
}

async fn overview(State(app): State<Arc<App>>) -> Html<String> {
    let frame = app.frame();
    let shared = &app.reading.shared;
    let seen: Vec<Seen> = shared
        .all()
        .iter()
        .map(|snapshot| Seen::of(snapshot, shared, &frame.reader))
        .collect();
    let unseen = app
        .reading
        .stacks
        .iter()
        .filter(|name| shared.get(name).is_none());
    let unseen: Vec<String> = unseen.map(ToString::to_string).collect();
    Html(page::overview(&seen, &unseen, &frame))
}

async fn stack(State(app): State<Arc<App>>, Path(name): Path<String>) -> (StatusCode, Html<String>) {
    let frame = app.frame();
    let shared = &app.reading.shared;
    let name = name.parse::<StackName>().ok();
    let Some(snapshot) = name.and_then(|name| shared.get(&name)) else {
        let all = shared.all();
        let names: Vec<String> = all.iter().map(|seen| seen.record.stack.to_string()).collect();
        return (StatusCode::NOT_FOUND, Html(page::no_such(&names, &frame)));
    };
    let seen = Seen::of(&snapshot, shared, &frame.reader);
    let history = History::of(&snapshot.record, &[], shared);
    let past = app.past(&snapshot.record).await;
    (StatusCode::OK, Html(page::stack(&seen, &history, &past, &frame)))
}

async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> impl IntoResponse {
    let accept: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let format = Format::asked_for(&accept.join(","));
    let shared = &app.reading.shared;
    let text = render(&shared.all(), shared, app.started, format);
    ([(CONTENT_TYPE, format.content_type())], text)
}

async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, String) {
    let lacks = app.lacks().await;
    if lacks.is_empty() {
        return (StatusCode::OK, String::from("ok\n"));
    }
    (StatusCode::SERVICE_UNAVAILABLE, lacks.join("\n") + "\n")
}

impl App {
    fn frame(&self) -> Frame {
        Frame {
            host: self.host.clone(),
            reader: Reader {
                now: wall(&self.reading.clock.now()),
                zone: jiff::tz::TimeZone::system(),
                width: 80,
            },
        }
    }

    /// The operations that have ended. Who asks while the ledger is read waits for that answer.
    async fn past(&self, record: &StackRecord) -> Past {
        let mut known = self.past.lock().await;
        let now = self.reading.clock.now();
        known.retain(|_, (at, _)| now.since_or_wall(at) < GOOD_FOR);
        if let Some((_, past)) = known.get(&record.stack) {
            return past.clone();
        }
        let ended = (self.reading.past)(record.stack.clone()).await;
        let past = ended.map(|ended| {
            let ended = History::of(record, &ended, &self.reading.shared).operations;
            ended.into_iter().filter(|row| row.ending != "open").collect()
        });
        known.insert(record.stack.clone(), (now, Past::clone(&past)));
        past
    }

    /// What keeps the daemon from being ready, a line each.
    async fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        if let Err(why) = self.engine().await {
            lacks.push(one_line(&format!("engine: {why}")));
        }
        for stack in &self.reading.stacks {
            match self.reading.shared.get(stack) {
                None => lacks.push(format!("stack {stack}: not looked at yet")),
                Some(snapshot) => {
                    if let Known::Unknown(why) = &snapshot.engine {
                        lacks.push(one_line(&format!("stack {stack}: not looked at: {why}")));
                    }
                }
            }
        }
        lacks
    }

    /// Who asks while the engine is asked waits for that answer.
    async fn engine(&self) -> Result<(), String> {
        let mut said = self.said.lock().await;
        let now = self.reading.clock.now();
        if let Some((at, answer)) = &*said
            && now.since_or_wall(at) < GOOD_FOR
        {
            return answer.clone();
        }
        let within = self.limits.engine;
        let answer = timeout(within, (self.reading.engine)()).await;
        let late = |_| Err(format!("no answer within {within:?}"));
        let answer = answer.unwrap_or_else(late);
        *said = Some((self.reading.clock.now(), answer.clone()));
        answer
    }
}

/// Whatever an engine says, it is one line here.
fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
