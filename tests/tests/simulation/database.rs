//! The database of a stack that has its schema moved: what is in it, what lies beside it, who is connected, and what
//! the migrations in an image do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agent::backup::{
    Ask, BackupError, Backups, Dump, Format, How, Listing, Manifest, Restored, Source, Tell, Verified, id_of,
};
use agent::clock::Clock as _;
use agent::database::{
    Census, Checksum, CopyKind, DatabaseCopy, DatabaseError, Guard, Made, Maintenance, Obstacle, Place,
    Session, copy_name, restored_name,
};
use agent::engine::Ran;
use agent::rows::{Rows, Taken, When};
use async_trait::async_trait;
use config::settings::{PgName, PreserveSettings};
use jiff::Timestamp;
use state::backup::BackupId;
use state::instead::ManualDown;
use state::integrity::{Answer, Answers, Check, Tally};
use state::last_resort::RestoreBackup;
use state::name::{ContainerId, Digest, ImageId, Revision, StackName};
use state::observed::SchemaHead;
use state::taken_back::{PutIn, Saved, TakenBack};

use crate::commands::OneOffCall;
use crate::dice::Dice;
use crate::edges::{Clocks, Shared, kill, lock};
use crate::laws::Call;
use crate::world::World;

/// How long a copy takes.
const COPYING: Duration = Duration::from_secs(3);
/// How long a migration takes.
const MIGRATING: Duration = Duration::from_secs(4);

/// What becomes of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It does what it should.
    Well,
    /// It does what it should, and loses rows that a check asks for.
    Loses,
    /// It fails, and its transaction with it.
    Fails,
    /// It says that it has failed, and has moved the schema by one revision.
    Halfway,
    /// It fails, and leaves something behind that the version table does not know of.
    Scars,
    /// It fails, and has changed rows that are durable; the schema is as it was.
    Rows,
    /// It never ends.
    Hangs,
}

/// The migrations that an image has: the revisions `r1` to `r` of the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scripts {
    pub(crate) newest: u64,
    pub(crate) up: Fate,
    pub(crate) down: Fate,
}

/// What stands in `steadfast.toml` of revisions that a rollback may leave where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stays {
    None,
    /// All of them.
    All,
    /// Those of an odd number.
    Odd,
    /// A person is asked before any goes.
    Asks,
}

impl Stays {
    /// Whether that of this number may.
    pub(crate) const fn has(self, number: u64) -> bool {
        match self {
            Self::None | Self::Asks => false,
            Self::All => true,
            Self::Odd => number % 2 == 1,
        }
    }
}

/// Whether nothing takes the revision of this number back, in a story that has such.
pub(crate) const fn is_one_way(number: u64) -> bool {
    number.is_multiple_of(3)
}

/// In the operator's SQL of a revision that it does not take back.
const NO_SQL: &str = "none";

/// The operator's SQL in `steadfast.toml`, as far as somebody has written it: for every revision, one of which is wrong
/// now and then; or for every other one.
pub(crate) fn manual(seed: u64, stays: Stays) -> String {
    let step = match seed % 32 {
        3 | 19 | 27 => 1,
        11 => 2,
        _ => return String::new(),
    };
    let one = |n: u64| {
        let table = if n % 5 == 4 { NO_SQL } else { "a" };
        let stays = match stays {
            Stays::Odd if n % 2 == 1 => "rollback_schema = \"keep\"\n",
            _ => "",
        };
        format!("[stack.shop.database.manual.r{n}]\ndowngrade = \"ALTER TABLE {table} DROP b{n}\"\n{stays}")
    };
    (1..80).step_by(step).map(one).collect()
}

/// What is in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) head: SchemaHead,
    /// What failed migrations have left in it.
    pub(crate) scars: u64,
    /// How often failed migrations have changed rows in it.
    pub(crate) spoilt: u64,
    /// How many migrations have lost rows of it.
    pub(crate) lost: u64,
    /// For how long it was written to.
    pub(crate) rows: Duration,
    /// What is in the column that each revision brought, by its number; nothing is 0.
    pub(crate) cells: Cells,
}

/// What is in the column that each revision brought.
pub(crate) type Cells = BTreeMap<u64, u64>;

/// A database beside the one in use.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    pub(crate) content: Content,
    pub(crate) operation: u64,
    pub(crate) kind: CopyKind,
}

/// A backup.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) content: Content,
    /// It was restored, and counted.
    pub(crate) proven: bool,
    manifest: Manifest,
}

