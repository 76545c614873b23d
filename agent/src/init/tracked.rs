//! Which other files belong to a release: single files of the stack's directory that containers have mounted and that read
//! like configuration. Data is none of it.

use std::path::Path;

use config::read::ReadError;
use state::name::ServiceName;
use state::stack_spec::{Bind, Mount};

use super::files::Files;
use super::found::{Question, Tracked};
use super::tags::{image_of, last_part};

/// What names of configuration end in.
const ENDS: [&str; 16] = [
    "conf",
    "cfg",
    "cnf",
    "yml",
    "yaml",
    "toml",
    "ini",
    "json",
    "xml",
    "properties",
    "hcl",
    "tmpl",
    "template",
    "sh",
    "js",
    "html",
];

/// Longer is no configuration.
const LONGEST: usize = 1 << 20;

/// The files, by their paths.
pub(crate) fn tracked(files: &Files<'_>, questions: &mut Vec<Question>) -> Vec<Tracked> {
    let mut found: Vec<Tracked> = Vec::new();
    for (service, spec) in &files.spec.services {
        for mount in &spec.volumes {
            let Mount::Bind(bind) = mount else { continue };
            let own =
                bind.source.starts_with(&files.project.directory) && bind.source != files.project.directory;
            if own && !is_input(files, &bind.source) {
                look(files, service, bind, &mut found, questions);
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// What belongs to a release anyhow.
fn is_input(files: &Files<'_>, path: &Path) -> bool {
    files.project.files.iter().any(|file| file == path) || files.env_path() == path
}

fn look(
    files: &Files<'_>,
    service: &ServiceName,
    bind: &Bind,
    found: &mut Vec<Tracked>,
    questions: &mut Vec<Question>,
) {
    let name = &files.project.name;
    let path = &bind.source;
    let below = path
        .strip_prefix(&files.project.directory)
        .unwrap_or(path)
        .display();
    match files.source().read(path) {
        Ok(bytes) => {
            let reads = bytes.len() <= LONGEST && std::str::from_utf8(&bytes).is_ok();
            if !reads || !(bind.read_only || is_configuration(path)) {
                let what = format!("{service} mounts {below}: is it configuration, or data?");
                questions.push(Question::of(
                    name,
                    what,
                    "configuration belongs to a release: add it to track",
                ));
                return;
            }
            let check = check(&image_of(files, service), &bind.target).map(|check| (service.clone(), check));
            match found.iter_mut().find(|known| known.path == *path) {
                Some(known) => known.check = known.check.take().or(check),
                None => found.push(Tracked {
                    path: path.clone(),
                    check,
                }),
            }
        }
        // A directory that a service only reads is configuration, or pages.
        Err(ReadError::NotRegular { .. }) if bind.read_only || bind.target.starts_with("/etc/") => {
            let what = format!(
                "{service} mounts the directory {below}: which of its files belong to a release is not known"
            );
            questions.push(Question::of(
                name,
                what,
                "add each file to track that a rollback has to put back",
            ));
        }
        Err(ReadError::Unreadable { .. }) => {
            let what = format!("{service} mounts {below}, which cannot be read");
            questions.push(Question::of(name, what, "use sudo"));
        }
        Err(_) => {}
    }
}

fn is_configuration(path: &Path) -> bool {
    let end = path.extension().and_then(|end| end.to_str());
    end.is_some_and(|end| ENDS.contains(&end))
}

/// What asks a program whether it likes its file.
fn check(image: &str, target: &str) -> Option<Vec<String>> {
    let words: &[&str] = match last_part(image) {
        "nginx" if target.starts_with("/etc/nginx/") => &["nginx", "-t"],
        "prometheus" if target.ends_with("prometheus.yml") => &["promtool", "check", "config", target],
        "haproxy" => &["haproxy", "-c", "-f", target],
        "caddy" if target.ends_with("Caddyfile") => &["caddy", "validate", "--config", target],
        _ => return None,
    };
    Some(words.iter().map(|&word| word.to_owned()).collect())
}
