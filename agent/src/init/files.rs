//! The files of a project, read as Compose reads them. What is asked of them again and again is how one variable shows:
//! it is given a value that nothing else has, and looked where that turns up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use config::compose::{self, ComposeInput, Loaded, Source};
use config::error::Problem;
use state::name::{ServiceName, Tag};
use state::stack_spec::{EnvValue, StackSpec};

use super::project::Project;
use crate::inputs::env_values;

/// What a variable is set to, to find it again: no image, and nobody's value, is called so.
const MARK: &str = "steadfast0mark";

/// The files of one project.
pub(crate) struct Files<'a> {
    pub(crate) project: &'a Project,
    source: &'a dyn Source,
    /// The stack as it is written, with the tags that run.
    pub(crate) spec: StackSpec,
    /// How each service names its image.
    pub(crate) images: BTreeMap<ServiceName, ImageUse>,
    /// The variables of the env file. They may be secret: no `Debug` shows them.
    env: BTreeMap<String, String>,
    /// The services whose HEALTHCHECK mentions a variable.
    pub(crate) variable_checks: BTreeSet<ServiceName>,
    /// The profiles that are on.
    pub(crate) profiles: BTreeSet<String>,
}

/// How a service names its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageUse {
    /// A variable in the tag's place.
    Variable {
        name: String,
        before: String,
        after: String,
    },
    /// As it is written.
    Written(String),
    /// It is built, and has no name of its own.
    Built,
}

impl<'a> Files<'a> {
    /// Reads them; the error is all that is wrong.
    pub(crate) fn read(project: &'a Project, source: &'a dyn Source) -> Result<Self, Vec<Problem>> {
        let env_path = project
            .env_file
            .clone()
            .unwrap_or_else(|| project.directory.join(".env"));
        let env = source
            .read(&env_path)
            .map(|bytes| env_values(&env_path, &bytes))
            .unwrap_or_default();
        let mut names: BTreeSet<String> = BTreeSet::new();
        for file in &project.files {
            let bytes = source.read(file).unwrap_or_default();
            names.extend(named_in_images(&String::from_utf8_lossy(&bytes)));
        }
        // A tag that only the shell knew is no reason to know nothing.
        let missing = names.iter().filter(|name| !env.contains_key(*name));
        let stand_in: BTreeMap<_, _> = missing.map(|name| (name.clone(), MARK.to_owned())).collect();
        let whole = load(project, source, &["*"], &stand_in)?;
        let profiles = profiles(project, &whole.spec);
        let words: Vec<&str> = profiles.iter().map(String::as_str).collect();
        let loaded = load(project, source, &words, &stand_in)?;
        names.extend(loaded.interpolated.values().flatten().cloned());
        let images = images(project, source, &words, &names, &stand_in, &loaded);
        Ok(Self {
            project,
            source,
            spec: loaded.spec,
            images,
            variable_checks: loaded.interpolated_checks,
            env,
            profiles,
        })
    }

    /// The values of the env file and of the containers' environments. Any of them may be secret.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        let containers = self.project.containers.iter().flat_map(|c| c.env.values());
        self.env
            .values()
            .map(String::as_str)
            .chain(containers.map(EnvValue::expose))
    }

    /// The keys of the env file that have this value.
    pub(crate) fn keys_with(&self, value: &str) -> Vec<&str> {
        let same = self.env.iter().filter(|(_, v)| *v == value);
        same.map(|(key, _)| key.as_str()).collect()
    }

    /// The key of the env file that a variable of a service has its whole value from.
    pub(crate) fn key_behind(&self, service: &ServiceName, variable: &str, value: &str) -> Option<String> {
        let leads = |key: &&str| {
            let marked = [((*key).to_owned(), MARK.to_owned())].into();
            let words: Vec<&str> = self.profiles.iter().map(String::as_str).collect();
            let Ok(loaded) = load(self.project, self.source, &words, &marked) else {
                return false;
            };
            let spec = loaded.spec.services.get(service);
            let now = spec.and_then(|spec| spec.environment.get(variable)?.as_ref());
            now.is_some_and(|now| now.expose() == MARK)
        };
        let same = self.keys_with(value);
        let by_name = || same.iter().find(|key| **key == variable).copied();
        same.iter()
            .copied()
            .find(leads)
            .or_else(by_name)
            .map(str::to_owned)
    }

    /// What is read of the disk.
    pub(crate) fn source(&self) -> &dyn Source {
        self.source
    }

    /// The env file, wherever it is.
    pub(crate) fn env_path(&self) -> PathBuf {
        let default = || self.project.directory.join(".env");
        self.project.env_file.clone().unwrap_or_else(default)
    }

    /// The tag that the running container of a service was made with.
    pub(crate) fn running_tag(&self, service: &ServiceName) -> Option<Tag> {
        let image = &self.project.container(service.as_str())?.image;
        let (_, tag) = split(image)?;
        let tag = match self.images.get(service) {
            Some(ImageUse::Variable { before, after, .. }) => {
                tag?.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?
            }
            _ => tag.unwrap_or("latest"),
        };
        tag.parse().ok()
    }
}

