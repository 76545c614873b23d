//! Whether `docs/reference/commands.md` names the fields that `--json` has, and no others.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use state::env_version::{Imported, versions};
use state::name::Digest;
use state::record::Act;
use state::release::{Author, HostKey};

use super::check::Report;
use super::init;
use super::narrow::SITUATIONS;
use super::rows::RowsList;
use crate::view::{
    ActList, BackupList, EnvDiff, EnvList, EnvShown, EnvText, History, KnownRow, MovedTag, PlanView,
    ReleaseList, StatusList, TagRow, sample,
};

type Names = BTreeSet<String>;

/// A section of the page, from its heading to the next one.
fn section(heading: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/commands.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once(&format!("### {heading}\n")).unwrap();
    let end = rest.find("\n##").unwrap_or(rest.len());
    rest[..end].to_owned()
}

/// What stands in backticks outside of parentheses: the fields. Within them are possible values.
fn fields(text: &str) -> Names {
    let mut depth = 0_u32;
    let outside: String = text
        .chars()
        .filter(|c| {
            depth = match c {
                '(' => depth + 1,
                ')' => depth.saturating_sub(1),
                _ => depth,
            };
            depth == 0
        })
        .collect();
    let parts = outside.split('`').enumerate();
    parts
        .filter(|(i, _)| i % 2 == 1)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// The rows of the table in a section: their fields, and what is said of them.
fn rows(section: &str) -> Vec<(Names, String)> {
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| {
            let (names, more) = line[2..].split_once(" | ").unwrap();
            (fields(names), more.to_owned())
        })
        .collect()
}

/// The items of the list in a section, by how each begins.
fn items(section: &str) -> BTreeMap<String, Names> {
    let items = section.split("\n* ").skip(1);
    items
        .map(|item| {
            let item = item.split("\n\n").next().unwrap();
            let (subject, more) = item.split_once(':').unwrap();
            let sentence = more.split(". ").next().unwrap();
            (subject.to_owned(), fields(sentence))
        })
        .collect()
}

/// All that values of one kind may hold: what is `null` in one is filled by another.
fn merged(values: impl IntoIterator<Item = Value>) -> Value {
    values.into_iter().fold(Value::Null, merge)
}

