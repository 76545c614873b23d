//! How many rows there are, within a time that is given: what is small is counted first, so that what there is no time for
//! is as little as can be, and named.

use std::time::{Duration, Instant};

use config::settings::PgName;
use state::integrity::Tally;

use super::DatabaseError;
use super::fingerprint::{CANONICAL, OURS};
use super::link::Link;
use super::login::Login;
use super::scratch::while_open;

/// What connecting and asking for the tables may take beside the counting.
pub(super) const MORE: Duration = Duration::from_secs(60);
/// The limits and the lock of a count end with it.
const LET_GO: &str = "ROLLBACK TO SAVEPOINT counting; RELEASE SAVEPOINT counting";

/// Of the database, or of one beside it.
pub(super) async fn tally(
    login: &Login,
    of: Option<&PgName>,
    within: Duration,
) -> Result<Tally, DatabaseError> {
    let counting = async |name: &str| {
        let link = Link::connect(login, name, within + MORE).await?;
        link.run(CANONICAL).await?;
        let tally = tally_in(&link, within).await?;
        link.end().await;
        Ok(tally)
    };
    match of {
        None => Box::pin(counting(login.database()?.as_str())).await,
        Some(beside) => {
            let counting = counting(beside.as_str());
            Box::pin(while_open(login, beside, within + MORE / 2, counting)).await
        }
    }
}

/// In the transaction that is open, and stays so, with the limits that it has. No table stays locked once it is counted:
/// whoever wants to change it may.
pub(crate) async fn tally_in(link: &Link, within: Duration) -> Result<Tally, DatabaseError> {
    let begun = Instant::now();
    let mut tally = Tally::default();
    let mut late = within.is_zero();
    for (table, about) in tables(link).await? {
        let left = within.saturating_sub(begun.elapsed());
        late |= left.is_zero();
        if late {
            tally.about.insert(table, about);
            continue;
        }
        match count(link, &table, left).await {
            Ok(rows) => {
                tally.tables.insert(table, rows);
            }
            Err(error) if link.is_open() => {
                link.run(LET_GO).await?;
                // Those that follow are larger still.
                late |= matches!(error, DatabaseError::Unknown(_));
                tally.about.insert(table, about);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(tally)
}

/// Every ordinary table that a dump has, the smallest first, with what the statistics say of it: to ask for its real size
/// waits for whoever has locked it.
async fn tables(link: &Link) -> Result<Vec<(String, Option<u64>)>, DatabaseError> {
    let listed = link
        .rows(&format!(
            "SELECT format('%I.%I', n.nspname, c.relname), CASE WHEN c.reltuples > 0 THEN c.reltuples::bigint END FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {OURS} AND c.relkind = 'r' \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass \
               AND d.objid = c.oid AND d.deptype = 'e') \
             ORDER BY c.relpages, 1"
        ))
        .await?;
    let table = |row: &tokio_postgres::SimpleQueryRow| {
        let about = row.get(1).and_then(|about| about.parse().ok());
        (row.get(0).unwrap_or_default().to_owned(), about)
    };
    Ok(listed.iter().map(table).collect())
}

async fn count(link: &Link, table: &str, within: Duration) -> Result<u64, DatabaseError> {
    let millis = within.as_millis().max(1);
    let rows = link
        .value(&format!(
            "SAVEPOINT counting; SET LOCAL statement_timeout = {millis}; SET LOCAL lock_timeout = {}; \
             SELECT count(*) FROM ONLY {table}; {LET_GO}",
            (millis * 3 / 4).clamp(1, 1000)
        ))
        .await?;
    let rows = rows.and_then(|rows| rows.parse().ok());
    rows.ok_or_else(|| DatabaseError::other("a count that is no number"))
}
