//! What an order of a person changes, and when it is refused. Where a rollback goes is `rollback`'s.

use std::fmt;

use crate::name::AskId;
use crate::record::{Act, Answer, Change, StackRecord, Standing};
use crate::release::Verdict;

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
