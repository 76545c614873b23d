//! Databases of our own that somebody is let into: a copy, to dump from; an empty one, to restore into. What is
//! opened here carries our mark, and its name is known to nobody else.

use std::time::Duration;

use config::settings::PgName;
use serde_json::Value;

use super::DatabaseError;
use super::close::close;
use super::copies::{CopyKind, drop_database, entry, mark, taken};
use super::link::{Link, literal, quoted};
use super::login::Login;
use super::place::check_ours;

/// Lets the database's user into a copy, or what was restored, and nobody that has no more rights than anybody.
pub(super) async fn open_copy(login: &Login, name: &PgName, within: Duration) -> Result<(), DatabaseError> {
    let database = login.database()?;
    let link = Link::alone(login, &database, within).await?;
    let found = entry(&link, name).await?;
    let restored = Some((CopyKind::Restored, database.as_str()));
    if !found.is_some_and(|found| found.is_whole_copy_of(&database) || found.mark() == restored) {
        return Err(DatabaseError::other(format!(
            "\"{name}\" is no whole copy of \"{database}\""
        )));
    }
    let_in(&link, name).await?;
    link.end().await;
    Ok(())
}

/// Ends every session in a copy, and lets nobody in again.
pub(super) async fn close_copy(login: &Login, name: &PgName, within: Duration) -> Result<(), DatabaseError> {
    check_ours(&login.database()?, name)?;
    close(&login.of(name), within).await?;
    let link = Link::beside(login, name, within).await?;
    let limit = format!("ALTER DATABASE {} CONNECTION LIMIT 0", quoted(name.as_str()));
    link.run(&limit).await?;
    link.end().await;
    Ok(())
}

/// How long it may take to close what was open.
const CLEAN: Duration = Duration::from_secs(15);

/// Does something in a copy, or in what was restored, which is open for as long: it is closed whatever comes of that, unless
/// nobody waits for it any more.
pub(super) async fn while_open<T>(
    login: &Login,
    name: &PgName,
    within: Duration,
    doing: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let doing = async {
        open_copy(login, name, within).await?;
        doing.await
    };
    let done = login.bounded(within, Box::pin(doing)).await;
    let closed = login.bounded(CLEAN, close_copy(login, name, CLEAN)).await;
    // What went wrong first is what is told.
    let done = done?;
    closed.map(|()| done)
}

/// An empty database of the same encoding and order as the stack's own. One that is left over goes first.
pub(super) async fn make_scratch(
    login: &Login,
    name: &PgName,
    operation: u64,
    within: Duration,
) -> Result<(), DatabaseError> {
    let database = login.database()?;
    check_ours(&database, name)?;
    drop_scratch(login, name, within).await?;
    let link = Link::alone(login, &database, within).await?;
    let as_own = as_own(&link, &database).await?;
    let quoted_name = quoted(name.as_str());
    // Closed and without a comment it is half-made, and ours.
    link.run(&format!(
        "CREATE DATABASE {quoted_name} TEMPLATE template0 ALLOW_CONNECTIONS false CONNECTION LIMIT 0 {as_own}"
    ))
    .await?;
    let mark = mark(CopyKind::Scratch, &database, operation);
    link.run(&format!(
        "COMMENT ON DATABASE {quoted_name} IS {}",
        literal(&mark)
    ))
    .await?;
    let_in(&link, name).await?;
    link.end().await;
    Ok(())
}

/// What was restored into it is whole: it is closed, and can take the database's name.
pub(super) async fn keep_restored(
    login: &Login,
    name: &PgName,
    operation: u64,
    within: Duration,
) -> Result<(), DatabaseError> {
    let database = login.database()?;
    close_copy(login, name, within).await?;
    let link = Link::alone(login, &database, within).await?;
    let made = mark(CopyKind::Scratch, &database, operation);
    let kept = mark(CopyKind::Restored, &database, operation);
    match entry(&link, name).await? {
        Some(found) if found.is(&kept) => {}
        Some(found) if found.is(&made) => {
            let name = quoted(name.as_str());
            link.run(&format!("COMMENT ON DATABASE {name} IS {}", literal(&kept)))
                .await?;
        }
        Some(found) => return Err(taken(&found)),
        None => return Err(DatabaseError::missing(name.as_str())),
    }
    link.end().await;
    Ok(())
}

