//! Where the schema could not be taken back: which backup there is from before, what would be lost with it, and the
//! rollback that goes back to it. Whether it is gone back to is `state::last_resort`'s.

use std::collections::BTreeSet;
use std::time::Duration;

use config::settings::PgName;
use jiff::Timestamp;
use state::backup::BackupId;
use state::hold::{Fact, Hold};
use state::integrity::Tally;
use state::journal::Kind;
use state::last_resort::{Offer, Resort, RestoreBackup, answered_before, asks_again, resort};
use state::observed::Known;
use state::operation::{begin_rollback, request_of};
use state::record::{Answer, Approval, Ask, Change};
use state::release::{Author, Blame, Generation, GenerationNumber};
use state::rollback::target;
use state::schema_fit::{Direction, SchemaMove, same};

use super::{Stack, Stop};
use crate::backup::{How, Manifest};
use crate::database::Place;

/// How long counting may take: somebody may be waiting for the pass. What there is no time for is told as that.
const COUNTED_WITHIN: Duration = Duration::from_secs(30);

/// What would be lost by going back to a backup.
struct Stake {
    backup: BackupId,
    rows: u64,
    detail: Vec<String>,
}

impl Stack {
    /// Nothing takes the schema back: the release is left as where its way down has failed, and nobody is stopped for that.
    /// Whoever is asked, or has said so before, goes back to a backup. Where there is none, nothing changes.
    pub(super) async fn leave_for_a_backup(
        &mut self,
        current: &Generation,
        to: GenerationNumber,
        blame: Blame,
        by: &Author,
        why: &str,
        while_failing: BTreeSet<Fact>,
    ) -> Result<(), Stop> {
        self.backups_at = None;
        self.see_backups();
        let listing = match self.backups.clone() {
            Known::Known(listing) => Ok(listing),
            Known::Unknown(unseen) => Err(unseen),
        };
        let database = self.name_of_the_database().await;
        let (listing, database) = match listing.and_then(|listing| Ok((listing, database?))) {
            Ok(both) => both,
            Err(unseen) => {
                let why = format!("{why}; and nobody can say which backups there are: {unseen}");
                self.back_off(Kind::Restore, &why);
                return Ok(());
            }
        };
        let target = self.record.generation(to);
        if target
            .and_then(|target| from_before(&listing.backups, &database, target))
            .is_none()
        {
            let why = format!("{why}; and there is no proven backup with the schema of generation {to}");
            let way_out = "write SQL that takes it back into steadfast.toml, or bring the schema down by hand; then `steadfast rollback`";
            return self.hold(&why, way_out, while_failing);
        }
        let now = self.now();
        let mut changes = begin_rollback(&self.record, current, blame, by, why, &now);
        changes.push(Change::Hold(Some(Hold {
            since: now,
            why: format!("only a backup leads back to generation {to}: {why}"),
            way_out: String::from("read what would be lost, then `steadfast approve` or `steadfast deny`"),
            frozen: false,
            no_way_down: true,
            until: BTreeSet::new(),
        })));
        let name = &self.settings.name;
        tracing::warn!(stack = %name, "generation {} is left, and only a backup leads back to generation {to}: {why}", current.number);
        self.commit_urgent(&changes)?;
        self.offer_backup().await
    }

    /// Whether a person is asked whether a backup is gone back to (`Some(false)`), or somebody has said so.
    pub(super) fn is_backup_agreed_to(&self) -> Option<bool> {
        let approval = self.record.approval.as_ref()?;
        let about_it = matches!(approval.ask, Ask::RestoreBackup { .. });
        match approval.answer {
            _ if !about_it => None,
            None => Some(false),
            Some((Answer::Granted, _)) => Some(true),
            Some((Answer::Denied, _)) => None,
        }
    }

    /// What the database is called.
    async fn name_of_the_database(&mut self) -> Result<PgName, String> {
        let settings = self.settings.database.clone().ok_or("there is no database")?;
        let env = self.env_values();
        let lookup = move |key: &str| env.get(key).cloned();
        let place = Place {
            settings: &settings,
            address: self.database_address(&settings, &lookup).await,
            env: &lookup,
        };
        place.database().map_err(|error| error.to_string())
    }

