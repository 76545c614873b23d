//! What counts down, or fills up, as a bar.

use ratatui::text::{Line, Span};

use super::super::super::backup::bytes;
use super::super::super::output::{BAD, BUSY, GOOD, WARN};
use super::super::super::reader::{Reader, span};
use super::{INDENT, Lines, painted};
use crate::view::{OperationNow, Status};

/// The widest that a bar is.
const WIDEST: usize = 40;

/// How far something is, of how much.
struct Far {
    label: &'static str,
    of: anstyle::Style,
    part: u64,
    whole: u64,
    words: String,
}

/// What counts down, or fills up: the time until a rollback, the trial, a pause; nothing where nothing does.
pub(in crate::cli::watch) fn gauge(status: &Status, reader: &Reader) -> Lines {
    let Some(far) = far(status, reader) else {
        return Vec::new();
    };
    let label = format!("  {:<room$} ", far.label, room = INDENT - 3);
    let room = reader
        .width
        .saturating_sub(INDENT + far.words.chars().count() + 2);
    // Where there is no room for it the words say the same.
    let bar = if room < 8 {
        String::new()
    } else {
        bar(far.part, far.whole, room.min(WIDEST)) + "  "
    };
    let words = Span::raw(far.words);
    vec![Line::from(vec![Span::raw(label), painted(bar, far.of), words])]
}

fn bar(part: u64, whole: u64, width: usize) -> String {
    let width_in = u64::try_from(width).unwrap_or(0);
    let full = part.min(whole) * width_in / whole.max(1);
    let full = usize::try_from(full).unwrap_or(width);
    format!("{}{}", "█".repeat(full), "░".repeat(width - full))
}

fn far(status: &Status, reader: &Reader) -> Option<Far> {
    if let Some(operation) = &status.operation {
        let (step, steps) = (operation.step, operation.steps);
        let done = u64::try_from(step.saturating_sub(1)).unwrap_or(0);
        return Some(Far {
            label: "step",
            of: BUSY,
            part: done,
            whole: u64::try_from(steps).unwrap_or(0),
            words: format!("{step} of {steps}{}", bytes_of(operation)),
        });
    }
    if let Some(failing) = &status.failing {
        let words = format!("{} of {}", span(failing.seconds), span(failing.window_seconds));
        let then = if status.rollback.to.is_some() {
            "rollback"
        } else {
            "held"
        };
        let left = failing
            .left_seconds
            .map(|left| format!(", {then} in {}", span(left)));
        return Some(Far {
            label: "failing",
            of: BAD,
            part: failing.seconds,
            whole: failing.window_seconds,
            words: words + &left.unwrap_or_default(),
        });
    }
    if let Some(trial) = &status.trial {
        if let Some(failing) = trial.failing_seconds {
            return Some(Far {
                label: "failing",
                of: BAD,
                part: failing,
                whole: trial.window_seconds,
                words: format!(
                    "{} of {}, no verdict yet",
                    span(failing),
                    span(trial.window_seconds)
                ),
            });
        }
        let (healthy, needed) = (trial.healthy_seconds, trial.needed_seconds);
        let left = span(needed.saturating_sub(healthy));
        let then = if trial.undecided.is_none() {
            format!(", good in {left}")
        } else {
            ", not seen yet".into()
        };
        return Some(Far {
            label: "healthy",
            of: GOOD,
            part: healthy,
            whole: needed,
            words: format!("{} of {}{then}", span(healthy), span(needed)),
        });
    }
    let pause = status.pause.as_ref()?;
    let whole = u64::try_from(pause.until.as_second() - pause.since.as_second()).unwrap_or(0);
    Some(Far {
        label: "paused",
        of: WARN,
        part: reader.seconds_since(pause.since),
        whole,
        words: format!("goes on in {}", span(reader.seconds_until(pause.until))),
    })
}

/// How far the long step is, where it says so.
fn bytes_of(operation: &OperationNow) -> String {
    match &operation.progress {
        Some(far) if far.of > 0 => format!(", {}: {} of {}", far.stage, bytes(far.bytes), bytes(far.of)),
        Some(far) => format!(", {}", far.stage),
        None => String::new(),
    }
}
