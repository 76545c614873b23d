//! Versions of the engine's API, ordered. Which one is spoken is agreed elsewhere.

use std::fmt;

/// An API version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Api(pub(crate) u16, pub(crate) u16);

impl Api {
    /// Annotations: Engine 24.
    pub(crate) const ANNOTATIONS: Api = Api(1, 43);
    /// Several networks in one create, `start_interval`, a MAC address per network: Engine 25.
    pub(crate) const SEVERAL_NETWORKS: Api = Api(1, 44);
    /// `gw_priority`: Engine 28.
    pub(crate) const GATEWAY_PRIORITY: Api = Api(1, 48);

    /// Reads `1.41`.
    pub(crate) fn parse(text: &str) -> Option<Api> {
        let (major, minor) = text.split_once('.')?;
        Some(Api(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}
