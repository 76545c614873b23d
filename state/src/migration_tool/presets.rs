//! The tools that are known by name: nothing but values.

use super::{Commands, Forget, Goes, Printed, REVISION, VersionTable};
use crate::migrations::VersionRows;

const DJANGO_HISTORY: &str = include_str!("django_history.py");
const DJANGO_WAY_BACK: &str = include_str!("django_way_back.py");
const DJANGO_DOWNGRADE: &str = include_str!("django_downgrade.py");
const SQLX_WAY_BACK: &str = include_str!("sqlx_way_back.sh");
const FLYWAY_WAY_BACK: &str = include_str!("flyway_way_back.sh");

/// Of each version the last row counts, of which an undo makes one more: what was migrated last and not undone is the
/// head, as versions are migrated in their order. A baseline is a row like others.
const FLYWAY_HEAD: &str = "SELECT version || CASE WHEN success THEN '' ELSE '.failed' END FROM \
     (SELECT DISTINCT ON (version) version, type, success, installed_rank FROM {table} \
     WHERE version IS NOT NULL ORDER BY version, installed_rank DESC) AS last \
     WHERE type NOT LIKE 'UNDO%' AND type <> 'DELETE' ORDER BY installed_rank DESC LIMIT 1";

impl Commands {
    /// Alembic.
    pub fn alembic(program: &[String]) -> Self {
        let call = |words: &[&str]| called(program, words);
        Self {
            history: call(&["history", "--verbose"]),
            prints: Printed::Alembic,
            version: VersionTable::alembic(),
            upgrade: Some(call(&["upgrade", "heads"])),
            upgrade_to: Some(call(&["upgrade", REVISION])),
            downgrade: call(&["downgrade", REVISION]),
            goes: Goes::ToOne,
            base: "base",
            // Where there are several newest ones it has no word for it.
            way_back: Some(call(&["downgrade", "head:base", "--sql"])),
            one_way: "its script says so",
        }
    }

    /// Django: of a project with all its applications, those of others too.
    pub fn django(program: &[String]) -> Self {
        let call = |words: &[&str]| called(program, words);
        // What it imports for people would say so, among what is read.
        let run = |script: &str| call(&["shell", "-v", "0", "-c", script]);
        Self {
            history: run(DJANGO_HISTORY),
            prints: Printed::MarkedLines,
            version: VersionTable {
                query: String::from("SELECT app || '.' || name FROM {table}"),
                rows: VersionRows::Applied,
                forget: Forget::Delete("app || '.' || name"),
            },
            upgrade: Some(call(&["migrate", "--no-input"])),
            upgrade_to: None,
            downgrade: run(DJANGO_DOWNGRADE),
            goes: Goes::ToOneOfEach,
            base: "zero",
            way_back: Some(run(DJANGO_WAY_BACK)),
            one_way: "an operation of it has no reverse",
        }
    }

    /// The command line of sqlx, with the files in `directory`.
    pub fn sqlx(program: &[String], directory: &str, version_table: &str) -> Self {
        let call =
            |words: &[&str]| called(program, &[&["migrate"], words, &["--source", directory]].concat());
        Self {
            history: ["ls", "-1", directory].map(str::to_owned).into(),
            prints: Printed::SqlxFiles,
            version: VersionTable {
                query: String::from(
                    "SELECT version::text || CASE WHEN success THEN '' ELSE '.failed' END FROM {table}",
                ),
                rows: VersionRows::Applied,
                forget: Forget::Delete("version::text"),
            },
            upgrade: Some(call(&["run"])),
            upgrade_to: Some(call(&["run", "--target-version", REVISION])),
            downgrade: call(&["revert", "--target-version", REVISION]),
            goes: Goes::ToOne,
            base: "0",
            way_back: Some(script(SQLX_WAY_BACK, directory, version_table)),
            one_way: "it has no .down.sql",
        }
    }

    /// Flyway, with the files below `directory`.
    pub fn flyway(program: &[String], directory: &str, version_table: &str) -> Self {
        let scripts = format!("-locations=filesystem:{directory}");
        let table = format!("-table={version_table}");
        let call = |words: &[&str]| called(program, &[&[scripts.as_str(), table.as_str()], words].concat());
        let target = format!("-target={REVISION}");
        Self {
            history: ["ls", "-1R", directory].map(str::to_owned).into(),
            prints: Printed::FlywayFiles,
            version: VersionTable {
                query: FLYWAY_HEAD.to_owned(),
                rows: VersionRows::Heads,
                forget: Forget::Delete("version"),
            },
            upgrade: Some(call(&["migrate"])),
            upgrade_to: Some(call(&[&target, "migrate"])),
            downgrade: call(&[&target, "undo"]),
            goes: Goes::Over,
            base: "0",
            way_back: Some(script(FLYWAY_WAY_BACK, directory, version_table)),
            one_way: "it has no undo script, and the Community edition of Flyway runs none",
        }
    }
}

impl VersionTable {
    /// Alembic's.
    pub fn alembic() -> Self {
        Self {
            query: String::from("SELECT version_num FROM {table}"),
            rows: VersionRows::Heads,
            forget: Forget::Rewrite("version_num"),
        }
    }
}

fn called(program: &[String], words: &[&str]) -> Vec<String> {
    let words = words.iter().map(|&word| word.to_owned());
    program.iter().cloned().chain(words).collect()
}

fn script(text: &str, directory: &str, version_table: &str) -> Vec<String> {
    ["sh", "-c", text, "sh", directory, version_table]
        .map(str::to_owned)
        .into()
}
