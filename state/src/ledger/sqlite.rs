//! The ledger on disk: the state directory, its lock, its database and its objects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, TransactionBehavior, params};

use super::objects::Objects;
use super::read::{self, Reader};
use super::write::Writer;
use super::{LedgerError, Store, applied, disk, schema};
use crate::durable::{self, FileSystem, HostFiles, Owner};
use crate::journal::OpenOperation;
use crate::name::{Digest, StackName};
use crate::record::{Act, Change, StackRecord};
use crate::release::HostKey;
use crate::retention;

/// A [`Store`] in a state directory, which no other agent can open while this value lives; or one that
/// is only looked at ([`Ledger::look`]).
#[derive(Debug)]
pub struct Ledger {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    key: HostKey,
    identity: String,
    objects: Objects,
    database: Mutex<Database>,
    /// Dropped last. Whoever has none changes nothing.
    lock: Option<disk::Lock>,
}

#[derive(Debug)]
struct Database {
    path: PathBuf,
    connection: Connection,
    /// What the rows say, for stacks that were asked for. A stack whose commit failed is read anew:
    /// only the database knows what became of it.
    records: BTreeMap<StackName, StackRecord>,
}

impl Ledger {
    /// Opens the state directory, made when it is missing. Nothing that is damaged is begun anew.
    pub fn open(state_dir: &Path) -> Result<Self, LedgerError> {
        Self::open_on(Arc::new(HostFiles), state_dir)
    }

    /// As [`Ledger::open`], with every file but the running database's own behind `fs`.
    pub fn open_on(fs: Arc<dyn FileSystem>, state_dir: &Path) -> Result<Self, LedgerError> {
        durable::private_dir(&*fs, state_dir)?;
        let lock = disk::lock(state_dir)?;
        disk::sweep(&*fs, state_dir)?;
        // An earlier run may have been killed between a rename and this: what is read now is relied on.
        disk::sync_dir(&*fs, state_dir)?;
        let reserve = state_dir.join("reserve");
        let opened = match open_files(&*fs, state_dir) {
            // Opening takes some room; what was held back is for days like this.
            Err(LedgerError::Full { .. }) if fs.allocated(&reserve).is_ok() => {
                disk::remove(&*fs, &reserve)?;
                open_files(&*fs, state_dir)
            }
            opened => {
                if opened.is_ok() {
                    disk::ensure_reserve(&*fs, &reserve)?;
                }
                opened
            }
        };
        let (database, key) = opened?;
        Ok(Self {
            dir: state_dir.to_path_buf(),
            key,
            identity: database.reader().identity()?,
            objects: Objects::open(Arc::clone(&fs), state_dir)?,
            database: Mutex::new(database),
            lock: Some(lock),
            fs,
        })
    }

    /// The state directory as it is, to be read and not written: without its lock, and without a change
    /// to any file. `None`: no ledger was ever kept there.
    pub fn look(state_dir: &Path) -> Result<Option<Self>, LedgerError> {
        let (path, key_path) = (state_dir.join("ledger.db"), state_dir.join("host.key"));
        let fs: Arc<dyn FileSystem> = Arc::new(HostFiles);
        let key = disk::read(&*fs, &key_path)?;
        match path.symlink_metadata() {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && key.is_none() => return Ok(None),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(key_without_ledger(&path)),
            Err(e) => return Err(disk::failed("read", &path)(e)),
        }
        let database = Database {
            connection: schema::look(&path)?,
            path,
            records: BTreeMap::new(),
        };
        let key = match key {
            Some(bytes) => read::host_key(&key_path, bytes)?,
            None if database.reader().stacks()?.is_empty() => HostKey::new(disk::random()?),
            None => return Err(ledger_without_key(&key_path)),
        };
        Ok(Some(Self {
            dir: state_dir.to_path_buf(),
            key,
            identity: database.reader().identity()?,
            objects: Objects::at(Arc::clone(&fs), state_dir),
            database: Mutex::new(database),
            lock: None,
            fs,
        }))
    }

    fn writable(&self) -> Result<(), LedgerError> {
        match &self.lock {
            Some(_) => Ok(()),
            None => Err(LedgerError::OnlyLookedAt {
                dir: self.dir.clone(),
            }),
        }
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        // A transaction that a panic interrupts is rolled back; records are put in place whole.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_files(fs: &dyn FileSystem, dir: &Path) -> Result<(Database, HostKey), LedgerError> {
    let path = dir.join("ledger.db");
    let key_path = dir.join("host.key");
    let key = disk::read(fs, &key_path)?;
    if path
        .symlink_metadata()
        .is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
    {
        // The key is made after the database: where there is a key, there was a database.
        if key.is_some() {
            return Err(key_without_ledger(&path));
        }
        schema::create(fs, &path, &hex::encode(disk::random::<16>()?))?;
    }
    let database = Database {
        connection: schema::open(&path)?,
        path,
        records: BTreeMap::new(),
    };
    let key = if let Some(bytes) = key {
        read::host_key(&key_path, bytes)?
    } else {
        if !database.reader().stacks()?.is_empty() {
            return Err(ledger_without_key(&key_path));
        }
        let bytes = disk::random()?;
        durable::replace(fs, &key_path, &bytes, Owner::Private)?;
        HostKey::new(bytes)
    };
    Ok((database, key))
}

fn key_without_ledger(ledger: &Path) -> LedgerError {
    schema::damaged(ledger, "it is gone, though host.key is there")
}

fn ledger_without_key(key: &Path) -> LedgerError {
    schema::damaged(key, "it is gone, and what it keyed is not")
}

impl Database {
    fn reader(&self) -> Reader<'_> {
        Reader {
            connection: &self.connection,
            path: &self.path,
        }
    }

