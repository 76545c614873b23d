//! What to do about a request and about a verdict. Pure: everything seen, and the time, are arguments.
//! Where to go back to is `rollback`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::bug::{self, Bug};
use crate::data_change::{self, Running};
use crate::health::Overall;
use crate::name::{ImageId, ServiceName};
use crate::policy::TrialPolicy;
use crate::record::{Answer, Approval, Ask, StackRecord, Standing};
use crate::release::{GenerationNumber, Release, Verdict};
use crate::stack_spec::StackSpec;

/// What becomes of the request in force, once its release is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// It is what runs already.
    IsCurrent(GenerationNumber),
    /// It is in quarantine because of this generation: not applied.
    Quarantined(GenerationNumber),
    /// A person has to agree first.
    Ask(Ask, Vec<String>),
    /// A person was asked and has not answered.
    Waiting,
    /// A person said no.
    Denied,
    /// Apply it.
    Apply,
}

/// What is asked for, and what it is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The release.
    pub release: &'a Release,
    /// The spec hash of each of its services.
    pub hashes: &'a BTreeMap<ServiceName, String>,
    /// Its services.
    pub spec: &'a StackSpec,
    /// The services whose image follows the tag; the image of any other with data is a data change.
    pub tagged: &'a BTreeSet<ServiceName>,
    /// The image that gets at each service's data: of the current generation, or of what runs where that is yet another
    /// one.
    pub images: &'a BTreeMap<ServiceName, ImageId>,
    /// The services of the current generation; `None` where its content is gone.
    pub running: Option<&'a StackSpec>,
    /// On first contact: what differs from what runs.
    pub found: Option<&'a [String]>,
}

/// What becomes of a pending request.
pub fn answer(record: &StackRecord, asked: &Asked<'_>) -> Reply {
    let Asked { release, hashes, .. } = *asked;
    if let Some(entry) = record.quarantine.iter().find(|q| q.blame.covers(release))
        && !bug::is(Bug::QuarantineIsNotAsked)
    {
        return Reply::Quarantined(entry.generation);
    }
    // What was met differs from the file in more than the release shows: whoever agreed wants it put right.
    let met = asked.found.is_some_and(|found| !found.is_empty());
    if let Some(current) = record.current().filter(|_| !met)
        && current.is_made_of(release, hashes)
        && current.verdict != Verdict::Bad
    {
        return Reply::IsCurrent(current.number);
    }
    let Some((ask, detail)) = question(record, asked) else {
        return Reply::Apply;
    };
    match &record.approval {
        Some(approval) if answers(approval, &ask, record) => match approval.answer {
            None => Reply::Waiting,
            Some((Answer::Granted, _)) => Reply::Apply,
            Some((Answer::Denied, _)) => Reply::Denied,
        },
        _ => Reply::Ask(ask, detail),
    }
}

fn answers(approval: &Approval, ask: &Ask, record: &StackRecord) -> bool {
    approval.ask == *ask
        && record
            .request
            .as_ref()
            .is_some_and(|r| r.id() == approval.request)
}

/// What a person has to agree to before this release is applied.
fn question(record: &StackRecord, asked: &Asked<'_>) -> Option<(Ask, Vec<String>)> {
    if let Some(found) = asked.found
        && !found.is_empty()
    {
        return Some((Ask::FirstContact, found.to_vec()));
    }
    // Also where no release runs: somebody may have made the database by hand.
    let running = Running {
        images: asked.images,
        spec: asked.running,
        carried: &record.carried_targets(),
        tagged: asked.tagged,
    };
    let changes = data_change::between(&running, &asked.release.images, asked.spec);
    let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let asks = !lines.is_empty() && !bug::is(Bug::DataChangeIsNotAsked);
    asks.then_some((Ask::DataChange, lines))
}

/// What the watch over the current generation has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing yet.
    Open,
    /// Proven.
    Good(String),
    /// Failed; these services.
    Bad {
        /// Why, for people.
        why: String,
        /// The services that failed.
        services: Vec<ServiceName>,
        /// How bad.
        severity: crate::policy::Severity,
        /// Whether it is a fact that no waiting can change.
        terminal: bool,
    },
    /// The trial is over and nothing is known: a person has to look.
    Unclear(String),
}

/// Judges the current generation, in time that the agent was there to look (invariant 15). `crash`: a
/// service that dies again and again.
pub fn judge(
    record: &StackRecord,
    overall: &Overall,
    trial: &TrialPolicy,
    crash: Option<&(ServiceName, String)>,
) -> Judgement {
    let Some(current) = record.current().filter(|current| current.applied.is_some()) else {
        return Judgement::Open;
    };
    let on_trial = current.verdict == Verdict::Trial;
    let health = &record.health;
    if let Some((service, words)) = crash
        && on_trial
    {
        return Judgement::Bad {
            why: format!("{service} {words}"),
            services: vec![service.clone()],
            severity: crate::policy::Severity::Critical,
            terminal: true,
        };
    }
    if let Overall::Failing { probes, severity } = overall
        && health.failing_for() > trial.window
        && health.fails_on(probes)
    {
        return Judgement::Bad {
            why: reasons(probes, health.failing_for()),
            services: probes.iter().map(|(_, service, _)| service.clone()).collect(),
            severity: *severity,
            terminal: false,
        };
    }
    if !on_trial {
        return Judgement::Open;
    }
    let is_long = health.healthy_for() >= trial.good_after || bug::is(Bug::ProvenAtFirstSight);
    if *overall == Overall::Healthy && is_long {
        return Judgement::Good(format!("healthy for {}", span(health.healthy_for())));
    }
    end_of_trial(record, overall, trial)
}

/// `trial_max`: still flapping is bad, mostly unknown is for a person.
fn end_of_trial(record: &StackRecord, overall: &Overall, trial: &TrialPolicy) -> Judgement {
    let health = &record.health;
    let elapsed = health.looked_for();
    if elapsed < trial.trial_max {
        return Judgement::Open;
    }
    if health.watched_for() < elapsed / 2 {
        return Judgement::Unclear(format!(
            "after {} nothing can be said: health was observed for less than half of it",
            span(trial.trial_max)
        ));
    }
    match overall {
        Overall::Failing { probes, .. } if !health.fails_on(probes) => Judgement::Open,
        Overall::Failing { probes, severity } => Judgement::Bad {
            why: format!(
                "still flapping after {}: {}",
                span(elapsed),
                reasons(probes, health.failing_for())
            ),
            services: probes.iter().map(|(_, service, _)| service.clone()).collect(),
            severity: *severity,
            terminal: false,
        },
        Overall::Healthy => Judgement::Open,
        Overall::Undecided(why) => Judgement::Unclear(format!("after {}: {why}", span(trial.trial_max))),
    }
}

fn reasons(probes: &[(crate::name::ProbeName, ServiceName, String)], failing: Duration) -> String {
    let words: Vec<String> = probes
        .iter()
        .map(|(name, service, words)| format!("probe {name} of {service}: {words}"))
        .collect();
    format!("{} (failing for {})", words.join("; "), span(failing))
}

/// A duration for people: `5m 3s`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) if duration < Duration::from_secs(10) && duration.subsec_millis() > 0 => {
            format!("{s}.{}s", duration.subsec_millis() / 100)
        }
        (0, 0, s) => format!("{s}s"),
        (0, m, 0) => format!("{m}m"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, 0, _) => format!("{h}h"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

/// Whether the request in force was answered, so that nothing is pending.
pub fn is_settled(record: &StackRecord) -> bool {
    record.standing != Standing::Pending
}

#[cfg(test)]
mod tests;
