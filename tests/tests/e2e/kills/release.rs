//! kill -9 in what makes a release of a commit: where it is fetched and built, where a file of it is checked, and where the
//! operator's files are put, back and again. Whatever the moment, each file is as one release has it, whole, and all ends as
//! it would have.

use std::collections::BTreeSet;
use std::fs;

use agent::view::{State, Status};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, LIMIT, Lab, Points, Trap, WEB_PROBE, runs};

use super::{CALLING, Killed, QUIET, Turn, killed, sound};
use crate::files::{SITE_PROBE, conf};
use crate::source::{Checkout, built, clear_images, runs_on};

/// What must never be read in a log.
const SECRET: &str = "a-value-that-nobody-builds";

const COMPOSE: &str = "\
services:
  web:
    build: ./backend
    environment: {TURN: \"${TURN}\", SECRET: \"${SECRET}\"}
    labels: {io.steadfast.test: e2e}
    stop_grace_period: 2s
    deploy:
      update_config: {monitor: 300ms}
      rollback_config: {monitor: 300ms}
  frontend:
    image: steadfast-test/frontend:v1.4.0
    labels: {io.steadfast.test: e2e}
    stop_grace_period: 2s
    volumes: [\"./nginx.conf:/etc/nginx/nginx.conf:ro\"]
    deploy:
      update_config: {monitor: 300ms}
      rollback_config: {monitor: 300ms}
";

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To a commit that nobody has seen.
    On,
    /// To the release before.
    Back,
    /// To the one that was left.
    Again,
}

/// Steps that call the engine to change something, as the first of their operation.
const FIRST: [&str; 4] = ["started", "sent", "answered", "done"];

/// Some of them, each day.
pub(super) fn few(engine: &Engine) -> Result<()> {
    let mut made = Made::begin(engine, "killrelease")?;
    for round in [
        Killed::at(Way::On, "fetch.fetch_source.started", &[1]),
        Killed::at(Way::Back, "rollback.put_files.started", &[2]),
        Killed::at(Way::Again, "deploy.put_files.done", &[]),
        Killed::at(Way::On, "fetch.build.sent", &[2]),
        Killed::at(Way::On, "deploy.check_file.sent", &[1]),
    ] {
        made.round(&round)
            .with_context(|| format!("killed at {round:?}"))?;
    }
    eprintln!("{} kills at: {}", made.kills, super::words(&made.hit));
    made.end()
}

/// A stack whose releases are commits, made one after the other.
pub(super) struct Made {
    lab: Lab,
    points: Points,
    /// The newest release; the one before it is the one that is gone back to.
    newest: u32,
    /// Whether the newest one runs.
    is_on: bool,
    kills: usize,
    hit: BTreeSet<String>,
}

fn tag(number: u32) -> String {
    format!("v{number}")
}

fn env(number: u32) -> String {
    format!("TURN={number}\nSECRET={SECRET}\n")
}

fn site(number: u32) -> String {
    conf(&format!("return 200 \"{number}\";"))
}

impl Turn for Made {
    type Way = Way;

    const NAME: &'static str = "soakrelease";

    fn reachable() -> Vec<Killed<Way>> {
        let mut all = Vec::new();
        let mut add = |way, step: &str, moments: &[&str]| all.extend(Killed::at_each(way, step, moments));
        add(Way::On, "fetch", &["opened", "ending", "ended"]);
        add(Way::On, "fetch.fetch_source", &["started", "done"]);
        add(Way::On, "fetch.build", &FIRST);
        add(Way::On, "deploy.check_file", &CALLING);
        add(Way::Back, "rollback.put_files", &QUIET);
        add(Way::Again, "deploy.put_files", &QUIET);
        all
    }

    /// Two releases are good, and the newer one runs.
    fn begin(engine: &Engine, name: &str) -> Result<Self> {
        let lab = Lab::new(engine, name)?;
        // No kill makes a release look bad.
        lab.settings(&format!(
            "track = [{{ path = \"nginx.conf\", service = \"frontend\", check = [\"nginx\", \"-t\"] }}]\n\
             [stack.NAME.source]\ngit = \"DIR/repo\"\ntags = \"v*\"\n\n\
             [stack.NAME.trial]\nwindow = \"10m\"\ngood_after = \"1s\"\n{WEB_PROBE}{SITE_PROBE}"
        ))?;
        Checkout::new(&lab)?;
        let points = Points::of(&lab)?;
        let mut made = Self {
            lab,
            points,
            newest: 0,
            is_on: true,
            kills: 0,
            hit: BTreeSet::new(),
        };
        made.go(Way::On)?;
        made.points.start(&made.lab)?;
        made.over(Way::On)?;
        made.go(Way::On)?;
        made.over(Way::On)?;
        Ok(made)
    }

    fn round(&mut self, round: &Killed<Way>) -> Result<()> {
        for way in self.before(round.way) {
            self.go(*way)?;
            self.over(*way)?;
        }
        self.points.set(Trap::At(round.point.clone()), false);
        // The daemon may be killed before it answers.
        drop(self.go(round.way));
        let mut again = round.again.iter();
        while let Some(point) = self.killed(round.way)? {
            self.kills += 1;
            self.hit.insert(point);
            self.whole()?;
            if let Some(nth) = again.next() {
                self.points.set(Trap::Nth(*nth), false);
            }
            self.points.start(&self.lab)?;
        }
        self.points.clear();
        ensure!(self.hit.contains(&round.point), "{} was not reached", round.point);
        self.over(round.way)
    }

    fn taken(&mut self) -> (usize, BTreeSet<String>) {
        (std::mem::take(&mut self.kills), std::mem::take(&mut self.hit))
    }

    fn end(self) -> Result<()> {
        clear_images(&self.lab);
        self.lab.end()
    }
}

impl Made {
    /// What has to be gone before.
    fn before(&self, way: Way) -> &'static [Way] {
        match (way, self.is_on) {
            (Way::On | Way::Back, true) | (Way::Again, false) => &[],
            (Way::On | Way::Back, false) => &[Way::Again],
            (Way::Again, true) => &[Way::Back],
        }
    }

    fn go(&mut self, way: Way) -> Result<()> {
        self.is_on = way != Way::Back;
        let name = self.lab.name.clone();
        let words = match way {
            Way::On => return self.release(),
            Way::Back => vec!["rollback", &name, "--yes"],
            Way::Again => vec!["retry", &name],
        };
        let said = self.lab.run(&words)?;
        ensure!(said.code == 0, "{said:?}");
        Ok(())
    }

    /// A new commit, with all that belongs to its release, is asked for.
    fn release(&mut self) -> Result<()> {
        self.newest += 1;
        let (lab, number) = (&self.lab, self.newest);
        lab.write("repo/compose.yaml", COMPOSE)?;
        lab.write("repo/nginx.conf", &site(number))?;
        Checkout { lab }.release(&tag(number), "")?;
        lab.write("stack/.env", &env(number))?;
        lab.ask(&tag(number))
    }

    fn killed(&self, way: Way) -> Result<Option<String>> {
        let over = |status: &Status| Ok(self.is_over(status, way));
        killed(&self.lab, &self.points, LIMIT * 2, over)
    }

    /// The release that runs in the end.
    fn number(&self) -> u32 {
        if self.is_on { self.newest } else { self.newest - 1 }
    }

    fn is_over(&self, status: &Status, way: Way) -> bool {
        let up = runs(status, &tag(self.number()), "good");
        // What is asked for differs from what was gone back to.
        let back = status.state == State::RolledBack;
        let rests = status.operation.is_none() && (back || status.drift.is_empty());
        rests && up && (way == Way::Back) == back
    }

    /// It is over, and every part is that of the release that runs.
    fn over(&self, way: Way) -> Result<()> {
        let (lab, number) = (&self.lab, self.number());
        let seen = lab.until("it is over", |s| self.is_over(s, way))?;
        ensure!(seen.hold.is_none(), "{seen:#?}");
        ensure!(
            runs_on(lab, "web")? == built(lab, "web", &tag(number))?,
            "not {}",
            tag(number)
        );
        let id = lab.container("frontend")?.id;
        let read = lab.engine.exec(&id, &["cat", "/etc/nginx/nginx.conf"])?;
        ensure!(read.trim() == site(number).trim(), "the container has {read}");
        let is = fs::read_to_string(lab.path("stack/.env"))?;
        ensure!(is == env(number), ".env is that of another release");
        let all = lab.containers()?;
        ensure!(all.len() == 2, "not two containers: {all:#?}");
        sound::journal(lab)?;
        ensure!(!lab.logged().contains(SECRET), "a secret is in the log");
        Ok(())
    }

    /// Whatever was under way, a file is that of one release.
    fn whole(&self) -> Result<()> {
        let is = fs::read_to_string(self.lab.path("stack/.env"))?;
        let any = [self.newest, self.newest - 1].map(env);
        ensure!(any.contains(&is), ".env is half of something");
        Ok(())
    }
}
