//! Small values for the tests of the core. Nothing here is in the product.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use crate::desired::{Desired, MigrationWish};
use crate::files::ReleaseFiles;
use crate::migration_tool::Migration;
use crate::name::{ContainerId, Digest, ImageId, ServiceName};
use crate::observed::SchemaHead;
use crate::record::StackRecord;
use crate::release::{Author, Blame, Generation, GenerationNumber, Quarantine, Release, Request, Verdict};
use crate::schema_fit::{Direction, SchemaMove};
use crate::stack_spec::{Condition, Dependency, ServiceSpec, StackSpec};
use crate::time::Moment;

pub(crate) fn at(seconds: u64) -> Moment {
    Moment {
        wall_ms: 1_700_000_000_000 + i64::try_from(seconds).unwrap() * 1000,
        boot_ms: seconds * 1000,
        boot_id: "5d1b".into(),
    }
}

pub(crate) fn service(name: &str) -> ServiceName {
    name.parse().unwrap()
}

/// An identifier whose first digits tell images apart.
pub(crate) fn image(n: u64) -> ImageId {
    format!("sha256:{n:012x}{:052}", 0).parse().unwrap()
}

/// An identifier whose first digits tell containers apart.
pub(crate) fn container(n: u64) -> ContainerId {
    format!("{n:012x}{:052}", 0).parse().unwrap()
}

/// Services by name, each with those that it waits for.
pub(crate) fn stack(services: &[(&str, &[&str])]) -> StackSpec {
    let mut stack = StackSpec::new("shop".parse().unwrap());
    for (name, needs) in services {
        let mut spec = ServiceSpec::default();
        for need in *needs {
            depend(&mut spec, need, Condition::Started);
        }
        stack.services.insert(service(name), spec);
    }
    stack
}

pub(crate) fn depend(spec: &mut ServiceSpec, on: &str, condition: Condition) {
    let dependency = Dependency {
        condition,
        restart: false,
        required: true,
    };
    spec.depends_on.insert(service(on), dependency);
}

/// A release of these images.
pub(crate) fn release(images: &[(&str, u64)]) -> Release {
    Release {
        tag: Some("v1".parse().unwrap()),
        pins: BTreeMap::new(),
        commits: BTreeMap::new(),
        images: images
            .iter()
            .map(|(name, n)| (service(name), image(*n)))
            .collect(),
        migration: MigrationWish::Release,
        env: Some(Digest::of(b"env")),
        config: Digest::of(b"config"),
    }
}

/// An applied generation of a release; each service's hash is made of its image alone.
pub(crate) fn generation(number: u64, release: Release, verdict: Verdict) -> Generation {
    Generation {
        number: GenerationNumber(number),
        release_id: release.id(),
        request: request(number).id(),
        spec: Digest::of(b"spec"),
        hashes: release
            .images
            .iter()
            .map(|(name, image)| (name.clone(), format!("1-{}", image.short())))
            .collect(),
        release,
        verdict,
        begun: at(0),
        applied: Some(at(0)),
        judged: None,
        why: String::new(),
        schema: None,
        files: ReleaseFiles::new(),
        adopted: false,
        not_restorable: None,
    }
}

pub(crate) fn request(n: u64) -> Request {
    Request {
        desired: Desired::new(format!("v{n}").parse().unwrap()),
        env: None,
        config: Digest::of(b"config"),
        spec: Digest::of(b"spec"),
        files: ReleaseFiles::new(),
        commits: BTreeMap::new(),
        accepted: at(0),
        retries: 0,
    }
}

/// A record of these generations, the last of which runs, under the request of its number.
pub(crate) fn record(generations: Vec<Generation>) -> StackRecord {
    let mut record = StackRecord::new("shop".parse().unwrap());
    record.current = generations.last().map(|g| g.number);
    record.request = record.current.map(|number| request(number.0));
    record.generations = generations.into_iter().map(Into::into).collect();
    record
}

/// A way of `api` down to `to`, which takes back these revisions, the newest first.
pub(crate) fn downgrade(image: &ImageId, crossed: &str, to: &str) -> SchemaMove {
    let at = |name: &str| SchemaHead::At(std::iter::once(name.parse().unwrap()).collect());
    SchemaMove {
        direction: Direction::Down,
        by: Migration {
            service: service("api"),
            image: image.clone(),
            command: ["alembic", "downgrade", to].map(String::from).into(),
            workdir: None,
            within: Duration::from_secs(60),
            lock_timeout: Duration::from_secs(1),
        },
        from: crossed.split_whitespace().next().map(at),
        to: at(to),
        revisions: crossed
            .split_whitespace()
            .map(|name| name.parse().unwrap())
            .collect(),
        losses: crate::taken_back::Losses::new(),
        one_way: None,
        kept: Vec::new(),
    }
}

/// What a rollback from `bad` leaves behind.
pub(crate) fn quarantine(bad: &Generation, blame: Blame) -> Quarantine {
    Quarantine {
        generation: bad.number,
        release: bad.release_id.clone(),
        tag: bad.release.tag.clone(),
        blame,
        by: Author::Agent,
        at: at(0),
        why: String::from("it failed"),
    }
}
