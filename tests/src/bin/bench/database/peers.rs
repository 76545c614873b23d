//! The peers: what a script does that keeps no journal and asks nobody, and what a person does who goes by the book. On a
//! database of their own, of the same rows, on the same server.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio_postgres::NoTls;

use super::{LONG, NEW, OLD, Outage, PASSWORD, PEERS, PROJECT, Run, Watch};
use crate::host::LABEL;
use crate::raw::{Raw, until_serves};
use crate::stack;

/// Whatever is in the way of who comes back; nobody asks the database of the peers but they.
const COPY: &str = "peers_copy";

pub(super) struct Peers {
    raw: Raw,
    /// In another database than those that are copied.
    server: tokio_postgres::Client,
    postgres: String,
    directory: TempDir,
}

impl Peers {
    /// Fills the stack's database, and copies it.
    pub(super) async fn start() -> Result<Self> {
        let mut raw = Raw::connect()?;
        let postgres = format!("{PROJECT}-postgres-1");
        let seen = raw.must("GET", &format!("/containers/{postgres}/json"), None)?;
        let network = format!("/NetworkSettings/Networks/{PROJECT}_default/IPAddress");
        let address = seen.pointer(&network).and_then(|address| address.as_str());
        let login = format!(
            "host={} user=postgres password={PASSWORD} dbname=postgres",
            address.context("the database has no address")?
        );
        let (server, connection) = tokio_postgres::connect(&login, NoTls).await?;
        tokio::spawn(connection);
        let peers = Self {
            raw,
            server,
            postgres,
            directory: stack::directory()?,
        };
        crate::report::say("filling the database");
        peers.sql("tests", include_str!("rows.sql")).await?;
        // Whoever connects to it meanwhile waits.
        peers.run("CREATE DATABASE peers TEMPLATE tests").await?;
        Ok(peers)
    }

