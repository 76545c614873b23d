//! A backup that is not what was written, or not what was dumped, does not pass; whatever is restored into goes again.

use std::fs;

use state::backup::BackupId;
use steadfast::backup::{BackupError, Backups as _, How, Verified};
use steadfast::database::{Maintenance as _, Staging as _, copy_name};

use super::support::{Bench, LONG, SHOP, ask, failed, quiet};

async fn verify(bench: &Bench, id: &BackupId, how: How) -> Result<Verified, BackupError> {
    bench.archive.verify(bench.source(), id, how, &quiet, LONG).await
}

#[tokio::test]
async fn what_is_not_what_was_written_or_dumped_does_not_pass() {
    let Some(bench) = Bench::new("tampered").await else {
        return;
    };
    bench.sql(SHOP);
    let made = bench.archive.make(bench.source(), &ask(1), &quiet).await.unwrap();
    let [dump, manifest] = ["dump", "json"].map(|kind| bench.directory().join(format!("{}.{kind}", made.id)));
    let (bytes, json) = (fs::read(&dump).unwrap(), fs::read_to_string(&manifest).unwrap());

    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    verify(&bench, &made.id, How::Restored).await.unwrap();
    let is_verified = || {
        bench.archive.list(&bench.stack).unwrap().backups[0]
            .verified
            .is_some()
    };
    assert!(is_verified());
    for (content, expected) in [
        (&bytes[..bytes.len() - 1], "bytes, and"),
        (&flipped[..], "its SHA-256 is"),
        (&[], "it has 0 bytes"),
    ] {
        fs::write(&dump, content).unwrap();
        for how in [How::List, How::Restored] {
            let error = failed(verify(&bench, &made.id, how).await);
            assert!(matches!(error, BackupError::Damaged { .. }), "{error:?}");
            assert!(error.to_string().contains(expected), "{error}");
            // What it was once found to be, it is no more.
            assert!(!is_verified());
        }
    }
    fs::write(&dump, &bytes).unwrap();

    // Other rows than were counted.
    for (from, to, how, expected) in [
        (
            "\"public.customers\": 500",
            "\"public.customers\": 501",
            How::Restored,
            "public.customers has 500 rows, and 501 were counted",
        ),
        (
            "\"large_objects\": 2",
            "\"large_objects\": 3",
            How::Restored,
            "it has 2 large objects",
        ),
        (
            "\"b2\"",
            "\"c3\"",
            How::Restored,
            "the version table says something else",
        ),
        (
            "\"public.parted_1\": 29,",
            "\"public.parted_0\": 0, \"public.parted_1\": 29,",
            How::List,
            "it has the rows of 5 tables, and those of 6 were counted",
        ),
    ] {
        assert!(json.contains(from), "{json}");
        fs::write(&manifest, json.replace(from, to)).unwrap();
        let error = failed(verify(&bench, &made.id, how).await);
        assert!(matches!(error, BackupError::Differs { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(bench.left(), "");
    }
    fs::write(&manifest, "{").unwrap();
    let error = failed(verify(&bench, &made.id, How::List).await);
    assert!(matches!(error, BackupError::Damaged { .. }), "{error:?}");
    let listing = bench.archive.list(&bench.stack).unwrap();
    assert_eq!((listing.backups.len(), listing.damaged.len()), (0, 1));
    fs::write(&manifest, json).unwrap();
    verify(&bench, &made.id, How::Restored).await.unwrap();
    for _ in 0..2 {
        bench.archive.remove(&bench.stack, &made.id).await.unwrap();
    }
    assert_eq!(bench.files(), Vec::<String>::new());
    let error = failed(verify(&bench, &made.id, How::List).await);
    assert!(matches!(error, BackupError::Missing(_)), "{error:?}");
}

#[tokio::test]
async fn what_cannot_be_restored_is_said_and_goes_again() {
    let Some(bench) = Bench::new("unrestorable").await else {
        return;
    };
    // A constraint that the rows break: not checked again until somebody restores them.
    bench.sql(
        "CREATE FUNCTION fine(v int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'; \
         CREATE TABLE t (v int CHECK (fine(v))); INSERT INTO t VALUES (1); \
         CREATE OR REPLACE FUNCTION fine(v int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT false'",
    );
    let made = bench.archive.make(bench.source(), &ask(1), &quiet).await.unwrap();
    verify(&bench, &made.id, How::List).await.unwrap();
    let error = failed(verify(&bench, &made.id, How::Restored).await);
    assert!(matches!(error, BackupError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("violates check constraint"), "{error}");
    assert_eq!(bench.left(), "");
    assert_eq!(
        bench.archive.list(&bench.stack).unwrap().backups[0]
            .verified
            .as_ref()
            .map(|v| v.how),
        Some(How::List)
    );
}

#[tokio::test]
async fn what_a_crash_left_is_dropped_and_nobody_elses() {
    let Some(bench) = Bench::new("crashed").await else {
        return;
    };
    bench.sql("CREATE TABLE t (v int); INSERT INTO t VALUES (1)");
    let made = bench.archive.make(bench.source(), &ask(4), &quiet).await.unwrap();
    let beside = |sql: &str| bench.server.sql("postgres", sql);
    // Half-made, and made; somebody's of such a name, and somebody's own.
    let half = |name: &str| {
        beside(&format!(
            "CREATE DATABASE {name} TEMPLATE template0 ALLOW_CONNECTIONS false CONNECTION LIMIT 0"
        ));
    };
    half("crashed_steadfast_4_check");
    verify(&bench, &made.id, How::Restored).await.unwrap();
    assert_eq!(bench.left(), "");
    half("crashed_steadfast_3_check");
    beside("CREATE DATABASE crashed_steadfast_4_check");
    beside(
        "COMMENT ON DATABASE crashed_steadfast_4_check IS \
         'io.steadfast scratch of crashed for operation 4, complete'",
    );
    beside("CREATE DATABASE crashed_steadfast_5_check");
    half("crashed_steadfast_6");
    // A copy that was dumped when the agent was killed.
    let copy = copy_name(&bench.database, 2);
    bench.postgres.close(bench.place(), LONG).await.unwrap();
    bench.postgres.copy(bench.place(), &copy, 2, LONG).await.unwrap();
    bench.postgres.open(bench.place(), LONG).await.unwrap();
    bench
        .postgres
        .open_copy(bench.place(), &copy, LONG)
        .await
        .unwrap();
    let is_open = "SELECT datallowconn, datconnlimit FROM pg_database WHERE datname = 'crashed_steadfast_2'";
    assert_eq!(beside(is_open), "t|-1");
    bench.archive.clean(bench.source(), LONG).await.unwrap();
    assert_eq!(beside(is_open), "f|0");
    bench
        .postgres
        .drop_copy(bench.place(), &copy, LONG)
        .await
        .unwrap();
    assert_eq!(bench.left(), "crashed_steadfast_5_check\ncrashed_steadfast_6");
    assert_eq!(bench.files().len(), 2);

    let foreign = bench.archive.make(bench.source(), &ask(5), &quiet).await.unwrap();
    let error = failed(verify(&bench, &foreign.id, How::Restored).await);
    assert!(
        error.to_string().contains("it has no mark of Steadfast"),
        "{error}"
    );
    assert_eq!(bench.left(), "crashed_steadfast_5_check\ncrashed_steadfast_6");
}
