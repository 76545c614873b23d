//! One container that a plan makes, and how the one that it replaces makes room for it.

use crate::name::ServiceName;
use crate::naming::aside;
use crate::observed::ContainerDetail;
use crate::stack_spec::{RestartPolicy, ServiceSpec};
use crate::step::{Step, Target};

use super::grace;

/// When the names of the old and the new container change hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// When the new one runs: nobody needs the old one's name before.
    AfterStart,
    /// Before the old one stops.
    BeforeStop,
    /// When all have made room: another container that does has the new one's name.
    Contended,
}

/// One container that is made: anew, or in place of another.
pub(super) struct Made<'a> {
    pub(super) service: &'a ServiceName,
    pub(super) spec: &'a ServiceSpec,
    pub(super) number: u32,
    pub(super) create: Step,
    pub(super) temporary: String,
    pub(super) name: String,
    pub(super) old: Option<&'a ContainerDetail>,
    pub(super) start_first: bool,
    pub(super) late: bool,
    pub(super) names: Names,
    pub(super) operation: u64,
}

impl Made<'_> {
    pub(super) fn new_target(&self) -> Target {
        Target::New(self.service.clone(), self.number)
    }

    /// The old container makes room, and keeps all that it needs to come back. Only what the new one
    /// cannot start without is done before its start: from the stop on nobody is served.
    pub(super) fn take_down(&self) -> Vec<Step> {
        let Some(old) = self.old else { return Vec::new() };
        let target = Target::Existing(old.summary.id.clone());
        let mut steps: Vec<Step> = hold_back(old).into_iter().collect();
        if self.names != Names::AfterStart {
            steps.extend(self.change_names());
        }
        steps.push(Step::Stop {
            target,
            service: self.service.clone(),
            grace: grace(self.spec),
            ran: old.summary.state.is_running(),
        });
        if self.spec.has_fixed_address() {
            steps.extend(self.detach());
        }
        steps
    }

    /// The old container's name is set free, and taken where the new one was made before.
    fn change_names(&self) -> Vec<Step> {
        let Some(old) = self.old else { return Vec::new() };
        let mut steps = vec![Step::Rename {
            target: Target::Existing(old.summary.id.clone()),
            from: old.summary.name.clone(),
            to: aside(&old.summary.name, self.operation),
        }];
        if !self.late && self.names != Names::Contended {
            steps.push(self.take_name());
        }
        steps
    }

    /// Whether the old container has the name that `other` gets.
    pub(super) fn holds_name_of(&self, other: &Made<'_>) -> bool {
        self.old.is_some_and(|old| old.summary.name == other.name)
            && (self.service, self.number) != (other.service, other.number)
    }

    /// The old container leaves its networks, so that it cannot come back into them by itself.
    pub(super) fn detach(&self) -> Option<Step> {
        let old = self.old.filter(|old| !old.networks.is_empty())?;
        let target = Target::Existing(old.summary.id.clone());
        Some(Step::Detach {
            target,
            from: old.networks.clone(),
        })
    }

    pub(super) fn take_name(&self) -> Step {
        Step::Rename {
            target: self.new_target(),
            from: self.temporary.clone(),
            to: self.name.clone(),
        }
    }
}

/// A container that is about to stop is not started again by the engine.
pub(super) fn hold_back(old: &ContainerDetail) -> Option<Step> {
    (old.restart != RestartPolicy::No).then(|| Step::Quiesce {
        target: Target::Existing(old.summary.id.clone()),
        was: old.restart,
    })
}

/// What nobody waits for, when all serve: names change hands, and the old containers leave their
/// networks. A new one is found by its name before that too, which is an alias of it; and an old one
/// cannot come up by itself, because its restart policy is `no`.
pub(super) fn hand_over(changes: &[Made<'_>], steps: &mut Vec<Step>) {
    for made in changes {
        if made.names == Names::AfterStart {
            steps.extend(made.change_names());
        }
        if !made.spec.has_fixed_address() {
            steps.extend(made.detach());
        }
    }
}
