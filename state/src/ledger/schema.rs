//! The database file: made whole or not at all, checked before it is used, migrated by steps. A file
//! that is not as it should be is refused and left alone, never begun anew.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{LedgerError, disk};
use crate::durable::{self, FileSystem, Owner};

/// Migration `i` takes version `i` to version `i + 1`. What was released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
];

/// `STFD`: tells a ledger from any other database file.
const APPLICATION_ID: i32 = 0x5354_4644;

/// Wraps what was said of the database at `path`.
pub(super) fn failed(what: &'static str, path: &Path) -> impl Fn(rusqlite::Error) -> LedgerError {
    move |source| {
        let dir = path.parent().unwrap_or(path);
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => LedgerError::Full {
                dir: dir.to_path_buf(),
            },
            // Where SQLite grows its shared memory file, it does not say that the disk is full.
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if disk::is_full(dir) => {
                LedgerError::Full {
                    dir: dir.to_path_buf(),
                }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(path, source.to_string()),
            _ => LedgerError::Database {
                what,
                path: path.to_path_buf(),
                source,
            },
        }
    }
}

pub(super) fn damaged(path: &Path, why: impl Into<String>) -> LedgerError {
    LedgerError::Damaged {
        path: path.to_path_buf(),
        why: why.into(),
    }
}

/// Makes a new database with this identity at `path`: complete and durable under its name, or absent.
pub(super) fn create(fs: &dyn FileSystem, path: &Path, identity: &str) -> Result<(), LedgerError> {
    let failed = failed("create", path);
    let mut connection = Connection::open_in_memory().map_err(&failed)?;
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(&failed)?;
    migrate(&mut connection, path, MIGRATIONS)?;
    connection
        .execute("INSERT INTO meta VALUES ('identity', ?1)", [identity])
        .map_err(&failed)?;
    let bytes = connection.serialize("main").map_err(&failed)?;
    Ok(durable::replace(fs, path, &bytes, Owner::Private)?)
}

/// Opens the database at `path`, checks it and brings it to the newest version.
pub(super) fn open(path: &Path) -> Result<Connection, LedgerError> {
    let kind = fs::symlink_metadata(path).map_err(disk::failed("read", path))?;
    if !kind.is_file() {
        return Err(damaged(path, "it is not a regular file"));
    }
    let failed = failed("open", path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut connection = Connection::open_with_flags(path, flags).map_err(&failed)?;
    // A file that turns out to be damaged is not to be written to, not even on closing it.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(&failed)?;
    // An operator's `sqlite3` may hold a lock for a moment.
    connection.busy_timeout(Duration::from_secs(2)).map_err(&failed)?;
    check(&connection, path)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map_err(&failed)?;
    settle(&connection).map_err(&failed)?;
    migrate(&mut connection, path, MIGRATIONS)?;
    Ok(connection)
}

/// Opens the database at `path` and checks it; nothing on disk is changed, not even by a recovery of
/// what a killed agent left.
pub(super) fn look(path: &Path) -> Result<Connection, LedgerError> {
    let failed = failed("open", path);
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    // Without a write-ahead log the file is whole. With one an agent writes, or was killed: what it
    // says is read beside the file.
    let how = match fs::metadata(&wal) {
        Ok(wal) if wal.len() > 0 => "mode=ro&readonly_shm=1",
        _ => "immutable=1",
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection =
        Connection::open_with_flags(format!("file:{}?{how}", uri_path(path)), flags).map_err(&failed)?;
    connection.busy_timeout(Duration::from_secs(2)).map_err(&failed)?;
    check(&connection, path)?;
    let found = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(&failed)?;
    if version(found, path, MIGRATIONS)? < MIGRATIONS.len() {
        return Err(LedgerError::Older {
            path: path.to_path_buf(),
        });
    }
    Ok(connection)
}

/// The path as it stands in a URI.
fn uri_path(path: &Path) -> String {
    let byte = |byte: &u8| match byte {
        b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(*byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.as_os_str().as_encoded_bytes().iter().map(byte).collect()
}

fn check(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let failed = failed("check", path);
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    if pragma("application_id").map_err(&failed)? != APPLICATION_ID {
        return Err(damaged(path, "it is not a ledger of steadfast"));
    }
    let found = pragma("user_version").map_err(&failed)?;
    version(found, path, MIGRATIONS)?;
    let verdict: String = connection
        .pragma_query_value(None, "quick_check", |row| row.get(0))
        .map_err(&failed)?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(damaged(path, verdict))
    }
}

fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update_and_check(None, "journal_size_limit", 4 << 20, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// The schema version as an index into `migrations`.
fn version(found: i32, path: &Path, migrations: &[&str]) -> Result<usize, LedgerError> {
    let found =
        usize::try_from(found).map_err(|_| damaged(path, format!("its schema version is {found}")))?;
    if found > migrations.len() {
        return Err(LedgerError::Newer {
            path: path.to_path_buf(),
            found: u32::try_from(found).unwrap_or(u32::MAX),
            known: u32::try_from(migrations.len()).unwrap_or(u32::MAX),
        });
    }
    Ok(found)
}

/// Applies what is missing of `migrations`, each in a transaction of its own.
fn migrate(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), LedgerError> {
    let failed = failed("migrate", path);
    let found = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(&failed)?;
    for (done, sql) in migrations
        .iter()
        .enumerate()
        .skip(version(found, path, migrations)?)
    {
        let next = i32::try_from(done + 1).unwrap_or(i32::MAX);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        transaction.execute_batch(sql).map_err(&failed)?;
        transaction
            .pragma_update(None, "user_version", next)
            .map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_commit_is_synced_and_references_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        create(&crate::durable::HostFiles, &path, "me").unwrap();
        let connection = open(&path).unwrap();
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        // 2 is FULL.
        assert_eq!(pragma("synchronous").unwrap(), 2);
        assert_eq!(pragma("foreign_keys").unwrap(), 1);
        let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
        assert_eq!(mode.unwrap(), "wal");
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        create(&crate::durable::HostFiles, &path, "me").unwrap();
        let mut connection = open(&path).unwrap();
        let steps = |last| {
            let next = ["ALTER TABLE act ADD COLUMN host TEXT", last];
            [MIGRATIONS, &next].concat()
        };
        let state = |connection: &Connection| {
            let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0));
            let columns = "SELECT count(*) FROM pragma_table_info('act') WHERE name IN ('host', 'term')";
            let columns = connection.query_row(columns, [], |row| row.get::<_, i32>(0));
            (version.unwrap(), columns.unwrap())
        };
        let broken = steps("ALTER TABLE act ADD COLUMN term TEXT; UPDATE nothing SET x = 1");
        migrate(&mut connection, &path, &broken).unwrap_err();
        assert_eq!(state(&connection), (4, 1));
        let mended = steps("ALTER TABLE act ADD COLUMN term TEXT");
        migrate(&mut connection, &path, &mended).unwrap();
        migrate(&mut connection, &path, &mended).unwrap();
        assert_eq!(state(&connection), (5, 2));
        drop(connection);
        let error = open(&path).unwrap_err();
        assert!(
            matches!(
                error,
                LedgerError::Newer {
                    found: 5,
                    known: 3,
                    ..
                }
            ),
            "{error}"
        );
    }
}
