//! `steadfast backup`: one is made, all are listed, one is made sure of. An operation of the daemon's is followed to its
//! end; a backup counts when it is listed.

use state::backup::{BackupId, Proof};
use state::name::StackName;

use super::args::{BackupCommand, Common, Follow, MakeBackup};
use super::failure::{Failure, Outcome};
use super::operation;
use super::output;
use super::reader::{Reader, took};
use super::reading::Daemon;
use super::text::{before_last, columns, hanging, last_below, printable};
use crate::control::protocol::ActBody;
use crate::view::{BackupList, BackupRow};

/// Where less is left for what needs a backup, all but the least goes below its line.
const NEEDED_BY: usize = 14;

pub(super) async fn run(common: &Common, command: Option<BackupCommand>, make: MakeBackup) -> Outcome {
    match (command, make.stack) {
        (Some(BackupCommand::List { stack, json }), _) => list(common, &stack, json).await,
        (
            Some(BackupCommand::Verify {
                stack,
                id,
                list,
                reason,
                follow,
                json,
            }),
            _,
        ) => {
            let body = ActBody {
                proof: Some(if list { Proof::List } else { Proof::Restore }),
                backup: Some(id.clone()),
                reason,
                ..ActBody::default()
            };
            let daemon = Daemon::of(common);
            let order = Asking {
                act: "verify",
                stack: &stack,
                body,
                follow: &follow,
                json,
            };
            order.run(&daemon, |row| row.id == id.to_string()).await
        }
        (
            Some(BackupCommand::Drop {
                stack,
                name,
                yes,
                reason,
                follow,
            }),
            _,
        ) => {
            let body = ActBody {
                database: Some(name),
                reason,
                ..ActBody::default()
            };
            drop_beside(common, &stack, body, yes, &follow).await
        }
        (None, Some(stack)) => {
            let body = ActBody {
                proof: Some(make.proof.into()),
                reason: make.reason,
                ..ActBody::default()
            };
            let daemon = Daemon::of(common);
            let order = Asking {
                act: "backup",
                stack: &stack,
                body,
                follow: &make.follow,
                json: make.json,
            };
            order.run(&daemon, |_| true).await
        }
        // The parser asks for one of the two.
        (None, None) => Err(Failure::new(2, "of which stack?")),
    }
}

/// Something that is asked about backups, and how it is followed.
struct Asking<'a> {
    act: &'static str,
    stack: &'a StackName,
    body: ActBody,
    follow: &'a Follow,
    json: bool,
}

impl Asking<'_> {
    /// `is_meant`: which of the backups that the operation could have made or verified.
    async fn run(self, daemon: &Daemon, is_meant: impl Fn(&BackupRow) -> bool) -> Outcome {
        let stack = self.stack.as_str();
        let answer = daemon.client.act(stack, self.act, &self.body).await;
        let answer = answer.map_err(|error| daemon.failure(error))?;
        let Some(id) = answer.operation.filter(|_| !self.follow.no_wait) else {
            output::print(&format!("{stack}: begun: {}\n", printable(&answer.will)))?;
            return Ok(0);
        };
        output::note(&format!("{stack}: {}", printable(&answer.will)));
        operation::follow(daemon, stack, id, self.follow.timeout).await?;
        let all = daemon.client.backups(stack).await;
        let all = all.map_err(|error| daemon.failure(error))?;
        let made = |row: &&BackupRow| (self.act != "backup" || row.operation == id) && is_meant(row);
        let Some(row) = all.backups.iter().find(made) else {
            return Err(Failure::new(
                1,
                "it is done, and the backup is not there any more",
            ));
        };
        if self.json {
            return output::json(row, 0);
        }
        output::print(&one(stack, row, &Reader::here()))?;
        Ok(0)
    }
}

async fn drop_beside(
    common: &Common,
    stack: &StackName,
    body: ActBody,
    yes: bool,
    follow: &Follow,
) -> Outcome {
    let name = printable(body.database.as_deref().unwrap_or_default());
    let question = format!("{stack}: drop the database {name}, with all that is in it?");
    if !yes && !operation::confirm(&question)? {
        return Err(Failure::new(5, "nothing was done"));
    }
    let daemon = Daemon::of(common);
    let words = format!("{stack}: {name} is dropped\n");
    let answer = daemon.client.act(stack.as_str(), "drop", &body).await;
    let answer = answer.map_err(|error| daemon.failure(error))?;
    let Some(id) = answer.operation.filter(|_| !follow.no_wait) else {
        output::print(&format!("{stack}: begun: {}\n", printable(&answer.will)))?;
        return Ok(0);
    };
    operation::follow(&daemon, stack.as_str(), id, follow.timeout).await?;
    output::print(&words)?;
    Ok(0)
}

