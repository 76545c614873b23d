//! The arguments of `steadfast release`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use state::name::{BranchName, StackName, Tag};

use super::super::help;

/// What is asked of the repository that releases come from.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ReleaseCommand {
    /// List the tags that are releases, the newest version first, with what is known of each
    #[command(after_help = help::RELEASE_LIST)]
    List {
        /// The stack
        stack: StackName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the branch rollback/to-TAG at a release, to go back to it by hand or to go on from it
    #[command(after_help = help::RELEASE_BRANCH)]
    Branch {
        /// The stack
        stack: StackName,
        /// The release; the one that runs when left out
        tag: Option<Tag>,
        #[command(flatten)]
        making: Making,
    },
    /// Make the branch hotfix/NAME at the release that was asked for and failed, to mend it
    #[command(after_help = help::RELEASE_HOTFIX)]
    Hotfix {
        /// The stack
        stack: StackName,
        /// What the branch is called, after hotfix/
        name: String,
        #[command(flatten)]
        making: Making,
    },
    /// Commit one file as it was in the last good release, on a branch of its own
    #[command(after_help = help::RELEASE_REVERT_FILE)]
    RevertFile(RevertFile),
}

/// How a branch is made.
#[derive(Debug, Args)]
pub(in crate::cli) struct Making {
    /// Make it at the origin too; it is never forced
    #[arg(long)]
    pub(in crate::cli) push: bool,
    /// Why; it goes into the record
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
}

/// A file that is to be as it was.
#[derive(Debug, Args)]
pub(in crate::cli) struct RevertFile {
    /// The stack
    pub(in crate::cli) stack: StackName,
    /// The file, as in the stack's directory or from the root of the repository
    pub(in crate::cli) path: PathBuf,
    /// The branch that it is committed on top of; the one that the origin is at when left out
    #[arg(long, value_name = "BRANCH")]
    pub(in crate::cli) onto: Option<BranchName>,
    /// The branch that gets the commit; a new one, called after the file, when left out
    #[arg(long, value_name = "BRANCH")]
    pub(in crate::cli) to: Option<BranchName>,
    /// Make it at the origin too; it is never forced
    #[arg(long)]
    pub(in crate::cli) push: bool,
    /// Why; it goes into the record, and into the message of the commit
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
}
