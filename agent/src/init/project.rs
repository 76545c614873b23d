//! Which projects there are, and of which files: by the labels of what runs, or by a directory that somebody names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config::settings::ComposeFiles;
use state::name::StackName;

use super::found::Question;
use crate::engine::survey::{Origin, Sighting};

/// What somebody asked for; nothing: every project that runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// These projects alone.
    pub(crate) projects: BTreeSet<StackName>,
    /// Those of these directories, absolute, whether they run or not.
    pub(crate) directories: Vec<PathBuf>,
    /// The Compose files of the one directory, where they are not what Compose would find.
    pub(crate) files: Vec<PathBuf>,
}

/// One project.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) name: StackName,
    pub(crate) directory: PathBuf,
    /// In their order.
    pub(crate) files: Vec<PathBuf>,
    /// Whether a search in the directory finds the same ones.
    pub(crate) searched: bool,
    /// Where it is not `.env`.
    pub(crate) env_file: Option<PathBuf>,
    pub(crate) containers: Vec<Sighting>,
}

impl Project {
    /// The containers of a service that run.
    pub(crate) fn running(&self, service: &str) -> impl Iterator<Item = &Sighting> {
        let of = self.containers.iter().filter(move |c| c.service == service);
        of.filter(|c| c.state.is_running())
    }

    /// The one container of a service that says most: one that runs, else any.
    pub(crate) fn container(&self, service: &str) -> Option<&Sighting> {
        let any = || self.containers.iter().find(|c| c.service == service);
        self.running(service).next().or_else(any)
    }
}

/// The projects, by name; `read` has the text of a file, where there is one, and `resolved` a directory without links in it.
pub(crate) fn projects(
    seen: Vec<Sighting>,
    asked: &Asked,
    read: &dyn Fn(&Path) -> Option<String>,
    resolved: &dyn Fn(&Path) -> PathBuf,
) -> (Vec<Project>, Vec<Question>) {
    let (mut projects, mut questions): (Vec<Project>, Vec<Question>) = (Vec::new(), Vec::new());
    for (name, containers) in by_name(seen) {
        let origin = commonest(&containers);
        let wanted = asked.projects.is_empty() || asked.projects.iter().any(|p| p.as_str() == name);
        let here = |directory: &PathBuf| asked.directories.contains(&resolved(directory));
        let named = asked.projects.iter().any(|p| p.as_str() == name);
        let unlabelled = origin.directory.is_none() && named && asked.directories.len() == 1;
        if !wanted
            || !(asked.directories.is_empty() || unlabelled || origin.directory.as_ref().is_some_and(here))
        {
            continue;
        }
        match project(&name, origin, containers, asked, read) {
            Ok((project, more)) => {
                projects.push(project);
                questions.extend(more);
            }
            Err(question) => questions.push(question),
        }
    }
    for directory in &asked.directories {
        let is_known = |project: &Project| resolved(&project.directory) == *directory;
        if projects.iter().any(is_known) {
            continue;
        }
        match by_directory(directory, asked, read) {
            Ok(project) => match projects.iter().find(|other| other.name == project.name) {
                Some(other) => questions.push(namesakes(&project, other)),
                None => projects.push(project),
            },
            Err(question) => questions.push(question),
        }
    }
    for name in &asked.projects {
        let told = |q: &Question| q.what.contains(&format!("\"{name}\"")) || q.stack.as_ref() == Some(name);
        if !projects.iter().any(|project| project.name == *name) && !questions.iter().any(told) {
            let what = format!("no container has the label of a project \"{name}\"");
            questions.push(of_host(
                what,
                "`docker compose ls -a` lists them; of one that does not run, name the directory",
            ));
        }
    }
    projects.sort_by(|a, b| a.name.cmp(&b.name));
    (projects, questions)
}

