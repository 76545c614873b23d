//! `steadfast rows`: what rollbacks have taken out of the database and is kept.

use serde::Serialize;
use state::name::StackName;

use super::args::{Common, Follow, RowsCommand};
use super::failure::{Failure, Outcome};
use super::operation;
use super::output;
use super::reader::Reader;
use super::reading::Daemon;
use super::text::{hanging, paragraph, printable};
use crate::control::protocol::ActBody;
use crate::view::{FORMAT, Status, TakenBackRow};

/// Answer to `rows list --json`.
#[derive(Serialize)]
pub(super) struct RowsList<'a> {
    /// [`FORMAT`].
    format: u32,
    /// The stack.
    stack: &'a str,
    /// What rollbacks have taken out, the newest first.
    taken_back: &'a [TakenBackRow],
}

impl<'a> RowsList<'a> {
    pub(super) fn of(status: &'a Status) -> Self {
        Self {
            format: FORMAT,
            stack: &status.stack,
            taken_back: &status.taken_back,
        }
    }
}

pub(super) async fn run(common: &Common, command: RowsCommand) -> Outcome {
    match command {
        RowsCommand::List { stack, json } => list(common, &stack, json).await,
        RowsCommand::PutIn {
            stack,
            operation,
            reason,
            follow,
        } => put_in(common, &stack, operation, reason, &follow).await,
        RowsCommand::Drop {
            stack,
            operation,
            yes,
            reason,
        } => drop_rows(common, &stack, operation, yes, reason).await,
    }
}

async fn list(common: &Common, stack: &StackName, json: bool) -> Outcome {
    let daemon = Daemon::of(common);
    let status = daemon.client.status(stack.as_str()).await;
    let status = status.map_err(|error| daemon.failure(error))?;
    if json {
        return output::json(&RowsList::of(&status), 0);
    }
    output::print(&text(stack.as_str(), &status.taken_back, &Reader::here()))?;
    Ok(0)
}

fn text(stack: &str, all: &[TakenBackRow], reader: &Reader) -> String {
    if all.is_empty() {
        return format!("{stack}: no rollback has taken anything out of the database\n");
    }
    let one = |row: &TakenBackRow| {
        let head = format!("operation {}, {}: ", row.operation, reader.full(row.at));
        let mut text = hanging(&head, &row.state.replace('_', " "), 2, reader.width);
        for line in &row.lines {
            text.push_str(&paragraph(2, line, reader.width));
        }
        text
    };
    all.iter().map(one).collect()
}

async fn put_in(
    common: &Common,
    stack: &StackName,
    of: u64,
    reason: Option<String>,
    follow: &Follow,
) -> Outcome {
    let daemon = Daemon::of(common);
    let body = ActBody {
        rows_of: Some(of),
        reason,
        ..ActBody::default()
    };
    let answer = daemon.client.act(stack.as_str(), "put-in", &body).await;
    let answer = answer.map_err(|error| daemon.failure(error))?;
    let Some(id) = answer.operation.filter(|_| !follow.no_wait) else {
        output::print(&format!("{stack}: begun: {}\n", printable(&answer.will)))?;
        return Ok(0);
    };
    // What became of each thing is told as it ends.
    operation::follow(&daemon, stack.as_str(), id, follow.timeout).await?;
    output::print(&format!("{stack}: done\n"))?;
    Ok(0)
}

async fn drop_rows(
    common: &Common,
    stack: &StackName,
    of: u64,
    yes: bool,
    reason: Option<String>,
) -> Outcome {
    let daemon = Daemon::of(common);
    let status = daemon.client.status(stack.as_str()).await;
    let status = status.map_err(|error| daemon.failure(error))?;
    // What is not there the daemon refuses in its own words.
    if let Some(row) = status.taken_back.iter().find(|row| row.operation == of) {
        let question = format!(
            "{stack}: drop {} rows that operation {of} has taken out ({}; {})? They cannot be had back.",
            row.rows,
            row.revisions.join(", "),
            row.state.replace('_', " ")
        );
        if !yes && !operation::confirm(&question)? {
            return Err(Failure::new(5, "nothing was done"));
        }
    }
    let body = ActBody {
        rows_of: Some(of),
        reason,
        ..ActBody::default()
    };
    let answer = daemon.client.act(stack.as_str(), "drop-rows", &body).await;
    answer.map_err(|error| daemon.failure(error))?;
    output::print(&format!("{stack}: what was kept of operation {of} is dropped\n"))?;
    Ok(0)
}
