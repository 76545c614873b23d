//! Backups that nobody asks for: those of the schedule, and those of the copies that a rollback has left, which go once
//! they are in a backup that was proven. And what goes because nothing needs it any more.

use std::time::Duration;

use config::settings::{BackupSettings, PgName};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use state::backup::Proof;
use state::bug::{self, Bug};
use state::journal::Kind;
use state::observed::Known;
use state::plan::Plan;
use state::release::{Author, Verdict};
use state::step::Step;
use state::time::Moment;

use super::attend::End;
use super::{Stack, Stop};
use crate::backup::{Keep, Manifest, Why, needs, next, surplus};
use crate::database::{CopyKind, DatabaseCopy, Place, copy_name};

/// How often it is looked what lies beside the database.
const LOOK_EVERY: Duration = Duration::from_secs(10 * 60);
/// How long looking may take: somebody may be waiting for the pass.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked which backups may go.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);
/// One that failed, or gave way, is not tried again before this.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What is to be backed up.
enum Due {
    /// The copy that this operation has left.
    Copy(u64, PgName),
    /// The database: its time has come.
    Scheduled(Proof),
    /// What this operation has taken out of the database has its place again.
    PutIn(u64),
}

impl Stack {
    fn backup_settings(&self) -> Option<&BackupSettings> {
        self.settings.database.as_ref()?.backup.as_ref()
    }

    /// Sees what lies beside the database, now and then, where anything may.
    pub(super) async fn see_beside(&mut self, now: &Moment) {
        let made_by_us = self.tool().is_some() || self.backup_settings().is_some() || self.has_backups();
        let reached = matches!(self.schema, Some(Known::Known(_)));
        let lately = self.beside_at.as_ref().and_then(|(at, _)| now.since(at));
        if !made_by_us || !reached || lately.is_some_and(|age| age < LOOK_EVERY) {
            return;
        }
        self.beside_at = Some((now.clone(), false));
        let Some(settings) = self.settings.database.clone() else {
            return;
        };
        let env = self.env_values();
        let lookup = move |key: &str| env.get(key).cloned();
        let place = Place {
            settings: &settings,
            address: self.database_address(&settings, &lookup).await,
            env: &lookup,
        };
        self.database_name = place.database().ok();
        // What cannot be seen now is as it was.
        if let Ok(found) = self.edges.maintenance.copies(place, LOOK_WITHIN).await {
            self.beside = found;
            self.beside_at = Some((now.clone(), true));
        }
        // For `plan`: nothing is decided by it.
        let size = self.edges.maintenance.size(place, LOOK_WITHIN).await;
        self.database_bytes = size.ok().or(self.database_bytes);
    }

    fn has_backups(&self) -> bool {
        let listing = self.backups.known();
        listing.is_some_and(|listing| !listing.backups.is_empty())
    }

