//! Everything outside of the agent but the engine: clock, files, database, probes and the ledger.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::clock::Clock;
use agent::database::{Database, Place};
use agent::files::{Contents, PutError, Staged};
use agent::probe::{Prober, ServiceView};
use async_trait::async_trait;
use config::compose::Source;
use config::read::ReadError;
use config::settings::ProbeSettings;
use state::files::FileOwner;
use state::health::Sample;
use state::journal::OpenOperation;
use state::ledger::{LedgerError, MemoryStore, Objects, Store};
use state::name::{Digest, StackName};
use state::observed::{Known, SchemaHead};
use state::record::{Act, Change, StackRecord};
use state::release::HostKey;
use state::time::Moment;
use steadfast_tests::disk::{Disk, Fault};

use crate::points;
use crate::world::{World, millis};

/// The world, shared between everything in it. One thread: the lock is never waited for.
pub(crate) type Shared = Arc<Mutex<World>>;

pub(crate) fn lock(world: &Shared) -> MutexGuard<'_, World> {
    // A kill unwinds through here on purpose.
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where files are laid out for checks.
pub(crate) const STAGED: &str = "/state/checked";

/// How a killed agent unwinds.
pub(crate) struct Killed;

/// Ends the agent as kill -9 does: nothing of it runs after this.
pub(crate) fn kill() -> ! {
    std::panic::resume_unwind(Box::new(Killed))
}

/// Both clocks of the host.
#[derive(Debug)]
pub(crate) struct Clocks {
    begun: tokio::time::Instant,
    state: Mutex<ClockState>,
}

#[derive(Debug)]
struct ClockState {
    wall_offset_ms: i64,
    boot: u32,
    /// The name of this boot.
    boot_id: Arc<str>,
    booted: Duration,
    /// How long the host slept: its clocks ran, and no process did.
    slept: Duration,
}

impl Clocks {
    pub(crate) fn new() -> Self {
        Self {
            begun: tokio::time::Instant::now(),
            state: Mutex::new(ClockState {
                wall_offset_ms: 1_800_000_000_000,
                boot: 1,
                boot_id: "boot-1".into(),
                booted: Duration::ZERO,
                slept: Duration::ZERO,
            }),
        }
    }

    /// Since the run began.
    pub(crate) fn elapsed(&self) -> Duration {
        tokio::time::Instant::now().duration_since(self.begun)
    }

    pub(crate) fn jump(&self, by_ms: i64) {
        self.state().wall_offset_ms += by_ms;
    }

    pub(crate) fn reboot(&self) {
        let now = self.elapsed();
        let mut state = self.state();
        state.boot += 1;
        state.boot_id = format!("boot-{}", state.boot).into();
        state.booted = now + state.slept;
    }

    /// The host is suspended for so long: `CLOCK_BOOTTIME` goes on, and the timers of processes do not.
    pub(crate) fn suspend(&self, by: Duration) {
        self.state().slept += by;
    }

    fn state(&self) -> MutexGuard<'_, ClockState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for Clocks {
    fn now(&self) -> Moment {
        let state = self.state();
        let now = self.elapsed() + state.slept;
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Moment {
            wall_ms: state.wall_offset_ms + i64::try_from(ms(now)).unwrap_or(i64::MAX),
            boot_ms: ms(now.saturating_sub(state.booted)),
            boot_id: Arc::clone(&state.boot_id),
        }
    }

    async fn sleep(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}

/// The files.
pub(crate) struct Files(pub(crate) Shared);

impl Source for Files {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        lock(&self.0)
            .files
            .get(path)
            .cloned()
            .ok_or_else(|| ReadError::Absent {
                path: path.to_owned(),
            })
    }

    fn list(&self, directory: &Path) -> Result<BTreeSet<PathBuf>, ReadError> {
        let world = lock(&self.0);
        let below = world.files.keys().filter(|path| path.starts_with(directory));
        Ok(below.cloned().collect())
    }
}

