//! The edges of Steadfast: one module per outside thing, each behind a trait small enough to be
//! simulated whole. What to do is decided in `state`; here it is seen, done and told.

pub mod backoff;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod control;
pub mod database;
pub mod demo;
pub mod engine;
pub mod execute;
pub mod files;
pub mod http;
mod init;
pub mod inputs;
pub mod log;
pub mod memory;
pub mod preview;
pub mod probe;
pub mod recent;
pub mod reconcile;
pub mod rows;
pub mod run;
pub mod service;
pub mod shared;
pub mod signal;
pub mod source;
pub mod tally;
pub mod took;
pub mod view;
pub mod watch;
