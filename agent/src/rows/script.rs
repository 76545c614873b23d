//! What a way back says of itself: the SQL that `alembic downgrade … --sql` writes, read for what it destroys. It is for
//! people, before anything runs; what was destroyed is found by comparing (`lost.rs`), but for deleted rows.

use config::sql::Lexer;
use sqlparser::ast::{
    AlterColumnOperation, AlterTableOperation, Delete, FromTable, ObjectName, ObjectType, Statement,
    TableFactor, TableWithJoins,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};
use state::name::Revision;
use state::taken_back::{Loss, Losses};

/// What stands before the statements of each revision.
const RUNNING: &str = "Running downgrade ";

/// Statements that destroy nothing, by their first word.
const HARMLESS: [&str; 22] = [
    "ANALYZE",
    "BEGIN",
    "COMMENT",
    "COMMIT",
    "CREATE",
    "DISCARD",
    "END",
    "EXPLAIN",
    "GRANT",
    "INSERT",
    "LOCK",
    "NOTIFY",
    "REFRESH",
    "REINDEX",
    "RELEASE",
    "RESET",
    "REVOKE",
    "SAVEPOINT",
    "SELECT",
    "SET",
    "SHOW",
    "VACUUM",
];

/// What may be dropped without a row.
const WITHOUT_ROWS: [&str; 18] = [
    "AGGREGATE",
    "CAST",
    "COLLATION",
    "CONVERSION",
    "DOMAIN",
    "EVENT",
    "FUNCTION",
    "INDEX",
    "MATERIALIZED",
    "OPERATOR",
    "POLICY",
    "PROCEDURE",
    "ROUTINE",
    "RULE",
    "SEQUENCE",
    "TRIGGER",
    "TYPE",
    "VIEW",
];

/// So much of a script is read.
const LONGEST: usize = 64 * 1024 * 1024;
/// And so much of one line.
const LONGEST_LINE: usize = 1024 * 1024;
/// And so much of one statement: its words take a hundred times that.
const LONGEST_STATEMENT: usize = 64 * 1024;

/// What was read of a script.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    /// What the downgrade of each revision destroys, as far as its script was read to its end.
    pub losses: Losses,
    /// Why the rest was not read; `None`: all was.
    pub cut: Option<String>,
}

/// A script, read while it comes, statement by statement: however long it is, no more than one of them is held.
#[derive(Debug)]
pub struct Script {
    /// Where the tool writes how far it is, which is no loss, and the last that it does for a revision.
    version_table: String,
    lexer: Lexer,
    /// A line that has no end yet.
    line: Vec<u8>,
    statement: String,
    /// Whether more has come of the statement than is read of one.
    is_long: bool,
    /// What is read of one revision, and whether that is all of it.
    open: Option<(Revision, Vec<Loss>, bool)>,
    losses: Losses,
    left: usize,
    cut: Option<String>,
}

impl Script {
    /// Nothing of it has come.
    pub fn new(version_table: &str) -> Self {
        Self {
            version_table: version_table.to_owned(),
            lexer: Lexer::default(),
            line: Vec::new(),
            statement: String::new(),
            is_long: false,
            open: None,
            losses: Losses::new(),
            left: LONGEST,
            cut: None,
        }
    }

