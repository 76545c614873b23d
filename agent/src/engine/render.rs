//! A service as a container of the engine, exactly as Docker Compose renders it. Pure: whatever has to
//! be looked up comes in the [`Context`].

mod host;
mod mounts;
pub(crate) mod once;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, NetworkingConfig,
};
use state::name::ServiceName;
use state::stack_spec::{
    Attachment, Condition, EnvValue, FileGrant, FileSource, Healthcheck, HealthcheckTest, NamespaceMode,
    Nanos, Networking, ServiceSpec,
};

use super::api::Api;
use super::{EngineError, NewContainer, labels};

/// What has to be looked up on the engine and the host before a container can be rendered.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// What the engine understands.
    pub(crate) api: Api,
    /// The container to share a namespace or volumes with, by service.
    pub(crate) peers: BTreeMap<ServiceName, String>,
    /// The text of seccomp profiles, by the path that names them.
    pub(crate) seccomp: BTreeMap<String, String>,
}

/// A container ready to be made.
#[derive(Clone)]
pub(crate) struct Rendered {
    /// The body of the create call.
    pub(crate) body: ContainerCreateBody,
    /// Networks to connect after the create: an older engine takes one only.
    pub(crate) later: Vec<(String, EndpointSettings)>,
    /// Files to copy into the container before it starts.
    pub(crate) files: Vec<FileGrant>,
}

/// The services whose containers must be looked up for [`Context::peers`].
pub(crate) fn needs_peers(spec: &ServiceSpec) -> BTreeSet<&ServiceName> {
    let mode = match &spec.networking {
        Networking::Mode(mode) => Some(mode),
        Networking::Networks(_) => None,
    };
    let modes = [mode, spec.pid.as_ref(), spec.ipc.as_ref()].into_iter().flatten();
    let shared = modes.filter_map(|mode| match mode {
        NamespaceMode::Service(service) => Some(service),
        _ => None,
    });
    let volumes = spec.volumes_from.iter().filter_map(|from| match from {
        state::stack_spec::VolumesFrom::Service { service, .. } => Some(service),
        state::stack_spec::VolumesFrom::Container { .. } => None,
    });
    shared.chain(volumes).collect()
}

/// The container for `new`.
pub(crate) fn render(new: &NewContainer<'_>, context: &Context) -> Result<Rendered, EngineError> {
    let spec = new.spec;
    let (network_mode, mut endpoints) = networks(new, context)?;
    let first_only = context.api < Api::SEVERAL_NETWORKS;
    let later = if first_only && endpoints.len() > 1 {
        endpoints.split_off(1)
    } else {
        Vec::new()
    };
    let mut host = host::render(new, context)?;
    host.network_mode = Some(network_mode);
    let body = ContainerCreateBody {
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        user: spec.user.clone(),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        exposed_ports: list(exposed(spec)),
        tty: spec.tty.then_some(true),
        open_stdin: spec.stdin_open.then_some(true),
        env: list(environment(&spec.environment)),
        cmd: spec.command.clone(),
        healthcheck: spec
            .healthcheck
            .as_ref()
            .map(|check| healthcheck(check, context.api)),
        image: Some(new.image.to_string()),
        working_dir: spec.working_dir.clone(),
        entrypoint: spec.entrypoint.clone(),
        labels: Some(container_labels(new)),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_grace_period.map(|grace| grace.as_i64() / 1_000_000_000),
        host_config: Some(host),
        networking_config: (!endpoints.is_empty()).then(|| NetworkingConfig {
            endpoints_config: Some(endpoints.into_iter().collect()),
        }),
        ..ContainerCreateBody::default()
    };
    Ok(Rendered {
        body,
        later,
        files: copied(spec),
    })
}

/// The variables as the engine takes them; a name alone takes it out of the image's environment.
fn environment(variables: &BTreeMap<String, Option<EnvValue>>) -> Vec<String> {
    let line = |(name, value): (&String, &Option<EnvValue>)| match value {
        Some(value) => format!("{name}={}", value.expose()),
        None => name.clone(),
    };
    variables.iter().map(line).collect()
}

