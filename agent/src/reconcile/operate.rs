//! Operations: opened, carried out, concluded. An operation's end and all that follows from it are
//! one durable batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use state::backup::BackupId;
use state::bug::{self, Bug};
use state::common::Common;
use state::data_change::{DataChange, Running, as_before};
use state::drift::{Drift, Wanted};
use state::files::{FileChange, Role, reads_otherwise};
use state::hold::Fact;
use state::instead::instead_of;
use state::integrity::{Between, Check};
use state::journal::{Kind, OpenOperation, Operation, Outcome};
use state::ledger::LedgerError;
use state::name::{ContainerId, ImageId, Revision, ServiceName};
use state::observed::{Carried, ContainerDetail, ContainerObs, ContainerState};
use state::operation::{Halt, begin_deploy, begin_rollback, ended, request_of};
use state::plan::Plan;
use state::planner::{Ground, Looks, Schema, Unplannable, plan};
use state::record::{Change, Hold};
use state::release::{Author, Blame, Generation, GenerationNumber, Release, Verdict};
use state::retention::KEPT_GOOD;
use state::schema_fit::{Direction, SchemaFit, SchemaMove};
use state::stack_spec::{ServiceSpec, StackSpec};
use state::step::Step;
use state::time::Moment;

use super::attend::End;
use super::schema::Course;
use super::{Stack, Stop};
use crate::tally;

/// The deploy of what runs is among so many of the last operations, or counts as forgotten.
const LOOKED_THROUGH: u32 = 50;

impl Stack {
    /// Makes a plan from what was seen to `wanted`; `Err` says what stands in the way.
    pub(super) async fn make_plan(
        &mut self,
        wanted: &Wanted,
        drift: &[Drift],
        kind: Kind,
        operation: u64,
        way: Option<&SchemaMove>,
        restores: Option<&BackupId>,
    ) -> Result<Result<Plan, Unplannable>, Stop> {
        if let Err(why) = self.publish_again(&wanted.files) {
            return Ok(Err(Unplannable::NoFile(why)));
        }
        let mut files = match kind {
            Kind::Deploy | Kind::Rollback => self.files_to_put(&wanted.files),
            Kind::Heal if self.may_have_others() => self.files_to_put(&wanted.files),
            Kind::Heal | Kind::Fetch | Kind::Backup | Kind::Restore => Vec::new(),
        };
        if kind == Kind::Heal {
            // What is down is brought up all the same.
            files.retain(|file| self.can_put(&file.path).is_ok());
        }
        let mut seen = files.iter().filter(|file| file.role == Role::Tracked);
        if let Err(why) = seen.try_for_each(|file| self.can_put(&file.path)) {
            return Ok(Err(Unplannable::NoFile(why)));
        }
        let readers = self.readers(wanted, &files);
        let networks = wanted.spec.networks.values().map(|n| n.name.clone()).collect();
        let volumes = wanted.spec.volumes.values().map(|v| v.name.clone()).collect();
        let engine = &self.edges.engine;
        // What is looked at has no order, and somebody may be waiting for the old version to serve.
        let (details, carried, data, networks, volumes, kept) = tokio::try_join!(
            self.details(drift, kind, &readers),
            self.volumes_left_behind(drift),
            async {
                match kind {
                    Kind::Deploy | Kind::Rollback => self.data_changes(wanted).await,
                    Kind::Heal | Kind::Fetch | Kind::Backup | Kind::Restore => Ok(Vec::new()),
                }
            },
            async { Ok(engine.networks(&networks).await?) },
            async { Ok(engine.volumes(&volumes).await?) },
            async { Ok(engine.kept_images(&self.settings.name).await?) },
        )?;
        let running: BTreeMap<ServiceName, ContainerId> = self
            .seen
            .iter()
            .filter(|c| c.state.is_running() && !c.oneoff)
            .map(|c| (c.service.clone(), c.id.clone()))
            .collect();
        let keep = self.images_to_keep();
        let data = data.into_iter().map(|change| change.service).collect();
        let (database, end_foreign) = match way {
            Some(_) => self.schema_ground(&wanted.spec),
            None => (None, false),
        };
        let settings = self.settings.database.as_ref();
        let between = match (restores, way.map(|way| way.direction)) {
            (Some(_), _) => Between::Restore,
            (None, Some(Direction::Down)) => Between::Downgrade,
            (None, _) => Between::Upgrade,
        };
        let checks = self.checks(between);
        let instead = way
            .zip(settings)
            .and_then(|(way, settings)| instead_of(way, &settings.manual, &checks));
        let returns = way.map(|way| self.record.returning(way)).unwrap_or_default();
        let asked = self.settings.file_checks.iter();
        let file_checks: Vec<_> = asked.map(|asked| asked.check.clone()).collect();
        let ground = Ground {
            files: &files,
            file_checks: &file_checks,
            schema: way.map(|way| Schema {
                instead: instead.as_ref().filter(|_| restores.is_none()),
                restores,
                way,
                returns: &returns,
                looks: self.looks(&checks),
                database: database.as_ref(),
                end_foreign,
                upgrade: self.tool().map(|tool| tool.upgrade).unwrap_or_default(),
            }),
            carried: &carried,
            data: &data,
            keep: &keep,
            kept: &kept,
            details: &details,
            running: &running,
            networks: &networks,
            volumes: &volumes,
            dialect: self.dialect(),
            operation,
        };
        let unchanged = match kind {
            Kind::Deploy => {
                let mut unchanged = self.record.unchanged(&wanted.hashes);
                let current = self.record.current();
                unchanged.retain(|name| {
                    let service = wanted.spec.services.get(name).zip(current);
                    service.is_none_or(|(service, current)| {
                        !reads_otherwise(&current.files, &wanted.files, service)
                    })
                });
                unchanged
            }
            _ => BTreeSet::new(),
        };
        Ok(plan(wanted, drift, &ground, kind).map(|plan| plan.leaving(unchanged)))
    }

