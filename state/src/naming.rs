//! How containers are named, as Compose names them.

use serde::{Deserialize, Serialize};

use crate::name::{ServiceName, StackName};
use crate::stack_spec::ServiceSpec;

/// How Compose joins the parts of a name: v2 `project-service-1`, v1 `project_service_1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Compose v2: `-`.
    #[default]
    Hyphen,
    /// Compose 1.x: `_`.
    Underscore,
}

impl Dialect {
    /// The character.
    pub const fn joint(self) -> char {
        match self {
            Self::Hyphen => '-',
            Self::Underscore => '_',
        }
    }
}

/// The name that Compose gives a container of this service, unless the service has one of its own.
pub fn container_name(
    project: &StackName,
    service: &ServiceName,
    spec: &ServiceSpec,
    number: u32,
    dialect: Dialect,
) -> String {
    spec.container_name.clone().unwrap_or_else(|| {
        let joint = dialect.joint();
        format!("{project}{joint}{service}{joint}{number}")
    })
}

/// The name under which a container makes room for its replacement until it is removed.
pub fn aside(name: &str, operation: u64) -> String {
    format!("{name}.old-{operation}")
}

/// The name that a replacement has until the right one is free.
pub fn temporary(name: &str, operation: u64) -> String {
    format!("{name}.new-{operation}")
}

/// Whether `name` is one of these: the container was left behind by an operation that did not end well.
pub fn is_set_aside(name: &str) -> bool {
    [".old-", ".new-"].iter().any(|mark| {
        name.rsplit_once(mark)
            .is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_marks_are_marks() {
        for name in [
            aside("shop-api-1", 7),
            temporary("x", 12),
            aside(&aside("x", 1), 2),
        ] {
            assert!(is_set_aside(&name), "{name}");
        }
        for name in [
            "shop-api-1",
            "api.old-",
            "api.old-one",
            "api.older-1",
            "old-1",
            "8f2c_shop_api_1",
        ] {
            assert!(!is_set_aside(name), "{name}");
        }
    }
}
