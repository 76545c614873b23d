//! What is printed of env files, and what is not.

#![allow(clippy::unwrap_used)]

use expect_test::{Expect, expect};

use super::*;
use crate::view::{EnvImport, EnvUse, sample};

fn row(id: &str, generations: &[u64]) -> EnvRow {
    let begun = sample::reader().now - jiff::Span::new().hours(2);
    let used = |n: &u64| EnvUse {
        generation: *n,
        verdict: "good".into(),
        begun,
    };
    EnvRow {
        id: id.into(),
        file: "/srv/shop/.env".into(),
        kept: true,
        asked_for: false,
        in_file: false,
        pinned: false,
        last: Some(begun),
        used_by: generations.iter().map(used).collect(),
        imported: None,
        replaced: None,
    }
}

fn all() -> EnvList {
    let asked = EnvRow {
        asked_for: true,
        in_file: true,
        pinned: true,
        ..row("0b6f4e03b952", &[5, 4, 3, 1])
    };
    let imported = EnvRow {
        imported: Some(EnvImport {
            from: "/srv/shop/.env.backup.20251109".into(),
            by: "ada".into(),
            at: sample::reader().now,
        }),
        ..row("93aa1c77d0e2", &[])
    };
    let edited = EnvRow {
        last: None,
        kept: false,
        in_file: true,
        ..row("51c0ffee51c0", &[])
    };
    let other = EnvRow {
        file: "/srv/shop/api.env".into(),
        ..row("0b6f4e03b952", &[2])
    };
    EnvList {
        format: 1,
        stack: "shop".into(),
        file: "/srv/shop/.env".into(),
        versions: vec![edited, asked, imported, other],
    }
}

#[track_caller]
fn check(text: &str, expected: &Expect) {
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{text}");
    expected.assert_eq(text);
}

