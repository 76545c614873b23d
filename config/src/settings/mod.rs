//! `steadfast.toml` as validated types: what the agent is told about itself, its stacks and its
//! policy. Whether the directories and services named in it exist is asked elsewhere.

use std::collections::BTreeMap;
use std::path::Path;

use state::name::StackName;
use state::policy::SeverityMatrix;

mod agent;
mod backup;
mod database;
mod integrity;
mod manual;
mod migrations;
mod policy;
mod probe;
mod stack;
mod word;

pub use agent::{Account, AgentSettings, ControlSettings, EngineAddress, LogFormat};
pub use backup::{AfterBackup, BackupSettings, Schedule};
pub use database::{
    Credential, DatabaseAccess, DatabaseSettings, ForeignSessions, PreserveSettings, SecretSource,
};
pub use integrity::IntegritySettings;
pub use migrations::MigrationSettings;
pub use probe::{HttpTarget, ProbeKind, ProbeSettings, StatusPattern, StatusSet, TcpTarget};
pub use stack::{ComposeFiles, EnvFile, ImageTemplate, Mention, StackSettings};
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
    let agent = agent::read(root.table("agent"));
    let policy = policy::read(root.table("policy"));
    let mut stacks = BTreeMap::new();
    if !root.has("stack") {
        let hint = "add [stack.NAME] with directory = \"/srv/NAME\"; NAME is the Compose project's name";
        root.fault(Fault::new("there is no stack").hint(hint));
    }
    if let Some(table) = root.table("stack") {
        for (name, table) in table.named_tables::<StackName>() {
            if let Some(stack) = stack::read(name.clone(), table, &policy) {
                stacks.insert(name, stack);
            }
        }
    }
    root.reserved(&["notify", "backup", "metrics", "http"]);
    root.finish();
    Settings {
        agent,
        stacks,
        policy,
    }
}
