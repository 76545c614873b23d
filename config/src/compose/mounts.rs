//! `volumes`, `volumes_from`, `configs`, `secrets` and `devices` of a service, short and long.

use std::collections::BTreeMap;
use std::path::PathBuf;

use state::name::ServiceName;
use state::stack_spec::{Bind, Device, FileGrant, FileObject, Mount, NamedVolume, TmpfsMount, VolumesFrom};

use super::fields::At;
use super::keys;
use super::node::{Kind, Value};

const PROPAGATIONS: [&str; 6] = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];

/// One entry of `volumes`.
pub(crate) fn mount(item: &At<'_>) -> Option<Mount> {
    if let Value::Map(_) = &item.node.value {
        return long(item);
    }
    let scalar = item.scalar("a volume")?;
    match Short::parse(&scalar.text) {
        Ok(short) => short.mount(item),
        Err(why) => {
            item.error(format!("{:?} is not a volume: {why}", scalar.shown()));
            None
        }
    }
}

/// The target of a volume in short syntax.
pub(crate) fn short_target(text: &str) -> Option<String> {
    Short::parse(text).ok().map(|short| short.target)
}

#[derive(Default)]
struct Short {
    source: Option<String>,
    target: String,
    read_only: bool,
    nocopy: bool,
    propagation: Option<String>,
    selinux: Option<String>,
    consistency: Option<String>,
}

impl Short {
    /// `[source:]target[:options]`.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let parts: Vec<&str> = text.split(':').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err("a part of it is empty");
        }
        let (source, target, options) = match parts[..] {
            [target] => (None, target, ""),
            [source, target] => (Some(source), target, ""),
            [source, target, options] => (Some(source), target, options),
            _ => return Err("it has too many colons"),
        };
        let mut short = Self {
            source: source.map(str::to_owned),
            target: target.to_owned(),
            ..Self::default()
        };
        for option in options.split(',').filter(|o| !o.is_empty()) {
            match option {
                "ro" => short.read_only = true,
                "rw" => short.read_only = false,
                "nocopy" => short.nocopy = true,
                "z" | "Z" => short.selinux = Some(option.to_owned()),
                "cached" | "delegated" | "consistent" => short.consistency = Some(option.to_owned()),
                _ if PROPAGATIONS.contains(&option) => short.propagation = Some(option.to_owned()),
                _ => return Err("its options are ro, rw, nocopy, z, Z, a propagation or a consistency"),
            }
        }
        Ok(short)
    }

    fn mount(self, item: &At<'_>) -> Option<Mount> {
        let target = checked_target(item, &self.target)?;
        let Some(source) = self.source else {
            return Some(Mount::Anonymous {
                target,
                read_only: self.read_only,
                nocopy: self.nocopy,
            });
        };
        if source.starts_with(['.', '/', '~']) {
            return Some(Mount::Bind(Bind {
                source: item.cx.absolute(item.node.mark, &source),
                target,
                read_only: self.read_only,
                propagation: self.propagation,
                create_host_path: true,
                selinux: self.selinux,
                recursive: None,
                consistency: self.consistency,
            }));
        }
        Some(Mount::Volume(NamedVolume {
            volume: source,
            target,
            read_only: self.read_only,
            nocopy: self.nocopy,
            subpath: None,
            consistency: self.consistency,
        }))
    }
}

/// An absolute path in the container, without `.` and `..`.
fn checked_target(item: &At<'_>, target: &str) -> Option<String> {
    if !target.starts_with('/') {
        item.error_hint(
            format!("the target {target:?} is not absolute"),
            "start it with /",
        );
        return None;
    }
    Some(
        super::context::clean(target.as_ref())
            .to_string_lossy()
            .into_owned(),
    )
}

