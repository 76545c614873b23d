//! kill -9 at every step of a deploy, a heal and a rollback, and of what goes on after one: at points that have
//! a name, on the binary under test, unchanged. After each the stack has to come to where it would have come
//! without, and everything outside has to be sound.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent::view::Status;
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Deed, Engine, Lab, Points, poll};

pub(super) use self::story::{Cause, Round, Story};
use super::{Scenario, newest, once};

mod release;
mod restore;
mod schema;
mod sound;
mod story;

pub(super) const ALL: &[Scenario] = &[
    once("killed_in_a_deploy", |engine| told(engine, "killdeploy", DEPLOYS)),
    once("killed_in_a_heal", |engine| told(engine, "killheal", HEALS)),
    once("killed_in_a_rollback", |engine| {
        told(engine, "killback", ROLLBACKS)
    }),
    once("killed_in_a_migration", schema::few),
    once("killed_in_the_making_of_a_release", release::few),
    once("killed_in_a_restore", restore::few),
    once("a_restore_of_a_gigabyte_is_killed", restore::many).asked_for(restore::KILLS),
    newest("the_engine_is_struck_in_every_kind_of_operation", struck),
    once("soak_of_kills", soak).asked_for(SOAK),
    newest("soak_of_engine_strikes", soak_of_strikes).asked_for(STRIKES),
];

/// How many times the soak kills, and from which seed.
const SOAK: &str = "STEADFAST_KILLS";
const SEED: &str = "STEADFAST_SEED";
/// How many times its engine is struck.
const STRIKES: &str = "STEADFAST_STRIKES";

/// A cause, whether it is taken back, the point, and after how many stops each recovery is killed.
type Told = (Cause, bool, &'static str, &'static [usize]);

const DEPLOYS: &[Told] = &[
    (Cause::Deploy, false, "opened", &[3]),
    (Cause::Deploy, false, "keep_image.answered", &[]),
    (Cause::Deploy, false, "create.sent", &[2]),
    (Cause::Deploy, false, "stop.answered", &[1, 4]),
    (Cause::Deploy, false, "start.answered", &[]),
    (Cause::Deploy, false, "rename.started", &[2]),
    (Cause::Deploy, false, "remove.before-started", &[3]),
    (Cause::Deploy, true, "start.undo-answered", &[2]),
    (Cause::Deploy, true, "detach.undo-started", &[1]),
];
const HEALS: &[Told] = &[
    (Cause::Killed, false, "start.started", &[]),
    (Cause::Killed, false, "start.answered", &[1]),
    (Cause::Removed, false, "create_network.answered", &[2]),
    (Cause::Removed, false, "create.answered", &[3]),
    (Cause::Replaced, false, "stop.answered", &[5]),
    (Cause::Replaced, true, "create.undo-sent", &[1]),
];
const ROLLBACKS: &[Told] = &[
    (Cause::RollBack, false, "start.sent", &[]),
    (Cause::RollBack, false, "stop.done", &[2, 2]),
    (Cause::RollBack, false, "detach.answered", &[1]),
    (Cause::RollBack, false, "remove.answered", &[2]),
    (Cause::TurnBad, false, "ended", &[]),
    (Cause::RollBack, true, "rename.undo-done", &[1]),
];
/// Steps that call the engine to change something; that only look; that here do neither.
const CALLING: [&str; 5] = ["before-started", "started", "sent", "answered", "done"];
const LOOKING: [&str; 4] = ["before-started", "started", "waiting", "done"];
const QUIET: [&str; 3] = ["before-started", "started", "done"];
const UNDOING: [&str; 4] = ["undo-started", "undo-sent", "undo-answered", "undo-done"];
const REPLACING: [&str; 7] = ["create", "quiesce", "stop", "start", "rename", "detach", "remove"];

