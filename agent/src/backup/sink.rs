//! A dump on its way to the disk. What comes is handed to a thread of its own, piece by piece, so that a slow disk
//! holds up nothing else; the file takes its name only when the tool has come to a good end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use state::backup::BackupId;
use state::durable::{NewFile, WriteError};
use state::name::{Digest, Digesting, StackName};
use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::PollSender;

use super::space::MARGIN;
use super::store::Store;
use super::{BackupError, Progress, Stage, Tell};

/// Pieces between the engine and the disk; each has at most [`PIECE`] bytes.
const PIECES: usize = 16;
/// As much as is handed on at once.
const PIECE: usize = 64 * 1024;
/// After so many bytes they are made durable, and the room on the disk is looked at: else gigabytes wait for the end.
const STRETCH: u64 = 32 << 20;
/// After so many bytes the progress is told.
const TOLD: u64 = 1 << 20;

/// What a custom dump begins with.
pub(super) const MAGIC: &[u8] = b"PGDMP";

/// What came to the disk.
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) sha256: Digest,
}

/// The thread that writes.
pub(super) struct Writer {
    whole: oneshot::Sender<()>,
    task: JoinHandle<Result<Written, WriteError>>,
    dir: std::path::PathBuf,
}

/// Where the tool writes to.
pub(super) struct Sink<'a> {
    pieces: PollSender<Vec<u8>>,
    head: Vec<u8>,
    bytes: u64,
    told: u64,
    guess: u64,
    tell: Tell<'a>,
}

/// Begins the dump of a backup. Dropping both ends removes what was written.
pub(super) fn begin<'a>(
    store: &Arc<Store>,
    stack: &StackName,
    id: &BackupId,
    guess: u64,
    tell: Tell<'a>,
) -> (Sink<'a>, Writer) {
    let (pieces, receiver) = mpsc::channel(PIECES);
    let (whole, is_whole) = oneshot::channel();
    let dir = store.directory(stack);
    let (store, stack, id) = (store.clone(), stack.clone(), id.clone());
    let task = tokio::task::spawn_blocking(move || write(&store, &stack, &id, receiver, is_whole));
    let sink = Sink {
        pieces: PollSender::new(pieces),
        head: Vec::new(),
        bytes: 0,
        told: 0,
        guess,
        tell,
    };
    (sink, Writer { whole, task, dir })
}

fn write(
    store: &Store,
    stack: &StackName,
    id: &BackupId,
    mut pieces: mpsc::Receiver<Vec<u8>>,
    is_whole: oneshot::Receiver<()>,
) -> Result<Written, WriteError> {
    let (mut digest, mut bytes, mut stretch) = (Digesting::default(), 0, 0);
    store.write(stack, id, |file: &mut dyn NewFile| {
        while let Some(piece) = pieces.blocking_recv() {
            file.write(&piece)?;
            digest.update(&piece);
            bytes += piece.len() as u64;
            stretch += piece.len() as u64;
            if stretch >= STRETCH {
                stretch = 0;
                file.sync()?;
                if store.free(stack).is_ok_and(|free| free < MARGIN / 2) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
            }
        }
        is_whole
            .blocking_recv()
            .map_err(|_| io::Error::other("what was to be written came to no good end"))
    })?;
    Ok(Written {
        bytes,
        sha256: digest.finish(),
    })
}

impl Sink<'_> {
    /// The first bytes, [`MAGIC`] where it is a dump.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }
}

impl AsyncWrite for Sink<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.pieces.poll_reserve(context)).map_err(gone)?;
        let piece = &bytes[..bytes.len().min(PIECE)];
        self.pieces.send_item(piece.to_vec()).map_err(gone)?;
        let missing = MAGIC.len() - self.head.len();
        self.head.extend_from_slice(&piece[..piece.len().min(missing)]);
        self.bytes += piece.len() as u64;
        if self.bytes - self.told >= TOLD {
            self.told = self.bytes;
            (self.tell)(Progress {
                stage: Stage::Dumping,
                bytes: self.bytes,
                of: self.guess.max(self.bytes),
            });
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Writer {
    /// All of it has come: `sink` is dropped by now.
    pub(super) async fn finish(self) -> Result<Written, BackupError> {
        let Self { whole, task, dir } = self;
        // Where nobody hears it, the thread has failed, and says so itself.
        let _ = whole.send(());
        joined(task.await, &dir)
    }

    /// It has come to no good end: nothing is left when this is over. The disk's own error, if that was why.
    pub(super) async fn abandon(self) -> Option<BackupError> {
        let Self { whole, task, dir } = self;
        drop(whole);
        match joined(task.await, &dir) {
            Err(BackupError::Write(error)) if error.source.kind() == io::ErrorKind::Other => None,
            done => done.err(),
        }
    }
}

fn joined(
    joined: Result<Result<Written, WriteError>, tokio::task::JoinError>,
    dir: &std::path::Path,
) -> Result<Written, BackupError> {
    match joined.expect("a thread that only writes does not panic") {
        Ok(written) => Ok(written),
        Err(error)
            if matches!(
                error.source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            Err(BackupError::Full {
                dir: dir.to_path_buf(),
            })
        }
        Err(error) => Err(error.into()),
    }
}
