//! From drift to a plan. Pure: what the engine has to say about the containers that will be
//! replaced is an argument. A rollback is planned here exactly as a deploy is.

mod bring_up;
mod checks;
mod made;
mod make_room;
mod read_again;
mod restore;
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::bug::{self, Bug};
use crate::drift::{Drift, Wanted, hosts};
use crate::files::{FileChange, FileCheck, Signal};
use crate::journal::Kind;
use crate::name::{ContainerId, ImageId, ServiceName};
use crate::naming::{Dialect, container_name, temporary};
use crate::observed::{Carried, ContainerDetail};
use crate::plan::Plan;
use crate::schema_fit::Direction;
use crate::stack_spec::{Nanos, OnUpdateFailure, ServiceSpec, UpdateConfig, UpdateOrder};
use crate::step::{GRACE, Step};
use made::{Made, Names, hand_over};
pub use restore::{Restoring, restore};
pub use schema::{Looks, Schema};

/// What is known of the ground that a plan is made for.
#[derive(Debug, Clone)]
pub struct Ground<'a> {
    /// The containers that the drift is about, inspected.
    pub details: &'a BTreeMap<ContainerId, ContainerDetail>,
    /// The containers of services that do not change, for conditions on them.
    pub running: &'a BTreeMap<ServiceName, ContainerId>,
    /// Engine names of the stack's networks that exist.
    pub networks: &'a BTreeSet<String>,
    /// Engine names of the stack's volumes that exist.
    pub volumes: &'a BTreeSet<String>,
    /// Anonymous volumes that exist, of replicas whose container is gone.
    pub carried: &'a BTreeMap<(ServiceName, u32), Vec<Carried>>,
    /// The services whose data this changes (`data_change`): once a new container of one of them may
    /// have started, nothing is taken back.
    pub data: &'a BTreeSet<ServiceName>,
    /// The images of the generations that may be needed again.
    pub keep: &'a BTreeSet<ImageId>,
    /// The images that are held already.
    pub kept: &'a BTreeSet<ImageId>,
    /// The operator's files that have to be put, so that the release is there whole.
    pub files: &'a [FileChange],
    /// What is asked before other versions of tracked files are used.
    pub file_checks: &'a [FileCheck],
    /// How the schema is moved on the way; `None`: it is not.
    pub schema: Option<Schema<'a>>,
    /// How names are joined in this stack.
    pub dialect: Dialect,
    /// The number of the operation, which makes temporary names unique.
    pub operation: u64,
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unplannable {
    /// An external network is not there.
    #[error("the external network {0} does not exist")]
    NoNetwork(String),
    /// An external volume is not there.
    #[error("the external volume {0} does not exist")]
    NoVolume(String),
    /// A container vanished, or could not be inspected: look again.
    #[error("container {} of {service} could not be inspected", .container.short())]
    Unseen {
        /// The service.
        service: ServiceName,
        /// The container.
        container: ContainerId,
    },
    /// A file that containers see could not be put, or put back where that becomes necessary: nothing is stopped for it.
    #[error("nothing is begun: {0}")]
    NoFile(String),
    /// The image of a service is not known.
    #[error("the image of {0} is not known")]
    NoImage(ServiceName),
    /// The schema can be taken back only where the database serves.
    #[error("the schema has to be taken back, and {0} does not run")]
    DatabaseDown(ServiceName),
    /// Only a backup leads the schema back.
    #[error("{0}")]
    OneWay(String),
    /// Services wait for each other.
    #[error(transparent)]
    Cycle(#[from] crate::stack_spec::DependencyCycle),
}

/// Plans the way from what was seen to what is wanted.
pub fn plan(wanted: &Wanted, drift: &[Drift], ground: &Ground<'_>, kind: Kind) -> Result<Plan, Unplannable> {
    let mut planner = Planner {
        wanted,
        ground,
        kind,
        writers: Vec::new(),
        signalled: Vec::new(),
    };
    let mut steps = planner.prepare(drift)?;
    steps.extend(planner.checks_before_all(drift));
    let changes = planner.changes(drift)?;
    let layers = wanted.spec.start_order()?;
    let schema = ground
        .schema
        .map(|schema| Ok::<_, Unplannable>((schema, schema.moment(drift)?)));
    let schema = schema.transpose()?;
    if let Some(why) = ground.schema.and_then(|schema| schema.one_way()) {
        return Err(Unplannable::OneWay(why.to_owned()));
    }
    let move_at = |moment| {
        let now = schema.filter(|(_, at)| *at == moment);
        now.map(|(schema, _)| schema.steps()).unwrap_or_default()
    };
    if let Some((schema, _)) = &schema {
        planner.writers = schema.writers(&wanted.spec, drift, &changes, ground);
    }
    planner.writers.extend(planner.readers(drift, &changes));
    planner.signalled = planner.signalled(drift, &changes);
    steps.extend(changes.iter().filter(|c| !c.late).map(|c| c.create.clone()));
    steps.extend(ground.schema.iter().flat_map(Schema::beside));
    steps.extend(move_at(schema::Moment::BeforeAll));
    steps.extend(planner.signals_back());
    let mut room = planner.make_room(drift, &changes, &layers)?;
    if let Some(schema) = &ground.schema {
        let steps = move_at(schema::Moment::Stopped);
        schema.put_into(&mut room, &changes, &planner.writers, steps);
    }
    steps.extend(room);
    steps.extend(planner.put_files());
    let contended = changes.iter().filter(|c| c.names == Names::Contended && !c.late);
    steps.extend(contended.map(Made::take_name));
    for layer in &layers {
        steps.extend(planner.checks_before(layer, drift));
        planner.bring_up(layer, drift, &changes, &mut steps);
        steps.extend(planner.read_again(layer));
        if ground
            .schema
            .and_then(|schema| schema.database)
            .is_some_and(|db| layer.contains(db))
        {
            steps.extend(move_at(schema::Moment::Up));
        }
    }
    hand_over(&changes, &mut steps);
    planner.finish(drift, &changes, &mut steps);
    let goes_down = |step: &Step| match step {
        Step::Migrate { way, .. } => way.direction == Direction::Down,
        Step::TakePlace => true,
        _ => false,
    };
    let down = steps.iter().position(goes_down);
    // Also one that was there already: what was left half-way is gone on from. And whoever is started on a schema
    // that was taken back may write to it.
    let lets_at_data = |(index, step): (usize, &Step)| match step {
        Step::Start { service, .. } => ground.data.contains(service) || down.is_some_and(|down| index > down),
        _ => false,
    };
    Ok(Plan {
        on_failure: planner.on_failure(&changes),
        data_from: steps
            .iter()
            .enumerate()
            .position(lets_at_data)
            .filter(|_| !bug::is(Bug::DataChangeIsTakenBack)),
        unchanged: BTreeSet::new(),
        instead: down
            .zip(ground.schema.and_then(|schema| schema.instead.cloned()))
            .into_iter()
            .collect(),
        schema_from: ground.schema.and_then(|schema| schema.moves_from(&steps)),
        kept_at: None,
        steps,
    })
}

struct Planner<'a> {
    wanted: &'a Wanted,
    ground: &'a Ground<'a>,
    kind: Kind,
    /// What stops because it writes to the database, or has read a file that is put, and goes on afterwards.
    writers: Vec<&'a ContainerDetail>,
    /// What goes on, and gets these signals when files were put that it is to read.
    signalled: Vec<(&'a ContainerDetail, BTreeSet<Signal>)>,
}

impl<'a> Planner<'a> {
    /// Images held, networks and volumes there.
    fn prepare(&self, drift: &[Drift]) -> Result<Vec<Step>, Unplannable> {
        let mut steps = Vec::new();
        if self.kind != Kind::Heal {
            let open = self
                .to_keep()
                .into_iter()
                .filter(|i| !self.ground.kept.contains(i));
            steps.extend(open.map(|image| Step::KeepImage { image }));
        }
        if drift
            .iter()
            .all(|d| matches!(d, Drift::Surplus { .. } | Drift::Down { .. }))
        {
            return Ok(steps);
        }
        for (key, network) in &self.wanted.spec.networks {
            if self.ground.networks.contains(&network.name) {
                continue;
            }
            if network.external {
                return Err(Unplannable::NoNetwork(network.name.clone()));
            }
            steps.push(Step::CreateNetwork {
                key: key.clone(),
                name: network.name.clone(),
            });
        }
        for (key, volume) in &self.wanted.spec.volumes {
            if self.ground.volumes.contains(&volume.name) {
                continue;
            }
            if volume.external {
                return Err(Unplannable::NoVolume(volume.name.clone()));
            }
            steps.push(Step::CreateVolume {
                key: key.clone(),
                name: volume.name.clone(),
            });
        }
        Ok(steps)
    }

    /// Once the old containers have stopped, and before any new one starts: so also what takes it back has the files
    /// there again before the old ones go on.
    fn put_files(&self) -> Option<Step> {
        let mut changes = self.ground.files.to_vec();
        changes.retain(|change| change.to.is_some() || !bug::is(Bug::NewFilesStay));
        (!changes.is_empty() && !bug::is(Bug::FilesStayBehind)).then_some(Step::PutFiles { changes })
    }

    /// The images of what is wanted, and of all that may be gone back to.
    fn to_keep(&self) -> BTreeSet<ImageId> {
        self.wanted
            .images
            .values()
            .chain(self.ground.keep)
            .cloned()
            .collect()
    }

    fn detail(
        &self,
        service: &ServiceName,
        container: &ContainerId,
    ) -> Result<&'a ContainerDetail, Unplannable> {
        self.ground
            .details
            .get(container)
            .ok_or_else(|| Unplannable::Unseen {
                service: service.clone(),
                container: container.clone(),
            })
    }

    fn changes(&self, drift: &'a [Drift]) -> Result<Vec<Made<'a>>, Unplannable>
    where
        'a: 'a,
    {
        let mut made = Vec::new();
        for difference in drift {
            let (service, number, old) = match difference {
                Drift::Missing { service, number } => (service, *number, None),
                Drift::Differs {
                    service,
                    number,
                    container,
                    ..
                } => (service, *number, Some(self.detail(service, container)?)),
                Drift::Down { .. } | Drift::Surplus { .. } => continue,
            };
            made.push(self.make(service, number, old)?);
        }
        // A name that another one waits for is free only once its holder has stopped.
        let holds: Vec<bool> = made
            .iter()
            .map(|m| made.iter().any(|other| m.holds_name_of(other)))
            .collect();
        for (made, holds) in made.iter_mut().zip(holds) {
            made.start_first &= !holds;
            if made.names == Names::AfterStart && holds {
                made.names = Names::BeforeStop;
            }
        }
        Ok(made)
    }

    fn make(
        &self,
        service: &'a ServiceName,
        number: u32,
        old: Option<&'a ContainerDetail>,
    ) -> Result<Made<'a>, Unplannable> {
        let no_image = || Unplannable::NoImage(service.clone());
        let spec = self.wanted.spec.services.get(service).ok_or_else(no_image)?;
        let image = self.wanted.images.get(service).ok_or_else(no_image)?.clone();
        let hash = self.wanted.hashes.get(service).ok_or_else(no_image)?.clone();
        let name = container_name(
            &self.wanted.spec.project,
            service,
            spec,
            number,
            self.ground.dialect,
        );
        let late = hosts(spec).next().is_some();
        let contended =
            self.ground.details.iter().any(|(id, detail)| {
                detail.summary.name == name && old.is_none_or(|old| old.summary.id != *id)
            });
        let temporary = if !late && (old.is_some() || contended) {
            temporary(&name, self.ground.operation)
        } else {
            name.clone()
        };
        let create = Step::Create {
            service: service.clone(),
            number,
            name: temporary.clone(),
            image,
            hash,
            carried: match old {
                _ if bug::is(Bug::RowsStayBehind) => Vec::new(),
                Some(old) => old.anonymous.clone(),
                None => self.left_behind(service, number),
            },
        };
        let start_first = old.is_some_and(|old| self.may_start_first(spec, old) || bug::is(Bug::TwoWriters));
        let start_first = start_first && !late && !contended;
        let names = if contended {
            Names::Contended
        } else if late || start_first {
            Names::BeforeStop
        } else {
            Names::AfterStart
        };
        let operation = self.ground.operation;
        Ok(Made {
            service,
            spec,
            number,
            create,
            temporary,
            name,
            old,
            start_first,
            late,
            names,
            operation,
        })
    }

    /// The anonymous volumes of a replica whose container is gone: its rows go on.
    fn left_behind(&self, service: &ServiceName, number: u32) -> Vec<Carried> {
        let slot = (service.clone(), number);
        self.ground.carried.get(&slot).cloned().unwrap_or_default()
    }

    /// `start-first` only where the file asks for it and nothing is shared that two cannot have.
    fn may_start_first(&self, spec: &ServiceSpec, old: &ContainerDetail) -> bool {
        self.update_config(spec).and_then(|u| u.order) == Some(UpdateOrder::StartFirst)
            && !spec.publishes_host_port()
            && !spec.has_fixed_address()
            && spec.data_mounts().next().is_none()
            && old.writable.is_empty()
            && old.anonymous.is_empty()
            // It has to stop before its home does, whenever that is.
            && old.homes.is_empty()
            // Who writes stops before the schema is taken back.
            && self.ground.schema.is_none_or(|schema| schema.way.direction == Direction::Up)
    }

    fn update_config<'s>(&self, spec: &'s ServiceSpec) -> Option<&'s UpdateConfig> {
        let deploy = spec.deploy.as_ref()?;
        match self.kind {
            Kind::Rollback => deploy.rollback_config.as_ref().or(deploy.update_config.as_ref()),
            _ => deploy.update_config.as_ref(),
        }
    }

    /// Only a deploy may stop half-way, or go on: what heals or goes back is done or taken back.
    fn on_failure(&self, changes: &[Made<'_>]) -> BTreeMap<ServiceName, OnUpdateFailure> {
        if self.kind != Kind::Deploy {
            return BTreeMap::new();
        }
        changes
            .iter()
            .filter_map(|made| {
                let action = self.update_config(made.spec)?.failure_action?;
                Some((made.service.clone(), action))
            })
            .collect()
    }
}

fn grace(spec: &ServiceSpec) -> Duration {
    spec.stop_grace_period.map_or(GRACE, duration)
}

fn duration(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos.0)
}

#[cfg(test)]
mod tests;
