//! The status as text: is it fine, what runs, what was asked for, why they differ, what comes next
//! and when, can it be rolled back. The same facts as `--json`.

use super::super::backup::bytes;
use super::super::output::{DIM, paint};
use super::super::problems::problems;
use super::super::reader::Reader;
use super::super::text::{columns, labelled, paragraph, tail};
use super::back::{destroys, rollback};
use super::headline::headline;
use super::next::{commands, next};
use crate::view::{Asked, Failing, Running, Service, Status, TakenBackRow};

/// Where the text of a line begins.
const INDENT: usize = 13;
/// Commands are shown in a column of at least this width, so that it stays where it is.
const COMMAND: usize = 34;
/// In the place of a time that nobody knows.
const MET: &str = "–";
/// No column of the table of services is narrower.
const NARROW: usize = 8;

/// Every stack in a line, and what needs somebody below.
pub(in crate::cli) fn overview(stacks: &[Status], reader: &Reader) -> String {
    let mut text = String::new();
    for status in stacks {
        text.push_str(&headline(status, reader));
        text.push_str(&problems(&status.problems, reader.width));
    }
    let more = paragraph(0, "`steadfast status STACK` says more", reader.width);
    text.push_str(&format!("\n{}\n", paint(DIM, more.trim_end())));
    text
}

/// One stack, in full.
pub(in crate::cli) fn full(status: &Status, reader: &Reader) -> String {
    let mut text = headline(status, reader);
    text.push_str(&problems(&status.problems, reader.width));
    let parts = [runs_and_asked, why, ahead, database];
    for (label, words) in parts.iter().flat_map(|part| part(status, reader)) {
        text.push_str(&labelled(&label, &words, reader.width));
    }
    text.push_str(&what_can_be_done(&commands(status), reader.width));
    text.push_str(&services(status, reader));
    text.push_str(&format!("\n{}\n", paint(DIM, facts(status, reader).trim_end())));
    text
}

/// A line: its label, which only the first of several has, and its words.
pub(in crate::cli) type Row = (String, String);

/// The label for the first of them.
fn under(label: &str, lines: Vec<String>) -> impl Iterator<Item = Row> {
    let labels = std::iter::once(label.to_owned()).chain(std::iter::repeat(String::new()));
    labels.zip(lines)
}

/// What runs, and what should.
pub(in crate::cli) fn runs_and_asked(status: &Status, reader: &Reader) -> Vec<Row> {
    let runs = status.runs.as_ref().map(|runs| runs_words(runs, reader));
    let asked = status.asked.as_ref().map_or_else(
        || "nothing yet".to_owned(),
        |asked| asked_words(asked, status, reader),
    );
    let runs = runs.map(|runs| ("runs".to_owned(), runs));
    runs.into_iter()
        .chain([("asked for".to_owned(), asked)])
        .collect()
}

/// What comes next, and whether there is a way back.
pub(in crate::cli) fn ahead(status: &Status, reader: &Reader) -> Vec<Row> {
    let mut back = vec![rollback(status)];
    back.extend(destroys(status));
    under("next", next(status, reader))
        .chain(under("rollback", back))
        .collect()
}

fn database(status: &Status, reader: &Reader) -> Vec<Row> {
    under("database", kept(status, reader)).collect()
}

/// A command to a line with what it does; below it where there is no room beside.
fn what_can_be_done(commands: &[(String, String)], width: usize) -> String {
    let longest = |of: fn(&(String, String)) -> &str| {
        let lengths = commands.iter().map(|command| of(command).chars().count());
        lengths.max().unwrap_or(0)
    };
    let column = longest(|c| &c.0).max(COMMAND) + 2;
    let beside = INDENT + column + longest(|c| &c.1) <= width;
    let mut text = String::new();
    for (i, (command, what)) in commands.iter().enumerate() {
        let label = if i == 0 { "you can" } else { "" };
        if beside {
            text.push_str(&format!("  {label:<11}{command:<column$}{what}\n"));
        } else {
            // Never broken: it is there to be copied.
            text.push_str(&format!("  {label:<11}{command}\n"));
            text.push_str(&paragraph(INDENT + 2, what, width));
        }
    }
    text
}

