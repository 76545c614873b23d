//! How a domain value is written into a column: as JSON, with the number of its format beside it.
//! A value of an older format is brought up to date here, where it is read.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{LedgerError, schema};
use crate::common::Common;
use crate::env_version::Imported;
use crate::files::{Placed, Replaced};
use crate::health::HealthRecord;
use crate::journal::{Entry, Operation};
use crate::migrations::History;
use crate::name::{Digest, ImageId, ServiceName};
use crate::record::{Act, Approval, Hold, Pause, Restored, Standing, UnseenMigration};
use crate::release::{Generation, Quarantine, Request};
use crate::taken_back::{AllTakenBack, Losses};
use crate::time::Moment;

/// A value that has a column of its own.
pub(super) trait Value: Serialize + DeserializeOwned {
    /// What it is called in an error.
    const NAME: &'static str;
    /// The format that is written. It counts up whenever a stored value of the one before can no
    /// longer be read as it is; [`decode`] then says what becomes of that one.
    const FORMAT: u32 = 1;
}

/// What the table `stack` holds beside its keys.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct StackRow {
    pub(super) request: Option<Request>,
    pub(super) standing: Standing,
    pub(super) hold: Option<Hold>,
    pub(super) pause: Option<Pause>,
    pub(super) approval: Option<Approval>,
    pub(super) restored: Option<Restored>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) let_go: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) barred: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unseen: Option<UnseenMigration>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) written: Common<BTreeMap<ServiceName, ImageId>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) taken_back: Common<AllTakenBack>,
    #[serde(default, skip_serializing_if = "Placed::is_empty")]
    pub(super) placed: Placed,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) replaced: Common<Vec<Replaced>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) built: Common<Vec<(Digest, ImageId)>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) imported: Common<Vec<Imported>>,
}

fn is_empty(taken_back: &Common<AllTakenBack>) -> bool {
    taken_back.is_empty()
}

macro_rules! values {
    ($($type:ty: $name:literal,)*) => { $(impl Value for $type { const NAME: &'static str = $name; })* };
}

values! {
    StackRow: "stack",
    Generation: "generation",
    Quarantine: "quarantine",
    HealthRecord: "health",
    Moment: "rollback",
    Operation: "operation",
    Entry: "journal",
    Act: "act",
    History: "history",
    Losses: "loss",
}

/// The value as it is written.
pub(super) fn encode<T: Value>(value: &T) -> String {
    serde_json::to_string(value).expect("a record is plain data with names as keys")
}

/// The value that was written as `text` in `format`. An error never shows the text.
pub(super) fn decode<T: Value>(path: &Path, format: u32, text: &str) -> Result<T, LedgerError> {
    if format != T::FORMAT {
        return Err(schema::damaged(
            path,
            format!("a value of table {} has the unknown format {format}", T::NAME),
        ));
    }
    serde_json::from_str(text).map_err(|e| {
        schema::damaged(
            path,
            format!(
                "a value of table {} cannot be read: {:?} at column {}",
                T::NAME,
                e.classify(),
                e.column()
            ),
        )
    })
}
