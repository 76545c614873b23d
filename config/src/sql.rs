//! SQL that somebody else wrote: where its statements begin and end, and whether it can be run in a transaction of ours.
//! It knows no grammar, and asks no server.

mod lexer;
mod words;

pub use lexer::{Lexer, PsqlCommand};
pub use words::first_words;

/// What would end our transaction, or is of no use within it.
const TRANSACTION: [&str; 9] = [
    "abort",
    "begin",
    "commit",
    "end",
    "prepare transaction",
    "release",
    "rollback",
    "savepoint",
    "start",
];

/// What Postgres refuses within a transaction.
const ALONE: [&str; 7] = [
    "vacuum",
    "alter system",
    "create database",
    "drop database",
    "create tablespace",
    "drop tablespace",
    "reindex database",
];

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The line that it begins in, from 1.
    pub line: usize,
    /// It, without the semicolon.
    pub text: &'a str,
}

/// Why SQL cannot be run in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the SQL {what}")]
pub struct NotOneTransaction {
    /// The line, from 1.
    pub line: usize,
    /// What is there.
    pub what: String,
}

/// The statements of what is to be run in one transaction of ours.
pub fn in_one_transaction(sql: &str) -> Result<Vec<Statement<'_>>, NotOneTransaction> {
    let mut lexer = Lexer::default();
    let (mut statements, mut begun, mut line, mut at) = (Vec::new(), (1, 0), 1, 0);
    let refused = |line, what: &str| NotOneTransaction {
        line,
        what: what.to_owned(),
    };
    for text in sql.split_inclusive('\n') {
        let mut rest = text;
        loop {
            if lexer.is_between() {
                let blank = rest.len() - rest.trim_start().len();
                begun = (line, at + blank);
            }
            let end = lexer
                .end(rest)
                .map_err(|PsqlCommand| refused(line, "has a command of psql: there is no psql here"))?;
            let Some(end) = end else { break };
            let text = &sql[begun.1..at + end - 1];
            push(&mut statements, begun.0, text, lexer.ended())?;
            (at, rest) = (at + end, &rest[end..]);
        }
        at += rest.len();
        line += 1;
    }
    if lexer.is_inside() {
        return Err(refused(
            begun.0,
            "begins a text, a name or a comment that has no end",
        ));
    }
    if lexer.is_nested() {
        return Err(refused(begun.0, "has a bracket or a body that has no end"));
    }
    if !lexer.is_between() {
        let words = lexer.words().to_vec();
        push(&mut statements, begun.0, &sql[begun.1..], &words)?;
    }
    if statements.is_empty() {
        return Err(refused(1, "has nothing that could be run"));
    }
    Ok(statements)
}

fn push<'a>(
    statements: &mut Vec<Statement<'a>>,
    line: usize,
    text: &'a str,
    words: &[String],
) -> Result<(), NotOneTransaction> {
    let first = words
        .iter()
        .take(2)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ");
    let begins = |with: &&&str| first == **with || first.starts_with(&format!("{with} "));
    let refused = |what: String| Err(NotOneTransaction { line, what });
    if let Some(word) = TRANSACTION.iter().find(begins) {
        return refused(format!(
            "has a {} of its own: it runs in one transaction with the version table",
            word.to_uppercase()
        ));
    }
    if let Some(word) = ALONE.iter().find(begins) {
        return refused(format!(
            "has a {}, which no transaction takes",
            word.to_uppercase()
        ));
    }
    let is_index = words.iter().any(|word| word == "index");
    if is_index && words.iter().any(|word| word == "concurrently") {
        return refused(String::from("has a CONCURRENTLY, which no transaction takes"));
    }
    if first.starts_with("copy") && text.to_ascii_lowercase().contains("stdin") {
        return refused(String::from("has a COPY FROM STDIN: nothing stands there"));
    }
    if !words.is_empty() || !text.trim().is_empty() {
        statements.push(Statement {
            line,
            text: text.trim_end(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: &[(usize, &str)]) {
        let found = in_one_transaction(sql).unwrap();
        let found: Vec<_> = found.iter().map(|s| (s.line, s.text)).collect();
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn statements_are_told_with_their_lines() {
        check("SELECT 1", &[(1, "SELECT 1")]);
        check(
            "\n-- why\nALTER TABLE a\n  DROP b;  SELECT 2;\n;\nSELECT 'x;\ny' -- end",
            &[
                (3, "ALTER TABLE a\n  DROP b"),
                (4, "SELECT 2"),
                (6, "SELECT 'x;\ny' -- end"),
            ],
        );
        check(
            "DO $$ BEGIN; END $$; SELECT 'é;' ; x",
            &[(1, "DO $$ BEGIN; END $$"), (1, "SELECT 'é;'"), (1, "x")],
        );
        check("/* a\n*/ SELECT 1;", &[(1, "/* a\n*/ SELECT 1")]);
    }

    #[test]
    fn what_no_transaction_of_ours_takes_is_refused_with_its_line() {
        #[track_caller]
        fn refused(sql: &str, expected: &str) {
            assert_eq!(in_one_transaction(sql).unwrap_err().to_string(), expected);
        }
        // A comment ends where Postgres ends it, and what has no end hides what comes after it.
        refused(
            "SELECT 1; -- note\rCOMMIT; SELECT 2",
            "line 1 of the SQL has a COMMIT of its own: it runs in one transaction with the version table",
        );
        refused(
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT begin FROM t; END; COMMIT; SELECT 1",
            "line 1 of the SQL has a bracket or a body that has no end",
        );
        let own = |line: usize, word: &str| {
            format!(
                "line {line} of the SQL has a {word} of its own: it runs in one transaction with the version table"
            )
        };
        refused("SELECT 1;\nCOMMIT;", &own(2, "COMMIT"));
        refused("begin", &own(1, "BEGIN"));
        refused("SELECT 1;\n\n/* a */ start transaction;", &own(3, "START"));
        refused("prepare /* */ transaction 'x'", &own(1, "PREPARE TRANSACTION"));
        refused(
            "VACUUM a",
            "line 1 of the SQL has a VACUUM, which no transaction takes",
        );
        refused(
            "DROP INDEX CONCURRENTLY a",
            "line 1 of the SQL has a CONCURRENTLY, which no transaction takes",
        );
        refused(
            "COPY a FROM stdin",
            "line 1 of the SQL has a COPY FROM STDIN: nothing stands there",
        );
        refused(
            "SELECT 1;\n\\i x",
            "line 2 of the SQL has a command of psql: there is no psql here",
        );
        refused(
            "SELECT 1;\nSELECT 'open",
            "line 2 of the SQL begins a text, a name or a comment that has no end",
        );
        for nothing in ["", "-- nothing\n", ";;"] {
            refused(nothing, "line 1 of the SQL has nothing that could be run");
        }
        // A statement that is called `prepare`, and no transaction.
        in_one_transaction("PREPARE transactions AS SELECT 1").unwrap();
    }
}
