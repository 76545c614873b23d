//! Following a stack until what was asked has come to its end, and the exit code that this end has.

mod tries;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use state::desired::{Desired, MigrationWish};

use super::args::Wait;
use super::failure::{Failure, Outcome};
use super::output;
use super::reader::Reader;
use super::reading::Daemon;
use super::status;
use super::text::printable;
use crate::control::client::ClientError;
use crate::view::{State, Status};
use tries::{Tries, in_vain};

/// So long an input file may be wrong before waiting for it is given up.
const PATIENCE: Duration = Duration::from_secs(15);
/// Once a file has settled, what keeps a wish waiting is known within this, or nobody is kept waiting for it.
const SOON: Duration = Duration::from_secs(2);
/// And in no case for longer.
const AT_MOST: Duration = Duration::from_secs(10);
/// A daemon that was just restarted comes back within this.
const RESTART: Duration = Duration::from_secs(30);
/// So wide that what goes on is one line each time.
const ONE_LINE: usize = 4096;
/// No faster than this, whatever is published.
const PACE: Duration = Duration::from_millis(300);

/// What is waited for.
#[derive(Debug, Clone)]
pub(super) enum Goal {
    /// That this wish was accepted, not before the moment if there is one, and has come to its end.
    Wish(Desired, Option<Timestamp>),
    /// That the request was tried again: more often than so many times, and what was accepted when.
    Retry(u32, Option<Timestamp>),
    /// That the stack was rolled back.
    Rollback,
    /// That an edit of a file was accepted, after what was accepted then, and has come to its end. `None`: it is what was
    /// asked for already.
    Edit(Option<Timestamp>),
    /// That a question asked at this moment is answered, and what follows has come to its end.
    Answer(Timestamp),
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Not begun: what is seen is what was before.
    Waiting,
    /// Not at its end.
    Going,
    /// At its end, with this exit code.
    Ended(u8),
    /// Something else was asked for meanwhile: it never comes to its end.
    Overtaken,
}

/// How far `goal` is, as `status` shows it.
pub(super) fn step(goal: &Goal, status: &Status) -> Step {
    if let (Goal::Retry(_, before), Some(asked)) = (goal, &status.asked)
        && asked.retries == 0
        && before.is_some_and(|before| asked.accepted > before)
    {
        return Step::Overtaken;
    }
    let begun = match goal {
        Goal::Wish(desired, after) => is_accepted(desired, *after, status),
        Goal::Retry(times, before) => status.asked.as_ref().is_some_and(|asked| {
            // One that was asked for in between, and was tried again then, is what was meant.
            asked.retries > *times || before.is_some_and(|before| asked.accepted > before)
        }),
        Goal::Rollback => true,
        Goal::Edit(before) => is_edited(*before, status),
        Goal::Answer(asked) => status
            .approval
            .as_ref()
            .is_none_or(|a| a.asked != *asked || a.answer.is_some()),
    };
    match (begun, status.state, goal) {
        // Nothing goes on by itself here, whether it has begun or not.
        (_, State::Paused, _) => Step::Ended(5),
        (false, ..) => Step::Waiting,
        (_, State::RolledBack, Goal::Rollback)
        | (_, State::Steady, Goal::Wish(..) | Goal::Retry(..) | Goal::Edit(_) | Goal::Answer(_)) => {
            Step::Ended(0)
        }
        (_, State::RolledBack, _) => Step::Ended(status::gap_code(status)),
        (_, State::AwaitingApproval, _) => Step::Ended(4),
        (_, State::Held, _) => Step::Ended(5),
        (_, State::Pending, _) if status.is_denied() => Step::Ended(5),
        _ => Step::Going,
    }
}

fn is_accepted(desired: &Desired, after: Option<Timestamp>, status: &Status) -> bool {
    let Some(asked) = &status.asked else {
        return false;
    };
    let migration = match &desired.migration {
        MigrationWish::Release => "release".to_owned(),
        wish => wish.to_string(),
    };
    let pins = desired.services.iter().map(|(s, t)| (s.as_str(), t.as_str()));
    asked.tag == desired.tag.as_str()
        && asked.migration == migration
        && asked
            .services
            .iter()
            .map(|(s, t)| (s.as_str(), t.as_str()))
            .eq(pins)
        && after.is_none_or(|after| asked.accepted >= after)
}

