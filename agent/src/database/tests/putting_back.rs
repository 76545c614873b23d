//! A copy takes the database's place: everything is as it was, and whatever was cut short is finished.

use std::time::Duration;

use super::super::{DatabaseError, Maintenance as _, aside_name, copy_name};
use super::server::{Bench, LONG, SHOP, failed};

/// Owner, rights, settings, limit and comment of a database.
const PROPERTIES: &str = "SELECT concat_ws(' | ', pg_get_userbyid(datdba), datconnlimit, datacl, \
     (SELECT string_agg(setrole::regrole || ' ' || setconfig::text, ', ' ORDER BY setrole) \
      FROM pg_db_role_setting WHERE setdatabase = d.oid), shobj_description(oid, 'pg_database')) \
     FROM pg_database d WHERE datname = ";

const HARM: &str = "ALTER TABLE customers DROP COLUMN seen CASCADE; DELETE FROM \"odd \"\"one\".\"Orders\"; \
     UPDATE alembic_version SET version_num = 'b2'";

/// A database with a whole copy, harmed since then, and closed; and what was in it before.
async fn harmed(name: &str) -> Option<(Bench, (String, Vec<(String, super::super::Checksum)>))> {
    let bench = Bench::new(name).await?;
    bench.sql(SHOP).await;
    let content = bench.content().await;
    bench.close().await;
    bench
        .postgres
        .copy(bench.place(), &copy_name(&bench.name, 7), 7, LONG)
        .await
        .unwrap();
    bench.open().await;
    bench.sql(HARM).await;
    assert_ne!(bench.content().await, content);
    bench.close().await;
    Some((bench, content))
}

async fn put_back(bench: &Bench, within: Duration) -> Result<(), DatabaseError> {
    let (copy, aside) = (copy_name(&bench.name, 7), aside_name(&bench.name, 7, 0));
    bench
        .postgres
        .put_back(bench.place(), &copy, &aside, 7, within)
        .await
}

