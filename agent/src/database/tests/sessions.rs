//! Who is connected: ended, kept out, named.

use std::time::Duration;

use super::super::{DatabaseError, Maintenance as _, Obstacle, Session};
use super::server::{Bench, LONG, PASSWORD, failed};

fn names(sessions: &[Session]) -> Vec<String> {
    let mut names: Vec<String> = sessions.iter().map(Session::to_string).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "current_thread")]
async fn close_ends_everybody_and_keeps_everybody_out() {
    let Some(bench) = Bench::new("closed").await else {
        return;
    };
    bench
        .admin(&format!(
            "CREATE ROLE closed_chief SUPERUSER LOGIN PASSWORD '{PASSWORD}'"
        ))
        .await;
    let api = bench.connect("shop-api").await.unwrap();
    let chief = bench.other("closed_chief", "closed");
    let psql = chief.connect("psql").await.unwrap();
    psql.run("BEGIN").await.unwrap();
    let expected = [
        "psql as closed_chief from 127.0.0.1/32",
        "shop-api as app from 127.0.0.1/32",
    ];
    assert_eq!(
        names(&bench.postgres.sessions(bench.place(), LONG).await.unwrap()),
        expected
    );

    let ended = bench.postgres.close(bench.place(), LONG).await.unwrap();
    assert_eq!(names(&ended), expected);
    for link in [&api, &psql] {
        assert!(matches!(
            failed(link.run("SELECT 1").await),
            DatabaseError::Unknown(_)
        ));
    }
    for who in [&bench, &chief] {
        assert_eq!(
            failed(who.connect("again").await.map(|_| ())).code(),
            Some("55000")
        );
    }
    assert_eq!(bench.postgres.close(bench.place(), LONG).await, Ok(Vec::new()));
    assert_eq!(bench.postgres.sessions(bench.place(), LONG).await, Ok(Vec::new()));

    bench.open().await;
    bench.open().await;
    assert_eq!(chief.value("SELECT 1").await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "current_thread")]
async fn who_comes_back_in_spite_of_the_bar_is_named() {
    let Some(bench) = Bench::new("stubborn").await else {
        return;
    };
    let other = bench.other("app", "stubborn");
    let comes_back = tokio::spawn(async move {
        let mut links = Vec::new();
        loop {
            // Of two who write to the catalogue at a time, one is refused.
            let open = "DO $$ BEGIN ALTER DATABASE stubborn ALLOW_CONNECTIONS true; EXCEPTION WHEN OTHERS THEN NULL; END $$";
            other.admin(open).await;
            links.extend(other.connect("cron-job").await);
        }
    });
    let said = failed(bench.postgres.close(bench.place(), Duration::from_secs(5)).await);
    comes_back.abort();
    assert!(comes_back.await.unwrap_err().is_cancelled());
    assert!(matches!(said, DatabaseError::InUse { .. }), "{said:?}");
    assert!(
        said.to_string().contains("cron-job as app from 127.0.0.1"),
        "{said}"
    );
    bench.close().await;
}

#[tokio::test(flavor = "current_thread")]
async fn who_cannot_be_ended_is_named_in_time() {
    use rustix::process::{Pid, Signal, kill_process};

    let Some(bench) = Bench::new("stuck").await else {
        return;
    };
    let link = bench.connect("stuck-report").await.unwrap();
    let pid = link.value("SELECT pg_backend_pid()").await.unwrap().unwrap();
    let process = Pid::from_raw(pid.parse().unwrap()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    let said = bench.postgres.close(bench.place(), Duration::from_secs(3)).await;
    kill_process(process, Signal::CONT).unwrap();
    let said = failed(said).to_string();
    assert_eq!(
        said,
        "the database cannot be closed: stuck-report as app from 127.0.0.1/32"
    );
    bench.close().await;
}

#[tokio::test(flavor = "current_thread")]
async fn what_stands_against_a_swap_is_named() {
    let Some(bench) = Bench::new("obstacles").await else {
        return;
    };
    assert_eq!(
        bench.postgres.obstacles(bench.place(), LONG).await,
        Ok(Vec::new())
    );
    bench
        .sql("SELECT pg_create_logical_replication_slot('warehouse', 'pgoutput')")
        .await;
    bench
        .sql("CREATE SUBSCRIPTION feed CONNECTION 'dbname=none' PUBLICATION p WITH (connect = false)")
        .await;
    bench
        .sql("CREATE TABLE t (); BEGIN; DROP TABLE t; PREPARE TRANSACTION 'xa-1'")
        .await;
    let obstacles = bench.postgres.obstacles(bench.place(), LONG).await.unwrap();
    assert_eq!(
        obstacles.iter().map(Obstacle::to_string).collect::<Vec<_>>(),
        [
            "the logical replication slot \"warehouse\"",
            "the subscription \"feed\"",
            "the prepared transaction \"xa-1\""
        ]
    );
    // Of this database alone.
    let elsewhere = bench.other("app", "postgres");
    assert_eq!(
        elsewhere.postgres.obstacles(elsewhere.place(), LONG).await,
        Ok(Vec::new())
    );
    bench.sql("ROLLBACK PREPARED 'xa-1'").await;
    bench.sql("SELECT pg_drop_replication_slot('warehouse')").await;
}

#[tokio::test(flavor = "current_thread")]
async fn the_lock_is_held_once_and_ends_with_its_connection() {
    let Some(bench) = Bench::new("locked").await else {
        return;
    };
    let short = Duration::from_secs(1);
    let lock = |within| bench.postgres.lock(bench.place(), within);
    let first = lock(LONG).await.unwrap();
    assert!(first.is_held());
    let said = failed(lock(short).await.map(|_| ())).to_string();
    assert_eq!(
        said,
        "the lock around migrations is held: steadfast as app from 127.0.0.1/32"
    );
    first.release().await;
    let second = lock(LONG).await.unwrap();
    failed(lock(short).await.map(|_| ()));
    drop(second);
    let third = lock(LONG).await.unwrap();
    bench
        .admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'locked'")
        .await;
    let fourth = lock(LONG).await.unwrap();
    tokio::task::yield_now().await;
    assert!(!third.is_held());
    assert!(fourth.is_held());
}
