//! What differs between a container and what its service asks for. Pure. What the engine or the image
//! fills in by itself is no difference; what Compose of either dialect writes another way is none either.
//! Details name keys, numbers and places, never a value that could come from the environment.

mod host;
mod mounts;
mod networks;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{ContainerConfig, ContainerInspectResponse, HealthConfig, ImageConfig, ImageInspect};
use serde_json::Value;

use super::api::Api;
use super::render::Rendered;
use super::{Difference, NewContainer, labels};

/// Compose 1.29 gives this variable to a container that takes over anonymous volumes, for a scheduler
/// of long ago.
const COMPOSE_1_AFFINITY: &str = "affinity:container";

/// What is compared: what is wanted, and what is seen.
struct Pair<'a> {
    new: &'a NewContainer<'a>,
    rendered: &'a Rendered,
    image: &'a ImageConfig,
    seen: &'a ContainerInspectResponse,
    api: Api,
}

/// The differences found so far.
#[derive(Default)]
struct Found(Vec<Difference>);

impl Found {
    fn note(&mut self, field: &str, detail: impl Into<String>) {
        self.0.push(Difference {
            field: field.to_owned(),
            detail: detail.into(),
        });
    }

    /// Two values that may hold secrets: only that they differ is told.
    fn secret<T: PartialEq>(&mut self, field: &str, wanted: &T, seen: &T) {
        if wanted != seen {
            self.note(field, "it differs");
        }
    }

    /// Two values that may be shown.
    fn plain<T: PartialEq + std::fmt::Display>(&mut self, field: &str, wanted: &T, seen: &T) {
        if wanted != seen {
            self.note(field, format!("it is \"{seen}\" and should be \"{wanted}\""));
        }
    }

    /// Two sets of things that may be shown.
    fn sets(&mut self, field: &str, wanted: &BTreeSet<String>, seen: &BTreeSet<String>) {
        let list = |set: Vec<&String>| set.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let missing: Vec<_> = wanted.difference(seen).collect();
        let surplus: Vec<_> = seen.difference(wanted).collect();
        let mut parts = Vec::new();
        if !missing.is_empty() {
            parts.push(format!("missing: {}", list(missing)));
        }
        if !surplus.is_empty() {
            parts.push(format!("not asked for: {}", list(surplus)));
        }
        if !parts.is_empty() {
            self.note(field, parts.join("; "));
        }
    }

    /// Two maps whose values may hold secrets: only keys are told.
    fn keyed<V: PartialEq>(&mut self, field: &str, wanted: &BTreeMap<String, V>, seen: &BTreeMap<String, V>) {
        let keys: BTreeSet<_> = wanted.keys().chain(seen.keys()).collect();
        let differ: Vec<_> = keys
            .into_iter()
            .filter(|key| wanted.get(*key) != seen.get(*key))
            .map(String::as_str)
            .collect();
        if !differ.is_empty() {
            self.note(field, format!("these keys differ: {}", differ.join(", ")));
        }
    }
}

/// Everything that differs; the image first.
pub(crate) fn differences(
    new: &NewContainer<'_>,
    rendered: &Rendered,
    image: &ImageInspect,
    seen: &ContainerInspectResponse,
    api: Api,
) -> Vec<Difference> {
    let mut found = Found::default();
    let is = seen.image.clone().unwrap_or_default();
    found.plain("Image", &new.image.to_string(), &is);
    let (no_image, no_config) = (ImageConfig::default(), ContainerConfig::default());
    let image = image.config.as_ref().unwrap_or(&no_image);
    let pair = Pair {
        new,
        rendered,
        image,
        seen,
        api,
    };
    config(&pair, seen.config.as_ref().unwrap_or(&no_config), &mut found);
    host::compare(&pair, &mut found);
    mounts::compare(&pair, &mut found);
    networks::compare(&pair, &mut found);
    found.0
}

fn config(pair: &Pair<'_>, seen: &ContainerConfig, found: &mut Found) {
    let (wanted, image) = (&pair.rendered.body, pair.image);
    if let Some(hostname) = &wanted.hostname {
        found.plain("Config.Hostname", hostname, &text(seen.hostname.as_ref()));
    }
    found.plain(
        "Config.Domainname",
        &text(wanted.domainname.as_ref()),
        &text(seen.domainname.as_ref()),
    );
    found.plain(
        "Config.User",
        &or(wanted.user.as_ref(), image.user.as_ref()),
        &text(seen.user.as_ref()),
    );
    let directory = |path: String| if path == "/" { String::new() } else { path };
    found.plain(
        "Config.WorkingDir",
        &directory(or(wanted.working_dir.as_ref(), image.working_dir.as_ref())),
        &directory(text(seen.working_dir.as_ref())),
    );
    found.plain(
        "Config.Tty",
        &wanted.tty.unwrap_or(false),
        &seen.tty.unwrap_or(false),
    );
    found.plain(
        "Config.OpenStdin",
        &wanted.open_stdin.unwrap_or(false),
        &seen.open_stdin.unwrap_or(false),
    );
    let signal = |text: String| {
        let bare = text.trim_start_matches("SIG").to_owned();
        if bare.is_empty() || bare == "15" {
            "TERM".to_owned()
        } else {
            bare
        }
    };
    found.plain(
        "Config.StopSignal",
        &signal(or(wanted.stop_signal.as_ref(), image.stop_signal.as_ref())),
        &signal(text(seen.stop_signal.as_ref())),
    );
    // The engine's own default is ten seconds.
    found.plain(
        "Config.StopTimeout",
        &wanted.stop_timeout.unwrap_or(10),
        &seen.stop_timeout.unwrap_or(10),
    );
    commands(pair, seen, found);
    let env = variables(wanted.env.as_ref(), image.env.as_ref());
    let mut seen_env = variables(seen.env.as_ref(), None);
    if !env.contains_key(COMPOSE_1_AFFINITY) {
        seen_env.remove(COMPOSE_1_AFFINITY);
    }
    found.keyed("Config.Env", &env, &seen_env);
    found.secret(
        "Config.Healthcheck",
        &healthcheck(wanted.healthcheck.as_ref(), image.healthcheck.as_ref()),
        &healthcheck(seen.healthcheck.as_ref(), None),
    );
    found.keyed(
        "Config.Labels",
        &own_labels(pair.new.spec.labels.iter(), image.labels.as_ref()),
        &own_labels(seen.labels.iter().flatten(), None),
    );
    found.sets(
        "Config.ExposedPorts",
        &declared([wanted.exposed_ports.as_ref(), image.exposed_ports.as_ref()]),
        &declared([seen.exposed_ports.as_ref(), None]),
    );
}

