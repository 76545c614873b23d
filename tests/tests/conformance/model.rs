//! Our resolved stack in the shape of Compose's `config --format json`. Nothing is compared here, and
//! nothing is left out: a field of ours that Compose does not have stays, and shows as a difference.

use serde_json::{Map, Value, json};
use state::stack_spec::StackSpec;

type Object = Map<String, Value>;

/// `stack` as Compose would print it, with every `$` doubled as Compose does.
pub(crate) fn as_compose_prints(stack: &StackSpec) -> Value {
    let mut value = serde_json::to_value(stack).expect("a stack is plain data");
    rename(as_object(&mut value), "project", "name");
    for service in children(&mut value["services"]) {
        reshape_service(as_object(service));
    }
    for key in ["configs", "secrets"] {
        for object in children(&mut value[key]) {
            reshape_file_object(as_object(object));
        }
    }
    double_dollars(&mut value);
    value
}

fn reshape_service(service: &mut Object) {
    reshape_networking(service);
    rename(service, "nano_cpus", "cpus");
    edit(service, "cpus", billionths);
    edit(service, "restart", |v| named_choice(v, "max"));
    edit(service, "pull_policy", |policy| match &policy["every"] {
        Value::Null => policy.clone(),
        nanos => json!(format!(
            "every_{}",
            text(&duration(nanos))
                .trim_end_matches("0s")
                .trim_end_matches("0m")
        )),
    });
    for key in ["pid", "ipc"] {
        edit(service, key, namespace);
    }
    edit(service, "stop_grace_period", duration);
    for key in [
        "mem_limit",
        "mem_reservation",
        "memswap_limit",
        "mem_swappiness",
        "shm_size",
    ] {
        edit(service, key, number_as_text);
    }
    edit(service, "extra_hosts", hosts);
    for key in ["ports", "volumes", "configs", "secrets"] {
        let reshape = match key {
            "ports" => port,
            "volumes" => mount,
            _ => grant,
        };
        service.get_mut(key).into_iter().flat_map(items).for_each(reshape);
    }
    service
        .get_mut("volumes_from")
        .into_iter()
        .flat_map(items)
        .for_each(volumes_from);
    for key in ["links", "external_links"] {
        service.get_mut(key).into_iter().flat_map(items).for_each(link);
    }
    for dependency in service.get_mut("depends_on").into_iter().flat_map(children) {
        edit(as_object(dependency), "condition", |v| {
            json!(format!("service_{}", text(v)))
        });
    }
    if let Some(check) = service.get_mut("healthcheck") {
        reshape_healthcheck(as_object(check));
    }
    if let Some(deploy) = service.get_mut("deploy") {
        reshape_deploy(as_object(deploy));
    }
    if let Some(blkio) = service.get_mut("blkio_config") {
        reshape_blkio(as_object(blkio));
    }
    if let Some(build) = service.get_mut("build") {
        reshape_build(as_object(build));
    }
}

fn reshape_networking(service: &mut Object) {
    match service.remove("networking") {
        Some(Value::Object(mut networking)) => {
            if let Some(networks) = networking.remove("networks") {
                service.insert("networks".to_owned(), networks);
            }
            if let Some(mode) = networking.remove("mode") {
                service.insert("network_mode".to_owned(), namespace(&mode));
            }
        }
        Some(other) => {
            service.insert("networking".to_owned(), other);
        }
        None => {}
    }
}

fn reshape_healthcheck(check: &mut Object) {
    for key in ["interval", "timeout", "start_period", "start_interval"] {
        edit(check, key, duration);
    }
    match check.remove("test") {
        Some(Value::String(word)) if word == "disabled" => {
            check.insert("disable".to_owned(), json!(true));
        }
        Some(Value::Object(test)) => {
            let (kind, run) = test.into_iter().next().expect("an enum has one variant");
            let mut words = match run {
                Value::Array(words) => words,
                line => vec![line],
            };
            words.insert(0, json!(if kind == "cmd" { "CMD" } else { "CMD-SHELL" }));
            check.insert("test".to_owned(), Value::Array(words));
        }
        Some(other) => {
            check.insert("test".to_owned(), other);
        }
        None => {}
    }
}

