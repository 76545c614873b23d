//! Rows that a way back takes out of the database: read out of its copy, and put back where they have a place again.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;

use config::settings::PreserveSettings;
use state::durable::HostFiles;
use state::taken_back::{Loss, PutIn, Saved, TakenBack};
use state::time::Moment;
use steadfast::database::{Maintenance as _, Postgres, copy_name};
use steadfast::rows::{Keeper, Rows as _, Taken, When};

use super::support::{Bench, LONG};

const OF: u64 = 7;

struct Rows {
    bench: Bench,
    keeper: Keeper,
}

impl Rows {
    async fn new(database: &str, sql: &str) -> Option<Self> {
        let bench = Bench::new(database).await?;
        bench.sql("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('b2')");
        bench.sql(sql);
        let server = Arc::new(Postgres::new(LONG));
        let keeper = Keeper::new(server, Arc::new(HostFiles), bench.state.path());
        Some(Self { bench, keeper })
    }

    /// Copies the database, as an operation does, and takes its schema back.
    async fn take_back(&self, sql: &str) {
        let (bench, copy) = (&self.bench, copy_name(&self.bench.database, OF));
        bench.postgres.close(bench.place(), LONG).await.unwrap();
        bench.postgres.copy(bench.place(), &copy, OF, LONG).await.unwrap();
        bench.postgres.open(bench.place(), LONG).await.unwrap();
        bench.sql(sql);
    }

    fn taken(&self) -> Taken<'_> {
        Taken {
            stack: &self.bench.stack,
            place: self.bench.place(),
            of: OF,
        }
    }

    async fn save(&self, losses: Vec<Loss>, own: &[(&str, &str)]) -> Saved {
        let at = |head: &str| serde_json::from_value(serde_json::json!({ "at": [head] }));
        let what = TakenBack {
            at: Moment {
                wall_ms: 0,
                boot_ms: 0,
                boot_id: "b".into(),
            },
            from: at("b2").unwrap(),
            to: at("a1").unwrap(),
            revisions: vec!["b2".parse().unwrap()],
            losses: [("b2".parse().unwrap(), losses)].into(),
            saved: None,
            put_in: None,
        };
        let own: Vec<PreserveSettings> = own
            .iter()
            .map(|(name, query)| PreserveSettings {
                name: name.parse().unwrap(),
                query: (*query).to_owned(),
            })
            .collect();
        let saved = self.keeper.save(self.taken(), &what, &own, LONG).await.unwrap();
        // Once more finds the same.
        assert_eq!(
            self.keeper.save(self.taken(), &what, &own, LONG).await.unwrap(),
            saved
        );
        let closed = format!(
            "SELECT datallowconn FROM pg_database WHERE datname = '{}'",
            copy_name(&self.bench.database, OF)
        );
        assert_ne!(
            self.bench.server.sql("postgres", &closed),
            "t",
            "the copy is open"
        );
        saved
    }

    async fn put_in(&self, fresh: bool) -> PutIn {
        self.put_in_again(None, When { fresh, last: true }).await
    }

    async fn put_in_again(&self, before: Option<&PutIn>, when: When) -> PutIn {
        self.keeper
            .put_in(self.taken(), before, when, LONG)
            .await
            .unwrap()
    }

    /// What a file of it says.
    fn file(&self, name: &str) -> String {
        let path = self.bench.state.path().join("rows/shop/7").join(name);
        let mut text = String::new();
        flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        text
    }
}

/// Rows put back, skipped, in conflict.
fn counts(put_in: &PutIn) -> (u64, u64, u64) {
    (put_in.restored, put_in.skipped, put_in.conflicting)
}

const BACKTESTS: &str = "CREATE TABLE backtests (id int PRIMARY KEY, name text, interval text NOT NULL DEFAULT '1h', note jsonb); \
    INSERT INTO backtests VALUES (1, 'a', '5m', '{\"x\": 1}'), (2, 'b', '1h', NULL), (3, 'c, \"quoted\"', E'two\\nlines', '[1]'), (4, 'd', '', NULL)";

