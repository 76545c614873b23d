//! The steps that are about backups. What is more urgent never waits for one: it is given up, and what it has left goes.

use std::time::Duration;

use state::backup::{BackupId, Proof};
use state::journal::{Kind, OpenOperation, Outcome};
use state::release::Author;

use super::schema::{Work, away};
use super::{Executor, Failure, Trouble, final_};
use crate::backup::{Ask, BackupError, How, Manifest, Source, Verified, Why};
use crate::database::copy_name;

/// How long it may take to take away what was given up.
pub(super) const CLEAN: Duration = Duration::from_secs(30);

impl Executor<'_> {
    /// A backup of this operation. Whatever goes wrong says nothing about a release.
    pub(super) async fn back_up(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        proof: Proof,
        copy: Option<u64>,
    ) -> Result<Outcome, Trouble> {
        // What a migration is compared with later.
        let mark = match open.operation.kind {
            Kind::Backup | Kind::Restore => None,
            _ => match self.mark(work).await {
                Err(Trouble::Failure(Failure::Final(why))) => return Err(away(why)),
                mark => Some(mark?),
            },
        };
        let (place, container) = self.place_and_container(work).await?;
        let source = Source {
            stack: self.stack,
            place,
            container: container.as_ref(),
        };
        let database = place.database().map_err(|error| away(error.to_string()))?;
        let ask = Ask {
            operation: open.operation.id,
            why: why(open, copy),
            copy: copy.map(|operation| copy_name(&database, operation)),
            within: work.long(),
        };
        let made = work.backups.make(source, &ask, work.tell);
        let made = self.unless_urgent(work, source, made).await?;
        let made = made.map_err(|error| unproven(&error))?;
        if let Some(how) = how(proof) {
            let verified = self.make_sure(work, source, &made.id, how).await?;
            self.log(&made, &verified.map_err(|error| unproven(&error))?);
        } else {
            tracing::info!(stack = %self.stack, "backup {}: {} bytes, not verified", made.id, made.bytes);
        }
        Ok(mark.map_or(Outcome::Done, Outcome::Schema))
    }

    fn log(&self, made: &Manifest, verified: &Verified) {
        let how = match verified.how {
            How::Restored => "restored and counted",
            How::List => "listed",
        };
        tracing::info!(
            stack = %self.stack,
            "backup {}: {} bytes, {} tables {how} in {}",
            made.id, made.bytes, verified.tables, state::decide::span(verified.took)
        );
    }

    /// Tells the operator's command. The backup is there, whatever comes of that.
    pub(super) async fn hand_on(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        command: &[String],
        within: Duration,
    ) -> Result<Outcome, Trouble> {
        let told = work
            .backups
            .hand_on(self.stack, open.operation.id, command, within);
        // Whoever is dropped is ended.
        Ok(match self.unless_called_away(told).await? {
            Ok(()) => Outcome::Done,
            Err(why) => {
                tracing::error!(stack = %self.stack, "after_backup: {why}");
                Outcome::Told(format!("after_backup failed, and the backup stays: {why}"))
            }
        })
    }

    /// Makes sure of one that is there: here it is the backup that is judged.
    pub(super) async fn verify_backup(
        &self,
        work: &Work<'_>,
        id: &BackupId,
        proof: Proof,
    ) -> Result<Outcome, Trouble> {
        let (place, container) = self.place_and_container(work).await?;
        let source = Source {
            stack: self.stack,
            place,
            container: container.as_ref(),
        };
        let how = how(proof).unwrap_or(How::Restored);
        match self.make_sure(work, source, id, how).await? {
            Ok(_) => Ok(Outcome::Done),
            Err(error @ (BackupError::Damaged { .. } | BackupError::Differs { .. })) => {
                Err(final_(error.to_string()))
            }
            Err(error) => Err(unproven(&error)),
        }
    }

    async fn make_sure(
        &self,
        work: &Work<'_>,
        source: Source<'_>,
        id: &BackupId,
        how: How,
    ) -> Result<Result<Verified, BackupError>, Trouble> {
        let verified = work.backups.verify(source, id, how, work.tell, work.long());
        self.unless_urgent(work, source, verified).await
    }

    /// Waits for it, unless the daemon stops, or something more urgent waits.
    pub(super) async fn unless_urgent<T>(
        &self,
        work: &Work<'_>,
        source: Source<'_>,
        doing: impl Future<Output = T> + Send,
    ) -> Result<T, Trouble> {
        let failure = match self.unless_called_away(doing).await {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        if matches!(failure, Failure::Passing(_))
            && let Err(error) = work.backups.clean(source, CLEAN).await
        {
            tracing::warn!(stack = %self.stack, %error, "something of a backup that was given up may be left");
        }
        Err(Trouble::Failure(failure))
    }
}

fn why(open: &OpenOperation, copy: Option<u64>) -> Why {
    let operation = &open.operation;
    match operation.kind {
        _ if copy.is_some() => Why::Rollback,
        Kind::Backup if operation.by == Author::Agent => Why::Scheduled,
        Kind::Backup => Why::Asked,
        Kind::Restore => Why::BeforeRestore,
        Kind::Rollback => Why::Rollback,
        Kind::Deploy | Kind::Heal | Kind::Fetch => Why::Deploy,
    }
}

fn how(proof: Proof) -> Option<How> {
    match proof {
        Proof::Restore => Some(How::Restored),
        Proof::List => Some(How::List),
        Proof::None => None,
    }
}

pub(super) fn unproven(error: &BackupError) -> Trouble {
    let why = error.to_string();
    // What took too long takes too long again.
    if error.may_pass() && !matches!(error, BackupError::Late { .. }) {
        Trouble::Silent(why)
    } else {
        away(why)
    }
}