    /// Backs up what is due, where nothing else is under way. It gives way to whatever is.
    pub(super) async fn keep_backups(&mut self) -> Result<(), Stop> {
        self.forget_backups().await;
        let now = self.now();
        let reached = matches!(self.schema, Some(Known::Known(_)));
        let waits = self
            .backup_not_before
            .as_ref()
            .is_some_and(|at| !now.until(at).is_zero());
        if self.record.operation.is_some() || self.only_looks || self.is_left_alone() || !reached || waits {
            return Ok(());
        }
        let Some(due) = self.backup_due() else {
            return Ok(());
        };
        let of_a_copy = match &due {
            Due::Copy(_, name) => Some(name.clone()),
            _ => None,
        };
        let of_rows = match due {
            Due::PutIn(of) => Some(of),
            _ => None,
        };
        let (why, plan) = match due {
            Due::Copy(operation, name) => {
                let why = format!("operation {operation} has copied the database before it took it back");
                let backup = Step::Backup {
                    proof: Proof::Restore,
                    copy: Some(operation),
                };
                let drop = Step::DropBeside {
                    name: name.as_str().to_owned(),
                };
                let backup = Some(backup).filter(|_| !bug::is(Bug::CopyGoesUnsaved));
                let unsaved = self
                    .record
                    .taken_back
                    .get(&operation)
                    .is_some_and(|taken| taken.saved.is_none());
                let save =
                    (unsaved && !bug::is(Bug::CopyGoesUnread)).then_some(Step::SaveRows { of: operation });
                (
                    why,
                    self.handed_on(save.into_iter().chain(backup).chain([drop]).collect()),
                )
            }
            Due::PutIn(of) => {
                let why = format!("what operation {of} has taken out of the database has its place again");
                (why, Plan::of(vec![Step::PutIn { of, last: true }]))
            }
            Due::Scheduled(proof) => {
                let backup = Step::Backup { proof, copy: None };
                (String::from("its time has come"), self.handed_on(vec![backup]))
            }
        };
        let begun = self
            .begin_backup(Kind::Backup, Author::Agent, why, plan, None)
            .await?;
        if begun.is_none() {
            return Ok(());
        }
        let end = self.carry_on().await?;
        let is_done = matches!(end, End::Done);
        self.backup_problem = match end {
            End::Done => None,
            End::Failed { why, .. } => Some(why),
            // It is no failure, and it is tried again.
            End::GaveWay => self.backup_problem.take(),
        };
        // What fails again and again of a copy must not keep the schedule waiting, nor fill the disk.
        if let Some(copy) = of_a_copy {
            if is_done {
                // It is gone, whether or not that can be seen now.
                self.beside.retain(|beside| beside.name != copy);
            }
            self.copy_tried = self
                .backup_problem
                .as_ref()
                .map(|_| self.more_patience(self.copy_tried.as_ref()));
        }
        if let Some(of) = of_rows {
            let waits = self
                .record
                .taken_back
                .get(&of)
                .is_some_and(state::taken_back::TakenBack::waits);
            let again = waits || self.backup_problem.is_some();
            self.put_in_tried = again.then(|| self.more_patience(self.put_in_tried.as_ref()));
            // It says nothing about when a backup may be made.
            return Ok(());
        }
        if self.record.operation.is_none() && !is_done {
            self.backup_not_before = Some(self.now().plus(PATIENCE));
        }
        self.see_backups();
        Ok(())
    }

    /// With the operator's command after the backup, where there is one.
    pub(super) fn handed_on(&self, mut steps: Vec<Step>) -> Plan {
        let after = self.backup_settings().and_then(|settings| settings.after.clone());
        let made = steps.iter().position(|step| matches!(step, Step::Backup { .. }));
        if let (Some(after), Some(made)) = (after, made) {
            let hand_on = Step::HandOn {
                command: after.command,
                within: after.within,
            };
            steps.insert(made + 1, hand_on);
        }
        Plan::of(steps)
    }

    /// What failed is tried again later each time.
    fn more_patience(&self, tried: Option<&(u32, Moment)>) -> (u32, Moment) {
        let times = tried.map_or(0, |(times, _)| times + 1);
        let wait = PATIENCE * 2_u32.pow(times.min(7));
        (times, self.now().plus(wait))
    }

    /// The newest rows that are kept, and whose place the schema has again: a stack brings it up by itself, or a person.
    fn rows_due(&self) -> Option<u64> {
        if self
            .put_in_tried
            .as_ref()
            .is_some_and(|(_, at)| !self.now().until(at).is_zero())
        {
            return None;
        }
        let mut all = self.record.taken_back.iter().rev();
        all.find(|(of, taken)| taken.waits() && self.has_all_of(**of))
            .map(|(of, _)| *of)
    }

    /// Whether the schema has all again that this operation has taken back; `false` too where nobody knows.
    pub(super) fn has_all_of(&self, operation: u64) -> bool {
        let Some(Known::Known(head)) = &self.schema else {
            return false;
        };
        let image = self.tool().and_then(|tool| {
            let current = self.record.current()?;
            current.release.images.get(&tool.service)
        });
        let history = image.and_then(|image| self.record.histories.get(image));
        let taken = self.record.taken_back.get(&operation);
        taken
            .zip(history)
            .is_some_and(|(taken, history)| history.has_applied(head, &taken.revisions))
    }

