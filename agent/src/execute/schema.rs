//! The steps that are about the database: its migrations read, its schema moved, itself barred, copied and put back.
//! Each looks first, and is done again after any interruption.

use std::collections::BTreeMap;
use std::time::Duration;

use config::settings::DatabaseSettings;
use state::bug::{self, Bug};
use state::common::Common;
use state::journal::{OpenOperation, Outcome, SchemaMark};
use state::migration_tool::{Migration, Printed};
use state::migrations::History;
use state::name::{ContainerId, ServiceName, StackName};
use state::observed::{Known, SchemaHead};
use state::planner::Looks;
use state::record::{Change, UnseenMigration};
use state::schema_fit::{Direction, SchemaMove, apart, same};
use state::stack_spec::{EnvValue, StackSpec};
use state::step::Step;
use state::taken_back::AllTakenBack;

use super::{AWAY, Executor, Failure, Trouble, UNDO_TRIES, final_};
use crate::backup::{Backups, Tell};
use crate::database::{
    Database, DatabaseError, EnvLookup, Guard, Maintenance, Place, Session, container_at, copy_name, host_of,
    in_the_way,
};
use crate::engine::{EngineError, Listener, OnceNetwork, OneOff, Ran, without};
use crate::probe::address_of;
use crate::rows::Rows;

/// How long one question to the database may take, or one word.
pub(super) const WORD: Duration = Duration::from_secs(60);
/// How long the sessions of what has just stopped may take to go.
const SETTLE: Duration = Duration::from_secs(10);
/// A lock that somebody holds is waited for, while the old release serves: so often, and so long in between. What is backed up
/// for this operation need not be backed up again for that.
const LOCKED_TRIES: u32 = 12;
const LOCKED_AGAIN: Duration = Duration::from_secs(5);
/// Of what a command wrote, so many lines are told.
const TOLD_LINES: usize = 12;
/// And so many characters of each.
const TOLD_WIDTH: usize = 300;

/// The database of the stack, and all that is needed to work on it.
pub struct Work<'a> {
    /// Where it is.
    pub settings: &'a DatabaseSettings,
    /// The values that the settings name.
    pub env: EnvLookup<'a>,
    /// Where its schema stands.
    pub database: &'a dyn Database,
    /// What is done to it as a whole.
    pub maintenance: &'a dyn Maintenance,
    /// Its backups.
    pub backups: &'a dyn Backups,
    /// The rows that were taken out of it.
    pub rows: &'a dyn Rows,
    /// By which operations.
    pub taken_back: Common<AllTakenBack>,
    /// Told how far a backup is.
    pub tell: Tell<'a>,
    /// Told what a step waits for; `None`: it goes on.
    pub says: &'a (dyn Fn(Option<String>) + Send + Sync),
    /// What the release is made of that is gone to, or asked for.
    pub to: Option<&'a StackSpec>,
    /// What the release is made of that is left.
    pub from: Option<&'a StackSpec>,
}

impl Work<'_> {
    /// How long what takes as long as the database is large may take.
    pub(super) fn long(&self) -> Duration {
        let tool = self.settings.migrations.tool.as_ref();
        tool.map_or(Duration::from_secs(30 * 60), |tool| tool.timeout)
    }
}