async fn list(common: &Common, stack: &StackName, json: bool) -> Outcome {
    let daemon = Daemon::of(common);
    let all = daemon.client.backups(stack.as_str()).await;
    let all = all.map_err(|error| daemon.failure(error))?;
    if json {
        return output::json(&all, 0);
    }
    output::print(&table(&all, &Reader::here()))?;
    Ok(0)
}

/// What came of one, in a line.
pub(super) fn one(stack: &str, row: &BackupRow, reader: &Reader) -> String {
    let text = format!(
        "{}, {} tables with {} rows, made in {}; {}",
        bytes(row.bytes),
        row.tables,
        row.rows,
        took(row.milliseconds),
        verified(row)
    );
    hanging(&format!("{stack}: {}: ", row.id), &text, 2, reader.width)
}

fn verified(row: &BackupRow) -> String {
    match &row.verified {
        Some(verified) if verified.how == "restored" => format!(
            "restored and counted in {}: {} tables, {} rows",
            took(verified.milliseconds),
            verified.tables,
            verified.rows.unwrap_or(0)
        ),
        Some(verified) => format!(
            "its table of contents was read in {}, which says nothing about the rows",
            took(verified.milliseconds)
        ),
        None => String::from("nobody has made sure of it"),
    }
}

/// A line for each, the newest first.
pub(super) fn table(all: &BackupList, reader: &Reader) -> String {
    let mut text = String::new();
    if all.backups.is_empty() {
        text.push_str(&format!("{}: no backup yet\n", all.stack));
    } else {
        text.push_str(&list_of(&all.backups, reader));
    }
    for damaged in &all.damaged {
        let head = format!("{}: damaged: ", damaged.id);
        text.push_str(&hanging(&head, &damaged.why, 2, reader.width));
    }
    text
}

/// In columns; where there is no room for them an id, a time and a size, and the rest below.
fn list_of(all: &[BackupRow], reader: &Reader) -> String {
    let heading = ["ID", "BEGUN", "WHY", "SIZE", "SCHEMA", "VERIFIED", "NEEDED BY"].map(str::to_owned);
    let mut rows: Vec<[String; 7]> = vec![heading];
    rows.extend(all.iter().map(|row| cells(row, reader)));
    let wide: Vec<Vec<String>> = rows.iter().map(|row| row.to_vec()).collect();
    if reader.width >= before_last(&wide, 0) + NEEDED_BY {
        return columns(&wide, 0, reader.width);
    }
    let narrow = |[id, begun, why, size, schema, verified, needed_by]: [String; 7]| {
        let verified = match verified.as_str() {
            "no" => "nobody has made sure of it",
            how => how,
        };
        let mut below = format!("{why}, schema {schema}, {verified}");
        if !needed_by.is_empty() {
            below.push_str(&format!(", needed by {needed_by}"));
        }
        vec![id, begun, size, below]
    };
    let narrow: Vec<Vec<String>> = rows.into_iter().map(narrow).collect();
    last_below(&narrow, 0, reader.width)
}

fn cells(row: &BackupRow, reader: &Reader) -> [String; 7] {
    let schema = match row.schema.as_slice() {
        [] => String::from("–"),
        [one] => one.clone(),
        [.., last] if row.schema.len() > 3 => format!("{last} +{}", row.schema.len() - 1),
        [first, more @ ..] => format!("{first} +{}", more.len()),
    };
    let verified = row.verified.as_ref();
    let needed_by = row
        .needed_by
        .iter()
        .map(|need| need.replace("generation ", "gen "));
    [
        row.id.clone(),
        reader.ago(row.begun),
        row.why.replace('_', " "),
        bytes(row.bytes),
        schema,
        verified.map_or_else(|| String::from("no"), |verified| verified.how.clone()),
        needed_by.collect::<Vec<_>>().join(", "),
    ]
}

/// `3.2 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    crate::backup::show_bytes(bytes)
}

/// As it stands in `backup list`.
pub(super) fn id(text: &str) -> Result<BackupId, String> {
    text.parse().map_err(|error| format!("{error}"))
}
