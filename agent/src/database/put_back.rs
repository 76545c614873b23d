//! A copy takes the place of the database, which is set aside under another name. All that is seen
//! from outside happens in one transaction: the old one has the name, or the new one.

use std::time::Duration;

use config::settings::PgName;

use super::DatabaseError;
use super::copies::{CopyKind, drop_database, entry, make, mark, taken};
use super::link::{Link, literal, quoted};
use super::login::Login;
use super::place::{check_ours, new_name};
use super::properties::take_over;

pub(super) async fn put_back(
    login: &Login,
    copy: &PgName,
    aside: &PgName,
    operation: u64,
    within: Duration,
) -> Result<(), DatabaseError> {
    let database = login.database()?;
    for name in [copy, aside] {
        check_ours(&database, name)?;
    }
    let link = Link::alone(login, &database, within).await?;
    let done = begin(&link, &database, copy, aside, operation).await;
    link.end().await;
    done
}

/// What was restored takes the name, itself and not a copy of it.
pub(super) async fn take_place(
    login: &Login,
    restored: &PgName,
    before: &PgName,
    operation: u64,
    within: Duration,
) -> Result<(), DatabaseError> {
    let database = login.database()?;
    for name in [restored, before] {
        check_ours(&database, name)?;
    }
    let link = Link::alone(login, &database, within).await?;
    let before_mark = mark(CopyKind::Aside, &database, operation);
    let done = match source(&link, &database, before, &before_mark).await? {
        None => Ok(()),
        Some(source) => match entry(&link, restored).await? {
            Some(found) if found.is(&mark(CopyKind::Restored, &database, operation)) => {
                swap_or_not(&link, &database, restored, before, source, &before_mark).await
            }
            _ => Err(DatabaseError::other(format!(
                "\"{restored}\" is not what operation {operation} has restored"
            ))),
        },
    };
    link.end().await;
    done
}

/// What was set aside has the name again, and what had taken it is set aside.
pub(super) async fn give_back(
    login: &Login,
    restored: &PgName,
    before: &PgName,
    operation: u64,
    within: Duration,
) -> Result<(), DatabaseError> {
    let database = login.database()?;
    for name in [restored, before] {
        check_ours(&database, name)?;
    }
    let link = Link::alone(login, &database, within).await?;
    let mark = mark(CopyKind::Aside, &database, operation);
    let done = match entry(&link, before).await? {
        // It was never set aside, or has its name again.
        None => Ok(()),
        Some(found) if found.is(&mark) => {
            swap_or_not(&link, &database, before, restored, &database, &mark).await
        }
        Some(found) => Err(taken(&found)),
    };
    link.end().await;
    done
}

/// What has the properties that the new one gets: the database, or what is aside where it has no name any more.
/// `None`: it was done before.
async fn source<'a>(
    link: &Link,
    database: &'a PgName,
    aside: &'a PgName,
    aside_mark: &str,
) -> Result<Option<&'a PgName>, DatabaseError> {
    let there = entry(link, database).await?.is_some();
    match entry(link, aside).await? {
        Some(found) if there && found.is(aside_mark) => Ok(None),
        Some(found) if there => Err(taken(&found)),
        Some(_) => Ok(Some(aside)),
        None if there => Ok(Some(database)),
        None => Err(DatabaseError::missing(database.as_str())),
    }
}

/// Looks how far it got before.
async fn begin(
    link: &Link,
    database: &PgName,
    copy: &PgName,
    aside: &PgName,
    operation: u64,
) -> Result<(), DatabaseError> {
    let new = new_name(copy);
    let aside_mark = mark(CopyKind::Aside, database, operation);
    let new_mark = mark(CopyKind::New, database, operation);
    let Some(source) = source(link, database, aside, &aside_mark).await? else {
        // Done before. What is left of a second attempt goes.
        return match entry(link, &new).await? {
            Some(left) if left.is(&new_mark) => drop_database(link, &new).await,
            _ => Ok(()),
        };
    };
    if !entry(link, copy)
        .await?
        .is_some_and(|copy| copy.is_whole_copy_of(database))
    {
        return Err(DatabaseError::other(format!(
            "\"{copy}\" is no whole copy of \"{database}\""
        )));
    }
    make(link, copy, &new, &new_mark).await?;
    swap_or_not(link, database, &new, aside, source, &aside_mark).await
}

/// As [`swap`]; what fails leaves no transaction open.
async fn swap_or_not(
    link: &Link,
    database: &PgName,
    new: &PgName,
    aside: &PgName,
    source: &PgName,
    aside_mark: &str,
) -> Result<(), DatabaseError> {
    match swap(link, database, new, aside, source, aside_mark).await {
        Err(DatabaseError::InUse { said, by }) => Err(DatabaseError::InUse { said, by }),
        Err(error) => {
            // The server gives the transaction up with the connection in any case.
            let _ = link.run("ROLLBACK").await;
            Err(error)
        }
        done => done,
    }
}

/// `source` is what has the properties: the database, or what is aside where it has no name any more.
async fn swap(
    link: &Link,
    database: &PgName,
    new: &PgName,
    aside: &PgName,
    source: &PgName,
    aside_mark: &str,
) -> Result<(), DatabaseError> {
    let (old, name, free) = (
        quoted(aside.as_str()),
        quoted(database.as_str()),
        quoted(new.as_str()),
    );
    link.run("BEGIN").await?;
    let comment = take_over(link, source, new).await?;
    if source == database {
        link.run_on(database, &format!("ALTER DATABASE {name} RENAME TO {old}"))
            .await?;
    }
    link.run_on(new, &format!("ALTER DATABASE {free} RENAME TO {name}"))
        .await?;
    // Nobody goes on writing to what is aside; the new one is opened when its user says so.
    link.run(&format!(
        "ALTER DATABASE {old} ALLOW_CONNECTIONS false; \
         COMMENT ON DATABASE {old} IS {}; COMMENT ON DATABASE {name} IS {}; COMMIT",
        literal(aside_mark),
        comment.as_deref().map_or_else(|| String::from("NULL"), literal)
    ))
    .await
}
