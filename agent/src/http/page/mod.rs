//! The status page as HTML: what the views hold, in the words of the command line, laid out. Whatever is put into it is escaped
//! by `maud`; only our own style and script are not. Nothing here looks anything up.

mod frame;
mod history;
mod mark;
mod overview;
mod plot;
mod stack;
#[cfg(test)]
mod tests;

pub(super) use frame::{Frame, policy};
pub(super) use overview::overview;
pub(super) use stack::{no_such, stack};

use crate::cli::{Reader, Told};
use crate::shared::{Shared, Snapshot};
use crate::view::{OperationRow, RecentAnswers, Status};

/// What is shown of a stack.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// How it is.
    pub(super) status: Status,
    /// The same in words.
    pub(super) told: Told,
    /// What its probes have answered lately.
    pub(super) recent: Vec<RecentAnswers>,
}

impl Seen {
    /// What is shown of `snapshot`.
    pub(super) fn of(snapshot: &Snapshot, shared: &Shared, reader: &Reader) -> Self {
        let status = Status::of(snapshot, shared, shared.version());
        Self {
            told: Told::of(&status, reader),
            recent: RecentAnswers::of(snapshot),
            status,
        }
    }
}

/// The operations that have ended, the newest first, or why they cannot be read.
pub(super) type Past = Result<Vec<OperationRow>, String>;
