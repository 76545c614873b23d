//! What is done, step by step; else what was done last.

use std::cmp::Ordering;

use ratatui::text::{Line, Span};

use super::super::super::output::{BAD, BUSY, DIM, GOOD, WARN};
use super::super::super::reader::{Reader, span, took};
use super::super::super::text::hanging;
use super::super::screen::Screen;
use super::{INDENT, Lines, cut, painted, plain, style};
use crate::view::{OperationRow, Status, StepRow};

/// The operation that is under way, its steps, and which of the lines has to be seen; else the last one, in short.
pub(in crate::cli::watch) fn operation(
    screen: &Screen,
    status: &Status,
    reader: &Reader,
) -> (String, Lines, usize) {
    let rows = screen
        .history()
        .map(|history| history.operations.as_slice())
        .unwrap_or_default();
    let Some(open) = &status.operation else {
        let last = rows.iter().find(|row| row.ending != "open");
        let lines = last.map(|row| ended(row, reader)).unwrap_or_default();
        return ("last operation".to_owned(), lines, 0);
    };
    let begun = reader.ago(open.begun);
    let title = format!("{} {}, begun {begun}, by {}", open.kind, open.id, open.by);
    let Some(row) = rows.iter().find(|row| row.id == open.id) else {
        let doing = open.doing.clone().unwrap_or_default();
        return (
            title,
            plain(&hanging("  > now  ", &doing, INDENT, reader.width)),
            0,
        );
    };
    let now = open.step.saturating_sub(1);
    let line = |(index, step): (usize, &StepRow)| {
        let place = match index.cmp(&now) {
            Ordering::Equal if open.undoing.is_some() => Place::Undoing,
            Ordering::Equal => Place::Now,
            _ if index == now + 1 && open.undoing.is_none() => Place::Next,
            _ => Place::Else,
        };
        step_line(step, place, reader)
    };
    (title, row.steps.iter().enumerate().map(line).collect(), now)
}

/// Where a step is, seen from the one that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Now,
    Undoing,
    Next,
    Else,
}

fn step_line(step: &StepRow, place: Place, reader: &Reader) -> Line<'static> {
    let (mark, word, of) = match (place, step.outcome.as_str()) {
        (Place::Undoing, _) => (">", "taking back", WARN),
        (_, "done") => ("✓", "done", GOOD),
        (_, "failed") => ("✗", "failed", BAD),
        (_, "taken back") => ("<", "taken back", WARN),
        (_, "not taken back") => ("✗", "not taken back", BAD),
        (Place::Now, _) => (">", "now", BUSY),
        (Place::Next, _) => ("·", "next", DIM),
        _ => ("·", "", DIM),
    };
    let time = match (place, step.begun, step.milliseconds) {
        (Place::Undoing, ..) => String::new(),
        (_, _, Some(milliseconds)) => took(milliseconds),
        (Place::Now, Some(begun), None) => span(reader.seconds_since(begun)),
        _ => String::new(),
    };
    let head = format!("  {mark} {word:<11} {time:>7}  ");
    let room = reader.width.saturating_sub(head.chars().count());
    Line::from(vec![painted(head, of), Span::raw(cut(&step.what, room))])
}

fn ended(row: &OperationRow, reader: &Reader) -> Lines {
    let (mark, of) = if row.ending == "succeeded" {
        ("✓", GOOD)
    } else {
        ("✗", BAD)
    };
    let to = row
        .generation
        .map(|to| format!(" to generation {to}"))
        .unwrap_or_default();
    let when = row
        .ended
        .map(|at| format!(" {}", reader.ago(at)))
        .unwrap_or_default();
    let long = row
        .milliseconds
        .map(|ms| format!(", in {}", took(ms)))
        .unwrap_or_default();
    let why = row
        .failure
        .as_ref()
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    let text = format!("{} {}{to} {}{when}{long}{why}", row.kind, row.id, row.ending);
    let mut lines = plain(&hanging(&format!("  {mark} "), &text, 4, reader.width));
    for line in &mut lines {
        *line = std::mem::take(line).patch_style(style(of));
    }
    lines
}
