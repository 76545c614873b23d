//! Situations that a stack can be in, for tests: one story, told by its snapshots.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use config::error::{Place, Problem};
use state::common::Common;
use state::desired::Desired;
use state::health::Sample;
use state::hold::Fact;
use state::journal::{Event, Kind, OpenOperation, Operation, Outcome};
use state::name::{ContainerId, Digest, ImageId};
use state::observed::{ContainerState, DockerHealth, Known, SchemaHead};
use state::plan::Plan;
use state::policy::{ProbePolicy, TrialPolicy};
use state::record::{Answer, Approval, Ask, Hold, Pause, Restored, StackRecord, Standing};
use state::release::{
    Author, Blame, Generation, GenerationNumber, HostKey, Quarantine, Release, Request, Verdict,
};
use state::step::{Condition, Step, Target};
use state::taken_back::{Losses, Saved, TakenBack};
use state::time::Moment;

#[cfg(test)]
use super::Status;
use crate::backup::{Format, How, Listing, Manifest, Verified, Why};
#[cfg(test)]
use crate::cli::Reader;
use crate::database::{Census, CopyKind, DatabaseCopy};
use crate::engine::EngineInfo;
use crate::recent::Recent;
use crate::shared::{Again, Difference, Next, Readiness, ServiceView, Shared, Snapshot, TakesBack};

/// 2025-06-02 14:00:00 UTC, a Monday.
const START: i64 = 1_748_872_800;

/// So many seconds before the snapshots are taken.
fn ago(seconds: u64) -> Moment {
    Moment {
        wall_ms: (START - i64::try_from(seconds).unwrap()) * 1000,
        boot_ms: 1_000_000_000 - seconds * 1000,
        boot_id: "boot".into(),
    }
}

/// Three seconds after the snapshots were taken, eighty columns wide.
#[cfg(test)]
pub(crate) fn reader() -> Reader {
    Reader {
        now: jiff::Timestamp::from_second(START + 3).unwrap(),
        zone: jiff::tz::TimeZone::UTC,
        width: 80,
    }
}

/// With a key that nobody has.
pub fn shared() -> Shared {
    Shared::new(HostKey::new([7; 32]))
}

/// What is shown in a situation.
#[cfg(test)]
pub(crate) fn status(situation: &str) -> Status {
    Status::of(&snapshot(situation), &shared(), 1)
}

fn number(n: u64) -> GenerationNumber {
    GenerationNumber(n)
}

fn ada() -> Author {
    Author::Person {
        uid: 1000,
        name: Some("ada".into()),
    }
}

fn image(of: &str) -> ImageId {
    format!("sha256:{}", Digest::of(of.as_bytes())).parse().unwrap()
}

fn container(of: &str) -> ContainerId {
    Digest::of(of.as_bytes()).as_str().parse().unwrap()
}

fn request(tag: &str, seconds: u64) -> Request {
    Request {
        desired: Desired::new(tag.parse().unwrap()),
        env: Some(Digest::of(b"A=1\n")),
        config: Digest::of(b"compose"),
        spec: Digest::of(b"spec"),
        commits: [].into(),
        accepted: ago(seconds),
        files: [].into(),
        retries: 0,
    }
}

fn generation(n: u64, tag: &str, verdict: Verdict, seconds: u64, why: &str) -> Generation {
    let release = Release {
        tag: Some(tag.parse().unwrap()),
        pins: [].into(),
        commits: [].into(),
        images: [
            ("api".parse().unwrap(), image(tag)),
            ("web".parse().unwrap(), image(&format!("web {tag}"))),
        ]
        .into(),
        migration: state::desired::MigrationWish::Release,
        env: Some(Digest::of(b"A=1\n")),
        config: Digest::of(b"compose"),
    };
    Generation {
        number: number(n),
        release_id: release.id(),
        release,
        request: request(tag, seconds).id(),
        spec: Digest::of(b"spec"),
        hashes: [].into(),
        verdict,
        begun: ago(seconds),
        applied: Some(ago(seconds - 10)),
        judged: (verdict != Verdict::Trial).then(|| ago(seconds - 10 - 300)),
        why: why.into(),
        schema: Some(SchemaHead::At(["7c1f".parse().unwrap()].into())),
        files: [].into(),
        adopted: false,
        not_restorable: None,
    }
}

