//! Where to go back to, and whether going back is right: the newest good generation that can be
//! restored now, within the budget, and only for a failure that a rollback can mend.

use std::collections::{BTreeMap, BTreeSet};

use crate::bug::{self, Bug};
use crate::decide::span;
use crate::files::reads_otherwise;
use crate::hold::Fact;
use crate::migration_tool::MigrationTool;
use crate::name::ServiceName;
use crate::observed::{Known, SchemaHead};
use crate::order::Refused;
use crate::policy::{Approval, FailureAction, OnTimeout, SeverityPolicy, TrialPolicy};
use crate::record::{Answer, Ask, StackRecord, Standing};
use crate::release::{Blame, Generation, GenerationNumber, Verdict};
use crate::retention::KEPT_GOOD;
use crate::schema_fit::{Direction, SchemaFit, Ways};
use crate::stack_spec::StackSpec;
use crate::time::Moment;

/// All that the choice depends on.
#[derive(Debug, Clone)]
pub struct Failure<'a> {
    /// The stack.
    pub record: &'a StackRecord,
    /// Its services, as the current generation has them.
    pub spec: &'a StackSpec,
    /// The services that failed.
    pub services: &'a [ServiceName],
    /// Which good generations can be restored now, or why not.
    pub available: &'a BTreeMap<GenerationNumber, Result<(), String>>,
    /// Where the schema stands; `None`: no database is configured.
    pub schema: Option<&'a Known<SchemaHead>>,
    /// What moves the schema; `None`: the agent does not.
    pub tool: Option<&'a MigrationTool>,
    /// The numbers.
    pub trial: &'a TrialPolicy,
    /// What the severity of the failure asks for.
    pub row: &'a SeverityPolicy,
    /// Now.
    pub now: &'a Moment,
}

impl<'a> Failure<'a> {
    fn ways(&self) -> Ways<'a> {
        Ways {
            tool: self.tool,
            record: self.record,
        }
    }
}

/// What to do about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retreat {
    /// Go back to this generation.
    To {
        /// The target.
        target: GenerationNumber,
        /// What is blamed.
        blame: Blame,
    },
    /// Ask first.
    Ask {
        /// What is asked.
        ask: Ask,
        /// What would happen, a line each.
        detail: Vec<String>,
    },
    /// Asked, and not answered yet; or something has to be known first. Why, for people.
    Wait(String),
    /// Not by the agent itself: a person has to.
    Hold {
        /// Why.
        why: String,
        /// What a person can do.
        way_out: String,
        /// The facts that end it.
        until: BTreeSet<Fact>,
    },
    /// The severity says: fix forward.
    Report,
}

/// A hold that ends with one of these facts; with none of them, by a person alone.
fn hold(why: impl Into<String>, way_out: impl Into<String>, until: &[Fact]) -> Retreat {
    Retreat::Hold {
        why: why.into(),
        way_out: way_out.into(),
        until: until.iter().copied().collect(),
    }
}

/// The newest good generation that can be restored now and is not what runs; with all that cannot, and why.
pub fn target<'a>(
    record: &'a StackRecord,
    available: &BTreeMap<GenerationNumber, Result<(), String>>,
) -> Result<&'a Generation, Vec<String>> {
    let mut reasons = Vec::new();
    // What only older ones need was let go.
    let kept = record.good().take(KEPT_GOOD);
    for good in kept.filter(|g| Some(g.number) != record.current) {
        if record.current.is_some_and(|current| good.number > current) {
            continue;
        }
        if record
            .current()
            .is_some_and(|current| current.is_made_of(&good.release, &good.hashes))
        {
            reasons.push(format!(
                "generation {}: it is the same in everything, so nothing would change",
                good.number
            ));
            continue;
        }
        if record.quarantine.iter().any(|q| q.blame.covers(&good.release)) {
            reasons.push(format!(
                "generation {}: its release is in quarantine",
                good.number
            ));
            continue;
        }
        if let Some(why) = &good.not_restorable {
            reasons.push(format!("generation {}: {why}", good.number));
            continue;
        }
        match available.get(&good.number) {
            Some(Ok(())) => return Ok(good),
            Some(Err(why)) => reasons.push(format!("generation {}: {why}", good.number)),
            None => reasons.push(format!("generation {}: not checked yet", good.number)),
        }
    }
    Err(reasons)
}

