//! A rollback with a migration, on a database of a gigabyte: how long nobody is answered. Steadfast, against the bare copy,
//! downgrade and swap, and against what a person does who dumps first and makes sure of the dump. In turns.

mod peers;

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent::view::{State, Status};
use anyhow::{Context as _, Result, anyhow, ensure};
use rusqlite::{Connection, OpenFlags};
use state::journal::{Entry, Event, Operation};
use steadfast_tests::lab::word;

use self::peers::Peers;
use crate::daemon::Daemon;
use crate::host::LABEL;
use crate::raw::{until_serves, until_silent};
use crate::report::{Report, median, say};
use crate::stack;

pub(crate) const PROJECT: &str = "sf-bench-rows";
/// Ports of the loopback: ours, the peers'.
const OURS: u16 = 18485;
const PEERS: u16 = 18486;
/// Rounds, each with one run of every kind, and two of the quickest.
const ROUNDS: usize = 3;
/// How long anything may take that takes as long as the database is large.
const LONG: Duration = Duration::from_secs(300);
/// The release that is left, and the one that is gone back to.
const NEW: &str = "v1.8.0";
const OLD: &str = "v1.4.0";
const PASSWORD: &str = "of-the-bench-alone";

/// What the time of an outage is spent on, in this order, by the words of the steps.
const PARTS: [(&str, &str); 6] = [
    ("stop", "the writers stop"),
    ("close_database", "nobody is connected any more"),
    ("copy_database", "the copy"),
    ("open_database", "open again, and what the schema is"),
    ("migrate", "the downgrade"),
    ("start", "the old release starts"),
];

type Spent = BTreeMap<&'static str, Duration>;

/// One run: how long nobody was answered, and on what that was spent.
struct Run {
    took: Duration,
    spent: Spent,
}

/// Measures all three.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    say("a stack with a database");
    let mut ours = Ours::start().await?;
    let mut peers = Peers::start().await?;
    let bytes = peers.sql("tests", "SELECT pg_database_size('tests')").await?;
    say(&format!("the database has {bytes} bytes"));
    let before = symbols(&peers).await?;
    let (mut mine, mut floor, mut guide) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        say(&format!("round {} of {ROUNDS}", round + 1));
        // Before and after: whoever comes second finds the server busy with what the first has left.
        floor.push(peers.floor().await?);
        ours.forward(round == 0).await?;
        if round == 0 {
            let all = "UPDATE backtests SET interval = id || 'h'";
            peers.sql("tests", all).await?;
        }
        mine.push(ours.back(&peers).await?);
        ensure!(symbols(&peers).await? == before, "rows have changed");
        floor.push(peers.floor().await?);
        guide.push(peers.guide().await?);
        let last = |runs: &[Run]| runs.last().map_or(0, |run| run.took.as_millis());
        say(&format!(
            "ours {}, floor {}, guide {} ms",
            last(&mine),
            last(&floor),
            last(&guide)
        ));
    }
    let whole = |runs: &[Run]| median(runs.iter().map(|run| run.took).collect());
    let name = "rollback of 1 GB, nobody is answered, ms";
    report.ratio(
        &format!("{name} (floor)"),
        whole(&mine),
        whole(&floor),
        Some(1.15),
    );
    let mut rest = [whole(&mine), whole(&floor)];
    for (word, words) in PARTS {
        let part = |runs: &[Run]| {
            let spent = |run: &Run| run.spent.get(word).copied().unwrap_or_default();
            median(runs.iter().map(spent).collect())
        };
        let both = [part(&mine), part(&floor)];
        report.part(&format!("  of these: {words}, ms"), both[0], both[1]);
        rest = [rest[0] - both[0], rest[1] - both[1]];
    }
    report.part("  of these: the rest, until it answers, ms", rest[0], rest[1]);
    report.ratio(
        &format!("{name} (dump first)"),
        whole(&mine),
        whole(&guide),
        Some(1.0 / 3.0),
    );
    report.limit(
        "the daemon's memory at its most, 1 GB, MB",
        ours.daemon.memory("status", "VmHWM:")?,
        25.0,
    );
    Ok(())
}

/// What no migration touches.
async fn symbols(peers: &Peers) -> Result<String> {
    let sums = "SELECT count(*), sum(hashtext(id || symbol || created_at)) FROM backtests";
    let more = "SELECT (SELECT count(*) FROM candles), (SELECT count(*) FROM trades)";
    Ok(peers.sql("tests", sums).await? + " " + &peers.sql("tests", more).await?)
}

struct Ours {
    daemon: Daemon,
}

impl Ours {
    /// The old release runs, and has been proven good.
    async fn start() -> Result<Self> {
        let directory = stack::directory()?;
        stack::write_files(directory.path(), PROJECT, &compose(), OLD, &settings())?;
        std::fs::write(
            directory.path().join("stack/.env"),
            format!("PASSWORD={PASSWORD}\n"),
        )?;
        let mut daemon = Daemon::start(directory, PROJECT)?;
        daemon
            .until("the old release is good", LONG, |s| is_at_rest(s) && runs(s, OLD))
            .await?;
        Ok(Self { daemon })
    }

    /// The new release is asked for, or tried again, and proven good.
    async fn forward(&mut self, first: bool) -> Result<()> {
        if first {
            let wish = format!("[{PROJECT}]\ntag = \"{NEW}\"\n");
            std::fs::write(self.daemon.path("etc/desired.toml"), wish)?;
        } else {
            let (code, said) = self.daemon.command(&["retry", PROJECT]).await?;
            ensure!(code == 0, "{said}");
        }
        self.daemon
            .until("the new release is good", LONG, |s| is_at_rest(s) && runs(s, NEW))
            .await?;
        Ok(())
    }

