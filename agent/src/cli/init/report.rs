//! What `init` says: what was found, what the first run would do, what is not known, and what to do next.

use std::path::PathBuf;

use serde::Serialize;

use super::super::output::{BOLD, GOOD, WARN, paint};
use super::super::reader::width;
use super::super::text::{hanging, labelled, paragraph};
use super::Found;
use super::write::Targets;
use crate::init::{Question, Stack};
use crate::preview::Contact;
use crate::view::FORMAT;

/// Answer to `init --json`.
#[derive(Serialize)]
pub(in crate::cli) struct Report {
    /// [`FORMAT`].
    pub(in crate::cli) format: u32,
    /// Whether the files are on the disk now.
    pub(in crate::cli) written: bool,
    /// The files.
    pub(in crate::cli) files: Vec<FileRow>,
    /// The stacks, by name.
    pub(in crate::cli) stacks: Vec<StackRow>,
    /// What could not be found out.
    pub(in crate::cli) questions: Vec<QuestionRow>,
}

#[derive(Serialize)]
pub(in crate::cli) struct FileRow {
    pub(in crate::cli) path: PathBuf,
    pub(in crate::cli) text: String,
}

#[derive(Serialize)]
pub(in crate::cli) struct StackRow {
    pub(in crate::cli) stack: String,
    pub(in crate::cli) directory: PathBuf,
    pub(in crate::cli) tag: String,
    pub(in crate::cli) services: usize,
    /// Whether the first run changes nothing.
    pub(in crate::cli) adopted: bool,
    /// What it would change, once somebody has agreed.
    pub(in crate::cli) changes: Vec<String>,
}

#[derive(Serialize)]
pub(in crate::cli) struct QuestionRow {
    pub(in crate::cli) stack: Option<String>,
    pub(in crate::cli) what: String,
    pub(in crate::cli) way_out: String,
}

impl Report {
    pub(super) fn of(found: &Found, written: bool) -> Self {
        let row = |stack: &Stack| StackRow {
            stack: stack.name.to_string(),
            directory: stack.directory.clone(),
            tag: stack.tags.tag.to_string(),
            services: stack.services,
            adopted: contact(found, stack).is_some_and(adopts),
            changes: contact(found, stack).map(changes).unwrap_or_default(),
        };
        Self {
            format: FORMAT,
            written,
            files: found
                .files
                .iter()
                .map(|(path, text)| FileRow {
                    path: path.clone(),
                    text: text.clone(),
                })
                .collect(),
            stacks: found.stacks.iter().map(row).collect(),
            questions: found.questions.iter().map(QuestionRow::of).collect(),
        }
    }
}

impl QuestionRow {
    fn of(question: &Question) -> Self {
        Self {
            stack: question.stack.as_ref().map(ToString::to_string),
            what: question.what.clone(),
            way_out: question.way_out.clone(),
        }
    }
}

fn contact<'f>(found: &'f Found, stack: &Stack) -> Option<&'f Contact> {
    found
        .contacts
        .iter()
        .find(|contact| contact.plan.stack == stack.name.as_str())
}

/// Whether the first run would leave everything as it is.
fn adopts(contact: &Contact) -> bool {
    let plan = &contact.plan;
    let is_well = plan.problems.iter().all(|problem| problem.gravity != "error");
    // What the images say of their migrations is read in containers of our own, beside what runs.
    let touches = plan.kind.as_deref().is_some_and(|kind| kind != "fetch");
    is_well && !touches && plan.approval.is_none() && plan.changes.is_empty()
}

/// What the first run would do to what runs.
fn changes(contact: &Contact) -> Vec<String> {
    let plan = &contact.plan;
    let changes = plan.changes.iter().map(|change| {
        let why = if change.why.is_empty() {
            &change.detail
        } else {
            &change.why
        };
        format!("{} {}: {}", change.what, change.name, why.join("; "))
    });
    let asked = plan
        .approval
        .iter()
        .flat_map(|approval| approval.detail.iter().cloned());
    let changes: Vec<String> = changes.collect();
    if changes.is_empty() {
        asked.collect()
    } else {
        changes
    }
}

