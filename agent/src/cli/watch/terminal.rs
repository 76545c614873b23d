//! The terminal: taken whole, and put back as it was on every way out, a panic among them. Nothing is decided in here.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, IsTerminal as _, Stdout, stdin, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use tokio::sync::mpsc;

use super::super::failure::Failure;
use super::draw::draw;
use super::screen::Screen;

/// Terminals that have no colours, or none that can be relied on.
const COLOURLESS: [&str; 6] = ["vt52", "vt100", "vt102", "vt220", "vt320", "dumb"];

/// Whether the terminal is ours. It is put back once: a second time would move the cursor into what was said since.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Colours.
    pub(super) colours: bool,
    /// More than ASCII.
    pub(super) symbols: bool,
}

impl Look {
    /// As the environment says.
    pub(super) fn here() -> Self {
        Self::by(|name| std::env::var_os(name))
    }

    fn by(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let term = set("TERM").unwrap_or_default();
        let term = term.to_string_lossy();
        let bare = COLOURLESS.contains(&&*term) || term.ends_with("-m") || term.ends_with("-mono");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name));
        let locale = locale.unwrap_or_default().to_string_lossy().to_lowercase();
        Self {
            colours: set("NO_COLOR").is_none() && !bare,
            symbols: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }
}

/// Refuses what nothing can be drawn on.
pub(super) fn fits() -> Result<(), Failure> {
    let ends = [
        ("standard input", stdin().is_terminal()),
        ("standard output", stdout().is_terminal()),
    ];
    let none = ends.iter().find(|(_, is_terminal)| !is_terminal);
    match refusal(none.map(|(end, _)| *end), std::env::var_os("TERM").as_deref()) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn refusal(none: Option<&str>, term: Option<&OsStr>) -> Option<Failure> {
    let why = match (none, term) {
        (Some(end), _) => format!("watch needs a terminal, and {end} is none"),
        (None, None) => "watch needs a terminal that can be drawn on, and TERM is not set".to_owned(),
        (None, Some(term)) if term == "dumb" || term.is_empty() => {
            "watch needs a terminal that can be drawn on, and TERM says that this one cannot".to_owned()
        }
        (None, Some(_)) => return None,
    };
    Some(Failure::new(2, why).way_out("`steadfast status --json`, or `steadfast history STACK`"))
}

/// The terminal, while it is ours. Dropped, it is as it was.
pub(super) struct Tty {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    // After the terminal: what that still says belongs to the screen that is left.
    _restored: Restored,
}

struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        restore();
    }
}

impl Tty {
    /// Takes it.
    pub(super) fn enter() -> io::Result<Self> {
        let before = panic::take_hook();
        // Where a panic aborts nothing is dropped; and its words belong on the screen that stays.
        panic::set_hook(Box::new(move |what| {
            restore();
            before(what);
        }));
        TAKEN.store(true, Ordering::SeqCst);
        let restored = Restored;
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen)?;
        let backend = CrosstermBackend::new(BufWriter::new(stdout()));
        Ok(Self {
            terminal: Terminal::new(backend)?,
            _restored: restored,
        })
    }

    /// Shows it, as large as the terminal is now.
    pub(super) fn draw(&mut self, screen: &Screen) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame, screen))?;
        Ok(())
    }
}

/// By whoever comes first.
fn restore() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // There is nobody to tell where the terminal is gone.
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// What comes from the terminal.
#[derive(Debug)]
pub(super) enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// It has another size, or something that is none of our business.
    Other,
}

/// From a thread of its own, which ends with the process: reading a terminal cannot be called off.
pub(super) fn inputs() -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let input = match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => Input::Key(key),
                _ => Input::Other,
            };
            if sender.blocking_send(input).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(environment: &[(&str, &str)], colours: bool, symbols: bool) {
        let look = Look::by(|name| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).into())
        });
        assert_eq!(look, Look { colours, symbols });
    }

    #[test]
    fn the_environment_says_what_the_terminal_can_show() {
        check(&[("TERM", "xterm-256color"), ("LANG", "de_DE.UTF-8")], true, true);
        check(
            &[("TERM", "xterm"), ("LANG", "C"), ("NO_COLOR", "1")],
            false,
            false,
        );
        check(
            &[("TERM", "xterm"), ("LC_ALL", "C"), ("LANG", "C.UTF-8")],
            true,
            false,
        );
        check(
            &[("TERM", "xterm"), ("LC_ALL", ""), ("LC_CTYPE", "C.utf8")],
            true,
            true,
        );
        check(
            &[("TERM", "vt100"), ("LANG", "C.UTF-8"), ("NO_COLOR", "")],
            false,
            true,
        );
        check(&[("TERM", "linux-m")], false, false);
    }

    #[test]
    fn what_is_no_terminal_is_refused_with_a_way_out() {
        let why = |none, term: Option<&str>| refusal(none, term.map(OsStr::new));
        assert_eq!(why(None, Some("xterm")), None);
        for refused in [
            why(Some("standard output"), Some("xterm")),
            why(None, Some("dumb")),
            why(None, Some("")),
            why(None, None),
        ] {
            assert!(
                refused.as_ref().is_some_and(|failure| failure.code == 2
                    && failure
                        .way_out
                        .as_deref()
                        .is_some_and(|way| way.contains("status --json"))),
                "{refused:?}"
            );
        }
    }
}
