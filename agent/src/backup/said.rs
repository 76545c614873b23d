//! What a tool of Postgres said at its end, and what may be concluded from it. It says no SQLSTATE: these are its
//! English words, and what is in none of them is a refusal that stays.

use super::BackupError;

/// As much of its words as is repeated.
const SAID: usize = 600;

const RIGHTS: [&str; 6] = [
    "permission denied",
    "must be owner",
    "must be superuser",
    "must be member of",
    "authentication failed",
    "no pg_hba.conf entry",
];
const FULL: [&str; 3] = ["no space left on device", "could not extend file", "disk full"];
const BROKEN: [&str; 14] = [
    "server closed the connection",
    "terminating connection",
    "connection to server",
    "could not connect",
    "could not translate host name",
    "lost synchronization",
    "starting up",
    "shutting down",
    "in recovery mode",
    "too many clients",
    "connection slots",
    "too many connections",
    "due to lock timeout",
    // How `--lock-wait-timeout` ends.
    "due to statement timeout",
];
const KILLED: [i64; 4] = [124, 130, 137, 143];
const CANNOT: i64 = 126;
const MISSING: [i64; 3] = [125, CANNOT, 127];

/// The error of a tool that ended with `code`. Of the words secrets are taken out by now.
pub(super) fn failed(tool: &'static str, code: i64, words: &str) -> BackupError {
    let said = shown(words);
    let lower = words.to_lowercase();
    let has = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    // An engine whose writing to the tool breaks, because that has ended, gives this code too, and loses its words.
    if code == CANNOT && said.is_empty() {
        let said = String::from("it has ended before it had read all, and the engine does not say why");
        return BackupError::Refused { tool, said };
    }
    if MISSING.contains(&code) {
        return BackupError::NoTool(format!("{tool} cannot be run: {said}"));
    }
    let said = if said.is_empty() {
        format!("it ended with code {code} and said nothing")
    } else {
        said
    };
    if has(&RIGHTS) {
        BackupError::Rights { tool, said }
    } else if has(&FULL) {
        BackupError::ServerFull { tool, said }
    } else if has(&BROKEN) || KILLED.contains(&code) {
        BackupError::Broken { tool, said }
    } else {
        BackupError::Refused { tool, said }
    }
}

/// What tells values: rows, and statements with what stands in them.
const TELLS: [&str; 5] = ["command was:", "detail:", "context:", "statement:", "query was:"];

/// The first of its lines that says an error, and what follows; where none does, the last ones. Never a statement or a
/// row.
fn shown(words: &str) -> String {
    let mut tells = false;
    let quiet = |line: &&str| {
        let lower = line.to_lowercase();
        // What tells may go on for many lines.
        if TELLS.iter().any(|word| lower.starts_with(word)) {
            tells = true;
        } else if lower.starts_with("pg_") || lower.starts_with("error:") {
            tells = false;
        }
        !tells
    };
    let lines: Vec<&str> = words
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .filter(quiet)
        .collect();
    let error = lines
        .iter()
        .position(|line| line.to_lowercase().contains("error"));
    let from = error.unwrap_or(lines.len().saturating_sub(3));
    let said = lines[from..].join("; ");
    let Some((end, _)) = said.char_indices().nth(SAID) else {
        return said;
    };
    format!("{}…", &said[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: &BackupError) -> &'static str {
        match error {
            BackupError::Rights { .. } => "rights",
            BackupError::ServerFull { .. } => "server full",
            BackupError::Broken { .. } => "broken",
            BackupError::Refused { .. } => "refused",
            BackupError::NoTool(_) => "no tool",
            _ => "another",
        }
    }

    #[test]
    fn what_a_tool_says_is_told_apart() {
        for (code, words, expected) in [
            (
                1,
                "pg_dump: error: connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  password authentication failed for user \"app\"",
                "rights",
            ),
            (
                1,
                "pg_dump: error: connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  sorry, too many clients already",
                "broken",
            ),
            (
                1,
                "pg_dump: error: query failed: ERROR:  permission denied for table secrets",
                "rights",
            ),
            (
                1,
                "pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout",
                "broken",
            ),
            (
                1,
                "pg_restore: error: could not execute query: ERROR:  could not extend file \"base/1/2\": No space left on device",
                "server full",
            ),
            (
                1,
                "pg_restore: error: could not execute query: ERROR:  role \"gone\" does not exist",
                "refused",
            ),
            (
                1,
                "pg_dump: error: Dumping the contents of table \"t\" failed: PQgetCopyData() failed.\nserver closed the connection unexpectedly",
                "broken",
            ),
            (137, "", "broken"),
            (
                127,
                "timeout: failed to run command 'pg_dump': No such file or directory",
                "no tool",
            ),
            (1, "", "refused"),
            (126, "", "refused"),
        ] {
            let error = failed("pg_dump", code, words);
            assert_eq!(kind(&error), expected, "{words}");
            assert_eq!(error.may_pass(), expected == "broken", "{words}");
        }
    }

    #[test]
    fn the_words_are_few_and_begin_with_the_error() {
        let words = "pg_restore: connecting to database\npg_restore: error: no\n\nHINT: really\n";
        assert_eq!(
            failed("pg_restore", 1, words).to_string(),
            "pg_restore: pg_restore: error: no; HINT: really"
        );
        let words = "pg_restore: error: could not execute query: ERROR:  no\nDETAIL:  Key (email)=(a@b.c) exists.\n\
            Command was: CREATE USER MAPPING FOR app SERVER far\n OPTIONS (password 'hunter2');\n\
            pg_restore: error: and no\n";
        assert_eq!(
            failed("pg_restore", 1, words).to_string(),
            "pg_restore: pg_restore: error: could not execute query: ERROR:  no; pg_restore: error: and no"
        );
        assert_eq!(
            failed("pg_restore", 1, "").to_string(),
            "pg_restore: it ended with code 1 and said nothing"
        );
        let long = failed("pg_restore", 1, &"é".repeat(5000)).to_string();
        assert_eq!(long.chars().count(), "pg_restore: ".len() + SAID + 1);
    }
}
