//! A stack as the daemon opens it, driven pass by pass in this process: the product's own engine,
//! ledger, clock and files. Nothing is simulated.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::backup::{self, Archive};
use agent::clock::SystemClock;
use agent::database::Postgres;
use agent::engine::DockerEngine;
use agent::files::HostDisk;
use agent::inputs;
use agent::probe::NetProber;
use agent::reconcile::{Edges, Inbox, Nudges, Stack, Wish};
use agent::rows::Keeper;
use agent::shared::Shared;
use anyhow::{Context as _, Result, anyhow, bail};

use config::settings::{self, Settings};
use state::durable::HostFiles;
use state::ledger::{Ledger, Store};
use state::name::StackName;
use state::record::Standing;
use tokio::sync::watch;

/// A stack and the directory that it lives in.
pub(crate) struct Bench {
    directory: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) name: StackName,
    pub(crate) edges: Edges,
    pub(crate) stack: Stack,
    pub(crate) shared: Arc<Shared>,
    _nudge: Nudges,
    _stop: watch::Sender<bool>,
}

/// Writes the files of a stack into `directory`; `more` belongs to its settings.
pub(crate) fn write_files(directory: &Path, name: &str, compose: &str, tag: &str, more: &str) -> Result<()> {
    let at = directory.display();
    let engine = crate::raw::SOCKET;
    let settings = format!(
        "[agent]\nstate_dir = \"{at}/state\"\ndesired = \"{at}/etc/desired.toml\"\nsocket = \"{at}/run/steadfast.sock\"\nengine = \"unix://{engine}\"\nsettle = \"0s\"\nhttp = false\n\n[stack.{name}]\ndirectory = \"{at}/stack\"\n\n{more}"
    );
    for part in ["state", "etc", "run", "stack"] {
        fs::create_dir_all(directory.join(part))?;
    }
    fs::write(directory.join("etc/steadfast.toml"), settings)?;
    fs::write(
        directory.join("etc/desired.toml"),
        format!("[{name}]\ntag = \"{tag}\"\n"),
    )?;
    fs::write(directory.join("stack/compose.yaml"), compose)?;
    Ok(())
}

/// A directory of its own, gone when dropped.
pub(crate) fn directory() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("sf-bench-").tempdir()?)
}

impl Bench {
    /// Opens the stack whose files are in `directory`, through the engine at `socket`.
    pub(crate) fn open(directory: &Path, name: &str, socket: &str) -> Result<Self> {
        Self::open_with(directory, name, socket, |edges| edges)
    }

    /// The same, with what `with` makes of the edges.
    pub(crate) fn open_with(
        directory: &Path,
        name: &str,
        socket: &str,
        with: impl FnOnce(Edges) -> Edges,
    ) -> Result<Self> {
        let path = directory.join("etc/steadfast.toml");
        let (settings, _) = settings::load(&path).map_err(|error| anyhow!("{error:?}"))?;
        let store: Arc<dyn Store> = Arc::new(Ledger::open(&settings.agent.state_dir)?);
        let engine = Arc::new(DockerEngine::new(format!("unix://{socket}").parse()?));
        let postgres = Arc::new(Postgres::new(Duration::from_secs(5)));
        let clock = Arc::new(SystemClock::new()?);
        let kept = backup::Store::new(Arc::new(HostFiles), &settings.agent.state_dir);
        let rows = Keeper::new(postgres.clone(), Arc::new(HostFiles), &settings.agent.state_dir);
        let edges = with(Edges {
            rows: Arc::new(rows),
            backups: Arc::new(Archive::new(
                engine.clone(),
                postgres.clone(),
                clock.clone(),
                kept,
            )),
            engine,
            database: postgres.clone(),
            maintenance: postgres,
            prober: Arc::new(NetProber::new().map_err(|error| anyhow!(error))?),
            clock,
            files: Arc::new(HostDisk::default()),
            source: None,
            store,
        });
        let name: StackName = name.parse()?;
        let shared = Arc::new(Shared::new(edges.store.host_key()));
        let (stop, stopped) = watch::channel(false);
        let (nudge, inbox) = Inbox::new();
        let stack = Stack::open(
            settings.stacks[&name].clone(),
            settings.policy.clone(),
            settings.agent.settle,
            settings.agent.resync,
            edges.clone(),
            Arc::clone(&shared),
            stopped,
            inbox,
        )?;
        let mut bench = Self {
            directory: directory.to_owned(),
            settings,
            name,
            edges,
            stack,
            shared,
            _nudge: nudge,
            _stop: stop,
        };
        bench.read_wish()?;
        Ok(bench)
    }

    /// Asks for another tag.
    pub(crate) fn ask_for(&mut self, tag: &str) -> Result<()> {
        let path = self.directory.join("etc/desired.toml");
        fs::write(path, format!("[{}]\ntag = \"{tag}\"\n", self.name))?;
        self.read_wish()
    }

    fn read_wish(&mut self) -> Result<()> {
        let path = &self.settings.agent.desired;
        let known = &self.settings.stacks;
        let desired = inputs::read_desired(&*self.edges.files, path, known).map_err(|p| anyhow!("{p:?}"))?;
        let wish = desired.get(&self.name).cloned().context("no entry")?;
        self.stack.wish(Wish::Asked(Box::new(wish)));
        Ok(())
    }

    /// One pass, and the answers of the probes that are due after it, as the daemon's loop does.
    pub(crate) async fn pass(&mut self) {
        let next = self.stack.pass().await;
        self.stack.ask_due().await;
        let wait = next.0.min(Duration::from_millis(200));
        let heard = tokio::time::timeout(wait, self.stack.heard()).await;
        self.stack.take_all(heard.unwrap_or_default()).await;
    }

    /// Passes until the stack stands at its request and nothing is open.
    pub(crate) async fn settle(&mut self, within: Duration, good: bool) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < within {
            self.pass().await;
            let record = self.stack.record();
            let drifts = self.shared.get(&self.name).is_none_or(|s| !s.drift.is_empty());
            if let Some(approval) = &record.approval {
                bail!("it asks: {}", approval.detail.join("; "));
            }
            let applied = matches!(record.standing, Standing::Applied(_)) && record.operation.is_none();
            let proven = record
                .current()
                .is_some_and(|g| g.verdict == state::release::Verdict::Good);
            if applied && !drifts && (proven || !good) {
                return Ok(());
            }
        }
        let waits = self
            .shared
            .get(&self.name)
            .map(|s| s.waits.clone())
            .unwrap_or_default();
        bail!(
            "{} did not settle: {}; {:?}",
            self.name,
            waits.join("; "),
            self.stack.record().standing
        )
    }
}
