//! Every text for a person with long names, many services and a narrow terminal: what has to give way
//! gives way, and the rest stays whole.

#![allow(clippy::unwrap_used)]
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::{Expect, expect};

use super::failure::Failure;
use super::reader::Reader;
use super::{backup, history, output, plan, status};
use crate::view::{BackupList, History, PlanView, Service, Status, sample};

const NAME: &str = "payments-and-billing-production-eu-central-1";

/// All that there are.
pub(super) const SITUATIONS: [&str; 21] = [
    "steady",
    "deploying",
    "taking back",
    "begun",
    "silent",
    "trial",
    "failing",
    "rolling back",
    "rolled back",
    "not deployed",
    "not fetched",
    "held",
    "held for now",
    "first contact",
    "denied",
    "orphan",
    "restored",
    "paused",
    "input error",
    "engine away",
    "nothing yet",
];

fn reader(width: usize) -> Reader {
    Reader {
        width,
        ..sample::reader()
    }
}

fn crowded(situation: &str) -> Status {
    let mut status = sample::status(situation);
    status.stack = NAME.into();
    for (name, state) in [
        ("invoice-renderer-high-priority", "running, unhealthy"),
        ("invoice-renderer-low-priority", "exited (137)"),
    ] {
        status.services.push(Service {
            service: name.into(),
            container: None,
            reference: format!("registry.eu.payments.example:5000/billing/{name}:v1.5.0-rc.1"),
            image: None,
            state: state.into(),
            fine: false,
            since: Some(status.taken),
        });
    }
    status
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// What may be wider: what is there to be copied whole.
fn is_whole(line: &str) -> bool {
    line.contains("steadfast ") || line.trim() == NAME
}

#[track_caller]
fn check_width(text: &str, width: usize) {
    for line in plain(text).lines().filter(|line| !is_whole(line)) {
        assert!(
            line.chars().count() <= width,
            "wider than {width}: {line}\n{text}"
        );
        assert_eq!(line, line.trim_end(), "trailing space");
    }
}

#[test]
fn nothing_is_wider_than_the_terminal() {
    for situation in SITUATIONS {
        for width in [60, 80, 100] {
            let reader = reader(width);
            let snapshot = sample::snapshot(situation);
            check_width(&status::full(&crowded(situation), &reader), width);
            check_width(&status::overview(&[crowded(situation)], &reader), width);
            check_width(&plan::render(&PlanView::of(&snapshot), true, width), width);
            let history = History::of(&snapshot.record, &[], &sample::shared());
            check_width(&history::of_generations(&history, &reader), width);
            check_width(&history::of_operations(&history, &reader), width);
            if let Ok(backups) = BackupList::of(&snapshot) {
                check_width(&backup::table(&backups, &reader), width);
            }
        }
    }
}

#[track_caller]
fn check(text: &str, expected: &Expect) {
    expected.assert_eq(&plain(text));
}

#[test]
fn a_long_name_in_eighty_columns() {
    let text = status::full(&crowded("rolled back"), &reader(80));
    check(
        &text,
        &expect![[r#"
            payments-and-billing-production-eu-central-1
              rolled back: v1.5.0 runs, v1.6.0 was asked for
              runs       v1.5.0 (generation 2), good since 1h 54m ago, restored 11m 58s ago
                         (13:48)
              asked for  v1.6.0, 20m 15s ago
              because    generation 3 (v1.6.0): api failed for 5m: GET /health answered 500
                         in quarantine since 13:48 (12m 3s ago), by steadfast; blamed:
                         images api=01537f435b1b, web=203edefcd032
              next       it stays so until there is a new request
              rollback   possible, to v1.4.0 (generation 1)
              you can    steadfast pin payments-and-billing-production-eu-central-1 TAG
                           ask for another release
                         steadfast retry payments-and-billing-production-eu-central-1
                           try v1.6.0 again

              SERVICE                 IMAGE                  STATE               SINCE
              api                     …/shop/api:v1.5.0      running, healthy    11m 59s ago
              web                     …/shop/web:v1.5.0      running, healthy    1h 59m ago
              …enderer-high-priority  …priority:v1.5.0-rc.1  running, unhealthy  3s ago
              …renderer-low-priority  …priority:v1.5.0-rc.1  exited (137)        3s ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s ago
        "#]],
    );
}

#[test]
fn a_long_name_in_sixty_columns() {
    let text = status::full(&crowded("held"), &reader(60));
    check(
        &text,
        &expect![[r#"
            payments-and-billing-production-eu-central-1
              held: v1.5.0 was restored and fails the same probe as
                         v1.6.0: the cause is outside
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.5.0, 2h ago; that is what runs
              next       what runs is healed; nothing else is done by
                         itself
                         held since 13:56: mend what api-http asks for,
                         then retry or ask for another release
              rollback   not possible: nothing older differs in api
              you can    steadfast retry payments-and-billing-production-eu-central-1
                           try again what was asked for
                         steadfast pin payments-and-billing-production-eu-central-1 TAG
                           ask for another release

              SERVICE       IMAGE         STATE               SINCE
              api           …/api:v1.5.0  running, healthy    1h 59m ago
              web           …/web:v1.5.0  running, healthy    1h 59m ago
              …gh-priority  …v1.5.0-rc.1  running, unhealthy  3s ago
              …ow-priority  …v1.5.0-rc.1  exited (137)        3s ago

              schema 7c1f · env 0b6f4e03b952 · engine 20.10.24 · seen 3s
              ago
        "#]],
    );
    let stacks = ["steady", "rolled back", "input error"].map(crowded);
    let text = status::overview(&stacks, &reader(60));
    check(
        &text,
        &expect![[r#"
        payments-and-billing-production-eu-central-1
          steady: v1.5.0 runs, as asked for
        payments-and-billing-production-eu-central-1
          rolled back: v1.5.0 runs, v1.6.0 was asked for
        payments-and-billing-production-eu-central-1
          steady: v1.5.0 runs, as asked for
          ! /etc/steadfast/desired.toml:3:7: shop.tag: expected a
            text, found the number 1.6 (write it in quotes: "1.6")
            The last valid files stay in force until this is mended.

        `steadfast status STACK` says more
    "#]],
    );
}

#[test]
fn generations_and_a_plan_in_sixty_columns() {
    let snapshot = sample::snapshot("rolled back");
    let history = History::of(&snapshot.record, &[], &sample::shared());
    let text = history::of_generations(&history, &reader(60));
    check(
        &text,
        &expect![[r#"
           GEN  TAG     BEGUN                VERDICT
           3    v1.6.0  2025-06-02 13:39:50  bad
                api failed for 5m: GET /health answered 500 [in
                quarantine]
        *  2    v1.5.0  2025-06-02 12:00:10  good
                5m of unbroken health
           1    v1.4.0  2025-06-01 13:00:00  good
                5m of unbroken health
    "#]],
    );
    let view = PlanView::of(&sample::snapshot("first contact"));
    let text = plan::render(&view, false, 60);
    check(
        &text,
        &expect![[r#"
            shop: deploy of generation 2, once you approve
              the stack was found running something else than v1.5.0
              something else runs than desired.toml asks for: change it?
                api would be replaced
              waits for an approval of the first change

              ~ container api
                    image 2e0de819eb89 -> 01537f435b1b
                    because the image is another one

            Plan: 1 to replace, in 5 steps.
            + create, ~ replace, - remove, ^ start, < pull; nothing else
            is touched
        "#]],
    );
}

#[test]
fn backups_in_sixty_columns() {
    let mut backups = BackupList::of(&sample::snapshot("steady")).unwrap();
    backups.backups[0].schema = vec!["3f2a9b1c7d4e".into()];
    let text = backup::table(&backups, &reader(60));
    check_width(&text, 60);
    check(
        &text,
        &expect![[r#"
            ID                  BEGUN   SIZE
            20250602T130000Z-9  2h ago  3.2 MiB
                asked, schema 3f2a9b1c7d4e, nobody has made sure of it
            20250602T120000Z-7  2h ago  3.2 MiB
                deploy, schema 7c1f, restored, needed by gen 1, gen 2
            20250601T120000Z-3: damaged: there is no dump of it
        "#]],
    );
}

#[test]
fn a_complaint_in_sixty_columns() {
    let why =
        "the daemon is not reachable at /run/steadfast/steadfast.sock: Connection refused (os error 111)";
    let failure = Failure::new(3, why).way_out("is it running? `systemctl status steadfast`");
    let text = output::complaint(&failure, 60);
    check(
        &text,
        &expect![[r#"
        error: the daemon is not reachable at
               /run/steadfast/steadfast.sock: Connection refused (os
               error 111)
          help: is it running? `systemctl status steadfast`
    "#]],
    );
}