impl Executor<'_> {
    /// Does a step that is about the database.
    pub(super) async fn on_database(
        &self,
        open: &OpenOperation,
        index: usize,
        step: &Step,
    ) -> Result<Outcome, Trouble> {
        let work = self.work.as_ref().ok_or_else(|| {
            final_(String::from(
                "steadfast.toml says no longer how the database is reached",
            ))
        })?;
        let operation = open.operation.id;
        match step {
            Step::ReadMigrations {
                by,
                prints,
                rows,
                reader,
            } => {
                let read = self.read_migrations(work, open, index, (by, *prints)).await?;
                let read = read.with_rows(*rows).with_reader(reader.clone());
                return Ok(Outcome::Read(read));
            }
            Step::ReadLosses { by } => return self.read_losses(work, open, index, by).await,
            Step::SaveRows { of } => return self.save_rows(work, *of).await,
            Step::PutIn { of, last } => return self.put_in(work, open, index, *of, *last).await,
            Step::Backup { proof, copy } => return self.back_up(work, open, *proof, *copy).await,
            Step::HandOn { command, within } => return self.hand_on(work, open, command, *within).await,
            Step::VerifyBackup { backup, proof } => return self.verify_backup(work, backup, *proof).await,
            Step::RestoreBeside { .. }
            | Step::DropRestored
            | Step::TakePlace
            | Step::GiveBack
            | Step::DropBeside { .. } => return self.on_restore(work, open, step).await,
            Step::CloseDatabase { end_foreign } => self.close(work, *end_foreign).await?,
            Step::CopyDatabase => {
                let (place, within) = (self.place(work).await?, work.long());
                let name = copy_name(&place.database().map_err(trouble)?, operation);
                let copied = work.maintenance.copy(place, &name, operation, within);
                self.unless_stopped(copied).await?.map_err(trouble)?;
            }
            Step::OpenDatabase => {
                let place = self.place(work).await?;
                work.maintenance.open(place, WORD).await.map_err(trouble)?;
                return Ok(Outcome::Schema(self.mark(work).await?));
            }
            Step::Look { when, checks, counts } => {
                let what = Looks {
                    checks,
                    counts: *counts,
                };
                return self.look(work, open, index, *when, what).await;
            }
            Step::Migrate { way, checks } => {
                let done = self.migrate(work, open, index, way).await?;
                return match way.direction {
                    Direction::Up => Ok(done),
                    Direction::Down => self.is_whole_below(work, open, checks, done).await,
                };
            }
            Step::ApplySql {
                parts,
                to,
                within,
                checks,
            } => {
                let done = self.apply_sql(work, open, index, parts, to, *within).await?;
                return self.is_whole_below(work, open, checks, done).await;
            }
            Step::PutBack => {
                self.end_migration(open, index).await?;
                self.put_back(work, open, index).await?;
            }
            _ => {}
        }
        Ok(Outcome::Done)
    }

    /// The database, as it is reached now: a container may have another address than a moment ago.
    pub(super) async fn place<'w>(&self, work: &Work<'w>) -> Result<Place<'w>, Trouble> {
        Ok(self.place_and_container(work).await?.0)
    }

    /// The same, and the container that it runs in, where that is one of the stack's.
    pub(super) async fn place_and_container<'w>(
        &self,
        work: &Work<'w>,
    ) -> Result<(Place<'w>, Option<ContainerId>), Trouble> {
        let mut found = None;
        if let Some(host) = host_of(work.settings, work.env) {
            let seen = self.engine.containers(self.stack).await?;
            found = container_at(&host, &seen).map(|container| container.id.clone());
        }
        let address = match &found {
            Some(id) => self
                .engine
                .container(id.as_str())
                .await?
                .as_ref()
                .and_then(address_of),
            None => None,
        };
        let place = Place {
            settings: work.settings,
            address,
            env: work.env,
        };
        Ok((place, found))
    }

    /// What stands for the schema as it is.
    pub(super) async fn mark(&self, work: &Work<'_>) -> Result<SchemaMark, Trouble> {
        let place = self.place(work).await?;
        let head = match work.database.schema_head(place).await {
            Known::Known(head) => head,
            Known::Unknown(why) => return Err(Trouble::Silent(why)),
        };
        let fingerprint = work.maintenance.fingerprint(place, WORD).await.map_err(trouble)?;
        Ok(SchemaMark { head, fingerprint })
    }

    /// What a migration that failed has left: whatever was tried, however often, and whether or not it may pass, what
    /// counts is whether the schema is as it was.
    pub(super) async fn aftermath(
        &self,
        open: &OpenOperation,
        index: usize,
        failure: Failure,
    ) -> Result<Outcome, Failure> {
        let (Some(work), Some(why), Some(Step::Migrate { way, .. })) =
            (&self.work, failure.why(), open.operation.plan.steps.get(index))
        else {
            return Err(failure);
        };
        let (why, passing) = (why.to_owned(), !matches!(failure, Failure::Final(_)));
        // On its way down what may pass is taken back whole, with the copy, and tried again.
        if passing && way.direction == Direction::Down {
            return Err(failure);
        }
        for _ in 0..UNDO_TRIES {
            if self.end_migration(open, index).await.is_ok() {
                match self.mark(work).await {
                    Ok(mark) if open.mark_before(index) == Some(&mark) => return Err(failure),
                    Ok(_) if bug::is(Bug::HalfMigrationCounts) => return Err(failure),
                    // It has done what it was to do, and only its answer was not heard.
                    Ok(mark) if passing && same(&mark.head, &way.to) => return Ok(Outcome::Done),
                    // Half-way nothing goes on, whatever stopped it: a rollback takes it back whole.
                    Ok(_) => return Err(Failure::Moved(why)),
                    Err(Trouble::Failure(Failure::Interrupted)) => return Err(Failure::Interrupted),
                    Err(_) => {}
                }
            }
            if self.pause(AWAY).await {
                return Err(Failure::Interrupted);
            }
        }
        // It is the database that is away, and nothing is said about the release. What is left in it is looked for
        // when it is back: until then what ran before runs on. On its way down the copy takes its place.
        let why = format!("{why}; and nobody can see where the schema stands now");
        Err(
            if way.direction == Direction::Down || bug::is(Bug::UnseenIsUndone) {
                Failure::Passing(why)
            } else {
                Failure::Unseen(why)
            },
        )
    }

    /// The container of a migration that nobody waits for any more goes: it would move the schema after it was looked at.
    pub(super) async fn end_migration(&self, open: &OpenOperation, index: usize) -> Result<(), Trouble> {
        let Some(Step::Migrate { way, .. }) = open.operation.plan.steps.get(index) else {
            return Ok(());
        };
        let name = once_name(self.stack, &way.by, open, index);
        Ok(self.engine.end_once(self.stack, &name, open.operation.id).await?)
    }

    /// The same, once its deploy is taken back because nobody could see its end: what it has left is looked for later, and
    /// is not changed after that. `false` when the daemon stops meanwhile.
    pub(super) async fn end_unseen(&self, open: &OpenOperation, index: usize) -> bool {
        let mut tries = 0;
        while let Err(Trouble::Engine(error)) = self.end_migration(open, index).await {
            tries += u32::from(!matches!(error, EngineError::Unreachable { .. }));
            tracing::warn!(stack = %self.stack, "the container of the migration cannot be ended: {error}");
            if tries > UNDO_TRIES {
                break;
            }
            if self.pause(AWAY).await {
                return false;
            }
        }
        true
    }

    async fn read_migrations(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        index: usize,
        (by, prints): (&Migration, Printed),
    ) -> Result<History, Trouble> {
        let ran = match self
            .run(work.to, open, index, by, OnceNetwork::None, None)
            .await?
        {
            Ok(ran) => ran,
            Err(why) => return Err(final_(why)),
        };
        if ran.code != 0 {
            let words = ended(work.to, by, &ran);
            return Err(if was_killed(&ran) {
                away(words)
            } else {
                final_(words)
            });
        }
        prints.read(&ran.stdout).map_err(|why| {
            final_(format!(
                "what `{}` says: {}",
                by.words(),
                redacted(work.to, &by.service, &why.to_string())
            ))
        })
    }

    /// Everybody is out. Who is in it after all services have stopped that write is a stranger.
    async fn close(&self, work: &Work<'_>, end_foreign: bool) -> Result<(), Trouble> {
        if !end_foreign {
            let mut waited = Duration::ZERO;
            loop {
                let place = self.place(work).await?;
                let left = match work.maintenance.sessions(place, WORD).await {
                    Ok(left) => left,
                    Err(error) => return Err(trouble(error)),
                };
                if left.is_empty() {
                    break;
                }
                if waited >= SETTLE {
                    return Err(final_(strangers(&left)));
                }
                self.look_again_in(AWAY).await?;
                waited += AWAY;
            }
        }
        let place = self.place(work).await?;
        let obstacles = work.maintenance.obstacles(place, WORD).await.map_err(trouble)?;
        if let Some(words) = in_the_way(&obstacles) {
            return Err(final_(words));
        }
        let place = self.place(work).await?;
        let ended = work.maintenance.close(place, WORD).await.map_err(trouble)?;
        if !ended.is_empty() {
            tracing::warn!(stack = %self.stack, "ended sessions of {}", names(&ended));
        }
        Ok(())
    }

    /// The lock around whatever moves the schema.
    pub(super) async fn lock(&self, work: &Work<'_>) -> Result<Box<dyn Guard>, Trouble> {
        let lock = work.maintenance.lock(self.place(work).await?, WORD).await;
        lock.map_err(|error| match error {
            DatabaseError::Unknown(why) => Trouble::Silent(why),
            // Somebody else migrates.
            error => away(error.to_string()),
        })
    }

    async fn migrate(
        &self,
        work: &Work<'_>,
        open: &OpenOperation,
        index: usize,
        way: &SchemaMove,
    ) -> Result<Outcome, Trouble> {
        let stands = match work.database.schema_head(self.place(work).await?).await {
            Known::Known(head) => head,
            Known::Unknown(why) => return Err(Trouble::Silent(why)),
        };
        if same(&stands, &way.to) {
            return Ok(Outcome::Done);
        }
        let spec = match way.direction {
            Direction::Up => work.to,
            Direction::Down => work.from,
        };
        let mut tries = 1;
        let ran = loop {
            let lock = self.lock(work).await?;
            let ran = self
                .run(spec, open, index, &way.by, OnceNetwork::Stack, None)
                .await;
            lock.release().await;
            let ran = match ran? {
                Ok(ran) => ran,
                Err(why) => return Err(final_(why)),
            };
            let waits = way.direction == Direction::Up && tries < LOCKED_TRIES && met_a_lock(&ran);
            if !waits {
                break ran;
            }
            tries += 1;
            self.wait_for_the_lock(work, &stands, &ended(spec, &way.by, &ran))
                .await?;
        };
        if ran.code != 0 {
            let words = ended(spec, &way.by, &ran);
            let passing = was_killed(&ran) || may_pass(&ran);
            return Err(if met_a_lock(&ran) {
                away(format!("somebody holds a lock: {words}"))
            } else if passing {
                away(words)
            } else {
                final_(words)
            });
        }
        match work.database.schema_head(self.place(work).await?).await {
            Known::Known(head) if same(&head, &way.to) => Ok(Outcome::Done),
            Known::Known(head) => Err(final_(wrong_place(&way.by, &head, &way.to))),
            // Asked again, it is where it should be, or the tool finds nothing to do.
            Known::Unknown(why) => Err(Trouble::Silent(why)),
        }
    }

    /// Before the tool is asked once more. As long as it has not moved the schema whatever is more urgent goes first; in the
    /// middle of several revisions the next try goes on from there, and nothing else would be whole.
    async fn wait_for_the_lock(
        &self,
        work: &Work<'_>,
        stood: &SchemaHead,
        words: &str,
    ) -> Result<(), Trouble> {
        let why = format!("somebody holds a lock, and it is tried again: {words}");
        tracing::warn!(stack = %self.stack, "{why}");
        (work.says)(Some(why));
        let stands = work.database.schema_head(self.place(work).await?).await;
        let waited = if stands.known().is_some_and(|is| same(is, stood)) {
            self.look_again_in(LOCKED_AGAIN).await
        } else if self.pause(LOCKED_AGAIN).await {
            Err(Failure::Interrupted.into())
        } else {
            Ok(())
        };
        (work.says)(None);
        waited
    }

    /// Runs a command of the tool. Inner `Err`: it was ended, because it took too long.
    pub(super) async fn run(
        &self,
        spec: Option<&StackSpec>,
        open: &OpenOperation,
        index: usize,
        by: &Migration,
        network: OnceNetwork,
        listener: Option<Listener<'_>>,
    ) -> Result<Result<Ran, String>, Trouble> {
        let gone = || final_(format!("the generation has no {} any more", by.service));
        let stack = spec.ok_or_else(gone)?;
        let service = stack.services.get(&by.service).ok_or_else(gone)?;
        let own = service.environment.get("PGOPTIONS").and_then(Option::as_ref);
        let options = format!(
            "{} -c lock_timeout={}",
            own.map_or("", EnvValue::expose),
            by.lock_timeout.as_millis().max(1)
        );
        let options = options.trim_start();
        let once = OneOff {
            stack,
            service: &by.service,
            spec: service,
            image: by.image.clone(),
            name: once_name(&stack.project, by, open, index),
            command: by.command.clone(),
            env: BTreeMap::from([(String::from("PGOPTIONS"), EnvValue::new(options.to_owned()))]),
            directory: by.workdir.clone(),
            network,
            operation: open.operation.id,
            listener,
            within: by.within,
            dialect: self.dialect,
            working_dir: self.directory.to_owned(),
            config_files: self.compose_files.to_vec(),
        };
        match self.unless_stopped(self.engine.run_once(&once)).await? {
            Err(EngineError::Timeout { call: "run once", .. }) => Ok(Err(format!(
                "`{}` did not end within {} and was ended",
                by.words(),
                state::decide::span(by.within)
            ))),
            // Its image is gone. A container that is, somebody has removed.
            Err(EngineError::NotFound {
                call: "create container",
                message,
            }) => Err(final_(message)),
            ran => Ok(Ok(ran?)),
        }
    }

    /// Waits for what may take long, unless the daemon stops: what is under way is joined when it is back.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T> + Send) -> Result<T, Trouble> {
        let mut stop = self.stop.clone();
        let stopped = async { stop.wait_for(|stop| *stop).await.is_ok() };
        tokio::select! {
            biased;
            // Cancel-safe: a watch loses no value.
            true = stopped => Err(Trouble::Failure(Failure::Interrupted)),
            // What is dropped in the middle is done again, which looks first.
            done = work => Ok(done),
        }
    }
}

