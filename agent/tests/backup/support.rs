//! A Postgres in a container, a database of it for each test, and an archive over it.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use config::settings::{
    Credential, DatabaseAccess, DatabaseSettings, ForeignSessions, MigrationSettings, PgName, SecretSource,
};
use state::durable::{FileSystem, HostFiles};
use state::name::{ContainerId, StackName};
use steadfast::backup::{Archive, Ask, BackupError, Progress, Source, Store, Why};
use steadfast::clock::SystemClock;
use steadfast::database::{Place, Postgres};
use steadfast::engine::{DockerEngine, Engine as _};

pub(crate) const IMAGE: &str = "steadfast-test/postgres:15";
pub(crate) const PASSWORD: &str = "hunter2-of-the-test";
/// No call of a test takes so long.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// A server in a container, removed with its volume when dropped.
pub(crate) struct Server {
    pub(crate) container: ContainerId,
    address: Mutex<IpAddr>,
}

/// Runs `docker` and gives its standard output.
#[track_caller]
pub(crate) fn docker(arguments: &[&str]) -> String {
    let out = Command::new("docker").args(arguments).output().unwrap();
    let words = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "docker {arguments:?}: {words}");
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn address_of(container: &ContainerId) -> IpAddr {
    let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let told = docker(&["inspect", "-f", address, container.as_str()]);
    told.parse().unwrap()
}

/// Says on the terminal, past the test runner's capture, that something was not tested.
pub(crate) fn skip(why: &str) {
    std::io::stderr()
        .write_all(format!("SKIPPED backup: {why}\n").as_bytes())
        .unwrap();
}

pub(crate) fn engine() -> DockerEngine {
    let address = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    DockerEngine::new(address.parse().unwrap())
}

impl Server {
    /// The one of the tests that run at the same time.
    pub(crate) async fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        if !is_here().await {
            return None;
        }
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start("shared", &[]));
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// One of a test's own.
    pub(crate) async fn own(name: &str, settings: &[&str]) -> Option<Arc<Self>> {
        if !is_here().await {
            return None;
        }
        Some(Arc::new(Self::start(name, settings)))
    }

    fn start(name: &str, settings: &[&str]) -> Self {
        // The last one of this name may be on its way out.
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let nth = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("sf-backup-{name}-{}-{nth}", std::process::id());
        let password = format!("POSTGRES_PASSWORD={PASSWORD}");
        let mut arguments = vec![
            "run",
            "-d",
            "--name",
            &name,
            "--label",
            "io.steadfast.test=backup",
        ];
        arguments.extend(["-e", "POSTGRES_USER=app", "-e", &password, IMAGE, "postgres"]);
        arguments.extend(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        arguments.extend(settings);
        let container: ContainerId = docker(&arguments).parse().unwrap();
        let server = Self {
            address: Mutex::new(address_of(&container)),
            container,
        };
        server.until_it_answers();
        server
    }

    pub(crate) fn address(&self) -> IpAddr {
        *self.address.lock().unwrap()
    }

    /// Starts it again, on whatever address is free by then.
    pub(crate) fn start_again(&self) {
        docker(&["start", self.container.as_str()]);
        *self.address.lock().unwrap() = address_of(&self.container);
        self.until_it_answers();
    }

    /// Over TCP: while it is made, it listens on its socket alone.
    pub(crate) fn until_it_answers(&self) {
        for _ in 0..600 {
            let arguments = [
                "exec",
                self.container.as_str(),
                "pg_isready",
                "-q",
                "-h",
                "127.0.0.1",
            ];
            let asked = Command::new("docker").args(arguments).output().unwrap();
            if asked.status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("no server: {}", docker(&["logs", self.container.as_str()]));
    }

    /// Runs SQL in a database; what it says, without headers.
    #[track_caller]
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let url = format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"));
        let mut psql = Command::new("docker")
            .args([
                "exec",
                "-i",
                self.container.as_str(),
                "psql",
                "-XqAt",
                "-U",
                "app",
            ])
            .args(["-v", "ON_ERROR_STOP=1", "-d", &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        psql.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let out = psql.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{sql}: {words}");
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    /// Nothing here panics: it may run while a failed test unwinds.
    fn drop(&mut self) {
        let removed = Command::new("docker")
            .args(["rm", "-f", "-v", self.container.as_str()])
            .output();
        if !removed.is_ok_and(|out| out.status.success()) {
            writeln!(std::io::stderr(), "backup: {} is left", self.container).unwrap_or_default();
        }
    }
}

async fn is_here() -> bool {
    let engine = engine();
    let why = match engine.info().await {
        Err(error) => error.to_string(),
        Ok(_) if engine.image(IMAGE).await.unwrap().is_none() => format!("the image {IMAGE} is not here"),
        Ok(_) => return true,
    };
    skip(&why);
    false
}

/// A database of one test, and an archive in a directory of its own.
pub(crate) struct Bench {
    pub(crate) server: Arc<Server>,
    pub(crate) settings: DatabaseSettings,
    pub(crate) database: PgName,
    pub(crate) stack: StackName,
    pub(crate) postgres: Postgres,
    pub(crate) archive: Archive,
    pub(crate) state: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new(database: &str) -> Option<Self> {
        Some(Self::on(Server::shared().await?, database, Arc::new(HostFiles)))
    }

    /// On this server, with its backups on this disk.
    pub(crate) fn on(server: Arc<Server>, database: &str, files: Arc<dyn FileSystem>) -> Self {
        let quoted = database.replace('"', "\"\"");
        server.sql(
            "postgres",
            &format!("CREATE DATABASE \"{quoted}\" TEMPLATE template0"),
        );
        let state = tempfile::tempdir().unwrap();
        Self {
            archive: archive(files, state.path()),
            settings: settings("app", database),
            database: database.parse().unwrap(),
            stack: "shop".parse().unwrap(),
            postgres: Postgres::new(Duration::from_secs(5)),
            server,
            state,
        }
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            settings: &self.settings,
            address: Some(self.server.address()),
            env: &env,
        }
    }

    pub(crate) fn source(&self) -> Source<'_> {
        Source {
            stack: &self.stack,
            place: self.place(),
            container: Some(&self.server.container),
        }
    }

    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.server.sql(self.database.as_str(), sql)
    }

    /// Where its backups are.
    pub(crate) fn directory(&self) -> PathBuf {
        self.state.path().join("backups/shop")
    }

    /// What is in there.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory()).into_iter().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The databases of ours that are left beside it, and the sessions of our tools in it.
    pub(crate) fn left(&self) -> String {
        let name = self.database.as_str().replace('\'', "''");
        let sql = format!(
            "SELECT datname FROM pg_database WHERE starts_with(datname, '{name}_steadfast') UNION ALL \
             SELECT application_name FROM pg_stat_activity \
             WHERE datname = '{name}' AND application_name = 'steadfast backup'"
        );
        self.server.sql("postgres", &sql)
    }
}