#[tokio::test(flavor = "current_thread")]
async fn everything_is_as_it_was() {
    let Some((bench, content)) = harmed("back").await else {
        return;
    };
    bench
        .admin(
            "CREATE ROLE back_owner; CREATE ROLE \"Back Reader\"; CREATE ROLE back_giver; \
             ALTER DATABASE back OWNER TO back_owner; \
             REVOKE CONNECT ON DATABASE back FROM PUBLIC; \
             GRANT CONNECT ON DATABASE back TO back_giver WITH GRANT OPTION; \
             SET ROLE back_giver; GRANT CONNECT ON DATABASE back TO \"Back Reader\"; RESET ROLE; \
             GRANT CREATE, TEMPORARY ON DATABASE back TO \"Back Reader\"; \
             ALTER DATABASE back SET search_path TO \"$user\", 'odd \"one', public; \
             ALTER DATABASE back SET work_mem TO '9MB'; \
             ALTER DATABASE back SET TimeZone TO 'Europe/Berlin'; \
             ALTER DATABASE back SET app.words TO E'it''s a \\\\b, c=d'; \
             ALTER ROLE \"Back Reader\" IN DATABASE back SET search_path TO ''; \
             ALTER ROLE back_owner IN DATABASE back SET default_transaction_read_only TO on; \
             ALTER DATABASE back CONNECTION LIMIT 17; \
             COMMENT ON DATABASE back IS 'the shop''s'",
        )
        .await;
    let properties = async |name: &str| bench.admin_value(&format!("{PROPERTIES}'{name}'")).await;
    let sorted = |said: Option<String>| {
        let mut characters: Vec<char> = said.unwrap().chars().collect();
        characters.sort_unstable();
        characters
    };
    let before = properties("back").await;
    let oids = async || (bench.oid("back").await, bench.oid("back_steadfast_7_aside").await);
    let (old, copy) = (bench.oid("back").await, bench.oid("back_steadfast_7").await);

    put_back(&bench, LONG).await.unwrap();
    let after = properties("back").await;
    let said = before.as_deref().unwrap();
    for part in [
        r#"Back Reader\"=c/back_giver"#,
        r#"Back Reader\"=CT/back_owner"#,
        " 17 ",
        "9MB",
        "the shop's",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // The same entries; the order of rights is the order in which they were given.
    assert_eq!(sorted(after.clone()), sorted(before), "{after:?}");
    let done = oids().await;
    assert_eq!(done.1, old);
    assert_eq!(bench.oid("back_steadfast_7").await, copy);
    assert_eq!(bench.oid("back_steadfast_7_new").await, None);
    put_back(&bench, LONG).await.unwrap();
    assert_eq!(oids().await, done);

    let aside = bench.other("app", "back_steadfast_7_aside");
    for closed in [&bench, &aside] {
        assert_eq!(
            failed(closed.connect("x").await.map(|_| ())).code(),
            Some("55000")
        );
    }
    bench.open().await;
    assert_eq!(bench.content().await, content);
    bench
        .admin("ALTER DATABASE back_steadfast_7_aside ALLOW_CONNECTIONS true")
        .await;
    assert_eq!(
        aside
            .value("SELECT version_num FROM alembic_version")
            .await
            .as_deref(),
        Some("b2")
    );
    let kinds: Vec<String> = bench
        .postgres
        .copies(bench.place(), LONG)
        .await
        .unwrap()
        .iter()
        .map(|copy| format!("{} {:?}", copy.name, copy.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            "back_steadfast_7 Some(Copy)",
            "back_steadfast_7_aside Some(Aside)"
        ]
    );
}

const NEW: &str = "CREATE DATABASE DB_steadfast_7_new TEMPLATE DB_steadfast_7 ALLOW_CONNECTIONS false \
     CONNECTION LIMIT 0";
const MARKED: &str = "COMMENT ON DATABASE DB_steadfast_7_new IS \
     'io.steadfast new of DB for operation 7, complete'";
const ASIDE: &str = "ALTER DATABASE DB RENAME TO DB_steadfast_7_aside";
const NAMED: &str = "ALTER DATABASE DB_steadfast_7_new RENAME TO DB";
const ASIDE_MARKED: &str = "COMMENT ON DATABASE DB_steadfast_7_aside IS \
     'io.steadfast aside of DB for operation 7, complete'; COMMENT ON DATABASE DB IS NULL";

#[tokio::test(flavor = "current_thread")]
async fn it_is_finished_from_wherever_it_was_left() {
    let empty =
        "CREATE DATABASE DB_steadfast_7_new TEMPLATE template0 ALLOW_CONNECTIONS false CONNECTION LIMIT 0";
    let rows: [(&str, &[&str]); 7] = [
        ("left_half", &[empty]),
        ("left_unmarked", &[NEW]),
        ("left_marked", &[NEW, MARKED]),
        ("left_between", &[NEW, MARKED, ASIDE]),
        ("left_between_half", &[empty, ASIDE]),
        ("left_nameless", &[ASIDE]),
        ("left_done", &[NEW, ASIDE, NAMED, ASIDE_MARKED, NEW, MARKED]),
    ];
    for (name, done) in rows {
        let Some((bench, content)) = harmed(name).await else {
            return;
        };
        bench
            .admin(&format!("ALTER DATABASE {name} CONNECTION LIMIT 5"))
            .await;
        let old = bench.oid(name).await;
        for statement in done {
            // Each by itself: CREATE DATABASE takes no company.
            bench.admin(&statement.replace("DB", name)).await;
        }
        if name == "left_done" {
            bench
                .admin(&format!("ALTER DATABASE {name} CONNECTION LIMIT 5"))
                .await;
        }
        for _ in 0..2 {
            put_back(&bench, LONG)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert_eq!(
            bench.oid(&format!("{name}_steadfast_7_aside")).await,
            old,
            "{name}"
        );
        assert_eq!(
            bench.oid(&format!("{name}_steadfast_7_new")).await,
            None,
            "{name}"
        );
        bench.open().await;
        assert_eq!(bench.content().await, content, "{name}");
        let limit = format!("SELECT datconnlimit FROM pg_database WHERE datname = '{name}'");
        assert_eq!(bench.admin_value(&limit).await.as_deref(), Some("5"), "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn cut_short_at_any_instant_something_has_the_name_and_it_is_finished() {
    for (at, millis) in [2, 8, 20, 40, 80, 160].into_iter().enumerate() {
        let name = format!("cut_{at}");
        let Some((bench, content)) = harmed(&name).await else {
            return;
        };
        let old = bench.oid(&name).await;
        let cut = put_back(&bench, Duration::from_millis(millis)).await;
        // The first is far too short; how far the others get is the machine's affair.
        let done = at > 0 && cut.is_ok();
        assert!(done || matches!(cut, Err(DatabaseError::Unknown(_))), "{cut:?}");
        assert!(bench.oid(&name).await.is_some(), "after {millis} ms");
        put_back(&bench, LONG).await.unwrap();
        assert_eq!(bench.oid(&format!("{name}_steadfast_7_aside")).await, old);
        bench.open().await;
        assert_eq!(bench.content().await, content);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_in_the_way_is_said_and_nothing_is_moved() {
    let Some((bench, _)) = harmed("way").await else {
        return;
    };
    let old = bench.oid("way").await;
    let (copy, aside) = (copy_name(&bench.name, 7), aside_name(&bench.name, 7, 0));
    let none = copy_name(&bench.name, 8);
    let said = failed(
        bench
            .postgres
            .put_back(bench.place(), &none, &aside, 7, LONG)
            .await,
    );
    assert_eq!(
        said.to_string(),
        "\"way_steadfast_8\" is no whole copy of \"way\""
    );

    bench.open().await;
    let reader = bench.connect("shop-report").await.unwrap();
    let said = failed(
        bench
            .postgres
            .put_back(bench.place(), &copy, &aside, 7, LONG)
            .await,
    )
    .to_string();
    assert!(said.ends_with("shop-report as app from 127.0.0.1/32"), "{said}");
    reader.end().await;

    bench
        .admin("CREATE DATABASE way_steadfast_7_aside TEMPLATE template0")
        .await;
    let said = failed(
        bench
            .postgres
            .put_back(bench.place(), &copy, &aside, 7, LONG)
            .await,
    )
    .to_string();
    assert!(said.contains("it has no mark of Steadfast"), "{said}");
    assert_eq!(bench.oid("way").await, old);
}
