//! Backups of a stack's database: made in a snapshot, verified by restoring them, kept with a manifest beside each.
//! When one is made, and how long it is kept, is decided elsewhere.

mod archive;
mod deadline;
mod digest;
mod error;
mod hand_on;
mod make;
mod manifest;
mod needs;
mod restore;
mod retention;
mod said;
mod schedule;
mod sink;
mod space;
mod store;
mod tools;
mod verify;
mod versions;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use state::backup::BackupId;
use state::name::{ContainerId, StackName};
use state::observed::SchemaHead;

pub use self::archive::Archive;
pub(crate) use self::deadline::Deadline;
pub use self::error::BackupError;
pub use self::manifest::{Format, How, Manifest, Verified, Why, id_of};
pub use self::needs::{Need, needs};
pub use self::retention::{Keep, surplus};
pub use self::schedule::next;
pub(crate) use self::space::{MARGIN, show_bytes};
pub use self::store::{Listing, Store};
use crate::database::Place;
use config::settings::PgName;

/// Which database is meant, and how the tools of Postgres come to it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Whose it is.
    pub stack: &'a StackName,
    /// The database.
    pub place: Place<'a>,
    /// The container that the server runs in: its own tools are used. `None`: those of this host are.
    pub container: Option<&'a ContainerId>,
}

/// What is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The operation; a whole backup of it is found, and not made again.
    pub operation: u64,
    /// What it is made for.
    pub why: Why,
    /// A safety copy to dump, instead of the database itself.
    pub copy: Option<PgName>,
    /// How long all of it may take.
    pub within: Duration,
}

/// What is restored.
#[derive(Debug, Clone, Copy)]
pub enum Dump<'a> {
    /// A backup of the stack.
    Backup(&'a BackupId),
    /// Somebody's file: of `pg_dump`'s custom format, or SQL in UTF-8 as it writes it. Of the commands of `psql` those
    /// that `pg_dump` writes without `--create` may stand in it (`\\restrict`, `\\unrestrict`, `\\.` after rows).
    File(&'a Path),
}

/// What was restored beside the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The name of the new database, which lets nobody in. To take the database's place with
    /// [`Maintenance::take_place`](crate::database::Maintenance::take_place), or to be dropped as a copy is.
    pub database: PgName,
    /// Its tables.
    pub tables: u64,
    /// The rows in all of them.
    pub rows: u64,
    /// Its version table.
    pub head: SchemaHead,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes of the dump so far.
    pub bytes: u64,
    /// Of so many; while it is made a guess, made of the size of the database.
    pub of: u64,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The dump is written.
    Dumping,
    /// The dump is read again and compared with its digest.
    Reading,
    /// The dump is restored.
    Restoring,
    /// What was restored is counted.
    Counting,
}

/// Is told the progress, after each MiB.
pub type Tell<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// The backups of all stacks. Of one stack one thing is done at a time; a second call waits, within its own time.
/// Whatever is interrupted leaves nothing that counts, and is done again by the same call.
#[async_trait]
pub trait Backups: Send + Sync {
    /// Makes a backup, durable when it is `Ok`. Not verified yet. Dropped in the middle it leaves a tool behind in
    /// the container, until `within` is over or somebody calls [`Backups::clean`].
    async fn make(&self, source: Source<'_>, ask: &Ask, tell: Tell<'_>) -> Result<Manifest, BackupError>;

    /// Compares the file with its digest, then makes sure of what is in it, and writes down that it did.
    async fn verify(
        &self,
        source: Source<'_>,
        id: &BackupId,
        how: How,
        tell: Tell<'_>,
        within: Duration,
    ) -> Result<Verified, BackupError>;

    /// What there is, oldest first. The dumps themselves are not read.
    fn list(&self, stack: &StackName) -> Result<Listing, BackupError>;

    /// Removes one; gone is done.
    async fn remove(&self, stack: &StackName, id: &BackupId) -> Result<(), BackupError>;

    /// Restores into a new database beside the stack's own, which stays as it is. A backup has to be what was written
    /// and what was counted; of a file is known what came of it. Done once for an operation: what was restored whole
    /// is found again.
    async fn restore_into(
        &self,
        source: Source<'_>,
        dump: Dump<'_>,
        operation: u64,
        tell: Tell<'_>,
        within: Duration,
    ) -> Result<Restored, BackupError>;

    /// Runs a command of the operator's with the paths of the dump that an operation has made and of its manifest, and
    /// ends it when its time is over, or when it is dropped. `Err`: why it did not end well, for people.
    async fn hand_on(
        &self,
        stack: &StackName,
        operation: u64,
        command: &[String],
        within: Duration,
    ) -> Result<(), String>;

    /// Ends and removes what calls of this stack have left that were interrupted: half a dump, a tool that goes on,
    /// a database that was restored into.
    async fn clean(&self, source: Source<'_>, within: Duration) -> Result<(), BackupError>;
}
