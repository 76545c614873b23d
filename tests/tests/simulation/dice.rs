//! All chance of a run comes from here, from one seed. Nothing else may be random.

use std::ops::Range;

/// Seeded dice.
#[derive(Debug, Clone)]
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// True so many times in a thousand.
    pub(crate) fn in_thousand(&mut self, times: u32) -> bool {
        self.0.u32(0..1000) < times
    }

    pub(crate) fn number(&mut self, range: Range<u64>) -> u64 {
        self.0.u64(range)
    }

    /// One of some things; `None` of none.
    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() {
            return None;
        }
        of.get(self.0.usize(0..of.len()))
    }

    /// One of some things by weight.
    pub(crate) fn weighted<T: Copy>(&mut self, of: &[(u32, T)]) -> T {
        let sum: u32 = of.iter().map(|(weight, _)| weight).sum();
        let mut at = self.0.u32(0..sum);
        for (weight, thing) in of {
            if at < *weight {
                return *thing;
            }
            at -= weight;
        }
        of[0].1
    }

    /// So many hexadecimal digits.
    pub(crate) fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| self.0.digit(16)).collect()
    }
}
