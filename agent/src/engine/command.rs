//! Commands in containers: what is asked for, and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use state::name::{ContainerId, ImageId, ServiceName};
use state::stack_spec::{EnvValue, ServiceSpec, StackSpec};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Dialect;

/// The most of an output that is kept, in bytes: the last part.
pub const OUTPUT_BYTES: usize = 1024 * 1024;

/// What a one-off container is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnceNetwork {
    /// Nothing.
    None,
    /// What its service is connected to.
    Stack,
}

/// Told what a command has written, piece by piece; each call of the engine tells it from the beginning.
#[derive(Clone, Copy)]
pub struct Listener<'a>(pub &'a (dyn Fn(&[u8]) + Send + Sync));

impl fmt::Debug for Listener<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// A command to be run in a container of its own, which is a service's but for what makes it answer for that
/// service: no aliases, host name, fixed addresses, ports, health check, restart policy or labels of the service.
#[derive(Debug, Clone)]
pub struct OneOff<'a> {
    /// The whole stack, for networks, volumes, configs and secrets.
    pub stack: &'a StackSpec,
    /// The service's name.
    pub service: &'a ServiceName,
    /// What the service is.
    pub spec: &'a ServiceSpec,
    /// The image, by identifier.
    pub image: ImageId,
    /// The container's name, which is a lock: one command of one operation.
    pub name: String,
    /// The command; never empty. The image's own entrypoint is not run.
    pub command: Vec<String>,
    /// Variables beside the service's own; of the same name, these win.
    pub env: BTreeMap<String, EnvValue>,
    /// The directory to run it in, where that is not the service's.
    pub directory: Option<String>,
    /// What it can reach.
    pub network: OnceNetwork,
    /// The operation, for the label `io.steadfast.operation`.
    pub operation: u64,
    /// Who hears all that it writes to its standard output, however much, when it has ended.
    pub listener: Option<Listener<'a>>,
    /// How long it may run, from when this call has started or joined it.
    pub within: Duration,
    /// How names are joined in this stack.
    pub dialect: Dialect,
    /// `com.docker.compose.project.working_dir`.
    pub working_dir: PathBuf,
    /// `com.docker.compose.project.config_files`.
    pub config_files: Vec<PathBuf>,
}

/// How a one-off container ended. What it wrote is as it was written: whoever shows it takes the secrets out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; 137 when it was killed.
    pub code: i64,
    /// The last [`OUTPUT_BYTES`] of its standard output.
    pub stdout: String,
    /// The same of its standard error.
    pub stderr: String,
}

/// A command to be run in a container that runs.
pub struct Exec<'a> {
    /// The container.
    pub container: &'a ContainerId,
    /// The command.
    pub command: Vec<String>,
    /// Variables beside the container's own.
    pub env: Vec<(String, EnvValue)>,
    /// Who runs it, where that is not the container's user.
    pub user: Option<String>,
    /// Its standard input, closed at its end; `None`: it has none.
    pub input: Option<&'a mut (dyn AsyncRead + Send + Unpin)>,
    /// Where its standard output goes, as it comes; flushed at the end and not closed.
    pub output: &'a mut (dyn AsyncWrite + Send + Unpin),
    /// Whether it is run under `timeout -k`, which the image must have. No call ends the process of an exec: without
    /// this it goes on when `within` has passed, or when nobody listens any more.
    pub wrap: bool,
    /// How long it may run.
    pub within: Duration,
}

impl fmt::Debug for Exec<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec")
            .field("container", self.container)
            .field("command", &self.command)
            .field("env", &self.env)
            .field("user", &self.user)
            .field("input", &self.input.is_some())
            .field("wrap", &self.wrap)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

/// How a command in a running container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code. 126 or 127: there is no such program, and the words about it are what went to the output.
    pub code: i64,
    /// The last [`OUTPUT_BYTES`] of its standard error, as it was written.
    pub stderr: String,
    /// How much went to the output.
    pub bytes: u64,
}

/// The last part of what was written, in little more than twice that memory.
#[derive(Debug)]
pub(crate) struct Tail {
    kept: Vec<u8>,
    most: usize,
}

impl Tail {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            kept: Vec::new(),
            most,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        if self.kept.len() > 2 * self.most {
            self.kept.drain(..self.kept.len() - self.most);
        }
    }

    /// As text; what is no UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        let start = self.kept.len().saturating_sub(self.most);
        String::from_utf8_lossy(&self.kept[start..]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_is_kept() {
        let mut tail = Tail::new(4);
        for (pushed, expected) in [
            ("ab", "ab"),
            ("cd", "abcd"),
            ("efgh", "efgh"),
            ("i", "fghi"),
            ("", "fghi"),
        ] {
            tail.push(pushed.as_bytes());
            assert_eq!(tail.text(), expected);
            assert!(tail.kept.len() <= 8);
        }
        tail.push("0123456789abcdef".as_bytes());
        assert_eq!(tail.text(), "cdef");
    }
}
