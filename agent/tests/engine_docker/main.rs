//! The engine against a real one: what each call does, done once and again, and whether containers that
//! Compose made are recognised. Without an engine or the test images each test says so and does nothing.
#![allow(clippy::unwrap_used, missing_docs)]

mod adopt;
mod build;
mod calls;
mod exec;
mod fake;
mod images;
mod once;
mod support;
