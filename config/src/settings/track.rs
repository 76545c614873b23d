//! `track` of a stack: other files that belong to a release, each a path, or a table with a command that is asked before a
//! version of it is used. A path that ends with a slash is a directory, with all files below it.

use std::path::{Component, Path, PathBuf};

use state::files::{Action, FileCheck, Signal};
use state::name::ServiceName;
use state::stack_spec::{ServiceSpec, StackSpec};

use super::stack::{Mention, StackSettings};
use crate::error::{Place, Problem, Problems};
use crate::fragment::{Fault, Item, Table};
use crate::validate::{name, path_in, text};

/// A check, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheckSettings {
    /// What is asked, and where.
    pub check: FileCheck,
    /// Where it is written.
    pub place: Place,
    /// The key of its command.
    pub key: String,
    /// Whether it is about a whole directory.
    pub whole: bool,
}

impl FileCheckSettings {
    /// The error when its service has the file mounted nowhere: then nobody there could look at it. Of a service that is
    /// none of the Compose file's something else is said.
    pub(super) fn unseen(&self, spec: &StackSpec) -> Option<Problem> {
        let FileCheck { path, service, .. } = &self.check;
        let mut sources = spec.services.get(service).map(ServiceSpec::host_paths)?;
        if sources.any(|source| path.starts_with(source) || (self.whole && source.starts_with(path))) {
            return None;
        }
        let message = format!("{service} does not mount {}, and cannot check it", path.display());
        let problem = Problem::error(self.place.clone(), self.key.clone(), message);
        Some(problem.hint(format!(
            "name the service that has it among its `volumes`, or mount it in {service}"
        )))
    }
}

/// What is done about a file, where that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileActionSettings {
    /// The file, or the directory.
    pub path: PathBuf,
    /// Whether it is a directory.
    pub whole: bool,
    /// What is done.
    pub action: Action,
    /// Where it is written.
    pub place: Place,
    /// The key.
    pub key: String,
}

impl FileActionSettings {
    /// The error where a service cannot read the file again in this way. `is_file`: which paths are files.
    pub(super) fn unread(&self, spec: &StackSpec, is_file: &dyn Fn(&Path) -> bool) -> Option<Problem> {
        let Action::Signal(_) = self.action else {
            return None;
        };
        let alone = |source: &Path| {
            source == self.path && !self.whole
                || self.whole && source.starts_with(&self.path) && is_file(source)
        };
        let (service, source) = spec.services.iter().find_map(|(name, service)| {
            let source = service.host_paths().find(|source| alone(source))?;
            Some((name, source))
        })?;
        let message = format!(
            "{service} mounts the file {} itself: a file is replaced by a rename, and a signal leaves the container with the old one",
            source.display()
        );
        let problem = Problem::error(self.place.clone(), self.key.clone(), message);
        Some(problem.hint("mount the directory that it is in, or write action = \"restart\""))
    }

    /// The error where releases come from a repository.
    pub(super) fn of_a_repository(&self) -> Option<Problem> {
        let message = "a file of a repository is mounted from a path that its content names: its containers are made anew";
        let problem = || Problem::error(self.place.clone(), self.key.clone(), message);
        (!self.action.is_recreate()).then(|| problem().hint("take it out"))
    }
}

impl StackSettings {
    /// Whether `track` names this file, or a directory that it lies below.
    pub fn tracks(&self, file: &Path) -> bool {
        self.track.iter().any(|tracked| tracked == file)
            || self
                .track_below
                .iter()
                .any(|directory| file.starts_with(directory) && file != directory)
    }

    /// What is done with the containers that see a file when it changes: as it says itself, or the directory that it is in.
    pub fn action_of(&self, file: &Path) -> Action {
        let written = self.file_actions.iter();
        let of = written.filter(|of| file == of.path || (of.whole && file.starts_with(&of.path)));
        let nearest = of.max_by_key(|of| of.path.components().count());
        nearest.map(|of| of.action).unwrap_or_default()
    }

    /// An error for every file that a service would not read again in the way that is written. `is_file`: which paths are
    /// files.
    pub fn unread_files(&self, spec: &StackSpec, is_file: &dyn Fn(&Path) -> bool) -> Problems {
        let all = self.file_actions.iter();
        Problems(match &self.source {
            Some(_) => all.filter_map(FileActionSettings::of_a_repository).collect(),
            None => all.filter_map(|of| of.unread(spec, is_file)).collect(),
        })
    }

    /// An error for every check of a file that its service, as the Compose file has it, does not see.
    pub fn unseen_files(&self, spec: &StackSpec) -> Problems {
        let checks = self.file_checks.iter();
        Problems(checks.filter_map(|check| check.unseen(spec)).collect())
    }
}

/// One element of `track`.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) path: PathBuf,
    /// Whether it is a directory.
    pub(super) whole: bool,
    check: Option<(FileCheckSettings, Mention)>,
    pub(super) action: Option<FileActionSettings>,
}

impl Tracked {
    pub(super) fn check(self) -> Option<FileCheckSettings> {
        self.check.map(|(check, _)| check)
    }
}

