//! What the demo shows, phase by phase. Every sentence with an "ok" was checked, and from outside: over
//! HTTP, at the engine, in the files. The first one that does not hold ends the story.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::Instant;

use super::daemon::Daemon;
use super::files::{self, FAIL_AFTER, GOOD_AFTER, PASSWORD, WINDOW};
use super::host::Host;
use super::outside::{Outside, Seen};
use super::say::{Narrator, Row, seconds};
use super::scene::Scene;
use crate::view::{State, Status};

const FIRST: &str = "v1.4.0";
const SECOND: &str = "v1.5.0";
const THIRD: &str = "v1.6.0";

/// How long anything may take that has no span of its own. Generous: a slow machine is no failure.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the restored release is watched: several passes, in which the bad one could come back.
const AFTERWARDS: Duration = Duration::from_secs(8);

/// All that takes part.
pub(super) struct Story<'a> {
    pub(super) scene: &'a Scene,
    pub(super) host: &'a Host,
    pub(super) daemon: &'a mut Daemon,
    pub(super) outside: Outside,
    pub(super) say: &'a mut Narrator,
}

impl Story<'_> {
    /// Tells it.
    pub(super) async fn tell(&mut self) -> Result<()> {
        self.say.phase(&format!("1  {FIRST} comes up, from nothing"));
        let asked = Instant::now();
        self.comes_to_serve(FIRST, "comes up", asked).await?;
        self.add("BTCUSDT", FIRST).await?;
        self.is_proven(FIRST).await?;

        self.say
            .phase(&format!("2  desired.toml is edited: {FIRST} becomes {SECOND}"));
        let asked = self.edit(FIRST, SECOND)?;
        self.comes_to_serve(SECOND, "deployed", asked).await?;
        self.is_proven(SECOND).await?;

        self.say.phase(&format!(
            "3  desired.toml is edited: {SECOND} becomes {THIRD}, a bad release"
        ));
        let asked = self.edit(SECOND, THIRD)?;
        self.comes_to_serve(THIRD, "deployed", asked).await?;
        self.add("ETHUSDT", THIRD).await?;
        let (bad, left) = self.turns_bad().await?;

        self.say.phase("4  Steadfast goes back by itself");
        self.goes_back(left).await?;
        self.holds_afterwards(bad, left).await
    }

    /// The edit of an operator.
    fn edit(&mut self, from: &str, to: &'static str) -> Result<Instant> {
        self.say.quote(&format!("-tag = \"{from}\"\n+tag = \"{to}\""));
        self.scene.ask_for(to)?;
        Ok(Instant::now())
    }

    async fn comes_to_serve(
        &mut self,
        version: &'static str,
        phase: &'static str,
        asked: Instant,
    ) -> Result<()> {
        let what = format!("waiting until {version} serves");
        let seen = self.see(&what, |seen| seen.serves(version)).await?;
        self.say.proven(&format!(
            "GET /version says {version} at the api and at the frontend, GET /health says 200"
        ));
        let away = self.outside.total(asked, |seen| seen.api.is_none());
        if version != FIRST {
            self.say.event(&format!(
                "the api was away for {} s: it has a port of the host, which two cannot have at once",
                seconds(away)
            ));
        }
        self.row(phase, version, &seen, asked);
        Ok(())
    }

    async fn is_proven(&mut self, version: &'static str) -> Result<()> {
        let begun = Instant::now();
        let status = self
            .ask(
                &format!("waiting until {version} is proven good"),
                |status| {
                    let runs = status.runs.as_ref()?;
                    (runs.tag.as_deref() == Some(version) && runs.verdict == "good").then_some(())
                },
                |status| {
                    let healthy = status.trial.as_ref().map_or(0, |trial| trial.healthy_seconds);
                    format!("{version} on trial: healthy for {healthy} s of {GOOD_AFTER} s")
                },
            )
            .await?;
        let heads = status.schema.as_ref().map_or(&[][..], |schema| &schema.heads);
        ensure!(
            heads == ["0001"],
            "the schema should stand at 0001, and stands at {heads:?}"
        );
        let number = status.runs.as_ref().map_or(0, |runs| runs.generation);
        self.say.proven(&format!(
            "healthy for {GOOD_AFTER} s: generation {number} ({version}, schema {}) is proven good",
            heads.join(" + ")
        ));
        let seen = self.outside.seen();
        self.row("proven good", version, &seen, begun);
        Ok(())
    }

    /// From the first bad answer until the bad release has left; gives both moments.
    async fn turns_bad(&mut self) -> Result<(Instant, Instant)> {
        let since = Instant::now();
        self.see(&format!("{THIRD} is well, as long as it lasts"), |seen| {
            seen.health == Some(500)
        })
        .await?;
        let bad = self
            .outside
            .first(since, |seen| seen.health == Some(500))
            .unwrap_or_else(Instant::now);
        self.say.proven(&format!(
            "GET /health says 500: {FAIL_AFTER} s after its start {THIRD} has turned bad"
        ));
        let has_left = |seen: &Seen| seen.api.as_deref() != Some(THIRD);
        let end = Instant::now() + PATIENCE;
        while !has_left(&self.outside.look().await?) {
            self.count_down().await?;
            ensure!(
                Instant::now() < end,
                "{THIRD} fails, and nothing is done about it"
            );
        }
        let left = self.outside.first(bad, has_left).unwrap_or_else(Instant::now);
        self.say.row(Row {
            phase: "failing, until the window is over",
            asked: THIRD,
            serves: format!("{THIRD} (500)"),
            took: left - bad,
        });
        Ok((bad, left))
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

    async fn goes_back(&mut self, left: Instant) -> Result<()> {
        let seen = self
            .see(&format!("waiting until {SECOND} serves again"), |seen| {
                seen.serves(SECOND)
            })
            .await?;
        let took = self
            .outside
            .first(left, |seen| seen.serves(SECOND))
            .map_or(Duration::ZERO, |at| at - left);
        self.say.proven(&format!(
            "{SECOND} serves again, whole: api and frontend, {} s after {THIRD} was stopped",
            seconds(took)
        ));
        self.say.row(Row {
            phase: "rolled back",
            asked: THIRD,
            serves: seen.words(),
            took,
        });
        Ok(())
    }

    async fn holds_afterwards(&mut self, bad: Instant, left: Instant) -> Result<()> {
        let begun = Instant::now();
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
        let status = self
            .ask(
                "waiting until the rollback is over",
                |status| (status.state == State::RolledBack).then_some(()),
                |_| format!("{SECOND} serves; the new containers are watched before the old ones go"),
            )
            .await?;
        self.is_told_truly(&status)?;
        self.is_whole().await?;
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
        self.show_status().await
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
            "status: {THIRD} was asked for, generation {} ({SECOND}) runs, {THIRD} is in quarantine",
            runs.generation
        ));
        ensure!(
            self.scene.asked()? == files::desired(THIRD),
            "desired.toml was touched"
        );
        self.say.proven(&format!("desired.toml still says {THIRD}"));
        Ok(())
    }

    /// The containers at the engine, the rows in the database, the secret in its place.
    async fn is_whole(&mut self) -> Result<()> {
        let containers = self.host.containers().await?;
        let wanted = [
            ("api", format!("steadfast-test/api:{SECOND}")),
            ("frontend", format!("steadfast-test/frontend:{SECOND}")),
            ("postgres", String::from("steadfast-test/postgres:15")),
        ];
        ensure!(
            containers.len() == wanted.len(),
            "three containers should be there, and there are {containers:?}"
        );
        for (service, image) in wanted {
            let id = self.host.image(&image).await?.unwrap_or_default();
            ensure!(
                containers.get(service) == Some(&(id, String::from("running"))),
                "{service} should run {image}, and the engine says {:?}",
                containers.get(service)
            );
        }
        self.say
            .proven("the engine: three containers, all running, each of the right image; none is left over");
        let symbols = self.outside.symbols().await?;
        ensure!(
            symbols == ["BTCUSDT", "ETHUSDT"],
            "two backtests should be in the database, and there are {symbols:?}"
        );
        self.say.proven(&format!(
            "no row was lost: what was added under {FIRST} and what was added under {THIRD} is there"
        ));
        ensure!(
            !self.daemon.logged().contains(PASSWORD),
            "the database's password stands in the log"
        );
        self.say
            .proven("the database's password does not stand in the daemon's log");
        Ok(())
    }

    async fn show_status(&mut self) -> Result<()> {
        let (code, text) = self
            .daemon
            .command(&["status", files::PROJECT, "--exit-code"])
            .await?;
        self.say.event(&format!(
            "$ steadfast status {} --exit-code; echo $?",
            files::PROJECT
        ));
        self.say.quote(&format!("{}\n{code}", text.trim_end()));
        ensure!(
            code == 6,
            "`steadfast status --exit-code` should end with 6 (rolled back), and ends with {code}"
        );
        self.say
            .proven("exit code 6: a rollback is not reported as a success");
        Ok(())
    }

    async fn add(&mut self, symbol: &str, under: &str) -> Result<()> {
        self.outside.add(symbol).await?;
        self.say.event(&format!(
            "a user adds a backtest of {symbol} through the frontend, under {under}"
        ));
        Ok(())
    }

    fn row(&mut self, phase: &'static str, asked: &'static str, seen: &Seen, since: Instant) {
        self.say.row(Row {
            phase,
            asked,
            serves: seen.words(),
            took: since.elapsed(),
        });
    }

    /// Waits until something is seen from outside.
    async fn see(&mut self, what: &str, is_it: impl Fn(&Seen) -> bool) -> Result<Seen> {
        let end = Instant::now() + PATIENCE;
        loop {
            let seen = self.outside.look().await?;
            if is_it(&seen) {
                return Ok(seen);
            }
            self.daemon.must_live()?;
            if Instant::now() > end {
                bail!(
                    "{what}: gave up after {PATIENCE:?}; what serves is {}",
                    seen.words()
                );
            }
            self.say.live(&format!("{what}; now: {}", seen.words()));
        }
    }

    /// Waits until `steadfast status` says something.
    async fn ask(
        &mut self,
        what: &str,
        is_it: impl Fn(&Status) -> Option<()>,
        words: impl Fn(&Status) -> String,
    ) -> Result<Status> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.daemon.must_live()?;
            let status = self.daemon.status().await?;
            if let Some(status) = status {
                if is_it(&status).is_some() {
                    return Ok(status);
                }
                self.say.live(&words(&status));
            }
            if Instant::now() > end {
                bail!("{what}: gave up after {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}
