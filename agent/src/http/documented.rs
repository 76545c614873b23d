//! Whether the text is what Prometheus reads, whether `docs/reference/metrics.md` names what is told, and whether what
//! `docs/monitoring/` asks for is told.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use super::exposition::{Family, Format, Type};
use super::families::ALL;
use super::told::{SITUATIONS, rendered, text};
use crate::view::{State, sample};

/// `name{label="value",…}` without its braces: the name, and the labels.
fn series(line: &str) -> (String, Vec<(String, String)>) {
    let Some((name, rest)) = line.split_once('{') else {
        return (line.to_owned(), Vec::new());
    };
    let mut labels = Vec::new();
    let mut rest = rest.strip_suffix('}').unwrap();
    while !rest.is_empty() {
        let (label, more) = rest.split_once("=\"").unwrap();
        let mut value = String::new();
        let mut chars = more.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => unreachable!("\\{c} is no escape"),
                }),
                (at, '"') => break at,
                (_, c) => value.push(c),
            }
        };
        labels.push((label.to_owned(), value));
        rest = &more[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    (name.to_owned(), labels)
}

/// The names that a family's samples may have.
fn samples_of(name: &str, kind: &str, format: Format) -> Vec<String> {
    let ends: &[&str] = match (kind, format) {
        ("summary", _) => &["_sum", "_count"],
        ("counter", Format::OpenMetrics) => &["_total"],
        ("info", Format::OpenMetrics) => &["_info"],
        ("counter" | "gauge", _) => &[""],
        _ => unreachable!("{kind} is no type"),
    };
    ends.iter().map(|end| format!("{name}{end}")).collect()
}

/// Reads the text as Prometheus does; says which labels and values each name has.
#[track_caller]
fn read(text: &str, format: Format) -> BTreeMap<String, Vec<Vec<(String, String)>>> {
    let mut seen: BTreeMap<String, Vec<Vec<(String, String)>>> = BTreeMap::new();
    let mut announced = BTreeSet::new();
    let mut helped = String::new();
    let mut allowed = Vec::new();
    let body = match format {
        Format::Text => text,
        Format::OpenMetrics => text.strip_suffix("# EOF\n").unwrap(),
    };
    assert!(body.ends_with('\n'));
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(!words.is_empty() && announced.insert(name.to_owned()), "{line}");
            assert_eq!(announced.last().map(String::as_str), Some(name), "not in order");
            name.clone_into(&mut helped);
            continue;
        }
        if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of.split_once(' ').unwrap();
            assert_eq!(name, helped, "a type without its help");
            allowed = samples_of(name, kind, format);
            continue;
        }
        let (line, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line} {value}");
        let (name, labels) = series(line);
        assert!(allowed.contains(&name), "{name} is not one of {allowed:?}");
        let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(
            is_name(&name) && labels.iter().all(|(label, _)| is_name(label)),
            "{line}"
        );
        let known = seen.entry(name).or_default();
        assert!(!known.contains(&labels), "{line} is told twice");
        known.push(labels);
    }
    seen
}

#[test]
fn prometheus_can_read_every_situation() {
    for situation in SITUATIONS {
        for format in [Format::Text, Format::OpenMetrics] {
            let mut other = sample::snapshot(situation);
            other.record.stack = "other".parse().unwrap();
            let both = rendered(vec![other, sample::snapshot(situation)], format);
            let seen = read(&both, format);
            let stacks: BTreeSet<&str> = seen["steadfast_held"].iter().map(|l| l[0].1.as_str()).collect();
            assert_eq!(stacks, ["other", "shop"].into(), "{situation}");
        }
    }
    let nothing = rendered(Vec::new(), Format::OpenMetrics);
    assert_eq!(read(&nothing, Format::OpenMetrics).len(), 2);
}

#[test]
fn a_stack_is_in_one_state_and_its_word_is_that_of_json() {
    for state in State::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    for situation in SITUATIONS {
        let status = serde_json::to_value(sample::status(situation)).unwrap();
        let line = format!(
            "steadfast_stack_state{{stack=\"shop\",state=\"{}\"}} 1\n",
            status["state"].as_str().unwrap()
        );
        let text = text(situation);
        assert!(text.contains(&line), "{situation}: {line}");
        let lines = text.lines().filter(|l| l.starts_with("steadfast_stack_state"));
        let on = lines.filter(|line| line.ends_with(" 1")).count();
        assert_eq!(on, 1, "{situation}");
    }
}

