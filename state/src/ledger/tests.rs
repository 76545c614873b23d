//! The promises of [`Store`](super::Store), kept by both stores; and what only the disk can do wrong.

#![allow(clippy::unwrap_used)]
// A file system has to be mounted, and a fixture is written on request.
#![allow(clippy::disallowed_methods)]

mod agree;
mod damage;
mod full;
mod life;
mod look;
mod rows;
mod version;
