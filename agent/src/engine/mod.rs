//! The Docker Engine as Steadfast needs it: a trait in our own words. Policy does not live here;
//! neither does anything that decides *whether* to call.

pub mod address;
mod api;
mod build;
mod command;
mod context;
mod diff;
mod docker;
pub(crate) mod labels;
mod render;
mod status;
pub mod survey;
mod tar;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use state::files::Signal;
use state::name::{ContainerId, ImageId, ServiceName, StackName};
pub use state::naming::Dialect;
pub use state::observed::{Attachment, Carried, ContainerDetail, ContainerObs};
use state::stack_spec::{NetworkSpec, RestartPolicy, ServiceSpec, StackSpec, VolumeSpec};

pub use self::build::{Build, unsupported};
pub(crate) use self::command::Tail;
pub use self::command::{Exec, Executed, Listener, OUTPUT_BYTES, OnceNetwork, OneOff, Ran};
pub use self::context::context_digest;
pub use self::docker::DockerEngine;

/// What went wrong with a call, by what one may conclude from it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens, or the connection broke. Whether the effect took place is unknown.
    #[error("the docker engine is not reachable at {address}: {reason}")]
    Unreachable {
        /// The address that was tried.
        address: String,
        /// What the transport said.
        reason: String,
    },
    /// No answer in time. Whether the effect took place is unknown.
    #[error("the docker engine did not answer {call} within {after:?}")]
    Timeout {
        /// Which call.
        call: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// 404: there is no such thing.
    #[error("{call}: {message}")]
    NotFound {
        /// Which call.
        call: &'static str,
        /// The engine's words.
        message: String,
    },
    /// 409: the name is taken, or the thing is in the wrong state.
    #[error("{call}: {message}")]
    Conflict {
        /// Which call.
        call: &'static str,
        /// The engine's words.
        message: String,
    },
    /// Any other refusal, with the engine's words.
    #[error("{call}: {message} (status {status})")]
    Refused {
        /// Which call.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// The registry says that this image does not exist: trying again cannot help.
    #[error("image {reference} cannot be had: {message}")]
    ManifestUnknown {
        /// The reference that was pulled.
        reference: String,
        /// The engine's words.
        message: String,
    },
    /// What was to be built cannot be built: trying again cannot help.
    #[error("image {reference} cannot be built: {message}")]
    BuildFailed {
        /// The tag that it would have had.
        reference: String,
        /// Which step, why, and its last lines; no value of an argument is in it.
        message: String,
    },
    /// The caller's own end of a stream failed: what is fed could not be read, or what comes could not be written.
    #[error("{call}: what is handed through cannot be read or written: {reason}")]
    Stream {
        /// Which call.
        call: &'static str,
        /// What the system said.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error("{call}: the docker engine's answer is not understood: {reason}")]
    Garbled {
        /// Which call.
        call: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl EngineError {
    /// Whether the effect may have taken place all the same: observe before concluding anything.
    pub fn leaves_unknown(&self) -> bool {
        match self {
            EngineError::Unreachable { .. }
            | EngineError::Timeout { .. }
            | EngineError::Stream { .. }
            | EngineError::Garbled { .. } => true,
            EngineError::Refused { status, .. } => *status >= 500,
            EngineError::NotFound { .. }
            | EngineError::Conflict { .. }
            | EngineError::ManifestUnknown { .. }
            | EngineError::BuildFailed { .. } => false,
        }
    }

    /// The same with every one of `secrets` taken out of the engine's words: it quotes what it refuses.
    #[must_use]
    pub(crate) fn redacted<'a>(mut self, secrets: impl Iterator<Item = &'a str>) -> Self {
        let words = match &mut self {
            EngineError::NotFound { message, .. }
            | EngineError::Conflict { message, .. }
            | EngineError::Refused { message, .. }
            | EngineError::ManifestUnknown { message, .. }
            | EngineError::BuildFailed { message, .. } => message,
            EngineError::Garbled { reason, .. } => reason,
            EngineError::Unreachable { .. } | EngineError::Timeout { .. } | EngineError::Stream { .. } => {
                return self;
            }
        };
        *words = without(words, secrets);
        self
    }
}

/// `words` with every one of `secrets` taken out.
pub(crate) fn without<'a>(words: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    // Of one or two characters, every text is full; and a longer secret may hold a shorter one.
    let mut secrets: Vec<&str> = secrets.filter(|secret| secret.len() > 2).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut words = words.to_owned();
    for secret in secrets {
        words = words.replace(secret, "…");
    }
    words
}

/// What the engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its version, as `20.10.24`.
    pub version: String,
    /// The API version that was negotiated, as `1.41`.
    pub api: String,
}

/// A container to be created, in our words. Never started by the call that creates it.
#[derive(Debug, Clone)]
pub struct NewContainer<'a> {
    /// The whole stack, for networks, volumes, configs and secrets.
    pub stack: &'a StackSpec,
    /// The service's name.
    pub service: &'a ServiceName,
    /// What the service is; not always the stack's own entry (a pin changes the image).
    pub spec: &'a ServiceSpec,
    /// Which replica, from 1.
    pub number: u32,
    /// The name to create it under; a temporary one during a replacement.
    pub name: String,
    /// The image, by identifier.
    pub image: ImageId,
    /// The keyed spec hash, for the label `io.steadfast.spec`.
    pub spec_hash: String,
    /// The operation, for the label `io.steadfast.operation`.
    pub operation: u64,
    /// The generation, for the label `io.steadfast.generation`.
    pub generation: u64,
    /// Anonymous volumes to carry over.
    pub carried: Vec<Carried>,
    /// The restart policy to create it with, which is not yet the service's own during an operation;
    /// when comparing, the one that the container should have.
    pub restart: RestartPolicy,
    /// How names are joined in this stack.
    pub dialect: Dialect,
    /// `com.docker.compose.project.working_dir`.
    pub working_dir: PathBuf,
    /// `com.docker.compose.project.config_files`.
    pub config_files: Vec<PathBuf>,
}

