//! Whether the schema stands where a generation was proven: asked here alone, by whoever goes back
//! or says whether it could be gone back. What follows from the answer is `rollback`'s.

use crate::observed::{Known, SchemaHead};
use crate::release::{Generation, GenerationNumber};

/// The one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaFit {
    /// It stands there; or there is no database to ask.
    Fits,
    /// It stands somewhere else. No word of a person makes that fit: it has to be moved.
    Differs {
        /// Where it stands.
        is: SchemaHead,
        /// Where the generation was proven.
        wanted: SchemaHead,
    },
    /// Nobody ever saw at which schema the generation was proven.
    NeverSeen,
    /// It cannot be seen now, and why. Not "it fits", not "it differs" (invariant 9).
    Unseen(String),
}

impl SchemaFit {
    /// Compares where `target` was proven with what was seen; `None`: no database is configured.
    pub fn of(target: &Generation, schema: Option<&Known<SchemaHead>>) -> Self {
        match (schema, &target.schema) {
            (None, _) => Self::Fits,
            (Some(_), None) => Self::NeverSeen,
            (Some(Known::Unknown(why)), Some(_)) => Self::Unseen(why.clone()),
            (Some(Known::Known(is)), Some(wanted)) if is == wanted => Self::Fits,
            (Some(Known::Known(is)), Some(wanted)) => Self::Differs {
                is: is.clone(),
                wanted: wanted.clone(),
            },
        }
    }

    /// What stands in the way of going back to `target`, for people; `None`: nothing.
    pub fn why_not(&self, target: GenerationNumber) -> Option<String> {
        match self {
            Self::Fits => None,
            Self::Differs { is, wanted } => Some(format!(
                "the schema stands at {}, generation {target} was proven at {}: going back would need a downgrade",
                head(is),
                head(wanted)
            )),
            Self::NeverSeen => Some(format!(
                "nobody knows at which schema generation {target} was proven"
            )),
            Self::Unseen(why) => Some(format!("the schema cannot be seen: {why}")),
        }
    }

    /// What a person can do about it.
    pub fn way_out(&self) -> &'static str {
        match self {
            Self::Fits => "`steadfast rollback`",
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
            Self::Fits | Self::NeverSeen | Self::Unseen(_) => true,
            Self::Differs { .. } => false,
        }
    }
}

/// A schema head for people.
pub fn head(head: &SchemaHead) -> String {
    match head {
        SchemaHead::NoTable => String::from("nothing (no version table)"),
        SchemaHead::At(revisions) if revisions.is_empty() => String::from("base"),
        SchemaHead::At(revisions) => revisions
            .iter()
            .map(crate::name::Revision::as_str)
            .collect::<Vec<_>>()
            .join(" + "),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

    use std::collections::BTreeSet;

    use super::*;
    use crate::fixture::{generation, release};
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
        let fit = SchemaFit::of(&target, schema.as_ref());
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
}
