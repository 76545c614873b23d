//! `.env` and `env_file` by the quoting rules of Compose v2: `export`, single quotes literal, double
//! quotes with escapes and interpolation, comments, values over several lines, CRLF, BOM.
//! What is wrong is said with its place and without any value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::compose::template::{self, TemplateError, Variables};
use crate::document;
use crate::error::{Place, Problem};

/// What an env file sets.
pub type Env = BTreeMap<String, String>;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Quotes, escapes, comments and interpolation.
    Dotenv,
    /// Everything after `=` is the value as it is (`format: raw`).
    Raw,
}

/// Reads `text` of `file` into `env`. `lookup` knows the variables of the outside: they win in
/// interpolation, and give the value of a name that stands alone. Everything wrong goes to
/// `problems`; reading then goes on with the next line.
pub fn parse(
    file: &Path,
    text: &[u8],
    format: Format,
    lookup: &dyn Fn(&str) -> Option<String>,
    env: &mut Env,
    problems: &mut Vec<Problem>,
) {
    drop(read(file, text, format, lookup, env, problems));
}

/// What `text` of `file` sets, in its order; a name that is set again stands where it was first, with its last value.
pub fn in_order(
    file: &Path,
    text: &[u8],
    format: Format,
    lookup: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) -> Vec<(String, String)> {
    let mut env = Env::new();
    let order = read(file, text, format, lookup, &mut env, problems);
    let set = order.into_iter();
    set.filter_map(|key| env.remove(&key).map(|value| (key, value)))
        .collect()
}

/// The names that two versions of an env file set otherwise, or only one of them sets, in the order of names. What makes no
/// sense in one of them is passed over. Values are compared as they are written, and told to nobody.
pub fn differing(file: &Path, one: &[u8], other: &[u8]) -> BTreeSet<String> {
    let read = |text: &[u8]| -> BTreeSet<(String, String)> {
        let set = in_order(file, text, Format::Dotenv, &|_| None, &mut Vec::new());
        set.into_iter().collect()
    };
    let (one, other) = (read(one), read(other));
    let differs = one.symmetric_difference(&other);
    differs.map(|(name, _)| name.clone()).collect()
}

/// As [`parse`]; the names that were not in `env` before, as they came.
fn read(
    file: &Path,
    text: &[u8],
    format: Format,
    lookup: &dyn Fn(&str) -> Option<String>,
    env: &mut Env,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let text = match document::text_of(file, text) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(problem) => {
            problems.push(problem);
            return Vec::new();
        }
    };
    let mut reader = Reader {
        file,
        text,
        at: 0,
        lookup,
        env,
        order: Vec::new(),
        problems,
    };
    match format {
        Format::Dotenv => while reader.statement() {},
        Format::Raw => reader.raw(),
    }
    reader.order
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    at: usize,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    env: &'a mut Env,
    order: Vec<String>,
    problems: &'a mut Vec<Problem>,
}

