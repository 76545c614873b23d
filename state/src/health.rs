//! The judge: samples in, a verdict out. Pure, with hysteresis; time is an argument, and only time
//! that was observed counts (invariant 15).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bug::{self, Bug};
use crate::name::{ProbeName, ServiceName};
use crate::policy::{ProbePolicy, Severity};
use crate::time::Moment;

/// Where there is no probe: the longest between two looks at which the agent still counts as looking.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service that has died so often, and was not well in between, is not starting: it crashes.
const CRASH_LOOP: u32 = 3;

/// One answer of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sample {
    /// As it should be.
    Pass,
    /// Not as it should be, and why, for people.
    Fail(String),
    /// Nothing can be said, and why: the engine is away, or a name cannot be resolved.
    Unknown(String),
    /// Nothing can be said yet, and why: the container has only just started.
    Starting(String),
}

impl Sample {
    /// Whether it says how the service is.
    const fn is_known(&self) -> bool {
        matches!(self, Self::Pass | Self::Fail(_))
    }
}

/// Which way a probe has flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is known yet. Left by `pass_after` passes or `fail_after` fails.
    #[default]
    Undecided,
    /// Left by `fail_after` consecutive fails.
    Passing,
    /// Left by `pass_after` consecutive passes.
    Failing,
}

/// What is remembered of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProbeRecord {
    /// Which way it has flipped.
    pub phase: Phase,
    /// Consecutive fails.
    pub fails: u32,
    /// Consecutive passes.
    pub passes: u32,
    /// The first of the fails that have not been followed by enough passes.
    pub failing_since: Option<Moment>,
    /// Since when every sample has said something.
    pub known_since: Option<Moment>,
    /// The last sample.
    pub last: Option<(Moment, Sample)>,
    /// When a sample last said something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_at: Option<Moment>,
    /// How often its service has died since it last passed often enough.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deaths: u32,
    /// What the last fail said, until enough passes have followed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint: Option<String>,
}

impl ProbeRecord {
    /// Takes one sample by the probe's own rules.
    pub fn take(&mut self, policy: &ProbePolicy, sample: Sample, at: &Moment) {
        let sample = match sample {
            Sample::Starting(why) if self.deaths >= CRASH_LOOP => Sample::Fail(format!(
                "it has died {} times and was not well in between: {why}",
                self.deaths
            )),
            Sample::Unknown(why) if bug::is(Bug::UnknownIsFailing) => Sample::Fail(why),
            sample => sample,
        };
        let before = self.last.as_ref().and_then(|(before, _)| at.since(before));
        if sample.is_known() {
            self.known_at = Some(at.clone());
        }
        if !sample.is_known() {
            self.known_since = None;
        } else if self.known_since.is_none() || before.is_none_or(|silent| silent > gap(policy)) {
            self.known_since = Some(at.clone());
        }
        match &sample {
            Sample::Pass => {
                self.passes = self.passes.saturating_add(1);
                self.fails = 0;
                if self.passes >= policy.pass_after {
                    self.phase = Phase::Passing;
                    self.deaths = 0;
                }
                if self.phase != Phase::Failing {
                    self.failing_since = None;
                    self.complaint = None;
                }
            }
            Sample::Fail(why) => {
                self.complaint = Some(why.clone());
                self.fails = self.fails.saturating_add(1);
                self.passes = 0;
                if self.failing_since.is_none() {
                    self.failing_since = Some(at.clone());
                }
                if self.fails >= policy.fail_after {
                    self.phase = Phase::Failing;
                }
            }
            Sample::Unknown(_) | Sample::Starting(_) => {}
        }
        self.last = Some((at.clone(), sample));
    }

    /// Whether it passed when it last said something, and has been silent for longer since than says anything
    /// about how it is: what was, is not known to be (invariant 9).
    pub fn is_silent(&self, policy: &ProbePolicy, now: &Moment) -> bool {
        let known = self.known_at.as_ref().and_then(|at| now.since(at));
        self.phase == Phase::Passing && known.is_none_or(|silent| silent > gap(policy))
    }

    /// How long it has been failing, as far as that was seen without a break up to its last sample.
    pub fn seen_failing(&self) -> Duration {
        let last = self.last.as_ref().map(|(at, _)| at);
        let since = |from: &Option<Moment>| from.as_ref().and_then(|from| last?.since(from));
        match (since(&self.failing_since), since(&self.known_since)) {
            (Some(failing), Some(known)) => failing.min(known),
            _ => Duration::ZERO,
        }
    }

