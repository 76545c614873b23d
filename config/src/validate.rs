//! Readers of single values: a text in, a validated type or a fault with a way out. No keys, no
//! sections, no disk.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use state::name::InvalidName;
use toml::de::DeValue;

use crate::error::did_you_mean;
use crate::fragment::{Fault, Item};

/// A duration of `min` to `max`: `"5m"`, `"1h30m"`, `"500ms"`.
pub(crate) fn duration(min: Duration, max: Duration) -> impl Fn(&Item<'_>) -> Result<Duration, Fault> {
    move |item| {
        if let DeValue::Integer(number) = item.value {
            let fault = Fault::new(format!("expected a duration, found {}", item.described()));
            return Err(fault.hint(format!("write it with its unit, in quotes: \"{number}s\"")));
        }
        let text = item.text()?;
        let duration = parse_duration(text).map_err(|why| {
            let hint = if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
                format!("write it with its unit: \"{text}s\" or \"{text}m\"")
            } else {
                "write it as \"30s\", \"5m\", \"1h30m\" or \"24h\"".to_owned()
            };
            Fault::new(format!("{} is not a duration: {why}", item.written())).hint(hint)
        })?;
        if (min..=max).contains(&duration) {
            Ok(duration)
        } else {
            let (min, max) = (show_duration(min), show_duration(max));
            let fault = Fault::new(format!("{} is out of range", item.written()));
            Err(fault.hint(format!("it can be \"{min}\" to \"{max}\"")))
        }
    }
}

/// Reads `1h30m`: numbers with units, each unit smaller than the one before. The error is the rule
/// that is broken.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const UNITS: [(&str, u64); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    if text.is_empty() {
        return Err("it is empty");
    }
    let (mut rest, mut total, mut last) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 {
            return Err("a number is missing");
        }
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        if unit.is_empty() {
            return Err("a unit is missing");
        }
        let Some(&(_, millis)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err("the units are d, h, m, s and ms");
        };
        if millis >= last {
            return Err("the units go from the largest to the smallest");
        }
        let number: u64 = number.parse().map_err(|_| "the number is too large")?;
        total = number
            .checked_mul(millis)
            .and_then(|n| n.checked_add(total))
            .ok_or("the number is too large")?;
        (rest, last) = (tail, millis);
    }
    Ok(Duration::from_millis(total))
}

/// The shortest text that [`parse_duration`] reads back.
pub fn show_duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut shown = String::new();
    for (unit, millis) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if left >= millis {
            let _ = write!(shown, "{}{unit}", left / millis);
            left %= millis;
        }
    }
    if shown.is_empty() { "0s".to_owned() } else { shown }
}

/// A whole number of `min` to `max`.
pub(crate) fn count(min: u32, max: u32) -> impl Fn(&Item<'_>) -> Result<u32, Fault> {
    move |item| {
        let range = format!("it is a whole number, {min} to {max}, without quotes");
        let DeValue::Integer(number) = item.value else {
            return Err(Fault::new(format!("expected a number, found {}", item.described())).hint(range));
        };
        match u32::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(Fault::new(format!("{} is out of range", item.written())).hint(range)),
        }
    }
}

/// A port, 1 to 65535.
pub(crate) fn port(item: &Item<'_>) -> Result<u16, Fault> {
    let number = count(1, u32::from(u16::MAX))(item)?;
    u16::try_from(number).map_err(|_| Fault::new(format!("{} is not a port", item.written())))
}

/// `true` or `false`.
pub(crate) fn flag(item: &Item<'_>) -> Result<bool, Fault> {
    match item.value {
        DeValue::Boolean(flag) => Ok(*flag),
        _ => Err(
            Fault::new(format!("expected true or false, found {}", item.described()))
                .hint("write true or false, without quotes"),
        ),
    }
}

/// A name of some kind; the kind's own rule is in the message.
pub(crate) fn name<T: FromStr<Err = InvalidName>>(item: &Item<'_>) -> Result<T, Fault> {
    item.text()?.parse().map_err(Fault::from)
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&Item<'_>) -> Result<T, Fault> {
    move |item| {
        let text = item.text()?;
        let words = || choices.iter().map(|(word, _)| *word);
        let found = choices.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let all: Vec<String> = words().map(|word| format!("\"{word}\"")).collect();
            let hint =
                did_you_mean(text, words()).unwrap_or_else(|| format!("it is one of {}", all.join(", ")));
            Fault::new(format!("{} is not one of the possible values", item.written())).hint(hint)
        })
    }
}

/// A text that is not empty and has no control characters.
pub(crate) fn text<'d>(item: &Item<'d>) -> Result<&'d str, Fault> {
    let text = item.text()?;
    if text.trim().is_empty() {
        Err(Fault::new("the text is empty"))
    } else if text.chars().any(char::is_control) {
        Err(Fault::new(format!("{} has control characters", item.written())))
    } else {
        Ok(text)
    }
}

/// An absolute path, made plain: no `.`, no `..`, no doubled slashes.
pub(crate) fn absolute_path(item: &Item<'_>) -> Result<PathBuf, Fault> {
    let path = Path::new(text(item)?);
    if !path.is_absolute() {
        let fault = Fault::new(format!("{} is not an absolute path", item.written()));
        return Err(fault.hint("write the path from the root: \"/…\""));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(
            Fault::new(format!("{} has \"..\" in it", item.written())).hint("write the path without it")
        );
    }
    Ok(path.components().collect())
}

/// A path that, when relative, lies in `directory`.
pub(crate) fn path_in(directory: &Path) -> impl Fn(&Item<'_>) -> Result<PathBuf, Fault> {
    move |item| {
        let path = text(item)?;
        if path.contains(['*', '?']) {
            let fault = Fault::new(format!("{} is a pattern", item.written()));
            return Err(fault.hint("patterns are not supported: list the files"));
        }
        if path.starts_with('~') || path.contains('$') {
            let fault = Fault::new(format!("{} would need a shell", item.written()));
            return Err(fault.hint("write the path out: no ~ and no variables"));
        }
        Ok(directory.join(path).components().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [
            ("30s", 30.0),
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("24h", 86400.0),
            ("2d", 172_800.0),
            ("1s500ms", 1.5),
        ] {
            assert!(
                (parse_duration(text).unwrap().as_secs_f64() - seconds).abs() < 1e-9,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_said_to_be_none_and_why() {
        for (text, why) in [
            ("", "it is empty"),
            ("5", "a unit is missing"),
            ("m", "a number is missing"),
            ("5 m", "a unit is missing"),
            ("-5m", "a number is missing"),
            ("1.5h", "a unit is missing"),
            ("5min", "the units are d, h, m, s and ms"),
            ("5M", "the units are d, h, m, s and ms"),
            ("30m1h", "the units go from the largest to the smallest"),
            ("5m5m", "the units go from the largest to the smallest"),
            ("99999999999999999999s", "the number is too large"),
            ("99999999999999999d", "the number is too large"),
        ] {
            assert_eq!(parse_duration(text), Err(why), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_duration_that_was_shown_is_read_back(millis in 0_u64..1_000_000_000_000) {
            let duration = Duration::from_millis(millis);
            proptest::prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse_duration(&text);
        }
    }
}