/// Decides by the agent's own account.
pub fn retreat(failure: &Failure<'_>) -> Retreat {
    let record = failure.record;
    if failure.row.action == FailureAction::Notify {
        return Retreat::Report;
    }
    let Some(current) = record.current() else {
        return hold("nothing is deployed", "pin a release that works", &[]);
    };
    if let Some(restored) = record.restored.as_ref().filter(|r| r.to == current.number)
        && !bug::is(Bug::Cascade)
    {
        return hold(
            format!(
                "generation {} was restored after generation {} failed, and fails too: the cause is likely outside of the release",
                restored.to, restored.from
            ),
            "look for the cause outside (database, disk, network, a third party); then `steadfast retry`, `steadfast rollback`, or pin another release",
            &[],
        );
    }
    if let Some(spent) = budget_spent(failure) {
        return spent;
    }
    let target = match target(record, failure.available) {
        Ok(target) => target,
        Err(reasons) => return nowhere(&reasons, &[Fact::Healthy, Fact::Target]),
    };
    if current.verdict != Verdict::Trial && !can_mend(failure, current, target) {
        return hold(
            format!(
                "{} fails, but neither it nor anything it depends on differs in generation {}: a rollback would not mend it",
                names(failure.services),
                target.number
            ),
            "look for the cause outside; `steadfast rollback` goes back all the same",
            &[Fact::Healthy],
        );
    }
    let (health, trial) = (&record.health, failure.trial);
    let long = health.failing_for() > trial.window * 2 || health.looked_for() > trial.trial_max;
    if let Some(stop) = schema_stops(failure.ways(), target, failure.schema, &[Fact::Healthy], long) {
        return stop;
    }
    if let Some(stop) = settled(failure, current, target) {
        return stop;
    }
    let blame = Blame::between(&current.release, Some(&target.release));
    consent(failure, current, target).unwrap_or(Retreat::To {
        target: target.number,
        blame,
    })
}

/// There is no target, and why.
fn nowhere(reasons: &[String], until: &[Fact]) -> Retreat {
    if reasons.is_empty() {
        return hold(
            "there is no good generation to go back to",
            "pin a release that works; the agent goes on healing what runs",
            until,
        );
    }
    hold(
        format!("no good generation can be restored: {}", reasons.join("; ")),
        "bring back what is missing, or pin a release that works",
        until,
    )
}

/// Whether a rollback was begun and has not come to its end: what runs is what was left.
pub fn is_unfinished(record: &StackRecord) -> bool {
    record.current().is_some_and(|current| {
        // Also where another release was asked for meanwhile, and failed before it ran.
        current.verdict == Verdict::Bad && matches!(record.standing, Standing::Quarantined(_))
    })
}

/// A rollback that was begun, and taken back for a reason that may pass, is tried again: its release
/// was judged by then, so only what the way back itself needs is asked again, and no health of it
/// makes it right.
pub fn again(
    record: &StackRecord,
    available: &BTreeMap<GenerationNumber, Result<(), String>>,
    schema: Option<&Known<SchemaHead>>,
    tool: Option<&MigrationTool>,
) -> Retreat {
    let Some(current) = record.current() else {
        return hold("nothing is deployed", "pin a release that works", &[]);
    };
    let target = match target(record, available) {
        Ok(target) => target,
        Err(reasons) => return nowhere(&reasons, &[Fact::Target]),
    };
    // It has failed before: whoever is paged looks after the database too.
    schema_stops(Ways { tool, record }, target, schema, &[], true).unwrap_or_else(|| Retreat::To {
        target: target.number,
        blame: Blame::between(&current.release, Some(&target.release)),
    })
}

/// Where a person's order leads to: they need no cause and have no budget, but the target must be
/// restorable, and the schema must fit. `vouched`: they say that it does; that counts only for what
/// the agent could not see itself.
pub fn ordered<'a>(
    record: &'a StackRecord,
    available: &BTreeMap<GenerationNumber, Result<(), String>>,
    schema: Option<&Known<SchemaHead>>,
    tool: Option<&MigrationTool>,
    vouched: bool,
) -> Result<&'a Generation, Refused> {
    let target = target(record, available).map_err(|reasons| {
        let why = if reasons.is_empty() {
            String::from("there is no earlier good generation")
        } else {
            reasons.join("; ")
        };
        Refused::new(why, "pin a release that works")
    })?;
    let fit = SchemaFit::of(Ways { tool, record }, target, schema);
    match fit.why_not(target.number) {
        Some(why) if !(vouched && fit.may_be_vouched_for()) => Err(Refused::new(why, fit.way_out())),
        _ => Ok(target),
    }
}

fn names(services: &[ServiceName]) -> String {
    let unique: BTreeSet<&str> = services.iter().map(ServiceName::as_str).collect();
    unique.into_iter().collect::<Vec<_>>().join(", ")
}

/// Invariant 6: the budget counts per request. What the wall clock says of a time before this boot is not trusted: one
/// that was set meanwhile would make room for one more.
fn budget_spent(failure: &Failure<'_>) -> Option<Retreat> {
    let request = failure.record.request.as_ref()?.id();
    let (budget, per) = (failure.trial.budget, failure.trial.budget_per);
    let recent = failure
        .record
        .rollbacks
        .iter()
        .filter(|(of, at)| *of == request && failure.now.surely_since(at) < per)
        .count();
    let is_spent = recent >= budget as usize && !bug::is(Bug::BudgetIsNotCounted);
    is_spent.then(|| {
        hold(
            format!(
                "{recent} automatic rollbacks within {} for this request: the budget is spent",
                span(per)
            ),
            "`steadfast rollback` goes back all the same; `steadfast retry` or a new request starts afresh",
            &[],
        )
    })
}

