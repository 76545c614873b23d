//! Each call, done twice.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use state::observed::{ContainerState, DockerHealth};
use state::stack_spec::RestartPolicy;
use steadfast::engine::{Attachment, Carried, Dialect, Engine, EngineError};

use super::support::{docker, inspected, policies, project, web};

const GRACE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_container_lives_and_each_step_can_be_repeated() {
    let Some(p) = project("life", web(json!({"restart": "unless-stopped"}))).await else {
        return;
    };
    p.make_objects().await;
    p.make_objects().await;
    let engine = &p.engine;
    let id = p.create().await;
    let listed = engine.containers(&p.stack.project).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, id);
    assert_eq!(listed[0].name, format!("{}-web-1", p.stack.project));
    assert_eq!(listed[0].state, ContainerState::Created);
    assert_eq!(
        (listed[0].number, listed[0].operation, listed[0].oneoff),
        (1, Some(7), false)
    );
    assert_eq!(listed[0].spec.as_deref(), Some("ab".repeat(32).as_str()));
    assert_eq!(listed[0].image, p.image);

    for _ in 0..2 {
        engine.start(&id).await.unwrap();
        assert!(
            engine.containers(&p.stack.project).await.unwrap()[0]
                .state
                .is_running()
        );
    }
    let detail = engine.container(id.as_str()).await.unwrap().unwrap();
    assert_eq!(detail.restart, RestartPolicy::UnlessStopped);
    assert_eq!(detail.summary.restarts, Some(0));
    assert!(detail.networks[0].address.is_some());
    for policy in policies().values() {
        for _ in 0..2 {
            engine.set_restart(&id, policy).await.unwrap();
            assert_eq!(
                engine.container(id.as_str()).await.unwrap().unwrap().restart,
                *policy
            );
        }
    }
    engine.set_restart(&id, &RestartPolicy::No).await.unwrap();
    for _ in 0..2 {
        engine.stop(&id, GRACE).await.unwrap();
        let state = &engine.containers(&p.stack.project).await.unwrap()[0].state;
        assert_eq!(*state, ContainerState::Exited(Some(0)));
    }
    for _ in 0..2 {
        engine
            .rename(&id, &format!("{}-old", p.stack.project))
            .await
            .unwrap();
    }
    for _ in 0..2 {
        engine.remove(&id).await.unwrap();
        assert!(engine.container(id.as_str()).await.unwrap().is_none());
    }
    assert!(matches!(
        engine.start(&id).await,
        Err(EngineError::NotFound { .. })
    ));
}

#[tokio::test]
async fn networks_are_left_and_joined_again() {
    let networks = json!({"networks": {"default": {"aliases": ["www"]}, "back": {"priority": 5}}});
    let Some(p) = project("nets", web(json!({ "networking": networks }))).await else {
        return;
    };
    p.make_objects().await;
    let id = p.create().await;
    let before = p.engine.container(id.as_str()).await.unwrap().unwrap().networks;
    let names: Vec<_> = before.iter().map(|at| at.network.as_str()).collect();
    let (back, front) = (
        format!("{}_back", p.stack.project),
        format!("{}_default", p.stack.project),
    );
    assert_eq!(names, [back.as_str(), front.as_str()]);
    assert_eq!(
        before[1].aliases,
        [
            format!("{}-web-1", p.stack.project),
            "web".to_owned(),
            "www".to_owned()
        ]
    );
    assert_eq!(inspected(id.as_str(), ".HostConfig.NetworkMode"), json!(back));

    // Once while it runs, once while it is stopped.
    for running in [true, false] {
        if running {
            p.engine.start(&id).await.unwrap();
        } else {
            p.engine.stop(&id, GRACE).await.unwrap();
        }
        for _ in 0..2 {
            p.engine.disconnect(&id, &front).await.unwrap();
            assert_eq!(
                p.engine
                    .container(id.as_str())
                    .await
                    .unwrap()
                    .unwrap()
                    .networks
                    .len(),
                1
            );
        }
        for _ in 0..2 {
            p.engine.connect(&id, &before[1]).await.unwrap();
        }
        let after = p.engine.container(id.as_str()).await.unwrap().unwrap().networks;
        let bare = |at: &Attachment| Attachment {
            address: None,
            ..at.clone()
        };
        assert_eq!(
            after.iter().map(bare).collect::<Vec<_>>(),
            before.iter().map(bare).collect::<Vec<_>>()
        );
    }
    assert!(
        p.engine
            .disconnect(&id, "sf-engine-no-such-network")
            .await
            .is_ok(),
        "having left is done"
    );
    let nowhere = Attachment {
        network: "sf-engine-no-such-network".to_owned(),
        ..before[0].clone()
    };
    assert!(matches!(
        p.engine.connect(&id, &nowhere).await,
        Err(EngineError::NotFound { .. })
    ));
}

