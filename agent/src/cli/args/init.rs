//! The arguments of `steadfast init`.

use std::path::PathBuf;

use clap::Args;
use state::name::StackName;

use crate::engine::address::Address;

/// What is looked at, and where the files go.
#[derive(Debug, Args)]
pub(in crate::cli) struct Init {
    /// Directories of Compose projects, whether they run or not; every project that runs when left out
    #[arg(value_name = "DIRECTORY")]
    pub(in crate::cli) directories: Vec<PathBuf>,
    /// This Compose project alone; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) project: Vec<StackName>,
    /// A Compose file of the one directory that is named; may be given several times
    #[arg(long, value_name = "FILE", requires = "directories")]
    pub(in crate::cli) file: Vec<PathBuf>,
    /// Where the files go; the directory of --config when left out
    #[arg(long, value_name = "DIRECTORY")]
    pub(in crate::cli) output_dir: Option<PathBuf>,
    /// The engine
    #[arg(long, value_name = "ADDRESS", default_value = "unix:///var/run/docker.sock")]
    pub(in crate::cli) engine: Address,
    /// Print the files, and write nothing
    #[arg(long, visible_alias = "dry-run")]
    pub(in crate::cli) print: bool,
    /// Where files are there already, keep them beside as NAME.old
    #[arg(long, conflicts_with = "print")]
    pub(in crate::cli) force: bool,
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}
