//! Whether the loop of each stack is alive: it marks that it moves, that it turns, and how long it means to sleep. Why one
//! is stuck is not known here, and nothing is done about it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use state::name::StackName;
use tokio::time::Instant;

/// A loop that is not asleep moves at least this often: whatever it waits for has a deadline, and the longest of these is
/// the five minutes that Git may take to put a repository in order.
pub(super) const SILENCE: Duration = Duration::from_secs(6 * 60);
/// And turns at least this often: a pass is many calls, each of which may be slow, but it comes to an end.
pub(super) const PASS: Duration = Duration::from_secs(30 * 60);

/// The heart of one stack's loop.
#[derive(Debug)]
pub struct Heart(Mutex<Beats>);

#[derive(Debug, Clone, Copy)]
struct Beats {
    /// When something came that it had waited for.
    moved: Instant,
    /// When its loop last turned; while it sleeps, until when.
    turned: Instant,
    /// Whether a pass has seen the whole stack.
    seen: bool,
}

impl Heart {
    fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(Beats {
            moved: now,
            turned: now,
            seen: false,
        }))
    }

    /// It sleeps for so long, unless it is woken before.
    pub fn sleeps(&self, by: Duration) {
        let now = Instant::now();
        self.beats().turned = now.checked_add(by).unwrap_or(now);
    }

    /// It is awake, and begins another turn.
    pub fn turns(&self) {
        self.beats().turned = Instant::now();
    }

    /// A pass has seen the whole stack.
    pub fn sees(&self) {
        self.beats().seen = true;
    }

    fn moves(&self) {
        self.beats().moved = Instant::now();
    }

    /// How long it has been silent, where that is too long.
    fn is_stuck(&self, now: Instant) -> Option<Duration> {
        let beats = *self.beats();
        let silent = now.saturating_duration_since(beats.moved.max(beats.turned));
        let turning = now.saturating_duration_since(beats.turned);
        (silent > SILENCE || turning > PASS).then_some(silent.max(turning))
    }

    fn beats(&self) -> MutexGuard<'_, Beats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `body`, which moves its heart whenever something comes that it has waited for.
pub async fn felt<T>(heart: &Heart, body: impl Future<Output = T>) -> T {
    let mut body = pin!(body);
    std::future::poll_fn(|context| {
        heart.moves();
        body.as_mut().poll(context)
    })
    .await
}

/// The hearts of all stacks.
#[derive(Debug, Default)]
pub struct Hearts(Mutex<BTreeMap<StackName, Arc<Heart>>>);

impl Hearts {
    /// The one of `stack`.
    pub fn of(&self, stack: &StackName) -> Arc<Heart> {
        let mut all = self.all();
        let heart = all.entry(stack.clone()).or_insert_with(|| Arc::new(Heart::new()));
        Arc::clone(heart)
    }

    /// The stacks that no pass has seen yet.
    pub fn unseen(&self) -> Vec<StackName> {
        let all = self.all();
        let unseen = all.iter().filter(|(_, heart)| !heart.beats().seen);
        unseen.map(|(stack, _)| stack.clone()).collect()
    }

    /// The first stack whose loop is stuck, and for how long it has been.
    pub fn stuck(&self, now: Instant) -> Option<(StackName, Duration)> {
        let all = self.all();
        all.iter()
            .find_map(|(stack, heart)| Some((stack.clone(), heart.is_stuck(now)?)))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<StackName, Arc<Heart>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
