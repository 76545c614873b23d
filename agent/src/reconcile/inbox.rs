//! What wakes one stack, in the order in which it came. Nothing here knows what is made of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::{Answered, Wish};
use crate::shared::Order;

/// What wakes a stack.
#[derive(Debug)]
pub enum Nudge {
    /// desired.toml says this.
    Wish(Wish),
    /// Some file changed, or somebody asked to look.
    LookAgain,
    /// Some container changed.
    Containers,
    /// A person asks.
    Order(Order),
}

/// So many orders wait at a time.
const MAX_ORDERS: usize = 16;

/// Where a stack is nudged. What waits already is not kept twice, so that there is always room, however long the stack
/// is at work: nobody who nudges waits.
#[derive(Debug, Clone)]
pub struct Nudges {
    waiting: Waiting,
    /// One is enough: whoever hears it takes all that waits.
    bell: mpsc::Sender<()>,
}

type Waiting = Arc<Mutex<VecDeque<Nudge>>>;

impl Nudges {
    /// Nudges. `Err` gives an order back that there are too many before.
    pub fn give(&self, nudge: Nudge) -> Result<(), Box<Order>> {
        let mut waiting = lock(&self.waiting);
        let is_order = |nudge: &Nudge| matches!(nudge, Nudge::Order(_));
        match nudge {
            Nudge::Order(order) if waiting.iter().filter(|other| is_order(other)).count() >= MAX_ORDERS => {
                return Err(Box::new(order));
            }
            Nudge::Order(_) => {}
            // The newest is what is wished for.
            Nudge::Wish(_) => waiting.retain(|other| !matches!(other, Nudge::Wish(_))),
            Nudge::LookAgain => waiting.retain(|other| !matches!(other, Nudge::LookAgain)),
            Nudge::Containers => waiting.retain(|other| !matches!(other, Nudge::Containers)),
        }
        waiting.push_back(nudge);
        drop(waiting);
        // A bell that was rung already, or that nobody hears any more.
        let _ = self.bell.try_send(());
        Ok(())
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, VecDeque<Nudge>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What [`Nudges`] gives.
pub(super) struct Nudged {
    waiting: Waiting,
    bell: mpsc::Receiver<()>,
}

impl Nudged {
    /// The next one; `None`: nobody nudges any more. Cancel-safe: between the bell and what is taken nothing is waited
    /// for, and a bell that was heard in vain rang for what the next look finds without it.
    pub(super) async fn next(&mut self) -> Option<Nudge> {
        loop {
            if let Some(nudge) = lock(&self.waiting).pop_front() {
                return Some(nudge);
            }
            if self.bell.recv().await.is_none() {
                return lock(&self.waiting).pop_front();
            }
        }
    }
}

/// The ends at which a stack hears.
pub struct Inbox {
    /// From the daemon's loop.
    pub(super) nudges: Nudged,
    /// From the probes.
    pub(super) answers: mpsc::UnboundedReceiver<Answered>,
    to_answers: mpsc::UnboundedSender<Answered>,
}

/// One thing that was heard.
#[derive(Debug)]
pub enum Heard {
    /// A nudge.
    Nudge(Nudge),
    /// The answer of a probe.
    Answer(Answered),
}

impl Inbox {
    /// An inbox, and where it is nudged.
    #[allow(clippy::new_ret_no_self, reason = "both ends are made at once")]
    pub fn new() -> (Nudges, Self) {
        let waiting = Waiting::default();
        let (ring, bell) = mpsc::channel(1);
        let (to_answers, answers) = mpsc::unbounded_channel();
        let nudges = Nudges {
            waiting: Arc::clone(&waiting),
            bell: ring,
        };
        let inbox = Self {
            nudges: Nudged { waiting, bell },
            answers,
            to_answers,
        };
        (nudges, inbox)
    }

    /// Where probes answer.
    pub(super) fn for_answers(&self) -> mpsc::UnboundedSender<Answered> {
        self.to_answers.clone()
    }

    /// The next thing; `None`: nobody nudges any more. Cancel-safe: what is not returned stays.
    pub async fn next(&mut self) -> Option<Heard> {
        tokio::select! {
            biased;
            // Cancel-safe: a nudge is taken only when it is returned.
            nudge = self.nudges.next() => nudge.map(Heard::Nudge),
            // Cancel-safe, likewise. It never ends: its other end is held here.
            Some(answer) = self.answers.recv() => Some(Heard::Answer(answer)),
        }
    }

    /// The next thing that is here already.
    pub fn try_next(&mut self) -> Option<Heard> {
        let nudge = lock(&self.nudges.waiting).pop_front().map(Heard::Nudge);
        nudge.or_else(|| self.answers.try_recv().map(Heard::Answer).ok())
    }
}

#[cfg(test)]
mod tests;
