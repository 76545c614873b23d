//! What the tests share. No test lives here.

pub mod disk;
pub mod lab;
