//! A store over another one, which it only reads: what is written stays above, and is gone with it. So
//! what would be done can be found out by the same code that does it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{LedgerError, Store, applied};
use crate::journal::OpenOperation;
use crate::name::{Digest, StackName};
use crate::record::{Act, Change, StackRecord};
use crate::release::HostKey;

/// A [`Store`] that changes nothing below it.
pub struct Overlay {
    below: Arc<dyn Store>,
    above: Mutex<Above>,
}

#[derive(Default)]
struct Above {
    records: BTreeMap<StackName, StackRecord>,
    objects: BTreeMap<Digest, Vec<u8>>,
    valid: BTreeMap<String, Vec<u8>>,
    operations: u64,
}

impl Overlay {
    /// Over `below`, with nothing written yet.
    pub fn new(below: Arc<dyn Store>) -> Self {
        Self {
            below,
            above: Mutex::default(),
        }
    }

    fn above(&self) -> MutexGuard<'_, Above> {
        // A batch is put in place whole, so a panic elsewhere leaves nothing half-done here.
        self.above.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Overlay {
    fn load(&self, stack: &StackName) -> Result<StackRecord, LedgerError> {
        match self.above().records.get(stack) {
            Some(record) => Ok(record.clone()),
            None => self.below.load(stack),
        }
    }

    fn commit(&self, stack: &StackName, changes: &[Change]) -> Result<(), LedgerError> {
        let after = applied(&self.load(stack)?, changes)?;
        self.above().records.insert(stack.clone(), after);
        Ok(())
    }

    /// Unique above; nobody below knows of it.
    fn next_operation_id(&self) -> Result<u64, LedgerError> {
        let mut above = self.above();
        above.operations += 1;
        Ok(above.operations)
    }

    fn acts(&self, stack: &StackName, limit: u32) -> Result<Vec<Act>, LedgerError> {
        self.below.acts(stack, limit)
    }

    fn operations(&self, stack: &StackName, limit: u32) -> Result<Vec<OpenOperation>, LedgerError> {
        self.below.operations(stack, limit)
    }

    fn put_object(&self, bytes: &[u8]) -> Result<Digest, LedgerError> {
        let digest = Digest::of(bytes);
        self.above().objects.insert(digest.clone(), bytes.to_vec());
        Ok(digest)
    }

    fn object(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LedgerError> {
        match self.above().objects.get(digest) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None => self.below.object(digest),
        }
    }

    /// What is below is not for this store to judge, and what is above goes with it.
    fn collect_objects(&self) -> Result<usize, LedgerError> {
        Ok(0)
    }

    fn stacks(&self) -> Result<Vec<StackName>, LedgerError> {
        let mut stacks = self.below.stacks()?;
        stacks.extend(self.above().records.keys().cloned());
        stacks.sort();
        stacks.dedup();
        Ok(stacks)
    }

    fn host_key(&self) -> HostKey {
        self.below.host_key()
    }

    fn identity(&self) -> String {
        self.below.identity()
    }

    fn last_valid(&self, what: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        match self.above().valid.get(what) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None => self.below.last_valid(what),
        }
    }

    fn keep_valid(&self, what: &str, bytes: &[u8]) -> Result<(), LedgerError> {
        self.above().valid.insert(what.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn release_reserve(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn ensure_reserve(&self) -> Result<bool, LedgerError> {
        Ok(true)
    }
}
