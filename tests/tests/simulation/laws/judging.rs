//! Invariants 5, 9 and 15: a verdict is made of answers that were given. What the probes were really answered is
//! the world's to know; the record is compared with it.

use std::time::Duration;

use state::health::{HealthRecord, Phase};

use super::Terms;
use crate::world::World;

/// The probes whose answers the world knows.
const PROBES: [&str; 2] = ["api", "web"];

/// For how long an answer speaks of what comes after it, at most: two intervals and two time-outs.
const SPEAKS: Duration = Duration::from_secs(31);

/// Whether so many of `answers` in a row, given since `from` and the last of them since `until`, are fails, or are
/// none.
fn in_a_row(
    answers: &[(Duration, bool)],
    from: Duration,
    until: Duration,
    fails: bool,
    times: usize,
) -> bool {
    let mut run = 0;
    answers.iter().filter(|(at, _)| *at >= from).any(|(at, failed)| {
        run = if *failed == fails { run + 1 } else { 0 };
        run >= times && *at >= until
    })
}

impl World {
    /// Whether this probe has passed so lately that it cannot have failed often enough since.
    pub(crate) fn was_heard_to_pass(&self, probe: &str) -> bool {
        let answers = self.answers.get(probe).map_or(&[][..], Vec::as_slice);
        let Some(terms) = &self.laws.terms else {
            return false;
        };
        let times = u32::try_from(terms.fail_after).unwrap_or(u32::MAX);
        let lately = self.now.saturating_sub(terms.interval * times + SPEAKS);
        answers
            .iter()
            .rev()
            .take_while(|(at, _)| *at >= lately)
            .any(|(_, failed)| !failed)
    }

    /// `good` is made of answers: as many passes of every probe as fit into the time.
    pub(super) fn was_well(&mut self, why: &str, terms: &Terms) {
        let since = self.laws.applied_at;
        // The longest that may lie between two of them, and still be seen.
        let due = terms.good_after.as_secs() / (terms.interval * 3).as_secs() + 2;
        for probe in PROBES {
            let answers = self.answers.get(probe).map_or(&[][..], Vec::as_slice);
            let passes = answers
                .iter()
                .filter(|(at, failed)| *at >= since && !failed)
                .count();
            if (passes as u64) < due {
                let words = format!("proven ({why}), and {probe} has passed {passes} times");
                self.laws.breaks(5, words);
            }
        }
    }

    /// Health was counted, and nothing else has become of it.
    pub(super) fn counts_rightly(&mut self, after: &HealthRecord) {
        let (Some(record), Some(terms)) = (&mut self.laws.record, self.laws.terms.clone()) else {
            return;
        };
        // What was counted replaces it.
        let before = std::mem::take(&mut record.health);
        self.flips_rightly(&before, after, &terms);
        self.counts_on(&before, after, &terms);
        self.counts_what_was(&before, after);
        self.laws.counted_at = self.now;
    }

    /// A probe fails, or passes, because it was answered so.
    pub(super) fn flips_rightly(&mut self, before: &HealthRecord, after: &HealthRecord, terms: &Terms) {
        let since = self.laws.applied_at;
        for probe in PROBES {
            let phase = |record: &HealthRecord| {
                let known = record.probes.iter().find(|(name, _)| name.as_str() == probe);
                known.map(|(_, known)| known.phase).unwrap_or_default()
            };
            let (was, is) = (phase(before), phase(after));
            let answers = self.answers.get(probe).map_or(&[][..], Vec::as_slice);
            let rightly = match is {
                Phase::Failing => in_a_row(answers, since, since, true, terms.fail_after),
                Phase::Passing => in_a_row(answers, since, since, false, terms.pass_after),
                Phase::Undecided => true,
            };
            if was != is && !rightly {
                let last = &answers[answers.len().saturating_sub(4)..];
                let words = format!(
                    "probe {probe} is {is:?}, was {was:?}, since {since:?}, and was never answered so: {last:?}"
                );
                self.laws.breaks(9, words);
            }
        }
    }

    /// A failure lasts longer by time that has passed, and in which somebody was answered.
    fn counts_what_was(&mut self, before: &HealthRecord, after: &HealthRecord) {
        if before.failing_since.is_none() || before.failing_since != after.failing_since {
            return;
        }
        let grown = Duration::from_millis(after.failing_ms.saturating_sub(before.failing_ms));
        let (from, now) = (self.laws.counted_at, self.now);
        // A sleep that is no longer than a probe may be silent is as good as awake.
        let asleep = match self.slept_at {
            Some(at) if at >= from => SPEAKS,
            _ => Duration::ZERO,
        };
        let seen = self.seen_between(from, now);
        if grown > seen + asleep + Duration::from_secs(2) {
            let words = format!(
                "a failure has grown by {grown:?} in {:?}, of which {seen:?} were seen by anybody",
                now.saturating_sub(from)
            );
            self.laws.breaks(15, words);
        }
    }

    /// How much of this time follows on an answer, be it of which probe.
    fn seen_between(&self, from: Duration, to: Duration) -> Duration {
        let lately = |answers: &Vec<(Duration, bool)>| {
            let after = answers.partition_point(|(at, _)| *at + SPEAKS < from);
            answers[after..].iter().map(|(at, _)| *at).collect::<Vec<_>>()
        };
        let mut answered: Vec<Duration> = self.answers.values().flat_map(lately).collect();
        answered.sort();
        let (mut seen, mut until) = (Duration::ZERO, from);
        for at in answered {
            let end = (at + SPEAKS).min(to);
            seen += end.saturating_sub(at.max(until));
            until = until.max(end);
        }
        seen
    }

    /// What a failure has lasted is only taken back by health.
    fn counts_on(&mut self, before: &HealthRecord, after: &HealthRecord, terms: &Terms) {
        let (was, is) = (before.failing_ms, after.failing_ms);
        if is >= was {
            return;
        }
        let since = self.laws.applied_at;
        let from = self.laws.counted_at.saturating_sub(terms.interval * 3);
        let failing = before
            .probes
            .iter()
            .filter(|(_, known)| known.phase == Phase::Failing);
        for (probe, _) in failing {
            let Some(answers) = self.answers.get(probe.as_str()) else {
                continue;
            };
            if !in_a_row(answers, since, from, false, terms.pass_after) {
                let last = &answers[answers.len().saturating_sub(4)..];
                let words =
                    format!("a failure of {was} ms is one of {is} ms, and {probe} has not passed: {last:?}");
                self.laws.breaks(15, words);
                return;
            }
        }
    }
}
