//! What an order of a person changes, and when it is refused. Where a rollback goes is `rollback`'s.

use std::fmt;

use crate::env_version::is_pin_of;
use crate::files::Given;
use crate::journal::Kind;
use crate::name::{AskId, Digest, EnvId};
use crate::record::{Act, Answer, Change, StackRecord, Standing};
use crate::release::Verdict;
use crate::taken_back::TakenBack;

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why: lower case, no full stop.
    pub why: String,
    /// What can be done instead.
    pub way_out: Option<String>,
}

impl Refused {
    /// With a way out.
    pub fn new(why: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            way_out: Some(way_out.into()),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Nothing is ordered while an operation is under way: its journal is finished first.
pub fn unless_busy(record: &StackRecord) -> Result<(), Refused> {
    match &record.operation {
        Some(open) => Err(Refused::new(
            format!("a {} is under way", open.operation.kind),
            "wait for its end: `steadfast status`",
        )),
        None => Ok(()),
    }
}

/// Whether something may be done about backups: nobody waits for it, and nothing that runs notices it, so that it may be
/// done in a pause and while the stack is held.
pub fn about_backups(record: &StackRecord) -> Result<(), Refused> {
    unless_busy(record)?;
    unless_let_go(record)
}

/// Of a stack that was let go nothing is touched: what would be granted here would not be done.
fn unless_let_go(record: &StackRecord) -> Result<(), Refused> {
    match &record.let_go {
        Some(_) => Err(Refused::new(
            "the stack was let go: desired.toml has no entry for it",
            "pin a release",
        )),
        None => Ok(()),
    }
}

/// The stack has an entry again. What was seen while it was let go counts for nobody, as after a pause.
pub fn taken_up(record: &StackRecord) -> Vec<Change> {
    match record.let_go {
        Some(_) => vec![Change::LetGo(None), Change::Health(Box::default())],
        None => Vec::new(),
    }
}

/// The end of a pause, where there is one. What was seen while hands were off counts for nobody: a
/// failure that a person worked on would be rolled back at once.
pub fn end_of_pause(record: &StackRecord) -> Vec<Change> {
    match record.pause {
        Some(_) => vec![Change::Pause(None), Change::Health(Box::default())],
        None => Vec::new(),
    }
}

/// Asks again for what was asked for: its quarantine is lifted, its tags are resolved anew, and what is
/// on trial is watched from the beginning. Whoever asks for that in a pause has ended it.
pub fn retry(record: &StackRecord, act: Act) -> Result<Vec<Change>, Refused> {
    unless_busy(record)?;
    unless_let_go(record)?;
    let Some(mut request) = record.request.clone() else {
        return Err(Refused::new("nothing was asked for yet", "pin a release"));
    };
    let id = request.id();
    let stands_in_its_way = |number| {
        record.standing == Standing::Quarantined(number)
            || record.generation(number).is_some_and(|g| g.request == id)
    };
    let lifted = record.quarantine.iter().map(|q| q.generation);
    let lifted = lifted
        .filter(|number| stands_in_its_way(*number))
        .map(Change::Lift);
    request.retries += 1;
    request.accepted = act.at.clone();
    let mut changes = vec![Change::Act(Box::new(act))];
    changes.extend(end_of_pause(record));
    if record.current().is_some_and(|g| g.verdict == Verdict::Trial) {
        changes.push(Change::Health(Box::default()));
    }
    changes.extend(lifted);
    changes.push(Change::Accept(Box::new(request)));
    Ok(changes)
}

/// Gives a person a version of an env file, as their own edit; `is_own`: of the stack's own `.env`, which generations
/// have had for longer than other files. `pin`: what desired.toml pins the file to. Nothing to change: it is there, and is
/// what is asked for.
pub fn give(
    record: &StackRecord,
    given: Given,
    is_own: bool,
    (id, pin): (&EnvId, Option<&EnvId>),
    act: Act,
) -> Result<Vec<Change>, Refused> {
    unless_files_are_put(record)?;
    unless_let_go(record)?;
    if let Some(pin) = pin.filter(|pin| !is_pin_of(pin, id)) {
        let tag = record
            .request
            .as_ref()
            .map_or("TAG", |request| request.desired.tag.as_str());
        return Err(Refused::new(
            format!(
                "desired.toml pins {} to {pin}: anything else is put back",
                given.path.display()
            ),
            format!(
                "change the pin: `steadfast pin {} {tag} --env {id}`",
                record.stack
            ),
        ));
    }
    let request = record.request.as_ref();
    let asked = request.and_then(|request| match request.files.get(&given.path) {
        Some(file) => file.content.as_ref(),
        None => request.env.as_ref().filter(|_| is_own),
    });
    if asked != Some(&given.to) {
        return Ok(vec![Change::Act(Box::new(act)), Change::Give(Box::new(given))]);
    }
    if given.from.as_ref() == Some(&given.to) {
        return Ok(Vec::new());
    }
    // What is asked for was left: it would be put back to what runs.
    if matches!(record.standing, Standing::Quarantined(_))
        && runs_on(record, &given, is_own) != Some(&given.to)
    {
        return Err(Refused::new(
            format!("{id} is what is asked for already, and was left for what runs"),
            format!(
                "`steadfast retry {}` tries it again, with its files",
                record.stack
            ),
        ));
    }
    Ok(vec![Change::Act(Box::new(act)), Change::Give(Box::new(given))])
}

/// The version of the file that what runs has, where that is known.
fn runs_on<'r>(record: &'r StackRecord, given: &Given, is_own: bool) -> Option<&'r Digest> {
    let current = record.current()?;
    match current.files.get(&given.path) {
        Some(file) => file.content.as_ref(),
        None => current.release.env.as_ref().filter(|_| is_own),
    }
}

