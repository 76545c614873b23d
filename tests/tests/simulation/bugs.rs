//! The proof of the laws: for each of them the product is broken on purpose, where the rule is kept, and drawn
//! stories are run until that law says so. A law that no bug can break proves nothing.
//!
//! All of them anew, as a table: `SIM_BUGS=1 cargo test -p steadfast-tests --test simulation`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;

use libtest_mimic::{Failed, Trial};
use state::bug::{self, Bug};

use crate::story;

/// One rule, the invariant that falls with it, and the first seed that showed it.
struct Proof {
    bug: Bug,
    invariant: u32,
    /// What the product does then.
    breaks: &'static str,
    seed: u64,
}

/// So many stories are told at most until a bug is caught.
const MOST: u64 = 1500;

const fn proof(bug: Bug, invariant: u32, seed: u64, breaks: &'static str) -> Proof {
    Proof {
        bug,
        invariant,
        breaks,
        seed,
    }
}

/// All of them, by invariant.
const PROOFS: [Proof; 63] = [
    proof(
        Bug::OwnerIsNotAsked,
        1,
        0,
        "nobody asks whose stack it is before it is touched",
    ),
    proof(
        Bug::SecondOperation,
        1,
        0,
        "an operation is begun while another one is open",
    ),
    proof(
        Bug::CopyIsLeftOut,
        2,
        3,
        "the schema is moved without a copy, and without a backup",
    ),
    proof(
        Bug::BackupUnasked,
        2,
        63,
        "a backup is gone back to without a question",
    ),
    proof(
        Bug::DowngradeByTheTarget,
        3,
        63,
        "a schema is taken back by the image that is gone to",
    ),
    proof(
        Bug::TagIsFollowed,
        4,
        378,
        "a tag that moves is followed, and nobody has asked for it",
    ),
    proof(
        Bug::OwnFileIsARequest,
        4,
        13,
        "a file that the agent has put back counts as the operator's",
    ),
    proof(
        Bug::QuarantineIsNotAsked,
        4,
        3,
        "a request is not looked up in the quarantine",
    ),
    proof(
        Bug::AnyEditLiftsQuarantine,
        4,
        0,
        "a release is blamed as a whole, so that any edit makes it another one",
    ),
    proof(
        Bug::RequestEmptiesQuarantine,
        4,
        0,
        "a new request empties the quarantine",
    ),
    proof(
        Bug::TargetWasNeverProven,
        5,
        256,
        "what was superseded on trial counts as good",
    ),
    proof(
        Bug::SchemaIsNotAsked,
        5,
        2,
        "nobody looks whether a target's schema fits",
    ),
    proof(
        Bug::UndeclaredStays,
        5,
        63,
        "a rollback leaves a schema of which nobody has declared that it fits",
    ),
    proof(
        Bug::OneWayIsNotAsked,
        5,
        107,
        "nobody asks whether anything takes a revision back",
    ),
    proof(
        Bug::ProvenAtFirstSight,
        5,
        0,
        "the first sign of health proves a generation",
    ),
    proof(
        Bug::TargetIsNotThere,
        5,
        4,
        "nobody looks whether a target's images are there",
    ),
    proof(
        Bug::Cascade,
        6,
        19,
        "what was restored and fails too is left for an older one",
    ),
    proof(Bug::BudgetIsNotCounted, 6, 16, "rollbacks are not counted"),
    proof(
        Bug::RollbackMendsAll,
        7,
        45,
        "nobody asks whether a rollback would mend anything",
    ),
    proof(
        Bug::EngineAwayIsBlamed,
        7,
        0,
        "an engine that is away fails the step",
    ),
    proof(
        Bug::RemovalIsBlamed,
        7,
        55,
        "a container that somebody removed fails the release",
    ),
    proof(
        Bug::UntouchedIsBlamed,
        7,
        32,
        "what the plan leaves as it is fails the release",
    ),
    proof(
        Bug::OldGoesFirst,
        8,
        0,
        "the new containers are not watched before the old ones go",
    ),
    proof(
        Bug::RowsStayBehind,
        8,
        0,
        "anonymous volumes are not carried over",
    ),
    proof(
        Bug::FileIsNotKept,
        8,
        59,
        "a file is replaced before its content is kept",
    ),
    // The seed is where the search begins.
    proof(
        Bug::CheckIsNotAsked,
        8,
        121,
        "nobody asks the check of a file before it is used",
    ),
    proof(
        Bug::EditIsOverwritten,
        8,
        15,
        "a file that somebody is just editing is replaced",
    ),
    proof(
        Bug::FilesStayBehind,
        8,
        20,
        "what goes back leaves the files as the bad release has them",
    ),
    proof(
        Bug::NewFilesStay,
        8,
        389,
        "a file that a release has brought stays when it is left",
    ),
    proof(
        Bug::ReaderIsNotTold,
        8,
        13,
        "a container that reads a file again by a restart is not restarted",
    ),
    proof(
        Bug::SignalIsNotSent,
        8,
        2709,
        "a container that reads a file again by a signal gets none",
    ),
    proof(
        Bug::TwoWriters,
        8,
        3,
        "every replacement starts before the old one stops",
    ),
    proof(
        Bug::DataChangeIsNotAsked,
        8,
        8,
        "another image gets at data without a question",
    ),
    proof(
        Bug::DataChangeIsTakenBack,
        8,
        8,
        "a failed deploy gives data back that the new image has written to",
    ),
    proof(
        Bug::HalfMigrationCounts,
        8,
        23,
        "a migration that failed half-way counts as one that did nothing",
    ),
    proof(
        Bug::UnseenIsUndone,
        8,
        61879,
        "a migration of which nobody could see what it has left counts as one that did nothing",
    ),
    proof(
        Bug::BuiltUponWhatFailed,
        8,
        347,
        "what is tried when a downgrade has failed is begun on what that has left",
    ),
    proof(
        Bug::RowsAreNotCompared,
        8,
        3123,
        "what a failed way back has changed in rows counts as nothing, where the schema is as it was",
    ),
    proof(
        Bug::DeclaredIsTakenBack,
        8,
        419,
        "what was declared to stay is taken back",
    ),
    proof(
        Bug::OldDatabaseGoes,
        8,
        3,
        "the database that a restored one takes the place of is dropped",
    ),
    proof(
        Bug::CopyGoesUnsaved,
        8,
        63,
        "the copy that a rollback has left is dropped before there is a backup of it",
    ),
    proof(
        Bug::CopyGoesUnread,
        8,
        63,
        "the copy that a rollback has left is dropped before its rows are kept for putting them back",
    ),
    proof(
        Bug::LossIsNotAsked,
        8,
        47,
        "what an integrity check says after a migration is not listened to",
    ),
    proof(
        Bug::RowsStayOut,
        8,
        407,
        "a release that brings a column back does not get what was in it",
    ),
    proof(
        Bug::UnknownIsFailing,
        9,
        0,
        "a probe without an answer has failed",
    ),
    proof(
        Bug::UnknownIsAbsent,
        9,
        0,
        "a list that cannot be had is an empty one",
    ),
    proof(
        Bug::EffectBeforeItsStart,
        10,
        0,
        "a step takes effect before its start is written down",
    ),
    proof(
        Bug::RequestBeforeItsContent,
        10,
        0,
        "a request is in force before its content is kept",
    ),
    proof(
        Bug::UnwrittenCounts,
        10,
        76,
        "what could not be written counts as written",
    ),
    proof(Bug::ValueInTheLog, 11, 0, "values of .env are logged"),
    proof(
        Bug::ValueInALabel,
        11,
        0,
        "the label of a container is made of values",
    ),
    proof(
        Bug::ValueInAReason,
        11,
        0,
        "the ledger says with values why an operation was begun",
    ),
    proof(
        Bug::NameIsReasonEnough,
        12,
        0,
        "whoever has a name that is needed is removed",
    ),
    proof(
        Bug::OrphanIsSurplus,
        12,
        0,
        "a container of a service that is in no file is one too many",
    ),
    proof(
        Bug::LetGoIsTouched,
        12,
        73,
        "a stack that was taken out of desired.toml is healed and deployed",
    ),
    proof(Bug::NoPatience, 13, 1, "what failed is tried again at once"),
    proof(Bug::HoldSaysNothing, 13, 3, "a hold gives no reason"),
    proof(
        Bug::HoldOutlivesItsReason,
        13,
        0,
        "a hold goes on when its reason is gone",
    ),
    proof(
        Bug::InFlightCountsAsDone,
        14,
        12,
        "the step that was in flight at a crash counts as done",
    ),
    proof(
        Bug::UndoCountsAsDone,
        14,
        3,
        "the undo that was in flight at a crash counts as done",
    ),
    proof(
        Bug::RestartForgetsTheFailure,
        15,
        0,
        "a restart of the agent forgets how long it has been failing",
    ),
    proof(
        Bug::WallClockCounts,
        15,
        40,
        "the failure is counted by the wall clock",
    ),
    proof(
        Bug::SilenceCounts,
        15,
        4,
        "time in which nothing was observed counts",
    ),
];