/// The server.
#[allow(
    clippy::struct_excessive_bools,
    reason = "one for each thing that a story may have"
)]
#[derive(Debug)]
pub(crate) struct Data {
    /// Whether the agent moves the schema in this story.
    pub(crate) migrates: bool,
    /// Whether `api` brings the schema up by itself as it starts.
    pub(crate) by_itself: bool,
    /// Whether there are revisions that nothing takes back, as the tool of this story says.
    pub(crate) one_way: bool,
    /// What a rollback may leave.
    pub(crate) stays: Stays,
    /// The operator's SQL in `steadfast.toml`.
    pub(crate) manual: String,
    /// `restore_backup` in `steadfast.toml`.
    pub(crate) restores: RestoreBackup,
    /// The integrity check in `steadfast.toml`, where there are migrations that it is about.
    pub(crate) checks: &'static str,
    pub(crate) dice: Dice,
    pub(crate) scripts: BTreeMap<ImageId, Scripts>,
    pub(crate) open: bool,
    pub(crate) scars: u64,
    pub(crate) spoilt: u64,
    pub(crate) lost: u64,
    pub(crate) rows: Duration,
    pub(crate) beside: BTreeMap<String, Beside>,
    pub(crate) cells: Cells,
    /// Whose release has written to a column last that was empty.
    pub(crate) written_by: BTreeMap<u64, ContainerId>,
    /// What was kept of what an operation has taken out of it.
    pub(crate) kept_rows: BTreeMap<u64, Cells>,
    /// By the operation that made it.
    pub(crate) backups: BTreeMap<u64, Kept>,
    /// Until when somebody else is connected.
    pub(crate) stranger_until: Duration,
    /// Whether somebody holds a lock on a table until then.
    pub(crate) locked_until: Duration,
    /// Whether it is on what the second revision of several changes, and not the first.
    pub(crate) locked_halfway: bool,
    counted_at: Duration,
}

impl Data {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            migrates: false,
            by_itself: false,
            one_way: false,
            stays: Stays::None,
            manual: String::new(),
            restores: RestoreBackup::Ask,
            checks: "",
            dice: Dice::new(seed ^ 0x5f3a_91c2_77d0_1b4e),
            scripts: BTreeMap::new(),
            open: true,
            scars: 0,
            spoilt: 0,
            lost: 0,
            rows: Duration::ZERO,
            beside: BTreeMap::new(),
            cells: Cells::new(),
            written_by: BTreeMap::new(),
            kept_rows: BTreeMap::new(),
            backups: BTreeMap::new(),
            stranger_until: Duration::ZERO,
            locked_until: Duration::ZERO,
            locked_halfway: false,
            counted_at: Duration::ZERO,
        }
    }
}

impl Data {
    /// The newest backup that was restored once.
    pub(crate) fn newest_proven(&self) -> Option<BackupId> {
        let proven = self.backups.values().filter(|kept| kept.proven);
        proven.map(|kept| kept.manifest.id.clone()).max()
    }
}

/// The revision of this number; none is before the first.
pub(crate) fn at(number: u64) -> SchemaHead {
    let revision = (number > 0).then(|| revision(number));
    SchemaHead::At(revision.into_iter().collect())
}

fn revision(number: u64) -> Revision {
    format!("r{number}").parse().expect("a revision")
}

/// The number of a head; `None`: somebody has moved it to where no image knows it.
pub(crate) fn number(head: &SchemaHead) -> Option<u64> {
    match head {
        SchemaHead::NoTable => Some(0),
        SchemaHead::At(revisions) => match revisions.first() {
            None => Some(0),
            Some(revision) => revision.as_str().strip_prefix('r')?.parse().ok(),
        },
    }
}

impl World {
    pub(crate) fn content(&self) -> Content {
        Content {
            head: self.schema.clone(),
            scars: self.data.scars,
            spoilt: self.data.spoilt,
            lost: self.data.lost,
            rows: self.data.rows,
            cells: self.data.cells.clone(),
        }
    }

    /// A column is there as long as its revision is, and is empty at first.
    pub(crate) fn settle_cells(&mut self) {
        let head = number(&self.schema).unwrap_or(0);
        let cells = &mut self.data.cells;
        cells.retain(|revision, _| *revision <= head);
        // Of a column that goes nobody has written to the next one.
        self.data.written_by.retain(|revision, _| *revision <= head);
        for revision in 1..=head {
            cells.entry(revision).or_insert(0);
        }
    }

    /// How many migrations have lost rows of the database, which is open, or of one beside it.
    fn looked_into(&self, of: Option<&PgName>) -> Result<u64, DatabaseError> {
        match of {
            None if !self.data.open => Err(Server::closed()),
            None => Ok(self.data.lost),
            Some(beside) => {
                let found = self.data.beside.get(beside.as_str());
                Ok(found.ok_or_else(|| not_there(beside))?.content.lost)
            }
        }
    }

