//! What was kept gets its place back. Nothing that stands there by now is overwritten: a value counts as nothing where it
//! is NULL, or where nobody has written the row since its column was made. Each file is one transaction, which waits
//! briefly for locks: a stack may be serving meanwhile.

use std::path::Path;
use std::time::Duration;

use state::taken_back::PutIn;

use super::When;
use super::kept::{Item, Manifest, What};
use super::places::{fits, move_sequences, without_triggers};
use super::stream::{is_whole, read_in};
use super::table::{Column, Table, list, tables};
use crate::backup::{BackupError, Deadline};
use crate::database::{DatabaseError, Link, Login, quoted, session_forms, without_values};

/// A lock that somebody else has is waited for so long: everybody else waits behind us.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// The rows of a file, before they are anywhere else.
pub(super) const ROWS: &str = "pg_temp.\"steadfast rows\"";

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
pub(super) enum Not {
    /// It never will be.
    Put(String),
    /// It has no place.
    Yet(String),
    /// It could not be done now, for a reason of its own.
    Now(String),
    Error(BackupError),
}

impl<E: Into<BackupError>> From<E> for Not {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Puts back what is not put back already. What refers to a table that is filled later is tried again after that. What
/// cannot be put back now waits, whatever became of the rest.
pub(super) async fn all(
    login: &Login,
    manifest: &Manifest,
    dir: &Path,
    before: Option<&PutIn>,
    when: When,
    deadline: Deadline,
) -> PutIn {
    let mut put_in = before.cloned().unwrap_or_default();
    let waiting = std::mem::take(&mut put_in.waiting);
    let waits = |item: &&Item| match &item.file {
        Some(file) => before.is_none() || waiting.contains(file),
        None => false,
    };
    let mut left: Vec<&Item> = manifest.items.iter().filter(waits).collect();
    loop {
        let (mut refused, count) = (Vec::new(), left.len());
        for (nth, item) in left.iter().enumerate() {
            match put(login, item, dir, when, deadline).await {
                Ok(done) => tell(&mut put_in, item, done, None),
                Err(Not::Yet(_)) if !when.last => put_in.waiting.extend(item.file.clone()),
                Err(Not::Put(why) | Not::Yet(why)) => skip(&mut put_in, item, &why),
                Err(Not::Now(why)) => refused.push((*item, why)),
                Err(Not::Error(error)) => {
                    // The server, or the way to it: nobody else fares better now.
                    let rest = left.iter().skip(nth).chain(refused.iter().map(|(item, _)| item));
                    put_in.waiting.extend(rest.filter_map(|item| item.file.clone()));
                    let why = login.redact(&error.to_string());
                    put_in.lines.push(format!("{}: not yet: {why}", item.shown));
                    return put_in;
                }
            }
        }
        if refused.len() == count || refused.is_empty() {
            for (item, why) in refused {
                put_in.waiting.extend(item.file.clone());
                put_in
                    .lines
                    .push(format!("{}: not yet: {}", item.shown, login.redact(&why)));
            }
            return put_in;
        }
        left = refused.into_iter().map(|(item, _)| item).collect();
    }
}

fn skip(put_in: &mut PutIn, item: &Item, why: &str) {
    let done = Done {
        skipped: item.rows,
        ..Done::default()
    };
    tell(put_in, item, done, Some(why));
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
    // What could not be done before is done now.
    put_in
        .lines
        .retain(|line| !line.starts_with(&format!("{}: not yet: ", item.shown)));
    put_in
        .lines
        .push(format!("{}: {}{why}", item.shown, parts.join(", ")));
}

/// A file's own error, in words that hold nothing of the rows; or that of the server, or of the way to it.
fn own(error: Not) -> Not {
    let Not::Error(BackupError::Database(
        error @ (DatabaseError::Other { .. } | DatabaseError::Rights { .. }),
    )) = error
    else {
        return error;
    };
    match error.code().map(|code| (code.get(..2).unwrap_or_default(), code)) {
        // Serialization, resources, somebody's lock, an operator, a broken connection.
        None | Some(("08" | "40" | "53" | "55" | "57" | "58" | "XX", _)) => Not::Error(error.into()),
        Some(("22", code)) => Not::Put(format!("a value does not fit, {code}")),
        Some(_) => Not::Now(without_values(error, "it is refused").to_string()),
    }
}

async fn put(login: &Login, item: &Item, dir: &Path, when: When, deadline: Deadline) -> Result<Done, Not> {
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
    let done = put_through(&link, item, &file, when, within).await.map_err(own)?;
    link.end().await;
    Ok(done)
}

async fn put_through(
    link: &Link,
    item: &Item,
    file: &Path,
    when: When,
    within: Duration,
) -> Result<Done, Not> {
    // Who else writes is let through: what decides stands in each statement.
    let begin = session_forms("READ WRITE").replace("REPEATABLE READ", "READ COMMITTED");
    link.run(&begin).await?;
    let lock_wait = LOCK_WAIT.min(within / 4).as_millis().max(1);
    link.run(&format!("SET LOCAL lock_timeout = {lock_wait}")).await?;
    let tables = tables(link).await?;
    let mut tables = tables.iter();
    let there = tables.find(|table| table.schema == item.schema && table.name == item.table);
    let Some(table) = there else {
        return Err(Not::Yet(String::from("the table is not there")));
    };
    has_its_place(table, item, when.last)?;
    // What its triggers and checks name, they name as their author did; our own names are whole.
    link.run("SET LOCAL search_path TO DEFAULT").await?;
    take(link, table, item, file).await?;
    let quiet = without_triggers(link, table).await?;
    let done = match &item.what {
        What::Column(name) => put_column(link, table, item, name, when.fresh).await?,
        What::Type { column, now } => put_wide(link, table, item, column, now).await?,
        What::Table | What::Rows => put_rows(link, table, item).await?,
        What::Own { .. } => Done::default(),
    };
    quiet.end(link, table).await?;
    link.run("COMMIT").await?;
    Ok(done)
}

/// Looked at before anything is taken in.
fn has_its_place(table: &Table, item: &Item, last: bool) -> Result<(), Not> {
    let yet = |words: &str| Err(Not::Yet(words.to_owned()));
    match &item.what {
        What::Column(name) if table.column(name).is_none() => yet("the table has no such column"),
        What::Type { column, now } => match table.column(column) {
            None => yet("the table has no such column"),
            Some(is) if is.kind == *now => yet(&format!("the column is still {now}")),
            Some(_) => Ok(()),
        },
        // A later script may put some of them there itself.
        What::Rows if !last => yet("not all of what was taken back is there again"),
        What::Table if !last && item.columns.iter().any(|c| table.column(&c.name).is_none()) => {
            yet("the table does not have all of its columns")
        }
        _ => Ok(()),
    }
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
    let copy = format!("COPY {ROWS} ({names}) FROM STDIN WITH (FORMAT csv, HEADER)");
    read_in(link, &copy, file).await?;
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

async fn put_column(link: &Link, table: &Table, item: &Item, name: &str, fresh: bool) -> Result<Done, Not> {
    let same = joined(table, item)?;
    let (rows, quoted) = (table.rows(), quoted(name));
    let nothing = match table.column(name) {
        // Nobody has written since: whatever stands there is the script's.
        Some(_) if fresh => String::from("true"),
        Some(column) => nothing(table, column),
        None => return Err(Not::Yet(String::from("the table has no such column"))),
    };
    // JSON and points have no equality; what they are written as has.
    let differs = format!("t.{quoted}::text IS DISTINCT FROM s.{quoted}::text");
    let fits = fits(link, table, &[name]).await?;
    let count = |what: &str| format!("SELECT count(*) FROM {rows} t JOIN {ROWS} s ON {same} AND {what}");
    let gone = format!("SELECT count(*) FROM {ROWS} s WHERE NOT EXISTS (SELECT FROM {rows} t WHERE {same})");
    let put = format!(
        "WITH put AS (UPDATE {rows} t SET {quoted} = s.{quoted} FROM {ROWS} s \
         WHERE {same} AND {differs} AND ({nothing}) AND {fits} RETURNING 1) SELECT count(*) FROM put"
    );
    let misfits = count(&format!("{differs} AND NOT ({fits})"));
    let skipped = number(link, &gone).await? + number(link, &misfits).await?;
    Ok(Done {
        there: number(link, &count(&format!("NOT ({differs})"))).await?,
        restored: number(link, &put).await?,
        conflicting: number(link, &count(&format!("{differs} AND {fits}"))).await?,
        skipped,
    })
}

/// When a value of a column counts as nothing, once others have written: it is NULL; or its row is older than the column,
/// or of the same transaction: the column's row in the catalogue says which that was.
fn nothing(table: &Table, column: &Column) -> String {
    let value = quoted(&column.name);
    let made = format!(
        "(SELECT age(a.xmin) FROM pg_catalog.pg_attribute a WHERE a.attrelid = {} AND a.attnum = {} \
         AND age(a.xmin) < 1000000000)",
        table.oid, column.number
    );
    if table.parted {
        return format!("t.{value} IS NULL");
    }
    format!("t.{value} IS NULL OR age(t.xmin) >= {made}")
}

/// A column that is wide again: what stands there is what the narrow type has left of what was kept, or it stays.
async fn put_wide(link: &Link, table: &Table, item: &Item, column: &str, narrow: &str) -> Result<Done, Not> {
    let same = joined(table, item)?;
    let (rows, quoted) = (table.rows(), quoted(column));
    let Some(now) = table.column(column) else {
        return Err(Not::Yet(String::from("the table has no such column")));
    };
    let differs = format!("{same} AND t.{quoted}::text IS DISTINCT FROM s.{quoted}::text");
    let left = format!("((s.{quoted})::{narrow})::{}", now.kind);
    let gone = format!("SELECT count(*) FROM {ROWS} s WHERE NOT EXISTS (SELECT FROM {rows} t WHERE {same})");
    let there = format!(
        "SELECT count(*) FROM {rows} t JOIN {ROWS} s ON {same} \
         AND NOT (t.{quoted}::text IS DISTINCT FROM s.{quoted}::text)"
    );
    let put = format!(
        "WITH put AS (UPDATE {rows} t SET {quoted} = s.{quoted} FROM {ROWS} s WHERE {differs} \
         AND (t.{quoted} IS NULL OR t.{quoted}::text = ({left})::text) RETURNING 1) SELECT count(*) FROM put"
    );
    let conflicting = format!("SELECT count(*) FROM {rows} t JOIN {ROWS} s ON {differs}");
    Ok(Done {
        skipped: number(link, &gone).await?,
        there: number(link, &there).await?,
        restored: number(link, &put).await?,
        conflicting: number(link, &conflicting).await?,
    })
}

/// Rows that are not there are put there, as far as the table has their columns, and the rows that they refer to are there.
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
    let fits = fits(link, table, &both).await?;
    // A table that its rows refer to may be filled later.
    let misfits = number(link, &format!("SELECT count(*) FROM {ROWS} s WHERE NOT ({fits})")).await?;
    if misfits == item.rows {
        return Err(Not::Now(String::from("what its rows refer to is not there")));
    }
    let put = format!(
        "WITH put AS (INSERT INTO {sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {ROWS} s \
         WHERE {fits} ON CONFLICT DO NOTHING RETURNING 1) SELECT count(*) FROM put"
    );
    let restored = number(link, &put).await?;
    move_sequences(link, table, &both).await?;
    Ok(Done {
        restored,
        there,
        conflicting,
        skipped: item.rows.saturating_sub(restored + there + conflicting),
    })
}
