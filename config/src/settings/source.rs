//! `[stack.NAME.source]`: the Git repository that releases come from. Nothing is asked of it here.

use std::path::{Component, Path, PathBuf};

use crate::fragment::{Fault, Item, Table};
use crate::validate::text;

/// `[stack.NAME.source]`: a release is a tag, or a commit, of this repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// `git`: an absolute path, or an address as `git clone` takes it. Required. There is no password in it.
    pub git: String,
    /// `tags`: which of its tags are releases; `*` stands for any characters. Default `*`.
    pub tags: String,
    /// `path`: where in the repository the stack's directory is, relative to its root. Default the root itself.
    pub path: PathBuf,
}

impl SourceSettings {
    /// What `path` on this host is called in the repository, if the stack's `directory` was a checkout of it. `None`: it
    /// would lie outside.
    pub fn within(&self, directory: &Path, path: &Path) -> Option<PathBuf> {
        let mut root = directory;
        let mut below = self.path.as_path();
        // Where the directory is called as in the repository, what lies beside it is in the repository too.
        while let (Some(name), Some(parent)) = (below.file_name(), root.parent())
            && root.file_name() == Some(name)
        {
            (root, below) = (parent, below.parent().unwrap_or(Path::new("")));
        }
        if !below.as_os_str().is_empty() {
            return Some(self.path.join(path.strip_prefix(directory).ok()?));
        }
        Some(path.strip_prefix(root).ok()?.to_owned())
    }
}

pub(super) fn read(mut table: Table<'_>) -> Option<SourceSettings> {
    let git = table.require("git", "\"/srv/shop\" or \"git@git.example:shop.git\"", origin);
    let settings = SourceSettings {
        git: git.clone().unwrap_or_default(),
        tags: table.get("tags", pattern).unwrap_or_else(|| String::from("*")),
        path: table.get("path", inside).unwrap_or_default(),
    };
    table.finish();
    git.map(|_| settings)
}

/// Where the repository is. What Git would take for a command to run is refused.
fn origin(item: &Item<'_>) -> Result<String, Fault> {
    let origin = text(item)?;
    let hint = "write an absolute path, https://…, ssh://… or user@host:path";
    if let Some((scheme, rest)) = origin.split_once("://") {
        if !matches!(scheme, "https" | "http" | "ssh" | "git" | "file") {
            return Err(Fault::new(format!("Git addresses do not begin with {scheme}://")).hint(hint));
        }
        if rest.contains(['?', '#']) {
            return Err(Fault::new("there is more than an address in it").hint(hint));
        }
        let account = rest.split('/').next().and_then(|host| host.rsplit_once('@'));
        let tells = |(account, _): (&str, &str)| account.contains(':') || scheme.starts_with("http");
        if account.is_some_and(tells) {
            let fault = Fault::new("there is a password or a token in the address");
            return Err(
                fault.hint("keep it out of this file: use a deploy key, or a credential helper of Git")
            );
        }
        return Ok(origin.to_owned());
    }
    let remote = origin.split_once(':').is_some_and(|(host, path)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
        !path.is_empty() && !path.starts_with(':') && !host.starts_with('-') && host.chars().all(plain)
    });
    if origin.starts_with('/') || remote {
        Ok(origin.to_owned())
    } else {
        Err(Fault::new(format!("{} is no repository", item.written())).hint(hint))
    }
}

/// Which tags are releases.
fn pattern(item: &Item<'_>) -> Result<String, Fault> {
    let pattern = text(item)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*');
    if pattern.chars().all(plain) && !pattern.starts_with('-') {
        return Ok(pattern.to_owned());
    }
    let fault = Fault::new(format!("{} is no pattern of tags", item.written()));
    Err(fault.hint("write it as \"v*\": only * has a meaning of its own"))
}

/// A directory of the repository.
fn inside(item: &Item<'_>) -> Result<PathBuf, Fault> {
    let path = Path::new(text(item)?);
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            _ => {
                let fault = Fault::new(format!("{} leads out of the repository", item.written()));
                return Err(fault.hint("write it from the root of the repository: path = \"deploy\""));
            }
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, directory: &str, file: &str, expected: Option<&str>) {
        let settings = SourceSettings {
            git: String::from("/srv/shop.git"),
            tags: String::from("*"),
            path: PathBuf::from(path),
        };
        let found = settings.within(Path::new(directory), Path::new(file));
        assert_eq!(
            found,
            expected.map(PathBuf::from),
            "{file} of {directory} at {path:?}"
        );
    }

    #[test]
    fn a_file_is_found_in_the_repository_where_the_stack_would_have_it() {
        check("", "/srv/shop", "/srv/shop/backend", Some("backend"));
        check("", "/srv/shop", "/srv/shop", Some(""));
        check("", "/srv/shop", "/srv/other", None);
        check(
            "deploy",
            "/srv/shop/deploy",
            "/srv/shop/deploy/nginx.conf",
            Some("deploy/nginx.conf"),
        );
        check("deploy", "/srv/shop/deploy", "/srv/shop/backend", Some("backend"));
        check("deploy", "/srv/shop/deploy", "/srv/else", None);
        check(
            "ops/deploy",
            "/srv/shop/ops/deploy",
            "/srv/shop/backend",
            Some("backend"),
        );
        // The directory is called otherwise than in the repository: what lies beside it is somebody else's.
        check(
            "deploy",
            "/opt/live",
            "/opt/live/nginx.conf",
            Some("deploy/nginx.conf"),
        );
        check("deploy", "/opt/live", "/opt/backend", None);
        check("ops/deploy", "/opt/deploy", "/opt/deploy/a", Some("ops/deploy/a"));
    }
}
