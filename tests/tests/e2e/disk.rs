//! A state directory on a file system that is really full, from the start or from the middle of an operation on;
//! and a ledger that is not what was written.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::view::Status;
use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use steadfast_tests::lab::{Engine, Lab};

use super::kills::{Cause, Round, Story};
use super::{Scenario, once};

pub(super) const ALL: &[Scenario] = &[
    once("a_full_disk", full_from_the_start),
    once("a_disk_that_fills_in_the_middle", filled_in_the_middle),
    once("a_damaged_ledger_is_kept_and_nothing_is_done", damaged),
];

/// The state directory of a lab, as a small file system of its own: ext4 on a file where the machine has loop
/// devices, else in memory.
struct Small(PathBuf);

impl Small {
    fn mount(lab: &Lab) -> Result<Self> {
        let (image, place) = (lab.path("disk.img"), lab.path("state"));
        fs::create_dir(&place)?;
        fs::File::create(&image)?.set_len(16 << 20)?;
        let on_loop = run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))
            .and_then(|()| run(Command::new("mount").args(["-o", "loop"]).args([&image, &place])));
        if let Err(why) = on_loop {
            eprintln!("no file system on a loop device here ({why:#}): one in memory");
            run(Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=14m", "tmpfs"])
                .arg(&place))?;
        }
        let small = Self(place);
        fs::set_permissions(&small.0, fs::Permissions::from_mode(0o700))?;
        // The state directory holds what the daemon puts there.
        drop(fs::remove_dir(small.0.join("lost+found")));
        Ok(small)
    }

    /// Fills it to the last byte.
    fn fill(place: &Path) -> Result<()> {
        let mut file = fs::File::create(place.join("filler"))?;
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
        // What is promised is taken.
        drop(file.sync_all());
        Ok(())
    }

    fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.0.join("filler"))?)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A daemon may still be on it, after a failure.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", words.trim());
    Ok(())
}

fn says_full(status: &Status) -> bool {
    status
        .waits
        .iter()
        .any(|w| w.contains("the ledger: no space left"))
}

/// Whole by SQLite's own word.
fn intact(lab: &Lab) -> Result<()> {
    let path = lab.path("state/ledger.db");
    let ledger = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let whole: String = ledger.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(whole == "ok", "{whole}");
    Ok(())
}

/// Space comes back: nobody has to do more, and the next full disk finds a reserve again.
fn goes_on(lab: &Lab, disk: &Small) -> Result<()> {
    intact(lab)?;
    disk.free()?;
    lab.until("it sees that there is space again", |s| !says_full(s))?;
    lab.when("there is a reserve again", || {
        let reserve = fs::metadata(lab.path("state/reserve"));
        Ok(reserve
            .is_ok_and(|reserve| reserve.len() == 4 << 20)
            .then_some(()))
    })
}

/// The end: the file system goes before its place does.
fn end(story: Story, disk: Small) -> Result<()> {
    story.lab.terminate()?;
    drop(disk);
    story.end()
}

fn full_from_the_start(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "disk", "v1")?;
    let disk = Small::mount(&lab)?;
    let story = Story::on(lab)?;
    let lab = &story.lab;
    let web = lab.container("web")?;
    lab.proxy.forget();
    Small::fill(&disk.0)?;
    lab.ask("v3")?;
    lab.until("it says that the disk is full", says_full)?;
    ensure!(lab.proxy.changes().is_empty(), "{:#?}", lab.proxy.changes());
    ensure!(
        lab.container("web")? == web,
        "what could not be journaled was begun"
    );
    goes_on(lab, &disk)?;
    lab.until_runs("v3", "good")?;

    // What mends is journaled on the reserve: a heal, and a rollback.
    Small::fill(&disk.0)?;
    let web = lab.container("web")?;
    engine.docker(&["kill", &web.id])?;
    lab.when("it is healed", || {
        Ok(lab.container("web")?.is_running().then_some(()))
    })?;
    lab.until("the heal is over", |s| {
        s.operation.is_none() && s.drift.is_empty()
    })?;
    let said = lab.run(&["rollback", &lab.name, "--yes", "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(engine.exec(&lab.container("web")?.id, &["/tiny", "version"])? == "v2");
    // And nothing that is new is, on what is left of it.
    lab.ask("v1")?;
    let told = lab.until("it says that there is no reserve", says_full)?;
    let later = lab.until("it stays so", |s| s.version > told.version + 8)?;
    ensure!(says_full(&later) && later.operation.is_none(), "{later:#?}");
    goes_on(lab, &disk)?;
    lab.until_runs("v1", "good")?;
    end(story, disk)
}

fn filled_in_the_middle(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "fills", "v1")?;
    let disk = Small::mount(&lab)?;
    let mut story = Story::on(lab)?;
    for (cause, point) in [
        (Cause::Deploy, "stop.started"),
        (Cause::Killed, "start.started"),
        (Cause::RollBack, "stop.answered"),
    ] {
        let round = Round::of(cause, point);
        let place = disk.0.clone();
        let fill = Box::new(move || {
            if let Err(error) = Small::fill(&place) {
                eprintln!("it is not full: {error:#}");
            }
        });
        story
            .through(&round, fill)
            .with_context(|| format!("{cause:?}"))?;
        story.lab.until("it says that the disk is full", says_full)?;
        goes_on(&story.lab, &disk)?;
        story.settle(&round).with_context(|| format!("{cause:?}"))?;
    }
    end(story, disk)
}

/// What is done to a ledger while no daemon runs.
type Harm = fn(&Path) -> Result<()>;

fn damaged(engine: &Engine) -> Result<()> {
    let harms: [(&str, Harm); 3] = [
        ("overwritten", |ledger| {
            let mut bytes = fs::read(ledger)?;
            for page in bytes.chunks_mut(4096).skip(1) {
                page[..64].fill(0xff);
            }
            Ok(fs::write(ledger, bytes)?)
        }),
        ("cut off", |ledger| {
            let half = fs::metadata(ledger)?.len() / 2;
            Ok(fs::OpenOptions::new().write(true).open(ledger)?.set_len(half)?)
        }),
        ("gone", |ledger| Ok(fs::remove_file(ledger)?)),
    ];
    let lab = Lab::web(engine, "damaged", "v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    lab.terminate()?;
    let (web, ledger, whole) = (
        lab.container("web")?,
        lab.path("state/ledger.db"),
        lab.path("whole.db"),
    );
    fs::copy(&ledger, &whole)?;
    lab.ask("v2")?;
    for (what, harm) in harms {
        harm(&ledger)?;
        let harmed = fs::read(&ledger).ok();
        lab.proxy.forget();
        let said = lab.run(&["run"])?;
        ensure!(said.code == 1, "{what}: {said:?}");
        for word in ["ledger.db is damaged", "help:", "backup"] {
            ensure!(said.err.contains(word), "{what}: {word} is not said: {said:?}");
        }
        ensure!(
            fs::read(&ledger).ok() == harmed,
            "{what}: the file was not left as it is"
        );
        ensure!(
            lab.proxy.changes().is_empty(),
            "{what}: {:#?}",
            lab.proxy.changes()
        );
        ensure!(lab.container("web")? == web, "{what}: something was done");
        fs::copy(&whole, &ledger)?;
    }
    // With what was written in its place again, all goes on.
    lab.start()?;
    lab.until_runs("v2", "good")?;
    lab.end()
}
