//! Which files are put, and which are left alone.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use expect_test::{Expect, expect};

use super::*;

fn content(text: &str) -> Option<Digest> {
    (text != "-").then(|| Digest::of(text.as_bytes()))
}

/// `name=content` each; `-`: there is no such file.
fn files(text: &str) -> ReleaseFiles {
    let file = |(path, is): (PathBuf, Option<Digest>)| {
        let file = ReleaseFile {
            role: Role::Env,
            content: is,
            owner: None,
        };
        (path, file)
    };
    disk(text).into_iter().map(file).collect()
}

fn disk(text: &str) -> OnDisk {
    let one = |word: &str| {
        let (name, is) = word.split_once('=').unwrap();
        (PathBuf::from("/srv").join(name), content(is))
    };
    text.split_whitespace().map(one).collect()
}

#[track_caller]
fn check(wanted: &str, own: &str, placed: &str, on_disk: &str, expect: Expect) {
    let changes = to_put(&files(wanted), &files(own), &disk(placed), &disk(on_disk));
    let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
    expect.assert_eq(&words.join(", "));
}

#[test]
fn a_file_is_put_where_it_is_known_who_wrote_what_is_there() {
    // The operator's own version, of a request that is left.
    check(
        "env=1 conf=1",
        "env=2 conf=2",
        "",
        "env=2 conf=2",
        expect!["/srv/conf back, /srv/env back"],
    );
    // What the agent has put there before.
    check("env=1", "env=3", "env=2", "env=2", expect!["/srv/env back"]);
    // It is there.
    check("env=1", "env=2", "env=1", "env=1", expect![""]);
    // Somebody has just written to it.
    check("env=1", "env=2", "env=3", "env=4", expect![""]);
    // Nobody can say what is there.
    check("env=1", "env=2", "", "", expect![""]);
    // There was none, or there is none.
    check("env=1", "env=-", "", "env=-", expect!["/srv/env again"]);
    check("env=-", "env=2", "", "env=2", expect!["/srv/env away"]);
    // What is no part of the release stays.
    check("env=1", "env=1 conf=2", "", "env=1 conf=2", expect![""]);
}

#[test]
fn what_was_put_is_the_agents_until_somebody_writes_to_it() {
    let changes = to_put(
        &files("env=1 conf=1"),
        &files("env=2 conf=2"),
        &disk(""),
        &disk("env=2 conf=2"),
    );
    let placed = placing(&Placed::new(), &changes);
    assert_eq!(placed, disk("env=1 conf=1"));
    assert_eq!(still_placed(&placed, &disk("env=1 conf=3")), disk("env=1"));
    // What cannot be read is not known to be another one.
    assert_eq!(still_placed(&placed, &disk("conf=1")), placed);
    let back: Vec<FileChange> = changes.iter().map(FileChange::back).collect();
    // What was the operator's is theirs again.
    assert_eq!(placing(&placed, &back), Placed::new());
}

#[test]
fn a_container_sees_what_is_mounted_and_what_lies_below() {
    let mut all = files("nginx/a.conf=1 nginx/b.conf=2 other=3 gone=-");
    for file in all.values_mut() {
        file.role = Role::Tracked;
    }
    all.extend(files("nginx/.env=4"));
    let seen = |source: &str| {
        let paths = seen_through(&all, Path::new(source)).map(|(path, _)| path.display().to_string());
        paths.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(seen("/srv/nginx"), "/srv/nginx/a.conf /srv/nginx/b.conf");
    assert_eq!(seen("/srv/nginx/b.conf"), "/srv/nginx/b.conf");
    assert_eq!(seen("/srv/ngin"), "");
    assert_eq!(seen("/srv/gone"), "");
}

#[test]
fn what_is_there_already_is_put_back_where_the_release_is_taken_back() {
    let mut before = files("conf=1 env=1 other=1");
    let mut wanted = files("conf=2 env=2 other=1");
    for all in [&mut before, &mut wanted] {
        for name in ["/srv/conf", "/srv/other"] {
            all.get_mut(Path::new(name)).unwrap().role = Role::Tracked;
        }
    }
    let already = put_already(&wanted, &before, &disk("conf=2 env=2 other=1"));
    let [change] = already.as_slice() else {
        panic!("{already:?}")
    };
    assert_eq!((&change.from, &change.to), (&content("1"), &content("2")));
    assert_eq!(put_already(&wanted, &before, &disk("conf=3")), []);
}
