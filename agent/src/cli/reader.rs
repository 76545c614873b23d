//! Who reads what is printed: times and spans as they say them, and the width of their terminal.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Where nothing says how wide it may be.
const WIDTH: usize = 80;
/// Narrower than this no table fits, and wider than this no eye finds the next line.
const WIDTHS: (usize, usize) = (60, 100);

/// Who reads: now, where they are, and how wide their terminal is.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) now: Timestamp,
    pub(crate) zone: TimeZone,
    /// In columns. Everything fits into it but what somebody may want to copy whole.
    pub(crate) width: usize,
}

impl Reader {
    /// By the clock on the wall.
    pub(super) fn here() -> Self {
        Self {
            now: Timestamp::now(),
            zone: TimeZone::system(),
            width: width(),
        }
    }

    /// `12m ago`; the clock may have been set back: never negative.
    pub(crate) fn ago(&self, at: Timestamp) -> String {
        format!("{} ago", span(self.seconds_since(at)))
    }

    /// Seconds since `at`.
    pub(crate) fn seconds_since(&self, at: Timestamp) -> u64 {
        u64::try_from(self.now.as_second() - at.as_second()).unwrap_or(0)
    }

    /// Seconds until `at`.
    pub(super) fn seconds_until(&self, at: Timestamp) -> u64 {
        u64::try_from(at.as_second() - self.now.as_second()).unwrap_or(0)
    }

    /// `14:03`, with the date when it is not today's.
    pub(crate) fn at(&self, at: Timestamp) -> String {
        let (at, now) = (
            at.to_zoned(self.zone.clone()),
            self.now.to_zoned(self.zone.clone()),
        );
        let format = if at.date() == now.date() {
            "%H:%M"
        } else {
            "%Y-%m-%d %H:%M"
        };
        at.strftime(format).to_string()
    }

    /// `2025-01-31 14:03:21`.
    pub(crate) fn full(&self, at: Timestamp) -> String {
        let at = at.to_zoned(self.zone.clone());
        at.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// `14:03:21`.
    pub(crate) fn time(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    /// The moment in so many seconds.
    pub(super) fn in_seconds(&self, seconds: u64) -> String {
        let later = i64::try_from(seconds).unwrap_or(i64::MAX);
        let then = self.now.as_second().saturating_add(later);
        Timestamp::from_second(then).map_or_else(|_| "far ahead".into(), |then| self.at(then))
    }
}

/// The two largest units: `2h 5m`, `3m 10s`, `4s`.
pub(crate) fn span(seconds: u64) -> String {
    let units = [(86400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(3);
    let (size, unit) = units[first];
    let mut text = format!("{}{unit}", seconds / size);
    if let Some((small, unit)) = units.get(first + 1) {
        let rest = seconds % size / small;
        if rest > 0 {
            text.push_str(&format!(" {rest}{unit}"));
        }
    }
    text
}

/// A span that may be short: `35ms`, `1.2s`, `3m 10s`.
pub(crate) fn took(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds}ms"),
        1000..10_000 => format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => span(milliseconds / 1000),
    }
}

/// `COLUMNS`, else the terminal's own.
pub(super) fn width() -> usize {
    let asked = std::env::var("COLUMNS").ok();
    let asked = asked.and_then(|columns| columns.trim().parse().ok());
    asked
        .or_else(of_terminal)
        .unwrap_or(WIDTH)
        .clamp(WIDTHS.0, WIDTHS.1)
}

fn of_terminal() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        let shown: Vec<String> = [0, 4, 60, 190, 3600, 7500, 86_400, 90_061].map(span).into();
        assert_eq!(shown.join(", "), "0s, 4s, 1m, 3m 10s, 1h, 2h 5m, 1d, 1d 1h");
    }

    #[test]
    fn short_spans_are_not_rounded_to_nothing() {
        let shown: Vec<String> = [0, 35, 999, 1000, 1250, 9999, 10_000, 190_400].map(took).into();
        assert_eq!(
            shown.join(", "),
            "0ms, 35ms, 999ms, 1.0s, 1.2s, 9.9s, 10s, 3m 10s"
        );
    }
}
