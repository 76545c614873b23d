//! A TOML document as it was written: every key optional, every value with its place. What a key
//! means is decided in `validate` and in the sections of `settings`; nothing here knows a key's name.
//! A reader asks a [`Table`] for the keys it knows; whatever was not asked for is an unknown key.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use state::name::InvalidName;
use toml::de::{DeTable, DeValue};

use crate::error::{Place, Problem, Problems, did_you_mean};

/// More than this many problems are not reported: finding their places takes time, reading them too.
const MAX_PROBLEMS: usize = 100;

/// What is wrong with one value, before its place is known.
pub(crate) struct Fault {
    message: String,
    hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn or_hint(mut self, hint: Option<String>) -> Self {
        self.hint = self.hint.or(hint);
        self
    }
}

impl From<InvalidName> for Fault {
    /// As [`InvalidName`] says it, on one line whatever the text.
    fn from(error: InvalidName) -> Self {
        let InvalidName { kind, text, rule } = error;
        Self::new(format!("\"{}\" is not a valid {kind}: {rule}", shorten(&text)))
    }
}

/// One file, and what was found wrong with it so far.
pub(crate) struct Source<'d> {
    file: &'d Path,
    text: &'d str,
    problems: RefCell<Vec<Problem>>,
}

impl<'d> Source<'d> {
    pub(crate) fn new(file: &'d Path, text: &'d str) -> Self {
        Self {
            file,
            text,
            problems: RefCell::default(),
        }
    }

    /// All that was found, in the order of the file.
    pub(crate) fn into_problems(self) -> Problems {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.place.line, problem.place.column));
        problems.dedup();
        Problems(problems)
    }

    /// Whether so much is wrong that the rest is not worth its time.
    fn is_full(&self) -> bool {
        self.problems.borrow().len() >= MAX_PROBLEMS
    }

    fn report(&self, offset: usize, path: &str, fault: Fault) {
        if self.is_full() {
            return;
        }
        let problem = Problem::error(Place::at(self.file, self.text, offset), path, fault.message);
        self.push(problem, fault.hint);
    }

    fn warn(&self, offset: usize, path: &str, fault: Fault) {
        if self.is_full() {
            return;
        }
        let problem = Problem::warning(Place::at(self.file, self.text, offset), path, fault.message);
        self.push(problem, fault.hint);
    }

    fn push(&self, problem: Problem, hint: Option<String>) {
        self.problems.borrow_mut().push(Problem { hint, ..problem });
    }
}

/// One value, with its place and its path.
pub(crate) struct Item<'d> {
    pub(crate) value: &'d DeValue<'d>,
    span: Range<usize>,
    path: String,
    source: &'d Source<'d>,
}

impl<'d> Item<'d> {
    /// The value as it is written in the file, shortened to one line.
    pub(crate) fn written(&self) -> String {
        shorten(self.source.text.get(self.span.clone()).unwrap_or_default())
    }

    /// What it is, with the offending text: `the integer 5`.
    pub(crate) fn described(&self) -> String {
        match self.value {
            DeValue::String(_) => format!("the string {}", self.written()),
            DeValue::Integer(_) => format!("the integer {}", self.written()),
            DeValue::Float(_) => format!("the number {}", self.written()),
            DeValue::Boolean(_) => format!("the boolean {}", self.written()),
            DeValue::Datetime(_) => format!("the date {}", self.written()),
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                "an array of tables".to_owned()
            }
            DeValue::Array(_) => format!("the array {}", self.written()),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }

    /// The text of a string value.
    pub(crate) fn text(&self) -> Result<&'d str, Fault> {
        match self.value {
            DeValue::String(text) => Ok(text),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => Err(
                Fault::new(format!("expected a string, found {}", self.described()))
                    .hint(format!("put it in quotes: \"{}\"", self.written())),
            ),
            DeValue::Array(_) | DeValue::Table(_) => Err(Fault::new(format!(
                "expected a string, found {}",
                self.described()
            ))),
        }
    }

    /// It as a table, where it is one: for what can be written in a short form too.
    pub(crate) fn as_table(&self) -> Option<Table<'d>> {
        let DeValue::Table(entries) = self.value else {
            return None;
        };
        Some(Table {
            entries,
            at: self.span.start,
            path: self.path.clone(),
            source: self.source,
            asked: Vec::new(),
        })
    }

    fn table(self) -> Result<Table<'d>, (Self, Fault)> {
        if let DeValue::Table(entries) = self.value {
            return Ok(Table {
                entries,
                at: self.span.start,
                path: self.path,
                source: self.source,
                asked: Vec::new(),
            });
        }
        let fault = Fault::new(format!("expected a table, found {}", self.described()));
        let hint = match self.value {
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                format!("write [{}] in single brackets, once", self.path)
            }
            _ => format!("write [{}] on a line of its own, with its keys below", self.path),
        };
        Err((self, fault.hint(hint)))
    }

    fn report(&self, fault: Fault) {
        self.source.report(self.span.start, &self.path, fault);
    }
}

