//! A real `git`, in directories of its own: an operator's checkout as the origin, and a mirror of it.

#![allow(clippy::unwrap_used)]

mod calls;
mod changes;
mod damage;
mod names;
mod trees;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use state::name::Digest;

use super::*;

/// `work` is an operator's checkout and the origin, `state` is ours.
struct Bench {
    root: tempfile::TempDir,
    source: GitRepository,
}

impl Bench {
    /// With a file `a` in a first commit on `main`.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let source = Self::source_of(&root.path().join("state"), &root.path().join("work"));
        let bench = Self { root, source };
        fs::create_dir(bench.work()).unwrap();
        bench.git(["init", "-q", "-b", "main"]);
        bench.commit("a", "first\n", "First");
        bench
    }

    fn source_of(base: &Path, origin: &Path) -> GitRepository {
        let origin = origin.to_str().unwrap().to_owned();
        GitRepository::new(base.to_owned(), origin, String::from("*"))
    }

    fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    fn base(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn repo(&self) -> PathBuf {
        self.base().join("repo.git")
    }

    /// `git` in the operator's checkout, which goes well.
    #[track_caller]
    fn git<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        git(&self.work(), arguments)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits all there is, with one file written.
    #[track_caller]
    fn commit(&self, name: &str, text: &str, message: &str) -> Commit {
        self.write(name, text);
        self.git(["add", "-A"]);
        self.git(["commit", "-q", "-m", message]);
        self.head("HEAD")
    }

    #[track_caller]
    fn head(&self, name: &str) -> Commit {
        let name = format!("{name}^{{commit}}");
        self.git(["rev-parse", "--verify", &name]).parse().unwrap()
    }

    async fn resolve(&self, name: &str) -> Result<Commit, SourceError> {
        let resolved = self.source.resolve(&names(&[name])).await?;
        assert_eq!(resolved.stale, None);
        Ok(resolved.commits[&tag(name)].clone())
    }

    async fn checkout(&self, name: &str) -> Result<PathBuf, SourceError> {
        let commit = self.resolve(name).await?;
        self.source.checkout(&commit).await
    }

    /// What an operator would see changed: files, index, HEAD and references.
    fn seen(&self) -> BTreeMap<&'static str, String> {
        let git = self.work().join(".git");
        let index = fs::read(git.join("index")).unwrap_or_default();
        let status = self.git(["--no-optional-locks", "status", "--porcelain"]);
        BTreeMap::from([
            ("index", Digest::of(&index).to_string()),
            ("status", status),
            ("HEAD", fs::read_to_string(git.join("HEAD")).unwrap()),
            ("refs", self.git(["for-each-ref"])),
            ("worktrees", self.git(["worktree", "list"])),
            ("config", fs::read_to_string(git.join("config")).unwrap()),
            ("objects", self.git(["count-objects", "-v"])),
        ])
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .args(["-c", "safe.directory=*", "-c", "protocol.file.allow=always"])
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C");
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "Ann")
            .env(format!("GIT_{who}_EMAIL"), "ann@example.invalid")
            .env(format!("GIT_{who}_DATE"), "@1700000000 +0000");
    }
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn git<S: AsRef<OsStr>>(directory: &Path, arguments: impl IntoIterator<Item = S>) -> String {
    let ran = command(directory).args(arguments).output().unwrap();
    let words = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{words}");
    String::from_utf8_lossy(&ran.stdout).trim_end().to_owned()
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

fn names(all: &[&str]) -> BTreeSet<Tag> {
    all.iter().map(|name| tag(name)).collect()
}

/// An error as a person reads it.
fn said(error: &SourceError, bench: &Bench) -> String {
    let root = bench.root.path().to_str().unwrap();
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{error}{hint}").replace(root, "")
}

/// All names below a directory, with what each is.
fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut listing = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            let what = if kind.is_dir() {
                dirs.push(path);
                format!("{mode:o} directory")
            } else if kind.is_symlink() {
                format!("-> {}", fs::read_link(path).unwrap().display())
            } else {
                format!(
                    "{mode:o} {}",
                    String::from_utf8_lossy(&fs::read(path).unwrap()).escape_debug()
                )
            };
            listing.insert(name, what);
        }
    }
    listing
}

/// The same, of what may be large.
fn digests(root: &Path) -> BTreeMap<String, String> {
    let digest = |what: String| Digest::of(what.as_bytes()).short().to_owned();
    let listing = listing(root).into_iter();
    listing.map(|(name, what)| (name, digest(what))).collect()
}
