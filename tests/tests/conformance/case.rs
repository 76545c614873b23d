//! The cases on disk: what they ask for, and what the oracle said. Nothing is judged here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

/// What `case.toml` says; see `tests/conformance/README.md`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    #[serde(default = "default_files")]
    pub(crate) files: Vec<PathBuf>,
    #[serde(default)]
    pub(crate) profiles: Vec<String>,
    #[serde(default)]
    pub(crate) env: Vec<String>,
    #[serde(default)]
    pub(crate) engine: bool,
    #[serde(default)]
    pub(crate) v1: bool,
    #[serde(default)]
    pub(crate) networks: Vec<String>,
    #[serde(default)]
    pub(crate) volumes: Vec<String>,
    /// Whether the oracle may be asked at all; read by `oracle.sh`.
    #[serde(default, rename = "ask")]
    _ask: Option<bool>,
    /// Of a refused file: the line, key and text that the error must show.
    pub(crate) line: Option<u32>,
    #[serde(default)]
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) text: String,
}

fn default_files() -> Vec<PathBuf> {
    vec![PathBuf::from("compose.yaml")]
}

/// One directory of `tests/conformance/cases` or `refused`.
#[derive(Debug)]
pub(crate) struct Case {
    /// `01-minimal`.
    pub(crate) name: String,
    /// Its absolute path.
    pub(crate) dir: PathBuf,
    /// What it asks for.
    pub(crate) settings: Settings,
}

impl Case {
    /// The files, absolute.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.settings.files.iter().map(|f| self.dir.join(f)).collect()
    }

    /// The directory of the first file: where relative paths start.
    pub(crate) fn project_dir(&self) -> PathBuf {
        let first = self.dir.join(&self.settings.files[0]);
        first.parent().map(Path::to_path_buf).unwrap_or_default()
    }

    /// The process environment of the case.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let split = |pair: &String| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        };
        self.settings.env.iter().map(split).collect()
    }

    /// What the oracle said, without the name of the oracle.
    pub(crate) fn answer(&self, file: &str) -> Result<Value> {
        let path = self.dir.join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut recorded: Value = serde_json::from_str(&text)?;
        Ok(recorded["answer"].take())
    }
}

/// `tests/conformance`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// All cases of `kind` (`cases` or `refused`), by name.
pub(crate) fn all(kind: &str) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(root().join(kind))? {
        let dir = entry?.path().canonicalize()?;
        let name = dir
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let text = fs::read_to_string(dir.join("case.toml")).with_context(|| name.clone())?;
        let settings = toml::from_str(&text).with_context(|| name.clone())?;
        cases.push(Case { name, dir, settings });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}
