//! Where the statements of a piece of SQL begin (Postgres, "Lexical Structure"): comments, quotes and
//! dollar quotes are passed over. It knows no grammar: a function's body that is not quoted
//! (`BEGIN ATOMIC`) is taken for statements.

/// The first two words of every statement, in lower case, with one space between them.
pub fn first_words(sql: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut rest = sql;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '\'' => quote(rest, '\'', false),
            '"' => quote(rest, '"', false),
            '$' => dollar(rest),
            ';' => {
                if !words.is_empty() {
                    statements.push(std::mem::take(&mut words).join(" "));
                }
                1
            }
            _ if is_word(next) => {
                let end = rest.find(|c| !(is_word(c) || c == '$')).unwrap_or(rest.len());
                let word = rest[..end].to_lowercase();
                let escapes = word == "e" && rest[end..].starts_with('\'');
                if words.len() < 2 {
                    words.push(word);
                }
                end + if escapes {
                    quote(&rest[end..], '\'', true)
                } else {
                    0
                }
            }
            other => {
                // A statement that begins with a sign has no first word.
                if words.is_empty() && !other.is_whitespace() {
                    words.push(other.to_string());
                }
                other.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    if !words.is_empty() {
        statements.push(words.join(" "));
    }
    statements
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a comment, which may hold others.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of what begins with a quote. A doubled quote ends it and begins the next one.
fn quote(text: &str, mark: char, escapes: bool) -> usize {
    let mut skips = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if skips => skips = false,
            '\\' if escapes => skips = true,
            _ if c == mark => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a dollar quote, or of a lone `$`.
fn dollar(text: &str) -> usize {
    let Some(end) = text[1..].find('$') else { return 1 };
    let tag = &text[..end + 2];
    let name = &tag[1..tag.len() - 1];
    if !name.chars().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return 1;
    }
    text[tag.len()..]
        .find(tag)
        .map_or(text.len(), |at| tag.len() + at + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_begin_where_the_server_sees_them_begin() {
        for (sql, expected) in [
            ("", vec![]),
            (";; ;", vec![]),
            ("ALTER TABLE a DROP b", vec!["alter table"]),
            ("a; -- commit;\nb c d;", vec!["a", "b c"]),
            ("/* begin; /* x */ ; commit */ select 1", vec!["select 1"]),
            ("select ';commit;' ; ROLLBACK", vec!["select", "rollback"]),
            ("select 'it''s; commit'; end", vec!["select", "end"]),
            ("select E'\\'; commit'; x", vec!["select e", "x"]),
            ("select e'\\''; commit", vec!["select e", "commit"]),
            ("select '\\'; commit", vec!["select", "commit"]),
            ("do $$ begin; commit; $$; x", vec!["do", "x"]),
            ("do $a$ $$ ; $b$ $a$; commit", vec!["do", "commit"]),
            ("select $1; commit", vec!["select 1", "commit"]),
            ("select a$b; commit; c$d", vec!["select a$b", "commit", "c$d"]),
            ("update \"a;b\"\"commit;\" set x = 1; y", vec!["update set", "y"]),
            ("(select 1); \\connect x", vec!["( select", "\\ connect"]),
            ("prepare /* */ transaction 'x'", vec!["prepare transaction"]),
            ("select 'open; commit", vec!["select"]),
        ] {
            assert_eq!(first_words(sql), expected, "{sql}");
        }
    }
}