#[tokio::test]
async fn a_column_is_kept_and_gets_its_values_back_where_nobody_wrote() {
    let Some(rows) = Rows::new("column", BACKTESTS).await else {
        return;
    };
    let sum = "SELECT md5(string_agg(id || name, ',' ORDER BY id)) FROM backtests WHERE id < 5";
    let before = rows.bench.sql(sum);
    rows.take_back("ALTER TABLE backtests DROP COLUMN interval, DROP COLUMN note")
        .await;
    let saved = rows.save(Vec::new(), &[]).await;
    assert_eq!(
        saved.lines,
        [
            "interval of backtests: 4 rows kept",
            "note of backtests: 2 rows kept"
        ]
    );
    let seen = saved.seen.unwrap();
    let counted = [seen.before, seen.after].map(|look| look.unwrap().rows.unwrap());
    assert!(
        counted.iter().all(|rows| rows.tables["public.backtests"] == 4),
        "{counted:?}"
    );
    assert_eq!(
        rows.file("0.csv.gz"),
        "id,interval\n1,5m\n2,1h\n3,\"two\nlines\"\n4,\"\"\n"
    );
    assert_eq!(rows.file("1.csv.gz"), "id,note\n1,\"{\"\"x\"\": 1}\"\n3,[1]\n");
    // The old release goes on: a row goes, one comes.
    rows.bench
        .sql("DELETE FROM backtests WHERE id = 2; INSERT INTO backtests VALUES (5, 'new')");
    rows.bench
        .sql("ALTER TABLE backtests ADD COLUMN interval text NOT NULL DEFAULT '1h', ADD COLUMN note jsonb");
    rows.bench
        .sql("UPDATE backtests SET interval = '1d' WHERE id = 3");
    let put_in = rows.put_in(false).await;
    assert_eq!(counts(&put_in), (4, 1, 1), "{put_in:?}");
    let values = "SELECT id, interval, note FROM backtests ORDER BY id";
    let now = "1|5m|{\"x\": 1}\n3|1d|[1]\n4||\n5|1h|";
    assert_eq!(rows.bench.sql(values), now);
    // Again nothing happens: what is there is no conflict with itself.
    let again = rows.put_in(false).await;
    assert_eq!(counts(&again), (0, 1, 1), "{again:?}");
    assert_eq!(rows.bench.sql(values), now);
    rows.bench.sql("INSERT INTO backtests VALUES (2, 'b')");
    assert_eq!(rows.bench.sql(sum), before);
    // What is kept of others goes, this stays.
    rows.keeper
        .keep_only(&rows.bench.stack, &BTreeSet::from([OF]))
        .unwrap();
    assert_eq!(rows.put_in(false).await.lines.len(), 2);
    rows.keeper
        .keep_only(&rows.bench.stack, &BTreeSet::new())
        .unwrap();
    let gone = rows.put_in(false).await;
    assert_eq!(gone.lines, ["nothing is kept of operation 7 any more"]);
}

#[tokio::test]
async fn what_the_script_itself_has_filled_in_counts_as_nothing_right_after_it() {
    let Some(rows) = Rows::new("filled", BACKTESTS).await else {
        return;
    };
    rows.take_back("ALTER TABLE backtests DROP COLUMN interval").await;
    rows.save(Vec::new(), &[]).await;
    rows.bench.sql(
        "ALTER TABLE backtests ADD COLUMN interval text; UPDATE backtests SET interval = 'unknown'; \
         ALTER TABLE backtests ALTER COLUMN interval SET NOT NULL",
    );
    // Nobody has written a row since its column became what it is.
    let untouched = rows.put_in(false).await;
    assert_eq!(counts(&untouched), (4, 0, 0), "{untouched:?}");
    rows.bench.sql("UPDATE backtests SET interval = 'mine'");
    let later = rows.put_in(false).await;
    assert_eq!(counts(&later), (0, 0, 4), "they are somebody's");
    let fresh = rows.put_in(true).await;
    assert_eq!(counts(&fresh), (4, 0, 0), "{fresh:?}");
}

