//! The step that puts the operator's files: what is there is kept first, and what somebody has written meanwhile is left.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use config::error::with_sources;
use config::read::ReadError;
use state::bug::{self, Bug};
use state::files::{Compared, FileChange, Role};
use state::journal::Outcome;
use state::name::{ContainerId, Digest, Digesting};
use tokio::io::AsyncWrite;

use super::{Executor, Failure, Trouble, final_, passing};
use crate::engine::{EngineError, Exec};
use crate::files::version_at;

impl Executor<'_> {
    /// Puts each file. What containers see has to be there; any other one that cannot be put is told of, and is put when
    /// that can be done: what serves does not wait for it.
    pub(super) fn put_files(&self, changes: &[FileChange]) -> Result<Outcome, Trouble> {
        let mut told = Vec::new();
        for change in changes {
            match self.put_file(change) {
                Ok(None) => {}
                Ok(Some(words)) => told.push(words),
                Err(Trouble::Failure(Failure::Passing(why) | Failure::Final(why)))
                    if change.role != Role::Tracked =>
                {
                    tracing::error!(stack = %self.stack, "{why}; it is tried again");
                    told.push(why);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(done(&told))
    }

    /// Reads each in the container, as its processes do: what the engine itself says of a mounted file is what lies on the
    /// host, though the container may go on with another one. What nobody can say fails nothing.
    pub(super) async fn compare_files(
        &self,
        id: &ContainerId,
        files: &BTreeMap<String, Compared>,
        within: Duration,
    ) -> Result<Outcome, Trouble> {
        let mut told = Vec::new();
        for (inside, wanted) in files {
            if let Some(words) = self.is_another(wanted) {
                told.push(words);
                continue;
            }
            match self.seen_in(id, inside, within).await? {
                Seen::Unknown(why) => told.push(format!("nobody can say what it sees of {inside}: {why}")),
                Seen::Content(is) if is == wanted.content => {}
                Seen::Content(is) => {
                    let why = match (&is, &wanted.content) {
                        (None, _) => "it cannot read",
                        (Some(_), None) => "it still has",
                        (Some(_), Some(_)) => "it goes on with another version of",
                    };
                    return Err(final_(format!(
                        "{why} {inside} in the container: action = \"recreate\" makes it anew"
                    )));
                }
            }
        }
        Ok(done(&told))
    }

    /// Where what is on the host is not that of the release either: why nothing is compared.
    fn is_another(&self, wanted: &Compared) -> Option<String> {
        let path = wanted.path.display();
        let is = match version_at(self.files, &wanted.path) {
            Ok(is) => is,
            Err(error) => return Some(with_sources(&error)),
        };
        (is != wanted.content).then(|| format!("{path} is another one by now: somebody has written to it"))
    }

    /// What a container sees of one file.
    async fn seen_in(&self, id: &ContainerId, inside: &str, within: Duration) -> Result<Seen, Trouble> {
        // `cat` is the container's own: whatever it writes is kept nowhere.
        let mut output = Summed::default();
        let exec = Exec {
            container: id,
            command: vec![String::from("cat"), String::from("--"), inside.to_owned()],
            env: Vec::new(),
            user: None,
            input: None,
            output: &mut output,
            wrap: false,
            within,
        };
        Ok(match self.engine.exec(exec).await {
            Ok(ran) if ran.code == 0 => Seen::Content(Some(output.0.finish())),
            Ok(ran) if ran.code == 1 => Seen::Content(None),
            Ok(ran) if matches!(ran.code, 126 | 127) => Seen::Unknown(String::from("the image has no `cat`")),
            Ok(ran) => Seen::Unknown(format!("`cat` ended with code {}", ran.code)),
            // Why is for the judge to see.
            Err(EngineError::Conflict { .. }) => Seen::Unknown(String::from("it does not run")),
            Err(error @ EngineError::Unreachable { .. }) => return Err(error.into()),
            Err(error) if error.leaves_unknown() => Seen::Unknown(error.to_string()),
            Err(error) => return Err(error.into()),
        })
    }

    /// Puts one; what there is to be told about it.
    fn put_file(&self, change: &FileChange) -> Result<Option<String>, Trouble> {
        let path = change.path.display();
        let there = match self.files.read(&change.path) {
            Ok(bytes) => Some(bytes),
            Err(ReadError::Absent { .. }) => None,
            Err(error) => return Err(passing(format!("{path} is not put: {}", with_sources(&error)))),
        };
        let is = there.as_deref().map(Digest::of);
        if is == change.to {
            return Ok(None);
        }
        if is != change.from && !bug::is(Bug::EditIsOverwritten) {
            let words = format!("{path} is left as it is: somebody has written to it meanwhile");
            tracing::warn!(stack = %self.stack, "{words}");
            return Ok(Some(words));
        }
        let ledger = |error: state::ledger::LedgerError| passing(format!("{path} is not put: {error}"));
        if let Some(bytes) = there.filter(|_| !bug::is(Bug::FileIsNotKept)) {
            self.store.put_object(&bytes).map_err(ledger)?;
        }
        let content = match &change.to {
            None => None,
            Some(digest) => {
                let kept = self.store.object(digest).map_err(ledger)?;
                let gone = || {
                    final_(format!(
                        "{path} is not put: its content is gone from the state directory"
                    ))
                };
                Some(kept.ok_or_else(gone)?)
            }
        };
        let put = self.files.put(&change.path, content.as_deref(), change.owner);
        put.map_err(|error| passing(with_sources(&error)))?;
        tracing::info!(stack = %self.stack, "{change}");
        Ok(None)
    }
}

/// Done, with what there is to be told.
fn done(told: &[String]) -> Outcome {
    if told.is_empty() {
        Outcome::Done
    } else {
        Outcome::Told(told.join("; "))
    }
}

/// What is known of a file in a container.
enum Seen {
    /// Its content; `None`: it cannot be read.
    Content(Option<Digest>),
    /// Nothing, and why.
    Unknown(String),
}

/// The digest of what is written, and nothing else of it.
#[derive(Default)]
struct Summed(Digesting);

impl AsyncWrite for Summed {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.update(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