fn namesakes(left_out: &Project, other: &Project) -> Question {
    let what = format!(
        "{} is left out: {} has a project \"{}\" too, and a host has one of each name",
        left_out.directory.display(),
        other.directory.display(),
        other.name
    );
    let way_out = "give it another one, by `name: NAME` at the top of its Compose file";
    Question::of(&other.name, what, way_out)
}

/// What of a project's places cannot be written into a file, and would keep all other projects out of it too.
fn unwritable(project: &Project) -> Option<Question> {
    let is_plain = |path: &&PathBuf| {
        let text = path.to_str();
        path.is_absolute() && text.is_some_and(|text| !text.contains(char::is_control))
    };
    let mut all = std::iter::once(&project.directory)
        .chain(&project.files)
        .chain(&project.env_file);
    let path = all.find(|path| !is_plain(path))?;
    let shown = path.to_string_lossy();
    let what = format!(
        "left out: \"{}\" is not absolute, or holds what is no letter in a settings file",
        shown.escape_debug()
    );
    let way_out =
        "`docker compose up -d` once from a directory and with files of plain names, and init again";
    Some(Question::of(&project.name, what, way_out))
}

fn by_name(seen: Vec<Sighting>) -> BTreeMap<String, Vec<Sighting>> {
    let mut all: BTreeMap<String, Vec<Sighting>> = BTreeMap::new();
    for sighting in seen {
        all.entry(sighting.origin.project.clone())
            .or_default()
            .push(sighting);
    }
    all
}

fn of_host(what: impl Into<String>, way_out: impl Into<String>) -> Question {
    Question {
        stack: None,
        what: what.into(),
        way_out: way_out.into(),
    }
}

/// Where most of the containers are from.
fn commonest(containers: &[Sighting]) -> Origin {
    let mut counted: BTreeMap<&Origin, usize> = BTreeMap::new();
    for container in containers {
        *counted.entry(&container.origin).or_default() += 1;
    }
    let most = counted.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(origin, _)| origin.clone())
        .expect("a project has a container, by which it is known")
}

fn project(
    name: &str,
    origin: Origin,
    containers: Vec<Sighting>,
    asked: &Asked,
    read: &dyn Fn(&Path) -> Option<String>,
) -> Result<(Project, Vec<Question>), Question> {
    let parsed: StackName = name.parse().map_err(|error| {
        of_host(
            format!("the project \"{name}\" is left out: {error}"),
            "give it another name: `docker compose -p NAME up -d`",
        )
    })?;
    let mut questions: Vec<Question> = several_origins(&parsed, &containers, &origin)
        .into_iter()
        .collect();
    let one = || {
        asked
            .directories
            .first()
            .filter(|_| asked.directories.len() == 1)
            .cloned()
    };
    let Some(directory) = origin.directory.or_else(one) else {
        let way_out = format!("name it: steadfast init --project {name} DIRECTORY");
        return Err(Question::of(
            &parsed,
            "no label of its containers says which directory they are of",
            way_out,
        ));
    };
    let labelled = origin.files.as_deref().map(|files| listed(files, &directory));
    let given = asked
        .files
        .iter()
        .map(|file| as_labelled(file, asked, &directory));
    let given = Some(given.collect::<Vec<_>>()).filter(|files| !files.is_empty());
    let files = given.or(labelled);
    if files.iter().flatten().any(|file| file.ends_with("-")) {
        let way_out =
            "write them into a file in its directory, `docker compose up -d` once from there, and init again";
        return Err(Question::of(
            &parsed,
            "its Compose file came from a pipe, and is nowhere",
            way_out,
        ));
    }
    let found = found_in(&directory, read);
    let searched = files.as_ref().is_none_or(|files| *files == found);
    let files = files.unwrap_or(found);
    let env_files = origin.env_files.as_deref().map(|files| listed(files, &directory));
    let env_files = env_files.unwrap_or_default();
    questions.extend(several_env_files(&parsed, &env_files));
    let env_file = env_files.into_iter().next_back();
    let env_file = env_file.filter(|file| *file != directory.join(".env"));
    let project = Project {
        name: parsed,
        directory,
        files,
        searched,
        env_file,
        containers,
    };
    match unwritable(&project) {
        Some(question) => Err(question),
        None => Ok((project, questions)),
    }
}

