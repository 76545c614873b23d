//! How a service relates to others: networks, namespaces, links, hosts, dependencies.

use std::collections::BTreeMap;

use state::name::ServiceName;
use state::stack_spec::{
    Attachment, Condition, Dependency, Link, NamespaceMode, Networking, ServiceSpec, VolumesFrom,
};

use super::fields::{At, Fields};
use super::keys;
use super::node::Value;

/// `networks` or `network_mode`.
pub(crate) fn networking(fields: &Fields<'_>) -> Networking {
    let mode = fields.get("network_mode");
    let networks = fields.get("networks");
    if let (Some(mode), Some(networks)) = (&mode, &networks)
        && !networks.items_or_entries_empty()
    {
        mode.error("\"network_mode\" and \"networks\" exclude each other");
    }
    if let Some(at) = mode {
        return namespace(&at).map(Networking::Mode).unwrap_or_default();
    }
    let mut attached: BTreeMap<String, Attachment> = match &networks {
        None => BTreeMap::new(),
        Some(at) => match &at.node.value {
            Value::Seq(_) => at
                .texts(false)
                .into_iter()
                .map(|key| (key, Attachment::default()))
                .collect(),
            _ => at
                .entries()
                .into_iter()
                .map(|(key, _, at)| (key.to_owned(), attachment(&at)))
                .collect(),
        },
    };
    if attached.is_empty() {
        attached.insert("default".to_owned(), Attachment::default());
    }
    Networking::Networks(attached)
}

fn attachment(at: &At<'_>) -> Attachment {
    let fields = at.fields(&keys::ATTACHMENT);
    let attachment = Attachment {
        aliases: fields.texts("aliases", false),
        ipv4_address: fields.text("ipv4_address"),
        ipv6_address: fields.text("ipv6_address"),
        link_local_ips: fields.texts("link_local_ips", false),
        mac_address: fields.text("mac_address"),
        interface_name: fields.text("interface_name"),
        priority: fields.int("priority").unwrap_or_default(),
        gw_priority: fields.int("gw_priority").unwrap_or_default(),
        driver_opts: fields.dict("driver_opts"),
    };
    fields.finish();
    attachment
}

/// `depends_on`, and what is implied by other keys.
pub(crate) fn depends_on(fields: &Fields<'_>, spec: &mut ServiceSpec) {
    let started = Dependency {
        condition: Condition::Started,
        restart: false,
        required: true,
    };
    if let Some(at) = fields.get("depends_on") {
        let listed: Vec<(String, At<'_>)> = match &at.node.value {
            Value::Seq(_) => at
                .items()
                .into_iter()
                .filter_map(|item| Some((item.text()?, item)))
                .collect(),
            _ => at
                .entries()
                .into_iter()
                .map(|(name, _, at)| (name.to_owned(), at))
                .collect(),
        };
        let short = matches!(at.node.value, Value::Seq(_));
        for (name, at) in listed {
            let dependency = if short { started } else { dependency(&at) };
            match name.parse::<ServiceName>() {
                Ok(name) => {
                    spec.depends_on.insert(name, dependency);
                }
                Err(error) => at.error(error.to_string()),
            }
        }
    }
    implied(spec);
}

/// What links, shared namespaces and `volumes_from` depend on, as Compose adds it.
fn implied(spec: &mut ServiceSpec) {
    let restarting = Dependency {
        condition: Condition::Started,
        restart: true,
        required: true,
    };
    let mut more: Vec<(ServiceName, Dependency)> = Vec::new();
    more.extend(
        spec.links
            .iter()
            .filter_map(|link| Some((link.to.parse().ok()?, restarting))),
    );
    let modes = [
        match &spec.networking {
            Networking::Mode(shared) => Some(shared),
            Networking::Networks(_) => None,
        },
        spec.pid.as_ref(),
        spec.ipc.as_ref(),
    ];
    for mode in modes.into_iter().flatten() {
        if let NamespaceMode::Service(service) = mode {
            more.push((service.clone(), restarting));
        }
    }
    for from in &spec.volumes_from {
        if let VolumesFrom::Service { service, .. } = from {
            more.push((
                service.clone(),
                Dependency {
                    restart: false,
                    ..restarting
                },
            ));
        }
    }
    for (service, dependency) in more {
        spec.depends_on.entry(service).or_insert(dependency);
    }
}

fn dependency(at: &At<'_>) -> Dependency {
    let fields = at.fields(&keys::DEPENDS_ON);
    let conditions = [
        ("service_started", Condition::Started),
        ("service_healthy", Condition::Healthy),
        ("service_completed_successfully", Condition::CompletedSuccessfully),
    ];
    let dependency = Dependency {
        condition: fields
            .get("condition")
            .and_then(|at| at.choice(&conditions))
            .unwrap_or_default(),
        restart: fields.flag("restart"),
        required: fields.bool("required").unwrap_or(true),
    };
    fields.finish();
    dependency
}

/// A namespace: a word, `service:x` or `container:x`.
pub(crate) fn namespace(at: &At<'_>) -> Option<NamespaceMode> {
    let text = at.text()?;
    if let Some(service) = text.strip_prefix("service:") {
        return match service.parse() {
            Ok(service) => Some(NamespaceMode::Service(service)),
            Err(error) => {
                at.error(format!("{error}"));
                None
            }
        };
    }
    Some(match text.as_str() {
        "none" => NamespaceMode::None,
        "host" => NamespaceMode::Host,
        _ => match text.strip_prefix("container:") {
            Some(container) => NamespaceMode::Container(container.to_owned()),
            None => NamespaceMode::Other(text),
        },
    })
}

/// `service[:alias]`.
pub(crate) fn link(text: &str) -> Link {
    let (to, alias) = text.split_once(':').unwrap_or((text, text));
    Link {
        to: to.to_owned(),
        alias: alias.to_owned(),
    }
}

/// `host:address`, `host=address`, or a mapping; addresses of one host in their order.
pub(crate) fn hosts(at: &At<'_>) -> BTreeMap<String, Vec<String>> {
    let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |host: &str, address: &str| {
        let bare = address
            .strip_prefix('[')
            .and_then(|a| a.strip_suffix(']'))
            .unwrap_or(address);
        hosts
            .entry(host.trim().to_owned())
            .or_default()
            .push(bare.trim().to_owned());
    };
    if let Value::Map(_) = &at.node.value {
        for (host, _, at) in at.entries() {
            at.texts(true).iter().for_each(|address| add(host, address));
        }
        return hosts;
    }
    for item in at.items() {
        let Some(text) = item.text() else { continue };
        match text.split_once('=').or_else(|| text.split_once(':')) {
            Some((host, address)) if !host.is_empty() && !address.is_empty() => add(host, address),
            _ => item.error_hint("this is not a host with its address", "write it as name=10.0.0.1"),
        }
    }
    hosts
}
