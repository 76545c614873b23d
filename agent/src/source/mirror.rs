//! `repo.git` in our own directory: a bare mirror of the origin, with what Git is told beside it. What is in it can be
//! brought again, so that a damaged one is made anew, beside the old one until it is whole.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use state::durable::{self, FileSystem as _, HostFiles, Owner};
use state::name::Digest;
use tokio::sync::{Mutex, MutexGuard, RwLock};

use super::origin::Origin;
use super::run::{Call, Ended, FETCH, Git, Reads};
use super::{Objects, SourceError, said};

/// What says in the mirror of which origin it is.
const MARK: &str = "steadfast-origin";
/// Branches of ours, where no fetch takes them for what the origin has taken away.
pub(super) const OURS: &str = "refs/steadfast/heads/";
/// So many packs make no call slow.
const PACKS: usize = 20;
const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=20";

/// The mirror of one origin.
#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) git: Git,
    pub(super) origin: Origin,
    /// Held by whoever changes the mirror.
    writing: Mutex<Writing>,
    /// Held by whoever reads it, so that it is not replaced meanwhile.
    pub(super) there: RwLock<()>,
    /// Something in it cannot be read.
    damaged: AtomicBool,
}

/// Who holds it alone changes the mirror.
#[derive(Debug)]
pub(super) struct Writing {
    /// A call may have been ended before its end.
    unclean: bool,
}

