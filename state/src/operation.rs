//! What the beginning and the end of an operation change in the record, and what its journal lets
//! follow. Pure: who carries a step out, and who is told of it, is the agent's.

use crate::common::Common;
use crate::hold::{Fact, Hold};
use crate::journal::{Ending, Event, Kind, OpenOperation, Operation, Outcome, Progress, SchemaMark};
use crate::record::{Ask, Change, Restored, StackRecord, Standing, UnseenMigration};
use crate::release::{Author, Blame, Generation, GenerationNumber, Quarantine, Request, Verdict};
use crate::schema_fit::{Direction, apart, same};
use crate::stack_spec::OnUpdateFailure;
use crate::step::{Step, Target};
use crate::taken_back::TakenBack;
use crate::time::Moment;

/// What is next in an open operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Step `.0` is started, or started again.
    Forward(usize),
    /// Step `.0` is taken back, or once more.
    Back(usize),
    /// It is carried out as far as it goes, and is to be ended.
    Halt(Halt),
}

/// Where carrying out came to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// Every step is done.
    Done,
    /// A step failed and everything is taken back.
    TakenBack {
        /// What failed.
        why: String,
        /// Whether trying again could help.
        passing: bool,
    },
    /// A step failed and everything is left as it is, as `failure_action: pause` asks.
    Paused {
        /// What failed.
        why: String,
    },
    /// A step failed after the schema was moved: everything is left as it is, and a rollback follows; or, where that
    /// says nothing about the release, a heal.
    Left {
        /// What failed.
        why: String,
        /// Whether it says nothing about the release.
        passing: bool,
    },
    /// Something could not be taken back.
    Stuck {
        /// What failed.
        why: String,
    },
}

impl OpenOperation {
    /// What is next, from wherever the journal says it is.
    pub fn next_move(&self) -> Move {
        let steps = self.operation.plan.steps.len();
        match &self.progress {
            Progress::Ready { next, .. } if *next == steps => Move::Halt(Halt::Done),
            Progress::Ready { next: index, .. } | Progress::InFlight { index, .. } => Move::Forward(*index),
            // The schema is where it was to go, and nothing is wrong with what it was moved for.
            Progress::Undoing {
                failed,
                why,
                passing: true,
                moved,
                started: false,
                ..
            } if self.operation.plan.has_migrated(*failed, *moved) && !self.is_past_return() => {
                Move::Halt(Halt::Left {
                    why: why.clone(),
                    passing: true,
                })
            }
            Progress::Undoing { failed, why, .. }
                if self.operation.plan.on_failure_of(*failed) == OnUpdateFailure::Pause
                    && !self.is_past_return() =>
            {
                Move::Halt(Halt::Paused { why: why.clone() })
            }
            Progress::Undoing {
                failed,
                why,
                passing: false,
                moved,
                started: false,
                ..
            } if self.operation.plan.has_moved_schema(*failed, *moved) && !self.is_past_return() => {
                Move::Halt(Halt::Left {
                    why: why.clone(),
                    passing: false,
                })
            }
            Progress::Undoing {
                why,
                passing,
                next: None,
                ..
            } => Move::Halt(Halt::TakenBack {
                why: why.clone(),
                passing: *passing,
            }),
            Progress::Undoing {
                next: Some(index), ..
            } => Move::Back(*index),
            Progress::UndoFailed { why } => Move::Halt(Halt::Stuck { why: why.clone() }),
            Progress::Ended(_) => Move::Halt(Halt::Done),
        }
    }

