//! Every request that the daemon knows, as a table: the router is built from it, and so is the document that is served and
//! committed (`docs/reference/api.json`). What is not in it is not answered.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension};
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};

use super::access::Peer;
use super::failure::Failure;
use super::protocol::{MAX_BODY, SOFTWARE, VERSION};
use super::releases;
use super::server::{self, App, env, log};

/// OpenAPI 3.1, of the table below; `openapi.rs` makes it, and a test keeps it as the table is.
const DOCUMENT: &str = include_str!("../../../docs/reference/api.json");

/// Whether something can be changed by a request, and who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Nothing is changed: whoever can open the socket.
    Read,
    /// Whom `[agent.control]` lets do the act.
    Act,
    /// Root alone.
    Root,
}

/// A parameter of a query.
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "the document is made by a test, and committed")
)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) is_number: bool,
    pub(super) is_required: bool,
    pub(super) what: &'static str,
}

/// One request.
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "the document is made by a test, and committed")
)]
pub(super) struct Route {
    /// With `{stack}` and `{act}` in it.
    pub(super) path: &'static str,
    pub(super) handler: fn() -> MethodRouter<Arc<App>>,
    pub(super) right: Right,
    /// What `{act}` can be.
    pub(super) acts: &'static [&'static str],
    pub(super) query: &'static [Parameter],
    /// The shape of its body, and of its answer.
    pub(super) body: Option<&'static str>,
    pub(super) answer: &'static str,
    pub(super) what: &'static str,
}

const fn read(
    path: &'static str,
    handler: fn() -> MethodRouter<Arc<App>>,
    answer: &'static str,
    what: &'static str,
) -> Route {
    Route {
        path,
        handler,
        right: Right::Read,
        acts: &[],
        query: &[],
        body: None,
        answer,
        what,
    }
}

const fn optional(name: &'static str, what: &'static str) -> Parameter {
    Parameter {
        name,
        is_number: false,
        is_required: false,
        what,
    }
}

const FILE: Parameter = optional(
    "file",
    "The env file, or the end of its path; without it, the stack's own.",
);
const ENV_ID: Parameter = optional("id", "The version; without it, the one that is asked for.");

/// All of them.
pub(super) const ROUTES: [Route; 16] = [
    read("/v1/openapi.json", || get(document), "OpenApi", "This document."),
    read(
        "/v1/status",
        || get(server::all),
        "StatusList",
        "How every stack is.",
    ),
    read(
        "/v1/status/{stack}",
        || get(server::status),
        "Status",
        "How a stack is.",
    ),
    read(
        "/v1/plan/{stack}",
        || get(server::plan),
        "PlanView",
        "What is being done, or would be done next, and why.",
    ),
    Route {
        query: &[Parameter {
            is_number: true,
            ..optional(
                "operations",
                "At most so many operations that have ended; without it, 20.",
            )
        }],
        ..read(
            "/v1/history/{stack}",
            || get(server::history),
            "History",
            "The generations, and the last operations with their steps.",
        )
    },
    Route {
        query: &[Parameter {
            name: "after",
            is_number: true,
            is_required: true,
            what: "The `version` that was seen last.",
        }],
        ..read(
            "/v1/wait/{stack}",
            || get(server::wait),
            "Status",
            "How a stack is, as soon as it is another version than the one that was seen; after 25 s in any case. Asked again \
             and again it tells the progress of what goes on.",
        )
    },
    Route {
        query: &[Parameter {
            is_number: true,
            ..optional("after", "The number of the last line that is known.")
        }],
        ..read(
            "/v1/log/{stack}",
            || get(log::log),
            "Log",
            "The last lines of the log about it since the daemon was started, the oldest first.",
        )
    },
    read(
        "/v1/backups/{stack}",
        || get(server::backups),
        "BackupList",
        "The backups of its database.",
    ),
    read(
        "/v1/env/{stack}",
        || get(env::list),
        "EnvList",
        "The versions of its env files that are known.",
    ),
    Route {
        query: &[ENV_ID, FILE],
        ..read(
            "/v1/env/{stack}/show",
            || get(env::show),
            "EnvShown",
            "The names in a version of an env file, without their values.",
        )
    },
    Route {
        query: &[
            Parameter {
                is_required: true,
                ..optional("a", "The version from which.")
            },
            optional("b", "The version to which; without it, what is in the file now."),
            FILE,
        ],
        ..read(
            "/v1/env/{stack}/diff",
            || get(env::diff),
            "EnvDiff",
            "The names that differ between two versions of an env file, never how.",
        )
    },
    Route {
        right: Right::Root,
        query: &[ENV_ID, FILE],
        body: Some("RevealBody"),
        ..read(
            "/v1/env/{stack}/reveal",
            || post(env::reveal),
            "EnvShown",
            "The names in a version of an env file with their values. It goes on record before they are shown.",
        )
    },
    read(
        "/v1/releases/{stack}",
        || get(releases::list),
        "ReleaseList",
        "The tags of the repository that its releases come from; within 30 s.",
    ),
    Route {
        right: Right::Act,
        acts: &["branch", "hotfix", "revert-file"],
        body: Some("ReleaseBody"),
        ..read(
            "/v1/release/{stack}/{act}",
            || post(releases::act),
            "Branched",
            "Makes a branch in that repository; answered when it is done, within 45 s.",
        )
    },
    Route {
        right: Right::Act,
        acts: &[
            "retry",
            "rollback",
            "pause",
            "resume",
            "approve",
            "deny",
            "backup",
            "verify",
            "restore",
            "drop",
            "put-in",
            "drop-rows",
            "env-restore",
            "env-import",
        ],
        body: Some("ActBody"),
        ..read(
            "/v1/act/{stack}/{act}",
            || post(server::act),
            "ActAnswer",
            "Asks for an act. Answered when it is decided, mostly before it is done: `status`, `wait` and `history` say what \
             comes of it.",
        )
    },
    read(
        "/v1/acts/{stack}",
        || get(server::acts),
        "ActList",
        "What persons have done, the newest first: who, when, why; and who was refused.",
    ),
];

/// Answers all of them, and says of anything else what there is.
pub(super) fn router(app: Arc<App>) -> Router {
    let empty = Router::new();
    let all = ROUTES
        .iter()
        .fold(empty, |router, route| router.route(route.path, (route.handler)()));
    all.fallback(unknown)
        .method_not_allowed_fallback(async || {
            let error = "the daemon does not know this method of the request";
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, 1, error).way_out(WAY_OUT)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}

const WAY_OUT: &str = "`GET /v1/openapi.json` lists what there is";

async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

/// A version of the interface that is not known is told from a request that is not.
async fn unknown(Extension(_): Extension<Peer>, uri: Uri) -> Failure {
    let first = uri.path().split('/').nth(1).unwrap_or_default();
    let digits = first.strip_prefix('v').unwrap_or_default();
    let is_version = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
    if is_version && first != VERSION {
        let error = format!("this daemon, {SOFTWARE}, knows {VERSION} of the interface, and not {first}");
        let way_out = "are the daemon and this command of the same version? An upgrade needs `systemctl restart steadfast`";
        return Failure::new(StatusCode::NOT_FOUND, 1, error).way_out(way_out);
    }
    let error = format!("this daemon, {SOFTWARE}, does not know this request");
    Failure::new(StatusCode::NOT_FOUND, 1, error).way_out(WAY_OUT)
}
