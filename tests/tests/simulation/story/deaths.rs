//! The agent is killed at a told place, comes back, is killed again at the next, comes back: whatever the place, the
//! story ends as it does without a kill, and every law holds. All crash points are come to on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::database::CopyKind;
use agent::shared::ActKind;
use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::{Failed, Trial};
use state::backup::Proof;
use state::name::ImageId;
use state::observed::ContainerState;
use state::record::{StackRecord, Standing};
use state::release::Verdict;

use super::{Host, Pace};
use crate::dice::Dice;
use crate::edges::lock;
use crate::hand;
use crate::points::{self, Point, Side, Stage};
use crate::repository::Sources;
use crate::world::{Behaviour, World};

/// How long a story may take to its end, however often the agent dies.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long it is looked at once it has ended: what comes late is written then.
const AFTER: Duration = Duration::from_secs(45);

type Telling<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// A story in two parts: nobody dies in the first one.
#[derive(Clone, Copy)]
struct Tale {
    name: &'static str,
    host: fn() -> Host,
    before: for<'a> fn(&'a mut Host) -> Telling<'a>,
    then: for<'a> fn(&'a mut Host) -> Telling<'a>,
}

macro_rules! tale {
    ($name:literal, $before:ident, $then:ident) => {
        tale!($name, host, $before, $then)
    };
    ($name:literal, $host:ident, $before:ident, $then:ident) => {
        Tale {
            name: $name,
            host: $host,
            before: |host| Box::pin($before(host)),
            then: |host| Box::pin($then(host)),
        }
    };
}

const TALES: [Tale; 12] = [
    tale!("the_first_deploy", nothing, comes_up),
    tale!("a_deploy", good_v1, deploys),
    tale!("a_deploy_that_is_taken_back", good_v1, is_taken_back),
    tale!("a_deploy_that_gets_stuck", good_v1, gets_stuck),
    tale!("a_heal", good_v1, heals),
    tale!("a_pause_of_the_engine", good_v1, goes_on),
    tale!("a_rollback", good_v1, rolls_back),
    tale!("what_was_found", found, is_adopted),
    tale!("a_restore", backed_up, restores),
    tale!("by_hand", good_v2, by_hand),
    tale!("what_is_built", with_a_repository, good_v1, is_built),
    tale!("a_file_that_is_checked", with_a_repository, good_v1, is_checked),
];

/// What the soak asks for: every pair of places, in every story.
const ALL_PAIRS: &str = "SIM_PAIRS";
/// How many pairs are drawn otherwise, in each story.
const PAIRS: usize = 12;

/// A trial for all points, and one for each story with pairs.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![Trial::test("every_crash_point_is_hit", every_point)];
    trials
        .extend(TALES.map(|tale| Trial::test(format!("killed_twice_in_{}", tale.name), move || pairs(tale))));
    trials
}

/// Each point once, in the first story that comes to its place, and in the next where it is not hit there.
fn every_point() -> Result<(), Failed> {
    let mut left: BTreeSet<Point> = points::all().into_iter().collect();
    let mut hit: BTreeMap<Point, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for tale in TALES {
        let places = tell(tale, &[]).map_err(|why| format!("{}, nobody is killed: {why}", tale.name))?;
        let here: Vec<Point> = left
            .iter()
            .filter(|point| places.passed.contains(point.side.place))
            .copied()
            .collect();
        for point in here {
            // A batch of changes is at several places at once.
            if !left.contains(&point) {
                continue;
            }
            match tell(tale, &script(point)) {
                Ok(told) => {
                    for (point, times) in told.hit {
                        left.remove(&point);
                        *hit.entry(point).or_default() += times;
                    }
                }
                Err(why) => wrong.push(format!("{}, killed {point}: {why}", tale.name)),
            }
        }
    }
    wrong.extend(left.iter().map(|point| format!("never hit: {point}")));
    if std::env::var_os("SIM_ENDINGS").is_some() {
        eprintln!("{} points, {} kills", hit.len(), hit.values().sum::<u32>());
    }
    report(&wrong)
}

/// As many deaths before the place as bring the agent into the stage, and the one that is meant.
fn script(point: Point) -> Vec<Side> {
    let earlier = match point.stage {
        Stage::Live => 0,
        Stage::Recovery => 1,
        Stage::Again => 2,
    };
    let before = Side {
        place: point.side.place,
        after: false,
    };
    let mut script = vec![before; earlier];
    script.push(point.side);
    script
}

