//! Which schema revisions follow which, as the image of a release has them, and what lies between two heads. Nothing
//! here moves a schema, or asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::Revision;
use crate::observed::SchemaHead;
use crate::schema_fit::head;

/// The revisions that an image has, each with those right before it. A revision with several is a merge; one with
/// none is the first of its branch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Before", into = "Before")]
pub struct History {
    /// Shared: a record that knows it is cloned often.
    before: Arc<Before>,
}

/// Every revision, with those right before it.
type Before = BTreeMap<Revision, BTreeSet<Revision>>;

impl From<Before> for History {
    fn from(before: Before) -> Self {
        Self {
            before: Arc::new(before),
        }
    }
}

impl From<History> for Before {
    fn from(history: History) -> Self {
        Arc::unwrap_or_clone(history.before)
    }
}

/// Why a list of revisions is no history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoHistory {
    /// A script is missing from the image.
    #[error("revision {revision} follows {missing}, which the image does not have")]
    Gap {
        /// The revision whose script is there.
        revision: Revision,
        /// The one before it, whose script is not.
        missing: Revision,
    },
    /// No order is possible.
    #[error("revision {0} comes before itself")]
    Circle(Revision),
}

/// Why there is no way between two heads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// The image that would have to move the schema lacks a script.
    #[error("the image does not know revision {0}")]
    Unknown(Revision),
    /// The one is not below the other: one way would need both directions, or another branch.
    #[error("{to} is not below {from}: they are on different branches")]
    NotBelow {
        /// The head above, for people.
        from: String,
        /// The head below, for people.
        to: String,
    },
}

impl History {
    /// The history of these revisions, each with those right before it.
    pub fn new(before: Before) -> Result<Self, NoHistory> {
        for (revision, parents) in &before {
            if let Some(missing) = parents.iter().find(|parent| !before.contains_key(*parent)) {
                return Err(NoHistory::Gap {
                    revision: revision.clone(),
                    missing: missing.clone(),
                });
            }
        }
        let history = Self::from(before);
        match history.in_a_circle() {
            Some(revision) => Err(NoHistory::Circle(revision)),
            None => Ok(history),
        }
    }

    /// The revisions that no other one follows.
    pub fn heads(&self) -> BTreeSet<Revision> {
        let followed: BTreeSet<&Revision> = self.before.values().flatten().collect();
        let all = self.before.keys().filter(|revision| !followed.contains(revision));
        all.cloned().collect()
    }

    /// What a downgrade from one head to another takes back, in the order in which it does: the newest first. Empty
    /// where they are the same.
    pub fn down(&self, from: &SchemaHead, to: &SchemaHead) -> Result<Vec<Revision>, NoWay> {
        let (above, below) = (self.applied(from)?, self.applied(to)?);
        if !below.is_subset(&above) {
            return Err(NoWay::NotBelow {
                from: head(from),
                to: head(to),
            });
        }
        let mut crossed: Vec<Revision> = self
            .in_order()
            .filter(|revision| above.contains(*revision) && !below.contains(*revision))
            .cloned()
            .collect();
        crossed.reverse();
        Ok(crossed)
    }

    /// Whether all of these are applied where the schema stands at `head`.
    pub fn has_applied(&self, head: &SchemaHead, revisions: &[Revision]) -> bool {
        let applied = self.applied(head);
        applied.is_ok_and(|applied| revisions.iter().all(|revision| applied.contains(revision)))
    }

    /// What an upgrade from one head to another applies, in the order in which it does.
    pub fn up(&self, from: &SchemaHead, to: &SchemaHead) -> Result<Vec<Revision>, NoWay> {
        let mut crossed = self.down(to, from)?;
        crossed.reverse();
        Ok(crossed)
    }

    /// All that is applied where the schema stands at `head`: its revisions, and all before them.
    fn applied(&self, head: &SchemaHead) -> Result<BTreeSet<Revision>, NoWay> {
        let mut open: Vec<Revision> = match head {
            SchemaHead::NoTable => Vec::new(),
            SchemaHead::At(revisions) => revisions.iter().cloned().collect(),
        };
        let mut applied = BTreeSet::new();
        while let Some(revision) = open.pop() {
            let parents = self.before.get(&revision);
            let parents = parents.ok_or_else(|| NoWay::Unknown(revision.clone()))?;
            if applied.insert(revision) {
                open.extend(parents.iter().cloned());
            }
        }
        Ok(applied)
    }

