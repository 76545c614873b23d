//! From files to the whole project: variables, the merged tree, services by profile, and the checks
//! that need to see everything.

use std::collections::{BTreeMap, BTreeSet};

use state::name::ServiceName;
use state::stack_spec::{FileObject, Mount, NamedVolume, ServiceSpec, StackSpec};

use super::context::Context;
use super::fields::At;
use super::node::{Mark, Node, Value};
use super::service::{self, Shared};
use super::{ComposeInput, Loaded, Source, files, keys, mounts, template, toplevel};
use crate::env_file::{self, Env, Format};
use crate::error::{Place, Problem, Problems};
use crate::read::ReadError;

/// Loads `input`. See [`super::load`].
pub(crate) fn load(source: &dyn Source, input: &ComposeInput) -> Result<Loaded, Problems> {
    let mut cx = Context::new(source);
    cx.variables = variables(&cx, input);
    let mut mentioned = Mentioned::default();
    let mut spec = None;
    if input.files.is_empty() {
        cx.push(Problem::error(
            Place::file(&input.project_dir),
            "",
            "no Compose file is named",
        ));
    } else if let Some(mut root) = files::read_all(&cx, &input.files, &input.project_dir) {
        override_services(&cx, &mut root, &input.service_overrides);
        spec = Some(project(&cx, &root, input, &mut mentioned));
    }
    let failed = cx.has_errors();
    let files = cx.seen.borrow().iter().cloned().collect();
    let yaml = cx.files.borrow().iter().map(|file| file.path.clone()).collect();
    let problems = Problems(cx.into_problems());
    match spec {
        Some(spec) if !failed => Ok(Loaded {
            spec,
            warnings: problems,
            files,
            yaml,
            interpolated: mentioned.images,
            interpolated_checks: mentioned.checks,
        }),
        _ => Err(problems),
    }
}

/// The variables: env files, above them the environment, above it the overrides.
fn variables(cx: &Context<'_>, input: &ComposeInput) -> BTreeMap<String, String> {
    let mut outside = input.environment.clone();
    outside.insert("COMPOSE_PROJECT_NAME".to_owned(), input.project.to_string());
    outside.extend(input.overrides.clone());
    let default = [input.project_dir.join(".env")];
    let (paths, optional) = match input.env_files.as_slice() {
        [] => (default.as_slice(), true),
        paths => (paths, false),
    };
    let mut env = Env::new();
    let mut problems = Vec::new();
    for path in paths {
        match files::read(cx, path) {
            Ok(text) => {
                let lookup = |name: &str| outside.get(name).cloned();
                env_file::parse(path, &text, Format::Dotenv, &lookup, &mut env, &mut problems);
            }
            Err(ReadError::Absent { .. }) if optional => {}
            Err(error) => problems.push(Problem::error(
                Place::file(path),
                "",
                crate::error::with_sources(&error),
            )),
        }
    }
    for problem in problems {
        cx.push(problem);
    }
    env.extend(outside);
    env
}

/// Puts the variables of single services into their `image` and `build`.
fn override_services(
    cx: &Context<'_>,
    root: &mut Node,
    overrides: &BTreeMap<ServiceName, BTreeMap<String, String>>,
) {
    let Some(services) = root.map_mut().and_then(|map| map.get_mut("services")) else {
        return;
    };
    let Some(services) = services.node.map_mut() else {
        return;
    };
    for (name, variables) in overrides {
        let Some(service) = services
            .get_mut(name.as_str())
            .and_then(|entry| entry.node.map_mut())
        else {
            continue;
        };
        for key in ["image", "build"] {
            if let Some(entry) = service.get_mut(key) {
                cx.reinterpolate(&mut entry.node, &format!("services.{name}.{key}"), variables);
            }
        }
    }
}

/// Where services mention variables.
#[derive(Default)]
struct Mentioned {
    /// Which ones, in the `image`.
    images: BTreeMap<ServiceName, BTreeSet<String>>,
    /// Whether any, in the `healthcheck`.
    checks: BTreeSet<ServiceName>,
}

/// Where each service is, and its node.
type Services<'a> = BTreeMap<ServiceName, (Mark, At<'a>)>;

