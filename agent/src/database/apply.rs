//! The operator's own SQL for the way back, in one transaction with the version table.

use std::collections::BTreeSet;
use std::time::Duration;

use config::settings::MigrationSettings;
use config::sql::{Statement, in_one_transaction};
use state::instead::ManualDown;
use state::name::Revision;
use state::observed::SchemaHead;
use state::schema_fit::{apart, same};

use super::DatabaseError;
use super::link::Link;
use super::login::Login;
use super::version::{is_missing, rows, taken_back};
use super::words::without_values;

/// A lock that somebody else has is waited for so long: everybody else waits behind us.
const LOCK_WAIT: Duration = Duration::from_secs(3);
/// The SQLSTATE of a table that is not there.
const UNDEFINED_TABLE: &str = "42P01";

pub(super) async fn apply_sql(
    login: &Login,
    migrations: &MigrationSettings,
    parts: &[ManualDown],
    to: &SchemaHead,
    within: Duration,
) -> Result<(), DatabaseError> {
    let all: Vec<_> = parts
        .iter()
        .map(|part| match in_one_transaction(part.sql.as_str()) {
            Ok(statements) => Ok((&part.revision, statements)),
            Err(error) => Err(DatabaseError::other(format!("{}: {error}", part.revision))),
        })
        .collect::<Result<_, _>>()?;
    let link = Link::to(login, within).await?;
    let done = apply(&link, migrations, &all, to, LOCK_WAIT.min(within / 4)).await;
    link.end().await;
    match done {
        Err(DatabaseError::InUse { said, .. }) => {
            // Who holds it may be any of these.
            let by = super::close::sessions(login, within).await?;
            Err(DatabaseError::InUse { said, by })
        }
        done => done,
    }
}

async fn apply(
    link: &Link,
    migrations: &MigrationSettings,
    all: &[(&Revision, Vec<Statement<'_>>)],
    to: &SchemaHead,
    lock_wait: Duration,
) -> Result<(), DatabaseError> {
    let lock_wait = lock_wait.as_millis().max(1);
    link.run(&format!("BEGIN; SET LOCAL lock_timeout = {lock_wait}"))
        .await?;
    if heads(link, migrations).await? == *to {
        // Done before: both are of one transaction.
        return link.run("ROLLBACK").await;
    }
    let ours = link.value("SELECT pg_catalog.txid_current()").await?;
    for (revision, statements) in all {
        for statement in statements {
            let place = format!("line {} of the SQL for {revision}", statement.line);
            let done = link.run(statement.text).await;
            done.map_err(|error| without_values(error, &place))?;
        }
    }
    if link.value("SELECT pg_catalog.txid_current()").await? != ours {
        link.run("ROLLBACK").await?;
        return Err(DatabaseError::other(
            "the SQL ended the transaction that it was to run in: part of it may have been done",
        ));
    }
    let taken: Vec<&Revision> = all.iter().map(|(revision, _)| *revision).collect();
    if let Some(version) = taken_back(migrations, &taken, to) {
        link.run(&version).await?;
    }
    let stands = heads(link, migrations).await?;
    if !same(&stands, to) {
        link.run("ROLLBACK").await?;
        let (stands, to) = apart(&stands, to);
        return Err(DatabaseError::other(format!(
            "after the SQL the version table says {stands} instead of {to}: with a tool of your own the SQL has to write \
             it too"
        )));
    }
    link.run("COMMIT").await
}

/// The version table within the open transaction.
pub(super) async fn heads(link: &Link, migrations: &MigrationSettings) -> Result<SchemaHead, DatabaseError> {
    link.run("SAVEPOINT steadfast_heads").await?;
    let found = match link.rows(&rows(migrations)).await {
        Err(error) if error.code() == Some(UNDEFINED_TABLE) => {
            link.run("ROLLBACK TO SAVEPOINT steadfast_heads").await?;
            let missing = match is_missing(migrations) {
                Some(missing) => link.value(&missing).await?,
                None => None,
            };
            return match missing.as_deref() {
                Some("t") => Ok(SchemaHead::NoTable),
                _ => Err(error),
            };
        }
        found => found?,
    };
    let mut heads = BTreeSet::new();
    for row in found {
        let head: Option<Revision> = row.get(0).and_then(|head| head.parse().ok());
        heads.insert(head.ok_or_else(|| DatabaseError::other("a row of the version table is no revision"))?);
    }
    Ok(SchemaHead::At(heads))
}