fn long(item: &At<'_>) -> Option<Mount> {
    let fields = item.fields(&keys::VOLUME_MOUNT);
    let kinds = [
        ("bind", "bind"),
        ("volume", "volume"),
        ("tmpfs", "tmpfs"),
        ("image", ""),
        ("npipe", ""),
        ("cluster", ""),
    ];
    let kind = fields.get("type").and_then(|at| match at.choice(&kinds) {
        Some("") => {
            at.error_hint(
                "mounts of this type are not supported",
                "it is one of bind, volume, tmpfs",
            );
            None
        }
        kind => kind,
    });
    if !fields.has("type") {
        item.error_hint("\"type\" is missing", "it is one of bind, volume, tmpfs");
    }
    let target = fields
        .get("target")
        .and_then(|at| checked_target(&at, &at.text()?));
    if !fields.has("target") {
        item.error("\"target\" is missing: where in the container?");
    }
    let read_only = fields.flag("read_only");
    let consistency = fields.text("consistency");
    let target = target.unwrap_or_default();
    let mount = match kind {
        Some("bind") => bind(item, &fields, target, read_only, consistency),
        Some("volume") => Some(volume(&fields, target, read_only, consistency)),
        Some("tmpfs") => Some(tmpfs(&fields, target, read_only, consistency)),
        _ => return None,
    };
    fields.finish();
    mount.filter(|m| !m.target().is_empty())
}

type Fields<'a> = super::fields::Fields<'a>;

fn bind(
    item: &At<'_>,
    fields: &Fields<'_>,
    target: String,
    read_only: bool,
    consistency: Option<String>,
) -> Option<Mount> {
    let source = fields.get("source").and_then(|at| at.path());
    if !fields.has("source") {
        item.error("\"source\" is missing: which path of the host?");
    }
    let mut bind = Bind {
        source: source.clone().unwrap_or_default(),
        target,
        read_only,
        consistency,
        ..Bind::default()
    };
    // As in Compose: where nothing is said of the bind itself, it is like the short form.
    bind.create_host_path = !fields.has("bind");
    if let Some(at) = fields.get("bind") {
        let options = at.fields(&keys::BIND);
        bind.create_host_path = options.flag("create_host_path");
        bind.propagation = options
            .get("propagation")
            .and_then(|at| at.choice(&PROPAGATIONS.map(|p| (p, p))))
            .map(str::to_owned);
        bind.selinux = options
            .get("selinux")
            .and_then(|at| at.choice(&[("z", "z"), ("Z", "Z")]))
            .map(str::to_owned);
        let modes = ["enabled", "disabled", "writable", "readonly"];
        bind.recursive = options
            .get("recursive")
            .and_then(|at| at.choice(&modes.map(|m| (m, m))))
            .map(str::to_owned);
        options.finish();
    }
    source.map(|_| Mount::Bind(bind))
}

fn volume(fields: &Fields<'_>, target: String, read_only: bool, consistency: Option<String>) -> Mount {
    let (mut nocopy, mut subpath) = (false, None);
    if let Some(at) = fields.get("volume") {
        let options = at.fields(&keys::VOLUME_OPTIONS);
        nocopy = options.flag("nocopy");
        subpath = options.text("subpath");
        options.finish();
    }
    match fields.text("source").filter(|source| !source.is_empty()) {
        None => Mount::Anonymous {
            target,
            read_only,
            nocopy,
        },
        Some(volume) => Mount::Volume(NamedVolume {
            volume,
            target,
            read_only,
            nocopy,
            subpath,
            consistency,
        }),
    }
}

fn tmpfs(fields: &Fields<'_>, target: String, read_only: bool, consistency: Option<String>) -> Mount {
    let mut mount = TmpfsMount {
        target,
        read_only,
        consistency,
        ..TmpfsMount::default()
    };
    if let Some(at) = fields.get("tmpfs") {
        let options = at.fields(&keys::TMPFS);
        mount.size = options.bytes("size");
        mount.mode = options.get("mode").and_then(|at| mode(&at));
        options.finish();
    }
    Mount::Tmpfs(mount)
}

/// Permission bits: an integer as YAML reads it (`0440` is octal), or text in octal.
fn mode(at: &At<'_>) -> Option<u32> {
    let scalar = at.scalar("permission bits")?;
    let radix = if scalar.kind == Kind::Int { 10 } else { 8 };
    let digits = scalar.text.strip_prefix("0o").unwrap_or(&scalar.text);
    let value = u32::from_str_radix(digits, radix)
        .ok()
        .filter(|mode| *mode <= 0o7777);
    if value.is_none() {
        at.error_hint(
            format!("{:?} is no permission bits", scalar.shown()),
            "write them as 0440",
        );
    }
    value
}

