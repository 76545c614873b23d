//! `desired.toml`: what to run, stack by stack. Only an operator's act changes it (`pin`); whether
//! the tag exists, and the services are known, is asked elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use state::desired::{Desired, EnvWish, MigrationWish};
use state::name::{Digest, EnvId, Revision, ServiceName, StackName, Tag};

use crate::document::{self, LoadError};
use crate::error::{Problems, did_you_mean};
use crate::fragment::{Fault, Item, Source, Table};
use crate::settings::Mention;
use crate::validate::name;

/// Reads `desired.toml` at `path`. `known_stacks` are the stacks of `steadfast.toml`.
pub fn load<V>(
    path: &Path,
    known_stacks: &BTreeMap<StackName, V>,
) -> Result<BTreeMap<StackName, Desired>, LoadError> {
    let text = document::read_text(path, "write it, with [NAME] and tag = \"…\" for each stack")?;
    parse(path, &text, known_stacks).map_err(LoadError::Invalid)
}

/// Reads the text of a `desired.toml`; `file` is what errors call it.
pub fn parse<V>(
    file: &Path,
    text: &str,
    known_stacks: &BTreeMap<StackName, V>,
) -> Result<BTreeMap<StackName, Desired>, Problems> {
    read(file, text, |stack, table| {
        if !known_stacks.contains_key(stack) {
            table.fault(unknown_stack(stack, known_stacks));
        }
    })
}

/// An error for every pinned service that its stack has not; stacks that are not in `services` are
/// not looked at, and a text that cannot be read has none.
pub fn unknown_services(
    file: &Path,
    text: &str,
    services: &BTreeMap<StackName, BTreeSet<ServiceName>>,
) -> Problems {
    let mut problems = Problems::default();
    let _ = read(file, text, |stack, table| {
        let Some(known) = services.get(stack) else { return };
        let Some(pins) = table.table("services") else {
            return;
        };
        for service in pins.named_values::<ServiceName, _>(|_| Ok(())).into_keys() {
            if !known.contains(&service) {
                let (place, key) = (pins.place_of(service.as_str()), pins.path_of(service.as_str()));
                problems.push(Mention { service, place, key }.problem(known));
            }
        }
    });
    problems
}

/// Reads every stack; `look` sees each before its keys are read.
pub(crate) fn read(
    file: &Path,
    text: &str,
    mut look: impl FnMut(&StackName, &mut Table<'_>),
) -> Result<BTreeMap<StackName, Desired>, Problems> {
    let document = document::parse(file, text)?;
    let source = Source::new(file, text);
    let root = Table::root(&source, &document);
    let mut stacks = BTreeMap::new();
    if document.is_empty() {
        let what = if text.trim().is_empty() {
            "the file is empty"
        } else {
            "there is no stack in the file"
        };
        let hint = "add [NAME] and tag = \"…\"; an editor or a full disk may have cut it off";
        root.fault(Fault::new(what).hint(hint));
    }
    for (name, mut table) in root.named_tables::<StackName>() {
        look(&name, &mut table);
        if let Some(desired) = read_stack(table) {
            stacks.insert(name, desired);
        }
    }
    let problems = source.into_problems();
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok(stacks)
    }
}

fn read_stack(mut table: Table<'_>) -> Option<Desired> {
    let tag = table.require("tag", "\"v1.0.0\"", name::<Tag>);
    let migration = table.get("migration", migration).unwrap_or_default();
    let env = table.get("env", env).unwrap_or_default();
    let services = table
        .table("services")
        .map(|pins| pins.named_values(name::<Tag>))
        .unwrap_or_default();
    table.finish();
    Some(Desired {
        tag: tag?,
        migration,
        env,
        services,
    })
}

/// A wish for the schema.
fn migration(item: &Item<'_>) -> Result<MigrationWish, Fault> {
    let hint = "write \"head\" or a revision, or take the key out for what the release brings";
    match item.text()? {
        "head" => Ok(MigrationWish::Head),
        "heads" => Err(Fault::new("\"heads\" is not a wish").hint("write \"head\": it means all of them")),
        "base" => Err(Fault::new("\"base\" would undo every migration").hint(hint)),
        text if text.starts_with(['-', '+']) => {
            let fault = Fault::new(format!("{} is relative to what runs", item.written()));
            Err(fault.hint("write the revision itself: the file says what is wanted, not how to get there"))
        }
        _ => name::<Revision>(item)
            .map(MigrationWish::Revision)
            .map_err(|fault| fault.hint(hint)),
    }
}

/// A wish for `.env`.
fn env(item: &Item<'_>) -> Result<EnvWish, Fault> {
    let text = item.text()?;
    if text == "current" {
        return Ok(EnvWish::Current);
    }
    if let Some(digest) = text.strip_prefix("sha256:") {
        return digest.parse::<Digest>().map(EnvWish::Sha256).map_err(|error| {
            let hint = if digest.len() == 64 {
                "write it in lower case"
            } else {
                "copy all that `sha256sum .env` prints"
            };
            Fault::from(error).hint(hint)
        });
    }
    if text.parse::<Digest>().is_ok() {
        let fault = Fault::new("a digest without its kind");
        return Err(fault.hint(format!("write \"sha256:{text}\"")));
    }
    text.parse::<EnvId>().map(EnvWish::Short).map_err(|_| {
        let hint = did_you_mean(text, ["current"]).unwrap_or_else(|| {
            "write \"current\", \"sha256:…\", or the short id that `steadfast history` shows".into()
        });
        Fault::new(format!("{} is neither \"current\" nor an env id", item.written())).hint(hint)
    })
}

fn unknown_stack<V>(stack: &StackName, known: &BTreeMap<StackName, V>) -> Fault {
    let names = || known.keys().map(StackName::as_str);
    let hint = did_you_mean(stack.as_str(), names())
        .unwrap_or_else(|| format!("its stacks: {}", names().collect::<Vec<_>>().join(", ")));
    Fault::new(format!("steadfast.toml has no stack \"{stack}\"")).hint(hint)
}