#[tokio::test]
async fn a_name_is_a_lock_but_a_lost_answer_is_mended() {
    let Some(p) = project("names", web(json!({}))).await else {
        return;
    };
    p.make_objects().await;
    let service = p.service();
    let mine = p.new_container(&service, Dialect::Hyphen);
    let first = p.engine.create(&mine).await.unwrap();
    let again = p.engine.create(&mine).await.unwrap();
    assert_ne!(first, again, "the half-made one was made anew");
    assert!(p.engine.container(first.as_str()).await.unwrap().is_none());

    let mut other = mine.clone();
    other.operation = 8;
    assert!(
        matches!(p.engine.create(&other).await, Err(EngineError::Conflict { .. })),
        "another operation's"
    );
    p.engine.start(&again).await.unwrap();
    assert!(
        matches!(p.engine.create(&mine).await, Err(EngineError::Conflict { .. })),
        "it was started"
    );
    p.engine.stop(&again, GRACE).await.unwrap();
    assert!(
        matches!(p.engine.create(&mine).await, Err(EngineError::Conflict { .. })),
        "it had been started"
    );
    other.name.push_str("-new");
    let second = p.engine.create(&other).await.unwrap();
    assert!(matches!(
        p.engine.rename(&second, &mine.name).await,
        Err(EngineError::Conflict { .. })
    ));
    p.engine.remove(&again).await.unwrap();
    p.engine.rename(&second, &mine.name).await.unwrap();
}

#[tokio::test]
async fn an_anonymous_volume_goes_on_in_the_replacement() {
    let Some(p) = project(
        "carry",
        web(json!({"volumes": [{"type": "anonymous", "target": "/rows"}]})),
    )
    .await
    else {
        return;
    };
    p.make_objects().await;
    let old = p.create().await;
    p.engine.start(&old).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a row").unwrap();
    let from = file.path().display().to_string();
    docker(&["cp", &from, &format!("{}:/rows/row", old.as_str())]);
    let carried = p.engine.container(old.as_str()).await.unwrap().unwrap().anonymous;
    assert_eq!(carried.len(), 1);
    p.engine.remove(&old).await.unwrap();

    let service = p.service();
    let mut new = p.new_container(&service, Dialect::Hyphen);
    new.carried = carried.clone();
    let id = p.engine.create(&new).await.unwrap();
    let seen = p.engine.container(id.as_str()).await.unwrap().unwrap();
    assert_eq!(seen.anonymous, carried);
    assert!(seen.writable.contains(&carried[0].volume));
    let to = tempfile::tempdir().unwrap();
    docker(&[
        "cp",
        &format!("{}:/rows/row", id.as_str()),
        &to.path().display().to_string(),
    ]);
    assert_eq!(std::fs::read_to_string(to.path().join("row")).unwrap(), "a row");
    assert_eq!(p.engine.differences(&id, &new).await.unwrap(), []);
    let fresh = p.new_container(&service, Dialect::Hyphen);
    assert_eq!(
        p.engine.differences(&id, &fresh).await.unwrap(),
        [],
        "which anonymous volume is no difference"
    );
    new.carried = vec![Carried {
        target: "/rows".to_owned(),
        volume: "ab".repeat(32),
    }];
    assert_eq!(p.engine.differences(&id, &new).await.unwrap()[0].field, "Mounts");
}

#[tokio::test]
async fn objects_exist_or_do_not_and_an_owner_is_marked_once() {
    let Some(p) = project("objects", web(json!({}))).await else {
        return;
    };
    let networks = p.stack.networks.values().map(|n| n.name.clone()).collect();
    let volumes = p.stack.volumes.values().map(|v| v.name.clone()).collect();
    assert!(p.engine.networks(&networks).await.unwrap().is_empty());
    assert!(p.engine.volumes(&volumes).await.unwrap().is_empty());
    p.make_objects().await;
    p.make_objects().await;
    assert_eq!(p.engine.networks(&networks).await.unwrap(), networks);
    assert_eq!(p.engine.volumes(&volumes).await.unwrap(), volumes);
    let name = networks.iter().next().unwrap();
    assert_eq!(
        docker(&["network", "ls", "-q", "--filter", &format!("name={name}")])
            .lines()
            .count(),
        1
    );
    assert_eq!(
        p.engine.claim(&p.stack.project, "agent-one").await.unwrap(),
        "agent-one"
    );
    assert_eq!(
        p.engine.claim(&p.stack.project, "agent-one").await.unwrap(),
        "agent-one"
    );
    assert_eq!(
        p.engine.claim(&p.stack.project, "agent-two").await.unwrap(),
        "agent-one"
    );
}