/// White space that does not end a line.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn problem(&mut self, offset: usize, message: impl Into<String>, hint: Option<&str>) {
        let mut problem = Problem::error(Place::at(self.file, self.text, offset), "", message);
        problem.hint = hint.map(str::to_owned);
        self.problems.push(problem);
    }

    /// Goes behind the end of the line.
    fn skip_line(&mut self) {
        self.at = self
            .rest()
            .find('\n')
            .map_or(self.text.len(), |i| self.at + i + 1);
    }

    /// Reads one statement; whether there may be another.
    fn statement(&mut self) -> bool {
        let rest = self.rest().trim_start();
        self.at = self.text.len() - rest.len();
        if rest.is_empty() {
            return false;
        }
        if rest.starts_with('#') {
            self.skip_line();
            return true;
        }
        if let Some(after) = rest
            .strip_prefix("export")
            .filter(|after| after.starts_with(char::is_whitespace))
        {
            self.at = self.text.len() - after.trim_start_matches(is_blank).len();
        }
        let Some((key, alone)) = self.key() else {
            self.skip_line();
            return true;
        };
        if alone {
            if let Some(value) = (self.lookup)(key) {
                self.set(key, value);
            }
            return true;
        }
        let rest = self.rest();
        self.at = self.text.len() - rest.trim_start_matches(is_blank).len();
        let start = self.at;
        let value = match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            _ => Some(self.unquoted()),
        };
        match value.and_then(|v| self.expand(v, start)) {
            // By an escape: the engine could hand it to nobody.
            Some(value) if value.contains('\0') => {
                self.problem(start, "a NUL in this value: no environment can hold one", None);
            }
            Some(value) => self.set(key, value),
            None => {}
        }
        true
    }

    fn set(&mut self, key: &str, value: String) {
        if self.env.insert(key.to_owned(), value).is_none() {
            self.order.push(key.to_owned());
        }
    }

    /// The key, and whether it stands alone. Goes behind the `=`, or nowhere when it is none.
    fn key(&mut self) -> Option<(&'a str, bool)> {
        let rest = self.rest();
        let end = rest.find(['=', ':', '\n']).unwrap_or(rest.len());
        let text = &rest[..end];
        let allowed =
            |c: char| is_blank(c) || c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
        let key = text.trim();
        let wrong = if let Some(i) = text.find(|c| !allowed(c)) {
            Some((
                i,
                "a variable's name holds only letters, digits, `_`, `.` and `-`",
            ))
        } else if key.is_empty() {
            Some((0, "there is no name before this"))
        } else {
            key.find(char::is_whitespace)
                .map(|i| (i, "a variable's name holds no space"))
        };
        if let Some((i, message)) = wrong {
            self.problem(
                self.at + i,
                message,
                Some("a value over several lines needs quotes"),
            );
            return None;
        }
        let alone = !rest[end..].starts_with(['=', ':']);
        self.at = (self.at + end + 1).min(self.text.len());
        Some((key, alone))
    }

    fn unquoted(&mut self) -> Quoted {
        let rest = self.rest();
        let line = rest.split('\n').next().unwrap_or(rest);
        self.skip_line();
        let value = line.split(" #").next().unwrap_or(line).trim_end();
        Quoted {
            text: value.to_owned(),
            expands: true,
        }
    }

    fn quoted(&mut self, quote: char) -> Option<Quoted> {
        let start = self.at;
        let body = &self.rest()[1..];
        let mut text = String::new();
        let mut escaped = false;
        for (i, c) in body.char_indices() {
            if c == quote && !escaped {
                self.at += 1 + i + 1;
                let expands = quote == '"';
                return Some(Quoted {
                    text: if expands { unescape(&text) } else { text },
                    expands,
                });
            }
            if c == '\\' && !escaped {
                escaped = true;
                continue;
            }
            if std::mem::take(&mut escaped) && c != quote {
                text.push('\\');
            }
            text.push(c);
        }
        self.problem(start, "this quote is never closed", None);
        self.at = start;
        self.skip_line();
        None
    }

    fn expand(&mut self, value: Quoted, offset: usize) -> Option<String> {
        if !value.expands {
            return Some(value.text);
        }
        let message = match template::interpolate(&value.text, &mut Scope(self.lookup, self.env)) {
            Ok(text) => return Some(text),
            // The text of the file is all values: nothing of it is shown.
            Err(TemplateError::Invalid(_)) => "a \"${\" in this value begins no interpolation".to_owned(),
            Err(error) => error.to_string(),
        };
        let hint = "write $$ for a dollar sign, or use single quotes";
        self.problem(offset, message, Some(hint));
        None
    }

    fn raw(&mut self) {
        for line in self.text.split('\n') {
            let offset = self.at;
            self.at += line.len() + 1;
            let line = line.strip_suffix('\r').unwrap_or(line);
            let trimmed = line.trim_start();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let (key, value) = trimmed
                .split_once('=')
                .map_or((trimmed, None), |(k, v)| (k, Some(v)));
            if key.is_empty() || key.contains(char::is_whitespace) {
                let offset = offset + (line.len() - trimmed.len());
                self.problem(offset, "a variable's name is not empty and holds no space", None);
                continue;
            }
            if let Some(value) = value.map(str::to_owned).or_else(|| (self.lookup)(key)) {
                self.set(key, value);
            }
        }
    }
}

/// Who knows the variables that values mention: the outside first, then what was read before.
struct Scope<'s>(&'s dyn Fn(&str) -> Option<String>, &'s Env);

impl Variables for Scope<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).or_else(|| self.1.get(name).cloned())
    }

    fn unset(&mut self, _name: &str) {}
}

struct Quoted {
    text: String,
    expands: bool,
}

