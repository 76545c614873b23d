//! Rows over `desired.toml`: what is read, what each mistake is told, and what no file can do.
#![allow(clippy::unwrap_used, clippy::zero_sized_map_values)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use rustix::fs::{CWD, FileType, Mode};
use state::desired::{Desired, EnvWish, MigrationWish};
use state::name::{Digest, StackName};
use steadfast_config::desired_file::{load, parse, unknown_services};
use steadfast_config::document::LoadError;

fn known() -> BTreeMap<StackName, ()> {
    ["bybit", "shop"].map(|name| (name.parse().unwrap(), ())).into()
}

fn read(text: &str) -> BTreeMap<StackName, Desired> {
    parse(Path::new("desired.toml"), text, &known()).unwrap()
}

#[track_caller]
#[allow(clippy::needless_pass_by_value)]
fn check(text: &str, expected: Expect) {
    let problems = parse(Path::new("desired.toml"), text, &known()).unwrap_err();
    expected.assert_eq(&problems.to_string());
}

#[test]
fn the_example_is_read() {
    let stacks = read(include_str!("../examples/desired.toml"));
    let desired = &stacks[&"bybit".parse::<StackName>().unwrap()];
    assert_eq!(desired.tag.as_str(), "v1.5.0");
    assert_eq!(desired.migration, MigrationWish::Head);
    assert_eq!(desired.env, EnvWish::Current);
    assert_eq!(desired.tag_of(&"frontend".parse().unwrap()).as_str(), "v1.4.2");
}

#[test]
fn what_is_left_out_has_its_default_and_every_spelling_is_the_same() {
    let digest = Digest::of(b"");
    for text in [
        "[bybit]\ntag = \"v1\"\n",
        "bybit.tag = \"v1\"",
        "bybit = { tag = 'v1' }",
    ] {
        assert_eq!(
            read(text).into_values().next().unwrap(),
            Desired::new("v1".parse().unwrap()),
            "{text}"
        );
    }
    let stacks = read(&format!(
        "[bybit]\ntag=\"1\"\nmigration=\"7c1f\"\nenv=\"sha256:{digest}\"\n[shop]\ntag=\"2\"\nenv=\"0123456789ab\""
    ));
    let wishes: Vec<_> = stacks
        .values()
        .map(|desired| (desired.migration.clone(), desired.env.clone()))
        .collect();
    assert_eq!(
        wishes,
        [
            (
                MigrationWish::Revision("7c1f".parse().unwrap()),
                EnvWish::Sha256(digest)
            ),
            (
                MigrationWish::Release,
                EnvWish::Short("0123456789ab".parse().unwrap())
            ),
        ]
    );
}

#[test]
fn an_empty_file_is_an_error() {
    check(
        "",
        expect![[
            r#"desired.toml:1:1: the file is empty (add [NAME] and tag = "…"; an editor or a full disk may have cut it off)"#
        ]],
    );
    check(
        "# nothing\n",
        expect![[
            r#"desired.toml:1:1: there is no stack in the file (add [NAME] and tag = "…"; an editor or a full disk may have cut it off)"#
        ]],
    );
}

