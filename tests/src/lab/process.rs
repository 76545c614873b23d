//! The program under test, as a process: the daemon, and the commands of an operator.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How many seconds a command may take.
const SECONDS: &str = "100";

/// What a command said.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// The answer.
    pub out: String,
    /// The complaints.
    pub err: String,
}

impl Said {
    /// Whether these words are in the answer, wherever a line of it ends.
    pub fn answers(&self, words: &str) -> bool {
        unwrapped(&self.out).contains(words)
    }

    /// Whether they are among the complaints.
    pub fn complains(&self, words: &str) -> bool {
        unwrapped(&self.err).contains(words)
    }
}

fn unwrapped(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// The program under test: `STEADFAST_BIN`, or what Cargo built beside this test.
pub fn steadfast_bin() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("STEADFAST_BIN") {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe()?;
    let beside = own.ancestors().nth(2).map(|target| target.join("steadfast"));
    beside
        .filter(|path| path.is_file())
        .context("the program is not built: `cargo build -p steadfast`, or set STEADFAST_BIN")
}

pub(super) fn program(words: &[&str], config: &Path) -> Result<Vec<std::ffi::OsString>> {
    let mut line = vec![steadfast_bin()?.into_os_string()];
    line.extend(words.iter().map(Into::into));
    line.extend(["--config".into(), config.into()]);
    Ok(line)
}

/// Runs a command to its end.
pub(super) fn command(config: &Path, words: &[&str]) -> Result<Said> {
    let mut command = Command::new("timeout");
    let output = clean(&mut command)
        .args(["--kill-after=5", SECONDS])
        .args(program(words, config)?)
        .output()
        .context("cannot run steadfast")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    ensure!(code != 124, "`steadfast {}` did not end", words.join(" "));
    Ok(Said {
        code,
        out: text(&output.stdout),
        err: text(&output.stderr),
    })
}

/// What a variable of the caller says must not change a test.
pub(super) fn clean(command: &mut Command) -> &mut Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
}

/// A running daemon. Dropped, it is killed.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts it; what it logs goes to the end of `log`.
    pub fn start(config: &Path, log: &Path) -> Result<Self> {
        Self::start_with(config, log, &[])
    }

    /// Likewise, with `more` in its environment.
    pub fn start_with(config: &Path, log: &Path, more: &[(&str, PathBuf)]) -> Result<Self> {
        let line = program(&["run"], config)?;
        let into = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(&line[0]);
        let child = clean(&mut command)
            .args(&line[1..])
            .envs(more.iter().map(|(name, value)| (name, value)))
            .stdout(into.try_clone()?)
            .stderr(into)
            .spawn()
            .context("cannot start the daemon")?;
        Ok(Self { child })
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error where it has ended.
    pub fn must_live(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(how) => bail!("the daemon has ended ({how})"),
        }
    }

    /// Kills it with -9, or sees that it was killed.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it with SIGTERM; says how long that took. An error where it does not end well.
    pub fn terminate(mut self, limit: Duration) -> Result<Duration> {
        let begun = Instant::now();
        let sent = Command::new("kill")
            .args(["-TERM", &self.pid().to_string()])
            .status()?;
        ensure!(sent.success(), "the daemon has ended before");
        let how = self.ended(limit)?;
        ensure!(how.success(), "the daemon did not end well: {how}");
        Ok(begun.elapsed())
    }

    fn ended(&mut self, limit: Duration) -> Result<std::process::ExitStatus> {
        super::poll("the daemon ends", limit, || Ok(self.child.try_wait()?))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended: then there is nothing to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
