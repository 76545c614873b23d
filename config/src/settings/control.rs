//! `[agent.control]`: who may act over the control socket, besides root and the daemon's own user; for one act, or for the
//! answer about a failure of one severity, others than in general. Whether such users and groups exist is asked elsewhere.

use std::collections::BTreeMap;

use state::policy::{Approval, FailureAction, Severity, SeverityMatrix};
use toml::de::DeValue;

use super::word::AccountName;
use crate::error::Place;
use crate::fragment::{Fault, Item, Table};
use crate::validate::{count, name, text};

/// Every act that is asked for over the socket, as its paths and the record call it. `release`: whatever is done in a
/// repository.
pub const ACTS: [&str; 15] = [
    "retry",
    "rollback",
    "pause",
    "resume",
    "approve",
    "deny",
    "backup",
    "verify",
    "restore",
    "drop",
    "put-in",
    "drop-rows",
    "env-restore",
    "env-import",
    "release",
];

/// `[agent.control]`. Everybody who can open the socket may read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ControlSettings {
    /// `act_users`: names or numbers. Default none.
    pub act_users: Vec<Account>,
    /// `act_groups`: names or numbers. Default none.
    pub act_groups: Vec<Account>,
    /// `[agent.control.acts]`: who may do one of [`ACTS`], instead of those above. Default: those above.
    pub acts: BTreeMap<&'static str, Vec<Party>>,
    /// `[agent.control.severity]`: who may answer what is asked about a failure of a severity, instead of those who may
    /// `approve` and `deny`. Default: those.
    pub severity: BTreeMap<Severity, Vec<Party>>,
    /// Every name in here, for whoever can look whether there is such a user or group.
    pub named: Vec<Named>,
}

/// A user or a group of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// By number.
    Id(u32),
    /// By name.
    Name(AccountName),
}

/// A user, or all of a group: `anna`, `1000`, `@ops`, `@500`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    /// Without `@`.
    User(Account),
    /// With `@`.
    Group(Account),
}

/// A name of a user or a group, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: AccountName,
    /// Whether it is a group's.
    pub is_group: bool,
    /// Where.
    pub place: Place,
    /// Under which key.
    pub key: String,
}

/// `schema_asks`: whether a stack, or one of its revisions, says `rollback_schema = "ask"`.
pub(super) fn read(mut table: Table<'_>, policy: &SeverityMatrix, schema_asks: bool) -> ControlSettings {
    let mut settings = ControlSettings {
        act_users: table.list("act_users", account).unwrap_or_default(),
        act_groups: table.list("act_groups", account).unwrap_or_default(),
        ..ControlSettings::default()
    };
    let mut named = Vec::new();
    let users = settings.act_users.iter().cloned().map(Party::User);
    note(&table, "act_users", users, &mut named);
    let groups = settings.act_groups.iter().cloned().map(Party::Group);
    note(&table, "act_groups", groups, &mut named);
    if let Some(mut acts) = table.table("acts") {
        for act in ACTS {
            if let Some(who) = acts.list(act, party) {
                note(&acts, act, who.iter().cloned(), &mut named);
                settings.acts.insert(act, who);
            }
        }
        acts.finish();
    }
    if let Some(mut severities) = table.table("severity") {
        for severity in Severity::ALL {
            if let Some(who) = severities.list(severity.as_str(), party) {
                note(&severities, severity.as_str(), who.iter().cloned(), &mut named);
                settings.severity.insert(severity, who);
                unless_asked(&severities, severity, policy, schema_asks);
            }
        }
        severities.finish();
    }
    settings.named = named;
    table.finish();
    settings
}

/// A key that would say nothing is an error: it looks as if it did. Before a rollback the policy asks, or the schema does.
fn unless_asked(table: &Table<'_>, severity: Severity, policy: &SeverityMatrix, schema_asks: bool) {
    let row = policy.row(severity);
    let rolls_back = row.action == FailureAction::Rollback;
    if rolls_back && (row.approval != Approval::None || schema_asks) {
        return;
    }
    let fault = Fault::new(format!("nobody is asked about a failure that is {severity}"));
    let hint = if rolls_back {
        format!(
            "set approval = \"lead\" in [policy.{severity}], or rollback_schema = \"ask\" for the database of a stack, or take it \
             out"
        )
    } else {
        format!("set action = \"rollback\" and approval = \"lead\" in [policy.{severity}], or take it out")
    };
    table.fault_at(severity.as_str(), fault.hint(hint));
}

/// Keeps where names are written.
fn note(table: &Table<'_>, key: &str, who: impl Iterator<Item = Party>, named: &mut Vec<Named>) {
    let by_name = who.filter_map(|party| match party {
        Party::User(Account::Name(name)) => Some((name, false)),
        Party::Group(Account::Name(name)) => Some((name, true)),
        Party::User(Account::Id(_)) | Party::Group(Account::Id(_)) => None,
    });
    named.extend(by_name.map(|(name, is_group)| Named {
        name,
        is_group,
        place: table.place_of(key),
        key: table.path_of(key),
    }));
}

fn account(item: &Item<'_>) -> Result<Account, Fault> {
    match item.value {
        DeValue::Integer(_) => count(0, u32::MAX - 1)(item).map(Account::Id),
        _ => name(item).map(Account::Name),
    }
}

fn party(item: &Item<'_>) -> Result<Party, Fault> {
    if matches!(item.value, DeValue::Integer(_)) {
        return account(item).map(Party::User);
    }
    let Some(group) = text(item)?.strip_prefix('@') else {
        return account(item).map(Party::User);
    };
    if let Ok(id) = group.parse::<u32>()
        && id < u32::MAX
    {
        return Ok(Party::Group(Account::Id(id)));
    }
    let named = group.parse().map(|name| Party::Group(Account::Name(name)));
    named.map_err(|error| {
        Fault::new(format!("{error}")).hint("write a group as \"@ops\", or by its number: \"@500\"")
    })
}