fn merge(left: Value, right: Value) -> Value {
    match (left, right) {
        (Value::Object(mut left), Value::Object(right)) => {
            for (key, value) in right {
                let before = left.remove(&key).unwrap_or_default();
                left.insert(key, merge(before, value));
            }
            Value::Object(left)
        }
        (Value::Array(mut left), Value::Array(right)) => {
            left.extend(right);
            Value::Array(vec![merged(left)])
        }
        (Value::Null, Value::Array(right)) => Value::Array(vec![merged(right)]),
        (Value::Null, right) => right,
        (left, _) => left,
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn keys(value: &Value) -> Names {
    let object = match value {
        Value::Array(all) => all.first().and_then(Value::as_object),
        value => value.as_object(),
    };
    object.into_iter().flat_map(|o| o.keys().cloned()).collect()
}

/// Compares a table with what there is; says for which fields what is in them was compared too.
#[track_caller]
fn check_table(heading: &str, value: &Value, elsewhere: &[&str]) -> Vec<String> {
    let rows = rows(&section(heading));
    let named: Names = rows.iter().flat_map(|(names, _)| names.clone()).collect();
    assert_eq!(named, keys(value), "the fields of `{heading}`");
    let mut compared = Vec::new();
    for (names, more) in rows.iter().filter(|(names, _)| names.len() == 1) {
        let name = names.first().unwrap();
        let has = keys(&value[name]);
        if has.is_empty() || elsewhere.contains(&name.as_str()) {
            continue;
        }
        assert_eq!(fields(more), has, "the fields of {name} in `{heading}`");
        compared.push(name.clone());
    }
    compared
}

#[test]
fn the_fields_of_a_status() {
    let all = SITUATIONS.map(|situation| json(&sample::status(situation)));
    let status = merged(all);
    let compared = check_table("`status --json`", &status, &[]);
    let objects = "asked runs gap operation trial failing hold pause approval next drift again problems rollback \
                   services probes schema beside taken_back backups engine";
    assert_eq!(compared, objects.split_whitespace().collect::<Vec<_>>());
    let list = StatusList {
        format: 1,
        stacks: Vec::new(),
    };
    assert_eq!(keys(&json(&list)), ["format", "stacks"].map(str::to_owned).into());
    // Of each object in it every key is told, however deep it lies.
    let text = section("`status --json`");
    for probe in keys(&status["failing"]["probes"]) {
        assert!(text.contains(&format!("`{probe}`")), "{probe}");
    }
}

#[test]
fn every_state_is_told() {
    let text = section("`status --json`");
    let row = text.lines().find(|line| line.starts_with("| `state`")).unwrap();
    for situation in SITUATIONS {
        let state = json(&sample::status(situation).state);
        let state = state.as_str().unwrap();
        assert!(row.contains(&format!("`{state}`")), "{state}");
    }
}

#[test]
fn the_fields_of_a_history() {
    let all = SITUATIONS.map(|situation| {
        let snapshot = sample::snapshot(situation);
        json(&History::of(&snapshot.record, &[], &sample::shared()))
    });
    let history = merged(all);
    let section = section("`history --json`");
    let first = section.trim_start().lines().next().unwrap();
    assert_eq!(fields(first), keys(&history));
    let items = items(&section);
    let (generation, operation) = (&history["generations"], &history["operations"]);
    assert_eq!(items["A generation"], keys(generation));
    assert_eq!(items["An operation"], keys(operation));
    assert_eq!(items["A step"], keys(&operation[0]["steps"]));
}

#[test]
fn the_fields_of_the_backups() {
    let list = json(&BackupList::of(&sample::snapshot("steady")).unwrap());
    let section = section("`backup list --json`");
    let first = section.trim_start().split("; `backup").next().unwrap();
    assert_eq!(fields(first), keys(&list));
    let items = items(&section);
    assert_eq!(items["A backup"], keys(&list["backups"]));
    let verified = merged(
        list["backups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|b| b["verified"].clone()),
    );
    assert_eq!(items["What was made sure of"], keys(&verified));
    assert_eq!(items["What is damaged"], keys(&list["damaged"]));
}

#[test]
fn the_fields_of_the_rows() {
    let status = sample::status("restored");
    let list = json(&RowsList::of(&status));
    let section = section("`rows list --json`");
    assert_eq!(first_fields(&section), keys(&list));
    let row = json(&status.taken_back);
    assert_eq!(items(&section)["What one has taken out"], keys(&row));
}

/// What is said of a section before its list.
fn first_fields(section: &str) -> Names {
    fields(section.trim_start().split("\n\n").next().unwrap())
}

#[test]
fn the_fields_of_the_env_files() {
    let mut snapshot = sample::snapshot("steady");
    let (record, file) = (&mut snapshot.record, &snapshot.env_file);
    record.imported.push(Imported {
        path: file.clone(),
        content: Digest::of(b"A=2\n"),
        from: "/srv/shop/.env.backup".into(),
        by: Author::Agent,
        at: snapshot.taken.clone(),
    });
    let disk = [(file.clone(), Some(Digest::of(b"A=1\n")))].into();
    let all = versions(record, file, &HostKey::new([7; 32]), &disk);
    let list = json(&EnvList::of(
        (&record.stack, file),
        all.iter().map(|version| (version, true)),
    ));
    let section_of_list = section("`env list --json`");
    assert_eq!(first_fields(&section_of_list), keys(&list));
    let rows = list["versions"].as_array().unwrap();
    let row = merged(rows.iter().cloned());
    let named = items(&section_of_list);
    assert_eq!(named["A version"], keys(&row));
    assert_eq!(named["A generation that has it"], keys(&row["used_by"]));
    assert_eq!(named["How it was imported"], keys(&row["imported"]));
    let text = EnvText::read(file, b"A=1\n");
    let shown = json(&EnvShown::masked(&record.stack, &all[0], &text));
    let section_of_one = section("`env show --json`");
    assert_eq!(first_fields(&section_of_one), keys(&shown));
    assert_eq!(items(&section_of_one)["A name"], keys(&shown["keys"]));
    let both = (Some(&all[0]), Some(&all[1]));
    let differs = json(&EnvDiff::of(&record.stack, file, both, (&text, &text), true));
    assert_eq!(first_fields(&section("`env diff --json`")), keys(&differs));
}

#[test]
fn the_fields_of_the_releases() {
    let tag = TagRow {
        tag: String::from("v1.5.0"),
        commit: String::from("a1b2c3d4e5f6"),
        at: sample::reader().now,
        subject: String::new(),
        known: vec![KnownRow {
            what: String::from("runs"),
            generation: Some(2),
        }],
        moved: Some(MovedTag {
            commit: String::from("0f1e2d3c4b5a"),
            generation: Some(1),
            in_force: true,
        }),
    };
    let list = json(&ReleaseList {
        format: 1,
        stack: String::from("shop"),
        pattern: String::from("v*"),
        stale: None,
        tags: vec![tag],
    });
    let section = section("`release list --json`");
    assert_eq!(first_fields(&section), keys(&list));
    let items = items(&section);
    assert_eq!(items["A tag"], keys(&list["tags"]));
    assert_eq!(items["What is known of it"], keys(&list["tags"][0]["known"]));
    assert_eq!(items["What it was before"], keys(&list["tags"][0]["moved"]));
}

#[test]
fn the_fields_of_the_acts() {
    let act = Act {
        by: Author::Person {
            uid: 1000,
            name: Some("ada".into()),
        },
        at: sample::snapshot("steady").taken,
        what: "rollback".into(),
        why: Some("checkout is broken".into()),
    };
    let list = json(&ActList::of(&"shop".parse().unwrap(), &[act]));
    let section = section("`history --acts --json`");
    assert_eq!(first_fields(&section), keys(&list));
    assert_eq!(items(&section)["An act"], keys(&list["acts"]));
}

#[test]
fn the_fields_of_a_plan() {
    let all = SITUATIONS.map(|situation| json(&PlanView::of(&sample::snapshot(situation))));
    // What a person is asked, and what is wrong, are as in a status.
    let compared = check_table("`plan --json`", &merged(all), &["approval", "problems"]);
    assert_eq!(compared, ["changes"]);
}

#[test]
fn the_fields_of_an_init() {
    let report = json(&init::Report {
        format: 1,
        written: true,
        files: vec![init::FileRow {
            path: "/etc/steadfast/steadfast.toml".into(),
            text: String::new(),
        }],
        stacks: vec![init::StackRow {
            stack: String::from("shop"),
            directory: "/srv/shop".into(),
            tag: String::from("v1"),
            services: 1,
            adopted: true,
            changes: Vec::new(),
        }],
        questions: vec![init::QuestionRow {
            stack: None,
            what: String::new(),
            way_out: String::new(),
        }],
    });
    let section = section("`init --json`");
    assert_eq!(first_fields(&section), keys(&report));
    let items = items(&section);
    assert_eq!(items["A file"], keys(&report["files"]));
    assert_eq!(items["A stack"], keys(&report["stacks"]));
    assert_eq!(items["A question"], keys(&report["questions"]));
}

#[test]
fn the_fields_of_a_check() {
    let report = Report {
        format: 1,
        valid: true,
        problems: Vec::new(),
    };
    let section = section("`check --json`");
    let named = fields(section.split(" as in ").next().unwrap());
    assert_eq!(named, keys(&json(&report)));
}
