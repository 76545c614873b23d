//! Records into rows. What a change means was decided before: what differs between the record
//! before and after is written; operations and acts, which have a history, are written as they come.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};

use super::values::{StackRow, Value, encode};
use super::{KEPT_ACTS, KEPT_OPERATIONS};
use crate::journal::{Ending, Entry, Event, Operation};
use crate::name::ImageId;
use crate::record::{Act, Answer, Change, StackRecord, Standing};
use crate::release::{Generation, GenerationNumber, Quarantine};
use crate::time::Moment;

/// A time as people read it; SQL, with milliseconds of the wall clock as the parameter.
macro_rules! utc {
    ($parameter:literal) => {
        concat!(
            "strftime('%Y-%m-%dT%H:%M:%SZ', ",
            $parameter,
            " / 1000, 'unixepoch')"
        )
    };
}

/// One transaction that is being filled.
pub(super) struct Writer<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) stack: &'a str,
}

impl Writer<'_> {
    /// Writes all that `changes` made of `before`; `seen` says whether the stack has rows already.
    pub(super) fn write(
        &self,
        before: &StackRecord,
        after: &StackRecord,
        changes: &[Change],
        seen: bool,
    ) -> rusqlite::Result<()> {
        if !seen || !same_stack_row(before, after) {
            self.stack_row(after)?;
        }
        // Both ascend by number, and each number is one generation.
        let gone = |number| find(after, number).is_none();
        for number in before.generations.iter().map(|g| g.number).filter(|n| gone(*n)) {
            let sql = "DELETE FROM generation WHERE stack = ?1 AND number = ?2";
            self.run(sql, params![self.stack, int(number.0)])?;
        }
        for generation in &after.generations {
            if find(before, generation.number) != Some(&**generation) {
                self.generation(generation)?;
            }
        }
        if before.quarantine != after.quarantine {
            self.run("DELETE FROM quarantine WHERE stack = ?1", params![self.stack])?;
            for (position, entry) in after.quarantine.iter().enumerate() {
                self.quarantine(position, entry)?;
            }
        }
        if before.health != after.health {
            self.health(after)?;
        }
        if before.rollbacks != after.rollbacks {
            self.rollbacks(after)?;
        }
        if before.adopted != after.adopted {
            self.run("DELETE FROM adopted WHERE stack = ?1", params![self.stack])?;
            for (container, hash) in &after.adopted {
                let sql = "INSERT INTO adopted VALUES (?1, ?2, ?3)";
                self.run(sql, params![self.stack, container.as_str(), hash])?;
            }
        }
        if before.resolved != after.resolved {
            self.run("DELETE FROM resolved WHERE stack = ?1", params![self.stack])?;
            for (reference, image) in &after.resolved {
                let sql = "INSERT INTO resolved VALUES (?1, ?2, ?3)";
                self.run(sql, params![self.stack, reference, image.as_str()])?;
            }
        }
        if before.carried != after.carried {
            self.run("DELETE FROM carried WHERE stack = ?1", params![self.stack])?;
            for (place, volume) in &after.carried {
                let sql = "INSERT INTO carried VALUES (?1, ?2, ?3)";
                self.run(sql, params![self.stack, place, volume])?;
            }
        }
        self.by_image("history", &before.histories, &after.histories, |history| history)?;
        self.by_image("loss", &before.losses, &after.losses, |losses| &**losses)?;
        self.history(before, changes)
    }

    /// What is in an image never changes: it is learnt, or forgotten.
    fn by_image<T: PartialEq, V: Value>(
        &self,
        table: &str,
        before: &BTreeMap<ImageId, T>,
        after: &BTreeMap<ImageId, T>,
        value: impl Fn(&T) -> &V,
    ) -> rusqlite::Result<()> {
        if before == after {
            return Ok(());
        }
        for image in before.keys().filter(|image| !after.contains_key(*image)) {
            let sql = format!("DELETE FROM {table} WHERE stack = ?1 AND image = ?2");
            self.run(&sql, params![self.stack, image.as_str()])?;
        }
        for (image, known) in after {
            if before.get(image) == Some(known) {
                continue;
            }
            let sql = format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2, ?3, ?4)");
            let row = params![self.stack, image.as_str(), V::FORMAT, encode(value(known))];
            self.run(&sql, row)?;
        }
        Ok(())
    }

    fn stack_row(&self, record: &StackRecord) -> rusqlite::Result<()> {
        let sql = concat!(
            "INSERT INTO stack VALUES (?1, ?2, ?3, ?4, ?5, ?6, ",
            utc!("?7"),
            ", ?8, ?9, ?10)
            ON CONFLICT (name) DO UPDATE SET tag = excluded.tag, request = excluded.request,
            standing = excluded.standing, current = excluded.current, hold = excluded.hold,
            paused_until = excluded.paused_until, asks = excluded.asks, format = excluded.format,
            value = excluded.value"
        );
        let request = record.request.as_ref();
        let row = StackRow {
            request: record.request.clone(),
            standing: record.standing.clone(),
            hold: record.hold.clone(),
            pause: record.pause.clone(),
            approval: record.approval.clone(),
            restored: record.restored.clone(),
            let_go: record.let_go.clone(),
            barred: record.barred,
            unseen: record.unseen.clone(),
            written: record.written.clone(),
            taken_back: record.taken_back.clone(),
            placed: record.placed.clone(),
            replaced: record.replaced.clone(),
            built: record.built.clone(),
            imported: record.imported.clone(),
        };
        self.run(
            sql,
            params![
                self.stack,
                request.map(|r| r.desired.tag.as_str()),
                request.map(|r| r.id().as_str().to_owned()),
                standing(&record.standing),
                record.current.map(|n| int(n.0)),
                record.hold.as_ref().map(|h| &h.why),
                record.pause.as_ref().map(|p| p.until.wall_ms),
                record.approval.as_ref().map(|a| match a.answer {
                    None => "waiting",
                    Some((Answer::Granted, _)) => "granted",
                    Some((Answer::Denied, _)) => "denied",
                }),
                StackRow::FORMAT,
                encode(&row),
            ],
        )
    }

    fn generation(&self, generation: &Generation) -> rusqlite::Result<()> {
        let sql = concat!(
            "INSERT OR REPLACE INTO generation VALUES (?1, ?2, ?3, ?4, ?5, ",
            utc!("?6"),
            ", ",
            utc!("?7"),
            ", ",
            utc!("?8"),
            ", ?9, ?10, ?11)"
        );
        self.run(
            sql,
            params![
                self.stack,
                int(generation.number.0),
                generation.verdict.as_str(),
                generation.release.tag.as_ref().map(crate::name::Tag::as_str),
                generation.release_id.as_str(),
                generation.begun.wall_ms,
                wall(generation.applied.as_ref()),
                wall(generation.judged.as_ref()),
                generation.why,
                Generation::FORMAT,
                encode(generation),
            ],
        )
    }

    fn quarantine(&self, position: usize, entry: &Quarantine) -> rusqlite::Result<()> {
        let sql = concat!(
            "INSERT INTO quarantine VALUES (?1, ?2, ?3, ?4, ?5, ?6, ",
            utc!("?7"),
            ", ?8, ?9, ?10)"
        );
        self.run(
            sql,
            params![
                self.stack,
                count(position),
                int(entry.generation.0),
                entry.tag.as_ref().map(crate::name::Tag::as_str),
                entry.blame.to_string(),
                entry.by.to_string(),
                entry.at.wall_ms,
                entry.why,
                Quarantine::FORMAT,
                encode(entry),
            ],
        )
    }

    fn health(&self, record: &StackRecord) -> rusqlite::Result<()> {
        let sql = concat!(
            "INSERT OR REPLACE INTO health VALUES (?1, ?2, ?3, ?4, ",
            utc!("?5"),
            ", ?6, ?7)"
        );
        let health = &record.health;
        self.run(
            sql,
            params![
                self.stack,
                int(health.failing_ms),
                int(health.healthy_ms),
                int(health.watched_ms),
                wall(health.failing_since.as_ref()),
                crate::health::HealthRecord::FORMAT,
                encode(health),
            ],
        )
    }

    fn rollbacks(&self, record: &StackRecord) -> rusqlite::Result<()> {
        self.run("DELETE FROM rollback WHERE stack = ?1", params![self.stack])?;
        let sql = concat!(
            "INSERT INTO rollback VALUES (?1, ?2, ?3, ",
            utc!("?4"),
            ", ?5, ?6)"
        );
        for (position, (request, at)) in record.rollbacks.iter().enumerate() {
            self.run(
                sql,
                params![
                    self.stack,
                    count(position),
                    request.as_str(),
                    at.wall_ms,
                    Moment::FORMAT,
                    encode(at),
                ],
            )?;
        }
        Ok(())
    }

    /// Operations, their journals, and acts.
    fn history(&self, before: &StackRecord, changes: &[Change]) -> rusqlite::Result<()> {
        let mut open = before
            .operation
            .as_ref()
            .map(|open| (&open.operation, open.events.len()));
        for change in changes {
            match (change, &mut open) {
                (Change::Open(operation), _) => {
                    self.operation(operation)?;
                    open = Some((operation, 0));
                }
                (Change::Journal(entry), Some((operation, position))) => {
                    self.entry(operation, *position, entry)?;
                    *position += 1;
                    if let Event::Ended(ending) = &entry.event {
                        self.end(operation, ending)?;
                        open = None;
                    }
                }
                (Change::Act(act), _) => self.act(act)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn operation(&self, operation: &Operation) -> rusqlite::Result<()> {
        let sql = concat!(
            "INSERT INTO operation VALUES (?1, ?2, ?3, ?4, ?5, ?6, ",
            utc!("?7"),
            ", NULL, ?8, ?9, ?10)"
        );
        self.run(
            sql,
            params![
                int(operation.id),
                self.stack,
                operation.kind.as_str(),
                operation.generation.map(|n| int(n.0)),
                count(operation.plan.steps.len()),
                operation.by.to_string(),
                operation.begun.wall_ms,
                operation.why,
                Operation::FORMAT,
                encode(operation),
            ],
        )?;
        // An id that was not asked for here is not given to anyone else either.
        let sql = "UPDATE counter SET last = max(last, ?1) WHERE name = 'operation'";
        self.run(sql, params![int(operation.id)])
    }

    fn entry(&self, operation: &Operation, position: usize, entry: &Entry) -> rusqlite::Result<()> {
        let word = match &entry.event {
            Event::Started { .. } => "started",
            Event::Done { .. } => "done",
            Event::Seen { .. } => "seen",
            Event::Failed { .. } => "failed",
            Event::Instead { .. } => "instead",
            Event::UndoStarted { .. } => "undo started",
            Event::UndoDone { .. } => "undo done",
            Event::UndoFailed { .. } => "undo failed",
            Event::Ended(_) => "ended",
        };
        let step = entry.event.step().and_then(|i| match &entry.event {
            // It is about the one that follows.
            Event::Instead { attempt, .. } => operation.plan.step(i, *attempt),
            _ => operation.plan.step(i, 0),
        });
        let sql = "INSERT INTO journal (operation, position, event, step, format, value)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.run(
            sql,
            params![
                int(operation.id),
                count(position),
                word,
                step.map(ToString::to_string),
                Entry::FORMAT,
                encode(entry),
            ],
        )
    }

    fn end(&self, operation: &Operation, ending: &Ending) -> rusqlite::Result<()> {
        let word = match ending {
            Ending::Succeeded => "succeeded",
            Ending::Undone { .. } => "undone",
            Ending::Paused { .. } => "paused",
            Ending::Left { .. } => "left",
            Ending::Stuck { .. } => "stuck",
        };
        let sql = "UPDATE operation SET ended = ?2 WHERE id = ?1";
        self.run(sql, params![int(operation.id), word])?;
        let sql = "DELETE FROM operation WHERE stack = ?1 AND ended IS NOT NULL AND id <= (
            SELECT id FROM operation WHERE stack = ?1 AND ended IS NOT NULL
            ORDER BY id DESC LIMIT 1 OFFSET ?2)";
        self.run(sql, params![self.stack, KEPT_OPERATIONS])
    }

    fn act(&self, act: &Act) -> rusqlite::Result<()> {
        let sql = concat!(
            "INSERT INTO act (stack, by, at, what, why, format, value)
            VALUES (?1, ?2, ",
            utc!("?3"),
            ", ?4, ?5, ?6, ?7)"
        );
        self.run(
            sql,
            params![
                self.stack,
                act.by.to_string(),
                act.at.wall_ms,
                act.what,
                act.why,
                Act::FORMAT,
                encode(act),
            ],
        )?;
        let sql = "DELETE FROM act WHERE stack = ?1 AND id <= (
            SELECT id FROM act WHERE stack = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
        self.run(sql, params![self.stack, KEPT_ACTS])
    }

    fn run(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.transaction.prepare_cached(sql)?.execute(values).map(drop)
    }
}

fn find(record: &StackRecord, number: GenerationNumber) -> Option<&Generation> {
    let all = &record.generations;
    let index = all.binary_search_by_key(&number, |g| g.number).ok()?;
    all.get(index).map(|g| &**g)
}

fn same_stack_row(a: &StackRecord, b: &StackRecord) -> bool {
    a.request == b.request
        && a.standing == b.standing
        && a.current == b.current
        && a.hold == b.hold
        && a.pause == b.pause
        && a.approval == b.approval
        && a.restored == b.restored
        && a.let_go == b.let_go
        && a.barred == b.barred
        && a.unseen == b.unseen
        && a.written == b.written
        && a.taken_back == b.taken_back
        && a.built == b.built
        && a.placed == b.placed
        && a.replaced == b.replaced
        && a.imported == b.imported
}

fn standing(standing: &Standing) -> String {
    match standing {
        Standing::Pending => String::from("pending"),
        Standing::Applied(number) => format!("applied as generation {number}"),
        Standing::Quarantined(number) => format!("left, generation {number} is in quarantine"),
    }
}

fn wall(at: Option<&Moment>) -> Option<i64> {
    at.map(|at| at.wall_ms)
}

/// `SQLite` counts in 63 bits. What is larger never comes up: ids and numbers count up from one.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
