//! `make bench`: Steadfast against raw calls of the same engine and against Swarm, in one run. Prints
//! ratios and writes `target/bench.json`. Whatever it made is removed at the end, and at Ctrl-C.

mod command;
mod daemon;
mod database;
mod fall;
mod footprint;
mod host;
mod pass;
mod raw;
mod report;
mod rollback;
mod spent;
mod stack;
mod swarm;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use report::Report;

/// All of it together; a hung engine must not hang the bench.
const AT_MOST: Duration = Duration::from_secs(25 * 60);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime
        .map_err(anyhow::Error::from)
        .and_then(|r| r.block_on(run()))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    host::must_have_images()?;
    host::clear();
    let mut report = Report::new();
    let measured = tokio::select! {
        biased;
        // Cancel-safe: nothing is lost with a bench that ends.
        measured = tokio::time::timeout(AT_MOST, measure(&mut report)) => {
            measured.unwrap_or_else(|_| Err(anyhow::anyhow!("not done within {} s", AT_MOST.as_secs())))
        }
        // Cancel-safe: it only looks.
        () = until_set(&interrupted) => Err(anyhow::anyhow!("interrupted")),
    };
    report::say("removing what was made");
    host::clear();
    measured?;
    report.finish()
}

async fn until_set(flag: &AtomicBool) {
    while !flag.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The daemons and the many containers come up first: what is young is looked at more closely, and
/// is not what is measured.
async fn measure(report: &mut Report) -> Result<()> {
    let wanted = |part: &str| std::env::var("BENCH_ONLY").map_or(true, |only| only.contains(part));
    let mut daemons = Vec::new();
    if wanted("footprint") {
        for services in footprint::SERVICES {
            daemons.push(footprint::Idle::start(services).await?);
        }
    }
    let crowd = if wanted("pass") {
        Some(pass::Crowd::start().await?)
    } else {
        None
    };
    if wanted("rollback") {
        Box::pin(rollback::measure(report)).await?;
    }
    if wanted("database") {
        Box::pin(database::measure(report)).await?;
    }
    if let Some(crowd) = crowd {
        Box::pin(crowd.measure(report)).await?;
    }
    footprint::measure(daemons, report).await
}
