//! The life of a stack as batches of changes, with every [`Change`] in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::desired::{Desired, EnvWish, MigrationWish};
use crate::env_version::Imported;
use crate::files::{FileChange, Given, OnDisk, Placing, Role};
use crate::health::{HealthRecord, Phase, ProbeRecord, Sample};
use crate::hold::Fact;
use crate::journal::{Ending, Entry, Event, Kind, Operation, Outcome};
use crate::migrations::History;
use crate::name::{ContainerId, Digest, ImageId, ServiceName, StackName};
use crate::observed::{Attachment, Carried, SchemaHead};
use crate::plan::Plan;
use crate::record::{Act, Answer, Approval, Ask, Change, Hold, Pause, Restored, Standing};
use crate::release::{Author, Blame, Generation, GenerationNumber, Quarantine, Release, Request, Verdict};
use crate::stack_spec::OnUpdateFailure;
use crate::step::{Step, Target};
use crate::time::Moment;

pub(super) fn stack() -> StackName {
    "shop".parse().unwrap()
}

pub(super) fn at(seconds: u64) -> Moment {
    Moment {
        wall_ms: 1_700_000_000_000 + i64::try_from(seconds).unwrap() * 1000,
        boot_ms: seconds * 1000,
        boot_id: "5d1b".into(),
    }
}

pub(super) fn person() -> Author {
    Author::Person {
        uid: 1000,
        name: Some("ann".into()),
    }
}

fn api() -> ServiceName {
    "api".parse().unwrap()
}

fn image(n: u64) -> ImageId {
    format!("sha256:{n:064x}").parse().unwrap()
}

fn container(n: u64) -> ContainerId {
    format!("{n:064x}").parse().unwrap()
}

pub(super) fn request(n: u64) -> Request {
    Request {
        desired: Desired {
            tag: format!("v1.{n}.0").parse().unwrap(),
            migration: MigrationWish::Revision("ab12".parse().unwrap()),
            env: EnvWish::Current,
            services: BTreeMap::from([("frontend".parse().unwrap(), "v1.0.0".parse().unwrap())]),
        },
        env: n.is_multiple_of(2).then(|| Digest::of(b"env")),
        config: Digest::of(b"config"),
        spec: Digest::of(b"spec"),
        commits: BTreeMap::new(),
        accepted: at(n),
        files: [].into(),
        retries: 1,
    }
}

/// A line of so many revisions, and one more.
pub(super) fn history(n: u64) -> History {
    let name = |n: u64| format!("r{n}").parse().unwrap();
    let row = |n: u64| (name(n), n.checked_sub(1).map(name).into_iter().collect());
    History::new((0..=n).map(row).collect()).unwrap()
}

pub(super) fn generation(n: u64) -> Generation {
    let release = Release {
        tag: Some(format!("v1.{n}.0").parse().unwrap()),
        pins: BTreeMap::from([("frontend".parse().unwrap(), "v1.0.0".parse().unwrap())]),
        commits: BTreeMap::new(),
        images: BTreeMap::from([(api(), image(n))]),
        migration: MigrationWish::Head,
        env: None,
        config: Digest::of(b"config"),
    };
    Generation {
        number: GenerationNumber(n),
        release_id: release.id(),
        release,
        request: request(n).id(),
        spec: Digest::of(b"spec"),
        hashes: BTreeMap::from([(api(), "1-ff".into())]),
        verdict: Verdict::Trial,
        begun: at(n * 10),
        applied: None,
        judged: None,
        why: "asked for".into(),
        schema: None,
        files: [].into(),
        adopted: n == 1,
        not_restorable: (n == 1).then(|| "found by the way".into()),
    }
}

