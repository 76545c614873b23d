//! What comes next by itself, when, and what a person can do instead.

use super::super::reader::{Reader, span};
use super::back::generation;
use crate::view::{Approval, Hold, NextUp, State, Status};

const LEFT_ALONE: &str = "nothing is done to what was found running, it is not healed either";

/// What happens next, and when.
pub(super) fn next(status: &Status, reader: &Reader) -> Vec<String> {
    match status.state {
        State::Steady => {
            let looked = status.seen.map(|at| format!("; last looked {}", reader.ago(at)));
            vec![format!("nothing to do{}", looked.unwrap_or_default())]
        }
        State::Trial => next_of_trial(status, reader),
        State::Failing => vec![next_of_failure(status, reader)],
        State::Fetching | State::Deploying | State::Healing | State::RollingBack | State::Restoring => {
            let doing = status.operation.as_ref().and_then(|o| o.doing.clone());
            doing.into_iter().collect()
        }
        State::RolledBack => vec!["it stays so until there is a new request".into()],
        State::Held => {
            let heals = if is_left_alone(status) {
                LEFT_ALONE
            } else if status.hold.as_ref().is_some_and(|hold| hold.frozen) {
                "everything is left as it stands, it is not healed either"
            } else {
                "what runs is healed; nothing else is done by itself"
            };
            let mut lines = vec![heals.to_owned()];
            lines.extend(
                status
                    .hold
                    .as_ref()
                    .map(|h| format!("held since {}: {}", reader.at(h.since), h.way_out)),
            );
            lines.extend(status.hold.as_ref().and_then(end_of_hold));
            if let Some(offer) = offer(status) {
                lines.push(format!("question {}: {}", offer.id, offer.question));
                lines.extend(offer.detail.clone());
            }
            lines
        }
        State::AwaitingApproval => {
            let id = status.approval.as_ref().map_or("", |a| &a.id);
            let mut lines = vec![format!("nothing is changed until somebody answers question {id}")];
            lines.extend(status.approval.iter().flat_map(|a| a.detail.clone()));
            lines
        }
        State::Paused => next_of_pause(status, reader),
        State::Unknown => vec!["it tries again; what is not seen is neither judged nor changed".into()],
        State::Pending => {
            let mut lines: Vec<_> = status
                .next
                .iter()
                .map(|n| format!("{}: {}", n.kind, n.why))
                .collect();
            // The first is in the headline.
            lines.extend(
                status
                    .waits
                    .iter()
                    .skip(1)
                    .map(|wait| format!("waits for {wait}")),
            );
            if status.is_denied() && is_left_alone(status) {
                lines.push(LEFT_ALONE.into());
            }
            lines
        }
    }
}

fn next_of_pause(status: &Status, reader: &Reader) -> Vec<String> {
    let end = status.pause.as_ref().map(|pause| {
        let (at, left) = (reader.at(pause.until), span(reader.seconds_until(pause.until)));
        format!("goes on at {at}, in {left}")
    });
    let then = status
        .next
        .as_ref()
        .map(|NextUp { kind, why, .. }| format!("then {kind}: {why}"));
    // The first is the pause.
    let waits = status
        .waits
        .iter()
        .skip(1)
        .map(|wait| format!("then waits for {wait}"));
    end.into_iter().chain(then).chain(waits).collect()
}

/// Whether nobody has agreed to change what was found running.
fn is_left_alone(status: &Status) -> bool {
    let approval = status.approval.as_ref();
    approval.is_some_and(|a| a.ask == "first_contact" && a.answer.as_deref() != Some("granted"))
}

/// When a hold ends without anybody.
fn end_of_hold(hold: &Hold) -> Option<String> {
    let facts: Vec<&str> = hold
        .until
        .iter()
        .map(|fact| match fact.as_str() {
            "healthy" => "every required probe has passed again for a while",
            "target" => "there is something to go back to",
            "proven" => "it is proven good",
            other => other,
        })
        .collect();
    (!facts.is_empty()).then(|| format!("it ends by itself when {}", facts.join(", or when ")))
}

