//! What a request is answered, and what a watch comes to, row by row.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use expect_test::{Expect, expect};

use super::{Judgement, Reply, answer, judge, span};
use crate::fixture::{at, generation, image, quarantine, record, release, request, service, stack};
use crate::health::{HealthRecord, Overall, Phase, ProbeRecord};
use crate::name::{Digest, ImageId, ServiceName};
use crate::policy::{Severity, TrialPolicy};
use crate::record::{Answer, Approval, Ask, StackRecord};
use crate::release::{Author, Blame, GenerationNumber, Release, Verdict};
use crate::stack_spec::{Mount, NamedVolume, StackSpec};

/// Generation 1 runs and is good. What is asked for is the same, but for what a row changes.
struct Asked {
    record: StackRecord,
    release: Release,
    found: Option<Vec<String>>,
    tagged: BTreeSet<ServiceName>,
    spec: StackSpec,
    images: BTreeMap<ServiceName, ImageId>,
    running: Option<StackSpec>,
}

/// `api` without data, `db` with a volume.
fn services() -> StackSpec {
    let mut spec = stack(&[("api", &["db"]), ("db", &[])]);
    if let Some(db) = spec.services.get_mut(&service("db")) {
        db.volumes.push(volume("rows"));
    }
    spec
}

fn volume(key: &str) -> Mount {
    Mount::Volume(NamedVolume {
        volume: key.to_owned(),
        target: String::from("/var/lib/postgresql/data"),
        ..NamedVolume::default()
    })
}

#[track_caller]
fn reply(change: impl FnOnce(&mut Asked), expect: Expect) {
    let running = release(&[("api", 1), ("db", 1)]);
    let mut asked = Asked {
        record: record(vec![generation(1, running.clone(), Verdict::Good)]),
        images: running.images.clone(),
        release: running,
        found: None,
        tagged: BTreeSet::from([service("api")]),
        spec: services(),
        running: Some(services()),
    };
    change(&mut asked);
    let hashes: BTreeMap<_, _> = generation(2, asked.release.clone(), Verdict::Trial).hashes;
    let question = super::Asked {
        release: &asked.release,
        hashes: &hashes,
        spec: &asked.spec,
        tagged: &asked.tagged,
        images: &asked.images,
        running: asked.running.as_ref(),
        found: asked.found.as_deref(),
    };
    let text = match answer(&asked.record, &question) {
        Reply::IsCurrent(number) => format!("is generation {number}"),
        Reply::Quarantined(number) => format!("quarantined by generation {number}"),
        Reply::Ask(ask, detail) => format!("ask {ask:?}: {}", detail.join("; ")),
        other => format!("{other:?}"),
    };
    expect.assert_eq(&text);
}

fn image_of(name: &'static str, n: u64) -> impl Fn(&mut Asked) {
    move |asked| asked.release.images.extend(release(&[(name, n)]).images)
}

#[test]
fn what_runs_is_not_applied_again() {
    reply(|_| {}, expect!["is generation 1"]);
    reply(image_of("api", 2), expect!["Apply"]);
    reply(|a| a.release.env = Some(Digest::of(b"A=1")), expect!["Apply"]);
    reply(|a| a.release.config = Digest::of(b"nginx.conf"), expect!["Apply"]);
    reply(
        |a| a.record.generations[0].verdict = Verdict::Bad,
        expect!["Apply"],
    );
    reply(
        |a| {
            a.record.generations[0]
                .hashes
                .insert(service("api"), String::from("1-other"));
        },
        expect!["Apply"],
    );
}

/// Invariant 4, whole: after a rollback an edit of something else does not bring the bad tag back.
#[test]
fn a_quarantined_release_is_not_applied_whatever_else_was_edited() {
    let after_rollback = |a: &mut Asked| {
        let good = a.record.generations[0].clone();
        image_of("api", 2)(a);
        let bad = generation(2, a.release.clone(), Verdict::Bad);
        let blame = Blame::between(&bad.release, Some(&good.release));
        a.record.quarantine.push(quarantine(&bad, blame));
        a.record.generations.push(bad.into());
    };
    reply(after_rollback, expect!["quarantined by generation 2"]);
    reply(
        |a| {
            after_rollback(a);
            a.release.env = Some(Digest::of(b"LOG_LEVEL=debug"));
        },
        expect!["quarantined by generation 2"],
    );
    reply(
        |a| {
            after_rollback(a);
            image_of("api", 3)(a);
        },
        expect!["Apply"],
    );
    reply(
        |a| {
            after_rollback(a);
            a.record.quarantine.clear();
        },
        expect!["Apply"],
    );
}

