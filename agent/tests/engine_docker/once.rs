//! A command in a container of its own.

use std::time::Duration;

use serde_json::json;
use steadfast::engine::{Dialect, Engine, EngineError, OnceNetwork, OneOff, Ran};

use super::support::{Project, SHELL, docker, inspected, project_of, web};

/// `web` on two networks, with all that makes it answer for itself, and an entrypoint that must not run.
fn service() -> serde_json::Value {
    let networks = json!({"default": {"aliases": ["www"]}, "back": {"priority": 5}});
    web(json!({
        "entrypoint": ["/entrypoint-of-the-service"],
        "environment": {"COLOUR": "blue", "SHAPE": "round"},
        "restart": "always",
        "container_name": "sf-engine-lasting-name",
        "hostname": "sf-engine-host",
        "ports": [{"target": 80, "published": {"first": 48_213, "last": 48_213}}],
        "healthcheck": {"test": {"cmd": ["true"]}},
        "logging": {"driver": "none"},
        "tty": true,
        "volumes": [{"type": "anonymous", "target": "/rows"}],
        "networking": {"networks": networks},
    }))
}

async fn shell(name: &str) -> Option<Project> {
    let p = project_of(name, SHELL, service()).await?;
    p.make_objects().await;
    Some(p)
}

/// `script` in a shell, by operation 7.
fn once<'a>(p: &'a Project, script: &str) -> OneOff<'a> {
    let (service, spec) = p.stack.services.iter().next().unwrap();
    OneOff {
        stack: &p.stack,
        service,
        spec,
        image: p.image.clone(),
        name: format!("{}-once", p.stack.project),
        command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
        env: [("SHAPE".to_owned(), "square".into())].into(),
        directory: Some("/tmp".to_owned()),
        network: OnceNetwork::None,
        listener: None,
        operation: 7,
        within: Duration::from_secs(60),
        dialect: Dialect::Hyphen,
        working_dir: "/srv/app".into(),
        config_files: vec!["/srv/app/compose.yaml".into()],
    }
}

/// All containers of the project, by `docker ps`.
fn left(p: &Project) -> String {
    let label = format!("label=com.docker.compose.project={}", p.stack.project);
    docker(&["ps", "-a", "--filter", &label, "--format", "{{.Names}}"])
}

