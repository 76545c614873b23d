//! Noticing that a file changed. A watch only wakes: what is in the files is read elsewhere, and
//! when a change counts is for [`Settled`] to say.

mod chain;
mod settled;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};

use self::chain::{Link, links_of};
pub use self::settled::{Quiet, Settled};

/// Why files cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The kernel gives no more inotify instances, or memory.
    #[error("files cannot be watched: {0}")]
    Kernel(String),
    /// No thread could be started.
    #[error("no thread for watching files")]
    Thread(#[source] io::Error),
}

/// Wakes when one of some files may have changed: written in place, replaced by a rename, reached
/// over other symbolic links, gone or come back. Also where nothing changed after all. Of a directory
/// it wakes when anything in it may have, and not further below.
///
/// It watches the directories in which the names on the way to each file stand, never the files: an
/// editor's rename leaves a watched file behind. What the kernel does not tell (a directory further
/// up was renamed, a directory cannot be watched) is found by a look every [`FileWatch::LOOK`].
#[derive(Debug)]
pub struct FileWatch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl FileWatch {
    /// How often the directories themselves are compared with those that are watched.
    pub const LOOK: Duration = Duration::from_secs(5);

    /// Watches `paths` from now on; what changes after this returns wakes. None of them needs to exist.
    /// `wake` is called on a thread of the watch's own, and several changes may be one call.
    pub fn new(paths: BTreeSet<PathBuf>, wake: impl Fn() + Send + 'static) -> Result<Self, WatchError> {
        Self::with_look(paths, wake, Self::LOOK)
    }

    fn with_look(
        paths: BTreeSet<PathBuf>,
        wake: impl Fn() + Send + 'static,
        look: Duration,
    ) -> Result<Self, WatchError> {
        let shared = Arc::new(Shared::default());
        shared.lock().paths = paths;
        let told = shared.clone();
        let watcher = notify::recommended_watcher(move |event| told.event(event))
            .map_err(|error| WatchError::Kernel(error.to_string()))?;
        let mut arms = Arms {
            shared: shared.clone(),
            watcher,
            refused: BTreeSet::new(),
            unsettled: false,
        };
        arms.renew();
        let thread = std::thread::Builder::new()
            .name(String::from("file-watch"))
            .spawn(move || arms.run(look, &wake))
            .map_err(WatchError::Thread)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Watches these instead; wakes once, for what has changed before.
    pub fn set_paths(&self, paths: BTreeSet<PathBuf>) {
        let mut state = self.shared.lock();
        if state.paths != paths {
            state.paths = paths;
            state.woken = true;
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in there was told when it happened.
            let _ = thread.join();
        }
    }
}

/// Which directory it is that stands at a path: device and inode.
type Identity = (u64, u64);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The files.
    paths: BTreeSet<PathBuf>,
    /// The names on the way to them, as the kernel will call them.
    names: BTreeSet<PathBuf>,
    /// The directories among them: all that is in one counts.
    whole: BTreeSet<PathBuf>,
    /// The directories that are watched.
    armed: BTreeMap<PathBuf, Identity>,
    /// Something happened that nobody has been woken for.
    woken: bool,
    /// The watch is being dropped.
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked left nothing half-done in there.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the watcher's own thread, which must never wait for ours.
    fn event(&self, event: notify::Result<Event>) {
        let mut state = self.lock();
        match event {
            // Events were lost: anything may have happened.
            Err(_) => {
                state.armed.clear();
                state.woken = true;
            }
            Ok(event) if event.need_rescan() => {
                state.armed.clear();
                state.woken = true;
            }
            Ok(event) => {
                // Reading is no change; we read these files ourselves.
                let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
                if event.kind.is_access() && event.kind != written {
                    return;
                }
                for path in &event.paths {
                    let directory = state.armed.contains_key(path);
                    if event.kind.is_remove() || is_rename(event.kind) {
                        // The watcher now forgets it by itself, with all that is below.
                        state.armed.retain(|armed, _| !armed.starts_with(path));
                    }
                    let within = path.parent().is_some_and(|parent| state.whole.contains(parent));
                    state.woken |= directory || within || state.names.contains(path);
                }
            }
        }
        if state.woken {
            self.changed.notify_one();
        }
    }
}

fn is_rename(kind: EventKind) -> bool {
    matches!(kind, EventKind::Modify(notify::event::ModifyKind::Name(_)))
}

fn is_absent(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        ),
        _ => false,
    }
}

