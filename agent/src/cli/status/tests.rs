//! The status in every situation, as it is read.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::{Expect, expect};

use super::*;
use crate::view::sample;

#[track_caller]
fn check(situation: &str, expected: &Expect) {
    let text = render::full(&sample::status(situation), &sample::reader());
    let text = anstream::adapter::strip_str(&text).to_string();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
    expected.assert_eq(&text);
}

#[test]
fn steady() {
    check(
        "steady",
        &expect![[r#"
            shop  steady: v1.5.0 runs, as asked for
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.5.0, 2h ago; that is what runs
              next       nothing to do; last looked 3s ago
              rollback   possible, to v1.4.0 (generation 1)

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  1h 59m ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn a_release_of_a_repository_is_shown_with_its_commit() {
    let mut status = sample::status("rolled back");
    let commit = |digits: &str| Some(digits.to_owned());
    if let (Some(runs), Some(asked), Some(gap)) = (&mut status.runs, &mut status.asked, &mut status.gap) {
        runs.commit = commit("0f1e2d3c4b5a");
        asked.commit = commit("a1b2c3d4e5f6");
        gap.commit = commit("a1b2c3d4e5f6");
    }
    let text = render::full(&status, &sample::reader());
    for words in [
        "runs       v1.5.0 (0f1e2d3c4b5a, generation 2), good since 1h 54m ago",
        "asked for  v1.6.0 (a1b2c3d4e5f6), 20m 15s ago",
        "because    generation 3 (v1.6.0, a1b2c3d4e5f6): api failed for 5m",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn restored() {
    check(
        "restored",
        &expect![[r#"
            shop  steady: v1.5.0 runs, as asked for
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.5.0, 2h ago; that is what runs
              next       nothing to do; last looked 3s ago
              rollback   possible, to v1.4.0 (generation 1)
                         takes out of the database, and keeps beside it: c3: the column note
                         of orders
              database   the last backup that was due failed: there is no more room for the
                         backup in /var/lib/steadfast/backups/shop
                         the next backup is due at 16:00
                         operation 7 took c3 back; 12 rows are kept, and put back when that
                         is there again
                         beside it lies shop_before_20250602T120000Z, 11.4 MiB: what had its
                         name before

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  1h 59m ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn what_ran_before_the_daemon_looked_has_a_reason_in_the_place_of_a_time() {
    let mut status = sample::status("steady");
    status.services[0].since = None;
    let text = render::full(&status, &sample::reader());
    let text = anstream::adapter::strip_str(&text).to_string();
    let table: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("SERVICE"))
        .map(str::trim_start)
        .collect();
    expect![[r#"
          SERVICE  IMAGE                             STATE             SINCE
          api      registry.example/shop/api:v1.5.0  running, healthy  –
          web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago
          – it ran before the daemon began to look
    "#]]
    .assert_eq(&format!("{}\n", table[..4].join("\n")));
}

#[test]
fn deploying() {
    check(
        "deploying",
        &expect![[r#"
            shop  deploying: v1.6.0, step 3 of 5
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.6.0, 11s ago
              because    desired.toml asks for v1.6.0 (operation 12, by steadfast)
              next       start api (new api-1)
              rollback   possible: the deploy is taken back, v1.5.0 (generation 2) runs on

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  1h 59m ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · containers seen 9s ago,
              before the deploy
        "#]],
    );
}

#[test]
fn taking_back() {
    check(
        "taking back",
        &expect![[r#"
            shop  deploying: v1.6.0, taking it back
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.6.0, 11s ago
              because    desired.toml asks for v1.6.0 (operation 12, by steadfast)
              failed     the port 8080 is taken
              next       stop api (c7aa851d3bc1), by force after 10 s
              rollback   possible: the deploy is taken back, v1.5.0 (generation 2) runs on

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  1h 59m ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · containers seen 9s ago,
              before the deploy
        "#]],
    );
}

#[test]
fn a_trial_without_samples() {
    check(
        "begun",
        &expect![[r#"
            shop  on trial: v1.6.0 has been healthy for 0s of 5m
              runs       v1.6.0 (generation 3), on trial since 2m 13s ago
              asked for  v1.6.0, 2m 25s ago; that is what runs
              next       no verdict yet from api-http
                         the trial ends in 30m at the latest
              rollback   possible, to v1.5.0 (generation 2)

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.6.0  running, healthy  2m 13s ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn a_trial_of_which_nothing_is_known() {
    check(
        "silent",
        &expect![[r#"
            shop  on trial: v1.6.0 has been healthy for 0s of 5m
              runs       v1.6.0 (generation 3), on trial since 2m 13s ago
              asked for  v1.6.0, 2m 25s ago; that is what runs
              probe      api-http (api, undecided): the container has only just started
              next       no verdict yet from api-http
                         the trial ends in 28m at the latest
              rollback   possible, to v1.5.0 (generation 2)

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.6.0  running, healthy  2m 13s ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn trial() {
    check(
        "trial",
        &expect![[r#"
            shop  on trial: v1.6.0 has been healthy for 2m of 5m
              runs       v1.6.0 (generation 3), on trial since 2m 13s ago
              asked for  v1.6.0, 2m 25s ago; that is what runs
              next       good in 3m (at 14:03), if it stays healthy
              rollback   possible, to v1.5.0 (generation 2)

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.6.0  running, healthy  2m 13s ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn a_trial_that_begins_to_fail_counts_no_health() {
    check(
        "wavering",
        &expect![[r#"
            shop  on trial: v1.6.0 has failed for 10s of 5m
              runs       v1.6.0 (generation 3), on trial since 2m 13s ago
              asked for  v1.6.0, 2m 25s ago; that is what runs
              probe      api-http (api, passing): GET /health answered 500
              next       good after 3m 20s more of health, once it passes again
              rollback   possible, to v1.5.0 (generation 2)

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.6.0  running, healthy  2m 13s ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn failing() {
    check(
        "failing",
        &expect![[r#"
            shop  failing: v1.6.0 has failed for 1m 50s, 3m 10s left to a rollback
              runs       v1.6.0 (generation 3), on trial since 2m 13s ago
              asked for  v1.6.0, 2m 25s ago; that is what runs
              failing    api (critical, probe api-http): GET /health answered 500
              next       rolled back to v1.5.0 (generation 2) in 3m 10s (at 14:03), unless
                         it recovers
              rollback   possible, to v1.5.0 (generation 2)
              you can    steadfast rollback shop             do not wait for it

              SERVICE  IMAGE                             STATE               SINCE
              api      registry.example/shop/api:v1.6.0  running, unhealthy  2m 13s ago
              web      registry.example/shop/web:v1.5.0  running, healthy    1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn a_failure_without_anything_to_go_back_to_does_not_promise_a_rollback() {
    let mut status = sample::status("failing");
    status.rollback = crate::view::Rollback {
        ready: false,
        to: None,
        tag: None,
        why_not: Some("there is no earlier good generation".into()),
        destroys: Vec::new(),
        one_way: None,
        kept: Vec::new(),
        takes_back: None,
    };
    let text = render::full(&status, &sample::reader());
    let text = anstream::adapter::strip_str(&text).to_string();
    assert!(text.contains("left until it is held\n"), "{text}");
    assert!(
        text.contains("held in 3m 10s, unless it recovers: there is no earlier good"),
        "{text}"
    );
}

#[test]
fn rolling_back() {
    check(
        "rolling back",
        &expect![[r#"
            shop  rolling back: to v1.5.0, step 3 of 5
              runs       v1.6.0 (generation 3), on trial since 2m 13s ago
              asked for  v1.6.0, 2m 25s ago
              because    api failed for 5m: GET /health answered 500 (operation 12, by
                         steadfast)
              failing    api (critical, probe api-http): GET /health answered 500
              next       start api (new api-1)
              rollback   not now: a rollback is under way

              SERVICE  IMAGE                             STATE               SINCE
              api      registry.example/shop/api:v1.6.0  running, unhealthy  2m 13s ago
              web      registry.example/shop/web:v1.5.0  running, healthy    1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · containers seen 10s ago,
              before the rollback
        "#]],
    );
}

#[test]
fn rolled_back() {
    check(
        "rolled back",
        &expect![[r#"
            shop  rolled back: v1.5.0 runs, v1.6.0 was asked for
              runs       v1.5.0 (generation 2), good since 1h 54m ago, restored 11m 58s ago
                         (13:48)
              asked for  v1.6.0, 20m 15s ago
              because    generation 3 (v1.6.0): api failed for 5m: GET /health answered 500
                         in quarantine since 13:48 (12m 3s ago), by steadfast; blamed:
                         images api=01537f435b1b, web=203edefcd032
              next       it stays so until there is a new request
              rollback   possible, to v1.4.0 (generation 1)
              you can    steadfast pin shop TAG              ask for another release
                         steadfast retry shop                try v1.6.0 again

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  11m 59s ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn a_rollback_to_the_same_tag_with_other_files_tells_them_apart() {
    let mut status = sample::status("rolled back");
    if let Some(asked) = &mut status.asked {
        asked.tag = "v1.5.0".into();
    }
    let line = headline(&status, &sample::reader());
    let expected = "shop  rolled back: generation 2 of v1.5.0 runs, 3 was asked for\n";
    assert_eq!(anstream::adapter::strip_str(&line).to_string(), expected);
}

#[test]
fn not_deployed() {
    check(
        "not deployed",
        &expect![[r#"
            shop  not deployed: v1.6.0 could not be brought up, v1.5.0 runs on
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.6.0, 20m 15s ago
              because    generation 3 (v1.6.0): no such image:
                         registry.example/shop/api:v1.6.0 (manifest unknown)
                         in quarantine since 13:48 (12m 3s ago), by steadfast; blamed: no
                         such image: registry.example/shop/api:v1.6.0
              next       it stays so until there is a new request
              rollback   possible, to v1.4.0 (generation 1)
              you can    steadfast pin shop TAG              ask for another release
                         steadfast retry shop                try v1.6.0 again

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  11m 59s ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn a_deploy_that_a_person_took_back_has_not_failed() {
    let mut status = sample::status("not deployed");
    if let Some(gap) = &mut status.gap {
        gap.by = "ada".into();
    }
    let line = headline(&status, &sample::reader());
    let expected = "shop  not deployed: v1.6.0 was taken back by ada on its way, v1.5.0 runs on\n";
    assert_eq!(anstream::adapter::strip_str(&line).to_string(), expected);
}

#[test]
fn a_hold_that_ends_by_itself_says_when() {
    check(
        "held for now",
        &expect![[r#"
            shop  held: there is no good generation to go back to
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.5.0, 2h ago; that is what runs
              next       what runs is healed; nothing else is done by itself
                         held since 13:56: pin a release that works; the agent goes on
                         healing what runs
                         it ends by itself when every required probe has passed again for a
                         while, or when there is something to go back to
              rollback   not possible: nothing older differs in api
              you can    steadfast retry shop                try again what was asked for
                         steadfast pin shop TAG              ask for another release

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  1h 59m ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn held_with_an_offer() {
    check(
        "held with an offer",
        &expect![[r#"
            shop  held: the rollback failed: downgrade the schema: NotImplementedError
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.5.0, 2h ago; that is what runs
              next       what runs is healed; nothing else is done by itself
                         held since 13:56: look at it; `steadfast rollback` tries again
                         question c54cf6c3dd39: the schema cannot be taken back: go back to
                         v1.4.0 (generation 1) with the backup 20250602T120000Z-7, and lose
                         what was written since?
                         public.orders: 12 rows more than in it, which would be lost
              rollback   not possible: nothing older differs in api
              you can    steadfast approve shop              go back to the backup
                         steadfast retry shop                try again what was asked for
                         steadfast pin shop TAG              ask for another release

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  1h 59m ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn held() {
    check(
        "held",
        &expect![[r#"
            shop  held: v1.5.0 was restored and fails the same probe as v1.6.0: the cause is
                         outside
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.5.0, 2h ago; that is what runs
              next       what runs is healed; nothing else is done by itself
                         held since 13:56: mend what api-http asks for, then retry or ask
                         for another release
              rollback   not possible: nothing older differs in api
              you can    steadfast retry shop                try again what was asked for
                         steadfast pin shop TAG              ask for another release

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  1h 59m ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn a_hold_half_way_promises_no_healing() {
    let status = sample::status("held half-way");
    let text = render::full(&status, &sample::reader());
    let text = anstream::adapter::strip_str(&text).to_string();
    assert!(
        text.contains("everything is left as it stands, it is not healed either"),
        "{text}"
    );
    assert!(!text.contains("what runs is healed"), "{text}");
}

#[test]
fn first_contact_waits_for_approval() {
    check(
        "first contact",
        &expect![[r#"
            shop  waits for your approval: something else runs than desired.toml asks for:
                         change it?
              runs       generation 1, good since 1d ago, found running
              asked for  v1.5.0, 2h ago
              differs    api: the image is another one
              next       nothing is changed until somebody answers question dfd567e03676
                         api would be replaced
              rollback   not possible: there is no earlier good generation
              you can    steadfast plan shop                 see what would be done
                         steadfast approve shop              agree
                         steadfast deny shop                 refuse

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  1h 59m ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn denied() {
    check(
        "denied",
        &expect![[r#"
            shop  pending: waits for a new request: this one was denied
              runs       generation 1, good since 1d ago, found running
              asked for  v1.5.0, 2h ago
              differs    api: the image is another one
              next       nothing is done to what was found running, it is not healed either
              rollback   not possible: there is no earlier good generation
              you can    steadfast retry shop                be asked again
                         steadfast pin shop TAG              ask for another release

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  1h 59m ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn what_is_left_alone_keeps_nothing_from_being_steady() {
    check(
        "orphan",
        &expect![[r#"
            shop  steady: v1.5.0 runs, as asked for
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.5.0, 2h ago
              differs    old: shop-old-1 is no service of the Compose file: left alone
              next       nothing to do; last looked 3s ago
              rollback   possible, to v1.4.0 (generation 1)

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  1h 59m ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn paused() {
    check(
        "paused",
        &expect![[r#"
            shop  paused: until 15:50, by ada: moving the disk
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.5.0, 2h ago; that is what runs
              next       goes on at 15:50, in 1h 49m
              rollback   possible, to v1.4.0 (generation 1)
              you can    steadfast resume shop               end the pause

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  1h 59m ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn input_error() {
    check(
        "input error",
        &expect![[r#"
            shop  steady: v1.5.0 runs, as asked for
              ! /etc/steadfast/desired.toml:3:7: shop.tag: expected a text, found the number
                1.6 (write it in quotes: "1.6")
                The last valid files stay in force until this is mended.
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.5.0, 2h ago; that is what runs
              next       nothing to do; last looked 3s ago
              rollback   possible, to v1.4.0 (generation 1)

              SERVICE  IMAGE                             STATE             SINCE
              api      registry.example/shop/api:v1.5.0  running, healthy  1h 59m ago
              web      registry.example/shop/web:v1.5.0  running, healthy  1h 59m ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn engine_away() {
    check(
        "engine away",
        &expect![[r#"
            shop  unknown: the engine cannot be reached
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.5.0, 2h ago
              engine     the docker engine is not reachable at unix:///var/run/docker.sock:
                         connection refused
              next       it tries again; what is not seen is neither judged nor changed
              rollback   not possible, to v1.4.0 (generation 1): the engine cannot be asked
                         for its images

              schema unknown: the engine is away · env 0b6f4e03b952 · seen 48s ago
        "#]],
    );
}

#[test]
fn nothing_yet() {
    check(
        "nothing yet",
        &expect![[r#"
            shop  pending: nothing was asked for yet
              asked for  nothing yet
              rollback   not possible: there is no earlier good generation

              engine 20.10.24 · containers not seen yet
        "#]],
    );
}

#[test]
fn all_stacks_in_a_line_each() {
    let stacks: Vec<Status> = ["steady", "rolled back", "input error"]
        .map(sample::status)
        .into();
    let text = render::overview(&stacks, &sample::reader());
    expect![[r#"
        shop  steady: v1.5.0 runs, as asked for
        shop  rolled back: v1.5.0 runs, v1.6.0 was asked for
        shop  steady: v1.5.0 runs, as asked for
          ! /etc/steadfast/desired.toml:3:7: shop.tag: expected a text, found the number
            1.6 (write it in quotes: "1.6")
            The last valid files stay in force until this is mended.

        `steadfast status STACK` says more
    "#]]
    .assert_eq(&anstream::adapter::strip_str(&text).to_string());
}

#[test]
fn exit_codes() {
    let codes: Vec<String> = [
        "steady",
        "trial",
        "rolled back",
        "not deployed",
        "held",
        "first contact",
        "paused",
    ]
    .iter()
    .chain(&["input error", "engine away"])
    .map(|situation| format!("{situation} {}", code(&sample::status(situation))))
    .collect();
    expect![[r#"
        steady 0
        trial 1
        rolled back 6
        not deployed 1
        held 5
        first contact 4
        paused 5
        input error 2
        engine away 3"#]]
    .assert_eq(&codes.join("\n"));
}

#[test]
#[allow(clippy::too_many_lines, reason = "one line a field")]
fn the_fields_of_the_json_are_a_contract() {
    let json = serde_json::to_string_pretty(&sample::status("rolled back")).unwrap_or_default();
    expect![[r#"
        {
          "stack": "shop",
          "version": 1,
          "taken": "2025-06-02T14:00:00Z",
          "seen": "2025-06-02T14:00:00Z",
          "state": "rolled_back",
          "fine": false,
          "as_asked": false,
          "asked": {
            "tag": "v1.6.0",
            "commit": null,
            "services": {},
            "migration": "release",
            "env": "current",
            "env_id": "0b6f4e03b952",
            "accepted": "2025-06-02T13:39:48Z",
            "retries": 0,
            "generation": 3
          },
          "runs": {
            "generation": 2,
            "tag": "v1.5.0",
            "commit": null,
            "verdict": "good",
            "since": "2025-06-02T12:05:20Z",
            "adopted": false,
            "restored": "2025-06-02T13:48:05Z"
          },
          "target": 2,
          "gap": {
            "generation": 3,
            "tag": "v1.6.0",
            "commit": null,
            "ran": true,
            "why": "api failed for 5m: GET /health answered 500",
            "blame": "images api=01537f435b1b, web=203edefcd032",
            "by": "steadfast",
            "since": "2025-06-02T13:48:00Z"
          },
          "operation": null,
          "trial": null,
          "failing": null,
          "hold": null,
          "pause": null,
          "approval": null,
          "next": null,
          "drift": [],
          "waits": [],
          "again": null,
          "problems": [],
          "rollback": {
            "ready": true,
            "to": 1,
            "tag": "v1.4.0",
            "why_not": null,
            "destroys": [],
            "one_way": null,
            "kept": [],
            "takes_back": null
          },
          "services": [
            {
              "service": "api",
              "container": "c7aa851d3bc1",
              "reference": "registry.example/shop/api:v1.5.0",
              "image": "2e0de819eb89",
              "state": "running, healthy",
              "fine": true,
              "since": "2025-06-02T13:48:04Z"
            },
            {
              "service": "web",
              "container": "2b95c83afbe4",
              "reference": "registry.example/shop/web:v1.5.0",
              "image": "2e0de819eb89",
              "state": "running, healthy",
              "fine": true,
              "since": "2025-06-02T12:00:20Z"
            }
          ],
          "probes": [
            {
              "probe": "api-http",
              "service": "api",
              "phase": "passing",
              "required": true,
              "last": null,
              "at": "2025-06-02T14:00:00Z"
            }
          ],
          "schema": {
            "heads": [
              "7c1f"
            ],
            "unknown": null
          },
          "beside": [],
          "taken_back": [],
          "backups": {
            "count": 2,
            "newest": "2025-06-02T12:00:00Z",
            "proven": "2025-06-02T12:00:00Z",
            "next": null,
            "problem": null
          },
          "engine": {
            "reachable": true,
            "version": "20.10.24",
            "api": "1.41",
            "why_not": null
          }
        }"#]]
    .assert_eq(&json);
}

#[test]
fn what_was_sent_is_what_is_read() {
    for situation in ["rolled back", "failing", "first contact", "taking back"] {
        let status = sample::status(situation);
        let json = serde_json::to_string(&status).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Status>(&json).ok(), Some(status));
    }
}
