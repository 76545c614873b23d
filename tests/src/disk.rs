//! A disk in memory that forgets in a power cut whatever was not made durable, and fails where it is told to. What
//! is durable follows POSIX at its narrowest: the content of a file by its own fsync, a name by the fsync of its
//! directory, and nothing else by anything.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use state::durable::{FileSystem, HostFiles, NewFile};
use state::files::FileOwner;

/// What is asked of a disk, for whoever counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Primitive {
    /// A new file.
    Create,
    /// Bytes into it.
    Write,
    /// Room for it.
    Allocate,
    /// Mode and owner of another one.
    TakeAfter,
    /// fsync of a file.
    Sync,
    /// A new name.
    Rename,
    /// A name less.
    Remove,
    /// fsync of a directory.
    SyncDir,
    /// A new directory.
    MakeDir,
}

/// How one primitive goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No room: nothing is done.
    Full,
    /// The device fails: nothing is done, and what an fsync was to make durable may be lost.
    Io,
    /// No room in the middle: half of a write is done.
    Short,
    /// The process is killed before it: it and all that follows is not done.
    Killed,
    /// The process is killed after it.
    KilledAfter,
}

impl Fault {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Full, Self::Io, Self::Short, Self::Killed, Self::KilledAfter];

    /// Whether the process lives on.
    pub const fn is_survived(self) -> bool {
        matches!(self, Self::Full | Self::Io | Self::Short)
    }
}

type Inode = usize;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    File(Inode),
    Dir,
}

/// The content of a file: as it is seen, and as it was when it was last synced.
#[derive(Debug, Clone, Default)]
struct File {
    seen: Bytes,
    durable: Option<Bytes>,
}

/// Shared between the states that a disk may be in.
type Bytes = Arc<Vec<u8>>;

/// What became of names at once: a rename takes one away and gives another.
type Change = Vec<(PathBuf, Option<Node>)>;

#[derive(Debug, Clone, Default)]
struct State {
    files: Vec<File>,
    names: BTreeMap<PathBuf, Node>,
    /// The names as they are after a cut at least; changes of a directory that was not synced since.
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<(PathBuf, Change)>,
}

/// When and how to fail.
#[derive(Debug, Default)]
struct Told {
    /// How many primitives were asked.
    asked: usize,
    log: Vec<Primitive>,
    fault: Option<(usize, Fault)>,
    /// Killed: nothing is done any more.
    dead: bool,
}

/// The disk. A clone is the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    told: Arc<Mutex<Told>>,
}

impl Disk {
    /// An empty one, with the directories above and at `root` durable.
    pub fn new(root: &Path) -> Self {
        let disk = Self::default();
        for dir in root.ancestors() {
            let mut state = disk.state();
            state.names.insert(dir.to_path_buf(), Node::Dir);
            state.durable.insert(dir.to_path_buf(), Node::Dir);
        }
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The primitive after so many more goes wrong.
    pub fn fail_at(&self, index: usize, fault: Fault) {
        let mut told = self.told();
        let at = told.asked + index;
        told.fault = Some((at, fault));
    }

    /// The process is another one: what failed or was killed is over.
    pub fn revive(&self) {
        *self.told() = Told::default();
    }

    /// The primitives since it was made or revived.
    pub fn log(&self) -> Vec<Primitive> {
        self.told().log.clone()
    }

    /// Whether the process was killed.
    pub fn is_dead(&self) -> bool {
        self.told().dead
    }

    /// What becomes of the next primitive: done, done and then killed, or not done.
    fn next(&self, primitive: Primitive) -> io::Result<Doing> {
        let mut told = self.told();
        if told.dead {
            return Err(killed());
        }
        let fault = told
            .fault
            .filter(|(at, _)| *at == told.asked)
            .map(|(_, fault)| fault);
        told.asked += 1;
        told.log.push(primitive);
        match fault {
            None => Ok(Doing::Whole),
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Io) => Err(io::Error::from_raw_os_error(5)),
            Some(Fault::Short) if primitive == Primitive::Write => Ok(Doing::Half),
            Some(Fault::Short) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Killed) => {
                told.dead = true;
                Err(killed())
            }
            Some(Fault::KilledAfter) => {
                told.dead = true;
                Ok(Doing::Last)
            }
        }
    }

    fn change(&self, primitive: Primitive, dir: &Path, change: Change) -> io::Result<()> {
        let doing = self.next(primitive)?;
        let mut state = self.state();
        for (path, node) in &change {
            put(&mut state.names, path, node.as_ref());
        }
        state.pending.push((dir.to_path_buf(), change));
        doing.outcome()
    }

    /// Every state in which a power cut now may leave the disk, at most so many.
    pub fn after_cut(&self, most: usize) -> Vec<Self> {
        let state = self.state();
        let mut all = Vec::new();
        let names = 1_usize << state.pending.len().min(12);
        for kept in 0..names {
            let bases = state.contents();
            for contents in bases {
                all.push(state.cut(kept, &contents));
                if all.len() == most {
                    return all.into_iter().map(Self::of).collect();
                }
            }
        }
        all.into_iter().map(Self::of).collect()
    }

    /// A power cut: of what may be left, what `choose` says; it is given how many there are to choose from.
    pub fn cut(&self, mut choose: impl FnMut(usize) -> usize) {
        let mut state = self.state();
        let mut kept = 0;
        for bit in 0..state.pending.len().min(usize::BITS as usize - 1) {
            kept |= choose(2) << bit;
        }
        let contents: Vec<Bytes> = state
            .files
            .iter()
            .map(|file| {
                let may = file.after_cut();
                may[choose(may.len()).min(may.len() - 1)].clone()
            })
            .collect();
        *state = state.cut(kept, &contents);
    }

    /// How many names and contents a power cut may take now.
    pub fn unsynced(&self) -> usize {
        let state = self.state();
        state.pending.len()
            + state
                .files
                .iter()
                .filter(|file| file.after_cut().len() > 1)
                .count()
    }

    /// Another disk in the same state.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::of(self.state().clone())
    }

    fn of(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
            told: Arc::default(),
        }
    }

    /// Every file, with its content.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let mut files = BTreeMap::new();
        for (path, node) in &state.names {
            if let Node::File(inode) = node {
                files.insert(path.clone(), state.files[*inode].seen.to_vec());
            }
        }
        files
    }

    /// Every directory.
    pub fn dirs(&self) -> Vec<PathBuf> {
        let state = self.state();
        let dirs = state.names.iter().filter(|(_, node)| **node == Node::Dir);
        dirs.map(|(path, _)| path.clone()).collect()
    }

    /// A file that is there and durable.
    pub fn place(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.files.len();
        state.files.push(File {
            seen: Arc::new(bytes.to_vec()),
            durable: Some(Arc::new(bytes.to_vec())),
        });
        state.names.insert(path.to_path_buf(), Node::File(inode));
        state.durable.insert(path.to_path_buf(), Node::File(inode));
    }

    fn inode(&self, path: &Path) -> io::Result<Inode> {
        match self.state().names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn killed() -> io::Error {
    io::Error::other("killed")
}

/// How a primitive that is done comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Whole,
    Half,
    /// Done, and the last one.
    Last,
}

