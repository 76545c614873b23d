//! The clock, as a trait: the only place of the daemon that reads the time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustix::time::{ClockId, Timespec, clock_gettime};
use state::time::Moment;

/// Tells the time and waits.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The present moment, on both clocks.
    fn now(&self) -> Moment;
    /// Comes back after `by`. Cancel-safe: a dropped sleep leaves nothing behind.
    async fn sleep(&self, by: Duration);
}

/// The clocks of this host.
#[derive(Debug, Clone)]
pub struct SystemClock {
    boot_id: Arc<str>,
}

impl SystemClock {
    const BOOT_ID: &'static str = "/proc/sys/kernel/random/boot_id";

    /// Reads which boot this is; it cannot change while the process lives.
    pub fn new() -> io::Result<Self> {
        let name = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", Self::BOOT_ID));
        let boot_id = std::fs::read_to_string(Self::BOOT_ID).map_err(name)?;
        Ok(Self {
            boot_id: boot_id.trim().into(),
        })
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment {
            wall_ms: millis(clock_gettime(ClockId::Realtime)),
            boot_ms: u64::try_from(millis(clock_gettime(ClockId::Boottime))).unwrap_or(0),
            boot_id: Arc::clone(&self.boot_id),
        }
    }

    async fn sleep(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}

fn millis(time: Timespec) -> i64 {
    time.tv_sec
        .saturating_mul(1000)
        .saturating_add(time.tv_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::SystemTime;

    use super::*;

    #[test]
    fn now_is_on_both_clocks_of_this_boot() {
        let clock = SystemClock::new().unwrap();
        let (first, second) = (clock.now(), clock.now());
        assert_eq!(first.boot_id.len(), 36, "{first:?}");
        assert!(first.since(&second).is_some() && second.boot_ms >= first.boot_ms);
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let apart = i64::try_from(wall.as_millis()).unwrap() - second.wall_ms;
        assert!((0..60_000).contains(&apart), "{apart} ms apart");
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
        let boot = Duration::from_millis(second.boot_ms).as_secs_f64();
        assert!((seconds - boot).abs() < 60.0, "{seconds} and {boot}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_sleep_lasts() {
        let clock = SystemClock::new().unwrap();
        let before = clock.now();
        clock.sleep(Duration::from_millis(20)).await;
        assert!(clock.now().since(&before).unwrap() >= Duration::from_millis(19));
    }
}
