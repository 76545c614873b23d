//! A real Postgres, shared by the tests that run at the same time, and a database of it for each.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use config::settings::{
    Credential, DatabaseAccess, DatabaseSettings, ForeignSessions, MigrationSettings, PgName, SecretSource,
};

use super::super::link::{Link, quoted};
use super::super::{Checksum, DatabaseError, Maintenance as _, Place, Postgres, SchemaHead};

pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(super) const PASSWORD: &str = "hunter2-of-the-test";

/// No call of a test takes so long.
pub(super) const LONG: Duration = Duration::from_secs(90);

/// A server of the tests that run at the same time; it ends with the last of them.
pub(super) struct Server {
    bin: PathBuf,
    data: PathBuf,
    pub(super) port: u16,
    _directory: tempfile::TempDir,
}

impl Server {
    fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// `None`, and said so, where Debian's Postgres is not installed.
    fn start() -> Option<Self> {
        let versions = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten();
        let bin = versions
            .map(|version| version.path().join("bin"))
            .find(|bin| bin.join("initdb").exists());
        let Some(bin) = bin else {
            eprintln!("SKIPPED: no Postgres on this host");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        // Postgres refuses to run as root.
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let id = |flag| {
                let said = Command::new("id")
                    .args([flag, "postgres"])
                    .output()
                    .unwrap()
                    .stdout;
                String::from_utf8(said).unwrap().trim().parse().unwrap()
            };
            chown(directory.path(), Some(id("-u")), Some(id("-g"))).unwrap();
        }
        let port = std::net::TcpListener::bind((LOCAL, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let data = directory.path().join("data");
        let server = Self {
            bin,
            data,
            port,
            _directory: directory,
        };
        let secret = server.data.with_extension("password");
        fs::write(&secret, PASSWORD).unwrap();
        let pwfile = format!("--pwfile={}", secret.display());
        let arguments = [
            "--username=app",
            "--auth=scram-sha-256",
            "--no-sync",
            &pwfile,
            "-D",
        ];
        server.run("initdb", &arguments, &[]);
        let options = format!(
            "-F -h 127.0.0.1 -p {port} -k {} -c wal_level=logical -c max_prepared_transactions=5",
            server.data.display()
        );
        server.run("pg_ctl", &["-w", "-s", "-o", &options, "start", "-D"], &[]);
        Some(server)
    }

    /// Runs a tool of Postgres on this server's data, as the user that may.
    fn run(&self, tool: &str, arguments: &[&str], after: &[&str]) -> Output {
        let tool = self.bin.join(tool);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"])
                .arg(tool);
            command
        } else {
            Command::new(tool)
        };
        command.args(arguments);
        if arguments.last() == Some(&"-D") {
            command.arg(&self.data);
        }
        let command = command.args(after).env("PGPASSWORD", PASSWORD).current_dir("/");
        // Not a pipe: the server would keep it open.
        let log = self.data.with_extension("log");
        let out = fs::File::create(&log).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", fs::read_to_string(&log).unwrap());
        output
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-s", "-m", "immediate", "stop", "-D"], &[]);
    }
}

pub(super) fn settings(port: u16, user: &str, database: &str) -> DatabaseSettings {
    DatabaseSettings {
        access: DatabaseAccess::Service {
            service: "postgres".parse().unwrap(),
            port,
            user: Credential::Plain(user.parse().unwrap()),
            dbname: Some(Credential::Plain(database.parse().unwrap())),
            password: Some(SecretSource::EnvKey("POSTGRES_PASSWORD".parse().unwrap())),
        },
        migrations: MigrationSettings::default(),
        foreign_sessions: ForeignSessions::Hold,
        backup: None,
        manual: std::collections::BTreeMap::new(),
        restore_backup: state::last_resort::RestoreBackup::Ask,
        integrity: Vec::new(),
        count_within: DatabaseSettings::COUNT_WITHIN,
        preserve: Vec::new(),
    }
}

pub(super) fn env(key: &str) -> Option<String> {
    (key == "POSTGRES_PASSWORD").then(|| PASSWORD.to_owned())
}

/// A database of one test, and the agent's way to it. The user is a superuser.
pub(super) struct Bench {
    pub(super) server: Arc<Server>,
    pub(super) settings: DatabaseSettings,
    pub(super) name: PgName,
    pub(super) postgres: Postgres,
}

impl Bench {
    /// `None` where this host has no Postgres. The name is this test's alone.
    pub(super) async fn new(name: &str) -> Option<Self> {
        let server = Server::shared()?;
        let bench = Self {
            settings: settings(server.port, "app", name),
            name: name.parse().unwrap(),
            postgres: Postgres::new(Duration::from_secs(2)),
            server,
        };
        bench
            .admin(&format!("CREATE DATABASE {} TEMPLATE template0", quoted(name)))
            .await;
        Some(bench)
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place {
            settings: &self.settings,
            address: Some(LOCAL),
            env: &env,
        }
    }

