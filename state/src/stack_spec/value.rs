//! Values that may be secret, and times. Nothing that prints a secret may live here.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A value that may be secret: of a variable, a build argument, an option, an inline file. It has no
/// `Display`, and its `Debug` shows nothing of it, not even the length.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvValue(String);

impl EnvValue {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that hands it to the engine.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EnvValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}

impl From<String> for EnvValue {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl From<&str> for EnvValue {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

/// A length of time in nanoseconds, the engine's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// The same time as a [`Duration`].
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// For the engine's API, which counts signed.
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl From<Nanos> for Duration {
    fn from(nanos: Nanos) -> Self {
        nanos.duration()
    }
}
