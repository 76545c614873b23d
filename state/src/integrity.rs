//! Whether a database is whole, before and after its schema moves or another one takes its place: the answers to the
//! operator's checks, and how many rows are in each table. Nothing here reads a row, and no value is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bug::{self, Bug};

/// So many tables are kept of a tally, by name; of the others the sum.
const MOST_TABLES: usize = 1000;
/// So many tables are named in one line.
const NAMED: usize = 5;

/// A check of the operator's, whole: it is asked before and after as it stood when the operation was planned. Its query and
/// what it expects are shown nowhere: there may be values in them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is known by.
    pub name: String,
    /// One query for one value.
    pub query: String,
    /// That value, as text.
    pub expect: String,
    /// How long the server may take.
    pub within: Duration,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Check({})", self.name)
    }
}

/// Their names, for people.
pub fn names(checks: &[Check]) -> String {
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    names.join(", ")
}

/// What a check has to say. The answer itself is kept by nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What is expected.
    Holds,
    /// Something else.
    Differs,
    /// The server refuses the question, in words without a value.
    Refused {
        /// Its words.
        said: String,
        /// Whether it names what is not there, as where a schema is another one.
        names: bool,
    },
    /// Nobody knows: it took too long, or somebody held a lock.
    Unknown(String),
}

/// By the name of the check.
pub type Answers = BTreeMap<String, Answer>;

impl Answer {
    /// For people, after the name of the check.
    pub fn words(&self) -> String {
        match self {
            Self::Holds => String::from("holds"),
            Self::Differs => String::from("differs from what is expected"),
            Self::Refused { said, .. } => format!("cannot be asked: {said}"),
            Self::Unknown(why) => format!("is not known: {why}"),
        }
    }
}

/// What has happened between the two times that a check was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Between {
    /// The schema was brought up.
    Upgrade,
    /// It was taken back.
    Downgrade,
    /// Another database was restored, to take the place of the one in use.
    Restore,
}

/// The checks that held before and do not any more, a line each. One that did not hold before, or that nobody could ask,
/// says nothing; nor does one that an older schema has no names for.
pub fn broken(before: &Answers, after: &Answers, between: Between) -> Vec<String> {
    let held = |name: &String| before.get(name) == Some(&Answer::Holds);
    let older = between != Between::Upgrade;
    let fails = |answer: &Answer| match answer {
        Answer::Holds | Answer::Unknown(_) => false,
        Answer::Refused { names, .. } => !(*names && older),
        Answer::Differs => true,
    };
    let place = match between {
        Between::Upgrade | Between::Downgrade => "after it",
        Between::Restore => "in what was restored",
    };
    let broken = after
        .iter()
        .filter(|(name, answer)| held(name) && fails(answer) && !bug::is(Bug::LossIsNotAsked));
    broken
        .map(|(name, answer)| {
            let answer = answer.words();
            format!("the integrity check {name} held before, and {answer} {place}")
        })
        .collect()
}

/// What else is to be told of checks: those that failed before, and those that nobody knows of.
pub fn told(before: &Answers, after: &Answers) -> Vec<String> {
    let lines = after.iter().filter_map(|(name, answer)| {
        let was = before.get(name);
        Some(match (was, answer) {
            (None | Some(Answer::Holds), Answer::Holds) => return None,
            (Some(Answer::Holds), answer) => {
                format!(
                    "the integrity check {name} held before, and {} now",
                    answer.words()
                )
            }
            (Some(was), Answer::Holds) => {
                format!(
                    "the integrity check {name} holds now, and before it {}",
                    was.words()
                )
            }
            (Some(was), answer) => format!(
                "the integrity check {name} says nothing: before it {}, and now it {}",
                was.words(),
                answer.words()
            ),
            (None, answer) => format!("the integrity check {name} {}", answer.words()),
        })
    });
    lines.collect()
}

