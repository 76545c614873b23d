//! `steadfast init`: looks at what runs, has the files made of it, writes them, and says what could not be found out.

mod report;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::compose::{Disk, Source as _};
use config::settings::{EngineAddress, Settings};
use state::desired::Desired;
use state::name::StackName;

use super::args::{Common, Init};
use super::failure::{Failure, Outcome, chain};
use super::output;
use crate::engine::address::Address;
use crate::engine::{DockerEngine, EngineError};
use crate::init::{Asked, Files, Places, Project, Question, Stack, choose, differs, look, projects};
use crate::preview::{Contact, PreviewError, contacts};
use crate::probe::NetProber;
#[cfg(test)]
pub(super) use report::{FileRow, QuestionRow, Report, StackRow};
use write::Targets;

/// All that there is to say.
struct Found {
    stacks: Vec<Stack>,
    questions: Vec<Question>,
    contacts: Vec<Contact>,
    files: Vec<(PathBuf, String)>,
}

pub(super) async fn run(common: &Common, init: &Init) -> Outcome {
    let targets = Targets::of(common, init.output_dir.as_deref())?;
    if !init.print && !init.force {
        targets.must_be_free()?;
    }
    let found = find(init, &targets).await?;
    let kept = if init.print {
        Vec::new()
    } else {
        write::write(&found.files, init.force)?
    };
    if init.json {
        return output::json(&report::Report::of(&found, !init.print), 0);
    }
    let said = report::text(&found, &kept, &targets, init.print);
    if init.print {
        for (path, text) in &found.files {
            output::print(&format!("# --- {}\n{text}\n", path.display()))?;
        }
        output::note(said.trim_end());
    } else {
        output::print(&said)?;
    }
    Ok(0)
}

async fn find(init: &Init, targets: &Targets) -> Result<Found, Failure> {
    let asked = asked(init)?;
    let engine = DockerEngine::new(init.engine.clone());
    let seen = engine.survey().await.map_err(|error| away(&error, init))?;
    let read = |path: &Path| Some(String::from_utf8_lossy(&Disk.read(path).ok()?).into_owned());
    let resolved = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (projects, mut questions) = projects(seen, &asked, &read, &resolved);
    let prober = NetProber::new().map_err(|error| Failure::new(1, error))?;
    let mut stacks = Vec::new();
    for project in &projects {
        match Files::read(project, &Disk) {
            Ok(files) => {
                let looked = look(&engine, &prober, &files).await;
                let (inside, answers) = looked.map_err(|error| away(&error, init))?;
                let (stack, more) = choose(&files, &inside, &answers);
                stacks.push(stack);
                questions.extend(more);
            }
            Err(problems) => questions.push(left_out(project, &problems)),
        }
    }
    if stacks.is_empty() {
        return Err(nothing(&questions));
    }
    let (files, settings, desired) = made(&stacks, targets, &init.engine)?;
    // Whoever may not read the ledger of a daemon that is here already can have the files all the same.
    let contacts = contacts(&settings, desired).await.unwrap_or_else(|error| {
        questions.push(unforeseen(&error));
        Vec::new()
    });
    questions.extend(contacts.iter().flat_map(report::of_contact));
    Ok(Found {
        stacks,
        questions,
        contacts,
        files,
    })
}

fn asked(init: &Init) -> Result<Asked, Failure> {
    if !init.file.is_empty() && init.directories.len() != 1 {
        return Err(Failure::new(2, "--file is of one directory, and several are named").way_out("name one"));
    }
    let whole = |path: &PathBuf| {
        let found = std::fs::canonicalize(path);
        found.map_err(|error| Failure::new(2, format!("{}: {error}", path.display())))
    };
    let directories: Vec<PathBuf> = init.directories.iter().map(whole).collect::<Result<_, _>>()?;
    let files = init.file.iter().map(|file| match directories.first() {
        // As a person means it: below the directory, or else as it is written.
        Some(directory) if directory.join(file).exists() => Ok(directory.join(file)),
        _ => whole(file),
    });
    Ok(Asked {
        files: files.collect::<Result<_, _>>()?,
        projects: init.project.iter().cloned().collect(),
        directories,
    })
}

