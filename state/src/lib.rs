//! The model and the judgement: what a release is, how what runs differs from it, what to do about
//! that, and when to go back. Pure and synchronous: no clock, no tokio, no engine; time is an
//! argument. Disk is touched by `ledger` only.

pub mod backup;
pub mod bug;
pub mod common;
pub mod data_change;
pub mod decide;
pub mod desired;
pub mod drift;
pub mod durable;
pub mod env_version;
pub mod files;
#[cfg(test)]
mod fixture;
pub mod health;
pub mod hold;
pub mod instead;
pub mod integrity;
pub mod journal;
pub mod kept_schema;
pub mod last_resort;
pub mod ledger;
pub mod migration_tool;
pub mod migrations;
pub mod name;
pub mod naming;
pub mod observed;
pub mod operation;
pub mod order;
pub mod plan;
pub mod planner;
pub mod policy;
pub mod record;
pub mod release;
pub mod retention;
pub mod rollback;
pub mod schema_fit;
pub mod stack_spec;
pub mod step;
pub mod strangers;
pub mod taken_back;
pub mod time;
