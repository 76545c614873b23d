//! The Compose file, read natively: files, variables and overrides in; a resolved [`StackSpec`] out,
//! or everything that is wrong with it at once. Nothing here talks to an engine, and what Compose
//! would drop silently is an error or a warning with its place.

mod build;
mod checks;
mod context;
mod deploy;
mod environment;
mod extends;
mod fields;
mod files;
mod keys;
mod limits;
mod merge;
mod mounts;
mod node;
mod ports;
mod project;
mod relations;
mod scalar;
mod service;
mod source;
pub(crate) mod template;
mod toplevel;
mod values;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use state::name::{ServiceName, StackName};
use state::stack_spec::StackSpec;

pub use source::{Disk, MAX_FILE, Source};

use crate::error::Problems;

/// What a stack is loaded from. All paths are absolute.
#[derive(Clone)]
pub struct ComposeInput {
    /// Where relative paths start.
    pub project_dir: PathBuf,
    /// The Compose files, later ones laid over earlier ones.
    pub files: Vec<PathBuf>,
    /// The env files, later ones winning. Empty: `.env` of the project directory, when it is there.
    pub env_files: Vec<PathBuf>,
    /// The active profiles; `*` is all.
    pub profiles: Vec<String>,
    /// The project's name, whatever the file says (as with `-p`).
    pub project: StackName,
    /// Variables that win over everything else, as `TAG`.
    pub overrides: BTreeMap<String, String>,
    /// Variables that win further for `image` and `build` of one service.
    pub service_overrides: BTreeMap<ServiceName, BTreeMap<String, String>>,
    /// Variables of the surrounding environment; they win over the env files.
    pub environment: BTreeMap<String, String>,
}

impl ComposeInput {
    /// The ordinary case: `files` under `project_dir`, its `.env`, nothing else.
    pub fn new(project: StackName, project_dir: PathBuf, files: Vec<PathBuf>) -> Self {
        Self {
            project_dir,
            files,
            env_files: Vec::new(),
            profiles: Vec::new(),
            project,
            overrides: BTreeMap::new(),
            service_overrides: BTreeMap::new(),
            environment: BTreeMap::new(),
        }
    }
}

/// A stack as loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The resolved model.
    pub spec: StackSpec,
    /// What the operator should know; none of them an error.
    pub warnings: Problems,
    /// Every file that was looked for, whether there or not: a change of any may change the model.
    pub files: Vec<PathBuf>,
    /// Those of them that are Compose files; the others hold variables.
    pub yaml: BTreeSet<PathBuf>,
    /// The variables that the `image` of each service mentions.
    pub interpolated: BTreeMap<ServiceName, BTreeSet<String>>,
    /// The services whose HEALTHCHECK mentions a variable.
    pub interpolated_checks: BTreeSet<ServiceName>,
}

/// Loads a stack, reading files through `source`: [`Disk`] but in tests.
pub fn load(source: &dyn Source, input: &ComposeInput) -> Result<Loaded, Problems> {
    project::load(source, input)
}
