//! What is wrong with the input files, as `status` and `plan` say it beside the rest.

use super::output::{BAD, WARN, paint};
use super::text::{hanging, paragraph};
use crate::view::ProblemView;

/// What counts meanwhile.
const IN_FORCE: &str = "The last valid files stay in force until this is mended.";

/// Each of them, and what is in force meanwhile.
pub(super) fn problems(problems: &[ProblemView], width: usize) -> String {
    let mut text = String::new();
    for problem in problems {
        let style = if problem.gravity == "error" { BAD } else { WARN };
        let mark = format!("  {} ", paint(style, "!"));
        text.push_str(&hanging(&mark, &words(problem), 4, width));
    }
    if problems.iter().any(|p| p.gravity == "error") {
        text.push_str(&paragraph(4, IN_FORCE, width));
    }
    text
}

/// One of them, in words.
pub(super) fn words(problem: &ProblemView) -> String {
    let mut text = problem.file.clone();
    for number in [problem.line, problem.column].into_iter().flatten() {
        text.push_str(&format!(":{number}"));
    }
    if !problem.key.is_empty() {
        text.push_str(&format!(": {}", problem.key));
    }
    text.push_str(&format!(": {}", problem.message));
    if let Some(hint) = &problem.hint {
        text.push_str(&format!(" ({hint})"));
    }
    text
}
