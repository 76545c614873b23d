//! What is asked of the repositories that releases come from: their tags, with what is known of each, and branches for
//! those who work on. No stack is touched by it, so the loop is not asked. Every call is bounded in time; one that is
//! dropped leaves nothing half-done, and the next one mends what it left. An act is a task of its own: whoever hangs up drops
//! their connection, and neither what was begun nor its record.

mod naming;
mod point;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path as FsPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, Request, State};
use axum::http::StatusCode;
use config::error::with_sources;
use config::settings::{Settings, SourceSettings};
use state::name::{BranchName, Commit, StackName, Tag};
use state::record::{Act, StackRecord};
use state::release::Author;
use state::time::Moment;
use tokio::time::timeout;

use self::point::Point;
use self::refusal::{failure, git_of, late, misused};
use super::access::Peer;
use super::failure::{Answer, Failure};
use super::protocol::{Branched, MAX_RELEASE_ACT, MAX_RELEASES, ReleaseBody, ReleaseWish};
use super::server::{App, body};
use crate::shared::Snapshot;
use crate::source::{self, Repositories, Repository, RevertFile, Signature, SourceError};
use crate::view::{MovedTag, ReleaseList};

/// How long the origin may take to bring what it has, before what was brought earlier is shown.
const BRING: Duration = Duration::from_secs(20);
/// How long the origin may take to say which branch it is at.
const HEAD: Duration = Duration::from_secs(15);

/// Where the releases of each stack come from, of those that come from a repository.
#[derive(Default)]
pub struct Releases(BTreeMap<StackName, Upstream>);

/// The repository of one stack, and where in it the stack is.
struct Upstream {
    repository: Arc<dyn Repository>,
    settings: SourceSettings,
    directory: PathBuf,
    /// What file was asked for last, in which words, and when, in seconds of the wall clock.
    last: Mutex<Option<(String, i64)>>,
}

/// Who asks, when, and why.
struct Asking {
    by: Author,
    at: Moment,
    push: bool,
    reason: Option<String>,
}

impl Releases {
    /// Those of the settings.
    pub fn new(settings: &Settings, repositories: &Repositories) -> Self {
        let with = settings.stacks.iter().filter_map(|(name, stack)| {
            let upstream = Upstream {
                repository: Arc::clone(repositories.get(name)?),
                settings: stack.source.clone()?,
                directory: stack.directory.clone(),
                last: Mutex::default(),
            };
            Some((name.clone(), upstream))
        });
        Self(with.collect())
    }

    fn of(&self, stack: &StackName) -> Result<&Upstream, Failure> {
        self.0.get(stack).ok_or_else(|| {
            let error = format!("the releases of {stack} come from no repository");
            let way_out = format!(
                "name it in steadfast.toml, and restart the daemon: [stack.{stack}.source] git = \"/srv/{stack}.git\""
            );
            Failure::new(StatusCode::NOT_FOUND, 2, error).way_out(way_out)
        })
    }
}

/// `GET /v1/releases/STACK`.
pub(super) async fn list(State(app): State<Arc<App>>, Path(stack): Path<String>) -> Answer<ReleaseList> {
    let snapshot = app.snapshot(&stack)?;
    let upstream = app.releases.of(&snapshot.record.stack)?;
    let listed = timeout(MAX_RELEASES, upstream.list(&snapshot.record)).await;
    let listed = listed.unwrap_or_else(|_| Err(failure(&late("for-each-ref", MAX_RELEASES))));
    listed.map(Json)
}

/// `POST /v1/release/STACK/ACT`.
pub(super) async fn act(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path((stack, word)): Path<(String, String)>,
    request: Request,
) -> Answer<Branched> {
    let body: ReleaseBody = body(request, app.limits.request).await?;
    let snapshot = app.snapshot(&stack)?;
    let record = &snapshot.record;
    if !app.access.may(peer, "release", None) {
        return Err(app.refuse(peer, "release", record, body.reason).await);
    }
    app.releases.of(&record.stack)?;
    let asking = Asking {
        by: app.access.author(peer),
        at: app.clock.now(),
        push: body.push,
        reason: body.reason.clone(),
    };
    let wish = body.wish(&word).map_err(misused)?;
    let doing = carry_out(Arc::clone(&app), Arc::clone(&snapshot), word, wish, asking);
    let done = tokio::spawn(doing).await;
    done.unwrap_or_else(|error| {
        let error = format!("the act broke off: {error}");
        let failure = Failure::new(StatusCode::INTERNAL_SERVER_ERROR, 1, error);
        Err(failure.way_out("ask again: what was begun is finished or mended then, never done twice"))
    })
}

