//! Rows of samples, and what the judge has counted after them.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn probe() -> ProbePolicy {
    ProbePolicy::new("api".parse().unwrap(), "api".parse().unwrap())
}

fn at(seconds: u64) -> Moment {
    let start = Moment {
        wall_ms: 0,
        boot_ms: 0,
        boot_id: "a".into(),
    };
    start.plus(Duration::from_secs(seconds))
}

fn fail() -> Sample {
    Sample::Fail("status 500".into())
}

/// One sample every ten seconds from `from`, by `samples`: `+` pass, `-` fail, `?` unknown, `s` starting,
/// `x` a death, ` ` none.
fn feed(record: &mut HealthRecord, from: u64, samples: &str) {
    for (i, c) in samples.chars().enumerate() {
        let now = at(from + 10 * i as u64);
        match c {
            '+' => record.take(&probe(), Sample::Pass, &now),
            '-' => record.take(&probe(), fail(), &now),
            '?' => record.take(&probe(), Sample::Unknown("engine away".into()), &now),
            's' => record.take(&probe(), Sample::Starting("starting".into()), &now),
            'x' => {
                record.died(&probe().service, &[probe()], 1);
                continue;
            }
            _ => continue,
        }
        record.count(&[probe()], &now);
    }
}

#[track_caller]
fn check(samples: &str, expect: &expect_test::Expect) {
    let mut record = HealthRecord::default();
    feed(&mut record, 0, samples);
    let phase = record.probes[&probe().name].phase;
    expect.assert_eq(&format!(
        "{phase:?} failing {} healthy {}",
        record.failing_ms / 1000,
        record.healthy_ms / 1000
    ));
}

#[test]
fn the_clock_starts_at_the_first_bad_sample() {
    check("++--", &expect_test::expect!["Passing failing 0 healthy 10"]);
    check("++---", &expect_test::expect!["Failing failing 20 healthy 0"]);
    check("++----", &expect_test::expect!["Failing failing 30 healthy 0"]);
}

#[test]
fn one_lucky_pass_does_not_restart_the_five_minutes() {
    check(
        "++----+----",
        &expect_test::expect!["Failing failing 80 healthy 0"],
    );
    check("++----++", &expect_test::expect!["Passing failing 0 healthy 10"]);
}

#[test]
fn one_stray_fail_does_not_end_health() {
    check(
        "+++++-+++++",
        &expect_test::expect!["Passing failing 0 healthy 90"],
    );
}

#[test]
fn unknown_time_counts_for_nobody() {
    check(
        "++---????????---",
        &expect_test::expect!["Failing failing 40 healthy 0"],
    );
}

/// What is silent for long was well; nobody knows whether it is.
#[test]
fn health_that_nobody_sees_any_more_is_not_known() {
    let after = |samples: &str, seconds: u64| {
        let mut record = HealthRecord::default();
        feed(&mut record, 0, samples);
        record.overall(&[probe()], &at(seconds))
    };
    let silent = Overall::Undecided(String::from("no answer any more from api"));
    assert_eq!(after("++", 36), Overall::Healthy);
    assert_eq!(after("++", 37), silent);
    assert_eq!(after("++??????", 70), silent);
    assert_eq!(after("++??????+", 80), Overall::Healthy);
    // A failure that is not seen any more is one that nobody saw end.
    let failing = matches!(after("++---??????", 100), Overall::Failing { .. });
    assert!(failing);
}

/// It is always about to start, and never well: that is a failure like any other.
#[test]
fn what_dies_again_and_again_before_it_is_well_is_failing() {
    check("++xssssss", &expect_test::expect!["Passing failing 0 healthy 10"]);
    check(
        "++xsxsssss",
        &expect_test::expect!["Passing failing 0 healthy 10"],
    );
    check(
        "++xsxsxssss",
        &expect_test::expect!["Failing failing 30 healthy 0"],
    );
    // An engine that is away says nothing, whatever went before.
    check(
        "++xsxsx????",
        &expect_test::expect!["Passing failing 0 healthy 10"],
    );
    // It was well in between; a single pass is not that.
    check(
        "++xsxs++xssss",
        &expect_test::expect!["Passing failing 0 healthy 20"],
    );
    check(
        "++xsxs+xssss",
        &expect_test::expect!["Failing failing 30 healthy 0"],
    );
}