fn project(cx: &Context<'_>, root: &Node, input: &ComposeInput, mentioned: &mut Mentioned) -> StackSpec {
    let fields = At {
        cx,
        node: root,
        path: String::new(),
        key_mark: None,
    }
    .fields(&keys::TOP);
    if let Some(at) = fields.get("name") {
        check_name(&at, input);
    }
    let objects = |key, secret| {
        let at = fields.get(key);
        at.map(|at| toplevel::objects(&at, &input.project, secret))
            .unwrap_or_default()
    };
    let shared = Shared {
        configs: objects("configs", false),
        secrets: objects("secrets", true),
    };
    let mut spec = StackSpec::new(input.project.clone());
    for (key, _, at) in fields.get("networks").map(|at| at.entries()).unwrap_or_default() {
        spec.networks
            .insert(key.to_owned(), toplevel::network(&at, &input.project, key));
    }
    for (key, _, at) in fields.get("volumes").map(|at| at.entries()).unwrap_or_default() {
        spec.volumes
            .insert(key.to_owned(), toplevel::volume(&at, &input.project, key));
    }
    let services = fields.get("services").map(|at| named(&at)).unwrap_or_default();
    if !fields.has("services") {
        cx.error(fields.mark, "services", "there are no services");
    }
    fields.finish();
    let read: BTreeMap<&ServiceName, ServiceSpec> = services
        .iter()
        .map(|(name, (_, at))| (name, service::service(at, &shared)))
        .collect();
    for (name, service) in read {
        let active = service.profiles.is_empty()
            || input
                .profiles
                .iter()
                .any(|profile| profile == "*" || service.profiles.contains(profile));
        if active {
            let node = services.get(name).map(|(_, at)| at.node);
            let image = node.and_then(|node| node.get("image"));
            let raw = image
                .and_then(Node::scalar)
                .and_then(|scalar| scalar.raw.as_deref());
            let names = raw.map(template::names).unwrap_or_default();
            mentioned.images.insert(name.clone(), names);
            let test = node.and_then(|node| node.get("healthcheck")?.get("test"));
            if test.is_some_and(mentions) {
                mentioned.checks.insert(name.clone());
            }
            spec.services.insert(name.clone(), service);
        }
    }
    references(cx, &services, &mut spec);
    keep_used(&mut spec, shared);
    cycles(cx, &services, &spec);
    spec
}

/// Whether a word, or one of a list of them, mentions a variable.
fn mentions(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => {
            let raw = scalar.raw.as_deref();
            raw.is_some_and(|raw| !template::names(raw).is_empty())
        }
        Value::Seq(words) => words.iter().any(mentions),
        Value::Null | Value::Map(_) => false,
    }
}

fn check_name(at: &At<'_>, input: &ComposeInput) {
    let Some(name) = at.text() else { return };
    if name != input.project.as_str() {
        let message = format!(
            "the file names the project {name:?}, but it is managed as {:?}",
            input.project.as_str()
        );
        at.cx.push(
            Problem::warning(at.cx.place(at.node.mark), "name", message)
                .hint("as with `docker compose -p`, the latter holds"),
        );
    }
}

/// The services with valid names.
fn named<'a>(at: &At<'a>) -> Services<'a> {
    let mut services = BTreeMap::new();
    for (name, mark, at) in at.entries() {
        if !matches!(at.node.value, Value::Map(_)) {
            at.cx.error(
                mark,
                &at.path,
                format!("a service is a mapping, not {}", at.node.describe()),
            );
            continue;
        }
        match name.parse::<ServiceName>() {
            Ok(name) => {
                services.insert(name, (mark, at));
            }
            Err(error) => at.cx.error(mark, &at.path, error.to_string()),
        }
    }
    services
}

