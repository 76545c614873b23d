//! What goes over the control socket: HTTP/1.1 with JSON bodies, one request a connection. The
//! bodies of reads are in `view`. Both ends of the wire are in this crate, and old clients may meet
//! a new daemon: fields are added, never renamed.

use std::path::{Component, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use state::backup::{BackupId, Dumped, Proof};
use state::name::{AskId, BranchName, EnvId, Tag};

use crate::shared::{AboutEnv, ActKind, Refusal};

/// The version of the interface that both ends of this crate speak: the first part of every path.
pub const VERSION: &str = "v1";

/// What both ends call themselves, in `Server` and `User-Agent`.
pub const SOFTWARE: &str = concat!("steadfast/", env!("CARGO_PKG_VERSION"));

/// The most that a request's body may have, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// The most that a reason may have, in characters: it is kept with the act, and shown wherever that is.
pub const MAX_REASON: usize = 1000;

/// How long a wait is answered at the latest.
pub const MAX_WAIT: Duration = Duration::from_secs(25);

/// How long the loop may take to answer an order.
pub const MAX_ANSWER: Duration = Duration::from_secs(30);

/// How long it may take to list the releases of a repository, which is asked first what it has.
pub const MAX_RELEASES: Duration = Duration::from_secs(30);

/// How long an act in a repository may take: less than a connection lasts.
pub const MAX_RELEASE_ACT: Duration = Duration::from_secs(45);

/// The least and the most that a pause may last.
pub const PAUSE_SPAN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30 * 86400));

/// The body of an act.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ActBody {
    /// Why, in the words of whoever asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(max = MAX_REASON)))]
    pub reason: Option<String>,
    /// For how long, in seconds; `pause` needs it, nothing else has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<u64>,
    /// Whether whoever asks for a `rollback` says that the schema fits what is gone back to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub schema_fits: bool,
    /// The `id` of the question that an `approve` or `deny` is meant for; without it, whatever is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub ask: Option<AskId>,
    /// How a `backup` or a `verify` makes sure; without it by restoring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<super::openapi::HowProven>"))]
    pub proof: Option<Proof>,
    /// The backup that a `verify` or a `restore` is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub backup: Option<BackupId>,
    /// The file that is restored, instead of a backup, or that an `env-import` is of: an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The database that a `drop` is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The operation whose rows a `put-in` or a `drop-rows` is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_of: Option<u64>,
    /// The id of the version that an `env-restore` is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub env: Option<EnvId>,
    /// The env file that an `env-restore` or an `env-import` is about, or the end of its path; without it, the stack's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_file: Option<PathBuf>,
}

/// The body of an act in the repository that releases come from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReleaseBody {
    /// The release that a `branch` is for; without it, the one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub tag: Option<Tag>,
    /// What a `hotfix` is called; it needs it, nothing else has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The file of a `revert-file`, which needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The branch that a `revert-file` goes on from; without it, the one that the origin is at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub onto: Option<BranchName>,
    /// The branch that a `revert-file` makes; without it, one that is called after the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub to: Option<BranchName>,
    /// Whether the origin gets it too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub push: bool,
    /// Why, in the words of whoever asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(max = MAX_REASON)))]
    pub reason: Option<String>,
}

/// The body of a request to be shown values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RevealBody {
    /// Why, in the words of whoever asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(max = MAX_REASON)))]
    pub reason: Option<String>,
}

/// What is to be done in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseWish {
    /// A branch to go back on.
    Branch {
        /// To which release; `None`: to the one that runs.
        tag: Option<Tag>,
    },
    /// A branch to mend what was asked for on.
    Hotfix {
        /// What it is called.
        name: String,
    },
    /// One file as it was.
    RevertFile {
        /// As in the stack's directory, or from the root of the repository.
        path: PathBuf,
        /// On top of which branch; `None`: of the one that the origin is at.
        onto: Option<BranchName>,
        /// On which branch; `None`: on a new one, called after the file.
        to: Option<BranchName>,
    },
}

/// What is wrong with a reason.
fn unless_too_long(reason: Option<&str>) -> Result<(), String> {
    let count = reason.map_or(0, |reason| reason.chars().count());
    if count > MAX_REASON {
        return Err(format!(
            "the reason has {count} characters, and may have {MAX_REASON}: shorten it, or say where the rest is written"
        ));
    }
    Ok(())
}

impl RevealBody {
    /// Why, or what is wrong with it.
    pub fn why(self) -> Result<Option<String>, String> {
        unless_too_long(self.reason.as_deref())?;
        Ok(self.reason)
    }
}

impl ReleaseBody {
    /// What `word` and this body name, or what is wrong with them.
    pub fn wish(self, word: &str) -> Result<ReleaseWish, String> {
        unless_too_long(self.reason.as_deref())?;
        let extra = [
            ("tag", self.tag.is_some() && word != "branch"),
            ("name", self.name.is_some() && word != "hotfix"),
            ("path", self.path.is_some() && word != "revert-file"),
            ("onto", self.onto.is_some() && word != "revert-file"),
            ("to", self.to.is_some() && word != "revert-file"),
        ];
        let shown = word.escape_debug();
        if let Some((field, _)) = extra.iter().find(|(_, is_extra)| *is_extra) {
            return Err(format!("{shown} has no {field}"));
        }
        match word {
            "branch" => Ok(ReleaseWish::Branch { tag: self.tag }),
            "hotfix" => {
                let name = self.name.ok_or("a hotfix has a name")?;
                Ok(ReleaseWish::Hotfix { name })
            }
            "revert-file" => Ok(ReleaseWish::RevertFile {
                path: self.path.ok_or("a revert-file is of a file")?,
                onto: self.onto,
                to: self.to,
            }),
            _ => Err(format!("there is no act \"{shown}\" in a repository")),
        }
    }
}

