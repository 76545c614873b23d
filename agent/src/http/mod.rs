//! What is told over HTTP on the loopback: the status page, metrics, whether the daemon lives, whether it is ready. It is only
//! read here: no order can be given, and nothing in this module can reach the loops.

mod events;
mod exposition;
mod families;
mod guard;
mod lease;
mod metrics;
mod page;
mod server;

#[cfg(test)]
mod documented;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod told;

pub use server::{AskEngine, ReadPast, Reading, serve};
#[cfg(test)]
pub(crate) use told::SITUATIONS;
