//! Moments, as arguments. Nothing here reads a clock.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One instant on both clocks: the wall for people, `CLOCK_BOOTTIME` for measuring. Durations are
/// only ever taken on the boot clock, and only within one boot (invariant 15).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds since the Unix epoch, UTC. For people only.
    pub wall_ms: i64,
    /// Milliseconds of `CLOCK_BOOTTIME`.
    pub boot_ms: u64,
    /// `/proc/sys/kernel/random/boot_id`: boot times of two boots cannot be compared.
    pub boot_id: Arc<str>,
}

impl Moment {
    /// How long ago `earlier` was on the boot clock; `None` when it was in another boot.
    pub fn since(&self, earlier: &Moment) -> Option<Duration> {
        (self.boot_id == earlier.boot_id)
            .then(|| Duration::from_millis(self.boot_ms.saturating_sub(earlier.boot_ms)))
    }

    /// How long ago `earlier` was; by the wall clock, never negative, where the host was rebooted between.
    pub fn since_or_wall(&self, earlier: &Moment) -> Duration {
        self.since(earlier).unwrap_or_else(|| {
            Duration::from_millis(u64::try_from(self.wall_ms.saturating_sub(earlier.wall_ms)).unwrap_or(0))
        })
    }

    /// How long ago `earlier` was at least, whatever was done to the wall clock: what was before this boot is as old as
    /// this boot.
    pub fn surely_since(&self, earlier: &Moment) -> Duration {
        self.since(earlier)
            .unwrap_or_else(|| Duration::from_millis(self.boot_ms))
    }

    /// How long it is until `later`; zero when it is past. By the wall clock where the host was rebooted between.
    pub fn until(&self, later: &Moment) -> Duration {
        if self.boot_id == later.boot_id {
            return Duration::from_millis(later.boot_ms.saturating_sub(self.boot_ms));
        }
        Duration::from_millis(u64::try_from(later.wall_ms.saturating_sub(self.wall_ms)).unwrap_or(0))
    }

    /// The moment `by` later on both clocks.
    #[must_use]
    pub fn plus(&self, by: Duration) -> Moment {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Moment {
            wall_ms: self.wall_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)),
            boot_ms: self.boot_ms.saturating_add(ms),
            boot_id: self.boot_id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot: &str, wall_ms: i64, boot_ms: u64) -> Moment {
        Moment {
            wall_ms,
            boot_ms,
            boot_id: boot.into(),
        }
    }

    #[test]
    fn what_was_before_this_boot_is_surely_as_old_as_the_boot() {
        let then = at("a", 10_000, 5_000);
        let surely = |now: &Moment| now.surely_since(&then).as_millis();
        assert_eq!(surely(&at("a", 86_400_000, 6_000)), 1_000);
        assert_eq!(surely(&at("b", 86_400_000, 700)), 700);
        assert_eq!(surely(&at("b", -86_400_000, 0)), 0);
    }

    #[test]
    fn what_is_to_come_is_measured_within_a_boot_and_by_the_wall_across() {
        let until = |now: &Moment, later: &Moment| now.until(later).as_millis();
        let term = at("a", 10_000, 5_000);
        assert_eq!(until(&at("a", 9_000, 4_000), &term), 1_000);
        assert_eq!(
            until(&at("a", -80_000, 4_000), &term),
            1_000,
            "a jump of the wall clock is nothing"
        );
        assert_eq!(until(&at("a", 90_000, 5_001), &term), 0);
        assert_eq!(
            until(&at("b", 4_000, 90_000), &term),
            6_000,
            "another boot's clock says nothing"
        );
        assert_eq!(until(&at("b", 10_000, 0), &term), 0);
    }
}
