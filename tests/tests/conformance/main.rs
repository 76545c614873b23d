//! Conformance with Compose: our resolved model against its `config --format json`, our containers
//! against its containers, our refusals against places that are known. What Compose said is committed
//! under `tests/conformance`; with `STEADFAST_ASK_COMPOSE` set it is asked anew first.

mod accepted;
mod canonical;
mod case;
mod created;
mod diff;
mod model;
mod words;

use std::process::{Command, ExitCode};

use anyhow::Result;
use config::compose::{ComposeInput, Disk, Loaded};
use config::error::Problems;
use libtest_mimic::{Arguments, Failed, Trial};
use state::naming::Dialect;
use state::stack_spec::StackSpec;

use crate::case::Case;
use crate::diff::{Difference, Table};

static MODEL: Table = Table::new(accepted::MODEL);
static CREATED: Table = Table::new(accepted::CREATED);
static CREATED_V1: Table = Table::new(accepted::CREATED_V1);

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    if std::env::var_os("STEADFAST_ASK_COMPOSE").is_some() && !arguments.list {
        let status = Command::new(case::root().join("oracle.sh")).status()?;
        anyhow::ensure!(status.success(), "the oracle did not answer every question");
    }
    let engine = !arguments.list && created::run(&mut Command::new(case::root().join("images.sh"))).is_ok();
    let mut trials = Vec::new();
    for case in case::all("cases")? {
        let case: &'static Case = Box::leak(Box::new(case));
        trials.push(Trial::test(format!("model/{}", case.name), || {
            compare_model(case)
        }));
        if case.settings.engine {
            let trial = Trial::test(format!("created/{}", case.name), || compare_created(case));
            trials.push(trial.with_ignored_flag(!engine));
        }
        if case.settings.v1 {
            let trial = Trial::test(format!("created-v1/{}", case.name), || compare_created_v1(case));
            trials.push(trial.with_ignored_flag(!engine));
        }
    }
    for case in case::all("refused")? {
        trials.push(Trial::test(format!("refused/{}", case.name), move || {
            check_refusal(&case)
        }));
    }
    let whole = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    let mut idle = Vec::new();
    if whole && !conclusion.has_failed() {
        idle.extend(MODEL.idle());
        if engine {
            idle.extend(CREATED.idle());
            idle.extend(CREATED_V1.idle());
        }
    }
    for row in &idle {
        eprintln!("accepted, but it never occurs: {row}");
    }
    Ok(if idle.is_empty() {
        conclusion.exit_code()
    } else {
        ExitCode::FAILURE
    })
}

fn compare_model(case: &Case) -> Result<(), Failed> {
    let project = "sf-conformance-model";
    let stack = resolve(case, project)?;
    let mut ours = model::as_compose_prints(&stack);
    words::replace(&mut ours, &case.dir, project);
    let mut theirs = case.answer("oracle/config.json")?;
    canonical::model(&mut ours);
    canonical::model(&mut theirs);
    verdict(&MODEL.unaccepted(&case.name, diff::differences(&theirs, &ours)))
}

fn compare_created(case: &Case) -> Result<(), Failed> {
    compare_inspected(case, "oracle/inspect.json", Dialect::Hyphen, &CREATED)
}

/// The second opinion: in the dialect of 1.29.2, against what 1.29.2 creates.
fn compare_created_v1(case: &Case) -> Result<(), Failed> {
    compare_inspected(case, "oracle/inspect-v1.json", Dialect::Underscore, &CREATED_V1)
}

fn compare_inspected(case: &Case, fixture: &str, dialect: Dialect, accepted: &Table) -> Result<(), Failed> {
    let number = case.name.split('-').next().unwrap_or_default();
    let version = if dialect == Dialect::Hyphen { 2 } else { 1 };
    let project = format!("sf-conformance-{number}-{}-v{version}", std::process::id());
    let stack = resolve(case, &project)?;
    let ours = created::create_and_inspect(case, &stack, dialect)?;
    let theirs = case.answer(fixture)?;
    verdict(&accepted.unaccepted(&case.name, diff::differences(&theirs, &ours)))
}

fn verdict(differences: &[Difference]) -> Result<(), Failed> {
    if differences.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = differences.iter().map(ToString::to_string).collect();
    Err(Failed::from(lines.join("\n")))
}

/// What our loader makes of the case.
fn resolve(case: &Case, project: &str) -> Result<StackSpec> {
    match load(case, project)? {
        Ok(loaded) => Ok(loaded.spec),
        Err(problems) => anyhow::bail!("refused:\n{problems}"),
    }
}

fn load(case: &Case, project: &str) -> Result<Result<Loaded, Problems>> {
    let mut input = ComposeInput::new(project.parse()?, case.project_dir(), case.files());
    input.profiles.clone_from(&case.settings.profiles);
    input.environment = case.environment();
    Ok(config::compose::load(&Disk, &input))
}

/// The file is refused, and one of the errors shows the line, the key and the text.
fn check_refusal(case: &Case) -> Result<(), Failed> {
    let Err(problems) = load(case, "sf-conformance-refused")? else {
        return Err("it was accepted".into());
    };
    let wanted = &case.settings;
    let shown = problems.0.iter().filter(|p| p.is_error()).any(|problem| {
        problem.place.line == wanted.line
            && problem.key.starts_with(&wanted.key)
            && problem.to_string().contains(&wanted.text)
    });
    if shown {
        return Ok(());
    }
    let (line, key, text) = (wanted.line, &wanted.key, &wanted.text);
    Err(format!("no error shows line {line:?}, key {key:?} and text {text:?} in:\n{problems}").into())
}
