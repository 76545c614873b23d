//! A stack with what is known of its containers, built a word at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::backup::BackupId;
use crate::drift::{Drift, Wanted};
use crate::files::{FileChange, FileCheck};
use crate::fixture::{container, image, service, stack};
use crate::instead::Instead;
use crate::integrity::Check;
use crate::journal::Kind;
use crate::migration_tool::{Migration, UpgradeBy};
use crate::name::{ContainerId, ImageId, ServiceName};
use crate::naming::Dialect;
use crate::observed::{Attachment, ContainerDetail, ContainerObs, ContainerState, SchemaHead};
use crate::plan::Plan;
use crate::planner::{Ground, Looks, Schema, Unplannable, plan};
use crate::release::GenerationNumber;
use crate::schema_fit::{Direction, SchemaMove};
use crate::stack_spec::{
    Mount, NamedVolume, Port, PublishedPort, RestartPolicy, ServiceSpec, UpdateConfig, UpdateOrder,
};
use crate::taken_back::{Losses, Return};

/// Mounts the volume `data`, writable.
pub(super) fn on_data(spec: &mut ServiceSpec) {
    spec.volumes.push(Mount::Volume(NamedVolume {
        volume: String::from("data"),
        target: String::from("/data"),
        ..NamedVolume::default()
    }));
}

/// Publishes a port of the host.
pub(super) fn listen(spec: &mut ServiceSpec) {
    let published = PublishedPort { first: 80, last: 80 };
    spec.ports.push(Port {
        published: Some(published),
        target: 80,
        ..Port::default()
    });
}

pub(super) fn start_first(spec: &mut ServiceSpec) {
    let deploy = spec.deploy.get_or_insert_default();
    deploy.update_config = Some(UpdateConfig {
        order: Some(UpdateOrder::StartFirst),
        ..UpdateConfig::default()
    });
}

/// A stack with what is known of its containers, from which a plan is made.
pub(super) struct Case {
    pub(super) wanted: Wanted,
    pub(super) details: BTreeMap<ContainerId, ContainerDetail>,
    pub(super) drift: Vec<Drift>,
    pub(super) kind: Kind,
    /// The services whose data is changed.
    pub(super) data: BTreeSet<ServiceName>,
    /// The images that are held already.
    pub(super) kept: BTreeSet<ImageId>,
    /// How the schema is moved.
    pub(super) way: Option<SchemaMove>,
    pub(super) upgrade: UpgradeBy,
    /// What is tried where a way down fails.
    pub(super) instead: Option<Instead>,
    /// The backup that takes the place of the database.
    pub(super) restores: Option<BackupId>,
    /// The rows that have a place again.
    pub(super) returns: Vec<Return>,
    pub(super) checks: Vec<Check>,
    pub(super) counts: bool,
    /// The files that have to be put.
    pub(super) files: Vec<FileChange>,
    /// What is asked about files.
    pub(super) file_checks: Vec<FileCheck>,
    /// The service that the database runs as.
    pub(super) database: Option<ServiceName>,
}

impl Case {
    /// A stack of these services, at image 2, on a network that exists.
    pub(super) fn new(services: &[(&str, &[&str])]) -> Self {
        let spec = stack(services);
        let names = || spec.services.keys().cloned();
        Self {
            wanted: Wanted {
                generation: GenerationNumber(2),
                hashes: names().map(|name| (name, String::from("new"))).collect(),
                images: names().map(|name| (name, image(2))).collect(),
                spec: spec.into(),
                files: BTreeMap::new(),
            },
            details: BTreeMap::new(),
            drift: Vec::new(),
            kind: Kind::Deploy,
            data: BTreeSet::new(),
            kept: BTreeSet::new(),
            way: None,
            upgrade: UpgradeBy::Agent,
            instead: None,
            restores: None,
            returns: Vec::new(),
            checks: Vec::new(),
            counts: false,
            files: Vec::new(),
            file_checks: Vec::new(),
            database: Some(service("db")),
        }
    }

    pub(super) fn spec(mut self, name: &str, change: impl FnOnce(&mut ServiceSpec)) -> Self {
        change(self.wanted.spec.services.get_mut(&service(name)).unwrap());
        self
    }

    pub(super) fn missing(mut self, name: &str) -> Self {
        self.drift.push(Drift::Missing {
            service: service(name),
            number: 1,
        });
        self
    }

