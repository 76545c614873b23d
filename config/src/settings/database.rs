//! `[stack.NAME.database]`: where the database is and how to get in. No secret stands in the file;
//! it names the key of the stack's `.env`, or the file, that holds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use state::instead::ManualSql;
use state::kept_schema::Declared;
use state::last_resort::RestoreBackup;
use state::migration_tool::Beside;
use state::name::{Revision, ServiceName};

use super::backup::{self, BackupSettings};
use super::integrity::{self, IntegritySettings};
use super::manual;
use super::migrations::{self, MigrationSettings};
use super::stack::Mention;
use super::word::{PgName, VarName};
use crate::fragment::{Fault, Item, Table};
use crate::validate::{choice, duration, name, path_in, port};

/// `[stack.NAME.database]`.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseSettings {
    /// How it is reached.
    pub access: DatabaseAccess,
    /// `[stack.NAME.database.migrations]`.
    pub migrations: MigrationSettings,
    /// `foreign_sessions`: what becomes of sessions of whoever is no service of the stack, before the schema is taken
    /// back. Default: they are named, and nothing is done.
    pub foreign_sessions: ForeignSessions,
    /// `restore_backup`: whether a rollback goes back to a backup where the schema cannot be taken back. Default: a
    /// person is asked.
    pub restore_backup: RestoreBackup,
    /// `[stack.NAME.database.backup]`; `None`: no backup is made by itself but before a migration, and none goes.
    pub backup: Option<BackupSettings>,
    /// `[stack.NAME.database.manual."REVISION"]`: what takes a revision back where the tool cannot.
    pub manual: BTreeMap<Revision, ManualSql>,
    /// `[stack.NAME.database.preserve]`: what else is read out of the copy after the schema was taken back.
    pub preserve: Vec<PreserveSettings>,
    /// `[[stack.NAME.database.integrity]]`: what has to hold before and after.
    pub integrity: Vec<IntegritySettings>,
    /// `count_within`: how long it may take to count the rows of all tables after the schema was brought up; zero: nobody
    /// counts. Default 10 s.
    pub count_within: Duration,
}

impl DatabaseSettings {
    /// `count_within`, where nothing says.
    pub const COUNT_WITHIN: Duration = Duration::from_secs(10);
}

/// A query of the operator's: what it gives is kept, and put back by nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreserveSettings {
    /// What it is known by.
    pub name: PgName,
    /// The query, which is run in a transaction that only reads.
    pub query: String,
}

/// What becomes of sessions of whoever is no service of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForeignSessions {
    /// `"hold"`: a person ends them.
    #[default]
    Hold,
    /// `"end"`: the agent ends them.
    End,
}

/// How the database is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseAccess {
    /// At the address of a service's container, found by inspection.
    Service {
        /// `service`.
        service: ServiceName,
        /// `port`, inside the container. Default 5432.
        port: u16,
        /// `user` or `user_env`. Default `postgres`.
        user: Credential,
        /// `dbname` or `dbname_env`. Default: the same as the user.
        dbname: Option<Credential>,
        /// `password_env` or `password_file`. Default: none is sent.
        password: Option<SecretSource>,
    },
    /// By a whole URL, `url_env` or `url_file`.
    Url(SecretSource),
}

/// A name to log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// As written.
    Plain(PgName),
    /// The value of this key of the stack's `.env`.
    EnvKey(VarName),
}

/// Where a secret is to be had when it is needed. It holds no secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The value of this key of the stack's `.env`.
    EnvKey(VarName),
    /// The content of this file, without a line end at its end.
    File(PathBuf),
}

