//! How what runs differs from what should: one typed difference each, computed and nothing else.
//! What is unknown is never a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bug::{self, Bug};
use crate::common::Common;
use crate::files::ReleaseFiles;
use crate::name::{ContainerId, ImageId, ServiceName};
use crate::naming::is_set_aside;
use crate::observed::{ContainerObs, ContainerState};
use crate::record::StackRecord;
use crate::release::{Generation, GenerationNumber};
use crate::stack_spec::{NamespaceMode, Networking, RestartPolicy, ServiceSpec, StackSpec, VolumesFrom};

/// What should run: a generation, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The generation.
    pub generation: GenerationNumber,
    /// Its services.
    pub spec: Common<StackSpec>,
    /// The spec hash that each service's containers carry.
    pub hashes: BTreeMap<ServiceName, String>,
    /// The image of each service.
    pub images: BTreeMap<ServiceName, ImageId>,
    /// The operator's files that it is made of.
    pub files: ReleaseFiles,
}

impl Wanted {
    /// What `generation` asks for under the number that it runs as.
    pub fn of(number: GenerationNumber, generation: &Generation, spec: impl Into<Common<StackSpec>>) -> Self {
        Self {
            generation: number,
            spec: spec.into(),
            hashes: generation.hashes.clone(),
            images: generation.release.images.clone(),
            files: generation.files.clone(),
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// There is no container of this service and number.
    Missing {
        /// The service.
        service: ServiceName,
        /// The replica.
        number: u32,
    },
    /// The right container exists and does not run.
    Down {
        /// The service.
        service: ServiceName,
        /// The replica.
        number: u32,
        /// The container.
        container: ContainerId,
        /// How it is, in words.
        how: String,
    },
    /// The container is another one than it should be.
    Differs {
        /// The service.
        service: ServiceName,
        /// The replica.
        number: u32,
        /// The container.
        container: ContainerId,
        /// What differs, in words.
        why: String,
    },
    /// A container of this stack that should not be: one too many, or of a service that was taken out.
    Surplus {
        /// The service.
        service: ServiceName,
        /// The replica.
        number: u32,
        /// The container.
        container: ContainerId,
        /// Why it is one too many, in words.
        why: String,
    },
}

impl Drift {
    /// The service that it is about.
    pub fn service(&self) -> &ServiceName {
        match self {
            Self::Missing { service, .. }
            | Self::Down { service, .. }
            | Self::Differs { service, .. }
            | Self::Surplus { service, .. } => service,
        }
    }

    /// The container that it is about, where there is one.
    pub fn container(&self) -> Option<&ContainerId> {
        match self {
            Self::Missing { .. } => None,
            Self::Down { container, .. }
            | Self::Differs { container, .. }
            | Self::Surplus { container, .. } => Some(container),
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { service, number } => write!(f, "{service}-{number} is missing"),
            Self::Down {
                service, number, how, ..
            } => write!(f, "{service}-{number} {how}"),
            Self::Differs {
                service, number, why, ..
            }
            | Self::Surplus {
                service, number, why, ..
            } => {
                write!(f, "{service}-{number} {why}")
            }
        }
    }
}

/// Containers that belong to no service of the stack and that nobody told us about: reported, never touched.
pub fn orphans<'a>(
    record: &StackRecord,
    spec: &StackSpec,
    seen: &'a [ContainerObs],
) -> Vec<&'a ContainerObs> {
    seen.iter()
        .filter(|c| !c.oneoff && !spec.services.contains_key(&c.service) && record.hash_of(c).is_none())
        .collect()
}

/// Every difference between `wanted` and the containers that were seen. `lasting`: services that
/// are meant to go on running (a probe watches them), so that an exit with 0 is not being done.
pub fn drift(
    wanted: &Wanted,
    record: &StackRecord,
    seen: &[ContainerObs],
    lasting: &BTreeSet<ServiceName>,
) -> Vec<Drift> {
    let mut found = Vec::new();
    for (name, spec) in &wanted.spec.services {
        let mine: Vec<&ContainerObs> = seen.iter().filter(|c| !c.oneoff && c.service == *name).collect();
        for number in 1..=spec.replicas() {
            let slot = Slot {
                wanted,
                record,
                name,
                spec,
                number,
                lasting: lasting.contains(name),
            };
            slot.compare(&mine, &mut found);
        }
        for extra in mine
            .iter()
            .filter(|c| c.number == 0 || c.number > spec.replicas())
        {
            found.push(surplus(
                extra,
                format!("is one too many: {} wanted", spec.replicas()),
            ));
        }
    }
    for container in seen
        .iter()
        .filter(|c| !c.oneoff && !wanted.spec.services.contains_key(&c.service))
    {
        if record.hash_of(container).is_some() || bug::is(Bug::OrphanIsSurplus) {
            found.push(surplus(
                container,
                String::from("is of a service that was taken out"),
            ));
        }
    }
    follow_namespaces(wanted, seen, &mut found);
    found
}

fn surplus(container: &ContainerObs, why: String) -> Drift {
    Drift::Surplus {
        service: container.service.clone(),
        number: container.number,
        container: container.id.clone(),
        why,
    }
}

