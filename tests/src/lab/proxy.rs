//! A socket between the daemon and the engine. It remembers every call, so that "it changed nothing"
//! is a fact; it can be cut, as an engine that is away; and a test can stand in it: before the engine
//! hears of a call, right after, and before the daemon hears the answer.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};

/// One call to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `GET`, `POST` …
    pub method: String,
    /// The path, with the query.
    pub path: String,
    /// When.
    pub at: Instant,
}

impl Call {
    /// Whether it changes anything.
    pub fn changes(&self) -> bool {
        self.method != "GET" && self.method != "HEAD"
    }

    /// Whether it does `what` (`start`, `stop` …) to this container.
    pub fn does(&self, what: &str, container: &str) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        self.method == "POST" && path.ends_with(&format!("/containers/{container}/{what}"))
    }
}

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The engine has not heard of it.
    Before,
    /// The engine has heard of it, and nobody of the engine. Of calls that change something only.
    Sent,
    /// The engine has answered, and nobody has heard of it. Likewise.
    Answered,
}

/// Told of each call, while it waits. `false`: it goes no further, and the connection is closed.
pub type Watcher = Arc<dyn Fn(Moment, &Call) -> bool + Send + Sync>;

#[derive(Default)]
struct Inner {
    calls: Vec<Call>,
    /// Both ends of every connection, by its number.
    open: BTreeMap<u64, [UnixStream; 2]>,
    opened: u64,
    watcher: Option<Watcher>,
}

/// The socket.
pub struct Proxy {
    inner: Arc<Mutex<Inner>>,
    path: PathBuf,
}

impl Proxy {
    /// Listens at `path` for the engine at `engine`, until this process ends.
    pub fn start(engine: &Path, path: &Path) -> Result<Self> {
        let listener =
            UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
        let inner = Arc::new(Mutex::new(Inner::default()));
        let (shared, engine) = (Arc::clone(&inner), engine.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Without an engine the client sees its connection closed.
                let Ok(server) = UnixStream::connect(&engine) else {
                    continue;
                };
                drop(join(client, server, &shared));
            }
        });
        Ok(Self {
            inner,
            path: path.to_owned(),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Every call since the last [`Self::forget`].
    pub fn calls(&self) -> Vec<Call> {
        self.inner().calls.clone()
    }

    /// The calls that change something.
    pub fn changes(&self) -> Vec<Call> {
        self.calls().into_iter().filter(Call::changes).collect()
    }

    /// Forgets the calls so far.
    pub fn forget(&self) {
        self.inner().calls.clear();
    }

    /// Takes the engine away: no socket, and every connection is closed.
    pub fn cut(&self) -> Result<()> {
        fs::rename(&self.path, self.path.with_extension("away"))?;
        for stream in std::mem::take(&mut self.inner().open).into_values().flatten() {
            // One that is closed already is closed.
            drop(stream.shutdown(Shutdown::Both));
        }
        Ok(())
    }

    /// Brings the engine back.
    pub fn mend(&self) -> Result<()> {
        Ok(fs::rename(self.path.with_extension("away"), &self.path)?)
    }

    /// From now on `watcher` is told of each call.
    pub fn watch(&self, watcher: Watcher) {
        self.inner().watcher = Some(watcher);
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The call of a connection that the engine has not answered.
type Asked = Arc<Mutex<Option<Call>>>;

fn join(client: UnixStream, server: UnixStream, inner: &Arc<Mutex<Inner>>) -> Result<()> {
    let ends = [client.try_clone()?, server.try_clone()?];
    let number = {
        let mut inner = lock(inner);
        inner.opened += 1;
        let number = inner.opened;
        inner.open.insert(number, ends);
        number
    };
    let (mut back_from, mut back_to) = (server.try_clone()?, client.try_clone()?);
    let asked = Asked::default();
    let (also, again) = (Arc::clone(&asked), Arc::clone(inner));
    std::thread::spawn(move || {
        // Either end closing ends both.
        drop(answer(&mut back_from, &mut back_to, &also, &again));
        drop(back_to.shutdown(Shutdown::Both));
    });
    let inner = Arc::clone(inner);
    std::thread::spawn(move || {
        let (mut client, mut server) = (client, server);
        drop(forward(&mut client, &mut server, &asked, &inner));
        drop(server.shutdown(Shutdown::Both));
        lock(&inner).open.remove(&number);
    });
    Ok(())
}

fn goes_on(inner: &Mutex<Inner>, moment: Moment, call: &Call) -> bool {
    let watcher = lock(inner).watcher.clone();
    watcher.is_none_or(|watcher| watcher(moment, call))
}

fn forward(
    client: &mut UnixStream,
    server: &mut UnixStream,
    asked: &Asked,
    inner: &Mutex<Inner>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = client.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        let Some(call) = call(&buffer[..n]) else {
            server.write_all(&buffer[..n])?;
            continue;
        };
        lock(inner).calls.push(call.clone());
        if !goes_on(inner, Moment::Before, &call) {
            return Ok(());
        }
        // Held until the watcher has been told that it is sent: no answer overtakes that.
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        server.write_all(&buffer[..n])?;
        if call.changes() {
            if !goes_on(inner, Moment::Sent, &call) {
                return Ok(());
            }
            *asked = Some(call);
        }
    }
}

fn answer(
    server: &mut UnixStream,
    client: &mut UnixStream,
    asked: &Asked,
    inner: &Mutex<Inner>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = server.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        let call = asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        if call.is_some_and(|call| !goes_on(inner, Moment::Answered, &call)) {
            return Ok(());
        }
        client.write_all(&buffer[..n])?;
    }
}

/// A client writes the head of a request at once, and no next one before it was answered: so a request
/// begins where a read begins.
fn call(bytes: &[u8]) -> Option<Call> {
    let line = bytes.split(|b| *b == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.strip_suffix(" HTTP/1.1")?.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    path.starts_with('/').then(|| Call {
        method: method.to_owned(),
        path: path.to_owned(),
        at: Instant::now(),
    })
}
