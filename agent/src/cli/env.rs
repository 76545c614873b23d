//! `steadfast env`: the versions of a stack's env files. Values are printed by one function here, for root on a terminal.

use std::io::IsTerminal as _;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use state::name::{EnvId, StackName};

use super::args::{Common, EnvCommand, Following, Of};
use super::failure::{Failure, Outcome};
use super::follow::{Goal, follow};
use super::operation;
use super::output;
use super::reader::Reader;
use super::reading::Daemon;
use super::text::{before_last, columns, hanging, last_below, paragraph, printable};
use crate::control::protocol::ActBody;
use crate::view::{EnvDiff, EnvKey, EnvList, EnvRow, EnvShown};

/// So many generations that have a version are named.
const NAMED: usize = 3;
/// Where less is left for where a version is known from, that goes below its line.
const BESIDE: usize = 20;

pub(super) async fn run(common: &Common, command: EnvCommand) -> Outcome {
    let daemon = Daemon::of(common);
    match command {
        EnvCommand::List { stack, json } => {
            let all = daemon.client.envs(stack.as_str()).await;
            let all = all.map_err(|error| daemon.failure(error))?;
            if json {
                return output::json(&all, 0);
            }
            output::print(&list(&all, &Reader::here()))?;
            Ok(0)
        }
        EnvCommand::Show {
            stack,
            id,
            of,
            reveal,
            reason,
            json,
        } => {
            let is_terminal = std::io::stdout().is_terminal();
            let values = reveal.then_some(Values { is_terminal, reason });
            let shown = look(&daemon, &stack, id.as_ref(), &of, values).await?;
            if json {
                return output::json(&shown, 0);
            }
            output::print(&show(&shown, &Reader::here()))?;
            Ok(0)
        }
        EnvCommand::Diff {
            stack,
            a,
            b,
            of,
            json,
        } => {
            let (a, b) = (a.as_str(), b.as_ref().map(EnvId::as_str));
            let file = text(&of)?;
            let differs = daemon.client.env_diff(stack.as_str(), (a, b), file).await;
            let differs = differs.map_err(|error| daemon.failure(error))?;
            if json {
                return output::json(&differs, 0);
            }
            output::print(&diff(&differs, &Reader::here()))?;
            Ok(0)
        }
        EnvCommand::Restore { order, id, of } => restore(&daemon, order, id, of).await,
        EnvCommand::Import {
            stack,
            from,
            of,
            reason,
        } => {
            let body = ActBody {
                reason,
                file: Some(absolute(&from)?),
                env_file: of.file,
                ..ActBody::default()
            };
            ask(&daemon, "env-import", &stack, &body).await
        }
    }
}

/// That the values are wanted too: where they would be printed, and why.
struct Values {
    is_terminal: bool,
    reason: Option<String>,
}

/// The names in a version, or its values where they may be shown.
async fn look(
    daemon: &Daemon,
    stack: &StackName,
    id: Option<&EnvId>,
    of: &Of,
    values: Option<Values>,
) -> Result<EnvShown, Failure> {
    let (id, file) = (id.map(EnvId::as_str), text(of)?);
    let shown = if let Some(Values { is_terminal, reason }) = values {
        unless_redirected(is_terminal)?;
        let shown = daemon.client.env_revealed(stack.as_str(), id, file, reason);
        shown.await
    } else {
        daemon.client.env(stack.as_str(), id, file).await
    };
    shown.map_err(|error| daemon.failure(error))
}

/// What goes into a file or a pipe stays there.
fn unless_redirected(is_terminal: bool) -> Result<(), Failure> {
    if is_terminal {
        return Ok(());
    }
    let why = "values are shown on a terminal alone, and standard output is none";
    Err(Failure::new(5, why).way_out("the file itself has them, for whoever may read it"))
}

