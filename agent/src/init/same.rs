//! Whether the files say what was found, by the parser that the daemon reads them with. A difference is a bug of ours, and
//! nothing is written then.

use std::collections::{BTreeMap, BTreeSet};

use config::settings::{ComposeFiles, Settings, StackSettings, VarName};
use state::desired::Desired;
use state::name::StackName;

use super::found::{Stack, Tags};

/// What differs; `None`: the files say what was found.
pub(crate) fn differs(
    stacks: &[Stack],
    settings: &Settings,
    desired: &BTreeMap<StackName, Desired>,
) -> Option<String> {
    let names: BTreeSet<&StackName> = stacks.iter().map(|stack| &stack.name).collect();
    if !settings.stacks.keys().eq(names.iter().copied()) || !desired.keys().eq(names.iter().copied()) {
        return Some(String::from("the stacks"));
    }
    stacks.iter().find_map(|stack| {
        let part = of_stack(stack, &settings.stacks[&stack.name])
            .or_else(|| of_wish(&stack.tags, &desired[&stack.name]));
        part.map(|part| format!("{part} of {}", stack.name))
    })
}

fn of_stack(stack: &Stack, read: &StackSettings) -> Option<&'static str> {
    let compose = match &stack.compose {
        Some(files) => ComposeFiles::Listed(files.clone()),
        None => ComposeFiles::Search(stack.directory.clone()),
    };
    let default = || stack.directory.join(".env");
    let probes = read.probes.iter().map(|probe| &probe.policy.service);
    let checks = stack.track.iter().filter(|file| file.check.is_some()).count();
    let database = stack
        .database
        .as_ref()
        .filter(|database| database.lacks.is_none());
    let migrations = database.and_then(|database| database.migrations.as_ref());
    let read_migrations = read
        .database
        .as_ref()
        .is_some_and(|database| database.migrations.tool.is_some());
    let parts = [
        ("directory", read.directory == stack.directory),
        ("compose", read.compose == compose),
        (
            "env_file",
            read.env_file.path() == stack.env_file.clone().unwrap_or_else(default),
        ),
        ("profiles", read.profiles.len() == stack.profiles.len()),
        (
            "tag_vars",
            stack.tags.vars.is_empty()
                || read
                    .tag_vars
                    .iter()
                    .map(VarName::as_str)
                    .eq(stack.tags.vars.iter()),
        ),
        (
            "track",
            read.track.iter().eq(stack.track.iter().map(|file| &file.path)),
        ),
        ("checks", read.file_checks.len() == checks),
        ("images", read.images.keys().eq(stack.tags.templates.keys())),
        (
            "probes",
            probes.eq(stack.probes.iter().map(|probe| &probe.service)),
        ),
        ("database", read.database.is_some() == database.is_some()),
        ("migrations", read_migrations == migrations.is_some()),
    ];
    parts.into_iter().find(|(_, same)| !same).map(|(part, _)| part)
}

fn of_wish(tags: &Tags, read: &Desired) -> Option<&'static str> {
    let same = read.tag == tags.tag && read.services == tags.pins;
    (!same).then_some("desired.toml")
}
