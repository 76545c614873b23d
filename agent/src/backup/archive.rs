//! The backups of all stacks, over an engine, a server and a directory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use config::settings::PgName;
use jiff::Timestamp;
use state::backup::BackupId;
use state::name::StackName;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::deadline::Deadline;
use super::manifest::{How, Manifest, Verified};
use super::store::{Listing, Store};
use super::tools::APPLICATION;
use super::{Ask, BackupError, Backups, Dump, Restored, Source, Tell};
use crate::clock::Clock;
use crate::database::{CopyKind, Staging, restored_name, scratch_name};
use crate::engine::Engine;

/// Keeps backups in a state directory.
pub struct Archive {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) server: Arc<dyn Staging>,
    pub(super) store: Arc<Store>,
    clock: Arc<dyn Clock>,
    turns: Mutex<BTreeMap<StackName, Arc<tokio::sync::Mutex<()>>>>,
}

/// Whoever has it works on the backups of a stack.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Archive {
    /// Over what there is. One agent, and so one archive, works on a state directory.
    pub fn new(
        engine: Arc<dyn Engine>,
        server: Arc<dyn Staging>,
        clock: Arc<dyn Clock>,
        store: Store,
    ) -> Self {
        Self {
            engine,
            server,
            store: Arc::new(store),
            clock,
            turns: Mutex::default(),
        }
    }

    /// The wall clock, for people.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.clock.now().wall_ms).unwrap_or(Timestamp::MAX)
    }

    /// Waits until nobody else works on the backups of this stack.
    pub(super) async fn turn(&self, stack: &StackName, deadline: Deadline) -> Result<Turn, BackupError> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(stack.clone()).or_default().clone()
        };
        let waited = timeout(deadline.left()?, turn.lock_owned()).await;
        waited.map_err(|_| deadline.late())
    }

    /// Ends what a tool has left running in `of`; what comes of it changes nothing.
    pub(super) async fn end_tools(&self, source: Source<'_>, of: &PgName, within: Duration) {
        let ended = self
            .server
            .end_sessions(source.place, of, APPLICATION, within)
            .await;
        if let Err(error) = ended {
            tracing::warn!(stack = %source.stack, %error, "sessions of a backup may be left in the database");
        }
    }
}

#[async_trait]
impl Backups for Archive {
    async fn make(&self, source: Source<'_>, ask: &Ask, tell: Tell<'_>) -> Result<Manifest, BackupError> {
        self.make_one(source, ask, tell).await
    }

    async fn verify(
        &self,
        source: Source<'_>,
        id: &BackupId,
        how: How,
        tell: Tell<'_>,
        within: Duration,
    ) -> Result<Verified, BackupError> {
        self.verify_one(source, id, how, tell, within).await
    }

    fn list(&self, stack: &StackName) -> Result<Listing, BackupError> {
        self.store.list(stack)
    }

    async fn remove(&self, stack: &StackName, id: &BackupId) -> Result<(), BackupError> {
        let deadline = Deadline::new("the removal", REMOVAL);
        let _turn = self.turn(stack, deadline).await?;
        self.store.remove(stack, id)
    }

    async fn restore_into(
        &self,
        source: Source<'_>,
        dump: Dump<'_>,
        operation: u64,
        tell: Tell<'_>,
        within: Duration,
    ) -> Result<Restored, BackupError> {
        self.restore_one(source, dump, operation, tell, within).await
    }

    async fn hand_on(
        &self,
        stack: &StackName,
        operation: u64,
        command: &[String],
        within: Duration,
    ) -> Result<(), String> {
        self.tell(stack, operation, command, within).await
    }

    async fn clean(&self, source: Source<'_>, within: Duration) -> Result<(), BackupError> {
        let deadline = Deadline::new("cleaning up after backups", within);
        let _turn = self.turn(source.stack, deadline).await?;
        self.store.prepare(source.stack)?;
        let database = source.place.database()?;
        self.end_tools(source, &database, deadline.left()?).await;
        for copy in self.server.copies(source.place, deadline.left()?).await? {
            let left = deadline.left()?;
            match copy.kind {
                Some(CopyKind::Scratch) => self.server.drop_scratch(source.place, &copy.name, left).await?,
                Some(CopyKind::Copy) => self.server.close_copy(source.place, &copy.name, left).await?,
                None if is_scratch(&database, &copy.name) => {
                    self.server.drop_scratch(source.place, &copy.name, left).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A removal waits no longer for its turn.
const REMOVAL: Duration = Duration::from_secs(5);

/// Whether it is a name that something is restored into, of any operation.
fn is_scratch(database: &PgName, name: &PgName) -> bool {
    let number = |ending: &str| {
        name.as_str()
            .strip_suffix(ending)?
            .rsplit('_')
            .next()?
            .parse()
            .ok()
    };
    number("_check").is_some_and(|operation| scratch_name(database, operation) == *name)
        || number("_back").is_some_and(|operation| restored_name(database, operation) == *name)
}