    fn put_content(&mut self, content: Content) {
        self.schema = content.head;
        self.data.scars = content.scars;
        self.data.spoilt = content.spoilt;
        self.data.lost = content.lost;
        self.data.rows = content.rows;
        self.data.cells = content.cells;
        self.data.written_by.clear();
    }

    /// `new` takes the name of the database, which goes by the name `aside` from now on.
    fn change_hands(
        &mut self,
        new: &PgName,
        aside: &PgName,
        operation: u64,
        kind: CopyKind,
    ) -> Result<(), DatabaseError> {
        if self.data.open {
            return Err(DatabaseError::InUse {
                said: String::from("it is being accessed by other users"),
                by: vec![stranger()],
            });
        }
        let found = self
            .data
            .beside
            .get(new.as_str())
            .filter(|found| found.kind == kind);
        let Some(found) = found.cloned() else {
            return Err(not_there(new));
        };
        let before = Beside {
            content: self.content(),
            operation,
            kind: CopyKind::Aside,
        };
        self.data.beside.remove(new.as_str());
        self.data.beside.insert(aside.as_str().to_owned(), before);
        self.put_content(found.content);
        Ok(())
    }

    /// What `api` has written since this was asked last.
    pub(crate) fn settle_rows(&mut self) {
        let since = std::mem::replace(&mut self.data.counted_at, self.now);
        let writes = self.data.open && self.runs("db");
        if writes && self.runs("api") {
            self.data.rows += self.now.saturating_sub(since);
        }
        self.settle_cells();
        if !writes || !self.data.cells.values().any(|cell| *cell == 0) {
            return;
        }
        // A release writes to the columns that it knows.
        let knows = self.containers.iter().filter_map(|(id, c)| {
            let writes = c.runs() && !c.oneoff && c.service.as_str() == "api";
            let scripts = self.data.scripts.get(&c.image).filter(|_| writes)?;
            Some((scripts.newest, id.clone()))
        });
        let Some((knows, by)) = knows.max() else { return };
        let value = u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX).max(1);
        for (revision, cell) in &mut self.data.cells {
            if *cell == 0 && *revision <= knows {
                *cell = value;
                self.data.written_by.insert(*revision, by.clone());
            }
        }
    }

    /// Whether a container of this service of ours runs.
    pub(crate) fn runs(&self, service: &str) -> bool {
        self.containers
            .values()
            .any(|c| c.runs() && !c.oneoff && c.service.as_str() == service && c.is_of("shop"))
    }

    /// What an image needs of the schema that is not there.
    pub(crate) fn lacks(&self, image: &ImageId) -> Option<String> {
        let needs = self.data.scripts.get(image)?.newest;
        let is = number(&self.schema)?;
        (self.data.migrates && is < needs)
            .then(|| format!("api: status 500, the schema stands at r{is} instead of r{needs}"))
    }

    /// The migrations of a new image of `api`.
    pub(crate) fn write_scripts(&mut self, image: &ImageId, newest: u64) {
        // What a way up has written to rows is in the backup alone, and nobody looks for it.
        let fate = |dice: &mut Dice, well: u32, rows: u32| {
            dice.weighted(&[
                (well, Fate::Well),
                (2, Fate::Fails),
                (1, Fate::Halfway),
                (1, Fate::Scars),
                (rows, Fate::Rows),
                (1, Fate::Hangs),
            ])
        };
        // Where the operator has provided for it, that is needed now and then.
        let provided = self.data.restores == RestoreBackup::Allow || !self.data.manual.is_empty();
        let down = if provided { 2 } else { 20 };
        let (mut up, mut down) = (
            fate(&mut self.data.dice, 20, 0),
            fate(&mut self.data.dice, down, 1),
        );
        match newest % 4 {
            1 if !self.data.checks.is_empty() && up == Fate::Well => up = Fate::Loses,
            2 if !self.data.checks.is_empty() && down == Fate::Well => down = Fate::Loses,
            _ => {}
        }
        let scripts = Scripts { newest, up, down };
        self.data.scripts.insert(image.clone(), scripts);
        if self.data.migrates {
            self.note(format!("image {} has {scripts:?}", image.short()));
        }
    }

    /// How long a command takes.
    pub(crate) fn takes(&self, call: &OneOffCall) -> Duration {
        let scripts = self.data.scripts.get(&call.image);
        let fate = scripts.map(|scripts| match word(call) {
            "upgrade" => scripts.up,
            "downgrade" => scripts.down,
            _ => Fate::Well,
        });
        match fate {
            Some(Fate::Hangs) => Duration::from_secs(7 * 24 * 3600),
            Some(_) => MIGRATING,
            None => self.commands.takes,
        }
    }

    /// Where `api` migrates by itself it does so as it starts, and does not come up where that fails.
    pub(crate) fn migrates_as_it_starts(&mut self, id: &ContainerId) {
        let Some(container) = self.containers.get(id).filter(|_| self.data.by_itself) else {
            return;
        };
        let ours = container.project.as_ref().map(StackName::as_str) == Some("shop");
        if !ours || container.oneoff || container.service.as_str() != "api" {
            return;
        }
        let call = OneOffCall {
            name: container.name.clone(),
            service: container.service.clone(),
            image: container.image.clone(),
            command: ["alembic", "upgrade", "heads"].map(String::from).into(),
            env: BTreeMap::new(),
            operation: 0,
            conf: None,
        };
        let before = number(&self.schema);
        let ran = self.alembic(&call);
        if number(&self.schema) != before {
            self.note(format!(
                "      {} has brought the schema to {:?}",
                call.name, self.schema
            ));
        }
        if ran.code != 0 {
            self.note(format!("      {} cannot migrate: {}", call.name, ran.stdout));
            self.exits(id, 1);
        }
    }

    /// What the tool of this story prints of so many revisions.
    fn history(&self, newest: u64) -> String {
        let parent = |n: u64, none: &str| {
            if n > 1 {
                format!("r{}", n - 1)
            } else {
                none.to_owned()
            }
        };
        if self.data.one_way {
            let of = |n: u64| {
                let back = if is_one_way(n) { " (one way)" } else { "" };
                format!("r{n} <- {}{back}\n", parent(n, ""))
            };
            return (1..=newest).map(of).collect();
        }
        let of = |n: u64| {
            let parent = parent(n, "<base>");
            format!("Rev: r{n}\nParent: {parent}\nPath: /r{n}.py\n\n    something\n\n")
        };
        (1..=newest).rev().map(of).collect()
    }

    /// A command of the migration tool.
    pub(crate) fn alembic(&mut self, call: &OneOffCall) -> Ran {
        let said = |code, words: &str| Ran {
            code,
            stdout: words.to_owned(),
            stderr: String::new(),
        };
        let Some(scripts) = self.data.scripts.get(&call.image).copied() else {
            return said(255, "FAILED: No 'script_location' key found in configuration");
        };
        if word(call) == "downgrade" && call.command.iter().any(|word| word == "--sql") {
            let of = |n: u64| {
                format!(
                    "-- Running downgrade r{n} -> \n\nALTER TABLE t DROP COLUMN c{n};\n\nDELETE FROM alembic_version;\n\n"
                )
            };
            return said(0, &(1..=scripts.newest).rev().map(of).collect::<String>());
        }
        if word(call) == "history" {
            return said(0, &self.history(scripts.newest));
        }
        if !self.runs("db") {
            return said(1, "connection to server failed: Connection refused");
        }
        if !self.data.open {
            return said(1, "database \"shop\" is not currently accepting connections");
        }
        let is_locked = self.now < self.data.locked_until;
        if is_locked && !(self.data.locked_halfway && word(call) == "upgrade") {
            return said(1, "canceling statement due to lock timeout");
        }
        let Some(is) = number(&self.schema).filter(|is| *is <= scripts.newest) else {
            return said(255, "FAILED: Can't locate revision");
        };
        let to = match call.command.last().map(String::as_str) {
            Some("heads") => scripts.newest,
            Some("base") => 0,
            Some(name) => match name.strip_prefix('r').and_then(|n| n.parse().ok()) {
                Some(number) if number <= scripts.newest => number,
                _ => return said(255, "FAILED: Can't locate revision"),
            },
            None => return said(2, "usage"),
        };
        let (up, fate) = match word(call) {
            "upgrade" => (true, scripts.up),
            _ => (false, scripts.down),
        };
        if up == (to < is) && to != is {
            return said(255, "FAILED: Relative revision is not that way");
        }
        if !up && self.data.one_way && (to + 1..=is).any(is_one_way) {
            return said(1, "IrreversibleError: nothing takes it back");
        }
        if is_locked && to != is {
            // The first has been committed by then, and the next one is not begun.
            self.schema = at((is + 1).min(2).max(is));
            self.settle_cells();
            return said(1, "canceling statement due to lock timeout");
        }
        // A script that is broken is one of the newest.
        let fate = if is.max(to) == scripts.newest && is != to {
            fate
        } else {
            Fate::Well
        };
        match fate {
            Fate::Well | Fate::Loses => {
                if fate == Fate::Loses {
                    self.data.lost += 1;
                    self.note("      it has lost rows");
                }
                self.schema = at(to);
                self.settle_cells();
                said(0, "")
            }
            Fate::Halfway => {
                self.schema = at(if up { is + 1 } else { is.saturating_sub(1) });
                self.settle_cells();
                self.note("      half of it was done");
                said(1, "RuntimeError: it was the second one")
            }
            Fate::Scars => {
                self.data.scars += 1;
                self.note("      it left something behind");
                said(1, "RuntimeError: after the index was built")
            }
            Fate::Rows => {
                self.data.spoilt += 1;
                self.note("      it has changed rows");
                said(1, "RuntimeError: after the rows were written")
            }
            Fate::Fails | Fate::Hangs => said(1, "RuntimeError: no"),
        }
    }
}

