//! Whether the schema stands where a generation was proven: asked here alone, by whoever goes back
//! or says whether it could be gone back. What follows from the answer is `rollback`'s.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bug::{self, Bug};
use crate::last_resort::RestoreBackup;
use crate::migration_tool::{Migration, MigrationTool};
use crate::migrations::History;
use crate::name::{ImageId, Revision};
use crate::observed::{Known, SchemaHead};
use crate::record::StackRecord;
use crate::release::{Generation, GenerationNumber, Release};
use crate::taken_back::Losses;

/// More revisions than this are not all said.
const NAMED: usize = 3;

/// Which way a schema is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// By the image of the release that is gone to, while the one before still serves.
    Up,
    /// By the image of the release that is left, which alone has the scripts, while nobody writes.
    Down,
}

/// A way of the schema from where it stands to where it is to stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaMove {
    /// Which way.
    pub direction: Direction,
    /// What moves it.
    pub by: Migration,
    /// Where it stands; `None`: the database is yet to be started, and nobody can know.
    pub from: Option<SchemaHead>,
    /// Where it is to stand.
    pub to: SchemaHead,
    /// What is crossed, in this order.
    pub revisions: Vec<Revision>,
    /// On the way down, what the scripts say that they destroy; those that nobody could read are missing.
    #[serde(default, skip_serializing_if = "Losses::is_empty")]
    pub losses: Losses,
    /// What the older release is declared to run with, and stays (`rollback_schema`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Revision>,
    /// Why no tool goes it, nor SQL of the operator's: only a backup leads there. `None`: one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_way: Option<String>,
}

impl SchemaMove {
    /// What is lost to the database on this way, a line each; what of it is kept, and put back later, is not said.
    pub fn destroys(&self) -> Vec<String> {
        if self.direction == Direction::Up {
            return Vec::new();
        }
        let mut lines = Vec::new();
        for revision in &self.revisions {
            let Some(losses) = self.losses.get(revision) else {
                lines.push(format!("{revision}: nobody can say what its downgrade destroys"));
                continue;
            };
            lines.extend(losses.iter().map(|loss| format!("{revision}: {loss}")));
        }
        lines
    }
}

impl fmt::Display for SchemaMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.direction {
            Direction::Up => "upgrade",
            Direction::Down => "downgrade",
        };
        write!(f, "{word} the schema")?;
        let to = match &self.from {
            Some(from) => {
                let (from, to) = apart(from, &self.to);
                write!(f, " from {from}")?;
                to
            }
            None => head(&self.to),
        };
        write!(f, " to {to} with image {}", self.by.image.short())
    }
}

/// What is known of the ways of a stack's schema.
#[derive(Debug, Clone, Copy)]
pub struct Ways<'a> {
    /// What moves it; `None`: the agent does not.
    pub tool: Option<&'a MigrationTool>,
    /// The stack.
    pub record: &'a StackRecord,
}

