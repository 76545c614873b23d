//! How each step is taken back.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use std::time::Duration;

use expect_test::{Expect, expect};

use super::{Condition, Step, Target};
use crate::fixture::{container, image, service};
use crate::stack_spec::RestartPolicy;

fn old() -> Target {
    Target::Existing(container(0xa))
}

fn new() -> Target {
    Target::New(service("api"), 1)
}

#[track_caller]
fn check(step: Step, expect: Expect) {
    let undo = step
        .undo()
        .map_or_else(|| String::from("nothing"), |undo| undo.to_string());
    expect.assert_eq(&format!("{step} / {undo}"));
}

fn stop(ran: bool) -> Step {
    Step::Stop {
        target: old(),
        service: service("api"),
        grace: Duration::from_secs(10),
        ran,
    }
}

#[test]
fn every_step_says_how_it_is_taken_back() {
    check(
        Step::Create {
            service: service("api"),
            number: 1,
            name: String::from("shop-api-1"),
            image: image(2),
            hash: String::from("1-x"),
            carried: Vec::new(),
        },
        expect!["create api-1 from 000000000002 / remove new api-1"],
    );
    check(
        Step::Quiesce {
            target: old(),
            was: RestartPolicy::UnlessStopped,
        },
        expect![
            "hold back the restart policy of 00000000000a / give 00000000000a its restart policy (UnlessStopped)"
        ],
    );
    check(
        stop(true),
        expect!["stop api (00000000000a), by force after 10 s / start api (00000000000a)"],
    );
    check(
        stop(false),
        expect!["stop api (00000000000a), by force after 10 s / nothing"],
    );
    check(
        Step::Detach {
            target: old(),
            from: Vec::new(),
        },
        expect!["take 00000000000a out of its networks / put 00000000000a back into its networks"],
    );
    check(
        Step::Attach {
            target: old(),
            to: Vec::new(),
        },
        expect!["put 00000000000a back into its networks / take 00000000000a out of its networks"],
    );
    check(
        Step::Rename {
            target: old(),
            from: String::from("a"),
            to: String::from("b"),
        },
        expect!["rename a to b / rename b to a"],
    );
    check(
        Step::Start {
            target: new(),
            service: service("api"),
            grace: Duration::from_secs(90),
        },
        expect!["start api (new api-1) / stop api (new api-1), by force after 90 s"],
    );
    check(
        Step::Await {
            target: new(),
            service: service("api"),
            until: Condition::Healthy,
            within: Duration::from_secs(60),
            untouched: false,
        },
        expect!["wait until api is healthy, at most 60 s / nothing"],
    );
    check(
        Step::KeepImage { image: image(2) },
        expect!["keep image 000000000002 / nothing"],
    );
    check(
        Step::CheckFile {
            path: "/srv/shop/nginx.conf".into(),
            content: None,
            beside: std::collections::BTreeMap::new(),
            service: service("web"),
            image: image(2),
            command: vec![String::from("nginx"), String::from("-t")],
            within: Duration::from_secs(60),
        },
        expect!["check /srv/shop/nginx.conf by `nginx -t` in image 000000000002 of web / nothing"],
    );
    check(
        Step::Remove { target: old() },
        expect!["remove 00000000000a / nothing"],
    );
}

/// What is taken back last is sent when the files are there again.
#[test]
fn a_signal_is_sent_in_both_directions() {
    let signal = |back| Step::Signal {
        target: old(),
        service: service("web"),
        signal: crate::files::Signal::Hup,
        back,
    };
    check(
        signal(true),
        expect![[
            "send SIGHUP to web (00000000000a), should this be taken back / send SIGHUP to web (00000000000a)"
        ]],
    );
    check(
        signal(false),
        expect!["send SIGHUP to web (00000000000a) / nothing"],
    );
}

#[test]
fn only_the_removal_of_what_was_there_before_is_final() {
    assert!(Step::Remove { target: old() }.is_final());
    assert!(!Step::Remove { target: new() }.is_final());
    assert!(!stop(true).is_final());
}