    /// Every revision, none before one that it follows; by name where either order is right.
    fn in_order(&self) -> impl Iterator<Item = &Revision> {
        let mut placed: BTreeSet<&Revision> = BTreeSet::new();
        std::iter::from_fn(move || {
            let next = self.before.iter().find(|(revision, parents)| {
                !placed.contains(revision) && parents.iter().all(|parent| placed.contains(parent))
            })?;
            placed.insert(next.0);
            Some(next.0)
        })
    }

    fn in_a_circle(&self) -> Option<Revision> {
        let placed: BTreeSet<&Revision> = self.in_order().collect();
        let left = self.before.keys().find(|revision| !placed.contains(revision));
        left.cloned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn set(names: &str) -> BTreeSet<Revision> {
        names
            .split_whitespace()
            .map(|name| name.parse().unwrap())
            .collect()
    }

    fn at(names: &str) -> SchemaHead {
        SchemaHead::At(set(names))
    }

    /// `b:a` is revision b, which follows a.
    fn history(rows: &str) -> Result<History, NoHistory> {
        let row = |row: &str| {
            let (revision, before) = row.split_once(':').unwrap();
            (revision.parse().unwrap(), set(&before.replace(',', " ")))
        };
        History::new(rows.split_whitespace().map(row).collect())
    }

    #[track_caller]
    fn check(rows: &str, from: &SchemaHead, to: &SchemaHead, expected: Result<&str, &str>) {
        let history = history(rows).unwrap();
        let words = |way: Vec<Revision>| {
            let names: Vec<_> = way.iter().map(Revision::as_str).collect();
            names.join(" ")
        };
        let down = history.down(from, to);
        if let Ok(down) = &down {
            let mut up = history.up(to, from).unwrap();
            up.reverse();
            assert_eq!(*down, up, "up is down, the other way round");
        }
        let seen = down.map(words).map_err(|why| why.to_string());
        assert_eq!(seen, expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn a_downgrade_takes_back_the_newest_first() {
        let line = "a: b:a c:b d:c";
        check(line, &at("d"), &at("b"), Ok("d c"));
        check(line, &at("d"), &at("d"), Ok(""));
        check(line, &at("b"), &at(""), Ok("b a"));
        check(line, &at("b"), &SchemaHead::NoTable, Ok("b a"));
        // A name says nothing about the order.
        check("z: y:z a:y", &at("a"), &at("z"), Ok("a y"));
    }

    #[test]
    fn branches_are_sets() {
        let merged = "a: b:a c:a m:b,c n:m";
        check(merged, &at("n"), &at("a"), Ok("n m c b"));
        check(merged, &at("m"), &at("b c"), Ok("m"));
        check(merged, &at("m"), &at("b"), Ok("m c"));
        check(merged, &at("b c"), &at("b"), Ok("c"));
    }

    #[test]
    fn what_is_not_below_has_no_way() {
        let merged = "a: b:a c:a m:b,c";
        check(
            merged,
            &at("b"),
            &at("c"),
            Err("c is not below b: they are on different branches"),
        );
        check(
            merged,
            &at("a"),
            &at("m"),
            Err("m is not below a: they are on different branches"),
        );
        check(
            merged,
            &at("x"),
            &at("a"),
            Err("the image does not know revision x"),
        );
        check(
            merged,
            &at("m"),
            &at("x"),
            Err("the image does not know revision x"),
        );
    }

    #[test]
    fn heads_are_what_nothing_follows() {
        assert_eq!(history("a: b:a c:a").unwrap().heads(), set("b c"));
        assert_eq!(history("a: b:a c:a m:b,c").unwrap().heads(), set("m"));
        let line = history("a: b:a c:b").unwrap();
        let applied = |head: &str, names: &str| line.has_applied(&at(head), &Vec::from_iter(set(names)));
        assert!(applied("c", "b c") && applied("b", "a") && !applied("b", "b c") && !applied("x", "a"));
        assert_eq!(history("").unwrap().heads(), set(""));
    }

    #[test]
    fn a_list_with_a_gap_or_a_circle_is_no_history() {
        #[track_caller]
        fn refused(rows: &str, expected: &str) {
            assert_eq!(history(rows).unwrap_err().to_string(), expected);
        }
        refused("b:a", "revision b follows a, which the image does not have");
        refused("a:b b:a", "revision a comes before itself");
        refused("a: b:b", "revision b comes before itself");
    }
}
