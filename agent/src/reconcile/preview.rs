//! What would be done next, found out without doing any of it: the same look, comparison and decision
//! as in a pass, over a ledger that keeps nothing ([`Overlay`]), and no operation is carried out.

use std::sync::Arc;
use std::time::Duration;

use config::settings::StackSettings;
use state::journal::OpenOperation;
use state::ledger::Overlay;
use state::policy::SeverityMatrix;
use state::record::Standing;
use tokio::sync::watch;
use tracing::instrument::WithSubscriber as _;

use super::{Edges, Inbox, Stack, Stop, Wish};
use crate::shared::{Difference, Next, Shared, Snapshot};

/// What a pass would find, and do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Foreseen {
    /// As after the pass, but for the operation that it would begin: that is the next one. An
    /// operation in the record was interrupted, and would be finished first.
    pub(crate) snapshot: Snapshot,
    /// Whether the stack was never met before.
    pub(crate) first: bool,
}

/// What would be done next about a stack whose entry in desired.toml is `wish`. Only what the engine and
/// the database are asked leaves this process, and it changes nothing there.
pub(crate) async fn foresee(
    settings: &StackSettings,
    matrix: &SeverityMatrix,
    edges: &Edges,
    wish: Wish,
) -> Result<Foreseen, Stop> {
    let mut edges = edges.clone();
    edges.store = Arc::new(Overlay::new(edges.store));
    let shared = Arc::new(Shared::new(edges.store.host_key()));
    let (_stop, stop) = watch::channel(false);
    let (_nudge, inbox) = Inbox::new();
    // Nobody is about to write the next file: what is there is what would count.
    let settle = Duration::ZERO;
    let mut stack = Stack::open(
        settings.clone(),
        matrix.clone(),
        settle,
        Duration::MAX,
        edges,
        shared,
        stop,
        inbox,
    )?;
    stack.only_looks = true;
    stack.wish(wish);
    // What is logged on the way was not done.
    let silent = tracing::subscriber::NoSubscriber::new();
    stack.foresee().with_subscriber(silent).await
}

impl Stack {
    async fn foresee(&mut self) -> Result<Foreseen, Stop> {
        let interrupted = self.record.operation.is_some();
        let first = self.record.generations.is_empty();
        self.end_pause()?;
        self.look()?;
        self.reach().await?;
        self.observe().await?;
        if self.is_paused() {
            self.waits
                .push(String::from("the end of the pause, or `steadfast resume`"));
        }
        if self.is_let_go() {
            self.waits.push(self.an_entry());
        } else if !interrupted {
            self.sightings.take_for_old();
            self.decide_and_act(true).await?;
        }
        self.compare()?;
        let begun = self.record.operation.clone().filter(|_| !interrupted);
        if let Some(open) = begun {
            self.next = Some(self.would_do(open)?);
            self.record.operation = None;
        }
        Ok(Foreseen {
            snapshot: self.snapshot(),
            first,
        })
    }

    /// Sees what would be done if the stack were not paused, or what keeps it from being done then too.
    pub(super) async fn look_past_the_pause(&mut self) -> Result<(), Stop> {
        if self.drift.is_empty() && self.record.standing != Standing::Pending {
            return Ok(());
        }
        // A whole stack lives in it: not within every pass.
        let foreseen = Box::pin(foresee(
            &self.settings,
            &self.matrix,
            &self.edges,
            self.wish.clone(),
        ));
        let Snapshot { next, record, .. } = foreseen.await?.snapshot;
        let stack = &self.settings.name;
        if let (None, Standing::Quarantined(number)) = (&next, record.standing)
            && record.quarantine.iter().any(|q| q.generation == number)
        {
            self.waits.push(format!(
                "`steadfast retry {stack}`: what is asked for is in quarantine since generation {number} failed"
            ));
        }
        self.next = next;
        Ok(())
    }

    fn would_do(&self, open: OpenOperation) -> Result<Next, Stop> {
        let operation = open.operation;
        let wanted = match operation.generation {
            Some(number) => self.load_wanted(number)?,
            None => None,
        };
        let drift = wanted.map(|wanted| self.drift_from(&wanted)).unwrap_or_default();
        Ok(Next {
            kind: operation.kind,
            generation: operation.generation,
            why: operation.why.clone(),
            plan: operation.plan.clone(),
            because: drift.iter().map(Difference::of).collect(),
            resolved: self.record.resolved.clone(),
        })
    }
}
