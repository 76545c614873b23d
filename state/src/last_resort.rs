//! Where no way leads the schema back, there is the backup from before: what was written since is lost to what runs then.
//! Whether it is gone back to is asked here alone. Pure: which backups there are, and how many rows, is the agent's to see.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backup::BackupId;
use crate::bug::{self, Bug};
use crate::decide::span;
use crate::integrity::Tally;
use crate::observed::SchemaHead;
use crate::record::{Answer, Ask, StackRecord};
use crate::release::{Author, GenerationNumber};
use crate::rollback::is_unfinished;
use crate::schema_fit::head;

/// So many tables are named.
const NAMED: usize = 20;

/// `restore_backup`: whether a rollback may go back to a backup where the schema cannot be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestoreBackup {
    /// A person is asked, with what would be lost.
    #[default]
    Ask,
    /// It may; what is lost is said.
    Allow,
    /// Nobody is asked.
    Never,
}

/// What is next of a rollback whose schema could not be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resort {
    /// Nothing by this way.
    None,
    /// It is to be seen which backup there is, and what would be lost.
    Look,
    /// A person was asked.
    Waits,
    /// It is begun.
    Begin {
        /// The generation that is gone back to.
        to: GenerationNumber,
        /// The backup that it goes back with.
        backup: BackupId,
        /// Who said so.
        by: Author,
    },
}

/// What is next, as the record says it.
pub fn resort(record: &StackRecord, policy: RestoreBackup) -> Resort {
    if !is_unfinished(record) {
        return Resort::None;
    }
    if let Some(approval) = &record.approval {
        return match (&approval.ask, &approval.answer) {
            (Ask::RestoreBackup { from, .. }, _) if Some(*from) != record.current => Resort::None,
            (Ask::RestoreBackup { .. }, None) => Resort::Waits,
            (Ask::RestoreBackup { to, backup, .. }, Some((Answer::Granted, by))) if record.hold.is_none() => {
                Resort::Begin {
                    to: *to,
                    backup: backup.clone(),
                    by: by.clone(),
                }
            }
            _ => Resort::None,
        };
    }
    match &record.hold {
        Some(hold) if hold.no_way_down && policy != RestoreBackup::Never => Resort::Look,
        _ => Resort::None,
    }
}

/// The answer that stands before anybody is asked.
pub fn answered_before(policy: RestoreBackup) -> Option<(Answer, Author)> {
    let may = policy == RestoreBackup::Allow || bug::is(Bug::BackupUnasked);
    may.then_some((Answer::Granted, Author::Agent))
}

/// A backup that could be gone back to, and what is in the database now.
#[derive(Debug)]
pub struct Offer<'a> {
    /// Its name.
    pub backup: &'a BackupId,
    /// How long ago it was begun.
    pub age: Duration,
    /// Where its schema stands.
    pub stands: &'a SchemaHead,
    /// The rows of each table in it.
    pub then: &'a BTreeMap<String, u64>,
    /// The rows of each table now, as far as they could be counted.
    pub now: &'a Tally,
}

/// Whether what is at stake has grown so much since somebody agreed to it that they are asked again: what is written
/// meanwhile was known to come.
pub fn asks_again(agreed: u64, now: u64) -> bool {
    now > agreed.saturating_mul(2).saturating_add(100)
}

