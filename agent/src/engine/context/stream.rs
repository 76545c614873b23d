//! A context on its way: a thread that reads, and a stream that is taken from. Between them lies a bounded queue, so
//! that no context is ever in memory whole.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::Stream;
use futures_util::stream;
use hyper::body::Bytes;
use tokio::sync::mpsc::{self, Sender};

use super::{Context, ContextError};

/// The size of a part, and how many of them wait.
const PART: usize = 64 * 1024;
const WAITING: usize = 4;

/// The archive, part by part. An error ends it: whoever sends it on must not end it as if it were whole.
pub(in crate::engine) type Tar = stream::BoxStream<'static, io::Result<Bytes>>;

/// What is known of a stream from the other end.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Sending(Arc<State>);

#[derive(Debug, Default)]
struct State {
    bytes: AtomicU64,
    failure: Mutex<Option<ContextError>>,
}

impl Sending {
    /// How many bytes have been taken.
    pub(in crate::engine) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Why it ended early, where the context itself is the reason.
    pub(in crate::engine) fn failure(&self) -> Option<ContextError> {
        self.0
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

enum Part {
    Bytes(Bytes),
    /// All has been sent.
    End,
}

pub(super) fn stream(context: Context) -> (Tar, Sending) {
    let (to, mut from) = mpsc::channel(WAITING);
    let sending = Sending::default();
    let known = sending.clone();
    tokio::task::spawn_blocking(move || {
        let queue = Queue(to.clone());
        match context.write(&mut BufWriter::with_capacity(PART, queue)) {
            Ok(()) => drop(to.blocking_send(Part::End)),
            Err(ContextError::Closed) => {}
            Err(error) => *known.0.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
        }
    });
    let counted = sending.clone();
    let parts = stream::poll_fn(move |context| {
        from.poll_recv(context).map(|part| match part {
            Some(Part::Bytes(bytes)) => {
                counted.0.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Some(Ok(bytes))
            }
            Some(Part::End) => None,
            // The reader has given up.
            None => Some(Err(io::Error::other("the build context ended early"))),
        })
    });
    (Box::pin(until_error(parts)), sending)
}

/// Nothing comes after the first error.
fn until_error(parts: impl Stream<Item = io::Result<Bytes>>) -> impl Stream<Item = io::Result<Bytes>> {
    use futures_util::StreamExt as _;
    parts.scan(false, |failed, part| {
        let before = std::mem::replace(failed, part.is_err());
        std::future::ready((!before).then_some(part))
    })
}

/// The writing end.
struct Queue(Sender<Part>);

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(PART)];
        match self.0.blocking_send(Part::Bytes(Bytes::copy_from_slice(part))) {
            Ok(()) => Ok(part.len()),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
