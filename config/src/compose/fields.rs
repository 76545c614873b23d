//! Reading typed values out of the tree. A key is either taken here or complained about: nothing is
//! dropped silently.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

use super::context::Context;
use super::keys::{Table, Use};
use super::node::{Kind, Map, Mark, Node, Scalar, Value};
use super::values;
use crate::error::{self, Problem};
use state::stack_spec::{EnvValue, Nanos};

/// A value with the way that led to it.
#[derive(Clone)]
pub(crate) struct At<'a> {
    /// What is shared.
    pub cx: &'a Context<'a>,
    /// The value.
    pub node: &'a Node,
    /// The path of its key.
    pub path: String,
    /// Where its key is, when it has one.
    pub key_mark: Option<Mark>,
}

/// A mapping that is being read.
pub(crate) struct Fields<'a> {
    /// What is shared.
    pub cx: &'a Context<'a>,
    /// The path of the mapping.
    pub path: String,
    /// Where it is.
    pub mark: Mark,
    map: Option<&'a Map>,
    table: &'static Table,
    taken: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Fields<'a> {
    /// Takes the value under `key`. `Null` is as good as absent.
    pub(crate) fn get(&self, key: &'static str) -> Option<At<'a>> {
        self.get_nullable(key)
            .filter(|at| !matches!(at.node.value, Value::Null))
    }

    /// Takes the value under `key`, which may be `Null`.
    pub(crate) fn get_nullable(&self, key: &'static str) -> Option<At<'a>> {
        let entry = self.map?.get(key)?;
        self.taken.borrow_mut().insert(key);
        Some(At {
            cx: self.cx,
            node: &entry.node,
            path: join(&self.path, key),
            key_mark: Some(entry.mark),
        })
    }

    /// Whether `key` is there, whatever it holds.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.is_some_and(|map| map.contains_key(key))
    }

    /// Where `key` is, or else the mapping.
    pub(crate) fn mark_of(&self, key: &str) -> Mark {
        self.map
            .and_then(|map| map.get(key))
            .map_or(self.mark, |entry| entry.mark)
    }

    /// Text.
    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        self.get(key)?.text()
    }

    /// A boolean.
    pub(crate) fn bool(&self, key: &'static str) -> Option<bool> {
        self.get(key)?.bool()
    }

    /// A boolean that is false when absent.
    pub(crate) fn flag(&self, key: &'static str) -> bool {
        self.bool(key).unwrap_or_default()
    }

    /// An integer.
    pub(crate) fn int<T: FromStr>(&self, key: &'static str) -> Option<T> {
        self.get(key)?.int()
    }

    /// A number.
    pub(crate) fn float(&self, key: &'static str) -> Option<f64> {
        self.get(key)?.float()
    }

    /// A size in bytes.
    pub(crate) fn bytes(&self, key: &'static str) -> Option<i64> {
        self.get(key)?.bytes()
    }

    /// A length of time.
    pub(crate) fn duration(&self, key: &'static str) -> Option<Nanos> {
        self.get(key)?.duration()
    }

    /// A list of text; one text is a list of one where `one_is_list`.
    pub(crate) fn texts(&self, key: &'static str, one_is_list: bool) -> Vec<String> {
        self.get(key).map(|at| at.texts(one_is_list)).unwrap_or_default()
    }

    /// A mapping of text, or a list of `key=value`.
    pub(crate) fn dict(&self, key: &'static str) -> BTreeMap<String, String> {
        let pairs = self.get(key).map(|at| at.pairs()).unwrap_or_default();
        pairs
            .into_iter()
            .map(|(key, value)| (key, value.unwrap_or_default()))
            .collect()
    }

    /// The same, of values that may be secret.
    pub(crate) fn secret_dict(&self, key: &'static str) -> BTreeMap<String, EnvValue> {
        self.dict(key)
            .into_iter()
            .map(|(key, value)| (key, EnvValue::from(value)))
            .collect()
    }

    /// Complains about every key that was not taken.
    pub(crate) fn finish(self) {
        for (key, entry) in self.map.into_iter().flatten() {
            if self.taken.borrow().contains(key.as_str()) || key.starts_with("x-") {
                continue;
            }
            let path = join(&self.path, key);
            let problem = |message: &str| Problem::error(self.cx.place(entry.mark), path.clone(), message);
            match self.table.get(key) {
                Some(Use::Warned(why)) => {
                    self.cx.push(
                        Problem::warning(self.cx.place(entry.mark), path.clone(), "this key has no effect")
                            .hint(why),
                    );
                }
                Some(Use::Refused(why)) => self.cx.push(problem("this key is not supported").hint(why)),
                Some(Use::Yes) => self.cx.push(problem("this key is not supported here")),
                None => {
                    let known = self.table.keys.iter().map(|(name, _)| *name);
                    let mut problem = problem("this key is unknown");
                    let no_such = || {
                        format!(
                            "the Compose Specification has no such key under {}",
                            self.table.at
                        )
                    };
                    problem.hint = Some(error::did_you_mean(key, known).unwrap_or_else(no_such));
                    self.cx.push(problem);
                }
            }
        }
    }
}

