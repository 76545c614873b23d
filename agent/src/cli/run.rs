//! `steadfast run`: the daemon itself.

use state::ledger::LedgerError;

use super::args::Common;
use super::failure::{Failure, Outcome, chain, is_denied};
use super::reading;
use crate::run::RunError;

/// Runs until it is told to stop.
pub(super) fn run(common: &Common) -> Outcome {
    let settings = reading::settings(common)?;
    let recent = crate::log::init(settings.agent.log);
    if let Err(error) = crate::memory::stays_in_memory() {
        tracing::warn!("a crash of this process may leave values of .env in a core dump: {error}");
    }
    crate::probe::install_crypto();
    super::block_on(async {
        let ran = crate::run::run(settings, recent).await;
        ran.map_err(|error| failure(&error))?;
        Ok(0)
    })
}

/// Why it ended, with the way out where there is one.
fn failure(error: &RunError) -> Failure {
    let failure = Failure::new(1, chain(error));
    match error {
        RunError::Ledger(LedgerError::InUse { .. }) => {
            failure.way_out("one daemon to a state directory: `steadfast status` asks the one that runs")
        }
        RunError::Ledger(LedgerError::Damaged { .. }) => failure.way_out(
            "nothing was done, and the file is left as it is: put a backup of the state directory in its place, or move \
             the directory away and be met anew (docs/operations.md)",
        ),
        error if is_denied(error) => {
            failure.way_out("run it as root, or as the owner of its state directory")
        }
        _ => failure,
    }
}
