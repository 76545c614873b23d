//! Following one operation of the daemon's to its end.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::backup::bytes;
use super::failure::Failure;
use super::output;
use super::reader::width;
use super::reading::Daemon;
use super::text::{paragraph, printable};
use crate::control::client::ClientError;
use crate::view::{OperationNow, OperationRow, ProgressNow, Status};

/// A daemon that was just restarted comes back within this.
const RESTART: Duration = Duration::from_secs(30);
/// No faster than this, whatever is published.
const PACE: Duration = Duration::from_millis(300);
/// How far a long step is, is told so often.
const TOLD_EVERY: Duration = Duration::from_secs(2);
/// Of the operations that have ended so many are looked through.
const OPERATIONS: u32 = 20;

/// Whether there is somebody to ask.
pub(super) fn asks() -> bool {
    io::stdin().is_terminal()
}

/// Asks the person at the terminal; where there is none, whoever wrote the script has meant it. The end of the input is
/// a no.
pub(super) fn confirm(question: &str) -> Result<bool, Failure> {
    if !asks() {
        return Ok(true);
    }
    let failed = |error: io::Error| Failure::new(1, format!("cannot ask: {error}"));
    let mut err = anstream::stderr().lock();
    let question = paragraph(0, question, width());
    write!(err, "{} [y/N] ", question.trim_end())
        .and_then(|()| err.flush())
        .map_err(failed)?;
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(failed)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// Waits for the end of operation `id`, and says what happens on standard error. An error where it did not succeed.
pub(super) async fn follow(
    daemon: &Daemon,
    stack: &str,
    id: u64,
    within: Duration,
) -> Result<OperationRow, Failure> {
    let begun = Instant::now();
    let (mut seen, mut version) = (Instant::now(), None);
    let mut told = Told::default();
    loop {
        let look = daemon.status_after(stack, version);
        let left = within.saturating_sub(begun.elapsed());
        let Ok(answer) = tokio::time::timeout(left, look).await else {
            let limit = config::show_duration(within);
            return Err(Failure::new(1, format!("not at its end within {limit}"))
                .way_out(format!("it goes on: `steadfast status {stack}`")));
        };
        match answer {
            Ok(status) => {
                (seen, version) = (Instant::now(), Some(status.version));
                match of(&status, id) {
                    Some(operation) => told.tell(stack, operation),
                    None => return ended(daemon, stack, id).await,
                }
            }
            // It may be restarting, and takes it up again.
            Err(
                error @ (ClientError::NoDaemon { .. } | ClientError::Broken { .. } | ClientError::Busy(_)),
            ) => {
                if seen.elapsed() > RESTART {
                    return Err(daemon.failure(error));
                }
                version = version.map(|_| u64::MAX);
            }
            Err(error) => return Err(daemon.failure(error)),
        }
        tokio::time::sleep(PACE).await;
    }
}

fn of(status: &Status, id: u64) -> Option<&OperationNow> {
    status.operation.as_ref().filter(|operation| operation.id == id)
}

async fn ended(daemon: &Daemon, stack: &str, id: u64) -> Result<OperationRow, Failure> {
    let history = daemon.client.history(stack, OPERATIONS).await;
    let history = history.map_err(|error| daemon.failure(error))?;
    let row = history.operations.into_iter().find(|row| row.id == id);
    let row = row.ok_or_else(|| Failure::new(1, format!("operation {id} is not in the history any more")))?;
    for told in row.steps.iter().filter_map(|step| step.told.as_ref()) {
        output::note(&format!("{stack}: {}", printable(told)));
    }
    match row.ending.as_str() {
        "succeeded" => Ok(row),
        ending => {
            let why = row.failure.clone().unwrap_or_else(|| format!("it has {ending}"));
            Err(Failure::new(1, printable(&why)))
        }
    }
}

/// What was told last.
#[derive(Default)]
struct Told {
    step: Option<usize>,
    stage: String,
    at: Option<Instant>,
}

impl Told {
    /// Says which step it is, and now and then how far.
    fn tell(&mut self, stack: &str, operation: &OperationNow) {
        let stage = operation.progress.as_ref().map_or("", |progress| &progress.stage);
        let doing = match (&operation.undoing, &operation.doing) {
            (Some(why), _) => format!("takes back what was done: {why}"),
            (None, doing) => doing.clone().unwrap_or_default(),
        };
        if self.step != Some(operation.step) {
            self.step = Some(operation.step);
            output::note(&format!(
                "{stack}  {} of {}: {}",
                operation.step,
                operation.steps,
                printable(&doing)
            ));
        }
        let lately = self.at.is_some_and(|at| at.elapsed() < TOLD_EVERY);
        let news = self.stage != stage;
        if let Some(progress) = operation.progress.as_ref().filter(|_| news || !lately) {
            (self.at, self.stage) = (Some(Instant::now()), stage.to_owned());
            output::note(&format!("{stack}    {}", far(progress)));
        }
    }
}

fn far(progress: &ProgressNow) -> String {
    let about = if progress.stage == "dumping" { "about " } else { "" };
    if progress.of == 0 || progress.stage == "counting" {
        return progress.stage.clone();
    }
    format!(
        "{}: {} of {about}{}",
        progress.stage,
        bytes(progress.bytes),
        bytes(progress.of)
    )
}
