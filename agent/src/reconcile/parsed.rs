//! The stacks of kept objects, parsed once: what is kept under a digest is always the same.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use state::common::Common;
use state::name::Digest;
use state::stack_spec::StackSpec;

/// What is asked for, what runs, what is gone back to, and one that was.
const KEPT: usize = 4;

/// The stacks that were parsed last.
#[derive(Default)]
pub(super) struct Parsed(Mutex<VecDeque<(Digest, Common<StackSpec>)>>);

impl Parsed {
    /// The stack in `bytes`, whose digest is `digest`; `None`: there is none in it.
    pub(super) fn of(&self, digest: &Digest, bytes: &[u8]) -> Option<Common<StackSpec>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, spec)) = kept.iter().find(|(of, _)| of == digest) {
            return Some(spec.clone());
        }
        let spec: Common<StackSpec> = serde_json::from_slice(bytes).ok()?;
        kept.truncate(KEPT - 1);
        kept.push_front((digest.clone(), spec.clone()));
        Some(spec)
    }
}