struct Slot<'a> {
    wanted: &'a Wanted,
    record: &'a StackRecord,
    name: &'a ServiceName,
    spec: &'a ServiceSpec,
    number: u32,
    lasting: bool,
}

impl Slot<'_> {
    fn compare(&self, mine: &[&ContainerObs], found: &mut Vec<Drift>) {
        let mut slot: Vec<&&ContainerObs> = mine.iter().filter(|c| c.number == self.number).collect();
        slot.sort_by_key(|c| (self.difference(c).is_some(), !c.state.is_running(), c.id.clone()));
        let Some(best) = slot.first() else {
            found.push(Drift::Missing {
                service: self.name.clone(),
                number: self.number,
            });
            return;
        };
        for extra in &slot[1..] {
            found.push(surplus(
                extra,
                String::from("is a second container of the same number"),
            ));
        }
        let (service, number, container) = (self.name.clone(), self.number, best.id.clone());
        if let Some(why) = self.difference(best) {
            found.push(Drift::Differs {
                service,
                number,
                container,
                why,
            });
        } else if let Some(how) = self.trouble(&best.state) {
            found.push(Drift::Down {
                service,
                number,
                container,
                how,
            });
        }
    }

    fn difference(&self, container: &ContainerObs) -> Option<String> {
        let image = self.wanted.images.get(self.name);
        if image.is_some_and(|image| *image != container.image) {
            return Some(format!("runs image {}", container.image.short()));
        }
        if container.state == ContainerState::Gone {
            return Some(String::from("is dead or being removed"));
        }
        // It has lost its name, its restart policy and maybe its networks: not worth a repair.
        if is_set_aside(&container.name)
            && self.spec.container_name.as_deref() != Some(container.name.as_str())
        {
            return Some(String::from(
                "was set aside by an operation that did not end well",
            ));
        }
        let hash = self.wanted.hashes.get(self.name)?;
        match self.record.hash_of(container) {
            Some(is) if is == hash => None,
            Some(_) => Some(String::from("was made from another specification")),
            None => Some(String::from("was made by somebody else")),
        }
    }

    /// What is wrong with the right container's life. The engine's own restarts are respected, not doubled.
    fn trouble(&self, state: &ContainerState) -> Option<String> {
        match state {
            ContainerState::Running(_) | ContainerState::Restarting | ContainerState::Gone => None,
            ContainerState::Created => Some(String::from("was never started")),
            ContainerState::Paused => Some(String::from("is paused")),
            ContainerState::Exited(code) if *code == Some(0) && self.is_done() => None,
            ContainerState::Exited(Some(code)) => Some(format!("has exited with code {code}")),
            ContainerState::Exited(None) => Some(String::from("has exited")),
        }
    }

    /// Whether an exit with 0 is what this service is for.
    fn is_done(&self) -> bool {
        let once = !matches!(
            self.spec.restart_policy(),
            RestartPolicy::Always | RestartPolicy::UnlessStopped
        );
        let serves = self.lasting || self.spec.healthcheck.is_some() || !self.spec.ports.is_empty();
        once && (self.wanted.spec.is_one_shot(self.name) || !serves)
    }
}

/// A container that lives in another's namespace, or on its volumes, is replaced with it. Only the
/// first container of a service is lived in.
fn follow_namespaces(wanted: &Wanted, seen: &[ContainerObs], found: &mut Vec<Drift>) {
    loop {
        let replaced: BTreeSet<&ServiceName> = found
            .iter()
            .filter(|d| {
                matches!(
                    d,
                    Drift::Differs { number: 1, .. } | Drift::Missing { number: 1, .. }
                )
            })
            .map(Drift::service)
            .collect();
        let goes = |c: &ContainerObs| {
            found.iter().any(|d| {
                matches!(d, Drift::Differs { .. } | Drift::Surplus { .. }) && d.container() == Some(&c.id)
            })
        };
        let followers: Vec<Drift> = seen
            .iter()
            .filter(|c| !c.oneoff && !goes(c))
            .filter_map(|c| {
                let spec = wanted.spec.services.get(&c.service)?;
                let host = hosts(spec).find(|host| replaced.contains(host))?;
                Some(Drift::Differs {
                    service: c.service.clone(),
                    number: c.number,
                    container: c.id.clone(),
                    why: format!("lives in a namespace of {host}, which is replaced"),
                })
            })
            .collect();
        if followers.is_empty() {
            return;
        }
        found.retain(|d| !followers.iter().any(|f| f.container() == d.container()));
        found.extend(followers);
    }
}

/// The services whose containers this one lives in, or on.
pub(crate) fn hosts(spec: &ServiceSpec) -> impl Iterator<Item = &ServiceName> {
    let network = match &spec.networking {
        Networking::Mode(mode) => Some(mode),
        Networking::Networks(_) => None,
    };
    let modes = [network, spec.pid.as_ref(), spec.ipc.as_ref()]
        .into_iter()
        .flatten();
    let modes = modes.filter_map(|mode| match mode {
        NamespaceMode::Service(service) => Some(service),
        _ => None,
    });
    let volumes = spec.volumes_from.iter().filter_map(|from| match from {
        VolumesFrom::Service { service, .. } => Some(service),
        VolumesFrom::Container { .. } => None,
    });
    modes.chain(volumes)
}

#[cfg(test)]
mod tests;