impl Ways<'_> {
    /// The way from `is` to `to`, where the release that is gone to has `image`: up by that one, else down by the one
    /// that is left. `Err`: why there is none.
    fn between(
        &self,
        tool: &MigrationTool,
        image: Option<&ImageId>,
        is: &SchemaHead,
        to: &SchemaHead,
    ) -> Result<SchemaMove, String> {
        let histories = &self.record.histories;
        let known = |image: Option<&ImageId>| image.and_then(|image| histories.get_key_value(image));
        let move_of = |direction, by: Migration, revisions: Vec<Revision>| SchemaMove {
            one_way: None,
            kept: Vec::new(),
            direction,
            losses: self.losses(tool, &by.image, direction, &revisions),
            by,
            from: Some(is.clone()),
            to: to.clone(),
            revisions,
        };
        let target = image;
        if let Some((image, history)) = known(image)
            && let Ok(revisions) = history.up(is, to)
        {
            let by = tool.upgrade(image, history, to, &revisions)?;
            return Ok(move_of(Direction::Up, by, revisions));
        }
        let Some((image, history)) = known(self.left(tool)) else {
            return Err(String::from(
                "nobody has read the migrations of the release that runs now",
            ));
        };
        let revisions = history.down(is, to).map_err(|why| why.to_string())?;
        let by_target = target.filter(|_| bug::is(Bug::DowngradeByTheTarget));
        let image = by_target.unwrap_or(image);
        let one_way = tool.one_way(history, &revisions).map_or(Ok(()), Err);
        let way = match one_way.and_then(|()| tool.downgrade(image, history, to, &revisions)) {
            Ok(by) => move_of(Direction::Down, by, revisions),
            Err(why) if tool.beside.backup == RestoreBackup::Never => {
                return Err(format!("{why}; write SQL for that, or restore_backup = \"ask\""));
            }
            Err(why) => SchemaMove {
                one_way: Some(why),
                ..move_of(Direction::Down, tool.nobody(image), revisions)
            },
        };
        Ok(way)
    }

    /// The way back from `is` to where a generation was proven, as far as what lies between is not declared to stay. `Ok(None)`:
    /// all of it is.
    fn back(
        &self,
        tool: &MigrationTool,
        image: Option<&ImageId>,
        is: &SchemaHead,
        to: &SchemaHead,
    ) -> Result<Back, String> {
        let Some((history, crossed)) = self.crossed(tool, is, to) else {
            return self
                .between(tool, image, is, to)
                .map(|way| Back::Moves(Box::new(way)));
        };
        let taken = tool.declared.taken(&crossed);
        if taken.is_empty() {
            return Ok(Back::Stays(crossed));
        }
        let to = if taken.len() == crossed.len() {
            to.clone()
        } else {
            history.without(is, taken).map_err(|why| why.to_string())?
        };
        let way = self.between(tool, image, is, &to)?;
        let kept = crossed[taken.len()..].to_vec();
        Ok(Back::Moves(Box::new(SchemaMove { kept, ..way })))
    }

    /// What lies between two heads of which the second is below the first, the newest first, with who knows that: the release
    /// that is left, else whoever has these revisions. To leave them nobody needs their scripts.
    fn crossed(
        &self,
        tool: &MigrationTool,
        is: &SchemaHead,
        to: &SchemaHead,
    ) -> Option<(&History, Vec<Revision>)> {
        let histories = &self.record.histories;
        let left = self.left(tool).and_then(|image| histories.get(image));
        let mut all = left.into_iter().chain(histories.values());
        all.find_map(|history| {
            let crossed = history.down(is, to).ok()?;
            (!crossed.is_empty()).then_some((history, crossed))
        })
    }

    /// The image with the scripts of the release that runs.
    fn left(&self, tool: &MigrationTool) -> Option<&ImageId> {
        self.record.current()?.release.images.get(&tool.service)
    }

    fn losses(
        &self,
        tool: &MigrationTool,
        image: &ImageId,
        direction: Direction,
        revisions: &[Revision],
    ) -> Losses {
        let says = direction == Direction::Down && tool.commands.way_back.is_some();
        let known = self.record.losses.get(image).filter(|_| says);
        let known = known.into_iter().flat_map(|losses| losses.iter());
        known
            .filter(|(revision, _)| revisions.contains(revision))
            .map(|(revision, losses)| (revision.clone(), losses.clone()))
            .collect()
    }

    /// What becomes of the schema where `release` is deployed. `is`: where it stands; `None`: the database is yet
    /// to be started. `Ok(None)`: nothing.
    pub fn of_release(
        &self,
        release: &Release,
        is: Option<&SchemaHead>,
    ) -> Result<Option<SchemaMove>, String> {
        let Some(tool) = self.tool else { return Ok(None) };
        let image = release.images.get(&tool.service);
        let history = image.and_then(|image| self.record.histories.get_key_value(image));
        let Some((image, history)) = history else {
            return Err(format!("the migrations of {} are not known", tool.service));
        };
        let runs = self.left(tool).and_then(|image| self.record.histories.get(image));
        let to = tool.wanted(&release.migration, history, is, runs)?;
        // An image that has lost its migrations would have all of them taken back.
        if let Some(is) = is.filter(|is| history.heads().is_empty() && !same(is, &SchemaHead::NoTable)) {
            return Err(format!(
                "the image of {} has no migrations at all, and the schema stands at {}",
                tool.service,
                head(is)
            ));
        }
        match is {
            Some(is) if same(is, &to) => Ok(None),
            Some(is) => self.between(tool, Some(image), is, &to).map(Some),
            None => upgrade_of_what_is_not_there(tool, image, history, to).map(Some),
        }
    }
}

fn upgrade_of_what_is_not_there(
    tool: &MigrationTool,
    image: &ImageId,
    history: &History,
    to: SchemaHead,
) -> Result<SchemaMove, String> {
    Ok(SchemaMove {
        direction: Direction::Up,
        by: tool.upgrade(image, history, &to, &[])?,
        from: None,
        to,
        revisions: Vec::new(),
        losses: Losses::new(),
        one_way: None,
        kept: Vec::new(),
    })
}

/// Whether two heads are the same to a migration: no version table, and an empty one.
pub fn same(a: &SchemaHead, b: &SchemaHead) -> bool {
    let none = |head: &SchemaHead| match head {
        SchemaHead::NoTable => true,
        SchemaHead::At(revisions) => revisions.is_empty(),
    };
    a == b || (none(a) && none(b))
}

/// What becomes of a schema that stands above where a generation was proven.
enum Back {
    Moves(Box<SchemaMove>),
    Stays(Vec<Revision>),
}

