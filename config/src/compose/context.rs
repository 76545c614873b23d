//! What every part of the loader shares: the files, the variables, and the list of what is wrong.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::node::{Mark, Node, Value};
use super::source::Source;
use super::template::{self, Variables};
use crate::error::{Place, Problem};

/// Bytes that interpolation may produce in all.
const MAX_INTERPOLATED: usize = 32 << 20;

/// Errors, and warnings, that are told at most.
const MAX_PROBLEMS: usize = 200;

/// A file that was read, and where its relative paths start.
pub(crate) struct FileInfo {
    /// Its path.
    pub path: PathBuf,
    /// Where its relative paths start.
    pub base: PathBuf,
}

/// What is shared.
pub(crate) struct Context<'a> {
    /// Reads files.
    pub source: &'a dyn Source,
    /// The files with marks, by number.
    pub files: RefCell<Vec<FileInfo>>,
    /// Every file that was looked for, whether it was there or not.
    pub seen: RefCell<BTreeSet<PathBuf>>,
    /// The variables of the project.
    pub variables: BTreeMap<String, String>,
    problems: RefCell<Vec<Problem>>,
    unset: RefCell<BTreeSet<String>>,
    interpolated: Cell<usize>,
}

impl<'a> Context<'a> {
    /// A context in which nothing was read yet.
    pub(crate) fn new(source: &'a dyn Source) -> Self {
        Self {
            source,
            files: RefCell::default(),
            seen: RefCell::default(),
            variables: BTreeMap::new(),
            problems: RefCell::default(),
            unset: RefCell::default(),
            interpolated: Cell::new(0),
        }
    }

    /// The place of `mark`.
    pub(crate) fn place(&self, mark: Mark) -> Place {
        let files = self.files.borrow();
        let file = files.get(mark.file).map(|f| f.path.clone()).unwrap_or_default();
        Place {
            file,
            line: Some(mark.line),
            column: Some(mark.column),
        }
    }

    /// The absolute form of `path` as the file of `mark` means it.
    pub(crate) fn absolute(&self, mark: Mark, path: &str) -> PathBuf {
        if let Some(rest) = path
            .strip_prefix('~')
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            && let Some(home) = self.variables.get("HOME")
        {
            return clean(&Path::new(home).join(rest.trim_start_matches('/')));
        }
        if path.starts_with('/') {
            return PathBuf::from(path);
        }
        let files = self.files.borrow();
        let base = files.get(mark.file).map_or(Path::new("/"), |f| f.base.as_path());
        clean(&base.join(path))
    }

    /// Adds a problem.
    pub(crate) fn push(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        let alike = problems.iter().filter(|p| p.gravity == problem.gravity).count();
        if alike < MAX_PROBLEMS && !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// Adds an error at `mark`.
    pub(crate) fn error(&self, mark: Mark, key: &str, message: impl Into<String>) {
        self.push(Problem::error(self.place(mark), key, message));
    }

    /// Adds an error with a way out.
    pub(crate) fn error_hint(
        &self,
        mark: Mark,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Problem::error(self.place(mark), key, message).hint(hint));
    }

    /// Adds a warning at `mark`.
    pub(crate) fn warning(&self, mark: Mark, key: &str, message: impl Into<String>) {
        self.push(Problem::warning(self.place(mark), key, message));
    }

    /// Whether there is an error yet.
    pub(crate) fn has_errors(&self) -> bool {
        self.problems.borrow().iter().any(Problem::is_error)
    }

    /// All that is wrong, in the order of the files.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by(|a, b| (&a.place, a.gravity, &a.key).cmp(&(&b.place, b.gravity, &b.key)));
        problems
    }

    /// Puts the variables into every scalar under `node`, which is at `path`: that is as it was when this returns.
    pub(crate) fn interpolate(&self, node: &mut Node, path: &mut String) {
        let above = path.len();
        match &mut node.value {
            Value::Null => {}
            Value::Seq(nodes) => {
                for (i, child) in nodes.iter_mut().enumerate() {
                    path.push_str(&format!("[{i}]"));
                    self.interpolate(child, path);
                    path.truncate(above);
                }
            }
            Value::Map(map) => {
                for (key, entry) in map {
                    if above > 0 {
                        path.push('.');
                    }
                    path.push_str(key);
                    self.interpolate(&mut entry.node, path);
                    path.truncate(above);
                }
            }
            Value::Scalar(scalar) => {
                if !scalar.text.contains('$') {
                    return;
                }
                let raw = std::mem::take(&mut scalar.text);
                scalar.text = self.expand(&raw, node.mark, path, &BTreeMap::new());
                scalar.raw = Some(raw);
            }
        }
    }

    /// Puts the variables in anew under `node`, with `overrides` above all others.
    pub(crate) fn reinterpolate(&self, node: &mut Node, path: &str, overrides: &BTreeMap<String, String>) {
        match &mut node.value {
            Value::Null => {}
            Value::Seq(nodes) => nodes
                .iter_mut()
                .for_each(|child| self.reinterpolate(child, path, overrides)),
            Value::Map(map) => {
                for entry in map.values_mut() {
                    self.reinterpolate(&mut entry.node, path, overrides);
                }
            }
            Value::Scalar(scalar) => {
                if let Some(raw) = &scalar.raw {
                    scalar.text = self.expand(raw, node.mark, path, overrides);
                }
            }
        }
    }

    fn expand(&self, raw: &str, mark: Mark, path: &str, overrides: &BTreeMap<String, String>) -> String {
        let mut scope = Scope {
            context: self,
            overrides,
            mark,
            path,
        };
        let text = match template::interpolate(raw, &mut scope) {
            Ok(text) => text,
            Err(error) => {
                let hint = match &error {
                    template::TemplateError::Required { .. } => "set it in .env",
                    template::TemplateError::Invalid(_) => "write $$ for a dollar sign",
                    _ => "shorten it",
                };
                self.error_hint(mark, path, error.to_string(), hint);
                String::new()
            }
        };
        self.interpolated
            .set(self.interpolated.get().saturating_add(text.len()));
        if self.interpolated.get() > MAX_INTERPOLATED {
            let message = format!("interpolation makes this file larger than {MAX_INTERPOLATED} bytes");
            self.push(Problem::error(
                self.place(Mark {
                    line: 1,
                    column: 1,
                    ..mark
                }),
                "",
                message,
            ));
            return String::new();
        }
        text
    }

    /// A warning for each variable once: the first place is enough to find the others.
    fn warn_unset(&self, mark: Mark, path: &str, name: &str) {
        if self.unset.borrow_mut().insert(name.to_owned()) {
            let message = format!("the variable \"{name}\" is not set and reads as empty");
            self.push(Problem::warning(self.place(mark), path, message).hint("set it in .env"));
        }
    }
}

struct Scope<'s, 'a> {
    context: &'s Context<'a>,
    overrides: &'s BTreeMap<String, String>,
    mark: Mark,
    path: &'s str,
}

impl Variables for Scope<'_, '_> {
    fn get(&self, name: &str) -> Option<String> {
        self.overrides
            .get(name)
            .or_else(|| self.context.variables.get(name))
            .cloned()
    }

    fn unset(&mut self, name: &str) {
        self.context.warn_unset(self.mark, self.path, name);
    }
}

/// `path` without `.`, `..` and doubled slashes, by its text alone.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}