fn reshape_deploy(deploy: &mut Object) {
    let mut resources = Object::new();
    for key in ["limits", "reservations"] {
        if let Some(mut part) = deploy.remove(key) {
            let object = as_object(&mut part);
            rename(object, "nano_cpus", "cpus");
            edit(object, "cpus", billionths);
            edit(object, "memory", number_as_text);
            resources.insert(key.to_owned(), part);
        }
    }
    deploy.insert("resources".to_owned(), Value::Object(resources));
    for key in ["update_config", "rollback_config", "restart_policy"] {
        if let Some(part) = deploy.get_mut(key) {
            for time in ["delay", "monitor", "window"] {
                edit(as_object(part), time, duration);
            }
        }
    }
}

fn reshape_blkio(blkio: &mut Object) {
    for (key, list) in blkio.iter_mut().filter(|(_, v)| v.is_array()) {
        for entry in items(list) {
            let entry = as_object(entry);
            rename(entry, "path", "Path");
            rename(entry, "weight", "Weight");
            rename(entry, "rate", "Rate");
            if key.starts_with("device") {
                edit(entry, "Rate", number_as_text);
            }
        }
    }
}

fn reshape_build(build: &mut Object) {
    edit(build, "shm_size", number_as_text);
    edit(build, "extra_hosts", hosts);
    edit(build, "ssh", |ids| {
        let id = |(id, key): (&String, &Value)| match key {
            Value::Null => json!(id),
            key => json!(format!("{id}={}", text(key))),
        };
        ids.as_object().into_iter().flatten().map(id).collect()
    });
    build
        .get_mut("secrets")
        .into_iter()
        .flat_map(items)
        .for_each(grant);
}

fn reshape_file_object(object: &mut Object) {
    let source = object.remove("source");
    match source
        .as_ref()
        .and_then(Value::as_object)
        .and_then(|s| s.iter().next())
    {
        Some((kind, Value::Object(variable))) if kind == "environment" => {
            object.insert(kind.clone(), variable["variable"].clone());
        }
        Some((kind, value)) => {
            object.insert(kind.clone(), value.clone());
        }
        None => {}
    }
}

fn port(port: &mut Value) {
    let port = as_object(port);
    edit(port, "published", |range| {
        match (&range["first"], &range["last"]) {
            (first, last) if first == last => json!(first.to_string()),
            (first, last) => json!(format!("{first}-{last}")),
        }
    });
    port.entry("protocol").or_insert(json!("tcp"));
}

fn mount(mount: &mut Value) {
    if mount.get("type") == Some(&json!("anonymous")) {
        mount["type"] = json!("volume");
    }
    let mount = as_object(mount);
    rename(mount, "volume", "source");
    let group = mount.get("type").map(text).unwrap_or_default();
    let inner: &[&str] = match group.as_str() {
        "bind" => &["create_host_path", "propagation", "selinux", "recursive"],
        "volume" => &["nocopy", "subpath"],
        _ => &["size", "mode"],
    };
    let mut options = Object::new();
    for key in inner {
        if let Some(value) = mount.remove(*key) {
            options.insert((*key).to_owned(), value);
        }
    }
    edit(&mut options, "size", number_as_text);
    mount.insert(group, Value::Object(options));
}

fn grant(grant: &mut Value) {
    let grant = as_object(grant);
    grant.remove("source");
    rename(grant, "key", "source");
    edit(grant, "mode", |mode| {
        json!(format!("0{:o}", mode.as_u64().unwrap_or_default()))
    });
}

