//! `steadfast watch`: how the stacks are, live, over the whole terminal. In here is the loop; what is known is `screen`, what
//! is asked is `feed`, what is shown is `draw`, and who puts the terminal back is `terminal`.

mod draw;
mod feed;
mod parts;
mod screen;
mod terminal;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use state::name::StackName;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::args::Common;
use super::failure::{Failure, Outcome};
use super::reader::Reader;
use super::reading::Daemon;
use crate::signal::Signals;
use screen::{Answer, Choice, Flow, News, Screen};
use terminal::{Input, Look, Tty};

/// So often what depends on the time is drawn anew.
const TICK: Duration = Duration::from_secs(1);

pub(super) async fn run(common: &Common, stack: Option<StackName>) -> Outcome {
    terminal::fits()?;
    let daemon = Daemon::of(common);
    // Who cannot be reached, and which stack there is not, is said as by every other command.
    if let Some(stack) = &stack {
        let status = daemon.client.status(stack.as_str()).await;
        status.map_err(|error| daemon.failure(error))?;
    }
    let all = daemon.client.all().await.map_err(|error| daemon.failure(error))?;
    let mut screen = Screen::new(Reader::here(), Look::here(), stack.map(|stack| stack.to_string()));
    screen.take(News::Answer(Box::new(Answer::of(all))));
    let signals = Signals::new().map_err(|error| gone(&error))?;
    let (chosen, choice) = watch::channel(screen.choice());
    let (sender, news) = mpsc::channel(4);
    let feed = tokio::spawn(feed::follow(daemon.client.clone(), choice, sender));
    let shown = show(screen, signals, news, &chosen).await;
    feed.abort();
    shown.map_err(|error| gone(&error))?;
    Ok(0)
}

fn gone(error: &io::Error) -> Failure {
    Failure::new(1, format!("the terminal cannot be used: {error}"))
        .way_out("`steadfast status` shows the same once")
}

/// Until a key, or a signal, ends it. The terminal is as it was when this returns.
async fn show(
    mut screen: Screen,
    mut signals: Signals,
    mut news: mpsc::Receiver<News>,
    chosen: &watch::Sender<Choice>,
) -> io::Result<()> {
    let mut tty = Tty::enter()?;
    let mut inputs = terminal::inputs();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        screen.reader = Reader::here();
        tty.draw(&screen)?;
        // Only another stack is asked about at once.
        chosen.send_if_modified(|before| {
            let old = std::mem::replace(before, screen.choice());
            old.stack != before.stack
        });
        // Each is cancel-safe: what was not returned is still there the next time.
        tokio::select! {
            input = inputs.recv() => match input {
                Some(Input::Key(key)) if screen.press(key) == Flow::End => return Ok(()),
                Some(Input::Key(_) | Input::Other) => {}
                // The terminal has nothing more to say.
                None => return Ok(()),
            },
            heard = news.recv() => match heard {
                Some(heard) => screen.take(heard),
                None => return Ok(()),
            },
            // Whichever it is: whoever sends one wants it to end.
            _ = signals.next() => return Ok(()),
            _ = tick.tick() => {}
        }
    }
}
