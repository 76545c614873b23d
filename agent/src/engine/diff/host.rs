//! `HostConfig`, but for mounts and networks.

use std::collections::BTreeSet;

use bollard::models::{HostConfig, PortMap};
use serde_json::{Map, Value};

use super::{Found, Pair, bare};
use crate::engine::api::Api;
use crate::engine::docker::restart;

/// Compared elsewhere, or of no consequence.
const ELSEWHERE: [&str; 11] = [
    "Binds",
    "Mounts",
    "NetworkMode",
    "PortBindings",
    "LogConfig",
    "Links",
    "ContainerIDFile",
    "RestartPolicy",
    "ConsoleSize",
    "AutoRemove",
    "VolumeDriver",
];
/// Filled in by the engine, or by its configuration, where nothing was asked for.
const FILLED: [&str; 11] = [
    "IpcMode",
    "CgroupnsMode",
    "Runtime",
    "ShmSize",
    "Isolation",
    "MaskedPaths",
    "ReadonlyPaths",
    "MemorySwap",
    "MemorySwappiness",
    "OomKillDisable",
    "Ulimits",
];
/// Whose order means nothing.
const SETS: [&str; 8] = [
    "CapAdd",
    "CapDrop",
    "SecurityOpt",
    "ExtraHosts",
    "GroupAdd",
    "Ulimits",
    "Devices",
    "DeviceCgroupRules",
];

pub(super) fn compare(pair: &Pair<'_>, found: &mut Found) {
    let none = HostConfig::default();
    let wanted = pair.rendered.body.host_config.as_ref().unwrap_or(&none);
    let seen = pair.seen.host_config.as_ref().unwrap_or(&none);
    let restarts = restart(seen.restart_policy.clone());
    if restarts != pair.new.restart {
        found.note(
            "HostConfig.RestartPolicy",
            format!("it is {restarts:?} and should be {:?}", pair.new.restart),
        );
    }
    found.sets(
        "HostConfig.PortBindings",
        &ports(wanted.port_bindings.as_ref()),
        &ports(seen.port_bindings.as_ref()),
    );
    logging(wanted, seen, found);
    let (wanted, seen) = (fields(wanted), fields(seen));
    let keys: BTreeSet<&String> = wanted.keys().chain(seen.keys()).collect();
    for key in keys {
        if ELSEWHERE.contains(&key.as_str()) {
            continue;
        }
        let (wants, has) = (wanted.get(key), seen.get(key));
        let filled = wants.is_none() && FILLED.contains(&key.as_str());
        let unknown = key == "Annotations" && pair.api < Api::ANNOTATIONS;
        if wants != has && !filled && !unknown {
            found.note(&format!("HostConfig.{key}"), detail(wants, has));
        }
    }
}

/// Numbers and switches are shown; texts can come from the environment.
fn detail(wanted: Option<&Value>, seen: Option<&Value>) -> String {
    let show = |value: Option<&Value>| match value {
        None => Some("not set".to_owned()),
        Some(number @ (Value::Number(_) | Value::Bool(_))) => Some(number.to_string()),
        Some(_) => None,
    };
    match (show(wanted), show(seen)) {
        (Some(wanted), Some(seen)) => format!("it is {seen} and should be {wanted}"),
        (Some(_), None) => "it is set and should not be".to_owned(),
        (None, Some(_)) => "it is not set as it should be".to_owned(),
        (None, None) => "it differs".to_owned(),
    }
}

fn fields(host: &HostConfig) -> Map<String, Value> {
    // Options of a memory file system without any are an empty text, and mean something.
    let tmpfs = host.tmpfs.clone().unwrap_or_default();
    let value = serde_json::to_value(host).unwrap_or_default();
    let Value::Object(mut fields) = bare(value) else {
        return Map::new();
    };
    if !tmpfs.is_empty() {
        let entries = tmpfs
            .into_iter()
            .map(|(path, options)| (path, Value::String(options)));
        fields.insert("Tmpfs".to_owned(), Value::Object(entries.collect()));
    }
    for key in SETS {
        if let Some(Value::Array(items)) = fields.get_mut(key) {
            for item in items.iter_mut() {
                normalize(key, item);
            }
            items.retain(|item| item != "label=disable");
            items.sort_by_key(ToString::to_string);
        }
    }
    fields.retain(|_, value| *value != Value::Array(Vec::new()));
    Value::Object(fields).as_object().cloned().unwrap_or_default()
}

fn normalize(key: &str, item: &mut Value) {
    if let Value::String(text) = item {
        if key.starts_with("Cap") {
            text.make_ascii_uppercase();
            *text = text.replacen("CAP_", "", usize::from(text.starts_with("CAP_")));
        } else if key == "SecurityOpt" {
            *text = text.replacen(':', "=", usize::from(!text.contains('=')));
            if text == "no-new-privileges=true" {
                "no-new-privileges".clone_into(text);
            }
        }
    }
}

fn ports(bindings: Option<&PortMap>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (port, hosts) in bindings.into_iter().flatten() {
        for host in hosts.iter().flatten() {
            let address = host
                .host_ip
                .as_deref()
                .filter(|ip| !ip.is_empty() && *ip != "0.0.0.0")
                .unwrap_or("*");
            let number = host
                .host_port
                .as_deref()
                .filter(|port| !port.is_empty() && *port != "0")
                .unwrap_or("any");
            all.insert(format!("{address}:{number} to {port}"));
        }
    }
    all
}

/// The daemon's defaults come in where nothing was asked for: only what was asked for is compared.
fn logging(wanted: &HostConfig, seen: &HostConfig, found: &mut Found) {
    let Some(wanted) = &wanted.log_config else { return };
    let seen = seen.log_config.clone().unwrap_or_default();
    if let Some(driver) = wanted.typ.as_ref().filter(|driver| !driver.is_empty()) {
        found.plain("HostConfig.LogConfig.Type", driver, &seen.typ.unwrap_or_default());
    }
    let options = seen.config.unwrap_or_default();
    let mut differ: Vec<_> = wanted
        .config
        .iter()
        .flatten()
        .filter(|(key, value)| options.get(*key) != Some(*value))
        .map(|(key, _)| key.as_str())
        .collect();
    differ.sort_unstable();
    if !differ.is_empty() {
        found.note(
            "HostConfig.LogConfig.Config",
            format!("these keys differ: {}", differ.join(", ")),
        );
    }
}
