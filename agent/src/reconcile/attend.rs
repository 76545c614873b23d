//! An operation, and what goes on beside it: the probes are asked, files are looked at, persons are
//! heard. At most one operation is open; what is more urgent calls it away, and begins after its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use state::common::Common;
use state::drift::Wanted;
use state::journal::{Kind, OpenOperation, Operation};
use state::ledger::LedgerError;
use state::operation::Halt;
use state::stack_spec::StackSpec;
use tokio::sync::watch;

use super::inbox::Nudge;
use super::{Stack, Stop};
use crate::backup::Progress;
use crate::execute::{Executor, Work};

/// How often it is shown how far a long step is.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// What became of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It is done; or the daemon stops, and the journal says how far it came.
    Done,
    /// It failed.
    Failed {
        /// Why.
        why: String,
        /// Whether trying again could help.
        passing: bool,
        /// Whether something that it had started is what failed.
        died: bool,
    },
    /// It was taken back because something more urgent waits. Nothing is said about anything.
    GaveWay,
}

/// Calls an operation away, at most once.
pub(super) struct Call(watch::Sender<Option<String>>);

impl Call {
    fn new() -> (Self, watch::Receiver<Option<String>>) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), receiver)
    }

    /// The first reason stays.
    pub(super) fn away(&self, why: &str) {
        self.0.send_if_modified(|reason| {
            let first = reason.is_none();
            if first {
                *reason = Some(why.to_owned());
            }
            first
        });
    }

    fn is_out(&self) -> bool {
        self.0.borrow().is_some()
    }
}

/// A generation, whole; `None`: there is none.
type Loaded = Option<Wanted>;

/// Whether what runs during such an operation is what is judged: its probes are asked, and count.
/// What a deploy or a rollback brings up is watched from its end on.
fn is_watched(kind: Kind) -> bool {
    matches!(kind, Kind::Heal | Kind::Fetch | Kind::Backup)
}

impl Stack {
    /// Carries the open operation out, or on, and concludes it.
    pub(super) async fn carry_on(&mut self) -> Result<End, Stop> {
        let Some(mut open) = self.record.operation.clone().filter(|_| !self.only_looks) else {
            return Ok(End::Done);
        };
        let operation = open.operation.clone();
        let (wanted, asked, left) = self.made_of(&operation)?;
        let (database, values) = (self.settings.database.clone(), self.env_values());
        let lookup = |key: &str| values.get(key).cloned();
        let compose_files = self.inputs.as_ref().map_or_else(
            || self.settings.compose.paths(),
            |inputs| inputs.compose_files.clone(),
        );
        let (edges, stop, directory) = (
            self.edges.clone(),
            self.stop.clone(),
            self.settings.directory.clone(),
        );
        let (call, called) = Call::new();
        self.call_away_again(operation.kind, &call);
        let (told, mut progress) = watch::channel(open.clone());
        let (counts, mut counted) = watch::channel(None);
        let (says, mut said) = watch::channel(None);
        let count = |progress| {
            counts.send_replace(Some(progress));
        };
        let say = |why| drop(says.send_replace(why));
        let executor = Executor {
            engine: &*edges.engine,
            store: &*edges.store,
            files: &*edges.files,
            source: edges.source.as_deref(),
            clock: &*edges.clock,
            stop: &stop,
            called: &called,
            stack: &self.settings.name.clone(),
            spec: wanted.as_ref().map(|w| &*w.spec),
            dialect: self.dialect(),
            directory: &directory,
            compose_files: &compose_files,
            // Between two agents nobody looks: the host may have been down.
            unseen: AtomicUsize::new(open.events.len()),
            work: database.as_ref().map(|settings| Work {
                settings,
                env: &lookup,
                database: &*edges.database,
                maintenance: &*edges.maintenance,
                backups: &*edges.backups,
                rows: &*edges.rows,
                taken_back: self.record.taken_back.clone(),
                tell: &count,
                says: &say,
                to: wanted.as_ref().map(|w| &*w.spec).or(asked.as_deref()),
                from: left.as_ref().map(|w| &*w.spec),
            }),
            tell: &|open: &OpenOperation| drop(told.send_replace(open.clone())),
        };
        let halt = {
            // On the heap: an operation is rare, and every pass has room for it.
            let mut carrying = Box::pin(executor.carry_out(&mut open));
            self.beside(
                operation.kind,
                carrying.as_mut(),
                &mut progress,
                (&mut counted, &mut said),
                &call,
            )
            .await
        };
        self.heart.turns();
        self.progress = None;
        self.held_up = None;
        self.backups_at = None;
        self.beside_at = None;
        // However that ended, this is how far the journal goes, and this is what its steps have written down.
        self.record.operation = Some(open);
        if let Some(open) = self.record.operation.clone() {
            self.note_fetched(&open);
        }
        let halt = halt.inspect_err(|stop| {
            if let Stop::Ledger(error) = stop {
                self.note_unsure(error);
            }
        })?;
        let known = self.edges.store.load(&self.settings.name)?;
        self.record.carried = known.carried;
        self.record.barred = known.barred;
        self.record.unseen = known.unseen;
        self.record.written = known.written;
        self.record.taken_back = known.taken_back;
        self.record.placed = known.placed;
        self.record.replaced = known.replaced;
        if let (Some(Halt::Done), Some(open)) = (&halt, self.record.operation.clone()) {
            let made = self.volumes_made(&open).await?;
            self.commit_urgent(&made)?;
        }
        self.conclude(&operation, halt, call.is_out())
    }

