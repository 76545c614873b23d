//! The pages of the situations that a stack can be in: what is on them, for whom they are marked, and what cannot get in.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::http::told::SITUATIONS;
use crate::view::{History, sample};

fn frame() -> Frame {
    Frame {
        host: "docker-07".into(),
        reader: sample::reader(),
    }
}

fn seen(situation: &str) -> Seen {
    Seen::of(&sample::snapshot(situation), &sample::shared(), &sample::reader())
}

/// The page of a stack on its own.
fn page(situation: &str) -> String {
    let snapshot = sample::snapshot(situation);
    let history = History::of(&snapshot.record, &[], &sample::shared());
    stack(&seen(situation), &history, &Ok(Vec::new()), &frame())
}

/// All of them, each under its own name.
fn all(situations: &[&str]) -> Vec<Seen> {
    let named = |situation: &&str| {
        let mut seen = seen(situation);
        seen.status.stack = situation.replace(' ', "-");
        seen
    };
    situations.iter().map(named).collect()
}

/// As it stands in HTML.
fn escaped(words: &str) -> String {
    maud::html! { (words) }.into_string()
}

#[track_caller]
fn has(page: &str, words: &[&str]) {
    for words in words {
        assert!(page.contains(&escaped(words)), "not there: {words}");
    }
}

/// Whatever `steadfast status` says is on the page.
#[test]
fn the_page_says_what_the_command_says() {
    for situation in SITUATIONS {
        let (told, page) = (seen(situation).told, page(situation));
        has(&page, &[&told.word, &told.sentence, &told.runs, &told.asked]);
        let lines = told.next.iter().chain(&told.rollback).chain(&told.database);
        let lines = lines.chain(told.why.iter().map(|(_, words)| words));
        let lines = lines.chain(told.commands.iter().map(|(command, _)| command));
        let lines: Vec<&str> = lines.map(String::as_str).collect();
        has(&page, &lines);
    }
}

/// The word for each situation, and whose eye it catches.
#[test]
fn what_needs_somebody_is_marked() {
    for (situation, class, word) in [
        ("steady", "good", "steady"),
        ("trial", "busy", "on trial"),
        ("deploying", "busy", "deploying"),
        ("failing", "bad", "failing"),
        ("rolling back", "warn", "rolling back"),
        ("rolled back", "warn", "rolled back"),
        ("held", "bad", "held"),
        ("first contact", "warn", "waits for your approval"),
        ("paused", "warn", "paused"),
        ("input error", "warn", "steady"),
        ("engine away", "bad", "unknown"),
    ] {
        let page = page(situation);
        assert!(
            page.contains(&format!("<article class=\"card state {class}\">")),
            "{situation}"
        );
        assert!(
            page.contains(&format!("<title>shop: {word} · docker-07</title>")),
            "{situation}"
        );
    }
}

#[test]
fn a_failure_is_drawn_with_what_is_left() {
    let page = page("failing");
    has(
        &page,
        &[
            "v1.6.0 has failed for 1m 50s, 3m 10s left to a rollback",
            "GET /health answered 500",
            "steadfast rollback shop",
            "12 failed",
        ],
    );
    assert!(page.contains("<progress aria-label=\"seconds of failure\" max=\"300\" value=\"110\">"));
    // Twelve fails at the right, of all of the height.
    assert!(
        page.contains("<path class=\"f\" d=\"M434 44v-40M438 44v-40"),
        "{page}"
    );
    assert!(page.contains("M478 44v-40\""));
}

#[test]
fn an_operation_is_shown_step_by_step() {
    let page = page("rolling back");
    has(
        &page,
        &[
            "Under way: rollback to v1.5.0 (generation 2)",
            "start api (new api-1)",
            "done, 2.4s",
            "to do",
        ],
    );
    assert_eq!(page.matches("aria-current=\"step\"").count(), 1);
}

#[test]
fn a_generation_is_shown_with_its_verdict() {
    let page = page("rolled back");
    has(&page, &["v1.6.0", "generation 3", "bad", "in quarantine", "runs"]);
    has(&page, &["api failed for 5m: GET /health answered 500"]);
}

#[test]
fn the_worst_comes_first_and_who_is_not_seen_is_said() {
    let seen = all(&[
        "steady",
        "paused",
        "failing",
        "trial",
        "held",
        "rolled back",
        "engine away",
    ]);
    let page = overview(&seen, &["later".into()], &frame());
    let names = [
        "failing",
        "held",
        "engine-away",
        "rolled-back",
        "paused",
        "trial",
        "steady",
    ];
    let places: Vec<_> = names
        .iter()
        .map(|name| page.find(&format!("href=\"/stacks/{name}\"")))
        .collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{places:?}"
    );
    has(&page, &["4 of 8 stacks are not fine", "not looked at yet"]);
    has(
        &overview(&all(&["steady"]), &[], &frame()),
        &["The stack is fine", "rollback possible, to v1.4.0 (generation 1)"],
    );
    has(&overview(&[], &[], &frame()), &["No stack is configured"]);
    has(
        &overview(&[], &["shop".into()], &frame()),
        &["Nothing was looked at yet"],
    );
}

#[test]
fn nothing_from_outside_is_obeyed() {
    const EVIL: &str =
        "</style></script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}gnp\u{1b}[31m";
    let mut snapshot = sample::snapshot("held");
    let record = &mut snapshot.record;
    record.hold.as_mut().unwrap().why = EVIL.into();
    record.hold.as_mut().unwrap().way_out = EVIL.into();
    let mut generation = (*record.generations[0]).clone();
    generation.why = EVIL.into();
    record.generations[0] = generation.into();
    snapshot.waits = vec![EVIL.into()];
    snapshot.readiness.why_not = Some(EVIL.into());
    snapshot.services[0].reference = EVIL.into();
    let seen = Seen::of(&snapshot, &sample::shared(), &sample::reader());
    let history = History::of(&snapshot.record, &[], &sample::shared());
    let past = Err(EVIL.to_owned());
    let pages = [
        stack(&seen, &history, &past, &frame()),
        overview(std::slice::from_ref(&seen), &[EVIL.into()], &frame()),
        no_such(&[EVIL.into()], &frame()),
    ];
    for page in pages {
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        for raw in ["<img", "<script>alert", "\"'><", "\u{202e}", "\u{1b}"] {
            assert!(!page.contains(raw), "{raw:?}");
        }
        // One of each, our own.
        for ours in ["<style>", "<script>", "</script>"] {
            assert_eq!(page.matches(ours).count(), 1, "{ours}");
        }
        // Neither would be let in by the policy.
        for inline in [" style=\"", " onclick=", "javascript:"] {
            assert!(!page.contains(inline), "{inline}");
        }
    }
}

/// However long it has run and however many probes there are, a page is a page.
#[test]
fn what_is_kept_and_sent_is_bounded() {
    let snapshot = Arc::new(sample::snapshot("failing"));
    let seen = Seen::of(&snapshot, &sample::shared(), &sample::reader());
    let text = overview(std::slice::from_ref(&seen), &[], &frame());
    assert!(text.len() < 24_000, "{}", text.len());
    let drawn = plot::plot(&seen.recent[0], &sample::reader()).into_string();
    assert!(drawn.len() < 4000, "{}", drawn.len());
}
