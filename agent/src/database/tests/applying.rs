//! The operator's SQL, all or nothing; and what a server refuses, told apart.

use std::time::Duration;

use state::instead::{ManualDown, ManualSql};

use super::super::{DatabaseError, Maintenance as _, Place, SchemaHead, copy_name};
use super::server::{Bench, LOCAL, LONG, PASSWORD, SHOP, at, env, failed};

fn parts(all: &[(&str, &str)]) -> Vec<ManualDown> {
    let part = |(revision, sql): &(&str, &str)| ManualDown {
        revision: revision.parse().unwrap(),
        sql: ManualSql::try_from((*sql).to_owned()).unwrap(),
    };
    all.iter().map(part).collect()
}

const STATE: &str = "SELECT (SELECT string_agg(version_num, ' ' ORDER BY 1) FROM alembic_version) || ' ' || \
     (SELECT count(*) FROM pg_attribute WHERE attrelid = 'customers'::regclass AND attname IN ('one', 'two'))";

#[tokio::test(flavor = "current_thread")]
async fn the_sql_and_the_version_table_are_one() {
    let Some(bench) = Bench::new("applied").await else {
        return;
    };
    bench.sql(SHOP).await;
    let apply = async |sql: &str, to: &SchemaHead| {
        let parts = parts(&[("b2", sql)]);
        bench.postgres.apply_sql(bench.place(), &parts, to, LONG).await
    };
    let state = async || bench.value(STATE).await.unwrap();
    let add = "ALTER TABLE customers ADD COLUMN one int; ALTER TABLE customers ADD COLUMN two int";
    for (sql, code) in [
        (
            "ALTER TABLE customers ADD COLUMN one int; ALTER TABLE none ADD COLUMN two int",
            Some("42P01"),
        ),
        (
            "ALTER TABLE customers ADD COLUMN one int; COMMIT; SELECT 1/0",
            None,
        ),
        (
            "ALTER TABLE customers ADD COLUMN one int; DO $$ BEGIN COMMIT; END $$",
            Some("2D000"),
        ),
        ("ALTER TABLE customers ADD COLUMN one int; VACUUM", None),
        ("ALTER TABLE customers ADD COLUMN one int; oh no", Some("42601")),
        ("COPY customers FROM STDIN", None),
        ("begin", None),
        (
            "ALTER TABLE customers ADD COLUMN one int; DROP TABLE alembic_version",
            Some("42P01"),
        ),
        (
            "DO $$ BEGIN RAISE 'full' USING ERRCODE = '53100'; END $$",
            Some("53100"),
        ),
    ] {
        let error = failed(apply(sql, &at(&["b2"])).await);
        assert_eq!(error.code(), code, "{sql}: {error}");
        assert_eq!(matches!(error, DatabaseError::NoSpace(_)), code == Some("53100"));
        assert!(!matches!(error, DatabaseError::Unknown(_)), "{sql}: {error}");
        assert_eq!(state().await, "a1 0", "{sql}");
    }
    for _ in 0..2 {
        apply(add, &at(&["b2", "c3"])).await.unwrap();
        assert_eq!(state().await, "b2 c3 2");
    }
    apply("SELECT 1", &at(&[])).await.unwrap();
    assert_eq!(
        bench
            .value("SELECT count(*) FROM alembic_version")
            .await
            .as_deref(),
        Some("0")
    );
    for _ in 0..2 {
        apply("SELECT 1", &SchemaHead::NoTable).await.unwrap();
        assert_eq!(bench.value("SELECT to_regclass('alembic_version')").await, None);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_newest_goes_first_and_what_fails_is_told_without_a_value() {
    let Some(bench) = Bench::new("several").await else {
        return;
    };
    bench.sql(SHOP).await;
    let state = async || bench.value(STATE).await.unwrap();
    let apply = async |all: &[(&str, &str)]| {
        let parts = parts(all);
        bench
            .postgres
            .apply_sql(bench.place(), &parts, &at(&["b2"]), LONG)
            .await
    };
    let add = "ALTER TABLE customers ADD COLUMN one int;";
    let wrong = "-- why\n\nSELECT 'hunter2'::int";
    let error = failed(apply(&[("d4", add), ("c3", wrong)]).await).to_string();
    assert_eq!(
        error,
        "line 3 of the SQL for c3: a value does not fit, which is not shown here (22P02)"
    );
    assert_eq!(state().await, "a1 0");
    apply(&[("d4", add), ("c3", "ALTER TABLE customers RENAME one TO two")])
        .await
        .unwrap();
    assert_eq!(state().await, "b2 1");
}

#[tokio::test(flavor = "current_thread")]
async fn who_has_what_the_sql_needs_is_named_soon() {
    let Some(bench) = Bench::new("waited").await else {
        return;
    };
    bench.sql(SHOP).await;
    let holder = bench.connect("shop-api").await.unwrap();
    holder
        .run("BEGIN; LOCK customers IN ACCESS SHARE MODE")
        .await
        .unwrap();
    let sql = "ALTER TABLE customers DROP COLUMN seen";
    let within = Duration::from_secs(4);
    let error = failed(
        bench
            .postgres
            .apply_sql(bench.place(), &parts(&[("b2", sql)]), &at(&["b2"]), within)
            .await,
    );
    assert!(
        error.to_string().starts_with(
            "line 1 of the SQL for b2: canceling statement due to lock timeout: shop-api as app from"
        ),
        "{error}"
    );
    assert_eq!(bench.value(STATE).await.as_deref(), Some("a1 0"));
}

#[tokio::test(flavor = "current_thread")]
async fn what_a_server_refuses_is_told_apart() {
    let Some(bench) = Bench::new("refused").await else {
        return;
    };
    bench
        .admin(&format!("CREATE ROLE refused_plain LOGIN PASSWORD '{PASSWORD}'"))
        .await;
    let name = copy_name(&bench.name, 1);

    let wrong = |key: &str| env(key).map(|value| value.replace(PASSWORD, "wrong-pass"));
    let place = Place {
        settings: &bench.settings,
        address: Some(LOCAL),
        env: &wrong,
    };
    let error = failed(bench.postgres.close(place, LONG).await);
    assert_eq!(
        error.to_string(),
        "password authentication failed for user \"app\" (28P01)"
    );
    assert!(matches!(error, DatabaseError::Rights { .. }));

    let missing = bench.other("app", "nowhere");
    let copy = copy_name(&missing.name, 1);
    for error in [
        failed(missing.postgres.close(missing.place(), LONG).await),
        failed(missing.postgres.open(missing.place(), LONG).await),
        failed(missing.postgres.copy(missing.place(), &copy, 1, LONG).await),
        failed(missing.postgres.size(missing.place(), LONG).await),
        failed(missing.postgres.fingerprint(missing.place(), LONG).await),
        failed(missing.postgres.lock(missing.place(), LONG).await.map(|_| ())),
    ] {
        assert_eq!(error.to_string(), "database \"nowhere\" does not exist (3D000)");
    }

    let plain = bench.other("refused_plain", "refused");
    let session = bench.connect("chief").await.unwrap();
    let error = failed(plain.postgres.close(plain.place(), LONG).await);
    assert_eq!(error.to_string(), "must be owner of database refused (42501)");
    bench.admin("ALTER DATABASE refused OWNER TO refused_plain").await;
    let error = failed(plain.postgres.close(plain.place(), LONG).await);
    assert_eq!(
        error.to_string(),
        "chief as app from an address that is not shown may not be ended: must be a superuser to \
         terminate superuser process (42501)"
    );
    session.end().await;
    bench.close().await;
    let error = failed(plain.postgres.copy(plain.place(), &name, 1, LONG).await);
    assert_eq!(error.to_string(), "permission denied to create database (42501)");
    assert!(matches!(error, DatabaseError::Rights { .. }));

    // With the right to create databases, it can do all of it.
    bench.admin("ALTER ROLE refused_plain CREATEDB").await;
    plain.postgres.copy(plain.place(), &name, 1, LONG).await.unwrap();
    let aside = super::super::aside_name(&plain.name, 1, 0);
    plain
        .postgres
        .put_back(plain.place(), &name, &aside, 1, LONG)
        .await
        .unwrap();
    plain.postgres.open(plain.place(), LONG).await.unwrap();
    plain.postgres.fingerprint(plain.place(), LONG).await.unwrap();
    for name in [&name, &aside] {
        plain.postgres.drop_copy(plain.place(), name, LONG).await.unwrap();
    }

    let gone = super::server::settings(1, "app", "refused");
    let place = Place {
        settings: &gone,
        address: Some(LOCAL),
        env: &env,
    };
    for error in [
        failed(bench.postgres.close(place, LONG).await),
        failed(
            bench
                .postgres
                .close(
                    Place {
                        address: None,
                        ..place
                    },
                    LONG,
                )
                .await,
        ),
        failed(
            bench
                .postgres
                .close(bench.place(), Duration::from_millis(1))
                .await,
        ),
    ] {
        assert!(matches!(error, DatabaseError::Unknown(_)), "{error:?}");
    }
}