pub(super) fn read(
    mut table: Table<'_>,
    directory: &Path,
    mentions: &mut Vec<Mention>,
) -> Option<DatabaseSettings> {
    table.refused(
        "password",
        "a password does not belong in this file",
        "use password_env = \"POSTGRES_PASSWORD\" (a key of the stack's .env) or password_file = \"/path\"",
    );
    table.refused(
        "url",
        "a database URL holds a password, and does not belong in this file",
        "use url_env = \"DATABASE_URL\" (a key of the stack's .env) or url_file = \"/path\"",
    );
    let url = secret(&mut table, "url_env", "url_file", directory);
    let password = secret(&mut table, "password_env", "password_file", directory);
    let user = credential(&mut table, "user", "user_env");
    let dbname = credential(&mut table, "dbname", "dbname_env");
    let service = table.get("service", name::<ServiceName>);
    mentions.extend(Mention::of(&table, service.as_ref()));
    let port = table.get("port", port);
    let migrations = table.table("migrations");
    let mut migrations = migrations
        .map(|table| migrations::read(table, mentions))
        .unwrap_or_default();
    let sessions = [("hold", ForeignSessions::Hold), ("end", ForeignSessions::End)];
    let foreign_sessions = table
        .get("foreign_sessions", choice(&sessions))
        .unwrap_or_default();
    let restores = [
        ("ask", RestoreBackup::Ask),
        ("allow", RestoreBackup::Allow),
        ("never", RestoreBackup::Never),
    ];
    let restore_backup = table.get("restore_backup", choice(&restores)).unwrap_or_default();
    let by_url = table.has("url_env") || table.has("url_file") || table.has("url");
    if by_url {
        for key in [
            "service",
            "port",
            "user",
            "user_env",
            "dbname",
            "dbname_env",
            "password_env",
            "password_file",
        ] {
            if table.has(key) {
                let fault = Fault::new(format!("\"{key}\" beside a URL, which says it already"));
                table.fault_at(key, fault.hint("keep one of the two"));
            }
        }
    } else if !table.has("service") {
        let fault = Fault::new("nothing says where the database is");
        table.fault(fault.hint("add service = \"postgres\", or url_env = \"DATABASE_URL\""));
    }
    let backup = table.table("backup").map(backup::read);
    let manual = table.table("manual").map(|table| manual::read(&table, directory));
    if table.has("manual") && migrations.tool.is_none() {
        let fault = Fault::new("\"manual\" without a tool: nothing is taken back");
        let hint = "add tool = \"alembic\" to the migrations, or take it out";
        table.fault_at("manual", fault.hint(hint));
    }
    let manual = manual.unwrap_or_default();
    leads_back(&mut table, &mut migrations, &manual, restore_backup);
    let preserve = table
        .table("preserve")
        .map(|table| read_preserve(&table))
        .unwrap_or_default();
    let integrity = integrity::read_all(table.tables("integrity"));
    let count_within = table.get(
        "count_within",
        duration(Duration::ZERO, Duration::from_secs(60 * 60)),
    );
    table.reserved(&["clone", "dump", "writers"]);
    table.finish();
    let access = if by_url {
        DatabaseAccess::Url(url?)
    } else {
        DatabaseAccess::Service {
            service: service?,
            port: port.unwrap_or(5432),
            user: user.unwrap_or_else(|| Credential::Plain("postgres".parse().expect("a valid name"))),
            dbname,
            password,
        }
    };
    Some(DatabaseSettings {
        access,
        migrations,
        foreign_sessions,
        restore_backup,
        backup,
        manual: manual.sql,
        preserve,
        integrity,
        count_within: count_within.unwrap_or(DatabaseSettings::COUNT_WITHIN),
    })
}

/// What leads the schema back beside the tool, and what of it stays.
fn leads_back(
    table: &mut Table<'_>,
    migrations: &mut MigrationSettings,
    manual: &manual::Manual,
    backup: RestoreBackup,
) {
    let rollback_schema = manual::rollback_schema(table);
    let Some(tool) = &mut migrations.tool else {
        if table.has("rollback_schema") {
            let fault = Fault::new("\"rollback_schema\" without a tool: the schema is not moved");
            let hint = "add tool = \"alembic\" to the migrations, or take it out";
            table.fault_at("rollback_schema", fault.hint(hint));
        }
        return;
    };
    tool.beside = Beside {
        by_hand: manual.sql.keys().cloned().collect(),
        backup,
    };
    tool.declared = Declared {
        otherwise: rollback_schema.unwrap_or_default(),
        of: manual.declared.clone(),
    };
}

fn read_preserve(table: &Table<'_>) -> Vec<PreserveSettings> {
    let query = |item: &Item<'_>| {
        let query = item.text()?.trim().trim_end_matches(';').trim_end();
        let word = query
            .split(|c: char| !c.is_ascii_alphabetic())
            .next()
            .unwrap_or_default();
        if !["select", "with", "table", "values"].contains(&word.to_lowercase().as_str())
            || query.contains('\0')
        {
            let fault = Fault::new("this is no query");
            return Err(fault.hint("write a SELECT: what it gives is kept"));
        }
        Ok(query.to_owned())
    };
    let queries = table.named_values(query).into_iter();
    queries
        .map(|(name, query)| PreserveSettings { name, query })
        .collect()
}

fn secret(
    table: &mut Table<'_>,
    env_key: &'static str,
    file_key: &'static str,
    directory: &Path,
) -> Option<SecretSource> {
    // People write the secret itself here by mistake: what is wrong is never repeated.
    let unnamed =
        |what| Fault::new(format!("this is not {what}")).hint("the value is not shown: it may be a secret");
    let env = table
        .get(env_key, |item| {
            name::<VarName>(item).map_err(|_| unnamed("the name of a key of the stack's .env"))
        })
        .map(SecretSource::EnvKey);
    let file = table
        .get(file_key, |item| {
            path_in(directory)(item).map_err(|_| unnamed("the path of a file"))
        })
        .map(SecretSource::File);
    one_of(table, env_key, file_key);
    env.or(file)
}

fn credential(table: &mut Table<'_>, key: &'static str, env_key: &'static str) -> Option<Credential> {
    let plain = table.get(key, name::<PgName>).map(Credential::Plain);
    let env = table.get(env_key, name::<VarName>).map(Credential::EnvKey);
    one_of(table, key, env_key);
    plain.or(env)
}

fn one_of(table: &Table<'_>, first: &str, second: &str) {
    if table.has(first) && table.has(second) {
        let fault = Fault::new(format!("both \"{first}\" and \"{second}\""));
        table.fault_at(second, fault.hint("keep one of the two"));
    }
}
