//! How a command ends: with an exit code, or with a complaint that has one.

use config::document::LoadError;
use config::error::Problems;

use crate::control::client::ClientError;

/// What a command comes to.
pub(super) type Outcome = Result<u8, Failure>;

/// Why a command could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The exit code.
    pub(super) code: u8,
    /// Why: lower case, no full stop.
    pub(super) why: String,
    /// What else is known.
    pub(super) note: Option<String>,
    /// The way out.
    pub(super) way_out: Option<String>,
}

impl Failure {
    pub(super) fn new(code: u8, why: impl Into<String>) -> Self {
        Self {
            code,
            why: why.into(),
            note: None,
            way_out: None,
        }
    }

    pub(super) fn way_out(mut self, way_out: impl Into<String>) -> Self {
        self.way_out = Some(way_out.into());
        self
    }

    /// The socket was a guess, because there are no settings: absent, unreadable and invalid are told apart.
    pub(super) fn guessed(mut self, why: &LoadError) -> Self {
        let words = match why {
            LoadError::Absent(problem) | LoadError::Unreadable(problem) => {
                format!("{}: {}", problem.place, problem.message)
            }
            LoadError::Invalid(problems) => invalid(problems),
        };
        self.note = Some(format!(
            "this is the default socket, for want of settings: {words}"
        ));
        self
    }
}

/// The first error with its place, and how many there are beside it.
fn invalid(problems: &Problems) -> String {
    let mut errors = problems.0.iter().filter(|problem| problem.is_error());
    let first = errors.next().map(ToString::to_string).unwrap_or_default();
    match errors.count() {
        0 => first,
        more => format!("{first}; and {more} more, `steadfast check` shows all"),
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let (code, way_out) = (error.code(), error.way_out());
        Self {
            code,
            why: chain(&error),
            note: None,
            way_out,
        }
    }
}

/// Whether the kernel said that this user may not.
pub(super) fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let denied = |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref().is_some_and(denied) {
            return true;
        }
        next = error.source();
    }
    false
}

/// An error with everything that it comes from.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    plain(&words)
}

/// `text` without what the standard library says for those who program: ` (os error 2)`.
fn plain(text: &str) -> String {
    const BEFORE: &str = " (os error ";
    let mut parts = text.split(BEFORE);
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => words.push_str(rest),
            _ => words.extend([BEFORE, part]),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(text: Option<&str>, expected: &Expect) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("steadfast.toml");
        match text {
            Some("a directory") => std::fs::create_dir(&file).unwrap(),
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => {}
        }
        let why = config::settings::load(&file).unwrap_err();
        let note = Failure::new(3, "no daemon").guessed(&why).note.unwrap();
        expected.assert_eq(&note.replace(directory.path().to_str().unwrap(), ""));
    }

    #[test]
    fn a_number_of_the_system_is_no_reason() {
        let said = "cannot read a: No such file or directory (os error 2): b (os error x) (c)";
        expect!["cannot read a: No such file or directory: b (os error x) (c)"].assert_eq(&plain(said));
    }

    #[test]
    fn settings_are_absent_or_unreadable_or_invalid() {
        check(
            None,
            &expect!["this is the default socket, for want of settings: /steadfast.toml: no such file"],
        );
        check(
            Some("a directory"),
            &expect![
                "this is the default socket, for want of settings: /steadfast.toml: is a directory, not a file"
            ],
        );
        check(
            Some("[stack.shop]\ndirectory = 1\n"),
            &expect![[
                r#"this is the default socket, for want of settings: /steadfast.toml:2:13: stack.shop.directory: expected a string, found the integer 1 (put it in quotes: "1")"#
            ]],
        );
        check(
            Some("[stack.shop]\ndirectory = 1\nxyz = 2\n"),
            &expect![[
                r#"this is the default socket, for want of settings: /steadfast.toml:2:13: stack.shop.directory: expected a string, found the integer 1 (put it in quotes: "1"); and 1 more, `steadfast check` shows all"#
            ]],
        );
    }
}
