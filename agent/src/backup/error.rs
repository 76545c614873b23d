//! What went wrong with a backup, by what one may conclude from it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use config::show_duration;
use state::backup::BackupId;
use state::durable::WriteError;

use super::space::show_bytes;
use crate::database::DatabaseError;
use crate::engine::EngineError;

/// Why there is no backup, or none that counts. No error holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The server said so, or was not reached.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The engine said so, or was not reached.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A tool lost its server, waited too long for somebody's lock, or was killed.
    #[error("{tool}: {said}")]
    Broken {
        /// Which tool.
        tool: &'static str,
        /// Its words.
        said: String,
    },
    /// The database's user may not do it.
    #[error("{tool}: {said}")]
    Rights {
        /// Which tool.
        tool: &'static str,
        /// Its words.
        said: String,
    },
    /// The server's disk is full.
    #[error("{tool}: {said}")]
    ServerFull {
        /// Which tool.
        tool: &'static str,
        /// Its words.
        said: String,
    },
    /// Anything else that a tool said.
    #[error("{tool}: {said}")]
    Refused {
        /// Which tool.
        tool: &'static str,
        /// Its words.
        said: String,
    },
    /// There is no tool that could do it.
    #[error("{0}")]
    NoTool(String),
    /// The disk of the backups has too little room; nothing was begun.
    #[error(
        "the backup needs about {}, and {} of {} are kept free: {} are free there",
        show_bytes(*.needed), show_bytes(*.margin), .dir.display(), show_bytes(*.free)
    )]
    NoRoom {
        /// Where the backups are.
        dir: PathBuf,
        /// A guess, in bytes.
        needed: u64,
        /// What is to stay free.
        margin: u64,
        /// What is free.
        free: u64,
    },
    /// The disk of the backups ran full in the middle; what was written is removed.
    #[error("there is no more room for the backup in {}", .dir.display())]
    Full {
        /// Where the backups are.
        dir: PathBuf,
    },
    /// The dump or its manifest could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The directory of the backups, or a file in it, is not to be read.
    #[error("cannot {what} {}", .path.display())]
    Disk {
        /// A verb.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such backup.
    #[error("there is no backup {0}")]
    Missing(BackupId),
    /// It is not what was written.
    #[error("the backup {id} is damaged: {what}")]
    Damaged {
        /// Which.
        id: BackupId,
        /// What is wrong with it.
        what: String,
    },
    /// A file that is to be restored is no dump.
    #[error("{} cannot be restored: {what}", .path.display())]
    NoDump {
        /// Which.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// What was restored is not what was dumped.
    #[error("the backup {id} is not what was dumped: {}", .what.join("; "))]
    Differs {
        /// Which.
        id: BackupId,
        /// The first differences.
        what: Vec<String>,
    },
    /// Its time was over.
    #[error("{what} was not done within {}", show_duration(*.within))]
    Late {
        /// What was being done.
        what: &'static str,
        /// How long it was given.
        within: Duration,
    },
}

impl BackupError {
    /// Whether the same call may do it at another time, with nothing changed by anybody.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Database(error) => {
                matches!(error, DatabaseError::Unknown(_) | DatabaseError::InUse { .. })
            }
            // A container that does not run is a conflict.
            Self::Engine(error) => error.leaves_unknown() || matches!(error, EngineError::Conflict { .. }),
            Self::Broken { .. } | Self::Late { .. } => true,
            Self::Rights { .. }
            | Self::ServerFull { .. }
            | Self::Refused { .. }
            | Self::NoTool(_)
            | Self::NoRoom { .. }
            | Self::Full { .. }
            | Self::Write(_)
            | Self::Disk { .. }
            | Self::Missing(_)
            | Self::Damaged { .. }
            | Self::NoDump { .. }
            | Self::Differs { .. } => false,
        }
    }
}