pub(super) fn operation(id: u64) -> Operation {
    let target = Target::Existing(container(1));
    let attachment = Attachment {
        network: "shop_default".into(),
        aliases: vec!["api".into()],
        fixed_ipv4: None,
        fixed_ipv6: None,
        address: Some("172.20.0.2".parse().unwrap()),
    };
    let mut plan = Plan::of(vec![
        Step::Create {
            service: api(),
            number: 1,
            name: "shop-api-1".into(),
            image: image(id),
            hash: "1-ff".into(),
            carried: vec![Carried {
                target: "/data".into(),
                volume: "v".into(),
            }],
        },
        Step::Detach {
            target: target.clone(),
            from: vec![attachment],
        },
        Step::Stop {
            target,
            service: api(),
            grace: Duration::from_millis(1500),
            ran: true,
        },
    ]);
    plan.on_failure.insert(api(), OnUpdateFailure::Pause);
    Operation {
        id,
        kind: Kind::Deploy,
        generation: Some(GenerationNumber(1)),
        request: request(1).id(),
        by: Author::Agent,
        why: "drift".into(),
        begun: at(id),
        plan,
    }
}

pub(super) fn health(ms: u64) -> HealthRecord {
    let probe = ProbeRecord {
        phase: Phase::Failing,
        fails: 3,
        passes: 0,
        failing_since: Some(at(ms)),
        known_since: Some(at(1)),
        last: Some((at(ms), Sample::Fail("503".into()))),
        known_at: Some(at(ms)),
        deaths: 2,
        complaint: Some("503".into()),
    };
    HealthRecord {
        probes: BTreeMap::from([("http".parse().unwrap(), probe)]),
        failing_ms: ms,
        healthy_ms: 0,
        watched_ms: ms,
        looked_ms: ms,
        counted: Some(at(ms)),
        failing_since: Some(at(ms)),
    }
}

pub(super) fn quarantine(n: u64, blame: Blame) -> Change {
    let release = generation(n).release;
    Change::Quarantine(Box::new(Quarantine {
        generation: GenerationNumber(n),
        release: release.id(),
        tag: release.tag,
        blame,
        by: Author::Agent,
        at: at(n),
        why: "api answered 503 for five minutes".into(),
    }))
}

/// The agent puts one version of `.env` where another one is.
pub(super) fn place(from: u64, to: u64) -> Change {
    let change = FileChange {
        path: "/srv/shop/.env".into(),
        role: Role::Env,
        from: Some(content(from)),
        to: Some(content(to)),
        owner: None,
        action: crate::files::Action::Recreate,
        theirs: true,
        gives_back: false,
        written: None,
    };
    Change::Place(Box::new(Placing {
        changes: vec![change],
        at: at(from),
    }))
}

pub(super) fn seen_file(is: u64) -> Change {
    Change::SeenFiles(OnDisk::from([("/srv/shop/.env".into(), Some(content(is)))]))
}

/// A person has one version of `.env` put where another one is.
pub(super) fn give(from: u64, to: u64) -> Change {
    Change::Give(Box::new(Given {
        path: "/srv/shop/.env".into(),
        role: Role::Env,
        from: Some(content(from)),
        to: content(to),
        at: at(to),
    }))
}

pub(super) fn import(n: u64) -> Change {
    Change::Import(Box::new(Imported {
        path: "/srv/shop/.env".into(),
        content: content(n),
        from: format!("/srv/shop/.env.{n}").into(),
        by: person(),
        at: at(n),
    }))
}

fn content(n: u64) -> Digest {
    Digest::of(format!("A={n}").as_bytes())
}

pub(super) fn act(what: &str) -> Change {
    Change::Act(Box::new(Act {
        by: person(),
        at: at(9),
        what: what.into(),
        why: Some("because".into()),
    }))
}

pub(super) fn journal(entries: impl IntoIterator<Item = Entry>) -> Vec<Change> {
    entries.into_iter().map(Change::Journal).collect()
}

pub(super) fn success() -> Vec<Entry> {
    let mut events = Vec::new();
    for index in 0..3 {
        let outcome = if index == 0 {
            Outcome::Created(container(2))
        } else {
            Outcome::Done
        };
        events.extend([Event::Started { index }, Event::Done { index, outcome }]);
    }
    events.push(Event::Ended(Ending::Succeeded));
    timed(events)
}

/// Entries a second apart.
fn timed(events: Vec<Event>) -> Vec<Entry> {
    let seconds = (10..).map(at);
    events
        .into_iter()
        .zip(seconds)
        .map(|(event, at)| event.at(&at))
        .collect()
}

