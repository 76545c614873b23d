//! The idle daemon as a process of its own: memory and processor time, as the kernel counts them.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::host::{IMAGE, LABEL, docker};
use crate::report::{Report, say};
use crate::stack::{self, write_files};

/// With how many services, each probed once a second.
pub(crate) const SERVICES: [usize; 2] = [1, 50];
/// Over how long processor time is counted.
const SPAN: Duration = Duration::from_secs(40);
/// How old the containers have to be: a young one is looked at more closely.
const GROWN: Duration = Duration::from_secs(125);

/// A running daemon and its directory; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    directory: TempDir,
    name: String,
    services: usize,
    up: Instant,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Starts one, and waits until its stack is up and proven good.
    pub(crate) async fn start(services: usize) -> Result<Self> {
        let name = format!("sf-bench-idle{services}");
        let directory = stack::directory()?;
        write_files(
            directory.path(),
            &name,
            &compose(services),
            "v1",
            &settings(&name, services),
        )?;
        let config = directory.path().join("etc/steadfast.toml");
        let log = File::create(directory.path().join("log"))?;
        say(&format!("starting a daemon with {services} services"));
        let child = Command::new(program()?)
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the daemon")?;
        let mut daemon = Self {
            child,
            directory,
            name,
            services,
            up: Instant::now(),
        };
        daemon.until_good().await?;
        daemon.up = Instant::now();
        Ok(daemon)
    }

    async fn until_good(&mut self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(300) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Some(ended) = self.child.try_wait()? {
                bail!("the daemon ended ({ended}):\n{}", self.log());
            }
            if self.log().contains("is good") {
                return Ok(());
            }
        }
        bail!("the daemon's stack did not get good:\n{}", self.log())
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let from = text.len().saturating_sub(4000);
        text.get(from..).unwrap_or(&text).to_owned()
    }

    /// Nanoseconds on a processor, of all its threads.
    fn cpu(&self) -> Result<u64> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end meanwhile.
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            sum += text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        }
        Ok(sum)
    }

    /// A line of `/proc/PID/FILE`, in MB.
    fn memory(&self, file: &str, key: &str) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .context("no such line")?;
        let kib: u32 = line.split_whitespace().next().context("no number")?.parse()?;
        Ok(f64::from(kib) * 1024.0 / 1e6)
    }
}

/// Measures all of them over the same span.
pub(crate) async fn measure(daemons: Vec<Daemon>, report: &mut Report) -> Result<()> {
    let Some(youngest) = daemons.iter().map(|daemon| daemon.up).max() else {
        return Ok(());
    };
    let left = GROWN.saturating_sub(youngest.elapsed());
    say(&format!(
        "idle daemons: measuring in {} s for {} s",
        left.as_secs(),
        SPAN.as_secs()
    ));
    tokio::time::sleep(left).await;
    let begun = Instant::now();
    let before = daemons.iter().map(Daemon::cpu).collect::<Result<Vec<_>>>()?;
    tokio::time::sleep(SPAN).await;
    for (daemon, before) in daemons.iter().zip(before) {
        let used = Duration::from_nanos(daemon.cpu()?.saturating_sub(before));
        let percent = used.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
        let (memory, cpu) = if daemon.services == 1 {
            (12.0, 0.1)
        } else {
            (16.0, 1.5)
        };
        let of = format!("{} probed at 1 Hz", plural(daemon.services));
        report.limit(
            &format!("resident memory, {of}, MB"),
            daemon.memory("status", "VmRSS:")?,
            memory,
        );
        let private = daemon.memory("smaps_rollup", "Pss:")?;
        say(&format!("{}: proportional set {private:.1} MB", daemon.name));
        report.limit(&format!("processor, {of}, % of a core"), percent, cpu);
        let running = docker(&[
            "ps",
            "-q",
            "--filter",
            &format!("label=com.docker.compose.project={}", daemon.name),
        ])?;
        anyhow::ensure!(running.lines().count() == daemon.services, "not all services run");
    }
    Ok(())
}

fn plural(services: usize) -> String {
    if services == 1 {
        String::from("1 service")
    } else {
        format!("{services} services")
    }
}

/// The release build that `make bench` has just made.
fn program() -> Result<std::path::PathBuf> {
    let program = std::env::current_exe()?.with_file_name("steadfast");
    if !program.exists() {
        bail!(
            "{} is missing: cargo build --release -p steadfast",
            program.display()
        );
    }
    Ok(program)
}

fn compose(services: usize) -> String {
    use std::fmt::Write as _;
    let (name, value) = LABEL.split_once('=').unwrap_or((LABEL, ""));
    let mut text = String::from("services:\n");
    for number in 1..=services {
        let _ = write!(
            text,
            "  app{number}:\n    image: {IMAGE}:${{TAG}}\n    labels: {{ {name}: {value} }}\n"
        );
    }
    text
}

fn settings(name: &str, services: usize) -> String {
    use std::fmt::Write as _;
    let mut text = format!("[stack.{name}.trial]\ngood_after = \"3s\"\n");
    for number in 1..=services {
        let _ = write!(
            text,
            "\n[[stack.{name}.probe]]\nname = \"app{number}\"\nservice = \"app{number}\"\nkind = \"http\"\nport = 8080\npath = \"/health\"\ninterval = \"1s\"\n"
        );
    }
    text
}