/// What is remembered of a migration whose end nobody has seen.
pub(super) fn unseen(open: &OpenOperation, index: usize) -> Option<Change> {
    let unseen = UnseenMigration {
        operation: open.operation.id,
        kind: open.operation.kind,
        before: open.mark_before(index)?.clone(),
    };
    Some(Change::Unseen(Some(Box::new(unseen))))
}

/// A database that is away says nothing about the release.
pub(super) fn away(why: String) -> Trouble {
    Trouble::Failure(Failure::Passing(why))
}

pub(super) fn trouble(error: DatabaseError) -> Trouble {
    match error {
        DatabaseError::Unknown(why) => Trouble::Silent(why),
        other => final_(other.to_string()),
    }
}

fn strangers(sessions: &[Session]) -> String {
    format!(
        "somebody else is connected to the database: {}; end that, or write foreign_sessions = \"end\"",
        names(sessions)
    )
}

fn names(sessions: &[Session]) -> String {
    let mut names: Vec<String> = sessions.iter().take(5).map(ToString::to_string).collect();
    if sessions.len() > names.len() {
        names.push(format!("{} more", sessions.len() - names.len()));
    }
    names.join(", ")
}

fn wrong_place(by: &Migration, is: &SchemaHead, wanted: &SchemaHead) -> String {
    let (is, wanted) = apart(is, wanted);
    format!(
        "`{}` says that all went well, and the schema stands at {is} instead of {wanted}",
        by.words()
    )
}