/// One table: the keys it has, and those that were asked for.
pub(crate) struct Table<'d> {
    entries: &'d DeTable<'d>,
    at: usize,
    path: String,
    source: &'d Source<'d>,
    asked: Vec<&'static str>,
}

impl<'d> Table<'d> {
    /// The whole document.
    pub(crate) fn root(source: &'d Source<'d>, entries: &'d DeTable<'d>) -> Self {
        Self {
            entries,
            at: 0,
            path: String::new(),
            source,
            asked: Vec::new(),
        }
    }

    /// The path of `key` in this table.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The place of `key`, or of the table where it has no such key.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        Place::at(self.source.file, self.source.text, self.offset_of(key))
    }

    /// Whether the key is written, whatever its value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name.get_ref() == key)
    }

    /// Whether an array is written there.
    pub(crate) fn is_array(&self, key: &str) -> bool {
        let mut all = self.entries.iter();
        all.any(|(name, value)| name.get_ref() == key && matches!(value.get_ref(), DeValue::Array(_)))
    }

    /// The value of `key`, read by `read`; `None` when it is absent or wrong (which is then reported).
    pub(crate) fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Item<'d>) -> Result<T, Fault>,
    ) -> Option<T> {
        let item = self.ask(key)?;
        read(&item).map_err(|fault| item.report(fault)).ok()
    }

    /// As [`Self::get`], but reports it when the key is absent.
    pub(crate) fn require<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&Item<'d>) -> Result<T, Fault>,
    ) -> Option<T> {
        if !self.has(key) {
            self.asked.push(key);
            let fault =
                Fault::new(format!("the key \"{key}\" is missing")).hint(format!("add {key} = {example}"));
            self.fault(fault);
            return None;
        }
        self.get(key, read)
    }

    /// The elements of an array, each read by `read`; `None` when the key is absent.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Item<'d>) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let item = self.ask(key)?;
        let DeValue::Array(elements) = item.value else {
            let fault = Fault::new(format!("expected an array, found {}", item.described()));
            let scalar = !item.value.is_table();
            item.report(fault.or_hint(scalar.then(|| format!("write {key} = [{}]", item.written()))));
            return None;
        };
        let mut list = Vec::new();
        for (i, element) in elements.iter().enumerate() {
            let item = Item {
                value: element.get_ref(),
                span: element.span(),
                path: format!("{}[{i}]", item.path),
                source: self.source,
            };
            match read(&item) {
                Ok(value) => list.push(value),
                Err(fault) => item.report(fault),
            }
        }
        Some(list)
    }

    /// The table under `key`.
    pub(crate) fn table(&mut self, key: &'static str) -> Option<Table<'d>> {
        let item = self.ask(key)?;
        item.table().map_err(|(item, fault)| item.report(fault)).ok()
    }

    /// The array of tables under `key`.
    pub(crate) fn tables(&mut self, key: &'static str) -> Vec<Table<'d>> {
        let Some(item) = self.ask(key) else {
            return Vec::new();
        };
        let DeValue::Array(elements) = item.value else {
            let fault = Fault::new(format!("expected an array of tables, found {}", item.described()));
            item.report(fault.hint(format!("write [[{}]] in double brackets", item.path)));
            return Vec::new();
        };
        let tables = elements.iter().enumerate().filter_map(|(i, element)| {
            let item = Item {
                value: element.get_ref(),
                span: element.span(),
                path: format!("{}[{i}]", item.path),
                source: self.source,
            };
            item.table().map_err(|(item, fault)| item.report(fault)).ok()
        });
        tables.collect()
    }

    /// Every key of this table as a name, with the table below it.
    pub(crate) fn named_tables<K: FromStr<Err = InvalidName>>(&self) -> Vec<(K, Table<'d>)> {
        self.items()
            .filter_map(|(at, item)| {
                let name = self.name(at, &item);
                let table = item.table().map_err(|(item, fault)| item.report(fault)).ok();
                Some((name?, table?))
            })
            .collect()
    }

    /// Every key of this table as a name, with its value read by `read`.
    pub(crate) fn named_values<K: FromStr<Err = InvalidName> + Ord, T>(
        &self,
        read: impl Fn(&Item<'d>) -> Result<T, Fault>,
    ) -> BTreeMap<K, T> {
        self.items()
            .filter_map(|(at, item)| {
                let name = self.name(at, &item);
                let value = read(&item).map_err(|fault| item.report(fault)).ok();
                Some((name?, value?))
            })
            .collect()
    }

    /// Keys that the design has and this version has not: an error that says so, when one is written.
    pub(crate) fn reserved(&mut self, keys: &[&'static str]) {
        for key in keys.iter().copied() {
            if !self.has(key) {
                continue;
            }
            self.asked.push(key);
            let fault = Fault::new(format!("\"{key}\" is not supported yet"));
            self.fault_at(key, fault.hint("take it out: this version would not act on it"));
        }
    }

    /// A key that must not be written, with the reason. Its value is never shown.
    pub(crate) fn refused(&mut self, key: &'static str, message: &str, hint: &str) {
        if self.has(key) {
            self.asked.push(key);
            self.fault_at(key, Fault::new(message).hint(hint));
        }
    }

    /// Reports `fault` at the table itself.
    pub(crate) fn fault(&self, fault: Fault) {
        self.source.report(self.at, &self.path, fault);
    }

    /// Reports `fault` at `key`.
    pub(crate) fn fault_at(&self, key: &str, fault: Fault) {
        self.source.report(self.offset_of(key), &self.path_of(key), fault);
    }

    /// Reports `fault` as a warning at `key`.
    pub(crate) fn warn_at(&self, key: &str, fault: Fault) {
        self.source.warn(self.offset_of(key), &self.path_of(key), fault);
    }

    /// Reports every key that was not asked for.
    pub(crate) fn finish(self) {
        for (name, _) in self.entries {
            let key = name.get_ref().as_ref();
            if self.asked.contains(&key) || self.source.is_full() {
                continue;
            }
            let fault = Fault::new(format!("unknown key \"{}\"", shorten(key)));
            let known = || {
                let mut known: Vec<&str> = self.asked.clone();
                known.sort_unstable();
                known.dedup();
                format!("known keys here: {}", known.join(", "))
            };
            let hint = did_you_mean(key, self.asked.iter().copied()).unwrap_or_else(known);
            self.source
                .report(name.span().start, &self.path_of(key), fault.hint(hint));
        }
    }

    fn ask(&mut self, key: &'static str) -> Option<Item<'d>> {
        self.asked.push(key);
        self.items()
            .map(|(_, item)| item)
            .find(|item| item.path == self.path_of(key))
    }

    fn items(&self) -> impl Iterator<Item = (usize, Item<'d>)> {
        self.entries.iter().map(|(name, value)| {
            let item = Item {
                value: value.get_ref(),
                span: value.span(),
                path: self.path_of(name.get_ref()),
                source: self.source,
            };
            (name.span().start, item)
        })
    }

    fn name<K: FromStr<Err = InvalidName>>(&self, at: usize, item: &Item<'_>) -> Option<K> {
        let key = item.path.get(self.path_of("").len()..).unwrap_or_default();
        key.parse()
            .map_err(|error: InvalidName| self.source.report(at, &item.path, error.into()))
            .ok()
    }

    fn offset_of(&self, key: &str) -> usize {
        let found = self.entries.iter().find(|(name, _)| name.get_ref() == key);
        found.map_or(self.at, |(name, _)| name.span().start)
    }
}

/// One line of at most 60 characters, with control characters escaped.
pub(crate) fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line
        .chars()
        .take(60)
        .flat_map(|c| {
            if c.is_control() {
                c.escape_debug().collect()
            } else {
                vec![c]
            }
        })
        .collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