/// One entry of `volumes_from`.
pub(crate) fn volumes_from(item: &At<'_>) -> Option<VolumesFrom> {
    let text = item.text()?;
    let parts: Vec<&str> = text.split(':').collect();
    let (container, name, option) = match parts[..] {
        ["container", name] => (true, name, "rw"),
        ["container", name, option] => (true, name, option),
        [name] => (false, name, "rw"),
        [name, option] => (false, name, option),
        _ => (false, "", ""),
    };
    let read_only = match option {
        "ro" => true,
        "rw" => false,
        _ => {
            item.error_hint(
                "this is not a source of volumes",
                "write it as service, service:ro or container:name",
            );
            return None;
        }
    };
    if container {
        return Some(VolumesFrom::Container {
            container: name.to_owned(),
            read_only,
        });
    }
    let service: ServiceName = name
        .parse()
        .map_err(|error: state::name::InvalidName| item.error(error.to_string()))
        .ok()?;
    Some(VolumesFrom::Service { service, read_only })
}

/// The configs or secrets that a service or a build is given. `default` makes the target of a name.
pub(crate) fn grants(
    list: &At<'_>,
    what: &str,
    objects: &BTreeMap<String, Option<FileObject>>,
    default: fn(&str) -> String,
) -> Vec<FileGrant> {
    list.items()
        .iter()
        .filter_map(|item| grant(item, what, objects, default))
        .collect()
}

fn grant(
    item: &At<'_>,
    what: &str,
    objects: &BTreeMap<String, Option<FileObject>>,
    default: fn(&str) -> String,
) -> Option<FileGrant> {
    let (mut target, mut uid, mut gid, mut bits) = (None, None, None, None);
    let key = if let Value::Map(_) = &item.node.value {
        let fields = item.fields(&keys::GRANT);
        let source = fields.text("source");
        if !fields.has("source") {
            item.error(format!("\"source\" is missing: which {what}?"));
        }
        target = fields.text("target");
        uid = fields.text("uid");
        gid = fields.text("gid");
        bits = fields.get("mode").and_then(|at| mode(&at));
        fields.finish();
        source?
    } else {
        item.text()?
    };
    let Some(object) = objects.get(&key) else {
        undefined(item, what, &key, objects.keys().map(String::as_str));
        return None;
    };
    // Without a value its definition is wrong, and was complained about.
    let source = object.as_ref()?.source.clone();
    let target = match target {
        Some(target) if target.starts_with('/') => target,
        Some(name) => default(&name),
        None => default(&key),
    };
    Some(FileGrant {
        key,
        source,
        target,
        uid,
        gid,
        mode: bits,
    })
}

/// Complains that `key` is not among the top-level ones.
pub(crate) fn undefined<'k>(item: &At<'_>, what: &str, key: &str, known: impl Iterator<Item = &'k str>) {
    let hint = crate::error::did_you_mean(key, known)
        .unwrap_or_else(|| format!("define it under the top-level {what}s"));
    item.error_hint(format!("the {what} {key:?} is not defined"), hint);
}

/// One entry of `devices`.
pub(crate) fn device(item: &At<'_>) -> Option<Device> {
    if let Value::Map(_) = &item.node.value {
        let fields = item.fields(&keys::DEVICE);
        let source = fields.text("source");
        if !fields.has("source") {
            item.error("\"source\" is missing: which device of the host?");
        }
        let target = fields.text("target");
        let permissions = fields.text("permissions").unwrap_or_else(|| "rwm".to_owned());
        fields.finish();
        let source = source?;
        return Some(Device {
            target: target.unwrap_or_else(|| source.clone()),
            source,
            permissions,
        });
    }
    let text = item.text()?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, second] if second.starts_with('/') => (source, second, "rwm"),
        [source, permissions] => (source, source, permissions),
        [source, target, permissions] => (source, target, permissions),
        _ => {
            item.error_hint("this is not a device", "write it as /dev/host:/dev/container:rwm");
            return None;
        }
    };
    let valid =
        !source.is_empty() && !permissions.is_empty() && permissions.chars().all(|c| "rwm".contains(c));
    if !valid {
        item.error_hint("this is not a device", "write it as /dev/host:/dev/container:rwm");
        return None;
    }
    Some(Device {
        source: source.to_owned(),
        target: target.to_owned(),
        permissions: permissions.to_owned(),
    })
}

/// The default target of a config.
pub(crate) fn config_target(name: &str) -> String {
    format!("/{name}")
}

/// The default target of a secret.
pub(crate) fn secret_target(name: &str) -> String {
    PathBuf::from("/run/secrets")
        .join(name)
        .to_string_lossy()
        .into_owned()
}
