//! What runs on a host, whoever made it: the containers of every Compose project, as `steadfast init` looks at them.
//! Plain data. Nothing is decided here, and values of the environment are shown to nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use state::name::ContainerId;
use state::observed::ContainerState;
use state::stack_spec::EnvValue;

/// One container of a Compose project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Its identifier.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Whose it is, by Compose's labels.
    pub origin: Origin,
    /// The service it is of.
    pub service: String,
    /// Its life.
    pub state: ContainerState,
    /// The image as it was asked for when the container was made.
    pub image: String,
    /// The environment; the image's own variables are among it.
    pub env: BTreeMap<String, EnvValue>,
    /// Entrypoint and command together.
    pub words: Vec<String>,
    /// The directory that it runs in.
    pub workdir: String,
    /// The test of its HEALTHCHECK, as `["CMD-SHELL", "…"]`; empty: it has none.
    pub healthcheck: Vec<String>,
    /// The TCP ports that it says it listens on.
    pub ports: BTreeSet<u16>,
    /// Where the host reaches it.
    pub address: Option<IpAddr>,
    /// The host's files and directories in it: where in the container, and what of the host.
    pub binds: BTreeMap<String, PathBuf>,
}

/// What Compose's labels say of where a container comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The project.
    pub project: String,
    /// Its directory.
    pub directory: Option<PathBuf>,
    /// The Compose files, with commas between, as Compose was given them.
    pub files: Option<String>,
    /// The env files, likewise, where Compose was given some.
    pub env_files: Option<String>,
}