fn next_of_trial(status: &Status, reader: &Reader) -> Vec<String> {
    let Some(trial) = &status.trial else {
        return Vec::new();
    };
    if let Some(undecided) = &trial.undecided {
        let left = span(trial.max_seconds.saturating_sub(trial.looked_seconds));
        return vec![
            undecided.clone(),
            format!("the trial ends in {left} at the latest"),
        ];
    }
    let left = trial.needed_seconds.saturating_sub(trial.healthy_seconds);
    if trial.failing_seconds.is_some() {
        return vec![format!(
            "good after {} more of health, once it passes again",
            span(left)
        )];
    }
    let at = reader.in_seconds(left);
    vec![format!("good in {} (at {at}), if it stays healthy", span(left))]
}

fn next_of_failure(status: &Status, reader: &Reader) -> String {
    let left = status.failing.as_ref().and_then(|f| f.left_seconds);
    let rollback = &status.rollback;
    let to = rollback
        .to
        .map(|to| format!("to {}", generation(rollback.tag.as_ref(), to)));
    let to = to.unwrap_or_default();
    match left {
        Some(left) if to.is_empty() => {
            let why = status.rollback.why_not.as_deref();
            let why = why.unwrap_or("there is no earlier good generation");
            format!("held in {}, unless it recovers: {why}", span(left))
        }
        Some(0) => format!("rolled back {to} now"),
        Some(left) => format!(
            "rolled back {to} in {} (at {}), unless it recovers",
            span(left),
            reader.in_seconds(left)
        ),
        None => "no rollback by itself".into(),
    }
}

/// What a person may agree to while it is held.
fn offer(status: &Status) -> Option<&Approval> {
    let open = status.approval.as_ref().filter(|a| a.answer.is_none())?;
    (open.ask == "restore_backup").then_some(open)
}

/// The commands that make sense now, each with what it does.
pub(in crate::cli) fn commands(status: &Status) -> Vec<(String, String)> {
    let stack = &status.stack;
    let asked = status.asked.as_ref().map_or("it", |asked| &asked.tag);
    let command = |act: &str, what: &str| (format!("steadfast {act}"), what.to_owned());
    match status.state {
        State::RolledBack => vec![
            command(&format!("pin {stack} TAG"), "ask for another release"),
            command(&format!("retry {stack}"), &format!("try {asked} again")),
        ],
        State::Held => {
            let retry = command(&format!("retry {stack}"), "try again what was asked for");
            let rollback = command(&format!("rollback {stack}"), "leave it for the last good one");
            let pin = command(&format!("pin {stack} TAG"), "ask for another release");
            let back = Some(rollback).filter(|_| status.rollback.to.is_some());
            let agree = || command(&format!("approve {stack}"), "go back to the backup");
            let agree = offer(status).map(|_| agree());
            let all = agree.into_iter().chain([retry]).chain(back).chain([pin]);
            all.collect()
        }
        State::AwaitingApproval => vec![
            command(&format!("plan {stack}"), "see what would be done"),
            command(&format!("approve {stack}"), "agree"),
            command(&format!("deny {stack}"), "refuse"),
        ],
        State::Pending if status.is_denied() => vec![
            command(&format!("retry {stack}"), "be asked again"),
            command(&format!("pin {stack} TAG"), "ask for another release"),
        ],
        State::Paused if status.next.is_some() => vec![
            command(&format!("plan {stack}"), "see what would be done then"),
            command(&format!("resume {stack}"), "end the pause"),
        ],
        State::Paused => vec![command(&format!("resume {stack}"), "end the pause")],
        State::Failing if status.rollback.ready => {
            vec![command(&format!("rollback {stack}"), "do not wait for it")]
        }
        _ => Vec::new(),
    }
}