/// What is not known, or not right, when the first run is looked at.
pub(super) fn of_contact(contact: &Contact) -> Vec<Question> {
    let Ok(name) = contact.plan.stack.parse() else {
        return Vec::new();
    };
    let mut questions = Vec::new();
    for problem in contact.plan.problems.iter().filter(|p| p.gravity == "error") {
        let hint = problem
            .hint
            .clone()
            .unwrap_or_else(|| String::from("mend it, then `steadfast check`"));
        questions.push(Question::of(
            &name,
            format!("{}: {}", problem.file, problem.message),
            hint,
        ));
    }
    for change in changes(contact) {
        let way_out = "make the files say what runs, or approve it: nothing is changed before that";
        questions.push(Question::of(
            &name,
            format!("differs from what runs: {change}"),
            way_out,
        ));
    }
    for wait in &contact.plan.waits {
        questions.push(Question::of(
            &name,
            format!("the first run would wait for {wait}"),
            "`steadfast plan` says it again",
        ));
    }
    if let Some(why) = &contact.schema {
        let what = format!("the database could not be asked where its schema stands: {why}");
        questions.push(Question::of(
            &name,
            what,
            "see that its container runs, and that user, password and name are right",
        ));
    }
    questions
}

/// A question in one line.
pub(super) fn line(question: &Question) -> String {
    let stack = question
        .stack
        .as_ref()
        .map(|stack| format!("{stack}: "))
        .unwrap_or_default();
    format!("{stack}{} ({})", question.what, question.way_out)
}

/// All of it, for a person.
pub(super) fn text(
    found: &Found,
    kept: &[(PathBuf, PathBuf)],
    targets: &Targets,
    only_shown: bool,
) -> String {
    let width = width();
    let mut text = String::new();
    for stack in &found.stacks {
        text.push_str(&of_stack(found, stack, width));
        text.push('\n');
    }
    if !found.questions.is_empty() {
        text.push_str(&format!("{}\n", paint(BOLD, "Not known, or not certain:")));
        for question in &found.questions {
            let stack = question
                .stack
                .as_ref()
                .map(|stack| format!("{stack}: "))
                .unwrap_or_default();
            text.push_str(&hanging("  * ", &format!("{stack}{}", question.what), 4, width));
            text.push_str(&hanging("    -> ", &question.way_out, 7, width));
        }
        text.push('\n');
    }
    if only_shown {
        text.push_str("Nothing was written.\n");
        return text;
    }
    for (path, _) in &found.files {
        text.push_str(&labelled("written", &path.display().to_string(), usize::MAX));
    }
    for (path, old) in kept {
        text.push_str(&labelled(
            "kept",
            &format!("{} as {}", path.display(), old.display()),
            usize::MAX,
        ));
    }
    text.push('\n');
    text.push_str(&next(targets, width));
    text
}

fn of_stack(found: &Found, stack: &Stack, width: usize) -> String {
    let services = match stack.services {
        1 => String::from("1 service"),
        n => format!("{n} services"),
    };
    let head = format!("{} ", paint(BOLD, &format!("{}:", stack.name)));
    let mut text = hanging(
        &head,
        &format!("{services} in {}", stack.directory.display()),
        2,
        width,
    );
    text.push_str(&labelled("tag", stack.tags.tag.as_str(), width));
    text.push_str(&labelled("probes", &stack.probe_words(), width));
    if let Some(words) = stack.database_words() {
        text.push_str(&labelled("database", &words, width));
    }
    if !stack.track.is_empty() {
        let names = stack.track.iter().map(|file| {
            let below = file.path.strip_prefix(&stack.directory).unwrap_or(&file.path);
            below.display().to_string()
        });
        text.push_str(&labelled("track", &names.collect::<Vec<_>>().join(", "), width));
    }
    let first = match contact(found, stack) {
        Some(contact) if adopts(contact) => paint(GOOD, "changes nothing: what runs is adopted as it is"),
        Some(_) => paint(WARN, "would ask before it changes anything: see below"),
        None => paint(WARN, "not known: see below"),
    };
    text.push_str(&format!("  {:<10} {first}\n", "first run"));
    text
}

fn next(targets: &Targets, width: usize) -> String {
    let config = targets.settings.display();
    let option = if targets.in_place() {
        String::new()
    } else {
        format!(" --config {config}")
    };
    let mut text = format!("Next:\n  steadfast check{option}\n  steadfast plan{option}\n");
    if targets.in_place() {
        text.push_str("  systemctl daemon-reload && systemctl enable --now steadfast\n");
    } else {
        let words = format!(
            "{} is the drop-in of the unit: under systemd it belongs below /etc/systemd/system, or the daemon cannot put files back.",
            targets.drop_in.display()
        );
        text.push_str(&format!("\n{}", paragraph(0, &words, width)));
    }
    text
}
