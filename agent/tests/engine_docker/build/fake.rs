//! Answers to a build that no real engine gives when it is asked to.

use std::collections::BTreeMap;
use std::fs;

use state::name::ImageId;
use state::stack_spec::BuildSpec;
use steadfast::engine::{Build, DockerEngine, Engine, EngineError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::bench::SECRET;

/// Serves one build: `answer` follows its context. Gives the head of the request.
async fn serve(answer: String) -> (DockerEngine, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_until(&mut stream, b"\r\n\r\n").await;
            if head.starts_with("POST ") {
                read_until(&mut stream, b"0\r\n\r\n").await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                return head;
            }
            let version = r#"{"Version":"28.5.2","ApiVersion":"1.51","MinAPIVersion":"1.24"}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{version}",
                version.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (DockerEngine::new(address.parse().unwrap()), serving)
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        read.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8_lossy(&read).into_owned()
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

async fn answered(answer: String) -> (Result<ImageId, EngineError>, String) {
    let (engine, serving) = serve(answer).await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let spec = BuildSpec {
        args: BTreeMap::from([("TOKEN".to_owned(), Some(SECRET.into()))]),
        ..BuildSpec::default()
    };
    let build = Build {
        context: dir.path(),
        within: None,
        spec: &spec,
        reference: "app:v1",
        labels: BTreeMap::new(),
        platform: Some("linux/amd64"),
    };
    let ended = engine.build(&build, &|_| {}).await;
    (ended, serving.await.unwrap())
}

#[tokio::test]
async fn the_classic_builder_is_asked_for_by_the_version_that_was_agreed_on() {
    let gone = "HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\n{}".to_owned();
    let (built, head) = answered(gone).await;
    assert!(
        matches!(built, Err(EngineError::Refused { status: 500, .. })),
        "{built:?}"
    );
    assert!(
        head.starts_with("POST /v1.51/build?dockerfile=Dockerfile&t=app%3Av1&"),
        "{head}"
    );
    for asked in [
        "&rm=true&",
        "&forcerm=true&",
        "&platform=linux%2Famd64&",
        "&version=1 ",
    ] {
        assert!(head.contains(asked), "{asked}: {head}");
    }
    assert!(head.to_lowercase().contains("\r\nx-registry-config: "), "{head}");
}

#[tokio::test]
async fn an_engine_that_ends_leaves_it_unknown() {
    let ok = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let step = chunk("{\"stream\":\"Step 1/2 : RUN x\"}\r\n{\"stream\":\"\\n\"}\r\n");
    let failed = |words: &str| {
        chunk(&format!(
            "{{\"errorDetail\":{{\"message\":\"{words}\"}},\"error\":\"{words}\"}}\r\n"
        ))
    };
    // It ends in the middle of a step, or before any answer.
    for answer in [format!("{ok}{step}"), String::new()] {
        let (built, _) = answered(answer).await;
        let error = built.unwrap_err();
        assert!(
            matches!(error, EngineError::Unreachable { .. }) && error.leaves_unknown(),
            "{error:?}"
        );
    }
    // Complete, and without an image: what has the reference may be another.
    let (built, _) = answered(format!("{ok}{step}0\r\n\r\n")).await;
    assert!(matches!(built, Err(EngineError::Garbled { .. })), "{built:?}");
    let words = ["build cancelled", "The command 'x' returned a non-zero code: 137"];
    for words in words {
        let (built, _) = answered(format!("{ok}{step}{}0\r\n\r\n", failed(words))).await;
        let error = built.unwrap_err();
        assert!(
            matches!(&error, EngineError::Refused { .. }) && error.leaves_unknown(),
            "{error:?}"
        );
    }
    let words = format!("the engine quotes {SECRET}");
    for answer in [
        format!("{ok}{step}{}0\r\n\r\n", failed(&words)),
        format!(
            "HTTP/1.1 400 X\r\nContent-Length: {}\r\n\r\n{{\"message\":\"{words}\"}}",
            words.len() + 14
        ),
        format!(
            "HTTP/1.1 500 X\r\nContent-Length: {}\r\n\r\n{{\"message\":\"{words}\"}}",
            words.len() + 14
        ),
    ] {
        let (built, _) = answered(answer).await;
        let text = format!("{:?}", built.unwrap_err());
        assert!(
            text.contains("the engine quotes …") && !text.contains(SECRET),
            "{text}"
        );
    }
}
