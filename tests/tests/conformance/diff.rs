//! Field by field: where two JSON values differ, and which differences are accepted.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;

use serde_json::Value;

/// One field that differs. `None` is a field that one side does not have.
#[derive(Debug)]
pub(crate) struct Difference {
    /// The path of the field, its parts joined by `/`.
    pub(crate) path: String,
    /// What the oracle says.
    pub(crate) theirs: Option<Value>,
    /// What we say.
    pub(crate) ours: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<Value>| value.as_ref().map_or("(absent)".to_owned(), Value::to_string);
        write!(
            f,
            "{}\n    compose: {}\n    ours:    {}",
            self.path,
            show(&self.theirs),
            show(&self.ours)
        )
    }
}

/// Every field in which `ours` differs from `theirs`.
pub(crate) fn differences(theirs: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(String::new(), Some(theirs), Some(ours), &mut found);
    found
}

fn walk(path: String, theirs: Option<&Value>, ours: Option<&Value>, found: &mut Vec<Difference>) {
    if theirs == ours {
        return;
    }
    let join = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}/{key}")
        }
    };
    match (theirs, ours) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                walk(join(key), a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (i, (x, y)) in a.iter().zip(b).enumerate() {
                walk(join(&i.to_string()), Some(x), Some(y), found);
            }
        }
        _ => found.push(Difference {
            path,
            theirs: theirs.cloned(),
            ours: ours.cloned(),
        }),
    }
}

/// A difference that is meant, and why.
pub(crate) struct Accepted {
    /// The case's name, or `*`.
    pub(crate) case: &'static str,
    /// The path; a part `*` stands for any part, and a last part `**` for any number of them.
    pub(crate) path: &'static str,
    /// Why we differ.
    pub(crate) reason: &'static str,
}

impl Accepted {
    fn covers(&self, case: &str, path: &str) -> bool {
        (self.case == "*" || self.case == case) && matches(self.path, path)
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for expected in pattern.split('/') {
        if expected == "**" {
            return true;
        }
        match parts.next() {
            Some(part) if expected == "*" || expected == part => {}
            _ => return false,
        }
    }
    parts.next().is_none()
}

/// The accepted differences, and which of them occurred.
pub(crate) struct Table {
    rows: &'static [Accepted],
    occurred: Mutex<BTreeSet<usize>>,
}

impl Table {
    /// A table in which nothing occurred yet.
    pub(crate) const fn new(rows: &'static [Accepted]) -> Self {
        Self {
            rows,
            occurred: Mutex::new(BTreeSet::new()),
        }
    }

    /// The differences of `case` that no row accepts.
    pub(crate) fn unaccepted(&self, case: &str, found: Vec<Difference>) -> Vec<Difference> {
        let mut occurred = self.occurred.lock().expect("no trial panics while it holds this");
        let mut rest = Vec::new();
        for difference in found {
            let covering: Vec<_> = (0..self.rows.len())
                .filter(|&i| self.rows[i].covers(case, &difference.path))
                .collect();
            if covering.is_empty() {
                rest.push(difference);
            }
            occurred.extend(covering);
        }
        rest
    }

    /// The rows that accept what never occurred.
    pub(crate) fn idle(&self) -> Vec<String> {
        let occurred = self.occurred.lock().expect("no trial panics while it holds this");
        let idle = (0..self.rows.len()).filter(|i| !occurred.contains(i));
        idle.map(|i| {
            format!(
                "{} {}: {}",
                self.rows[i].case, self.rows[i].path, self.rows[i].reason
            )
        })
        .collect()
    }
}
