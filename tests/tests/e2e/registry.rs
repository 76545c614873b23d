//! An image that cannot be had: only "there is no such image" says something about the release.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent::view::State;
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, WEB};

use super::{Scenario, everywhere};

pub(super) const ALL: &[Scenario] = &[everywhere("an_image_that_cannot_be_had", cannot_be_had)];

/// What the registry says to everything but `/v2/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// It takes the question, and says nothing.
    Silent,
    Broken,
    Busy,
    Locked,
    Unknown,
}

/// A registry that has nothing.
pub(super) struct Registry {
    pub(super) port: u16,
    state: Arc<Mutex<(Mood, usize)>>,
}

impl Registry {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new((Mood::Broken, 0)));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                // A client that hangs up, or speaks TLS, is none.
                std::thread::spawn(move || drop(serve(client, &shared)));
            }
        });
        Ok(Self { port, state })
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (mood, 0);
    }

    pub(super) fn asked(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

fn serve(mut client: TcpStream, state: &Mutex<(Mood, usize)>) -> Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        ensure!(client.read(&mut byte)? == 1 && head.len() < 16 * 1024);
        head.push(byte[0]);
    }
    let first = String::from_utf8_lossy(&head);
    let path = first.split(' ').nth(1).unwrap_or_default();
    let (status, code) = if path == "/v2/" {
        ("200 OK", "")
    } else {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        match state.0 {
            Mood::Silent => {
                drop(state);
                // Until whoever asks has gone.
                client.set_read_timeout(None)?;
                client.read_to_end(&mut Vec::new())?;
                return Ok(());
            }
            Mood::Broken => ("500 Internal Server Error", "UNKNOWN"),
            Mood::Busy => ("429 Too Many Requests", "TOOMANYREQUESTS"),
            Mood::Locked => ("401 Unauthorized", "UNAUTHORIZED"),
            Mood::Unknown => ("404 Not Found", "MANIFEST_UNKNOWN"),
        }
    };
    let body = if code.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"manifest unknown\"}}]}}")
    };
    let body = if code == "MANIFEST_UNKNOWN" {
        body
    } else {
        body.replace("manifest unknown", "not now")
    };
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

fn cannot_be_had(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "image", "v1")?;
    let repository = WEB.replace("steadfast-test/tiny:", "${REPOSITORY:-steadfast-test/tiny}:");
    lab.write("stack/compose.yaml", &repository)?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let web = lab.container("web")?;
    lab.proxy.forget();

    let registry = Registry::start()?;
    lab.write(
        "stack/.env",
        &format!("REPOSITORY=127.0.0.1:{}/app\n", registry.port),
    )?;
    for mood in [Mood::Broken, Mood::Locked, Mood::Busy] {
        registry.set(mood);
        lab.when(&format!("the registry is asked while {mood:?}"), || {
            Ok((registry.asked() > 0).then_some(()))
        })?;
        let seen = lab.until("it waits for the next try", |s| {
            s.operation.is_none() && s.waits.iter().any(|w| w.contains("try"))
        })?;
        ensure!(
            seen.gap.is_none() && seen.hold.is_none(),
            "{mood:?} was taken for a verdict: {seen:#?}"
        );
    }
    registry.set(Mood::Unknown);
    let failed = lab.until("there is no such image", |s| s.gap.is_some())?;
    ensure!(failed.state == State::RolledBack, "{failed:#?}");
    let gap = failed.gap.context("no reason is given")?;
    ensure!(
        !gap.ran && gap.why.contains("manifest unknown"),
        "not the engine's words: {gap:?}"
    );
    ensure!(lab.run(&["status", &lab.name, "--exit-code"])?.code == 1);
    let touched: Vec<_> = lab
        .proxy
        .changes()
        .into_iter()
        .filter(|c| !c.path.contains("/images/"))
        .collect();
    ensure!(touched.is_empty(), "{touched:#?}");
    ensure!(lab.container("web")? == web, "the container was touched");
    lab.end()
}
