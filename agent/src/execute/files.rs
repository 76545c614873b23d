//! The step that puts the operator's files: what is there is kept first, and what somebody has written meanwhile is left.

use config::error::with_sources;
use config::read::ReadError;
use state::bug::{self, Bug};
use state::files::{FileChange, Role};
use state::journal::Outcome;
use state::name::Digest;

use super::{Executor, Failure, Trouble, final_, passing};

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
        Ok(if told.is_empty() {
            Outcome::Done
        } else {
            Outcome::Told(told.join("; "))
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
