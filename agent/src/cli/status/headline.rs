//! The first line of a status: how a stack is, in a word, and what that means.

use anstyle::Style;
use state::release::Author;

use super::super::output::{self, BOLD, paint};
use super::super::reader::{Reader, span};
use super::super::text::hanging;
use crate::view::{OperationNow, Running, State, Status, Trial};

/// Where further lines begin.
const INDENT: usize = 13;
/// Beside the name of the stack there is room for this many columns.
const ROOM: usize = 40;

/// How much somebody has to mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Not at all.
    Good,
    /// It is being seen to.
    Busy,
    /// They should know.
    Warn,
    /// They should look.
    Bad,
}

impl Tone {
    /// Its colour on a terminal.
    pub(in crate::cli) const fn style(self) -> Style {
        match self {
            Self::Good => output::GOOD,
            Self::Busy => output::BUSY,
            Self::Warn => output::WARN,
            Self::Bad => output::BAD,
        }
    }
}

/// `shop  steady: v1.5.0 runs, as asked for`.
pub(in crate::cli) fn headline(status: &Status, reader: &Reader) -> String {
    let (tone, words) = words(status, reader);
    let (word, rest) = split(&words);
    let colon = if rest.is_empty() { "" } else { ":" };
    let (stack, word) = (paint(BOLD, &status.stack), paint(tone.style(), word));
    // Beside a long name there would be a column of single words.
    let is_long = status.stack.chars().count() + words.len().min(ROOM) > reader.width;
    let head = if is_long {
        String::from("  ")
    } else {
        format!("{stack}  ")
    };
    let text = hanging(&format!("{head}{word}{colon} "), rest, INDENT, reader.width);
    if is_long { format!("{stack}\n{text}") } else { text }
}

/// The word, and what it means.
pub(super) fn split(words: &str) -> (&str, &str) {
    words.split_once(": ").unwrap_or((words, ""))
}

/// How much somebody has to mind, the word for how it is, and what that means.
pub(in crate::cli) fn words(status: &Status, reader: &Reader) -> (Tone, String) {
    let runs = status
        .runs
        .as_ref()
        .map_or_else(|| "nothing".to_owned(), name_of_running);
    let asked = status.asked.as_ref().map_or("nothing", |asked| &asked.tag);
    match status.state {
        State::Steady => (Tone::Good, format!("steady: {runs} runs, as asked for")),
        State::Pending => (Tone::Busy, format!("pending: {}", pending(status, asked))),
        State::Fetching => (
            Tone::Busy,
            format!("fetching: the images of {asked}{}", progress(status)),
        ),
        State::Deploying => (
            Tone::Busy,
            format!("deploying: {}{}", operation_name(status, asked), progress(status)),
        ),
        State::Healing => (
            Tone::Busy,
            format!("healing: {}{}", operation_name(status, &runs), progress(status)),
        ),
        State::RollingBack => {
            let to = operation_name(status, &runs);
            (Tone::Warn, format!("rolling back: to {to}{}", progress(status)))
        }
        State::Restoring => (
            Tone::Warn,
            format!(
                "restoring: a backup takes the database's place{}",
                progress(status)
            ),
        ),
        State::Trial => (Tone::Busy, format!("on trial: {runs} {}", trial(status))),
        State::Failing => (Tone::Bad, format!("failing: {runs} {}", failing_words(status))),
        State::RolledBack if super::gap_code(status) == 6 => (
            Tone::Warn,
            format!("rolled back: {}", rolled_back(status, &runs, asked)),
        ),
        State::RolledBack => (
            Tone::Warn,
            format!("not deployed: {asked} {}, {runs} runs on", not_deployed(status)),
        ),
        State::Held => (
            Tone::Bad,
            match &status.hold {
                Some(hold) => format!("held: {}", hold.why),
                None => "held".into(),
            },
        ),
        State::AwaitingApproval => {
            let question = status.approval.as_ref().map_or("", |a| &a.question);
            (Tone::Warn, format!("waits for your approval: {question}"))
        }
        State::Paused => (
            Tone::Warn,
            match &status.pause {
                Some(pause) => format!(
                    "paused: until {}, by {}: {}",
                    reader.at(pause.until),
                    pause.by,
                    pause.why
                ),
                None => "paused".into(),
            },
        ),
        State::Unknown => (Tone::Bad, "unknown: the engine cannot be reached".into()),
    }
}

/// What runs and what was asked for may bear the same tag, and differ in their files.
fn rolled_back(status: &Status, runs: &str, asked: &str) -> String {
    match (&status.runs, &status.gap) {
        (Some(now), Some(gap)) if runs == asked => format!(
            "generation {} of {runs} runs, {} was asked for",
            now.generation, gap.generation
        ),
        _ => format!("{runs} runs, {asked} was asked for"),
    }
}

/// What a person has called away has not failed.
fn not_deployed(status: &Status) -> String {
    let by = status.gap.as_ref().map(|gap| gap.by.as_str());
    match by.filter(|by| *by != Author::Agent.to_string()) {
        Some(by) => format!("was taken back by {by} on its way"),
        None => "could not be brought up".into(),
    }
}

fn pending(status: &Status, asked: &str) -> String {
    match (status.waits.first(), &status.next, &status.asked) {
        (Some(wait), _, _) => format!("waits for {wait}"),
        (None, Some(next), _) => format!("{} comes next", next.kind),
        (None, None, Some(_)) if !status.as_asked => format!("{asked} was asked for, and is not applied yet"),
        (None, None, Some(_)) => "what runs differs from what was asked for".into(),
        (None, None, None) => "nothing was asked for yet".into(),
    }
}

fn operation_name(status: &Status, otherwise: &str) -> String {
    let tag = status.operation.as_ref().and_then(|o| o.tag.as_deref());
    tag.unwrap_or(otherwise).to_owned()
}

fn progress(status: &Status) -> String {
    match &status.operation {
        Some(OperationNow { undoing: Some(_), .. }) => ", taking it back".into(),
        Some(operation) => format!(", step {} of {}", operation.step, operation.steps),
        None => String::new(),
    }
}

fn trial(status: &Status) -> String {
    match &status.trial {
        Some(Trial {
            failing_seconds: Some(failing),
            window_seconds,
            ..
        }) => format!("has failed for {} of {}", span(*failing), span(*window_seconds)),
        Some(trial) => {
            let (healthy, needed) = (span(trial.healthy_seconds), span(trial.needed_seconds));
            format!("has been healthy for {healthy} of {needed}")
        }
        None => "is being brought up".into(),
    }
}

fn failing_words(status: &Status) -> String {
    let Some(failing) = &status.failing else {
        return "fails".into();
    };
    let since = span(failing.seconds);
    match failing.left_seconds {
        Some(left) if status.rollback.to.is_none() => {
            format!("has failed for {since}, {} left until it is held", span(left))
        }
        Some(left) => format!("has failed for {since}, {} left to a rollback", span(left)),
        None => format!("has failed for {since}"),
    }
}

fn name_of_running(runs: &Running) -> String {
    runs.tag
        .clone()
        .unwrap_or_else(|| format!("generation {}", runs.generation))
}