impl Doing {
    fn outcome(self) -> io::Result<()> {
        match self {
            Self::Whole => Ok(()),
            Self::Half => Err(io::ErrorKind::StorageFull.into()),
            Self::Last => Err(killed()),
        }
    }
}

fn put(names: &mut BTreeMap<PathBuf, Node>, path: &Path, node: Option<&Node>) {
    match node {
        Some(node) => names.insert(path.to_path_buf(), node.clone()),
        None => names.remove(path),
    };
}

impl File {
    /// What a power cut may leave of it: what was synced, what is seen, nothing, the first half, or its length in
    /// zeros.
    fn after_cut(&self) -> Vec<Bytes> {
        if self.durable.as_ref() == Some(&self.seen) {
            return vec![self.seen.clone()];
        }
        let half = self.seen.len() / 2;
        let mut torn = self.seen[..half].to_vec();
        torn.resize(self.seen.len(), 0);
        let mut all = vec![
            self.durable.clone().unwrap_or_default(),
            self.seen.clone(),
            Bytes::default(),
            Arc::new(self.seen[..half].to_vec()),
            Arc::new(torn),
        ];
        all.sort();
        all.dedup();
        all
    }
}

impl State {
    /// Every combination of what is left in the files that were not synced.
    fn contents(&self) -> Vec<Vec<Bytes>> {
        let mut all: Vec<Vec<Bytes>> = vec![Vec::new()];
        for file in &self.files {
            let may = file.after_cut();
            all = all
                .into_iter()
                .flat_map(|before| {
                    may.iter().map(move |content| {
                        let mut whole = before.clone();
                        whole.push(content.clone());
                        whole
                    })
                })
                .collect();
        }
        all
    }

    /// The disk after a cut: of the changes that were not synced those are kept whose bit is set in `kept`.
    fn cut(&self, kept: usize, contents: &[Bytes]) -> Self {
        let mut names = self.durable.clone();
        for (bit, (_, change)) in self.pending.iter().enumerate() {
            if kept & (1 << bit) != 0 {
                for (path, node) in change {
                    put(&mut names, path, node.as_ref());
                }
            }
        }
        // What is below a directory that is gone is gone.
        let all = names.clone();
        names.retain(|path, _| path.ancestors().all(|above| all.contains_key(above)));
        let files = contents
            .iter()
            .map(|content| File {
                seen: content.clone(),
                durable: Some(content.clone()),
            })
            .collect();
        Self {
            files,
            durable: names.clone(),
            names,
            pending: Vec::new(),
        }
    }

