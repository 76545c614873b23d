//! The simulated host: containers, images, volumes, files and the outside. It behaves as the real engine was
//! measured to; what is done to it, and by whom, is decided elsewhere. Time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use state::name::{ContainerId, Digest, ImageId, ServiceName, StackName};
use state::observed::{
    Attachment, Carried, ContainerDetail, ContainerObs, ContainerState, DockerHealth, SchemaHead,
};
use state::stack_spec::RestartPolicy;

use crate::commands::Commands;
use crate::database::Data;
use crate::dice::Dice;
use crate::hand::{CONF, PARTS};
use crate::laws::Laws;
use crate::points::Points;
use crate::repository::Sources;
use crate::scenes::Beat;
use crate::story::Pace;

/// How what is in an image behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// As it should.
    Well,
    /// Runs, and answers 500.
    Broken,
    /// Answers 500 once it has run for so long.
    BreaksAfter(Duration),
    /// Exits with 1 a second after each start.
    Crashes,
    /// Answers 200 for forty seconds, then 500 for forty.
    Flaps,
}

#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) name: String,
    /// `None`: it is nobody's that we know.
    pub(crate) project: Option<StackName>,
    pub(crate) service: ServiceName,
    pub(crate) number: u32,
    pub(crate) image: ImageId,
    /// What it was made from, but for image and name.
    pub(crate) config: Digest,
    pub(crate) hash: Option<String>,
    pub(crate) operation: Option<u64>,
    /// It runs one command, and is nobody's replica.
    pub(crate) oneoff: bool,
    pub(crate) state: ContainerState,
    pub(crate) started: Option<Duration>,
    /// When it was started for the first time.
    pub(crate) first_started: Option<Duration>,
    pub(crate) restart: RestartPolicy,
    pub(crate) restarts: u32,
    pub(crate) networks: BTreeMap<String, Attachment>,
    pub(crate) anonymous: Vec<Carried>,
    pub(crate) writable: BTreeSet<String>,
    pub(crate) ports: BTreeSet<u16>,
    pub(crate) checked: bool,
    /// The level of its log that it was made with, and does not know.
    pub(crate) misled: Option<String>,
    /// What it has read of its configuration, when it was started.
    pub(crate) conf: Option<Vec<u8>>,
    /// Likewise, what lay in the directory beside it.
    pub(crate) parts: Vec<Vec<u8>>,
    /// When it has read that.
    pub(crate) read_at: Option<Duration>,
    /// Stopped by somebody, so that a restarted engine leaves `unless-stopped` alone.
    pub(crate) stopped: bool,
}

/// How what web is configured by belongs to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracking {
    /// One file, and web is made anew for it.
    File,
    /// Likewise, but its check in web's image comes first.
    Checked,
    /// A directory beside it, too: files come and go.
    Directory,
    /// Web is started again for it.
    Restart,
    /// Web is told by a signal.
    Signal,
}

impl Tracking {
    /// Whether a story is about more than one file for which web is made anew.
    pub(crate) const fn is_other(self) -> bool {
        matches!(self, Self::Directory | Self::Restart | Self::Signal)
    }

    /// What is written in steadfast.toml.
    pub(crate) const fn settings(self) -> &'static str {
        match self {
            Self::File => "track = [\"web.conf\"]",
            Self::Checked => {
                "track = [{ path = \"web.conf\", service = \"web\", check = [\"web\", \"check-conf\"] }]"
            }
            Self::Directory => "track = [\"web.conf\", \"web.d/\"]",
            Self::Restart => "track = [{ path = \"web.conf\", action = \"restart\" }]",
            Self::Signal => "track = [{ path = \"web.conf\", action = \"signal:HUP\" }]",
        }
    }

    /// What web has mounted.
    pub(crate) const fn mounts(self) -> &'static str {
        match self {
            Self::File | Self::Checked | Self::Restart => "[\"./web.conf:/etc/web.conf:ro\"]",
            Self::Directory => "[\"./web.conf:/etc/web.conf:ro\", \"./web.d:/etc/web.d:ro\"]",
            // Through a directory: a file that is mounted itself stays the old one.
            Self::Signal => "[\".:/etc/web:ro\"]",
        }
    }
}

