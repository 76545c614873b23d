//! When changed files are quiet enough to count. Pure: what was seen and the time are arguments.

use std::time::Duration;

use state::time::Moment;

/// Whether the watched inputs have been quiet for long enough (`settle`): people edit the Compose
/// file, then `.env`, then desired.toml, and mean one release. `F` is what tells two states of the
/// inputs apart: a digest of their content, or who and how old the files are.
#[derive(Debug, Clone)]
pub struct Settled<F> {
    settle: Duration,
    seen: Option<(F, Moment)>,
}

/// What [`Settled::look`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    /// The inputs have been the same for `settle`: they count.
    Yes,
    /// They changed a short while ago: look again after this long.
    NotYet(Duration),
}

impl<F: PartialEq> Settled<F> {
    /// Nothing was seen yet.
    pub fn new(settle: Duration) -> Self {
        Self { settle, seen: None }
    }

    /// The inputs are `seen` at `now`. Any difference from the look before begins the time anew.
    pub fn look(&mut self, seen: F, now: &Moment) -> Quiet {
        let since = match &self.seen {
            // The boot clock cannot go back; another boot is another process.
            Some((before, since)) if *before == seen => now.since(since),
            _ => None,
        };
        let quiet = since.unwrap_or_else(|| {
            self.seen = Some((seen, now.clone()));
            Duration::ZERO
        });
        match self.settle.saturating_sub(quiet) {
            Duration::ZERO => Quiet::Yes,
            rest => Quiet::NotYet(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment {
            wall_ms: 0,
            boot_ms: ms,
            boot_id: "this boot".into(),
        }
    }

    #[track_caller]
    fn check(looks: &[(u64, &str)], expected: &[Option<u64>]) {
        let mut settled = Settled::new(Duration::from_secs(5));
        let rest: Vec<_> = looks
            .iter()
            .map(|(ms, seen)| match settled.look(*seen, &at(*ms)) {
                Quiet::Yes => None,
                Quiet::NotYet(rest) => Some(u64::try_from(rest.as_millis()).unwrap_or(u64::MAX)),
            })
            .collect();
        assert_eq!(rest, expected);
    }

    #[test]
    fn inputs_count_when_they_have_been_the_same_for_long_enough() {
        check(
            &[(0, "a"), (2_000, "a"), (4_999, "a"), (5_000, "a"), (9_000, "a")],
            &[Some(5_000), Some(3_000), Some(1), None, None],
        );
    }

    #[test]
    fn every_change_begins_the_time_anew() {
        check(
            &[
                (0, "a"),
                (5_000, "a"),
                (6_000, "half"),
                (8_000, "b"),
                (12_999, "b"),
                (13_000, "b"),
            ],
            &[Some(5_000), None, Some(5_000), Some(5_000), Some(1), None],
        );
        // There and back is a change too: somebody is at work.
        check(
            &[(0, "a"), (4_000, "b"), (4_500, "a"), (9_499, "a"), (9_500, "a")],
            &[Some(5_000), Some(5_000), Some(5_000), Some(1), None],
        );
    }

    #[test]
    fn without_a_time_to_settle_everything_counts_at_once() {
        let mut settled = Settled::new(Duration::ZERO);
        assert_eq!(settled.look("a", &at(0)), Quiet::Yes);
        assert_eq!(settled.look("b", &at(0)), Quiet::Yes);
    }
}
