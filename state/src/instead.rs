//! What is tried in the place of a downgrade that has failed for good. The operator's own SQL stands here as it is run;
//! whether it can be run in one transaction is asked where it is read.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::integrity::Check;
use crate::name::Revision;
use crate::schema_fit::{Direction, SchemaMove};
use crate::step::Step;

/// The most that is taken: it stands in the plan, which is written down.
pub const LONGEST: usize = 256 << 10;

/// SQL of the operator's. It is shown nowhere: there may be values in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ManualSql(String);

/// Why a text is no SQL that could be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSql {
    /// Nothing is in it.
    #[error("the SQL is empty")]
    Empty,
    /// Postgres takes no text with a NUL.
    #[error("the SQL has a NUL in it")]
    Nul,
    /// It is longer than [`LONGEST`].
    #[error("the SQL is longer than 256 KiB")]
    Long,
}

impl ManualSql {
    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ManualSql {
    type Error = NoSql;

    fn try_from(text: String) -> Result<Self, NoSql> {
        if text.trim().is_empty() {
            Err(NoSql::Empty)
        } else if text.contains('\0') {
            Err(NoSql::Nul)
        } else if text.len() > LONGEST {
            Err(NoSql::Long)
        } else {
            Ok(Self(text))
        }
    }
}

impl From<ManualSql> for String {
    fn from(sql: ManualSql) -> String {
        sql.0
    }
}

impl fmt::Debug for ManualSql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualSql({} bytes)", self.0.len())
    }
}

/// The operator's SQL that takes one revision back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualDown {
    /// The revision.
    pub revision: Revision,
    /// What takes it back.
    pub sql: ManualSql,
}

/// What stands in the place of one step, should that fail for good.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Instead {
    /// Tried in this order, each on what the step itself had found.
    pub steps: Vec<Step>,
    /// Why there is no more, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
}

/// What is tried where a way down fails: the operator's SQL, where every revision that is crossed has some. `checks`: what
/// is asked then. `None`: it is no way down.
pub fn instead_of(
    way: &SchemaMove,
    manual: &BTreeMap<Revision, ManualSql>,
    checks: &[Check],
) -> Option<Instead> {
    if way.direction == Direction::Up {
        return None;
    }
    let lacking: Vec<&str> = way
        .revisions
        .iter()
        .filter(|revision| !manual.contains_key(*revision))
        .map(Revision::as_str)
        .collect();
    if !lacking.is_empty() || way.revisions.is_empty() {
        let lacks = format!("there is no SQL of the operator's for {}", lacking.join(", "));
        return Some(Instead {
            steps: Vec::new(),
            lacks: (!lacking.is_empty()).then_some(lacks),
        });
    }
    let part = |revision: &Revision| {
        let sql = manual.get(revision)?.clone();
        let revision = revision.clone();
        Some(ManualDown { revision, sql })
    };
    Some(Instead {
        steps: vec![Step::ApplySql {
            parts: way.revisions.iter().filter_map(part).collect(),
            to: way.to.clone(),
            within: way.by.within,
            checks: checks.to_vec(),
        }],
        lacks: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::fixture::{downgrade, image};

    fn manual(revisions: &str) -> BTreeMap<Revision, ManualSql> {
        let sql = |name: &str| ManualSql::try_from(format!("UNDO {name} 'secret'")).unwrap();
        revisions
            .split_whitespace()
            .map(|name| (name.parse().unwrap(), sql(name)))
            .collect()
    }

    #[track_caller]
    fn check(crossed: &str, written: &str, expected: &str) {
        let instead = instead_of(&downgrade(&image(1), crossed, "a"), &manual(written), &[]).unwrap();
        let steps = instead.steps.iter().map(ToString::to_string);
        let words: Vec<String> = steps.chain(instead.lacks).collect();
        assert_eq!(words.join("; "), expected);
    }

    #[test]
    fn it_is_used_where_every_revision_has_some() {
        check(
            "c b",
            "b c d",
            "take the schema back to a with the operator's SQL (c, b)",
        );
        check("c b", "c", "there is no SQL of the operator's for b");
        check("c b", "", "there is no SQL of the operator's for c, b");
        let mut up = downgrade(&image(1), "c b", "a");
        up.direction = Direction::Up;
        assert_eq!(instead_of(&up, &manual("b c"), &[]), None);
    }

    #[test]
    fn it_is_shown_nowhere() {
        let instead = instead_of(&downgrade(&image(1), "b", "a"), &manual("b"), &[]).unwrap();
        let shown = format!("{instead:?} {}", instead.steps[0]);
        assert!(!shown.contains("secret"), "{shown}");
        let text = serde_json::to_string(&instead).unwrap();
        assert_eq!(serde_json::from_str::<Instead>(&text).unwrap(), instead);
    }

    #[test]
    fn what_cannot_be_run_is_none() {
        let no = |text: &str| ManualSql::try_from(text.to_owned()).unwrap_err();
        assert_eq!(no(" \n"), NoSql::Empty);
        assert_eq!(no("SELECT '\0'"), NoSql::Nul);
        assert_eq!(no(&"x".repeat(LONGEST + 1)), NoSql::Long);
        serde_json::from_str::<ManualSql>("\"\"").unwrap_err();
    }
}
