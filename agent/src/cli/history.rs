//! `steadfast history`: the generations of a stack, or its operations with their steps.

pub(super) mod acts;

use state::name::StackName;

use super::args::Common;
use super::failure::Outcome;
use super::output::{self, BOLD, paint};
use super::reader::{Reader, took};
use super::reading::Daemon;
use super::text::{columns, hanging, labelled, paragraph, tail};
use crate::view::{CheckRow, GenerationRow, History, OperationRow, RowsRow, StepRow};

/// So many ended operations are asked for.
const OPERATIONS: u32 = 20;
/// Narrower than this the reason for a verdict goes below its line.
const BESIDE: usize = 80;
/// So wide it has to be where commits stand beside the tags.
const BESIDE_COMMITS: usize = 100;
/// So many tables are named.
const TABLES: usize = 12;
/// So much is shown of the reason for a verdict.
const WHY: usize = 120;

pub(super) async fn run(common: &Common, stack: StackName, operations: bool, json: bool) -> Outcome {
    let daemon = Daemon::of(common);
    let history = daemon.client.history(stack.as_str(), OPERATIONS).await;
    let history = history.map_err(|error| daemon.failure(error))?;
    if json {
        return output::json(&history, 0);
    }
    let reader = Reader::here();
    let text = if operations {
        of_operations(&history, &reader)
    } else {
        of_generations(&history, &reader)
    };
    output::print(&text)?;
    Ok(0)
}

/// A line for each generation, the newest first; `*` is what runs.
pub(super) fn of_generations(history: &History, reader: &Reader) -> String {
    if history.generations.is_empty() {
        return format!("{}: no generation yet\n", history.stack);
    }
    let of_commits = history.generations.iter().any(|row| row.commit.is_some());
    let beside = reader.width >= if of_commits { BESIDE_COMMITS } else { BESIDE };
    let heading = ["", "GEN", "TAG", "BEGUN", "VERDICT", "WHY"];
    let shown = if beside { heading.len() } else { heading.len() - 1 };
    let mut rows: Vec<Vec<String>> = vec![heading[..shown].iter().map(ToString::to_string).collect()];
    let mut whys = vec![String::new()];
    for row in &history.generations {
        let (cells, why) = generation(row, reader);
        rows.push(cells);
        whys.push(why);
    }
    if beside {
        for (row, why) in rows.iter_mut().zip(whys).skip(1) {
            row.push(why);
        }
        return columns(&rows, 0, reader.width);
    }
    let table = columns(&rows, 0, reader.width);
    let lines = table.lines().zip(&whys);
    lines
        .map(|(line, why)| match why.as_str() {
            "" => format!("{line}\n"),
            why => format!("{line}\n{}", paragraph(8, why, reader.width)),
        })
        .collect()
}

/// The cells, and why the verdict is as it is.
fn generation(row: &GenerationRow, reader: &Reader) -> (Vec<String>, String) {
    let mut why = shorten(&row.why);
    let mut tag = tail(row.tag.as_deref().unwrap_or("-"), 16);
    match &row.commit {
        Some(commit) if reader.width >= BESIDE => tag.push_str(&format!(" ({commit})")),
        Some(commit) => why.push_str(&format!(" [commit {commit}]")),
        None => {}
    }
    for (service, tag) in &row.pins {
        why.push_str(&format!(" [{service} {tag}]"));
    }
    if row.adopted && !why.contains("found running") {
        why.push_str(" [found running]");
    }
    if row.quarantined {
        why.push_str(" [in quarantine]");
    }
    let cells = vec![
        if row.current { "*" } else { "" }.to_owned(),
        row.generation.to_string(),
        tag,
        reader.full(row.begun),
        row.verdict.clone(),
    ];
    (cells, why.trim_start().to_owned())
}

/// As much as fits three lines or so; `--operations` and `--json` have all of it.
fn shorten(why: &str) -> String {
    if why.chars().count() <= WHY {
        return why.to_owned();
    }
    let cut: String = why.chars().take(WHY - 1).collect();
    format!("{}…", cut.trim_end())
}

