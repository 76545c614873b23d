//! The connection: address, API version, deadlines, and what an error of the transport means.
//! No call of the engine's own lives here but `GET /version`.

use std::error::Error as _;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::Uri;
use hyper::http::uri::PathAndQuery;

use crate::engine::address::Address;
use crate::engine::api::Api;
use crate::engine::{EngineError, EngineInfo};

/// Lists and inspections.
pub(crate) const READ: Duration = Duration::from_secs(10);
/// Renames, updates, networks, volumes: all that changes little.
pub(crate) const CHANGE: Duration = Duration::from_secs(20);
/// Creating, starting and removing containers.
pub(crate) const CREATE: Duration = Duration::from_secs(60);

/// Bollard's own deadline covers response headers only; ours cover the whole call, so its is out of the way.
const NEVER: u64 = 86_400;
/// The oldest API that is spoken: Engine 20.10.
const OLDEST: Api = Api(1, 41);
/// The newest API that was tried: Engine 28.5.
const NEWEST: Api = Api(1, 51);

/// A client whose requests carry the negotiated API version.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) docker: Docker,
    pub(crate) api: Api,
    pub(crate) info: EngineInfo,
}

impl Client {
    /// The same client, which adds `query` to every address: for what bollard's options have no room.
    pub(crate) fn with_query(&self, query: String) -> Docker {
        let api = self.api;
        let docker = self.docker.clone();
        docker.with_request_modifier(move |request| pinned(extended(request, &query), api))
    }
}

/// Makes the client on first use, and anew after the connection broke: the engine may have been upgraded.
///
/// The lock is never held over an `await`. An operation and what goes on beside it are one task, in which either
/// may stand still while the other is polled: whoever held it would never give it back.
#[derive(Debug)]
pub(crate) struct Connection {
    address: Address,
    client: Mutex<Option<Arc<Client>>>,
}