pub(super) fn failure() -> Vec<Entry> {
    let why = || String::from("no such image");
    let passing = true;
    timed(vec![
        Event::Started { index: 0 },
        Event::Failed {
            index: 0,
            why: why(),
            passing,
            moved: false,
        },
        Event::UndoStarted { index: 0 },
        Event::UndoDone { index: 0 },
        Event::Ended(Ending::Undone { why: why(), passing }),
    ])
}

/// Two generations, a rollback, and an operation that is still open.
#[allow(clippy::too_many_lines, reason = "a list")]
pub(super) fn life() -> Vec<Vec<Change>> {
    let judge = |n, verdict| Change::Judge {
        generation: GenerationNumber(n),
        verdict,
        at: at(50),
        why: "five minutes of it".into(),
    };
    let revisions = BTreeSet::from(["ab12".parse().unwrap(), "cd34".parse().unwrap()]);
    vec![
        vec![Change::Accept(Box::new(request(1)))],
        vec![
            Change::Resolve("shop/api:v1.1.0".into(), image(1)),
            Change::Adopt(container(1), "1-aa".into()),
            Change::Adopt(container(3), "1-bb".into()),
            Change::Carry(
                "db".parse().unwrap(),
                1,
                vec![crate::observed::Carried {
                    target: "/data".into(),
                    volume: "ab".repeat(32),
                }],
            ),
        ],
        vec![
            Change::Begin(generation(1).into()),
            Change::SetCurrent(GenerationNumber(1)),
        ],
        vec![Change::Open(operation(1).into())],
        journal(success()),
        vec![
            Change::Applied(GenerationNumber(1), at(20)),
            Change::Stand(Standing::Applied(GenerationNumber(1))),
            Change::Forget(container(3)),
        ],
        vec![Change::Health(Box::new(health(5)))],
        vec![
            Change::Schema(GenerationNumber(1), SchemaHead::At(revisions)),
            judge(1, Verdict::Good),
        ],
        vec![
            act("pause"),
            Change::Pause(Some(Pause {
                by: person(),
                since: at(1),
                until: at(100),
                why: "by hand".into(),
            })),
        ],
        vec![
            Change::Accept(Box::new(request(2))),
            Change::Pause(None),
            Change::Approval(Some(Box::new(Approval {
                ask: Ask::Rollback {
                    from: GenerationNumber(2),
                    to: GenerationNumber(1),
                },
                request: request(2).id(),
                asked: at(3),
                detail: vec!["stop api".into()],
                answer: Some((Answer::Granted, person())),
            }))),
            Change::Begin(generation(2).into()),
            Change::Schema(GenerationNumber(2), SchemaHead::NoTable),
            Change::Open(operation(4).into()),
        ],
        journal(failure()),
        vec![
            judge(2, Verdict::Bad),
            quarantine(1, Blame::Whole(Digest::of(b"r"))),
            quarantine(
                2,
                Blame::Configuration {
                    env: Some(None),
                    config: None,
                },
            ),
            Change::Lift(GenerationNumber(1)),
            Change::Stand(Standing::Quarantined(GenerationNumber(2))),
            Change::RolledBack(request(2).id(), at(60)),
            Change::Restored(Some(Restored {
                from: GenerationNumber(2),
                to: GenerationNumber(1),
                at: at(61),
                request: request(2).id(),
            })),
            Change::Hold(Some(Hold {
                since: at(62),
                why: "it fails too".into(),
                way_out: "steadfast retry shop".into(),
                frozen: false,
                no_way_down: false,
                until: BTreeSet::from([Fact::Healthy, Fact::Target]),
            })),
            act("rollback"),
        ],
        vec![Change::LetGo(Some(at(63)))],
        vec![Change::LetGo(None)],
        vec![Change::LetGo(Some(at(65)))],
        vec![
            Change::Open(operation(7).into()),
            Change::Journal(Event::Started { index: 0 }.at(&at(70))),
        ],
        vec![Change::Health(Box::new(health(8)))],
    ]
}