/// The files, as an agent reads and writes them.
pub(crate) struct OfAgent {
    pub(crate) world: Shared,
    pub(crate) clocks: Arc<Clocks>,
    /// What its ledger keeps.
    pub(crate) objects: Arc<Objects>,
    pub(crate) agent: String,
}

impl Source for OfAgent {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let files = Files(Arc::clone(&self.world));
        dying(&self.world, "read file", || files.read(path))
    }

    fn list(&self, directory: &Path) -> Result<BTreeSet<PathBuf>, ReadError> {
        let files = Files(Arc::clone(&self.world));
        dying(&self.world, "read file", || files.list(directory))
    }
}

impl agent::files::Files for OfAgent {
    fn owner(&self, path: &Path) -> Option<FileOwner> {
        let root = FileOwner {
            uid: 0,
            gid: 0,
            mode: 0o600,
        };
        lock(&self.world).files.contains_key(path).then_some(root)
    }

    fn written(&self, path: &Path) -> Option<i64> {
        let world = lock(&self.world);
        let is_there = world.files.contains_key(path);
        world.written.get(path).filter(|_| is_there).copied().map(millis)
    }

    fn put(&self, path: &Path, content: Option<&[u8]>, _: Option<FileOwner>) -> Result<(), PutError> {
        let failed = |kind: std::io::ErrorKind| PutError::Io {
            path: path.to_owned(),
            source: kind.into(),
        };
        let mut world = lock(&self.world);
        world.settle(self.clocks.elapsed());
        let dies = world.dies(&["put file"]);
        if dies == Some(false) {
            drop(world);
            kill();
        }
        let (full, broken) = (world.faults.full, world.faults.broken);
        if world.dice.in_thousand(full) {
            world.injected("file: disk full", format!("FULL {}", path.display()));
            return Err(failed(std::io::ErrorKind::StorageFull));
        }
        let is_kept = |digest: &Digest| matches!(self.objects.get(digest), Ok(Some(_)));
        world.putting(&self.agent, path, is_kept);
        world.note(format!("  put {}", path.display()));
        match content {
            Some(content) => drop(world.files.insert(path.to_owned(), content.to_vec())),
            None => drop(world.files.remove(path)),
        }
        world.changes += 1;
        let now = world.now;
        world.written.insert(path.to_owned(), now);
        let unsure = world.dice.in_thousand(broken);
        if dies.is_some() {
            drop(world);
            kill();
        }
        if unsure {
            world.injected(
                "file: io error, and it is there",
                format!("UNSURE {}", path.display()),
            );
            return Err(failed(std::io::ErrorKind::Other));
        }
        Ok(())
    }

    fn can_put(&self, _: &Path) -> Result<(), PutError> {
        Ok(())
    }

    fn publish(&self, at: &Path, content: &[u8], _: bool) -> Result<(), PutError> {
        let mut world = lock(&self.world);
        world.files.insert(at.to_owned(), content.to_vec());
        Ok(())
    }

    fn stage(&self, place: &Path, of: &Path, files: &Contents) -> Result<Staged, PutError> {
        let at = Path::new(STAGED)
            .join(place)
            .join(of.file_name().unwrap_or_default());
        let mut world = lock(&self.world);
        for (path, content) in files {
            let Some((below, content)) = path.strip_prefix(of).ok().zip(content.clone()) else {
                continue;
            };
            let to = if below.as_os_str().is_empty() {
                at.clone()
            } else {
                at.join(below)
            };
            world.files.insert(to, content);
        }
        let others = BTreeSet::new();
        Ok(Staged { at, others })
    }

    fn clear(&self, place: &Path, but: Option<&str>) -> Result<(), PutError> {
        let place = Path::new(STAGED).join(place);
        let kept = but.map(|name| place.join(name));
        let stays = |path: &PathBuf| {
            !path.starts_with(&place) || kept.as_ref().is_some_and(|kept| path.starts_with(kept))
        };
        lock(&self.world).files.retain(|path, _| stays(path));
        Ok(())
    }
}

