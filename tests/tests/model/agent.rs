//! One agent: its durable record, what it knows only while it lives, and what it does next. Every decision is
//! `state`'s own code; written here is only in which order it is asked, as `reconcile` asks it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher as _};
use std::sync::Arc;

use state::decide::{Asked, Judgement, Reply, answer, judge};
use state::drift::{Drift, drift};
use state::health::{HealthRecord, Overall, Phase, ProbeRecord};
use state::hold::{Hold, facts};
use state::journal::{Event, Kind, OpenOperation, Operation, Outcome, Progress};
use state::naming::Dialect;
use state::operation::{Move, begin_deploy, begin_rollback, ended, judged, request_of};
use state::plan::Plan;
use state::planner::{Ground, plan};
use state::policy::{Severity, SeverityMatrix, TrialPolicy};
use state::record::{Change, StackRecord, Standing};
use state::release::{Author, Blame, Generation, GenerationNumber, Request, Verdict};
use state::retention::KEPT_GOOD;
use state::rollback::{Failure, Retreat, again, is_unfinished, retreat};
use state::stack_spec::StackSpec;
use state::step::{Step, Target};

use crate::engine::{Engine, Refusal};
use crate::ground::{self, Wish, now, wish_of};

/// A rule that a model breaks on purpose, so that it can be seen that breaking it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A step has its effect before it is journaled.
    EffectBeforeJournal,
    /// What is in quarantine is applied all the same.
    QuarantineIgnored,
    /// Whose marker is on the engine is not looked at.
    OwnerIgnored,
    /// What stopped is started again before what was started in its place is stopped.
    UndoOutOfOrder,
    /// The step that failed is not taken back itself.
    HalfDoneIsLeft,
    /// The newest other generation is gone back to, proven or not.
    UnprovenTarget,
    /// That what fails was restored does not stop the next rollback.
    CascadeAllowed,
    /// A generation that nothing is known of counts as failing.
    UnknownIsFailing,
    /// An operation that was open at the start is not carried on.
    NotCarriedOn,
    /// A deploy that failed leaves no quarantine, and its request pending.
    FailedIsForgotten,
}

/// How far a step in flight has come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    /// It is journaled; the engine is to be asked.
    Asked,
    /// The engine has answered, or has not, and it is to be journaled.
    Answered(Result<u64, Refusal>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ownership {
    Unasked,
    Mine,
    Theirs,
}

/// What an agent does next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// Nothing: it rests.
    Nothing,
    /// It asks the engine whose the stack is.
    Claim,
    /// It makes these changes durable.
    Commit(Vec<Change>),
    /// A step has its effect.
    Effect { step: Step, back: bool },
    /// All there is to do is to watch until something is proven.
    Watch,
}

/// How what runs does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Seen {
    Well,
    Ill,
    Nothing,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Agent {
    pub(crate) record: Arc<StackRecord>,
    /// The hash of the record without its operation, and of the operation's plan.
    hashed: (u64, u64),
    pub(crate) mine: Ownership,
    pub(crate) doing: Option<Doing>,
    /// Whether the operation that is open was carried on in this life.
    pub(crate) carrying: bool,
}

impl Hash for Agent {
    fn hash<H: std::hash::Hasher>(&self, to: &mut H) {
        self.hashed.hash(to);
        self.mine.hash(to);
        self.doing.hash(to);
        self.carrying.hash(to);
        let Some(open) = &self.record.operation else {
            return;
        };
        match &open.progress {
            Progress::Ready { next, attempt } => (0, *next, *attempt).hash(to),
            Progress::InFlight { index, attempt } => (1, *index, *attempt).hash(to),
            Progress::Undoing {
                failed,
                passing,
                next,
                started,
                ..
            } => (2, failed, passing, next, started).hash(to),
            Progress::UndoFailed { .. } => 3.hash(to),
            Progress::Ended(_) => 4.hash(to),
        }
        // All that is asked of the events but how far they have come.
        (open.failed_in_passing(), open.is_past_return()).hash(to);
    }
}

