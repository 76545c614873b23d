//! What is answered about env files: which versions there are, and the keys in one. Values leave for root alone, and after
//! it is on record who is shown them.

use std::path::Path as FsPath;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::StatusCode;
use config::read::ReadError;
use serde::Deserialize;
use state::env_version::{EnvVersion, find, paths, versions, which};
use state::ledger::LedgerError;
use state::name::{Digest, EnvId};
use state::order::Refused;
use tokio::sync::oneshot;

use super::act::{body, pass_on};
use super::{Answer, App, Failure};
use crate::control::access::Peer;
use crate::control::protocol::RevealBody;
use crate::shared::{AboutEnv, ActKind, Order, Snapshot};
use crate::view::{EnvDiff, EnvList, EnvShown, EnvText};

/// Which version of which env file.
#[derive(Debug, Default, Deserialize)]
pub(in crate::control) struct Wanted {
    /// Without it, that of the request in force.
    id: Option<String>,
    file: Option<String>,
}

/// Two versions; without `b`, what is in the file now.
#[derive(Debug, Deserialize)]
pub(in crate::control) struct Two {
    a: String,
    b: Option<String>,
    file: Option<String>,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let failure = Self::new(StatusCode::CONFLICT, 5, refused.why);
        match refused.way_out {
            Some(way_out) => failure.way_out(way_out),
            None => failure,
        }
    }
}

pub(in crate::control) async fn list(
    State(app): State<Arc<App>>,
    Path(stack): Path<String>,
) -> Answer<EnvList> {
    let snapshot = app.snapshot(&stack)?;
    blocking(move || {
        let known = Known::of(&app, &snapshot);
        let rows = known.versions.iter().map(|version| {
            let is_kept = matches!(app.store.object(&version.content), Ok(Some(_)));
            (version, is_kept)
        });
        Ok(EnvList::of((&snapshot.record.stack, &snapshot.env_file), rows))
    })
    .await
}

pub(in crate::control) async fn show(
    State(app): State<Arc<App>>,
    Path(stack): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answer<EnvShown> {
    let snapshot = app.snapshot(&stack)?;
    blocking(move || {
        let (version, text) = one(&app, &snapshot, &wanted)?;
        Ok(EnvShown::masked(&snapshot.record.stack, &version, &text))
    })
    .await
}

pub(in crate::control) async fn reveal(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path(stack): Path<String>,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Answer<EnvShown> {
    let body: RevealBody = body(request, app.limits.request).await?;
    let snapshot = app.snapshot(&stack)?;
    if peer.uid != 0 {
        let act = ActKind::RevealEnv.as_str();
        return Err(app.refuse(peer, act, &snapshot.record, body.reason).await);
    }
    let reason = body
        .why()
        .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, 2, error))?;
    let (of, read) = (Arc::clone(&app), Arc::clone(&snapshot));
    let Json((version, text)) = blocking(move || one(&of, &read, &wanted)).await?;
    let (answer, answered) = oneshot::channel();
    let order = Order {
        stack: snapshot.record.stack.clone(),
        act: ActKind::RevealEnv,
        by: app.access.author(peer),
        reason,
        ask: None,
        dump: None,
        database: None,
        env: Some(AboutEnv::Version {
            id: version.id.clone(),
            of: Some(version.path.clone()),
        }),
        answer,
    };
    drop(pass_on(&app.orders, order, answered).await?);
    Ok(Json(EnvShown::revealed(&snapshot.record.stack, &version, text)))
}

pub(in crate::control) async fn diff(
    State(app): State<Arc<App>>,
    Path(stack): Path<String>,
    Query(two): Query<Two>,
) -> Answer<EnvDiff> {
    let snapshot = app.snapshot(&stack)?;
    blocking(move || {
        let known = Known::of(&app, &snapshot);
        let path = which(&known.paths, two.file.as_deref().map(FsPath::new))?;
        let named = |text: &str| -> Result<_, Failure> {
            let version = find(&known.versions, path, &id(text)?)?;
            Ok((Some(version), content(&app, version)?))
        };
        let a = named(&two.a)?;
        let b = match &two.b {
            Some(b) => named(b)?,
            None => match in_file(&app, &known.versions, path)? {
                Some((version, bytes)) => (Some(version), bytes),
                None => (None, Vec::new()),
            },
        };
        let text = |bytes: &[u8]| EnvText::read(path, bytes);
        let texts = (text(&a.1), text(&b.1));
        let identical = b.0.is_some() && a.1 == b.1;
        Ok(EnvDiff::of(
            &snapshot.record.stack,
            path,
            (a.0, b.0),
            (&texts.0, &texts.1),
            identical,
        ))
    })
    .await
}

