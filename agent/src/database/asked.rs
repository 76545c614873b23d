//! Integrity checks: a query of the operator's, and whether the server answers what is expected. The answer stays with the
//! server.

use std::time::{Duration, Instant};

use config::settings::PgName;
use config::show_duration;
use state::integrity::{Answer, Answers};

use super::DatabaseError;
use super::link::{Link, literal};
use super::login::Login;
use super::scratch::while_open;
use super::words::without_values;

/// What opening, closing and connecting may take beside the questions.
const MORE: Duration = Duration::from_secs(30);
/// Beyond its own time the server is given this long to say so.
const SLACK: Duration = Duration::from_secs(2);

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it is known by.
    pub name: String,
    /// One query for one value.
    pub query: String,
    /// That value, as text.
    pub expect: String,
    /// How long the server may take.
    pub within: Duration,
}

/// How long all of them may take.
pub(super) fn within(questions: &[Question]) -> Duration {
    let each = questions.iter().map(|question| question.within + SLACK);
    MORE + each.sum::<Duration>()
}

/// Asks them of the database, or of one beside it.
pub(super) async fn ask(
    login: &Login,
    of: Option<&PgName>,
    questions: &[Question],
) -> Result<Answers, DatabaseError> {
    let Some(beside) = of else {
        let link = Link::to(login, within(questions)).await?;
        return Box::pin(all(link, login, None, questions)).await;
    };
    // Names mean there what they mean in the database itself, whose settings no copy has.
    let own = Link::to(login, MORE).await?;
    let path = own.value("SHOW search_path").await?.unwrap_or_default();
    own.end().await;
    let asking = async {
        let link = Link::connect(login, beside.as_str(), within(questions)).await?;
        all(link, login, Some(&path), questions).await
    };
    Box::pin(while_open(login, beside, within(questions), asking)).await
}

async fn all(
    link: Link,
    login: &Login,
    path: Option<&str>,
    questions: &[Question],
) -> Result<Answers, DatabaseError> {
    let mut answers = Answers::new();
    // Whoever cannot be asked any more has not failed, and is not asked again: a query may be what ended the connection.
    let mut gone = None;
    for question in questions {
        let answer = match &gone {
            None => one(&link, login, path, question).await,
            Some(why) => Ok(Answer::Unknown(String::clone(why))),
        };
        let answer = answer.unwrap_or_else(|error| {
            let why = login.redact(&without_values(error, "").to_string());
            let why = why.trim_start_matches(": ").to_owned();
            gone = Some(why.clone());
            Answer::Unknown(why)
        });
        answers.insert(question.name.clone(), answer);
    }
    link.end().await;
    Ok(answers)
}

async fn one(
    link: &Link,
    login: &Login,
    path: Option<&str>,
    question: &Question,
) -> Result<Answer, DatabaseError> {
    let millis = question.within.as_millis().max(1);
    let path = path
        .map(|path| format!("; SET LOCAL search_path TO {path}"))
        .unwrap_or_default();
    link.run(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {millis}; \
         SET LOCAL lock_timeout = {}{path}",
        (millis * 3 / 4).max(1)
    ))
    .await?;
    let sql = format!(
        "SELECT (\n{}\n)::text IS NOT DISTINCT FROM {}::text",
        question.query,
        literal(&question.expect)
    );
    let asked = Instant::now();
    let answer = match link.truth(&sql).await {
        Ok(Some(true)) => Answer::Holds,
        Ok(_) => Answer::Differs,
        Err(DatabaseError::InUse { .. }) => Answer::Unknown(String::from("somebody holds a lock")),
        // The server has ended it; what has ended the connection would have ended it earlier.
        Err(DatabaseError::Unknown(_)) if link.is_open() && asked.elapsed() >= question.within * 9 / 10 => {
            let within = show_duration(question.within);
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
