//! Writing to the terminal: colours only where there is one, a closed pipe ends quietly.

use std::io::{self, Write as _};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::reader::width;
use super::text::hanging;

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(super) const BUSY: Style = AnsiColor::Cyan.on_default().bold();
pub(super) const WARN: Style = AnsiColor::Yellow.on_default().bold();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// `text` in `style`.
pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints to standard output. Whoever closed the pipe wanted no more of it.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            1,
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Prints `value` as JSON, and ends with `code`.
pub(super) fn json(value: &impl Serialize, code: u8) -> Outcome {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(1, format!("cannot be shown as JSON: {error}")))?;
    print(&format!("{text}\n"))?;
    Ok(code)
}

/// Says on standard error why a command could not be carried out.
pub(super) fn complain(failure: &Failure) {
    let text = complaint(failure, width());
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

pub(super) fn complaint(failure: &Failure, width: usize) -> String {
    let mut text = String::new();
    // Some failures are a list.
    for (i, line) in failure.why.lines().enumerate() {
        let head = if i == 0 {
            format!("{} ", paint(BAD, "error:"))
        } else {
            " ".repeat(7)
        };
        text.push_str(&hanging(&head, line, 7, width));
    }
    for (word, line) in [("note", &failure.note), ("help", &failure.way_out)] {
        if let Some(line) = line {
            let head = format!("{} ", paint(BOLD, &format!("  {word}:")));
            text.push_str(&hanging(&head, line, 8, width));
        }
    }
    text
}

/// Says on standard error what is not an error.
pub(super) fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
