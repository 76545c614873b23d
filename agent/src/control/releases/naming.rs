//! What branches are called, where a file is in the repository, what a commit says of itself. Nothing is asked here.

use std::path::{Component, Path, PathBuf};

use config::settings::SourceSettings;
use state::name::{BranchName, Commit, Tag};

use super::point::Point;

/// The branch to go back to a release on.
pub(super) fn rollback(tag: &Tag) -> Result<BranchName, String> {
    named(&format!("rollback/to-{tag}"))
}

/// The branch to mend a release on; its name may be given with what it begins with.
pub(super) fn hotfix(name: &str) -> Result<BranchName, String> {
    named(&format!(
        "hotfix/{}",
        name.strip_prefix("hotfix/").unwrap_or(name)
    ))
}

/// The branch with one file as it was. What a branch cannot be called by becomes a hyphen.
pub(super) fn of_file(path: &Path, from: &Commit) -> Result<BranchName, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = name.chars().map(|c| if plain(c) { c } else { '-' }).collect();
    let name = name.trim_start_matches(['.', '-']).replace("..", "-");
    let name = if name.is_empty() { "file" } else { &name };
    named(&format!("rollback/{name}-{}", from.short()))
}

fn named(name: &str) -> Result<BranchName, String> {
    name.parse()
        .map_err(|error: state::name::InvalidName| error.to_string())
}

/// Where a file may be in the repository: as it is called in the stack's directory, then as it is called from the root.
pub(super) fn places(
    settings: &SourceSettings,
    directory: &Path,
    path: &Path,
) -> Result<Vec<PathBuf>, String> {
    let outside = || {
        format!(
            "{} is not in the repository",
            path.to_string_lossy().escape_debug()
        )
    };
    let here = plain(&directory.join(path)).and_then(|path| settings.within(directory, &path));
    let from_root = if path.is_absolute() { None } else { plain(path) };
    let mut places: Vec<PathBuf> = here.into_iter().chain(from_root).collect();
    places.retain(|place| place.file_name().is_some());
    places.dedup();
    if places.is_empty() {
        Err(outside())
    } else {
        Ok(places)
    }
}

/// A path without steps up; `None`: they lead out of it.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if !plain.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            part => plain.push(part),
        }
    }
    Some(plain)
}

/// What the commit says of itself.
pub(super) fn message(path: &Path, point: &Point, reason: Option<&str>) -> String {
    let path = path.to_string_lossy().escape_debug().to_string();
    let subject = format!("Rollback: revert {path} to what it was in {point}\n");
    match reason.map(str::trim).filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{subject}\n{reason}\n"),
        None => subject,
    }
}

/// The address of somebody on this host, of what an address may have.
pub(super) fn email(name: &str, host: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let part = |text: &str| -> String {
        let text = text.trim().chars().map(|c| if plain(c) { c } else { '-' });
        text.collect()
    };
    format!("{}@{}", part(name), part(host))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[track_caller]
    fn check(name: &Result<BranchName, String>, expected: Option<&str>) {
        assert_eq!(name.as_ref().map(BranchName::as_str).ok(), expected, "{name:?}");
    }

    #[test]
    fn branches_are_called_so_that_git_takes_them() {
        let commit: Commit = "a1b2c3d4e5f6".repeat(4)[..40].parse().unwrap();
        check(&rollback(&"v1.4.0".parse().unwrap()), Some("rollback/to-v1.4.0"));
        check(&rollback(&"v1..4".parse().unwrap()), None);
        check(&hotfix("checkout"), Some("hotfix/checkout"));
        check(&hotfix("hotfix/checkout"), Some("hotfix/checkout"));
        check(&hotfix("of checkout"), None);
        check(&hotfix(""), None);
        let file = |path: &str| of_file(Path::new(path), &commit);
        check(
            &file("backend/backtest_engine.py"),
            Some("rollback/backtest_engine.py-a1b2c3d4e5f6"),
        );
        check(&file(".env.example"), Some("rollback/env.example-a1b2c3d4e5f6"));
        check(&file("a b~1?.txt"), Some("rollback/a-b-1-.txt-a1b2c3d4e5f6"));
        check(&file("été"), Some("rollback/t--a1b2c3d4e5f6"));
        check(&file("…"), Some("rollback/file-a1b2c3d4e5f6"));
    }

    #[track_caller]
    fn check_places(within: &str, directory: &str, path: &str, expected: &[&str]) {
        let settings = SourceSettings {
            git: String::from("/srv/shop.git"),
            tags: String::from("*"),
            path: PathBuf::from(within),
        };
        let found = places(&settings, Path::new(directory), Path::new(path)).unwrap_or_default();
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(found, expected, "{path} of {directory}");
    }

    #[test]
    fn a_file_is_named_as_in_the_directory_or_from_the_root() {
        check_places("", "/srv/shop", "backend/a.py", &["backend/a.py"]);
        check_places("", "/srv/shop", "./backend/../a.py", &["a.py"]);
        check_places("", "/srv/shop", "/srv/shop/backend/a.py", &["backend/a.py"]);
        check_places("", "/srv/shop", "/etc/passwd", &[]);
        check_places("", "/srv/shop", "../other/a.py", &[]);
        check_places("", "/srv/shop", ".", &[]);
        check_places(
            "deploy",
            "/srv/shop/deploy",
            "nginx.conf",
            &["deploy/nginx.conf", "nginx.conf"],
        );
        check_places("deploy", "/srv/shop/deploy", "../backend/a.py", &["backend/a.py"]);
        check_places(
            "deploy",
            "/opt/live",
            "/opt/live/nginx.conf",
            &["deploy/nginx.conf"],
        );
    }

    #[test]
    fn a_commit_says_what_was_done_and_why() {
        let point = Point {
            tag: "v1.5.0".parse().unwrap(),
            commit: "a".repeat(40).parse().unwrap(),
            generation: Some(state::release::GenerationNumber(2)),
        };
        let message = |reason| message(Path::new("backend/a.py"), &point, reason);
        let subject = "Rollback: revert backend/a.py to what it was in v1.5.0 (generation 2)\n";
        assert_eq!(message(None), subject);
        assert_eq!(message(Some(" ")), subject);
        assert_eq!(
            message(Some("fees are wrong")),
            format!("{subject}\nfees are wrong\n")
        );
        assert_eq!(email("uid 4242", "host.example"), "uid-4242@host.example");
    }
}
