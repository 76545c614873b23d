//! The daemon that the demo shows: this very program, as a process of its own, asked by the commands
//! that an operator has. Nothing of it is reached in any other way.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::scene::Scene;
use crate::view::{Status, StatusList};

/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(20);
/// How long the daemon may take to end in good order.
const END: Duration = Duration::from_secs(20);

/// The running daemon. Dropped without [`Daemon::stop`], it is killed.
pub(super) struct Daemon {
    child: Child,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts it in a process group of its own, so that Ctrl-C is ours to hand on.
    pub(super) fn start(scene: &Scene) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let (config, log) = (scene.config(), scene.log());
        let into = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = program_alone(&program)
            .args(["run", "--config"])
            .arg(&config)
            .current_dir(scene.root())
            .stdout(into.try_clone().context("cannot share the log")?)
            .stderr(into)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let number = child.id().unwrap_or_default().to_string();
        fs::write(scene.pid(), number).context("cannot note the daemon's process")?;
        Ok(Self {
            child,
            program,
            config,
            log,
        })
    }

    /// The number of its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// An error where it has ended.
    pub(super) fn must_live(&mut self) -> Result<()> {
        match self.child.try_wait().context("cannot watch the daemon")? {
            None => Ok(()),
            Some(how) => bail!("the daemon has ended ({how})"),
        }
    }

    /// A command, with its exit code and what it printed: the answer, then the complaints.
    pub(super) async fn command(&self, words: &[&str]) -> Result<(i32, String)> {
        let (code, answer, complaints) = self.ask(words).await?;
        Ok((code, format!("{answer}{complaints}")))
    }

    /// `status --json` of the one stack; `None`: the daemon does not answer yet.
    pub(super) async fn status(&self) -> Result<Option<Status>> {
        let (code, answer, complaints) = self.ask(&["status", "--json"]).await?;
        if code == 3 {
            return Ok(None);
        }
        let list: StatusList = serde_json::from_str(&answer).with_context(|| {
            format!("`steadfast status --json` (exit {code}) is not understood: {answer}{complaints}")
        })?;
        Ok(list.stacks.into_iter().next())
    }

    async fn ask(&self, words: &[&str]) -> Result<(i32, String, String)> {
        let mut command = program_alone(&self.program);
        command.args(words).arg("--config").arg(&self.config);
        let what = words.join(" ");
        let output = timeout(COMMAND, command.output())
            .await
            .with_context(|| format!("`steadfast {what}` did not end"))?
            .with_context(|| format!("cannot run `steadfast {what}`"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr),
        ))
    }

    /// All that it has logged.
    pub(super) fn logged(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Asks it to end, and waits; by force when it takes too long.
    pub(super) async fn stop(mut self) -> Result<()> {
        if self.must_live().is_err() {
            // Whoever told the story has said so.
            return Ok(());
        }
        if let Some(pid) = self.child.id().and_then(pid) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if let Ok(how) = timeout(END, self.child.wait()).await {
            let how = how.context("cannot wait for the daemon")?;
            if !how.success() {
                bail!("the daemon did not end well ({how})");
            }
            return Ok(());
        }
        self.child.kill().await.context("cannot end the daemon")?;
        bail!("the daemon had to be ended by force: it did not end within {END:?}")
    }
}

/// This program without our environment: what a variable of the caller says must not change the story.
fn program_alone(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Ends the daemon of a demo that was killed.
pub(super) async fn end_leftover(scene: &Scene) -> Result<()> {
    let text = match fs::read_to_string(scene.pid()) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("cannot read the number of an earlier daemon"),
    };
    let Some(number) = text.trim().parse().ok() else {
        return Ok(());
    };
    for signal in [Signal::TERM, Signal::KILL] {
        for _ in 0..100 {
            if !is_ours(number, scene) {
                return Ok(());
            }
            if let Some(pid) = pid(number) {
                let _ = kill_process(pid, signal);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    bail!("the daemon of an earlier demo (process {number}) does not end")
}

/// Whether that process is a daemon with the demo's configuration: numbers are used again.
fn is_ours(number: u32, scene: &Scene) -> bool {
    let config = scene.config();
    fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|line| {
        line.split(|byte| *byte == 0)
            .any(|word| Path::new(&*String::from_utf8_lossy(word)) == config)
    })
}

fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}