    /// What is journaled of a step that failed: that it did; or that something else is begun in its place; or, where
    /// the file asks to go on after what was only waited for, that it is done.
    pub fn failure_of(&self, index: usize, why: String, passing: bool, moved: bool) -> Event {
        let plan = &self.operation.plan;
        let only_looks = plan.steps.get(index).is_some_and(Step::only_looks);
        if only_looks && plan.on_failure_of(index) == OnUpdateFailure::Continue {
            let outcome = Outcome::Done;
            return Event::Done { index, outcome };
        }
        // What may pass is taken back whole, and tried again from the first on.
        let why = match (&self.progress, passing) {
            (Progress::InFlight { attempt, .. }, false) if plan.step(index, attempt + 1).is_some() => {
                let attempt = attempt + 1;
                return Event::Instead { index, attempt, why };
            }
            (_, false) => self.all_that_was_tried(index, why),
            (_, true) => why,
        };
        Event::Failed {
            index,
            why,
            passing,
            moved,
        }
    }

    /// Why every attempt at step `index` failed, the last one with `why`, and why there is no other.
    fn all_that_was_tried(&self, index: usize, why: String) -> String {
        let before = self.events.iter().filter_map(|entry| match &entry.event {
            Event::Instead { index: of, why, .. } if *of == index => Some(why.clone()),
            _ => None,
        });
        let lacks = self.operation.plan.instead.get(&index);
        let lacks = lacks.and_then(|instead| instead.lacks.clone());
        let words: Vec<String> = before.chain([why]).chain(lacks).collect();
        words.join("; and ")
    }
}

/// The verdict on a generation, as a change.
pub fn judged(generation: &Generation, verdict: Verdict, now: &Moment, why: &str) -> Change {
    Change::Judge {
        generation: generation.number,
        verdict,
        at: now.clone(),
        why: why.to_owned(),
    }
}

/// A hold that only a person ends, as a change.
pub fn held(why: &str, way_out: &str, now: &Moment) -> Change {
    Change::Hold(Some(Hold {
        since: now.clone(),
        why: why.to_owned(),
        way_out: way_out.to_owned(),
        frozen: false,
        no_way_down: false,
        until: std::collections::BTreeSet::new(),
    }))
}

/// Begins a generation, under the number that it gets. An attempt that was taken back without a verdict
/// is tried again under its own.
pub fn begin_deploy(
    record: &StackRecord,
    generation: &Generation,
    now: &Moment,
) -> (GenerationNumber, Vec<Change>) {
    let is_open = |g: &&Common<Generation>| g.verdict == Verdict::Trial && g.applied.is_none();
    let last = record.generations.last().filter(is_open);
    let same = |last: &&Common<Generation>| {
        last.request == generation.request && last.release_id == generation.release_id
    };
    if let Some(again) = last.filter(same) {
        return (again.number, Vec::new());
    }
    let why = "another release was asked for before it was up";
    let before = last.map(|before| judged(before, Verdict::Superseded, now, why));
    let begun = Change::Begin(generation.clone().into());
    (generation.number, before.into_iter().chain([begun]).collect())
}

/// Leaves `current`: it is bad and in quarantine from here on.
pub fn begin_rollback(
    record: &StackRecord,
    current: &Generation,
    blame: Blame,
    by: &Author,
    why: &str,
    now: &Moment,
) -> Vec<Change> {
    let mut changes = Vec::new();
    if current.verdict != Verdict::Bad {
        changes.push(judged(current, Verdict::Bad, now, why));
        let entry = quarantine(current, blame, by, why, now);
        changes.push(Change::Quarantine(Box::new(entry)));
        if *by == Author::Agent {
            changes.push(Change::RolledBack(request_of(record, current), now.clone()));
        }
    }
    // What was asked for since then is no part of the failure: it may be the way forward. And what was left before stays
    // left for what it has failed by itself.
    let is_left = matches!(record.standing, Standing::Quarantined(_));
    if !is_left && (*by != Author::Agent || record.standing != Standing::Pending) {
        changes.push(Change::Stand(Standing::Quarantined(current.number)));
    }
    changes.push(Change::Approval(None));
    changes.push(Change::Hold(None));
    changes
}

