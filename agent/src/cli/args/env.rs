//! The arguments of `steadfast env`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use state::name::{EnvId, StackName};

use super::super::help;
use super::Following;

/// What is asked about versions of env files.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum EnvCommand {
    /// List the versions that are known: which generations had each, and where it is now
    #[command(after_help = help::ENV_LIST)]
    List {
        /// The stack
        stack: StackName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the names in a version, without their values
    #[command(after_help = help::ENV_SHOW)]
    Show {
        /// The stack
        stack: StackName,
        /// The version, as `env list` shows it. Left out: what is asked for
        id: Option<EnvId>,
        #[command(flatten)]
        of: Of,
        /// Show the values too: to root, on a terminal. It goes into the record
        #[arg(long)]
        reveal: bool,
        /// Why the values are shown; it goes into the record
        #[arg(long, value_name = "TEXT", requires = "reveal")]
        reason: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say which names differ between two versions, never how
    #[command(after_help = help::ENV_DIFF)]
    Diff {
        /// The stack
        stack: StackName,
        /// The version from which
        #[arg(value_name = "A")]
        a: EnvId,
        /// The version to which. Left out: what is in the file now
        #[arg(value_name = "B")]
        b: Option<EnvId>,
        #[command(flatten)]
        of: Of,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a version into the file, as an edit of yours: it is tried as any other release
    #[command(after_help = help::ENV_RESTORE)]
    Restore {
        #[command(flatten)]
        order: Following,
        /// The version, as `env list` shows it
        id: EnvId,
        #[command(flatten)]
        of: Of,
    },
    /// Keep a file of yours as a version, so that it can be shown, compared, restored and pinned
    #[command(after_help = help::ENV_IMPORT)]
    Import {
        /// The stack
        stack: StackName,
        /// The file that is read
        #[arg(value_name = "FILE")]
        from: PathBuf,
        #[command(flatten)]
        of: Of,
        /// Why; it goes into the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// Which env file.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Of {
    /// The `env_file` of a service, or the end of its path. Left out: the stack's own .env
    #[arg(long = "file", value_name = "PATH")]
    pub(in crate::cli) file: Option<PathBuf>,
}
