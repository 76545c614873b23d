//! Whatever cuts a backup short, nothing half-done is left, and it is said whether trying again may help.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use state::durable::{FileSystem, HostFiles, NewFile};
use state::files::FileOwner;
use steadfast::backup::{BackupError, Backups as _, Dump, How, Source};
use steadfast::database::{DatabaseError, Maintenance as _, Place};
use tokio::time::timeout;

use super::support::{Bench, LONG, PASSWORD, Server, archive, ask, docker, env, failed, quiet, settings};

const ROWS: &str = "CREATE TABLE first (v text); INSERT INTO first SELECT repeat(md5(i::text), 50) \
     FROM generate_series(1, 20000) i; CREATE TABLE last (v int)";

/// Waits until `sql` says `expected`.
#[track_caller]
fn until(server: &Server, sql: &str, expected: &str) {
    for _ in 0..300 {
        if server.sql("postgres", sql) == expected {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{sql}: {}", server.sql("postgres", sql));
}

fn dumps(database: &str, wait: &str) -> String {
    format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' \
         AND application_name = 'steadfast backup' {wait}"
    )
}

/// Holds what a dump needs until it is dropped.
struct Holder<'a>(&'a Bench, std::process::Child);

impl<'a> Holder<'a> {
    fn of(bench: &'a Bench) -> Self {
        let lock = "BEGIN; LOCK last; SELECT pg_sleep(100)";
        let child = std::process::Command::new("docker")
            .args([
                "exec",
                bench.server.container.as_str(),
                "psql",
                "-XqAt",
                "-U",
                "app",
            ])
            .args(["-d", bench.database.as_str(), "-c", lock])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let held = format!(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
             WHERE datname = '{}' AND mode = 'AccessExclusiveLock' AND granted",
            bench.database
        );
        until(&bench.server, &held, "1");
        Self(bench, child)
    }

    /// The session ends; the process in the container with it.
    fn let_go(mut self) {
        self.0.server.sql(
            "postgres",
            &format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' \
                 AND query LIKE 'BEGIN; LOCK%'",
                self.0.database
            ),
        );
        self.1.wait().unwrap();
    }
}

