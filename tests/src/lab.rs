//! A stack of its own on a real engine, with a real `steadfast run` beside it: what every test from
//! outside begins with. What it made is taken away when it is dropped, also after a failure. Nothing
//! is asserted in here, and nothing of the daemon is reached but by its commands.

mod engine;
mod gate;
mod host;
mod points;
mod process;
mod proxy;
mod terminal;

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agent::view::Status;
use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

pub use engine::{Container, Engine};
pub use gate::{Commit, Gate};
pub use host::{Host, PACKAGES};
pub use points::{Deed, Points, Trap, word};
pub use process::{Daemon, Said, steadfast_bin};
pub use proxy::{Call, Moment, Proxy, Watcher};
pub use terminal::OnTerminal;

/// How long a condition may take to come about.
pub const LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(150);

/// The label of everything that a lab makes.
pub const LABEL: &str = "io.steadfast.test";

/// Two HTTP services would be the same as one for most tests: one that follows the tag.
pub const WEB: &str = "\
services:
  web:
    image: steadfast-test/tiny:${TAG}
    environment:
      LOG_LEVEL: ${LOG_LEVEL:-info}
    labels: {io.steadfast.test: e2e}
    stop_grace_period: 2s
    deploy:
      update_config: {monitor: 500ms}
      rollback_config: {monitor: 500ms}
";

/// Asks `/health` of the one service.
pub const WEB_PROBE: &str = "\
[[stack.NAME.probe]]
name = \"web\"
service = \"web\"
kind = \"http\"
port = 8080
path = \"/health\"
interval = \"300ms\"
fail_after = 2
";

/// Short spans: order and facts are what is tested, never how long something takes.
pub const TRIAL: &str = "\
[stack.NAME.trial]
window = \"3s\"
good_after = \"2s\"
";

/// One stack, its files, its engine, its daemon.
pub struct Lab {
    /// The engine, past everything.
    pub engine: Engine,
    /// The stack.
    pub name: String,
    /// What the daemon reaches the engine by.
    pub proxy: Proxy,
    others: RefCell<Vec<String>>,
    daemon: RefCell<Option<Daemon>>,
    gate: RefCell<Option<Gate>>,
    well: Cell<bool>,
    directory: TempDir,
}

impl Lab {
    /// An empty place, and nothing running.
    pub fn new(engine: &Engine, scenario: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("sf-e2e-").tempdir()?;
        for part in ["etc", "run", "stack"] {
            fs::create_dir(directory.path().join(part))?;
        }
        let proxy = Proxy::start(&engine.socket, &directory.path().join("run/engine.sock"))?;
        Ok(Self {
            engine: engine.clone(),
            name: format!("sf-e2e-{scenario}-{}", std::process::id()),
            proxy,
            others: RefCell::default(),
            daemon: RefCell::default(),
            gate: RefCell::default(),
            well: Cell::default(),
            directory,
        })
    }

    /// A lab with one HTTP service that asks for `tag`, and no daemon yet.
    pub fn web(engine: &Engine, scenario: &str, tag: &str) -> Result<Self> {
        let lab = Self::new(engine, scenario)?;
        lab.write("stack/compose.yaml", WEB)?;
        lab.write("stack/.env", "LOG_LEVEL=info\n")?;
        lab.settings(&format!("{TRIAL}{WEB_PROBE}"))?;
        lab.ask(tag)?;
        Ok(lab)
    }

    /// The place of a file of this lab.
    pub fn path(&self, part: &str) -> PathBuf {
        self.directory.path().join(part)
    }

    /// Its `desired.toml`.
    pub fn desired(&self) -> PathBuf {
        self.path("etc/desired.toml")
    }

    /// Writes a file anew; `NAME` and `DIR` in it become the stack's name and this lab's directory.
    pub fn write(&self, part: &str, text: &str) -> Result<()> {
        let text = self.fill(text);
        fs::write(self.path(part), text).with_context(|| format!("cannot write {part}"))
    }

    fn fill(&self, text: &str) -> String {
        let directory = self.directory.path().to_string_lossy();
        text.replace("NAME", &self.name).replace("DIR", &directory)
    }

