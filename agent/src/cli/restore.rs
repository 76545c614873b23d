//! `steadfast restore`: a backup, or a dump of the operator's own, takes the database's place.

use std::path::PathBuf;

use state::backup::BackupId;

use super::args::{Common, Restore};
use super::backup::bytes;
use super::failure::{Failure, Outcome};
use super::operation;
use super::output;
use super::reader::Reader;
use super::reading::Daemon;
use super::text::printable;
use crate::control::protocol::ActBody;

/// What is to be restored.
enum Dump {
    Backup(BackupId),
    File(PathBuf),
}

pub(super) async fn run(common: &Common, order: Restore) -> Outcome {
    let daemon = Daemon::of(common);
    let stack = order.stack.as_str();
    let dump = what(&order.dump)?;
    let shown = shown(&daemon, stack, &dump).await?;
    let question = format!(
        "{stack}: put {shown} into the place of the database? What writes to it stops meanwhile; the database as it is \
         is kept beside it."
    );
    if !order.yes && !operation::confirm(&question)? {
        return Err(Failure::new(5, "nothing was done"));
    }
    let (backup, file) = match dump {
        Dump::Backup(id) => (Some(id), None),
        Dump::File(path) => (None, Some(path)),
    };
    let body = ActBody {
        reason: order.reason,
        backup,
        file,
        ..ActBody::default()
    };
    let answer = daemon.client.act(stack, "restore", &body).await;
    let answer = answer.map_err(|error| daemon.failure(error))?;
    let Some(id) = answer.operation.filter(|_| !order.follow.no_wait) else {
        output::print(&format!("{stack}: begun: {}\n", printable(&answer.will)))?;
        return Ok(0);
    };
    output::note(&format!("{stack}: {}", printable(&answer.will)));
    let done = operation::follow(&daemon, stack, id, order.follow.timeout).await?;
    let status = daemon.client.status(stack).await;
    let status = status.map_err(|error| daemon.failure(error))?;
    if let Some(hold) = &status.hold {
        output::note(&format!(
            "{stack}: held: {} ({})",
            printable(&hold.why),
            printable(&hold.way_out)
        ));
    }
    if order.json {
        return output::json(&done, 0);
    }
    output::print(&format!("{stack}: {shown} is restored\n"))?;
    Ok(0)
}

/// A backup where it is the name of one, else a file.
fn what(text: &str) -> Result<Dump, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(Dump::Backup(id));
    }
    let path = std::path::absolute(text)
        .map_err(|error| Failure::new(2, format!("{}: {error}", printable(text))))?;
    Ok(Dump::File(path))
}

/// What a person is asked about.
async fn shown(daemon: &Daemon, stack: &str, dump: &Dump) -> Result<String, Failure> {
    let id = match dump {
        Dump::File(path) => return Ok(printable(&path.display().to_string())),
        Dump::Backup(id) => id.to_string(),
    };
    let all = daemon.client.backups(stack).await;
    let all = all.map_err(|error| daemon.failure(error))?;
    let reader = Reader::here();
    Ok(match all.backups.iter().find(|row| row.id == id) {
        Some(row) => format!(
            "the backup {id} ({}, {} tables with {} rows, {})",
            reader.ago(row.begun),
            row.tables,
            row.rows,
            bytes(row.bytes)
        ),
        None => format!("the backup {id}"),
    })
}