    /// Reads on.
    pub fn take(&mut self, piece: &[u8]) {
        if self.cut.is_some() {
            return;
        }
        let piece = &piece[..piece.len().min(self.left + 1)];
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if part.len() > self.left {
                self.cut = Some(String::from("the script has more than 64 MiB"));
                return;
            }
            self.left -= part.len();
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take_line(&String::from_utf8_lossy(&line));
            } else if self.line.len() > LONGEST_LINE {
                self.cut = Some(String::from("a line of the script has more than 1 MiB"));
                return;
            }
        }
    }

    /// All has come.
    pub fn end(mut self) -> Read {
        let line = std::mem::take(&mut self.line);
        if self.cut.is_none() && !line.is_empty() {
            self.take_line(&String::from_utf8_lossy(&line));
        }
        self.losses.extend(self.open.and_then(whole));
        Read {
            losses: self.losses,
            cut: self.cut,
        }
    }

    fn take_line(&mut self, line: &str) {
        let comment = line.trim_start().strip_prefix("--");
        if let Some(next) = comment.and_then(revision_in).filter(|_| !self.lexer.is_inside()) {
            self.losses.extend(self.open.take().and_then(whole));
            self.open = Some((next, Vec::new(), false));
            self.statement.clear();
            (self.lexer, self.is_long) = (Lexer::default(), false);
            return;
        }
        let mut rest = line;
        // There is no psql here, and what it would take for its own is a part of the statement.
        while let Ok(Some(end)) = self.lexer.end(rest) {
            self.add(&rest[..end - 1]);
            self.ended();
            rest = &rest[end..];
        }
        self.add(rest);
    }

    fn add(&mut self, text: &str) {
        self.is_long |= self.statement.len() + text.len() > LONGEST_STATEMENT;
        if !self.is_long {
            self.statement.push_str(text);
        }
    }

    fn ended(&mut self) {
        let text = std::mem::take(&mut self.statement);
        let statement: Vec<Token> = tokens(&text).into_iter().filter(is_said).collect();
        let found = if std::mem::take(&mut self.is_long) {
            unread(&first_words(&statement))
        } else {
            read(statement)
        };
        if let Some((_, lost, is_whole)) = &mut self.open {
            let table = &self.version_table;
            *is_whole |= found.iter().any(|loss| is_of(loss, table));
            lost.extend(found.into_iter().filter(|loss| !is_of(loss, table)));
        }
    }
}

fn is_said(token: &Token) -> bool {
    !matches!(
        token,
        Token::EOF | Token::Whitespace(Whitespace::SingleLineComment { .. })
    )
}

/// Of one that ends in the middle nobody can say what else would have come.
fn whole((revision, lost, is_whole): (Revision, Vec<Loss>, bool)) -> Option<(Revision, Vec<Loss>)> {
    is_whole.then_some((revision, lost))
}

/// As far as it can be read.
fn tokens(printed: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    // An error is the end of what can be read, and what was read before it stands.
    let _ = Tokenizer::new(&PostgreSqlDialect {}, printed).tokenize_with_location_into_buf(&mut tokens);
    tokens.into_iter().map(|token| token.token).collect()
}

/// ` Running downgrade b2 -> a1, a message`: the revision that is left.
fn revision_in(comment: &str) -> Option<Revision> {
    let (left, _) = comment.trim().strip_prefix(RUNNING)?.split_once(" ->")?;
    left.trim().parse().ok()
}

fn read(statement: Vec<Token>) -> Vec<Loss> {
    let words = first_words(&statement);
    if words.is_empty() {
        return Vec::new();
    }
    let mut parser = Parser::new(&PostgreSqlDialect {}).with_tokens(statement);
    let Ok(parsed) = parser.parse_statement() else {
        return unread(&words);
    };
    // What it has no eye for at the end of a statement it leaves.
    if parser.peek_token().token != Token::EOF {
        return vec![Loss::Unclear(words.join(" "))];
    }
    let all = |name: &ObjectName| Loss::Rows {
        table: name.to_string(),
        which: None,
    };
    match parsed {
        Statement::AlterTable(alter) => {
            let table = alter.name.to_string();
            let operations = alter.operations.iter();
            operations
                .flat_map(|operation| altered(&table, operation))
                .collect()
        }
        Statement::Drop {
            object_type: ObjectType::Table | ObjectType::ForeignTable,
            names,
            ..
        } => names.iter().map(|name| Loss::Table(name.to_string())).collect(),
        Statement::Truncate(truncate) if truncate.cascade.is_none() => truncate
            .table_names
            .iter()
            .map(|target| all(&target.name))
            .collect(),
        Statement::Delete(delete) => deleted(&delete).unwrap_or_else(|| unread(&words)),
        Statement::Update(update) => match simple(&update.table) {
            Some(table) => vec![Loss::Values {
                table,
                columns: update
                    .assignments
                    .iter()
                    .map(|set| set.target.to_string())
                    .collect(),
            }],
            None => unread(&words),
        },
        _ => unread(&words),
    }
}

