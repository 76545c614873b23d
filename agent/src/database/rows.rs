//! What the tables hold: how many rows, and a sum that tells whether they are the same.

use std::collections::BTreeMap;
use std::time::Duration;

use config::settings::PgName;

use super::fingerprint::{CANONICAL, OURS};
use super::link::Link;
use super::login::Login;
use super::{DatabaseError, scratch};

/// The rows of one table, whatever their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// How many.
    pub rows: u64,
    /// The sum of their hashes, as the server's major version computes them: a whole number.
    pub sum: String,
}

/// The alias is none that a column has.
const SUMMED: &str = "SELECT count(*), coalesce(sum(hashtextextended(\"the row\"::text, 0)), 0)";

/// What else changes with rows: how far sequences are, and large objects, where the user may read them.
const BESIDE_TABLES: [&str; 2] = [
    "SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value::text, '') FROM pg_sequences \
     WHERE schemaname NOT LIKE 'pg\\_temp\\_%' ORDER BY 1",
    "SELECT CASE WHEN has_table_privilege('pg_largeobject', 'SELECT') THEN \
       query_to_xml('SELECT count(*), sum(hashtextextended(concat(loid, '' '', pageno, '' '', data), 0)) \
         FROM pg_catalog.pg_largeobject', true, false, '')::text ELSE '' END, ''",
];

pub(super) async fn checksums(
    login: &Login,
    within: Duration,
) -> Result<BTreeMap<String, Checksum>, DatabaseError> {
    let link = begin(login, None, within).await?;
    let sums = ask(&link).await?;
    link.end().await;
    Ok(sums)
}

/// The copy is open meanwhile.
pub(super) async fn has_rows_of(
    login: &Login,
    copy: &PgName,
    within: Duration,
) -> Result<bool, DatabaseError> {
    let compared = async {
        let (now, then) = (whole(login, None, within), whole(login, Some(copy), within));
        let (now, then) = tokio::try_join!(Box::pin(now), Box::pin(then))?;
        Ok(now == then)
    };
    scratch::while_open(login, copy, within, compared).await
}

/// All that two databases have to have in common.
type Whole = (BTreeMap<String, Checksum>, Vec<(String, String)>);

async fn whole(login: &Login, of: Option<&PgName>, within: Duration) -> Result<Whole, DatabaseError> {
    let link = begin(login, of, within).await?;
    let sums = ask(&link).await?;
    let mut beside = Vec::new();
    for question in BESIDE_TABLES {
        let text = |cell: Option<&str>| cell.unwrap_or_default().to_owned();
        let rows = link.rows(question).await?;
        beside.extend(rows.iter().map(|row| (text(row.get(0)), text(row.get(1)))));
    }
    link.end().await;
    Ok((sums, beside))
}

async fn begin(login: &Login, of: Option<&PgName>, within: Duration) -> Result<Link, DatabaseError> {
    let link = match of {
        Some(database) => Link::connect(login, database.as_str(), within).await?,
        None => Link::to(login, within).await?,
    };
    link.run(CANONICAL).await?;
    Ok(link)
}

/// Every ordinary table, partitions too, by its quoted name with its schema.
async fn ask(link: &Link) -> Result<BTreeMap<String, Checksum>, DatabaseError> {
    let tables = format!(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS} AND c.relkind = 'r'"
    );
    let mut found = BTreeMap::new();
    for table in link.rows(&tables).await? {
        let table = table.get(0).unwrap_or_default().to_owned();
        let rows = link
            .rows(&format!("{SUMMED} FROM ONLY {table} \"the row\""))
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
    Ok(found)
}
