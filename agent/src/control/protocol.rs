//! What goes over the control socket: HTTP/1.1 with JSON bodies, one request a connection. The
//! bodies of reads are in `view`. Both ends of the wire are in this crate, and old clients may meet
//! a new daemon: fields are added, never renamed.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use state::backup::{BackupId, Dumped, Proof};
use state::name::AskId;

use crate::shared::{ActKind, Refusal};

/// The most that a request's body may have, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// How long a wait is answered at the latest.
pub const MAX_WAIT: Duration = Duration::from_secs(25);

/// How long the loop may take to answer an order.
pub const MAX_ANSWER: Duration = Duration::from_secs(30);

/// The least and the most that a pause may last.
pub const PAUSE_SPAN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30 * 86400));

/// The body of an act.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActBody {
    /// Why, in the words of whoever asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For how long, in seconds; `pause` needs it, nothing else has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<u64>,
    /// Whether whoever asks for a `rollback` says that the schema fits what is gone back to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub schema_fits: bool,
    /// The `id` of the question that an `approve` or `deny` is meant for; without it, whatever is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<AskId>,
    /// How a `backup` or a `verify` makes sure; without it by restoring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// The backup that a `verify` or a `restore` is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupId>,
    /// The file that is restored, instead of a backup: an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The database that a `drop` is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The operation whose rows a `put-in` or a `drop-rows` is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_of: Option<u64>,
}

/// The answer to an act that will be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActAnswer {
    /// What will happen, for people.
    pub will: String,
    /// The operation that was begun, where its end is what was asked for.
    #[serde(default)]
    pub operation: Option<u64>,
}

/// The answer to everything that will not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Why not.
    pub error: String,
    /// What can be done instead.
    pub way_out: Option<String>,
    /// The exit code of the command.
    pub code: u8,
}

impl From<Refusal> for ErrorBody {
    fn from(refusal: Refusal) -> Self {
        Self {
            error: refusal.why,
            way_out: refusal.way_out,
            code: refusal.code,
        }
    }
}

impl ActBody {
    /// What is restored, or made sure of.
    pub fn dump(&self) -> Option<Dumped> {
        let backup = self.backup.clone().map(Dumped::Backup);
        backup.or_else(|| self.file.clone().map(Dumped::File))
    }

    /// The act that `word` and this body name, or what is wrong with them.
    pub fn act(&self, word: &str) -> Result<ActKind, String> {
        if self.schema_fits && word != "rollback" {
            return Err(format!("{} has no schema_fits", word.escape_debug()));
        }
        if self.ask.is_some() && !matches!(word, "approve" | "deny") {
            return Err(format!("{} has no ask", word.escape_debug()));
        }
        if self.proof.is_some() && !matches!(word, "backup" | "verify") {
            return Err(format!("{} has no proof", word.escape_debug()));
        }
        let named = usize::from(self.backup.is_some()) + usize::from(self.file.is_some());
        match word {
            "restore" if named != 1 => return Err(String::from("a restore is of a backup or of a file")),
            "verify" if self.backup.is_none() || self.file.is_some() => {
                return Err(String::from("a verify is of a backup"));
            }
            "restore" | "verify" => {}
            _ if named > 0 => return Err(format!("{} has no backup", word.escape_debug())),
            _ => {}
        }
        if self.file.as_ref().is_some_and(|file| !file.is_absolute()) {
            return Err(String::from("the path of the file is not absolute"));
        }
        if self.database.is_some() != (word == "drop") {
            return Err(String::from("a drop, and nothing else, is of a database"));
        }
        if self.rows_of.is_some() && !matches!(word, "put-in" | "drop-rows") {
            return Err(format!("{} has no rows_of", word.escape_debug()));
        }
        let of = || self.rows_of.ok_or("rows are of an operation");
        let proof = self.proof.unwrap_or_default();
        let act = match word {
            "backup" => ActKind::Backup { proof },
            "verify" if proof == Proof::None => {
                return Err(String::from("to verify a backup is to restore it, or to list it"));
            }
            "verify" => ActKind::VerifyBackup { proof },
            "restore" => ActKind::Restore,
            "drop" => ActKind::DropBeside,
            "put-in" => ActKind::PutIn { of: of()? },
            "drop-rows" => ActKind::DropRows { of: of()? },
            "retry" => ActKind::Retry,
            "rollback" => ActKind::Rollback {
                schema_fits: self.schema_fits,
            },
            "resume" => ActKind::Resume,
            "approve" => ActKind::Approve,
            "deny" => ActKind::Deny,
            "pause" => {
                let span = self.span.ok_or("a pause needs a span, in seconds")?;
                let span = Duration::from_secs(span);
                if span < PAUSE_SPAN.0 || span > PAUSE_SPAN.1 {
                    return Err("a pause lasts one second to thirty days".into());
                }
                return Ok(ActKind::Pause { span });
            }
            _ => return Err(format!("there is no act \"{}\"", word.escape_debug())),
        };
        match self.span {
            Some(_) => Err(format!("{word} has no span")),
            None => Ok(act),
        }
    }
}