    /// The record, and whether the stack has rows.
    fn record(&mut self, stack: &StackName) -> Result<(StackRecord, bool), LedgerError> {
        if let Some(record) = self.records.get(stack) {
            return Ok((record.clone(), true));
        }
        Ok(match self.reader().stack(stack)? {
            Some(record) => {
                self.records.insert(stack.clone(), record.clone());
                (record, true)
            }
            None => (StackRecord::new(stack.clone()), false),
        })
    }

    fn commit(&mut self, stack: &StackName, changes: &[Change]) -> Result<(), LedgerError> {
        let (before, seen) = self.record(stack)?;
        let after = applied(&before, changes)?;
        self.check_ids(changes)?;
        self.records.remove(stack);
        self.transaction(|transaction| {
            let stack = stack.as_str();
            Writer { transaction, stack }.write(&before, &after, changes, seen)
        })?;
        self.records.insert(stack.clone(), after);
        Ok(())
    }

    fn check_ids(&self, changes: &[Change]) -> Result<(), LedgerError> {
        let mut opened = std::collections::BTreeSet::new();
        for change in changes {
            let Change::Open(operation) = change else { continue };
            let failed = schema::failed("read", &self.path);
            let known = match i64::try_from(operation.id) {
                Ok(id) => self
                    .connection
                    .prepare_cached("SELECT 1 FROM operation WHERE id = ?1")
                    .and_then(|mut s| s.exists([id]))
                    .map_err(failed)?,
                Err(_) => true,
            };
            if known || !opened.insert(operation.id) {
                return Err(LedgerError::OperationTaken(operation.id));
            }
        }
        Ok(())
    }

    /// One durable transaction.
    fn transaction<T>(
        &mut self,
        fill: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let failed = schema::failed("write", &self.path);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        let value = fill(&transaction).map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
        Ok(value)
    }
}

impl Store for Ledger {
    fn load(&self, stack: &StackName) -> Result<StackRecord, LedgerError> {
        self.database().record(stack).map(|(record, _)| record)
    }

    fn commit(&self, stack: &StackName, changes: &[Change]) -> Result<(), LedgerError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.writable()?;
        self.database().commit(stack, changes)
    }

    fn next_operation_id(&self) -> Result<u64, LedgerError> {
        self.writable()?;
        let sql = "UPDATE counter SET last = last + 1 WHERE name = 'operation' RETURNING last";
        let mut database = self.database();
        let id: i64 = database.transaction(|t| t.query_row(sql, [], |row| row.get(0)))?;
        u64::try_from(id).map_err(|_| schema::damaged(&database.path, "its operation counter is negative"))
    }

    fn acts(&self, stack: &StackName, limit: u32) -> Result<Vec<Act>, LedgerError> {
        self.database().reader().acts(stack, limit)
    }

    fn operations(&self, stack: &StackName, limit: u32) -> Result<Vec<OpenOperation>, LedgerError> {
        self.database().reader().ended(stack, limit)
    }

    fn put_object(&self, bytes: &[u8]) -> Result<Digest, LedgerError> {
        self.writable()?;
        self.objects.put(bytes)
    }

    fn object(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LedgerError> {
        self.objects.get(digest)
    }

    fn collect_objects(&self) -> Result<usize, LedgerError> {
        // Held to the end: no record comes to refer to what is being removed.
        let mut database = self.database();
        let mut referred = database.reader().all_kept()?;
        for stack in database.reader().stacks()? {
            let (record, _) = database.record(&stack)?;
            referred.extend(retention::objects(&record).into_iter().cloned());
        }
        self.objects.collect(&referred)
    }

    fn stacks(&self) -> Result<Vec<StackName>, LedgerError> {
        self.database().reader().stacks()
    }

    fn host_key(&self) -> HostKey {
        self.key.clone()
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn last_valid(&self, what: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let Some(digest) = self.database().reader().kept(what)? else {
            return Ok(None);
        };
        match self.objects.get(&digest)? {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(schema::damaged(
                &self.dir.join("objects"),
                format!("the last valid {what} is gone"),
            )),
        }
    }

    fn keep_valid(&self, what: &str, bytes: &[u8]) -> Result<(), LedgerError> {
        self.writable()?;
        let digest = self.objects.put(bytes)?;
        let mut database = self.database();
        if database.reader().kept(what)?.as_ref() == Some(&digest) {
            return Ok(());
        }
        let sql = "INSERT OR REPLACE INTO kept (what, digest) VALUES (?1, ?2)";
        database.transaction(|t| t.execute(sql, params![what, digest.as_str()]).map(drop))
    }

    fn release_reserve(&self) -> Result<(), LedgerError> {
        self.writable()?;
        disk::remove(&*self.fs, &self.dir.join("reserve"))
    }

    fn ensure_reserve(&self) -> Result<bool, LedgerError> {
        self.writable()?;
        disk::ensure_reserve(&*self.fs, &self.dir.join("reserve"))
    }
}