impl Mirror {
    pub(super) fn new(git: Git, origin: Origin) -> Self {
        Self {
            git,
            origin,
            writing: Mutex::new(Writing { unclean: true }),
            there: RwLock::new(()),
            damaged: AtomicBool::new(false),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.git.base.join("repo.git")
    }

    /// A call about the mirror alone, that must go well.
    pub(super) async fn ask(&self, call: Call) -> Result<Ended, SourceError> {
        let _there = self.there.read().await;
        let what = call.what();
        if !self.path().is_dir() {
            return Err(self.nothing_yet());
        }
        let ended = self.git.run(call).await?;
        if ended.went_well() {
            return Ok(ended);
        }
        let error = said::own(&self.git, what, &ended);
        if matches!(error, SourceError::Damaged { .. }) {
            self.is_damaged();
        }
        Err(error)
    }

    pub(super) fn is_damaged(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    fn nothing_yet(&self) -> SourceError {
        SourceError::Unreachable {
            origin: self.origin.to_string(),
            said: String::from("nothing was brought from it yet"),
        }
    }

    /// Makes sure that there is a mirror, and that nobody else changes it.
    pub(super) async fn begin(&self) -> Result<MutexGuard<'_, Writing>, SourceError> {
        let mut writing = self.writing.lock().await;
        let (base, repo) = (&self.git.base, self.path());
        durable::private_dir(&HostFiles, base)?;
        let old = base.join("repo.git.old");
        if !repo.exists() && old.exists() {
            fs::rename(&old, &repo).map_err(SourceError::io("rename", &old))?;
        }
        for left in [&old, &base.join("repo.git.new")] {
            remove_tree(left)?;
        }
        if fs::read_to_string(repo.join(MARK)).is_ok_and(|mark| mark == self.mark()) {
            if writing.unclean {
                sweep(&repo)?;
            }
        } else {
            let _alone = self.there.write().await;
            // That of another origin: its names are none of this one.
            if repo.exists() {
                fs::rename(&repo, &old).map_err(SourceError::io("rename", &repo))?;
            }
            let new = self.init(None).await?;
            if old.exists() {
                self.carry_over(&old, &new).await?;
            }
            fs::rename(&new, &repo).map_err(SourceError::io("rename", &new))?;
            HostFiles.sync_dir(base).map_err(SourceError::io("sync", base))?;
            remove_tree(&old)?;
        }
        self.tell().await?;
        writing.unclean = true;
        Ok(writing)
    }

    /// Says that all calls of `begin` have come to an end.
    pub(super) fn end(mut writing: MutexGuard<'_, Writing>) {
        writing.unclean = false;
    }

    /// Brings what the origin has. Where our own objects are damaged, all of it, once.
    pub(super) async fn bring(&self, _: &mut Writing) -> Result<(), SourceError> {
        if self.damaged.load(Ordering::Relaxed) {
            return self.renew(None).await;
        }
        let ended = self.fetch(&self.path()).await?;
        if let Some(format) = other_format(&ended) {
            return self.renew(Some(format)).await;
        }
        match self.judge(&ended) {
            Err(SourceError::Damaged {
                objects: Objects::Mirror(_),
                ..
            }) => self.renew(None).await,
            judged => judged,
        }
    }

    /// Brings one commit that is on no branch and no tag, where the origin gives it away.
    pub(super) async fn bring_commit(&self, id: &str) -> Result<(), SourceError> {
        let call = Call::new("fetch", &self.path())
            .args([
                "--quiet",
                "--no-recurse-submodules",
                "--no-tags",
                "--update-shallow",
                "--",
            ])
            .args([self.origin.address(), id]);
        let ended = self.git.run(call.reads(Reads::Ours)).await?;
        self.judge(&ended)
    }

    fn judge(&self, ended: &Ended) -> Result<(), SourceError> {
        if ended.went_well() {
            return Ok(());
        }
        Err(said::of_origin(&self.git, &self.origin, ended))
    }

    async fn fetch(&self, repo: &Path) -> Result<Ended, SourceError> {
        let shallow = if repo.join("shallow").exists() {
            "--unshallow"
        } else {
            "--update-shallow"
        };
        let call = Call::new("fetch", repo)
            .args([
                "--quiet",
                "--no-recurse-submodules",
                "--no-tags",
                "--prune",
                shallow,
                "--",
            ])
            .args([
                self.origin.address(),
                "+refs/tags/*:refs/tags/*",
                "+refs/heads/*:refs/heads/*",
            ]);
        self.git.run(call.reads(Reads::Ours).within(FETCH)).await
    }

    /// Makes the mirror anew. Until the new one is whole, the old one stays.
    async fn renew(&self, format: Option<&'static str>) -> Result<(), SourceError> {
        let (base, repo, old) = (&self.git.base, self.path(), self.git.base.join("repo.git.old"));
        let mut new = self.init(format).await?;
        let mut ended = self.fetch(&new).await?;
        if let Some(format) = other_format(&ended) {
            new = self.init(Some(format)).await?;
            ended = self.fetch(&new).await?;
        }
        if let Err(error) = self.judge(&ended) {
            remove_tree(&new)?;
            return Err(match error {
                // Nothing of ours was in it.
                SourceError::Damaged { said, .. } => SourceError::Damaged {
                    objects: Objects::Origin(self.origin.to_string()),
                    said,
                },
                error => error,
            });
        }
        self.carry_over(&repo, &new).await?;
        let _alone = self.there.write().await;
        fs::rename(&repo, &old).map_err(SourceError::io("rename", &repo))?;
        fs::rename(&new, &repo).map_err(SourceError::io("rename", &new))?;
        HostFiles.sync_dir(base).map_err(SourceError::io("sync", base))?;
        self.damaged.store(false, Ordering::Relaxed);
        remove_tree(&old)
    }

    /// Branches of ours that were never pushed are nowhere else.
    async fn carry_over(&self, from: &Path, to: &Path) -> Result<(), SourceError> {
        let carry = Call::new("fetch", to)
            .args(["--quiet", "--no-tags", "--"])
            .args([from.as_os_str(), OsStr::new("+refs/steadfast/*:refs/steadfast/*")]);
        let carried = self.git.run(carry).await?;
        if !carried.went_well() {
            let said = said::shown(&carried);
            tracing::warn!(
                "branches of ours in {} cannot be read any more: {said}",
                from.display()
            );
        }
        Ok(())
    }

    /// Puts the packs of many fetches together, after a while. Nothing is thrown away: a checkout may be made again of a
    /// commit that no branch and no tag leads to any more.
    pub(super) async fn roll_up(&self) -> Result<(), SourceError> {
        let packs = fs::read_dir(self.path().join("objects/pack"))
            .into_iter()
            .flatten()
            .flatten();
        if packs
            .filter(|file| file.path().extension() == Some(OsStr::new("pack")))
            .count()
            <= PACKS
        {
            return Ok(());
        }
        let writing = self.begin().await?;
        let call = Call::new("repack", &self.path()).args(["-d", "-q", "--geometric=2"]);
        let ended = self.git.run(call.within(FETCH)).await?;
        if !ended.went_well() {
            tracing::warn!(
                "{} could not be put in order: {}",
                self.path().display(),
                said::shown(&ended)
            );
        }
        Self::end(writing);
        Ok(())
    }

    /// An empty mirror, under another name.
    async fn init(&self, format: Option<&str>) -> Result<PathBuf, SourceError> {
        let new = self.git.base.join("repo.git.new");
        remove_tree(&new)?;
        let format = format.map(|format| format!("--object-format={format}"));
        let call = Call::outside("init")
            .args(["--bare", "--quiet", "--template="])
            .args(format)
            .args([&new]);
        let ended = self.git.run(call).await?;
        if !ended.went_well() {
            return Err(said::own(&self.git, "init", &ended));
        }
        durable::replace(
            &HostFiles,
            &new.join(MARK),
            self.mark().as_bytes(),
            Owner::Private,
        )?;
        Ok(new)
    }

    /// Of which origin it is: its address may hold a secret, and is not written down.
    fn mark(&self) -> String {
        Digest::of(self.origin.address().as_bytes()).to_string()
    }

    /// Writes down what calls to the origin are told. A fetch from a directory runs a second command there, which no
    /// argument of the first one reaches, but this does.
    async fn tell(&self) -> Result<(), SourceError> {
        let mut text = Vec::from(&b"# Written by Steadfast, again and again.\n"[..]);
        let ssh = ["GIT_SSH_COMMAND", "GIT_SSH"];
        if !ssh.iter().any(|key| std::env::var_os(key).is_some()) {
            let asked = Call::outside("config").args(["--get", "core.sshCommand"]);
            if self.git.run(asked.reads(Reads::Hosts)).await?.stdout.is_empty() {
                text.extend_from_slice(format!("[core]\n\tsshCommand = {SSH}\n").as_bytes());
            }
        }
        for path in of_the_host() {
            text.extend_from_slice(b"[include]\n\tpath = ");
            quote(path.as_os_str(), &mut text);
        }
        // Whoever names a repository in our settings trusts it, whosever it is.
        for path in self.origin.directories() {
            text.extend_from_slice(b"[safe]\n\tdirectory = ");
            quote(path.as_os_str(), &mut text);
        }
        let path = self.git.settings();
        if fs::read(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        Ok(durable::replace(&HostFiles, &path, &text, Owner::Private)?)
    }
}

/// The format of the origin's objects, where a fetch failed because ours is another.
fn other_format(ended: &Ended) -> Option<&'static str> {
    let is = |format: &str| ended.words.contains(&format!("server {format}"));
    if !ended.words.contains("mismatched algorithms") {
        return None;
    }
    ["sha256", "sha1"].into_iter().find(|format| is(format))
}

/// The settings of this process's user, as Git would find them. What cannot be read is not there: an included file
/// that is unreadable is fatal to Git, where its own is not.
fn of_the_host() -> Vec<PathBuf> {
    let var = |key| std::env::var_os(key).map(PathBuf::from);
    let all = if let Some(named) = var("GIT_CONFIG_GLOBAL") {
        vec![named]
    } else {
        let home = var("HOME");
        let xdg = var("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
        let xdg = xdg.map(|xdg| xdg.join("git/config"));
        xdg.into_iter()
            .chain(home.map(|home| home.join(".gitconfig")))
            .collect()
    };
    all.into_iter()
        .filter(|path| path.is_absolute() && path.is_file() && fs::File::open(path).is_ok())
        .collect()
}

/// A value as Git's settings hold it.
fn quote(value: &OsStr, text: &mut Vec<u8>) {
    text.push(b'"');
    for byte in value.as_bytes() {
        match byte {
            b'\n' => text.extend_from_slice(b"\\n"),
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', *byte]),
            byte => text.push(*byte),
        }
    }
    text.extend_from_slice(b"\"\n");
}

/// Removes what calls left that were ended before their end: a lock of theirs holds up every later one.
fn sweep(repo: &Path) -> Result<(), SourceError> {
    let mut dirs = vec![(repo.to_owned(), false)];
    while let Some((dir, of_objects)) = dirs.pop() {
        for entry in fs::read_dir(&dir).map_err(SourceError::io("list", &dir))? {
            let entry = entry.map_err(SourceError::io("list", &dir))?;
            let (path, name) = (entry.path(), entry.file_name());
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // A tag may be called so too.
            let half = of_objects && name.as_bytes().starts_with(b"tmp_");
            if half && is_dir {
                remove_tree(&path)?;
            } else if is_dir {
                dirs.push((path, of_objects || name == "objects"));
            } else if half || name.as_bytes().ends_with(b".lock") {
                durable::remove(&HostFiles, &path).map_err(SourceError::io("remove", &path))?;
            }
        }
    }
    Ok(())
}

/// Removes a directory and what is in it, if there is one.
pub(super) fn remove_tree(path: &Path) -> Result<(), SourceError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SourceError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
