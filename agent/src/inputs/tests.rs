//! Files that have not changed are not read twice, and files that have are.

#![allow(clippy::unwrap_used)]

mod bad;

use std::cell::Cell;

use config::settings::Settings;

use super::*;

const SETTINGS: &str = r#"
[agent]
state_dir = "/state"
desired = "/etc/steadfast/desired.toml"

[stack.shop]
directory = "/srv/shop"
compose = ["compose.yaml"]
env_file = ".env"
"#;

const COMPOSE: &str =
    "services: { api: { image: 'api:1', env_file: [ { path: more.env, required: false } ] } }\n";

/// Files by path, and how often they were asked for.
#[derive(Default)]
struct Files {
    content: RefCell<BTreeMap<PathBuf, Vec<u8>>>,
    asked: Cell<usize>,
    /// Written after the compose file was read the first time.
    meanwhile: RefCell<Option<&'static str>>,
}

impl Files {
    fn new() -> Self {
        let files = Self::default();
        files.write("compose.yaml", COMPOSE);
        files.write(".env", "A=1\n");
        files
    }

    fn write(&self, name: &str, text: &str) {
        let path = Path::new("/srv/shop").join(name);
        self.content.borrow_mut().insert(path, text.as_bytes().to_vec());
    }
}

impl Source for Files {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        self.asked.set(self.asked.get() + 1);
        let content = self.content.borrow().get(path).cloned();
        if path.ends_with("compose.yaml")
            && let Some(text) = self.meanwhile.borrow_mut().take()
        {
            self.write("compose.yaml", text);
        }
        content.ok_or_else(|| ReadError::Absent {
            path: path.to_owned(),
        })
    }

    fn list(&self, directory: &Path) -> Result<BTreeSet<PathBuf>, ReadError> {
        let content = self.content.borrow();
        let below = content.keys().filter(|path| path.starts_with(directory));
        Ok(below.cloned().collect())
    }
}

fn settings() -> Settings {
    let text = SETTINGS.replace("env_file", "track = [\"conf/\"]\nenv_file");
    config::settings::parse(Path::new("/etc/steadfast/steadfast.toml"), &text)
        .unwrap()
        .0
}

fn look(files: &Files, tag: &str, last: Option<&Look>) -> Look {
    let settings = settings();
    let settings = &settings.stacks[&"shop".parse().unwrap()];
    let desired = Desired::new(tag.parse().unwrap());
    let none = Checkouts::default();
    read_again(files, settings, &desired, &HostKey::new([7; 32]), &none, last)
}

/// Whether the second of two looks has parsed the files anew, after `change`.
#[track_caller]
fn check(change: impl FnOnce(&Files), anew: bool) {
    let files = Files::new();
    let first = look(&files, "v1", None);
    change(&files);
    let second = look(&files, "v1", Some(&first));
    let same = match (&first.inputs, &second.inputs) {
        (Ok(first), Ok(second)) => Arc::ptr_eq(first, second),
        _ => false,
    };
    assert_eq!(same, !anew);
    assert_eq!(first.fingerprint == second.fingerprint, !anew);
}

#[test]
fn what_has_not_changed_is_not_parsed_again() {
    check(|_| {}, false);
    check(|files| files.write("unknown", "x"), false);
    check(|files| files.write(".env", "A=2\n"), true);
    check(
        |files| files.write("compose.yaml", "services: { api: { image: 'api:2' } }\n"),
        true,
    );
    // What was looked for in vain is there now.
    check(|files| files.write("more.env", "B=1\n"), true);
    // So is what nobody has named, in a directory that is tracked whole.
    check(|files| files.write("conf/deep/new.conf", "x"), true);
    check(|files| files.write("confuse/new.conf", "x"), false);
    check(
        |files| {
            files.content.borrow_mut().remove(Path::new("/srv/shop/.env"));
        },
        true,
    );
}

#[test]
fn a_release_has_the_files_below_its_directories_and_says_that_it_has_no_others() {
    let files = Files::new();
    files.write(
        "compose.yaml",
        "services: { api: { image: 'api:1', env_file: conf/api.env } }\n",
    );
    let config = || look(&files, "v1", None).inputs.unwrap().config.clone();
    files.write("conf/api.env", "A=1\n");
    files.write("conf/.hidden", "x");
    let inputs = look(&files, "v1", None).inputs.unwrap();
    let below = inputs
        .versions
        .iter()
        .filter(|(path, _)| path.starts_with("/srv/shop/conf"));
    let below: Vec<String> = below
        .map(|(path, file)| format!("{} {}", file.role, path.display()))
        .collect();
    assert_eq!(
        below,
        [
            "tracked directory /srv/shop/conf",
            "tracked file /srv/shop/conf/.hidden",
            "env file /srv/shop/conf/api.env"
        ]
    );
    let before = config();
    files.write("conf/more", "");
    assert_ne!(config(), before);
    files
        .content
        .borrow_mut()
        .remove(Path::new("/srv/shop/conf/more"));
    assert_eq!(config(), before);
}

#[test]
fn another_wish_is_read_anew() {
    let files = Files::new();
    let first = look(&files, "v1", None);
    let second = look(&files, "v2", Some(&first));
    assert_eq!(second.inputs.unwrap().desired.tag.as_str(), "v2");
}

#[test]
fn unchanged_files_are_asked_for_once_each() {
    let files = Files::new();
    let first = look(&files, "v1", None);
    files.asked.set(0);
    look(&files, "v1", Some(&first));
    assert_eq!(files.asked.get(), first.files.len());
}

/// A file that is written while it is read: the fingerprint is that of the new text, and the old one was parsed.
#[test]
fn what_was_written_in_the_middle_of_a_look_is_read_anew() {
    let files = Files::new();
    *files.meanwhile.borrow_mut() = Some("services: { api: { image: 'api:2' } }\n");
    let torn = look(&files, "v1", None);
    let image = |look: &Look| {
        let inputs = look.inputs.as_ref().unwrap();
        inputs.spec.services.values().next().unwrap().image.clone()
    };
    assert_eq!(image(&torn).as_deref(), Some("api:1"));
    assert_eq!(image(&look(&files, "v1", Some(&torn))).as_deref(), Some("api:2"));
}
