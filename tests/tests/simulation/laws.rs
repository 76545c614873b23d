//! What must stay true, asked after every write to the ledger and before every change through the engine. The
//! numbers are those of the invariants in `docs/architecture.md`.

mod blame;
mod ending;
mod files;
mod judging;
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use agent::engine::NewContainer;
use state::health::Phase;
use state::journal::{Ending, Entry, Event, Kind, OpenOperation, Operation, Progress};
use state::name::{Commit, ContainerId, Digest, ImageId, ServiceName, Tag};
use state::record::{Change, StackRecord};
use state::release::{Author, Generation, GenerationNumber, Quarantine, Request, Verdict};
use state::step::{Step, Target};

use crate::world::{Behaviour, Container, World};
use blame::still_has;
use files::reads_otherwise;

/// After so many events the journal of an open operation is replayed.
const REPLAYED_EVERY: usize = 8;

/// A change through the engine.
pub(crate) enum Call<'a> {
    Create(&'a NewContainer<'a>),
    Start(&'a ContainerId),
    Unpause(&'a ContainerId),
    Stop(&'a ContainerId),
    Remove(&'a ContainerId),
    Rename(&'a ContainerId, &'a str),
    SetRestart(&'a ContainerId),
    Connect(&'a ContainerId),
    Disconnect(&'a ContainerId),
    CreateNetwork(&'a str),
    CreateVolume(&'a str),
    Pull,
    /// An image, of this context.
    Build(&'a Path),
    Tag,
    Keep,
    Release,
    /// A command in a container of its own, by the container's name.
    RunOnce(&'a str),
    EndOnce(&'a str),
    Exec(&'a ContainerId),
    Signal(&'a ContainerId),
    /// What is done to the database as a whole.
    CloseDatabase,
    OpenDatabase,
    CopyDatabase,
    PutBack,
    /// By its name.
    DropCopy(&'a str),
    RestoreBeside,
    TakePlace,
    GiveBack,
    ApplySql,
    BackUp,
    Verify,
    /// What an operation has taken out of the database.
    PutIn(u64),
    /// A file of the operator's.
    PutFile(&'a Path),
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(new) => write!(f, "  create {} from {}", new.name, new.image.short()),
            Self::Start(id) => write!(f, "  start {}", id.short()),
            Self::Unpause(id) => write!(f, "  unpause {}", id.short()),
            Self::Stop(id) => write!(f, "  stop {}", id.short()),
            Self::Remove(id) => write!(f, "  remove {}", id.short()),
            Self::Rename(id, to) => write!(f, "  rename {} to {to}", id.short()),
            Self::SetRestart(id) => write!(f, "  restart policy of {}", id.short()),
            Self::Connect(id) => write!(f, "  connect {}", id.short()),
            Self::Disconnect(id) => write!(f, "  disconnect {}", id.short()),
            Self::CreateNetwork(name) => write!(f, "  create network {name}"),
            Self::CreateVolume(name) => write!(f, "  create volume {name}"),
            Self::Pull => f.write_str("  pull"),
            Self::Build(context) => write!(f, "  build {}", context.display()),
            Self::Tag => f.write_str("  tag an image"),
            Self::Keep => f.write_str("  keep an image"),
            Self::Release => f.write_str("  let go of images"),
            Self::RunOnce(name) => write!(f, "  run {name}"),
            Self::EndOnce(name) => write!(f, "  end {name}"),
            Self::Exec(id) => write!(f, "  a command in {}", id.short()),
            Self::Signal(id) => write!(f, "  a signal to {}", id.short()),
            Self::CloseDatabase => f.write_str("  bar the database"),
            Self::OpenDatabase => f.write_str("  open the database"),
            Self::CopyDatabase => f.write_str("  copy the database"),
            Self::PutBack => f.write_str("  put the copy back"),
            Self::DropCopy(name) => write!(f, "  drop {name}"),
            Self::RestoreBeside => f.write_str("  restore beside"),
            Self::TakePlace => f.write_str("  what was restored takes the place"),
            Self::GiveBack => f.write_str("  give the old database its name back"),
            Self::ApplySql => f.write_str("  SQL of the operator"),
            Self::BackUp => f.write_str("  back up"),
            Self::PutIn(of) => write!(f, "  put in what {of} has taken out"),
            Self::Verify => f.write_str("  restore the backup"),
            Self::PutFile(path) => write!(f, "  put {}", path.display()),
        }
    }
}

impl Call<'_> {
    fn target(&self) -> Option<&ContainerId> {
        match self {
            Self::Start(id)
            | Self::Unpause(id)
            | Self::Stop(id)
            | Self::Remove(id)
            | Self::Rename(id, _)
            | Self::SetRestart(id)
            | Self::Connect(id)
            | Self::Disconnect(id)
            | Self::Exec(id)
            | Self::Signal(id) => Some(id),
            _ => None,
        }
    }

    /// Whether this is what a step does.
    fn is_of(&self, step: &Step) -> bool {
        match (self, step) {
            (Self::Create(new), Step::Create { service, number, .. }) => {
                new.service == service && new.number == *number
            }
            // A container that is paused goes on where it was.
            (Self::Start(_) | Self::Unpause(_), Step::Start { .. })
            // What ended while nobody looked.
            | (Self::Start(_), Step::Await { .. } | Step::Watch { .. })
            | (Self::Stop(_), Step::Stop { .. })
            | (Self::Remove(_), Step::Remove { .. })
            | (Self::Rename(..), Step::Rename { .. })
            | (Self::SetRestart(_), Step::Quiesce { .. } | Step::GiveRestart { .. })
            | (Self::Connect(_), Step::Attach { .. })
            | (Self::Disconnect(_), Step::Detach { .. })
            | (Self::CreateNetwork(_), Step::CreateNetwork { .. })
            | (Self::CreateVolume(_), Step::CreateVolume { .. })
            | (Self::Pull, Step::Pull { .. })
            | (Self::Tag, Step::Build { .. })
            | (Self::Keep, Step::KeepImage { .. })
            | (Self::Release, Step::ReleaseImages { .. })
            | (
                Self::RunOnce(_),
                Step::ReadMigrations { .. }
                | Step::ReadLosses { .. }
                | Step::Migrate { .. }
                | Step::CheckFile { .. }
            )
            | (Self::Signal(_), Step::Signal { .. })
            | (Self::Exec(_), Step::CompareFiles { .. })
            | (Self::PutIn(_), Step::PutIn { .. })
            | (Self::PutFile(_), Step::PutFiles { .. })
            | (Self::EndOnce(_), Step::Migrate { .. } | Step::ApplySql { .. } | Step::PutBack)
            | (
                Self::CloseDatabase,
                Step::CloseDatabase { .. } | Step::ApplySql { .. } | Step::PutBack | Step::GiveBack
            )
            | (Self::RestoreBeside, Step::RestoreBeside { .. })
            | (Self::DropCopy(_), Step::DropRestored | Step::DropBeside { .. })
            | (Self::TakePlace, Step::TakePlace)
            | (Self::GiveBack, Step::GiveBack)
            // Nobody can look into one that is barred.
            | (Self::OpenDatabase, Step::OpenDatabase | Step::ApplySql { .. } | Step::PutBack)
            | (Self::ApplySql, Step::ApplySql { .. })
            | (Self::CopyDatabase, Step::CopyDatabase)
            | (Self::PutBack, Step::PutBack | Step::ApplySql { .. })
            | (Self::BackUp | Self::Verify, Step::Backup { .. })
            | (Self::Verify, Step::VerifyBackup { .. }) => true,
            (Self::Build(context), Step::Build { commit, .. }) => {
                context.components().any(|part| part.as_os_str() == commit.as_str())
            }
            _ => false,
        }
    }
}

/// The services of the Compose file.
pub(crate) const SERVICES: [&str; 4] = ["db", "cache", "api", "web"];

/// Numbers of the story that the laws need.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) window: Duration,
    pub(crate) good_after: Duration,
    pub(crate) interval: Duration,
    pub(crate) pass_after: usize,
    pub(crate) fail_after: usize,
    pub(crate) budget: usize,
    pub(crate) budget_per: Duration,
    /// A value that nobody but a container may ever see.
    pub(crate) secret: String,
}

/// What was broken, and what the laws have to remember.
#[derive(Debug, Default)]
pub(crate) struct Laws {
    pub(crate) broken: Vec<String>,
    pub(crate) behaviours: BTreeMap<ImageId, Behaviour>,
    pub(crate) terms: Option<Terms>,
    /// What is durable.
    pub(crate) record: Option<StackRecord>,
    /// Since when the current generation runs.
    applied_at: Duration,
    /// When the agent went back by itself, under which request.
    retreats: Vec<(Digest, Duration)>,
    /// When the failure was last counted.
    counted_at: Duration,
    /// When the open operation was opened, and which ones were lately.
    opened_at: Duration,
    opened: Vec<(Duration, String)>,
    /// How many there were.
    pub(crate) operations: u64,
    /// When somebody last made or removed a container by hand, or the schema.
    pub(crate) touched: Option<Duration>,
    pub(crate) migrated: Option<Duration>,
    /// Whether whoever last ordered a rollback has said that the schema fits; and which operation came of that.
    pub(crate) vouched: bool,
    vouched_for: Option<u64>,
    /// The schema as the open operation has found it.
    begun: Option<schema::Begun>,
    /// The same, of an operation that has been taken back, where nobody has seen yet what it has left.
    unseen: Option<schema::Begun>,
    /// Whether something was left, and nobody has said yet how it goes on.
    left: bool,
    /// The operations that have taken the schema back, and how far.
    took_back: BTreeMap<u64, u64>,
    /// Which image has written to a volume last.
    writers: BTreeMap<String, ImageId>,
    /// Where the rows of each replica are, by target.
    rows: BTreeMap<(ServiceName, u32), BTreeMap<String, String>>,
    /// Every version of a file that was part of a request.
    pub(crate) taken_up: BTreeSet<Digest>,
    /// The file that a person has a version put into: written down, and not put yet.
    given: Option<std::path::PathBuf>,
    /// What was seen to be kept since the last power cut: nothing else takes it away.
    pub(crate) kept: BTreeSet<Digest>,
}

impl Laws {
    pub(crate) fn breaks(&mut self, law: u32, words: impl fmt::Display) {
        self.broken.push(format!("invariant {law}: {words}"));
    }

    /// Two containers never write to one volume.
    pub(crate) fn no_two_writers(&mut self, containers: &BTreeMap<ContainerId, Container>) {
        let mut writers: BTreeMap<&str, &str> = BTreeMap::new();
        let mut both = None;
        for container in containers.values().filter(|c| c.runs()) {
            for volume in &container.writable {
                if let Some(other) = writers.insert(volume, &container.name) {
                    both = Some(format!("{other} and {} both write to {volume}", container.name));
                }
            }
        }
        if let Some(words) = both {
            self.breaks(8, words);
        }
    }

    /// What a replica has written goes on in the next container.
    pub(crate) fn keeps_its_rows(
        &mut self,
        container: &Container,
        volumes: &BTreeMap<String, BTreeMap<String, String>>,
    ) {
        for volume in &container.anonymous {
            let rows = self.rows.get(&(container.service.clone(), container.number));
            let before = rows.and_then(|rows| rows.get(&volume.target)).cloned();
            if let Some(before) = before.filter(|v| *v != volume.volume && volumes.contains_key(v)) {
                self.breaks(
                    8,
                    format!(
                        "{} begins with an empty volume, its rows are in {}",
                        container.name,
                        &before[..12]
                    ),
                );
            }
        }
    }

    /// Whether the agent has made or adopted this container.
    pub(crate) fn is_met(&self, id: &ContainerId, container: &Container) -> bool {
        let adopted = |record: &StackRecord| record.adopted.contains_key(id);
        container.hash.is_some() || self.record.as_ref().is_some_and(adopted)
    }

    /// The volumes of a container that has run for a while.
    pub(crate) fn has_rows(&mut self, container: &Container) {
        if container.anonymous.is_empty() {
            return;
        }
        let slot = (container.service.clone(), container.number);
        let rows = self.rows.entry(slot).or_default();
        for volume in &container.anonymous {
            if rows.get(&volume.target) != Some(&volume.volume) {
                rows.insert(volume.target.clone(), volume.volume.clone());
            }
        }
    }
}

impl World {
    /// The agent is about to change something.
    pub(crate) fn changing(&mut self, agent: &str, call: &Call<'_>) {
        let owner = self
            .volumes
            .iter()
            .find(|(name, _)| name.starts_with("io.steadfast.owner."))
            .and_then(|(_, labels)| labels.get("owner"));
        if owner.map(String::as_str) != Some(agent) {
            let words = format!("{agent} acts, the owner is {owner:?}: {call}");
            self.laws.breaks(1, words);
        }
        if let Some(container) = call.target().and_then(|id| self.containers.get(id))
            && container.project.as_ref().map(state::name::StackName::as_str) != Some("shop")
        {
            let words = format!("a foreign container: {call} ({})", container.name);
            self.laws.breaks(12, words);
        }
        self.is_told_of(call);
        self.shows_no_secret(call);
        // No law of a change looks at the record for it: the journal is long, and this is asked often.
        let open = self
            .laws
            .record
            .as_mut()
            .and_then(|record| record.operation.take());
        if let Some(open) = &open {
            self.removes_rightly(open, call);
            self.gives_back_rightly(open, call);
            self.migrates_rightly(open, call);
            self.restores_rightly(open, call);
            self.mounts_rightly(open, call);
        }
        self.has_written(call);
        if !open.as_ref().is_some_and(|open| is_journaled(open, call)) {
            let progress = open.as_ref().map(|open| &open.progress);
            let words = format!("not journaled before its effect: {call}; the journal says {progress:?}");
            self.laws.breaks(10, words);
        }
        if let Some(record) = &mut self.laws.record {
            record.operation = open;
        }
    }

    /// One change that no law but those of every write asks about became durable: most writes are. `false`: it is
    /// not of that kind, or the journal is to be replayed again.
    pub(crate) fn noted(&mut self, changes: &[Change]) -> bool {
        let [change] = changes else { return false };
        if let Change::Health(after) = change {
            self.counts_rightly(after);
        }
        let (Some(record), Some(terms)) = (&mut self.laws.record, &self.laws.terms) else {
            return false;
        };
        match change {
            Change::Journal(entry) if !matches!(entry.event, Event::Ended(_)) => {
                let events = record.operation.as_ref().map_or(0, |open| open.events.len());
                if events % REPLAYED_EVERY == 0 {
                    return false;
                }
                self.writes += 1;
            }
            Change::Health(_) => {}
            _ => return false,
        }
        let shown = !matches!(change, Change::Health(_));
        if shown && serde_json::to_string(change).is_ok_and(|text| text.contains(&terms.secret)) {
            self.laws
                .broken
                .push(String::from("invariant 11: a secret is in the ledger"));
        }
        if let Err(error) = record.apply(change) {
            self.laws
                .breaks(14, format!("the ledger took what is impossible: {error}"));
        }
        self.trace_changes(changes);
        true
    }

    /// What Compose made of a service that is in no file of ours is nobody's but its owner's.
    fn is_told_of(&mut self, call: &Call<'_>) {
        let Some(container) = call.target().and_then(|id| self.containers.get(id)) else {
            return;
        };
        if !SERVICES.contains(&container.service.as_str()) {
            let words = format!(
                "a container that nobody told us about: {call} ({})",
                container.name
            );
            self.laws.breaks(12, words);
        }
    }

    /// Names and labels are for everybody.
    fn shows_no_secret(&mut self, call: &Call<'_>) {
        let secret = self.laws.terms.as_ref().map(|terms| terms.secret.clone());
        let shown = match call {
            Call::Create(new) => format!("{} {}", new.name, new.spec_hash),
            Call::Rename(_, name) => (*name).to_owned(),
            _ => return,
        };
        if secret.is_some_and(|secret| shown.contains(&secret)) {
            self.laws.breaks(11, "a secret is in a name or a label");
        }
    }

    /// Something became durable.
    pub(crate) fn committed(&mut self, after: StackRecord, changes: &[Change], error: Option<String>) {
        if let Some(error) = error {
            // What was thought to be written before was not; or there are two at once.
            let opens = changes.iter().any(|change| matches!(change, Change::Open(_)));
            let law = if opens { 1 } else { 10 };
            self.laws
                .breaks(law, format!("the ledger refused: {error}; {changes:?}"));
            return;
        }
        self.trace_changes(changes);
        let Some(terms) = self.laws.terms.clone() else {
            return;
        };
        let before = self
            .laws
            .record
            .take()
            .unwrap_or_else(|| StackRecord::new(after.stack.clone()));
        let said = changes.iter().filter(|c| !matches!(c, Change::Health(_)));
        let text: String = said
            .map(|c| serde_json::to_string(c).unwrap_or_default())
            .collect();
        if text.contains(&terms.secret) {
            self.laws.breaks(11, "a secret is in the ledger");
        }
        if let Some(open) = &after.operation {
            let replayed = OpenOperation::replay(open.operation.clone(), open.events.iter().cloned());
            if replayed.as_ref().ok().map(|o| &o.progress) != Some(&open.progress) {
                self.laws
                    .breaks(14, "the journal does not replay to where the operation is");
            }
        }
        if !changes.iter().all(|change| matches!(change, Change::Health(_))) {
            self.writes += 1;
        }
        self.was_asked_for(&before, changes);
        self.keeps_quarantine(&before, &after, changes);
        self.flips_rightly(&before.health, &after.health, &terms);
        let mut open = before.operation.clone();
        for change in changes {
            match change {
                Change::Journal(Entry {
                    event: Event::Ended(ending),
                    ..
                }) => {
                    if let Some(open) = open.take() {
                        self.has_ended(&open, ending);
                        self.has_stayed_rightly(&before, &open, ending);
                        self.has_moved_rightly(&after, &open, ending);
                    }
                }
                Change::Unseen(None) => self.was_looked_for(&before, &after),
                Change::Hold(Some(hold)) if hold.why.trim().is_empty() || hold.way_out.trim().is_empty() => {
                    self.laws
                        .breaks(13, "held, and nobody is told why, or what to do");
                }
                Change::Applied(number, _) | Change::SetCurrent(number) => {
                    self.laws.applied_at = self.now;
                    self.runs_rightly(&after, changes, *number);
                }
                Change::Quarantine(entry) => {
                    self.blames_what_differed(&after, changes, entry);
                    if entry.by == Author::Agent {
                        self.is_blamed_rightly(&before, &after, entry);
                    }
                }
                Change::Accept(request) => self.follows_no_tag(&before, request),
                Change::Open(operation) => {
                    if let Some(first) = open.replace(OpenOperation::new(operation.clone())) {
                        let words = format!(
                            "a {} is opened while a {} is open",
                            operation.kind, first.operation.kind
                        );
                        self.laws.breaks(1, words);
                    }
                    self.begins_at();
                    self.begins_from_what_is_known(&before, operation);
                    self.opened(&before, &after, operation, &terms);
                }
                Change::Judge {
                    verdict: Verdict::Good,
                    why,
                    ..
                } => self.was_well(why, &terms),
                Change::Judge {
                    verdict: Verdict::Bad,
                    why,
                    ..
                } => {
                    let by_agent = changes
                        .iter()
                        .any(|c| matches!(c, Change::Quarantine(q) if q.by == Author::Agent));
                    if by_agent && why.contains("(failing for") && !why.contains("still flapping") {
                        self.was_failing(why, &terms);
                    }
                }
                _ => {}
            }
        }
        self.laws.record = Some(after);
    }

    /// The agent has logged something.
    pub(crate) fn logged(&mut self, line: &str) {
        let secret = self.laws.terms.as_ref().map(|terms| terms.secret.as_str());
        if secret.is_some_and(|secret| line.contains(secret)) {
            self.laws.breaks(11, "a secret is in the log");
        }
        self.note(format!("      log: {line}"));
    }

    /// A tag is resolved once for each request, and anew only for whoever asks again.
    fn follows_no_tag(&mut self, before: &StackRecord, request: &Request) {
        let pending = before.standing == state::record::Standing::Pending;
        let known = before.request.as_ref();
        let known = known.filter(|known| known.retries == 0 || !pending);
        let follows = |(tag, commit): (&Tag, &Commit)| {
            let known = known.and_then(|known| known.commits.get(tag));
            known.is_some_and(|known| known != commit)
        };
        if request.commits.iter().any(follows) {
            let words = "a tag is another commit than before, and nobody has asked for it again";
            self.laws.breaks(4, words);
        }
    }

    fn trace_changes(&mut self, changes: &[Change]) {
        if !self.traced {
            return;
        }
        for change in changes {
            let words = match change {
                Change::Health(_) | Change::Resolve(..) => continue,
                Change::Open(operation) => {
                    format!(
                        "OPEN {} {} of generation {:?}, {} steps: {}",
                        operation.kind,
                        operation.id,
                        operation.generation,
                        operation.plan.steps.len(),
                        operation.why
                    )
                }
                Change::Begin(generation) => {
                    format!(
                        "begin generation {} ({:?})",
                        generation.number, generation.release.tag
                    )
                }
                other => format!("{other:?}"),
            };
            self.note(words.chars().take(300).collect::<String>());
        }
    }

    /// A quarantined release never runs, whenever it came into quarantine.
    fn runs_rightly(&mut self, after: &StackRecord, changes: &[Change], number: GenerationNumber) {
        let Some(generation) = after.generation(number) else {
            return;
        };
        // What failed after it has moved the schema is what is there, and is left by a rollback.
        if changes.iter().any(is_left) {
            return;
        }
        if let Some(entry) = after
            .quarantine
            .iter()
            .find(|q| still_has(&q.blame, &generation.release))
        {
            let words = format!(
                "generation {number} ({:?}) is applied, which the quarantine of {} covers",
                generation.verdict, entry.generation
            );
            self.laws.breaks(4, words);
        }
    }

    /// A release that never came up is blamed only where something in it is not well.
    fn is_blamed_rightly(&mut self, before: &StackRecord, after: &StackRecord, entry: &Quarantine) {
        let Some(generation) = after.generation(entry.generation) else {
            return;
        };
        let known = before.generation(entry.generation);
        let never_ran = known.is_none_or(|known| known.applied.is_none());
        let images = &generation.release.images;
        let is_well = |image: &ImageId| {
            self.images.contains_key(image)
                && self.behaviour(image) == Behaviour::Well
                && self.migrates_well(image)
        };
        let whole = ["api", "web", "db", "cache"].iter().all(|service| {
            let service: ServiceName = service.parse().expect("a name");
            images.get(&service).is_some_and(is_well)
        });
        // Since shortly before it was begun: what failed may have been taken back for long. An illness strikes for as
        // long as it lasts.
        let minute = Duration::from_secs(60);
        let struck = self.struck.max(Some(self.sick_until.min(self.now)));
        let struck = struck.is_some_and(|at| at + minute * 5 > self.laws.opened_at);
        let struck = struck && (entry.why.contains("exited") || entry.why.contains("HEALTHCHECK"));
        // What the release has left as it was is no fault of it, whoever struck it.
        let open = before.operation.as_ref();
        let of_others =
            open.is_some_and(|open| failed_of_others(open) || failed_as_before(open, before, generation));
        let struck = struck && !of_others;
        // The engine has said no again and again, and that it is not about the release nobody can tell.
        let refused = entry.why.contains("something went wrong");
        // Whoever has its name is no fault of it, but a person has to say so: it is tried once, as with a port.
        let taken = ["is in use by", "port is already allocated"]
            .iter()
            .any(|words| entry.why.contains(words));
        let stays = self.is_not_taken_back(before, &entry.why);
        // Half of its revisions are applied, and somebody holds what the others need: that it is left whole is all there is.
        let locked = self.data.locked_halfway && entry.why.contains("somebody holds a lock");
        let unfit = self.has_unfit_conf(generation) && entry.why.contains("check /srv/shop/web.conf");
        if never_ran && whole && !struck && !taken && !refused && !stays && !locked && !unfit {
            let words = format!(
                "generation {} is blamed, and all of it is well: {}",
                entry.generation, entry.why
            );
            self.laws.breaks(7, words);
        }
    }

    fn opened(&mut self, before: &StackRecord, after: &StackRecord, operation: &Operation, terms: &Terms) {
        // What is asked for again is known by its files.
        let only_fetches = |step: &Step| matches!(step, Step::FetchSource { .. });
        let touches = !operation.plan.steps.iter().all(only_fetches);
        if after.let_go.is_some() && operation.by == Author::Agent && touches {
            let words = format!("a {} of a stack that was let go", operation.kind);
            self.laws.breaks(12, words);
        }
        self.laws.opened_at = self.now;
        self.laws.operations += 1;
        self.has_patience(operation);
        self.heals_what_is_ill(before, operation);
        self.asked_about_data(before, after, operation);
        let Some(target) = operation.generation.and_then(|number| after.generation(number)) else {
            return;
        };
        let term = Duration::from_secs(10);
        if operation.by == Author::Agent && self.let_go.is_some_and(|since| self.now > since + term) {
            let words = format!("a {} of a stack that was let go", operation.kind);
            self.laws.breaks(12, words);
        }
        let applies = matches!(operation.kind, Kind::Deploy | Kind::Rollback);
        if applies
            && let Some(entry) = after
                .quarantine
                .iter()
                .find(|q| still_has(&q.blame, &target.release))
        {
            let words = format!(
                "a {} to generation {}, which the quarantine of {} covers",
                operation.kind, target.number, entry.generation
            );
            self.laws.breaks(4, words);
        }
        if operation.kind != Kind::Rollback {
            return;
        }
        if target.verdict != Verdict::Good {
            let words = format!(
                "a rollback to generation {}, which is {:?}",
                target.number, target.verdict
            );
            self.laws.breaks(5, words);
        }
        let pruned = self
            .pruned_at
            .is_some_and(|at| self.now.saturating_sub(at) < Duration::from_secs(30));
        let gone = target
            .release
            .images
            .values()
            .find(|image| !self.images.contains_key(*image));
        if let Some(image) = gone.filter(|_| !pruned) {
            let words = format!(
                "a rollback to generation {}, whose image {} is gone",
                target.number,
                image.short()
            );
            self.laws.breaks(5, words);
        }
        let migrated = self
            .laws
            .migrated
            .is_some_and(|at| self.now.saturating_sub(at) < Duration::from_secs(2));
        if operation.by == Author::Agent
            && !migrated
            && target.schema.as_ref().is_some_and(|at| *at != self.schema)
            && !self.comes_up_by_itself(target)
            && !self.may_stay_above(target)
            && !operation
                .plan
                .steps
                .iter()
                .any(|step| matches!(step, Step::Migrate { .. } | Step::TakePlace))
        {
            let words = format!(
                "a rollback to generation {}, proven at schema {:?}, and it stands at {:?}",
                target.number, target.schema, self.schema
            );
            self.laws.breaks(5, words);
        }
        self.is_agreed_to(before, operation);
        if operation.by == Author::Agent && before.operation.is_none() {
            self.retreats_rightly(before, target, operation, terms);
        }
    }

    fn retreats_rightly(
        &mut self,
        before: &StackRecord,
        target: &state::release::Generation,
        operation: &Operation,
        terms: &Terms,
    ) {
        let Some(current) = before.current() else {
            return;
        };
        // One that did not come to its end is begun again; it is no second one.
        if current.verdict == Verdict::Bad {
            return;
        }
        if before
            .restored
            .as_ref()
            .is_some_and(|restored| restored.to == current.number)
        {
            let words = format!("from generation {}, which was itself restored", current.number);
            self.laws.breaks(6, words);
        }
        let now = self.now + self.slept;
        self.laws.retreats.push((operation.request.clone(), now));
        let spent = self
            .laws
            .retreats
            .iter()
            .filter(|(of, at)| {
                *of == operation.request
                    && now.saturating_sub(*at) + Duration::from_secs(1) < terms.budget_per
            })
            .count();
        if spent > terms.budget {
            self.laws
                .breaks(6, format!("{spent} rollbacks within the hour for one request"));
        }
        if current.verdict == Verdict::Good {
            let reach = self.reach_of_the_failure(before);
            let differs = reach.is_empty()
                || reach.into_iter().any(|service| {
                    let service: ServiceName = service.parse().expect("a name");
                    reads_otherwise(&service, current, target)
                        || current.hashes.get(&service) != target.hashes.get(&service)
                });
            if !differs {
                let words = format!(
                    "generation {} was good, and nothing that fails differs in generation {}",
                    current.number, target.number
                );
                self.laws.breaks(7, words);
            }
        }
    }

    /// The services that fail, and what they depend on.
    fn reach_of_the_failure(&self, before: &StackRecord) -> BTreeSet<&'static str> {
        let reach = |service: &str| match service {
            "web" => &["web", "api", "db"][..],
            "api" => &["api", "db"],
            "db" => &["db"],
            _ => &["cache"],
        };
        let failing = before
            .health
            .probes
            .iter()
            .filter(|(_, probe)| probe.phase == Phase::Failing);
        let known = failing.map(|(name, _)| name.as_str().trim_start_matches("service-"));
        let ill = |service: &&str| match *service {
            "db" => self.now < self.sick_until,
            service => self.answer(&before.stack, service).is_err(),
        };
        // What a probe has said last may not be durable yet, and over in the next moment.
        let said = self
            .answers
            .iter()
            .filter(|(_, answers)| answers.last().is_some_and(|(_, failed)| *failed));
        let said = said.map(|(name, _)| name.as_str().trim_start_matches("service-"));
        let services = known
            .chain(said)
            .chain(["api", "web", "db"].into_iter().filter(ill));
        services.flat_map(reach).copied().collect()
    }

    /// When what runs was last well in all its probes: a failure goes on when another one takes it over.
    fn last_well(&self, terms: &Terms) -> Duration {
        let since = self.laws.applied_at;
        let mut all: Vec<(Duration, &str, bool)> = Vec::new();
        for (probe, answers) in &self.answers {
            let first = answers.partition_point(|(at, _)| *at < since);
            all.extend(
                answers[first..]
                    .iter()
                    .map(|(at, failed)| (*at, probe.as_str(), *failed)),
            );
        }
        all.sort_unstable();
        let mut passes: BTreeMap<&str, usize> =
            self.answers.keys().map(|probe| (probe.as_str(), 0)).collect();
        let mut well = since;
        for (at, probe, failed) in all {
            let run = passes.entry(probe).or_default();
            *run = if failed { 0 } else { *run + 1 };
            // A death in between begins the count of passes anew.
            if passes.values().all(|run| *run >= terms.pass_after * 2) {
                well = at;
            }
        }
        well
    }

    /// Five minutes of failure, seen: neither shorter nor made of silence.
    fn was_failing(&mut self, why: &str, terms: &Terms) {
        let since = self.last_well(terms);
        let mut spans: Vec<(Duration, Duration)> = self
            .answers
            .values()
            .flat_map(|answers| seen_spans(answers, since, terms))
            .collect();
        spans.sort();
        let mut seen = Duration::ZERO;
        let mut until = Duration::ZERO;
        for (from, to) in spans {
            seen += to.saturating_sub(from.max(until));
            until = until.max(to);
        }
        // Before each silence the last answer speaks until the next one is overdue.
        if seen + terms.interval + Duration::from_secs(1) < terms.window {
            let words = format!("{why}: of that, {seen:?} were seen by anybody");
            self.laws.breaks(15, words);
        }
    }
}

/// When one probe was seen; what lies in silence is left out, but for its beginning.
fn seen_spans(answers: &[(Duration, bool)], since: Duration, terms: &Terms) -> Vec<(Duration, Duration)> {
    let first = answers.partition_point(|(at, _)| *at < since);
    let pairs = answers[first..].windows(2).map(|pair| (pair[0].0, pair[1].0));
    pairs
        .map(|(from, to)| (from, to.min(from + terms.interval * 3)))
        .collect()
}

/// Whether what failed in an operation is a container that it has neither made nor started again.
fn failed_of_others(open: &OpenOperation) -> bool {
    let steps = &open.operation.plan.steps;
    let failed = open.events.iter().find_map(|entry| match entry.event {
        Event::Failed { index, .. } => steps.get(index),
        _ => None,
    });
    let Some(target @ Target::Existing(_)) = failed.and_then(Step::target) else {
        return false;
    };
    let starts_it = |step: &Step| matches!(step, Step::Start { .. }) && step.target() == Some(target);
    !steps.iter().any(starts_it)
}

/// Whether what failed is of a service that the release leaves as it is proven.
fn failed_as_before(open: &OpenOperation, before: &StackRecord, release: &Generation) -> bool {
    let why = open.events.iter().find_map(|entry| match &entry.event {
        Event::Failed { why, .. } => Some(why),
        _ => None,
    });
    // `watch 2 new containers for 5s: db is unhealthy`: whichever step it was.
    let words = why.and_then(|why| why.rsplit(": ").next());
    let service = words.and_then(|words| words.split(' ').next()?.parse::<ServiceName>().ok());
    let (Some(service), Some(current)) = (service, before.current()) else {
        return false;
    };
    let hash = release.hashes.get(&service);
    let same = current.hashes.get(&service) == hash && !reads_otherwise(&service, current, release);
    hash.is_some() && current.verdict == Verdict::Good && same
}

fn is_left(change: &Change) -> bool {
    matches!(
        change,
        Change::Journal(Entry {
            event: Event::Ended(Ending::Left { .. }),
            ..
        })
    )
}

fn is_journaled(open: &OpenOperation, call: &Call<'_>) -> bool {
    let steps = &open.operation.plan.steps;
    match &open.progress {
        Progress::InFlight { index, .. } => open.step(*index).is_some_and(|step| call.is_of(step)),
        Progress::Undoing {
            next: Some(index),
            started: true,
            ..
        } => steps.get(*index).is_some_and(|step| match step.undo() {
            Some(undo) => call.is_of(&undo),
            // It has nothing to be taken back, and nobody waits for its container any more.
            None => matches!(
                (call, step),
                (Call::EndOnce(_), Step::CheckFile { .. } | Step::Migrate { .. })
            ),
        }),
        _ => false,
    }
}
