//! Where the repository is, as it is given to Git and as it may be shown.

use std::fmt;
use std::path::{Path, PathBuf};

/// The address of the origin.
#[derive(Clone)]
pub(super) struct Origin {
    address: String,
    /// Where that is on this host; `None`: elsewhere.
    path: Option<PathBuf>,
}

impl Origin {
    pub(super) fn new(address: String) -> Self {
        let local = address.strip_prefix("file://").unwrap_or(&address);
        let path = local.starts_with('/').then(|| {
            // As a path is compared: without a slash at its end.
            Path::new(local).components().collect()
        });
        Self { address, path }
    }

    /// For Git alone: it may hold a password.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Its directory on this host.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The Git directory of an origin on this host.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        let path = self.path()?;
        candidates(path)
            .into_iter()
            .find(|path| path.join("HEAD").is_file())
    }

    /// The directories that Git looks for a repository in, and may name when it asks whose they are.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let Some(path) = self.path() else {
            return Vec::new();
        };
        let mut all = candidates(path);
        all.push(path.to_owned());
        let real: Vec<PathBuf> = all.iter().filter_map(|path| path.canonicalize().ok()).collect();
        all.extend(real);
        all.sort();
        all.dedup();
        all
    }
}

/// Where Git looks for the repository that is called so.
fn candidates(path: &Path) -> Vec<PathBuf> {
    let mut suffixed = path.as_os_str().to_owned();
    suffixed.push(".git");
    let mut all = vec![path.join(".git"), path.to_owned(), PathBuf::from(suffixed)];
    // The `.git` of a linked worktree is a file that says where the directory is.
    if let Ok(link) = std::fs::read_to_string(path.join(".git"))
        && let Some(to) = link.strip_prefix("gitdir: ")
    {
        all.push(path.join(to.trim_end()));
    }
    all
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.address))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

/// A text without the accounts of the addresses in it. A name without a password is left only to SSH, where it is none:
/// for the others it may be a token.
pub(super) fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let scheme_from = rest[..at]
            .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '+')
            .map_or(0, |i| i + 1);
        let is_ssh = rest[scheme_from..at].to_ascii_lowercase().contains("ssh");
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let authority = after.find(|c: char| c == '/' || c.is_whitespace());
        let (authority, after) = after.split_at(authority.unwrap_or(after.len()));
        match authority.rsplit_once('@') {
            Some((account, host)) if is_ssh && !account.contains(':') => {
                shown.push_str(account);
                shown.push('@');
                shown.push_str(host);
            }
            Some((_, host)) => {
                shown.push_str("***@");
                shown.push_str(host);
            }
            None => shown.push_str(authority),
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(redacted(text), expected);
        assert_eq!(Origin::new(text.to_owned()).to_string(), expected);
        assert_eq!(
            format!("{:?}", Origin::new(text.to_owned())),
            format!("Origin({expected})")
        );
    }

    #[test]
    fn no_account_is_shown() {
        check("/srv/shop", "/srv/shop");
        check("git@host:shop.git", "git@host:shop.git");
        check("ssh://git@host/shop", "ssh://git@host/shop");
        check("ssh://git:word@host/shop", "ssh://***@host/shop");
        check("https://host/shop", "https://host/shop");
        check(
            "https://me:word@host:8443/shop?a=b@c",
            "https://***@host:8443/shop?a=b@c",
        );
        check("https://ghp_token@host/shop", "https://***@host/shop");
        // A slash in a password has to be written as %2F; an @ need not.
        check("https://me:wo@rd@host/shop", "https://***@host/shop");
        check(
            "fatal: unable to access 'https://me:word@host': no, nor http://a:b@c/d\nend",
            "fatal: unable to access 'https://***@host': no, nor http://***@c/d\nend",
        );
    }

    #[test]
    fn a_path_is_known_as_one() {
        let path = |text: &str| Origin::new(text.to_owned()).path().map(Path::to_owned);
        assert_eq!(path("/srv/shop/"), Some(PathBuf::from("/srv/shop")));
        assert_eq!(path("file:///srv/shop"), Some(PathBuf::from("/srv/shop")));
        assert_eq!(path("file://host/srv/shop"), None);
        assert_eq!(path("https://host/srv"), None);
        assert_eq!(path("host:srv"), None);
    }
}
