//! Where the statements of a piece of SQL end (Postgres, "Lexical Structure"), read line by line: comments, quotes,
//! dollar quotes, brackets and the bodies of functions in SQL (`BEGIN ATOMIC … END`) are passed over.

/// A command of `psql` where a statement is: a backslash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command of psql stands in a statement")]
pub struct PsqlCommand;

/// What is known between two lines.
#[derive(Debug, Default)]
pub struct Lexer {
    inside: Inside,
    brackets: u32,
    /// Of `BEGIN ATOMIC` and of each `CASE` in it.
    bodies: u32,
    /// The first words, in lower case.
    words: Vec<String>,
    /// Those of the statement that has just ended.
    ended: Vec<String>,
    begun: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    /// `'…'`, where a backslash may hide the next character.
    Text { escapes: bool },
    /// `"…"`.
    Name,
    /// `/* … */`, so deep.
    Comment(u32),
    /// `$tag$ … $tag$`.
    Dollar(String),
}

impl Lexer {
    /// Whether nothing of a statement has come.
    pub fn is_between(&self) -> bool {
        !self.begun && self.inside == Inside::Nothing
    }

    /// Whether a bracket, or the body of a function, has begun that has no end yet.
    pub(super) fn is_nested(&self) -> bool {
        self.brackets > 0 || self.bodies > 0
    }

    /// Whether a text, a name or a comment has begun that has no end yet.
    pub fn is_inside(&self) -> bool {
        self.inside != Inside::Nothing
    }

    /// The first words of the statement that has begun, in lower case.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// Those of the statement that has just ended.
    pub(super) fn ended(&self) -> &[String] {
        &self.ended
    }

    /// Reads on in a line. The length up to the end of the statement: what follows is to be given again. `None`: it
    /// goes on in the next line.
    pub fn end(&mut self, line: &str) -> Result<Option<usize>, PsqlCommand> {
        let mut at = 0;
        while at < line.len() {
            let rest = &line[at..];
            if self.inside != Inside::Nothing {
                at += self.pass(rest);
                continue;
            }
            let next = rest.chars().next().unwrap_or_default();
            at += match next {
                // Postgres ends it at either.
                '-' if rest.starts_with("--") => rest.find(['\n', '\r']).unwrap_or(rest.len()),
                '/' if rest.starts_with("/*") => self.enter(Inside::Comment(1), 2),
                ';' if self.brackets == 0 && self.bodies == 0 => {
                    *self = Self {
                        ended: std::mem::take(&mut self.words),
                        ..Self::default()
                    };
                    return Ok(Some(at + 1));
                }
                '\\' => return Err(PsqlCommand),
                _ if next.is_whitespace() => next.len_utf8(),
                _ => {
                    self.begun = true;
                    self.token(next, rest)
                }
            };
        }
        Ok(None)
    }

    fn enter(&mut self, inside: Inside, length: usize) -> usize {
        self.inside = inside;
        length
    }

    /// The length of what a statement is made of.
    fn token(&mut self, next: char, rest: &str) -> usize {
        match next {
            '\'' => self.enter(Inside::Text { escapes: false }, 1),
            '"' => self.enter(Inside::Name, 1),
            '(' => {
                self.brackets += 1;
                1
            }
            ')' => {
                self.brackets = self.brackets.saturating_sub(1);
                1
            }
            '$' => match dollar(rest) {
                Some(tag) => {
                    let length = tag.len();
                    self.enter(Inside::Dollar(tag.to_owned()), length)
                }
                None => 1,
            },
            _ if is_word(next) => {
                let length = rest.find(|c| !(is_word(c) || c == '$')).unwrap_or(rest.len());
                let word = rest[..length].to_lowercase();
                if word == "e" && rest[length..].starts_with('\'') {
                    return self.enter(Inside::Text { escapes: true }, length + 1);
                }
                self.count(word);
                length
            }
            _ => next.len_utf8(),
        }
    }

    /// As `psql` counts them.
    fn count(&mut self, word: String) {
        if self.brackets == 0 && self.is_function() {
            match word.as_str() {
                "begin" => self.bodies += 1,
                "case" if self.bodies > 0 => self.bodies += 1,
                "end" => self.bodies = self.bodies.saturating_sub(1),
                _ => {}
            }
        }
        if self.words.len() < 4 {
            self.words.push(word);
        }
    }

    fn is_function(&self) -> bool {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let kind = match words.as_slice() {
            ["create", "or", "replace", kind, ..] | ["create", kind, ..] => *kind,
            _ => "",
        };
        matches!(kind, "function" | "procedure")
    }

