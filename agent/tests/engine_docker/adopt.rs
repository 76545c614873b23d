//! Containers that Compose made, of either dialect, are recognised: no difference to what we would make.
//! And ours are no different from themselves; and a real difference is found, without any value told.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use state::name::ServiceName;
use steadfast::engine::{Dialect, Engine};

use super::support::{Project, TINY, project, skip};

/// One service: its name, what the Compose file says, and what that means.
#[allow(clippy::too_many_lines, reason = "a table")]
fn services(dir: &Path, label: &str) -> Vec<(&'static str, Value, Value)> {
    let file = dir.join("settings").display().to_string();
    let here = dir.display().to_string();
    let own_name = json!({"container_name": format!("sf-engine-named-{label}-{}", std::process::id())});
    vec![
        ("plain", json!({}), json!({})),
        (
            "process",
            json!({"command": ["serve", "--x"], "user": "1000:1000", "working_dir": "/tmp", "hostname": "h",
                "domainname": "example", "tty": true, "stdin_open": true, "stop_signal": "SIGINT",
                "stop_grace_period": "1m30s", "environment": {"A": "b=c", "EMPTY": "", "VERSION": "mine"}}),
            json!({"command": ["serve", "--x"], "user": "1000:1000", "working_dir": "/tmp", "hostname": "h",
                "domainname": "example", "tty": true, "stdin_open": true, "stop_signal": "SIGINT",
                "stop_grace_period": 90_000_000_000u64,
                "environment": {"A": "b=c", "EMPTY": "", "VERSION": "mine"}}),
        ),
        (
            "entry",
            json!({"entrypoint": ["/tiny", "serve"]}),
            json!({"entrypoint": ["/tiny", "serve"]}),
        ),
        (
            "ports",
            json!({"ports": ["127.0.0.1::8080", "9001/udp"], "expose": ["9000", "9100"]}),
            json!({"ports": [{"host_ip": "127.0.0.1", "target": 8080}, {"target": 9001, "protocol": "udp"}],
                "expose": ["9000", "9100"]}),
        ),
        (
            "volumes",
            json!({"volumes": ["data:/data", "data:/again:ro", "/anon", format!("{here}:/here:ro"),
                {"type": "tmpfs", "target": "/t"},
                {"type": "volume", "source": "data", "target": "/fresh", "volume": {"nocopy": true}}],
                "tmpfs": ["/run", "/cache:size=1m"]}),
            json!({"volumes": [{"type": "volume", "volume": "data", "target": "/data"},
                {"type": "volume", "volume": "data", "target": "/again", "read_only": true},
                {"type": "anonymous", "target": "/anon"},
                {"type": "bind", "source": here, "target": "/here", "read_only": true, "create_host_path": true},
                {"type": "tmpfs", "target": "/t"},
                {"type": "volume", "volume": "data", "target": "/fresh", "nocopy": true}],
                "tmpfs": ["/run", "/cache:size=1m"]}),
        ),
        (
            "networks",
            json!({"networks": {"default": {"aliases": ["www", "w"]}, "back": {"priority": 10}}}),
            json!({"networking": {"networks": {"default": {"aliases": ["www", "w"]}, "back": {"priority": 10}}}}),
        ),
        (
            "health",
            json!({"healthcheck": {"test": "exit 0", "interval": "30s", "retries": 4, "start_period": "5s"}}),
            json!({"healthcheck": {"test": {"shell": "exit 0"}, "interval": 30_000_000_000u64, "retries": 4,
                "start_period": 5_000_000_000u64}}),
        ),
        (
            "nohealth",
            json!({"healthcheck": {"disable": true}}),
            json!({"healthcheck": {"test": "disabled"}}),
        ),
        (
            "limits",
            json!({"mem_limit": "64m", "memswap_limit": "128m", "mem_reservation": "32m", "cpus": 0.5,
                "cpu_shares": 512, "pids_limit": 50, "oom_score_adj": 100, "shm_size": "32m",
                "ulimits": {"nofile": {"soft": 1000, "hard": 2000}, "nproc": 500}}),
            json!({"mem_limit": 67_108_864, "memswap_limit": 134_217_728, "mem_reservation": 33_554_432,
                "nano_cpus": 500_000_000, "cpu_shares": 512, "pids_limit": 50, "oom_score_adj": 100,
                "shm_size": 33_554_432,
                "ulimits": {"nofile": {"soft": 1000, "hard": 2000}, "nproc": {"soft": 500, "hard": 500}}}),
        ),
        (
            "rights",
            json!({"cap_add": ["NET_ADMIN"], "cap_drop": ["MKNOD"], "read_only": true, "init": true,
                "security_opt": ["no-new-privileges:true"], "sysctls": {"net.ipv4.ip_unprivileged_port_start": 80},
                "group_add": ["44"]}),
            json!({"cap_add": ["NET_ADMIN"], "cap_drop": ["MKNOD"], "read_only": true, "init": true,
                "security_opt": ["no-new-privileges:true"],
                "sysctls": {"net.ipv4.ip_unprivileged_port_start": "80"}, "group_add": ["44"]}),
        ),
        (
            "host",
            json!({"extra_hosts": ["db:10.0.0.9"], "dns": ["10.0.0.53"], "dns_search": ["example"],
                "devices": ["/dev/null:/dev/nought:r"], "pid": "host", "ipc": "shareable",
                "logging": {"driver": "json-file", "options": {"max-size": "1m"}}}),
            json!({"extra_hosts": {"db": ["10.0.0.9"]}, "dns": ["10.0.0.53"], "dns_search": ["example"],
                "devices": [{"source": "/dev/null", "target": "/dev/nought", "permissions": "r"}],
                "pid": "host", "ipc": {"other": "shareable"},
                "logging": {"driver": "json-file", "options": {"max-size": "1m"}}}),
        ),
        (
            "joined",
            json!({"network_mode": "service:plain"}),
            json!({"networking": {"mode": {"service": "plain"}},
            "depends_on": {"plain": {"condition": "started", "restart": true, "required": true}}}),
        ),
        (
            "alone",
            json!({"network_mode": "none"}),
            json!({"networking": {"mode": "none"}}),
        ),
        (
            "again",
            json!({"restart": "on-failure:3"}),
            json!({"restart": {"on-failure": {"max": 3}}}),
        ),
        (
            "linked",
            json!({"links": ["plain:other"], "depends_on": ["plain"]}),
            json!({"links": [{"to": "plain", "alias": "other"}],
                "depends_on": {"plain": {"condition": "started", "restart": false, "required": true}}}),
        ),
        (
            "given",
            json!({"secrets": ["key"]}),
            json!({"secrets": [{"key": "key", "source": {"file": file}, "target": "/run/secrets/key"}]}),
        ),
        ("named", own_name.clone(), own_name),
    ]
}

