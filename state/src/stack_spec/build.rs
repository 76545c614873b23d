//! How an image of a `build:` service is made. Building is elsewhere.

use std::collections::BTreeMap;
use std::fmt;

use super::{EnvValue, FileGrant, Ulimit, record};

record! {
    /// `build:`, resolved. Paths are absolute; a context may also be a URL.
    pub struct BuildSpec {
        /// The build context: an absolute path, or a URL.
        pub context: String,
        /// The Dockerfile as given, relative to the context unless absolute.
        pub dockerfile: Option<String>,
        /// The Dockerfile's text itself.
        pub dockerfile_inline: Option<String>,
        /// Build arguments; without a value the builder's environment gives it.
        pub args: BTreeMap<String, Option<EnvValue>>,
        /// More contexts by name.
        pub additional_contexts: BTreeMap<String, String>,
        /// Images to take layers from.
        pub cache_from: Vec<String>,
        /// Where to export the cache.
        pub cache_to: Vec<String>,
        /// Extra rights, as `network.host`.
        pub entitlements: Vec<String>,
        /// Extra lines of `/etc/hosts` during the build: host to addresses.
        pub extra_hosts: BTreeMap<String, Vec<String>>,
        /// Isolation technology (Windows).
        pub isolation: Option<String>,
        /// Labels of the image.
        pub labels: BTreeMap<String, String>,
        /// The network of `RUN` steps.
        pub network: Option<String>,
        /// Whether to ignore the cache.
        pub no_cache: bool,
        /// Whether to pull the base images.
        pub pull: bool,
        /// Platforms to build for.
        pub platforms: Vec<String>,
        /// Whether `RUN` steps are privileged.
        pub privileged: bool,
        /// Secrets that `RUN` steps may mount.
        pub secrets: Vec<FileGrant>,
        /// Size of `/dev/shm` in bytes.
        pub shm_size: Option<i64>,
        /// SSH agents and keys, by id.
        pub ssh: BTreeMap<String, Option<String>>,
        /// More tags of the image.
        pub tags: Vec<String>,
        /// The stage to build.
        pub target: Option<String>,
        /// Limits of `RUN` steps.
        pub ulimits: BTreeMap<String, Ulimit>,
        /// Provenance attestation.
        pub provenance: Option<String>,
        /// SBOM attestation.
        pub sbom: Option<String>,
    }
}

impl fmt::Debug for BuildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildSpec")
            .field("context", &self.context)
            .field("dockerfile", &self.dockerfile)
            .field("target", &self.target)
            .field("args", &self.args.keys())
            .finish_non_exhaustive()
    }
}