fn word(call: &OneOffCall) -> &str {
    call.command.get(1).map_or("", String::as_str)
}

/// What the agent does to the database as a whole.
pub(crate) struct Server {
    pub(crate) world: Shared,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) agent: String,
}

impl Server {
    /// Looks, or does something that a law looks at first.
    async fn call<T>(
        &self,
        place: &'static str,
        at: Place<'_>,
        change: Option<Call<'_>>,
        takes: Duration,
        effect: impl FnOnce(&mut World) -> Result<T, DatabaseError> + Send,
    ) -> Result<T, DatabaseError> {
        tokio::time::sleep(Duration::from_millis(4) + takes).await;
        let mut world = lock(&self.world);
        world.settle(self.clocks.elapsed());
        let away = |words: &str| Err(DatabaseError::Unknown(words.to_owned()));
        let dies = world.dies(&[place]);
        if dies == Some(false) {
            drop(world);
            kill();
        }
        if at.address.is_none() || !world.runs("db") {
            return away("the database does not answer");
        }
        let silent = world.faults.silent;
        if world.data.dice.in_thousand(silent) {
            world.injected("database: down", format!("THE DATABASE IS SILENT: {place}"));
            return away("the database does not answer");
        }
        if let Some(call) = change {
            world.changing(&self.agent, &call);
            world.changes += 1;
            let words = call.to_string();
            world.note(words);
        }
        let done = effect(&mut world);
        if dies.is_some() {
            drop(world);
            kill();
        }
        if world.data.dice.in_thousand(silent) {
            world.injected("database: hangs up", format!("NO ANSWER: {place}"));
            return away("the connection ended in the middle of an answer");
        }
        done
    }

