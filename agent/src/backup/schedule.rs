//! When the next backup is due: a pure function of the clock on the wall, so that no restart and no missed hour loses one.

use std::time::Duration;

use config::settings::Schedule;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// When the next one is due. `last`: when the last one was begun; `since`: since when anybody has looked.
pub fn next(
    schedule: Schedule,
    last: Option<Timestamp>,
    since: Timestamp,
    now: Timestamp,
    zone: &TimeZone,
) -> Timestamp {
    // One from far ahead was made by a clock that was wrong: it keeps nobody waiting.
    let period = match schedule {
        Schedule::Every(period) => period,
        Schedule::Daily { .. } => Duration::from_secs(24 * 60 * 60),
    };
    let later = |at: Timestamp, by: Duration| {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        at.checked_add(by).unwrap_or(Timestamp::MAX)
    };
    let last = last.filter(|last| *last <= later(now, period));
    match (schedule, last) {
        (Schedule::Every(_), None) => since.min(now),
        (Schedule::Every(period), Some(last)) => later(last, period),
        (Schedule::Daily { hour, minute }, last) => {
            let after = last.unwrap_or_else(|| since.min(now));
            let day = after.to_zoned(zone.clone()).date();
            let at = |day: jiff::civil::Date| day.at(hour, minute, 0, 0).to_zoned(zone.clone()).ok();
            let today = at(day).map(|at| at.timestamp()).filter(|at| *at > after);
            let tomorrow = || {
                day.checked_add(1.day())
                    .ok()
                    .and_then(at)
                    .map(|at| at.timestamp())
            };
            today.or_else(tomorrow).unwrap_or(Timestamp::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[track_caller]
    fn check(schedule: Schedule, last: Option<&str>, now: &str, expected: &str) {
        let zone = TimeZone::get("Europe/Vienna").unwrap_or(TimeZone::UTC);
        let parse = |text: &str| text.parse::<Timestamp>().unwrap();
        let since = parse("2026-01-01T12:00:00Z");
        let found = next(schedule, last.map(parse), since, parse(now), &zone);
        assert_eq!(found.to_string(), expected);
    }

    #[test]
    fn an_interval_counts_from_the_last_one() {
        let every = Schedule::Every(Duration::from_secs(6 * 3600));
        let now = "2026-01-02T12:00:00Z";
        check(every, None, now, "2026-01-01T12:00:00Z");
        check(every, Some("2026-01-02T11:00:00Z"), now, "2026-01-02T17:00:00Z");
        // A clock that was put back by an hour: it is not due before it would have been.
        check(every, Some("2026-01-02T13:00:00Z"), now, "2026-01-02T19:00:00Z");
        // One from years ahead keeps nobody waiting.
        check(every, Some("2031-01-01T00:00:00Z"), now, "2026-01-01T12:00:00Z");
    }

    #[test]
    fn every_day_at_its_hour_also_when_that_was_slept_through() {
        if TimeZone::get("Europe/Vienna").is_err() {
            return;
        }
        let daily = Schedule::Daily { hour: 2, minute: 30 };
        let now = "2026-01-05T12:00:00Z";
        check(daily, None, now, "2026-01-02T01:30:00Z");
        check(daily, Some("2026-01-05T01:30:20Z"), now, "2026-01-06T01:30:00Z");
        check(daily, Some("2026-01-03T01:30:20Z"), now, "2026-01-04T01:30:00Z");
        // In the night of the 29th of March there is no half past two.
        let spring = "2026-03-29T12:00:00Z";
        check(
            daily,
            Some("2026-03-28T01:30:00Z"),
            spring,
            "2026-03-29T01:30:00Z",
        );
    }
}
