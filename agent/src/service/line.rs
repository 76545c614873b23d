//! What the daemon is doing, in one line: who has to be looked at first, then who is at work, then how many rest.

use crate::view::{OperationNow, State, Status};

/// So many stacks are named; of the others it is said how many there are.
const NAMED: usize = 4;
/// Of each of them so many characters are shown.
const SHOWN: usize = 120;

/// The line of all stacks; beside each, whether it was seen at all.
pub(super) fn of(stacks: &[(Status, bool)]) -> String {
    if stacks.is_empty() {
        return String::from("no stack is configured");
    }
    let rests = |(status, seen): &&(Status, bool)| *seen && rests(status);
    let resting = stacks.iter().filter(rests).count();
    let mut told: Vec<_> = stacks.iter().filter(|stack| !rests(stack)).collect();
    told.sort_by_key(|(status, seen)| (*seen && status.fine, *seen));
    let mut parts: Vec<String> = told
        .iter()
        .take(NAMED)
        .map(|(status, seen)| shortened(&format!("{}: {}", status.stack, words(status, *seen))))
        .collect();
    if let more @ 1.. = told.len().saturating_sub(NAMED) {
        parts.push(format!("{more} more"));
    }
    match (resting, parts.is_empty()) {
        (0, _) => {}
        (1, true) => parts.push(format!("{}: steady", stacks[0].0.stack)),
        (1, false) => parts.push(String::from("1 stack steady")),
        (more, _) => parts.push(format!("{more} stacks steady")),
    }
    parts.join("; ")
}

fn rests(status: &Status) -> bool {
    status.state == State::Steady && status.fine && status.operation.is_none()
}

fn words(status: &Status, seen: bool) -> String {
    let operation = status.operation.as_ref();
    let waits = |words: &str| match status.waits.first() {
        Some(what) => format!("{words}, waits for {what}"),
        None => words.to_owned(),
    };
    if let Some(operation) = operation {
        return at_work(operation);
    }
    if !seen {
        return waits("not looked at yet");
    }
    let runs = status.runs.as_ref().map(|runs| runs.generation);
    match status.state {
        State::Steady if status.fine => String::from("steady"),
        State::Steady => waits("steady, but has to be looked at"),
        State::Unknown => {
            let why = status.engine.why_not.as_deref().unwrap_or("nobody knows why");
            format!("unknown: {why}")
        }
        State::Held => match &status.hold {
            Some(hold) => format!("held: {}", hold.why),
            None => String::from("held"),
        },
        State::AwaitingApproval => match &status.approval {
            Some(approval) => format!("waits for an approval: {}", approval.question),
            None => String::from("waits for an approval"),
        },
        State::Paused => match &status.pause {
            Some(pause) => format!("paused until {}", pause.until),
            None => String::from("paused"),
        },
        State::Failing => match status.failing.as_ref().and_then(|failing| failing.probes.first()) {
            // What it answered is for those who may ask the daemon: this line everybody on the host can read.
            Some(probe) => format!("failing: {}", probe.probe),
            None => String::from("failing"),
        },
        State::RolledBack => with_generation("rolled back, runs", runs),
        State::Trial => with_generation("on trial:", runs),
        State::Pending => waits("pending"),
        // At work, and between two operations of it.
        State::Fetching => waits("fetching"),
        State::Deploying => waits("deploying"),
        State::Healing => waits("healing"),
        State::RollingBack => waits("rolling back"),
        State::Restoring => waits("restoring"),
    }
}

fn at_work(operation: &OperationNow) -> String {
    let verb = match operation.kind.as_str() {
        "fetch" => "fetching for",
        "deploy" => "deploying",
        "heal" => "healing",
        "rollback" => "rolling back to",
        "restore" => "restoring",
        "backup" => "backing up",
        other => other,
    };
    let step = format!("step {} of {}", operation.step, operation.steps);
    let what = match operation.generation {
        Some(number) => format!("{verb} generation {number}"),
        None => verb.trim_end_matches(" for").trim_end_matches(" to").to_owned(),
    };
    if operation.undoing.is_some() {
        return format!("{what} failed and is taken back, {step}");
    }
    format!("{what}, {step}")
}

