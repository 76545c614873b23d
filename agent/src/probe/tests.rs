//! Every way in which a probe can be answered, by servers of this process on the loopback.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use config::settings::{HttpTarget, ProbeKind, StatusSet, TcpTarget};
use expect_test::{Expect, expect};
use state::observed::{Attachment, ContainerState, DockerHealth};
use state::stack_spec::RestartPolicy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn container(number: u32, state: ContainerState) -> ContainerObs {
    ContainerObs {
        id: format!("{number:064}").parse().unwrap(),
        name: format!("shop-api-{number}"),
        service: "api".parse().unwrap(),
        number,
        image: format!("sha256:{:064}", 1).parse().unwrap(),
        state,
        spec: None,
        operation: None,
        oneoff: false,
        restarts: None,
    }
}

fn settings(kind: ProbeKind, timeout: Duration) -> ProbeSettings {
    let mut policy = ProbePolicy::new("api".parse().unwrap(), "api".parse().unwrap());
    policy.timeout = timeout;
    ProbeSettings { policy, kind }
}

fn http(url: &str, body: Option<&str>) -> ProbeKind {
    ProbeKind::Http {
        target: HttpTarget::Url(url.parse().unwrap()),
        status: StatusSet::default(),
        body: body.map(str::to_owned),
    }
}

fn shown(sample: &Sample) -> String {
    match sample {
        Sample::Pass => String::from("pass"),
        Sample::Fail(why) => format!("fail: {why}"),
        Sample::Unknown(why) => format!("unknown: {why}"),
        Sample::Starting(why) => format!("starting: {why}"),
    }
}

/// Asks `kind` of these containers, each at the loopback.
async fn ask_of(kind: ProbeKind, containers: Known<&[ContainerObs]>, one_shot: bool) -> Sample {
    let known = containers.known().copied().unwrap_or_default();
    let local = IpAddr::from([127, 0, 0, 1]);
    let addresses = known.iter().map(|obs| (obs.id.clone(), local)).collect();
    let view = ServiceView {
        containers,
        addresses: &addresses,
        one_shot,
        uptime: None,
    };
    let prober = NetProber::new().unwrap();
    let probe = settings(kind, Duration::from_millis(600));
    let started = Instant::now();
    let sample = prober.probe(&probe, &view).await;
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "not within its time-out"
    );
    sample
}

async fn ask(kind: ProbeKind) -> String {
    shown(&ask_of(kind, Known::Known(&[]), false).await)
}

/// A server that answers each connection with what `answer` does; how many connections it had.
async fn serve<F>(answer: impl Fn(TcpStream, String) -> F + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            tokio::spawn(answer(stream, request));
        }
    });
    (address, count)
}

