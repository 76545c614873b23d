//! What a daemon would do next if one ran, for `steadfast plan` where none does. Reads the files, the
//! ledger, the engine and the database, and changes none of them.

use std::sync::Arc;

use config::settings::Settings;
use state::ledger::{Ledger, LedgerError, MemoryStore, Store};
use state::name::StackName;

use crate::engine::EngineError;
use crate::inputs;
use crate::reconcile::{Stop, Wish, foresee};
use crate::run::{self, RunError};
use crate::view::PlanView;

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The ledger, which nothing can be said without.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Something that the daemon needs too.
    #[error(transparent)]
    Edges(#[from] RunError),
}

impl From<Stop> for PreviewError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Engine(error) => Self::Engine(error),
            Stop::Ledger(error) => Self::Ledger(error),
        }
    }
}

/// The plan of `only`, or of every stack. Without a ledger every stack is met for the first time.
pub async fn plans(settings: &Settings, only: Option<&StackName>) -> Result<Vec<PlanView>, PreviewError> {
    let store: Arc<dyn Store> = match Ledger::look(&settings.agent.state_dir)? {
        Some(ledger) => Arc::new(ledger),
        None => Arc::new(MemoryStore::new()),
    };
    let edges = run::edges(settings, store)?;
    let read = inputs::read_desired(&*edges.files, &settings.agent.desired, &settings.stacks);
    let mut plans = Vec::new();
    for (name, stack) in &settings.stacks {
        if only.is_none_or(|only| only == name) {
            let foreseen = foresee(stack, &settings.policy, &edges, Wish::of(&read, name)).await?;
            plans.push(PlanView::foreseen(&foreseen));
        }
    }
    Ok(plans)
}
