//! Rows: what a service says, and the part of the container's body that it becomes.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use state::stack_spec::StackSpec;

use super::*;
use crate::engine::Carried;
use crate::engine::Dialect;

const OLD: Api = Api(1, 41);
const NEW: Api = Api(1, 51);

fn stack(web: &Value) -> StackSpec {
    serde_json::from_value(json!({
        "project": "shop",
        "services": {"web": web, "db": {"image": "db"}},
        "networks": {"default": {"name": "shop_default"}, "back": {"name": "shop_back"}},
        "volumes": {"data": {"name": "shop_data"}},
    }))
    .unwrap()
}

fn context(api: Api) -> Context {
    Context {
        api,
        peers: BTreeMap::from([("db".parse().unwrap(), "dbdbdb".to_owned())]),
        seccomp: BTreeMap::from([("profile.json".to_owned(), "{}".to_owned())]),
    }
}

fn rendered(web: &Value, api: Api, carried: Vec<Carried>) -> Result<Rendered, EngineError> {
    let stack = stack(web);
    let service = "web".parse().unwrap();
    let new = NewContainer {
        stack: &stack,
        service: &service,
        spec: &stack.services[&service],
        number: 2,
        name: "shop-web-2.new".to_owned(),
        image: format!("sha256:{}", "1f".repeat(32)).parse().unwrap(),
        spec_hash: "5bec".to_owned(),
        operation: 7,
        generation: 3,
        carried,
        restart: state::stack_spec::RestartPolicy::No,
        dialect: Dialect::Hyphen,
        working_dir: PathBuf::from("/srv/shop"),
        config_files: vec![
            PathBuf::from("/srv/shop/a.yaml"),
            PathBuf::from("/srv/shop/b.yaml"),
        ],
    };
    render(&new, &context(api))
}

/// JSON with its keys in order, or the refusal.
#[track_caller]
fn check(web: &Value, api: Api, pointer: &str, expected: &Expect) {
    let text = match rendered(web, api, Vec::new()) {
        Ok(rendered) => shown(&rendered, pointer),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&text);
}