    /// A container that is `named` runs and is inspected; its identifier is `n`.
    pub(super) fn inspected(
        mut self,
        n: u64,
        named: &str,
        of: &str,
        change: impl FnOnce(&mut ContainerDetail),
    ) -> Self {
        let mut detail = ContainerDetail {
            summary: ContainerObs {
                id: container(n),
                name: named.to_owned(),
                service: service(of),
                number: 1,
                image: image(1),
                state: ContainerState::Running(None),
                spec: Some(String::from("old")),
                operation: None,
                oneoff: false,
                restarts: None,
            },
            restart: RestartPolicy::Always,
            networks: vec![Attachment {
                network: String::from("shop_default"),
                aliases: vec![of.to_owned()],
                fixed_ipv4: None,
                fixed_ipv6: None,
                address: None,
            }],
            anonymous: Vec::new(),
            writable: BTreeSet::new(),
            started: Some(0),
            homes: BTreeSet::new(),
        };
        change(&mut detail);
        self.details.insert(container(n), detail);
        self
    }

    /// A container of `name` that is replaced.
    pub(super) fn differs(mut self, n: u64, name: &str) -> Self {
        self.drift.push(Drift::Differs {
            service: service(name),
            number: 1,
            container: container(n),
            why: String::from("runs image 000000000001"),
        });
        self.inspected(n, &format!("shop-{name}-1"), name, |_| {})
    }

    pub(super) fn surplus(mut self, n: u64, named: &str, of: &str) -> Self {
        self.drift.push(Drift::Surplus {
            service: service(of),
            number: 1,
            container: container(n),
            why: String::from("is of a service that was taken out"),
        });
        self.inspected(n, named, of, |_| {})
    }

    pub(super) fn down(mut self, n: u64, name: &str) -> Self {
        self.drift.push(Drift::Down {
            service: service(name),
            number: 1,
            container: container(n),
            how: String::from("has exited with code 1"),
        });
        self
    }

    /// Its data is changed.
    pub(super) fn data(mut self, name: &str) -> Self {
        self.data.insert(service(name));
        self
    }

    /// The schema is moved by image 7 of api.
    pub(super) fn moves(mut self, direction: Direction, from: &str, to: &str) -> Self {
        let at = |name: &str| SchemaHead::At([name.parse().unwrap()].into());
        self.way = Some(SchemaMove {
            direction,
            by: Migration {
                service: service("api"),
                image: image(7),
                command: vec![String::from("alembic")],
                workdir: None,
                within: Duration::from_secs(60),
                lock_timeout: Duration::from_secs(1),
            },
            from: Some(at(from)),
            to: at(to),
            revisions: vec![from.max(to).parse().unwrap()],
            losses: Losses::new(),
            one_way: None,
            kept: Vec::new(),
        });
        self
    }

    /// What these operations have taken out of the database has a place again.
    pub(super) fn looking(mut self, asks: bool, counts: bool) -> Self {
        let check = || Check {
            name: String::from("orders"),
            query: String::from("SELECT true"),
            expect: String::from("true"),
            within: Duration::from_secs(5),
        };
        self.checks = asks.then(check).into_iter().collect();
        self.counts = counts;
        self
    }

    /// A file is checked in this service.
    pub(super) fn checked_in(mut self, name: &str) -> Self {
        self.file_checks.push(FileCheck {
            path: "/srv/shop/nginx.conf".into(),
            service: service(name),
            command: vec![String::from("nginx"), String::from("-t")],
        });
        self
    }

    pub(super) fn returning(mut self, returns: &[(u64, bool)]) -> Self {
        let of = |&(of, saved): &(u64, bool)| Return {
            of,
            saved,
            has_place: of != 4,
            last: true,
        };
        self.returns = returns.iter().map(of).collect();
        self
    }

    /// Its own containers bring it up.
    pub(super) fn by_itself(mut self) -> Self {
        self.upgrade = UpgradeBy::Stack;
        self
    }

    pub(super) fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    pub(super) fn plan(&self) -> Result<Plan, Unplannable> {
        let carried = std::collections::BTreeMap::new();
        let ground = Ground {
            files: &self.files,
            file_checks: &self.file_checks,
            carried: &carried,
            details: &self.details,
            running: &BTreeMap::from([(service("db"), container(0xd))]),
            networks: &BTreeSet::from([String::from("shop_default")]),
            volumes: &BTreeSet::new(),
            data: &self.data,
            keep: &BTreeSet::from([image(1)]),
            kept: &self.kept,
            schema: self.way.as_ref().map(|way| Schema {
                way,
                database: self.database.as_ref(),
                end_foreign: false,
                upgrade: self.upgrade,
                instead: self.instead.as_ref(),
                restores: self.restores.as_ref(),
                returns: &self.returns,
                looks: Looks {
                    checks: &self.checks,
                    counts: self.counts,
                },
            }),
            dialect: Dialect::Hyphen,
            operation: 9,
        };
        plan(&self.wanted, &self.drift, &ground, self.kind)
    }
}
