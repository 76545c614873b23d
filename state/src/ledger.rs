//! The ledger: everything that must survive the agent. [`Store`] is what the rest sees of it,
//! [`Ledger`] keeps it on disk, [`MemoryStore`] keeps it for as long as it lives, and an [`Overlay`]
//! keeps apart what must not get into the one below. What a change
//! means is decided by [`StackRecord::apply`] alone, never here.

use std::path::PathBuf;

use crate::journal::OpenOperation;
use crate::name::{Digest, StackName};
use crate::record::{Act, Change, ImpossibleChange, StackRecord};
use crate::release::HostKey;

mod disk;
mod memory;
mod objects;
mod overlay;
mod read;
mod schema;
mod sqlite;
mod values;
mod write;

#[cfg(test)]
mod tests;

pub use memory::MemoryStore;
pub use objects::Objects;
pub use overlay::Overlay;
pub use sqlite::Ledger;

/// How many ended operations of one stack are kept, with their journals.
pub const KEPT_OPERATIONS: u32 = 200;
/// How many acts of persons are kept of one stack.
pub const KEPT_ACTS: u32 = 1000;

/// Everything durable. What returns `Ok` survives a kill and a power cut.
pub trait Store: Send + Sync {
    /// What is remembered of a stack; [`StackRecord::new`] when it was never seen.
    fn load(&self, stack: &StackName) -> Result<StackRecord, LedgerError>;

    /// Makes a batch of changes durable: all of them, or none.
    fn commit(&self, stack: &StackName, changes: &[Change]) -> Result<(), LedgerError>;

    /// The id of the next operation: unique over the ledger, never given twice.
    fn next_operation_id(&self) -> Result<u64, LedgerError>;

    /// What persons did, the newest first.
    fn acts(&self, stack: &StackName, limit: u32) -> Result<Vec<Act>, LedgerError>;

    /// Operations that have ended, with their journals, the newest first.
    fn operations(&self, stack: &StackName, limit: u32) -> Result<Vec<OpenOperation>, LedgerError>;

    /// Keeps some bytes under their digest. Bytes that are there already and intact are not written again.
    fn put_object(&self, bytes: &[u8]) -> Result<Digest, LedgerError>;

    /// The bytes of a digest; `None` when they were never kept. Bytes that do not match are an error.
    fn object(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Removes the objects that no record refers to, and none did at the call before; how many those
    /// were. An object that is put anew in between stays. Where a record cannot be read nothing is removed.
    fn collect_objects(&self) -> Result<usize, LedgerError>;

    /// Every stack that was ever seen, sorted.
    fn stacks(&self) -> Result<Vec<StackName>, LedgerError>;

    /// The secret of this host.
    fn host_key(&self) -> HostKey;

    /// The random id of this state directory, for the marker that says who owns a stack.
    fn identity(&self) -> String;

    /// The last valid content of a watched file, such as `desired.toml`.
    fn last_valid(&self, what: &str) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Remembers the content of a watched file as the last valid one.
    fn keep_valid(&self, what: &str, bytes: &[u8]) -> Result<(), LedgerError>;

    /// Gives the reserved disk space free, so that a heal or a rollback can still be journaled
    /// after [`LedgerError::Full`].
    fn release_reserve(&self) -> Result<(), LedgerError>;

    /// Reserves the disk space again. `false`: there is no room for it yet.
    fn ensure_reserve(&self) -> Result<bool, LedgerError>;
}

/// Why the ledger could not do it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another agent holds the lock.
    #[error("{} is in use by another agent{}", dir.display(), pid.map(|p| format!(" (pid {p})")).unwrap_or_default())]
    InUse {
        /// The state directory.
        dir: PathBuf,
        /// The other agent, where the lock file says it.
        pid: Option<u32>,
    },
    /// What is on disk is not what was written. It is left as it is, for a person.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never its content.
        why: String,
    },
    /// A newer Steadfast wrote it.
    #[error("{} has schema version {found}, this steadfast knows versions up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that is known.
        known: u32,
    },
    /// An older Steadfast wrote it, and it is only looked at.
    #[error("{} has an older schema, which the daemon brings up to date when it starts", path.display())]
    Older {
        /// The file.
        path: PathBuf,
    },
    /// It is only looked at: nothing can be written.
    #[error("{} is only looked at", dir.display())]
    OnlyLookedAt {
        /// The state directory.
        dir: PathBuf,
    },
    /// The disk is full. Nothing of the batch was kept; the ledger goes on working.
    #[error("no space left in {}", dir.display())]
    Full {
        /// The state directory.
        dir: PathBuf,
    },
    /// The changes break an invariant. Nothing of the batch was kept.
    #[error("the changes of stack {stack} cannot be applied")]
    Impossible {
        /// The stack.
        stack: StackName,
        /// Which invariant.
        source: ImpossibleChange,
    },
    /// An operation id was used twice. Nothing of the batch was kept.
    #[error("operation {0} exists already")]
    OperationTaken(u64),
    /// The bytes of an object do not match its digest.
    #[error("object {digest} is corrupt")]
    CorruptObject {
        /// The digest.
        digest: Digest,
    },
    /// The file system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// A verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("cannot {what} {}", path.display())]
    Database {
        /// A verb.
        what: &'static str,
        /// The database.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
}

/// The record after a whole batch; `before` is not touched.
fn applied(before: &StackRecord, changes: &[Change]) -> Result<StackRecord, LedgerError> {
    let mut after = before.clone();
    for change in changes {
        after.apply(change).map_err(|source| LedgerError::Impossible {
            stack: before.stack.clone(),
            source,
        })?;
    }
    Ok(after)
}
