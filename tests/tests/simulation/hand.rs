//! What people and the world do to the host while the agent is at work.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::inputs::{self, Checkouts, Inputs};
use agent::shared::ActKind;
use config::settings::StackSettings;
use state::backup::Proof;
use state::journal::Progress;
use state::name::{ContainerId, Digest, ImageId, ServiceName};
use state::observed::{Attachment, Carried, ContainerState, SchemaHead};
use state::stack_spec::Mount;
use state::step::Step;

use crate::edges::{Clocks, Files, Shared, lock};
use crate::engine::{config_of, misled};
use crate::laws::{Call, SERVICES};
use crate::world::{Behaviour, Container, Tracking, World};

/// The tags of the story.
pub(crate) const TAGS: [&str; 6] = ["v1", "v2", "v3", "v4", "v5", "v6"];

/// One act.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    /// desired.toml asks for another tag.
    Ask,
    /// An edit of `.env` that no release needs, and that api may not understand.
    EditEnv,
    /// An edit of what web is configured by, after which it may find nothing.
    EditConf,
    /// desired.toml pins `.env` as it is.
    PinEnv,
    /// Another version of a file is where the agent has put one: somebody has it from their editor.
    WriteBack,
    /// desired.toml is half-written for a while.
    HalfWrite,
    /// The stack is taken out of desired.toml for a while.
    TakeOut,
    /// A container is killed.
    Kill,
    /// A container is removed by force.
    Remove,
    /// A container is stopped.
    Stop,
    /// `docker compose up --force-recreate SERVICE`, half of it by now.
    Recreate,
    /// `docker container prune`.
    PruneContainers,
    /// `docker image prune -a`.
    PruneImages,
    /// The engine is restarted.
    RestartEngine,
    /// The host is restarted.
    Reboot,
    /// The wall clock jumps by a day.
    Jump,
    /// The host is suspended, and wakes up.
    Suspend,
    /// A third party goes down, or comes back.
    Outage,
    /// The database's own check fails for a while.
    Sicken,
    /// Somebody migrates by hand.
    Migrate,
    /// A command.
    Order(ActKind),
    /// Nothing, for a long while.
    Rest,
    /// An edit of `.env` that changes a service with data.
    EditData,
    /// desired.toml asks for web as it was, or will be.
    Pin,
    /// A tag names another image from now on.
    Push,
    /// Somebody else takes the name of one of our containers.
    Squat,
    /// No probe is answered for a while.
    Hush,
    /// A tag names a new image of api from now on, which behaves so, and a new one of web, which is well.
    Build(&'static str, Behaviour),
    /// desired.toml asks for this tag.
    AskFor(&'static str),
    /// The reference of a service with data names a new image from now on.
    BuildData,
    /// The database's own check fails for longer than any window.
    SickenForLong,
    /// All images that do not run are gone, and what keeps them with them.
    LoseImages,
    /// The engine cannot be reached for a moment; what runs goes on.
    Vanish,
}

impl Act {
    /// The kind of fault that it is, if it is one.
    const fn is_fault(self) -> Option<&'static str> {
        Some(match self {
            Self::HalfWrite => "desired.toml: half-written",
            Self::Kill => "container: killed",
            Self::Remove => "container: removed",
            Self::Stop => "container: stopped",
            Self::PruneContainers => "container: pruned",
            Self::PruneImages => "image: gone",
            Self::RestartEngine => "engine: restarted",
            Self::Reboot => "host: power cut",
            Self::Jump => "clock: jumped a day",
            Self::Suspend => "host: suspended",
            Self::Outage => "third party: down or back",
            Self::Sicken | Self::SickenForLong => "database: unhealthy",
            Self::LoseImages => "image: gone",
            Self::Vanish => "engine: away",
            Self::Migrate => "schema: moved by hand",
            _ => return None,
        })
    }
}

