//! What surrounds a table that rows are put into: its triggers, the tables that it refers to, its sequences.

use super::put_in::Not;
use super::table::{Table, list};
use crate::database::{DatabaseError, Link, literal, quoted};

/// The triggers that are switched off until the end.
pub(super) struct Quiet(bool);

/// The table's own triggers are passed over, where we may: rows that come back are not changed by anybody, and nobody is
/// to be told of them. The rules about other tables are kept all the same.
pub(super) async fn without_triggers(link: &Link, table: &Table) -> Result<Quiet, Not> {
    if table.triggers.is_empty() {
        return Ok(Quiet(false));
    }
    link.run("SAVEPOINT quiet").await?;
    match link.run(&switch(table, "DISABLE")).await {
        Ok(()) => Ok(Quiet(true)),
        Err(DatabaseError::Rights { .. }) => {
            link.run("ROLLBACK TO SAVEPOINT quiet").await?;
            Ok(Quiet(false))
        }
        Err(error) => Err(error.into()),
    }
}

impl Quiet {
    pub(super) async fn end(self, link: &Link, table: &Table) -> Result<(), Not> {
        if self.0 {
            link.run(&switch(table, "ENABLE")).await?;
        }
        Ok(())
    }
}

fn switch(table: &Table, how: &str) -> String {
    let each = table
        .triggers
        .iter()
        .map(|name| format!("{how} TRIGGER {}", quoted(name)));
    format!(
        "ALTER TABLE {} {}",
        table.sql(),
        each.collect::<Vec<_>>().join(", ")
    )
}

/// Of a kept row `s`: whether the rows are there that these columns of it refer to, as far as that is known of it alone.
pub(super) async fn fits(link: &Link, table: &Table, columns: &[&str]) -> Result<String, Not> {
    let of = |rel: &str, key: &str| {
        format!(
            "(SELECT json_agg(a.attname ORDER BY k.nth) FROM unnest(f.{key}) WITH ORDINALITY k(num, nth) \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = f.{rel} AND a.attnum = k.num)"
        )
    };
    let sql = format!(
        "SELECT format('%I.%I', n.nspname, c.relname), {}, {} FROM pg_catalog.pg_constraint f \
         JOIN pg_catalog.pg_class c ON c.oid = f.confrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE f.conrelid = {} AND f.contype = 'f' AND f.confrelid <> f.conrelid AND NOT f.condeferred",
        of("conrelid", "conkey"),
        of("confrelid", "confkey"),
        table.oid
    );
    let mut all = vec![String::from("true")];
    for row in link.rows(&sql).await? {
        let names = |at: usize| -> Vec<String> {
            let text = row.get(at).unwrap_or("[]");
            serde_json::from_str(text).unwrap_or_default()
        };
        let (mine, theirs) = (names(1), names(2));
        if !mine.iter().all(|name| columns.contains(&name.as_str())) {
            continue;
        }
        let empty = mine.iter().map(|name| format!("s.{} IS NULL", quoted(name)));
        let same = mine
            .iter()
            .zip(&theirs)
            .map(|(mine, theirs)| format!("p.{} = s.{}", quoted(theirs), quoted(mine)));
        all.push(format!(
            "({} OR EXISTS (SELECT FROM {} p WHERE {}))",
            empty.collect::<Vec<_>>().join(" OR "),
            row.get(0).unwrap_or_default(),
            same.collect::<Vec<_>>().join(" AND ")
        ));
    }
    Ok(all.join(" AND "))
}

/// The next number of a sequence that a column takes its default from is none that a row has.
pub(super) async fn move_sequences(link: &Link, table: &Table, columns: &[&str]) -> Result<(), Not> {
    let named: Vec<String> = columns.iter().map(|name| literal(name)).collect();
    let sql = format!(
        "SELECT DISTINCT format('%I.%I', n.nspname, s.relname), a.attname FROM pg_catalog.pg_attribute a \
         LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         JOIN pg_catalog.pg_depend u ON (u.classid = 'pg_catalog.pg_attrdef'::regclass AND u.objid = d.oid \
             AND u.refclassid = 'pg_catalog.pg_class'::regclass) \
           OR (u.classid = 'pg_catalog.pg_class'::regclass AND u.refclassid = 'pg_catalog.pg_class'::regclass \
             AND u.refobjid = a.attrelid AND u.refobjsubid = a.attnum AND u.deptype IN ('a', 'i')) \
         JOIN pg_catalog.pg_class s ON s.relkind = 'S' AND s.oid = CASE \
             WHEN u.classid = 'pg_catalog.pg_attrdef'::regclass THEN u.refobjid ELSE u.objid END \
         JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
         WHERE a.attrelid = {} AND a.attname IN ({})",
        table.oid,
        named.join(", ")
    );
    for row in link.rows(&sql).await? {
        let (sequence, column) = (row.get(0).unwrap_or_default(), row.get(1).unwrap_or_default());
        let column = list("", [column]);
        link.run(&format!(
            "SELECT pg_catalog.setval({}, m.most) FROM (SELECT max({column}) AS most FROM {}) m, {sequence} s \
             WHERE m.most >= s.last_value",
            literal(sequence),
            table.rows()
        ))
        .await?;
    }
    Ok(())
}