impl Connection {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            client: Mutex::new(None),
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client, negotiated. Two that need one at once both ask: either answer is right.
    pub(crate) async fn client(&self) -> Result<Arc<Client>, EngineError> {
        let known = self.slot().clone();
        if let Some(client) = known {
            return Ok(client);
        }
        let negotiation = negotiate(&self.address);
        let client = match tokio::time::timeout(READ, negotiation).await {
            Ok(result) => Arc::new(result.map_err(|error| self.translate("version", error))?),
            Err(_) => {
                return Err(EngineError::Timeout {
                    call: "version",
                    after: READ,
                });
            }
        };
        *self.slot() = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Negotiates anew at the next call.
    pub(crate) fn forget(&self) {
        *self.slot() = None;
    }

    /// Runs one call within its deadline.
    pub(crate) async fn within<T>(
        &self,
        call: &'static str,
        after: Duration,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, EngineError> {
        let result = match tokio::time::timeout(after, work).await {
            Ok(result) => result.map_err(|error| self.translate(call, error)),
            Err(_) => Err(EngineError::Timeout { call, after }),
        };
        if let Err(error) = &result
            && may_be_another_engine(error)
        {
            self.forget();
        }
        result
    }

    /// The same for calls where "there is none" is an answer.
    pub(crate) async fn find<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<Option<T>, EngineError> {
        match self.within(call, READ, work).await {
            Ok(found) => Ok(Some(found)),
            Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What an error of the transport or the engine means.
    pub(crate) fn translate(&self, call: &'static str, error: Error) -> EngineError {
        match error {
            Error::DockerResponseServerError { status_code, message } => refusal(call, status_code, message),
            Error::DockerStreamError { error } => EngineError::Refused {
                call,
                status: 500,
                message: error,
            },
            Error::IOError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::SocketNotFoundError(_)
            | Error::RequestTimeoutError => EngineError::Unreachable {
                address: self.address.to_string(),
                reason: chain(&error),
            },
            // A JSON error can quote the value that it stumbled over: only its place is told.
            Error::JsonDataError { column, .. } => EngineError::Garbled {
                call,
                reason: format!("unexpected JSON at column {column}"),
            },
            Error::JsonSerdeError { err } => EngineError::Garbled {
                call,
                reason: format!("unexpected JSON at line {} column {}", err.line(), err.column()),
            },
            other => EngineError::Garbled {
                call,
                reason: chain(&other),
            },
        }
    }
}

/// An answer outside 2xx by what one may conclude from it.
pub(crate) fn refusal(call: &'static str, status: u16, message: String) -> EngineError {
    match status {
        404 => EngineError::NotFound { call, message },
        409 => EngineError::Conflict { call, message },
        _ => EngineError::Refused {
            call,
            status,
            message,
        },
    }
}

fn may_be_another_engine(error: &EngineError) -> bool {
    match error {
        EngineError::Unreachable { .. } | EngineError::Garbled { .. } | EngineError::Timeout { .. } => true,
        EngineError::Refused { status, message, .. } => *status == 400 && message.contains("client version"),
        _ => false,
    }
}

/// An error with all its causes, each once.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

async fn negotiate(address: &Address) -> Result<Client, Error> {
    let docker = connect(address)?;
    let version = docker.version().await?;
    let newest = version
        .api_version
        .as_deref()
        .and_then(Api::parse)
        .unwrap_or(OLDEST);
    let oldest = version
        .min_api_version
        .as_deref()
        .and_then(Api::parse)
        .unwrap_or(OLDEST);
    let api = newest.min(NEWEST);
    if api < OLDEST || api < oldest {
        return Err(Error::DockerResponseServerError {
            status_code: 400,
            message: format!(
                "this engine speaks API {oldest} to {newest}, and Steadfast {OLDEST} to {NEWEST}"
            ),
        });
    }
    Ok(Client {
        docker: docker.with_request_modifier(move |request| pinned(request, api)),
        api,
        info: EngineInfo {
            version: version.version.unwrap_or_default(),
            api: api.to_string(),
        },
    })
}

fn connect(address: &Address) -> Result<Docker, Error> {
    match address {
        Address::Unix(path) => Docker::connect_with_unix(&path.to_string_lossy(), NEVER, API_DEFAULT_VERSION),
        Address::Tcp(host) => Docker::connect_with_http(host, NEVER, API_DEFAULT_VERSION),
    }
}

/// Rewrites the path to `/v{api}{path}`; bollard 0.21.1 sends none (its negotiation is cosmetic).
fn pinned(request: BollardRequest, api: Api) -> BollardRequest {
    rewritten(request, |path| format!("/v{api}{path}"))
}

/// Adds to the query.
fn extended(request: BollardRequest, query: &str) -> BollardRequest {
    rewritten(request, |path| match query {
        "" => path.to_owned(),
        query if path.contains('?') => format!("{path}&{query}"),
        query => format!("{path}?{query}"),
    })
}

fn rewritten(mut request: BollardRequest, rewrite: impl Fn(&str) -> String) -> BollardRequest {
    let mut parts = request.uri().clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", PathAndQuery::as_str);
    if let Ok(rewritten) = rewrite(path).parse::<PathAndQuery>() {
        parts.path_and_query = Some(rewritten);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(Api::parse("1.9").unwrap() < Api::parse("1.41").unwrap());
        assert_eq!(Api::parse("1.44").unwrap(), Api::SEVERAL_NETWORKS);
        assert_eq!(Api::parse("one"), None);
    }

    #[test]
    fn an_answer_that_is_not_understood_quotes_nothing() {
        let connection = Connection::new("unix:///nowhere".parse().unwrap());
        let err = serde_json::from_str::<u8>("\"hunter2\"").unwrap_err();
        let text = connection
            .translate("create", Error::JsonSerdeError { err })
            .to_string();
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[tokio::test]
    async fn nobody_listens() {
        let connection = Connection::new("unix:///nowhere/docker.sock".parse().unwrap());
        let error = connection.client().await.unwrap_err();
        assert!(
            matches!(error, EngineError::Unreachable { .. }) && error.leaves_unknown(),
            "{error}"
        );
    }

    #[tokio::test]
    async fn whoever_asks_and_is_not_polled_holds_nobody_up() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (silent, _) = listener.accept().await.unwrap();
            let (mut asked, _) = listener.accept().await.unwrap();
            assert!(asked.read(&mut [0; 1024]).await.unwrap() > 0);
            let body = r#"{"Version":"20.10.24","ApiVersion":"1.41"}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
            let answer = format!("{head} {}\r\n\r\n{body}", body.len());
            asked.write_all(answer.as_bytes()).await.unwrap();
            silent
        });
        let connection = Connection::new(format!("unix://{}", path.display()).parse().unwrap());
        let mut first = Box::pin(connection.client());
        let a_while = Duration::from_millis(100);
        assert!(tokio::time::timeout(a_while, &mut first).await.is_err());
        // From here on nobody polls the first one.
        let second = tokio::time::timeout(Duration::from_secs(5), connection.client()).await;
        assert_eq!(second.unwrap().unwrap().info.version, "20.10.24");
        drop((first, server));
    }
}
