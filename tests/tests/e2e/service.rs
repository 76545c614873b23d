//! What a service manager hears of a real daemon: ready when it has looked, alive, what it does, stopping.

use std::cell::RefCell;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, LIMIT, Lab};

use super::{Scenario, once};

pub(super) const ALL: &[Scenario] = &[
    once("a_service_manager_is_told_what_the_daemon_does", told),
    once("a_watchdog_of_somebody_else_is_not_fed", of_somebody_else),
];

/// So long is waited for what must not come.
const NEVER: Duration = Duration::from_millis(1500);

/// The place of a service manager.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: RefCell<Vec<String>>,
}

impl Manager {
    fn of(lab: &Lab) -> Result<Self> {
        let path = lab.path("run/notify.sock");
        let socket = UnixDatagram::bind(&path).context("cannot listen")?;
        Ok(Self {
            socket,
            path,
            heard: RefCell::default(),
        })
    }

    fn environment(&self, pid: Option<&str>) -> Vec<(&'static str, PathBuf)> {
        let mut all = vec![
            ("NOTIFY_SOCKET", self.path.clone()),
            ("WATCHDOG_USEC", "1000000".into()),
        ];
        all.extend(pid.map(|pid| ("WATCHDOG_PID", pid.into())));
        all
    }

    /// The next message that holds `what`, within `limit`; those before it are taken too.
    fn hears(&self, what: &str, limit: Duration) -> Result<bool> {
        let end = Instant::now() + limit;
        let mut buffer = [0; 8192];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.socket.set_read_timeout(Some(left))?;
            // What does not come in time is an error of its own kind, which the loop's end tells.
            let Ok(length) = self.socket.recv(&mut buffer) else {
                continue;
            };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.heard.borrow_mut().push(message.clone());
            if message.contains(what) {
                return Ok(true);
            }
        }
    }

    fn must_hear(&self, what: &str) -> Result<()> {
        let heard = self.hears(what, LIMIT)?;
        ensure!(heard, "never heard {what:?}, but {:#?}", self.heard.borrow());
        Ok(())
    }

    fn has_heard(&self, what: &str) -> usize {
        let heard = self.heard.borrow();
        heard.iter().filter(|message| message.contains(what)).count()
    }
}

fn told(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "service", "v1")?;
    let manager = Manager::of(&lab)?;
    // As on a host that boots, where the engine takes longer.
    lab.proxy.cut()?;
    lab.start_with(&manager.environment(None))?;
    manager.must_hear(&format!(
        "STATUS={}: not looked at yet, waits for the docker engine",
        lab.name
    ))?;
    ensure!(
        !manager.hears("READY=1", NEVER)?,
        "ready, though nothing was looked at: {:#?}",
        manager.heard.borrow()
    );
    lab.proxy.mend()?;
    manager.must_hear("READY=1\nSTATUS=")?;
    lab.until_runs("v1", "good")?;
    manager.must_hear(&format!("STATUS={}: steady", lab.name))?;
    let deploys = format!("STATUS={}: deploying generation 1, step ", lab.name);
    ensure!(manager.has_heard(&deploys) > 0, "{:#?}", manager.heard.borrow());
    let fed = manager.has_heard("WATCHDOG=1");
    ensure!(fed > 1, "{:#?}", manager.heard.borrow());
    manager.must_hear("WATCHDOG=1")?;
    let sent = Command::new("kill")
        .args(["-HUP", &lab.pid()?.to_string()])
        .status()?;
    ensure!(sent.success(), "cannot send SIGHUP");
    manager.must_hear("RELOADING=1\nMONOTONIC_USEC=")?;
    manager.must_hear("READY=1")?;
    lab.terminate()?;
    manager.must_hear("STOPPING=1")?;
    lab.end()
}

fn of_somebody_else(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "watchdog", "v1")?;
    let manager = Manager::of(&lab)?;
    lab.start_with(&manager.environment(Some("1")))?;
    manager.must_hear("READY=1")?;
    ensure!(
        !manager.hears("WATCHDOG=1", NEVER)?,
        "{:#?}",
        manager.heard.borrow()
    );
    ensure!(manager.has_heard("WATCHDOG=1") == 0, "fed all the same");
    lab.until_runs("v1", "good")?;
    lab.end()
}