/// Reading the disk and the ledger blocks: not on the loop's thread.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Answer<T> {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read.map(Json),
        Err(error) => Err(unreadable(&error.to_string())),
    }
}

/// What is known of a stack's env files.
struct Known {
    paths: Vec<std::path::PathBuf>,
    versions: Vec<EnvVersion>,
}

impl Known {
    fn of(app: &App, snapshot: &Snapshot) -> Self {
        let paths = paths(&snapshot.record, &snapshot.env_file);
        let is = |path: &std::path::PathBuf| match app.files.read(path) {
            Ok(bytes) => Some((path.clone(), Some(Digest::of(&bytes)))),
            Err(ReadError::Absent { .. }) => Some((path.clone(), None)),
            Err(_) => None,
        };
        let disk = paths.iter().filter_map(is).collect();
        let key = app.store.host_key();
        let versions = versions(&snapshot.record, &snapshot.env_file, &key, &disk);
        Self { paths, versions }
    }
}

/// The version that is wanted, and what is in it.
fn one(app: &App, snapshot: &Snapshot, wanted: &Wanted) -> Result<(EnvVersion, EnvText), Failure> {
    let known = Known::of(app, snapshot);
    let path = which(&known.paths, wanted.file.as_deref().map(FsPath::new))?;
    let version = if let Some(text) = &wanted.id {
        find(&known.versions, path, &id(text)?)?
    } else {
        let mut all = known.versions.iter();
        let asked = all.find(|version| version.is_asked_for && version.path == path);
        asked.ok_or_else(|| {
            let why = format!("no version of {} is asked for", path.display());
            Refused::new(why, "name one by its id: `steadfast env list` shows them")
        })?
    };
    let bytes = content(app, version)?;
    Ok((version.clone(), EnvText::read(path, &bytes)))
}

fn id(text: &str) -> Result<EnvId, Failure> {
    text.parse()
        .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, 2, format!("{error}")))
}

/// What a version holds. What nobody has taken up yet is in the file alone.
fn content(app: &App, version: &EnvVersion) -> Result<Vec<u8>, Failure> {
    match app.store.object(&version.content) {
        Ok(Some(bytes)) => return Ok(bytes),
        Ok(None) | Err(LedgerError::CorruptObject { .. }) => {}
        Err(error) => return Err(unreadable(&error.to_string())),
    }
    let read = app.files.read(&version.path).ok();
    read.filter(|bytes| Digest::of(bytes) == version.content)
        .ok_or_else(|| {
            let why = format!("the content of {} is gone from the state directory", version.id);
            Refused::new(why, "`steadfast env list` shows which are kept").into()
        })
}

/// The version that is in the file now; `None`: there is no such file.
fn in_file<'v>(
    app: &App,
    all: &'v [EnvVersion],
    path: &FsPath,
) -> Result<Option<(&'v EnvVersion, Vec<u8>)>, Failure> {
    let bytes = match app.files.read(path) {
        Ok(bytes) => bytes,
        Err(ReadError::Absent { .. }) => return Ok(None),
        Err(error) => return Err(unreadable(&config::error::with_sources(&error))),
    };
    let content = Digest::of(&bytes);
    let mut all = all.iter();
    let version = all.find(|version| version.path == path && version.content == content);
    let moving = || Refused::new(format!("{} is being written to", path.display()), "try again");
    Ok(Some((version.ok_or_else(moving)?, bytes)))
}

fn unreadable(why: &str) -> Failure {
    let error = format!("the env files cannot be read: {why}");
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, 1, error)
}