/// What a bug was caught by.
struct Caught {
    seed: u64,
    /// How many stories were told.
    runs: u64,
    /// What the law said.
    words: String,
}

/// Breaks the rule of this name, for a replay.
pub(crate) fn seeded(name: &str) -> bug::Seeded {
    let known = PROOFS.iter().find(|proof| format!("{:?}", proof.bug) == name);
    bug::seed(known.unwrap_or_else(|| panic!("there is no bug {name}")).bug)
}

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |proof: &'static Proof| {
        Trial::test(format!("seeded_{:?}", proof.bug), move || {
            let first = std::iter::once(proof.seed);
            let (caught, others) = search(proof, first.chain(0..MOST));
            match caught {
                Some(caught) if caught.seed == proof.seed => Ok(()),
                Some(caught) => {
                    // The dice have moved; the law still sees it.
                    let Caught { seed, runs, words } = caught;
                    eprintln!("{:?}: seed {seed} now, after {runs} runs: {words}", proof.bug);
                    Ok(())
                }
                None => Err(Failed::from(format!(
                    "{MOST} stories with {:?}, and invariant {} was never seen to be broken; others: {others:#?}",
                    proof.bug, proof.invariant
                ))),
            }
        })
    };
    PROOFS.iter().map(trial).collect()
}

