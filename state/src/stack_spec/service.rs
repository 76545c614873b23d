//! One service, resolved, and what the planner asks about it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Attachment, BuildSpec, Deploy, DeviceRequest, EnvValue, FileGrant, Healthcheck, Mount, NamespaceMode,
    Nanos, Networking, Port, RestartCondition, RestartPolicy, VolumesFrom, record,
};
use crate::name::ServiceName;

/// What a dependency must have reached, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// `service_started`.
    #[default]
    Started,
    /// `service_healthy`.
    Healthy,
    /// `service_completed_successfully`.
    CompletedSuccessfully,
}

/// One entry of `depends_on`. `links`, `volumes_from` and shared namespaces add entries of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// What it must have reached.
    pub condition: Condition,
    /// Whether the dependent is restarted when the dependency was replaced.
    pub restart: bool,
    /// Whether the dependent cannot go on without it.
    pub required: bool,
}

/// `pull_policy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// Always ask the registry.
    Always,
    /// Never ask it.
    Never,
    /// Ask it when the image is not here: the default.
    Missing,
    /// Build it.
    Build,
    /// Ask once a day.
    Daily,
    /// Ask once a week.
    Weekly,
    /// Ask when the last pull is older.
    Every(Nanos),
}

/// `logging`. Options can hold tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Logging {
    /// The driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Options of the driver.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, EnvValue>,
}

/// A limit of the kernel on a process; -1 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ulimit {
    /// The soft limit.
    pub soft: i64,
    /// The hard limit.
    pub hard: i64,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host, or the name of a CDI device.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// `rwm` or a part of it.
    pub permissions: String,
}

/// A link to another service (`links`) or container (`external_links`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Link {
    /// The service or container.
    pub to: String,
    /// The name it is reached by.
    pub alias: String,
}

/// A limit on one block device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RateLimit {
    /// The device.
    pub path: String,
    /// Bytes or operations a second.
    pub rate: i64,
}

/// A weight on one block device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WeightDevice {
    /// The device.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

record! {
    /// `blkio_config`.
    #[derive(Debug)]
    pub struct BlkioConfig {
        /// 10 to 1000; 0 is none.
        pub weight: u16,
        /// Weights by device.
        pub weight_device: Vec<WeightDevice>,
        /// Read limits in bytes a second.
        pub device_read_bps: Vec<RateLimit>,
        /// Read limits in operations a second.
        pub device_read_iops: Vec<RateLimit>,
        /// Write limits in bytes a second.
        pub device_write_bps: Vec<RateLimit>,
        /// Write limits in operations a second.
        pub device_write_iops: Vec<RateLimit>,
    }
}

