//! Backups of a real Postgres in a container: made, verified, and what is left where they are interrupted. Without an
//! engine or the test images each test says so and does nothing.
#![allow(clippy::unwrap_used, missing_docs)]

mod cut_short;
mod elsewhere;
mod making;
mod preserving;
mod restoring;
mod support;
mod verifying;