/// Invariant 7: the target differs in a failing service, or in something it depends on.
fn can_mend(failure: &Failure<'_>, current: &Generation, target: &Generation) -> bool {
    let reach = failure.spec.with_dependencies(failure.services);
    reach.iter().any(|service| {
        let spec = failure.spec.services.get(*service);
        let reads = spec.is_some_and(|spec| reads_otherwise(&current.files, &target.files, spec));
        reads || current.hashes.get(*service) != target.hashes.get(*service)
    }) || bug::is(Bug::RollbackMendsAll)
}

/// A schema that would have to be moved is not moved here; one that cannot be seen is waited for, and not for ever
/// (`long`): a database that stays away is a person's to look after.
/// What has been good for long fails for another reason than its schema, and taking that back loses the most.
fn settled(failure: &Failure<'_>, current: &Generation, target: &Generation) -> Option<Retreat> {
    let SchemaFit::Moves(way) = SchemaFit::of(failure.ways(), target, failure.schema) else {
        return None;
    };
    let good_for = failure.now.since_or_wall(current.judged.as_ref()?);
    let is_settled = current.verdict == Verdict::Good && good_for >= failure.trial.settled_after;
    (is_settled && way.direction == Direction::Down).then(|| {
        hold(
            format!(
                "generation {} has been good for {}, and going back to generation {} would {way}: the cause is likelier outside",
                current.number,
                span(good_for),
                target.number
            ),
            "look for the cause outside; `steadfast rollback` goes back all the same",
            &[Fact::Healthy],
        )
    })
}

fn schema_stops(
    ways: Ways<'_>,
    target: &Generation,
    schema: Option<&Known<SchemaHead>>,
    until: &[Fact],
    long: bool,
) -> Option<Retreat> {
    let fit = SchemaFit::of(ways, target, schema);
    let why = fit.why_not(target.number)?;
    if bug::is(Bug::SchemaIsNotAsked) {
        return None;
    }
    Some(match fit {
        SchemaFit::Unseen(_) if !long => Retreat::Wait(why),
        SchemaFit::Unseen(_) => hold(why, fit.way_out(), &[until, &[Fact::Schema]].concat()),
        _ => hold(why, fit.way_out(), until),
    })
}

/// Who is asked before acting, and whether the severity matrix says so, which says for how long, too. `None`: nobody.
fn who_agrees(failure: &Failure<'_>, target: &Generation) -> Option<(String, bool)> {
    if let Approval::By(role) = &failure.row.approval {
        return Some((role.to_string(), true));
    }
    let SchemaFit::Moves(way) = SchemaFit::of(failure.ways(), target, failure.schema) else {
        return None;
    };
    let is_down = way.direction == Direction::Down;
    let declared = failure.tool.filter(|_| is_down).map(|tool| &tool.declared);
    let asks = declared?.asks_about(&way.revisions)?;
    Some((format!("somebody (rollback_schema is \"ask\" for {asks})"), false))
}

/// What the severity matrix, or the operator of the schema, asks for before acting; `None`: go.
fn consent(failure: &Failure<'_>, current: &Generation, target: &Generation) -> Option<Retreat> {
    let (role, by_severity) = who_agrees(failure, target)?;
    let ask = Ask::Rollback {
        from: current.number,
        to: target.number,
    };
    let asked = failure
        .record
        .approval
        .as_ref()
        .filter(|approval| approval.ask == ask);
    let Some(asked) = asked else {
        let tag = target.release.tag.as_ref().map_or("as found", |tag| tag.as_str());
        let mut detail = vec![
            format!("generation {} fails; {role} is asked for consent", current.number),
            format!("back to generation {} ({tag})", target.number),
        ];
        let fit = SchemaFit::of(failure.ways(), target, failure.schema);
        if let SchemaFit::Moves(way) = &fit {
            detail.push(way.to_string());
            let lost = way.destroys().into_iter();
            detail.extend(lost.map(|line| format!("takes out of the database: {line}")));
            detail.extend(
                way.one_way
                    .iter()
                    .map(|why| format!("only a backup leads there: {why}")),
            );
        }
        let kept = fit.kept().iter();
        detail.extend(
            kept.map(|revision| format!("{revision} stays: it is declared to fit (rollback_schema)")),
        );
        return Some(Retreat::Ask { ask, detail });
    };
    match &asked.answer {
        Some((Answer::Granted, _)) => None,
        Some((Answer::Denied, by)) => Some(hold(
            format!("{by} said no to the rollback"),
            "`steadfast rollback` goes back all the same; or pin another release",
            &[],
        )),
        None => {
            let waited = failure.now.since_or_wall(&asked.asked);
            let respond = failure.row.respond.filter(|_| by_severity);
            match respond.filter(|respond| waited >= *respond) {
                Some(_) if failure.row.on_timeout == OnTimeout::Act => None,
                Some(respond) => Some(hold(
                    format!("nobody answered within {}", span(respond)),
                    "`steadfast approve`, `steadfast rollback`, or pin another release",
                    &[Fact::Healthy],
                )),
                None => Some(Retreat::Wait(format!(
                    "{role} was asked for consent {} ago",
                    span(waited)
                ))),
            }
        }
    }
}

#[cfg(test)]
mod tests;
