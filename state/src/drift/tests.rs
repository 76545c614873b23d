//! Each way in which what runs can differ, row by row.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use std::collections::BTreeSet;

use expect_test::{Expect, expect};

use super::{Wanted, drift, orphans};
use crate::fixture::{container, depend, image, record, service, stack};
use crate::name::ServiceName;
use crate::observed::{ContainerObs, ContainerState};
use crate::record::StackRecord;
use crate::release::GenerationNumber;
use crate::stack_spec::{Condition, Healthcheck, NamespaceMode, Networking, RestartPolicy, ServiceSpec};

struct Case {
    wanted: Wanted,
    record: StackRecord,
    seen: Vec<ContainerObs>,
    lasting: BTreeSet<ServiceName>,
}

impl Case {
    fn spec(&mut self, name: &str) -> &mut ServiceSpec {
        self.wanted.spec.services.get_mut(&service(name)).unwrap()
    }

    fn seen(&mut self, name: &str) -> &mut ContainerObs {
        self.seen.iter_mut().find(|c| c.service == service(name)).unwrap()
    }

    /// One more container of a service, right in every way.
    fn add(&mut self, of: &str, number: u32) -> &mut ContainerObs {
        self.seen.push(ContainerObs {
            id: container(self.seen.len() as u64 + 1),
            name: format!("shop-{of}-{number}"),
            service: service(of),
            number,
            image: image(2),
            state: ContainerState::Running(None),
            spec: Some(String::from("new")),
            operation: None,
            oneoff: false,
            restarts: None,
        });
        self.seen.last_mut().unwrap()
    }
}

/// `api` and `db` run as they should, but for what the row changes.
#[track_caller]
fn check(change: impl FnOnce(&mut Case), expect: Expect) {
    let spec = stack(&[("api", &["db"]), ("db", &[])]);
    let names = || spec.services.keys().cloned();
    let mut case = Case {
        wanted: Wanted {
            generation: GenerationNumber(2),
            hashes: names().map(|name| (name, String::from("new"))).collect(),
            images: names().map(|name| (name, image(2))).collect(),
            spec: spec.into(),
            files: [].into(),
        },
        record: record(Vec::new()),
        seen: Vec::new(),
        lasting: BTreeSet::new(),
    };
    case.add("api", 1);
    case.add("db", 1);
    change(&mut case);
    let found = drift(&case.wanted, &case.record, &case.seen, &case.lasting);
    let kind = |d: &super::Drift| match d {
        super::Drift::Missing { .. } => "+",
        super::Drift::Down { .. } => "!",
        super::Drift::Differs { .. } => "~",
        super::Drift::Surplus { .. } => "-",
    };
    let lines: Vec<String> = found.iter().map(|d| format!("{} {d}", kind(d))).collect();
    expect.assert_eq(&lines.join("; "));
}

#[test]
fn what_is_as_it_should_be_is_no_difference() {
    check(|_| {}, expect![""]);
    check(|c| c.seen("api").state = ContainerState::Restarting, expect![""]);
    check(|c| c.add("api", 1).oneoff = true, expect![""]);
}

#[test]
fn missing_down_and_different() {
    check(
        |c| c.seen.clear(),
        expect!["+ api-1 is missing; + db-1 is missing"],
    );
    check(
        |c| c.seen("api").image = image(1),
        expect!["~ api-1 runs image 000000000001"],
    );
    check(
        |c| c.seen("api").spec = Some(String::from("old")),
        expect!["~ api-1 was made from another specification"],
    );
    check(
        |c| c.seen("api").spec = None,
        expect!["~ api-1 was made by somebody else"],
    );
    check(
        |c| {
            c.seen("api").spec = None;
            c.record.adopted.insert(container(1), String::from("new"));
        },
        expect![""],
    );
    check(
        |c| c.seen("api").state = ContainerState::Gone,
        expect!["~ api-1 is dead or being removed"],
    );
    check(
        |c| c.seen("api").state = ContainerState::Paused,
        expect!["! api-1 is paused"],
    );
    check(
        |c| c.seen("api").state = ContainerState::Created,
        expect!["! api-1 was never started"],
    );
    check(
        |c| c.seen("api").state = ContainerState::Exited(Some(137)),
        expect!["! api-1 has exited with code 137"],
    );
    check(
        |c| c.seen("api").state = ContainerState::Exited(None),
        expect!["! api-1 has exited"],
    );
}

