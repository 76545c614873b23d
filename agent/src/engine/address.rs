//! Where the engine listens. Nothing here connects.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket, `unix:///var/run/docker.sock`.
    Unix(PathBuf),
    /// Plain HTTP, `tcp://host:port`. Whoever reaches it is root on that host.
    Tcp(String),
}

/// Why a text is not an engine's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an engine address: it is unix:///PATH or tcp://HOST:PORT")]
pub struct InvalidAddress(pub String);

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        match text.strip_prefix("tcp://").map(|host| host.trim_end_matches('/')) {
            Some(host) if is_host_and_port(host) => Ok(Self::Tcp(host.to_owned())),
            _ => Err(InvalidAddress(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(['/', '@', '?', '#'])
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses() {
        for good in [
            "unix:///var/run/docker.sock",
            "tcp://127.0.0.1:2375",
            "tcp://[::1]:2375",
            "tcp://host:1",
        ] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "unix://docker.sock",
            "tcp://host",
            "tcp://:1",
            "tcp://h:0",
            "http://h:1",
            "tcp://u@h:1",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
