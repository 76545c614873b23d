//! Over a real loopback: what is answered, and what a client that misbehaves can and cannot do.

#![allow(clippy::unwrap_used)]

mod page;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use state::journal::OpenOperation;
use state::policy::ProbePolicy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::server::{AskEngine, Limits, MAX_HEADER, ReadPast, Reading, bind, serve_on};
use crate::clock::SystemClock;
use crate::shared::Shared;
use crate::view::sample;

/// Longer than anything here takes that goes well.
const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon's end, without a daemon.
struct Daemon {
    at: SocketAddr,
    shared: Arc<Shared>,
    served: JoinHandle<()>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.served.abort();
    }
}

fn answers(answer: Result<(), &'static str>) -> AskEngine {
    Arc::new(move || futures_util::future::ready(answer.map_err(String::from)).boxed())
}

fn reads(answer: Result<Vec<OpenOperation>, &'static str>) -> ReadPast {
    Arc::new(move |_| futures_util::future::ready(answer.clone().map_err(String::from)).boxed())
}

async fn any_port() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

async fn daemon_with(limits: Limits, engine: AskEngine) -> Daemon {
    let listener = any_port().await;
    let at = listener.local_addr().unwrap();
    let shared = Arc::new(sample::shared());
    let reading = Reading {
        shared: Arc::clone(&shared),
        stacks: ["shop".parse().unwrap()].into(),
        engine,
        past: reads(Ok(Vec::new())),
        clock: Arc::new(SystemClock::new().unwrap()),
    };
    let started = jiff::Timestamp::UNIX_EPOCH;
    let served = tokio::spawn(serve_on(listener, reading, started, limits));
    Daemon { at, shared, served }
}

async fn daemon(limits: Limits) -> Daemon {
    let daemon = daemon_with(limits, answers(Ok(()))).await;
    daemon.shared.publish(sample::snapshot("rolled back"));
    daemon
}

fn short() -> Limits {
    Limits {
        request: Duration::from_millis(200),
        connection: Duration::from_millis(600),
        engine: Duration::from_millis(100),
        listening: Duration::from_secs(3),
        beat: Duration::from_millis(200),
    }
}

impl Daemon {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).await.unwrap()
    }

    /// What is answered to these bytes, until the other side closes.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // It may be refused before all of it was sent.
        drop(stream.write_all(bytes).await);
        all_of(&mut stream).await
    }

    async fn ask(&self, line: &str, more: &str) -> String {
        let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
        self.say(request.as_bytes()).await
    }

    async fn status(&self, line: &str) -> u16 {
        code(&self.ask(line, "").await)
    }
}

