//! The control socket over a real Unix socket: who asks, and what is answered.

#![allow(clippy::unwrap_used)]

mod bounds;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::settings::ControlSettings;
use jiff::Timestamp;
use state::ledger::MemoryStore;
use state::name::AskId;
use state::release::Author;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::access::Access;
use super::client::{Client, ClientError};
use super::protocol::{ActBody, MAX_BODY, MAX_REASON};
use super::server::{Limits, Sources, serve_within};
use super::socket::SocketError;
use crate::clock::SystemClock;
use crate::files::HostDisk;
use crate::log::Recent;
use crate::shared::{AboutEnv, ActKind, Order, Refusal, Shared};
use crate::view::{State, sample};

/// A daemon's end, without a daemon.
struct Daemon {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    shared: Arc<Shared>,
    orders: mpsc::Receiver<Order>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), SocketError>>,
}

fn access() -> Access {
    Access::new(ControlSettings::default())
}

fn serve_at(
    socket: &Path,
    shared: &Arc<Shared>,
    limits: Limits,
) -> (
    mpsc::Receiver<Order>,
    oneshot::Sender<()>,
    JoinHandle<Result<(), SocketError>>,
) {
    let (sender, orders) = mpsc::channel(8);
    let (stop, stopped) = oneshot::channel::<()>();
    let (socket, shared) = (socket.to_owned(), Arc::clone(shared));
    let served = tokio::spawn(async move {
        let sources = Sources {
            shared,
            store: Arc::new(MemoryStore::new()),
            files: Arc::new(HostDisk::default()),
            releases: Arc::default(),
            clock: Arc::new(SystemClock::new().unwrap()),
            recent: told(),
        };
        let stopped = async {
            let _ = stopped.await;
        };
        serve_within(&socket, sources, sender, access(), limits, stopped).await
    });
    (orders, stop, served)
}

/// Three lines of the log, one of them of another stack.
fn told() -> Arc<Recent> {
    let recent = Recent::default();
    for (stack, text) in [
        ("shop", "a new request"),
        ("else", "deploy done"),
        ("shop", "deploy done"),
    ] {
        recent.push(stack, Timestamp::UNIX_EPOCH, tracing::Level::INFO, text);
    }
    Arc::new(recent)
}

async fn daemon(limits: Limits) -> Daemon {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("run").join("steadfast.sock");
    let shared = Arc::new(sample::shared());
    shared.publish(sample::snapshot("rolled back"));
    let (orders, stop, served) = serve_at(&socket, &shared, limits);
    until_there(&socket).await;
    Daemon {
        _directory: directory,
        socket,
        shared,
        orders,
        stop: Some(stop),
        served,
    }
}

/// Until the socket takes connections.
async fn until_there(socket: &Path) {
    for _ in 0..500 {
        if UnixStream::connect(socket).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unreachable!("{} never came to be", socket.display());
}

impl Daemon {
    fn client(&self) -> Client {
        Client::new(&self.socket)
    }
}

#[tokio::test]
async fn what_was_published_is_what_is_read() {
    let daemon = daemon(Limits::default()).await;
    let status = daemon.client().status("shop").await.unwrap();
    assert_eq!(status, sample::status("rolled back"));
    assert_eq!(daemon.client().all().await.unwrap().stacks, [status]);
    let history = daemon.client().history("shop", 5).await.unwrap();
    assert_eq!(history.generations.len(), 3);
    assert_eq!(daemon.client().plan("shop").await.unwrap().kind, None);
    let Err(ClientError::Refused(body)) = daemon.client().status("shp").await else {
        unreachable!("there is no such stack");
    };
    assert_eq!(
        (body.code, body.way_out.as_deref()),
        (2, Some("did you mean \"shop\"?"))
    );
    let Err(ClientError::Refused(_)) = daemon.client().status("../status").await else {
        unreachable!("a name is one segment");
    };
}

#[tokio::test]
async fn the_log_is_read_from_where_it_was_read_to() {
    let daemon = daemon(Limits::default()).await;
    let all = daemon.client().log("shop", 0).await.unwrap().lines;
    let texts: Vec<&str> = all.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["a new request", "deploy done"]);
    let rest = daemon.client().log("shop", all[0].number).await.unwrap();
    assert_eq!(rest.lines, all[1..]);
    let Err(ClientError::Refused(body)) = daemon.client().log("else", 0).await else {
        unreachable!("nothing was published of that stack");
    };
    assert_eq!(body.code, 2);
}

