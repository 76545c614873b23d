//! What anybody sees who uses the stack: asked over HTTP, several times a second, without knowing of
//! Steadfast. What is seen is remembered with its time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::files::Ports;

const EVERY: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(2);

/// One look at the stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// What the api says it is; `None`: it does not answer.
    pub(super) api: Option<String>,
    /// The status of its `/health`.
    pub(super) health: Option<u16>,
    /// What the frontend says it is.
    pub(super) frontend: Option<String>,
}

impl Seen {
    /// All of it is `version`, and well.
    pub(super) fn serves(&self, version: &str) -> bool {
        self.api.as_deref() == Some(version)
            && self.frontend.as_deref() == Some(version)
            && self.health == Some(200)
    }

    /// For the table: `v1.8.0 (500)`.
    pub(super) fn words(&self) -> String {
        match (&self.api, self.health) {
            (Some(version), Some(200)) if self.frontend.as_ref() == Some(version) => version.clone(),
            (Some(version), Some(200)) => {
                format!(
                    "api {version}, frontend {}",
                    self.frontend.as_deref().unwrap_or("away")
                )
            }
            (Some(version), Some(status)) => format!("{version} ({status})"),
            (Some(version), None) => format!("{version} (no answer)"),
            (None, _) => String::from("nothing"),
        }
    }
}

/// Whoever stands outside and looks.
pub(super) struct Outside {
    client: reqwest::Client,
    ports: Ports,
    seen: watch::Receiver<Seen>,
    past: Arc<Mutex<Vec<(Instant, Seen)>>>,
    task: JoinHandle<()>,
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Outside {
    /// Begins to look.
    pub(super) fn watch(ports: Ports) -> Result<Self> {
        // Plain HTTP is all that is asked; the client wants to know a provider all the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .no_proxy()
            // Containers are replaced: each question on a connection of its own.
            .pool_max_idle_per_host(0)
            .build()
            .context("cannot make an HTTP client")?;
        let (sender, seen) = watch::channel(Seen::default());
        let past = Arc::new(Mutex::new(vec![(Instant::now(), Seen::default())]));
        let task = tokio::spawn(keep_looking(client.clone(), ports, sender, Arc::clone(&past)));
        Ok(Self {
            client,
            ports,
            seen,
            past,
            task,
        })
    }

    /// What was seen last.
    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// The next look. Cancel-safe.
    pub(super) async fn look(&mut self) -> Result<Seen> {
        self.seen.changed().await.context("nobody looks any more")?;
        Ok(self.seen())
    }

    /// When, from `since` on, something like this was seen first.
    pub(super) fn first(&self, since: Instant, is_it: impl Fn(&Seen) -> bool) -> Option<Instant> {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.iter()
            .filter(|(at, _)| *at >= since)
            .find(|(_, seen)| is_it(seen))
            .map(|(at, _)| *at)
    }

    /// For how long, from `since` on, this was seen all in all.
    pub(super) fn total(&self, since: Instant, is_it: impl Fn(&Seen) -> bool) -> Duration {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = past.iter().skip(1).map(|(at, _)| *at).chain([Instant::now()]);
        past.iter()
            .zip(ends)
            .filter(|((_, seen), end)| *end > since && is_it(seen))
            .map(|((begin, _), end)| end - (*begin).max(since))
            .sum()
    }

    /// Adds a backtest through the frontend, as a user does; the interval is for those releases that know of one.
    pub(super) async fn add(&self, symbol: &str, interval: Option<&str>) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/api/backtests", self.ports.frontend);
        let body = match interval {
            Some(interval) => serde_json::json!({ "symbol": symbol, "interval": interval }),
            None => serde_json::json!({ "symbol": symbol }),
        };
        let request = self.client.post(&url).header("content-type", "application/json");
        let answer = request
            .body(body.to_string())
            .send()
            .await
            .context("cannot add a backtest")?;
        if answer.status().as_u16() != 201 {
            bail!("adding a backtest was answered with {}", answer.status());
        }
        Ok(())
    }

    /// The symbol and the interval of each backtest, through the frontend.
    pub(super) async fn backtests(&self) -> Result<Vec<(String, Option<String>)>> {
        let url = format!("http://127.0.0.1:{}/api/backtests", self.ports.frontend);
        let text = text(&self.client, &url)
            .await
            .context("cannot list the backtests")?;
        let rows: Vec<Value> = serde_json::from_str(&text).context("the list of backtests is not one")?;
        let text = |row: &Value, key: &str| row[key].as_str().map(str::to_owned);
        let backtests = rows
            .iter()
            .filter_map(|row| Some((text(row, "symbol")?, text(row, "interval"))));
        Ok(backtests.collect())
    }
}

async fn keep_looking(
    client: reqwest::Client,
    ports: Ports,
    sender: watch::Sender<Seen>,
    past: Arc<Mutex<Vec<(Instant, Seen)>>>,
) {
    loop {
        let at = Instant::now();
        let seen = look(&client, ports).await;
        {
            let mut past = past.lock().unwrap_or_else(PoisonError::into_inner);
            if past.last().is_none_or(|(_, last)| *last != seen) {
                past.push((at, seen.clone()));
            }
        }
        if sender.send(seen).is_err() {
            return;
        }
        tokio::time::sleep_until(at + EVERY).await;
    }
}

async fn look(client: &reqwest::Client, ports: Ports) -> Seen {
    let Ports { api, frontend } = ports;
    let (version, health, page) = (
        format!("http://127.0.0.1:{api}/version"),
        format!("http://127.0.0.1:{api}/health"),
        format!("http://127.0.0.1:{frontend}/version"),
    );
    let (version, health, page) = tokio::join!(
        text(client, &version),
        client.get(health).send(),
        text(client, &page)
    );
    let version = version.ok().and_then(|text| {
        let answer: Value = serde_json::from_str(&text).ok()?;
        Some(answer["version"].as_str()?.to_owned())
    });
    Seen {
        api: version,
        health: health.ok().map(|answer| answer.status().as_u16()),
        frontend: page.ok().map(|text| text.trim().to_owned()),
    }
}

async fn text(client: &reqwest::Client, url: &str) -> Result<String> {
    let answer = client.get(url).send().await?.error_for_status()?;
    Ok(answer.text().await?)
}
