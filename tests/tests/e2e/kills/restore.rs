//! kill -9 in a restore: at moments over all of its time, and at the points at which names change hands. Each time the
//! database that was in use is in use, and whole; and the daemon that is started again finishes the job.

use std::time::{Duration, Instant};

use agent::view::{BackupRow, History, State};
use anyhow::{Context as _, Result, bail, ensure};
use steadfast_tests::lab::{Engine, Lab, Points, Trap};

use super::{number, sound};
use crate::migrate::{SECRET, SETTINGS, databases, filled, prepared};

/// How many kills, on a database of a gigabyte.
pub(super) const KILLS: &str = "STEADFAST_RESTORE_KILLS";
/// Rows of that, and of the one of every day.
const MANY: u64 = 2_400_000;
const FEW: u64 = 30_000;

/// When the daemon is killed.
#[derive(Debug, Clone, Copy)]
enum When {
    /// So far into the time that a restore takes.
    After(f64),
    /// At a point.
    At(&'static str),
}

/// From the moment that the names change hands what was restored is in use.
const NAMED: [&str; 7] = [
    "restore.take_place.under-way",
    "restore.take_place.done",
    "restore.stop.answered",
    "restore.open_database.done",
    "restore.close_database.done",
    "restore.restore_beside.done",
    "restore.start.answered",
];

/// Some of them, each day.
pub(super) fn few(engine: &Engine) -> Result<()> {
    let mut moments: Vec<When> = [0.15, 0.4, 0.65].map(When::After).into();
    moments.extend(NAMED[..3].iter().copied().map(When::At));
    told(engine, "killrestore", FEW, &moments)
}

/// As many as are asked for, on a database of a gigabyte.
pub(super) fn many(engine: &Engine) -> Result<()> {
    let wanted = u32::try_from(number(KILLS).context("how many?")?)?;
    let timed = wanted.saturating_sub(u32::try_from(NAMED.len())?).max(1);
    let after = |nth: u32| (f64::from(nth) + 0.5) / f64::from(timed) * 0.95;
    let mut moments: Vec<When> = (0..timed).map(|nth| When::After(after(nth))).collect();
    moments.extend(NAMED.iter().copied().map(When::At));
    told(engine, "soakrestore", MANY, &moments)
}

fn told(engine: &Engine, name: &str, rows: u64, moments: &[When]) -> Result<()> {
    let mut restores = Restores::begin(engine, name, rows)?;
    let mut kills = 0;
    for (nth, when) in moments.iter().enumerate() {
        let mut when = *when;
        // Too late, it is tried a little earlier.
        while !restores.round(when).with_context(|| format!("killed {when:?}"))? {
            let When::After(part) = when else {
                bail!("{when:?} was not reached");
            };
            when = When::After(part * 0.8);
        }
        kills += 1;
        eprintln!("{} of {}: {when:?}", nth + 1, moments.len());
    }
    println!("kills {kills} of a restore, {rows} rows");
    restores.lab.end()
}

struct Restores {
    lab: Lab,
    points: Points,
    postgres: String,
    backup: String,
    /// The rows in the backup.
    whole: String,
    /// How long a restore takes.
    takes: Duration,
}

impl Restores {
    fn begin(engine: &Engine, name: &str, rows: u64) -> Result<Self> {
        // No kill makes a release look bad, and nothing is too slow.
        let settings = SETTINGS.replace("\"8s\"", "\"30m\"").replace("\"2m\"", "\"10m\"");
        let lab = prepared(engine, name, &settings)?;
        let points = Points::of(&lab)?;
        points.start(&lab)?;
        filled(&lab)?;
        let postgres = lab.container("postgres")?.id;
        let mut restores = Self {
            lab,
            points,
            postgres,
            backup: String::new(),
            whole: String::new(),
            takes: Duration::ZERO,
        };
        restores.sql(
            "tests",
            &format!(
                "CREATE TABLE bulk AS SELECT n AS id, n % 1000 AS k, repeat(md5(n::text), 12) AS v \
                 FROM generate_series(1, {rows}) n; ALTER TABLE bulk ADD PRIMARY KEY (id); CREATE INDEX ON bulk (k)"
            ),
        )?;
        let said = restores.lab.run(&["backup", &restores.lab.name, "--json"])?;
        let made: BackupRow = serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))?;
        restores.backup = made.id;
        restores.whole = restores.content("tests")?;
        let harmed = restores.harm()?;
        restores.order()?;
        restores.finished(&harmed)?;
        let words = ["history", &restores.lab.name, "--operations", "--json"];
        let said = restores.lab.run(&words)?;
        let history: History = serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))?;
        let first = history
            .operations
            .iter()
            .find(|operation| operation.kind == "restore");
        let took = first
            .and_then(|operation| operation.milliseconds)
            .context("no restore")?;
        restores.takes = Duration::from_millis(took);
        eprintln!("a restore takes {took} ms");
        Ok(restores)
    }

    /// `false`: it was over before.
    fn round(&mut self, when: When) -> Result<bool> {
        let harmed = self.harm()?;
        let old = self.oid("tests")?;
        if let When::At(point) = when {
            self.points.set(Trap::At(point.to_owned()), false);
        }
        let begun = Instant::now();
        // The daemon may be killed before it answers.
        let ordered = self.order();
        if let When::After(part) = when {
            ordered?;
            std::thread::sleep(self.takes.mul_f64(part).saturating_sub(begun.elapsed()));
        } else {
            let limit = self.takes * 3 + Duration::from_secs(60);
            while !self.lab.has_ended() && begun.elapsed() < limit {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        self.lab.kill()?;
        self.points.clear();
        let step = sound::under_way(&self.lab)?;
        if let Some(step) = step {
            eprintln!("killed {when:?}, in {step}");
            self.is_in_use(&old, &harmed, step)?;
        }
        self.points.start(&self.lab)?;
        self.finished(&harmed)?;
        Ok(step.is_some())
    }

    /// While nobody is there: something whole has the name, and nothing is lost.
    fn is_in_use(&self, old: &str, harmed: &str, step: &str) -> Result<()> {
        let changed = self.oid("tests")? != old;
        let may_be = ["take_place", "open_database", "start", "await", "give_restart"].contains(&step);
        ensure!(!changed || may_be, "the old database is not in use at {step}");
        let expected = if changed { self.whole.as_str() } else { harmed };
        let is = if self.is_barred("tests")? {
            self.run("CREATE DATABASE seen TEMPLATE tests")?;
            let is = self.content("seen")?;
            self.run("DROP DATABASE seen")?;
            is
        } else {
            self.content("tests")?
        };
        ensure!(is == expected, "it is not whole: {is}, not {expected}");
        if changed {
            ensure!(self.kept()?.len() == 1, "the old database is not kept");
        }
        Ok(())
    }

    /// It comes to its end; what was in use before is kept, and goes.
    fn finished(&self, harmed: &str) -> Result<()> {
        let limit = self.takes * 5 + Duration::from_secs(240);
        let done = || {
            let status = self.lab.status()?;
            let done =
                status.filter(|s| s.operation.is_none() && s.state == State::Steady && s.drift.is_empty());
            Ok(done.filter(|_| self.kept().is_ok_and(|kept| kept.len() == 1)))
        };
        let status = steadfast_tests::lab::poll("it is restored", limit, done)?;
        ensure!(status.hold.is_none(), "{:?}", status.hold);
        let is = self.content("tests")?;
        ensure!(
            is == self.whole,
            "it is not what was restored: {is}, not {}",
            self.whole
        );
        for service in ["api", "worker"] {
            ensure!(
                self.lab.container(service)?.is_running(),
                "{service} does not run"
            );
        }
        let kept = self.kept()?;
        let [kept] = &kept[..] else {
            bail!("not one is kept: {kept:?}");
        };
        self.run(&format!("ALTER DATABASE \"{kept}\" ALLOW_CONNECTIONS true"))?;
        let is = self.content(kept)?;
        ensure!(is == harmed, "what is kept is not whole: {is}, not {harmed}");
        let said = self.lab.run(&["backup", "drop", &self.lab.name, kept, "--yes"])?;
        ensure!(said.code == 0, "{said:?}");
        let left = databases(&self.lab)?;
        ensure!(left == ["tests"], "left behind: {left:?}");
        sound::journal(&self.lab)?;
        ensure!(!self.lab.logged().contains(SECRET), "a secret is in the log");
        Ok(())
    }

    fn order(&self) -> Result<()> {
        let words = ["restore", &self.lab.name, &self.backup, "--yes", "--no-wait"];
        let said = self.lab.run(&words)?;
        ensure!(said.code == 0, "{said:?}");
        Ok(())
    }

    /// Rows are lost, and others are new.
    fn harm(&self) -> Result<String> {
        self.sql(
            "tests",
            "DELETE FROM bulk WHERE id <= 1000; INSERT INTO backtests (symbol) SELECT 'new' FROM generate_series(1, 9)",
        )?;
        self.content("tests")
    }

    /// All rows, but those that somebody writes all the time.
    fn content(&self, database: &str) -> Result<String> {
        let bulk = "SELECT count(*), sum(hashtext(bulk::text)::bigint) FROM bulk";
        let tests = "SELECT count(*), md5(string_agg(b::text, ',' ORDER BY id)) FROM backtests b";
        self.sql(database, &format!("{bulk}; {tests}"))
    }

    fn oid(&self, database: &str) -> Result<String> {
        self.run(&format!(
            "SELECT oid FROM pg_database WHERE datname = '{database}'"
        ))
    }

    fn is_barred(&self, database: &str) -> Result<bool> {
        let sql = format!("SELECT NOT datallowconn FROM pg_database WHERE datname = '{database}'");
        Ok(self.run(&sql)? == "t")
    }

    fn kept(&self) -> Result<Vec<String>> {
        let kept = self.run("SELECT datname FROM pg_database WHERE datname LIKE 'tests\\_before\\_%'")?;
        Ok(kept.lines().map(str::to_owned).collect())
    }

    fn run(&self, sql: &str) -> Result<String> {
        self.sql("postgres", sql)
    }

    fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let mut words = vec![
            "psql",
            "-XqAtv",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
        ];
        for part in sql.split("; ") {
            words.extend(["-c", part]);
        }
        self.lab.engine.exec(&self.postgres, &words)
    }
}
