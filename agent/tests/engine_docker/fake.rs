//! An engine that says what no real one here does: other versions, refusals, half answers.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use steadfast::engine::{DockerEngine, Engine, EngineError, Exec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

type Answers = fn(&str) -> (u16, Value);

/// Serves `answers`; gives the engine on it and the paths that it was asked for.
async fn serve(answers: Answers) -> (DockerEngine, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, answers, &seen).await;
        }
    });
    (DockerEngine::new(address.parse().unwrap()), asked)
}

async fn answer(mut stream: TcpStream, answers: Answers, asked: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 1024];
        match stream.read(&mut part).await {
            Ok(read) if read > 0 => request.extend_from_slice(&part[..read]),
            _ => return,
        }
    }
    let line = String::from_utf8_lossy(&request)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (status, body) = answers(&path);
    asked.lock().unwrap().push(path);
    // Status 0 stands for a connection that breaks before any answer.
    if status != 0 {
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
    }
}

fn version(newest: &str, oldest: &str) -> (u16, Value) {
    (
        200,
        json!({"Version": "29.0.0", "ApiVersion": newest, "MinAPIVersion": oldest}),
    )
}

#[tokio::test]
async fn the_version_is_agreed_on_and_in_every_path() {
    let (engine, asked) = serve(|path| match path {
        "/version" => version("1.99", "1.44"),
        _ => (200, json!([])),
    })
    .await;
    assert_eq!(engine.info().await.unwrap().api, "1.51");
    assert!(
        engine
            .containers(&"shop".parse().unwrap())
            .await
            .unwrap()
            .is_empty()
    );
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked[1].starts_with("/v1.51/containers/json?all=true&"),
        "{asked:?}"
    );
    assert!(
        asked[1].contains("com.docker.compose.project%3Dshop"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn the_version_is_in_the_paths_of_commands_too() {
    let (engine, asked) = serve(|path| match path {
        "/version" => version("1.51", "1.44"),
        path if path.ends_with("/exec") => (201, json!({"Id": "e0"})),
        _ => (500, json!({"message": "hunter2 is not known"})),
    })
    .await;
    let container = "ab".repeat(32).parse().unwrap();
    let mut output = Vec::new();
    let exec = Exec {
        container: &container,
        command: vec!["true".to_owned()],
        env: vec![("TOKEN".to_owned(), "hunter2".into())],
        user: None,
        input: None,
        output: &mut output,
        wrap: true,
        within: std::time::Duration::from_secs(5),
    };
    assert!(!format!("{exec:?}").contains("hunter2"));
    let error = engine.exec(exec).await.unwrap_err();
    assert_eq!(error.to_string(), "start exec: … is not known (status 500)");
    let asked = asked.lock().unwrap();
    let paths: Vec<_> = asked.iter().filter(|path| *path != "/version").collect();
    let create = format!("/v1.51/containers/{}/exec", container.as_str());
    assert_eq!(paths, [create.as_str(), "/v1.51/exec/e0/start"]);
}

#[tokio::test]
async fn an_engine_that_is_too_new_or_too_old_is_refused() {
    let (new, _) = serve(|_| version("1.99", "1.90")).await;
    let error = new.info().await.unwrap_err();
    assert!(error.to_string().contains("API 1.90 to 1.99"), "{error}");
    let (old, _) = serve(|_| version("1.40", "1.12")).await;
    assert!(matches!(old.info().await, Err(EngineError::Refused { .. })));
}

#[tokio::test]
async fn an_upgraded_engine_is_negotiated_with_anew() {
    let (engine, asked) = serve(|path| match path {
        "/version" => version("1.51", "1.44"),
        _ => (400, json!({"message": "client version 1.51 is too old"})),
    })
    .await;
    for _ in 0..2 {
        let refused = engine.containers(&"shop".parse().unwrap()).await;
        assert!(matches!(refused, Err(EngineError::Refused { status: 400, .. })));
    }
    assert_eq!(
        asked
            .lock()
            .unwrap()
            .iter()
            .filter(|path| *path == "/version")
            .count(),
        2
    );
}

#[tokio::test]
async fn a_broken_connection_leaves_it_unknown() {
    let (engine, _) = serve(|path| match path {
        "/version" => version("1.51", "1.44"),
        _ => (0, Value::Null),
    })
    .await;
    let error = engine.start(&"ab".repeat(32).parse().unwrap()).await.unwrap_err();
    assert!(
        matches!(error, EngineError::Unreachable { .. }) && error.leaves_unknown(),
        "{error}"
    );
}

#[tokio::test]
async fn pulls_fail_by_what_the_registry_said() {
    let (engine, _) = serve(|path| match path {
        "/version" => version("1.51", "1.44"),
        path if path.contains("unknown") => {
            (404, json!({"message": "manifest for unknown:v9 not found: manifest unknown: manifest unknown"}))
        }
        path if path.contains("midway") => {
            (200, json!({"errorDetail": {"message": "manifest unknown"}, "error": "manifest unknown"}))
        }
        path if path.contains("private") => {
            (404, json!({"message": "pull access denied for private, repository does not exist or may require 'docker login'"}))
        }
        _ => (500, json!({"message": "Get https://registry.example/v2/: 503 Service Unavailable"})),
    })
    .await;
    let quiet = |_: String| {};
    for gone in ["unknown:v9", "midway:v9"] {
        let error = engine.pull(gone, None, &quiet).await.unwrap_err();
        assert!(
            matches!(&error, EngineError::ManifestUnknown { reference, .. } if reference == gone),
            "{error}"
        );
    }
    for passing in ["private:v1", "registry.example/app:v1"] {
        let error = engine.pull(passing, None, &quiet).await.unwrap_err();
        assert!(matches!(error, EngineError::Refused { .. }), "{error}");
    }
}