fn load(
    project: &Project,
    source: &dyn Source,
    profiles: &[&str],
    overrides: &BTreeMap<String, String>,
) -> Result<Loaded, Vec<Problem>> {
    let mut input = ComposeInput::new(
        project.name.clone(),
        project.directory.clone(),
        project.files.clone(),
    );
    input.profiles = profiles.iter().map(|&profile| profile.to_owned()).collect();
    input.overrides.clone_from(overrides);
    input.env_files = project.env_file.clone().into_iter().collect();
    compose::load(source, &input).map_err(|problems| problems.0)
}

/// The names of variables in lines that name an image.
fn named_in_images(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.split_once("image:"));
    lines.flat_map(|(_, rest)| names(rest)).collect()
}

fn names(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let parts = text.split('$').skip(1);
    let names = parts.map(|part| {
        let part = part.strip_prefix('{').unwrap_or(part);
        let end = part.find(|c| !is_part(c)).unwrap_or(part.len());
        part[..end].to_owned()
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// The profiles without which something that runs would not be there.
fn profiles(project: &Project, whole: &StackSpec) -> BTreeSet<String> {
    let running = whole
        .services
        .iter()
        .filter(|(name, _)| project.running(name.as_str()).next().is_some());
    let mut on: BTreeSet<String> = BTreeSet::new();
    for (_, spec) in running {
        if spec.profiles.is_disjoint(&on) {
            on.extend(spec.profiles.first().cloned());
        }
    }
    on
}

fn images(
    project: &Project,
    source: &dyn Source,
    profiles: &[&str],
    names: &BTreeSet<String>,
    stand_in: &BTreeMap<String, String>,
    plain: &Loaded,
) -> BTreeMap<ServiceName, ImageUse> {
    let mut uses = BTreeMap::new();
    for (service, spec) in &plain.spec.services {
        uses.insert(
            service.clone(),
            spec.image.clone().map_or(ImageUse::Built, ImageUse::Written),
        );
    }
    for name in names {
        let mut marked = stand_in.clone();
        marked.retain(|other, _| other != name);
        for other in stand_in.keys().filter(|other| *other != name) {
            marked.insert(other.clone(), String::from("other"));
        }
        marked.insert(name.clone(), MARK.to_owned());
        // Where it has to be a number elsewhere, it is no tag.
        let Ok(loaded) = load(project, source, profiles, &marked) else {
            continue;
        };
        for (service, spec) in loaded.spec.services {
            let tag = spec.image.as_deref().and_then(split).and_then(|(_, tag)| tag);
            let around = tag.and_then(|tag| tag.split_once(MARK));
            if let Some((before, after)) = around.filter(|(_, after)| !after.contains(MARK)) {
                let found = ImageUse::Variable {
                    name: name.clone(),
                    before: before.to_owned(),
                    after: after.to_owned(),
                };
                uses.insert(service, found);
            }
        }
    }
    uses
}

/// An image reference as its name and its tag. `None`: it has a digest, or is one.
pub(crate) fn split(reference: &str) -> Option<(&str, Option<&str>)> {
    if reference.contains('@') || reference.starts_with("sha256:") {
        return None;
    }
    let path = reference.rfind('/').map_or(0, |at| at + 1);
    match reference[path..].rfind(':') {
        Some(at) => Some((&reference[..path + at], Some(&reference[path + at + 1..]))),
        None => Some((reference, None)),
    }
}
