//! Where the schema stands, what moves it, and which way it goes with a release.

use std::collections::BTreeMap;
use std::time::Duration;

use config::settings::ForeignSessions;
use state::hold::{Fact, moved};
use state::journal::{Kind, Operation};
use state::migration_tool::MigrationTool;
use state::name::{ImageId, ServiceName};
use state::observed::Known;
use state::plan::Plan;
use state::record::{Change, Standing};
use state::release::{Author, Generation, Release, Request};
use state::retention::KEPT_GOOD;
use state::schema_fit::{Direction, SchemaFit, SchemaMove, Ways, apart};
use state::stack_spec::StackSpec;
use state::step::Step;
use state::time::Moment;

use super::attend::End;
use super::health::STALE;
use super::{Stack, Stop};
use crate::database::{EnvLookup, Place, container_at};

/// How often it is tried to let everybody in again.
const UNBAR_EVERY: Duration = Duration::from_secs(30);
/// What could not be read again is tried again after this.
const LEARN_AGAIN_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long the question what stands in the way may take.
const ASKED_WITHIN: Duration = Duration::from_secs(10);

/// What becomes of the schema with a release.
pub(super) enum Course {
    /// It is moved, or stays.
    Known(Option<Box<SchemaMove>>),
    /// It cannot be said now, and why.
    Unseen(String),
    /// There is no way, and why.
    None(String),
}

impl Stack {
    /// What moves the schema; `None`: the agent does not.
    pub(super) fn tool(&self) -> Option<&MigrationTool> {
        self.settings.database.as_ref()?.migrations.tool.as_ref()
    }

