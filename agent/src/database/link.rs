//! One connection, and how SQL is written. A statement ends on the server when its time is over, or
//! a little after its client is gone; the connection ends with its value.

use std::future::Future;
use std::io::Cursor;
use std::time::Duration;

use config::settings::PgName;
use config::show_duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, CopyInSink, CopyOutStream, SimpleQueryMessage, SimpleQueryRow};

use super::DatabaseError;
use super::close::sessions_of;
use super::login::Login;
use super::tls::connector;

/// From where databases are made, renamed and dropped; tried in this order.
const ELSEWHERE: [&str; 2] = ["postgres", "template1"];

/// The connection is given this long to end in good order.
const GOODBYE: Duration = Duration::from_millis(500);

/// With the hash of the database's name: one at a time of what changes databases as a whole.
const TURN: i32 = 0x5354_4459;

/// A connection that is driven by a task of its own.
pub(crate) struct Link {
    client: Client,
    task: Task,
}

/// Dropped in the middle of a statement, the connection is closed there and then.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    /// To the database itself.
    pub(crate) async fn to(login: &Login, within: Duration) -> Result<Self, DatabaseError> {
        Self::connect(login, login.database()?.as_str(), within).await
    }

    /// To another database of the same server, to change `database` from outside.
    pub(crate) async fn beside(
        login: &Login,
        database: &PgName,
        within: Duration,
    ) -> Result<Self, DatabaseError> {
        let mut first = None;
        for name in ELSEWHERE.iter().filter(|name| **name != database.as_str()) {
            match Self::connect(login, name, within).await {
                Ok(link) => return Ok(link),
                Err(error @ DatabaseError::Unknown(_)) => return Err(error),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| DatabaseError::other("there is no other database to connect to")))
    }

    /// As [`Link::beside`], and alone in it: whoever was before us, and has not noticed yet that its
    /// client is gone, has come to its end.
    pub(crate) async fn alone(
        login: &Login,
        database: &PgName,
        within: Duration,
    ) -> Result<Self, DatabaseError> {
        let link = Self::beside(login, database, within).await?;
        let turn = format!(
            "SELECT pg_advisory_lock({TURN}, hashtext({}))",
            literal(database.as_str())
        );
        match link.run(&turn).await {
            Err(DatabaseError::InUse { .. }) => Err(DatabaseError::InUse {
                said: String::from("another operation works on the database"),
                by: link.holders(TURN, None).await?,
            }),
            done => done.map(|()| link),
        }
    }

    pub(crate) async fn connect(
        login: &Login,
        database: &str,
        within: Duration,
    ) -> Result<Self, DatabaseError> {
        let tls =
            connector(login.trust).map_err(|error| DatabaseError::Unknown(format!("no TLS: {error}")))?;
        let mut config = login.config.clone();
        config.dbname(database);
        let (client, connection) = config.connect(tls).await?;
        let task = tokio::spawn(async move {
            // It ends when it breaks, which the next question hears, or with its client.
            let _ = connection.await;
        });
        let link = Self {
            client,
            task: Task(task),
        };
        link.run(&bounds(within)).await?;
        Ok(link)
    }

    /// Says goodbye to the server; what comes of it changes nothing.
    pub(crate) async fn end(self) {
        let Self { client, mut task } = self;
        drop(client);
        let _ = timeout(GOODBYE, &mut task.0).await;
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<(), DatabaseError> {
        self.client.simple_query(sql).await?;
        Ok(())
    }

    /// Begins to send the rows that `sql`, a `COPY … FROM stdin`, asks for.
    pub(crate) async fn copy_in(&self, sql: &str) -> Result<CopyInSink<Cursor<Vec<u8>>>, DatabaseError> {
        Ok(self.client.copy_in(sql).await?)
    }

    /// The rows that `sql`, a `COPY … TO STDOUT`, gives, piece by piece.
    pub(crate) async fn copy_out(&self, sql: &str) -> Result<CopyOutStream, DatabaseError> {
        Ok(self.client.copy_out(sql).await?)
    }

    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<SimpleQueryRow>, DatabaseError> {
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        };
        Ok(self
            .client
            .simple_query(sql)
            .await?
            .into_iter()
            .filter_map(row)
            .collect())
    }

    /// The one value that `sql` asks for; `None` is NULL, or no row.
    pub(crate) async fn value(&self, sql: &str) -> Result<Option<String>, DatabaseError> {
        let rows = self.rows(sql).await?;
        Ok(rows.first().and_then(|row| row.get(0)).map(str::to_owned))
    }

    /// The truth that `sql`, one statement, asks for; `None` is NULL. More than one statement is refused by the server.
    pub(crate) async fn truth(&self, sql: &str) -> Result<Option<bool>, DatabaseError> {
        let rows = self.client.query(sql, &[]).await?;
        let first = rows.first().map(|row| row.try_get(0)).transpose()?;
        Ok(first.flatten())
    }

    /// As `run`; where others are in the way, they are those connected to `database`.
    pub(crate) async fn run_on(&self, database: &PgName, sql: &str) -> Result<(), DatabaseError> {
        match self.run(sql).await {
            Err(DatabaseError::InUse { said, .. }) => {
                // What is asked next must not be refused because the transaction failed.
                self.run("ROLLBACK").await?;
                let by = sessions_of(self, database).await?;
                Err(DatabaseError::InUse { said, by })
            }
            done => done,
        }
    }

    /// Who holds an advisory lock in the database of this connection, beside ourselves.
    pub(crate) async fn holders(
        &self,
        high: i32,
        low: Option<i32>,
    ) -> Result<Vec<super::Session>, DatabaseError> {
        let low = low.map(|low| format!("AND l.objid = {low}")).unwrap_or_default();
        let sql = format!(
            "SELECT a.pid, a.application_name, a.usename, a.client_addr::text \
             FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid) \
             WHERE l.locktype = 'advisory' AND l.granted AND l.classid = {high} {low} \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
             AND a.pid <> pg_backend_pid() ORDER BY a.pid"
        );
        super::close::read_sessions(&self.rows(&sql).await?)
    }
}

