//! What all is made of: the stack, its releases, and how each of them does.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use state::desired::Desired;
use state::drift::Wanted;
use state::name::{ContainerId, Digest, ImageId, ServiceName, Tag};
use state::record::{StackRecord, Standing};
use state::release::{Generation, GenerationNumber, Release, Request, Verdict};
use state::stack_spec::{
    Attachment, Mount, NamedVolume, NetworkSpec, Networking, RestartPolicy, ServiceSpec, StackSpec,
    VolumeSpec,
};
use state::time::Moment;

pub(crate) const NETWORK: &str = "shop_default";
pub(crate) const VOLUME: &str = "shop_data";
const SERVICES: [&str; 2] = ["api", "web"];

/// Does well.
pub(crate) const GOOD: u8 = 1;
/// Runs, and its probes fail.
pub(crate) const SICK: u8 = 2;
/// Dies when it is started.
pub(crate) const DEAD: u8 = 3;

/// What an operator may ask for: the tag, and a `.env`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Wish {
    pub(crate) tag: u8,
    pub(crate) env: u8,
}

/// Whether a container of this image dies when it is started.
pub(crate) fn dies(image: u8) -> bool {
    image == DEAD
}

/// Whether its probes pass, while nothing outside is broken.
pub(crate) fn is_well(image: u8) -> bool {
    image == GOOD
}

/// The one instant at which all happens: what lasts is a move of its own.
pub(crate) fn now() -> Moment {
    Moment {
        wall_ms: 1_700_000_000_000,
        boot_ms: 1_000,
        boot_id: "5d1b".into(),
    }
}

pub(crate) fn service(index: usize) -> ServiceName {
    SERVICES[index].parse().unwrap()
}

pub(crate) fn index(name: &ServiceName) -> usize {
    SERVICES.iter().position(|s| *s == name.as_str()).unwrap()
}

pub(crate) fn container(n: u64) -> ContainerId {
    format!("{n:064x}").parse().unwrap()
}

pub(crate) fn image(release: u8) -> ImageId {
    format!("sha256:{release:064x}").parse().unwrap()
}

pub(crate) fn release_of(image: &ImageId) -> u8 {
    let digits = image.as_str().trim_start_matches("sha256:");
    u8::from_str_radix(&digits[digits.len() - 2..], 16).unwrap()
}

/// The wish that a release answers.
pub(crate) fn wish_of(release: &Release) -> Wish {
    let tag = release.images.values().next().map_or(0, release_of);
    let is = |env: &u8| release.env == Some(Digest::of(&[*env]));
    let env = (0..9).find(is).unwrap();
    Wish { tag, env }
}

/// Services that write to one volume, on one network, started again by the engine.
pub(crate) fn stack(services: usize) -> StackSpec {
    let mut stack = StackSpec::new("shop".parse().unwrap());
    let network = NetworkSpec {
        name: NETWORK.to_owned(),
        ..NetworkSpec::default()
    };
    stack.networks.insert(String::from("default"), network);
    let volume = VolumeSpec {
        name: VOLUME.to_owned(),
        ..VolumeSpec::default()
    };
    stack.volumes.insert(String::from("data"), volume);
    for index in 0..services {
        let on = BTreeMap::from([(String::from("default"), Attachment::default())]);
        let mut spec = ServiceSpec {
            networking: Networking::Networks(on),
            restart: Some(RestartPolicy::Always),
            image: Some(String::from("registry.example/shop:${TAG}")),
            ..ServiceSpec::default()
        };
        spec.volumes.push(Mount::Volume(NamedVolume {
            volume: String::from("data"),
            target: String::from("/data"),
            ..NamedVolume::default()
        }));
        stack.services.insert(service(index), spec);
    }
    stack
}

pub(crate) fn tagged(spec: &StackSpec) -> BTreeSet<ServiceName> {
    spec.services.keys().cloned().collect()
}

pub(crate) fn request(wish: Wish) -> Request {
    let tag: Tag = format!("v{}", wish.tag).parse().unwrap();
    Request {
        desired: Desired::new(tag),
        env: Some(Digest::of(&[wish.env])),
        config: Digest::of(b"config"),
        spec: Digest::of(b"spec"),
        commits: BTreeMap::new(),
        accepted: now(),
        files: [].into(),
        retries: 0,
    }
}

/// What the agent makes of a request.
pub(crate) fn generation(number: GenerationNumber, request: &Request, spec: &StackSpec) -> Generation {
    let tag: u8 = request.desired.tag.as_str()[1..].parse().unwrap();
    let services = || spec.services.keys().cloned();
    let release = request.release(services().map(|name| (name, image(tag))).collect());
    let env = request.env.as_ref().map(Digest::short).unwrap_or_default();
    Generation {
        number,
        release_id: release.id(),
        release,
        request: request.id(),
        spec: request.spec.clone(),
        hashes: services().map(|name| (name, format!("1-{tag}-{env}"))).collect(),
        verdict: Verdict::Trial,
        begun: now(),
        applied: None,
        judged: None,
        why: String::new(),
        schema: None,
        files: [].into(),
        adopted: false,
        not_restorable: None,
    }
}

pub(crate) fn wanted(generation: &Generation, spec: &StackSpec) -> Wanted {
    Wanted::of(generation.number, generation, spec.clone())
}

/// A stack that was never seen, or one whose generation 1 is good and runs.
pub(crate) fn record(runs: bool, spec: &StackSpec) -> StackRecord {
    let mut record = StackRecord::new("shop".parse().unwrap());
    if runs {
        let request = request(Wish { tag: GOOD, env: 0 });
        let mut first = generation(GenerationNumber(1), &request, spec);
        first.verdict = Verdict::Good;
        first.applied = Some(now());
        record.generations.push(first.into());
        record.current = Some(GenerationNumber(1));
        record.standing = Standing::Applied(GenerationNumber(1));
        record.request = Some(request);
    }
    record
}