/// The request that an operation on `current` serves.
pub fn request_of(record: &StackRecord, current: &Generation) -> crate::name::Digest {
    let request = record.request.as_ref().map(Request::id);
    request.unwrap_or_else(|| current.request.clone())
}

/// The end of an operation and all that follows from it, one durable batch.
pub fn ended(record: &StackRecord, open: &OpenOperation, halt: &Halt, now: &Moment) -> Vec<Change> {
    let end = |ending| Change::Journal(Event::Ended(ending).at(now));
    match halt {
        Halt::Done => {
            let mut changes = vec![end(Ending::Succeeded)];
            changes.extend(after_success(record, open, now));
            changes.extend(taken_back(open, now));
            changes.extend(out_again(record, open));
            changes
        }
        Halt::TakenBack { why, passing } => {
            let ending = Ending::Undone {
                why: why.clone(),
                passing: *passing,
            };
            let mut changes = vec![end(ending)];
            if !passing {
                changes.extend(after_undoing(record, open, why, now));
            }
            changes.extend(fetched(open));
            changes.extend(built(open));
            changes
        }
        Halt::Paused { why } => {
            let mut changes = vec![end(Ending::Paused { why: why.clone() })];
            changes.extend(after_pausing(open, why, now));
            changes.extend(taken_back(open, now));
            changes.extend(out_again(record, open));
            changes
        }
        Halt::Left { why, passing } => {
            let mut changes = vec![end(Ending::Left {
                why: why.clone(),
                passing: *passing,
            })];
            changes.extend(if *passing {
                applied(record, &open.operation, now)
            } else {
                after_leaving(record, open, why, now)
            });
            changes.extend(taken_back(open, now));
            changes.extend(out_again(record, open));
            changes
        }
        Halt::Stuck { why } => {
            let mut changes = vec![end(Ending::Stuck { why: why.clone() })];
            changes.extend(after_sticking(record, open, why, now));
            changes.extend(taken_back(open, now));
            changes.extend(out_again(record, open));
            changes
        }
    }
}

fn after_success(record: &StackRecord, open: &OpenOperation, now: &Moment) -> Vec<Change> {
    let mut changes = forgotten(open);
    if open.operation.kind == Kind::Fetch {
        changes.extend(fetched(open));
        changes.extend(built(open));
    }
    changes.extend(applied(record, &open.operation, now));
    if open.operation.kind == Kind::Restore {
        changes.extend(after_restoring(record, open, now));
    }
    changes.extend(looked_for(record, open, now));
    changes
}

/// What a migration has left whose end nobody has seen. Where it has left anything, a person says how it goes on: what
/// runs is the release from before, and whatever is asked for would begin from what nobody has meant.
fn looked_for(record: &StackRecord, open: &OpenOperation, now: &Moment) -> Vec<Change> {
    let Some(unseen) = &record.unseen else {
        return Vec::new();
    };
    let operation = &open.operation;
    let steps = &operation.plan.steps;
    let looks = operation.kind == Kind::Heal && *steps == [Step::OpenDatabase];
    let moves = steps.iter().position(|step| matches!(step, Step::Migrate { .. }));
    let is = match (operation.kind, moves) {
        // Another database has its name; or nobody could look, because the first release brings the database along.
        (Kind::Restore, _) | (Kind::Deploy, Some(_)) => return vec![Change::Unseen(None)],
        // What a person has ordered begins from what is there, which was looked at before it was moved.
        (_, Some(at)) => open.mark_before(at),
        (_, None) if looks => open.mark_before(1),
        (_, None) => return Vec::new(),
    };
    let mut changes = vec![Change::Unseen(None)];
    if let Some(found) = left(unseen, is) {
        let last = record.generations.last().map(|last| last.number);
        if let Some(last) = last.filter(|_| record.standing == Standing::Pending) {
            changes.push(Change::Stand(Standing::Quarantined(last)));
            // Whoever agreed now would agree to what is not done.
            let asked = record.approval.as_ref();
            let about_it = asked.is_some_and(|asked| asked.ask == Ask::DataChange);
            changes.extend(about_it.then_some(Change::Approval(None)));
        }
        changes.push(held(&found, way_on(unseen), now));
    }
    changes
}

