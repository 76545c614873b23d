//! Files that nothing can be made of, on a real disk: each is said once, with its place and without a value.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use rustix::fs::{FileType, Mode};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::*;
use crate::files::HostDisk;

const COMPOSE: &str = "services:
  api:
    image: api:${TAG}
    env_file: app.env
    environment: {LEVEL: \"${LEVEL:-1}\"}
    volumes: [\"./nginx.conf:/nginx.conf:ro\"]
";
const GOOD: [(&str, &str); 4] = [
    (".env", "LEVEL=2\n"),
    ("compose.yaml", COMPOSE),
    ("app.env", "PASSWORD=s3cret\n"),
    ("nginx.conf", "events {}\n"),
];

/// A stack `shop` with good files, and a file `elsewhere` beside it.
struct Bench {
    root: tempfile::TempDir,
    settings: Settings,
    disk: HostDisk,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("shop")).unwrap();
        fs::write(root.path().join("elsewhere"), "PASSWORD=s3cret\n").unwrap();
        let text = "[agent]\nstate_dir = \"DIR/state\"\ndesired = \"DIR/desired.toml\"\n\
             [stack.shop]\ndirectory = \"DIR/shop\"\ntrack = [\"nginx.conf\"]\n";
        let text = text.replace("DIR", root.path().to_str().unwrap());
        let settings = config::settings::parse(&root.path().join("steadfast.toml"), &text);
        let disk = HostDisk::new([root.path().join("shop")]);
        let bench = Self {
            root,
            settings: settings.unwrap().0,
            disk,
        };
        for (name, text) in GOOD {
            fs::write(bench.path(name), text).unwrap();
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("shop").join(name)
    }

    fn look(&self) -> Look {
        let settings = &self.settings.stacks[&"shop".parse().unwrap()];
        let desired = Desired::new("v1".parse().unwrap());
        read(
            &self.disk,
            settings,
            &desired,
            &HostKey::new([7; 32]),
            &Checkouts::default(),
        )
    }
}

/// As somebody who has no rights but those that a file gives: they are a thread's own.
fn without_rights<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let act = || {
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, none).unwrap();
        act()
    };
    std::thread::scope(|scope| scope.spawn(act).join().unwrap())
}

/// What is said where `name` is what `deed` makes of it: one error, with these words; and with the good file there again
/// all is as before.
#[track_caller]
fn check(name: &str, words: &str, deed: impl FnOnce(&Path)) {
    let bench = Bench::new();
    let good = bench.look();
    assert!(good.inputs.is_ok(), "{:?}", good.inputs);
    let path = bench.path(name);
    fs::remove_file(&path).unwrap();
    deed(&path);
    let bad = without_rights(|| bench.look());
    let problems = bad.inputs.unwrap_err();
    let errors: Vec<String> = problems
        .iter()
        .filter(|p| p.is_error())
        .map(ToString::to_string)
        .collect();
    assert_eq!(errors.len(), 1, "{name}: {errors:#?}");
    assert!(
        errors[0].contains(words) && errors[0].contains(name),
        "{name}: {errors:#?}"
    );
    assert!(
        !format!("{problems:?}").contains("s3cret"),
        "{name}: {problems:#?}"
    );
    assert_ne!(bad.fingerprint, good.fingerprint, "{name}");
    if path.is_dir() {
        fs::remove_dir(&path).unwrap();
    } else if fs::symlink_metadata(&path).is_ok() {
        fs::remove_file(&path).unwrap();
    }
    let (_, text) = GOOD.iter().find(|(good, _)| *good == name).unwrap();
    fs::write(&path, text).unwrap();
    let again = bench.look();
    assert_eq!((again.fingerprint, again.inputs), (good.fingerprint, good.inputs));
}

fn fifo(path: &Path) {
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn what_is_no_file_or_may_not_be_read() {
    for (name, _) in GOOD {
        check(name, "is a FIFO, not a file", fifo);
        check(name, "is a directory, not a file", |path| {
            fs::create_dir(path).unwrap();
        });
        check(name, "is larger than 4194304 bytes", |path| {
            fs::write(path, vec![b'#'; 10 << 20]).unwrap();
        });
        check(name, "ermission denied", |path| {
            fs::write(path, "PASSWORD=s3cret\n").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        });
        check(name, "leads out of", |path| {
            symlink("../elsewhere", path).unwrap();
        });
        check(name, "leads out of", |path| {
            symlink(path.with_file_name("../elsewhere"), path).unwrap();
        });
        if name != "compose.yaml" {
            // Which name the Compose file has is looked for first, and this is none.
            check(name, "cannot be read", |path| symlink(path, path).unwrap());
        }
    }
    check("app.env", "does not exist", |_| {});
    check("nginx.conf", "does not exist", |_| {});
}

#[test]
fn what_is_no_text_of_its_kind() {
    for name in [".env", "app.env", "compose.yaml"] {
        let good = GOOD.iter().find(|(good, _)| *good == name).unwrap().1;
        check(name, ":1:3: this is not UTF-8 text", |path| {
            fs::write(path, b"A=\xff s3cret\n").unwrap();
        });
        // Long enough for the file, and no longer written when the power went.
        check(name, "a NUL byte", |path| {
            fs::write(path, format!("{good}{}", "\0".repeat(4096))).unwrap();
        });
    }
    for name in [".env", "app.env"] {
        check(name, ":2:3: this quote is never closed", |path| {
            fs::write(path, "B=1\nA=\"s3cret\n").unwrap();
        });
        check(name, ":1:1: there is no name before this", |path| {
            fs::write(path, "=s3cret\n").unwrap();
        });
        check(name, "a NUL in this value", |path| {
            fs::write(path, "A=\"s3cret\\0000\"\n").unwrap();
        });
    }
    check("compose.yaml", "compose.yaml:", |path| {
        fs::write(path, "services:\n  api:\n    image: \"api").unwrap();
    });
    check("compose.yaml", "the file is empty", |path| {
        fs::write(path, "").unwrap();
    });
}

/// A link that stays within the stack is the file itself.
#[test]
fn a_link_within_the_stack_is_followed() {
    let bench = Bench::new();
    fs::rename(bench.path(".env"), bench.path(".env.prod")).unwrap();
    symlink(".env.prod", bench.path(".env")).unwrap();
    let look = bench.look();
    assert_eq!(look.inputs.unwrap().env, Some(Digest::of(b"LEVEL=2\n")));
}

/// The id of a pin is shown as that of the file is: by neither can a short secret be found.
#[test]
fn a_pinned_version_that_is_not_there_is_not_told_by_its_digest() {
    let bench = Bench::new();
    let (key, pinned) = (HostKey::new([7; 32]), Digest::of(b"PASSWORD=1\n"));
    let mut desired = Desired::new("v1".parse().unwrap());
    desired.env = EnvWish::Sha256(pinned.clone());
    let settings = &bench.settings.stacks[&"shop".parse().unwrap()];
    let problem = env_in_place(&bench.disk, settings, &desired, Some(&key)).unwrap_err();
    let is = key.env_id(&Digest::of(b"LEVEL=2\n"));
    let expected = format!(
        "desired.toml pins the env file {}, it is {is}",
        key.env_id(&pinned)
    );
    assert_eq!(problem.message, expected);
}