/// Does it, and writes down what was done; as well what may have been, where it failed or took too long.
async fn carry_out(
    app: Arc<App>,
    snapshot: Arc<Snapshot>,
    word: String,
    wish: ReleaseWish,
    asking: Asking,
) -> Answer<Branched> {
    let record = &snapshot.record;
    let upstream = app.releases.of(&record.stack)?;
    let reason = asking.reason.as_deref();
    tracing::info!(stack = %record.stack, by = %asking.by, reason, "release {word}");
    let done = timeout(MAX_RELEASE_ACT, upstream.act(record, wish, &asking)).await;
    let done = done.unwrap_or_else(|_| Err(failure(&late(git_of(&word), MAX_RELEASE_ACT))));
    match done {
        Ok(done) => {
            tracing::info!(stack = %record.stack, "{} is at commit {}", done.branch, done.commit);
            let what = format!("release {word} {} at commit {}", done.branch, done.commit);
            record_act(&app, record, what, asking).await;
            Ok(Json(done))
        }
        Err(failure) => {
            tracing::info!(stack = %record.stack, "release {word} is not done: {}", failure.1.error);
            // A refusal has changed nothing; of what failed, a push that was not answered among it, nobody knows.
            if failure.0 == StatusCode::INTERNAL_SERVER_ERROR {
                let what = format!("release {word}: failed, how far it came is not known");
                record_act(&app, record, what, asking).await;
            }
            Err(failure)
        }
    }
}

async fn record_act(app: &App, record: &StackRecord, what: String, asking: Asking) {
    let act = Act {
        by: asking.by,
        at: asking.at,
        what,
        why: asking.reason,
    };
    app.write_down(record, act).await;
}