/// The path of `key` under `path`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

impl<'a> At<'a> {
    /// Adds an error about this value.
    pub(crate) fn error(&self, message: impl Into<String>) {
        self.cx.error(self.mark(), &self.path, message);
    }

    /// Where an error about it points to: the scalar, or the key of a collection.
    fn mark(&self) -> Mark {
        match (&self.node.value, self.key_mark) {
            (Value::Scalar(_), _) | (_, None) => self.node.mark,
            (_, Some(key)) => key,
        }
    }

    /// Adds an error about this value, with a way out.
    pub(crate) fn error_hint(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.cx.error_hint(self.mark(), &self.path, message, hint);
    }

    fn wanted(&self, what: &str) {
        let found = match &self.node.value {
            // Text may be a secret that is in the wrong place; a number says what was mistyped.
            Value::Scalar(scalar) if scalar.kind != Kind::Text => {
                format!("{} ({})", self.node.describe(), scalar.text)
            }
            _ => self.node.describe().to_owned(),
        };
        self.error(format!("{what} is expected here, not {found}"));
    }

    fn invalid(&self, scalar: &Scalar, what: &str) {
        self.error(format!("{:?} is not {what}", scalar.shown()));
    }

    /// Begins to read it as a mapping. `Null` is an empty one.
    pub(crate) fn fields(&self, table: &'static Table) -> Fields<'a> {
        let map = self.node.map();
        if map.is_none() && !matches!(self.node.value, Value::Null) {
            self.wanted("a mapping");
        }
        Fields {
            cx: self.cx,
            path: self.path.clone(),
            mark: self.mark(),
            map,
            table,
            taken: RefCell::default(),
        }
    }

    /// The scalar, or an error.
    pub(crate) fn scalar(&self, what: &str) -> Option<&'a Scalar> {
        let scalar = self.node.scalar();
        if scalar.is_none() {
            self.wanted(what);
        }
        scalar
    }

    /// Text; numbers and booleans are text too.
    pub(crate) fn text(&self) -> Option<String> {
        self.scalar("text").map(|s| s.text.clone())
    }

