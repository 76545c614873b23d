//! What a server says of a statement that is not ours, without what may be a value in it. The server's own log has
//! the rest.

use super::DatabaseError;

/// Of these the message has names of tables, columns and the like, and nothing else.
const NAMES: [&str; 20] = [
    "0A000", "23502", "23503", "23505", "23514", "25001", "25006", "2BP01", "2D000", "42501", "42701",
    "42703", "42704", "42710", "42723", "42809", "42846", "42883", "42P01", "42P07",
];

/// The same error, with its place, and only with such words as can have no value in them.
pub(crate) fn without_values(error: DatabaseError, place: &str) -> DatabaseError {
    let certain = |said: &str, code: &str| {
        let names = NAMES.contains(&code);
        let said = match code.get(..2) {
            _ if names => said,
            _ if code == "42601" => "syntax error",
            Some("22") => "a value does not fit, which is not shown here",
            Some("P0") => "it raised an exception, whose words are not shown here",
            _ => "the server refuses it, in words that are not shown here",
        };
        format!("{place}: {said}")
    };
    match error {
        DatabaseError::Other {
            said,
            code: Some(code),
        } => DatabaseError::Other {
            said: certain(&said, &code),
            code: Some(code),
        },
        DatabaseError::Rights { said, code } => DatabaseError::Rights {
            said: certain(&said, &code),
            code,
        },
        error => error.map(|said| format!("{place}: {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_and_values_are_not() {
        let told = |code: &str, said: &str| {
            let error = DatabaseError::Other {
                said: said.to_owned(),
                code: Some(code.to_owned()),
            };
            without_values(error, "line 2").to_string()
        };
        let missing = "relation \"orders\" does not exist";
        assert_eq!(told("42P01", missing), format!("line 2: {missing} (42P01)"));
        for (code, said) in [
            ("42601", "syntax error at or near \"'hunter2'\""),
            ("22P02", "invalid input syntax for type integer: \"hunter2\""),
            ("P0001", "hunter2"),
            ("XX000", "hunter2"),
        ] {
            let words = told(code, said);
            assert!(!words.contains("hunter2") && words.contains(code), "{words}");
        }
    }
}
