//! The Compose loader from outside: files in memory in, models and complaints out. What Compose
//! itself makes of files is compared elsewhere; here is what only Steadfast says.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use steadfast_config::compose::{ComposeInput, Loaded, Source, load};
use steadfast_config::error::Problems;
use steadfast_config::read::ReadError;

/// Files by name, under `/app`.
struct Files<'a>(&'a [(&'a str, &'a str)]);

impl Source for Files<'_> {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let name = path.strip_prefix("/app").unwrap_or(path);
        let found = self.0.iter().find(|(file, _)| Path::new(file) == name);
        found
            .map(|(_, text)| text.as_bytes().to_vec())
            .ok_or_else(|| ReadError::Absent {
                path: path.to_owned(),
            })
    }
}

fn input(files: &[&str]) -> ComposeInput {
    let files = files
        .iter()
        .map(|file| PathBuf::from("/app").join(file))
        .collect();
    ComposeInput::new("shop".parse().unwrap(), PathBuf::from("/app"), files)
}

fn loaded(files: &[(&str, &str)]) -> Result<Loaded, Problems> {
    load(&Files(files), &input(&["c.yaml"]))
}

/// The model as JSON, then the warnings.
#[track_caller]
fn check(files: &[(&str, &str)], expected: &Expect) {
    let text = match loaded(files) {
        Ok(loaded) => {
            let mut text = serde_json::to_string_pretty(&loaded.spec.services).unwrap();
            for warning in &loaded.warnings.0 {
                text = format!("{text}\nwarning: {warning}");
            }
            text
        }
        Err(problems) => format!("refused:\n{problems}"),
    };
    expected.assert_eq(&text.replace("/app/", ""));
}

/// What is said about one file.
#[track_caller]
fn complains(text: &str, expected: &Expect) {
    let problems = match loaded(&[("c.yaml", text)]) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    expected.assert_eq(&problems.to_string().replace("/app/", ""));
}

const GUIDE: &str = "
services:
  postgres:
    image: postgres:15
    container_name: bybit-postgres
    environment:
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?}
      POSTGRES_DB: bybit_tester
    volumes: [pg:/var/lib/postgresql/data]
    healthcheck:
      test: pg_isready -U postgres
      interval: 5s
  redis: {image: 'redis:7'}
  migrate:
    image: registry.example/bybit/api:${TAG}
    command: alembic upgrade head
    depends_on: {postgres: {condition: service_healthy}}
  api:
    image: registry.example/bybit/api:${TAG}
    container_name: bybit-api
    env_file: .env
    ports: ['8000:8000']
    restart: unless-stopped
    depends_on:
      postgres: {condition: service_healthy}
      redis: {condition: service_started}
      migrate: {condition: service_completed_successfully}
  frontend:
    image: registry.example/bybit/frontend:${TAG}
    ports: ['3001:80']
    depends_on: [api]
    deploy: {update_config: {order: start-first}}
volumes: {pg: {}}
";