/// Complete by construction: all that is serialised is hashed.
fn digest(what: &impl serde::Serialize) -> u64 {
    let bytes = serde_json::to_vec(what).expect("plain data");
    #[allow(deprecated, reason = "the same in every run, unlike the default one")]
    let mut hasher = std::hash::SipHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn hashed(record: &StackRecord) -> (u64, u64) {
    let mut rest = record.clone();
    let open = rest.operation.take();
    (digest(&rest), open.map_or(0, |open| digest(&open.operation)))
}

/// What an agent can look at.
pub(crate) struct Look<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) spec: &'a StackSpec,
    pub(crate) wish: Wish,
    pub(crate) bug: Option<Bug>,
}

impl Look<'_> {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

impl Agent {
    pub(crate) fn new(record: StackRecord) -> Self {
        Self {
            hashed: hashed(&record),
            record: Arc::new(record),
            mine: Ownership::Unasked,
            doing: None,
            carrying: false,
        }
    }

    /// What only the living knew is gone.
    pub(crate) fn die(&mut self) {
        self.mine = Ownership::Unasked;
        self.doing = None;
        self.carrying = false;
    }

    /// Makes changes durable, all or none; an error is a broken invariant.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Result<(), String> {
        let mut after = (*self.record).clone();
        for change in changes {
            after.apply(change).map_err(|error| error.to_string())?;
        }
        let only_journal =
            |c: &Change| matches!(c, Change::Journal(e) if !matches!(e.event, Event::Ended(_)));
        if !changes.iter().all(only_journal) {
            self.hashed = hashed(&after);
        }
        self.record = Arc::new(after);
        Ok(())
    }

    pub(crate) fn open(&self) -> Option<&OpenOperation> {
        self.record.operation.as_ref()
    }

    /// What it does next, as far as that is one thing.
    pub(crate) fn next(&self, look: &Look<'_>) -> Next {
        if let Some(open) = self.open().filter(|_| self.carrying) {
            return self.carry(open, look);
        }
        // What is open comes to its end before anything new is taken.
        if let Some(open) = self.open() {
            if look.has(Bug::NotCarriedOn) {
                return Next::Nothing;
            }
            return self.owned(look, || self.carry(open, look));
        }
        if let Some(change) = self.accept(look) {
            return Next::Commit(vec![change]);
        }
        self.pass(look)
    }

    /// Whoever touches the engine has asked whose the stack is.
    fn owned(&self, look: &Look<'_>, then: impl FnOnce() -> Next) -> Next {
        match self.mine {
            _ if look.has(Bug::OwnerIgnored) => then(),
            Ownership::Mine => then(),
            Ownership::Unasked => Next::Claim,
            Ownership::Theirs => Next::Nothing,
        }
    }

    /// A wish that is not the request in force is one; what was asked for again stays asked for again.
    pub(crate) fn accept(&self, look: &Look<'_>) -> Option<Change> {
        let fresh = ground::request(look.wish);
        let known = self.record.request.as_ref();
        let again = Request {
            retries: known.map_or(0, |known| known.retries),
            ..fresh.clone()
        };
        (known != Some(&again)).then(|| Change::Accept(Box::new(fresh)))
    }

    /// The next write, or the next effect, of an open operation.
    fn carry(&self, open: &OpenOperation, look: &Look<'_>) -> Next {
        let write = |event: Event| Next::Commit(vec![Change::Journal(event.at(&now()))]);
        let next = open.next_move();
        let effect = |index: usize, back: bool| match Self::step(open, index, back, look) {
            Some(step) => Next::Effect { step, back },
            None => Next::Nothing,
        };
        match (next, &self.doing) {
            (Move::Forward(index), None) if look.has(Bug::EffectBeforeJournal) => effect(index, false),
            (Move::Forward(index), None) => write(Event::Started { index }),
            (Move::Back(index), None) => write(Event::UndoStarted { index }),
            (Move::Forward(index), Some(Doing::Asked)) => effect(index, false),
            (Move::Back(index), Some(Doing::Asked)) => match Self::step(open, index, true, look) {
                Some(step) => Next::Effect { step, back: true },
                None => write(Event::UndoDone { index }),
            },
            (Move::Forward(index), Some(Doing::Answered(answer))) => answered(open, index, answer),
            (Move::Back(index), Some(Doing::Answered(Ok(_)))) => write(Event::UndoDone { index }),
            (Move::Back(index), Some(Doing::Answered(Err(_)))) => {
                write(Event::UndoFailed { index, why: failed() })
            }
            (Move::Halt(halt), _) => Next::Commit(self.end(open, &halt, look)),
        }
    }

    fn end(&self, open: &OpenOperation, halt: &state::operation::Halt, look: &Look<'_>) -> Vec<Change> {
        let mut changes = ended(&self.record, open, halt, &now());
        if look.has(Bug::FailedIsForgotten) && open.operation.kind == Kind::Deploy {
            changes.retain(|c| !matches!(c, Change::Quarantine(_) | Change::Stand(Standing::Quarantined(_))));
        }
        changes
    }

    /// What is asked of the engine for step `index`; `None`: nothing.
    fn step(open: &OpenOperation, index: usize, back: bool, look: &Look<'_>) -> Option<Step> {
        let steps = &open.operation.plan.steps;
        if !back {
            return steps.get(index).cloned();
        }
        let failed = match open.progress {
            Progress::Undoing { failed, .. } => failed,
            _ => index,
        };
        let index = match look.bug {
            Some(Bug::UndoOutOfOrder) => out_of_order(steps, index, failed),
            Some(Bug::HalfDoneIsLeft) if index == failed => return None,
            _ => index,
        };
        let undo = steps.get(index)?.undo()?;
        let gone = |target: &Target| {
            matches!(target, Target::Existing(_)) && !look.engine.is_there(target, open.operation.id)
        };
        (!undo.target().is_some_and(gone)).then_some(undo)
    }

    /// What follows from what is seen, while nothing is open.
    fn pass(&self, look: &Look<'_>) -> Next {
        let record = &*self.record;
        if let (Standing::Pending, Some(request)) = (&record.standing, &record.request) {
            let begun = self.answer(request, look);
            if begun != Next::Nothing {
                return begun;
            }
        }
        let healed = self.heal(look);
        if healed != Next::Nothing {
            return healed;
        }
        if record.current.is_some() {
            Next::Watch
        } else {
            Next::Nothing
        }
    }

    fn answer(&self, request: &Request, look: &Look<'_>) -> Next {
        let mut record = (*self.record).clone();
        if look.has(Bug::QuarantineIgnored) {
            record.quarantine.clear();
        }
        let generation = ground::generation(record.next_number(), request, look.spec);
        let images = record.current().map(|current| current.release.images.clone());
        let asked = Asked {
            release: &generation.release,
            hashes: &generation.hashes,
            spec: look.spec,
            tagged: &ground::tagged(look.spec),
            images: &images.unwrap_or_default(),
            running: Some(look.spec),
            found: None,
        };
        match answer(&record, &asked) {
            Reply::IsCurrent(number) => Next::Commit(vec![Change::Stand(Standing::Applied(number))]),
            Reply::Quarantined(number) => Next::Commit(vec![Change::Stand(Standing::Quarantined(number))]),
            Reply::Apply => self.owned(look, || self.deploy(&generation, look)),
            Reply::Ask(..) | Reply::Waiting | Reply::Denied => Next::Nothing,
        }
    }

    fn deploy(&self, generation: &Generation, look: &Look<'_>) -> Next {
        let (number, mut changes) = begin_deploy(&self.record, generation, &now());
        let why = Why {
            kind: Kind::Deploy,
            generation: number,
            request: generation.request.clone(),
            by: Author::Agent,
        };
        match self.operation(why, generation, None, look) {
            Some(open) => changes.push(open),
            None => return Next::Nothing,
        }
        Next::Commit(changes)
    }

    /// Opens an operation from what is seen to `to`.
    fn operation(
        &self,
        why: Why,
        to: &Generation,
        drift: Option<Vec<Drift>>,
        look: &Look<'_>,
    ) -> Option<Change> {
        let mut wanted = ground::wanted(to, look.spec);
        wanted.generation = why.generation;
        let drift = drift.unwrap_or_else(|| self.drift(to, look));
        let id = look.engine.free_operation();
        let plan = make_plan(&wanted, &drift, why.kind, id, look)?;
        Some(Change::Open(
            Operation {
                id,
                kind: why.kind,
                generation: Some(why.generation),
                request: why.request,
                by: why.by,
                why: String::new(),
                begun: now(),
                plan,
            }
            .into(),
        ))
    }

    fn drift(&self, to: &Generation, look: &Look<'_>) -> Vec<Drift> {
        let wanted = ground::wanted(to, look.spec);
        drift(&wanted, &self.record, &look.engine.seen(), &BTreeSet::new())
    }

    fn heal(&self, look: &Look<'_>) -> Next {
        let frozen = self.record.hold.as_ref().is_some_and(|hold| hold.frozen);
        let Some(current) = self.record.current().filter(|_| !frozen) else {
            return Next::Nothing;
        };
        let drift = self.drift(current, look);
        if drift.is_empty() {
            return Next::Nothing;
        }
        self.owned(look, || {
            let why = Why {
                kind: Kind::Heal,
                generation: current.number,
                request: request_of(&self.record, current),
                by: Author::Agent,
            };
            self.operation(why, current, Some(drift), look)
                .map_or(Next::Nothing, |open| Next::Commit(vec![open]))
        })
    }

    /// The good generations that could be restored now.
    pub(crate) fn available(&self, look: &Look<'_>) -> BTreeMap<GenerationNumber, Result<(), String>> {
        let there = |g: &Generation| {
            let gone = look.engine.pruned.contains(&wish_of(&g.release).tag);
            if gone {
                Err(String::from("its image is gone"))
            } else {
                Ok(())
            }
        };
        let kept = self.record.good().take(KEPT_GOOD);
        kept.map(|g| (g.number, there(g))).collect()
    }

    /// What follows once what runs has done as it does for as long as it takes.
    pub(crate) fn watch(&self, seen: Seen, look: &Look<'_>) -> Next {
        let seen = match seen {
            Seen::Nothing if look.has(Bug::UnknownIsFailing) => Seen::Ill,
            seen => seen,
        };
        let trial = TrialPolicy::default();
        let mut record = (*self.record).clone();
        let overall = health(seen, &trial, &mut record.health);
        if look.has(Bug::CascadeAllowed) {
            record.restored = None;
        }
        let available = self.available(look);
        let facts = facts(&record, &overall, trial.good_after, false, &available, None);
        if record.hold.as_ref().is_some_and(|hold| hold.is_over(&facts)) {
            return Next::Commit(vec![Change::Hold(None)]);
        }
        if is_unfinished(&record) && record.hold.is_none() {
            return self.retreat(again(&record, &available, None, None), look);
        }
        let Some(current) = record.current() else {
            return Next::Nothing;
        };
        match judge(&record, &overall, &trial, None) {
            Judgement::Open => Next::Nothing,
            Judgement::Good(_) => Next::Commit(vec![judged(current, Verdict::Good, &now(), "")]),
            Judgement::Unclear(_) => self.hold([state::hold::Fact::Proven].into()),
            Judgement::Bad { .. } if record.hold.is_some() => Next::Nothing,
            Judgement::Bad { services, .. } => {
                let choice = retreat(&Failure {
                    record: &record,
                    spec: look.spec,
                    services: &services,
                    available: &available,
                    schema: None,
                    tool: None,
                    trial: &trial,
                    row: SeverityMatrix::default().row(Severity::Critical),
                    now: &now(),
                });
                self.retreat(choice, look)
            }
        }
    }

    fn retreat(&self, choice: Retreat, look: &Look<'_>) -> Next {
        match choice {
            Retreat::To { target, blame } => self.go_back(target, blame, &Author::Agent, look),
            Retreat::Hold { until, .. } => self.hold(until),
            Retreat::Ask { .. } | Retreat::Wait(_) | Retreat::Report => Next::Nothing,
        }
    }

    pub(crate) fn go_back(&self, to: GenerationNumber, blame: Blame, by: &Author, look: &Look<'_>) -> Next {
        let Some(current) = self.record.current() else {
            return Next::Nothing;
        };
        let to = match look.bug {
            Some(Bug::UnprovenTarget) => {
                let mut others = self.record.generations.iter().rev();
                let other = others.find(|g| g.number != current.number);
                other.map_or(to, |g| g.number)
            }
            _ => to,
        };
        let Some(target) = self.record.generation(to) else {
            return Next::Nothing;
        };
        self.owned(look, || {
            let mut changes = begin_rollback(&self.record, current, blame, by, "", &now());
            let why = Why {
                kind: Kind::Rollback,
                generation: to,
                request: request_of(&self.record, current),
                by: by.clone(),
            };
            match self.operation(why, target, None, look) {
                Some(open) => changes.push(open),
                None => return Next::Nothing,
            }
            Next::Commit(changes)
        })
    }

    fn hold(&self, until: BTreeSet<state::hold::Fact>) -> Next {
        let hold = Hold {
            since: now(),
            why: String::from("a person is needed"),
            way_out: String::from("look at it"),
            frozen: false,
            no_way_down: false,
            until,
        };
        match &self.record.hold {
            Some(known) if !hold.outweighs(known) => Next::Nothing,
            _ => Next::Commit(vec![Change::Hold(Some(hold))]),
        }
    }
}

