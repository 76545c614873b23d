//! Whether the simulated engine behaves as the real ones do: the same drawn calls through the same trait, on both,
//! compared call by call in what is answered and in what is seen afterwards. Where they differ, the simulated one
//! is wrong, or the client is.
//!
//! More, and others: `STEADFAST_SEQUENCES=300 STEADFAST_SEED=7 cargo test -p steadfast-tests --test simulation -- like_it`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent::engine::{
    Attachment, ContainerDetail, Dialect, DockerEngine, Engine as _, EngineError, NewContainer,
};
use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use state::name::{ContainerId, ImageId, ServiceName};
use state::observed::ContainerState;
use state::stack_spec::{RestartPolicy, StackSpec};
use steadfast_tests::lab;
use tokio::runtime::{Builder, Runtime};

use crate::dice::Dice;
use crate::edges::{Clocks, lock};
use crate::engine::Simulated;
use crate::number;
use crate::story::Pace;
use crate::world::{Behaviour, World};

/// So many sequences of so many calls, on each engine.
const SEQUENCES: u64 = 12;
const CALLS: usize = 14;
/// An image that is nowhere.
const NOWHERE: &str = "sha256:00000000000000000000000000000000000000000000000000000000deadbeef";
const TAGS: [&str; 2] = ["steadfast-test/tiny:v1", "steadfast-test/tiny:v2"];

pub(crate) fn trials() -> Vec<Trial> {
    let engines = lab::Engine::all().into_iter();
    let trial = |(name, engine): (&str, Option<lab::Engine>)| {
        let lacks = engine.is_none();
        Trial::test(format!("{name}::the_simulated_engine_is_like_it"), move || {
            let engine = engine.ok_or("this engine cannot be had here")?;
            compare(&engine).map_err(|error| Failed::from(format!("{error:?}")))
        })
        .with_ignored_flag(lacks)
    };
    engines.map(trial).collect()
}

fn compare(engine: &lab::Engine) -> Result<()> {
    let (from, many) = (
        number("STEADFAST_SEED").unwrap_or(1),
        number("STEADFAST_SEQUENCES").unwrap_or(SEQUENCES),
    );
    let mut calls = 0;
    for seed in from..from + many {
        let mut dice = Dice::new(seed);
        let mut pair = Pair::new(engine, seed)?;
        let mut trace = Vec::new();
        for _ in 0..CALLS {
            let call = pair.draw(&mut dice);
            trace.push(format!("{call:?}"));
            let (real, simulated) = pair.make(&call)?;
            ensure!(
                real == simulated,
                "seed {seed}: {} answers {real}, the simulated one {simulated}\n{}",
                engine.name,
                trace.join("\n")
            );
            let (real, simulated) = pair.seen()?;
            ensure!(
                real == simulated,
                "seed {seed}: on {} is\n{real}\non the simulated one\n{simulated}\n{}",
                engine.name,
                trace.join("\n")
            );
            calls += 1;
        }
    }
    println!("{}: {many} sequences, {calls} calls, no difference", engine.name);
    Ok(())
}

/// A container by the order in which it was made, gone or not.
type Slot = usize;