/// Whether the schema stands where a generation was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaFit {
    /// It stands there; or there is no database to ask.
    Fits,
    /// It stands somewhere else, and is moved there on the way.
    Moves(SchemaMove),
    /// It stands above that, and stays: what lies between is declared to fit.
    Stays {
        /// Where it stands.
        is: SchemaHead,
        /// What lies between, the newest first.
        kept: Vec<Revision>,
    },
    /// It stands somewhere else. No word of a person makes that fit: it has to be moved.
    Differs {
        /// Where it stands.
        is: SchemaHead,
        /// Where the generation was proven.
        wanted: SchemaHead,
        /// Why it is not moved; `None`: nobody told the agent how.
        why: Option<String>,
    },
    /// Nobody ever saw at which schema the generation was proven.
    NeverSeen,
    /// It cannot be seen now, and why. Not "it fits", not "it differs" (invariant 9).
    Unseen(String),
}

impl SchemaFit {
    /// Compares where `target` was proven with what was seen; `schema` is `None` where no database is configured.
    pub fn of(ways: Ways<'_>, target: &Generation, schema: Option<&Known<SchemaHead>>) -> Self {
        let (is, wanted) = match (schema, &target.schema) {
            (None, _) => return Self::Fits,
            (Some(_), None) => return Self::NeverSeen,
            (Some(Known::Unknown(why)), Some(_)) => return Self::Unseen(why.clone()),
            (Some(Known::Known(is)), Some(wanted))
                if is == wanted || (ways.tool.is_some() && same(is, wanted)) =>
            {
                return Self::Fits;
            }
            (Some(Known::Known(is)), Some(wanted)) => (is, wanted),
        };
        let image = |tool: &MigrationTool| target.release.images.get(&tool.service);
        let way = ways.tool.map(|tool| ways.back(tool, image(tool), is, wanted));
        match way {
            Some(Ok(Back::Moves(way))) => Self::Moves(*way),
            Some(Ok(Back::Stays(kept))) => Self::Stays { is: is.clone(), kept },
            way => Self::Differs {
                is: is.clone(),
                wanted: wanted.clone(),
                why: way.and_then(Result::err),
            },
        }
    }

    /// Where the schema stands when that generation serves again, where that is above where it was proven.
    pub fn kept_at(&self) -> Option<&SchemaHead> {
        match self {
            Self::Stays { is, .. } => Some(is),
            Self::Moves(way) if !way.kept.is_empty() => Some(&way.to),
            _ => None,
        }
    }

    /// What the older release is declared to run with.
    pub fn kept(&self) -> &[Revision] {
        match self {
            Self::Stays { kept, .. } => kept,
            Self::Moves(way) => &way.kept,
            _ => &[],
        }
    }

    /// What stands in the way of going back to `target`, for people; `None`: nothing.
    pub fn why_not(&self, target: GenerationNumber) -> Option<String> {
        match self {
            Self::Fits | Self::Moves(_) | Self::Stays { .. } => None,
            Self::Differs { is, wanted, why } => {
                let but = why.as_ref().map(|why| format!(", and {why}"));
                let (is, wanted) = apart(is, wanted);
                Some(format!(
                    "the schema stands at {is}, generation {target} was proven at {wanted}: going back would need a downgrade{}",
                    but.unwrap_or_default()
                ))
            }
            Self::NeverSeen => Some(format!(
                "nobody knows at which schema generation {target} was proven"
            )),
            Self::Unseen(why) => Some(format!("the schema cannot be seen: {why}")),
        }
    }

    /// What a person can do about it.
    pub fn way_out(&self) -> &'static str {
        match self {
            Self::Fits | Self::Moves(_) | Self::Stays { .. } => "`steadfast rollback`",
            Self::Differs { .. } => {
                "downgrade the schema by hand with the image that runs now, then `steadfast rollback`"
            }
            Self::NeverSeen => {
                "compare the migrations of the two releases; where they are the same, `steadfast rollback --schema-fits`"
            }
            Self::Unseen(_) => {
                "bring the database back, then `steadfast rollback`; or, if you know that the schema fits, `steadfast rollback --schema-fits`"
            }
        }
    }

    /// Whether a person who knows better may go back all the same: what nobody could see they may
    /// have looked up; what was seen to differ does.
    pub fn may_be_vouched_for(&self) -> bool {
        match self {
            Self::Fits | Self::Moves(_) | Self::Stays { .. } | Self::NeverSeen | Self::Unseen(_) => true,
            Self::Differs { .. } => false,
        }
    }
}

/// A schema head, for people. Of many revisions only the last by name are said.
pub fn head(head: &SchemaHead) -> String {
    words(head, &BTreeSet::new())
}

