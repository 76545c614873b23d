//! Which schema revisions follow which, as the image of a release has them, and what lies between two heads. Nothing
//! here moves a schema, or asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::{Digest, Revision};
use crate::observed::SchemaHead;
use crate::schema_fit::apart;

/// The revisions that an image has, each with those right before it. A revision with several is a merge; one with
/// none is the first of its branch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Whole")]
pub struct History {
    /// Shared: a record that knows it is cloned often.
    whole: Arc<Whole>,
}

/// What the rows of a version table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionRows {
    /// The newest revision of each branch: what comes before it is applied too.
    #[default]
    Heads,
    /// Each revision that is applied, and no other one is.
    Applied,
}

/// Every revision, with those right before it.
type Before = BTreeMap<Revision, BTreeSet<Revision>>;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    before: Before,
    #[serde(default)]
    rows: VersionRows,
    /// Those that nothing takes back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    one_way: BTreeSet<Revision>,
    /// What of the tool's has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read_by: Option<Digest>,
}

/// Before there was more to be said than what comes before what, nothing else was.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Whole(Whole),
    Bare(Before),
}

impl From<Stored> for History {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Whole(whole) => Self {
                whole: Arc::new(whole),
            },
            Stored::Bare(before) => before.into(),
        }
    }
}

impl From<Before> for History {
    fn from(before: Before) -> Self {
        let whole = Whole {
            before,
            ..Whole::default()
        };
        Self {
            whole: Arc::new(whole),
        }
    }
}