    /// The same server, as somebody else, or for another database.
    pub(super) fn other(&self, user: &str, database: &str) -> Self {
        Self {
            server: self.server.clone(),
            settings: settings(self.server.port, user, database),
            name: database.parse().unwrap(),
            postgres: self.postgres.clone(),
        }
    }

    /// Somebody's connection to the database.
    pub(super) async fn connect(&self, application: &str) -> Result<Link, DatabaseError> {
        let mut login = self.place().login()?;
        login.config.application_name(application);
        Link::to(&login, LONG).await
    }

    /// Asked in the database itself, as the bench's user.
    pub(super) async fn value(&self, sql: &str) -> Option<String> {
        let link = self.connect("test").await.unwrap();
        let value = link.value(sql).await.unwrap();
        self.leave(link).await;
        value
    }

    pub(super) async fn sql(&self, sql: &str) {
        let link = self.connect("test").await.unwrap();
        link.run(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        self.leave(link).await;
    }

    /// Not before the server has seen it go.
    async fn leave(&self, link: Link) {
        let pid = link.value("SELECT pg_backend_pid()").await.unwrap().unwrap();
        link.end().await;
        let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
        while self.admin_value(&gone).await.as_deref() != Some("0") {}
    }

    /// Done beside the database.
    pub(super) async fn admin(&self, sql: &str) {
        self.admin_value(sql).await;
    }

    pub(super) async fn admin_value(&self, sql: &str) -> Option<String> {
        let login = self.other("app", "postgres").place().login().unwrap();
        let link = Link::to(&login, LONG).await.unwrap();
        let value = link
            .value(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        link.end().await;
        value
    }

    /// What identifies a database, whatever its name is.
    pub(super) async fn oid(&self, name: &str) -> Option<String> {
        self.admin_value(&format!("SELECT oid FROM pg_database WHERE datname = '{name}'"))
            .await
    }

    pub(super) async fn close(&self) {
        self.postgres.close(self.place(), LONG).await.unwrap();
    }

    pub(super) async fn open(&self) {
        self.postgres.open(self.place(), LONG).await.unwrap();
    }

    /// Schema and rows.
    pub(super) async fn content(&self) -> (String, Vec<(String, Checksum)>) {
        let digest = self.postgres.fingerprint(self.place(), LONG).await.unwrap();
        let sums = self.postgres.checksums(self.place(), LONG).await.unwrap();
        (digest.as_str().to_owned(), sums.into_iter().collect())
    }
}

/// What an application of some age has.
pub(super) const SHOP: &str = "
    CREATE SCHEMA \"odd \"\"one\";
    CREATE TYPE mood AS ENUM ('sad', 'glad');
    CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        t text NOT NULL DEFAULT 'x', mood mood, ratio double precision, seen timestamptz);
    CREATE TABLE \"odd \"\"one\".\"Orders\" (id serial PRIMARY KEY,
        customer bigint REFERENCES customers ON DELETE CASCADE, note text, CHECK (note <> ''));
    CREATE INDEX orders_note ON \"odd \"\"one\".\"Orders\" (lower(note));
    CREATE VIEW glad AS SELECT * FROM customers WHERE mood = 'glad';
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('a1');
    INSERT INTO customers (t, mood, ratio, seen)
        SELECT 'name ' || i, 'glad', i / 7.0, 'epoch'::timestamptz + i * interval '1 day'
        FROM generate_series(1, 500) i;
    INSERT INTO \"odd \"\"one\".\"Orders\" (customer, note) SELECT i % 500 + 1, 'note ' || i
        FROM generate_series(1, 2000) i";

/// The error of a call that has to fail; it holds no secret.
#[track_caller]
pub(super) fn failed<T>(done: Result<T, DatabaseError>) -> DatabaseError {
    let Err(error) = done else { panic!("it was done") };
    let said = format!("{error} {error:?}");
    assert!(!said.contains(PASSWORD) && !said.contains("wrong-pass"), "{said}");
    error
}

pub(super) fn at(heads: &[&str]) -> SchemaHead {
    SchemaHead::At(heads.iter().map(|head| head.parse().unwrap()).collect())
}