/// Complains about every name that leads nowhere. Puts in what is implied.
fn references(cx: &Context<'_>, services: &Services<'_>, spec: &mut StackSpec) {
    let active: BTreeSet<ServiceName> = spec.services.keys().cloned().collect();
    let uses_default = |service: &ServiceSpec| service.networks().is_some_and(|n| n.contains_key("default"));
    if spec.services.values().any(uses_default) && !spec.networks.contains_key("default") {
        let name = format!("{}_default", spec.project);
        spec.networks.insert(
            "default".to_owned(),
            state::stack_spec::NetworkSpec {
                name,
                ..Default::default()
            },
        );
    }
    let (networks, volumes) = (&spec.networks, &spec.volumes);
    for (name, service) in &mut spec.services {
        let Some((_, at)) = services.get(name) else {
            continue;
        };
        let place = |key: &str, name: &str| At {
            cx,
            node: at.node.get(key).unwrap_or(at.node),
            path: format!("{}.{key}", at.path),
            key_mark: at.node.get(key).and_then(|node| spot(node, name)).or(at.key_mark),
        };
        for key in service.networks().into_iter().flat_map(BTreeMap::keys) {
            if !networks.contains_key(key) {
                let known = networks.keys().map(String::as_str);
                mounts::undefined(&place("networks", key), "network", key, known);
            }
        }
        for mount in &service.volumes {
            let Mount::Volume(NamedVolume { volume, .. }) = mount else {
                continue;
            };
            if !volumes.contains_key(volume) {
                let known = volumes.keys().map(String::as_str);
                mounts::undefined(&place("volumes", volume), "volume", volume, known);
            }
        }
        service.depends_on.retain(|dependency, how| {
            let (name, exists) = (dependency.as_str(), services.contains_key(dependency));
            let found = active.contains(dependency);
            if !found && how.required {
                let at = place("depends_on", name);
                let known = services.keys().map(ServiceName::as_str);
                match crate::error::did_you_mean(name, known).filter(|_| !exists) {
                    _ if exists => at.error(format!(
                        "the service {name:?} is needed, but its profile is not active"
                    )),
                    Some(hint) => at.error_hint(format!("there is no service {name:?}"), hint),
                    None => at.error(format!("there is no service {name:?}")),
                }
            }
            found
        });
    }
}

/// Where `name` is among the keys or items of `node`.
fn spot(node: &Node, name: &str) -> Option<Mark> {
    let is_it = |item: &Node| match item.str() {
        Some(text) => text.split(':').next() == Some(name),
        None => item.get("source").and_then(Node::str) == Some(name),
    };
    match &node.value {
        Value::Map(map) => map.get(name).map(|entry| entry.mark),
        Value::Seq(items) => items.iter().find(|item| is_it(item)).map(|item| item.mark),
        _ => None,
    }
}

/// Networks, volumes, configs and secrets that no active service uses are not made.
fn keep_used(spec: &mut StackSpec, shared: Shared) {
    let (mut networks, mut volumes) = (BTreeSet::new(), BTreeSet::new());
    let (mut configs, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for service in spec.services.values() {
        networks.extend(service.networks().into_iter().flat_map(BTreeMap::keys).cloned());
        volumes.extend(service.volumes.iter().filter_map(|mount| match mount {
            Mount::Volume(volume) => Some(volume.volume.clone()),
            _ => None,
        }));
        configs.extend(service.configs.iter().map(|grant| grant.key.clone()));
        let build = service.build.iter().flat_map(|build| &build.secrets);
        secrets.extend(service.secrets.iter().chain(build).map(|grant| grant.key.clone()));
    }
    let used = |all: BTreeMap<String, Option<FileObject>>, used: &BTreeSet<String>| {
        all.into_iter()
            .filter(|(key, _)| used.contains(key))
            .filter_map(|(key, object)| Some((key, object?)))
            .collect()
    };
    spec.networks.retain(|key, _| networks.contains(key));
    spec.volumes.retain(|key, _| volumes.contains(key));
    spec.configs = used(shared.configs, &configs);
    spec.secrets = used(shared.secrets, &secrets);
}

fn cycles(cx: &Context<'_>, services: &Services<'_>, spec: &StackSpec) {
    let Err(cycle) = spec.start_order() else { return };
    if let Some((mark, at)) = cycle.0.first().and_then(|name| services.get(name)) {
        cx.error(*mark, &format!("{}.depends_on", at.path), cycle.to_string());
    }
}
