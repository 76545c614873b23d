//! Names and identifiers, parsed once. What is not in here is not a name.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// Why a text is not a name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a valid {kind}: {rule}")]
pub struct InvalidName {
    /// What it should have been.
    pub kind: &'static str,
    /// The text that was given.
    pub text: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        // Names are in every record, and records are handed on: a clone costs no memory.
        pub struct $name(Arc<str>);

        impl $name {
            fn is_valid(text: &str) -> bool {
                let valid: fn(&str) -> bool = $valid;
                valid(text)
            }

            fn invalid(text: String) -> InvalidName {
                InvalidName { kind: $kind, text, rule: $rule }
            }

            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                if Self::is_valid(&text) {
                    Ok(Self(text.into()))
                } else {
                    Err(Self::invalid(text))
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if Self::is_valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(Self::invalid(text.to_owned()))
                }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                String::from(&*name.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Named(PhantomData))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

/// Reads a name of some kind.
struct Named<N>(PhantomData<N>);

impl<N: FromStr<Err = InvalidName>> Visitor<'_> for Named<N> {
    type Value = N;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<N, E> {
        text.parse().map_err(E::custom)
    }
}

fn first_and_rest(text: &str, first: fn(char) -> bool, rest: fn(char) -> bool) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(first) && chars.all(rest) && text.len() <= 128
}

fn is_branch(text: &str) -> bool {
    let special = |c: char| {
        c.is_control() || c.is_whitespace() || matches!(c, '~' | '^' | ':' | '?' | '*' | '[' | '\\')
    };
    let part = |part: &str| {
        let ending = Path::new(part).extension();
        !part.is_empty() && !part.starts_with('.') && ending.is_none_or(|ending| ending != "lock")
    };
    text.len() <= 200
        && !text.starts_with('-')
        && !text.ends_with('.')
        && !["HEAD", "@"].contains(&text)
        && !["..", "@{"].iter().any(|never| text.contains(never))
        && !text.contains(special)
        && text.split('/').all(part)
}

name!(
    /// The name of a stack; also its Compose project name (Compose Specification, `name`).
    StackName, "stack name", "it starts with a lower-case letter or a digit and holds only those, `-` and `_`",
    |t| first_and_rest(t, |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
        |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
);
name!(
    /// The name of a service in a Compose file.
    ServiceName, "service name", "it holds only letters, digits, `.`, `_` and `-`",
    |t| first_and_rest(t, |c| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-',
        |c| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-')
);
name!(
    /// A release tag, as Docker takes it (distribution reference grammar) or as Git names it without slashes.
    Tag, "tag", "it holds only letters, digits, `_`, `.`, `-` and starts with no `.` or `-`",
    |t| first_and_rest(t, |c| c.is_ascii_alphanumeric() || c == '_',
        |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
);
name!(
    /// The full identifier of a container: 64 hexadecimal digits.
    ContainerId, "container id", "it is 64 hexadecimal digits",
    |t| t.len() == 64 && t.bytes().all(|b| b.is_ascii_hexdigit())
);
name!(
    /// The identifier of an image: `sha256:` and 64 hexadecimal digits. Never a tag.
    ImageId, "image id", "it is `sha256:` and 64 hexadecimal digits",
    |t| t.strip_prefix("sha256:").is_some_and(|d| d.len() == 64 && d.bytes().all(|b| b.is_ascii_hexdigit()))
);
name!(
    /// The SHA-256 of some content: 64 lower-case hexadecimal digits.
    Digest, "digest", "it is 64 lower-case hexadecimal digits",
    |t| t.len() == 64 && t.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);
name!(
    /// The full identifier of a commit in a Git repository: 40 or 64 lower-case hexadecimal digits.
    Commit, "commit", "it is 40 or 64 lower-case hexadecimal digits",
    |t| matches!(t.len(), 40 | 64) && t.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);
name!(
    /// The name of a Git branch, without `refs/heads/`, as `git check-ref-format` takes it.
    BranchName, "branch name", "it is a name as `git check-ref-format --branch` takes it",
    is_branch
);
name!(
    /// A migration revision as the migration tool prints it.
    Revision, "revision", "it holds only letters, digits, `_`, `.` and `-`",
    |t| first_and_rest(t, |c| c.is_ascii_alphanumeric() || c == '_',
        |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
);
name!(
    /// The short id of an `.env` as it is shown: keyed with a secret of the host, never a plain digest.
    EnvId, "env id", "it is 8 to 64 lower-case hexadecimal digits",
    |t| (8..=64).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);
name!(
    /// The short id of a question that a person is asked: another question has another one.
    AskId, "ask id", "it is 12 lower-case hexadecimal digits",
    |t| t.len() == 12 && t.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);
name!(
    /// The name of a probe; one of a kind in its stack.
    ProbeName, "probe name", "it starts with a letter, a digit or `_` and holds only those, `.` and `-`",
    |t| first_and_rest(t, |c| c.is_ascii_alphanumeric() || c == '_',
        |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
);
name!(
    /// Who approves or is paged, as an operator calls them: `lead`, `on-call`.
    Role, "role", "it starts with a letter or a digit and holds only those, `.`, `_` and `-`",
    |t| first_and_rest(t, |c| c.is_ascii_alphanumeric(),
        |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
);

impl ContainerId {
    /// The first twelve digits, as Docker shows them.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl Commit {
    /// The first twelve digits, enough to name it to Git.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl ImageId {
    /// The first twelve digits after `sha256:`, as Docker shows them.
    pub fn short(&self) -> &str {
        &self.0[7..19]
    }
}

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::from_hash(sha2::Sha256::digest(bytes).into())
    }

    fn from_hash(hash: [u8; 32]) -> Self {
        let mut digits = [0; 64];
        hex::encode_to_slice(hash, &mut digits).expect("there are twice as many digits as bytes");
        let digits = std::str::from_utf8(&digits).expect("hexadecimal digits are text");
        Self(digits.into())
    }

    /// The first twelve digits.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// The hash itself.
    pub fn bytes(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hex::decode_to_slice(self.0.as_bytes(), &mut hash).expect("it is 64 hexadecimal digits");
        hash
    }
}

/// The SHA-256 of content that comes in parts.
#[derive(Debug, Clone, Default)]
pub struct Digesting(sha2::Sha256);

impl Digesting {
    /// What follows.
    pub fn update(&mut self, bytes: &[u8]) {
        sha2::Digest::update(&mut self.0, bytes);
    }

    /// The digest of all of it.
    pub fn finish(self) -> Digest {
        Digest::from_hash(sha2::Digest::finalize(self.0).into())
    }
}
