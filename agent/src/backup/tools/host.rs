//! The tools of this host: which there are, and one run of one.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::{APPLICATION, Found, Run, SOON, Tools, arguments, found};
use crate::backup::BackupError;
use crate::database::Client;
use crate::service;

/// The most of its standard error that is kept.
const WORDS: usize = 64 * 1024;

impl Tools<'_> {
    /// Those of this host: of the lowest version that can dump what a server of `server` has.
    pub(in crate::backup) async fn on_host(server: u32) -> Result<Self, BackupError> {
        let mut best: Option<(PathBuf, Found)> = None;
        let mut seen = Vec::new();
        for directory in directories() {
            let asked = service::untold(&mut Command::new(directory.join("pg_dump")))
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

pub(super) async fn run(
    program: PathBuf,
    found: &Found,
    client: &Client,
    mut run: Run<'_>,
) -> Result<(i64, String), BackupError> {
    let mut command = Command::new(&program);
    service::untold(&mut command).args(arguments(&mut run, client, None));
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
