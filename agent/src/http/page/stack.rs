//! One stack in full: how it is and what can be done, its operation step by step, its health, its containers, its past.

use maud::{Markup, html};

use super::frame::Frame;
use super::history::{generations, operations, steps};
use super::mark::Mark;
use super::overview;
use super::plot::{latency, plot};
use super::{Past, Seen};
use crate::cli::{Reader, Told, span};
use crate::view::{History, OperationNow, Probe, Service, Status};

/// The page. `history` has the generations and the open operation, `past` what has ended.
pub(in crate::http) fn stack(seen: &Seen, history: &History, past: &Past, frame: &Frame) -> String {
    let (status, told, reader) = (&seen.status, &seen.told, &frame.reader);
    let mark = overview::mark(seen);
    let open = history.operations.iter().find(|row| row.ending == "open");
    let main = html! {
        main class="frame" {
            (hero(status, told, mark))
            @if let (Some(now), Some(row)) = (&status.operation, open) {
                section aria-labelledby="operation" {
                    h2 id="operation" { (title(now)) }
                    div class="card" { (steps(row, reader)) }
                }
            }
            div class="beside halves" {
                section aria-labelledby="health" {
                    h2 id="health" { "Health" }
                    div class="card" {
                        @for probe in &status.probes { (self::probe(probe, seen, reader)) }
                        @if status.probes.is_empty() { p class="note" { "there is no probe" } }
                    }
                }
                section aria-labelledby="generations" {
                    h2 id="generations" { "Generations" }
                    div class="card" { (generations(&history.generations, reader)) }
                }
            }
            @if !status.services.is_empty() {
                section aria-labelledby="containers" {
                    h2 id="containers" { "Containers" }
                    ul class="card things" { @for service in &status.services { (container(service, reader)) } }
                }
            }
            section aria-labelledby="operations" {
                h2 id="operations" { "What was done" }
                div class="card" { (operations(past, reader)) }
            }
            (frame.foot(&told.known))
        }
    };
    let title = format!("{}: {}", status.stack, told.word);
    frame.page(&title, mark, Some(&status.stack), &main)
}

/// The page of a stack that is not there; `names` are those that are.
pub(in crate::http) fn no_such(names: &[String], frame: &Frame) -> String {
    let main = html! {
        main class="frame" {
            div class="lead" {
                h1 { "There is no such stack" }
                p {
                    @if names.is_empty() { "None is configured." } @else { "These are there:" }
                }
            }
            @if !names.is_empty() {
                ul class="card" { @for name in names { li { a href={ "/stacks/" (name) } { (name) } } } }
            }
            p { a id="back" href="/" { "All of this host" } }
            (frame.foot(&[]))
        }
    };
    frame.page("no such stack", Mark::Quiet, Some("no such stack"), &main)
}

fn hero(status: &Status, told: &Told, mark: Mark) -> Markup {
    html! {
        article class={ "card state " (mark.class()) } {
            div class="head" { h1 { (status.stack) } (Mark::from(told.tone).word(&told.word)) }
            p class="said" { (told.sentence) }
            (progress(status))
            (facts(told, true))
            @if !told.commands.is_empty() {
                ul class="do" aria-label="What you can do, on the host" {
                    @for (command, what) in &told.commands { li { code { (command) } span { (what) } } }
                }
            }
        }
    }
}

/// What is told of a stack, a label and words each.
pub(super) fn facts(told: &Told, whole: bool) -> Markup {
    let database: &[String] = if whole { &told.database } else { &[] };
    html! {
        dl class="facts" {
            @for (is_error, words) in &told.problems {
                dt { @if *is_error { "error" } @else { "warning" } }
                dd class=(if *is_error { "wrong bad" } else { "wrong" }) { (words) }
            }
            @if told.problems.iter().any(|(is_error, _)| *is_error) {
                dt {} dd { "The last valid files stay in force until this is mended." }
            }
            dt { "runs" } dd { (told.runs) }
            dt { "asked for" } dd { (told.asked) }
            @for (label, words) in &told.why { dt { (label) } dd { (words) } }
            @for (label, lines) in [("next", &told.next[..]), ("rollback", &told.rollback[..]), ("database", database)] {
                @if !lines.is_empty() {
                    dt { (label) }
                    @for line in lines { dd { (line) } }
                }
            }
        }
    }
}

/// How far it is, where there is an end to it: an operation, a failure, a trial. In words that is in the sentence above it.
pub(super) fn progress(status: &Status) -> Markup {
    let (mark, label, value, max) = if let Some(now) = &status.operation {
        let mark = if now.undoing.is_some() {
            Mark::Warn
        } else {
            Mark::Busy
        };
        (
            mark,
            "steps done",
            now.step.saturating_sub(1) as u64,
            now.steps as u64,
        )
    } else if let Some(failing) = &status.failing {
        (
            Mark::Bad,
            "seconds of failure",
            failing.seconds,
            failing.window_seconds,
        )
    } else if let Some((trial, failing)) = status.trial.as_ref().and_then(|t| Some((t, t.failing_seconds?))) {
        (Mark::Bad, "seconds of failure", failing, trial.window_seconds)
    } else if let Some(trial) = &status.trial {
        (
            Mark::Busy,
            "seconds of health",
            trial.healthy_seconds,
            trial.needed_seconds,
        )
    } else {
        return html! {};
    };
    let far = status.operation.as_ref().and_then(far);
    html! {
        div class={ "meter " (mark.class()) } {
            progress aria-label=(label) max=(max.max(1)) value=(value.min(max.max(1))) {}
            @if let Some(far) = far { p { (far) } }
        }
    }
}

/// How far the step itself is, where it says so.
fn far(now: &OperationNow) -> Option<String> {
    let progress = now.progress.as_ref()?;
    if progress.of == 0 {
        return Some(progress.stage.clone());
    }
    let percent = progress.bytes.saturating_mul(100) / progress.of;
    Some(format!("{}, {} %", progress.stage, percent.min(100)))
}

fn title(now: &OperationNow) -> String {
    let way = if now.kind == "rollback" { "to" } else { "of" };
    let what = match (&now.tag, now.generation) {
        (Some(tag), Some(number)) => format!(" {way} {tag} (generation {number})"),
        (None, Some(number)) => format!(" {way} generation {number}"),
        _ => String::new(),
    };
    format!("Under way: {}{what}", now.kind)
}

fn probe(probe: &Probe, seen: &Seen, reader: &Reader) -> Markup {
    let recent = seen.recent.iter().find(|recent| recent.probe == probe.probe);
    let advisory = if probe.required { "" } else { ", advisory" };
    // A probe that is made for a service is called after it.
    let of = if probe.probe.contains(&probe.service) {
        String::new()
    } else {
        probe.service.clone()
    };
    html! {
        div class="probe" {
            div class="row" {
                h3 { (probe.probe) }
                (Mark::of_phase(&probe.phase).word(&format!("{}{advisory}", probe.phase)))
                @if !of.is_empty() { span class="note" { "of " (of) } }
                @if let Some(took) = recent.and_then(latency) { span class="note right" { (took) } }
            }
            @if let Some(last) = &probe.last { p { (last) } }
            @if let Some(recent) = recent { (plot(recent, reader)) }
        }
    }
}

fn container(service: &Service, reader: &Reader) -> Markup {
    let mark = if service.fine { Mark::Good } else { Mark::Bad };
    html! {
        li {
            b { (service.service) }
            span class="code" { (service.reference) }
            (mark.word(&service.state))
            span class="note" { @if let Some(since) = service.since { "for " (span(reader.seconds_since(since))) } }
        }
    }
}
