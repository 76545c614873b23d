//! Who is left alone, and for how long, row by row. The clock is an argument.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use expect_test::{Expect, expect};

use super::Sightings;
use crate::drift::Drift;
use crate::fixture::{at, container, image, record, service, stack};
use crate::observed::{ContainerObs, ContainerState};
use crate::time::Moment;

const RUNS: ContainerState = ContainerState::Running(None);
const EXITED: ContainerState = ContainerState::Exited(Some(137));

/// A container of ours, or of somebody else.
fn api(n: u64, named: &str, ours: bool, state: ContainerState) -> ContainerObs {
    ContainerObs {
        id: container(n),
        name: named.to_owned(),
        service: service("api"),
        number: 1,
        image: image(1),
        state,
        spec: ours.then(|| String::from("new")),
        operation: None,
        oneoff: false,
        restarts: None,
    }
}

fn ours(state: ContainerState) -> ContainerObs {
    api(0xa, "shop-api-1", true, state)
}

fn theirs(state: ContainerState) -> ContainerObs {
    api(0xb, "00000000000a_shop-api-1", false, state)
}

fn after(ms: u64) -> Moment {
    at(100).plus(std::time::Duration::from_millis(ms))
}

/// What is seen after so many milliseconds, and then for how long what is left alone.
#[track_caller]
fn check(looks: &[(u64, Vec<ContainerObs>)], expect: Expect) {
    let record = record(Vec::new());
    let spec = stack(&[("api", &["cache"]), ("cache", &["db"]), ("db", &[]), ("web", &[])]);
    let mut sightings = Sightings::default();
    let mut lines = Vec::new();
    for (ms, seen) in looks {
        let now = after(*ms);
        sightings.take(seen, &now);
        let work = sightings.at_work(&record, seen, &now);
        let down = |c: &ContainerObs| Drift::Down {
            service: c.service.clone(),
            number: c.number,
            container: c.id.clone(),
            how: String::new(),
        };
        let all: Vec<Drift> = seen.iter().map(down).collect();
        let settles: Vec<u128> = all
            .iter()
            .map(|drift| sightings.settles(drift, &all, &spec, &now).as_millis())
            .collect();
        let work: Vec<String> = work
            .iter()
            .map(|(service, left)| format!("{service} {}", left.as_millis()))
            .collect();
        lines.push(format!(
            "{ms}: at work [{}], settles {settles:?}",
            work.join(", ")
        ));
    }
    expect.assert_eq(&lines.join("\n"));
}

