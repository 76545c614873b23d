//! The control socket: how commands reach the daemon. What is shown is `view`, what is asked is
//! `shared::Order`; here is only the way between them.

mod access;
pub mod client;
mod failure;
#[cfg(test)]
mod openapi;
pub mod protocol;
mod refusals;
mod releases;
mod routes;
pub mod server;
mod socket;
#[cfg(test)]
mod tests;

pub use access::{Access, is_known};
pub use releases::Releases;
pub use server::{Sources, serve};
pub use socket::SocketError;
