//! The resolved Compose stack: what each container, network and volume of a stack shall be, with
//! nothing left to look up. Interpolation, merging, `extends`, profiles and `env_file` are behind us
//! here; reading files is the `config` crate's work, and the engine's types are the agent's.
//!
//! The JSON form is stable (ordered maps, absent where default): it is stored and hashed. `Debug`
//! never shows values that can hold secrets, the JSON form holds them all.

mod build;
mod deploy;
mod mount;
mod network;
mod order;
mod service;
mod value;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use build::BuildSpec;
pub use deploy::{
    Deploy, DeviceRequest, Healthcheck, HealthcheckTest, OnUpdateFailure, Resources, RestartCondition,
    RestartPolicy, SwarmRestartPolicy, UpdateConfig, UpdateOrder,
};
pub use mount::{
    Bind, FileGrant, FileObject, FileSource, Mount, NamedVolume, Port, Protocol, PublishedPort, TmpfsMount,
    VolumesFrom,
};
pub use network::{Attachment, Ipam, IpamPool, NamespaceMode, NetworkSpec, Networking, VolumeSpec};
pub use order::DependencyCycle;
pub use service::{
    BlkioConfig, Condition, Dependency, Device, Link, Logging, PullPolicy, RateLimit, ServiceSpec, Ulimit,
    WeightDevice,
};
pub use value::{EnvValue, Nanos};

use crate::name::{ServiceName, StackName};

/// Serializes every field only where it differs from its default, so that a new field changes no hash.
macro_rules! record {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "crate::stack_spec::is_default")]
                pub $field: $ty,
            )*
        }
    };
}
pub(crate) use record;

/// Whether `value` is what an absent field reads as.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One Compose project, resolved whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StackSpec {
    /// The Compose project name.
    pub project: StackName,
    /// The services whose profiles are active, by name.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
    /// The networks that services use, by key; `default` is among them where it is used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, NetworkSpec>,
    /// The named volumes that services use, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// The `configs` that services use, by key. What a service mounts is in its own `configs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub configs: BTreeMap<String, FileObject>,
    /// The `secrets` that services use, by key. What a service mounts is in its own `secrets`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, FileObject>,
}

impl StackSpec {
    /// An empty stack named `project`.
    pub fn new(project: StackName) -> Self {
        Self {
            project,
            services: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    /// Whether `service` runs once and is then done: it is not restarted, and another service waits
    /// for it to complete. Exited with 0 it is not missing.
    pub fn is_one_shot(&self, service: &ServiceName) -> bool {
        let restarts = |spec: &ServiceSpec| spec.restart_policy() != RestartPolicy::No;
        self.services.get(service).is_some_and(|spec| !restarts(spec))
            && self.services.values().any(|other| {
                other
                    .depends_on
                    .get(service)
                    .is_some_and(|d| d.condition == Condition::CompletedSuccessfully)
            })
    }
}

impl StackSpec {
    /// The bytes that decide how a container of `service` is made, for hashing: everything but what
    /// has no part in the container itself. `None`: no such service.
    pub fn container_identity(&self, service: &ServiceName) -> Option<Vec<u8>> {
        let mut spec = self.services.get(service)?.clone();
        spec.image = None;
        spec.build = None;
        spec.pull_policy = None;
        spec.scale = None;
        spec.attach = None;
        spec.depends_on.clear();
        spec.profiles.clear();
        if let Some(deploy) = &mut spec.deploy {
            deploy.replicas = None;
            deploy.update_config = None;
            deploy.rollback_config = None;
        }
        let networks: Vec<_> = spec
            .networks()
            .into_iter()
            .flat_map(BTreeMap::keys)
            .map(|key| (key, self.networks.get(key).map(|n| &n.name)))
            .collect();
        Some(serde_json::to_vec(&(&spec, networks)).expect("a service is plain data"))
    }
}
