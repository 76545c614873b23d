//! What has to be so outside, whatever happened to the daemon or to the engine.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use serde_json::Value;
use state::journal::{Entry, Event, Operation};
use steadfast_tests::lab::{Lab, word};

/// One container, in its place, of this release, with all that belongs to it; and nothing beside it.
pub(super) fn one_container(lab: &Lab, tag: &str) -> Result<()> {
    let all = lab.engine.inspected(&lab.name)?;
    let [web] = &all[..] else {
        bail!("not one container: {:#?}", lab.containers()?);
    };
    let image = image_of(lab, tag)?;
    let text = |path: &str| {
        web.pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    ensure!(text("/State/Status") == "running", "{:#}", web["State"]);
    ensure!(
        text("/Name") == format!("/{}-web-1", lab.name),
        "{}",
        text("/Name")
    );
    ensure!(text("/Image") == image, "not {tag}");
    let policy = text("/HostConfig/RestartPolicy/Name");
    ensure!(policy == "unless-stopped", "its restart policy is {policy}");
    let networks = web["NetworkSettings"]["Networks"]
        .as_object()
        .context("no networks")?;
    let default = format!("{}_default", lab.name);
    ensure!(networks.keys().eq([&default]), "{networks:#?}");
    let aliases = networks[&default]["Aliases"].as_array().context("no aliases")?;
    ensure!(aliases.iter().any(|alias| alias == "web"), "{aliases:?}");
    ensure!(
        web["Mounts"][0]["Name"] == format!("{}_stuff", lab.name),
        "{:#}",
        web["Mounts"]
    );
    Ok(())
}

/// One keeper for each image, never started, and one for what runs.
pub(super) fn keepers(lab: &Lab, tag: &str) -> Result<()> {
    let filter = format!("label=io.steadfast.keeper={}", lab.name);
    let all = lab.engine.docker(&["ps", "-aq", "--filter", &filter])?;
    let mut words = vec!["inspect", "-f", "{{.Image}} {{.State.Status}}"];
    words.extend(all.lines());
    let seen = lab.engine.docker(&words).context("no keepers")?;
    let mut kept = BTreeSet::new();
    for line in seen.lines() {
        let (image, state) = line.split_once(' ').unwrap_or((line, ""));
        ensure!(state == "created", "a keeper was started: {line}");
        ensure!(kept.insert(image), "two keepers of one image:\n{seen}");
    }
    ensure!(kept.contains(&*image_of(lab, tag)?), "{tag} is not kept:\n{seen}");
    Ok(())
}

fn image_of(lab: &Lab, tag: &str) -> Result<String> {
    let name = format!("steadfast-test/tiny:{tag}");
    lab.engine.docker(&["image", "inspect", "-f", "{{.Id}}", &name])
}

/// The step of the open operation that was begun last, by its word.
pub(super) fn under_way(lab: &Lab) -> Result<Option<&'static str>> {
    let ledger = Connection::open_with_flags(lab.path("state/ledger.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let text = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let sql = "SELECT value FROM operation WHERE ended IS NULL";
    let Some(open) = ledger.query_row(sql, [], text).optional()? else {
        return Ok(None);
    };
    let open: Operation = serde_json::from_str(&open)?;
    let sql = "SELECT value FROM journal WHERE operation = ?1 ORDER BY position";
    let mut journal = ledger.prepare(sql)?;
    let mut last = "opened";
    for entry in journal.query_map([i64::try_from(open.id)?], text)? {
        let entry: Entry = serde_json::from_str(&entry?)?;
        if let Event::Started { index } = entry.event {
            last = word(open.plan.steps.get(index).context("no such step")?);
        }
    }
    Ok(Some(last))
}

/// Every operation has ended well, or is taken back; and the file is whole.
pub(super) fn journal(lab: &Lab) -> Result<()> {
    let connection =
        Connection::open_with_flags(lab.path("state/ledger.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let whole: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(whole == "ok", "{whole}");
    let sql = "SELECT count(*) FROM operation WHERE ended IS NULL OR ended NOT IN ('succeeded', 'undone')";
    let odd: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    ensure!(odd == 0, "{odd} operations have not ended well");
    Ok(())
}