/// What lies in web's directory, by name.
pub(crate) fn parts(files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<Vec<u8>> {
    let below = files.iter().filter(|(path, _)| path.starts_with(PARTS));
    let named = |(path, text): (&PathBuf, &Vec<u8>)| [path.as_os_str().as_encoded_bytes(), text].concat();
    below.map(named).collect()
}

/// Whether web's check refuses this configuration.
pub(crate) fn is_refused(conf: &[u8]) -> bool {
    conf.ends_with(b"refused")
}

impl Container {
    /// A process that starts reads what it is configured by.
    pub(crate) fn reads(&mut self, files: &BTreeMap<PathBuf, Vec<u8>>, now: Duration) {
        if self.service.as_str() == "web" {
            self.read_at = Some(now);
            self.conf = files.get(Path::new(CONF)).cloned();
            self.parts = parts(files);
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.state.is_running()
    }

    pub(crate) fn is_of(&self, project: &str) -> bool {
        self.project.as_ref().is_some_and(|p| p.as_str() == project)
    }
}

/// What goes wrong, so many times in a thousand calls.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// The request is lost: no effect, no answer.
    pub(crate) lost: u32,
    /// The effect takes place, the answer is lost.
    pub(crate) unanswered: u32,
    /// The engine answers 500, with or without the effect.
    pub(crate) refused: u32,
    /// The agent is killed, before or after the effect.
    pub(crate) killed: u32,
    /// A write to the ledger finds a full disk.
    pub(crate) full: u32,
    /// A write to the ledger fails of the disk, or of a lock that somebody holds.
    pub(crate) broken: u32,
    /// A probe or the database does not answer.
    pub(crate) silent: u32,
    /// The database answers after its deadline, or in part.
    pub(crate) slow: u32,
    /// What the engine tells by itself is lost, doubled, or late.
    pub(crate) deaf: u32,
    /// A pull is refused for a reason that passes.
    pub(crate) registry: u32,
}

/// What one probe was seen to answer, for the laws: when, and whether it was a fail.
pub(crate) type Answers = BTreeMap<String, Vec<(Duration, bool)>>;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) pace: Pace,
    /// So many rollbacks by the agent for one request, where the terms are brief.
    pub(crate) budget: u64,
    pub(crate) dice: Dice,
    pub(crate) now: Duration,
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    pub(crate) networks: BTreeSet<String>,
    pub(crate) volumes: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) images: BTreeMap<ImageId, Behaviour>,
    pub(crate) tags: BTreeMap<String, ImageId>,
    pub(crate) registry: BTreeMap<String, ImageId>,
    /// Where releases are built from, in stories in which they are.
    pub(crate) sources: Option<Sources>,
    /// How what web is configured by belongs to a release.
    pub(crate) tracking: Tracking,
    pub(crate) keepers: BTreeSet<(StackName, ImageId)>,
    pub(crate) commands: Commands,
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    /// When somebody last wrote back by hand what the release has that runs: who was started before may have read what
    /// was there in between, and nobody can tell.
    pub(crate) undone: Option<Duration>,
    /// When what is in a file was written.
    pub(crate) written: BTreeMap<PathBuf, Duration>,
    /// Every version of a file that somebody has written.
    pub(crate) versions: BTreeMap<Digest, Vec<u8>>,
    /// When somebody has written to a file since a request was last taken up.
    pub(crate) asked_for: Option<Duration>,
    /// The levels in `.env`.
    pub(crate) env: (u64, u64),
    pub(crate) schema: SchemaHead,
    pub(crate) data: Data,
    /// Until when the engine is away.
    pub(crate) away_until: Duration,
    /// A third party that the api needs is down.
    pub(crate) outage: bool,
    pub(crate) faults: Faults,
    /// There is no room left to be given free.
    pub(crate) reserve_is_used: bool,
    pub(crate) pruned_at: Option<Duration>,
    pub(crate) answers: Answers,
    /// How often the engine was asked, and in which minute how often.
    asked: (u64, BTreeMap<&'static str, u64>),
    /// How often something was changed through the engine by the agent.
    pub(crate) changes: u64,
    /// How often something but health was written to the ledger.
    pub(crate) writes: u64,
    /// Since when the stack is not in desired.toml.
    pub(crate) let_go: Option<Duration>,
    /// When somebody last ended a process by hand, or its own check failed for a while: who watches a new one cannot
    /// tell that from a crash.
    pub(crate) struck: Option<Duration>,
    /// Until when the database's own check fails.
    pub(crate) sick_until: Duration,
    /// Until when no probe is answered.
    pub(crate) hushed_until: Duration,
    /// When the host was last asleep, and how long it has slept in all: its clocks ran on.
    pub(crate) slept_at: Option<Duration>,
    pub(crate) slept: Duration,
    /// The acts of a scene that are still to come.
    pub(crate) scene: VecDeque<Beat>,
    /// Containers of others under names of ours.
    pub(crate) squatters: Vec<ContainerId>,
    pub(crate) squat_until: Duration,
    pub(crate) kills: u32,
    /// When the agent was last started.
    pub(crate) started_at: Duration,
    /// The agent's process.
    pub(crate) agent: Option<tokio::task::AbortHandle>,
    /// Where a write to the ledger is durable next, and is told to have failed.
    pub(crate) unsure_at: Option<&'static str>,
    /// Where the agent dies, and where it did.
    pub(crate) points: Points,
    /// What went wrong, how often.
    pub(crate) faulted: BTreeMap<&'static str, u64>,
    pub(crate) laws: Laws,
    /// Whether a trace is kept: it costs a third of a run.
    pub(crate) traced: bool,
    pub(crate) trace: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, pace: Pace) -> Self {
        Self {
            pace,
            budget: 1 + seed % 2,
            dice: Dice::new(seed),
            now: Duration::ZERO,
            containers: BTreeMap::new(),
            networks: BTreeSet::new(),
            volumes: BTreeMap::new(),
            images: BTreeMap::new(),
            tags: BTreeMap::new(),
            registry: BTreeMap::new(),
            sources: None,
            tracking: Tracking::File,
            keepers: BTreeSet::new(),
            commands: Commands::default(),
            files: BTreeMap::new(),
            undone: None,
            written: BTreeMap::new(),
            versions: BTreeMap::new(),
            asked_for: Some(Duration::ZERO),
            env: (0, 0),
            schema: SchemaHead::NoTable,
            data: Data::new(seed),
            away_until: Duration::ZERO,
            outage: false,
            faults: Faults::default(),
            reserve_is_used: false,
            pruned_at: None,
            answers: BTreeMap::new(),
            asked: (0, BTreeMap::new()),
            changes: 0,
            writes: 0,
            let_go: None,
            struck: None,
            sick_until: Duration::ZERO,
            hushed_until: Duration::ZERO,
            slept_at: None,
            slept: Duration::ZERO,
            scene: VecDeque::new(),
            squatters: Vec::new(),
            squat_until: Duration::ZERO,
            kills: 0,
            started_at: Duration::ZERO,
            agent: None,
            unsure_at: None,
            points: Points::default(),
            faulted: BTreeMap::new(),
            laws: Laws::default(),
            traced: true,
            trace: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, words: impl Into<String>) {
        if !self.traced {
            return;
        }
        let at = self.now.as_secs_f64();
        self.trace.push(format!("{at:>10.3} {}", words.into()));
    }

    /// Counts a fault, and says so.
    pub(crate) fn injected(&mut self, kind: &'static str, words: impl Into<String>) {
        *self.faulted.entry(kind).or_default() += 1;
        self.note(words);
    }

    /// Counts one call; more than a thousand in a minute are a spin.
    pub(crate) fn asks_too_much(&mut self, call: &'static str) -> bool {
        let minute = self.now.as_secs() / 60;
        if self.asked.0 != minute {
            self.asked = (minute, BTreeMap::new());
        }
        *self.asked.1.entry(call).or_default() += 1;
        let times = self.asked.1.values().sum::<u64>();
        if times == 1501 {
            let words = format!(
                "the engine is asked more than 1500 times a minute: {:?}",
                self.asked.1
            );
            self.laws.breaks(13, words);
        }
        times > 1500
    }

    /// So many seconds of the real pace, at this one.
    pub(crate) fn some_time(&mut self, seconds: Range<u64>) -> Duration {
        self.pace.span(Duration::from_secs(self.dice.number(seconds)))
    }

    /// Somebody writes a file.
    pub(crate) fn write(&mut self, path: &str, text: impl Into<Vec<u8>>) {
        self.asked_for = Some(self.now);
        let text = text.into();
        self.versions.insert(Digest::of(&text), text.clone());
        let digest = Some(Digest::of(&text));
        let record = self.laws.record.as_ref();
        let current = record.and_then(|record| record.current());
        // What is being brought up has read what was there when it was started.
        let next = record.and_then(|record| {
            let operation = &record.operation.as_ref()?.operation;
            record.generation(operation.generation?)
        });
        let mut of_release = [current, next]
            .into_iter()
            .flatten()
            .filter_map(|of| of.files.get(Path::new(path)));
        if of_release.any(|file| file.content == digest) {
            self.undone = Some(self.now);
        }
        self.written.insert(path.into(), self.now);
        self.files.insert(path.into(), text);
    }

    /// Somebody takes a file away.
    pub(crate) fn unlink(&mut self, path: &str) {
        if self.files.remove(Path::new(path)).is_none() {
            return;
        }
        self.asked_for = Some(self.now);
        self.written.remove(Path::new(path));
        let record = self.laws.record.as_ref();
        let current = record.and_then(|record| record.current());
        if current.is_some_and(|of| !of.files.contains_key(Path::new(path))) {
            self.undone = Some(self.now);
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.now < self.away_until
    }

    pub(crate) fn fresh_id(&mut self) -> ContainerId {
        self.dice.hex(64).parse().expect("64 hexadecimal digits")
    }

    /// Lets happen what happens by itself until now.
    pub(crate) fn settle(&mut self, now: Duration) {
        self.now = now;
        let crashes = |c: &Container| {
            let over = c.started.is_some_and(|at| now >= at + Duration::from_secs(1));
            c.runs() && !c.oneoff && over && self.images.get(&c.image) == Some(&Behaviour::Crashes)
        };
        let dying: Vec<ContainerId> = self
            .containers
            .iter()
            .filter(|(_, c)| crashes(c))
            .map(|(id, _)| id.clone())
            .collect();
        for id in dying {
            self.exits(&id, 1);
        }
        self.settle_commands();
        self.settle_rows();
        let minute = Duration::from_secs(60);
        let writing = |c: &Container| {
            !c.anonymous.is_empty()
                && c.runs()
                && c.started.is_some_and(|at| now >= at + minute)
                && c.is_of("shop")
        };
        for (id, container) in self.containers.iter().filter(|(_, c)| writing(c)) {
            // What nobody has met cannot be known to have had any.
            if self.laws.is_met(id, container) {
                self.laws.has_rows(container);
            }
        }
    }

    /// Its process ends by itself; the engine's own restart policy acts.
    pub(crate) fn exits(&mut self, id: &ContainerId, code: i64) {
        let now = self.now;
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let again = match container.restart {
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { max } => code != 0 && max.is_none_or(|max| container.restarts < max),
            RestartPolicy::No => false,
        };
        if again {
            container.restarts += 1;
            container.started = Some(now);
            container.reads(&self.files, now);
        } else {
            container.state = ContainerState::Exited(Some(code));
            container.started = None;
        }
    }

    pub(crate) fn behaviour(&self, image: &ImageId) -> Behaviour {
        self.images.get(image).copied().unwrap_or(Behaviour::Well)
    }

    /// Docker's own health of a container that is checked.
    fn life(&self, container: &Container) -> ContainerState {
        match (&container.state, container.started) {
            (ContainerState::Running(_), Some(started)) if container.checked => {
                let health = if self.now < started + Duration::from_secs(2) {
                    DockerHealth::Starting
                } else if self.now < self.sick_until {
                    DockerHealth::Unhealthy
                } else {
                    DockerHealth::Healthy
                };
                ContainerState::Running(Some(health))
            }
            (state, _) => state.clone(),
        }
    }

    pub(crate) fn summary(&self, id: &ContainerId, container: &Container) -> ContainerObs {
        ContainerObs {
            id: id.clone(),
            name: container.name.clone(),
            service: container.service.clone(),
            number: container.number,
            image: container.image.clone(),
            state: self.life(container),
            spec: container.hash.clone(),
            operation: container.operation,
            oneoff: container.oneoff,
            restarts: (container.restart != RestartPolicy::No).then_some(container.restarts),
        }
    }

    pub(crate) fn detail(&self, id: &ContainerId, container: &Container) -> ContainerDetail {
        ContainerDetail {
            summary: self.summary(id, container),
            restart: container.restart,
            networks: container.networks.values().cloned().collect(),
            anonymous: container.anonymous.clone(),
            writable: container.writable.clone(),
            homes: BTreeSet::new(),
            started: container.started.map(millis),
        }
    }

    pub(crate) fn named(&self, name: &str) -> Option<ContainerId> {
        let mut all = self.containers.iter();
        all.find(|(id, c)| c.name == name || id.as_str() == name)
            .map(|(id, _)| id.clone())
    }

    /// Starts a container; the error is the engine's.
    pub(crate) fn start(&mut self, id: &ContainerId) -> Result<(), String> {
        let now = self.now;
        let Some(container) = self.containers.get(id) else {
            return Err(format!("no such container: {}", id.short()));
        };
        if container.runs() {
            return Ok(());
        }
        if container.state == ContainerState::Paused {
            return Err(String::from(
                "cannot start a paused container, try unpause instead",
            ));
        }
        let taken = self.containers.iter().find(|(other, c)| {
            *other != id && c.runs() && c.ports.intersection(&container.ports).next().is_some()
        });
        if let Some((other, _)) = taken {
            return Err(format!("port is already allocated by {}", other.short()));
        }
        if let Some(container) = self.containers.get_mut(id) {
            container.state = ContainerState::Running(None);
            container.started = Some(now);
            container.first_started.get_or_insert(now);
            container.stopped = false;
            container.reads(&self.files, now);
        }
        self.laws.no_two_writers(&self.containers);
        self.migrates_as_it_starts(id);
        Ok(())
    }

    pub(crate) fn stop(&mut self, id: &ContainerId, code: i64) {
        if let Some(container) = self.containers.get_mut(id) {
            if container.runs() || container.state == ContainerState::Paused {
                container.state = ContainerState::Exited(Some(code));
                container.started = None;
            }
            container.stopped = true;
        }
    }

    /// The engine's daemon is restarted: everything stops, and what has a policy for it comes back.
    pub(crate) fn restart_engine(&mut self, away: Duration) {
        self.struck = Some(self.now);
        self.away_until = self.now + away;
        let ids: Vec<ContainerId> = self.containers.keys().cloned().collect();
        for id in &ids {
            let Some(container) = self.containers.get_mut(id) else {
                continue;
            };
            let ran = container.runs();
            if ran {
                container.state = ContainerState::Exited(Some(137));
                container.started = None;
            }
            let back = match container.restart {
                RestartPolicy::Always => true,
                RestartPolicy::UnlessStopped => {
                    !container.stopped && (ran || container.state != ContainerState::Created)
                }
                RestartPolicy::OnFailure { .. } => ran,
                RestartPolicy::No => false,
            };
            if back && container.state != ContainerState::Created {
                // What it cannot start stays down.
                let _ = self.start(id);
            }
        }
    }

    /// What a probe of a service of this stack would be answered now.
    pub(crate) fn answer(&self, stack: &StackName, service: &str) -> Result<(), String> {
        let running = |service: &str| {
            self.containers.values().find(|c| {
                c.project.as_ref() == Some(stack)
                    && c.service.as_str() == service
                    && c.runs()
                    && !c.oneoff
                    && !c.networks.is_empty()
            })
        };
        let Some(container) = running(service) else {
            return Err(format!("{service}: connection refused"));
        };
        let up = self.now.saturating_sub(container.started.unwrap_or_default());
        let broken = match self.behaviour(&container.image) {
            Behaviour::Well => false,
            Behaviour::Broken => true,
            Behaviour::Crashes => true,
            Behaviour::BreaksAfter(after) => up >= after,
            Behaviour::Flaps => up.as_secs() % 80 >= 40,
        };
        if broken {
            return Err(format!("{service}: status 500"));
        }
        if let Some(level) = &container.misled {
            return Err(format!("{service}: there is no level {level}"));
        }
        let conf = container.conf.as_ref();
        if conf.is_some_and(|conf| conf.ends_with(b"bad") || is_refused(conf)) {
            return Err(format!("{service}: status 404"));
        }
        if container.checked && self.now < self.sick_until {
            return Err(format!("{service}: unhealthy by its own HEALTHCHECK"));
        }
        if service == "api" && running("db").is_none() {
            return Err(String::from("api: status 503, no database"));
        }
        if let Some(words) = self.lacks(&container.image) {
            return Err(words);
        }
        if service == "api" && self.outage {
            return Err(String::from("api: status 502 of a third party"));
        }
        if service == "web" && running("api").is_none() {
            return Err(String::from("web: status 502"));
        }
        Ok(())
    }
}

/// A moment of the world, as its clocks would say it that nobody sets.
pub(crate) fn millis(at: Duration) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}
