//! kill -9 in what moves the schema: on its way up, with the backup before and the rows that come back after it, and on its
//! way down, with the copy, the downgrade, and what is kept of the copy. No row is lost, whatever the moment, and all ends
//! as it would have.

use std::collections::BTreeSet;

use agent::view::{State, Status};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, LIMIT, Lab, Points, Trap, runs};

use super::{CALLING, Killed, Turn, killed, sound};
use crate::migrate::{SECRET, SETTINGS, databases, filled, prepared, symbols};
use crate::schema::{sql, stands_at};

const OLD: &str = "v1.4.0";
const NEW: &str = "v1.8.0";

/// What an intact run does at these steps.
const WORKING: [&str; 4] = ["before-started", "started", "under-way", "done"];

/// Some of them, each day: a way up where something comes back, and two ways down.
pub(super) fn few(engine: &Engine) -> Result<()> {
    let mut moved = Moved::begin(engine, "killschema")?;
    for way in [
        Killed::at(false, "rollback.copy_database.under-way", &[2]),
        Killed::at(true, "deploy.put_in.under-way", &[]),
        Killed::at(false, "rollback.migrate.sent", &[3]),
        Killed::at(true, "deploy.migrate.answered", &[]),
        Killed::at(false, "backup.save_rows.under-way", &[2]),
    ] {
        moved.round(&way).with_context(|| format!("killed at {way:?}"))?;
    }
    eprintln!("{} kills at: {}", moved.kills, super::words(&moved.hit));
    moved.end()
}

/// A stack whose schema goes up and down, over and over.
pub(super) struct Moved {
    lab: Lab,
    points: Points,
    /// What no migration touches.
    before: String,
    /// Whether the new release runs.
    is_up: bool,
    kills: usize,
    hit: BTreeSet<String>,
}

impl Turn for Moved {
    /// Up, or down.
    type Way = bool;

    const NAME: &'static str = "soakschema";

    fn reachable() -> Vec<Killed<bool>> {
        let mut all = Vec::new();
        let mut add = |up, step: &str, moments: &[&str]| all.extend(Killed::at_each(up, step, moments));
        add(true, "deploy.backup", &CALLING);
        add(true, "deploy.migrate", &CALLING);
        add(true, "deploy.put_in", &WORKING);
        add(false, "rollback.close_database", &WORKING);
        add(false, "rollback.copy_database", &WORKING);
        add(false, "rollback.open_database", &WORKING);
        add(false, "rollback.migrate", &CALLING);
        add(false, "backup", &["opened", "ending", "ended"]);
        // The first of an operation has nothing before it.
        add(false, "backup.save_rows", &WORKING);
        add(false, "backup.backup", &CALLING);
        add(false, "backup.drop_beside", &WORKING);
        all
    }

    /// The new release runs, has taken something along, and can be left.
    fn begin(engine: &Engine, name: &str) -> Result<Self> {
        // No kill makes a release look bad.
        let settings = SETTINGS.replace("\"8s\"", "\"30m\"").replace("\"3s\"", "\"1s\"");
        let lab = prepared(engine, name, &settings)?;
        let points = Points::of(&lab)?;
        points.start(&lab)?;
        filled(&lab)?;
        let before = symbols(&lab)?;
        lab.ask(NEW)?;
        lab.until_runs(NEW, "good")?;
        sql(&lab, "UPDATE backtests SET interval = id || 'h' WHERE id <= 10")?;
        Ok(Self {
            lab,
            points,
            before,
            is_up: true,
            kills: 0,
            hit: BTreeSet::new(),
        })
    }