/// The acts by weight.
pub(crate) const ACTS: [(u32, Act); 33] = [
    (30, Act::Ask),
    (5, Act::EditEnv),
    (4, Act::EditConf),
    (2, Act::WriteBack),
    (2, Act::PinEnv),
    (4, Act::HalfWrite),
    (3, Act::TakeOut),
    (8, Act::Kill),
    (6, Act::Remove),
    (4, Act::Stop),
    (4, Act::Recreate),
    (3, Act::PruneContainers),
    (2, Act::PruneImages),
    (4, Act::RestartEngine),
    (2, Act::Reboot),
    (2, Act::Jump),
    (2, Act::Suspend),
    (4, Act::Outage),
    (2, Act::Sicken),
    (1, Act::Migrate),
    (5, Act::Order(ActKind::Rollback { schema_fits: false })),
    (1, Act::Order(ActKind::Rollback { schema_fits: true })),
    (4, Act::Order(ActKind::Retry)),
    (
        2,
        Act::Order(ActKind::Pause {
            span: Duration::from_secs(600),
        }),
    ),
    (2, Act::Order(ActKind::Resume)),
    (10, Act::Order(ActKind::Approve)),
    (2, Act::Order(ActKind::Deny)),
    (14, Act::Rest),
    (4, Act::EditData),
    (4, Act::Pin),
    (6, Act::Push),
    (3, Act::Squat),
    (4, Act::Hush),
];

/// What is done about backups, in stories that have any.
const ABOUT_BACKUPS: [(u32, Act); 3] = [
    (
        3,
        Act::Order(ActKind::Backup {
            proof: Proof::Restore,
        }),
    ),
    (1, Act::Order(ActKind::Backup { proof: Proof::None })),
    (4, Act::Order(ActKind::Restore)),
];

pub(crate) const DESIRED: &str = "/etc/steadfast/desired.toml";
pub(crate) const ENV: &str = "/srv/shop/.env";
/// What web is configured by: a tracked file that it has mounted.
pub(crate) const CONF: &str = "/srv/shop/web.conf";
/// A directory beside it, which is tracked in some stories, and mounted too.
pub(crate) const PARTS: &str = "/srv/shop/web.d";
pub(crate) const COMPOSE: &str = "/srv/shop/compose.yaml";

pub(crate) const COMPOSE_TEXT: &str = r#"
services:
  db:
    image: sim/db:1
    command: ["--level", "${DATA_LEVEL:-0}"]
    restart: unless-stopped
    volumes: ["data:/data"]
    healthcheck: { test: ["CMD", "true"], interval: 1s }
  cache:
    image: sim/cache:1
    command: ["--level", "${DATA_LEVEL:-0}"]
    restart: always
    volumes: ["/cache"]
  api:
    image: sim/api:${TAG}
    restart: unless-stopped
    depends_on: { db: { condition: service_healthy } }
    environment: { PASSWORD: "${PASSWORD}", LOG_LEVEL: "${LOG_LEVEL}" }
  web:
    image: sim/web:${TAG}
    restart: unless-stopped
    depends_on: [api]
    ports: ["8080:80"]
    volumes: ["./web.conf:/etc/web.conf:ro"]
volumes: { data: {} }
"#;

/// Writes desired.toml.
pub(crate) fn ask(world: &mut World, tag: &str) {
    let text = format!("[shop]\ntag = \"{tag}\"\n");
    world.write(DESIRED, text);
    world.let_go = None;
}

/// The level that api does not know.
const MISLEADING: u64 = 4;

/// Writes `.env`: how much api logs, and what the services with data are told.
pub(crate) fn write_env(world: &mut World, secret: &str, (level, data): (u64, u64)) {
    let told = if level == MISLEADING { "bad" } else { "level" };
    let text = format!("PASSWORD={secret}\nLOG_LEVEL={told}{level}\nDATA_LEVEL={data}\n");
    world.env = (level, data);
    world.write(ENV, text);
}

/// The version of web's configuration that its check refuses, where there is one.
pub(crate) const REFUSED: u64 = 4;

/// Writes what web is configured by; in the fourth version it finds nothing, and the last one it does not understand.
pub(crate) fn write_conf(world: &mut World, version: u64) {
    let finds = match version {
        3 => "bad",
        REFUSED => "refused",
        _ => "good",
    };
    world.write(CONF, format!("version {version} is {finds}"));
}

/// Files come to web's directory, are written to, and go.
fn edit_parts(world: &mut World) {
    for name in ["a", "deep/b", "c"] {
        let path = format!("{PARTS}/{name}.conf");
        match world.dice.number(0..6) {
            0 => world.unlink(&path),
            version @ 1..3 => world.write(&path, format!("part {version}")),
            _ => {}
        }
    }
}

