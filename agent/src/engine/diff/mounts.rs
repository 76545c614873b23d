//! Mounts, as they are rather than as they were asked for: the same mount can be asked for in three ways.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{HostConfig, Mount, MountPoint};

use super::{Found, Pair};

/// What is mounted somewhere: the kind, where from (empty: anonymous), and whether it can be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    kind: String,
    source: String,
    writable: bool,
}

impl std::fmt::Display for Mounted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let source = if self.source.is_empty() { "" } else { " " };
        write!(
            f,
            "{}{source}{}{}",
            self.kind,
            self.source,
            if self.writable { "" } else { ", read only" }
        )
    }
}

pub(super) fn compare(pair: &Pair<'_>, found: &mut Found) {
    let none = HostConfig::default();
    let host = pair.rendered.body.host_config.as_ref().unwrap_or(&none);
    let wanted = wanted(host);
    let seen: BTreeMap<_, _> = pair.seen.mounts.iter().flatten().filter_map(seen).collect();
    let declared: BTreeSet<String> = pair
        .image
        .volumes
        .iter()
        .flatten()
        .map(|path| tidy(path))
        .collect();
    for (target, mount) in &wanted {
        match seen.get(target) {
            None => found.note("Mounts", format!("missing: {mount} at {target}")),
            Some(other) if same(mount, other) => {}
            Some(other) => found.note("Mounts", format!("at {target} is {other} and should be {mount}")),
        }
    }
    // Others' volumes come along with `volumes_from`; the image's own are anonymous.
    let inherits = host.volumes_from.is_some();
    for (target, mount) in &seen {
        let by_image = declared.contains(target) && mount.kind == "volume" && is_made_up(&mount.source);
        if !wanted.contains_key(target) && !by_image && !inherits {
            found.note("Mounts", format!("not asked for: {mount} at {target}"));
        }
    }
}

fn same(wanted: &Mounted, seen: &Mounted) -> bool {
    let anonymous = wanted.source.is_empty() && wanted.kind == "volume" && is_made_up(&seen.source);
    wanted.kind == seen.kind
        && wanted.writable == seen.writable
        && (anonymous || wanted.source == seen.source)
}

/// A name that the engine made up for an anonymous volume.
fn is_made_up(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn wanted(host: &HostConfig) -> BTreeMap<String, Mounted> {
    let binds = host.binds.iter().flatten().filter_map(|bind| from_bind(bind));
    let mounts = host.mounts.iter().flatten().filter_map(from_mount);
    binds.chain(mounts).collect()
}

/// `source:target:options`, of which the source is a path or a volume's name.
fn from_bind(bind: &str) -> Option<(String, Mounted)> {
    let (rest, options) = bind.rsplit_once(':')?;
    let (source, target) = rest.rsplit_once(':')?;
    let kind = if source.starts_with('/') { "bind" } else { "volume" };
    let writable = !options.split(',').any(|option| option == "ro");
    let source = if kind == "bind" {
        tidy(source)
    } else {
        source.to_owned()
    };
    Some((
        tidy(target),
        Mounted {
            kind: kind.to_owned(),
            source,
            writable,
        },
    ))
}

fn from_mount(mount: &Mount) -> Option<(String, Mounted)> {
    let kind = mount.typ?.to_string();
    let source = mount.source.clone().unwrap_or_default();
    let source = if kind == "bind" { tidy(&source) } else { source };
    Some((
        tidy(mount.target.as_ref()?),
        Mounted {
            kind,
            source,
            writable: !mount.read_only.unwrap_or(false),
        },
    ))
}

fn seen(point: &MountPoint) -> Option<(String, Mounted)> {
    let kind = point.typ.clone()?;
    let source = match kind.as_str() {
        "volume" => point.name.clone(),
        "bind" => point.source.as_deref().map(tidy),
        _ => None,
    };
    let mounted = Mounted {
        kind,
        source: source.unwrap_or_default(),
        writable: point.rw.unwrap_or(true),
    };
    Some((tidy(point.destination.as_ref()?), mounted))
}

/// A path without doubled or trailing slashes, as the engine keeps it.
fn tidy(path: &str) -> String {
    let parts: Vec<_> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    format!("/{}", parts.join("/"))
}
