//! Which tag runs, and how a tag reaches the images: by a variable of the Compose file, or by a template of ours.

use std::collections::{BTreeMap, BTreeSet};

use state::name::{ServiceName, Tag};

use super::database::is_postgres_image;
use super::files::{Files, ImageUse, split};
use super::found::{Question, Tags};

/// Images that many stacks have and that are no release of theirs, by the last part of their name; those of Postgres beside.
const NOT_OURS: &[&str] = &[
    "pgbouncer",
    "pgadmin4",
    "adminer",
    "redis",
    "redis-stack",
    "valkey",
    "memcached",
    "mysql",
    "mariadb",
    "mongo",
    "rabbitmq",
    "kafka",
    "zookeeper",
    "nats",
    "elasticsearch",
    "opensearch",
    "kibana",
    "minio",
    "nginx",
    "httpd",
    "caddy",
    "traefik",
    "haproxy",
    "envoy",
    "prometheus",
    "alertmanager",
    "grafana",
    "loki",
    "promtail",
    "tempo",
    "node-exporter",
    "cadvisor",
    "jaeger",
    "mailhog",
    "mailpit",
    "portainer-ce",
    "watchtower",
    "registry",
    "busybox",
    "alpine",
    "vault",
    "consul",
    "keycloak",
    "flyway",
];

/// Whether an image is somebody else's product.
pub(crate) fn is_not_ours(image: &str) -> bool {
    is_postgres_image(image) || NOT_OURS.contains(&last_part(image))
}

/// `nginx` of `registry.example/library/nginx:1.27`.
pub(crate) fn last_part(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let name = split(name).map_or(name, |(name, _)| name);
    name.rsplit('/').next().unwrap_or(name)
}

/// The image of a service, as it is written, or as what runs was made from.
pub(crate) fn image_of(files: &Files<'_>, service: &ServiceName) -> String {
    let written = files
        .spec
        .services
        .get(service)
        .and_then(|spec| spec.image.clone());
    let running = || files.project.container(service.as_str()).map(|c| c.image.clone());
    written.or_else(running).unwrap_or_default()
}

/// The choice.
pub(crate) fn tags(files: &Files<'_>, questions: &mut Vec<Question>) -> Tags {
    let vars = variables(files);
    let templates = templates(files, &vars);
    let follows = |service: &ServiceName, image: &ImageUse| match image {
        ImageUse::Variable { name, .. } => vars.contains(name),
        ImageUse::Built => true,
        ImageUse::Written(_) => templates.contains_key(service),
    };
    let follow = files
        .images
        .iter()
        .filter(|(service, image)| follows(service, image));
    let runs: BTreeMap<ServiceName, Option<Tag>> = follow
        .map(|(service, _)| (service.clone(), files.running_tag(service)))
        .collect();
    let tag = commonest(runs.values().flatten());
    tell(files, &vars, &runs, tag.as_ref(), questions);
    let tag = tag.unwrap_or_else(|| "as-it-is".parse().expect("a tag like any other"));
    let other = |(service, runs): (&ServiceName, &Option<Tag>)| {
        let other = runs.clone().filter(|runs| *runs != tag)?;
        Some((service.clone(), other))
    };
    Tags {
        pins: runs.iter().filter_map(other).collect(),
        follow: runs.keys().cloned().collect(),
        vars: in_order(vars),
        templates,
        tag,
    }
}

/// The variables in the tag's place of images that are releases of this stack.
fn variables(files: &Files<'_>) -> BTreeSet<String> {
    let carried = |(service, image): (&ServiceName, &ImageUse)| match image {
        ImageUse::Variable { name, .. } if !is_not_ours(&image_of(files, service)) => Some(name.clone()),
        _ => None,
    };
    files.images.iter().filter_map(carried).collect()
}

