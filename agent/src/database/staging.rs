//! What a backup needs of the server beside its tools, and its way to Postgres.

use std::time::Duration;

use async_trait::async_trait;
use config::settings::PgName;
use tokio::io::AsyncBufRead;

use super::script::run_script;
use super::snapshot::{Census, Snapshot, census, snapshot};
use super::{DatabaseError, Maintenance, Place, Postgres, scratch};

/// Databases of ours that tools are let into, and snapshots to dump in. Bounded and repeatable as [`Maintenance`]
/// is; all names are those of [`super::copy_name`] and [`super::scratch_name`].
#[async_trait]
pub trait Staging: Maintenance {
    /// A snapshot of the stack's database, or of a copy that is open.
    async fn snapshot(
        &self,
        place: Place<'_>,
        of: &PgName,
        within: Duration,
    ) -> Result<Box<dyn Snapshot>, DatabaseError>;

    /// What the database, or a database beside it, holds now.
    async fn census(&self, place: Place<'_>, of: &PgName, within: Duration) -> Result<Census, DatabaseError>;

    /// Lets the stack's user into a whole copy.
    async fn open_copy(&self, place: Place<'_>, name: &PgName, within: Duration)
    -> Result<(), DatabaseError>;

    /// Closes a copy again; sessions in it are ended.
    async fn close_copy(
        &self,
        place: Place<'_>,
        name: &PgName,
        within: Duration,
    ) -> Result<(), DatabaseError>;

    /// Makes an empty database to restore into, open to the stack's user. What an earlier call left is dropped.
    async fn make_scratch(
        &self,
        place: Place<'_>,
        name: &PgName,
        operation: u64,
        within: Duration,
    ) -> Result<(), DatabaseError>;

    /// Runs SQL as `pg_dump` writes it in such a database. An error says the line.
    async fn run_script(
        &self,
        place: Place<'_>,
        into: &PgName,
        script: &mut (dyn AsyncBufRead + Send + Unpin),
        within: Duration,
    ) -> Result<(), DatabaseError>;

    /// What was restored into it is whole: it is closed and marked so.
    async fn keep_restored(
        &self,
        place: Place<'_>,
        name: &PgName,
        operation: u64,
        within: Duration,
    ) -> Result<(), DatabaseError>;

    /// Drops such a database, with the sessions in it; gone is done.
    async fn drop_scratch(
        &self,
        place: Place<'_>,
        name: &PgName,
        within: Duration,
    ) -> Result<(), DatabaseError>;

    /// Ends the sessions in `of` that call themselves `application`, and says how many: what a tool that nobody
    /// listens to any more has left.
    async fn end_sessions(
        &self,
        place: Place<'_>,
        of: &PgName,
        application: &str,
        within: Duration,
    ) -> Result<u64, DatabaseError>;
}

#[async_trait]
impl Staging for Postgres {
    async fn snapshot(
        &self,
        place: Place<'_>,
        of: &PgName,
        within: Duration,
    ) -> Result<Box<dyn Snapshot>, DatabaseError> {
        snapshot(place.login()?, of, &place.settings.migrations, within).await
    }

    async fn census(&self, place: Place<'_>, of: &PgName, within: Duration) -> Result<Census, DatabaseError> {
        let login = place.login()?;
        let counting = census(&login, of, &place.settings.migrations, within);
        login.bounded(within, counting).await
    }

    async fn open_copy(
        &self,
        place: Place<'_>,
        name: &PgName,
        within: Duration,
    ) -> Result<(), DatabaseError> {
        let login = place.login()?;
        login
            .bounded(within, scratch::open_copy(&login, name, within))
            .await
    }

    async fn close_copy(
        &self,
        place: Place<'_>,
        name: &PgName,
        within: Duration,
    ) -> Result<(), DatabaseError> {
        let login = place.login()?;
        login
            .bounded(within, scratch::close_copy(&login, name, within))
            .await
    }

    async fn make_scratch(
        &self,
        place: Place<'_>,
        name: &PgName,
        operation: u64,
        within: Duration,
    ) -> Result<(), DatabaseError> {
        let login = place.login()?;
        let making = scratch::make_scratch(&login, name, operation, within);
        login.bounded(within, making).await
    }

    async fn run_script(
        &self,
        place: Place<'_>,
        into: &PgName,
        script: &mut (dyn AsyncBufRead + Send + Unpin),
        within: Duration,
    ) -> Result<(), DatabaseError> {
        let login = place.login()?;
        login
            .bounded(within, run_script(&login, into, script, within))
            .await
    }

    async fn keep_restored(
        &self,
        place: Place<'_>,
        name: &PgName,
        operation: u64,
        within: Duration,
    ) -> Result<(), DatabaseError> {
        let login = place.login()?;
        let keeping = scratch::keep_restored(&login, name, operation, within);
        login.bounded(within, keeping).await
    }

    async fn drop_scratch(
        &self,
        place: Place<'_>,
        name: &PgName,
        within: Duration,
    ) -> Result<(), DatabaseError> {
        let login = place.login()?;
        login
            .bounded(within, scratch::drop_scratch(&login, name, within))
            .await
    }

    async fn end_sessions(
        &self,
        place: Place<'_>,
        of: &PgName,
        application: &str,
        within: Duration,
    ) -> Result<u64, DatabaseError> {
        let login = place.login()?;
        login
            .bounded(within, scratch::end_sessions(&login, of, application, within))
            .await
    }
}
