//! The status page as the daemon serves it, of stacks in the situations of the samples.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent::clock::Clock;
use agent::http::{Reading, serve};
use agent::shared::Shared;
use agent::view::sample;
use anyhow::{Context as _, Result, ensure};
use state::name::StackName;
use state::time::Moment;
use steadfast_tests::lab::free_port;
use tokio::sync::oneshot;

/// Three seconds after the samples were taken.
const NOW: i64 = 1_748_872_803_000;

/// What serves the page, without loops behind it.
pub(crate) struct Daemon {
    shared: Arc<Shared>,
    at: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Standing;

#[async_trait::async_trait]
impl Clock for Standing {
    fn now(&self) -> Moment {
        Moment {
            wall_ms: NOW,
            boot_ms: 1_000_003_000,
            boot_id: "boot".into(),
        }
    }

    async fn sleep(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}

impl Daemon {
    /// With a stack in each of these situations, called after it.
    pub(crate) fn of(situations: &[&str]) -> Result<Self> {
        let shared = Arc::new(sample::shared());
        let names: BTreeSet<StackName> = situations.iter().map(|of| name(of)).collect::<Result<_>>()?;
        let reading = Reading {
            shared: Arc::clone(&shared),
            stacks: names,
            engine: Arc::new(|| Box::pin(async { Ok(()) })),
            past: Arc::new(|_| Box::pin(async { Ok(sample::ended()) })),
            clock: Arc::new(Standing),
        };
        let at = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(at, reading) => {}
                    _ = stopped => {}
                }
            });
        });
        let daemon = Self {
            shared,
            at,
            stop: Some(stop),
            thread: Some(thread),
        };
        daemon.answers()?;
        for situation in situations {
            daemon.publish(situation, situation)?;
        }
        Ok(daemon)
    }

    fn answers(&self) -> Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(self.at).is_err() {
            ensure!(begun.elapsed() < Duration::from_secs(30), "nobody listens");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The stack that is called after a situation is in this one from now on.
    pub(crate) fn publish(&self, stack: &str, situation: &str) -> Result<()> {
        let mut snapshot = sample::snapshot(situation);
        snapshot.record.stack = name(stack)?;
        self.shared.publish(snapshot);
        Ok(())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    /// It ends, with every connection.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a stack is called that is in a situation.
pub(crate) fn name(situation: &str) -> Result<StackName> {
    situation.replace(' ', "-").parse().context("no name of a stack")
}
