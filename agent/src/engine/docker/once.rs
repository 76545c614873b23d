//! A command in a container of its own. The name is a lock: whoever comes second joins, waits, and takes
//! the result. What a one-off container looks like is in `render/once`.

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as Status};
use bollard::query_parameters::{LogsOptions, WaitContainerOptions};
use futures_util::StreamExt as _;
use state::name::{ContainerId, StackName};
use state::stack_spec::EnvValue;

use super::DockerEngine;
use super::client::CREATE;
use super::create::secrets;
use crate::engine::command::{Listener, OUTPUT_BYTES, Tail};
use crate::engine::render::{self, Rendered};
use crate::engine::{EngineError, NewContainer, OneOff, Ran, labels};

/// How often a name is tried for that is taken and, when one looks, free.
const TRIES: u32 = 3;

/// Who has a name.
enum Holder {
    Nobody,
    /// A one-off container of this operation.
    Ours {
        id: ContainerId,
        status: Status,
        /// It shares volumes that are others'.
        borrows: bool,
    },
    /// The words say who.
    Other(String),
}

impl DockerEngine {
    pub(super) async fn once(&self, once: &OneOff<'_>) -> Result<Ran, EngineError> {
        let spec = render::once::service(once);
        let new = render::once::container(once, &spec);
        // What is waited for is large.
        let result = Box::pin(self.once_whole(&new, once)).await;
        result.map_err(|error| error.redacted(secrets(&new).map(EnvValue::expose)))
    }

    async fn once_whole(&self, new: &NewContainer<'_>, once: &OneOff<'_>) -> Result<Ran, EngineError> {
        let borrows = !new.spec.volumes_from.is_empty();
        let (id, begin) = self.take_up(new).await?;
        match self.see_through(&id, begin, once).await {
            Ok(ran) => {
                // An error of this one is told: left where it is, the next call would take its result for its own.
                self.remove_with(id.as_str(), !borrows).await?;
                ran.ok_or(EngineError::Timeout {
                    call: "run once",
                    after: once.within,
                })
            }
            // It may well go on: whoever calls again joins it.
            Err(
                error @ (EngineError::Unreachable { .. }
                | EngineError::Timeout { .. }
                | EngineError::Garbled { .. }),
            ) => Err(error),
            Err(error) => {
                self.remove_with(id.as_str(), !borrows).await.ok();
                Err(error)
            }
        }
    }

