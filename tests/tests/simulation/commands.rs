//! Commands in containers, on the simulated host. What a command does is asked of whoever plays it; here is
//! only how it is started, waited for and ended.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use agent::engine::{Dialect, Engine as _, EngineError, Exec, Executed, OnceNetwork, OneOff, Ran};
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use state::name::{ContainerId, ImageId, ServiceName, StackName};
use state::observed::ContainerState;
use state::stack_spec::{Mount, RestartPolicy, ServiceSpec, StackSpec};

use crate::edges::{Clocks, lock};
use crate::engine::{Simulated, config_of};
use crate::story::{IDENTITY, Pace};
use crate::world::{Behaviour, Container, World, is_refused};

/// What is run in a one-off container.
#[derive(Debug, Clone)]
pub(crate) struct OneOffCall {
    pub(crate) name: String,
    pub(crate) service: ServiceName,
    pub(crate) image: ImageId,
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) operation: u64,
    /// The configuration that it sees, where it has one mounted.
    pub(crate) conf: Option<Vec<u8>>,
}

/// What is run in a container that runs.
#[derive(Debug, Clone)]
pub(crate) struct ExecCall {
    pub(crate) container: ContainerId,
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
}

/// What a command does to the world, all of it when it ends, and what comes of it.
pub(crate) type Play<C> = Box<dyn FnMut(&mut World, &C) -> Ran + Send>;

/// Who plays commands, and which are under way.
#[derive(Default)]
pub(crate) struct Commands {
    /// Plays one-off containers; nobody: each ends with 0 and says nothing.
    pub(crate) once: Option<Play<OneOffCall>>,
    /// Plays commands in containers that run; likewise.
    pub(crate) exec: Option<Play<ExecCall>>,
    /// How long a one-off container takes.
    pub(crate) takes: Duration,
    under_way: BTreeMap<ContainerId, (Duration, OneOffCall)>,
    ended: BTreeMap<ContainerId, Ran>,
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands")
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}

fn nothing() -> Ran {
    Ran {
        code: 0,
        stdout: String::new(),
        stderr: String::new(),
    }
}

/// What web checks its configuration with.
const CHECKS: &str = "check-conf";
/// Where web has it.
const CONF_INSIDE: &str = "/etc/web.conf";

fn check_conf(call: &OneOffCall) -> Ran {
    let refused = match &call.conf {
        None => Some("there is no configuration"),
        Some(conf) => is_refused(conf).then_some("unknown directive in /etc/web.conf:1"),
    };
    Ran {
        code: i64::from(refused.is_some()),
        stderr: refused.unwrap_or_default().to_owned(),
        ..nothing()
    }
}

impl World {
    /// A one-off container of this name runs, or has run: a new one, or the one that its operation made.
    pub(crate) fn begin_once(&mut self, once: &OneOff<'_>) -> Result<ContainerId, EngineError> {
        if let Some(holder) = self.named(&once.name) {
            if self.is_once(&holder, &once.stack.project, once.operation) {
                return Ok(holder);
            }
            return Err(EngineError::Conflict {
                call: "run once",
                message: format!("the name {} is in use by {}", once.name, holder.short()),
            });
        }
        if !self.images.contains_key(&once.image) {
            return Err(EngineError::NotFound {
                call: "create container",
                message: format!("no such image: {}", once.image.short()),
            });
        }
        let (id, now) = (self.fresh_id(), self.now);
        self.containers.insert(
            id.clone(),
            Container {
                name: once.name.clone(),
                project: Some(once.stack.project.clone()),
                service: once.service.clone(),
                number: 1,
                image: once.image.clone(),
                config: config_of(once.spec),
                misled: None,
                conf: None,
                parts: Vec::new(),
                read_at: None,
                hash: None,
                operation: Some(once.operation),
                oneoff: true,
                state: ContainerState::Running(None),
                started: Some(now),
                first_started: Some(now),
                restart: RestartPolicy::No,
                restarts: 0,
                networks: BTreeMap::new(),
                anonymous: Vec::new(),
                // It shares its service's volumes on purpose, and what it writes is its player's affair.
                writable: std::collections::BTreeSet::new(),
                ports: std::collections::BTreeSet::new(),
                checked: false,
                stopped: false,
            },
        );
        let call = OneOffCall {
            name: once.name.clone(),
            service: once.service.clone(),
            image: once.image.clone(),
            command: once.command.clone(),
            env: once
                .env
                .iter()
                .map(|(key, value)| (key.clone(), value.expose().to_owned()))
                .collect(),
            operation: once.operation,
            conf: self.conf_in(once.spec),
        };
        let apart = if once.network == OnceNetwork::None {
            ", apart"
        } else {
            ""
        };
        self.note(format!("      it runs {}{apart}", call.command.join(" ")));
        let ends = now + self.takes(&call);
        self.commands.under_way.insert(id.clone(), (ends, call));
        Ok(id)
    }

