//! `HostConfig`: what the host gives a container.

use std::collections::HashMap;

use bollard::models::{
    DeviceMapping, DeviceRequest, HostConfig, HostConfigLogConfig, PortBinding, PortMap,
    ResourcesBlkioWeightDevice, ResourcesUlimits, ThrottleDevice,
};
use state::stack_spec::{
    BlkioConfig, DeviceRequest as Wanted, Logging, Port, RateLimit, Resources, ServiceSpec, VolumesFrom,
};

use super::{Context, links, list, map, mounts, namespace, peer, refused};
use crate::engine::docker::restart_policy;
use crate::engine::{EngineError, NewContainer};

/// Everything but the network mode, which is decided with the networks.
pub(super) fn render(new: &NewContainer<'_>, context: &Context) -> Result<HostConfig, EngineError> {
    let spec = new.spec;
    let (binds, mounts) = mounts::render(new)?;
    let (security, unconfined) = security(new, context)?;
    let mode = |mode: &Option<_>| {
        mode.as_ref()
            .map(|mode| namespace(new, mode, context))
            .transpose()
    };
    let mut host = HostConfig {
        annotations: map(&spec.annotations),
        binds: list(binds),
        mounts: list(mounts),
        cap_add: list(capabilities(&spec.cap_add)),
        cap_drop: list(capabilities(&spec.cap_drop)),
        init: spec.init,
        ipc_mode: mode(&spec.ipc)?,
        pid_mode: mode(&spec.pid)?,
        cgroupns_mode: parsed(new, "cgroup", spec.cgroup.as_ref())?,
        isolation: parsed(new, "isolation", spec.isolation.as_ref())?,
        readonly_rootfs: spec.read_only.then_some(true),
        restart_policy: Some(restart_policy(new.restart)),
        shm_size: spec.shm_size,
        sysctls: map(&spec.sysctls),
        port_bindings: ports(&spec.ports),
        volumes_from: list(volumes_from(new, context)?),
        dns: list(spec.dns.clone()),
        dns_search: list(spec.dns_search.clone()),
        dns_options: list(spec.dns_opt.clone()),
        extra_hosts: list(extra_hosts(spec)),
        security_opt: list(security),
        storage_opt: map(&spec.storage_opt),
        userns_mode: spec.userns_mode.clone(),
        uts_mode: spec.uts.clone(),
        privileged: spec.privileged.then_some(true),
        tmpfs: tmpfs(spec),
        runtime: spec.runtime.clone(),
        log_config: spec.logging.as_ref().map(logging),
        group_add: list(spec.group_add.clone()),
        links: list(links(new)),
        oom_score_adj: spec.oom_score_adj,
        masked_paths: unconfined.then(Vec::new),
        readonly_paths: unconfined.then(Vec::new),
        ..HostConfig::default()
    };
    resources(spec, &mut host);
    Ok(host)
}

/// In the long form, `CAP_NET_ADMIN`, as Compose gives them to the engine.
fn capabilities(names: &[String]) -> Vec<String> {
    let long = |name: &String| {
        let name = name.to_ascii_uppercase();
        if name == "ALL" || name.starts_with("CAP_") {
            name
        } else {
            format!("CAP_{name}")
        }
    };
    names.iter().map(long).collect()
}

fn parsed<T: std::str::FromStr>(
    new: &NewContainer<'_>,
    key: &str,
    text: Option<&String>,
) -> Result<Option<T>, EngineError> {
    let parse = |text: &String| {
        text.parse()
            .map_err(|_| refused(new, &format!("{key}: \"{text}\" is not known")))
    };
    text.map(parse).transpose()
}

fn ports(ports: &[Port]) -> Option<PortMap> {
    let mut bindings = PortMap::new();
    for port in ports {
        let key = format!("{}/{}", port.target, port.protocol);
        bindings
            .entry(key)
            .or_default()
            .get_or_insert_with(Vec::new)
            .push(PortBinding {
                host_ip: port.host_ip.clone(),
                host_port: port.published.map(|published| published.to_string()),
            });
    }
    (!bindings.is_empty()).then_some(bindings)
}

fn volumes_from(new: &NewContainer<'_>, context: &Context) -> Result<Vec<String>, EngineError> {
    let one = |from: &VolumesFrom| {
        let (container, read_only) = match from {
            VolumesFrom::Service { service, read_only } => {
                (peer(new, service, context)?.to_owned(), *read_only)
            }
            VolumesFrom::Container { container, read_only } => (container.clone(), *read_only),
        };
        Ok(if read_only {
            format!("{container}:ro")
        } else {
            container
        })
    };
    new.spec.volumes_from.iter().map(one).collect()
}

fn extra_hosts(spec: &ServiceSpec) -> Vec<String> {
    let lines = spec.extra_hosts.iter();
    lines
        .flat_map(|(host, addresses)| addresses.iter().map(move |address| format!("{host}:{address}")))
        .collect()
}

fn tmpfs(spec: &ServiceSpec) -> Option<HashMap<String, String>> {
    let entry = |text: &String| {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        (path.to_owned(), options.to_owned())
    };
    (!spec.tmpfs.is_empty()).then(|| spec.tmpfs.iter().map(entry).collect())
}

fn logging(logging: &Logging) -> HostConfigLogConfig {
    let options = logging
        .options
        .iter()
        .map(|(key, value)| (key.clone(), value.expose().to_owned()));
    HostConfigLogConfig {
        typ: logging.driver.clone(),
        config: Some(options.collect()),
    }
}