impl Offer<'_> {
    /// What would be lost, a line each.
    pub fn detail(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "backup {}, made {} ago, with the schema at {}",
            self.backup,
            span(self.age),
            head(self.stands)
        )];
        let more = self.more();
        let lost = more.iter().map(|(rows, table)| {
            format!("{table}: at least {rows} rows more than in it, which would be lost")
        });
        named(&mut lines, lost, || {
            let rows: u64 = more[NAMED..].iter().map(|(rows, _)| rows).sum();
            format!(": at least {rows} rows")
        });
        let unseen = self.now.about.iter().map(|(table, about)| {
            let about = about.map_or_else(
                || String::from("nobody knows how many rows"),
                |rows| format!("about {rows} rows now"),
            );
            let then = self.then.get(table).copied().unwrap_or(0);
            format!("{table}: not counted: {about}, and {then} in it")
        });
        named(&mut lines, unseen, || String::from(", not counted"));
        let gone = self.then.iter().filter_map(|(table, then)| {
            let back = then.saturating_sub(self.counted(table)?);
            (back > 0)
                .then(|| format!("{table}: at least {back} rows fewer than in it, which would come back"))
        });
        named(&mut lines, gone, || String::from(" with fewer rows than in it"));
        if lines.len() == 1 {
            lines.push(String::from("no table has another number of rows now"));
        }
        lines.push(String::from(
            "rows that were changed since, or went and came, are not counted, nor what is written until then; the \
             database as it is stays beside, under another name",
        ));
        lines
    }

    /// How many rows would be lost, at least, of what was counted: what a server's statistics say is no number to compare.
    pub fn rows(&self) -> u64 {
        self.more().iter().map(|(rows, _)| rows).sum()
    }

    /// The rows of a table now; `None`: nobody has counted them.
    fn counted(&self, table: &str) -> Option<u64> {
        let known = !self.now.about.contains_key(table);
        known.then(|| self.now.tables.get(table).copied().unwrap_or(0))
    }

    /// The tables with more rows than in the backup, those with most first.
    fn more(&self) -> Vec<(u64, String)> {
        let more = |(table, now): (&String, &u64)| {
            let more = now.saturating_sub(self.then.get(table).copied().unwrap_or(0));
            (more > 0).then(|| (more, table.clone()))
        };
        let mut more: Vec<(u64, String)> = self.now.tables.iter().filter_map(more).collect();
        more.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        more
    }
}

