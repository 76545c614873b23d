//! What tools print of their revisions, and what the files in a directory say of them, read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::migrations::{History, NoHistory};
use crate::name::Revision;

/// Before each line that a script of ours prints: the project may print more.
const MARK: &str = "steadfast: ";
/// At the end of a line: nothing takes the revision back.
const ONE_WAY: &str = "(one way)";
/// So many characters of a line are told.
const MOST: usize = 120;

/// What a list of revisions looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Printed {
    /// `alembic history --verbose`.
    #[default]
    Alembic,
    /// A line for each: `REVISION <- ITS_PARENTS`, or the names alone, in their order.
    Lines,
    /// The same, among other lines, each after a mark.
    MarkedLines,
    /// The names of the files of sqlx.
    SqlxFiles,
    /// The names of the files of Flyway.
    FlywayFiles,
}

/// What was printed is not what should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A line that says nothing of a revision.
    #[error("this is no line of its history: {0}")]
    Line(String),
    /// What is wrong with a line, from 1.
    #[error("line {line} {what}: {text}")]
    At {
        /// Its number.
        line: usize,
        /// What is wrong.
        what: &'static str,
        /// The line.
        text: String,
    },
    /// The revisions make no history.
    #[error(transparent)]
    History(#[from] NoHistory),
}

type Before = BTreeMap<Revision, BTreeSet<Revision>>;

impl Printed {
    /// The history that was printed.
    pub fn read(self, printed: &str) -> Result<History, Unreadable> {
        match self {
            Self::Alembic => alembic(printed),
            Self::Lines => lines(printed.lines().enumerate()),
            Self::MarkedLines => {
                let all = printed.lines().enumerate();
                let marked = || {
                    all.clone()
                        .filter_map(|(at, line)| Some((at, line.strip_prefix(MARK)?)))
                };
                if marked().next().is_none() {
                    return Err(Unreadable::Line(shortened(printed.trim())));
                }
                lines(marked())
            }
            Self::SqlxFiles => sqlx_files(printed),
            Self::FlywayFiles => flyway_files(printed),
        }
    }
}

/// What `alembic history --verbose` prints: some lines of `Word: value` for each revision, then its description, set
/// in. What a revision depends on comes before it too, as far as it is named by its revision.
fn alembic(printed: &str) -> Result<History, Unreadable> {
    let mut before = Before::new();
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

/// `REVISION <- ITS_PARENTS (one way)`: parents have commas between, the first revisions have none. Where no line has an
/// arrow each follows the one before. Blank lines and those that begin with `#` say nothing.
fn lines<'a>(all: impl Iterator<Item = (usize, &'a str)>) -> Result<History, Unreadable> {
    let (mut before, mut one_way) = (Before::new(), BTreeSet::new());
    let mut arrows: Option<bool> = None;
    let mut last: Option<Revision> = None;
    for (at, line) in all {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let wrong = |what| Unreadable::At {
            line: at + 1,
            what,
            text: shortened(text),
        };
        let (names, back) = match text.strip_suffix(ONE_WAY) {
            Some(names) => (names, false),
            None => (text, true),
        };
        let (name, parents) = match names.split_once("<-") {
            Some((name, parents)) => (name, Some(parents)),
            None => (names, None),
        };
        if *arrows.get_or_insert(parents.is_some()) != parents.is_some() {
            return Err(wrong(
                "has no <- where others have, or has one where they have none",
            ));
        }
        let no_name = |_| wrong("has no name of a revision");
        let revision: Revision = name.trim().parse().map_err(no_name)?;
        let mut of: BTreeSet<Revision> = last.take().into_iter().collect();
        match parents.map(str::trim) {
            None => last = Some(revision.clone()),
            Some("") => {}
            Some(parents) => {
                for name in parents.split(',') {
                    of.insert(name.trim().parse().map_err(no_name)?);
                }
            }
        }
        if !back {
            one_way.insert(revision.clone());
        }
        if before.insert(revision, of).is_some() {
            return Err(wrong("names a revision for the second time"));
        }
    }
    Ok(History::new(before)?.with_one_way(one_way))
}

/// `VERSION_DESCRIPTION.sql`, or two of `VERSION_DESCRIPTION.up.sql` and `….down.sql`; others are none of its own.
fn sqlx_files(printed: &str) -> Result<History, Unreadable> {
    let mut versions: BTreeMap<u64, Files> = BTreeMap::new();
    for (at, name) in printed.lines().enumerate() {
        let Some((version, rest)) = name.trim().split_once('_') else {
            continue;
        };
        // As the tool compares it.
        if rest.strip_suffix(".sql").is_none() {
            continue;
        }
        let version = version
            .parse()
            .map_err(|_| wrong_file(at, "has no number before its first _", name))?;
        let files = versions.entry(version).or_default();
        let there = if rest.ends_with(".down.sql") {
            &mut files.down
        } else {
            &mut files.up
        };
        if std::mem::replace(there, true) {
            return Err(wrong_file(at, "has a version for the second time", name));
        }
    }
    let versions = versions.into_iter().filter(|(_, files)| files.up);
    in_a_line(versions.map(|(version, files)| (version.to_string(), files.down)))
}

/// `V2.1__description.sql` and `U2.1__….sql`, anywhere below the directory; `_` is the same as a full stop. Those that are
/// repeated (`R__…`), and all others, are no versions.
fn flyway_files(printed: &str) -> Result<History, Unreadable> {
    let mut versions: BTreeMap<Vec<u64>, (Files, String)> = BTreeMap::new();
    for (at, name) in printed.lines().enumerate() {
        let name = name.trim();
        let Some((version, _)) = name.strip_suffix(".sql").and_then(|name| name.split_once("__")) else {
            continue;
        };
        let (version, is_undo) = match (version.strip_prefix('V'), version.strip_prefix('U')) {
            (Some(version), _) => (version, false),
            (_, Some(version)) => (version, true),
            _ => continue,
        };
        let version = version.replace('_', ".");
        let mut parts = version
            .split('.')
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()
            .map_err(|_| wrong_file(at, "has a version that is no number", name))?;
        while parts.len() > 1 && parts.last() == Some(&0) {
            parts.pop();
        }
        let (files, said) = versions.entry(parts).or_default();
        if !is_undo {
            // As it stands in the table.
            *said = version;
        }
        let there = if is_undo { &mut files.down } else { &mut files.up };
        if std::mem::replace(there, true) {
            return Err(wrong_file(at, "has a version for the second time", name));
        }
    }
    let versions = versions.into_values().filter(|(files, _)| files.up);
    in_a_line(versions.map(|(files, said)| (said, files.down)))
}

/// The scripts of one version.
#[derive(Debug, Clone, Copy, Default)]
struct Files {
    up: bool,
    down: bool,
}

/// Each follows the one before. With it, whether there is a way back.
fn in_a_line(versions: impl Iterator<Item = (String, bool)>) -> Result<History, Unreadable> {
    let (mut before, mut one_way) = (Before::new(), BTreeSet::new());
    let mut last: Option<Revision> = None;
    for (version, back) in versions {
        let revision: Revision = version
            .parse()
            .map_err(|_| Unreadable::Line(shortened(&version)))?;
        before.insert(revision.clone(), last.take().into_iter().collect());
        if !back {
            one_way.insert(revision.clone());
        }
        last = Some(revision);
    }
    Ok(History::new(before)?.with_one_way(one_way))
}

fn wrong_file(at: usize, what: &'static str, name: &str) -> Unreadable {
    Unreadable::At {
        line: at + 1,
        what,
        text: shortened(name),
    }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests;