    /// What is looked at of the database, before and after.
    pub(super) fn looks<'c>(&self, checks: &'c [Check]) -> Looks<'c> {
        let settings = self.settings.database.as_ref();
        Looks {
            checks,
            counts: settings.is_some_and(|settings| !settings.count_within.is_zero()),
        }
    }

    /// What is asked before and after that, as steadfast.toml says it now: it stands in the plan, so that both are the same.
    pub(super) fn checks(&self, between: Between) -> Vec<Check> {
        let settings = self.settings.database.iter();
        let all = settings.flat_map(|settings| &settings.integrity);
        all.filter(|check| check.on.contains(&between))
            .map(|check| Check {
                name: check.name.to_string(),
                query: check.query.clone(),
                expect: check.expect.clone(),
                within: check.timeout,
            })
            .collect()
    }

    /// The containers that see one of these files.
    fn readers(&self, wanted: &Wanted, files: &[FileChange]) -> BTreeSet<ContainerId> {
        let sees = |service: &ServiceName| {
            let spec = wanted.spec.services.get(service);
            let mut sources = spec.into_iter().flat_map(ServiceSpec::host_paths);
            sources.any(|source| files.iter().any(|file| file.was_read(source, None)))
        };
        let runs = self.seen.iter().filter(|c| c.state.is_running() && !c.oneoff);
        runs.filter(|c| sees(&c.service)).map(|c| c.id.clone()).collect()
    }

    /// The containers that a drift is about, as far as they are there; and what else runs, where a release is
    /// brought up.
    async fn details(
        &self,
        drift: &[Drift],
        kind: Kind,
        readers: &BTreeSet<ContainerId>,
    ) -> Result<BTreeMap<ContainerId, ContainerDetail>, Stop> {
        let mut ids: BTreeSet<ContainerId> = drift.iter().filter_map(Drift::container).cloned().collect();
        ids.extend(readers.iter().cloned());
        if matches!(kind, Kind::Deploy | Kind::Rollback) {
            let runs = self.seen.iter().filter(|c| c.state.is_running() && !c.oneoff);
            ids.extend(runs.map(|c| c.id.clone()));
        }
        let looked = ids.into_iter().map(|id| {
            let engine = Arc::clone(&self.edges.engine);
            async move { Ok::<_, Stop>((engine.container(id.as_str()).await?, id)) }
        });
        let looked: Vec<_> = looked.collect();
        let mut all = stream::iter(looked).buffered(super::AT_ONCE);
        let mut details = BTreeMap::new();
        while let Some((detail, id)) = all.try_next().await? {
            details.extend(detail.map(|detail| (id, detail)));
        }
        Ok(details)
    }

    /// The anonymous volumes of containers that are missing, as far as they still exist.
    async fn volumes_left_behind(
        &self,
        drift: &[Drift],
    ) -> Result<BTreeMap<(ServiceName, u32), Vec<Carried>>, Stop> {
        let mut left = BTreeMap::new();
        for difference in drift {
            let Drift::Missing { service, number } = difference else {
                continue;
            };
            let known = self.record.carried_by(service, *number);
            if known.is_empty() {
                continue;
            }
            let names = known.iter().map(|volume| volume.volume.clone()).collect();
            let there = self.edges.engine.volumes(&names).await?;
            let kept = known
                .into_iter()
                .filter(|volume| there.contains(&volume.volume))
                .collect();
            left.insert((service.clone(), *number), kept);
        }
        Ok(left)
    }

    /// What anonymous volumes the containers that an operation made have: remembered, so that their
    /// rows go on also when somebody removes the container.
    pub(super) async fn volumes_made(&self, open: &OpenOperation) -> Result<Vec<Change>, Stop> {
        let mut changes = Vec::new();
        for (index, step) in open.operation.plan.steps.iter().enumerate() {
            let (Step::Create { service, number, .. }, Some(Outcome::Created(id))) =
                (step, open.outcome(index))
            else {
                continue;
            };
            if let Some(detail) = self.edges.engine.container(id.as_str()).await? {
                let known = self.record.carried_by(service, *number);
                if known != detail.anonymous {
                    changes.push(Change::Carry(service.clone(), *number, detail.anonymous));
                }
            }
        }
        Ok(changes)
    }

    /// The images of what runs and of the newest good generations.
    fn images_to_keep(&self) -> BTreeSet<ImageId> {
        let good = self.record.good().take(KEPT_GOOD);
        let needed = good.chain(self.record.current());
        needed
            .flat_map(|generation| generation.release.images.values().cloned())
            .collect()
    }

    /// What differs from a generation that is not the current one yet.
    pub(super) fn drift_from(&self, wanted: &Wanted) -> Vec<Drift> {
        let lasting = self
            .probes_of(&wanted.spec)
            .into_iter()
            .map(|p| p.policy.service)
            .collect();
        state::drift::drift(wanted, &self.record, &self.seen, &lasting)
    }

    /// What is asked for, and which variables that sets otherwise than what runs.
    pub(super) fn asked_words(&self, name: &str, generation: &Generation) -> String {
        let before = self.record.current().map(|current| &current.files);
        match before.and_then(|before| self.other_variables(before, &generation.files)) {
            Some(differ) => format!("{name} is asked for, with other variables ({differ})"),
            None => format!("{name} is asked for"),
        }
    }

    /// Begins a generation and brings it up.
    pub(super) async fn deploy(
        &mut self,
        generation: Generation,
        spec: &Common<StackSpec>,
    ) -> Result<(), Stop> {
        if !self.own().await? {
            return Ok(());
        }
        let now = self.now();
        let way = match self.course_of(&generation.release, spec, &now).await? {
            Course::Known(Some(way)) if way.direction == Direction::Down => {
                let crossed: Vec<&str> = way.revisions.iter().map(Revision::as_str).collect();
                let why = format!(
                    "what is asked for brings an older schema: {} would be taken back, and what is in there lost to it",
                    crossed.join(", ")
                );
                let way_out = "`steadfast rollback` goes back to what was proven; or pin a release that has these migrations";
                return self.no_way(&why, way_out, &[]);
            }
            Course::Known(way) => way,
            Course::Unseen(why) => return self.waits_for_the_schema(&why, &now),
            Course::None(why) => {
                let way_out = "bring the schema to where this release knows it, or pin a release that knows where it is";
                return self.no_way(&format!("there is no way for the schema: {why}"), way_out, &[]);
            }
        };
        let (number, mut changes) = begin_deploy(&self.record, &generation, &now);
        let wanted = Wanted::of(number, &generation, spec.clone());
        let drift = self.drift_from(&wanted);
        let id = self.edges.store.next_operation_id()?;
        let plan = match self
            .make_plan(&wanted, &drift, Kind::Deploy, id, way.as_deref(), None)
            .await?
        {
            Ok(plan) => plan,
            Err(error @ Unplannable::DatabaseDown(_)) => {
                let way_out = "bring the database back";
                return self.no_way(&error.to_string(), way_out, &[Fact::Schema]);
            }
            Err(error) => {
                self.back_off(Kind::Deploy, &error.to_string());
                return Ok(());
            }
        };
        let tag = generation
            .release
            .tag
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        changes.push(Change::Open(
            Operation {
                id,
                kind: Kind::Deploy,
                generation: Some(number),
                request: generation.request.clone(),
                by: Author::Agent,
                why: if bug::is(Bug::ValueInAReason) {
                    format!("{:?}", self.env_values())
                } else {
                    self.asked_words(&tag, &generation)
                },
                begun: now,
                plan,
            }
            .into(),
        ));
        self.commit(&changes)?;
        if let End::Failed {
            why, passing: true, ..
        } = self.carry_on().await?
        {
            self.back_off(Kind::Deploy, &why);
        }
        self.schema_at = None;
        self.see_again().await
    }

    /// A database that is away may be back soon. When it stays away, a person is told.
    fn waits_for_the_schema(&mut self, why: &str, now: &Moment) -> Result<(), Stop> {
        let since = self.unseen_since.get_or_insert_with(|| now.clone()).clone();
        if now.since_or_wall(&since) < self.settings.trial.window * 2 {
            self.back_off(Kind::Deploy, why);
            return Ok(());
        }
        let way_out = "bring the database back: what is asked for is applied once the schema can be seen";
        self.no_way(why, way_out, &[Fact::Schema])
    }

    /// The schema cannot be brought to where a release needs it, and that is not the release's doing: it is asked
    /// for all the same, and looked at again.
    fn no_way(&mut self, why: &str, way_out: &str, until: &[Fact]) -> Result<(), Stop> {
        self.back_off(Kind::Deploy, why);
        self.hold(why, way_out, until.iter().copied().collect())
    }

    /// Goes back to a good generation.
    pub(super) async fn go_back(
        &mut self,
        target: GenerationNumber,
        blame: Blame,
        by: Author,
        why: &str,
    ) -> Result<(), Stop> {
        if self.begin_to_go_back(target, blame, by, why).await? {
            self.finish_going_back().await?;
        }
        Ok(())
    }

    /// Opens a rollback; the present generation is bad and in quarantine from here on. `false`: it
    /// could not be begun, and why is in the hold, or in what is waited for.
    pub(super) async fn begin_to_go_back(
        &mut self,
        target: GenerationNumber,
        blame: Blame,
        by: Author,
        why: &str,
    ) -> Result<bool, Stop> {
        self.begin_to_go_back_with(target, blame, by, why, None).await
    }

    /// The same; `restores`: the backup that takes the place of the database, where its schema cannot be taken back.
    pub(super) async fn begin_to_go_back_with(
        &mut self,
        target: GenerationNumber,
        blame: Blame,
        by: Author,
        why: &str,
        restores: Option<&BackupId>,
    ) -> Result<bool, Stop> {
        let Some(current) = self.record.current().cloned() else {
            return Ok(false);
        };
        if !self.own().await? {
            return Ok(false);
        }
        // Once it is left, no health of it makes it right.
        let while_failing = match current.verdict {
            Verdict::Bad => BTreeSet::new(),
            _ => [Fact::Healthy].into(),
        };
        let Some(wanted) = self.load_wanted(target)? else {
            let why = format!("the content of generation {target} is gone from the state directory");
            self.hold(&why, "pin a release that works", while_failing)?;
            return Ok(false);
        };
        if by == Author::Agent {
            let data = self.data_changes(&wanted).await?;
            if !data.is_empty() {
                let lines: Vec<String> = data.iter().map(ToString::to_string).collect();
                let why = format!(
                    "{why}; going back to generation {target} would change data: {}",
                    lines.join("; ")
                );
                let way_out = "make sure that the data fits, then `steadfast rollback`";
                self.hold(&why, way_out, while_failing)?;
                return Ok(false);
            }
        }
        let now = self.now();
        let drift = self.drift_from(&wanted);
        let id = self.urgent_operation_id()?;
        let way = self
            .record
            .generation(target)
            .and_then(|target| self.way_to(target));
        let is_down = |way: &SchemaMove| way.direction == Direction::Down;
        if restores.is_some() && !way.as_ref().is_some_and(is_down) {
            let why = format!("{why}; and the schema does not stand above generation {target} any more");
            self.hold(
                &why,
                "look where it stands, then `steadfast rollback`",
                while_failing,
            )?;
            return Ok(false);
        }
        let one_way = way.as_ref().and_then(|way| way.one_way.clone());
        let one_way = one_way.filter(|_| restores.is_none());
        // Where a backup takes its place nobody runs the tool.
        let tool = restores.is_none() && one_way.is_none();
        if let Some(gone) = self.cannot_go(way.as_ref(), tool).await? {
            let way_out = "bring the image back, or bring the schema down by hand, then `steadfast rollback`";
            self.hold(&format!("{why}; {gone}"), way_out, while_failing)?;
            return Ok(false);
        }
        if let Some(one_way) = one_way {
            let why = format!("{why}; {one_way}");
            self.leave_for_a_backup(&current, target, blame, &by, &why, while_failing)
                .await?;
            return Ok(false);
        }
        let plan = match self
            .make_plan(&wanted, &drift, Kind::Rollback, id, way.as_ref(), restores)
            .await?
        {
            Ok(plan) => plan,
            Err(error) => {
                self.back_off(Kind::Rollback, &error.to_string());
                return Ok(false);
            }
        };
        let generation = self.record.generation(target).filter(|_| restores.is_none());
        let fit = generation.map(|target| SchemaFit::of(self.ways(), target, self.schema.as_ref()));
        let plan = plan.keeping(fit.and_then(|fit| fit.kept_at().cloned()));
        let request = request_of(&self.record, &current);
        let why = match self.other_variables(&current.files, &wanted.files) {
            Some(differ) => format!("{why}; generation {target} has other variables ({differ})"),
            None => why.to_owned(),
        };
        let mut changes = begin_rollback(&self.record, &current, blame, &by, &why, &now);
        // What was agreed to is good until it is done, or has failed for good.
        changes.retain(|change| restores.is_none() || *change != Change::Approval(None));
        changes.push(Change::Open(
            Operation {
                id,
                kind: Kind::Rollback,
                generation: Some(target),
                request,
                by,
                why: why.clone(),
                begun: now,
                plan,
            }
            .into(),
        ));
        tracing::warn!(stack = %self.settings.name, "rolling back from generation {} to {target}: {why}", current.number);
        self.commit_urgent(&changes)?;
        Ok(true)
    }

    /// Carries out the rollback that was begun.
    pub(super) async fn finish_going_back(&mut self) -> Result<(), Stop> {
        if let End::Failed {
            why, passing: true, ..
        } = self.carry_on().await?
        {
            self.back_off(Kind::Rollback, &why);
        }
        self.schema_at = None;
        self.see_again().await
    }

    /// A number for what mends, also on a full disk.
    pub(super) fn urgent_operation_id(&self) -> Result<u64, Stop> {
        match self.edges.store.next_operation_id() {
            Err(LedgerError::Full { .. }) => {
                self.edges.store.release_reserve()?;
                Ok(self.edges.store.next_operation_id()?)
            }
            other => Ok(other?),
        }
    }

    /// On a full disk the reserve is given free, so that what would mend it can be journaled, and what is
    /// under way comes to its end.
    pub(super) fn commit_urgent(&mut self, changes: &[Change]) -> Result<(), Stop> {
        match self.commit(changes) {
            Err(Stop::Ledger(LedgerError::Full { .. })) => {
                tracing::error!(stack = %self.settings.name, "the disk is full: using the reserve of the state directory");
                self.edges.store.release_reserve()?;
                self.commit(changes)
            }
            other => other,
        }
    }

    /// The end of an operation and all that follows from it. `None`: it is not at its end. `gave_way`: it
    /// was called away.
    pub(super) fn conclude(
        &mut self,
        operation: &Operation,
        halt: Option<Halt>,
        gave_way: bool,
    ) -> Result<End, Stop> {
        let (Some(open), Some(halt)) = (self.record.operation.clone(), halt) else {
            return Ok(End::Done);
        };
        let (name, kind) = (&self.settings.name, operation.kind);
        let changes = ended(&self.record, &open, &halt, &self.now());
        for change in &changes {
            if let Change::Hold(Some(hold)) = change {
                tracing::error!(stack = %name, "held: {} ({})", hold.why, hold.way_out);
            }
        }
        self.commit_urgent(&changes)?;
        self.count_ended(&open, &changes, tally::Outcome::of(&halt, gave_way));
        if matches!(halt, Halt::Done) && matches!(kind, Kind::Deploy | Kind::Rollback | Kind::Restore) {
            self.see_past();
        }
        let name = &self.settings.name;
        match &halt {
            Halt::Done => tracing::info!(stack = %name, "{kind} done"),
            Halt::TakenBack { why, .. } => {
                tracing::warn!(stack = %name, "{kind} failed and was taken back: {why}");
            }
            Halt::Left { why, .. } => {
                tracing::warn!(stack = %name, "{kind} failed after the schema was moved: {why}");
            }
            Halt::Paused { .. } | Halt::Stuck { .. } => {}
        }
        Ok(match halt {
            Halt::Done => {
                self.retry = None;
                End::Done
            }
            Halt::TakenBack { passing: true, .. } if gave_way => End::GaveWay,
            Halt::Left { passing: true, .. } if gave_way => End::GaveWay,
            Halt::TakenBack { why, passing } | Halt::Left { why, passing } => End::Failed {
                why,
                passing,
                died: open.failed_after_a_start(),
            },
            Halt::Paused { why } | Halt::Stuck { why } => End::Failed {
                why,
                passing: false,
                died: open.failed_after_a_start(),
            },
        })
    }

    /// The services whose image follows the tag. Where the files cannot be read now, those whose reference ends with it.
    pub(super) fn tagged(&self, release: Option<&Release>, spec: &StackSpec) -> BTreeSet<ServiceName> {
        if let Some(inputs) = &self.inputs {
            return inputs.tagged.clone();
        }
        let follows = |service: &ServiceName| {
            let tag = release.and_then(|release| release.pins.get(service).or(release.tag.as_ref()));
            let reference = spec
                .services
                .get(service)
                .and_then(|service| service.image.as_ref());
            tag.zip(reference)
                .is_some_and(|(tag, reference)| reference.ends_with(&format!(":{}", tag.as_str())))
        };
        spec.services
            .keys()
            .filter(|name| follows(name))
            .cloned()
            .collect()
    }

    /// Writes down which image each service runs on, where that is another one than the last: when the container is gone
    /// nobody can be asked any more.
    pub(super) fn note_writers(&mut self) -> Result<(), Stop> {
        if self.record.request.is_none() {
            return Ok(());
        }
        let running: Vec<&ContainerObs> = self
            .seen
            .iter()
            .filter(|c| !c.oneoff && c.state.is_running())
            .collect();
        let is_known = |container: &ContainerObs| {
            let last = self.record.written.get(&container.service);
            running
                .iter()
                .any(|c| c.service == container.service && last == Some(&c.image))
        };
        let mut changes: Vec<Change> = Vec::new();
        for container in running.iter().filter(|container| !is_known(container)) {
            changes.push(Change::Wrote(container.service.clone(), container.image.clone()));
        }
        self.commit(&changes)
    }

    /// The image that gets at each service's data: what the record says, what was seen to run last, and what runs or ran
    /// now; an operation that stopped half-way or a person may have changed it. Of several, one that is not `wanted`.
    pub(super) fn images_at_work(
        &self,
        wanted: &BTreeMap<ServiceName, ImageId>,
    ) -> BTreeMap<ServiceName, ImageId> {
        let current = self.record.current();
        let mut images = current.map(|c| c.release.images.clone()).unwrap_or_default();
        let ran = |c: &&ContainerObs| !c.oneoff && c.state != ContainerState::Created;
        let seen = self.seen.iter().filter(ran).map(|c| (&c.service, &c.image));
        let others = self.record.written.iter().chain(seen);
        let others = others.filter(|(service, image)| wanted.get(*service) != Some(*image));
        images.extend(others.map(|(service, image)| (service.clone(), image.clone())));
        images
    }

    /// What runs, as far as its data is concerned. Where nothing is current, somebody else may have had containers at the
    /// data all the same.
    fn compared_with(&self, wanted: &Wanted) -> Result<Option<Common<StackSpec>>, Stop> {
        let Some(current) = self.record.current() else {
            return Ok(None);
        };
        let spec = self.load_spec(&current.spec)?;
        let proven = self.record.good().next().map(|good| good.number);
        let on_trial = current.verdict == Verdict::Trial && proven == Some(wanted.generation);
        let (Some(spec), true) = (&spec, on_trial) else {
            return Ok(spec);
        };
        let before = as_before(spec, &wanted.spec);
        // Data that somebody has agreed to move is in what it was moved to.
        if before == **spec || self.has_moved_data(current.number)? {
            return Ok(Some(spec.clone()));
        }
        Ok(Some(before.into()))
    }

    /// Whether a generation was brought up with a change of data; where nobody can say any more, it was.
    fn has_moved_data(&self, generation: GenerationNumber) -> Result<bool, Stop> {
        let all = self.edges.store.operations(&self.settings.name, LOOKED_THROUGH)?;
        let mut deploys = all
            .iter()
            .map(|open| &open.operation)
            .filter(|operation| operation.kind == Kind::Deploy && operation.generation == Some(generation));
        let first = deploys.next();
        Ok(first.is_none_or(|first| first.plan.data_from.is_some())
            || deploys.any(|other| other.plan.data_from.is_some()))
    }

    /// What would change about data by going from what runs to `wanted`.
    pub(super) async fn data_changes(&self, wanted: &Wanted) -> Result<Vec<DataChange>, Stop> {
        let spec = self.compared_with(wanted)?;
        let release = self.record.generation(wanted.generation).map(|g| &g.release);
        let tagged = self.tagged(release, &wanted.spec);
        let images = self.images_at_work(&wanted.images);
        let mut carried = self.record.carried_targets();
        for container in self.seen.iter().filter(|c| !c.oneoff) {
            // One that somebody else made may have volumes that nothing is recorded of.
            if wanted.images.get(&container.service) != Some(&container.image)
                && let Some(detail) = self.edges.engine.container(container.id.as_str()).await?
            {
                let targets = detail.anonymous.into_iter().map(|volume| volume.target);
                carried
                    .entry(container.service.clone())
                    .or_default()
                    .extend(targets);
            }
        }
        let running = Running {
            images: &images,
            spec: spec.as_deref(),
            carried: &carried,
            tagged: &tagged,
        };
        Ok(state::data_change::between(
            &running,
            &wanted.images,
            &wanted.spec,
        ))
    }

    /// Holds until one of these facts is there, or a person says what next.
    pub(super) fn hold(&mut self, why: &str, way_out: &str, until: BTreeSet<Fact>) -> Result<(), Stop> {
        match self.holding(why, way_out, until) {
            Some(hold) => self.commit(&[hold]),
            None => Ok(()),
        }
    }

    /// The same, to be written together with something else. `None`: what holds already weighs more.
    pub(super) fn holding(&self, why: &str, way_out: &str, until: BTreeSet<Fact>) -> Option<Change> {
        let why = if bug::is(Bug::HoldSaysNothing) { "" } else { why };
        let hold = Hold {
            since: self.now(),
            why: why.to_owned(),
            way_out: way_out.to_owned(),
            frozen: false,
            no_way_down: false,
            until,
        };
        let known = self.record.hold.as_ref();
        if known.is_some_and(|known| !hold.outweighs(known)) {
            return None;
        }
        tracing::error!(stack = %self.settings.name, "held: {why} ({way_out})");
        Some(Change::Hold(Some(hold)))
    }

    /// After an operation: what runs now.
    pub(super) async fn see_again(&mut self) -> Result<(), Stop> {
        if *self.stop.borrow() {
            return Ok(());
        }
        self.addresses.clear();
        self.observe().await
    }
}
