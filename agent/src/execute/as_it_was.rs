//! A database as it was before a step, and what is begun on it when the tool's own way back has failed: the operator's
//! SQL. What an attempt has left is set aside, and kept.

use std::time::Duration;

use config::settings::PgName;
use state::bug::{self, Bug};
use state::instead::ManualDown;
use state::journal::{OpenOperation, Outcome};
use state::observed::{Known, SchemaHead};
use state::schema_fit::{head, same};

use super::schema::{WORD, Work, away, mark_before, trouble};
use super::{AWAY, Executor, Failure, Trouble, final_};
use crate::database::{DatabaseError, aside_name, copy_name};

/// How often it is looked whether a database is as it was, before it counts as one that is not.
const LOOKS: u32 = 5;

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
        let place = self.place(work).await?;
        let name = place.database().map_err(trouble)?;
        let operation = open.operation.id;
        let there = work.maintenance.copies(place, WORD).await.map_err(trouble)?;
        let is_free = |name: &PgName| !there.iter().any(|copy| copy.name == *name);
        let mut names = (0..).map(|nth| aside_name(&name, operation, nth));
        let aside = names
            .find(is_free)
            .unwrap_or_else(|| aside_name(&name, operation, 0));
        let copy: PgName = copy_name(&name, operation);
        work.maintenance.close(place, WORD).await.map_err(trouble)?;
        let done = work
            .maintenance
            .put_back(place, &copy, &aside, operation, work.long());
        self.unless_stopped(done).await?.map_err(trouble)
    }

    /// Whether the database is as the journal says that it was before step `index`. It is opened: nobody can look into
    /// one that is barred. One that cannot be looked into, however often, is not.
    async fn is_as_it_was(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        index: usize,
    ) -> Result<bool, Trouble> {
        let Some(before) = mark_before(open, index) else {
            return Ok(false);
        };
        for _ in 0..LOOKS {
            let place = self.place(work).await?;
            work.maintenance.open(place, WORD).await.map_err(trouble)?;
            match self.mark(work).await {
                Ok(mark) => return Ok(mark == *before),
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
        if !bug::is(Bug::BuiltUponWhatFailed) {
            self.put_back(work, open, index).await?;
        }
        let place = self.place(work).await?;
        work.maintenance.open(place, WORD).await.map_err(trouble)?;
        let lock = self.lock(work).await?;
        let applied = work
            .maintenance
            .apply_sql(self.place(work).await?, parts, to, within);
        let applied = self.unless_stopped(applied).await;
        lock.release().await;
        applied?.map_err(|error| match error {
            // Whoever holds a lock will let go of it.
            DatabaseError::InUse { .. } => away(error.to_string()),
            error => trouble(error),
        })?;
        let names: Vec<&str> = parts.iter().map(|part| part.revision.as_str()).collect();
        let words = format!("done with the operator's SQL for {}", names.join(", "));
        match work.database.schema_head(self.place(work).await?).await {
            Known::Known(is) if same(&is, to) => Ok(Outcome::Told(words)),
            Known::Known(is) => Err(final_(format!(
                "the schema stands at {} instead of {}",
                head(&is),
                head(to)
            ))),
            Known::Unknown(why) => Err(Trouble::Silent(why)),
        }
    }
}
