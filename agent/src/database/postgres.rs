//! The version table, asked over one short connection for each question. Nothing is written here.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use config::settings::MigrationSettings;
use config::show_duration;
use state::name::Revision;
use state::observed::{Known, SchemaHead};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::error::words;
use super::login::Login;
use super::tls::connector;
use super::version::{is_missing, rows};
use super::{Database, Place};

/// More revisions than this is no version table.
const MOST_ROWS: usize = 10_000;

/// Asks Postgres. The whole of a question, from the name to the answer, ends within `deadline`.
#[derive(Debug, Clone)]
pub struct Postgres {
    deadline: Duration,
}

impl Postgres {
    /// The connection is given this long to end in good order, after the answer.
    const GOODBYE: Duration = Duration::from_millis(500);

    /// A question may take so long; the server itself gives up a little earlier.
    pub fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    async fn ask(&self, login: &Login, migrations: &MigrationSettings) -> Result<SchemaHead, String> {
        let tls = connector(login.trust).map_err(|error| format!("no TLS: {error}"))?;
        let (client, connection) = login.config.connect(tls).await.map_err(|error| words(&error))?;
        let sql = question(migrations, self.deadline);
        let mut connection = pin!(connection);
        let answer = tokio::select! {
            biased;
            // Dropped unanswered only with the connection itself.
            answer = rows_of(&client, &sql, migrations) => answer,
            // It ends by itself only when it breaks, and then for good.
            ended = &mut connection => return Err(ended.map_or_else(
                |error| words(&error),
                |()| String::from("the server closed the connection"),
            )),
        };
        drop(client);
        // Says goodbye to the server; what comes of it changes no answer.
        let _ = timeout(Self::GOODBYE, connection).await;
        match answer {
            Ok(Some(messages)) => heads(&messages),
            Ok(None) => Ok(SchemaHead::NoTable),
            Err(error) => Err(words(&error)),
        }
    }
}

/// What the version table says; `None`: it is missing. That another table is says nothing of how far the schema is.
async fn rows_of(
    client: &Client,
    sql: &str,
    migrations: &MigrationSettings,
) -> Result<Option<Vec<SimpleQueryMessage>>, Error> {
    let error = match client.simple_query(sql).await {
        Ok(messages) => return Ok(Some(messages)),
        Err(error) => error,
    };
    let missing = is_missing(migrations).filter(|_| error.code() == Some(&SqlState::UNDEFINED_TABLE));
    let Some(missing) = missing else {
        return Err(error);
    };
    let found = client.simple_query(&format!("ROLLBACK; {missing}")).await?;
    let is = |message: &SimpleQueryMessage| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("t"));
    if found.iter().any(is) {
        Ok(None)
    } else {
        Err(error)
    }
}

#[async_trait]
impl Database for Postgres {
    async fn schema_head(&self, place: Place<'_>) -> Known<SchemaHead> {
        let login = match place.login() {
            Ok(login) => login,
            Err(why) => return Known::Unknown(why.to_string()),
        };
        match timeout(self.deadline, self.ask(&login, &place.settings.migrations)).await {
            Ok(Ok(head)) => Known::Known(head),
            Ok(Err(why)) => Known::Unknown(login.redact(&format!("the database: {why}"))),
            Err(_) => Known::Unknown(format!(
                "the database did not answer within {}",
                show_duration(self.deadline)
            )),
        }
    }
}

/// One round trip: read-only, and it waits for no lock and for no slow disk longer than we do.
fn question(migrations: &MigrationSettings, deadline: Duration) -> String {
    let statement = (deadline * 3 / 4).as_millis().max(1);
    let lock = (deadline / 4).as_millis().max(1);
    format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {lock}; \
         {} LIMIT {}; ROLLBACK",
        rows(migrations),
        MOST_ROWS + 1
    )
}

fn heads(messages: &[SimpleQueryMessage]) -> Result<SchemaHead, String> {
    let mut heads = BTreeSet::new();
    for message in messages {
        let SimpleQueryMessage::Row(row) = message else {
            continue;
        };
        let text = row.get(0).ok_or("a row of the version table is NULL")?;
        let revision: Revision = text
            .parse()
            .map_err(|_| "a row of the version table is no revision")?;
        heads.insert(revision);
    }
    if heads.len() > MOST_ROWS {
        return Err(format!("the version table has more than {MOST_ROWS} rows"));
    }
    Ok(SchemaHead::At(heads))
}