/// Whether it is about a table of that name.
fn is_of(loss: &Loss, name: &str) -> bool {
    match loss {
        Loss::Table(table)
        | Loss::Column { table, .. }
        | Loss::Type { table, .. }
        | Loss::Rows { table, .. }
        | Loss::Values { table, .. } => {
            let last = table.rsplit('.').next().unwrap_or(table);
            last.trim_matches('"') == name
        }
        Loss::Unclear(_) => false,
    }
}

fn altered(table: &str, operation: &AlterTableOperation) -> Vec<Loss> {
    match operation {
        AlterTableOperation::DropColumn { column_names, .. } => column_names
            .iter()
            .map(|column| Loss::Column {
                table: table.to_owned(),
                column: column.to_string(),
            })
            .collect(),
        AlterTableOperation::AlterColumn {
            column_name,
            op: AlterColumnOperation::SetDataType { data_type, .. },
        } => vec![Loss::Type {
            table: table.to_owned(),
            column: column_name.to_string(),
            to: data_type.to_string(),
        }],
        _ => Vec::new(),
    }
}

/// The rows that it deletes. Where another name or other tables say which, they are in the copy, and put back by nobody.
fn deleted(delete: &Delete) -> Option<Vec<Loss>> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [only] = from.as_slice() else { return None };
    let named = matches!(&only.relation, TableFactor::Table { alias: None, .. });
    if !named || delete.using.is_some() {
        return None;
    }
    Some(vec![Loss::Rows {
        table: simple(only)?,
        which: delete.selection.as_ref().map(ToString::to_string),
    }])
}

/// The name of a table that stands by itself.
fn simple(table: &TableWithJoins) -> Option<String> {
    match &table.relation {
        TableFactor::Table { name, .. } if table.joins.is_empty() => Some(name.to_string()),
        _ => None,
    }
}

/// What nobody has an eye for is told by its first words, which hold no value.
fn unread(words: &[String]) -> Vec<Loss> {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let harmless = match word(0) {
        "DROP" => WITHOUT_ROWS.contains(&word(1)),
        "ALTER" => word(1) != "TABLE" && word(1) != "TYPE",
        first => HARMLESS.contains(&first),
    };
    if harmless || matches!((word(0), word(1)), ("ALTER", "TYPE")) {
        return Vec::new();
    }
    vec![Loss::Unclear(words.join(" "))]
}