/// While an operation is open that may put files, nobody else has them put.
fn unless_files_are_put(record: &StackRecord) -> Result<(), Refused> {
    match &record.operation {
        Some(open) if matches!(open.operation.kind, Kind::Fetch | Kind::Backup) => Ok(()),
        _ => unless_busy(record),
    }
}

/// Puts rows back that an operation has taken out of the database, as far as they have a place.
pub fn put_in(record: &StackRecord, of: u64) -> Result<(), Refused> {
    let taken = kept(record, of)?;
    if taken.waits() {
        return Ok(());
    }
    let why = format!("nothing of operation {of} waits for its place");
    Err(Refused::new(why, "`steadfast rows list` shows what is kept"))
}

/// Drops what is kept of what an operation has taken out of the database.
pub fn drop_rows(record: &StackRecord, of: u64, act: Act) -> Result<Vec<Change>, Refused> {
    unless_busy(record)?;
    let taken = kept(record, of)?;
    let mut put_in = taken.put_in.clone().unwrap_or_default();
    put_in
        .lines
        .push(format!("what was kept is dropped, by {}", act.by));
    put_in.waiting.clear();
    put_in.dropped = true;
    let dropped = TakenBack {
        put_in: Some(put_in),
        ..taken.clone()
    };
    Ok(vec![
        Change::Act(Box::new(act)),
        Change::TakeBack(of, Box::new(dropped)),
    ])
}

/// What was taken back by an operation, and is kept.
fn kept(record: &StackRecord, of: u64) -> Result<&TakenBack, Refused> {
    let way_out = "`steadfast rows list` shows what is kept";
    let Some(taken) = record.taken_back.get(&of) else {
        return Err(Refused::new(
            format!("nothing is kept of operation {of}"),
            way_out,
        ));
    };
    if taken.saved.is_none() {
        let why = format!("what operation {of} has taken out of the database is still in its copy alone");
        return Err(Refused::new(
            why,
            "it is kept when what runs is proven good; ask again then",
        ));
    }
    if taken.is_dropped() {
        let why = format!("what was kept of operation {of} is dropped already");
        return Err(Refused::new(why, way_out));
    }
    Ok(taken)
}

/// Answers what is asked. `seen`: the question that the person saw, where they said which; an answer
/// to another one is none.
pub fn answer(
    record: &StackRecord,
    seen: Option<&AskId>,
    answer: Answer,
    act: Act,
) -> Result<Vec<Change>, Refused> {
    unless_let_go(record)?;
    let Some(open) = record.approval.as_ref().filter(|a| a.answer.is_none()) else {
        return Err(Refused::new(
            "nothing waits for an approval",
            "see `steadfast status`",
        ));
    };
    if seen.is_some_and(|seen| *seen != open.id()) {
        return Err(Refused::new(
            "what is asked has changed",
            "read `steadfast status` again, and answer what it asks now",
        ));
    }
    // What is frozen has stopped half-way: what was asked before that is no question any more.
    if answer == Answer::Granted && record.hold.as_ref().is_some_and(|hold| hold.frozen) {
        let hold = record
            .hold
            .as_ref()
            .map(|hold| hold.why.clone())
            .unwrap_or_default();
        return Err(Refused::new(
            format!("the stack is held half-way: {hold}"),
            "see `steadfast status`",
        ));
    }
    let mut approval = open.clone();
    approval.answer = Some((answer, act.by.clone()));
    let mut changes = vec![
        Change::Act(Box::new(act)),
        Change::Approval(Some(Box::new(approval))),
    ];
    if answer == Answer::Granted {
        changes.push(Change::Hold(None));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests;