/// Declared ports, one each: ranges and missing protocols are written in more ways than one.
fn declared(lists: [Option<&Vec<String>>; 2]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for text in lists.into_iter().flatten().flatten() {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) => all.extend((first..=last).map(|port| format!("{port}/{protocol}"))),
            _ => all.extend([text.clone()]),
        }
    }
    all
}

/// The engine takes the image's command only where neither command nor entrypoint were given.
fn commands(pair: &Pair<'_>, seen: &ContainerConfig, found: &mut Found) {
    let (wanted, image) = (&pair.rendered.body, pair.image);
    let filled = |words: &Option<Vec<String>>| words.clone().filter(|words| !words.is_empty());
    let own_entrypoint = filled(&wanted.entrypoint);
    let mut command = filled(&wanted.cmd);
    if command.is_none() && own_entrypoint.is_none() {
        command = filled(&image.cmd);
    }
    let entrypoint = if wanted.entrypoint.is_some() {
        own_entrypoint
    } else {
        filled(&image.entrypoint)
    };
    // Some clients send `[""]` to clear an entrypoint.
    let cleared =
        |words: Option<Vec<String>>| words.filter(|words| words.iter().any(|word| !word.is_empty()));
    found.secret("Config.Cmd", &command, &filled(&seen.cmd));
    found.secret(
        "Config.Entrypoint",
        &cleared(entrypoint),
        &cleared(filled(&seen.entrypoint)),
    );
}

fn variables(own: Option<&Vec<String>>, image: Option<&Vec<String>>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for line in image.into_iter().flatten().chain(own.into_iter().flatten()) {
        match line.split_once('=') {
            Some((name, value)) => all.insert(name.to_owned(), value.to_owned()),
            None => all.remove(line),
        };
    }
    all
}

/// Field by field: what the service leaves out is the image's.
fn healthcheck(own: Option<&HealthConfig>, image: Option<&HealthConfig>) -> HealthConfig {
    let none = HealthConfig::default();
    let (own, image) = (own.unwrap_or(&none), image.unwrap_or(&none));
    let number = |a: Option<i64>, b: Option<i64>| a.filter(|n| *n != 0).or(b.filter(|n| *n != 0));
    let test = own
        .test
        .clone()
        .filter(|t| !t.is_empty())
        .or(image.test.clone().filter(|t| !t.is_empty()));
    if test.as_deref().is_some_and(|test| test == ["NONE"]) {
        return HealthConfig {
            test,
            ..HealthConfig::default()
        };
    }
    HealthConfig {
        test,
        interval: number(own.interval, image.interval),
        timeout: number(own.timeout, image.timeout),
        retries: number(own.retries, image.retries),
        start_period: number(own.start_period, image.start_period),
        start_interval: number(own.start_interval, image.start_interval),
    }
}

/// Labels without Compose's and ours: those say who made the container, not what it is.
fn own_labels<'a>(
    own: impl Iterator<Item = (&'a String, &'a String)>,
    image: Option<&'a HashMap<String, String>>,
) -> BTreeMap<String, String> {
    let all = image.into_iter().flatten().chain(own);
    all.filter(|(key, _)| !key.starts_with(labels::COMPOSE_PREFIX) && !key.starts_with(labels::OUR_PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn text(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
}

fn or(first: Option<&String>, second: Option<&String>) -> String {
    text(first.filter(|text| !text.is_empty()).or(second))
}

/// A value without all that means "not set": null, empty, zero, false.
fn bare(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept: serde_json::Map<_, _> = fields
                .into_iter()
                .map(|(key, value)| (key, bare(value)))
                .filter(|(_, value)| !value.is_null())
                .collect();
            if kept.is_empty() {
                Value::Null
            } else {
                Value::Object(kept)
            }
        }
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Array(items) => Value::Array(items.into_iter().map(bare).collect()),
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Bool(false) => Value::Null,
        Value::Number(number) if number.as_f64() == Some(0.0) => Value::Null,
        other => other,
    }
}
