//! A real Postgres, where this host has one, on a port of its own. Where it has none, these tests
//! prove what can be proven without: a server that refuses, and one that never answers.

#![allow(clippy::unwrap_used)]

mod applying;
mod asking;
mod copying;
mod putting_back;
mod schema;
mod server;
mod sessions;
mod tools;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use config::settings::SecretSource;
use tokio::net::TcpListener;

use self::server::{Bench, LOCAL, PASSWORD, env, settings};
use super::*;

async fn ask(settings: &DatabaseSettings, env: EnvLookup<'_>) -> String {
    let started = Instant::now();
    let head = Postgres::new(Duration::from_secs(2))
        .schema_head(Place {
            settings,
            address: Some(LOCAL),
            env,
        })
        .await;
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "longer than its deadline"
    );
    match head {
        Known::Known(SchemaHead::NoTable) => String::from("no table"),
        Known::Known(SchemaHead::At(heads)) => {
            format!(
                "at {:?}",
                heads.iter().map(ToString::to_string).collect::<Vec<_>>()
            )
        }
        Known::Unknown(why) => {
            assert!(!why.contains(PASSWORD) && !why.contains("wrong-pass"), "{why}");
            format!("unknown: {why}")
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_rows_of_the_version_table() {
    let Some(bench) = Bench::new("version_rows").await else {
        return;
    };
    let settings = bench.settings.clone();
    assert_eq!(ask(&settings, &env).await, "no table");
    bench
        .sql("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        .await;
    assert_eq!(ask(&settings, &env).await, "at []");
    bench.sql("INSERT INTO alembic_version VALUES ('b2')").await;
    assert_eq!(ask(&settings, &env).await, r#"at ["b2"]"#);
    bench.sql("INSERT INTO alembic_version VALUES ('a1')").await;
    assert_eq!(ask(&settings, &env).await, r#"at ["a1", "b2"]"#);
    bench
        .sql("INSERT INTO alembic_version VALUES ('not a revision')")
        .await;
    let said = ask(&settings, &env).await;
    assert_eq!(
        said,
        "unknown: the database: a row of the version table is no revision"
    );

    let mut elsewhere = settings.clone();
    elsewhere.migrations.schema = "odd \"schema\"; DROP".parse().unwrap();
    elsewhere.migrations.version_table = "Versions".parse().unwrap();
    assert_eq!(ask(&elsewhere, &env).await, "no table");
    bench
        .sql(
            r#"CREATE SCHEMA "odd ""schema""; DROP";
           CREATE TABLE "odd ""schema""; DROP"."Versions" AS SELECT 'c3'::text AS version_num"#,
        )
        .await;
    assert_eq!(ask(&elsewhere, &env).await, r#"at ["c3"]"#);

    let url = |_: &str| {
        Some(format!(
            "postgresql+psycopg2://app:{PASSWORD}@postgres:{}/version_rows",
            bench.server.port
        ))
    };
    let by_url = DatabaseSettings {
        access: DatabaseAccess::Url(SecretSource::EnvKey("URL".parse().unwrap())),
        ..elsewhere
    };
    assert_eq!(host_of(&by_url, &url).as_deref(), Some("postgres"));
    assert_eq!(ask(&by_url, &url).await, r#"at ["c3"]"#);
    let tls = |_: &str| Some(format!("{}?sslmode=require", url("").unwrap()));
    let said = ask(&by_url, &tls).await;
    assert!(said.contains("server does not support TLS"), "{said}");

    // No connection is left behind: the server is given the time to see it go.
    let left = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = 'version_rows' AND application_name = 'steadfast'";
    let until = Instant::now() + Duration::from_secs(10);
    while bench.value(left).await.as_deref() != Some("0") {
        assert!(Instant::now() < until, "a connection is left behind");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_a_server_refuses_is_unknown_in_its_own_words() {
    let Some(bench) = Bench::new("version_refused").await else {
        return;
    };
    let settings = bench.settings.clone();
    let wrong = |key: &str| env(key).map(|value| value.replace(PASSWORD, "wrong-pass"));
    let said = ask(&settings, &wrong).await;
    assert_eq!(
        said,
        "unknown: the database: password authentication failed for user \"app\" (28P01)"
    );
    bench.sql("CREATE TABLE alembic_version (version_num text)").await;
    // Somebody's open transaction holds the table: no waiting behind it.
    let holder = bench.connect("holder").await.unwrap();
    holder.run("BEGIN; LOCK alembic_version").await.unwrap();
    let said = ask(&settings, &env).await;
    assert_eq!(
        said,
        "unknown: the database: canceling statement due to lock timeout (55P03)"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_that_is_not_there_or_never_answers_is_unknown_in_time() {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = ask(&settings(port, "app", "postgres"), &env).await;
    assert_eq!(said, "unknown: the database did not answer within 2s");
    drop(listener);
    let said = ask(&settings(port, "app", "postgres"), &env).await;
    assert!(said.to_lowercase().contains("connection refused"), "{said}");
    let none = |_: &str| None;
    assert_eq!(
        ask(&settings(port, "app", "postgres"), &none).await,
        "unknown: POSTGRES_PASSWORD is not in the stack's .env"
    );
    let nowhere = Postgres::new(Duration::from_secs(2))
        .schema_head(Place {
            settings: &settings(port, "app", "postgres"),
            address: None::<IpAddr>,
            env: &env,
        })
        .await;
    assert_eq!(
        nowhere.unknown(),
        Some("the address of the database's container is not known")
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_that_is_starting_up_is_unknown_in_its_own_words() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // As the server's own first answer in that state (Postgres, "Message Formats", ErrorResponse).
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        let fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";
        let length = u32::try_from(fields.len() + 4).unwrap();
        let answer = [b"E".as_slice(), &length.to_be_bytes(), fields].concat();
        stream.write_all(&answer).await.unwrap();
    };
    let settings = settings(port, "app", "postgres");
    let (said, ()) = tokio::join!(ask(&settings, &env), server);
    assert_eq!(
        said,
        "unknown: the database: the database system is starting up (57P03)"
    );
}
