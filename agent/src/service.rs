//! What the service manager is told (`sd_notify(3)`): ready, what is being done, alive, stopping. All of it is said by the
//! daemon's own loop. Nothing here decides anything about a stack.

use std::sync::Arc;
use std::time::Duration;

use state::decide::span;
use state::name::StackName;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::shared::Shared;
use crate::view::Status;

mod hearts;
mod line;
mod notify;

pub use hearts::{Heart, Hearts, felt};
pub use notify::Notify;

/// What says where the service manager listens, and what it expects.
const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The start is over by then, whatever was not seen yet: an engine that is still starting must not fail the unit.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What could not be told is told again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Nothing is due for so long at most.
const SELDOM: Duration = Duration::from_secs(60 * 60);

/// A child that is told nothing of what the service manager has told us: it is not what is watched.
pub fn untold(child: &mut Command) -> &mut Command {
    for variable in VARIABLES {
        child.env_remove(variable);
    }
    child
}

/// How far the daemon is, as the service manager knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not every stack was looked at; this is waited for until then.
    Starting(Instant),
    /// It was told that the daemon is ready.
    Ready,
    /// It was told that the daemon stops.
    Stopping,
}

/// The daemon's side of the service manager.
#[derive(Debug)]
pub struct Service {
    /// `None`: nobody wants to know.
    to: Option<Notify>,
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    phase: Phase,
    /// The last status that was told.
    said: String,
    /// When it is tried again to tell what could not be told.
    again: Option<Instant>,
    fed: Option<Instant>,
    /// The stack whose loop is stuck, once that was logged.
    stuck: Option<StackName>,
}

impl Service {
    /// Of what runs under a service manager, where `to` names one.
    pub fn new(to: Option<Notify>, shared: Arc<Shared>) -> Self {
        let changes = shared.changes();
        Self {
            to,
            shared,
            changes,
            phase: Phase::Starting(Instant::now() + READY_WITHIN),
            said: String::new(),
            again: None,
            fed: None,
            stuck: None,
        }
    }

    /// Comes back when something may have to be told. Cancel-safe: nothing is taken before it is told.
    pub async fn next(&mut self) {
        if self.to.is_none() {
            return std::future::pending().await;
        }
        let due = self.due();
        tokio::select! {
            // Cancel-safe: a watch loses no value.
            Ok(()) = self.changes.changed(), if self.again.is_none() => {}
            // Cancel-safe: a dropped sleep leaves nothing behind.
            () = sleep_until(due) => {}
        }
    }

    /// Tells what there is to be told now.
    pub fn turn(&mut self) {
        self.turn_at(Instant::now());
    }

    fn turn_at(&mut self, now: Instant) {
        self.again = None;
        let unseen = self.shared.hearts().unseen();
        if let Phase::Starting(until) = self.phase
            && (unseen.is_empty() || now >= until)
        {
            self.be_ready(&unseen);
        }
        self.tell_status(&unseen);
        self.feed(now);
    }

    /// It was asked to look at everything again, and begins to.
    pub fn reloads(&mut self) {
        if self.phase == Phase::Ready {
            let since = notify::monotonic_microseconds();
            self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={since}"));
        }
    }

    /// It has been handed on that everything is to be looked at again.
    pub fn reloaded(&mut self) {
        if self.phase == Phase::Ready && !self.tell("READY=1") {
            // Told again in the next turn: a reload that never ends would be one that failed.
            self.phase = Phase::Starting(Instant::now());
        }
    }

    /// It stops. From here on the time for that is what counts, and no watchdog.
    pub fn stops(&mut self) {
        self.phase = Phase::Stopping;
        self.tell("STOPPING=1\nSTATUS=stopping: a step in flight is finished, or left to the journal");
    }

    fn be_ready(&mut self, unseen: &[StackName]) {
        let status = self.status(unseen);
        if self.tell(&format!("READY=1\nSTATUS={status}")) {
            self.phase = Phase::Ready;
            self.said = status;
        }
        if !unseen.is_empty() {
            tracing::warn!("ready, though not every stack could be looked at: {}", self.said);
        }
    }

    fn tell_status(&mut self, unseen: &[StackName]) {
        if self.to.is_none() || self.phase == Phase::Stopping {
            return;
        }
        let status = self.status(unseen);
        if status != self.said && self.tell(&format!("STATUS={status}")) {
            self.said = status;
        }
    }

    /// Feeds the watchdog, as long as the loop of every stack is alive.
    fn feed(&mut self, now: Instant) {
        let Some(every) = self.to.as_ref().and_then(Notify::feeding) else {
            return;
        };
        if self.fed.is_some_and(|at| now < at + every) {
            return;
        }
        match self.shared.hearts().stuck(now) {
            None => {
                self.stuck = None;
                if self.tell("WATCHDOG=1") {
                    self.fed = Some(now);
                }
            }
            Some((stack, silent)) => {
                if self.stuck.as_ref() != Some(&stack) {
                    tracing::error!(%stack, "its loop has not moved for {}: the watchdog is not fed any more", span(silent));
                }
                self.stuck = Some(stack);
                // It may move again in time.
                self.again = Some(now + AGAIN);
            }
        }
    }

    fn due(&self) -> Instant {
        if let Some(again) = self.again {
            return again;
        }
        let now = Instant::now();
        let first = self.said.is_empty().then_some(now);
        let feeding = self.to.as_ref().and_then(Notify::feeding);
        let feed = feeding.map(|every| self.fed.map_or(now, |at| at + every));
        let ready = match self.phase {
            Phase::Starting(until) => Some(until),
            Phase::Ready | Phase::Stopping => None,
        };
        let dues = [Some(now + SELDOM), first, feed, ready];
        dues.into_iter().flatten().min().unwrap_or(now)
    }

    fn status(&self, unseen: &[StackName]) -> String {
        let version = self.shared.version();
        let all = self.shared.all();
        let stacks = all.iter().map(|snapshot| {
            let seen = !unseen.contains(&snapshot.record.stack);
            (Status::of(snapshot, &self.shared, version), seen)
        });
        line::of(&stacks.collect::<Vec<_>>())
    }

    /// Whether it could be told. The service manager may be busy: it is told again then.
    fn tell(&mut self, what: &str) -> bool {
        let Some(to) = &self.to else {
            return true;
        };
        let told = to.send(what);
        if let Err(error) = &told {
            tracing::debug!("the service manager is not told: {error}");
            self.again = Some(Instant::now() + AGAIN);
        }
        told.is_ok()
    }
}

#[cfg(test)]
mod tests;
