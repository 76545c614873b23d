//! Networks and volumes of a stack, and how a service is attached to the former.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EnvValue, record};
use crate::name::ServiceName;

record! {
    /// One entry of the top-level `networks:`.
    #[derive(Debug)]
    pub struct NetworkSpec {
        /// The name on the engine: `project_key`, or `name:`.
        pub name: String,
        /// Whether it must exist already; it is then never created, changed or removed.
        pub external: bool,
        /// The driver; absent is the engine's default, `bridge`.
        pub driver: Option<String>,
        /// Options of the driver.
        pub driver_opts: BTreeMap<String, String>,
        /// Address management.
        pub ipam: Ipam,
        /// Whether it has no way out.
        pub internal: bool,
        /// Whether containers outside of Swarm may attach.
        pub attachable: bool,
        /// IPv4 on or off; absent is the engine's default.
        pub enable_ipv4: Option<bool>,
        /// IPv6 on or off; absent is the engine's default.
        pub enable_ipv6: Option<bool>,
        /// Labels, without those that Compose adds.
        pub labels: BTreeMap<String, String>,
    }
}

record! {
    /// `ipam:`.
    #[derive(Debug)]
    pub struct Ipam {
        /// The driver.
        pub driver: Option<String>,
        /// Address pools.
        pub config: Vec<IpamPool>,
        /// Options of the driver.
        pub options: BTreeMap<String, String>,
    }
}

record! {
    /// One address pool.
    #[derive(Debug)]
    pub struct IpamPool {
        /// The subnet in CIDR form.
        pub subnet: Option<String>,
        /// The gateway's address.
        pub gateway: Option<String>,
        /// The part of the subnet that containers get.
        pub ip_range: Option<String>,
        /// Addresses that containers do not get, by host name.
        pub aux_addresses: BTreeMap<String, String>,
    }
}

record! {
    /// One entry of the top-level `volumes:`.
    #[derive(Debug)]
    pub struct VolumeSpec {
        /// The name on the engine: `project_key`, or `name:`.
        pub name: String,
        /// Whether it must exist already; it is then never created.
        pub external: bool,
        /// The driver; absent is the engine's default, `local`.
        pub driver: Option<String>,
        /// Options of the driver; passwords of network file systems are among them.
        pub driver_opts: BTreeMap<String, EnvValue>,
        /// Labels, without those that Compose adds.
        pub labels: BTreeMap<String, String>,
    }
}

record! {
    /// How a service is attached to one network.
    #[derive(Debug)]
    pub struct Attachment {
        /// More names on this network; service and container name are added on creation.
        pub aliases: Vec<String>,
        /// A fixed IPv4 address.
        pub ipv4_address: Option<String>,
        /// A fixed IPv6 address.
        pub ipv6_address: Option<String>,
        /// Link-local addresses.
        pub link_local_ips: Vec<String>,
        /// A fixed MAC address.
        pub mac_address: Option<String>,
        /// The name of the interface in the container.
        pub interface_name: Option<String>,
        /// Networks of higher priority are connected first.
        pub priority: i64,
        /// The network of the highest value gives the default gateway.
        pub gw_priority: i64,
        /// Options of the driver.
        pub driver_opts: BTreeMap<String, String>,
    }
}

/// Whose namespace a container lives in: `network_mode`, `pid`, `ipc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceMode {
    /// None at all.
    None,
    /// The host's.
    Host,
    /// That of another service's first container.
    Service(ServiceName),
    /// That of a container outside of the stack, by name or id.
    Container(String),
    /// Anything else the engine may know: `bridge`, `private`, `shareable`, a network's name.
    Other(String),
}

/// How a service reaches others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Networking {
    /// On networks of the stack, by key. Never empty as loaded: without `networks:` it is `default`.
    Networks(BTreeMap<String, Attachment>),
    /// In a namespace of another kind: `network_mode`.
    Mode(NamespaceMode),
}

impl Default for Networking {
    fn default() -> Self {
        Self::Networks(BTreeMap::new())
    }
}
