//! The steps of a restore: beside the database in use, and at the end in its place. What was in use is kept, whatever
//! comes between.

use config::settings::PgName;
use jiff::Timestamp;
use state::backup::Dumped;
use state::bug::{self, Bug};
use state::journal::{OpenOperation, Outcome};
use state::step::Step;

use super::backups::{CLEAN, unproven};
use super::schema::{WORD, Work, trouble};
use super::{Executor, Trouble, final_};
use crate::backup::{BackupError, Dump, Restored, Source};
use crate::database::{CopyKind, before_name, restored_name};

impl Executor<'_> {
    /// Does a step that is about what lies beside the database.
    pub(super) async fn on_restore(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        step: &Step,
    ) -> Result<Outcome, Trouble> {
        match step {
            Step::RestoreBeside { dump } => return self.restore_beside(work, open, dump).await,
            Step::TakePlace => return self.take_place(work, open).await,
            Step::GiveBack => {
                let place = self.place(work).await?;
                let (restored, before) = names(&place.database().map_err(trouble)?, open);
                work.maintenance.close(place, WORD).await.map_err(trouble)?;
                let given = work
                    .maintenance
                    .give_back(place, &restored, &before, open.operation.id, WORD);
                self.unless_stopped(given).await?.map_err(trouble)?;
            }
            Step::DropRestored => self.drop_restored(work, open).await?,
            Step::DropBeside { name } => {
                let name = name.parse().map_err(|error| final_(format!("{error}")))?;
                let place = self.place(work).await?;
                let dropped = work.maintenance.drop_copy(place, &name, WORD).await;
                dropped.map_err(trouble)?;
            }
            _ => {}
        }
        Ok(Outcome::Done)
    }

    async fn restore_beside(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        dump: &Dumped,
    ) -> Result<Outcome, Trouble> {
        let (place, container) = self.place_and_container(work).await?;
        let source = Source {
            stack: self.stack,
            place,
            container: container.as_ref(),
        };
        let dump = match dump {
            Dumped::Backup(id) => Dump::Backup(id),
            Dumped::File(path) => Dump::File(path),
        };
        let (within, is_file) = (work.long(), matches!(dump, Dump::File(_)));
        let restored = work
            .backups
            .restore_into(source, dump, open.operation.id, work.tell, within);
        match self.unless_urgent(work, source, restored).await? {
            Ok(Restored { tables: 0, .. }) if is_file => Err(final_(String::from(
                "what came of the file has no tables at all: it takes no database's place",
            ))),
            Ok(Restored { tables, rows, .. }) => Ok(Outcome::Told(format!(
                "{tables} tables with {rows} rows are restored"
            ))),
            // Here it is the dump that is judged.
            Err(
                error @ (BackupError::Damaged { .. }
                | BackupError::Differs { .. }
                | BackupError::NoDump { .. }
                | BackupError::Missing(_)),
            ) => Err(final_(error.to_string())),
            Err(error) => Err(unproven(&error)),
        }
    }

    async fn take_place(&self, work: &Work<'_>, open: &OpenOperation) -> Result<Outcome, Trouble> {
        let place = self.place(work).await?;
        let (restored, before) = names(&place.database().map_err(trouble)?, open);
        // Names change hands, however much is behind them.
        let taken = work
            .maintenance
            .take_place(place, &restored, &before, open.operation.id, WORD);
        self.unless_stopped(taken).await?.map_err(trouble)?;
        if bug::is(Bug::OldDatabaseGoes) {
            let dropped = work.maintenance.drop_copy(place, &before, WORD).await;
            dropped.map_err(trouble)?;
        }
        Ok(Outcome::Told(format!(
            "the database as it was is kept as {before}"
        )))
    }

    /// What had the database's name once may have rows that nothing else has: it stays.
    async fn drop_restored(&self, work: &Work<'_>, open: &OpenOperation) -> Result<(), Trouble> {
        let (place, container) = self.place_and_container(work).await?;
        let source = Source {
            stack: self.stack,
            place,
            container: container.as_ref(),
        };
        let cleaned = work.backups.clean(source, CLEAN).await;
        cleaned.map_err(|error| unproven(&error))?;
        let (restored, _) = names(&place.database().map_err(trouble)?, open);
        let there = work.maintenance.copies(place, WORD).await.map_err(trouble)?;
        let is_it = |kind| kind == Some(CopyKind::Restored);
        if there.iter().any(|copy| copy.name == restored && is_it(copy.kind)) {
            let dropped = work.maintenance.drop_copy(place, &restored, WORD).await;
            dropped.map_err(trouble)?;
        }
        Ok(())
    }
}

/// What is restored into, and what the database that was in use is called then.
fn names(database: &PgName, open: &OpenOperation) -> (PgName, PgName) {
    let begun = Timestamp::from_millisecond(open.operation.begun.wall_ms).unwrap_or_default();
    (
        restored_name(database, open.operation.id),
        before_name(database, begun),
    )
}
