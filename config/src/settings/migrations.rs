//! `[stack.NAME.database.migrations]`: where the migration tool writes how far it is, and how it is called.

use std::time::Duration;

use state::kept_schema::Declared;
use state::migration_tool::{
    Beside, Commands, Forget, Goes, MigrationTool, Printed, REVISION, UpgradeBy, VersionTable,
};
use state::migrations::VersionRows;
use state::name::ServiceName;

use super::stack::Mention;
use super::word::PgName;
use crate::fragment::{Fault, Item, Table};
use crate::sql::in_one_transaction;
use crate::validate::{absolute_path, choice, duration, name, text};

/// `[stack.NAME.database.migrations]`: where the migration tool writes how far it is, and how it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationSettings {
    /// `version_table`. Default: the tool's own.
    pub version_table: PgName,
    /// `schema`. Default `public`.
    pub schema: PgName,
    /// What is asked of that table.
    pub version: VersionTable,
    /// `tool` and what belongs to it; `None`: the agent moves no schema.
    pub tool: Option<MigrationTool>,
}

impl Default for MigrationSettings {
    fn default() -> Self {
        Self {
            version_table: pg_name(Known::Alembic.version_table()),
            schema: pg_name("public"),
            version: VersionTable::alembic(),
            tool: None,
        }
    }
}

/// `tool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Alembic,
    Django,
    Sqlx,
    Flyway,
    Custom,
}

/// What only a tool that is not known by name is told.
const CUSTOM: [&str; 5] = ["current", "rows", "history", "downgrade", "sql"];

impl Known {
    const WORDS: [(&str, Self); 5] = [
        ("alembic", Self::Alembic),
        ("django", Self::Django),
        ("sqlx", Self::Sqlx),
        ("flyway", Self::Flyway),
        ("custom", Self::Custom),
    ];

    fn version_table(self) -> &'static str {
        match self {
            Self::Alembic => "alembic_version",
            Self::Django => "django_migrations",
            Self::Sqlx => "_sqlx_migrations",
            Self::Flyway => "flyway_schema_history",
            Self::Custom => "schema_migrations",
        }
    }

    /// The program, and where its files are.
    fn defaults(self) -> (&'static [&'static str], Option<&'static str>) {
        match self {
            Self::Alembic => (&["alembic"], None),
            Self::Django => (&["python3", "manage.py"], None),
            Self::Sqlx => (&["sqlx"], Some("migrations")),
            Self::Flyway => (&["flyway"], Some("/flyway/sql")),
            Self::Custom => (&[], None),
        }
    }

    /// The keys that mean nothing to it.
    fn foreign(self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        if self == Self::Custom {
            keys.push("program");
        } else {
            keys.extend(CUSTOM);
        }
        if self.defaults().1.is_none() {
            keys.push("directory");
        }
        keys
    }
}

pub(super) fn read(mut table: Table<'_>, mentions: &mut Vec<Mention>) -> MigrationSettings {
    let default = MigrationSettings::default();
    let known = table.get("tool", choice(&Known::WORDS));
    let version_table: Option<PgName> = table.get("version_table", name);
    let version_table = version_table
        .unwrap_or_else(|| known.map_or(default.version_table, |known| pg_name(known.version_table())));
    let tool = read_tool(&mut table, known, &version_table, mentions);
    let settings = MigrationSettings {
        schema: table.get("schema", name).unwrap_or(default.schema),
        version: tool
            .as_ref()
            .map_or(default.version, |tool| tool.commands.version.clone()),
        version_table,
        tool,
    };
    table.reserved(&["heads"]);
    table.finish();
    settings
}

/// `upgrade`.
enum Upgrade {
    By(UpgradeBy),
    Command(Vec<String>),
}

/// What belongs to `tool`, and means nothing without it.
fn read_tool(
    table: &mut Table<'_>,
    known: Option<Known>,
    version_table: &PgName,
    mentions: &mut Vec<Mention>,
) -> Option<MigrationTool> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let service = table.get("service", name::<ServiceName>);
    mentions.extend(Mention::of(table, service.as_ref()));
    let program = command(table, "program");
    let directory = table.get("directory", |item| text(item).map(str::to_owned));
    let workdir = table.get("workdir", absolute_path);
    let timeout = table.get("timeout", duration(Duration::from_secs(1), DAY));
    let lock_timeout = table.get("lock_timeout", duration(Duration::from_millis(1), DAY));
    let upgrade = if table.is_array("upgrade") {
        command(table, "upgrade").map(Upgrade::Command)
    } else {
        let by = [("agent", UpgradeBy::Agent), ("stack", UpgradeBy::Stack)];
        table.get("upgrade", choice(&by)).map(Upgrade::By)
    };
    let own = Own {
        history: command(table, "history"),
        downgrade: command(table, "downgrade"),
        sql: command(table, "sql"),
        current: table.get("current", query),
        rows: table.get(
            "rows",
            choice(&[("heads", VersionRows::Heads), ("applied", VersionRows::Applied)]),
        ),
    };
    if !table.has("tool") {
        let all = [
            "service",
            "program",
            "directory",
            "workdir",
            "timeout",
            "lock_timeout",
            "upgrade",
        ];
        for key in all.into_iter().chain(CUSTOM) {
            if table.has(key) {
                let fault = Fault::new(format!("\"{key}\" without a tool"));
                table.fault_at(key, fault.hint("add tool = \"alembic\", or take it out"));
            }
        }
        return None;
    }
    if !table.has("service") {
        let fault = Fault::new("nothing says whose image has the migrations");
        table.fault_at("tool", fault.hint("add service = \"api\""));
    }
    let known = known?;
    let word = |known: Known| {
        Known::WORDS
            .iter()
            .find(|(_, one)| *one == known)
            .map_or("", |(word, _)| *word)
    };
    for key in known.foreign() {
        if table.has(key) {
            let fault = Fault::new(format!("\"{key}\" means nothing to tool = \"{}\"", word(known)));
            let hint = if CUSTOM.contains(&key) {
                "write tool = \"custom\", with all of its commands; or take it out"
            } else {
                "take it out"
            };
            table.fault_at(key, fault.hint(hint));
        }
    }
    let (default_program, default_directory) = known.defaults();
    let program = program.unwrap_or_else(|| default_program.iter().map(|&word| word.to_owned()).collect());
    let directory = directory
        .or(default_directory.map(str::to_owned))
        .unwrap_or_default();
    let (by, command) = match upgrade {
        Some(Upgrade::By(by)) => (by, None),
        Some(Upgrade::Command(command)) => (UpgradeBy::Agent, Some(command)),
        None => (UpgradeBy::Agent, None),
    };
    if known != Known::Custom && command.is_some() {
        let fault = Fault::new(format!("tool = \"{}\" knows its own command", word(known)));
        table.fault_at(
            "upgrade",
            fault.hint("write \"agent\" or \"stack\"; or tool = \"custom\""),
        );
    }
    let commands = match known {
        Known::Alembic => Commands::alembic(&program),
        Known::Django => Commands::django(&program),
        Known::Sqlx => Commands::sqlx(&program, &directory, version_table.as_str()),
        Known::Flyway => Commands::flyway(&program, &directory, version_table.as_str()),
        Known::Custom => own.commands(table, by, command)?,
    };
    Some(MigrationTool {
        service: service?,
        commands,
        workdir: workdir.map(|path| path.to_string_lossy().into_owned()),
        timeout: timeout.unwrap_or(Duration::from_secs(30 * 60)),
        lock_timeout: lock_timeout.unwrap_or(Duration::from_secs(5)),
        upgrade: by,
        beside: Beside::default(),
        declared: Declared::default(),
    })
}

