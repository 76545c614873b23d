//! Who else is at work on the stack's containers: `docker compose up` by hand stops, renames, creates
//! and removes for a while, and what it carries over is the data. Pure: what was seen when is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::drift::Drift;
use crate::name::{ContainerId, ServiceName};
use crate::observed::{ContainerObs, ContainerState};
use crate::record::StackRecord;
use crate::stack_spec::StackSpec;
use crate::time::Moment;

/// A container that somebody else has just made is left alone for this long, and its service with it.
const MAY_TAKE: Duration = Duration::from_secs(20);

/// A container that has exited is left alone for this long: Compose 1.29 stops the old one before there
/// is any other sign of it, and could not remove what runs again.
const SETTLE: Duration = Duration::from_millis(1500);

/// A container that was paused is left alone for this long: `docker commit` does it, and backups do.
const FROZEN: Duration = Duration::from_secs(60);

/// Since when each container is seen, and seen to have exited, or to be paused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sightings(BTreeMap<ContainerId, Sighting>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sighting {
    first: Moment,
    exited: Option<Moment>,
    paused: Option<Moment>,
}

impl Sightings {
    /// Takes what is seen at `now`.
    pub fn take(&mut self, seen: &[ContainerObs], now: &Moment) {
        self.0.retain(|id, _| seen.iter().any(|c| c.id == *id));
        for container in seen {
            let sighting = self.0.entry(container.id.clone()).or_insert_with(|| Sighting {
                first: now.clone(),
                exited: None,
                paused: None,
            });
            let since = |is_so: bool, at: &mut Option<Moment>| match at {
                Some(_) if is_so => {}
                _ => *at = is_so.then(|| now.clone()),
            };
            let exited = matches!(container.state, ContainerState::Exited(_));
            since(exited, &mut sighting.exited);
            since(container.state == ContainerState::Paused, &mut sighting.paused);
        }
    }

    /// Whoever was at work is done: nobody saw when they began.
    pub fn take_for_old(&mut self) {
        let long = u64::try_from((MAY_TAKE + SETTLE + FROZEN).as_millis()).unwrap_or(u64::MAX);
        let back = |at: &mut Moment| at.boot_ms = at.boot_ms.saturating_sub(long);
        for sighting in self.0.values_mut() {
            back(&mut sighting.first);
            sighting.exited.as_mut().map(back);
            sighting.paused.as_mut().map(back);
        }
    }

    /// The services at which somebody else is at work, with how long each is still left alone: there is
    /// a container that is not ours and new, or one of ours that Compose has named aside.
    pub fn at_work(
        &self,
        record: &StackRecord,
        seen: &[ContainerObs],
        now: &Moment,
    ) -> BTreeMap<ServiceName, Duration> {
        let mut left: BTreeMap<ServiceName, Duration> = BTreeMap::new();
        for container in seen.iter().filter(|c| !c.oneoff) {
            let Some(sighting) = self.0.get(&container.id) else {
                continue;
            };
            let since = if record.hash_of(container).is_none() {
                Some(&sighting.first)
            } else {
                sighting.exited.as_ref().filter(|_| is_named_aside(container))
            };
            let rest = since.map_or(Duration::ZERO, |since| rest(MAY_TAKE, since, now));
            if !rest.is_zero() {
                let longest = left.entry(container.service.clone()).or_default();
                *longest = rest.max(*longest);
            }
        }
        left
    }

    /// How long one difference of `all` is still left alone because its container has only just exited,
    /// or that of something it depends on: what dies together is healed together, in its order.
    pub fn settles(&self, one: &Drift, all: &[Drift], spec: &StackSpec, now: &Moment) -> Duration {
        let reach = spec.with_dependencies([one.service()]);
        let needs = |d: &Drift| d.service() != one.service() && reach.contains(d.service());
        let waits_for = all.iter().filter(|d| *d == one || needs(d));
        let spans = waits_for.filter_map(|drift| {
            let Drift::Down { container, .. } = drift else {
                return None;
            };
            let sighting = self.0.get(container)?;
            let left = |at: &Option<Moment>, span| at.as_ref().map(|at| rest(span, at, now));
            // What needs a paused one does not wait for the end of somebody's backup.
            let frozen = left(&sighting.paused, FROZEN).filter(|_| drift == one);
            left(&sighting.exited, SETTLE).max(frozen)
        });
        spans.max().unwrap_or_default()
    }
}

/// Compose 1.29 puts the short id before the name of what it is about to remove.
fn is_named_aside(container: &ContainerObs) -> bool {
    let name = container.name.strip_prefix(container.id.short());
    name.is_some_and(|rest| rest.starts_with('_'))
}

/// What is left of `span`; of another boot nothing is known, and so nothing is left.
fn rest(span: Duration, since: &Moment, now: &Moment) -> Duration {
    span.saturating_sub(now.since(since).unwrap_or(span))
}

#[cfg(test)]
mod tests;
