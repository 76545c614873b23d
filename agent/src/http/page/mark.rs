//! Marks: a shape and a colour for each kind of thing that is told. The word stands beside it always, so that neither is
//! needed to read a page.

use maud::{Markup, html};

use crate::cli::Tone;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// As it should be: a disc with a tick.
    Good,
    /// Past, or not known: an empty ring.
    Quiet,
    /// Under way: a half disc.
    Busy,
    /// Somebody should know: a triangle.
    Warn,
    /// Somebody should look: an octagon with a cross.
    Bad,
}

impl From<Tone> for Mark {
    fn from(tone: Tone) -> Self {
        match tone {
            Tone::Good => Self::Good,
            Tone::Busy => Self::Busy,
            Tone::Warn => Self::Warn,
            Tone::Bad => Self::Bad,
        }
    }
}

impl Mark {
    /// Of a verdict on a generation.
    pub(super) fn of_verdict(verdict: &str) -> Self {
        match verdict {
            "good" => Self::Good,
            "trial" => Self::Busy,
            "bad" => Self::Bad,
            _ => Self::Quiet,
        }
    }

    /// Of a probe.
    pub(super) fn of_phase(phase: &str) -> Self {
        match phase {
            "passing" => Self::Good,
            "failing" => Self::Bad,
            _ => Self::Quiet,
        }
    }

    /// Of a step.
    pub(super) fn of_step(outcome: &str) -> Self {
        match outcome {
            "done" => Self::Good,
            "started" => Self::Busy,
            "failed" | "not taken back" => Self::Bad,
            "taken back" => Self::Warn,
            _ => Self::Quiet,
        }
    }

    /// Of the end of an operation.
    pub(super) fn of_ending(ending: &str) -> Self {
        match ending {
            "succeeded" => Self::Good,
            "open" => Self::Busy,
            "undone" | "paused" => Self::Warn,
            _ => Self::Bad,
        }
    }

    /// The name of its colour in the style.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Quiet => "quiet",
            Self::Busy => "busy",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Good => "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm3.5 5.3-4.3 4.8-2.9-2.6.9-1 1.9 1.7 3.3-3.8Z",
            Self::Quiet => {
                "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm0 1.6a5.4 5.4 0 1 1 0 10.8A5.4 5.4 0 0 1 8 2.6Z"
            }
            Self::Busy => "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm0 1.6a5.4 5.4 0 0 1 0 10.8Z",
            Self::Warn => {
                "M8 1 .6 14.5h14.8ZM7.2 6h1.6l-.2 4.2H7.4Zm.8 5.1a.95.95 0 1 1 0 1.9.95.95 0 0 1 0-1.9Z"
            }
            Self::Bad => {
                "M5 1h6l4 4v6l-4 4H5l-4-4V5Zm.9 3.8L4.8 5.9 6.9 8l-2.1 2.1 1.1 1.1L8 9.1l2.1 2.1 1.1-1.1L9.1 8l2.1-2.1-1.1-1.1L8 6.9Z"
            }
        }
    }

    /// The shape alone.
    pub(super) fn glyph(self) -> Markup {
        html! {
            svg class={ "glyph " (self.class()) } viewBox="0 0 16 16" aria-hidden="true" focusable="false" {
                path fill-rule="evenodd" d=(self.path()) {}
            }
        }
    }

    /// The shape with its word.
    pub(super) fn word(self, word: &str) -> Markup {
        html! { span class={ "mark " (self.class()) } { (self.glyph()) (word) } }
    }

    /// The shape as the icon of a browser's tab, in colours that do on light and dark.
    pub(super) fn icon(self) -> String {
        let colour = match self {
            Self::Good => "4a9d73",
            Self::Quiet => "7d878e",
            Self::Busy => "4d8ccb",
            Self::Warn => "d0902c",
            Self::Bad => "e0523f",
        };
        format!(
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%23{colour}' \
             fill-rule='evenodd' d='{}'/%3E%3C/svg%3E",
            self.path()
        )
    }
}