#[test]
fn what_is_ours_and_runs_is_nobody_elses_work() {
    check(
        &[(0, vec![ours(RUNS)]), (5000, vec![ours(RUNS)])],
        expect![[r#"
            0: at work [], settles [0]
            5000: at work [], settles [0]"#]],
    );
}

#[test]
fn an_exited_container_settles_for_a_moment() {
    check(
        &[
            (0, vec![ours(RUNS)]),
            (100, vec![ours(EXITED)]),
            (900, vec![ours(EXITED)]),
            (1599, vec![ours(EXITED)]),
            (1600, vec![ours(EXITED)]),
            (1700, vec![ours(RUNS)]),
            (1800, vec![ours(EXITED)]),
        ],
        expect![[r#"
            0: at work [], settles [0]
            100: at work [], settles [1500]
            900: at work [], settles [700]
            1599: at work [], settles [1]
            1600: at work [], settles [0]
            1700: at work [], settles [0]
            1800: at work [], settles [1500]"#]],
    );
}

/// Two die together and are seen apart: the dependent does not start before what it needs.
#[test]
fn what_is_depended_on_settles_first() {
    let of = |n: u64, name: &str| ContainerObs {
        service: service(name),
        ..api(n, name, true, EXITED)
    };
    check(
        &[
            (0, vec![of(1, "api"), of(2, "web")]),
            (400, vec![of(1, "api"), of(3, "db"), of(2, "web")]),
            (1500, vec![of(1, "api"), of(3, "db"), of(2, "web")]),
            (1900, vec![of(1, "api"), of(3, "db"), of(2, "web")]),
        ],
        expect![[r#"
            0: at work [], settles [1500, 1500]
            400: at work [], settles [1500, 1500, 1100]
            1500: at work [], settles [400, 400, 0]
            1900: at work [], settles [0, 0, 0]"#]],
    );
}

#[test]
fn what_was_never_started_needs_no_time_to_settle() {
    check(
        &[(0, vec![ours(ContainerState::Created)])],
        expect!["0: at work [], settles [0]"],
    );
}

#[test]
fn what_somebody_paused_is_left_alone_for_a_minute() {
    check(
        &[
            (0, vec![ours(RUNS)]),
            (100, vec![ours(ContainerState::Paused)]),
            (60_000, vec![ours(ContainerState::Paused)]),
            (60_100, vec![ours(ContainerState::Paused)]),
            (60_200, vec![ours(RUNS)]),
            (60_300, vec![ours(ContainerState::Paused)]),
        ],
        expect![[r#"
            0: at work [], settles [0]
            100: at work [], settles [60000]
            60000: at work [], settles [100]
            60100: at work [], settles [0]
            60200: at work [], settles [0]
            60300: at work [], settles [60000]"#]],
    );
}

/// Compose 2 makes the new one, stops and removes the old one, and renames.
#[test]
fn compose_2_is_left_alone_from_the_first_container_on() {
    check(
        &[
            (0, vec![ours(RUNS)]),
            (300, vec![ours(RUNS), theirs(ContainerState::Created)]),
            (800, vec![ours(EXITED), theirs(ContainerState::Created)]),
            (2500, vec![theirs(ContainerState::Created)]),
            (9000, vec![theirs(RUNS)]),
            (20_299, vec![theirs(RUNS)]),
            (20_300, vec![theirs(RUNS)]),
        ],
        expect![[r#"
            0: at work [], settles [0]
            300: at work [api 20000], settles [0, 0]
            800: at work [api 19500], settles [1500, 0]
            2500: at work [api 17800], settles [0]
            9000: at work [api 11300], settles [0]
            20299: at work [api 1], settles [0]
            20300: at work [], settles [0]"#]],
    );
}

/// Compose 1.29 stops the old one, names it aside, and only then makes the new one.
#[test]
fn compose_1_is_left_alone_from_the_stop_on() {
    let aside = || api(0xa, "00000000000a_shop-api-1", true, EXITED);
    let new = || api(0xc, "shop-api-1", false, ContainerState::Created);
    check(
        &[
            (0, vec![ours(RUNS)]),
            (200, vec![ours(EXITED)]),
            (260, vec![aside()]),
            (6000, vec![aside()]),
            (6500, vec![aside(), new()]),
            (20_300, vec![aside(), new()]),
            (26_500, vec![aside(), new()]),
        ],
        expect![[r#"
            0: at work [], settles [0]
            200: at work [], settles [1500]
            260: at work [api 19940], settles [1440]
            6000: at work [api 14200], settles [0]
            6500: at work [api 20000], settles [0, 0]
            20300: at work [api 6200], settles [0, 0]
            26500: at work [], settles [0, 0]"#]],
    );
}

#[test]
fn one_off_containers_are_no_work_on_the_stack() {
    let mut run = theirs(RUNS);
    run.oneoff = true;
    check(&[(0, vec![run])], expect!["0: at work [], settles [0]"]);
}

/// A container that was adopted is ours, whoever made it.
#[test]
fn what_was_adopted_is_ours() {
    let mut record = record(Vec::new());
    record.adopted.insert(container(0xb), String::from("new"));
    let seen = [theirs(RUNS)];
    let mut sightings = Sightings::default();
    sightings.take(&seen, &at(0));
    assert!(sightings.at_work(&record, &seen, &at(1)).is_empty());
}

#[test]
fn what_is_taken_for_old_is_left_alone_no_more() {
    let seen = [ours(EXITED), theirs(RUNS)];
    let mut sightings = Sightings::default();
    sightings.take(&seen, &at(100));
    sightings.take_for_old();
    assert!(sightings.at_work(&record(Vec::new()), &seen, &at(100)).is_empty());
    let down = Drift::Down {
        service: service("api"),
        number: 1,
        container: container(0xa),
        how: String::new(),
    };
    let all = std::slice::from_ref(&down);
    assert!(sightings.settles(&down, all, &stack(&[]), &at(100)).is_zero());
}
