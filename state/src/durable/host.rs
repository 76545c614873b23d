//! The host's own file system.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{FallocateFlags, Gid, OFlags, Uid};

use super::{FileSystem, NewFile};
use crate::files::FileOwner;

/// The files of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostFiles;

impl FileSystem for HostFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(nofollow)
            .open(path)?;
        Ok(Box::new(file))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn keep_private(&self, dir: &Path) -> io::Result<()> {
        if fs::metadata(dir)?.mode() & 0o777 == 0o700 {
            return Ok(());
        }
        fs::set_permissions(dir, Permissions::from_mode(0o700))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn allocated(&self, path: &Path) -> io::Result<u64> {
        let known = fs::symlink_metadata(path)?;
        Ok(known.len().min(known.blocks() * 512))
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        let known = rustix::fs::statvfs(dir)?;
        Ok(known.f_bavail.saturating_mul(known.f_frsize))
    }
}

impl NewFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&*self, FallocateFlags::empty(), 0, bytes) {
            Err(rustix::io::Errno::NOTSUP) => {
                let zeros = [0; 8 << 10];
                for _ in 0..bytes / zeros.len() as u64 {
                    self.write_all(&zeros)?;
                }
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn take_after(&mut self, other: &Path) -> io::Result<()> {
        let old = fs::metadata(other)?;
        self.give_to(&FileOwner {
            uid: old.uid(),
            gid: old.gid(),
            mode: old.mode() & 0o7777,
        })
    }

    fn give_to(&mut self, owner: &FileOwner) -> io::Result<()> {
        // Not permitted to others than root; the file then belongs to who wrote it.
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        let _ = rustix::fs::fchown(&*self, Some(uid), Some(gid));
        self.set_permissions(Permissions::from_mode(owner.mode & 0o7777))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
