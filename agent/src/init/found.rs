//! What was found of a stack, as it is written into the files. Names and places only: no value of a variable is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use state::name::{ServiceName, StackName, Tag};

/// What could not be found out, or is not certain, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The stack that it is about; the host where there is none.
    pub(crate) stack: Option<StackName>,
    /// What is not known.
    pub(crate) what: String,
    /// The way out.
    pub(crate) way_out: String,
}

impl Question {
    pub(crate) fn of(stack: &StackName, what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self {
            stack: Some(stack.clone()),
            what: what.into(),
            way_out: way_out.into(),
        }
    }
}

/// A stack, as it is going to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stack {
    pub(crate) name: StackName,
    pub(crate) directory: PathBuf,
    /// The Compose files, where a search would not find these.
    pub(crate) compose: Option<Vec<PathBuf>>,
    /// The env file, where it is not `.env`.
    pub(crate) env_file: Option<PathBuf>,
    pub(crate) profiles: BTreeSet<String>,
    pub(crate) tags: Tags,
    pub(crate) track: Vec<Tracked>,
    pub(crate) probes: Vec<Probe>,
    pub(crate) database: Option<Database>,
    /// The repository that its directory is a checkout of.
    pub(crate) git: Option<String>,
    /// Directories that a rollback writes to.
    pub(crate) writes: BTreeSet<PathBuf>,
    /// How many services there are.
    pub(crate) services: usize,
}

impl Stack {
    /// How each service is asked, in a line.
    pub(crate) fn probe_words(&self) -> String {
        let words = |probe: &Probe| match &probe.kind {
            Kind::Http { port, path } => format!("{} (http :{port}{path})", probe.service),
            Kind::Url(url) => format!("{} ({url})", probe.service),
            Kind::Tcp(port) => format!("{} (tcp :{port})", probe.service),
            Kind::Healthcheck => format!("{} (HEALTHCHECK)", probe.service),
            Kind::Container => format!("{} (runs)", probe.service),
        };
        let all: Vec<String> = self.probes.iter().map(words).collect();
        all.join(", ")
    }

    /// Where the database is and what moves its schema, in a line.
    pub(crate) fn database_words(&self) -> Option<String> {
        let database = self.database.as_ref()?;
        let at = match &database.access {
            Access::Service { service, .. } => service.to_string(),
            Access::Url(key) => format!("by the URL in {key}"),
        };
        let moved = match &database.migrations {
            Some(migrations) => format!(", moved by {} from {}", migrations.tool, migrations.service),
            None => String::from(", its schema only watched"),
        };
        let lacks = if database.lacks.is_some() {
            ", not in force yet"
        } else {
            ""
        };
        Some(format!("{at}{moved}{lacks}"))
    }
}

/// How a tag reaches its images, and which one runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tags {
    pub(crate) tag: Tag,
    /// The variables that carry it; empty: none does.
    pub(crate) vars: Vec<String>,
    /// Of services without a variable.
    pub(crate) templates: BTreeMap<ServiceName, String>,
    /// Services that run with another tag.
    pub(crate) pins: BTreeMap<ServiceName, Tag>,
    /// All whose image follows a tag.
    pub(crate) follow: BTreeSet<ServiceName>,
}

/// A file that belongs to a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tracked {
    pub(crate) path: PathBuf,
    /// The service that can check it, and how.
    pub(crate) check: Option<(ServiceName, Vec<String>)>,
}

/// How a service is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) service: ServiceName,
    pub(crate) kind: Kind,
    /// Where that is from.
    pub(crate) why: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// At the container's own address.
    Http {
        port: u16,
        path: String,
    },
    /// From this host, where the container has no address of its own.
    Url(String),
    Tcp(u16),
    Healthcheck,
    Container,
}

/// Where the database is. No secret is in it: it names where one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) access: Access,
    pub(crate) migrations: Option<Migrations>,
    /// Why it is written as a comment, where it cannot work yet.
    pub(crate) lacks: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    Service {
        service: ServiceName,
        user: Named,
        dbname: Named,
        password: Password,
    },
    /// The key of the env file that holds a URL.
    Url(String),
}

/// A name to log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// What holds when nothing is written.
    Default,
    Plain(String),
    Key(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Password {
    /// None is asked for.
    None,
    Key(String),
    File(PathBuf),
    /// Nobody knows where it is to be had.
    Unknown,
}

/// Which tool moves the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Migrations {
    pub(crate) tool: &'static str,
    pub(crate) service: ServiceName,
    /// Where it is called, when that is not where the service runs.
    pub(crate) workdir: Option<String>,
    /// The services do that as they start.
    pub(crate) by_the_stack: bool,
    /// Where that is from.
    pub(crate) why: String,
}
