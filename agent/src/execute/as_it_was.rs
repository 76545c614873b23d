//! A database as it was before a step, and what is begun on it when the tool's own way back has failed: the operator's
//! SQL. What an attempt has left is set aside, and kept.

use std::time::Duration;

use config::settings::PgName;
use state::bug::{self, Bug};
use state::instead::ManualDown;
use state::journal::{Event, OpenOperation, Outcome};
use state::observed::{Known, SchemaHead};
use state::schema_fit::{apart, same};
use state::step::Step;

use super::schema::{WORD, Work, away, trouble};
use super::{AWAY, Executor, Failure, Trouble, final_};
use crate::database::{DatabaseError, aside_name, copy_name};

/// How often it is looked whether a database is as it was, before it counts as one that is not.
const LOOKS: u32 = 5;
/// How long comparing rows may take at least: everybody is stopped meanwhile.
const SHORTEST: Duration = Duration::from_secs(30);

/// How long the operation's copy has taken.
fn copying(open: &OpenOperation) -> Duration {
    let mut steps = open.operation.plan.steps.iter();
    let Some(copy) = steps.position(|step| *step == Step::CopyDatabase) else {
        return Duration::ZERO;
    };
    let at = |wanted: &dyn Fn(&Event) -> bool| {
        let mut entries = open.events.iter().rev();
        entries
            .find(|entry| wanted(&entry.event))
            .and_then(|entry| entry.at_ms)
    };
    let begun = at(&|event| *event == Event::Started { index: copy });
    let done = at(&|event| matches!(event, Event::Done { index, .. } if *index == copy));
    let took = begun.zip(done).and_then(|(begun, done)| done.checked_sub(begun));
    took.and_then(|took| u64::try_from(took).ok())
        .map_or(Duration::ZERO, Duration::from_millis)
}

impl Executor<'_> {
    /// The operation's copy takes the database's place, where that is not as it was before step `index`. What has the
    /// name is set aside, under a name of its own each time.
    pub(super) async fn put_back(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        index: usize,
    ) -> Result<(), Trouble> {
        if self.is_as_it_was(work, open, index).await? {
            return Ok(());
        }
        let behind = self.set_aside(work, open).await?;
        let place = self.place(work).await?;
        let name = place.database().map_err(trouble)?;
        let operation = open.operation.id;
        let aside: PgName = aside_name(&name, operation, behind);
        let copy: PgName = copy_name(&name, operation);
        work.maintenance.close(place, WORD).await.map_err(trouble)?;
        let done = work
            .maintenance
            .put_back(place, &copy, &aside, operation, work.long());
        self.unless_stopped(done).await?.map_err(trouble)
    }

    /// How many attempts of the operation are set aside.
    async fn set_aside(&self, work: &Work<'_>, open: &OpenOperation) -> Result<u64, Trouble> {
        let place = self.place(work).await?;
        let name = place.database().map_err(trouble)?;
        let there = work.maintenance.copies(place, WORD).await.map_err(trouble)?;
        let is_free = |nth: &u64| {
            let aside = aside_name(&name, open.operation.id, *nth);
            !there.iter().any(|copy| copy.name == aside)
        };
        // One of so many names is free.
        let all = u64::try_from(there.len()).unwrap_or(u64::MAX);
        Ok((0..=all).find(is_free).unwrap_or(all))
    }

    /// Whether the database is as the journal says that it was before step `index`, and its rows are those of the copy:
    /// a script may have changed them, and failed after that. It is opened: nobody can look into one that is barred. One
    /// that cannot be looked into, however often, is not.
    async fn is_as_it_was(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        index: usize,
    ) -> Result<bool, Trouble> {
        let Some(before) = open.mark_before(index) else {
            return Ok(false);
        };
        for _ in 0..LOOKS {
            let place = self.place(work).await?;
            work.maintenance.open(place, WORD).await.map_err(trouble)?;
            match self.mark(work).await {
                Ok(mark) if mark != *before => return Ok(false),
                Ok(_) => return self.has_rows_of_copy(work, open).await,
                Err(Trouble::Engine(error)) => return Err(Trouble::Engine(error)),
                Err(Trouble::Failure(Failure::Interrupted)) => return Err(Failure::Interrupted.into()),
                Err(_) => {}
            }
            if self.pause(AWAY).await {
                return Err(Failure::Interrupted.into());
            }
        }
        Ok(false)
    }

    /// Whether the rows are those of the operation's copy. Where somebody has removed that, there is nothing else to go by
    /// than the schema; where nobody can tell in the time that another copy would take, they are not.
    async fn has_rows_of_copy(&self, work: &Work<'_>, open: &OpenOperation) -> Result<bool, Trouble> {
        let place = self.place(work).await?;
        let copy = copy_name(&place.database().map_err(trouble)?, open.operation.id);
        let Ok(there) = work.maintenance.copies(place, WORD).await else {
            return Ok(false);
        };
        if bug::is(Bug::RowsAreNotCompared) || !there.iter().any(|found| found.name == copy && found.complete)
        {
            return Ok(true);
        }
        let within = (copying(open) * 2).clamp(SHORTEST, work.long());
        let compared = work.maintenance.has_rows_of(place, &copy, within);
        Ok(self.unless_stopped(compared).await?.unwrap_or_else(|error| {
            tracing::warn!(stack = %self.stack, %error, "the rows cannot be compared with those of {copy}");
            false
        }))
    }

    /// The operator's SQL, on the database as it was before the attempt that failed.
    pub(super) async fn apply_sql(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        index: usize,
        parts: &[ManualDown],
        to: &SchemaHead,
        within: Duration,
    ) -> Result<Outcome, Trouble> {
        self.end_migration(open, index).await?;
        let names: Vec<&str> = parts.iter().map(|part| part.revision.as_str()).collect();
        let words = format!("done with the operator's SQL for {}", names.join(", "));
        // What failed before is set aside, and here it stands where the SQL goes to: only its answer was not heard.
        if self.set_aside(work, open).await? > 0
            && let Known::Known(is) = work.database.schema_head(self.place(work).await?).await
            && same(&is, to)
        {
            return Ok(Outcome::Told(words));
        }
        if !bug::is(Bug::BuiltUponWhatFailed) {
            self.put_back(work, open, index).await?;
        }
        let place = self.place(work).await?;
        work.maintenance.open(place, WORD).await.map_err(trouble)?;
        let lock = self.lock(work).await?;
        let begun = self.clock.now();
        let applied = work
            .maintenance
            .apply_sql(self.place(work).await?, parts, to, within);
        let applied = self.unless_stopped(applied).await;
        lock.release().await;
        applied?.map_err(|error| match error {
            // Whoever holds a lock will let go of it.
            DatabaseError::InUse { .. } => away(error.to_string()),
            // What took too long takes too long again, and everybody is stopped meanwhile.
            DatabaseError::Unknown(_)
                if self
                    .clock
                    .now()
                    .since(&begun)
                    .is_none_or(|took| took >= within * 9 / 10) =>
            {
                final_(format!(
                    "the SQL did not end within {} and was ended",
                    state::decide::span(within)
                ))
            }
            error => trouble(error),
        })?;
        match work.database.schema_head(self.place(work).await?).await {
            Known::Known(is) if same(&is, to) => Ok(Outcome::Told(words)),
            Known::Known(is) => {
                let (is, to) = apart(&is, to);
                Err(final_(format!("the schema stands at {is} instead of {to}")))
            }
            Known::Unknown(why) => Err(Trouble::Silent(why)),
        }
    }
}
