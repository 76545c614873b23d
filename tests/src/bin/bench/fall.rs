//! A release that dies at once: from the moment that its failure is decided on until the old version
//! answers again. What Swarm does with `--update-failure-action rollback`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::shared::ActKind;
use anyhow::{Context as _, Result, anyhow};
use state::record::Standing;
use tempfile::TempDir;

use crate::raw::{SOCKET, until_serves};
use crate::report::say;
use crate::rollback::{PATIENCE, compose, order, trial};
use crate::spent::{Notes, noted};
use crate::stack::{self, Bench};

const PROJECT: &str = "sf-bench-fall";
const PORT: u16 = 18484;

/// A stack of its own, at v1 between two runs.
pub(crate) struct Fall {
    bench: Bench,
    notes: Arc<Notes>,
    asked: bool,
    _directory: TempDir,
}

impl Fall {
    /// Deploys v1. The new one is watched for as long as Swarm watches it.
    pub(crate) async fn start() -> Result<Self> {
        say("deploying v1 of the one that will fall");
        let directory = stack::directory()?;
        stack::write_files(
            directory.path(),
            PROJECT,
            &compose(PORT, "5s"),
            "v1",
            &trial(PROJECT, PORT),
        )?;
        let notes = Arc::new(Notes::default());
        let with = |edges| noted(edges, &notes);
        let mut bench = Bench::open_with(directory.path(), PROJECT, SOCKET, with)?;
        bench.settle(PATIENCE, true).await?;
        Ok(Self {
            bench,
            notes,
            asked: false,
            _directory: directory,
        })
    }

    /// Asks for the release that dies, and waits until the old one serves again.
    pub(crate) async fn back(&mut self) -> Result<Duration> {
        self.notes.clear();
        if self.asked {
            order(&mut self.bench, ActKind::Retry).await?;
        } else {
            self.bench.ask_for("crash")?;
            self.asked = true;
        }
        let notes = Arc::clone(&self.notes);
        let seen = std::thread::spawn(move || {
            let begun = Instant::now();
            while begun.elapsed() < PATIENCE {
                if let Some(failed) = notes.failed() {
                    return Ok(until_serves(PORT, "v1", PATIENCE)? - failed);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(anyhow!("the release that dies did not fail"))
        });
        let begun = Instant::now();
        while !self.is_back() {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "the failed update was not taken back");
            self.bench.pass().await;
        }
        seen.join().ok().context("the watcher died")?
    }

    fn is_back(&self) -> bool {
        let record = self.bench.stack.record();
        matches!(record.standing, Standing::Quarantined(_)) && record.operation.is_none()
    }
}