    fn closed() -> DatabaseError {
        DatabaseError::Other {
            said: String::from("database \"shop\" is not currently accepting connections"),
            code: Some(String::from("55000")),
        }
    }
}

/// The lock around migrations; nobody else takes it here.
struct Held;

#[async_trait]
impl Guard for Held {
    fn is_held(&self) -> bool {
        true
    }

    async fn release(self: Box<Self>) {}
}

fn stranger() -> Session {
    Session {
        pid: 77,
        application: String::from("cron"),
        user: String::from("reports"),
        client: None,
    }
}

const SHORT: Duration = Duration::ZERO;

/// Nobody asks how large it is, or how long it took.
const MADE: Made = Made {
    bytes: 0,
    took: Duration::ZERO,
};

#[async_trait]
impl Maintenance for Server {
    async fn close(&self, place: Place<'_>, _: Duration) -> Result<Vec<Session>, DatabaseError> {
        let call = Some(Call::CloseDatabase);
        self.call("close database", place, call, SHORT, |world| {
            world.settle_rows();
            world.data.open = false;
            let there = world.now < world.data.stranger_until;
            world.data.stranger_until = Duration::ZERO;
            Ok(if there { vec![stranger()] } else { Vec::new() })
        })
        .await
    }

    async fn open(&self, place: Place<'_>, _: Duration) -> Result<(), DatabaseError> {
        let call = Some(Call::OpenDatabase);
        self.call("open database", place, call, SHORT, |world| {
            world.settle_rows();
            world.data.open = true;
            Ok(())
        })
        .await
    }

    async fn sessions(&self, place: Place<'_>, _: Duration) -> Result<Vec<Session>, DatabaseError> {
        self.call("list sessions", place, None, SHORT, |world| {
            let there = world.now < world.data.stranger_until;
            Ok(if there { vec![stranger()] } else { Vec::new() })
        })
        .await
    }

    async fn obstacles(&self, place: Place<'_>, _: Duration) -> Result<Vec<Obstacle>, DatabaseError> {
        self.call("list obstacles", place, None, SHORT, |_| Ok(Vec::new()))
            .await
    }

