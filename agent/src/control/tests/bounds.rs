//! What a client that misbehaves can and cannot do: many, silent, deaf, endless, of another version.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::control::server::MAX_CONNECTIONS;
use crate::shared::Difference;

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
    assert!(matches!(error, ClientError::Busy(_)), "{error}");
    assert_eq!((error.code(), error.way_out().as_deref()), (3, Some("try again")));
    until_answered(&daemon).await;
    drop(idle);
}

/// Until those who said nothing are left, and others find a place.
async fn until_answered(daemon: &Daemon) {
    for _ in 0..1000 {
        if daemon.client().all().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unreachable!("nobody is answered any more");
}

/// Both ends of a thousand connections are in this process: where the usual limit is for less, it is raised.
fn have_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, all).unwrap();
}

#[tokio::test]
async fn a_thousand_at_once_are_each_answered_or_turned_away() {
    have_descriptors();
    let daemon = daemon(Limits::default()).await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let client = daemon.client();
        asked.spawn(async move { client.status("shop").await });
    }
    let mut answered = 0;
    while let Some(answer) = asked.join_next().await {
        match answer.unwrap() {
            Ok(status) => answered += usize::from(status.stack == "shop"),
            Err(ClientError::Late { .. }) => unreachable!("nobody is left waiting"),
            Err(error) => assert_eq!(error.code(), 3, "{error}"),
        }
    }
    assert!(answered >= MAX_CONNECTIONS, "{answered}");
    assert!(daemon.client().all().await.is_ok());
}

#[tokio::test]
async fn a_thousand_that_say_nothing_keep_nobody_out_for_long() {
    have_descriptors();
    let limits = Limits {
        request: Duration::from_millis(300),
        door: Duration::from_millis(100),
        ..Limits::default()
    };
    let daemon = daemon(limits).await;
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(UnixStream::connect(&daemon.socket).await.unwrap());
        // The daemon has its turn, or the backlog is full.
        tokio::task::yield_now().await;
    }
    until_answered(&daemon).await;
    drop(silent);
}

/// Whatever the daemon says to `request`, until it closes; the rest of what is sent may find nobody.
async fn raw(daemon: &Daemon, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(&daemon.socket).await.unwrap();
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_is_too_large_too_slow_or_no_request_is_answered_and_never_reaches_the_loop() {
    let limits = Limits {
        request: Duration::from_millis(300),
        ..Limits::default()
    };
    let mut daemon = daemon(limits).await;
    let long = format!(
        "GET /v1/status HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "x".repeat(4 * MAX_BODY)
    );
    assert!(raw(&daemon, long.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let no_request = raw(&daemon, b"\x16\x03\x01 not HTTP at all\r\n\r\n").await;
    assert!(no_request.starts_with("HTTP/1.1 400 "), "{no_request}");
    // A body that is announced, and never comes whole.
    let half = b"POST /v1/act/shop/rollback HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    let answer = raw(&daemon, half).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("did not arrive in time"), "{answer}");
    // One that goes on for ever.
    let mut endless =
        b"POST /v1/act/shop/rollback HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    endless.extend(
        format!("8000\r\n{}\r\n", "x".repeat(0x8000))
            .repeat(4)
            .into_bytes(),
    );
    let answer = raw(&daemon, &endless).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(daemon.orders.try_recv().is_err());
    assert!(daemon.client().all().await.is_ok());
}

#[tokio::test]
async fn a_daemon_of_another_version_is_told_from_one_that_is_broken() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let unknown = "{\"error\": \"no such request\", \"way_out\": null, \"code\": 1}";
    let answers = [
        ("200 OK", "server: steadfast/9.9.9\r\n", "{\"stacks\": 7}"),
        ("404 Not Found", "server: steadfast/9.9.9\r\n", unknown),
        ("200 OK", "", "<html>"),
    ];
    tokio::spawn(async move {
        for (status, server, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let read = stream.read(&mut asked).await.unwrap();
            let asked = String::from_utf8_lossy(&asked[..read]).into_owned();
            assert!(asked.contains("user-agent: steadfast/"), "{asked}");
            let head = format!(
                "HTTP/1.1 {status}\r\n{server}content-length: {}\r\n\r\n",
                body.len()
            );
            stream
                .write_all(format!("{head}{body}").as_bytes())
                .await
                .unwrap();
        }
    });
    let client = Client::new(&socket);
    for (said, way_out) in [
        ("not understood", "the daemon is steadfast/9.9.9"),
        ("no such request", "the daemon is steadfast/9.9.9"),
        ("not understood", "is it Steadfast"),
    ] {
        let error = client.all().await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(
            error.way_out().unwrap().contains(way_out),
            "{:?}",
            error.way_out()
        );
        assert_eq!(error.code(), 1);
    }
}
