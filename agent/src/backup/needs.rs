//! What still needs a backup: a pure function over the record and the manifests.

use std::collections::BTreeMap;
use std::fmt;

use state::backup::{BackupId, Dumped};
use state::record::{Ask, StackRecord};
use state::release::GenerationNumber;
use state::retention::KEPT_GOOD;
use state::schema_fit::same;
use state::step::Step;

use super::manifest::{How, Manifest};

/// What needs a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The newest proven one with the schema of a generation that can be gone back to: its rows, where no way leads
    /// the schema back.
    Generation(GenerationNumber),
    /// An operation that is not at its end has made it, or works on it.
    Operation(u64),
    /// A person is asked whether it is gone back to.
    Question,
    /// The rows that a way back has taken out of the database, which nothing else has: a person's to let go.
    TakenBack,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generation(number) => write!(f, "generation {number}"),
            Self::Operation(id) => write!(f, "operation {id}"),
            Self::Question => f.write_str("a question to a person"),
            Self::TakenBack => f.write_str("the rows that a rollback has taken back"),
        }
    }
}

/// What needs which backup.
pub fn needs(record: &StackRecord, backups: &[Manifest]) -> BTreeMap<BackupId, Vec<Need>> {
    let mut needs: BTreeMap<BackupId, Vec<Need>> = BTreeMap::new();
    let mut generations: Vec<_> = record.good().take(KEPT_GOOD).chain(record.current()).collect();
    generations.sort_by_key(|generation| generation.number);
    generations.dedup_by_key(|generation| generation.number);
    for generation in generations {
        let fits = |backup: &&Manifest| {
            let proven = backup
                .verified
                .as_ref()
                .is_some_and(|verified| verified.how == How::Restored);
            let schema = generation.schema.as_ref();
            proven && schema.is_some_and(|schema| same(schema, &backup.counted.head))
        };
        if let Some(newest) = backups.iter().filter(fits).max_by(|a, b| a.id.cmp(&b.id)) {
            let need = Need::Generation(generation.number);
            needs.entry(newest.id.clone()).or_default().push(need);
        }
    }
    for backup in backups.iter().filter(|backup| backup.copy.is_some()) {
        needs.entry(backup.id.clone()).or_default().push(Need::TakenBack);
    }
    if let Some(Ask::RestoreBackup { backup, .. }) = record.approval.as_ref().map(|approval| &approval.ask) {
        needs.entry(backup.clone()).or_default().push(Need::Question);
    }
    if let Some(open) = &record.operation {
        let id = open.operation.id;
        let works_on = |backup: &&Manifest| {
            let named = open
                .operation
                .plan
                .steps
                .iter()
                .any(|step| is_about(step, &backup.id));
            named || backup.id.operation() == id
        };
        for backup in backups.iter().filter(works_on) {
            needs
                .entry(backup.id.clone())
                .or_default()
                .push(Need::Operation(id));
        }
    }
    needs
}

fn is_about(step: &Step, id: &BackupId) -> bool {
    match step {
        Step::VerifyBackup { backup, .. } => backup == id,
        Step::RestoreBeside {
            dump: Dumped::Backup(backup),
        } => backup == id,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use state::journal::{Kind, OpenOperation, Operation};
    use state::name::Digest;
    use state::observed::SchemaHead;
    use state::plan::Plan;
    use state::release::{Author, Verdict};

    use super::super::manifest::tests::sample;
    use super::*;
    use crate::view::sample as story;

    /// Of three, an hour apart, which operations' are needed by what? `at`: the schema of each, and whether it was
    /// restored.
    fn check(record: &StackRecord, at: [(&str, bool); 3], expected: &[(u64, &str)]) {
        let backups: Vec<Manifest> = (1..)
            .zip(at)
            .map(|(operation, (head, restored))| {
                let mut backup = sample(operation, i64::try_from(operation).unwrap());
                backup.counted.head = SchemaHead::At([head.parse().unwrap()].into());
                backup.verified = backup.verified.filter(|_| restored);
                backup
            })
            .collect();
        let found: Vec<(u64, String)> = needs(record, &backups)
            .into_iter()
            .flat_map(|(id, needs)| {
                needs
                    .into_iter()
                    .map(move |need| (id.operation(), need.to_string()))
            })
            .collect();
        let expected: Vec<(u64, String)> = expected
            .iter()
            .map(|(id, need)| (*id, (*need).to_owned()))
            .collect();
        assert_eq!(found, expected, "{at:?}");
    }

    #[test]
    fn the_newest_that_was_restored_serves_each_generation() {
        // Generations 1 and 2 are good.
        let mut record = story::snapshot("steady").record;
        for (generation, head) in record.generations.iter_mut().zip(["a1", "b2"]) {
            generation.schema = Some(SchemaHead::At([head.parse().unwrap()].into()));
        }
        let all = |head| [(head, true), (head, true), (head, true)];
        check(&record, all("a1"), &[(3, "generation 1")]);
        check(
            &record,
            [("a1", true), ("b2", true), ("b2", false)],
            &[(1, "generation 1"), (2, "generation 2")],
        );
        check(&record, all("c3"), &[]);
        record.generations[0].verdict = Verdict::Bad;
        check(&record, all("a1"), &[]);
        record.generations[1].schema = None;
        check(&record, all("b2"), &[]);
    }

    #[test]
    fn what_a_rollback_has_taken_back_stays_until_a_person_lets_it_go() {
        let record = story::snapshot("nothing yet").record;
        let mut backup = sample(2, 2);
        assert!(needs(&record, std::slice::from_ref(&backup)).is_empty());
        backup.copy = Some("shop_steadfast_2".parse().unwrap());
        let needs = needs(&record, std::slice::from_ref(&backup));
        assert_eq!(needs.get(&backup.id), Some(&vec![Need::TakenBack]));
    }

    #[test]
    fn what_an_operation_works_on_stays() {
        let mut record = story::snapshot("nothing yet").record;
        let backup = sample(2, 2).id;
        let step = Step::VerifyBackup {
            backup,
            proof: state::backup::Proof::Restore,
        };
        record.operation = Some(OpenOperation::new(Operation {
            id: 3,
            kind: Kind::Backup,
            generation: None,
            request: Digest::of(b""),
            by: Author::Agent,
            why: String::new(),
            begun: story::snapshot("steady").taken,
            plan: Plan::of(vec![step]),
        }));
        let at = [("a1", false); 3];
        check(&record, at, &[(2, "operation 3"), (3, "operation 3")]);
    }
}