#[test]
fn what_was_said_on_both_sides_of_a_restart_is_not_in_a_row() {
    let mut record = HealthRecord::default();
    feed(&mut record, 0, "++--");
    record.reopen();
    feed(&mut record, 40, "--");
    assert_eq!(record.probes[&probe().name].phase, Phase::Passing);
    feed(&mut record, 60, "-");
    assert_eq!(record.probes[&probe().name].phase, Phase::Failing);
}

#[test]
fn time_in_which_the_agent_was_away_is_not_counted() {
    let mut record = HealthRecord::default();
    feed(&mut record, 0, "++---");
    feed(&mut record, 3600, "--");
    assert_eq!(record.failing_ms, 30_000);
}

#[test]
fn another_boot_or_a_wall_clock_jump_shortens_nothing() {
    let mut record = HealthRecord::default();
    feed(&mut record, 0, "++---");
    let mut later = at(50);
    later.wall_ms += 86_400_000;
    record.take(&probe(), fail(), &later);
    record.count(&[probe()], &later);
    assert_eq!(record.failing_ms, 30_000);
    later.boot_id = "b".into();
    record.take(&probe(), fail(), &later);
    record.count(&[probe()], &later);
    assert_eq!(record.failing_ms, 30_000);
}

#[test]
fn an_advisory_probe_judges_nothing() {
    let advisory = ProbePolicy {
        required: false,
        ..probe()
    };
    let mut record = HealthRecord::default();
    for i in 0..5 {
        record.take(&advisory, fail(), &at(10 * i));
        record.count(std::slice::from_ref(&advisory), &at(10 * i));
    }
    assert_eq!(record.overall(&[advisory], &at(50)), Overall::Healthy);
}

/// One sample of one probe, after a pause of so many seconds; the last is how far the wall clock jumps.
type Throw = (u8, bool, u64, i32);

