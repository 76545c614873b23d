//! Holds: why the agent does no more by itself, and which facts make that moot. What sets a hold is
//! `decide`'s and `rollback`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::Overall;
use crate::observed::{Known, SchemaHead};
use crate::record::StackRecord;
use crate::release::{GenerationNumber, Verdict};
use crate::rollback::target;
use crate::schema_fit::same;
use crate::time::Moment;

/// Why a stack is held: the agent heals the release that runs, and waits with the rest. A new request,
/// `retry` and a rollback end any hold; what else ends it is in `until`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Since when.
    pub since: Moment,
    /// Why, for people.
    pub why: String,
    /// What a person can do.
    pub way_out: String,
    /// Whether everything is left as it stands, unhealed: `failure_action: pause` asked for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
    /// Whether the schema could not be taken back by whatever there was to try: the backup from before may be gone
    /// back to, where a person agrees.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_way_down: bool,
    /// Any of these facts ends it. None of them: only a person does.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub until: BTreeSet<Fact>,
}

/// What can make a hold moot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Every required probe of what runs passes, for as long as proves a release: the failure is over,
    /// and not only between two of its fits.
    Healthy,
    /// There is a good generation to go back to.
    Target,
    /// What runs is proven.
    Proven,
    /// It can be seen where the schema stands, and nothing has to be looked for in it.
    Schema,
    /// The schema stands where what runs was proven.
    SchemaFits,
}

impl Fact {
    /// The word in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Target => "target",
            Self::Proven => "proven",
            Self::Schema => "schema",
            Self::SchemaFits => "schema_fits",
        }
    }
}

impl Hold {
    /// Whether this one may take the place of `other`: only where it says more. Nothing follows from a
    /// hold that is written anew, but that nobody knows any more since when, and what it was for; and
    /// what is frozen is half-way about data: no fact makes it right.
    pub fn outweighs(&self, other: &Self) -> bool {
        let stricter = self.until != other.until && self.until.is_subset(&other.until);
        !other.frozen && (self.frozen || stricter)
    }

    /// Whether one of the facts that it waits for is there.
    pub fn is_over(&self, facts: &BTreeSet<Fact>) -> bool {
        !self.until.is_disjoint(facts)
    }
}

/// The facts as they are. `good_after`: how long is healthy enough. `crash`: a service dies again and again; that its probes pass in between is
/// no health. A generation that was left, and runs on because going back is not possible, is not made
/// right by its health either.
pub fn facts(
    record: &StackRecord,
    overall: &Overall,
    good_after: Duration,
    crash: bool,
    available: &BTreeMap<GenerationNumber, Result<(), String>>,
    schema: Option<&Known<SchemaHead>>,
) -> BTreeSet<Fact> {
    let verdict = record.current().map(|current| current.verdict);
    let lasts = *overall == Overall::Healthy && record.health.healthy_for() >= good_after;
    let healthy = lasts && !crash && verdict != Some(Verdict::Bad);
    let all = [
        (healthy, Fact::Healthy),
        (target(record, available).is_ok(), Fact::Target),
        (verdict == Some(Verdict::Good), Fact::Proven),
        (
            schema.is_none_or(|schema| schema.known().is_some() && record.unseen.is_none()),
            Fact::Schema,
        ),
        (
            schema.is_none()
                || (schema.is_some_and(|s| s.known().is_some()) && moved(record, schema).is_none()),
            Fact::SchemaFits,
        ),
    ];
    all.into_iter()
        .filter_map(|(is, fact)| is.then_some(fact))
        .collect()
}

