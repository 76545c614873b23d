//! How much is recorded of those who are refused, or do not keep to the protocol: so much of each user that whoever keeps on
//! fills neither the log nor the ledger, where it would stand in the place of what was done.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many lines of one user's are logged in a [`MINUTE`].
const LOGGED: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// So many of one user's go into the ledger in a [`DAY`]: it keeps a thousand acts of a stack.
const WRITTEN: u32 = 10;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// So many users are counted each for themselves, the others together.
const USERS: usize = 64;
/// No user has this number.
const OTHERS: u32 = u32::MAX;

/// What was recorded of each user lately.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<u32, Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    log: Window,
    ledger: Window,
}

/// So many since then, and so many more that were not recorded.
#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    count: u32,
    left_out: u32,
}

impl Refusals {
    /// Whether another line about `uid` is logged, and how many were left out before it.
    pub(super) fn log(&self, uid: u32, now: Instant) -> Option<u32> {
        self.with(uid, |recorded| recorded.log.take(now, MINUTE, LOGGED))
    }

    /// Whether another refusal of `uid` is written down.
    pub(super) fn write(&self, uid: u32, now: Instant) -> bool {
        self.with(uid, |recorded| recorded.ledger.take(now, DAY, WRITTEN).is_some())
    }

    fn with<T>(&self, uid: u32, ask: impl FnOnce(&mut Recorded) -> T) -> T {
        // Counters: a panic elsewhere leaves them whole.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = all.contains_key(&uid) || all.len() < USERS;
        ask(all.entry(if has_room { uid } else { OTHERS }).or_default())
    }
}

impl Window {
    fn take(&mut self, now: Instant, span: Duration, most: u32) -> Option<u32> {
        let is_over = |since: Instant| now.duration_since(since) >= span;
        if self.since.is_none_or(is_over) {
            (self.since, self.count) = (Some(now), 0);
        }
        if self.count >= most {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.count += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_keeps_on_fills_neither_the_log_nor_the_ledger() {
        let (refusals, begun) = (Refusals::default(), Instant::now());
        let logged = (0..1000).filter_map(|_| refusals.log(4242, begun));
        assert_eq!(logged.collect::<Vec<_>>(), [0; 10]);
        // Others are not silenced by it.
        assert_eq!(refusals.log(4243, begun), Some(0));
        assert_eq!(refusals.log(4242, begun + MINUTE), Some(990));
        assert_eq!(refusals.log(4242, begun + MINUTE), Some(0));
        let written = (0..1000).filter(|_| refusals.write(4242, begun));
        assert_eq!(written.count(), 10);
        assert!(!refusals.write(4242, begun + DAY / 2));
        assert!(refusals.write(4242, begun + DAY));
    }

    #[test]
    fn many_users_are_counted_together() {
        let (refusals, begun) = (Refusals::default(), Instant::now());
        let logged = (0..10_000).filter(|uid| refusals.log(*uid, begun).is_some());
        assert_eq!(logged.count(), USERS + 10);
        assert!(refusals.0.lock().unwrap_or_else(PoisonError::into_inner).len() <= USERS + 1);
    }
}
