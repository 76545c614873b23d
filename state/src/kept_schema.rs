//! `rollback_schema`: what a rollback does with the revisions that the older release does not have. Teams whose migrations only add
//! (expand) before a later one takes away (contract) declare that the older release runs with them: they may stay.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bug::{self, Bug};
use crate::name::Revision;

/// What becomes of a revision that a rollback leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollbackSchema {
    /// It is taken back.
    #[default]
    Downgrade,
    /// It stays: the older release is declared to run with it.
    Keep,
    /// It is taken back, once a person has agreed; whoever says `rollback` has.
    Ask,
}

/// What is declared of a stack's revisions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Declared {
    /// Of those that nothing is said of by name.
    pub otherwise: RollbackSchema,
    /// By name.
    pub of: BTreeMap<Revision, RollbackSchema>,
}

impl Declared {
    /// What is declared of one.
    pub fn of(&self, revision: &Revision) -> RollbackSchema {
        if bug::is(Bug::UndeclaredStays) {
            return RollbackSchema::Keep;
        }
        self.of.get(revision).copied().unwrap_or(self.otherwise)
    }

    /// Of what is crossed, the newest first, what is taken back: the last that may not stay, and all above it. What is below
    /// stays.
    pub fn taken<'c>(&self, crossed: &'c [Revision]) -> &'c [Revision] {
        let goes = |revision: &Revision| self.of(revision) != RollbackSchema::Keep;
        let last = crossed.iter().rposition(goes);
        let upto = match last {
            _ if bug::is(Bug::DeclaredIsTakenBack) => crossed.len(),
            Some(last) => last + 1,
            None => 0,
        };
        &crossed[..upto]
    }

    /// Whether a person may be asked at all.
    pub fn may_ask(&self) -> bool {
        self.otherwise == RollbackSchema::Ask || self.of.values().any(|what| *what == RollbackSchema::Ask)
    }

    /// The first of what is taken back that a person is asked about.
    pub fn asks_about<'c>(&self, taken: &'c [Revision]) -> Option<&'c Revision> {
        taken
            .iter()
            .find(|revision| self.of(revision) == RollbackSchema::Ask)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[track_caller]
    fn check(
        otherwise: RollbackSchema,
        of: &[(&str, RollbackSchema)],
        crossed: &str,
        taken: &str,
        asks: bool,
    ) {
        let declared = Declared {
            otherwise,
            of: of
                .iter()
                .map(|(name, what)| (name.parse().unwrap(), *what))
                .collect(),
        };
        let crossed: Vec<Revision> = crossed.split(' ').map(|name| name.parse().unwrap()).collect();
        let goes = declared.taken(&crossed);
        let names: Vec<&str> = goes.iter().map(Revision::as_str).collect();
        assert_eq!(names.join(" "), taken);
        assert_eq!(declared.asks_about(goes).is_some(), asks);
        assert_eq!(declared.may_ask(), asks);
    }

    #[test]
    fn what_may_stay_stays_where_nothing_below_it_goes() {
        use RollbackSchema::{Ask, Downgrade, Keep};
        check(Downgrade, &[], "c b", "c b", false);
        check(Keep, &[], "c b", "", false);
        check(Ask, &[], "c b", "c b", true);
        check(Downgrade, &[("b", Keep)], "c b", "c", false);
        // What stands above what goes cannot stay.
        check(Downgrade, &[("c", Keep)], "c b", "c b", false);
        check(Keep, &[("c", Downgrade)], "d c b", "d c", false);
        check(Keep, &[("c", Ask)], "d c b", "d c", true);
        check(Downgrade, &[("b", Keep), ("c", Keep)], "d c b", "d", false);
    }
}
