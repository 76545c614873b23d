//! The way from the daemon to its ledger, with a test in it: the binary under test, unchanged, is stopped
//! right before and right after each transaction (`gate.c` says how), and goes on when the test says so.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Where a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Nothing of it is on disk.
    Before,
    /// All of it is.
    After,
}

/// The gate of one lab.
pub struct Gate {
    library: PathBuf,
    socket: PathBuf,
}

impl Gate {
    /// Makes the library in `directory`, and asks `goes_on` at each transaction until this process ends.
    pub fn open(directory: &Path, goes_on: impl Fn(Commit) -> bool + Send + 'static) -> Result<Self> {
        let (source, library) = (directory.join("gate.c"), directory.join("gate.so"));
        std::fs::write(&source, include_str!("gate.c"))?;
        let made = Command::new("gcc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status()
            .context("gcc is missing")?;
        ensure!(made.success(), "the gate does not compile");
        let socket = directory.join("gate.sock");
        let listener = UnixListener::bind(&socket)?;
        std::thread::spawn(move || {
            for mut daemon in listener.incoming().map_while(Result::ok) {
                let mut moment = [0];
                let commit = match daemon.read_exact(&mut moment) {
                    Ok(()) if moment == *b"b" => Commit::Before,
                    Ok(()) => Commit::After,
                    Err(_) => continue,
                };
                if goes_on(commit) {
                    // Killed in between, it hears nothing.
                    drop(daemon.write_all(b"g"));
                }
            }
        });
        Ok(Self { library, socket })
    }

    /// The environment that sends a daemon through the gate.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("STEADFAST_TEST_GATE", self.socket.clone()),
        ]
    }
}
