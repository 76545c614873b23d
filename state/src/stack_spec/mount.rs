//! What a container is given: ports, volumes, files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{EnvValue, record};
use crate::name::ServiceName;

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// The host's side of a port: one port, or a range of which the engine takes a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The lowest port.
    pub first: u16,
    /// The highest port; equal to `first` for one port.
    pub last: u16,
}

impl fmt::Display for PublishedPort {
    /// As the engine's `HostPort` takes it: `8080` or `8000-9000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

record! {
    /// One published port. A range in the file is one of these for each of its ports.
    #[derive(Debug, Eq, PartialOrd, Ord)]
    pub struct Port {
        /// The host's address; absent is every address.
        pub host_ip: Option<String>,
        /// The host's port; absent, the engine takes a free one.
        pub published: Option<PublishedPort>,
        /// The container's port.
        pub target: u16,
        /// The protocol.
        pub protocol: Protocol,
        /// `host` or `ingress`; one host treats both the same.
        pub mode: Option<String>,
        /// A name for readers.
        pub name: Option<String>,
        /// What is spoken over it, for readers.
        pub app_protocol: Option<String>,
    }
}

record! {
    /// A directory or file of the host.
    #[derive(Debug, Eq)]
    pub struct Bind {
        /// Absolute path on the host.
        pub source: PathBuf,
        /// Absolute path in the container.
        pub target: String,
        /// Whether the container may not write.
        pub read_only: bool,
        /// `rprivate`, `rshared` …
        pub propagation: Option<String>,
        /// Whether a missing source is made as a directory. Where it is not, a missing source is an error.
        pub create_host_path: bool,
        /// `z` or `Z`.
        pub selinux: Option<String>,
        /// `enabled`, `disabled`, `writable` or `readonly`.
        pub recursive: Option<String>,
        /// `cached`, `delegated` or `consistent`: kept for the record.
        pub consistency: Option<String>,
    }
}

record! {
    /// A volume of the stack, or of the outside.
    #[derive(Debug, Eq)]
    pub struct NamedVolume {
        /// The key among the stack's volumes.
        pub volume: String,
        /// Absolute path in the container.
        pub target: String,
        /// Whether the container may not write.
        pub read_only: bool,
        /// Whether an empty volume is left empty.
        pub nocopy: bool,
        /// A path inside of the volume.
        pub subpath: Option<String>,
        /// Kept for the record.
        pub consistency: Option<String>,
    }
}

record! {
    /// A file system in memory.
    #[derive(Debug, Eq)]
    pub struct TmpfsMount {
        /// Absolute path in the container.
        pub target: String,
        /// Size in bytes.
        pub size: Option<i64>,
        /// Permission bits.
        pub mode: Option<u32>,
        /// Whether the container may not write.
        pub read_only: bool,
        /// Kept for the record.
        pub consistency: Option<String>,
    }
}

/// One entry of `volumes:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Mount {
    /// A directory or file of the host.
    Bind(Bind),
    /// A volume by key.
    Volume(NamedVolume),
    /// A volume without a name; it is carried over when the container is replaced.
    Anonymous {
        /// Absolute path in the container.
        target: String,
        /// Whether the container may not write.
        #[serde(default, skip_serializing_if = "super::is_default")]
        read_only: bool,
        /// Whether an empty volume is left empty.
        #[serde(default, skip_serializing_if = "super::is_default")]
        nocopy: bool,
    },
    /// A file system in memory.
    Tmpfs(TmpfsMount),
}

impl Mount {
    /// The absolute path in the container.
    pub fn target(&self) -> &str {
        match self {
            Self::Bind(bind) => &bind.target,
            Self::Volume(volume) => &volume.target,
            Self::Anonymous { target, .. } => target,
            Self::Tmpfs(tmpfs) => &tmpfs.target,
        }
    }

    /// Whether the container may not write to it.
    pub fn read_only(&self) -> bool {
        match self {
            Self::Bind(bind) => bind.read_only,
            Self::Volume(volume) => volume.read_only,
            Self::Anonymous { read_only, .. } => *read_only,
            Self::Tmpfs(tmpfs) => tmpfs.read_only,
        }
    }

    /// Whether what is written here outlives the container: all but memory and read-only mounts.
    pub fn is_data(&self) -> bool {
        !self.read_only() && !matches!(self, Self::Tmpfs(_))
    }
}

/// One entry of `volumes_from:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumesFrom {
    /// All volumes of another service.
    Service {
        /// Whose.
        service: ServiceName,
        /// Whether read only.
        read_only: bool,
    },
    /// All volumes of a container outside of the stack.
    Container {
        /// Whose.
        container: String,
        /// Whether read only.
        read_only: bool,
    },
}

/// Where the content of a config or secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSource {
    /// A file or directory of the host, by absolute path: bind-mounted read only, with the host's owner and mode.
    File(PathBuf),
    /// The text itself: copied into the container with the grant's owner and mode.
    Content(EnvValue),
    /// The value that a variable had when the file was read: copied like `Content`.
    Environment {
        /// The variable.
        variable: String,
        /// Its value.
        value: EnvValue,
    },
}

/// One entry of the top-level `configs:` or `secrets:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileObject {
    /// The name that Compose gives it: `project_key`, or `name:`.
    pub name: String,
    /// Where the content comes from.
    pub source: FileSource,
    /// Labels; one host gives them no effect.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A config or secret as one service sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileGrant {
    /// The key among the stack's configs or secrets.
    pub key: String,
    /// Where the content comes from (a copy of the definition's, so that a service is complete in itself).
    pub source: FileSource,
    /// Absolute path in the container.
    pub target: String,
    /// Owner, for copied content only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Group, for copied content only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<String>,
    /// Permission bits, for copied content only; Compose's default is 0444.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}