    fn backup_due(&self) -> Option<Due> {
        if let Some(of) = self.rows_due() {
            return Some(Due::PutIn(of));
        }
        let proven = self
            .record
            .current()
            .is_some_and(|current| current.verdict == Verdict::Good);
        let waits = self.copy_tried.as_ref();
        let waits = waits.is_some_and(|(_, at)| !self.now().until(at).is_zero());
        if let Some((operation, name)) = self.copy_left().filter(|_| proven && !waits) {
            return Some(Due::Copy(operation, name));
        }
        let settings = self.backup_settings()?;
        let due = self.next_backup()? <= wall(&self.now());
        due.then_some(Due::Scheduled(settings.verify))
    }

    /// A safety copy of an operation that has ended.
    fn copy_left(&self) -> Option<(u64, PgName)> {
        let database = self.database_name.as_ref()?;
        let whole = |copy: &&DatabaseCopy| copy.complete && copy.kind == Some(CopyKind::Copy);
        self.beside.iter().filter(whole).find_map(|copy| {
            let operation = copy.name.as_str().rsplit('_').next()?.parse().ok()?;
            (copy_name(database, operation) == copy.name).then(|| (operation, copy.name.clone()))
        })
    }

    /// When the next backup of the schedule is due; `None`: there is no schedule, or nobody knows what there is.
    pub(super) fn next_backup(&self) -> Option<Timestamp> {
        let schedule = self.backup_settings()?.schedule?;
        let listing = self.backups.known()?;
        // One of a clock that went ahead says nothing about when the next one is due.
        let past = wall(&self.now());
        let scheduled = |backup: &&Manifest| backup.why == Why::Scheduled && backup.begun <= past;
        let last = listing
            .backups
            .iter()
            .filter(scheduled)
            .map(|backup| backup.begun)
            .max();
        let (since, now) = (wall(&self.opened_at), wall(&self.now()));
        Some(next(schedule, last, since, now, &TimeZone::system()))
    }

    /// What neither the number nor the age keeps, and nothing needs, goes.
    async fn forget_backups(&mut self) {
        self.forget_rows();
        let Some(settings) = self.backup_settings() else {
            return;
        };
        let keep = Keep {
            newest: settings.keep as usize,
            younger_than: settings.max_age,
        };
        let now = self.now();
        let lately = self.forgot_at.as_ref().and_then(|at| now.since(at));
        if lately.is_some_and(|age| age < FORGET_EVERY) || self.record.operation.is_some() || self.only_looks
        {
            return;
        }
        let Some(listing) = self.backups.known() else {
            return;
        };
        self.forgot_at = Some(now.clone());
        let needed = needs(&self.record, &listing.backups).into_keys().collect();
        for id in surplus(&listing.backups, keep, &needed, wall(&now)) {
            if let Err(error) = self.edges.backups.remove(&self.settings.name, &id).await {
                tracing::warn!(stack = %self.settings.name, %error, "backup {id} is not removed");
            } else {
                tracing::info!(stack = %self.settings.name, "backup {id} is removed: nothing keeps it");
            }
            self.backups_at = None;
        }
        self.see_backups();
    }
}

impl Stack {
    /// What was kept of operations that nobody remembers.
    fn forget_rows(&mut self) {
        let now = self.now();
        let lately = self.forgot_rows_at.as_ref().and_then(|at| now.since(at));
        if lately.is_some_and(|age| age < FORGET_EVERY) || self.record.operation.is_some() || self.only_looks
        {
            return;
        }
        self.forgot_rows_at = Some(now);
        self.forget_rows_now();
    }

    pub(super) fn forget_rows_now(&mut self) {
        // A ledger that was begun anew knows of none, and what was kept may be all that there is.
        if self.record.taken_back.is_empty() {
            return;
        }
        let taken = self.record.taken_back.iter();
        let known = taken
            .filter(|(_, taken)| !taken.is_dropped())
            .map(|(of, _)| *of)
            .collect();
        if let Err(error) = self.edges.rows.keep_only(&self.settings.name, &known) {
            tracing::warn!(stack = %self.settings.name, %error, "rows that were kept are not removed");
        }
    }
}

fn wall(at: &Moment) -> Timestamp {
    Timestamp::from_millisecond(at.wall_ms).unwrap_or_default()
}
