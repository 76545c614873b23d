//! The commands' end of the control socket: one request, one answer, within a deadline.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::SERVER;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::protocol::{
    ActAnswer, ActBody, Branched, ErrorBody, MAX_ANSWER, MAX_RELEASE_ACT, MAX_RELEASES, MAX_WAIT,
    ReleaseBody, RevealBody, SOFTWARE,
};
use crate::view::{
    ActList, BackupList, EnvDiff, EnvList, EnvShown, History, Log, PlanView, ReleaseList, Status, StatusList,
};

/// The most that is read of an answer, in bytes.
const MAX_ANSWER_BODY: usize = 32 * 1024 * 1024;
/// How long a read may take.
const READ: Duration = Duration::from_secs(10);
/// How much longer the client waits than the daemon has.
const SLACK: Duration = Duration::from_secs(5);

/// Why there is no answer, or the answer is no.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("the daemon is not reachable at {}", socket.display())]
    NoDaemon {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The socket may not be opened.
    #[error("{} may not be opened", socket.display())]
    Denied {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No answer in time.
    #[error("the daemon at {} did not answer within {} s", socket.display(), after.as_secs())]
    Late {
        /// The socket.
        socket: PathBuf,
        /// The deadline.
        after: Duration,
    },
    /// The connection broke before there was an answer.
    #[error("the daemon at {} broke off: {why}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What the transport said.
        why: String,
    },
    /// The answer makes no sense.
    #[error("the daemon's answer is not understood: {why}")]
    Garbled {
        /// What is wrong with it.
        why: String,
        /// What has answered, where it is not what has asked: `steadfast/0.2.0`.
        other: Option<String>,
    },
    /// Too many ask at once.
    #[error("{}", .0.error)]
    Busy(ErrorBody),
    /// The answer is no.
    #[error("{}", .0.error)]
    Refused(ErrorBody),
}

impl ClientError {
    /// The exit code of the command.
    pub fn code(&self) -> u8 {
        match self {
            Self::NoDaemon { .. } | Self::Denied { .. } | Self::Late { .. } | Self::Broken { .. } => 3,
            Self::Garbled { .. } => 1,
            Self::Busy(body) | Self::Refused(body) => body.code,
        }
    }

    /// The way out.
    pub fn way_out(&self) -> Option<String> {
        Some(match self {
            Self::NoDaemon { .. } => {
                "is it running? `systemctl status steadfast`, or by hand: `steadfast run`".into()
            }
            Self::Denied { .. } => "use sudo, or join the group of the socket".into(),
            Self::Late { .. } => "look at its log: `journalctl -u steadfast`".into(),
            Self::Broken { .. } => "it may be stopping, or busy with other commands: try again".into(),
            Self::Garbled {
                other: Some(other), ..
            } => versions(other),
            Self::Garbled { other: None, .. } => "is it Steadfast that listens there?".into(),
            Self::Busy(body) | Self::Refused(body) => return body.way_out.clone(),
        })
    }
}

/// What to do where the daemon is of another version.
fn versions(other: &str) -> String {
    format!(
        "the daemon is {}, and this command {SOFTWARE}: after an upgrade, `systemctl restart steadfast`",
        other.escape_debug()
    )
}

