//! The order of tags that are versions, as people who release mean it: `v1.10.0` comes after `v1.9.0`, and `v2.0.0-rc1`
//! before `v2.0.0` (Semantic Versioning, clause 11, but that `rc10` comes after `rc9`).

use std::cmp::Ordering;

/// What a name says of its place among others. The later one is the greater one; a name that is no version is less than
/// any that is one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version<'a> {
    parsed: Option<Parsed<'a>>,
    name: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
struct Parsed<'a> {
    numbers: Vec<&'a str>,
    /// What comes before the release itself; empty: it is the release.
    pre: Vec<&'a str>,
}

impl<'a> Version<'a> {
    /// `prefix`: what all of them begin with, beside the `v` that many do.
    pub(super) fn of(name: &'a str, prefix: &str) -> Self {
        let rest = name.strip_prefix(prefix).unwrap_or(name);
        // A pattern like `v*` takes the `v` with it, and one like `v1*` a part of the version.
        let parsed = parse(rest).filter(|_| !prefix.ends_with(|c: char| c.is_ascii_digit() || c == '.'));
        Self {
            parsed: parsed.or_else(|| parse(name)),
            name,
        }
    }
}

fn parse(text: &str) -> Option<Parsed<'_>> {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let mut rest = text;
    let mut numbers = Vec::new();
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if end == 0 {
            return None;
        }
        let (number, after) = rest.split_at(end);
        numbers.push(number);
        rest = after;
        match rest.strip_prefix('.') {
            Some(more) if more.starts_with(|c: char| c.is_ascii_digit()) => rest = more,
            _ => break,
        }
    }
    let pre = rest.trim_start_matches(['.', '-', '_']);
    if pre.is_empty() && !rest.is_empty() {
        return None;
    }
    let pre = runs(pre);
    Some(Parsed { numbers, pre })
}

/// Its numbers and words, apart: `rc.10` and `rc10` are the same.
fn runs(text: &str) -> Vec<&str> {
    let mut runs = Vec::new();
    for part in text.split(['.', '-', '_']) {
        let mut rest = part;
        while let Some(first) = rest.chars().next() {
            let other = |c: char| c.is_ascii_digit() != first.is_ascii_digit();
            let (run, after) = rest.split_at(rest.find(other).unwrap_or(rest.len()));
            runs.push(run);
            rest = after;
        }
    }
    runs
}

/// Numbers of any length.
fn by_number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// A number comes before a word.
fn by_run(a: &str, b: &str) -> Ordering {
    let is_number = |run: &str| run.starts_with(|c: char| c.is_ascii_digit());
    match (is_number(a), is_number(b)) {
        (true, true) => by_number(a, b),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    }
}

impl Parsed<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        let count = self.numbers.len().max(other.numbers.len());
        let numbers = (0..count).map(|i| {
            let [a, b] = [self, other].map(|of| of.numbers.get(i).copied().unwrap_or("0"));
            by_number(a, b)
        });
        let runs = self.pre.iter().zip(&other.pre).map(|(a, b)| by_run(a, b));
        numbers
            .fold(Ordering::Equal, Ordering::then)
            // The release itself comes after what leads to it.
            .then(self.pre.is_empty().cmp(&other.pre.is_empty()))
            .then(runs.fold(Ordering::Equal, Ordering::then))
            .then(self.pre.len().cmp(&other.pre.len()))
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Names are listed the other way round: those that are no versions end up by name.
        let by_name = other.name.cmp(self.name);
        let by_version = match (&self.parsed, &other.parsed) {
            (Some(a), Some(b)) => a.compare(b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        by_version.then(by_name)
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What every name begins with that matches a pattern.
pub(super) fn prefix(pattern: &str) -> &str {
    let end = pattern.find(['*', '?', '[']).unwrap_or(0);
    &pattern[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `newest_first` is how they are listed, whatever the order that they come in.
    #[track_caller]
    fn check(pattern: &str, newest_first: &[&str]) {
        for turn in 0..newest_first.len() {
            let mut names = newest_first.to_vec();
            names.rotate_left(turn);
            names.sort_by_key(|name| std::cmp::Reverse(Version::of(name, prefix(pattern))));
            assert_eq!(names, newest_first, "of {pattern}");
        }
    }

    #[test]
    fn versions_are_listed_newest_first() {
        check("*", &["v1.10.0", "v1.9.0", "v1.2"]);
        check("v*", &["v1.10.0", "v1.9.10", "v1.9.9", "v1.0"]);
        check("*", &["2.0.0", "v1.9.0", "1.8"]);
        check(
            "*",
            &[
                "v2.0.0",
                "v2.0.0-rc10",
                "v2.0.0-rc9",
                "v2.0.0-beta.2",
                "v2.0.0-beta",
                "v2.0.0-1",
                "v1.9",
            ],
        );
        check(
            "*",
            &[
                "1.0.0",
                "1.0.0-rc.1",
                "1.0.0-beta.11",
                "1.0.0-beta.2",
                "1.0.0-beta",
                "1.0.0-alpha.beta",
                "1.0.0-alpha.1",
                "1.0.0-alpha",
            ],
        );
        check("*", &["1.0", "1.0rc1", "1.0b2", "1.0a1"]);
        check("*", &["1.0.0", "1.0.0.rc1"]);
        check("*", &["v1.0.1", "v1.0", "v1.0.0"]);
        check(
            "*",
            &[
                "v99999999999999999999999.1",
                "v99999999999999999999999.0",
                "v20261126120000",
                "v2",
            ],
        );
        check("*", &["2026.11.05", "2026.10.31", "v007", "v6"]);
    }

    #[test]
    fn what_is_no_version_is_last_by_name() {
        check(
            "*",
            &["v0.1", "backup-2026", "build9", "stable", "v", "v1.", "vNext"],
        );
        check(
            "release-*",
            &["release-1.10", "release-v1.9", "release-1.8", "release-next"],
        );
        check("v1*", &["v1.10", "v1.9", "v1"]);
        check("v1.*", &["v1.10", "v1.9"]);
    }
}
