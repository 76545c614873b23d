//! What is wrong with a file, and the way out. Every error of this crate is a [`Problem`];
//! nothing here reads files, and nothing here ever holds a secret value.

use std::fmt;
use std::path::PathBuf;

/// A place in a file. Lines and columns count from 1; a column counts characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Place {
    /// The file as the operator would name it.
    pub file: PathBuf,
    /// 1-based line, when the problem lies in one.
    pub line: Option<u32>,
    /// 1-based column, when the problem lies in one.
    pub column: Option<u32>,
}

impl Place {
    /// A whole file: unreadable, a directory, too large.
    pub fn file(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            line: None,
            column: None,
        }
    }

    /// The place of byte `offset` in `text`.
    pub fn at(file: impl Into<PathBuf>, text: &str, offset: usize) -> Self {
        let offset = (0..=offset.min(text.len()))
            .rev()
            .find(|&i| text.is_char_boundary(i))
            .unwrap_or(0);
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
        let column = text[line_start..offset].chars().count() + 1;
        Self {
            file: file.into(),
            line: u32::try_from(line).ok(),
            column: u32::try_from(column).ok(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        Ok(())
    }
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gravity {
    /// The file cannot be used.
    Error,
    /// The file is used; the operator should know.
    Warning,
}

/// One thing wrong with one file: where, what, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Whether the file can be used all the same.
    pub gravity: Gravity,
    /// Where.
    pub place: Place,
    /// The path of the key, as `services.api.ports[0]`; empty for a whole file.
    pub key: String,
    /// What is wrong: lower case, no full stop, the offending text quoted, never a secret.
    pub message: String,
    /// The way out, as a sentence fragment: `did you mean "services"?`.
    pub hint: Option<String>,
}

impl Problem {
    /// An error at `place` under `key`.
    pub fn error(place: Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            gravity: Gravity::Error,
            place,
            key: key.into(),
            message: message.into(),
            hint: None,
        }
    }

    /// A warning at `place` under `key`.
    pub fn warning(place: Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            gravity: Gravity::Warning,
            ..Self::error(place, key, message)
        }
    }

    /// The same problem with a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the file cannot be used.
    pub fn is_error(&self) -> bool {
        self.gravity == Gravity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// All that is wrong, at once; never empty when returned as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Whether any of them makes the file unusable.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(Problem::is_error)
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// `did you mean "x"?` for the candidate nearest to `given`, when one is near enough.
pub fn did_you_mean<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let nearest = nearest(given, candidates);
    let candidate = nearest.first()?;
    Some(format!("did you mean \"{candidate}\"?"))
}

/// The candidates that are near enough to `given` to be what was meant, the nearest first.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let scored = candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(given, candidate), candidate));
    let mut near: Vec<(f64, &str)> = scored.filter(|(score, _)| *score > 0.8).collect();
    near.sort_by(|a, b| a.0.total_cmp(&b.0));
    near.into_iter().rev().map(|(_, candidate)| candidate).collect()
}

/// An error and what it says of its causes.
pub fn with_sources(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}
