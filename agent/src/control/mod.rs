//! The control socket: how commands reach the daemon. What is shown is `view`, what is asked is
//! `shared::Order`; here is only the way between them.

mod access;
pub mod client;
pub mod protocol;
pub mod server;
mod socket;
#[cfg(test)]
mod tests;

pub use access::Access;
pub use server::serve;
pub use socket::SocketError;