pub(super) fn runs_words(runs: &Running, reader: &Reader) -> String {
    let mut text = match (&runs.tag, &runs.commit) {
        (Some(tag), Some(commit)) => format!("{tag} ({commit}, generation {})", runs.generation),
        (Some(tag), None) => format!("{tag} (generation {})", runs.generation),
        (None, _) => format!("generation {}", runs.generation),
    };
    match runs.verdict.as_str() {
        "trial" => text.push_str(&format!(", on trial since {}", reader.ago(runs.since))),
        verdict => text.push_str(&format!(", {verdict} since {}", reader.ago(runs.since))),
    }
    if runs.adopted {
        text.push_str(", found running");
    }
    if let Some(restored) = runs.restored {
        text.push_str(&format!(
            ", restored {} ({})",
            reader.ago(restored),
            reader.at(restored)
        ));
    }
    text
}

pub(super) fn asked_words(asked: &Asked, status: &Status, reader: &Reader) -> String {
    let mut text = asked.tag.clone();
    if let Some(commit) = &asked.commit {
        text.push_str(&format!(" ({commit})"));
    }
    for (service, tag) in &asked.services {
        text.push_str(&format!(", {service} {tag}"));
    }
    if asked.migration != "release" {
        text.push_str(&format!(", migration {}", asked.migration));
    }
    if asked.env != "current" {
        text.push_str(&format!(", env {}", asked.env));
    }
    text.push_str(&format!(", {}", reader.ago(asked.accepted)));
    if asked.retries > 0 {
        text.push_str(&format!(", retried {}x", asked.retries));
    }
    if status.as_asked && status.drift.is_empty() && status.operation.is_none() && status.engine.reachable {
        text.push_str("; that is what runs");
    }
    text
}

/// Why what runs is not what was asked for, or not well.
pub(in crate::cli) fn why(status: &Status, reader: &Reader) -> Vec<Row> {
    let mut lines = Vec::new();
    let mut push = |label: &str, text: String| lines.push((label.to_owned(), text));
    if let Some(gap) = &status.gap {
        let tag = match (&gap.tag, &gap.commit) {
            (Some(tag), Some(commit)) => format!(" ({tag}, {commit})"),
            (Some(tag), None) => format!(" ({tag})"),
            (None, _) => String::new(),
        };
        push(
            "because",
            format!("generation {}{tag}: {}", gap.generation, gap.why),
        );
        let blame = gap.blame.as_ref().map(|blame| format!("; blamed: {blame}"));
        push(
            "",
            format!(
                "in quarantine since {} ({}), by {}{}",
                reader.at(gap.since),
                reader.ago(gap.since),
                gap.by,
                blame.unwrap_or_default()
            ),
        );
    }
    if let Some(operation) = &status.operation {
        push(
            "because",
            format!(
                "{} (operation {}, by {})",
                operation.why, operation.id, operation.by
            ),
        );
        if let Some(undoing) = &operation.undoing {
            push("failed", undoing.clone());
        }
    }
    for failing in failing_probes(status.failing.as_ref()) {
        push("failing", failing);
    }
    for probe in silent_probes(status) {
        push("probe", probe);
    }
    if status.operation.is_none() {
        for drift in &status.drift {
            let service = drift
                .service
                .as_ref()
                .map(|s| format!("{s}: "))
                .unwrap_or_default();
            push("differs", format!("{service}{}", drift.what));
        }
    }
    if let Some(why) = &status.engine.why_not {
        push("engine", why.clone());
    }
    let mut last = String::new();
    for line in &mut lines {
        if line.0 == last {
            line.0.clear();
        } else {
            last.clone_from(&line.0);
        }
    }
    lines
}

fn failing_probes(failing: Option<&Failing>) -> Vec<String> {
    let probes = failing.map(|f| f.probes.as_slice()).unwrap_or_default();
    let severity = failing.map_or("", |f| f.severity.as_str());
    probes
        .iter()
        .map(|p| format!("{} ({severity}, probe {}): {}", p.service, p.probe, p.why))
        .collect()
}

/// Probes that do not pass, and are not told of as failing.
fn silent_probes(status: &Status) -> Vec<String> {
    let told = status.failing.iter().flat_map(|failing| &failing.probes);
    let told: Vec<&str> = told.map(|probe| probe.probe.as_str()).collect();
    let probes = status
        .probes
        .iter()
        .filter(|p| p.last.is_some() && !told.contains(&p.probe.as_str()));
    probes
        .map(|probe| {
            let advisory = if probe.required { "" } else { ", advisory" };
            let last = probe.last.as_deref().unwrap_or_default();
            format!(
                "{} ({}{advisory}, {}): {last}",
                probe.probe, probe.service, probe.phase
            )
        })
        .collect()
}

