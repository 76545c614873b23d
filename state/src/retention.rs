//! What may be forgotten: the one place that says what is still needed. What is needed is never
//! forgotten, [`StackRecord::apply`] refuses it; what is not needed is kept for a while, for people.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{Digest, ImageId};
use crate::record::{Ask, StackRecord, Standing};
use crate::release::GenerationNumber;
use crate::step::Step;
use crate::time::Moment;

/// So many good generations can be gone back to; what only older ones need is let go.
pub const KEPT_GOOD: usize = 5;
/// So many generations are kept for people, whatever became of them.
pub const KEPT_GENERATIONS: usize = 100;

/// What is forgotten at once, in one durable batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Surplus {
    /// These generations.
    pub generations: BTreeSet<GenerationNumber>,
    /// So many of the oldest rollbacks.
    pub rollbacks: usize,
    /// The migrations of these images.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub histories: BTreeSet<ImageId>,
}

/// The generations that something still refers to.
pub fn needed(record: &StackRecord) -> BTreeSet<GenerationNumber> {
    let mut needed: BTreeSet<GenerationNumber> = record.current.into_iter().collect();
    needed.extend(record.good().take(KEPT_GOOD).map(|g| g.number));
    needed.extend(record.quarantine.iter().map(|q| q.generation));
    // The next one counts on from the last.
    needed.extend(record.generations.last().map(|g| g.number));
    let open = record.operation.as_ref();
    needed.extend(open.and_then(|open| open.operation.generation));
    if let Standing::Applied(number) | Standing::Quarantined(number) = record.standing {
        needed.insert(number);
    }
    if let Some(restored) = &record.restored {
        needed.extend([restored.from, restored.to]);
    }
    if let Some(approval) = &record.approval
        && let Ask::Rollback { from, to } | Ask::RestoreBackup { from, to, .. } = approval.ask
    {
        needed.extend([from, to]);
    }
    needed
}

/// What may be forgotten now; `None`: nothing. `budget_per`: the span that the budget counts over.
pub fn surplus(record: &StackRecord, budget_per: Duration, now: &Moment) -> Option<Surplus> {
    let needed = needed(record);
    let old = record.generations.len().saturating_sub(KEPT_GENERATIONS);
    let generations = record.generations[..old].iter().map(|g| g.number);
    // One that is kept for longer would count anew after each start of the host.
    let past = |at: &Moment| now.surely_since(at) >= budget_per;
    let generations: BTreeSet<_> = generations.filter(|n| !needed.contains(n)).collect();
    let surplus = Surplus {
        histories: histories(record, &generations),
        generations,
        rollbacks: record.rollbacks.iter().take_while(|(_, at)| past(at)).count(),
    };
    (surplus != Surplus::default()).then_some(surplus)
}

/// The images whose migrations are known, and that neither the request in force names nor a generation that stays.
fn histories(record: &StackRecord, gone: &BTreeSet<GenerationNumber>) -> BTreeSet<ImageId> {
    let stay = record.generations.iter().filter(|g| !gone.contains(&g.number));
    let used: BTreeSet<&ImageId> = stay
        .flat_map(|g| g.release.images.values())
        .chain(record.resolved.values())
        .collect();
    let known = record.histories.keys();
    known.filter(|image| !used.contains(image)).cloned().collect()
}

/// The objects that a record refers to: what it asks for, and every generation that is kept.
pub fn objects(record: &StackRecord) -> BTreeSet<&Digest> {
    let request = record.request.iter();
    let asked = request.flat_map(|r| {
        let files = r.files.values().map(|file| file.content.as_ref());
        [Some(&r.spec), Some(&r.config), r.env.as_ref()]
            .into_iter()
            .chain(files)
    });
    let kept = record.generations.iter().flat_map(|g| {
        let release = &g.release;
        let files = g.files.values().map(|file| file.content.as_ref());
        [Some(&g.spec), Some(&release.config), release.env.as_ref()]
            .into_iter()
            .chain(files)
    });
    // What an open operation takes away, and would put back.
    let steps = record
        .operation
        .iter()
        .flat_map(|open| &open.operation.plan.steps);
    let replaced = steps.flat_map(|step| match step {
        Step::PutFiles { changes } => changes.as_slice(),
        _ => &[],
    });
    let replaced = replaced.flat_map(|change| [change.from.as_ref(), change.to.as_ref()]);
    let before = record.replaced.iter().map(|one| Some(&one.content));
    let brought = record.imported.iter().map(|one| Some(&one.content));
    asked
        .chain(kept)
        .chain(replaced)
        .chain(before)
        .chain(brought)
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests;
