//! How long to wait before the next try. No waiting is done here, and no limit in time is kept:
//! who gives up, and when, is policy.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// The waits between tries: from one second, doubled each time, up to five minutes.
#[derive(Debug, Clone)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// The first wait.
    pub const FIRST: Duration = Duration::from_secs(1);
    /// The longest wait, before the spread.
    pub const LONGEST: Duration = Duration::from_secs(5 * 60);

    /// Each wait is spread at random by `spread` in both directions (0.0: not at all; 0.5: by half),
    /// so that many stacks do not try at one time.
    pub fn new(spread: f64) -> Self {
        let mut inner = ExponentialBackoff {
            current_interval: Self::FIRST,
            initial_interval: Self::FIRST,
            randomization_factor: spread.clamp(0.0, 1.0),
            multiplier: 2.0,
            max_interval: Self::LONGEST,
            // It would give up after a quarter of an hour of real time otherwise.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        inner.reset();
        Self(inner)
    }

    /// The wait before the next try, one step longer than the last.
    #[allow(clippy::should_implement_trait, reason = "it never ends, and is no iterator")]
    pub fn next(&mut self) -> Duration {
        // The crate spreads by a nanosecond more than it is told, and rounds up.
        let longest = Self::LONGEST.mul_f64(1.0 + self.0.randomization_factor);
        self.0.next_backoff().unwrap_or(Self::LONGEST).min(longest)
    }

    /// A try was lucky: the next wait is the first one again.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_never_end() {
        let mut backoff = Backoff::new(0.0);
        let waits: Vec<u64> = (0..12).map(|_| backoff.next().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        backoff.reset();
        assert_eq!(backoff.next(), Backoff::FIRST);
        assert!((0..2000).all(|_| backoff.next() <= Backoff::LONGEST));
    }

    #[test]
    fn waits_are_spread_within_their_bounds() {
        let firsts: Vec<Duration> = (0..200).map(|_| Backoff::new(0.5).next()).collect();
        let bounds = Duration::from_millis(500)..=Duration::from_millis(1500);
        assert!(firsts.iter().all(|wait| bounds.contains(wait)), "{firsts:?}");
        assert!(firsts.iter().any(|wait| wait != &firsts[0]), "not spread at all");
    }
}
