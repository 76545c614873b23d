//! Backups of the database: which there are, and the operations that are about them. They begin beside whatever is
//! watched, and give way to all that is more urgent.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use state::backup::{BackupId, Dumped, Proof};
use state::integrity::Between;
use state::journal::{Kind, Operation};
use state::name::Digest;
use state::observed::Known;
use state::order::{self, Refused};
use state::plan::Plan;
use state::planner::{Restoring, restore};
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
        if order.act == ActKind::DropBeside {
            // What the last operation has left or dropped there may not have been seen yet.
            let now = self.now();
            self.see_beside(&now).await;
        }
        let plan = match self.plan_about_backups(&order) {
            Ok(plan) => plan,
            Err(refused) => return self.answer(order, Err::<Accepted, _>(refused.into())),
        };
        let why = order
            .reason
            .clone()
            .unwrap_or_else(|| format!("{} asked for it", order.by));
        let will = plan.steps.first().map(ToString::to_string).unwrap_or_default();
        let begun = self
            .begin_backup(Kind::Backup, order.by.clone(), why, plan, Some(act))
            .await;
        self.answer_and_carry_on(order, will, begun).await;
    }

    /// Answers an order when its operation has begun, and carries that out.
    async fn answer_and_carry_on(&mut self, order: Order, will: String, begun: Result<Option<u64>, Stop>) {
        match begun {
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

    /// Carries out an order to restore. It is answered when it has begun.
    pub(super) async fn order_to_restore(&mut self, order: Order, act: Act) {
        let plan = match self.plan_to_restore(&order).await {
            Ok(Ok(plan)) => plan,
            Ok(Err(refused)) => return self.answer(order, Err::<Accepted, _>(refused.into())),
            Err(stop) => return self.answer(order, Err::<Accepted, _>(unreached(&stop))),
        };
        let why = order
            .reason
            .clone()
            .unwrap_or_else(|| format!("{} asked for it", order.by));
        let dump = order.dump.as_ref().map(ToString::to_string).unwrap_or_default();
        let will = format!("restores {dump}; the database as it is stays beside it");
        let begun = self
            .begin_backup(Kind::Restore, order.by.clone(), why, plan, Some(act))
            .await;
        self.answer_and_carry_on(order, will, begun).await;
        self.schema_at = None;
    }

    async fn plan_to_restore(&mut self, order: &Order) -> Result<Result<Plan, Refused>, Stop> {
        if let Err(refused) = order::about_backups(&self.record) {
            return Ok(Err(refused));
        }
        let Some(settings) = self.settings.database.clone() else {
            return Ok(Err(self.no_database()));
        };
        let looked = match &order.dump {
            Some(Dumped::Backup(id)) => self.knows(id),
            Some(Dumped::File(path)) => is_there(path),
            None => Err(Refused::new(
                "nothing is named to restore",
                "name a backup or a file",
            )),
        };
        if let Err(refused) = looked {
            return Ok(Err(refused));
        }
        let dump = order.dump.clone();
        self.reach().await?;
        self.observe().await?;
        let Some((wanted, dump)) = self.wanted()?.zip(dump) else {
            let refused = Refused::new(
                "nothing is deployed into whose database it could go",
                "pin a release first",
            );
            return Ok(Err(refused));
        };
        let mut running = Vec::new();
        let runs: Vec<_> = self
            .seen
            .iter()
            .filter(|c| c.state.is_running() && !c.oneoff)
            .collect();
        for container in runs {
            running.extend(self.edges.engine.container(container.id.as_str()).await?);
        }
        let (database, end_foreign) = self.schema_ground(&wanted.spec);
        let checks = self.checks(Between::Restore);
        let ground = Restoring {
            spec: &wanted.spec,
            running: &running,
            database: database.as_ref(),
            migrates: settings.migrations.tool.as_ref().map(|tool| &tool.service),
            end_foreign,
            looks: self.looks(&checks),
        };
        Ok(restore(dump, &ground).map_err(|cycle| Refused::new(cycle.to_string(), "mend the Compose file")))
    }

    fn no_database(&self) -> Refused {
        let way_out = format!(
            "write [stack.{}.database] into steadfast.toml",
            self.settings.name
        );
        Refused::new("the stack has no database that the agent knows of", way_out)
    }

    /// Whether there is such a backup.
    fn knows(&self, id: &BackupId) -> Result<(), Refused> {
        let way_out = format!("`steadfast backup list {}` has them", self.settings.name);
        match self.edges.backups.list(&self.settings.name) {
            Ok(listing) if listing.backups.iter().any(|found| found.id == *id) => Ok(()),
            Ok(listing) => Err(match listing.damaged.into_iter().find(|(found, _)| found == id) {
                Some((_, what)) => Refused::new(format!("the backup {id} is damaged: {what}"), way_out),
                None => Refused::new(format!("there is no backup {id}"), way_out),
            }),
            Err(error) => Err(Refused::new(error.to_string(), way_out)),
        }
    }

    /// Whether such a database lies beside it, as far as that was looked at: what is not there is dropped without a word.
    fn lies_beside(&self, name: &str) -> Result<(), Refused> {
        let is_known = matches!(self.beside_at, Some((_, true)));
        if !is_known || self.beside.iter().any(|beside| beside.name.as_str() == name) {
            return Ok(());
        }
        Err(Refused::new(
            format!("Steadfast has put no database {name} beside that of the stack"),
            format!("`steadfast status {}` lists those that do", self.settings.name),
        ))
    }

    fn plan_about_backups(&self, order: &Order) -> Result<Plan, Refused> {
        order::about_backups(&self.record)?;
        if self.settings.database.is_none() {
            return Err(self.no_database());
        }
        let step = match (order.act, &order.dump, &order.database) {
            (ActKind::VerifyBackup { proof }, Some(Dumped::Backup(backup)), _) => {
                self.knows(backup)?;
                Step::VerifyBackup {
                    backup: backup.clone(),
                    proof,
                }
            }
            (ActKind::PutIn { of }, ..) => {
                order::put_in(&self.record, of)?;
                Step::PutIn {
                    of,
                    last: self.has_all_of(of),
                }
            }
            (ActKind::DropBeside, _, Some(name)) => {
                self.lies_beside(name)?;
                Step::DropBeside { name: name.clone() }
            }
            (ActKind::Backup { proof }, ..) => Step::Backup { proof, copy: None },
            _ => Step::Backup {
                proof: Proof::Restore,
                copy: None,
            },
        };
        Ok(self.handed_on(vec![step]))
    }

    /// Carries out an order to drop rows that are kept: nothing has its place for them any more.
    pub(super) fn order_to_drop_rows(&mut self, order: Order, act: Act, of: u64) {
        let changes = match order::drop_rows(&self.record, of, act) {
            Ok(changes) => changes,
            Err(refused) => return self.answer(order, Err::<Accepted, _>(refused.into())),
        };
        if let Err(stop) = self.commit(&changes) {
            return self.answer(order, Err::<Accepted, _>(unreached(&stop)));
        }
        // What cannot be removed now is, later.
        self.forget_rows_now();
        let accepted = Accepted {
            will: format!("drops what is kept of operation {of}"),
            operation: None,
        };
        self.answer(order, Ok(accepted));
    }

    /// Opens an operation about backups, to be carried out; `None`: the stack is another agent's.
    pub(super) async fn begin_backup(
        &mut self,
        kind: Kind,
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
            kind,
            generation: self.record.current.filter(|_| kind == Kind::Restore),
            request: request.unwrap_or_else(|| Digest::of(b"")),
            by,
            why,
            begun: self.now(),
            plan,
        };
        let act = act.map(|act| Change::Act(Box::new(act)));
        let open = Change::Open(operation.into());
        let changes: Vec<Change> = act.into_iter().chain([open]).collect();
        self.commit(&changes)?;
        Ok(Some(id))
    }
}

/// Whether there is something to read. What is in it is said by whoever reads it.
fn is_there(path: &Path) -> Result<(), Refused> {
    // To open what is no file may take for ever: a pipe waits for whoever writes to it.
    let opened = std::fs::metadata(path).and_then(|about| {
        if about.is_file() {
            std::fs::File::open(path).map(drop)
        } else {
            Err(std::io::Error::other("it is no file"))
        }
    });
    match opened {
        Ok(()) => Ok(()),
        Err(error) => Err(Refused::new(
            format!("the daemon cannot read {}: {error}", path.display()),
            "name a file that the daemon's user may read",
        )),
    }
}

pub(super) fn unreached(stop: &Stop) -> Refusal {
    Refusal {
        why: stop.to_string(),
        way_out: None,
        code: match stop {
            Stop::Engine(_) => 3,
            Stop::Ledger(_) => 1,
        },
    }
}
