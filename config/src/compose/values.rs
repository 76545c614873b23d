//! Small notations inside of scalars: sizes, times, command lines.

/// Bytes of a size as `64m`, `1.5 GB`, `100KiB`, `123`; all units are powers of 1024. `-1` is itself.
pub(crate) fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let power = match unit.strip_suffix('i').filter(|u| !u.is_empty()).unwrap_or(unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(1024_i64.pow(power));
    }
    let number: f64 = number.parse().ok()?;
    let value = number * 1024_f64.powi(i32::try_from(power).ok()?);
    #[allow(clippy::cast_possible_truncation)]
    (value < 9e18).then_some(value as i64)
}

/// Nanoseconds of a time as `1m30s`, `1.5h`, `2d`, `0`.
pub(crate) fn duration(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(end);
        let (scale, length) = unit(after)?;
        total = total.checked_add(scaled(number, scale)?)?;
        rest = &after[length..];
    }
    (!text.is_empty() && i64::try_from(total).is_ok()).then_some(total)
}

/// The nanoseconds of the unit that `text` starts with, and its length.
fn unit(text: &str) -> Option<(u64, usize)> {
    const UNITS: [(&str, u64); 9] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
    ];
    UNITS
        .iter()
        .find(|(name, _)| text.starts_with(name))
        .map(|(name, scale)| (*scale, name.len()))
}

/// `number`, which may have a fraction, times `scale`.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 18 {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let part = digits * u128::from(scale) / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    whole.checked_mul(scale)?.checked_add(u64::try_from(part).ok()?)
}

/// A command line that cannot be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// A quote is never closed.
    #[error("a quote in this command line is never closed")]
    Unclosed,
    /// A parenthesis outside of quotes.
    #[error("this command line has a \"(\" outside of quotes, and no shell reads it")]
    Parenthesis,
}

/// The words of a command line, as a shell would split them, but nothing is expanded. An operator of
/// a shell outside of quotes ends it, as in Compose, and is given back too.
pub(crate) fn words(line: &str) -> Result<(Vec<String>, Option<char>), CommandError> {
    let (mut words, mut word, mut any) = (Vec::new(), String::new(), false);
    let (mut quote, mut escaped, mut operator) = (None, false, None);
    for c in line.chars() {
        if std::mem::take(&mut escaped) {
            word.push(c);
            any = true;
            continue;
        }
        match (c, quote) {
            ('\\', Some('\'')) => word.push(c),
            ('\\', _) => escaped = true,
            (' ' | '\t' | '\r' | '\n', None) => {
                if std::mem::take(&mut any) {
                    words.push(std::mem::take(&mut word));
                }
            }
            ('"' | '\'', None) => {
                quote = Some(c);
                any = true;
            }
            ('"' | '\'', Some(open)) if open == c => quote = None,
            (';' | '&' | '|' | '<' | '>', None) => {
                // `2>file`: the number belongs to the operator.
                any &= !(c == '>' && word.starts_with(|d: char| d.is_ascii_digit()));
                operator = Some(c);
                break;
            }
            ('(', None) if !word.ends_with('$') => return Err(CommandError::Parenthesis),
            _ => {
                match (c, quote) {
                    ('(', None) => quote = Some(')'),
                    ('`', None) => quote = Some('`'),
                    (')' | '`', Some(open)) if open == c => quote = None,
                    _ => {}
                }
                word.push(c);
                any = true;
            }
        }
    }
    if quote.is_some() || escaped {
        return Err(CommandError::Unclosed);
    }
    if any {
        words.push(word);
    }
    Ok((words, operator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let rows = [
            ("0", Some(0)),
            ("123456789", Some(123_456_789)),
            ("100b", Some(100)),
            ("100k", Some(102_400)),
            ("100KB", Some(102_400)),
            ("100KiB", Some(102_400)),
            ("1.5g", Some(1_610_612_736)),
            ("1 GB", Some(1 << 30)),
            ("-1", Some(-1)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("1i", None),
            ("1..5m", None),
            ("9999999999p", None),
        ];
        for (text, expected) in rows {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn times() {
        const SECOND: u64 = 1_000_000_000;
        let rows = [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("10s", Some(10 * SECOND)),
            ("1m30s", Some(90 * SECOND)),
            ("1.5h", Some(5400 * SECOND)),
            ("100us", Some(100_000)),
            ("100µs", Some(100_000)),
            ("1500ms", Some(1_500_000_000)),
            ("1.5ms", Some(1_500_000)),
            ("5ns", Some(5)),
            ("2d", Some(172_800 * SECOND)),
            (".5s", Some(SECOND / 2)),
            ("10", None),
            ("", None),
            ("s", None),
            (".s", None),
            ("-1s", None),
            ("1s ", None),
            ("99999999999999999999s", None),
            ("999999d", None),
        ];
        for (text, expected) in rows {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn command_lines() {
        let rows: [(&str, &str); 16] = [
            ("", "[]"),
            ("  a  b ", r#"["a", "b"]"#),
            ("sh -c 'a && \"b\"'", r#"["sh", "-c", "a && \"b\""]"#),
            ("a \"b c\"d ''", r#"["a", "b cd", ""]"#),
            ("a\\ b \\\"", r#"["a b", "\""]"#),
            ("'a\\b' \"c\\\"d\"", r#"["a\\b", "c\"d"]"#),
            ("a\n  b", r#"["a", "b"]"#),
            ("a $(b c) `d e`", r#"["a", "$(b c)", "`d e`"]"#),
            ("a && b", r#"["a"] then '&'"#),
            ("a b>c", r#"["a", "b"] then '>'"#),
            ("a 2>c", r#"["a"] then '>'"#),
            ("a; b", r#"["a"] then ';'"#),
            ("a 'b", "a quote in this command line is never closed"),
            ("a \\", "a quote in this command line is never closed"),
            (
                "a (b)",
                "this command line has a \"(\" outside of quotes, and no shell reads it",
            ),
            ("a \"(b)\"", r#"["a", "(b)"]"#),
        ];
        for (line, expected) in rows {
            let shown = match words(line) {
                Ok((words, None)) => format!("{words:?}"),
                Ok((words, Some(operator))) => format!("{words:?} then {operator:?}"),
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected, "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let _ = (bytes(&text), duration(&text), words(&text));
        }
    }
}
