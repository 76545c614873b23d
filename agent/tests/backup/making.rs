//! A backup is made: once, in one snapshot, in little memory.

use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use steadfast::backup::{Backups as _, Format, How, Progress, Stage};
use steadfast::database::{Maintenance as _, copy_name};

use super::support::{Bench, LONG, SHOP, ask, quiet};

#[tokio::test]
async fn a_backup_is_whole_private_and_made_once() {
    let Some(bench) = Bench::new("Shop's \"first\\").await else {
        return;
    };
    bench.sql(SHOP);
    let made = bench.archive.make(bench.source(), &ask(7), &quiet).await.unwrap();
    assert_eq!(made.id.operation(), 7);
    assert_eq!((made.format, made.verified.clone()), (Format::Custom, None));
    assert!(
        made.made_by.starts_with("pg_dump (PostgreSQL) 15."),
        "{}",
        made.made_by
    );
    let counted = &made.counted;
    let rows: Vec<(&str, u64)> = counted
        .tables
        .iter()
        .map(|(name, rows)| (name.as_str(), *rows))
        .collect();
    let expected = [
        ("\"odd \"\"one\".\"Orders\"", 2000),
        ("public.alembic_version", 2),
        ("public.customers", 500),
        ("public.parted_1", 29),
        ("public.parted_2", 71),
    ];
    assert_eq!(rows, expected);
    assert_eq!(counted.large_objects, 2);
    assert_eq!(
        format!("{:?}", counted.head),
        r#"At({Revision("a1"), Revision("b2")})"#
    );

    let files = [format!("{}.dump", made.id), format!("{}.json", made.id)];
    assert_eq!(bench.files(), files);
    let dump = bench.directory().join(&files[0]);
    let bytes = std::fs::read(&dump).unwrap();
    assert_eq!(bytes.len() as u64, made.bytes);
    assert_eq!(state::name::Digest::of(&bytes), made.sha256);
    for path in [&dump, &bench.directory().join(&files[1])] {
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    }
    let again = bench.archive.make(bench.source(), &ask(7), &quiet).await.unwrap();
    assert_eq!(again, made);
    assert_eq!(bench.files(), files);
    assert_eq!(
        bench.archive.list(&bench.stack).unwrap().backups,
        std::slice::from_ref(&made)
    );

    for how in [How::List, How::Restored, How::List] {
        let verified = bench
            .archive
            .verify(bench.source(), &made.id, how, &quiet, LONG)
            .await
            .unwrap();
        let rows = (how == How::Restored).then_some(2602);
        assert_eq!((verified.how, verified.tables, verified.rows), (how, 5, rows));
    }
    let listed = bench.archive.list(&bench.stack).unwrap().backups;
    // What says less does not take the place of what says more.
    assert_eq!(
        listed[0].verified.as_ref().map(|known| known.how),
        Some(How::Restored)
    );
    assert_eq!(bench.left(), "");
    let manifest = std::fs::read_to_string(bench.directory().join(&files[1])).unwrap();
    assert!(!manifest.contains(super::support::PASSWORD));
}

#[tokio::test]
async fn whoever_goes_on_writing_changes_nothing() {
    let Some(bench) = Bench::new("written").await else {
        return;
    };
    bench.sql(
        "CREATE TABLE a (v text); CREATE TABLE b (v text); \
         INSERT INTO a SELECT repeat(md5(i::text), 20) FROM generate_series(1, 40000) i",
    );
    let stop = Arc::new(AtomicBool::new(false));
    let (server, stopped) = (bench.server.clone(), stop.clone());
    let writer = std::thread::spawn(move || {
        let mut written = 0;
        while !stopped.load(Ordering::Relaxed) {
            server.sql(
                "written",
                "BEGIN; INSERT INTO a VALUES ('more'); INSERT INTO b VALUES ('more'); COMMIT",
            );
            written += 1;
        }
        written
    });
    let made = bench.archive.make(bench.source(), &ask(1), &quiet).await;
    stop.store(true, Ordering::Relaxed);
    let written = writer.join().unwrap();
    let made = made.unwrap();
    assert!(written > 1, "nobody wrote meanwhile");
    let counted = &made.counted.tables;
    // Both, or neither: it is one instant.
    assert_eq!(counted["public.a"], 40_000 + counted["public.b"]);
    assert_ne!(
        bench.sql("SELECT count(*) FROM b"),
        counted["public.b"].to_string()
    );
    let verified = bench
        .archive
        .verify(bench.source(), &made.id, How::Restored, &quiet, LONG)
        .await
        .unwrap();
    assert_eq!(verified.rows, Some(made.rows()));
}

