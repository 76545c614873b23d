//! Whether the stack could go back now, to what, and what that would take out of the database.

use crate::view::Status;

/// Whether it could, and to what.
pub(super) fn rollback(status: &Status) -> String {
    let rollback = &status.rollback;
    let to = rollback.to.map(|to| generation(rollback.tag.as_ref(), to));
    let to = to.unwrap_or_default();
    let busy = status.operation.as_ref().map(|operation| operation.kind.as_str());
    if let Some(kind @ ("rollback" | "restore")) = busy {
        return format!("not now: a {kind} is under way");
    }
    if rollback.takes_back.is_some() {
        return format!("possible: the deploy is taken back, {to} runs on");
    }
    match (rollback.ready, &rollback.why_not) {
        (true, _) => format!("possible, to {to}"),
        (false, Some(why)) if to.is_empty() => format!("not possible: {why}"),
        (false, Some(why)) => format!("not possible, to {to}: {why}"),
        (false, None) => "not possible: there is no earlier good generation".into(),
    }
}

/// A generation, by its tag where it has one.
pub(in crate::cli) fn generation(tag: Option<&String>, number: u64) -> String {
    match tag {
        Some(tag) => format!("{tag} (generation {number})"),
        None => format!("generation {number}"),
    }
}

/// What going back would take out of the database.
pub(super) fn destroys(status: &Status) -> Vec<String> {
    const SHOWN: usize = 5;
    let all = &status.rollback.destroys;
    let one_way = status.rollback.one_way.iter().map(|why| {
        format!("only by a backup, with what was written since lost, once that is agreed to: {why}")
    });
    let kept = status.rollback.kept.join(", ");
    let kept = (!kept.is_empty()).then(|| format!("leaves in the schema, as rollback_schema says: {kept}"));
    let migrates = status
        .rollback
        .takes_back
        .as_ref()
        .filter(|deploy| deploy.migrates);
    let migrates = migrates.map(|_| {
        String::from("once its migrations have run it is left by a rollback from it, with its schema")
    });
    let mut lines: Vec<String> = migrates.into_iter().chain(one_way).chain(kept).collect();
    lines.extend(
        all.iter()
            .take(SHOWN)
            .map(|line| format!("takes out of the database, and keeps beside it: {line}")),
    );
    if all.len() > SHOWN {
        lines.push(format!(
            "and {} more (`status --json` has them all)",
            all.len() - SHOWN
        ));
    }
    lines
}
