//! One pattern of a `.dockerignore` file, matched as moby's `patternmatcher` does it: Go's `filepath.Match`, and `**`.
//! Its oddities are kept, or other files would be sent than `docker build` sends. Pure.

/// A pattern, cleaned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// With a leading `!`: what it matches is sent after all.
    pub(super) exception: bool,
    cleaned: String,
    shape: Shape,
}

/// How it is matched: moby has short cuts, and one of them (`**name` is a plain suffix) matches more than the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Exact,
    Prefix,
    Suffix,
    Parts(Vec<Part>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(char),
    /// `?`: one character but `/`.
    Any,
    /// `*`: any number of those.
    Star,
    /// `**/` or `**` in the middle: nothing, or any number of whole directories.
    Directories,
    /// `**` at the end.
    Rest,
    /// `[a-z]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Reads what is in one line: no comment, not empty. The error says what is wrong with it.
    pub(super) fn parse(line: &str) -> Result<Self, &'static str> {
        let (exception, text) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        if text.is_empty() {
            return Err("a lone \"!\" takes nothing back");
        }
        let cleaned = clean(text);
        let cleaned = match cleaned.strip_prefix('/') {
            Some(rest) if !rest.is_empty() => rest.to_owned(),
            _ => cleaned,
        };
        Ok(Self {
            exception,
            shape: shape(&cleaned)?,
            cleaned,
        })
    }

    /// Whether it matches this very path, relative to the context.
    pub(super) fn matches(&self, path: &str) -> bool {
        match &self.shape {
            Shape::Exact => path == self.cleaned,
            Shape::Prefix => path.starts_with(&self.cleaned[..self.cleaned.len() - 2]),
            Shape::Suffix => {
                let suffix = &self.cleaned[2..];
                path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path)
            }
            Shape::Parts(parts) => matches(parts, path),
        }
    }

    /// Whether it may match something that lies in the directory `dir`. Too often yes costs a walk only.
    pub(super) fn may_match_below(&self, dir: &str) -> bool {
        // A class may stand for a slash, and what is escaped may be one.
        if self.cleaned.contains(['[', '\\']) {
            return true;
        }
        let mut names = self.cleaned.split('/');
        for directory in dir.split('/') {
            match names.next() {
                Some(name) if name.contains("**") => return true,
                Some(name) if shape(name).is_ok_and(|shape| fits(&shape, name, directory)) => {}
                _ => return false,
            }
        }
        names.next().is_some()
    }
}

fn fits(shape: &Shape, name: &str, directory: &str) -> bool {
    match shape {
        Shape::Parts(parts) => matches(parts, directory),
        _ => name == directory,
    }
}

/// A path as Go's `filepath.Clean` leaves it.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => {
                names.pop();
            }
            ".." if rooted => {}
            name => names.push(name),
        }
    }
    let joined = names.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn shape(pattern: &str) -> Result<Shape, &'static str> {
    let mut chars = pattern.chars().peekable();
    let mut parts = Vec::new();
    let mut shape = Shape::Exact;
    let whole = || Shape::Parts(Vec::new());
    let mut first = true;
    while let Some(char) = chars.next() {
        match char {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_none() {
                    shape = if shape == Shape::Exact {
                        Shape::Prefix
                    } else {
                        whole()
                    };
                    parts.push(Part::Rest);
                } else {
                    shape = whole();
                    parts.push(Part::Directories);
                }
                if first {
                    shape = Shape::Suffix;
                }
            }
            '*' => {
                shape = whole();
                parts.push(Part::Star);
            }
            '?' => {
                shape = whole();
                parts.push(Part::Any);
            }
            '[' => {
                shape = whole();
                parts.push(class(&mut chars)?);
            }
            '\\' => {
                shape = whole();
                parts.push(Part::Literal(chars.next().ok_or("it ends in a \"\\\"")?));
            }
            ']' => {
                shape = whole();
                parts.push(Part::Literal(']'));
            }
            other => parts.push(Part::Literal(other)),
        }
        first = false;
    }
    Ok(match shape {
        Shape::Parts(_) => Shape::Parts(parts),
        other => other,
    })
}

