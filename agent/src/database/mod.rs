//! The database. How far its schema is, is only read, and holds nothing up: each question has a
//! deadline and ends with its connection closed. What is done to the database as a whole
//! ([`Maintenance`]) is bounded likewise, and looks before it does anything.

mod apply;
mod asked;
mod client;
mod close;
mod copies;
mod error;
mod fingerprint;
mod link;
mod lock;
mod login;
mod maintenance;
mod place;
mod postgres;
mod properties;
mod put_back;
mod rows;
mod scratch;
mod script;
mod snapshot;
mod staging;
mod tally;
mod tls;
mod version;
mod words;

#[cfg(test)]
mod tests;

use async_trait::async_trait;
use config::settings::{DatabaseAccess, DatabaseSettings};
use state::observed::{ContainerObs, Known, SchemaHead};

pub(crate) use self::client::Client;
pub use self::close::{Obstacle, in_the_way};
pub use self::copies::{CopyKind, DatabaseCopy, Made};
pub use self::error::{DatabaseError, Session};
pub(crate) use self::fingerprint::{OURS, session_forms};
pub(crate) use self::link::{Link, literal, quoted};
pub use self::lock::Guard;
pub(crate) use self::login::Login;
pub use self::maintenance::Maintenance;
pub use self::place::{Place, aside_name, before_name, copy_name, restored_name, scratch_name};
pub use self::postgres::Postgres;
pub use self::rows::Checksum;
pub use self::snapshot::{Census, Snapshot};
pub use self::staging::Staging;
pub(crate) use self::tally::tally_in;
pub(crate) use self::words::without_values;

/// The value of a key of the stack's `.env`.
pub type EnvLookup<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

/// Asks the stack's database.
#[async_trait]
pub trait Database: Send + Sync {
    /// The rows of the version table. Whatever goes wrong is `Unknown`, in words that hold no secret.
    /// Cancel-safe.
    async fn schema_head(&self, place: Place<'_>) -> Known<SchemaHead>;
}

/// The name whose address a [`Place`] should be given: the settings' service, or the host of the URL,
/// which is often a service of the stack too (`db` in `postgres://app@db/shop`).
pub fn host_of(settings: &DatabaseSettings, env: EnvLookup<'_>) -> Option<String> {
    match &settings.access {
        DatabaseAccess::Service { service, .. } => Some(service.as_str().to_owned()),
        DatabaseAccess::Url(source) => login::url_host(source, env),
    }
}

/// The container of the stack that runs at that host, which is a service or a container's own name.
pub fn container_at<'a>(host: &str, seen: &'a [ContainerObs]) -> Option<&'a ContainerObs> {
    let runs = |c: &&ContainerObs| c.state.is_running() && !c.oneoff;
    let named = |c: &&ContainerObs| c.service.as_str() == host || c.name == host;
    seen.iter().filter(runs).find(named)
}