    async fn copy(
        &self,
        place: Place<'_>,
        name: &PgName,
        operation: u64,
        _: Duration,
    ) -> Result<Made, DatabaseError> {
        let call = Some(Call::CopyDatabase);
        self.call("copy database", place, call, COPYING, |world| {
            if world.data.beside.contains_key(name.as_str()) {
                return Ok(MADE);
            }
            if world.data.open {
                return Err(DatabaseError::InUse {
                    said: String::from("it is being accessed by other users"),
                    by: vec![stranger()],
                });
            }
            let copy = Beside {
                content: world.content(),
                operation,
                kind: CopyKind::Copy,
            };
            world.data.beside.insert(name.as_str().to_owned(), copy);
            Ok(MADE)
        })
        .await
    }

    async fn put_back(
        &self,
        place: Place<'_>,
        copy: &PgName,
        aside: &PgName,
        operation: u64,
        _: Duration,
    ) -> Result<(), DatabaseError> {
        let call = Some(Call::PutBack);
        self.call("put back database", place, call, COPYING, |world| {
            if world.data.beside.contains_key(aside.as_str()) {
                return Ok(());
            }
            let Some(from) = world.data.beside.get(copy.as_str()).cloned() else {
                return Err(DatabaseError::Other {
                    said: format!("\"{copy}\" is no whole copy"),
                    code: None,
                });
            };
            let before = Beside {
                content: world.content(),
                operation,
                kind: CopyKind::Aside,
            };
            world.data.beside.insert(aside.as_str().to_owned(), before);
            world.put_content(from.content);
            world.data.open = false;
            Ok(())
        })
        .await
    }

    async fn take_place(
        &self,
        place: Place<'_>,
        restored: &PgName,
        before: &PgName,
        operation: u64,
        _: Duration,
    ) -> Result<(), DatabaseError> {
        let call = Some(Call::TakePlace);
        self.call("take place", place, call, SHORT, |world| {
            world.settle_rows();
            if world.data.beside.contains_key(before.as_str()) {
                return Ok(());
            }
            world.change_hands(restored, before, operation, CopyKind::Restored)
        })
        .await
    }

    async fn give_back(
        &self,
        place: Place<'_>,
        restored: &PgName,
        before: &PgName,
        operation: u64,
        _: Duration,
    ) -> Result<(), DatabaseError> {
        let call = Some(Call::GiveBack);
        self.call("give back", place, call, SHORT, |world| {
            world.settle_rows();
            if !world.data.beside.contains_key(before.as_str()) {
                return Ok(());
            }
            world.change_hands(before, restored, operation, CopyKind::Aside)
        })
        .await
    }

    async fn drop_copy(&self, place: Place<'_>, name: &PgName, _: Duration) -> Result<(), DatabaseError> {
        let call = Some(Call::DropCopy(name.as_str()));
        self.call("drop copy", place, call, SHORT, |world| {
            world.data.beside.remove(name.as_str());
            Ok(())
        })
        .await
    }

    async fn copies(&self, place: Place<'_>, _: Duration) -> Result<Vec<DatabaseCopy>, DatabaseError> {
        self.call("list copies", place, None, SHORT, |world| {
            let all = world.data.beside.iter();
            let all = all.map(|(found, beside)| DatabaseCopy {
                name: name(found),
                of: name("postgres"),
                kind: Some(beside.kind),
                bytes: 1 << 30,
                complete: true,
            });
            Ok(all.collect())
        })
        .await
    }

    async fn size(&self, place: Place<'_>, _: Duration) -> Result<u64, DatabaseError> {
        // Nothing follows from it: nobody has to wait for it, or to do without.
        let _ = place;
        Ok(1 << 30)
    }

    async fn fingerprint(&self, place: Place<'_>, _: Duration) -> Result<Digest, DatabaseError> {
        self.call("read fingerprint", place, None, SHORT, |world| {
            if !world.data.open {
                return Err(Self::closed());
            }
            let text = format!("{:?} {}", number(&world.schema), world.data.scars);
            Ok(Digest::of(text.as_bytes()))
        })
        .await
    }

    async fn tally(
        &self,
        place: Place<'_>,
        of: Option<&PgName>,
        _: Duration,
    ) -> Result<Tally, DatabaseError> {
        self.call("count rows", place, None, SHORT, |world| {
            world.settle_rows();
            world.looked_into(of)?;
            let rows = world.data.rows.as_secs();
            Ok(Tally::of(&BTreeMap::from([(String::from("orders"), rows)])))
        })
        .await
    }

    async fn ask(
        &self,
        place: Place<'_>,
        of: Option<&PgName>,
        questions: &[Check],
    ) -> Result<Answers, DatabaseError> {
        self.call("ask checks", place, None, SHORT, |world| {
            let answer = match world.looked_into(of)? {
                0 => Answer::Holds,
                _ => Answer::Differs,
            };
            let all = questions.iter();
            Ok(all
                .map(|question| (question.name.clone(), answer.clone()))
                .collect())
        })
        .await
    }

