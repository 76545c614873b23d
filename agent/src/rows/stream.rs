//! Rows on their way to the disk and back: as CSV, compressed, never whole in memory.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures_util::{SinkExt as _, StreamExt as _};
use state::durable::{self, FileSystem, NewFile};
use state::name::{Digest, Digesting};
use tokio::sync::{mpsc, oneshot};

use super::kept::disk;
use crate::backup::{BackupError, MARGIN};
use crate::database::{DatabaseError, Link};

/// Pieces that are under way at once.
const PIECES: usize = 16;
/// As much is read at once.
const PIECE: usize = 64 * 1024;
/// After so many bytes the room on the disk is looked at.
const STRETCH: u64 = 8 << 20;

/// What came to the disk.
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) sha256: Digest,
}

/// Between the compression and the file.
struct Counted<'a> {
    file: &'a mut dyn NewFile,
    fs: &'a dyn FileSystem,
    dir: &'a Path,
    digest: Digesting,
    bytes: u64,
    stretch: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)?;
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.stretch += bytes.len() as u64;
        if self.stretch >= STRETCH {
            self.stretch = 0;
            self.file.sync()?;
            if self.fs.free(self.dir).is_ok_and(|free| free < MARGIN / 2) {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what `query` gives, with a line of names before it, to `path`.
pub(super) async fn write_out(
    link: &Link,
    query: &str,
    fs: &Arc<dyn FileSystem>,
    path: &Path,
) -> Result<Written, BackupError> {
    let sql = format!("COPY ({query}) TO STDOUT WITH (FORMAT csv, HEADER)");
    let mut rows = std::pin::pin!(link.copy_out(&sql).await?);
    let (pieces, received) = mpsc::channel(PIECES);
    let (whole, is_whole) = oneshot::channel();
    let (fs, path) = (fs.clone(), path.to_path_buf());
    let writing = tokio::task::spawn_blocking(move || write(&*fs, &path, received, is_whole));
    let mut broken = None;
    while let Some(piece) = rows.next().await {
        match piece {
            Ok(piece) => {
                // The thread has failed, and says so itself.
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                broken = Some(DatabaseError::from(error));
                break;
            }
        }
    }
    drop(pieces);
    if broken.is_none() {
        let _ = whole.send(());
    } else {
        drop(whole);
    }
    let written = writing.await.expect("a thread that only writes does not panic");
    match broken {
        Some(error) => Err(error.into()),
        None => written,
    }
}

fn write(
    fs: &dyn FileSystem,
    path: &Path,
    mut pieces: mpsc::Receiver<impl AsRef<[u8]>>,
    is_whole: oneshot::Receiver<()>,
) -> Result<Written, BackupError> {
    let dir = path.parent().unwrap_or(path).to_path_buf();
    let mut done = None;
    let written = durable::stream(fs, path, |file| {
        let counted = Counted {
            file,
            fs,
            dir: &dir,
            digest: Digesting::default(),
            bytes: 0,
            stretch: 0,
        };
        let mut packed = GzEncoder::new(counted, Compression::fast());
        while let Some(piece) = pieces.blocking_recv() {
            packed.write_all(piece.as_ref())?;
        }
        is_whole
            .blocking_recv()
            .map_err(|_| io::Error::other("what was to be written came to no good end"))?;
        let counted = packed.finish()?;
        done = Some(Written {
            bytes: counted.bytes,
            sha256: counted.digest.finish(),
        });
        Ok(())
    });
    match written {
        Ok(()) => Ok(done.expect("it was written to its end")),
        Err(error)
            if matches!(
                error.source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            Err(BackupError::Full { dir })
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the file is what was written.
pub(super) async fn is_whole(path: &Path, expected: &Digest) -> Result<bool, BackupError> {
    let (path, expected) = (path.to_path_buf(), expected.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let mut digest = Digesting::default();
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(disk("read", &path))?,
        };
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece).map_err(disk("read", &path))? {
                0 => break Ok(digest.finish() == expected),
                length => digest.update(&piece[..length]),
            }
        }
    });
    reading.await.expect("a thread that only reads does not panic")
}

/// Sends the rows of a file to where `sql`, a `COPY … FROM STDIN`, takes them.
pub(super) async fn read_in(link: &Link, sql: &str, path: &Path) -> Result<(), BackupError> {
    let mut sink = std::pin::pin!(link.copy_in(sql).await?);
    let (pieces, mut received) = mpsc::channel::<Vec<u8>>(PIECES);
    let file: PathBuf = path.to_path_buf();
    let reading = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let mut unpacked = GzDecoder::new(File::open(&file)?);
        loop {
            let mut piece = vec![0; PIECE];
            let length = unpacked.read(&mut piece)?;
            piece.truncate(length);
            // Whoever does not listen any more has failed, and says so.
            if length == 0 || pieces.blocking_send(piece).is_err() {
                return Ok(());
            }
        }
    });
    let mut sent = Ok(());
    while let Some(piece) = received.recv().await {
        sent = sink
            .send(io::Cursor::new(piece))
            .await
            .map_err(DatabaseError::from);
        if sent.is_err() {
            break;
        }
    }
    drop(received);
    let read = reading.await.expect("a thread that only reads does not panic");
    sent?;
    // Dropped before its end, none of it counts.
    read.map_err(disk("read", path))?;
    sink.as_mut().finish().await.map_err(DatabaseError::from)?;
    Ok(())
}
