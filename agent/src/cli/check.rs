//! `steadfast check`: all that is wrong with the files, at once, each with its place. Reads the
//! files, says what they lack for a safe rollback, and asks the repositories that they name whether they answer.

mod source;
mod way_back;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config::compose::{self, Source as _};
use config::desired_file;
use config::error::{Place, Problem};
use config::settings::{Settings, StackSettings};
use serde::Serialize;
use state::desired::Desired;
use state::name::{ServiceName, StackName};

use super::args::Common;
use super::failure::Outcome;
use super::output::{self, BAD, BOLD, GOOD, WARN, paint};
use super::reader::width;
use super::source_line::excerpt;
use super::text::hanging;
use crate::control::is_known;
use crate::files::HostDisk;
use crate::inputs;
use crate::view::{FORMAT, ProblemView};

/// Answer to `check --json`.
#[derive(Serialize)]
pub(super) struct Report {
    /// [`FORMAT`].
    pub(super) format: u32,
    /// Whether there is no error.
    pub(super) valid: bool,
    /// Everything, in the order of the files.
    pub(super) problems: Vec<ProblemView>,
}

pub(super) fn run(common: &Common, json: bool) -> Outcome {
    let (problems, read) = collect(common);
    let errors = problems.iter().filter(|p| p.is_error()).count();
    let code = if errors > 0 { 2 } else { 0 };
    if json {
        let report = Report {
            format: FORMAT,
            valid: errors == 0,
            problems: problems.iter().map(ProblemView::of).collect(),
        };
        return output::json(&report, code);
    }
    let width = width();
    let mut text: String = problems.iter().map(|problem| render(problem, width)).collect();
    text.push_str(&verdict(errors, problems.len() - errors, &read));
    output::print(&text)?;
    Ok(code)
}

/// What was read well, in words.
#[derive(Default)]
struct Read {
    stacks: usize,
    services: usize,
}

/// Everything that is wrong, and what is not.
fn collect(common: &Common) -> (Vec<Problem>, Read) {
    let mut read = Read::default();
    let (settings, mut problems) = match config::settings::load(&common.config) {
        Ok((settings, warnings)) => (settings, warnings.0),
        Err(error) => return (error.problems().0, read),
    };
    let desired = match desired_file::load(&settings.agent.desired, &settings.stacks) {
        Ok(desired) => desired,
        Err(error) => {
            problems.extend(error.problems().0);
            BTreeMap::new()
        }
    };
    let broken = problems.iter().any(Problem::is_error);
    let mut services = BTreeMap::new();
    for (name, stack) in &settings.stacks {
        let wish = desired.get(name);
        if wish.is_none() && !broken {
            let place = Place::file(&settings.agent.desired);
            let problem = Problem::warning(place, name.as_str(), "there is no entry for this stack");
            problems.push(problem.hint(format!("until there is [{name}] with a tag, it is left alone")));
        }
        let known = stack_problems(&common.config, stack, wish, &mut problems);
        read.services += known.as_ref().map_or(0, BTreeSet::len);
        read.stacks += 1;
        services.extend(known.map(|known| (name.clone(), known)));
    }
    problems.extend(unknown_accounts(&settings));
    problems.extend(unknown_pins(&settings, &services));
    problems.extend(source::problems(&settings, &common.config));
    (problems, read)
}

