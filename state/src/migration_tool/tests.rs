//! What each tool is told, and what it is not asked.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use expect_test::{Expect, expect};

use super::*;
use crate::fixture::{image, service};

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn custom(upgrade: &str) -> Commands {
    Commands {
        history: words("migrate.sh history"),
        prints: Printed::Lines,
        version: VersionTable {
            query: String::from("SELECT version FROM {table}"),
            rows: VersionRows::Heads,
            forget: Forget::Nothing,
        },
        upgrade: Some(words(upgrade)).filter(|words| !words.is_empty()),
        upgrade_to: Some(words(upgrade)).filter(|words| words.iter().any(|word| word.contains(REVISION))),
        downgrade: words("migrate.sh down {revision}"),
        goes: Goes::ToAll,
        base: "base",
        way_back: None,
        one_way: "its history says so",
    }
}

fn tool(commands: Commands) -> MigrationTool {
    MigrationTool {
        service: service("api"),
        commands,
        workdir: Some(String::from("/app")),
        timeout: Duration::from_secs(600),
        lock_timeout: Duration::from_secs(1),
        upgrade: UpgradeBy::Agent,
        beside: Beside::default(),
        declared: Declared::default(),
    }
}

fn set(names: &str) -> BTreeSet<Revision> {
    let names = names.split_whitespace();
    names.map(|name| name.parse().unwrap()).collect()
}

fn at(names: &str) -> SchemaHead {
    SchemaHead::At(set(names))
}

/// What is run to go from one head to another, or why nothing is.
fn way(tool: &MigrationTool, lines: &str, from: &str, to: &str) -> String {
    let history = Printed::Lines.read(&lines.replace(';', "\n")).unwrap();
    let history = history.with_rows(tool.commands.version.rows);
    let (from, to) = (at(from), at(to));
    let done = match (history.up(&from, &to), history.down(&from, &to)) {
        (Ok(crossed), _) => tool.upgrade(&image(1), &history, &to, &crossed),
        (_, Ok(crossed)) => match tool.one_way(&history, &crossed) {
            Some(why) => Err(why),
            None => tool.downgrade(&image(1), &history, &to, &crossed),
        },
        (_, Err(why)) => return format!("no way: {why}"),
    };
    done.map_or_else(|why| format!("no: {why}"), |migration| migration.words())
}

#[track_caller]
fn check(tool: &MigrationTool, lines: &str, ways: &[(&str, &str)], expected: Expect) {
    let all = ways
        .iter()
        .map(|(from, to)| format!("{from} -> {to}: {}\n", way(tool, lines, from, to)));
    expected.assert_eq(&all.collect::<String>());
}

