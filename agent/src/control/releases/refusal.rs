//! What a person is told when a repository does not do what was asked of it: whether it is refused, and the way out.

use std::time::Duration;

use axum::http::StatusCode;
use config::error::with_sources;

use super::super::failure::Failure;
use crate::source::SourceError;

/// That it takes longer than anybody waits.
pub(super) fn late(what: &'static str, within: Duration) -> SourceError {
    SourceError::TimedOut { what, within }
}

/// What of Git an act is about.
pub(super) fn git_of(word: &str) -> &'static str {
    match word {
        "revert-file" => "commit-tree",
        _ => "branch",
    }
}

pub(super) fn misused(error: String) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, 2, error)
}

/// What a person is told of it: that it is refused, where they can do something else; else that it failed.
pub(super) fn failure(error: &SourceError) -> Failure {
    let refused = matches!(
        error,
        SourceError::Denied { .. }
            | SourceError::NoSuchName { .. }
            | SourceError::IsABranch { .. }
            | SourceError::NotACommit { .. }
            | SourceError::AmbiguousCommit { .. }
            | SourceError::Shallow { .. }
            | SourceError::NoSuchFile { .. }
            | SourceError::Exists { .. }
            | SourceError::Refused { .. }
            | SourceError::NothingToDo { .. }
    );
    let (status, code) = if refused {
        (StatusCode::CONFLICT, 5)
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, 1)
    };
    let failure = Failure::new(status, code, with_sources(error));
    match error.hint().or_else(|| hint(error)) {
        Some(hint) => failure.way_out(hint),
        None => failure,
    }
}

/// The way out of what the repository itself has no hint for.
fn hint(error: &SourceError) -> Option<String> {
    let hint = match error {
        SourceError::NoSuchName { name, .. } if name.starts_with("branch ") => {
            "name another one: --onto BRANCH"
        }
        SourceError::NoSuchName { .. } => "`steadfast release list STACK` shows the tags that there are",
        SourceError::NoSuchFile { .. } => {
            "name it as in the stack's directory, or from the repository's root"
        }
        SourceError::NothingToDo { .. } => "nothing has to be put back: the cause is in another file",
        SourceError::Refused { .. } => {
            "nothing was changed: choose another branch, or let the daemon's user push it"
        }
        SourceError::Unreachable { .. } => "nothing was changed: ask again when it is there",
        SourceError::TimedOut { .. } => {
            "ask again: what was begun is finished or mended then, never done twice"
        }
        _ => return None,
    };
    Some(String::from(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &SourceError, code: u8, way_out: &str) {
        let Failure(_, body) = failure(error);
        assert_eq!(body.code, code, "{}", body.error);
        let said = body.way_out.unwrap_or_default();
        assert!(said.contains(way_out), "{said}");
    }

    #[test]
    fn what_somebody_can_change_is_refused_and_what_nobody_can_has_failed() {
        let (origin, said) = (String::from("/srv/shop.git"), String::from("no"));
        let away = SourceError::Unreachable {
            origin: origin.clone(),
            said: said.clone(),
        };
        check(&away, 1, "when it is there");
        check(&SourceError::NoGit, 1, "apt install git");
        let denied = SourceError::Denied {
            origin: origin.clone(),
            said: said.clone(),
        };
        check(&denied, 5, "deploy key");
        let missing = SourceError::NoSuchName {
            origin,
            name: String::from("v9"),
            near: Vec::new(),
        };
        check(&missing, 5, "release list");
        check(&late("fetch", Duration::from_secs(20)), 1, "ask again");
    }
}
