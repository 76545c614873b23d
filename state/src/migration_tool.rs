//! What moves a schema, and how it is called. Which command does what is known here, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::migrations::{History, NoHistory};
use crate::name::{ImageId, Revision, ServiceName};
use crate::observed::SchemaHead;

/// How long a command that only reads the scripts of an image may take.
const READ_WITHIN: Duration = Duration::from_secs(120);

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
    /// The program, with its own arguments.
    pub program: Vec<String>,
    /// Where it is run; `None`: where the service runs.
    pub workdir: Option<String>,
    /// How long one command may take.
    pub timeout: Duration,
    /// How long a statement may wait for a lock that somebody else holds.
    pub lock_timeout: Duration,
    /// Who upgrades.
    pub upgrade: UpgradeBy,
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

/// What the tool printed is not what it prints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A line that says nothing of a revision.
    #[error("this is no line of its history: {0}")]
    Line(String),
    /// The revisions make no history.
    #[error(transparent)]
    History(#[from] NoHistory),
}

impl MigrationTool {
    /// Reads all revisions out of `image`, without a database.
    pub fn history(&self, image: &ImageId) -> Migration {
        Migration {
            within: self.timeout.min(READ_WITHIN),
            ..self.call(image, &["history", "--verbose"])
        }
    }

    /// Writes, without a database, what it would do on its way back from the newest revision to the first. Where there are
    /// several newest ones it has no word for it.
    pub fn way_back(&self, image: &ImageId) -> Migration {
        Migration {
            within: self.timeout.min(READ_WITHIN),
            ..self.call(image, &["downgrade", "head:base", "--sql"])
        }
    }

    /// Brings the schema up to `to`, which is all of `heads`, or one revision. `None`: the tool has no word for it.
    pub fn upgrade(&self, image: &ImageId, to: &SchemaHead, heads: &BTreeSet<Revision>) -> Option<Migration> {
        let to = match to {
            SchemaHead::At(revisions) if revisions == heads && !heads.is_empty() => "heads",
            other => the_one(other)?,
        };
        Some(self.call(image, &["upgrade", to]))
    }

    /// Takes the schema back to `to`. `None`: the tool has no word for it.
    pub fn downgrade(&self, image: &ImageId, to: &SchemaHead) -> Option<Migration> {
        Some(self.call(image, &["downgrade", the_one(to)?]))
    }

    fn call(&self, image: &ImageId, arguments: &[&str]) -> Migration {
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        Migration {
            service: self.service.clone(),
            image: image.clone(),
            command: self.program.iter().cloned().chain(arguments).collect(),
            workdir: self.workdir.clone(),
            within: self.timeout,
            lock_timeout: self.lock_timeout,
        }
    }
}

/// The name of a head that is one revision, or none.
fn the_one(head: &SchemaHead) -> Option<&str> {
    match head {
        SchemaHead::NoTable => Some("base"),
        SchemaHead::At(revisions) => {
            let mut all = revisions.iter();
            match (all.next(), all.next()) {
                (None, _) => Some("base"),
                (Some(one), None) => Some(one.as_str()),
                _ => None,
            }
        }
    }
}

/// What `alembic history --verbose` prints: some lines of `Word: value` for each revision, then its description, set
/// in. What a revision depends on comes before it too, as far as it is named by its revision.
pub fn read_history(printed: &str) -> Result<History, Unreadable> {
    let mut before: BTreeMap<Revision, BTreeSet<Revision>> = BTreeMap::new();
    let mut also: Vec<(Revision, Revision)> = Vec::new();
    let mut current: Option<Revision> = None;
    for line in printed.lines() {
        let Some((word, value)) = line.split_once(": ") else {
            continue;
        };
        let unreadable = || Unreadable::Line(shortened(line));
        let names = value.split([',', ' ']).filter(|name| !name.is_empty());
        if word == "Rev" {
            let name = names
                .into_iter()
                .next()
                .and_then(|name| name.parse::<Revision>().ok());
            let revision = name.ok_or_else(unreadable)?;
            before.entry(revision.clone()).or_default();
            current = Some(revision);
            continue;
        }
        if !matches!(word, "Parent" | "Merges" | "Also depends on") {
            continue;
        }
        let revision = current.as_ref().ok_or_else(unreadable)?;
        for name in names.filter(|name| *name != "<base>") {
            let parent: Revision = name.parse().map_err(|_| unreadable())?;
            if word == "Also depends on" {
                also.push((revision.clone(), parent));
            } else {
                before.entry(revision.clone()).or_default().insert(parent);
            }
        }
    }
    for (revision, on) in also {
        if before.contains_key(&on) {
            before.entry(revision).or_default().insert(on);
        }
    }
    if before.is_empty() && !printed.trim().is_empty() {
        return Err(Unreadable::Line(shortened(printed.trim())));
    }
    Ok(History::new(before)?)
}