/// One call, or something that people do in between.
#[derive(Debug, Clone)]
enum Act {
    Create {
        service: &'static str,
        name: &'static str,
        image: usize,
        operation: u64,
        restart: RestartPolicy,
    },
    Start(Slot),
    Stop(Slot),
    Unpause(Slot),
    Remove(Slot),
    Rename(Slot, &'static str),
    SetRestart(Slot, RestartPolicy),
    Connect(Slot, &'static str),
    Disconnect(Slot, &'static str),
    Inspect(&'static str),
    Objects,
    CreateNetwork(&'static str),
    CreateVolume,
    Image(usize),
    Keep(usize),
    Release(usize),
    Claim(&'static str),
    PauseByHand(Slot),
    KillByHand(Slot),
    RemoveByHand(Slot),
}

const NAMES: [&str; 4] = ["web-1", "web-1.new-7", "web-1.old-7", "db-1"];
const NETWORKS: [&str; 3] = ["default", "back", "missing"];
const POLICIES: [RestartPolicy; 4] = [
    RestartPolicy::No,
    RestartPolicy::Always,
    RestartPolicy::UnlessStopped,
    RestartPolicy::OnFailure { max: Some(3) },
];

/// What came of a call, in a word where it failed.
#[derive(PartialEq, Eq)]
struct Answer(Result<String, &'static str>);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(answer) => write!(f, "done ({answer})"),
            Err(word) => f.write_str(word),
        }
    }
}

impl<T: Debug> From<Result<T, EngineError>> for Answer {
    fn from(result: Result<T, EngineError>) -> Self {
        Self(match result {
            Ok(value) => Ok(format!("{value:?}")),
            Err(EngineError::NotFound { .. }) => Err("not found"),
            Err(EngineError::Conflict { .. }) => Err("a conflict"),
            Err(EngineError::Refused { .. }) => Err("refused"),
            Err(EngineError::ManifestUnknown { .. } | EngineError::BuildFailed { .. }) => {
                Err("no such manifest")
            }
            Err(
                EngineError::Unreachable { .. }
                | EngineError::Timeout { .. }
                | EngineError::Stream { .. }
                | EngineError::Garbled { .. },
            ) => Err("unknown"),
        })
    }
}

/// A project on a real engine, and the same on the simulated one.
struct Pair {
    cli: lab::Engine,
    stack: StackSpec,
    images: [ImageId; 3],
    real: (Runtime, DockerEngine),
    simulated: (Runtime, Simulated),
    slots: Vec<(ContainerId, ContainerId)>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.cli.clear(self.stack.project.as_str());
    }
}

fn stack(project: &str) -> Result<StackSpec> {
    let label = json!({"io.steadfast.test": "fidelity"});
    let networks = json!({"networks": {"default": {}, "back": {}}});
    Ok(serde_json::from_value(json!({
        "project": project,
        "services": {
            "web": {
                "labels": label,
                "networking": networks,
                "volumes": [
                    {"type": "volume", "volume": "data", "target": "/data"},
                    {"type": "anonymous", "target": "/anon"},
                ],
            },
            "db": {"labels": label, "networking": {"networks": {"default": {}}}},
        },
        "networks": {
            "default": {"name": format!("{project}_default"), "labels": label},
            "back": {"name": format!("{project}_back"), "labels": label},
        },
        "volumes": {"data": {"name": format!("{project}_data"), "labels": label}},
    }))?)
}

impl Pair {
    fn new(cli: &lab::Engine, seed: u64) -> Result<Self> {
        let project = format!("sf-like-{seed}-{}", std::process::id());
        let on_time = Builder::new_current_thread().enable_all().build()?;
        let real = DockerEngine::new(cli.address().parse().context("no address")?);
        let mut images = Vec::new();
        for tag in TAGS {
            let image = on_time.block_on(real.image(tag))?;
            images.push(image.with_context(|| format!("{tag} is not here"))?);
        }
        let [one, two] = &images[..] else {
            bail!("two images")
        };
        let images = [one.clone(), two.clone(), NOWHERE.parse()?];
        let mut world = World::new(seed, Pace::Real);
        for (tag, image) in TAGS.iter().zip(&images) {
            world.images.insert(image.clone(), Behaviour::Well);
            world.tags.insert((*tag).to_owned(), image.clone());
        }
        let out_of_time = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let clocks = out_of_time.block_on(async { Arc::new(Clocks::new()) });
        let simulated = Simulated {
            world: Arc::new(Mutex::new(world)),
            clocks,
            agent: String::from("fidelity"),
        };
        Ok(Self {
            cli: cli.clone(),
            stack: stack(&project)?,
            images,
            real: (on_time, real),
            simulated: (out_of_time, simulated),
            slots: Vec::new(),
        })
    }

    fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.stack.project)
    }

    fn network(&self, key: &str) -> String {
        format!("{}_{key}", self.stack.project)
    }

    fn draw(&self, dice: &mut Dice) -> Act {
        let one = |dice: &mut Dice, of: &[&'static str]| *dice.one(of).expect("there is one");
        let policy = |dice: &mut Dice| *dice.one(&POLICIES).expect("there is one");
        // The newest are the most interesting.
        let any = |dice: &mut Dice| {
            let many = u64::try_from(self.slots.len().max(1)).unwrap_or(1);
            let back = dice.number(0..many).min(dice.number(0..many));
            usize::try_from(many - 1 - back).unwrap_or(0)
        };
        let begun = self.slots.len().min(1);
        let kinds: [(u32, u32); 20] = [
            (if begun == 0 { 20 } else { 5 }, 0),
            (8, 1),
            (5, 2),
            (3, 3),
            (3, 4),
            (5, 5),
            (3, 6),
            (4, 7),
            (4, 8),
            (2, 9),
            (1, 10),
            (if begun == 0 { 20 } else { 3 }, 11),
            (2, 12),
            (1, 13),
            (2, 14),
            (1, 15),
            (1, 16),
            (3, 17),
            (2, 18),
            (2, 19),
        ];
        let image = |dice: &mut Dice| {
            if dice.in_thousand(100) {
                2
            } else {
                usize::from(dice.in_thousand(500))
            }
        };
        match dice.weighted(&kinds) {
            0 => Act::Create {
                service: one(dice, &["web", "db"]),
                name: one(dice, &NAMES),
                image: image(dice),
                operation: dice.number(7..9),
                restart: policy(dice),
            },
            1 => Act::Start(any(dice)),
            2 => Act::Stop(any(dice)),
            3 => Act::Unpause(any(dice)),
            4 => Act::Remove(any(dice)),
            5 => Act::Rename(any(dice), one(dice, &NAMES)),
            6 => Act::SetRestart(any(dice), policy(dice)),
            7 => Act::Connect(any(dice), one(dice, &NETWORKS)),
            8 => Act::Disconnect(any(dice), one(dice, &NETWORKS)),
            9 => Act::Inspect(one(dice, &NAMES)),
            10 => Act::Objects,
            11 => Act::CreateNetwork(one(dice, &NETWORKS[..2])),
            12 => Act::CreateVolume,
            13 => Act::Image(image(dice)),
            14 => Act::Keep(image(dice)),
            15 => Act::Release(usize::from(dice.in_thousand(500))),
            16 => Act::Claim(one(dice, &["one", "two"])),
            17 => Act::PauseByHand(any(dice)),
            18 => Act::KillByHand(any(dice)),
            _ => Act::RemoveByHand(any(dice)),
        }
    }

    /// Both answers.
    fn make(&mut self, act: &Act) -> Result<(Answer, Answer)> {
        if let Act::Create { .. } = act {
            return self.create(act);
        }
        if let Act::PauseByHand(slot) | Act::KillByHand(slot) | Act::RemoveByHand(slot) = act {
            return Ok(self.by_hand(act, *slot));
        }
        let (on_time, real) = &self.real;
        let (out_of_time, simulated) = &self.simulated;
        let nobody = || -> ContainerId { "f".repeat(64).parse().expect("64 digits") };
        let ids = |slot: &Slot| {
            self.slots
                .get(*slot)
                .cloned()
                .unwrap_or_else(|| (nobody(), nobody()))
        };
        let both = (
            on_time.block_on(self.ask(real, act, &|slot| ids(slot).0)),
            out_of_time.block_on(self.ask(simulated, act, &|slot| ids(slot).1)),
        );
        if let Act::Start(slot) = act {
            self.until_it_hears(&ids(slot).0)?;
        }
        Ok(both)
    }

    /// A program that has just been started hears no SIGTERM yet, and a simulated one always does.
    fn until_it_hears(&self, id: &ContainerId) -> Result<()> {
        const SIGTERM: u64 = 1 << 14;
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            let pid = self
                .cli
                .docker(&["inspect", "--format", "{{.State.Pid}}", id.as_str()]);
            let status = pid.ok().and_then(|pid| {
                let pid: u32 = pid.trim().parse().ok().filter(|pid| *pid > 0)?;
                std::fs::read_to_string(format!("/proc/{pid}/status")).ok()
            });
            // It has ended, or it is somewhere else.
            let Some(status) = status else { return Ok(()) };
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            if caught.is_none_or(|mask| mask & SIGTERM != 0) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("{id} runs, and hears no SIGTERM")
    }

    async fn ask(
        &self,
        engine: &dyn agent::engine::Engine,
        act: &Act,
        id: &(dyn Fn(&Slot) -> ContainerId + Sync),
    ) -> Answer {
        let project = &self.stack.project;
        match act {
            Act::Start(slot) => engine.start(&id(slot)).await.into(),
            Act::Stop(slot) => engine.stop(&id(slot), Duration::from_secs(5)).await.into(),
            Act::Unpause(slot) => engine.unpause(&id(slot)).await.into(),
            Act::Remove(slot) => engine.remove(&id(slot)).await.into(),
            Act::Rename(slot, to) => engine.rename(&id(slot), &self.name(to)).await.into(),
            Act::SetRestart(slot, policy) => engine.set_restart(&id(slot), policy).await.into(),
            Act::Connect(slot, key) => {
                let to = Attachment {
                    network: self.network(key),
                    aliases: vec![String::from("www")],
                    fixed_ipv4: None,
                    fixed_ipv6: None,
                    address: None,
                };
                engine.connect(&id(slot), &to).await.into()
            }
            Act::Disconnect(slot, key) => engine.disconnect(&id(slot), &self.network(key)).await.into(),
            Act::Inspect(name) => {
                let found = engine.container(&self.name(name)).await;
                found.map(|found| found.as_ref().map(shown)).into()
            }
            Act::Objects => {
                let networks = NETWORKS.iter().map(|key| self.network(key)).collect();
                let volumes = ["data", "missing"].iter().map(|key| self.network(key)).collect();
                let both = (engine.networks(&networks).await, engine.volumes(&volumes).await);
                both.0.and_then(|networks| Ok((networks, both.1?))).into()
            }
            Act::CreateNetwork(key) => {
                let network = &self.stack.networks[*key];
                engine
                    .create_network(&self.stack, key, network, &network.name)
                    .await
                    .into()
            }
            Act::CreateVolume => {
                let volume = &self.stack.volumes["data"];
                engine
                    .create_volume(&self.stack, "data", volume, &volume.name)
                    .await
                    .into()
            }
            Act::Image(2) => engine.image(NOWHERE).await.into(),
            Act::Image(which) => engine.image(TAGS[*which]).await.into(),
            Act::Keep(which) => engine.keep_image(project, &self.images[*which]).await.into(),
            Act::Release(but) => {
                let wanted = BTreeSet::from([self.images[*but].clone()]);
                engine.release_images(project, &wanted).await.into()
            }
            Act::Claim(identity) => engine.claim(project, identity).await.into(),
            other => Answer(Ok(format!("{other:?}"))),
        }
    }

    fn create(&mut self, act: &Act) -> Result<(Answer, Answer)> {
        let Act::Create {
            service,
            name,
            image,
            operation,
            restart,
        } = act
        else {
            bail!("not a create")
        };
        let service: ServiceName = service.parse()?;
        let new = NewContainer {
            stack: &self.stack,
            service: &service,
            spec: &self.stack.services[&service],
            number: 1,
            name: self.name(name),
            image: self.images[*image].clone(),
            spec_hash: "ab".repeat(32),
            operation: *operation,
            generation: 3,
            carried: Vec::new(),
            restart: *restart,
            dialect: Dialect::Hyphen,
            working_dir: PathBuf::from("/srv/app"),
            config_files: vec![PathBuf::from("/srv/app/compose.yaml")],
        };
        let real = self.real.0.block_on(self.real.1.create(&new));
        let simulated = self.simulated.0.block_on(self.simulated.1.create(&new));
        if let (Ok(real), Ok(simulated)) = (&real, &simulated) {
            self.slots.push((real.clone(), simulated.clone()));
        }
        let made = |made: Result<ContainerId, EngineError>| made.map(drop).into();
        Ok((made(real), made(simulated)))
    }

    /// What people do by the docker command, and what the simulation's people do.
    fn by_hand(&self, act: &Act, slot: Slot) -> (Answer, Answer) {
        let Some((real, simulated)) = self.slots.get(slot) else {
            return (Answer(Ok(String::new())), Answer(Ok(String::new())));
        };
        let mut world = lock(&self.simulated.1.world);
        let state = world.containers.get(simulated).map(|c| c.state.clone());
        let runs = state.as_ref().is_some_and(ContainerState::is_running);
        let lives = runs || state == Some(ContainerState::Paused);
        let words = match act {
            Act::PauseByHand(_) => vec!["pause"],
            Act::KillByHand(_) => vec!["kill"],
            _ => vec!["rm", "-f"],
        };
        let done = self.cli.docker(&[&words[..], &[real.as_str()]].concat());
        match (act, world.containers.get_mut(simulated)) {
            (Act::PauseByHand(_), Some(container)) if runs => container.state = ContainerState::Paused,
            (Act::KillByHand(_), Some(_)) if lives => world.stop(simulated, 137),
            (Act::RemoveByHand(_), _) => drop(world.containers.remove(simulated)),
            _ => {}
        }
        // Of what does not run neither can be done.
        let expected = match act {
            Act::RemoveByHand(_) => done.is_ok(),
            Act::KillByHand(_) => lives,
            _ => runs,
        };
        let answer = |done: bool| Answer(if done { Ok(String::new()) } else { Err("refused") });
        (answer(done.is_ok()), answer(expected))
    }

    /// What is seen on both.
    fn seen(&self) -> Result<(String, String)> {
        Ok((
            self.real.0.block_on(self.look(&self.real.1))?,
            self.simulated.0.block_on(self.look(&self.simulated.1))?,
        ))
    }

    async fn look(&self, engine: &dyn agent::engine::Engine) -> Result<String> {
        let project = &self.stack.project;
        let mut lines = Vec::new();
        for listed in engine.containers(project).await? {
            let detail = engine
                .container(listed.id.as_str())
                .await?
                .context("it is gone")?;
            ensure!(
                (&listed.state, &listed.name, &listed.image)
                    == (&detail.summary.state, &detail.summary.name, &detail.summary.image),
                "the list says {listed:?}, the inspection {detail:?}"
            );
            lines.push(shown(&detail));
        }
        // Two of one service are listed by their identifiers, which are no one's choice.
        lines.sort();
        lines.push(format!("kept {:?}", engine.kept_images(project).await?));
        Ok(lines.join("\n"))
    }
}

/// All of a container that does not depend on who made it.
fn shown(detail: &ContainerDetail) -> String {
    let summary = &detail.summary;
    let networks: BTreeMap<&str, bool> = detail
        .networks
        .iter()
        .map(|at| (at.network.as_str(), at.aliases.contains(&String::from("www"))))
        .collect();
    let anonymous: BTreeSet<&str> = detail
        .anonymous
        .iter()
        .map(|carried| carried.target.as_str())
        .collect();
    let own: Vec<&String> = detail.anonymous.iter().map(|carried| &carried.volume).collect();
    let writable: Vec<&String> = detail
        .writable
        .iter()
        .filter(|name| !own.contains(name))
        .collect();
    format!(
        "{} of {}-{} from {} is {:?}, made by {:?} as {:?}, restarts {:?}, on {networks:?}, {writable:?} and {anonymous:?}",
        summary.name,
        summary.service,
        summary.number,
        summary.image.short(),
        summary.state,
        summary.operation,
        summary.spec,
        detail.restart,
    )
}
