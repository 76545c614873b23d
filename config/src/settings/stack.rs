//! `[stack.NAME]`: which files make up the stack, how a tag reaches its images, how it is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use state::name::{ServiceName, StackName, Tag};
use state::policy::{Approval, FailureAction, Severity, SeverityMatrix, TrialPolicy};

use super::database::{self, DatabaseSettings};
use super::probe::{self, ProbeSettings};
use super::source::{self, SourceSettings};
use super::track::{self, FileActionSettings, FileCheckSettings, Tracked};
use super::word::{Profile, VarName};
use crate::error::{Place, Problem, Problems, did_you_mean};
use crate::fragment::{Fault, Item, Table};
use crate::validate::{absolute_path, count, duration, name, path_in, show_duration, text};

/// `[stack.NAME]`. All paths are absolute: relative ones were resolved against `directory`.
#[derive(Debug, Clone, PartialEq)]
pub struct StackSettings {
    /// The name; also the Compose project's.
    pub name: StackName,
    /// `directory`: the project directory. Required.
    pub directory: PathBuf,
    /// `compose`. Default: as Compose searches.
    pub compose: ComposeFiles,
    /// `env_file`. Default: `.env`, when there is one.
    pub env_file: EnvFile,
    /// `profiles`. Default none.
    pub profiles: Vec<Profile>,
    /// `tag_vars`: the variables of the Compose file that carry the tag. Default `["TAG"]`.
    pub tag_vars: Vec<VarName>,
    /// `track`: other files that are part of a release. Default none.
    pub track: Vec<PathBuf>,
    /// `track`, where it ends with a slash: directories of which all files are part of a release. Default none.
    pub track_below: Vec<PathBuf>,
    /// What is asked before a version of one of them is used. Default nothing.
    pub file_checks: Vec<FileCheckSettings>,
    /// What is done with the containers that see one of them, where that is written. Default: they are made anew.
    pub file_actions: Vec<FileActionSettings>,
    /// `[stack.NAME.images]`: how a tag reaches a service's image, where not by a variable.
    pub images: BTreeMap<ServiceName, ImageTemplate>,
    /// `[stack.NAME.trial]`.
    pub trial: TrialPolicy,
    /// `[[stack.NAME.probe]]`.
    pub probes: Vec<ProbeSettings>,
    /// `[stack.NAME.source]`. Default: releases are what is in the directory.
    pub source: Option<SourceSettings>,
    /// `[stack.NAME.database]`.
    pub database: Option<DatabaseSettings>,
    /// Where services are named, to be compared with the Compose file.
    pub mentions: Vec<Mention>,
}

impl StackSettings {
    /// An error for every service that is named here and not in the Compose file, whose are `known`.
    pub fn unknown_services(&self, known: &BTreeSet<ServiceName>) -> Problems {
        let missing = self
            .mentions
            .iter()
            .filter(|mention| !known.contains(&mention.service));
        Problems(missing.map(|mention| mention.problem(known)).collect())
    }

    /// Whether a person may be asked before a rollback because of the schema, whatever the policy says.
    pub(super) fn schema_asks(&self) -> bool {
        let tool = self.database.as_ref().and_then(|of| of.migrations.tool.as_ref());
        tool.is_some_and(|tool| tool.declared.may_ask())
    }
}

/// One place where a service is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The service.
    pub service: ServiceName,
    /// Where it is named.
    pub place: Place,
    /// The key that names it.
    pub key: String,
}

impl Mention {
    /// The service that `table` names under `service`.
    pub(super) fn of(table: &Table<'_>, service: Option<&ServiceName>) -> Option<Self> {
        service.map(|service| Self {
            service: service.clone(),
            place: table.place_of("service"),
            key: table.path_of("service"),
        })
    }

    /// The error when the service is none of `known`.
    pub fn problem(&self, known: &BTreeSet<ServiceName>) -> Problem {
        let message = format!("the Compose file has no service \"{}\"", self.service);
        let all = || {
            format!(
                "its services: {}",
                known
                    .iter()
                    .map(ServiceName::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        };
        let hint = did_you_mean(self.service.as_str(), known.iter().map(ServiceName::as_str));
        Problem::error(self.place.clone(), self.key.clone(), message).hint(hint.unwrap_or_else(all))
    }
}

/// Which Compose files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComposeFiles {
    /// The first of [`ComposeFiles::NAMES`] in the directory, and the first of
    /// [`ComposeFiles::OVERRIDES`] on top, where there is one.
    Search(PathBuf),
    /// These, in this order.
    Listed(Vec<PathBuf>),
}

impl ComposeFiles {
    /// The names that Compose looks for, in its order (Compose Specification, "Compose file").
    pub const NAMES: [&'static str; 4] = [
        "compose.yaml",
        "compose.yml",
        "docker-compose.yml",
        "docker-compose.yaml",
    ];
    /// The names of the file that Compose merges on top.
    pub const OVERRIDES: [&'static str; 4] = [
        "compose.override.yml",
        "compose.override.yaml",
        "docker-compose.override.yml",
        "docker-compose.override.yaml",
    ];

