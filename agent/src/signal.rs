//! The signals that the daemon knows, as a stream. What is done about them is decided elsewhere.

use std::io;

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What somebody asked for by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: look at the files and at the host again.
    LookAgain,
    /// SIGTERM or SIGINT: end in good order, within a bound.
    Stop,
    /// The same once more while stopping: end at once. What is in the journal is enough.
    StopNow,
}

/// The signals as they come. The process is not ended by them any more as long as this lives.
pub struct Signals {
    inner: signal_hook_tokio::SignalsInfo,
    stopping: bool,
}

impl Signals {
    /// Registers the handlers. To be called within the tokio runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            inner: signal_hook_tokio::Signals::new([SIGHUP, SIGTERM, SIGINT])?,
            stopping: false,
        })
    }

    /// The next one; `None` when the stream was closed. Cancel-safe: a signal is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Signal> {
        let number = self.inner.next().await?;
        Some(self.meaning(number))
    }

    fn meaning(&mut self, number: i32) -> Signal {
        if number == SIGHUP {
            return Signal::LookAgain;
        }
        if std::mem::replace(&mut self.stopping, true) {
            return Signal::StopNow;
        }
        Signal::Stop
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rustix::process::{Signal as Kill, getpid, kill_process};

    use super::*;

    // One test for all: signals are the whole process's, and so is every other `Signals` in it.
    #[tokio::test]
    async fn signals_come_as_they_are_sent_and_the_second_stop_is_at_once() {
        let mut signals = Signals::new().unwrap();
        for (sent, expected) in [
            (Kill::HUP, Signal::LookAgain),
            (Kill::TERM, Signal::Stop),
            (Kill::HUP, Signal::LookAgain),
            (Kill::INT, Signal::StopNow),
            (Kill::TERM, Signal::StopNow),
        ] {
            kill_process(getpid(), sent).unwrap();
            assert_eq!(signals.next().await, Some(expected));
        }
    }
}