fn probe() -> ProbePolicy {
    ProbePolicy::new("api-http".parse().unwrap(), "api".parse().unwrap())
}

/// So many passes, ten seconds apart, the last one so many seconds ago.
fn answers(many: u64, generation: u64, seconds: u64) -> Common<Recent> {
    let mut recent = Recent::default();
    for back in (0..many).rev() {
        let took = Duration::from_millis(9 + (back * 7) % 11);
        recent.take(
            &Sample::Pass,
            &ago(seconds + back * 10),
            took,
            Some(number(generation)),
        );
    }
    recent.into()
}

fn service(name: &str, tag: &str, health: DockerHealth, seconds: u64) -> ServiceView {
    ServiceView {
        service: name.parse().unwrap(),
        container: Some(container(&format!("{name} {tag}"))),
        reference: format!("registry.example/shop/{name}:{tag}"),
        image: Some(image(tag)),
        state: Some(ContainerState::Running(Some(health))),
        since: Some(ago(seconds)),
    }
}

/// v1.5.0 runs and was proven half an hour ago; v1.4.0 was before it.
fn steady() -> Snapshot {
    let mut record = StackRecord::new("shop".parse().unwrap());
    record.request = Some(request("v1.5.0", 7200));
    let generations = [
        generation(1, "v1.4.0", Verdict::Good, 90_000, "5m of unbroken health"),
        generation(2, "v1.5.0", Verdict::Good, 7190, "5m of unbroken health"),
    ];
    record.generations = generations.map(Into::into).into();
    record.current = Some(number(2));
    record.standing = Standing::Applied(number(2));
    for seconds in [20, 10, 0] {
        record.health.take(&probe(), Sample::Pass, &ago(seconds));
        record.health.count(&[probe()], &ago(seconds));
    }
    Snapshot {
        record,
        target: Some(number(2)),
        drift: Vec::new(),
        next: None,
        waits: Vec::new(),
        again: None,
        problems: Vec::new(),
        schema: Some(Known::Known(SchemaHead::At(["7c1f".parse().unwrap()].into()))),
        services: vec![
            service("api", "v1.5.0", DockerHealth::Healthy, 7180),
            service("web", "v1.5.0", DockerHealth::Healthy, 7180),
        ],
        probes: [probe()].into(),
        latencies: [(probe().name, Duration::from_millis(12))].into(),
        recent: [(probe().name, answers(90, 2, 0))].into(),
        trial: TrialPolicy::default(),
        env_file: "/srv/shop/.env".into(),
        readiness: Readiness {
            to: Some(number(1)),
            why_not: None,
            destroys: Vec::new(),
            one_way: None,
            kept: Vec::new(),
            takes_back: None,
        },
        progress: None,
        backups: Known::Known(std::sync::Arc::new(backups())),
        beside: Vec::new(),
        database_bytes: None,
        past: std::sync::Arc::new([]),
        next_backup: None,
        backup_problem: None,
        time_left: None,
        engine: Known::Known(EngineInfo {
            version: "20.10.24".into(),
            api: "1.41".into(),
        }),
        seen: Some(ago(0)),
        taken: ago(0),
    }
}

fn deploy(tag: &str) -> Plan {
    let api = || "api".parse().unwrap();
    let old = || Target::Existing(container("api v1.5.0"));
    Plan::of(vec![
        Step::Create {
            service: api(),
            number: 1,
            name: "shop-api-1.new".into(),
            image: image(tag),
            hash: "1-0".into(),
            carried: Vec::new(),
        },
        Step::Stop {
            target: old(),
            service: api(),
            grace: Duration::from_secs(10),
            ran: true,
        },
        Step::Start {
            target: Target::New(api(), 1),
            service: api(),
            grace: Duration::from_secs(10),
        },
        Step::Await {
            target: Target::New(api(), 1),
            service: api(),
            until: Condition::Healthy,
            within: Duration::from_secs(60),
            untouched: false,
        },
        Step::Remove { target: old() },
    ])
}

fn drift() -> Vec<Difference> {
    vec![Difference {
        service: Some("api".parse().unwrap()),
        what: "the image is another one".into(),
    }]
}

/// So long after the operation of [`deploying`] was begun.
fn after(ms: u64) -> Moment {
    ago(6).plus(Duration::from_millis(ms))
}