    /// What an operation goes to, what is asked for, and what it leaves.
    fn made_of(&self, operation: &Operation) -> Result<(Loaded, Option<Common<StackSpec>>, Loaded), Stop> {
        let wanted = match operation.generation {
            Some(number) => self.load_wanted(number)?,
            None => None,
        };
        // What is read of an image is run as its service is asked for; what a release leaves, as it is.
        let asked = match (&wanted, &self.record.request) {
            (None, Some(request)) => self.load_spec(&request.spec)?,
            _ => None,
        };
        let left = match (operation.kind, self.record.current) {
            (Kind::Deploy | Kind::Rollback, Some(number)) => self.load_wanted(number)?,
            _ => None,
        };
        Ok((wanted, asked, left))
    }

    /// What goes on beside an operation until it comes to an end.
    async fn beside(
        &mut self,
        kind: Kind,
        mut carrying: Pin<&mut (impl Future<Output = Result<Option<Halt>, LedgerError>> + Send)>,
        progress: &mut watch::Receiver<OpenOperation>,
        (counted, said): (
            &mut watch::Receiver<Option<Progress>>,
            &mut watch::Receiver<Option<String>>,
        ),
        call: &Call,
    ) -> Result<Option<Halt>, Stop> {
        let clock = Arc::clone(&self.edges.clock);
        let mut look_at = self.now().plus(self.next_look(kind));
        loop {
            let wait = self.now().until(&look_at);
            self.heart.sleeps(wait);
            tokio::select! {
                biased;
                // Cancel-safe: it is polled again where it was.
                halt = &mut carrying => return Ok(halt?),
                // Cancel-safe: a watch loses no value.
                Ok(()) = progress.changed() => {
                    self.record.operation = Some(progress.borrow_and_update().clone());
                    self.progress = None;
                    self.publish();
                }
                // Cancel-safe, likewise.
                Ok(()) = counted.changed() => self.count_on(*counted.borrow_and_update()),
                // Cancel-safe, likewise.
                Ok(()) = said.changed() => {
                    self.held_up.clone_from(&said.borrow_and_update());
                    self.publish();
                }
                // Cancel-safe: a message is taken only when it is returned.
                Some(nudge) = self.inbox.nudges.next() => {
                    self.hear(nudge, kind, call).await;
                    look_at = self.now();
                }
                // Cancel-safe, likewise.
                Some(answer) = self.inbox.answers.recv(), if is_watched(kind) => {
                    if self.answered(answer) {
                        look_at = self.now();
                    }
                }
                // Cancel-safe: a dropped sleep leaves nothing behind.
                () = clock.sleep(wait) => {
                    self.look_beside(kind, call).await?;
                    look_at = self.now().plus(self.next_look(kind));
                }
            }
        }
    }

    /// How far a long step is, shown now and then.
    fn count_on(&mut self, progress: Option<Progress>) {
        let stage = |progress: &Option<Progress>| progress.map(|progress| progress.stage);
        let now = self.now();
        let lately = self.counted_at.as_ref().and_then(|at| now.since(at));
        let same = stage(&progress) == stage(&self.progress);
        self.progress = progress;
        if !same || lately.is_none_or(|age| age >= SHOWN_EVERY) {
            self.counted_at = Some(now);
            self.publish();
        }
    }

    /// How long until the next look beside an operation.
    fn next_look(&self, kind: Kind) -> Duration {
        let mut next = self.settle_left.unwrap_or(self.resync).min(self.resync);
        if is_watched(kind) {
            let shortest = self.policies.iter().map(|p| p.interval).min();
            next = next.min(self.next_question()).min(shortest.unwrap_or(next));
        }
        next.max(Duration::from_millis(20))
    }

    /// Takes a nudge while an operation is open.
    async fn hear(&mut self, nudge: Nudge, kind: Kind, call: &Call) {
        self.heart.turns();
        match nudge {
            Nudge::Order(order) => self.order_beside(order, kind, call).await,
            other => self.take(other),
        }
    }

    /// One look beside an operation.
    async fn look_beside(&mut self, kind: Kind, call: &Call) -> Result<(), Stop> {
        self.heart.turns();
        self.waits.clear();
        if is_watched(kind) {
            match self.watch_on(kind, call).await {
                Err(Stop::Engine(error)) => drop(self.engine_away(&error)),
                other => other?,
            }
        }
        // In a pause nothing of it would be begun.
        let waits = kind == Kind::Backup && self.is_paused();
        if kind.gives_way() && !waits && !call.is_out() && self.is_asked_anew() {
            call.away("another release is asked for");
        }
        self.publish();
        Ok(())
    }

    /// Asks and counts as a pass does. When the window has passed, the operation gives way to the rollback;
    /// and what is only fetched, to what has to be healed.
    async fn watch_on(&mut self, kind: Kind, call: &Call) -> Result<(), Stop> {
        self.reach().await?;
        self.wanted()?;
        self.see_containers().await?;
        let counted = self.take_health();
        self.unless_full(counted)?;
        self.ask_due().await;
        if let Some(why) = self.would_go_back()? {
            call.away(&why);
        }
        if matches!(kind, Kind::Fetch | Kind::Backup) && !self.is_let_go() && self.has_new_to_heal().await? {
            call.away("something has to be healed");
        }
        Ok(())
    }
}
