//! Running a tool of Postgres: in the database's container, or on this host. Its output goes on as it comes.

mod host;

use std::path::PathBuf;
use std::time::Duration;

use config::settings::PgName;
use state::name::ContainerId;
use state::stack_spec::EnvValue;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{BackupError, said, versions};
use crate::database::Client;
use crate::engine::{Engine, Exec};

/// What the tools' sessions call themselves.
pub(super) const APPLICATION: &str = "steadfast backup";
/// `--version` takes no longer.
const SOON: Duration = Duration::from_secs(20);

/// Where tools are run.
pub(super) enum Tools<'a> {
    /// In the database's container.
    Inside {
        engine: &'a dyn Engine,
        container: &'a ContainerId,
        /// Whether there is a `timeout` to end them.
        wrap: bool,
        found: Found,
    },
    /// On this host.
    Host { directory: PathBuf, found: Found },
}

/// Of which version they are.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) major: u32,
    pub(super) line: String,
}

/// One run of a tool.
pub(super) struct Run<'a> {
    pub(super) tool: &'static str,
    pub(super) arguments: Vec<String>,
    /// The database to connect to; `None`: to none.
    pub(super) database: Option<&'a PgName>,
    pub(super) input: Option<&'a mut (dyn AsyncRead + Send + Unpin)>,
    pub(super) output: &'a mut (dyn AsyncWrite + Send + Unpin),
    pub(super) within: Duration,
}

impl<'a> Tools<'a> {
    /// Those of the container.
    pub(super) async fn inside(
        engine: &'a dyn Engine,
        container: &'a ContainerId,
    ) -> Result<Self, BackupError> {
        let mut words = String::new();
        for wrap in [true, false] {
            let mut output = Vec::new();
            let exec = Exec {
                container,
                command: ["pg_dump", "--version"].map(str::to_owned).into(),
                env: Vec::new(),
                user: None,
                input: None,
                output: &mut output,
                wrap,
                within: SOON,
            };
            let ended = engine.exec(exec).await?;
            words = String::from_utf8_lossy(&output).into_owned() + &ended.stderr;
            if ended.code == 0 {
                return Ok(Self::Inside {
                    engine,
                    container,
                    wrap,
                    found: found(&words)?,
                });
            }
        }
        let said = words.trim();
        Err(BackupError::NoTool(format!(
            "the database's container {} has no pg_dump that can be run: {said}",
            container.short()
        )))
    }

    pub(super) fn found(&self) -> &Found {
        match self {
            Self::Inside { found, .. } | Self::Host { found, .. } => found,
        }
    }

    /// Runs it to a good end; any other is an error.
    pub(super) async fn run<'r>(&'r self, client: &Client, run: Run<'r>) -> Result<(), BackupError> {
        let tool = run.tool;
        let (code, words) = match self {
            Self::Inside {
                engine,
                container,
                wrap,
                ..
            } => inside(*engine, container, *wrap, client, run).await?,
            Self::Host { directory, found } => host::run(directory.join(tool), found, client, run).await?,
        };
        if code == 0 {
            return Ok(());
        }
        Err(said::failed(tool, code, &client.redact(&words)))
    }
}

fn found(words: &str) -> Result<Found, BackupError> {
    let major = versions::major(words)
        .ok_or_else(|| BackupError::NoTool(format!("pg_dump is of no known version: {}", words.trim())))?;
    let line = versions::line(words);
    Ok(Found { major, line })
}

/// The arguments, with where to connect to. A name is quoted as libpq reads it: else `a=b` would be settings.
fn arguments(run: &mut Run<'_>, client: &Client, at: Option<u16>) -> Vec<String> {
    let mut arguments = std::mem::take(&mut run.arguments);
    let Some(database) = run.database else {
        return arguments;
    };
    let name = database.as_str().replace('\\', "\\\\").replace('\'', "\\'");
    arguments.push(format!("--dbname=dbname='{name}'"));
    arguments.push(String::from("--no-password"));
    if let Some(user) = client.user() {
        arguments.push(format!("--username={user}"));
    }
    if let Some(port) = at {
        arguments.push(String::from("--host=127.0.0.1"));
        arguments.push(format!("--port={port}"));
    }
    arguments
}

async fn inside<'r>(
    engine: &dyn Engine,
    container: &'r ContainerId,
    wrap: bool,
    client: &Client,
    mut run: Run<'r>,
) -> Result<(i64, String), BackupError> {
    let arguments = arguments(&mut run, client, Some(client.port()));
    let mut env = vec![
        (String::from("PGAPPNAME"), EnvValue::from(APPLICATION)),
        (String::from("LC_ALL"), EnvValue::from("C")),
    ];
    env.extend(
        client
            .password()
            .map(|password| (String::from("PGPASSWORD"), password)),
    );
    let command = [run.tool.to_owned()].into_iter().chain(arguments).collect();
    let exec = Exec {
        container,
        command,
        env,
        user: None,
        input: run.input,
        output: run.output,
        wrap,
        within: run.within,
    };
    let ended = engine.exec(exec).await?;
    Ok((ended.code, ended.stderr))
}