#[test]
fn an_ordinary_stack_and_what_the_planner_asks_of_it() {
    let env = ".env";
    let files = [
        ("c.yaml", GUIDE),
        (env, "TAG=v1.4.0\nPOSTGRES_PASSWORD=hunter2\n"),
    ];
    let mut input = input(&["c.yaml"]);
    input.overrides = BTreeMap::from([("TAG".to_owned(), "v1.5.0".to_owned())]);
    let pin = BTreeMap::from([("TAG".to_owned(), "v1.4.2".to_owned())]);
    input.service_overrides = BTreeMap::from([("frontend".parse().unwrap(), pin)]);
    let loaded = load(&Files(&files), &input).unwrap();
    let spec = &loaded.spec;

    let images: Vec<_> = spec
        .services
        .values()
        .map(|s| s.image.as_deref().unwrap_or_default())
        .collect();
    expect![[r#"
        registry.example/bybit/api:v1.5.0
        registry.example/bybit/frontend:v1.4.2
        registry.example/bybit/api:v1.5.0
        postgres:15
        redis:7"#]]
    .assert_eq(&images.join("\n"));

    let order: Vec<Vec<_>> = spec
        .start_order()
        .unwrap()
        .iter()
        .map(|layer| layer.iter().map(ToString::to_string).collect())
        .collect();
    expect![[r#"[["postgres", "redis"], ["migrate"], ["api"], ["frontend"]]"#]]
        .assert_eq(&format!("{order:?}"));

    let one_shot = |name: &str| spec.is_one_shot(&name.parse().unwrap());
    assert!(one_shot("migrate") && !one_shot("api") && !one_shot("postgres"));
    let service = |name: &str| &spec.services[&name.parse().unwrap()];
    assert_eq!(service("postgres").data_mounts().count(), 1);
    assert!(service("api").publishes_host_port() && !service("redis").publishes_host_port());
    assert!(!service("api").has_fixed_address());
    // A variable's override reaches env_file values too; the file stays what it is otherwise.
    assert_eq!(
        service("api").environment["POSTGRES_PASSWORD"]
            .as_ref()
            .unwrap()
            .expose(),
        "hunter2"
    );
    assert_eq!(
        loaded.interpolated[&"api".parse().unwrap()]
            .iter()
            .collect::<Vec<_>>(),
        ["TAG"]
    );
    assert!(loaded.interpolated[&"redis".parse().unwrap()].is_empty());
    assert_eq!(loaded.files, [Path::new("/app/.env"), Path::new("/app/c.yaml")]);

    let shown = format!("{loaded:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let json = serde_json::to_string(spec).unwrap();
    assert_eq!(
        &serde_json::from_str::<state::stack_spec::StackSpec>(&json).unwrap(),
        spec
    );
}

#[test]
fn a_pin_reaches_an_image_that_came_by_extends() {
    let text = "
services:
  base: {image: 'app:${TAG}', profiles: [never]}
  api: {extends: base, profiles: !reset []}
  web: {extends: base, profiles: !override [web]}
";
    let mut input = input(&["c.yaml"]);
    input.profiles = vec!["web".to_owned()];
    input.overrides = BTreeMap::from([("TAG".to_owned(), "2".to_owned())]);
    let pin = BTreeMap::from([("TAG".to_owned(), "1".to_owned())]);
    input.service_overrides = BTreeMap::from([("web".parse().unwrap(), pin)]);
    let loaded = load(&Files(&[("c.yaml", text)]), &input).unwrap();
    let images: Vec<_> = loaded
        .spec
        .services
        .iter()
        .map(|(n, s)| format!("{n}={}", s.image.clone().unwrap()))
        .collect();
    assert_eq!(images, ["api=app:2", "web=app:1"]);
}

#[test]
fn all_problems_come_at_once_with_their_places() {
    complains(
        "
services:
  api:
    imgae: x
    image: app
    ports: ['80:http', '8080:80']
    restart: allways
    mem_limit: lots
    privileged: maybe
    depends_on: [databse]
    networks: [bakc]
    volumes: ['data:/data', './x:relative']
    healthcheck: {interval: 10, test: [curl, x]}
    environment: 7
  database: {image: postgres}
networks: {back: {}}
volumes: {dta: {}}
",
        &expect![[r#"
            c.yaml:4:5: services.api.imgae: this key is unknown (did you mean "image"?)
            c.yaml:6:13: services.api.ports[0]: "80:http" is not a port: a port is a number from 0 to 65535 (write it as 8080:80, 127.0.0.1:8080:80/udp or 80)
            c.yaml:7:14: services.api.restart: "allways" is not a restart policy (did you mean "always"?)
            c.yaml:8:16: services.api.mem_limit: "lots" is not a size (write it as 512m, 2g or a number of bytes)
            c.yaml:9:17: services.api.privileged: "maybe" is not a boolean
            c.yaml:10:18: services.api.depends_on: there is no service "databse" (did you mean "database"?)
            c.yaml:11:16: services.api.networks: the network "bakc" is not defined (did you mean "back"?)
            c.yaml:12:15: services.api.volumes: the volume "data" is not defined (did you mean "dta"?)
            c.yaml:12:29: services.api.volumes[1]: the target "relative" is not absolute (start it with /)
            c.yaml:13:29: services.api.healthcheck.interval: "10" is not a length of time (write it with a unit, as 10s, 1m30s or 500ms)
            c.yaml:13:33: services.api.healthcheck.test: a test that is a list starts with CMD, CMD-SHELL or NONE (or write it as one text)
            c.yaml:14:18: services.api.environment: a mapping or a list of key=value is expected here, not a number (7)"#]],
    );
}

#[test]
fn what_is_refused_says_why() {
    complains(
        "
version: '3.8'
name: other
include: [more.yaml]
x-anything: [goes]
services:
  a:
    image: app
    x-mine: 1
    post_start: [{command: x}]
    provider: {type: x}
    develop: {watch: []}
    deploy: {mode: global, placement: {}, endpoint_mode: vip, x-too: 1}
secrets: {s: {external: true}}
",
        &expect![[r#"
            c.yaml:2:1: version: this key has no effect (it is obsolete, and Compose ignores it too)
            c.yaml:3:7: name: the file names the project "other", but it is managed as "shop" (as with `docker compose -p`, the latter holds)
            c.yaml:4:1: include: this key is not supported (name the files of the stack instead; they are merged)
            c.yaml:10:5: services.a.post_start: this key is not supported (Steadfast does not run hooks in containers; use a service that runs once, or the entrypoint)
            c.yaml:11:5: services.a.provider: this key is not supported (a provider is a program that Compose runs instead of a container)
            c.yaml:12:5: services.a.develop: this key has no effect (it is for `docker compose watch` only)
            c.yaml:13:20: services.a.deploy.mode: on one host, global means one container: it is read as replicated
            c.yaml:13:28: services.a.deploy.placement: this key has no effect (it is Swarm's, and one host has no use for it)
            c.yaml:13:43: services.a.deploy.endpoint_mode: this key has no effect (it is Swarm's, and one host has no use for it)
            c.yaml:14:15: secrets.s.external: this key is not supported (it is Swarm's, and one host has no use for it)"#]],
    );
}

#[test]
fn a_secret_is_never_quoted() {
    let files = [
        (
            "c.yaml",
            "services:\n  a:\n    image: x\n    mem_limit: ${PW}\n    restart: ${PW}\n    ports: ['${PW}']\n    labels: 's3cret'\n",
        ),
        (".env", "PW=s3cret\n"),
    ];
    let problems = loaded(&files).unwrap_err().to_string();
    assert!(!problems.contains("s3cret"), "{problems}");
    assert_eq!(problems.lines().count(), 4, "{problems}");
}

/// To a parser of YAML a file may end at its first NUL: half of the services would be gone.
#[test]
fn a_nul_is_said_wherever_it_is() {
    complains(
        "services: {a: {image: x}}\n\0\0 b: {image: x}\n",
        &expect!["c.yaml:2:1: a NUL byte: this is no text file (a crash may have left it so; write it anew)"],
    );
    let text = "services:\n  a:\n    image: x\n    environment: {PW: \"s3cret\\0\"}\n";
    let problems = loaded(&[("c.yaml", text)]).unwrap_err().to_string();
    let expected = "services.a.environment.PW: a NUL in this value: no environment can hold one";
    assert!(
        problems.contains(expected) && !problems.contains("s3cret"),
        "{problems}"
    );
}

#[test]
fn yaml_that_is_none() {
    complains(
        "services:\n\ta: {}\n",
        &expect![
            "c.yaml:2:2: this is not YAML: tabs disallowed within this context (block indentation) (indent with spaces)"
        ],
    );
    complains(
        "services: {a: {image: x}\n",
        &expect!["c.yaml:1:11: this is not YAML: unclosed bracket '{'"],
    );
    complains(
        "a: 1\n---\nb: 2\n",
        &expect!["c.yaml:2:1: a Compose file is one YAML document, here a second one begins"],
    );
    complains(
        "[1, 2]",
        &expect!["c.yaml:1:1: a Compose file is a mapping, not a list"],
    );
    complains("", &expect!["c.yaml:1:1: the file is empty"]);
    complains(
        "services: {a: {image: x, image: y}}",
        &expect![[r#"c.yaml:1:26: services.a.image: "image" is here twice, first in line 1"#]],
    );
    complains(
        "services: {a: &a {image: x, labels: *a}}",
        &expect!["c.yaml:1:37: this alias refers to the collection that it is in"],
    );
    complains(
        "services: {a: {image: !vault x, <<: 1}}",
        &expect![[r#"
        c.yaml:1:30: services.a.image: the tag "!vault" is not known (Compose knows !reset and !override)
        c.yaml:1:37: services.a.<<: this takes a mapping or a list of mappings"#]],
    );
    complains(
        "services: {? [a] : {image: x}}",
        &expect!["c.yaml:1:14: a key must be text, not a collection"],
    );
    complains(
        "services: {a: {image: !!int x}}",
        &expect!["c.yaml:1:29: services.a.image: this is tagged !!int and is none"],
    );
}

#[test]
fn extends_and_its_errors() {
    let other = "services: {base: {image: b, volumes: ['./d:/d'], environment: {A: '1', B: '2'}}}";
    check(
        &[
            (
                "c.yaml",
                "services: {a: {extends: {file: sub/o.yaml, service: base}, environment: [B=3]}}",
            ),
            ("sub/o.yaml", other),
        ],
        &expect![[r#"
            {
              "a": {
                "image": "b",
                "environment": {
                  "A": "1",
                  "B": "3"
                },
                "volumes": [
                  {
                    "type": "bind",
                    "source": "sub/d",
                    "target": "/d",
                    "create_host_path": true
                  }
                ],
                "networking": {
                  "networks": {
                    "default": {}
                  }
                }
              }
            }"#]],
    );
    complains(
        "services: {a: {extends: b}, b: {extends: a}}",
        &expect![[r#"
        c.yaml:1:16: services.a.extends: these services extend each other: a → b → a
        c.yaml:1:33: services.b.extends: these services extend each other: b → a → b"#]],
    );
    complains(
        "services: {abc: {extends: abd}, abe: {image: x}}",
        &expect![[
            r#"c.yaml:1:27: services.abc.extends: there is no service "abd" to extend (did you mean "abe"?)"#
        ]],
    );
    complains(
        "services: {a: {extends: {file: none.yaml, service: x}}}",
        &expect!["c.yaml:1:25: services.a.extends: none.yaml does not exist"],
    );
    complains(
        "services: {a: {extends: {file: c.yaml}}}",
        &expect![[r#"c.yaml:1:25: services.a.extends: "service" is missing: which service is extended?"#]],
    );
}

#[test]
fn env_files_of_a_service() {
    check(
        &[
            (
                "c.yaml",
                "services:\n  a:\n    image: x\n    env_file: [one.env, {path: two.env, format: raw}, {path: no.env, required: false}]\n    environment: {B: own, C: }\n",
            ),
            ("one.env", "A=${B}-$OUT\nB=file\n"),
            ("two.env", "D='raw'\n"),
            (".env", "OUT=outside\nC=passed\n"),
        ],
        &expect![[r#"
            {
              "a": {
                "image": "x",
                "environment": {
                  "A": "own-outside",
                  "B": "own",
                  "C": "passed",
                  "D": "'raw'"
                },
                "networking": {
                  "networks": {
                    "default": {}
                  }
                }
              }
            }"#]],
    );
    complains(
        "services: {a: {image: x, env_file: gone.env}}",
        &expect!["c.yaml:1:36: services.a.env_file: gone.env does not exist"],
    );
}

#[test]
fn what_does_not_go_together() {
    complains(
        "services: {a: {image: x, container_name: n, scale: 2}}",
        &expect![[
            r#"c.yaml:1:26: services.a: "container_name" allows one container only (remove it, or ask for one replica)"#
        ]],
    );
    complains(
        "services: {a: {image: x, network_mode: host, networks: [n]}}\nnetworks: {n: }",
        &expect![[
            r#"c.yaml:1:40: services.a.network_mode: "network_mode" and "networks" exclude each other"#
        ]],
    );
    complains(
        "services: {a: {image: x, depends_on: [b]}, b: {image: y, depends_on: [a]}}",
        &expect!["c.yaml:1:12: services.a.depends_on: these services depend on each other: a → b → a"],
    );
    complains(
        "services: {a: {image: x, depends_on: [b]}, b: {image: y, profiles: [p]}}",
        &expect![[
            r#"c.yaml:1:39: services.a.depends_on: the service "b" is needed, but its profile is not active"#
        ]],
    );
    complains(
        "services: {a: {}}",
        &expect![[
            r#"c.yaml:1:12: services.a: there is neither "image" nor "build" (say which image it runs)"#
        ]],
    );
    complains(
        "services: {a: {image: x, networks: [n]}}\nnetworks: {n: {external: true, driver: bridge}}",
        &expect![[
            r#"c.yaml:2:12: networks.n: an external one is not made by the stack, so "driver" has no meaning here (remove "driver" or "external")"#
        ]],
    );
    complains(
        "services: {a: {image: x, command: 'run && again'}}",
        &expect![[
            r#"c.yaml:1:35: services.a.command: all from "&" on is dropped, as Compose does: no shell reads this line (write it as ["sh", "-c", "…"])"#
        ]],
    );
    complains(
        "services: {a: {image: x, configs: [c]}}\nconfigs: {c: {}}",
        &expect!["c.yaml:2:11: configs.c: exactly one of file, environment, content says what is in it"],
    );
}

#[test]
fn aliases_that_explode_are_stopped() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let refs = vec![format!("*a{}", i - 1); 10].join(", ");
        text = format!("{text}a{i}: &a{i} [{refs}]\n");
    }
    complains(
        &text,
        &expect!["c.yaml:5:45: the aliases of this file unfold to more than Steadfast is willing to read"],
    );
    let deep = (1..200).fold("a0: &a0 [x]\n".to_owned(), |text, i| {
        format!("{text}a{i}: &a{i} [[[*a{}]]]\n", i - 1)
    });
    complains(
        &deep,
        &expect!["c.yaml:22:14: the aliases of this file unfold to more than Steadfast is willing to read"],
    );
    complains(
        &format!("a: {}", "[".repeat(10_000)),
        &expect!["c.yaml:1:68: this is not YAML: recursion limit exceeded"],
    );
}

proptest::proptest! {
    #[test]
    fn nothing_panics_on_bytes(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        struct Bytes(Vec<u8>);
        impl Source for Bytes {
            fn read(&self, _: &Path) -> Result<Vec<u8>, ReadError> {
                Ok(self.0.clone())
            }
        }
        let _ = load(&Bytes(bytes), &input(&["c.yaml"]));
    }

    /// A known file with one piece replaced: deep inside the grammar, where typed readers are.
    #[test]
    fn nothing_panics_near_a_real_file(at in 0..GUIDE.len(), length in 0_usize..12, piece in "[\\[\\]{}:,!&*<\\-'\"|>?#%@$\n a0~é]{0,6}") {
        let end = (at + length).min(GUIDE.len());
        if GUIDE.is_char_boundary(at) && GUIDE.is_char_boundary(end) {
            let text = format!("{}{piece}{}", &GUIDE[..at], &GUIDE[end..]);
            let _ = loaded(&[("c.yaml", &text), (".env", "TAG=1\nPOSTGRES_PASSWORD=x")]);
        }
    }

    /// Any value under any key of a service.
    #[test]
    fn nothing_panics_under_any_key(
        key in proptest::sample::select(vec!["ports", "volumes", "build", "deploy", "healthcheck", "networks", "ulimits",
            "secrets", "extends", "depends_on", "env_file", "environment", "command", "blkio_config", "logging", "gpus",
            "devices", "extra_hosts", "links", "volumes_from", "network_mode", "restart", "pull_policy", "cpus"]),
        value in "(\\[|\\{a: |)[a-z0-9:./{}\\[\\],~ -]{0,24}(\\]|\\}|)",
    ) {
        let text = format!("services:\n  a:\n    image: x\n    {key}: {value}\n");
        let _ = loaded(&[("c.yaml", &text)]);
    }
}