    async fn checksums(
        &self,
        _: Place<'_>,
        _: Duration,
    ) -> Result<BTreeMap<String, Checksum>, DatabaseError> {
        Ok(BTreeMap::new())
    }

    async fn has_rows_of(&self, place: Place<'_>, copy: &PgName, _: Duration) -> Result<bool, DatabaseError> {
        self.call("compare rows", place, None, COPYING, |world| {
            if !world.data.open {
                return Err(Self::closed());
            }
            let then = world.data.beside.get(copy.as_str()).cloned();
            let then = then.ok_or_else(|| not_there(copy))?.content;
            Ok((then.rows, then.spoilt, &then.cells)
                == (world.data.rows, world.data.spoilt, &world.data.cells))
        })
        .await
    }

    async fn apply_sql(
        &self,
        place: Place<'_>,
        parts: &[ManualDown],
        to: &SchemaHead,
        _: Duration,
    ) -> Result<(), DatabaseError> {
        let call = Some(Call::ApplySql);
        let fails = parts.iter().any(|part| part.sql.as_str().contains(NO_SQL));
        self.call("apply sql", place, call, SHORT, |world| {
            if !world.data.open {
                return Err(Self::closed());
            }
            if world.now < world.data.locked_until {
                return Err(DatabaseError::InUse {
                    said: String::from("canceling statement due to lock timeout"),
                    by: vec![stranger()],
                });
            }
            if fails {
                return Err(DatabaseError::Other {
                    said: String::from("relation \"none\" does not exist"),
                    code: Some(String::from("42P01")),
                });
            }
            world.schema = to.clone();
            world.settle_cells();
            Ok(())
        })
        .await
    }

    async fn lock(&self, place: Place<'_>, _: Duration) -> Result<Box<dyn Guard>, DatabaseError> {
        self.call("lock migrations", place, None, SHORT, |world| {
            if world.data.open {
                Ok(Box::new(Held) as Box<dyn Guard>)
            } else {
                Err(Self::closed())
            }
        })
        .await
    }
}

#[async_trait]
impl Rows for Server {
    async fn save(
        &self,
        taken: Taken<'_>,
        _: &TakenBack,
        _: &[PreserveSettings],
        _: Duration,
    ) -> Result<Saved, BackupError> {
        let copy = copy_name(&name("postgres"), taken.of);
        let kept = self.call("save rows", taken.place, None, SHORT, |world| {
            world.settle_cells();
            let now = world.data.cells.clone();
            let kept = world.data.kept_rows.entry(taken.of);
            let beside = world.data.beside.get(copy.as_str());
            let gone = |(revision, cell): &(&u64, &u64)| **cell > 0 && !now.contains_key(revision);
            let kept = kept.or_insert_with(|| {
                let then = beside.map(|copy| copy.content.cells.clone()).unwrap_or_default();
                then.iter()
                    .filter(gone)
                    .map(|(revision, cell)| (*revision, *cell))
                    .collect()
            });
            Ok(kept.len())
        });
        Ok(Saved {
            lines: Vec::new(),
            rows: u64::try_from(kept.await?).unwrap_or(u64::MAX),
            seen: None,
        })
    }

    async fn put_in(
        &self,
        taken: Taken<'_>,
        before: Option<&PutIn>,
        when: When,
        _: Duration,
    ) -> Result<PutIn, BackupError> {
        let mut put_in = before.cloned().unwrap_or_default();
        let waiting = std::mem::take(&mut put_in.waiting);
        let change = Some(Call::PutIn(taken.of));
        let put = self.call("put rows in", taken.place, change, SHORT, |world| {
            if !world.data.open {
                return Err(Self::closed());
            }
            world.settle_rows();
            let kept = world.data.kept_rows.get(&taken.of).cloned().unwrap_or_default();
            let waits = |revision: &u64| before.is_none() || waiting.contains(&revision.to_string());
            for (revision, value) in kept.into_iter().filter(|(revision, _)| waits(revision)) {
                match world.data.cells.get_mut(&revision) {
                    Some(cell) if *cell == 0 => {
                        *cell = value;
                        world.data.written_by.remove(&revision);
                        put_in.restored += 1;
                    }
                    Some(cell) if *cell == value => {}
                    Some(_) => put_in.conflicting += 1,
                    None if !when.last => put_in.waiting.push(revision.to_string()),
                    None => put_in.skipped += 1,
                }
            }
            Ok(put_in)
        });
        Ok(put.await?)
    }

    fn keep_only(&self, _: &StackName, of: &BTreeSet<u64>) -> Result<(), BackupError> {
        lock(&self.world)
            .data
            .kept_rows
            .retain(|operation, _| of.contains(operation));
        Ok(())
    }
}