/// How a tag reaches images without a variable: those that are built, and, where no image has one, those of this stack.
fn templates(files: &Files<'_>, vars: &BTreeSet<String>) -> BTreeMap<ServiceName, String> {
    let template = |(service, image): (&ServiceName, &ImageUse)| {
        let template = match image {
            ImageUse::Built => built(files, service)?,
            ImageUse::Written(reference) if vars.is_empty() && !is_not_ours(reference) => {
                files.running_tag(service)?;
                format!("{}:{{tag}}", split(reference)?.0)
            }
            _ => return None,
        };
        Some((service.clone(), template))
    };
    files.images.iter().filter_map(template).collect()
}

/// `TAG` first, where it is among them.
fn in_order(vars: BTreeSet<String>) -> Vec<String> {
    let mut vars: Vec<String> = vars.into_iter().collect();
    vars.sort_by_key(|var| var != "TAG");
    vars
}

/// How a built image is called, where that is not as the agent would call it: the first Compose joined by `_`.
fn built(files: &Files<'_>, service: &ServiceName) -> Option<String> {
    let running = files.project.container(service.as_str())?;
    let (name, _) = split(&running.image)?;
    let expected = format!("{}-{service}", files.project.name);
    (name != expected).then(|| format!("{name}:{{tag}}"))
}

fn commonest<'t>(tags: impl Iterator<Item = &'t Tag>) -> Option<Tag> {
    let mut counted: BTreeMap<&Tag, usize> = BTreeMap::new();
    for tag in tags {
        *counted.entry(tag).or_default() += 1;
    }
    counted
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(tag, _)| tag.clone())
}

fn tell(
    files: &Files<'_>,
    vars: &BTreeSet<String>,
    runs: &BTreeMap<ServiceName, Option<Tag>>,
    tag: Option<&Tag>,
    questions: &mut Vec<Question>,
) {
    let name = &files.project.name;
    let mut ask = |what: String, way_out: &str| questions.push(Question::of(name, what, way_out));
    for (service, _) in runs.iter().filter(|(_, tag)| tag.is_none()) {
        let what = match files.project.container(service.as_str()) {
            Some(container) => format!(
                "{} was made from {}, which says no tag",
                container.name, container.image
            ),
            None => format!("{service} has no container: which tag it had is not known"),
        };
        ask(
            what,
            "the stack's tag is taken for it; write another one below [NAME.services] of desired.toml",
        );
    }
    if runs.is_empty() {
        let what = String::from(
            "no image of this stack follows a tag: its tag says nothing, and a rollback changes files alone",
        );
        ask(
            what,
            "write image: …:${TAG} in the Compose file, or a template in [stack.NAME.images]",
        );
    } else if tag.is_some_and(|tag| tag.as_str() == "latest") {
        let what = String::from("what runs is called `latest`, which is another image tomorrow");
        ask(
            what,
            "it is known by its image ID, and can be gone back to; give the next release a tag of its own",
        );
    }
    if vars.len() > 1 {
        let all: Vec<&str> = vars.iter().map(String::as_str).collect();
        let what = format!("several variables carry tags: {}", all.join(", "));
        ask(
            what,
            "one tag sets them all; services that had another one are pinned in desired.toml. Take out of tag_vars what is no release of yours",
        );
    }
    let builds = |service: &&ServiceName| {
        files
            .spec
            .services
            .get(*service)
            .is_some_and(|s| s.build.is_some())
    };
    let built: Vec<&str> = files
        .images
        .keys()
        .filter(builds)
        .map(ServiceName::as_str)
        .collect();
    if !built.is_empty() {
        let what = format!(
            "{} built on this host: a new tag needs an image that is there, or a repository to build it from",
            are(&built)
        );
        ask(what, "write [stack.NAME.source], or build and tag before you pin");
    }
}

/// `api is`, `api and web are`.
pub(crate) fn are(names: &[&str]) -> String {
    match names {
        [one] => format!("{one} is"),
        [most @ .., last] => format!("{} and {last} are", most.join(", ")),
        [] => String::new(),
    }
}
