//! `steadfast status`: what an operator wants to know, in the order in which they ask it.

mod back;
mod headline;
mod next;
mod render;
#[cfg(test)]
mod tests;
mod told;

use state::name::StackName;

use super::args::Common;
use super::failure::Outcome;
use super::output;
use super::reader::Reader;
use super::reading::Daemon;
use crate::view::{FORMAT, State, Status, StatusList};

pub(super) use back::generation;
pub(crate) use headline::Tone;
pub(super) use headline::{headline, words};
pub(super) use next::commands;
pub(super) use render::{Row, ahead, runs_and_asked, seen, why};
#[cfg(test)]
pub(super) use render::{full, overview};
pub(crate) use told::Told;

pub(super) async fn run(common: &Common, stack: Option<StackName>, json: bool, exit_code: bool) -> Outcome {
    let daemon = Daemon::of(common);
    let one = stack.is_some();
    let list = match &stack {
        Some(stack) => daemon
            .client
            .status(stack.as_str())
            .await
            .map(|status| StatusList {
                format: FORMAT,
                stacks: vec![status],
            }),
        None => daemon.client.all().await,
    };
    let list = list.map_err(|error| daemon.failure(error))?;
    let codes = list.stacks.iter().map(code);
    let code = if exit_code {
        codes.max_by_key(|c| gravity(*c)).unwrap_or(0)
    } else {
        0
    };
    if json {
        return output::json(&list, code);
    }
    let reader = Reader::here();
    let text = match &list.stacks[..] {
        [] => "the daemon has not looked at any stack yet\n".to_owned(),
        [status] => render::full(status, &reader),
        many if one => many.iter().map(|status| render::full(status, &reader)).collect(),
        many => render::overview(many, &reader),
    };
    output::print(&text)?;
    Ok(code)
}

/// How a stack is, as an exit code; what is still under way is no success yet.
pub(super) fn code(status: &Status) -> u8 {
    match status.state {
        State::Steady if status.problems.iter().any(|p| p.gravity == "error") => 2,
        State::Steady => 0,
        State::Unknown => 3,
        State::AwaitingApproval => 4,
        State::Held | State::Paused => 5,
        State::RolledBack => gap_code(status),
        State::Pending if status.is_denied() => 5,
        State::Pending
        | State::Fetching
        | State::Deploying
        | State::Healing
        | State::RollingBack
        | State::Restoring
        | State::Trial
        | State::Failing => 1,
    }
}

/// A deploy that never ran has failed; one that ran was rolled back.
pub(super) fn gap_code(status: &Status) -> u8 {
    if status.gap.as_ref().is_some_and(|gap| !gap.ran) {
        1
    } else {
        6
    }
}

/// Which of two exit codes says more.
fn gravity(code: u8) -> usize {
    [0, 1, 4, 5, 6, 2, 3].iter().position(|c| *c == code).unwrap_or(0)
}
