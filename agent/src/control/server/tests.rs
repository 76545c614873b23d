//! What is answered to whom, without a socket between: rights, records, and every request of the table.

#![allow(clippy::unwrap_used)]

use axum::body::Body;
use axum::extract::{Extension, Request};
use config::settings::{Account, ControlSettings, Party};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use state::ledger::MemoryStore;
use state::policy::Severity;
use state::record::{Approval, Ask};
use state::release::GenerationNumber;

use super::super::access::Peer;
use super::super::openapi::{check_shape, shape_of};
use super::super::protocol::SOFTWARE;
use super::super::routes::{ROUTES, Right, router};
use super::*;
use crate::clock::SystemClock;
use crate::files::HostDisk;
use crate::view::sample;

const ROOT: Peer = Peer { uid: 0, gid: 0 };
const STRANGER: Peer = Peer { uid: 4242, gid: 4242 };

/// What was answered, and the order that had come to the loop before.
struct Answered {
    status: StatusCode,
    body: Value,
    order: Option<Order>,
}

/// A daemon without loops, in one situation.
struct Host {
    app: Arc<App>,
    orders: mpsc::Receiver<Order>,
}

impl Host {
    fn new(snapshot: Snapshot, control: ControlSettings) -> Self {
        let (sender, orders) = mpsc::channel(1);
        let shared = Arc::new(sample::shared());
        shared.publish(snapshot);
        let app = App {
            shared,
            store: Arc::new(MemoryStore::new()),
            files: Arc::new(HostDisk::default()),
            releases: Arc::default(),
            clock: Arc::new(SystemClock::new().unwrap()),
            recent: Arc::default(),
            orders: sender,
            access: Access::new(control),
            limits: Limits::default(),
            waiters: Semaphore::new(1),
            refusals: Refusals::default(),
        };
        Self {
            app: Arc::new(app),
            orders,
        }
    }

    fn steady() -> Self {
        Self::new(sample::snapshot("steady"), ControlSettings::default())
    }

    async fn ask(&mut self, peer: Peer, method: &str, path: &str, body: &'static str) -> Answered {
        let service = TowerToHyperService::new(router(Arc::clone(&self.app)).layer(Extension(peer)));
        let request = Request::builder().method(method).uri(path).body(Body::from(body));
        let answer = service.call(request.unwrap());
        let mut answer = std::pin::pin!(answer);
        let mut order = None;
        let answer = tokio::select! {
            answer = &mut answer => answer,
            Some(mut taken) = self.orders.recv() => {
                let (sender, _) = tokio::sync::oneshot::channel();
                std::mem::replace(&mut taken.answer, sender).send(Ok(String::new().into())).unwrap();
                order = Some(taken);
                answer.await
            }
        };
        let answer = answer.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        Answered {
            status,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            order,
        }
    }

    /// The status alone, and whether the loop was asked.
    async fn status(&mut self, peer: Peer, method: &str, path: &str) -> (StatusCode, bool) {
        let answered = self.ask(peer, method, path, "").await;
        (answered.status, answered.order.is_some())
    }

    /// What the ledger has, the newest first: what, by which user, and why.
    fn acts(&self) -> Vec<String> {
        let acts = self.app.store.acts(&"shop".parse().unwrap(), KEPT_ACTS).unwrap();
        let words = acts
            .into_iter()
            .map(|act| format!("{} {} {}", act.by, act.what, act.why.unwrap_or_default()));
        words.collect()
    }
}

#[tokio::test]
async fn a_stranger_reads_and_does_not_act() {
    let mut host = Host::steady();
    let ok = StatusCode::OK;
    assert_eq!(host.status(STRANGER, "GET", "/v1/status/shop").await, (ok, false));
    for act in ["retry", "rollback", "resume", "approve", "deny", "pause"] {
        let path = format!("/v1/act/shop/{act}");
        let forbidden = (StatusCode::FORBIDDEN, false);
        assert_eq!(host.status(STRANGER, "POST", &path).await, forbidden, "{act}");
    }
    for act in ["branch", "hotfix", "revert-file"] {
        let path = format!("/v1/release/shop/{act}");
        let forbidden = (StatusCode::FORBIDDEN, false);
        assert_eq!(host.status(STRANGER, "POST", &path).await, forbidden, "{act}");
    }
    assert_eq!(host.status(ROOT, "POST", "/v1/act/shop/retry").await, (ok, true));
}