/// Every point that can be reached on this stack, with what reaches it: a soak that does not is no soak.
fn reachable() -> Vec<Round> {
    let mut all = Vec::new();
    let mut add = |cause: Cause, strikes: bool, step: &str, moments: &[&str]| {
        all.extend(moments.iter().map(|moment| Round {
            cause,
            strikes,
            point: format!("{step}.{moment}").trim_start_matches('.').to_owned(),
            again: Vec::new(),
        }));
    };
    for cause in [Cause::Deploy, Cause::RollBack] {
        add(cause, false, "", &["opened", "ending", "ended"]);
        for step in REPLACING.iter().chain(&["keep_image", "give_restart"]) {
            add(cause, false, step, &CALLING);
        }
        add(cause, false, "await", &LOOKING);
        add(cause, false, "watch", &LOOKING);
        add(cause, false, "release_images", &QUIET);
        for step in &REPLACING[..6] {
            add(cause, true, step, &UNDOING);
        }
        add(cause, true, "watch", &["failed", "undo-started", "undo-done"]);
    }
    add(Cause::Killed, false, "", &["opened", "ending", "ended"]);
    add(Cause::Killed, false, "start", &CALLING);
    add(Cause::Killed, false, "await", &LOOKING);
    for step in ["create_network", "create_volume", "create", "give_restart"] {
        add(Cause::Removed, false, step, &CALLING);
    }
    add(Cause::Removed, false, "watch", &LOOKING);
    add(Cause::Removed, true, "start", &UNDOING);
    add(
        Cause::Removed,
        true,
        "watch",
        &["failed", "undo-started", "undo-done"],
    );
    for step in ["quiesce", "stop", "rename", "detach", "remove"] {
        add(Cause::Replaced, false, step, &CALLING);
    }
    for step in ["create", "quiesce", "stop", "rename", "detach"] {
        add(Cause::Replaced, true, step, &UNDOING);
    }
    all
}
fn told(engine: &Engine, name: &str, rounds: &[Told]) -> Result<()> {
    let mut story = Story::begin(engine, name)?;
    for (cause, strikes, point, again) in rounds {
        let round = Round {
            cause: *cause,
            strikes: *strikes,
            point: (*point).to_owned(),
            again: again.to_vec(),
        };
        story.round(&round).with_context(|| {
            format!(
                "killed at {point} of {cause:?}, then {again:?}; before: {:?}",
                story.hit
            )
        })?;
    }
    eprintln!("{} kills at: {}", story.kills, words(&story.hit));
    story.end()
}

