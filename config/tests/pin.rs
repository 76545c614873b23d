//! `pin`: what is edited, what stays, and that nobody sees half a file.
#![allow(
    clippy::unwrap_used,
    clippy::zero_sized_map_values,
    clippy::needless_raw_string_hashes
)]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use state::desired::{Desired, EnvWish, MigrationWish};
use state::name::StackName;
use steadfast_config::desired_file::parse;
use steadfast_config::pin::{Edit, PinError, pin, pin_file};

const EXAMPLE: &str = include_str!("../examples/desired.toml");

fn tag(text: &str) -> Edit {
    Edit {
        tag: Some(text.parse().unwrap()),
        ..Edit::default()
    }
}

fn service(name: &str, text: &str) -> Edit {
    Edit {
        service: Some((name.parse().unwrap(), text.parse().unwrap())),
        ..Edit::default()
    }
}

#[track_caller]
#[allow(clippy::needless_pass_by_value)]
fn check(text: &str, stack: &str, edit: Edit, expected: Expect) {
    let shown = match pin(text, &stack.parse().unwrap(), &edit) {
        Ok(text) => text.replace('\r', "<CR>"),
        Err(problems) => format!("refused: {problems}"),
    };
    expected.assert_eq(&shown);
}

#[test]
fn a_pin_changes_what_it_names_and_nothing_else() {
    check(
        EXAMPLE,
        "bybit",
        tag("v1.6.0"),
        expect![[r##"
        # What to run. Steadfast reads this file and never edits it on its own account.
        [bybit]
        tag       = "v1.6.0"
        migration = "head"          # or a revision; omitted: what the release brings
        env       = "current"       # or "sha256:…", as `sha256sum .env` prints it

        [bybit.services]
        frontend  = "v1.4.2"        # this service has a tag of its own
    "##]],
    );
    check(
        EXAMPLE,
        "bybit",
        service("frontend", "v2"),
        expect![[r##"
        # What to run. Steadfast reads this file and never edits it on its own account.
        [bybit]
        tag       = "v1.5.0"
        migration = "head"          # or a revision; omitted: what the release brings
        env       = "current"       # or "sha256:…", as `sha256sum .env` prints it

        [bybit.services]
        frontend  = "v2"        # this service has a tag of its own
    "##]],
    );
    let all = Edit {
        tag: Some("v2".parse().unwrap()),
        service: Some(("api".parse().unwrap(), "v3".parse().unwrap())),
        unpin: vec!["frontend".parse().unwrap(), "nobody".parse().unwrap()],
        migration: Some(MigrationWish::Release),
        env: Some(EnvWish::Short("0123456789ab".parse().unwrap())),
    };
    check(
        EXAMPLE,
        "bybit",
        all,
        expect![[r##"
        # What to run. Steadfast reads this file and never edits it on its own account.
        [bybit]
        tag       = "v2"
        env       = "0123456789ab"       # or "sha256:…", as `sha256sum .env` prints it

        [bybit.services]
        api = "v3"
    "##]],
    );
    check(
        EXAMPLE,
        "bybit",
        Edit::default(),
        expect![[r##"
        # What to run. Steadfast reads this file and never edits it on its own account.
        [bybit]
        tag       = "v1.5.0"
        migration = "head"          # or a revision; omitted: what the release brings
        env       = "current"       # or "sha256:…", as `sha256sum .env` prints it

        [bybit.services]
        frontend  = "v1.4.2"        # this service has a tag of its own
    "##]],
    );
}

#[test]
fn a_new_stack_comes_at_the_end() {
    check(
        "[a]\ntag = \"v1\"\n# the end\n",
        "b",
        tag("v2"),
        expect![[r#"
        [a]
        tag = "v1"
        # the end

        [b]
        tag = "v2"
    "#]],
    );
    check(
        "# what to run\n",
        "b",
        tag("v2"),
        expect![[r##"
        # what to run

        [b]
        tag = "v2"
    "##]],
    );
    check(
        "[a]\ntag = \"v1\"\n",
        "b",
        service("x", "v2"),
        expect!["refused: desired.toml: b: there is no [b] to edit (give a tag as well)"],
    );
}

#[test]
fn every_way_to_write_a_table_can_be_edited() {
    check(
        "a = { tag = \"v1\" } # one line\n",
        "a",
        service("x", "v2"),
        expect![[r#"
            a = { tag = "v1", services = { x = "v2" } } # one line
        "#]],
    );
    check(
        "a.tag = \"v1\"\na.env = \"current\"\n",
        "a",
        service("x", "v2"),
        expect![[r#"
            a.tag = "v1"
            a.env = "current"
            a.services = { x = "v2" }
        "#]],
    );
    check(
        "[a]\ntag = 'v1'\nservices = { y = \"v1\" }\n",
        "a",
        service("x", "v2"),
        expect![[r#"
            [a]
            tag = 'v1'
            services = { y = "v1", x = "v2" }
        "#]],
    );
    check(
        "[a]\r\ntag = \"v1\" # c\r\n[b]\r\ntag = \"v1\"\r\n",
        "a",
        service("x", "v2"),
        expect![[r#"
            [a]<CR>
            tag = "v1" # c<CR>
            <CR>
            [a.services]<CR>
            x = "v2"<CR>
            [b]<CR>
            tag = "v1"<CR>
        "#]],
    );
    check(
        "[a]\ntag = \"v1\"\n\n# about b\n[b]\ntag = \"v1\"\n",
        "a",
        service("x.y", "v2"),
        expect![[r#"
            [a]
            tag = "v1"

            [a.services]
            "x.y" = "v2"

            # about b
            [b]
            tag = "v1"
        "#]],
    );
}

#[test]
fn what_is_not_valid_is_not_edited() {
    check(
        "",
        "a",
        tag("v1"),
        expect![[
            r#"refused: desired.toml: a: the file is empty (it may have been cut off; if not, write [a] and tag = "…" by hand)"#
        ]],
    );
    check(
        "[a]\ntag = \"v1",
        "a",
        tag("v2"),
        expect![[
            r#"refused: desired.toml:2:10: not TOML: invalid basic string, expected `"`, at `tag =` (the file ends too early: was it saved half-way?)"#
        ]],
    );
    check(
        "[a]\ntag = 1\n",
        "a",
        tag("v2"),
        expect![[
            r#"refused: desired.toml:2:7: a.tag: expected a string, found the integer 1 (put it in quotes: "1")"#
        ]],
    );
    check(
        "[a]\ntag = \"v1\"\n[b]\ntagg = \"v1\"\n",
        "a",
        tag("v2"),
        expect![[r#"
            refused: desired.toml:3:1: b: the key "tag" is missing (add tag = "v1.0.0")
            desired.toml:4:1: b.tagg: unknown key "tagg" (did you mean "tag"?)"#]],
    );
}

#[test]
fn a_file_is_replaced_whole_and_keeps_its_mode_and_its_link() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real.toml"), dir.path().join("desired.toml"));
    std::fs::write(&real, EXAMPLE).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real.toml", &link).unwrap();
    let before = std::fs::metadata(&real).unwrap();
    let mut open = std::fs::File::open(&link).unwrap();

    pin_file(&link, &"bybit".parse().unwrap(), &tag("v9")).unwrap();

    let after = std::fs::metadata(&real).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(
        std::fs::read_to_string(&link).unwrap(),
        EXAMPLE.replace("v1.5.0", "v9")
    );
    assert_ne!(after.ino(), before.ino());
    assert_eq!(
        (after.mode(), after.uid(), after.gid()),
        (before.mode(), before.uid(), before.gid())
    );
    // Who had it open still reads the whole old one.
    assert_eq!(std::io::read_to_string(&mut open).unwrap(), EXAMPLE);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        2,
        "no temporary file is left"
    );
}

#[test]
fn a_file_that_is_not_valid_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("desired.toml");
    assert!(matches!(
        pin_file(&path, &"a".parse().unwrap(), &tag("v1")),
        Err(PinError::File(_))
    ));
    for content in [&b""[..], b"[a]\ntag = \"v1", b"\xff\xff", b"[a]\ntag = 7\n"] {
        std::fs::write(&path, content).unwrap();
        assert!(pin_file(&path, &"a".parse().unwrap(), &tag("v2")).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn two_who_pin_at_once_both_get_what_they_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("desired.toml");
    std::fs::write(&path, "[a]\ntag = \"v1\"\n").unwrap();
    let names: Vec<String> = (0..8).map(|i| format!("s{i}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            let path = &path;
            scope.spawn(move || pin_file(path, &"a".parse().unwrap(), &service(name, "v2")).unwrap());
        }
    });
    let text = std::fs::read_to_string(&path).unwrap();
    let known = [("a".parse::<StackName>().unwrap(), ())].into();
    let desired = parse(&path, &text, &known).unwrap().into_values().next().unwrap();
    let pinned: Vec<_> = desired
        .services
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect();
    assert_eq!(pinned, names);
}

fn wish() -> impl Strategy<Value = (String, Option<String>, u8, u8)> {
    (
        "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}",
        proptest::option::of("[a-z][a-z0-9_.-]{0,8}"),
        0_u8..4,
        0_u8..4,
    )
}

proptest! {
    #[test]
    fn what_was_pinned_is_what_is_read_and_every_comment_is_still_there(
        (tag, name, migration, env) in wish(), layout in 0_usize..4,
    ) {
        let text = [
            "# one\n[other] # two\ntag = \"o\" # three\n# four\n",
            "# one\n[a] # two\ntag = 'v1'   # three\nmigration = \"head\"\n\n# four\n[other]\ntag = \"o\"\n",
            "other.tag = \"o\" # one\na = { tag = \"v1\", env = \"current\" } # two\n# three four\n",
            "other.tag = \"o\" # one\na.tag = \"v1\" # two\na.services.x = \"v7\" # three four\n",
        ][layout];
        let edit = Edit {
            tag: Some(tag.parse().unwrap()),
            service: name.map(|name| (name.parse().unwrap(), "v3".parse().unwrap())),
            unpin: Vec::new(),
            migration: [None, Some(MigrationWish::Release), Some(MigrationWish::Head), Some(MigrationWish::Revision("1a".parse().unwrap()))][usize::from(migration)].clone(),
            env: [None, Some(EnvWish::Current), Some(EnvWish::Sha256(state::name::Digest::of(b"x"))), Some(EnvWish::Short("abcdef12".parse().unwrap()))][usize::from(env)].clone(),
        };
        let edited = pin(text, &"a".parse().unwrap(), &edit).unwrap();
        for word in ["one", "two", "three", "four"] {
            prop_assert!(edited.contains(word), "{word} is gone from\n{edited}");
        }
        let known: BTreeMap<StackName, ()> = ["a", "other"].map(|name| (name.parse().unwrap(), ())).into();
        let stacks = parse(Path::new("d"), &edited, &known).unwrap();
        let desired: &Desired = &stacks[&"a".parse::<StackName>().unwrap()];
        prop_assert_eq!(&desired.tag, edit.tag.as_ref().unwrap());
        if let Some(wish) = &edit.migration {
            prop_assert_eq!(&desired.migration, wish);
        }
        if let Some(wish) = &edit.env {
            prop_assert_eq!(&desired.env, wish);
        }
        if let Some((service, tag)) = &edit.service {
            prop_assert_eq!(desired.services.get(service), Some(tag));
        }
        prop_assert_eq!(stacks[&"other".parse::<StackName>().unwrap()].tag.as_str(), "o");
        // Pinning the same again changes nothing.
        prop_assert_eq!(pin(&edited, &"a".parse().unwrap(), &edit).unwrap(), edited);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]a=\". \n{}#'\\\\1-]{0,60}") {
        let _ = pin(&text, &"a".parse().unwrap(), &tag("v1"));
    }
}
