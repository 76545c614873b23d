//! One service: every key that is neither of its own module nor of a list.

use std::collections::BTreeMap;

use state::stack_spec::{FileObject, Logging, Nanos, PullPolicy, ServiceSpec};

use super::fields::{At, Fields};
use super::node::Value;
use super::{build, checks, deploy, environment, keys, limits, mounts, ports, relations, values};

/// What services refer to.
pub(crate) struct Shared {
    /// The configs by key; those that are wrong have no value.
    pub configs: BTreeMap<String, Option<FileObject>>,
    /// The secrets by key; those that are wrong have no value.
    pub secrets: BTreeMap<String, Option<FileObject>>,
}

/// The service at `at`. What is wrong is in the context's list.
pub(crate) fn service(at: &At<'_>, shared: &Shared) -> ServiceSpec {
    let fields = at.fields(&keys::SERVICE);
    let mut spec = ServiceSpec {
        image: fields.text("image").filter(|image| !image.is_empty()),
        build: fields.get("build").and_then(|at| build::build(&at, shared)),
        pull_policy: fields.get("pull_policy").and_then(|at| pull_policy(&at)),
        platform: fields.text("platform"),
        container_name: fields.text("container_name").filter(|name| !name.is_empty()),
        command: fields.get("command").and_then(|at| command(&at)),
        entrypoint: fields.get("entrypoint").and_then(|at| command(&at)),
        environment: environment::environment(&fields),
        labels: environment::labels(&fields),
        annotations: fields.dict("annotations"),
        ports: fields
            .get("ports")
            .map(|at| ports::ports(&at))
            .unwrap_or_default(),
        expose: fields
            .get("expose")
            .map(|at| ports::expose(&at))
            .unwrap_or_default(),
        networking: relations::networking(&fields),
        healthcheck: fields.get("healthcheck").map(|at| deploy::healthcheck(&at)),
        deploy: fields.get("deploy").map(|at| deploy::deploy(&at)),
        scale: fields.int("scale"),
        restart: fields.get("restart").and_then(|at| deploy::restart(&at)),
        stop_signal: fields.text("stop_signal"),
        stop_grace_period: fields.duration("stop_grace_period"),
        logging: fields.get("logging").map(|at| logging(&at)),
        profiles: fields.texts("profiles", false).into_iter().collect(),
        attach: fields.bool("attach"),
        ..ServiceSpec::default()
    };
    process(&fields, &mut spec);
    mounted(&fields, &mut spec, shared);
    names(&fields, &mut spec);
    rights(&fields, &mut spec);
    limits::resources(&fields, &mut spec);
    relations::depends_on(&fields, &mut spec);
    checks::checks(&fields, &spec);
    // `extends` was applied before; what is left of it was complained about there.
    let _ = fields.get("extends");
    fields.finish();
    spec
}

fn process(fields: &Fields<'_>, spec: &mut ServiceSpec) {
    spec.init = fields.bool("init");
    spec.tty = fields.flag("tty");
    spec.stdin_open = fields.flag("stdin_open");
    spec.read_only = fields.flag("read_only");
    spec.user = fields.text("user");
    spec.group_add = fields.texts("group_add", false);
    spec.working_dir = fields.text("working_dir");
    spec.runtime = fields.text("runtime");
    spec.isolation = fields.text("isolation");
    spec.tmpfs = fields.texts("tmpfs", true);
}

fn mounted(fields: &Fields<'_>, spec: &mut ServiceSpec, shared: &Shared) {
    let items = |key| fields.get(key).map(|at| at.items()).unwrap_or_default();
    spec.volumes = items("volumes").iter().filter_map(mounts::mount).collect();
    spec.volumes_from = items("volumes_from")
        .iter()
        .filter_map(mounts::volumes_from)
        .collect();
    spec.devices = items("devices").iter().filter_map(mounts::device).collect();
    let (configs, secrets) = (fields.get("configs"), fields.get("secrets"));
    spec.configs = configs
        .map(|at| mounts::grants(&at, "config", &shared.configs, mounts::config_target))
        .unwrap_or_default();
    spec.secrets = secrets
        .map(|at| mounts::grants(&at, "secret", &shared.secrets, mounts::secret_target))
        .unwrap_or_default();
    spec.storage_opt = fields.dict("storage_opt");
}

