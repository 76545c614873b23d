//! A command in a container that runs.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde_json::json;
use state::name::ContainerId;
use steadfast::engine::{Engine, EngineError, Exec};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::support::{Project, SHELL, docker, project_of, web};

/// A container in which nothing happens.
async fn idle(name: &str) -> Option<(Project, ContainerId)> {
    let services = web(json!({"entrypoint": ["sleep", "300"], "init": true}));
    let p = project_of(name, SHELL, services).await?;
    p.make_objects().await;
    let id = p.create().await;
    p.engine.start(&id).await.unwrap();
    Some((p, id))
}

fn shell<'a>(id: &'a ContainerId, script: &str, output: &'a mut (dyn AsyncWrite + Send + Unpin)) -> Exec<'a> {
    Exec {
        container: id,
        command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
        env: vec![("COLOUR".to_owned(), "blue".into())],
        user: None,
        input: None,
        output,
        wrap: false,
        within: Duration::from_secs(120),
    }
}

/// How much memory this process has ever taken, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Counts what is written, or refuses it from some point on.
#[derive(Default)]
struct Count {
    bytes: u64,
    other_than_zero: u64,
    full_after: Option<u64>,
}

impl AsyncWrite for Count {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.bytes += bytes.len() as u64;
        self.other_than_zero += bytes.iter().filter(|byte| **byte != 0).count() as u64;
        if self.full_after.is_some_and(|most| self.bytes > most) {
            return Poll::Ready(Err(std::io::ErrorKind::StorageFull.into()));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Never gives anything, and never ends.
struct Silent;

impl AsyncRead for Silent {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

const MUCH: u64 = 100 * 1024 * 1024;

#[tokio::test]
async fn streams_are_handed_through_in_flat_memory() {
    let Some((p, id)) = idle("exec-much").await else {
        return;
    };
    let mut count = Count::default();
    let before = peak();
    let done = p
        .engine
        .exec(shell(&id, &format!("head -c {MUCH} /dev/zero"), &mut count))
        .await
        .unwrap();
    assert_eq!((done.code, done.bytes), (0, MUCH));
    assert_eq!((count.bytes, count.other_than_zero), (MUCH, 0));

    // And the other way, the half of it back.
    let mut count = Count::default();
    let mut input = tokio::io::AsyncReadExt::take(tokio::io::repeat(b'x'), MUCH);
    let mut exec = shell(
        &id,
        "tee /proc/self/fd/2 2>/dev/null | head -c 52428800; cat >/dev/null",
        &mut count,
    );
    exec.input = Some(&mut input);
    let done = p.engine.exec(exec).await.unwrap();
    assert_eq!(done.bytes, MUCH / 2);
    // Other tests run in this process too.
    let grown = peak() - before;
    assert!(grown < 40 * 1024 * 1024, "{grown} bytes more");
}

#[tokio::test]
async fn input_is_read_to_its_end_and_both_outputs_and_the_code_are_told() {
    let Some((p, id)) = idle("exec-said").await else {
        return;
    };
    let mut output = Vec::new();
    // It ends when its input is closed, and not before.
    let mut input = &b"one\ntwo\n"[..];
    let mut exec = shell(
        &id,
        "cat; echo $COLOUR; id -un; echo to err >&2; exit 9",
        &mut output,
    );
    exec.input = Some(&mut input);
    exec.user = Some("postgres".to_owned());
    let done = p.engine.exec(exec).await.unwrap();
    assert_eq!((done.code, done.stderr.as_str(), done.bytes), (9, "to err\n", 22));
    assert_eq!(String::from_utf8(output).unwrap(), "one\ntwo\nblue\npostgres\n");

    // Without one it is at its end at once, and one that is not wanted is no error.
    let mut output = Vec::new();
    let done = p
        .engine
        .exec(shell(&id, "cat; echo end", &mut output))
        .await
        .unwrap();
    assert_eq!((done.code, output.as_slice()), (0, &b"end\n"[..]));
    for wanted in [
        &mut Silent as &mut (dyn AsyncRead + Send + Unpin),
        &mut tokio::io::repeat(1),
    ] {
        let mut output = Vec::new();
        let mut exec = shell(&id, "exec <&-; echo end", &mut output);
        exec.input = Some(wanted);
        let done = p.engine.exec(exec).await.unwrap();
        assert_eq!((done.code, output.as_slice()), (0, &b"end\n"[..]));
    }
    let mut output = Vec::new();
    let long = "i=0; while [ $i -lt 40000 ]; do echo 'forty-eight bytes are in every one of these lines'; i=$((i+1)); done >&2; echo end >&2";
    let done = p.engine.exec(shell(&id, long, &mut output)).await.unwrap();
    assert_eq!(done.stderr.len(), steadfast::engine::OUTPUT_BYTES);
    assert!(done.stderr.ends_with("lines\nend\n"));
}

#[tokio::test]
async fn a_program_that_is_not_there_says_so_in_the_output() {
    let Some((p, id)) = idle("exec-none").await else {
        return;
    };
    for wrap in [false, true] {
        let mut output = Vec::new();
        let mut exec = shell(&id, "", &mut output);
        exec.command = vec!["no-such-program".to_owned()];
        exec.wrap = wrap;
        let done = p.engine.exec(exec).await.unwrap();
        assert!(matches!(done.code, 126 | 127), "{done:?}");
        let words = String::from_utf8_lossy(&output).into_owned() + &done.stderr;
        assert!(words.contains("no-such-program"), "{words}");
    }
    docker(&["stop", "-t", "0", id.as_str()]);
    let mut output = Vec::new();
    let error = p.engine.exec(shell(&id, "true", &mut output)).await.unwrap_err();
    assert!(matches!(error, EngineError::Conflict { .. }), "{error}");
}

#[tokio::test]
async fn what_takes_too_long_is_ended_where_it_is_wrapped() {
    let Some((p, id)) = idle("exec-late").await else {
        return;
    };
    let runs = |seconds: &str| {
        let processes = docker(&["exec", id.as_str(), "ps", "-eo", "args"]);
        processes.contains(&format!("sleep {seconds}"))
    };
    for (wrap, seconds) in [(true, "71.5"), (false, "72.5")] {
        let mut output = Vec::new();
        let mut exec = shell(&id, &format!("echo begun; sleep {seconds}"), &mut output);
        (exec.wrap, exec.within) = (wrap, Duration::from_secs(1));
        let began = Instant::now();
        let error = p.engine.exec(exec).await.unwrap_err();
        let is_late = matches!(error, EngineError::Timeout { call: "exec", after } if after.as_secs() == 1);
        assert!(is_late && began.elapsed() < Duration::from_secs(5), "{error}");
        assert_eq!(output, b"begun\n");
        assert_eq!(runs(seconds), !wrap);
    }
}

#[tokio::test]
async fn a_sink_that_is_full_is_no_fault_of_the_engine() {
    let Some((p, id)) = idle("exec-full").await else {
        return;
    };
    let mut sink = Count {
        full_after: Some(1_000_000),
        ..Count::default()
    };
    let exec = shell(&id, &format!("head -c {MUCH} /dev/zero"), &mut sink);
    let error = p.engine.exec(exec).await.unwrap_err();
    assert!(matches!(error, EngineError::Stream { .. }), "{error}");
    assert!(sink.bytes < 3_000_000);
}
