//! Plain scalars by the YAML core schema, with the numbers of YAML 1.1 that Compose accepts too,
//! and printed as Compose prints them.

use super::node::{Kind, Scalar, Value};

/// What the plain scalar `text` stands for.
pub(crate) fn resolve(text: &str) -> Value {
    let (kind, text) = match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => (Kind::Bool, "true".to_owned()),
        "false" | "False" | "FALSE" => (Kind::Bool, "false".to_owned()),
        _ => match integer(text) {
            Some(number) => (Kind::Int, number),
            None => match float(text) {
                Some(number) => (Kind::Float, number),
                None => (Kind::Text, text.to_owned()),
            },
        },
    };
    Value::Scalar(Scalar {
        text,
        kind,
        raw: None,
    })
}

/// The decimal form of an integer: `10`, `-3`, `0x1F`, `0o17`, `0b1`, `0123` (octal), `1_000`.
fn integer(text: &str) -> Option<String> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !digits.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let digits = digits.replace('_', "");
    let parse = |digits: &str, radix| {
        let plain = digits.bytes().all(|b| b.is_ascii_alphanumeric());
        plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
    };
    let value = if let Some(hex) = digits.strip_prefix("0x") {
        parse(hex, 16)?
    } else if let Some(octal) = digits.strip_prefix("0o") {
        parse(octal, 8)?
    } else if let Some(binary) = digits.strip_prefix("0b") {
        parse(binary, 2)?
    } else if digits.len() > 1 && digits.starts_with('0') {
        parse(&digits[1..], 8)?
    } else {
        parse(&digits, 10)?
    };
    if negative && value > i64::MAX as u64 {
        return None;
    }
    Some(if negative && value > 0 {
        format!("-{value}")
    } else {
        value.to_string()
    })
}

/// The shortest form of a number with a point or an exponent.
fn float(text: &str) -> Option<String> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some("+Inf".to_owned()),
        "-.inf" | "-.Inf" | "-.INF" => return Some("-Inf".to_owned()),
        ".nan" | ".NaN" | ".NAN" => return Some("NaN".to_owned()),
        _ => {}
    }
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let starts = |c: char| c.is_ascii_digit() || c == '.';
    let mut allowed = body
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+' | b'_'));
    allowed &= body.starts_with(starts) && body.bytes().any(|b| b.is_ascii_digit());
    if !allowed {
        return None;
    }
    let value: f64 = text.replace('_', "").parse().ok()?;
    Some(go_float(value))
}

/// A number as Go's `%v` prints it.
pub(crate) fn go_float(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        return match text.split_once('e') {
            Some((mantissa, exponent)) => {
                let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
                format!("{mantissa}e{sign}{digits:0>2}")
            }
            None => text,
        };
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match resolve(text) {
            Value::Null => "null".to_owned(),
            Value::Scalar(Scalar { text, kind, .. }) => format!("{kind:?} {text}"),
            _ => "no scalar".to_owned(),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn plain_scalars() {
        check("", "null");
        check("~", "null");
        check("True", "Bool true");
        check("yes", "Text yes");
        check("10", "Int 10");
        check("-3", "Int -3");
        check("0x1F", "Int 31");
        check("0o17", "Int 15");
        check("0123", "Int 83");
        check("08", "Float 8");
        check("1_000", "Int 1000");
        check("18446744073709551615", "Int 18446744073709551615");
        check("2.0", "Float 2");
        check("1.10", "Float 1.1");
        check("1e3", "Float 1000");
        check("1e30", "Float 1e+30");
        check("0.00001", "Float 1e-05");
        check("12:30", "Text 12:30");
        check("1.2.3", "Text 1.2.3");
        check("-", "Text -");
        check(".", "Text .");
        check("1-2", "Text 1-2");
        check("e3", "Text e3");
        check(".inf", "Float +Inf");
    }
}
