//! What is wrong with an input file.

use config::error::{Gravity, Problem};
use serde::{Deserialize, Serialize};

/// One thing wrong with an input file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProblemView {
    /// `error` or `warning`.
    pub gravity: String,
    /// The file.
    pub file: String,
    /// From 1.
    pub line: Option<u32>,
    /// From 1.
    pub column: Option<u32>,
    /// The path of the key.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

impl ProblemView {
    /// What is shown of `problem`.
    pub fn of(problem: &Problem) -> Self {
        Self {
            gravity: match problem.gravity {
                Gravity::Error => "error",
                Gravity::Warning => "warning",
            }
            .into(),
            file: problem.place.file.display().to_string(),
            line: problem.place.line,
            column: problem.place.column,
            key: problem.key.clone(),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
        }
    }
}
