//! A reader that looks only when it is woken must, in the end, have seen what is there.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::time::Instant;

use notify::event::{CreateKind, DataChange, ModifyKind, RemoveKind};

use super::*;

/// So long that no test is helped by it.
const NEVER: Duration = Duration::from_secs(3600);

/// Reads the file at each wake, and at nothing else.
struct Reader {
    seen: Arc<Mutex<Option<String>>>,
    watch: FileWatch,
}

impl Reader {
    fn of(path: &Path, look: Duration) -> Self {
        let seen = Arc::new(Mutex::new(fs::read_to_string(path).ok()));
        let (sink, file) = (seen.clone(), path.to_owned());
        let wake = move || *sink.lock().unwrap() = fs::read_to_string(&file).ok();
        let watch = FileWatch::with_look(BTreeSet::from([path.to_owned()]), wake, look).unwrap();
        Self { seen, watch }
    }

    #[track_caller]
    fn sees(&self, expected: Option<&str>) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.seen.lock().unwrap().as_deref() != expected {
            let seen = self.seen.lock().unwrap().clone();
            assert!(
                Instant::now() < until,
                "{seen:?} is seen, and {expected:?} is there"
            );
            std::thread::yield_now();
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    (directory, path)
}

#[test]
fn a_file_written_in_place_half_first() {
    let (_keep, root) = directory();
    let path = root.join("desired.toml");
    fs::write(&path, "old").unwrap();
    let reader = Reader::of(&path, NEVER);
    let mut file = fs::File::create(&path).unwrap();
    reader.sees(Some(""));
    file.write_all(b"[shop]\ntag = ").unwrap();
    reader.sees(Some("[shop]\ntag = "));
    file.write_all(b"\"v2\"\n").unwrap();
    reader.sees(Some("[shop]\ntag = \"v2\"\n"));
}

#[test]
fn a_file_replaced_by_a_rename_removed_and_made_again() {
    let (_keep, root) = directory();
    let path = root.join(".env");
    let reader = Reader::of(&path, NEVER);
    for turn in ["first", "second", "third"] {
        let temporary = root.join(".env.tmp");
        fs::write(&temporary, turn).unwrap();
        fs::rename(&temporary, &path).unwrap();
        reader.sees(Some(turn));
    }
    fs::remove_file(&path).unwrap();
    reader.sees(None);
    fs::write(&path, "again").unwrap();
    reader.sees(Some("again"));
}

#[test]
fn a_file_that_comes_into_a_directory() {
    let (_keep, root) = directory();
    let conf = root.join("conf");
    fs::create_dir(&conf).unwrap();
    let names = |directory: &Path| {
        let names = fs::read_dir(directory).map_or(0, Iterator::count);
        names.to_string()
    };
    let seen = Arc::new(Mutex::new(None));
    let (sink, of) = (seen.clone(), conf.clone());
    let wake = move || *sink.lock().unwrap() = Some(names(&of));
    let watch = FileWatch::with_look(BTreeSet::from([conf.clone()]), wake, NEVER).unwrap();
    let reader = Reader { seen, watch };
    fs::write(conf.join("one"), "").unwrap();
    reader.sees(Some("1"));
    fs::write(conf.join(".two"), "").unwrap();
    reader.sees(Some("2"));
    fs::remove_file(conf.join("one")).unwrap();
    reader.sees(Some("1"));
    fs::remove_dir_all(&conf).unwrap();
    reader.sees(Some("0"));
    fs::create_dir(&conf).unwrap();
    fs::write(conf.join("again"), "").unwrap();
    reader.sees(Some("1"));
}

#[test]
fn a_symbolic_link_swapped_on_the_way() {
    let (_keep, root) = directory();
    let mount = root.join("config");
    for (version, content) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir_all(mount.join(version)).unwrap();
        fs::write(mount.join(version).join("desired.toml"), content).unwrap();
    }
    symlink("..1", mount.join("..data")).unwrap();
    symlink("..data/desired.toml", mount.join("desired.toml")).unwrap();
    let reader = Reader::of(&mount.join("desired.toml"), NEVER);
    reader.sees(Some("one"));
    symlink("..2", mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    reader.sees(Some("two"));
    fs::remove_dir_all(mount.join("..1")).unwrap();
    // The watch has moved on to where the file is now.
    fs::write(mount.join("..2/desired.toml"), "two, edited").unwrap();
    reader.sees(Some("two, edited"));
    symlink("gone", mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    reader.sees(None);
    fs::create_dir(mount.join("gone")).unwrap();
    fs::write(mount.join("gone/desired.toml"), "back").unwrap();
    reader.sees(Some("back"));
}

#[test]
fn directories_that_vanish_and_come_back() {
    let (_keep, root) = directory();
    let stack = root.join("srv/shop");
    let path = stack.join("compose.yaml");
    // Not even its directory is there at first.
    let reader = Reader::of(&path, NEVER);
    for turn in ["first", "second", "third"] {
        fs::create_dir_all(&stack).unwrap();
        fs::write(&path, turn).unwrap();
        reader.sees(Some(turn));
        fs::remove_dir_all(root.join("srv")).unwrap();
        reader.sees(None);
    }
    fs::create_dir_all(&stack).unwrap();
    fs::write(&path, "there").unwrap();
    reader.sees(Some("there"));
    fs::rename(&stack, root.join("srv/aside")).unwrap();
    reader.sees(None);
    fs::rename(root.join("srv/aside"), &stack).unwrap();
    reader.sees(Some("there"));
    fs::write(&path, "edited").unwrap();
    reader.sees(Some("edited"));
}

#[test]
fn a_directory_renamed_further_up_is_found_by_looking() {
    let (_keep, root) = directory();
    let path = root.join("a/b/c/file");
    for (top, content) in [("a", "one"), ("other", "two")] {
        fs::create_dir_all(root.join(top).join("b/c")).unwrap();
        fs::write(root.join(top).join("b/c/file"), content).unwrap();
    }
    let reader = Reader::of(&path, Duration::from_millis(20));
    fs::rename(root.join("a"), root.join("aside")).unwrap();
    fs::rename(root.join("other"), root.join("a")).unwrap();
    reader.sees(Some("two"));
    fs::write(&path, "two, edited").unwrap();
    reader.sees(Some("two, edited"));
}

#[test]
fn other_files_can_be_watched_instead() {
    let (_keep, root) = directory();
    let (first, second) = (root.join("first/file"), root.join("second/file"));
    let woken = Arc::new(Mutex::new(None));
    for path in [&first, &second] {
        fs::create_dir(path.parent().unwrap()).unwrap();
    }
    let (sink, read) = (woken.clone(), second.clone());
    let wake = move || *sink.lock().unwrap() = fs::read_to_string(&read).ok();
    let watch = FileWatch::with_look(BTreeSet::from([first]), wake, NEVER).unwrap();
    let reader = Reader { seen: woken, watch };
    reader.watch.set_paths(BTreeSet::from([second.clone()]));
    fs::write(&second, "seen").unwrap();
    reader.sees(Some("seen"));
    fs::write(&second, "seen again").unwrap();
    reader.sees(Some("seen again"));
}

#[test]
fn nobody_is_woken_once_the_watch_is_dropped() {
    let (_keep, root) = directory();
    let reader = Reader::of(&root.join("file"), NEVER);
    let seen = reader.seen.clone();
    drop(reader);
    assert_eq!(
        Arc::strong_count(&seen),
        1,
        "the thread still holds what it wakes"
    );
}

#[test]
fn only_what_changes_a_watched_name_wakes() {
    let check = |kind: EventKind, path: &str| {
        let shared = Shared::default();
        let mut state = shared.lock();
        state.names = BTreeSet::from([PathBuf::from("/srv/shop/.env")]);
        state.armed = BTreeMap::from([(PathBuf::from("/srv/shop"), (1, 2))]);
        drop(state);
        shared.event(Ok(Event::new(kind).add_path(PathBuf::from(path))));
        let state = shared.lock();
        (state.woken, state.armed.len())
    };
    let modified = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    let removed = EventKind::Remove(RemoveKind::Folder);
    assert_eq!(check(modified, "/srv/shop/.env"), (true, 1));
    assert_eq!(check(written, "/srv/shop/.env"), (true, 1));
    assert_eq!(check(opened, "/srv/shop/.env"), (false, 1));
    assert_eq!(check(modified, "/srv/shop/log"), (false, 1));
    assert_eq!(
        check(EventKind::Create(CreateKind::File), "/srv/shop/.env.swp"),
        (false, 1)
    );
    assert_eq!(check(removed, "/srv/shop"), (true, 0));

    let shared = Shared::default();
    shared.lock().armed.insert(PathBuf::from("/srv"), (1, 2));
    shared.event(Err(notify::Error::generic("lost")));
    let state = shared.lock();
    assert!(state.woken && state.armed.is_empty());
}
