//! What operations have come to since the daemon was started, counted for those who watch it. Nothing is decided by it;
//! what happened before is in the ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use state::journal::Kind;
use state::operation::Halt;

use crate::took::Took;

/// What an operation can be for.
pub const KINDS: [Kind; 6] = [
    Kind::Fetch,
    Kind::Deploy,
    Kind::Heal,
    Kind::Rollback,
    Kind::Backup,
    Kind::Restore,
];

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Every step was done.
    Succeeded,
    /// A step failed, and all is as it was before.
    TakenBack,
    /// A step failed after the schema was moved.
    Left,
    /// A step failed, and all stays as it is, for a person.
    Paused,
    /// Something could not be taken back.
    Stuck,
    /// Something more urgent called it away.
    GaveWay,
}

impl Outcome {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::Succeeded,
        Self::TakenBack,
        Self::Left,
        Self::Paused,
        Self::Stuck,
        Self::GaveWay,
    ];

    /// What an operation has come to that halted so. `gave_way`: it was called away.
    pub const fn of(halt: &Halt, gave_way: bool) -> Self {
        match halt {
            Halt::Done => Self::Succeeded,
            Halt::TakenBack { passing: true, .. } | Halt::Left { passing: true, .. } if gave_way => {
                Self::GaveWay
            }
            Halt::TakenBack { .. } => Self::TakenBack,
            Halt::Left { .. } => Self::Left,
            Halt::Paused { .. } => Self::Paused,
            Halt::Stuck { .. } => Self::Stuck,
        }
    }

    /// The word in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::TakenBack => "taken_back",
            Self::Left => "left",
            Self::Paused => "paused",
            Self::Stuck => "stuck",
            Self::GaveWay => "gave_way",
        }
    }
}

/// How often something was done, and how long all of it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// How often.
    pub times: u64,
    /// All of it together.
    pub whole: Duration,
}

impl Spent {
    fn add(&mut self, span: Duration) {
        self.times += 1;
        self.whole = self.whole.saturating_add(span);
    }
}

/// The operations of one stack that have ended since the daemon was started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    ended: BTreeMap<(&'static str, Outcome), u64>,
    spent: BTreeMap<&'static str, Spent>,
    phases: BTreeMap<(&'static str, &'static str), Spent>,
}

impl Tally {
    /// What is told apart of an operation that has come to a good end.
    pub const PHASES: [&'static str; 4] = ["outage", "backup", "copy", "migration"];

    /// Counts an operation that has ended, after `whole`. `took`: how long its parts took, where that is known.
    pub fn count(&mut self, kind: Kind, outcome: Outcome, whole: Duration, took: Option<&Took>) {
        let kind = kind.as_str();
        *self.ended.entry((kind, outcome)).or_default() += 1;
        self.spent.entry(kind).or_default().add(whole);
        let Some(took) = took else { return };
        let parts = [took.outage, took.backup, took.copy, took.migration];
        // What an operation has no such step of takes no time, and says nothing of how long one takes.
        let had = Self::PHASES
            .into_iter()
            .zip(parts)
            .filter(|(_, span)| !span.is_zero());
        for (phase, span) in had {
            self.phases.entry((kind, phase)).or_default().add(span);
        }
    }

    /// How many of this kind have come to that.
    pub fn ended(&self, kind: Kind, outcome: Outcome) -> u64 {
        self.ended.get(&(kind.as_str(), outcome)).copied().unwrap_or(0)
    }

    /// How long those of this kind took, whatever they came to.
    pub fn spent(&self, kind: Kind) -> Spent {
        self.spent.get(kind.as_str()).copied().unwrap_or_default()
    }

    /// How long their parts took, by kind and phase; only what there was.
    pub fn phases(&self) -> impl Iterator<Item = (&'static str, &'static str, Spent)> {
        self.phases
            .iter()
            .map(|((kind, phase), spent)| (*kind, *phase, *spent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_counted_by_what_it_came_to() {
        let seconds = Duration::from_secs;
        let why = String::from("the port is taken");
        let failed = Halt::TakenBack { why, passing: true };
        let mut tally = Tally::default();
        tally.count(
            Kind::Deploy,
            Outcome::of(&Halt::Done, false),
            seconds(5),
            Some(&Took {
                operation: 1,
                kind: Kind::Deploy,
                moved: None,
                whole: seconds(5),
                outage: seconds(2),
                backup: seconds(1),
                copy: Duration::ZERO,
                migration: Duration::ZERO,
            }),
        );
        tally.count(Kind::Deploy, Outcome::of(&failed, false), seconds(3), None);
        tally.count(Kind::Heal, Outcome::of(&failed, true), seconds(1), None);
        assert_eq!(tally.ended(Kind::Deploy, Outcome::Succeeded), 1);
        assert_eq!(tally.ended(Kind::Deploy, Outcome::TakenBack), 1);
        assert_eq!(tally.ended(Kind::Heal, Outcome::TakenBack), 0);
        assert_eq!(tally.ended(Kind::Heal, Outcome::GaveWay), 1);
        assert_eq!(
            (tally.spent(Kind::Deploy).times, tally.spent(Kind::Deploy).whole),
            (2, seconds(8))
        );
        assert_eq!(tally.spent(Kind::Rollback), Spent::default());
        let phases: Vec<_> = tally
            .phases()
            .map(|(kind, phase, spent)| (kind, phase, spent.times))
            .collect();
        assert_eq!(phases, [("deploy", "backup", 1), ("deploy", "outage", 1)]);
    }
}