/// What comes until the end of the connection, however that ends.
async fn all_of(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    drop(end.expect("the connection is closed"));
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer; 0: there was none.
fn code(answer: &str) -> u16 {
    let code = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.map_or(0, |code| code.parse().unwrap())
}

#[tokio::test]
async fn what_is_there_is_told_and_nothing_can_be_done() {
    let daemon = daemon(Limits::default()).await;
    let text = daemon.ask("GET /metrics", "").await;
    assert_eq!(code(&text), 200);
    assert!(
        text.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{text}"
    );
    let runs = "steadfast_effective_release_info{stack=\"shop\",tag=\"v1.5.0\",generation=\"2\",verdict=\"good\"} 1\n";
    assert!(text.contains(runs), "{text}");
    assert!(!text.contains("# EOF"));
    let open = daemon
        .ask(
            "GET /metrics",
            "Accept: application/openmetrics-text; version=1.0.0\r\n",
        )
        .await;
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
    assert!(open.ends_with("# EOF\n"), "{open}");
    let head = daemon.ask("HEAD /metrics", "").await;
    assert!(code(&head) == 200 && head.ends_with("\r\n\r\n"), "{head}");
    assert!(daemon.ask("GET /healthz", "").await.ends_with("\r\n\r\nok\n"));
    for (line, expected) in [
        ("GET /readyz", 200),
        ("GET /metrics?x=1", 200),
        ("GET /", 200),
        ("GET /?x=1", 200),
        ("GET /stacks/shop", 200),
        ("GET /stacks/", 404),
        ("GET /stacks/shop/x", 404),
        ("GET /stacks/%2e%2e", 404),
        ("POST /", 405),
        ("POST /stacks/shop", 405),
        ("POST /events", 405),
        ("GET /metrics/", 404),
        ("GET /../metrics", 404),
        ("GET /v1/status", 404),
        ("POST /v1/act/shop/rollback", 404),
        ("POST /metrics", 405),
        ("DELETE /healthz", 405),
        ("PUT /readyz", 405),
        ("CONNECT localhost:80", 404),
        ("OPTIONS *", 404),
        ("nonsense", 400),
    ] {
        assert_eq!(daemon.status(line).await, expected, "{line}");
    }
}

#[tokio::test]
async fn ready_is_what_can_see() {
    let daemon = daemon_with(short(), answers(Ok(()))).await;
    let said = daemon.ask("GET /readyz", "").await;
    assert_eq!(code(&said), 503);
    assert!(
        said.ends_with("\r\n\r\nstack shop: not looked at yet\n"),
        "{said}"
    );
    daemon.shared.publish(sample::snapshot("engine away"));
    let said = daemon.ask("GET /readyz", "").await;
    assert!(
        code(&said) == 503 && said.contains("stack shop: not looked at: the docker engine"),
        "{said}"
    );
    daemon.shared.publish(sample::snapshot("steady"));
    assert_eq!(daemon.status("GET /readyz").await, 200);

    let refuses = daemon_with(short(), answers(Err("nobody listens:\nreally"))).await;
    refuses.shared.publish(sample::snapshot("steady"));
    let said = refuses.ask("GET /readyz", "").await;
    assert!(
        said.ends_with("\r\n\r\nengine: nobody listens: really\n"),
        "{said}"
    );

    let silent: AskEngine = Arc::new(|| futures_util::future::pending().boxed());
    let hangs = daemon_with(short(), silent).await;
    hangs.shared.publish(sample::snapshot("steady"));
    let said = hangs.ask("GET /readyz", "").await;
    assert!(
        said.ends_with("\r\n\r\nengine: no answer within 100ms\n"),
        "{said}"
    );
    // The process lives all the same, and what was seen is told.
    assert_eq!(hangs.status("GET /healthz").await, 200);
    assert_eq!(hangs.status("GET /metrics").await, 200);
}

#[tokio::test]
async fn who_asks_badly_is_refused_or_closed() {
    let daemon = daemon(short()).await;
    // One that says nothing, and one that stops in the middle.
    assert_eq!(code(&daemon.say(b"").await), 0);
    assert_eq!(code(&daemon.say(b"GET /metrics HTTP/1.1\r\nHost: l").await), 0);
    let large = format!("X: {}\r\n", "x".repeat(MAX_HEADER));
    assert_eq!(code(&daemon.ask("GET /metrics", &large).await), 431);
    let many = "X: x\r\n".repeat(200);
    assert_eq!(code(&daemon.ask("GET /metrics", &many).await), 431);
    let path = "x".repeat(2 * MAX_HEADER);
    assert!(matches!(daemon.status(&format!("GET /{path}")).await, 414 | 431));
    assert_eq!(
        code(&daemon.say(&[0x16, 0x03, 0x01, 0x00, 0xff, 0xff, 0xff]).await),
        400
    );
    // A body is not waited for, however long it is said to be.
    assert_eq!(
        code(&daemon.ask("GET /healthz", "Content-Length: 1000000000\r\n").await),
        200
    );
    assert_eq!(daemon.status("GET /healthz").await, 200);
}

#[tokio::test]
async fn too_many_are_closed_and_those_that_idle_make_room() {
    let daemon = daemon(short()).await;
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(daemon.connect().await);
    }
    // More than are served at once were closed without an answer, the others when they had said nothing for long enough.
    for stream in &mut idle {
        assert_eq!(code(&all_of(stream).await), 0);
    }
    assert_eq!(daemon.status("GET /healthz").await, 200);
}

#[tokio::test]
async fn one_that_never_reads_is_dropped() {
    let limits = Limits {
        connection: Duration::from_secs(3),
        ..short()
    };
    let daemon = daemon(limits).await;
    let mut large = sample::snapshot("steady");
    let probe = |n| ProbePolicy::new(format!("p{n}").parse().unwrap(), "api".parse().unwrap());
    large.probes = (0..40_000).map(probe).collect();
    daemon.shared.publish(large);
    let mut deaf = daemon.connect().await;
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(limits.connection + Duration::from_secs(1)).await;
    // What was on its way comes still, and it is not the whole.
    let answer = all_of(&mut deaf).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.unwrap().parse().unwrap();
    assert!(body.len() < length, "all {length} bytes came");
    daemon.shared.publish(sample::snapshot("steady"));
    assert_eq!(daemon.status("GET /metrics").await, 200);
}

#[tokio::test]
async fn an_address_in_use_is_had_when_it_is_free() {
    let other = any_port().await;
    let at = other.local_addr().unwrap();
    let at_rest = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let may = Arc::clone(&at_rest);
    let may = move || may.load(std::sync::atomic::Ordering::Relaxed);
    let bound = tokio::spawn(bind(at, Duration::from_millis(20), may));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!bound.is_finished());
    // It is free for a moment, in the middle of an operation: whoever had it gets it back.
    at_rest.store(false, std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(60)).await;
    drop(other);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!bound.is_finished());
    at_rest.store(true, std::sync::atomic::Ordering::Relaxed);
    let listener = timeout(PATIENCE, bound).await.unwrap().unwrap();
    assert_eq!(listener.local_addr().unwrap(), at);
}
