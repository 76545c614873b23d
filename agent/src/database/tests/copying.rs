//! Copies: the same as what they are of, made once, dropped only where they are ours.

use super::super::link::quoted;
use super::super::{CopyKind, DatabaseError, Maintenance as _, copy_name};
use super::server::{Bench, LONG, SHOP, failed};

#[tokio::test(flavor = "current_thread")]
async fn a_copy_is_the_same_and_made_once() {
    let Some(bench) = Bench::new("Shop's \"first\"").await else {
        return;
    };
    bench.sql(SHOP).await;
    let content = bench.content().await;
    let counts = bench.postgres.checksums(bench.place(), LONG).await.unwrap();
    let counts: Vec<(&str, u64)> = counts
        .iter()
        .map(|(table, found)| (table.as_str(), found.rows))
        .collect();
    assert_eq!(
        counts,
        [
            ("\"odd \"\"one\".\"Orders\"", 2000),
            ("public.alembic_version", 1),
            ("public.customers", 500)
        ]
    );

    bench.close().await;
    let name = copy_name(&bench.name, 7);
    let copy = async || bench.postgres.copy(bench.place(), &name, 7, LONG).await.unwrap();
    let made = copy().await;
    let oid = "SELECT oid FROM pg_database WHERE datname LIKE 'Shop%_steadfast_7'";
    let first = bench.admin_value(oid).await;
    assert_eq!(copy().await.bytes, made.bytes);
    assert_eq!(bench.admin_value(oid).await, first);

    let copies = bench.postgres.copies(bench.place(), LONG).await.unwrap();
    assert_eq!(copies.len(), 1);
    let [found] = copies.try_into().unwrap();
    assert_eq!(
        (&found.name, &found.of, found.bytes),
        (&name, &bench.name, made.bytes)
    );
    assert_eq!((found.kind, found.complete), (Some(CopyKind::Copy), true));

    let of_copy = bench.other("app", name.as_str());
    assert_eq!(of_copy.postgres.size(of_copy.place(), LONG).await, Ok(made.bytes));
    assert!(made.bytes > 1 << 20, "{} bytes", made.bytes);
    assert_eq!(
        failed(of_copy.connect("x").await.map(|_| ())).code(),
        Some("55000")
    );
    bench
        .admin(&format!(
            "ALTER DATABASE {} ALLOW_CONNECTIONS true CONNECTION LIMIT -1",
            quoted(name.as_str())
        ))
        .await;
    assert_eq!(of_copy.content().await, content);
    of_copy.sql("UPDATE customers SET t = 'y' WHERE id = 250").await;
    let changed = of_copy.content().await;
    assert_eq!(changed.0, content.0);
    assert_ne!(changed.1, content.1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_half_made_copy_is_made_again_and_nobody_elses() {
    let Some(bench) = Bench::new("half").await else {
        return;
    };
    bench.sql(SHOP).await;
    let name = copy_name(&bench.name, 3);
    bench
        .admin(
            "CREATE DATABASE half_steadfast_3 TEMPLATE template0 ALLOW_CONNECTIONS false CONNECTION LIMIT 0",
        )
        .await;
    let copies = bench.postgres.copies(bench.place(), LONG).await.unwrap();
    assert_eq!(
        (copies.len(), copies[0].complete, copies[0].kind),
        (1, false, None)
    );
    let before = bench.oid("half_steadfast_3").await;
    bench.postgres.copy(bench.place(), &name, 3, LONG).await.unwrap();
    assert_ne!(bench.oid("half_steadfast_3").await, before);
    assert!(bench.postgres.copies(bench.place(), LONG).await.unwrap()[0].complete);

    // A drop of ours that was cut short, as Postgres marks it.
    bench
        .admin("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'half_steadfast_3'")
        .await;
    assert!(!bench.postgres.copies(bench.place(), LONG).await.unwrap()[0].complete);
    bench.postgres.copy(bench.place(), &name, 3, LONG).await.unwrap();
    assert!(bench.postgres.copies(bench.place(), LONG).await.unwrap()[0].complete);

    bench
        .admin("CREATE DATABASE half_steadfast_4 TEMPLATE template0")
        .await;
    let foreign = copy_name(&bench.name, 4);
    let said = failed(bench.postgres.copy(bench.place(), &foreign, 4, LONG).await);
    assert_eq!(
        said.to_string(),
        "the database \"half_steadfast_4\" is there already and is not this one: it has no mark of Steadfast"
    );
    // Another operation's.
    let said = failed(bench.postgres.copy(bench.place(), &name, 5, LONG).await);
    assert!(
        said.to_string().contains("copy of half for operation 3"),
        "{said}"
    );
    let said = failed(
        bench
            .postgres
            .copy(bench.place(), &"mine".parse().unwrap(), 5, LONG)
            .await,
    );
    assert!(
        said.to_string().contains("it begins with half_steadfast_"),
        "{said}"
    );

    for foreign in ["half_steadfast_4", "half", "postgres"] {
        let name = foreign.parse().unwrap();
        let said = failed(bench.postgres.drop_copy(bench.place(), &name, LONG).await);
        assert!(
            said.to_string()
                .contains("has no mark of Steadfast, and is not dropped"),
            "{said}"
        );
        assert!(bench.oid(foreign).await.is_some());
    }
    for _ in 0..2 {
        bench
            .postgres
            .drop_copy(bench.place(), &name, LONG)
            .await
            .unwrap();
        assert_eq!(bench.oid("half_steadfast_3").await, None);
    }
    assert_eq!(bench.postgres.copies(bench.place(), LONG).await, Ok(Vec::new()));
}

#[tokio::test(flavor = "current_thread")]
async fn nothing_is_copied_under_somebodys_hands() {
    let Some(bench) = Bench::new("busy").await else {
        return;
    };
    let _writer = bench.connect("shop-worker").await.unwrap();
    let name = copy_name(&bench.name, 1);
    let error = failed(bench.postgres.copy(bench.place(), &name, 1, LONG).await);
    assert!(matches!(error, DatabaseError::InUse { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "source database \"busy\" is being accessed by other users: shop-worker as app from 127.0.0.1/32"
    );
    assert_eq!(bench.oid("busy_steadfast_1").await, None);
}

#[tokio::test(flavor = "current_thread")]
async fn rows_that_were_changed_are_found_by_comparing_with_the_copy() {
    let Some(bench) = Bench::new("rows").await else {
        return;
    };
    bench.sql(SHOP).await;
    bench.sql("SELECT lo_from_bytea(4711, 'large')").await;
    bench.close().await;
    let name = copy_name(&bench.name, 7);
    bench.postgres.copy(bench.place(), &name, 7, LONG).await.unwrap();
    bench.open().await;
    let same = async || {
        let same = bench.postgres.has_rows_of(bench.place(), &name, LONG).await;
        let of_copy = bench.other("app", name.as_str());
        assert!(
            of_copy.connect("x").await.is_err(),
            "the copy is closed afterwards"
        );
        same.unwrap()
    };
    assert!(same().await);
    // What is written and taken back as a whole has changed nothing.
    bench.sql("BEGIN; DELETE FROM customers; ROLLBACK").await;
    assert!(same().await);
    for (change, back) in [
        (
            "UPDATE customers SET t = 'y' WHERE id = 250",
            "UPDATE customers SET t = 'name 250' WHERE id = 250",
        ),
        (
            "DELETE FROM \"odd \"\"one\".\"Orders\" WHERE id = 7",
            "INSERT INTO \"odd \"\"one\".\"Orders\" VALUES (7, 8, 'note 7')",
        ),
        (
            "SELECT lo_put(4711, 0, 'other')",
            "SELECT lo_put(4711, 0, 'large')",
        ),
        (
            "SELECT setval('\"odd \"\"one\".\"Orders_id_seq\"', 9000)",
            "SELECT setval('\"odd \"\"one\".\"Orders_id_seq\"', 2000)",
        ),
    ] {
        bench.sql(change).await;
        assert!(!same().await, "{change}");
        bench.sql(back).await;
        assert!(same().await, "{back}");
    }
    let gone = copy_name(&bench.name, 8);
    let said = failed(bench.postgres.has_rows_of(bench.place(), &gone, LONG).await);
    assert!(said.to_string().contains("no whole copy"), "{said}");
}
