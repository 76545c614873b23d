//! What was kept gets its place back. Nothing that stands there by now is overwritten: a value counts as nothing where it
//! is NULL, the column's default, or what the column was made with. Each table is one transaction.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use state::taken_back::PutIn;

use super::When;
use super::kept::{Item, Manifest, What};
use super::stream::{is_whole, read_in};
use super::table::{Column, Table, list, tables};
use crate::backup::{BackupError, Deadline};
use crate::database::{DatabaseError, Link, Login, literal, quoted, session_forms};

/// A lock that somebody else has is waited for so long: everybody else waits behind us.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// The rows of a file, before they are anywhere else.
const ROWS: &str = "pg_temp.\"steadfast rows\"";

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Done {
    restored: u64,
    /// They are there already.
    there: u64,
    conflicting: u64,
    skipped: u64,
}

/// Why a file is not put back, in words.
enum Not {
    Put(String),
    /// It has no place.
    Yet(String),
    Error(BackupError),
}

impl<E: Into<BackupError>> From<E> for Not {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Puts all of it back. What refers to a table that is filled later is tried again after that.
pub(super) async fn all(
    login: &Login,
    manifest: &Manifest,
    dir: &Path,
    before: Option<&PutIn>,
    when: When,
    deadline: Deadline,
) -> Result<PutIn, BackupError> {
    let mut put_in = before.cloned().unwrap_or_default();
    let waiting = std::mem::take(&mut put_in.waiting);
    let waits = |item: &&Item| match &item.file {
        Some(file) => before.is_none() || waiting.contains(file),
        None => false,
    };
    let mut left: Vec<&Item> = manifest.items.iter().filter(waits).collect();
    loop {
        let (mut refused, before) = (Vec::new(), left.len());
        for item in left {
            match put(login, item, dir, when.fresh, deadline).await {
                Ok(done) => tell(&mut put_in, item, done, None),
                Err(Not::Yet(_)) if !when.last => put_in.waiting.extend(item.file.clone()),
                Err(Not::Put(why) | Not::Yet(why)) => {
                    let done = Done {
                        skipped: item.rows,
                        ..Done::default()
                    };
                    tell(&mut put_in, item, done, Some(&why));
                }
                Err(Not::Error(BackupError::Database(error))) if is_about_rows(&error) => {
                    refused.push((item, why_not(&error)));
                }
                Err(Not::Error(error)) => return Err(error),
            }
        }
        if refused.len() == before || refused.is_empty() {
            for (item, why) in refused {
                let done = Done {
                    skipped: item.rows,
                    ..Done::default()
                };
                tell(&mut put_in, item, done, Some(&why));
            }
            return Ok(put_in);
        }
        left = refused.into_iter().map(|(item, _)| item).collect();
    }
}

fn tell(put_in: &mut PutIn, item: &Item, done: Done, why: Option<&str>) {
    put_in.restored += done.restored;
    put_in.skipped += done.skipped;
    put_in.conflicting += done.conflicting;
    let mut parts = vec![format!("{} of {} rows put back", done.restored, item.rows)];
    let mut add = |count: u64, words: &str| {
        if count > 0 {
            parts.push(format!("{count} {words}"));
        }
    };
    add(done.there, "there already");
    add(
        done.conflicting,
        "in conflict with what stands there now, which stays",
    );
    add(done.skipped, "skipped");
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    put_in
        .lines
        .push(format!("{}: {}{why}", item.shown, parts.join(", ")));
}

/// Whether the rows do not fit, and not the server, or the connection to it.
fn is_about_rows(error: &DatabaseError) -> bool {
    let class = error.code().and_then(|code| code.get(..2));
    matches!(error, DatabaseError::Other { .. } | DatabaseError::Rights { .. })
        && matches!(class, Some("22" | "23" | "42" | "0A" | "P0" | "44"))
}

/// In words that hold nothing of the rows.
fn why_not(error: &DatabaseError) -> String {
    match error.code() {
        Some(code) if code.starts_with("22") => format!("a value does not fit, {code}"),
        Some(code) if code.starts_with("P0") => format!("a trigger refuses it, {code}"),
        _ => error.to_string(),
    }
}

async fn put(login: &Login, item: &Item, dir: &Path, fresh: bool, deadline: Deadline) -> Result<Done, Not> {
    if let What::Own { .. } = item.what {
        return Err(Not::Put(String::from(
            "it is of your own query, and yours to put back",
        )));
    }
    let Some(file) = item.file.as_ref().map(|name| dir.join(name)) else {
        return Ok(Done::default());
    };
    if !is_whole(&file, &item.sha256).await? {
        return Err(Not::Put(format!("{} is not what was written", file.display())));
    }
    let within = deadline.left()?;
    let link = Link::to(login, within).await?;
    link.run(&session_forms("READ WRITE")).await?;
    let lock_wait = LOCK_WAIT.min(within / 4).as_millis().max(1);
    link.run(&format!("SET LOCAL lock_timeout = {lock_wait}")).await?;
    let tables = tables(&link).await?;
    let mut tables = tables.iter();
    let there = tables.find(|table| table.schema == item.schema && table.name == item.table);
    let Some(table) = there else {
        return Err(Not::Yet(String::from("the table is not there")));
    };
    take(&link, table, item, &file).await?;
    let done = match &item.what {
        What::Columns { columns } => put_columns(&link, table, item, columns, fresh).await?,
        What::Type { column, now } => put_wide(&link, table, item, column, now).await?,
        What::Table | What::Rows => put_rows(&link, table, item).await?,
        What::Own { .. } => Done::default(),
    };
    link.run("COMMIT").await?;
    link.end().await;
    Ok(done)
}

/// Takes the rows of a file into a table of our session. What the database's table has not any more is text.
async fn take(link: &Link, table: &Table, item: &Item, file: &Path) -> Result<(), Not> {
    let columns: Vec<String> = item
        .columns
        .iter()
        .map(|column| {
            let kind = table.column(&column.name).map_or("text", |now| now.kind.as_str());
            format!("{} {kind}", quoted(&column.name))
        })
        .collect();
    link.run(&format!(
        "CREATE TEMP TABLE \"steadfast rows\" ({}) ON COMMIT DROP",
        columns.join(", ")
    ))
    .await?;
    let names = list("", item.columns.iter().map(|column| column.name.as_str()));
    read_in(
        link,
        &format!("COPY {ROWS} ({names}) FROM STDIN WITH (FORMAT csv, HEADER)"),
        file,
    )
    .await?;
    link.run(&format!("ANALYZE {ROWS}")).await?;
    Ok(())
}

/// How a kept row and the one in the table are known to be the same.
fn joined(table: &Table, item: &Item) -> Result<String, Not> {
    if item.keys.is_empty() {
        return Err(Not::Put(String::from(
            "the table has no key: nobody can tell its rows apart",
        )));
    }
    if item.keys != table.keys {
        return Err(Not::Put(String::from("the table has another key now")));
    }
    let same = item.keys.iter().map(|key| {
        let key = quoted(key);
        format!("t.{key} = s.{key}")
    });
    Ok(same.collect::<Vec<_>>().join(" AND "))
}

async fn number(link: &Link, sql: &str) -> Result<u64, Not> {
    let found = link.value(sql).await?;
    let found = found.and_then(|found| found.parse().ok());
    Ok(found.ok_or_else(|| DatabaseError::other("a count that is no number"))?)
}

async fn put_columns(
    link: &Link,
    table: &Table,
    item: &Item,
    columns: &[String],
    fresh: bool,
) -> Result<Done, Not> {
    let same = joined(table, item)?;
    let rows = table.rows();
    let mut done = Done {
        skipped: number(
            link,
            &format!("SELECT count(*) FROM {ROWS} s WHERE NOT EXISTS (SELECT FROM {rows} t WHERE {same})"),
        )
        .await?,
        ..Done::default()
    };
    let (mut there, mut missing) = (0, Vec::new());
    let quiet = without_triggers(link, table).await?;
    for name in columns {
        let Some(column) = table.column(name) else {
            missing.push(name.as_str());
            continue;
        };
        let quoted = quoted(name);
        let nothing = nothing(link, table, column, fresh).await?;
        // JSON and points have no equality; what they are written as has.
        let differs = format!("t.{quoted}::text IS DISTINCT FROM s.{quoted}::text");
        let kept = format!("{same} AND s.{quoted} IS NOT NULL");
        there += number(
            link,
            &format!("SELECT count(*) FROM {rows} t JOIN {ROWS} s ON {kept} AND NOT ({differs})"),
        )
        .await?;
        done.restored += number(
            link,
            &format!(
                "WITH put AS (UPDATE {rows} t SET {quoted} = s.{quoted} FROM {ROWS} s \
                 WHERE {kept} AND {differs} AND ({nothing}) RETURNING 1) SELECT count(*) FROM put"
            ),
        )
        .await?;
        done.conflicting += number(
            link,
            &format!("SELECT count(*) FROM {rows} t JOIN {ROWS} s ON {kept} AND {differs}"),
        )
        .await?;
    }
    done.there = there;
    if quiet {
        link.run("SET LOCAL session_replication_role = origin").await?;
    }
    if missing.len() == columns.len() {
        return Err(Not::Yet(String::from("the table has no such column")));
    }
    Ok(done)
}

/// Where the table's own triggers would change other columns they are passed over, if that is allowed. Where a rule about
/// other tables is kept by triggers too, they are not.
async fn without_triggers(link: &Link, table: &Table) -> Result<bool, Not> {
    if !table.triggers || table.foreign {
        return Ok(false);
    }
    link.run("SAVEPOINT quiet").await?;
    match link.run("SET LOCAL session_replication_role = replica").await {
        Ok(()) => Ok(true),
        Err(DatabaseError::Rights { .. }) => {
            link.run("ROLLBACK TO SAVEPOINT quiet").await?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// When a value of a column counts as nothing.
async fn nothing(link: &Link, table: &Table, column: &Column, fresh: bool) -> Result<String, Not> {
    let value = format!("t.{}::text", quoted(&column.name));
    let mut is = vec![format!("{value} IS NULL")];
    if let Some(missing) = &column.missing {
        is.push(format!("{value} = {}", literal(missing)));
    }
    if let Some(default) = &column.default {
        is.push(format!("{value} = (({default})::{})::text", column.kind));
    }
    if fresh {
        let sql = format!(
            "SELECT min({value}) FROM {} t HAVING count(DISTINCT {value}) = 1 AND count(*) = count({value})",
            table.rows()
        );
        if let Some(only) = link.value(&sql).await? {
            is.push(format!("{value} = {}", literal(&only)));
        }
    }
    Ok(is.join(" OR "))
}

/// A column that is wide again: what stands there is what the narrow type has left of what was kept, or it stays.
async fn put_wide(link: &Link, table: &Table, item: &Item, column: &str, narrow: &str) -> Result<Done, Not> {
    let same = joined(table, item)?;
    let (rows, quoted) = (table.rows(), quoted(column));
    let Some(now) = table.column(column) else {
        return Err(Not::Yet(String::from("the table has no such column")));
    };
    if now.kind == narrow {
        return Err(Not::Yet(format!("the column is still {narrow}")));
    }
    let differs = format!("{same} AND t.{quoted}::text IS DISTINCT FROM s.{quoted}::text");
    let left = format!("((s.{quoted})::{narrow})::{}", now.kind);
    let skipped =
        format!("SELECT count(*) FROM {ROWS} s WHERE NOT EXISTS (SELECT FROM {rows} t WHERE {same})");
    let there = format!(
        "SELECT count(*) FROM {rows} t JOIN {ROWS} s ON {same} WHERE NOT (t.{quoted}::text IS DISTINCT FROM s.{quoted}::text)"
    );
    let put = format!(
        "WITH put AS (UPDATE {rows} t SET {quoted} = s.{quoted} FROM {ROWS} s WHERE {differs} \
         AND (t.{quoted} IS NULL OR t.{quoted}::text = ({left})::text) RETURNING 1) SELECT count(*) FROM put"
    );
    let conflicting = format!("SELECT count(*) FROM {rows} t JOIN {ROWS} s ON {differs}");
    Ok(Done {
        skipped: number(link, &skipped).await?,
        there: number(link, &there).await?,
        restored: number(link, &put).await?,
        conflicting: number(link, &conflicting).await?,
    })
}

/// Rows that are not there are put there, as far as the table has their columns.
async fn put_rows(link: &Link, table: &Table, item: &Item) -> Result<Done, Not> {
    let (rows, sql) = (table.rows(), table.sql());
    let both: Vec<&str> = item
        .columns
        .iter()
        .filter(|column| table.column(&column.name).is_some_and(|now| !now.generated))
        .map(|column| column.name.as_str())
        .collect();
    if both.is_empty() {
        return Err(Not::Yet(String::from("the table has none of the columns")));
    }
    let names = list("", both.iter().copied());
    let (mut there, mut conflicting) = (0, 0);
    if item.keys.is_empty() {
        if number(
            link,
            &format!("SELECT count(*) FROM (SELECT FROM {rows} LIMIT 1) r"),
        )
        .await?
            > 0
        {
            return Err(Not::Put(String::from(
                "the table has no key, and rows: nobody can tell which are there already",
            )));
        }
    } else {
        let same = joined(table, item)?;
        let row = |of: &str| format!("ROW({})::text", list(&format!("{of}."), both.iter().copied()));
        let equal = format!("{} = {}", row("t"), row("s"));
        let count = |what: &str| format!("SELECT count(*) FROM {rows} t JOIN {ROWS} s ON {same} AND {what}");
        there = number(link, &count(&equal)).await?;
        conflicting = number(link, &count(&format!("NOT ({equal})"))).await?;
    }
    let restored = number(
        link,
        &format!(
            "WITH put AS (INSERT INTO {sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {ROWS} \
             ON CONFLICT DO NOTHING RETURNING 1) SELECT count(*) FROM put"
        ),
    )
    .await?;
    move_sequences(link, table, &both).await?;
    Ok(Done {
        restored,
        there,
        conflicting,
        skipped: item.rows.saturating_sub(restored + there + conflicting),
    })
}

/// The next number of a sequence is none that a row has.
async fn move_sequences(link: &Link, table: &Table, columns: &[&str]) -> Result<(), Not> {
    let mut sequences: BTreeMap<String, &str> = BTreeMap::new();
    for column in columns {
        let sql = format!(
            "SELECT pg_get_serial_sequence({}, {})",
            literal(&table.sql()),
            literal(column)
        );
        if let Some(sequence) = link.value(&sql).await? {
            sequences.insert(sequence, column);
        }
    }
    for (sequence, column) in sequences {
        let column = quoted(column);
        link.run(&format!(
            "SELECT setval({}, m.most) FROM (SELECT max({column}) AS most FROM {}) m, {sequence} s \
             WHERE m.most > s.last_value",
            literal(&sequence),
            table.rows()
        ))
        .await?;
    }
    Ok(())
}
