//! What the probes have answered lately, for whoever wants to see how it came to this. It is kept in memory alone and only
//! shown: the judge has a record of its own, and nothing here is asked by it.

use std::collections::VecDeque;
use std::time::Duration;

use state::health::Sample;
use state::release::GenerationNumber;
use state::time::Moment;

/// So many answers of a probe are kept: twenty minutes, where it is asked every ten seconds, in 3 kB.
const KEPT: usize = 120;

/// What an answer said, without its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// As it should be.
    Pass,
    /// Not as it should be.
    Fail,
    /// Nothing can be said, or not yet.
    Unknown,
}

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// When it was asked, by the clock on the wall.
    pub at_ms: i64,
    /// The generation that it was asked about; 0: none.
    pub generation: u32,
    /// How long the answer took.
    pub took_ms: u32,
    /// What it said.
    pub said: Said,
}

/// The last answers of one probe, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recent(VecDeque<Sampled>);

impl Recent {
    /// Takes one answer; the oldest makes room for it.
    pub fn take(
        &mut self,
        sample: &Sample,
        at: &Moment,
        took: Duration,
        generation: Option<GenerationNumber>,
    ) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Sampled {
            at_ms: at.wall_ms,
            generation: generation.map_or(0, |number| u32::try_from(number.0).unwrap_or(u32::MAX)),
            took_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            said: match sample {
                Sample::Pass => Said::Pass,
                Sample::Fail(_) => Said::Fail,
                Sample::Unknown(_) | Sample::Starting(_) => Said::Unknown,
            },
        });
    }

    /// Each of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Sampled> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut recent = Recent::default();
        let first = Moment {
            wall_ms: 0,
            boot_ms: 0,
            boot_id: "boot".into(),
        };
        for n in 0..500 {
            let at = first.plus(Duration::from_secs(n));
            recent.take(
                &Sample::Pass,
                &at,
                Duration::MAX,
                Some(GenerationNumber(u64::MAX)),
            );
        }
        let kept: Vec<&Sampled> = recent.iter().collect();
        assert_eq!(
            (kept.len(), kept[0].at_ms, kept[KEPT - 1].at_ms),
            (KEPT, 380_000, 499_000)
        );
        assert!(KEPT * size_of::<Sampled>() <= 3000);
    }
}