async fn restore(daemon: &Daemon, order: Following, id: EnvId, of: Of) -> Outcome {
    let Following {
        stack: name,
        reason,
        yes,
        wait,
    } = order;
    let stack = name.as_str();
    let all = daemon.client.envs(stack).await;
    let all = all.map_err(|error| daemon.failure(error))?;
    let status = daemon.client.status(stack).await;
    let status = status.map_err(|error| daemon.failure(error))?;
    // What is not there the daemon refuses in its own words.
    let row = named(&all, &id, of.file.as_deref());
    if let Some(row) = row
        && !yes
        && !operation::confirm(&question(stack, row, &Reader::here()))?
    {
        return Err(Failure::new(5, "nothing was done"));
    }
    let goal = Goal::Edit(before(row, status.asked.as_ref().map(|asked| asked.accepted)));
    let body = ActBody {
        reason,
        env: Some(id),
        env_file: of.file,
        ..ActBody::default()
    };
    let code = ask(daemon, "env-restore", &name, &body).await?;
    if !wait.wait {
        return Ok(code);
    }
    follow(daemon, stack, &goal, wait).await
}

/// When what is in force was accepted, where that is another version: the edit is accepted after it.
fn before(row: Option<&EnvRow>, accepted: Option<Timestamp>) -> Option<Timestamp> {
    accepted.filter(|_| row.is_none_or(|row| !row.asked_for))
}

/// The version that is meant, among those that are listed: of `file`, or of the stack's own.
fn named<'l>(all: &'l EnvList, id: &EnvId, file: Option<&Path>) -> Option<&'l EnvRow> {
    let file = file.map(|file| file.strip_prefix(".").unwrap_or(file));
    let mut rows = all.versions.iter().filter(|row| row.id.starts_with(id.as_str()));
    rows.find(|row| match file {
        Some(file) => Path::new(&row.file).ends_with(file),
        None => row.file == all.file,
    })
}

fn question(stack: &str, row: &EnvRow, reader: &Reader) -> String {
    let what = match (row.used_by.first(), &row.imported) {
        (Some(used), _) => format!(
            "of generation {}, {}, {}",
            used.generation,
            used.verdict,
            reader.ago(used.begun)
        ),
        (None, Some(imported)) => format!("imported from {}", imported.from),
        (None, None) => String::from("which no generation has"),
    };
    format!(
        "{stack}: put {} ({what}) into {}? It is tried as any other release; what is there now is kept.",
        row.id, row.file
    )
}

async fn ask(daemon: &Daemon, act: &str, stack: &StackName, body: &ActBody) -> Outcome {
    let answer = daemon.client.act(stack.as_str(), act, body).await;
    let answer = answer.map_err(|error| daemon.failure(error))?;
    output::print(&format!("{stack}: {}\n", printable(&answer.will)))?;
    Ok(0)
}

/// As the daemon finds it, which is somewhere else.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: std::io::Error| {
        let path = printable(&path.display().to_string());
        Failure::new(2, format!("{path}: {error}"))
    };
    let whole = std::path::absolute(path).map_err(failed)?;
    if whole.components().any(|part| part == Component::ParentDir) {
        return whole.canonicalize().map_err(failed);
    }
    Ok(whole)
}

/// The file that was named, as it is asked for.
fn text(of: &Of) -> Result<Option<&str>, Failure> {
    let Some(file) = &of.file else { return Ok(None) };
    let text = file.to_str();
    text.map(Some)
        .ok_or_else(|| Failure::new(2, "the path of the env file is not UTF-8 text"))
}

/// The versions of each file, the newest first.
fn list(all: &EnvList, reader: &Reader) -> String {
    if all.versions.is_empty() {
        return format!("{}: no version of an env file is known\n", all.stack);
    }
    let mut files: Vec<&str> = Vec::new();
    for row in &all.versions {
        if !files.contains(&row.file.as_str()) {
            files.push(&row.file);
        }
    }
    let mut text = String::new();
    for file in files {
        text.push_str(&format!("{}\n", printable(file)));
        let heading = ["ID", "LAST", "IS", "KNOWN FROM"];
        let mut rows: Vec<Vec<String>> = vec![heading.iter().map(ToString::to_string).collect()];
        let of = all.versions.iter().filter(|row| row.file == file);
        rows.extend(of.map(|row| cells(row, reader)));
        text.push_str(&if reader.width >= before_last(&rows, 2) + BESIDE {
            columns(&rows, 2, reader.width)
        } else {
            last_below(&rows, 2, reader.width)
        });
    }
    text
}