/// Tells stories with the bug in them until its own law is the first one that fires; with the laws that fired
/// first in other stories.
fn search(proof: &Proof, seeds: impl Iterator<Item = u64>) -> (Option<Caught>, BTreeMap<String, u64>) {
    let mut others = BTreeMap::new();
    for (run, seed) in (1..).zip(seeds) {
        let broken = {
            let _seeded = bug::seed(proof.bug);
            story::run(seed).broken
        };
        let Some(words) = broken.into_iter().next() else {
            continue;
        };
        let (law, said) = words.split_once(": ").unwrap_or((&words, ""));
        if law == format!("invariant {}", proof.invariant) {
            let words = said.to_owned();
            return (
                Some(Caught {
                    seed,
                    runs: run,
                    words,
                }),
                others,
            );
        }
        others.entry(law.to_owned()).or_insert(seed);
    }
    (None, others)
}

/// Searches for all of them anew and prints the table of `docs/reference/proof.md`. `SIM_BUGS=Cascade`: for one.
pub(crate) fn table(only: &str) -> ExitCode {
    let wanted = |proof: &&Proof| only == "1" || format!("{:?}", proof.bug) == only;
    let proofs: Vec<&Proof> = PROOFS.iter().filter(wanted).collect();
    let lines: Mutex<BTreeMap<usize, Result<String, String>>> = Mutex::default();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        while let Some((at, proof)) = {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            proofs.get(at).map(|proof| (at, proof))
        } {
            let line = line_of(proof);
            eprintln!("{line:?}");
            lines.lock().expect("no trial panics").insert(at, line);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    println!("| invariant | bug | what it does | the law says | seed | runs |\n|---|---|---|---|---|---|");
    let lines = lines.into_inner().expect("no trial panics");
    for line in lines.values() {
        println!("{}", line.as_ref().unwrap_or_else(|missed| missed));
    }
    if lines.values().all(Result::is_ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn line_of(proof: &Proof) -> Result<String, String> {
    let Proof {
        bug,
        invariant,
        breaks,
        ..
    } = proof;
    // Whoever searches has time.
    let most = crate::number("SIM_RUNS").unwrap_or(MOST);
    let (caught, others) = search(proof, 0..most);
    let also: Vec<String> = others
        .into_iter()
        .map(|(law, seed)| format!("{law} in seed {seed}"))
        .collect();
    let Some(Caught { seed, runs, words }) = caught else {
        return Err(format!(
            "| {invariant} | `{bug:?}` | {breaks} | NOT CAUGHT; {also:?} | – | {most} |"
        ));
    };
    let words: String = words.replace('|', "/").chars().take(140).collect();
    let also = if also.is_empty() {
        String::new()
    } else {
        format!(" (before: {})", also.join(", "))
    };
    Ok(format!(
        "| {invariant} | `{bug:?}` | {breaks} | {words}{also} | {seed} | {runs} |"
    ))
}
