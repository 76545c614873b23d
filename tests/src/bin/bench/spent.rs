//! What the time is spent on: the product's own engine and ledger, with every call's begin and end
//! noted. Nothing is changed on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent::engine::{
    Attachment, Build, ContainerDetail, ContainerObs, Difference, Engine, EngineError, EngineEvent,
    EngineInfo, Exec, Executed, NewContainer, OneOff, Ran,
};
use agent::reconcile::Edges;
use async_trait::async_trait;
use state::files::Signal;
use state::journal::{Event, OpenOperation};
use state::ledger::{LedgerError, Store};
use state::name::{ContainerId, Digest, ImageId, StackName};
use state::record::{Act, Change, StackRecord};
use state::release::HostKey;
use state::stack_spec::{NetworkSpec, RestartPolicy, StackSpec, VolumeSpec};

/// What a stretch of time is spent on. Of two at a time the later one in this list counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum On {
    /// Nothing of the others: what Steadfast itself thinks.
    Own,
    /// Calls that read.
    Look,
    /// The ledger.
    Ledger,
    /// Keepers, names, networks, restart policies.
    Small,
    /// Commands in containers.
    Command,
    /// Creating the container.
    Create,
    /// Stopping the one that is left.
    Stop,
    /// Starting the other one.
    Start,
    /// From the start's answer to the application's.
    Answer,
}

impl On {
    pub(crate) const ALL: [Self; 9] = [
        Self::Own,
        Self::Look,
        Self::Ledger,
        Self::Small,
        Self::Command,
        Self::Create,
        Self::Stop,
        Self::Start,
        Self::Answer,
    ];

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Own => "deciding, planning",
            Self::Look => "looking at the engine",
            Self::Ledger => "the ledger",
            Self::Small => "names, policies, networks, keepers",
            Self::Command => "commands in containers",
            Self::Create => "create",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Answer => "started, not answering yet",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Note {
    on: On,
    begun: Instant,
    ended: Instant,
}

/// The calls, as they ended, and when an operation was found to have failed.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Vec<Note>>, Mutex<Option<Instant>>);

impl Notes {
    /// Forgets what there is.
    pub(crate) fn clear(&self) {
        self.all().clear();
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// When an operation was found to have failed.
    pub(crate) fn failed(&self) -> Option<Instant> {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, on: On, begun: Instant) {
        let ended = Instant::now();
        self.all().push(Note { on, begun, ended });
    }

    /// How the time from `begun` to `served` was spent. The parts make the whole.
    pub(crate) fn between(&self, begun: Instant, served: Instant) -> BTreeMap<On, Duration> {
        let mut notes = self.all().clone();
        if let Some(started) = notes.iter().filter(|n| n.on == On::Start).map(|n| n.ended).max() {
            let (begun, ended) = (started, served.max(started));
            notes.retain(|note| note.begun < started);
            notes.push(Note {
                on: On::Answer,
                begun,
                ended,
            });
        }
        let mut edges: BTreeSet<Instant> = [begun, served].into();
        edges.extend(notes.iter().flat_map(|note| [note.begun, note.ended]));
        let edges: Vec<Instant> = edges
            .into_iter()
            .filter(|at| (begun..=served).contains(at))
            .collect();
        let mut spent = BTreeMap::new();
        for pair in edges.windows(2) {
            let [from, to] = [pair[0], pair[1]];
            let under_way = notes.iter().filter(|note| note.begun <= from && to <= note.ended);
            let on = under_way.map(|note| note.on).max().unwrap_or(On::Own);
            *spent.entry(on).or_default() += to - from;
        }
        spent
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(&self, on: On, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let answer = work.await;
        self.add(on, begun);
        answer
    }

    fn ledger<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let answer = work();
        self.add(On::Ledger, begun);
        answer
    }
}

/// The same edges, with their calls noted.
pub(crate) fn noted(edges: Edges, notes: &Arc<Notes>) -> Edges {
    let engine = Noted(edges.engine, Arc::clone(notes));
    let store = Noted(edges.store, Arc::clone(notes));
    Edges {
        engine: Arc::new(engine),
        store: Arc::new(store),
        ..edges
    }
}

struct Noted<T: ?Sized>(Arc<T>, Arc<Notes>);

type Answer<T> = Result<T, EngineError>;

#[async_trait]
impl Engine for Noted<dyn Engine> {
    async fn info(&self) -> Answer<EngineInfo> {
        self.1.call(On::Look, self.0.info()).await
    }

