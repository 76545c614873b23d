//! Plans as people read them, row by row; what holds of all of them is in `laws`.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

mod case;
mod laws;
mod world;

use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use crate::files::{Action, FileChange, ReleaseFile, ReleaseFiles, Role, Signal};
use crate::fixture::{container, depend, image, service};
use crate::instead::{ManualSql, instead_of};
use crate::journal::Kind;
use crate::name::Digest;
use crate::observed::{Carried, ContainerState};
use crate::schema_fit::Direction;
use crate::stack_spec::{
    Attachment as Wish, Bind, Condition, Deploy, Healthcheck, Mount, NamespaceMode, Nanos, NetworkSpec,
    Networking, OnUpdateFailure, RestartPolicy, ServiceSpec, UpdateConfig, VolumeSpec,
};
use crate::step::{Step, Target};
use case::{Case, listen, on_data, start_first};

#[track_caller]
fn check(case: Case, expect: Expect) {
    match case.plan() {
        Ok(plan) => {
            let text = plan.to_string();
            let steps: Vec<&str> = text.lines().map(str::trim_start).collect();
            expect.assert_eq(&steps.join("\n"));
        }
        Err(error) => expect.assert_eq(&error.to_string()),
    }
}

#[test]
fn a_first_deploy_starts_in_order_and_gives_restart_policies_last() {
    check(
        Case::new(&[("db", &[]), ("api", &["db"])])
            .spec("db", |db| {
                on_data(db);
                db.restart = Some(RestartPolicy::Always);
            })
            .spec("api", |api| depend(api, "db", Condition::Healthy))
            .missing("api")
            .missing("db"),
        expect![[r#"
            1. keep image 000000000001
            2. keep image 000000000002
            3. create api-1 from 000000000002
            4. create db-1 from 000000000002
            5. start db (new db-1)
            6. wait until db is healthy, at most 240 s
            7. start api (new api-1)
            8. wait until api runs, at most 20 s
            9. watch 2 new containers for 5s
            10. give new db-1 its restart policy (Always)
            11. let go of images that nobody needs (2 kept)"#]],
    );
}

#[test]
fn a_replacement_is_created_before_the_old_one_stops() {
    check(
        Case::new(&[("api", &[])]).differs(0xa, "api"),
        expect![[r#"
            1. keep image 000000000001
            2. keep image 000000000002
            3. create api-1 from 000000000002
            4. hold back the restart policy of 00000000000a
            5. stop api (00000000000a), by force after 10 s
            6. start api (new api-1)
            7. wait until api runs, at most 20 s
            8. rename shop-api-1 to shop-api-1.old-9
            9. rename shop-api-1.new-9 to shop-api-1
            10. take 00000000000a out of its networks
            11. watch 1 new containers for 5s
            12. remove 00000000000a
            13. let go of images that nobody needs (2 kept)"#]],
    );
}

#[test]
fn a_rollback_is_planned_as_a_deploy_is() {
    let plan_of = |kind| {
        let case = Case::new(&[("api", &[])]).differs(0xa, "api").kind(kind);
        case.plan().unwrap()
    };
    assert_eq!(plan_of(Kind::Deploy), plan_of(Kind::Rollback));
}

#[test]
fn an_image_that_is_held_already_is_no_step() {
    let keeps = |held: &[u64]| {
        let mut case = Case::new(&[("api", &[])]).differs(0xa, "api");
        case.kept = held.iter().map(|n| image(*n)).collect();
        let steps = case.plan().unwrap().steps;
        steps
            .iter()
            .filter(|s| matches!(s, Step::KeepImage { .. }))
            .count()
    };
    assert_eq!((keeps(&[]), keeps(&[1]), keeps(&[1, 2, 3])), (2, 1, 0));
}

/// Before anything stops, and where the names that it may ask for run; not where it was proven, or stays as it is.
#[test]
fn a_file_is_checked_before_anything_stops() {
    let case = || Case::new(&[("api", &[]), ("web", &["api"])]).checked_in("web");
    let steps = |case: Case| case.plan().unwrap().steps;
    let at = |steps: &[Step], is: &dyn Fn(&Step) -> bool| steps.iter().position(is);
    let is_check = |step: &Step| matches!(step, Step::CheckFile { .. });
    let is_keep = |step: &Step| matches!(step, Step::KeepImage { .. });
    let differs = steps(case().differs(0xa, "api").differs(0xb, "web"));
    let asked = at(&differs, &is_check).unwrap();
    assert_eq!(
        Some(asked),
        differs.iter().rposition(is_keep).map(|last| last + 1)
    );
    assert!(differs[..asked].iter().all(Step::is_harmless));
    let missing = steps(case().missing("api").differs(0xb, "web"));
    let starts = |of: &'static str| move |step: &Step| matches!(step, Step::Start { service: started, .. } if *started == service(of));
    let of = |is: &dyn Fn(&Step) -> bool| at(&missing, is).unwrap();
    assert!(of(&starts("api")) < of(&is_check) && of(&is_check) < of(&starts("web")));
    for none in [
        case().differs(0xa, "api"),
        case().differs(0xb, "web").kind(Kind::Rollback),
        case().differs(0xb, "web").kind(Kind::Heal),
    ] {
        assert_eq!(at(&steps(none), &is_check), None);
    }
}

/// Whoever reads one file may read all of them.
#[test]
fn a_check_sees_all_tracked_files_of_its_service_as_the_release_has_them() {
    let of = |role, content: Option<&[u8]>| ReleaseFile {
        role,
        content: content.map(Digest::of),
        owner: None,
        action: crate::files::Action::Recreate,
    };
    let mut case = Case::new(&[("web", &[])])
        .spec("web", |web| {
            web.volumes = ["/srv/shop/nginx.conf", "/srv/shop/conf.d"]
                .map(|source| {
                    Mount::Bind(Bind {
                        source: source.into(),
                        ..Bind::default()
                    })
                })
                .into();
        })
        .checked_in("web")
        .differs(0xb, "web");
    case.wanted.files = ReleaseFiles::from([
        ("/srv/shop/.env".into(), of(Role::Env, Some(b"env"))),
        ("/srv/shop/nginx.conf".into(), of(Role::Tracked, Some(b"nginx"))),
        (
            "/srv/shop/conf.d/api.conf".into(),
            of(Role::Tracked, Some(b"api")),
        ),
        ("/srv/shop/other.conf".into(), of(Role::Tracked, Some(b"other"))),
    ]);
    case.files = vec![FileChange {
        path: "/srv/shop/conf.d/gone.conf".into(),
        role: Role::Tracked,
        from: Some(Digest::of(b"gone")),
        to: None,
        owner: None,
        action: crate::files::Action::Recreate,
        theirs: true,
        gives_back: false,
        written: None,
    }];
    let steps = case.plan().unwrap().steps;
    let seen = steps.iter().find_map(|step| match step {
        Step::CheckFile { content, beside, .. } => Some((content.clone(), beside.clone())),
        _ => None,
    });
    let beside = [
        ("/srv/shop/conf.d/api.conf".into(), Some(Digest::of(b"api"))),
        ("/srv/shop/conf.d/gone.conf".into(), None),
    ];
    assert_eq!(seen, Some((Some(Digest::of(b"nginx")), beside.into())));
}

/// What stays for a changed file reads it again by what its operator has written, in both directions.
#[test]
fn a_container_stays_for_a_file_that_it_reads_again() {
    let changed = |action| {
        let mut case = Case::new(&[("db", &[]), ("web", &["db"])])
            .spec("web", |web| {
                web.volumes = vec![Mount::Bind(Bind {
                    source: "/srv/shop/conf.d".into(),
                    target: String::from("/etc/conf.d"),
                    ..Bind::default()
                })];
            })
            .inspected(0xb, "shop-web-1", "web", |_| {})
            .checked_in("web");
        case.kept = [image(1), image(2)].into();
        case.files = vec![FileChange {
            path: "/srv/shop/conf.d/site.conf".into(),
            role: Role::Tracked,
            from: Some(Digest::of(b"old")),
            to: Some(Digest::of(b"new")),
            owner: None,
            theirs: true,
            gives_back: false,
            action,
            written: None,
        }];
        case
    };
    check(
        changed(Action::Signal(Signal::Hup)),
        expect![[r#"
            1. check /srv/shop/nginx.conf by `nginx -t` in image 000000000002 of web
            2. send SIGHUP to web (00000000000b), should this be taken back
            3. put /srv/shop/conf.d/site.conf back
            4. send SIGHUP to web (00000000000b)
            5. see that web (00000000000b) has /etc/conf.d/site.conf of the release
            6. let go of images that nobody needs (2 kept)"#]],
    );
    check(
        changed(Action::Restart),
        expect![[r#"
            1. check /srv/shop/nginx.conf by `nginx -t` in image 000000000002 of web
            2. hold back the restart policy of 00000000000b
            3. stop web (00000000000b), by force after 10 s
            4. put /srv/shop/conf.d/site.conf back
            5. start web (00000000000b)
            6. wait until web runs, at most 20 s
            7. see that web (00000000000b) has /etc/conf.d/site.conf of the release
            8. give 00000000000b its restart policy (Always)
            9. let go of images that nobody needs (2 kept)"#]],
    );
}

#[test]
fn start_first_waits_for_health_before_the_old_one_goes() {
    let case = || {
        Case::new(&[("api", &[])])
            .spec("api", start_first)
            .spec("api", |api| api.healthcheck = Some(Healthcheck::default()))
            .differs(0xa, "api")
    };
    check(
        case(),
        expect![[r#"
            1. keep image 000000000001
            2. keep image 000000000002
            3. create api-1 from 000000000002
            4. start api (new api-1)
            5. wait until api is healthy, at most 240 s
            6. hold back the restart policy of 00000000000a
            7. rename shop-api-1 to shop-api-1.old-9
            8. rename shop-api-1.new-9 to shop-api-1
            9. stop api (00000000000a), by force after 10 s
            10. wait until api runs, at most 20 s
            11. take 00000000000a out of its networks
            12. watch 1 new containers for 5s
            13. remove 00000000000a
            14. let go of images that nobody needs (2 kept)"#]],
    );
}

/// Two on one port, one address, one volume, or one name cannot be.
#[test]
fn start_first_is_refused_where_two_cannot_be() {
    let starts_first = |change: fn(&mut ServiceSpec)| {
        let plan = Case::new(&[("api", &[])])
            .spec("api", start_first)
            .spec("api", change)
            .differs(0xa, "api")
            .plan()
            .unwrap();
        let at = |wanted: fn(&Step) -> bool| plan.steps.iter().position(wanted);
        at(|s| matches!(s, Step::Start { .. })) < at(|s| matches!(s, Step::Stop { .. }))
    };
    assert!(starts_first(|_| {}));
    assert!(!starts_first(listen));
    assert!(!starts_first(on_data));
    assert!(!starts_first(|api| {
        let fixed = Wish {
            ipv4_address: Some(String::from("10.0.0.7")),
            ..Wish::default()
        };
        api.networking = Networking::Networks(BTreeMap::from([(String::from("default"), fixed)]));
    }));
    assert!(!starts_first(|api| {
        api.networking = Networking::Mode(NamespaceMode::Host);
    }));
    assert!(!starts_first(|api| api.deploy = Some(Deploy::default())));
}

#[test]
fn dependents_stop_first_and_start_last() {
    check(
        Case::new(&[("db", &[]), ("api", &["db"])])
            .differs(0xa, "api")
            .differs(0xd, "db"),
        expect![[r#"
            1. keep image 000000000001
            2. keep image 000000000002
            3. create api-1 from 000000000002
            4. create db-1 from 000000000002
            5. hold back the restart policy of 00000000000a
            6. stop api (00000000000a), by force after 10 s
            7. hold back the restart policy of 00000000000d
            8. stop db (00000000000d), by force after 10 s
            9. start db (new db-1)
            10. wait until db runs, at most 20 s
            11. start api (new api-1)
            12. wait until api runs, at most 20 s
            13. rename shop-api-1 to shop-api-1.old-9
            14. rename shop-api-1.new-9 to shop-api-1
            15. take 00000000000a out of its networks
            16. rename shop-db-1 to shop-db-1.old-9
            17. rename shop-db-1.new-9 to shop-db-1
            18. take 00000000000d out of its networks
            19. watch 2 new containers for 5s
            20. remove 00000000000a
            21. remove 00000000000d
            22. let go of images that nobody needs (2 kept)"#]],
    );
}

#[test]
fn who_lives_in_another_is_made_once_that_one_runs() {
    check(
        Case::new(&[("vpn", &[]), ("api", &["vpn"])])
            .spec("api", |api| {
                api.networking = Networking::Mode(NamespaceMode::Service(service("vpn")));
            })
            .differs(0xa, "api")
            .differs(0xb, "vpn"),
        expect![[r#"
            1. keep image 000000000001
            2. keep image 000000000002
            3. create vpn-1 from 000000000002
            4. hold back the restart policy of 00000000000a
            5. rename shop-api-1 to shop-api-1.old-9
            6. stop api (00000000000a), by force after 10 s
            7. hold back the restart policy of 00000000000b
            8. stop vpn (00000000000b), by force after 10 s
            9. start vpn (new vpn-1)
            10. wait until vpn runs, at most 20 s
            11. create api-1 from 000000000002
            12. start api (new api-1)
            13. wait until api runs, at most 20 s
            14. take 00000000000a out of its networks
            15. rename shop-vpn-1 to shop-vpn-1.old-9
            16. rename shop-vpn-1.new-9 to shop-vpn-1
            17. take 00000000000b out of its networks
            18. watch 2 new containers for 5s
            19. remove 00000000000a
            20. remove 00000000000b
            21. let go of images that nobody needs (2 kept)"#]],
    );
}

/// Whoever was taken out of the file lives where it lived, and could not start while that is down.
#[test]
fn who_lived_in_another_stops_before_that_one_does() {
    let case = || {
        Case::new(&[("vpn", &[])])
            .differs(0xb, "vpn")
            .surplus(0xc, "shop-sidecar-1", "sidecar")
            .inspected(0xc, "shop-sidecar-1", "sidecar", |sidecar| {
                sidecar.networks.clear();
                sidecar.homes.insert(container(0xb).to_string());
            })
    };
    check(
        case(),
        expect![[r#"
            1. keep image 000000000001
            2. keep image 000000000002
            3. create vpn-1 from 000000000002
            4. hold back the restart policy of 00000000000c
            5. stop sidecar (00000000000c), by force after 10 s
            6. hold back the restart policy of 00000000000b
            7. stop vpn (00000000000b), by force after 10 s
            8. start vpn (new vpn-1)
            9. wait until vpn runs, at most 20 s
            10. rename shop-vpn-1 to shop-vpn-1.old-9
            11. rename shop-vpn-1.new-9 to shop-vpn-1
            12. take 00000000000b out of its networks
            13. watch 1 new containers for 5s
            14. remove 00000000000b
            15. remove 00000000000c
            16. let go of images that nobody needs (2 kept)"#]],
    );
    let starts_again = |case: Case| {
        let plan = case.plan().unwrap();
        let mut stops = plan
            .steps
            .iter()
            .filter(|s| s.target() == Some(&Target::Existing(container(0xc))));
        let stop = stops.find(|s| matches!(s, Step::Stop { .. })).unwrap();
        stop.undo().is_some()
    };
    assert!(starts_again(case()));
    let homeless = case().inspected(0xb, "shop-vpn-1", "vpn", |vpn| {
        vpn.summary.state = ContainerState::Exited(Some(1));
    });
    assert!(!starts_again(homeless));
}

#[test]
fn a_name_that_another_one_has_is_taken_when_that_one_has_made_room() {
    check(
        Case::new(&[("pg", &[])])
            .spec("pg", |pg| {
                on_data(pg);
                pg.container_name = Some(String::from("database"));
            })
            .missing("pg")
            .surplus(0xd, "database", "postgres"),
        expect![[r#"
            1. keep image 000000000001
            2. keep image 000000000002
            3. create pg-1 from 000000000002
            4. hold back the restart policy of 00000000000d
            5. rename database to database.old-9
            6. stop postgres (00000000000d), by force after 10 s
            7. rename database.new-9 to database
            8. start pg (new pg-1)
            9. wait until pg runs, at most 20 s
            10. watch 1 new containers for 5s
            11. remove 00000000000d
            12. let go of images that nobody needs (2 kept)"#]],
    );
}

#[test]
fn anonymous_volumes_go_on() {
    let case = Case::new(&[("api", &[])]).differs(0xa, "api");
    let carried = Carried {
        target: String::from("/var/lib"),
        volume: "f".repeat(64),
    };
    let case = case.inspected(0xa, "shop-api-1", "api", |old| old.anonymous.push(carried));
    let steps = case.plan().unwrap().steps;
    expect!["create api-1 from 000000000002, taking over the volume at /var/lib"].assert_eq(
        &steps
            .iter()
            .find(|s| matches!(s, Step::Create { .. }))
            .unwrap()
            .to_string(),
    );
}

#[test]
fn a_heal_starts_what_is_down_and_touches_nothing_else() {
    check(
        Case::new(&[("db", &[]), ("api", &["db"])])
            .spec("db", |db| db.healthcheck = Some(Healthcheck::default()))
            .spec("api", |api| depend(api, "db", Condition::Healthy))
            .down(0xa, "api")
            .kind(Kind::Heal),
        expect![[r#"
            1. wait until db is healthy, at most 240 s
            2. start api (00000000000a)
            3. wait until api runs, at most 20 s"#]],
    );
}

/// What runs already needs nothing of it any more, and must not be the reason for a long wait.
#[test]
fn only_what_this_plan_starts_is_waited_for() {
    let case = |conditions: &[(&str, Condition)]| {
        let mut case = Case::new(&[("db", &[]), ("api", &[]), ("web", &[])])
            .spec("db", |db| db.healthcheck = Some(Healthcheck::default()));
        for (name, condition) in conditions {
            case = case.spec(name, |spec| depend(spec, "db", *condition));
        }
        case.down(0xd, "db").kind(Kind::Heal)
    };
    let needs = [
        ("api", Condition::Healthy),
        ("web", Condition::CompletedSuccessfully),
    ];
    check(
        case(&needs),
        expect![[r#"
            1. start db (00000000000d)
            2. wait until db runs, at most 20 s"#]],
    );
    check(
        case(&needs).down(0xa, "api"),
        expect![[r#"
            1. start db (00000000000d)
            2. wait until db is healthy, at most 240 s
            3. start api (00000000000a)
            4. wait until api runs, at most 20 s"#]],
    );
    check(
        case(&needs).down(0xa, "api").down(0xb, "web"),
        expect![[r#"
            1. start db (00000000000d)
            2. wait until db has completed, at most 900 s
            3. start api (00000000000a)
            4. wait until api runs, at most 20 s
            5. start web (00000000000b)
            6. wait until web runs, at most 20 s"#]],
    );
    check(
        case(&needs).surplus(0xa, "shop-api-2", "api"),
        expect![[r#"
            1. hold back the restart policy of 00000000000a
            2. stop api (00000000000a), by force after 10 s
            3. start db (00000000000d)
            4. wait until db runs, at most 20 s
            5. remove 00000000000a"#]],
    );
}

#[test]
fn a_one_shot_is_waited_for_and_not_watched() {
    check(
        Case::new(&[("migrate", &[]), ("api", &[])])
            .spec("api", |api| {
                depend(api, "migrate", Condition::CompletedSuccessfully);
            })
            .missing("migrate")
            .missing("api"),
        expect![[r#"
            1. keep image 000000000001
            2. keep image 000000000002
            3. create migrate-1 from 000000000002
            4. create api-1 from 000000000002
            5. start migrate (new migrate-1)
            6. wait until migrate has completed, at most 900 s
            7. start api (new api-1)
            8. wait until api runs, at most 20 s
            9. watch 1 new containers for 5s
            10. let go of images that nobody needs (2 kept)"#]],
    );
}

#[test]
fn what_is_outside_of_the_stack_must_be_there() {
    let network = |external| NetworkSpec {
        name: String::from("edge"),
        external,
        ..NetworkSpec::default()
    };
    let volume = |external| VolumeSpec {
        name: String::from("archive"),
        external,
        ..VolumeSpec::default()
    };
    let case = || Case::new(&[("api", &[])]).missing("api");
    let on_edge = |external| {
        let mut case = case();
        case.wanted
            .spec
            .networks
            .insert(String::from("edge"), network(external));
        case
    };
    let on_archive = |external| {
        let mut case = case();
        case.wanted
            .spec
            .volumes
            .insert(String::from("archive"), volume(external));
        case
    };
    check(on_edge(true), expect!["the external network edge does not exist"]);
    check(
        on_archive(true),
        expect!["the external volume archive does not exist"],
    );
    assert!(on_edge(false).plan().is_ok());
    assert!(on_archive(false).plan().is_ok());
}

#[test]
fn what_was_not_inspected_or_resolved_is_not_guessed() {
    let mut unseen = Case::new(&[("api", &[])]).differs(0xa, "api");
    unseen.details.clear();
    check(
        unseen,
        expect!["container 00000000000a of api could not be inspected"],
    );
    let mut imageless = Case::new(&[("api", &[])]).missing("api");
    imageless.wanted.images.clear();
    check(imageless, expect!["the image of api is not known"]);
    check(
        Case::new(&[("a", &["b"]), ("b", &["a"])]).missing("a"),
        expect!["these services depend on each other: a → b → a"],
    );
}

/// What each step's failure leads to, shortened to where it changes.
fn failures(case: &Case) -> String {
    let plan = case.plan().unwrap();
    let mut lines: Vec<String> = Vec::new();
    let mut last = None;
    for (index, step) in plan.steps.iter().enumerate() {
        let leads_to = plan.on_failure_of(index);
        if last.replace(leads_to) != Some(leads_to) {
            lines.push(format!("{leads_to:?} from: {step}"));
        }
    }
    lines.join("\n")
}

/// The old container may come back until the new one may have written to its data, and not after.
#[test]
fn nothing_is_taken_back_once_a_new_container_may_have_written_to_the_data() {
    let case = || {
        Case::new(&[("db", &[]), ("api", &["db"]), ("web", &[])])
            .spec("db", on_data)
            .differs(0xa, "api")
            .differs(0xd, "db")
            .differs(0xe, "web")
    };
    expect!["Rollback from: keep image 000000000001"].assert_eq(&failures(&case()));
    let held = expect![[r#"
        Rollback from: keep image 000000000001
        Pause from: start db (new db-1)"#]];
    held.assert_eq(&failures(&case().data("db")));
    // An order to go back changes data as a deploy does.
    held.assert_eq(&failures(&case().data("db").kind(Kind::Rollback)));
    // What the file wishes counts no more from there on: a failed wait is a failure.
    let wishes = |spec: &mut ServiceSpec| {
        spec.deploy = Some(Deploy {
            update_config: Some(UpdateConfig {
                failure_action: Some(OnUpdateFailure::Continue),
                ..UpdateConfig::default()
            }),
            ..Deploy::default()
        });
    };
    let careful = case().spec("db", wishes).spec("api", wishes).data("db");
    assert!(failures(&careful).ends_with("Pause from: start db (new db-1)"));
}

#[test]
fn the_watch_fails_as_the_most_careful_of_its_services_asks() {
    use OnUpdateFailure::{Continue, Pause, Rollback};
    let wish = |name: &'static str, action| {
        move |case: Case| {
            case.spec(name, |spec| {
                spec.deploy = Some(Deploy {
                    update_config: Some(UpdateConfig {
                        failure_action: action,
                        monitor: Some(Nanos::from_secs(30)),
                        ..UpdateConfig::default()
                    }),
                    ..Deploy::default()
                });
            })
        }
    };
    let row = |api, web| {
        let case = Case::new(&[("api", &[]), ("web", &[])])
            .missing("api")
            .missing("web");
        let plan = wish("web", web)(wish("api", api)(case)).plan().unwrap();
        let watch = plan
            .steps
            .iter()
            .position(|s| matches!(s, Step::Watch { .. }))
            .unwrap();
        plan.on_failure_of(watch)
    };
    assert_eq!(row(None, None), Rollback);
    assert_eq!(row(Some(Pause), None), Rollback);
    assert_eq!(row(Some(Pause), Some(Continue)), Pause);
    assert_eq!(row(Some(Continue), Some(Continue)), Continue);
    assert_eq!(row(Some(Continue), Some(Rollback)), Rollback);
}

#[test]
fn rows_that_were_taken_back_are_in_before_the_release_that_reads_them() {
    let case = || {
        Case::new(&[("db", &[]), ("api", &["db"])])
            .differs(0xa, "api")
            .moves(Direction::Up, "a", "b")
            .returning(&[(7, false), (5, true), (4, false)])
    };
    let upto = |case: Case, last: usize| {
        let plan = case.plan().unwrap().to_string();
        let lines = plan.lines().take(last).map(str::trim_start);
        lines.collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
        1. keep image 000000000001
        2. keep image 000000000002
        3. create api-1 from 000000000002
        4. keep the rows that operation 7 has taken out of the database
        5. keep the rows that operation 4 has taken out of the database
        6. back the database up, and restore the backup to prove it
        7. upgrade the schema from a to b with image 000000000007 (b)
        8. put the rows back that operation 7 has taken out of the database
        9. put the rows back that operation 5 has taken out of the database
        10. hold back the restart policy of 00000000000a"#]]
    .assert_eq(&upto(case(), 10));
    // Where the containers migrate, they have no place before these run.
    expect![[r#"
        1. keep image 000000000001
        2. keep image 000000000002
        3. create api-1 from 000000000002
        4. keep the rows that operation 7 has taken out of the database
        5. keep the rows that operation 4 has taken out of the database
        6. back the database up, and restore the backup to prove it
        7. hold back the restart policy of 00000000000a"#]]
    .assert_eq(&upto(case().by_itself(), 7));
}

#[test]
fn a_schema_goes_up_while_the_old_release_serves() {
    check(
        Case::new(&[("db", &[]), ("api", &["db"])])
            .differs(0xa, "api")
            .moves(Direction::Up, "a", "b"),
        expect![[r#"
            1. keep image 000000000001
            2. keep image 000000000002
            3. create api-1 from 000000000002
            4. back the database up, and restore the backup to prove it
            5. upgrade the schema from a to b with image 000000000007 (b)
            6. hold back the restart policy of 00000000000a
            7. stop api (00000000000a), by force after 10 s
            8. start api (new api-1)
            9. wait until api runs, at most 20 s
            10. rename shop-api-1 to shop-api-1.old-9
            11. rename shop-api-1.new-9 to shop-api-1
            12. take 00000000000a out of its networks
            13. watch 1 new containers for 5s
            14. remove 00000000000a
            15. let go of images that nobody needs (2 kept)"#]],
    );
    let case = || {
        Case::new(&[("db", &[]), ("api", &["db"])])
            .differs(0xa, "api")
            .moves(Direction::Up, "a", "b")
    };
    let plan = case().plan().unwrap();
    let from = plan.schema_from.unwrap();
    assert!(matches!(plan.steps[from], Step::Migrate { .. }));
    assert!(!plan.has_moved_schema(from, false));
    assert!(plan.has_moved_schema(from, true));
    assert!(plan.has_moved_schema(from + 1, false));
}

#[test]
fn what_has_to_hold_is_asked_before_and_after_the_schema_goes_up() {
    let case = |asks, counts| {
        Case::new(&[("db", &[]), ("api", &["db"])])
            .differs(0xa, "api")
            .moves(Direction::Up, "a", "b")
            .looking(asks, counts)
    };
    let looks = |case: Case| {
        let plan = case.plan().unwrap();
        let about = |step: &&Step| {
            matches!(
                step,
                Step::Look { .. }
                    | Step::Migrate { .. }
                    | Step::Backup { .. }
                    | Step::Watch { .. }
                    | Step::Remove { .. }
            )
        };
        let lines: Vec<String> = plan.steps.iter().filter(about).map(ToString::to_string).collect();
        lines.join("\n")
    };
    expect![[r#"
        back the database up, and restore the backup to prove it
        ask the integrity checks, before
        upgrade the schema from a to b with image 000000000007 (b)
        ask the integrity checks, after
        watch 1 new containers for 5s
        count the rows, after
        remove 00000000000a"#]]
    .assert_eq(&looks(case(true, true)));
    // What was before is counted with the backup.
    expect![[r#"
        back the database up, and restore the backup to prove it
        upgrade the schema from a to b with image 000000000007 (b)
        watch 1 new containers for 5s
        count the rows, after
        remove 00000000000a"#]]
    .assert_eq(&looks(case(false, true)));
    // Where the containers migrate it is asked when they are up, and before the old ones go.
    expect![[r#"
        back the database up, and restore the backup to prove it
        ask the integrity checks, before
        watch 1 new containers for 5s
        ask the integrity checks and count the rows, after
        remove 00000000000a"#]]
    .assert_eq(&looks(case(true, true).by_itself()));
    let plan = case(true, true).plan().unwrap();
    let last = plan
        .steps
        .iter()
        .rposition(|step| matches!(step, Step::Look { .. }));
    assert!(plan.has_moved_schema(last.unwrap(), false));
    let plan = case(true, true).by_itself().plan().unwrap();
    let last = plan
        .steps
        .iter()
        .rposition(|step| matches!(step, Step::Look { .. }));
    assert!(plan.has_moved_schema(last.unwrap(), false));
    // On the way down the tool's own step asks, so that what is begun in its place is tried next.
    let down = Case::new(&[("db", &[]), ("api", &["db"])])
        .differs(0xa, "api")
        .moves(Direction::Down, "b", "a")
        .looking(true, true);
    let plan = down.plan().unwrap();
    assert!(!plan.steps.iter().any(|step| matches!(step, Step::Look { .. })));
    assert!(
        plan.steps
            .iter()
            .any(|step| matches!(step, Step::Migrate { checks, .. } if checks.len() == 1))
    );
}

#[test]
fn a_stack_that_migrates_by_itself_is_backed_up_before_and_not_taken_back_without_its_schema() {
    let case = || {
        Case::new(&[("db", &[]), ("api", &["db"])])
            .differs(0xa, "api")
            .moves(Direction::Up, "a", "b")
            .by_itself()
    };
    check(
        case(),
        expect![[r#"
            1. keep image 000000000001
            2. keep image 000000000002
            3. create api-1 from 000000000002
            4. back the database up, and restore the backup to prove it
            5. hold back the restart policy of 00000000000a
            6. stop api (00000000000a), by force after 10 s
            7. start api (new api-1)
            8. wait until api runs, at most 20 s
            9. rename shop-api-1 to shop-api-1.old-9
            10. rename shop-api-1.new-9 to shop-api-1
            11. take 00000000000a out of its networks
            12. watch 1 new containers for 5s
            13. remove 00000000000a
            14. let go of images that nobody needs (2 kept)"#]],
    );
    let plan = case().plan().unwrap();
    let from = plan.schema_from.unwrap();
    assert!(matches!(plan.steps[from], Step::Start { .. }));
    // What could not be started has moved nothing; what was started may have.
    assert!(!plan.has_moved_schema(from, false));
    assert!(plan.has_moved_schema(from + 1, false) && plan.has_migrated(from + 1, false));
    // Downwards it is the agent's, as ever.
    let down = Case::new(&[("db", &[]), ("api", &["db"])])
        .differs(0xa, "api")
        .moves(Direction::Down, "b", "a")
        .by_itself();
    let plan = down.plan().unwrap();
    assert!(plan.steps.iter().any(|step| matches!(step, Step::Migrate { .. })));
    assert_eq!(plan.schema_from, None);
}

#[test]
fn a_database_that_is_brought_up_is_migrated_before_anything_that_needs_it_starts() {
    check(
        Case::new(&[("db", &[]), ("api", &["db"])])
            .missing("db")
            .missing("api")
            .moves(Direction::Up, "a", "b"),
        expect![[r#"
            1. keep image 000000000001
            2. keep image 000000000002
            3. create db-1 from 000000000002
            4. create api-1 from 000000000002
            5. start db (new db-1)
            6. wait until db runs, at most 20 s
            7. back the database up, and restore the backup to prove it
            8. upgrade the schema from a to b with image 000000000007 (b)
            9. start api (new api-1)
            10. wait until api runs, at most 20 s
            11. watch 2 new containers for 5s
            12. let go of images that nobody needs (2 kept)"#]],
    );
}

/// A database that reads a file again is there until its schema was taken back.
#[test]
fn a_database_that_is_restarted_for_a_file_serves_until_its_schema_is_down() {
    let mut case = Case::new(&[("db", &[]), ("api", &["db"])])
        .spec("db", |db| {
            db.volumes = vec![Mount::Bind(Bind {
                source: "/srv/shop/db.conf".into(),
                target: String::from("/etc/db.conf"),
                ..Bind::default()
            })];
        })
        .inspected(0xd, "shop-db-1", "db", |_| {})
        .differs(0xa, "api")
        .kind(Kind::Rollback)
        .moves(Direction::Down, "b", "a");
    case.files = vec![FileChange {
        path: "/srv/shop/db.conf".into(),
        role: Role::Tracked,
        from: Some(Digest::of(b"new")),
        to: Some(Digest::of(b"old")),
        owner: None,
        theirs: true,
        gives_back: false,
        action: Action::Restart,
        written: None,
    }];
    let plan = case.plan().unwrap();
    let at = |is: &dyn Fn(&Step) -> bool| plan.steps.iter().position(is).unwrap();
    let stops = at(&|step| matches!(step, Step::Stop { service, .. } if service.as_str() == "db"));
    let down = at(&|step| matches!(step, Step::Migrate { .. }));
    let put = at(&|step| matches!(step, Step::PutFiles { .. }));
    assert!(down < stops && stops < put, "{:#?}", plan.steps);
}

#[test]
fn a_schema_goes_down_when_all_that_write_have_stopped() {
    let case = || {
        Case::new(&[("db", &[]), ("api", &["db"]), ("web", &[]), ("worker", &["db"])])
            .differs(0xa, "api")
            .inspected(0xd, "shop-db-1", "db", |_| {})
            .inspected(0xb, "shop-web-1", "web", |_| {})
            .inspected(0xc, "shop-worker-1", "worker", |_| {})
            .kind(Kind::Rollback)
            .moves(Direction::Down, "b", "a")
    };
    check(
        case(),
        expect![[r#"
        1. keep image 000000000001
        2. keep image 000000000002
        3. create api-1 from 000000000002
        4. hold back the restart policy of 00000000000a
        5. stop api (00000000000a), by force after 10 s
        6. hold back the restart policy of 00000000000c
        7. stop worker (00000000000c), by force after 10 s
        8. bar the database, and see that nobody is in it
        9. copy the database as it is
        10. let connections to the database in again
        11. downgrade the schema from b to a with image 000000000007 (b)
        12. start api (new api-1)
        13. wait until api runs, at most 20 s
        14. start worker (00000000000c)
        15. wait until worker runs, at most 20 s
        16. rename shop-api-1 to shop-api-1.old-9
        17. rename shop-api-1.new-9 to shop-api-1
        18. take 00000000000a out of its networks
        19. watch 1 new containers for 5s
        20. give 00000000000c its restart policy (Always)
        21. remove 00000000000a
        22. let go of images that nobody needs (2 kept)"#]],
    );
    let mut with_sql = case();
    let sql = ManualSql::try_from(String::from("ALTER TABLE a DROP b")).unwrap();
    let manual = BTreeMap::from([("b".parse().unwrap(), sql)]);
    with_sql.instead = instead_of(with_sql.way.as_ref().unwrap(), &manual, &[]);
    let plan = with_sql.plan().unwrap();
    let (at, instead) = plan.instead.iter().next().unwrap();
    assert!(matches!(plan.steps[*at], Step::Migrate { .. }));
    // Whatever is tried in its place is taken back as it is.
    assert!(!instead.steps.is_empty());
    assert!(
        instead
            .steps
            .iter()
            .all(|step| step.undo() == plan.steps[*at].undo())
    );
    let plan = case().plan().unwrap();
    assert!(plan.instead.is_empty());
    let first = plan.data_from.unwrap();
    assert!(matches!(plan.steps[first], Step::Start { .. }));
    assert!(matches!(plan.steps[first - 1], Step::Migrate { .. }));
    assert_eq!(plan.schema_from, None);
}

#[test]
fn a_backup_takes_the_place_of_the_database_when_all_that_write_have_stopped() {
    let case = || {
        let mut case = Case::new(&[("db", &[]), ("api", &["db"]), ("worker", &["db"])])
            .differs(0xa, "api")
            .inspected(0xd, "shop-db-1", "db", |_| {})
            .inspected(0xc, "shop-worker-1", "worker", |_| {})
            .kind(Kind::Rollback)
            .moves(Direction::Down, "b", "a");
        case.restores = Some("20261126T191500Z-7".parse().unwrap());
        case
    };
    check(
        case(),
        expect![[r#"
        1. keep image 000000000001
        2. keep image 000000000002
        3. create api-1 from 000000000002
        4. restore the backup 20261126T191500Z-7 into a new database
        5. back the database up, and restore the backup to prove it
        6. hold back the restart policy of 00000000000a
        7. stop api (00000000000a), by force after 10 s
        8. hold back the restart policy of 00000000000c
        9. stop worker (00000000000c), by force after 10 s
        10. bar the database, and see that nobody is in it
        11. give what was restored the database's name, and keep the old one
        12. let connections to the database in again
        13. start api (new api-1)
        14. wait until api runs, at most 20 s
        15. start worker (00000000000c)
        16. wait until worker runs, at most 20 s
        17. rename shop-api-1 to shop-api-1.old-9
        18. rename shop-api-1.new-9 to shop-api-1
        19. take 00000000000a out of its networks
        20. watch 1 new containers for 5s
        21. give 00000000000c its restart policy (Always)
        22. remove 00000000000a
        23. let go of images that nobody needs (2 kept)"#]],
    );
    let plan = case().plan().unwrap();
    let first = plan.data_from.unwrap();
    // What was restored is written to from here on, and is given back no more.
    assert!(matches!(plan.steps[first], Step::Start { .. }));
    assert!(matches!(plan.steps[first - 1], Step::OpenDatabase));
    assert!(plan.has_migrated(first, false) && plan.instead.is_empty());
}

#[test]
fn a_database_that_is_replaced_has_its_schema_taken_back_before() {
    let case = || {
        Case::new(&[("db", &[]), ("api", &["db"])])
            .differs(0xa, "api")
            .moves(Direction::Down, "b", "a")
    };
    check(
        case().differs(0xd, "db"),
        expect![[r#"
        1. keep image 000000000001
        2. keep image 000000000002
        3. create api-1 from 000000000002
        4. create db-1 from 000000000002
        5. hold back the restart policy of 00000000000a
        6. stop api (00000000000a), by force after 10 s
        7. bar the database, and see that nobody is in it
        8. copy the database as it is
        9. let connections to the database in again
        10. downgrade the schema from b to a with image 000000000007 (b)
        11. hold back the restart policy of 00000000000d
        12. stop db (00000000000d), by force after 10 s
        13. start db (new db-1)
        14. wait until db runs, at most 20 s
        15. start api (new api-1)
        16. wait until api runs, at most 20 s
        17. rename shop-api-1 to shop-api-1.old-9
        18. rename shop-api-1.new-9 to shop-api-1
        19. take 00000000000a out of its networks
        20. rename shop-db-1 to shop-db-1.old-9
        21. rename shop-db-1.new-9 to shop-db-1
        22. take 00000000000d out of its networks
        23. watch 2 new containers for 5s
        24. remove 00000000000a
        25. remove 00000000000d
        26. let go of images that nobody needs (2 kept)"#]],
    );
    check(
        case().missing("db"),
        expect!["the schema has to be taken back, and db does not run"],
    );
}