/// A refusal of our own, before anything was asked of the engine.
pub(crate) fn refused(new: &NewContainer<'_>, why: &str) -> EngineError {
    EngineError::Refused {
        call: "create container",
        status: 400,
        message: format!("service {}: {why}", new.service),
    }
}

fn list<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

fn map(items: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!items.is_empty()).then(|| items.clone().into_iter().collect())
}

/// Ports to declare. What is under `expose` goes on as it was written, as Compose does it.
fn exposed(spec: &ServiceSpec) -> Vec<String> {
    let published = spec
        .ports
        .iter()
        .map(|port| format!("{}/{}", port.target, port.protocol));
    let ports: BTreeSet<String> = published.chain(spec.expose.iter().cloned()).collect();
    ports.into_iter().collect()
}

fn healthcheck(check: &Healthcheck, api: Api) -> HealthConfig {
    let test = match &check.test {
        HealthcheckTest::Inherit => None,
        HealthcheckTest::Disabled => Some(vec!["NONE".to_owned()]),
        HealthcheckTest::Cmd(words) => Some([&["CMD".to_owned()], words.as_slice()].concat()),
        HealthcheckTest::Shell(line) => Some(vec!["CMD-SHELL".to_owned(), line.clone()]),
    };
    HealthConfig {
        test,
        interval: check.interval.map(Nanos::as_i64),
        timeout: check.timeout.map(Nanos::as_i64),
        retries: check.retries.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
        start_period: check.start_period.map(Nanos::as_i64),
        start_interval: check
            .start_interval
            .map(Nanos::as_i64)
            .filter(|_| api >= Api::SEVERAL_NETWORKS),
    }
}

fn container_labels(new: &NewContainer<'_>) -> HashMap<String, String> {
    let files: Vec<_> = new
        .config_files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let own = [
        (labels::PROJECT, new.stack.project.to_string()),
        (labels::SERVICE, new.service.to_string()),
        (labels::NUMBER, new.number.to_string()),
        (labels::ONEOFF, "False".to_owned()),
        (labels::CONFIG_HASH, new.spec_hash.clone()),
        (labels::IMAGE, new.image.to_string()),
        (labels::DEPENDS_ON, depends_on(new.spec)),
        (labels::WORKING_DIR, new.working_dir.display().to_string()),
        (labels::CONFIG_FILES, files.join(",")),
        (labels::VERSION, labels::compose_version(new.dialect).to_owned()),
        (labels::SPEC, new.spec_hash.clone()),
        (labels::OPERATION, new.operation.to_string()),
        (labels::GENERATION, new.generation.to_string()),
    ];
    let mut all: HashMap<_, _> = new.spec.labels.clone().into_iter().collect();
    all.extend(own.map(|(key, value)| (key.to_owned(), value)));
    all
}

fn depends_on(spec: &ServiceSpec) -> String {
    let entries = spec.depends_on.iter().map(|(service, dependency)| {
        let condition = match dependency.condition {
            Condition::Started => "service_started",
            Condition::Healthy => "service_healthy",
            Condition::CompletedSuccessfully => "service_completed_successfully",
        };
        format!("{service}:{condition}:{}", dependency.restart)
    });
    entries.collect::<Vec<_>>().join(",")
}

/// The network mode, and an endpoint for each network, the one of the highest priority first.
fn networks(
    new: &NewContainer<'_>,
    context: &Context,
) -> Result<(String, Vec<(String, EndpointSettings)>), EngineError> {
    let attachments = match &new.spec.networking {
        Networking::Mode(mode) => return Ok((namespace(new, mode, context)?, Vec::new())),
        Networking::Networks(attachments) => attachments,
    };
    let mut by_priority: Vec<_> = attachments.iter().collect();
    by_priority.sort_by(|(a, x), (b, y)| y.priority.cmp(&x.priority).then_with(|| a.cmp(b)));
    let mut endpoints = Vec::new();
    for (index, (key, attachment)) in by_priority.into_iter().enumerate() {
        let Some(network) = new.stack.networks.get(key) else {
            return Err(refused(new, &format!("there is no network \"{key}\"")));
        };
        let service_mac = new.spec.mac_address.as_ref().filter(|_| index == 0);
        let mac = attachment.mac_address.as_ref().or(service_mac);
        if mac.is_some() && context.api < Api::SEVERAL_NETWORKS {
            return Err(refused(new, "mac_address needs Docker Engine 25 or later"));
        }
        endpoints.push((network.name.clone(), endpoint(new, attachment, mac, context.api)));
    }
    let mode = endpoints
        .first()
        .map_or_else(|| "none".to_owned(), |(name, _)| name.clone());
    Ok((mode, endpoints))
}

