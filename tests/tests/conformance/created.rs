//! Creates the containers of a case through our own engine code, starts none of them, and reads back
//! what the engine holds. Whatever was made is removed. Nothing is compared here.

use std::process::Command;

use agent::engine::{Dialect, DockerEngine, Engine, NewContainer};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use state::naming::container_name;
use state::stack_spec::StackSpec;

use crate::case::{Case, root};

/// What the engine holds of `stack` after our code made it, normalised like the oracle's fixtures.
pub(crate) fn create_and_inspect(case: &Case, stack: &StackSpec, dialect: Dialect) -> Result<Value> {
    let _outside = Outside::make(case, stack.project.as_str())?;
    let _project = Project(stack.project.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(create(case, stack, dialect))?;
    let seen = run(Command::new(root().join("inspect.sh"))
        .arg(stack.project.as_str())
        .arg(&case.dir))?;
    Ok(serde_json::from_str(&seen)?)
}

async fn create(case: &Case, stack: &StackSpec, dialect: Dialect) -> Result<()> {
    let address = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let engine = DockerEngine::new(address.parse()?);
    for (key, network) in stack.networks.iter().filter(|(_, n)| !n.external) {
        engine.create_network(stack, key, network, &network.name).await?;
    }
    for (key, volume) in stack.volumes.iter().filter(|(_, v)| !v.external) {
        engine.create_volume(stack, key, volume, &volume.name).await?;
    }
    for service in stack.start_order()?.into_iter().flatten() {
        let spec = &stack.services[&service];
        let reference = spec.image.as_deref().context("a case without an image")?;
        let image = engine.image(reference).await?.context("images.sh made it")?;
        for number in 1..=spec.replicas() {
            let new = NewContainer {
                stack,
                service: &service,
                spec,
                number,
                name: container_name(&stack.project, &service, spec, number, dialect),
                image: image.clone(),
                spec_hash: "0".repeat(64),
                operation: 1,
                generation: 1,
                carried: Vec::new(),
                restart: spec.restart_policy(),
                dialect,
                working_dir: case.project_dir(),
                config_files: case.files(),
            };
            engine.create(&new).await.with_context(|| service.to_string())?;
        }
    }
    Ok(())
}

/// The networks and volumes that a case expects; gone when dropped.
struct Outside(Vec<(&'static str, String)>);

impl Outside {
    fn make(case: &Case, project: &str) -> Result<Self> {
        let mut made = Self(Vec::new());
        let networks = case.settings.networks.iter().map(|n| ("network", n));
        let volumes = case.settings.volumes.iter().map(|v| ("volume", v));
        for (kind, name) in networks.chain(volumes) {
            let name = format!("{project}-{name}");
            let label = ["--label", "io.steadfast.test=conformance"];
            run(Command::new("docker")
                .args([kind, "create"])
                .args(label)
                .arg(&name))?;
            made.0.push((kind, name));
        }
        Ok(made)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for (kind, name) in &self.0 {
            report(run(Command::new("docker").args([kind, "rm", name])));
        }
    }
}

/// What a project made; gone when dropped.
struct Project(String);

impl Drop for Project {
    fn drop(&mut self) {
        report(run(Command::new(root().join("remove.sh")).arg(&self.0)));
    }
}

fn report(outcome: Result<String>) {
    if let Err(error) = outcome {
        eprintln!("left behind: {error:#}");
    }
}

/// Runs a command and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