/// As many lines as are shown of one kind, and how many more there are, with what else is to be said of those.
fn named(lines: &mut Vec<String>, all: impl Iterator<Item = String>, rest: impl Fn() -> String) {
    let all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(NAMED);
    lines.extend(all.into_iter().take(NAMED));
    if more > 0 {
        lines.push(format!("and {more} more tables{}", rest()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::fixture::{at, generation, record, release, request};
    use crate::hold::Hold;
    use crate::record::{Approval, Standing};
    use crate::release::Verdict;

    fn backup() -> BackupId {
        "20261126T191500Z-7".parse().unwrap()
    }

    /// Generation 2 is left, and its schema could not be taken back.
    fn left() -> StackRecord {
        let good = generation(1, release(&[("api", 1)]), Verdict::Good);
        let mut record = record(vec![good, generation(2, release(&[("api", 2)]), Verdict::Bad)]);
        record.standing = Standing::Quarantined(GenerationNumber(2));
        record.hold = Some(Hold {
            since: at(0),
            why: String::from("no"),
            way_out: String::from("look"),
            frozen: false,
            no_way_down: true,
            until: std::collections::BTreeSet::new(),
        });
        record
    }

    fn asked(answer: Option<(Answer, Author)>) -> StackRecord {
        let mut record = left();
        record.approval = Some(Approval {
            ask: Ask::RestoreBackup {
                from: GenerationNumber(2),
                to: GenerationNumber(1),
                backup: backup(),
                rows: 7,
            },
            request: request(2).id(),
            asked: at(0),
            detail: Vec::new(),
            answer,
        });
        record
    }

    #[test]
    fn nothing_is_gone_back_to_unless_somebody_said_so() {
        use RestoreBackup::{Allow, Ask, Never};
        for policy in [Ask, Allow] {
            assert_eq!(resort(&left(), policy), Resort::Look);
            assert_eq!(resort(&asked(None), policy), Resort::Waits);
            let denied = asked(Some((Answer::Denied, Author::Agent)));
            assert_eq!(resort(&denied, policy), Resort::None);
        }
        assert_eq!(resort(&left(), Never), Resort::None);
        assert_eq!(answered_before(Ask), None);
        assert_eq!(answered_before(Allow), Some((Answer::Granted, Author::Agent)));
        let mut granted = asked(Some((Answer::Granted, Author::Agent)));
        // Whatever holds it since then is in the way.
        assert_eq!(resort(&granted, Ask), Resort::None);
        granted.hold = None;
        let begin = Resort::Begin {
            to: GenerationNumber(1),
            backup: backup(),
            by: Author::Agent,
        };
        assert_eq!(resort(&granted, Never), begin);
        // Of another generation, or when something else is asked for, it counts for nothing.
        granted.current = Some(GenerationNumber(1));
        assert_eq!(resort(&granted, Ask), Resort::None);
        let mut other = left();
        other.standing = Standing::Pending;
        assert_eq!(resort(&other, Ask), Resort::None);
        let mut held = left();
        held.hold.as_mut().unwrap().no_way_down = false;
        assert_eq!(resort(&held, Ask), Resort::None);
    }

    #[test]
    fn what_would_be_lost_is_told_by_table() {
        let rows = |all: &[(&str, u64)]| -> BTreeMap<String, u64> {
            all.iter()
                .map(|(table, rows)| ((*table).to_owned(), *rows))
                .collect()
        };
        let offered = |then: &[(&str, u64)], now: &[(&str, u64)], about: &[(&str, Option<u64>)]| {
            let (then, now) = (rows(then), rows(now));
            let about = about.iter().map(|(table, about)| ((*table).to_owned(), *about));
            let now = Tally {
                tables: now,
                about: about.collect(),
                ..Tally::default()
            };
            let stands = SchemaHead::At(["a1".parse().unwrap()].into());
            let offer = Offer {
                backup: &backup(),
                age: Duration::from_secs(720),
                stands: &stands,
                then: &then,
                now: &now,
            };
            let lines = offer.detail();
            assert_eq!(
                lines[0],
                "backup 20261126T191500Z-7, made 12m ago, with the schema at a1"
            );
            (lines[1..lines.len() - 1].join("; "), offer.rows())
        };
        let detail = |then: &[(&str, u64)], now: &[(&str, u64)]| offered(then, now, &[]).0;
        assert_eq!(
            detail(
                &[("public.a", 5), ("public.b", 3)],
                &[("public.a", 7), ("public.c", 9)]
            ),
            "public.c: at least 9 rows more than in it, which would be lost; public.a: at least 2 rows more than in it, \
             which would be lost; public.b: at least 3 rows fewer than in it, which would come back"
        );
        assert_eq!(
            detail(&[("public.a", 5)], &[("public.a", 5)]),
            "no table has another number of rows now"
        );
        let many: Vec<(String, u64)> = (0..22).map(|n| (format!("t{n:02}"), 1)).collect();
        let many: Vec<(&str, u64)> = many.iter().map(|(table, rows)| (table.as_str(), *rows)).collect();
        let lines = detail(&[], &many);
        assert!(lines.ends_with("; and 2 more tables: at least 2 rows"), "{lines}");
        // Nobody is told that nothing more would come back.
        let lines = detail(&many, &[]);
        assert!(
            lines.ends_with("; and 2 more tables with fewer rows than in it"),
            "{lines}"
        );
        // What there was no time to count is told as it is.
        let about = [("public.b", Some(400)), ("public.d", None)];
        let (lines, rows) = offered(&[("public.a", 5), ("public.b", 300)], &[("public.a", 5)], &about);
        assert_eq!(
            lines,
            "public.b: not counted: about 400 rows now, and 300 in it; public.d: not counted: \
             nobody knows how many rows, and 0 in it"
        );
        assert_eq!(rows, 0);
    }

    #[test]
    fn who_has_agreed_to_little_is_asked_again_about_much() {
        assert!(!asks_again(0, 100));
        assert!(asks_again(0, 101));
        assert!(!asks_again(1000, 2100));
        assert!(asks_again(1000, 2101));
    }
}
