//! What was found of one project, put together: a stack as it is going to be kept, and what is not known of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::database::database;
use super::files::Files;
use super::found::{Question, Stack};
use super::git::origin;
use super::health::{Answers, probes};
use super::migrations::{Inside, migrations, perhaps_by_itself};
use super::tags::tags;
use super::tracked::tracked;

/// The stack, from its files, from what is in its containers, and from what they answered.
pub(crate) fn choose(files: &Files<'_>, inside: &Inside, answers: &Answers) -> (Stack, Vec<Question>) {
    let mut questions = Vec::new();
    let project = files.project;
    let tags = tags(files, &mut questions);
    let track = tracked(files, &mut questions);
    let probes = probes(files, answers, &mut questions);
    let mut database = database(files, &mut questions);
    if let Some(database) = &mut database {
        database.migrations = migrations(files, inside, &mut questions);
        if let Some(chosen) = database
            .migrations
            .as_ref()
            .filter(|chosen| perhaps_by_itself(inside, chosen))
        {
            let what = format!(
                "the script that {} starts with speaks of an upgrade of the schema; whether it runs one is not known",
                chosen.service
            );
            let way_out = "the agent upgrades before it starts; where the containers alone are to do it, write upgrade = \"stack\"";
            questions.push(Question::of(&project.name, what, way_out));
        }
    }
    left_over(files, &mut questions);
    let stack = Stack {
        name: project.name.clone(),
        directory: project.directory.clone(),
        compose: (!project.searched).then(|| project.files.clone()),
        env_file: project.env_file.clone(),
        profiles: files.profiles.clone(),
        writes: writes(
            project.directory.clone(),
            &project.files,
            project.env_file.as_deref(),
        ),
        services: files.spec.services.len(),
        git: origin(files.source(), &project.directory),
        tags,
        track,
        probes,
        database,
    };
    (stack, questions)
}

/// Where files are that a rollback puts back.
fn writes(directory: PathBuf, files: &[PathBuf], env_file: Option<&Path>) -> BTreeSet<PathBuf> {
    let others = files.iter().map(PathBuf::as_path).chain(env_file);
    let outside = others.filter(|file| !file.starts_with(&directory));
    let mut all: BTreeSet<PathBuf> = outside.filter_map(Path::parent).map(Path::to_owned).collect();
    all.insert(directory);
    all
}

/// Containers of services that the files do not have.
fn left_over(files: &Files<'_>, questions: &mut Vec<Question>) {
    let known = |service: &str| files.spec.services.keys().any(|known| known.as_str() == service);
    for container in files.project.containers.iter().filter(|c| !known(&c.service)) {
        let what = format!(
            "{} is of a service {} that the Compose files do not have",
            container.name, container.service
        );
        let way_out = "take it away (`docker compose up -d --remove-orphans`), or give the files the service";
        questions.push(Question::of(&files.project.name, what, way_out));
    }
}
