//! Releases and generations: what was asked to run, under which number, and what became of it.
//! No judgement here; that is `health` and `decide`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::bug::{self, Bug};
use crate::desired::{Desired, MigrationWish};
use crate::files::{ReleaseFiles, seen_through};
use crate::name::{Commit, Digest, EnvId, ImageId, ServiceName, Tag};
use crate::observed::SchemaHead;
use crate::stack_spec::{ServiceSpec, StackSpec};
use crate::time::Moment;

/// A secret of this host, with which everything that is *shown* of an env file or a rendered
/// service is keyed, so that a short secret cannot be guessed from its digest.
#[derive(Clone)]
pub struct HostKey([u8; 32]);

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey(…)")
    }
}

impl HostKey {
    /// The key of these 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA256 over `purpose`, a zero byte and `bytes`, as hexadecimal digits.
    fn mac(&self, purpose: &str, bytes: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(bytes);
        hex::encode(mac.finalize().into_bytes())
    }

    /// The short id under which an env file's content is shown.
    pub fn env_id(&self, content: &Digest) -> EnvId {
        self.mac("env", content.as_str().as_bytes())[..12]
            .parse()
            .expect("twelve hexadecimal digits are an env id")
    }

    /// What an image that is built is known by. `content` says of what it is made, and may hold secrets.
    pub fn build_key(&self, content: &[u8]) -> Digest {
        self.mac("build", content)
            .parse()
            .expect("a SHA-256 is 64 hexadecimal digits")
    }

    /// The hash of one rendered service with its image, for the label `io.steadfast.spec`. What has
    /// no part in the container (profiles, replicas, dependencies, build) has no part in it; what its
    /// tracked files hold that it has mounted, has: another content needs another container. Its
    /// prefix is the version of this rule; hashes of another version are compared as recorded,
    /// never computed again, so that a new Steadfast replaces nothing by itself.
    pub fn spec_hash(
        &self,
        stack: &StackSpec,
        service: &ServiceName,
        image: &ImageId,
        files: &ReleaseFiles,
    ) -> Option<String> {
        let bytes = stack.container_identity(service)?;
        if bug::is(Bug::ValueInALabel) {
            return String::from_utf8(bytes).ok();
        }
        let mut text = bytes;
        text.extend_from_slice(image.as_str().as_bytes());
        let mounted = stack
            .services
            .get(service)
            .into_iter()
            .flat_map(ServiceSpec::host_paths);
        for (path, content) in mounted.flat_map(|source| seen_through(files, source)) {
            text.extend_from_slice(path.as_os_str().as_encoded_bytes());
            text.push(0);
            text.extend_from_slice(content.as_str().as_bytes());
        }
        Some(format!("1-{}", &self.mac("spec", &text)[..32]))
    }
}

/// The number of a generation, counted from 1 in its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GenerationNumber(pub u64);

impl fmt::Display for GenerationNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What should run. Its identity is its content, never the tag alone: tags move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The tag that was asked for; `None` where the agent found the stack running.
    pub tag: Option<Tag>,
    /// Services pinned to another tag.
    pub pins: BTreeMap<ServiceName, Tag>,
    /// The commit of each tag, where the release comes from a repository.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commits: BTreeMap<Tag, Commit>,
    /// The image of each service, by identifier. A service whose image cannot be had is missing.
    pub images: BTreeMap<ServiceName, ImageId>,
    /// Where the schema should stand.
    pub migration: MigrationWish,
    /// The digest of `.env`, where there is one.
    pub env: Option<Digest>,
    /// The digest of the Compose files and the tracked files together.
    pub config: Digest,
}

impl Release {
    /// The SHA-256 of the content.
    pub fn id(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("a release is plain data"))
    }
}

/// What became of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Being watched. Left for `Good`, `Bad` or `Superseded` by the judge.
    Trial,
    /// Proven by `good_after` of unbroken, observed health. Left for `Bad` when it is rolled back.
    Good,
    /// Failed; its release is in quarantine. Left by `retry`, which makes a new generation.
    Bad,
    /// A new request came before it was proven. Final.
    Superseded,
}

