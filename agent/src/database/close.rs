//! Barring the database, and proving that nobody is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use config::settings::PgName;
use tokio::time::{Instant, sleep};
use tokio_postgres::SimpleQueryRow;

use super::link::{Link, literal, quoted};
use super::login::Login;
use super::{DatabaseError, Session};

/// How long a session may take to end.
const SETTLE: Duration = Duration::from_secs(10);

/// Between two looks. All of them are time in which nobody is served; and whatever follows, a clone or a change of names, the
/// server itself refuses as long as somebody is connected.
const LOOK: Duration = Duration::from_millis(50);

/// A session that was let in just before the bar is not seen at once: so many looks in a row find none.
const EMPTY_LOOKS: usize = 3;

/// "tuple concurrently updated": of two who change a database at a time, one is refused.
const CONCURRENTLY: &str = "XX000";
/// How often a change that was refused so is made again.
const TRIES: u32 = 10;

/// What stands against putting a copy into the place of the database: it would be lost, or refuses the rename.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// A logical replication slot, by name.
    Slot(String),
    /// A subscription to another server, by name.
    Subscription(String),
    /// A prepared transaction, by its identifier.
    Prepared(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(name) => write!(f, "the logical replication slot \"{name}\""),
            Self::Subscription(name) => write!(f, "the subscription \"{name}\""),
            Self::Prepared(name) => write!(f, "the prepared transaction \"{name}\""),
        }
    }
}

/// What stands in the way, in words; `None`: nothing.
pub fn in_the_way(obstacles: &[Obstacle]) -> Option<String> {
    let names: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} would be lost with it: a copy that takes the database's place has none; drop that first",
            names.join(", ")
        )
    })
}

/// Bars the database and ends every session, whoever's it is.
pub(super) async fn close(login: &Login, within: Duration) -> Result<Vec<Session>, DatabaseError> {
    let database = login.database()?;
    let link = Link::alone(login, &database, within).await?;
    let until = Instant::now() + SETTLE.min(within * 3 / 4);
    let mut ended = BTreeMap::new();
    let mut left = sessions_of(&link, &database).await?;
    let mut empty = 0;
    loop {
        let was_open = allow(&link, &database, false).await?;
        empty = if left.is_empty() && !was_open {
            empty + 1
        } else {
            0
        };
        if empty == EMPTY_LOOKS {
            link.end().await;
            return Ok(ended.into_values().collect());
        }
        if Instant::now() >= until && empty == 0 {
            let said = String::from("the database cannot be closed");
            return Err(DatabaseError::InUse { said, by: left });
        }
        for session in &left {
            ended.insert(session.pid, session.clone());
            end(&link, session).await?;
        }
        sleep(LOOK).await;
        left = sessions_of(&link, &database).await?;
    }
}

/// Lets connections in again.
pub(super) async fn open(login: &Login, within: Duration) -> Result<(), DatabaseError> {
    let database = login.database()?;
    let link = Link::alone(login, &database, within).await?;
    allow(&link, &database, true).await?;
    link.end().await;
    Ok(())
}

/// Whether connections were allowed before. Changed only where it is otherwise: every `ALTER DATABASE`
/// is a write to the catalogue.
async fn allow(link: &Link, database: &PgName, allowed: bool) -> Result<bool, DatabaseError> {
    let name = database.as_str();
    let ask = format!(
        "SELECT datallowconn::text FROM pg_catalog.pg_database WHERE datname = {}",
        literal(name)
    );
    let change = format!("ALTER DATABASE {} ALLOW_CONNECTIONS {allowed}", quoted(name));
    let mut before = None;
    let mut tries = 0;
    loop {
        let now = link
            .value(&ask)
            .await?
            .ok_or_else(|| DatabaseError::missing(name))?;
        let now = now == "true";
        let before = *before.get_or_insert(now);
        if now == allowed {
            return Ok(before);
        }
        match link.run(&change).await {
            // Somebody else has just changed it: what it is now is looked at again.
            Err(error) if error.code() == Some(CONCURRENTLY) && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
            Ok(()) => return Ok(before),
        }
    }
}

async fn end(link: &Link, session: &Session) -> Result<(), DatabaseError> {
    let done = link
        .run(&format!("SELECT pg_terminate_backend({})", session.pid))
        .await;
    done.map_err(|error| match error {
        DatabaseError::Rights { said, code } => DatabaseError::Rights {
            said: format!("{session} may not be ended: {said}"),
            code,
        },
        other => other,
    })
}

pub(super) async fn sessions(login: &Login, within: Duration) -> Result<Vec<Session>, DatabaseError> {
    let database = login.database()?;
    let link = Link::beside(login, &database, within).await?;
    let sessions = sessions_of(&link, &database).await?;
    link.end().await;
    Ok(sessions)
}

/// Without the server's own workers, which give way by themselves.
pub(super) async fn sessions_of(link: &Link, database: &PgName) -> Result<Vec<Session>, DatabaseError> {
    let sql = format!(
        "SELECT pid, application_name, usename, client_addr::text FROM pg_catalog.pg_stat_activity \
         WHERE datname = {} AND usesysid IS NOT NULL AND pid <> pg_backend_pid() \
         AND backend_type IS DISTINCT FROM 'parallel worker' ORDER BY pid",
        literal(database.as_str())
    );
    read_sessions(&link.rows(&sql).await?)
}

/// Rows of pid, application, user, address.
pub(super) fn read_sessions(rows: &[SimpleQueryRow]) -> Result<Vec<Session>, DatabaseError> {
    let text = |row: &SimpleQueryRow, at: usize| row.get(at).unwrap_or_default().to_owned();
    let session = |row: &SimpleQueryRow| {
        let pid = row.get(0).and_then(|pid| pid.parse().ok());
        Ok(Session {
            pid: pid.ok_or_else(|| DatabaseError::other("a session without a process"))?,
            application: text(row, 1),
            user: text(row, 2),
            client: row.get(3).map(str::to_owned),
        })
    };
    rows.iter().map(session).collect()
}

pub(super) async fn obstacles(login: &Login, within: Duration) -> Result<Vec<Obstacle>, DatabaseError> {
    let database = login.database()?;
    let link = Link::beside(login, &database, within).await?;
    let name = literal(database.as_str());
    let sql = format!(
        "SELECT 'slot', slot_name::text FROM pg_catalog.pg_replication_slots WHERE database = {name} \
         UNION ALL SELECT 'subscription', s.subname::text FROM pg_catalog.pg_subscription s \
           JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = {name} \
         UNION ALL SELECT 'prepared', gid FROM pg_catalog.pg_prepared_xacts WHERE database = {name}"
    );
    let obstacle = |row: &SimpleQueryRow| {
        let name = row.get(1).unwrap_or_default().to_owned();
        match row.get(0) {
            Some("slot") => Obstacle::Slot(name),
            Some("subscription") => Obstacle::Subscription(name),
            _ => Obstacle::Prepared(name),
        }
    };
    let mut obstacles: Vec<Obstacle> = link.rows(&sql).await?.iter().map(obstacle).collect();
    obstacles.sort();
    link.end().await;
    Ok(obstacles)
}