/// What stands in the file for a tool that is not known by name.
struct Own {
    history: Option<Vec<String>>,
    downgrade: Option<Vec<String>>,
    sql: Option<Vec<String>>,
    current: Option<String>,
    rows: Option<VersionRows>,
}

impl Own {
    fn commands(self, table: &Table<'_>, by: UpgradeBy, upgrade: Option<Vec<String>>) -> Option<Commands> {
        let missing = |key: &str, what: &str, example: &str| {
            if !table.has(key) {
                table.fault_at(
                    "tool",
                    Fault::new(what.to_owned()).hint(format!("add {key} = {example}")),
                );
            }
        };
        missing(
            "current",
            "nothing says how the database is asked where its schema stands",
            "\"SELECT version FROM {table}\"",
        );
        missing(
            "history",
            "nothing says what revisions an image has",
            "[\"/app/migrate.sh\", \"history\"]",
        );
        missing(
            "downgrade",
            "nothing says how the schema is taken back",
            "[\"/app/migrate.sh\", \"down\", \"{revision}\"]",
        );
        if by == UpgradeBy::Agent && upgrade.is_none() && !table.is_array("upgrade") {
            let fault = Fault::new("nothing says how the schema is brought up");
            let hint = "add upgrade = [\"/app/migrate.sh\", \"up\", \"{revision}\"]; or \"stack\", where the services do it";
            table.fault_at(
                if table.has("upgrade") { "upgrade" } else { "tool" },
                fault.hint(hint),
            );
        }
        let says_where = |command: &[String]| command.iter().any(|word| word.contains(REVISION));
        if self
            .downgrade
            .as_ref()
            .is_some_and(|command| !command.is_empty() && !says_where(command))
        {
            let fault = Fault::new("nothing in it says where to");
            table.fault_at(
                "downgrade",
                fault.hint("write {revision} where the revision is to stand"),
            );
        }
        if by == UpgradeBy::Agent && upgrade.is_none() {
            return None;
        }
        Some(Commands {
            history: self.history?,
            prints: Printed::Lines,
            version: VersionTable {
                query: self.current?,
                rows: self.rows.unwrap_or_default(),
                forget: Forget::Nothing,
            },
            upgrade_to: upgrade.clone().filter(|command| says_where(command)),
            upgrade,
            downgrade: self.downgrade?,
            goes: Goes::ToAll,
            base: "base",
            way_back: self.sql,
            one_way: "its history says so",
        })
    }
}

/// A program with its arguments.
fn command(table: &mut Table<'_>, key: &'static str) -> Option<Vec<String>> {
    let command = table.list(key, |item| text(item).map(str::to_owned))?;
    if command.is_empty() {
        let fault = Fault::new("there is no program");
        let example = match key {
            "program" => "[\"python3\", \"-m\", \"alembic\"]",
            _ => "[\"/app/migrate.sh\"]",
        };
        table.fault_at(key, fault.hint(format!("write {key} = {example}")));
    }
    Some(command)
}

/// A query that only reads.
fn query(item: &Item<'_>) -> Result<String, Fault> {
    const HINT: &str = "write one SELECT with one column: a row for each revision";
    let query = item.text()?.trim().trim_end_matches(';').trim_end();
    let statements = in_one_transaction(query).map_err(|error| Fault::new(error.to_string()).hint(HINT))?;
    let word = query
        .split(|c: char| !c.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    let reads = ["select", "with", "table", "values"].contains(&word.to_lowercase().as_str());
    if !reads || statements.len() != 1 || query.contains('\0') {
        return Err(Fault::new("this is no query").hint(HINT));
    }
    Ok(query.to_owned())
}

fn pg_name(word: &str) -> PgName {
    word.parse().expect("a valid name")
}
