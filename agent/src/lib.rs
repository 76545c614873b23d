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
pub mod inputs;
pub mod log;
pub mod preview;
pub mod probe;
pub mod reconcile;
pub mod rows;
pub mod run;
pub mod shared;
pub mod signal;
pub mod took;
pub mod view;
pub mod watch;