/// How many rows are in the tables of a database.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Counted, by `schema.table`.
    pub tables: BTreeMap<String, u64>,
    /// Not counted, because there was no time left; with what the server's statistics say, where they say anything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub about: BTreeMap<String, Option<u64>>,
    /// How many tables there are beyond those that are kept by name.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more: u64,
    /// The rows in them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more_rows: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands on a reference")]
const fn is_none(number: &u64) -> bool {
    *number == 0
}

impl Tally {
    /// Of what was counted whole.
    pub fn of(tables: &BTreeMap<String, u64>) -> Self {
        Self {
            tables: tables.clone(),
            ..Self::default()
        }
        .bounded()
    }

    /// With no more tables than are kept.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        if let Some(last) = self.tables.keys().nth(MOST_TABLES).cloned() {
            let others = self.tables.split_off(&last);
            self.more += others.len() as u64;
            self.more_rows += others.values().sum::<u64>();
        }
        if let Some(last) = self.about.keys().nth(MOST_TABLES).cloned() {
            self.more += self.about.split_off(&last).len() as u64;
        }
        self
    }

    /// All rows that were counted, but for those of some tables.
    pub fn rows_but(&self, others: &BTreeSet<&String>) -> u64 {
        let counted = self.tables.iter().filter(|(table, _)| !others.contains(table));
        counted.map(|(_, rows)| rows).sum::<u64>() + self.more_rows
    }
}

/// The tables with another number of rows than before, those that have lost most first; only what was counted both times.
pub fn moved(before: &Tally, after: &Tally) -> Vec<(String, u64, u64)> {
    let names: BTreeSet<&String> = before.tables.keys().chain(after.tables.keys()).collect();
    let of = |tally: &Tally, table: &String| {
        if tally.about.contains_key(table) {
            return None;
        }
        // One that is not there has no row; where not all are kept by name, nobody knows.
        let none = (tally.more == 0).then_some(0);
        tally.tables.get(table).copied().or(none)
    };
    let both = names.into_iter().filter_map(|table| {
        let (then, now) = (of(before, table)?, of(after, table)?);
        (then != now).then(|| (table.clone(), then, now))
    });
    let mut moved: Vec<_> = both.collect();
    moved.sort_by_key(|(table, then, now)| (std::cmp::Reverse(then.saturating_sub(*now)), table.clone()));
    moved
}

/// The tables that have fewer rows than before, in one line; `None`: none has.
pub fn fewer(before: &Tally, after: &Tally) -> Option<String> {
    let fewer: Vec<_> = moved(before, after)
        .into_iter()
        .filter(|(_, then, now)| now < then)
        .collect();
    let mut words: Vec<String> = fewer
        .iter()
        .take(NAMED)
        .map(|(table, then, now)| format!("{table} {then} -> {now}"))
        .collect();
    if fewer.len() > NAMED {
        words.push(format!("{} more tables", fewer.len() - NAMED));
    }
    (!words.is_empty()).then(|| format!("fewer rows: {}", words.join(", ")))
}

/// What was seen of a database at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Look {
    /// What the checks said.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: Answers,
    /// The rows; `None`: nobody has counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Tally>,
}

/// What was seen before and after.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Look>,
    /// After.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Look>,
}

impl Seen {
    /// With what was seen later in the place of what was seen of the same.
    #[must_use]
    pub fn with(self, later: &Self) -> Self {
        let merge = |was: Option<Look>, is: &Option<Look>| match (was, is) {
            (was, None) => was,
            (None, Some(is)) => Some(is.clone()),
            (Some(mut was), Some(is)) => {
                was.answers.extend(is.answers.clone());
                was.rows = is.rows.clone().or(was.rows);
                Some(was)
            }
        };
        Self {
            before: merge(self.before, &later.before),
            after: merge(self.after, &later.after),
        }
    }
}

