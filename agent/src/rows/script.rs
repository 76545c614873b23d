//! What a way back says of itself: the SQL that `alembic downgrade … --sql` writes, read for what it destroys. It is for
//! people, before anything runs; what was destroyed is found by comparing (`lost.rs`), but for deleted rows.

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

/// What the downgrade of each revision destroys. `printed`: what the tool has written, which may end in the middle;
/// `version_table`: where it writes how far it is, which is no loss, and the last that it does for a revision.
pub fn losses(printed: &str, version_table: &str) -> Losses {
    let mut losses = Losses::new();
    // What is read of one revision, and whether that is all of it.
    let mut open: Option<(Revision, Vec<Loss>, bool)> = None;
    let mut statement = Vec::new();
    for token in tokens(printed) {
        match token {
            Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) => {
                if let Some(next) = revision_in(&comment) {
                    losses.extend(open.take().and_then(whole));
                    open = Some((next, Vec::new(), false));
                    statement.clear();
                }
            }
            Token::SemiColon => {
                let found = read(std::mem::take(&mut statement));
                if let Some((_, lost, is_whole)) = &mut open {
                    *is_whole |= found.iter().any(|loss| is_of(loss, version_table));
                    lost.extend(found.into_iter().filter(|loss| !is_of(loss, version_table)));
                }
            }
            Token::EOF => {}
            token => statement.push(token),
        }
    }
    losses.extend(open.and_then(whole));
    losses
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

    #[allow(clippy::needless_pass_by_value)]
    #[track_caller]
    fn check(printed: &str, expected: Expect) {
        let mut lines = String::new();
        for (revision, losses) in losses(printed, "alembic_version") {
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
