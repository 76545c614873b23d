//! Versions of `.env`: they are listed, compared and put back by an id, and nobody is told a value.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use agent::view::{EnvDiff, EnvList, EnvRow, EnvShown, State};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, Said};

use super::files::{CANARY, env, is_back, lab, tells_no_value, text};
use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("a_version_of_env_is_imported_compared_and_put_back", put_back),
    once(
        "what_the_agent_has_put_there_is_asked_for_when_a_person_says_so",
        as_it_was_put,
    ),
    once(
        "a_version_of_env_is_not_put_back_where_it_would_not_stay",
        refused,
    ),
];

const BACKUP: &str = "stack/.env.backup.20251109";

/// A command about env files. Whatever comes of it, no value is in what it says.
fn ask(lab: &Lab, words: &[&str]) -> Result<Said> {
    let all: Vec<&str> = std::iter::once("env").chain(words.iter().copied()).collect();
    let said = lab.run(&all)?;
    let tells = said.out.contains(CANARY) || said.err.contains(CANARY);
    ensure!(!tells, "a value is told: {words:?}: {said:?}");
    Ok(said)
}

fn versions(lab: &Lab) -> Result<Vec<EnvRow>> {
    let said = ask(lab, &["list", &lab.name, "--json"])?;
    ensure!(said.code == 0, "{said:?}");
    let list: EnvList = serde_json::from_str(&said.out).context("`env list --json` is not understood")?;
    Ok(list.versions)
}

fn only(lab: &Lab, what: &str, is: impl Fn(&EnvRow) -> bool) -> Result<EnvRow> {
    let mut found: Vec<EnvRow> = versions(lab)?.into_iter().filter(is).collect();
    ensure!(found.len() == 1, "{what}: {found:#?}");
    found.pop().context("it was counted")
}

/// Writes what fails at once, and waits until it was taken back.
fn taken_back(lab: &Lab, password: &str) -> Result<()> {
    lab.write("stack/.env", &env("0", password))?;
    let bad = |status: &agent::view::Status| status.state == State::RollingBack || is_back(status);
    lab.until("it is going back", bad)?;
    lab.until("the edit is taken back", is_back)?;
    Ok(())
}

