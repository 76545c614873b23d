//! What is restored beside the database is the same in everything, and takes its name whole or not at all.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use steadfast::backup::{BackupError, Backups as _, Dump, Restored};
use steadfast::database::{Checksum, CopyKind, Maintenance as _, Place, before_name, restored_name};

use super::support::{Bench, LONG, SHOP, ask, docker, failed, quiet, settings};

/// Owners, rights, policies, a function whose body is SQL, and large objects of somebody's.
const MORE: &str = "
    CREATE ROLE shop_owner; CREATE ROLE \"Shop Reader\";
    ALTER TABLE customers OWNER TO shop_owner;
    ALTER SCHEMA \"odd \"\"one\" OWNER TO shop_owner;
    GRANT SELECT (id, t) ON customers TO \"Shop Reader\" WITH GRANT OPTION;
    ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON customers TO \"Shop Reader\" USING (id > 7);
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO \"Shop Reader\";
    COMMENT ON TABLE customers IS E'it''s\n\\\\. a; comment';
    CREATE FUNCTION doubled(a int) RETURNS int LANGUAGE sql
        BEGIN ATOMIC SELECT CASE WHEN a > 1 THEN 2 * a ELSE a END; END;
    CREATE FUNCTION spoken() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN RETURN NEW; -- ';
        END $body$;
    CREATE TRIGGER spoken BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION spoken();
    SELECT setval('\"odd \"\"one\".\"Orders_id_seq\"', 7777);
    INSERT INTO customers (t) VALUES (E'name \\\\. \\n\\\\.\\n\\t \\b'), ('name ' || repeat('long ', 100000));
    DO $$ DECLARE o oid; BEGIN FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP
        EXECUTE format('ALTER LARGE OBJECT %s OWNER TO shop_owner', o); END LOOP; END $$;";

/// Settings that a database has, and that are not in it.
const PROPERTIES: &str = "SELECT concat_ws(' | ', pg_get_userbyid(datdba), datconnlimit, datacl, \
     (SELECT string_agg(setconfig::text, ', ') FROM pg_db_role_setting WHERE setdatabase = d.oid), \
     shobj_description(oid, 'pg_database'), datallowconn) FROM pg_database d WHERE datname = ";

/// The schema as `pg_dump` writes it, without what is different every time, and the rows of every table.
async fn content(bench: &Bench, database: &str) -> (String, Vec<(String, Checksum)>) {
    let name = format!("dbname='{}'", database.replace('\'', "\\'"));
    let schema = docker(&[
        "exec",
        bench.server.container.as_str(),
        "pg_dump",
        "-s",
        "-U",
        "app",
        "-d",
        &name,
    ]);
    let lines: Vec<&str> = schema
        .lines()
        .filter(|line| !line.contains("restrict "))
        .collect();
    let settings = settings("app", database);
    let place = Place {
        settings: &settings,
        ..bench.place()
    };
    let sums = bench.postgres.checksums(place, LONG).await.unwrap();
    (lines.join("\n"), sums.into_iter().collect())
}

/// The large objects and what the sequences have come to.
fn beside(bench: &Bench, database: &str) -> String {
    bench.server.sql(
        database,
        "SELECT string_agg(md5(lo_get(oid)) || lomowner::regrole, ' ' ORDER BY oid) FROM pg_largeobject_metadata; \
         SELECT last_value FROM \"odd \"\"one\".\"Orders_id_seq\"",
    )
}

fn open(bench: &Bench, database: &str) {
    bench.server.sql(
        "postgres",
        &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"),
    );
}

async fn restore(bench: &Bench, dump: Dump<'_>, operation: u64) -> Result<Restored, BackupError> {
    bench
        .archive
        .restore_into(bench.source(), dump, operation, &quiet, LONG)
        .await
}

/// Lets `pg_dump` of the container write a file.
fn dump(bench: &Bench, to: &Path, options: &[&str]) {
    let out = Command::new("docker")
        .args([
            "exec",
            bench.server.container.as_str(),
            "pg_dump",
            "-U",
            "app",
            "-d",
        ])
        .arg(bench.database.as_str())
        .args(options)
        .stdout(std::fs::File::create(to).unwrap())
        .status()
        .unwrap();
    assert!(out.success());
}