impl Verdict {
    /// The word in files and in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Superseded => "superseded",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One numbered application of a release to a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number.
    pub number: GenerationNumber,
    /// What it applies.
    pub release: Release,
    /// The identity of that release.
    pub release_id: Digest,
    /// The request that it answers.
    pub request: Digest,
    /// The object that holds its rendered [`StackSpec`] as JSON.
    pub spec: Digest,
    /// The spec hash of each service, as labelled or as adopted.
    pub hashes: BTreeMap<ServiceName, String>,
    /// What became of it.
    pub verdict: Verdict,
    /// When it was begun.
    pub begun: Moment,
    /// When its containers ran and the trial began; `None` while they are being deployed, or if they never ran.
    pub applied: Option<Moment>,
    /// When the verdict was last changed.
    pub judged: Option<Moment>,
    /// Why the verdict is what it is, for people.
    pub why: String,
    /// Where the schema stood when it was proven, or when it was last seen on trial.
    pub schema: Option<SchemaHead>,
    /// The operator's files that it is made of.
    #[serde(default, skip_serializing_if = "ReleaseFiles::is_empty")]
    pub files: ReleaseFiles,
    /// Whether the agent found it running instead of deploying it.
    pub adopted: bool,
    /// Why it can never be a rollback target, although it may run: an adopted stack whose containers
    /// do not match their Compose file.
    pub not_restorable: Option<String>,
}

impl Generation {
    /// Whether it has this content, and containers of these spec hashes: nothing would change between the two.
    /// The tag says nothing about that.
    pub fn is_made_of(&self, release: &Release, hashes: &BTreeMap<ServiceName, String>) -> bool {
        self.hashes == *hashes
            && self.release.images == release.images
            && self.release.migration == release.migration
            && self.release.env == release.env
            && self.release.config == release.config
    }
}

/// Who or what asked for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The agent, on the judge's verdict.
    Agent,
    /// A person, as the control socket's peer credentials tell.
    Person {
        /// Numeric user id.
        uid: u32,
        /// User name, where the host knows one.
        name: Option<String>,
    },
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("steadfast"),
            Self::Person { name: Some(name), .. } => f.write_str(name),
            Self::Person { uid, name: None } => write!(f, "uid {uid}"),
        }
    }
}

/// What of a release is blamed for its failure: every part that differs from the generation that
/// was gone back to. Where images or the schema differ, those alone are blamed (invariant 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// These services' images, and the schema wish where that differed.
    Content {
        /// The blamed image of each service.
        images: BTreeMap<ServiceName, ImageId>,
        /// The blamed schema wish.
        migration: Option<MigrationWish>,
    },
    /// Only configuration differed: these files' digests.
    Configuration {
        /// The blamed `.env`, where it differed. Outer `None`: it did not.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "present"
        )]
        env: Option<Option<Digest>>,
        /// The blamed Compose and tracked files, where they differed.
        config: Option<Digest>,
    },
    /// The tag names no image that can be had.
    Tag {
        /// The blamed references.
        references: BTreeSet<String>,
    },
    /// Nothing to compare with: the release as a whole.
    Whole(Digest),
}

