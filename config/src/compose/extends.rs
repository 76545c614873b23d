//! `extends`: a service laid over another one, of this file or of another, over as many steps as it takes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::context::Context;
use super::files;
use super::merge;
use super::node::{Map, Mark, Node, Value};

/// How long a chain may be.
const MAX_STEPS: usize = 64;

/// Files that were read for the sake of `extends`: their services, by path.
pub(crate) type Extended = BTreeMap<PathBuf, Map>;

/// Lays every service that says `extends` over the one it names.
pub(crate) fn apply(cx: &Context<'_>, root: &mut Node, extended: &mut Extended) {
    let Some(services) = root.map_mut().and_then(|map| map.get_mut("services")) else {
        return;
    };
    let Some(services) = services.node.map_mut() else {
        return;
    };
    let names: Vec<String> = services.keys().cloned().collect();
    for name in names {
        let mut steps = Vec::new();
        if let Some(resolved) = resolve(cx, None, &name, services, extended, &mut steps)
            && let Some(entry) = services.get_mut(&name)
        {
            entry.node = resolved;
        }
    }
}

/// The step of a chain: which file (none is the one being read) and which service.
type Step = (Option<PathBuf>, String);

/// The service `name` of `services` with its `extends` resolved. `None`: it could not be, and why was said.
fn resolve(
    cx: &Context<'_>,
    file: Option<&PathBuf>,
    name: &str,
    services: &Map,
    extended: &mut Extended,
    steps: &mut Vec<Step>,
) -> Option<Node> {
    let mut service = services.get(name)?.node.clone();
    let Some(extends) = service.map_mut().and_then(|map| map.remove("extends")) else {
        return Some(service);
    };
    let path = format!("services.{name}.extends");
    let reference = Reference::read(cx, &extends.node, &path)?;
    let step = (file.cloned(), name.to_owned());
    if steps.len() > MAX_STEPS || steps.contains(&step) {
        let chain: Vec<&str> = steps
            .iter()
            .map(|(_, name)| name.as_str())
            .chain([name])
            .collect();
        cx.error(
            extends.mark,
            &path,
            format!("these services extend each other: {}", chain.join(" → ")),
        );
        return None;
    }
    let loaded = match &reference.file {
        None => None,
        Some(other) => Some(load(cx, other, reference.mark, &path, extended)?),
    };
    let base_services = loaded.as_ref().unwrap_or(services);
    if !base_services.contains_key(&reference.service) {
        let message = format!("there is no service {:?} to extend", reference.service);
        let known = base_services.keys().map(String::as_str);
        match crate::error::did_you_mean(&reference.service, known) {
            Some(hint) => cx.error_hint(reference.mark, &path, message, hint),
            None => cx.error(reference.mark, &path, message),
        }
        return None;
    }
    steps.push(step);
    let base_file = reference.file.as_ref().or(file);
    let base = resolve(cx, base_file, &reference.service, base_services, extended, steps);
    steps.pop();
    let base = base?;
    if !matches!(base.value, Value::Map(_)) {
        return Some(service);
    }
    Some(merge::merge(cx, base, service, &["services", name]))
}

/// The services of another file.
fn load(cx: &Context<'_>, file: &PathBuf, mark: Mark, path: &str, extended: &mut Extended) -> Option<Map> {
    if !extended.contains_key(file) {
        let base = file.parent().map(PathBuf::from).unwrap_or_default();
        let root = files::read_yaml(cx, file, base, Some((mark, path)))?;
        let services = match root.get("services").map(|node| node.value.clone()) {
            Some(Value::Map(services)) => services,
            _ => Map::new(),
        };
        extended.insert(file.clone(), services);
    }
    extended.get(file).cloned()
}

struct Reference {
    service: String,
    file: Option<PathBuf>,
    mark: Mark,
}

impl Reference {
    fn read(cx: &Context<'_>, node: &Node, path: &str) -> Option<Self> {
        let at = super::fields::At {
            cx,
            node,
            path: path.to_owned(),
            key_mark: None,
        };
        if let Some(service) = node.str() {
            return Some(Self {
                service: service.to_owned(),
                file: None,
                mark: node.mark,
            });
        }
        let fields = at.fields(&super::keys::EXTENDS);
        let service = fields.text("service");
        let file = fields
            .get("file")
            .and_then(|at| at.path())
            .map(|path| super::context::clean(&path));
        if service.is_none() && node.map().is_some() && !fields.has("service") {
            at.error("\"service\" is missing: which service is extended?");
        }
        fields.finish();
        Some(Self {
            service: service?,
            file,
            mark: node.mark,
        })
    }
}