/// At most two words that SQL has a meaning for, in capitals.
fn first_words(statement: &[Token]) -> Vec<String> {
    let words = statement
        .iter()
        .filter(|token| !matches!(token, Token::Whitespace(_)));
    let keyword = |token: &Token| match token {
        Token::Word(word) if word.keyword != Keyword::NoKeyword => Some(word.value.to_uppercase()),
        _ => None,
    };
    let mut found: Vec<String> = words.clone().map_while(keyword).take(2).collect();
    if found.is_empty() && words.count() > 0 {
        found.push(String::from("something"));
    }
    found
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// In pieces, as they may come.
    fn read_whole(printed: &str) -> Read {
        let in_pieces = |size: usize| {
            let mut script = Script::new("alembic_version");
            printed
                .as_bytes()
                .chunks(size)
                .for_each(|piece| script.take(piece));
            script.end()
        };
        let whole = in_pieces(usize::MAX);
        assert_eq!(in_pieces(7), whole);
        whole
    }

    #[test]
    fn a_long_script_is_read_to_its_end_and_one_that_is_too_long_as_far_as_that() {
        let rows = "INSERT INTO backtests VALUES (1, 'a; -- b');\n".repeat(50_000);
        let of = |revision: &str, more: &str| {
            format!(
                "-- Running downgrade {revision} -> a1\n\nALTER TABLE t DROP COLUMN {revision};\n{more}\
                 UPDATE alembic_version SET version_num='a1';\n\n"
            )
        };
        let lost = |read: &Read| read.losses.keys().map(ToString::to_string).collect::<Vec<_>>();
        let read = read_whole(&format!("{}{}", of("c3", &rows), of("b2", "")));
        assert_eq!((lost(&read).join(" "), read.cut), ("b2 c3".to_owned(), None));
        // A statement that is longer than is read is one of which nobody can say what it does.
        let values = format!("WITH x AS (SELECT 1) SELECT\n{}2;\n", "1,\n".repeat(500_000));
        let read = read_whole(&of("b2", &values));
        let losses: Vec<String> = read.losses.values().flatten().map(ToString::to_string).collect();
        assert_eq!(losses.len(), 2, "{losses:?}");

        let mut script = Script::new("alembic_version");
        script.take(of("c3", "").as_bytes());
        script.take(b"-- Running downgrade b2 -> a1\nDROP TABLE u;\n");
        let comment = format!("-- {}\n", "x".repeat(1000));
        (0..70_000).for_each(|_| script.take(comment.as_bytes()));
        let read = script.end();
        assert_eq!(lost(&read), ["c3"]);
        assert_eq!(read.cut.as_deref(), Some("the script has more than 64 MiB"));
        let mut script = Script::new("alembic_version");
        script.take(of("c3", "").as_bytes());
        script.take(&vec![b'x'; 2 << 20]);
        let read = script.end();
        assert_eq!((lost(&read).len(), read.cut.is_some()), (1, true));
    }

    #[allow(clippy::needless_pass_by_value)]
    #[track_caller]
    fn check(printed: &str, expected: Expect) {
        let mut lines = String::new();
        for (revision, losses) in read_whole(printed).losses {
            lines.push_str(&format!("{revision}\n"));
            for loss in losses {
                lines.push_str(&format!("  {loss}\n"));
            }
        }
        expected.assert_eq(&lines);
    }

    #[test]
    fn every_way_to_destroy_something_is_told() {
        check(
            r#"BEGIN;

-- Running downgrade c3 -> b2, drop a lot

ALTER TABLE backtests DROP COLUMN interval;
ALTER TABLE app."Candles" ALTER COLUMN price TYPE NUMERIC(10, 2) USING price::numeric, DROP CONSTRAINT c;
DROP INDEX ix_x;
DROP TABLE runs CASCADE;
DELETE FROM backtests WHERE interval = '5m; not' AND id > 3;
DELETE FROM backtests b USING runs r WHERE r.id = b.id;
TRUNCATE TABLE logs, more;
UPDATE backtests SET name = 'x', (a, b) = (1, 2) WHERE true;
UPDATE alembic_version SET version_num='b2' WHERE alembic_version.version_num = 'c3';

-- Running downgrade b2 -> a1

DO $$ BEGIN DELETE FROM x; END $$;
SELECT setval('x', 1);
INSERT INTO x VALUES (1);
DROP SCHEMA old CASCADE;
TRUNCATE a CASCADE;
UPDATE alembic_version SET version_num='a1' WHERE alembic_version.version_num = 'b2';
ALTER TABLE a ADD COLUMN b INTEGER;
ALTER TABLE a RENAME COLUMN b TO c;

-- Running downgrade a1 -> 

DROP TABLE alembic_version;

COMMIT;
"#,
            expect![[r#"
                a1
                b2
                  what `DO …` destroys
                  what `DROP SCHEMA …` destroys
                  what `TRUNCATE …` destroys
                c3
                  the column interval of backtests
                  what does not fit into NUMERIC(10,2) of the column price of app."Candles"
                  the table runs
                  the rows of backtests where interval = '5m; not' AND id > 3
                  what `DELETE FROM …` destroys
                  all rows of logs
                  all rows of more
                  what was in name, (a, b) of backtests before
            "#]],
        );
    }

    #[test]
    fn what_ends_in_the_middle_is_known_as_far_as_it_goes() {
        check(
            "-- Running downgrade c3 -> b2\n\nDROP TABLE a;\n\nDELETE FROM alembic_version;\n\n-- Running downgrade b2 -> a1\n\nDROP TABLE b;\n\nDROP TABLE",
            expect![[r#"
                c3
                  the table a
            "#]],
        );
        check("Traceback: it's broken", expect![""]);
        check("", expect![""]);
    }
}
