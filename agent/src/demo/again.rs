//! The cause is mended and the release is tried again: what the rollback took out of the database is there again.

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use super::files::{self, FAIL_AFTER};
use super::story::{INTERVAL, NEW_ROW, OLD_ROW, Story, THIRD};
use crate::view::{State, Status};

impl Story<'_> {
    /// The operator takes the cause away; that alone is no reason to try again an image that has failed.
    pub(super) async fn is_mended(&mut self) -> Result<()> {
        let accepted = |status: &Status| status.asked.as_ref().map(|asked| asked.accepted);
        let before = self.daemon.status().await?.as_ref().and_then(accepted);
        self.say.quote(&format!("-{}", files::cause()));
        self.scene.mend()?;
        self.ask(
            "waiting until the edit is seen",
            |status| {
                let is_seen = accepted(status) > before && status.state == State::RolledBack;
                (is_seen && status.gap.is_some()).then_some(())
            },
            |_| String::from("the edit is left to settle"),
        )
        .await?;
        self.say.proven(&format!(
            "the edit alone brings nothing back: {THIRD} stays in quarantine, until somebody says otherwise"
        ));
        Ok(())
    }

    /// Somebody says otherwise.
    pub(super) async fn is_tried_again(&mut self) -> Result<()> {
        let asked = Instant::now();
        let reason = "the strategy engine is mended";
        let words = ["retry", files::PROJECT, "--reason", reason];
        let (code, text) = self.daemon.command(&words).await?;
        self.say.event(&format!(
            "$ steadfast retry {} --reason '{reason}'",
            files::PROJECT
        ));
        self.say.quote(&text);
        ensure!(
            code == 0,
            "`steadfast retry` should end with 0, and ends with {code}"
        );
        self.comes_to_serve(THIRD, "deployed again", asked).await?;
        self.has_rows(&[(OLD_ROW, None), (NEW_ROW, Some(INTERVAL))])
            .await?;
        self.say.proven(&format!(
            "GET /api/backtests: {NEW_ROW} has the interval again that its user gave it, \"{INTERVAL}\""
        ));
        self.is_put_back().await?;
        self.is_proven(THIRD).await?;
        self.say.proven(&format!(
            "past the {FAIL_AFTER} s after which {THIRD} had turned bad: it is mended"
        ));
        self.is_whole(THIRD).await?;
        self.show_status(0).await?;
        self.say.proven(&format!("exit code 0: {THIRD} runs, as asked"));
        Ok(())
    }

    async fn is_put_back(&mut self) -> Result<()> {
        let is = |status: &Status| {
            status
                .taken_back
                .first()
                .is_some_and(|taken| taken.state == "put_back")
        };
        let status = self
            .ask(
                "waiting until what was kept is put back",
                |status| is(status).then_some(()),
                |_| String::from("what was kept is put back"),
            )
            .await?;
        let taken = status.taken_back.first().context("nothing was taken back")?;
        ensure!(
            (taken.restored, taken.skipped, taken.conflicting) == (1, 0, 0),
            "one row should be put back, and what was done is {taken:?}"
        );
        self.say.proven(&format!(
            "status --json, taken_back: {} row put back, none skipped, none in conflict",
            taken.restored
        ));
        Ok(())
    }
}
