//! The engine, as little of it as the protocol needs: containers with a name, a life, a network and a restart
//! policy; images; and the marker that says whose the stack is. It refuses what the real one refuses.

use std::collections::{BTreeMap, BTreeSet};

use state::journal::Outcome;
use state::name::ContainerId;
use state::observed::{Attachment, ContainerDetail, ContainerObs, ContainerState};
use state::stack_spec::RestartPolicy;
use state::step::{Condition, Step, Target};

use crate::ground::{self, NETWORK, VOLUME};

/// One container.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) service: usize,
    /// The release that its image is of.
    pub(crate) image: u8,
    pub(crate) hash: String,
    /// The operation that made it.
    pub(crate) operation: u64,
    pub(crate) running: bool,
    pub(crate) started: bool,
    pub(crate) attached: bool,
    /// Whether the engine starts it again by itself.
    pub(crate) restarts: bool,
}

/// What a call comes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// It says something about the release.
    Final,
    /// It says nothing.
    Passing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Engine {
    pub(crate) containers: BTreeMap<u64, Container>,
    /// Images that somebody removed.
    pub(crate) pruned: BTreeSet<u8>,
    /// The agent whose marker is there.
    pub(crate) owner: Option<usize>,
}

impl Engine {
    /// The operation number that no container bears. The real one counts up for ever; that would be another
    /// state for every heal.
    pub(crate) fn free_operation(&self) -> u64 {
        let taken = |n: &u64| self.containers.values().any(|c| c.operation == *n);
        (1..u64::MAX).find(|n| !taken(n)).expect("numbers have no end")
    }

    /// What a list says.
    pub(crate) fn seen(&self) -> Vec<ContainerObs> {
        self.containers.iter().map(|(id, c)| c.seen(*id)).collect()
    }

    /// What an inspect of each says.
    pub(crate) fn details(&self) -> BTreeMap<ContainerId, ContainerDetail> {
        let detail = |(id, c): (&u64, &Container)| (ground::container(*id), c.detail(*id));
        self.containers.iter().map(detail).collect()
    }

    /// Does one step of `operation`.
    pub(crate) fn run(&mut self, step: &Step, operation: u64) -> Result<Outcome, Refusal> {
        match step {
            Step::Create { .. } => return self.create(step, operation),
            Step::Quiesce { target, .. } => self.get(target, operation)?.restarts = false,
            Step::GiveRestart { target, policy } => {
                self.get(target, operation)?.restarts = *policy != RestartPolicy::No;
            }
            Step::Stop { target, .. } => {
                if let Ok(container) = self.get(target, operation) {
                    container.running = false;
                }
            }
            Step::Detach { target, .. } => self.get(target, operation)?.attached = false,
            Step::Attach { target, .. } => self.get(target, operation)?.attached = true,
            Step::Rename { target, to, .. } => self.rename(target, to, operation)?,
            Step::Start { target, .. } => self.get(target, operation)?.start(),
            Step::Await { target, until, .. } => {
                let running = self.get(target, operation)?.running;
                if !running && *until != Condition::Completed {
                    return Err(Refusal::Final);
                }
            }
            Step::Watch { targets, .. } => {
                for (target, _) in targets {
                    if !self.get(target, operation)?.running {
                        return Err(Refusal::Final);
                    }
                }
            }
            Step::Remove { target } => {
                if let Some(id) = self.id(target, operation) {
                    self.containers.remove(&id);
                }
            }
            Step::Pull { .. }
            | Step::FetchSource { .. }
            | Step::Build { .. }
            | Step::KeepImage { .. }
            | Step::ReleaseImages { .. }
            | Step::CreateNetwork { .. }
            | Step::CreateVolume { .. }
            // The model has no database.
            | Step::ReadMigrations { .. }
            | Step::ReadLosses { .. }
            | Step::SaveRows { .. }
            | Step::PutIn { .. }
            | Step::Look { .. }
            | Step::Backup { .. }
            | Step::VerifyBackup { .. }
            | Step::HandOn { .. }
            | Step::RestoreBeside { .. }
            | Step::DropRestored
            | Step::TakePlace
            | Step::GiveBack
            | Step::DropBeside { .. }
            | Step::CloseDatabase { .. }
            | Step::CopyDatabase
            | Step::OpenDatabase
            | Step::Migrate { .. }
            | Step::ApplySql { .. }
            | Step::PutBack
            | Step::PutFiles { .. }
            | Step::Signal { .. }
            | Step::CompareFiles { .. }
            | Step::CheckFile { .. } => {}
        }
        Ok(Outcome::Done)
    }