/// What a migration has left, in words; `None`: nothing.
fn left(unseen: &UnseenMigration, is: Option<&SchemaMark>) -> Option<String> {
    let before = &unseen.before.head;
    let found = match is {
        Some(is) if *is == unseen.before => return None,
        None => String::from("may have left something, and the schema was moved before anybody could look"),
        Some(is) if same(&is.head, before) => String::from(
            "has left something: it stands where it stood before, and not all but its rows is as it was",
        ),
        Some(is) => {
            let (is, before) = apart(&is.head, before);
            format!("has left something: the schema stands at {is}, and stood at {before} before")
        }
    };
    Some(format!(
        "the database went away in the middle of the migration of operation {}, which {found}",
        unseen.operation
    ))
}

fn way_on(unseen: &UnseenMigration) -> &'static str {
    match unseen.kind {
        Kind::Deploy => {
            "see what is there; then `steadfast retry`, which goes on from it; or `steadfast restore` of the backup that the operation has made, and then `steadfast retry`"
        }
        _ => "see what is there; then `steadfast rollback`, which goes on from it; or pin another release",
    }
}

/// What an operation goes to is what runs from here on, or is healed until it does.
fn applied(record: &StackRecord, operation: &Operation, now: &Moment) -> Vec<Change> {
    let mut changes = Vec::new();
    match (operation.kind, operation.generation) {
        (Kind::Deploy, Some(number)) => {
            let unproven = |g: &&Generation| g.verdict == Verdict::Trial && g.number != number;
            if let Some(before) = record.current().filter(unproven) {
                let why = "another release was asked for before it was proven";
                changes.push(judged(before, Verdict::Superseded, now, why));
            }
            changes.push(Change::SetCurrent(number));
            changes.push(Change::Applied(number, now.clone()));
            changes.push(Change::Stand(Standing::Applied(number)));
            changes.push(Change::Restored(None));
            changes.push(Change::Approval(None));
            // It was about what ran before.
            changes.extend(record.hold.as_ref().map(|_| Change::Hold(None)));
        }
        (Kind::Rollback, Some(to)) => {
            if let Some(from) = record.current {
                changes.push(Change::SetCurrent(to));
                // From here on it is one of the schema that it was declared to run with.
                let kept_at = operation.plan.kept_at.clone();
                changes.extend(kept_at.map(|head| Change::Schema(to, head)));
                changes.extend(no_more_of_the_backup(record));
                changes.push(Change::Restored(Some(Restored {
                    from,
                    to,
                    at: now.clone(),
                    request: operation.request.clone(),
                })));
            }
        }
        _ => {}
    }
    changes
}

/// Other rows serve: what was seen before counts for nobody. A schema that nobody has proven this release with is a
/// person's to decide about, as where somebody has moved it by hand.
fn after_restoring(record: &StackRecord, open: &OpenOperation, now: &Moment) -> Vec<Change> {
    let mut changes = vec![Change::Health(Box::default())];
    let stands = open
        .mark_before(open.operation.plan.steps.len())
        .map(|mark| &mark.head);
    let proven = record
        .current()
        .and_then(|current| Some((current.number, current.schema.as_ref()?)));
    if let (Some(is), Some((number, wanted))) = (stands, proven)
        && !same(is, wanted)
    {
        let (is, wanted) = apart(is, wanted);
        let why = format!(
            "a restored database took the place of the old one: its schema stands at {is}, and generation {number} was proven at {wanted}"
        );
        let hold = Hold {
            since: now.clone(),
            why,
            way_out: String::from(
                "pin the release that it is of; or migrate it by hand to where it was; or `steadfast retry`, which takes it as it is",
            ),
            frozen: false,
            no_way_down: false,
            until: [Fact::SchemaFits].into(),
        };
        // One that only a person ends is not exchanged for one that ends by itself.
        if record.hold.as_ref().is_none_or(|known| hold.outweighs(known)) {
            changes.push(Change::Hold(Some(hold)));
        }
    }
    changes
}

