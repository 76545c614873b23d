//! What the probes of a stack have answered lately: the status page draws it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::recent::{Said, Sampled};
use crate::shared::Snapshot;

/// The last answers of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentAnswers {
    /// The probe.
    pub probe: String,
    /// How often it is asked.
    pub interval_seconds: u64,
    /// Its answers, the oldest first.
    pub answers: Vec<AnswerRow>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRow {
    /// When it was asked.
    pub at: Timestamp,
    /// `pass`, `fail` or `unknown`.
    pub said: String,
    /// How long it took.
    pub milliseconds: u32,
    /// The generation that it was asked about; 0: none.
    pub generation: u32,
}

impl RecentAnswers {
    /// Of each probe in `snapshot`, in the order of the status.
    pub fn of(snapshot: &Snapshot) -> Vec<Self> {
        let of = |policy: &state::policy::ProbePolicy| Self {
            probe: policy.name.to_string(),
            interval_seconds: policy.interval.as_secs(),
            answers: snapshot
                .recent
                .get(&policy.name)
                .map(|recent| recent.iter().map(AnswerRow::of).collect())
                .unwrap_or_default(),
        };
        snapshot.probes.iter().map(of).collect()
    }
}

impl AnswerRow {
    fn of(sampled: &Sampled) -> Self {
        Self {
            at: Timestamp::from_millisecond(sampled.at_ms).unwrap_or_default(),
            said: match sampled.said {
                Said::Pass => "pass",
                Said::Fail => "fail",
                Said::Unknown => "unknown",
            }
            .into(),
            milliseconds: sampled.took_ms,
            generation: sampled.generation,
        }
    }
}
