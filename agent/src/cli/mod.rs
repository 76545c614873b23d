//! The command line: what can be asked, and with which exit code it is answered. No command here
//! touches a stack itself; acts go to the daemon, wishes into desired.toml.

#![allow(
    clippy::format_push_string,
    reason = "a few lines for a person: an allocation more is nothing"
)]

mod act;
mod args;
mod backup;
mod check;
mod completions;
#[cfg(test)]
mod documented;
mod env;
mod failure;
mod follow;
mod help;
mod history;
mod init;
mod man;
mod mistyped;
#[cfg(test)]
mod narrow;
mod operation;
mod output;
mod pin;
mod plan;
mod problems;
mod question;
mod reader;
mod reading;
mod release;
mod restore;
mod rows;
mod run;
mod source_line;
mod status;
mod text;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use args::{Arguments, Command};
use failure::{Failure, Outcome};
pub(crate) use reader::{Reader, span, took};
pub(crate) use status::{Told, Tone};

/// Runs the command of this process, and says how it ended (`docs/reference/commands.md`).
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` and `--version` come this way too, and are no failure.
            let _ = error.print();
            if error.kind() == ErrorKind::UnknownArgument
                && let Some(meant) = meant()
            {
                output::note(&format!("\n  tip: {meant}"));
            }
            return if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match dispatch(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(mut failure) => {
            // No such stack, perhaps.
            if failure.code == 2 && failure.note.is_none() {
                failure.note = meant();
            }
            output::complain(&failure);
            ExitCode::from(failure.code)
        }
    }
}

/// What this process was asked for, if it is not what was typed.
fn meant() -> Option<String> {
    let line = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    mistyped::meant(line)
}

fn dispatch(arguments: Arguments) -> Outcome {
    let common = &arguments.common;
    match arguments.command {
        Command::Run => run::run(common),
        Command::Check { json } => check::run(common, json),
        Command::Init(init) => block_on(init::run(common, &init)),
        Command::Plan { stack, steps, json } => block_on(plan::run(common, stack, steps, json)),
        Command::Status {
            stack,
            json,
            exit_code,
        } => block_on(status::run(common, stack, json, exit_code)),
        Command::Watch { stack } => block_on(watch::run(common, stack)),
        Command::History {
            stack,
            operations,
            acts,
            json,
        } => block_on(async move {
            if acts {
                return history::acts::run(common, &stack, json).await;
            }
            history::run(common, stack, operations, json).await
        }),
        Command::Pin(pin) => pin::run(common, &pin),
        Command::Retry(order) => block_on(act::retry(common, order)),
        Command::Rollback { order, schema_fits } => block_on(act::rollback(common, order, schema_fits)),
        Command::Pause {
            stack,
            span,
            reason,
            yes,
        } => block_on(act::pause(common, stack, span, reason, yes)),
        Command::Resume { stack, reason, yes } => block_on(act::resume(common, stack, reason, yes)),
        Command::Approve { order, meant } => block_on(act::approve(common, order, meant.ask)),
        Command::Deny {
            stack,
            reason,
            yes,
            meant,
        } => block_on(act::deny(common, stack, reason, yes, meant.ask)),
        Command::Backup { command, make } => block_on(backup::run(common, command, make)),
        Command::Rows(command) => block_on(rows::run(common, command)),
        Command::Env(command) => block_on(env::run(common, command)),
        Command::Release(command) => block_on(release::run(common, command)),
        Command::Restore(order) => block_on(restore::run(common, order)),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { directory } => man::run(&directory),
        Command::Demo(demo) => block_on(async { Ok(crate::demo::run(&demo).await) }),
    }
}

fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(1, format!("cannot start: {error}")))?
        .block_on(command)
}
