//! From settings to a login: keys of `.env` and password files are looked up, a URL is taken apart.
//! What comes out holds secrets, and has no `Debug`.

use std::net::IpAddr;
use std::path::Path;

use config::error::with_sources;
use config::read::read_regular;
use config::settings::{Credential, DatabaseAccess, PgName, SecretSource};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::EnvLookup;

/// A password file is one short line.
const LONGEST_SECRET: u64 = 64 * 1024;

/// The options of a URL that say where and how; the others are the application's own business.
const KEPT_OPTIONS: [&str; 10] = [
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "options",
    "target_session_attrs",
    "sslnegotiation",
    "channel_binding",
];

/// How far the server's certificate is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// No TLS at all, or TLS with whoever answers: `disable`, `prefer`, `require`, as libpq means them.
    Anyone,
    /// `verify-ca`, `verify-full`: signed by one of this host's authorities, for that name.
    Verified,
}

/// All that is needed to connect.
pub(crate) struct Login {
    pub(super) config: Config,
    pub(super) trust: Trust,
    /// Never to be shown; longest first.
    secrets: Vec<String>,
}

impl Login {
    /// What `access` says, with every secret looked up; the error is for people and holds none.
    pub(super) fn new(
        access: &DatabaseAccess,
        address: Option<IpAddr>,
        env: EnvLookup<'_>,
    ) -> Result<Self, String> {
        match access {
            DatabaseAccess::Service {
                port,
                user,
                dbname,
                password,
                ..
            } => {
                let address = address.ok_or("the address of the database's container is not known")?;
                let user = credential(user, env)?;
                let dbname = dbname.as_ref().map(|name| credential(name, env)).transpose()?;
                let password = password.as_ref().map(|source| secret(source, env)).transpose()?;
                let mut config = Config::new();
                config
                    .hostaddr(address)
                    .port(*port)
                    .ssl_mode(SslMode::Disable)
                    .dbname(dbname.as_deref().unwrap_or(&user))
                    .user(user);
                if let Some(password) = &password {
                    config.password(password);
                }
                Ok(Self::made(config, Trust::Anyone, password))
            }
            DatabaseAccess::Url(source) => {
                let url = secret(source, env)?;
                let (mut config, trust) = parse_url(&url)?;
                if let ([Host::Tcp(_)], [], Some(address)) =
                    (config.get_hosts(), config.get_hostaddrs(), address)
                {
                    config.hostaddr(address);
                }
                Ok(Self::made(config, trust, Some(url)))
            }
        }
    }

    /// The same way in, to another database of the server.
    pub(super) fn of(&self, database: &PgName) -> Self {
        let mut config = self.config.clone();
        config.dbname(database.as_str());
        Self {
            config,
            trust: self.trust,
            secrets: self.secrets.clone(),
        }
    }

    fn made(mut config: Config, trust: Trust, secret: Option<String>) -> Self {
        let password = config.get_password().map(String::from_utf8_lossy);
        let mut secrets: Vec<String> = password.map(String::from).into_iter().chain(secret).collect();
        secrets.retain(|secret| !secret.is_empty());
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        config.application_name("steadfast");
        Self {
            config,
            trust,
            secrets,
        }
    }

    /// `words` without any of the secrets.
    pub(crate) fn redact(&self, words: &str) -> String {
        let hide = |words: String, secret: &String| words.replace(secret.as_str(), "…");
        self.secrets.iter().fold(words.to_owned(), hide)
    }
}

/// The one host that the URL of `source` names.
pub(super) fn url_host(source: &SecretSource, env: EnvLookup<'_>) -> Option<String> {
    let (config, _) = parse_url(&secret(source, env).ok()?).ok()?;
    match config.get_hosts() {
        [Host::Tcp(host)] if config.get_hostaddrs().is_empty() => Some(host.clone()),
        _ => None,
    }
}

/// `postgres://…`, `postgresql://…`, and both with a driver, as `SQLAlchemy` writes them
/// (`postgresql+psycopg2://…`). The error repeats nothing of it: any part may be of the password.
fn parse_url(url: &str) -> Result<(Config, Trust), String> {
    let wrong = || {
        String::from("the database URL is not understood: it is postgresql://user:password@host:port/name")
    };
    let (scheme, rest) = url.trim().split_once("://").ok_or_else(wrong)?;
    let scheme = scheme.split('+').next().unwrap_or_default();
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err(wrong());
    }
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut kept = Vec::new();
    let (mut mode, mut trust) = (SslMode::Prefer, Trust::Anyone);
    for option in query.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("sslmode" | "ssl", value)) => (mode, trust) = ssl_mode(value)?,
            Some((key, _)) if KEPT_OPTIONS.contains(&key) => kept.push(option),
            _ => {}
        }
    }
    let url = format!("postgresql://{base}?{}", kept.join("&"));
    let mut config: Config = url.parse().map_err(|_| wrong())?;
    config.ssl_mode(mode);
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(String::from("the database URL names no host"));
    }
    Ok((config, trust))
}

