//! Integrity checks: a query of the operator's, and whether the server answers what is expected. The answer stays with the
//! server.

use std::time::{Duration, Instant};

use config::settings::PgName;
use config::show_duration;
use state::integrity::{Answer, Answers, Check};

use tokio_postgres::SimpleQueryRow;

use super::DatabaseError;
use super::link::{Link, literal};
use super::login::Login;
use super::scratch::while_open;
use super::words::without_values;

/// What opening, closing and connecting may take beside the questions.
const MORE: Duration = Duration::from_secs(30);
/// Beyond its own time the server is given this long to say so.
const SLACK: Duration = Duration::from_secs(2);

/// How long all of them may take.
pub(super) fn within(checks: &[Check]) -> Duration {
    let each = checks.iter().map(|check| check.within + SLACK);
    MORE + each.sum::<Duration>()
}

/// Asks them of the database, or of one beside it.
pub(super) async fn ask(
    login: &Login,
    of: Option<&PgName>,
    checks: &[Check],
) -> Result<Answers, DatabaseError> {
    let Some(beside) = of else {
        let link = Link::to(login, within(checks)).await?;
        return Box::pin(all(link, login, checks)).await;
    };
    // A question means there what it means in the database itself, whose settings no copy has.
    let own = Link::to(login, MORE).await?;
    let settings = settings(&own).await?;
    own.end().await;
    let asking = async {
        let link = Link::connect(login, beside.as_str(), within(checks)).await?;
        for (key, value) in &settings {
            let set = format!(
                "SELECT pg_catalog.set_config({}, {}, false)",
                literal(key),
                literal(value)
            );
            // What no session may set has its meaning for the server alone, or for whoever may.
            if let Err(error @ DatabaseError::Unknown(_)) = link.run(&set).await {
                return Err(error);
            }
        }
        all(link, login, checks).await
    };
    Box::pin(while_open(login, beside, within(checks), asking)).await
}

/// What is set for the database, or for whoever is logged in, in it alone (`ALTER DATABASE … SET`, `ALTER ROLE … IN DATABASE
/// … SET`), as it is in a session; but for how long a question may take, which each has for itself.
async fn settings(own: &Link) -> Result<Vec<(String, String)>, DatabaseError> {
    let rows = own
        .rows(
            "SELECT DISTINCT key, pg_catalog.current_setting(key, true) FROM \
               (SELECT pg_catalog.split_part(c, '=', 1) AS key FROM pg_catalog.pg_db_role_setting s \
                  JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, pg_catalog.unnest(s.setconfig) c \
                WHERE d.datname = pg_catalog.current_database() \
                  AND (s.setrole = 0 OR pg_catalog.pg_get_userbyid(s.setrole) = SESSION_USER)) AS set \
             WHERE key NOT LIKE '%\\_timeout' AND key NOT LIKE 'default\\_transaction%'",
        )
        .await?;
    let pair = |row: SimpleQueryRow| Some((row.get(0)?.to_owned(), row.get(1)?.to_owned()));
    Ok(rows.into_iter().filter_map(pair).collect())
}

async fn all(link: Link, login: &Login, checks: &[Check]) -> Result<Answers, DatabaseError> {
    let mut answers = Answers::new();
    // Whoever cannot be asked any more has not failed, and is not asked again: a query may be what ended the connection.
    let mut gone = None;
    for check in checks {
        let answer = match &gone {
            None => one(&link, login, check).await,
            Some(why) => Ok(Answer::Unknown(String::clone(why))),
        };
        let answer = answer.unwrap_or_else(|error| {
            let why = login.redact(&without_values(error, "").to_string());
            let why = why.trim_start_matches(": ").to_owned();
            gone = Some(why.clone());
            Answer::Unknown(why)
        });
        answers.insert(check.name.clone(), answer);
    }
    link.end().await;
    Ok(answers)
}

async fn one(link: &Link, login: &Login, check: &Check) -> Result<Answer, DatabaseError> {
    let millis = check.within.as_millis().max(1);
    link.run(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {millis}; \
         SET LOCAL lock_timeout = {}",
        (millis * 3 / 4).max(1)
    ))
    .await?;
    let sql = format!(
        "SELECT (\n{}\n)::text IS NOT DISTINCT FROM {}::text",
        check.query,
        literal(&check.expect)
    );
    let asked = Instant::now();
    let answer = match link.truth(&sql).await {
        Ok(Some(true)) => Answer::Holds,
        Ok(_) => Answer::Differs,
        Err(DatabaseError::InUse { .. }) => Answer::Unknown(String::from("somebody holds a lock")),
        // The server has ended it; what has ended the connection would have ended it earlier.
        Err(DatabaseError::Unknown(_)) if link.is_open() && asked.elapsed() >= check.within * 9 / 10 => {
            let within = show_duration(check.within);
            Answer::Unknown(format!("no answer within {within}"))
        }
        Err(error @ (DatabaseError::Rights { .. } | DatabaseError::Other { .. })) => {
            let names = error.code().is_some_and(is_about_names);
            let servers = error.code().is_some_and(is_the_servers);
            // A class of its own: more rows than one are no secret.
            let said = match error.code() {
                Some("21000") => String::from("it gives more than one row (21000)"),
                _ => login.redact(&without_values(error, "").to_string()),
            };
            let said = said.trim_start_matches(": ").to_owned();
            if servers {
                Answer::Unknown(said)
            } else {
                Answer::Refused { said, names }
            }
        }
        Err(error) => return Err(error),
    };
    link.run("ROLLBACK").await?;
    Ok(answer)
}

/// Whether the server could not, whatever the data are: no memory, no room, no lock left, a fault of its own or of the disk,
/// or it was told to stop.
fn is_the_servers(code: &str) -> bool {
    ["40", "53", "54", "57", "58", "XX"]
        .iter()
        .any(|class| code.starts_with(class))
}

/// A table, a column, a function, an operator, a type or a schema that is not there.
fn is_about_names(code: &str) -> bool {
    matches!(code, "42P01" | "42703" | "42883" | "42704" | "3F000" | "42P02")
}
