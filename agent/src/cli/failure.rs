//! How a command ends: with an exit code, or with a complaint that has one.

use std::path::Path;

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

    /// The socket was a guess, because the settings could not be read.
    pub(super) fn guessed(mut self, config: &Path) -> Self {
        self.note = Some(format!(
            "{} could not be read: this is the default socket",
            config.display()
        ));
        self
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let (code, way_out) = (error.code(), error.way_out());
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        Self {
            code,
            why: format!("{error}{}", source.unwrap_or_default()),
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
    words
}