/// What only the newer Compose gives effect to.
fn newer_only() -> Vec<(&'static str, Value, Value)> {
    vec![
        (
            "deployed",
            json!({"deploy": {"resources": {"limits": {"memory": "64m", "cpus": "0.25", "pids": 40},
                "reservations": {"memory": "16m"}}, "restart_policy": {"condition": "any"}}}),
            json!({"deploy": {"limits": {"memory": 67_108_864, "nano_cpus": 250_000_000, "pids": 40},
                "reservations": {"memory": 16_777_216}, "restart_policy": {"condition": "any"}}}),
        ),
        (
            "store",
            json!({"volumes": ["data:/data", "/anon"]}),
            json!({"volumes": [{"type": "volume", "volume": "data", "target": "/data"},
                {"type": "anonymous", "target": "/anon"}]}),
        ),
        (
            "heir",
            json!({"volumes_from": ["store"]}),
            json!({"volumes_from": [{"service": {"service": "store", "read_only": false}}],
                "depends_on": {"store": {"condition": "started", "restart": false, "required": true}}}),
        ),
    ]
}

/// The Compose binary of a dialect: named by the environment, or fetched by the repository's own tool.
fn compose(version: &str) -> Option<PathBuf> {
    let variable = format!("COMPOSE_{}", version.to_uppercase());
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tools/compose.sh");
    let out = Command::new(tool)
        .args([version, "--path"])
        .output()
        .ok()
        .filter(|out| out.status.success())?;
    Some(String::from_utf8(out.stdout).ok()?.trim().into()).filter(|path: &PathBuf| path.exists())
}