/// Whether somebody ended it, or the engine did with its own end: nothing is said about what it would have done.
pub(super) fn was_killed(ran: &Ran) -> bool {
    const SIGKILL: i64 = 128 + 9;
    const SIGTERM: i64 = 128 + 15;
    // An engine that ended with its host says 255, and nothing else is said.
    const WITH_ITS_ENGINE: i64 = 255;
    let silent = ran.stdout.trim().is_empty() && ran.stderr.trim().is_empty();
    matches!(ran.code, SIGKILL | SIGTERM) || (ran.code == WITH_ITS_ENGINE && silent)
}

pub(super) fn ended(spec: Option<&StackSpec>, by: &Migration, ran: &Ran) -> String {
    format!(
        "`{}` ended with code {}: {}",
        by.words(),
        ran.code,
        told(spec, &by.service, ran)
    )
}

/// Whether a command failed because somebody holds a lock.
fn met_a_lock(ran: &Ran) -> bool {
    const WORDS: [&str; 2] = ["due to lock timeout", "LockNotAvailable"];
    says(ran, &WORDS)
}

/// Whether a command that failed has written one of these.
fn says(ran: &Ran, words: &[&str]) -> bool {
    ran.code != 0
        && words
            .iter()
            .any(|word| ran.stderr.contains(word) || ran.stdout.contains(word))
}

