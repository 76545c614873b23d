//! A backup is taken further by a command of the operator's.

use std::process::Stdio;
use std::time::Duration;

use config::show_duration;
use state::name::StackName;
use tokio::process::Command;
use tokio::time::timeout;

use super::archive::Archive;
use crate::service;

impl Archive {
    /// What the command writes to its standard error is the daemon's own, and goes where its log goes.
    pub(super) async fn tell(
        &self,
        stack: &StackName,
        operation: u64,
        command: &[String],
        within: Duration,
    ) -> Result<(), String> {
        let listing = self.store.list(stack).map_err(|error| error.to_string())?;
        let made = listing
            .backups
            .iter()
            .find(|made| made.id.operation() == operation);
        let made = made.ok_or("the backup is not there any more")?;
        let (program, arguments) = command.split_first().ok_or("there is no program")?;
        let mut child = service::untold(&mut Command::new(program))
            .args(arguments)
            .arg(self.store.dump(stack, &made.id))
            .arg(self.store.manifest(stack, &made.id))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{program} cannot be run: {error}"))?;
        match timeout(within, child.wait()).await {
            Err(_) => {
                // Reaped by the runtime.
                let _ = child.start_kill();
                Err(format!(
                    "it did not end within {} and was ended",
                    show_duration(within)
                ))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(match status.code() {
                Some(code) => format!("it ended with code {code}"),
                None => String::from("it was killed"),
            }),
        }
    }
}