/// A key that is there, `null` included: what is absent is `None` by default.
fn present<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl Blame {
    /// What to blame in `bad`, which was left for `target`.
    pub fn between(bad: &Release, target: Option<&Release>) -> Self {
        let Some(target) = target.filter(|_| !bug::is(Bug::AnyEditLiftsQuarantine)) else {
            return Self::Whole(bad.id());
        };
        let images: BTreeMap<_, _> = bad
            .images
            .iter()
            .filter(|(service, image)| target.images.get(*service) != Some(*image))
            .map(|(service, image)| (service.clone(), image.clone()))
            .collect();
        let migration = (bad.migration != target.migration).then(|| bad.migration.clone());
        if !images.is_empty() || migration.is_some() {
            return Self::Content { images, migration };
        }
        let env = (bad.env != target.env).then(|| bad.env.clone());
        let config = (bad.config != target.config).then(|| bad.config.clone());
        if env.is_none() && config.is_none() {
            return Self::Whole(bad.id());
        }
        Self::Configuration { env, config }
    }

    /// Whether `release` still has everything that is blamed.
    pub fn covers(&self, release: &Release) -> bool {
        match self {
            Self::Content { images, migration } => {
                images
                    .iter()
                    .all(|(service, image)| release.images.get(service) == Some(image))
                    && migration.as_ref().is_none_or(|m| *m == release.migration)
            }
            Self::Configuration { env, config } => {
                env.as_ref().is_none_or(|e| *e == release.env)
                    && config.as_ref().is_none_or(|c| *c == release.config)
            }
            Self::Tag { .. } => false,
            Self::Whole(id) => *id == release.id(),
        }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |images: &BTreeMap<ServiceName, ImageId>| {
            images
                .iter()
                .map(|(service, image)| format!("{service}={}", image.short()))
                .collect::<Vec<_>>()
                .join(", ")
        };
        match self {
            Self::Content {
                images,
                migration: None,
            } => write!(f, "images {}", names(images)),
            Self::Content {
                images,
                migration: Some(migration),
            } if images.is_empty() => {
                write!(f, "migration {migration}")
            }
            Self::Content {
                images,
                migration: Some(migration),
            } => {
                write!(f, "images {} and migration {migration}", names(images))
            }
            Self::Configuration {
                env: Some(_),
                config: None,
            } => f.write_str("the env file"),
            Self::Configuration { env: None, .. } => f.write_str("the configuration files"),
            Self::Configuration { .. } => f.write_str("the env file and the configuration files"),
            Self::Tag { references } => {
                let names: Vec<&str> = references.iter().map(String::as_str).collect();
                write!(f, "no such image: {}", names.join(", "))
            }
            Self::Whole(id) => write!(f, "the release {} as a whole", id.short()),
        }
    }
}

/// A release that must not be applied again, with who put it here and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// The generation that failed.
    pub generation: GenerationNumber,
    /// Its release.
    pub release: Digest,
    /// The tag that it was asked for by, for people.
    pub tag: Option<Tag>,
    /// What a new request has to change.
    pub blame: Blame,
    /// Who put it here.
    pub by: Author,
    /// When.
    pub at: Moment,
    /// Why, for people.
    pub why: String,
}

/// What an operator last asked for: the stack's entry in desired.toml and the operator's versions of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The entry.
    pub desired: Desired,
    /// The digest of `.env`, where there is one.
    pub env: Option<Digest>,
    /// The digest of the Compose files and the tracked files together, and of the settings that render them.
    pub config: Digest,
    /// The object that holds the rendered [`StackSpec`], with image references as written.
    pub spec: Digest,
    /// The operator's version of every file that it is made of.
    #[serde(default, skip_serializing_if = "ReleaseFiles::is_empty")]
    pub files: ReleaseFiles,
    /// The commits that its tags were resolved to, once, where releases come from a repository. `config` tells of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commits: BTreeMap<Tag, Commit>,
    /// When it was accepted.
    pub accepted: Moment,
    /// How many times `retry` has asked for it again: a retry resolves tags anew.
    pub retries: u32,
}

impl Request {
    /// The release that this asks for, with the images that its references name.
    pub fn release(&self, images: BTreeMap<ServiceName, ImageId>) -> Release {
        Release {
            tag: Some(self.desired.tag.clone()),
            pins: self.desired.services.clone(),
            commits: self.commits.clone(),
            images,
            migration: self.desired.migration.clone(),
            env: self.env.clone(),
            config: self.config.clone(),
        }
    }

    /// Its identity: the content, not the time.
    pub fn id(&self) -> Digest {
        Digest::of(&serde_json::to_vec(&self.content()).expect("a request is plain data"))
    }

    /// Whether both have the same identity.
    pub fn is(&self, other: &Self) -> bool {
        self.content() == other.content()
    }

    fn content(&self) -> (&Desired, &Option<Digest>, &Digest, u32) {
        (&self.desired, &self.env, &self.config, self.retries)
    }
}

#[cfg(test)]
mod tests;