    /// A boolean, also as text.
    pub(crate) fn bool(&self) -> Option<bool> {
        let scalar = self.scalar("a boolean")?;
        match scalar.text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            "y" | "yes" | "on" if scalar.kind == Kind::Text => Some(self.old_bool(true)),
            "n" | "no" | "off" if scalar.kind == Kind::Text => Some(self.old_bool(false)),
            _ => {
                self.invalid(scalar, "a boolean");
                None
            }
        }
    }

    fn old_bool(&self, value: bool) -> bool {
        let message = format!("YAML 1.2 does not know this boolean: write {value}");
        self.cx.warning(self.node.mark, &self.path, message);
        value
    }

    /// An integer, also as text.
    pub(crate) fn int<T: FromStr>(&self) -> Option<T> {
        let scalar = self.scalar("a whole number")?;
        let value = scalar
            .text
            .trim()
            .parse()
            .ok()
            .filter(|_| scalar.kind != Kind::Bool);
        if value.is_none() {
            self.invalid(scalar, "a whole number that is possible here");
        }
        value
    }

    /// A number, also as text.
    pub(crate) fn float(&self) -> Option<f64> {
        let scalar = self.scalar("a number")?;
        let value: Option<f64> = scalar.text.trim().parse().ok();
        let value = value.filter(|v| v.is_finite());
        if value.is_none() {
            self.invalid(scalar, "a number");
        }
        value
    }

    /// Processors in billionths.
    pub(crate) fn cpus(&self) -> Option<i64> {
        let value = self.float()?;
        if !(0.0..=1e6).contains(&value) {
            self.error("this is no number of processors");
            return None;
        }
        #[allow(clippy::cast_possible_truncation)]
        Some((value * 1e9).round() as i64)
    }

    /// A size: a number of bytes, or a text as `64m`.
    pub(crate) fn bytes(&self) -> Option<i64> {
        let scalar = self.scalar("a size")?;
        let value = values::bytes(&scalar.text);
        if value.is_none() {
            self.error_hint(
                format!("{:?} is not a size", scalar.shown()),
                "write it as 512m, 2g or a number of bytes",
            );
        }
        value
    }

    /// A length of time as `1m30s`.
    pub(crate) fn duration(&self) -> Option<Nanos> {
        let scalar = self.scalar("a length of time")?;
        let value = values::duration(&scalar.text).map(Nanos);
        if value.is_none() {
            let hint = "write it with a unit, as 10s, 1m30s or 500ms";
            self.error_hint(format!("{:?} is not a length of time", scalar.shown()), hint);
        }
        value
    }

    /// One of `choices`.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let scalar = self.scalar("a word")?;
        let found = choices
            .iter()
            .find(|(name, _)| *name == scalar.text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let hint = error::did_you_mean(&scalar.text, names.iter().copied())
                .filter(|_| scalar.raw.is_none())
                .unwrap_or_else(|| format!("it is one of {}", names.join(", ")));
            self.error_hint(format!("{:?} is not possible here", scalar.shown()), hint);
        }
        found
    }

    /// An absolute path, from where the file's relative paths start.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.is_empty() {
            self.error("this path is empty");
            return None;
        }
        Some(self.cx.absolute(self.node.mark, &text))
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Vec<At<'a>> {
        match &self.node.value {
            Value::Seq(nodes) => {
                let item = |(i, node)| At {
                    cx: self.cx,
                    node,
                    path: format!("{}[{i}]", self.path),
                    key_mark: None,
                };
                nodes.iter().enumerate().map(item).collect()
            }
            Value::Null => Vec::new(),
            _ => {
                self.wanted("a list");
                Vec::new()
            }
        }
    }

    /// The entries of a mapping.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Mark, At<'a>)> {
        match &self.node.value {
            Value::Map(map) => map
                .iter()
                .map(|(key, entry)| {
                    let at = At {
                        cx: self.cx,
                        node: &entry.node,
                        path: join(&self.path, key),
                        key_mark: Some(entry.mark),
                    };
                    (key.as_str(), entry.mark, at)
                })
                .collect(),
            Value::Null => Vec::new(),
            _ => {
                self.wanted("a mapping");
                Vec::new()
            }
        }
    }

    /// A list of text; one text is a list of one where `one_is_list`.
    pub(crate) fn texts(&self, one_is_list: bool) -> Vec<String> {
        if let (true, Value::Scalar(scalar)) = (one_is_list, &self.node.value) {
            return vec![scalar.text.clone()];
        }
        self.items().iter().filter_map(At::text).collect()
    }

    /// A mapping of text, or a list of `key=value` or `key`.
    pub(crate) fn pairs(&self) -> BTreeMap<String, Option<String>> {
        match &self.node.value {
            Value::Seq(_) => self
                .items()
                .iter()
                .filter_map(At::text)
                .map(|item| match item.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (item, None),
                })
                .collect(),
            Value::Map(_) | Value::Null => self
                .entries()
                .into_iter()
                .filter_map(|(key, _, at)| match at.node.value {
                    Value::Null => Some((key.to_owned(), None)),
                    _ => at.text().map(|text| (key.to_owned(), Some(text))),
                })
                .collect(),
            Value::Scalar(_) => {
                self.wanted("a mapping or a list of key=value");
                BTreeMap::new()
            }
        }
    }
}

impl At<'_> {
    /// Whether it is a list or mapping of nothing.
    pub(crate) fn items_or_entries_empty(&self) -> bool {
        match &self.node.value {
            Value::Null => true,
            Value::Seq(nodes) => nodes.is_empty(),
            Value::Map(map) => map.is_empty(),
            Value::Scalar(_) => false,
        }
    }
}
