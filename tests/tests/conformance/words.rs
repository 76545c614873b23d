//! What differs from one checkout or run to the next becomes a word, as `words.jq` does it for the fixtures.

use std::path::Path;

use serde_json::Value;

/// Replaces, in every text and key, the directory of the case and the name of its project.
pub(crate) fn replace(value: &mut Value, dir: &Path, project: &str) {
    let cases = dir
        .parent()
        .map(|p| p.to_string_lossy().into_owned())
        .unwrap_or_default();
    let dir = dir.to_string_lossy();
    let words = |text: &str| {
        text.replace(&*dir, "<DIR>")
            .replace(&cases, "<CASES>")
            .replace(project, "<PROJECT>")
    };
    everywhere(value, &words);
}

fn everywhere(value: &mut Value, words: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = words(text),
        Value::Array(list) => list.iter_mut().for_each(|v| everywhere(v, words)),
        Value::Object(object) => {
            let replaced = std::mem::take(object).into_iter().map(|(key, mut value)| {
                everywhere(&mut value, words);
                (words(&key), value)
            });
            *object = replaced.collect();
        }
        _ => {}
    }
}
