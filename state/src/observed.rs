//! What is: containers, images, the schema and the files, as they were last seen. Every part can be
//! [`Known::Unknown`], which is never read as absent or failing (invariant 9). Nothing here asks anyone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::name::{ContainerId, ImageId, Revision, ServiceName};
use crate::stack_spec::RestartPolicy;

/// A fact, or why it could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known<T> {
    /// It was seen.
    Known(T),
    /// It could not be seen; the reason, for people. Not "absent", not "failing".
    Unknown(String),
}

impl<T> Known<T> {
    /// The fact, when there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Known::Known(value) => Some(value),
            Known::Unknown(_) => None,
        }
    }

    /// Why there is none.
    pub fn unknown(&self) -> Option<&str> {
        match self {
            Known::Known(_) => None,
            Known::Unknown(why) => Some(why),
        }
    }
}

/// Docker's own judgement of a container with a HEALTHCHECK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DockerHealth {
    /// Within its `start_period`, or not probed yet.
    Starting,
    /// The last probe passed.
    Healthy,
    /// `retries` probes in a row failed.
    Unhealthy,
}

/// The life of a container, as the engine names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Created, never started.
    Created,
    /// Running; with Docker's own health where the container has a HEALTHCHECK.
    Running(Option<DockerHealth>),
    /// Dying again and again; the engine waits before it starts it again.
    Restarting,
    /// Frozen by hand.
    Paused,
    /// Exited with this code (`None`: the engine did not say).
    Exited(Option<i64>),
    /// Being removed, or dead: neither can be used again.
    Gone,
}

impl ContainerState {
    /// Whether its process is alive.
    pub fn is_running(&self) -> bool {
        matches!(self, ContainerState::Running(_))
    }
}

/// One container of the stack: it carries the Compose project label of this stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerObs {
    /// Its identifier.
    pub id: ContainerId,
    /// Its name, without the leading slash.
    pub name: String,
    /// The service it is of (`com.docker.compose.service`).
    pub service: ServiceName,
    /// Which of the service's replicas, from 1 (`com.docker.compose.container-number`).
    pub number: u32,
    /// The image it was made from.
    pub image: ImageId,
    /// Its life.
    pub state: ContainerState,
    /// `io.steadfast.spec`: the hash of the specification that Steadfast made it from.
    pub spec: Option<String>,
    /// `io.steadfast.operation`: the operation that made it.
    pub operation: Option<u64>,
    /// `com.docker.compose.oneoff`: made by `docker compose run`; never ours to judge.
    pub oneoff: bool,
    /// How often the engine has restarted it, where that was asked for.
    pub restarts: Option<u32>,
}

/// What an inspect says of one container, beyond [`ContainerObs`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerDetail {
    /// The part that a list says too, with `restarts` filled.
    pub summary: ContainerObs,
    /// Its restart policy now.
    pub restart: RestartPolicy,
    /// Networks it is attached to: engine name, aliases, address if it runs, fixed addresses if any.
    pub networks: Vec<Attachment>,
    /// Anonymous volumes: mounts of type `volume` whose name is 64 hexadecimal digits.
    pub anonymous: Vec<Carried>,
    /// Engine names of all volumes and host paths that it mounts writable.
    pub writable: BTreeSet<String>,
    /// The containers in whose namespaces it lives, by id or name: it cannot start unless they run.
    pub homes: BTreeSet<String>,
    /// When it was started last, in milliseconds of the wall clock, as far as the engine says.
    #[serde(default)]
    pub started: Option<i64>,
}

impl ContainerDetail {
    /// Whether it lives in a namespace of `other`.
    pub fn lives_in(&self, other: &ContainerObs) -> bool {
        self.homes.iter().any(|home| {
            *home == other.name || (home.len() >= 12 && other.id.as_str().starts_with(home.as_str()))
        })
    }
}

/// An anonymous volume of the old container that goes on in the new one, with its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Where it is mounted.
    pub target: String,
    /// The volume's engine name.
    pub volume: String,
}

/// One network that a container is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Engine name of the network.
    pub network: String,
    /// Its aliases there.
    pub aliases: Vec<String>,
    /// The address it was asked to have, if a fixed one was.
    pub fixed_ipv4: Option<String>,
    /// The same for IPv6.
    pub fixed_ipv6: Option<String>,
    /// The address it has now, empty when it does not run.
    pub address: Option<std::net::IpAddr>,
}

/// The schema head(s) of the database, from its version table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaHead {
    /// There is no version table: nothing was ever migrated (SQLSTATE 42P01).
    NoTable,
    /// The rows of the version table: none, one, or several heads.
    At(BTreeSet<Revision>),
}

/// All that one pass saw of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The containers that carry the stack's project label, one-off ones included.
    pub containers: Known<Vec<ContainerObs>>,
    /// Engine names of networks that exist; asked for only when the containers differ.
    pub networks: Option<Known<BTreeSet<String>>>,
    /// Engine names of volumes that exist; asked for only when the containers differ.
    pub volumes: Option<Known<BTreeSet<String>>>,
    /// What the wanted image references name now; `None`: not on this host. Asked for when needed.
    pub images: BTreeMap<String, Known<Option<ImageId>>>,
    /// The migration head; `None`: the stack has no database configured.
    pub schema: Option<Known<SchemaHead>>,
}