#[test]
fn versions_are_listed_file_by_file() {
    check(
        &list(&all(), &sample::reader()),
        &expect![[r#"
            /srv/shop/.env
              ID            LAST    IS                              KNOWN FROM
              51c0ffee51c0  now     in the file, not kept           an edit that is not
                                                                    taken up yet
              0b6f4e03b952  2h ago  asked for, in the file, pinned  gen 5 good 2h ago, gen 4
                                                                    good 2h ago, gen 3 good
                                                                    2h ago, 1 more
              93aa1c77d0e2  2h ago                                  imported from
                                                                    /srv/shop/.env.backup.20
                                                                    251109 by ada
            /srv/shop/api.env
              ID            LAST    IS  KNOWN FROM
              0b6f4e03b952  2h ago      gen 2 good 2h ago
        "#]],
    );
}

#[test]
fn in_sixty_columns_what_a_version_is_known_from_goes_below_it() {
    let reader = Reader {
        width: 60,
        ..sample::reader()
    };
    let text = list(&all(), &reader);
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    check(
        &text,
        &expect![[r#"
            /srv/shop/.env
              ID            LAST    IS
              51c0ffee51c0  now     in the file, not kept
                  an edit that is not taken up yet
              0b6f4e03b952  2h ago  asked for, in the file, pinned
                  gen 5 good 2h ago, gen 4 good 2h ago, gen 3 good 2h
                  ago, 1 more
              93aa1c77d0e2  2h ago
                  imported from /srv/shop/.env.backup.20251109 by ada
            /srv/shop/api.env
              ID            LAST    IS  KNOWN FROM
              0b6f4e03b952  2h ago      gen 2 good 2h ago
        "#]],
    );
}

#[test]
fn a_version_is_named_by_its_beginning_and_its_file() {
    let all = all();
    let file = |id: &str, file: Option<&str>| {
        let row = named(&all, &id.parse().unwrap(), file.map(Path::new));
        row.map(|row| row.file.clone())
    };
    assert_eq!(file("0b6f4e03", None).as_deref(), Some("/srv/shop/.env"));
    assert_eq!(
        file("0b6f4e03", Some("./api.env")).as_deref(),
        Some("/srv/shop/api.env")
    );
    assert_eq!(file("ffffffff", None), None);
}

#[test]
fn a_person_is_asked_about_what_it_is() {
    let (all, reader) = (all(), sample::reader());
    assert_eq!(
        question("shop", &all.versions[2], &reader),
        "shop: put 93aa1c77d0e2 (imported from /srv/shop/.env.backup.20251109) into /srv/shop/.env? It is tried \
         as any other release; what is there now is kept."
    );
    // What is asked for already is accepted, the rest is after what was.
    let accepted = Some(reader.now);
    assert_eq!(before(Some(&all.versions[1]), accepted), None);
    assert_eq!(before(Some(&all.versions[2]), accepted), accepted);
    assert_eq!(before(None, accepted), accepted);
}

fn shown(values: [Option<&str>; 2]) -> EnvShown {
    let keys = ["PASSWORD", "LOG_LEVEL"].into_iter().zip(values);
    let key = |(key, value): (&str, Option<&str>)| EnvKey {
        key: key.into(),
        value: value.map(String::from),
    };
    EnvShown {
        format: 1,
        stack: "shop".into(),
        file: "/srv/shop/.env".into(),
        id: "0b6f4e03b952".into(),
        asked_for: true,
        in_file: false,
        keys: keys.map(key).collect(),
        problems: vec!["/srv/shop/.env:3:1: there is no name before this".into()],
    }
}

#[test]
fn values_are_masked_and_revealed_ones_command_no_terminal() {
    check(
        &show(&shown([None, None]), &sample::reader()),
        &expect![[r#"
            # shop: 0b6f4e03b952 of /srv/shop/.env, as it is asked for
            # wrong: /srv/shop/.env:3:1: there is no name before this
            PASSWORD=…
            LOG_LEVEL=…
        "#]],
    );
    let text = show(
        &shown([Some("s3cret \u{1b}[31m\n"), Some("info")]),
        &sample::reader(),
    );
    assert!(
        text.ends_with("PASSWORD=\"s3cret \\u{1b}[31m\\n\"\nLOG_LEVEL=info\n"),
        "{text}"
    );
    assert_eq!(unless_redirected(false).unwrap_err().code, 5);
    assert_eq!(unless_redirected(true), Ok(()));
}

#[test]
fn what_differs_is_told_by_name() {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let some = EnvDiff {
        format: 1,
        stack: "shop".into(),
        file: "/srv/shop/.env".into(),
        a: "0b6f4e03b952".into(),
        b: Some("93aa1c77d0e2".into()),
        b_in_file: true,
        added: names(&["NEW"]),
        removed: names(&["OLD"]),
        changed: names(&["PASSWORD"]),
        identical: false,
        problems: Vec::new(),
    };
    check(
        &diff(&some, &sample::reader()),
        &expect![[r#"
            shop: /srv/shop/.env, from 0b6f4e03b952 to 93aa1c77d0e2, which is in the file
              + NEW
              - OLD
              ~ PASSWORD
        "#]],
    );
    let none = EnvDiff {
        b: None,
        added: Vec::new(),
        removed: Vec::new(),
        changed: Vec::new(),
        ..some
    };
    check(
        &diff(&none, &sample::reader()),
        &expect![[r#"
            shop: /srv/shop/.env, from 0b6f4e03b952 to nothing: there is no such file
              no name and no value differs: comments, order or quotes do
        "#]],
    );
}

#[test]
fn a_path_is_whole_and_leads_up_nowhere() {
    assert_eq!(
        absolute(Path::new("/srv/.env.old")).unwrap(),
        Path::new("/srv/.env.old")
    );
    assert_eq!(absolute(Path::new("/usr/../usr")).unwrap(), Path::new("/usr"));
    assert_eq!(absolute(Path::new("/nonexistent/../x")).unwrap_err().code, 2);
}
