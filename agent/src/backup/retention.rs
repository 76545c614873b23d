//! Which backups are kept: a pure function over their manifests.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use state::backup::BackupId;

use super::manifest::{How, Manifest};

/// What is kept. A backup goes only where nothing here keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest.
    pub newest: usize,
    /// Whatever is not older.
    pub younger_than: Duration,
}

/// The backups that may go, oldest first. Never one of `needed`, and never the newest that was verified by restoring.
pub fn surplus(
    backups: &[Manifest],
    keep: Keep,
    needed: &BTreeSet<BackupId>,
    now: Timestamp,
) -> Vec<BackupId> {
    let mut sorted: Vec<&Manifest> = backups.iter().collect();
    sorted.sort_by(|a, b| b.id.cmp(&a.id));
    let restored =
        |backup: &&&Manifest| matches!(&backup.verified, Some(verified) if verified.how == How::Restored);
    let proven = sorted.iter().find(restored).map(|backup| &backup.id);
    // A clock that was put back makes nothing older than it is.
    let age = |backup: &Manifest| Duration::try_from(now.duration_since(backup.begun)).unwrap_or_default();
    let goes = |backup: &&Manifest| {
        age(backup) > keep.younger_than && !needed.contains(&backup.id) && proven != Some(&backup.id)
    };
    let mut surplus: Vec<BackupId> = sorted
        .into_iter()
        .skip(keep.newest)
        .filter(goes)
        .map(|backup| backup.id.clone())
        .collect();
    surplus.reverse();
    surplus
}

#[cfg(test)]
mod tests {
    use super::super::manifest::tests::sample;
    use super::*;

    /// Six, an hour apart; those of `restored` were verified. Which operations' go at the seventh hour?
    fn check(newest: usize, hours: u64, restored: &[u64], needed: &[u64], expected: &[u64]) {
        let of = |operation: u64| {
            let mut manifest = sample(operation, i64::try_from(operation).unwrap_or(0));
            if !restored.contains(&operation) {
                manifest.verified = None;
            }
            manifest
        };
        let mut backups: Vec<Manifest> = (1..=6).map(of).collect();
        let now = sample(7, 7).begun;
        let needed = needed.iter().map(|operation| of(*operation).id).collect();
        let keep = Keep {
            newest,
            younger_than: Duration::from_secs(hours * 3600),
        };
        // Whatever their order.
        backups.rotate_left(2);
        let gone = surplus(&backups, keep, &needed, now);
        let gone: Vec<u64> = gone.iter().map(BackupId::operation).collect();
        assert_eq!(
            gone, expected,
            "newest {newest}, {hours} hours, restored {restored:?}"
        );
    }

    #[test]
    fn what_nothing_keeps_goes() {
        check(0, 0, &[], &[], &[1, 2, 3, 4, 5, 6]);
        check(2, 0, &[], &[], &[1, 2, 3, 4]);
        check(9, 0, &[], &[], &[]);
        check(0, 3, &[], &[], &[1, 2, 3]);
        check(5, 3, &[], &[], &[1]);
        check(1, 0, &[], &[2, 6], &[1, 3, 4, 5]);
        // Of two that were verified, the newer one.
        check(1, 0, &[2, 3], &[], &[1, 2, 4, 5]);
        check(1, 0, &[6], &[], &[1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_clock_that_was_put_back_takes_nothing() {
        let keep = Keep {
            newest: 0,
            younger_than: Duration::from_secs(3600),
        };
        let (later, now) = (sample(1, 30), sample(0, 0).begun);
        assert_eq!(surplus(&[later], keep, &BTreeSet::new(), now), []);
    }
}
