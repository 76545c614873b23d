//! Two ways of writing one thing become one: defaults written out or left out, lists whose order has no
//! meaning, short forms. Applied to both sides. What has a meaning of its own must stay different.

use serde_json::{Map, Value, json};

/// Maps whose keys and values are the operator's: nothing in them is a default.
const FREE_MAPS: &[&str] = &[
    "environment",
    "labels",
    "annotations",
    "args",
    "driver_opts",
    "options",
    "sysctls",
    "storage_opt",
    "aux_addresses",
    "additional_contexts",
];

/// Switches that are not off when they are absent.
const EXPLICIT: &[&str] = &["attach", "enable_ipv4", "enable_ipv6", "init"];

/// Lists whose order has no meaning to the engine.
const SETS: &[&str] = &[
    "aliases",
    "cap_add",
    "cap_drop",
    "configs",
    "expose",
    "extra_hosts",
    "group_add",
    "ports",
    "profiles",
    "secrets",
    "volumes",
];

/// Maps by name: an entry that says nothing is an entry.
const NAMED: &[&str] = &[
    "services",
    "networks",
    "volumes",
    "configs",
    "secrets",
    "depends_on",
];

/// The whole model.
pub(crate) fn model(value: &mut Value) {
    if let Some(root) = value.as_object_mut() {
        root.retain(|key, _| !key.starts_with("x-"));
    }
    if let Some(services) = value.get_mut("services").and_then(Value::as_object_mut) {
        services.values_mut().for_each(service);
    }
    value.as_object_mut().into_iter().for_each(|root| prune("", root));
}

fn service(service: &mut Value) {
    let Some(service) = service.as_object_mut() else {
        return;
    };
    // An attachment that says nothing is an attachment.
    if let Some(networks) = service.get_mut("networks").and_then(Value::as_object_mut) {
        for attachment in networks.values_mut().filter(|a| a.is_null()) {
            *attachment = json!({});
        }
    }
    // A relative or absent target counts from where Compose puts such files.
    for (key, base) in [("configs", "/"), ("secrets", "/run/secrets/")] {
        for grant in service
            .get_mut(key)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let source = grant["source"].as_str().unwrap_or_default();
            let target = grant["target"].as_str().unwrap_or(source);
            if !target.starts_with('/') {
                grant["target"] = json!(format!("{base}{target}"));
            }
        }
    }
    // One number stands for both limits.
    both_limits(service);
    if let Some(build) = service.get_mut("build").and_then(Value::as_object_mut) {
        both_limits(build);
        for grant in build
            .get_mut("secrets")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if grant["target"].is_null() {
                grant["target"] = grant["source"].clone();
            }
        }
    }
    // The two ways to switch a check off.
    if let Some(check) = service.get_mut("healthcheck")
        && (check["disable"] == json!(true) || check["test"][0] == json!("NONE"))
    {
        *check = json!({"disable": true});
    }
    if let Some(expose) = service.get_mut("expose").and_then(Value::as_array_mut) {
        for port in expose {
            if let Some(short) = port.as_str().and_then(|p| p.strip_suffix("/tcp")) {
                *port = json!(short);
            }
        }
    }
    if service.get("pull_policy") == Some(&json!("if_not_present")) {
        service.insert("pull_policy".to_owned(), json!("missing"));
    }
    for mount in service
        .get_mut("volumes")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        // What Compose does with a bind of which nothing more is said: it creates the path.
        if mount["type"] == json!("bind") && mount["bind"].is_null() {
            mount["bind"] = json!({"create_host_path": true});
        }
    }
    for port in service
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        // Swarm's way of publishing; on one host both are the same, and Compose fills it in.
        if port["mode"] == json!("ingress") {
            port.as_object_mut().into_iter().for_each(|p| {
                p.remove("mode");
            });
        }
    }
}

fn both_limits(holder: &mut Map<String, Value>) {
    let ulimits = holder.get_mut("ulimits").and_then(Value::as_object_mut);
    for limit in ulimits.into_iter().flat_map(|u| u.values_mut()) {
        if limit.is_number() {
            *limit = json!({"soft": limit, "hard": limit});
        }
    }
}

/// Removes what says nothing: null, false, and empty lists and maps.
fn prune(name: &str, object: &mut Map<String, Value>) {
    for (key, value) in object.iter_mut() {
        if FREE_MAPS.contains(&key.as_str()) {
            continue;
        }
        match value {
            Value::Object(inner) => prune(key, inner),
            Value::Array(list) => {
                list.iter_mut()
                    .filter_map(Value::as_object_mut)
                    .for_each(|entry| prune("", entry));
                if SETS.contains(&key.as_str()) {
                    list.iter_mut().for_each(Value::sort_all_objects);
                    list.sort_by_key(Value::to_string);
                }
            }
            // JSON has one kind of number: 1.0 is 1.
            Value::Number(number) => {
                if let Some(float) = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 1e15) {
                    *value = json!(format!("{float:.0}").parse::<i64>().unwrap_or_default());
                }
            }
            _ => {}
        }
    }
    let keep_empty = NAMED.contains(&name);
    object.retain(|key, value| match value {
        Value::Null => false,
        Value::Bool(false) => EXPLICIT.contains(&key.as_str()),
        // `command: []` takes the image's away.
        Value::Array(list) => !list.is_empty() || key == "command" || key == "entrypoint",
        Value::Object(inner) => !inner.is_empty() || keep_empty,
        _ => true,
    });
}
