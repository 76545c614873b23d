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
            action: Action::Recreate,
        };
        (path, file)
    };
    disk(text).into_iter().map(file).collect()
}

fn placed(text: &str) -> Placed {
    let mut placed = Placed::new();
    for word in text.split_whitespace() {
        let (name, is) = word.split_once('=').unwrap();
        placed
            .entry(PathBuf::from("/srv").join(name))
            .or_default()
            .push(content(is));
    }
    placed
}

fn disk(text: &str) -> OnDisk {
    let one = |word: &str| {
        let (name, is) = word.split_once('=').unwrap();
        (PathBuf::from("/srv").join(name), content(is))
    };
    text.split_whitespace().map(one).collect()
}

#[track_caller]
fn check(wanted: &str, own: &str, put: &str, on_disk: &str, expect: Expect) {
    let changes = to_put(&files(wanted), &files(own), &placed(put), &disk(on_disk));
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
        &placed("env=2"),
        &disk("env=2 conf=2"),
    );
    let put = placing(&placed("env=2"), &changes);
    // Whether it could be written is not known yet.
    assert_eq!(put, placed("env=2 env=1 conf=1"));
    assert_eq!(placed_as_seen(&put, &disk("env=2 conf=3")), placed("env=2"));
    assert_eq!(
        placed_as_seen(&put, &disk("env=1 conf=1")),
        placed("env=1 conf=1")
    );
    // What cannot be read is not known to be another one.
    assert_eq!(placed_as_seen(&put, &OnDisk::new()), put);
    // What was the operator's is theirs again, and what the agent's, the agent's.
    let back: Vec<FileChange> = changes.iter().map(FileChange::back).collect();
    let after = placing(&put, &back);
    assert_eq!(placed_as_seen(&after, &disk("env=2 conf=2")), placed("env=2"));
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

/// `name=content` each, tracked, below a directory `d` of the release; or the same without it.
fn tracked(text: &str, whole: bool) -> ReleaseFiles {
    let mut all = files(text);
    for file in all.values_mut() {
        file.role = Role::Tracked;
    }
    let directory = ReleaseFile {
        role: Role::Directory,
        content: None,
        owner: None,
        action: Action::Recreate,
    };
    all.extend(whole.then(|| (PathBuf::from("/srv/d"), directory)));
    all
}

#[test]
fn what_lies_below_a_directory_comes_and_goes_with_the_release() {
    let old = tracked("d/a=1 d/gone=1", true);
    let new = tracked("d/a=2 d/new=2", true);
    let put = |wanted: &ReleaseFiles, own: &ReleaseFiles, on_disk: &str| {
        let changes = to_put(wanted, own, &Placed::new(), &disk(on_disk));
        let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
        words.join(", ")
    };
    let on_disk = "d/a=2 d/gone=- d/new=2";
    assert_eq!(
        put(&old, &new, on_disk),
        "/srv/d/a back, /srv/d/gone again, /srv/d/new away"
    );
    // What nobody has taken up is somebody's edit.
    assert_eq!(put(&old, &old, "d/a=1 d/gone=1 d/new=2"), "");
    // A release of a time in which the directory was not tracked says nothing of what it does not know.
    assert_eq!(put(&tracked("d/a=1", false), &new, on_disk), "/srv/d/a back");
    let taken_back: Vec<String> = put_already(&new, &old, &disk(on_disk))
        .iter()
        .map(|change| change.back().to_string())
        .collect();
    assert_eq!(
        taken_back,
        ["/srv/d/a back", "/srv/d/gone again", "/srv/d/new away"]
    );
    let others = [PathBuf::from("/srv/d/new"), PathBuf::from("/srv/other")];
    let paths: Vec<String> = paths_of(&old, &others)
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(paths, ["/srv/d/a", "/srv/d/gone", "/srv/d/new"]);
}
