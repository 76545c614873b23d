//! What fails again and again while somebody waits for it: why is said once, and after a while they are sent away. The
//! daemon goes on trying, for as long as it is asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::super::failure::Failure;
use super::super::reader::{Reader, span};
use super::super::text::printable;
use super::{Step, progress};
use crate::view::{Again, State, Status};

/// After so many tries that have failed nobody is kept waiting,
const TRIES: u32 = 3;
/// but for this long at least: the first ones are a second apart, and a registry that is restarted needs longer.
const AT_LEAST: Duration = Duration::from_secs(30);
/// Where each try takes its time, two of them are enough when this is over.
const AT_MOST: Duration = Duration::from_secs(120);

/// The tries that were seen to fail, and what was said.
#[derive(Default)]
pub(super) struct Tries {
    failed: u32,
    /// When the next one was due after the last of them: another moment is another failure.
    last: Option<Timestamp>,
    /// When the first one was seen to have failed, since the waiting began.
    since: Duration,
    said: BTreeSet<String>,
    line: String,
}

impl Tries {
    /// Takes what is seen so long after the waiting began. What it returns has failed often enough.
    pub(super) fn take<'s>(&mut self, status: &'s Status, at: Duration) -> Option<&'s Again> {
        if matches!(status.state, State::Deploying | State::Trial | State::Steady) {
            (self.failed, self.last) = (0, None);
        }
        let again = fetch(status)?;
        if self.last != Some(again.at) {
            if self.failed == 0 {
                self.since = at;
            }
            self.failed += 1;
            self.last = Some(again.at);
        }
        let spent = at.saturating_sub(self.since);
        let enough = (self.failed >= TRIES && spent >= AT_LEAST) || (self.failed > 1 && spent >= AT_MOST);
        enough.then_some(again)
    }

    /// The line to say of what is seen; none where it says nothing new.
    pub(super) fn news(&mut self, status: &Status, step: Step, reader: Reader) -> Option<String> {
        let again = fetch(status).filter(|_| step == Step::Going && status.state == State::Pending);
        let line = match again {
            Some(again) => failed(status, again, &reader),
            None => progress(status, step, reader),
        };
        if self.failed == 0 {
            self.said.clear();
        }
        // The port that a server was asked from makes no other reason.
        let said = again.map_or(line.as_str(), |again| again.why.as_str());
        let said = said.replace(|c: char| c.is_ascii_digit(), "");
        let was_said = self.failed > 0 && !self.said.insert(said);
        if line == self.line || (was_said && step == Step::Going) {
            return None;
        }
        self.line.clone_from(&line);
        Some(line)
    }
}

/// What could not be fetched.
fn fetch(status: &Status) -> Option<&Again> {
    status.again.as_ref().filter(|again| again.kind == "fetch")
}

fn failed(status: &Status, again: &Again, reader: &Reader) -> String {
    let left = span(reader.seconds_until(again.at).max(1));
    format!(
        "{}  pending: {}; tried again in {left}, then less and less often",
        status.stack,
        printable(&again.why)
    )
}