/// Does what takes no time, unless the agent dies of it.
fn dying<T>(world: &Shared, place: &'static str, effect: impl FnOnce() -> T) -> T {
    let dies = lock(world).dies(&[place]);
    if dies == Some(false) {
        kill();
    }
    let done = effect();
    if dies.is_some() {
        kill();
    }
    done
}

/// How long a question to the database may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// The database of the stack.
pub(crate) struct Schema {
    pub(crate) world: Shared,
    pub(crate) clocks: Arc<Clocks>,
}

#[async_trait]
impl Database for Schema {
    async fn schema_head(&self, place: Place<'_>) -> Known<SchemaHead> {
        tokio::time::sleep(Duration::from_millis(3)).await;
        match self.ask(place.address) {
            Err(Ailment::Slow) => {
                tokio::time::sleep(DEADLINE).await;
                Known::Unknown(String::from("the database did not answer within 3s"))
            }
            Err(Ailment::Silent(words)) => Known::Unknown(String::from(words)),
            Ok(head) => Known::Known(head),
        }
    }
}

/// Why the database says nothing.
enum Ailment {
    Slow,
    Silent(&'static str),
}

impl Schema {
    fn ask(&self, address: Option<IpAddr>) -> Result<SchemaHead, Ailment> {
        let mut world = lock(&self.world);
        world.settle(self.clocks.elapsed());
        if world.dies(&["read schema"]).is_some() {
            drop(world);
            kill();
        }
        let (silent, slow) = (world.faults.silent, world.faults.slow);
        if address.is_none() {
            return Err(Ailment::Silent("the database has no address"));
        }
        if world.data.migrates && !world.data.open {
            return Err(Ailment::Silent(
                "the database is not currently accepting connections",
            ));
        }
        if world.dice.in_thousand(silent) {
            world.injected("database: down", "THE DATABASE IS SILENT");
            return Err(Ailment::Silent("the database does not answer"));
        }
        if world.dice.in_thousand(slow) {
            if world.dice.in_thousand(500) {
                world.injected("database: too slow", "THE DATABASE IS SLOW");
                return Err(Ailment::Slow);
            }
            world.injected("database: half an answer", "THE DATABASE HANGS UP");
            return Err(Ailment::Silent("the connection ended in the middle of an answer"));
        }
        Ok(world.schema.clone())
    }
}

/// The probes.
pub(crate) struct Probes {
    pub(crate) world: Shared,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) stack: StackName,
    /// Another agent's.
    pub(crate) stray: bool,
}

#[async_trait]
impl Prober for Probes {
    async fn ask(&self, probe: &ProbeSettings, _: &ServiceView<'_>) -> Sample {
        tokio::time::sleep(Duration::from_millis(5)).await;
        match self.sample(probe) {
            Some(sample) => sample,
            // The agent is no more.
            None => std::future::pending().await,
        }
    }
}

impl Probes {
    /// `None`: the agent dies of it. It was asked on a task of its own, so the whole of the agent is ended.
    fn sample(&self, probe: &ProbeSettings) -> Option<Sample> {
        let mut world = lock(&self.world);
        let now = self.clocks.elapsed();
        world.settle(now);
        if world.dies(&["ask probe"]).is_some() {
            world.agent.take()?.abort();
            return None;
        }
        let silent = world.faults.silent;
        if world.dice.in_thousand(silent) || now < world.hushed_until {
            world.injected("probe: silent", "A PROBE IS SILENT");
            return Some(Sample::Unknown(String::from("nothing can be said")));
        }
        let answer = world.answer(&self.stack, probe.policy.service.as_str());
        let name = probe.policy.name.as_str().to_owned();
        // What another agent hears is not what this one judges by.
        if !self.stray {
            world
                .answers
                .entry(name)
                .or_default()
                .push((now, answer.is_err()));
        }
        Some(match answer {
            Ok(()) => Sample::Pass,
            Err(why) => Sample::Fail(why),
        })
    }
}

