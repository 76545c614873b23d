//! How a service is kept running: health check, restart policy, updates, resources.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Nanos, record};

/// When the engine restarts a container by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Always.
    Always,
    /// Always, unless someone stopped it.
    UnlessStopped,
    /// After a non-zero exit, at most `max` times (without end if absent).
    OnFailure {
        /// The engine's `MaximumRetryCount`.
        max: Option<u32>,
    },
}

/// What the `test` of a health check runs.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthcheckTest {
    /// Whatever the image says.
    #[default]
    Inherit,
    /// No check, although the image may have one: `disable: true` or `test: NONE`.
    Disabled,
    /// An argument vector, run as it is.
    Cmd(Vec<String>),
    /// A line for the container's shell.
    Shell(String),
}

impl fmt::Debug for HealthcheckTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inherit => "Inherit",
            Self::Disabled => "Disabled",
            Self::Cmd(_) => "Cmd(…)",
            Self::Shell(_) => "Shell(…)",
        })
    }
}

record! {
    /// `healthcheck:`. What is absent is the image's, or the engine's default.
    #[derive(Debug)]
    pub struct Healthcheck {
        /// What is run.
        pub test: HealthcheckTest,
        /// Time between two checks.
        pub interval: Option<Nanos>,
        /// Time allowed to one check.
        pub timeout: Option<Nanos>,
        /// Time after the start in which failures do not count.
        pub start_period: Option<Nanos>,
        /// Time between two checks during `start_period`.
        pub start_interval: Option<Nanos>,
        /// Failures in a row that make it unhealthy.
        pub retries: Option<u64>,
    }
}

/// `update_config.order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The old container stops before the new one starts: the Specification's default.
    #[default]
    StopFirst,
    /// The new one starts first.
    StartFirst,
}

/// `update_config.failure_action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUpdateFailure {
    /// Stop here.
    Pause,
    /// Go on.
    Continue,
    /// Go back.
    Rollback,
}

record! {
    /// `deploy.update_config` or `deploy.rollback_config`.
    #[derive(Debug)]
    pub struct UpdateConfig {
        /// Containers replaced at a time; 0 is all.
        pub parallelism: Option<u64>,
        /// Time between two groups.
        pub delay: Option<Nanos>,
        /// What a failure leads to; absent, the reader of the plan decides.
        pub failure_action: Option<OnUpdateFailure>,
        /// How long each container is watched after its start.
        pub monitor: Option<Nanos>,
        /// Share of failures that is tolerated.
        pub max_failure_ratio: Option<f64>,
        /// Which comes first, the stop or the start.
        pub order: Option<UpdateOrder>,
    }
}

/// `deploy.restart_policy.condition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartCondition {
    /// Never.
    None,
    /// After a non-zero exit.
    OnFailure,
    /// After every exit.
    Any,
}

record! {
    /// `deploy.restart_policy`.
    #[derive(Debug)]
    pub struct SwarmRestartPolicy {
        /// After which exits.
        pub condition: Option<RestartCondition>,
        /// Time between two attempts.
        pub delay: Option<Nanos>,
        /// Attempts before giving up.
        pub max_attempts: Option<u32>,
        /// Time after which a start counts as a success.
        pub window: Option<Nanos>,
    }
}

record! {
    /// A request for devices by what they can do: `reservations.devices`, `gpus`.
    #[derive(Debug)]
    pub struct DeviceRequest {
        /// What the device must be able to do.
        pub capabilities: Vec<String>,
        /// How many; -1 is all.
        pub count: Option<i64>,
        /// Which ones.
        pub device_ids: Vec<String>,
        /// The driver.
        pub driver: Option<String>,
        /// Options of the driver.
        pub options: BTreeMap<String, String>,
    }
}

record! {
    /// `deploy.resources.limits` or `.reservations`.
    #[derive(Debug)]
    pub struct Resources {
        /// Processors, in billionths.
        pub nano_cpus: Option<i64>,
        /// Memory in bytes.
        pub memory: Option<i64>,
        /// Processes.
        pub pids: Option<i64>,
        /// Devices (reservations only).
        pub devices: Vec<DeviceRequest>,
    }
}

record! {
    /// `deploy:`, as far as one host has a use for it.
    #[derive(Debug)]
    pub struct Deploy {
        /// How many containers.
        pub replicas: Option<u32>,
        /// `replicated`, the only mode one host has.
        pub mode: Option<String>,
        /// Labels of the service; they are not set on its containers.
        pub labels: BTreeMap<String, String>,
        /// What each container may use at most.
        pub limits: Option<Resources>,
        /// What each container is promised.
        pub reservations: Option<Resources>,
        /// Used where the service has no `restart` of its own.
        pub restart_policy: Option<SwarmRestartPolicy>,
        /// How a deploy replaces containers.
        pub update_config: Option<UpdateConfig>,
        /// How a rollback replaces them.
        pub rollback_config: Option<UpdateConfig>,
    }
}