#[tokio::test]
async fn tables_come_back_in_an_order_that_fits_with_their_numbers_going_on() {
    let sql = "CREATE TABLE a_runs (id serial PRIMARY KEY, suite int); \
        CREATE TABLE suites (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, upper text GENERATED ALWAYS AS (upper(name)) STORED); \
        ALTER TABLE a_runs ADD FOREIGN KEY (suite) REFERENCES suites; \
        CREATE TABLE notes (text text); CREATE TABLE empty (id int); \
        INSERT INTO suites (name) SELECT 's' || n FROM generate_series(1, 300) n; \
        INSERT INTO a_runs (suite) SELECT id FROM suites; INSERT INTO notes VALUES ('one'), ('one')";
    let Some(rows) = Rows::new("tables", sql).await else {
        return;
    };
    rows.take_back("DROP TABLE a_runs, suites, notes, empty").await;
    let saved = rows.save(Vec::new(), &[]).await;
    assert_eq!(
        saved.lines,
        [
            "a_runs: 300 rows kept",
            "empty: 0 rows kept",
            "notes: 2 rows kept",
            "suites: 300 rows kept"
        ]
    );
    let without = rows.put_in(true).await;
    assert_eq!(counts(&without), (0, 602, 0), "{without:?}");
    rows.bench.sql("CREATE TABLE suites (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, upper text GENERATED ALWAYS AS (upper(name)) STORED); \
        CREATE TABLE a_runs (id serial PRIMARY KEY, suite int REFERENCES suites); CREATE TABLE notes (text text)");
    let put_in = rows.put_in(true).await;
    assert_eq!(counts(&put_in), (602, 0, 0), "{put_in:?}");
    rows.bench
        .sql("INSERT INTO suites (name) VALUES ('next'); INSERT INTO a_runs (suite) VALUES (301)");
    assert_eq!(rows.bench.sql("SELECT max(id), count(*) FROM a_runs"), "301|301");
    assert_eq!(rows.bench.sql("SELECT upper FROM suites WHERE id = 17"), "S17");
    // Rows that nothing tells apart are put where there are none, once.
    let again = rows.put_in(true).await;
    assert_eq!(counts(&again), (0, 2, 0), "{again:?}");
}

#[tokio::test]
async fn what_has_no_place_yet_waits_and_what_had_is_not_touched_again() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'x', 'y'); CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)";
    let Some(rows) = Rows::new("waits", sql).await else {
        return;
    };
    rows.take_back("ALTER TABLE t DROP COLUMN a; DROP TABLE u").await;
    rows.save(Vec::new(), &[]).await;
    rows.bench.sql("ALTER TABLE t ADD COLUMN a text");
    let when = |last| When { fresh: true, last };
    let some = rows.put_in_again(None, when(false)).await;
    assert_eq!(
        (counts(&some), some.waiting.as_slice()),
        ((1, 0, 0), [String::from("1.csv.gz")].as_slice())
    );
    // By then they are somebody's, all of them the same.
    rows.bench
        .sql("UPDATE t SET a = 'mine'; CREATE TABLE u (id int PRIMARY KEY)");
    let all = rows.put_in_again(Some(&some), when(true)).await;
    assert_eq!(
        (counts(&all), all.waiting.len(), all.lines.len()),
        ((2, 0, 0), 0, 2),
        "{all:?}"
    );
    assert_eq!(
        rows.bench.sql("SELECT a, (SELECT count(*) FROM u) FROM t"),
        "mine|1"
    );
}

/// Rows that go with others, and a partition: no script says so.
#[tokio::test]
async fn what_goes_without_a_word_is_said() {
    let sql = "CREATE TABLE users (id int PRIMARY KEY); \
        CREATE TABLE orders (id int PRIMARY KEY, owner int REFERENCES users ON DELETE CASCADE); \
        CREATE TABLE parts (at int) PARTITION BY RANGE (at); \
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10); \
        CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20); \
        CREATE TABLE all_of_it (at int) PARTITION BY RANGE (at); \
        CREATE TABLE all_1 PARTITION OF all_of_it FOR VALUES FROM (0) TO (10); \
        INSERT INTO all_of_it VALUES (1), (2); INSERT INTO parts VALUES (1), (2), (11); \
        INSERT INTO users SELECT generate_series(1, 5); INSERT INTO orders SELECT n, n % 5 + 1 FROM generate_series(1, 20) n";
    let Some(rows) = Rows::new("wordless", sql).await else {
        return;
    };
    rows.take_back("DELETE FROM users WHERE id > 3; DROP TABLE parts_1; DROP TABLE all_of_it")
        .await;
    let table = |name: &str| Loss::Table(name.to_owned());
    let deleted = Loss::Rows {
        table: String::from("users"),
        which: Some(String::from("id > 3")),
    };
    let losses = vec![deleted, table("parts_1"), table("all_of_it"), table("never_was")];
    let saved = rows.save(losses, &[]).await;
    let rest = "the others are in the backup of the copy, where it is not the release that serves since that has removed them";
    let none = "no table of that name was compared: what it had, if anything, is in the backup of the copy";
    assert_eq!(
        saved.lines,
        [
            String::from("all_of_it: 2 rows kept"),
            String::from("deleted rows of users: 2 rows kept"),
            format!("the table parts_1: {none}"),
            format!("the table never_was: {none}"),
            format!("orders: 8 rows fewer than in the copy, and 0 kept: {rest}"),
            format!("parts: 2 rows fewer than in the copy, and 0 kept: {rest}"),
        ]
    );
}