    /// The files as they are to be read now; for [`Self::Search`] the disk is looked at. Empty when
    /// the search found nothing.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.paths_where(&|path| path.exists())
    }

    /// As [`Self::paths`]; `is_there` says which files there are.
    pub fn paths_where(&self, is_there: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
        match self {
            Self::Listed(paths) => paths.clone(),
            Self::Search(directory) => {
                let first = |names: &[&str]| {
                    names
                        .iter()
                        .map(|name| directory.join(name))
                        .find(|path| is_there(path))
                };
                first(&Self::NAMES).map_or_else(Vec::new, |base| {
                    std::iter::once(base).chain(first(&Self::OVERRIDES)).collect()
                })
            }
        }
    }
}

/// Which file holds the stack's variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvFile {
    /// `.env` in the directory; none at all is no error.
    Optional(PathBuf),
    /// This one; it must be there.
    Required(PathBuf),
}

impl EnvFile {
    /// The path, whether or not the file must be there.
    pub fn path(&self) -> &Path {
        match self {
            Self::Optional(path) | Self::Required(path) => path,
        }
    }
}

/// An image reference with a place for the tag: `registry.example/app/api:{tag}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTemplate(String);

impl ImageTemplate {
    const PLACE: &'static str = "{tag}";

    /// The reference with `tag` in its place.
    pub fn render(&self, tag: &Tag) -> String {
        self.0.replace(Self::PLACE, tag.as_str())
    }
}

pub(super) fn read(name_: StackName, mut table: Table<'_>, policy: &SeverityMatrix) -> Option<StackSettings> {
    let example = format!("\"/srv/{name_}\"");
    let directory = table.require("directory", &example, absolute_path);
    // All else is read even where the directory is wrong: all problems at once.
    let base = directory.clone().unwrap_or_else(|| PathBuf::from("/"));
    let trial = table.table("trial").map(read_trial).unwrap_or_default();
    let mut mentions = Vec::new();
    let images = table
        .table("images")
        .map(|images| read_images(&images, &mut mentions))
        .unwrap_or_default();
    let probes = read_probes(&mut table, &trial, &mut mentions);
    let source = table.table("source").and_then(source::read);
    let database = table.table("database");
    let database = database.map(|database| database::read(database, &base, &mut mentions));
    let tracked = track::read(&mut table, &base, &mut mentions);
    let stack = StackSettings {
        name: name_,
        compose: read_compose(&mut table, &base),
        env_file: table
            .get("env_file", path_in(&base))
            .map_or_else(|| EnvFile::Optional(base.join(".env")), EnvFile::Required),
        profiles: table.list("profiles", name).unwrap_or_default(),
        tag_vars: table
            .list("tag_vars", name)
            .unwrap_or_else(|| vec!["TAG".parse().expect("a valid variable name")]),
        track: track::paths(&tracked, false),
        track_below: track::paths(&tracked, true),
        file_actions: tracked.iter().filter_map(|file| file.action.clone()).collect(),
        file_checks: tracked.into_iter().filter_map(Tracked::check).collect(),
        directory: directory.clone().unwrap_or_default(),
        images,
        trial,
        probes,
        source,
        database: database.flatten(),
        mentions,
    };
    check_terms(&table, &stack, policy);
    table.reserved(&["backup", "notify", "drill", "env"]);
    table.finish();
    directory.map(|_| stack)
}

fn read_compose(table: &mut Table<'_>, base: &Path) -> ComposeFiles {
    match table.list("compose", path_in(base)) {
        None => ComposeFiles::Search(base.to_owned()),
        Some(files) if files.is_empty() => {
            let fault = Fault::new("no Compose file at all");
            table.fault_at(
                "compose",
                fault.hint("name at least one, or take the key out: then compose.yaml is found"),
            );
            ComposeFiles::Listed(files)
        }
        Some(files) => ComposeFiles::Listed(files),
    }
}

