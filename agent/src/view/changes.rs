//! From the steps of a plan to what they change, thing by thing, as an operator reads it.

use std::collections::BTreeMap;

use state::files::FileChange;
use state::journal::Kind;
use state::name::{ContainerId, ImageId, ServiceName};
use state::plan::Plan;
use state::step::{Step, Target};

use super::stakes::stakes;
use super::{Action, PlannedChange};
use crate::shared::Snapshot;

/// One container service, as the steps touch it.
#[derive(Default)]
struct Touched {
    created: Vec<(u32, ImageId, Vec<String>)>,
    removed: usize,
    started: bool,
}

/// What the steps of `plan` change, and why. `next`: it is what comes next, else what is under way.
pub(super) fn changes(kind: Kind, plan: &Plan, snapshot: &Snapshot, next: bool) -> Vec<PlannedChange> {
    let (because, resolved) = match snapshot.next.as_ref().filter(|_| next) {
        Some(next) => (&next.because, &next.resolved),
        None => (&snapshot.drift, &snapshot.record.resolved),
    };
    let owners = owners(plan, snapshot);
    let mut touched: BTreeMap<Option<ServiceName>, Touched> = BTreeMap::new();
    let mut changes = Vec::new();
    for step in &plan.steps {
        let owner = |target: &Target| match target {
            Target::New(service, _) => Some(service.clone()),
            Target::Existing(id) => owners.get(id).cloned(),
        };
        match step {
            Step::Pull { reference, .. } => changes.push(plain(Action::Pull, "image", reference)),
            Step::Build { reference, .. } => changes.push(plain(Action::Build, "image", reference)),
            Step::CreateNetwork { name, .. } => changes.push(plain(Action::Create, "network", name)),
            Step::CreateVolume { name, .. } => changes.push(plain(Action::Create, "volume", name)),
            Step::PutFiles { changes: files } => changes.extend(files.iter().map(of_file)),
            Step::Create {
                service,
                number,
                image,
                carried,
                ..
            } => {
                let detail = carried
                    .iter()
                    .map(|volume| format!("takes over the volume at {}", volume.target))
                    .collect();
                let created = (*number, image.clone(), detail);
                touched
                    .entry(Some(service.clone()))
                    .or_default()
                    .created
                    .push(created);
            }
            Step::Remove { target } => touched.entry(owner(target)).or_default().removed += 1,
            Step::Start {
                target: Target::Existing(_),
                service,
                ..
            } => touched.entry(Some(service.clone())).or_default().started = true,
            Step::GiveRestart {
                target: target @ Target::Existing(_),
                ..
            } => touched.entry(owner(target)).or_default().started = true,
            _ => {}
        }
    }
    for (service, touched) in touched {
        let why = because.iter().filter(|d| d.service == service);
        let why: Vec<String> = why.map(|d| d.what.clone()).collect();
        changes.extend(of_service(service.as_ref(), touched, snapshot, &why, resolved));
    }
    changes.sort_by_key(|change| change.action == Action::Remove);
    let mut all = stakes(kind, plan, snapshot);
    all.extend(changes);
    all
}

/// Which service each existing container is of, as far as the plan or the snapshot say.
fn owners(plan: &Plan, snapshot: &Snapshot) -> BTreeMap<ContainerId, ServiceName> {
    let seen = snapshot.services.iter().filter_map(|view| {
        let id = view.container.clone()?;
        Some((id, view.service.clone()))
    });
    let mut owners: BTreeMap<_, _> = seen.collect();
    for step in &plan.steps {
        if let Step::Stop {
            target: Target::Existing(id),
            service,
            ..
        } = step
        {
            owners.insert(id.clone(), service.clone());
        }
    }
    owners
}

/// A file that is put. Contents are shown nowhere.
fn of_file(file: &FileChange) -> PlannedChange {
    let action = match (&file.from, &file.to) {
        (None, _) => Action::Create,
        (_, None) => Action::Remove,
        _ => Action::Update,
    };
    let mut change = plain(action, "file", &file.path.display().to_string());
    change.detail = vec![format!("{}; what is there is kept", file.role)];
    change
}

fn plain(action: Action, what: &str, name: &str) -> PlannedChange {
    PlannedChange {
        action,
        what: what.into(),
        name: name.into(),
        detail: Vec::new(),
        why: Vec::new(),
    }
}

/// The image that a service's container has, and what it is called where that is known for sure.
fn image_before<'a>(service: &ServiceName, snapshot: &'a Snapshot) -> Option<(&'a ImageId, Option<&'a str>)> {
    let view = snapshot.services.iter().find(|view| view.service == *service)?;
    let image = view.image.as_ref()?;
    // What was found running may be another image than its reference names.
    let current = snapshot.record.current().filter(|g| g.release.tag.is_some());
    let as_made = current.is_some_and(|g| g.release.images.get(service) == Some(image));
    Some((image, as_made.then_some(view.reference.as_str())))
}

/// What the request calls an image.
fn reference_of<'a>(image: &ImageId, resolved: &'a BTreeMap<String, ImageId>) -> Option<&'a str> {
    let found = resolved.iter().find(|(_, id)| *id == image);
    found.map(|(reference, _)| reference.as_str())
}

fn named(image: &ImageId, reference: Option<&str>) -> String {
    match reference {
        Some(reference) => format!("{reference} ({})", image.short()),
        None => image.short().to_owned(),
    }
}

fn of_service(
    service: Option<&ServiceName>,
    touched: Touched,
    snapshot: &Snapshot,
    why: &[String],
    resolved: &BTreeMap<String, ImageId>,
) -> Vec<PlannedChange> {
    let name = service.map_or_else(|| "of no known service".to_owned(), ToString::to_string);
    let old = service.and_then(|service| image_before(service, snapshot));
    let mut left = touched.removed;
    let several = touched.created.len() > 1;
    let is_new = touched.created.is_empty();
    let mut changes = Vec::new();
    for (number, image, mut detail) in touched.created {
        let replaces = left > 0;
        left = left.saturating_sub(1);
        let new = named(&image, reference_of(&image, resolved));
        let line = match old.filter(|_| replaces) {
            Some((old, reference)) if *old != image => format!("image {} -> {new}", named(old, reference)),
            _ => format!("image {new}"),
        };
        detail.insert(0, line);
        let name = if several {
            format!("{name}-{number}")
        } else {
            name.clone()
        };
        let action = if replaces { Action::Replace } else { Action::Create };
        changes.push(PlannedChange {
            detail,
            why: why.to_vec(),
            ..plain(action, "container", &name)
        });
    }
    for _ in 0..left {
        changes.push(PlannedChange {
            why: why.to_vec(),
            ..plain(Action::Remove, "container", &name)
        });
    }
    if is_new && left == 0 && touched.started {
        changes.push(PlannedChange {
            why: why.to_vec(),
            ..plain(Action::Update, "container", &name)
        });
    }
    changes
}