/// Where another database has the name, what was put into the one before is not in it, and a question about that one is
/// about another.
fn out_again(record: &StackRecord, open: &OpenOperation) -> Vec<Change> {
    let steps = open.operation.plan.steps.iter().enumerate();
    let mut takes = steps.filter(|(_, step)| **step == Step::TakePlace);
    if !takes.any(|(index, _)| open.outcome(index).is_some() && !is_undone(open, index)) {
        return Vec::new();
    }
    let was_in = record
        .taken_back
        .iter()
        // What a person has dropped is nowhere any more.
        .filter(|(_, taken)| taken.put_in.is_some() && !taken.is_dropped());
    let out = was_in.map(|(of, taken)| {
        let out = TakenBack {
            put_in: None,
            ..taken.clone()
        };
        Change::TakeBack(*of, Box::new(out))
    });
    let asked = record.approval.as_ref();
    let about_it = asked.is_some_and(|approval| matches!(approval.ask, Ask::RestoreBackup { .. }));
    out.chain(about_it.then_some(Change::Approval(None))).collect()
}

fn is_undone(open: &OpenOperation, index: usize) -> bool {
    let undone = Event::UndoDone { index };
    open.events.iter().any(|entry| entry.event == undone)
}

/// What it has taken out of the database, where it leaves the schema where it has taken it.
fn taken_back(open: &OpenOperation, now: &Moment) -> Vec<Change> {
    let steps = open.operation.plan.steps.iter().enumerate();
    let down = steps.filter_map(|(index, step)| match step {
        Step::Migrate { way, .. } if way.direction == Direction::Down && !is_undone(open, index) => {
            open.outcome(index).map(|_| way)
        }
        _ => None,
    });
    let taken = down.filter_map(|way| {
        let taken = TakenBack {
            at: now.clone(),
            from: way.from.clone()?,
            to: way.to.clone(),
            revisions: way.revisions.clone(),
            losses: way.losses.clone(),
            saved: None,
            put_in: None,
        };
        Some(Change::TakeBack(open.operation.id, Box::new(taken)))
    });
    taken.collect()
}

