//! Whether going from what runs to something else would put another image on data that is already
//! there (postgres 15 → 16), or take that data out of the service's sight (another volume). Such a
//! change is agreed to by a person, and never undone by the agent itself: the data may have been
//! rewritten since.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::name::{ImageId, ServiceName};
use crate::stack_spec::{Mount, ServiceSpec, StackSpec};

/// The anonymous volumes that are carried on from container to container, by service: their targets.
pub type CarriedTargets = BTreeMap<ServiceName, BTreeSet<String>>;

/// What runs, as far as its data is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// The image of each service.
    pub images: &'a BTreeMap<ServiceName, ImageId>,
    /// The services; `None` where what they mount can no longer be told.
    pub spec: Option<&'a StackSpec>,
    /// Anonymous volumes, which the file need not name.
    pub carried: &'a CarriedTargets,
    /// The services whose image follows the tag: they bring their own code, not their own data format.
    pub tagged: &'a BTreeSet<ServiceName>,
}

/// One change of one service's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataChange {
    /// The service.
    pub service: ServiceName,
    /// What changes.
    pub what: What,
}

/// What changes about data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Another image is put on it.
    Image {
        /// The image that runs.
        from: ImageId,
        /// The other one.
        to: ImageId,
        /// Where the data is, in the container.
        at: Vec<String>,
    },
    /// Something else is mounted where it is.
    Place {
        /// Where, in the container.
        at: String,
        /// Where the data is, on the host.
        from: String,
        /// What is there instead.
        to: String,
    },
    /// What is mounted now cannot be told, so that nothing can be compared.
    Untold,
}

impl fmt::Display for DataChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = &self.service;
        match &self.what {
            What::Image { from, to, at } => write!(
                f,
                "{service}: image {} → {}, on the data at {}",
                from.short(),
                to.short(),
                at.join(", ")
            ),
            What::Place { at, from, to } => write!(f, "{service}: data at {at}: {from} → {to}"),
            What::Untold => write!(f, "{service}: nobody can tell any more what data it has now"),
        }
    }
}

/// All that would change about data by going from what runs to `images` and `spec`. A service that is
/// new, or had no data, changes nothing; nor does one that is no longer there: its volumes stay.
pub fn between(
    running: &Running<'_>,
    images: &BTreeMap<ServiceName, ImageId>,
    spec: &StackSpec,
) -> Vec<DataChange> {
    let mut changes = Vec::new();
    for (service, from) in running.images {
        let Some(to) = images.get(service) else { continue };
        let places = places(running, service);
        let next = mounts(spec, service);
        let at: Vec<String> = match &places {
            Some(places) => places.keys().cloned().collect(),
            None => data_of(spec, service).into_keys().collect(),
        };
        let new = |what| DataChange {
            service: service.clone(),
            what,
        };
        if from != to && !at.is_empty() && !running.tagged.contains(service) {
            let (from, to) = (from.clone(), to.clone());
            changes.push(new(What::Image { from, to, at }));
        }
        match places {
            Some(places) => changes.extend(moved(&places, &next).map(new)),
            None if !data_of(spec, service).is_empty() => changes.push(new(What::Untold)),
            None => {}
        }
    }
    changes
}

/// What runs, without the mounts that it has brought to places where `before` has nothing. Where it was never proven and
/// `before` is gone back to, what it has written there stays in its volume, and is there again when the release comes again.
#[must_use]
pub fn as_before(runs: &StackSpec, before: &StackSpec) -> StackSpec {
    let mut spec = runs.clone();
    for (name, service) in &mut spec.services {
        let known = mounts(before, name);
        let meets = |at: &String| {
            let mut known = known.keys();
            known.any(|other| other == at || is_below(at, other) || is_below(other, at))
        };
        service.volumes.retain(|mount| meets(&path(mount.target())));
    }
    spec
}

fn is_below(at: &str, place: &str) -> bool {
    at.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
}

/// Where the data of a service is: its writable mounts, and the anonymous volumes that are carried on.
fn places(running: &Running<'_>, service: &ServiceName) -> Option<BTreeMap<String, String>> {
    let mut places = data_of(running.spec?, service);
    for target in running.carried.get(service).into_iter().flatten() {
        places
            .entry(target.clone())
            .or_insert_with(|| String::from(ANONYMOUS));
    }
    Some(places)
}

/// What a carried volume is shown as, and what takes it over.
const ANONYMOUS: &str = "an anonymous volume";

fn data_of(spec: &StackSpec, service: &ServiceName) -> BTreeMap<String, String> {
    let service = spec.services.get(service);
    let mounts = service.into_iter().flat_map(ServiceSpec::data_mounts);
    mounts
        .map(|mount| (path(mount.target()), place(spec, mount)))
        .collect()
}

fn mounts(spec: &StackSpec, service: &ServiceName) -> BTreeMap<String, String> {
    let service = spec.services.get(service);
    let mounts = service.into_iter().flat_map(|service| &service.volumes);
    mounts
        .map(|mount| (path(mount.target()), place(spec, mount)))
        .collect()
}

/// What of `places` is not where it was; and what is mounted over a part of it.
fn moved(places: &BTreeMap<String, String>, next: &BTreeMap<String, String>) -> impl Iterator<Item = What> {
    let elsewhere = places.iter().filter_map(|(at, from)| {
        let to = match next.get(at) {
            Some(to) if to == from => return None,
            Some(to) => to.clone(),
            // It goes on in the next container, also where the file does not name it.
            None if from == ANONYMOUS => return None,
            None => String::from("nothing is mounted there"),
        };
        Some((at.clone(), from.clone(), to))
    });
    let over = next.iter().filter(|(at, _)| !places.contains_key(*at));
    let hidden = over.filter_map(|(at, to)| {
        let place = places.keys().find(|place| is_below(at, place))?;
        Some((at.clone(), places[place].clone(), to.clone()))
    });
    let all: Vec<_> = elsewhere.chain(hidden).collect();
    all.into_iter().map(|(at, from, to)| What::Place { at, from, to })
}

/// Where a mount's content is, for people; two that read the same are the same.
fn place(spec: &StackSpec, mount: &Mount) -> String {
    let mut text = match mount {
        Mount::Bind(bind) => bind.source.display().to_string(),
        Mount::Volume(volume) => {
            let known = spec.volumes.get(&volume.volume);
            let name = known.map_or(volume.volume.as_str(), |known| known.name.as_str());
            match &volume.subpath {
                Some(subpath) => format!("volume {name}, {subpath} in it"),
                None => format!("volume {name}"),
            }
        }
        Mount::Anonymous { .. } => String::from(ANONYMOUS),
        Mount::Tmpfs(_) => String::from("memory"),
    };
    if mount.read_only() {
        text.push_str(", read only");
    }
    text
}

/// A target as it is compared: `/data/` and `/data` are one.
fn path(target: &str) -> String {
    let short = target.trim_end_matches('/');
    if short.is_empty() { "/" } else { short }.to_owned()
}

#[cfg(test)]
mod tests;