#[tokio::test]
async fn what_is_restored_is_the_same_in_everything() {
    let Some(bench) = Bench::new("restored").await else {
        return;
    };
    bench.sql(SHOP);
    bench.sql(MORE);
    let (before, objects) = (content(&bench, "restored").await, beside(&bench, "restored"));
    assert!(
        objects.contains("shop_owner") && objects.ends_with("7777"),
        "{objects}"
    );
    let made = bench.archive.make(bench.source(), &ask(1), &quiet).await.unwrap();
    let file = |name: &str| bench.state.path().join(name);
    let (custom, plain, inserts) = (file("a.dump"), file("b.sql"), file("c.sql"));
    dump(&bench, &custom, &["-Fc"]);
    dump(&bench, &plain, &[]);
    dump(
        &bench,
        &inserts,
        &["--rows-per-insert=100", "--quote-all-identifiers"],
    );

    let dumps = [
        Dump::Backup(&made.id),
        Dump::File(&custom),
        Dump::File(&plain),
        Dump::File(&inserts),
    ];
    for (operation, dump) in (10..).zip(dumps) {
        let restored = restore(&bench, dump, operation).await.unwrap();
        assert_eq!(restored.database, restored_name(&bench.database, operation));
        assert_eq!((restored.tables, restored.rows), (5, 2604), "{dump:?}");
        let name = restored.database.as_str();
        let state = format!("SELECT datallowconn, datconnlimit FROM pg_database WHERE datname = '{name}'");
        assert_eq!(bench.server.sql("postgres", &state), "f|0");
        open(&bench, name);
        let found = content(&bench, name).await;
        assert_eq!(found.1, before.1, "{dump:?}");
        assert!(found.0 == before.0, "{dump:?}: {}\n{}", found.0, before.0);
        assert_eq!(beside(&bench, name), objects, "{dump:?}");
        bench
            .postgres
            .drop_copy(bench.place(), &restored.database, LONG)
            .await
            .unwrap();
    }
    assert_eq!(bench.left(), "");
}

#[tokio::test]
async fn what_was_restored_takes_the_place_and_what_was_there_is_kept() {
    let Some(bench) = Bench::new("swapped").await else {
        return;
    };
    bench.sql(SHOP);
    let beside = |sql: &str| bench.server.sql("postgres", sql);
    beside("ALTER DATABASE swapped SET work_mem TO '9MB'; COMMENT ON DATABASE swapped IS 'the shop''s'");
    let before = content(&bench, "swapped").await;
    let made = bench.archive.make(bench.source(), &ask(1), &quiet).await.unwrap();
    bench.sql("DELETE FROM customers; DELETE FROM alembic_version; DROP VIEW glad");
    let harmed = content(&bench, "swapped").await;
    let oid = |name: &str| beside(&format!("SELECT oid FROM pg_database WHERE datname = '{name}'"));
    let rights =
        "SELECT coalesce(datacl, acldefault('d', datdba)) FROM pg_database WHERE datname = 'swapped'";
    let (old, properties, granted) = (
        oid("swapped"),
        beside(&format!("{PROPERTIES}'swapped'")),
        beside(rights),
    );

    let restored = restore(&bench, Dump::Backup(&made.id), 2).await.unwrap();
    let new = oid(restored.database.as_str());
    // Again: it is found.
    assert_eq!(
        restore(&bench, Dump::Backup(&made.id), 2).await.unwrap(),
        restored
    );
    assert_eq!(oid(restored.database.as_str()), new);
    assert_eq!(oid("swapped"), old);

    let set_aside = before_name(&bench.database, made.begun);
    let take = async |operation: u64, within: Duration| {
        bench
            .postgres
            .take_place(bench.place(), &restored.database, &set_aside, operation, within)
            .await
    };
    // Somebody is in it, and another operation's is not taken.
    let error = take(3, LONG).await.unwrap_err();
    assert!(
        error.to_string().contains("is not what operation 3 has restored"),
        "{error}"
    );
    bench.postgres.close(bench.place(), LONG).await.unwrap();
    for millis in [1, 2, 3, 5, 8, 13, 21, 34, 55] {
        let done = take(2, Duration::from_millis(millis)).await;
        let named = oid("swapped");
        assert!(named == old || named == new, "{millis}: {done:?}");
    }
    for _ in 0..2 {
        take(2, LONG).await.unwrap();
        assert_eq!(
            (oid("swapped"), oid(set_aside.as_str())),
            (new.clone(), old.clone())
        );
    }
    bench.postgres.open(bench.place(), LONG).await.unwrap();
    assert_eq!(content(&bench, "swapped").await, before);
    assert_eq!(beside(rights), granted);
    let without_rights = |said: &str| {
        let (first, rest) = said.split_once(" | ").unwrap();
        let rest = rest.rsplitn(4, " | ").take(3).collect::<Vec<_>>();
        format!("{first} {rest:?}")
    };
    let now = beside(&format!("{PROPERTIES}'swapped'"));
    assert_eq!(without_rights(&now), without_rights(&properties));
    assert!(now.contains("9MB") && now.contains("the shop's"), "{now}");

    open(&bench, &format!("\"{set_aside}\""));
    assert_eq!(content(&bench, set_aside.as_str()).await, harmed);

    // And back again: what was restored has had the name, and is kept.
    let give = async |within: Duration| {
        bench
            .postgres
            .give_back(bench.place(), &restored.database, &set_aside, 2, within)
            .await
    };
    bench.postgres.close(bench.place(), LONG).await.unwrap();
    for millis in [1, 3, 8, 21, 55] {
        let done = give(Duration::from_millis(millis)).await;
        let named = oid("swapped");
        assert!(named == old || named == new, "{millis}: {done:?}");
    }
    for _ in 0..2 {
        give(LONG).await.unwrap();
        assert_eq!(
            (oid("swapped"), oid(restored.database.as_str())),
            (old.clone(), new.clone())
        );
        assert_eq!(oid(set_aside.as_str()), "");
    }
    bench.postgres.open(bench.place(), LONG).await.unwrap();
    assert_eq!(content(&bench, "swapped").await, harmed);
    let kept = bench.postgres.copies(bench.place(), LONG).await.unwrap();
    let kinds: Vec<_> = kept.iter().map(|copy| (copy.name.clone(), copy.kind)).collect();
    assert_eq!(kinds, [(restored.database.clone(), Some(CopyKind::Aside))]);
    bench
        .postgres
        .drop_copy(bench.place(), &restored.database, LONG)
        .await
        .unwrap();
    assert_eq!(oid(restored.database.as_str()), "");
}

