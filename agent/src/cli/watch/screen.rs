//! What is known, and what a key does to it: a value. What is drawn depends on this and on nothing else.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use jiff::Timestamp;

use super::super::reader::Reader;
use super::terminal::Look;
use crate::view::{History, Log, LogLine, Status, StatusList};

/// So many lines of the log are remembered.
const REMEMBERED: usize = 300;
/// So far a count goes on by itself, in seconds: time in which nobody looks counts for nothing.
const AHEAD: u64 = 10;

/// What the daemon has said, or that it does not.
#[derive(Debug)]
pub(super) enum News {
    /// It has answered.
    Answer(Box<Answer>),
    /// It has not, and why.
    Silence(String),
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Every stack.
    pub(super) statuses: Vec<Status>,
    /// The past of the selected one.
    pub(super) history: Option<History>,
    /// What was told of it after a line that is known.
    pub(super) log: Option<(u64, Log)>,
}

impl Answer {
    /// Of every stack, and nothing else.
    pub(super) fn of(list: StatusList) -> Self {
        Self {
            statuses: list.stacks,
            history: None,
            log: None,
        }
    }
}

/// What is to be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// The stack that is shown.
    pub(super) stack: Option<String>,
    /// The last line of its log that is known.
    pub(super) after: u64,
}

/// What follows from a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Going on.
    On,
    /// The end.
    End,
}

/// The daemon does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    /// Since when.
    pub(super) since: Timestamp,
    /// Why.
    pub(super) why: String,
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct Screen {
    /// Who reads, and when.
    pub(super) reader: Reader,
    /// What the terminal can show.
    pub(super) look: Look,
    /// Every stack, by name.
    pub(super) statuses: Vec<Status>,
    selected: Option<String>,
    history: Option<History>,
    /// What was told of the selected stack.
    pub(super) log: Vec<LogLine>,
    /// Whether the daemon is gone.
    pub(super) lost: Option<Lost>,
    /// Whether the keys are explained instead.
    pub(super) help: bool,
}

impl Screen {
    /// Nothing is known yet.
    pub(super) fn new(reader: Reader, look: Look, selected: Option<String>) -> Self {
        Self {
            reader,
            look,
            statuses: Vec::new(),
            selected,
            history: None,
            log: Vec::new(),
            lost: None,
            help: false,
        }
    }

    /// The stack that is shown.
    pub(super) fn selected(&self) -> Option<&str> {
        self.selected.as_deref()
    }

    /// What is to be asked about next.
    pub(super) fn choice(&self) -> Choice {
        Choice {
            stack: self.selected.clone(),
            after: self.log.last().map_or(0, |line| line.number),
        }
    }

    /// Its place among all.
    pub(super) fn place(&self) -> usize {
        let place = self
            .statuses
            .iter()
            .position(|s| Some(s.stack.as_str()) == self.selected());
        place.unwrap_or(0)
    }

    /// How the selected stack is now.
    pub(super) fn status(&self) -> Option<Status> {
        self.statuses.get(self.place()).map(|status| self.now(status))
    }

    /// How a stack is now: what is counted goes on between two answers.
    pub(super) fn now(&self, status: &Status) -> Status {
        let mut status = status.clone();
        if self.lost.is_some() {
            return status;
        }
        let ahead = self.reader.seconds_since(status.taken).min(AHEAD);
        if let Some(failing) = &mut status.failing {
            failing.seconds += ahead;
            failing.left_seconds = failing.left_seconds.map(|left| left.saturating_sub(ahead));
        }
        if let Some(trial) = status.trial.as_mut().filter(|_| status.failing.is_none()) {
            trial.looked_seconds += ahead;
            if let Some(failing) = &mut trial.failing_seconds {
                *failing += ahead;
            } else if trial.undecided.is_none() {
                trial.healthy_seconds = (trial.healthy_seconds + ahead).min(trial.needed_seconds);
            }
        }
        status
    }

    /// The past of the selected stack, where it is known.
    pub(super) fn history(&self) -> Option<&History> {
        let history = self.history.as_ref()?;
        (Some(history.stack.as_str()) == self.selected()).then_some(history)
    }

    /// Takes what was heard.
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Silence(why) => {
                let since = self.lost.as_ref().map_or(self.reader.now, |lost| lost.since);
                self.lost = Some(Lost { since, why });
            }
            News::Answer(answer) => {
                self.lost = None;
                self.statuses = answer.statuses;
                // One that was let go is not looked for any longer.
                let selected = self.statuses.get(self.place());
                let selected = selected.map(|status| status.stack.clone());
                self.select(selected);
                if let Some(history) = answer.history {
                    self.history = Some(history);
                }
                if let Some((after, log)) = answer.log {
                    self.tell(after, log);
                }
            }
        }
    }

    fn tell(&mut self, after: u64, log: Log) {
        let last = self.choice().after;
        // It may be of what was selected before; then it is asked anew.
        if Some(log.stack.as_str()) != self.selected() || after != last {
            return;
        }
        // Another daemon, on a clock that was set back, tells anew.
        if log.lines.first().is_some_and(|first| first.number <= last) {
            self.log.clear();
        }
        self.log.extend(log.lines);
        let old = self.log.len().saturating_sub(REMEMBERED);
        self.log.drain(..old);
    }

    fn select(&mut self, stack: Option<String>) {
        if self.selected != stack {
            self.selected = stack;
            self.history = None;
            self.log.clear();
        }
    }

    /// What a key does.
    pub(super) fn press(&mut self, key: KeyEvent) -> Flow {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => return Flow::End,
            KeyCode::Char('q') => return Flow::End,
            // Whatever it is, it was meant for the help.
            _ if std::mem::take(&mut self.help) => {}
            KeyCode::Esc => return Flow::End,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('j') | KeyCode::Down => self.move_to(self.place() + 1),
            KeyCode::Char('k') | KeyCode::Up => self.move_to(self.place().saturating_sub(1)),
            KeyCode::Char('g') | KeyCode::Home => self.move_to(0),
            KeyCode::Char('G') | KeyCode::End => self.move_to(usize::MAX),
            _ => {}
        }
        Flow::On
    }

    fn move_to(&mut self, place: usize) {
        let place = place.min(self.statuses.len().saturating_sub(1));
        let stack = self.statuses.get(place).map(|status| status.stack.clone());
        self.select(stack);
    }
}
