//! Healing: what should run and does not is brought back, each container with its own patience. Who
//! else is at work is left alone; what somebody else made right is adopted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use state::bug::{self, Bug};
use state::drift::{Drift, Wanted};
use state::journal::{Kind, Operation};
use state::name::ServiceName;
use state::record::{Change, Standing};
use state::release::Author;
use state::time::Moment;

use super::attend::End;
use super::{Healing, Stack, Stop};
use crate::backoff::Backoff;

impl Stack {
    /// Heals what should be running and is not, each container with its own backoff.
    pub(super) async fn heal(&mut self) -> Result<(), Stop> {
        self.compare()?;
        if self.record.operation.is_some() || self.is_left_alone() {
            return Ok(());
        }
        let Some(wanted) = self.wanted()? else {
            return Ok(());
        };
        let now = self.now();
        let at_work = self.sightings.at_work(&self.record, &self.seen, &now);
        self.adopt_look_alikes(&wanted, &at_work).await?;
        self.compare()?;
        self.forget_healed(&now);
        let asked = self.data_in_question(&wanted).await?;
        let due = self.due(&wanted, &at_work, &asked, &now);
        if !asked.is_empty() {
            self.healing.retain(|(service, _), _| !asked.contains(service));
            let names: Vec<&str> = asked.iter().map(ServiceName::as_str).collect();
            self.waits.push(format!(
                "what is asked for: until it is applied nothing changes about the data of {}",
                names.join(", ")
            ));
        }
        if due.is_empty() {
            if !self.drift.is_empty() {
                let settles = |d: &Drift| !self.settles(d, &wanted, &now).is_zero();
                self.waits.push(String::from(if !at_work.is_empty() {
                    "whoever has just made a container of this stack, to be done"
                } else if self.drift.iter().any(settles) {
                    "a sign of somebody else at work on what has just exited or was paused"
                } else {
                    "the next try to heal"
                }));
            }
            return Ok(());
        }
        for drift in &due {
            let healing = self.healing.entry(slot(drift)).or_insert_with(|| Healing {
                backoff: Backoff::new(0.0),
                tries: 0,
                failed: false,
                last: now.clone(),
                not_before: now.clone(),
            });
            healing.tries += 1;
            healing.last = now.clone();
            if !bug::is(Bug::NoPatience) {
                healing.not_before = now.plus(healing.backoff.next());
            }
        }
        for group in self.healing_groups(&wanted, due) {
            let ended = self.mend(&wanted, &group).await?;
            match ended {
                End::Done => {
                    self.count_deaths(&group);
                    self.uncount(group.iter().filter(|d| !is_dead(d)));
                }
                End::Failed { why, passing, died } => {
                    self.waits.push(format!("another try to heal: {why}"));
                    for drift in &group {
                        if let Some(healing) = self.healing.get_mut(&slot(drift)) {
                            healing.failed = true;
                        }
                    }
                    if died && !passing {
                        self.count_deaths(&group);
                    } else {
                        // It says nothing about the container, as where its image is gone: it is no death.
                        self.uncount(&group);
                    }
                }
                End::GaveWay => {
                    self.uncount(&group);
                    break;
                }
            }
            // What was heard meanwhile may say that nothing more is to be touched.
            let no_more = self.is_paused() || self.is_let_go() || *self.stop.borrow();
            if self.record.operation.is_some() || self.is_called_away() || no_more {
                break;
            }
        }
        self.compare()
    }

    /// How long a difference is still left alone because something has only just exited.
    pub(super) fn settles(&self, drift: &Drift, wanted: &Wanted, now: &Moment) -> Duration {
        self.sightings.settles(drift, &self.drift, &wanted.spec, now)
    }