/// The services of a stack, where its Compose files can be read.
fn stack_problems(
    config: &Path,
    stack: &StackSettings,
    wish: Option<&Desired>,
    problems: &mut Vec<Problem>,
) -> Option<BTreeSet<ServiceName>> {
    let files = stack.compose.paths();
    if stack.source.is_some() {
        let place = Place::file(&stack.directory);
        let message = "the Compose files are those of the commit, and are not looked at here";
        let problem = Problem::warning(place, "compose", message);
        let hint = format!(
            "the daemon reads them when a tag is asked for: `steadfast plan {}`",
            stack.name
        );
        problems.push(problem.hint(hint));
        return None;
    }
    if files.is_empty() {
        let place = Place::file(&stack.directory);
        let problem = Problem::error(place, "compose", "there is no Compose file in this directory");
        problems.push(problem.hint("name the files: compose = [\"docker-compose.prod.yml\"]"));
        return None;
    }
    // Of a stack whose releases come from a repository, the commit may have it.
    let missing = |file: &&PathBuf| stack.source.is_none() && !file.exists();
    for file in stack.track.iter().filter(missing) {
        problems
            .push(Problem::error(Place::file(file), "track", "no such file").hint("take it out of track"));
    }
    // As the daemon reads them: a link that leads out of the stack's directory is not followed.
    let disk = HostDisk::new([stack.directory.clone()]);
    for directory in stack.track_below.iter().filter(|_| stack.source.is_none()) {
        if let Err(error) = disk.list(directory) {
            let words = config::error::with_sources(&error);
            problems.push(Problem::error(Place::file(directory), "track", words));
        }
    }
    // Without a wish any tag does: it is the form that is checked.
    let any = || Desired::new("latest".parse().expect("a tag like any other"));
    let wish = wish.cloned().unwrap_or_else(any);
    match compose::load(&disk, &inputs::compose_input(&disk, stack, &wish, &files)) {
        Ok(loaded) => {
            problems.extend(loaded.warnings.0.iter().cloned());
            problems.extend(inputs::env_in_place(&disk, stack, &wish, None).err());
            let known: BTreeSet<ServiceName> = loaded.spec.services.keys().cloned().collect();
            problems.extend(stack.unknown_services(&known).0);
            problems.extend(stack.unseen_files(&loaded.spec).0);
            problems.extend(stack.unread_files(&loaded.spec, &|path| path.is_file()).0);
            problems.extend(way_back::lacks(stack, &loaded, config));
            Some(known)
        }
        Err(found) => {
            problems.extend(found.0);
            None
        }
    }
}

/// A name that this host does not know gives nobody a right. The account may come later: no error.
fn unknown_accounts(settings: &Settings) -> Vec<Problem> {
    let named = settings.agent.control.named.iter();
    let unknown = named.filter(|named| is_known(named.name.as_str(), named.is_group) == Some(false));
    unknown
        .map(|named| {
            let (kind, file) = if named.is_group {
                ("group", "/etc/group")
            } else {
                ("user", "/etc/passwd")
            };
            let message = format!("this host has no {kind} \"{}\": nobody may act by it", named.name);
            let hint =
                format!("it is looked up in {file}; whoever is known elsewhere (LDAP) is named by number");
            Problem::warning(named.place.clone(), named.key.clone(), message).hint(hint)
        })
        .collect()
}

fn unknown_pins(settings: &Settings, services: &BTreeMap<StackName, BTreeSet<ServiceName>>) -> Vec<Problem> {
    let path = &settings.agent.desired;
    // Unreadable was said before.
    let text = std::fs::read_to_string(path).unwrap_or_default();
    desired_file::unknown_services(path, &text, services).0
}

/// One problem as compilers show theirs.
fn render(problem: &Problem, width: usize) -> String {
    let (style, word) = if problem.is_error() {
        (BAD, "error")
    } else {
        (WARN, "warning")
    };
    let key = if problem.key.is_empty() {
        String::new()
    } else {
        format!("{}: ", problem.key)
    };
    let head = format!("{}{} ", paint(style, word), paint(BOLD, ":"));
    let message = format!("{key}{}", problem.message);
    let mut text = hanging(&head, &message, word.len() + 2, width);
    let arrow = paint(BOLD, "-->");
    text.push_str(&format!("  {arrow} {}\n", problem.place));
    if let Some(excerpt) = excerpt(problem) {
        text.push_str(&excerpt);
    }
    if let Some(hint) = &problem.hint {
        let head = format!("   {} ", paint(BOLD, "= help:"));
        text.push_str(&hanging(&head, hint, 11, width));
    }
    text.push('\n');
    text
}

fn verdict(errors: usize, warnings: usize, read: &Read) -> String {
    let many = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    let warned = match warnings {
        0 => String::new(),
        _ => format!(", {}", many(warnings, "warning")),
    };
    if errors > 0 {
        return format!("{}{warned}\n", paint(BAD, &many(errors, "error")));
    }
    let (stacks, services) = (many(read.stacks, "stack"), many(read.services, "service"));
    format!("{}: {stacks}, {services}{warned}\n", paint(GOOD, "valid"))
}

#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;