#[test]
fn conventions_are_kept() {
    for family in ALL {
        let name = family.name;
        assert!(name.starts_with("steadfast_"), "{name}");
        assert_eq!(name.ends_with("_total"), family.kind == Type::Counter, "{name}");
        assert_eq!(name.ends_with("_info"), family.kind == Type::Info, "{name}");
        assert!(family.help.ends_with('.'), "{name}");
        for unit in ["milli", "minutes", "hours", "kib", "mib"] {
            assert!(!name.contains(unit), "{name}");
        }
    }
}

fn docs(file: &str) -> String {
    let path = format!("{}/../docs/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| unreachable!("{path}: {error}"))
}

/// The families of the rows, and of the code, that are told in some situation.
#[test]
fn every_family_is_told_and_documented() {
    let row = |family: &&Family| {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        format!(
            "| `{}` | {} | {} |",
            family.name,
            family.kind.as_str(),
            labels.join(", ")
        )
    };
    let page = docs("reference/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `steadfast_"));
    let documented: BTreeSet<String> = rows
        .map(|line| line.splitn(5, '|').take(4).collect::<Vec<_>>().join("|") + "|")
        .collect();
    assert_eq!(documented, ALL.iter().map(row).collect());

    let told: BTreeSet<String> = told().into_keys().collect();
    let names = ALL.iter().flat_map(|family| match family.kind {
        Type::Summary => samples_of(family.name, "summary", Format::Text),
        _ => vec![family.name.to_owned()],
    });
    assert_eq!(told, names.collect());
}

/// All that is told in any situation.
fn told() -> BTreeMap<String, Vec<Vec<(String, String)>>> {
    let mut told: BTreeMap<String, Vec<Vec<(String, String)>>> = BTreeMap::new();
    for situation in SITUATIONS {
        let mut snapshot = sample::snapshot(situation);
        snapshot.database_bytes = Some(12_000_000);
        let text = rendered(vec![snapshot], Format::Text);
        for (name, series) in read(&text, Format::Text) {
            told.entry(name).or_default().extend(series);
        }
    }
    told
}

/// What the rules and the dashboard ask for: each name, with what stands in the braces behind it.
fn asked(text: &str) -> Vec<(&str, &str)> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let found = text.match_indices("steadfast_").filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        !before.is_some_and(is_part)
    });
    let name = |at: usize| {
        let rest = &text[at..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let braces = rest[end..]
            .strip_prefix('{')
            .and_then(|more| more.split_once('}'));
        (&rest[..end], braces.map_or("", |(inside, _)| inside))
    };
    found.map(|(at, _)| name(at)).collect()
}

#[test]
fn what_rules_and_dashboard_ask_for_is_told() {
    let told = told();
    let json: serde_json::Value = serde_json::from_str(&docs("monitoring/dashboard.json")).unwrap();
    assert!(json["panels"].as_array().is_some_and(|panels| panels.len() > 5));
    let dashboard = docs("monitoring/dashboard.json").replace("\\\"", "\"");
    for text in [docs("monitoring/alerts.yml"), dashboard] {
        let asked = asked(&text);
        assert!(asked.len() > 8, "{asked:?}");
        for (name, braces) in asked {
            let series = told
                .get(name)
                .unwrap_or_else(|| unreachable!("nobody tells {name}"));
            for matcher in braces.split(',').filter(|matcher| !matcher.is_empty()) {
                let (label, value) = matcher.split_once('=').unwrap();
                let labels: Vec<_> = series.iter().flatten().filter(|(l, _)| l == label).collect();
                assert!(!labels.is_empty(), "{name} has no label {label}");
                if let Some(value) = value.strip_prefix('"') {
                    let value = value.strip_suffix('"').unwrap();
                    assert!(labels.iter().any(|(_, v)| v == value), "no {name} has {matcher}");
                }
            }
        }
    }
}
