//! What was asked for, what runs, and why they differ.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::desired::EnvWish;
use state::name::Commit;
use state::record::{StackRecord, Standing};
use state::release::{Generation, GenerationNumber, Release, Request};

use super::wall;
use crate::shared::Shared;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Asked {
    /// The tag.
    pub tag: String,
    /// The first twelve digits of the commit that this is, where releases come from a repository.
    #[serde(default)]
    pub commit: Option<String>,
    /// Services pinned to a tag of their own.
    pub services: BTreeMap<String, String>,
    /// `release`, `head` or a revision.
    pub migration: String,
    /// `current`, or the id of the pinned env file.
    pub env: String,
    /// The id of the env file in force, where there is one.
    pub env_id: Option<String>,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// How often it was asked for again by `retry`.
    pub retries: u32,
    /// The generation that it became.
    pub generation: Option<u64>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Running {
    /// Its number.
    pub generation: u64,
    /// Its tag; none where it was found running.
    pub tag: Option<String>,
    /// The first twelve digits of the commit that it was made of, where it comes from a repository.
    #[serde(default)]
    pub commit: Option<String>,
    /// `trial`, `good`, `bad` or `superseded`.
    pub verdict: String,
    /// Since when it has had that verdict.
    pub since: Timestamp,
    /// Whether it was found running.
    pub adopted: bool,
    /// When it was gone back to, where it was.
    pub restored: Option<Timestamp>,
}

/// Why what was asked for is not what is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Gap {
    /// The generation that failed.
    pub generation: u64,
    /// Its tag.
    pub tag: Option<String>,
    /// The first twelve digits of the commit that it was made of, where it comes from a repository.
    #[serde(default)]
    pub commit: Option<String>,
    /// Whether its containers ever all ran.
    pub ran: bool,
    /// Why, for people.
    pub why: String,
    /// What a new request has to change.
    pub blame: Option<String>,
    /// Who put it into quarantine.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
}

pub(super) fn asked(request: &Request, record: &StackRecord, shared: &Shared) -> Asked {
    let desired = &request.desired;
    Asked {
        tag: desired.tag.to_string(),
        commit: request.commits.get(&desired.tag).map(shown),
        services: desired
            .services
            .iter()
            .map(|(service, tag)| (service.to_string(), tag.to_string()))
            .collect(),
        migration: match &desired.migration {
            state::desired::MigrationWish::Release => "release".into(),
            wish => wish.to_string(),
        },
        env: match &desired.env {
            EnvWish::Current => "current".into(),
            EnvWish::Sha256(digest) => shared.env_id(digest).to_string(),
            EnvWish::Short(id) => id.to_string(),
        },
        env_id: request
            .env
            .as_ref()
            .map(|digest| shared.env_id(digest).to_string()),
        accepted: wall(&request.accepted),
        retries: request.retries,
        generation: match record.standing {
            Standing::Pending => None,
            Standing::Applied(number) | Standing::Quarantined(number) => Some(number.0),
        },
    }
}

pub(super) fn running(generation: &Generation, record: &StackRecord) -> Running {
    let since = generation.judged.as_ref().or(generation.applied.as_ref());
    let restored = record.restored.as_ref().filter(|r| r.to == generation.number);
    Running {
        generation: generation.number.0,
        tag: generation.release.tag.as_ref().map(ToString::to_string),
        commit: commit_of(&generation.release),
        verdict: generation.verdict.to_string(),
        since: wall(since.unwrap_or(&generation.begun)),
        adopted: generation.adopted,
        restored: restored.map(|r| wall(&r.at)),
    }
}

pub(super) fn gap(record: &StackRecord) -> Option<Gap> {
    let Standing::Quarantined(number) = record.standing else {
        return None;
    };
    let entry = record.quarantine.iter().rev().find(|q| q.generation == number);
    let generation = record.generation(number);
    // Where nothing is in quarantine it was left for what holds the stack.
    let hold = record.hold.as_ref().filter(|_| entry.is_none());
    let since = entry
        .map(|q| &q.at)
        .or(hold.map(|hold| &hold.since))
        .or(generation.and_then(|g| g.judged.as_ref()));
    Some(Gap {
        generation: number.0,
        tag: tag_of(record, number),
        commit: generation.and_then(|g| commit_of(&g.release)),
        ran: generation.is_some_and(|g| g.applied.is_some()),
        why: entry
            .map(|q| q.why.clone())
            .or(hold.map(|hold| hold.why.clone()))
            .or(generation.map(|g| g.why.clone()))
            .unwrap_or_default(),
        blame: entry.map(|q| q.blame.to_string()),
        by: entry.map_or_else(|| "steadfast".into(), |q| q.by.to_string()),
        since: since.map(wall).unwrap_or_default(),
    })
}

pub(super) fn is_as_asked(record: &StackRecord) -> bool {
    matches!(record.standing, Standing::Applied(number) if record.current == Some(number))
}

pub(super) fn tag_of(record: &StackRecord, number: GenerationNumber) -> Option<String> {
    let generation = record.generation(number)?;
    generation.release.tag.as_ref().map(ToString::to_string)
}

/// `v1.6.0 (generation 3)`.
pub(super) fn named(record: &StackRecord, number: GenerationNumber) -> String {
    match tag_of(record, number) {
        Some(tag) => format!("{tag} (generation {number})"),
        None => format!("generation {number}"),
    }
}

/// The commit of a release's own tag, where it comes from a repository.
pub(super) fn commit_of(release: &Release) -> Option<String> {
    release.commits.get(release.tag.as_ref()?).map(shown)
}

pub(super) fn shown(commit: &Commit) -> String {
    commit.short().to_owned()
}
