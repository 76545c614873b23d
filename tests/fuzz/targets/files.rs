//! Files that people write. Whatever is in them, there is an answer, its places lie in the file, and no value of a
//! variable is repeated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::compose::{ComposeInput, Source, load};
use config::env_file::{Env, Format};
use config::error::{Problem, Problems};
use config::pin::{Edit, pin};
use config::read::ReadError;
use state::name::StackName;

/// The value of a variable of the surroundings.
const SECRET: &str = "hunter2-never-to-be-shown";
/// What parts the files of one input.
const PART: &[u8] = b"\n%%%\n";

/// `desired.toml`: what it says can be pinned to another tag, and says that then; and pinned again, nothing.
pub(crate) fn desired(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let file = Path::new("/etc/steadfast/desired.toml");
    let known: BTreeMap<StackName, u8> = ["shop", "blog"].map(|name| (name.parse().unwrap(), 0)).into();
    let before = match config::desired_file::parse(file, text, &known) {
        Ok(stacks) => stacks,
        Err(problems) => return refused(&problems, &[(file, text)]),
    };
    for stack in before.keys() {
        let edit = Edit {
            tag: Some("v9.9.9".parse().unwrap()),
            ..Edit::default()
        };
        let Ok(pinned) = pin(text, stack, &edit) else {
            continue;
        };
        let after = config::desired_file::parse(file, &pinned, &known);
        let after = after.unwrap_or_else(|e| panic!("what was pinned cannot be read: {e}\n{pinned}"));
        let mut expected = before.clone();
        expected.get_mut(stack).unwrap().tag = "v9.9.9".parse().unwrap();
        assert_eq!(
            after, expected,
            "a pin changes one tag and nothing else:\n{pinned}"
        );
        assert_eq!(
            pin(&pinned, stack, &edit).unwrap(),
            pinned,
            "a pin twice is a pin once"
        );
    }
}

/// `steadfast.toml`.
pub(crate) fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let file = Path::new("/etc/steadfast/steadfast.toml");
    match config::settings::parse(file, text) {
        Ok((settings, warnings)) => {
            assert!(!settings.stacks.is_empty(), "there is a stack");
            assert!(!warnings.has_errors(), "what is used has no errors: {warnings}");
            said(&warnings.0, &[(file, text)]);
        }
        Err(problems) => refused(&problems, &[(file, text)]),
    }
}

/// Two Compose files, one over the other, with `.env` and an env file.
pub(crate) fn compose(data: &[u8]) {
    let disk = Parts::of(data);
    let texts: Vec<(&Path, String)> = disk
        .0
        .iter()
        .map(|(path, bytes)| (path.as_path(), String::from_utf8_lossy(bytes).into_owned()))
        .collect();
    let texts: Vec<(&Path, &str)> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let files = ["compose.yaml", "override.yaml"].map(|name| PathBuf::from("/srv/shop").join(name));
    let files = files
        .into_iter()
        .filter(|file| disk.0.contains_key(file))
        .collect();
    let mut input = ComposeInput::new("shop".parse().unwrap(), PathBuf::from("/srv/shop"), files);
    input.profiles = vec![String::from("*")];
    input.overrides.insert(String::from("TAG"), String::from("v1"));
    input
        .environment
        .insert(String::from("CANARY"), SECRET.to_owned());
    let problems = match load(&disk, &input) {
        Ok(loaded) => {
            assert!(!loaded.warnings.has_errors(), "{}", loaded.warnings);
            let text = serde_json::to_string(&loaded.spec).unwrap();
            assert!(text.len() < 64 << 20, "a small file makes no large stack");
            let again: state::stack_spec::StackSpec = serde_json::from_str(&text).unwrap();
            assert!(again == loaded.spec, "what is kept of a stack is the stack");
            let order = loaded.spec.start_order();
            assert!(order.is_ok(), "a cycle is an error of the file: {order:?}");
            loaded.warnings
        }
        Err(problems) => {
            refused(&problems, &texts);
            problems
        }
    };
    said(&problems.0, &texts);
    shows_no_secret(&problems.0, data);
}

