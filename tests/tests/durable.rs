//! Every file of ours, at every primitive of every write: it fails, is killed, or the power goes, and what is found
//! afterwards is the whole old content or the whole new one. Of what a power cut may leave, everything is tried.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::backup::{Format, Manifest, Store, Why};
use agent::database::Census;
use config::pin::{Edit, pin_file_on};
use state::durable::{self, Owner};
use state::ledger::{Ledger, Objects, Store as _};
use state::name::Digest;
use steadfast_tests::disk::{Disk, Fault, Mirror, Primitive, copy_out};

const STATE: &str = "/var/lib/steadfast";
/// So many states of one cut, at most; no operation here comes near it.
const MOST: usize = 4096;

/// What one story of a disk is about.
struct Case<'a> {
    /// The disk before it.
    before: &'a dyn Fn() -> Disk,
    /// What is done; the error as words.
    act: &'a dyn Fn(&Disk) -> Result<(), String>,
    /// What must be so then. `true`: it was told that it is done.
    check: &'a dyn Fn(&Disk, bool),
}

impl Case<'_> {
    /// Goes through every fault of every primitive; which primitives there were.
    #[track_caller]
    fn exhaust(&self) -> Vec<Primitive> {
        let disk = (self.before)();
        disk.revive();
        (self.act)(&disk).unwrap();
        let log = disk.log();
        self.check_all(&disk, true);
        for at in 0..log.len() {
            for fault in Fault::ALL {
                self.fails(at, fault);
            }
        }
        log
    }

    fn fails(&self, at: usize, fault: Fault) {
        let disk = (self.before)();
        disk.revive();
        disk.fail_at(at, fault);
        let done = (self.act)(&disk);
        if let Err(words) = &done {
            assert!(words.contains('/'), "which file it was: {words}");
        }
        disk.revive();
        self.check_all(&disk, done.is_ok());
        // Whoever goes on does it again.
        (self.act)(&disk).unwrap_or_else(|why| panic!("{fault:?} at {at}, and not a second time: {why}"));
        self.check_all(&disk, true);
    }

    /// As it is, and after a power cut.
    fn check_all(&self, disk: &Disk, done: bool) {
        (self.check)(&disk.fork(), done);
        let all = disk.after_cut(MOST);
        assert!(all.len() < MOST, "not everything was tried");
        for after in all {
            (self.check)(&after, done);
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}

fn objects(disk: &Disk) -> Result<Objects, String> {
    Objects::open(Arc::new(disk.clone()), Path::new(STATE)).map_err(|e| chain(&e))
}

fn object_path(bytes: &[u8]) -> PathBuf {
    let digest = Digest::of(bytes);
    Path::new(STATE)
        .join("objects")
        .join(&digest.as_str()[..2])
        .join(digest.as_str())
}

/// No object has a wrong content, but for what was so before; nothing half-written is left behind.
fn are_whole(disk: &Disk) {
    let store = objects(disk).unwrap();
    for (path, bytes) in disk.files() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let digest: Digest = name.parse().unwrap_or_else(|_| panic!("left behind: {name}"));
        assert_eq!(Digest::of(&bytes), digest);
        assert_eq!(store.get(&digest).unwrap().as_deref(), Some(&*bytes));
    }
}

const OLD: &[u8] = b"PASSWORD=old\nLOG_LEVEL=info\n";
const NEW: &[u8] = b"PASSWORD=new, and longer than the old one\n";

#[test]
fn a_replaced_file_is_the_old_one_or_the_new_one() {
    let path = Path::new(STATE).join("host.key");
    let before = || {
        let disk = Disk::new(Path::new(STATE));
        disk.place(&path, OLD);
        disk
    };
    for owner in [Owner::Private, Owner::Kept] {
        let log = Case {
            before: &before,
            act: &|disk| durable::replace(disk, &path, NEW, owner).map_err(|e| chain(&e)),
            check: &|disk, done| {
                let content = disk.files()[&path].clone();
                assert!(content == NEW || (!done && content == OLD), "{content:?}");
                durable::sweep(disk, Path::new(STATE)).unwrap();
                assert_eq!(disk.files().len(), 1, "{:?}", disk.files());
            },
        }
        .exhaust();
        let mut expected = vec![Primitive::Create, Primitive::Write];
        expected.extend((owner == Owner::Kept).then_some(Primitive::TakeAfter));
        expected.extend([Primitive::Sync, Primitive::Rename, Primitive::SyncDir]);
        assert_eq!(log, expected);
    }
}

