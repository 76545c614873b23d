//! Where the files go, and writing them: whole, durable, readable for the daemon, and never over somebody's own.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use state::durable::{FileSystem as _, HostFiles};
use state::files::FileOwner;

use super::super::args::Common;
use super::super::failure::{Failure, chain, is_denied};

/// The settings that the unit reads.
const SETTINGS: &str = "/etc/steadfast/steadfast.toml";
/// Where an administrator's units are.
const UNITS: &str = "/etc/systemd/system";
/// The drop-in, below it.
const DROP_IN: &str = "steadfast.service.d/stacks.conf";

/// The files.
pub(super) struct Targets {
    pub(super) settings: PathBuf,
    pub(super) desired: PathBuf,
    pub(super) drop_in: PathBuf,
    /// Whether the unit finds both.
    in_place: bool,
}

impl Targets {
    /// In `output`, else beside the settings that are meant.
    pub(super) fn of(common: &Common, output: Option<&Path>) -> Result<Self, Failure> {
        let meant = match output {
            Some(directory) => directory.join("steadfast.toml"),
            None => common.config.clone(),
        };
        let settings = std::path::absolute(&meant)
            .map_err(|error| Failure::new(2, format!("{}: {error}", meant.display())))?;
        let directory = settings.parent().unwrap_or(Path::new("/")).to_owned();
        let units = Path::new(UNITS);
        // Beside them there may be others, for a try: the unit's own drop-in is not theirs.
        let in_place = settings == Path::new(SETTINGS) && units.is_dir();
        Ok(Self {
            desired: directory.join("desired.toml"),
            drop_in: if in_place {
                units.join(DROP_IN)
            } else {
                directory.join(DROP_IN)
            },
            settings,
            in_place,
        })
    }

    /// Whether the unit finds the settings, and its drop-in.
    pub(super) fn in_place(&self) -> bool {
        self.in_place
    }

    fn all(&self) -> [&Path; 3] {
        [&self.settings, &self.desired, &self.drop_in]
    }

    /// An error that names what is there already.
    pub(super) fn must_be_free(&self) -> Result<(), Failure> {
        let there: Vec<&Path> = self.all().into_iter().filter(|path| is_there(path)).collect();
        if there.is_empty() {
            return Ok(());
        }
        Err(taken(&there))
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn taken(there: &[&Path]) -> Failure {
    let verb = if there.len() == 1 { "is" } else { "are" };
    let names: Vec<String> = there.iter().map(|path| path.display().to_string()).collect();
    let failure = Failure::new(
        5,
        format!(
            "{} {verb} there already, and nothing was written",
            names.join(", ")
        ),
    );
    failure.way_out(
        "`steadfast init --print` shows what would be written, to be copied by hand; --output-dir writes it elsewhere; \
         --force keeps the old files as NAME.old",
    )
}

/// Writes them, in this order, all or none; says which old ones were kept, and as what.
pub(super) fn write(files: &[(PathBuf, String)], force: bool) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
    let mut done = Vec::new();
    match all(files, force, &mut done) {
        Ok(()) => {
            let kept = done.into_iter().filter_map(|effect| match effect {
                Effect::Kept(path, old) => Some((path, old)),
                _ => None,
            });
            Ok(kept.collect())
        }
        Err(failure) => Err(undo(done, failure)),
    }
}

/// What was done so far.
enum Effect {
    /// A directory was made.
    Made(PathBuf),
    /// A new text is on the disk, under a name that nobody reads.
    Staged(PathBuf),
    /// An old file has another name.
    Kept(PathBuf, PathBuf),
    /// A new file has its name.
    Placed(PathBuf),
}

fn all(files: &[(PathBuf, String)], force: bool, done: &mut Vec<Effect>) -> Result<(), Failure> {
    // What is likely to fail, as a full disk, fails before anything has its name.
    for (path, text) in files {
        stage(path, text, done).map_err(|error| failed(path, &error))?;
    }
    for (path, _) in files {
        place(path, force, done)?;
    }
    Ok(())
}

fn stage(path: &Path, text: &str, done: &mut Vec<Effect>) -> io::Result<()> {
    make(parent(path), done)?;
    let new = staged(path);
    // Of a process with this number that was killed.
    state::durable::remove(&HostFiles, &new)?;
    let mut file = HostFiles.create(&new)?;
    done.push(Effect::Staged(new));
    file.write(text.as_bytes())?;
    // Nothing in them is secret, and the daemon is another user.
    file.give_to(&FileOwner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mode: 0o644,
    })?;
    file.sync()
}

/// Makes a directory, and those above it.
fn make(directory: &Path, done: &mut Vec<Effect>) -> io::Result<()> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|d| !d.is_dir()).collect();
    for directory in missing.into_iter().rev() {
        match fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => continue,
            made => made?,
        }
        done.push(Effect::Made(directory.to_owned()));
        HostFiles.sync_dir(parent(directory))?;
    }
    Ok(())
}

fn place(path: &Path, force: bool, done: &mut Vec<Effect>) -> Result<(), Failure> {
    if force && is_there(path) {
        let old = free_name(path);
        rename_to_free(path, &old).map_err(|error| failed(path, &error))?;
        done.push(Effect::Kept(path.to_owned(), old));
    }
    match rename_to_free(&staged(path), path) {
        // Since it was looked whether they are there.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken(&[path])),
        placed => placed.map_err(|error| failed(path, &error))?,
    }
    done.push(Effect::Placed(path.to_owned()));
    HostFiles
        .sync_dir(parent(path))
        .map_err(|error| failed(path, &error))
}

