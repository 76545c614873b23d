//! What is told in the situations that a stack can be in.

use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};
use jiff::Timestamp;
use state::journal::Kind;

use super::exposition::Format;
use super::metrics::render;
use crate::shared::{Shared, Snapshot};
use crate::tally::Outcome;
use crate::took::Took;
use crate::view::sample;

/// Those that `sample` has.
pub(crate) const SITUATIONS: [&str; 22] = [
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
    "held",
    "held half-way",
    "held for now",
    "held with an offer",
    "first contact",
    "denied",
    "orphan",
    "restored",
    "paused",
    "input error",
    "engine away",
    "nothing yet",
];

/// With two operations that have ended.
fn shared() -> Shared {
    let shared = sample::shared();
    let took = Took {
        operation: 7,
        kind: Kind::Deploy,
        moved: None,
        whole: Duration::from_millis(5500),
        outage: Duration::from_millis(2500),
        backup: Duration::ZERO,
        copy: Duration::ZERO,
        migration: Duration::ZERO,
    };
    shared.count(&"shop".parse().expect("it is one"), |tally| {
        tally.count(Kind::Deploy, Outcome::Succeeded, took.whole, Some(&took));
        tally.count(Kind::Rollback, Outcome::Succeeded, Duration::from_secs(4), None);
    });
    shared
}

/// All that is told of these.
pub(super) fn rendered(snapshots: Vec<Snapshot>, format: Format) -> String {
    let snapshots: Vec<_> = snapshots.into_iter().map(Arc::new).collect();
    let started = Timestamp::from_millisecond(1_748_862_000_250).expect("it is one");
    render(&snapshots, &shared(), started, format)
}

/// All that is told in a situation.
pub(super) fn text(situation: &str) -> String {
    rendered(vec![sample::snapshot(situation)], Format::Text)
}

