//! What is asked of a repository, and what a person is told, without Git.

#![allow(clippy::unwrap_used)]

use std::path::Path as FsPath;

use async_trait::async_trait;
use config::settings::ControlSettings;
use state::ledger::{MemoryStore, Store as _};
use state::release::Generation;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::super::access::Access;
use super::super::client::Client;
use super::super::protocol::ReleaseBody;
use super::super::server::{Limits, Sources, serve_within};
use super::super::socket::SocketError;
use super::*;
use crate::clock::SystemClock;
use crate::files::HostDisk;
use crate::source::{Resolved, TagInfo};
use crate::view::sample;

fn commit(digit: char) -> Commit {
    digit.to_string().repeat(40).parse().unwrap()
}

fn away() -> SourceError {
    SourceError::Unreachable {
        origin: String::from("/srv/shop.git"),
        said: String::from("it is unplugged"),
    }
}

/// A repository that has one tag and one file, and tells what was asked of it.
#[derive(Default)]
struct Told {
    is_away: bool,
    /// Of a branch: that it is begun, and that it may go on.
    gate: Option<(Notify, Notify)>,
    asked: Mutex<Vec<String>>,
}

impl Told {
    fn tell(&self, words: String) {
        self.asked.lock().unwrap().push(words);
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

#[async_trait]
impl Repository for Told {
    async fn resolve(&self, names: &BTreeSet<Tag>) -> Result<Resolved, SourceError> {
        Ok(Resolved {
            commits: names.iter().map(|name| (name.clone(), commit('8'))).collect(),
            stale: self.is_away.then(|| away().to_string()),
        })
    }

    async fn checkout(&self, _: &Commit) -> Result<PathBuf, SourceError> {
        Err(away())
    }

    fn tree(&self, _: &Commit) -> Option<PathBuf> {
        None
    }

    fn tree_of(&self, _: &Commit) -> PathBuf {
        PathBuf::new()
    }

    fn published(&self) -> PathBuf {
        PathBuf::new()
    }

    async fn content(&self, _: &Commit, _: &FsPath) -> Result<Option<String>, SourceError> {
        Err(away())
    }

    async fn tags(&self) -> Result<Vec<TagInfo>, SourceError> {
        Ok(vec![TagInfo {
            name: "v1.5.0".parse().unwrap(),
            commit: commit('2'),
            at: 0,
            subject: String::from("Sort by date"),
        }])
    }

    async fn forget(&self, _: &BTreeSet<Commit>) -> Result<(), SourceError> {
        Ok(())
    }

    async fn branch(&self, name: &BranchName, at: &Commit, push: bool) -> Result<(), SourceError> {
        if name.as_str() == "hotfix/taken" {
            return Err(SourceError::Exists {
                name: name.clone(),
                at: commit('7'),
            });
        }
        if name.as_str() == "hotfix/away" {
            return Err(away());
        }
        if let Some((begun, go_on)) = &self.gate {
            begun.notify_one();
            go_on.notified().await;
        }
        self.tell(format!("{name} {} {push}", &at.as_str()[..1]));
        Ok(())
    }

    async fn revert_file(&self, revert: &RevertFile<'_>, push: bool) -> Result<Commit, SourceError> {
        let path = revert.path.display();
        if revert.path != FsPath::new("backend/a.py") {
            self.tell(format!("no {path}"));
            return Err(SourceError::NoSuchFile {
                path: revert.path.to_owned(),
                commit: revert.from.clone(),
            });
        }
        let (from, onto, to) = (&revert.from.as_str()[..1], revert.onto, revert.to);
        let (author, committer, at) = (revert.author.name, revert.committer.name, revert.at);
        let subject = revert.message.lines().next().unwrap_or_default();
        self.tell(format!(
            "{path} of {from} on {onto} to {to} by {author}/{committer} at {at} {push}: {subject}"
        ));
        Ok(commit('9'))
    }
}

fn upstream(repository: &Arc<Told>) -> Upstream {
    let repository: Arc<dyn Repository> = repository.clone();
    Upstream {
        repository,
        settings: SourceSettings {
            git: String::from("/nowhere/shop.git"),
            tags: String::from("v*"),
            path: PathBuf::from("deploy"),
        },
        directory: PathBuf::from("/srv/shop/deploy"),
        last: Mutex::default(),
    }
}

/// Every generation is of a commit: `1…` of the first, `2…` of the second.
fn record(situation: &str) -> StackRecord {
    let mut record = sample::snapshot(situation).record;
    for (generation, digit) in record.generations.iter_mut().zip('1'..='9') {
        let mut made: Generation = (**generation).clone();
        let tag = made.release.tag.clone().unwrap();
        made.release.commits = [(tag, commit(digit))].into();
        *generation = made.into();
    }
    record
}

fn asking(seconds: i64) -> Asking {
    Asking {
        by: Author::Person {
            uid: 1000,
            name: Some(String::from("ada")),
        },
        at: Moment {
            wall_ms: seconds * 1000 + 7,
            boot_ms: 0,
            boot_id: "boot".into(),
        },
        push: false,
        reason: Some(String::from("fees are wrong")),
    }
}

fn file(path: &str, onto: Option<&str>) -> ReleaseWish {
    ReleaseWish::RevertFile {
        path: PathBuf::from(path),
        onto: onto.map(|onto| onto.parse().unwrap()),
        to: None,
    }
}

#[test]
fn an_act_ends_before_its_connection_does() {
    let limits = Limits::default();
    assert!(limits.request + MAX_RELEASE_ACT < limits.connection);
    assert!(BRING < MAX_RELEASES && MAX_RELEASES < limits.connection);
}

#[tokio::test]
async fn what_is_from_before_is_listed_and_said_to_be() {
    let told = Arc::new(Told {
        is_away: true,
        ..Told::default()
    });
    let list = upstream(&told).list(&record("rolled back")).await.unwrap();
    assert!(list.stale.unwrap().contains("it is unplugged"));
    assert_eq!(list.tags.len(), 1);
    assert_eq!(list.tags[0].commit, "222222222222");
    assert_eq!(list.tags[0].known.len(), 2);
}

#[tokio::test]
async fn branches_are_where_the_record_says() {
    let told = Arc::new(Told::default());
    let upstream = upstream(&told);
    let record = record("rolled back");
    let running = ReleaseWish::Branch { tag: None };
    let done = upstream.act(&record, running, &asking(1)).await.unwrap();
    assert_eq!((done.of.as_str(), done.note), ("v1.5.0 (generation 2)", None));
    let older = ReleaseWish::Branch {
        tag: Some("v1.4.0".parse().unwrap()),
    };
    let done = upstream.act(&record, older, &asking(1)).await.unwrap();
    assert!(done.note.unwrap().starts_with("moved: it was 111111111111"));
    let hotfix = |name: &str| ReleaseWish::Hotfix {
        name: name.to_owned(),
    };
    upstream.act(&record, hotfix("fees"), &asking(1)).await.unwrap();
    let expected = [
        "rollback/to-v1.5.0 2 false",
        "rollback/to-v1.4.0 8 false",
        "hotfix/fees 3 false",
    ];
    assert_eq!(told.told(), expected);
    let Failure(_, refused) = upstream
        .act(&record, hotfix("taken"), &asking(1))
        .await
        .unwrap_err();
    assert_eq!(refused.code, 5, "{}", refused.error);
    let Failure(_, misused) = upstream
        .act(&record, hotfix("of fees"), &asking(1))
        .await
        .unwrap_err();
    assert_eq!(misused.code, 2, "{}", misused.error);
}

#[tokio::test]
async fn a_file_is_found_from_the_root_too_and_asked_for_again_it_is_the_same_commit() {
    let told = Arc::new(Told::default());
    let upstream = upstream(&told);
    let record = record("rolled back");
    let wish = || file("backend/a.py", Some("main"));
    let done = upstream.act(&record, wish(), &asking(5)).await.unwrap();
    assert_eq!(done.file.as_deref(), Some("backend/a.py"));
    let first = told.told();
    assert_eq!(
        first,
        [
            "no deploy/backend/a.py",
            "backend/a.py of 2 on main to rollback/a.py-222222222222 by ada/Steadfast at 5 false: \
             Rollback: revert backend/a.py to what it was in v1.5.0 (generation 2)",
        ]
    );
    upstream.act(&record, wish(), &asking(65)).await.unwrap();
    assert_eq!(told.told(), first);
    let other = Asking {
        reason: None,
        ..asking(65)
    };
    upstream.act(&record, wish(), &other).await.unwrap();
    assert!(told.told()[1].contains("at 65"));
    let Failure(_, refused) = upstream
        .act(&record, file("b.py", Some("main")), &asking(66))
        .await
        .unwrap_err();
    assert_eq!(refused.code, 5);
    assert_eq!(told.told(), ["no deploy/b.py", "no b.py"]);
}

/// A daemon that has nothing but this repository.
struct Daemon {
    client: Client,
    store: Arc<MemoryStore>,
    served: JoinHandle<Result<(), SocketError>>,
    _directory: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.served.abort();
    }
}

impl Daemon {
    async fn of(told: &Arc<Told>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("steadfast.sock");
        let shared = Arc::new(sample::shared());
        let mut snapshot = sample::snapshot("rolled back");
        snapshot.record = record("rolled back");
        shared.publish(snapshot);
        let store = Arc::new(MemoryStore::new());
        let sources = Sources {
            shared,
            store: store.clone(),
            files: Arc::new(HostDisk::default()),
            releases: Arc::new(Releases([("shop".parse().unwrap(), upstream(told))].into())),
            clock: Arc::new(SystemClock::new().unwrap()),
            recent: Arc::default(),
        };
        let (at, orders) = (socket.clone(), mpsc::channel(1).0);
        let access = Access::new(ControlSettings::default());
        let served = tokio::spawn(async move {
            serve_within(
                &at,
                sources,
                orders,
                access,
                Limits::default(),
                std::future::pending(),
            )
            .await
        });
        while UnixStream::connect(&socket).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self {
            client: Client::new(&socket),
            store,
            served,
            _directory: directory,
        }
    }

