//! `trees/<commit>` in our own directory: a checkout of one commit each, with nothing of Git in it. It is made under
//! another name and renamed when it is whole and durable: what has a commit's name is that commit.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use state::durable::{self, FileSystem as _, HostFiles};
use state::name::Commit;
use tokio::sync::Mutex;

use super::mirror::{Mirror, remove_tree};
use super::run::{Call, Ended, FETCH, parts, path};
use super::{Objects, SourceError};

/// So many paths are named.
const NAMED: usize = 3;
/// What a file begins with that stands for one in Git LFS, and how long it is at most (its specification).
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
const POINTER_BYTES: u64 = 1024;
/// What a file begins with that git-crypt has encrypted.
const ENCRYPTED: &[u8] = b"\0GITCRYPT\0";

/// The checkouts.
#[derive(Debug)]
pub(super) struct Trees {
    root: PathBuf,
    /// Held by whoever makes or removes one.
    changing: Mutex<()>,
}

/// A checkout in the making.
struct Half<'a> {
    mirror: &'a Mirror,
    commit: &'a Commit,
    tree: PathBuf,
    index: PathBuf,
}

/// What is in a checkout that is no content.
#[derive(Debug, Default)]
struct Strange {
    pointers: Vec<PathBuf>,
    encrypted: Vec<PathBuf>,
}

impl Trees {
    pub(super) fn new(base: &Path) -> Self {
        Self {
            root: base.join("trees"),
            changing: Mutex::new(()),
        }
    }

    pub(super) fn path(&self, commit: &Commit) -> PathBuf {
        self.root.join(commit.as_str())
    }

    pub(super) fn find(&self, commit: &Commit) -> Option<PathBuf> {
        Some(self.path(commit)).filter(|path| path.is_dir())
    }

    /// Makes the checkout of a commit, unless there is one.
    pub(super) async fn make(&self, mirror: &Mirror, commit: &Commit) -> Result<PathBuf, SourceError> {
        let _changing = self.changing.lock().await;
        if let Some(path) = self.find(commit) {
            return Ok(path);
        }
        durable::private_dir(&HostFiles, &mirror.git.base)?;
        durable::private_dir(&HostFiles, &self.root)?;
        match self.make_once(mirror, commit).await {
            Err(SourceError::Damaged {
                objects: Objects::Mirror(_),
                ..
            }) => {
                mirror.is_damaged();
                let mut writing = mirror.begin().await?;
                mirror.bring(&mut writing).await?;
                Mirror::end(writing);
                self.make_once(mirror, commit).await
            }
            made => made,
        }
    }

    async fn make_once(&self, mirror: &Mirror, commit: &Commit) -> Result<PathBuf, SourceError> {
        mirror.need(commit).await?;
        let submodules = mirror.submodules(commit).await?;
        if !submodules.is_empty() {
            let (paths, more) = few(submodules.iter().map(|bytes| path(bytes)).collect());
            let commit = commit.clone();
            return Err(SourceError::Submodules { commit, paths, more });
        }
        let half = Half {
            mirror,
            commit,
            tree: self.root.join(format!("{commit}.new")),
            index: self.root.join(format!("{commit}.index")),
        };
        half.remove()?;
        let filled = half.fill().await;
        if let Err(error) = filled {
            // The first error is the one that counts; what is left is known as half of one.
            let _ = half.remove();
            return Err(error);
        }
        let whole = self.path(commit);
        fs::rename(&half.tree, &whole).map_err(SourceError::io("rename", &half.tree))?;
        HostFiles
            .sync_dir(&self.root)
            .map_err(SourceError::io("sync", &self.root))?;
        half.remove()?;
        Ok(whole)
    }

    /// Removes all but these, and what is half-made.
    pub(super) async fn keep(&self, keep: &BTreeSet<Commit>) -> Result<(), SourceError> {
        let _changing = self.changing.lock().await;
        if !self.root.is_dir() {
            return Ok(());
        }
        let list = SourceError::io("list", &self.root);
        let names: Vec<String> = HostFiles.names(&self.root).map_err(list)?;
        for name in names {
            let (commit, half) = match name.split_once('.') {
                Some((commit, "new" | "old" | "index" | "index.lock")) => (commit, true),
                _ => (name.as_str(), false),
            };
            // What is called otherwise is not ours.
            let Ok(commit) = commit.parse::<Commit>() else {
                continue;
            };
            if half {
                remove_any(&self.root.join(&name))?;
            } else if !keep.contains(&commit) {
                self.remove(&commit).await?;
            }
        }
        Ok(())
    }

    async fn remove(&self, commit: &Commit) -> Result<(), SourceError> {
        let (whole, old) = (self.path(commit), self.root.join(format!("{commit}.old")));
        remove_any(&old)?;
        // Half of it is not to be taken for the whole.
        fs::rename(&whole, &old).map_err(SourceError::io("rename", &whole))?;
        HostFiles
            .sync_dir(&self.root)
            .map_err(SourceError::io("sync", &self.root))?;
        apart(move || remove_tree(&old)).await
    }
}