    pub(super) fn ways(&self) -> Ways<'_> {
        Ways {
            tool: self.tool(),
            record: &self.record,
        }
    }

    /// The service of the stack that the database runs as.
    fn database_service(&self, spec: &StackSpec) -> Option<ServiceName> {
        let settings = self.settings.database.as_ref()?;
        let env = self.env_values();
        let host = crate::database::host_of(settings, &|key: &str| env.get(key).cloned())?;
        let named = |(name, service): (&ServiceName, &state::stack_spec::ServiceSpec)| {
            (name.as_str() == host || service.container_name.as_deref() == Some(host.as_str()))
                .then(|| name.clone())
        };
        spec.services.iter().find_map(named)
    }

    /// Which way the schema goes with `release`, of which `spec` is made.
    pub(super) async fn course_of(
        &mut self,
        release: &Release,
        spec: &StackSpec,
        now: &Moment,
    ) -> Result<Course, Stop> {
        if self.tool().is_none() {
            return Ok(Course::Known(None));
        }
        self.see_schema_anew(now).await;
        if let Some(unseen) = &self.record.unseen
            && !self.is_yet_to_be_made(spec)
        {
            let of = unseen.operation;
            let why = format!("nobody has looked yet at what the migration of operation {of} has left");
            return Ok(Course::Unseen(why));
        }
        let is = match &self.schema {
            Some(Known::Known(head)) => {
                self.unseen_since = None;
                Some(head.clone())
            }
            Some(Known::Unknown(why)) if !self.is_yet_to_be_made(spec) => {
                return Ok(Course::Unseen(format!("the schema cannot be seen: {why}")));
            }
            _ => None,
        };
        let way = match self.ways().of_release(release, is.as_ref()) {
            Ok(way) => way,
            Err(why) => return Ok(Course::None(why)),
        };
        Ok(match self.cannot_go(way.as_ref(), true).await? {
            Some(why) => Course::None(why),
            None => Course::Known(way.map(Box::new)),
        })
    }

    /// Why a way cannot be gone, which is there: the image with the scripts is not, or a copy could not take the
    /// database's place.
    pub(super) async fn cannot_go(
        &mut self,
        way: Option<&SchemaMove>,
        tool: bool,
    ) -> Result<Option<String>, Stop> {
        let Some(way) = way else { return Ok(None) };
        if way.direction == Direction::Down
            && let Some(obstacles) = self.obstacles().await
        {
            return Ok(Some(format!("{way}, and {obstacles}")));
        }
        if !tool {
            return Ok(None);
        }
        let image = self.edges.engine.image(way.by.image.as_str()).await?;
        let gone = || {
            format!(
                "{way}, and the image {} is gone from this host",
                way.by.image.short()
            )
        };
        Ok(image.is_none().then(gone))
    }

    /// Whether the database may answer: its container runs, or it has none in this stack.
    fn database_runs(&mut self) -> Result<bool, Stop> {
        let database = match (self.wanted()?, &self.record.request) {
            (Some(wanted), _) => self.database_service(&wanted.spec),
            (None, Some(request)) => {
                let spec = self.load_spec(&request.spec.clone())?;
                spec.and_then(|spec| self.database_service(&spec))
            }
            (None, None) => None,
        };
        let runs = |service: &ServiceName| {
            let mut mine = self.seen.iter().filter(|c| c.service == *service && !c.oneoff);
            mine.any(|c| c.state.is_running())
        };
        Ok(database.as_ref().is_none_or(runs))
    }

    /// Whether the database has no container yet: nobody can be asked where its schema stands before it has one.
    fn is_yet_to_be_made(&self, spec: &StackSpec) -> bool {
        let database = self.database_service(spec);
        self.record.current.is_none()
            && database.is_some_and(|database| !self.seen.iter().any(|c| c.service == database && !c.oneoff))
    }

    /// The way of the schema back to a generation, where there is one and it is not there.
    pub(super) fn way_to(&self, target: &Generation) -> Option<SchemaMove> {
        match SchemaFit::of(self.ways(), target, self.schema.as_ref()) {
            SchemaFit::Moves(way) => Some(way),
            _ => None,
        }
    }

    /// The service that the database runs as, and whether sessions of strangers are ended, for a plan.
    pub(super) fn schema_ground(&self, spec: &StackSpec) -> (Option<ServiceName>, bool) {
        let settings = self.settings.database.as_ref();
        let end = settings.is_some_and(|settings| settings.foreign_sessions == ForeignSessions::End);
        (self.database_service(spec), end)
    }

    /// Reads the migrations of a release's image, where nobody has yet.
    pub(super) async fn learn(
        &mut self,
        images: &BTreeMap<ServiceName, ImageId>,
        request: &state::name::Digest,
    ) -> Result<Learnt, Stop> {
        let Some(tool) = self.tool() else {
            return Ok(Learnt::All);
        };
        let Some(image) = images.get(&tool.service) else {
            return Ok(Learnt::All);
        };
        let (by, reader) = (tool.history(image), tool.reader());
        let way_back = tool.way_back(image);
        let history = self.record.histories.get(image);
        if history.is_some_and(|history| history.is_read_by(&reader))
            && (way_back.is_none() || self.record.losses.contains_key(image))
        {
            return Ok(Learnt::All);
        }
        let why = match history {
            None => format!("nobody has read the migrations of {} yet", by.service),
            Some(_) => format!(
                "steadfast.toml says otherwise than before how the migrations of {} are read",
                by.service
            ),
        };
        let (prints, rows) = (tool.commands.prints, tool.commands.version.rows);
        if !self.own().await? {
            return Ok(Learnt::Later);
        }
        let read = Step::ReadMigrations {
            by,
            prints,
            rows,
            reader: Some(reader),
        };
        let operation = Operation {
            id: self.edges.store.next_operation_id()?,
            kind: Kind::Fetch,
            generation: None,
            request: request.clone(),
            by: Author::Agent,
            why,
            begun: self.now(),
            plan: Plan::of(
                [read]
                    .into_iter()
                    .chain(way_back.map(|by| Step::ReadLosses { by }))
                    .collect(),
            ),
        };
        self.commit(&[Change::Open(operation.into())])?;
        match self.carry_on().await? {
            End::Done if self.record.operation.is_none() => Ok(Learnt::All),
            End::Done | End::GaveWay => Ok(Learnt::Later),
            End::Failed {
                why, passing: true, ..
            } => {
                self.back_off(Kind::Fetch, &why);
                Ok(Learnt::Later)
            }
            End::Failed {
                why, passing: false, ..
            } => Ok(Learnt::Never(why)),
        }
    }

    /// What was read of the images of what runs, and of what may be gone back to, is read again where steadfast.toml says
    /// otherwise than then how: a way back is found by it.
    pub(super) async fn learn_again(&mut self) -> Result<(), Stop> {
        let now = self.now();
        let lately = |at: &Moment| now.since(at).is_some_and(|age| age < LEARN_AGAIN_EVERY);
        if self.record.operation.is_some()
            || self.record.standing == Standing::Pending
            || self.relearnt_at.as_ref().is_some_and(lately)
        {
            return Ok(());
        }
        let Some((service, reader)) = self.tool().map(|tool| (tool.service.clone(), tool.reader())) else {
            return Ok(());
        };
        let found = {
            let good = self.record.good().take(KEPT_GOOD);
            let mut all = self.record.current().into_iter().chain(good);
            let is_other = |image: &&ImageId| {
                let known = self.record.histories.get(*image);
                known.is_some_and(|known| !known.is_read_by(&reader))
            };
            all.find_map(|of| of.release.images.get(&service).filter(is_other).cloned())
        };
        let (Some(image), Some(request)) = (found, self.record.request.as_ref().map(Request::id)) else {
            return Ok(());
        };
        // Whatever comes of it: another one is due in the next pass.
        if !matches!(
            self.learn(&BTreeMap::from([(service, image)]), &request).await?,
            Learnt::All
        ) {
            self.relearnt_at = Some(now);
        }
        Ok(())
    }

    /// A database that an operation has barred, and could not open again because it was away, is opened when it is back;
    /// and what a migration has left in it meanwhile is looked for.
    pub(super) async fn open_and_look_into_database(&mut self) -> Result<(), Stop> {
        let why = match (self.record.barred, &self.record.unseen) {
            _ if self.record.operation.is_some() => return Ok(()),
            (Some(operation), _) => format!("operation {operation} has barred the database"),
            // One that does not answer is not looked into: that would be a heal that fails, over and over.
            (None, Some(_)) if !matches!(self.schema, Some(Known::Known(_))) => return Ok(()),
            (None, Some(unseen)) => {
                let of = unseen.operation;
                format!("nobody has seen what the migration of operation {of} has left in the database")
            }
            (None, None) => return Ok(()),
        };
        let frozen = self.record.hold.as_ref().is_some_and(|hold| hold.frozen);
        if frozen || !self.database_runs()? {
            return Ok(());
        }
        let now = self.now();
        let lately = |at: &Moment| now.since(at).is_some_and(|age| age < UNBAR_EVERY);
        if self.unbarred_at.as_ref().is_some_and(lately) || !self.own().await? {
            return Ok(());
        }
        self.unbarred_at = Some(now);
        let open = Operation {
            id: self.urgent_operation_id()?,
            kind: Kind::Heal,
            generation: self.record.current,
            request: state::name::Digest::of(b""),
            by: Author::Agent,
            why,
            begun: self.now(),
            plan: Plan::of(vec![Step::OpenDatabase]),
        };
        self.commit_urgent(&[Change::Open(open.into())])?;
        if let End::Failed { why, .. } = self.carry_on().await? {
            self.waits.push(format!(
                "the database, to open it and to look at its schema: {why}"
            ));
        }
        self.schema_at = None;
        Ok(())
    }

    /// A schema that somebody has moved by hand is theirs: nothing is moved on its account, up or down.
    pub(super) async fn hold_where_the_schema_was_moved(&mut self) -> Result<(), Stop> {
        if self.record.hold.is_some() || moved(&self.record, self.schema.as_ref()).is_none() {
            return Ok(());
        }
        // What was seen before the end of an operation is old.
        let now = self.now();
        self.see_schema_anew(&now).await;
        let Some((is, proven)) = moved(&self.record, self.schema.as_ref()) else {
            return Ok(());
        };
        let number = self.record.current.map_or(0, |number| number.0);
        let (is, proven) = apart(is, proven);
        let why = format!(
            "the schema stands at {is}, generation {number} was proven at {proven}, and nobody has asked for that"
        );
        let way_out = if matches!(self.record.standing, Standing::Quarantined(_)) {
            "move it back by hand; or pin a release that it is of. A release that failed before may have moved it"
        } else {
            "move it back by hand; or `steadfast retry`, which takes it as it is"
        };
        self.hold(&why, way_out, [Fact::SchemaFits].into())
    }

    /// What would be lost, or refuses, where a copy takes the database's place. One that cannot be asked is asked again
    /// before it is closed.
    async fn obstacles(&mut self) -> Option<String> {
        let settings = self.settings.database.clone()?;
        let env = self.env_values();
        let lookup = move |key: &str| env.get(key).cloned();
        let place = Place {
            settings: &settings,
            address: self.database_address(&settings, &lookup).await,
            env: &lookup,
        };
        let found = self.edges.maintenance.obstacles(place, ASKED_WITHIN).await.ok()?;
        crate::database::in_the_way(&found)
    }

    /// Where the container of the database is reached, where it is one of the stack's.
    pub(super) async fn database_address(
        &mut self,
        settings: &config::settings::DatabaseSettings,
        env: EnvLookup<'_>,
    ) -> Option<std::net::IpAddr> {
        let host = crate::database::host_of(settings, env)?;
        let id = container_at(&host, &self.seen)?.id.clone();
        self.address(&id).await
    }

    /// Sees where the schema stands, now and then, and remembers it with the generation on trial.
    pub(super) async fn see_schema(&mut self, now: &Moment) {
        let Some(settings) = self.settings.database.clone() else {
            self.schema = None;
            return;
        };
        let known = matches!(self.schema, Some(Known::Known(_)));
        let stale = if known { STALE } else { Duration::from_secs(5) };
        if self
            .schema_at
            .as_ref()
            .and_then(|at| now.since(at))
            .is_some_and(|age| age < stale)
        {
            return;
        }
        self.schema_at = Some(now.clone());
        let env = self.env_values();
        let lookup = move |key: &str| env.get(key).cloned();
        let place = Place {
            settings: &settings,
            address: self.database_address(&settings, &lookup).await,
            env: &lookup,
        };
        self.schema = Some(self.edges.database.schema_head(place).await);
    }

    /// Before something is concluded from it: a release moves the schema when it starts, and what was
    /// seen a while ago may have been before that.
    pub(super) async fn see_schema_anew(&mut self, now: &Moment) {
        if matches!(self.schema, Some(Known::Known(_))) {
            self.schema_at = None;
        }
        self.see_schema(now).await;
    }

    /// The values of `.env`, for the keys that the settings name. They go nowhere else.
    pub(super) fn env_values(&self) -> BTreeMap<String, String> {
        let path = self.settings.env_file.path();
        let Ok(bytes) = self.edges.files.read(path) else {
            return BTreeMap::new();
        };
        crate::inputs::env_values(path, &bytes)
    }
}

/// What came of reading migrations.
pub(super) enum Learnt {
    /// They are known.
    All,
    /// Not now.
    Later,
    /// The image says nothing that can be read, and why.
    Never(String),
}