pub(super) fn paths(tracked: &[Tracked], whole: bool) -> Vec<PathBuf> {
    let these = tracked.iter().filter(|file| file.whole == whole);
    these.map(|file| file.path.clone()).collect()
}

pub(super) fn read(table: &mut Table<'_>, base: &Path, mentions: &mut Vec<Mention>) -> Vec<Tracked> {
    let element = |item: &Item<'_>| match item.as_table() {
        // What is wrong with it is said where it is wrong.
        Some(table) => Ok(checked(table, base)),
        None => place(base)(item).map(|(path, whole)| {
            Some(Tracked {
                path,
                whole,
                check: None,
                action: None,
            })
        }),
    };
    let all = table.list("track", element).unwrap_or_default();
    let all: Vec<Tracked> = all.into_iter().flatten().collect();
    let named = all.iter().filter_map(|file| file.check.as_ref());
    mentions.extend(named.map(|(_, mention)| mention.clone()));
    all
}

/// A path, and whether it is that of a directory: that is said by the settings, and not by what happens to be there.
fn place(base: &Path) -> impl Fn(&Item<'_>) -> Result<(PathBuf, bool), Fault> {
    move |item| {
        let path = path_in(base)(item)?;
        let whole = item.text().is_ok_and(|text| text.ends_with('/'));
        let leads_up = path.components().any(|part| part == Component::ParentDir);
        if whole && (leads_up || base.starts_with(&path)) {
            let fault = Fault::new(format!("{} holds more than a release", path.display()));
            return Err(fault.hint("name the directories that hold configuration, as \"nginx/\""));
        }
        Ok((path, whole))
    }
}

fn checked(mut table: Table<'_>, base: &Path) -> Option<Tracked> {
    let path = table.require("path", "\"nginx.conf\"", place(base));
    let service: Option<ServiceName> = table.get("service", name);
    let command = command(&mut table);
    let action = table.get("action", action);
    for (key, other, hint) in [
        (
            "check",
            "service",
            "add service = \"frontend\": it is run in a container of that service, as the new release has it",
        ),
        (
            "service",
            "check",
            "add check = [\"nginx\", \"-t\"], or write the path alone",
        ),
    ] {
        if table.has(key) && !table.has(other) {
            let fault = Fault::new(format!("\"{key}\" without \"{other}\""));
            table.fault_at(key, fault.hint(hint));
        }
    }
    let mention = Mention::of(&table, service.as_ref());
    let (place, key) = (table.place_of("check"), table.path_of("check"));
    let written = (table.place_of("action"), table.path_of("action"));
    table.finish();
    let (path, whole) = path?;
    let action = action.map(|action| FileActionSettings {
        path: path.clone(),
        whole,
        action,
        place: written.0,
        key: written.1,
    });
    let check = service
        .zip(command)
        .zip(mention)
        .map(|((service, command), mention)| {
            let path = path.clone();
            let check = FileCheck {
                path,
                service,
                command,
            };
            let check = FileCheckSettings {
                check,
                place,
                key,
                whole,
            };
            (check, mention)
        });
    Some(Tracked {
        path,
        whole,
        check,
        action,
    })
}

fn action(item: &Item<'_>) -> Result<Action, Fault> {
    let written = text(item)?;
    match written {
        "recreate" => return Ok(Action::Recreate),
        "restart" => return Ok(Action::Restart),
        _ => {}
    }
    let Some(signal) = written.strip_prefix("signal:") else {
        let fault = Fault::new(format!("{} is no action", item.written()));
        return Err(fault.hint("write \"recreate\", \"restart\" or \"signal:HUP\""));
    };
    match signal.strip_prefix("SIG").unwrap_or(signal) {
        "HUP" => Ok(Action::Signal(Signal::Hup)),
        "USR1" => Ok(Action::Signal(Signal::Usr1)),
        "USR2" => Ok(Action::Signal(Signal::Usr2)),
        "WINCH" => Ok(Action::Signal(Signal::Winch)),
        _ => {
            let fault = Fault::new(format!(
                "{} is no signal that a program reads its files for",
                item.written()
            ));
            Err(fault.hint("HUP, USR1, USR2 or WINCH"))
        }
    }
}

/// A program and its arguments: no shell takes a line apart.
fn command(table: &mut Table<'_>) -> Option<Vec<String>> {
    if table.has("check") && !table.is_array("check") {
        return table.get("check", |item| Err(as_a_list(item)));
    }
    let command = table.list("check", |item| text(item).map(str::to_owned))?;
    if command.is_empty() {
        let fault = Fault::new("there is no program");
        table.fault_at(
            "check",
            fault.hint("write check = [\"nginx\", \"-t\"], or take it out"),
        );
        return None;
    }
    Some(command)
}

fn as_a_list(item: &Item<'_>) -> Fault {
    let fault = Fault::new(format!("expected a list of words, found {}", item.described()));
    let words: Vec<&str> = item.text().unwrap_or("nginx -t").split_whitespace().collect();
    fault.hint(format!("no shell takes it apart: write check = {words:?}"))
}