#[test]
fn an_exit_with_0_is_being_done_only_where_that_is_the_purpose() {
    let exited = |change: fn(&mut Case)| {
        move |c: &mut Case| {
            c.seen("api").state = ContainerState::Exited(Some(0));
            change(c);
        }
    };
    check(exited(|_| {}), expect![""]);
    check(
        exited(|c| c.spec("api").restart = Some(RestartPolicy::Always)),
        expect!["! api-1 has exited with code 0"],
    );
    check(
        exited(|c| c.spec("api").healthcheck = Some(Healthcheck::default())),
        expect!["! api-1 has exited with code 0"],
    );
    check(
        exited(|c| {
            c.lasting.insert(service("api"));
        }),
        expect!["! api-1 has exited with code 0"],
    );
    check(
        |c| {
            c.seen("db").state = ContainerState::Exited(Some(0));
            c.lasting.insert(service("db"));
            depend(c.spec("api"), "db", Condition::CompletedSuccessfully);
        },
        expect![""],
    );
}

#[test]
fn too_many_are_taken_away_and_the_best_one_stays() {
    check(
        |c| {
            c.add("api", 2);
        },
        expect!["- api-2 is one too many: 1 wanted"],
    );
    check(
        |c| c.add("api", 1).image = image(1),
        expect!["- api-1 is a second container of the same number"],
    );
    check(
        |c| {
            c.seen("api").state = ContainerState::Exited(Some(1));
            c.add("api", 1);
        },
        expect!["- api-1 is a second container of the same number"],
    );
    check(|c| c.spec("api").scale = Some(2), expect!["+ api-2 is missing"]);
}

/// What an interrupted replacement leaves has neither its name nor its networks: it is no use.
#[test]
fn what_was_set_aside_is_replaced_and_never_started_as_it_is() {
    let aside = |c: &mut Case| {
        let api = c.seen("api");
        api.name = String::from("shop-api-1.old-7");
        api.state = ContainerState::Exited(Some(0));
    };
    check(
        aside,
        expect!["~ api-1 was set aside by an operation that did not end well"],
    );
    check(
        |c| {
            aside(c);
            c.add("api", 1).image = image(1);
        },
        expect!["- api-1 is a second container of the same number; ~ api-1 runs image 000000000001"],
    );
    check(
        |c| {
            c.seen("api").name = String::from("api.old-7");
            c.spec("api").container_name = Some(String::from("api.old-7"));
        },
        expect![""],
    );
}

#[test]
fn services_that_were_taken_out_go_and_strangers_stay() {
    check(
        |c| {
            c.add("worker", 1);
        },
        expect!["- worker-1 is of a service that was taken out"],
    );
    check(|c| c.add("worker", 1).spec = None, expect![""]);
    let mut case = None;
    check(
        |c| {
            c.add("worker", 1).spec = None;
            let found = orphans(&c.record, &c.wanted.spec, &c.seen);
            case = Some(found.iter().map(|o| o.name.clone()).collect::<Vec<_>>());
        },
        expect![""],
    );
    assert_eq!(case, Some(vec![String::from("shop-worker-1")]));
}

#[test]
fn who_lives_in_another_is_replaced_with_it() {
    let lives_in_db = |c: &mut Case| {
        c.spec("api").networking = Networking::Mode(NamespaceMode::Service(service("db")));
    };
    check(lives_in_db, expect![""]);
    check(
        |c| {
            lives_in_db(c);
            c.seen("db").image = image(1);
        },
        expect!["~ db-1 runs image 000000000001; ~ api-1 lives in a namespace of db, which is replaced"],
    );
    // One too many stays one too many, and a second host is not lived in.
    check(
        |c| {
            lives_in_db(c);
            c.seen("db").image = image(1);
            c.add("api", 2);
        },
        expect![
            "- api-2 is one too many: 1 wanted; ~ db-1 runs image 000000000001; ~ api-1 lives in a namespace of db, which is replaced"
        ],
    );
    check(
        |c| {
            lives_in_db(c);
            c.spec("db").scale = Some(2);
        },
        expect!["+ db-2 is missing"],
    );
    // A replica that is missing beside does not save the other one.
    check(
        |c| {
            lives_in_db(c);
            c.spec("api").scale = Some(2);
            c.seen("db").image = image(1);
        },
        expect![
            "+ api-2 is missing; ~ db-1 runs image 000000000001; ~ api-1 lives in a namespace of db, which is replaced"
        ],
    );
}