    /// What of web's configuration a container of this service has mounted.
    fn conf_in(&self, spec: &ServiceSpec) -> Option<Vec<u8>> {
        let mut mounts = spec.volumes.iter();
        mounts.find_map(|mount| match mount {
            Mount::Bind(bind) if bind.target == CONF_INSIDE => self.files.get(&bind.source).cloned(),
            _ => None,
        })
    }

    fn is_once(&self, id: &ContainerId, project: &StackName, operation: u64) -> bool {
        self.containers.get(id).is_some_and(|container| {
            container.oneoff
                && container.operation == Some(operation)
                && container.project.as_ref() == Some(project)
        })
    }

    /// What commands have done until now. One whose container was stopped or removed does nothing more.
    pub(crate) fn settle_commands(&mut self) {
        let now = self.now;
        let containers = &self.containers;
        let runs = |id: &ContainerId| containers.get(id).is_some_and(Container::runs);
        self.commands.under_way.retain(|id, _| runs(id));
        let due: Vec<ContainerId> = self
            .commands
            .under_way
            .iter()
            .filter(|(_, (ends, _))| *ends <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            let Some((_, call)) = self.commands.under_way.remove(&id) else {
                continue;
            };
            let ran = match self.commands.once.take() {
                _ if call.command.iter().any(|word| word == CHECKS) => check_conf(&call),
                None if self.data.migrates => self.alembic(&call),
                None => nothing(),
                Some(mut play) => {
                    let ran = play(self, &call);
                    self.commands.once.get_or_insert(play);
                    ran
                }
            };
            self.note(format!("      {} ended with {}", call.name, ran.code));
            self.exits(&id, ran.code);
            self.commands.ended.insert(id, ran);
        }
    }

    /// When a one-off container ends by itself.
    pub(crate) fn ends_of_once(&self, id: &ContainerId) -> Option<Duration> {
        self.commands.under_way.get(id).map(|(ends, _)| *ends)
    }

    /// The result of a one-off container, which is removed with it; `None`: it still runs.
    pub(crate) fn take_once(&mut self, id: &ContainerId) -> Result<Option<Ran>, EngineError> {
        let Some(container) = self.containers.get(id) else {
            return Err(EngineError::NotFound {
                call: "wait for container",
                message: format!("no such container: {}", id.short()),
            });
        };
        let ContainerState::Exited(code) = container.state else {
            return Ok(None);
        };
        self.containers.remove(id);
        let ran = self.commands.ended.remove(id);
        // Somebody else has ended it, by a signal.
        Ok(Some(ran.unwrap_or_else(|| Ran {
            code: code.filter(|code| *code != 0).unwrap_or(137),
            ..nothing()
        })))
    }

    /// Kills and removes the one-off container of this name, where that operation made it.
    pub(crate) fn end_once(&mut self, project: &StackName, name: &str, operation: u64) {
        let found = self.named(name);
        if let Some(id) = found.filter(|id| self.is_once(id, project, operation)) {
            self.containers.remove(&id);
            self.commands.under_way.remove(&id);
            self.commands.ended.remove(&id);
        }
    }

