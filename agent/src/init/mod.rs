//! From a host on which stacks run already to the files that say so: what is found of each Compose project, what is made of
//! it, and what could not be found out. Everything here is pure but `look.rs`; the files are written by `cli/init.rs`.

mod choose;
mod database;
mod files;
mod found;
mod git;
mod health;
mod look;
mod migrations;
mod project;
mod same;
mod tags;
#[cfg(test)]
mod tests;
mod text;
mod tracked;

pub(crate) use choose::choose;
pub(crate) use database::is_postgres_image;
pub(crate) use files::Files;
pub(crate) use found::{Question, Stack};
pub(crate) use look::look;
pub(crate) use project::{Asked, Project, projects};
pub(crate) use same::differs;
pub(crate) use text::{Places, desired, drop_in, settings};
