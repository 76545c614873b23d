//! The daemon's end of the control socket. It reads snapshots and passes orders on; it never waits
//! on a client longer than its deadlines, and the loop never waits on it.

use std::future::Future;
use std::path::Path as FsPath;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest as _, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use state::ledger::Store;
use state::name::StackName;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::access::{Access, Peer};
use super::protocol::{ActAnswer, ActBody, ErrorBody, MAX_ANSWER, MAX_BODY, MAX_WAIT};
use super::socket::{self, SocketError};
use crate::shared::{Accepted, Order, Shared, Snapshot};
use crate::view::{BackupList, FORMAT, History, PlanView, Status, StatusList};

/// So many connections are served at once; the next one is closed.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// So many of them may be waits.
const MAX_WAITERS: usize = 32;
/// Ended operations in a history, unless the client says how many.
const OPERATIONS: u32 = 20;

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For its header, and again for its body.
    pub(super) request: Duration,
    /// For everything, reading the answer included.
    pub(super) connection: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            connection: Duration::from_secs(60),
        }
    }
}

struct App {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    orders: mpsc::Sender<Order>,
    access: Access,
    limits: Limits,
    waiters: Semaphore,
}

/// Serves the socket at `path` until `stop` is ready. A stale socket file is replaced, a live one refused.
pub async fn serve(
    path: &FsPath,
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    orders: mpsc::Sender<Order>,
    access: Access,
    stop: impl Future<Output = ()>,
) -> Result<(), SocketError> {
    serve_within(path, shared, store, orders, access, Limits::default(), stop).await
}

pub(super) async fn serve_within(
    path: &FsPath,
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    orders: mpsc::Sender<Order>,
    access: Access,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> Result<(), SocketError> {
    let bound = socket::bind(path).await?;
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let router = router(App {
        shared,
        store,
        orders,
        access,
        limits,
        waiters: Semaphore::new(MAX_WAITERS),
    });
    let mut stop = std::pin::pin!(stop);
    loop {
        // Cancel-safe: a connection that was not accepted yet stays in the backlog.
        let accepted = tokio::select! {
            accepted = bound.listener.accept() => accepted,
            () = &mut stop => return Ok(()),
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: others will be closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                let router = router.clone();
                tokio::spawn(async move {
                    let _ = timeout(limits.connection, connection(stream, router, limits)).await;
                    drop(slot);
                });
            }
            // Closed: an answer before the question would not be understood.
            Err(_) => drop(stream),
        }
    }
}

