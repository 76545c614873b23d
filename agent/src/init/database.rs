//! Which service is the database, and where the names and the secret are with which one logs in. Secrets are compared with
//! the env file, to find which key holds them, and never told.

use std::path::PathBuf;

use state::name::ServiceName;
use state::stack_spec::ServiceSpec;

use super::files::Files;
use super::found::{Access, Database, Named, Password, Question};
use super::tags::{are, image_of, last_part};

/// Images of Postgres, by the last part of their name.
const POSTGRES: &[&str] = &[
    "postgres",
    "postgresql",
    "postgis",
    "timescaledb",
    "timescaledb-ha",
    "pgvector",
];

/// Whether an image is one of Postgres.
pub(crate) fn is_postgres_image(image: &str) -> bool {
    POSTGRES.contains(&last_part(image))
}

/// Whether a service is a Postgres server.
pub(crate) fn is_postgres(files: &Files<'_>, service: &ServiceName) -> bool {
    let image = image_of(files, service);
    let container = files.project.container(service.as_str());
    is_postgres_image(&image) || container.is_some_and(|c| c.env.contains_key("PGDATA"))
}

/// The database, without what moves its schema.
pub(crate) fn database(files: &Files<'_>, questions: &mut Vec<Question>) -> Option<Database> {
    let servers: Vec<&ServiceName> = files
        .spec
        .services
        .keys()
        .filter(|s| is_postgres(files, s))
        .collect();
    let name = &files.project.name;
    match servers[..] {
        [] => elsewhere(files, questions),
        [service] => Some(of_service(files, service, questions)),
        [first, ..] => {
            let all: Vec<&str> = servers.iter().map(|s| s.as_str()).collect();
            let what = format!(
                "{} Postgres servers, and one can be the stack's database",
                are(&all)
            );
            let mut database = of_service(files, first, questions);
            database.lacks = Some(format!("one of {} is meant: say which", all.join(", ")));
            let way_out =
                format!("write [stack.{name}.database] with the right service; it is there as a comment");
            questions.push(Question::of(name, what, way_out));
            Some(database)
        }
    }
}

fn of_service(files: &Files<'_>, service: &ServiceName, questions: &mut Vec<Question>) -> Database {
    let user = named(files, service, "POSTGRES_USER");
    let dbname = named(files, service, "POSTGRES_DB");
    let password = password(files, service);
    let lacks = (password == Password::Unknown).then(|| {
        format!(
            "the password of {service} is neither in {} nor in a file",
            files.env_path().display()
        )
    });
    if let Some(lacks) = &lacks {
        let name = &files.project.name;
        let way_out = format!(
            "give it a key of its own there, use it in the Compose file (POSTGRES_PASSWORD: ${{POSTGRES_PASSWORD:?}}), and take the # \
             away before [stack.{name}.database]; or write it alone into a file that only root reads, and name that as \
             password_file"
        );
        questions.push(Question::of(
            name,
            format!("{lacks}: the schema cannot be looked at"),
            way_out,
        ));
    }
    let access = Access::Service {
        service: service.clone(),
        user,
        dbname,
        password,
    };
    Database {
        access,
        migrations: None,
        lacks,
    }
}

/// What a variable of a service is: of its container, else as the Compose file has it.
fn value(files: &Files<'_>, service: &ServiceName, variable: &str) -> Option<String> {
    let container = files.project.container(service.as_str());
    let seen = container.and_then(|c| c.env.get(variable)).cloned();
    let written = || {
        let spec: &ServiceSpec = files.spec.services.get(service)?;
        spec.environment.get(variable)?.clone()
    };
    let value = seen.or_else(written)?;
    Some(value.expose().to_owned()).filter(|value| !value.is_empty())
}

fn named(files: &Files<'_>, service: &ServiceName, variable: &str) -> Named {
    let Some(value) = value(files, service, variable) else {
        return Named::Default;
    };
    match files.key_behind(service, variable, &value) {
        Some(key) => Named::Key(key),
        None => Named::Plain(value),
    }
}

fn password(files: &Files<'_>, service: &ServiceName) -> Password {
    if let Some(inside) = value(files, service, "POSTGRES_PASSWORD_FILE") {
        return match file_of_host(files, service, &inside) {
            Some(path) => Password::File(path),
            None => Password::Unknown,
        };
    }
    let Some(secret) = value(files, service, "POSTGRES_PASSWORD") else {
        let trusts = value(files, service, "POSTGRES_HOST_AUTH_METHOD").is_some_and(|how| how == "trust");
        return if trusts { Password::None } else { Password::Unknown };
    };
    match files.key_behind(service, "POSTGRES_PASSWORD", &secret) {
        Some(key) => Password::Key(key),
        None => Password::Unknown,
    }
}

/// The host's file that a container sees at that path: a secret of the Compose file, or a mount.
fn file_of_host(files: &Files<'_>, service: &ServiceName, inside: &str) -> Option<PathBuf> {
    let container = files.project.container(service.as_str());
    container.and_then(|c| c.binds.get(inside)).cloned()
}

/// A server that is no service of the stack: by a URL in the env file.
fn elsewhere(files: &Files<'_>, questions: &mut Vec<Question>) -> Option<Database> {
    let is_url = |value: &str| value.starts_with("postgres://") || value.starts_with("postgresql");
    let mut unkept = None;
    for service in files.spec.services.keys() {
        let container = files.project.container(service.as_str());
        for (variable, url) in container.iter().flat_map(|c| &c.env) {
            if !is_url(url.expose()) || !url.expose().contains("://") {
                continue;
            }
            if let Some(key) = files.key_behind(service, variable, url.expose()) {
                return Some(Database {
                    access: Access::Url(key),
                    migrations: None,
                    lacks: None,
                });
            }
            unkept = Some((service, variable));
        }
    }
    let (service, variable) = unkept?;
    let what = format!(
        "{variable} of {service} names a Postgres server outside of the stack, and no key of {} has it whole",
        files.env_path().display()
    );
    let way_out =
        "write the URL there under a key of its own, and name the key: url_env, in [stack.NAME.database]";
    questions.push(Question::of(&files.project.name, what, way_out));
    None
}
