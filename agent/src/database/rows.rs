//! What the tables hold: how many rows, and a sum that tells whether they are the same.

use std::collections::BTreeMap;
use std::time::Duration;

use super::DatabaseError;
use super::fingerprint::{CANONICAL, OURS};
use super::link::Link;
use super::login::Login;

/// The rows of one table, whatever their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// How many.
    pub rows: u64,
    /// The sum of their hashes, as the server's major version computes them: a whole number.
    pub sum: String,
}

pub(super) async fn counts(login: &Login, within: Duration) -> Result<BTreeMap<String, u64>, DatabaseError> {
    let counted = ask(login, "SELECT count(*), 0", within).await?;
    Ok(counted
        .into_iter()
        .map(|(table, found)| (table, found.rows))
        .collect())
}

pub(super) async fn checksums(
    login: &Login,
    within: Duration,
) -> Result<BTreeMap<String, Checksum>, DatabaseError> {
    // The alias is none that a column has.
    let what = "SELECT count(*), coalesce(sum(hashtextextended(\"the row\"::text, 0)), 0)";
    ask(login, what, within).await
}

/// Every ordinary table, partitions too, by its quoted name with its schema.
async fn ask(
    login: &Login,
    what: &str,
    within: Duration,
) -> Result<BTreeMap<String, Checksum>, DatabaseError> {
    let link = Link::to(login, within).await?;
    link.run(CANONICAL).await?;
    let tables = format!(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS} AND c.relkind = 'r'"
    );
    let mut found = BTreeMap::new();
    for table in link.rows(&tables).await? {
        let table = table.get(0).unwrap_or_default().to_owned();
        let rows = link
            .rows(&format!("{what} FROM ONLY {table} \"the row\""))
            .await?;
        let row = rows
            .first()
            .ok_or_else(|| DatabaseError::other("a count without a row"))?;
        let count = row.get(0).and_then(|count| count.parse().ok());
        let checksum = Checksum {
            rows: count.ok_or_else(|| DatabaseError::other("a count that is no number"))?,
            sum: row.get(1).unwrap_or_default().to_owned(),
        };
        found.insert(table, checksum);
    }
    link.end().await;
    Ok(found)
}