/// v1.6.0 was asked for; two of the five steps to it are done.
/// Two, of which a generation needs one.
fn backups() -> Listing {
    let listing = |id: &str, why: Why, head: &str, verified: Option<Verified>| Manifest {
        id: id.parse().unwrap(),
        stack: "shop".parse().unwrap(),
        database: "shop".parse().unwrap(),
        copy: None,
        counted: Census {
            tables: [("public.orders".into(), 2000), ("public.customers".into(), 501)].into(),
            large_objects: 0,
            head: SchemaHead::At([head.parse().unwrap()].into()),
        },
        why,
        format: Format::Custom,
        made_by: "pg_dump (PostgreSQL) 15.8".into(),
        bytes: 3_400_000,
        sha256: Digest::of(b"dump"),
        database_bytes: 12_000_000,
        begun: jiff::Timestamp::from_second(START - 7200).unwrap(),
        took: Duration::from_millis(1200),
        verified,
    };
    let verified = Verified {
        how: How::Restored,
        at: jiff::Timestamp::from_second(START - 7190).unwrap(),
        took: Duration::from_millis(4100),
        tables: 2,
        rows: Some(2501),
    };
    Listing {
        backups: vec![
            listing("20250602T120000Z-7", Why::Deploy, "7c1f", Some(verified)),
            listing("20250602T130000Z-9", Why::Asked, "8d2a", None),
        ],
        damaged: vec![(
            "20250601T120000Z-3".parse().unwrap(),
            "there is no dump of it".into(),
        )],
    }
}

fn deploying() -> Snapshot {
    let mut snapshot = steady();
    let record = &mut snapshot.record;
    record.request = Some(request("v1.6.0", 8));
    record.resolved = [("registry.example/shop/api:v1.6.0".into(), image("v1.6.0"))]
        .into_iter()
        .collect();
    record.standing = Standing::Pending;
    let mut third = generation(3, "v1.6.0", Verdict::Trial, 310, "");
    (third.begun, third.applied) = (ago(6), None);
    record.generations.push(third.into());
    let mut open = OpenOperation::new(Operation {
        id: 12,
        kind: Kind::Deploy,
        generation: Some(number(3)),
        request: request("v1.6.0", 8).id(),
        by: Author::Agent,
        why: "desired.toml asks for v1.6.0".into(),
        begun: ago(6),
        plan: deploy("v1.6.0"),
    });
    let done = |index| Event::Done {
        index,
        outcome: Outcome::Done,
    };
    for (ms, event) in [
        (20, Event::Started { index: 0 }),
        (155, done(0)),
        (160, Event::Started { index: 1 }),
        (2560, done(1)),
        (2570, Event::Started { index: 2 }),
    ] {
        open.apply(event.at(&after(ms))).unwrap();
    }
    record.operation = Some(open);
    snapshot.seen = Some(ago(6));
    snapshot.readiness.to = Some(number(2));
    snapshot.readiness.takes_back = Some(TakesBack {
        generation: number(3),
        migrates: false,
    });
    snapshot.target = Some(number(3));
    snapshot.drift = drift();
    snapshot
}

/// v1.6.0 runs; nothing was heard of it yet.
/// After a restore: the old database is kept, the schedule goes on, and its last backup failed.
fn restored() -> Snapshot {
    let mut snapshot = steady();
    snapshot.beside = vec![DatabaseCopy {
        name: "shop_before_20250602T120000Z".parse().unwrap(),
        of: "shop".parse().unwrap(),
        kind: Some(CopyKind::Aside),
        bytes: 12_000_000,
        complete: true,
    }];
    snapshot.readiness.destroys = vec!["c3: the column note of orders".into()];
    let at = |name: &str| SchemaHead::At([name.parse().unwrap()].into());
    let taken = TakenBack {
        at: after(0),
        from: at("c3"),
        to: at("b2"),
        revisions: vec!["c3".parse().unwrap()],
        losses: Losses::new(),
        saved: Some(Saved {
            lines: vec!["note of orders: 12 rows kept".into()],
            rows: 12,
            seen: None,
        }),
        put_in: None,
    };
    snapshot.record.taken_back.insert(7, taken);
    snapshot.next_backup = Some(jiff::Timestamp::from_second(START + 7200).unwrap());
    snapshot.backup_problem =
        Some("there is no more room for the backup in /var/lib/steadfast/backups/shop".into());
    snapshot
}

