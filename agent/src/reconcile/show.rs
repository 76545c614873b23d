//! What the daemon shows of the stack, after every pass. Nothing is decided here.

use state::health::Overall;
use state::journal::{Kind, OpenOperation};
use state::name::ServiceName;
use state::observed::{ContainerObs, Known};
use state::policy::FailureAction;
use state::record::{Change, StackRecord};
use state::release::Verdict;
use state::schema_fit::SchemaFit;
use state::stack_spec::StackSpec;
use state::step::Step;

use super::Stack;
use super::orders::FIRST_DEPLOY;
use crate::shared::{Difference, Readiness, ServiceView, Snapshot, TakesBack};
use crate::tally::Outcome;
use crate::took::Took;

/// So many of the operations that have ended are looked at for how long they took.
const LOOKED_AT: u32 = 20;

impl Stack {
    /// Reads how long operations took, where one has just ended or the daemon starts. What cannot be read is only not told.
    pub(super) fn see_past(&mut self) {
        if self.settings.database.is_none() {
            return;
        }
        let ended = self.edges.store.operations(&self.settings.name, LOOKED_AT);
        self.past = ended.iter().flatten().filter_map(Took::of).collect();
    }

    /// Counts an operation that has just ended; `changes` are its end.
    pub(super) fn count_ended(&self, open: &OpenOperation, changes: &[Change], outcome: Outcome) {
        let mut open = open.clone();
        for change in changes {
            if let Change::Journal(entry) = change {
                // It was applied to the record a moment ago.
                let _ = open.apply(entry.clone());
            }
        }
        let whole = self.now().since_or_wall(&open.operation.begun);
        let (kind, took) = (open.operation.kind, Took::of(&open));
        self.shared.count(&self.settings.name, |tally| {
            tally.count(kind, outcome, whole, took.as_ref());
        });
    }