    /// One way, killed at each of its traps; then all is as it would have been.
    fn round(&mut self, round: &Killed<bool>) -> Result<()> {
        let up = round.way;
        if self.is_up == up {
            self.go(!up)?;
            self.over(!up)?;
        }
        let beats = self.beats()?;
        self.points.set(Trap::At(round.point.clone()), false);
        // The daemon may be killed before it answers.
        drop(self.go(up));
        let mut again = round.again.iter();
        while let Some(point) = killed(&self.lab, &self.points, LIMIT * 2, |s| Ok(is_over(s, up)))? {
            self.kills += 1;
            self.hit.insert(point);
            self.whole(&beats)?;
            if let Some(nth) = again.next() {
                self.points.set(Trap::Nth(*nth), false);
            }
            self.points.start(&self.lab)?;
        }
        self.points.clear();
        ensure!(self.hit.contains(&round.point), "{} was not reached", round.point);
        self.over(up)?;
        self.whole(&beats)
    }

    fn taken(&mut self) -> (usize, BTreeSet<String>) {
        (std::mem::take(&mut self.kills), std::mem::take(&mut self.hit))
    }

    fn end(self) -> Result<()> {
        self.lab.end()
    }
}

impl Moved {
    fn go(&mut self, up: bool) -> Result<()> {
        self.is_up = up;
        let name = self.lab.name.clone();
        let words = if up {
            vec!["retry", &name]
        } else {
            vec!["rollback", &name, "--yes"]
        };
        let said = self.lab.run(&words)?;
        ensure!(said.code == 0, "{said:?}");
        Ok(())
    }

    /// It is over, and everything is where it belongs.
    fn over(&self, up: bool) -> Result<()> {
        let lab = &self.lab;
        let seen = lab.until("it is over", |s| is_over(s, up))?;
        ensure!(seen.hold.is_none() && seen.drift.is_empty(), "{seen:#?}");
        let rows = sql(lab, "SELECT count(*) FROM backtests")?;
        ensure!(rows == "50", "{rows} rows");
        if up {
            let back = sql(lab, "SELECT count(*) FROM backtests WHERE interval = id || 'h'")?;
            ensure!(back == "10", "{back} intervals are back");
        } else {
            let taken = seen.taken_back.first().context("nothing is kept")?;
            ensure!(taken.state == "kept" && taken.rows == 10, "{taken:#?}");
        }
        let all = lab.containers()?;
        ensure!(
            all.len() == 3 && all.iter().all(steadfast_tests::lab::Container::is_running),
            "{all:#?}"
        );
        ensure!(databases(lab)? == ["tests"], "{:?}", databases(lab)?);
        sound::journal(lab)?;
        ensure!(!lab.logged().contains(SECRET), "a secret is in the log");
        Ok(())
    }

    /// Whatever was under way, the rows that no migration touches are all there.
    fn whole(&self, beats: &str) -> Result<()> {
        let postgres = self.lab.container("postgres")?.id;
        let words = |sql: &'static str| ["psql", "-U", "postgres", "-d", "postgres", "-Atc", sql];
        let barred = "SELECT NOT datallowconn FROM pg_database WHERE datname = 'tests'";
        let docker = &self.lab.engine;
        if docker.exec(&postgres, &words(barred))? == "t" {
            // Nobody is in it, and nobody can look: whoever is started again finds it.
            return Ok(());
        }
        let now = symbols(&self.lab)?;
        ensure!(now == self.before, "rows have changed");
        let now = self.beats()?;
        let fewer = now.parse::<u64>()? < beats.parse::<u64>()?;
        ensure!(!fewer, "the worker wrote {beats} rows, and there are {now}");
        Ok(())
    }

    fn beats(&self) -> Result<String> {
        sql(&self.lab, "SELECT count(*) FROM beats")
    }
}

/// Whether all is done that was brought about, and what goes on after it.
fn is_over(status: &Status, up: bool) -> bool {
    let rests = status.operation.is_none() && status.beside.is_empty();
    if up {
        let back = status.taken_back.iter().all(|taken| taken.state == "put_back");
        return rests && back && runs(status, NEW, "good") && stands_at(status, "0002");
    }
    let kept = status
        .taken_back
        .first()
        .is_some_and(|taken| taken.state == "kept");
    rests
        && kept
        && status.state == State::RolledBack
        && runs(status, OLD, "good")
        && stands_at(status, "0001")
}
