//! The line that a problem lies in, with a caret under the place; never one that may hold a secret.

use std::path::Path;

use config::error::Problem;
use config::read::read_regular;

use super::output::{BAD, BOLD, paint};

/// Lines of files with these names are shown; of env files never.
const SHOWN: [&str; 3] = ["toml", "yaml", "yml"];
/// Whoever has one of these in its name may hold a secret.
const SECRETIVE: [&str; 7] = ["pass", "secret", "token", "key", "credential", "auth", "private"];
/// Below these keys of a Compose file, any value may be one.
const VALUES: [&str; 5] = ["environment", "args", "labels", "secrets", "configs"];
/// A line is shown up to here.
const WIDTH: usize = 100;

/// The excerpt for `problem`, where there is one to show.
pub(super) fn excerpt(problem: &Problem) -> Option<String> {
    let place = &problem.place;
    let (line, column) = (place.line?, place.column.unwrap_or(1));
    let text = content(&place.file)?;
    let written = text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
    let shown = shown(written, &problem.key);
    let gutter = paint(BOLD, &format!("{line:>4} |"));
    let mut excerpt = format!("{gutter} {}\n", shown.replace('\t', " "));
    let at = usize::try_from(column).ok()?.saturating_sub(1);
    if at <= shown.chars().count() {
        let caret = paint(BAD, "^");
        excerpt.push_str(&format!("{} {:at$}{caret}\n", paint(BOLD, "     |"), ""));
    }
    Some(excerpt)
}

fn content(file: &Path) -> Option<String> {
    let extension = file.extension()?.to_str()?;
    if !SHOWN.contains(&extension) {
        return None;
    }
    let bytes = read_regular(file, config::document::MAX_FILE).ok()?;
    String::from_utf8(bytes).ok()
}

/// The line without what may be a secret: what follows its key.
fn shown(line: &str, key: &str) -> String {
    let lower = line.to_lowercase();
    let in_values = key.split(['.', '[']).any(|part| VALUES.contains(&part));
    // The value itself may be a URL with a password in it.
    let is_secretive = SECRETIVE.iter().any(|word| lower.contains(word)) || lower.contains('@');
    let end = if in_values || is_secretive {
        let key_end = line.find(['=', ':']).map_or(0, |at| at + 1);
        format!("{} …", &line[..key_end])
    } else {
        line.to_owned()
    };
    end.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .take(WIDTH)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, key: &str, expected: &str) {
        assert_eq!(shown(line, key), expected);
    }

    #[test]
    fn a_line_is_shown_but_for_what_may_be_a_secret() {
        check("tag = \"v 1\"", "shop.tag", "tag = \"v 1\"");
        check("  image: api:${TAG", "services.api.image", "  image: api:${TAG");
        check("  DB_PASSWORD: hunter2", "", "  DB_PASSWORD: …");
        check("  LEVEL: hunter2", "services.api.environment.LEVEL", "  LEVEL: …");
        check(
            "      - LEVEL=hunter2",
            "services.api.environment[0]",
            "      - LEVEL= …",
        );
        check(
            "url = \"postgres://u:hunter2@db/x\"",
            "stack.shop.database.url",
            "url = …",
        );
        check("hunter2-secret", "", " …");
    }
}
