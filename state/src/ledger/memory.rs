//! A store that lives as long as whoever made it: a test, or a look at what was never met before. It
//! keeps the promises of the real one, durability apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{KEPT_ACTS, KEPT_OPERATIONS, LedgerError, Store};
use crate::journal::{Event, OpenOperation};
use crate::name::{Digest, StackName};
use crate::record::{Act, Change, StackRecord};
use crate::release::HostKey;
use crate::retention;

/// A [`Store`] in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    stacks: BTreeMap<StackName, StackKept>,
    objects: BTreeMap<Digest, Vec<u8>>,
    doomed: BTreeSet<Digest>,
    valid: BTreeMap<String, Vec<u8>>,
    operation_ids: BTreeSet<u64>,
    last_operation: u64,
}

/// One stack; acts, and ended operations by their id, the newest last.
#[derive(Debug, Clone)]
struct StackKept {
    record: StackRecord,
    acts: Vec<Act>,
    ended: Vec<OpenOperation>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A batch is put in place whole, so a panic elsewhere leaves nothing half-done here.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&self, stack: &StackName) -> Result<StackRecord, LedgerError> {
        let kept = self.kept();
        Ok(kept
            .stacks
            .get(stack)
            .map_or_else(|| StackRecord::new(stack.clone()), |s| s.record.clone()))
    }

    fn commit(&self, stack: &StackName, changes: &[Change]) -> Result<(), LedgerError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut kept = self.kept();
        if let [change] = changes
            && !matches!(change, Change::Open(_))
            && let Some(whole) = kept.stacks.get_mut(stack)
        {
            // One change is taken whole or not at all, also in place.
            whole.take(change)?;
            whole.forget_the_old();
            return Ok(());
        }
        let record = kept.stacks.get(stack).map(|s| s.record.clone());
        let mut batch = StackKept::of(record.unwrap_or_else(|| StackRecord::new(stack.clone())));
        let mut opened = BTreeSet::new();
        for change in changes {
            if let Change::Open(operation) = change
                && (kept.operation_ids.contains(&operation.id) || !opened.insert(operation.id))
            {
                return Err(LedgerError::OperationTaken(operation.id));
            }
            batch.take(change)?;
        }
        kept.last_operation = opened.last().copied().unwrap_or(0).max(kept.last_operation);
        kept.operation_ids.append(&mut opened);
        let whole = kept
            .stacks
            .entry(stack.clone())
            .or_insert_with(|| StackKept::of(batch.record.clone()));
        whole.record = batch.record;
        whole.acts.append(&mut batch.acts);
        whole.ended.append(&mut batch.ended);
        whole.ended.sort_by_key(|o| o.operation.id);
        whole.forget_the_old();
        Ok(())
    }

    fn next_operation_id(&self) -> Result<u64, LedgerError> {
        let mut kept = self.kept();
        kept.last_operation += 1;
        Ok(kept.last_operation)
    }

    fn acts(&self, stack: &StackName, limit: u32) -> Result<Vec<Act>, LedgerError> {
        let kept = self.kept();
        Ok(kept
            .stacks
            .get(stack)
            .map(|s| newest(&s.acts, limit))
            .unwrap_or_default())
    }

    fn operations(&self, stack: &StackName, limit: u32) -> Result<Vec<OpenOperation>, LedgerError> {
        let kept = self.kept();
        Ok(kept
            .stacks
            .get(stack)
            .map(|s| newest(&s.ended, limit))
            .unwrap_or_default())
    }

    fn put_object(&self, bytes: &[u8]) -> Result<Digest, LedgerError> {
        let digest = Digest::of(bytes);
        let mut kept = self.kept();
        kept.doomed.remove(&digest);
        kept.objects.insert(digest.clone(), bytes.to_vec());
        Ok(digest)
    }

    fn object(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.kept().objects.get(digest).cloned())
    }

    fn collect_objects(&self) -> Result<usize, LedgerError> {
        let mut kept = self.kept();
        let records = kept.stacks.values().map(|s| &s.record);
        let referred: BTreeSet<Digest> = records.flat_map(retention::objects).cloned().collect();
        let unreferred = kept.objects.keys().filter(|digest| !referred.contains(*digest));
        let mut doomed: BTreeSet<Digest> = unreferred.cloned().collect();
        let gone: Vec<Digest> = doomed.intersection(&kept.doomed).cloned().collect();
        for digest in &gone {
            kept.objects.remove(digest);
            doomed.remove(digest);
        }
        kept.doomed = doomed;
        Ok(gone.len())
    }

    fn stacks(&self) -> Result<Vec<StackName>, LedgerError> {
        Ok(self.kept().stacks.keys().cloned().collect())
    }

    fn host_key(&self) -> HostKey {
        HostKey::new([7; 32])
    }

    fn identity(&self) -> String {
        String::from("00000000000000000000000000000007")
    }

    fn last_valid(&self, what: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.kept().valid.get(what).cloned())
    }

    fn keep_valid(&self, what: &str, bytes: &[u8]) -> Result<(), LedgerError> {
        self.kept().valid.insert(what.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn release_reserve(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn ensure_reserve(&self) -> Result<bool, LedgerError> {
        Ok(true)
    }
}

impl StackKept {
    fn of(record: StackRecord) -> Self {
        Self {
            record,
            acts: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Applies one change; on an error this is as it was.
    fn take(&mut self, change: &Change) -> Result<(), LedgerError> {
        let ends = matches!(change, Change::Journal(entry) if matches!(entry.event, Event::Ended(_)));
        let open = ends.then(|| self.record.operation.clone()).flatten();
        self.record
            .apply(change)
            .map_err(|source| LedgerError::Impossible {
                stack: self.record.stack.clone(),
                source,
            })?;
        match change {
            Change::Act(act) => self.acts.push((**act).clone()),
            Change::Journal(entry) if matches!(entry.event, Event::Ended(_)) => {
                let mut ended = open.expect("the record has just taken the end of an open operation");
                ended
                    .apply(entry.clone())
                    .expect("the record has just taken this very event");
                self.ended.push(ended);
            }
            _ => {}
        }
        Ok(())
    }

    fn forget_the_old(&mut self) {
        let surplus = self.acts.len().saturating_sub(KEPT_ACTS as usize);
        self.acts.drain(..surplus);
        let surplus = self.ended.len().saturating_sub(KEPT_OPERATIONS as usize);
        self.ended.drain(..surplus);
    }
}

fn newest<T: Clone>(items: &[T], limit: u32) -> Vec<T> {
    items.iter().rev().take(limit as usize).cloned().collect()
}