/// The Compose file of a stack whose web is configured like that.
pub(crate) fn compose(tracking: Tracking) -> String {
    COMPOSE_TEXT.replace(Tracking::File.mounts(), tracking.mounts())
}

/// Makes the images: on this host, only in the registry, or nowhere.
pub(crate) fn make_images(world: &mut World) {
    for reference in ["sim/db:1", "sim/cache:1"] {
        let image = image(world, Behaviour::Well);
        world.tags.insert(reference.to_owned(), image.clone());
        world.registry.insert(reference.to_owned(), image);
    }
    let mut newest = 1;
    for (index, tag) in TAGS.iter().enumerate() {
        for service in ["api", "web"] {
            let behaviour = if index == 0 {
                Behaviour::Well
            } else {
                any_behaviour(world)
            };
            let image = image(world, behaviour);
            if service == "api" {
                newest += world.data.dice.number(0..3) * u64::from(index > 0);
                world.write_scripts(&image, newest);
            }
            let reference = format!("sim/{service}:{tag}");
            if world.sources.is_some() {
                commit_first(world, index, &reference, image);
                continue;
            }
            let place = if index == 0 { 0 } else { world.dice.number(0..20) };
            if place < 10 {
                world.tags.insert(reference.clone(), image.clone());
            }
            if place < 18 {
                world.registry.insert(reference, image.clone());
            }
            if place >= 10 {
                world.images.remove(&image);
            }
            world.note(format!(
                "{service} {tag} is {behaviour:?}, image {}",
                image.short()
            ));
        }
    }
}

/// A release that is built from the repository: the first one is built already, and some cannot be.
fn commit_first(world: &mut World, index: usize, reference: &str, image: ImageId) {
    let id = world.dice.hex(40);
    let broken = index > 0 && world.dice.in_thousand(120);
    if index > 0 {
        world.images.remove(&image);
    } else {
        world.tags.insert(reference.to_owned(), image.clone());
    }
    world.note(format!(
        "{reference} is built of {}: {}",
        &id[..12],
        if broken { "cannot be" } else { image.short() }
    ));
    let made = (!broken).then_some(image);
    if let Some(sources) = &mut world.sources {
        sources.commit(reference, made, &id);
    }
}

fn any_behaviour(world: &mut World) -> Behaviour {
    let after = world.some_time(30..2000);
    world.dice.weighted(&[
        (10, Behaviour::Well),
        (4, Behaviour::Broken),
        (2, Behaviour::BreaksAfter(after)),
        (2, Behaviour::Crashes),
        (1, Behaviour::Flaps),
    ])
}

/// Another image under a tag that is known already: what runs has the old one.
fn push(world: &mut World) {
    if world.dice.in_thousand(300) {
        return push_data(world);
    }
    let service = *world.dice.one(&["api", "web"]).unwrap_or(&"api");
    let tag = *world.dice.one(&TAGS[1..]).unwrap_or(&TAGS[1]);
    let behaviour = any_behaviour(world);
    push_as(world, format!("sim/{service}:{tag}"), behaviour);
}

fn push_data(world: &mut World) {
    let all = ["sim/db:1", "sim/cache:1"];
    let reference = *world.dice.one(&all).unwrap_or(&all[0]);
    push_as(world, reference.to_owned(), Behaviour::Well);
}

fn push_as(world: &mut World, reference: String, behaviour: Behaviour) {
    let image = image(world, behaviour);
    if reference.starts_with("sim/api:") {
        let before = world.registry.get(&reference).or(world.tags.get(&reference));
        let before = before.and_then(|image| world.data.scripts.get(image));
        let newest = before.map_or(1, |before| before.newest) + world.data.dice.number(0..2);
        world.write_scripts(&image, newest);
    }
    world.note(format!(
        "== {reference} is image {} now, {behaviour:?}",
        image.short()
    ));
    let id = world.dice.hex(40);
    if let Some(sources) = world.sources.as_mut().filter(|_| !is_data(&reference)) {
        world.images.remove(&image);
        sources.commit(&reference, Some(image), &id);
        return;
    }
    world.tags.insert(reference.clone(), image.clone());
    world.registry.insert(reference, image);
}

fn is_data(reference: &str) -> bool {
    reference.ends_with(":1")
}

/// The name of one of our containers is somebody else's container's.
fn squat(world: &mut World) {
    leave(world);
    if let Some(id) = any_of_ours(world) {
        squat_on(world, &id);
    }
}

