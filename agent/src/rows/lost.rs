//! What a copy has and the database has not: found by comparing the two, and not by what a script says of itself. Only
//! rows that are deleted leave no trace in the catalogue: of those the script is asked.

use config::settings::{PgName, PreserveSettings};
use state::taken_back::{Loss, Losses};

use super::table::{Column, Table, list};

/// One thing that is read out of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lost {
    /// A whole table.
    Table(Table),
    /// A column of a table that is still there.
    Column(Table, Column),
    /// A column that has another type.
    Type {
        table: Table,
        column: Column,
        now: String,
    },
    /// Rows that a script deletes, of a table that is still there.
    Rows { table: Table, which: Option<String> },
    /// What a query of the operator's asks for.
    Own(PreserveSettings),
}

/// What is to be kept, in the order in which it is put back; and, in words, what cannot be.
pub(super) fn lost(
    had: &[Table],
    has: &[Table],
    version_table: (&PgName, &PgName),
    losses: &Losses,
    own: &[PreserveSettings],
) -> (Vec<Lost>, Vec<String>) {
    let is_version =
        |table: &Table| table.schema == version_table.0.as_str() && table.name == version_table.1.as_str();
    // A copy has the numbers of what it was made of; what was restored has others, and is known by its names.
    let by_number = had.iter().any(|before| {
        let mut now = has.iter();
        now.any(|after| after.oid == before.oid && after.name == before.name)
    });
    let is_table = |a: &Table, b: &Table| {
        if by_number {
            a.oid == b.oid
        } else {
            a.schema == b.schema && a.name == b.name
        }
    };
    let is_column = |a: &Column, b: &Column| {
        if by_number {
            a.number == b.number
        } else {
            a.name == b.name
        }
    };
    let mut found = Vec::new();
    for before in had.iter().filter(|table| !is_version(table)) {
        // By what it is, not by its name: what was given another one is not lost.
        let Some(after) = has.iter().find(|after| is_table(after, before)) else {
            found.push(Lost::Table(before.clone()));
            continue;
        };
        for column in before.columns.iter().filter(|column| !column.generated) {
            let mut now = after.columns.iter();
            match now.find(|now| is_column(now, column)) {
                None => found.push(Lost::Column(before.clone(), column.clone())),
                Some(now) if now.kind != column.kind => found.push(Lost::Type {
                    table: before.clone(),
                    column: column.clone(),
                    now: now.kind.clone(),
                }),
                Some(_) => {}
            }
        }
    }
    let mut words = Vec::new();
    for loss in losses.values().flatten() {
        match loss {
            Loss::Rows { table, which } => match named(table, had) {
                // With the whole table they are kept already.
                Some(table) if !has.iter().any(|after| is_table(after, table)) => {}
                Some(table) => found.push(Lost::Rows {
                    table: table.clone(),
                    which: which.clone(),
                }),
                None => words.push(format!("{loss}: the copy has no such table")),
            },
            Loss::Values { .. } | Loss::Unclear(_) => {
                words.push(format!("{loss}: it is in the copy, and in the backup of it"));
            }
            Loss::Table(_) | Loss::Column { .. } | Loss::Type { .. } => {
                words.extend(not_found(loss, had, &found).map(|why| format!("{loss}: {why}")));
            }
        }
    }
    found.extend(own.iter().cloned().map(Lost::Own));
    (found, words)
}

/// Why nothing is kept of what a script says that it destroys; `None`: it is.
fn not_found(loss: &Loss, had: &[Table], found: &[Lost]) -> Option<&'static str> {
    let (table, column) = match loss {
        Loss::Table(table) => (table, None),
        Loss::Column { table, column } | Loss::Type { table, column, .. } => (table, Some(column)),
        Loss::Rows { .. } | Loss::Values { .. } | Loss::Unclear(_) => return None,
    };
    let Some(table) = named(table, had) else {
        return Some(
            "no table of that name was compared: what it had, if anything, is in the backup of the copy",
        );
    };
    let column = column.map(|column| plain(column));
    let is_it = |lost: &Lost| match lost {
        Lost::Table(gone) => gone == table,
        Lost::Column(of, gone)
        | Lost::Type {
            table: of,
            column: gone,
            ..
        } => of == table && column.as_ref() == Some(&gone.name),
        Lost::Rows { .. } | Lost::Own(_) => false,
    };
    if found.iter().any(is_it) {
        return None;
    }
    Some(match &column {
        Some(column) if table.column(column).is_none() => "the copy has no such column",
        _ => "it is there as it was, and nothing of it is kept",
    })
}