/// The answer to what was done in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Branched {
    /// The branch.
    pub branch: String,
    /// The first twelve digits of the commit that it is at.
    pub commit: String,
    /// The release that this is of, for people.
    pub of: String,
    /// The branch that it goes on from, where there is a new commit.
    #[serde(default)]
    pub onto: Option<String>,
    /// The file that is as it was, from the root of the repository.
    #[serde(default)]
    pub file: Option<String>,
    /// Whether the origin has it.
    pub pushed: bool,
    /// What else is to be said of it.
    #[serde(default)]
    pub note: Option<String>,
}

/// The answer to an act that will be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ActAnswer {
    /// What will happen, for people.
    pub will: String,
    /// The operation that was begun, where its end is what was asked for.
    #[serde(default)]
    pub operation: Option<u64>,
}

/// The answer to everything that will not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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

    /// The version of an env file that the act `word` is about.
    pub fn about_env(&self, word: &str) -> Option<AboutEnv> {
        let of = self.env_file.clone();
        match word {
            "env-restore" => self.env.clone().map(|id| AboutEnv::Version { id, of }),
            "env-import" => self.file.clone().map(|from| AboutEnv::File { from, of }),
            _ => None,
        }
    }

    /// What of this body is about env files, and has no business with the act `word`.
    fn unless_about_env(&self, word: &str) -> Result<(), String> {
        if self.env.is_some() != (word == "env-restore") {
            return Err(String::from("an env-restore, and nothing else, is of a version"));
        }
        if self.env_file.is_some() && !matches!(word, "env-restore" | "env-import") {
            return Err(format!("{} has no env_file", word.escape_debug()));
        }
        // Where it leads is not to be seen from its text.
        let file = self.file.iter().filter(|_| word == "env-import");
        if file
            .flat_map(|file| file.components())
            .any(|part| part == Component::ParentDir)
        {
            return Err(String::from("the path of the file leads up"));
        }
        Ok(())
    }

    /// The act that `word` and this body name, or what is wrong with them.
    pub fn act(&self, word: &str) -> Result<ActKind, String> {
        unless_too_long(self.reason.as_deref())?;
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
            "env-import" if self.file.is_none() || self.backup.is_some() => {
                return Err(String::from("an env-import is of a file"));
            }
            "restore" | "verify" | "env-import" => {}
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
        self.unless_about_env(word)?;
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
            "env-restore" => ActKind::RestoreEnv,
            "env-import" => ActKind::ImportEnv,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_a_repository_is_said_in_full_and_nothing_else() {
        let wish = |body: &str, word: &str| {
            let body: Result<ReleaseBody, _> = serde_json::from_str(body);
            body.map_err(|error| error.to_string())
                .and_then(|body| body.wish(word))
        };
        assert_eq!(wish("{}", "branch"), Ok(ReleaseWish::Branch { tag: None }));
        assert!(wish("{\"tag\": \"v1\", \"push\": true, \"reason\": \"x\"}", "branch").is_ok());
        assert!(wish("{\"name\": \"checkout\"}", "hotfix").is_ok());
        assert!(
            wish(
                "{\"path\": \"a.py\", \"onto\": \"main\", \"to\": \"rollback/a\"}",
                "revert-file"
            )
            .is_ok()
        );
        for (body, word) in [
            ("{}", "hotfix"),
            ("{}", "revert-file"),
            ("{}", "tag"),
            ("{\"tag\": \"v1\"}", "hotfix"),
            ("{\"path\": \"a.py\", \"onto\": \"-f\"}", "revert-file"),
            ("{\"path\": \"a.py\", \"name\": \"x\"}", "revert-file"),
            ("{\"force\": true}", "branch"),
        ] {
            assert!(wish(body, word).is_err(), "{word} {body}");
        }
    }

    #[test]
    fn a_reason_is_bounded_in_characters_wherever_it_is_given() {
        for (reason, is_right) in [
            (None, true),
            (Some("ß".repeat(MAX_REASON)), true),
            (Some("x".repeat(MAX_REASON + 1)), false),
        ] {
            let act = ActBody {
                reason: reason.clone(),
                ..ActBody::default()
            };
            let release = ReleaseBody {
                reason: reason.clone(),
                ..ReleaseBody::default()
            };
            let said = [
                act.act("retry").err(),
                release.wish("branch").err(),
                RevealBody { reason }.why().err(),
            ];
            let words = "the reason has 1001 characters, and may have 1000";
            for said in said {
                let is_said = said.as_ref().is_some_and(|said| said.starts_with(words));
                assert_eq!((said.is_none(), is_said), (is_right, !is_right), "{said:?}");
            }
        }
    }
}