/// It failed for good, and what ran before runs.
fn after_undoing(record: &StackRecord, open: &OpenOperation, why: &str, now: &Moment) -> Vec<Change> {
    match open.operation.kind {
        Kind::Deploy => failed_deploy(record, open, why, now),
        Kind::Rollback => {
            let hold = Change::Hold(Some(Hold {
                since: now.clone(),
                why: format!("the rollback failed: {why}"),
                way_out: String::from("look at it; `steadfast rollback` tries again"),
                frozen: false,
                no_way_down: failed_downwards(open),
                until: std::collections::BTreeSet::new(),
            }));
            std::iter::once(hold)
                .chain(no_more_of_the_backup(record))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Whether it is the way of the schema down that failed.
fn failed_downwards(open: &OpenOperation) -> bool {
    let Progress::Undoing { failed, .. } = &open.progress else {
        return false;
    };
    let step = open.operation.plan.steps.get(*failed);
    step.is_some_and(|step| matches!(step, Step::Migrate { way, .. } if way.direction == Direction::Down))
}

/// An agreement to go back to a backup is good for once.
fn no_more_of_the_backup(record: &StackRecord) -> Option<Change> {
    let approval = record.approval.as_ref()?;
    matches!(approval.ask, Ask::RestoreBackup { .. }).then_some(Change::Approval(None))
}

/// It failed for good after it had brought the schema up: what is there is the bad release, as far as it came, and the
/// way on is a rollback from it.
fn after_leaving(record: &StackRecord, open: &OpenOperation, why: &str, now: &Moment) -> Vec<Change> {
    if open.operation.kind != Kind::Deploy {
        // What was gone back to was proven; and whoever writes now would write to what may be half a schema.
        return vec![Change::Hold(Some(Hold {
            since: now.clone(),
            why: format!(
                "{} failed after it had moved the schema: {why}",
                open.operation.kind
            ),
            way_out: String::from(
                "look where the schema stands; then `steadfast rollback`, or pin another release",
            ),
            frozen: true,
            no_way_down: false,
            until: std::collections::BTreeSet::new(),
        }))];
    }
    let Some(generation) = open.operation.generation.and_then(|n| record.generation(n)) else {
        return Vec::new();
    };
    let number = generation.number;
    let mut changes = vec![Change::SetCurrent(number), Change::Applied(number, now.clone())];
    changes.extend(not_again(record, number, &Author::Agent, why, now));
    changes.push(Change::RolledBack(open.operation.request.clone(), now.clone()));
    // One that was about this request would keep the rollback from following.
    changes.extend(record.hold.as_ref().map(|_| Change::Hold(None)));
    changes
}

fn after_pausing(open: &OpenOperation, why: &str, now: &Moment) -> Vec<Change> {
    let operation = &open.operation;
    let mut changes = Vec::new();
    if let (Kind::Deploy, Some(number)) = (operation.kind, operation.generation) {
        changes.push(Change::SetCurrent(number));
        changes.push(Change::Applied(number, now.clone()));
        changes.push(Change::Stand(Standing::Applied(number)));
    }
    let changed_data = matches!(&open.progress, Progress::Undoing { failed, .. }
        if operation.plan.may_have_changed_data(*failed));
    let (because, look_at) = if changed_data {
        (
            "nothing is taken back, because a new container may have written to the data",
            "look at the data",
        )
    } else {
        ("as failure_action: pause asks", "look at it")
    };
    changes.push(Change::Hold(Some(Hold {
        since: now.clone(),
        why: format!("{} stopped half-way, {because}: {why}", operation.kind),
        way_out: format!("{look_at}; then `steadfast retry`, `steadfast rollback`, or pin another release"),
        frozen: true,
        no_way_down: false,
        until: std::collections::BTreeSet::new(),
    })));
    changes
}

fn after_sticking(record: &StackRecord, open: &OpenOperation, why: &str, now: &Moment) -> Vec<Change> {
    let kind = open.operation.kind;
    let mut changes = Vec::new();
    if let (Kind::Deploy, Some(left)) = (kind, open.operation.generation) {
        if open.failed_in_passing() {
            // What merely gave way, or failed for want of something outside, says nothing about the release. It is
            // not tried again before a person has looked, all the same.
            changes.push(Change::Stand(Standing::Quarantined(left)));
        } else {
            changes.extend(failed_deploy(record, open, why, now));
        }
    }
    let takes_schema_back = |step: &Step| matches!(step.undo(), Some(Step::PutBack | Step::GiveBack));
    let started = |index: usize| {
        let mut events = open.events.iter().map(|entry| &entry.event);
        events.any(|event| *event == Event::Started { index })
    };
    let mut steps = open.operation.plan.steps.iter().enumerate();
    if kind != Kind::Heal && steps.any(|(index, step)| takes_schema_back(step) && started(index)) {
        // Whoever writes now would write to what may be half a schema.
        changes.push(Change::Hold(Some(Hold {
            since: now.clone(),
            why: format!("{kind} failed and could not be taken back: {why}"),
            way_out: String::from(
                if kind == Kind::Restore {
                    "see that the database runs, and which one has its name: the other one lies beside it; then `steadfast retry`"
                } else {
                    "see that the database runs and has room, then `steadfast rollback`; the copy made before lies beside it"
                },
            ),
            frozen: true,
            no_way_down: false,
            until: std::collections::BTreeSet::new(),
        })));
    } else if kind != Kind::Heal {
        changes.push(held(
            &format!("{kind} failed and could not be taken back: {why}"),
            "look at it with `docker ps -a`; then `steadfast retry` or `steadfast rollback`",
            now,
        ));
    }
    changes
}

/// A deploy that failed for good: its release is bad and in quarantine; what ran before runs.
fn failed_deploy(record: &StackRecord, open: &OpenOperation, why: &str, now: &Moment) -> Vec<Change> {
    let Some(left) = open.operation.generation else {
        return Vec::new();
    };
    let mut changes = not_again(record, left, &Author::Agent, why, now);
    if !changes.is_empty() && record.current.is_none() {
        changes.push(held(
            &format!("the first deploy failed, and there is nothing to go back to: {why}"),
            "mend the cause, then `steadfast retry`; or pin another release",
            now,
        ));
    }
    changes
}

/// A generation that never ran whole is bad, and its release in quarantine.
pub fn not_again(
    record: &StackRecord,
    left: GenerationNumber,
    by: &Author,
    why: &str,
    now: &Moment,
) -> Vec<Change> {
    let Some(generation) = record.generation(left) else {
        return Vec::new();
    };
    let blame = Blame::between(&generation.release, record.current().map(|g| &g.release));
    condemned(generation, blame, by, why, now)
}

fn condemned(generation: &Generation, blame: Blame, by: &Author, why: &str, now: &Moment) -> Vec<Change> {
    let entry = quarantine(generation, blame, by, why, now);
    vec![
        judged(generation, Verdict::Bad, now, why),
        Change::Quarantine(Box::new(entry)),
        Change::Stand(Standing::Quarantined(generation.number)),
    ]
}

/// A generation that could not even be begun is bad, and its release in quarantine.
pub fn never_begun(generation: &Generation, blame: Blame, why: &str, now: &Moment) -> Vec<Change> {
    condemned(generation, blame, &Author::Agent, why, now)
}

fn quarantine(bad: &Generation, blame: Blame, by: &Author, why: &str, now: &Moment) -> Quarantine {
    Quarantine {
        generation: bad.number,
        release: bad.release_id.clone(),
        tag: bad.release.tag.clone(),
        blame,
        by: by.clone(),
        at: now.clone(),
        why: why.to_owned(),
    }
}

/// The images that were pulled or built, as resolutions, and the migrations that were read.
fn fetched(open: &OpenOperation) -> Vec<Change> {
    let steps = open.operation.plan.steps.iter().enumerate();
    steps
        .filter_map(|(index, step)| match (step, open.outcome(index)) {
            (Step::Pull { reference, .. } | Step::Build { reference, .. }, Some(Outcome::Pulled(image))) => {
                Some(Change::Resolve(reference.clone(), image.clone()))
            }
            (Step::ReadMigrations { by, .. }, Some(Outcome::Read(history))) => {
                Some(Change::Learn(by.image.clone(), history.clone()))
            }
            (Step::ReadLosses { by }, Some(Outcome::Losses(losses))) => {
                Some(Change::LearnLosses(by.image.clone(), losses.clone().into()))
            }
            _ => None,
        })
        .collect()
}

/// What was built is known again.
fn built(open: &OpenOperation) -> impl Iterator<Item = Change> {
    let steps = open.operation.plan.steps.iter().enumerate();
    steps.filter_map(|(index, step)| match (step, open.outcome(index)) {
        (Step::Build { key, .. }, Some(Outcome::Pulled(image))) => {
            Some(Change::Built(key.clone(), image.clone()))
        }
        _ => None,
    })
}

/// The containers that were removed are no longer remembered as adopted.
fn forgotten(open: &OpenOperation) -> Vec<Change> {
    let steps = open.operation.plan.steps.iter();
    steps
        .filter_map(|step| match step {
            Step::Remove {
                target: Target::Existing(id),
            } => Some(Change::Forget(id.clone())),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