impl Half<'_> {
    fn remove(&self) -> Result<(), SourceError> {
        remove_tree(&self.tree)?;
        let lock = self.index.with_extension("index.lock");
        for path in [&self.index, &lock] {
            durable::remove(&HostFiles, path).map_err(SourceError::io("remove", path))?;
        }
        Ok(())
    }

    /// Fills it, and makes it durable.
    async fn fill(&self) -> Result<(), SourceError> {
        fs::create_dir(&self.tree).map_err(SourceError::io("create", &self.tree))?;
        self.git("read-tree", |call| call.args([self.commit.as_str()]))
            .await?;
        let all = |call: Call| call.args(["--all", "--force", "--quiet"]).within(FETCH);
        self.git("checkout-index", all).await?;
        let tree = self.tree.clone();
        let strange = apart(move || settle(&tree).map_err(SourceError::io("look through", &tree))).await?;
        self.refuse(strange).await?;
        let tree = self.tree.clone();
        let sync = move || rustix::fs::syncfs(File::open(&tree)?).map_err(io::Error::from);
        let failed = SourceError::io("sync", &self.tree);
        apart(move || sync().map_err(failed)).await
    }

    async fn git(&self, what: &'static str, with: impl FnOnce(Call) -> Call) -> Result<Ended, SourceError> {
        let call = Call::new(what, &self.mirror.path())
            .env("GIT_INDEX_FILE", &self.index)
            .env("GIT_WORK_TREE", &self.tree);
        self.mirror.ask(with(call)).await
    }

    /// A commit is refused of which a part would not be what those who wrote it see.
    async fn refuse(&self, strange: Strange) -> Result<(), SourceError> {
        let commit = self.commit.clone();
        if !strange.encrypted.is_empty() {
            let (paths, more) = few(strange.encrypted);
            return Err(SourceError::Encrypted { commit, paths, more });
        }
        if strange.pointers.is_empty() {
            return Ok(());
        }
        let mut input = Vec::new();
        for pointer in &strange.pointers {
            input.extend_from_slice(pointer.as_os_str().as_bytes());
            input.push(0);
        }
        let ask = |call: Call| call.args(["--cached", "-z", "--stdin", "filter"]).input(input);
        let asked = self.git("check-attr", ask).await?;
        // Of each path: itself, the attribute, its value. One that only looks so is the content itself.
        let parts: Vec<&[u8]> = parts(&asked.stdout).collect();
        let of_lfs = parts.chunks_exact(3).filter(|of| of[2] == b"lfs");
        let paths: Vec<PathBuf> = of_lfs.map(|of| path(of[0])).collect();
        if paths.is_empty() {
            return Ok(());
        }
        let (paths, more) = few(paths);
        Err(SourceError::Lfs { commit, paths, more })
    }
}

impl Mirror {
    /// Sees to it that a commit is in the mirror.
    pub(super) async fn need(&self, commit: &Commit) -> Result<(), SourceError> {
        if self.path().is_dir() && self.has(commit).await? {
            return Ok(());
        }
        let mut writing = self.begin().await?;
        // By itself it comes also where nothing leads to it any more, if the origin gives it away.
        let mut brought = self.bring_commit(commit.as_str()).await;
        if !self.has(commit).await? {
            brought = self.bring(&mut writing).await;
        }
        Self::end(writing);
        if self.has(commit).await? {
            return Ok(());
        }
        brought?;
        let (origin, name) = (self.origin.to_string(), format!("commit {commit}"));
        Err(if self.path().join("shallow").exists() {
            SourceError::Shallow { origin, name }
        } else {
            let near = Vec::new();
            SourceError::NoSuchName { origin, name, near }
        })
    }
}

/// Gives every file the mode that the commit says, whatever mask this process has: what goes into an image, or is
/// mounted, is read by others. Links are left alone.
fn settle(root: &Path) -> io::Result<Strange> {
    let mut strange = Strange::default();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                dirs.push(path);
            } else if kind.is_file() {
                let known = entry.metadata()?;
                let runs = known.permissions().mode() & 0o100 != 0;
                fs::set_permissions(&path, Permissions::from_mode(if runs { 0o755 } else { 0o644 }))?;
                strange.look(root, &path, known.len())?;
            }
        }
    }
    strange.pointers.sort();
    strange.encrypted.sort();
    Ok(strange)
}

impl Strange {
    fn look(&mut self, root: &Path, path: &Path, length: u64) -> io::Result<()> {
        let mut begin = Vec::with_capacity(POINTER.len());
        let most = POINTER.len().max(ENCRYPTED.len()) as u64;
        File::open(path)?.take(most).read_to_end(&mut begin)?;
        let list = if begin.starts_with(ENCRYPTED) {
            &mut self.encrypted
        } else if begin.starts_with(POINTER) && length <= POINTER_BYTES {
            &mut self.pointers
        } else {
            return Ok(());
        };
        list.push(path.strip_prefix(root).unwrap_or(path).to_owned());
        Ok(())
    }
}

/// The first few, and how many more there are.
fn few(mut paths: Vec<PathBuf>) -> (Vec<PathBuf>, usize) {
    let more = paths.len().saturating_sub(NAMED);
    paths.truncate(NAMED);
    (paths, more)
}

fn remove_any(path: &Path) -> Result<(), SourceError> {
    if path.is_dir() {
        return remove_tree(path);
    }
    durable::remove(&HostFiles, path).map_err(SourceError::io("remove", path))
}

/// Does what may take the disk long on a thread of its own.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(SourceError::io("look through", Path::new("trees"))(
            io::Error::other(error),
        )),
    }
}