    /// The differences that may be healed now.
    fn due(
        &self,
        wanted: &Wanted,
        at_work: &BTreeMap<ServiceName, Duration>,
        asked: &BTreeSet<ServiceName>,
        now: &Moment,
    ) -> Vec<Drift> {
        let may = |d: &&Drift| {
            !at_work.contains_key(d.service())
                && !asked.contains(d.service())
                && self.settles(d, wanted, now).is_zero()
                && self
                    .healing
                    .get(&slot(d))
                    .is_none_or(|h| now.until(&h.not_before).is_zero())
        };
        self.drift.iter().filter(may).cloned().collect()
    }

    /// The services that another image than that of the current generation has written to, while a request waits:
    /// whether their data gets another image again is its question, and what would show that there is one stays.
    async fn data_in_question(&self, wanted: &Wanted) -> Result<BTreeSet<ServiceName>, Stop> {
        if self.drift.is_empty() || self.record.standing != Standing::Pending {
            return Ok(BTreeSet::new());
        }
        let changes = self.data_changes(wanted).await?;
        Ok(changes.into_iter().map(|change| change.service).collect())
    }

    /// Whether there is something to heal that was not tried a short while ago: what keeps dying has
    /// no claim on what may be its remedy.
    pub(super) async fn has_new_to_heal(&mut self) -> Result<bool, Stop> {
        self.compare()?;
        if self.is_left_alone() || self.is_paused() {
            return Ok(false);
        }
        let Some(wanted) = self.wanted()? else {
            return Ok(false);
        };
        let now = self.now();
        self.forget_healed(&now);
        let at_work = self.sightings.at_work(&self.record, &self.seen, &now);
        let asked = self.data_in_question(&wanted).await?;
        let due = self.due(&wanted, &at_work, &asked, &now);
        Ok(due.iter().any(|d| !self.healing.contains_key(&slot(d))))
    }

    /// What is healed at once. All of it together first; what has failed before is tried service by
    /// service, in the order of their start, so that one that cannot be mended keeps no other down.
    fn healing_groups(&self, wanted: &Wanted, due: Vec<Drift>) -> Vec<Vec<Drift>> {
        let together = |d: &Drift| {
            self.healing
                .get(&slot(d))
                .is_none_or(|h| h.tries <= 1 && !h.failed)
        };
        let shared = wanted
            .spec
            .services
            .values()
            .any(|spec| !matches!(spec.networking, state::stack_spec::Networking::Networks(_)));
        if shared || due.iter().all(together) {
            return vec![due];
        }
        let order: Vec<ServiceName> = wanted
            .spec
            .start_order()
            .unwrap_or_default()
            .into_iter()
            .flatten()
            .collect();
        let mut groups: BTreeMap<usize, Vec<Drift>> = BTreeMap::new();
        for drift in due {
            let place = order
                .iter()
                .position(|service| service == drift.service())
                .unwrap_or(order.len());
            groups.entry(place).or_default().push(drift);
        }
        groups.into_values().collect()
    }

    /// What had exited, and was started again, has died once more.
    fn count_deaths(&mut self, group: &[Drift]) {
        let policies = Arc::clone(&self.policies);
        for drift in group.iter().filter(|d| is_dead(d)) {
            self.record.health.died(drift.service(), &policies, 1);
        }
    }