#[test]
fn a_reserve_is_whole_or_absent() {
    let path = Path::new(STATE).join("reserve");
    let bytes = 1 << 12;
    Case {
        before: &|| Disk::new(Path::new(STATE)),
        act: &|disk| durable::reserve(disk, &path, bytes).map_err(|e| chain(&e)),
        check: &|disk, done| {
            let size = disk.files().get(&path).map(|content| content.len() as u64);
            assert!(size == Some(bytes) || (!done && size.is_none()), "{size:?}");
            durable::sweep(disk, Path::new(STATE)).unwrap();
            assert!(disk.files().keys().all(|left| *left == path));
        },
    }
    .exhaust();
}

#[test]
fn an_object_that_was_put_is_there_and_none_is_ever_torn() {
    let put = |disk: &Disk| {
        let store = objects(disk)?;
        store.put(NEW).map(drop).map_err(|e| chain(&e))
    };
    let check = |disk: &Disk, done: bool| {
        are_whole(disk);
        if done {
            assert!(disk.files().contains_key(&object_path(NEW)), "it was put");
        }
    };
    let empty = || Disk::new(Path::new(STATE));
    let beside = || {
        let disk = empty();
        objects(&disk).unwrap().put(OLD).unwrap();
        disk
    };
    // What an earlier process put, and was killed before it was told so: seen, and not durable.
    let unsure = |at: usize| {
        let disk = empty();
        disk.fail_at(at, Fault::Killed);
        let _ = put(&disk);
        disk.revive();
        disk
    };
    for before in [&empty as &dyn Fn() -> Disk, &beside] {
        Case {
            before,
            act: &put,
            check: &check,
        }
        .exhaust();
    }
    let steps = {
        let disk = empty();
        put(&disk).unwrap();
        disk.log().len()
    };
    for at in 0..steps {
        Case {
            before: &|| unsure(at),
            act: &put,
            check: &check,
        }
        .exhaust();
    }
}

#[test]
fn a_torn_object_is_told_and_put_again() {
    let path = object_path(NEW);
    let before = || {
        let disk = Disk::new(Path::new(STATE));
        objects(&disk).unwrap().put(NEW).unwrap();
        disk.place(&path, &NEW[..5]);
        disk
    };
    Case {
        before: &before,
        act: &|disk| objects(disk)?.put(NEW).map(drop).map_err(|e| chain(&e)),
        check: &|disk, done| {
            let got = objects(disk).unwrap().get(&Digest::of(NEW));
            match got {
                Ok(Some(bytes)) => assert_eq!(bytes, NEW),
                other => assert!(!done && other.is_err(), "{other:?}"),
            }
        },
    }
    .exhaust();
}

#[test]
fn a_collection_takes_nothing_that_is_referred_to() {
    let before = || {
        let disk = Disk::new(Path::new(STATE));
        let store = objects(&disk).unwrap();
        store.put(OLD).unwrap();
        store.put(NEW).unwrap();
        disk
    };
    let referred: BTreeSet<Digest> = [Digest::of(NEW)].into();
    Case {
        before: &before,
        act: &|disk| {
            let store = objects(disk)?;
            for _ in 0..2 {
                store.collect(&referred).map_err(|e| chain(&e))?;
            }
            Ok(())
        },
        check: &|disk, _| {
            are_whole(disk);
            assert!(disk.files().contains_key(&object_path(NEW)));
        },
    }
    .exhaust();
}