/// One difference between a container and what we would create for its service now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The inspected field, as `HostConfig.Memory`.
    pub field: String,
    /// What it is; environment values and other secrets are never in it, only keys.
    pub detail: String,
}

/// An event that says that something about a project's containers has changed. It only wakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEvent {
    /// The Compose project, when the event's object carries one.
    pub project: Option<String>,
    /// The service, likewise.
    pub service: Option<ServiceName>,
    /// `start`, `die`, `health_status: unhealthy` …
    pub action: String,
}

/// The engine. Every call has a deadline and ends; none of them retries.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Reaches the engine and negotiates the API version.
    async fn info(&self) -> Result<EngineInfo, EngineError>;

    /// All containers, in any state, with this project's Compose label, sorted by service and number. One call.
    async fn containers(&self, project: &StackName) -> Result<Vec<ContainerObs>, EngineError>;
    /// One container of a Compose project, by identifier or name; `None` when there is none.
    async fn container(&self, id: &str) -> Result<Option<ContainerDetail>, EngineError>;
    /// Creates, attaches all networks, does not start. A container of that name which carries the same
    /// `io.steadfast.operation` and was never started is removed and made anew (a create whose answer was lost).
    async fn create(&self, new: &NewContainer<'_>) -> Result<ContainerId, EngineError>;
    /// Starts; already running is done.
    async fn start(&self, id: &ContainerId) -> Result<(), EngineError>;
    /// Stops with the service's own signal; forced after `grace`; already stopped is done.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError>;
    /// Sends a signal to its first process; one that does not run gets none.
    async fn signal(&self, id: &ContainerId, signal: Signal) -> Result<(), EngineError>;
    /// Lets a paused container go on.
    async fn unpause(&self, id: &ContainerId) -> Result<(), EngineError>;
    /// Removes by force, never with its anonymous volumes; already gone is done.
    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError>;
    /// Renames; having that name already is done.
    async fn rename(&self, id: &ContainerId, name: &str) -> Result<(), EngineError>;
    /// Sets the restart policy.
    async fn set_restart(&self, id: &ContainerId, policy: &RestartPolicy) -> Result<(), EngineError>;
    /// Attaches to a network; being attached already is done.
    async fn connect(&self, id: &ContainerId, to: &Attachment) -> Result<(), EngineError>;
    /// Leaves a network; having left is done. A container that has left all of them starts without any, on
    /// every engine tried: connect it before it is started again.
    async fn disconnect(&self, id: &ContainerId, network: &str) -> Result<(), EngineError>;
    /// Runs a command in a container of its own, waits until it has exited, and removes it. Any exit code is a result.
    /// A container of that name which the same operation made is joined; somebody else's is a `Conflict`. What has
    /// not ended `within` its time is killed and removed: `Timeout` of "run once". Any other error that
    /// leaves unknown leaves the container too, and so does whoever drops the call: the next call joins it.
    async fn run_once(&self, once: &OneOff<'_>) -> Result<Ran, EngineError>;
    /// Kills and removes such a container with its own anonymous volumes; already gone is done, and somebody else's
    /// of that name is left alone.
    async fn end_once(&self, project: &StackName, name: &str, operation: u64) -> Result<(), EngineError>;
    /// Runs a command in a running container and hands through what it reads and writes; any exit code is a result.
    /// Dropping the call does not end the process, and neither does `Timeout`, unless it is run under `timeout -k`.
    async fn exec(&self, exec: Exec<'_>) -> Result<Executed, EngineError>;
    /// The last lines of its log, bounded in lines and bytes.
    async fn log_tail(&self, id: &ContainerId, lines: u32) -> Result<String, EngineError>;

    /// What differs between a container and what we would create for it, as far as the specification says. What
    /// the engine or the image fills in is no difference, nor is what either dialect of Compose writes its own way.
    async fn differences(
        &self,
        id: &ContainerId,
        new: &NewContainer<'_>,
    ) -> Result<Vec<Difference>, EngineError>;

    /// Engine names of the networks that exist, of those asked for.
    async fn networks(&self, names: &BTreeSet<String>) -> Result<BTreeSet<String>, EngineError>;
    /// Creates a network with Compose's labels; existing already is done.
    async fn create_network(
        &self,
        stack: &StackSpec,
        key: &str,
        network: &NetworkSpec,
        name: &str,
    ) -> Result<(), EngineError>;
    /// Engine names of the volumes that exist, of those asked for.
    async fn volumes(&self, names: &BTreeSet<String>) -> Result<BTreeSet<String>, EngineError>;
    /// Creates a volume with Compose's labels (never `config-hash`); existing already is done. Volumes are never removed.
    async fn create_volume(
        &self,
        stack: &StackSpec,
        key: &str,
        volume: &VolumeSpec,
        name: &str,
    ) -> Result<(), EngineError>;
    /// Creates the ownership marker volume `io.steadfast.owner.<project>` labelled with this agent's
    /// identity, or returns the identity that it carries already (names are locks).
    async fn claim(&self, project: &StackName, identity: &str) -> Result<String, EngineError>;

    /// What `reference` (a name, a digest or an identifier) names on this host.
    async fn image(&self, reference: &str) -> Result<Option<ImageId>, EngineError>;
    /// Pulls, telling the progress in words; `ManifestUnknown` is final, everything else is worth another try.
    async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<ImageId, EngineError>;
    /// Builds, telling the progress in words; `BuildFailed` is final, everything else is worth another try. There is no
    /// deadline, other than for silence; dropping the call ends the build.
    async fn build(
        &self,
        build: &Build<'_>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<ImageId, EngineError>;
    /// Gives an image a name; having it already is done, and whatever had it has it no more.
    async fn tag(&self, image: &ImageId, reference: &str) -> Result<(), EngineError>;
    /// The images that keepers of this project hold. One call.
    async fn kept_images(&self, project: &StackName) -> Result<BTreeSet<ImageId>, EngineError>;
    /// Makes sure that a stopped container named `steadfast-keep-<project>-<short image id>`, labelled
    /// `io.steadfast.keeper=<project>` and not with Compose's labels, holds this image; returns its id.
    async fn keep_image(&self, project: &StackName, image: &ImageId) -> Result<(), EngineError>;
    /// Removes the keepers of this project whose image is not in `wanted`.
    async fn release_images(
        &self,
        project: &StackName,
        wanted: &BTreeSet<ImageId>,
    ) -> Result<(), EngineError>;

    /// Follows events of containers of any project until the connection breaks; `on` is called for each.
    /// Healthchecks that change nothing are filtered on the engine's side.
    async fn follow_events(&self, on: &(dyn Fn(EngineEvent) + Send + Sync)) -> Result<(), EngineError>;
}
