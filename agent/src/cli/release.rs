//! `steadfast release`: the releases that a stack's repository has, and branches for those who work on. The daemon does
//! it in a mirror of its own; nothing that runs is touched.

use state::name::StackName;

use super::args::{Common, ReleaseCommand, RevertFile};
use super::failure::Outcome;
use super::output;
use super::reader::Reader;
use super::reading::Daemon;
use super::text::{columns, hanging, paragraph, printable, tail};
use crate::control::protocol::{Branched, ReleaseBody};
use crate::view::{KnownRow, ReleaseList, TagRow};

/// So much is shown of a tag.
const TAG: usize = 20;
/// No message is cut shorter.
const SUBJECT: usize = 8;
/// Where lines about a tag begin.
const INDENT: usize = 4;

pub(super) async fn run(common: &Common, command: ReleaseCommand) -> Outcome {
    match command {
        ReleaseCommand::List { stack, json } => list(common, &stack, json).await,
        ReleaseCommand::Branch { stack, tag, making } => {
            let body = ReleaseBody {
                tag,
                push: making.push,
                reason: making.reason,
                ..ReleaseBody::default()
            };
            ask(common, &stack, "branch", &body).await
        }
        ReleaseCommand::Hotfix { stack, name, making } => {
            let body = ReleaseBody {
                name: Some(name),
                push: making.push,
                reason: making.reason,
                ..ReleaseBody::default()
            };
            ask(common, &stack, "hotfix", &body).await
        }
        ReleaseCommand::RevertFile(revert) => revert_file(common, revert).await,
    }
}

async fn revert_file(common: &Common, revert: RevertFile) -> Outcome {
    let body = ReleaseBody {
        path: Some(revert.path),
        onto: revert.onto,
        to: revert.to,
        push: revert.push,
        reason: revert.reason,
        ..ReleaseBody::default()
    };
    ask(common, &revert.stack, "revert-file", &body).await
}

async fn ask(common: &Common, stack: &StackName, act: &str, body: &ReleaseBody) -> Outcome {
    let daemon = Daemon::of(common);
    let done = daemon.client.release(stack.as_str(), act, body).await;
    let done = done.map_err(|error| daemon.failure(error))?;
    output::print(&said(stack.as_str(), &done, Reader::here().width))?;
    Ok(0)
}

async fn list(common: &Common, stack: &StackName, json: bool) -> Outcome {
    let daemon = Daemon::of(common);
    let all = daemon.client.releases(stack.as_str()).await;
    let all = all.map_err(|error| daemon.failure(error))?;
    if json {
        return output::json(&all, 0);
    }
    output::print(&table(&all, &Reader::here()))?;
    Ok(0)
}

/// What was done, and what can be done with it.
fn said(stack: &str, done: &Branched, width: usize) -> String {
    let Branched {
        branch, commit, of, ..
    } = done;
    let what = match (&done.file, &done.onto) {
        (Some(file), Some(onto)) => {
            format!("{branch} is at commit {commit}: {file} as it was in {of}, on top of {onto}")
        }
        _ => format!("{branch} is at commit {commit}, which is {of}"),
    };
    let mut text = hanging(&format!("{stack}: "), &what, 2, width);
    if let Some(note) = &done.note {
        text.push_str(&paragraph(2, note, width));
    }
    let then = match (done.pushed, done.file.is_some()) {
        (true, _) => "the origin has it; in a clone:",
        (false, false) => {
            "only the daemon's own mirror has it, --push makes it at the origin too; in a clone:"
        }
        (false, true) => "only the daemon's own mirror has it, --push makes it at the origin too",
    };
    text.push_str(&paragraph(2, then, width));
    // Never broken: they are there to be copied.
    for command in commands(done) {
        text.push_str(&format!("{:INDENT$}{}\n", "", printable(&command)));
    }
    let tag = "a tag on what comes of it makes it a release: `steadfast pin` deploys that";
    text.push_str(&paragraph(2, tag, width));
    text
}

