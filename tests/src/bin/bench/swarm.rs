//! The peer that rolls back by itself: Docker Swarm on this engine, as a swarm of one. Left again at
//! the end, but only where the bench made it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use crate::host::{IMAGE, LABEL, docker};
use crate::raw::{Raw, until_serves};
use crate::report::say;
use crate::rollback::PATIENCE;

const SERVICE: &str = "sf-bench-swarm";
const SWARM: u16 = 18483;
/// Whether the swarm is the bench's own.
static OURS: AtomicBool = AtomicBool::new(false);

/// The containers that run and are not the bench's.
fn others() -> Result<Vec<String>> {
    let all = docker(&["ps", "--format", "{{.Names}}"])?;
    let others = all.lines().filter(|name| !name.starts_with("sf-bench"));
    Ok(others.map(str::to_owned).collect())
}

/// A service that runs v1.
pub(crate) struct Swarm(());

impl Swarm {
    /// Makes a swarm, where the engine is in none, and the service.
    pub(crate) fn start() -> Result<Self> {
        if docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])? != "inactive" {
            bail!("the engine is in a swarm already, and it is not the bench's");
        }
        if let Some(other) = others()?.first() {
            bail!(
                "{other} runs here: an engine that leaves a swarm forgets the names on all its networks \
                 until their containers are started again"
            );
        }
        say("making a swarm of one");
        OURS.store(true, Ordering::Relaxed);
        docker(&[
            "swarm",
            "init",
            "--advertise-addr",
            "127.0.0.1",
            "--listen-addr",
            "127.0.0.1:23771",
        ])?;
        let publish = format!("mode=host,published={SWARM},target=8080");
        let image = format!("{IMAGE}:v1");
        docker(&[
            "service",
            "create",
            "--detach",
            "--quiet",
            "--no-resolve-image",
            "--name",
            SERVICE,
            "--label",
            LABEL,
            "--container-label",
            LABEL,
            "--publish",
            &publish,
            "--stop-grace-period",
            "0s",
            "--restart-condition",
            "none",
            "--update-failure-action",
            "rollback",
            "--update-monitor",
            "5s",
            "--rollback-monitor",
            "1s",
            &image,
        ])?;
        // Where its tasks are: the others have a container beside theirs on their network, too.
        let image = image.as_str();
        docker(&[
            "run",
            "-d",
            "--network",
            "bridge",
            "--label",
            LABEL,
            "--name",
            "sf-bench-beside",
            image,
        ])?;
        until_serves(SWARM, "v1", PATIENCE)?;
        Ok(Self(()))
    }

    /// Updates to a release that dies at once. From the moment that Swarm says it rolls back, until
    /// the old version answers.
    #[allow(clippy::unused_self, reason = "the witness that there is a swarm")]
    pub(crate) fn fall(&mut self, raw: &mut Raw) -> Result<Duration> {
        Self::update(raw, "crash", "5s")?;
        let begun = Self::until(raw, |state| state.starts_with("rollback"))?;
        Ok(until_serves(SWARM, "v1", PATIENCE)? - begun)
    }

    /// Updates to a release that runs, and orders to go back.
    #[allow(clippy::unused_self, reason = "the witness that there is a swarm")]
    pub(crate) fn back(&mut self, raw: &mut Raw) -> Result<Duration> {
        Self::update(raw, "bad", "1s")?;
        until_serves(SWARM, "bad", PATIENCE)?;
        Self::until(raw, |state| state == "completed")?;
        let service = raw.must("GET", &format!("/services/{SERVICE}"), None)?;
        let version = &service["Version"]["Index"];
        let order = format!("/services/{SERVICE}/update?version={version}&rollback=previous");
        let begun = Instant::now();
        let seen = std::thread::spawn(|| until_serves(SWARM, "v1", PATIENCE));
        raw.must("POST", &order, Some(&service["Spec"]))?;
        let served = seen.join().map_err(|_| anyhow!("the watcher died"))??;
        Ok(served - begun)
    }

    /// Asks for another tag, once the last update or rollback has ended.
    fn update(raw: &mut Raw, tag: &str, monitor: &str) -> Result<()> {
        Self::until(raw, |state| !matches!(state, "updating" | "rollback_started"))?;
        docker(&[
            "service",
            "update",
            "--detach",
            "--quiet",
            "--no-resolve-image",
            "--update-monitor",
            monitor,
            "--image",
            &format!("{IMAGE}:{tag}"),
            SERVICE,
        ])?;
        Ok(())
    }

    fn until(raw: &mut Raw, wanted: impl Fn(&str) -> bool) -> Result<Instant> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let service = raw.must("GET", &format!("/services/{SERVICE}"), None)?;
            if wanted(service["UpdateStatus"]["State"].as_str().unwrap_or_default()) {
                return Ok(Instant::now());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("swarm did not come to a decision within {} s", PATIENCE.as_secs())
    }
}

/// Leaves the swarm, where the bench made it.
pub(crate) fn clear() {
    let is_ours = || {
        let filter = format!("name={SERVICE}");
        docker(&["service", "ls", "-q", "--filter", &filter]).is_ok_and(|found| !found.is_empty())
    };
    if OURS.load(Ordering::Relaxed) || is_ours() {
        let _ = docker(&["service", "rm", SERVICE]);
        let _ = docker(&["swarm", "leave", "--force"]);
        let _ = docker(&["network", "rm", "docker_gwbridge"]);
    }
}
