//! What went wrong with a repository, by what one may conclude from it, and the way out. No error holds a secret.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use state::durable::WriteError;
use state::name::{BranchName, Commit};

/// Why something could not be had from the repository, or done to it. `origin` is its address, without any account.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The command is missing.
    #[error("there is no git on this host")]
    NoGit,
    /// There is something else, or nothing that this account may see.
    #[error("{origin} is no git repository: {said}")]
    NotARepository {
        /// Where it was looked for.
        origin: String,
        /// Its words.
        said: String,
    },
    /// Objects that should be there are not, or not as they were made.
    #[error("{objects} are damaged: {said}")]
    Damaged {
        /// Whose.
        objects: Objects,
        /// Git's words.
        said: String,
    },
    /// Away. What the mirror has is not asked for there.
    #[error("{origin} cannot be reached: {said}")]
    Unreachable {
        /// The origin.
        origin: String,
        /// Git's words.
        said: String,
    },
    /// It does not let us in.
    #[error("{origin} refuses access: {said}")]
    Denied {
        /// The origin.
        origin: String,
        /// Git's words.
        said: String,
    },
    /// There is no such tag, commit or branch.
    #[error("{origin} has no {name}{}", did_you_mean(.near))]
    NoSuchName {
        /// The origin.
        origin: String,
        /// What was asked for.
        name: String,
        /// What may have been meant.
        near: Vec<String>,
    },
    /// A branch was asked for, as a release.
    #[error("{name} is a branch and no release: it moves")]
    IsABranch {
        /// The branch.
        name: String,
        /// Where it is now.
        at: Commit,
    },
    /// A tag that is on a file or a directory.
    #[error("{name} is a tag of something that is no commit")]
    NotACommit {
        /// The tag.
        name: String,
    },
    /// Several commits begin so.
    #[error("{name} is the beginning of {count} commits")]
    AmbiguousCommit {
        /// What was asked for.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// The origin has only the last part of its history, and the commit is not in that.
    #[error("{origin} has no {name}: it is a shallow clone")]
    Shallow {
        /// The origin.
        origin: String,
        /// What was asked for.
        name: String,
    },
    /// The commit has submodules, which are not brought.
    #[error("commit {} has submodules: {}", .commit.short(), listed(.paths, *.more))]
    Submodules {
        /// The commit.
        commit: Commit,
        /// The first of them.
        paths: Vec<PathBuf>,
        /// How many more there are.
        more: usize,
    },
    /// The commit has files whose content is kept elsewhere.
    #[error("commit {} has files that are kept in Git LFS: {}", .commit.short(), listed(.paths, *.more))]
    Lfs {
        /// The commit.
        commit: Commit,
        /// The first of them.
        paths: Vec<PathBuf>,
        /// How many more there are.
        more: usize,
    },
    /// The commit has files that only their own program can read.
    #[error("commit {} has files that are encrypted: {}", .commit.short(), listed(.paths, *.more))]
    Encrypted {
        /// The commit.
        commit: Commit,
        /// The first of them.
        paths: Vec<PathBuf>,
        /// How many more there are.
        more: usize,
    },
    /// More than can be taken in.
    #[error("git {what} has written more than {most} bytes")]
    TooLarge {
        /// What of Git.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// Neither the commit nor the branch has it, or it is no file.
    #[error("there is no file {} in commit {}", shown(.path), .commit.short())]
    NoSuchFile {
        /// The file.
        path: PathBuf,
        /// The commit.
        commit: Commit,
    },
    /// The branch is there, at another commit.
    #[error("branch {name} is there already, at commit {}", .at.short())]
    Exists {
        /// The branch.
        name: BranchName,
        /// Where it is.
        at: Commit,
    },
    /// The origin does not take what was pushed. Nothing was changed.
    #[error("{origin} does not take branch {name}: {said}")]
    Refused {
        /// The origin.
        origin: String,
        /// The branch.
        name: BranchName,
        /// The words of the origin.
        said: String,
    },
    /// The file is as it should be.
    #[error("{} is the same on {onto} as in commit {}", shown(.path), .from.short())]
    NothingToDo {
        /// The file.
        path: PathBuf,
        /// The branch.
        onto: BranchName,
        /// The commit.
        from: Commit,
    },
    /// Ended because it took too long.
    #[error("git {what} has not ended within {} s", .within.as_secs())]
    TimedOut {
        /// What of Git.
        what: &'static str,
        /// How long it was given.
        within: Duration,
    },
    /// The disk, or the starting of a process.
    #[error("cannot {what} {}", .path.display())]
    Io {
        /// A verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else that Git said.
    #[error("git {what}: {said}")]
    Failed {
        /// What of Git.
        what: &'static str,
        /// Its words.
        said: String,
    },
}

/// Whose objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objects {
    /// Those of the mirror on this host, which is made anew when it can be.
    Mirror(PathBuf),
    /// Those of the origin itself.
    Origin(String),
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mirror(path) => write!(f, "the objects in {}", path.display()),
            Self::Origin(origin) => write!(f, "the objects of {origin}"),
        }
    }
}

impl SourceError {
    /// Whether the same may go well later, without anybody's doing.
    pub fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Io { .. } => true,
            // The mirror is made anew when the origin is there again.
            Self::Damaged { objects, .. } => matches!(objects, Objects::Mirror(_)),
            _ => false,
        }
    }

    /// The way out, where there is one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoGit => "install it: apt install git",
            Self::NotARepository { .. } => "see whether `source.git` names what `git clone` would take",
            Self::Damaged {
                objects: Objects::Origin(_),
                ..
            } => "run `git fsck --full` there, and bring what is missing from another clone",
            Self::Denied { .. } => {
                "let the daemon's user read it: a deploy key, a credential helper, or the rights of the directory"
            }
            Self::IsABranch { at, .. } => {
                return Some(format!(
                    "name a tag, or the commit that it is at now: {}",
                    at.short()
                ));
            }
            Self::NotACommit { .. } => "name a tag that is on a commit",
            Self::AmbiguousCommit { .. } => "write more digits of it",
            Self::Shallow { .. } => "run `git fetch --unshallow` there, or name another origin",
            Self::Submodules { .. } => "submodules are not brought: keep the files in the repository itself",
            Self::Lfs { .. } => {
                "files in LFS are not brought: build the image elsewhere and name it by its tag"
            }
            Self::Encrypted { .. } => "encrypted files are not decrypted: bring the secrets by the env file",
            Self::Exists { .. } => "choose another name, or remove that branch",
            Self::Refused { said, .. } if said.contains("checked out") => {
                "choose another branch, or check out another one there"
            }
            _ => return None,
        };
        Some(String::from(hint))
    }

    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

impl From<WriteError> for SourceError {
    fn from(error: WriteError) -> Self {
        let WriteError {
            what, path, source, ..
        } = error;
        Self::Io { what, path, source }
    }
}

fn did_you_mean(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!(", but {}", near.join(", ")),
    }
}

fn listed(paths: &[PathBuf], more: usize) -> String {
    let mut listed: Vec<String> = paths.iter().map(|path| shown(path)).collect();
    if more > 0 {
        listed.push(format!("{more} more"));
    }
    listed.join(", ")
}

/// A path of the repository on one line, whatever is in its name.
fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