/// A name as the catalogue has it.
fn plain(part: &str) -> String {
    match part.strip_prefix('"') {
        Some(quoted) => quoted.trim_end_matches('"').replace("\"\"", "\""),
        None => part.to_lowercase(),
    }
}

/// The table that a script names: with its schema, or the one of that name that there is.
fn named<'a>(name: &str, tables: &'a [Table]) -> Option<&'a Table> {
    let mut parts = name.rsplit('.').map(plain);
    let (name, schema) = (parts.next()?, parts.next());
    let mut of_that_name = tables
        .iter()
        .filter(|table| table.name == name && schema.as_ref().is_none_or(|schema| table.schema == *schema));
    let first = of_that_name.next()?;
    let in_public = of_that_name.find(|table| table.schema == "public");
    Some(in_public.unwrap_or(first))
}

impl Lost {
    pub(super) fn table(&self) -> Option<&Table> {
        match self {
            Self::Table(table)
            | Self::Column(table, _)
            | Self::Type { table, .. }
            | Self::Rows { table, .. } => Some(table),
            Self::Own(_) => None,
        }
    }

    /// The columns that are kept. A row is told apart by its key, or by all that is in it.
    pub(super) fn columns(&self) -> Vec<Column> {
        let all = |table: &Table| -> Vec<Column> {
            let written = table.columns.iter().filter(|column| !column.generated);
            written.cloned().collect()
        };
        let with_key = |table: &Table, column: &Column| -> Vec<Column> {
            if table.keys.is_empty() {
                return all(table);
            }
            let keys = table.keys.iter().filter_map(|key| table.column(key));
            let other = Some(column).filter(|column| !table.keys.contains(&column.name));
            keys.chain(other).cloned().collect()
        };
        match self {
            Self::Table(table) | Self::Rows { table, .. } => all(table),
            Self::Column(table, column) | Self::Type { table, column, .. } => with_key(table, column),
            Self::Own(_) => Vec::new(),
        }
    }

