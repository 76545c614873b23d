//! The steps about rows that a way back takes out of the database: what it would destroy, what is kept of it, and how that
//! gets its place back. None of them says anything about a release.

use std::sync::{Mutex, PoisonError};

use state::journal::{Kind, OpenOperation, Outcome};
use state::migration_tool::Migration;
use state::schema_fit::Direction;
use state::step::Step;
use state::taken_back::Losses;

use super::backups::unproven;
use super::schema::{Work, ended};
use super::{Executor, Failure, Trouble};
use crate::engine::{Listener, OnceNetwork};
use crate::rows::{Script, Taken, When};

impl Executor<'_> {
    /// What the scripts of an image say that they destroy, as far as they say anything.
    pub(super) async fn read_losses(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        index: usize,
        by: &Migration,
    ) -> Result<Outcome, Trouble> {
        let table = work.settings.migrations.version_table.as_str();
        let reading = Mutex::new(Script::new(table));
        let tell = |piece: &[u8]| {
            let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
            reading.take(piece);
        };
        let listener = Some(Listener(&tell));
        let ran = self
            .run(work.to, open, index, by, OnceNetwork::None, listener)
            .await;
        let why = match ran {
            Ok(Ok(ran)) => {
                // Where it has failed it has written what it has come to.
                if ran.code != 0 {
                    tracing::warn!(stack = %self.stack, "{}", ended(work.to, by, &ran));
                }
                let read = reading.into_inner().unwrap_or_else(PoisonError::into_inner).end();
                if let Some(why) = read.cut {
                    tracing::warn!(stack = %self.stack, "{step}: {why}; what the way back of the revisions after that destroys is not known", step = open.operation.plan.in_words(index));
                }
                return Ok(Outcome::Losses(read.losses));
            }
            Ok(Err(why)) | Err(Trouble::Failure(Failure::Final(why))) => why,
            Err(trouble) => return Err(trouble),
        };
        tracing::warn!(stack = %self.stack, "what the way back destroys is not known: {why}");
        Ok(Outcome::Losses(Losses::new()))
    }

    /// Keeps what an operation has taken out of the database.
    pub(super) async fn save_rows(&self, work: &Work<'_>, of: u64) -> Result<Outcome, Trouble> {
        let Some(what) = work.taken_back.get(&of) else {
            return Ok(Outcome::Done);
        };
        let taken = Taken {
            stack: self.stack,
            place: self.place(work).await?,
            of,
        };
        let saving = work.rows.save(taken, what, &work.settings.preserve, work.long());
        let saved = self.unless_called_away(saving).await?;
        let saved = saved.map_err(|error| unproven(&error))?;
        for line in &saved.lines {
            tracing::info!(stack = %self.stack, operation = of, "taken back: {line}");
        }
        Ok(Outcome::Saved(saved))
    }

    /// Puts back what has its place again. Where that cannot be done now a deploy goes on, and it is tried again after it.
    pub(super) async fn put_in(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        index: usize,
        of: u64,
        last: bool,
    ) -> Result<Outcome, Trouble> {
        let operation = &open.operation;
        let up = |step: &Step| matches!(step, Step::Migrate { way, .. } if way.direction == Direction::Up);
        let fresh = operation.plan.steps.iter().take(index).any(up);
        let taken = Taken {
            stack: self.stack,
            place: self.place(work).await?,
            of,
        };
        let before = work.taken_back.get(&of).and_then(|taken| taken.put_in.as_ref());
        let when = When { fresh, last };
        let putting = work.rows.put_in(taken, before, when, work.long());
        // What is dropped in the middle has done nothing, or all of a table.
        match self.unless_called_away(putting).await? {
            Ok(put_in) => {
                for line in &put_in.lines {
                    tracing::info!(stack = %self.stack, operation = of, "put back: {line}");
                }
                Ok(Outcome::PutIn(put_in))
            }
            Err(error) if operation.kind == Kind::Backup => Err(unproven(&error)),
            Err(error) => {
                tracing::error!(stack = %self.stack, "the rows that operation {of} has taken back are not put back yet: {error}");
                Ok(Outcome::Told(format!("not put back yet: {error}")))
            }
        }
    }
}