/// What is not zero of a situation: all else is told too.
#[track_caller]
fn check(situation: &str, expected: &Expect) {
    let text = text(situation).replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
    let lines: Vec<String> = lines.map(|line| format!("{line}\n")).collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn what_is_told_of_a_stack_that_was_rolled_back() {
    check(
        "rolled back",
        &expect![[r#"
        steadfast_backup_newest_timestamp_seconds{stack="shop"} 1748865600
        steadfast_backup_proven_timestamp_seconds{stack="shop"} 1748865600
        steadfast_backups{stack="shop",state="proven"} 1
        steadfast_backups{stack="shop",state="not_proven"} 1
        steadfast_backups{stack="shop",state="damaged"} 1
        steadfast_build_info{version="VERSION"} 1
        steadfast_containers{stack="shop",service="api",state="healthy"} 1
        steadfast_containers{stack="shop",service="web",state="healthy"} 1
        steadfast_desired_release_info{stack="shop",tag="v1.6.0",generation="3"} 1
        steadfast_effective_release_info{stack="shop",tag="v1.5.0",generation="2",verdict="good"} 1
        steadfast_engine_up{stack="shop"} 1
        steadfast_failing_window_seconds{stack="shop"} 300
        steadfast_last_pass_timestamp_seconds{stack="shop"} 1748872800
        steadfast_operation_duration_seconds_count{stack="shop",kind="deploy"} 1
        steadfast_operation_duration_seconds_sum{stack="shop",kind="deploy"} 5.5
        steadfast_operation_duration_seconds_count{stack="shop",kind="rollback"} 1
        steadfast_operation_duration_seconds_sum{stack="shop",kind="rollback"} 4
        steadfast_operation_phase_duration_seconds_count{stack="shop",kind="deploy",phase="outage"} 1
        steadfast_operation_phase_duration_seconds_sum{stack="shop",kind="deploy",phase="outage"} 2.5
        steadfast_operations_total{stack="shop",kind="deploy",outcome="succeeded"} 1
        steadfast_operations_total{stack="shop",kind="rollback",outcome="succeeded"} 1
        steadfast_probe_duration_seconds{stack="shop",probe="api-http",service="api"} 0.012
        steadfast_probe_state{stack="shop",probe="api-http",service="api",required="true",state="passing"} 1
        steadfast_quarantined_releases{stack="shop"} 1
        steadfast_rollback_ready{stack="shop"} 1
        steadfast_rollback_target_info{stack="shop",tag="v1.4.0",generation="1"} 1
        steadfast_stack_state{stack="shop",state="rolled_back"} 1
        steadfast_start_time_seconds 1748862000.250
    "#]],
    );
}

#[test]
fn what_is_told_of_a_failure_and_of_an_operation() {
    check(
        "failing",
        &expect![[r#"
        steadfast_backup_newest_timestamp_seconds{stack="shop"} 1748865600
        steadfast_backup_proven_timestamp_seconds{stack="shop"} 1748865600
        steadfast_backups{stack="shop",state="proven"} 1
        steadfast_backups{stack="shop",state="not_proven"} 1
        steadfast_backups{stack="shop",state="damaged"} 1
        steadfast_build_info{version="VERSION"} 1
        steadfast_containers{stack="shop",service="api",state="unhealthy"} 1
        steadfast_containers{stack="shop",service="web",state="healthy"} 1
        steadfast_desired_release_info{stack="shop",tag="v1.6.0",generation="3"} 1
        steadfast_effective_release_info{stack="shop",tag="v1.6.0",generation="3",verdict="trial"} 1
        steadfast_engine_up{stack="shop"} 1
        steadfast_failing_seconds{stack="shop"} 110
        steadfast_failing_window_seconds{stack="shop"} 300
        steadfast_last_pass_timestamp_seconds{stack="shop"} 1748872800
        steadfast_operation_duration_seconds_count{stack="shop",kind="deploy"} 1
        steadfast_operation_duration_seconds_sum{stack="shop",kind="deploy"} 5.5
        steadfast_operation_duration_seconds_count{stack="shop",kind="rollback"} 1
        steadfast_operation_duration_seconds_sum{stack="shop",kind="rollback"} 4
        steadfast_operation_phase_duration_seconds_count{stack="shop",kind="deploy",phase="outage"} 1
        steadfast_operation_phase_duration_seconds_sum{stack="shop",kind="deploy",phase="outage"} 2.5
        steadfast_operations_total{stack="shop",kind="deploy",outcome="succeeded"} 1
        steadfast_operations_total{stack="shop",kind="rollback",outcome="succeeded"} 1
        steadfast_probe_duration_seconds{stack="shop",probe="api-http",service="api"} 0.012
        steadfast_probe_state{stack="shop",probe="api-http",service="api",required="true",state="failing"} 1
        steadfast_release_as_asked{stack="shop"} 1
        steadfast_rollback_ready{stack="shop"} 1
        steadfast_rollback_remaining_seconds{stack="shop"} 190
        steadfast_rollback_target_info{stack="shop",tag="v1.5.0",generation="2"} 1
        steadfast_stack_state{stack="shop",state="failing"} 1
        steadfast_start_time_seconds 1748862000.250
    "#]],
    );
    check(
        "deploying",
        &expect![[r#"
        steadfast_backup_newest_timestamp_seconds{stack="shop"} 1748865600
        steadfast_backup_proven_timestamp_seconds{stack="shop"} 1748865600
        steadfast_backups{stack="shop",state="proven"} 1
        steadfast_backups{stack="shop",state="not_proven"} 1
        steadfast_backups{stack="shop",state="damaged"} 1
        steadfast_build_info{version="VERSION"} 1
        steadfast_containers{stack="shop",service="api",state="healthy"} 1
        steadfast_containers{stack="shop",service="web",state="healthy"} 1
        steadfast_desired_release_info{stack="shop",tag="v1.6.0",generation=""} 1
        steadfast_drift_differences{stack="shop"} 1
        steadfast_effective_release_info{stack="shop",tag="v1.6.0",generation="3",verdict="trial"} 1
        steadfast_engine_up{stack="shop"} 1
        steadfast_failing_window_seconds{stack="shop"} 300
        steadfast_last_pass_timestamp_seconds{stack="shop"} 1748872800
        steadfast_operation_begun_timestamp_seconds{stack="shop",kind="deploy"} 1748872794
        steadfast_operation_duration_seconds_count{stack="shop",kind="deploy"} 1
        steadfast_operation_duration_seconds_sum{stack="shop",kind="deploy"} 5.5
        steadfast_operation_duration_seconds_count{stack="shop",kind="rollback"} 1
        steadfast_operation_duration_seconds_sum{stack="shop",kind="rollback"} 4
        steadfast_operation_phase_duration_seconds_count{stack="shop",kind="deploy",phase="outage"} 1
        steadfast_operation_phase_duration_seconds_sum{stack="shop",kind="deploy",phase="outage"} 2.5
        steadfast_operation_running{stack="shop",kind="deploy"} 1
        steadfast_operation_step{stack="shop",kind="deploy"} 3
        steadfast_operation_steps{stack="shop",kind="deploy"} 5
        steadfast_operations_total{stack="shop",kind="deploy",outcome="succeeded"} 1
        steadfast_operations_total{stack="shop",kind="rollback",outcome="succeeded"} 1
        steadfast_probe_duration_seconds{stack="shop",probe="api-http",service="api"} 0.012
        steadfast_probe_state{stack="shop",probe="api-http",service="api",required="true",state="passing"} 1
        steadfast_rollback_ready{stack="shop"} 1
        steadfast_rollback_target_info{stack="shop",tag="v1.5.0",generation="2"} 1
        steadfast_stack_state{stack="shop",state="deploying"} 1
        steadfast_start_time_seconds 1748862000.250
    "#]],
    );
}

#[test]
fn what_is_told_when_nothing_is_known() {
    check(
        "engine away",
        &expect![[r#"
        steadfast_backup_newest_timestamp_seconds{stack="shop"} 1748865600
        steadfast_backup_proven_timestamp_seconds{stack="shop"} 1748865600
        steadfast_backups{stack="shop",state="proven"} 1
        steadfast_backups{stack="shop",state="not_proven"} 1
        steadfast_backups{stack="shop",state="damaged"} 1
        steadfast_build_info{version="VERSION"} 1
        steadfast_desired_release_info{stack="shop",tag="v1.5.0",generation="2"} 1
        steadfast_effective_release_info{stack="shop",tag="v1.5.0",generation="2",verdict="good"} 1
        steadfast_failing_window_seconds{stack="shop"} 300
        steadfast_last_pass_timestamp_seconds{stack="shop"} 1748872800
        steadfast_operation_duration_seconds_count{stack="shop",kind="deploy"} 1
        steadfast_operation_duration_seconds_sum{stack="shop",kind="deploy"} 5.5
        steadfast_operation_duration_seconds_count{stack="shop",kind="rollback"} 1
        steadfast_operation_duration_seconds_sum{stack="shop",kind="rollback"} 4
        steadfast_operation_phase_duration_seconds_count{stack="shop",kind="deploy",phase="outage"} 1
        steadfast_operation_phase_duration_seconds_sum{stack="shop",kind="deploy",phase="outage"} 2.5
        steadfast_operations_total{stack="shop",kind="deploy",outcome="succeeded"} 1
        steadfast_operations_total{stack="shop",kind="rollback",outcome="succeeded"} 1
        steadfast_probe_duration_seconds{stack="shop",probe="api-http",service="api"} 0.012
        steadfast_probe_state{stack="shop",probe="api-http",service="api",required="true",state="passing"} 1
        steadfast_release_as_asked{stack="shop"} 1
        steadfast_rollback_target_info{stack="shop",tag="v1.4.0",generation="1"} 1
        steadfast_stack_state{stack="shop",state="unknown"} 1
        steadfast_start_time_seconds 1748862000.250
    "#]],
    );
    check(
        "nothing yet",
        &expect![[r#"
        steadfast_build_info{version="VERSION"} 1
        steadfast_engine_up{stack="shop"} 1
        steadfast_failing_window_seconds{stack="shop"} 300
        steadfast_last_pass_timestamp_seconds{stack="shop"} 1748872800
        steadfast_operation_duration_seconds_count{stack="shop",kind="deploy"} 1
        steadfast_operation_duration_seconds_sum{stack="shop",kind="deploy"} 5.5
        steadfast_operation_duration_seconds_count{stack="shop",kind="rollback"} 1
        steadfast_operation_duration_seconds_sum{stack="shop",kind="rollback"} 4
        steadfast_operation_phase_duration_seconds_count{stack="shop",kind="deploy",phase="outage"} 1
        steadfast_operation_phase_duration_seconds_sum{stack="shop",kind="deploy",phase="outage"} 2.5
        steadfast_operations_total{stack="shop",kind="deploy",outcome="succeeded"} 1
        steadfast_operations_total{stack="shop",kind="rollback",outcome="succeeded"} 1
        steadfast_probe_duration_seconds{stack="shop",probe="api-http",service="api"} 0.012
        steadfast_probe_state{stack="shop",probe="api-http",service="api",required="true",state="undecided"} 1
        steadfast_stack_state{stack="shop",state="pending"} 1
        steadfast_start_time_seconds 1748862000.250
    "#]],
    );
}

/// `.env` is in none of the numbers, and neither is what a person or a probe said.
#[test]
fn no_words_of_anybody_are_told() {
    for situation in SITUATIONS {
        let text = text(situation);
        for word in [
            "answered 500",
            "moving the disk",
            "ada",
            "sha256",
            "/srv/shop",
            "registry.example",
        ] {
            let samples = text.lines().filter(|line| !line.starts_with('#'));
            assert!(
                samples.into_iter().all(|line| !line.contains(word)),
                "{situation}: {word}"
            );
        }
    }
}
