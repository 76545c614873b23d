//! What is fuzzed, one function each: bytes in, and a panic where a promise is broken. Under libFuzzer they are
//! driven by coverage (`make fuzz`); in `make test` by the corpus and seeded mutations of it (`tests/tests/fuzz`).

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a panic is a finding; each binary of libFuzzer takes one of these"
)]

mod files;
mod kept;

pub(crate) use files::{compose, desired, env, settings};
pub(crate) use kept::{journal, ledger};
