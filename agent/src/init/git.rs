//! Whether a stack's directory is a checkout of a Git repository, by its files. No command of Git's is run.

use std::path::Path;

use config::compose::Source;

/// How far up a checkout is looked for.
const MOST_PARENTS: usize = 4;

/// Where the origin of the checkout is; the checkout itself, where it names none. No password is in it.
pub(crate) fn origin(source: &dyn Source, directory: &Path) -> Option<String> {
    for directory in directory.ancestors().take(MOST_PARENTS) {
        if let Ok(bytes) = source.read(&directory.join(".git/config")) {
            let text = String::from_utf8_lossy(&bytes);
            return Some(remote(&text).unwrap_or_else(|| directory.display().to_string()));
        }
    }
    None
}

fn remote(text: &str) -> Option<String> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[remote \"origin\"]");
    lines.next()?;
    let own = lines.take_while(|line| !line.starts_with('['));
    let url = own
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == "url")?
        .1
        .trim();
    Some(without_account(url.trim_matches('"')))
}

/// `https://host/path` of `https://user:token@host/path`. Over HTTP the user alone may be a token; elsewhere, as with SSH,
/// an account is no secret, and its password is.
fn without_account(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let Some((account, host)) = authority.rsplit_once('@') else {
        return url.to_owned();
    };
    // As in `helper::https://host/path`.
    let last = scheme.rsplit(':').next().unwrap_or(scheme);
    if ["http", "https"]
        .iter()
        .any(|http| last.eq_ignore_ascii_case(http))
    {
        return format!("{scheme}://{host}{path}");
    }
    let user = account.split(':').next().unwrap_or(account);
    format!("{scheme}://{user}@{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_told() {
        let config = "[core]\n\tbare = false\n[remote \"up\"]\n\turl = x\n[remote \"origin\"]\n\turl = URL\n\tfetch = y\n";
        for (url, expected) in [
            (
                "https://ci:ghp_1@git.example/shop.git",
                "https://git.example/shop.git",
            ),
            (
                "HTTPS://ghp_1@git.example/shop.git",
                "HTTPS://git.example/shop.git",
            ),
            ("Http://ci:p@ss@git.example:80/a@b", "Http://git.example:80/a@b"),
            ("\"https://ghp_1@git.example/x\"", "https://git.example/x"),
            (
                "cache::https://ghp_1@git.example/x",
                "cache::https://git.example/x",
            ),
            (
                "ssh://git:pw:1@git.example:22/shop.git",
                "ssh://git@git.example:22/shop.git",
            ),
            ("SSH://git@git.example/shop.git", "SSH://git@git.example/shop.git"),
            ("ftp://ci:pw@git.example", "ftp://ci@git.example"),
            ("https://git.example/a:b@c", "https://git.example/a:b@c"),
            ("git@git.example:shop.git", "git@git.example:shop.git"),
            ("/srv/git/shop.git", "/srv/git/shop.git"),
        ] {
            assert_eq!(remote(&config.replace("URL", url)).as_deref(), Some(expected));
        }
        assert_eq!(remote("[core]\n"), None);
    }
}
