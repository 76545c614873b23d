//! Invariants 4 and 6's other half: what is blamed, and that it stays blamed. What a release is blamed for is
//! read here from the releases themselves, not from what the product makes of them.

use std::collections::BTreeMap;

use state::name::{ImageId, ServiceName};
use state::record::{Change, StackRecord};
use state::release::{Blame, Quarantine, Release};

use crate::world::World;

/// Whether `release` still has all that is blamed.
pub(super) fn still_has(blame: &Blame, release: &Release) -> bool {
    match blame {
        Blame::Content { images, migration } => {
            let differs =
                |(service, image): (&ServiceName, &ImageId)| release.images.get(service) != Some(image);
            !images.iter().any(differs) && migration.as_ref().is_none_or(|to| release.migration == *to)
        }
        Blame::Configuration { env, config } => {
            let same_env = env.as_ref().is_none_or(|env| release.env == *env);
            same_env && config.as_ref().is_none_or(|config| release.config == *config)
        }
        Blame::Tag { .. } => false,
        Blame::Whole(id) => release.id() == *id,
    }
}

/// The images of `bad` that are not those of `other`.
fn differing(bad: &Release, other: &Release) -> BTreeMap<ServiceName, ImageId> {
    let pairs = bad.images.iter();
    let differs = pairs.filter(|(service, image)| other.images.get(*service) != Some(*image));
    differs
        .map(|(service, image)| (service.clone(), image.clone()))
        .collect()
}

impl World {
    /// Only an operator's act takes something out of quarantine.
    pub(super) fn keeps_quarantine(&mut self, before: &StackRecord, after: &StackRecord, changes: &[Change]) {
        let by_person = changes.iter().any(|change| matches!(change, Change::Act(_)));
        let lost = before
            .quarantine
            .iter()
            .find(|entry| !after.quarantine.contains(entry));
        if let Some(entry) = lost.filter(|_| !by_person) {
            let words = format!(
                "generation {} is out of quarantine, and nobody said so",
                entry.generation
            );
            self.laws.breaks(4, words);
        }
    }

    /// Where images differ from what is gone back to, or what runs on, these are blamed and nothing else: an edit
    /// of anything else is no reason to try again.
    pub(super) fn blames_what_differed(
        &mut self,
        after: &StackRecord,
        changes: &[Change],
        entry: &Quarantine,
    ) {
        let back = changes.iter().find_map(|change| match change {
            Change::Open(operation) => operation.generation,
            _ => None,
        });
        let (Some(bad), Some(other)) = (
            after.generation(entry.generation),
            back.or(after.current).and_then(|number| after.generation(number)),
        ) else {
            return;
        };
        let images = differing(&bad.release, &other.release);
        let rightly = match &entry.blame {
            Blame::Tag { .. } => true,
            Blame::Content { images: blamed, .. } => *blamed == images,
            Blame::Configuration { .. } | Blame::Whole(_) => images.is_empty(),
        };
        if bad.number != other.number && !rightly {
            let words = format!(
                "generation {} is blamed for {}; its images differ in {:?}",
                bad.number,
                entry.blame,
                images.keys().collect::<Vec<_>>()
            );
            self.laws.breaks(4, words);
        }
    }
}
