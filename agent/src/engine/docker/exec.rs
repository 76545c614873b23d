//! A command in a container that runs. What it writes is handed on as it comes: nothing is collected.

use std::pin::Pin;
use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::{Stream, StreamExt as _};
use state::name::ContainerId;
use state::stack_spec::EnvValue;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::DockerEngine;
use super::client::{CHANGE, READ};
use crate::engine::command::{OUTPUT_BYTES, Tail};
use crate::engine::{EngineError, Exec, Executed};

/// What is read and written at once.
const CHUNK: usize = 64 * 1024;
/// After the signal that asks it to end comes, this much later, the one that ends it.
const KILL_AFTER: Duration = Duration::from_secs(5);
/// What may then pass until its end is heard of.
const MARGIN: Duration = Duration::from_secs(10);
/// Between two looks at a process that has closed its streams and not ended yet.
const POLL: Duration = Duration::from_millis(50);

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;

impl DockerEngine {
    pub(super) async fn execute(&self, exec: Exec<'_>) -> Result<Executed, EngineError> {
        let (began, within, wrap) = (Instant::now(), exec.within, exec.wrap);
        let secrets: Vec<_> = exec.env.iter().map(|(_, value)| value.clone()).collect();
        let late = || EngineError::Timeout {
            call: "exec",
            after: within,
        };
        let limit = if wrap {
            within.saturating_add(KILL_AFTER + MARGIN)
        } else {
            within
        };
        let done = match tokio::time::timeout(limit, self.execute_whole(exec)).await {
            // Which code a process that was told to end exits with is its own affair.
            Ok(Ok(done)) if wrap && done.code != 0 && began.elapsed() >= within => Err(late()),
            Ok(done) => done,
            Err(_) => Err(late()),
        };
        done.map_err(|error| error.redacted(secrets.iter().map(EnvValue::expose)))
    }

    async fn execute_whole(&self, exec: Exec<'_>) -> Result<Executed, EngineError> {
        let id = self.create_exec(exec.container, options(&exec)).await?;
        let (stream, sink) = self.start_exec(&id).await?;
        let mut stderr = Tail::new(OUTPUT_BYTES);
        let bytes = {
            let drain = self.drain(stream, exec.output, &mut stderr);
            let input = feed(exec.input, sink);
            tokio::pin!(drain, input);
            let mut fed = false;
            loop {
                tokio::select! {
                    // Both go on where they were: they are polled, not made anew.
                    done = &mut drain => break done?,
                    done = &mut input, if !fed => {
                        done?;
                        fed = true;
                    }
                }
            }
        };
        Ok(Executed {
            code: self.exec_code(&id).await?,
            stderr: stderr.text(),
            bytes,
        })
    }

    async fn create_exec(
        &self,
        container: &ContainerId,
        options: CreateExecOptions<String>,
    ) -> Result<String, EngineError> {
        let client = self.connection.client().await?;
        let work = client.docker.create_exec(container.as_str(), options);
        Ok(self.connection.within("create exec", CHANGE, work).await?.id)
    }

    async fn start_exec(&self, id: &str) -> Result<(Output, Input), EngineError> {
        let client = self.connection.client().await?;
        let options = StartExecOptions {
            output_capacity: Some(CHUNK),
            ..StartExecOptions::default()
        };
        let work = client.docker.start_exec(id, Some(options));
        match self.connection.within("start exec", CHANGE, work).await? {
            StartExecResults::Attached { output, input } => Ok((output, input)),
            StartExecResults::Detached => Err(garbled("it is not attached".to_owned())),
        }
    }

    /// Hands on what the command writes, until it has closed both of its streams.
    async fn drain(
        &self,
        mut stream: Output,
        output: &mut (dyn AsyncWrite + Send + Unpin),
        stderr: &mut Tail,
    ) -> Result<u64, EngineError> {
        let mut bytes = 0;
        while let Some(part) = stream.next().await {
            match part.map_err(|error| self.connection.translate("exec", error))? {
                LogOutput::StdErr { message } => stderr.push(&message),
                LogOutput::StdOut { message } | LogOutput::StdIn { message } => {
                    output.write_all(&message).await.map_err(our_end)?;
                    bytes += message.len() as u64;
                }
                // What is left of a frame when the connection breaks.
                LogOutput::Console { message } => {
                    return Err(garbled(format!("{} bytes belong to no stream", message.len())));
                }
            }
        }
        output.flush().await.map_err(our_end)?;
        Ok(bytes)
    }

    async fn exec_code(&self, id: &str) -> Result<i64, EngineError> {
        loop {
            let client = self.connection.client().await?;
            let work = client.docker.inspect_exec(id);
            let seen = self.connection.within("inspect exec", READ, work).await?;
            match (seen.running, seen.exit_code) {
                (Some(false), Some(code)) => return Ok(code),
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }
}

fn options(exec: &Exec<'_>) -> CreateExecOptions<String> {
    let variable = |(key, value): &(String, EnvValue)| format!("{key}={}", value.expose());
    CreateExecOptions {
        attach_stdin: Some(exec.input.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        env: Some(exec.env.iter().map(variable).collect()),
        cmd: Some(words(exec)),
        user: exec.user.clone(),
        ..CreateExecOptions::default()
    }
}

/// The command, under `timeout` where that is asked for.
fn words(exec: &Exec<'_>) -> Vec<String> {
    if !exec.wrap {
        return exec.command.clone();
    }
    let whole = exec.within.as_secs() + u64::from(exec.within.subsec_nanos() > 0);
    // Zero seconds would be no limit at all.
    let limit = whole.max(1).to_string();
    let kill = KILL_AFTER.as_secs().to_string();
    let wrapper = ["timeout", "-k", &kill, &limit].map(str::to_owned);
    wrapper.into_iter().chain(exec.command.iter().cloned()).collect()
}

/// Feeds the command's standard input, and closes it at its end. A command that wants no more is no error.
async fn feed(
    input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
    mut sink: Input,
) -> Result<(), EngineError> {
    let Some(input) = input else {
        return Ok(());
    };
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = input.read(&mut chunk).await.map_err(our_end)?;
        if read == 0 || sink.write_all(&chunk[..read]).await.is_err() {
            break;
        }
    }
    sink.shutdown().await.ok();
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn our_end(error: std::io::Error) -> EngineError {
    EngineError::Stream {
        call: "exec",
        reason: error.to_string(),
    }
}

fn garbled(reason: String) -> EngineError {
    EngineError::Garbled { call: "exec", reason }
}
