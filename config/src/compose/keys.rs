//! Every key of the Compose Specification (as of Compose 2.40) and what becomes of it. The loader
//! reads by these tables, and `docs/reference/compose.md` shows them; a test compares the two.

use Use::{Refused, Warned, Yes};

/// What becomes of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    /// It is read, and it acts.
    Yes,
    /// It is accepted and has no effect; the reason is a warning.
    Warned(&'static str),
    /// It is an error; the reason is the hint.
    Refused(&'static str),
}

/// The keys of one kind of mapping.
#[derive(Debug)]
pub(crate) struct Table {
    /// Where such a mapping is, for readers.
    pub at: &'static str,
    /// Its keys.
    pub keys: &'static [(&'static str, Use)],
}

impl Table {
    /// What becomes of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<Use> {
        self.keys
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, usage)| *usage)
    }
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $at:literal: $($key:ident $(($usage:expr))?)+;)+) => {
        $($(#[$doc])* pub(crate) static $name: Table = Table {
            at: $at,
            keys: &[$((stringify!($key), tables!(@ $($usage)?))),+],
        };)+
        /// All of them, in reading order.
        #[cfg(test)]
        pub(crate) static ALL: &[&Table] = &[$(&$name),+];
    };
    (@) => { Yes };
    (@ $usage:expr) => { $usage };
}

const SWARM: &str = "it is Swarm's, and one host has no use for it";
const WINDOWS: &str = "it is for Windows containers";
const HOOKS: &str =
    "Steadfast does not run hooks in containers; use a service that runs once, or the entrypoint";

