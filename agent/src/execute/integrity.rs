//! Whether the database is whole, before and after its schema moves or another one takes its place: the operator's checks
//! are asked, and the rows are counted. What held before and does not any more has failed, as a migration does.

use config::settings::PgName;
use state::integrity::{Answer, Answers, Between, Check, Look, Seen, Tally, When, broken, fewer, told};
use state::journal::{Event, OpenOperation, Outcome};
use state::planner::Looks;

use super::schema::{Work, away, trouble};
use super::{AWAY, Executor, Failure, Trouble};
use crate::backup::Manifest;
use crate::database::{DatabaseError, copy_name, restored_name};

/// How often the copy is asked before nobody knows what it was before.
const COPY_ASKED: u32 = 10;

impl Executor<'_> {
    /// Looks at the database, and fails where it was whole before and is not.
    pub(super) async fn look(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        index: usize,
        when: When,
        what: Looks<'_>,
    ) -> Result<Outcome, Trouble> {
        let checks = what.checks;
        let (seen, between) = match when {
            When::Before => {
                let answers = self.ask(work, None, checks).await?;
                for (name, answer) in answers.iter().filter(|(_, answer)| **answer != Answer::Holds) {
                    tracing::warn!(
                        stack = %self.stack,
                        "the integrity check {name} {} already, and says nothing about what follows",
                        answer.words()
                    );
                }
                let before = Some(Look { answers, rows: None });
                return Ok(seen(before, None));
            }
            When::After => {
                let answers = self.ask(work, None, checks).await?;
                let (before, after) = self.rows_of(work, open, None, what.counts).await;
                let asked = before_of(open, index);
                (both((asked, before), (answers, after)), Between::Upgrade)
            }
            When::Restored => {
                let place = self.place(work).await?;
                let name = restored_name(&place.database().map_err(trouble)?, open.operation.id);
                let now = self.ask(work, None, checks).await?;
                let then = self.ask(work, Some(&name), checks).await?;
                let (before, after) = self.rows_of(work, open, Some(&name), what.counts).await;
                (both((now, before), (then, after)), Between::Restore)
            }
        };
        let why = self.judged(&seen, between);
        if why.is_empty() {
            return Ok(Outcome::Seen(Box::new(seen)));
        }
        // Now that it has failed it is worth the time.
        let counts = !what.counts && !work.settings.count_within.is_zero();
        let (before, after) = self.rows_of(work, open, None, counts).await;
        let counted = |rows: Option<Tally>| {
            let look = |rows| Look {
                answers: Answers::new(),
                rows: Some(rows),
            };
            rows.map(look)
        };
        let seen = seen.with(&Seen {
            before: counted(before),
            after: counted(after),
        });
        let rows = |look: &Option<Look>| look.as_ref().and_then(|look| look.rows.clone());
        let lost = rows(&seen.before).zip(rows(&seen.after));
        let lost = lost.and_then(|(before, after)| fewer(&before, &after));
        let kept = match between {
            Between::Restore => None,
            _ => self
                .own_backup(work, open)
                .map(|backup| format!("what was in the database before is in the backup {}", backup.id)),
        };
        let words: Vec<String> = why.into_iter().chain(lost).chain(kept).collect();
        Err(Failure::Broken(words.join("; "), Box::new(seen)).into())
    }

    /// After the schema was taken back nobody serves: only what has to hold is asked, and the copy only about what does
    /// not. `done`: what the way down has to say.
    pub(super) async fn is_whole_below(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        checks: &[Check],
        done: Outcome,
    ) -> Result<Outcome, Trouble> {
        if checks.is_empty() {
            return Ok(done);
        }
        let after = self.ask(work, None, checks).await?;
        let doubtful = |check: &&Check| {
            let answer = after.get(&check.name);
            matches!(
                answer,
                Some(Answer::Differs | Answer::Refused { names: false, .. })
            )
        };
        let doubtful: Vec<Check> = checks.iter().filter(doubtful).cloned().collect();
        let before = if doubtful.is_empty() {
            Answers::new()
        } else {
            let place = self.place(work).await?;
            let copy = copy_name(&place.database().map_err(trouble)?, open.operation.id);
            match self.ask_patiently(work, &copy, &doubtful).await {
                // What an attempt before this one was told is still so. Where nobody knows what it was before it says
                // nothing about the way down, which is done.
                Err(Trouble::Failure(Failure::Passing(why)) | Trouble::Silent(why)) => {
                    tracing::warn!(stack = %self.stack, "the copy cannot be asked: {why}");
                    answered_before(open)
                }
                answers => answers?,
            }
        };
        let seen = both((before, None), (after, None));
        let why = self.judged(&seen, Between::Downgrade);
        if !why.is_empty() {
            return Err(Failure::Broken(why.join("; "), Box::new(seen)).into());
        }
        Ok(match done {
            Outcome::Told(told) => Outcome::ToldAndSeen(told, Box::new(seen)),
            _ => Outcome::Seen(Box::new(seen)),
        })
    }

    /// What is broken; all else that is to be told is logged.
    fn judged(&self, seen: &Seen, between: Between) -> Vec<String> {
        let answers = |look: &Option<Look>| {
            let look = look.as_ref();
            look.map(|look| look.answers.clone()).unwrap_or_default()
        };
        let (before, after) = (answers(&seen.before), answers(&seen.after));
        for line in told(&before, &after) {
            tracing::warn!(stack = %self.stack, "{line}");
        }
        broken(&before, &after, between)
    }

    async fn ask(&self, work: &Work<'_>, of: Option<&PgName>, checks: &[Check]) -> Result<Answers, Trouble> {
        if checks.is_empty() {
            return Ok(Answers::new());
        }
        let place = self.place(work).await?;
        let asked = self.unless_called_away(work.maintenance.ask(place, of, checks));
        asked.await?.map_err(|error| match error {
            DatabaseError::Unknown(why) => Trouble::Silent(why),
            // Who cannot even ask knows nothing of the release.
            error => away(error.to_string()),
        })
    }

    /// Whether rows are lost hangs on it: a silence that passes soon is waited for.
    async fn ask_patiently(
        &self,
        work: &Work<'_>,
        copy: &PgName,
        checks: &[Check],
    ) -> Result<Answers, Trouble> {
        for _ in 1..COPY_ASKED {
            match self.ask(work, Some(copy), checks).await {
                Err(Trouble::Failure(Failure::Passing(_)) | Trouble::Silent(_)) => {}
                answers => return answers,
            }
            if self.pause(AWAY).await {
                return Err(Failure::Interrupted.into());
            }
        }
        self.ask(work, Some(copy), checks).await
    }

    /// The rows before, as this operation's backup has counted them, and now. That nobody can count is no failure.
    async fn rows_of(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        of: Option<&PgName>,
        counts: bool,
    ) -> (Option<Tally>, Option<Tally>) {
        if !counts {
            return (None, None);
        }
        let before = self.own_backup(work, open);
        let before = before.map(|backup| Tally::of(&backup.counted.tables));
        let Ok(place) = self.place(work).await else {
            return (before, None);
        };
        let within = work.settings.count_within;
        let counted = self.unless_called_away(work.maintenance.tally(place, of, within));
        match counted.await {
            Ok(Ok(tally)) => (before, Some(tally.bounded())),
            Ok(Err(error)) => {
                tracing::warn!(stack = %self.stack, %error, "the rows are not counted");
                (before, None)
            }
            Err(_) => (before, None),
        }
    }

    /// The backup that this operation has made of the database.
    fn own_backup(&self, work: &Work<'_>, open: &OpenOperation) -> Option<Manifest> {
        let listing = work.backups.list(self.stack).ok()?;
        let own = |backup: &Manifest| backup.copy.is_none() && backup.id.operation() == open.operation.id;
        listing.backups.into_iter().find(own)
    }
}

/// What the checks said before step `index`.
fn before_of(open: &OpenOperation, index: usize) -> Answers {
    let outcomes = (0..index).rev().filter_map(|at| open.outcome(at));
    let mut looks = outcomes.filter_map(|outcome| match outcome {
        Outcome::Seen(seen) => seen.before.clone(),
        _ => None,
    });
    looks.next().map(|look| look.answers).unwrap_or_default()
}

fn both(before: (Answers, Option<Tally>), after: (Answers, Option<Tally>)) -> Seen {
    let look = |(answers, rows): (Answers, Option<Tally>)| Some(Look { answers, rows });
    Seen {
        before: look(before),
        after: look(after),
    }
}

fn seen(before: Option<Look>, after: Option<Look>) -> Outcome {
    Outcome::Seen(Box::new(Seen { before, after }))
}

/// What the copy of this operation has said to an attempt that has failed.
fn answered_before(open: &OpenOperation) -> Answers {
    let seen = open.events.iter().rev().find_map(|entry| match &entry.event {
        Event::Seen { seen, .. } => seen.before.as_ref(),
        _ => None,
    });
    seen.map(|look| look.answers.clone()).unwrap_or_default()
}