/// A server with one fixed answer.
async fn fixed(answer: impl Into<String>) -> SocketAddr {
    let answer = answer.into();
    let (address, _) = serve(move |mut stream, _| {
        let answer = answer.clone();
        async move {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    address
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn check(answer: impl Into<String>, body: Option<&str>, expected: Expect) {
    let address = fixed(answer).await;
    let url = format!("http://{address}/health?token=hunter2");
    let said = ask(http(&url, body)).await.replace(&address.to_string(), "HOST");
    expected.assert_eq(&said);
}

#[tokio::test]
async fn what_an_http_answer_says() {
    check(ok("fine"), None, expect!["pass"]).await;
    check(ok("all is well here"), Some("is well"), expect!["pass"]).await;
    check(
        ok("secret words"),
        Some("is well"),
        expect!["fail: http://HOST/health: the body does not contain the expected text"],
    )
    .await;
    let unavailable = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    check(
        unavailable,
        None,
        expect!["fail: http://HOST/health: status 503, expected 2xx"],
    )
    .await;
    let redirect = "HTTP/1.1 302 Found\r\nLocation: ftp://elsewhere/\r\nContent-Length: 0\r\n\r\n";
    check(
        redirect,
        None,
        expect!["fail: http://HOST/health: it redirects to something that is not http"],
    )
    .await;
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    check(
        short,
        None,
        expect!["fail: http://HOST/health: the answer broke off: end of file before message length reached"],
    )
    .await;
    check(
        "SSH-2.0-OpenSSH_9.2\r\n",
        None,
        expect!["fail: http://HOST/health: invalid HTTP version parsed"],
    )
    .await;
}

#[tokio::test]
async fn a_match_is_found_across_the_pieces_of_a_body() {
    let (address, _) = serve(|mut stream, _| async move {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for piece in ["all i", "s we", "ll"] {
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            stream.write_all(chunk.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    })
    .await;
    let url = format!("http://{address}/");
    assert_eq!(ask(http(&url, Some("is well"))).await, "pass");
    assert!(ask(http(&url, Some("is  well"))).await.starts_with("fail"));
}

#[tokio::test]
async fn an_answer_that_never_comes_or_never_ends_is_a_fail_in_time() {
    let (silent, _) = serve(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let said = ask(http(&format!("http://{silent}/"), None)).await;
    assert_eq!(said, "fail: no whole answer within 600ms");

    let (endless, _) = serve(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 16 * 1024]).await.is_ok() {}
    })
    .await;
    let said = ask(http(&format!("http://{endless}/"), Some("never there"))).await;
    assert_eq!(
        said,
        format!("fail: http://{endless}/: the body is longer than 1024 KiB")
    );

    let (dripping, _) = serve(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let said = ask(http(&format!("http://{dripping}/"), None)).await;
    assert_eq!(said, "fail: no whole answer within 600ms");

    let (headers, _) = serve(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"X-More: and more\r\n").await.is_ok() {}
    })
    .await;
    let said = ask(http(&format!("http://{headers}/"), None)).await;
    assert!(said.starts_with("fail"), "{said}");
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let (address, count) = serve(|mut stream, request| async move {
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let to = match path.as_str() {
            "/once" => "/done",
            "/circle" => "/circle/",
            "/circle/" => "/circle",
            "/done" => "",
            longer => &format!("{longer}x"),
        };
        let answer = if to.is_empty() {
            ok("done")
        } else {
            format!("HTTP/1.1 307 Go\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let base = format!("http://{address}");
    assert_eq!(ask(http(&format!("{base}/once"), Some("done"))).await, "pass");
    assert_eq!(
        ask(http(&format!("{base}/circle"), None)).await,
        format!("fail: {base}/circle: it redirects in a circle")
    );
    let before = count.load(Ordering::SeqCst);
    let said = ask(http(&format!("{base}/longer"), None)).await;
    assert_eq!(said, format!("fail: {base}/longerxxxxxx: more than 5 redirects"));
    assert_eq!(count.load(Ordering::SeqCst) - before, 6);
}

#[tokio::test]
async fn what_cannot_be_reached_is_a_fail_and_what_cannot_be_asked_is_unknown() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let said = ask(http(&format!("http://{address}/?key=hunter2"), None)).await;
    assert_eq!(said, format!("fail: http://{address}/: connection refused"));
    let tcp = |host: &str| ProbeKind::Tcp {
        target: TcpTarget::Address {
            host: host.parse().unwrap(),
            port: address.port(),
        },
    };
    assert_eq!(
        ask(tcp("127.0.0.1")).await,
        format!("fail: {address}: connection refused")
    );
    assert_eq!(
        ask(tcp("no-such-name.invalid")).await,
        "unknown: the name no-such-name.invalid cannot be resolved"
    );
    let said = ask(http("http://no-such-name.invalid/", None)).await;
    assert_eq!(
        said,
        "unknown: http://no-such-name.invalid/: the name no-such-name.invalid cannot be resolved"
    );
    let exhausted = std::io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
    assert!(matches!(words::sample_of(&exhausted), Sample::Unknown(_)));
}

#[tokio::test]
async fn tls_is_spoken_where_the_url_says_so() {
    let address = fixed(ok("fine")).await;
    let said = ask(http(&format!("https://{address}/"), None)).await;
    // A host without any certificate cannot check one; all others hear that this server speaks no TLS.
    let unchecked = said.starts_with("unknown: ") && said.contains("no certificates to check with");
    assert!(unchecked || said.contains("InvalidContentType"), "{said}");
}

#[tokio::test]
async fn a_port_is_asked_at_every_running_container() {
    let (address, count) = serve(|mut stream, _| async move {
        let _ = stream.write_all(ok("fine").as_bytes()).await;
    })
    .await;
    let kind = ProbeKind::Http {
        target: HttpTarget::Container {
            port: address.port(),
            path: String::from("/health"),
        },
        status: StatusSet::default(),
        body: Some(String::from("fine")),
    };
    let two = [1, 2].map(|number| container(number, ContainerState::Running(None)));
    assert_eq!(
        ask_of(kind.clone(), Known::Known(&two), false).await,
        Sample::Pass
    );
    assert_eq!(count.load(Ordering::SeqCst), 2);

    let mut dead = two.clone();
    dead[1].state = ContainerState::Exited(Some(137));
    let said = shown(&ask_of(kind.clone(), Known::Known(&dead), false).await);
    assert_eq!(said, "fail: shop-api-2: exited with code 137");
    let said = shown(&ask_of(kind, Known::Unknown(String::from("no engine")), false).await);
    assert_eq!(said, "unknown: no engine");

    let view = ServiceView {
        containers: Known::Known(&two),
        addresses: &BTreeMap::new(),
        one_shot: false,
        uptime: None,
    };
    let tcp = ProbeKind::Tcp {
        target: TcpTarget::Container { port: 1 },
    };
    let prober = NetProber::new().unwrap();
    let sample = prober
        .ask(&settings(tcp.clone(), Duration::from_secs(1)), &view)
        .await;
    assert_eq!(shown(&sample), "unknown: shop-api-1: its address is not known");
    let said = shown(&ask_of(tcp, Known::Known(&two), false).await);
    assert_eq!(said, "fail: shop-api-1: 127.0.0.1:1: connection refused");
}

#[tokio::test]
async fn the_engines_own_words_are_judged_without_asking() {
    use ContainerState::{Created, Exited, Gone, Paused, Restarting, Running};
    let rows = [
        Running(None),
        Running(Some(DockerHealth::Starting)),
        Running(Some(DockerHealth::Healthy)),
        Running(Some(DockerHealth::Unhealthy)),
        Created,
        Restarting,
        Paused,
        Exited(Some(0)),
        Exited(Some(1)),
        Exited(None),
        Gone,
    ];
    let mut table = String::new();
    for state in rows {
        let one = [container(1, state.clone())];
        let running = ask_of(ProbeKind::Container, Known::Known(&one), false).await;
        let healthy = ask_of(ProbeKind::Healthcheck, Known::Known(&one), false).await;
        let (running, healthy) = (shown(&running), shown(&healthy));
        table += &format!("{state:?} | {running} | {healthy}\n").replace("shop-api-1: ", "");
    }
    expect![[r"
        Running(None) | pass | unknown: it has no HEALTHCHECK
        Running(Some(Starting)) | pass | starting: its HEALTHCHECK is still starting
        Running(Some(Healthy)) | pass | pass
        Running(Some(Unhealthy)) | pass | fail: unhealthy, says its HEALTHCHECK
        Created | fail: created, but not started | fail: created, but not started
        Restarting | fail: dies and is restarted again and again | fail: dies and is restarted again and again
        Paused | fail: paused | fail: paused
        Exited(Some(0)) | fail: exited with code 0 | fail: exited with code 0
        Exited(Some(1)) | fail: exited with code 1 | fail: exited with code 1
        Exited(None) | fail: exited | fail: exited
        Gone | fail: dead, or being removed | fail: dead, or being removed
    "]]
    .assert_eq(&table);

    let mut one = [container(1, Exited(Some(0)))];
    assert_eq!(
        ask_of(ProbeKind::Container, Known::Known(&one), true).await,
        Sample::Pass
    );
    one[0].oneoff = true;
    let said = shown(&ask_of(ProbeKind::Container, Known::Known(&one), true).await);
    assert_eq!(said, "fail: it has no container");
    let away = Known::Unknown(String::from("no engine"));
    assert!(matches!(
        ask_of(ProbeKind::Container, away, false).await,
        Sample::Unknown(_)
    ));
}

#[test]
fn the_worst_of_several_containers_counts() {
    let (pass, fail) = (Sample::Pass, Sample::Fail(String::from("dead")));
    let unknown = Sample::Unknown(String::from("away"));
    let check = |samples: [&Sample; 3]| {
        let named = samples.into_iter().cloned().enumerate();
        shown(&container::together(
            named.map(|(at, sample)| (at.to_string(), sample)),
        ))
    };
    assert_eq!(check([&pass, &pass, &pass]), "pass");
    assert_eq!(check([&pass, &unknown, &pass]), "unknown: 1: away");
    assert_eq!(check([&unknown, &pass, &fail]), "fail: 2: dead");
}

#[tokio::test]
async fn a_start_period_is_not_failure() {
    let one = [container(1, ContainerState::Restarting)];
    let mut probe = settings(ProbeKind::Container, Duration::from_secs(1));
    probe.policy.start_period = Duration::from_secs(30);
    let view = |seconds: Option<u64>| ServiceView {
        containers: Known::Known(&one),
        addresses: const { &BTreeMap::new() },
        one_shot: false,
        uptime: seconds.map(Duration::from_secs),
    };
    let prober = NetProber::new().unwrap();
    let young = prober.probe(&probe, &view(Some(29))).await;
    assert_eq!(
        shown(&young),
        "starting: within its start period: shop-api-1: dies and is restarted again and again"
    );
    for grown in [Some(30), None] {
        assert!(matches!(
            prober.probe(&probe, &view(grown)).await,
            Sample::Fail(_)
        ));
    }
    assert_eq!(
        within_start_period(&probe.policy, Some(Duration::ZERO), Sample::Pass),
        Sample::Pass
    );
}

#[test]
fn a_container_is_reached_at_its_first_address() {
    let attachment = |address: Option<&str>| Attachment {
        network: String::from("shop_default"),
        aliases: Vec::new(),
        fixed_ipv4: None,
        fixed_ipv6: None,
        address: address.map(|address| address.parse().unwrap()),
    };
    let mut detail = ContainerDetail {
        summary: container(1, ContainerState::Running(None)),
        restart: RestartPolicy::No,
        networks: vec![attachment(None), attachment(Some("172.18.0.3"))],
        anonymous: Vec::new(),
        writable: std::collections::BTreeSet::new(),
        homes: std::collections::BTreeSet::new(),
        started: None,
    };
    assert_eq!(address_of(&detail), Some("172.18.0.3".parse().unwrap()));
    detail.networks.pop();
    assert_eq!(address_of(&detail), None);
}
