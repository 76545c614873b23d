//! Backups of the database: which there are, and the operations that are about them. They begin beside whatever is
//! watched, and give way to all that is more urgent.

use std::sync::Arc;
use std::time::Duration;

use state::backup::Proof;
use state::journal::{Kind, Operation};
use state::name::Digest;
use state::observed::Known;
use state::order::{self, Refused};
use state::plan::Plan;
use state::record::{Act, Change};
use state::release::{Author, Request};
use state::step::Step;

use super::{Stack, Stop};
use crate::shared::{Accepted, ActKind, Order, Refusal};

/// How often it is looked which backups there are, where nobody has made or removed one.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Stack {
    /// Which backups there are, looked at now and then.
    pub(super) fn see_backups(&mut self) {
        let now = self.now();
        let lately = self.backups_at.as_ref().and_then(|at| now.since(at));
        if lately.is_some_and(|age| age < LOOK_EVERY) {
            return;
        }
        self.backups_at = Some(now);
        self.backups = match self.edges.backups.list(&self.settings.name) {
            Ok(listing) => Known::Known(Arc::new(listing)),
            Err(error) => Known::Unknown(error.to_string()),
        };
    }

    /// Carries out an order about backups. It is answered when it has begun.
    pub(super) async fn order_about_backups(&mut self, order: Order, act: Act) {
        let plan = match self.plan_about_backups(&order) {
            Ok(plan) => plan,
            Err(refused) => return self.answer(order, Err::<Accepted, _>(refused.into())),
        };
        let why = order
            .reason
            .clone()
            .unwrap_or_else(|| format!("{} asked for it", order.by));
        let will = plan.steps.first().map(ToString::to_string).unwrap_or_default();
        match self.begin_backup(order.by.clone(), why, plan, Some(act)).await {
            Ok(Some(operation)) => {
                let accepted = Accepted {
                    will,
                    operation: Some(operation),
                };
                self.answer(order, Ok(accepted));
                if let Err(stop) = self.carry_on().await {
                    tracing::error!(stack = %self.settings.name, "backup: {stop}");
                }
                self.see_backups();
                self.publish();
            }
            Ok(None) => {
                let why = self.waits.last().cloned().unwrap_or_default();
                let refused = Refused::new(format!("it waits for {why}"), "see `steadfast status`");
                self.answer(order, Err::<Accepted, _>(refused.into()));
            }
            Err(stop) => self.answer(order, Err::<Accepted, _>(unreached(&stop))),
        }
    }

    fn plan_about_backups(&self, order: &Order) -> Result<Plan, Refused> {
        order::about_backups(&self.record)?;
        if self.settings.database.is_none() {
            let way_out = format!(
                "write [stack.{}.database] into steadfast.toml",
                self.settings.name
            );
            return Err(Refused::new(
                "the stack has no database that the agent knows of",
                way_out,
            ));
        }
        let step = match (order.act, &order.backup) {
            (ActKind::VerifyBackup { proof }, Some(backup)) => {
                let known = self
                    .backups
                    .known()
                    .is_some_and(|listing| listing.backups.iter().any(|found| found.id == *backup));
                if !known {
                    let way_out = format!("`steadfast backup list {}` has them", self.settings.name);
                    return Err(Refused::new(format!("there is no backup {backup}"), way_out));
                }
                Step::VerifyBackup {
                    backup: backup.clone(),
                    proof,
                }
            }
            (ActKind::Backup { proof }, _) => Step::Backup { proof, copy: None },
            _ => Step::Backup {
                proof: Proof::Restore,
                copy: None,
            },
        };
        Ok(Plan::of(vec![step]))
    }

    /// Opens an operation about backups, to be carried out; `None`: the stack is another agent's.
    async fn begin_backup(
        &mut self,
        by: Author,
        why: String,
        plan: Plan,
        act: Option<Act>,
    ) -> Result<Option<u64>, Stop> {
        self.reach().await?;
        if !self.own().await? {
            return Ok(None);
        }
        let id = self.edges.store.next_operation_id()?;
        let request = self.record.request.as_ref().map(Request::id);
        let operation = Operation {
            id,
            kind: Kind::Backup,
            generation: None,
            request: request.unwrap_or_else(|| Digest::of(b"")),
            by,
            why,
            begun: self.now(),
            plan,
        };
        let act = act.map(|act| Change::Act(Box::new(act)));
        let open = Change::Open(Box::new(operation));
        let changes: Vec<Change> = act.into_iter().chain([open]).collect();
        self.commit(&changes)?;
        Ok(Some(id))
    }
}

fn unreached(stop: &Stop) -> Refusal {
    Refusal {
        why: stop.to_string(),
        way_out: None,
        code: match stop {
            Stop::Engine(_) => 3,
            Stop::Ledger(_) => 1,
        },
    }
}