    fn sync_dir(&mut self, dir: &Path) {
        let (done, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition::<Vec<_>, _>(|(of, _)| of == dir);
        self.pending = pending;
        for (path, node) in done.into_iter().flat_map(|(_, change)| change) {
            put(&mut self.durable, &path, node.as_ref());
        }
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_path_buf()
}

impl FileSystem for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        if self.state().names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !self.is_dir(&parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inode = {
            let mut state = self.state();
            state.files.push(File::default());
            state.files.len() - 1
        };
        let change = vec![(path.to_path_buf(), Some(Node::File(inode)))];
        self.change(Primitive::Create, &parent(path), change)?;
        Ok(Box::new(Open { disk: self, inode }))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let inode = self.inode(path)?;
        Open { disk: self, inode }.sync()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let doing = self.next(Primitive::SyncDir)?;
        if !self.is_dir(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.state().sync_dir(dir);
        doing.outcome()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.inode(from)?;
        let change = vec![
            (from.to_path_buf(), None),
            (to.to_path_buf(), Some(Node::File(inode))),
        ];
        self.change(Primitive::Rename, &parent(to), change)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inode(path)?;
        self.change(Primitive::Remove, &parent(path), vec![(path.to_path_buf(), None)])
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        if self.state().names.contains_key(dir) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let change = vec![(dir.to_path_buf(), Some(Node::Dir))];
        self.change(Primitive::MakeDir, &parent(dir), change)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.state().names.get(path) == Some(&Node::Dir)
    }

    fn keep_private(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inode = self.inode(path)?;
        Ok(self.state().files[inode].seen.to_vec())
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        if !self.is_dir(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let state = self.state();
        let below = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(below
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn allocated(&self, path: &Path) -> io::Result<u64> {
        let inode = self.inode(path)?;
        Ok(self.state().files[inode].seen.len() as u64)
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// A file that is being written.
struct Open<'a> {
    disk: &'a Disk,
    inode: Inode,
}

impl NewFile for Open<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let doing = self.disk.next(Primitive::Write)?;
        let whole = if doing == Doing::Half {
            bytes.len() / 2
        } else {
            bytes.len()
        };
        let mut state = self.disk.state();
        Arc::make_mut(&mut state.files[self.inode].seen).extend(&bytes[..whole]);
        drop(state);
        doing.outcome()
    }

    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        let doing = self.disk.next(Primitive::Allocate)?;
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut state = self.disk.state();
        Arc::make_mut(&mut state.files[self.inode].seen).resize(length, 0);
        drop(state);
        doing.outcome()
    }

    fn take_after(&mut self, _: &Path) -> io::Result<()> {
        self.disk.next(Primitive::TakeAfter)?.outcome()
    }

    fn give_to(&mut self, _: &FileOwner) -> io::Result<()> {
        self.disk.next(Primitive::TakeAfter)?.outcome()
    }

    fn sync(&mut self) -> io::Result<()> {
        let doing = self.disk.next(Primitive::Sync)?;
        let mut state = self.disk.state();
        let file = &mut state.files[self.inode];
        file.durable = Some(file.seen.clone());
        doing.outcome()
    }
}

/// A disk and a real directory that see the same: what was written can be read by what knows real files alone.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// Where it fails, and what a cut leaves.
    pub disk: Disk,
}

impl FileSystem for Mirror {
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        let model = self.disk.create(path)?;
        let real = HostFiles.create(path)?;
        Ok(Box::new(Both { model, real }))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.disk.sync(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)?;
        HostFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)?;
        HostFiles.remove(path)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.make_dir(dir)?;
        HostFiles.make_dir(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        HostFiles.is_dir(path)
    }

    fn keep_private(&self, dir: &Path) -> io::Result<()> {
        HostFiles.keep_private(dir)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        HostFiles.read(path)
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        HostFiles.names(dir)
    }

    fn allocated(&self, path: &Path) -> io::Result<u64> {
        HostFiles.allocated(path)
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        HostFiles.free(dir)
    }
}

/// A file of a [`Mirror`].
struct Both<'a> {
    model: Box<dyn NewFile + 'a>,
    real: Box<dyn NewFile + 'a>,
}

impl NewFile for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.model.write(bytes)?;
        self.real.write(bytes)
    }

    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        self.model.allocate(bytes)?;
        self.real.allocate(bytes)
    }

    fn take_after(&mut self, other: &Path) -> io::Result<()> {
        self.model.take_after(other)?;
        self.real.take_after(other)
    }

    fn give_to(&mut self, owner: &FileOwner) -> io::Result<()> {
        self.model.give_to(owner)?;
        self.real.give_to(owner)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.model.sync()
    }
}

/// Writes what is on a disk below `root` to a real directory.
pub fn copy_out(disk: &Disk, root: &Path, to: &Path) -> io::Result<()> {
    let place = |path: &Path| path.strip_prefix(root).ok().map(|below| to.join(below));
    for dir in disk.dirs().iter().filter_map(|dir| place(dir)) {
        std::fs::create_dir_all(dir)?;
    }
    for (path, bytes) in disk.files() {
        if let Some(path) = place(&path) {
            std::fs::write(path, bytes)?;
        }
    }
    Ok(())
}
