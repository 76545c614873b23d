//! How long what a plan does to the database may take: as the last of its kind took, and the last backup, by the size that the
//! database has now. Nobody can know it; where nothing is known of the past, that is said.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use state::decide::span;
use state::journal::Kind;
use state::plan::Plan;
use state::schema_fit::Direction;
use state::step::Step;

use crate::backup::{Manifest, show_bytes};
use crate::shared::Snapshot;
use crate::took::Took;

/// How long all of a plan that works on the database may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Expected {
    /// About so long in all; none where nobody knows.
    pub milliseconds: Option<u64>,
    /// Of that, for about so long containers are stopped, and not up again yet.
    pub outage_milliseconds: Option<u64>,
    /// The operation that it is taken from.
    pub as_operation: Option<u64>,
    /// In words.
    pub words: String,
}

/// What the past says of how long a plan may take.
pub(super) struct Past<'a> {
    kind: Kind,
    /// The last of its kind that moved the schema the same way.
    like: Option<&'a Took>,
    /// The newest backup of the database itself, a proven one where there is any.
    backup: Option<&'a Manifest>,
    /// The size of the database now.
    bytes: Option<u64>,
}

impl<'a> Past<'a> {
    pub(super) fn of(kind: Kind, plan: &Plan, snapshot: &'a Snapshot) -> Self {
        let moves = plan.steps.iter().find_map(|step| match step {
            Step::Migrate { way, .. } => Some(way.direction),
            _ => None,
        });
        let like = |took: &&Took| took.kind == kind && took.moved == moves;
        let listing = snapshot.backups.known();
        let own = |backup: &&Manifest| backup.copy.is_none();
        Self {
            kind,
            like: snapshot.past.iter().find(like),
            backup: listing.and_then(|listing| {
                let mut all = listing.backups.iter().rev().filter(own);
                // One that was proven says how long that takes, too.
                let proven = all.clone().find(|backup| backup.verified.is_some());
                proven.or_else(|| all.next())
            }),
            bytes: snapshot.database_bytes,
        }
    }

    /// How long a backup may take, with its proof.
    fn backup_takes(&self) -> Option<Duration> {
        let backup = self.backup?;
        let proof = backup.verified.as_ref().map(|proven| proven.took);
        Some(self.by_size(backup.took + proof.unwrap_or_default()))
    }

    /// By the size that the database has now, as far as both are known.
    fn by_size(&self, then: Duration) -> Duration {
        let before = self.backup.map(|backup| backup.database_bytes);
        match before.zip(self.bytes) {
            Some((before, now)) if before > 0 => {
                // Milliseconds of bytes: more than fits has never been waited for.
                let millis = then.as_millis().saturating_mul(u128::from(now)) / u128::from(before);
                Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
            }
            _ => then,
        }
    }

    fn size(&self) -> Option<String> {
        self.bytes
            .map(|bytes| format!("the database has {} now", show_bytes(bytes)))
    }

    /// A line for a backup.
    pub(super) fn of_backup(&self) -> Vec<String> {
        let about = match self.backup_takes() {
            Some(takes) => format!("about {} with its proof", span(rounded(takes))),
            None => String::from("nobody knows yet how long that takes: there is no backup to go by"),
        };
        let about = [Some(about), self.size()].into_iter().flatten();
        let last = self.backup.map(as_the_last);
        [about.collect::<Vec<_>>().join("; ")]
            .into_iter()
            .chain(last)
            .collect()
    }

    /// A line for a migration, and for the copy before one that goes down.
    pub(super) fn of_migration(&self, direction: Direction) -> String {
        let (like, word) = (self.like, direction_word(direction));
        let copy = match (direction, like, self.backup_takes()) {
            (Direction::Up, ..) => None,
            (Direction::Down, Some(like), _) => Some(format!(
                "the copy takes about {}",
                span(rounded(self.by_size(like.copy)))
            )),
            (Direction::Down, None, Some(backup)) => Some(format!(
                "nobody knows yet how long the copy takes; a backup with its proof takes about {}",
                span(rounded(backup))
            )),
            (Direction::Down, None, None) => Some(String::from("nobody knows yet how long the copy takes")),
        };
        let itself = match like {
            Some(like) => format!(
                "how long these migrations take nobody knows: the last ones {word} took {}",
                span(rounded(like.migration))
            ),
            None => String::from("how long these migrations take nobody knows"),
        };
        copy.into_iter().chain([itself]).collect::<Vec<_>>().join("; ")
    }

    /// The whole, where the plan works on the database.
    pub(super) fn of_all(&self, plan: &Plan) -> Option<Expected> {
        let has = |is: fn(&Step) -> bool| plan.steps.iter().any(is);
        let works = has(|step| {
            matches!(
                step,
                Step::Migrate { .. } | Step::Backup { .. } | Step::RestoreBeside { .. }
            )
        });
        if !works {
            return None;
        }
        let kind = self.kind;
        let Some(like) = self.like else {
            return Some(Expected {
                milliseconds: None,
                outage_milliseconds: None,
                as_operation: None,
                words: format!(
                    "nobody knows yet how long it takes: no {kind} of this sort has come to its end here"
                ),
            });
        };
        let backup = if has(|step| matches!(step, Step::Backup { .. })) {
            self.backup_takes().unwrap_or(like.backup)
        } else {
            Duration::ZERO
        };
        let copy = self.by_size(like.copy);
        let outage = like.outage.saturating_sub(like.copy) + copy;
        let whole = like.whole.saturating_sub(like.backup + like.copy) + backup + copy;
        let millis = |long: Duration| u64::try_from(long.as_millis()).ok();
        let noticed = if outage.is_zero() {
            String::new()
        } else {
            format!(
                ", and for about {} of that containers are down",
                span(rounded(outage))
            )
        };
        Some(Expected {
            milliseconds: millis(whole),
            outage_milliseconds: millis(outage),
            as_operation: Some(like.operation),
            words: format!(
                "about {}{noticed}: as the last {kind} of this sort took (operation {}), with the database as large as it is now",
                span(rounded(whole)),
                like.operation
            ),
        })
    }
}

const fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

/// No more is known than this.
fn rounded(long: Duration) -> Duration {
    match long.as_secs() {
        0..10 => Duration::from_millis(u64::try_from(long.as_millis()).unwrap_or(0).div_ceil(100) * 100),
        secs => Duration::from_secs(secs + u64::from(long.subsec_nanos() > 0)),
    }
}

fn as_the_last(backup: &Manifest) -> String {
    let proven = backup.verified.as_ref();
    let proven = proven.map(|proven| format!(", and {} to prove it", span(proven.took)));
    format!(
        "the last one had {} of a database of {}, and took {}{}",
        show_bytes(backup.bytes),
        show_bytes(backup.database_bytes),
        span(backup.took),
        proven.unwrap_or_default()
    )
}
