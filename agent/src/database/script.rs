//! SQL as `pg_dump` writes it, run statement by statement over one connection, in little memory. There is no `psql`:
//! of its own commands `\restrict` and `\unrestrict`, which later versions of `pg_dump` write, are passed over, and
//! the rows after `COPY … FROM stdin;` end with `\.`; any other is refused, with its line, and so is what reaches beyond
//! the database that it is run in.

use std::io::Cursor;
use std::pin::pin;
use std::time::Duration;

use config::settings::PgName;
use config::sql::{Lexer, PsqlCommand, first_words};
use futures_util::SinkExt as _;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

use super::DatabaseError;
use super::link::Link;
use super::login::Login;

/// The longest statement that is taken; rows of a `COPY` are none.
const LONGEST: usize = 64 << 20;

/// What no dump of one database has, and what would change more than that one. `pg_dump --create` and `pg_dumpall` write
/// some of it.
const BEYOND: [&str; 3] = ["create", "alter", "drop"];
const KINDS: [&str; 6] = ["database", "role", "user", "group", "tablespace", "system"];

/// What `pg_dump` writes above all, and below all.
const HEAD: &str = "-- PostgreSQL database dump";
const TAIL: &str = "-- PostgreSQL database dump complete";

/// What the encodings of a dump may be: what is said to the server is UTF-8.
const ENCODINGS: [&str; 4] = ["utf8", "utf-8", "unicode", "sql_ascii"];

/// A text that is read statement by statement.
type Script<'a> = &'a mut (dyn AsyncBufRead + Send + Unpin);

pub(super) async fn run_script(
    login: &Login,
    into: &PgName,
    script: Script<'_>,
    within: Duration,
) -> Result<(), DatabaseError> {
    let link = Link::connect(login, into.as_str(), within).await?;
    let mut begun = 0;
    let done = run_all(&link, script, &mut begun).await;
    link.end().await;
    done.map_err(|error| error.map(|words| format!("line {begun}: {words}")))
}

/// `begun`: the line, from 1, where the statement begins that is read or run.
async fn run_all(link: &Link, script: Script<'_>, begun: &mut u64) -> Result<(), DatabaseError> {
    let mut lexer = Lexer::default();
    let mut statement = String::new();
    let mut whole = Whole::default();
    let mut next = 1;
    loop {
        let Some(read) = read_line(script, LONGEST - statement.len()).await? else {
            break;
        };
        if lexer.is_between() {
            *begun = next;
            whole.reads(read.trim_end());
            if read.starts_with('\\') {
                next += 1;
                passed_over(&read)?;
                continue;
            }
        }
        next += 1;
        let mut rest = read.as_str();
        while let Some(end) = lexer
            .end(rest)
            .map_err(|error: PsqlCommand| DatabaseError::other(error.to_string()))?
        {
            statement.push_str(&rest[..end]);
            rest = &rest[end..];
            if is_copy(&statement) {
                if !rest.trim().is_empty() {
                    return Err(DatabaseError::other("something stands behind a COPY FROM stdin"));
                }
                next += copy(link, &statement, script).await?;
                rest = "";
            } else {
                check_encoding(&statement)?;
                stays_inside(&statement)?;
                link.run(&statement).await?;
                whole.ran(&statement);
            }
            statement.clear();
        }
        statement.push_str(rest);
        if lexer.is_between() {
            statement.clear();
        }
    }
    if lexer.is_between() {
        return whole.check();
    }
    Err(DatabaseError::other(
        "the last statement has no end: the file is cut off",
    ))
}

/// Whether a script came to its end, as far as it says itself.
#[derive(Debug, Default)]
struct Whole {
    /// It has begun a transaction, and not ended it.
    open: bool,
    /// It has the head of a dump, and not its tail.
    headed: bool,
}

impl Whole {
    /// A line outside of statements.
    fn reads(&mut self, line: &str) {
        match line {
            HEAD => self.headed = true,
            TAIL => self.headed = false,
            _ => {}
        }
    }

    /// A statement was run.
    fn ran(&mut self, statement: &str) {
        let words = first_words(statement);
        let first = words.first().and_then(|words| words.split(' ').next());
        match first {
            Some("begin" | "start") => self.open = true,
            Some("commit" | "end" | "rollback" | "abort") => self.open = false,
            _ => {}
        }
    }

    fn check(&self) -> Result<(), DatabaseError> {
        if self.open {
            return Err(DatabaseError::other(
                "the transaction that it begins has no end: the file is cut off",
            ));
        }
        if self.headed {
            return Err(DatabaseError::other(format!(
                "it begins as pg_dump does, and has no line `{TAIL}`: the file is cut off"
            )));
        }
        Ok(())
    }
}

/// What is run is run as the owner, or a superuser, of a server that serves others too.
fn stays_inside(statement: &str) -> Result<(), DatabaseError> {
    let words = first_words(statement);
    let beyond = words.iter().find(|words| {
        let (verb, kind) = words.split_once(' ').unwrap_or_default();
        BEYOND.contains(&verb)
            && KINDS.contains(&kind)
            // `CREATE USER MAPPING` is of the database alone.
            && !statement.to_lowercase().contains("user mapping")
    });
    match beyond {
        None => Ok(()),
        Some(words) => Err(DatabaseError::other(format!(
            "it would {words}, and what is restored is one database: dump that with pg_dump, without --create"
        ))),
    }
}

