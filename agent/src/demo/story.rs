//! What the demo shows, phase by phase. Every sentence with an "ok" was checked, and from outside: over
//! HTTP, at the engine, in the files. The first one that does not hold ends the story.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::time::Instant;

use super::daemon::Daemon;
use super::files::{self, BAD, GOOD_AFTER, PASSWORD};
use super::host::Host;
use super::outside::{Outside, Seen};
use super::say::{Narrator, Row, seconds};
use super::scene::Scene;
use crate::view::Status;

pub(super) const FIRST: &str = "v1.4.0";
pub(super) const SECOND: &str = "v1.5.0";
pub(super) const THIRD: &str = BAD;

/// What a user adds under the first release, and under the third, which knows of intervals.
pub(super) const OLD_ROW: &str = "BTCUSDT";
pub(super) const NEW_ROW: &str = "ETHUSDT";
pub(super) const INTERVAL: &str = "4h";

/// How long anything may take that has no span of its own. Generous: a slow machine is no failure.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

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
        self.add(OLD_ROW, None, FIRST).await?;
        self.is_proven(FIRST).await?;

        self.say
            .phase(&format!("2  desired.toml is edited: {FIRST} becomes {SECOND}"));
        let asked = self.edit(FIRST, SECOND)?;
        self.comes_to_serve(SECOND, "deployed", asked).await?;
        self.is_proven(SECOND).await?;

        self.say.phase(&format!(
            "3  desired.toml is edited: {SECOND} becomes {THIRD}, a bad release that brings a migration"
        ));
        let asked = self.edit(SECOND, THIRD)?;
        self.comes_to_serve(THIRD, "deployed, with its migration", asked)
            .await?;
        self.add(NEW_ROW, Some(INTERVAL), THIRD).await?;
        self.says_what_is_at_stake().await?;
        let left = self.fails(asked).await?;

        self.say
            .phase("4  Steadfast goes back by itself, and takes the schema along");
        self.goes_back(left).await?;
        self.holds().await?;

        self.say.phase(&format!(
            "5  compose.yaml is edited: the cause is mended, and {THIRD} is tried again"
        ));
        self.is_mended().await?;
        self.is_tried_again().await
    }

    /// The edit of an operator.
    fn edit(&mut self, from: &str, to: &'static str) -> Result<Instant> {
        self.say.quote(&format!("-tag = \"{from}\"\n+tag = \"{to}\""));
        self.scene.ask_for(to)?;
        Ok(Instant::now())
    }

    /// Waits until both say that they are this release, and well.
    pub(super) async fn comes_to_serve(
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

    pub(super) async fn is_proven(&mut self, version: &'static str) -> Result<()> {
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
        let head = head_of(version);
        stands_at(&status, head)?;
        let number = status.runs.as_ref().map_or(0, |runs| runs.generation);
        self.say.proven(&format!(
            "healthy for {GOOD_AFTER} s: generation {number} ({version}, schema {head}) is proven good"
        ));
        let seen = self.outside.seen();
        self.row("proven good", version, &seen, begun);
        Ok(())
    }

    /// The containers at the engine, and the secret in its place.
    pub(super) async fn is_whole(&mut self, version: &str) -> Result<()> {
        let containers = self.host.containers().await?;
        let wanted = [
            ("api", format!("steadfast-test/api:{version}")),
            ("frontend", format!("steadfast-test/frontend:{version}")),
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
        ensure!(
            !self.daemon.logged().contains(PASSWORD),
            "the database's password stands in the log"
        );
        self.say
            .proven("the database's password does not stand in the daemon's log");
        Ok(())
    }

    /// The symbol and the interval of all backtests, in the order in which they were added.
    pub(super) async fn has_rows(&self, wanted: &[(&str, Option<&str>)]) -> Result<()> {
        let found = self.outside.backtests().await?;
        let found: Vec<_> = found
            .iter()
            .map(|(symbol, interval)| (symbol.as_str(), interval.as_deref()))
            .collect();
        ensure!(
            found == wanted,
            "the backtests in the database should be {wanted:?}, and are {found:?}"
        );
        Ok(())
    }

    /// `steadfast status`, for everybody to see; it has to end with this code.
    pub(super) async fn show_status(&mut self, wanted: i32) -> Result<()> {
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
            code == wanted,
            "`steadfast status --exit-code` should end with {wanted}, and ends with {code}"
        );
        Ok(())
    }

    async fn add(&mut self, symbol: &str, interval: Option<&str>, under: &str) -> Result<()> {
        self.outside.add(symbol, interval).await?;
        let with = interval.map_or_else(String::new, |interval| format!(" with the interval {interval}"));
        self.say.event(&format!(
            "a user adds a backtest of {symbol}{with} through the frontend, under {under}"
        ));
        Ok(())
    }

    pub(super) fn row(&mut self, phase: &'static str, asked: &'static str, seen: &Seen, since: Instant) {
        self.say.row(Row {
            phase,
            asked,
            serves: seen.words(),
            took: since.elapsed(),
        });
    }

    /// Waits until something is seen from outside.
    pub(super) async fn see(&mut self, what: &str, is_it: impl Fn(&Seen) -> bool) -> Result<Seen> {
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
    pub(super) async fn ask(
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

/// How far the schema is with a release.
pub(super) fn head_of(version: &str) -> &'static str {
    if version == THIRD { "0002" } else { "0001" }
}

/// An error where the schema does not stand at `head`.
pub(super) fn stands_at(status: &Status, head: &str) -> Result<()> {
    let heads = status.schema.as_ref().map_or(&[][..], |schema| &schema.heads);
    ensure!(
        heads == [head],
        "the schema should stand at {head}, and stands at {heads:?}"
    );
    Ok(())
}
