//! Where in a plan the schema is moved. Up: by the new image, while the old release serves, after a backup that was
//! proven. Down: by the image that is left, when all that write have stopped, from a copy that can be put back.

use crate::backup::{BackupId, Dumped, Proof};
use crate::bug::{self, Bug};
use crate::drift::Drift;
use crate::instead::Instead;
use crate::integrity::{Check, When};
use crate::migration_tool::UpgradeBy;
use crate::name::ServiceName;
use crate::observed::ContainerDetail;
use crate::schema_fit::{Direction, SchemaMove};
use crate::stack_spec::{RestartPolicy, StackSpec};
use crate::step::{Condition, Step, Target};
use crate::taken_back::Return;

use super::bring_up::RUNNING_WITHIN;
use super::made::{Made, hold_back};
use super::{GRACE, Ground, Unplannable, grace};

/// How a plan moves the schema.
#[derive(Debug, Clone, Copy)]
pub struct Schema<'a> {
    /// The way.
    pub way: &'a SchemaMove,
    /// The service that the database runs as; `None`: it is outside of the stack.
    pub database: Option<&'a ServiceName>,
    /// Whether sessions of whoever is no service of the stack are ended too.
    pub end_foreign: bool,
    /// Who brings it up.
    pub upgrade: UpgradeBy,
    /// The backup that a way down is gone by: it takes the place of the database, and no tool is asked.
    pub restores: Option<&'a BackupId>,
    /// What is tried where a way down fails for good.
    pub instead: Option<&'a Instead>,
    /// The rows that get a place again, the newest first.
    pub returns: &'a [Return],
    /// What is looked at before and after.
    pub looks: Looks<'a>,
}

/// What is looked at of a database, before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looks<'a> {
    /// The integrity checks.
    pub checks: &'a [Check],
    /// Whether the rows are counted.
    pub counts: bool,
}

impl Looks<'_> {
    /// The step that looks then; what was before is counted with the backup, and only asked.
    pub(super) fn step(self, when: When) -> Option<Step> {
        let counts = self.counts && when != When::Before;
        (!self.checks.is_empty() || counts).then(|| Step::Look {
            when,
            checks: self.checks.to_vec(),
            counts,
        })
    }
}

/// When in its plan the schema is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before anything stops.
    BeforeAll,
    /// When all that write have stopped.
    Stopped,
    /// When the database, which this plan starts, is up.
    Up,
}

