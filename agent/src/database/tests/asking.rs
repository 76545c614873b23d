//! Integrity checks and counted rows: what is asked changes nothing, and no value is told.

use std::time::Duration;

use state::integrity::{Answer, Answers, Check};

use super::super::{Maintenance as _, copy_name};
use super::server::{Bench, LONG, SHOP};

fn question(name: &str, query: &str, expect: &str) -> Check {
    Check {
        name: name.to_owned(),
        query: query.to_owned(),
        expect: expect.to_owned(),
        within: Duration::from_millis(500),
    }
}

async fn answers(bench: &Bench, questions: &[(&str, &str, &str)]) -> Answers {
    let questions: Vec<Check> = questions
        .iter()
        .map(|(name, query, expect)| question(name, query, expect))
        .collect();
    bench.postgres.ask(bench.place(), None, &questions).await.unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn an_answer_is_compared_by_the_server_and_never_told() {
    let Some(bench) = Bench::new("asked").await else {
        return;
    };
    bench.sql(SHOP).await;
    bench.sql("CREATE SEQUENCE numbers").await;
    let found = answers(
        &bench,
        &[
            ("count", "SELECT count(*) FROM customers -- all of them", "500"),
            ("truth", "SELECT count(*) > 3 FROM customers", "true"),
            ("other", "SELECT count(*) FROM customers", "501"),
            ("null", "SELECT NULL", "x"),
            ("no_row", "SELECT 1 WHERE false", ""),
            ("quote", "VALUES ('it''s')", "it's"),
            ("rows", "SELECT id FROM customers", "1"),
            ("table", "SELECT count(*) FROM hunter3", "1"),
            ("column", "SELECT hunter3 FROM customers", "1"),
            ("value", "SELECT 'hunter2'::int", "1"),
            ("slow", "SELECT count(*) FROM pg_sleep(20)", "1"),
            ("after", "SELECT 1", "1"),
        ],
    )
    .await;
    let refused = |said: &str, names| Answer::Refused {
        said: said.to_owned(),
        names,
    };
    let expected: Answers = [
        ("count", Answer::Holds),
        ("truth", Answer::Holds),
        ("other", Answer::Differs),
        ("null", Answer::Differs),
        ("no_row", Answer::Differs),
        ("quote", Answer::Holds),
        ("rows", refused("it gives more than one row (21000)", false)),
        (
            "table",
            refused("relation \"hunter3\" does not exist (42P01)", true),
        ),
        (
            "column",
            refused("column \"hunter3\" does not exist (42703)", true),
        ),
        (
            "value",
            refused("a value does not fit, which is not shown here (22P02)", false),
        ),
        ("slow", Answer::Unknown(String::from("no answer within 500ms"))),
        ("after", Answer::Holds),
    ]
    .into_iter()
    .map(|(name, answer)| (name.to_owned(), answer))
    .collect();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_asked_changes_nothing() {
    let Some(bench) = Bench::new("read").await else {
        return;
    };
    bench.sql(SHOP).await;
    bench
        .sql("CREATE FUNCTION gone() RETURNS int LANGUAGE sql AS 'DELETE FROM customers; SELECT 1'")
        .await;
    let before = bench.content().await;
    let found = answers(
        &bench,
        &[
            ("function", "SELECT gone()", "1"),
            (
                "escape",
                "SELECT 1); COMMIT; DELETE FROM customers; SELECT (1",
                "1",
            ),
            (
                "with",
                "WITH x AS (DELETE FROM customers RETURNING 1) SELECT count(*) FROM x",
                "1",
            ),
        ],
    )
    .await;
    for (name, answer) in &found {
        assert!(matches!(answer, Answer::Refused { .. }), "{name}: {answer:?}");
    }
    assert_eq!(found.len(), 3);
    assert_eq!(bench.content().await, before);
}

#[tokio::test(flavor = "current_thread")]
async fn a_copy_is_open_for_as_long_as_it_is_asked() {
    let Some(bench) = Bench::new("asked_copy").await else {
        return;
    };
    bench.sql(SHOP).await;
    bench
        .sql("CREATE SCHEMA own; CREATE TABLE own.things (id int); INSERT INTO own.things VALUES (1)")
        .await;
    bench
        .admin("ALTER DATABASE asked_copy SET search_path TO own, public")
        .await;
    bench
        .admin("ALTER ROLE CURRENT_USER IN DATABASE asked_copy SET app.tenant TO 'own''s'")
        .await;
    bench.close().await;
    let name = copy_name(&bench.name, 7);
    bench.postgres.copy(bench.place(), &name, 7, LONG).await.unwrap();
    bench.open().await;
    bench.sql("DELETE FROM customers; DELETE FROM own.things").await;
    let questions = [
        question("customers", "SELECT count(*) FROM customers", "500"),
        // Names mean there what they mean in the database itself.
        question("things", "SELECT count(*) FROM things", "1"),
        // And whoever asks is who it is there.
        question("whose", "SELECT current_setting('app.tenant')", "own's"),
    ];
    let asked = async |of| {
        let found = bench.postgres.ask(bench.place(), of, &questions).await.unwrap();
        found.into_values().collect::<Vec<_>>()
    };
    assert_eq!(
        asked(None).await,
        [Answer::Differs, Answer::Differs, Answer::Holds]
    );
    assert_eq!(
        asked(Some(&name)).await,
        [Answer::Holds, Answer::Holds, Answer::Holds]
    );
    let rows = bench
        .postgres
        .tally(bench.place(), Some(&name), LONG)
        .await
        .unwrap();
    assert_eq!(rows.tables["public.customers"], 500);
    let open = "SELECT datallowconn FROM pg_database WHERE datname LIKE 'asked_copy_steadfast%'";
    assert_eq!(bench.admin_value(open).await.as_deref(), Some("f"));
}

#[tokio::test(flavor = "current_thread")]
async fn what_there_is_no_time_for_is_named() {
    let Some(bench) = Bench::new("counted").await else {
        return;
    };
    bench.sql(SHOP).await;
    bench.sql("ANALYZE customers").await;
    let whole = bench.postgres.tally(bench.place(), None, LONG).await.unwrap();
    let sums = bench.postgres.checksums(bench.place(), LONG).await.unwrap();
    let counts = sums
        .into_iter()
        .map(|(table, found)| (table, found.rows))
        .collect();
    assert_eq!((whole.tables, whole.about.len()), (counts, 0));

    let none = bench
        .postgres
        .tally(bench.place(), None, Duration::ZERO)
        .await
        .unwrap();
    assert!(none.tables.is_empty());
    assert_eq!(none.about["public.customers"], Some(500));
    // Nobody has analyzed it.
    assert_eq!(none.about["public.alembic_version"], None);

    let link = bench.connect("holds").await.unwrap();
    link.run("BEGIN; LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let rest = bench.postgres.tally(bench.place(), None, LONG).await.unwrap();
    assert_eq!(rest.about.keys().collect::<Vec<_>>(), ["public.customers"]);
    assert_eq!(rest.tables.len(), 2);
}