fn backup(operation: u64) -> Manifest {
    Manifest {
        id: format!("20261126T191500Z-{operation}").parse().unwrap(),
        stack: "shop".parse().unwrap(),
        database: "shop".parse().unwrap(),
        copy: None,
        counted: Census {
            tables: [("public.t".to_owned(), 1)].into(),
            large_objects: 0,
            head: state::observed::SchemaHead::NoTable,
        },
        why: Why::Deploy,
        format: Format::Custom,
        made_by: "pg_dump (PostgreSQL) 15.14".to_owned(),
        bytes: DUMP.len() as u64,
        sha256: Digest::of(DUMP),
        database_bytes: 1 << 20,
        begun: "2026-11-26T19:15:00Z".parse().unwrap(),
        took: std::time::Duration::from_secs(1),
        verified: None,
    }
}

const DUMP: &[u8] = b"PGDMP and what follows";

fn archive(disk: &Disk) -> Store {
    Store::new(Arc::new(disk.clone()), Path::new(STATE))
}

fn keep_backup(disk: &Disk, manifest: &Manifest) -> Result<(), String> {
    let (store, stack) = (archive(disk), &manifest.stack);
    store.prepare(stack).map_err(|e| chain(&e))?;
    let halves = DUMP.split_at(DUMP.len() / 2);
    let fill = |file: &mut dyn durable::NewFile| {
        file.write(halves.0)?;
        file.write(halves.1)
    };
    store.write(stack, &manifest.id, fill).map_err(|e| chain(&e))?;
    store.put(manifest).map_err(|e| chain(&e))
}

/// What is listed has its whole dump, and once it was cleaned up there is nothing else.
fn backups_are_whole(disk: &Disk) -> Vec<u64> {
    let (store, stack) = (archive(disk), "shop".parse().unwrap());
    let listing = store.list(&stack).unwrap();
    assert_eq!(listing.damaged, []);
    store.prepare(&stack).unwrap();
    let files = disk.files();
    assert_eq!(files.len(), 2 * listing.backups.len(), "{:?}", files.keys());
    for found in &listing.backups {
        assert_eq!(files[&store.dump(&stack, &found.id)], DUMP);
    }
    listing.backups.iter().map(|found| found.id.operation()).collect()
}

#[test]
fn a_backup_counts_with_its_whole_dump() {
    let empty = || Disk::new(Path::new(STATE));
    let beside = || {
        let disk = empty();
        keep_backup(&disk, &backup(1)).unwrap();
        disk
    };
    for (before, there) in [
        (&empty as &dyn Fn() -> Disk, vec![]),
        (&beside as &dyn Fn() -> Disk, vec![1]),
    ] {
        Case {
            before,
            act: &|disk| keep_backup(disk, &backup(2)),
            check: &|disk, done| {
                let found = backups_are_whole(disk);
                let made = [there.clone(), vec![2]].concat();
                assert!(found == made || (!done && found == there), "{found:?}");
            },
        }
        .exhaust();
    }
    // Verified: written again.
    let verified = Manifest {
        took: std::time::Duration::from_secs(2),
        ..backup(1)
    };
    Case {
        before: &beside,
        act: &|disk| archive(disk).put(&verified).map_err(|e| chain(&e)),
        check: &|disk, done| {
            assert_eq!(backups_are_whole(disk), [1]);
            let found = archive(disk).get(&verified.stack, &verified.id).unwrap();
            assert!(found == verified || (!done && found == backup(1)));
        },
    }
    .exhaust();
}

#[test]
fn a_backup_that_is_removed_is_gone_or_whole() {
    let before = || {
        let disk = Disk::new(Path::new(STATE));
        for operation in [1, 2] {
            keep_backup(&disk, &backup(operation)).unwrap();
        }
        disk
    };
    Case {
        before: &before,
        act: &|disk| {
            let gone = backup(1);
            archive(disk).remove(&gone.stack, &gone.id).map_err(|e| chain(&e))
        },
        check: &|disk, done| {
            let found = backups_are_whole(disk);
            assert!(found == [2] || (!done && found == [1, 2]), "{found:?}");
        },
    }
    .exhaust();
}

/// A state of a real directory, apart from what is random in it.
fn shape(disk: &Disk) -> Vec<(PathBuf, usize, bool)> {
    let dirs = disk.dirs().into_iter().map(|dir| (dir, 0, false));
    let files = disk.files().into_iter().map(|(path, bytes)| {
        let torn = bytes.iter().rev().take(8).all(|byte| *byte == 0);
        (path, bytes.len(), torn)
    });
    dirs.chain(files).collect()
}

