//! Reading Compose files into one tree: parsed, interpolated, `extends` applied, laid over each other.

use std::path::{Path, PathBuf};

use super::context::{Context, FileInfo};
use super::extends::{self, Extended};
use super::node::{Mark, Node, Value};
use super::{merge, yaml};
use crate::document;
use crate::error::{Place, Problem, with_sources};
use crate::read::ReadError;

/// The content of `path`, remembered as one that matters.
pub(crate) fn read(cx: &Context<'_>, path: &Path) -> Result<Vec<u8>, ReadError> {
    cx.seen.borrow_mut().insert(path.to_owned());
    cx.source.read(path)
}

/// The interpolated tree of one YAML file. `named_at` is where another file names it.
pub(crate) fn read_yaml(
    cx: &Context<'_>,
    path: &Path,
    base: PathBuf,
    named_at: Option<(Mark, &str)>,
) -> Option<Node> {
    let text = match read(cx, path) {
        Ok(text) => text,
        Err(error) => {
            let message = with_sources(&error);
            match named_at {
                Some((mark, key)) => cx.error(mark, key, message),
                None => cx.push(Problem::error(Place::file(path), "", message)),
            }
            return None;
        }
    };
    let file = cx.files.borrow().len();
    cx.files.borrow_mut().push(FileInfo {
        path: path.to_owned(),
        base,
    });
    let text = match document::text_of(path, &text) {
        Ok(text) => text,
        Err(problem) => {
            cx.push(problem);
            return None;
        }
    };
    let mut errors = Vec::new();
    let parsed = yaml::parse(file, text, &mut errors);
    let root = match parsed {
        Ok(root) => Some(root),
        Err(error) => {
            errors.push(error);
            None
        }
    };
    for error in errors {
        let mut problem = Problem::error(cx.place(error.mark), error.path, error.message);
        problem.hint = error.hint.map(str::to_owned);
        cx.push(problem);
    }
    let mut root = root?;
    cx.interpolate(&mut root, &mut String::new());
    match root.value {
        Value::Map(_) => Some(root),
        Value::Null => {
            cx.error(root.mark, "", "the file is empty");
            None
        }
        _ => {
            cx.error(
                root.mark,
                "",
                format!("a Compose file is a mapping, not {}", root.describe()),
            );
            None
        }
    }
}

/// All `files` as one tree, relative paths counting from `base`.
pub(crate) fn read_all(cx: &Context<'_>, files: &[PathBuf], base: &Path) -> Option<Node> {
    let mut whole: Option<Node> = None;
    let mut extended = Extended::new();
    for file in files {
        let Some(mut root) = read_yaml(cx, file, base.to_owned(), None) else {
            continue;
        };
        extends::apply(cx, &mut root, &mut extended);
        whole = Some(match whole {
            None => root,
            Some(base) => merge::merge(cx, base, root, &[]),
        });
    }
    let mut whole = whole?;
    merge::prune(&mut whole);
    merge::unique(&mut whole, &mut Vec::new());
    Some(whole)
}
