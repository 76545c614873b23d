//! A tiny engine in memory: containers with a name, a life, networks and a restart policy. Every
//! step does here what it does on the real one, and refuses what the real one refuses.

use std::collections::{BTreeMap, BTreeSet};

use crate::drift::{Drift, Wanted, drift, hosts};
use crate::fixture::record;
use crate::name::{ContainerId, Digest, ImageId, ServiceName};
use crate::naming::Dialect;
use crate::observed::{Attachment, ContainerDetail, ContainerObs, ContainerState};
use crate::plan::Plan;
use crate::planner::{Ground, Unplannable, plan};
use crate::stack_spec::{RestartPolicy, ServiceSpec};
use crate::step::{Condition, Step, Target};

/// The number of the operation under test.
pub(super) const OPERATION: u64 = 9;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) service: ServiceName,
    pub(super) number: u32,
    pub(super) image: ImageId,
    pub(super) hash: String,
    pub(super) state: ContainerState,
    pub(super) networks: BTreeSet<String>,
    pub(super) restart: RestartPolicy,
    /// What two containers cannot have at a time: a host port, data that is written.
    pub(super) alone: bool,
    /// The container whose namespace it lives in.
    pub(super) lives_in: Option<ContainerId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct World {
    pub(super) containers: BTreeMap<ContainerId, Container>,
    pub(super) networks: BTreeSet<String>,
}

fn made(service: &ServiceName, number: u32) -> ContainerId {
    let digest = Digest::of(format!("{OPERATION} {service} {number}").as_bytes());
    digest.as_str().parse().unwrap()
}

fn id(target: &Target) -> ContainerId {
    match target {
        Target::Existing(id) => id.clone(),
        Target::New(service, number) => made(service, *number),
    }
}

pub(super) fn is_alone(spec: &ServiceSpec) -> bool {
    spec.publishes_host_port() || spec.data_mounts().next().is_some()
}

pub(super) fn networks_of(wanted: &Wanted, spec: &ServiceSpec) -> BTreeSet<String> {
    spec.networks()
        .into_iter()
        .flat_map(BTreeMap::keys)
        .map(|key| wanted.spec.networks[key].name.clone())
        .collect()
}

impl World {
    /// Does one step; the error is what an engine would say.
    pub(super) fn run(&mut self, step: &Step, wanted: &Wanted) -> Result<(), String> {
        match step {
            Step::CreateNetwork { name, .. } => {
                self.networks.insert(name.clone());
            }
            Step::Create { .. } => self.create(step, wanted)?,
            Step::Quiesce { target, .. } => self.get(target)?.restart = RestartPolicy::No,
            Step::GiveRestart { target, policy } => self.get(target)?.restart = *policy,
            Step::Stop { target, .. } => {
                if let Some(container) = self.containers.get_mut(&id(target))
                    && container.state.is_running()
                {
                    container.state = ContainerState::Exited(Some(0));
                }
            }
            Step::Detach { target, from } => {
                for attachment in from {
                    self.get(target)?.networks.remove(&attachment.network);
                }
            }
            Step::Attach { target, to } => {
                for attachment in to {
                    self.get(target)?.networks.insert(attachment.network.clone());
                }
            }
            Step::Rename { target, to, .. } => {
                let id = id(target);
                if let Some(holder) = self.holder(to).filter(|holder| *holder != id) {
                    return Err(format!("{step}: {} has that name", holder.short()));
                }
                if let Some(container) = self.containers.get_mut(&id) {
                    container.name.clone_from(to);
                }
            }
            Step::Start { target, .. } => self.start(&id(target))?,
            Step::Await { target, until, .. } => {
                let container = self.get(target)?;
                if !container.state.is_running() && container.state != ContainerState::Exited(Some(0)) {
                    return Err(format!("{step}: it does not run"));
                }
                // What was there before runs as long as it likes.
                if *until == Condition::Completed && matches!(target, Target::New(..)) {
                    container.state = ContainerState::Exited(Some(0));
                }
            }
            Step::Remove { target } => {
                self.containers.remove(&id(target));
            }
            _ => {}
        }
        Ok(())
    }

    fn get(&mut self, target: &Target) -> Result<&mut Container, String> {
        let gone = || format!("{target} is gone");
        self.containers.get_mut(&id(target)).ok_or_else(gone)
    }

    fn holder(&self, name: &str) -> Option<ContainerId> {
        let mut all = self.containers.iter();
        all.find(|(_, c)| c.name == name).map(|(id, _)| id.clone())
    }