fn throws() -> impl Strategy<Value = Vec<Throw>> {
    let pause = prop_oneof![8 => 5..15_u64, 1 => 20..40_u64, 1 => 100..5000_u64];
    let jump = prop_oneof![9 => Just(0), 1 => -100_000..100_000];
    prop::collection::vec((0..8_u8, any::<bool>(), pause, jump), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Invariant 15: whatever the clocks and the samples do, what is counted lies within two rounds
    /// of a sample that said something.
    #[test]
    fn the_five_minutes_are_never_shortened(throws in throws()) {
        let other = ProbePolicy::new("web".parse().unwrap(), "web".parse().unwrap());
        let policies = [probe(), other];
        let mut record = HealthRecord::default();
        let mut now = at(0);
        let mut last: [Option<(u64, bool)>; 2] = [None, None];
        let mut watched = 0;
        for (kind, second, pause, jump) in throws {
            let before = now.boot_ms;
            now = now.plus(Duration::from_secs(pause));
            now.wall_ms += i64::from(jump) * 1000;
            let seen = |last: &Option<(u64, bool)>| match last {
                Some((at, true)) => (at + 26_000).min(now.boot_ms).saturating_sub(before),
                _ => 0,
            };
            watched += last.iter().map(seen).max().unwrap_or(0);
            let sample = match kind {
                0..=3 => fail(),
                4 => Sample::Unknown("engine away".into()),
                _ => Sample::Pass,
            };
            let probe = usize::from(second);
            last[probe] = Some((now.boot_ms, !matches!(sample, Sample::Unknown(_))));
            record.take(&policies[probe], sample, &now);
            record.count(&policies, &now);
            prop_assert!(record.failing_ms <= watched, "{} of {}", record.failing_ms, watched);
            prop_assert!(record.healthy_ms <= watched, "{} of {}", record.healthy_ms, watched);
            if matches!(record.overall(&policies, &now), Overall::Failing { .. }) {
                prop_assert_eq!(record.healthy_ms, 0);
            }
        }
    }

    /// One probe, asked steadily: nothing is counted beyond what lies between answers.
    #[test]
    fn what_is_counted_was_observed(samples in prop::collection::vec(0..4_u8, 1..200)) {
        let mut record = HealthRecord::default();
        let (mut observed, mut known) = (0, false);
        for (i, kind) in samples.into_iter().enumerate() {
            let now = at(10 * i as u64);
            let (sample, says) = match kind {
                0 => (Sample::Pass, true),
                1 => (Sample::Unknown("engine away".into()), false),
                _ => (fail(), true),
            };
            if says && known {
                observed += 10_000;
            }
            known = says;
            record.take(&probe(), sample, &now);
            record.count(&[probe()], &now);
            prop_assert!(record.failing_ms + record.healthy_ms <= observed);
            prop_assert!(record.watched_ms <= observed);
            prop_assert!(record.watched_ms <= record.looked_ms);
        }
    }
}

#[test]
fn fails_before_a_silence_do_not_count_as_seen_through_it() {
    check("++-???--", &expect_test::expect!["Failing failing 10 healthy 0"]);
}

#[test]
fn health_that_begins_to_break_proves_nothing() {
    let mut record = HealthRecord::default();
    feed(&mut record, 0, &"+".repeat(30));
    let before = record.healthy_ms;
    feed(&mut record, 300, "--");
    assert_eq!(record.healthy_ms, before);
}

/// What a trial lasts: asked nothing, told nothing, the agent was there; off, asleep or dead it was not.
#[test]
fn a_trial_lasts_as_long_as_somebody_looks() {
    let looked = |steps: &[(u64, &str, Option<Sample>)]| {
        let mut record = HealthRecord::default();
        for (seconds, boot, sample) in steps {
            let mut now = at(*seconds);
            now.boot_id = (*boot).into();
            if let Some(sample) = sample {
                record.take(&probe(), sample.clone(), &now);
            }
            record.count(&[probe()], &now);
        }
        (record.looked_ms / 1000, record.watched_ms / 1000)
    };
    let away = || Some(Sample::Unknown("engine away".into()));
    let pass = || Some(Sample::Pass);
    assert_eq!(
        looked(&[(0, "a", pass()), (10, "a", pass()), (20, "a", pass())]),
        (20, 20)
    );
    assert_eq!(
        looked(&[(0, "a", away()), (10, "a", away()), (20, "a", None)]),
        (20, 0)
    );
    assert_eq!(
        looked(&[
            (0, "a", Some(fail())),
            (10, "a", Some(fail())),
            (20, "a", Some(fail()))
        ]),
        (20, 10)
    );
    // The host was off: another boot. It slept: the boot clock went on.
    assert_eq!(
        looked(&[(0, "a", pass()), (10, "a", pass()), (20, "b", pass())]),
        (10, 10)
    );
    assert_eq!(
        looked(&[(0, "a", pass()), (10, "a", pass()), (7000, "a", pass())]),
        (10, 10)
    );
}

#[test]
fn what_a_failure_says_is_what_failed_and_not_the_silence_after_it() {
    let said = |samples: &[Sample]| {
        let mut record = ProbeRecord::default();
        for (second, sample) in (0..).zip(samples) {
            record.take(&probe(), sample.clone(), &at(second));
        }
        record.words()
    };
    let bad = Sample::Fail(String::from("status 500"));
    let silent = Sample::Unknown(String::from("the engine did not answer"));
    assert_eq!(said(&[bad.clone(), silent.clone()]), "status 500");
    assert_eq!(
        said(&[bad.clone(), bad.clone(), bad, Sample::Pass]),
        "status 500; it passes again, but not yet often enough"
    );
    assert_eq!(said(&[silent]), "the engine did not answer");
}