#[tokio::test]
async fn an_order_says_who_gave_it_and_its_answer_comes_back() {
    let mut daemon = daemon(Limits::default()).await;
    let client = daemon.client();
    let body = ActBody {
        reason: Some("checkout is broken".into()),
        schema_fits: true,
        ..ActBody::default()
    };
    let asked = tokio::spawn(async move { client.act("shop", "rollback", &body).await });
    let order = daemon.orders.recv().await.unwrap();
    assert_eq!(order.act, ActKind::Rollback { schema_fits: true });
    assert_eq!(order.stack.as_str(), "shop");
    assert_eq!(order.reason.as_deref(), Some("checkout is broken"));
    let own = rustix::process::geteuid().as_raw();
    assert!(
        matches!(order.by, Author::Person { uid, .. } if uid == own),
        "{:?}",
        order.by
    );
    order
        .answer
        .send(Ok(String::from("goes back to v1.4.0").into()))
        .unwrap();
    assert_eq!(asked.await.unwrap().unwrap().will, "goes back to v1.4.0");
}

#[tokio::test]
async fn an_answer_says_which_question_it_is_meant_for() {
    let mut daemon = daemon(Limits::default()).await;
    let client = daemon.client();
    let meant: Option<AskId> = Some("0b6f4e03b952".parse().unwrap());
    let body = ActBody {
        ask: meant.clone(),
        ..ActBody::default()
    };
    let asked = tokio::spawn(async move { client.act("shop", "approve", &body).await });
    let order = daemon.orders.recv().await.unwrap();
    assert_eq!((order.act, order.ask), (ActKind::Approve, meant));
    order.answer.send(Ok(String::new().into())).unwrap();
    asked.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_order_about_env_files_says_which_version_of_which() {
    let mut daemon = daemon(Limits::default()).await;
    let client = daemon.client();
    let body = ActBody {
        env: Some("0b6f4e03b952".parse().unwrap()),
        env_file: Some("api.env".into()),
        ..ActBody::default()
    };
    let asked = tokio::spawn(async move { client.act("shop", "env-restore", &body).await });
    let order = daemon.orders.recv().await.unwrap();
    assert_eq!(order.act, ActKind::RestoreEnv);
    let version = AboutEnv::Version {
        id: "0b6f4e03b952".parse().unwrap(),
        of: Some("api.env".into()),
    };
    assert_eq!((order.env, order.dump), (Some(version), None));
    order.answer.send(Ok(String::new().into())).unwrap();
    asked.await.unwrap().unwrap();
    let file = |path: &str| ActBody {
        file: Some(path.into()),
        ..ActBody::default()
    };
    let client = daemon.client();
    let asked = tokio::spawn(async move { client.act("shop", "env-import", &file("/srv/x.env")).await });
    let order = daemon.orders.recv().await.unwrap();
    let version = AboutEnv::File {
        from: "/srv/x.env".into(),
        of: None,
    };
    assert_eq!((order.env, order.dump), (Some(version), None));
    order.answer.send(Ok(String::new().into())).unwrap();
    asked.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refusal_keeps_its_exit_code_and_its_way_out() {
    let mut daemon = daemon(Limits::default()).await;
    let client = daemon.client();
    let asked = tokio::spawn(async move { client.act("shop", "retry", &ActBody::default()).await });
    let order = daemon.orders.recv().await.unwrap();
    let refusal = Refusal {
        why: "it is paused".into(),
        way_out: Some("resume it first".into()),
        code: 5,
    };
    order.answer.send(Err(refusal)).unwrap();
    let error = asked.await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.to_string()), (5, "it is paused".into()));
    assert_eq!(error.way_out().as_deref(), Some("resume it first"));
}

