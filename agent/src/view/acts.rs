//! What is shown of what persons have done.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::name::StackName;
use state::record::Act;
use state::release::Author;

use super::{FORMAT, wall};

/// Answer to `history --acts --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ActList {
    /// [`FORMAT`].
    pub format: u32,
    /// The stack.
    pub stack: String,
    /// What persons have done, the newest first.
    pub acts: Vec<ActRow>,
}

/// One act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ActRow {
    /// When.
    pub at: Timestamp,
    /// Who, by the name that they had.
    pub by: String,
    /// Who, by the number that the kernel gave.
    pub uid: Option<u32>,
    /// What; with `: refused` behind it where they had no right to.
    pub what: String,
    /// Why, in their words.
    pub why: Option<String>,
}

impl ActList {
    /// Of what the ledger has, the newest first.
    pub fn of(stack: &StackName, acts: &[Act]) -> Self {
        let row = |act: &Act| ActRow {
            at: wall(&act.at),
            by: act.by.to_string(),
            uid: match &act.by {
                Author::Person { uid, .. } => Some(*uid),
                Author::Agent => None,
            },
            what: act.what.clone(),
            why: act.why.clone(),
        };
        Self {
            format: FORMAT,
            stack: stack.to_string(),
            acts: acts.iter().map(row).collect(),
        }
    }
}
