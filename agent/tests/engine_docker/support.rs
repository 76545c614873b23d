//! A project of its own on the real engine for each test, and what removes it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use state::name::{ContainerId, ImageId, ServiceName};
use state::naming::container_name;
use state::stack_spec::{RestartPolicy, StackSpec};
use steadfast::engine::{Carried, Dialect, DockerEngine, Engine, NewContainer};

/// The image of most tests.
pub(crate) const TINY: &str = "steadfast-test/tiny:v1";

/// One with a shell, and an entrypoint that is not to be run.
pub(crate) const SHELL: &str = "steadfast-test/postgres:15";

/// One project, removed with everything in it when dropped.
pub(crate) struct Project {
    pub(crate) engine: DockerEngine,
    pub(crate) stack: StackSpec,
    pub(crate) image: ImageId,
}

/// Runs `docker` and gives its standard output.
#[track_caller]
pub(crate) fn docker(arguments: &[&str]) -> String {
    let out = Command::new("docker").args(arguments).output().unwrap();
    assert!(
        out.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// The same where it may be refused.
pub(crate) fn try_docker(arguments: &[&str]) -> Option<String> {
    let out = Command::new("docker").args(arguments).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    out.status.success().then(|| text.trim().to_owned())
}

/// Says on the terminal, past the test runner's capture, that something was not tested.
pub(crate) fn skip(why: &str) {
    std::io::stderr()
        .write_all(format!("SKIPPED engine_docker: {why}\n").as_bytes())
        .unwrap();
}

pub(crate) fn address() -> steadfast::engine::address::Address {
    let address = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    address.parse().unwrap()
}

/// A project named after the test; `None` where there is nothing to test on.
pub(crate) async fn project(name: &str, services: Value) -> Option<Project> {
    project_of(name, TINY, services).await
}

/// The same with another image.
pub(crate) async fn project_of(name: &str, image: &str, services: Value) -> Option<Project> {
    let engine = DockerEngine::new(address());
    if let Err(error) = engine.info().await {
        skip(&format!("{name}: {error}"));
        return None;
    }
    let Some(image) = engine.image(image).await.unwrap() else {
        skip(&format!("{name}: the image {image} is not here"));
        return None;
    };
    let project = format!("sf-engine-{name}-{}", std::process::id());
    let label = json!({"io.steadfast.test": "engine"});
    let stack: StackSpec = serde_json::from_value(json!({
        "project": project,
        "services": services,
        "networks": {
            "default": {"name": format!("{project}_default"), "labels": label},
            "back": {"name": format!("{project}_back"), "labels": label},
        },
        "volumes": {"data": {"name": format!("{project}_data"), "labels": label}},
    }))
    .unwrap();
    Some(Project { engine, stack, image })
}

/// One service `web` on the default network, with `more` in it.
#[allow(clippy::needless_pass_by_value, reason = "every caller has just made it")]
pub(crate) fn web(more: Value) -> Value {
    let mut web = json!({
        "image": TINY,
        "labels": {"io.steadfast.test": "engine"},
        "networking": {"networks": {"default": {}}},
    });
    for (key, value) in more.as_object().unwrap() {
        web[key] = value.clone();
    }
    json!({ "web": web })
}

impl Project {
    pub(crate) fn service(&self) -> ServiceName {
        self.stack.services.keys().next().unwrap().clone()
    }

    /// The networks and volumes of the stack.
    pub(crate) async fn make_objects(&self) {
        for (key, network) in &self.stack.networks {
            self.engine
                .create_network(&self.stack, key, network, &network.name)
                .await
                .unwrap();
        }
        for (key, volume) in &self.stack.volumes {
            self.engine
                .create_volume(&self.stack, key, volume, &volume.name)
                .await
                .unwrap();
        }
    }

    /// A container of `service` as it would be created by operation 7 under its lasting name.
    pub(crate) fn new_container<'a>(
        &'a self,
        service: &'a ServiceName,
        dialect: Dialect,
    ) -> NewContainer<'a> {
        let spec = &self.stack.services[service];
        NewContainer {
            stack: &self.stack,
            service,
            spec,
            number: 1,
            name: container_name(&self.stack.project, service, spec, 1, dialect),
            image: self.image.clone(),
            spec_hash: "ab".repeat(32),
            operation: 7,
            generation: 3,
            carried: Vec::<Carried>::new(),
            restart: spec.restart_policy(),
            dialect,
            working_dir: PathBuf::from("/srv/app"),
            config_files: vec![PathBuf::from("/srv/app/compose.yaml")],
        }
    }

    pub(crate) async fn create(&self) -> ContainerId {
        self.engine
            .create(&self.new_container(&self.service(), Dialect::Hyphen))
            .await
            .unwrap()
    }
}

impl Drop for Project {
    /// Nothing here panics: it may run while a failed test unwinds.
    fn drop(&mut self) {
        let label = format!("label=com.docker.compose.project={}", self.stack.project);
        let keeper = format!("label=io.steadfast.keeper={}", self.stack.project);
        let owner = format!("name=io.steadfast.owner.{}", self.stack.project);
        remove(&["ps", "-aq", "--filter", &label], &["rm", "-f", "-v"]);
        remove(&["ps", "-aq", "--filter", &keeper], &["rm", "-f", "-v"]);
        remove(&["network", "ls", "-q", "--filter", &label], &["network", "rm"]);
        remove(&["volume", "ls", "-q", "--filter", &label], &["volume", "rm"]);
        remove(&["volume", "ls", "-q", "--filter", &owner], &["volume", "rm"]);
    }
}

fn remove(list: &[&str], by: &[&str]) {
    let Ok(listed) = Command::new("docker").args(list).output() else {
        return;
    };
    for id in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
        match Command::new("docker").args(by).arg(id).output() {
            Ok(out) if out.status.success() => {}
            other => writeln!(std::io::stderr(), "engine_docker: {by:?} {id}: {other:?}").unwrap_or_default(),
        }
    }
}

/// What an inspection says at a path, as JSON.
pub(crate) fn inspected(id: &str, path: &str) -> Value {
    serde_json::from_str(&docker(&[
        "inspect",
        id,
        "--format",
        &format!("{{{{json {path}}}}}"),
    ]))
    .unwrap()
}

/// The policies that a service can have.
pub(crate) fn policies() -> BTreeMap<&'static str, RestartPolicy> {
    BTreeMap::from([
        ("no", RestartPolicy::No),
        ("always", RestartPolicy::Always),
        ("unless-stopped", RestartPolicy::UnlessStopped),
        ("on-failure", RestartPolicy::OnFailure { max: Some(3) }),
    ])
}