record! {
    /// One service. A field is named after its key in the Compose Specification; what is absent is
    /// the image's or the engine's default.
    pub struct ServiceSpec {
        /// The image reference, as written after interpolation.
        pub image: Option<String>,
        /// How the image is built.
        pub build: Option<BuildSpec>,
        /// When to ask the registry.
        pub pull_policy: Option<PullPolicy>,
        /// `os/arch[/variant]`.
        pub platform: Option<String>,
        /// A name of the operator's own; only with one replica.
        pub container_name: Option<String>,
        /// Replaces the image's command; `Some` of nothing clears it.
        pub command: Option<Vec<String>>,
        /// Replaces the image's entrypoint; `Some` of nothing clears it.
        pub entrypoint: Option<Vec<String>>,
        /// Variables, `env_file` merged in. `None` takes the name out of the image's environment.
        pub environment: BTreeMap<String, Option<EnvValue>>,
        /// Labels, without those that Compose adds.
        pub labels: BTreeMap<String, String>,
        /// Annotations.
        pub annotations: BTreeMap<String, String>,
        /// Published ports.
        pub ports: Vec<Port>,
        /// Ports that are only declared, as `8080/tcp` or `8080-8090`.
        pub expose: Vec<String>,
        /// Mounts.
        pub volumes: Vec<Mount>,
        /// Memory file systems, as `/run` or `/run:size=64m`.
        pub tmpfs: Vec<String>,
        /// Mounts of others.
        pub volumes_from: Vec<VolumesFrom>,
        /// Config files.
        pub configs: Vec<FileGrant>,
        /// Secret files.
        pub secrets: Vec<FileGrant>,
        /// Networks or another network namespace.
        pub networking: Networking,
        /// Links to other services; they are in `depends_on` too.
        pub links: Vec<Link>,
        /// Links to containers outside of the stack.
        pub external_links: Vec<Link>,
        /// What must be up before.
        pub depends_on: BTreeMap<ServiceName, Dependency>,
        /// The health check.
        pub healthcheck: Option<Healthcheck>,
        /// Replicas, updates, resources.
        pub deploy: Option<Deploy>,
        /// `scale`: agrees with `deploy.replicas` where both are given.
        pub scale: Option<u32>,
        /// The `restart` key; see [`ServiceSpec::restart_policy`] for what holds.
        pub restart: Option<RestartPolicy>,
        /// The signal that asks for an end.
        pub stop_signal: Option<String>,
        /// How long the end may take.
        pub stop_grace_period: Option<Nanos>,
        /// Whether an init process reaps.
        pub init: Option<bool>,
        /// Whether there is a terminal.
        pub tty: bool,
        /// Whether standard input stays open.
        pub stdin_open: bool,
        /// Whether the root file system is read only.
        pub read_only: bool,
        /// Whether everything is allowed.
        pub privileged: bool,
        /// `user[:group]`.
        pub user: Option<String>,
        /// More groups.
        pub group_add: Vec<String>,
        /// The working directory.
        pub working_dir: Option<String>,
        /// The host name.
        pub hostname: Option<String>,
        /// The domain name.
        pub domainname: Option<String>,
        /// The MAC address (old place; `networks.x.mac_address` is the new one).
        pub mac_address: Option<String>,
        /// More lines of `/etc/hosts`: host to addresses.
        pub extra_hosts: BTreeMap<String, Vec<String>>,
        /// Name servers.
        pub dns: Vec<String>,
        /// Search domains.
        pub dns_search: Vec<String>,
        /// Resolver options.
        pub dns_opt: Vec<String>,
        /// Where output goes.
        pub logging: Option<Logging>,
        /// Process namespace.
        pub pid: Option<NamespaceMode>,
        /// IPC namespace.
        pub ipc: Option<NamespaceMode>,
        /// UTS namespace.
        pub uts: Option<String>,
        /// User namespace.
        pub userns_mode: Option<String>,
        /// Cgroup namespace: `host` or `private`.
        pub cgroup: Option<String>,
        /// Parent cgroup.
        pub cgroup_parent: Option<String>,
        /// Size of `/dev/shm` in bytes.
        pub shm_size: Option<i64>,
        /// Kernel limits.
        pub ulimits: BTreeMap<String, Ulimit>,
        /// Kernel parameters.
        pub sysctls: BTreeMap<String, String>,
        /// Capabilities given.
        pub cap_add: Vec<String>,
        /// Capabilities taken.
        pub cap_drop: Vec<String>,
        /// Labels and profiles of the security modules.
        pub security_opt: Vec<String>,
        /// Devices.
        pub devices: Vec<Device>,
        /// Rules of the device cgroup.
        pub device_cgroup_rules: Vec<String>,
        /// GPUs.
        pub gpus: Vec<DeviceRequest>,
        /// Options of the storage driver.
        pub storage_opt: BTreeMap<String, String>,
        /// Processors, in billionths (`cpus`).
        pub nano_cpus: Option<i64>,
        /// Usable processors (Windows).
        pub cpu_count: Option<i64>,
        /// Usable share of the processors in percent (Windows).
        pub cpu_percent: Option<f64>,
        /// Relative weight.
        pub cpu_shares: Option<i64>,
        /// CFS quota in microseconds.
        pub cpu_quota: Option<i64>,
        /// CFS period in microseconds.
        pub cpu_period: Option<i64>,
        /// Realtime period in microseconds.
        pub cpu_rt_period: Option<i64>,
        /// Realtime runtime in microseconds.
        pub cpu_rt_runtime: Option<i64>,
        /// Which processors, as `0-3,5`.
        pub cpuset: Option<String>,
        /// Memory limit in bytes.
        pub mem_limit: Option<i64>,
        /// Memory reservation in bytes.
        pub mem_reservation: Option<i64>,
        /// Memory and swap limit in bytes; -1 is none.
        pub memswap_limit: Option<i64>,
        /// 0 to 100.
        pub mem_swappiness: Option<i64>,
        /// Whether the kernel's out-of-memory killer leaves it alone.
        pub oom_kill_disable: bool,
        /// -1000 to 1000.
        pub oom_score_adj: Option<i64>,
        /// Process limit; -1 is none.
        pub pids_limit: Option<i64>,
        /// Block device limits.
        pub blkio_config: Option<BlkioConfig>,
        /// The OCI runtime.
        pub runtime: Option<String>,
        /// Isolation technology (Windows).
        pub isolation: Option<String>,
        /// Profiles that the service belongs to; one of them is active, or there are none.
        pub profiles: BTreeSet<String>,
        /// Whether Compose would show its output; kept for the record.
        pub attach: Option<bool>,
    }
}

