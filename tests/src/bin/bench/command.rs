//! A command of an operator as a process of its own, from its start to its end: `status` of a stack with many containers,
//! against `docker ps` of the same ones, in turns.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::daemon::Daemon;
use crate::report::{Report, median};

/// Samples of each kind, taken in turns.
const SAMPLES: usize = 40;
/// The most that `status` may take: nobody waits for it.
const AT_MOST: f64 = 30.0;

pub(crate) fn measure(daemon: &Daemon, services: usize, report: &mut Report) -> Result<()> {
    let (mut ours, mut peer, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    let label = format!("label=com.docker.compose.project={}", daemon.name);
    for sample in 0..SAMPLES + 3 {
        let shown = timed(daemon.status()?)?;
        let listed = timed(with("docker", &["ps", "--filter", &label]))?;
        let nothing = timed(Command::new("true"))?;
        // The first few warm up caches on all sides.
        if sample >= 3 {
            ours.push(shown);
            peer.push(listed);
            floor.push(nothing);
        }
    }
    let name = format!("`status`, {services} containers, whole process, ms");
    let (ours, peer, floor) = (median(ours), median(peer), median(floor));
    report.limit(&name, ours, AT_MOST);
    report.ratio(
        "  of that, against `docker ps` of the same",
        ours,
        peer,
        Some(1.0),
    );
    report.part("  and against `true`, which does nothing", ours, floor);
    Ok(())
}

fn with(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words);
    command
}

/// From its start to its end. What it prints goes nowhere, so that no terminal is measured.
fn timed(mut command: Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begun = Instant::now();
    let status = command.status()?;
    let took = begun.elapsed();
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(took)
}