fn words(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Every reachable point in a drawn order, with drawn kills of what recovers; and again, until there were enough.
fn soak(engine: &Engine) -> Result<()> {
    let (wanted, seed) = (usize::try_from(number(SOAK).context("how many?")?)?, seed());
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut came = Came::default();
    let mut story: Option<Story> = None;
    let mut left = Vec::new();
    // A whole turn when so many are asked for that one fits.
    let whole = wanted >= reachable().len();
    let mut turns = 0;
    while came.broken.len() < 10 && (came.kills < wanted || (whole && turns == 1 && !left.is_empty())) {
        if left.is_empty() {
            left = reachable();
            dice.shuffle(&mut left);
            turns += 1;
        }
        let Some(mut round) = left.pop() else { break };
        round.again = (0..dice.usize(0..3)).map(|_| dice.usize(1..9)).collect();
        let mut now = match story.take() {
            Some(story) => story,
            None => Story::begin(engine, &format!("soak{}", came.broken.len()))?,
        };
        let ended = now.round(&round);
        came.kills += std::mem::take(&mut now.kills);
        came.hit.append(&mut now.hit);
        match ended {
            Ok(()) => story = Some(now),
            Err(error) => {
                eprintln!("seed {seed}, {round:?}: {error:?}");
                came.broken.push(format!("{round:?}: {error:#}"));
            }
        }
        eprintln!(
            "{} kills, {} points, {} violations: {}",
            came.kills,
            came.hit.len(),
            came.broken.len(),
            round.name()
        );
    }
    if let Some(story) = story {
        story.end()?;
    }
    let mut all: Vec<String> = reachable().iter().map(Round::name).collect();
    if whole {
        all.append(&mut turn::<schema::Moved>(engine, &mut dice, &mut came)?);
        all.append(&mut turn::<release::Made>(engine, &mut dice, &mut came)?);
    }
    let Came { kills, hit, broken } = came;
    let missed: BTreeSet<String> = all.into_iter().filter(|name| !hit.contains(name)).collect();
    eprintln!("hit: {}\nnot hit: {}", words(&hit), words(&missed));
    println!("kills {kills} points {} violations {}", hit.len(), broken.len());
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    ensure!(!whole || missed.is_empty(), "never reached: {}", words(&missed));
    Ok(())
}

/// One operation that is killed: what brings it about, where it is killed, and after how many stops each recovery is.
#[derive(Debug, Clone)]
struct Killed<W> {
    way: W,
    point: String,
    again: Vec<usize>,
}

impl<W: Copy> Killed<W> {
    fn at(way: W, point: &str, again: &[usize]) -> Self {
        Self {
            way,
            point: point.to_owned(),
            again: again.to_vec(),
        }
    }

    /// At each of these moments of a step, with no kill of what recovers.
    fn at_each(way: W, step: &str, moments: &[&str]) -> impl Iterator<Item = Self> {
        moments
            .iter()
            .map(move |moment| Self::at(way, &format!("{step}.{moment}"), &[]))
    }
}

/// Waits until a trap has killed the daemon, and says where; `None`: it is over before.
fn killed(
    lab: &Lab,
    points: &Points,
    within: Duration,
    over: impl Fn(&Status) -> Result<bool>,
) -> Result<Option<String>> {
    let point = poll("it is killed, or over", within, || {
        if lab.has_ended() {
            let point = points.sprung().context("the daemon ended, and was not killed")?;
            return Ok(Some(Some(point)));
        }
        let status = lab.status()?;
        Ok(match status {
            Some(status) if over(&status)? => Some(None),
            _ => None,
        })
    })?;
    if point.is_some() {
        lab.kill()?;
    }
    Ok(point)
}

/// A stack that is taken through everything that it can be killed in.
trait Turn: Sized {
    /// What brings an operation about.
    type Way: Debug + Copy;

    /// How its labs are called.
    const NAME: &'static str;

    /// Every point that can be reached, with what reaches it.
    fn reachable() -> Vec<Killed<Self::Way>>;

    fn begin(engine: &Engine, name: &str) -> Result<Self>;

    /// Killed at each of its traps; then all is as it would have been.
    fn round(&mut self, round: &Killed<Self::Way>) -> Result<()>;

    /// How many kills there were since this was asked, and where.
    fn taken(&mut self) -> (usize, BTreeSet<String>);

    fn end(self) -> Result<()>;
}

/// What came of a soak.
#[derive(Default)]
struct Came {
    kills: usize,
    hit: BTreeSet<String>,
    broken: Vec<String>,
}

/// Likewise, a whole turn of another stack. Every point of it that there is.
fn turn<T: Turn>(engine: &Engine, dice: &mut fastrand::Rng, came: &mut Came) -> Result<Vec<String>> {
    let mut left = T::reachable();
    let all = left.iter().map(|round| round.point.clone()).collect();
    dice.shuffle(&mut left);
    let mut story = None;
    while let Some(mut round) = left.pop().filter(|_| came.broken.len() < 10) {
        round.again = (0..dice.usize(0..3)).map(|_| dice.usize(1..9)).collect();
        let mut now: T = match story.take() {
            Some(story) => story,
            None => T::begin(engine, &format!("{}{}", T::NAME, came.broken.len()))?,
        };
        let ended = now.round(&round);
        let (kills, mut hit) = now.taken();
        came.kills += kills;
        came.hit.append(&mut hit);
        match ended {
            Ok(()) => story = Some(now),
            Err(error) => {
                eprintln!("seed {}, {round:?}: {error:?}", seed());
                came.broken.push(format!("{round:?}: {error:#}"));
            }
        }
        eprintln!(
            "{} kills, {} violations: {}",
            came.kills,
            came.broken.len(),
            round.point
        );
    }
    story.map_or(Ok(()), T::end)?;
    Ok(all)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn seed() -> u64 {
    number(SEED).unwrap_or(1)
}

/// The second engine, struck: at once, as in a power cut, or as a package upgrade does it. It comes back.
struct Strike(Arc<Mutex<Option<Child>>>);

impl Strike {
    fn new(how: &'static str) -> (Self, Deed) {
        let child = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&child);
        let deed = Box::new(move || {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/engines/engine28.sh");
            let begun = Command::new("timeout").args(["120", script, how]).spawn();
            *shared.lock().unwrap_or_else(PoisonError::into_inner) = begun.ok();
            // Until it has at least begun to go.
            std::thread::sleep(Duration::from_millis(300));
        });
        (Self(child), deed)
    }

    /// Waits until the engine is back.
    fn wait(self) -> Result<()> {
        let child = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = child else { return Ok(()) };
        ensure!(child.wait()?.success(), "the engine has not come back");
        Ok(())
    }
}

/// What of [`reachable`] is sensible here: nothing else strikes at the same watch.
fn strikeable() -> Vec<Round> {
    let mut all = reachable();
    all.retain(|round| !round.strikes || round.point.contains(".undo-"));
    all
}

fn strike(story: &mut Story, round: &Round, how: &'static str) -> Result<()> {
    let (strike, deed) = Strike::new(how);
    let ended = story.through(round, deed);
    strike.wait()?;
    ended
        .and_then(|()| story.settle(round))
        .with_context(|| format!("{how} at {}", round.name()))
}

/// Each kind once, at a drawn point.
fn struck(engine: &Engine) -> Result<()> {
    let mut dice = fastrand::Rng::with_seed(seed());
    let mut story = Story::begin(engine, "struck")?.alone();
    for (kind, how) in [
        ("deploy", "crash"),
        ("heal", "restart"),
        ("rollback", "crash"),
        ("deploy", "restart"),
    ] {
        let of: Vec<Round> = strikeable()
            .into_iter()
            .filter(|round| round.cause.kind() == kind)
            .collect();
        let round = dice.choice(&of).context("no point")?;
        eprintln!("seed {}: {how} at {}", seed(), round.name());
        strike(&mut story, round, how)?;
    }
    story.end()
}

fn soak_of_strikes(engine: &Engine) -> Result<()> {
    let (wanted, seed) = (number(STRIKES).context("how many?")?, seed());
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut all = strikeable();
    dice.shuffle(&mut all);
    let (mut hit, mut broken) = (BTreeSet::new(), Vec::new());
    let mut story: Option<Story> = None;
    for nth in 0..wanted {
        let round = &all[usize::try_from(nth)? % all.len()];
        let how = if dice.bool() { "crash" } else { "restart" };
        let mut now = match story.take() {
            Some(story) => story,
            None => Story::begin(engine, &format!("strikes{nth}"))?.alone(),
        };
        let ended = strike(&mut now, round, how);
        hit.append(&mut now.hit);
        match ended {
            Ok(()) => story = Some(now),
            Err(error) => {
                eprintln!("seed {seed}: {error:?}");
                broken.push(format!("{error:#}"));
            }
        }
        eprintln!(
            "{} strikes, {} violations: {how} at {}",
            nth + 1,
            broken.len(),
            round.name()
        );
    }
    println!(
        "strikes {wanted} points {} violations {}",
        hit.len(),
        broken.len()
    );
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}
