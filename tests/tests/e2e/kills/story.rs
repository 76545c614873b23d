//! One stack that is deployed, broken and rolled back over and over, and what becomes of each round.

use std::collections::BTreeSet;

use agent::view::{State, Status};
use anyhow::{Result, ensure};
use steadfast_tests::lab::{Container, Deed, Engine, LIMIT, Lab, Points, Trap, WEB_PROBE, poll, runs};

use super::sound;
use crate::heal::Foreign;

/// What must never be read in a log.
const SECRET: &str = "a-value-that-nobody-logs";

/// What brings an operation about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Another tag is asked for.
    Deploy,
    /// A person orders it.
    RollBack,
    /// A release fails its probe.
    TurnBad,
    /// The container is killed by hand.
    Killed,
    /// It is removed, with its network and its volume.
    Removed,
    /// Another container is in its place.
    Replaced,
}

/// One operation that is killed.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(super) cause: Cause,
    /// Whether it is to be taken back: its new containers die when they are watched.
    pub(super) strikes: bool,
    /// Where it is killed.
    pub(super) point: String,
    /// After how many stops what recovers is killed, again and again.
    pub(super) again: Vec<usize>,
}

impl Round {
    /// One that is not killed.
    pub(crate) fn of(cause: Cause, point: &str) -> Self {
        Self {
            cause,
            strikes: false,
            point: point.to_owned(),
            again: Vec::new(),
        }
    }

    /// The whole name of its point.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.cause.kind(), self.point)
    }
}

