//! `environment`, `env_file`, `label_file` and labels of a service. Values never leave in an error.

use std::collections::BTreeMap;
use std::path::Path;

use state::stack_spec::EnvValue;

use super::fields::{At, Fields};
use super::files;
use super::keys;
use super::node::Value;
use crate::env_file::{self, Env, Format};
use crate::read::ReadError;

/// The environment of a container: `env_file`s in their order, then `environment` above them.
pub(crate) fn environment(fields: &Fields<'_>) -> BTreeMap<String, Option<EnvValue>> {
    let variables = &fields.cx.variables;
    let mut own = fields.get("environment").map(|at| at.pairs()).unwrap_or_default();
    for (name, value) in &mut own {
        if value.is_none() {
            *value = variables.get(name).cloned();
        }
    }
    if own.contains_key("") {
        fields.cx.error(
            fields.mark,
            &format!("{}.environment", fields.path),
            "a variable without a name",
        );
        own.remove("");
    }
    for (name, value) in &own {
        if value.as_ref().is_some_and(|value| value.contains('\0')) {
            let key = format!("{}.environment.{name}", fields.path);
            let message = "a NUL in this value: no environment can hold one";
            fields.cx.error(fields.mark_of("environment"), &key, message);
        }
    }
    let mut from_files = Env::new();
    if let Some(at) = fields.get("env_file") {
        let lookup = |name: &str| {
            let outside = variables.get(name).cloned();
            outside.or_else(|| own.get(name).cloned().flatten())
        };
        for item in one_or_many(&at) {
            env_file(&item, &lookup, &mut from_files);
        }
    }
    let mut all: BTreeMap<String, Option<EnvValue>> = from_files
        .into_iter()
        .map(|(name, value)| (name, Some(EnvValue::from(value))))
        .collect();
    for (name, value) in own {
        all.insert(name, value.map(EnvValue::from));
    }
    all
}

fn one_or_many<'a>(at: &At<'a>) -> Vec<At<'a>> {
    match &at.node.value {
        Value::Scalar(_) => vec![at.clone()],
        _ => at.items(),
    }
}

fn env_file(item: &At<'_>, lookup: &dyn Fn(&str) -> Option<String>, env: &mut Env) {
    let (mut required, mut format) = (true, Format::Dotenv);
    let path = if let Value::Map(_) = &item.node.value {
        let fields = item.fields(&keys::ENV_FILE);
        let path = fields.get("path").and_then(|at| at.path());
        if !fields.has("path") {
            item.error("\"path\" is missing: which file?");
        }
        required = fields.bool("required").unwrap_or(true);
        if let Some(at) = fields.get("format") {
            format = at
                .choice(&[("raw", Format::Raw), ("", Format::Dotenv)])
                .unwrap_or(format);
        }
        fields.finish();
        path
    } else {
        item.path()
    };
    let Some(path) = path else { return };
    match files::read(item.cx, &path) {
        Ok(text) => parse(item, &path, &text, format, lookup, env),
        Err(ReadError::Absent { .. }) if !required => {}
        Err(error) => item.error(crate::error::with_sources(&error)),
    }
}

fn parse(
    item: &At<'_>,
    path: &Path,
    text: &[u8],
    format: Format,
    lookup: &dyn Fn(&str) -> Option<String>,
    env: &mut Env,
) {
    let mut problems = Vec::new();
    env_file::parse(path, text, format, lookup, env, &mut problems);
    for problem in problems {
        item.cx.push(problem);
    }
}

/// The labels of a container: `label_file`s in their order, then `labels` above them.
pub(crate) fn labels(fields: &Fields<'_>) -> BTreeMap<String, String> {
    let mut labels = Env::new();
    if let Some(at) = fields.get("label_file") {
        for item in one_or_many(&at) {
            let Some(path) = item.path() else { continue };
            match files::read(item.cx, &path) {
                Ok(text) => parse(&item, &path, &text, Format::Dotenv, &|_| None, &mut labels),
                Err(error) => item.error(crate::error::with_sources(&error)),
            }
        }
    }
    labels.extend(fields.dict("labels"));
    labels
}
