//! Whether the repositories that releases come from answer. That one does not is no error of the files: it may be away.

use std::path::Path;
use std::time::Duration;

use config::error::{Place, Problem, with_sources};
use config::settings::Settings;

use crate::source::{self, SourceError};

/// How long each of them may take.
const WITHIN: Duration = Duration::from_secs(10);

/// A warning for each stack whose repository does not answer; `settings` were read from `path`.
pub(super) fn problems(settings: &Settings, path: &Path) -> Vec<Problem> {
    let mut of_stacks = settings
        .stacks
        .iter()
        .filter_map(|(name, stack)| Some((name, &stack.source.as_ref()?.git)))
        .peekable();
    if of_stacks.peek().is_none() {
        return Vec::new();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Where not even this goes, whoever asks sees it with every other command.
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    let asked = of_stacks.filter_map(|(name, git)| {
        let error = runtime.block_on(source::head_branch(git, WITHIN)).err()?;
        Some(problem(path, &format!("stack.{name}.source.git"), &error))
    });
    asked.collect()
}

fn problem(path: &Path, key: &str, error: &SourceError) -> Problem {
    let problem = Problem::warning(Place::file(path), key, with_sources(error));
    let until = "until it is, nothing can be fetched of it, and no new tag be deployed";
    problem.hint(error.hint().unwrap_or_else(|| String::from(until)))
}
