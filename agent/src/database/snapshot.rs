//! A snapshot that a dump is made in, and what is counted in it: whoever goes on writing changes neither.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use config::settings::{MigrationSettings, PgName};
use state::observed::SchemaHead;

use super::DatabaseError;
use super::apply::heads;
use super::fingerprint::{CANONICAL, OURS};
use super::link::Link;
use super::login::Login;

/// What a database holds, counted at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// The rows of every ordinary table that a dump has, by `schema.table`; what an extension brings is not dumped.
    pub tables: BTreeMap<String, u64>,
    /// How many large objects.
    pub large_objects: u64,
    /// The rows of the version table.
    pub head: SchemaHead,
}

/// Holds a snapshot for as long as it lives.
#[async_trait]
pub trait Snapshot: Send + Sync {
    /// As `pg_dump --snapshot` takes it.
    fn name(&self) -> &str;

    /// The server's major version.
    fn major(&self) -> u32;

    /// The size of the database on the server's disk.
    fn bytes(&self) -> u64;

    /// What the snapshot holds.
    async fn census(&self) -> Result<Census, DatabaseError>;

    /// Lets it go in good order. Dropping it does so too, a little later.
    async fn release(self: Box<Self>);
}

struct Held {
    link: Link,
    login: Login,
    migrations: MigrationSettings,
    name: String,
    major: u32,
    bytes: u64,
    within: Duration,
}

#[async_trait]
impl Snapshot for Held {
    fn name(&self) -> &str {
        &self.name
    }

    fn major(&self) -> u32 {
        self.major
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    async fn census(&self) -> Result<Census, DatabaseError> {
        let counting = count(&self.link, &self.migrations);
        self.login.bounded(self.within, counting).await
    }

    async fn release(self: Box<Self>) {
        self.link.end().await;
    }
}

/// A snapshot of `database`, on the server of `login`.
pub(super) async fn snapshot(
    login: Login,
    database: &PgName,
    migrations: &MigrationSettings,
    within: Duration,
) -> Result<Box<dyn Snapshot>, DatabaseError> {
    let held = login.bounded(within, begin(&login, database, within)).await;
    let (link, name, major, bytes) = held?;
    Ok(Box::new(Held {
        link,
        login,
        migrations: migrations.clone(),
        name,
        major,
        bytes,
        within,
    }))
}

async fn begin(
    login: &Login,
    database: &PgName,
    within: Duration,
) -> Result<(Link, String, u32, u64), DatabaseError> {
    let link = Link::connect(login, database.as_str(), within).await?;
    link.run(CANONICAL).await?;
    let asked = "SELECT pg_export_snapshot(), current_setting('server_version_num'), \
         pg_database_size(current_database())";
    let rows = link.rows(asked).await?;
    let text = |at: usize| rows.first().and_then(|row| row.get(at)).unwrap_or_default();
    let number = |at: usize| text(at).parse::<u64>();
    let (Ok(version), Ok(bytes)) = (number(1), number(2)) else {
        return Err(DatabaseError::other(
            "the version of the server, or the size of the database, is no number",
        ));
    };
    let major = u32::try_from(version / 10_000).unwrap_or(u32::MAX);
    let name = text(0).to_owned();
    Ok((link, name, major, bytes))
}

/// What `database` holds now.
pub(super) async fn census(
    login: &Login,
    database: &PgName,
    migrations: &MigrationSettings,
    within: Duration,
) -> Result<Census, DatabaseError> {
    let link = Link::connect(login, database.as_str(), within).await?;
    link.run(CANONICAL).await?;
    let census = count(&link, migrations).await?;
    link.end().await;
    Ok(census)
}

/// Counts in the transaction that is open.
async fn count(link: &Link, migrations: &MigrationSettings) -> Result<Census, DatabaseError> {
    let listed = link
        .rows(&format!(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS} AND c.relkind = 'r' \
             AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass \
               AND d.objid = c.oid AND d.deptype = 'e')"
        ))
        .await?;
    let number = async |sql: &str| {
        let found = link.value(sql).await?;
        let found = found.and_then(|found| found.parse::<u64>().ok());
        found.ok_or_else(|| DatabaseError::other("a count that is no number"))
    };
    let mut tables = BTreeMap::new();
    for table in &listed {
        let table = table.get(0).unwrap_or_default();
        let rows = number(&format!("SELECT count(*) FROM ONLY {table}")).await?;
        tables.insert(table.to_owned(), rows);
    }
    Ok(Census {
        tables,
        large_objects: number("SELECT count(*) FROM pg_largeobject_metadata").await?,
        head: heads(link, migrations).await?,
    })
}