    fn words(&self) -> String {
        let last = self.last.as_ref().map(|(_, sample)| sample);
        match (&self.complaint, last) {
            (Some(why), Some(Sample::Pass)) => format!("{why}; it passes again, but not yet often enough"),
            (Some(why), _) => why.clone(),
            (None, Some(Sample::Unknown(why) | Sample::Starting(why))) => why.clone(),
            (None, _) => String::from("no verdict yet"),
        }
    }
}

/// What the required probes say together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// All of them pass.
    Healthy,
    /// Some fail.
    Failing {
        /// The failing probes, their services and their last words.
        probes: Vec<(ProbeName, ServiceName, String)>,
        /// The worst of their severities.
        severity: Severity,
    },
    /// Not all of them have said enough; why, for people.
    Undecided(String),
}

/// How long the generation has been how, in time that was observed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthRecord {
    /// Each probe.
    pub probes: BTreeMap<ProbeName, ProbeRecord>,
    /// Observed milliseconds of the present failure, from its first bad sample.
    pub failing_ms: u64,
    /// Observed milliseconds of unbroken health.
    pub healthy_ms: u64,
    /// Observed milliseconds of the whole watch.
    pub watched_ms: u64,
    /// Milliseconds in which the agent looked, whether or not the probes said anything: what a trial
    /// lasts. A host that is off or asleep, and an agent that does not run, look at nothing.
    #[serde(default)]
    pub looked_ms: u64,
    /// Until when this has been counted.
    pub counted: Option<Moment>,
    /// When the present failure was first seen.
    pub failing_since: Option<Moment>,
}

impl HealthRecord {
    /// Takes one sample.
    pub fn take(&mut self, policy: &ProbePolicy, sample: Sample, at: &Moment) {
        self.probes
            .entry(policy.name.clone())
            .or_default()
            .take(policy, sample, at);
    }

    /// The agent was away, and nobody has looked meanwhile: that time is not counted, and what is said next does not
    /// follow on what was said before.
    pub fn reopen(&mut self) {
        self.counted = None;
        for probe in self.probes.values_mut() {
            probe.passes = 0;
            probe.fails = 0;
        }
    }

    /// A service has died, and is started again: what passed before it says nothing of what comes.
    pub fn died(&mut self, service: &ServiceName, policies: &[ProbePolicy], times: u32) {
        for policy in policies.iter().filter(|p| p.service == *service) {
            let probe = self.probes.entry(policy.name.clone()).or_default();
            probe.deaths = probe.deaths.saturating_add(times);
            probe.passes = 0;
        }
    }

    /// What the required probes say together, as far as it is still known `now`.
    pub fn overall(&self, policies: &[ProbePolicy], now: &Moment) -> Overall {
        let mut failing = Vec::new();
        let mut severity = Severity::Low;
        let mut undecided = Vec::new();
        let mut silent = Vec::new();
        for policy in policies.iter().filter(|p| p.required) {
            let record = self.probes.get(&policy.name);
            match record.map_or(Phase::Undecided, |r| r.phase) {
                Phase::Passing => {
                    if record.is_some_and(|r| r.is_silent(policy, now)) {
                        silent.push(policy.name.as_str());
                    }
                }
                Phase::Undecided => undecided.push(policy.name.as_str()),
                Phase::Failing => {
                    severity = severity.max(policy.severity);
                    let words = record.map(ProbeRecord::words).unwrap_or_default();
                    failing.push((policy.name.clone(), policy.service.clone(), words));
                }
            }
        }
        if !failing.is_empty() {
            Overall::Failing {
                probes: failing,
                severity,
            }
        } else if !undecided.is_empty() {
            Overall::Undecided(format!("no verdict yet from {}", undecided.join(", ")))
        } else if silent.is_empty() {
            Overall::Healthy
        } else {
            Overall::Undecided(format!("no answer any more from {}", silent.join(", ")))
        }
    }

