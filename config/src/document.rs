//! From a path to a parsed TOML document: reading, decoding and the grammar. What a key means is
//! not known here.

use std::path::Path;

use toml::de::DeTable;

use crate::error::{Place, Problem, Problems};
use crate::read::{ReadError, read_regular};

/// The most that a configuration file may have, in bytes.
pub const MAX_FILE: u64 = 1024 * 1024;

/// A text that is not TOML is rarely wrong in more places than this that are worth reading.
const MAX_SYNTAX_ERRORS: usize = 10;

/// Why a file gave nothing. Absent, unreadable and corrupt are three different results.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("{0}")]
    Absent(Problem),
    /// There is something, but no content could be had from it.
    #[error("{0}")]
    Unreadable(Problem),
    /// It was read, and cannot be used: all the reasons.
    #[error("{0}")]
    Invalid(Problems),
}

impl LoadError {
    /// The reasons, whichever kind it is.
    pub fn problems(&self) -> Problems {
        match self {
            Self::Absent(problem) | Self::Unreadable(problem) => Problems(vec![problem.clone()]),
            Self::Invalid(problems) => problems.clone(),
        }
    }
}

/// The text of the file at `path`; `absent` is the way out when there is none.
pub(crate) fn read_text(path: &Path, absent: &str) -> Result<String, LoadError> {
    let whole = |message: String| Problem::error(Place::file(path), "", message);
    let invalid = |problem: Problem| LoadError::Invalid(Problems(vec![problem]));
    let bytes = read_regular(path, MAX_FILE).map_err(|error| match error {
        ReadError::Absent { .. } => LoadError::Absent(whole("no such file".into()).hint(absent)),
        ReadError::Unreadable { source, .. } => {
            let hint = match source.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "check its owner and mode, and those of its directories"
                }
                _ => "look at it with ls -lL",
            };
            LoadError::Unreadable(whole(format!("cannot be read: {source}")).hint(hint))
        }
        ReadError::NotRegular { what, .. } => {
            LoadError::Unreadable(whole(format!("is {what}, not a file")).hint("put a regular file there"))
        }
        ReadError::TooLarge { max, .. } => {
            invalid(whole(format!("is larger than {} MiB", max / 1024 / 1024)).hint("is it the right file?"))
        }
        error @ ReadError::TooMany { .. } => invalid(whole(error.to_string())),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        let byte = error.as_bytes().get(valid).copied().unwrap_or_default();
        let problem = Problem::error(
            Place::at(path, &before, valid),
            "",
            format!("byte 0x{byte:02x} is not UTF-8 text"),
        );
        invalid(problem.hint("save the file as UTF-8; is it the right file?"))
    })?;
    match nul(path, &text) {
        Some(problem) => Err(invalid(problem)),
        None => Ok(text),
    }
}

/// A file whose content may be secret as text: which byte of it is wrong is not said.
pub(crate) fn text_of<'t>(path: &Path, bytes: &'t [u8]) -> Result<&'t str, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let place = Place::at(path, &before, before.len());
        Problem::error(place, "", "this is not UTF-8 text")
            .hint("save the file as UTF-8; is it the right file?")
    })?;
    match nul(path, text) {
        Some(problem) => Err(problem),
        None => Ok(text),
    }
}

/// What a file looks like that was being written when the power went: to a parser it may end there.
fn nul(path: &Path, text: &str) -> Option<Problem> {
    let place = Place::at(path, text, text.find('\0')?);
    let problem = Problem::error(place, "", "a NUL byte: this is no text file");
    Some(problem.hint("a crash may have left it so; write it anew"))
}

/// The document in `text`, or every place where it is not TOML.
pub(crate) fn parse<'d>(file: &Path, text: &'d str) -> Result<DeTable<'d>, Problems> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(document.into_inner());
    }
    let mut problems: Vec<Problem> = Vec::new();
    let mut errors: Vec<_> = errors
        .iter()
        .map(|error| {
            (
                error.span().map_or(text.len(), |span| span.start),
                error.message(),
            )
        })
        .collect();
    errors.sort_by_key(|(offset, _)| *offset);
    let mut twice_until = 0;
    for (offset, message) in errors {
        // Every key below a header that is there twice may be there twice as well.
        if offset < twice_until && message.contains("duplicate key") {
            continue;
        }
        if message.contains("duplicate key") && line_at(text, offset).trim_start().starts_with('[') {
            twice_until = text[offset..]
                .find("\n[")
                .map_or(text.len(), |length| offset + length);
        }
        let place = Place::at(file, text, offset);
        // What follows on the same line is nearly always the same mistake.
        if problems.iter().any(|known| known.place.line == place.line) {
            continue;
        }
        if problems.len() == MAX_SYNTAX_ERRORS {
            break;
        }
        problems.push(syntax_problem(text, offset, place, message));
    }
    Err(Problems(problems))
}

fn syntax_problem(text: &str, offset: usize, place: Place, message: &str) -> Problem {
    let line = line_at(text, offset);
    let shown = shown_part(line);
    let mut problem = Problem::error(place, "", format!("not TOML: {message}, at `{shown}`"));
    if shown.is_empty() {
        problem.message = format!("not TOML: {message}");
    }
    let value = line.split_once('=').map(|(_, value)| value.trim());
    let hint = if message.contains("duplicate key") {
        Some("it is there twice: keep one of the two".to_owned())
    } else if offset >= text.trim_end().len() {
        Some("the file ends too early: was it saved half-way?".to_owned())
    } else if ["<<<<<<<", "=======", ">>>>>>>"]
        .iter()
        .any(|mark| line.starts_with(mark))
    {
        Some("a merge conflict was left in the file".to_owned())
    } else if message.contains("must be quoted")
        || value.is_some_and(|value| value.starts_with(char::is_alphanumeric))
    {
        Some("texts stand in quotes: key = \"value\"".to_owned())
    } else if value.is_none() && line.contains(':') {
        Some("TOML has key = \"value\", not key: value".to_owned())
    } else {
        None
    };
    problem.hint = hint;
    problem
}

fn line_at(text: &str, offset: usize) -> &str {
    let offset = (0..=offset.min(text.len()))
        .rev()
        .find(|&i| text.is_char_boundary(i))
        .unwrap_or(0);
    let start = text[..offset].rfind('\n').map_or(0, |i| i + 1);
    text[start..].lines().next().unwrap_or_default()
}

/// So much of a line as cannot be a secret: a header, or the key before `=`.
fn shown_part(line: &str) -> String {
    let line = line.trim();
    let part = match line.split_once('=') {
        Some((key, _)) => format!("{} =", key.trim_end()),
        None if line.starts_with('[') => line.to_owned(),
        None => line.split([':', ' ']).next().unwrap_or_default().to_owned(),
    };
    crate::fragment::shorten(&part)
}