/// What must be so however the server, the role or the database is set.
fn bounds(within: Duration) -> String {
    let millis = within.as_millis().clamp(1, 1_000_000_000);
    let lock = (millis * 3 / 4).max(1);
    format!(
        "SELECT set_config(name, CASE name \
           WHEN 'statement_timeout' THEN '{millis}' \
           WHEN 'lock_timeout' THEN '{lock}' \
           WHEN 'client_connection_check_interval' THEN '1000' \
           WHEN 'default_transaction_read_only' THEN 'off' \
           WHEN 'standard_conforming_strings' THEN 'on' \
           ELSE '0' END, false) \
         FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', \
           'client_connection_check_interval', 'default_transaction_read_only', \
           'standard_conforming_strings', 'idle_session_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')"
    )
}

impl Login {
    /// The name of the database.
    pub(crate) fn database(&self) -> Result<PgName, DatabaseError> {
        let name = self.config.get_dbname().or_else(|| self.config.get_user());
        let name = name.ok_or_else(|| DatabaseError::other("the database URL names no database"))?;
        name.parse()
            .map_err(|_| DatabaseError::other("the name of the database is none that Postgres takes"))
    }

    /// Bounds `work` in time, and takes the secrets out of what it says.
    pub(crate) async fn bounded<T>(
        &self,
        within: Duration,
        work: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, DatabaseError> {
        match timeout(within, work).await {
            Ok(done) => done.map_err(|error| error.map(|words| self.redact(words))),
            Err(_) => Err(DatabaseError::Unknown(format!(
                "the database did not answer within {}",
                show_duration(within)
            ))),
        }
    }
}

/// An identifier as SQL takes any (Postgres, "Lexical Structure").
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL takes any, whatever `standard_conforming_strings` says.
pub(crate) fn literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "''");
    let mark = if text.contains('\\') { "E" } else { "" };
    format!("{mark}'{escaped}'")
}
