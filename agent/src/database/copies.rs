//! Copies of the database beside it: made, listed, dropped. A copy is ours and whole where its comment
//! says so; the comment is written last.

use std::time::{Duration, Instant};

use config::settings::PgName;

use super::DatabaseError;
use super::link::{Link, literal, quoted};
use super::login::Login;
use super::place::{check_ours, prefix};

/// What a database beside the stack's own is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    /// A safety copy.
    Copy,
    /// What had the database's name before a copy took it.
    Aside,
    /// A copy that was about to take the database's name.
    New,
    /// What a backup is restored into.
    Scratch,
    /// What was restored, whole, to take the database's name.
    Restored,
}

impl CopyKind {
    const ALL: [Self; 5] = [Self::Copy, Self::Aside, Self::New, Self::Scratch, Self::Restored];

    /// As the mark says it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Aside => "aside",
            Self::New => "new",
            Self::Scratch => "scratch",
            Self::Restored => "restored",
        }
    }
}

/// What an operation left beside the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseCopy {
    /// Its name.
    pub name: PgName,
    /// The database that it was made of.
    pub of: PgName,
    /// What it is; `None` while it is not complete.
    pub kind: Option<CopyKind>,
    /// Its size on the server's disk.
    pub bytes: u64,
    /// Whether it was made to its end.
    pub complete: bool,
}

/// A copy that was made, or was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Its size on the server's disk.
    pub bytes: u64,
    /// How long this call took.
    pub took: Duration,
}

/// One row of `pg_database`.
pub(super) struct Entry {
    pub(super) name: String,
    open: bool,
    limit: i32,
    pub(super) comment: Option<String>,
}

/// Postgres' own sign of a database whose `DROP DATABASE` was cut short.
const INVALID: i32 = -2;

impl Entry {
    pub(super) fn is(&self, mark: &str) -> bool {
        self.comment.as_deref() == Some(mark) && self.limit != INVALID
    }

    /// The kind and the database that its mark names.
    pub(super) fn mark(&self) -> Option<(CopyKind, &str)> {
        let said = self.comment.as_deref()?.strip_prefix("io.steadfast ")?;
        let (of, _) = said.strip_suffix(", complete")?.rsplit_once(" for operation ")?;
        let marked = |kind: CopyKind| Some((kind, of.strip_prefix(kind.as_str())?.strip_prefix(" of ")?));
        CopyKind::ALL.into_iter().find_map(marked)
    }

    pub(super) fn is_whole_copy_of(&self, database: &PgName) -> bool {
        self.mark() == Some((CopyKind::Copy, database.as_str())) && self.limit != INVALID
    }

    /// As `CREATE DATABASE` of ours leaves it before the mark, or `DROP DATABASE` of ours cut short.
    pub(super) fn is_half_made(&self) -> bool {
        let made = self.comment.is_none() && !self.open && self.limit == 0;
        made || (self.limit == INVALID && (self.comment.is_none() || self.mark().is_some()))
    }
}

/// What the comment on a whole one says.
pub(super) fn mark(kind: CopyKind, database: &PgName, operation: u64) -> String {
    format!(
        "io.steadfast {} of {database} for operation {operation}, complete",
        kind.as_str()
    )
}

pub(super) async fn entry(link: &Link, name: &PgName) -> Result<Option<Entry>, DatabaseError> {
    Ok(entries(link, &format!("datname = {}", literal(name.as_str())))
        .await?
        .pop())
}

