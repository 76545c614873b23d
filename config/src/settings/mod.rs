//! `steadfast.toml` as validated types: what the agent is told about itself, its stacks and its
//! policy. Whether the directories and services named in it exist is asked elsewhere.

use std::collections::BTreeMap;
use std::path::Path;

use state::name::StackName;
use state::policy::SeverityMatrix;

mod agent;
mod backup;
mod control;
mod database;
mod integrity;
mod manual;
mod migrations;
mod policy;
mod probe;
mod source;
mod stack;
mod track;
mod word;

pub use agent::{AgentSettings, EngineAddress, LogFormat};
pub use backup::{AfterBackup, BackupSettings, Schedule};
pub use control::{ACTS, Account, ControlSettings, Named, Party};
pub use database::{
    Credential, DatabaseAccess, DatabaseSettings, ForeignSessions, PreserveSettings, SecretSource,
};
pub use integrity::IntegritySettings;
pub use migrations::MigrationSettings;
pub use probe::{HttpTarget, ProbeKind, ProbeSettings, StatusPattern, StatusSet, TcpTarget};
pub use source::SourceSettings;
pub use stack::{ComposeFiles, EnvFile, ImageTemplate, Mention, StackSettings};
pub use track::{FileActionSettings, FileCheckSettings};
pub use word::{AccountName, Host, HttpUrl, PgName, Profile, VarName};

use crate::document::{self, LoadError};
use crate::error::Problems;
use crate::fragment::{Fault, Source, Table};

/// The whole of `steadfast.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[agent]`.
    pub agent: AgentSettings,
    /// `[stack.NAME]`, at least one.
    pub stacks: BTreeMap<StackName, StackSettings>,
    /// `[policy.SEVERITY]`.
    pub policy: SeverityMatrix,
}

/// Reads `steadfast.toml` at `path`; the second part of the result is warnings only.
pub fn load(path: &Path) -> Result<(Settings, Problems), LoadError> {
    let hint = "write it, or name another with --config; docs/reference/configuration.md has an example";
    let text = document::read_text(path, hint)?;
    parse(path, &text).map_err(LoadError::Invalid)
}

/// Reads the text of a `steadfast.toml`; `file` is what errors call it.
pub fn parse(file: &Path, text: &str) -> Result<(Settings, Problems), Problems> {
    let document = document::parse(file, text)?;
    let source = Source::new(file, text);
    let settings = read(Table::root(&source, &document));
    let problems = source.into_problems();
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok((settings, problems))
    }
}

fn read(mut root: Table<'_>) -> Settings {
    let policy = policy::read(root.table("policy"));
    let mut stacks = BTreeMap::new();
    // What a stack that could not be read would have said is not known: it may ask.
    let mut schema_asks = false;
    if !root.has("stack") {
        let hint = "add [stack.NAME] with directory = \"/srv/NAME\"; NAME is the Compose project's name";
        root.fault(Fault::new("there is no stack").hint(hint));
    }
    if let Some(table) = root.table("stack") {
        for (name, table) in table.named_tables::<StackName>() {
            let has_database = table.has("database");
            let stack = stack::read(name.clone(), table, &policy);
            schema_asks |= match &stack {
                Some(stack) if stack.database.is_some() || !has_database => stack.schema_asks(),
                _ => true,
            };
            if let Some(stack) = stack {
                stacks.insert(name, stack);
            }
        }
    }
    let agent = agent::read(root.table("agent"), &policy, schema_asks);
    root.reserved(&["notify", "backup", "metrics", "http"]);
    root.finish();
    Settings {
        agent,
        stacks,
        policy,
    }
}