/// A file that somebody named below the real directory, as it is below the one that the label spells.
fn as_labelled(file: &Path, asked: &Asked, directory: &Path) -> PathBuf {
    let below = |asked: &PathBuf| Some(directory.join(file.strip_prefix(asked).ok()?));
    let found = asked.directories.first().and_then(below);
    found.unwrap_or_else(|| file.to_owned())
}

fn several_env_files(name: &StackName, files: &[PathBuf]) -> Option<Question> {
    if files.len() < 2 {
        return None;
    }
    let all: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let what = format!(
        "it was started with several env files, {}, and a stack is kept with one: the last is taken",
        all.join(", ")
    );
    let way_out = "write into it what only the others set, and `docker compose up -d` once with it alone";
    Some(Question::of(name, what, way_out))
}

fn several_origins(name: &StackName, containers: &[Sighting], chosen: &Origin) -> Option<Question> {
    let other = containers.iter().find(|c| c.origin != *chosen)?;
    let shown = |origin: &Origin| {
        let directory = origin.directory.as_ref().map(|d| d.display().to_string());
        let files = origin.files.clone().unwrap_or_default();
        format!(
            "{} ({files})",
            directory.unwrap_or_else(|| String::from("no directory"))
        )
    };
    let what = format!(
        "its containers were made from {} and, {} among them, from {}",
        shown(chosen),
        other.name,
        shown(&other.origin)
    );
    let way_out = "the first is taken; `docker compose up -d` with the right files makes them one, before the first run";
    Some(Question::of(name, what, way_out))
}

/// What a label lists: as Compose was given it, relative to the directory.
fn listed(files: &str, directory: &Path) -> Vec<PathBuf> {
    let files = files.split(',').map(str::trim).filter(|file| !file.is_empty());
    files
        .map(|file| directory.join(file.trim_start_matches("./")))
        .collect()
}

fn found_in(directory: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Vec<PathBuf> {
    ComposeFiles::Search(directory.to_owned()).paths_where(&|path| read(path).is_some())
}

/// A project of which nothing runs, or nothing that says so.
fn by_directory(
    directory: &Path,
    asked: &Asked,
    read: &dyn Fn(&Path) -> Option<String>,
) -> Result<Project, Question> {
    let found = found_in(directory, read);
    let (files, searched) = match &asked.files[..] {
        [] => (found, true),
        files => (files.to_vec(), files == found),
    };
    if files.is_empty() {
        let what = format!("there is no Compose file in {}", directory.display());
        return Err(of_host(what, "name it: --file docker-compose.prod.yml"));
    }
    let one = asked.projects.first().filter(|_| asked.projects.len() == 1);
    let own = || own_name(files.iter().filter_map(|file| read(file))).or_else(|| by_compose(directory));
    let Some(name) = one.cloned().or_else(own) else {
        let what = format!("{} does not give its project a name", directory.display());
        return Err(of_host(what, "name it: --project NAME"));
    };
    let project = Project {
        name,
        directory: directory.to_owned(),
        files,
        searched,
        env_file: None,
        containers: Vec::new(),
    };
    match unwritable(&project) {
        Some(question) => Err(question),
        None => Ok(project),
    }
}

/// The `name:` of the last file that has one.
fn own_name(texts: impl Iterator<Item = String>) -> Option<StackName> {
    let named = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("name:"))?;
        line.trim().trim_matches(['"', '\'']).parse().ok()
    };
    texts.filter_map(named).last()
}

/// As Compose calls the project of a directory.
fn by_compose(directory: &Path) -> Option<StackName> {
    let name = directory.file_name()?.to_str()?.to_lowercase();
    let kept: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    kept.trim_start_matches(['-', '_']).parse().ok()
}