    /// Asks a person whether the backup from before is gone back to, once, with what would be lost; or, where they have
    /// said so before, answers it.
    pub(super) async fn offer_backup(&mut self) -> Result<(), Stop> {
        let Some(policy) = self.restore_policy() else {
            return Ok(());
        };
        match resort(&self.record, policy) {
            Resort::Look if !self.backing_off() => {}
            Resort::Waits => {
                self.waits.push(self.an_approval());
                return Ok(());
            }
            _ => return Ok(()),
        }
        self.refresh_availability().await?;
        let now = self.now();
        self.see_schema_anew(&now).await;
        let Some((current, to)) = self.left_and_target() else {
            return Ok(());
        };
        let is_down = |way: &SchemaMove| way.direction == Direction::Down;
        if !self.way_to(&to).as_ref().is_some_and(is_down) {
            return Ok(());
        }
        match self.what_is_at_stake(&to, None, COUNTED_WITHIN).await {
            Ok(Some(stake)) => self.ask_about_the_backup(&current, &to, stake, answered_before(policy), None),
            Ok(None) => self.no_backup(&to),
            Err(why) => {
                self.back_off(Kind::Restore, &why);
                Ok(())
            }
        }
    }

    /// Writes the question down, with what is at stake, and with a hold where there is none.
    fn ask_about_the_backup(
        &mut self,
        current: &Generation,
        to: &Generation,
        stake: Stake,
        answer: Option<(Answer, Author)>,
        hold: Option<Hold>,
    ) -> Result<(), Stop> {
        let approval = Approval {
            ask: Ask::RestoreBackup {
                from: current.number,
                to: to.number,
                backup: stake.backup,
                rows: stake.rows,
            },
            request: request_of(&self.record, current),
            asked: self.now(),
            detail: stake.detail,
            answer,
        };
        let name = &self.settings.name;
        tracing::warn!(stack = %name, "the schema cannot be taken back: {}", approval.detail.join("; "));
        let goes_on = approval.answer.is_some();
        let mut changes = vec![Change::Approval(Some(Box::new(approval)))];
        changes.extend(goes_on.then_some(Change::Hold(None)));
        changes.extend(hold.map(|hold| Change::Hold(Some(hold))));
        self.commit(&changes)
    }

    /// What would be lost by going back: with this backup, or the newest that fits. `None`: there is none.
    async fn what_is_at_stake(
        &mut self,
        to: &Generation,
        with: Option<&BackupId>,
        within: Duration,
    ) -> Result<Option<Stake>, String> {
        self.backups_at = None;
        self.see_backups();
        let listing = match self.backups.clone() {
            Known::Known(listing) => listing,
            Known::Unknown(why) => return Err(why),
        };
        let rows = self.rows_now(within).await;
        let (database, rows) = rows.map_err(|why| format!("the rows cannot be counted: {why}"))?;
        let found = match with {
            Some(id) => listing.backups.iter().find(|backup| backup.id == *id),
            None => from_before(&listing.backups, &database, to),
        };
        let Some(found) = found else {
            return Ok(None);
        };
        let age = Timestamp::from_millisecond(self.now().wall_ms).unwrap_or_default();
        let age = Duration::try_from(age.duration_since(found.begun)).unwrap_or_default();
        let offer = Offer {
            backup: &found.id,
            age,
            stands: &found.counted.head,
            then: &found.counted.tables,
            now: &rows,
        };
        Ok(Some(Stake {
            backup: found.id.clone(),
            rows: offer.rows(),
            detail: offer.detail(),
        }))
    }