/// Each operation with its steps, the newest first.
pub(super) fn of_operations(history: &History, reader: &Reader) -> String {
    if history.operations.is_empty() {
        return format!("{}: no operation yet\n", history.stack);
    }
    let texts: Vec<String> = history
        .operations
        .iter()
        .map(|row| operation(row, reader))
        .collect();
    texts.join("\n")
}

/// Which generation it is about; of a rollback what was left, and what was gone back to.
fn about(row: &OperationRow) -> String {
    match (row.kind.as_str(), row.left, row.generation) {
        (_, _, None) => String::new(),
        ("rollback", Some(left), Some(to)) => format!(" from generation {left} to {to}"),
        ("rollback", None, Some(to)) => format!(" to generation {to}"),
        (_, _, Some(of)) => format!(" of generation {of}"),
    }
}

fn operation(row: &OperationRow, reader: &Reader) -> String {
    let labelled = |label: &str, text: &str| labelled(label, text, reader.width);
    let title = format!("operation {}: {}{}, {}", row.id, row.kind, about(row), row.ending);
    let mut text = paint(BOLD, &paragraph(0, &title, reader.width));
    let took = row.milliseconds.map(|ms| format!(", took {}", took(ms)));
    text.push_str(&labelled(
        "begun",
        &format!(
            "{}, by {}{}",
            reader.full(row.begun),
            row.by,
            took.unwrap_or_default()
        ),
    ));
    text.push_str(&labelled("because", &row.why));
    if let Some(failure) = &row.failure {
        text.push_str(&labelled("failed", failure));
    }
    for check in &row.checks {
        text.push_str(&labelled("check", &in_words(check)));
    }
    if let Some(rows) = &row.rows {
        text.push_str(&labelled("rows", &counted(rows)));
    }
    for (i, step) in row.steps.iter().enumerate() {
        let head = format!("  {:<10} {:>2}. ", step.outcome, i + 1);
        let what = format!("{}{}", step.what, times(step, reader));
        text.push_str(&hanging(&head, &what, 17, reader.width));
        if let Some(told) = &step.told {
            text.push_str(&paragraph(17, told, reader.width));
        }
    }
    text
}

/// What a check said before and after.
fn in_words(check: &CheckRow) -> String {
    let side = |words: &Option<String>, when: &str| {
        let words = words.as_deref();
        words.map(|words| format!("{words} {when}"))
    };
    let both = [side(&check.before, "before"), side(&check.after, "after")];
    let both: Vec<String> = both.into_iter().flatten().collect();
    format!("{}: {}", check.name, both.join(", "))
}

/// The sums, and the tables with another number than before; `--json` has all of them.
fn counted(rows: &RowsRow) -> String {
    let side = |rows: Option<u64>, when: &str| match rows {
        Some(rows) => format!("{rows} {when}"),
        None => format!("not counted {when}"),
    };
    let mut text = format!("{}, {}", side(rows.before, "before"), side(rows.after, "after"));
    if rows.before.is_some() && rows.after.is_some() {
        let changed = rows
            .tables
            .iter()
            .filter(|table| !table.not_counted && table.before != table.after)
            // Where not all are kept by name, one that is missing may be among the others.
            .filter(|table| rows.more == 0 || (table.before.is_some() && table.after.is_some()));
        let number = |rows: Option<u64>| rows.map_or_else(|| String::from("none"), |rows| rows.to_string());
        let words: Vec<String> = changed
            .map(|table| {
                format!(
                    "{} {} -> {}",
                    table.table,
                    number(table.before),
                    number(table.after)
                )
            })
            .collect();
        text.push_str(&shortened(": ", &words));
    }
    let late: Vec<String> = rows
        .tables
        .iter()
        .filter(|table| table.not_counted)
        .map(|table| table.table.clone())
        .collect();
    text.push_str(&shortened("; not counted both times, and in no sum: ", &late));
    if rows.more > 0 {
        text.push_str(&format!("; {} more tables are only in the sums", rows.more));
    }
    text
}