fn is_edited(before: Option<Timestamp>, status: &Status) -> bool {
    let accepted = status.asked.as_ref().map(|asked| asked.accepted);
    before.is_none_or(|before| accepted.is_some_and(|accepted| accepted > before))
}

/// Follows `stack` to the end of `goal`, saying what happens on standard error.
pub(super) async fn follow(daemon: &Daemon, stack: &str, goal: &Goal, wait: Wait) -> Outcome {
    let begun = Instant::now();
    let mut tries = Tries::default();
    let mut version = None;
    let mut seen = Instant::now();
    loop {
        let look = daemon.status_after(stack, version);
        let left = wait.timeout.saturating_sub(begun.elapsed());
        let Ok(answer) = tokio::time::timeout(left, look).await else {
            let limit = config::show_duration(wait.timeout);
            return Err(Failure::new(1, format!("not at its end within {limit}"))
                .way_out(format!("it goes on: `steadfast status {stack}`")));
        };
        match answer {
            Ok(status) => {
                seen = Instant::now();
                version = Some(status.version);
                let step = step(goal, &status);
                let often_enough = match step {
                    Step::Going => tries.take(&status, begun.elapsed()),
                    _ => None,
                };
                if let Some(line) = tries.news(&status, step, Reader::here()) {
                    output::note(&line);
                }
                match step {
                    Step::Ended(code) => return Ok(end(&status, code)),
                    Step::Overtaken => {
                        return Err(Failure::new(1, "another release was asked for meanwhile")
                            .way_out(format!("`steadfast status {stack}` says what becomes of that")));
                    }
                    Step::Waiting | Step::Going => {}
                }
                if let Some(again) = often_enough {
                    return Err(in_vain(&status, again));
                }
                if begun.elapsed() > PATIENCE {
                    refuse_broken_files(goal, &status)?;
                }
            }
            // It may be restarting; the stack goes on without it.
            Err(
                error @ (ClientError::NoDaemon { .. } | ClientError::Broken { .. } | ClientError::Busy(_)),
            ) => {
                if seen.elapsed() > RESTART || version.is_none() {
                    return Err(daemon.failure(error));
                }
                version = version.map(|_| u64::MAX);
            }
            Err(error) => return Err(daemon.failure(error)),
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Says what keeps a wish waiting, where that is known soon; files are taken up when they were quiet for `settle`. Whoever
/// asked does not wait for its end.
pub(super) async fn soon(daemon: &Daemon, stack: &str, goal: &Goal, settle: Duration) {
    let begun = Instant::now();
    let soon = (settle + SOON).min(AT_MOST);
    let mut seen: Option<Status> = None;
    while let left = soon.saturating_sub(begun.elapsed())
        && !left.is_zero()
    {
        let look = daemon.status_after(stack, seen.as_ref().map(|status| status.version));
        match tokio::time::timeout(left, look).await {
            Ok(Ok(status)) => {
                match step(goal, &status) {
                    Step::Ended(0) | Step::Overtaken => return,
                    Step::Ended(code) => {
                        output::note(&progress(&status, Step::Ended(code), Reader::here()));
                        end(&status, code);
                        return;
                    }
                    Step::Going if status.state != State::Pending => return,
                    Step::Going | Step::Waiting => seen = Some(status),
                }
                tokio::time::sleep(PACE).await;
            }
            // It is taken up by the daemon that comes.
            Ok(Err(_)) => return,
            Err(_) => break,
        }
    }
    if let Some(Err(failure)) = seen.map(|status| refuse_broken_files(goal, &status)) {
        output::complain(&failure);
    }
}

/// A line while it goes on, everything at the end.
fn progress(status: &Status, step: Step, mut reader: Reader) -> String {
    match step {
        Step::Waiting => return format!("{}  waits for the daemon to take it", status.stack),
        Step::Going => reader.width = ONE_LINE,
        Step::Ended(_) | Step::Overtaken => {}
    }
    status::headline(status, &reader).trim_end().to_owned()
}

fn refuse_broken_files(goal: &Goal, status: &Status) -> Result<(), Failure> {
    let is_taken = match goal {
        Goal::Wish(desired, after) => is_accepted(desired, *after, status),
        Goal::Edit(before) => is_edited(*before, status),
        Goal::Retry(..) | Goal::Rollback | Goal::Answer(_) => true,
    };
    let broken = status.problems.iter().find(|p| p.gravity == "error");
    match broken {
        Some(problem) if !is_taken => {
            let why = format!("{}: {}", problem.file, problem.message);
            Err(Failure::new(2, format!("not accepted: {why}")).way_out("`steadfast check` says all"))
        }
        _ => Ok(()),
    }
}

fn end(status: &Status, code: u8) -> u8 {
    if let (State::RolledBack, Some(gap)) = (status.state, &status.gap)
        && gap.blame.is_some()
    {
        let tag = status
            .asked
            .as_ref()
            .map_or("what was asked for", |asked| &asked.tag);
        output::note(&format!(
            "{tag} is in quarantine, because generation {} failed: {}; `steadfast retry {}` tries it again",
            gap.generation,
            printable(&gap.why),
            status.stack
        ));
    }
    if code != 0 {
        output::note(&format!("`steadfast status {}` says more", status.stack));
    }
    code
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::view::sample;

    fn wish(tag: &str) -> Goal {
        Goal::Wish(Desired::new(tag.parse().unwrap()), None)
    }

    #[track_caller]
    fn check(goal: &Goal, situation: &str, expected: Step) {
        assert_eq!(step(goal, &sample::status(situation)), expected, "{situation}");
    }

    #[test]
    fn a_wish_ends_with_the_exit_code_of_its_end() {
        check(&wish("v1.5.0"), "steady", Step::Ended(0));
        check(&wish("v1.6.0"), "deploying", Step::Going);
        check(&wish("v1.6.0"), "trial", Step::Going);
        check(&wish("v1.6.0"), "failing", Step::Going);
        check(&wish("v1.6.0"), "rolled back", Step::Ended(6));
        check(&wish("v1.6.0"), "not deployed", Step::Ended(1));
        check(&wish("v1.5.0"), "held", Step::Ended(5));
        check(&wish("v1.5.0"), "first contact", Step::Ended(4));
        check(&wish("v1.5.0"), "denied", Step::Ended(5));
        check(&wish("v1.5.0"), "paused", Step::Ended(5));
        check(&wish("v1.5.0"), "engine away", Step::Going);
    }

    #[test]
    fn what_was_before_the_wish_is_not_its_end() {
        check(&wish("v1.7.0"), "steady", Step::Waiting);
        check(&wish("v1.7.0"), "rolled back", Step::Waiting);
        let later = sample::status("steady").asked.unwrap().accepted + jiff::Span::new().seconds(1);
        let goal = Goal::Wish(Desired::new("v1.5.0".parse().unwrap()), Some(later));
        check(&goal, "steady", Step::Waiting);
    }

    #[test]
    fn an_edit_ends_with_the_request_that_it_became() {
        let accepted = sample::status("rolled back").asked.unwrap().accepted;
        check(&Goal::Edit(Some(accepted)), "rolled back", Step::Waiting);
        let before = accepted - jiff::Span::new().seconds(1);
        check(&Goal::Edit(Some(before)), "rolled back", Step::Ended(6));
        check(&Goal::Edit(None), "steady", Step::Ended(0));
        check(&Goal::Edit(Some(accepted)), "paused", Step::Ended(5));
    }

    #[test]
    fn a_rollback_that_was_asked_for_is_a_success_and_a_retry_is_another_request() {
        check(&Goal::Rollback, "rolled back", Step::Ended(0));
        check(&Goal::Rollback, "trial", Step::Going);
        check(&Goal::Rollback, "steady", Step::Going);
        check(&Goal::Rollback, "held", Step::Ended(5));
        check(&Goal::Retry(0, None), "rolled back", Step::Waiting);
        // What is asked for since then is none of its business.
        let accepted = sample::status("rolled back").asked.unwrap().accepted;
        let before = accepted - jiff::Span::new().seconds(1);
        check(&Goal::Retry(2, Some(before)), "rolled back", Step::Overtaken);
        check(&Goal::Retry(0, Some(accepted)), "rolled back", Step::Waiting);
        let asked = sample::status("first contact").approval.unwrap().asked;
        check(&Goal::Answer(asked), "first contact", Step::Waiting);
        check(&Goal::Answer(asked), "steady", Step::Ended(0));
    }
}
