//! What an origin says of itself when it is asked without a mirror: whether it answers, and which branch it is at.
//! Nothing is written for it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use state::name::BranchName;

use super::SourceError;
use super::origin::Origin;
use super::run::{Call, Git, Reads};
use super::said;

/// What asks for no password and no confirmation.
const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=10";

/// The branch that the origin at `address` is at; `None`: it is at none. An error: it does not answer, and why.
pub async fn head_branch(address: &str, within: Duration) -> Result<Option<BranchName>, SourceError> {
    let git = Git {
        program: OsString::from("git"),
        base: PathBuf::from("/"),
    };
    let origin = Origin::new(address.to_owned());
    let version = git.run(Call::outside("version").within(within)).await?;
    if !version.went_well() {
        return Err(said::own(&git, "version", &version));
    }
    match (origin.directory(), origin.path()) {
        // Whose it is keeps no mirror from being made of it, though it would keep this user's own call from it.
        (Some(directory), _) => of_directory(&origin, &directory),
        (None, Some(path)) => Err(not_there(&origin, path)),
        (None, None) => of_remote(&git, &origin, within).await,
    }
}

fn of_directory(origin: &Origin, directory: &Path) -> Result<Option<BranchName>, SourceError> {
    let path = directory.join("HEAD");
    match fs::read_to_string(&path) {
        Ok(head) => Ok(branch(head.trim_end())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(SourceError::Denied {
            origin: origin.to_string(),
            said: format!("{} may not be read", path.display()),
        }),
        Err(error) => Err(SourceError::io("read", &path)(error)),
    }
}

fn not_there(origin: &Origin, path: &Path) -> SourceError {
    let origin = origin.to_string();
    match fs::read_dir(path) {
        Ok(_) => SourceError::NotARepository {
            origin,
            said: String::from("there is no HEAD in it"),
        },
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => SourceError::Denied {
            origin,
            said: error.to_string(),
        },
        Err(error) => SourceError::Unreachable {
            origin,
            said: error.to_string(),
        },
    }
}

async fn of_remote(git: &Git, origin: &Origin, within: Duration) -> Result<Option<BranchName>, SourceError> {
    let mut call = Call::outside("ls-remote")
        .args(["--symref", "--", origin.address(), "HEAD"])
        .reads(Reads::Hosts)
        .within(within);
    let is_said = ["GIT_SSH_COMMAND", "GIT_SSH"]
        .iter()
        .any(|key| std::env::var_os(key).is_some());
    if !is_said {
        let asked = Call::outside("config").args(["--get", "core.sshCommand"]);
        if git
            .run(asked.reads(Reads::Hosts).within(within))
            .await?
            .stdout
            .is_empty()
        {
            call = call.env("GIT_SSH_COMMAND", SSH);
        }
    }
    let ended = git.run(call).await?;
    if !ended.went_well() {
        return Err(said::of_origin(git, origin, &ended));
    }
    Ok(ended
        .text()
        .lines()
        .find_map(|line| branch(line.strip_suffix("\tHEAD")?)))
}

/// `ref: refs/heads/main`; a commit where it is at no branch.
fn branch(head: &str) -> Option<BranchName> {
    head.strip_prefix("ref: refs/heads/")?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const WITHIN: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_origin_on_this_host_says_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.git");
        let address = path.display().to_string();
        let ask = async || head_branch(&address, WITHIN).await;
        assert!(matches!(ask().await, Err(SourceError::Unreachable { .. })));
        fs::create_dir(&path).unwrap();
        assert!(matches!(ask().await, Err(SourceError::NotARepository { .. })));
        fs::write(path.join("HEAD"), "ref: refs/heads/release/next\n").unwrap();
        assert_eq!(ask().await.unwrap().unwrap().as_str(), "release/next");
        fs::write(path.join("HEAD"), format!("{}\n", "a".repeat(40))).unwrap();
        assert_eq!(ask().await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_origin_that_nobody_serves_is_away() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let address = format!("git://127.0.0.1:{port}/shop");
        let answer = head_branch(&address, WITHIN).await;
        assert!(
            matches!(answer, Err(SourceError::Unreachable { .. })),
            "{answer:?}"
        );
    }
}
