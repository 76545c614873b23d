//! Backups on a real Postgres: made while everything goes on, proven, and put into the database's place. No row is lost,
//! and what is no backup any more is refused before anything stops.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use agent::view::{BackupList, BackupRow, State};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab};

use super::migrate::{SECRET, SETTINGS, begun, databases, symbols};
use super::schema::{sql, stands_at};
use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("rows_that_were_destroyed_come_back", there_and_back),
    once("what_is_no_backup_is_refused_and_nothing_stops", refused),
    once("a_schedule_makes_backups_and_hands_them_on", scheduled),
];

fn made(lab: &Lab) -> Result<BackupRow> {
    let said = lab.run(&["backup", &lab.name, "--json"])?;
    ensure!(said.code == 0, "{said:?}");
    serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))
}

fn list(lab: &Lab) -> Result<BackupList> {
    let said = lab.run(&["backup", "list", &lab.name, "--json"])?;
    ensure!(said.code == 0, "{said:?}");
    serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))
}

fn there_and_back(engine: &Engine) -> Result<()> {
    let lab = begun(engine, "backup")?;
    let (before, worker) = (symbols(&lab)?, lab.container("worker")?);
    let backup = made(&lab)?;
    ensure!(backup.why == "asked" && backup.schema == ["0001"], "{backup:?}");
    let proven = backup.verified.as_ref().context("nobody has made sure of it")?;
    ensure!(
        proven.how == "restored" && proven.rows == Some(backup.rows),
        "{proven:?}"
    );
    let all = list(&lab)?;
    // The safety copy of the first deploy, and this one, which the generation that runs needs.
    ensure!(
        all.backups.len() == 2 && all.backups[0].id == backup.id,
        "{all:?}"
    );
    ensure!(all.backups[0].needed_by == ["generation 1"], "{all:?}");
    let said = lab.run(&["backup", "verify", &lab.name, &backup.id])?;
    ensure!(
        said.code == 0 && said.out.contains("restored and counted"),
        "{said:?}"
    );

    sql(&lab, "DELETE FROM backtests WHERE id > 5")?;
    ensure!(symbols(&lab)? != before);
    let said = lab.run(&["restore", &lab.name, &backup.id, "--yes"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(symbols(&lab)? == before, "rows are not back: {said:?}");
    // Who writes is the same container, and writes again.
    let again = lab.container("worker")?;
    ensure!(again.id == worker.id && again.is_running(), "{again:#?}");
    let good = lab.until_runs("v1.4.0", "good")?;
    ensure!(good.hold.is_none() && stands_at(&good, "0001"), "{good:#?}");
    // The database as it was is kept, and so is a proven backup of it.
    let kept: Vec<String> = databases(&lab)?;
    let aside = kept.iter().find(|name| name.starts_with("tests_before_"));
    let aside = aside.with_context(|| format!("{kept:?}"))?;
    ensure!(kept.len() == 2, "{kept:?}");
    let all = list(&lab)?;
    ensure!(all.backups[0].why == "before_restore", "{all:?}");

    // A dump as the guide makes it.
    let postgres = lab.container("postgres")?.id;
    let dump = lab
        .engine
        .exec(&postgres, &["pg_dump", "-U", "postgres", "tests"])?;
    let file = lab.path("dump.sql");
    fs::write(&file, dump)?;
    sql(&lab, "DELETE FROM backtests")?;
    let said = lab.run(&["restore", &lab.name, &file.to_string_lossy(), "--yes"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(symbols(&lab)? == before, "rows are not back: {said:?}");

    let said = lab.run(&["backup", "drop", &lab.name, aside, "--yes"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(!databases(&lab)?.contains(aside));
    let said = lab.run(&["backup", "drop", &lab.name, "postgres", "--yes"])?;
    ensure!(
        said.code == 5 && said.err.contains("has put no database postgres"),
        "{said:?}"
    );
    ensure!(!lab.logged().contains(SECRET));
    lab.end()
}

fn refused(engine: &Engine) -> Result<()> {
    let lab = begun(engine, "no-backup")?;
    let (before, worker) = (symbols(&lab)?, lab.container("worker")?);
    let backup = made(&lab)?;
    let dump = lab
        .path("state/backups")
        .join(&lab.name)
        .join(format!("{}.dump", backup.id));
    let whole = fs::read(&dump)?;
    let mut tampered = whole.clone();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 1;
    for content in [&tampered[..], &whole[..middle]] {
        fs::write(&dump, content)?;
        let said = lab.run(&["restore", &lab.name, &backup.id, "--yes"])?;
        ensure!(said.code == 1 && said.err.contains("is damaged"), "{said:?}");
        let said = lab.run(&["backup", "verify", &lab.name, &backup.id])?;
        ensure!(said.code == 1 && said.err.contains("is damaged"), "{said:?}");
    }
    ensure!(list(&lab)?.backups[0].verified.is_none());
    for (dump, code, words) in [
        ("20200101T000000Z-1", 5, "there is no backup"),
        ("/nowhere.sql", 5, "cannot read /nowhere.sql"),
    ] {
        let said = lab.run(&["restore", &lab.name, dump, "--yes"])?;
        ensure!(said.code == code && said.err.contains(words), "{said:?}");
    }
    // Nothing was stopped, nothing is left, and nothing of it is held against anybody.
    let status = lab.until("nothing is under way", |s| s.operation.is_none())?;
    ensure!(status.state == State::Steady, "{status:#?}");
    ensure!(lab.container("worker")? == worker, "the worker was touched");
    ensure!(databases(&lab)? == ["tests"], "{:?}", databases(&lab)?);
    ensure!(symbols(&lab)? == before);
    lab.end()
}

const SCHEDULE: &str = "
[stack.NAME.database.backup]
schedule = \"1h\"
verify = \"restore\"
after_backup = [\"DIR/take-away\", \"to there\"]
";

fn scheduled(engine: &Engine) -> Result<()> {
    let lab = begun(engine, "schedule")?;
    lab.terminate()?;
    lab.settings(&format!("{SETTINGS}{SCHEDULE}"))?;
    lab.write("take-away", "#!/bin/sh\nprintf '%s\\n' \"$@\" > DIR/taken\n")?;
    let program = lab.path("take-away");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    lab.start()?;
    let taken = lab.when("the first one is due at once, and is handed on", || {
        Ok(fs::read_to_string(lab.path("taken"))
            .ok()
            .filter(|text| text.lines().count() == 3))
    })?;
    let status = lab.until("nothing is under way", |s| {
        s.operation.is_none() && s.backups.as_ref().is_some_and(|backups| backups.count == 2)
    })?;
    let all = list(&lab)?;
    let made = &all.backups[0];
    ensure!(made.why == "scheduled", "{all:?}");
    ensure!(
        made.verified
            .as_ref()
            .is_some_and(|verified| verified.how == "restored"),
        "{made:?}"
    );
    let backups = lab.path("state/backups").join(&lab.name);
    let [dump, manifest] = ["dump", "json"].map(|kind| backups.join(format!("{}.{kind}", made.id)));
    let words: Vec<String> = taken.lines().map(str::to_owned).collect();
    let paths = [dump, manifest].map(|path| path.to_string_lossy().into_owned());
    ensure!(
        words == ["to there", paths[0].as_str(), paths[1].as_str()],
        "{words:?}"
    );
    let next = status
        .backups
        .and_then(|backups| backups.next)
        .context("none is due")?;
    ensure!(next > made.begun, "{next}");

    // One that fails is told, and the backup stays.
    lab.write("take-away", "#!/bin/sh\nexit 3\n")?;
    let said = lab.run(&["backup", &lab.name])?;
    ensure!(
        said.code == 0 && said.err.contains("it ended with code 3"),
        "{said:?}"
    );
    ensure!(list(&lab)?.backups.len() == 3);
    lab.end()
}