fn shortened(line: &str) -> String {
    const MOST: usize = 120;
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::fixture::{image, service};

    fn tool() -> MigrationTool {
        MigrationTool {
            service: service("api"),
            program: vec![String::from("alembic")],
            workdir: Some(String::from("/app")),
            timeout: Duration::from_secs(600),
            lock_timeout: Duration::from_secs(1),
            upgrade: UpgradeBy::Agent,
        }
    }

    fn set(names: &str) -> BTreeSet<Revision> {
        names
            .split_whitespace()
            .map(|name| name.parse().unwrap())
            .collect()
    }

    fn at(names: &str) -> SchemaHead {
        SchemaHead::At(set(names))
    }

    #[test]
    fn every_command_names_where_it_goes() {
        let words = |migration: Option<Migration>| migration.map(|m| m.command.join(" "));
        let up = |to: &str, heads: &str| words(tool().upgrade(&image(1), &at(to), &set(heads)));
        assert_eq!(up("b", "b").as_deref(), Some("alembic upgrade heads"));
        assert_eq!(up("b c", "b c").as_deref(), Some("alembic upgrade heads"));
        assert_eq!(up("a", "b").as_deref(), Some("alembic upgrade a"));
        assert_eq!(up("a b", "b c"), None);
        let down = |to: &SchemaHead| words(tool().downgrade(&image(1), to));
        assert_eq!(down(&at("a")).as_deref(), Some("alembic downgrade a"));
        assert_eq!(down(&at("")).as_deref(), Some("alembic downgrade base"));
        assert_eq!(
            down(&SchemaHead::NoTable).as_deref(),
            Some("alembic downgrade base")
        );
        assert_eq!(down(&at("a b")), None);
        assert_eq!(tool().history(&image(1)).within, READ_WITHIN);
    }

    #[test]
    fn what_alembic_prints_is_read() {
        let printed = "\
Rev: d4 (head) (mergepoint)
Merges: b2, c3
Path: /app/migrations/versions/d4.py

    merge

    Rev: not one

Rev: c3
Parent: a1
Path: /app/migrations/versions/c3.py

    add candles

Rev: b2
Parent: a1
Also depends on: c3, a_label
Branch names: api
Path: /app/migrations/versions/b2.py

    add interval: to backtests

Rev: a1 (branchpoint)
Parent: <base>
Branches into: b2, c3
Path: /app/migrations/versions/a1.py

    create
";
        let history = read_history(printed).unwrap();
        assert_eq!(history.heads(), set("d4"));
        let crossed = history.down(&at("d4"), &at("a1")).unwrap();
        let names: Vec<_> = crossed.iter().map(Revision::as_str).collect();
        assert_eq!(names, ["d4", "b2", "c3"]);
        assert_eq!(read_history("").unwrap().heads(), set(""));
    }

    #[test]
    fn what_is_no_history_is_refused() {
        let refused = |printed: &str| read_history(printed).unwrap_err().to_string();
        assert_eq!(
            refused("Usage: alembic"),
            "this is no line of its history: Usage: alembic"
        );
        assert_eq!(
            refused("Rev: b2\nParent: a1\n"),
            "revision b2 follows a1, which the image does not have"
        );
        assert_eq!(
            refused("Parent: a1"),
            "this is no line of its history: Parent: a1"
        );
        assert!(refused(&"ä".repeat(500)).ends_with("ä…"));
    }
}
