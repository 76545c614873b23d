//! The commands that ask the daemon to do something. It decides, records who asked, and answers
//! with what will happen; `--wait` follows that to its end.

use std::time::Duration;

use jiff::Timestamp;
use state::name::{AskId, StackName};

use super::args::{Common, Following};
use super::failure::{Failure, Outcome};
use super::follow::{Goal, follow};
use super::operation;
use super::output;
use super::question;
use super::reading::Daemon;
use super::text::printable;
use crate::control::protocol::{ActBody, PAUSE_SPAN};
use crate::view::Status;

pub(super) async fn retry(common: &Common, order: Following) -> Outcome {
    let daemon = Daemon::of(common);
    let status = look(&daemon, &order.stack).await?;
    agreed(order.yes, &question::retry(&status))?;
    let before = status.asked.as_ref().map_or(0, |asked| asked.retries);
    let accepted = status.asked.as_ref().map(|asked| asked.accepted);
    let goal = Goal::Retry(before, accepted);
    run(&daemon, "retry", ActBody::default(), order, goal).await
}

pub(super) async fn rollback(common: &Common, order: Following, schema_fits: bool) -> Outcome {
    let daemon = Daemon::of(common);
    let status = look(&daemon, &order.stack).await?;
    // Where the daemon has a reason, it may look anew.
    let nowhere_at_all = status.rollback.to.is_none() && status.rollback.why_not.is_none();
    if !order.yes && nowhere_at_all && operation::asks() {
        return Err(nowhere(&status));
    }
    agreed(order.yes, &question::rollback(&status))?;
    let body = ActBody {
        schema_fits,
        ..ActBody::default()
    };
    run(&daemon, "rollback", body, order, Goal::Rollback).await
}

/// Nobody is asked whether to do what cannot be done.
fn nowhere(status: &Status) -> Failure {
    let why = "there is nothing to go back to: there is no earlier good generation";
    Failure::new(5, why).way_out(format!(
        "`steadfast status {}` says what can be done",
        status.stack
    ))
}

pub(super) async fn approve(common: &Common, order: Following, meant: Option<AskId>) -> Outcome {
    let daemon = Daemon::of(common);
    let (ask, asked) = seen(&daemon, &order.stack, meant, order.yes, "agree?").await?;
    let body = ActBody {
        ask,
        ..ActBody::default()
    };
    run(&daemon, "approve", body, order, Goal::Answer(asked)).await
}

pub(super) async fn deny(
    common: &Common,
    stack: StackName,
    reason: Option<String>,
    yes: bool,
    meant: Option<AskId>,
) -> Outcome {
    let daemon = Daemon::of(common);
    let (seen, _) = seen(&daemon, &stack, meant, yes, "refuse?").await?;
    let body = ActBody {
        ask: seen,
        reason,
        ..ActBody::default()
    };
    ask(&daemon, "deny", &stack, &body).await
}

/// The question that is answered: the one that is meant, else the one that is open, which is shown, and whether its
/// answer is meant is asked. With when it was asked.
async fn seen(
    daemon: &Daemon,
    stack: &StackName,
    meant: Option<AskId>,
    yes: bool,
    answer: &str,
) -> Result<(Option<AskId>, Timestamp), Failure> {
    let status = look(daemon, stack).await?;
    let Some(open) = status.approval.as_ref().filter(|a| a.answer.is_none()) else {
        return Ok((meant, status.taken));
    };
    if meant.is_some() {
        return Ok((meant, open.asked));
    }
    output::print(&question::open(&status.stack, open))?;
    agreed(yes, &format!("{stack}: {answer}"))?;
    Ok((open.id.parse().ok(), open.asked))
}

pub(super) async fn pause(
    common: &Common,
    stack: StackName,
    span: Duration,
    reason: String,
    yes: bool,
) -> Outcome {
    if span < PAUSE_SPAN.0 || span > PAUSE_SPAN.1 {
        return Err(Failure::new(2, "a pause lasts one second to thirty days"));
    }
    agreed(yes, &question::pause(&stack, span))?;
    let body = ActBody {
        reason: Some(reason),
        span: Some(span.as_secs()),
        ..ActBody::default()
    };
    ask(&Daemon::of(common), "pause", &stack, &body).await
}

pub(super) async fn resume(common: &Common, stack: StackName, reason: Option<String>, yes: bool) -> Outcome {
    let daemon = Daemon::of(common);
    let status = look(&daemon, &stack).await?;
    agreed(yes, &question::resume(&status))?;
    let body = ActBody {
        reason,
        ..ActBody::default()
    };
    ask(&daemon, "resume", &stack, &body).await
}

async fn run(daemon: &Daemon, act: &str, body: ActBody, order: Following, goal: Goal) -> Outcome {
    let body = ActBody {
        reason: order.reason,
        ..body
    };
    let code = ask(daemon, act, &order.stack, &body).await?;
    if !order.wait.wait {
        return Ok(code);
    }
    follow(daemon, order.stack.as_str(), &goal, order.wait).await
}

async fn look(daemon: &Daemon, stack: &StackName) -> Result<Status, Failure> {
    let status = daemon.client.status(stack.as_str()).await;
    status.map_err(|error| daemon.failure(error))
}

async fn ask(daemon: &Daemon, act: &str, stack: &StackName, body: &ActBody) -> Outcome {
    let answer = daemon.client.act(stack.as_str(), act, body).await;
    let answer = answer.map_err(|error| daemon.failure(error))?;
    output::print(&format!("{stack}: {}\n", printable(&answer.will)))?;
    Ok(0)
}

/// Asks the person at the terminal, unless they have said already that they mean it.
fn agreed(yes: bool, question: &str) -> Result<(), Failure> {
    if yes || operation::confirm(question)? {
        return Ok(());
    }
    Err(Failure::new(5, "nothing was done"))
}