/// Security options, with `:` for `=` and profiles by content; and whether system paths are unmasked.
fn security(new: &NewContainer<'_>, context: &Context) -> Result<(Vec<String>, bool), EngineError> {
    let (mut options, mut unconfined) = (Vec::new(), false);
    for option in &new.spec.security_opt {
        let Some((key, value)) = option.split_once('=').or_else(|| option.split_once(':')) else {
            options.push(option.clone());
            continue;
        };
        if key == "systempaths" && value == "unconfined" {
            unconfined = true;
        } else if key == "seccomp" && value != "unconfined" && value != "builtin" {
            let Some(profile) = context.seccomp.get(value) else {
                return Err(refused(
                    new,
                    &format!("the seccomp profile {value} cannot be read"),
                ));
            };
            options.push(format!("seccomp={profile}"));
        } else {
            options.push(format!("{key}={value}"));
        }
    }
    Ok((options, unconfined))
}

/// Resources: the old keys, and `deploy.resources`, which wins.
fn resources(spec: &ServiceSpec, host: &mut HostConfig) {
    host.cgroup_parent.clone_from(&spec.cgroup_parent);
    host.memory = spec.mem_limit;
    host.memory_swap = spec.memswap_limit;
    host.memory_swappiness = spec.mem_swappiness;
    host.memory_reservation = spec.mem_reservation;
    host.oom_kill_disable = spec.oom_kill_disable.then_some(true);
    host.nano_cpus = spec.nano_cpus;
    host.cpu_count = spec.cpu_count;
    #[allow(clippy::cast_possible_truncation, reason = "a percentage in hundredths fits")]
    let hundredths = |percent: f64| (percent * 100.0) as i64;
    host.cpu_percent = spec.cpu_percent.map(hundredths);
    host.cpu_period = spec.cpu_period;
    host.cpu_quota = spec.cpu_quota;
    host.cpu_realtime_period = spec.cpu_rt_period;
    host.cpu_realtime_runtime = spec.cpu_rt_runtime;
    host.cpu_shares = spec.cpu_shares;
    host.cpuset_cpus.clone_from(&spec.cpuset);
    host.pids_limit = spec.pids_limit.filter(|limit| *limit != 0);
    host.device_cgroup_rules = list(spec.device_cgroup_rules.clone());
    host.ulimits = list(ulimits(spec));
    blkio(spec.blkio_config.as_ref(), host);
    let deploy = spec.deploy.as_ref();
    let limits = deploy.and_then(|deploy| deploy.limits.as_ref());
    limited(limits, host);
    let reserved = deploy.and_then(|deploy| deploy.reservations.as_ref());
    host.memory_reservation = reserved.and_then(|r| r.memory).or(host.memory_reservation);
    devices(spec, reserved, host);
}

fn limited(limits: Option<&Resources>, host: &mut HostConfig) {
    let Some(limits) = limits else { return };
    host.memory = limits.memory.or(host.memory);
    host.nano_cpus = limits.nano_cpus.or(host.nano_cpus);
    host.pids_limit = limits.pids.filter(|pids| *pids > 0).or(host.pids_limit);
}

fn ulimits(spec: &ServiceSpec) -> Vec<ResourcesUlimits> {
    let one = |(name, limit): (&String, &state::stack_spec::Ulimit)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    };
    spec.ulimits.iter().map(one).collect()
}

fn blkio(config: Option<&BlkioConfig>, host: &mut HostConfig) {
    let Some(config) = config else { return };
    let rate = |limits: &[RateLimit]| {
        let one = |limit: &RateLimit| ThrottleDevice {
            path: Some(limit.path.clone()),
            rate: Some(limit.rate),
        };
        list(limits.iter().map(one).collect())
    };
    host.blkio_weight = (config.weight != 0).then_some(config.weight);
    let weights = config
        .weight_device
        .iter()
        .map(|device| ResourcesBlkioWeightDevice {
            path: Some(device.path.clone()),
            weight: Some(usize::from(device.weight)),
        });
    host.blkio_weight_device = list(weights.collect());
    host.blkio_device_read_bps = rate(&config.device_read_bps);
    host.blkio_device_read_iops = rate(&config.device_read_iops);
    host.blkio_device_write_bps = rate(&config.device_write_bps);
    host.blkio_device_write_iops = rate(&config.device_write_iops);
}

fn devices(spec: &ServiceSpec, reserved: Option<&Resources>, host: &mut HostConfig) {
    let is_cdi = |source: &str| {
        source
            .split_once('=')
            .is_some_and(|(kind, _)| kind.contains('/') && !kind.starts_with('/'))
    };
    let (cdi, paths): (Vec<_>, Vec<_>) = spec
        .devices
        .iter()
        .partition(|device| device.source == device.target && is_cdi(&device.source));
    let mappings = paths.into_iter().map(|device| DeviceMapping {
        path_on_host: Some(device.source.clone()),
        path_in_container: Some(device.target.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    });
    host.devices = list(mappings.collect());
    let mut requests: Vec<DeviceRequest> = reserved
        .map(|r| r.devices.iter().map(|wanted| request(wanted, None)).collect())
        .unwrap_or_default();
    if !cdi.is_empty() {
        requests.push(DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(cdi.into_iter().map(|device| device.source.clone()).collect()),
            ..DeviceRequest::default()
        });
    }
    requests.extend(spec.gpus.iter().map(|gpu| request(gpu, Some("gpu"))));
    host.device_requests = list(requests);
}

fn request(wanted: &Wanted, more: Option<&str>) -> DeviceRequest {
    let mut capabilities = wanted.capabilities.clone();
    capabilities.extend(
        more.filter(|more| !wanted.capabilities.iter().any(|c| c == more))
            .map(str::to_owned),
    );
    DeviceRequest {
        driver: wanted.driver.clone(),
        count: wanted.count,
        device_ids: list(wanted.device_ids.clone()),
        capabilities: Some(vec![capabilities]),
        options: map(&wanted.options),
    }
}
