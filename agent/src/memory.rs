//! What this process has in its memory: values of `.env`, passwords. None of it is written to a disk when the process dies.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// No core is written of this process, also where the host hands cores to a program; nor of one that it starts.
pub fn stays_in_memory() -> io::Result<()> {
    // What it starts (git, pg_dump, a command after a backup) is dumpable again: that is bounded by the limit.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Under systemd it is so already, and may not be changed.
    if getrlimit(Resource::Core) != none {
        setrlimit(Resource::Core, none)?;
    }
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rustix::process::dumpable_behavior;

    use super::*;

    /// Of the process of this test itself: it writes none either, then.
    #[test]
    fn no_core_is_written_of_this_process_or_what_it_starts() {
        for _ in 0..2 {
            stays_in_memory().unwrap();
        }
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let told = std::process::Command::new("sh")
            .args(["-c", "ulimit -Hc"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(told.stdout).unwrap().trim(), "0");
        // What it reaches by its own descriptors it reaches still.
        let directory = tempfile::tempdir().unwrap();
        let open = std::fs::File::open(directory.path()).unwrap();
        let name = format!("/proc/self/fd/{}/file", std::os::fd::AsRawFd::as_raw_fd(&open));
        std::fs::write(&name, "x").unwrap();
        assert!(directory.path().join("file").is_file());
    }
}