async fn entries(link: &Link, which: &str) -> Result<Vec<Entry>, DatabaseError> {
    let sql = format!(
        "SELECT datname, datallowconn, datconnlimit, \
           pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE {which}"
    );
    let rows = link.rows(&sql).await?;
    let entry = |row: &tokio_postgres::SimpleQueryRow| Entry {
        name: row.get(0).unwrap_or_default().to_owned(),
        open: row.get(1) == Some("t"),
        limit: row.get(2).and_then(|limit| limit.parse().ok()).unwrap_or(-1),
        comment: row.get(3).map(str::to_owned),
    };
    let mut entries: Vec<Entry> = rows.iter().map(entry).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// A copy of the database, closed; one that is whole is left as it is.
pub(super) async fn copy(
    login: &Login,
    name: &PgName,
    operation: u64,
    within: Duration,
) -> Result<Made, DatabaseError> {
    let begun = Instant::now();
    let database = login.database()?;
    check_ours(&database, name)?;
    let link = Link::alone(login, &database, within).await?;
    make(
        &link,
        &database,
        name,
        &mark(CopyKind::Copy, &database, operation),
    )
    .await?;
    let bytes = size_of(&link, name.as_str()).await?;
    link.end().await;
    Ok(Made {
        bytes,
        took: begun.elapsed(),
    })
}

/// Makes `name` of `template`, with this mark, unless it is there. What is there without it and is
/// half-made by us goes; what is anybody else's stays, and is an error.
pub(super) async fn make(
    link: &Link,
    template: &PgName,
    name: &PgName,
    mark: &str,
) -> Result<(), DatabaseError> {
    match entry(link, name).await? {
        Some(found) if found.is(mark) => return Ok(()),
        Some(found) if found.is_half_made() => drop_database(link, name).await?,
        Some(found) => return Err(taken(&found)),
        None => {}
    }
    if entry(link, template).await?.is_none() {
        return Err(DatabaseError::missing(template.as_str()));
    }
    let quoted_name = quoted(name.as_str());
    // The limit is part of the sign of one that is half-made.
    let create = format!(
        "CREATE DATABASE {quoted_name} TEMPLATE {} ALLOW_CONNECTIONS false CONNECTION LIMIT 0",
        quoted(template.as_str())
    );
    link.run_on(template, &create).await?;
    link.run(&format!("COMMENT ON DATABASE {quoted_name} IS {}", literal(mark)))
        .await
}

pub(super) fn taken(found: &Entry) -> DatabaseError {
    DatabaseError::other(format!(
        "the database \"{}\" is there already and is not this one: {}",
        found.name,
        found.comment.as_deref().map_or_else(
            || String::from("it has no mark of Steadfast"),
            |c| { format!("its comment is \"{}\"", c.chars().take(200).collect::<String>()) }
        )
    ))
}

/// Drops a copy; not by force: who looks at it is named.
pub(super) async fn drop_copy(login: &Login, name: &PgName, within: Duration) -> Result<(), DatabaseError> {
    let database = login.database()?;
    let link = Link::alone(login, &database, within).await?;
    if let Some(found) = entry(&link, name).await? {
        let half = found.name.starts_with(&prefix(&database)) && found.is_half_made();
        if *name == database || (found.mark().is_none() && !half) {
            return Err(DatabaseError::other(format!(
                "the database \"{name}\" has no mark of Steadfast, and is not dropped"
            )));
        }
        drop_database(&link, name).await?;
    }
    link.end().await;
    Ok(())
}

pub(super) async fn drop_database(link: &Link, name: &PgName) -> Result<(), DatabaseError> {
    link.run_on(name, &format!("DROP DATABASE {}", quoted(name.as_str())))
        .await
}

/// What carries the mark of this database, and what is half-made of it.
pub(super) async fn copies(login: &Login, within: Duration) -> Result<Vec<DatabaseCopy>, DatabaseError> {
    let database = login.database()?;
    let link = Link::beside(login, &database, within).await?;
    let prefix = prefix(&database);
    let mut copies = Vec::new();
    for entry in entries(&link, "NOT datistemplate").await? {
        let kind = entry
            .mark()
            .filter(|(_, of)| *of == database.as_str())
            .map(|(kind, _)| kind);
        let complete = kind.is_some() && entry.limit != INVALID;
        if entry.name == database.as_str()
            || !(complete || (entry.name.starts_with(&prefix) && entry.is_half_made()))
        {
            continue;
        }
        copies.push(DatabaseCopy {
            bytes: size_of(&link, &entry.name).await?,
            name: entry
                .name
                .parse()
                .map_err(|_| DatabaseError::other("a name of no database"))?,
            of: database.clone(),
            kind: kind.filter(|_| complete),
            complete,
        });
    }
    link.end().await;
    Ok(copies)
}

/// The size of the database on the server's disk.
pub(super) async fn size(login: &Login, within: Duration) -> Result<u64, DatabaseError> {
    let database = login.database()?;
    let link = Link::beside(login, &database, within).await?;
    let bytes = size_of(&link, database.as_str()).await?;
    link.end().await;
    Ok(bytes)
}

async fn size_of(link: &Link, name: &str) -> Result<u64, DatabaseError> {
    let sql = format!("SELECT pg_catalog.pg_database_size({}::name)", literal(name));
    // NULL: nothing of it is left on the disk.
    let bytes = link.value(&sql).await?.unwrap_or_else(|| String::from("0"));
    bytes
        .parse()
        .map_err(|_| DatabaseError::other("the size of a database is no number"))
}