/// A line with its end; `None`: there is no more.
async fn read_line(script: Script<'_>, most: usize) -> Result<Option<String>, DatabaseError> {
    let mut bytes = Vec::new();
    let mut limited = script.take(most as u64);
    limited.read_until(b'\n', &mut bytes).await.map_err(unreadable)?;
    if bytes.is_empty() && most > 0 {
        return Ok(None);
    }
    if bytes.len() == most {
        return Err(DatabaseError::other("a statement is longer than 64 MiB"));
    }
    let line = String::from_utf8(bytes);
    line.map(Some)
        .map_err(|_| DatabaseError::other("a statement is not UTF-8 text"))
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn unreadable(error: std::io::Error) -> DatabaseError {
    DatabaseError::other(format!("it cannot be read: {error}"))
}

fn passed_over(line: &str) -> Result<(), DatabaseError> {
    let word = line.split_whitespace().next().unwrap_or_default();
    if matches!(word, "\\restrict" | "\\unrestrict") {
        return Ok(());
    }
    Err(DatabaseError::other(format!(
        "{word} is a command of psql: of those, what pg_dump without --create writes is taken, and nothing else"
    )))
}

/// As `pg_dump` writes it; what follows are rows.
fn is_copy(statement: &str) -> bool {
    let words = first_words(statement);
    let is_copy = words.first().is_some_and(|words| words.starts_with("copy "));
    let lower = statement.trim_end().to_ascii_lowercase();
    is_copy && lower.ends_with(" from stdin;")
}

fn check_encoding(statement: &str) -> Result<(), DatabaseError> {
    let words = first_words(statement);
    if words.first().is_none_or(|words| words != "set client_encoding") {
        return Ok(());
    }
    let said = statement.rsplit(['=', ' ']).next().unwrap_or_default();
    let encoding = said.trim_matches(|c: char| c.is_whitespace() || c == '\'' || c == ';');
    if ENCODINGS.contains(&encoding.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(DatabaseError::other(format!(
        "it is written in {encoding}: SQL is taken in UTF-8 (pg_dump --encoding=UTF8)"
    )))
}

/// Hands on the rows, up to the line `\.`; how many lines they were, with that one.
async fn copy(link: &Link, statement: &str, script: Script<'_>) -> Result<u64, DatabaseError> {
    let mut sink = pin!(link.copy_in(statement).await?);
    let (mut lines, mut at_start) = (0, true);
    let mut kept: Vec<u8> = Vec::new();
    loop {
        let part = script.fill_buf().await.map_err(unreadable)?;
        if part.is_empty() {
            return Err(DatabaseError::other(
                "the rows of a COPY have no end: the file is cut off",
            ));
        }
        let length = part
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(part.len(), |at| at + 1);
        let is_whole = part[length - 1] == b'\n';
        kept.extend_from_slice(&part[..length]);
        script.consume(length);
        lines += u64::from(is_whole);
        // What is read may end within the last line.
        if at_start && !is_whole && kept.len() < END.len() {
            continue;
        }
        if at_start && (kept == END || kept == b"\\.\n") {
            break;
        }
        at_start = is_whole;
        sink.send(Cursor::new(std::mem::take(&mut kept))).await?;
    }
    sink.finish().await?;
    Ok(lines)
}

/// The line after the rows, at its longest.
const END: &[u8] = b"\\.\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_stays_inside_its_database() {
        for (sql, inside) in [
            ("CREATE TABLE a (b int);", true),
            ("ALTER TABLE a OWNER TO app;", true),
            ("DROP TABLE a;", true),
            ("CREATE USER MAPPING FOR app SERVER far;", true),
            ("DROP DATABASE shop;", false),
            ("-- now\ndrop  /* it */ database if exists shop;", false),
            ("CREATE DATABASE shop WITH TEMPLATE = template0;", false),
            ("ALTER DATABASE shop OWNER TO app;", false),
            ("CREATE ROLE app;", false),
            ("ALTER USER app PASSWORD 'x';", false),
            ("ALTER SYSTEM SET fsync = off;", false),
            ("DROP TABLESPACE fast;", false),
            ("SELECT 'drop database shop';", true),
        ] {
            assert_eq!(stays_inside(sql).is_ok(), inside, "{sql}");
        }
    }

    #[test]
    fn a_script_that_is_cut_off_is_told_from_a_whole_one() {
        let check = |lines: &[&str], statements: &[&str]| {
            let mut whole = Whole::default();
            for line in lines {
                whole.reads(line);
            }
            for statement in statements {
                whole.ran(statement);
            }
            whole.check().is_ok()
        };
        assert!(check(&[], &["CREATE TABLE a ();"]));
        assert!(check(&[HEAD, TAIL], &[]));
        assert!(!check(&[HEAD], &[]));
        assert!(check(&[], &["BEGIN;", "CREATE TABLE a ();", "COMMIT;"]));
        assert!(!check(&[], &["START TRANSACTION;", "CREATE TABLE a ();"]));
        assert!(check(&[], &["begin transaction;", "ROLLBACK;"]));
    }
}