fn file_of(p: &Project, all: &[(&str, Value, Value)], dir: &Path) -> PathBuf {
    let label = json!({"io.steadfast.test": "engine"});
    let mut services = serde_json::Map::new();
    for (name, written, _) in all {
        let mut service = written.clone();
        service["image"] = json!(TINY);
        service["labels"] = label.clone();
        services.insert((*name).to_owned(), service);
    }
    let file = json!({
        "version": "3.8",
        "services": services,
        "networks": {"default": {"labels": label}, "back": {"labels": label}},
        "volumes": {"data": {"labels": label}},
        "secrets": {"key": {"file": "./settings"}},
    });
    let path = dir.join(format!("{}.yaml", p.stack.project));
    std::fs::write(&path, file.to_string()).unwrap();
    path
}

fn specs(all: &[(&str, Value, Value)]) -> Value {
    let mut services = serde_json::Map::new();
    for (name, _, meant) in all {
        let mut service = meant.clone();
        service["image"] = json!(TINY);
        service["labels"] = json!({"io.steadfast.test": "engine"});
        if service.get("networking").is_none() {
            service["networking"] = json!({"networks": {"default": {}}});
        }
        services.insert((*name).to_owned(), service);
    }
    Value::Object(services)
}

async fn adopts(version: &str, dialect: Dialect) {
    let Some(binary) = compose(version) else {
        return skip(&format!("adopting from Compose {version}: no such Compose here"));
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("settings"), "colour = blue").unwrap();
    let mut all = services(dir.path(), version);
    if dialect == Dialect::Hyphen {
        all.extend(newer_only());
    }
    let Some(p) = project(&format!("adopt-{version}"), specs(&all)).await else {
        return;
    };
    let file = file_of(&p, &all, dir.path());
    // The second time it takes over what was there before.
    for words in [&["up", "-d"][..], &["up", "-d", "--force-recreate"]] {
        let up = Command::new(&binary)
            .args(["-p", p.stack.project.as_str(), "-f", &file.display().to_string()])
            .args(words)
            .output()
            .unwrap();
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        let seen = p.engine.containers(&p.stack.project).await.unwrap();
        assert_eq!(seen.len(), all.len());
        let mut differences = Vec::new();
        for container in &seen {
            let new = p.new_container(&container.service, dialect);
            assert_eq!(container.name, new.name);
            for found in p.engine.differences(&container.id, &new).await.unwrap() {
                differences.push(format!(
                    "{}: {}: {}",
                    container.service, found.field, found.detail
                ));
            }
        }
        assert_eq!(differences, Vec::<String>::new(), "after {words:?}");
    }
}

#[tokio::test]
async fn what_compose_2_made_is_recognised() {
    adopts("v2", Dialect::Hyphen).await;
}

#[tokio::test]
async fn what_compose_1_made_is_recognised() {
    adopts("v1", Dialect::Underscore).await;
}