    /// A command in a container that runs.
    pub(crate) fn play_exec(&mut self, call: &ExecCall) -> Result<Ran, EngineError> {
        let Some(container) = self.containers.get(&call.container) else {
            return Err(EngineError::NotFound {
                call: "create exec",
                message: format!("no such container: {}", call.container.short()),
            });
        };
        if !container.runs() {
            return Err(EngineError::Conflict {
                call: "create exec",
                message: format!("container {} is not running", call.container.short()),
            });
        }
        if let [program, .., path] = call.command.as_slice()
            && program == "cat"
        {
            // Mounted itself, or the directory that it is in.
            let named = Path::new(path).file_name() == Path::new(CONF_INSIDE).file_name();
            let conf = container.conf.as_ref().filter(|_| named);
            return Ok(Ran {
                code: i64::from(conf.is_none()),
                stdout: conf
                    .map(|conf| String::from_utf8_lossy(conf).into_owned())
                    .unwrap_or_default(),
                ..nothing()
            });
        }
        let Some(mut play) = self.commands.exec.take() else {
            return Ok(nothing());
        };
        let ran = play(self, call);
        self.commands.exec.get_or_insert(play);
        Ok(ran)
    }
}

/// An engine with one image, on which a command takes ten seconds and says so once.
struct Bench {
    engine: Simulated,
    stack: StackSpec,
    service: ServiceName,
    image: ImageId,
}

impl Bench {
    fn new() -> Self {
        let mut world = World::new(1, Pace::Real);
        let image: ImageId = format!("sha256:{}", "ab".repeat(32)).parse().expect("a digest");
        world.images.insert(image.clone(), Behaviour::Well);
        world.commands.takes = Duration::from_secs(10);
        world.commands.once = Some(Box::new(|world, call| {
            world.changes += 1000;
            Ran {
                code: 3,
                stdout: format!(
                    "{} in {} of {} by {}",
                    call.command.join(" "),
                    call.image.short(),
                    call.service,
                    call.operation
                ),
                stderr: call.env["URL"].clone(),
            }
        }));
        let stack = json!({"project": "shop", "services": {"api": {"image": "sim/api:v1"}}});
        Self {
            engine: Simulated {
                world: Arc::new(Mutex::new(world)),
                clocks: Arc::new(Clocks::new()),
                agent: IDENTITY.to_owned(),
            },
            stack: serde_json::from_value(stack).expect("a stack"),
            service: "api".parse().expect("a name"),
            image,
        }
    }

    fn once(&self, operation: u64) -> OneOff<'_> {
        OneOff {
            stack: &self.stack,
            service: &self.service,
            spec: &self.stack.services[&self.service],
            image: self.image.clone(),
            name: String::from("shop-api-migrate"),
            command: ["alembic", "upgrade"].map(String::from).into(),
            env: [(String::from("URL"), "postgres://".into())].into(),
            directory: None,
            network: OnceNetwork::Stack,
            listener: None,
            operation,
            within: Duration::from_secs(60),
            dialect: Dialect::Hyphen,
            working_dir: PathBuf::from("/srv/shop"),
            config_files: Vec::new(),
        }
    }

    /// How often the command was played to its end, and what has its name.
    fn state(&self) -> (u64, Option<ContainerState>) {
        let mut world = lock(&self.engine.world);
        world.settle(self.engine.clocks.elapsed());
        let holder = world.named("shop-api-migrate");
        let state = holder.map(|id| world.containers[&id].state.clone());
        (world.changes / 1000, state)
    }
}

/// What is promised of one-off containers, kept on the simulated engine as on a real one.
pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, run: fn(Bench) -> Running| {
        Trial::test(name, move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()?
                .block_on(async { run(Bench::new()).await })
        })
    };
    vec![
        trial("a_command_that_nobody_waits_for_is_joined", |b| {
            Box::pin(joined(b))
        }),
        trial("a_command_whose_begin_was_unanswered_is_joined", |b| {
            Box::pin(unanswered(b))
        }),
        trial("a_command_is_ended_in_time_or_by_name", |b| Box::pin(ended(b))),
        trial("a_command_in_a_container_is_played", |b| Box::pin(played(b))),
    ]
}

type Running = std::pin::Pin<Box<dyn Future<Output = Result<(), Failed>>>>;

