//! Files on a real disk: whole, with their owner, and never outside of their stack.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::RenameFlags;
use state::files::{Placed, ReleaseFile, ReleaseFiles, Role};
use state::ledger::{MemoryStore, Store as _};
use state::name::Digest;

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

/// Ends another thread, also when this one fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whoever may write in the stack's directory puts a link in the place of a file, and of a directory, without pause.
#[test]
fn a_link_that_is_swapped_in_meanwhile_leads_nowhere() {
    let bench = Bench::new();
    let shadow = bench.write("outside/shadow", "secret");
    bench.write("shop/.env", "inside");
    bench.write("shop/nginx/shadow", "inside");
    symlink(bench.path("outside"), bench.path("shop/web")).unwrap();
    let [env, new, nginx, web] =
        ["shop/.env", "shop/new", "shop/nginx", "shop/web"].map(|name| bench.path(name));
    let (done, mut told) = (AtomicBool::new(false), [0, 0]);
    let swap = || {
        while !done.load(Ordering::Relaxed) {
            symlink(&shadow, &new).unwrap();
            fs::rename(&new, &env).unwrap();
            let (here, exchange) = (rustix::fs::CWD, RenameFlags::EXCHANGE);
            rustix::fs::renameat_with(here, &nginx, here, &web, exchange).unwrap();
            fs::write(&new, "inside").unwrap();
            fs::rename(&new, &env).unwrap();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(swap);
        let _ends = Ends(&done);
        for (round, name) in (0..4000).zip(["shop/.env", "shop/nginx/shadow"].into_iter().cycle()) {
            let read = bench.disk.read(&bench.path(name));
            told[usize::from(read.is_ok())] += 1;
            assert!(read.is_err() || read.unwrap() != b"secret", "{name}");
            if round % 40 < 2 {
                // Where it leads out it is refused; where it does not, it is put.
                let _ = bench.put(name, "inside");
            }
        }
    });
    assert_eq!(bench.text("outside/shadow"), "secret");
    assert_eq!(bench.names("outside"), ["shadow"]);
    assert!(
        told.iter().all(|count| *count > 0),
        "nothing was swapped: {told:?}"
    );
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
fn a_file_comes_back_with_the_directory_that_went_with_it() {
    let bench = Bench::new();
    bench.put("shop/nginx/conf.d/deep/a.conf", "1").unwrap();
    assert_eq!(bench.text("shop/nginx/conf.d/deep/a.conf"), "1");
    let none = bench.path("shop/none/a.conf");
    bench.disk.put(&none, None, None).unwrap();
    assert!(!bench.path("shop/none").exists());
    symlink("../outside", bench.path("shop/web")).unwrap();
    bench.put("shop/web/deep/a.conf", "1").unwrap_err();
    assert_eq!(bench.names("outside"), Vec::<String>::new());
    // What lies outside of every stack is its operator's to make.
    bench.put("outside/deep/a.conf", "1").unwrap_err();
}

/// What the agent has taken away is still asked for, and what it has brought back is not.
#[test]
fn a_directory_is_listed_as_its_operators_mean_it() {
    let bench = Bench::new();
    let store = MemoryStore::new();
    let directory = bench.path("shop/nginx");
    for name in ["kept", "brought back", "written since"] {
        bench.write(&format!("shop/nginx/{name}"), name);
    }
    let file = |role, content| ReleaseFile {
        role,
        content,
        owner: None,
        action: state::files::Action::Recreate,
    };
    let kept = |text: &str| file(Role::Tracked, Some(store.put_object(text.as_bytes()).unwrap()));
    let own = ReleaseFiles::from([
        (directory.clone(), file(Role::Directory, None)),
        (directory.join("kept"), kept("kept")),
        (directory.join("taken away"), kept("theirs")),
    ]);
    let placed = Placed::from([
        (directory.join("taken away"), vec![None]),
        (
            directory.join("brought back"),
            vec![Some(Digest::of(b"brought back"))],
        ),
        (directory.join("written since"), vec![Some(Digest::of(b"before"))]),
    ]);
    let source = Own::of(&bench.disk, &store, (&own, &placed), None);
    let listed = source.list(&directory).unwrap();
    let names: Vec<_> = listed
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ["kept", "taken away", "written since"]);
    assert_eq!(source.read(&directory.join("taken away")).unwrap(), b"theirs");
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
        action: state::files::Action::Recreate,
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

#[test]
fn who_may_not_write_is_told_before_anything_is_stopped() {
    let bench = Bench::new();
    bench.write("shop/.env", "A=1");
    symlink(bench.path("outside"), bench.path("shop/away")).unwrap();
    let check = |name: &str, expected: &str| {
        let can = bench.disk.can_put(&bench.path(name));
        let words = can.map_err(|error| config::error::with_sources(&error));
        let root = bench.root.path().display().to_string();
        let words = words.map_or_else(|words| words.replace(&root, ""), |()| String::from("can be put"));
        assert_eq!(words, expected, "{name}");
    };
    check("shop/.env", "can be put");
    check("shop/nginx/new.conf", "can be put");
    // Its directories are made with it.
    check("shop/none/deep/new.conf", "can be put");
    check(
        "elsewhere/new.conf",
        "/elsewhere/new.conf cannot be written: No such file or directory (os error 2)",
    );
    check("shop/away/x", "/shop/away/x leads out of /shop");
}

/// What lies below a directory, links as what they are.
fn below(at: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is = fs::symlink_metadata(&path).unwrap();
        if is.is_dir() {
            all.extend(below(&path).into_iter().map(|below| format!("{name}/{below}")));
            all.push(format!("{name}/"));
        } else if is.is_symlink() {
            all.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
        } else {
            all.push(format!("{name}: {}", fs::read_to_string(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn what_a_check_is_shown_is_the_directory_as_it_will_be() {
    let mut bench = Bench::new();
    let copies = bench.path("checked");
    bench.disk = bench.disk.with_copies(copies);
    bench.write("shop/nginx/nginx.conf", "old");
    bench.write("shop/nginx/mime.types", "not tracked");
    bench.write("shop/nginx/gone.conf", "goes");
    fs::create_dir_all(bench.path("shop/nginx/certs/deep")).unwrap();
    fs::create_dir(bench.path("shop/nginx/conf.d")).unwrap();
    bench.write("shop/nginx/conf.d/other.conf", "not tracked");
    symlink("certs/deep", bench.path("shop/nginx/link")).unwrap();
    let file = |name: &str, text: Option<&str>| (bench.path(name), text.map(|text| text.as_bytes().to_vec()));
    let files = Contents::from([
        file("shop/nginx/nginx.conf", Some("new")),
        file("shop/nginx/conf.d/api.conf", Some("api")),
        file("shop/nginx/gone.conf", None),
    ]);
    let stage = || {
        bench
            .disk
            .stage(Path::new("shop/7/2/0"), &bench.path("shop/nginx"), &files)
    };
    // What was interrupted is done again.
    stage().unwrap();
    let staged = stage().unwrap();
    assert_eq!(staged.at, bench.path("checked/shop/7/2/0/nginx"));
    let others: Vec<_> = staged.others.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(others, ["certs", "conf.d/other.conf", "mime.types"]);
    assert_eq!(
        below(&staged.at),
        [
            "certs/",
            "conf.d/",
            "conf.d/api.conf: api",
            "conf.d/other.conf: ",
            "link -> certs/deep",
            "mime.types: ",
            "nginx.conf: new"
        ]
    );
    assert_eq!(bench.text("shop/nginx/nginx.conf"), "old");
    // A file by itself, also where there is none.
    let alone = Contents::from([file("shop/none.conf", Some("none"))]);
    let staged = bench
        .disk
        .stage(Path::new("shop/7/2/1"), &bench.path("shop/none.conf"), &alone);
    assert_eq!(fs::read_to_string(staged.unwrap().at).unwrap(), "none");
    bench.disk.clear(Path::new("shop"), Some("7")).unwrap();
    assert_eq!(bench.names("checked/shop/7/2"), ["0", "1"]);
    bench.disk.clear(Path::new("shop/7/2/0"), None).unwrap();
    bench.disk.clear(Path::new("shop/7/2/0"), None).unwrap();
    assert_eq!(bench.names("checked/shop/7/2"), ["1"]);
    bench.disk.clear(Path::new("shop"), Some("8")).unwrap();
    assert_eq!(bench.names("checked/shop"), Vec::<String>::new());
}

/// A link that leads out of the stack is not followed, and what lies there is not shown.
#[test]
fn a_check_is_shown_nothing_that_lies_outside() {
    let mut bench = Bench::new();
    let copies = bench.path("checked");
    bench.disk = bench.disk.with_copies(copies);
    bench.write("outside/shadow", "secret");
    symlink("../outside", bench.path("shop/web")).unwrap();
    let files = Contents::from([(bench.path("shop/web/a.conf"), Some(b"a".to_vec()))]);
    let staged = bench
        .disk
        .stage(Path::new("shop/1/0/0"), &bench.path("shop/web"), &files);
    assert!(matches!(staged, Err(PutError::Io { .. })), "{staged:?}");
}

/// What it leads to is another file, and may be nobody's to take away.
#[test]
fn of_a_link_that_is_taken_away_the_link_goes() {
    let bench = Bench::new();
    bench.write("shop/available.conf", "theirs");
    symlink("available.conf", bench.path("shop/enabled.conf")).unwrap();
    symlink(bench.path("outside"), bench.path("shop/away")).unwrap();
    let away = |name: &str| bench.disk.put(&bench.path(name), None, None);
    away("shop/enabled.conf").unwrap();
    away("shop/enabled.conf").unwrap();
    assert_eq!(bench.names("shop"), ["available.conf", "away", "nginx"]);
    assert!(matches!(away("shop/nginx"), Err(PutError::NotRegular { .. })));
    assert!(matches!(away("shop/away/x"), Err(PutError::LeadsOut { .. })));
    assert!(away("shop/none/x").is_ok());
}
