//! What tables there are, and what is in them, as far as rows can be told apart and put back.

use serde::{Deserialize, Serialize};

use crate::database::{DatabaseError, Link, OURS, quoted};

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    /// As SQL writes it, with its schema where that is not Postgres' own.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Computed from others: nobody writes it.
    #[serde(default)]
    pub(super) generated: bool,
    /// Which of its table's it is, whatever it is called: a copy has the same.
    #[serde(default)]
    pub(super) number: i32,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Which it is, whatever it is called: a copy has the same.
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The columns that tell its rows apart; empty: nothing does.
    pub(super) keys: Vec<String>,
    /// What happens when its rows change that is not Postgres' own.
    pub(super) triggers: Vec<String>,
    /// Whether its rows are in partitions.
    pub(super) parted: bool,
}

impl Table {
    /// As SQL writes it.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    /// Its own rows, and not those of its children.
    pub(super) fn rows(&self) -> String {
        let only = if self.parted { "" } else { "ONLY " };
        format!("{only}{}", self.sql())
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        if self.schema == "public" {
            self.name.clone()
        } else {
            format!("{}.{}", self.schema, self.name)
        }
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// The columns, separated by commas, each after `before`.
pub(super) fn list<'a>(before: &str, columns: impl IntoIterator<Item = &'a str>) -> String {
    let columns = columns
        .into_iter()
        .map(|name| format!("{before}{}", quoted(name)));
    columns.collect::<Vec<_>>().join(", ")
}

/// Every table that rows are written to, by name; what an extension brings is not ours.
pub(super) async fn tables(link: &Link) -> Result<Vec<Table>, DatabaseError> {
    let sql = format!(
        "SELECT n.nspname, c.relname, c.relkind, \
           (SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), \
              'generated', a.attgenerated <> '', 'number', a.attnum) ORDER BY a.attnum) FROM pg_attribute a \
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
           (SELECT json_agg(a.attname ORDER BY k.nth) FROM pg_index i \
              CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(num, nth) \
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num \
            WHERE k.nth <= i.indnkeyatts AND i.indexrelid = (SELECT u.indexrelid FROM pg_index u \
              WHERE u.indrelid = c.oid AND u.indisunique AND u.indisvalid AND u.indimmediate \
                AND u.indpred IS NULL AND u.indexprs IS NULL \
                AND NOT EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = c.oid AND NOT o.attnotnull \
                  AND o.attnum = ANY ((u.indkey::int2[])[0:u.indnkeyatts - 1])) \
              ORDER BY u.indisprimary DESC, u.indexrelid LIMIT 1)), \
           (SELECT json_agg(t.tgname ORDER BY t.tgname) FROM pg_trigger t \
            WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled = 'O' AND t.tgparentid = 0), \
           c.oid \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE {OURS} AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' \
           AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid \
             AND e.deptype = 'e') \
         ORDER BY n.nspname, c.relname"
    );
    let unread = |_| DatabaseError::other("what the catalogue says of a table cannot be read");
    let mut tables = Vec::new();
    for row in link.rows(&sql).await? {
        let text = |at: usize| row.get(at).unwrap_or_default();
        let list = |at: usize| serde_json::from_str(row.get(at).unwrap_or("[]")).map_err(unread);
        tables.push(Table {
            oid: text(6)
                .parse()
                .map_err(|_| DatabaseError::other("a table without a number"))?,
            schema: text(0).to_owned(),
            name: text(1).to_owned(),
            columns: serde_json::from_str(row.get(3).unwrap_or("[]")).map_err(unread)?,
            keys: list(4)?,
            triggers: list(5)?,
            parted: text(2) == "p",
        });
    }
    Ok(tables)
}
