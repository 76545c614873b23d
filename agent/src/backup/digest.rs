//! Reading a dump again: its digest, and the dump as what a tool reads.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use state::name::{Digest, Digesting};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::timeout;

use super::deadline::Deadline;
use super::manifest::Manifest;
use super::store::disk;
use super::{BackupError, Progress, Stage, Tell};

const PIECE: usize = 256 * 1024;
/// How often it is told how much was read again.
const LOOK: Duration = Duration::from_millis(250);
/// After so many bytes the progress is told.
const TOLD: u64 = 1 << 20;

/// Makes sure that the file is the one that was written.
pub(super) async fn check(
    path: PathBuf,
    manifest: &Manifest,
    deadline: Deadline,
    tell: Tell<'_>,
) -> Result<(), BackupError> {
    let seen = Arc::new(AtomicU64::new(0));
    let is_wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let (counter, wanted) = (seen.clone(), is_wanted.0.clone());
    let mut reading =
        tokio::task::spawn_blocking(move || read(&path, &counter, &wanted).map_err(disk("read", &path)));
    let read = loop {
        tell(Progress {
            stage: Stage::Reading,
            bytes: seen.load(Ordering::Relaxed),
            of: manifest.bytes,
        });
        let soon = LOOK.min(deadline.left()?);
        if let Ok(read) = timeout(soon, &mut reading).await {
            break read.expect("a thread that only reads does not panic");
        }
    };
    let (bytes, sha256) = read?;
    let damaged = |what: String| BackupError::Damaged {
        id: manifest.id.clone(),
        what,
    };
    if bytes != manifest.bytes {
        return Err(damaged(format!(
            "it has {bytes} bytes, and {} were written",
            manifest.bytes
        )));
    }
    if sha256 != manifest.sha256 {
        return Err(damaged(format!(
            "its SHA-256 is {}, and {} was written",
            sha256.short(),
            manifest.sha256.short()
        )));
    }
    Ok(())
}

/// As long as it lives, somebody waits for what is read.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn read(path: &Path, seen: &AtomicU64, wanted: &AtomicBool) -> io::Result<(u64, Digest)> {
    let mut file = std::fs::File::open(path)?;
    let (mut digest, mut bytes) = (Digesting::default(), 0);
    let mut piece = vec![0; PIECE];
    while wanted.load(Ordering::Relaxed) {
        match file.read(&mut piece)? {
            0 => return Ok((bytes, digest.finish())),
            length => {
                digest.update(&piece[..length]);
                bytes += length as u64;
                seen.store(bytes, Ordering::Relaxed);
            }
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}

/// A dump that tells how much of it was read.
pub(super) struct Feed<'a> {
    file: File,
    bytes: u64,
    told: u64,
    of: u64,
    tell: Tell<'a>,
}

impl<'a> Feed<'a> {
    pub(super) async fn open(path: &Path, of: u64, tell: Tell<'a>) -> Result<Self, BackupError> {
        let mut file = File::open(path).await.map_err(disk("read", path))?;
        file.set_max_buf_size(PIECE);
        Ok(Self {
            file,
            bytes: 0,
            told: 0,
            of,
            tell,
        })
    }
}

impl AsyncRead for Feed<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.file).poll_read(context, into))?;
        self.bytes += (into.filled().len() - before) as u64;
        if self.bytes - self.told >= TOLD {
            self.told = self.bytes;
            (self.tell)(Progress {
                stage: Stage::Restoring,
                bytes: self.bytes,
                of: self.of,
            });
        }
        Poll::Ready(Ok(()))
    }
}
