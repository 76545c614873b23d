//! The engine as the demo needs it, past Steadfast: whether the images are there, what really runs, and
//! taking away what the demo made. What does not carry the demo's label is only ever named.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bollard::errors::Error;
use bollard::models::{ContainerSummary, Network, Volume};
use bollard::query_parameters::{
    ListContainersOptions, ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions,
    RemoveVolumeOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::time::timeout;

use super::files::{LABEL, PROJECT};
use crate::engine::address::Address;
use crate::engine::labels;

const LOOK: Duration = Duration::from_secs(15);
const CHANGE: Duration = Duration::from_secs(60);

/// The images that the story needs.
pub(super) const IMAGES: [&str; 7] = [
    "steadfast-test/postgres:15",
    "steadfast-test/api:v1.4.0",
    "steadfast-test/api:v1.5.0",
    "steadfast-test/api:v1.8.0",
    "steadfast-test/frontend:v1.4.0",
    "steadfast-test/frontend:v1.5.0",
    "steadfast-test/frontend:v1.8.0",
];

/// The engine.
pub(super) struct Host {
    docker: Docker,
}

impl Host {
    /// Reaches it; also says what it is.
    pub(super) async fn reach(address: &Address) -> Result<(Self, String)> {
        let seconds = 120;
        let docker = match address {
            Address::Unix(path) => {
                Docker::connect_with_unix(&path.to_string_lossy(), seconds, API_DEFAULT_VERSION)
            }
            Address::Tcp(host) => Docker::connect_with_http(host, seconds, API_DEFAULT_VERSION),
        }?;
        let version = within(LOOK, docker.version()).await?;
        let words = format!(
            "Docker Engine {} (API {})",
            version.version.unwrap_or_default(),
            version.api_version.unwrap_or_default()
        );
        Ok((Self { docker }, words))
    }

    /// Those of [`IMAGES`] that are not there.
    pub(super) async fn missing_images(&self) -> Result<Vec<&'static str>> {
        let mut missing = Vec::new();
        for image in IMAGES {
            if self.image(image).await?.is_none() {
                missing.push(image);
            }
        }
        Ok(missing)
    }

    /// The identifier of an image.
    pub(super) async fn image(&self, name: &str) -> Result<Option<String>> {
        match timeout(LOOK, self.docker.inspect_image(name)).await {
            Ok(Ok(image)) => Ok(image.id),
            Ok(Err(error)) if is_missing(&error) => Ok(None),
            Ok(Err(error)) => Err(error).with_context(|| format!("cannot inspect {name}")),
            Err(_) => Err(anyhow!("the engine did not answer")),
        }
    }

    /// The image and the state of each container of the project, by service.
    pub(super) async fn containers(&self) -> Result<BTreeMap<String, (String, String)>> {
        let found = self.project_containers().await?;
        let entries = found.into_iter().map(|container| {
            let service = label(container.labels.as_ref(), labels::SERVICE).unwrap_or_default();
            let state = container.state.map(|state| state.to_string()).unwrap_or_default();
            (service, (container.image_id.unwrap_or_default(), state))
        });
        Ok(entries.collect())
    }

    /// What bears the project's name, and was not made by a demo.
    pub(super) async fn foreign(&self) -> Result<Vec<String>> {
        let mut foreign = Vec::new();
        for container in self.project_containers().await? {
            if !is_ours(&container) {
                foreign.push(format!("container {}", name_of(&container)));
            }
        }
        for network in self.networks().await? {
            if label(network.labels.as_ref(), LABEL).is_none() {
                foreign.push(format!("network {}", network.name.unwrap_or_default()));
            }
        }
        for volume in self.volumes().await? {
            if !volume.labels.contains_key(LABEL) {
                foreign.push(format!("volume {}", volume.name));
            }
        }
        Ok(foreign)
    }

    /// Takes away all that a demo made; says how many things that were.
    pub(super) async fn clear(&self) -> Result<usize> {
        let mut gone = 0;
        let keepers = self
            .list_containers(format!("{}={PROJECT}", labels::KEEPER))
            .await?;
        let ours = self.project_containers().await?;
        for container in ours.into_iter().filter(is_ours).chain(keepers) {
            let options = RemoveContainerOptions {
                force: true,
                v: true,
                ..RemoveContainerOptions::default()
            };
            let id = container.id.unwrap_or_default();
            gone += done(self.docker.remove_container(&id, Some(options))).await?;
        }
        for network in self.networks().await? {
            if label(network.labels.as_ref(), LABEL).is_some() {
                gone += done(self.docker.remove_network(&network.id.unwrap_or_default())).await?;
            }
        }
        let marker = format!("{}.{PROJECT}", labels::OWNER);
        let volumes = self.volumes().await?.into_iter();
        let volumes = volumes
            .filter(|volume| volume.labels.contains_key(LABEL))
            .map(|volume| volume.name);
        for volume in volumes.chain([marker]) {
            gone += done(self.docker.remove_volume(&volume, None::<RemoveVolumeOptions>)).await?;
        }
        Ok(gone)
    }

    async fn project_containers(&self) -> Result<Vec<ContainerSummary>> {
        self.list_containers(format!("{}={PROJECT}", labels::PROJECT))
            .await
    }

    async fn list_containers(&self, label: String) -> Result<Vec<ContainerSummary>> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(by_label(label)),
            ..ListContainersOptions::default()
        };
        within(LOOK, self.docker.list_containers(Some(options))).await
    }

    async fn networks(&self) -> Result<Vec<Network>> {
        let options = ListNetworksOptions {
            filters: Some(by_label(format!("{}={PROJECT}", labels::PROJECT))),
        };
        within(LOOK, self.docker.list_networks(Some(options))).await
    }

    async fn volumes(&self) -> Result<Vec<Volume>> {
        let options = ListVolumesOptions {
            filters: Some(by_label(format!("{}={PROJECT}", labels::PROJECT))),
        };
        let found = within(LOOK, self.docker.list_volumes(Some(options))).await?;
        Ok(found.volumes.unwrap_or_default())
    }
}

fn by_label(label: String) -> HashMap<String, Vec<String>> {
    HashMap::from([(String::from("label"), vec![label])])
}

fn label(labels: Option<&HashMap<String, String>>, key: &str) -> Option<String> {
    labels?.get(key).cloned()
}

/// What migrates carries none of the stack's own labels: it is known as the daemon's, of this project.
fn is_ours(container: &ContainerSummary) -> bool {
    let label = |key| label(container.labels.as_ref(), key);
    let once = || label(labels::ONEOFF).as_deref() == Some("True") && label(labels::OPERATION).is_some();
    label(LABEL).is_some() || once()
}

fn name_of(container: &ContainerSummary) -> String {
    let names = container.names.as_deref().unwrap_or_default();
    names
        .first()
        .map(|name| name.trim_start_matches('/').to_owned())
        .unwrap_or_default()
}

async fn within<T>(span: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T> {
    let answer = timeout(span, work).await.context("the engine did not answer")?;
    Ok(answer?)
}

/// One removal: 1 when something went, 0 when it was gone already.
async fn done(work: impl Future<Output = Result<(), Error>>) -> Result<usize> {
    match timeout(CHANGE, work).await.context("the engine did not answer")? {
        Ok(()) => Ok(1),
        Err(error) if is_missing(&error) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}