fn volumes_from(from: &mut Value) {
    let Some((kind, inner)) = from.as_object().and_then(|o| o.iter().next()) else {
        return;
    };
    let name = text(&inner[kind.as_str()]);
    let prefix = if kind == "container" { "container:" } else { "" };
    let suffix = if inner["read_only"] == json!(true) {
        ":ro"
    } else {
        ""
    };
    *from = json!(format!("{prefix}{name}{suffix}"));
}

fn link(link: &mut Value) {
    let (to, alias) = (text(&link["to"]), text(&link["alias"]));
    *link = json!(if to == alias { to } else { format!("{to}:{alias}") });
}

fn namespace(mode: &Value) -> Value {
    match mode.as_object().and_then(|o| o.iter().next()) {
        Some((kind, name)) if kind == "other" => name.clone(),
        Some((kind, name)) => json!(format!("{kind}:{}", text(name))),
        None => mode.clone(),
    }
}

/// `"always"` as it is, `{"on-failure": {"max": 3}}` as `on-failure:3`.
fn named_choice(choice: &Value, inner: &str) -> Value {
    match choice.as_object().and_then(|o| o.iter().next()) {
        Some((kind, fields)) if fields[inner].is_number() => json!(format!("{kind}:{}", fields[inner])),
        Some((kind, _)) => json!(kind),
        None => choice.clone(),
    }
}

fn hosts(hosts: &Value) -> Value {
    let lines = |(host, addresses): (&String, &Value)| -> Vec<Value> {
        let addresses = addresses.as_array().into_iter().flatten();
        addresses.map(|a| json!(format!("{host}={}", text(a)))).collect()
    };
    hosts.as_object().into_iter().flatten().flat_map(lines).collect()
}

fn billionths(n: &Value) -> Value {
    json!(n.as_f64().unwrap_or_default() / 1e9)
}

fn number_as_text(n: &Value) -> Value {
    json!(n.to_string())
}

/// Nanoseconds as Go prints a duration: `1m30s`, `100µs`, `1m0.5s`.
fn duration(nanos: &Value) -> Value {
    let nanos = nanos.as_u64().unwrap_or_default();
    let fraction = |whole: u64, part: u64, digits: usize| {
        let text = format!("{whole}.{part:0digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if nanos == 0 {
        return json!("0s");
    }
    if nanos < 1_000 {
        return json!(format!("{nanos}ns"));
    }
    if nanos < 1_000_000 {
        return json!(format!("{}µs", fraction(nanos / 1_000, nanos % 1_000, 3)));
    }
    if nanos < 1_000_000_000 {
        return json!(format!("{}ms", fraction(nanos / 1_000_000, nanos % 1_000_000, 6)));
    }
    let seconds = nanos / 1_000_000_000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let tail = fraction(seconds % 60, nanos % 1_000_000_000, 9);
    json!(match (hours, minutes) {
        (0, 0) => format!("{tail}s"),
        (0, minutes) => format!("{minutes}m{tail}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{tail}s"),
    })
}

fn double_dollars(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace('$', "$$"),
        Value::Array(list) => list.iter_mut().for_each(double_dollars),
        Value::Object(object) => {
            let doubled = std::mem::take(object).into_iter().map(|(key, mut value)| {
                double_dollars(&mut value);
                (key.replace('$', "$$"), value)
            });
            *object = doubled.collect();
        }
        _ => {}
    }
}

fn as_object(value: &mut Value) -> &mut Object {
    value.as_object_mut().expect("a record is an object")
}

fn children(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_object_mut().into_iter().flat_map(|o| o.values_mut())
}

fn items(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_array_mut().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn rename(object: &mut Object, from: &str, to: &str) {
    if let Some(value) = object.remove(from) {
        object.insert(to.to_owned(), value);
    }
}

fn edit(object: &mut Object, key: &str, change: impl FnOnce(&Value) -> Value) {
    if let Some(value) = object.get_mut(key) {
        *value = change(value);
    }
}
