//! The idle daemon as a process of its own: memory and processor time, as the kernel counts them.

use std::time::{Duration, Instant};

use agent::view::Status;
use anyhow::Result;

use crate::daemon::Daemon;
use crate::host::{IMAGE, LABEL, docker};
use crate::report::{Report, say};
use crate::stack::{self, write_files};

/// With how many services, each probed once a second.
pub(crate) const SERVICES: [usize; 2] = [1, 50];
/// Over how long processor time is counted.
const SPAN: Duration = Duration::from_secs(40);
/// How old the containers have to be: a young one is looked at more closely.
const GROWN: Duration = Duration::from_secs(125);

/// A daemon whose stack is up and proven good.
pub(crate) struct Idle {
    daemon: Daemon,
    services: usize,
    up: Instant,
}

impl Idle {
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
        say(&format!("starting a daemon with {services} services"));
        let mut daemon = Daemon::start(directory, &name)?;
        let good = |status: &Status| status.runs.as_ref().is_some_and(|runs| runs.verdict == "good");
        daemon
            .until("the stack is good", Duration::from_secs(300), good)
            .await?;
        let up = Instant::now();
        Ok(Self { daemon, services, up })
    }
}

/// Measures all of them over the same span.
pub(crate) async fn measure(daemons: Vec<Idle>, report: &mut Report) -> Result<()> {
    let Some(youngest) = daemons.iter().map(|idle| idle.up).max() else {
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
    let before = daemons
        .iter()
        .map(|idle| idle.daemon.cpu())
        .collect::<Result<Vec<_>>>()?;
    tokio::time::sleep(SPAN).await;
    for (Idle { daemon, services, .. }, before) in daemons.iter().zip(before) {
        let used = Duration::from_nanos(daemon.cpu()?.saturating_sub(before));
        let percent = used.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
        let (memory, cpu) = if *services == 1 { (12.0, 0.1) } else { (16.0, 1.5) };
        let of = format!("{} probed at 1 Hz", plural(*services));
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
        anyhow::ensure!(running.lines().count() == *services, "not all services run");
        if *services > 1 {
            crate::command::measure(daemon, *services, report)?;
        }
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
