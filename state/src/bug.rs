//! Rules that can be broken on purpose. An invariant is proven when the simulation catches a product in which
//! it does not hold: each variant breaks one rule, at the place where the rule is kept. Without the feature
//! `seeded-bugs`, which only the `tests` crate asks for, [`is`] is a constant and nothing of this is compiled in.

/// One broken rule. Its number in `docs/architecture.md`, and the proof, are in `docs/reference/proof.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// 1: nobody asks whose stack it is before it is touched.
    OwnerIsNotAsked,
    /// 1: an operation is opened while another one is open.
    SecondOperation,
    /// 2: the schema is moved without a copy, and without a backup.
    CopyIsLeftOut,
    /// 2: a backup is gone back to without a question.
    BackupUnasked,
    /// 3: a schema is taken back by the image that is gone to.
    DowngradeByTheTarget,
    /// 4: a file that the agent has put back counts as the operator's.
    OwnFileIsARequest,
    /// 4: a tag that moves is followed.
    TagIsFollowed,
    /// 4: a request is not looked up in the quarantine.
    QuarantineIsNotAsked,
    /// 4: whatever a new request changes lifts the quarantine.
    AnyEditLiftsQuarantine,
    /// 4: a new request empties the quarantine.
    RequestEmptiesQuarantine,
    /// 5: what was superseded before it was proven can be gone back to.
    TargetWasNeverProven,
    /// 5: nobody looks whether a target's images are there.
    TargetIsNotThere,
    /// 5: nobody looks whether a target's schema fits.
    SchemaIsNotAsked,
    /// 5: a rollback leaves a schema of which nobody has declared that it fits.
    UndeclaredStays,
    /// 5: nobody asks whether anything takes a revision back.
    OneWayIsNotAsked,
    /// 5: the first sign of health proves a generation.
    ProvenAtFirstSight,
    /// 6: what was restored, and fails too, is left for an older one.
    Cascade,
    /// 6: rollbacks are not counted.
    BudgetIsNotCounted,
    /// 7: it is not asked whether a rollback would mend anything.
    RollbackMendsAll,
    /// 7: an engine that is away fails the step.
    EngineAwayIsBlamed,
    /// 7: a container that somebody removed fails the release.
    RemovalIsBlamed,
    /// 7: what the plan leaves as it is fails the release.
    UntouchedIsBlamed,
    /// 8: what was declared to stay is taken back.
    DeclaredIsTakenBack,
    /// 8: an old container goes before the new one has stood.
    OldGoesFirst,
    /// 8: anonymous volumes stay behind.
    RowsStayBehind,
    /// 8: a file is replaced before its content is kept.
    FileIsNotKept,
    /// 8: nobody asks the check of a file before it is used.
    CheckIsNotAsked,
    /// 8: a file that somebody is just editing is replaced.
    EditIsOverwritten,
    /// 8: what goes back leaves the files as the bad release has them.
    FilesStayBehind,
    /// 8: a file that a release has brought stays when it is left.
    NewFilesStay,
    /// 8: a container that reads a file again by a restart is not restarted.
    ReaderIsNotTold,
    /// 8: a container that reads a file again by a signal gets none.
    SignalIsNotSent,
    /// 8: the new container of a service with data starts before the old one stops.
    TwoWriters,
    /// 8: a new image gets at data without a question.
    DataChangeIsNotAsked,
    /// 8: what may have written to data in a new way is taken back.
    DataChangeIsTakenBack,
    /// 8: a migration that failed half-way counts as one that did nothing.
    HalfMigrationCounts,
    /// 8: a migration of which nobody could see what it has left counts as one that did nothing.
    UnseenIsUndone,
    /// 8: what is tried when a downgrade has failed is begun on what that has left.
    BuiltUponWhatFailed,
    /// 8: what a failed way back has changed in rows counts as nothing, where the schema is as it was.
    RowsAreNotCompared,
    /// 8: what an integrity check says after a migration is not listened to.
    LossIsNotAsked,
    /// 8: the database that a restored one takes the place of is dropped.
    OldDatabaseGoes,
    /// 8: the copy that a rollback has left is dropped before there is a backup of it.
    CopyGoesUnsaved,
    /// 8: the copy that a rollback has left is dropped before its rows are kept for putting them back.
    CopyGoesUnread,
    /// 8: a release that brings a column back does not get what was in it.
    RowsStayOut,
    /// 9: a probe without an answer fails.
    UnknownIsFailing,
    /// 9: a list that cannot be had is empty.
    UnknownIsAbsent,
    /// 10: a step takes effect before its start is written down.
    EffectBeforeItsStart,
    /// 10: what could not be written counts as written.
    UnwrittenCounts,
    /// 10: a request is in force before its content is kept.
    RequestBeforeItsContent,
    /// 11: values of `.env` are logged.
    ValueInTheLog,
    /// 11: a label is made of values.
    ValueInALabel,
    /// 11: why an operation was begun is said with values.
    ValueInAReason,
    /// 12: whoever has a name that is needed makes room.
    NameIsReasonEnough,
    /// 12: a container of a service that nobody told us about is one too many.
    OrphanIsSurplus,
    /// 12: a stack that was taken out of desired.toml is still healed.
    LetGoIsTouched,
    /// 13: what failed is tried again at once, for ever.
    NoPatience,
    /// 13: a hold whose reason is gone goes on.
    HoldOutlivesItsReason,
    /// 13: a hold says nothing.
    HoldSaysNothing,
    /// 14: the step that was in flight at a crash counts as done.
    InFlightCountsAsDone,
    /// 14: the undo that was in flight at a crash counts as done.
    UndoCountsAsDone,
    /// 15: a restart of the agent forgets the failure.
    RestartForgetsTheFailure,
    /// 15: the failure is counted by the wall clock.
    WallClockCounts,
    /// 15: time in which nothing was observed counts.
    SilenceCounts,
}

/// Whether this rule is broken on purpose in this thread.
#[cfg(not(feature = "seeded-bugs"))]
#[inline]
pub const fn is(_: Bug) -> bool {
    false
}

/// Whether this rule is broken on purpose in this thread.
#[cfg(feature = "seeded-bugs")]
pub fn is(bug: Bug) -> bool {
    seeded::SEEDED.get() == Some(bug)
}

#[cfg(feature = "seeded-bugs")]
pub use seeded::{Seeded, seed};

#[cfg(feature = "seeded-bugs")]
mod seeded {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        pub(super) static SEEDED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// A rule stays broken in this thread until this is dropped.
    #[derive(Debug)]
    #[must_use]
    pub struct Seeded(());

    /// Breaks one rule in this thread.
    pub fn seed(bug: Bug) -> Seeded {
        SEEDED.set(Some(bug));
        Seeded(())
    }

    impl Drop for Seeded {
        fn drop(&mut self) {
            SEEDED.set(None);
        }
    }
}
