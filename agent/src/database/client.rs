//! What a tool of Postgres (`pg_dump`, `pg_restore`) is told to find the database and to get in. No secret is ever
//! for its arguments.

use std::path::Path;

use state::stack_spec::EnvValue;
use tokio_postgres::config::{Host, SslMode};

use super::login::{Login, Trust};
use super::{DatabaseError, Place};

/// Where the authorities of this host are; `system` is known to libpq from 16 on.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The login as libpq takes it.
pub(crate) struct Client(Login);

impl Place<'_> {
    /// What a tool is told. An error where a key that the settings name is missing.
    pub(crate) fn client(&self) -> Result<Client, DatabaseError> {
        self.login().map(Client)
    }
}

impl Client {
    /// The role.
    pub(crate) fn user(&self) -> Option<&str> {
        self.0.config.get_user()
    }

    /// The port at the database's own host.
    pub(crate) fn port(&self) -> u16 {
        self.0.config.get_ports().first().copied().unwrap_or(5432)
    }

    /// For the tool's environment.
    pub(crate) fn password(&self) -> Option<EnvValue> {
        let password = self.0.config.get_password()?;
        Some(EnvValue::new(String::from_utf8_lossy(password)))
    }

    /// What a tool elsewhere needs beside role and password, as variables; `major`: its version. An error in words
    /// where it could not make sure who answers.
    pub(crate) fn variables(&self, major: u32) -> Result<Vec<(String, String)>, String> {
        let config = &self.0.config;
        let host = |host: &Host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let mut variables = Vec::new();
        let mut add = |key: &str, values: Vec<String>| {
            if !values.is_empty() {
                variables.push((key.to_owned(), values.join(",")));
            }
        };
        add("PGHOST", config.get_hosts().iter().map(host).collect());
        let addresses = config.get_hostaddrs().iter();
        add("PGHOSTADDR", addresses.map(ToString::to_string).collect());
        let ports = config.get_ports().iter();
        add("PGPORT", ports.map(ToString::to_string).collect());
        let mode = match (self.0.trust, config.get_ssl_mode()) {
            (Trust::Verified, _) => "verify-full",
            (Trust::Anyone, SslMode::Disable) => "disable",
            (Trust::Anyone, SslMode::Require) => "require",
            (Trust::Anyone, _) => "prefer",
        };
        add("PGSSLMODE", vec![mode.to_owned()]);
        match self.0.trust {
            Trust::Anyone => {}
            Trust::Verified if major >= 16 => add("PGSSLROOTCERT", vec![String::from("system")]),
            Trust::Verified if Path::new(AUTHORITIES).exists() => {
                add("PGSSLROOTCERT", vec![AUTHORITIES.to_owned()]);
            }
            Trust::Verified => {
                return Err(format!(
                    "the database's certificate cannot be verified: there is no {AUTHORITIES}"
                ));
            }
        }
        Ok(variables)
    }

    /// `words` without any of the secrets.
    pub(crate) fn redact(&self, words: &str) -> String {
        self.0.redact(words)
    }
}