/// An env file in both formats; printed and read again it is the same.
pub(crate) fn env(data: &[u8]) {
    let file = Path::new("/srv/shop/.env");
    let text = String::from_utf8_lossy(data);
    let outside = |name: &str| (name == "CANARY").then(|| SECRET.to_owned());
    for format in [Format::Dotenv, Format::Raw] {
        let (mut values, mut problems) = (Env::new(), Vec::new());
        config::env_file::parse(file, data, format, &outside, &mut values, &mut problems);
        said(&problems, &[(file, &text)]);
        shows_no_secret(&problems, data);
        for value in values.values().filter(|value| only_a_value(&text, value)) {
            let words = words(&problems);
            assert!(!words.contains(value.as_str()), "a value is repeated: {words}");
        }
        if format == Format::Dotenv && problems.is_empty() {
            prints_back(file, &values);
        }
    }
}

/// In single quotes a value is what it is, but for a backslash before the quote that ends it.
fn prints_back(file: &Path, values: &Env) {
    let plain = |(_, value): &(&String, &String)| !value.contains(['\'', '\r']) && !value.ends_with('\\');
    let printable: Env = values
        .iter()
        .filter(plain)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let lines: String = printable
        .iter()
        .map(|(key, value)| format!("{key}='{value}'\n"))
        .collect();
    let (mut again, mut problems) = (Env::new(), Vec::new());
    config::env_file::parse(
        file,
        lines.as_bytes(),
        Format::Dotenv,
        &|_| None,
        &mut again,
        &mut problems,
    );
    assert!(
        problems.is_empty(),
        "what is printed cannot be read: {}\n{lines}",
        words(&problems)
    );
    assert_eq!(again, printable, "what is printed is another value:\n{lines}");
}

/// A word long enough to be no word of ours, that stands nowhere but after an `=`.
fn only_a_value(text: &str, value: &str) -> bool {
    let mut places = text.match_indices(value);
    value.len() >= 16
        && !value.contains('\n')
        && places.all(|(at, _)| {
            let line = text[..at].rfind(['\n', '\r']).map_or(0, |end| end + 1);
            text[line..at].contains('=')
        })
}

fn refused(problems: &Problems, files: &[(&Path, &str)]) {
    assert!(problems.has_errors(), "what is refused says why: {problems}");
    said(&problems.0, files);
}

/// Every place lies in its file.
fn said(problems: &[Problem], files: &[(&Path, &str)]) {
    for problem in problems {
        let Some(line) = problem.place.line else { continue };
        let file = files.iter().find(|(path, _)| *path == problem.place.file);
        let (_, text) = file.unwrap_or_else(|| panic!("of another file: {problem}"));
        // In YAML a carriage return alone ends a line too.
        let is_yaml = problem.place.file.extension().is_some_and(|e| e == "yaml");
        let text = if is_yaml {
            text.replace("\r\n", "\n").replace('\r', "\n")
        } else {
            (*text).to_owned()
        };
        let lines: Vec<&str> = text.split('\n').collect();
        let there = lines.get(line as usize - 1);
        let there = there.unwrap_or_else(|| panic!("past the end of the file: {problem}"));
        let column = problem.place.column.unwrap_or(1) as usize;
        assert!(
            column >= 1 && column <= there.chars().count() + 1,
            "past the end of its line: {problem}"
        );
    }
}

fn words(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// No value of a variable is in what is said, unless the file has it in its own text.
fn shows_no_secret(problems: &[Problem], data: &[u8]) {
    if !data.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()) {
        let words = words(problems);
        assert!(!words.contains(SECRET), "a value is shown: {words}");
    }
}

/// The files of one input, in this order: two Compose files, `.env`, an env file.
struct Parts(BTreeMap<PathBuf, Vec<u8>>);

impl Parts {
    fn of(data: &[u8]) -> Self {
        let mut rest = data;
        let mut parts = BTreeMap::new();
        for name in ["compose.yaml", "override.yaml", ".env", "app.env"] {
            let end = rest.windows(PART.len()).position(|part| part == PART);
            let (part, after) = match end {
                Some(end) => (&rest[..end], Some(&rest[end + PART.len()..])),
                None => (rest, None),
            };
            parts.insert(PathBuf::from("/srv/shop").join(name), part.to_vec());
            let Some(after) = after else { break };
            rest = after;
        }
        Self(parts)
    }
}

impl Source for Parts {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let known = self.0.get(path).cloned();
        known.ok_or_else(|| ReadError::Absent {
            path: path.to_owned(),
        })
    }
}
