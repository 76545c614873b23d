//! How long operations have taken that came to a good end, and what of it the database took: all that is known of how long
//! the next one may take. Read from their journals; nothing is measured here, and nothing follows from it.

use std::time::Duration;

use state::journal::{Ending, Event, Kind, OpenOperation, Progress};
use state::schema_fit::Direction;
use state::step::Step;

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Took {
    /// Its number.
    pub operation: u64,
    /// What it was for.
    pub kind: Kind,
    /// Which way it has moved the schema; `None`: it has not.
    pub moved: Option<Direction>,
    /// From its beginning to its end.
    pub whole: Duration,
    /// From when the first container was stopped until the last one was up.
    pub outage: Duration,
    /// Its backup, with the proof.
    pub backup: Duration,
    /// The copy of the database.
    pub copy: Duration,
    /// The migration itself.
    pub migration: Duration,
}

impl Took {
    /// Of an operation that has ended well, and was never interrupted: what lies between two lives of the agent says nothing.
    pub fn of(open: &OpenOperation) -> Option<Self> {
        if !matches!(open.progress, Progress::Ended(Ending::Succeeded)) {
            return None;
        }
        let steps = &open.operation.plan.steps;
        let mut spans: Vec<Span> = vec![Span::default(); steps.len()];
        for entry in &open.events {
            match &entry.event {
                Event::Started { index } => {
                    let span = spans.get_mut(*index)?;
                    if span.begun.is_some() {
                        return None;
                    }
                    span.begun = entry.at_ms;
                }
                Event::Done { index, .. } => spans.get_mut(*index)?.ended = entry.at_ms,
                _ => {}
            }
        }
        let sum = |is: &dyn Fn(&Step) -> bool| -> Duration {
            let all = steps.iter().zip(&spans).filter(|(step, _)| is(step));
            all.map(|(_, span)| span.long()).sum()
        };
        let begun = open.operation.begun.wall_ms;
        let ended = open.events.last().and_then(|entry| entry.at_ms)?;
        Some(Self {
            operation: open.operation.id,
            kind: open.operation.kind,
            moved: steps.iter().find_map(|step| match step {
                Step::Migrate { way, .. } => Some(way.direction),
                _ => None,
            }),
            whole: millis(begun, ended),
            outage: outage(steps, &spans),
            backup: sum(&|step| matches!(step, Step::Backup { .. })),
            copy: sum(&|step| matches!(step, Step::CopyDatabase)),
            migration: sum(&|step| matches!(step, Step::Migrate { .. })),
        })
    }
}

/// When a step was begun, and when it was done.
#[derive(Clone, Copy, Default)]
struct Span {
    begun: Option<i64>,
    ended: Option<i64>,
}

impl Span {
    fn long(self) -> Duration {
        self.begun
            .zip(self.ended)
            .map_or(Duration::ZERO, |(begun, ended)| millis(begun, ended))
    }
}

fn outage(steps: &[Step], spans: &[Span]) -> Duration {
    let ends = |step: &Step| matches!(step, Step::Stop { ran: true, .. });
    let is_up = |step: &Step| matches!(step, Step::Start { .. } | Step::Await { .. });
    let first = steps.iter().position(ends).and_then(|at| spans[at].begun);
    let last = steps.iter().rposition(is_up).and_then(|at| spans[at].ended);
    first
        .zip(last)
        .map_or(Duration::ZERO, |(first, last)| millis(first, last))
}

/// By the clock on the wall, which may have been set back: never negative.
fn millis(from: i64, to: i64) -> Duration {
    Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use state::backup::Proof;
    use state::journal::Outcome;
    use state::plan::Plan;
    use state::step::Target;

    use super::*;
    use crate::view::sample;

    fn ended(interrupted: bool) -> OpenOperation {
        let mut open = sample::snapshot("deploying").record.operation.unwrap();
        let service: state::name::ServiceName = "api".parse().unwrap();
        let target = Target::New(service.clone(), 1);
        let steps = vec![
            Step::Backup {
                proof: Proof::Restore,
                copy: None,
            },
            Step::Stop {
                target: target.clone(),
                service: service.clone(),
                grace: Duration::ZERO,
                ran: true,
            },
            Step::CopyDatabase,
            Step::Start {
                target,
                service,
                grace: Duration::ZERO,
            },
        ];
        let mut operation = (*open.operation).clone();
        operation.plan = Plan::of(steps);
        open = OpenOperation::new(operation);
        let at = |open: &OpenOperation, ms| open.operation.begun.wall_ms + ms;
        let mut take = |ms, event: Event| {
            let mut entry = event.at(&open.operation.begun);
            entry.at_ms = Some(at(&open, ms));
            open.apply(entry).unwrap();
        };
        let done = |index| Event::Done {
            index,
            outcome: Outcome::Done,
        };
        if interrupted {
            take(50, Event::Started { index: 0 });
        }
        for (index, ms) in [(0, 100), (1, 1000), (2, 1500), (3, 3500)] {
            take(ms, Event::Started { index });
            take(ms + 400, done(index));
        }
        take(5000, Event::Ended(Ending::Succeeded));
        open
    }

    #[test]
    fn what_a_journal_says_of_the_time() {
        let took = Took::of(&ended(false)).unwrap();
        let millis = Duration::from_millis;
        assert_eq!((took.whole, took.outage), (millis(5000), millis(2900)));
        assert_eq!(
            (took.backup, took.copy, took.migration),
            (millis(400), millis(400), millis(0))
        );
        assert_eq!(took.moved, None);
        // Nobody knows how long the agent was away.
        assert_eq!(Took::of(&ended(true)), None);
        let open = sample::snapshot("deploying").record.operation.unwrap();
        assert_eq!(Took::of(&open), None);
    }
}
