//! The host: images that must be there, and everything of the bench's, removed. Foreign containers
//! are never touched: all that goes is found by the bench's own label or project names.

use std::process::Command;

use anyhow::{Result, bail};

use crate::raw::Raw;

/// Every project of the bench begins so.
pub(crate) const PREFIX: &str = "sf-bench-";
/// On every container of the bench.
pub(crate) const LABEL: &str = "io.steadfast.test=bench";
/// What is served: the same small program in every part.
pub(crate) const IMAGE: &str = "steadfast-test/tiny";

/// Runs docker, and gives what it printed.
pub(crate) fn docker(words: &[&str]) -> Result<String> {
    let output = Command::new("docker").args(words).output()?;
    if !output.status.success() {
        bail!(
            "docker {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(crate) fn must_have_images() -> Result<()> {
    let mut raw = Raw::connect()?;
    for tag in ["v1", "v2", "bad", "crash"] {
        let (status, _) = raw.call("GET", &format!("/images/{IMAGE}:{tag}/json"), None)?;
        if status != 200 {
            bail!("the image {IMAGE}:{tag} is missing: `make images`");
        }
    }
    Ok(())
}

/// Removes containers (in one call: the engine does several at once), networks and volumes.
pub(crate) fn clear() {
    crate::swarm::clear();
    let own = |kind: &[&str]| {
        let listed = docker(kind).unwrap_or_default();
        listed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let label = format!("label={LABEL}");
    let keepers = format!("name=^/steadfast-keep-{PREFIX}");
    let mut containers = own(&["ps", "-aq", "--filter", &label]);
    containers.extend(own(&["ps", "-aq", "--filter", &keepers]));
    remove(&["rm", "-f", "-v"], &containers);
    let networks = own(&["network", "ls", "-q", "--filter", &format!("name=^{PREFIX}")]);
    remove(&["network", "rm"], &networks);
    let labelled = own(&["volume", "ls", "-q", "--filter", &label]);
    remove(&["volume", "rm"], &labelled);
    let marker = format!("name=io.steadfast.owner.{PREFIX}");
    remove(
        &["volume", "rm"],
        &own(&["volume", "ls", "-q", "--filter", &marker]),
    );
}

/// Removes the containers named, in one call.
pub(crate) fn remove(command: &[&str], names: &[String]) {
    for some in names.chunks(50) {
        let words: Vec<&str> = command
            .iter()
            .copied()
            .chain(some.iter().map(String::as_str))
            .collect();
        if let Err(error) = docker(&words) {
            crate::report::say(&format!("{error:#}"));
        }
    }
}
