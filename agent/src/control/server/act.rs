//! What is asked to be done: by whom, whether they may, and what the loop answers. Who may not is on record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, FromRequest as _, Path, Request, State};
use axum::http::StatusCode;
use config::error::with_sources;
use serde::de::DeserializeOwned;
use state::health::Overall;
use state::name::AskId;
use state::policy::Severity;
use state::record::{Act, Approval, Ask, Change, StackRecord};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::super::access::Peer;
use super::super::failure::{Answer, Failure};
use super::super::protocol::{ActAnswer, ActBody, MAX_ANSWER};
use super::App;
use crate::shared::{Accepted, Order, Snapshot};

/// So much is recorded of the reason of who is refused, in characters.
const REASON: usize = 200;

/// `POST /v1/act/STACK/ACT`.
pub(in crate::control) async fn act(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path((stack, word)): Path<(String, String)>,
    request: Request,
) -> Answer<ActAnswer> {
    let mut body: ActBody = body(request, app.limits.request).await?;
    let snapshot = app.snapshot(&stack)?;
    let may = match word.as_str() {
        "approve" | "deny" => app.may_answer(peer, &word, &snapshot, &mut body.ask),
        word => app.access.may(peer, word, None),
    };
    if !may {
        return Err(app
            .refuse(peer, &word, &snapshot.record, body.reason.clone())
            .await);
    }
    let kind = body
        .act(&word)
        .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, 2, error))?;
    let (answer, answered) = oneshot::channel();
    let env = body.about_env(&word);
    let order = Order {
        stack: snapshot.record.stack.clone(),
        act: kind,
        by: app.access.author(peer),
        dump: body.dump().filter(|_| env.is_none()),
        env,
        database: body.database,
        reason: body.reason,
        ask: body.ask,
        answer,
    };
    pass_on(&app.orders, order, answered).await
}

impl App {
    /// Whether `peer` may answer. Where that depends on the failure, the answer is bound to the question that was looked
    /// at, and what cannot be told apart needs the right for all of them.
    fn may_answer(&self, peer: Peer, act: &str, snapshot: &Snapshot, ask: &mut Option<AskId>) -> bool {
        let may = |severity| self.access.may(peer, act, severity);
        if !self.access.looks_at_severity() {
            return may(None);
        }
        let may_all = || Severity::ALL.into_iter().all(|severity| may(Some(severity)));
        let open = snapshot.record.approval.as_ref();
        let open = open.filter(|open| ask.as_ref().is_none_or(|ask| *ask == open.id()));
        if ask.is_none() {
            *ask = open.map(Approval::id);
        }
        match open.map(|open| &open.ask) {
            Some(Ask::Rollback { .. }) => {
                match snapshot.record.health.overall(&snapshot.probes, &snapshot.taken) {
                    Overall::Failing { severity, .. } => may(Some(severity)),
                    _ => may_all(),
                }
            }
            Some(_) => may(None),
            None => may(None) && may_all(),
        }
    }

    /// That `peer` may not do `act`, which goes on record.
    pub(in crate::control) async fn refuse(
        &self,
        peer: Peer,
        act: &str,
        record: &StackRecord,
        reason: Option<String>,
    ) -> Failure {
        let (by, now) = (self.access.author(peer), Instant::now());
        let shown = act.escape_debug().take(40).collect::<String>();
        let reason = reason.map(|reason| reason.chars().take(REASON).collect::<String>());
        if let Some(left_out) = self.refusals.log(peer.uid, now) {
            tracing::warn!(stack = %record.stack, %by, reason = reason.as_deref(), left_out, "{shown} is refused");
        }
        if self.refusals.write(peer.uid, now) {
            let act = Act {
                by: by.clone(),
                at: self.clock.now(),
                what: format!("{shown}: refused"),
                why: reason,
            };
            self.write_down(record, act).await;
        }
        let (error, way_out) = if act == "env-show" {
            (
                format!("values are shown to root alone, and {by} is another"),
                "use sudo",
            )
        } else {
            (
                format!("{by} has no right to {shown} {}, only to read", record.stack),
                "ask root for it, or to be named in [agent.control] of steadfast.toml",
            )
        };
        Failure::new(StatusCode::FORBIDDEN, 5, error).way_out(way_out)
    }

    /// Logs what a client has done that it should not.
    pub(super) fn complain(&self, peer: Peer, what: &str) {
        if let Some(left_out) = self.refusals.log(peer.uid, Instant::now()) {
            let by = self.access.author(peer);
            let what = what.escape_debug().take(200).collect::<String>();
            tracing::warn!(%by, left_out, "control socket: {what}");
        }
    }

    /// Writes down what somebody did. An act changes nothing of what is remembered of the stack, so that it needs no loop.
    pub(in crate::control) async fn write_down(&self, record: &StackRecord, act: Act) {
        // A stack that was never met is not met by this.
        if record.request.is_none() && record.generations.is_empty() {
            return;
        }
        let (store, stack, what) = (Arc::clone(&self.store), record.stack.clone(), act.what.clone());
        let write = move || store.commit(&stack, &[Change::Act(Box::new(act))]);
        // The ledger blocks: not on the loop's thread.
        let why = match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => with_sources(&error),
            Err(error) => error.to_string(),
        };
        tracing::warn!(stack = %record.stack, "\"{what}\" is not in the ledger: {why}");
    }
}

/// What was sent; where nothing was, nothing more is said than the path does.
pub(in crate::control) async fn body<T: DeserializeOwned + Default>(
    request: Request,
    within: Duration,
) -> Result<T, Failure> {
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
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let error = format!("the body is not understood: {error}");
        Failure::new(StatusCode::BAD_REQUEST, 2, error)
    })
}

pub(super) async fn pass_on(
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
