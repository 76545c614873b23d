//! What is shown of env files: their versions, and the names in one. A value is shown by [`EnvShown::revealed`] alone.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use config::env_file::{Format, in_order};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::env_version::EnvVersion;
use state::name::StackName;

use super::{FORMAT, wall};

/// Answer to `env list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnvList {
    /// [`FORMAT`].
    pub format: u32,
    /// The stack.
    pub stack: String,
    /// Its own env file, which is meant where none is named.
    pub file: String,
    /// The versions of all its env files, the newest first.
    pub versions: Vec<EnvRow>,
}

/// One version of an env file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(clippy::struct_excessive_bools, reason = "each is a field of its own")]
pub struct EnvRow {
    /// What it is known by.
    pub id: String,
    /// The env file.
    pub file: String,
    /// Whether its content is kept.
    pub kept: bool,
    /// Whether it is that of the request in force.
    pub asked_for: bool,
    /// Whether it is what the file holds.
    pub in_file: bool,
    /// Whether desired.toml pins it.
    pub pinned: bool,
    /// When it was last used, asked for, replaced or imported; `None`: it is in the file, and not taken up yet.
    pub last: Option<Timestamp>,
    /// The generations that have it, the newest first.
    pub used_by: Vec<EnvUse>,
    /// Who has imported it.
    pub imported: Option<EnvImport>,
    /// When another one was last put in its place.
    pub replaced: Option<Timestamp>,
}

/// A generation that has a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnvUse {
    /// Its number.
    pub generation: u64,
    /// `trial`, `good`, `bad` or `superseded`.
    pub verdict: String,
    /// When it was begun.
    pub begun: Timestamp,
}

