//! Which paths of a build context are not sent: a `.dockerignore` file, as moby reads it. Pure.

use super::pattern::Pattern;

/// The patterns of a file, in its order.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules(Vec<Pattern>);

/// Which patterns matched a directory: they match all that is in it, too.
#[derive(Debug, Clone, Default)]
pub(super) struct Matched(Vec<bool>);

impl Rules {
    /// Reads a file. The error names the line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            // Only at the very beginning of a line is it a comment.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let pattern = Pattern::parse(line.trim());
            rules.push(pattern.map_err(|why| format!("line {}, \"{}\": {why}", number + 1, line.trim()))?);
        }
        Ok(Self(rules))
    }

    /// Whether the last pattern that matches excludes `path`, which lies in a directory that `parent` matched.
    ///
    /// What cannot change the answer is not looked at, and does not count for what is below either. So moby has it,
    /// and after `a*`, `!ab/c`, `ab` it sends `ab/c`.
    pub(super) fn excludes(&self, path: &str, parent: &Matched) -> (bool, Matched) {
        self.judge(path, |at, _| parent.0.get(at) == Some(&true))
    }

    #[cfg(test)]
    /// The same for a path whose directories nobody has looked at.
    pub(super) fn excludes_alone(&self, path: &str) -> bool {
        let parents: Vec<&str> = path.match_indices('/').map(|(at, _)| &path[..at]).collect();
        let by_parent = |_, pattern: &Pattern| parents.iter().any(|parent| pattern.matches(parent));
        self.judge(path, by_parent).0
    }

    fn judge(&self, path: &str, by_parent: impl Fn(usize, &Pattern) -> bool) -> (bool, Matched) {
        let mut excluded = false;
        let mut matched = Vec::with_capacity(self.0.len());
        for (at, pattern) in self.0.iter().enumerate() {
            let counts = pattern.exception == excluded;
            let is_match = by_parent(at, pattern) || (counts && pattern.matches(path));
            if is_match {
                excluded = !pattern.exception;
            }
            matched.push(is_match);
        }
        (excluded, Matched(matched))
    }

    /// Whether something in the excluded directory `dir` may be sent after all.
    pub(super) fn may_send_below(&self, dir: &str) -> bool {
        let mut exceptions = self.0.iter().filter(|pattern| pattern.exception);
        exceptions.any(|pattern| pattern.may_match_below(dir))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(text: &str, path: &str, expected: bool) {
        let rules = Rules::parse(text).unwrap();
        assert_eq!(rules.excludes_alone(path), expected, "{path} by {text:?}");
        // As the walk asks: from the top down.
        let mut parent = Matched::default();
        let mut last = false;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            (last, parent) = rules.excludes(&path[..end], &parent);
        }
        assert_eq!(last, expected, "{path} walked by {text:?}");
    }

    #[test]
    fn the_last_match_wins() {
        let rows = [
            ("", "a", false),
            ("a", "a", true),
            ("a", "a/b/c", true),
            ("a", "b/a", false),
            ("*\n!a", "a", false),
            ("*\n!a", "a/b", false),
            ("!a\n*", "a", true),
            ("docs\n!docs/README.md", "docs/README.md", false),
            ("docs\n!docs/README.md", "docs/other.md", true),
            ("docs/**\n!docs/keep/**\ndocs/keep/not", "docs/keep/a", false),
            ("docs/**\n!docs/keep/**\ndocs/keep/not", "docs/keep/not", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-a.md", false),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false),
            ("**/*.go\n!**/keep.go", "a/b/keep.go", false),
            ("**/*.go\n!**/keep.go", "a/b/other.go", true),
            ("# a\n #b\n\n  c  \r\n", "a", false),
            ("# a\n #b\n\n  c  \r\n", "#b", true),
            ("# a\n #b\n\n  c  \r\n", "c", true),
            ("\u{feff}a", "a", true),
            ("/a/\n! /a/b/", "a/b", false),
            ("/a/\n! /a/b/", "a/c", true),
            ("node_modules", "node_modules/x/y", true),
            ("a/b", "a", false),
        ];
        for (text, path, expected) in rows {
            check(text, path, expected);
        }
    }

    #[test]
    fn what_could_not_change_the_answer_does_not_count_below() {
        let rules = Rules::parse("a*\n!ab/c\nab").unwrap();
        let (_, parent) = rules.excludes("ab", &Matched::default());
        assert!(!rules.excludes("ab/c", &parent).0);
        assert!(rules.excludes("ab/d", &parent).0);
    }

    #[test]
    fn errors_name_the_line() {
        let error = Rules::parse("a\n\n[").unwrap_err();
        assert!(error.starts_with("line 3, \"[\": "), "{error}");
        assert!(Rules::parse("!").is_err());
    }
}