    /// Counts the time since the last count, as far as it was observed. To be called after the
    /// samples of a pass were taken, also when there were none.
    pub fn count(&mut self, policies: &[ProbePolicy], now: &Moment) {
        let span = self.counted.as_ref().and_then(|at| now.since(at));
        let wall = self
            .counted
            .as_ref()
            .map(|at| now.wall_ms - at.wall_ms)
            .filter(|_| bug::is(Bug::WallClockCounts));
        self.counted = Some(now.clone());
        let longest = policies.iter().map(gap).max().unwrap_or(PATIENCE);
        self.looked_ms += span.filter(|span| *span <= longest).map_or(0, millis);
        let overall = self.overall(policies, now);
        match &overall {
            Overall::Failing { probes, .. } => {
                self.healthy_ms = 0;
                if self.failing_since.is_none() {
                    self.begin_failure(probes);
                    return;
                }
            }
            Overall::Healthy => {
                self.failing_ms = 0;
                self.failing_since = None;
            }
            Overall::Undecided(_) => {}
        }
        let Some(span) = span else { return };
        if !is_observed(self, policies, &overall, now, span) && !bug::is(Bug::SilenceCounts) {
            return;
        }
        self.watched_ms += millis(span);
        match overall {
            Overall::Failing { .. } => {
                let wall = wall.map(|ms| u64::try_from(ms).unwrap_or(0));
                self.failing_ms += wall.unwrap_or(millis(span));
            }
            // Health that has begun to break is not proof of anything.
            Overall::Healthy if !self.wavers(policies) => self.healthy_ms += millis(span),
            Overall::Healthy | Overall::Undecided(_) => {}
        }
    }

    /// Whether the last sample of a required probe was a fail.
    fn wavers(&self, policies: &[ProbePolicy]) -> bool {
        let mut required = policies.iter().filter(|p| p.required);
        required.any(|p| self.probes.get(&p.name).is_some_and(|probe| probe.fails > 0))
    }

    /// The failure began with the first bad sample; of the fails that made the probe flip, those
    /// count that were seen without a break.
    fn begin_failure(&mut self, failing: &[(ProbeName, ServiceName, String)]) {
        let longest = failing
            .iter()
            .filter_map(|(name, ..)| self.probes.get(name))
            .max_by_key(|probe| probe.seen_failing());
        self.failing_ms = longest.map_or(0, |probe| millis(probe.seen_failing()));
        self.failing_since = longest.and_then(|probe| probe.failing_since.clone());
    }

    /// Whether one of these failed when it last said something, and has said so to this agent. Nothing is gone back from
    /// while all of them pass again, though not yet often enough, and not on what was said before a restart alone.
    pub fn fails_on(&self, failing: &[(ProbeName, ServiceName, String)]) -> bool {
        let mut known = failing.iter().filter_map(|(name, ..)| self.probes.get(name));
        known.any(|probe| probe.fails > 0)
    }

    /// Observed time of the present failure.
    pub fn failing_for(&self) -> Duration {
        Duration::from_millis(self.failing_ms)
    }

    /// Observed time of unbroken health.
    pub fn healthy_for(&self) -> Duration {
        Duration::from_millis(self.healthy_ms)
    }

    /// Time in which the agent looked, whatever it saw.
    pub fn looked_for(&self) -> Duration {
        Duration::from_millis(self.looked_ms)
    }

    /// Observed time of the whole watch.
    pub fn watched_for(&self) -> Duration {
        Duration::from_millis(self.watched_ms)
    }
}

/// Whether the `span` up to `now` was watched: no longer than a probe may be silent, with a sample
/// that said something at both its ends, of every probe that decides.
fn is_observed(
    record: &HealthRecord,
    policies: &[ProbePolicy],
    overall: &Overall,
    now: &Moment,
    span: Duration,
) -> bool {
    let fresh = |policy: &ProbePolicy| {
        let gap = gap(policy);
        span <= gap
            && record.probes.get(&policy.name).is_some_and(|probe| {
                let since = |at: &Option<Moment>| at.as_ref().and_then(|at| now.since(at));
                let last = probe.last.as_ref().and_then(|(at, _)| now.since(at));
                since(&probe.known_since).is_some_and(|s| s >= span) && last.is_some_and(|s| s <= gap)
            })
    };
    let mut required = policies.iter().filter(|p| p.required);
    match overall {
        Overall::Failing { probes, .. } => {
            required.any(|p| probes.iter().any(|(name, ..)| *name == p.name) && fresh(p))
        }
        Overall::Healthy | Overall::Undecided(_) => required.all(fresh),
    }
}

/// The longest that a probe may be silent before nothing is known of the time between.
fn gap(policy: &ProbePolicy) -> Duration {
    (policy.interval + policy.timeout) * 2
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands it over by reference"
)]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