/// A class, after its `[`, by the rules of `filepath.Match`: not empty, and a bare `-` is no member.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Part, &'static str> {
    const BAD: &str = "its \"[…]\" is not complete";
    let member = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| match chars.next() {
        Some('\\') => chars.next().ok_or(BAD),
        None | Some('-' | ']') => Err(BAD),
        Some(other) => Ok(other),
    };
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Ok(Part::Class { negated, ranges });
        }
        let low = member(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => member(chars)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

/// Every place in `path` that the parts so far may have led to, part by part: no pattern takes long.
fn matches(parts: &[Part], path: &str) -> bool {
    let chars: Vec<char> = path.chars().collect();
    let mut at = vec![false; chars.len() + 1];
    at[0] = true;
    for part in parts {
        at = step(part, &chars, &at);
    }
    at[chars.len()]
}

fn step(part: &Part, chars: &[char], at: &[bool]) -> Vec<bool> {
    let mut next = vec![false; at.len()];
    match part {
        Part::Star => {
            let mut reached = false;
            for place in 0..at.len() {
                reached = at[place] || (reached && chars[place - 1] != '/');
                next[place] = reached;
            }
        }
        Part::Directories => {
            let mut reached = false;
            for place in 0..at.len() {
                next[place] = at[place] || (reached && chars[place - 1] == '/');
                reached |= at[place];
            }
        }
        Part::Rest => {
            let mut reached = false;
            for place in 0..at.len() {
                reached |= at[place];
                next[place] = reached;
            }
        }
        one => {
            for (place, char) in chars.iter().enumerate() {
                next[place + 1] = at[place] && takes(one, *char);
            }
        }
    }
    next
}

fn takes(part: &Part, char: char) -> bool {
    match part {
        Part::Literal(literal) => *literal == char,
        Part::Any => char != '/',
        Part::Class { negated, ranges } => {
            ranges.iter().any(|(low, high)| (*low..=*high).contains(&char)) != *negated
        }
        Part::Star | Part::Directories | Part::Rest => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_path_by_one_pattern() {
        let rows = [
            ("**", "file", true),
            ("**", "dir/file", true),
            ("**/", "file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir/dir2/file", true),
            ("dir/**", "other/file", false),
            ("dir/**", "dir", false),
            ("**/dir", "dir", true),
            ("**/dir", "dir/file", false),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir2/file", true),
            ("**file", "file", true),
            ("**file", "dir/file", true),
            // By the rule it would not; moby takes it for a plain end.
            ("**file", "dir/afile", true),
            ("**/file", "dir/afile", false),
            ("**file*txt", "dir/file.txt", true),
            ("**file*txt", "dir/afile.txt", false),
            ("a**/*.txt", "abc/def/x.txt", true),
            ("a**", "abc/def", true),
            ("a/*.txt", "a/file.txt", true),
            ("a/*.txt", "a/b/file.txt", false),
            ("a[b-d]e", "ace", true),
            ("a[b-d]e", "aae", false),
            ("a[^b-d]e", "aze", true),
            ("a[^b]e", "a/e", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[\\]]", "]", true),
            ("a]", "a]", true),
            ("abc.def", "abcXdef", false),
            ("abc?def", "abc/def", false),
            ("abc?def", "abcZdef", true),
            ("a(b)|{c}+$^", "a(b)|{c}+$^", true),
            ("**/foo/bar", "foo/bar", true),
            ("**/foo/bar", "a/b/foo/bar", true),
            ("abc/**", "abcd", false),
            (".*", ".foo", true),
            (".*", "foo", false),
            ("**/.*", "bar/.foo", true),
            ("*/*", "a/b", true),
            ("*", "a/b", false),
            ("/dir/", "dir", true),
            ("./a/../b", "b", true),
            ("/", "a", false),
            (".", "a", false),
            ("../a", "a", false),
            ("/../a", "a", true),
            ("ä?", "äö", true),
            ("", "a", false),
        ];
        for (pattern, path, expected) in rows {
            if pattern.is_empty() {
                assert!(Pattern::parse(pattern).is_err());
                continue;
            }
            let is = Pattern::parse(pattern).unwrap().matches(path);
            assert_eq!(is, expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for bad in [
            "!", "! ", "[", "a[", "[]", "[]a]", "[^]", "[-]", "[a-]", "[-x]", "[a", "a\\", "[x-",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_may_lie_below() {
        let rows = [
            ("dir/keep", "dir", true),
            ("dir/sub/keep", "dir/sub", true),
            ("dir/keep", "other", false),
            ("dir", "dir", false),
            ("dir", "dir/sub", false),
            ("di*/keep", "dir", true),
            ("*/keep", "dir", true),
            ("*/keep", "dir/sub", false),
            ("**/keep", "a/b/c", true),
            ("**keep", "a", true),
            ("dir/**", "dir/a", true),
            ("dir/**", "other", false),
            ("[d]ir/keep", "dir", true),
        ];
        for (pattern, dir, expected) in rows {
            let is = Pattern::parse(pattern).unwrap().may_match_below(dir);
            assert_eq!(is, expected, "{pattern} below {dir}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = Pattern::parse(&format!("{}b", "*a**/".repeat(200))).unwrap();
        assert!(!pattern.matches(&"a/".repeat(1000)));
    }
}