fn is(what: &str, holds: bool) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(Failed::from(what)) }
}

const RUNNING: Option<ContainerState> = Some(ContainerState::Running(None));

async fn joined(b: Bench) -> Result<(), Failed> {
    let dropped = tokio::time::timeout(Duration::from_secs(3), b.engine.run_once(&b.once(7))).await;
    is("it is dropped", dropped.is_err())?;
    is("it goes on", b.state() == (0, RUNNING))?;
    let other = b.engine.run_once(&b.once(8)).await;
    is(
        "another operation's",
        matches!(other, Err(EngineError::Conflict { .. })),
    )?;
    is("it was left alone", b.state() == (0, RUNNING))?;
    let ran = b.engine.run_once(&b.once(7)).await?;
    let words = (ran.code, ran.stdout.as_str(), ran.stderr.as_str());
    is(
        "its result",
        words == (3, "alembic upgrade in abababababab of api by 7", "postgres://"),
    )?;
    is("played once, and gone", b.state() == (1, None))
}

async fn unanswered(b: Bench) -> Result<(), Failed> {
    lock(&b.engine.world).faults.unanswered = 1000;
    let lost = b.engine.run_once(&b.once(7)).await;
    is("unknown", lost.is_err_and(|error| error.leaves_unknown()))?;
    lock(&b.engine.world).faults.unanswered = 0;
    is("it runs all the same", b.state() == (0, RUNNING))?;
    // It ends while nobody waits.
    tokio::time::sleep(Duration::from_secs(30)).await;
    is(
        "it ended",
        b.state() == (1, Some(ContainerState::Exited(Some(3)))),
    )?;
    is(
        "its result is taken",
        b.engine.run_once(&b.once(7)).await?.code == 3,
    )?;
    is("played once, and gone", b.state() == (1, None))
}

async fn ended(b: Bench) -> Result<(), Failed> {
    let mut once = b.once(7);
    once.within = Duration::from_secs(5);
    let late = b.engine.run_once(&once).await;
    is(
        "its time is over",
        matches!(late, Err(EngineError::Timeout { call: "run once", .. })),
    )?;
    is("it is gone", b.state() == (0, None))?;
    let dropped = tokio::time::timeout(Duration::from_secs(3), b.engine.run_once(&b.once(7))).await;
    is("it is dropped", dropped.is_err())?;
    let project = &b.stack.project;
    b.engine.end_once(project, &once.name, 8).await?;
    is("another operation's is left alone", b.state() == (0, RUNNING))?;
    for _ in 0..2 {
        b.engine.end_once(project, &once.name, 7).await?;
        is("it is ended", b.state() == (0, None))?;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    is("what was killed does nothing more", b.state() == (0, None))
}

fn dump<'a>(container: &'a ContainerId, output: &'a mut Vec<u8>) -> Exec<'a> {
    Exec {
        container,
        command: vec![String::from("pg_dump")],
        env: Vec::new(),
        user: None,
        input: None,
        output,
        wrap: true,
        within: Duration::from_secs(60),
    }
}

async fn played(b: Bench) -> Result<(), Failed> {
    let id = lock(&b.engine.world).begin_once(&b.once(7))?;
    let mut output = Vec::new();
    let silent = b.engine.exec(dump(&id, &mut output)).await?;
    is("nobody plays it", (silent.code, silent.bytes) == (0, 0))?;
    lock(&b.engine.world).commands.exec = Some(Box::new(|world, call| Ran {
        code: i64::from(world.containers.len() != 1),
        stdout: format!("{} {}", call.command.join(" "), call.env.len()),
        stderr: String::from("done"),
    }));
    let done = b.engine.exec(dump(&id, &mut output)).await?;
    let expected = Executed {
        code: 0,
        stderr: String::from("done"),
        bytes: 9,
    };
    is("it is played", done == expected && output == b"pg_dump 0")?;
    lock(&b.engine.world).stop(&id, 0);
    let refused = b.engine.exec(dump(&id, &mut output)).await;
    is(
        "nothing runs",
        matches!(refused, Err(EngineError::Conflict { .. })),
    )
}