    pub(super) fn publish(&self) {
        self.shared.publish(self.snapshot());
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            record: self.record.clone(),
            target: self.record.current,
            drift: self.differences_shown(),
            next: self.next.clone(),
            waits: self.waits.iter().chain(&self.held_up).cloned().collect(),
            again: self.retry.as_ref().map(|(_, again)| again.clone()),
            problems: self.problems.clone(),
            schema: self.schema.clone(),
            services: self.services(),
            probes: std::sync::Arc::clone(&self.policies),
            latencies: self.latencies.clone(),
            recent: self.recent.clone(),
            trial: self.settings.trial.clone(),
            env_file: self.settings.env_file.path().to_owned(),
            readiness: self.readiness(),
            time_left: self.time_left(),
            progress: self.progress,
            backups: self.backups.clone(),
            beside: self.beside.clone(),
            database_bytes: self.database_bytes,
            past: std::sync::Arc::clone(&self.past),
            next_backup: self.next_backup(),
            backup_problem: self.backup_problem.clone(),
            engine: self.engine_info.clone(),
            seen: self.seen_at.clone(),
            taken: self.now(),
        }
    }

    fn differences_shown(&self) -> Vec<Difference> {
        let mut shown: Vec<Difference> = self.drift.iter().map(Difference::of).collect();
        if let Some(wanted) = &self.wanted {
            for orphan in state::drift::orphans(&self.record, &wanted.spec, &self.seen) {
                let what = format!("{} is no service of the Compose file: left alone", orphan.name);
                shown.push(Difference {
                    service: Some(orphan.service.clone()),
                    what,
                });
            }
        }
        if let (Some(request), Some(Known::Known(head))) = (&self.record.request, &self.schema)
            && let state::desired::MigrationWish::Revision(revision) = &request.desired.migration
        {
            let image = self.tool().zip(self.record.current());
            let image = image.and_then(|(tool, current)| current.release.images.get(&tool.service));
            let history = image.and_then(|image| self.record.histories.get(image));
            let only = || state::observed::SchemaHead::At([revision.clone()].into());
            let wanted = history.and_then(|history| history.at(revision).ok());
            if wanted.unwrap_or_else(only) != *head {
                let what = format!(
                    "the schema stands at {}, {revision} is asked for",
                    state::schema_fit::head(head)
                );
                shown.push(Difference { service: None, what });
            }
        }
        shown.extend(self.files_shown());
        shown
    }

    fn services(&self) -> Vec<ServiceView> {
        let Some(wanted) = &self.wanted else {
            return Vec::new();
        };
        let view = |service: &ServiceName, container: Option<&ContainerObs>| ServiceView {
            service: service.clone(),
            container: container.map(|c| c.id.clone()),
            reference: self.called(&wanted.spec, service, container),
            image: container.map(|c| c.image.clone()),
            state: container.map(|c| c.state.clone()),
            since: container.and_then(|c| {
                let since = self.running_since.get(&c.id);
                since
                    .filter(|at| self.watching_since.as_ref() != Some(*at))
                    .cloned()
            }),
        };
        let mut views = Vec::new();
        for service in wanted.spec.services.keys() {
            let mut mine = self
                .seen
                .iter()
                .filter(|c| c.service == *service && !c.oneoff)
                .peekable();
            if mine.peek().is_none() {
                views.push(view(service, None));
            }
            views.extend(mine.map(|c| view(service, Some(c))));
        }
        views
    }

    /// The image as it is written; its id where something else runs than that names.
    fn called(&self, spec: &StackSpec, service: &ServiceName, container: Option<&ContainerObs>) -> String {
        let written = spec.services.get(service).and_then(|s| s.image.clone());
        let written = written.unwrap_or_default();
        let Some(container) = container else {
            return written;
        };
        let runs_it = match self.record.resolved.get(&written) {
            Some(image) => *image == container.image,
            // What was found running was not made from what is written.
            None => self.record.current().is_some_and(|g| g.release.tag.is_some()),
        };
        if runs_it {
            written
        } else {
            container.image.short().to_owned()
        }
    }

    fn readiness(&self) -> Readiness {
        if let Some(beside) = beside_a_deploy(&self.record) {
            return beside;
        }
        match state::rollback::target(&self.record, &self.available) {
            Ok(target) => {
                let fit = SchemaFit::of(self.ways(), target, self.schema.as_ref());
                Readiness {
                    to: Some(target.number),
                    why_not: fit.why_not(target.number),
                    destroys: match &fit {
                        // A backup keeps nothing beside it.
                        SchemaFit::Moves(way) if way.one_way.is_none() => way.destroys(),
                        _ => Vec::new(),
                    },
                    kept: fit.kept().to_vec(),
                    one_way: match fit {
                        SchemaFit::Moves(way) => way.one_way,
                        _ => None,
                    },
                    takes_back: None,
                }
            }
            Err(reasons) if reasons.is_empty() => Readiness {
                to: None,
                why_not: Some(String::from("there is no earlier good generation")),
                ..Readiness::default()
            },
            Err(reasons) => Readiness {
                to: None,
                why_not: Some(reasons.join("; ")),
                ..Readiness::default()
            },
        }
    }

    fn time_left(&self) -> Option<std::time::Duration> {
        let current = self.record.current()?;
        let Overall::Failing { severity, .. } = self.record.health.overall(&self.policies, &self.now())
        else {
            return None;
        };
        let acts = self.matrix.row(severity).action == FailureAction::Rollback;
        (acts && self.record.hold.is_none() && current.verdict != Verdict::Bad).then(|| {
            self.settings
                .trial
                .window
                .saturating_sub(self.record.health.failing_for())
        })
    }
}

/// What a rollback does beside a deploy ([`Stack::order_beside`]): it takes that back, and what runs stays, proven or not.
fn beside_a_deploy(record: &StackRecord) -> Option<Readiness> {
    let open = record.operation.as_ref()?;
    let deploy = Some(&open.operation).filter(|operation| operation.kind == Kind::Deploy)?;
    let generation = deploy.generation?;
    if record.current.is_none() {
        return Some(Readiness {
            why_not: Some(String::from(FIRST_DEPLOY)),
            ..Readiness::default()
        });
    }
    let mut steps = deploy.plan.steps.iter();
    let migrates = steps.any(|step| matches!(step, Step::Migrate { .. }));
    Some(Readiness {
        to: record.current,
        takes_back: Some(TakesBack { generation, migrates }),
        ..Readiness::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn beside_a_deploy_it_is_the_deploy_that_is_taken_back() {
        let snapshot = sample::snapshot("deploying");
        assert_eq!(beside_a_deploy(&snapshot.record), Some(snapshot.readiness));
        for situation in ["steady", "trial", "rolling back"] {
            assert_eq!(beside_a_deploy(&sample::snapshot(situation).record), None);
        }
        let mut first = sample::snapshot("deploying").record;
        first.current = None;
        let ready = beside_a_deploy(&first).unwrap_or_default();
        assert_eq!((ready.to, ready.takes_back), (None, None));
        assert_eq!(ready.why_not.as_deref(), Some(FIRST_DEPLOY));
    }
}