fn begun() -> Snapshot {
    let mut snapshot = deploying();
    let record = &mut snapshot.record;
    record.operation = None;
    record.request = Some(request("v1.6.0", 142));
    record.current = Some(number(3));
    record.standing = Standing::Applied(number(3));
    record.generations[2].applied = Some(ago(130));
    record.health = state::health::HealthRecord::default();
    snapshot.seen = Some(ago(0));
    snapshot.recent = [(probe().name, answers(90, 2, 140))].into();
    snapshot.drift = Vec::new();
    snapshot.readiness.takes_back = None;
    snapshot.services = vec![
        service("api", "v1.6.0", DockerHealth::Healthy, 130),
        service("web", "v1.5.0", DockerHealth::Healthy, 7180),
    ];
    snapshot
}

fn watched(mut snapshot: Snapshot, seconds: u64, sample: &Sample) -> Snapshot {
    for at in (0..=seconds / 10).rev() {
        snapshot
            .record
            .health
            .take(&probe(), sample.clone(), &ago(at * 10));
        snapshot.record.health.count(&[probe()], &ago(at * 10));
        let took = Duration::from_millis(14 + (at * 5) % 9);
        let recent = snapshot.recent.entry(probe().name).or_default();
        recent.take(sample, &ago(at * 10), took, Some(number(3)));
    }
    snapshot
}

/// Two fails after health: one too few to be failing.
fn wavering() -> Snapshot {
    let mut snapshot = begun();
    for at in (0..=12).rev() {
        let answer = match at {
            0 | 1 => Sample::Fail("GET /health answered 500".into()),
            _ => Sample::Pass,
        };
        snapshot.record.health.take(&probe(), answer, &ago(at * 10));
        snapshot.record.health.count(&[probe()], &ago(at * 10));
    }
    snapshot
}

fn failing() -> Snapshot {
    let answers = Sample::Fail("GET /health answered 500".into());
    let mut snapshot = watched(begun(), 110, &answers);
    snapshot.services[0].state = Some(ContainerState::Running(Some(DockerHealth::Unhealthy)));
    snapshot.time_left = Some(Duration::from_secs(190));
    snapshot
}

/// v1.6.0 failed, and v1.5.0 is back.
fn rolled_back() -> Snapshot {
    let mut snapshot = steady();
    let mut third = generation(
        3,
        "v1.6.0",
        Verdict::Bad,
        1210,
        "api failed for 5m: GET /health answered 500",
    );
    third.judged = Some(ago(720));
    let record = &mut snapshot.record;
    record.request = Some(request("v1.6.0", 1212));
    record.quarantine = vec![Quarantine {
        generation: number(3),
        release: third.release_id.clone(),
        tag: third.release.tag.clone(),
        blame: Blame::between(&third.release, Some(&record.generations[1].release)),
        by: Author::Agent,
        at: ago(720),
        why: third.why.clone(),
    }];
    record.generations.push(third.into());
    record.standing = Standing::Quarantined(number(3));
    record.restored = Some(Restored {
        from: number(3),
        to: number(2),
        at: ago(715),
        request: request("v1.6.0", 1212).id(),
    });
    snapshot.services[0].since = Some(ago(716));
    snapshot
}

fn not_deployed() -> Snapshot {
    let mut snapshot = rolled_back();
    let why = "no such image: registry.example/shop/api:v1.6.0 (manifest unknown)";
    snapshot.record.restored = None;
    snapshot.record.generations[2].applied = None;
    snapshot.record.quarantine[0].why = why.into();
    let references = ["registry.example/shop/api:v1.6.0".to_owned()].into();
    snapshot.record.quarantine[0].blame = Blame::Tag { references };
    snapshot
}

/// v1.6.0 was asked for, and its registry cannot be reached.
fn not_fetched() -> Snapshot {
    let mut snapshot = steady();
    let why = "registry.example/shop/api:v1.6.0: dial tcp: lookup registry.example: no such host";
    snapshot.record.request = Some(request("v1.6.0", 12));
    snapshot.record.standing = Standing::Pending;
    snapshot.waits = vec![format!("the next try, in 4s: {why}")];
    snapshot.again = Some(Again {
        kind: Kind::Fetch,
        why: why.into(),
        at: ago(0).plus(Duration::from_secs(4)),
    });
    snapshot
}