/// What is written of a step that the engine has answered, or has not.
fn answered(open: &OpenOperation, index: usize, answer: &Result<u64, Refusal>) -> Next {
    let started = matches!(open.progress, Progress::Ready { .. }).then_some(Event::Started { index });
    let outcome = |made: u64| match made {
        0 => Outcome::Done,
        id => Outcome::Created(ground::container(id)),
    };
    let event = match answer {
        Ok(made) => Event::Done {
            index,
            outcome: outcome(*made),
        },
        Err(refusal) => open.failure_of(index, failed(), *refusal == Refusal::Passing, false),
    };
    let events = started.into_iter().chain([event]);
    Next::Commit(events.map(|e| Change::Journal(e.at(&now()))).collect())
}

/// What an operation is for.
struct Why {
    kind: Kind,
    generation: GenerationNumber,
    request: state::name::Digest,
    by: Author,
}

/// The stop of the old and the start of the new, one for the other.
fn out_of_order(steps: &[Step], index: usize, failed: usize) -> usize {
    let is_start = |i: usize| matches!(steps.get(i), Some(Step::Start { .. })) && i <= failed;
    let is_stop = |i: usize| matches!(steps.get(i), Some(Step::Stop { .. }));
    if is_stop(index) && is_start(index + 1) {
        index + 1
    } else if is_start(index) && index > 0 && is_stop(index - 1) {
        index - 1
    } else {
        index
    }
}