/// Whether a command failed of something that goes by itself: a lock that somebody holds, a server that comes up.
fn may_pass(ran: &Ran) -> bool {
    const WORDS: [&str; 7] = [
        // Starting up, shutting down, in recovery mode.
        "the database system is",
        "server closed the connection unexpectedly",
        "terminating connection due to",
        "SSL connection has been closed unexpectedly",
        "Connection refused",
        // As a driver in Java says it.
        "refused. Check that the hostname and port are correct",
        "too many clients already",
    ];
    met_a_lock(ran) || says(ran, &WORDS)
}

/// What a server says of a row, and a driver of what it has sent: values.
const VALUES: [&str; 4] = ["DETAIL:", "CONTEXT:", "Failing row contains", "[parameters:"];

/// The end of what a command wrote, without the values of its environment, or of a row.
pub(super) fn told(spec: Option<&StackSpec>, service: &ServiceName, ran: &Ran) -> String {
    // Alembic's own errors are on its standard output, those of Python on the other.
    let both = [&ran.stdout, &ran.stderr];
    let lines: Vec<&str> = both
        .into_iter()
        .flat_map(|text| text.lines())
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    // Where a Python program was when it failed says less than with what.
    let is_traced = lines.iter().any(|line| line.starts_with("Traceback "));
    let lines: Vec<&str> = lines
        .into_iter()
        .filter(|line| !is_traced || !line.starts_with([' ', '\t']))
        .filter(|line| !VALUES.iter().any(|word| line.trim_start().starts_with(word)))
        .collect();
    let last = lines.len().saturating_sub(TOLD_LINES);
    let words: Vec<String> = lines[last..]
        .iter()
        .map(|line| redacted(spec, service, line))
        .map(|line| {
            line.chars()
                .filter(|c| !c.is_control())
                .take(TOLD_WIDTH)
                .collect()
        })
        .collect();
    words.join(" | ")
}

