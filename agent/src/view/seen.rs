//! What was seen: containers, the schema, the engine, and what differs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::observed::{ContainerState, DockerHealth, Known, SchemaHead};

use super::wall;
use crate::shared::{ServiceView, Snapshot};

/// One container, or a service without any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Service {
    /// The service.
    pub service: String,
    /// The first twelve digits of the container's id.
    pub container: Option<String>,
    /// The image as written; its id where another one runs.
    pub reference: String,
    /// The first twelve digits of the image's id.
    pub image: Option<String>,
    /// `running, healthy`, `exited (1)`, `missing` …
    pub state: String,
    /// Whether it is as it should be.
    pub fine: bool,
    /// Since when it has run; none where it ran before the daemon looked.
    pub since: Option<Timestamp>,
}

/// Where the schema stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Schema {
    /// The revisions; empty where nothing was ever migrated.
    pub heads: Vec<String>,
    /// Why it cannot be seen.
    pub unknown: Option<String>,
}

/// The engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Engine {
    /// Whether it answers.
    pub reachable: bool,
    /// Its version.
    pub version: Option<String>,
    /// The API version that is spoken.
    pub api: Option<String>,
    /// Why it does not answer.
    pub why_not: Option<String>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Diff {
    /// The service.
    pub service: Option<String>,
    /// What differs.
    pub what: String,
}

pub(super) fn engine(snapshot: &Snapshot) -> Engine {
    let info = snapshot.engine.known();
    Engine {
        reachable: info.is_some(),
        version: info.map(|i| i.version.clone()),
        api: info.map(|i| i.api.clone()),
        why_not: snapshot.engine.unknown().map(str::to_owned),
    }
}

impl Diff {
    pub(super) fn of(difference: &crate::shared::Difference) -> Self {
        Self {
            service: difference.service.as_ref().map(ToString::to_string),
            what: difference.what.clone(),
        }
    }
}

impl Service {
    pub(super) fn of(view: &ServiceView) -> Self {
        let (state, fine) = words_of(view.state.as_ref());
        Self {
            service: view.service.to_string(),
            container: view.container.as_ref().map(|id| id.short().to_owned()),
            reference: view.reference.clone(),
            image: view.image.as_ref().map(|id| id.short().to_owned()),
            state,
            fine,
            since: view.since.as_ref().map(wall),
        }
    }
}

/// A one-shot service that exited with 0 is done, not missing.
fn words_of(state: Option<&ContainerState>) -> (String, bool) {
    let (words, fine) = match state {
        None => ("missing", false),
        Some(ContainerState::Created) => ("created", false),
        Some(ContainerState::Running(None)) => ("running", true),
        Some(ContainerState::Running(Some(DockerHealth::Starting))) => ("running, starting", true),
        Some(ContainerState::Running(Some(DockerHealth::Healthy))) => ("running, healthy", true),
        Some(ContainerState::Running(Some(DockerHealth::Unhealthy))) => ("running, unhealthy", false),
        Some(ContainerState::Restarting) => ("restarting", false),
        Some(ContainerState::Paused) => ("paused by hand", false),
        Some(ContainerState::Exited(Some(0))) => ("exited (0)", true),
        Some(ContainerState::Exited(Some(code))) => return (format!("exited ({code})"), false),
        Some(ContainerState::Exited(None)) => ("exited", false),
        Some(ContainerState::Gone) => ("gone", false),
    };
    (words.to_owned(), fine)
}

impl Schema {
    pub(super) fn of(schema: &Known<SchemaHead>) -> Self {
        match schema {
            Known::Known(SchemaHead::NoTable) => Self {
                heads: Vec::new(),
                unknown: None,
            },
            Known::Known(SchemaHead::At(heads)) => Self {
                heads: heads.iter().map(ToString::to_string).collect(),
                unknown: None,
            },
            Known::Unknown(why) => Self {
                heads: Vec::new(),
                unknown: Some(why.clone()),
            },
        }
    }
}