/// Two heads, for people: where they are of many revisions, what is in both is counted.
pub fn apart(a: &SchemaHead, b: &SchemaHead) -> (String, String) {
    let (SchemaHead::At(of_a), SchemaHead::At(of_b)) = (a, b) else {
        return (head(a), head(b));
    };
    let both: BTreeSet<Revision> = if of_a.len().max(of_b.len()) > NAMED {
        of_a.intersection(of_b).cloned().collect()
    } else {
        BTreeSet::new()
    };
    (words(a, &both), words(b, &both))
}

fn words(head: &SchemaHead, counted: &BTreeSet<Revision>) -> String {
    let revisions = match head {
        SchemaHead::NoTable => return String::from("nothing (no version table)"),
        SchemaHead::At(revisions) if revisions.is_empty() => return String::from("base"),
        SchemaHead::At(revisions) => revisions,
    };
    let mut named: Vec<&str> = revisions.difference(counted).map(Revision::as_str).collect();
    if named.len() > NAMED {
        named.drain(..=named.len() - NAMED);
    }
    match (named.join(" + "), revisions.len() - named.len()) {
        (named, 0) => named,
        (named, others) if named.is_empty() => format!("{others} revisions"),
        (named, others) => format!("{named} + {others} more"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

    use std::collections::BTreeSet;

    use super::*;
    use crate::fixture::{generation, record, release};
    use crate::release::Verdict;

    fn heads(revisions: &[&str]) -> SchemaHead {
        SchemaHead::At(
            revisions
                .iter()
                .map(|r| r.parse().unwrap())
                .collect::<BTreeSet<_>>(),
        )
    }

    fn seen(revisions: &[&str]) -> Known<SchemaHead> {
        Known::Known(heads(revisions))
    }

    #[track_caller]
    fn check(proven: Option<SchemaHead>, schema: Option<Known<SchemaHead>>, vouched: bool, expect: &str) {
        let mut target = generation(3, release(&[("api", 1)]), Verdict::Good);
        target.schema = proven;
        let record = record(Vec::new());
        let ways = Ways {
            tool: None,
            record: &record,
        };
        let fit = SchemaFit::of(ways, &target, schema.as_ref());
        let words = fit.why_not(target.number).unwrap_or_else(|| String::from("fits"));
        assert_eq!(words, expect);
        assert_eq!(fit.may_be_vouched_for(), vouched);
        assert!(fit.way_out().contains("steadfast rollback"));
    }

    #[test]
    fn every_pair_of_what_was_proven_and_what_is_seen_has_one_answer() {
        let away = || Some(Known::Unknown(String::from("connection refused")));
        check(Some(heads(&["a1"])), Some(seen(&["a1"])), true, "fits");
        check(
            Some(heads(&["a1", "b2"])),
            Some(seen(&["b2", "a1"])),
            true,
            "fits",
        );
        check(
            Some(SchemaHead::NoTable),
            Some(Known::Known(SchemaHead::NoTable)),
            true,
            "fits",
        );
        // No database is configured: there is nothing that could differ.
        check(Some(heads(&["a1"])), None, true, "fits");
        check(None, None, true, "fits");
        check(
            Some(heads(&["a1"])),
            Some(seen(&["a1", "b2"])),
            false,
            "the schema stands at a1 + b2, generation 3 was proven at a1: going back would need a downgrade",
        );
        // An empty version table is not a missing one.
        check(
            Some(SchemaHead::NoTable),
            Some(seen(&[])),
            false,
            "the schema stands at base, generation 3 was proven at nothing (no version table): going back would need a downgrade",
        );
        check(
            None,
            Some(seen(&["a1"])),
            true,
            "nobody knows at which schema generation 3 was proven",
        );
        // Waiting for the database would not help: it does not know either.
        check(
            None,
            away(),
            true,
            "nobody knows at which schema generation 3 was proven",
        );
        check(
            Some(heads(&["a1"])),
            away(),
            true,
            "the schema cannot be seen: connection refused",
        );
    }

    #[test]
    fn of_many_revisions_what_is_in_both_is_counted() {
        assert_eq!(head(&heads(&["a", "b", "c"])), "a + b + c");
        assert_eq!(head(&heads(&["a", "b", "c", "d", "e"])), "d + e + 3 more");
        let (many, more) = (heads(&["a", "b", "c", "d"]), heads(&["a", "b", "c", "d", "e"]));
        let both = |a: &SchemaHead, b: &SchemaHead| {
            let (a, b) = apart(a, b);
            format!("{a} | {b}")
        };
        assert_eq!(both(&more, &many), "e + 4 more | 4 revisions");
        assert_eq!(both(&heads(&["x"]), &many), "x | c + d + 2 more");
        assert_eq!(both(&heads(&["a"]), &heads(&["a", "b"])), "a | a + b");
        assert_eq!(both(&heads(&[]), &many), "base | c + d + 2 more");
        assert_eq!(
            both(&SchemaHead::NoTable, &heads(&["a"])),
            "nothing (no version table) | a"
        );
    }
}
