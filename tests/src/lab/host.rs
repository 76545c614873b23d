//! A host of its own for one test: a container that boots Debian's systemd, with the engine's socket in it, on which the
//! package is installed as on any other. What a test made on it goes with it. Nothing is asserted in here.

use std::path::Path;

use agent::view::{Status, StatusList};
use anyhow::{Context as _, Result, bail};

use super::{Container, Engine, LABEL, LIMIT, Said, poll};

/// The directory with the packages, `1.deb` and the later `2.deb` (tests/tools/package.sh).
pub const PACKAGES: &str = "STEADFAST_DEB";

/// What systemd needs for itself and for the sandbox of a unit, but for the socket. The network is the machine's, as an
/// agent has it: from a network of their own the stacks' containers are not reached.
const SYSTEMD: [&str; 14] = [
    "--network=host",
    "--cap-add=SYS_ADMIN",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--cgroupns=host",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup",
    "--tmpfs=/run",
    "--tmpfs=/tmp",
    "--log-driver=none",
    "--stop-signal=SIGKILL",
    "--restart=no",
    "--memory=512m",
    "--env=LC_ALL=C.UTF-8",
    "--detach",
];

/// One host, and the one stack that its agent keeps.
pub struct Host {
    /// The engine that it is on, and uses.
    pub engine: Engine,
    /// The stack.
    pub stack: String,
    name: String,
    well: bool,
}

impl Host {
    /// Boots it; of ours it has only the packages, in `/packages`.
    pub fn boot(engine: &Engine, scenario: &str) -> Result<Self> {
        let packages = std::env::var(PACKAGES).with_context(|| format!("{PACKAGES} is not set"))?;
        let name = format!("sf-e2e-{scenario}-{}", std::process::id());
        let host = Self {
            engine: engine.clone(),
            stack: format!("{name}-stack"),
            name,
            well: false,
        };
        let socket = format!("--volume={}:/var/run/docker.sock", engine.socket.display());
        let packages = format!("--volume={packages}:/packages:ro");
        let (named, label) = (format!("--name={}", host.name), format!("--label={LABEL}=host"));
        let mut words = vec!["run", &named, &label, &socket, &packages];
        words.extend(SYSTEMD);
        words.push("steadfast-test/systemd:latest");
        engine.docker(&words)?;
        host.until("it has booted", || {
            // It has no dbus to answer at first.
            let said = host.run(&["systemctl", "is-system-running"])?;
            Ok(said.answers("running").then_some(()))
        })?;
        Ok(host)
    }

    /// A command on it, with its exit code and what it printed.
    pub fn run(&self, words: &[&str]) -> Result<Said> {
        let mut all = vec!["exec", &self.name];
        all.extend(words);
        let output = self.engine.command(Path::new("docker"), &all).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        })
    }

    /// A script that must go well: what it printed. `STACK` in it becomes the stack's name.
    pub fn sh(&self, script: &str) -> Result<String> {
        let script = script.replace("STACK", &self.stack);
        let said = self.run(&["sh", "-euc", &script])?;
        if said.code != 0 {
            bail!("{script:?} ended with {}: {} {}", said.code, said.out, said.err);
        }
        Ok(said.out.trim().to_owned())
    }

    /// Writes a file, with `STACK` for the stack's name, as a new one that is renamed over the old.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let script = format!("cat >'{path}.new' <<'END_OF_IT'\n{text}END_OF_IT\nmv '{path}.new' '{path}'");
        self.sh(&script).map(drop)
    }

    /// A property of the unit, as systemd has it.
    pub fn unit(&self, property: &str) -> Result<String> {
        self.sh(&format!("systemctl show --property={property} --value steadfast"))
    }

    /// What the journal has of the unit, from systemd and from the agent.
    pub fn journal(&self) -> Result<String> {
        self.sh("journalctl --unit=steadfast --no-pager --output=cat")
    }

    /// The stack's status; `None`: the agent does not answer (yet).
    pub fn status(&self) -> Result<Option<Status>> {
        let said = self.run(&["steadfast", "status", &self.stack, "--json"])?;
        if said.code == 3 {
            return Ok(None);
        }
        let list: StatusList = serde_json::from_str(&said.out)
            .with_context(|| format!("`status --json` is not understood: {said:?}"))?;
        Ok(list.stacks.into_iter().next())
    }

    /// Waits until `tag` runs with this verdict and nothing is under way.
    pub fn until_runs(&self, tag: &str, verdict: &str) -> Result<Status> {
        self.until(&format!("{tag} is {verdict}"), || {
            let status = self.status()?;
            Ok(status.filter(|s| s.operation.is_none() && super::runs(s, tag, verdict)))
        })
    }

    /// Waits until a property of the unit is as `wanted` says.
    pub fn until_unit(&self, property: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        self.until(&format!("{property} is as wanted"), || {
            Ok(Some(self.unit(property)?).filter(|value| wanted(value)))
        })
    }

    /// Waits until something about it is so.
    pub fn until<T>(&self, what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        poll(what, LIMIT, look)
    }

    /// The containers of the stack.
    pub fn containers(&self) -> Result<Vec<Container>> {
        self.engine.containers(&self.stack)
    }

    /// The end of a test that went well.
    pub fn end(mut self) {
        self.well = true;
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !self.well {
            let status = self.run(&["systemctl", "status", "--no-pager", "steadfast"]);
            eprintln!("--- unit\n{:#?}", status.map(|said| said.out).ok());
            eprintln!("--- journal\n{}", self.journal().unwrap_or_default());
            eprintln!("--- containers\n{:#?}", self.containers().unwrap_or_default());
        }
        if let Err(error) = self.engine.docker(&["rm", "-fv", &self.name]) {
            eprintln!("left behind: {error:#}");
        }
        self.engine.clear(&self.stack);
    }
}
