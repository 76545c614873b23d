//! Editing `desired.toml` on an operator's behalf, so that comments and layout stay as they are, and
//! writing it so that nobody ever sees half of it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use state::desired::{EnvWish, MigrationWish};
use state::durable::{self, FileSystem, HostFiles, Owner};
use state::name::{ServiceName, StackName, Tag};
use toml_edit::{DocumentMut, Item, TableLike, Value};

use crate::desired_file;
use crate::document::{self, LoadError};
use crate::error::{Place, Problem, Problems};

/// What is to be different in a stack's entry. What is `None` or absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edit {
    /// The tag of the stack. A stack that is not in the file needs it.
    pub tag: Option<Tag>,
    /// One service, pinned to a tag of its own.
    pub service: Option<(ServiceName, Tag)>,
    /// Services whose pins are taken out.
    pub unpin: Vec<ServiceName>,
    /// Where the schema should stand; `Release` takes the key out.
    pub migration: Option<MigrationWish>,
    /// Which `.env` should be in place.
    pub env: Option<EnvWish>,
}

/// Why a pin could not be made. The file is then as it was, [`PinError::Unsynced`] apart.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The file on disk gives nothing that could be edited.
    #[error("the file as it is cannot be edited: {0}")]
    File(Box<LoadError>),
    /// The edit is not possible.
    #[error("{0}")]
    Edit(Problems),
    /// Somebody else is pinning in the same directory, and does not end.
    #[error("{} is being pinned by somebody else", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The new content could not be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The new content is in place, and may be gone after a power cut.
    #[error("{} is changed, and a power cut may undo that: look at the disk, and pin again", path.display())]
    Unsynced {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The text of `desired.toml` with `edit` made to the entry of `stack`; all else stays as it is.
pub fn pin(text: &str, stack: &StackName, edit: &Edit) -> Result<String, Problems> {
    pin_in(Path::new("desired.toml"), text, stack, edit)
}

/// Makes `edit` to the file at `path`, atomically and durably: whoever reads it sees the old content
/// or the new one, also after a crash. A symbolic link stays one; its target is replaced. Mode and,
/// where permitted, owner stay. Refused when the content on disk is not valid.
pub fn pin_file(path: &Path, stack: &StackName, edit: &Edit) -> Result<(), PinError> {
    pin_file_on(&HostFiles, path, stack, edit)
}

/// As [`pin_file`], with what is written behind `fs`.
pub fn pin_file_on(fs: &dyn FileSystem, path: &Path, stack: &StackName, edit: &Edit) -> Result<(), PinError> {
    let failed = |source: io::Error| PinError::Write {
        path: path.to_owned(),
        source,
    };
    let hint = "write the first entry by hand: [NAME] and tag = \"…\"";
    document::read_text(path, hint).map_err(|error| PinError::File(Box::new(error)))?;
    let target = path.canonicalize().map_err(failed)?;
    let directory = target.parent().unwrap_or(Path::new("/"));
    let lock = File::open(directory).map_err(failed)?;
    wait_for_lock(&lock)
        .map_err(failed)?
        .then_some(())
        .ok_or_else(|| PinError::Busy {
            path: path.to_owned(),
        })?;
    // Read again: what counts is the content while the lock is held.
    let text = document::read_text(&target, hint).map_err(|error| PinError::File(Box::new(error)))?;
    let edited = pin_in(path, &text, stack, edit).map_err(PinError::Edit)?;
    let unsynced = |source| PinError::Unsynced {
        path: path.to_owned(),
        source,
    };
    if edited == text {
        // Who wrote it may have been interrupted before it was durable.
        let directory = target.parent().unwrap_or(Path::new("/"));
        let synced = fs.sync(&target).and_then(|()| fs.sync_dir(directory));
        return synced.map_err(unsynced);
    }
    // The lock is held: nobody else writes beside the file.
    durable::replace(fs, &target, edited.as_bytes(), Owner::Kept).map_err(|error| {
        if error.in_place {
            unsynced(error.source)
        } else {
            failed(error.source)
        }
    })
}

fn pin_in(file: &Path, text: &str, stack: &StackName, edit: &Edit) -> Result<String, Problems> {
    let whole = |message: String| Problem::error(Place::file(file), stack.as_str(), message);
    let refuse = |problem: Problem| Err(Problems(vec![problem]));
    if text.trim().is_empty() {
        let hint = format!("it may have been cut off; if not, write [{stack}] and tag = \"…\" by hand");
        return refuse(whole("the file is empty".into()).hint(hint));
    }
    // Comments alone are a file that waits for its first entry; anything else must be valid.
    let document = text.parse::<DocumentMut>();
    if !document.as_ref().is_ok_and(|document| document.is_empty()) {
        desired_file::read(file, text, |_, _| ())?;
    }
    let mut document =
        document.map_err(|error| Problems(vec![whole(format!("cannot be edited: {}", error.message()))]))?;
    if document.get(stack.as_str()).is_none() && edit.tag.is_none() {
        return refuse(whole(format!("there is no [{stack}] to edit")).hint("give a tag as well"));
    }
    if document.get(stack.as_str()).is_none() {
        append(&mut document, stack);
    }
    let Some(entry) = document.get_mut(stack.as_str()) else {
        return refuse(whole("the entry is not a table".into()));
    };
    // Below `x = { … }` and `x.tag = …` no header can stand.
    let flat = entry.as_table().is_none_or(toml_edit::Table::is_dotted);
    let Some(entry) = entry.as_table_like_mut() else {
        return refuse(whole("the entry is not a table".into()));
    };
    change(entry, edit, flat);
    let mut edited = document.to_string();
    if text.contains("\r\n") {
        edited = edited.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    // What was written is what will be read: an edit that would not be is our own broken promise.
    desired_file::read(file, &edited, |_, _| ())?;
    Ok(edited)
}

/// An empty entry at the very end, below comments that stand there.
fn append(document: &mut DocumentMut, stack: &StackName) {
    let mut prefix = document.trailing().as_str().unwrap_or_default().to_owned();
    if !prefix.is_empty() && !prefix.ends_with('\n') {
        prefix.push('\n');
    }
    prefix.push('\n');
    document.set_trailing("");
    let mut table = toml_edit::Table::new();
    table.decor_mut().set_prefix(prefix);
    document.insert(stack.as_str(), Item::Table(table));
}

fn change(entry: &mut dyn TableLike, edit: &Edit, flat: bool) {
    if let Some(tag) = &edit.tag {
        set(entry, "tag", tag.as_str());
    }
    match &edit.migration {
        None => {}
        Some(MigrationWish::Release) => {
            entry.remove("migration");
        }
        Some(wish) => set(entry, "migration", &wish.to_string()),
    }
    if let Some(env) = &edit.env {
        set(entry, "env", &env.to_string());
    }
    if let Some((service, tag)) = &edit.service {
        if entry.get("services").is_none() {
            let mut table = toml_edit::Table::new();
            table.decor_mut().set_prefix("\n");
            if flat {
                put(entry, "services", table.into_inline_table().into());
            } else {
                entry.insert("services", Item::Table(table));
            }
        }
        if let Some(pins) = entry.get_mut("services").and_then(Item::as_table_like_mut) {
            set(pins, service.as_str(), tag.as_str());
        }
    }
    for service in &edit.unpin {
        if let Some(pins) = entry.get_mut("services").and_then(Item::as_table_like_mut) {
            pins.remove(service.as_str());
        }
    }
}

/// Sets a key to a text, and leaves the blanks and the comment beside it.
fn set(table: &mut dyn TableLike, key: &str, text: &str) {
    let mut value = Value::from(text);
    let Some(item) = table.get_mut(key) else {
        return put(table, key, value);
    };
    if let Some(old) = item.as_value() {
        *value.decor_mut() = old.decor().clone();
    }
    *item = Item::Value(value);
}

/// Adds a key. In `{ tag = "v1" }` the blank before the brace belongs to the last value: it moves on.
fn put(table: &mut dyn TableLike, key: &str, mut value: Value) {
    value.decor_mut().set_prefix(" ");
    if let Some(last) = table
        .iter_mut()
        .filter_map(|(_, item)| item.as_value_mut())
        .last()
    {
        give_blank(last, &mut value);
    }
    table.insert(key, Item::Value(value));
}

/// Moves the blanks behind `last`, when there is nothing else, to behind `next`.
fn give_blank(last: &mut Value, next: &mut Value) {
    let suffix = last
        .decor()
        .suffix()
        .and_then(toml_edit::RawString::as_str)
        .unwrap_or_default();
    if !suffix.is_empty() && suffix.bytes().all(|byte| byte == b' ') {
        let suffix = suffix.to_owned();
        last.decor_mut().set_suffix("");
        next.decor_mut().set_suffix(suffix);
    }
}

/// Whether the lock was got, within five seconds: a pin takes milliseconds.
fn wait_for_lock(directory: &File) -> io::Result<bool> {
    for _ in 0..100 {
        match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(50)),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(false)
}
