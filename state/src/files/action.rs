//! What is done with the containers that see a tracked file, when a release has another version of it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FileChange, ReleaseFiles, Role, version_in};
use crate::journal::Kind;
use crate::stack_spec::ServiceSpec;

/// What they do to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// They are made anew.
    #[default]
    Recreate,
    /// They are stopped, and started again.
    Restart,
    /// They get a signal, and go on.
    Signal(Signal),
}

/// A signal that asks for no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// `SIGHUP`.
    Hup,
    /// `SIGUSR1`.
    Usr1,
    /// `SIGUSR2`.
    Usr2,
    /// `SIGWINCH`.
    Winch,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hup => "SIGHUP",
            Self::Usr1 => "SIGUSR1",
            Self::Usr2 => "SIGUSR2",
            Self::Winch => "SIGWINCH",
        })
    }
}

impl Action {
    /// Whether another version needs another container.
    #[must_use]
    pub fn is_recreate(&self) -> bool {
        *self == Self::Recreate
    }
}

/// What is done about a file of a release: as its own entry says, or that of the directory that it lies below.
pub fn action_in(files: &ReleaseFiles, path: &Path) -> Action {
    let mut entries = path.ancestors().filter_map(|at| files.get(at));
    entries.next().map(|file| file.action).unwrap_or_default()
}

/// Whether a service whose container would stay reads other tracked files in the one release than in the other.
pub fn reads_otherwise(one: &ReleaseFiles, other: &ReleaseFiles, service: &ServiceSpec) -> bool {
    let is_tracked = |path: &Path| {
        let mut entries = [one, other].into_iter().filter_map(|files| files.get(path));
        entries.all(|file| file.role == Role::Tracked)
    };
    let paths: BTreeSet<&PathBuf> = one.keys().chain(other.keys()).collect();
    let seen = |path: &Path| service.host_paths().any(|source| path.starts_with(source));
    paths.into_iter().any(|path| {
        let stays = [one, other]
            .iter()
            .any(|files| !action_in(files, path).is_recreate());
        let versions = version_in(one, path).zip(version_in(other, path));
        let differs = versions.is_some_and(|(one, other)| one != other);
        stays && differs && is_tracked(path) && seen(path)
    })
}

impl FileChange {
    /// Whether a container that sees this `source` of the host, and was started at `started`, is started again for it.
    pub fn restarts(&self, source: &Path, started: Option<i64>, kind: Kind) -> bool {
        let is_seen = self.role == Role::Tracked && self.path.starts_with(source);
        match self.action {
            Action::Recreate => self.was_read(source, started),
            // What is put right by itself is read again by whoever has read the other version.
            Action::Restart => is_seen && (kind != Kind::Heal || self.was_read(source, started)),
            Action::Signal(_) => false,
        }
    }

    /// The signal that a container gets for it that sees this `source` of the host.
    pub fn signals(&self, source: &Path) -> Option<Signal> {
        match self.action {
            Action::Signal(signal) if self.role == Role::Tracked && self.path.starts_with(source) => {
                Some(signal)
            }
            _ => None,
        }
    }
}
