//! A full disk: nothing is half-kept, nothing is lost, and the reserve journals what mends it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::life::{act, health, life, stack};
use crate::ledger::{Ledger, LedgerError, Store};
use crate::record::Change;

/// A small file system of its own; unmounted when dropped.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    /// `None` where this user may not mount.
    fn mount(megabytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = rustix::process::geteuid().is_root()
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
                .arg(dir.path())
                .status()
                .is_ok_and(|s| s.success());
        if !mounted {
            // Past the test harness, which shows nothing of a test that passes.
            let skipped = b"SKIPPED: a full disk needs the right to mount a tmpfs\n";
            std::io::stderr().write_all(skipped).unwrap();
        }
        mounted.then(|| Self { dir })
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Takes what is left.
    fn fill(&self) -> PathBuf {
        let path = self.dir.path().join("filler");
        let mut file = fs::File::create(&path).unwrap();
        std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.dir.path()).status();
    }
}

/// Commits until the disk is full; how many commits went through.
fn commit_until_full(ledger: &Ledger) -> usize {
    for n in 0..10_000 {
        match ledger.commit(&stack(), &[act(&format!("{n} {}", "x".repeat(2000)))]) {
            Ok(()) => {}
            Err(LedgerError::Full { .. }) => return n,
            Err(e) => panic!("{e:?}"),
        }
    }
    panic!("the disk is never full");
}

fn acts(ledger: &Ledger) -> usize {
    ledger.acts(&stack(), u32::MAX).unwrap().len()
}

fn reserve(dir: &Path) -> bool {
    dir.join("reserve").exists()
}

#[test]
fn a_full_disk_keeps_what_was_acknowledged_and_the_reserve_journals_the_rest() {
    let Some(small) = Small::mount(10) else { return };
    let ledger = Ledger::open(&small.state()).unwrap();
    assert!(reserve(&small.state()));
    for batch in life() {
        ledger.commit(&stack(), &batch).unwrap();
    }
    let before = acts(&ledger);
    let filler = small.fill();
    let kept = before + commit_until_full(&ledger);
    let record = ledger.load(&stack()).unwrap();

    // Refused again and again, and as it was.
    let batch = [act("y"), Change::Health(Box::new(health(5)))];
    let big = [act(&"z".repeat(200_000))];
    assert!(matches!(
        ledger.commit(&stack(), &big),
        Err(LedgerError::Full { .. })
    ));
    assert!(matches!(
        ledger.put_object(&vec![9; 100_000]),
        Err(LedgerError::Full { .. })
    ));
    assert_eq!(acts(&ledger), kept);
    assert_eq!(ledger.load(&stack()).unwrap(), record);
    assert!(!fs::exists(small.state().join("reserve.new")).unwrap());

    // The reserve lets it go on, also over a restart.
    ledger.release_reserve().unwrap();
    ledger.commit(&stack(), &batch).unwrap();
    ledger.commit(&stack(), &big).unwrap();
    drop(ledger);
    small.fill();
    match Ledger::open(&small.state()) {
        Ok(ledger) => assert_eq!(acts(&ledger), kept + 2),
        Err(e) => assert!(matches!(e, LedgerError::Full { .. }), "{e:?}"),
    }
    fs::remove_file(&filler).unwrap();
    let ledger = Ledger::open(&small.state()).unwrap();
    assert_eq!(acts(&ledger), kept + 2);
    assert!(ledger.ensure_reserve().unwrap());
    assert!(reserve(&small.state()));
}

#[test]
fn an_agent_starts_on_a_full_disk_by_its_reserve() {
    let Some(small) = Small::mount(10) else { return };
    let ledger = Ledger::open(&small.state()).unwrap();
    for batch in life() {
        ledger.commit(&stack(), &batch).unwrap();
    }
    let record = ledger.load(&stack()).unwrap();
    drop(ledger);
    let filler = small.fill();
    let ledger = Ledger::open(&small.state()).unwrap();
    assert_eq!(ledger.load(&stack()).unwrap(), record);
    ledger.release_reserve().unwrap();
    ledger.commit(&stack(), &[act("retry")]).unwrap();
    small.fill();
    assert!(!ledger.ensure_reserve().unwrap());
    fs::remove_file(filler).unwrap();
    assert!(ledger.ensure_reserve().unwrap());
}