    /// An order to go back, seen from outside; and all that comes after it.
    async fn back(&mut self, peers: &Peers) -> Result<Run> {
        peers.checkpoint().await?;
        let outage = Outage::of(OURS)?;
        let (code, said) = self.daemon.command(&["rollback", PROJECT, "--yes"]).await?;
        ensure!(code == 0, "{said}");
        let took = outage.over().await?;
        let back = |s: &Status| s.state == State::RolledBack && is_at_rest(s) && s.beside.is_empty();
        self.daemon
            .until("all is left, and the copy is in a backup", LONG, back)
            .await?;
        let spent = spent(&self.daemon.path("state/ledger.db")).context("the journal")?;
        Ok(Run { took, spent })
    }
}

fn is_at_rest(status: &Status) -> bool {
    status.operation.is_none() && status.drift.is_empty()
}

fn runs(status: &Status, tag: &str) -> bool {
    status
        .runs
        .as_ref()
        .is_some_and(|runs| runs.tag.as_deref() == Some(tag) && runs.verdict == "good")
}

/// Somebody who asks without pause, from before an outage until it is over.
struct Outage(JoinHandle<Result<Duration>>);

impl Outage {
    fn of(port: u16) -> Result<Self> {
        let says = |tag: &str| format!("{{\"version\":\"{tag}\"}}");
        until_serves(port, &says(NEW), LONG)?;
        Ok(Self(std::thread::spawn(move || {
            let down = until_silent(port, LONG)?;
            Ok(until_serves(port, &says(OLD), LONG)? - down)
        })))
    }

    /// How long it was.
    async fn over(self) -> Result<Duration> {
        // The runtime goes on: a connection to the database is driven by it.
        while !self.0.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.0.join().map_err(|_| anyhow!("the watcher died"))?
    }
}

/// How long each step of the last rollback took, by the journal.
fn spent(ledger: &Path) -> Result<Spent> {
    let ledger = Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut all = ledger.prepare("SELECT value FROM operation")?;
    let all = all.query_map([], |row| row.get::<_, String>(0))?;
    let all = all.map(|value| Ok(serde_json::from_str::<Operation>(&value?)?));
    let all: Vec<Operation> = all.collect::<Result<_>>()?;
    let rollbacks = all
        .into_iter()
        .filter(|o| o.kind == state::journal::Kind::Rollback);
    let last = rollbacks.max_by_key(|o| o.id).context("there is no rollback")?;
    let mut journal = ledger.prepare("SELECT value FROM journal WHERE operation = ?1 ORDER BY position")?;
    let entries = journal.query_map([i64::try_from(last.id)?], |row| row.get::<_, String>(0))?;
    let (mut spent, mut begun) = (Spent::new(), None);
    for entry in entries {
        let entry: Entry = serde_json::from_str(&entry?)?;
        match entry.event {
            Event::Started { .. } => begun = entry.at_ms,
            Event::Done { index, .. } => {
                let step = last.plan.steps.get(index).context("no such step")?;
                let took = entry.at_ms.zip(begun).map_or(0, |(ended, begun)| ended - begun);
                *spent.entry(word(step)).or_default() += Duration::from_millis(u64::try_from(took)?);
            }
            _ => {}
        }
    }
    Ok(spent)
}

/// Times parts of a run by hand.
struct Watch(Instant, Spent);

impl Watch {
    fn new() -> Self {
        Self(Instant::now(), Spent::new())
    }

    /// From the part before until now.
    fn part(&mut self, word: &'static str) {
        let begun = std::mem::replace(&mut self.0, Instant::now());
        *self.1.entry(word).or_default() += self.0 - begun;
    }
}

fn compose() -> String {
    let (name, value) = LABEL.split_once('=').unwrap_or((LABEL, ""));
    format!(
        "services:
  postgres:
    image: steadfast-test/postgres:15
    labels: {{ {name}: {value} }}
    environment: {{POSTGRES_PASSWORD: \"${{PASSWORD:?}}\", POSTGRES_DB: tests}}
    volumes: [\"rows:/var/lib/postgresql/data\"]
    healthcheck:
      test: [CMD, pg_isready, --quiet, --host=127.0.0.1, --username=postgres]
      interval: 1s
      timeout: 3s
      retries: 60
  api:
    image: steadfast-test/api:${{TAG}}
    labels: {{ {name}: {value} }}
    ports: [127.0.0.1:{OURS}:8000]
    environment:
      DATABASE_URL: postgresql://postgres:${{PASSWORD}}@postgres:5432/tests
    depends_on: {{postgres: {{condition: service_healthy}}}}
    deploy:
      update_config: {{monitor: 1s}}
      rollback_config: {{monitor: 1s}}
volumes:
  rows:
    labels: {{ {name}: {value} }}
"
    )
}

fn settings() -> String {
    format!(
        "[stack.{PROJECT}.trial]
window = \"10m\"
good_after = \"1s\"

[[stack.{PROJECT}.probe]]
name = \"api\"
service = \"api\"
kind = \"http\"
url = \"http://127.0.0.1:{OURS}/health\"
interval = \"500ms\"

[stack.{PROJECT}.database]
service = \"postgres\"
dbname = \"tests\"
password_env = \"PASSWORD\"

[stack.{PROJECT}.database.migrations]
tool = \"alembic\"
service = \"api\"
timeout = \"5m\"
"
    )
}