fn redacted(spec: Option<&StackSpec>, service: &ServiceName, words: &str) -> String {
    let service = spec.and_then(|spec| spec.services.get(service));
    let values = service
        .into_iter()
        .flat_map(|service| service.environment.values());
    let values: Vec<&str> = values.flatten().map(EnvValue::expose).collect();
    // A program may write a URL otherwise than it was given.
    let passwords = values.iter().filter_map(|value| password_in(value));
    without(words, values.iter().copied().chain(passwords))
}

/// The password in a URL.
fn password_in(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (login, _) = authority.rsplit_once('@')?;
    Some(login.split_once(':')?.1)
}

/// The name of a migration's container, which is a lock.
fn once_name(project: &StackName, by: &Migration, open: &OpenOperation, index: usize) -> String {
    format!("{project}-{}-steadfast-{}-{index}", by.service, open.operation.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(code: i64, stdout: &str, stderr: &str) -> Ran {
        Ran {
            code,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        }
    }

    #[test]
    fn a_lock_that_somebody_holds_may_be_given_back() {
        let words = "psycopg2.errors.LockNotAvailable: canceling statement due to lock timeout";
        assert!(may_pass(&ran(1, "", words)));
        assert!(!may_pass(&ran(0, "", words)));
        assert!(!may_pass(&ran(1, "", "NotImplementedError")));
    }

    #[test]
    fn what_is_told_is_the_end_of_it_without_any_secret() {
        let by = Migration {
            service: "api".parse().expect("a name"),
            image: format!("sha256:{:064}", 1).parse().expect("an image"),
            command: vec![String::from("alembic")],
            workdir: None,
            within: WORD,
            lock_timeout: WORD,
        };
        let mut spec = StackSpec::new("shop".parse().expect("a name"));
        let service = spec.services.entry(by.service.clone()).or_default();
        let url = EnvValue::new("postgres://app:hunter2@db/shop");
        service
            .environment
            .insert(String::from("DATABASE_URL"), Some(url));
        let many: String = (0..50).map(|n| format!("line {n}\n")).collect();
        let trace = "Traceback (most recent call last):\n  File \"env.py\", line 1\n    run()\nRuntimeError: nobody has tried this\n";
        let words = told(None, &by.service, &ran(1, "", trace));
        assert_eq!(
            words,
            "Traceback (most recent call last): | RuntimeError: nobody has tried this"
        );
        let words = told(
            Some(&spec),
            &by.service,
            &ran(
                1,
                &many,
                "no way to postgres://app:hunter2@db/shop\npostgresql+asyncpg://app:hunter2@db\n\u{1b}[31m\n\
                 DETAIL:  Key (token)=(4711) already exists.\n[parameters: {'token': '4711'}]",
            ),
        );
        assert!(words.starts_with("line 41 | "), "{words}");
        assert!(
            words.ends_with("no way to … | postgresql+asyncpg://app:…@db | [31m"),
            "{words}"
        );
    }
}