#[tokio::test]
async fn what_we_made_is_recognised_and_a_difference_is_found() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("settings"), "colour = blue").unwrap();
    let mut all = services(dir.path(), "own");
    all.extend(newer_only());
    let Some(p) = project("own", specs(&all)).await else {
        return;
    };
    p.make_objects().await;
    let order = p.stack.start_order().unwrap();
    for service in order.iter().flatten() {
        let new = p.new_container(service, Dialect::Hyphen);
        let id = p.engine.create(&new).await.unwrap();
        p.engine.start(&id).await.unwrap();
        assert_eq!(p.engine.differences(&id, &new).await.unwrap(), [], "{service}");
    }
    let rows = [
        ("process", "/environment/A", json!("hunter2"), "Config.Env"),
        (
            "process",
            "/stop_grace_period",
            json!(1_000_000_000),
            "Config.StopTimeout",
        ),
        ("limits", "/mem_limit", json!(50_331_648), "HostConfig.Memory"),
        ("limits", "/ulimits/nproc/soft", json!(400), "HostConfig.Ulimits"),
        ("volumes", "/volumes/0/read_only", json!(true), "Mounts"),
        ("volumes", "/volumes/3/source", json!("/srv"), "Mounts"),
        ("volumes", "/tmpfs/1", json!("/cache:size=2m"), "HostConfig.Tmpfs"),
        (
            "networks",
            "/networking/networks/default/aliases/1",
            json!("v"),
            "NetworkSettings.Networks.DEFAULT.Aliases",
        ),
        ("health", "/healthcheck/retries", json!(5), "Config.Healthcheck"),
        ("again", "/restart", json!("always"), "HostConfig.RestartPolicy"),
        ("rights", "/cap_add/0", json!("SYS_TIME"), "HostConfig.CapAdd"),
        (
            "host",
            "/logging/options/max-size",
            json!("2m"),
            "HostConfig.LogConfig.Config",
        ),
        ("host", "/pid", json!("none"), "HostConfig.PidMode"),
        ("plain", "/labels/io.example", json!("x"), "Config.Labels"),
        ("plain", "/privileged", json!(true), "HostConfig.Privileged"),
        (
            "joined",
            "/networking/mode",
            json!("host"),
            "HostConfig.NetworkMode",
        ),
        (
            "linked",
            "/links/0/alias",
            json!("another"),
            "NetworkSettings.Networks.DEFAULT.Links",
        ),
        (
            "ports",
            "/ports/0/host_ip",
            json!("127.0.0.2"),
            "HostConfig.PortBindings",
        ),
    ];
    for (service, pointer, value, field) in rows {
        let found = changed(&p, &service.parse().unwrap(), pointer, value).await;
        let field = field.replace("DEFAULT", &format!("{}_default", p.stack.project));
        assert_eq!(
            found.iter().map(|d| d.field.as_str()).collect::<Vec<_>>(),
            [field],
            "{service} {pointer}"
        );
        assert!(
            !found[0].detail.contains("hunter2") && !found[0].detail.contains("b=c"),
            "{}",
            found[0].detail
        );
    }
}

/// What differs when one value of a service's specification is another.
async fn changed(
    p: &Project,
    service: &ServiceName,
    pointer: &str,
    value: Value,
) -> Vec<steadfast::engine::Difference> {
    let mut spec = serde_json::to_value(&p.stack.services[service]).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match spec.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        fields => fields[key] = value,
    }
    let spec = serde_json::from_value(spec).unwrap();
    let mut new = p.new_container(service, Dialect::Hyphen);
    let id = p.engine.containers(&p.stack.project).await.unwrap();
    let id = &id.iter().find(|c| c.service == *service).unwrap().id;
    new.spec = &spec;
    new.restart = spec.restart_policy();
    p.engine.differences(id, &new).await.unwrap()
}

#[tokio::test]
async fn another_image_is_named_first() {
    let Some(p) = project("other", specs(&[("plain", json!({}), json!({}))])).await else {
        return;
    };
    let Some(other) = p.engine.image("steadfast-test/tiny:v2").await.unwrap() else {
        return skip("another image: steadfast-test/tiny:v2 is not here");
    };
    p.make_objects().await;
    let service = "plain".parse().unwrap();
    let mut new = p.new_container(&service, Dialect::Hyphen);
    let id = p.engine.create(&new).await.unwrap();
    new.image = other;
    let found = p.engine.differences(&id, &new).await.unwrap();
    assert_eq!(found[0].field, "Image");
}