#[allow(clippy::too_many_lines, reason = "one story")]
fn put_back(engine: &Engine) -> Result<()> {
    let lab = lab(engine, "envs")?;
    let name = lab.name.clone();
    lab.write(BACKUP, &env("", "old"))?;
    lab.write(
        "stack/broken.env",
        &format!("FAIL_AFTER=\nPASS WORD={CANARY}-broken\n"),
    )?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let first = only(&lab, "the one version", |row| {
        row.asked_for && row.in_file && row.kept
    })?;
    ensure!(
        first
            .used_by
            .first()
            .is_some_and(|used| used.generation == 1 && used.verdict == "good"),
        "{first:#?}"
    );

    // One from before is brought; one that makes no sense is not.
    let from = lab.path(BACKUP).display().to_string();
    let said = ask(&lab, &["import", &name, &from])?;
    ensure!(said.code == 0 && said.out.contains("2 variables"), "{said:?}");
    let old = only(&lab, "the imported one", |row| row.imported.is_some())?;
    ensure!(
        said.out.contains(&old.id) && old.kept && !old.in_file,
        "{said:?} {old:#?}"
    );
    let broken = lab.path("stack/broken.env").display().to_string();
    let said = ask(&lab, &["import", &name, &broken])?;
    ensure!(
        said.code == 2 && said.complains("2:5: a variable's name holds no space"),
        "{said:?}"
    );

    // Names, and which of them differ.
    let said = ask(&lab, &["show", &name, &old.id])?;
    ensure!(
        said.code == 0 && said.out.ends_with("FAIL_AFTER=…\nPASSWORD=…\n"),
        "{said:?}"
    );
    let said = ask(&lab, &["show", &name, "--json"])?;
    let shown: EnvShown = serde_json::from_str(&said.out)?;
    ensure!(
        shown.id == first.id && shown.keys.iter().all(|key| key.value.is_none()),
        "{shown:?}"
    );
    let said = ask(&lab, &["show", &name, &old.id, "--reveal"])?;
    ensure!(said.code == 5, "there is no terminal: {said:?}");
    let said = ask(&lab, &["diff", &name, &old.id, "--json"])?;
    let diff: EnvDiff = serde_json::from_str(&said.out)?;
    ensure!(
        diff.changed == ["PASSWORD"] && diff.added.is_empty() && diff.removed.is_empty() && diff.b_in_file,
        "{diff:#?}"
    );

    // A new release on trial, as if it had been written with an editor.
    let said = ask(
        &lab,
        &[
            "restore",
            &name,
            &old.id,
            "--yes",
            "--wait",
            "--reason",
            "the old key",
        ],
    )?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(
        text(&lab, "stack/.env")? == env("", "old"),
        "{}",
        text(&lab, "stack/.env")?
    );
    let mode = fs::metadata(lab.path("stack/.env"))?.permissions().mode() & 0o7777;
    ensure!(mode == 0o640, "its mode is {mode:o}");
    let status = lab.until("it rests", |s| s.operation.is_none() && s.state == State::Steady)?;
    ensure!(
        status.as_asked && status.runs.as_ref().is_some_and(|runs| runs.generation == 2),
        "{status:#?}"
    );
    let first = only(&lab, "what was there", |row| row.id == first.id)?;
    ensure!(
        first.replaced.is_some() && first.kept && !first.in_file,
        "{first:#?}"
    );

    // It is judged as any other: what fails goes back to it, and the way to the first is open.
    taken_back(&lab, "two")?;
    ensure!(
        text(&lab, "stack/.env")? == env("", "old"),
        "{}",
        text(&lab, "stack/.env")?
    );
    let said = ask(&lab, &["restore", &name, &first.id[..8], "--yes", "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(
        text(&lab, "stack/.env")? == env("", "one"),
        "{}",
        text(&lab, "stack/.env")?
    );
    ensure!(ask(&lab, &["list", &name])?.code == 0, "it is not listed");
    ensure!(ask(&lab, &["show", &name])?.code == 0, "it is not shown");
    let said = ask(&lab, &["diff", &name, &old.id, &first.id])?;
    ensure!(said.code == 0 && said.answers("~ PASSWORD"), "{said:?}");
    tells_no_value(&lab)?;
    lab.end()
}

/// The file stays as it is, and is nobody's request: until somebody asks for it.
fn as_it_was_put(engine: &Engine) -> Result<()> {
    let lab = lab(engine, "envown")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let good = only(&lab, "the one version", |row| row.in_file)?;
    taken_back(&lab, "two")?;
    let said = ask(&lab, &["restore", &lab.name, &good.id, "--yes", "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    let status = lab.until("it rests", |s| s.operation.is_none() && s.state == State::Steady)?;
    let asked = status.asked.as_ref().and_then(|asked| asked.env_id.clone());
    ensure!(status.as_asked && asked.as_ref() == Some(&good.id), "{status:#?}");
    // It is so also for the next daemon.
    lab.kill()?;
    lab.start()?;
    let status = lab.until("it rests again", |s| {
        s.operation.is_none() && s.state == State::Steady
    })?;
    let asked = status.asked.as_ref().and_then(|asked| asked.env_id.clone());
    ensure!(status.as_asked && asked == Some(good.id), "{status:#?}");
    tells_no_value(&lab)?;
    lab.end()
}

fn refused(engine: &Engine) -> Result<()> {
    let lab = lab(engine, "envno")?;
    let name = lab.name.clone();
    lab.write(BACKUP, &env("", "old"))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let good = only(&lab, "the one version", |row| row.in_file)?;
    let from = lab.path(BACKUP).display().to_string();
    ensure!(
        ask(&lab, &["import", &name, &from])?.code == 0,
        "it is not imported"
    );
    let old = only(&lab, "the imported one", |row| row.imported.is_some())?;
    taken_back(&lab, "two")?;
    let bad = only(&lab, "the bad one", |row| row.asked_for)?;
    let said = ask(&lab, &["restore", &name, &bad.id, "--yes"])?;
    ensure!(said.code == 5 && said.complains("steadfast retry"), "{said:?}");
    let said = ask(&lab, &["restore", &name, "00000000", "--yes"])?;
    ensure!(said.code == 5 && said.complains("steadfast env list"), "{said:?}");
    let said = ask(&lab, &["show", &name, &good.id, "--file", "other.env"])?;
    ensure!(said.code == 5 && said.complains(".env"), "{said:?}");
    let said = lab.run(&["pin", &name, "v1", "--env", &good.id, "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    let said = ask(&lab, &["restore", &name, &old.id, "--yes"])?;
    ensure!(said.code == 5 && said.complains("change the pin"), "{said:?}");
    ensure!(
        text(&lab, "stack/.env")? == env("", "one"),
        "{}",
        text(&lab, "stack/.env")?
    );
    // What was imported can be pinned.
    let said = lab.run(&["pin", &name, "v1", "--env", &old.id, "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    lab.when("it is put there", || {
        Ok((text(&lab, "stack/.env")? == env("", "old")).then_some(()))
    })?;
    let old = only(&lab, "the imported one", |row| row.imported.is_some())?;
    ensure!(old.pinned && old.in_file, "{old:#?}");
    tells_no_value(&lab)?;
    lab.end()
}
