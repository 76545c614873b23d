//! What a daemon would do next if one ran, for `steadfast plan` where none does. Reads the files, the
//! ledger, the engine and the database, and changes none of them. `steadfast init` asks it what the first run would do.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::error::Problem;
use config::settings::Settings;
use state::desired::Desired;
use state::ledger::{Ledger, LedgerError, MemoryStore, Store};
use state::name::StackName;
use state::observed::Known;

use crate::engine::EngineError;
use crate::inputs;
use crate::reconcile::{Edges, Foreseen, Stop, Wish, foresee};
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
    let edges = edges(settings)?;
    let read = inputs::read_desired(&*edges.files, &settings.agent.desired, &settings.stacks);
    let wanted = |name: &StackName| only.is_none_or(|only| only == name);
    let all = foresee_all(settings, &edges, &read, &wanted).await?;
    Ok(all.iter().map(PlanView::foreseen).collect())
}

/// What the first run would do.
pub(crate) struct Contact {
    /// What would be done.
    pub(crate) plan: PlanView,
    /// Why nobody knows where the schema stands, where there is a database.
    pub(crate) schema: Option<String>,
}

/// What a daemon with these settings would make of this wish for each stack, whatever the files say.
pub(crate) async fn contacts(
    settings: &Settings,
    desired: BTreeMap<StackName, Desired>,
) -> Result<Vec<Contact>, PreviewError> {
    let edges = edges(settings)?;
    let all = foresee_all(settings, &edges, &Ok(desired), &|_| true).await?;
    let contact = |foreseen: &Foreseen| Contact {
        plan: PlanView::foreseen(foreseen),
        schema: foreseen
            .snapshot
            .schema
            .as_ref()
            .and_then(Known::unknown)
            .map(str::to_owned),
    };
    Ok(all.iter().map(contact).collect())
}

fn edges(settings: &Settings) -> Result<Edges, PreviewError> {
    let store: Arc<dyn Store> = match Ledger::look(&settings.agent.state_dir)? {
        Some(ledger) => Arc::new(ledger),
        None => Arc::new(MemoryStore::new()),
    };
    Ok(run::edges(settings, store)?)
}

async fn foresee_all(
    settings: &Settings,
    edges: &Edges,
    read: &Result<BTreeMap<StackName, Desired>, Vec<Problem>>,
    wanted: &dyn Fn(&StackName) -> bool,
) -> Result<Vec<Foreseen>, PreviewError> {
    let repositories = run::repositories(settings);
    let mut all = Vec::new();
    for (name, stack) in settings.stacks.iter().filter(|(name, _)| wanted(name)) {
        let edges = Edges {
            source: repositories.get(name).cloned(),
            ..edges.clone()
        };
        all.push(foresee(stack, &settings.policy, &edges, Wish::of(read, name)).await?);
    }
    Ok(all)
}
