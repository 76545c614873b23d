//! The last lines of the log that are about a stack, in memory and bounded. They are what the log says and nothing else:
//! what must not be in the log is not in here either.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// So many lines of each stack are kept.
const KEPT: usize = 200;
/// So much of a line, in characters.
const LONGEST: usize = 1000;
/// Our own crates: the libraries' records are in no log of ours.
const OURS: &str = "steadfast";

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counts up, also over a restart of the daemon where the clock is not set back.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// What was told.
    pub text: String,
}

/// The last lines of each stack.
#[derive(Debug, Default)]
pub struct Recent {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    stacks: BTreeMap<String, VecDeque<Line>>,
}

impl Recent {
    /// Nothing told yet, by a daemon that was started then.
    pub fn from(started: Timestamp) -> Self {
        let kept = Kept {
            last: u64::try_from(started.as_microsecond()).unwrap_or(0),
            stacks: BTreeMap::new(),
        };
        Self {
            kept: Mutex::new(kept),
        }
    }

    /// Takes a line; the oldest one of that stack goes where there are too many.
    pub fn push(&self, stack: &str, at: Timestamp, level: Level, text: &str) {
        let mut kept = self.locked();
        kept.last += 1;
        let line = Line {
            number: kept.last,
            at,
            level,
            text: text.chars().take(LONGEST).collect(),
        };
        let lines = kept.stacks.entry(stack.to_owned()).or_default();
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The lines of `stack` with a higher number; all of them where that number is none of this daemon's.
    pub fn after(&self, stack: &str, number: u64) -> Vec<Line> {
        let kept = self.locked();
        let from = if number > kept.last { 0 } else { number };
        let lines = kept.stacks.get(stack).into_iter().flatten();
        lines.filter(|line| line.number > from).cloned().collect()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Kept> {
        // A line is taken whole: a panic elsewhere leaves none half told.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears what is logged.
pub(super) struct Listener {
    recent: Arc<Recent>,
}

impl Listener {
    pub(super) fn new(recent: Arc<Recent>) -> Self {
        Self { recent }
    }
}

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        if level > Level::INFO || !target.starts_with(OURS) {
            return;
        }
        let mut heard = Heard::default();
        event.record(&mut heard);
        if let Some(stack) = &heard.stack {
            let text = format!("{}{}", heard.message, heard.fields);
            self.recent.push(stack, Timestamp::now(), level, &text);
        }
    }
}

/// What a record says: of which stack, in words, and what else.
#[derive(Default)]
struct Heard {
    stack: Option<String>,
    message: String,
    fields: String,
}

impl Visit for Heard {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "stack" => self.stack = Some(format!("{value:?}")),
            "message" => self.message = format!("{value:?}"),
            name => {
                let _ = write!(self.fields, " {name}={value:?}");
            }
        }
    }

    fn record_error(&mut self, _: &Field, value: &(dyn Error + 'static)) {
        let _ = write!(self.fields, ": {value}");
        let mut source = value.source();
        while let Some(error) = source {
            let _ = write!(self.fields, ": {error}");
            source = error.source();
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn texts(recent: &Recent, after: u64) -> Vec<String> {
        let lines = recent.after("shop", after).into_iter();
        lines
            .map(|line| format!("{} {}", line.level, line.text))
            .collect()
    }

    #[test]
    fn what_is_told_of_a_stack_is_kept_and_nothing_else() {
        let recent = Arc::new(Recent::default());
        let heard = tracing_subscriber::registry().with(Listener::new(Arc::clone(&recent)));
        tracing::subscriber::with_default(heard, || {
            let (stack, copy) = ("shop", "shop_copy");
            tracing::info!(stack = %stack, "a new request");
            tracing::warn!(stack = %stack, %copy, "a copy is left");
            let error = std::io::Error::other("no space left");
            tracing::error!(stack = %stack, error = &error as &dyn Error, "nothing is done");
            tracing::debug!(stack = %stack, "not for people");
            tracing::info!("of no stack");
            tracing::info!(target: "hyper", stack = %stack, "not ours");
            tracing::info!(stack = %"other", "of another one");
        });
        assert_eq!(
            texts(&recent, 0),
            [
                "INFO a new request",
                "WARN a copy is left copy=shop_copy",
                "ERROR nothing is done: no space left"
            ]
        );
        assert_eq!(recent.after("other", 0).len(), 1);
        assert_eq!(recent.after("neither", 0), []);
    }

    #[test]
    fn the_oldest_line_goes_and_a_cursor_goes_on_from_where_it_was() {
        let recent = Recent::from(Timestamp::UNIX_EPOCH);
        for i in 0..=KEPT {
            recent.push("shop", Timestamp::UNIX_EPOCH, Level::INFO, &i.to_string());
        }
        let all = recent.after("shop", 0);
        assert_eq!((all.len(), all[0].text.as_str()), (KEPT, "1"));
        let last = all[KEPT - 1].number;
        assert_eq!(recent.after("shop", last - 1).len(), 1);
        assert_eq!(recent.after("shop", last).len(), 0);
        // The cursor of a daemon before this one, on a clock that was ahead.
        assert_eq!(recent.after("shop", last + 7).len(), KEPT);
        recent.push(
            "shop",
            Timestamp::UNIX_EPOCH,
            Level::INFO,
            &"x".repeat(9 * LONGEST),
        );
        assert_eq!(recent.after("shop", last)[0].text.len(), LONGEST);
    }
}