pub(crate) fn squat_on(world: &mut World, id: &ContainerId) {
    let Some(ours) = world.containers.remove(id) else {
        return;
    };
    let theirs = foreign(&ours.name, None, ours.image);
    let id = world.fresh_id();
    world.containers.insert(id.clone(), theirs);
    world.squatters.push(id);
    world.squat_until = world.now + world.some_time(5..400);
}

/// Somebody else has a port of the host.
pub(crate) fn take_port(world: &mut World, port: u16) {
    let image = image(world, Behaviour::Well);
    let mut theirs = foreign("their-web", None, image);
    theirs.ports.insert(port);
    let id = world.fresh_id();
    world.containers.insert(id, theirs);
}

/// Whoever took a name of ours gives it back.
pub(crate) fn leave(world: &mut World) {
    for id in std::mem::take(&mut world.squatters) {
        world.containers.remove(&id);
    }
}

fn image(world: &mut World, behaviour: Behaviour) -> ImageId {
    let id: ImageId = format!("sha256:{}", world.dice.hex(64))
        .parse()
        .expect("an image id");
    world.images.insert(id.clone(), behaviour);
    world.laws.behaviours.insert(id.clone(), behaviour);
    id
}

/// What the files ask for now.
fn inputs(world: &Shared, settings: &StackSettings) -> Option<Arc<Inputs>> {
    let stacks: BTreeMap<_, bool> = [(settings.name.clone(), true)].into();
    let files = Files(world.clone());
    let desired = inputs::read_desired(&files, Path::new(DESIRED), &stacks).ok()?;
    let entry = desired.get(&settings.name)?;
    let key = state::release::HostKey::new([7; 32]);
    inputs::read(&files, settings, entry, &key, &Checkouts::default())
        .inputs
        .ok()
}

/// `docker compose up -d`: each service that has no container gets one.
pub(crate) fn compose_up(world: &Shared, settings: &StackSettings) {
    let Some(inputs) = inputs(world, settings) else {
        return;
    };
    for service in ["db", "cache", "api", "web"] {
        let service: ServiceName = service.parse().expect("a name");
        let mut world = lock(world);
        make_by_compose(&mut world, &inputs, &service, &[]);
    }
}