/// The side that owns the watcher and keeps it on the right directories.
struct Arms {
    shared: Arc<Shared>,
    watcher: RecommendedWatcher,
    /// Directories that cannot be watched; told once each.
    refused: BTreeSet<PathBuf>,
    /// Somebody is still at work on the directories: the next look is soon.
    unsettled: bool,
}

impl Arms {
    const MOST_ROUNDS: usize = 8;
    const SOON: Duration = Duration::from_secs(1);

    fn run(mut self, look: Duration, wake: &(dyn Fn() + Send)) {
        loop {
            let wait = if self.unsettled {
                look.min(Self::SOON)
            } else {
                look
            };
            let woken = {
                let state = self.shared.lock();
                let waiting = |state: &mut State| !state.woken && !state.stop;
                let waited = self.shared.changed.wait_timeout_while(state, wait, waiting);
                let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                if state.stop {
                    return;
                }
                std::mem::take(&mut state.woken)
            };
            let renewed = self.renew();
            // What cannot be watched is looked at each time instead.
            if woken || renewed || !self.refused.is_empty() {
                wake();
            }
        }
    }

    /// Brings the watched directories to what the disk is now. Whether anything had to be done: then
    /// something may have changed unseen.
    fn renew(&mut self) -> bool {
        self.unsettled = false;
        for round in 0..Self::MOST_ROUNDS {
            let forgot = self.forget();
            if !self.arm() && !forgot {
                return round > 0;
            }
        }
        self.unsettled = true;
        true
    }

    /// Lets go of the directories that are not on the way any more, or are others now.
    fn forget(&mut self) -> bool {
        let paths = self.shared.lock().paths.clone();
        let links: BTreeSet<Link> = paths.iter().flat_map(|path| links_of(path)).collect();
        let names: BTreeSet<PathBuf> = links.iter().map(|link| link.directory.join(&link.name)).collect();
        let is_directory = |name: &&PathBuf| {
            let found = std::fs::symlink_metadata(name);
            found.is_ok_and(|found| found.is_dir())
        };
        let whole: BTreeSet<PathBuf> = names.iter().filter(is_directory).cloned().collect();
        let directories = links.iter().map(|link| &link.directory);
        let wanted: BTreeSet<&PathBuf> = directories.chain(&whole).collect();
        let mut state = self.shared.lock();
        state.names = names;
        state.whole.clone_from(&whole);
        let outdated: Vec<PathBuf> = state
            .armed
            .iter()
            .filter(|(path, identity)| !wanted.contains(path) || identity_of(path) != Some(**identity))
            .map(|(path, _)| path.clone())
            .collect();
        for path in &outdated {
            state.armed.remove(path);
        }
        // Not under the lock: the watcher's thread answers, and it may be waiting for the lock.
        drop(state);
        self.refused.retain(|path| wanted.contains(path));
        for path in &outdated {
            // It may be forgotten already.
            let _ = self.watcher.unwatch(path);
        }
        !outdated.is_empty()
    }

    /// Watches the directories on the way that are not watched yet. Whether the way is another one now.
    fn arm(&mut self) -> bool {
        let missing: BTreeSet<PathBuf> = {
            let state = self.shared.lock();
            let directories = state.names.iter().filter_map(|name| name.parent());
            let whole = state.whole.iter().map(PathBuf::as_path);
            directories
                .chain(whole)
                .filter(|directory| !state.armed.contains_key(*directory))
                .map(Path::to_owned)
                .collect()
        };
        let mut armed = false;
        for directory in missing {
            let Some(identity) = identity_of(&directory) else {
                armed = true;
                continue;
            };
            // A watch that the kernel dropped may still be in the watcher's books.
            let _ = self.watcher.unwatch(&directory);
            // Before it is: an event that comes at once takes it out again.
            self.shared.lock().armed.insert(directory.clone(), identity);
            match self.watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.refused.remove(&directory);
                    armed = true;
                }
                Err(error) => {
                    self.shared.lock().armed.remove(&directory);
                    if is_absent(&error) {
                        // It may be back already, and as the same inode.
                        armed = true;
                    } else if self.refused.insert(directory.clone()) {
                        tracing::warn!(directory = %directory.display(), %error, "cannot be watched; it is looked at every few seconds");
                    }
                }
            }
        }
        armed
    }
}

fn identity_of(directory: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt as _;

    let found = std::fs::metadata(directory).ok()?;
    found.is_dir().then(|| (found.dev(), found.ino()))
}