/// How a version was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnvImport {
    /// The file that it was read from.
    pub from: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Answer to `env show --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnvShown {
    /// [`FORMAT`].
    pub format: u32,
    /// The stack.
    pub stack: String,
    /// The env file.
    pub file: String,
    /// The version.
    pub id: String,
    /// Whether it is that of the request in force.
    pub asked_for: bool,
    /// Whether it is what the file holds.
    pub in_file: bool,
    /// The names, in the file's order.
    pub keys: Vec<EnvKey>,
    /// What of it makes no sense, by its place.
    pub problems: Vec<String>,
}

/// One name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnvKey {
    /// The name.
    pub key: String,
    /// The value, where root has asked for it.
    pub value: Option<String>,
}

impl fmt::Debug for EnvKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvKey({}=…)", self.key)
    }
}

/// Answer to `env diff --json`: which names differ, and never how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnvDiff {
    /// [`FORMAT`].
    pub format: u32,
    /// The stack.
    pub stack: String,
    /// The env file.
    pub file: String,
    /// The id of the one version.
    pub a: String,
    /// That of the other; `None`: there is no such file.
    pub b: Option<String>,
    /// Whether `b` is what the file holds.
    pub b_in_file: bool,
    /// Names that only `b` has.
    pub added: Vec<String>,
    /// Names that only `a` has.
    pub removed: Vec<String>,
    /// Names with other values.
    pub changed: Vec<String>,
    /// Whether they are the same to the last byte.
    pub identical: bool,
    /// What of them makes no sense, by its place.
    pub problems: Vec<String>,
}

/// What a version sets.
pub struct EnvText {
    entries: Vec<(String, String)>,
    problems: Vec<String>,
}

impl fmt::Debug for EnvText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvText({} names)", self.entries.len())
    }
}

impl EnvText {
    /// By Compose's rules. What makes no sense is left out, and said without any value.
    pub fn read(file: &Path, bytes: &[u8]) -> Self {
        let mut problems = Vec::new();
        let entries = in_order(file, bytes, Format::Dotenv, &|_| None, &mut problems);
        Self {
            entries,
            problems: problems.iter().map(ToString::to_string).collect(),
        }
    }
}

impl EnvList {
    /// Of these versions; whether the content of each is kept stands beside it.
    pub fn of<'v>(
        (stack, file): (&StackName, &Path),
        versions: impl Iterator<Item = (&'v EnvVersion, bool)>,
    ) -> Self {
        Self {
            format: FORMAT,
            stack: stack.to_string(),
            file: file.display().to_string(),
            versions: versions
                .map(|(version, kept)| EnvRow::of(version, kept))
                .collect(),
        }
    }
}

impl EnvRow {
    fn of(version: &EnvVersion, kept: bool) -> Self {
        let used_by = version.used_by.iter().map(|used| EnvUse {
            generation: used.generation.0,
            verdict: used.verdict.to_string(),
            begun: wall(&used.begun),
        });
        Self {
            id: version.id.to_string(),
            file: version.path.display().to_string(),
            kept,
            asked_for: version.is_asked_for,
            in_file: version.is_in_file,
            pinned: version.is_pinned,
            last: version.last.as_ref().map(wall),
            used_by: used_by.collect(),
            imported: version.imported.as_ref().map(|one| EnvImport {
                from: one.from.display().to_string(),
                by: one.by.to_string(),
                at: wall(&one.at),
            }),
            replaced: version.replaced.as_ref().map(wall),
        }
    }
}

impl EnvShown {
    /// The names alone.
    pub fn masked(stack: &StackName, version: &EnvVersion, text: &EnvText) -> Self {
        let keys = text.entries.iter().map(|(key, _)| EnvKey {
            key: key.clone(),
            value: None,
        });
        Self {
            format: FORMAT,
            stack: stack.to_string(),
            file: version.path.display().to_string(),
            id: version.id.to_string(),
            asked_for: version.is_asked_for,
            in_file: version.is_in_file,
            keys: keys.collect(),
            problems: text.problems.clone(),
        }
    }

    /// With the values: for root, once that is on record.
    pub fn revealed(stack: &StackName, version: &EnvVersion, text: EnvText) -> Self {
        let masked = Self::masked(stack, version, &text);
        let keys = text.entries.into_iter().map(|(key, value)| EnvKey {
            key,
            value: Some(value),
        });
        Self {
            keys: keys.collect(),
            ..masked
        }
    }
}

impl EnvDiff {
    /// From one version to the other.
    pub fn of(
        stack: &StackName,
        file: &Path,
        (a, b): (Option<&EnvVersion>, Option<&EnvVersion>),
        (from, to): (&EnvText, &EnvText),
        identical: bool,
    ) -> Self {
        let values = |text: &EnvText| -> BTreeMap<String, String> { text.entries.iter().cloned().collect() };
        let (before, after) = (values(from), values(to));
        let names = |text: &EnvText, of: &dyn Fn(&String) -> bool| -> Vec<String> {
            let names = text.entries.iter().map(|(key, _)| key);
            names.filter(|key| of(key)).cloned().collect()
        };
        let differs = |key: &String| after.get(key).is_some_and(|value| before.get(key) != Some(value));
        Self {
            format: FORMAT,
            stack: stack.to_string(),
            file: file.display().to_string(),
            a: a.map(|a| a.id.to_string()).unwrap_or_default(),
            b: b.map(|b| b.id.to_string()),
            b_in_file: b.is_some_and(|b| b.is_in_file),
            added: names(to, &|key| !before.contains_key(key)),
            removed: names(from, &|key| !after.contains_key(key)),
            changed: names(from, &differs),
            identical,
            problems: problems((a, from), (b, to)),
        }
    }
}

/// What makes no sense in either, each with its version.
fn problems(a: (Option<&EnvVersion>, &EnvText), b: (Option<&EnvVersion>, &EnvText)) -> Vec<String> {
    let same = a.0.zip(b.0).is_some_and(|(a, b)| a.id == b.id);
    let sides = [Some(a), Some(b).filter(|_| !same)];
    let named = sides.into_iter().flatten().flat_map(|(version, text)| {
        let id = version.map(|version| version.id.to_string()).unwrap_or_default();
        text.problems
            .iter()
            .map(move |problem| format!("{id}: {problem}"))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::view::sample;

    const OLD: &str = "# of a person\nA=secret1\nB=secret2\nC=secret3\n";
    const NEW: &str = "C=\"secret3\"\nD=secret4\nA=secret5 # other\n\"=secret6\n";

    fn version() -> EnvVersion {
        let snapshot = sample::snapshot("steady");
        let key = state::release::HostKey::new([7; 32]);
        let disk = state::files::OnDisk::new();
        let all = state::env_version::versions(&snapshot.record, &snapshot.env_file, &key, &disk);
        all[0].clone()
    }

    fn text(text: &str) -> EnvText {
        EnvText::read(Path::new("/srv/shop/.env"), text.as_bytes())
    }

    fn names(keys: &[EnvKey]) -> Vec<&str> {
        keys.iter().map(|key| key.key.as_str()).collect()
    }

    #[test]
    fn a_version_is_shown_by_its_names_in_their_order() {
        let stack = "shop".parse().unwrap();
        let shown = EnvShown::masked(&stack, &version(), &text(NEW));
        assert_eq!(names(&shown.keys), ["C", "D", "A"]);
        assert_eq!(shown.problems.len(), 1);
        let json = serde_json::to_string(&shown).unwrap();
        assert!(!json.contains("secret"), "{json}");
        let revealed = EnvShown::revealed(&stack, &version(), text(NEW));
        let value = |n: usize| revealed.keys[n].value.as_deref();
        assert_eq!((value(0), value(2)), (Some("secret3"), Some("secret5")));
        // Nobody logs one by mistake.
        assert!(!format!("{revealed:?} {:?}", text(NEW)).contains("secret"));
    }

    #[test]
    fn what_differs_is_told_by_names_alone() {
        let (stack, version) = ("shop".parse().unwrap(), version());
        let file = Path::new("/srv/shop/.env");
        let both = (Some(&version), Some(&version));
        let diff = |a: &str, b: &str| EnvDiff::of(&stack, file, both, (&text(a), &text(b)), a == b);
        let there = diff(OLD, NEW);
        assert_eq!(
            (
                there.added.join(" "),
                there.removed.join(" "),
                there.changed.join(" ")
            ),
            ("D".into(), "B".into(), "A".into())
        );
        let json = serde_json::to_string(&there).unwrap();
        assert!(!json.contains("secret"), "{json}");
        let same = diff(OLD, "C='secret3'\nB=secret2\nA=secret1\n");
        assert!(same.added.is_empty() && same.removed.is_empty() && same.changed.is_empty());
        assert!(!same.identical && diff(OLD, OLD).identical);
        let gone = EnvDiff::of(
            &stack,
            file,
            (Some(&version), None),
            (&text(OLD), &text("")),
            false,
        );
        assert_eq!((gone.b, gone.removed.len()), (None, 3));
    }
}