/// What to type in a clone to go on.
fn commands(done: &Branched) -> Vec<String> {
    let Branched { branch, commit, .. } = done;
    match (done.pushed, done.file.is_some()) {
        (true, false) => vec![format!("git fetch origin && git switch {branch}")],
        (true, true) => vec![format!(
            "git fetch origin && git tag TAG {commit} && git push origin TAG"
        )],
        (false, false) => vec![format!(
            "git fetch origin --tags && git switch -c {branch} {commit}"
        )],
        (false, true) => Vec::new(),
    }
}

/// A line for each tag, and below it what is known of it.
fn table(all: &ReleaseList, reader: &Reader) -> String {
    let mut text = String::new();
    if let Some(why) = &all.stale {
        let words = format!("the repository could not be asked, this is from before: {why}");
        text.push_str(&hanging(&format!("{}: ", all.stack), &words, 2, reader.width));
    }
    if all.tags.is_empty() {
        let words = format!("no tag of the repository matches \"{}\"", all.pattern);
        text.push_str(&hanging(&format!("{}: ", all.stack), &words, 2, reader.width));
        return text;
    }
    let mut rows = vec![["TAG", "COMMIT", "WHEN", "MESSAGE"].map(str::to_owned).to_vec()];
    rows.extend(all.tags.iter().map(|row| {
        let when = reader.ago(row.at);
        vec![tail(&row.tag, TAG), row.commit.clone(), when, row.subject.clone()]
    }));
    let widest = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    // Each on one line: what is known of it stands below.
    let room = reader
        .width
        .saturating_sub((0..3).map(|column| widest(column) + 2).sum());
    for row in &mut rows {
        row[3] = cut(&row[3], room.max(SUBJECT));
    }
    let table = columns(&rows, 0, reader.width);
    let mut lines = table.lines();
    text.extend(lines.next().map(|heading| format!("{heading}\n")));
    for (line, row) in lines.zip(&all.tags) {
        text.push_str(&format!("{line}\n"));
        for known in below(&all.stack, row) {
            text.push_str(&paragraph(INDENT, &known, reader.width));
        }
    }
    text
}

/// What is known of a tag.
fn below(stack: &str, row: &TagRow) -> Vec<String> {
    let known = in_words(&row.known);
    let known = (!known.is_empty()).then_some(known);
    known
        .into_iter()
        .chain(row.moved.as_ref().map(|moved| moved.words(stack)))
        .collect()
}

/// `asked for; runs, good (generation 2)`.
fn in_words(known: &[KnownRow]) -> String {
    let groups = known.chunk_by(|one, other| one.generation == other.generation);
    let words = groups.map(|group| {
        let facts: Vec<String> = group.iter().map(|row| row.what.replace('_', " ")).collect();
        let facts = facts.join(", ");
        match group.first().and_then(|row| row.generation) {
            Some(number) => format!("{facts} (generation {number})"),
            None => facts,
        }
    });
    words.collect::<Vec<_>>().join("; ")
}

