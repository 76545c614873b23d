//! The control socket over a real Unix socket: who asks, what is answered, and what a client that
//! misbehaves can and cannot do.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::settings::ControlSettings;
use state::ledger::MemoryStore;
use state::name::AskId;
use state::release::Author;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::access::Access;
use super::client::{Client, ClientError};
use super::protocol::{ActBody, MAX_BODY};
use super::server::{Limits, MAX_CONNECTIONS, serve_within};
use super::socket::SocketError;
use crate::shared::{ActKind, Difference, Order, Refusal, Shared};
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
        let store = Arc::new(MemoryStore::new());
        let stopped = async {
            let _ = stopped.await;
        };
        serve_within(&socket, shared, store, sender, access(), limits, stopped).await
    });
    (orders, stop, served)
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
    for (act, body) in [
        ("pause", span(None)),
        ("pause", span(Some(0))),
        ("retry", span(Some(9))),
        ("explode", span(None)),
        ("retry", fits),
        ("resume", meant),
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
}

#[tokio::test]
async fn a_client_that_never_reads_holds_up_nobody_and_is_left_in_the_end() {
    let limits = Limits {
        connection: Duration::from_secs(1),
        ..Limits::default()
    };
    let daemon = daemon(limits).await;
    let mut large = sample::snapshot("steady");
    let line = Difference {
        service: None,
        what: "x".repeat(1000),
    };
    large.drift = vec![line; 5000];
    daemon.shared.publish(large);
    let mut deaf = UnixStream::connect(&daemon.socket).await.unwrap();
    deaf.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    daemon.shared.publish(sample::snapshot("steady"));
    let status = daemon.client().status("shop").await.unwrap();
    assert_eq!(status.state, State::Steady);
    // What fitted the buffers is still there, the rest never comes.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut read = Vec::new();
    let _ = deaf.read_to_end(&mut read).await;
    assert!(read.len() < 5_000_000, "{} bytes", read.len());
}

#[tokio::test]
async fn too_many_connections_are_turned_away_and_half_a_request_is_not_waited_for() {
    let limits = Limits {
        request: Duration::from_millis(500),
        ..Limits::default()
    };
    let daemon = daemon(limits).await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = UnixStream::connect(&daemon.socket).await.unwrap();
        stream.write_all(b"GET /v1/sta").await.unwrap();
        idle.push(stream);
    }
    let error = daemon.client().all().await.unwrap_err();
    assert_eq!(error.code(), 3, "{error}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(daemon.client().all().await.is_ok());
    drop(idle);
}