#[tokio::test]
async fn nothing_of_the_table_is_changed_by_who_has_no_right() {
    let mut host = Host::steady();
    for route in ROUTES.iter().filter(|route| route.right != Right::Read) {
        let acts = if route.acts.is_empty() { &[""] } else { route.acts };
        for act in acts {
            let path = route.path.replace("{stack}", "shop").replace("{act}", act);
            let forbidden = (StatusCode::FORBIDDEN, false);
            assert_eq!(host.status(STRANGER, "POST", &path).await, forbidden, "{path}");
        }
    }
}

#[tokio::test]
async fn who_is_refused_is_on_record_so_far_as_it_fits() {
    let mut host = Host::steady();
    let why = "{\"reason\": \"I may not\"}";
    let refused = host.ask(STRANGER, "POST", "/v1/act/shop/rollback", why).await;
    let said = "uid 4242 has no right to rollback shop, only to read";
    assert_eq!(
        (&refused.body["error"], &refused.body["code"]),
        (&json!(said), &json!(5))
    );
    assert_eq!(host.acts(), ["uid 4242 rollback: refused I may not"]);
    host.status(STRANGER, "POST", "/v1/env/shop/reveal").await;
    host.status(STRANGER, "POST", "/v1/release/shop/branch").await;
    assert_eq!(
        host.acts()[..2],
        ["uid 4242 release: refused ", "uid 4242 env-show: refused "]
    );
    for _ in 0..100 {
        host.status(STRANGER, "POST", "/v1/act/shop/rollback").await;
    }
    assert_eq!(host.acts().len(), 10);
    let listed = host.ask(STRANGER, "GET", "/v1/acts/shop", "").await;
    check_shape("ActList", &listed.body);
    assert_eq!(listed.body["acts"][9]["why"], "I may not");
    assert_eq!(listed.body["acts"][9]["uid"], 4242);
}

#[tokio::test]
async fn values_are_for_root_and_what_cannot_be_shown_is_not_recorded() {
    let mut host = Host::steady();
    let forbidden = (StatusCode::FORBIDDEN, false);
    assert_eq!(
        host.status(STRANGER, "POST", "/v1/env/shop/reveal").await,
        forbidden
    );
    let ok = (StatusCode::OK, false);
    assert_eq!(host.status(STRANGER, "GET", "/v1/env/shop").await, ok);
    // Nothing was kept of the sample's env file.
    let gone = (StatusCode::CONFLICT, false);
    assert_eq!(host.status(ROOT, "POST", "/v1/env/shop/reveal").await, gone);
    assert_eq!(
        host.status(ROOT, "GET", "/v1/env/shop/show?id=00000000").await,
        gone
    );
    let bad = (StatusCode::BAD_REQUEST, false);
    assert_eq!(host.status(ROOT, "GET", "/v1/env/shop/show?id=x").await, bad);
}

/// User 4242 may answer what is asked about a failure that is critical, 4243 everything else.
fn by_severity() -> ControlSettings {
    let user = |uid| Party::User(Account::Id(uid));
    ControlSettings {
        act_users: vec![Account::Id(4243)],
        severity: [(Severity::Critical, vec![user(4242)])].into(),
        ..ControlSettings::default()
    }
}

#[track_caller]
fn check_answer(host: &Answered, expected: StatusCode, asked: Option<&Approval>) {
    assert_eq!(host.status, expected, "{}", host.body);
    let order = host.order.as_ref();
    assert_eq!(order.and_then(|order| order.ask.clone()), asked.map(Approval::id));
}

