//! What still needs a backup: a pure function over the record and the manifests.

use std::collections::BTreeMap;
use std::fmt;

use state::backup::BackupId;
use state::record::StackRecord;
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
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generation(number) => write!(f, "generation {number}"),
            Self::Operation(id) => write!(f, "operation {id}"),
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
        _ => false,
    }
}