/// The ledger: what is committed is durable, and the laws look at every batch.
pub(crate) struct Ledger {
    pub(crate) kept: Arc<MemoryStore>,
    /// Its objects, and the disk that they are on.
    pub(crate) objects: Arc<Objects>,
    pub(crate) disk: Disk,
    pub(crate) identity: String,
    pub(crate) world: Shared,
    pub(crate) clocks: Arc<Clocks>,
    /// Another agent's: no fault is its, and what is in it is nobody's law.
    pub(crate) stray: bool,
}

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Well,
    /// The agent dies after it.
    Last,
    /// An error is told, though it is durable.
    Unsure,
}

/// `SQLite`'s codes for a lock that somebody holds, and for a disk that fails.
const BUSY: i32 = 5;
const IO_ERROR: i32 = 10;

/// The kind of a fault of the disk below the objects.
const fn on_disk(fault: Fault) -> &'static str {
    match fault {
        Fault::Full => "object: disk full",
        Fault::Io => "object: io error",
        Fault::Short => "object: short write",
        Fault::Killed | Fault::KilledAfter => "object: killed while writing",
    }
}

fn refused(code: i32) -> LedgerError {
    LedgerError::Database {
        what: "write",
        path: "/state/ledger.db".into(),
        source: rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None),
    }
}

