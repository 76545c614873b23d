//! Rows into records. Whatever is in the database, this ends with a record or an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Params, Row};

use super::values::{StackRow, Value, decode};
use super::{LedgerError, schema};
use crate::journal::{Entry, OpenOperation, Operation};
use crate::migrations::History;
use crate::name::{Digest, ImageId, StackName};
use crate::record::{Act, StackRecord};
use crate::release::{Generation, GenerationNumber, HostKey};
use crate::taken_back::Losses;
use crate::time::Moment;

/// A database that is only read.
pub(super) struct Reader<'a> {
    pub(super) connection: &'a Connection,
    pub(super) path: &'a Path,
}

impl Reader<'_> {
    /// The whole record of a stack; `None` when it was never seen.
    pub(super) fn stack(&self, name: &StackName) -> Result<Option<StackRecord>, LedgerError> {
        let key = [name.as_str()];
        let row = self.one::<StackRow>("SELECT format, value FROM stack WHERE name = ?1", key)?;
        let Some(row) = row else { return Ok(None) };
        let current = self
            .rows("SELECT current FROM stack WHERE name = ?1", key, |row| {
                row.get::<_, Option<i64>>(0)
            })?
            .into_iter()
            .flatten()
            .next();
        let sql = "SELECT format, value FROM generation WHERE stack = ?1 ORDER BY number";
        let generations: Vec<Generation> = self.values(sql, key)?;
        let sql = "SELECT format, value FROM quarantine WHERE stack = ?1 ORDER BY position";
        let quarantine = self.values(sql, key)?;
        let health = self.one("SELECT format, value FROM health WHERE stack = ?1", key)?;
        Ok(Some(StackRecord {
            stack: name.clone(),
            request: row.request,
            standing: row.standing,
            generations: generations.into_iter().map(Into::into).collect(),
            current: current
                .map(|n| self.number(n).map(GenerationNumber))
                .transpose()?,
            quarantine,
            operation: self.open_operation(name)?,
            hold: row.hold,
            pause: row.pause,
            approval: row.approval,
            health: health.unwrap_or_default(),
            restored: row.restored,
            rollbacks: self.rollbacks(name)?.into(),
            adopted: self
                .map("SELECT container, hash FROM adopted WHERE stack = ?1", name)?
                .into(),
            resolved: self
                .map("SELECT reference, image FROM resolved WHERE stack = ?1", name)?
                .into(),
            carried: self
                .map("SELECT place, volume FROM carried WHERE stack = ?1", name)?
                .into(),
            let_go: row.let_go,
            barred: row.barred,
            unseen: row.unseen,
            written: row.written,
            taken_back: row.taken_back,
            placed: row.placed,
            replaced: row.replaced,
            built: row.built,
            imported: row.imported,
            histories: self
                .by_image::<History, _>("SELECT format, value, image FROM history WHERE stack = ?1", name)?
                .into(),
            losses: self
                .by_image::<Losses, _>("SELECT format, value, image FROM loss WHERE stack = ?1", name)?
                .into(),
        }))
    }

    /// Every stack, sorted.
    pub(super) fn stacks(&self) -> Result<Vec<StackName>, LedgerError> {
        let names = self.rows("SELECT name FROM stack ORDER BY name", [], |row| {
            row.get::<_, String>(0)
        })?;
        names.into_iter().map(|name| self.name(name)).collect()
    }

    /// Acts, the newest first.
    pub(super) fn acts(&self, stack: &StackName, limit: u32) -> Result<Vec<Act>, LedgerError> {
        let sql = "SELECT format, value FROM act WHERE stack = ?1 ORDER BY id DESC LIMIT ?2";
        self.values(sql, (stack.as_str(), limit))
    }

    /// Operations that have ended, the newest first.
    pub(super) fn ended(&self, stack: &StackName, limit: u32) -> Result<Vec<OpenOperation>, LedgerError> {
        let sql = "SELECT format, value FROM operation
            WHERE stack = ?1 AND ended IS NOT NULL ORDER BY id DESC LIMIT ?2";
        let operations = self.values::<Operation>(sql, (stack.as_str(), limit))?;
        operations.into_iter().map(|o| self.with_journal(o)).collect()
    }

    /// The object that holds the last valid content of a watched file.
    pub(super) fn kept(&self, what: &str) -> Result<Option<Digest>, LedgerError> {
        let sql = "SELECT digest FROM kept WHERE what = ?1";
        let rows = self.rows(sql, [what], |row| row.get::<_, String>(0))?;
        rows.into_iter().next().map(|d| self.name(d)).transpose()
    }

    /// The objects that hold the last valid content of all watched files.
    pub(super) fn all_kept(&self) -> Result<BTreeSet<Digest>, LedgerError> {
        let rows = self.rows("SELECT digest FROM kept", [], |row| row.get::<_, String>(0))?;
        rows.into_iter().map(|digest| self.name(digest)).collect()
    }

    /// The random id of the state directory.
    pub(super) fn identity(&self) -> Result<String, LedgerError> {
        let sql = "SELECT value FROM meta WHERE name = 'identity'";
        let rows = self.rows(sql, [], |row| row.get(0))?;
        rows.into_iter()
            .next()
            .ok_or_else(|| schema::damaged(self.path, "it has no identity"))
    }

    fn open_operation(&self, stack: &StackName) -> Result<Option<OpenOperation>, LedgerError> {
        let sql = "SELECT format, value FROM operation WHERE stack = ?1 AND ended IS NULL";
        let operation = self.one::<Operation>(sql, [stack.as_str()])?;
        operation.map(|o| self.with_journal(o)).transpose()
    }

    fn with_journal(&self, operation: Operation) -> Result<OpenOperation, LedgerError> {
        let id = operation.id;
        let key =
            i64::try_from(id).map_err(|_| schema::damaged(self.path, "an operation id is too large"))?;
        let sql = "SELECT format, value FROM journal WHERE operation = ?1 ORDER BY position";
        let events = self.values::<Entry>(sql, [key])?;
        OpenOperation::replay(operation, events)
            .map_err(|e| schema::damaged(self.path, format!("the journal of operation {id}: {e}")))
    }

    fn rollbacks(&self, stack: &StackName) -> Result<Vec<(Digest, Moment)>, LedgerError> {
        let sql = "SELECT format, value, request FROM rollback WHERE stack = ?1 ORDER BY position";
        let rows = self.rows(sql, [stack.as_str()], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))
        })?;
        rows.into_iter()
            .map(|(format, value, request)| Ok((self.name(request)?, decode(self.path, format, &value)?)))
            .collect()
    }

    fn by_image<T: Value, U: From<T>>(
        &self,
        sql: &str,
        stack: &StackName,
    ) -> Result<BTreeMap<ImageId, U>, LedgerError> {
        let rows = self.rows(sql, [stack.as_str()], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))
        })?;
        rows.into_iter()
            .map(|(format, value, image)| {
                let value: T = decode(self.path, format, &value)?;
                Ok((self.name(image)?, value.into()))
            })
            .collect()
    }

    fn map<K, V>(&self, sql: &str, stack: &StackName) -> Result<BTreeMap<K, V>, LedgerError>
    where
        K: TryFrom<String, Error: std::fmt::Display> + Ord,
        V: TryFrom<String, Error: std::fmt::Display>,
    {
        let rows = self.rows(sql, [stack.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.into_iter()
            .map(|(key, value)| Ok((self.name(key)?, self.name(value)?)))
            .collect()
    }

    fn one<T: Value>(&self, sql: &str, key: impl Params) -> Result<Option<T>, LedgerError> {
        let failed = schema::failed("read", self.path);
        let mut statement = self.connection.prepare_cached(sql).map_err(&failed)?;
        let row = statement
            .query_row(key, |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
            .optional()
            .map_err(&failed)?;
        row.map(|(format, value)| decode(self.path, format, &value))
            .transpose()
    }

    fn values<T: Value>(&self, sql: &str, key: impl Params) -> Result<Vec<T>, LedgerError> {
        let rows = self.rows(sql, key, |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        rows.into_iter()
            .map(|(format, value)| decode(self.path, format, &value))
            .collect()
    }

    fn rows<T>(
        &self,
        sql: &str,
        key: impl Params,
        take: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let failed = schema::failed("read", self.path);
        let mut statement = self.connection.prepare_cached(sql).map_err(&failed)?;
        let rows = statement.query_map(key, take).map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(&failed)
    }

    fn name<N: TryFrom<String, Error: std::fmt::Display>>(&self, text: String) -> Result<N, LedgerError> {
        N::try_from(text).map_err(|e| schema::damaged(self.path, e.to_string()))
    }

    fn number(&self, stored: i64) -> Result<u64, LedgerError> {
        u64::try_from(stored)
            .map_err(|_| schema::damaged(self.path, format!("{stored} is not a number of ours")))
    }
}

/// The key in `bytes` of the file at `path`.
pub(super) fn host_key(path: &Path, bytes: Vec<u8>) -> Result<HostKey, LedgerError> {
    let bytes = <[u8; 32]>::try_from(bytes)
        .map_err(|b| schema::damaged(path, format!("it has {} bytes instead of 32", b.len())))?;
    Ok(HostKey::new(bytes))
}