#[tokio::test]
async fn a_dump_that_loses_its_server_leaves_nothing() {
    let Some(server) = Server::own("killed", &[]).await else {
        return;
    };
    let bench = Bench::on(server.clone(), "killed", Arc::new(HostFiles));
    bench.sql(ROWS);
    let waits = dumps("killed", "AND wait_event_type = 'Lock'");
    for by in ["pg_terminate_backend", "docker"] {
        let holder = Holder::of(&bench);
        let (its, waits) = (server.clone(), waits.clone());
        let killer = std::thread::spawn(move || {
            until(&its, &waits, "1");
            if by == "docker" {
                docker(&["kill", its.container.as_str()]);
            } else {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE application_name = 'steadfast backup'";
                its.sql("postgres", end);
            }
        });
        let done = bench.archive.make(bench.source(), &ask(1), &quiet).await;
        killer.join().unwrap();
        let error = failed(done);
        assert!(error.may_pass(), "{by}: {error:?}");
        assert_eq!(bench.files(), Vec::<String>::new(), "{by}");
        if by == "docker" {
            drop(holder);
        } else {
            holder.let_go();
        }
    }
    // A container that does not run.
    let error = failed(bench.archive.make(bench.source(), &ask(1), &quiet).await);
    assert!(error.may_pass(), "{error:?}");
    server.start_again();
    let made = bench.archive.make(bench.source(), &ask(1), &quiet).await.unwrap();
    assert_eq!(made.rows(), 20_000);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cleaned_up_after() {
    let Some(bench) = Bench::new("dropped").await else {
        return;
    };
    bench.sql(ROWS);
    let holder = Holder::of(&bench);
    let waits = dumps("dropped", "AND wait_event_type = 'Lock'");
    let asked = ask(1);
    let (server, waited) = (bench.server.clone(), waits.clone());
    tokio::select! {
        made = bench.archive.make(bench.source(), &asked, &quiet) => panic!("it has ended: {made:?}"),
        waited = tokio::task::spawn_blocking(move || until(&server, &waited, "1")) => waited.unwrap(),
    }
    // Whoever sees the processes of the host sees no secret.
    let processes = docker(&["exec", bench.server.container.as_str(), "ps", "-eo", "args"]);
    assert!(processes.contains("pg_dump --format=custom"), "{processes}");
    assert!(!processes.contains(PASSWORD));
    bench.archive.clean(bench.source(), LONG).await.unwrap();
    until(&bench.server, &dumps("dropped", ""), "0");
    assert_eq!(bench.files(), Vec::<String>::new());
    holder.let_go();
    bench.archive.make(bench.source(), &asked, &quiet).await.unwrap();
}

#[tokio::test]
async fn dropped_at_any_instant_it_is_done_by_the_next_call() {
    let Some(bench) = Bench::new("anytime").await else {
        return;
    };
    bench.sql(ROWS);
    let (archive, source) = (&bench.archive, bench.source());
    for (operation, millis) in (1..).zip([2, 30, 90, 170, 300]) {
        let soon = Duration::from_millis(millis);
        let asked = ask(operation);
        let making = archive.make(source, &asked, &quiet);
        let _ = timeout(soon, making).await;
        for found in archive.list(&bench.stack).unwrap().backups {
            assert_eq!(found.rows(), 20_000);
        }
        let made = archive.make(source, &asked, &quiet).await.unwrap();
        let verify = || archive.verify(source, &made.id, How::Restored, &quiet, LONG);
        let _ = timeout(soon * 2, verify()).await;
        assert_eq!(verify().await.unwrap().rows, Some(20_000));
        let restore = || archive.restore_into(source, Dump::Backup(&made.id), operation, &quiet, LONG);
        let _ = timeout(soon * 3, restore()).await;
        let restored = restore().await.unwrap();
        assert_eq!(restored.rows, 20_000);
        let dropped = bench
            .postgres
            .drop_copy(bench.place(), &restored.database, LONG)
            .await;
        dropped.unwrap();
        archive.clean(source, LONG).await.unwrap();
        assert_eq!(bench.left(), "", "after {millis} ms");
        let listing = archive.list(&bench.stack).unwrap();
        assert_eq!(
            (listing.backups.len() as u64, listing.damaged.len()),
            (operation, 0)
        );
        assert_eq!(bench.files().len() as u64, 2 * operation, "{:?}", bench.files());
    }
}

#[tokio::test]
async fn what_takes_too_long_is_ended() {
    let Some(bench) = Bench::new("late").await else {
        return;
    };
    bench.sql(ROWS);
    let holder = Holder::of(&bench);
    let mut asked = ask(1);
    asked.within = Duration::from_secs(2);
    let error = failed(bench.archive.make(bench.source(), &asked, &quiet).await);
    assert!(error.may_pass(), "{error:?}");
    assert_eq!(bench.files(), Vec::<String>::new());
    until(&bench.server, &dumps("late", ""), "0");
    holder.let_go();
}

#[tokio::test]
async fn what_the_server_refuses_is_told_apart() {
    let Some(bench) = Bench::new("refused").await else {
        return;
    };
    bench.server.sql(
        "postgres",
        &format!("CREATE ROLE refused_plain LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 0"),
    );
    bench.sql("CREATE TABLE theirs (v int); GRANT SELECT ON theirs TO refused_plain");
    let wrong = |key: &str| env(key).map(|value| value.replace(PASSWORD, "wrong-pass"));
    let source = Source {
        place: Place {
            env: &wrong,
            ..bench.place()
        },
        ..bench.source()
    };
    let error = failed(bench.archive.make(source, &ask(1), &quiet).await);
    assert_eq!(
        error.to_string(),
        "password authentication failed for user \"app\" (28P01)"
    );
    assert!(!error.may_pass());

    let plain = settings("refused_plain", "refused");
    let source = Source {
        place: Place {
            settings: &plain,
            ..bench.place()
        },
        ..bench.source()
    };
    let make = async || failed(bench.archive.make(source, &ask(1), &quiet).await);
    // No connection is free, for nobody or for the second.
    let error = make().await;
    assert!(
        matches!(error, BackupError::Database(DatabaseError::Unknown(_))),
        "{error:?}"
    );
    bench
        .server
        .sql("postgres", "ALTER ROLE refused_plain CONNECTION LIMIT 1");
    let error = make().await;
    assert!(matches!(error, BackupError::Broken { .. }), "{error:?}");
    assert!(
        error.may_pass() && error.to_string().contains("too many connections"),
        "{error}"
    );
    bench
        .server
        .sql("postgres", "ALTER ROLE refused_plain CONNECTION LIMIT -1");
    bench.sql("CREATE TABLE secret (v int)");
    let error = make().await;
    assert!(
        error.to_string().contains("permission denied for table secret"),
        "{error}"
    );
    assert!(!error.may_pass());
    assert_eq!(bench.files(), Vec::<String>::new());
}

/// A disk that has so much room.
#[derive(Debug)]
struct Small {
    free: u64,
    takes: u64,
}

struct Opened<'a> {
    file: Box<dyn NewFile + 'a>,
    takes: u64,
}