impl Cause {
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::RollBack | Self::TurnBad => "rollback",
            Self::Killed | Self::Removed | Self::Replaced => "heal",
        }
    }
}
/// The stack that is redeployed over and over.
pub(crate) struct Story {
    pub(crate) lab: Lab,
    points: Points,
    foreign: Foreign,
    /// As it was; `None` where the engine itself is struck, and what has no policy for it stays down.
    untouched: Option<String>,
    /// What runs and is asked for, and what is deployed next.
    tags: [&'static str; 2],
    pub(super) kills: usize,
    pub(super) hit: BTreeSet<String>,
}

const COMPOSE: &str = "\
services:
  web:
    image: steadfast-test/tiny:${TAG}
    environment: {SECRET: \"${SECRET}\"}
    labels: {io.steadfast.test: e2e}
    restart: unless-stopped
    stop_grace_period: 2s
    volumes: [\"stuff:/stuff:ro\"]
    deploy:
      update_config: {monitor: 300ms}
      rollback_config: {monitor: 300ms}
volumes:
  stuff:
    labels: {io.steadfast.test: e2e}
";

/// A window in which no kill makes a release look bad, and one in which a bad one is left at once.
const LONG: &str = "10m";
const SHORT: &str = "1s";

fn window(lab: &Lab, window: &str) -> Result<()> {
    lab.settings(&format!(
        "[stack.NAME.trial]\nwindow = \"{window}\"\ngood_after = \"1s\"\n{WEB_PROBE}"
    ))
}

impl Story {
    pub(super) fn begin(engine: &Engine, name: &str) -> Result<Self> {
        Self::on(Lab::web(engine, name, "v1")?)
    }

    /// In a lab that is prepared.
    pub(crate) fn on(lab: Lab) -> Result<Self> {
        lab.write("stack/compose.yaml", COMPOSE)?;
        lab.write("stack/.env", &format!("SECRET={SECRET}\n"))?;
        window(&lab, LONG)?;
        let foreign = Foreign::start(&lab)?;
        let untouched = Some(foreign.seen()?);
        let points = Points::of(&lab)?;
        points.start(&lab)?;
        lab.until_runs("v1", "good")?;
        lab.ask("v2")?;
        lab.until_runs("v2", "good")?;
        ensure!(
            !points.passed().is_empty(),
            "nothing was seen at the gate: is the binary linked dynamically?"
        );
        let (tags, hit) = (["v2", "v1"], BTreeSet::new());
        Ok(Self {
            lab,
            points,
            foreign,
            untouched,
            tags,
            kills: 0,
            hit,
        })
    }

    /// One operation, killed at each of its traps; then all is as it would have been.
    pub(super) fn round(&mut self, round: &Round) -> Result<()> {
        self.prepare(round)?;
        let before = self.lab.containers()?;
        let point = round.name();
        self.points.set(Trap::At(point.clone()), round.strikes);
        self.bring_about(round.cause)?;
        let mut again = round.again.iter();
        let tags = self.tags;
        while self.is_killed(|lab, s| has_ended(lab, s, round, tags, &before))? {
            if let Some(nth) = again.next() {
                self.points.set(Trap::Nth(*nth), false);
            }
            self.points.start(&self.lab)?;
        }
        self.points.clear();
        ensure!(self.hit.contains(&point), "{point} was not reached");
        self.settle(round)
    }

    /// Where the engine itself is struck, and what has no policy for that stays down.
    pub(super) fn alone(mut self) -> Self {
        self.untouched = None;
        self
    }

    /// One operation in which something is done to what is outside, until it is over.
    pub(crate) fn through(&mut self, round: &Round, strike: Deed) -> Result<()> {
        self.prepare(round)?;
        let (before, tags) = (self.lab.containers()?, self.tags);
        self.points.set(Trap::At(round.name()), round.strikes);
        self.points.instead(strike);
        self.bring_about(round.cause)?;
        let lab = &self.lab;
        // An engine takes its time to come back.
        poll("it is over", LIMIT * 3, || {
            // Away, it answers nobody.
            let over = |s: &Status| has_ended(lab, s, round, tags, &before).unwrap_or(false);
            Ok(lab.status()?.filter(over).map(drop))
        })?;
        let point = self.points.sprung();
        self.points.clear();
        self.hit.extend(point.clone());
        ensure!(point.is_some(), "{} was not reached", round.name());
        self.kills += 1;
        Ok(())
    }

    /// What the operation needs beforehand.
    pub(super) fn prepare(&self, round: &Round) -> Result<()> {
        let lab = &self.lab;
        if round.point.starts_with("keep_image") {
            let keepers = format!("label=io.steadfast.keeper={}", lab.name);
            let all = lab.engine.docker(&["ps", "-aq", "--filter", &keepers])?;
            let mut words = vec!["rm", "-f"];
            words.extend(all.lines());
            lab.engine.docker(&words)?;
        }
        match round.cause {
            // There is something to go back from, and something to go back to.
            Cause::RollBack => lab.until_runs(self.tags[0], "good").map(drop),
            Cause::TurnBad => {
                lab.until_runs(self.tags[0], "good")?;
                self.patience(SHORT)
            }
            _ => Ok(()),
        }
    }

    /// Another window; it is read when the daemon starts.
    fn patience(&self, span: &str) -> Result<()> {
        window(&self.lab, span)?;
        self.lab.terminate()?;
        self.points.start(&self.lab)
    }

    fn bring_about(&self, cause: Cause) -> Result<()> {
        let (lab, docker) = (&self.lab, &self.lab.engine);
        let web = lab.container("web")?;
        match cause {
            Cause::Deploy => lab.ask(self.tags[1]),
            Cause::TurnBad => {
                lab.ask("bad")?;
                let bad = |s: &Status| s.gap.as_ref().is_some_and(|g| g.tag.as_deref() == Some("bad"));
                let seen = lab.until("the bad release runs, or is remembered", |s| {
                    s.operation.is_none() && (runs(s, "bad", "trial") || bad(s))
                })?;
                if bad(&seen) {
                    lab.run(&["retry", &lab.name, "--reason", "once more"])?;
                }
                Ok(())
            }
            // The daemon may be killed before it answers.
            Cause::RollBack => lab.run(&["rollback", &lab.name, "--yes"]).map(drop),
            Cause::Killed => docker.docker(&["kill", &web.id]).map(drop),
            // All of it is done before the daemon sees any of it.
            Cause::Removed | Cause::Replaced => {
                lab.proxy.cut()?;
                let done = match cause {
                    Cause::Removed => removal(lab, &web.id),
                    _ => replacement(lab, &web.id, &web.name),
                };
                lab.proxy.mend()?;
                done
            }
        }
    }

    /// Waits until the trap has killed the daemon. `false`: it is over before.
    fn is_killed(&mut self, over: impl Fn(&Lab, &Status) -> Result<bool>) -> Result<bool> {
        let lab = &self.lab;
        let point = super::killed(lab, &self.points, LIMIT, |status| over(lab, status))?;
        let Some(point) = point else { return Ok(false) };
        self.kills += 1;
        self.hit.insert(point);
        Ok(true)
    }

    /// All that it would be without a kill; then the next round can begin.
    pub(crate) fn settle(&mut self, round: &Round) -> Result<()> {
        let [now, other] = self.tags;
        match (round.cause, round.strikes) {
            (Cause::Deploy, false) => self.sound(other)?,
            (Cause::Deploy, true) => {
                self.sound(now)?;
                self.order(&["retry"])?;
                self.sound(other)?;
            }
            (Cause::RollBack, false) => return self.gone_back(),
            (Cause::RollBack, true) => {
                self.sound(now)?;
                self.order(&["rollback", "--yes"])?;
                return self.gone_back();
            }
            (Cause::TurnBad, _) => {
                self.sound(now)?;
                self.patience(LONG)?;
                self.lab.ask(other)?;
                self.sound(other)?;
            }
            (Cause::Killed | Cause::Removed | Cause::Replaced, _) => return self.sound(now),
        }
        self.tags.swap(0, 1);
        Ok(())
    }

    /// After a rollback from the one tag to the other, and the way back.
    fn gone_back(&self) -> Result<()> {
        let [now, other] = self.tags;
        let back = |s: &Status| s.operation.is_none() && s.state == State::RolledBack;
        self.lab.until("it is rolled back", back)?;
        self.sound(other)?;
        self.order(&["retry"])?;
        self.sound(now)
    }

    fn order(&self, words: &[&str]) -> Result<()> {
        let mut all = vec![words[0], &self.lab.name];
        all.extend(&words[1..]);
        all.push("--wait");
        let said = self.lab.run(&all)?;
        ensure!(said.code == 0, "{words:?}: {said:?}");
        Ok(())
    }

    /// `tag` runs, and everything outside is as it has to be.
    fn sound(&self, tag: &str) -> Result<()> {
        let lab = &self.lab;
        lab.until(&format!("{tag} runs"), |s| {
            // Who could not be left is bad, and held.
            let kept = s.state == State::Held && runs(s, tag, "bad");
            let up = runs(s, tag, "trial") || runs(s, tag, "good") || kept;
            s.operation.is_none() && s.drift.is_empty() && up
        })?;
        sound::one_container(lab, tag)?;
        sound::keepers(lab, tag)?;
        sound::journal(lab)?;
        let foreign = self.foreign.seen()?;
        ensure!(
            self.untouched.as_ref().is_none_or(|before| *before == foreign),
            "the foreign container was touched"
        );
        ensure!(!lab.logged().contains(SECRET), "a secret is in the log");
        Ok(())
    }

    pub(crate) fn end(self) -> Result<()> {
        self.lab.end()
    }
}

/// Somebody removes our container, and all that only it used.
fn removal(lab: &Lab, id: &str) -> Result<()> {
    let docker = &lab.engine;
    docker.docker(&["rm", "-f", id])?;
    docker.docker(&["network", "rm", &format!("{}_default", lab.name)])?;
    let stuff = format!("{}_stuff", lab.name);
    docker.docker(&["volume", "rm", &stuff]).map(drop)
}

/// Somebody has brought another container of ours back in its place.
fn replacement(lab: &Lab, id: &str, name: &str) -> Result<()> {
    let labels = [
        format!("com.docker.compose.project={}", lab.name),
        "com.docker.compose.service=web".to_owned(),
        "com.docker.compose.container-number=1".to_owned(),
        "com.docker.compose.oneoff=False".to_owned(),
        "com.docker.compose.config-hash=0".to_owned(),
        format!("io.steadfast.spec={}", "5".repeat(64)),
    ];
    let network = format!("{}_default", lab.name);
    let mut words = vec!["create", "--name", name, "--restart", "unless-stopped"];
    for label in &labels {
        words.extend(["--label", label]);
    }
    words.extend(["--network", &network, "steadfast-test/tiny:v3"]);
    lab.engine.docker(&["rm", "-f", id])?;
    let theirs = lab.engine.docker(&words)?;
    lab.engine.docker(&["start", &theirs]).map(drop)
}

/// Whether what was brought about is over, as far as it can be without a kill that is still to come.
fn has_ended(
    lab: &Lab,
    status: &Status,
    round: &Round,
    [now, other]: [&str; 2],
    before: &[Container],
) -> Result<bool> {
    if status.operation.is_some() {
        return Ok(false);
    }
    let up = |tag: &str| runs(status, tag, "trial") || runs(status, tag, "good");
    let left = |tag: &str| {
        status
            .gap
            .as_ref()
            .is_some_and(|gap| gap.tag.as_deref() == Some(tag))
    };
    Ok(match round.cause {
        Cause::Deploy if round.strikes => left(other),
        Cause::Deploy => up(other),
        Cause::RollBack if round.strikes => status.state == State::Held,
        Cause::RollBack => left(now) && !up(now),
        Cause::TurnBad => left("bad") && up(now),
        Cause::Killed | Cause::Removed | Cause::Replaced => {
            let healed = lab.containers()? != before && status.fine && status.drift.is_empty();
            let web = lab.container("web");
            let ours = lab.engine.docker(&[
                "ps",
                "-q",
                "--filter",
                &format!("label=com.docker.compose.project={}", lab.name),
                "--filter",
                "label=io.steadfast.operation",
            ])?;
            healed && web.is_ok_and(|web| web.is_running()) && !ours.is_empty()
        }
    })
}