impl<'a> Schema<'a> {
    /// Why no tool is asked to go this way, where nothing else leads there.
    pub(super) fn one_way(&self) -> Option<&'a str> {
        self.way.one_way.as_deref().filter(|_| self.restores.is_none())
    }

    /// When it is moved in a plan for this drift.
    pub(super) fn moment(&self, drift: &[Drift]) -> Result<Moment, Unplannable> {
        let starts = |d: &&Drift| !matches!(d, Drift::Surplus { .. }) && Some(d.service()) == self.database;
        match (self.way.direction, drift.iter().find(starts)) {
            (Direction::Up, None) => Ok(Moment::BeforeAll),
            (Direction::Up, Some(_)) => Ok(Moment::Up),
            // The old database still serves when all that write to it have stopped.
            (Direction::Down, None | Some(Drift::Differs { .. })) => Ok(Moment::Stopped),
            (Direction::Down, Some(drift)) => Err(Unplannable::DatabaseDown(drift.service().clone())),
        }
    }

    /// Puts `steps` into `room`, where all that write have stopped, and the database has not: neither to be replaced nor to
    /// read a file again, as one of `stay`.
    pub(super) fn put_into(
        &self,
        room: &mut Vec<Step>,
        changes: &[Made<'_>],
        stay: &[&ContainerDetail],
        steps: Vec<Step>,
    ) {
        let replaced = changes.iter().filter(|made| Some(made.service) == self.database);
        let replaced = replaced.filter_map(|made| made.old);
        let stay = stay.iter().copied();
        let restarted = stay.filter(|detail| Some(&detail.summary.service) == self.database);
        let all = replaced.chain(restarted);
        let databases: Vec<Target> = all
            .map(|detail| Target::Existing(detail.summary.id.clone()))
            .collect();
        let first = room
            .iter()
            .position(|step| step.target().is_some_and(|target| databases.contains(target)));
        let at = first.unwrap_or(room.len());
        room.splice(at..at, steps);
    }

    /// What is done beside the database before anything stops: what cannot be restored costs nothing.
    pub(super) fn beside(&self) -> Vec<Step> {
        let restore = |backup: &BackupId| {
            let dump = Dumped::Backup(backup.clone());
            let look = self.looks.step(When::Restored);
            [Step::RestoreBeside { dump }, safety_backup()]
                .into_iter()
                .chain(look)
        };
        self.restores.into_iter().flat_map(restore).collect()
    }

    /// What is done then.
    pub(super) fn steps(&self) -> Vec<Step> {
        let migrate = Step::Migrate {
            way: Box::new(self.way.clone()),
            // On the way up they have steps of their own.
            checks: match self.way.direction {
                Direction::Up => Vec::new(),
                Direction::Down => self.looks.checks.to_vec(),
            },
        };
        match self.way.direction {
            _ if self.restores.is_some() => vec![
                Step::CloseDatabase {
                    end_foreign: self.end_foreign,
                },
                Step::TakePlace,
                Step::OpenDatabase,
            ],
            _ if bug::is(Bug::CopyIsLeftOut) => vec![migrate],
            Direction::Up => {
                let unsaved = self.returns.iter().filter(|rows| !rows.saved);
                let mut steps: Vec<Step> = unsaved.map(|rows| Step::SaveRows { of: rows.of }).collect();
                steps.push(safety_backup());
                steps.extend(self.looks.step(When::Before));
                // Else its own containers bring it up as they start, and what has a place then is put back later.
                if self.upgrade == UpgradeBy::Stack {
                    return steps;
                }
                steps.push(migrate);
                let placed = self.returns.iter().filter(|rows| rows.has_place);
                steps.extend(placed.map(|rows| Step::PutIn {
                    of: rows.of,
                    last: rows.last,
                }));
                // Between here and the switch the old release runs on the new schema: what takes its time comes later.
                let asks = Looks {
                    counts: false,
                    ..self.looks
                };
                steps.extend(asks.step(When::After));
                steps
            }
            Direction::Down => vec![
                Step::CloseDatabase {
                    end_foreign: self.end_foreign,
                },
                Step::CopyDatabase,
                Step::OpenDatabase,
                migrate,
            ],
        }
    }

    /// What is looked at when the new containers are up: the rows are counted, and the checks asked where it is these that
    /// have brought the schema up.
    pub(super) fn look_when_up(&self) -> Option<Step> {
        let looks = Looks {
            checks: match self.upgrade {
                UpgradeBy::Agent => &[],
                UpgradeBy::Stack => self.looks.checks,
            },
            ..self.looks
        };
        looks
            .step(When::After)
            .filter(|_| self.way.direction == Direction::Up)
    }

    /// The step from which on the schema may be further up than it was.
    pub(super) fn moves_from(&self, steps: &[Step]) -> Option<usize> {
        let brings_up = |step: &Step| match step {
            Step::Migrate { way, .. } => way.direction == Direction::Up,
            Step::Start { service, .. } => {
                self.upgrade == UpgradeBy::Stack
                    && self.way.direction == Direction::Up
                    && Some(service) != self.database
            }
            _ => false,
        };
        // A database that this plan starts is backed up when it is up: what starts before cannot migrate.
        let backup = steps.iter().position(|step| matches!(step, Step::Backup { .. }));
        let from = backup.unwrap_or(0);
        let first = steps.iter().skip(from).position(brings_up)?;
        Some(from + first)
    }

    /// The containers that write to the database, as far as the file says so, run, and are not replaced anyway.
    pub(super) fn writers<'g>(
        &self,
        spec: &StackSpec,
        drift: &[Drift],
        changes: &[Made<'_>],
        ground: &Ground<'g>,
    ) -> Vec<&'g ContainerDetail> {
        if self.way.direction == Direction::Up {
            return Vec::new();
        }
        let writes = |service: &ServiceName| {
            let reach = spec.with_dependencies([service]);
            Some(service) != self.database
                && (*service == self.way.by.service || self.database.is_some_and(|db| reach.contains(db)))
        };
        let goes = |detail: &ContainerDetail| {
            let id = &detail.summary.id;
            let replaced = changes.iter().filter_map(|made| made.old);
            replaced.into_iter().any(|old| old.summary.id == *id)
                || drift.iter().any(|d| d.container() == Some(id))
        };
        let running = ground.details.values().filter(|d| d.summary.state.is_running());
        running
            .filter(|detail| writes(&detail.summary.service) && !goes(detail))
            .collect()
    }
}

/// What is made before the schema is moved is always proven.
fn safety_backup() -> Step {
    Step::Backup {
        proof: Proof::Restore,
        copy: None,
    }
}

/// One that writes stops, and can be started again.
pub(super) fn stop_writer(spec: &StackSpec, detail: &ContainerDetail) -> Vec<Step> {
    let mut steps: Vec<Step> = hold_back(detail).into_iter().collect();
    let service = &detail.summary.service;
    steps.push(Step::Stop {
        target: Target::Existing(detail.summary.id.clone()),
        service: service.clone(),
        grace: spec.services.get(service).map_or(GRACE, grace),
        ran: true,
    });
    steps
}

/// It is started again. `untouched`: the release gives it nothing else than it had.
pub(super) fn start_writer(spec: &StackSpec, detail: &ContainerDetail, untouched: bool) -> Vec<Step> {
    let (target, service) = (
        Target::Existing(detail.summary.id.clone()),
        &detail.summary.service,
    );
    vec![
        Step::Start {
            target: target.clone(),
            service: service.clone(),
            grace: spec.services.get(service).map_or(GRACE, grace),
        },
        Step::Await {
            target,
            service: service.clone(),
            until: Condition::Running,
            within: RUNNING_WITHIN,
            untouched,
        },
    ]
}

/// And gets its restart policy back.
pub(super) fn give_back(detail: &ContainerDetail) -> Option<Step> {
    (detail.restart != RestartPolicy::No).then(|| Step::GiveRestart {
        target: Target::Existing(detail.summary.id.clone()),
        policy: detail.restart,
    })
}