/// Which look at the database a step takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Before the schema is brought up.
    Before,
    /// After it.
    After,
    /// At what was restored beside the database, and at the one in use.
    Restored,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(all: &[(&str, Answer)]) -> Answers {
        let owned = all
            .iter()
            .map(|(name, answer)| ((*name).to_owned(), answer.clone()));
        owned.collect()
    }

    fn refused(names: bool) -> Answer {
        Answer::Refused {
            said: String::from("no"),
            names,
        }
    }

    #[test]
    fn only_what_held_before_can_break() {
        let unknown = Answer::Unknown(String::from("slow"));
        let all = [
            Answer::Holds,
            Answer::Differs,
            refused(true),
            refused(false),
            unknown,
        ];
        for before in &all {
            for after in &all {
                for between in [Between::Upgrade, Between::Downgrade, Between::Restore] {
                    let breaks = match (before, after) {
                        (Answer::Holds, Answer::Differs | Answer::Refused { names: false, .. }) => true,
                        (Answer::Holds, Answer::Refused { names: true, .. }) => between == Between::Upgrade,
                        _ => false,
                    };
                    let lines = broken(
                        &answers(&[("a", before.clone())]),
                        &answers(&[("a", after.clone())]),
                        between,
                    );
                    assert_eq!(!lines.is_empty(), breaks, "{before:?} {after:?} {between:?}");
                }
            }
        }
        // What nobody has asked before says nothing, and is told where it does not hold.
        let after = answers(&[("a", Answer::Differs)]);
        assert!(broken(&Answers::new(), &after, Between::Upgrade).is_empty());
        assert_eq!(
            told(&Answers::new(), &after),
            ["the integrity check a differs from what is expected"]
        );
        let both = answers(&[("a", Answer::Holds)]);
        assert!(told(&both, &both).is_empty());
        assert_eq!(
            told(&after, &after),
            [
                "the integrity check a says nothing: before it differs from what is expected, and now it differs from \
                 what is expected"
            ]
        );
    }

    fn tally(all: &[(&str, u64)]) -> Tally {
        let owned = all.iter().map(|(table, rows)| ((*table).to_owned(), *rows));
        Tally::of(&owned.collect())
    }

    #[test]
    fn tables_with_another_number_of_rows_are_told_those_that_lost_most_first() {
        let (before, mut after) = (
            tally(&[("a", 5), ("b", 9), ("c", 1), ("d", 3)]),
            tally(&[("a", 4), ("c", 1), ("d", 7), ("e", 2)]),
        );
        let line = |before: &Tally, after: &Tally| {
            let words: Vec<String> = moved(before, after)
                .into_iter()
                .map(|(table, then, now)| format!("{table} {then} {now}"))
                .collect();
            words.join(", ")
        };
        assert_eq!(line(&before, &after), "b 9 0, a 5 4, d 3 7, e 0 2");
        assert_eq!(
            fewer(&before, &after).as_deref(),
            Some("fewer rows: b 9 -> 0, a 5 -> 4")
        );
        // What was not counted has not changed.
        after.about.insert(String::from("b"), Some(9));
        assert_eq!(line(&before, &after), "a 5 4, d 3 7, e 0 2");
        assert_eq!(fewer(&before, &before), None);
    }

    #[test]
    fn beyond_so_many_tables_only_their_sum_is_kept() {
        let many: BTreeMap<String, u64> = (0..1003).map(|n| (format!("t{n:04}"), 2)).collect();
        let tally = Tally::of(&many);
        assert_eq!((tally.tables.len(), tally.more, tally.more_rows), (1000, 3, 6));
        assert_eq!(tally.rows_but(&BTreeSet::new()), 2006);
        assert_eq!(tally.rows_but(&BTreeSet::from([&String::from("t0001")])), 2004);
        let mut fewer = many.clone();
        fewer.remove("t1002");
        fewer.remove("t0001");
        // Nobody knows whether the one that came up by its name was there.
        let moved: Vec<String> = moved(&tally, &Tally::of(&fewer))
            .into_iter()
            .map(|(table, ..)| table)
            .collect();
        assert!(moved.is_empty(), "{moved:?}");
    }
}