#[tokio::test]
async fn a_copy_is_dumped_and_closed_again() {
    let Some(bench) = Bench::new("copied").await else {
        return;
    };
    bench.sql(SHOP);
    let copy = copy_name(&bench.database, 3);
    let mut of_copy = ask(3);
    of_copy.copy = Some(copy.clone());
    // It is not there yet.
    let error = super::support::failed(bench.archive.make(bench.source(), &of_copy, &quiet).await);
    assert!(error.to_string().contains("is no whole copy of"), "{error}");
    bench.postgres.close(bench.place(), LONG).await.unwrap();
    bench.postgres.copy(bench.place(), &copy, 3, LONG).await.unwrap();
    bench.postgres.open(bench.place(), LONG).await.unwrap();
    bench.sql("DELETE FROM \"odd \"\"one\".\"Orders\"; UPDATE alembic_version SET version_num = 'c3' WHERE version_num = 'b2'");

    let made = bench
        .archive
        .make(bench.source(), &of_copy, &quiet)
        .await
        .unwrap();
    assert_eq!((made.copy.as_ref(), made.rows()), (Some(&copy), 2602));
    assert!(format!("{:?}", made.counted.head).contains("b2"));
    let state = "SELECT datallowconn, datconnlimit FROM pg_database WHERE datname = 'copied_steadfast_3'";
    assert_eq!(bench.server.sql("postgres", state), "f|0");
    let verified = bench
        .archive
        .verify(bench.source(), &made.id, How::Restored, &quiet, LONG)
        .await
        .unwrap();
    assert_eq!(verified.rows, Some(2602));
    assert_eq!(bench.left(), "copied_steadfast_3");
}

/// How much memory this process has ever taken, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn much_takes_little_memory_and_tells_how_far_it_is() {
    let Some(bench) = Bench::new("much").await else {
        return;
    };
    bench.sql(
        "CREATE EXTENSION pgcrypto; CREATE TABLE t (v bytea); ALTER TABLE t ALTER v SET STORAGE EXTERNAL; \
         INSERT INTO t SELECT gen_random_bytes(1024) || gen_random_bytes(1024) || gen_random_bytes(1024) || \
         gen_random_bytes(1024) FROM generate_series(1, 20000)",
    );
    let told = Mutex::new(Vec::new());
    let tell = |progress: Progress| told.lock().unwrap().push(progress);
    let before = peak();
    let made = bench.archive.make(bench.source(), &ask(1), &tell).await.unwrap();
    let verified = bench
        .archive
        .verify(bench.source(), &made.id, How::Restored, &tell, LONG)
        .await
        .unwrap();
    // Other tests run in this process too.
    let grown = peak() - before;
    assert!(grown < 24 << 20, "{grown} bytes more");
    assert!(made.bytes > 64 << 20, "{} bytes", made.bytes);
    assert_eq!(verified.rows, Some(20_000));
    let told = told.into_inner().unwrap();
    for stage in [Stage::Dumping, Stage::Restoring] {
        let of: Vec<&Progress> = told.iter().filter(|progress| progress.stage == stage).collect();
        assert!(of.len() > 32, "{stage:?}: {}", of.len());
        assert!(of.is_sorted_by_key(|progress| progress.bytes));
        assert!(of.iter().all(|progress| progress.bytes <= progress.of));
    }
}