#[test]
fn stacks() {
    check(
        "[bybti]\ntag = \"v1\"\n[other]\ntag = \"v1\"",
        expect![[r#"
        desired.toml:1:1: bybti: steadfast.toml has no stack "bybti" (did you mean "bybit"?)
        desired.toml:3:1: other: steadfast.toml has no stack "other" (its stacks: bybit, shop)"#]],
    );
    check(
        "bybit = \"v1.5.0\"",
        expect![[
            r#"desired.toml:1:9: bybit: expected a table, found the string "v1.5.0" (write [bybit] on a line of its own, with its keys below)"#
        ]],
    );
    check(
        "[[bybit]]\ntag = \"v1\"",
        expect![
            "desired.toml:1:1: bybit: expected a table, found an array of tables (write [bybit] in single brackets, once)"
        ],
    );
    check(
        "[bybit]\n",
        expect![[r#"desired.toml:1:1: bybit: the key "tag" is missing (add tag = "v1.0.0")"#]],
    );
    check(
        "[bybit]\ntagg = \"v1\"\nfrontend = \"v2\"",
        expect![[r#"
        desired.toml:1:1: bybit: the key "tag" is missing (add tag = "v1.0.0")
        desired.toml:2:1: bybit.tagg: unknown key "tagg" (did you mean "tag"?)
        desired.toml:3:1: bybit.frontend: unknown key "frontend" (known keys here: env, migration, services, tag)"#]],
    );
    check(
        "[Bybit]\ntag = \"v1\"",
        expect![[
            r#"desired.toml:1:2: Bybit: "Bybit" is not a valid stack name: it starts with a lower-case letter or a digit and holds only those, `-` and `_`"#
        ]],
    );
}

#[test]
fn values() {
    check(
        "[bybit]\ntag = 1.5",
        expect![[
            r#"desired.toml:2:7: bybit.tag: expected a string, found the number 1.5 (put it in quotes: "1.5")"#
        ]],
    );
    check(
        "[bybit]\ntag = [\"v1\"]",
        expect![[r#"desired.toml:2:7: bybit.tag: expected a string, found the array ["v1"]"#]],
    );
    check(
        "[bybit]\ntag = \"feature/x\"\nmigration = \"heads\"\nenv = \"curent\"",
        expect![[r#"
            desired.toml:2:7: bybit.tag: "feature/x" is not a valid tag: it holds only letters, digits, `_`, `.`, `-` and starts with no `.` or `-`
            desired.toml:3:13: bybit.migration: "heads" is not a wish (write "head": it means all of them)
            desired.toml:4:7: bybit.env: "curent" is neither "current" nor an env id (did you mean "current"?)"#]],
    );
    check(
        "[bybit]\ntag = \"\"\nmigration = \"-1\"\nenv = \"sha256:abc\"",
        expect![[r#"
            desired.toml:2:7: bybit.tag: "" is not a valid tag: it holds only letters, digits, `_`, `.`, `-` and starts with no `.` or `-`
            desired.toml:3:13: bybit.migration: "-1" is relative to what runs (write the revision itself: the file says what is wanted, not how to get there)
            desired.toml:4:7: bybit.env: "abc" is not a valid digest: it is 64 lower-case hexadecimal digits (copy all that `sha256sum .env` prints)"#]],
    );
    check(
        "[bybit]\ntag = \"v1\\nv2\"\nmigration = \"base\"\nenv = true",
        expect![[r#"
            desired.toml:2:7: bybit.tag: "v1…" is not a valid tag: it holds only letters, digits, `_`, `.`, `-` and starts with no `.` or `-`
            desired.toml:3:13: bybit.migration: "base" would undo every migration (write "head" or a revision, or take the key out for what the release brings)
            desired.toml:4:7: bybit.env: expected a string, found the boolean true (put it in quotes: "true")"#]],
    );
    check(
        &format!(
            "[bybit]\ntag = \"v1\"\nmigration = \"a b\"\nenv = \"{}\"",
            Digest::of(b"")
        ),
        expect![[r#"
            desired.toml:3:13: bybit.migration: "a b" is not a valid revision: it holds only letters, digits, `_`, `.` and `-` (write "head" or a revision, or take the key out for what the release brings)
            desired.toml:4:7: bybit.env: a digest without its kind (write "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")"#]],
    );
    check(
        &format!(
            "[bybit]\ntag = \"v1\"\nenv = \"sha256:{}\"",
            Digest::of(b"").as_str().to_uppercase()
        ),
        expect![[
            r#"desired.toml:3:7: bybit.env: "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852…" is not a valid digest: it is 64 lower-case hexadecimal digits (write it in lower case)"#
        ]],
    );
    check(
        "[bybit]\ntag = \"v1\"\nservices = [\"api\"]",
        expect![[
            r#"desired.toml:3:12: bybit.services: expected a table, found the array ["api"] (write [bybit.services] on a line of its own, with its keys below)"#
        ]],
    );
    check(
        "[bybit]\ntag = \"v1\"\n[bybit.services]\napi = 2\n\"a b\" = \"v1\"",
        expect![[r#"
            desired.toml:4:7: bybit.services.api: expected a string, found the integer 2 (put it in quotes: "2")
            desired.toml:5:1: bybit.services.a b: "a b" is not a valid service name: it holds only letters, digits, `.`, `_` and `-`"#]],
    );
    check(
        "[bybit]\ntag = \"v1\"\n[bybit.services.api]\ntag = \"v2\"",
        expect!["desired.toml:3:1: bybit.services.api: expected a string, found a table"],
    );
}

#[test]
fn a_half_written_file() {
    check(
        "[bybit]\ntag = \"v1.",
        expect![[
            r#"desired.toml:2:11: not TOML: invalid basic string, expected `"`, at `tag =` (the file ends too early: was it saved half-way?)"#
        ]],
    );
    check(
        "[byb",
        expect![
            "desired.toml:1:5: not TOML: unclosed table, expected `]`, at `[byb` (the file ends too early: was it saved half-way?)"
        ],
    );
    check(
        "[bybit]\ntag",
        expect![
            "desired.toml:2:4: not TOML: key with no value, expected `=`, at `tag` (the file ends too early: was it saved half-way?)"
        ],
    );
    check(
        "[bybit]\ntag =",
        expect![
            "desired.toml:2:6: not TOML: string values must be quoted, expected literal string, at `tag =` (the file ends too early: was it saved half-way?)"
        ],
    );
    check(
        "[bybit]\ntag = v1.5.0\n",
        expect![[
            r#"desired.toml:2:7: not TOML: string values must be quoted, expected literal string, at `tag =` (texts stand in quotes: key = "value")"#
        ]],
    );
}

#[test]
fn keys_that_are_there_twice() {
    check(
        "[bybit]\ntag = \"v1\"\ntag = \"v2\"",
        expect![
            "desired.toml:3:1: not TOML: duplicate key, at `tag =` (it is there twice: keep one of the two)"
        ],
    );
    check(
        "[bybit]\ntag = \"v1\"\n[bybit]\ntag = \"v2\"",
        expect![
            "desired.toml:3:2: not TOML: duplicate key, at `[bybit]` (it is there twice: keep one of the two)"
        ],
    );
}

#[test]
fn every_prefix_of_the_example_is_read_or_refused_and_never_changes_a_tag() {
    let example = include_str!("../examples/desired.toml");
    for (end, _) in example.char_indices() {
        if let Ok(stacks) = parse(Path::new("d"), &example[..end], &known()) {
            assert!(
                stacks.values().all(|desired| desired.tag.as_str() == "v1.5.0"),
                "{}",
                &example[..end]
            );
        }
    }
}

#[test]
fn what_stands_there_instead_of_a_file_is_named_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let file = |name: &str, content: &[u8]| std::fs::write(at(name), content).unwrap();
    rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    std::os::unix::fs::symlink("circle", at("circle")).unwrap();
    std::os::unix::fs::symlink("nothing", at("dangling")).unwrap();
    file("huge", &vec![b'#'; 1024 * 1024 + 1]);
    file("binary", b"[bybit]\ntag = \"\xff\xfe\"");
    file("zeros", &[0; 4096]);
    file("empty", b"");
    file(
        "largest",
        &[vec![b'#'; 1024 * 1024 - 24], b"\nbybit.tag = \"v1\"\n".to_vec()].concat(),
    );
    let start = Instant::now();
    let mut shown = String::new();
    for name in [
        "absent",
        "dangling",
        "fifo",
        "directory",
        "circle",
        "huge",
        "binary",
        "zeros",
        "empty",
        "largest",
    ] {
        let (kind, text) = match load(&at(name), &known()) {
            Ok(stacks) => ("read", stacks.len().to_string()),
            Err(error) => {
                let kind = match &error {
                    LoadError::Absent(_) => "absent",
                    LoadError::Unreadable(_) => "unreadable",
                    LoadError::Invalid(_) => "invalid",
                };
                assert_eq!(error.problems().0.len(), 1, "{name}");
                (kind, error.to_string())
            }
        };
        writeln!(
            shown,
            "{kind}: {}",
            text.replace(dir.path().to_str().unwrap(), "")
        )
        .unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    expect![[r#"
        absent: /absent: no such file (write it, with [NAME] and tag = "…" for each stack)
        absent: /dangling: no such file (write it, with [NAME] and tag = "…" for each stack)
        unreadable: /fifo: is a FIFO, not a file (put a regular file there)
        unreadable: /directory: is a directory, not a file (put a regular file there)
        unreadable: /circle: cannot be read: Too many levels of symbolic links (os error 40) (look at it with ls -lL)
        invalid: /huge: is larger than 1 MiB (is it the right file?)
        invalid: /binary:2:8: byte 0xff is not UTF-8 text (save the file as UTF-8; is it the right file?)
        invalid: /zeros:1:1: a NUL byte: this is no text file (a crash may have left it so; write it anew)
        invalid: /empty:1:1: the file is empty (add [NAME] and tag = "…"; an editor or a full disk may have cut it off)
        read: 1
    "#]].assert_eq(&shown);
}

#[test]
fn a_file_that_may_not_be_read_is_unreadable_not_absent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("desired.toml");
    std::fs::write(&path, "[bybit]\ntag = \"v1\"").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    match load(&path, &known()) {
        // Root reads it all the same.
        Ok(_) => assert!(rustix::process::geteuid().is_root()),
        Err(error) => assert!(matches!(error, LoadError::Unreadable(_)), "{error}"),
    }
}

#[test]
fn pinned_services_are_compared_with_those_of_the_compose_file() {
    let text = "[bybit]\ntag = \"v1\"\n[bybit.services]\nfronted = \"v2\"\napi = \"v1\"\n[shop]\ntag = \"v1\"\nservices.x = \"v1\"";
    let services = [(
        "bybit".parse().unwrap(),
        ["api", "frontend"].map(|name| name.parse().unwrap()).into(),
    )]
    .into();
    expect![[r#"desired.toml:4:1: bybit.services.fronted: the Compose file has no service "fronted" (did you mean "frontend"?)"#]].assert_eq(&unknown_services(Path::new("desired.toml"), text, &services).to_string());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        std::fs::write(&path, bytes).unwrap();
        let _ = load(&path, &known());
    }

    #[test]
    fn no_text_of_the_right_letters_makes_it_panic(text in "[\\[\\]a-c=\". \n{},#'\\\\0-9-]{0,80}") {
        let _ = parse(Path::new("d"), &text, &known());
    }
}