/// What somebody has to know of its backups, and what takes room beside it.
pub(super) fn kept(status: &Status, reader: &Reader) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(backups) = &status.backups {
        let problem = backups.problem.as_ref();
        lines.extend(problem.map(|why| format!("the last backup that was due failed: {why}")));
        lines.extend(
            backups
                .next
                .map(|at| format!("the next backup is due at {}", reader.at(at))),
        );
    }
    lines.extend(status.taken_back.iter().filter_map(taken_back));
    lines.extend(status.beside.iter().map(|beside| {
        let what = match beside.kind.as_str() {
            "aside" => "what had its name before",
            "copy" => "a copy, which goes when there is a proven backup of it",
            "restored" | "scratch" => "what something is restored into",
            _ => "half-made",
        };
        format!("beside it lies {}, {}: {what}", beside.name, bytes(beside.bytes))
    }));
    lines
}

/// What became of what a rollback has taken out, as long as somebody has to know.
fn taken_back(taken: &TakenBackRow) -> Option<String> {
    let what = format!(
        "operation {} took {} back",
        taken.operation,
        taken.revisions.join(", ")
    );
    let left = taken.skipped + taken.conflicting;
    match taken.state.as_str() {
        "in_copy" => Some(format!("{what}; what was in there is kept from its copy next")),
        "kept" => Some(format!(
            "{what}; {} rows are kept, and put back when that is there again",
            taken.rows
        )),
        "put_back" if left > 0 => Some(format!(
            "{what}; {} rows are put back, {} are skipped, and {} in conflict with what stands there",
            taken.restored, taken.skipped, taken.conflicting
        )),
        _ => None,
    }
}

fn services(status: &Status, reader: &Reader) -> String {
    if status.services.is_empty() {
        return String::new();
    }
    let heading = ["SERVICE", "IMAGE", "STATE", "SINCE"].map(str::to_owned);
    let mut rows: Vec<[String; 4]> = vec![heading];
    rows.extend(status.services.iter().map(|service| {
        [
            service.service.clone(),
            service.reference.clone(),
            service.state.clone(),
            since(service, reader),
        ]
    }));
    let widest = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    // Names give way: a state that is cut off tells nothing.
    let room = reader.width.saturating_sub(2 + 6 + widest(2) + widest(3));
    let image = widest(1).min(room.saturating_sub(widest(0)).max(room / 2).max(NARROW));
    let service = room.saturating_sub(image).max(NARROW);
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|[name, reference, state, since]| {
            vec![tail(&name, service), tail(&reference, image), state, since]
        })
        .collect();
    let met = rows
        .iter()
        .any(|row| row.last().is_some_and(|since| since == MET));
    let why = format!("{MET}  it ran before the daemon began to look");
    let why = met.then(|| paint(DIM, &paragraph(2, &why, reader.width)));
    format!("\n{}{}", columns(&rows, 2, reader.width), why.unwrap_or_default())
}

/// Since when it runs, where that was seen: of what ran before, the daemon has been told by nobody.
fn since(service: &Service, reader: &Reader) -> String {
    match service.since {
        Some(at) => reader.ago(at),
        None if service.state.starts_with("running") => MET.into(),
        None => String::new(),
    }
}

/// The last line: what else is known.
fn facts(status: &Status, reader: &Reader) -> String {
    paragraph(2, &known(status, reader).join(" · "), reader.width)
}

/// What else is known, a few words each.
pub(super) fn known(status: &Status, reader: &Reader) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(schema) = &status.schema {
        parts.push(match (&schema.unknown, &schema.heads[..]) {
            (Some(why), _) => format!("schema unknown: {why}"),
            (None, []) => "schema never migrated".into(),
            (None, heads @ [.., last]) if heads.len() > 3 => {
                format!("schema {last} and {} more", heads.len() - 1)
            }
            (None, heads) => format!("schema {}", heads.join(", ")),
        });
    }
    if let Some(id) = status.asked.as_ref().and_then(|asked| asked.env_id.as_ref()) {
        parts.push(format!("env {id}"));
    }
    if let Some(version) = &status.engine.version {
        parts.push(format!("engine {version}"));
    }
    parts.push(seen(status, reader));
    parts
}

/// How old what is said of the containers is. Before the operation that is under way they were others.
pub(in crate::cli) fn seen(status: &Status, reader: &Reader) -> String {
    match (status.seen, &status.operation) {
        (None, _) => "containers not seen yet".into(),
        (Some(at), Some(operation)) if at <= operation.begun => {
            format!(
                "containers seen {}, before the {}",
                reader.ago(at),
                operation.kind
            )
        }
        (Some(at), _) => format!("seen {}", reader.ago(at)),
    }
}