#[test]
fn a_first_start_that_is_interrupted_anywhere_is_begun_again() {
    let opened = |at: usize, fault: Option<Fault>| {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::new(root.path());
        if let Some(fault) = fault {
            disk.fail_at(at, fault);
        }
        let mirror = Arc::new(Mirror { disk: disk.clone() });
        let ledger = Ledger::open_on(mirror, &root.path().join("state"));
        let id = ledger.map(|ledger| ledger.identity()).map_err(|e| chain(&e));
        (root, disk, id)
    };
    let (_, disk, id) = opened(0, None);
    id.unwrap();
    let mut seen = BTreeSet::new();
    for at in 0..disk.log().len() {
        for fault in Fault::ALL {
            let (root, disk, id) = opened(at, Some(fault));
            let mut all = disk.after_cut(MOST);
            assert!(all.len() < MOST);
            all.push(disk.fork());
            for after in all {
                let place = |(path, length, torn): (PathBuf, usize, bool)| {
                    (
                        path.strip_prefix(root.path())
                            .map(Path::to_path_buf)
                            .unwrap_or_default(),
                        length,
                        torn,
                    )
                };
                let known: Vec<_> = shape(&after).into_iter().map(place).collect();
                if !seen.insert((known, id.is_ok())) {
                    continue;
                }
                let to = tempfile::tempdir().unwrap();
                copy_out(&after, root.path(), to.path()).unwrap();
                let again = Ledger::open(&to.path().join("state"))
                    .unwrap_or_else(|e| panic!("{fault:?} at {at}: {}", chain(&e)));
                if let Ok(id) = &id {
                    assert_eq!(again.identity(), *id, "{fault:?} at {at}: it was told who it is");
                }
                let names = std::fs::read_dir(to.path().join("state")).unwrap();
                let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
                assert!(names.all(|name| !name.contains(".new")), "left behind");
            }
        }
    }
    assert!(seen.len() > 20, "{}", seen.len());
}

#[test]
fn a_pin_is_made_or_not_whatever_comes_between() {
    let (old, stack) = ("# ours\n[shop]\ntag = \"v1\"\n", "shop".parse().unwrap());
    let edit = Edit {
        tag: Some("v2".parse().unwrap()),
        ..Edit::default()
    };
    let pinned = |at: usize, fault: Option<Fault>| {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("desired.toml");
        std::fs::write(&path, old).unwrap();
        let disk = Disk::new(root.path());
        disk.place(&path, old.as_bytes());
        if let Some(fault) = fault {
            disk.fail_at(at, fault);
        }
        let mirror = Mirror { disk: disk.clone() };
        let done = pin_file_on(&mirror, &path, &stack, &edit).map_err(|e| chain(&e));
        (path, disk, mirror, done, root)
    };
    let (path, disk, _, done, _root) = pinned(0, None);
    done.unwrap();
    let new = disk.files()[&path].clone();
    for at in 0..disk.log().len() {
        for fault in Fault::ALL {
            let (path, disk, mirror, done, _root) = pinned(at, Some(fault));
            let check = |disk: &Disk, done: bool| {
                let content = disk.files()[&path].clone();
                assert!(
                    content == new || (!done && content == old.as_bytes()),
                    "{fault:?} at {at}"
                );
            };
            for after in disk.after_cut(MOST) {
                check(&after, done.is_ok());
            }
            if let Err(words) = &done {
                assert!(words.contains("desired.toml"), "{words}");
            }
            // What is seen is what is told: changed, or as it was.
            let seen = std::fs::read(&path).unwrap();
            if fault.is_survived() {
                let says_changed =
                    done.as_ref().is_ok_and(|()| true) || done.is_err_and(|e| e.contains("is changed"));
                assert_eq!(seen == new, says_changed, "{fault:?} at {at}");
                disk.revive();
                pin_file_on(&mirror, &path, &stack, &edit).unwrap();
                for after in disk.after_cut(MOST) {
                    check(&after, true);
                }
                let left = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
                assert_eq!(left, 1, "{fault:?} at {at}: left behind");
            }
        }
    }
}
