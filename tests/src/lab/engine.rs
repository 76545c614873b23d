//! The engine as a test needs it, by the docker command: what really runs, and taking away what a
//! test made. Nothing of another project is ever touched.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// How many seconds a docker command may take.
const SECONDS: &str = "90";

/// A real engine.
#[derive(Debug, Clone)]
pub struct Engine {
    /// For the names of trials.
    pub name: &'static str,
    /// Its socket.
    pub socket: PathBuf,
}

/// One container, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The Compose service.
    pub service: String,
    /// The image as it was asked for at the creation.
    pub image: String,
    /// `running`, `exited`, `created` …
    pub state: String,
    /// When it was last started.
    pub started: String,
    /// The writable volumes at their paths, as `path=volume`.
    pub volumes: Vec<String>,
}

impl Container {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }
}

impl Engine {
    /// The engines of the tests, the machine's own first; the second one only where it is to be had.
    pub fn all() -> [(&'static str, Option<Self>); 2] {
        let own = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let newest = std::env::var("STEADFAST_TEST_ENGINE28").ok();
        [("engine20", Some(own)), ("engine28", newest)].map(|(name, address)| {
            let path = address.as_deref().and_then(|a| a.strip_prefix("unix://"));
            let engine = path.map(|path| Self {
                name,
                socket: PathBuf::from(path),
            });
            (name, engine.filter(Self::answers))
        })
    }

    fn answers(&self) -> bool {
        self.docker(&["version"]).is_ok()
    }

    /// For `DOCKER_HOST`.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Runs a program with this engine, bounded in time.
    pub fn command(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", SECONDS])
            .arg(program)
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C.UTF-8")
            .env("DOCKER_HOST", self.address())
            .stdin(Stdio::null());
        command
    }

    /// `docker WORDS`: what it printed; an error when it failed.
    pub fn docker(&self, words: &[&str]) -> Result<String> {
        output(&mut self.command(Path::new("docker"), words))
    }

    /// The containers of a project, by name.
    pub fn containers(&self, project: &str) -> Result<Vec<Container>> {
        let mut containers: Vec<Container> = self.inspected(project)?.iter().map(container).collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// All that the engine says of the containers of a project.
    pub fn inspected(&self, project: &str) -> Result<Vec<Value>> {
        let filter = format!("label=com.docker.compose.project={project}");
        // One may be gone between the list and the look.
        for _ in 0..20 {
            let ids = self.docker(&["ps", "-aq", "--no-trunc", "--filter", &filter])?;
            let ids: Vec<&str> = ids.lines().collect();
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let mut words = vec!["inspect", "--type=container"];
            words.extend(ids);
            let Ok(text) = self.docker(&words) else { continue };
            return Ok(serde_json::from_str(&text)?);
        }
        bail!("the containers of {project} cannot be listed")
    }

    /// The names of the volumes, or the networks, of a project.
    pub fn named(&self, kind: &str, project: &str) -> Result<Vec<String>> {
        let filter = format!("label=com.docker.compose.project={project}");
        let text = self.docker(&[kind, "ls", "--filter", &filter, "--format", "{{.Name}}"])?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// `docker exec` of words in a container: what they printed.
    pub fn exec(&self, container: &str, words: &[&str]) -> Result<String> {
        let mut all = vec!["exec", container];
        all.extend(words);
        self.docker(&all)
    }

    /// Takes away all that carries the project's label, with its keepers and the marker of its owner.
    pub fn clear(&self, project: &str) {
        for label in ["com.docker.compose.project", "io.steadfast.keeper"] {
            let filter = format!("label={label}={project}");
            self.remove(&["ps", "-aq", "--filter", &filter], &["rm", "-fv"]);
        }
        let filter = format!("label=com.docker.compose.project={project}");
        self.remove(&["network", "ls", "-q", "--filter", &filter], &["network", "rm"]);
        self.remove(
            &["volume", "ls", "-q", "--filter", &filter],
            &["volume", "rm", "-f"],
        );
        // Gone already is as good.
        drop(self.docker(&["volume", "rm", "-f", &format!("io.steadfast.owner.{project}")]));
    }

    fn remove(&self, list: &[&str], how: &[&str]) {
        let Ok(found) = self.docker(list) else { return };
        let found: Vec<&str> = found.lines().collect();
        if !found.is_empty() {
            let mut words = how.to_vec();
            words.extend(found);
            if let Err(error) = self.docker(&words) {
                eprintln!("left behind: {error:#}");
            }
        }
    }
}

/// What a command printed; an error when it failed.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn container(seen: &Value) -> Container {
    let text = |pointer: &str| {
        seen.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mounts = seen.pointer("/Mounts").and_then(Value::as_array);
    let writable = mounts.into_iter().flatten().filter(|m| m["RW"] == true);
    let mut volumes: Vec<String> = writable
        .map(|m| {
            let part = |key: &str| m[key].as_str().unwrap_or_default().to_owned();
            format!("{}={}", part("Destination"), part("Name"))
        })
        .collect();
    // The engine gives them in any order.
    volumes.sort();
    Container {
        id: text("/Id"),
        name: text("/Name").trim_start_matches('/').to_owned(),
        service: text("/Config/Labels/com.docker.compose.service"),
        image: text("/Config/Image"),
        state: text("/State/Status"),
        started: text("/State/StartedAt"),
        volumes,
    }
}