#[test]
fn other_data_and_first_contact_are_asked_about() {
    let data = image_of("db", 2);
    reply(
        &data,
        expect![
            "ask DataChange: db: image 000000000001 → 000000000002, on the data at /var/lib/postgresql/data"
        ],
    );
    reply(
        |a| {
            data(a);
            a.tagged.insert(service("db"));
        },
        expect!["Apply"],
    );
    let moved = |a: &mut Asked| {
        a.release.config = Digest::of(b"compose.yaml");
        let db = a.spec.services.get_mut(&service("db")).unwrap();
        db.volumes = vec![volume("new")];
    };
    reply(
        moved,
        expect!["ask DataChange: db: data at /var/lib/postgresql/data: volume rows → volume new"],
    );
    reply(
        |a| {
            moved(a);
            a.running = None;
        },
        expect!["ask DataChange: db: nobody can tell any more what data it has now"],
    );
    // No release has run yet, and somebody has made db by hand.
    reply(
        |a| {
            a.record.current = None;
            a.images = BTreeMap::from([(service("db"), image(7))]);
            a.running = None;
        },
        expect![
            "ask DataChange: db: image 000000000007 → 000000000001, on the data at /var/lib/postgresql/data; db: nobody can tell any more what data it has now"
        ],
    );
    reply(
        |a| {
            a.record.current = None;
            a.images.clear();
            a.running = None;
        },
        expect!["Apply"],
    );
    // The image's own volume, which no file names.
    reply(
        |a| {
            data(a);
            (a.spec, a.running) = (stack(&[("db", &[])]), Some(stack(&[("db", &[])])));
            a.record
                .carried
                .insert(String::from("db/1:/pg"), String::from("0f"));
        },
        expect!["ask DataChange: db: image 000000000001 → 000000000002, on the data at /pg"],
    );
    reply(
        |a| {
            a.record.generations[0].verdict = Verdict::Trial;
            a.release.env = None;
            a.found = Some(vec![String::from("api runs another image")]);
        },
        expect!["ask FirstContact: api runs another image"],
    );
    // The release is the same in everything that a release shows.
    reply(
        |a| a.found = Some(vec![String::from("api-1: Env differs")]),
        expect!["ask FirstContact: api-1: Env differs"],
    );
    reply(
        |a| {
            a.release.env = None;
            a.found = Some(Vec::new());
        },
        expect!["Apply"],
    );
}

