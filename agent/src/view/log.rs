//! What the daemon told of a stack lately.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::Level;

use super::FORMAT;
use crate::log::Line;

/// The last lines of the log that are about one stack, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Log {
    /// [`FORMAT`].
    pub format: u32,
    /// The stack.
    pub stack: String,
    /// The lines.
    pub lines: Vec<LogLine>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LogLine {
    /// Counts up; for `after=`.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// `info`, `warning` or `error`.
    pub level: String,
    /// What was told.
    pub text: String,
}

impl Log {
    /// What is shown of these lines.
    pub fn of(stack: &str, lines: Vec<Line>) -> Self {
        let lines = lines.into_iter().map(|line| LogLine {
            number: line.number,
            at: line.at,
            level: match line.level {
                Level::ERROR => "error",
                Level::WARN => "warning",
                _ => "info",
            }
            .into(),
            text: line.text,
        });
        Self {
            format: FORMAT,
            stack: stack.to_owned(),
            lines: lines.collect(),
        }
    }
}