    fn create(&mut self, step: &Step, wanted: &Wanted) -> Result<(), String> {
        let Step::Create {
            service,
            number,
            name,
            image,
            hash,
            ..
        } = step
        else {
            return Ok(());
        };
        let id = made(service, *number);
        if self.containers.contains_key(&id) {
            return Ok(());
        }
        if let Some(holder) = self.holder(name) {
            return Err(format!("{step}: {} has the name {name}", holder.short()));
        }
        let spec = &wanted.spec.services[service];
        let host = match hosts(spec).next() {
            Some(host) => Some(self.first_of(host).ok_or_else(|| format!("{step}: no {host}"))?),
            None => None,
        };
        let container = Container {
            name: name.clone(),
            service: service.clone(),
            number: *number,
            image: image.clone(),
            hash: hash.clone(),
            state: ContainerState::Created,
            networks: networks_of(wanted, spec),
            restart: RestartPolicy::No,
            alone: is_alone(spec),
            lives_in: host,
        };
        if let Some(network) = container.networks.difference(&self.networks).next() {
            return Err(format!("{step}: there is no network {network}"));
        }
        self.containers.insert(id, container);
        Ok(())
    }

    /// The container that another one would live in: the running one, where there are two.
    fn first_of(&self, host: &ServiceName) -> Option<ContainerId> {
        let firsts = self
            .containers
            .iter()
            .filter(|(_, c)| c.service == *host && c.number == 1);
        firsts
            .max_by_key(|(_, c)| c.state.is_running())
            .map(|(id, _)| id.clone())
    }

    fn start(&mut self, id: &ContainerId) -> Result<(), String> {
        let container = self
            .containers
            .get(id)
            .ok_or_else(|| format!("{} is gone", id.short()))?;
        let rival = self.containers.iter().find(|(other, c)| {
            *other != id
                && container.alone
                && c.alone
                && c.state.is_running()
                && (&c.service, c.number) == (&container.service, container.number)
        });
        if let Some((rival, _)) = rival {
            return Err(format!("{} runs beside {}", id.short(), rival.short()));
        }
        let host = container.lives_in.as_ref();
        if host.is_some_and(|host| !self.containers.get(host).is_some_and(|c| c.state.is_running())) {
            return Err(format!("{} has no namespace to live in", id.short()));
        }
        let container = self
            .containers
            .get_mut(id)
            .ok_or_else(|| format!("{} is gone", id.short()))?;
        container.state = ContainerState::Running(None);
        Ok(())
    }

    /// What the agent sees of it.
    pub(super) fn seen(&self) -> Vec<ContainerObs> {
        self.containers.iter().map(|(id, c)| observe(id, c)).collect()
    }

    pub(super) fn drift(&self, wanted: &Wanted) -> Vec<Drift> {
        drift(wanted, &record(Vec::new()), &self.seen(), &BTreeSet::new())
    }

    pub(super) fn plan(&self, wanted: &Wanted, kind: crate::journal::Kind) -> Result<Plan, Unplannable> {
        let drift = self.drift(wanted);
        let inspected = drift.iter().filter_map(Drift::container);
        let details = inspected
            .map(|id| (id.clone(), inspect(id, &self.containers[id])))
            .collect();
        let running = self
            .containers
            .iter()
            .filter(|(_, c)| c.state.is_running())
            .map(|(id, c)| (c.service.clone(), id.clone()))
            .collect();
        let carried = std::collections::BTreeMap::new();
        let ground = Ground {
            files: &[],
            file_checks: &[],
            carried: &carried,
            details: &details,
            running: &running,
            networks: &self.networks,
            volumes: &BTreeSet::new(),
            data: &BTreeSet::new(),
            keep: &BTreeSet::new(),
            kept: &BTreeSet::new(),
            schema: None,
            dialect: Dialect::Hyphen,
            operation: OPERATION,
        };
        plan(wanted, &drift, &ground, kind)
    }

    /// What must be the same again after a step was taken back: everything but the exit code of
    /// what did not run.
    pub(super) fn picture(&self) -> String {
        let mut lines: Vec<String> = self
            .containers
            .iter()
            .map(|(id, c)| {
                let runs = if c.state.is_running() { "runs" } else { "rests" };
                let networks: Vec<&str> = c.networks.iter().map(String::as_str).collect();
                format!(
                    "{} {} {runs} [{}] {:?}",
                    id.short(),
                    c.name,
                    networks.join(" "),
                    c.restart
                )
            })
            .collect();
        lines.sort();
        lines.join("\n")
    }
}

fn observe(id: &ContainerId, container: &Container) -> ContainerObs {
    ContainerObs {
        id: id.clone(),
        name: container.name.clone(),
        service: container.service.clone(),
        number: container.number,
        image: container.image.clone(),
        state: container.state.clone(),
        spec: Some(container.hash.clone()),
        operation: None,
        oneoff: false,
        restarts: None,
    }
}

fn inspect(id: &ContainerId, container: &Container) -> ContainerDetail {
    let attached = container.networks.iter().map(|network| Attachment {
        network: network.clone(),
        aliases: vec![container.service.to_string()],
        fixed_ipv4: None,
        fixed_ipv6: None,
        address: None,
    });
    ContainerDetail {
        summary: observe(id, container),
        restart: container.restart,
        networks: attached.collect(),
        anonymous: Vec::new(),
        writable: container
            .alone
            .then(|| String::from("data"))
            .into_iter()
            .collect(),
        homes: container.lives_in.iter().map(ToString::to_string).collect(),
        started: None,
    }
}