impl ServiceSpec {
    /// Mounts whose content outlives the container and which the container may write.
    /// What `volumes_from` brings is not among them; see the services it names.
    pub fn data_mounts(&self) -> impl Iterator<Item = &Mount> {
        self.volumes.iter().filter(|mount| mount.is_data())
    }

    /// Paths of the host that its containers see.
    pub fn host_paths(&self) -> impl Iterator<Item = &Path> {
        self.volumes.iter().filter_map(|mount| match mount {
            Mount::Bind(bind) => Some(bind.source.as_path()),
            _ => None,
        })
    }

    /// Whether a second container of this service could not start beside the first for a port's sake.
    pub fn publishes_host_port(&self) -> bool {
        let host_namespace = matches!(&self.networking, Networking::Mode(NamespaceMode::Host));
        host_namespace
            || self
                .ports
                .iter()
                .any(|p| p.published.is_some_and(|range| range.first == range.last))
    }

    /// Whether it has an address, MAC or name that only one container can have.
    pub fn has_fixed_address(&self) -> bool {
        let fixed = |a: &Attachment| {
            a.ipv4_address.is_some()
                || a.ipv6_address.is_some()
                || a.mac_address.is_some()
                || !a.link_local_ips.is_empty()
        };
        self.mac_address.is_some()
            || self
                .networks()
                .is_some_and(|networks| networks.values().any(fixed))
    }

    /// How many containers there shall be.
    pub fn replicas(&self) -> u32 {
        self.deploy
            .as_ref()
            .and_then(|d| d.replicas)
            .or(self.scale)
            .unwrap_or(1)
    }

    /// The networks it is attached to, unless it lives in another namespace.
    pub fn networks(&self) -> Option<&BTreeMap<String, Attachment>> {
        match &self.networking {
            Networking::Networks(networks) => Some(networks),
            Networking::Mode(_) => None,
        }
    }

    /// What the engine shall do when the container exits: `deploy.restart_policy`, else `restart`, else nothing.
    pub fn restart_policy(&self) -> RestartPolicy {
        let Some(policy) = self.deploy.as_ref().and_then(|d| d.restart_policy.as_ref()) else {
            return self.restart.unwrap_or_default();
        };
        match policy.condition {
            Some(RestartCondition::None) => RestartPolicy::No,
            Some(RestartCondition::OnFailure) => RestartPolicy::OnFailure {
                max: policy.max_attempts,
            },
            Some(RestartCondition::Any) | None => RestartPolicy::Always,
        }
    }

    /// The services whose containers must exist before this one's can be created or started: `depends_on`
    /// as loaded, which holds those of `links`, `volumes_from` and shared namespaces too.
    pub fn dependencies(&self) -> impl Iterator<Item = &ServiceName> {
        self.depends_on.keys()
    }
}

impl fmt::Debug for ServiceSpec {
    /// Image and names only: values from `.env` can be anywhere else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceSpec")
            .field("image", &self.image)
            .field("build", &self.build)
            .field("container_name", &self.container_name)
            .field("environment", &self.environment.keys())
            .field("ports", &self.ports)
            .field("volumes", &self.volumes)
            .field("depends_on", &self.depends_on)
            .finish_non_exhaustive()
    }
}