fn shown(rendered: &Rendered, pointer: &str) -> String {
    let body = serde_json::to_value(&rendered.body).unwrap();
    let part = body.pointer(pointer).cloned().unwrap_or_default();
    serde_json::to_string(&sorted(part)).unwrap()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let ordered: BTreeMap<_, _> = fields
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[test]
fn labels_are_composes_and_ours() {
    let web = json!({"labels": {"own": "1"}, "environment": {"TOKEN": "hunter2"}, "depends_on": {
        "db": {"condition": "healthy", "restart": true, "required": true}}});
    check(
        &web,
        NEW,
        "/Labels",
        &expect![[
            r#"{"com.docker.compose.config-hash":"5bec","com.docker.compose.container-number":"2","com.docker.compose.depends_on":"db:service_healthy:true","com.docker.compose.image":"sha256:1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f","com.docker.compose.oneoff":"False","com.docker.compose.project":"shop","com.docker.compose.project.config_files":"/srv/shop/a.yaml,/srv/shop/b.yaml","com.docker.compose.project.working_dir":"/srv/shop","com.docker.compose.service":"web","com.docker.compose.version":"2.40.3","io.steadfast.generation":"3","io.steadfast.operation":"7","io.steadfast.spec":"5bec","own":"1"}"#
        ]],
    );
}

#[test]
fn process() {
    let web = json!({"command": [], "entrypoint": ["/x"], "environment": {"A": "b=c", "GONE": null},
        "stop_grace_period": 90_000_000_000u64, "expose": ["9000"], "ports": [{"target": 80}]});
    check(&web, NEW, "/Cmd", &expect!["[]"]);
    check(&web, NEW, "/Entrypoint", &expect![[r#"["/x"]"#]]);
    check(&web, NEW, "/Env", &expect![[r#"["A=b=c","GONE"]"#]]);
    check(&web, NEW, "/StopTimeout", &expect!["90"]);
    check(
        &web,
        NEW,
        "/ExposedPorts",
        &expect![[r#"{"80/tcp":{},"9000":{}}"#]],
    );
}

#[test]
fn networks_in_order_of_priority_and_one_only_for_an_old_engine() {
    let web = json!({"networking": {"networks": {"default": {"aliases": ["www"]},
        "back": {"priority": 3, "ipv4_address": "10.0.0.4", "gw_priority": 1}}}});
    check(&web, NEW, "/HostConfig/NetworkMode", &expect![[r#""shop_back""#]]);
    check(
        &web,
        NEW,
        "/NetworkingConfig/EndpointsConfig",
        &expect![[
            r#"{"shop_back":{"Aliases":["shop-web-2","web"],"GwPriority":1,"IPAMConfig":{"IPv4Address":"10.0.0.4"}},"shop_default":{"Aliases":["shop-web-2","web","www"]}}"#
        ]],
    );
    check(
        &web,
        OLD,
        "/NetworkingConfig/EndpointsConfig",
        &expect![[
            r#"{"shop_back":{"Aliases":["shop-web-2","web"],"IPAMConfig":{"IPv4Address":"10.0.0.4"}}}"#
        ]],
    );
    let later = rendered(&web, OLD, Vec::new()).unwrap().later;
    assert_eq!(
        later.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["shop_default"]
    );
    let mac = json!({"mac_address": "02:00:00:00:00:01", "networking": {"networks": {"default": {}}}});
    check(
        &mac,
        NEW,
        "/NetworkingConfig/EndpointsConfig/shop_default/MacAddress",
        &expect![[r#""02:00:00:00:00:01""#]],
    );
    check(
        &mac,
        OLD,
        "",
        &expect!["create container: service web: mac_address needs Docker Engine 25 or later (status 400)"],
    );
    check(
        &json!({"networking": {"networks": {"other": {}}}}),
        NEW,
        "",
        &expect![[r#"create container: service web: there is no network "other" (status 400)"#]],
    );
}

#[test]
fn namespaces() {
    for (mode, expected) in [
        (json!("host"), "\"host\""),
        (json!("none"), "\"none\""),
        (json!({"service": "db"}), "\"container:dbdbdb\""),
        (json!({"container": "outside"}), "\"container:outside\""),
        (json!({"other": "bridge"}), "\"bridge\""),
    ] {
        let web = json!({"networking": {"mode": mode}, "pid": mode});
        let rendered = rendered(&web, NEW, Vec::new()).unwrap();
        assert_eq!(shown(&rendered, "/HostConfig/NetworkMode"), expected);
        assert_eq!(shown(&rendered, "/HostConfig/PidMode"), expected);
        assert!(rendered.body.networking_config.is_none());
    }
    let web = json!({"networking": {"mode": {"service": "web"}}});
    check(
        &web,
        NEW,
        "",
        &expect![
            "create container: service web: there is no container of service web to share with (status 400)"
        ],
    );
}

#[test]
fn mounts() {
    let web = json!({"volumes": [
        {"type": "volume", "volume": "data", "target": "/data"},
        {"type": "volume", "volume": "data", "target": "/sub", "subpath": "a"},
        {"type": "bind", "source": "/srv/x", "target": "/x", "create_host_path": true, "read_only": true, "selinux": "z"},
        {"type": "bind", "source": "/srv/y", "target": "/y"},
        {"type": "tmpfs", "target": "/t", "size": 1024, "mode": 0o700},
    ], "secrets": [{"key": "k", "source": {"file": "/srv/key"}, "target": "/run/secrets/k"}], "tmpfs": ["/run", "/c:size=1m"]});
    check(
        &web,
        NEW,
        "/HostConfig/Binds",
        &expect![[r#"["shop_data:/data:rw","/srv/x:/x:ro,z"]"#]],
    );
    check(
        &web,
        NEW,
        "/HostConfig/Mounts",
        &expect![[
            r#"[{"Source":"shop_data","Target":"/sub","Type":"volume","VolumeOptions":{"Subpath":"a"}},{"BindOptions":{},"Source":"/srv/y","Target":"/y","Type":"bind"},{"Target":"/t","TmpfsOptions":{"Mode":448,"SizeBytes":1024},"Type":"tmpfs"},{"BindOptions":{},"ReadOnly":true,"Source":"/srv/key","Target":"/run/secrets/k","Type":"bind"}]"#
        ]],
    );
    check(
        &web,
        NEW,
        "/HostConfig/Tmpfs",
        &expect![[r#"{"/c":"size=1m","/run":""}"#]],
    );
}

#[test]
fn anonymous_volumes_are_carried_unless_something_else_is_there_now() {
    let web = json!({"volumes": [
        {"type": "anonymous", "target": "/rows"},
        {"type": "anonymous", "target": "/more"},
        {"type": "volume", "volume": "data", "target": "/data"},
    ]});
    let carry = |target: &str| Carried {
        target: target.to_owned(),
        volume: format!("old{target}"),
    };
    let carried = ["/rows", "/image", "/data"].map(carry).to_vec();
    let rendered = rendered(&web, NEW, carried).unwrap();
    expect![[r#"[{"Target":"/more","Type":"volume","VolumeOptions":{}},{"Source":"old/rows","Target":"/rows","Type":"volume"},{"Source":"old/image","Target":"/image","Type":"volume"}]"#]].assert_eq(&shown(&rendered, "/HostConfig/Mounts"));
    expect![[r#"["shop_data:/data:rw"]"#]].assert_eq(&shown(&rendered, "/HostConfig/Binds"));
}

#[test]
fn resources_of_deploy_win() {
    let web = json!({"mem_limit": 1, "nano_cpus": 2, "pids_limit": 3, "mem_reservation": 4, "cpu_shares": 5,
        "deploy": {"limits": {"memory": 10, "nano_cpus": 20, "pids": 30}, "reservations": {"memory": 40,
            "devices": [{"capabilities": ["gpu"], "count": -1}]}},
        "devices": [{"source": "vendor.com/gpu=0", "target": "vendor.com/gpu=0", "permissions": "rwm"},
            {"source": "/dev/a", "target": "/dev/b", "permissions": "r"}]});
    for (key, expected) in [
        ("Memory", "10"),
        ("NanoCpus", "20"),
        ("PidsLimit", "30"),
        ("MemoryReservation", "40"),
        ("CpuShares", "5"),
    ] {
        assert_eq!(
            shown(
                &rendered(&web, NEW, Vec::new()).unwrap(),
                &format!("/HostConfig/{key}")
            ),
            expected,
            "{key}"
        );
    }
    check(
        &web,
        NEW,
        "/HostConfig/DeviceRequests",
        &expect![[
            r#"[{"Capabilities":[["gpu"]],"Count":-1},{"DeviceIDs":["vendor.com/gpu=0"],"Driver":"cdi"}]"#
        ]],
    );
    check(
        &web,
        NEW,
        "/HostConfig/Devices",
        &expect![[r#"[{"CgroupPermissions":"r","PathInContainer":"/dev/b","PathOnHost":"/dev/a"}]"#]],
    );
}

#[test]
fn host() {
    let web = json!({"security_opt": ["no-new-privileges:true", "label:disable", "seccomp=profile.json", "systempaths=unconfined"]});
    check(
        &web,
        NEW,
        "/HostConfig/SecurityOpt",
        &expect![[r#"["no-new-privileges=true","label=disable","seccomp={}"]"#]],
    );
    check(&web, NEW, "/HostConfig/MaskedPaths", &expect!["[]"]);
    check(
        &json!({"security_opt": ["seccomp:missing.json"]}),
        NEW,
        "",
        &expect![
            "create container: service web: the seccomp profile missing.json cannot be read (status 400)"
        ],
    );
    let ports = json!({"ports": [{"target": 80, "published": {"first": 8080, "last": 8080}, "host_ip": "127.0.0.1"},
        {"target": 80, "published": {"first": 9000, "last": 9009}}, {"target": 53, "protocol": "udp"}]});
    check(
        &ports,
        NEW,
        "/HostConfig/PortBindings",
        &expect![[
            r#"{"53/udp":[{}],"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"},{"HostPort":"9000-9009"}]}"#
        ]],
    );
    let links =
        json!({"links": [{"to": "db", "alias": "base"}], "external_links": [{"to": "out", "alias": "side"}]});
    check(
        &links,
        NEW,
        "/HostConfig/Links",
        &expect![[r#"["shop-db-1:base","shop-db-1:db-2","shop-db-1:shop-db-2","out:side"]"#]],
    );
    let shared = json!({"volumes_from": [{"service": {"service": "db", "read_only": true}}, {"container": {"container": "c", "read_only": false}}]});
    check(
        &shared,
        NEW,
        "/HostConfig/VolumesFrom",
        &expect![[r#"["dbdbdb:ro","c"]"#]],
    );
}

#[test]
fn health() {
    let web = json!({"healthcheck": {"test": {"shell": "exit 0"}, "interval": 5, "start_interval": 7, "retries": 2}});
    check(
        &web,
        NEW,
        "/Healthcheck",
        &expect![[r#"{"Interval":5,"Retries":2,"StartInterval":7,"Test":["CMD-SHELL","exit 0"]}"#]],
    );
    check(
        &web,
        OLD,
        "/Healthcheck",
        &expect![[r#"{"Interval":5,"Retries":2,"Test":["CMD-SHELL","exit 0"]}"#]],
    );
    check(
        &json!({"healthcheck": {"test": "disabled"}}),
        NEW,
        "/Healthcheck",
        &expect![[r#"{"Test":["NONE"]}"#]],
    );
    check(
        &json!({"healthcheck": {"retries": 2}}),
        NEW,
        "/Healthcheck",
        &expect![[r#"{"Retries":2}"#]],
    );
}
