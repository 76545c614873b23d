//! What wakes one stack, in the order in which it came. Nothing here knows what is made of it.

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

/// The ends at which a stack hears.
pub struct Inbox {
    /// From the daemon's loop.
    pub(super) nudges: mpsc::Receiver<Nudge>,
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
    pub fn new(room: usize) -> (mpsc::Sender<Nudge>, Self) {
        let (nudge, nudges) = mpsc::channel(room);
        let (to_answers, answers) = mpsc::unbounded_channel();
        let inbox = Self {
            nudges,
            answers,
            to_answers,
        };
        (nudge, inbox)
    }

    /// Where probes answer.
    pub(super) fn for_answers(&self) -> mpsc::UnboundedSender<Answered> {
        self.to_answers.clone()
    }

    /// The next thing; `None`: nobody nudges any more. Cancel-safe: what is not returned stays.
    pub async fn next(&mut self) -> Option<Heard> {
        tokio::select! {
            biased;
            // Cancel-safe: a message is taken only when it is returned.
            nudge = self.nudges.recv() => nudge.map(Heard::Nudge),
            // Cancel-safe, likewise. It never ends: its other end is held here.
            Some(answer) = self.answers.recv() => Some(Heard::Answer(answer)),
        }
    }

    /// The next thing that is here already.
    pub fn try_next(&mut self) -> Option<Heard> {
        let nudge = self.nudges.try_recv().map(Heard::Nudge);
        nudge.or_else(|_| self.answers.try_recv().map(Heard::Answer)).ok()
    }
}