    /// The length of what is inside of something, with its end where that is in this line.
    fn pass(&mut self, rest: &str) -> usize {
        let (length, ends) = match &mut self.inside {
            Inside::Nothing => (0, true),
            Inside::Text { escapes } => quoted(rest, '\'', *escapes),
            Inside::Name => quoted(rest, '"', false),
            Inside::Comment(depth) => comment(rest, depth),
            Inside::Dollar(tag) => match rest.find(tag.as_str()) {
                Some(at) => (at + tag.len(), true),
                None => (rest.len(), false),
            },
        };
        if ends {
            self.inside = Inside::Nothing;
        }
        length
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A doubled mark is one that does not end it.
fn quoted(rest: &str, mark: char, escapes: bool) -> (usize, bool) {
    let mut characters = rest.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let skips =
            (escapes && c == '\\') || (c == mark && characters.peek().is_some_and(|(_, c)| *c == mark));
        if skips {
            characters.next();
        } else if c == mark {
            return (at + 1, true);
        }
    }
    (rest.len(), false)
}

fn comment(rest: &str, depth: &mut u32) -> (usize, bool) {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            *depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            *depth -= 1;
            at += 2;
            if *depth == 0 {
                return (at, true);
            }
        } else {
            at += 1;
        }
    }
    (rest.len(), false)
}

/// `$tag$` or `$$` where the text begins with one.
fn dollar(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')? + 2;
    let name = &rest[1..end - 1];
    let is_tag = name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit());
    is_tag.then(|| &rest[..end])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The statements, each trimmed; `…`: the last one has no end.
    fn check(sql: &str, expected: &[&str]) {
        let mut lexer = Lexer::default();
        let (mut found, mut statement) = (Vec::new(), String::new());
        for line in sql.split_inclusive('\n') {
            let mut rest = line;
            while let Some(end) = lexer.end(rest).unwrap() {
                statement.push_str(&rest[..end]);
                found.push(statement.trim().to_owned());
                statement.clear();
                rest = &rest[end..];
            }
            statement.push_str(rest);
            if lexer.is_between() {
                statement.clear();
            }
        }
        if !lexer.is_between() {
            found.push(String::from("…"));
        }
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn statements_end_where_the_server_sees_them_end() {
        check("", &[]);
        check("-- only; this\n\n/* and\n; this */\n", &[]);
        check(
            "SELECT 1; SELECT 2;\nSELECT\n3;",
            &["SELECT 1;", "SELECT 2;", "SELECT\n3;"],
        );
        check("SELECT ';\n''; --' ;", &["SELECT ';\n''; --' ;"]);
        check("SELECT E'\\';\n' ; x;", &["SELECT E'\\';\n' ;", "x;"]);
        check("SELECT '\\'; x;", &["SELECT '\\';", "x;"]);
        check("SELECT e'it''s \\'; ' ;", &["SELECT e'it''s \\'; ' ;"]);
        check("SELECT \"a;\"\"b\n;\" ;", &["SELECT \"a;\"\"b\n;\" ;"]);
        check("DO $$ a; $a$ b;\n$$; x;", &["DO $$ a; $a$ b;\n$$;", "x;"]);
        check("DO $a$ $$ ;\n $b$ $a$; x;", &["DO $a$ $$ ;\n $b$ $a$;", "x;"]);
        check(
            "SELECT $1; SELECT a$b; c$d;",
            &["SELECT $1;", "SELECT a$b;", "c$d;"],
        );
        check(
            "CREATE RULE r DO (a; b);\nx;",
            &["CREATE RULE r DO (a; b);", "x;"],
        );
        check("/* a /* ; */ ;\n*/ x;", &["/* a /* ; */ ;\n*/ x;"]);
        check("SELECT 'open;\n", &["…"]);
        check("SELECT 1", &["…"]);
    }

    #[test]
    fn the_body_of_a_function_is_part_of_it() {
        let body = "CREATE FUNCTION public.f(a int) RETURNS int\n LANGUAGE sql\n BEGIN ATOMIC\n SELECT CASE \
             WHEN a > 1 THEN 2 ELSE 3 END;\n SELECT 4;\nEND;";
        check(&format!("{body}\nx;"), &[body, "x;"]);
        let or_replace = "create or replace procedure p() begin atomic select 1; end;";
        check(&format!("{or_replace} y;"), &[or_replace, "y;"]);
        check("BEGIN; x; END;", &["BEGIN;", "x;", "END;"]);
        check(
            "CREATE TABLE begin (a int); x;",
            &["CREATE TABLE begin (a int);", "x;"],
        );
    }

    #[test]
    fn a_command_of_psql_in_a_statement_is_refused() {
        for sql in ["SELECT 1 \\gexec\n", "SELECT (\n\\! rm\n"] {
            let mut lexer = Lexer::default();
            let mut lines = sql.split_inclusive('\n').map(|line| lexer.end(line));
            assert!(lines.any(|end| end.is_err()), "{sql}");
        }
    }
}
