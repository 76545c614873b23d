//! Files → validated types. Nothing past this crate holds a raw string from a file, and every
//! error names file, line, column, the offending text and a way out. No clock, no engine, no tokio.

pub mod compose;
pub mod desired_file;
pub mod document;
pub mod env_file;
pub mod error;
mod fragment;
pub mod pin;
pub mod read;
pub mod settings;
pub mod sql;
mod validate;

pub use validate::{parse_duration, show_duration};
