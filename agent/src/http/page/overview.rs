//! Every stack of the host, the worst first: is it fine, what runs, what was asked for, why they differ, what comes next, and
//! whether it could be rolled back.

use maud::{Markup, html};

use super::Seen;
use super::frame::Frame;
use super::mark::Mark;
use super::plot::{latency, plot};
use super::stack::{facts, progress};
use crate::view::{RecentAnswers, State};

/// The page. `unseen` are the stacks that nobody has looked at yet.
pub(in crate::http) fn overview(seen: &[Seen], unseen: &[String], frame: &Frame) -> String {
    let mut seen: Vec<&Seen> = seen.iter().collect();
    seen.sort_by_key(|one| (std::cmp::Reverse(gravity(one)), one.status.stack.clone()));
    let worst = seen.iter().map(|one| mark(one)).max();
    let worst = worst.unwrap_or(Mark::Quiet);
    let (lead, rest) = lead(&seen, unseen);
    let main = html! {
        main class="frame" {
            div class="lead" {
                h1 { (lead) }
                @if let Some(rest) = &rest { p { (rest) } }
            }
            @for one in &seen { (card(one, frame)) }
            @for name in unseen {
                section class="card state quiet" {
                    div class="head" { h2 { (name) } (Mark::Quiet.word("not looked at yet")) }
                }
            }
            (frame.foot(&[]))
        }
    };
    frame.page(&lead, worst, None, &main)
}

/// How much somebody has to mind it; what is fine, but has something wrong with its files, is told of first too.
pub(super) fn mark(seen: &Seen) -> Mark {
    let tone = Mark::from(seen.told.tone);
    let wrong = seen.status.problems.iter().any(|p| p.gravity == "error");
    match (tone, seen.status.fine) {
        (Mark::Good | Mark::Busy, false) => Mark::Warn,
        _ if wrong => tone.max(Mark::Warn),
        _ => tone,
    }
}

/// Which of two stacks is looked at first.
fn gravity(seen: &Seen) -> (Mark, u8) {
    let state = match seen.status.state {
        State::Failing => 9,
        State::Held => 8,
        State::Unknown => 7,
        State::RollingBack => 6,
        State::Restoring => 5,
        State::AwaitingApproval => 4,
        State::RolledBack => 3,
        State::Paused => 2,
        State::Steady => 0,
        _ => 1,
    };
    (mark(seen), state)
}

/// What there is to be said in a line, and what there is besides.
fn lead(seen: &[&Seen], unseen: &[String]) -> (String, Option<String>) {
    let all = seen.len() + unseen.len();
    let not_fine = seen.iter().filter(|one| !one.status.fine).count();
    let at_rest = |one: &Seen| matches!(one.status.state, State::Steady | State::Paused);
    let busy = seen.iter().filter(|one| one.status.fine && !at_rest(one)).count();
    let paused = seen
        .iter()
        .filter(|one| one.status.state == State::Paused)
        .count();
    let unseen = unseen.len();
    let lead = match (all, not_fine) {
        (0, _) => return (String::from("No stack is configured"), None),
        (_, 0) if unseen == all => String::from("Nothing was looked at yet"),
        (1, 0) => String::from("The stack is fine"),
        (2, 0) if unseen == 0 => String::from("Both stacks are fine"),
        (_, 0) if unseen == 0 => format!("All {all} stacks are fine"),
        (_, 0) => format!("{} of {all} stacks are fine", all - unseen),
        (1, _) => String::from("The stack is not fine"),
        (_, 1) => format!("1 of {all} stacks is not fine"),
        (_, many) => format!("{many} of {all} stacks are not fine"),
    };
    let is = |many: usize| if many == 1 { "is" } else { "are" };
    let besides = [
        (busy, "under way"),
        (paused, "paused"),
        (unseen % all, "not looked at yet"),
    ];
    let besides = besides.into_iter().filter(|(many, _)| *many > 0);
    let besides: Vec<String> = besides
        .map(|(many, what)| format!("{many} {} {what}", is(many)))
        .collect();
    (lead, (!besides.is_empty()).then(|| besides.join(", ")))
}

fn card(seen: &Seen, frame: &Frame) -> Markup {
    let (status, told) = (&seen.status, &seen.told);
    let tone = Mark::from(told.tone);
    let mark = mark(seen);
    let head = html! {
        div class="head" {
            h2 { a id={ "stack-" (status.stack) } href={ "/stacks/" (status.stack) } { (status.stack) } }
            (tone.word(&told.word))
        }
        p class="said" { (told.sentence) }
    };
    html! {
        article class={ "card state " (mark.class()) } {
            @if mark == Mark::Good {
                // Nobody has to read on: what it says next is that there is nothing to do.
                div class="brief" {
                    div {
                        (head)
                        @for line in &told.rollback { p class="note" { "rollback " (line) } }
                    }
                    (health(seen, frame))
                }
            } @else {
                (head)
                (progress(status))
                div class="beside" {
                    (facts(told, false))
                    (health(seen, frame))
                }
            }
        }
    }
}

fn health(seen: &Seen, frame: &Frame) -> Markup {
    let shown = worst_probe(seen);
    html! {
        @if let Some(recent) = shown {
            div {
                div class="row" {
                    span class="note" { (recent.probe) }
                    @if let Some(took) = latency(recent) { span class="note right" { (took) } }
                }
                (plot(recent, &frame.reader))
            }
        }
    }
}

/// The probe that is worth a look: one that fails, else one that judges a release.
fn worst_probe(seen: &Seen) -> Option<&RecentAnswers> {
    let weight = |probe: &&crate::view::Probe| (Mark::of_phase(&probe.phase), probe.required);
    let mut probes: Vec<_> = seen.status.probes.iter().collect();
    // Stable: of equals the first as configured.
    probes.sort_by_key(|probe| std::cmp::Reverse(weight(probe)));
    let worst = probes.first()?;
    let recent = seen.recent.iter().find(|recent| recent.probe == worst.probe);
    recent.filter(|recent| !recent.answers.is_empty())
}
