//! The demo's directory: made, locked, edited, and taken away again. One demo at a time; what one left
//! that was killed is known by its place.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};

use super::files::{self, Ports};

/// The directory. Taken away by [`Scene::clear`] only, so that a failure can be looked at before.
pub(super) struct Scene {
    root: PathBuf,
    /// Held as long as this demo lives.
    _lock: File,
}

/// Another demo is being shown at this moment.
#[derive(Debug, thiserror::Error)]
#[error("another demo is running (it holds {})", .0.display())]
pub(super) struct Busy(PathBuf);

impl Scene {
    /// Where the demo of this user lives.
    fn place() -> PathBuf {
        let user = rustix::process::getuid().as_raw();
        std::env::temp_dir().join(format!("steadfast-demo-{user}"))
    }

    /// Takes the place, with whatever an earlier demo left in it.
    pub(super) fn take() -> Result<Self> {
        let root = Self::place();
        match fs::DirBuilder::new().mode(0o700).create(&root) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => must_be_ours(&root)?,
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", root.display())),
        }
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Busy(path).into()),
            Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// Writes all files anew, asking for `tag`.
    pub(super) fn set(&self, engine: &str, ports: Ports, tag: &str) -> Result<()> {
        for part in ["state", "run", "etc", "stack"] {
            let path = self.root.join(part);
            if path.exists() {
                fs::remove_dir_all(&path).with_context(|| format!("cannot clear {}", path.display()))?;
            }
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .with_context(|| format!("cannot make {}", path.display()))?;
        }
        write(&self.config(), &files::steadfast(&self.root, engine, ports))?;
        write(&self.compose(), &files::compose(ports))?;
        write(&self.root.join("stack/.env"), &files::env())?;
        write(&self.desired(), &files::desired(tag))
    }

    /// Edits `desired.toml` as an editor does: a new file, renamed over the old one.
    pub(super) fn ask_for(&self, tag: &str) -> Result<()> {
        let new = self.root.join("etc/.desired.toml.new");
        write(&new, &files::desired(tag))?;
        fs::rename(&new, self.desired()).context("cannot rename over desired.toml")
    }

    /// Takes the cause of the failure out of the Compose file, as an editor does.
    pub(super) fn mend(&self) -> Result<()> {
        let text = fs::read_to_string(self.compose()).context("cannot read compose.yaml")?;
        let new = self.root.join("stack/.compose.yaml.new");
        write(&new, &text.replace(&files::cause(), ""))?;
        fs::rename(&new, self.compose()).context("cannot rename over compose.yaml")
    }

    /// What `desired.toml` says now.
    pub(super) fn asked(&self) -> Result<String> {
        fs::read_to_string(self.desired()).context("cannot read desired.toml")
    }

    /// `steadfast.toml`.
    pub(super) fn config(&self) -> PathBuf {
        self.root.join("etc/steadfast.toml")
    }

    fn compose(&self) -> PathBuf {
        self.root.join("stack/compose.yaml")
    }

    fn desired(&self) -> PathBuf {
        self.root.join("etc/desired.toml")
    }

    /// What the daemon logs.
    pub(super) fn log(&self) -> PathBuf {
        self.root.join("daemon.log")
    }

    /// The number of the daemon's process, for the demo after one that was killed.
    pub(super) fn pid(&self) -> PathBuf {
        self.root.join("daemon.pid")
    }

    /// The directory itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Takes it away.
    pub(super) fn clear(self) -> Result<()> {
        fs::remove_dir_all(&self.root).with_context(|| format!("cannot remove {}", self.root.display()))
    }
}

fn must_be_ours(root: &Path) -> Result<()> {
    let found = fs::symlink_metadata(root).with_context(|| format!("cannot look at {}", root.display()))?;
    let user = rustix::process::getuid().as_raw();
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        bail!(
            "{} is there already and is not this demo's: remove it, or set TMPDIR",
            root.display()
        );
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let attempt = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}

/// Two ports of the loopback that nobody uses at this moment.
pub(super) fn free_ports() -> Result<Ports> {
    let listen = || TcpListener::bind(("127.0.0.1", 0)).context("no free port on the loopback");
    let (api, frontend) = (listen()?, listen()?);
    Ok(Ports {
        api: api.local_addr()?.port(),
        frontend: frontend.local_addr()?.port(),
    })
}