/// Where the schema stands, and where what runs was proven, where that is seen to be another place. No operation of the
/// agent leaves it so: somebody has moved it.
pub fn moved<'a>(
    record: &'a StackRecord,
    schema: Option<&'a Known<SchemaHead>>,
) -> Option<(&'a SchemaHead, &'a SchemaHead)> {
    let current = record.current().filter(|g| g.verdict == Verdict::Good)?;
    let (is, proven) = (schema?.known()?, current.schema.as_ref()?);
    (!same(is, proven)).then_some((is, proven))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::fixture::{at, generation, record, release, service};
    use crate::policy::Severity;

    fn failing() -> Overall {
        Overall::Failing {
            probes: vec![("api".parse().unwrap(), service("api"), String::from("500"))],
            severity: Severity::Critical,
        }
    }

    /// Generation 1 is good, 2 runs.
    fn facts_of(verdict: Verdict, overall: &Overall, there: bool) -> BTreeSet<Fact> {
        let old = generation(1, release(&[("api", 1)]), Verdict::Good);
        let record = record(vec![old, generation(2, release(&[("api", 2)]), verdict)]);
        let image = if there { Ok(()) } else { Err(String::from("gone")) };
        facts(
            &record,
            overall,
            Duration::ZERO,
            false,
            &BTreeMap::from([(GenerationNumber(1), image)]),
            Some(&Known::Unknown(String::from("connection refused"))),
        )
    }

    #[test]
    fn the_facts_are_what_was_seen_and_nothing_else() {
        use Fact::{Healthy, Proven, Target};
        let check = |verdict, overall: &Overall, there, expected: &[Fact]| {
            let facts: Vec<Fact> = facts_of(verdict, overall, there).into_iter().collect();
            assert_eq!(facts, expected, "{verdict} {overall:?} {there}");
        };
        let silent = Overall::Undecided(String::from("no verdict yet"));
        check(Verdict::Trial, &Overall::Healthy, false, &[Healthy]);
        check(Verdict::Trial, &failing(), false, &[]);
        // Unknown is not healthy (invariant 9).
        check(Verdict::Trial, &silent, false, &[]);
        check(Verdict::Trial, &failing(), true, &[Target]);
        check(Verdict::Good, &Overall::Healthy, true, &[Healthy, Target, Proven]);
        // It was left: it stays held, however healthy.
        check(Verdict::Bad, &Overall::Healthy, false, &[]);
        check(Verdict::Bad, &failing(), true, &[Target]);
        // Between two deaths the probes may well pass.
        let dying = record(vec![generation(1, release(&[("api", 1)]), Verdict::Trial)]);
        let none = BTreeMap::new();
        let away = Known::Unknown(String::from("connection refused"));
        let seen = Known::Known(SchemaHead::NoTable);
        let well = |term, crash, schema| facts(&dying, &Overall::Healthy, term, crash, &none, Some(schema));
        assert!(well(Duration::ZERO, true, &away).is_empty());
        // Nor is a while without a failure the end of a service that flaps.
        let term = Duration::from_secs(300);
        assert!(well(term, false, &away).is_empty());
        let both = BTreeSet::from([Fact::Schema, Fact::SchemaFits]);
        assert_eq!(well(term, false, &seen), both);
    }

    #[test]
    fn a_schema_was_moved_where_it_is_seen_to_stand_elsewhere_than_what_runs_was_proven() {
        let heads = |name: &str| SchemaHead::At([name.parse().unwrap()].into());
        let check = |verdict, proven: Option<&str>, is: Option<Known<SchemaHead>>, expected: bool| {
            let mut current = generation(1, release(&[("api", 1)]), verdict);
            current.schema = proven.map(heads);
            let record = record(vec![current]);
            assert_eq!(
                moved(&record, is.as_ref()).is_some(),
                expected,
                "{proven:?} {is:?}"
            );
            let none = BTreeMap::new();
            let overall = failing();
            let facts = facts(&record, &overall, Duration::ZERO, false, &none, is.as_ref());
            let unseen = matches!(is, Some(Known::Unknown(_)));
            assert_eq!(
                facts.contains(&Fact::SchemaFits),
                !expected && !unseen,
                "{proven:?} {is:?}"
            );
        };
        let seen = |name| Some(Known::Known(heads(name)));
        check(Verdict::Good, Some("a1"), seen("a1"), false);
        check(Verdict::Good, Some("a1"), seen("b2"), true);
        check(
            Verdict::Good,
            Some("a1"),
            Some(Known::Known(SchemaHead::NoTable)),
            true,
        );
        // Unknown is no other place (invariant 9), and without a database nothing is compared.
        check(
            Verdict::Good,
            Some("a1"),
            Some(Known::Unknown(String::from("no answer"))),
            false,
        );
        check(Verdict::Good, Some("a1"), None, false);
        check(Verdict::Good, None, seen("b2"), false);
        // On trial it is still being brought to where it belongs.
        check(Verdict::Trial, Some("a1"), seen("b2"), false);
    }

    #[test]
    fn a_hold_ends_with_any_fact_it_waits_for_and_otherwise_by_a_person() {
        use Fact::{Healthy, Proven, Target};
        let is_over = |until: &[Fact], facts: &[Fact]| {
            let hold = Hold {
                since: at(0),
                why: String::new(),
                way_out: String::new(),
                frozen: false,
                no_way_down: false,
                until: until.iter().copied().collect(),
            };
            hold.is_over(&facts.iter().copied().collect())
        };
        assert!(is_over(&[Healthy, Target], &[Target]));
        assert!(is_over(&[Healthy, Target], &[Healthy, Proven]));
        assert!(!is_over(&[Proven], &[Healthy, Target]));
        assert!(!is_over(&[], &[Healthy, Target, Proven]));
        assert!(!is_over(&[Healthy], &[]));
    }

    #[test]
    fn a_hold_gives_way_to_a_stricter_one_alone_and_a_frozen_one_to_none() {
        use Fact::{Healthy, Proven, Target};
        let hold = |frozen, until: &[Fact]| Hold {
            since: at(0),
            why: String::new(),
            way_out: String::new(),
            frozen,
            no_way_down: false,
            until: until.iter().copied().collect(),
        };
        let check = |new: (bool, &[Fact]), old: (bool, &[Fact]), expected| {
            let outweighs = hold(new.0, new.1).outweighs(&hold(old.0, old.1));
            assert_eq!(outweighs, expected, "{new:?} for {old:?}");
        };
        // What nobody has waited for does not begin to be waited for.
        check((false, &[Proven]), (false, &[Healthy, Target]), false);
        check((false, &[Proven]), (false, &[Proven]), false);
        check((false, &[Proven]), (false, &[]), false);
        check((false, &[]), (false, &[]), false);
        check((false, &[]), (false, &[Healthy]), true);
        check((false, &[Healthy]), (false, &[Healthy, Target]), true);
        check((true, &[]), (false, &[]), true);
        check((false, &[Proven]), (true, &[]), false);
        check((true, &[]), (true, &[]), false);
    }

    /// A hold that an older version wrote waits for a person.
    #[test]
    fn a_hold_without_the_field_waits_for_a_person() {
        let text = r#"{"since":{"wall_ms":0,"boot_ms":0,"boot_id":"a"},"why":"x","way_out":"y"}"#;
        let hold: Hold = serde_json::from_str(text).unwrap();
        assert!(hold.until.is_empty() && !hold.frozen);
    }
}