impl NewFile for Opened<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(left) = self.takes.checked_sub(bytes.len() as u64) else {
            return Err(io::ErrorKind::StorageFull.into());
        };
        self.takes = left;
        self.file.write(bytes)
    }

    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }

    fn take_after(&mut self, other: &Path) -> io::Result<()> {
        self.file.take_after(other)
    }

    fn give_to(&mut self, owner: &FileOwner) -> io::Result<()> {
        self.file.give_to(owner)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

impl FileSystem for Small {
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        let file = HostFiles.create(path)?;
        let takes = self.takes;
        Ok(Box::new(Opened { file, takes }))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        HostFiles.sync(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        HostFiles.sync_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        HostFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        HostFiles.remove(path)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        HostFiles.make_dir(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        HostFiles.is_dir(path)
    }

    fn keep_private(&self, dir: &Path) -> io::Result<()> {
        HostFiles.keep_private(dir)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        HostFiles.read(path)
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        HostFiles.names(dir)
    }

    fn allocated(&self, path: &Path) -> io::Result<u64> {
        HostFiles.allocated(path)
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(self.free)
    }
}

#[tokio::test]
async fn a_disk_that_is_full_is_said_before_and_in_the_middle() {
    let Some(bench) = Bench::new("full").await else {
        return;
    };
    bench.sql(ROWS);
    let make = async |free: u64, takes: u64| {
        let archive = archive(Arc::new(Small { free, takes }), bench.state.path());
        let made = archive.make(bench.source(), &ask(1), &quiet).await;
        assert_eq!(bench.files().len(), if made.is_ok() { 2 } else { 0 });
        made
    };
    let error = failed(make(256 << 20, u64::MAX).await);
    assert!(matches!(error, BackupError::NoRoom { .. }), "{error:?}");
    let said = error.to_string();
    assert!(
        said.starts_with("the backup needs about ") && said.ends_with(": 256 MiB are free there"),
        "{said}"
    );
    // In the dump, and in the manifest, which is written after it.
    for takes in [0, 100_000] {
        let error = failed(make(1 << 40, takes).await);
        assert!(matches!(error, BackupError::Full { .. }), "{error:?}");
        assert!(!error.may_pass());
    }
    until(&bench.server, &dumps("full", ""), "0");
    make(1 << 40, u64::MAX).await.unwrap();
}