tables! {
    /// The file.
    TOP = "(top level)": version(Warned("it is obsolete, and Compose ignores it too")) name services networks volumes
        configs secrets
        include(Refused("name the files of the stack instead; they are merged"))
        models(Refused("Docker's model runner is not an Engine feature"));
    /// A service.
    SERVICE = "services.*": annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs
        container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset
        credential_spec(Refused(WINDOWS)) depends_on deploy
        develop(Warned("it is for `docker compose watch` only"))
        device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file environment expose extends
        external_links extra_hosts gpus group_add healthcheck hostname image init ipc isolation label_file labels links
        logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit
        models(Refused("Docker's model runner is not an Engine feature"))
        network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform ports
        post_start(Refused(HOOKS)) pre_stop(Refused(HOOKS)) privileged profiles
        provider(Refused("a provider is a program that Compose runs instead of a container"))
        pull_policy
        pull_refresh_after(Refused("write it as pull_policy: every_<duration>"))
        read_only restart runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal
        storage_opt sysctls tmpfs tty ulimits
        use_api_socket(Refused("it would give the container the Engine's socket and your registry credentials; mount the socket yourself if that is meant"))
        user userns_mode uts volumes volumes_from working_dir;
    /// `extends`.
    EXTENDS = "services.*.extends": service file;
    /// A long `depends_on`.
    DEPENDS_ON = "services.*.depends_on.*": condition required restart;
    /// A long `env_file`.
    ENV_FILE = "services.*.env_file[]": path required format;
    /// `healthcheck`.
    HEALTHCHECK = "services.*.healthcheck": test interval timeout retries start_period start_interval disable;
    /// `logging`.
    LOGGING = "services.*.logging": driver options;
    /// A network of a service.
    ATTACHMENT = "services.*.networks.*": aliases driver_opts gw_priority interface_name ipv4_address ipv6_address
        link_local_ips mac_address priority;
    /// A long port.
    PORT = "services.*.ports[]": target published host_ip protocol mode name app_protocol;
    /// A long volume.
    VOLUME_MOUNT = "services.*.volumes[]": type source target read_only consistency bind volume tmpfs
        image(Refused("image mounts need Engine 28"));
    /// Options of a bind mount.
    BIND = "services.*.volumes[].bind": create_host_path propagation recursive selinux;
    /// Options of a volume mount.
    VOLUME_OPTIONS = "services.*.volumes[].volume": nocopy subpath
        labels(Refused("the Engine would label the volume only when this mount creates it; label it under the top-level volumes"));
    /// Options of a memory mount.
    TMPFS = "services.*.volumes[].tmpfs": size mode;
    /// A long config or secret of a service or build.
    GRANT = "services.*.configs[], secrets[]": source target uid gid mode;
    /// A long device.
    DEVICE = "services.*.devices[]": source target permissions;
    /// A long ulimit.
    ULIMIT = "services.*.ulimits.*": soft hard;
    /// `gpus` and reserved devices.
    DEVICE_REQUEST = "services.*.gpus[], deploy.resources.reservations.devices[]": capabilities count device_ids driver
        options;
    /// `blkio_config`.
    BLKIO = "services.*.blkio_config": weight weight_device device_read_bps device_read_iops device_write_bps
        device_write_iops;
    /// A rate limit.
    RATE = "services.*.blkio_config.device_*[]": path rate;
    /// A weight.
    WEIGHT = "services.*.blkio_config.weight_device[]": path weight;
    /// `deploy`.
    DEPLOY = "services.*.deploy": mode replicas labels resources restart_policy update_config rollback_config
        endpoint_mode(Warned(SWARM)) placement(Warned(SWARM));
    /// Limits.
    LIMITS = "services.*.deploy.resources.limits": cpus memory pids;
    /// Resources.
    RESOURCES = "services.*.deploy.resources": limits reservations;
    /// Reservations.
    RESERVATIONS = "services.*.deploy.resources.reservations": cpus memory devices generic_resources(Refused(SWARM));
    /// The restart policy of `deploy`.
    RESTART_POLICY = "services.*.deploy.restart_policy": condition delay max_attempts window;
    /// How updates go.
    UPDATE = "services.*.deploy.update_config, rollback_config": parallelism delay failure_action monitor
        max_failure_ratio order;
    /// `build`.
    BUILD = "services.*.build": additional_contexts args cache_from cache_to context dockerfile dockerfile_inline
        entitlements extra_hosts isolation labels network no_cache platforms privileged provenance pull sbom secrets
        shm_size ssh tags target ulimits;
    /// A network.
    NETWORK = "networks.*": attachable driver driver_opts enable_ipv4 enable_ipv6 external internal ipam labels name;
    /// Its addresses.
    IPAM = "networks.*.ipam": driver config options;
    /// A pool.
    POOL = "networks.*.ipam.config[]": subnet ip_range gateway aux_addresses;
    /// The old form of `external`.
    EXTERNAL = "networks.*.external, volumes.*.external": name;
    /// A volume.
    VOLUME = "volumes.*": driver driver_opts external labels name;
    /// A config.
    CONFIG = "configs.*": content environment file labels name
        external(Refused(SWARM)) template_driver(Refused(SWARM));
    /// A secret.
    SECRET = "secrets.*": environment file labels name
        external(Refused(SWARM)) driver(Refused(SWARM)) driver_opts(Refused(SWARM)) template_driver(Refused(SWARM));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The reference's table, as the code has it.
    fn rendered() -> String {
        let mut out = String::new();
        for table in ALL {
            out = format!("{out}\n### `{}`\n\n| key | |\n|---|---|\n", table.at);
            for (key, usage) in table.keys {
                let what = match usage {
                    Yes => "supported".to_owned(),
                    Warned(why) => format!("accepted, with a warning: {why}"),
                    Refused(why) => format!("**refused**: {why}"),
                };
                out = format!("{out}| `{key}` | {what} |\n");
            }
        }
        out
    }

    #[test]
    fn the_reference_lists_the_same_keys() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/compose.md");
        let reference = std::fs::read_to_string(path).unwrap();
        let start = "<!-- keys: compared with config/src/compose/keys.rs by a test -->\n";
        let shown = reference.split_once(start).unwrap().1;
        let expected = rendered();
        assert!(
            shown == expected,
            "docs/reference/compose.md differs from the code; it should end with:\n{start}{expected}"
        );
    }

    #[test]
    fn no_key_is_there_twice() {
        for table in ALL {
            let mut keys: Vec<_> = table.keys.iter().map(|(key, _)| key).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), table.keys.len(), "{}", table.at);
        }
    }
}
