//! The simulated engine: every call takes a moment, may be lost, refused, left unanswered or be the agent's
//! last; names are locks, repeats are done, and a request that was sent takes effect whoever listens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agent::engine::{
    Attachment, Build, Carried, ContainerDetail, ContainerObs, Difference, Engine, EngineError, EngineEvent,
    EngineInfo, Exec, Executed, Listener, NewContainer, OneOff, Ran,
};
use async_trait::async_trait;
use state::files::Signal;
use state::name::{ContainerId, Digest, ImageId, StackName};
use state::observed::ContainerState;
use state::stack_spec::EnvValue;
use state::stack_spec::{
    HealthcheckTest, Mount, NetworkSpec, RestartPolicy, ServiceSpec, StackSpec, VolumeSpec,
};
use tokio::io::AsyncWriteExt as _;

use crate::commands::ExecCall;
use crate::edges::{Clocks, Shared, kill, lock};
use crate::laws::Call;
use crate::points;
use crate::repository;
use crate::story::IDENTITY;
use crate::world::{Container, World};

/// The least that it takes to hear of a container's end.
const AWAITS: Duration = Duration::from_millis(10);

/// The engine, as one agent reaches it.
pub(crate) struct Simulated {
    pub(crate) world: Shared,
    pub(crate) clocks: Arc<Clocks>,
    /// Which agent this is.
    pub(crate) agent: String,
}

/// What becomes of one call.
enum Fate {
    Well,
    /// It never arrives.
    Lost,
    /// It takes effect, and nobody hears of it.
    Unanswered,
    /// 500; with the effect, or without it.
    Refused(bool),
    /// The agent dies; after the effect, or before it.
    Dies(bool),
}

impl Simulated {
    async fn call<T>(
        &self,
        name: &'static str,
        takes: Duration,
        effect: impl FnOnce(&mut World) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        tokio::time::sleep(takes).await;
        let spins = {
            let mut world = lock(&self.world);
            world.settle(self.clocks.elapsed());
            world.asks_too_much(name)
        };
        if spins {
            std::future::pending::<()>().await;
        }
        let mut world = lock(&self.world);
        if world.is_away() {
            return Err(unreachable_engine());
        }
        match fate(&mut world, name, self.agent == IDENTITY) {
            Fate::Well => effect(&mut world),
            Fate::Lost => {
                world.injected("engine: call lost", format!("LOST {name}"));
                Err(unreachable_engine())
            }
            Fate::Unanswered => {
                let done = effect(&mut world);
                let words = format!("UNANSWERED {name}: {}", done.is_ok());
                world.injected("engine: no answer", words);
                Err(EngineError::Timeout {
                    call: name,
                    after: Duration::from_secs(10),
                })
            }
            Fate::Refused(took_effect) => {
                if took_effect {
                    // Whatever came of it, the answer is the same.
                    let _ = effect(&mut world);
                }
                let words = format!("500 {name}, effect: {took_effect}");
                world.injected("engine: 500", words);
                Err(EngineError::Refused {
                    call: name,
                    status: 500,
                    message: String::from("something went wrong"),
                })
            }
            Fate::Dies(after) => {
                if after {
                    // Nobody is left to hear of it.
                    let _ = effect(&mut world);
                }
                drop(world);
                kill()
            }
        }
    }

    /// How long a one-off container still runs, or may run.
    fn rest_of(&self, id: &ContainerId, until: Duration) -> Duration {
        let ends = lock(&self.world).ends_of_once(id);
        let then = ends.map_or(until, |ends| ends.min(until));
        then.saturating_sub(self.clocks.elapsed()) + AWAITS
    }

    /// A call that changes something: the laws look at it first.
    async fn change<T>(
        &self,
        call: Call<'_>,
        effect: impl FnOnce(&mut World) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        let words = call.to_string();
        let place = points::of_call(&call);
        let agent = self.agent.clone();
        let check = move |world: &mut World| {
            world.changing(&agent, &call);
            world.changes += 1;
            world.note(words);
            effect(world)
        };
        self.call(place, Duration::from_millis(20), check).await
    }
}

