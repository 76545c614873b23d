//! The second half of a plan: what is started, what is waited for, and what goes once that has stood.

use std::time::Duration;

use crate::bug::{self, Bug};
use crate::drift::Drift;
use crate::journal::Kind;
use crate::name::ServiceName;
use crate::stack_spec::{Condition as Need, HealthcheckTest, Nanos, RestartPolicy, ServiceSpec};
use crate::step::{Condition, Step, Target};

use super::made::Made;
use super::schema::{give_back, start_writer};
use super::{Planner, duration, grace};

/// How long a container may take to be seen running after its start.
pub(super) const RUNNING_WITHIN: Duration = Duration::from_secs(20);
/// How long a one-shot service may take.
const COMPLETED_WITHIN: Duration = Duration::from_secs(900);
/// How long new containers are watched before the old ones go, where `monitor` says nothing.
const MONITOR: Duration = Duration::from_secs(5);
impl Planner<'_> {
    /// Starts what a layer of the start order needs, each followed by what the next layers wait for.
    pub(super) fn bring_up(
        &self,
        layer: &[ServiceName],
        drift: &[Drift],
        changes: &[Made<'_>],
        steps: &mut Vec<Step>,
    ) {
        for name in layer {
            let Some(spec) = self.wanted.spec.services.get(name) else {
                continue;
            };
            let mut started: Vec<Target> = Vec::new();
            for difference in drift {
                if let Drift::Down {
                    service, container, ..
                } = difference
                    && service == name
                {
                    let target = Target::Existing(container.clone());
                    steps.push(Step::Start {
                        target: target.clone(),
                        service: name.clone(),
                        grace: grace(spec),
                    });
                    started.push(target);
                }
            }
            for made in changes.iter().filter(|made| made.service == name) {
                if made.late {
                    steps.push(made.create.clone());
                }
                let target = made.new_target();
                steps.push(Step::Start {
                    target: target.clone(),
                    service: name.clone(),
                    grace: grace(spec),
                });
                if made.start_first {
                    let most = has_healthcheck(Some(spec)).then_some(Need::Healthy);
                    steps.push(wait(name, spec, &target, most.max(self.need_of(name, drift))));
                    steps.extend(made.take_down());
                }
                started.push(target);
            }
            for writer in self.writers.iter().filter(|w| w.summary.service == *name) {
                let untouched = !self.reads_other_files(name);
                steps.extend(start_writer(&self.wanted.spec, writer, untouched));
            }
            let need = self.need_of(name, drift);
            for target in &started {
                steps.push(wait(name, spec, target, need));
            }
            if started.is_empty()
                && need == Some(Need::Healthy)
                && has_healthcheck(Some(spec))
                && let Some(container) = self.ground.running.get(name)
            {
                steps.push(Step::Await {
                    target: Target::Existing(container.clone()),
                    service: name.clone(),
                    until: Condition::Healthy,
                    within: healthy_within(spec),
                    untouched: true,
                });
            }
        }
    }

    /// The most that something which this plan starts needs of `name` before. What runs already needs
    /// nothing of it any more: whether it is well again is the judge's to watch, and holds up no plan.
    fn need_of(&self, name: &ServiceName, drift: &[Drift]) -> Option<Need> {
        drift
            .iter()
            .filter(|d| !matches!(d, Drift::Surplus { .. }))
            .filter_map(|d| self.wanted.spec.services.get(d.service())?.depends_on.get(name))
            .map(|need| need.condition)
            .max()
    }

    /// What an operation that got stuck, or was to stay as it stood, has brought up and no other replaces still waits
    /// for its restart policy.
    fn give_what_is_owed(&self, drift: &[Drift], changes: &[Made<'_>], steps: &mut Vec<Step>) {
        for (id, detail) in self.ground.details {
            let replaced = changes
                .iter()
                .filter_map(|made| made.old)
                .any(|old| old.summary.id == *id);
            let goes = |difference: &Drift| matches!(difference, Drift::Surplus { container, .. } if container == id);
            let policy = self
                .wanted
                .spec
                .services
                .get(&detail.summary.service)
                .map_or(RestartPolicy::No, ServiceSpec::restart_policy);
            if replaced
                || drift.iter().any(goes)
                || detail.restart != RestartPolicy::No
                || policy == RestartPolicy::No
            {
                continue;
            }
            steps.push(Step::GiveRestart {
                target: Target::Existing(id.clone()),
                policy,
            });
        }
    }

    /// The new containers are watched, get their restart policies, and the old ones go.
    pub(super) fn finish(&self, drift: &[Drift], changes: &[Made<'_>], steps: &mut Vec<Step>) {
        let lasting = |made: &&Made<'_>| !self.wanted.spec.is_one_shot(made.service);
        let targets: Vec<_> = changes
            .iter()
            .filter(lasting)
            .map(|made| (made.new_target(), made.service.clone()))
            .collect();
        let monitors = changes.iter().filter(lasting).map(|made| {
            self.update_config(made.spec)
                .and_then(|u| u.monitor)
                .map_or(MONITOR, duration)
        });
        if let Some(span) = monitors.max().filter(|_| !bug::is(Bug::OldGoesFirst)) {
            steps.push(Step::Watch { targets, span });
        }
        steps.extend(self.ground.schema.and_then(|schema| schema.look_when_up()));
        for made in changes {
            let policy = made.spec.restart_policy();
            if policy != RestartPolicy::No {
                steps.push(Step::GiveRestart {
                    target: made.new_target(),
                    policy,
                });
            }
        }
        steps.extend(self.writers.iter().filter_map(|writer| give_back(writer)));
        self.give_what_is_owed(drift, changes, steps);
        for made in changes {
            if let Some(old) = made.old {
                steps.push(Step::Remove {
                    target: Target::Existing(old.summary.id.clone()),
                });
            }
        }
        for difference in drift {
            if let Drift::Surplus { container, .. } = difference {
                steps.push(Step::Remove {
                    target: Target::Existing(container.clone()),
                });
            }
        }
        if self.kind != Kind::Heal {
            steps.push(Step::ReleaseImages { keep: self.to_keep() });
        }
    }
}

fn wait(name: &ServiceName, spec: &ServiceSpec, target: &Target, need: Option<Need>) -> Step {
    let (until, within) = match need {
        Some(Need::CompletedSuccessfully) => (Condition::Completed, COMPLETED_WITHIN),
        Some(Need::Healthy) => (Condition::Healthy, healthy_within(spec)),
        Some(Need::Started) | None => (Condition::Running, RUNNING_WITHIN),
    };
    Step::Await {
        target: target.clone(),
        service: name.clone(),
        until,
        within,
        untouched: false,
    }
}

fn has_healthcheck(spec: Option<&ServiceSpec>) -> bool {
    spec.and_then(|spec| spec.healthcheck.as_ref())
        .is_some_and(|check| check.test != HealthcheckTest::Disabled)
}

/// The longest that a HEALTHCHECK can take to decide, with a minute to spare. What the file leaves
/// open may be in the image; Docker's defaults are 30 s, 30 s and 3.
fn healthy_within(spec: &ServiceSpec) -> Duration {
    let check = spec.healthcheck.as_ref();
    let or = |value: Option<Nanos>, default: u64| value.map_or(Duration::from_secs(default), duration);
    let interval = or(check.and_then(|c| c.interval), 30);
    let timeout = or(check.and_then(|c| c.timeout), 30);
    let start = or(check.and_then(|c| c.start_period), 0);
    let retries = check.and_then(|c| c.retries).unwrap_or(3).clamp(1, 100);
    start + (interval + timeout) * u32::try_from(retries).unwrap_or(100) + Duration::from_secs(60)
}