pub(crate) fn archive(files: Arc<dyn FileSystem>, state: &Path) -> Archive {
    let server = Arc::new(Postgres::new(Duration::from_secs(5)));
    let clock = Arc::new(SystemClock::new().unwrap());
    Archive::new(Arc::new(engine()), server, clock, Store::new(files, state))
}

pub(crate) fn settings(user: &str, database: &str) -> DatabaseSettings {
    DatabaseSettings {
        foreign_sessions: ForeignSessions::Hold,
        backup: None,
        manual: std::collections::BTreeMap::new(),
        restore_backup: state::last_resort::RestoreBackup::Ask,
        integrity: Vec::new(),
        count_within: DatabaseSettings::COUNT_WITHIN,
        preserve: Vec::new(),
        access: DatabaseAccess::Service {
            service: "postgres".parse().unwrap(),
            port: 5432,
            user: Credential::Plain(user.parse().unwrap()),
            dbname: Some(Credential::Plain(database.parse().unwrap())),
            password: Some(SecretSource::EnvKey("POSTGRES_PASSWORD".parse().unwrap())),
        },
        migrations: MigrationSettings::default(),
    }
}

pub(crate) fn env(key: &str) -> Option<String> {
    (key == "POSTGRES_PASSWORD").then(|| PASSWORD.to_owned())
}

pub(crate) fn ask(operation: u64) -> Ask {
    Ask {
        operation,
        why: Why::Deploy,
        copy: None,
        within: LONG,
    }
}

pub(crate) fn quiet(_: Progress) {}

/// The error of a call that has to fail; it holds no secret.
#[track_caller]
pub(crate) fn failed<T>(done: Result<T, BackupError>) -> BackupError {
    let Err(error) = done else { panic!("it was done") };
    let said = format!("{error} {error:?}");
    assert!(!said.contains(PASSWORD) && !said.contains("wrong-pass"), "{said}");
    error
}

/// What an application of some age has: odd names, an extension, large objects, several owners, rights.
pub(crate) const SHOP: &str = "
    CREATE SCHEMA \"odd \"\"one\";
    CREATE EXTENSION pgcrypto;
    CREATE TYPE mood AS ENUM ('sad', 'glad');
    CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        t text NOT NULL DEFAULT 'x', mood mood, ratio double precision, seen timestamptz,
        CHECK (t IN ('x', 'y') OR t LIKE 'name%'));
    CREATE TABLE \"odd \"\"one\".\"Orders\" (id serial PRIMARY KEY,
        customer bigint REFERENCES customers ON DELETE CASCADE, note text, CHECK (note <> ''));
    CREATE TABLE parted (at date NOT NULL, v int) PARTITION BY RANGE (at);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
    CREATE TABLE parted_2 PARTITION OF parted DEFAULT;
    CREATE INDEX orders_note ON \"odd \"\"one\".\"Orders\" (lower(note));
    CREATE VIEW glad AS SELECT * FROM customers WHERE mood = 'glad';
    CREATE MATERIALIZED VIEW sums AS SELECT customer, count(*) FROM \"odd \"\"one\".\"Orders\" GROUP BY 1;
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('a1'), ('b2');
    INSERT INTO customers (t, mood, ratio, seen)
        SELECT 'name ' || i, 'glad', i / 7.0, 'epoch'::timestamptz + i * interval '1 day'
        FROM generate_series(1, 500) i;
    INSERT INTO \"odd \"\"one\".\"Orders\" (customer, note) SELECT i % 500 + 1, E'note\\\\ \\n' || i
        FROM generate_series(1, 2000) i;
    INSERT INTO parted SELECT date '2026-06-01' + i, i FROM generate_series(1, 100) i;
    REFRESH MATERIALIZED VIEW sums;
    SELECT lo_from_bytea(0, convert_to('one large object', 'UTF8'));
    SELECT lo_from_bytea(0, decode(repeat('00ff5c', 100000), 'hex'));";