fn names(fields: &Fields<'_>, spec: &mut ServiceSpec) {
    spec.hostname = fields.text("hostname");
    spec.domainname = fields.text("domainname");
    spec.mac_address = fields.text("mac_address");
    spec.dns = fields
        .texts("dns", true)
        .into_iter()
        .filter(|server| !server.is_empty())
        .collect();
    spec.dns_search = fields.texts("dns_search", true);
    spec.dns_opt = fields.texts("dns_opt", false);
    spec.extra_hosts = fields
        .get("extra_hosts")
        .map(|at| relations::hosts(&at))
        .unwrap_or_default();
    spec.links = fields
        .texts("links", false)
        .iter()
        .map(|text| relations::link(text))
        .collect();
    spec.external_links = fields
        .texts("external_links", false)
        .iter()
        .map(|text| relations::link(text))
        .collect();
}

fn rights(fields: &Fields<'_>, spec: &mut ServiceSpec) {
    spec.privileged = fields.flag("privileged");
    spec.cap_add = fields.texts("cap_add", false);
    spec.cap_drop = fields.texts("cap_drop", false);
    spec.security_opt = fields.texts("security_opt", false);
    spec.device_cgroup_rules = fields.texts("device_cgroup_rules", false);
    spec.pid = fields.get("pid").and_then(|at| relations::namespace(&at));
    spec.ipc = fields.get("ipc").and_then(|at| relations::namespace(&at));
    spec.uts = fields.text("uts");
    spec.userns_mode = fields.text("userns_mode");
    spec.cgroup = fields
        .get("cgroup")
        .and_then(|at| at.choice(&[("host", "host"), ("private", "private")]))
        .map(str::to_owned);
    spec.cgroup_parent = fields.text("cgroup_parent");
    spec.sysctls = fields.dict("sysctls");
    spec.gpus = fields.get("gpus").map(|at| deploy::gpus(&at)).unwrap_or_default();
}

/// A command or entrypoint: words, or a line that is split into words.
fn command(at: &At<'_>) -> Option<Vec<String>> {
    let Value::Scalar(scalar) = &at.node.value else {
        return Some(at.texts(false));
    };
    match values::words(&scalar.text) {
        Ok((words, operator)) => {
            if let Some(operator) = operator {
                let message = format!(
                    "all from \"{operator}\" on is dropped, as Compose does: no shell reads this line"
                );
                at.cx.push(
                    crate::error::Problem::warning(at.cx.place(at.node.mark), at.path.clone(), message)
                        .hint("write it as [\"sh\", \"-c\", \"…\"]"),
                );
            }
            Some(words)
        }
        Err(error) => {
            at.error_hint(error.to_string(), "write it as a list of words");
            None
        }
    }
}

fn pull_policy(at: &At<'_>) -> Option<PullPolicy> {
    let text = at.text()?;
    if let Some(age) = text.strip_prefix("every_")
        && let Some(nanos) = values::duration(age)
    {
        return Some(PullPolicy::Every(Nanos(nanos)));
    }
    let words = [
        "always",
        "never",
        "missing",
        "if_not_present",
        "build",
        "daily",
        "weekly",
    ];
    Some(match at.choice(&words.map(|word| (word, word)))? {
        "always" => PullPolicy::Always,
        "never" => PullPolicy::Never,
        "build" => PullPolicy::Build,
        "daily" => PullPolicy::Daily,
        "weekly" => PullPolicy::Weekly,
        _ => PullPolicy::Missing,
    })
}

fn logging(at: &At<'_>) -> Logging {
    let fields = at.fields(&keys::LOGGING);
    let logging = Logging {
        driver: fields.text("driver"),
        options: fields.secret_dict("options"),
    };
    fields.finish();
    logging
}
