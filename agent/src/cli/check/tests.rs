//! What `check` says of good and bad files.

#![allow(clippy::unwrap_used)]
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::path::Path;

use expect_test::{Expect, expect};

use super::*;

const SETTINGS: &str = "[agent]\nstate_dir = \"DIR/state\"\ndesired = \"DIR/desired.toml\"\n\
    [stack.shop]\ndirectory = \"DIR\"\n";
const DESIRED: &str = "[shop]\ntag = \"v1.5.0\"\n";
const COMPOSE: &str = "services:\n  api:\n    image: shop/api:${TAG:?}\n";

fn common(directory: &Path, settings: &str, desired: &str, compose: &str) -> Common {
    let name = directory.display().to_string();
    std::fs::write(directory.join("steadfast.toml"), settings.replace("DIR", &name)).unwrap();
    std::fs::write(directory.join("desired.toml"), desired).unwrap();
    std::fs::write(directory.join("compose.yaml"), compose).unwrap();
    Common {
        config: directory.join("steadfast.toml"),
        socket: None,
    }
}

#[track_caller]
fn check(settings: &str, desired: &str, compose: &str, expected: &Expect) {
    let directory = tempfile::tempdir().unwrap();
    let common = common(directory.path(), settings, desired, compose);
    let (problems, read) = collect(&common);
    let errors = problems.iter().filter(|p| p.is_error()).count();
    let mut text: String = problems.iter().map(|problem| render(problem, 80)).collect();
    text.push_str(&verdict(errors, problems.len() - errors, &read));
    let text = anstream::adapter::strip_str(&text).to_string();
    expected.assert_eq(&text.replace(&directory.path().display().to_string(), "DIR"));
}

