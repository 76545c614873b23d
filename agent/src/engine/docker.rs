//! The Docker Engine through bollard: the trait's calls, handed to the files of `docker/`.

mod build;
mod change;
mod client;
mod create;
mod credentials;
mod events;
mod exec;
mod images;
mod objects;
mod observe;
mod once;
mod survey;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use state::files::Signal;
use state::name::{ContainerId, ImageId, StackName};
use state::observed::ContainerObs;
use state::stack_spec::{NetworkSpec, RestartPolicy, StackSpec, VolumeSpec};

pub(crate) use self::change::restart_policy;
use self::client::Connection;
pub(crate) use self::observe::restart;
use super::address::Address;
use super::{
    Attachment, Build, ContainerDetail, Difference, Engine, EngineError, EngineEvent, EngineInfo, Exec,
    Executed, NewContainer, OneOff, Ran,
};

/// A Docker Engine at an address. Connects at the first call, and again when the connection broke.
#[derive(Debug)]
pub struct DockerEngine {
    connection: Connection,
    youth: observe::Youth,
}

impl DockerEngine {
    /// The engine at `address`; nothing is reached yet.
    pub fn new(address: Address) -> Self {
        Self {
            connection: Connection::new(address),
            youth: observe::Youth::default(),
        }
    }
}

#[async_trait]
impl Engine for DockerEngine {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.connection.forget();
        Ok(self.connection.client().await?.info.clone())
    }

    async fn containers(&self, project: &StackName) -> Result<Vec<ContainerObs>, EngineError> {
        self.list_project(project).await
    }

    async fn container(&self, id: &str) -> Result<Option<ContainerDetail>, EngineError> {
        match self.inspect(id).await? {
            Some(seen) => observe::detail(seen),
            None => Ok(None),
        }
    }

    async fn create(&self, new: &NewContainer<'_>) -> Result<ContainerId, EngineError> {
        self.make(new).await
    }

    async fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.start_container(id).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        self.stop_container(id, grace).await
    }

    async fn unpause(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.unpause_container(id).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.remove_container(id.as_str()).await
    }

    async fn signal(&self, id: &ContainerId, signal: Signal) -> Result<(), EngineError> {
        self.signal_container(id, signal).await
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<(), EngineError> {
        self.rename_container(id, name).await
    }

    async fn set_restart(&self, id: &ContainerId, policy: &RestartPolicy) -> Result<(), EngineError> {
        self.update_restart(id, *policy).await
    }

    async fn connect(&self, id: &ContainerId, to: &Attachment) -> Result<(), EngineError> {
        self.join(id, to).await
    }

    async fn disconnect(&self, id: &ContainerId, network: &str) -> Result<(), EngineError> {
        self.leave(id, network).await
    }

    async fn run_once(&self, once: &OneOff<'_>) -> Result<Ran, EngineError> {
        self.once(once).await
    }

    async fn end_once(&self, project: &StackName, name: &str, operation: u64) -> Result<(), EngineError> {
        self.end(project, name, operation).await
    }

    async fn exec(&self, exec: Exec<'_>) -> Result<Executed, EngineError> {
        self.execute(exec).await
    }

    async fn log_tail(&self, id: &ContainerId, lines: u32) -> Result<String, EngineError> {
        self.tail(id, lines).await
    }

    async fn differences(
        &self,
        id: &ContainerId,
        new: &NewContainer<'_>,
    ) -> Result<Vec<Difference>, EngineError> {
        self.compare(id, new).await
    }

    async fn networks(&self, names: &BTreeSet<String>) -> Result<BTreeSet<String>, EngineError> {
        self.existing_networks(names).await
    }

    async fn create_network(
        &self,
        stack: &StackSpec,
        key: &str,
        network: &NetworkSpec,
        name: &str,
    ) -> Result<(), EngineError> {
        self.make_network(stack, key, network, name).await
    }

    async fn volumes(&self, names: &BTreeSet<String>) -> Result<BTreeSet<String>, EngineError> {
        self.existing_volumes(names).await
    }

    async fn create_volume(
        &self,
        stack: &StackSpec,
        key: &str,
        volume: &VolumeSpec,
        name: &str,
    ) -> Result<(), EngineError> {
        self.make_volume(stack, key, volume, name).await
    }

    async fn claim(&self, project: &StackName, identity: &str) -> Result<String, EngineError> {
        self.mark_owner(project, identity).await
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageId>, EngineError> {
        self.resolve_image(reference).await
    }

    async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        self.pull_image(reference, platform, progress).await
    }

    async fn build(
        &self,
        build: &Build<'_>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        self.build_image(build, progress).await
    }

    async fn tag(&self, image: &ImageId, reference: &str) -> Result<(), EngineError> {
        self.tag_image(image, reference).await
    }

    async fn kept_images(&self, project: &StackName) -> Result<BTreeSet<ImageId>, EngineError> {
        Ok(self.keepers(project).await?.into_values().collect())
    }

    async fn keep_image(&self, project: &StackName, image: &ImageId) -> Result<(), EngineError> {
        self.make_keeper(project, image).await
    }

    async fn release_images(
        &self,
        project: &StackName,
        wanted: &BTreeSet<ImageId>,
    ) -> Result<(), EngineError> {
        self.remove_keepers(project, wanted).await
    }

    async fn follow_events(&self, on: &(dyn Fn(EngineEvent) + Send + Sync)) -> Result<(), EngineError> {
        self.follow(on).await
    }
}