    /// What `psql` prints.
    pub(super) async fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let psql = [
            "psql",
            "-qAtv",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
            "-c",
            sql,
        ];
        Ok(self.exec(&psql).await?.trim().to_owned())
    }

    async fn run(&self, sql: &str) -> Result<()> {
        self.server
            .batch_execute(sql)
            .await
            .with_context(|| sql.to_owned())
    }

    /// What was written before is on disk: nobody pays for what another has done.
    pub(super) async fn checkpoint(&self) -> Result<()> {
        self.run("CHECKPOINT").await
    }

    async fn exec(&self, words: &[&str]) -> Result<String> {
        let mut all = vec!["exec", &self.postgres];
        all.extend(words);
        said(Command::new("docker").args(all).stdout(Stdio::piped())).await
    }

    /// Copy, downgrade in a container of its own, swap.
    pub(super) async fn floor(&mut self) -> Result<Run> {
        let [new, old] = self.forward().await?;
        self.checkpoint().await?;
        let outage = Outage::of(PEERS)?;
        let mut watch = Watch::new();
        self.stop(&new)?;
        watch.part("stop");
        self.run(&format!("CREATE DATABASE {COPY} TEMPLATE peers"))
            .await?;
        watch.part("copy_database");
        self.alembic(&["downgrade", "0001"])?;
        watch.part("migrate");
        self.start_container(&old)?;
        watch.part("start");
        let took = outage.over().await?;
        self.clear(&[new, old]).await?;
        Ok(Run { took, spent: watch.1 })
    }

    /// Dump, restore to make sure of it, downgrade, swap.
    pub(super) async fn guide(&mut self) -> Result<Run> {
        let [new, old] = self.forward().await?;
        let dump = self.directory.path().join("backup_before_rollback.sql");
        self.checkpoint().await?;
        let outage = Outage::of(PEERS)?;
        let mut watch = Watch::new();
        self.stop(&new)?;
        watch.part("stop");
        let words = ["exec", &self.postgres, "pg_dump", "-U", "postgres", "peers"];
        let file = std::fs::File::create(&dump)?;
        said(Command::new("docker").args(words).stdout(file)).await?;
        self.run(&format!("CREATE DATABASE {COPY}")).await?;
        let words = [
            "exec",
            "-i",
            &self.postgres,
            "psql",
            "-qv",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            COPY,
        ];
        let file = std::fs::File::open(&dump)?;
        let restore = &mut Command::new("docker");
        said(restore.args(words).stdin(file).stdout(Stdio::null())).await?;
        let rows = "SELECT (SELECT count(*) FROM symbols), (SELECT count(*) FROM candles), \
             (SELECT count(*) FROM backtests), (SELECT count(*) FROM trades)";
        ensure!(
            self.sql("peers", rows).await? == self.sql(COPY, rows).await?,
            "the dump is not what it was made of"
        );
        watch.part("copy_database");
        self.alembic(&["downgrade", "0001"])?;
        watch.part("migrate");
        self.start_container(&old)?;
        watch.part("start");
        let took = outage.over().await?;
        std::fs::remove_file(&dump)?;
        self.clear(&[new, old]).await?;
        Ok(Run { took, spent: watch.1 })
    }

    /// The new release runs, and the old one is made.
    async fn forward(&mut self) -> Result<[String; 2]> {
        self.alembic(&["upgrade", "head"])?;
        self.sql("peers", "UPDATE backtests SET interval = id || 'h'")
            .await?;
        let new = self.make(NEW, None)?;
        self.start_container(&new)?;
        until_serves(PEERS, &format!("{{\"version\":\"{NEW}\"}}"), LONG)?;
        Ok([new, self.make(OLD, None)?])
    }

    async fn clear(&mut self, containers: &[String]) -> Result<()> {
        for id in containers {
            self.raw
                .must("DELETE", &format!("/containers/{id}?force=1"), None)?;
        }
        self.run(&format!("DROP DATABASE {COPY}")).await
    }

    /// Makes a container of the api; with `command` one that runs that instead.
    fn make(&mut self, tag: &str, command: Option<&[&str]>) -> Result<String> {
        let (label, value) = LABEL.split_once('=').unwrap_or((LABEL, ""));
        let mut body = json!({
            "Image": format!("steadfast-test/api:{tag}"),
            "Labels": { label: value },
            "Env": [format!("DATABASE_URL=postgresql://postgres:{PASSWORD}@postgres:5432/peers")],
            "HostConfig": { "NetworkMode": format!("{PROJECT}_default") },
        });
        if let Some(command) = command {
            body["Entrypoint"] = json!(["alembic"]);
            body["Cmd"] = json!(command);
        } else {
            body["ExposedPorts"] = json!({ "8000/tcp": {} });
            let ports = json!([{ "HostIp": "127.0.0.1", "HostPort": PEERS.to_string() }]);
            body["HostConfig"]["PortBindings"] = json!({ "8000/tcp": ports });
        }
        let made = self.raw.must("POST", "/containers/create", Some(&body))?;
        Ok(made["Id"].as_str().context("no id")?.to_owned())
    }

    fn start_container(&mut self, id: &str) -> Result<()> {
        self.raw.must("POST", &format!("/containers/{id}/start"), None)?;
        Ok(())
    }

    fn stop(&mut self, id: &str) -> Result<()> {
        self.raw
            .must("POST", &format!("/containers/{id}/stop?t=10"), None)?;
        Ok(())
    }

    /// In a container of its own, from the image of the new release, which alone has the scripts.
    fn alembic(&mut self, words: &[&str]) -> Result<()> {
        let id = self.make(NEW, Some(words))?;
        self.start_container(&id)?;
        let ended = self.raw.must("POST", &format!("/containers/{id}/wait"), None)?;
        ensure!(ended["StatusCode"] == 0, "alembic {words:?}: {ended}");
        self.raw
            .must("DELETE", &format!("/containers/{id}?force=1"), None)?;
        Ok(())
    }
}

/// What a command printed, where that is asked for; an error where it failed.
async fn said(command: &mut Command) -> Result<String> {
    let child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{:?}: {}", command.as_std(), why.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