/// Another agent is not killed: it is not the one that is looked at.
fn fate(world: &mut World, place: &'static str, ours: bool) -> Fate {
    let faults = world.faults;
    if ours && let Some(after) = world.dies(&[place]) {
        return Fate::Dies(after);
    }
    if world.dice.in_thousand(faults.lost) {
        Fate::Lost
    } else if world.dice.in_thousand(faults.unanswered) {
        Fate::Unanswered
    } else if world.dice.in_thousand(faults.refused) {
        Fate::Refused(world.dice.in_thousand(500))
    } else {
        Fate::Well
    }
}

fn unreachable_engine() -> EngineError {
    EngineError::Unreachable {
        address: String::from("unix:///sim.sock"),
        reason: String::from("connection refused"),
    }
}

fn not_found(call: &'static str, what: &str) -> EngineError {
    EngineError::NotFound {
        call,
        message: format!("no such container: {what}"),
    }
}

/// What a service asks for, but for its image and its name.
pub(crate) fn config_of(spec: &ServiceSpec) -> Digest {
    let mut spec = spec.clone();
    spec.image = None;
    Digest::of(&serde_json::to_vec(&spec).expect("a service is plain data"))
}

/// What a service is told that it does not know.
pub(crate) fn misled(spec: &ServiceSpec) -> Option<String> {
    let mut values = spec.environment.values().flatten().map(EnvValue::expose);
    values.find(|value| value.starts_with("bad")).map(str::to_owned)
}

fn create(world: &mut World, new: &NewContainer<'_>) -> Result<ContainerId, EngineError> {
    if !world.images.contains_key(&new.image) {
        return Err(EngineError::NotFound {
            call: "create container",
            message: format!("no such image: {}", new.image.short()),
        });
    }
    if let Some(holder) = world.named(&new.name) {
        let container = &world.containers[&holder];
        let ours = container.operation == Some(new.operation) && container.state == ContainerState::Created;
        if !ours {
            return Err(EngineError::Conflict {
                call: "create container",
                message: format!("the name {} is in use by {}", new.name, holder.short()),
            });
        }
        world.containers.remove(&holder);
    }
    let mut networks = BTreeMap::new();
    for key in new.spec.networks().into_iter().flat_map(BTreeMap::keys) {
        // Whether there are such networks is found out when it is started.
        let name = new.stack.networks[key].name.clone();
        networks.insert(name.clone(), attachment(&name, new.service.as_str()));
    }
    let mut writable = BTreeSet::new();
    let mut anonymous = new.carried.clone();
    for mount in &new.spec.volumes {
        match mount {
            Mount::Volume(volume) => {
                let name = new.stack.volumes[&volume.volume].name.clone();
                world.volumes.entry(name.clone()).or_default();
                writable.insert(name);
            }
            Mount::Anonymous { target, .. } if !anonymous.iter().any(|c| c.target == *target) => {
                let volume = world.dice.hex(64);
                anonymous.push(Carried {
                    target: target.clone(),
                    volume,
                });
            }
            _ => {}
        }
    }
    for volume in &anonymous {
        world.volumes.entry(volume.volume.clone()).or_default();
        writable.insert(volume.volume.clone());
    }
    let id = world.fresh_id();
    let container = Container {
        name: new.name.clone(),
        project: Some(new.stack.project.clone()),
        service: new.service.clone(),
        number: new.number,
        image: new.image.clone(),
        config: config_of(new.spec),
        misled: misled(new.spec),
        conf: None,
        parts: Vec::new(),
        read_at: None,
        hash: Some(new.spec_hash.clone()),
        operation: Some(new.operation),
        oneoff: false,
        state: ContainerState::Created,
        started: None,
        first_started: None,
        restart: new.restart,
        restarts: 0,
        networks,
        anonymous,
        writable,
        ports: new
            .spec
            .ports
            .iter()
            .filter_map(|port| port.published.map(|range| range.first))
            .collect(),
        checked: new
            .spec
            .healthcheck
            .as_ref()
            .is_some_and(|check| check.test != HealthcheckTest::Disabled),
        stopped: false,
    };
    world.laws.keeps_its_rows(&container, &world.volumes);
    world.containers.insert(id.clone(), container);
    Ok(id)
}

fn attachment(network: &str, service: &str) -> Attachment {
    Attachment {
        network: network.to_owned(),
        aliases: vec![service.to_owned()],
        fixed_ipv4: None,
        fixed_ipv6: None,
        address: Some(std::net::IpAddr::from([10, 0, 0, 9])),
    }
}

