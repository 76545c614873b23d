//! The way to a file: every name on which it depends where the file is found. Reads the disk and
//! changes nothing.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As the kernel's own limit (`path_resolution(7)`).
const MOST_SYMLINKS: usize = 40;

/// One name in one directory. The directory is there, and no part of its path is a symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) directory: PathBuf,
    pub(super) name: OsString,
}

/// The names on the way to `path` whose change may change what is found there: each symbolic link,
/// and the file itself, or the first name that is missing.
pub(super) fn links_of(path: &Path) -> Vec<Link> {
    // It fails for an empty path alone, at which nothing can ever be found.
    let Ok(path) = std::path::absolute(path) else {
        return Vec::new();
    };
    let mut links = Vec::new();
    let mut at = PathBuf::from("/");
    let mut rest = parts(&path);
    let mut symlinks = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let here = at.join(&name);
        let found = std::fs::symlink_metadata(&here).ok();
        let target = found
            .as_ref()
            .filter(|found| found.is_symlink())
            .and_then(|_| std::fs::read_link(&here).ok());
        let is_directory = found.is_some_and(|found| found.is_dir());
        if is_directory && !rest.is_empty() {
            at = here;
            continue;
        }
        links.push(Link {
            directory: at.clone(),
            name,
        });
        let Some(target) = target.filter(|_| symlinks < MOST_SYMLINKS) else {
            break;
        };
        symlinks += 1;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        let mut way = parts(&target);
        way.append(&mut rest);
        rest = way;
    }
    links
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[track_caller]
    fn check(root: &Path, path: &str, expected: &[&str]) {
        let found: Vec<String> = links_of(&root.join(path))
            .into_iter()
            .map(|link| link.directory.join(link.name))
            .map(|link| link.strip_prefix(root).unwrap_or(&link).display().to_string())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_way_to_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("srv/releases/5")).unwrap();
        fs::write(root.join("srv/file"), "").unwrap();
        symlink("releases/5", root.join("srv/current")).unwrap();
        symlink("../../file", root.join("srv/releases/5/link")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink(root.join("srv"), root.join("absolute")).unwrap();
        check(&root, "srv/file", &["srv/file"]);
        check(&root, "srv/none", &["srv/none"]);
        check(&root, "srv/none/deep/file", &["srv/none"]);
        check(&root, "srv/file/below", &["srv/file"]);
        check(&root, "srv/current/new", &["srv/current", "srv/releases/5/new"]);
        check(
            &root,
            "srv/current/link",
            &["srv/current", "srv/releases/5/link", "srv/file"],
        );
        check(&root, "absolute/file", &["absolute", "srv/file"]);
        check(&root, "srv/../srv/file", &["srv/file"]);
        assert_eq!(links_of(&root.join("loop")).len(), MOST_SYMLINKS + 1);
        assert_eq!(links_of(Path::new("")), []);
    }
}
