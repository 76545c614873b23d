//! The top-level `networks`, `volumes`, `configs` and `secrets`. An entry that is wrong is kept as
//! `None`, so that what refers to it is not complained about as well.

use std::collections::BTreeMap;

use state::name::StackName;
use state::stack_spec::{EnvValue, FileObject, FileSource, Ipam, IpamPool, NetworkSpec, VolumeSpec};

use super::fields::{At, Fields};
use super::keys;
use super::node::Value;

/// The name on the engine and whether it is external. An external one keeps its key as its name.
fn name(fields: &Fields<'_>, project: &StackName, key: &str) -> (String, bool) {
    let mut name = fields.text("name");
    let external = match fields.get("external") {
        None => false,
        Some(at) if matches!(at.node.value, Value::Map(_)) => {
            let inner = at.fields(&keys::EXTERNAL);
            name = inner.text("name").or(name);
            inner.finish();
            true
        }
        Some(at) => at.bool().unwrap_or_default(),
    };
    let default = || {
        if external {
            key.to_owned()
        } else {
            format!("{project}_{key}")
        }
    };
    (name.unwrap_or_else(default), external)
}

/// What of `keys` an external network or volume says all the same: it is not made here.
fn external_has_nothing_else(at: &At<'_>, fields: &Fields<'_>, keys: &[&str]) {
    if let Some(key) = keys.iter().find(|key| fields.has(key)) {
        at.error_hint(
            format!("an external one is not made by the stack, so {key:?} has no meaning here"),
            format!("remove {key:?} or \"external\""),
        );
    }
}

/// One network.
pub(crate) fn network(at: &At<'_>, project: &StackName, key: &str) -> NetworkSpec {
    let fields = at.fields(&keys::NETWORK);
    let (name, external) = name(&fields, project, key);
    if external {
        let others = [
            "driver",
            "driver_opts",
            "ipam",
            "internal",
            "attachable",
            "enable_ipv4",
            "enable_ipv6",
            "labels",
        ];
        external_has_nothing_else(at, &fields, &others);
    }
    let network = NetworkSpec {
        name,
        external,
        driver: fields.text("driver"),
        driver_opts: fields.dict("driver_opts"),
        ipam: fields.get("ipam").map(|at| ipam(&at)).unwrap_or_default(),
        internal: fields.flag("internal"),
        attachable: fields.flag("attachable"),
        enable_ipv4: fields.bool("enable_ipv4"),
        enable_ipv6: fields.bool("enable_ipv6"),
        labels: fields.dict("labels"),
    };
    fields.finish();
    network
}

fn ipam(at: &At<'_>) -> Ipam {
    let fields = at.fields(&keys::IPAM);
    let pools = fields.get("config").map(|at| at.items()).unwrap_or_default();
    let ipam = Ipam {
        driver: fields.text("driver"),
        config: pools.iter().map(pool).collect(),
        options: fields.dict("options"),
    };
    fields.finish();
    ipam
}

fn pool(at: &At<'_>) -> IpamPool {
    let fields = at.fields(&keys::POOL);
    let pool = IpamPool {
        subnet: fields.text("subnet"),
        gateway: fields.text("gateway"),
        ip_range: fields.text("ip_range"),
        aux_addresses: fields.dict("aux_addresses"),
    };
    fields.finish();
    pool
}

/// One volume.
pub(crate) fn volume(at: &At<'_>, project: &StackName, key: &str) -> VolumeSpec {
    let fields = at.fields(&keys::VOLUME);
    let (name, external) = name(&fields, project, key);
    if external {
        external_has_nothing_else(at, &fields, &["driver", "driver_opts", "labels"]);
    }
    let volume = VolumeSpec {
        name,
        external,
        driver: fields.text("driver"),
        driver_opts: fields.secret_dict("driver_opts"),
        labels: fields.dict("labels"),
    };
    fields.finish();
    volume
}

/// All configs or secrets.
pub(crate) fn objects(
    at: &At<'_>,
    project: &StackName,
    secret: bool,
) -> BTreeMap<String, Option<FileObject>> {
    at.entries()
        .into_iter()
        .map(|(key, _, at)| (key.to_owned(), object(&at, project, key, secret)))
        .collect()
}

fn object(at: &At<'_>, project: &StackName, key: &str, secret: bool) -> Option<FileObject> {
    let fields = at.fields(if secret { &keys::SECRET } else { &keys::CONFIG });
    let file = fields.get("file").and_then(|at| at.path()).map(FileSource::File);
    let variable = fields.get("environment").and_then(|at| variable(&at));
    let content = if secret {
        None
    } else {
        fields
            .text("content")
            .map(|text| FileSource::Content(EnvValue::from(text)))
    };
    let ways: &[&str] = if secret {
        &["file", "environment"]
    } else {
        &["file", "environment", "content"]
    };
    let given = ways.iter().filter(|way| fields.has(way)).count();
    // A refused key says enough.
    let refused = ["external", "driver", "template_driver"]
        .iter()
        .any(|key| fields.has(key));
    if given != 1 && !refused {
        at.error(format!("exactly one of {} says what is in it", ways.join(", ")));
    }
    let name = fields.text("name").unwrap_or_else(|| format!("{project}_{key}"));
    let labels = fields.dict("labels");
    fields.finish();
    Some(FileObject {
        name,
        source: file.or(variable).or(content)?,
        labels,
    })
}

fn variable(at: &At<'_>) -> Option<FileSource> {
    let variable = at.text()?;
    let Some(value) = at.cx.variables.get(&variable) else {
        at.error_hint(format!("the variable {variable:?} is not set"), "set it in .env");
        return None;
    };
    Some(FileSource::Environment {
        value: EnvValue::from(value.as_str()),
        variable,
    })
}
