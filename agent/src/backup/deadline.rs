//! What is left of the time that a call was given.

use std::time::{Duration, Instant};

use super::BackupError;

/// What is left when it is over, to leave nothing behind.
pub(super) const CLEAN: Duration = Duration::from_secs(15);

/// When a call has to be over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    what: &'static str,
    begun: Instant,
    within: Duration,
}

impl Deadline {
    pub(crate) fn new(what: &'static str, within: Duration) -> Self {
        Self {
            what,
            begun: Instant::now(),
            within,
        }
    }

    /// How long it has been, in whole milliseconds.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The time that is left; an error where there is none.
    pub(crate) fn left(&self) -> Result<Duration, BackupError> {
        let left = self.within.saturating_sub(self.took());
        if left.is_zero() {
            return Err(self.late());
        }
        Ok(left)
    }

    /// It is over.
    pub(crate) fn late(&self) -> BackupError {
        BackupError::Late {
            what: self.what,
            within: self.within,
        }
    }
}
