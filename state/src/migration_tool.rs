//! What moves a schema, and how it is called. All that tells one tool from another is a value here ([`Commands`]): whoever
//! calls it, reads it or asks the database asks that, and never which tool it is.

mod presets;
mod printed;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bug::{self, Bug};
use crate::desired::MigrationWish;
use crate::kept_schema::Declared;
use crate::last_resort::RestoreBackup;
use crate::migrations::{History, VersionRows};
use crate::name::{Digest, ImageId, Revision, ServiceName};
use crate::observed::SchemaHead;
use crate::schema_fit::head;

pub use printed::{Printed, Unreadable};

/// In an argument, where the schema is to go.
pub const REVISION: &str = "{revision}";
/// In a query, where the version table is.
pub const TABLE: &str = "{table}";

/// How long a command that only reads the scripts of an image may take.
const READ_WITHIN: Duration = Duration::from_secs(120);
/// So much of an argument is told.
const TOLD: usize = 60;

/// Who brings the schema up to a new release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpgradeBy {
    /// The agent, before the new containers start.
    #[default]
    Agent,
    /// The stack itself, as its containers start: the agent only goes back.
    Stack,
}

/// `[stack.NAME.database.migrations]`, as far as it says how the schema is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationTool {
    /// The service whose image has the scripts, and whose environment reaches the database.
    pub service: ServiceName,
    /// How it is called.
    pub commands: Commands,
    /// Where it is run; `None`: where the service runs.
    pub workdir: Option<String>,
    /// How long one command may take.
    pub timeout: Duration,
    /// How long a statement may wait for a lock that somebody else holds.
    pub lock_timeout: Duration,
    /// Who upgrades.
    pub upgrade: UpgradeBy,
    /// What leads back where the tool does not.
    pub beside: Beside,
    /// What is declared of its revisions.
    pub declared: Declared,
}

/// What leads back where the tool does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beside {
    /// The revisions that the operator has SQL for.
    pub by_hand: BTreeSet<Revision>,
    /// Whether a backup may be gone back to.
    pub backup: RestoreBackup,
}

/// All that tells one tool from another: the commands, and how the database is asked how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// Says what revisions there are, without a database.
    pub history: Vec<String>,
    /// What that prints.
    pub prints: Printed,
    /// What it asks the database, and what the answer says.
    pub version: VersionTable,
    /// Brings the schema up to all that there is. `None`: nobody asks it to.
    pub upgrade: Option<Vec<String>>,
    /// Brings it up to [`REVISION`]. `None`: it has no word for that.
    pub upgrade_to: Option<Vec<String>>,
    /// Takes it back to [`REVISION`].
    pub downgrade: Vec<String>,
    /// How [`REVISION`] is said.
    pub goes: Goes,
    /// What it calls a schema with nothing applied.
    pub base: &'static str,
    /// Writes the SQL of the way back from the newest revision to the first, without a database, each revision after a
    /// line of `-- Running downgrade REVISION -> `. `None`: it has no word for that.
    pub way_back: Option<Vec<String>>,
    /// Why a revision may have no way back.
    pub one_way: &'static str,
}

/// How a head is said to a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goes {
    /// To one revision.
    ToOne,
    /// To all of them, with commas between.
    ToAll,
    /// Of each group that is crossed to the revision that it is to stand at, with commas between. A group is what
    /// stands before the first full stop: the application, where a project has several.
    ToOneOfEach,
    /// Back over all revisions down to this one, and this one too.
    Over,
}

/// How the database is asked how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionTable {
    /// A query of one column, a row for each revision; [`TABLE`] is the table.
    pub query: String,
    /// What the rows are.
    pub rows: VersionRows,
    /// How a revision that other means than the tool have taken back is written down as such.
    pub forget: Forget,
}

/// How the version table is brought to say that revisions were taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forget {
    /// This column has the heads: all rows are written anew.
    Rewrite(&'static str),
    /// This expression gives the revision of a row, and the row goes.
    Delete(&'static str),
    /// Nobody knows: whoever takes them back does that too.
    Nothing,
}

/// One command of the tool, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The service that it is run as.
    pub service: ServiceName,
    /// The image that has the scripts.
    pub image: ImageId,
    /// The command.
    pub command: Vec<String>,
    /// Where it is run; `None`: where the service runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// How long it may take.
    pub within: Duration,
    /// How long a statement may wait for a lock that somebody else holds.
    pub lock_timeout: Duration,
}