/// Renames a file to a name that no other has; where one has it, nothing is done.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can. A second name is never given over another file either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// Takes back what was done, the last first. What cannot be taken back is said beside the failure.
fn undo(done: Vec<Effect>, mut failure: Failure) -> Failure {
    let mut left = Vec::new();
    for effect in done.into_iter().rev() {
        let (undone, words) = match effect {
            // Somebody may have put something into it meanwhile.
            Effect::Made(directory) => {
                let _ = fs::remove_dir(directory);
                continue;
            }
            Effect::Staged(new) => {
                let words = format!("{} is left over", new.display());
                (state::durable::remove(&HostFiles, &new), words)
            }
            Effect::Kept(path, old) => {
                let words = format!("what was {} is {} now", path.display(), old.display());
                (rename_to_free(&old, &path), words)
            }
            Effect::Placed(path) => {
                let words = format!("{} is new", path.display());
                (state::durable::remove(&HostFiles, &path), words)
            }
        };
        if let Err(error) = undone {
            left.push(format!("{words} ({error})"));
        }
    }
    if !left.is_empty() {
        failure.note = Some(format!("this could not be taken back: {}", left.join("; ")));
    }
    failure
}

/// Where a file is written before it has its name. Two at a time are in each other's way only at that.
fn staged(path: &Path) -> PathBuf {
    with(path, &format!(".init-{}", std::process::id()))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn failed(path: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    let failure = Failure::new(
        1,
        format!("{} cannot be written: {}", path.display(), chain(error)),
    );
    if is_denied(error) {
        return failure.way_out("use sudo, or --output-dir");
    }
    failure
}

/// `NAME.old`, or `NAME.old2` where that is taken.
fn free_name(path: &Path) -> PathBuf {
    let numbered = (2..).map(|n| with(path, &format!(".old{n}")));
    let mut names = std::iter::once(with(path, ".old")).chain(numbered);
    names
        .find(|name| !is_there(name))
        .expect("there is always another number")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_there_is_named_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let common = Common {
            config: directory.path().join("etc/steadfast.toml"),
            socket: None,
        };
        let targets = Targets::of(&common, None).unwrap();
        targets.must_be_free().unwrap();
        let files = vec![
            (targets.settings.clone(), String::from("a")),
            (targets.drop_in.clone(), String::from("b")),
        ];
        assert_eq!(write(&files, false).unwrap(), []);
        let mode = fs::metadata(&targets.settings).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
        let refused = targets.must_be_free().unwrap_err();
        assert_eq!(refused.code, 5);
        assert!(
            refused.why.contains("steadfast.toml, ") && refused.why.contains("stacks.conf are there"),
            "{refused:?}"
        );
        for (n, old) in [".old", ".old2"].into_iter().enumerate() {
            let kept = write(&[(targets.settings.clone(), format!("c{n}"))], true).unwrap();
            let name = format!("{}{old}", targets.settings.display());
            assert_eq!(kept, [(targets.settings.clone(), PathBuf::from(name))]);
        }
        assert_eq!(fs::read_to_string(&targets.settings).unwrap(), "c1");
        assert_eq!(
            fs::read_to_string(directory.path().join("etc/steadfast.toml.old")).unwrap(),
            "a"
        );
    }

    /// All below a directory, with its text.
    fn below(directory: &Path) -> Vec<String> {
        let mut all = Vec::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all.push(path.display().to_string());
                all.extend(below(&path));
            } else {
                all.push(format!(
                    "{}: {}",
                    path.display(),
                    fs::read_to_string(&path).unwrap()
                ));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn all_are_written_or_none() {
        // The files in their order, what is there, whether by force, and the exit code.
        for (files, there, force, code) in [
            // One appeared since it was looked.
            (&["a", "d/b", "c"][..], &["c"][..], false, 5),
            (&["d/e/a", "b"], &["b"], false, 5),
            // There is no place for the last one: a file is where its directory would be.
            (&["a", "b", "x/c"], &["a", "x"], true, 1),
            // Its text was taken away: the first of the same name has taken it.
            (&["a", "b", "b"], &["a", "b", "b.old"], true, 1),
        ] {
            let directory = tempfile::tempdir().unwrap();
            for name in there {
                fs::write(directory.path().join(name), "theirs").unwrap();
            }
            let before = below(directory.path());
            let path = |name: &&str| (directory.path().join(name), String::from("new"));
            let files: Vec<_> = files.iter().map(path).collect();
            let failure = write(&files, force).unwrap_err();
            assert_eq!((failure.code, &failure.note), (code, &None), "{failure:?}");
            assert_eq!(below(directory.path()), before, "{files:?}");
        }
    }

    #[test]
    fn where_they_go() {
        let common = |path: &str| Common {
            config: path.into(),
            socket: None,
        };
        let targets = Targets::of(&common("/etc/steadfast/steadfast.toml"), Some(Path::new("/try"))).unwrap();
        assert_eq!(targets.desired, Path::new("/try/desired.toml"));
        assert_eq!(targets.drop_in, Path::new("/try/steadfast.service.d/stacks.conf"));
        let targets = Targets::of(&common("/x/other.toml"), None).unwrap();
        assert_eq!(targets.settings, Path::new("/x/other.toml"));
        assert!(!targets.in_place());
        // Neither others beside those of the unit, nor others beside the units.
        for (config, output) in [
            ("/etc/steadfast/other.toml", None),
            (SETTINGS, Some(Path::new(UNITS))),
        ] {
            let targets = Targets::of(&common(config), output).unwrap();
            assert!(!targets.in_place(), "{config}");
            assert_eq!(targets.drop_in, parent(&targets.settings).join(DROP_IN));
        }
    }
}