    /// Writes `steadfast.toml` for one stack in `stack/`, with `more` tables.
    pub fn settings(&self, more: &str) -> Result<()> {
        self.write(
            "etc/steadfast.toml",
            &format!(
                "[agent]
state_dir = \"DIR/state\"
desired = \"DIR/etc/desired.toml\"
socket = \"DIR/run/steadfast.sock\"
engine = \"unix://DIR/run/engine.sock\"
settle = \"300ms\"
resync = \"2s\"
http = false

[stack.NAME]
directory = \"DIR/stack\"

{more}"
            ),
        )
    }

    /// Asks for a tag as an editor does: a new file, renamed over the old one.
    pub fn ask(&self, tag: &str) -> Result<()> {
        self.write(
            "etc/.new",
            &format!("# asked for by a person\n[NAME]\ntag = \"{tag}\"\n"),
        )?;
        fs::rename(self.path("etc/.new"), self.desired()).context("cannot rename over desired.toml")
    }

    /// What `desired.toml` says now.
    pub fn asked(&self) -> Result<String> {
        fs::read_to_string(self.desired()).context("cannot read desired.toml")
    }

    /// Another stack of this lab, to be taken away with it.
    pub fn also(&self, name: &str) {
        self.others.borrow_mut().push(name.to_owned());
    }

    /// Starts the daemon.
    pub fn start(&self) -> Result<()> {
        self.start_with(&[])
    }

    /// Likewise, with `more` in its environment.
    pub fn start_with(&self, more: &[(&'static str, PathBuf)]) -> Result<()> {
        if self.daemon.borrow().is_some() {
            bail!("the daemon of this lab runs already");
        }
        let gate = self.gate.borrow();
        let mut all = more.to_vec();
        all.extend(gate.iter().flat_map(Gate::environment));
        let (config, log) = (self.path("etc/steadfast.toml"), self.path("daemon.log"));
        let daemon = Daemon::start_with(&config, &log, &all)?;
        *self.daemon.borrow_mut() = Some(daemon);
        Ok(())
    }

    /// From the next start on the daemon stops at each transaction, and goes on where `goes_on` says so.
    pub fn gate(&self, goes_on: impl Fn(Commit) -> bool + Send + 'static) -> Result<()> {
        *self.gate.borrow_mut() = Some(Gate::open(&self.path("run"), goes_on)?);
        Ok(())
    }

    /// The number of the daemon's process.
    pub fn pid(&self) -> Result<u32> {
        let daemon = self.daemon.borrow();
        Ok(daemon.as_ref().context("no daemon runs")?.pid())
    }

    /// Kills the daemon with -9, or sees that it was killed.
    pub fn kill(&self) -> Result<()> {
        let daemon = self.daemon.borrow_mut().take();
        daemon.context("no daemon runs")?.kill()
    }

    /// Ends the daemon with SIGTERM; says how long it took.
    pub fn terminate(&self) -> Result<Duration> {
        let daemon = self.daemon.borrow_mut().take();
        daemon
            .context("no daemon runs")?
            .terminate(Duration::from_secs(40))
    }

    /// Whether the daemon has ended by itself.
    pub fn has_ended(&self) -> bool {
        let mut daemon = self.daemon.borrow_mut();
        daemon.as_mut().is_none_or(|daemon| daemon.must_live().is_err())
    }

    /// A command, with its exit code and what it printed.
    pub fn run(&self, words: &[&str]) -> Result<Said> {
        process::command(&self.path("etc/steadfast.toml"), words)
    }

    /// A command on a terminal of so many columns and rows, as a person has it.
    pub fn on_terminal(&self, words: &[&str], size: (u16, u16)) -> Result<OnTerminal> {
        OnTerminal::start(&self.path("etc/steadfast.toml"), words, size)
    }

    /// A command with another configuration.
    pub fn run_with(&self, config: &str, words: &[&str]) -> Result<Said> {
        process::command(&self.path(config), words)
    }

    /// `status --json` of the stack; `None`: the daemon does not answer (yet).
    pub fn status(&self) -> Result<Option<Status>> {
        self.status_of(&self.name)
    }

    /// Likewise, of any of this lab's stacks.
    pub fn status_of(&self, stack: &str) -> Result<Option<Status>> {
        let said = self.run(&["status", stack, "--json"])?;
        if said.code == 3 {
            return Ok(None);
        }
        let list: agent::view::StatusList = serde_json::from_str(&said.out)
            .with_context(|| format!("`status --json` is not understood: {said:?}"))?;
        Ok(list.stacks.into_iter().next())
    }

    /// Waits until the stack's status is as `wanted` says.
    pub fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Result<Status> {
        self.until_of(&self.name, what, wanted)
    }

    /// Likewise, of any of this lab's stacks.
    pub fn until_of(&self, stack: &str, what: &str, wanted: impl Fn(&Status) -> bool) -> Result<Status> {
        let mut last = None;
        let found = poll(what, LIMIT, || {
            if let Some(daemon) = self.daemon.borrow_mut().as_mut() {
                daemon.must_live()?;
            }
            last = self.status_of(stack)?;
            Ok(last.clone().filter(&wanted))
        });
        found.with_context(|| format!("the last status: {last:#?}"))
    }

    /// Waits until `tag` runs with this verdict and nothing is under way.
    pub fn until_runs(&self, tag: &str, verdict: &str) -> Result<Status> {
        self.until(&format!("{tag} is {verdict}"), |s| {
            s.operation.is_none() && runs(s, tag, verdict)
        })
    }

    /// Waits until something about the world is so.
    pub fn when<T>(&self, what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        poll(what, LIMIT, look)
    }

    /// The containers of the stack, by name.
    pub fn containers(&self) -> Result<Vec<Container>> {
        self.engine.containers(&self.name)
    }

    /// The one container of a service.
    pub fn container(&self, service: &str) -> Result<Container> {
        let all = self.containers()?;
        let mut found = all.iter().filter(|c| c.service == service);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.clone()),
            _ => bail!("not one container of {service}: {all:#?}"),
        }
    }