#[tokio::test]
async fn what_is_no_dump_is_refused_with_its_line_and_leaves_nothing() {
    let Some(bench) = Bench::new("refusing").await else {
        return;
    };
    bench.sql("CREATE TABLE t (v text); INSERT INTO t VALUES ('a'), ('b')");
    let path = bench.state.path().join("dump");
    dump(&bench, &path, &[]);
    let whole = std::fs::read_to_string(&path).unwrap();
    let rows = whole.find("\na\n").unwrap();
    let data = &whole[..rows];
    for (content, expected) in [
        ("", "it is empty"),
        ("\u{1f}\0\0", "it is neither SQL nor"),
        (
            "SELECT 1;\n\\connect postgres\nSELECT 2;\n",
            "line 2: \\connect is a command of psql",
        ),
        ("\\! touch /tmp/harm\n", "line 1: \\! is a command of psql"),
        (
            "SELECT 1\n\\gexec\n",
            "line 1: a command of psql stands in a statement",
        ),
        (
            "SELECT 1;\n\nSELECT (\n2/0);\n",
            "line 3: division by zero (22012)",
        ),
        ("SELECT 1;\nSELECT 'x;\n", "line 2: the last statement has no end"),
        (
            "SET client_encoding = 'LATIN1';\n",
            "line 1: it is written in LATIN1",
        ),
        (data, "the rows of a COPY have no end"),
        (
            "COPY nothing FROM stdin;\n1\n\\.\n",
            "line 1: relation \"nothing\" does not exist (42P01)",
        ),
        (
            "CREATE TABLE n (v int);\nCOPY n FROM stdin;\nx\n\\.\n",
            "line 2: invalid input syntax for type integer",
        ),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = failed(restore(&bench, Dump::File(&path), 1).await);
        assert!(error.to_string().contains(expected), "{content}: {error}");
        assert!(!error.may_pass(), "{content}: {error:?}");
        assert_eq!(bench.left(), "", "{content}");
    }
    for content in [&[0x1f, 0x8b, 8, 0][..], b"\x28\xb5\x2f\xfdx", b"BZh9"] {
        std::fs::write(&path, content).unwrap();
        let error = failed(restore(&bench, Dump::File(&path), 1).await);
        assert!(error.to_string().contains("it is compressed"), "{error}");
    }
    std::fs::write(&path, b"PGDMP\x01\x0e\0 and nothing").unwrap();
    let error = failed(restore(&bench, Dump::File(&path), 1).await);
    assert!(matches!(error, BackupError::Refused { .. }), "{error:?}");
    let error = failed(restore(&bench, Dump::File(bench.state.path()), 1).await);
    assert!(matches!(error, BackupError::NoDump { .. }), "{error:?}");
    let missing = bench.state.path().join("none");
    failed(restore(&bench, Dump::File(&missing), 1).await);
    assert_eq!(bench.left(), "");
    assert_eq!(bench.sql("SELECT count(*) FROM t"), "2");
}
