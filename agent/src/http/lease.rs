//! How long a connection may live. Whoever answers something that takes longer prolongs it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The deadline of one connection.
#[derive(Debug, Clone)]
pub(super) struct Lease(watch::Sender<Instant>);

impl Lease {
    pub(super) fn new(within: Duration) -> Self {
        Self(watch::Sender::new(Instant::now() + within))
    }

    /// From now on so long.
    pub(super) fn prolong(&self, within: Duration) {
        self.0.send_replace(Instant::now() + within);
    }

    /// Comes back when it is over.
    pub(super) async fn over(&self) {
        let mut prolonged = self.0.subscribe();
        loop {
            let until = *prolonged.borrow_and_update();
            tokio::select! {
                // Cancel-safe, both: a dropped sleep leaves nothing behind, and a watch loses no value.
                () = sleep_until(until) => return,
                _ = prolonged.changed() => {}
            }
        }
    }
}