    /// The container of this name, made where there is none. With it, what it still needs before its start.
    async fn take_up(&self, new: &NewContainer<'_>) -> Result<(ContainerId, Option<Rendered>), EngineError> {
        let mut taken = None;
        for _ in 0..TRIES {
            match self.holder(&new.stack.project, &new.name, new.operation).await? {
                Holder::Nobody => {}
                Holder::Other(message) => {
                    let call = "run once";
                    return Err(EngineError::Conflict { call, message });
                }
                Holder::Ours { id, status, .. } => match status {
                    Status::REMOVING | Status::DEAD => self.remove_container(id.as_str()).await?,
                    // Its making may have been ended in the middle.
                    Status::CREATED => return Ok((id, Some(self.rendered_once(new).await?))),
                    _ => return Ok((id, None)),
                },
            }
            let rendered = self.rendered_once(new).await?;
            match self.post(new, &rendered).await {
                Ok(id) => return Ok((id, Some(rendered))),
                // Somebody was faster, or is being removed.
                Err(error @ EngineError::Conflict { .. }) => taken = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(taken.unwrap_or_else(|| EngineError::Conflict {
            call: "run once",
            message: format!("the name {} does not become free", new.name),
        }))
    }

    async fn rendered_once(&self, new: &NewContainer<'_>) -> Result<Rendered, EngineError> {
        render::once::rendered(new, &self.context(new).await?)
    }

    /// `None`: its time is over, and it still runs.
    async fn see_through(
        &self,
        id: &ContainerId,
        begin: Option<Rendered>,
        once: &OneOff<'_>,
    ) -> Result<Option<Ran>, EngineError> {
        if let Some(rendered) = begin {
            self.complete(id, rendered).await?;
            self.start_container(id).await?;
        }
        let Ok(code) = tokio::time::timeout(once.within, self.exit_code(id)).await else {
            return Ok(None);
        };
        let code = code?;
        let (stdout, stderr) = self.output(id, once.listener).await?;
        Ok(Some(Ran { code, stdout, stderr }))
    }

    /// Waits until it has exited, without a deadline.
    async fn exit_code(&self, id: &ContainerId) -> Result<i64, EngineError> {
        let client = self.connection.client().await?;
        let mut answers = client
            .docker
            .wait_container(id.as_str(), None::<WaitContainerOptions>);
        let garbled = |reason: String| EngineError::Garbled {
            call: "wait for container",
            reason,
        };
        match answers.next().await {
            Some(Ok(answer)) => Ok(answer.status_code),
            // Any code but zero.
            Some(Err(Error::DockerContainerWaitError { code, error })) if error.is_empty() => Ok(code),
            Some(Err(Error::DockerContainerWaitError { error, .. })) => Err(garbled(error)),
            Some(Err(error)) => Err(self.connection.translate("wait for container", error)),
            None => Err(garbled("the answer is empty".to_owned())),
        }
    }

    /// What it wrote, to its standard output and its standard error.
    async fn output(
        &self,
        id: &ContainerId,
        listener: Option<Listener<'_>>,
    ) -> Result<(String, String), EngineError> {
        let client = self.connection.client().await?;
        let options = LogsOptions {
            stdout: true,
            stderr: true,
            tail: "all".to_owned(),
            ..LogsOptions::default()
        };
        let mut stream = client.docker.logs(id.as_str(), Some(options));
        let read = async {
            let (mut stdout, mut stderr) = (Tail::new(OUTPUT_BYTES), Tail::new(OUTPUT_BYTES));
            while let Some(part) = stream.next().await {
                match part? {
                    LogOutput::StdErr { message } => stderr.push(&message),
                    other => {
                        let message = LogOutput::into_bytes(other);
                        if let Some(Listener(tell)) = listener {
                            tell(&message);
                        }
                        stdout.push(&message);
                    }
                }
            }
            Ok((stdout.text(), stderr.text()))
        };
        self.connection.within("read output", CREATE, read).await
    }

    pub(super) async fn end(
        &self,
        project: &StackName,
        name: &str,
        operation: u64,
    ) -> Result<(), EngineError> {
        match self.holder(project, name, operation).await? {
            Holder::Ours { id, borrows, .. } => self.remove_with(id.as_str(), !borrows).await,
            Holder::Nobody | Holder::Other(_) => Ok(()),
        }
    }

    async fn holder(&self, project: &StackName, name: &str, operation: u64) -> Result<Holder, EngineError> {
        let Some(seen) = self.inspect(name).await? else {
            return Ok(Holder::Nobody);
        };
        // The beginning of an identifier finds a container too.
        if seen.name.as_deref().map(|name| name.trim_start_matches('/')) != Some(name) {
            return Ok(Holder::Nobody);
        }
        let id: ContainerId =
            seen.id
                .clone()
                .unwrap_or_default()
                .try_into()
                .map_err(|error| EngineError::Garbled {
                    call: "inspect container",
                    reason: format!("{error}"),
                })?;
        if !is_of(&seen, project, operation) {
            let words = format!("the name {name} is in use by container {}", id.short());
            return Ok(Holder::Other(words));
        }
        let status = seen.state.and_then(|state| state.status);
        let lent = seen.host_config.and_then(|host| host.volumes_from);
        Ok(Holder::Ours {
            id,
            status: status.unwrap_or(Status::EMPTY),
            borrows: lent.is_some_and(|lent| !lent.is_empty()),
        })
    }
}

/// Whether it is a one-off container that this operation made.
fn is_of(seen: &ContainerInspectResponse, project: &StackName, operation: u64) -> bool {
    let labelled = seen.config.as_ref().and_then(|config| config.labels.as_ref());
    let label = |key: &str| labelled.and_then(|all| all.get(key)).map(String::as_str);
    label(labels::PROJECT) == Some(project.as_str())
        && label(labels::OPERATION) == Some(operation.to_string().as_str())
        && label(labels::ONEOFF) == Some("True")
}