fn shortened(before: &str, words: &[String]) -> String {
    let more = words.len().saturating_sub(TABLES);
    let more = (more > 0).then(|| format!(" and {more} more tables"));
    let named = words[..words.len().min(TABLES)].join(", ");
    if words.is_empty() {
        return String::new();
    }
    format!("{before}{named}{}", more.unwrap_or_default())
}

/// ` [14:03:21, 35ms]`, as far as it is known.
fn times(step: &StepRow, reader: &Reader) -> String {
    let Some(begun) = step.begun else {
        return String::new();
    };
    let mut text = format!(" [{}", reader.time(begun));
    if let Some(ms) = step.milliseconds {
        text.push_str(&format!(", {}", took(ms)));
    }
    if let Some(ms) = step.undo_milliseconds {
        text.push_str(&format!(", taken back in {}", took(ms)));
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

    use expect_test::{Expect, expect};

    use super::*;
    use crate::view::{TableRow, sample};

    #[track_caller]
    fn check(situation: &str, show: fn(&History, &Reader) -> String, expected: &Expect) {
        let snapshot = sample::snapshot(situation);
        let history = History::of(&snapshot.record, &[], &sample::shared());
        let text = show(&history, &sample::reader());
        expected.assert_eq(&anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn generations_with_their_verdicts() {
        check(
            "rolled back",
            of_generations,
            &expect![[r#"
               GEN  TAG     BEGUN                VERDICT  WHY
               3    v1.6.0  2025-06-02 13:39:50  bad      api failed for 5m: GET /health
                                                          answered 500 [in quarantine]
            *  2    v1.5.0  2025-06-02 12:00:10  good     5m of unbroken health
               1    v1.4.0  2025-06-01 13:00:00  good     5m of unbroken health
        "#]],
        );
        check(
            "nothing yet",
            of_generations,
            &expect![[r#"
            shop: no generation yet
        "#]],
        );
    }

    #[test]
    fn a_commit_stands_beside_its_tag_where_there_is_room() {
        let snapshot = sample::snapshot("rolled back");
        let mut history = History::of(&snapshot.record, &[], &sample::shared());
        history.generations.truncate(2);
        history.generations[0].commit = Some(String::from("a1b2c3d4e5f6"));
        history.generations[1].commit = Some(String::from("0f1e2d3c4b5a"));
        let show = |width| {
            let reader = Reader {
                width,
                ..sample::reader()
            };
            let text = anstream::adapter::strip_str(&of_generations(&history, &reader)).to_string();
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            text
        };
        expect![[r#"
               GEN  TAG                    BEGUN                VERDICT
               3    v1.6.0 (a1b2c3d4e5f6)  2025-06-02 13:39:50  bad
                    api failed for 5m: GET /health answered 500 [in quarantine]
            *  2    v1.5.0 (0f1e2d3c4b5a)  2025-06-02 12:00:10  good
                    5m of unbroken health
        "#]]
        .assert_eq(&show(80));
        expect![[r#"
               GEN  TAG     BEGUN                VERDICT
               3    v1.6.0  2025-06-02 13:39:50  bad
                    api failed for 5m: GET /health answered 500 [commit
                    a1b2c3d4e5f6] [in quarantine]
            *  2    v1.5.0  2025-06-02 12:00:10  good
                    5m of unbroken health [commit 0f1e2d3c4b5a]
        "#]]
        .assert_eq(&show(60));
        assert!(show(100).contains("v1.5.0 (0f1e2d3c4b5a)  2025-06-02 12:00:10  good     5m of"));
    }

    #[test]
    fn what_a_step_has_to_tell_stands_below_it() {
        let snapshot = sample::snapshot("taking back");
        let mut history = History::of(&snapshot.record, &[], &sample::shared());
        let row = &mut history.operations[0];
        row.steps.truncate(2);
        row.steps[0].told = Some(String::from("interval of backtests: 10 of 10 rows put back"));
        let text = of_operations(&history, &sample::reader());
        expect![[r#"
            operation 12: deploy of generation 3, open
              begun      2025-06-02 13:59:54, by steadfast
              because    desired.toml asks for v1.6.0
              failed     the port 8080 is taken
              done        1. create api-1 from 01537f435b1b [13:59:54, 135ms]
                             interval of backtests: 10 of 10 rows put back
              done        2. stop api (c7aa851d3bc1), by force after 10 s [13:59:54, 2.4s]
        "#]]
        .assert_eq(&anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn what_was_counted_and_asked_before_and_after() {
        let snapshot = sample::snapshot("taking back");
        let mut history = History::of(&snapshot.record, &[], &sample::shared());
        let row = &mut history.operations[0];
        row.steps.truncate(1);
        let table = |name: &str, before, after, not_counted| TableRow {
            table: format!("public.{name}"),
            before,
            after,
            not_counted,
        };
        row.rows = Some(RowsRow {
            before: Some(31),
            after: Some(19),
            tables: vec![
                table("candles", Some(9), None, true),
                table("orders", Some(20), Some(8), false),
                table("users", Some(11), Some(11), false),
                table("wallets", None, Some(0), false),
            ],
            more: 0,
        });
        let check = |name: &str, before: Option<&str>| CheckRow {
            name: name.to_owned(),
            before: before.map(str::to_owned),
            after: Some(String::from("holds")),
        };
        row.checks = vec![
            check("orders", Some("differs from what is expected")),
            check("users", None),
        ];
        let text = of_operations(&history, &sample::reader());
        expect![[r#"
            operation 12: deploy of generation 3, open
              begun      2025-06-02 13:59:54, by steadfast
              because    desired.toml asks for v1.6.0
              failed     the port 8080 is taken
              check      orders: differs from what is expected before, holds after
              check      users: holds after
              rows       31 before, 19 after: public.orders 20 -> 8, public.wallets none ->
                         0; not counted both times, and in no sum: public.candles
              done        1. create api-1 from 01537f435b1b [13:59:54, 135ms]
        "#]]
        .assert_eq(&anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn a_rollback_names_what_was_left_and_what_was_gone_back_to() {
        let snapshot = sample::snapshot("rolling back");
        let record = snapshot.record;
        let title = |record: &state::record::StackRecord, ended: &[_]| {
            let history = History::of(record, ended, &sample::shared());
            let text = of_operations(&history, &sample::reader());
            let text = anstream::adapter::strip_str(&text).to_string();
            text.lines().next().unwrap_or_default().to_owned()
        };
        expect!["operation 12: rollback from generation 3 to 2, open"].assert_eq(&title(&record, &[]));
        let mut later = record.clone();
        let ended: Vec<_> = later.operation.take().into_iter().collect();
        expect!["operation 12: rollback to generation 2, open"].assert_eq(&title(&later, &ended));
        let mut failed = state::release::Generation::clone(&later.generations[2]);
        failed.judged = Some(ended[0].operation.begun.clone());
        later.generations[2] = failed.into();
        expect!["operation 12: rollback from generation 3 to 2, open"].assert_eq(&title(&later, &ended));
    }

    #[test]
    fn operations_with_their_steps() {
        check(
            "taking back",
            of_operations,
            &expect![[r#"
                operation 12: deploy of generation 3, open
                  begun      2025-06-02 13:59:54, by steadfast
                  because    desired.toml asks for v1.6.0
                  failed     the port 8080 is taken
                  done        1. create api-1 from 01537f435b1b [13:59:54, 135ms]
                  done        2. stop api (c7aa851d3bc1), by force after 10 s [13:59:54, 2.4s]
                  failed      3. start api (new api-1) [13:59:56, 130ms, taken back in 1.4s]
                  to do       4. wait until api is healthy, at most 60 s
                  to do       5. remove c7aa851d3bc1
            "#]],
        );
        check(
            "steady",
            of_operations,
            &expect![[r#"
            shop: no operation yet
        "#]],
        );
    }
}
