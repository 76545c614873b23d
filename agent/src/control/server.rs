//! The daemon's end of the control socket. It reads snapshots and passes orders on; it never waits
//! on a client longer than its deadlines, and the loop never waits on it.

use std::future::Future;
use std::path::Path as FsPath;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use state::ledger::{KEPT_ACTS, KEPT_OPERATIONS, LedgerError, Store};
use state::name::StackName;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

mod act;
mod connection;
pub(super) mod env;
pub(super) mod log;

use super::access::Access;
use super::failure::{Answer, Failure};
use super::protocol::MAX_WAIT;
use super::refusals::Refusals;
use super::releases::Releases;
use super::socket::{self, SocketError};
use crate::clock::Clock;
use crate::files::Files;
use crate::log::Recent;
use crate::shared::{Order, Shared, Snapshot};
use crate::view::{ActList, BackupList, FORMAT, History, PlanView, Status, StatusList};

pub(super) use act::{act, body};
pub(super) use connection::Limits;
#[cfg(test)]
pub(super) use connection::MAX_CONNECTIONS;

/// So many of them may be waits.
const MAX_WAITERS: usize = 32;
/// Ended operations in a history, unless the client says how many.
const OPERATIONS: u32 = 20;

/// What is read for an answer.
#[derive(Clone)]
pub struct Sources {
    /// What the loops have published.
    pub shared: Arc<Shared>,
    /// The ledger.
    pub store: Arc<dyn Store>,
    /// The operators' files.
    pub files: Arc<dyn Files>,
    /// Where releases come from.
    pub releases: Arc<Releases>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What was told lately.
    pub recent: Arc<Recent>,
}

pub(super) struct App {
    shared: Arc<Shared>,
    pub(super) store: Arc<dyn Store>,
    files: Arc<dyn Files>,
    pub(super) releases: Arc<Releases>,
    pub(super) clock: Arc<dyn Clock>,
    recent: Arc<Recent>,
    orders: mpsc::Sender<Order>,
    pub(super) access: Access,
    pub(super) limits: Limits,
    waiters: Semaphore,
    refusals: Refusals,
}

/// Serves the socket at `path` until `stop` is ready. A stale socket file is replaced, a live one refused.
pub async fn serve(
    path: &FsPath,
    sources: Sources,
    orders: mpsc::Sender<Order>,
    access: Access,
    stop: impl Future<Output = ()>,
) -> Result<(), SocketError> {
    serve_within(path, sources, orders, access, Limits::default(), stop).await
}

pub(super) async fn serve_within(
    path: &FsPath,
    sources: Sources,
    orders: mpsc::Sender<Order>,
    access: Access,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> Result<(), SocketError> {
    let bound = socket::bind(path).await?;
    let app = Arc::new(App {
        shared: sources.shared,
        store: sources.store,
        files: sources.files,
        releases: sources.releases,
        clock: sources.clock,
        recent: sources.recent,
        orders,
        access,
        limits,
        waiters: Semaphore::new(MAX_WAITERS),
        refusals: Refusals::default(),
    });
    connection::accept(&bound.listener, app, stop).await;
    Ok(())
}

impl App {
    pub(super) fn snapshot(&self, stack: &str) -> Result<Arc<Snapshot>, Failure> {
        let name = stack.parse::<StackName>().ok();
        name.and_then(|name| self.shared.get(&name)).ok_or_else(|| {
            let known: Vec<_> = self.shared.all();
            let names: Vec<&str> = known.iter().map(|s| s.record.stack.as_str()).collect();
            let error = format!("the daemon has no stack \"{}\"", stack.escape_debug());
            let way_out = match config::error::did_you_mean(stack, names.iter().copied()) {
                Some(hint) => hint,
                None if names.is_empty() => "it has not looked at any yet: try again".into(),
                None => format!("its stacks: {}", names.join(", ")),
            };
            Failure::new(StatusCode::NOT_FOUND, 2, error).way_out(way_out)
        })
    }
}

pub(super) async fn all(State(app): State<Arc<App>>) -> Json<StatusList> {
    let version = app.shared.version();
    let snapshots = app.shared.all();
    Json(StatusList {
        format: FORMAT,
        stacks: snapshots
            .iter()
            .map(|snapshot| Status::of(snapshot, &app.shared, version))
            .collect(),
    })
}

pub(super) async fn status(State(app): State<Arc<App>>, Path(stack): Path<String>) -> Answer<Status> {
    // The version first: a publication in between is told twice, never missed.
    let version = app.shared.version();
    let snapshot = app.snapshot(&stack)?;
    Ok(Json(Status::of(&snapshot, &app.shared, version)))
}

pub(super) async fn plan(State(app): State<Arc<App>>, Path(stack): Path<String>) -> Answer<PlanView> {
    Ok(Json(PlanView::of(&*app.snapshot(&stack)?)))
}

pub(super) async fn backups(State(app): State<Arc<App>>, Path(stack): Path<String>) -> Answer<BackupList> {
    let listed = BackupList::of(&*app.snapshot(&stack)?);
    listed.map(Json).map_err(|why| {
        let error = format!("the backups cannot be listed: {why}");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, 1, error)
    })
}

#[derive(Deserialize)]
pub(super) struct HistoryQuery {
    operations: Option<u32>,
}

pub(super) async fn history(
    State(app): State<Arc<App>>,
    Path(stack): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Answer<History> {
    let snapshot = app.snapshot(&stack)?;
    let limit = query.operations.unwrap_or(OPERATIONS).min(KEPT_OPERATIONS);
    let name = snapshot.record.stack.clone();
    let ended = from_ledger(&app, move |store| store.operations(&name, limit)).await?;
    Ok(Json(History::of(&snapshot.record, &ended, &app.shared)))
}

pub(super) async fn acts(State(app): State<Arc<App>>, Path(stack): Path<String>) -> Answer<ActList> {
    let snapshot = app.snapshot(&stack)?;
    let name = snapshot.record.stack.clone();
    let acts = from_ledger(&app, move |store| store.acts(&name, KEPT_ACTS)).await?;
    Ok(Json(ActList::of(&snapshot.record.stack, &acts)))
}

/// Reading the ledger blocks: not on the loop's thread.
async fn from_ledger<T: Send + 'static>(
    app: &App,
    read: impl FnOnce(&dyn Store) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, Failure> {
    let unreadable = |why: String| {
        let error = format!("the ledger cannot be read: {why}");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, 1, error)
    };
    let store = Arc::clone(&app.store);
    let read = tokio::task::spawn_blocking(move || read(&*store)).await;
    read.map_err(|error| unreadable(error.to_string()))?
        .map_err(|error| unreadable(error.to_string()))
}

#[derive(Deserialize)]
pub(super) struct WaitQuery {
    after: u64,
}

/// Answers with the status as soon as something newer than `after` was published.
pub(super) async fn wait(
    State(app): State<Arc<App>>,
    stack: Path<String>,
    Query(query): Query<WaitQuery>,
) -> Answer<Status> {
    app.snapshot(&stack)?;
    if let Ok(_place) = app.waiters.try_acquire() {
        let mut changes = app.shared.changes();
        // A version from the future is one of a daemon before this one.
        let is_news = |version: &u64| *version != query.after;
        let _ = timeout(MAX_WAIT, changes.wait_for(is_news)).await;
    }
    status(State(app), stack).await
}

#[cfg(test)]
mod tests;