/// The same words for every failure: each other one would be another state.
fn failed() -> String {
    String::from("it failed")
}

fn make_plan(
    wanted: &state::drift::Wanted,
    drift: &[Drift],
    kind: Kind,
    operation: u64,
    look: &Look<'_>,
) -> Option<Plan> {
    let images = BTreeSet::from([ground::GOOD, ground::SICK, ground::DEAD].map(ground::image));
    let seen = look.engine.seen();
    let running = seen.iter().filter(|c| c.state.is_running());
    let ground = Ground {
        files: &[],
        file_checks: &[],
        schema: None,
        details: &look.engine.details(),
        running: &running.map(|c| (c.service.clone(), c.id.clone())).collect(),
        networks: &BTreeSet::from([ground::NETWORK.to_owned()]),
        volumes: &BTreeSet::from([ground::VOLUME.to_owned()]),
        carried: &BTreeMap::new(),
        data: &BTreeSet::new(),
        keep: &images,
        kept: &images,
        dialect: Dialect::default(),
        operation,
    };
    plan(wanted, drift, &ground, kind).ok()
}

/// What is remembered of health that has been like this for long enough.
fn health(seen: Seen, trial: &TrialPolicy, record: &mut HealthRecord) -> Overall {
    let long = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX) + 1;
    *record = HealthRecord {
        looked_ms: long(trial.trial_max),
        ..HealthRecord::default()
    };
    match seen {
        Seen::Well => {
            record.healthy_ms = long(trial.good_after);
            record.watched_ms = record.looked_ms;
            Overall::Healthy
        }
        Seen::Ill => {
            record.failing_ms = long(trial.window);
            record.watched_ms = record.looked_ms;
            let probe: state::name::ProbeName = "up".parse().expect("a name");
            let fails = ProbeRecord {
                phase: Phase::Failing,
                fails: 1,
                ..ProbeRecord::default()
            };
            record.probes.insert(probe.clone(), fails);
            Overall::Failing {
                probes: vec![(probe, ground::service(0), String::from("503"))],
                severity: Severity::Critical,
            }
        }
        Seen::Nothing => Overall::Undecided(String::from("no answer")),
    }
}