#[test]
fn an_answer_is_worth_something_for_its_request_alone() {
    let answered = |request_number, ask: Ask, answer: Option<Answer>| {
        move |a: &mut Asked| {
            image_of("db", 2)(a);
            a.record.approval = Some(Approval {
                ask,
                request: request(request_number).id(),
                asked: at(0),
                detail: Vec::new(),
                answer: answer.map(|answer| (answer, Author::Person { uid: 0, name: None })),
            });
        }
    };
    reply(answered(1, Ask::DataChange, None), expect!["Waiting"]);
    reply(
        answered(1, Ask::DataChange, Some(Answer::Granted)),
        expect!["Apply"],
    );
    reply(
        answered(1, Ask::DataChange, Some(Answer::Denied)),
        expect!["Denied"],
    );
    for other in [
        answered(7, Ask::DataChange, Some(Answer::Granted)),
        answered(1, Ask::FirstContact, Some(Answer::Granted)),
    ] {
        reply(
            other,
            expect![
                "ask DataChange: db: image 000000000001 → 000000000002, on the data at /var/lib/postgresql/data"
            ],
        );
    }
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// What has been observed of the current generation, applied at 0.
struct Watched {
    verdict: Verdict,
    overall: Overall,
    health: HealthRecord,
    crash: Option<(ServiceName, String)>,
}

/// A record in which `api` has said so last.
fn said(fails: u32, passes: u32) -> HealthRecord {
    let probe = ProbeRecord {
        phase: Phase::Failing,
        fails,
        passes,
        ..ProbeRecord::default()
    };
    HealthRecord {
        probes: [("api".parse().unwrap(), probe)].into(),
        ..HealthRecord::default()
    }
}

fn failing() -> Overall {
    Overall::Failing {
        probes: vec![("api".parse().unwrap(), service("api"), String::from("status 500"))],
        severity: Severity::High,
    }
}

#[track_caller]
fn verdict(change: impl FnOnce(&mut Watched), expect: Expect) {
    let mut watched = Watched {
        verdict: Verdict::Trial,
        overall: Overall::Healthy,
        health: said(3, 0),
        crash: None,
    };
    change(&mut watched);
    let mut record = record(vec![generation(1, release(&[("api", 1)]), watched.verdict)]);
    record.health = watched.health;
    let trial = TrialPolicy::default();
    let judgement = judge(&record, &watched.overall, &trial, watched.crash.as_ref());
    expect.assert_eq(&match judgement {
        Judgement::Open => String::from("open"),
        Judgement::Good(why) => format!("good: {why}"),
        Judgement::Bad {
            why,
            severity,
            terminal,
            ..
        } => {
            format!(
                "bad ({severity}{}): {why}",
                if terminal { ", terminal" } else { "" }
            )
        }
        Judgement::Unclear(why) => format!("unclear: {why}"),
    });
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap()
}

#[test]
fn five_minutes_of_health_prove_a_generation() {
    let healthy = |span: Duration| move |w: &mut Watched| w.health.healthy_ms = ms(span);
    verdict(healthy(minutes(5)), expect!["good: healthy for 5m"]);
    verdict(
        healthy(minutes(5).saturating_sub(Duration::from_millis(1))),
        expect!["open"],
    );
    verdict(
        |w| {
            healthy(minutes(9))(w);
            w.verdict = Verdict::Good;
        },
        expect!["open"],
    );
}

#[test]
fn more_than_five_minutes_of_failure_are_too_many() {
    let failed = |span: Duration| {
        move |w: &mut Watched| {
            w.overall = failing();
            w.health.failing_ms = ms(span);
        }
    };
    verdict(failed(minutes(5)), expect!["open"]);
    let longer = minutes(5) + Duration::from_secs(1);
    verdict(
        failed(longer),
        expect!["bad (high): probe api of api: status 500 (failing for 5m 1s)"],
    );
    for proven in [Verdict::Good, Verdict::Superseded] {
        verdict(
            |w| {
                failed(longer)(w);
                w.verdict = proven;
            },
            expect!["bad (high): probe api of api: status 500 (failing for 5m 1s)"],
        );
    }
}

#[test]
fn nothing_is_gone_back_from_while_it_passes_again() {
    let long = |health: HealthRecord| {
        move |w: &mut Watched| {
            w.overall = failing();
            w.health = health;
            w.health.failing_ms = ms(minutes(9));
            w.health.looked_ms = ms(minutes(40));
            w.health.watched_ms = ms(minutes(40));
        }
    };
    // It passes, and not yet often enough; nobody has asked since the agent has started.
    verdict(long(said(0, 1)), expect!["open"]);
    verdict(long(said(0, 0)), expect!["open"]);
    verdict(
        long(said(1, 0)),
        expect!["bad (high): probe api of api: status 500 (failing for 9m)"],
    );
}

#[test]
fn a_crash_loop_ends_a_trial_and_nothing_else() {
    let crash = |w: &mut Watched| w.crash = Some((service("api"), String::from("dies again and again")));
    verdict(
        crash,
        expect!["bad (critical, terminal): api dies again and again"],
    );
    verdict(
        |w| {
            crash(w);
            w.verdict = Verdict::Good;
        },
        expect!["open"],
    );
}

#[test]
fn a_trial_ends_after_half_an_hour() {
    let after = |seconds: u64, overall: fn() -> Overall, watched: u64| {
        move |w: &mut Watched| {
            w.health.looked_ms = seconds * 1000;
            w.overall = overall();
            w.health.watched_ms = ms(minutes(watched));
            w.health.failing_ms = 60_000;
        }
    };
    let undecided = || Overall::Undecided(String::from("no verdict yet from api"));
    verdict(after(1799, failing, 29), expect!["open"]);
    verdict(
        after(1800, failing, 29),
        expect!["bad (high): still flapping after 30m: probe api of api: status 500 (failing for 1m)"],
    );
    verdict(after(1800, || Overall::Healthy, 29), expect!["open"]);
    verdict(
        after(1800, undecided, 29),
        expect!["unclear: after 30m: no verdict yet from api"],
    );
    verdict(
        after(1800, failing, 14),
        expect!["unclear: after 30m nothing can be said: health was observed for less than half of it"],
    );
}

#[test]
fn what_is_not_applied_is_not_judged() {
    let mut record = record(vec![generation(1, release(&[("api", 1)]), Verdict::Trial)]);
    record.health.failing_ms = ms(minutes(9));
    record.generations[0].applied = None;
    let trial = TrialPolicy::default();
    assert_eq!(judge(&record, &failing(), &trial, None), Judgement::Open);
    record.current = Some(GenerationNumber(7));
    assert_eq!(judge(&record, &failing(), &trial, None), Judgement::Open);
}

#[test]
fn spans_are_for_people() {
    let words: Vec<String> = [0, 350, 9_900, 59_000, 60_000, 303_000, 3_600_000, 5_400_000]
        .map(|ms| span(Duration::from_millis(ms)))
        .into();
    expect!["0s 0.3s 9.9s 59s 1m 5m 3s 1h 1h 30m"].assert_eq(&words.join(" "));
}
