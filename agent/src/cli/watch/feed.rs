//! Asks the daemon, once a second and never longer than it may take: an answer, or why there is none.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::screen::{Answer, Choice, News};
use crate::control::client::{Client, ClientError};

/// So long after an answer it is asked again.
const EVERY: Duration = Duration::from_secs(1);
/// So long an answer may take.
const WITHIN: Duration = Duration::from_secs(5);
/// Of the operations that have ended the last one is shown.
const OPERATIONS: u32 = 1;

/// Until nobody listens.
pub(super) async fn follow(client: Client, mut choice: watch::Receiver<Choice>, news: mpsc::Sender<News>) {
    loop {
        let of = choice.borrow_and_update().clone();
        let heard = match tokio::time::timeout(WITHIN, ask(&client, of)).await {
            Ok(Ok(answer)) => News::Answer(Box::new(answer)),
            Ok(Err(error)) => News::Silence(error.to_string()),
            Err(_) => News::Silence(format!("no answer within {} s", WITHIN.as_secs())),
        };
        if news.send(heard).await.is_err() {
            return;
        }
        // Cancel-safe: a choice that was made is seen when the next question is asked.
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            changed = choice.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn ask(client: &Client, of: Choice) -> Result<Answer, ClientError> {
    let mut answer = Answer::of(client.all().await?);
    let there = |stack: &String| answer.statuses.iter().any(|status| status.stack == *stack);
    let Some(stack) = of.stack.filter(there) else {
        return Ok(answer);
    };
    // A daemon before this one knows of no log: all else is shown.
    answer.history = unless_refused(client.history(&stack, OPERATIONS).await)?;
    let log = unless_refused(client.log(&stack, of.after).await)?;
    answer.log = log.map(|log| (of.after, log));
    Ok(answer)
}

fn unless_refused<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ClientError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