impl Ledger {
    /// What becomes of this write: it may find a full disk or a broken one, and be the agent's last.
    fn write(&self, places: &[&'static str]) -> Result<Writing, LedgerError> {
        if self.stray {
            return Ok(Writing::Well);
        }
        let mut world = lock(&self.world);
        world.settle(self.clocks.elapsed());
        let faults = world.faults;
        match world.dies(places) {
            Some(true) => return Ok(Writing::Last),
            Some(false) => {
                drop(world);
                kill();
            }
            None => {}
        }
        if world.unsure_at.take_if(|place| places.contains(place)).is_some() {
            world.note(format!("UNSURE {}", places.join(", ")));
            return Ok(Writing::Unsure);
        }
        if world.dice.in_thousand(faults.full) {
            world.injected("ledger: disk full", format!("FULL {}", places.join(", ")));
            return Err(LedgerError::Full { dir: "/state".into() });
        }
        if world.dice.in_thousand(faults.broken) {
            let words = places.join(", ");
            match world.dice.number(0..3) {
                0 => {
                    world.injected("ledger: busy", format!("BUSY {words}"));
                    return Err(refused(BUSY));
                }
                1 => {
                    world.injected("ledger: io error", format!("IO ERROR {words}"));
                    return Err(refused(IO_ERROR));
                }
                _ => {
                    world.injected("ledger: io error, and durable", format!("UNSURE {words}"));
                    return Ok(Writing::Unsure);
                }
            }
        }
        Ok(Writing::Well)
    }

    fn written<T>(&self, places: &[&'static str], effect: impl FnOnce() -> T) -> Result<T, LedgerError> {
        let writing = self.write(places)?;
        let done = effect();
        match writing {
            Writing::Well => Ok(done),
            Writing::Last => kill(),
            Writing::Unsure => Err(refused(IO_ERROR)),
        }
    }

    /// One of the primitives may fail, or be the last thing that the agent does.
    fn put_on_disk(&self, bytes: &[u8]) -> Result<Digest, LedgerError> {
        let told = {
            let mut world = lock(&self.world);
            let often = world.faults.broken * 10;
            let fails = !self.stray && world.dice.in_thousand(often);
            let fault = world.dice.one(&Fault::ALL).copied().filter(|_| fails);
            fault.map(|fault| (world.dice.number(0..10), fault))
        };
        if let Some((at, fault)) = told {
            self.disk.fail_at(usize::try_from(at).unwrap_or(0), fault);
        }
        let done = self.objects.put(bytes);
        let (dead, failed) = (self.disk.is_dead(), done.is_err());
        self.disk.revive();
        if let Some((at, fault)) = told.filter(|_| dead || failed) {
            let mut world = lock(&self.world);
            world.injected(
                on_disk(fault),
                format!("{fault:?} at primitive {at} of an object"),
            );
            if dead {
                world.died_within("put object");
                drop(world);
                kill();
            }
        }
        done
    }

    fn read<T>(&self, place: &'static str, effect: impl FnOnce() -> T) -> T {
        if self.stray {
            return effect();
        }
        dying(&self.world, place, effect)
    }
}

impl Store for Ledger {
    fn load(&self, stack: &StackName) -> Result<StackRecord, LedgerError> {
        self.read("load record", || self.kept.load(stack))
    }

    fn commit(&self, stack: &StackName, changes: &[Change]) -> Result<(), LedgerError> {
        if changes.is_empty() {
            return Ok(());
        }
        let places: BTreeSet<&'static str> = changes.iter().map(points::of_change).collect();
        let places: Vec<&'static str> = places.into_iter().collect();
        self.written(&places, || {
            let outcome = self.kept.commit(stack, changes);
            if self.stray {
                return outcome;
            }
            if places.iter().any(|place| points::ENDS.contains(place)) {
                lock(&self.world).points.ended();
            }
            if outcome.is_err() || !lock(&self.world).noted(changes) {
                let after = self.kept.load(stack)?;
                let error = outcome.as_ref().err().map(ToString::to_string);
                let mut world = lock(&self.world);
                for spec in contents(&after) {
                    if world.laws.kept.contains(spec) {
                        continue;
                    }
                    if matches!(self.objects.get(spec), Ok(Some(_))) {
                        world.laws.kept.insert(spec.clone());
                    } else {
                        let words = format!("the record refers to {}, which is not kept", spec.short());
                        world.laws.breaks(10, words);
                        break;
                    }
                }
                world.committed(after, changes, error);
            }
            outcome
        })?
    }

    fn next_operation_id(&self) -> Result<u64, LedgerError> {
        self.written(&["take operation id"], || self.kept.next_operation_id())?
    }

    fn acts(&self, stack: &StackName, limit: u32) -> Result<Vec<Act>, LedgerError> {
        self.kept.acts(stack, limit)
    }

    fn operations(&self, stack: &StackName, limit: u32) -> Result<Vec<OpenOperation>, LedgerError> {
        self.kept.operations(stack, limit)
    }

    fn put_object(&self, bytes: &[u8]) -> Result<Digest, LedgerError> {
        self.written(&["put object"], || self.put_on_disk(bytes))?
    }

    fn object(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LedgerError> {
        self.read("read object", || self.objects.get(digest))
    }

    fn collect_objects(&self) -> Result<usize, LedgerError> {
        self.kept.collect_objects()
    }

    fn stacks(&self) -> Result<Vec<StackName>, LedgerError> {
        self.kept.stacks()
    }

    fn host_key(&self) -> HostKey {
        self.kept.host_key()
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn last_valid(&self, what: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        self.kept.last_valid(what)
    }

    fn keep_valid(&self, what: &str, bytes: &[u8]) -> Result<(), LedgerError> {
        self.kept.keep_valid(what, bytes)
    }

    fn release_reserve(&self) -> Result<(), LedgerError> {
        // What the reserve gives free is room enough for what mends.
        let mut world = lock(&self.world);
        if !world.reserve_is_used {
            world.faults.full = 0;
        }
        Ok(())
    }

    fn ensure_reserve(&self) -> Result<bool, LedgerError> {
        Ok(true)
    }
}

/// The objects that a record cannot do without.
pub(crate) fn contents(record: &StackRecord) -> impl Iterator<Item = &Digest> {
    let request = record
        .request
        .iter()
        .map(|request| (&request.spec, &request.files));
    let all = request.chain(record.generations.iter().map(|g| (&g.spec, &g.files)));
    all.flat_map(|(spec, files)| {
        let files = files.values().filter_map(|file| file.content.as_ref());
        [spec].into_iter().chain(files)
    })
}

/// What the agent logs, into the trace.
#[derive(Clone)]
pub(crate) struct Log(pub(crate) Shared);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).logged(String::from_utf8_lossy(bytes).trim_end());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
