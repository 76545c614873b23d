//! The version tables of tools, made as these make them, asked and written.

use state::instead::{ManualDown, ManualSql};
use state::migration_tool::{Commands, Forget, VersionTable};
use state::migrations::VersionRows;

use super::super::{Maintenance as _, Place};
use super::ask;
use super::server::{Bench, LOCAL, LONG, at, env, failed};

const DJANGO: &str = "CREATE TABLE django_migrations (id serial PRIMARY KEY, app varchar(255) NOT NULL, \
    name varchar(255) NOT NULL, applied timestamptz NOT NULL DEFAULT now())";
const SQLX: &str = "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, \
    installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL DEFAULT '', \
    execution_time bigint NOT NULL DEFAULT -1)";
const FLYWAY: &str = "CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50), \
    description varchar(200) NOT NULL DEFAULT '', type varchar(20) NOT NULL, script varchar(1000) NOT NULL DEFAULT '', \
    checksum integer, installed_by varchar(100) NOT NULL DEFAULT 'app', installed_on timestamp NOT NULL DEFAULT now(), \
    execution_time integer NOT NULL DEFAULT 0, success boolean NOT NULL)";

/// A database in which a tool with this table is at work.
async fn bench(name: &str, table: &str, version: VersionTable) -> Option<Bench> {
    let mut bench = Bench::new(name).await?;
    bench.settings.migrations.version_table = table.parse().unwrap();
    bench.settings.migrations.version = version;
    Some(bench)
}

impl Bench {
    async fn stands(&self) -> String {
        ask(&self.settings, &env).await
    }

    /// The operator's SQL for one revision.
    async fn take_back(&self, revision: &str, sql: &str, to: &[&str]) -> Result<(), super::DatabaseError> {
        let part = ManualDown {
            revision: revision.parse().unwrap(),
            sql: ManualSql::try_from(sql.to_owned()).unwrap(),
        };
        let place = Place {
            settings: &self.settings,
            address: Some(LOCAL),
            env: &env,
        };
        self.postgres.apply_sql(place, &[part], &at(to), LONG).await
    }
}

