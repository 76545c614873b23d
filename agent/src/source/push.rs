//! A branch on its way into the origin: never forced, never over somebody else's, and never under the files of a
//! checkout. What the origin says against it is put into words here.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use state::name::{BranchName, Commit};

use super::mirror::Mirror;
use super::run::{Call, Ended, Reads};
use super::{SourceError, said};

const CHECKED_OUT: &str = "it is checked out there, and its files would not follow";

impl Mirror {
    /// Puts a branch that is at `from` now, or is not there, to a commit. `objects`: where objects of it are that the
    /// mirror does not have.
    pub(super) async fn push(
        &self,
        name: &BranchName,
        to: &Commit,
        from: Option<&Commit>,
        objects: Option<&Path>,
    ) -> Result<(), SourceError> {
        self.is_nobodys(name).await?;
        // Not to force anything, but to be refused where somebody has come first.
        let lease = from.map_or("", Commit::as_str);
        let mut call = Call::new("push", &self.path())
            .args(["--porcelain", "--no-verify"])
            .args([format!("--force-with-lease=refs/heads/{name}:{lease}")]);
        if let Some(receive) = self.as_its_owner() {
            call = call.args([receive]);
        }
        if let Some(objects) = objects {
            call = call.env("GIT_OBJECT_DIRECTORY", objects);
        }
        let call = call
            .args(["--", self.origin.address()])
            .args([format!("{to}:refs/heads/{name}")]);
        let ended = self.git.run(call.reads(Reads::Ours)).await?;
        if ended.went_well() {
            return Ok(());
        }
        Err(self.refused(name, &ended).await)
    }

    /// Why a push was not taken. The lines are those of `git push --porcelain`.
    async fn refused(&self, name: &BranchName, ended: &Ended) -> SourceError {
        let Some((at_once, why)) = why_not(&ended.text(), &ended.words) else {
            return said::of_origin(&self.git, &self.origin, ended);
        };
        // Our own side has seen it: the branch is not where it was.
        if at_once && let Ok(Some(at)) = self.branch_there(name).await {
            let name = name.clone();
            return SourceError::Exists { name, at };
        }
        self.not_taken(name, why)
    }

    fn not_taken(&self, name: &BranchName, said: String) -> SourceError {
        SourceError::Refused {
            origin: self.origin.to_string(),
            name: name.clone(),
            said,
        }
    }

    /// Refuses a branch that is checked out in an origin on this host. Git may be told there to take it all the same,
    /// and to change the files; and where it refuses, it leaves objects.
    async fn is_nobodys(&self, name: &BranchName) -> Result<(), SourceError> {
        let Some(directory) = self.origin.directory() else {
            return Ok(());
        };
        let listed = self
            .git
            .run(Call::new("worktree", &directory).args(["list", "--porcelain"]))
            .await?;
        if !listed.went_well() {
            return Err(said::of_origin(&self.git, &self.origin, &listed));
        }
        let line = format!("branch refs/heads/{name}");
        if listed.text().lines().any(|found| found == line) {
            return Err(self.not_taken(name, String::from(CHECKED_OUT)));
        }
        Ok(())
    }

    /// How the origin's side of a push is run where it is a directory of somebody else. Where we are root: as its owner.
    /// What it makes there stays theirs, and their hooks run with no more rights than they have. Else without the rights
    /// that the unit gives us for `.env` files: what would be ours in their directory, they could not put in order.
    fn as_its_owner(&self) -> Option<String> {
        let owner = fs::metadata(self.origin.directory()?).ok()?;
        let own = rustix::process::geteuid();
        if owner.uid() == own.as_raw() {
            return None;
        }
        if !own.is_root() {
            return Some(String::from(
                "--receive-pack=setpriv --ambient-caps=-all git-receive-pack",
            ));
        }
        Some(format!(
            "--receive-pack=env -u GIT_CONFIG_GLOBAL HOME=/ setpriv --reuid={} --regid={} --clear-groups git-receive-pack",
            owner.uid(),
            owner.gid()
        ))
    }
}

/// Why `git push --porcelain` says that a branch was not taken, and whether our own side has said so at once.
fn why_not(output: &str, words: &str) -> Option<(bool, String)> {
    let line = output.lines().find(|line| line.starts_with('!'))?;
    let reason = line.rsplit('\t').next().unwrap_or(line);
    let hooks = words.lines().filter_map(|line| line.strip_prefix("remote: "));
    let hooks: Vec<&str> = hooks.map(str::trim).filter(|line| !line.is_empty()).collect();
    let why = reason
        .split_once('(')
        .map_or(reason, |(_, why)| why.trim_end_matches(')'));
    let said = if why.contains("currently checked out") {
        String::from(CHECKED_OUT)
    } else if hooks.is_empty() {
        why.to_owned()
    } else {
        format!("{why}: {}", said::few(&hooks))
    };
    Some((reason.starts_with("[rejected]"), said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, words: &str, expected: Option<(bool, &str)>) {
        let found = why_not(output, words);
        assert_eq!(
            found.as_ref().map(|(at_once, why)| (*at_once, why.as_str())),
            expected
        );
    }

    #[test]
    fn a_refusal_is_said_in_the_words_of_the_origin() {
        let line = |reason: &str| format!("To host:shop\n!\tabc:refs/heads/x\t{reason}\nDone\n");
        check(&line("[rejected] (stale info)"), "", Some((true, "stale info")));
        check(
            &line("[remote rejected] (failed to update ref)"),
            "",
            Some((false, "failed to update ref")),
        );
        check(
            &line("[remote rejected] (branch is currently checked out)"),
            "remote: error: refusing to update checked out branch: refs/heads/x\nremote: \n",
            Some((false, CHECKED_OUT)),
        );
        check(
            &line("[remote rejected] (pre-receive hook declined)"),
            "remote: GL-HOOK-ERR: no        \nremote: \nremote: ask ann        \nerror: failed to push some refs\n",
            Some((false, "pre-receive hook declined: GL-HOOK-ERR: no; ask ann")),
        );
        check("", "fatal: Could not read from remote repository.", None);
    }
}