/// As much as fits; on one line.
fn cut(text: &str, width: usize) -> String {
    let text = printable(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    if text.chars().count() <= width {
        return text;
    }
    let cut: String = text.chars().take(width - 1).collect();
    format!("{}…", cut.trim_end())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

    use expect_test::{Expect, expect};

    use super::*;
    use crate::view::{MovedTag, sample};

    fn row(tag: &str, commit: &str, hours: i64, subject: &str, known: &[(&str, Option<u64>)]) -> TagRow {
        let known = known.iter().map(|(what, generation)| KnownRow {
            what: (*what).to_owned(),
            generation: *generation,
        });
        TagRow {
            tag: tag.to_owned(),
            commit: commit.repeat(12),
            at: sample::reader().now - jiff::SignedDuration::from_hours(hours),
            subject: subject.to_owned(),
            known: known.collect(),
            moved: None,
        }
    }

    fn releases() -> ReleaseList {
        let mut moved = row("v1.9.0", "8", 50, "Sort by date", &[]);
        moved.moved = Some(MovedTag {
            commit: "1".repeat(12),
            generation: Some(1),
            in_force: false,
        });
        let failed = [("asked_for", Some(3)), ("bad", Some(3)), ("quarantined", Some(3))];
        ReleaseList {
            format: 1,
            stack: String::from("shop"),
            pattern: String::from("v*"),
            stale: None,
            tags: vec![
                row(
                    "v1.11.0",
                    "4",
                    1,
                    "Fees in the currency of the account, and not of the exchange",
                    &[],
                ),
                row("v1.10.0", "3", 2, "Checkout\tin  two steps\u{1b}[31m", &failed),
                moved,
                row("v1.8.0", "2", 90, "", &[("runs", Some(2)), ("good", Some(2))]),
            ],
        }
    }

    #[track_caller]
    fn check(text: &str, width: usize, expected: &Expect) {
        let text = anstream::adapter::strip_str(text).to_string();
        for line in text.lines().filter(|line| !line.contains("git ")) {
            assert!(line.chars().count() <= width, "wider than {width}: {line}");
            assert_eq!(line, line.trim_end(), "trailing space");
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn tags_with_what_is_known_of_them() {
        let reader = sample::reader();
        check(
            &table(&releases(), &reader),
            80,
            &expect![[r#"
                TAG      COMMIT        WHEN        MESSAGE
                v1.11.0  444444444444  1h ago      Fees in the currency of the account, and not…
                v1.10.0  333333333333  2h ago      Checkout in two steps�[31m
                    asked for, bad, quarantined (generation 3)
                v1.9.0   888888888888  2d 2h ago   Sort by date
                    moved: it was 111111111111 when generation 1 was made
                v1.8.0   222222222222  3d 18h ago
                    runs, good (generation 2)
            "#]],
        );
    }

    #[test]
    fn what_is_from_before_is_said_to_be() {
        let reader = sample::reader();
        let list = ReleaseList {
            stale: Some(String::from("/srv/shop.git cannot be reached: no such directory")),
            tags: Vec::new(),
            ..releases()
        };
        check(
            &table(&list, &reader),
            80,
            &expect![[r#"
                shop: the repository could not be asked, this is from before: /srv/shop.git
                  cannot be reached: no such directory
                shop: no tag of the repository matches "v*"
            "#]],
        );
    }

    #[test]
    fn no_list_is_wider_than_the_terminal() {
        for width in [60, 80, 100] {
            let reader = Reader {
                width,
                ..sample::reader()
            };
            let mut list = releases();
            list.tags[0].tag = "release-2025-06-02-with-a-long-name".to_owned();
            let text = table(&list, &reader);
            for line in text.lines() {
                assert!(line.chars().count() <= width, "wider than {width}: {line}");
            }
            // One line for the heading and for each tag, and what is known of two of them and of one that moved.
            assert_eq!(text.lines().count(), 8, "{text}");
        }
    }

    fn branched(file: Option<&str>, pushed: bool) -> Branched {
        Branched {
            branch: String::from(if file.is_some() {
                "rollback/fees.py-222222222222"
            } else {
                "rollback/to-v1.8.0"
            }),
            commit: if file.is_some() { "9" } else { "2" }.repeat(12),
            of: String::from("v1.8.0 (generation 2)"),
            onto: file.map(|_| String::from("main")),
            file: file.map(str::to_owned),
            pushed,
            note: None,
        }
    }

    #[test]
    fn a_branch_is_said_with_what_to_do_with_it() {
        check(
            &said("shop", &branched(None, false), 80),
            80,
            &expect![[r#"
                shop: rollback/to-v1.8.0 is at commit 222222222222, which is v1.8.0 (generation
                  2)
                  only the daemon's own mirror has it, --push makes it at the origin too; in a
                  clone:
                    git fetch origin --tags && git switch -c rollback/to-v1.8.0 222222222222
                  a tag on what comes of it makes it a release: `steadfast pin` deploys that
            "#]],
        );
        check(
            &said("shop", &branched(Some("backend/fees.py"), true), 80),
            80,
            &expect![[r#"
                shop: rollback/fees.py-222222222222 is at commit 999999999999: backend/fees.py
                  as it was in v1.8.0 (generation 2), on top of main
                  the origin has it; in a clone:
                    git fetch origin && git tag TAG 999999999999 && git push origin TAG
                  a tag on what comes of it makes it a release: `steadfast pin` deploys that
            "#]],
        );
        assert!(commands(&branched(Some("a.py"), false)).is_empty());
    }
}
