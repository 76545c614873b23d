//! A command of an operator on a terminal of its own: what it shows, what is typed, and that the terminal is afterwards
//! as it was.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use super::process::{clean, program};
use super::{LIMIT, poll};

/// A command that runs on a terminal. Dropped, it is killed.
pub struct OnTerminal {
    child: Child,
    keys: File,
    terminal: Option<OwnedFd>,
    before: Termios,
    shown: Arc<Mutex<Vec<u8>>>,
    listener: Option<JoinHandle<()>>,
}

impl OnTerminal {
    /// Starts it, on so many columns and rows.
    pub fn start(config: &Path, words: &[&str], size: (u16, u16)) -> Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
        tcsetwinsize(&terminal, winsize(size))?;
        let before = tcgetattr(&terminal)?;
        let line = program(words, config)?;
        let mut command = Command::new(&line[0]);
        let child = clean(&mut command)
            .args(&line[1..])
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .stdin(terminal.try_clone()?)
            .stdout(terminal.try_clone()?)
            .stderr(terminal.try_clone()?)
            .spawn()
            .context("cannot start it on a terminal")?;
        let shown = Arc::new(Mutex::new(Vec::new()));
        let keys = File::from(ours);
        let listener = listen(keys.try_clone()?, Arc::clone(&shown));
        Ok(Self {
            child,
            keys,
            terminal: Some(terminal),
            before,
            shown,
            listener: Some(listener),
        })
    }

    /// Waits until these words were shown.
    pub fn until(&self, words: &str) -> Result<()> {
        let found = poll(&format!("\"{words}\" is shown"), LIMIT, || {
            Ok(plain(&self.shown()).contains(words).then_some(()))
        });
        found.with_context(|| format!("shown so far: {:?}", self.shown()))
    }

    /// Types.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.keys.write_all(keys.as_bytes())?)
    }

    /// Gives the terminal another size. Nobody is told: it is not the one that controls the command.
    pub fn resize(&self, size: (u16, u16)) -> Result<()> {
        Ok(tcsetwinsize(&self.keys, winsize(size))?)
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("no process")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Waits for its end, with this exit code, and sees that the terminal is as it was. Says all that was shown.
    pub fn end(mut self, code: i32) -> Result<String> {
        let ended = poll("it ends", LIMIT, || Ok(self.child.try_wait()?));
        let ended = ended.with_context(|| format!("shown: {:?}", self.shown()))?;
        let terminal = self.terminal.take().context("it has ended before")?;
        let now = tcgetattr(&terminal)?;
        // The last end of the terminal: what listens to it ends too.
        drop(terminal);
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
        let shown = self.shown();
        ensure!(ended.code() == Some(code), "{ended}: {shown:?}");
        let modes = |termios: &Termios| {
            (
                termios.local_modes,
                termios.input_modes,
                termios.output_modes,
                termios.control_modes,
            )
        };
        ensure!(
            modes(&now) == modes(&self.before),
            "the terminal is not as it was: {now:?}"
        );
        Ok(shown)
    }

    fn shown(&self) -> String {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&shown).into_owned()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // It may have ended: then there is nothing to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn winsize((columns, rows): (u16, u16)) -> Winsize {
    Winsize {
        ws_col: columns,
        ws_row: rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Without what moves the cursor and paints; a space where it is moved, since what is blank already is skipped.
fn plain(shown: &str) -> String {
    let mut text = String::new();
    let mut rest = shown;
    while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
        text.push_str(before);
        let end = sequence.find(|c: char| c.is_ascii_alphabetic());
        let (kind, after) = end.map_or(("", ""), |end| (&sequence[end..=end], &sequence[end + 1..]));
        if kind == "H" {
            text.push(' ');
        }
        rest = after;
    }
    text + rest
}

/// Until nobody has the terminal any more.
fn listen(mut from: File, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut shown = into.lock().unwrap_or_else(PoisonError::into_inner);
            shown.extend_from_slice(&buffer[..count]);
        }
    })
}