fn held() -> Snapshot {
    let mut snapshot = steady();
    snapshot.record.hold = Some(Hold {
        since: ago(240),
        why: "v1.5.0 was restored and fails the same probe as v1.6.0: the cause is outside".into(),
        way_out: "mend what api-http asks for, then retry or ask for another release".into(),
        frozen: false,
        no_way_down: false,
        until: std::collections::BTreeSet::new(),
    });
    snapshot.readiness = Readiness {
        to: None,
        why_not: Some("nothing older differs in api".into()),
        destroys: Vec::new(),
        one_way: None,
        kept: Vec::new(),
        takes_back: None,
    };
    snapshot
}

/// A data change that failed half-way.
fn held_half_way() -> Snapshot {
    let mut snapshot = held();
    if let Some(hold) = &mut snapshot.record.hold {
        hold.frozen = true;
    }
    snapshot
}

/// A failure with nothing to go back to.
fn held_for_now() -> Snapshot {
    let mut snapshot = held();
    snapshot.record.hold = Some(Hold {
        since: ago(240),
        why: "there is no good generation to go back to".into(),
        way_out: "pin a release that works; the agent goes on healing what runs".into(),
        frozen: false,
        no_way_down: false,
        until: [Fact::Healthy, Fact::Target].into(),
    });
    snapshot
}

/// A downgrade that failed, and the backup from before.
fn held_with_an_offer() -> Snapshot {
    let mut snapshot = held();
    snapshot.record.hold = Some(Hold {
        since: ago(240),
        why: "the rollback failed: downgrade the schema: NotImplementedError".into(),
        way_out: "look at it; `steadfast rollback` tries again".into(),
        frozen: false,
        no_way_down: true,
        until: std::collections::BTreeSet::new(),
    });
    snapshot.record.approval = Some(Approval {
        ask: Ask::RestoreBackup {
            from: number(2),
            to: number(1),
            backup: "20250602T120000Z-7".parse().expect("a backup"),
            rows: 412,
        },
        request: request("v1.5.0", 7200).id(),
        asked: ago(230),
        detail: vec!["public.orders: 12 rows more than in it, which would be lost".into()],
        answer: None,
    });
    snapshot
}

fn first_contact() -> Snapshot {
    let mut snapshot = steady();
    let record = &mut snapshot.record;
    record.generations.truncate(1);
    record.generations[0].release.tag = None;
    record.generations[0].adopted = true;
    record.current = Some(number(1));
    record.standing = Standing::Pending;
    record.approval = Some(Approval {
        ask: Ask::FirstContact,
        request: request("v1.5.0", 7200).id(),
        asked: ago(60),
        detail: vec!["api would be replaced".into()],
        answer: None,
    });
    snapshot.readiness.to = None;
    snapshot.drift = drift();
    snapshot.waits = vec!["an approval of the first change".into()];
    snapshot.next = Some(Next {
        kind: Kind::Deploy,
        generation: Some(number(2)),
        why: "the stack was found running something else than v1.5.0".into(),
        plan: deploy("v1.6.0"),
        because: drift(),
        resolved: state::common::Common::default(),
    });
    snapshot
}

fn denied() -> Snapshot {
    let mut snapshot = first_contact();
    let approval = snapshot.record.approval.as_mut().unwrap();
    approval.answer = Some((Answer::Denied, ada()));
    snapshot.next = None;
    snapshot.waits = vec!["a new request: this one was denied".into()];
    snapshot
}

/// A container of a service that was taken out: shown, and left alone.
fn orphan() -> Snapshot {
    let mut snapshot = steady();
    snapshot.drift = vec![Difference {
        service: Some("old".parse().unwrap()),
        what: "shop-old-1 is no service of the Compose file: left alone".into(),
    }];
    snapshot
}

fn paused() -> Snapshot {
    let mut snapshot = steady();
    snapshot.record.pause = Some(Pause {
        by: ada(),
        since: ago(600),
        until: ago(0).plus(Duration::from_secs(6600)),
        why: "moving the disk".into(),
    });
    snapshot
}