/// The escapes of double quotes: `\a \b \f \n \r \t \v \" \\ \$` and octal `\0`, `\0101`.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('\\') {
        out.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let Some(c) = rest.chars().next() else {
            out.push('\\');
            return out;
        };
        let plain = match c {
            'a' => Some("\u{7}"),
            'b' => Some("\u{8}"),
            'f' => Some("\u{c}"),
            'n' => Some("\n"),
            'r' => Some("\r"),
            't' => Some("\t"),
            'v' => Some("\u{b}"),
            '"' => Some("\""),
            '\\' => Some("\\"),
            // Interpolation comes after, and makes one of these two.
            '$' => Some("$$"),
            _ => None,
        };
        let digits = rest[c.len_utf8()..]
            .bytes()
            .take(3)
            .take_while(u8::is_ascii_digit)
            .count();
        match plain {
            Some(plain) => {
                out.push_str(plain);
                rest = &rest[1..];
            }
            None if c == '0' && digits == 3 => {
                if let Some(c) = u32::from_str_radix(&rest[1..4], 8)
                    .ok()
                    .filter(|n| *n < 256)
                    .and_then(char::from_u32)
                {
                    out.push(c);
                } else {
                    out.push('\\');
                    out.push_str(&rest[..4]);
                }
                rest = &rest[4..];
            }
            None => out.push('\\'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn check_as(format: Format, text: &str, expected: &Expect) {
        let (mut env, mut problems) = (Env::new(), Vec::new());
        let outside = |name: &str| (name == "OUT").then(|| "outside".to_owned());
        parse(
            Path::new(".env"),
            text.as_bytes(),
            format,
            &outside,
            &mut env,
            &mut problems,
        );
        let mut shown: Vec<String> = env.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
        shown.extend(problems.iter().map(ToString::to_string));
        expected.assert_eq(&shown.join("\n"));
    }

    #[test]
    fn what_two_versions_set_otherwise_is_named_without_a_value() {
        let check = |one: &str, other: &str, expected: &Expect| {
            let names: Vec<String> = differing(Path::new(".env"), one.as_bytes(), other.as_bytes())
                .into_iter()
                .collect();
            expected.assert_eq(&names.join(" "));
        };
        check("A=1\nB=2\n", "# of a person\nexport A='1'\nB=2", &expect![""]);
        check("A=1\nB=2\nC=3\n", "A=1\nB=3\nD=4\n", &expect!["B C D"]);
        check("A=1\nA=2\n", "A=2\n", &expect![""]);
        check("A=1\n", "", &expect!["A"]);
        check("not a line\nA=1\n", "A=2\n", &expect!["A"]);
    }

    #[track_caller]
    fn check(text: &str, expected: &Expect) {
        check_as(Format::Dotenv, text, expected);
    }

    #[test]
    fn plain_values() {
        check(
            "A=1\nB = two words \nC=\nexport D=4\n  E=5",
            &expect![[r#"
            A="1"
            B="two words"
            C=""
            D="4"
            E="5""#]],
        );
        check(
            "\u{feff}A=1\r\nB=2\r\n",
            &expect![[r#"
            A="1"
            B="2""#]],
        );
        check(
            "A: yaml\n# comment\nB=x#y # comment\nC=#z",
            &expect![[r##"
            A="yaml"
            B="x#y"
            C="#z""##]],
        );
        check("A=1\nA=2", &expect![[r#"A="2""#]]);
        check("OUT\nMISSING\n", &expect![[r#"OUT="outside""#]]);
        check("a.b-c[0]=x", &expect![[r#"a.b-c[0]="x""#]]);
    }

    #[test]
    fn quotes() {
        check(
            "A='lit $B \\n'\nB=\"x\\ty\\\"z\" # c\nC='it\\'s'",
            &expect![[r#"
            A="lit $B \\n"
            B="x\ty\"z"
            C="it's""#]],
        );
        check(
            "A=\"two\nlines\"\nB='three\nmore\nlines'\nC=1",
            &expect![[r#"
            A="two\nlines"
            B="three\nmore\nlines"
            C="1""#]],
        );
        check("A=\"\\$B $$B \\0101 \\q\"", &expect![[r#"A="$B $B A \\q""#]]);
    }

    /// Whatever a file was made with: the same values, or the place where it makes no sense.
    #[test]
    fn files_from_elsewhere() {
        check(
            "\u{feff}export A=\"1\"\r\nexport\tB='2'\r\n",
            &expect![[r#"
            A="1"
            B="2""#]],
        );
        check(
            "URL=postgres://u:p@h/db?a=b&c==\nB64=\"Zm9v==\"\nE==",
            &expect![[r#"
            B64="Zm9v=="
            E="="
            URL="postgres://u:p@h/db?a=b&c==""#]],
        );
        check(
            "A='\r\nx\r\n'\r\nB=1",
            &expect![[r#"
            A="\r\nx\r\n"
            B="1""#]],
        );
        // The last one counts, also where an earlier one was put to use.
        check(
            "A=1\nB=$A\nA=2\nC=$A\nA=\"3\"",
            &expect![[r#"
            A="3"
            B="1"
            C="2""#]],
        );
        check(
            "A='$5 $$ ${'\nB=\\$5\nC=$$5\nD=a$\nE=$ 5",
            &expect![[r#"
            A="$5 $$ ${"
            B="\\$5"
            C="$5"
            D="a$"
            E="$ 5""#]],
        );
    }

    #[test]
    fn what_is_no_text() {
        check(
            "A=1\nB=sec\0ret\nC=1",
            &expect![
                ".env:2:6: a NUL byte: this is no text file (a crash may have left it so; write it anew)"
            ],
        );
        check(
            "A=\"x\\0000y\"\nB=1",
            &expect![[r#"
            B="1"
            .env:1:3: a NUL in this value: no environment can hold one"#]],
        );
        let (mut env, mut problems) = (Env::new(), Vec::new());
        let bytes = b"A=1\nB=\xc3\xa9\xff\n";
        for format in [Format::Dotenv, Format::Raw] {
            parse(
                Path::new(".env"),
                bytes,
                format,
                &|_| None,
                &mut env,
                &mut problems,
            );
        }
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let expected = ".env:2:4: this is not UTF-8 text (save the file as UTF-8; is it the right file?)";
        assert_eq!(said, [expected, expected]);
        assert!(env.is_empty());
    }

    #[test]
    fn names_stand_in_the_order_of_the_file() {
        let mut problems = Vec::new();
        let text = b"Z=1\n# comment\nA=2\nMISSING\nZ=3\n=x\nM='4'\n";
        let set = in_order(Path::new(".env"), text, Format::Dotenv, &|_| None, &mut problems);
        let set: Vec<String> = set.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(set, ["Z=3", "A=2", "M=4"]);
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn interpolation() {
        check(
            "A=1\nB=${A}2\nC=\"${B:-x}\"\nD=$OUT\nE=${NONE:-d}\nF=$NONE",
            &expect![[r#"
            A="1"
            B="12"
            C="12"
            D="outside"
            E="d"
            F="""#]],
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_values() {
        check(
            "A=\"secret\nB=1\n",
            &expect![[r#"
            B="1"
            .env:1:3: this quote is never closed"#]],
        );
        check(
            "pass word=secret\nB=1",
            &expect![[r#"
                B="1"
                .env:1:5: a variable's name holds no space (a value over several lines needs quotes)"#]],
        );
        check(
            "=secret\nB=1",
            &expect![[r#"
                B="1"
                .env:1:1: there is no name before this (a value over several lines needs quotes)"#]],
        );
        check(
            "A=${B!}\nC=$1secret",
            &expect![[r#"
                C="$1secret"
                .env:1:3: a "${" in this value begins no interpolation (write $$ for a dollar sign, or use single quotes)"#]],
        );
        check(
            "{\"json\": 1}\nB=1",
            &expect![[r#"
            B="1"
            .env:1:1: a variable's name holds only letters, digits, `_`, `.` and `-` (a value over several lines needs quotes)"#]],
        );
    }

    #[test]
    fn raw() {
        check_as(
            Format::Raw,
            "# c\nA=\"q\" # $x\r\nB='$A'\nOUT\nb ad=secret",
            &expect![[r#"
            A="\"q\" # $x"
            B="'$A'"
            OUT="outside"
            .env:5:1: a variable's name is not empty and holds no space"#]],
        );
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let (mut env, mut problems) = (Env::new(), Vec::new());
            parse(Path::new("f"), &bytes, Format::Dotenv, &|_| None, &mut env, &mut problems);
            parse(Path::new("f"), &bytes, Format::Raw, &|_| None, &mut env, &mut problems);
        }

        #[test]
        fn nothing_panics_near_the_grammar(text in "[A=:\"'\\\\$\\{\\}\n\r# é0export]{0,60}") {
            let (mut env, mut problems) = (Env::new(), Vec::new());
            parse(Path::new("f"), text.as_bytes(), Format::Dotenv, &|_| None, &mut env, &mut problems);
        }
    }
}