#[tokio::test(flavor = "current_thread")]
async fn django_has_a_row_for_each() {
    let version = Commands::django(&[]).version;
    let Some(bench) = bench("of_django", "django_migrations", version).await else {
        return;
    };
    assert_eq!(bench.stands().await, "no table");
    bench.sql(DJANGO).await;
    assert_eq!(bench.stands().await, "at []");
    bench
        .sql("INSERT INTO django_migrations (app, name) VALUES ('shop', '0002_b'), ('auth', '0001_a'), ('shop', '0001_a')")
        .await;
    assert_eq!(
        bench.stands().await,
        r#"at ["auth.0001_a", "shop.0001_a", "shop.0002_b"]"#
    );
    let to = ["auth.0001_a", "shop.0001_a"];
    for _ in 0..2 {
        bench.take_back("shop.0002_b", "SELECT 1", &to).await.unwrap();
        assert_eq!(bench.stands().await, r#"at ["auth.0001_a", "shop.0001_a"]"#);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_sqlx_has_left_half_done_is_no_revision_of_any_image() {
    let version = Commands::sqlx(&[], "migrations", "t").version;
    let Some(bench) = bench("of_sqlx", "_sqlx_migrations", version).await else {
        return;
    };
    bench.sql(SQLX).await;
    bench
        .sql("INSERT INTO _sqlx_migrations (version, description, success) VALUES (1, 'a', true), (20230101, 'b', false)")
        .await;
    assert_eq!(bench.stands().await, r#"at ["1", "20230101.failed"]"#);
    bench.sql("UPDATE _sqlx_migrations SET success = true").await;
    bench.take_back("20230101", "SELECT 1", &["1"]).await.unwrap();
    assert_eq!(bench.stands().await, r#"at ["1"]"#);
}

#[tokio::test(flavor = "current_thread")]
async fn flyway_stands_at_what_was_not_undone() {
    let version = Commands::flyway(&[], "sql", "t").version;
    let Some(bench) = bench("of_flyway", "flyway_schema_history", version).await else {
        return;
    };
    bench.sql(FLYWAY).await;
    assert_eq!(bench.stands().await, "at []");
    let mut rank = 0;
    for (version, kind, success, stands) in [
        (None, "SCHEMA", true, "at []"),
        (Some("1"), "BASELINE", true, r#"at ["1"]"#),
        (Some("2"), "SQL", true, r#"at ["2"]"#),
        (Some("2.1"), "SQL", true, r#"at ["2.1"]"#),
        // A repeatable one.
        (None, "SQL", true, r#"at ["2.1"]"#),
        (Some("2.1"), "UNDO_SQL", true, r#"at ["2"]"#),
        (Some("2"), "UNDO_SQL", true, r#"at ["1"]"#),
        (Some("2"), "SQL", true, r#"at ["2"]"#),
        (Some("10"), "SQL", false, r#"at ["10.failed"]"#),
        (Some("10"), "DELETE", true, r#"at ["2"]"#),
        (Some("10"), "SQL", true, r#"at ["10"]"#),
    ] {
        rank += 1;
        let version = version.map_or(String::from("NULL"), |version| format!("'{version}'"));
        bench
            .sql(&format!(
                "INSERT INTO flyway_schema_history (installed_rank, version, type, success) \
                 VALUES ({rank}, {version}, '{kind}', {success})"
            ))
            .await;
        assert_eq!(bench.stands().await, stands, "{version} {kind}");
    }
    bench.take_back("10", "SELECT 1", &["2"]).await.unwrap();
    assert_eq!(bench.stands().await, r#"at ["2"]"#);
}

#[tokio::test(flavor = "current_thread")]
async fn a_query_of_ones_own_gives_a_row_for_each_head() {
    let version = |query: &str| VersionTable {
        query: query.to_owned(),
        rows: VersionRows::Heads,
        forget: Forget::Nothing,
    };
    let of = version("SELECT max(v) FROM {table} -- the newest");
    let Some(mut bench) = bench("of_ones_own", "schema_migrations", of).await else {
        return;
    };
    assert_eq!(bench.stands().await, "no table");
    bench.sql("CREATE TABLE schema_migrations (v int)").await;
    assert_eq!(bench.stands().await, "at []", "max of nothing is NULL");
    bench.sql("INSERT INTO schema_migrations VALUES (1), (2)").await;
    assert_eq!(bench.stands().await, r#"at ["2"]"#);

    // Nobody else knows how it writes that down.
    let error = failed(bench.take_back("2", "CREATE TABLE kept (a int)", &["1"]).await);
    assert_eq!(
        error.to_string(),
        "after the SQL the version table says 2 instead of 1: with a tool of your own the SQL has to write it too"
    );
    assert_eq!(bench.value("SELECT to_regclass('kept')").await, None);
    let sql = "DELETE FROM schema_migrations WHERE v = 2";
    bench.take_back("2", sql, &["1"]).await.unwrap();
    assert_eq!(bench.stands().await, r#"at ["1"]"#);

    for (query, said) in [
        (
            "SELECT 'no revision'",
            "a row of the version table is no revision",
        ),
        (
            "SELECT none FROM {table}",
            "column \"none\" does not exist (42703)",
        ),
        // It reads, and nothing else.
        (
            "WITH d AS (DELETE FROM {table} RETURNING v) SELECT v FROM d",
            "WITH clause containing a data-modifying statement must be at the top level (0A000)",
        ),
    ] {
        bench.settings.migrations.version = version(query);
        assert_eq!(
            bench.stands().await,
            format!("unknown: the database: {said}"),
            "{query}"
        );
    }
}

/// `current` may ask other tables than the one that says how far the schema is.
#[tokio::test(flavor = "current_thread")]
async fn another_table_that_is_missing_says_nothing_of_how_far_the_schema_is() {
    let version = |query: &str| VersionTable {
        query: query.to_owned(),
        rows: VersionRows::Heads,
        forget: Forget::Nothing,
    };
    let joined = "SELECT v.name FROM {table} v JOIN releases r ON r.name = v.name";
    let Some(mut bench) = bench("of_another", "applied", version(joined)).await else {
        return;
    };
    assert_eq!(bench.stands().await, "no table");
    bench
        .sql("CREATE TABLE applied (name text); INSERT INTO applied VALUES ('b2')")
        .await;
    let said = bench.stands().await;
    assert!(said.contains("relation \"releases\" does not exist"), "{said}");
    let refused = bench
        .take_back("b2", "SELECT 1", &["a1"])
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("releases"), "{refused}");
    // Named as it is in the file, or not at all.
    bench.settings.migrations.version = version("SELECT name FROM public.Applied");
    assert_eq!(bench.stands().await, r#"at ["b2"]"#);
    bench.sql("DROP TABLE applied").await;
    assert_eq!(bench.stands().await, "no table");
    bench.settings.migrations.version = version("SELECT name FROM somewhere_else");
    let said = bench.stands().await;
    assert!(
        said.contains("relation \"somewhere_else\" does not exist"),
        "{said}"
    );
}