fn input_error() -> Snapshot {
    let mut snapshot = steady();
    let place = Place {
        file: "/etc/steadfast/desired.toml".into(),
        line: Some(3),
        column: Some(7),
    };
    let problem = Problem::error(place, "shop.tag", "expected a text, found the number 1.6");
    snapshot.problems = vec![problem.hint("write it in quotes: \"1.6\"")];
    snapshot
}

fn engine_away() -> Snapshot {
    let mut snapshot = steady();
    let why = "the docker engine is not reachable at unix:///var/run/docker.sock: connection refused";
    snapshot.engine = Known::Unknown(why.into());
    snapshot.seen = Some(ago(45));
    snapshot.services = Vec::new();
    snapshot.schema = Some(Known::Unknown("the engine is away".into()));
    snapshot.waits = vec!["the engine".into()];
    snapshot.readiness = Readiness {
        to: Some(number(1)),
        why_not: Some("the engine cannot be asked for its images".into()),
        destroys: Vec::new(),
        one_way: None,
        kept: Vec::new(),
        takes_back: None,
    };
    snapshot
}

fn taking_back() -> Snapshot {
    let mut snapshot = deploying();
    let open = snapshot.record.operation.as_mut().unwrap();
    let why = "the port 8080 is taken".to_owned();
    let failed = Event::Failed {
        index: 2,
        why,
        passing: false,
        moved: false,
    };
    for (ms, event) in [
        (2700, failed),
        (2705, Event::UndoStarted { index: 2 }),
        (4105, Event::UndoDone { index: 2 }),
        (4110, Event::UndoStarted { index: 1 }),
    ] {
        open.apply(event.at(&after(ms))).unwrap();
    }
    snapshot
}

fn rolling_back() -> Snapshot {
    let mut snapshot = failing();
    let mut open = deploying().record.operation.unwrap();
    open.operation.kind = Kind::Rollback;
    open.operation.generation = Some(number(2));
    open.operation.why = "api failed for 5m: GET /health answered 500".into();
    snapshot.record.operation = Some(open);
    snapshot.seen = Some(ago(7));
    snapshot.time_left = None;
    snapshot
}

fn nothing_yet() -> Snapshot {
    let mut snapshot = steady();
    snapshot.record = StackRecord::new("shop".parse().unwrap());
    snapshot.services = Vec::new();
    snapshot.seen = None;
    snapshot.target = None;
    snapshot.readiness.to = None;
    snapshot.schema = None;
    snapshot
}

/// Operations that have ended: one that was taken back, and one that went well.
#[cfg(feature = "samples")]
pub fn ended() -> Vec<OpenOperation> {
    use state::journal::{Ending, Progress};
    let ended = |snapshot: Snapshot, id: u64, ending: Ending| {
        let mut open = snapshot.record.operation.unwrap();
        open.operation.id = id;
        open.progress = Progress::Ended(ending);
        open
    };
    let undone = Ending::Undone {
        why: "the port 8080 is taken".into(),
        passing: false,
    };
    vec![
        ended(taking_back(), 11, undone),
        ended(deploying(), 10, Ending::Succeeded),
    ]
}

/// The snapshot of a situation, by its name.
pub fn snapshot(situation: &str) -> Snapshot {
    match situation {
        "steady" => steady(),
        "deploying" => deploying(),
        "taking back" => taking_back(),
        "begun" => begun(),
        "silent" => watched(
            begun(),
            120,
            &Sample::Unknown("the container has only just started".into()),
        ),
        "trial" => watched(begun(), 120, &Sample::Pass),
        "wavering" => wavering(),
        "failing" => failing(),
        "rolling back" => rolling_back(),
        "rolled back" => rolled_back(),
        "not deployed" => not_deployed(),
        "not fetched" => not_fetched(),
        "held" => held(),
        "held half-way" => held_half_way(),
        "held for now" => held_for_now(),
        "held with an offer" => held_with_an_offer(),
        "first contact" => first_contact(),
        "denied" => denied(),
        "orphan" => orphan(),
        "restored" => restored(),
        "paused" => paused(),
        "input error" => input_error(),
        "engine away" => engine_away(),
        "nothing yet" => nothing_yet(),
        _ => unreachable!("no situation {situation}"),
    }
}