impl Migration {
    /// The command, for people: of a script the beginning.
    pub fn words(&self) -> String {
        let words = self.command.iter().map(|word| {
            let line = word.lines().find(|line| !line.trim().is_empty());
            let told: String = line.unwrap_or_default().chars().take(TOLD).collect();
            if told.len() == word.len() {
                told
            } else {
                format!("{told}…")
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

impl MigrationTool {
    /// Reads all revisions out of `image`, without a database.
    pub fn history(&self, image: &ImageId) -> Migration {
        self.reading(image, &self.commands.history)
    }

    /// All that says how an image is read, and what it says: where any of it is another one, it is read again.
    pub fn reader(&self) -> Digest {
        let Commands {
            history,
            prints,
            version,
            way_back,
            ..
        } = &self.commands;
        let reader = (&self.workdir, history, prints, version.rows, way_back);
        Digest::of(&serde_json::to_vec(&reader).expect("words are plain data"))
    }

    /// Writes, without a database, what it would do on its way back from the newest revision to the first. `None`: it has
    /// no word for it.
    pub fn way_back(&self, image: &ImageId) -> Option<Migration> {
        let command = self.commands.way_back.as_ref()?;
        Some(self.reading(image, command))
    }

    /// Where the schema stands when what is asked for is applied. `is`, `runs`: where it stands, and what the release that
    /// runs has, as far as that is known.
    pub fn wanted(
        &self,
        wish: &MigrationWish,
        history: &History,
        is: Option<&SchemaHead>,
        runs: Option<&History>,
    ) -> Result<SchemaHead, String> {
        let in_groups = self.commands.goes == Goes::ToOneOfEach;
        match wish {
            MigrationWish::Revision(revision) if in_groups => Err(format!(
                "{revision} says of one application alone where it is to stand"
            )),
            MigrationWish::Revision(revision) => history.at(revision).map_err(|why| why.to_string()),
            MigrationWish::Release | MigrationWish::Head => {
                let mut all = history.heads();
                if let Some(SchemaHead::At(revisions)) = is.filter(|_| in_groups) {
                    // An application that was taken out of the project has left its rows behind, and nobody has its scripts.
                    let known = |revision: &Revision| {
                        let mut of = [Some(history), runs].into_iter().flatten();
                        of.any(|history| history.revisions().any(|one| group(one) == group(revision)))
                    };
                    all.extend(revisions.iter().filter(|revision| !known(revision)).cloned());
                }
                Ok(SchemaHead::At(all))
            }
        }
    }

    /// Brings the schema up to `to`. `Err`: why the tool has no word for it.
    pub fn upgrade(
        &self,
        image: &ImageId,
        history: &History,
        to: &SchemaHead,
        crossed: &[Revision],
    ) -> Result<Migration, String> {
        let none = BTreeSet::new();
        let revisions = match to {
            SchemaHead::NoTable => &none,
            SchemaHead::At(revisions) => revisions,
        };
        let heads = history.heads();
        let is_all = !heads.is_empty() && heads.is_subset(revisions);
        let tips = history.tips(to);
        let whole = self.commands.upgrade.as_ref().filter(|_| is_all);
        let command = match (whole.or(self.commands.upgrade_to.as_ref()), self.upgrade) {
            (Some(command), _) => command,
            // It is called by nobody.
            (None, UpgradeBy::Stack) => &Vec::new(),
            (None, UpgradeBy::Agent) => {
                return Err(format!(
                    "the tool goes up to all that there is, and not to {}",
                    head(to)
                ));
            }
        };
        if !is_all && self.commands.version.rows == VersionRows::Applied {
            let with_it = history.closure(&tips).map_err(|why| why.to_string())?;
            if let Some(more) = with_it.difference(revisions).next() {
                return Err(format!(
                    "the tool would apply {more} on its way, which is not wanted"
                ));
            }
        }
        // Up it goes to where it is to stand.
        let goes = match self.commands.goes {
            Goes::Over => Goes::ToOne,
            goes => goes,
        };
        self.call(image, command, || self.aim(goes, history, to, crossed))
    }

    /// Why nothing takes back what is crossed: neither the tool, nor SQL of the operator's for all of it. `None`: one may.
    pub fn one_way(&self, history: &History, crossed: &[Revision]) -> Option<String> {
        let by_hand = |revision| self.beside.by_hand.contains(revision);
        if crossed.iter().all(by_hand) || bug::is(Bug::OneWayIsNotAsked) {
            return None;
        }
        let mut all = crossed.iter();
        let first = all.find(|revision| history.one_way().contains(*revision))?;
        Some(format!("{first} cannot be taken back: {}", self.commands.one_way))
    }

    /// A way that no command of the tool goes.
    pub fn nobody(&self, image: &ImageId) -> Migration {
        self.whole(image, Vec::new())
    }

    /// Takes the schema back to `to`, over all that is crossed. `Err`: why the tool has no word for it.
    pub fn downgrade(
        &self,
        image: &ImageId,
        history: &History,
        to: &SchemaHead,
        crossed: &[Revision],
    ) -> Result<Migration, String> {
        let tips = history.tips(to);
        let below = history.closure(&tips).map_err(|why| why.to_string())?;
        if let Some(older) = crossed.iter().find(|revision| below.contains(*revision)) {
            return Err(format!(
                "{older} comes before what is to stay: the tool takes back only what comes after it"
            ));
        }
        self.call(image, &self.commands.downgrade, || {
            self.aim(self.commands.goes, history, to, crossed)
        })
    }

    /// What [`REVISION`] stands for.
    fn aim(
        &self,
        goes: Goes,
        history: &History,
        to: &SchemaHead,
        crossed: &[Revision],
    ) -> Result<String, String> {
        let tips = history.tips(to);
        let base = || self.commands.base.to_owned();
        let one = |tips: &BTreeSet<Revision>| match (tips.first(), tips.len()) {
            (first, 0 | 1) => Ok(first.map(ToString::to_string)),
            _ => Err(format!(
                "{} is several heads, and the tool goes to one at a time",
                join(tips.iter().map(ToString::to_string), " + ")
            )),
        };
        match goes {
            Goes::ToOne => one(&tips).map(|one| one.unwrap_or_else(base)),
            Goes::ToAll if tips.is_empty() => Ok(base()),
            Goes::ToAll => Ok(join(tips.iter().map(ToString::to_string), ",")),
            Goes::ToOneOfEach => {
                let groups: BTreeSet<&str> = crossed.iter().map(group).collect();
                let each = groups.into_iter().map(|name| {
                    let of = |revision: &&Revision| group(revision) == name;
                    let stays = match to {
                        SchemaHead::NoTable => BTreeSet::new(),
                        SchemaHead::At(revisions) => revisions.iter().filter(of).cloned().collect(),
                    };
                    // What comes before no other one of its group may come before one of another.
                    let tip = one(&history.tips(&SchemaHead::At(stays)))?;
                    Ok(tip.unwrap_or_else(|| format!("{name}.{}", base())))
                });
                let each: Vec<String> = each.collect::<Result<_, String>>()?;
                Ok(join(each.into_iter(), ","))
            }
            Goes::Over => Ok(crossed.last().map_or_else(base, ToString::to_string)),
        }
    }

    fn reading(&self, image: &ImageId, command: &[String]) -> Migration {
        Migration {
            within: self.timeout.min(READ_WITHIN),
            ..self.whole(image, command.to_vec())
        }
    }

    fn call(
        &self,
        image: &ImageId,
        command: &[String],
        aim: impl FnOnce() -> Result<String, String>,
    ) -> Result<Migration, String> {
        if !command.iter().any(|word| word.contains(REVISION)) {
            return Ok(self.whole(image, command.to_vec()));
        }
        let aim = aim()?;
        let command = command.iter().map(|word| word.replace(REVISION, &aim));
        Ok(self.whole(image, command.collect()))
    }

    fn whole(&self, image: &ImageId, command: Vec<String>) -> Migration {
        Migration {
            service: self.service.clone(),
            image: image.clone(),
            command,
            workdir: self.workdir.clone(),
            within: self.timeout,
            lock_timeout: self.lock_timeout,
        }
    }
}

/// The application that a revision is of.
fn group(revision: &Revision) -> &str {
    let name = revision.as_str();
    name.split_once('.').map_or(name, |(group, _)| group)
}

fn join(names: impl Iterator<Item = String>, between: &str) -> String {
    names.collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests;