#[tokio::test]
async fn who_may_answer_depends_on_the_failure_and_the_answer_is_bound_to_it() {
    let other = Peer { uid: 4243, gid: 4243 };
    let mut failing = sample::snapshot("failing");
    let request = failing.record.request.as_ref().unwrap().id();
    failing.record.approval = Some(Approval {
        ask: Ask::Rollback {
            from: GenerationNumber(2),
            to: GenerationNumber(1),
        },
        request,
        asked: failing.taken.clone(),
        detail: Vec::new(),
        answer: None,
    });
    let asked = failing.record.approval.clone();
    let mut host = Host::new(failing, by_severity());
    for act in ["/v1/act/shop/approve", "/v1/act/shop/deny"] {
        check_answer(
            &host.ask(STRANGER, "POST", act, "").await,
            StatusCode::OK,
            asked.as_ref(),
        );
        check_answer(
            &host.ask(other, "POST", act, "").await,
            StatusCode::FORBIDDEN,
            None,
        );
    }
    // Another question than the one that is open may be about any failure.
    let body = "{\"ask\": \"0b6f4e03b952\"}";
    for peer in [STRANGER, other] {
        let answered = host.ask(peer, "POST", "/v1/act/shop/approve", body).await;
        check_answer(&answered, StatusCode::FORBIDDEN, None);
    }
    let first = sample::snapshot("first contact");
    let asked = first.record.approval.clone();
    let mut host = Host::new(first, by_severity());
    let approve = "/v1/act/shop/approve";
    check_answer(
        &host.ask(STRANGER, "POST", approve, "").await,
        StatusCode::FORBIDDEN,
        None,
    );
    check_answer(
        &host.ask(other, "POST", approve, "").await,
        StatusCode::OK,
        asked.as_ref(),
    );
}

#[tokio::test]
async fn every_request_of_the_table_is_answered_as_its_shape_says() {
    let mut host = Host::steady();
    let mut compared = 0;
    for route in &ROUTES {
        let act = route.acts.first().copied().unwrap_or_default();
        let mut path = route.path.replace("{stack}", "shop").replace("{act}", act);
        for (i, parameter) in route.query.iter().filter(|p| p.is_required).enumerate() {
            let sign = if i == 0 { '?' } else { '&' };
            path.push_str(&format!("{sign}{}=12345678", parameter.name));
        }
        let reads = route.right == Right::Read;
        let answered = host
            .ask(ROOT, if reads { "GET" } else { "POST" }, &path, "")
            .await;
        if answered.status == StatusCode::OK && route.answer != "OpenApi" {
            check_shape(shape_of(route.path), &answered.body);
            compared += 1;
        } else if answered.status != StatusCode::OK {
            check_shape("ErrorBody", &answered.body);
        }
        let is_unknown = answered.body["error"]
            .as_str()
            .is_some_and(|why| why.contains(SOFTWARE));
        assert!(!is_unknown, "{path}: {}", answered.body);
        // Nothing is read by what acts, nor the other way round.
        let wrong = host
            .ask(ROOT, if reads { "POST" } else { "GET" }, &path, "")
            .await;
        assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        check_shape("ErrorBody", &wrong.body);
    }
    assert!(compared >= 7, "{compared}");
}

#[tokio::test]
async fn the_document_that_is_served_has_every_request_and_no_other() {
    let mut host = Host::steady();
    let document = host.ask(STRANGER, "GET", "/v1/openapi.json", "").await.body;
    assert_eq!(document["openapi"], "3.1.0");
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let routed: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    assert_eq!(paths, routed);
}

#[tokio::test]
async fn what_is_not_known_says_what_there_is() {
    let mut host = Host::steady();
    for (path, said) in [
        ("/v2/status", "knows v1 of the interface, and not v2"),
        ("/v0/act/shop/rollback", "and not v0"),
        ("/v1/stats", "does not know this request"),
        ("/version", "does not know this request"),
        ("/", "does not know this request"),
    ] {
        let answered = host.ask(STRANGER, "GET", path, "").await;
        let why = answered.body["error"].as_str().unwrap();
        assert_eq!(answered.status, StatusCode::NOT_FOUND);
        assert!(why.contains(said) && why.contains(SOFTWARE), "{path}: {why}");
        assert!(answered.body["way_out"].is_string(), "{path}");
    }
}

#[test]
fn every_act_can_be_given_to_somebody() {
    let routed: Vec<&str> = ROUTES
        .iter()
        .filter(|route| route.path.starts_with("/v1/act/"))
        .flat_map(|route| route.acts.iter().copied())
        .collect();
    assert_eq!([&routed[..], &["release"]].concat(), config::settings::ACTS);
}
