//! What a way back of the schema has taken out of the database: what its scripts said that it would, what was kept of
//! it, and what became of that. Nothing here reads SQL, or a row.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::integrity::Seen;
use crate::name::Revision;
use crate::observed::SchemaHead;
use crate::time::Moment;

/// One thing that a downgrade destroys. Names are as the script writes them, with quotes where it has them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// A table, with all that is in it.
    Table(String),
    /// A column.
    Column {
        /// Its table.
        table: String,
        /// Its name.
        column: String,
    },
    /// A column gets another type: what does not fit into it is changed.
    Type {
        /// Its table.
        table: String,
        /// Its name.
        column: String,
        /// The type that it gets.
        to: String,
    },
    /// Rows.
    Rows {
        /// Their table.
        table: String,
        /// Which, as SQL; `None`: all.
        which: Option<String>,
    },
    /// Rows get other values. They are in the copy, and nobody can say what would undo that.
    Values {
        /// Their table.
        table: String,
        /// The columns.
        columns: Vec<String>,
    },
    /// A statement of which nobody can say what it does, by its first words.
    Unclear(String),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => write!(f, "the table {table}"),
            Self::Column { table, column } => write!(f, "the column {column} of {table}"),
            Self::Type { table, column, to } => {
                write!(f, "what does not fit into {to} of the column {column} of {table}")
            }
            Self::Rows { table, which: None } => write!(f, "all rows of {table}"),
            Self::Rows {
                table,
                which: Some(which),
            } => write!(f, "the rows of {table} where {which}"),
            Self::Values { table, columns } => {
                write!(f, "what was in {} of {table} before", columns.join(", "))
            }
            Self::Unclear(words) => write!(f, "what `{words} …` destroys"),
        }
    }
}

/// What the downgrade of each revision destroys, as its script says; a revision whose script nobody could read is missing.
pub type Losses = BTreeMap<Revision, Vec<Loss>>;

/// A schema that was taken back, and what was in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    /// When.
    pub at: Moment,
    /// Where the schema stood.
    pub from: SchemaHead,
    /// Where it stands since.
    pub to: SchemaHead,
    /// What was crossed: with these back, what was taken out has a place again.
    pub revisions: Vec<Revision>,
    /// What the scripts say that they destroy; those that nobody could read are missing.
    pub losses: Losses,
    /// What was kept of it; `None`: it is still to be looked for in the copy.
    pub saved: Option<Saved>,
    /// What became of that; `None`: it has no place yet.
    pub put_in: Option<PutIn>,
}

impl TakenBack {
    /// Whether rows are kept that had no place yet.
    pub fn waits(&self) -> bool {
        let put_in = self.put_in.as_ref();
        let saved = self.saved.as_ref().is_some_and(|saved| saved.rows > 0);
        put_in.map_or(saved, |put_in| !put_in.waiting.is_empty())
    }

    /// Whether a person has dropped what was kept of it.
    pub fn is_dropped(&self) -> bool {
        self.put_in.as_ref().is_some_and(|put_in| put_in.dropped)
    }

    /// Whether there is nothing left to be done about it.
    pub fn is_over(&self) -> bool {
        self.saved.is_some() && !self.waits()
    }
}

/// What was kept of what was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Saved {
    /// What of each thing, a line each.
    pub lines: Vec<String>,
    /// The rows in all of it.
    pub rows: u64,
    /// The rows of every table in the copy, and in the database when they were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// What became of the rows that were kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PutIn {
    /// Rows whose value, or that themselves, are there again.
    pub restored: u64,
    /// Rows that have no place any more, or that nobody can tell apart.
    pub skipped: u64,
    /// Rows where something else stands by now, which stays.
    pub conflicting: u64,
    /// What of each thing, a line each.
    pub lines: Vec<String>,
    /// What had no place yet, by the files that it is kept in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// Whether a person has dropped it: what had no place by then has none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

/// What was taken out of the database, before its schema goes up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Return {
    /// The operation that has taken them out.
    pub of: u64,
    /// Whether they are kept already.
    pub saved: bool,
    /// Whether some of them have a place again.
    pub has_place: bool,
    /// Whether all revisions are there again that were taken back: what has no place then will have none.
    pub last: bool,
}

/// By the operation that has taken it back.
pub type AllTakenBack = BTreeMap<u64, TakenBack>;