impl From<History> for Whole {
    fn from(history: History) -> Self {
        Arc::unwrap_or_clone(history.whole)
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

    /// The same, of a tool whose version table has these rows.
    #[must_use]
    pub fn with_rows(self, rows: VersionRows) -> Self {
        self.with(|whole| whole.rows = rows)
    }

    /// The same, where nothing takes these back.
    #[must_use]
    pub fn with_one_way(self, one_way: BTreeSet<Revision>) -> Self {
        self.with(|whole| whole.one_way = one_way)
    }

    /// The same, as this reader has said it.
    #[must_use]
    pub fn with_reader(self, reader: Option<Digest>) -> Self {
        self.with(|whole| whole.read_by = reader)
    }

    /// Whether it was this reader that has said so: another one may say something else of the same image.
    pub fn is_read_by(&self, reader: &Digest) -> bool {
        self.whole.read_by.as_ref() == Some(reader)
    }

    fn with(self, change: impl FnOnce(&mut Whole)) -> Self {
        let mut whole = self.whole;
        change(Arc::make_mut(&mut whole));
        Self { whole }
    }

    /// Where the schema stands when all of them are applied.
    pub fn heads(&self) -> BTreeSet<Revision> {
        let followed: BTreeSet<&Revision> = match self.whole.rows {
            VersionRows::Heads => self.whole.before.values().flatten().collect(),
            VersionRows::Applied => BTreeSet::new(),
        };
        let all = self.whole.before.keys();
        all.filter(|revision| !followed.contains(revision))
            .cloned()
            .collect()
    }

    /// Where the schema stands when this one is applied, and what comes before it, and nothing else.
    pub fn at(&self, revision: &Revision) -> Result<SchemaHead, NoWay> {
        let only: BTreeSet<Revision> = [revision.clone()].into();
        Ok(SchemaHead::At(match self.whole.rows {
            VersionRows::Heads => only,
            VersionRows::Applied => self.closure(&only)?,
        }))
    }

    /// All that it has, by name.
    pub fn revisions(&self) -> impl Iterator<Item = &Revision> {
        self.whole.before.keys()
    }

    /// Whether it has this one.
    pub fn has(&self, revision: &Revision) -> bool {
        self.whole.before.contains_key(revision)
    }

    /// Those that nothing takes back.
    pub fn one_way(&self) -> &BTreeSet<Revision> {
        &self.whole.one_way
    }

    /// Of the revisions that `head` names and it has, those that come before no other of them.
    pub fn tips(&self, head: &SchemaHead) -> BTreeSet<Revision> {
        let named = revisions(head).filter(|revision| self.has(revision)).cloned();
        let named: BTreeSet<Revision> = named.collect();
        let before = named
            .iter()
            .flat_map(|revision| &self.whole.before[revision])
            .cloned()
            .collect();
        let below = self.closure(&before).unwrap_or_default();
        named.difference(&below).cloned().collect()
    }

    /// What a downgrade from one head to another takes back, in the order in which it does: the newest first. Empty
    /// where they are the same.
    pub fn down(&self, from: &SchemaHead, to: &SchemaHead) -> Result<Vec<Revision>, NoWay> {
        let (above, below) = (self.applied(from)?, self.applied(to)?);
        if !below.is_subset(&above) {
            let (from, to) = apart(from, to);
            return Err(NoWay::NotBelow { from, to });
        }
        // What stays may be of an image of long ago.
        if let Some(unknown) = above.difference(&below).find(|revision| !self.has(revision)) {
            return Err(NoWay::Unknown(unknown.clone()));
        }
        let mut crossed: Vec<Revision> = self
            .in_order()
            .filter(|revision| above.contains(*revision) && !below.contains(*revision))
            .cloned()
            .collect();
        crossed.reverse();
        Ok(crossed)
    }

    /// Where the schema stands when of what is applied at `head` these are taken back, which nothing that stays follows.
    pub fn without(&self, head: &SchemaHead, taken: &[Revision]) -> Result<SchemaHead, NoWay> {
        let mut left = self.applied(head)?;
        left.retain(|revision| !taken.contains(revision));
        Ok(SchemaHead::At(match self.whole.rows {
            VersionRows::Heads => self.tips(&SchemaHead::At(left)),
            VersionRows::Applied => left,
        }))
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

    /// All that is applied where the schema stands at `head`.
    fn applied(&self, head: &SchemaHead) -> Result<BTreeSet<Revision>, NoWay> {
        let named = revisions(head).cloned().collect();
        match self.whole.rows {
            VersionRows::Heads => self.closure(&named),
            VersionRows::Applied => Ok(named),
        }
    }

    /// These, and all before them.
    pub fn closure(&self, these: &BTreeSet<Revision>) -> Result<BTreeSet<Revision>, NoWay> {
        let mut open: Vec<Revision> = these.iter().cloned().collect();
        let mut all = BTreeSet::new();
        while let Some(revision) = open.pop() {
            let parents = self.whole.before.get(&revision);
            let parents = parents.ok_or_else(|| NoWay::Unknown(revision.clone()))?;
            if all.insert(revision) {
                open.extend(parents.iter().cloned());
            }
        }
        Ok(all)
    }

    /// Every revision, none before one that it follows; by name where either order is right.
    fn in_order(&self) -> impl Iterator<Item = &Revision> {
        let mut placed: BTreeSet<&Revision> = BTreeSet::new();
        std::iter::from_fn(move || {
            let next = self.whole.before.iter().find(|(revision, parents)| {
                !placed.contains(revision) && parents.iter().all(|parent| placed.contains(parent))
            })?;
            placed.insert(next.0);
            Some(next.0)
        })
    }

    fn in_a_circle(&self) -> Option<Revision> {
        let placed: BTreeSet<&Revision> = self.in_order().collect();
        let left = self
            .whole
            .before
            .keys()
            .find(|revision| !placed.contains(revision));
        left.cloned()
    }
}

fn revisions(head: &SchemaHead) -> impl Iterator<Item = &Revision> {
    match head {
        SchemaHead::NoTable => None,
        SchemaHead::At(revisions) => Some(revisions),
    }
    .into_iter()
    .flatten()
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
    fn what_is_left_when_the_newest_are_taken_back() {
        let taken = |names: &str| {
            names
                .split_whitespace()
                .map(|name| name.parse().unwrap())
                .collect::<Vec<_>>()
        };
        let line = history("a: b:a c:b d:c").unwrap();
        assert_eq!(line.without(&at("d"), &taken("d c")).unwrap(), at("b"));
        assert_eq!(line.without(&at("d"), &taken("")).unwrap(), at("d"));
        let rows = line.with_rows(VersionRows::Applied);
        assert_eq!(rows.without(&at("a b c z"), &taken("c")).unwrap(), at("a b z"));
        let merged = history("a: b:a c:a m:b,c").unwrap();
        assert_eq!(merged.without(&at("m"), &taken("m")).unwrap(), at("b c"));
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
    fn where_each_revision_has_a_row_nothing_else_is_applied() {
        let line = history("a: b:a c:b").unwrap().with_rows(VersionRows::Applied);
        assert_eq!(line.heads(), set("a b c"));
        let names = |way: Result<Vec<Revision>, NoWay>| {
            way.map(|way| way.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        // One that was written earlier and came later.
        assert_eq!(names(line.up(&at("a c"), &at("a b c"))).unwrap(), "b");
        assert_eq!(names(line.down(&at("a b c"), &at("a"))).unwrap(), "c b");
        // What stays is nobody's business.
        assert_eq!(names(line.down(&at("a b z"), &at("a z"))).unwrap(), "b");
        assert_eq!(
            names(line.down(&at("a z"), &at("a"))).unwrap_err(),
            NoWay::Unknown("z".parse().unwrap())
        );
        assert_eq!(line.at(&"b".parse().unwrap()).unwrap(), at("a b"));
        assert_eq!(line.tips(&at("a c z")), set("c"));
        assert!(!line.has_applied(&at("c"), &["a".parse().unwrap()]));
    }

    #[test]
    fn a_history_is_written_down_whole_and_an_old_one_is_read() {
        let old: History = serde_json::from_str(r#"{"a":[],"before":["a"]}"#).unwrap();
        assert_eq!(old, history("a: before:a").unwrap());
        let (reader, another) = (Digest::of(b"alembic history"), Digest::of(b"another"));
        assert!(!old.is_read_by(&reader));
        let new = old
            .with_rows(VersionRows::Applied)
            .with_one_way(set("a"))
            .with_reader(Some(reader.clone()));
        let text = serde_json::to_string(&new).unwrap();
        let again: History = serde_json::from_str(&text).unwrap();
        assert_eq!(again, new);
        assert!(again.is_read_by(&reader) && !again.is_read_by(&another));
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