#[async_trait]
impl Backups for Server {
    async fn make(&self, source: Source<'_>, ask: &Ask, _: Tell<'_>) -> Result<Manifest, BackupError> {
        let (ask, stack) = (ask.clone(), source.stack.clone());
        let now = Timestamp::from_millisecond(self.clocks.now().wall_ms).unwrap_or_default();
        let call = Some(Call::BackUp);
        Ok(self
            .call("back up", source.place, call, COPYING, |world| {
                let content = match &ask.copy {
                    None if !world.data.open => return Err(Self::closed()),
                    None => world.content(),
                    Some(copy) => match world.data.beside.get(copy.as_str()) {
                        Some(copy) => copy.content.clone(),
                        None => return Err(not_there(copy)),
                    },
                };
                let kept = world.data.backups.entry(ask.operation).or_insert_with(|| Kept {
                    manifest: manifest(stack, &ask, content.head.clone(), now),
                    content,
                    proven: false,
                });
                Ok(kept.manifest.clone())
            })
            .await?)
    }

    async fn verify(
        &self,
        source: Source<'_>,
        id: &BackupId,
        how: How,
        _: Tell<'_>,
        _: Duration,
    ) -> Result<Verified, BackupError> {
        let operation = id.operation();
        let verified = Verified {
            how,
            at: Timestamp::from_millisecond(self.clocks.now().wall_ms).unwrap_or_default(),
            took: COPYING,
            tables: 1,
            rows: Some(1),
        };
        let call = Some(Call::Verify);
        self.call("verify backup", source.place, call, COPYING, |world| {
            let kept = world.data.backups.get_mut(&operation);
            let kept = kept.ok_or_else(|| not_there(&name("backup")))?;
            kept.proven = true;
            kept.manifest.verified = Some(verified.clone());
            Ok(())
        })
        .await?;
        Ok(verified)
    }

    async fn restore_into(
        &self,
        source: Source<'_>,
        dump: Dump<'_>,
        operation: u64,
        _: Tell<'_>,
        _: Duration,
    ) -> Result<Restored, BackupError> {
        let call = Some(Call::RestoreBeside);
        let database = restored_name(&source.place.database()?, operation);
        let of = match dump {
            Dump::Backup(id) => id.operation(),
            Dump::File(_) => return Err(BackupError::NoTool(String::from("nobody has files here"))),
        };
        let head = self
            .call("restore beside", source.place, call, COPYING, |world| {
                let kept = world.data.backups.get(&of);
                let content = kept.ok_or_else(|| not_there(&database))?.content.clone();
                let head = content.head.clone();
                let beside = Beside {
                    content,
                    operation,
                    kind: CopyKind::Restored,
                };
                let there = world.data.beside.entry(database.as_str().to_owned());
                there.or_insert(beside);
                Ok(head)
            })
            .await?;
        Ok(Restored {
            database,
            tables: 1,
            rows: 1,
            head,
        })
    }

    fn list(&self, _: &StackName) -> Result<Listing, BackupError> {
        let world = lock(&self.world);
        let mut backups: Vec<Manifest> = world
            .data
            .backups
            .values()
            .map(|kept| kept.manifest.clone())
            .collect();
        backups.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Listing {
            backups,
            damaged: Vec::new(),
        })
    }

    async fn remove(&self, _: &StackName, id: &BackupId) -> Result<(), BackupError> {
        lock(&self.world).data.backups.remove(&id.operation());
        Ok(())
    }

    async fn hand_on(&self, _: &StackName, _: u64, _: &[String], _: Duration) -> Result<(), String> {
        Ok(())
    }

    async fn clean(&self, _: Source<'_>, _: Duration) -> Result<(), BackupError> {
        Ok(())
    }
}

fn manifest(stack: StackName, ask: &Ask, head: SchemaHead, begun: Timestamp) -> Manifest {
    Manifest {
        id: id_of(begun, ask.operation),
        stack,
        database: name("postgres"),
        copy: ask.copy.clone(),
        counted: Census {
            tables: BTreeMap::new(),
            large_objects: 0,
            head,
        },
        why: ask.why,
        format: Format::Custom,
        made_by: String::new(),
        bytes: 1 << 20,
        sha256: Digest::of(b"dump"),
        database_bytes: 1 << 30,
        begun,
        took: COPYING,
        verified: None,
    }
}

fn not_there(name: &PgName) -> DatabaseError {
    DatabaseError::Other {
        said: format!("\"{name}\" is not there"),
        code: None,
    }
}

fn name(text: &str) -> PgName {
    text.parse().expect("a name")
}