fn read_images(table: &Table<'_>, mentions: &mut Vec<Mention>) -> BTreeMap<ServiceName, ImageTemplate> {
    let images = table.named_values::<ServiceName, _>(image);
    for service in images.keys() {
        let (place, key) = (table.place_of(service.as_str()), table.path_of(service.as_str()));
        mentions.push(Mention {
            service: service.clone(),
            place,
            key,
        });
    }
    images
}

fn image(item: &Item<'_>) -> Result<ImageTemplate, Fault> {
    let template = text(item)?;
    let example = "write it as \"registry.example/app/api:{tag}\"";
    let bare = template.replace(ImageTemplate::PLACE, "");
    if bare.len() == template.len() {
        let fault = Fault::new(format!("{} has no place for the tag", item.written()));
        return Err(fault.hint(example));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | ':' | '-');
    if !bare.chars().all(plain) || template.starts_with([':', '/', '{']) {
        let fault = Fault::new(format!("{} is not an image reference", item.written()));
        return Err(fault.hint(example));
    }
    Ok(ImageTemplate(template.to_owned()))
}

fn read_trial(mut table: Table<'_>) -> TrialPolicy {
    let default = TrialPolicy::default();
    let (second, month) = (Duration::from_secs(1), Duration::from_secs(30 * 86400));
    let time =
        |table: &mut Table<'_>, key, default| table.get(key, duration(second, month)).unwrap_or(default);
    let trial = TrialPolicy {
        window: time(&mut table, "window", default.window),
        good_after: time(&mut table, "good_after", default.good_after),
        trial_max: time(&mut table, "trial_max", default.trial_max),
        settled_after: time(&mut table, "settled_after", default.settled_after),
        budget: table.get("budget", count(0, 100)).unwrap_or(default.budget),
        budget_per: time(&mut table, "budget_per", default.budget_per),
    };
    for (long_key, long, short_key, short) in [
        ("trial_max", trial.trial_max, "window", trial.window),
        ("trial_max", trial.trial_max, "good_after", trial.good_after),
        (
            "settled_after",
            trial.settled_after,
            "good_after",
            trial.good_after,
        ),
    ] {
        if long < short {
            let at = if table.has(long_key) { long_key } else { short_key };
            let (long, short) = (show_duration(long), show_duration(short));
            let fault = Fault::new(format!(
                "{long_key} ({long}) is shorter than {short_key} ({short})"
            ));
            table.fault_at(
                at,
                fault.hint("make it at least as long: a verdict needs that time"),
            );
        }
    }
    table.finish();
    trial
}

fn read_probes(
    table: &mut Table<'_>,
    trial: &TrialPolicy,
    mentions: &mut Vec<Mention>,
) -> Vec<ProbeSettings> {
    let tables = table.tables("probe");
    let probes = probe::read_all(tables, trial.window, |service, probe| {
        let (place, key) = (probe.place_of("service"), probe.path_of("service"));
        mentions.push(Mention {
            service: service.clone(),
            place,
            key,
        });
    });
    if !table.has("probe") {
        let fault = Fault::new("no probe: only the state of the containers will judge a release");
        table.warn_at(
            "probe",
            fault.hint("add [[stack.NAME.probe]] with name, service and kind"),
        );
    }
    probes
}

/// A failure shows when the window has passed: the term of the policy must allow for that. The state
/// of a container is critical; other severities matter where a probe has them.
fn check_terms(table: &Table<'_>, stack: &StackSettings, policy: &SeverityMatrix) {
    let used = |severity| stack.probes.iter().any(|probe| probe.policy.severity == severity);
    for severity in Severity::ALL
        .into_iter()
        .filter(|&severity| severity == Severity::Critical || used(severity))
    {
        let row = policy.row(severity);
        let Some(respond) = row.respond else { continue };
        if row.action == FailureAction::Rollback && respond < stack.trial.window {
            let late = match row.approval {
                Approval::None => "the rollback would come later",
                Approval::By(_) => "the approval would be asked for too late",
            };
            let (window, respond) = (show_duration(stack.trial.window), show_duration(respond));
            let message =
                format!("the window is {window}, and policy.{severity}.respond is {respond}: {late}");
            table.fault_at(
                "trial",
                Fault::new(message).hint("shorten trial.window, or lengthen respond"),
            );
        }
    }
}