fn with_generation(words: &str, generation: Option<u64>) -> String {
    generation.map_or_else(
        || words.trim_end_matches(':').to_owned(),
        |number| format!("{words} generation {number}"),
    )
}

/// In one line: what comes after a line's end would be another message to the service manager.
fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let length = text.chars().count();
    if length <= SHOWN {
        return text.chars().map(plain).collect();
    }
    let kept: String = text.chars().map(plain).take(SHOWN - 1).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    fn seen(situation: &str) -> (Status, bool) {
        (sample::status(situation), true)
    }

    fn named(name: &str, situation: &str) -> (Status, bool) {
        let mut status = sample::status(situation);
        name.clone_into(&mut status.stack);
        (status, true)
    }

    #[track_caller]
    fn check(situation: &str, expected: &str) {
        assert_eq!(of(&[seen(situation)]), expected, "{situation}");
    }

    #[test]
    fn one_stack_in_a_line() {
        check("steady", "shop: steady");
        check("nothing yet", "shop: pending");
        check("deploying", "shop: deploying generation 3, step 3 of 5");
        check(
            "taking back",
            "shop: deploying generation 3 failed and is taken back, step 2 of 5",
        );
        check("trial", "shop: on trial: generation 3");
        check("failing", "shop: failing: api-http");
        check("rolling back", "shop: rolling back to generation 2, step 3 of 5");
        check("rolled back", "shop: rolled back, runs generation 2");
        check(
            "held",
            "shop: held: v1.5.0 was restored and fails the same probe as v1.6.0: the cause is outside",
        );
        check(
            "first contact",
            "shop: waits for an approval: something else runs than desired.toml asks for: change it?",
        );
        check("paused", "shop: paused until 2025-06-02T15:50:00Z");
        check("input error", "shop: steady, but has to be looked at");
        check(
            "engine away",
            "shop: unknown: the docker engine is not reachable at unix:///var/run/docker.sock: connection refused",
        );
        assert_eq!(of(&[]), "no stack is configured");
    }

    #[test]
    fn what_was_not_seen_yet_says_what_it_waits_for() {
        let unseen = |situation| (sample::status(situation), false);
        assert_eq!(of(&[unseen("steady")]), "shop: not looked at yet");
        assert_eq!(
            of(&[unseen("engine away")]),
            "shop: not looked at yet, waits for the engine"
        );
        assert_eq!(
            of(&[unseen("deploying")]),
            "shop: deploying generation 3, step 3 of 5"
        );
    }

    #[test]
    fn several_stacks_in_a_line_the_worst_first() {
        let three = ["a", "b", "c"].map(|name| named(name, "steady"));
        assert_eq!(of(&three), "3 stacks steady");
        let mixed = [
            named("a", "steady"),
            named("b", "deploying"),
            named("c", "rolling back"),
        ];
        assert_eq!(
            of(&mixed),
            "c: rolling back to generation 2, step 3 of 5; b: deploying generation 3, step 3 of 5; 1 stack steady"
        );
        let many: Vec<_> = (1..=7).map(|n| named(&format!("s{n}"), "failing")).collect();
        assert_eq!(
            of(&many),
            "s1: failing: api-http; s2: failing: api-http; s3: failing: api-http; s4: failing: api-http; 3 more"
        );
    }

    #[test]
    fn it_is_one_line_whatever_is_in_it_and_no_longer_than_can_be_read() {
        let (mut status, _) = seen("held");
        let hold = status.hold.as_mut();
        hold.expect("a hold").why = format!("it failed\nMAINPID=1\n{}", "é".repeat(400));
        let line = of(&[(status, true)]);
        assert!(line.starts_with("shop: held: it failed MAINPID=1 éé"), "{line}");
        assert!(line.ends_with("é…"), "{line}");
        assert_eq!(line.chars().count(), SHOWN);
    }
}