/// Killed at one place, and in what follows at another: some of all pairs, or all of them.
fn pairs(tale: Tale) -> Result<(), Failed> {
    let told = tell(tale, &[]).map_err(Failed::from)?;
    let sides: Vec<Side> = told
        .passed
        .iter()
        .flat_map(|place| [false, true].map(|after| Side { place, after }))
        .collect();
    let mut all: Vec<[Side; 2]> = sides
        .iter()
        .flat_map(|first| sides.iter().map(|second| [*first, *second]))
        .collect();
    if std::env::var_os(ALL_PAIRS).is_none() {
        let mut dice = Dice::new(tale.name.len() as u64);
        all = (0..PAIRS).filter_map(|_| dice.one(&all).copied()).collect();
    }
    let killed = |pair: &[Side; 2]| {
        let told = tell(tale, pair);
        told.err()
            .map(|why| format!("{}, killed at {pair:?}: {why}", tale.name))
    };
    let wrong: Vec<String> = all.iter().filter_map(killed).collect();
    report(&wrong)
}

fn report(wrong: &[String]) -> Result<(), Failed> {
    let first = wrong.iter().take(5).cloned().collect::<Vec<_>>();
    ensure_empty(wrong.len(), &first)
}

fn ensure_empty(count: usize, first: &[String]) -> Result<(), Failed> {
    match count {
        0 => Ok(()),
        count => Err(Failed::from(format!("{count} are wrong\n{}", first.join("\n")))),
    }
}

/// What came of a story.
struct Told {
    passed: BTreeSet<&'static str>,
    hit: BTreeMap<Point, u32>,
}

/// Tells a story, in which the agent dies at these places, one after the other. What goes wrong is told again, with
/// its trace.
fn tell(tale: Tale, deaths: &[Side]) -> Result<Told, String> {
    tell_once(tale, deaths, false).or_else(|_| tell_once(tale, deaths, true))
}

fn tell_once(tale: Tale, deaths: &[Side], traced: bool) -> Result<Told, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut host = (tale.host)();
        lock(&host.world).traced = traced;
        let told = live_through(&mut host, tale, deaths).await;
        if let Some(agent) = host.agent.take() {
            agent.task.abort();
        }
        let world = lock(&host.world);
        let last = || {
            let from = if std::env::var_os("SIM_ENDINGS").is_some() {
                0
            } else {
                world.trace.len().saturating_sub(40)
            };
            world.trace[from..].join("\n")
        };
        told.map_err(|error| format!("{error:#}\n{}", last()))?;
        match world.laws.broken.first() {
            Some(broken) => Err(format!("{broken}\n{}", last())),
            None => Ok(Told {
                passed: world.points.passed.clone(),
                hit: world.points.hit.clone(),
            }),
        }
    })
}

async fn live_through(host: &mut Host, tale: Tale, deaths: &[Side]) -> Result<()> {
    (tale.before)(host).await?;
    {
        let mut world = lock(&host.world);
        world.points.passed.clear();
        world.points.told = deaths.iter().copied().collect();
    }
    (tale.then)(host).await?;
    let end = host.clocks.elapsed() + AFTER;
    host.live_until("time has passed", |host| host.clocks.elapsed() > end)
        .await?;
    let record = host.record();
    ensure!(
        record.operation.is_none(),
        "an operation is open: {:?}",
        record.operation
    );
    Ok(())
}

/// A host with v1 in the registry alone, and nothing that runs.
fn host() -> Host {
    let mut world = World::new(5, Pace::Brief);
    world.data.checks = super::CHECKS;
    let host = super::host(&Arc::new(Mutex::new(world)));
    let mut world = lock(&host.world);
    for reference in ["sim/db:1", "sim/cache:1", "sim/api:v1", "sim/web:v1"] {
        let image = give(&mut world, reference, Behaviour::Well);
        world.images.remove(&image);
        world.tags.remove(reference);
        world.registry.insert(reference.to_owned(), image);
    }
    drop(world);
    host
}