#[tokio::test]
async fn copied_files_are_there_before_the_start_and_are_compared() {
    let grant = json!({"key": "conf", "source": {"content": "colour = blue\n"}, "target": "/deep/down/app.conf",
                       "uid": "12", "gid": "13", "mode": 0o440});
    let Some(p) = project("files", web(json!({ "configs": [grant] }))).await else {
        return;
    };
    p.make_objects().await;
    let id = p.create().await;
    let to = tempfile::tempdir().unwrap();
    docker(&[
        "cp",
        "-a",
        &format!("{}:/deep/down/app.conf", id.as_str()),
        &to.path().display().to_string(),
    ]);
    let copied = to.path().join("app.conf");
    assert_eq!(std::fs::read_to_string(&copied).unwrap(), "colour = blue\n");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copied).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o440);

    let service = p.service();
    assert_eq!(
        p.engine
            .differences(&id, &p.new_container(&service, Dialect::Hyphen))
            .await
            .unwrap(),
        []
    );
    let mut changed = p.stack.clone();
    let configs = &mut changed.services.get_mut(&service).unwrap().configs;
    configs[0].source = serde_json::from_value(json!({"content": "colour = red\n"})).unwrap();
    let mut new = p.new_container(&service, Dialect::Hyphen);
    new.spec = &changed.services[&service];
    let found = p.engine.differences(&id, &new).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].field, "File /deep/down/app.conf");
    assert!(!found[0].detail.contains("blue") && !found[0].detail.contains("red"));
}

#[tokio::test]
async fn events_wake_and_health_checks_that_change_nothing_do_not() {
    let check = json!({"test": {"cmd": ["/tiny", "probe"]}, "interval": 1_000_000_000u64, "retries": 1});
    let Some(p) = project("events", web(json!({ "healthcheck": check }))).await else {
        return;
    };
    p.make_objects().await;
    let seen = Mutex::new(Vec::new());
    let name = p.stack.project.as_str();
    let on = |event: steadfast::engine::EngineEvent| {
        if event.project.as_deref() == Some(name) {
            assert_eq!(
                event.service.as_ref().map(state::name::ServiceName::as_str),
                Some("web")
            );
            seen.lock().unwrap().push(event.action);
        }
    };
    let act = async {
        // The subscription is established when a first event has come through.
        let id = loop {
            let id = p.create().await;
            if !seen.lock().unwrap().is_empty() {
                break id;
            }
            p.engine.remove(&id).await.unwrap();
        };
        p.engine.start(&id).await.unwrap();
        let is_judged = |state: &ContainerState| {
            matches!(
                state,
                ContainerState::Running(Some(DockerHealth::Healthy | DockerHealth::Unhealthy))
            )
        };
        while !is_judged(&p.engine.containers(&p.stack.project).await.unwrap()[0].state) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        p.engine.stop(&id, GRACE).await.unwrap();
        while !seen.lock().unwrap().iter().any(|action| action == "stop") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let both = async {
        tokio::select! {
            ended = p.engine.follow_events(&on) => panic!("the stream ended: {ended:?}"),
            () = act => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    let seen = seen.lock().unwrap();
    for wanted in ["start", "die", "stop"] {
        assert!(seen.iter().any(|action| action == wanted), "{wanted} in {seen:?}");
    }
    assert_eq!(
        seen.iter()
            .filter(|action| action.starts_with("health_status"))
            .count(),
        1,
        "{seen:?}"
    );
    assert!(!seen.iter().any(|action| action.starts_with("exec")), "{seen:?}");
}

#[tokio::test]
async fn a_log_tail_is_bounded_and_a_crash_loop_is_noticed() {
    let crash = json!({"image": "steadfast-test/tiny:crash", "restart": "always"});
    let Some(mut p) = project("crash", web(crash)).await else {
        return;
    };
    let Some(image) = p.engine.image("steadfast-test/tiny:crash").await.unwrap() else {
        return;
    };
    p.image = image;
    p.make_objects().await;
    let id = p.create().await;
    p.engine.start(&id).await.unwrap();
    let restarted = async {
        while p.engine.containers(&p.stack.project).await.unwrap()[0]
            .restarts
            .unwrap_or(0)
            < 2
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), restarted)
        .await
        .unwrap();
    let tail = p.engine.log_tail(&id, 2).await.unwrap();
    assert!(tail.lines().count() <= 2, "{tail}");
}

#[tokio::test]
async fn a_refusal_does_not_repeat_the_environment() {
    let Some(p) = project(
        "secret",
        web(json!({"environment": {"TOKEN": "hunter2-hunter2"},
        "working_dir": "not/absolute/hunter2-hunter2"})),
    )
    .await
    else {
        return;
    };
    p.make_objects().await;
    let service = p.service();
    let new = p.new_container(&service, Dialect::Hyphen);
    let error = p.engine.create(&new).await.unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(!format!("{error:?} {new:?}").contains("hunter2"));
}
