//! The socket file: taken when nobody answers at it, refused when somebody does.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use tokio::net::{UnixListener, UnixStream};

/// Who can open the socket: the daemon's user and group. Acting needs more (`Access`).
const MODE: u32 = 0o660;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon answers there.
    #[error("another daemon listens on {}", path.display())]
    Live {
        /// The socket.
        path: PathBuf,
    },
    /// There is something, and it is no socket; it is left alone.
    #[error("{} exists and is no socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot listen on {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Removes the socket file when the daemon ends, if it is still its own.
pub(super) struct Bound {
    pub(super) listener: UnixListener,
    path: PathBuf,
    inode: Option<u64>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.inode.is_some() && inode_of(&self.path) == self.inode {
            // Left behind, it is stale and replaced at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode_of(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::symlink_metadata(path).ok().map(|m| m.ino())
}

/// Listens at `path`.
pub(super) async fn bind(path: &Path) -> Result<Bound, SocketError> {
    let failed = |source: io::Error| SocketError::Io {
        path: path.to_owned(),
        source,
    };
    clear(path).await?;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    // Nobody gets in between the bind and the chmod.
    let before = rustix::process::umask(Mode::from_raw_mode(0o777 & !MODE));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener.map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE)).map_err(failed)?;
    Ok(Bound {
        listener,
        path: path.to_owned(),
        inode: inode_of(path),
    })
}

/// Removes a socket that nobody listens on.
async fn clear(path: &Path) -> Result<(), SocketError> {
    let failed = |source: io::Error| SocketError::Io {
        path: path.to_owned(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(SocketError::Live {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        // A full backlog is a live daemon, and so is anything else that is not a refusal.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(SocketError::Live {
            path: path.to_owned(),
        }),
        Err(error) => Err(failed(error)),
    }
}