/// Runs until the container of this name runs.
async fn until_it_runs(name: &str) {
    while super::support::try_docker(&["inspect", name, "--format", "{{.State.Running}}"]).as_deref()
        != Some("true")
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Drops the call when the container runs.
async fn abandoned(p: &Project, once: &OneOff<'_>) {
    tokio::select! {
        ran = p.engine.run_once(once) => panic!("it has ended: {ran:?}"),
        () = until_it_runs(&once.name) => {}
    }
}

#[tokio::test]
async fn its_code_and_both_streams_are_told_and_it_is_gone() {
    let Some(p) = shell("once-ran").await else { return };
    let before = docker(&["volume", "ls", "-q"]);
    let script = "echo $COLOUR $SHAPE; pwd; echo to err >&2; test -t 1 || echo no tty; exit 41";
    let ran = p.engine.run_once(&once(&p, script)).await.unwrap();
    let expected = Ran {
        code: 41,
        stdout: "blue square\n/tmp\nno tty\n".to_owned(),
        stderr: "to err\n".to_owned(),
    };
    assert_eq!(ran, expected);
    assert_eq!(left(&p), "");
    let made: Vec<_> = docker(&["volume", "ls", "-q"])
        .lines()
        .filter(|volume| !before.contains(*volume))
        .map(str::to_owned)
        .collect();
    // Other tests may make some of their own meanwhile, and have just removed the container.
    for volume in made {
        let is_of_others = || {
            let users = docker(&["ps", "-aq", "--filter", &format!("volume={volume}")]);
            !users.is_empty() || !docker(&["volume", "ls", "-q"]).contains(&volume)
        };
        let mut tries = 0;
        while !is_of_others() {
            tries += 1;
            assert!(tries < 60, "volume {volume} was left");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    let long = "i=0; while [ $i -lt 40000 ]; do echo 'forty-eight bytes are in every one of these lines'; i=$((i+1)); done; echo end";
    let ran = p.engine.run_once(&once(&p, long)).await.unwrap();
    assert_eq!((ran.code, ran.stdout.len()), (0, steadfast::engine::OUTPUT_BYTES));
    assert!(ran.stdout.ends_with("lines\nend\n"));
    // Whoever listens hears all of it.
    let heard = std::sync::atomic::AtomicUsize::new(0);
    let tell = |piece: &[u8]| {
        heard.fetch_add(piece.len(), std::sync::atomic::Ordering::Relaxed);
    };
    let mut listened = once(&p, long);
    listened.listener = Some(steadfast::engine::Listener(&tell));
    p.engine.run_once(&listened).await.unwrap();
    let line = "forty-eight bytes are in every one of these lines\n";
    assert_eq!(heard.into_inner(), 40_000 * line.len() + "end\n".len());
}

#[tokio::test]
async fn it_does_not_answer_for_its_service() {
    let Some(p) = shell("once-looks").await else {
        return;
    };
    let mut asked = once(&p, "sleep 60");
    asked.network = OnceNetwork::Stack;
    abandoned(&p, &asked).await;
    let seen = |path: &str| inspected(&asked.name, path);
    let labels = seen(".Config.Labels");
    let expected = json!({
        "com.docker.compose.project": p.stack.project.as_str(),
        "com.docker.compose.service": "web",
        "com.docker.compose.oneoff": "True",
        "io.steadfast.operation": "7",
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(labels[key], *value, "{key}");
    }
    for absent in [
        "io.steadfast.test",
        "io.steadfast.spec",
        "com.docker.compose.config-hash",
    ] {
        assert_eq!(labels[absent], json!(null), "{absent}");
    }
    assert_eq!(seen(".HostConfig.RestartPolicy.Name"), json!("no"));
    assert!(!seen(".HostConfig.PortBindings").to_string().contains("48213"));
    assert_eq!(seen(".State.Health"), json!(null));
    assert_ne!(seen(".Config.Hostname"), json!("sf-engine-host"));
    let networks = seen(".NetworkSettings.Networks");
    assert_eq!(networks.as_object().unwrap().len(), 2);
    for (network, endpoint) in networks.as_object().unwrap() {
        for name in ["web", "www", "sf-engine-lasting-name", "sf-engine-host"] {
            for known in ["Aliases", "DNSNames"] {
                assert!(
                    !endpoint[known].to_string().contains(&format!("\"{name}\"")),
                    "{network} {endpoint}"
                );
            }
        }
    }
    let listed = p.engine.containers(&p.stack.project).await.unwrap();
    assert!(listed.len() == 1 && listed[0].oneoff, "{listed:?}");
    for _ in 0..2 {
        p.engine.end_once(&p.stack.project, &asked.name, 7).await.unwrap();
        assert_eq!(left(&p), "");
    }
}

#[tokio::test]
async fn it_reaches_the_networks_of_its_service_or_nothing() {
    let services = json!({
        "db": {"image": SHELL, "entrypoint": ["sleep", "120"], "networking": {"networks": {"back": {}}}},
        "web": service()["web"],
    });
    let Some(p) = project_of("once-nets", SHELL, services).await else {
        return;
    };
    p.make_objects().await;
    let db = p.create().await;
    p.engine.start(&db).await.unwrap();
    let mut asked = once(&p, "getent hosts db || echo unknown; ls /sys/class/net");
    (asked.service, asked.spec) = p.stack.services.iter().next_back().unwrap();
    let apart = p.engine.run_once(&asked).await.unwrap();
    assert_eq!(apart.stdout, "unknown\nlo\n");
    asked.network = OnceNetwork::Stack;
    let among = p.engine.run_once(&asked).await.unwrap();
    assert!(
        among.stdout.contains(" db\n") && among.stdout.contains("eth1"),
        "{among:?}"
    );
}

#[tokio::test]
async fn whoever_comes_second_joins() {
    let Some(p) = shell("once-joined").await else {
        return;
    };
    let script = "echo begun; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo ended; exit 5";
    let asked = once(&p, script);
    let go = || docker(&["exec", &asked.name, "touch", "/tmp/go"]);
    let expected = Ran {
        code: 5,
        stdout: "begun\nended\n".to_owned(),
        stderr: String::new(),
    };
    // It runs.
    abandoned(&p, &asked).await;
    let joined = async {
        let (ran, _) = tokio::join!(p.engine.run_once(&asked), async { go() });
        ran
    };
    assert_eq!(joined.await.unwrap(), expected);
    assert_eq!(left(&p), "");
    // Somebody kills it.
    abandoned(&p, &asked).await;
    docker(&["kill", &asked.name]);
    assert_eq!(p.engine.run_once(&asked).await.unwrap().code, 137);
    // It has exited.
    abandoned(&p, &asked).await;
    go();
    docker(&["wait", &asked.name]);
    assert_eq!(p.engine.run_once(&asked).await.unwrap(), expected);
    assert_eq!(left(&p), "");
    // Two at once: the one makes it, or joins the other's.
    let quick = once(&p, "echo one; sleep 1");
    let both = tokio::join!(p.engine.run_once(&quick), p.engine.run_once(&quick));
    assert!(both.0.is_ok() || both.1.is_ok(), "{both:?}");
    assert_eq!(left(&p), "");
}

#[tokio::test]
async fn what_was_made_and_not_started_is_completed() {
    let Some(p) = shell("once-created").await else {
        return;
    };
    let mut asked = once(&p, "ls /sys/class/net; cat /deep/app.conf");
    asked.network = OnceNetwork::Stack;
    let mut spec = asked.spec.clone();
    let grant = json!([{"key": "conf", "source": {"content": "colour = blue"}, "target": "/deep/app.conf"}]);
    spec.configs = serde_json::from_value(grant).unwrap();
    asked.spec = &spec;
    // As an agent leaves it that is killed right after the create: one network, and no file.
    let operation = "io.steadfast.operation=7";
    let project = format!("com.docker.compose.project={}", p.stack.project);
    let network = format!("{}_back", p.stack.project);
    docker(&[
        "create",
        "--name",
        &asked.name,
        "--network",
        &network,
        "--label",
        operation,
        "--label",
        &project,
        "--label",
        "com.docker.compose.oneoff=True",
        "--entrypoint",
        "/bin/sh",
        SHELL,
        "-c",
        &asked.command[2],
    ]);
    if p.engine.info().await.unwrap().api != "1.41" {
        // Newer engines take all networks in the create.
        let other = format!("{}_default", p.stack.project);
        docker(&["network", "connect", &other, &asked.name]);
    }
    let ran = p.engine.run_once(&asked).await.unwrap();
    assert!(
        ran.stdout.contains("eth1") && ran.stdout.ends_with("colour = blue"),
        "{ran:?}"
    );
    assert_eq!(left(&p), "");
}

#[tokio::test]
async fn what_takes_too_long_is_killed_and_gone() {
    let Some(p) = shell("once-late").await else { return };
    let mut asked = once(&p, "trap '' TERM; sleep 60");
    asked.within = Duration::from_secs(1);
    let error = p.engine.run_once(&asked).await.unwrap_err();
    let is_late = matches!(error, EngineError::Timeout { call: "run once", after } if after == asked.within);
    assert!(is_late, "{error}");
    assert_eq!(left(&p), "");
}

#[tokio::test]
async fn what_cannot_be_started_is_gone_and_no_secret_is_told() {
    let Some(p) = shell("once-refused").await else {
        return;
    };
    let mut asked = once(&p, "true");
    asked.command = vec!["/no/such/hunter2-binary".to_owned()];
    asked.env.insert("TOKEN".to_owned(), "hunter2".into());
    let error = p.engine.run_once(&asked).await.unwrap_err();
    assert!(
        matches!(error, EngineError::Refused { .. } | EngineError::NotFound { .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("-binary") && !error.to_string().contains("hunter2"),
        "{error}"
    );
    assert_eq!(left(&p), "");
    asked.command.clear();
    let error = p.engine.run_once(&asked).await.unwrap_err();
    assert!(
        matches!(error, EngineError::Refused { status: 400, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn somebody_elses_of_that_name_is_left_alone() {
    let Some(p) = shell("once-foreign").await else {
        return;
    };
    let asked = once(&p, "true");
    abandoned(
        &p,
        &OneOff {
            listener: None,
            operation: 8,
            ..once(&p, "sleep 60")
        },
    )
    .await;
    let theirs = inspected(&asked.name, ".Id");
    let error = p.engine.run_once(&asked).await.unwrap_err();
    assert!(matches!(error, EngineError::Conflict { .. }), "{error}");
    p.engine.end_once(&p.stack.project, &asked.name, 7).await.unwrap();
    assert_eq!(inspected(&asked.name, ".Id"), theirs);
    assert_eq!(inspected(&asked.name, ".State.Running"), json!(true));
    // An identifier is no name.
    let short = &theirs.as_str().unwrap()[..12];
    p.engine.end_once(&p.stack.project, short, 8).await.unwrap();
    assert_eq!(inspected(&asked.name, ".State.Running"), json!(true));
}
