//! An image to be built, in our words, and what the classic builder of the engine cannot do. Pure.

mod transcript;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;

use state::stack_spec::{BuildSpec, EnvValue};

pub(super) use self::transcript::{Said, Transcript};

/// How long arguments and labels may be together: they are part of an address, which has 64 KiB, and there a
/// character may take three.
const MAX_WORDS: usize = 16 * 1024;

/// An image to be built.
#[derive(Debug, Clone)]
pub struct Build<'a> {
    /// The directory that is sent.
    pub context: &'a Path,
    /// What context and Dockerfile must not be led out of by a symbolic link, where they lie below it: a release's
    /// worktree. Any other path is its operator's word.
    pub within: Option<&'a Path>,
    /// How it is built. Its own `context` is not looked at, other than whether it is a URL.
    pub spec: &'a BuildSpec,
    /// The tag that it gets.
    pub reference: &'a str,
    /// Our labels, over those of the specification.
    pub labels: BTreeMap<String, String>,
    /// The platform; without one, the specification's, or else the engine's own.
    pub platform: Option<&'a str>,
}

impl Build<'_> {
    /// The values of its arguments, as they may come up in what the builder says: whole, and line by line.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let values = self.spec.args.values().flatten().map(EnvValue::expose);
        values.flat_map(|value| {
            let lines = value.lines().map(str::trim).filter(move |line| *line != value);
            std::iter::once(value).chain(lines)
        })
    }

    /// The labels of the image.
    pub(super) fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.spec.labels.clone();
        labels.extend(self.labels.clone());
        labels
    }
}

/// Why the engine's classic builder cannot build this, and what to do instead; `None`: it can.
///
/// Attestations (`provenance`, `sbom`) and `cache_from` of other kinds than an image are left out: the image is the same.
pub fn unsupported(spec: &BuildSpec) -> Option<String> {
    let words = spec
        .args
        .iter()
        .map(|(key, value)| key.len() + value.as_ref().map_or(0, |v| v.expose().len()));
    let labels = spec.labels.iter().map(|(key, value)| key.len() + value.len());
    let what = [
        (
            is_remote(&spec.context),
            "a context that is not a directory of this host",
        ),
        (!spec.additional_contexts.is_empty(), "\"additional_contexts\""),
        (!spec.secrets.is_empty(), "\"secrets\""),
        (!spec.ssh.is_empty(), "\"ssh\""),
        (spec.privileged, "\"privileged\""),
        (!spec.entitlements.is_empty(), "\"entitlements\""),
        (!spec.cache_to.is_empty(), "\"cache_to\""),
        (spec.platforms.len() > 1, "several \"platforms\""),
        (
            spec.isolation
                .as_deref()
                .is_some_and(|isolation| !isolation.is_empty() && isolation != "default"),
            "\"isolation\"",
        ),
        (
            words.chain(labels).sum::<usize>() > MAX_WORDS,
            "arguments and labels of more than 16 KiB",
        ),
    ];
    let what: Vec<&str> = what
        .into_iter()
        .filter_map(|(is, what)| is.then_some(what))
        .collect();
    (!what.is_empty()).then(|| {
        let what = what.join(" and ");
        format!(
            "the engine's classic builder, which Steadfast uses, cannot do {what}: build the image elsewhere, push it, \
             and name it with \"image:\" instead of \"build:\""
        )
    })
}

/// Whether a build context is no path: paths are absolute by now.
fn is_remote(context: &str) -> bool {
    !context.is_empty() && !context.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut BuildSpec);

    #[test]
    fn what_the_classic_builder_cannot_do_is_refused_with_a_way_out() {
        let text = |text: &str| text.to_owned();
        let one = || BTreeMap::from([(text("a"), text("b"))]);
        let plain = || BuildSpec {
            context: text("/srv/app"),
            dockerfile: Some(text("Dockerfile")),
            platforms: vec![text("linux/amd64")],
            provenance: Some(text("true")),
            sbom: Some(text("true")),
            isolation: Some(text("default")),
            cache_from: vec![text("type=gha")],
            ..BuildSpec::default()
        };
        assert_eq!(unsupported(&plain()), None);
        let rows: [(&str, Change); 6] = [
            ("\"ssh\"", |spec| {
                spec.ssh.insert("default".to_owned(), None);
            }),
            ("\"privileged\"", |spec| spec.privileged = true),
            ("\"entitlements\"", |spec| {
                spec.entitlements.push("network.host".to_owned());
            }),
            ("\"cache_to\"", |spec| {
                spec.cache_to.push("type=inline".to_owned());
            }),
            ("several \"platforms\"", |spec| {
                spec.platforms.push("linux/arm64".to_owned());
            }),
            ("arguments and labels of more than 16 KiB", |spec| {
                spec.args.insert("A".to_owned(), Some("x".repeat(20_000).into()));
            }),
        ];
        for (what, change) in rows {
            let mut spec = plain();
            change(&mut spec);
            let why = unsupported(&spec).unwrap_or_default();
            assert!(
                why.contains(what) && why.contains("\"image:\"") && !why.contains("xx"),
                "{what}: {why}"
            );
        }
        for context in [
            "https://example.org/a.git",
            "git@example.org:a",
            "github.com/a/b",
            "service:base",
        ] {
            let spec = BuildSpec {
                context: text(context),
                additional_contexts: one(),
                ..plain()
            };
            let why = unsupported(&spec).unwrap_or_default();
            assert!(why.contains("of this host and \"additional_contexts\":"), "{why}");
        }
    }

    #[test]
    fn secrets_are_taken_line_by_line_too() {
        let mut spec = BuildSpec::default();
        spec.args
            .insert("KEY".to_owned(), Some("one-line\n  two-line\n".into()));
        spec.args.insert("NONE".to_owned(), None);
        let build = Build {
            context: Path::new("/"),
            within: None,
            spec: &spec,
            reference: "app:v1",
            labels: BTreeMap::new(),
            platform: None,
        };
        let secrets: Vec<&str> = build.secrets().collect();
        assert_eq!(secrets, ["one-line\n  two-line\n", "one-line", "two-line"]);
        assert!(!format!("{build:?}").contains("two-line"));
    }
}