    /// What is on record, the newest first.
    fn acts(&self) -> Vec<String> {
        let acts = self.store.acts(&"shop".parse().unwrap(), 9).unwrap();
        let line = |act: &Act| format!("{} ({})", act.what, act.why.as_deref().unwrap_or_default());
        acts.iter().map(line).collect()
    }
}

const MADE: &str = "release branch rollback/to-v1.5.0 at commit 222222222222 (work goes on)";

fn body() -> ReleaseBody {
    ReleaseBody {
        push: true,
        reason: Some(String::from("work goes on")),
        ..ReleaseBody::default()
    }
}

#[tokio::test]
async fn what_was_done_is_in_the_ledger_with_who_and_why() {
    let told = Arc::new(Told::default());
    let daemon = Daemon::of(&told).await;
    let client = &daemon.client;
    let done = client.release("shop", "branch", &body()).await.unwrap();
    assert_eq!((done.branch.as_str(), done.pushed), ("rollback/to-v1.5.0", true));
    assert_eq!(told.told(), ["rollback/to-v1.5.0 2 true"]);
    assert_eq!(daemon.acts(), [MADE]);
    assert_eq!(client.releases("shop").await.unwrap().tags.len(), 1);
    let hotfix = |name: &str| ReleaseBody {
        name: Some(name.to_owned()),
        ..body()
    };
    for (act, body, code) in [("merge", body(), 2), ("hotfix", hotfix("taken"), 5)] {
        let refused = client.release("shop", act, &body).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    assert_eq!(daemon.acts(), [MADE]);
    // It may have been done all the same.
    let failed = client
        .release("shop", "hotfix", &hotfix("away"))
        .await
        .unwrap_err();
    assert_eq!(failed.code(), 1, "{failed}");
    let failed = "release hotfix: failed, how far it came is not known (work goes on)";
    assert_eq!(daemon.acts(), [failed, MADE]);
}

#[tokio::test]
async fn who_hangs_up_takes_no_act_from_the_record() {
    let told = Arc::new(Told {
        gate: Some(<(Notify, Notify)>::default()),
        ..Told::default()
    });
    let (begun, go_on) = told.gate.as_ref().unwrap();
    let daemon = Daemon::of(&told).await;
    let asked = body();
    // Cancel-safe: it is to be cancelled.
    tokio::select! {
        done = daemon.client.release("shop", "branch", &asked) => panic!("it did not wait: {done:?}"),
        () = begun.notified() => {}
    }
    // The daemon has seen that the connection is gone before it has answered another.
    daemon.client.status("shop").await.unwrap();
    assert_eq!((told.told().len(), daemon.acts().len()), (0, 0));
    go_on.notify_one();
    let recorded = async {
        while daemon.acts().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), recorded).await.unwrap();
    assert_eq!(told.told(), ["rollback/to-v1.5.0 2 true"]);
    assert_eq!(daemon.acts(), [MADE]);
}