/// A host with v1 in a repository, and nothing that runs, or is built.
fn with_a_repository() -> Host {
    let mut world = World::new(5, Pace::Brief);
    world.sources = Some(Sources::default());
    let host = super::host(&Arc::new(Mutex::new(world)));
    let mut world = lock(&host.world);
    for reference in ["sim/db:1", "sim/cache:1"] {
        give(&mut world, reference, Behaviour::Well);
    }
    for reference in ["sim/api:v1", "sim/web:v1"] {
        commit(&mut world, reference, Some(Behaviour::Well));
    }
    drop(world);
    host
}

/// A commit under this tag with another image, of which there is nothing yet; `None`: it cannot be built.
fn commit(world: &mut World, reference: &str, behaviour: Option<Behaviour>) -> Option<ImageId> {
    let image = behaviour.map(|behaviour| {
        let image = give(world, reference, behaviour);
        world.tags.remove(reference);
        world.images.remove(&image);
        image
    });
    commit_of(world, reference, image.clone());
    image
}

fn commit_of(world: &mut World, reference: &str, image: Option<ImageId>) {
    let id = world.dice.hex(40);
    if let Some(sources) = &mut world.sources {
        sources.commit(reference, image, &id);
    }
}

fn give(world: &mut World, reference: &str, behaviour: Behaviour) -> ImageId {
    let id: ImageId = format!("sha256:{}", world.dice.hex(64)).parse().expect("an id");
    world.images.insert(id.clone(), behaviour);
    world.laws.behaviours.insert(id.clone(), behaviour);
    world.tags.insert(reference.to_owned(), id.clone());
    id
}

impl Host {
    /// Lives on, whoever dies, until it is so.
    async fn live_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<()> {
        self.live_by(Duration::from_millis(500), what, is_so).await
    }

