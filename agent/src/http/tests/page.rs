//! The status page as it is served: for whom, under which name, how it hears of changes, and who may listen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use state::time::Moment;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::server::{Limits, MAX_LISTENERS, ReadPast, Reading, serve_on};
use super::{Daemon, PATIENCE, all_of, answers, any_port, code, daemon, short};
use crate::clock::Clock;
use crate::view::sample;

/// Until `wanted` has come, and all that came before it.
async fn until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut answer = String::new();
    let mut bytes = [0; 4096];
    while !answer.contains(wanted) {
        let many = timeout(PATIENCE, stream.read(&mut bytes)).await;
        let many = many.expect("something comes").unwrap();
        assert!(many > 0, "closed before {wanted}: {answer}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..many]));
    }
    answer
}

const LISTEN: &[u8] = b"GET /events HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n\r\n";

impl Daemon {
    async fn listen(&self) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(LISTEN).await.unwrap();
        stream
    }
}

#[tokio::test]
async fn a_page_is_for_nobody_else_and_runs_nothing_else() {
    let daemon = daemon(Limits::default()).await;
    for path in ["/", "/stacks/shop", "/stacks/nothing", "/metrics", "/nothing"] {
        let answer = daemon.ask(&format!("GET {path}"), "").await;
        for header in [
            "cache-control: no-store\r\n",
            "x-content-type-options: nosniff\r\n",
            "referrer-policy: no-referrer\r\n",
            "cross-origin-resource-policy: same-origin\r\n",
            "content-security-policy: default-src 'none'; script-src 'sha256-",
            "frame-ancestors 'none'\r\n",
        ] {
            assert!(answer.contains(header), "{path}: {header}");
        }
        assert!(!answer.contains("unsafe-inline") && !answer.to_lowercase().contains("set-cookie"));
    }
    let page = daemon.ask("GET /stacks/shop", "").await;
    assert!(page.contains("content-type: text/html; charset=utf-8\r\n"));
    assert!(page.contains("v1.5.0 runs, v1.6.0 was asked for"), "{page}");
}

#[tokio::test]
async fn a_stack_that_is_not_there_is_answered_with_the_way_out() {
    let daemon = daemon(Limits::default()).await;
    for path in ["/stacks/nothing", "/stacks/%3Cscript%3E", "/stacks/SHOP"] {
        let answer = daemon.ask(&format!("GET {path}"), "").await;
        assert_eq!(code(&answer), 404, "{path}");
        assert!(answer.contains("There is no such stack"), "{path}");
        assert!(answer.contains("<a href=\"/stacks/shop\">shop</a>"), "{path}");
    }
}

#[tokio::test]
async fn another_name_is_not_answered() {
    let daemon = daemon(Limits::default()).await;
    for (host, expected) in [
        ("Host: localhost", 200),
        ("Host: localhost:9999", 200),
        ("Host: 127.0.0.1:7878", 200),
        ("Host: [::1]:7878", 200),
        ("Host: evil.example", 421),
        ("Host: evil.example:7878", 421),
        ("Host: 127.0.0.1.evil.example", 421),
        ("Host: localhost\r\nHost: evil.example", 421),
    ] {
        for path in ["/", "/stacks/shop", "/events?", "/metrics", "/healthz"] {
            if path == "/events?" && expected == 200 {
                continue;
            }
            let answer = daemon
                .say(format!("GET {path} HTTP/1.1\r\n{host}\r\n\r\n").as_bytes())
                .await;
            assert_eq!(code(&answer), expected, "{host}: {path}");
            assert!(expected == 200 || !answer.contains("shop"), "{answer}");
        }
    }
    let absolute = daemon
        .say(b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(code(&absolute), 421);
}

#[tokio::test]
async fn who_listens_is_told_of_a_change_and_that_there_was_none() {
    let daemon = daemon(short()).await;
    let mut page = daemon.listen().await;
    let head = until(&mut page, "event: alive\n").await;
    assert_eq!(code(&head), 200);
    assert!(head.contains("content-type: text/event-stream\r\n") && head.contains("cache-control: no-store"));
    daemon.shared.publish(sample::snapshot("failing"));
    until(&mut page, "event: changed\n").await;
    // Longer than other connections live: it is told that the daemon is still there.
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < short().connection * 2 {
        until(&mut page, "event: alive\n").await;
    }
    // And then it comes again.
    let rest = all_of(&mut page).await;
    assert!(begun.elapsed() < short().listening * 2, "{rest}");
}

#[tokio::test]
async fn so_many_listen_and_no_more() {
    let daemon = daemon(short()).await;
    let mut pages = Vec::new();
    for _ in 0..MAX_LISTENERS {
        let mut page = daemon.listen().await;
        until(&mut page, "event: alive\n").await;
        pages.push(page);
    }
    let refused = daemon.say(LISTEN).await;
    assert_eq!(code(&refused), 503);
    assert!(refused.contains("retry-after: 10\r\n"), "{refused}");
    // All else is answered meanwhile, and a publication waits for nobody.
    daemon.shared.publish(sample::snapshot("steady"));
    assert_eq!(daemon.status("GET /").await, 200);
    // Their time ends, whether they read or not, and their places are free again.
    for page in &mut pages {
        all_of(page).await;
    }
    let mut page = daemon.listen().await;
    assert_eq!(code(&until(&mut page, "event: alive\n").await), 200);
    // Somebody else's page takes no place.
    let foreign = daemon.ask("GET /events", "Sec-Fetch-Site: cross-site\r\n").await;
    assert_eq!(code(&foreign), 403);
}

#[tokio::test]
async fn what_has_ended_is_read_once_however_many_ask() {
    let listener = any_port().await;
    let at = listener.local_addr().unwrap();
    let shared = Arc::new(sample::shared());
    shared.publish(sample::snapshot("steady"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let past: ReadPast = Arc::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        futures_util::future::ready(Err(String::from("the disk <is> gone"))).boxed()
    });
    let reading = Reading {
        shared: Arc::clone(&shared),
        stacks: ["shop".parse().unwrap()].into(),
        engine: answers(Ok(())),
        past,
        clock: Arc::new(Standing),
    };
    let started = jiff::Timestamp::UNIX_EPOCH;
    let served = tokio::spawn(serve_on(listener, reading, started, Limits::default()));
    let daemon = Daemon { at, shared, served };
    for _ in 0..20 {
        let page = daemon.ask("GET /stacks/shop", "").await;
        assert!(page.contains("the history cannot be read: the disk &lt;is&gt; gone"));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// A clock that stands still.
struct Standing;

#[async_trait::async_trait]
impl Clock for Standing {
    fn now(&self) -> Moment {
        Moment {
            wall_ms: 1_748_872_803_000,
            boot_ms: 1,
            boot_id: "boot".into(),
        }
    }

    async fn sleep(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}
