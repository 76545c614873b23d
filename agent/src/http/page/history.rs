//! The past of a stack: its generations with their verdicts, and its operations with their steps.

use maud::{Markup, html};

use super::Past;
use super::frame::Frame;
use super::mark::Mark;
use crate::cli::{Reader, took};
use crate::view::{GenerationRow, OperationRow, StepRow};

/// So many generations are shown; the command line has the others.
const GENERATIONS: usize = 12;

/// The newest first, along a line.
pub(super) fn generations(rows: &[GenerationRow], reader: &Reader) -> Markup {
    if rows.is_empty() {
        return html! { p class="note" { "there is none yet" } };
    }
    html! {
        ol class="line" {
            @for row in rows.iter().take(GENERATIONS) { (generation(row, reader)) }
        }
        @if rows.len() > GENERATIONS {
            p class="note" { (rows.len() - GENERATIONS) " older ones: " code { "steadfast history" } }
        }
    }
}

fn generation(row: &GenerationRow, reader: &Reader) -> Markup {
    let mark = Mark::of_verdict(&row.verdict);
    let name = row.tag.as_deref().unwrap_or("found running");
    html! {
        li {
            (mark.glyph())
            div class="row" {
                b { (name) }
                span class="note" { "generation " (row.generation) }
                span class={ "mark " (mark.class()) } { (row.verdict) }
                @if row.current { span class="tag" { "runs" } }
                @if row.quarantined { span class="tag bad mark" { "in quarantine" } }
            }
            p class="note" {
                (Frame::time(reader, row.begun)) " · " (reader.ago(row.begun))
                @if let Some(commit) = &row.commit { " · commit " span class="code" { (commit) } }
                @for (service, tag) in &row.pins { " · " (service) " " (tag) }
            }
            @if !row.why.is_empty() { p class="note" { (row.why) } }
        }
    }
}

/// What has ended, the newest first; each opens to its steps.
pub(super) fn operations(past: &Past, reader: &Reader) -> Markup {
    match past {
        Err(why) => html! { p class="wrong" { "the history cannot be read: " (why) } },
        Ok(rows) if rows.is_empty() => html! { p class="note" { "nothing yet" } },
        Ok(rows) => html! { @for row in rows { (operation(row, reader)) } },
    }
}

fn operation(row: &OperationRow, reader: &Reader) -> Markup {
    let mark = Mark::of_ending(&row.ending);
    html! {
        details id={ "operation-" (row.id) } {
            summary id={ "summary-" (row.id) } {
                span class="row" {
                    b { (row.kind) }
                    (mark.word(&row.ending))
                    @if let Some(number) = row.generation { span class="note" { "generation " (number) } }
                    span class="note right" {
                        (Frame::time(reader, row.begun))
                        @if let Some(milliseconds) = row.milliseconds { " · took " (took(milliseconds)) }
                    }
                }
            }
            p class="note" { "Operation " (row.id) ", by " (row.by) ": " (row.why) }
            @if let Some(failure) = &row.failure { p class="wrong bad" { "failed: " (failure) } }
            (steps(row, reader))
        }
    }
}

/// The steps of an operation, each with what became of it.
pub(super) fn steps(row: &OperationRow, reader: &Reader) -> Markup {
    html! { ol class="steps" { @for step in &row.steps { (self::step(step, reader)) } } }
}

fn step(step: &StepRow, reader: &Reader) -> Markup {
    let mark = Mark::of_step(&step.outcome);
    let is_now = step.outcome == "started";
    let time = match (step.milliseconds, step.begun) {
        (Some(milliseconds), _) => format!(", {}", took(milliseconds)),
        (None, Some(begun)) if is_now => format!(" {}", reader.ago(begun)),
        _ => String::new(),
    };
    html! {
        li class=(if is_now { "now" } else { "" }) aria-current=[is_now.then_some("step")] {
            (mark.glyph())
            span { (step.what) }
            span class={ "mark " (mark.class()) } { (step.outcome) (time) }
            @if let Some(milliseconds) = step.undo_milliseconds { p class="note" { "taking it back took " (took(milliseconds)) } }
            @if let Some(told) = &step.told { p class="note" { (told) } }
        }
    }
}