    async fn live_by(&mut self, tick: Duration, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<()> {
        let end = self.clocks.elapsed() + LONGEST;
        while !is_so(self) {
            if self.clocks.elapsed() > end {
                return Err(anyhow!("not within an hour: {what}; {:?}", self.record().hold));
            }
            tokio::time::sleep(tick).await;
            self.look_after().await;
            if self.agent.is_none() {
                self.start();
            }
        }
        Ok(())
    }

    /// Until this tag is good and nothing is under way.
    async fn live_until_good(&mut self, tag: &str) -> Result<()> {
        self.live_until(&format!("{tag} is good"), |host| {
            let record = host.record();
            record.operation.is_none() && is_good(&record, tag) && host.serves()
        })
        .await
    }

    fn serves(&self) -> bool {
        let world = lock(&self.world);
        ["api", "web"]
            .iter()
            .all(|service| world.answer(&self.stack, service).is_ok())
    }

    /// v2, whose api behaves so, is asked for.
    fn ask_for_v2(&self, api: Behaviour) {
        {
            let mut world = lock(&self.world);
            give(&mut world, "sim/api:v2", api);
            give(&mut world, "sim/web:v2", Behaviour::Well);
            hand::ask(&mut world, "v2");
        }
        self.tell_files();
    }

    /// Asks for it until it is so: whoever takes an order may die of it.
    async fn order_until(&mut self, act: ActKind, is_so: impl Fn(&StackRecord) -> bool) -> Result<()> {
        let end = self.clocks.elapsed() + LONGEST;
        while !is_so(&self.record()) {
            ensure!(self.clocks.elapsed() < end, "{act:?} was never carried out");
            self.order(act);
            let wait = self.clocks.elapsed() + Duration::from_secs(20);
            let done = |host: &Self| is_so(&host.record()) || host.clocks.elapsed() > wait;
            self.live_until("it is ordered", done).await?;
        }
        Ok(())
    }
}

fn is_good(record: &StackRecord, tag: &str) -> bool {
    record.current().is_some_and(|generation| {
        let is_it = generation
            .release
            .tag
            .as_ref()
            .is_some_and(|of| of.as_str() == tag);
        is_it && generation.verdict == Verdict::Good
    })
}

#[allow(clippy::unused_async)]
async fn nothing(_: &mut Host) -> Result<()> {
    Ok(())
}

async fn backed_up(host: &mut Host) -> Result<()> {
    good_v1(host).await?;
    host.order(ActKind::Backup {
        proof: Proof::Restore,
    });
    host.live_until("there is a proven backup", |host| {
        host.record().operation.is_none() && lock(&host.world).data.newest_proven().is_some()
    })
    .await
}

/// Wherever it dies, the backup is in use in the end, and what was in use before is kept.
async fn restores(host: &mut Host) -> Result<()> {
    let before = lock(&host.world).content();
    let aside = |host: &Host| {
        let world = lock(&host.world);
        let mut beside = world.data.beside.values();
        beside.find(|beside| beside.kind == CopyKind::Aside).cloned()
    };
    let end = host.clocks.elapsed() + LONGEST;
    while aside(host).is_none() {
        ensure!(host.clocks.elapsed() < end, "nothing was ever restored");
        host.order(ActKind::Restore);
        let wait = host.clocks.elapsed() + Duration::from_secs(20);
        host.live_until("a restore is ordered", |host| {
            aside(host).is_some() || host.clocks.elapsed() > wait
        })
        .await?;
    }
    host.live_until_good("v1").await?;
    let kept = aside(host).context("what was in use is gone")?;
    ensure!(
        kept.content.rows >= before.rows,
        "{kept:?}, and there was {before:?}"
    );
    let world = lock(&host.world);
    ensure!(world.data.beside.len() == 1, "{:?}", world.data.beside);
    ensure!(world.data.open, "it lets nobody in");
    Ok(())
}

async fn good_v1(host: &mut Host) -> Result<()> {
    host.start();
    host.live_until_good("v1").await
}

async fn good_v2(host: &mut Host) -> Result<()> {
    good_v1(host).await?;
    host.ask_for_v2(Behaviour::Well);
    host.live_until_good("v2").await
}

async fn comes_up(host: &mut Host) -> Result<()> {
    host.start();
    host.live_until_good("v1").await
}

async fn deploys(host: &mut Host) -> Result<()> {
    host.ask_for_v2(Behaviour::Well);
    host.live_until_good("v2").await
}

/// v2, in which web is as it was; then its tag moves, which alone changes nothing.
async fn is_built(host: &mut Host) -> Result<()> {
    let web = {
        let mut world = lock(&host.world);
        let web = world.named("shop-web-1").context("no web")?;
        let image = world.containers[&web].image.clone();
        commit(&mut world, "sim/api:v2", Some(Behaviour::Well));
        commit_of(&mut world, "sim/web:v2", Some(image));
        hand::ask(&mut world, "v2");
        web
    };
    host.tell_files();
    host.live_until_good("v2").await?;
    let moved = {
        let mut world = lock(&host.world);
        ensure!(
            world.named("shop-web-1") == Some(web),
            "web has not changed, and is another one"
        );
        commit(&mut world, "sim/api:v2", Some(Behaviour::Well)).context("no image")?
    };
    let runs = |host: &Host| {
        let world = lock(&host.world);
        let api = world.named("shop-api-1").and_then(|id| world.containers.get(&id));
        api.is_some_and(|api| api.image == moved)
    };
    let end = host.clocks.elapsed() + Duration::from_secs(300);
    host.live_until("a while", |host| host.clocks.elapsed() > end)
        .await?;
    ensure!(
        !runs(host),
        "a tag that has moved is applied, and nobody has asked"
    );
    host.order_until(ActKind::Retry, |record| {
        record.request.as_ref().is_some_and(|request| request.retries > 0)
    })
    .await?;
    host.live_until("what the tag names now runs", runs).await?;
    host.live_until_good("v2").await
}

/// What its check refuses is never used, and the next version is.
async fn is_checked(host: &mut Host) -> Result<()> {
    let web = lock(&host.world).named("shop-web-1").context("no web")?;
    hand::write_conf(&mut lock(&host.world), hand::REFUSED);
    host.tell_files();
    host.live_until("it was refused", |host| {
        let record = host.record();
        matches!(record.standing, Standing::Quarantined(_)) && record.operation.is_none()
    })
    .await?;
    host.live_until_good("v1").await?;
    ensure!(
        lock(&host.world).named("shop-web-1") == Some(web.clone()),
        "web was touched"
    );
    let before = host.record().generations.len();
    hand::write_conf(&mut lock(&host.world), 1);
    host.tell_files();
    host.live_until("the next version runs", |host| {
        host.record().generations.len() > before && lock(&host.world).named("shop-web-1") != Some(web.clone())
    })
    .await?;
    host.live_until_good("v1").await
}

async fn is_taken_back(host: &mut Host) -> Result<()> {
    host.ask_for_v2(Behaviour::Crashes);
    host.live_until("v2 is in quarantine", |host| !host.record().quarantine.is_empty())
        .await?;
    host.live_until_good("v1").await
}

/// Somebody else takes the port between the stop of v1 and the start of v2.
async fn gets_stuck(host: &mut Host) -> Result<()> {
    // Nothing shows of that here; but a release that is well may not be blamed.
    host.ask_for_v2(Behaviour::BreaksAfter(Duration::from_secs(1_000_000)));
    let closely = Duration::from_millis(5);
    host.live_by(closely, "web does not run", |host| {
        let world = lock(&host.world);
        let mut web = world.containers.values().filter(|c| c.service.as_str() == "web");
        web.all(|c| !c.runs())
    })
    .await?;
    let squatter = {
        let mut world = lock(&host.world);
        let ids = hand::add_foreign(&mut world);
        let id = ids.first().context("nobody")?.clone();
        let port = 8080;
        world
            .containers
            .get_mut(&id)
            .context("nobody")?
            .ports
            .insert(port);
        id
    };
    host.live_until("it is held", |host| host.record().hold.is_some())
        .await?;
    lock(&host.world).containers.remove(&squatter);
    host.order_until(ActKind::Retry, |record| record.hold.is_none())
        .await?;
    host.live_until_good("v2").await
}

async fn heals(host: &mut Host) -> Result<()> {
    {
        let mut world = lock(&host.world);
        let web = world.named("shop-web-1").context("no web")?;
        world.containers.remove(&web);
    }
    host.tell_files();
    host.live_until_good("v1").await
}

async fn goes_on(host: &mut Host) -> Result<()> {
    let db = {
        let mut world = lock(&host.world);
        let db = world.named("shop-db-1").context("no db")?;
        world.containers.get_mut(&db).context("no db")?.state = ContainerState::Paused;
        db
    };
    host.tell_files();
    host.live_until("it goes on", |host| {
        let runs = lock(&host.world)
            .containers
            .get(&db)
            .is_some_and(crate::world::Container::runs);
        runs && host.record().operation.is_none()
    })
    .await
}

async fn rolls_back(host: &mut Host) -> Result<()> {
    hand::write_conf(&mut lock(&host.world), 1);
    host.ask_for_v2(Behaviour::Broken);
    host.live_until("v2 was left", |host| {
        matches!(host.record().standing, Standing::Quarantined(_))
    })
    .await?;
    host.live_until_good("v1").await
}

/// Compose has brought the stack up, with another environment of the api.
#[allow(clippy::unused_async)]
async fn found(host: &mut Host) -> Result<()> {
    hand::compose_up(&host.world, &host.settings.stacks[&host.stack]);
    let mut world = lock(&host.world);
    let api = world.named("shop-api-1").context("no api")?;
    let found = world.containers.get_mut(&api).context("no api")?;
    found.config = state::name::Digest::of(b"another environment");
    Ok(())
}

async fn is_adopted(host: &mut Host) -> Result<()> {
    host.start();
    host.live_until("it asks", |host| host.record().approval.is_some())
        .await?;
    host.order_until(ActKind::Approve, |record| {
        record
            .approval
            .as_ref()
            .is_none_or(|approval| approval.answer.is_some())
    })
    .await?;
    host.live_until_good("v1").await
}

async fn by_hand(host: &mut Host) -> Result<()> {
    let span = Duration::from_secs(600);
    host.order_until(ActKind::Pause { span }, |record| record.pause.is_some())
        .await?;
    host.order_until(ActKind::Resume, |record| record.pause.is_none())
        .await?;
    let rollback = ActKind::Rollback { schema_fits: false };
    host.order_until(rollback, |record| !record.quarantine.is_empty())
        .await?;
    host.live_until_good("v1").await?;
    host.order_until(ActKind::Retry, |record| record.quarantine.is_empty())
        .await?;
    host.live_until_good("v2").await?;
    lock(&host.world).write(hand::DESIRED, "[other]\ntag = \"v1\"\n");
    host.tell_files();
    host.live_until("it is let go", |host| host.record().let_go.is_some())
        .await?;
    hand::ask(&mut lock(&host.world), "v2");
    host.tell_files();
    host.live_until("it is taken up again", |host| host.record().let_go.is_none())
        .await?;
    host.live_until_good("v2").await
}
