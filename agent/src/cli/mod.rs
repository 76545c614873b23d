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
#[cfg(test)]
mod documented;
mod failure;
mod follow;
mod help;
mod history;
#[cfg(test)]
mod narrow;
mod operation;
mod output;
mod pin;
mod plan;
mod problems;
mod reader;
mod reading;
mod restore;
mod rows;
mod run;
mod source_line;
mod status;
mod text;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Command};
use failure::{Failure, Outcome};
#[cfg(test)]
pub(crate) use reader::Reader;

/// Runs the command of this process, and says how it ended (`docs/reference/commands.md`).
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` and `--version` come this way too, and are no failure.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match dispatch(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(arguments: Arguments) -> Outcome {
    let common = &arguments.common;
    match arguments.command {
        Command::Run => run::run(common),
        Command::Check { json } => check::run(common, json),
        Command::Plan { stack, steps, json } => block_on(plan::run(common, stack, steps, json)),
        Command::Status {
            stack,
            json,
            exit_code,
        } => block_on(status::run(common, stack, json, exit_code)),
        Command::History {
            stack,
            operations,
            json,
        } => block_on(history::run(common, stack, operations, json)),
        Command::Pin(pin) => pin::run(common, &pin),
        Command::Retry(order) => block_on(act::retry(common, order)),
        Command::Rollback {
            order,
            yes,
            schema_fits,
        } => block_on(act::rollback(common, order, yes, schema_fits)),
        Command::Pause { stack, span, reason } => block_on(act::pause(common, stack, span, reason)),
        Command::Resume { stack, reason } => block_on(act::plain(common, "resume", stack, reason)),
        Command::Approve { order, meant } => block_on(act::approve(common, order, meant.ask)),
        Command::Deny { stack, reason, meant } => block_on(act::deny(common, stack, reason, meant.ask)),
        Command::Backup { command, make } => block_on(backup::run(common, command, make)),
        Command::Rows(command) => block_on(rows::run(common, command)),
        Command::Restore(order) => block_on(restore::run(common, order)),
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