fn make_by_compose(
    world: &mut World,
    inputs: &Inputs,
    service: &ServiceName,
    carried: &[Carried],
) -> Option<ContainerId> {
    let spec = inputs.spec.services.get(service)?;
    let reference = spec.image.clone()?;
    let image = world
        .tags
        .get(&reference)
        .or_else(|| world.registry.get(&reference))
        .cloned()?;
    let behaviour = world
        .laws
        .behaviours
        .get(&image)
        .copied()
        .unwrap_or(Behaviour::Well);
    world.images.insert(image.clone(), behaviour);
    world.tags.insert(reference, image.clone());
    let name = format!("shop-{service}-1");
    if world.named(&name).is_some() {
        return None;
    }
    world.networks.insert(String::from("shop_default"));
    let mut writable = std::collections::BTreeSet::new();
    let mut anonymous = carried.to_vec();
    for mount in &spec.volumes {
        match mount {
            Mount::Volume(_) => {
                world.volumes.entry(String::from("shop_data")).or_default();
                writable.insert(String::from("shop_data"));
            }
            Mount::Anonymous { target, .. } if anonymous.is_empty() => {
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
    let network = Attachment {
        network: String::from("shop_default"),
        aliases: vec![service.to_string()],
        fixed_ipv4: None,
        fixed_ipv6: None,
        address: Some(std::net::IpAddr::from([10, 0, 0, 9])),
    };
    let container = Container {
        name,
        project: Some(inputs.spec.project.clone()),
        service: service.clone(),
        number: 1,
        image,
        config: config_of(spec),
        misled: misled(spec),
        conf: None,
        parts: Vec::new(),
        read_at: None,
        hash: None,
        operation: None,
        oneoff: false,
        state: ContainerState::Created,
        started: None,
        first_started: None,
        restart: spec.restart_policy(),
        restarts: 0,
        networks: [(network.network.clone(), network)].into(),
        anonymous,
        writable,
        ports: spec
            .ports
            .iter()
            .filter_map(|p| p.published.map(|r| r.first))
            .collect(),
        checked: spec.healthcheck.is_some(),
        stopped: false,
    };
    // What nobody has met cannot be known to have had any.
    let met = world
        .laws
        .record
        .as_ref()
        .is_some_and(|record| record.current.is_some());
    if met {
        world.laws.has_rows(&container);
    }
    let id = world.fresh_id();
    world.containers.insert(id.clone(), container);
    // A port that is taken leaves it created.
    let _ = world.start(&id);
    Some(id)
}

/// Containers that are nobody's business, one of them of the very project: they must be the same at the end.
pub(crate) fn add_foreign(world: &mut World) -> Vec<ContainerId> {
    let image = image(world, Behaviour::Well);
    let all = [
        ("traefik", None),
        ("blog-api-1", Some("blog")),
        ("shop-tools-1", Some("shop")),
    ];
    let made = all.map(|(name, project)| {
        let id = world.fresh_id();
        world
            .containers
            .insert(id.clone(), foreign(name, project, image.clone()));
        id
    });
    made.into()
}

fn foreign(name: &str, project: Option<&str>, image: ImageId) -> Container {
    Container {
        name: name.to_owned(),
        project: project.map(|p| p.parse().expect("a name")),
        service: match project {
            Some("shop") => "tools".parse().expect("a name"),
            _ => "api".parse().expect("a name"),
        },
        number: 1,
        image,
        config: Digest::of(b"theirs"),
        misled: None,
        conf: None,
        parts: Vec::new(),
        read_at: None,
        hash: None,
        operation: None,
        oneoff: false,
        state: ContainerState::Running(None),
        started: Some(Duration::ZERO),
        first_started: Some(Duration::ZERO),
        restart: state::stack_spec::RestartPolicy::Always,
        restarts: 0,
        networks: BTreeMap::new(),
        anonymous: Vec::new(),
        writable: std::collections::BTreeSet::new(),
        ports: std::collections::BTreeSet::new(),
        checked: false,
        stopped: false,
    }
}

fn any_of_ours(world: &mut World) -> Option<ContainerId> {
    let ours: Vec<ContainerId> = world
        .containers
        .iter()
        .filter(|(_, c)| c.project.as_ref().is_some_and(|p| p.as_str() == "shop"))
        .filter(|(_, c)| SERVICES.contains(&c.service.as_str()))
        .map(|(id, _)| id.clone())
        .collect();
    world.dice.one(&ours).cloned()
}

/// `docker compose up --force-recreate`: the new container under a temporary name, the old one gone, the name given.
fn recreate(shared: &Shared, settings: &StackSettings) {
    let Some(inputs) = inputs(shared, settings) else {
        return;
    };
    let mut world = lock(shared);
    let Some(old) = any_of_ours(&mut world) else {
        return;
    };
    let container = world.containers[&old].clone();
    if container.name != format!("shop-{}-1", container.service) {
        return;
    }
    // Whoever does this while another container of the service runs has two writers by their own doing.
    let runs_twice =
        |(id, c): (&ContainerId, &Container)| *id != old && c.service == container.service && c.runs();
    if world.containers.iter().any(runs_twice) || is_being_started(&world, &container.service) {
        return;
    }
    world.laws.touched = Some(world.now);
    world.containers.remove(&old);
    if let Some(made) = make_by_compose(&mut world, &inputs, &container.service, &container.anonymous) {
        world.has_written(&Call::Start(&made));
    }
}

/// Whether the agent's call to start a container of this service is on its way: what is made by hand in that moment
/// nobody can see any more.
fn is_being_started(world: &World, service: &ServiceName) -> bool {
    let record = world.laws.record.as_ref();
    let Some(open) = record.and_then(|record| record.operation.as_ref()) else {
        return false;
    };
    let under_way = match &open.progress {
        Progress::InFlight { index, .. } => Some(*index),
        Progress::Undoing {
            next, started: true, ..
        } => *next,
        _ => None,
    };
    let step = under_way.and_then(|index| open.operation.plan.steps.get(index));
    step.is_some_and(|step| {
        matches!(step, Step::Start { service: of, .. } | Step::Stop { service: of, .. } if of == service)
    })
}

/// Whether a file changed, so that the agent is told; and whether the agent dies of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consequence {
    None,
    Files,
    /// Files, and again after so long.
    FilesTwice(Duration),
    Containers,
    Dies,
    Order(ActKind),
}

/// `docker image prune -a`.
fn prune_images(world: &mut World, system: bool) {
    // `docker system prune -a` takes what is stopped with it, and so the keepers.
    if system {
        world.containers.retain(|_, c| c.runs());
        world.keepers.clear();
    }
    let used: Vec<ImageId> = world
        .containers
        .values()
        .map(|c| c.image.clone())
        .chain(world.keepers.iter().map(|(_, image)| image.clone()))
        .collect();
    world.images.retain(|id, _| used.contains(id));
    let images: Vec<ImageId> = world.images.keys().cloned().collect();
    world.tags.retain(|_, id| images.contains(id));
    world.pruned_at = Some(world.now);
}

/// The clocks of the host are no longer what a process takes them for.
fn tamper(act: Act, world: &mut World, clocks: &Clocks) {
    let day = 86_400_000;
    match act {
        Act::Suspend => {
            world.slept_at = Some(world.now);
            let span = world.some_time(1..20_000);
            world.slept += span;
            clocks.suspend(span);
        }
        _ if world.dice.in_thousand(500) => clocks.jump(day),
        _ => clocks.jump(-day),
    }
}

fn any_act(world: &mut World) -> Act {
    // Of dice of their own: what else is drawn stays as it was.
    if world.data.migrates && world.data.dice.in_thousand(60) {
        return world.data.dice.weighted(&ABOUT_BACKUPS);
    }
    // In stories that are new: what is drawn in the others stays as it was.
    if world.sources.is_some() && world.dice.in_thousand(20) {
        return Act::Order(ActKind::RestoreEnv);
    }
    // What these stories are about.
    if world.tracking.is_other() && world.dice.in_thousand(150) {
        return Act::EditConf;
    }
    world.dice.weighted(&ACTS)
}

/// Does one act: the one that a scene tells, or any.
#[allow(clippy::too_many_lines, reason = "one arm an act")]
pub(crate) fn act(
    shared: &Shared,
    clocks: &Clocks,
    settings: &StackSettings,
    secret: &str,
    told: Option<Act>,
) -> Consequence {
    let act = {
        let mut world = lock(shared);
        world.settle(clocks.elapsed());
        if world.now >= world.squat_until {
            leave(&mut world);
        }
        let act = told.unwrap_or_else(|| any_act(&mut world));
        match act.is_fault() {
            Some(kind) => world.injected(kind, format!("== {act:?}")),
            None => world.note(format!("== {act:?}")),
        }
        act
    };
    if matches!(act, Act::Recreate) {
        recreate(shared, settings);
        return Consequence::Containers;
    }
    let mut world = lock(shared);
    let world = &mut *world;
    match act {
        Act::Ask => {
            let tag = *world.dice.one(&TAGS).unwrap_or(&"v1");
            world.note(format!("== asks for {tag}"));
            ask(world, tag);
            Consequence::Files
        }
        Act::EditEnv => {
            let levels = (world.dice.number(0..5), world.env.1);
            write_env(world, secret, levels);
            Consequence::Files
        }
        Act::EditConf => {
            let versions = if world.sources.is_some() { 0..5 } else { 0..4 };
            let version = world.dice.number(versions);
            if world.tracking == Tracking::Directory {
                edit_parts(world);
            }
            write_conf(world, version);
            Consequence::Files
        }
        Act::PinEnv => {
            let tag = *world.dice.one(&TAGS).unwrap_or(&"v1");
            let env = world.files.get(Path::new(ENV)).map(|bytes| Digest::of(bytes));
            let Some(env) = env else { return Consequence::None };
            world.note(format!("== asks for {tag}, and .env as it is"));
            world.write(
                DESIRED,
                format!("[shop]\ntag = \"{tag}\"\nenv = \"sha256:{}\"\n", env.as_str()),
            );
            world.let_go = None;
            Consequence::Files
        }
        Act::WriteBack => {
            let record = world.laws.record.as_ref();
            let own = record.and_then(|record| record.request.as_ref().map(|request| &request.files));
            let own: Vec<_> = own.into_iter().flatten().collect();
            let one = own.iter().find(|(path, file)| {
                let is = world.files.get(*path).map(|bytes| Digest::of(bytes));
                is != file.content && path.as_path() != Path::new(COMPOSE)
            });
            let Some(((path, _), text)) = one
                .and_then(|(path, file)| Some(((path, file), world.versions.get(file.content.as_ref()?)?)))
            else {
                return Consequence::None;
            };
            let (path, text) = (path.display().to_string(), text.clone());
            world.write(&path, text);
            Consequence::Files
        }
        Act::EditData => {
            let levels = (world.env.0, world.dice.number(0..4));
            write_env(world, secret, levels);
            Consequence::Files
        }
        Act::Pin => {
            let (tag, web) = (
                *world.dice.one(&TAGS).unwrap_or(&"v1"),
                *world.dice.one(&TAGS).unwrap_or(&"v1"),
            );
            let text = format!("[shop]\ntag = \"{tag}\"\n[shop.services]\nweb = \"{web}\"\n");
            world.note(format!("== asks for {tag}, and web {web}"));
            world.write(DESIRED, text);
            world.let_go = None;
            Consequence::Files
        }
        Act::Push => {
            push(world);
            Consequence::None
        }
        Act::Squat => {
            world.laws.touched = Some(world.now);
            world.struck = Some(world.now);
            squat(world);
            Consequence::Containers
        }
        Act::Hush => {
            world.hushed_until = world.now + world.some_time(5..900);
            Consequence::None
        }
        Act::HalfWrite => {
            world.write(DESIRED, "[shop]\ntag = \"v");
            Consequence::FilesTwice(world.some_time(1..90))
        }
        Act::TakeOut => {
            world.write(DESIRED, "[other]\ntag = \"v1\"\n");
            world.let_go = Some(world.now);
            Consequence::FilesTwice(world.some_time(1..400))
        }
        Act::Kill | Act::Remove | Act::Stop => {
            let Some(id) = any_of_ours(world) else {
                return Consequence::None;
            };
            world.struck = Some(world.now);
            match act {
                Act::Kill => world.exits(&id, 137),
                Act::Stop => world.stop(&id, 0),
                _ => drop(world.containers.remove(&id)),
            }
            Consequence::Containers
        }
        Act::PruneContainers => {
            world.containers.retain(|_, c| c.runs());
            world.keepers.clear();
            world.pruned_at = Some(world.now);
            Consequence::Containers
        }
        Act::PruneImages => {
            let system = world.dice.in_thousand(500);
            prune_images(world, system);
            Consequence::None
        }
        Act::LoseImages => {
            prune_images(world, true);
            Consequence::None
        }
        Act::Build(tag, behaviour) => {
            push_as(world, format!("sim/api:{tag}"), behaviour);
            push_as(world, format!("sim/web:{tag}"), Behaviour::Well);
            Consequence::None
        }
        Act::BuildData => {
            push_data(world);
            Consequence::None
        }
        Act::AskFor(tag) => {
            ask(world, tag);
            Consequence::Files
        }
        Act::Vanish => {
            world.away_until = world.now + world.some_time(1..60);
            Consequence::None
        }
        Act::RestartEngine => {
            let away = world.some_time(1..120);
            world.restart_engine(away);
            Consequence::Containers
        }
        Act::Reboot => {
            let away = world.some_time(5..60);
            world.restart_engine(away);
            clocks.reboot();
            Consequence::Dies
        }
        Act::Jump | Act::Suspend => {
            tamper(act, world, clocks);
            Consequence::None
        }
        Act::Outage => {
            world.outage = !world.outage;
            world.note(format!("== outage: {}", world.outage));
            Consequence::None
        }
        Act::Sicken | Act::SickenForLong => {
            let span = match act {
                Act::Sicken => 5..200,
                _ => 600..1500,
            };
            world.struck = Some(world.now);
            world.sick_until = world.now + world.some_time(span);
            Consequence::Containers
        }
        Act::Migrate => {
            world.laws.migrated = Some(world.now);
            let revision = world.dice.hex(12).parse().expect("a revision");
            world.schema = SchemaHead::At([revision].into());
            Consequence::None
        }
        Act::Order(ActKind::Pause { span }) => {
            let span = world.pace.span(span);
            Consequence::Order(ActKind::Pause { span })
        }
        Act::Order(kind) => {
            if let ActKind::Rollback { schema_fits } = kind {
                world.laws.vouched = schema_fits;
            }
            Consequence::Order(kind)
        }
        Act::Recreate | Act::Rest => Consequence::None,
    }
}
