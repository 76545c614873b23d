//! The first half of a plan: what makes room for the new, in an order in which it can come back. Nothing
//! is removed here.

use crate::drift::Drift;
use crate::name::ServiceName;
use crate::naming::aside;
use crate::observed::ContainerDetail;
use crate::step::{Step, Target};

use super::made::{Made, hold_back};
use super::schema::stop_writer;
use super::{GRACE, Planner, Unplannable, grace};

/// One container that makes room, and how.
struct Leaving<'a> {
    old: &'a ContainerDetail,
    steps: Vec<Step>,
}

impl<'a> Planner<'a> {
    /// Dependents stop first; and whoever lives in a namespace of another stops before that one, also
    /// where the file says nothing of it any more: taken back, it starts after it.
    pub(super) fn make_room(
        &self,
        drift: &[Drift],
        changes: &[Made<'a>],
        layers: &[Vec<ServiceName>],
    ) -> Result<Vec<Step>, Unplannable> {
        let mut leaving = Vec::new();
        for layer in layers.iter().rev() {
            leaving.extend(self.surplus(drift, changes, |service| layer.contains(service))?);
            let mine = changes
                .iter()
                .filter(|c| layer.contains(c.service) && !c.start_first);
            leaving.extend(mine.filter_map(|change| {
                Some(Leaving {
                    old: change.old?,
                    steps: change.take_down(),
                })
            }));
            let writers = self.writers.iter().filter(|w| layer.contains(&w.summary.service));
            leaving.extend(writers.map(|old| Leaving {
                old,
                steps: stop_writer(&self.wanted.spec, old),
            }));
        }
        let taken_out = |service: &ServiceName| !self.wanted.spec.services.contains_key(service);
        leaving.extend(self.surplus(drift, changes, taken_out)?);
        for one in &mut leaving {
            self.stay_down_without_a_home(one);
        }
        Ok(lodgers_first(leaving)
            .into_iter()
            .flat_map(|one| one.steps)
            .collect())
    }

    fn surplus(
        &self,
        drift: &[Drift],
        changes: &[Made<'_>],
        of: impl Fn(&ServiceName) -> bool,
    ) -> Result<Vec<Leaving<'a>>, Unplannable> {
        let mut leaving = Vec::new();
        for difference in drift {
            let Drift::Surplus {
                service, container, ..
            } = difference
            else {
                continue;
            };
            if !of(service) {
                continue;
            }
            let old = self.detail(service, container)?;
            let target = Target::Existing(container.clone());
            let mut steps: Vec<Step> = hold_back(old).into_iter().collect();
            if changes.iter().any(|made| made.name == old.summary.name) {
                steps.push(Step::Rename {
                    target: target.clone(),
                    from: old.summary.name.clone(),
                    to: aside(&old.summary.name, self.ground.operation),
                });
            }
            steps.push(Step::Stop {
                target,
                service: service.clone(),
                grace: self.wanted.spec.services.get(service).map_or(GRACE, grace),
                ran: old.summary.state.is_running(),
            });
            leaving.push(Leaving { old, steps });
        }
        Ok(leaving)
    }

    /// What lives on in a namespace whose container does not run cannot be started again, so it is
    /// not when this is taken back.
    fn stay_down_without_a_home(&self, one: &mut Leaving<'_>) {
        let homes = self
            .ground
            .details
            .values()
            .filter(|other| one.old.lives_in(&other.summary));
        if homes.into_iter().all(|home| home.summary.state.is_running()) {
            return;
        }
        for step in &mut one.steps {
            if let Step::Stop { ran, .. } = step {
                *ran = false;
            }
        }
    }
}

/// The same, with each one after all that live in it.
fn lodgers_first(mut leaving: Vec<Leaving<'_>>) -> Vec<Leaving<'_>> {
    let mut ordered = Vec::with_capacity(leaving.len());
    while !leaving.is_empty() {
        let free = leaving
            .iter()
            .position(|one| !leaving.iter().any(|other| other.old.lives_in(&one.old.summary)));
        // Containers cannot live in each other.
        ordered.push(leaving.remove(free.unwrap_or(0)));
    }
    ordered
}
