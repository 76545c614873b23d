//! Which tool moves the schema, and from which service's image: by the files in its containers, and by the words and the
//! scripts that they start with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use state::name::ServiceName;

use super::files::Files;
use super::found::{Migrations, Question};
use super::tags::{image_of, is_not_ours};

/// What a tool is known by: its file in an image, and what calls it.
struct Known {
    tool: &'static str,
    file: &'static str,
    upgrades: &'static str,
}

const TOOLS: [Known; 2] = [
    Known {
        tool: "alembic",
        file: "alembic.ini",
        upgrades: "alembic upgrade",
    },
    Known {
        tool: "django",
        file: "manage.py",
        upgrades: "manage.py migrate",
    },
];

/// Where applications are put, beside the directory that they run in.
const PLACES: [&str; 6] = [
    "/app",
    "/code",
    "/src",
    "/usr/src/app",
    "/srv/app",
    "/app/backend",
];

/// How many scripts of one service are read.
const MOST_SCRIPTS: usize = 3;

/// What containers have, of what was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inside {
    /// The files that are there.
    pub(crate) files: BTreeSet<(ServiceName, String)>,
    /// The texts of the scripts that services start with.
    pub(crate) scripts: BTreeMap<ServiceName, Vec<String>>,
}

/// The services that may have migrations, and where in their containers to look.
pub(crate) fn places(files: &Files<'_>) -> Vec<(ServiceName, Vec<String>)> {
    let ours = files
        .spec
        .services
        .keys()
        .filter(|service| !is_not_ours(&image_of(files, service)));
    let places = |service: &ServiceName| {
        let container = files.project.container(service.as_str())?;
        let mut directories = vec![if container.workdir.is_empty() {
            "/"
        } else {
            &container.workdir
        }];
        directories.extend(PLACES.iter().filter(|place| **place != container.workdir));
        let names = |directory: &str| TOOLS.map(|tool| join(directory, tool.file));
        Some((service.clone(), directories.into_iter().flat_map(names).collect()))
    };
    ours.filter_map(places).collect()
}

fn join(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

/// The scripts that a service may start with.
pub(crate) fn scripts(files: &Files<'_>, service: &ServiceName) -> Vec<String> {
    let Some(container) = files.project.container(service.as_str()) else {
        return Vec::new();
    };
    let is_path = |word: &&String| !word.contains([' ', '\n']) && !word.starts_with('-');
    let words = container
        .words
        .iter()
        .enumerate()
        .filter(|(_, word)| is_path(word));
    let mut paths = Vec::new();
    for (i, word) in words {
        if word.starts_with('/') && (i == 0 || is_script(word)) {
            paths.push(word.clone());
        } else if word.contains('/') && is_script(word) {
            paths.push(join(&container.workdir, word.trim_start_matches("./")));
        } else if is_script(word) {
            paths.extend([join("/usr/local/bin", word), join(&container.workdir, word)]);
        }
    }
    paths.truncate(MOST_SCRIPTS);
    paths
}

fn is_script(word: &str) -> bool {
    Path::new(word).extension().is_some_and(|end| end == "sh")
}

/// The choice, for a stack with a database.
pub(crate) fn migrations(
    files: &Files<'_>,
    inside: &Inside,
    questions: &mut Vec<Question>,
) -> Option<Migrations> {
    let mut found: Vec<(bool, Migrations)> = Vec::new();
    for (service, places) in places(files) {
        for known in &TOOLS {
            let at = |path: &&String| {
                path.ends_with(known.file) && inside.files.contains(&(service.clone(), (*path).clone()))
            };
            let Some(path) = places.iter().find(at) else {
                continue;
            };
            found.push(of(files, inside, &service, known, path));
        }
    }
    let name = &files.project.name;
    if let Some(flyway) = files
        .spec
        .services
        .keys()
        .find(|s| image_of(files, s).contains("flyway"))
    {
        let what = format!("{flyway} looks like Flyway, which is not set up by itself");
        let way_out = format!(
            "write [stack.{name}.database.migrations] with tool = \"flyway\" and service = \"{flyway}\""
        );
        questions.push(Question::of(name, what, way_out));
    }
    // One that does nothing but migrate has the scripts too; what serves is the better one to call them in.
    let one_shot = |m: &Migrations| files.spec.is_one_shot(&m.service);
    found.sort_by_key(|(calls, m)| (one_shot(m), !calls));
    let several: BTreeSet<String> = found.iter().map(|(_, m)| image_of(files, &m.service)).collect();
    let mut found = found.into_iter().map(|(_, migrations)| migrations);
    let chosen = found.next();
    match &chosen {
        None => {
            let what =
                "no service has alembic.ini or manage.py where it runs: nobody knows what moves the schema";
            let way_out = format!(
                "name the tool in [stack.{name}.database.migrations]; until then the schema is watched, and a release that moves \
                 it is held instead of taken back"
            );
            questions.push(Question::of(name, what, way_out));
        }
        Some(chosen) if several.len() > 1 => {
            let others: Vec<String> = found.map(|m| m.service.to_string()).collect();
            let what = format!(
                "{} has migrations, and so has {}",
                chosen.service,
                others.join(", ")
            );
            questions.push(Question::of(
                name,
                what,
                "the first is taken; name another as service, or as tool",
            ));
        }
        Some(_) => {}
    }
    chosen
}

/// What one service has; and whether it calls the tool.
fn of(
    files: &Files<'_>,
    inside: &Inside,
    service: &ServiceName,
    known: &Known,
    path: &str,
) -> (bool, Migrations) {
    let container = files.project.container(service.as_str());
    let words = container.map(|c| c.words.join(" ")).unwrap_or_default();
    let runs = container.map_or("", |c| c.workdir.as_str());
    let directory = path
        .strip_suffix(known.file)
        .unwrap_or(path)
        .trim_end_matches('/');
    let scripts = inside
        .scripts
        .get(service)
        .map(|all| all.join("\n"))
        .unwrap_or_default();
    // What another service does once, before this one starts, the stack does as it starts.
    let once = files
        .spec
        .services
        .keys()
        .filter(|other| files.spec.is_one_shot(other));
    let by_another = once
        .filter_map(|other| files.project.container(other.as_str()))
        .any(|c| c.words.join(" ").contains(known.upgrades));
    let migrations = Migrations {
        tool: known.tool,
        service: service.clone(),
        workdir: (directory != runs.trim_end_matches('/')).then(|| directory.to_owned()),
        by_the_stack: words.contains(known.upgrades) || by_another,
        why: format!("{path} is in its image"),
    };
    (
        words.contains(known.upgrades) || scripts.contains(known.upgrades),
        migrations,
    )
}

/// Whether a script that a service starts with speaks of an upgrade, which nobody can tell from its text.
pub(crate) fn perhaps_by_itself(inside: &Inside, chosen: &Migrations) -> bool {
    let known = TOOLS.iter().find(|known| known.tool == chosen.tool);
    let texts = inside.scripts.get(&chosen.service).into_iter().flatten();
    !chosen.by_the_stack && known.is_some_and(|known| texts.clone().any(|text| text.contains(known.upgrades)))
}