impl Upstream {
    async fn list(&self, record: &StackRecord) -> Result<ReleaseList, Failure> {
        // Where it does not come to an end, what was brought earlier counts.
        let brought = timeout(BRING, self.repository.resolve(&BTreeSet::new())).await;
        let (stale, why) = match brought.unwrap_or_else(|_| Err(late("fetch", BRING))) {
            Ok(resolved) => (resolved.stale, None),
            Err(error) => (Some(with_sources(&error)), Some(error)),
        };
        match (self.repository.tags().await, why) {
            (Ok(tags), None) if tags.is_empty() && stale.is_some() => {
                let error = format!("nothing was ever fetched: {}", stale.unwrap_or_default());
                Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, 1, error)
                    .way_out("`steadfast check`, as the daemon's user, says whether the repository answers"))
            }
            (Ok(tags), _) => Ok(ReleaseList::of(record, &self.settings.tags, &tags, stale)),
            // Why nothing was ever brought says more.
            (Err(_), Some(error)) | (Err(error), None) => Err(failure(&error)),
        }
    }

    async fn act(
        &self,
        record: &StackRecord,
        wish: ReleaseWish,
        asking: &Asking,
    ) -> Result<Branched, Failure> {
        match wish {
            ReleaseWish::Branch { tag } => self.rollback_branch(record, tag.as_ref(), asking).await,
            ReleaseWish::Hotfix { name } => {
                let name = naming::hotfix(&name).map_err(misused)?;
                self.branch(&name, point::asked(record)?, None, asking).await
            }
            ReleaseWish::RevertFile { path, onto, to } => {
                let point = point::proven(record)?;
                let places = naming::places(&self.settings, &self.directory, &path).map_err(misused)?;
                let onto = match onto {
                    Some(onto) => onto,
                    None => self.head().await?,
                };
                let to = match to {
                    Some(to) => to,
                    None => naming::of_file(&path, &point.commit).map_err(misused)?,
                };
                let at = self.moment(&[&onto, &to, &point.commit, &path.display(), &asking.by], asking);
                self.revert(&places, &point, (&onto, &to), (asking, at)).await
            }
        }
    }

    /// When a file was asked for, in seconds: in the same words again, the first time, so that it is the same commit.
    fn moment(&self, words: &[&dyn std::fmt::Display], asking: &Asking) -> i64 {
        let mut said: String = words.iter().map(|word| format!("{word}\n")).collect();
        said.push_str(asking.reason.as_deref().unwrap_or_default());
        let now = asking.at.wall_ms.div_euclid(1000);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((before, at)) if *before == said => *at,
            _ => {
                *last = Some((said, now));
                now
            }
        }
    }

    async fn rollback_branch(
        &self,
        record: &StackRecord,
        tag: Option<&Tag>,
        asking: &Asking,
    ) -> Result<Branched, Failure> {
        let (point, note) = match tag {
            Some(tag) => self.named(record, tag).await?,
            None => (point::running(record)?, None),
        };
        let name = naming::rollback(&point.tag).map_err(misused)?;
        self.branch(&name, point, note, asking).await
    }

    /// What a tag names now, with what is to be said of it.
    async fn named(&self, record: &StackRecord, tag: &Tag) -> Result<(Point, Option<String>), Failure> {
        let resolved = self.repository.resolve(&BTreeSet::from([tag.clone()])).await;
        let mut resolved = resolved.map_err(|error| failure(&error))?;
        let commit = resolved.commits.remove(tag).ok_or_else(|| {
            let error = format!("the repository does not say what {tag} is");
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, 1, error)
        })?;
        let moved = MovedTag::of(record, tag, &commit).map(|moved| moved.words(record.stack.as_str()));
        let stale = resolved.stale;
        let stale = stale.map(|why| format!("the repository is away, this is what {tag} was before: {why}"));
        let notes: Vec<String> = moved.into_iter().chain(stale).collect();
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        Ok((Point::of(record, tag, commit), note))
    }

    async fn branch(
        &self,
        name: &BranchName,
        point: Point,
        note: Option<String>,
        asking: &Asking,
    ) -> Result<Branched, Failure> {
        let made = self.repository.branch(name, &point.commit, asking.push).await;
        made.map_err(|error| failure(&error))?;
        Ok(Branched {
            branch: name.to_string(),
            commit: point.commit.short().to_owned(),
            of: point.to_string(),
            onto: None,
            file: None,
            pushed: asking.push,
            note,
        })
    }

    /// The file is where the first of the places has it.
    async fn revert(
        &self,
        places: &[PathBuf],
        point: &Point,
        (onto, to): (&BranchName, &BranchName),
        (asking, at): (&Asking, i64),
    ) -> Result<Branched, Failure> {
        let (name, host) = (asking.by.to_string(), host());
        let email = naming::email(&name, &host);
        let mut missing = None;
        for path in places {
            let message = naming::message(path, point, asking.reason.as_deref());
            let revert = RevertFile {
                path,
                from: &point.commit,
                onto,
                to,
                message: &message,
                author: Signature {
                    name: &name,
                    email: &email,
                },
                committer: Signature {
                    name: "Steadfast",
                    email: &naming::email("steadfast", &host),
                },
                at,
            };
            match self.repository.revert_file(&revert, asking.push).await {
                Ok(commit) => return Ok(reverted(path, point, (onto, to), &commit, asking.push)),
                // What the person wrote comes last, and is what the error should name.
                Err(error @ SourceError::NoSuchFile { .. }) => missing = Some(error),
                Err(error) => return Err(failure(&error)),
            }
        }
        Err(missing.map_or_else(
            || misused(String::from("of which file?")),
            |error| failure(&error),
        ))
    }

    /// The branch that the origin is at.
    async fn head(&self) -> Result<BranchName, Failure> {
        let head = source::head_branch(&self.settings.git, HEAD).await;
        head.map_err(|error| failure(&error).way_out("name the branch: --onto BRANCH"))?
            .ok_or_else(|| {
                let error = "the repository is at no branch: its HEAD is detached, or it is empty";
                Failure::new(StatusCode::CONFLICT, 5, error).way_out("name the branch: --onto BRANCH")
            })
    }
}

fn reverted(
    path: &FsPath,
    point: &Point,
    (onto, to): (&BranchName, &BranchName),
    commit: &Commit,
    pushed: bool,
) -> Branched {
    Branched {
        branch: to.to_string(),
        commit: commit.short().to_owned(),
        of: point.to_string(),
        onto: Some(onto.to_string()),
        file: Some(path.to_string_lossy().into_owned()),
        pushed,
        note: None,
    }
}

fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
