//! The status in words, for whoever lays it out otherwise than on a terminal: the status page says what the command says.

use super::super::problems;
use super::super::reader::Reader;
use super::headline::{Tone, split, words};
use super::next::{commands, next};
use super::{back, render};
use crate::view::Status;

/// What there is to be said of a stack, in the order in which an operator asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// How much somebody has to mind.
    pub(crate) tone: Tone,
    /// How it is, in a word or two.
    pub(crate) word: String,
    /// What that means.
    pub(crate) sentence: String,
    /// What is wrong with the input files; `true`: an error.
    pub(crate) problems: Vec<(bool, String)>,
    /// What runs.
    pub(crate) runs: String,
    /// What was asked for.
    pub(crate) asked: String,
    /// Why the two differ, or why it is not well: a label, which is empty where it is the one before, and the words.
    pub(crate) why: Vec<(String, String)>,
    /// What comes next, and when.
    pub(crate) next: Vec<String>,
    /// Whether it can be rolled back, and at what price.
    pub(crate) rollback: Vec<String>,
    /// What somebody has to know of the database.
    pub(crate) database: Vec<String>,
    /// The commands that make sense now, each with what it does.
    pub(crate) commands: Vec<(String, String)>,
    /// What else is known.
    pub(crate) known: Vec<String>,
}

impl Told {
    /// What is said of `status`.
    pub(crate) fn of(status: &Status, reader: &Reader) -> Self {
        let (tone, words) = words(status, reader);
        let (word, sentence) = split(&words);
        let nothing = || String::from("nothing yet");
        let problem = |p: &crate::view::ProblemView| (p.gravity == "error", problems::words(p));
        let rollback = [back::rollback(status)].into_iter();
        Self {
            tone,
            word: word.to_owned(),
            sentence: sentence.to_owned(),
            problems: status.problems.iter().map(problem).collect(),
            runs: status
                .runs
                .as_ref()
                .map_or_else(nothing, |runs| render::runs_words(runs, reader)),
            asked: status
                .asked
                .as_ref()
                .map_or_else(nothing, |asked| render::asked_words(asked, status, reader)),
            why: render::why(status, reader),
            next: next(status, reader),
            rollback: rollback.chain(back::destroys(status)).collect(),
            database: render::kept(status, reader),
            commands: commands(status),
            known: render::known(status, reader),
        }
    }
}
