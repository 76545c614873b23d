//! What may be concluded from what went wrong, and who is connected.

use std::error::Error as _;
use std::fmt;
use std::fmt::Write as _;

use tokio_postgres::error::SqlState;

/// Why something was not done, or is not known to be. No error holds a secret or the text of a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// Not reached, no answer in time, or the connection broke: it may have been done or not.
    /// The only way on is to do it again, which looks first.
    #[error("{0}")]
    Unknown(String),
    /// The configured user may not, or may not even log in. Nothing was done by this statement.
    #[error("{said} ({code})")]
    Rights {
        /// The server's words, and whom they are about.
        said: String,
        /// SQLSTATE.
        code: String,
    },
    /// Others are in the way.
    #[error("{said}: {}", names(.by))]
    InUse {
        /// What is in use.
        said: String,
        /// Who is connected; empty where they had gone by the time that it was asked.
        by: Vec<Session>,
    },
    /// The server's disk is full (SQLSTATE 53100). Nothing was done by this statement.
    #[error("{0} (53100)")]
    NoSpace(String),
    /// Anything else that is certain.
    #[error("{said}{}", .code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Other {
        /// The server's words, or ours.
        said: String,
        /// SQLSTATE, where the server said it.
        code: Option<String>,
    },
}

impl DatabaseError {
    pub(crate) fn other(said: impl Into<String>) -> Self {
        let said = said.into();
        Self::Other { said, code: None }
    }

    /// A database of this name does not exist.
    pub(super) fn missing(name: &str) -> Self {
        Self::Other {
            said: format!("database \"{name}\" does not exist"),
            code: Some(SqlState::INVALID_CATALOG_NAME.code().to_owned()),
        }
    }

    /// SQLSTATE, where the server said one that counts.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Rights { code, .. } => Some(code),
            Self::Other { code, .. } => code.as_deref(),
            Self::NoSpace(_) => Some(SqlState::DISK_FULL.code()),
            Self::Unknown(_) | Self::InUse { .. } => None,
        }
    }

    /// With `change` made to every word of it.
    pub(crate) fn map(self, change: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Unknown(said) => Self::Unknown(change(&said)),
            Self::Rights { said, code } => Self::Rights {
                said: change(&said),
                code,
            },
            Self::InUse { said, by } => {
                let change_session = |session: Session| Session {
                    application: change(&session.application),
                    ..session
                };
                let by = by.into_iter().map(change_session).collect();
                Self::InUse {
                    said: change(&said),
                    by,
                }
            }
            Self::NoSpace(said) => Self::NoSpace(change(&said)),
            Self::Other { said, code } => Self::Other {
                said: change(&said),
                code,
            },
        }
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else {
            return Self::Unknown(words(&error));
        };
        let code = said.code().code();
        let said = said.message().to_owned();
        match (code.get(..2).unwrap_or_default(), code) {
            (_, "42501") | ("28", _) => Self::Rights {
                said,
                code: code.to_owned(),
            },
            (_, "55006" | "55P03") => Self::InUse { said, by: Vec::new() },
            (_, "53100") => Self::NoSpace(said),
            // Going down or coming up, no free connection, out of time.
            ("08" | "57", _) | (_, "53300") => Self::Unknown(format!("{said} ({code})")),
            _ => Self::Other {
                said,
                code: Some(code.to_owned()),
            },
        }
    }
}

/// Somebody connected to the database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// The process of the server that serves it.
    pub pid: i32,
    /// What it calls itself; often empty.
    pub application: String,
    /// The role that it logged in as.
    pub user: String,
    /// The client's address; `None`: the server's own host, or the configured user may not see it.
    pub client: Option<String>,
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let application = match self.application.as_str() {
            "" => "a session",
            name => name,
        };
        let client = self.client.as_deref().unwrap_or("an address that is not shown");
        write!(f, "{application} as {} from {client}", self.user)
    }
}

/// At most so many are named.
const NAMED: usize = 5;

fn names(sessions: &[Session]) -> String {
    if sessions.is_empty() {
        return String::from("by whom is not known");
    }
    let mut names: Vec<String> = sessions.iter().take(NAMED).map(Session::to_string).collect();
    if sessions.len() > NAMED {
        names.push(format!("{} more", sessions.len() - NAMED));
    }
    names.join(", ")
}

/// The server's own words where it said something, else the innermost cause.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Writing to a string cannot fail.
        let _ = write!(words, ": {error}");
        source = error.source();
    }
    words
}