    /// Whether the container that a step is about exists.
    pub(crate) fn is_there(&self, target: &Target, operation: u64) -> bool {
        self.id(target, operation).is_some()
    }

    fn create(&mut self, step: &Step, operation: u64) -> Result<Outcome, Refusal> {
        let Step::Create {
            service,
            name,
            image,
            hash,
            ..
        } = step
        else {
            return Err(Refusal::Final);
        };
        let (service, image) = (ground::index(service), ground::release_of(image));
        let id = operation * 2 + service as u64;
        // What bears this operation's label was made before.
        if self.containers.contains_key(&id) {
            return Ok(Outcome::Created(ground::container(id)));
        }
        if self.pruned.contains(&image) || self.containers.values().any(|c| c.name == *name) {
            return Err(Refusal::Final);
        }
        let made = Container {
            name: name.clone(),
            service,
            image,
            hash: hash.clone(),
            operation,
            running: false,
            started: false,
            attached: true,
            restarts: false,
        };
        self.containers.insert(id, made);
        Ok(Outcome::Created(ground::container(id)))
    }

    fn rename(&mut self, target: &Target, to: &str, operation: u64) -> Result<(), Refusal> {
        let Some(id) = self.id(target, operation) else {
            return Ok(());
        };
        if self
            .containers
            .iter()
            .any(|(other, c)| *other != id && c.name == to)
        {
            return Err(Refusal::Final);
        }
        to.clone_into(&mut self.get(target, operation)?.name);
        Ok(())
    }

    fn id(&self, target: &Target, operation: u64) -> Option<u64> {
        let wanted = match target {
            Target::Existing(id) => id.clone(),
            Target::New(service, _) => ground::container(operation * 2 + ground::index(service) as u64),
        };
        let mut ids = self.containers.keys().copied();
        ids.find(|id| ground::container(*id) == wanted)
    }

    fn get(&mut self, target: &Target, operation: u64) -> Result<&mut Container, Refusal> {
        let id = self.id(target, operation);
        id.and_then(|id| self.containers.get_mut(&id))
            .ok_or(Refusal::Passing)
    }

    /// The host goes down and comes up: what has a restart policy starts, and nothing else.
    pub(crate) fn restart_host(&mut self) {
        for container in self.containers.values_mut() {
            container.running = false;
            if container.restarts {
                container.start();
            }
        }
    }
}

impl Container {
    fn start(&mut self) {
        self.started = true;
        self.running = !ground::dies(self.image);
    }

    fn seen(&self, id: u64) -> ContainerObs {
        let state = match (self.running, self.started) {
            (true, _) => ContainerState::Running(None),
            (false, true) => ContainerState::Exited(Some(1)),
            (false, false) => ContainerState::Created,
        };
        ContainerObs {
            id: ground::container(id),
            name: self.name.clone(),
            service: ground::service(self.service),
            number: 1,
            image: ground::image(self.image),
            state,
            spec: Some(self.hash.clone()),
            operation: Some(self.operation),
            oneoff: false,
            restarts: None,
        }
    }

    fn detail(&self, id: u64) -> ContainerDetail {
        let network = Attachment {
            network: NETWORK.to_owned(),
            aliases: Vec::new(),
            fixed_ipv4: None,
            fixed_ipv6: None,
            address: None,
        };
        ContainerDetail {
            summary: self.seen(id),
            restart: if self.restarts {
                RestartPolicy::Always
            } else {
                RestartPolicy::No
            },
            networks: self.attached.then_some(network).into_iter().collect(),
            anonymous: Vec::new(),
            writable: BTreeSet::from([VOLUME.to_owned()]),
            homes: BTreeSet::new(),
            started: None,
        }
    }
}
