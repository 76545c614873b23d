//! The file of a manifest: JSON, versioned apart from what it is read into.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use config::settings::PgName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::name::{Digest, InvalidName, Revision, StackName};
use state::observed::SchemaHead;

use super::{Format, How, Manifest, Verified, Why};
use crate::database::Census;

impl Manifest {
    /// As its file holds it.
    pub(in crate::backup) fn to_json(&self) -> Vec<u8> {
        let written = Written::from(self);
        let mut json = serde_json::to_vec_pretty(&written).expect("every key is a text");
        json.push(b'\n');
        json
    }

    /// From its file; the error in words.
    pub(in crate::backup) fn from_json(json: &[u8]) -> Result<Self, String> {
        let version: Version = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if version.version != VERSION {
            return Err(format!(
                "it is of version {}, and version {VERSION} is known",
                version.version
            ));
        }
        let written: Written = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        written.read()
    }
}

/// The version of the file that is written.
const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Version 1 of the file.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    id: String,
    stack: StackName,
    operation: u64,
    database: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copy: Option<String>,
    /// Absent: there is no version table.
    schema_head: Option<BTreeSet<Revision>>,
    why: Why,
    format: Format,
    made_by: String,
    bytes: u64,
    sha256: Digest,
    database_bytes: u64,
    begun: Timestamp,
    took_ms: u64,
    verified: Option<WrittenVerified>,
    large_objects: u64,
    tables: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
struct WrittenVerified {
    how: How,
    at: Timestamp,
    took_ms: u64,
    tables: u64,
    rows: Option<u64>,
}

impl From<&Manifest> for Written {
    fn from(manifest: &Manifest) -> Self {
        Self {
            version: VERSION,
            id: manifest.id.to_string(),
            stack: manifest.stack.clone(),
            operation: manifest.id.operation(),
            database: manifest.database.to_string(),
            copy: manifest.copy.as_ref().map(ToString::to_string),
            schema_head: match &manifest.counted.head {
                SchemaHead::NoTable => None,
                SchemaHead::At(heads) => Some(heads.clone()),
            },
            why: manifest.why,
            format: manifest.format,
            made_by: manifest.made_by.clone(),
            bytes: manifest.bytes,
            sha256: manifest.sha256.clone(),
            database_bytes: manifest.database_bytes,
            begun: manifest.begun,
            took_ms: millis(manifest.took),
            verified: manifest.verified.as_ref().map(|verified| WrittenVerified {
                how: verified.how,
                at: verified.at,
                took_ms: millis(verified.took),
                tables: verified.tables,
                rows: verified.rows,
            }),
            large_objects: manifest.counted.large_objects,
            tables: manifest.counted.tables.clone(),
        }
    }
}

impl Written {
    fn read(self) -> Result<Manifest, String> {
        let name = |text: &str| text.parse::<PgName>().map_err(|error| error.to_string());
        Ok(Manifest {
            id: self.id.parse().map_err(|error: InvalidName| error.to_string())?,
            stack: self.stack,
            database: name(&self.database)?,
            copy: self.copy.as_deref().map(name).transpose()?,
            counted: Census {
                tables: self.tables,
                large_objects: self.large_objects,
                head: self.schema_head.map_or(SchemaHead::NoTable, SchemaHead::At),
            },
            why: self.why,
            format: self.format,
            made_by: self.made_by,
            bytes: self.bytes,
            sha256: self.sha256,
            database_bytes: self.database_bytes,
            begun: self.begun,
            took: Duration::from_millis(self.took_ms),
            verified: self.verified.map(|verified| Verified {
                how: verified.how,
                at: verified.at,
                took: Duration::from_millis(verified.took_ms),
                tables: verified.tables,
                rows: verified.rows,
            }),
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
