//! The bad release: what going back would take out of the database is said beforehand, the window runs out, and
//! Steadfast goes back by itself, with the schema. What holds afterwards is looked at from outside.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use super::files::{self, FAIL_AFTER, WINDOW};
use super::outside::Seen;
use super::say::{Row, seconds};
use super::story::{FIRST, NEW_ROW, OLD_ROW, PATIENCE, SECOND, Story, THIRD, head_of, stands_at};
use crate::view::{State, Status};

/// What the way back of migration 0002 destroys, as `status` has to say it.
const AT_STAKE: &str = "0002: the column interval of backtests";
/// How long the restored release is watched: several passes, in which the bad one could come back.
const AFTERWARDS: Duration = Duration::from_secs(6);

impl Story<'_> {
    /// What status has to say before anybody goes back.
    pub(super) async fn says_what_is_at_stake(&mut self) -> Result<()> {
        let status = self
            .ask(
                "waiting until it is known what going back would destroy",
                |status| (!status.rollback.destroys.is_empty()).then_some(()),
                |_| format!("{THIRD} is well, as long as it lasts"),
            )
            .await?;
        stands_at(&status, head_of(THIRD))?;
        let destroys = &status.rollback.destroys;
        ensure!(
            destroys == &[AT_STAKE],
            "going back should destroy {AT_STAKE:?}, and status says {destroys:?}"
        );
        self.say.proven(&format!(
            "the schema stands at {}; `status --json` says what a rollback would destroy: \"{AT_STAKE}\"",
            head_of(THIRD)
        ));
        Ok(())
    }

    /// From the deploy of the bad release, at `asked`, until it has left.
    pub(super) async fn fails(&mut self, asked: Instant) -> Result<Instant> {
        let bad = self.turns_bad(asked).await?;
        let left = self.is_left(bad).await?;
        self.say.row(Row {
            phase: "failing, until the window is over",
            asked: THIRD,
            serves: format!("{THIRD} (500)"),
            took: left - bad,
        });
        // Samples are a second apart: the daemon's first bad one may be a little older than ours.
        let failed = left - bad;
        ensure!(
            failed + Duration::from_millis(500) >= Duration::from_secs(WINDOW),
            "{THIRD} was left after {} s already, the window is {WINDOW} s",
            seconds(failed)
        );
        self.say.proven(&format!(
            "not before its time: {THIRD} had failed for {} s",
            seconds(failed)
        ));
        Ok(left)
    }

    async fn turns_bad(&mut self, asked: Instant) -> Result<Instant> {
        let fails = |seen: &Seen| seen.health == Some(500);
        self.see(&format!("{THIRD} is well, as long as it lasts"), fails)
            .await
            .context("where the images are older than this program, `make images` makes them anew")?;
        self.say.proven(&format!(
            "GET /health says 500: {FAIL_AFTER} s after its start {THIRD} has turned bad"
        ));
        Ok(self.outside.first(asked, fails).unwrap_or_else(Instant::now))
    }

    async fn is_left(&mut self, bad: Instant) -> Result<Instant> {
        let has_left = |seen: &Seen| seen.api.as_deref() != Some(THIRD);
        let end = Instant::now() + PATIENCE;
        while !has_left(&self.outside.look().await?) {
            self.count_down().await?;
            ensure!(
                Instant::now() < end,
                "{THIRD} fails, and nothing is done about it"
            );
        }
        Ok(self.outside.first(bad, has_left).unwrap_or_else(Instant::now))
    }

    async fn count_down(&mut self) -> Result<()> {
        self.daemon.must_live()?;
        let Some(status) = self.daemon.status().await? else {
            return Ok(());
        };
        if let Some(failing) = &status.failing {
            let left = failing.left_seconds.map_or_else(String::new, |left| {
                format!(": rolled back in {left} s, unless it recovers")
            });
            self.say.live(&format!(
                "failing for {} s of {WINDOW} s{left}",
                failing.seconds.min(WINDOW)
            ));
        }
        Ok(())
    }

    /// Until the older release serves again, and what was taken out of the database is kept.
    pub(super) async fn goes_back(&mut self, left: Instant) -> Result<()> {
        let what = format!("waiting until {SECOND} serves again, on its own schema");
        let seen = self.see(&what, |seen| seen.serves(SECOND)).await?;
        let took = self
            .outside
            .first(left, |seen| seen.serves(SECOND))
            .map_or(Duration::ZERO, |at| at - left);
        self.say.proven(&format!(
            "{SECOND} serves again, whole: api and frontend, {} s after {THIRD} was stopped",
            seconds(took)
        ));
        self.say.row(Row {
            phase: "rolled back, with the schema",
            asked: THIRD,
            serves: seen.words(),
            took,
        });
        let status = self
            .ask(
                "waiting until the rollback is over",
                |status| {
                    stands_at(status, head_of(SECOND)).ok()?;
                    (status.state == State::RolledBack).then_some(())
                },
                |_| format!("{SECOND} serves; the new containers are watched before the old ones go"),
            )
            .await?;
        self.is_told_truly(&status)?;
        self.is_kept().await
    }

    /// What Steadfast says of it is what happened, and the operator's file is the operator's.
    fn is_told_truly(&mut self, status: &Status) -> Result<()> {
        let asked = status.asked.as_ref().map(|asked| asked.tag.as_str());
        let runs = status.runs.as_ref().context("status says that nothing runs")?;
        ensure!(
            asked == Some(THIRD) && runs.tag.as_deref() == Some(SECOND) && !status.as_asked,
            "status says that {asked:?} was asked for and {:?} runs",
            runs.tag
        );
        let gap = status.gap.as_ref().context("status does not say why")?;
        ensure!(
            gap.tag.as_deref() == Some(THIRD),
            "status says that {:?} has failed",
            gap.tag
        );
        self.say.proven(&format!(
            "status: {THIRD} was asked for, generation {} ({SECOND}, schema {}) runs, {THIRD} is in quarantine",
            runs.generation,
            head_of(SECOND)
        ));
        ensure!(
            self.scene.asked()? == files::desired(THIRD),
            "desired.toml was touched"
        );
        self.say.proven(&format!("desired.toml still says {THIRD}"));
        Ok(())
    }

    async fn is_kept(&mut self) -> Result<()> {
        let is = |status: &Status| {
            status
                .taken_back
                .first()
                .is_some_and(|taken| taken.state == "kept")
        };
        let status = self
            .ask(
                "waiting until what the downgrade took out is kept",
                |status| (is(status) && status.operation.is_none()).then_some(()),
                |_| String::from("what the downgrade took out is read out of the copy, and backed up"),
            )
            .await?;
        let kept = status.taken_back.first().context("nothing was taken back")?;
        ensure!(
            kept.revisions == [head_of(THIRD)] && kept.rows == 1,
            "the interval of one row should be kept, and what is kept is {kept:?}"
        );
        self.say.proven(&format!(
            "status --json, taken_back: {} row of {} is kept ({})",
            kept.rows,
            kept.revisions.join(", "),
            kept.lines.join("; ")
        ));
        Ok(())
    }

    /// The older release goes on, whole.
    pub(super) async fn holds(&mut self) -> Result<()> {
        let begun = Instant::now();
        self.has_rows(&[(OLD_ROW, None), (NEW_ROW, None)]).await?;
        self.say.proven(&format!(
            "no row was lost: what was added under {FIRST} and what was added under {THIRD} is there"
        ));
        self.is_whole(SECOND).await?;
        let end = Instant::now() + AFTERWARDS;
        while Instant::now() < end {
            let seen = self.outside.look().await?;
            ensure!(
                seen.serves(SECOND),
                "{SECOND} should go on serving, and what serves is {}",
                seen.words()
            );
            self.daemon.must_live()?;
            self.say
                .live(&format!("{THIRD} is still asked for: does it stay away?"));
        }
        self.say
            .proven(&format!("{SECOND} went on serving; {THIRD} was not tried again"));
        let seen = self.outside.seen();
        self.row("and stays there", THIRD, &seen, begun);
        self.show_status(6).await?;
        self.say
            .proven("exit code 6: a rollback is not reported as a success");
        Ok(())
    }
}