/// Why nobody is kept waiting any longer, and what becomes of what they asked for.
pub(super) fn in_vain(status: &Status, again: &Again) -> Failure {
    let stack = &status.stack;
    let asked = status.asked.as_ref();
    let tag = asked.map_or("what was asked for", |asked| &asked.tag);
    let runs = status.runs.as_ref().and_then(|runs| runs.tag.as_ref());
    let before = runs.filter(|runs| *runs != tag && asked.is_some_and(|asked| asked.services.is_empty()));
    let take_back = match before {
        Some(runs) => format!("`steadfast pin {stack} {runs}` takes it back: that is what runs"),
        None => format!("`steadfast pin {stack} TAG` asks for another release instead"),
    };
    let why = format!("{tag} is not to be had for now: {}", printable(&again.why));
    let mut failure = Failure::new(1, why).way_out(take_back);
    failure.note = Some(format!(
        "it stays asked for, and the daemon goes on trying: `steadfast status {stack}`"
    ));
    failure
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

    use expect_test::{Expect, expect};

    use super::*;
    use crate::cli::output::complaint;
    use crate::view::sample;

    /// A failure of try number `n`, for this reason, as it is seen after so many seconds.
    fn failure(n: i64, seconds: u64, why: &str) -> (u64, Status) {
        let mut status = sample::status("not fetched");
        let again = status.again.as_mut().unwrap();
        again.at += jiff::Span::new().seconds(n);
        again.why = why.to_owned();
        (seconds, status)
    }

    /// That it is seen in another situation after so many seconds.
    fn other(situation: &str, seconds: u64) -> (u64, Status) {
        (seconds, sample::status(situation))
    }

    /// That it is being tried.
    fn tried(seconds: u64) -> (u64, Status) {
        let mut status = sample::status("not fetched");
        (status.again, status.waits) = (None, Vec::new());
        (seconds, status)
    }

    #[track_caller]
    fn check(seen: &[(u64, Status)], expected: &Expect) {
        let (mut tries, mut text) = (Tries::default(), String::new());
        for (seconds, status) in seen {
            let in_vain = tries.take(status, Duration::from_secs(*seconds));
            if let Some(line) = tries.news(status, Step::Going, sample::reader()) {
                text.push_str(&format!("at {seconds:>3} {line}\n"));
            }
            if let Some(again) = in_vain {
                text.push_str(&format!("at {seconds:>3} given up\n"));
                text.push_str(&complaint(&super::in_vain(status, again), 80));
                break;
            }
        }
        expected.assert_eq(&anstream::adapter::strip_str(&text).to_string());
    }

    const REFUSED: &str = "dial tcp 10.0.0.1:443: connect: connection refused";

    #[test]
    fn who_waits_is_told_why_once_and_sent_away_after_a_while() {
        let asked = |port: u32| format!("lookup registry on 127.0.0.53:53: 127.0.0.1:{port}: no such host");
        check(
            &[
                failure(1, 1, &asked(40_001)),
                tried(1),
                failure(3, 2, &asked(40_002)),
                failure(3, 3, &asked(40_002)),
                failure(7, 5, REFUSED),
                failure(15, 12, &asked(40_003)),
                failure(31, 28, REFUSED),
                failure(31, 32, REFUSED),
            ],
            &expect![[r#"
                at   1 shop  pending: lookup registry on 127.0.0.53:53: 127.0.0.1:40001: no such host; tried again in 2s, then less and less often
                at   1 shop  pending: v1.6.0 was asked for, and is not applied yet
                at   5 shop  pending: dial tcp 10.0.0.1:443: connect: connection refused; tried again in 8s, then less and less often
                at  32 given up
                error: v1.6.0 is not to be had for now: dial tcp 10.0.0.1:443: connect:
                       connection refused
                  note: it stays asked for, and the daemon goes on trying: `steadfast status
                        shop`
                  help: `steadfast pin shop v1.5.0` takes it back: that is what runs
            "#]],
        );
    }

    #[test]
    fn slow_tries_are_given_up_at_the_second_and_one_alone_never() {
        check(
            &[
                failure(1, 60, REFUSED),
                failure(1, 300, REFUSED),
                failure(9, 310, REFUSED),
            ],
            &expect![[r#"
                at  60 shop  pending: dial tcp 10.0.0.1:443: connect: connection refused; tried again in 2s, then less and less often
                at 310 given up
                error: v1.6.0 is not to be had for now: dial tcp 10.0.0.1:443: connect:
                       connection refused
                  note: it stays asked for, and the daemon goes on trying: `steadfast status
                        shop`
                  help: `steadfast pin shop v1.5.0` takes it back: that is what runs
            "#]],
        );
    }

    #[test]
    fn what_was_fetched_after_all_is_followed_on() {
        check(
            &[
                failure(1, 1, REFUSED),
                failure(3, 20, REFUSED),
                other("deploying", 40),
                failure(50, 60, REFUSED),
                failure(52, 80, REFUSED),
            ],
            &expect![[r#"
                at   1 shop  pending: dial tcp 10.0.0.1:443: connect: connection refused; tried again in 2s, then less and less often
                at  40 shop  deploying: v1.6.0, step 3 of 5
                at  60 shop  pending: dial tcp 10.0.0.1:443: connect: connection refused; tried again in 51s, then less and less often
            "#]],
        );
    }

    #[test]
    fn what_fails_otherwise_is_waited_for() {
        let mut status = sample::status("not fetched");
        status.again.as_mut().unwrap().kind = String::from("deploy");
        let seen = [0, 200, 400].map(|seconds| (seconds, status.clone()));
        check(
            &seen,
            &expect![[r#"
                at   0 shop  pending: waits for the next try, in 4s: registry.example/shop/api:v1.6.0: dial tcp: lookup registry.example: no such host
            "#]],
        );
    }
}