    /// The query for it.
    pub(super) fn query(&self) -> String {
        let columns = self.columns();
        let columns = list("", columns.iter().map(|column| column.name.as_str()));
        match self {
            Self::Table(table) | Self::Rows { table, which: None } => {
                format!("SELECT {columns} FROM {}", table.rows())
            }
            Self::Rows {
                table,
                which: Some(which),
            } => format!("SELECT {columns} FROM {} WHERE {which}", table.rows()),
            Self::Column(table, column) | Self::Type { table, column, .. } => format!(
                "SELECT {columns} FROM {} WHERE {} IS NOT NULL",
                table.rows(),
                list("", [column.name.as_str()])
            ),
            Self::Own(own) => own.query.clone(),
        }
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Table(table) => table.shown(),
            Self::Column(table, column) | Self::Type { table, column, .. } => {
                format!("{} of {}", column.name, table.shown())
            }
            Self::Rows { table, .. } => format!("deleted rows of {}", table.shown()),
            Self::Own(own) => format!("\"{}\"", own.name),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// `title=name`: it is called `title` now, and was `name`. What it is, is known by its first name.
    fn called(text: &str) -> (String, u32) {
        let (name, was) = text.split_once('=').unwrap_or((text, text));
        (
            name.to_owned(),
            was.bytes()
                .fold(7, |sum, byte| sum * 3 % 10_007 + u32::from(byte)),
        )
    }

    fn column(text: &str) -> Column {
        let (name, kind) = text.split_once(':').unwrap();
        let (name, number) = called(name);
        Column {
            name,
            kind: kind.to_owned(),
            generated: false,
            number: i32::try_from(number).unwrap(),
        }
    }

    /// `backtests id:int interval:text`, the key first.
    fn table(text: &str) -> Table {
        let mut words = text.split(' ');
        let (name, oid) = called(words.next().unwrap());
        let columns: Vec<Column> = words.map(column).collect();
        Table {
            oid,
            schema: String::from("public"),
            name,
            keys: columns
                .first()
                .map(|column| column.name.clone())
                .into_iter()
                .collect(),
            columns,
            triggers: Vec::new(),
            parted: false,
        }
    }

    #[track_caller]
    fn check(had: &[&str], has: &[&str], deletes: &[(&str, Option<&str>)], expected: &[&str]) {
        let tables = |all: &[&str]| -> Vec<Table> { all.iter().map(|text| table(text)).collect() };
        let rows = deletes.iter().map(|(table, which)| Loss::Rows {
            table: (*table).to_owned(),
            which: which.map(str::to_owned),
        });
        let losses = Losses::from([("b2".parse().unwrap(), rows.collect())]);
        let version = ("public".parse().unwrap(), "alembic_version".parse().unwrap());
        let (found, words) = lost(&tables(had), &tables(has), (&version.0, &version.1), &losses, &[]);
        let lines: Vec<String> = found
            .iter()
            .map(|lost| format!("{}: {}", lost.shown(), lost.query()))
            .chain(words)
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_not_there_any_more_is_found() {
        check(
            &[
                "backtests id:int interval:text name:text",
                "alembic_version version_num:text",
            ],
            &["backtests id:int name:text"],
            &[],
            &[
                "interval of backtests: SELECT \"id\", \"interval\" FROM ONLY \"public\".\"backtests\" WHERE \"interval\" IS NOT NULL",
            ],
        );
        check(
            &["backtests id:int", "candles id:bigint x:int"],
            &["backtests id:int"],
            &[],
            &["candles: SELECT \"id\", \"x\" FROM ONLY \"public\".\"candles\""],
        );
        check(
            &["backtests id:int price:numeric"],
            &["backtests id:int price:integer"],
            &[],
            &[
                "price of backtests: SELECT \"id\", \"price\" FROM ONLY \"public\".\"backtests\" WHERE \"price\" IS NOT NULL",
            ],
        );
        check(
            &["backtests id:int"],
            &["backtests id:int", "more id:int"],
            &[],
            &[],
        );
    }

    #[test]
    fn what_a_script_announces_and_nobody_finds_is_said() {
        let column = |table: &str, column: &str| Loss::Column {
            table: table.to_owned(),
            column: column.to_owned(),
        };
        let losses = vec![
            column("backtests", "interval"),
            column("public.backtests", "\"name\""),
            column("backtests", "other"),
            column("gone", "x"),
            Loss::Table(String::from("gone")),
            Loss::Table(String::from("backtests")),
            Loss::Table(String::from("part_1")),
            Loss::Type {
                table: String::from("backtests"),
                column: String::from("id"),
                to: String::from("INTEGER"),
            },
        ];
        let losses = Losses::from([("b2".parse().unwrap(), losses)]);
        let had = [
            table("backtests id:int interval:text name:text"),
            table("gone id:int x:int"),
        ];
        let has = [table("backtests id:int name:text")];
        let version = ("public".parse().unwrap(), "alembic_version".parse().unwrap());
        let (found, words) = lost(&had, &has, (&version.0, &version.1), &losses, &[]);
        assert_eq!(found.len(), 2);
        assert_eq!(
            words,
            [
                "the column \"name\" of public.backtests: it is there as it was, and nothing of it is kept",
                "the column other of backtests: the copy has no such column",
                "the table backtests: it is there as it was, and nothing of it is kept",
                "the table part_1: no table of that name was compared: what it had, if anything, is in the backup of \
                 the copy",
                "what does not fit into INTEGER of the column id of backtests: it is there as it was, and nothing of \
                 it is kept",
            ]
        );
    }

    #[test]
    fn rows_that_a_script_deletes_are_asked_of_the_script() {
        check(
            &["backtests id:int"],
            &["backtests id:int"],
            &[("backtests", Some("id > 3")), ("public.\"backtests\"", None)],
            &[
                "deleted rows of backtests: SELECT \"id\" FROM ONLY \"public\".\"backtests\" WHERE id > 3",
                "deleted rows of backtests: SELECT \"id\" FROM ONLY \"public\".\"backtests\"",
            ],
        );
        // With the table they are kept already; and one that is not there has none.
        check(
            &["backtests id:int"],
            &[],
            &[("backtests", None), ("other", None)],
            &[
                "backtests: SELECT \"id\" FROM ONLY \"public\".\"backtests\"",
                "all rows of other: the copy has no such table",
            ],
        );
    }
}
