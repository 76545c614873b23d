//! What every command that talks to the daemon needs first: the settings, and with them the socket.

use std::path::Path;

use config::document::LoadError;
use config::settings::{AgentSettings, Settings};
use state::name::StackName;

use super::args::Common;
use super::failure::Failure;
use crate::control::client::{Client, ClientError};
use crate::view::Status;

/// The way to the daemon, and how sure of it we are.
pub(super) struct Daemon {
    pub(super) client: Client,
    /// Why the settings do not name its socket.
    guessed: Option<LoadError>,
}

impl Daemon {
    /// By `--socket`, else by the settings. A broken steadfast.toml must not keep anybody from
    /// looking at what runs: the default socket is tried then.
    pub(super) fn of(common: &Common) -> Self {
        let (socket, guessed) = match &common.socket {
            Some(socket) => (socket.clone(), None),
            None => match config::settings::load(&common.config) {
                Ok((settings, _)) => (settings.agent.socket, None),
                Err(why) => (AgentSettings::default().socket, Some(why)),
            },
        };
        Self {
            client: Client::new(socket),
            guessed,
        }
    }

    /// How a stack is, as soon as it is another than `after`; at once where nothing was seen yet.
    pub(super) async fn status_after(&self, stack: &str, after: Option<u64>) -> Result<Status, ClientError> {
        match after {
            None => self.client.status(stack).await,
            Some(version) => self.client.wait(stack, version).await,
        }
    }

    /// The failure of a call.
    pub(super) fn failure(&self, error: ClientError) -> Failure {
        let unreachable = matches!(error, ClientError::NoDaemon { .. } | ClientError::Denied { .. });
        let failure = Failure::from(error);
        match &self.guessed {
            Some(why) if unreachable => failure.guessed(why),
            _ => failure,
        }
    }
}

/// The settings, for commands that cannot do without; all that is wrong with them is said.
pub(super) fn settings(common: &Common) -> Result<Settings, Failure> {
    let loaded = config::settings::load(&common.config);
    loaded.map(|(settings, _)| settings).map_err(|error| {
        let failure = Failure::new(2, error.problems().to_string());
        match error {
            LoadError::Invalid(_) => failure.way_out("`steadfast check` shows the places"),
            // What there is to do is said with it.
            LoadError::Absent(_) | LoadError::Unreadable(_) => failure,
        }
    })
}

/// That the settings have such a stack.
pub(super) fn known(settings: &Settings, stack: &StackName, config: &Path) -> Result<(), Failure> {
    if settings.stacks.contains_key(stack) {
        return Ok(());
    }
    let names: Vec<&str> = settings.stacks.keys().map(StackName::as_str).collect();
    let hint = config::error::did_you_mean(stack.as_str(), names.iter().copied())
        .unwrap_or_else(|| format!("its stacks: {}", names.join(", ")));
    Err(Failure::new(2, format!("{} has no stack \"{stack}\"", config.display())).way_out(hint))
}