#[test]
fn good_files() {
    check(
        SETTINGS,
        DESIRED,
        COMPOSE,
        &expect![[r#"
            warning: stack.shop.probe: no probe: only the state of the containers will judge
                     a release
              --> DIR/steadfast.toml:4:1
               4 | [stack.shop]
                 | ^
               = help: add [[stack.NAME.probe]] with name, service and kind

            valid: 1 stack, 1 service, 1 warning
        "#]],
    );
}

#[test]
fn who_is_named_and_is_not_there_is_said() {
    let settings = SETTINGS.replace(
        "[stack.shop]",
        "[agent.control]\nact_users = [\"root\", 4242]\n[agent.control.acts]\nrestore = [\"@no-such-group\"]\n\
         [stack.shop]\nprobe = []",
    );
    check(
        &settings,
        DESIRED,
        COMPOSE,
        &expect![[r#"
            warning: agent.control.acts.restore: this host has no group "no-such-group":
                     nobody may act by it
              --> DIR/steadfast.toml:7:1
               7 | restore = …
                 | ^
               = help: it is looked up in /etc/group; whoever is known elsewhere (LDAP) is
                       named by number

            valid: 1 stack, 1 service, 1 warning
        "#]],
    );
}

#[test]
fn everything_wrong_is_said_at_once() {
    let settings = format!("{SETTINGS}profils = [\"a\"]\n");
    check(
        &settings,
        DESIRED,
        COMPOSE,
        &expect![[r#"
            warning: stack.shop.probe: no probe: only the state of the containers will judge
                     a release
              --> DIR/steadfast.toml:4:1
               4 | [stack.shop]
                 | ^
               = help: add [[stack.NAME.probe]] with name, service and kind

            error: stack.shop.profils: unknown key "profils"
              --> DIR/steadfast.toml:6:1
               6 | profils = ["a"]
                 | ^
               = help: did you mean "profiles"?

            1 error, 1 warning
        "#]],
    );
    let compose = format!("{COMPOSE}    memory: 12\n    restart: sometimes\n");
    check(
        SETTINGS,
        "[shop]\ntag = 1.5\n[shp]\ntag = \"v1\"\n",
        &compose,
        &expect![[r#"
            warning: stack.shop.probe: no probe: only the state of the containers will judge
                     a release
              --> DIR/steadfast.toml:4:1
               4 | [stack.shop]
                 | ^
               = help: add [[stack.NAME.probe]] with name, service and kind

            error: shop.tag: expected a string, found the number 1.5
              --> DIR/desired.toml:2:7
               2 | tag = 1.5
                 |       ^
               = help: put it in quotes: "1.5"

            error: shp: steadfast.toml has no stack "shp"
              --> DIR/desired.toml:3:1
               3 | [shp]
                 | ^
               = help: did you mean "shop"?

            error: services.api.memory: this key is unknown
              --> DIR/compose.yaml:4:5
               4 |     memory: 12
                 |     ^
               = help: the Compose Specification has no such key under services.*

            error: services.api.restart: "sometimes" is not a restart policy
              --> DIR/compose.yaml:5:14
               5 |     restart: sometimes
                 |              ^
               = help: it is "no", always, unless-stopped, on-failure or on-failure:3

            4 errors, 1 warning
        "#]],
    );
}

#[test]
fn a_stack_without_an_entry_is_a_warning_and_an_unknown_service_an_error() {
    let two = format!("{SETTINGS}[stack.blog]\ndirectory = \"DIR\"\n");
    check(
        &two,
        DESIRED,
        COMPOSE,
        &expect![[r#"
            warning: stack.shop.probe: no probe: only the state of the containers will judge
                     a release
              --> DIR/steadfast.toml:4:1
               4 | [stack.shop]
                 | ^
               = help: add [[stack.NAME.probe]] with name, service and kind

            warning: stack.blog.probe: no probe: only the state of the containers will judge
                     a release
              --> DIR/steadfast.toml:6:1
               6 | [stack.blog]
                 | ^
               = help: add [[stack.NAME.probe]] with name, service and kind

            warning: blog: there is no entry for this stack
              --> DIR/desired.toml
               = help: until there is [blog] with a tag, it is left alone

            valid: 2 stacks, 2 services, 3 warnings
        "#]],
    );
    let pinned = format!("{DESIRED}[shop.services]\nweb = \"v1.4.0\"\n");
    check(
        SETTINGS,
        &pinned,
        COMPOSE,
        &expect![[r#"
            warning: stack.shop.probe: no probe: only the state of the containers will judge
                     a release
              --> DIR/steadfast.toml:4:1
               4 | [stack.shop]
                 | ^
               = help: add [[stack.NAME.probe]] with name, service and kind

            error: shop.services.web: the Compose file has no service "web"
              --> DIR/desired.toml:4:1
               4 | web = "v1.4.0"
                 | ^
               = help: its services: api

            1 error, 1 warning
        "#]],
    );
}

/// The warnings about a way back, a line each.
#[track_caller]
fn check_way_back(settings: &str, compose: &str, expected: &Expect) {
    let directory = tempfile::tempdir().unwrap();
    let settings = format!("{SETTINGS}probe = []\n{settings}");
    let (problems, _) = collect(&common(directory.path(), &settings, DESIRED, compose));
    let lines = problems.iter().map(|p| format!("{}: {}\n", p.key, p.message));
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn what_is_missing_for_a_safe_rollback() {
    let server = "  db: {image: 'registry.example/postgres:15'}\n";
    let both = format!("{COMPOSE}{server}");
    let database = "[stack.shop.database]\nservice = \"db\"\n";
    let tool = "[stack.shop.database.migrations]\ntool = \"alembic\"\nservice = \"api\"\n";
    check_way_back("", COMPOSE, &expect![[""]]);
    check_way_back(
        "",
        &both,
        &expect![[r#"
            stack.shop.database: db is a database, and nobody says so: where its schema stands is no part of a release
        "#]],
    );
    check_way_back(
        database,
        &both,
        &expect![[r#"
            stack.shop.database.migrations: no tool moves the schema: where a release has moved it, going back is refused or held
        "#]],
    );
    check_way_back(&format!("{database}{tool}"), &both, &expect![[""]]);
    let fixed = "services:\n  api:\n    image: shop/api:v1\n";
    check_way_back(
        "",
        fixed,
        &expect![[r#"
            stack.shop.tag_vars: no image follows the tag: another release has the same images, and a rollback changes files alone
        "#]],
    );
    check_way_back(
        "[stack.shop.images]\napi = \"shop/api:{tag}\"\n",
        fixed,
        &expect![[""]],
    );
    check_way_back("", "services:\n  api:\n    build: .\n", &expect![[""]]);
}

#[test]
fn an_env_file_that_is_pinned_and_not_in_place_is_an_error() {
    let pinned = format!("{DESIRED}env = \"sha256:{}\"\n", "0".repeat(64));
    check(
        SETTINGS,
        &pinned,
        COMPOSE,
        &expect![[r#"
        warning: stack.shop.probe: no probe: only the state of the containers will judge
                 a release
          --> DIR/steadfast.toml:4:1
           4 | [stack.shop]
             | ^
           = help: add [[stack.NAME.probe]] with name, service and kind

        error: env: desired.toml pins the env file
               sha256:0000000000000000000000000000000000000000000000000000000000000000,
               there is none
          --> DIR/.env
           = help: put that version back, or set env = "current"

        1 error, 1 warning
    "#]],
    );
}

#[test]
fn the_exit_code_is_that_of_errors_only() {
    let directory = tempfile::tempdir().unwrap();
    let good = common(directory.path(), SETTINGS, DESIRED, COMPOSE);
    assert_eq!(run(&good, true), Ok(0));
    let unknown = common(directory.path(), SETTINGS, "[blog]\ntag = \"v1\"\n", COMPOSE);
    assert_eq!(run(&unknown, true), Ok(2));
    let bad = common(directory.path(), "[agent", DESIRED, COMPOSE);
    assert_eq!(run(&bad, false), Ok(2));
}

#[test]
fn a_repository_that_does_not_answer_is_no_error_and_neither_is_what_only_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let settings =
        format!("{SETTINGS}track = [\"nginx.conf\"]\n[stack.shop.source]\ngit = \"DIR/nowhere\"\n");
    let common = common(directory.path(), &settings, DESIRED, COMPOSE);
    let keys = || -> Vec<String> {
        let (problems, _) = collect(&common);
        assert!(!problems.iter().any(Problem::is_error), "{problems:?}");
        problems.into_iter().map(|problem| problem.key).collect()
    };
    // What lies in the directory is not what is asked for.
    std::fs::write(directory.path().join("compose.yaml"), "services: {half: writ").unwrap();
    assert_eq!(keys(), ["stack.shop.probe", "compose", "stack.shop.source.git"]);
}
