//! Files on a real disk: whole, with their owner, and never outside of their stack.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use state::files::{ReleaseFile, Role};
use state::ledger::MemoryStore;

use super::*;

/// A stack's directory `shop`, with `outside` beside it.
struct Bench {
    root: tempfile::TempDir,
    disk: HostDisk,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("shop/nginx")).unwrap();
        fs::create_dir(root.path().join("outside")).unwrap();
        let disk = HostDisk::new([root.path().join("shop")]);
        Self { root, disk }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn put(&self, name: &str, text: &str) -> Result<(), PutError> {
        self.disk.put(&self.path(name), Some(text.as_bytes()), None)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_file_keeps_its_mode_and_its_owner_and_nothing_is_left_beside_it() {
    let bench = Bench::new();
    let path = bench.write("shop/.env", "A=1");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    bench.write("shop/.env.new", "of a person");
    bench.put("shop/.env", "A=2").unwrap();
    assert_eq!(bench.text("shop/.env"), "A=2");
    assert_eq!(bench.text("shop/.env.new"), "of a person");
    let is = fs::metadata(&path).unwrap();
    assert_eq!(is.mode() & 0o7777, 0o640);
    assert_eq!(bench.disk.owner(&path).unwrap().mode, 0o640);
    assert_eq!(bench.names("shop"), [".env", ".env.new", "nginx"]);
}

#[test]
fn a_file_that_is_made_anew_gets_what_is_said_or_is_private() {
    let bench = Bench::new();
    bench.put("shop/.env", "A=1").unwrap();
    assert_eq!(bench.disk.owner(&bench.path("shop/.env")).unwrap().mode, 0o600);
    let mut owner = bench.disk.owner(&bench.path("shop/.env")).unwrap();
    owner.mode = 0o644;
    let conf = bench.path("shop/nginx/a.conf");
    bench.disk.put(&conf, Some(b"x"), Some(owner)).unwrap();
    assert_eq!(bench.disk.owner(&conf), Some(owner));
    bench.disk.put(&conf, None, None).unwrap();
    bench.disk.put(&conf, None, None).unwrap();
    assert!(!conf.exists());
}

#[test]
fn a_link_inside_of_the_stack_stays_one() {
    let bench = Bench::new();
    bench.write("shop/.env.prod", "A=1");
    symlink(".env.prod", bench.path("shop/.env")).unwrap();
    symlink("nginx", bench.path("shop/web")).unwrap();
    bench.write("shop/nginx/a.conf", "1");
    bench.put("shop/.env", "A=2").unwrap();
    assert_eq!(bench.text("shop/.env.prod"), "A=2");
    assert!(
        fs::symlink_metadata(bench.path("shop/.env"))
            .unwrap()
            .is_symlink()
    );
    bench.put("shop/web/a.conf", "2").unwrap();
    assert_eq!(bench.text("shop/nginx/a.conf"), "2");
    assert_eq!(bench.disk.read(&bench.path("shop/.env")).unwrap(), b"A=2");
}

#[test]
fn no_link_leads_out_of_a_stack() {
    let bench = Bench::new();
    bench.write("outside/shadow", "secret");
    symlink("../outside/shadow", bench.path("shop/.env")).unwrap();
    symlink(bench.path("outside"), bench.path("shop/web")).unwrap();
    symlink("loop", bench.path("shop/loop")).unwrap();
    for name in ["shop/.env", "shop/web/shadow"] {
        let error = bench.put(name, "x").unwrap_err();
        assert!(matches!(error, PutError::LeadsOut { .. }), "{error}");
        let read = bench.disk.read(&bench.path(name)).unwrap_err();
        assert!(matches!(read, ReadError::Unreadable { .. }), "{read}");
    }
    assert!(bench.put("shop/loop", "x").is_err());
    assert_eq!(bench.text("outside/shadow"), "secret");
    // What was named outside of every stack is its operator's word.
    bench.put("outside/shadow", "new").unwrap();
    assert_eq!(bench.text("outside/shadow"), "new");
}

#[test]
fn what_is_no_file_is_neither_read_nor_replaced() {
    let bench = Bench::new();
    let fifo = bench.path("shop/fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for name in ["shop/fifo", "shop/nginx"] {
        assert!(matches!(bench.put(name, "x"), Err(PutError::NotRegular { .. })));
        let read = bench.disk.read(&bench.path(name));
        assert!(matches!(read, Err(ReadError::NotRegular { .. })), "{read:?}");
    }
    let absent = bench.disk.read(&bench.path("shop/none/at/all"));
    assert!(matches!(absent, Err(ReadError::Absent { .. })), "{absent:?}");
}

#[test]
fn what_the_agent_has_put_is_read_as_the_operators_until_somebody_writes() {
    let bench = Bench::new();
    let store = MemoryStore::new();
    let path = bench.write("shop/.env", "good");
    let file = ReleaseFile {
        role: Role::Env,
        content: Some(store.put_object(b"theirs").unwrap()),
        owner: None,
    };
    let own = ReleaseFiles::from([(path.clone(), file)]);
    let placed = Placed::from([(path.clone(), vec![Some(Digest::of(b"good"))])]);
    let read = || {
        let source = Own::of(&bench.disk, &store, (&own, &placed), None);
        let text = String::from_utf8(source.read(&path).unwrap()).unwrap();
        (text, source.seen()[&path].clone())
    };
    assert_eq!(read(), (String::from("theirs"), Some(Digest::of(b"good"))));
    bench.write("shop/.env", "edited");
    assert_eq!(read(), (String::from("edited"), Some(Digest::of(b"edited"))));
    let pinned = Digest::of(b"theirs");
    let source = Own::of(&bench.disk, &store, (&own, &placed), Some((&path, &pinned)));
    assert_eq!(source.read(&path).unwrap(), b"theirs");
}
