//! What is done to a database as a whole, and its way to Postgres.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use config::settings::PgName;
use state::instead::ManualDown;
use state::integrity::{Answers, Check, Tally};
use state::name::Digest;
use state::observed::SchemaHead;

use super::{
    Checksum, DatabaseCopy, DatabaseError, Guard, Made, Obstacle, Place, Postgres, Session, apply, asked,
    close, copies, fingerprint, lock, put_back, rows, tally,
};

/// Works on the stack's database as a whole. Every call ends within `within`, looks first what is
/// there, and is done again after any interruption. All names are those of [`super::copy_name`] and
/// [`super::aside_name`]. Cancel-safe in the sense of [`DatabaseError::Unknown`].
#[async_trait]
pub trait Maintenance: Send + Sync {
    /// Bars the database to everybody, superusers too, and ends every session; says whose. Nobody is
    /// left when it is `Ok`. After an error it may be barred: `open` it.
    async fn close(&self, place: Place<'_>, within: Duration) -> Result<Vec<Session>, DatabaseError>;

    /// Lets connections in again. Being open is done.
    async fn open(&self, place: Place<'_>, within: Duration) -> Result<(), DatabaseError>;

    /// Who is connected to the database.
    async fn sessions(&self, place: Place<'_>, within: Duration) -> Result<Vec<Session>, DatabaseError>;

    /// What would be lost by, or refuses, `put_back`.
    async fn obstacles(&self, place: Place<'_>, within: Duration) -> Result<Vec<Obstacle>, DatabaseError>;

    /// Copies the database under `name`, with nobody connected to it; the copy lets nobody in. One
    /// that is whole is left as it is, a half-made one is made again, one that is not ours is an error.
    async fn copy(
        &self,
        place: Place<'_>,
        name: &PgName,
        operation: u64,
        within: Duration,
    ) -> Result<Made, DatabaseError>;

    /// The database goes by the name `aside` from now on, closed; what takes its name is a copy of
    /// `copy`, which stays, with the owner, rights, settings, connection limit and comment of the
    /// database. It is closed: `open` it. At every instant the old one has the name, or the new one.
    /// Where `aside` was done before, nothing is: the same `aside` serves once.
    async fn put_back(
        &self,
        place: Place<'_>,
        copy: &PgName,
        aside: &PgName,
        operation: u64,
        within: Duration,
    ) -> Result<(), DatabaseError>;

    /// What was restored takes the database's name, with the owner, rights, settings, connection limit and comment of
    /// the database, which goes by the name `before` from now on, closed, as in [`Maintenance::put_back`]: nobody is
    /// connected to it, and what has its name is closed. Where it was done before, nothing is.
    async fn take_place(
        &self,
        place: Place<'_>,
        restored: &PgName,
        before: &PgName,
        operation: u64,
        within: Duration,
    ) -> Result<(), DatabaseError>;

    /// Takes [`Maintenance::take_place`] back: what goes by the name `before` has the database's name again, and what
    /// has it is set aside as `restored`, and kept. It is closed. Where nothing was set aside, nothing is done.
    async fn give_back(
        &self,
        place: Place<'_>,
        restored: &PgName,
        before: &PgName,
        operation: u64,
        within: Duration,
    ) -> Result<(), DatabaseError>;

    /// Drops what carries our mark, or is half-made by us; anything else is an error. Gone is done.
    async fn drop_copy(&self, place: Place<'_>, name: &PgName, within: Duration)
    -> Result<(), DatabaseError>;

    /// What is left beside the database, by name.
    async fn copies(&self, place: Place<'_>, within: Duration) -> Result<Vec<DatabaseCopy>, DatabaseError>;

    /// Bytes on the server's disk.
    async fn size(&self, place: Place<'_>, within: Duration) -> Result<u64, DatabaseError>;

    /// The schema as a number: the same for a copy, another for any change. The database is open.
    async fn fingerprint(&self, place: Place<'_>, within: Duration) -> Result<Digest, DatabaseError>;

    /// The rows of every ordinary table, as far as they can be counted within `within`, the smallest tables first; of the
    /// others what the server's statistics say. Of the database, which is open, or of a copy, or of what was restored.
    async fn tally(
        &self,
        place: Place<'_>,
        of: Option<&PgName>,
        within: Duration,
    ) -> Result<Tally, DatabaseError>;

    /// Asks the checks, each in a transaction of its own that only reads. Of the database, which is open, or of a copy, or
    /// of what was restored, which is opened for that alone. No answer leaves the server, but whether it is the right one.
    async fn ask(
        &self,
        place: Place<'_>,
        of: Option<&PgName>,
        checks: &[Check],
    ) -> Result<Answers, DatabaseError>;

    /// The rows of every ordinary table, by `schema.table`, counted at one instant, with a sum over them that does not depend
    /// on their order. The database is open.
    async fn checksums(
        &self,
        place: Place<'_>,
        within: Duration,
    ) -> Result<BTreeMap<String, Checksum>, DatabaseError>;

    /// Whether the rows of the database are those of its copy: of every ordinary table, large objects, and how far its
    /// sequences are. Nobody writes to it meanwhile, and it is open; the copy is there, whole, and closed afterwards.
    async fn has_rows_of(
        &self,
        place: Place<'_>,
        copy: &PgName,
        within: Duration,
    ) -> Result<bool, DatabaseError>;

    /// Runs the SQL of every revision, in this order, and sets the version table to `to`, all or nothing. A version
    /// table that says `to` already is done. What fails is told with its line, and without a value.
    async fn apply_sql(
        &self,
        place: Place<'_>,
        parts: &[ManualDown],
        to: &SchemaHead,
        within: Duration,
    ) -> Result<(), DatabaseError>;

    /// The lock around migrations; held by another is `InUse`, which says by whom.
    async fn lock(&self, place: Place<'_>, within: Duration) -> Result<Box<dyn Guard>, DatabaseError>;
}

#[async_trait]
impl Maintenance for Postgres {
    async fn close(&self, place: Place<'_>, within: Duration) -> Result<Vec<Session>, DatabaseError> {
        let login = place.login()?;
        login.bounded(within, close::close(&login, within)).await
    }

    async fn open(&self, place: Place<'_>, within: Duration) -> Result<(), DatabaseError> {
        let login = place.login()?;
        login.bounded(within, close::open(&login, within)).await
    }

    async fn sessions(&self, place: Place<'_>, within: Duration) -> Result<Vec<Session>, DatabaseError> {
        let login = place.login()?;
        login.bounded(within, close::sessions(&login, within)).await
    }

    async fn obstacles(&self, place: Place<'_>, within: Duration) -> Result<Vec<Obstacle>, DatabaseError> {
        let login = place.login()?;
        login.bounded(within, close::obstacles(&login, within)).await
    }

    async fn copy(
        &self,
        place: Place<'_>,
        name: &PgName,
        operation: u64,
        within: Duration,
    ) -> Result<Made, DatabaseError> {
        let login = place.login()?;
        login
            .bounded(within, copies::copy(&login, name, operation, within))
            .await
    }

    async fn put_back(
        &self,
        place: Place<'_>,
        copy: &PgName,
        aside: &PgName,
        operation: u64,
        within: Duration,
    ) -> Result<(), DatabaseError> {
        let login = place.login()?;
        login
            .bounded(within, put_back::put_back(&login, copy, aside, operation, within))
            .await
    }

    async fn take_place(
        &self,
        place: Place<'_>,
        restored: &PgName,
        before: &PgName,
        operation: u64,
        within: Duration,
    ) -> Result<(), DatabaseError> {
        let login = place.login()?;
        let taking = put_back::take_place(&login, restored, before, operation, within);
        login.bounded(within, taking).await
    }

    async fn give_back(
        &self,
        place: Place<'_>,
        restored: &PgName,
        before: &PgName,
        operation: u64,
        within: Duration,
    ) -> Result<(), DatabaseError> {
        let login = place.login()?;
        let giving = put_back::give_back(&login, restored, before, operation, within);
        login.bounded(within, giving).await
    }

    async fn drop_copy(
        &self,
        place: Place<'_>,
        name: &PgName,
        within: Duration,
    ) -> Result<(), DatabaseError> {
        let login = place.login()?;
        login
            .bounded(within, copies::drop_copy(&login, name, within))
            .await
    }

    async fn copies(&self, place: Place<'_>, within: Duration) -> Result<Vec<DatabaseCopy>, DatabaseError> {
        let login = place.login()?;
        login.bounded(within, copies::copies(&login, within)).await
    }

    async fn size(&self, place: Place<'_>, within: Duration) -> Result<u64, DatabaseError> {
        let login = place.login()?;
        login.bounded(within, copies::size(&login, within)).await
    }

    async fn fingerprint(&self, place: Place<'_>, within: Duration) -> Result<Digest, DatabaseError> {
        let login = place.login()?;
        login
            .bounded(within, fingerprint::fingerprint(&login, within))
            .await
    }

    async fn tally(
        &self,
        place: Place<'_>,
        of: Option<&PgName>,
        within: Duration,
    ) -> Result<Tally, DatabaseError> {
        let login = place.login()?;
        login
            .bounded(within + tally::MORE, tally::tally(&login, of, within))
            .await
    }

    async fn ask(
        &self,
        place: Place<'_>,
        of: Option<&PgName>,
        checks: &[Check],
    ) -> Result<Answers, DatabaseError> {
        let login = place.login()?;
        let within = asked::within(checks) * 2;
        login.bounded(within, asked::ask(&login, of, checks)).await
    }

    async fn checksums(
        &self,
        place: Place<'_>,
        within: Duration,
    ) -> Result<BTreeMap<String, Checksum>, DatabaseError> {
        let login = place.login()?;
        login.bounded(within, rows::checksums(&login, within)).await
    }

    async fn has_rows_of(
        &self,
        place: Place<'_>,
        copy: &PgName,
        within: Duration,
    ) -> Result<bool, DatabaseError> {
        rows::has_rows_of(&place.login()?, copy, within).await
    }

    async fn apply_sql(
        &self,
        place: Place<'_>,
        parts: &[ManualDown],
        to: &SchemaHead,
        within: Duration,
    ) -> Result<(), DatabaseError> {
        let login = place.login()?;
        let migrations = &place.settings.migrations;
        login
            .bounded(within, apply::apply_sql(&login, migrations, parts, to, within))
            .await
    }

    async fn lock(&self, place: Place<'_>, within: Duration) -> Result<Box<dyn Guard>, DatabaseError> {
        let login = place.login()?;
        login.bounded(within, lock::lock(&login, within)).await
    }
}
