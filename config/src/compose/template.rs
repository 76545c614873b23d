//! Interpolation: `$A ${A} ${A:-d} ${A-d} ${A:?e} ${A?e} ${A:+x} ${A+x} $$`, nested
//! (Compose Specification, "Interpolation"). No file and no environment is read here.

use std::collections::BTreeSet;

/// How deep defaults may nest.
const MAX_NESTING: usize = 32;
/// Bytes of a wrong name that are shown.
const MAX_SHOWN: usize = 24;
/// How long a result may become, in bytes.
pub(crate) const MAX_LENGTH: usize = 1 << 20;

/// Why a template has no value. Values of variables are never part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// A `$` that begins nothing.
    #[error("\"{0}\" is not an interpolation")]
    Invalid(String),
    /// `${A:?message}` and no `A`.
    #[error("the variable \"{name}\" is required{}", reason(.message))]
    Required {
        /// The variable.
        name: String,
        /// The operator's message, as the file has it.
        message: String,
    },
    /// Defaults in defaults in defaults.
    #[error("interpolations are nested more than {MAX_NESTING} deep")]
    TooDeep,
    /// Too much text came out.
    #[error("interpolation makes this longer than {MAX_LENGTH} bytes")]
    TooLong,
}

fn reason(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

/// Who knows the variables, and who is told of those that are not set.
pub(crate) trait Variables {
    /// The value of `name`.
    fn get(&self, name: &str) -> Option<String>;
    /// `name` was used without a default and is not set; it reads as empty.
    fn unset(&mut self, name: &str);
}

/// `template` with its variables put in.
pub(crate) fn interpolate(template: &str, variables: &mut dyn Variables) -> Result<String, TemplateError> {
    let mut out = String::with_capacity(template.len());
    expand(template, variables, 0, &mut out)?;
    Ok(out)
}

/// The names of all variables that `template` mentions, in defaults too.
pub(crate) fn names(template: &str) -> BTreeSet<String> {
    struct Collect(BTreeSet<String>);
    fn walk(template: &str, depth: usize, found: &mut BTreeSet<String>) {
        let mut rest = template;
        while let Some(start) = rest.find('$').filter(|_| depth < MAX_NESTING) {
            let Ok((part, after)) = part(&rest[start..]) else {
                return;
            };
            if let Part::Variable { name, argument, .. } = part {
                found.insert(name.to_owned());
                walk(argument, depth + 1, found);
            }
            rest = after;
        }
    }
    let mut collect = Collect(BTreeSet::new());
    walk(template, 0, &mut collect.0);
    collect.0
}

fn expand(
    template: &str,
    variables: &mut dyn Variables,
    depth: usize,
    out: &mut String,
) -> Result<(), TemplateError> {
    if depth > MAX_NESTING {
        return Err(TemplateError::TooDeep);
    }
    let mut rest = template;
    while let Some(start) = rest.find('$') {
        out.push_str(&rest[..start]);
        let (part, after) = part(&rest[start..])?;
        match part {
            Part::Dollar => out.push('$'),
            Part::Variable {
                name,
                operator,
                argument,
            } => {
                variable(name, operator, argument, variables, depth, out)?;
            }
        }
        if out.len() > MAX_LENGTH {
            return Err(TemplateError::TooLong);
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(())
}

fn variable(
    name: &str,
    operator: &str,
    argument: &str,
    variables: &mut dyn Variables,
    depth: usize,
    out: &mut String,
) -> Result<(), TemplateError> {
    let value = variables.get(name);
    let missing = match &value {
        None => true,
        Some(value) => operator.starts_with(':') && value.is_empty(),
    };
    match operator.trim_start_matches(':') {
        "-" if missing => return expand(argument, variables, depth + 1, out),
        "+" if !missing => return expand(argument, variables, depth + 1, out),
        "?" if missing => {
            return Err(TemplateError::Required {
                name: name.to_owned(),
                message: argument.to_owned(),
            });
        }
        "" if missing => variables.unset(name),
        _ => {}
    }
    // `${A:+x}` of an empty or unset `A` is `A` itself, as in Compose: empty either way.
    out.push_str(&value.unwrap_or_default());
    Ok(())
}

/// What begins at a `$`.
enum Part<'t> {
    /// `$$`.
    Dollar,
    /// A variable; the operator and what follows it are empty for the bare forms.
    Variable {
        name: &'t str,
        operator: &'t str,
        argument: &'t str,
    },
}

/// The part at the start of `text`, which starts with `$`, and the rest after it.
fn part(text: &str) -> Result<(Part<'_>, &str), TemplateError> {
    let after = &text[1..];
    if let Some(rest) = after.strip_prefix('$') {
        return Ok((Part::Dollar, rest));
    }
    if let Some(braced) = after.strip_prefix('{') {
        let end = closing_brace(braced).ok_or_else(|| invalid(text))?;
        let (inside, rest) = (&braced[..end], &braced[end + 1..]);
        let (name, tail) = name(inside).ok_or_else(|| invalid(text))?;
        let length = match tail.as_bytes() {
            [] => 0,
            [b':', b'-' | b'+' | b'?', ..] => 2,
            [b'-' | b'+' | b'?', ..] => 1,
            _ => return Err(invalid(text)),
        };
        let (operator, argument) = tail.split_at(length);
        return Ok((
            Part::Variable {
                name,
                operator,
                argument,
            },
            rest,
        ));
    }
    // A dollar sign before anything else is itself, as in Compose.
    let Some((name, rest)) = name(after) else {
        return Ok((Part::Dollar, after));
    };
    Ok((
        Part::Variable {
            name,
            operator: "",
            argument: "",
        },
        rest,
    ))
}

/// What is wrong, as far as it looks like a name: the text after it may be a password.
fn invalid(text: &str) -> TemplateError {
    let inside = text[2..]
        .bytes()
        .take(MAX_SHOWN)
        .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
        .count();
    let shown = &text[..2 + inside];
    TemplateError::Invalid(match text.as_bytes().get(shown.len()) {
        None => shown.to_owned(),
        Some(b'}') => format!("{shown}}}"),
        Some(_) => format!("{shown}…"),
    })
}

/// The name at the start of `text`, and the rest.
fn name(text: &str) -> Option<(&str, &str)> {
    let first = *text.as_bytes().first()?;
    if !(first.is_ascii_alphabetic() || first == b'_') {
        return None;
    }
    let end = text
        .bytes()
        .position(|b| !(b.is_ascii_alphanumeric() || b == b'_'))
        .unwrap_or(text.len());
    Some(text.split_at(end))
}

/// Where the brace that was opened before `text` closes. Braces inside pair up; where they do not,
/// the last one closes, as in Compose.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 1_usize;
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    text.rfind('}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Fixed(Vec<String>);

    impl Variables for Fixed {
        fn get(&self, name: &str) -> Option<String> {
            match name {
                "A" => Some("a".to_owned()),
                "EMPTY" => Some(String::new()),
                "DOLLAR" => Some("$A".to_owned()),
                _ => None,
            }
        }

        fn unset(&mut self, name: &str) {
            self.0.push(name.to_owned());
        }
    }

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let mut variables = Fixed(Vec::new());
        let mut shown = match interpolate(template, &mut variables) {
            Ok(text) => text,
            Err(error) => format!("error: {error}"),
        };
        if !variables.0.is_empty() {
            shown = format!("{shown} (unset: {})", variables.0.join(" "));
        }
        assert_eq!(shown, expected, "{template}");
    }

    #[test]
    fn every_form() {
        check("", "");
        check("plain", "plain");
        check("$A-${A}-$$A-$${A}", "a-a-$A-${A}");
        check("$A.b ${A}b $Ab", "a.b ab  (unset: Ab)");
        check("${X}", " (unset: X)");
        check("${X:-d}|${EMPTY:-d}|${A:-d}", "d|d|a");
        check("${X-d}|${EMPTY-d}|${A-d}", "d||a");
        check("${X:+x}|${EMPTY:+x}|${A:+x}", "||x");
        check("${X+x}|${EMPTY+x}|${A+x}", "|x|x");
        check("${A:?e}|${A?e}|${EMPTY?e}", "a|a|");
        check("${X:?say $A}", "error: the variable \"X\" is required: say $A");
        check("${EMPTY:?}", "error: the variable \"EMPTY\" is required");
        check("${X?}", "error: the variable \"X\" is required");
        check("${X:-${Y:-${A}}}!", "a!");
        check("${X:-{\"a\": {}}}!", "{\"a\": {}}!");
        check("${X:-a:-b}", "a:-b");
        check("${X:-}", "");
        check("${X:-$$A}", "$A");
        check("$DOLLAR", "$A");
        check("${A:+${X:-y}z}", "yz");
        check("a $ b$ costs $5 $-x $", "a $ b$ costs $5 $-x $");
        check("$é", "$é");
    }

    #[test]
    fn what_is_none() {
        check("${", "error: \"${\" is not an interpolation");
        check("${}", "error: \"${}\" is not an interpolation");
        check("${1}", "error: \"${1}\" is not an interpolation");
        check("x${A", "error: \"${A\" is not an interpolation");
        check("${A!b}", "error: \"${A…\" is not an interpolation");
        check("${ A }", "error: \"${…\" is not an interpolation");
        check(&"${X:-".repeat(40), "error: \"${X…\" is not an interpolation");
        let deep = format!("{}{}", "${X:-".repeat(40), "}".repeat(40));
        check(&deep, "error: interpolations are nested more than 32 deep");
    }

    #[test]
    fn names_are_found_in_defaults_too() {
        let found: Vec<_> = names("r/${REPO:-x$OWNER}:${TAG}$$NOT").into_iter().collect();
        assert_eq!(found, ["OWNER", "REPO", "TAG"]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "[$A{}:?+\\-é ]{0,60}") {
            let _ = interpolate(&text, &mut Fixed(Vec::new()));
            let _ = names(&text);
        }
    }
}
