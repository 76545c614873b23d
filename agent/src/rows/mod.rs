//! Rows that a way back of the schema takes out of the database: read out of the copy that was made before, kept in the
//! state directory as CSV, and put into the database again when a later release gives them their place back. When that
//! is, is decided elsewhere.

mod keeper;
mod kept;
mod lost;
mod places;
mod put_in;
mod script;
mod stream;
mod table;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use config::settings::PreserveSettings;
use state::name::StackName;
use state::taken_back::{PutIn, Saved, TakenBack};

pub use self::keeper::Keeper;
pub use self::script::{Read, Script};
use crate::backup::BackupError;
use crate::database::Place;

/// The operation that has taken them out, and the database.
#[derive(Clone, Copy)]
pub struct Taken<'a> {
    /// Whose database it is.
    pub stack: &'a StackName,
    /// The database.
    pub place: Place<'a>,
    /// The operation.
    pub of: u64,
}

/// When rows are put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// Nobody has written since their place was made: what stands there is the script's, and counts as nothing.
    pub fresh: bool,
    /// What has no place now will have none.
    pub last: bool,
}

/// The rows of all stacks that were taken out of their databases. Every call may be made twice.
#[async_trait]
pub trait Rows: Send + Sync {
    /// Reads out of the operation's copy what the database has not any more: tables, columns, what does not fit into a
    /// narrower type, rows that the scripts say they delete, and what the operator's own queries ask for. Durable when it
    /// is `Ok`. What was kept before is found again.
    async fn save(
        &self,
        taken: Taken<'_>,
        what: &TakenBack,
        own: &[PreserveSettings],
        within: Duration,
    ) -> Result<Saved, BackupError>;

    /// Puts what was kept where it has a place and nothing else stands there. `before`: what became of it when only some
    /// of it had one; what had is not touched again. What cannot be put there now is in `waiting`.
    async fn put_in(
        &self,
        taken: Taken<'_>,
        before: Option<&PutIn>,
        when: When,
        within: Duration,
    ) -> Result<PutIn, BackupError>;

    /// Removes what was kept of all other operations.
    fn keep_only(&self, stack: &StackName, of: &BTreeSet<u64>) -> Result<(), BackupError>;
}
