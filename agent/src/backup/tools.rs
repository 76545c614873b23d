//! Running a tool of Postgres: in the database's container, or on this host. Its output goes on as it comes.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use config::settings::PgName;
use state::name::ContainerId;
use state::stack_spec::EnvValue;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::{BackupError, said, versions};
use crate::database::Client;
use crate::engine::{Engine, Exec};

/// What the tools' sessions call themselves.
pub(super) const APPLICATION: &str = "steadfast backup";
/// `--version` takes no longer.
const SOON: Duration = Duration::from_secs(20);
/// The most of its standard error that is kept.
const WORDS: usize = 64 * 1024;

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

    /// Those of this host: of the lowest version that can dump what a server of `server` has.
    pub(super) async fn on_host(server: u32) -> Result<Self, BackupError> {
        let mut best: Option<(PathBuf, Found)> = None;
        let mut seen = Vec::new();
        for directory in directories() {
            let asked = Command::new(directory.join("pg_dump"))
                .arg("--version")
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output();
            let Ok(Ok(asked)) = timeout(SOON, asked).await else {
                continue;
            };
            let Ok(found) = found(&String::from_utf8_lossy(&asked.stdout)) else {
                continue;
            };
            seen.push(found.major);
            let is_better = best.as_ref().is_none_or(|(_, best)| found.major < best.major);
            if found.major >= server && is_better {
                best = Some((directory, found));
            }
        }
        let Some((directory, found)) = best else {
            seen.sort_unstable();
            seen.dedup();
            let seen: Vec<String> = seen.iter().map(ToString::to_string).collect();
            let there = match seen.as_slice() {
                [] => String::from("there is none"),
                some => format!("there is {}", some.join(", ")),
            };
            return Err(BackupError::NoTool(format!(
                "the database is in no container of the stack, and its server is Postgres {server}: its backup needs \
                 pg_dump of version {server} or later on this host, and {there}; install the package \
                 postgresql-client-{server}"
            )));
        };
        Ok(Self::Host { directory, found })
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
            Self::Host { directory, found } => on_host(directory.join(tool), found, client, run).await?,
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

/// Where Debian and Red Hat put the tools of each version, then `PATH`.
fn directories() -> Vec<PathBuf> {
    let below = |above: &str, begin: &str| {
        let entries = std::fs::read_dir(above).into_iter().flatten().flatten();
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(begin));
        named.map(|entry| entry.path().join("bin")).collect::<Vec<_>>()
    };
    let mut directories = below("/usr/lib/postgresql", "");
    directories.extend(below("/usr", "pgsql-"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    directories.extend(std::env::split_paths(&path));
    directories.retain(|directory| directory.join("pg_dump").exists());
    directories
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

async fn on_host(
    program: PathBuf,
    found: &Found,
    client: &Client,
    mut run: Run<'_>,
) -> Result<(i64, String), BackupError> {
    let mut command = Command::new(&program);
    command.args(arguments(&mut run, client, None));
    let variables = client.variables(found.major).map_err(BackupError::NoTool)?;
    // What this process was started with does not say where the stack's database is.
    let inherited = std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("PG"));
    for (key, _) in inherited {
        command.env_remove(key);
    }
    command
        .envs(variables)
        .env("PGAPPNAME", APPLICATION)
        .env("LC_ALL", "C")
        .stdin(if run.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(password) = client.password() {
        command.env("PGPASSWORD", password.expose());
    }
    let (tool, within) = (run.tool, run.within);
    let cannot =
        |error: std::io::Error| BackupError::NoTool(format!("{} cannot be run: {error}", program.display()));
    let mut child = command.spawn().map_err(cannot)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let (Some(mut stdin), Some(input)) = (stdin, run.input) {
            // A tool that wants no more is no error; it says itself what is wrong.
            let _ = tokio::io::copy(input, &mut stdin).await;
        }
    };
    let drain = async {
        let mut stdout = stdout.ok_or(std::io::ErrorKind::BrokenPipe)?;
        tokio::io::copy(&mut stdout, run.output).await?;
        run.output.flush().await
    };
    let listen = async {
        let (mut words, mut piece) = (Vec::new(), [0; 4096]);
        if let Some(mut stderr) = stderr {
            // What is too much is read all the same: else the tool waits for ever.
            while let Ok(length @ 1..) = stderr.read(&mut piece).await {
                words.extend_from_slice(&piece[..length.min(WORDS - words.len())]);
            }
        }
        String::from_utf8_lossy(&words).into_owned()
    };
    let whole = async {
        let ((), drained, words) = tokio::join!(feed, drain, listen);
        drained.map(|()| words)
    };
    let late = |_| BackupError::Late { what: tool, within };
    match timeout(within, whole).await.map_err(late)? {
        Ok(words) => {
            let status = timeout(SOON, child.wait()).await.map_err(late)?.map_err(cannot)?;
            Ok((status.code().map_or(137, i64::from), words))
        }
        Err(error) => Err(BackupError::Broken {
            tool,
            said: format!("what it writes cannot be taken: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_server_that_is_newer_than_every_tool_here_is_refused() {
        let Err(BackupError::NoTool(said)) = Tools::on_host(999).await else {
            panic!("there is a pg_dump of version 999")
        };
        assert!(
            said.contains("needs pg_dump of version 999 or later on this host, and there is"),
            "{said}"
        );
    }
}
