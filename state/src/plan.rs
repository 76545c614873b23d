//! A plan: the ordered steps that remove the drift, and what to do when one fails. It leaves no
//! choice to the executor. How a plan is made lives in `planner`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::instead::Instead;
use crate::name::{ImageId, ServiceName};
use crate::observed::SchemaHead;
use crate::stack_spec::OnUpdateFailure;
use crate::step::{Step, Target};

/// The steps of one operation, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// `failure_action` of the services that say one; absent means `rollback`.
    pub on_failure: BTreeMap<ServiceName, OnUpdateFailure>,
    /// The first step that lets a new container at data in another way than before. From there on a
    /// failure leaves everything as it is, for a person: going back is theirs to decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_from: Option<usize>,
    /// The services that are as the good generation before has them: that one of them is ill says nothing about the
    /// release, also where the plan starts or makes its container again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unchanged: BTreeSet<ServiceName>,
    /// The step that brings the schema up, or the first that starts what may. After it a failure of the release is no longer taken back step by step:
    /// a rollback follows, which brings the schema down too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_from: Option<usize>,
    /// What is begun in the place of a step that has failed for good, before anything is taken back. It is taken back
    /// as the step itself is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instead: BTreeMap<usize, Instead>,
    /// Where the schema stands when a rollback is done, where that is above where its generation was proven: what lies between
    /// is declared to fit, and the generation is one of this schema from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_at: Option<SchemaHead>,
}

impl Plan {
    /// A plan of these steps, taken back when one fails.
    pub fn of(steps: Vec<Step>) -> Self {
        Self {
            steps,
            on_failure: BTreeMap::new(),
            data_from: None,
            unchanged: BTreeSet::new(),
            schema_from: None,
            instead: BTreeMap::new(),
            kept_at: None,
        }
    }

    /// The same steps, which leave these services as a good generation has them.
    #[must_use]
    pub fn leaving(self, unchanged: BTreeSet<ServiceName>) -> Self {
        Self { unchanged, ..self }
    }

    /// The same steps, after which the schema stands above where its generation was proven.
    #[must_use]
    pub fn keeping(self, kept_at: Option<SchemaHead>) -> Self {
        Self { kept_at, ..self }
    }

    /// What stands for step `index` in this attempt at it, from 0.
    pub fn step(&self, index: usize, attempt: usize) -> Option<&Step> {
        match attempt.checked_sub(1) {
            None => self.steps.get(index),
            Some(nth) => self.instead.get(&index)?.steps.get(nth),
        }
    }

    /// Step `index`, and what is tried should it fail.
    pub fn in_words(&self, index: usize) -> String {
        let step = self.steps.get(index).map(ToString::to_string);
        let others = self
            .instead
            .get(&index)
            .into_iter()
            .flat_map(|instead| &instead.steps);
        let others = others.map(|other| format!("; should that fail: {other}"));
        step.into_iter().chain(others).collect()
    }

    /// Whether a failure of step `index` comes after a new container may have written to data.
    pub fn may_have_changed_data(&self, index: usize) -> bool {
        self.data_from.is_some_and(|from| index >= from)
    }

    /// The service and the image of the new container that step `index` starts.
    pub fn brings_up(&self, index: usize) -> Option<(&ServiceName, &ImageId)> {
        let Some(Step::Start {
            target: Target::New(service, number),
            ..
        }) = self.steps.get(index)
        else {
            return None;
        };
        self.steps.iter().find_map(|step| match step {
            Step::Create {
                service: of,
                number: nth,
                image,
                ..
            } if of == service && nth == number => Some((service, image)),
            _ => None,
        })
    }

    /// Whether the schema is not where it was, once step `index` has failed; `moved`: that step may have moved it.
    pub fn has_moved_schema(&self, index: usize, moved: bool) -> bool {
        self.schema_from
            .is_some_and(|from| index > from || (index == from && moved))
    }

    /// Whether the schema was moved, whichever way, when step `index` has failed; `moved`: that step has moved it.
    pub fn has_migrated(&self, index: usize, moved: bool) -> bool {
        let mut before = self.steps.iter().take(index);
        moved
            || self.has_moved_schema(index, moved)
            || before.any(|step| match step {
                Step::Migrate { .. } => true,
                // A restore takes it back; who goes back with it lets other containers at it.
                Step::TakePlace => self.data_from.is_some(),
                _ => false,
            })
    }

    /// What a failure of step `index` leads to. Where it is about several services, the most careful
    /// of their wishes: going back before stopping, stopping before going on.
    pub fn on_failure_of(&self, index: usize) -> OnUpdateFailure {
        if self.may_have_changed_data(index) {
            return OnUpdateFailure::Pause;
        }
        let wish = |service| self.on_failure.get(service).copied();
        let wishes: Vec<Option<OnUpdateFailure>> = match self.steps.get(index) {
            Some(Step::Watch { targets, .. }) => targets.iter().map(|(_, service)| wish(service)).collect(),
            Some(step) => vec![step.service().and_then(wish)],
            None => Vec::new(),
        };
        let all = |among: &[OnUpdateFailure]| {
            !wishes.is_empty() && wishes.iter().all(|w| w.is_some_and(|w| among.contains(&w)))
        };
        if all(&[OnUpdateFailure::Continue]) {
            OnUpdateFailure::Continue
        } else if all(&[OnUpdateFailure::Continue, OnUpdateFailure::Pause]) {
            OnUpdateFailure::Pause
        } else {
            OnUpdateFailure::Rollback
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for i in 0..self.steps.len() {
            writeln!(f, "{:>3}. {}", i + 1, self.in_words(i))?;
        }
        Ok(())
    }
}