    /// All that the daemon has logged.
    pub fn logged(&self) -> String {
        let bytes = fs::read(self.path("daemon.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of a test that went well: the daemon ends well, and nothing half-made is left.
    pub fn end(self) -> Result<()> {
        if self.daemon.borrow().is_some() {
            self.terminate()?;
        }
        let left = self.containers()?.into_iter().find(is_half_made);
        if let Some(left) = left {
            bail!("left behind: {left:#?}");
        }
        self.well.set(true);
        Ok(())
    }

    /// What can be said after a failure.
    fn report(&self) -> String {
        let log = self.logged();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(60)..].join("\n");
        let status = self.run(&["status", &self.name]).map(|said| said.out);
        let history = self
            .run(&["history", &self.name, "--operations"])
            .map(|said| said.out);
        format!(
            "--- log\n{tail}\n--- status\n{}\n--- history\n{}\n--- containers\n{:#?}",
            status.unwrap_or_default(),
            history.unwrap_or_default(),
            self.containers().unwrap_or_default()
        )
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.well.get() {
            eprintln!("{}", self.report());
        }
        if let Some(daemon) = self.daemon.borrow_mut().take() {
            drop(daemon.kill());
        }
        self.engine.clear(&self.name);
        for other in self.others.borrow().iter() {
            self.engine.clear(other);
        }
    }
}

/// Whether a container is one that an operation has made and not put in its place, or has put aside.
pub fn is_half_made(container: &Container) -> bool {
    container.name.contains(".new-") || container.name.contains(".old-")
}

/// Whether `tag` runs with this verdict.
pub fn runs(status: &Status, tag: &str, verdict: &str) -> bool {
    status
        .runs
        .as_ref()
        .is_some_and(|runs| runs.tag.as_deref() == Some(tag) && runs.verdict == verdict)
}

/// Looks again and again until there is something, within `limit`.
pub fn poll<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begun.elapsed() >= limit {
            bail!("it did not come about within {limit:?}: {what}");
        }
        std::thread::sleep(POLL);
    }
}

/// A port of the loopback that nobody uses at this moment.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}

/// Whether a path is there, followed or not.
pub fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