fn ssl_mode(value: &str) -> Result<(SslMode, Trust), String> {
    match value {
        "disable" | "false" => Ok((SslMode::Disable, Trust::Anyone)),
        "allow" | "prefer" => Ok((SslMode::Prefer, Trust::Anyone)),
        "require" | "true" => Ok((SslMode::Require, Trust::Anyone)),
        "verify-ca" | "verify-full" => Ok((SslMode::Require, Trust::Verified)),
        _ => Err(String::from("the sslmode of the database URL is not a known one")),
    }
}

fn credential(credential: &Credential, env: EnvLookup<'_>) -> Result<String, String> {
    match credential {
        Credential::Plain(name) => Ok(name.as_str().to_owned()),
        Credential::EnvKey(key) => from_env(key.as_str(), env),
    }
}

fn secret(source: &SecretSource, env: EnvLookup<'_>) -> Result<String, String> {
    match source {
        SecretSource::EnvKey(key) => from_env(key.as_str(), env),
        SecretSource::File(path) => from_file(path),
    }
}

fn from_env(key: &str, env: EnvLookup<'_>) -> Result<String, String> {
    let value = env(key).ok_or_else(|| format!("{key} is not in the stack's .env"))?;
    if value.is_empty() {
        return Err(format!("{key} is empty in the stack's .env"));
    }
    Ok(value)
}

fn from_file(path: &Path) -> Result<String, String> {
    let content = read_regular(path, LONGEST_SECRET).map_err(|error| with_sources(&error))?;
    let text = String::from_utf8(content).map_err(|_| format!("{} is not UTF-8 text", path.display()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use expect_test::{Expect, expect};

    use super::*;

    fn check(url: &str, expected: &Expect) {
        let said = match parse_url(url) {
            Err(error) => format!("error: {error}"),
            Ok((config, trust)) => {
                format!(
                    "{:?} {:?} {:?} {:?} {:?} {:?} {trust:?}",
                    config.get_hosts(),
                    config.get_ports(),
                    config.get_user(),
                    config.get_password().map(String::from_utf8_lossy),
                    config.get_dbname(),
                    config.get_ssl_mode()
                )
            }
        };
        assert!(!said.starts_with("error") || !said.contains("hunter2"), "{said}");
        expected.assert_eq(&said);
    }

    #[test]
    fn urls_of_applications_are_understood() {
        check(
            "postgresql+psycopg2://app:p%40ss@postgres:5433/shop?sslmode=require&pool_size=5",
            &expect![[r#"[Tcp("postgres")] [5433] Some("app") Some("p@ss") Some("shop") Require Anyone"#]],
        );
        check(
            "postgres://app@db/shop?sslmode=verify-full&sslrootcert=/x",
            &expect![[r#"[Tcp("db")] [5432] Some("app") None Some("shop") Require Verified"#]],
        );
        check(
            "postgresql+asyncpg://app:x@db/shop?ssl=disable",
            &expect![[r#"[Tcp("db")] [5432] Some("app") Some("x") Some("shop") Disable Anyone"#]],
        );
        check(
            "postgresql:///shop?host=/run/postgresql&user=app",
            &expect![[r#"[Unix("/run/postgresql")] [] Some("app") None Some("shop") Prefer Anyone"#]],
        );
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_repeating_it() {
        for url in [
            "hunter2",
            "mysql://app:hunter2@db/shop",
            "postgres://app:hunter2@db:port/shop",
            "host=db password=hunter2",
        ] {
            check(
                url,
                &expect![
                    "error: the database URL is not understood: it is postgresql://user:password@host:port/name"
                ],
            );
        }
        check(
            "postgres://db/shop?sslmode=hunter2",
            &expect!["error: the sslmode of the database URL is not a known one"],
        );
        check(
            "postgres:///shop",
            &expect!["error: the database URL names no host"],
        );
    }

    #[test]
    fn a_password_file_is_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        for (content, expected) in [
            ("hunter2\n", Ok("hunter2")),
            ("hunter2\r\n", Ok("hunter2")),
            (" two words\n\n", Ok(" two words\n")),
            ("\n", Err("empty")),
        ] {
            std::fs::write(&path, content).unwrap();
            match (from_file(&path), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (found, _) => panic!("{content:?}: {found:?}"),
            }
        }
        assert!(from_file(directory.path()).unwrap_err().contains("directory"));
        assert!(
            from_file(&directory.path().join("none"))
                .unwrap_err()
                .contains("does not exist")
        );
    }

    #[test]
    fn secrets_are_taken_out_of_words() {
        let url = SecretSource::EnvKey("URL".parse().unwrap());
        let env = |_: &str| Some(String::from("postgres://app:hunter2@db/shop"));
        let login = Login::new(&DatabaseAccess::Url(url.clone()), None, &env).unwrap();
        let words = login.redact("postgres://app:hunter2@db/shop: hunter2 is wrong");
        assert_eq!(words, "…: … is wrong");
        assert_eq!(url_host(&url, &env).as_deref(), Some("db"));
    }
}