#[tokio::test]
async fn deleted_rows_narrower_types_and_queries_of_the_operators() {
    let sql = "CREATE TABLE prices (id int PRIMARY KEY, price numeric(12, 4), kind text); \
        INSERT INTO prices VALUES (1, 1.2345, 'x'), (2, 2.5000, 'y'), (3, 3.9999, 'z')";
    let Some(rows) = Rows::new("narrow", sql).await else {
        return;
    };
    rows.take_back(
        "DELETE FROM prices WHERE kind = 'y'; ALTER TABLE prices ALTER COLUMN price TYPE numeric(12, 2)",
    )
    .await;
    let losses = vec![
        Loss::Rows {
            table: String::from("prices"),
            which: Some(String::from("kind = 'y'")),
        },
        Loss::Rows {
            table: String::from("prices"),
            which: Some(String::from("no_such = 1")),
        },
        Loss::Values {
            table: String::from("prices"),
            columns: vec![String::from("kind")],
        },
    ];
    let own = [
        (
            "sums",
            "SELECT kind, sum(price) FROM prices GROUP BY kind ORDER BY kind",
        ),
        ("wrong", "SELECT 1/0"),
    ];
    let saved = rows.save(losses, &own).await;
    assert_eq!(
        saved.lines,
        [
            "price of prices: 3 rows kept",
            "deleted rows of prices: 1 rows kept",
            "\"sums\": 3 rows kept",
            "what was in kind of prices before: it is in the copy, and in the backup of it",
            "deleted rows of prices: not kept: column \"no_such\" does not exist (42703)",
            "\"wrong\": not kept: a value does not fit, which is not shown here (22012)",
        ]
    );
    assert_eq!(rows.file("3.csv.gz"), "kind,sum\nx,1.2345\ny,2.5000\nz,3.9999\n");
    rows.bench.sql("UPDATE prices SET price = 9 WHERE id = 3");
    rows.bench
        .sql("ALTER TABLE prices ALTER COLUMN price TYPE numeric(12, 4)");
    let put_in = rows.put_in(true).await;
    // 1 is wide again, 3 was changed since, 2 comes back whole; the query is the operator's.
    assert_eq!(
        rows.bench.sql("SELECT * FROM prices ORDER BY id"),
        "1|1.2345|x\n2|2.5000|y\n3|9.0000|z"
    );
    assert_eq!(counts(&put_in), (2, 4, 1), "{put_in:?}");
}

#[tokio::test]
async fn what_cannot_be_told_apart_or_does_not_fit_is_skipped_and_said() {
    let sql = "CREATE TABLE keyless (name text, extra text); INSERT INTO keyless VALUES ('a', 'x'); \
        CREATE TABLE shaped (id int PRIMARY KEY, v text); INSERT INTO shaped VALUES (1, 'not a number'), (2, '2'); \
        CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.stamped = NEW.stamped + 1; RETURN NEW; END'; \
        CREATE TABLE stamped (id int PRIMARY KEY, stamped int DEFAULT 0, c text); INSERT INTO stamped VALUES (1, 0, 'kept'); \
        CREATE TRIGGER stamp BEFORE UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION stamp()";
    let Some(rows) = Rows::new("skipped", sql).await else {
        return;
    };
    rows.take_back("ALTER TABLE keyless DROP COLUMN extra; ALTER TABLE shaped DROP COLUMN v; ALTER TABLE stamped DROP COLUMN c")
        .await;
    let saved = rows.save(Vec::new(), &[]).await;
    assert_eq!(saved.rows, 4);
    rows.bench.sql("ALTER TABLE keyless ADD COLUMN extra text; ALTER TABLE shaped ADD COLUMN v int; ALTER TABLE stamped ADD COLUMN c text");
    let put_in = rows.put_in(true).await;
    assert_eq!(
        put_in.lines,
        [
            "extra of keyless: 0 of 1 rows put back, 1 skipped (the table has no key: nobody can tell its rows apart)",
            "v of shaped: 0 of 2 rows put back, 2 skipped (a value does not fit, 22P02)",
            "c of stamped: 1 of 1 rows put back",
        ]
    );
    // Its trigger has not changed the row meanwhile.
    assert_eq!(rows.bench.sql("SELECT * FROM stamped"), "1|0|kept");
    // A file that is not what was written is not used.
    let file = rows.bench.state.path().join("rows/shop/7/2.csv.gz");
    std::fs::write(&file, b"something else").unwrap();
    let damaged = rows.put_in(true).await;
    assert!(
        damaged
            .lines
            .iter()
            .any(|line| line.contains("is not what was written")),
        "{damaged:?}"
    );
}

