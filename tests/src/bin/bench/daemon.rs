//! A daemon as a process of its own, its stack, and the commands of an operator. Killed when dropped.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::view::{Status, StatusList};
use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

/// A running daemon and its directory.
pub(crate) struct Daemon {
    child: Child,
    directory: TempDir,
    pub(crate) name: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Starts one on the files of a stack, which [`crate::stack::write_files`] has written.
    pub(crate) fn start(directory: TempDir, name: &str) -> Result<Self> {
        let log = File::create(directory.path().join("log"))?;
        let child = Command::new(program()?)
            .args(["run", "--config"])
            .arg(directory.path().join("etc/steadfast.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the daemon")?;
        Ok(Self {
            child,
            directory,
            name: name.to_owned(),
        })
    }

    /// A place in its directory.
    pub(crate) fn path(&self, part: &str) -> PathBuf {
        self.directory.path().join(part)
    }

    /// A command of an operator; what it printed, also where it ended with another code than 0.
    pub(crate) async fn command(&self, words: &[&str]) -> Result<(i32, String)> {
        let output = tokio::process::Command::new(program()?)
            .args(words)
            .arg("--config")
            .arg(self.path("etc/steadfast.toml"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let said = [output.stdout, output.stderr].concat();
        Ok((
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&said).into_owned(),
        ))
    }

    /// `status` of its stack, not yet run.
    pub(crate) fn status(&self) -> Result<Command> {
        let mut command = Command::new(program()?);
        command.args(["status", &self.name, "--config"]);
        command.arg(self.path("etc/steadfast.toml"));
        Ok(command)
    }

    /// Waits until its stack is as `wanted` says.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < within {
            tokio::time::sleep(Duration::from_millis(300)).await;
            if let Some(ended) = self.child.try_wait()? {
                bail!("the daemon ended ({ended}):\n{}", self.log());
            }
            let name = self.name.clone();
            let (code, said) = self.command(&["status", &name, "--json"]).await?;
            if code == 3 {
                continue;
            }
            let all: StatusList = serde_json::from_str(&said).with_context(|| said.clone())?;
            last = all.stacks.into_iter().next();
            if let Some(status) = last.as_ref().filter(|status| wanted(status)) {
                return Ok(status.clone());
            }
        }
        bail!("it did not come about: {what}; {last:#?}\n{}", self.log())
    }

    /// The end of what it has logged.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        let from = text.len().saturating_sub(4000);
        text.get(from..).unwrap_or(&text).to_owned()
    }

    /// Nanoseconds on a processor, of all its threads.
    pub(crate) fn cpu(&self) -> Result<u64> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end meanwhile.
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            sum += text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        }
        Ok(sum)
    }

    /// A line of `/proc/PID/FILE`, in MB.
    pub(crate) fn memory(&self, file: &str, key: &str) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .context("no such line")?;
        let kib: u32 = line.split_whitespace().next().context("no number")?.parse()?;
        Ok(f64::from(kib) * 1024.0 / 1e6)
    }
}

/// The release build that `make bench` has just made.
fn program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("steadfast");
    ensure!(
        program.exists(),
        "{} is missing: cargo build --release -p steadfast",
        program.display()
    );
    Ok(program)
}