#[test]
fn alembic() {
    let tool = tool(Commands::alembic(&words("alembic")));
    check(
        &tool,
        "a <-;b <- a;c <- a;d <- b, c",
        &[
            ("", "d"),
            ("a", "b"),
            ("a", "b c"),
            ("d", "a"),
            ("d", ""),
            ("d", "b c"),
            ("b", "c"),
        ],
        expect![[r#"
             -> d: alembic upgrade heads
            a -> b: alembic upgrade b
            a -> b c: no: b + c is several heads, and the tool goes to one at a time
            d -> a: alembic downgrade a
            d -> : alembic downgrade base
            d -> b c: no: b + c is several heads, and the tool goes to one at a time
            b -> c: no way: c is not below b: they are on different branches
        "#]],
    );
    let several = "a <-;b <- a;c <- a";
    assert_eq!(way(&tool, several, "a", "b c"), "alembic upgrade heads");
    let history = tool.history(&image(1));
    assert_eq!(history.words(), "alembic history --verbose");
    assert_eq!(history.within, READ_WITHIN);
    let sql = tool.way_back(&image(1)).unwrap();
    assert_eq!(sql.words(), "alembic downgrade head:base --sql");
}

#[test]
fn django_goes_back_in_each_application() {
    let tool = tool(Commands::django(&words("python3 manage.py")));
    let lines =
        "auth.1 <-;shop.1 <- auth.1;auth.2 <- auth.1;shop.2 <- shop.1, auth.2;shop.3 <- shop.2 (one way)";
    check(
        &tool,
        lines,
        &[
            ("auth.1", "auth.1 auth.2 shop.1 shop.2 shop.3"),
            ("auth.1", "auth.1 auth.2"),
            ("auth.1 auth.2 shop.1 shop.2", "auth.1 shop.1"),
            (
                "auth.1 auth.2 shop.1 shop.2 shop.3",
                "auth.1 auth.2 shop.1 shop.2",
            ),
            // What is left of an application that is gone stays.
            ("old.1 auth.1 auth.2", "old.1 auth.1"),
            ("old.1 auth.1", "auth.1"),
        ],
        expect![[r#"
            auth.1 -> auth.1 auth.2 shop.1 shop.2 shop.3: python3 manage.py migrate --no-input
            auth.1 -> auth.1 auth.2: no: the tool goes up to all that there is, and not to auth.1 + auth.2
            auth.1 auth.2 shop.1 shop.2 -> auth.1 shop.1: python3 manage.py shell -v 0 -c from django.db import connection…
            auth.1 auth.2 shop.1 shop.2 shop.3 -> auth.1 auth.2 shop.1 shop.2: no: shop.3 cannot be taken back: an operation of it has no reverse
            old.1 auth.1 auth.2 -> old.1 auth.1: python3 manage.py shell -v 0 -c from django.db import connection…
            old.1 auth.1 -> auth.1: no way: the image does not know revision old.1
        "#]],
    );
    let history = Printed::Lines.read(&lines.replace(';', "\n")).unwrap();
    let history = history.with_rows(VersionRows::Applied);
    let aims = |from: &str, to: &str| {
        let crossed = history.down(&at(from), &at(to)).unwrap();
        let down = tool.downgrade(&image(1), &history, &at(to), &crossed).unwrap();
        let script = down.command.last().unwrap().clone();
        script
            .lines()
            .find(|line| line.starts_with("for "))
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        aims("auth.1 auth.2 shop.1 shop.2", "auth.1 shop.1"),
        r#"for revision in "auth.1,shop.1".split(","):"#
    );
    assert_eq!(
        aims("auth.1 shop.1", "auth.1"),
        r#"for revision in "shop.zero".split(","):"#
    );
}

#[test]
fn what_a_project_asks_for_is_all_of_it_and_what_nobody_has_any_more() {
    let tool = tool(Commands::django(&words("python3 manage.py")));
    let read = |lines: &str| {
        let history = Printed::Lines.read(&lines.replace(';', "\n")).unwrap();
        history.with_rows(VersionRows::Applied)
    };
    let (new, runs) = (read("shop.1 <-;shop.2 <- shop.1"), read("shop.1 <-;pay.1 <-"));
    let wanted = |wish: MigrationWish, is: &str| tool.wanted(&wish, &new, Some(&at(is)), Some(&runs));
    // `pay` runs now, and would have to be taken back; `old` nobody knows.
    assert_eq!(
        wanted(MigrationWish::Head, "shop.1 old.1 pay.1"),
        Ok(at("shop.1 shop.2 old.1"))
    );
    assert_eq!(
        wanted(MigrationWish::Revision("shop.1".parse().unwrap()), "shop.1"),
        Err(String::from(
            "shop.1 says of one application alone where it is to stand"
        ))
    );
    let sqlx = self::tool(Commands::sqlx(&words("sqlx"), "migrations", "t"));
    let line = read("1;2;3");
    let to = |name: &str| sqlx.wanted(&MigrationWish::Revision(name.parse().unwrap()), &line, None, None);
    assert_eq!(to("2"), Ok(at("1 2")));
    assert_eq!(to("7"), Err(String::from("the image does not know revision 7")));
}

#[test]
fn sqlx_takes_back_what_is_newer() {
    let tool = tool(Commands::sqlx(
        &words("sqlx"),
        "db/migrations",
        "_sqlx_migrations",
    ));
    check(
        &tool,
        "1;2;3;4 (one way)",
        &[
            ("1 2", "1 2 3 4"),
            // One that was written earlier and came later.
            ("1 3", "1 2 3"),
            ("", "1 2"),
            ("1 3", "1 2 3 4"),
            ("1 2 3", "1"),
            ("1 2 3", ""),
            ("1 2 3", "1 3"),
            ("1 2 3 4", "1 2 3"),
            ("1 2 9", "1 2"),
        ],
        expect![[r#"
            1 2 -> 1 2 3 4: sqlx migrate run --source db/migrations
            1 3 -> 1 2 3: sqlx migrate run --target-version 3 --source db/migrations
             -> 1 2: sqlx migrate run --target-version 2 --source db/migrations
            1 3 -> 1 2 3 4: sqlx migrate run --source db/migrations
            1 2 3 -> 1: sqlx migrate revert --target-version 1 --source db/migrations
            1 2 3 -> : sqlx migrate revert --target-version 0 --source db/migrations
            1 2 3 -> 1 3: no: 2 comes before what is to stay: the tool takes back only what comes after it
            1 2 3 4 -> 1 2 3: no: 4 cannot be taken back: it has no .down.sql
            1 2 9 -> 1 2: no way: the image does not know revision 9
        "#]],
    );
    assert_eq!(
        way(&tool, "1;2;3;4", "1", "1 3"),
        "no: the tool would apply 2 on its way, which is not wanted"
    );
    assert_eq!(tool.history(&image(1)).words(), "ls -1 db/migrations");
}

#[test]
fn flyway_undoes_down_to_a_version_and_that_one_too() {
    let tool = tool(Commands::flyway(&words("flyway"), "/flyway/sql", "t"));
    check(
        &tool,
        "1;2;2.1;3 (one way)",
        &[
            ("1", "3"),
            ("1", "2"),
            ("2.1", "1"),
            ("2.1", ""),
            ("3", "2.1"),
            ("3.failed", "1"),
        ],
        expect![[r#"
            1 -> 3: flyway -locations=filesystem:/flyway/sql -table=t migrate
            1 -> 2: flyway -locations=filesystem:/flyway/sql -table=t -target=2 migrate
            2.1 -> 1: flyway -locations=filesystem:/flyway/sql -table=t -target=2 undo
            2.1 -> : flyway -locations=filesystem:/flyway/sql -table=t -target=1 undo
            3 -> 2.1: no: 3 cannot be taken back: it has no undo script, and the Community edition of Flyway runs none
            3.failed -> 1: no way: the image does not know revision 3.failed
        "#]],
    );
}

#[test]
fn a_tool_of_ones_own_is_told_all_that_stays() {
    let whole = tool(custom("migrate.sh up"));
    let lines = "a <-;b <- a;c <- a;d <- b, c";
    check(
        &whole,
        lines,
        &[("a", "d"), ("a", "b c"), ("d", "b c"), ("d", "a"), ("d", "")],
        expect![[r#"
            a -> d: migrate.sh up
            a -> b c: no: the tool goes up to all that there is, and not to b + c
            d -> b c: migrate.sh down b,c
            d -> a: migrate.sh down a
            d -> : migrate.sh down base
        "#]],
    );
    let to = tool(custom("migrate.sh up --to={revision}"));
    check(
        &to,
        lines,
        &[("a", "d"), ("a", "b c")],
        expect![[r#"
            a -> d: migrate.sh up --to=d
            a -> b c: migrate.sh up --to=b,c
        "#]],
    );
    assert_eq!(whole.way_back(&image(1)), None);
    // Its own services bring it up.
    let mut by_itself = tool(custom(""));
    assert_eq!(
        way(&by_itself, lines, "a", "d"),
        "no: the tool goes up to all that there is, and not to d"
    );
    by_itself.upgrade = UpgradeBy::Stack;
    assert_eq!(way(&by_itself, lines, "a", "d"), "");
}

#[test]
fn what_has_no_way_back_may_have_another_one() {
    let mut tool = tool(custom("up"));
    let history = Printed::Lines
        .read(&"a <-;b <- a (one way);c <- b".replace(';', "\n"))
        .unwrap();
    let crossed =
        |names: &str| -> Vec<Revision> { names.split(' ').map(|name| name.parse().unwrap()).collect() };
    let one_way = |tool: &MigrationTool, names| tool.one_way(&history, &crossed(names));
    let why = Some(String::from("b cannot be taken back: its history says so"));
    assert_eq!(one_way(&tool, "c b"), why);
    assert_eq!(one_way(&tool, "c"), None);
    tool.beside.by_hand = set("b");
    assert_eq!(one_way(&tool, "c b"), why, "of c there is no SQL");
    tool.beside.by_hand = set("b c");
    assert_eq!(one_way(&tool, "c b"), None);
}

#[test]
fn an_image_is_read_again_where_anything_about_reading_it_is_another() {
    let first = tool(custom("up"));
    let reader = first.reader();
    assert_eq!(first.clone().reader(), reader);
    let other = |change: &dyn Fn(&mut MigrationTool)| {
        let mut tool = first.clone();
        change(&mut tool);
        tool.reader() != reader
    };
    assert!(other(&|tool| tool.commands.version.rows = VersionRows::Applied));
    assert!(other(
        &|tool| tool.commands.way_back = Some(vec![String::from("sql")])
    ));
    assert!(other(&|tool| tool.commands.history.push(String::from("--all"))));
    assert!(other(&|tool| tool.workdir = Some(String::from("/srv"))));
    assert!(!other(&|tool| tool
        .commands
        .downgrade
        .push(String::from("--force"))));
}