fn cells(row: &EnvRow, reader: &Reader) -> Vec<String> {
    let is = [
        (row.asked_for, "asked for"),
        (row.in_file, "in the file"),
        (row.pinned, "pinned"),
        (!row.kept, "not kept"),
    ];
    let is: Vec<&str> = is.iter().filter(|(is, _)| *is).map(|(_, words)| *words).collect();
    let mut known: Vec<String> = Vec::new();
    if row.last.is_none() {
        known.push(String::from("an edit that is not taken up yet"));
    }
    known.extend(row.used_by.iter().take(NAMED).map(|used| {
        let (generation, verdict) = (used.generation, &used.verdict);
        format!("gen {generation} {verdict} {}", reader.ago(used.begun))
    }));
    if row.used_by.len() > NAMED {
        known.push(format!("{} more", row.used_by.len() - NAMED));
    }
    let imported = row.imported.as_ref();
    known.extend(imported.map(|one| format!("imported from {} by {}", one.from, one.by)));
    known.extend(row.replaced.map(|at| format!("replaced {}", reader.ago(at))));
    let last = row.last.map(|last| reader.ago(last));
    vec![
        row.id.clone(),
        last.unwrap_or_else(|| String::from("now")),
        is.join(", "),
        known.join(", "),
    ]
}

/// As an env file: what is said of it is a comment.
fn show(shown: &EnvShown, reader: &Reader) -> String {
    let is = [
        (shown.asked_for, ", as it is asked for"),
        (shown.in_file, ", as it is in the file"),
    ];
    let is: String = is.iter().filter(|(is, _)| *is).map(|(_, words)| *words).collect();
    let head = format!("{}: {} of {}{is}", shown.stack, shown.id, shown.file);
    let mut text = hanging("# ", &head, 2, reader.width);
    for problem in &shown.problems {
        text.push_str(&hanging("# wrong: ", problem, 9, reader.width));
    }
    for key in &shown.keys {
        text.push_str(&line(key));
    }
    text
}

/// A name, and its value where there is one. What a terminal would take as a command is written out.
fn line(key: &EnvKey) -> String {
    let name = printable(&key.key);
    match &key.value {
        None => format!("{name}=…\n"),
        Some(value) if value.chars().any(char::is_control) => format!("{name}={value:?}\n"),
        Some(value) => format!("{name}={value}\n"),
    }
}

fn diff(diff: &EnvDiff, reader: &Reader) -> String {
    let to = match &diff.b {
        Some(b) if diff.b_in_file => format!("{b}, which is in the file"),
        Some(b) => b.clone(),
        None => String::from("nothing: there is no such file"),
    };
    let head = format!("{}: {}, from {} to {to}", diff.stack, diff.file, diff.a);
    let mut text = hanging("", &head, 2, reader.width);
    for (sign, names) in [("+", &diff.added), ("-", &diff.removed), ("~", &diff.changed)] {
        for name in names {
            text.push_str(&format!("  {sign} {}\n", printable(name)));
        }
    }
    let differs = diff.added.len() + diff.removed.len() + diff.changed.len();
    if diff.identical {
        text.push_str("  they are the same\n");
    } else if differs == 0 {
        let words = "no name and no value differs: comments, order or quotes do";
        text.push_str(&paragraph(2, words, reader.width));
    }
    for problem in &diff.problems {
        text.push_str(&hanging("  wrong: ", problem, 9, reader.width));
    }
    text
}

#[cfg(test)]
mod tests;