#[tokio::test]
async fn what_is_asked_wrongly_never_reaches_the_loop() {
    let mut daemon = daemon(Limits::default()).await;
    let client = daemon.client();
    let span = |span| ActBody {
        span,
        ..ActBody::default()
    };
    let meant = ActBody {
        ask: Some("0b6f4e03b952".parse().unwrap()),
        ..ActBody::default()
    };
    let fits = ActBody {
        schema_fits: true,
        ..ActBody::default()
    };
    let version = ActBody {
        env: Some("0b6f4e03b952".parse().unwrap()),
        ..ActBody::default()
    };
    let file = |path: &str| ActBody {
        file: Some(path.into()),
        ..ActBody::default()
    };
    let endless = ActBody {
        reason: Some("x".repeat(MAX_REASON + 1)),
        ..ActBody::default()
    };
    for (act, body) in [
        ("pause", span(None)),
        ("pause", span(Some(0))),
        ("retry", span(Some(9))),
        ("explode", span(None)),
        ("retry", fits),
        ("resume", meant),
        ("env-restore", ActBody::default()),
        ("env-import", ActBody::default()),
        ("env-import", file("srv/.env")),
        ("env-import", file("/srv/shop/../../etc/shadow")),
        ("retry", version),
        // Values are not asked for as an act.
        ("env-show", ActBody::default()),
        ("retry", endless),
    ] {
        assert_eq!(
            client.act("shop", act, &body).await.unwrap_err().code(),
            2,
            "{act}"
        );
    }
    let huge = ActBody {
        reason: Some("x".repeat(MAX_BODY)),
        ..ActBody::default()
    };
    let error = client.act("shop", "retry", &huge).await.unwrap_err();
    assert_eq!(error.code(), 2, "{error}");
    assert!(daemon.orders.try_recv().is_err());
}

#[tokio::test]
async fn a_daemon_that_stops_is_told_from_one_that_refuses() {
    let mut daemon = daemon(Limits::default()).await;
    let client = daemon.client();
    let asked = tokio::spawn(async move { client.act("shop", "resume", &ActBody::default()).await });
    drop(daemon.orders.recv().await.unwrap());
    assert_eq!(asked.await.unwrap().unwrap_err().code(), 3);
    daemon.stop.take().unwrap().send(()).unwrap();
    daemon.served.await.unwrap().unwrap();
    assert!(!daemon.socket.exists());
    let error = Client::new(&daemon.socket).status("shop").await.unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }), "{error}");
    assert_eq!(error.code(), 3);
    assert!(error.to_string().contains("steadfast.sock"));
}

#[tokio::test]
async fn a_wait_is_answered_by_what_is_published_next() {
    let daemon = daemon(Limits::default()).await;
    let client = daemon.client();
    let seen = client.wait("shop", 0).await.unwrap();
    assert_eq!((seen.version, seen.state), (1, State::RolledBack));
    let waiting = tokio::spawn(async move { client.wait("shop", 1).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    daemon.shared.publish(sample::snapshot("steady"));
    let seen = waiting.await.unwrap().unwrap();
    assert_eq!((seen.version, seen.state), (2, State::Steady));
    // A version that this daemon never gave is one of a daemon before it.
    assert_eq!(daemon.client().wait("shop", u64::MAX).await.unwrap().version, 2);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_a_live_one_and_a_file_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("steadfast.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let shared = Arc::new(sample::shared());
    let (_orders, _stop, _served) = serve_at(&socket, &shared, Limits::default());
    until_there(&socket).await;
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let (_orders, _stop2, served) = serve_at(&socket, &shared, Limits::default());
    assert!(matches!(served.await.unwrap(), Err(SocketError::Live { .. })));
    assert!(Client::new(&socket).all().await.is_ok());
    let file = directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let (_orders, _stop3, served) = serve_at(&file, &shared, Limits::default());
    assert!(matches!(
        served.await.unwrap(),
        Err(SocketError::NotASocket { .. })
    ));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    // The kernel has no such path; `check` says so before.
    let long = directory.path().join("s".repeat(150));
    let (_orders, _stop4, served) = serve_at(&long, &shared, Limits::default());
    let error = served.await.unwrap().unwrap_err();
    assert!(
        matches!(error, SocketError::Io { .. }) && error.to_string().contains("sss"),
        "{error}"
    );
}