fn away(error: &EngineError, init: &Init) -> Failure {
    Failure::new(3, error.to_string()).way_out(format!(
        "is it running, and may you? `systemctl status docker`, sudo; another address: --engine (this is {})",
        init.engine
    ))
}

fn unforeseen(error: &PreviewError) -> Question {
    Question {
        stack: None,
        what: format!(
            "what the first run would do could not be worked out: {}",
            chain(error)
        ),
        way_out: String::from("`sudo steadfast plan` says it, once the files are in their place"),
    }
}

/// A project whose files are not ours to read yet.
fn left_out(project: &Project, problems: &[config::error::Problem]) -> Question {
    /// The others are shown by `check`, once these are mended.
    const SHOWN: usize = 5;
    let errors: Vec<String> = problems
        .iter()
        .filter(|p| p.is_error())
        .map(ToString::to_string)
        .collect();
    let more = errors.len().saturating_sub(SHOWN);
    let mut what = format!("left out: {}", errors[..errors.len() - more].join("; "));
    if more > 0 {
        what.push_str(&format!("; and {more} more"));
    }
    Question::of(
        &project.name,
        what,
        "mend these lines (docs/reference/compose.md says why), and init again",
    )
}

fn nothing(questions: &[Question]) -> Failure {
    let lines: Vec<String> = questions.iter().map(report::line).collect();
    let failure = Failure::new(1, lines.join("\n"));
    if questions.is_empty() {
        let failure = Failure::new(1, "no container on this host is of a Compose project");
        return failure.way_out("name the directory of one: `steadfast init /srv/shop`");
    }
    failure
}

/// The files, which say what was found by the parser that the daemon has.
#[allow(clippy::type_complexity, reason = "it is taken apart at once")]
fn made(
    stacks: &[Stack],
    targets: &Targets,
    engine: &Address,
) -> Result<(Vec<(PathBuf, String)>, Settings, BTreeMap<StackName, Desired>), Failure> {
    let ours = |what: String| {
        let failure = Failure::new(
            1,
            format!("the files would not say what was found ({what}), and are not written"),
        );
        failure
            .way_out("this is a defect of Steadfast: tell us, with what `--print` of the release before says")
    };
    let places = Places {
        desired: targets.desired.clone(),
        engine: engine_settings(engine)?,
    };
    let text = crate::init::settings(stacks, &places);
    let wish = crate::init::desired(stacks);
    let (settings, _) = config::settings::parse(&targets.settings, &text).map_err(|p| ours(p.to_string()))?;
    let read = config::desired_file::parse(&targets.desired, &wish, &settings.stacks)
        .map_err(|p| ours(p.to_string()))?;
    if let Some(part) = differs(stacks, &settings, &read) {
        return Err(ours(part));
    }
    let files = vec![
        (targets.desired.clone(), wish),
        (targets.drop_in.clone(), crate::init::drop_in(stacks)),
        // The last one: with it a daemon would start.
        (targets.settings.clone(), text),
    ];
    Ok((files, settings, read))
}

fn engine_settings(engine: &Address) -> Result<EngineAddress, Failure> {
    match engine {
        Address::Unix(path) => Ok(EngineAddress::Unix(path.clone())),
        Address::Tcp(text) => {
            let parts = text
                .rsplit_once(':')
                .and_then(|(host, port)| Some((host.parse().ok()?, port.parse().ok()?)));
            let (host, port) =
                parts.ok_or_else(|| Failure::new(2, format!("{engine} is no engine's address")))?;
            Ok(EngineAddress::Tcp { host, port })
        }
    }
}