/// Drops such a database, whoever is in it; gone is done.
pub(super) async fn drop_scratch(
    login: &Login,
    name: &PgName,
    within: Duration,
) -> Result<(), DatabaseError> {
    let database = login.database()?;
    check_ours(&database, name)?;
    let link = Link::alone(login, &database, within).await?;
    if let Some(found) = entry(&link, name).await? {
        let ours = found.mark() == Some((CopyKind::Scratch, database.as_str()));
        if !ours && !found.is_half_made() {
            return Err(taken(&found));
        }
        close(&login.of(name), within).await?;
        drop_database(&link, name).await?;
    }
    link.end().await;
    Ok(())
}

/// Ends the sessions in `database` that call themselves `application`; how many.
pub(super) async fn end_sessions(
    login: &Login,
    database: &PgName,
    application: &str,
    within: Duration,
) -> Result<u64, DatabaseError> {
    let link = Link::beside(login, database, within).await?;
    let ended = link
        .value(&format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity \
             WHERE datname = {} AND application_name = {}",
            literal(database.as_str()),
            literal(application)
        ))
        .await?;
    link.end().await;
    Ok(ended.and_then(|ended| ended.parse().ok()).unwrap_or(0))
}

async fn let_in(link: &Link, name: &PgName) -> Result<(), DatabaseError> {
    let name = quoted(name.as_str());
    link.run(&format!(
        "REVOKE ALL ON DATABASE {name} FROM PUBLIC; ALTER DATABASE {name} CONNECTION LIMIT -1; \
         ALTER DATABASE {name} ALLOW_CONNECTIONS true"
    ))
    .await
}

/// What `CREATE DATABASE` is told, so that the same texts fit in and are in the same order. Which columns there are
/// is the server's version's.
async fn as_own(link: &Link, database: &PgName) -> Result<String, DatabaseError> {
    let row = link
        .value(&format!(
            "SELECT to_jsonb(d) || jsonb_build_object('encoding', pg_catalog.pg_encoding_to_char(d.encoding)) \
             FROM pg_catalog.pg_database d WHERE d.datname = {}",
            literal(database.as_str())
        ))
        .await?
        .ok_or_else(|| DatabaseError::missing(database.as_str()))?;
    let row: Value =
        serde_json::from_str(&row).map_err(|_| DatabaseError::other("a row of pg_database is no JSON"))?;
    Ok(options(&row))
}

fn options(row: &Value) -> String {
    let text = |key: &str| row.get(key).and_then(Value::as_str);
    let mut options = String::new();
    let mut add = |option: &str, value: Option<&str>| {
        if let Some(value) = value {
            options.push_str(&format!(" {option} {}", literal(value)));
        }
    };
    add("ENCODING", text("encoding"));
    add("LC_COLLATE", text("datcollate"));
    add("LC_CTYPE", text("datctype"));
    // Called `daticulocale` in 15 and 16, `datlocale` since.
    let locale = text("datlocale").or(text("daticulocale"));
    match text("datlocprovider") {
        Some("i") => {
            add("LOCALE_PROVIDER", Some("icu"));
            add("ICU_LOCALE", locale);
            add("ICU_RULES", text("daticurules"));
        }
        Some("b") => {
            add("LOCALE_PROVIDER", Some("builtin"));
            add("BUILTIN_LOCALE", locale);
        }
        Some("c") => add("LOCALE_PROVIDER", Some("libc")),
        _ => {}
    }
    options
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_server_is_told_in_its_own_words() {
        let basics = json!({"encoding": "UTF8", "datcollate": "C.UTF-8", "datctype": "C.UTF-8"});
        let said = " ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'";
        for (more, expected) in [
            (json!({}), ""),
            (
                json!({"datlocprovider": "c", "daticulocale": null}),
                " LOCALE_PROVIDER 'libc'",
            ),
            (
                json!({"datlocprovider": "i", "daticulocale": "de-DE"}),
                " LOCALE_PROVIDER 'icu' ICU_LOCALE 'de-DE'",
            ),
            (
                json!({"datlocprovider": "i", "datlocale": "und", "daticurules": "&a < g"}),
                " LOCALE_PROVIDER 'icu' ICU_LOCALE 'und' ICU_RULES '&a < g'",
            ),
            (
                json!({"datlocprovider": "b", "datlocale": "C"}),
                " LOCALE_PROVIDER 'builtin' BUILTIN_LOCALE 'C'",
            ),
        ] {
            let mut row = basics.clone();
            for (key, value) in more.as_object().into_iter().flatten() {
                row[key] = value.clone();
            }
            assert_eq!(options(&row), format!("{said}{expected}"));
        }
    }
}