fn endpoint(new: &NewContainer<'_>, at: &Attachment, mac: Option<&String>, api: Api) -> EndpointSettings {
    let fixed = at.ipv4_address.is_some() || at.ipv6_address.is_some() || !at.link_local_ips.is_empty();
    let mut options = at.driver_opts.clone();
    if let Some(name) = &at.interface_name {
        options.insert("com.docker.network.endpoint.ifname".to_owned(), name.clone());
    }
    let own =
        state::naming::container_name(&new.stack.project, new.service, new.spec, new.number, new.dialect);
    let mut aliases = vec![own, new.service.to_string()];
    aliases.extend(at.aliases.iter().cloned());
    EndpointSettings {
        aliases: Some(aliases),
        links: list(links(new)),
        ipam_config: fixed.then(|| EndpointIpamConfig {
            ipv4_address: at.ipv4_address.clone(),
            ipv6_address: at.ipv6_address.clone(),
            link_local_ips: list(at.link_local_ips.clone()),
        }),
        mac_address: mac.cloned(),
        driver_opts: map(&options),
        gw_priority: (at.gw_priority != 0 && api >= Api::GATEWAY_PRIORITY).then_some(at.gw_priority),
        ..EndpointSettings::default()
    }
}

/// Links to the containers of other services by their lasting names, and to outside ones.
pub(crate) fn links(new: &NewContainer<'_>) -> Vec<String> {
    let (project, joint, number) = (&new.stack.project, new.dialect.joint(), new.number);
    let mut all = Vec::new();
    for link in &new.spec.links {
        let Ok(service) = link.to.parse::<ServiceName>() else {
            continue;
        };
        let Some(spec) = new.stack.services.get(&service) else {
            continue;
        };
        for replica in 1..=spec.replicas() {
            let name = state::naming::container_name(project, &service, spec, replica, new.dialect);
            all.push(format!("{name}:{}", link.alias));
            all.push(format!("{name}:{service}{joint}{number}"));
            all.push(format!("{name}:{project}{joint}{service}{joint}{number}"));
        }
    }
    all.extend(
        new.spec
            .external_links
            .iter()
            .map(|link| format!("{}:{}", link.to, link.alias)),
    );
    all
}

/// A namespace mode in the engine's words.
pub(crate) fn namespace(
    new: &NewContainer<'_>,
    mode: &NamespaceMode,
    context: &Context,
) -> Result<String, EngineError> {
    Ok(match mode {
        NamespaceMode::None => "none".to_owned(),
        NamespaceMode::Host => "host".to_owned(),
        NamespaceMode::Service(service) => format!("container:{}", peer(new, service, context)?),
        NamespaceMode::Container(container) => format!("container:{container}"),
        NamespaceMode::Other(other) => other.clone(),
    })
}

pub(crate) fn peer<'a>(
    new: &NewContainer<'_>,
    service: &ServiceName,
    context: &'a Context,
) -> Result<&'a str, EngineError> {
    let found = context.peers.get(service).map(String::as_str);
    found.ok_or_else(|| {
        refused(
            new,
            &format!("there is no container of service {service} to share with"),
        )
    })
}

/// Configs and secrets whose content is not a file of the host.
fn copied(spec: &ServiceSpec) -> Vec<FileGrant> {
    let grants = spec.configs.iter().chain(&spec.secrets);
    grants
        .filter(|grant| !matches!(grant.source, FileSource::File(_)))
        .cloned()
        .collect()
}