async fn connection(stream: UnixStream, router: Router, limits: Limits) {
    let Ok(credentials) = stream.peer_cred() else {
        return;
    };
    let peer = Peer {
        uid: credentials.uid(),
        gid: credentials.gid(),
    };
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    // One request a connection, so that the deadline of a connection is that of a request. What the
    // client does wrong is its own affair: there is nobody to tell.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .keep_alive(false)
        .max_buf_size(MAX_BODY)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn router(app: App) -> Router {
    Router::new()
        .route("/v1/status", get(all))
        .route("/v1/status/{stack}", get(status))
        .route("/v1/plan/{stack}", get(plan))
        .route("/v1/history/{stack}", get(history))
        .route("/v1/wait/{stack}", get(wait))
        .route("/v1/backups/{stack}", get(backups))
        .route("/v1/act/{stack}/{act}", post(act))
        .fallback(async || Failure::new(StatusCode::NOT_FOUND, 1, "the daemon does not know this request"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(app))
}

/// An answer that says no.
struct Failure(StatusCode, ErrorBody);

impl Failure {
    fn new(status: StatusCode, code: u8, error: impl Into<String>) -> Self {
        let body = ErrorBody {
            error: error.into(),
            way_out: None,
            code,
        };
        Self(status, body)
    }

    fn way_out(mut self, way_out: impl Into<String>) -> Self {
        self.1.way_out = Some(way_out.into());
        self
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

type Answer<T> = Result<Json<T>, Failure>;

impl App {
    fn snapshot(&self, stack: &str) -> Result<Arc<Snapshot>, Failure> {
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

async fn all(State(app): State<Arc<App>>) -> Json<StatusList> {
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

async fn status(State(app): State<Arc<App>>, Path(stack): Path<String>) -> Answer<Status> {
    // The version first: a publication in between is told twice, never missed.
    let version = app.shared.version();
    let snapshot = app.snapshot(&stack)?;
    Ok(Json(Status::of(&snapshot, &app.shared, version)))
}

async fn plan(State(app): State<Arc<App>>, Path(stack): Path<String>) -> Answer<PlanView> {
    Ok(Json(PlanView::of(&*app.snapshot(&stack)?)))
}

async fn backups(State(app): State<Arc<App>>, Path(stack): Path<String>) -> Answer<BackupList> {
    let listed = BackupList::of(&*app.snapshot(&stack)?);
    listed.map(Json).map_err(|why| {
        let error = format!("the backups cannot be listed: {why}");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, 1, error)
    })
}

#[derive(Deserialize)]
struct HistoryQuery {
    operations: Option<u32>,
}

async fn history(
    State(app): State<Arc<App>>,
    Path(stack): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Answer<History> {
    let snapshot = app.snapshot(&stack)?;
    let limit = query
        .operations
        .unwrap_or(OPERATIONS)
        .min(state::ledger::KEPT_OPERATIONS);
    let (store, name) = (Arc::clone(&app.store), snapshot.record.stack.clone());
    // Reading the ledger blocks: not on the loop's thread.
    let ended = tokio::task::spawn_blocking(move || store.operations(&name, limit)).await;
    let unreadable = |why: String| {
        let error = format!("the ledger cannot be read: {why}");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, 1, error)
    };
    let ended = ended
        .map_err(|error| unreadable(error.to_string()))?
        .map_err(|error| unreadable(error.to_string()))?;
    Ok(Json(History::of(&snapshot.record, &ended, &app.shared)))
}

#[derive(Deserialize)]
struct WaitQuery {
    after: u64,
}

/// Answers with the status as soon as something newer than `after` was published.
async fn wait(
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

async fn act(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path((stack, word)): Path<(String, String)>,
    request: Request,
) -> Answer<ActAnswer> {
    if !app.access.may_act(peer) {
        let by = app.access.author(peer);
        let error = format!("{by} may not act here, only read");
        let way_out = "ask root, or to be named in [agent.control] of steadfast.toml";
        return Err(Failure::new(StatusCode::FORBIDDEN, 5, error).way_out(way_out));
    }
    let body = body(request, app.limits.request).await?;
    let snapshot = app.snapshot(&stack)?;
    let kind = body
        .act(&word)
        .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, 2, error))?;
    let (answer, answered) = oneshot::channel();
    let order = Order {
        stack: snapshot.record.stack.clone(),
        act: kind,
        by: app.access.author(peer),
        dump: body.dump(),
        database: body.database,
        reason: body.reason,
        ask: body.ask,
        answer,
    };
    pass_on(&app.orders, order, answered).await
}

async fn body(request: Request, within: Duration) -> Result<ActBody, Failure> {
    let bytes = timeout(within, Bytes::from_request(request, &()))
        .await
        .map_err(|_| {
            Failure::new(
                StatusCode::REQUEST_TIMEOUT,
                1,
                "the request did not arrive in time",
            )
        })?
        .map_err(|refused| Failure::new(refused.status(), 2, refused.body_text()))?;
    if bytes.is_empty() {
        return Ok(ActBody::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let error = format!("the body is not understood: {error}");
        Failure::new(StatusCode::BAD_REQUEST, 2, error)
    })
}

async fn pass_on(
    orders: &mpsc::Sender<Order>,
    order: Order,
    answered: oneshot::Receiver<Result<Accepted, crate::shared::Refusal>>,
) -> Answer<ActAnswer> {
    let gone = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, 3, "the daemon is stopping");
    let late = "it may still be carried out: look at `steadfast status`";
    timeout(MAX_ANSWER, orders.send(order))
        .await
        .map_err(|_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, 3, "the daemon takes no orders"))?
        .map_err(|_| gone())?;
    let answer = timeout(MAX_ANSWER, answered)
        .await
        .map_err(|_| {
            Failure::new(
                StatusCode::GATEWAY_TIMEOUT,
                1,
                "the daemon did not answer in time",
            )
            .way_out(late)
        })?
        .map_err(|_| gone())?;
    match answer {
        Ok(Accepted { will, operation }) => Ok(Json(ActAnswer { will, operation })),
        Err(refusal) => Err(Failure(StatusCode::CONFLICT, refusal.into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::body::Body;
    use config::settings::ControlSettings;
    use hyper::service::Service as _;
    use state::ledger::MemoryStore;

    use super::*;
    use crate::view::sample;

    async fn answer(peer: Peer, method: &str, path: &str) -> (StatusCode, bool) {
        let (sender, mut orders) = mpsc::channel(1);
        let shared = Arc::new(sample::shared());
        shared.publish(sample::snapshot("steady"));
        let router = router(App {
            shared,
            store: Arc::new(MemoryStore::new()),
            orders: sender,
            access: Access::new(ControlSettings::default()),
            limits: Limits::default(),
            waiters: Semaphore::new(1),
        });
        let service = TowerToHyperService::new(router.layer(Extension(peer)));
        let request = Request::builder().method(method).uri(path).body(Body::empty());
        let answered = tokio::spawn(async move {
            let order = orders.recv().await?;
            order.answer.send(Ok(String::new().into())).ok()
        });
        let status = service.call(request.unwrap()).await.unwrap().status();
        drop(service);
        (status, answered.await.unwrap().is_some())
    }

    #[tokio::test]
    async fn a_stranger_reads_and_does_not_act() {
        let stranger = Peer { uid: 4242, gid: 4242 };
        let ok = StatusCode::OK;
        assert_eq!(answer(stranger, "GET", "/v1/status/shop").await, (ok, false));
        for act in ["retry", "rollback", "resume", "approve", "deny", "pause"] {
            let path = format!("/v1/act/shop/{act}");
            assert_eq!(
                answer(stranger, "POST", &path).await,
                (StatusCode::FORBIDDEN, false),
                "{act}"
            );
        }
        let root = Peer { uid: 0, gid: 0 };
        assert_eq!(answer(root, "POST", "/v1/act/shop/retry").await, (ok, true));
    }
}