#[tokio::test]
async fn one_row_that_does_not_fit_spoils_no_other_and_numbers_go_on() {
    let sql = "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p); \
        INSERT INTO p VALUES (1), (2); INSERT INTO c VALUES (1, 1), (2, 2)";
    let Some(rows) = Rows::new("misfit", sql).await else {
        return;
    };
    rows.take_back("DROP TABLE c; DELETE FROM p WHERE id = 2").await;
    rows.save(Vec::new(), &[]).await;
    // A trigger that finds what it names only where its author would, and a sequence that belongs to nobody.
    rows.bench.sql(
        "CREATE SEQUENCE numbers; CREATE TABLE c (id int PRIMARY KEY DEFAULT nextval('numbers'), p int REFERENCES p); \
         CREATE TABLE audit (at timestamptz); CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN INSERT INTO audit VALUES (now()); RETURN NEW; END'; \
         CREATE TRIGGER audit AFTER INSERT ON c FOR EACH ROW EXECUTE FUNCTION audit()",
    );
    let put_in = rows.put_in(true).await;
    assert_eq!(counts(&put_in), (1, 1, 0), "{put_in:?}");
    assert!(put_in.waiting.is_empty());
    rows.bench.sql("INSERT INTO c (p) VALUES (1)");
    assert_eq!(
        rows.bench
            .sql("SELECT count(*), max(id), (SELECT count(*) FROM audit) FROM c"),
        "2|2|1"
    );
}

#[tokio::test]
async fn who_is_in_the_way_is_waited_for_and_the_rest_is_done() {
    let sql = "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text); \
        INSERT INTO a VALUES (1, 'x'); INSERT INTO b VALUES (1, 'y')";
    let Some(rows) = Rows::new("busy", sql).await else {
        return;
    };
    rows.take_back("ALTER TABLE a DROP COLUMN v; ALTER TABLE b DROP COLUMN v")
        .await;
    rows.save(Vec::new(), &[]).await;
    rows.bench
        .sql("ALTER TABLE a ADD COLUMN v text; ALTER TABLE b ADD COLUMN v text");
    let server = rows.bench.server.clone();
    let holder = std::thread::spawn(move || {
        server.sql(
            "busy",
            "BEGIN; LOCK TABLE b IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(12); COMMIT",
        );
    });
    let held =
        "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'b'::regclass";
    while rows.bench.sql(held) != "1" {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let some = rows.put_in(true).await;
    assert_eq!(
        (counts(&some), some.waiting.as_slice()),
        ((1, 0, 0), [String::from("1.csv.gz")].as_slice()),
        "{some:?}"
    );
    tokio::task::spawn_blocking(move || holder.join().unwrap())
        .await
        .unwrap();
    let when = When {
        fresh: false,
        last: true,
    };
    let all = rows.put_in_again(Some(&some), when).await;
    assert_eq!(
        (counts(&all), all.waiting.len(), all.lines.len()),
        ((2, 0, 0), 0, 2),
        "{all:?}"
    );
}

#[tokio::test]
async fn where_the_copy_is_gone_that_is_said_and_nothing_waits() {
    let Some(rows) = Rows::new("gone", BACKTESTS).await else {
        return;
    };
    let saved = rows.save(Vec::new(), &[]).await;
    assert_eq!(saved.rows, 0);
    assert_eq!(
        saved.lines,
        ["the copy gone_steadfast_7 is gone: nothing could be kept of it"]
    );
}