    async fn containers(&self, project: &StackName) -> Answer<Vec<ContainerObs>> {
        self.1.call(On::Look, self.0.containers(project)).await
    }

    async fn container(&self, id: &str) -> Answer<Option<ContainerDetail>> {
        self.1.call(On::Look, self.0.container(id)).await
    }

    async fn create(&self, new: &NewContainer<'_>) -> Answer<ContainerId> {
        self.1.call(On::Create, self.0.create(new)).await
    }

    async fn start(&self, id: &ContainerId) -> Answer<()> {
        self.1.call(On::Start, self.0.start(id)).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Answer<()> {
        self.1.call(On::Stop, self.0.stop(id, grace)).await
    }

    async fn unpause(&self, id: &ContainerId) -> Answer<()> {
        self.1.call(On::Small, self.0.unpause(id)).await
    }

    async fn remove(&self, id: &ContainerId) -> Answer<()> {
        self.1.call(On::Small, self.0.remove(id)).await
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Answer<()> {
        self.1.call(On::Small, self.0.rename(id, name)).await
    }

    async fn signal(&self, id: &ContainerId, signal: Signal) -> Answer<()> {
        self.1.call(On::Small, self.0.signal(id, signal)).await
    }

    async fn set_restart(&self, id: &ContainerId, policy: &RestartPolicy) -> Answer<()> {
        self.1.call(On::Small, self.0.set_restart(id, policy)).await
    }

    async fn connect(&self, id: &ContainerId, to: &Attachment) -> Answer<()> {
        self.1.call(On::Small, self.0.connect(id, to)).await
    }

    async fn disconnect(&self, id: &ContainerId, network: &str) -> Answer<()> {
        self.1.call(On::Small, self.0.disconnect(id, network)).await
    }

    async fn run_once(&self, once: &OneOff<'_>) -> Answer<Ran> {
        self.1.call(On::Command, self.0.run_once(once)).await
    }

    async fn end_once(&self, project: &StackName, name: &str, operation: u64) -> Answer<()> {
        let work = self.0.end_once(project, name, operation);
        self.1.call(On::Command, work).await
    }

    async fn exec(&self, exec: Exec<'_>) -> Answer<Executed> {
        self.1.call(On::Command, self.0.exec(exec)).await
    }

    async fn log_tail(&self, id: &ContainerId, lines: u32) -> Answer<String> {
        self.1.call(On::Look, self.0.log_tail(id, lines)).await
    }

    async fn differences(&self, id: &ContainerId, new: &NewContainer<'_>) -> Answer<Vec<Difference>> {
        self.1.call(On::Look, self.0.differences(id, new)).await
    }

    async fn networks(&self, names: &BTreeSet<String>) -> Answer<BTreeSet<String>> {
        self.1.call(On::Look, self.0.networks(names)).await
    }

    async fn create_network(
        &self,
        stack: &StackSpec,
        key: &str,
        network: &NetworkSpec,
        name: &str,
    ) -> Answer<()> {
        let work = self.0.create_network(stack, key, network, name);
        self.1.call(On::Small, work).await
    }

    async fn volumes(&self, names: &BTreeSet<String>) -> Answer<BTreeSet<String>> {
        self.1.call(On::Look, self.0.volumes(names)).await
    }

    async fn create_volume(
        &self,
        stack: &StackSpec,
        key: &str,
        volume: &VolumeSpec,
        name: &str,
    ) -> Answer<()> {
        let work = self.0.create_volume(stack, key, volume, name);
        self.1.call(On::Small, work).await
    }

    async fn claim(&self, project: &StackName, identity: &str) -> Answer<String> {
        self.1.call(On::Small, self.0.claim(project, identity)).await
    }

    async fn image(&self, reference: &str) -> Answer<Option<ImageId>> {
        self.1.call(On::Look, self.0.image(reference)).await
    }

    async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Answer<ImageId> {
        let work = self.0.pull(reference, platform, progress);
        self.1.call(On::Small, work).await
    }

    async fn build(&self, build: &Build<'_>, progress: &(dyn Fn(String) + Send + Sync)) -> Answer<ImageId> {
        self.1.call(On::Small, self.0.build(build, progress)).await
    }

    async fn tag(&self, image: &ImageId, reference: &str) -> Answer<()> {
        self.1.call(On::Small, self.0.tag(image, reference)).await
    }

    async fn kept_images(&self, project: &StackName) -> Answer<BTreeSet<ImageId>> {
        self.1.call(On::Look, self.0.kept_images(project)).await
    }

    async fn keep_image(&self, project: &StackName, image: &ImageId) -> Answer<()> {
        self.1.call(On::Small, self.0.keep_image(project, image)).await
    }

    async fn release_images(&self, project: &StackName, wanted: &BTreeSet<ImageId>) -> Answer<()> {
        self.1
            .call(On::Small, self.0.release_images(project, wanted))
            .await
    }

    async fn follow_events(&self, on: &(dyn Fn(EngineEvent) + Send + Sync)) -> Answer<()> {
        self.0.follow_events(on).await
    }
}

type Kept<T> = Result<T, LedgerError>;

impl Store for Noted<dyn Store> {
    fn load(&self, stack: &StackName) -> Kept<StackRecord> {
        self.1.ledger(|| self.0.load(stack))
    }

    fn commit(&self, stack: &StackName, changes: &[Change]) -> Kept<()> {
        let fails = |change: &Change| matches!(change, Change::Journal(entry) if matches!(entry.event, Event::Failed { .. }));
        if changes.iter().any(fails) {
            *self.1.1.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.1.ledger(|| self.0.commit(stack, changes))
    }

    fn next_operation_id(&self) -> Kept<u64> {
        self.1.ledger(|| self.0.next_operation_id())
    }

    fn acts(&self, stack: &StackName, limit: u32) -> Kept<Vec<Act>> {
        self.1.ledger(|| self.0.acts(stack, limit))
    }

    fn operations(&self, stack: &StackName, limit: u32) -> Kept<Vec<OpenOperation>> {
        self.1.ledger(|| self.0.operations(stack, limit))
    }

    fn put_object(&self, bytes: &[u8]) -> Kept<Digest> {
        self.1.ledger(|| self.0.put_object(bytes))
    }

    fn object(&self, digest: &Digest) -> Kept<Option<Vec<u8>>> {
        self.1.ledger(|| self.0.object(digest))
    }

    fn collect_objects(&self) -> Kept<usize> {
        self.1.ledger(|| self.0.collect_objects())
    }

    fn stacks(&self) -> Kept<Vec<StackName>> {
        self.1.ledger(|| self.0.stacks())
    }

    fn host_key(&self) -> HostKey {
        self.0.host_key()
    }

    fn identity(&self) -> String {
        self.0.identity()
    }

    fn last_valid(&self, what: &str) -> Kept<Option<Vec<u8>>> {
        self.1.ledger(|| self.0.last_valid(what))
    }

    fn keep_valid(&self, what: &str, bytes: &[u8]) -> Kept<()> {
        self.1.ledger(|| self.0.keep_valid(what, bytes))
    }

    fn release_reserve(&self) -> Kept<()> {
        self.1.ledger(|| self.0.release_reserve())
    }

    fn ensure_reserve(&self) -> Kept<bool> {
        self.1.ledger(|| self.0.ensure_reserve())
    }
}