#[async_trait]
impl Engine for Simulated {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.call("engine info", Duration::from_millis(2), |_| {
            Ok(EngineInfo {
                version: String::from("20.10.24"),
                api: String::from("1.41"),
            })
        })
        .await
    }

    async fn containers(&self, project: &StackName) -> Result<Vec<ContainerObs>, EngineError> {
        self.call("list containers", Duration::from_millis(2), |world| {
            let mut all: Vec<ContainerObs> = world
                .containers
                .iter()
                .filter(|(_, c)| c.project.as_ref() == Some(project))
                .map(|(id, c)| world.summary(id, c))
                .collect();
            all.sort_by(|a, b| (&a.service, a.number, &a.id).cmp(&(&b.service, b.number, &b.id)));
            Ok(all)
        })
        .await
    }

    async fn container(&self, id: &str) -> Result<Option<ContainerDetail>, EngineError> {
        self.call("inspect container", Duration::from_millis(1), |world| {
            let found = world.named(id);
            Ok(found.map(|id| world.detail(&id, &world.containers[&id])))
        })
        .await
    }

    async fn create(&self, new: &NewContainer<'_>) -> Result<ContainerId, EngineError> {
        self.change(Call::Create(new), |world| create(world, new)).await
    }

    async fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.change(Call::Start(id), |world| {
            let Some(container) = world.containers.get(id) else {
                return Err(not_found("start container", id.short()));
            };
            if container.state == ContainerState::Paused {
                return Err(EngineError::Conflict {
                    call: "start container",
                    message: String::from("cannot start a paused container, try unpause instead"),
                });
            }
            let gone = container
                .networks
                .keys()
                .find(|name| !world.networks.contains(*name));
            if let Some(network) = gone.filter(|_| !container.runs()) {
                return Err(not_found("start container", &format!("network {network}")));
            }
            world.start(id).map_err(|message| EngineError::Refused {
                call: "start container",
                status: 500,
                message,
            })
        })
        .await
    }

    async fn stop(&self, id: &ContainerId, _: Duration) -> Result<(), EngineError> {
        self.change(Call::Stop(id), |world| {
            if !world.containers.contains_key(id) {
                return Err(not_found("stop container", id.short()));
            }
            world.stop(id, 0);
            Ok(())
        })
        .await
    }

    async fn unpause(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.change(Call::Unpause(id), |world| {
            let container = world
                .containers
                .get_mut(id)
                .ok_or_else(|| not_found("unpause container", id.short()))?;
            if container.state != ContainerState::Paused {
                return Err(EngineError::Refused {
                    call: "unpause container",
                    status: 500,
                    message: format!("container {} is not paused", id.short()),
                });
            }
            container.state = ContainerState::Running(None);
            Ok(())
        })
        .await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.change(Call::Remove(id), |world| {
            world.containers.remove(id);
            Ok(())
        })
        .await
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<(), EngineError> {
        self.change(Call::Rename(id, name), |world| {
            if !world.containers.contains_key(id) {
                return Err(not_found("rename container", id.short()));
            }
            if let Some(holder) = world.named(name).filter(|holder| holder != id) {
                return Err(EngineError::Conflict {
                    call: "rename container",
                    message: format!("the name {name} is in use by {}", holder.short()),
                });
            }
            let container = world
                .containers
                .get_mut(id)
                .ok_or_else(|| not_found("rename container", id.short()))?;
            name.clone_into(&mut container.name);
            Ok(())
        })
        .await
    }

    async fn set_restart(&self, id: &ContainerId, policy: &RestartPolicy) -> Result<(), EngineError> {
        self.change(Call::SetRestart(id), |world| {
            let container = world
                .containers
                .get_mut(id)
                .ok_or_else(|| not_found("update container", id.short()))?;
            container.restart = *policy;
            Ok(())
        })
        .await
    }

    async fn connect(&self, id: &ContainerId, to: &Attachment) -> Result<(), EngineError> {
        self.change(Call::Connect(id), |world| {
            if !world.networks.contains(&to.network) {
                return Err(not_found("connect network", &to.network));
            }
            let container = world
                .containers
                .get_mut(id)
                .ok_or_else(|| not_found("connect network", id.short()))?;
            // Whoever is attached already stays so as it is.
            container
                .networks
                .entry(to.network.clone())
                .or_insert_with(|| to.clone());
            Ok(())
        })
        .await
    }

    async fn disconnect(&self, id: &ContainerId, network: &str) -> Result<(), EngineError> {
        self.change(Call::Disconnect(id), |world| {
            let container = world
                .containers
                .get_mut(id)
                .ok_or_else(|| not_found("disconnect network", id.short()))?;
            container.networks.remove(network);
            Ok(())
        })
        .await
    }

    async fn run_once(&self, once: &OneOff<'_>) -> Result<Ran, EngineError> {
        let begin = |world: &mut World| world.begin_once(once);
        let id = self.change(Call::RunOnce(&once.name), begin).await?;
        let until = self.clocks.elapsed() + once.within;
        loop {
            let over = self.clocks.elapsed() >= until;
            // The answer and the removal are one moment: whoever dies before it finds the container, and after it none.
            let take = |world: &mut World| {
                let ran = world.take_once(&id)?;
                if ran.is_none() && over {
                    world.end_once(&once.stack.project, &once.name, once.operation);
                    return Err(EngineError::Timeout {
                        call: "run once",
                        after: once.within,
                    });
                }
                Ok(ran)
            };
            let rest = self.rest_of(&id, until);
            if let Some(ran) = self.call("await once", rest, take).await? {
                if let Some(Listener(tell)) = once.listener {
                    tell(ran.stdout.as_bytes());
                }
                return Ok(ran);
            }
        }
    }

    async fn signal(&self, id: &ContainerId, _: Signal) -> Result<(), EngineError> {
        self.change(Call::Signal(id), |world| {
            let World {
                files,
                containers,
                now,
                ..
            } = world;
            let container = containers.get_mut(id);
            let container = container.ok_or_else(|| not_found("signal container", id.short()))?;
            // Who has a configuration reads it again.
            if container.runs() && container.conf.is_some() {
                container.reads(files, *now);
            }
            Ok(())
        })
        .await
    }

    async fn end_once(&self, project: &StackName, name: &str, operation: u64) -> Result<(), EngineError> {
        self.change(Call::EndOnce(name), |world| {
            world.end_once(project, name, operation);
            Ok(())
        })
        .await
    }

    async fn exec(&self, exec: Exec<'_>) -> Result<Executed, EngineError> {
        let variables = exec.env.iter();
        let call = ExecCall {
            container: exec.container.clone(),
            command: exec.command.clone(),
            env: variables
                .map(|(key, value)| (key.clone(), value.expose().to_owned()))
                .collect(),
        };
        let play = |world: &mut World| world.play_exec(&call);
        let ran = self.change(Call::Exec(exec.container), play).await?;
        let written = exec.output.write_all(ran.stdout.as_bytes()).await;
        written.map_err(|error| EngineError::Stream {
            call: "exec",
            reason: error.to_string(),
        })?;
        Ok(Executed {
            code: ran.code,
            stderr: ran.stderr,
            bytes: ran.stdout.len() as u64,
        })
    }

    async fn log_tail(&self, _: &ContainerId, _: u32) -> Result<String, EngineError> {
        Ok(String::new())
    }

    async fn differences(
        &self,
        id: &ContainerId,
        new: &NewContainer<'_>,
    ) -> Result<Vec<Difference>, EngineError> {
        self.call("compare container", Duration::from_millis(2), |world| {
            let container = world
                .containers
                .get(id)
                .ok_or_else(|| not_found("compare container", id.short()))?;
            let mut found = Vec::new();
            if container.image != new.image {
                found.push(Difference {
                    field: String::from("Image"),
                    detail: String::from("it differs"),
                });
            }
            if container.config != config_of(new.spec) {
                found.push(Difference {
                    field: String::from("Config"),
                    detail: String::from("it differs"),
                });
            }
            Ok(found)
        })
        .await
    }

    async fn networks(&self, names: &BTreeSet<String>) -> Result<BTreeSet<String>, EngineError> {
        self.call("list networks", Duration::from_millis(1), |world| {
            Ok(names.intersection(&world.networks).cloned().collect())
        })
        .await
    }

    async fn create_network(
        &self,
        _: &StackSpec,
        _: &str,
        _: &NetworkSpec,
        name: &str,
    ) -> Result<(), EngineError> {
        self.change(Call::CreateNetwork(name), |world| {
            world.networks.insert(name.to_owned());
            Ok(())
        })
        .await
    }

    async fn volumes(&self, names: &BTreeSet<String>) -> Result<BTreeSet<String>, EngineError> {
        self.call("list volumes", Duration::from_millis(1), |world| {
            Ok(names
                .iter()
                .filter(|name| world.volumes.contains_key(*name))
                .cloned()
                .collect())
        })
        .await
    }

    async fn create_volume(
        &self,
        _: &StackSpec,
        _: &str,
        _: &VolumeSpec,
        name: &str,
    ) -> Result<(), EngineError> {
        self.change(Call::CreateVolume(name), |world| {
            world.volumes.entry(name.to_owned()).or_default();
            Ok(())
        })
        .await
    }

    async fn claim(&self, project: &StackName, identity: &str) -> Result<String, EngineError> {
        self.call("claim stack", Duration::from_millis(3), |world| {
            let marker = world
                .volumes
                .entry(format!("io.steadfast.owner.{project}"))
                .or_default();
            let owner = marker
                .entry(String::from("owner"))
                .or_insert_with(|| identity.to_owned());
            Ok(owner.clone())
        })
        .await
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageId>, EngineError> {
        self.call("find image", Duration::from_millis(1), |world| {
            if let Ok(id) = reference.parse::<ImageId>() {
                return Ok(world.images.contains_key(&id).then_some(id));
            }
            Ok(world.tags.get(reference).cloned())
        })
        .await
    }

    async fn pull(
        &self,
        reference: &str,
        _: Option<&str>,
        _: &(dyn Fn(String) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        self.change(Call::Pull, |world| {
            let shaky = world.faults.registry;
            if world.dice.in_thousand(shaky) {
                world.injected("registry: refused", "THE REGISTRY REFUSES");
                return Err(EngineError::Refused {
                    call: "pull",
                    status: 500,
                    message: String::from("toomanyrequests: slow down"),
                });
            }
            let Some(image) = world.registry.get(reference).cloned() else {
                return Err(EngineError::ManifestUnknown {
                    reference: reference.to_owned(),
                    message: String::from("manifest unknown"),
                });
            };
            world.tags.insert(reference.to_owned(), image.clone());
            let behaviour = world.laws.behaviours.get(&image).copied();
            world
                .images
                .insert(image.clone(), behaviour.unwrap_or(crate::world::Behaviour::Well));
            Ok(image)
        })
        .await
    }

    async fn build(
        &self,
        build: &Build<'_>,
        _: &(dyn Fn(String) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        tokio::time::sleep(Duration::from_secs(20)).await;
        self.change(Call::Build(build.context), |world| {
            repository::build(world, build)
        })
        .await
    }

    async fn tag(&self, image: &ImageId, reference: &str) -> Result<(), EngineError> {
        self.change(Call::Tag, |world| {
            if !world.images.contains_key(image) {
                return Err(not_found("tag image", image.short()));
            }
            world.tags.insert(reference.to_owned(), image.clone());
            Ok(())
        })
        .await
    }

    async fn kept_images(&self, project: &StackName) -> Result<BTreeSet<ImageId>, EngineError> {
        self.call("list keepers", Duration::from_millis(1), |world| {
            let mine = world.keepers.iter().filter(|(of, _)| of == project);
            Ok(mine.map(|(_, image)| image.clone()).collect())
        })
        .await
    }

    async fn keep_image(&self, project: &StackName, image: &ImageId) -> Result<(), EngineError> {
        self.change(Call::Keep, |world| {
            if !world.images.contains_key(image) {
                return Err(not_found("keep image", image.short()));
            }
            world.keepers.insert((project.clone(), image.clone()));
            Ok(())
        })
        .await
    }

    async fn release_images(
        &self,
        project: &StackName,
        wanted: &BTreeSet<ImageId>,
    ) -> Result<(), EngineError> {
        self.change(Call::Release, |world| {
            world
                .keepers
                .retain(|(of, image)| of != project || wanted.contains(image));
            Ok(())
        })
        .await
    }

    async fn follow_events(&self, _: &(dyn Fn(EngineEvent) + Send + Sync)) -> Result<(), EngineError> {
        // Events only wake; the story wakes the agent itself, or does not.
        std::future::pending().await
    }
}