/// A way to the daemon.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// To the daemon that listens on `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Every stack.
    pub async fn all(&self) -> Result<StatusList, ClientError> {
        self.get("/v1/status", READ).await
    }

    /// One stack.
    pub async fn status(&self, stack: &str) -> Result<Status, ClientError> {
        self.get(&format!("/v1/status/{}", segment(stack)), READ).await
    }

    /// One stack, as soon as something newer than version `after` was published; at the latest
    /// after [`MAX_WAIT`].
    pub async fn wait(&self, stack: &str, after: u64) -> Result<Status, ClientError> {
        let path = format!("/v1/wait/{}?after={after}", segment(stack));
        self.get(&path, MAX_WAIT + SLACK).await
    }

    /// What comes next.
    pub async fn plan(&self, stack: &str) -> Result<PlanView, ClientError> {
        self.get(&format!("/v1/plan/{}", segment(stack)), READ).await
    }

    /// What was, with at most so many ended operations.
    pub async fn history(&self, stack: &str, operations: u32) -> Result<History, ClientError> {
        let path = format!("/v1/history/{}?operations={operations}", segment(stack));
        self.get(&path, READ).await
    }

    /// What was told of the stack after line `after`, as far as it is kept.
    pub async fn log(&self, stack: &str, after: u64) -> Result<Log, ClientError> {
        let path = format!("/v1/log/{}?after={after}", segment(stack));
        self.get(&path, READ).await
    }

    /// What persons have done, the newest first.
    pub async fn acts(&self, stack: &str) -> Result<ActList, ClientError> {
        self.get(&format!("/v1/acts/{}", segment(stack)), READ).await
    }

    /// The backups that there are.
    pub async fn backups(&self, stack: &str) -> Result<BackupList, ClientError> {
        self.get(&format!("/v1/backups/{}", segment(stack)), READ).await
    }

    /// The versions of the env files that are known of.
    pub async fn envs(&self, stack: &str) -> Result<EnvList, ClientError> {
        self.get(&format!("/v1/env/{}", segment(stack)), READ).await
    }

    /// The keys of a version of an env file; `id`: without one, that of the request in force.
    pub async fn env(
        &self,
        stack: &str,
        id: Option<&str>,
        file: Option<&str>,
    ) -> Result<EnvShown, ClientError> {
        let query = query(&[("id", id), ("file", file)]);
        let path = format!("/v1/env/{}/show{query}", segment(stack));
        self.get(&path, READ).await
    }

    /// Likewise with its values, for root, and why.
    pub async fn env_revealed(
        &self,
        stack: &str,
        id: Option<&str>,
        file: Option<&str>,
        reason: Option<String>,
    ) -> Result<EnvShown, ClientError> {
        let query = query(&[("id", id), ("file", file)]);
        let path = format!("/v1/env/{}/reveal{query}", segment(stack));
        let json = json(&RevealBody { reason })?;
        self.send(Method::POST, &path, json, MAX_ANSWER * 2 + SLACK).await
    }

    /// Which keys differ from version `a` to version `b`; without the latter, to what is in the file now.
    pub async fn env_diff(
        &self,
        stack: &str,
        (a, b): (&str, Option<&str>),
        file: Option<&str>,
    ) -> Result<EnvDiff, ClientError> {
        let query = query(&[("a", Some(a)), ("b", b), ("file", file)]);
        let path = format!("/v1/env/{}/diff{query}", segment(stack));
        self.get(&path, READ).await
    }

    /// The releases that the stack's repository has, which is asked first what it has.
    pub async fn releases(&self, stack: &str) -> Result<ReleaseList, ClientError> {
        let path = format!("/v1/releases/{}", segment(stack));
        self.get(&path, MAX_RELEASES + SLACK).await
    }

    /// Asks for an act in the stack's repository: `branch`, `hotfix`, `revert-file`.
    pub async fn release(&self, stack: &str, act: &str, body: &ReleaseBody) -> Result<Branched, ClientError> {
        let path = format!("/v1/release/{}/{}", segment(stack), segment(act));
        let json = json(body)?;
        self.send(Method::POST, &path, json, MAX_RELEASE_ACT + SLACK)
            .await
    }

    /// Asks for an act: `retry`, `rollback`, `pause`, `resume`, `approve`, `deny`.
    pub async fn act(&self, stack: &str, act: &str, body: &ActBody) -> Result<ActAnswer, ClientError> {
        let path = format!("/v1/act/{}/{}", segment(stack), segment(act));
        let json = json(body)?;
        self.send(Method::POST, &path, json, MAX_ANSWER * 2 + SLACK).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, within: Duration) -> Result<T, ClientError> {
        self.send(Method::GET, path, Vec::new(), within).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<T, ClientError> {
        let late = |_| ClientError::Late {
            socket: self.socket.clone(),
            after: within,
        };
        let answer = tokio::time::timeout(within, self.exchange(method, path, body))
            .await
            .map_err(late)??;
        let other = answer.server.filter(|server| server != SOFTWARE);
        let garbled = |error: serde_json::Error| ClientError::Garbled {
            why: error.to_string(),
            other: other.clone(),
        };
        if answer.status == StatusCode::OK {
            return serde_json::from_slice(&answer.body).map_err(garbled);
        }
        let mut body: ErrorBody = serde_json::from_slice(&answer.body).map_err(garbled)?;
        match (answer.status, other) {
            (StatusCode::TOO_MANY_REQUESTS, _) => return Err(ClientError::Busy(body)),
            // A request that it does not know.
            (StatusCode::NOT_FOUND, Some(other)) if body.code == 1 => body.way_out = Some(versions(&other)),
            _ => {}
        }
        Err(ClientError::Refused(body))
    }

    async fn exchange(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Answer, ClientError> {
        let broken = |why: String| ClientError::Broken {
            socket: self.socket.clone(),
            why,
        };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(error.to_string()))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "steadfast")
            .header("user-agent", SOFTWARE)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unsaid(&error))?;
        // The connection moves only while it is polled; it ends with the answer.
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| broken(error.to_string()))?;
        let status = answer.status();
        let server = answer.headers().get(SERVER).and_then(|name| name.to_str().ok());
        let server = server.map(str::to_owned);
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BODY).collect().await;
        driver.abort();
        let body = body.map_err(|error| broken(error.to_string()))?;
        Ok(Answer {
            status,
            server,
            body: body.to_bytes(),
        })
    }

    fn unreachable(&self, source: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match source.kind() {
            io::ErrorKind::PermissionDenied => ClientError::Denied { socket, source },
            _ => ClientError::NoDaemon { socket, source },
        }
    }
}

/// An answer, not yet understood.
struct Answer {
    status: StatusCode,
    /// What has answered, by its own word.
    server: Option<String>,
    body: Bytes,
}

fn json(body: &impl Serialize) -> Result<Vec<u8>, ClientError> {
    serde_json::to_vec(body).map_err(|error| unsaid(&error))
}

/// What is asked cannot be written down.
fn unsaid(error: &dyn std::error::Error) -> ClientError {
    ClientError::Garbled {
        why: error.to_string(),
        other: None,
    }
}

/// What is asked of a path: `?id=…&file=…`, without what nobody has said.
fn query(all: &[(&str, Option<&str>)]) -> String {
    let said = all.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let words: Vec<String> = said
        .map(|(name, value)| format!("{name}={}", segment(value)))
        .collect();
    if words.is_empty() {
        return String::new();
    }
    format!("?{}", words.join("&"))
}

/// A path segment. Stack names need no escape; what is no name must not become another path.
fn segment(text: &str) -> String {
    let mut segment = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            segment.push(char::from(byte));
        } else {
            segment.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    segment
}

fn hex(digit: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(digit)])
}