    fn uncount<'d>(&mut self, group: impl IntoIterator<Item = &'d Drift>) {
        for drift in group {
            if let Some(healing) = self.healing.get_mut(&slot(drift)) {
                healing.tries = healing.tries.saturating_sub(1);
            }
        }
    }

    /// Whether nothing is healed: half-way on request, or met and not agreed to yet.
    pub(super) fn is_left_alone(&self) -> bool {
        let frozen = self.record.hold.as_ref().is_some_and(|hold| hold.frozen);
        let met = self.record.approval.as_ref().is_some_and(|approval| {
            let granted = matches!(approval.answer, Some((state::record::Answer::Granted, _)));
            approval.ask == state::record::Ask::FirstContact && !granted
        });
        frozen || met
    }

    /// What has run for a while since it was healed starts with a clean count.
    fn forget_healed(&mut self, now: &Moment) {
        let drift = &self.drift;
        self.healing.retain(|(service, number), healing| {
            let down = drift
                .iter()
                .any(|d| d.service() == service && slot_number(d) == *number);
            down || now
                .since(&healing.last)
                .is_some_and(|age| age < Duration::from_secs(60))
        });
    }

    /// A container that somebody else made counts as ours when it is what we would make.
    async fn adopt_look_alikes(
        &mut self,
        wanted: &Wanted,
        at_work: &BTreeMap<ServiceName, Duration>,
    ) -> Result<(), Stop> {
        let mut changes = Vec::new();
        for drift in &self.drift {
            let Drift::Differs {
                container, service, ..
            } = drift
            else {
                continue;
            };
            let Some(seen) = self.seen.iter().find(|c| c.id == *container) else {
                continue;
            };
            let Some(hash) = wanted.hashes.get(service) else {
                continue;
            };
            let same_image = wanted.images.get(service) == Some(&seen.image);
            if self.record.hash_of(seen).is_some() || !same_image || at_work.contains_key(service) {
                continue;
            }
            let differences = self.differences(&wanted.spec, seen, hash).await?;
            let name = &self.settings.name;
            if differences.is_empty() {
                tracing::info!(stack = %name, "container {} of {service} is what we would make: adopted", container.short());
                changes.push(Change::Adopt(container.clone(), hash.clone()));
            }
            for difference in differences {
                let crate::engine::Difference { field, detail } = difference;
                tracing::info!(stack = %name, "container {} of {service} is not what we would make: {field} {detail}", container.short());
            }
        }
        self.commit(&changes)
    }

    /// Opens and carries out a heal.
    pub(super) async fn mend(&mut self, wanted: &Wanted, drift: &[Drift]) -> Result<End, Stop> {
        let words: Vec<String> = drift.iter().map(ToString::to_string).collect();
        self.mend_for(wanted, drift, &words.join("; ")).await
    }

    /// The same, for this reason.
    pub(super) async fn mend_for(
        &mut self,
        wanted: &Wanted,
        drift: &[Drift],
        why: &str,
    ) -> Result<End, Stop> {
        if !self.own().await? {
            return Ok(End::Failed {
                why: String::from("another agent owns this stack"),
                passing: true,
                died: false,
            });
        }
        let id = self.urgent_operation_id()?;
        let plan = match self.make_plan(wanted, drift, Kind::Heal, id, None, None).await? {
            Ok(plan) => plan,
            Err(error) => {
                return Ok(End::Failed {
                    why: error.to_string(),
                    passing: true,
                    died: false,
                });
            }
        };
        let request = self.record.request.as_ref().map(state::release::Request::id);
        let operation = Operation {
            id,
            kind: Kind::Heal,
            generation: Some(wanted.generation),
            request: request.unwrap_or_else(|| state::name::Digest::of(b"")),
            by: Author::Agent,
            why: why.to_owned(),
            begun: self.now(),
            plan,
        };
        tracing::warn!(stack = %self.settings.name, "healing: {}", operation.why);
        self.commit_urgent(&[Change::Open(operation.into())])?;
        let end = self.carry_on().await?;
        self.see_again().await?;
        Ok(end)
    }
}

/// Whether the right container had ended. One that somebody removed, or made otherwise, has not died.
fn is_dead(drift: &Drift) -> bool {
    matches!(drift, Drift::Down { .. })
}

/// The replica that a difference is about.
pub(super) fn slot(drift: &Drift) -> (ServiceName, u32) {
    (drift.service().clone(), slot_number(drift))
}

fn slot_number(drift: &Drift) -> u32 {
    match drift {
        Drift::Missing { number, .. }
        | Drift::Down { number, .. }
        | Drift::Differs { number, .. }
        | Drift::Surplus { number, .. } => *number,
    }
}
