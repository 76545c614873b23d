//! What an operator's `desired.toml` asks of one stack, as a type. No file format in here: the
//! places, the hints and the spelling of the keys belong to `config`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::{Digest, EnvId, Revision, ServiceName, Tag};

/// One stack's entry in `desired.toml`. Its serialised form is stable: equal wishes serialise to
/// equal bytes, so that it can be hashed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Desired {
    /// The tag of every service that is not pinned apart.
    pub tag: Tag,
    /// Where the schema should stand.
    pub migration: MigrationWish,
    /// Which `.env` should be in place.
    pub env: EnvWish,
    /// Services pinned to a tag of their own.
    pub services: BTreeMap<ServiceName, Tag>,
}

impl Desired {
    /// A wish for `tag` alone: the schema as the release brings it, `.env` as it is, nothing pinned.
    pub fn new(tag: Tag) -> Self {
        Self {
            tag,
            migration: MigrationWish::Release,
            env: EnvWish::Current,
            services: BTreeMap::new(),
        }
    }

    /// The tags that it names.
    pub fn tags(&self) -> BTreeSet<&Tag> {
        std::iter::once(&self.tag).chain(self.services.values()).collect()
    }

    /// The tag that `service` should run at: its own pin, else the stack's.
    pub fn tag_of(&self, service: &ServiceName) -> &Tag {
        self.services.get(service).unwrap_or(&self.tag)
    }
}

/// Where the schema should stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationWish {
    /// Omitted: what the release brings.
    #[default]
    Release,
    /// `"head"`: the newest revision that the release's image knows.
    Head,
    /// One revision.
    Revision(Revision),
}

impl fmt::Display for MigrationWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release => f.pad("what the release brings"),
            Self::Head => f.pad("head"),
            Self::Revision(revision) => f.pad(revision.as_str()),
        }
    }
}

/// Which `.env` should be in place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvWish {
    /// `"current"`: the file as it is; an edit is a new release.
    #[default]
    Current,
    /// `"sha256:…"`: the content with this digest, as `sha256sum .env` prints it.
    Sha256(Digest),
    /// The short id that `status` and `history` show, keyed with a secret of the host.
    Short(EnvId),
}

impl fmt::Display for EnvWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.pad("current"),
            Self::Sha256(digest) => write!(f, "sha256:{digest}"),
            Self::Short(id) => f.pad(id.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_pinned_service_has_its_own_tag_and_the_others_the_stacks() {
        let mut desired = Desired::new("v2".parse().unwrap());
        desired
            .services
            .insert("frontend".parse().unwrap(), "v1".parse().unwrap());
        assert_eq!(desired.tag_of(&"frontend".parse().unwrap()).as_str(), "v1");
        assert_eq!(desired.tag_of(&"api".parse().unwrap()).as_str(), "v2");
    }

    #[test]
    fn equal_wishes_serialise_to_equal_bytes_whatever_the_order_they_were_built_in() {
        let pins = [("web", "v1"), ("api", "v2"), ("frontend", "v3")];
        let build = |order: &[usize]| {
            let mut desired = Desired::new("v9".parse().unwrap());
            for &i in order {
                desired
                    .services
                    .insert(pins[i].0.parse().unwrap(), pins[i].1.parse().unwrap());
            }
            serde_json::to_string(&desired).unwrap()
        };
        assert_eq!(build(&[0, 1, 2]), build(&[2, 0, 1]));
        expect_test::expect![[
            r#"{"tag":"v9","migration":"release","env":"current","services":{"api":"v2","frontend":"v3","web":"v1"}}"#
        ]]
        .assert_eq(&build(&[1, 0, 2]));
    }

    #[test]
    fn every_wish_survives_being_written_and_read() {
        let mut desired = Desired::new("v1".parse().unwrap());
        for migration in [
            MigrationWish::Release,
            MigrationWish::Head,
            MigrationWish::Revision("7c1f".parse().unwrap()),
        ] {
            for env in [
                EnvWish::Current,
                EnvWish::Sha256(Digest::of(b"A=1\n")),
                EnvWish::Short("0123456789ab".parse().unwrap()),
            ] {
                desired.migration = migration.clone();
                desired.env = env;
                let text = serde_json::to_string(&desired).unwrap();
                assert_eq!(serde_json::from_str::<Desired>(&text).unwrap(), desired);
            }
        }
    }
}