    /// Goes back to the backup that was agreed to. `false`: none was.
    pub(super) async fn go_back_to_backup(&mut self) -> Result<bool, Stop> {
        let Some(Resort::Begin { to, backup, by }) =
            self.restore_policy().map(|policy| resort(&self.record, policy))
        else {
            return Ok(false);
        };
        let (Some(current), Some(target)) = (self.record.current(), self.record.generation(to)) else {
            return Ok(false);
        };
        let (current, target) = (current.clone(), target.clone());
        let blame = Blame::between(&current.release, Some(&target.release));
        let agreed = self.record.approval.clone();
        let mut lost = agreed.as_ref().map(|approval| approval.detail.join("; "));
        // It may have been agreed to hours ago, and who writes has gone on.
        let again = match by {
            // What steadfast.toml allows was counted a moment ago.
            Author::Agent => Ok(None),
            Author::Person { .. } => {
                self.what_is_at_stake(&target, Some(&backup), COUNTED_WITHIN)
                    .await
            }
        };
        match again {
            Ok(Some(stake)) => {
                let known = agreed.as_ref().map(|approval| &approval.ask);
                let more = match known {
                    Some(Ask::RestoreBackup { rows, .. }) => asks_again(*rows, stake.rows),
                    _ => false,
                };
                if more {
                    let hold = Some(self.hold_for_more(stake.rows));
                    self.ask_about_the_backup(&current, &target, stake, None, hold)?;
                    return Ok(true);
                }
                lost = Some(stake.detail.join("; "));
            }
            Ok(None) => {}
            Err(why) => tracing::warn!(stack = %self.settings.name, "not counted again: {why}"),
        }
        let why = format!(
            "the schema of generation {} cannot be taken back: {}",
            current.number,
            lost.unwrap_or_default()
        );
        // Somebody may have tidied up since they were asked.
        self.refresh_availability().await?;
        if let Some(Err(gone)) = self.available.get(&to) {
            let why = format!("{why}; and generation {to} cannot be restored: {gone}");
            let way_out = "bring that back, then `steadfast rollback`, which tries the way down again before it asks; or pin a release that works";
            // An agreement is good for once.
            let hold = self.holding(&why, way_out, BTreeSet::new());
            let changes: Vec<Change> = hold.into_iter().chain([Change::Approval(None)]).collect();
            self.commit(&changes)?;
            return Ok(true);
        }
        let begun = self.begin_to_go_back_with(to, blame, by, &why, Some(&backup));
        if begun.await? {
            self.finish_going_back().await?;
        }
        Ok(true)
    }

    /// Who agreed to less is asked again.
    fn hold_for_more(&self, rows: u64) -> Hold {
        Hold {
            since: self.now(),
            why: format!(
                "going back to the backup would lose about {rows} rows by now, more than twice what was agreed to"
            ),
            way_out: String::from(
                "read `steadfast status` again, then `steadfast approve` or `steadfast deny`",
            ),
            frozen: false,
            no_way_down: true,
            until: BTreeSet::new(),
        }
    }

    fn restore_policy(&self) -> Option<RestoreBackup> {
        Some(self.settings.database.as_ref()?.restore_backup)
    }

    fn left_and_target(&self) -> Option<(Generation, Generation)> {
        let to = target(&self.record, &self.available).ok()?.clone();
        Some((self.record.current()?.clone(), to))
    }

    /// There is none: nobody looks for it again, and the hold says so.
    fn no_backup(&mut self, to: &Generation) -> Result<(), Stop> {
        let Some(mut hold) = self.record.hold.clone() else {
            return Ok(());
        };
        hold.no_way_down = false;
        hold.why = format!(
            "{}; and there is no proven backup with the schema of generation {}",
            hold.why, to.number
        );
        self.commit(&[Change::Hold(Some(hold))])
    }

    async fn rows_now(&mut self, within: Duration) -> Result<(PgName, Tally), String> {
        let settings = self.settings.database.clone().ok_or("there is no database")?;
        let env = self.env_values();
        let lookup = move |key: &str| env.get(key).cloned();
        let place = Place {
            settings: &settings,
            address: self.database_address(&settings, &lookup).await,
            env: &lookup,
        };
        let database = place.database().map_err(|error| error.to_string())?;
        let counted = self.edges.maintenance.tally(place, None, within).await;
        Ok((database, counted.map_err(|error| error.to_string())?))
    }
}

/// The newest of this database that was restored once, and of no copy of it, with the schema at which a generation was proven.
fn from_before<'a>(backups: &'a [Manifest], database: &PgName, to: &Generation) -> Option<&'a Manifest> {
    let schema = to.schema.as_ref()?;
    let fits = |backup: &&Manifest| {
        let proven = backup
            .verified
            .as_ref()
            .is_some_and(|verified| verified.how == How::Restored);
        proven && backup.database == *database && backup.copy.is_none() && same(schema, &backup.counted.head)
    };
    backups.iter().filter(fits).max_by(|a, b| a.id.cmp(&b.id))
}
