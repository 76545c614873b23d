//! `[[stack.NAME.database.integrity]]`: what has to hold of the database before and after its schema moves, or another
//! database takes its place.

use std::collections::BTreeSet;
use std::time::Duration;

use state::integrity::Between;
use toml::de::DeValue;

use super::word::PgName;
use crate::fragment::{Fault, Item, Table};
use crate::sql::{first_words, in_one_transaction};
use crate::validate::{choice, duration, name};

/// A query is no script.
const LONGEST: usize = 64 * 1024;

/// `[[stack.NAME.database.integrity]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegritySettings {
    /// `name`: what it is known by.
    pub name: PgName,
    /// `query`: one statement that gives one value; run in a transaction that only reads.
    pub query: String,
    /// `expect`: that value, as text.
    pub expect: String,
    /// `timeout`. Default 5 s.
    pub timeout: Duration,
    /// `on`: where it counts. Default everywhere.
    pub on: Vec<Between>,
}

pub(super) fn read_all(tables: Vec<Table<'_>>) -> Vec<IntegritySettings> {
    let mut names = BTreeSet::new();
    let mut checks = Vec::new();
    for mut table in tables {
        let written = table.require("name", "\"orders\"", name::<PgName>);
        if let Some(written) = &written
            && !names.insert(written.clone())
        {
            let fault = Fault::new(format!("a second check with the name \"{written}\""));
            table.fault_at("name", fault.hint("every check of a stack has its own name"));
        }
        let query = table.require("query", "\"SELECT count(*) > 0 FROM orders\"", query);
        let expect = table.require("expect", "true", expect);
        let timeout = table.get(
            "timeout",
            duration(Duration::from_millis(100), Duration::from_secs(10 * 60)),
        );
        let all = [
            ("upgrade", Between::Upgrade),
            ("downgrade", Between::Downgrade),
            ("restore", Between::Restore),
        ];
        let on = table.list("on", choice(&all));
        if on.as_ref().is_some_and(Vec::is_empty) {
            let fault = Fault::new("a check that is never asked");
            table.fault_at(
                "on",
                fault.hint("write on = [\"upgrade\"], or take the check out"),
            );
        }
        table.finish();
        let (Some(name), Some(query), Some(expect)) = (written, query, expect) else {
            continue;
        };
        checks.push(IntegritySettings {
            name,
            query,
            expect,
            timeout: timeout.unwrap_or(Duration::from_secs(5)),
            on: on.unwrap_or_else(|| all.map(|(_, between)| between).into()),
        });
    }
    checks
}

/// What is in it is not repeated: it may be a value.
fn query(item: &Item<'_>) -> Result<String, Fault> {
    const HINT: &str = "write one SELECT that gives one value, as \"SELECT count(*) > 0 FROM orders\"";
    let text = item.text()?;
    let wrong = |what: String| Err(Fault::new(what).hint(HINT));
    if text.len() > LONGEST || text.contains('\0') {
        return wrong(String::from("this is no query"));
    }
    let statements = match in_one_transaction(text) {
        Ok(statements) => statements,
        Err(error) => return wrong(error.to_string()),
    };
    let [statement] = statements.as_slice() else {
        return wrong(format!("{} statements, and a check is one", statements.len()));
    };
    let words = first_words(statement.text);
    let first = words.first().and_then(|words| words.split(' ').next());
    if !first.is_some_and(|word| ["select", "with", "table", "values"].contains(&word)) {
        return wrong(String::from("this is no query"));
    }
    Ok(statement.text.to_owned())
}

/// A text, a whole number, `true` or `false`: as `::text` writes it.
fn expect(item: &Item<'_>) -> Result<String, Fault> {
    match item.value {
        DeValue::String(text) if !text.contains('\0') => Ok(text.to_string()),
        DeValue::Boolean(flag) => Ok(flag.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number
            .as_str()
            .replace('_', "")
            .trim_start_matches('+')
            .to_owned()),
        _ => Err(
            Fault::new(format!("expected one value, found {}", item.described()))
                .hint("write it as text, as Postgres does: expect = \"12.50\""),
        ),
    }
}
