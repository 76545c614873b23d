//! Which commit is meant: of what runs, of what failed, of what was proven. From the record alone.

use std::fmt;

use axum::http::StatusCode;
use state::name::{Commit, Tag};
use state::record::{StackRecord, Standing};
use state::release::{Generation, GenerationNumber};

use super::super::failure::Failure;

/// A commit, and what people know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) tag: Tag,
    pub(super) commit: Commit,
    /// The newest generation that was made of it.
    pub(super) generation: Option<GenerationNumber>,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            Some(number) => write!(f, "{} (generation {number})", self.tag),
            None => write!(f, "{}", self.tag),
        }
    }
}

impl Point {
    /// What a tag names.
    pub(super) fn of(record: &StackRecord, tag: &Tag, commit: Commit) -> Self {
        let mut newest = record.generations.iter().rev();
        let generation = newest.find(|g| g.release.commits.get(tag) == Some(&commit));
        Self {
            generation: generation.map(|g| g.number),
            tag: tag.clone(),
            commit,
        }
    }
}

/// What a generation was made of.
fn made(generation: &Generation) -> Option<Point> {
    let tag = generation.release.tag.as_ref()?;
    let commit = generation.release.commits.get(tag)?;
    Some(Point {
        tag: tag.clone(),
        commit: commit.clone(),
        generation: Some(generation.number),
    })
}

/// What runs.
pub(super) fn running(record: &StackRecord) -> Result<Point, Failure> {
    let current = record.current();
    current.and_then(made).ok_or_else(|| {
        let error = match current {
            Some(generation) => format!("generation {}, which runs, is of no commit", generation.number),
            None => String::from("nothing runs"),
        };
        refused(error).way_out(format!(
            "name the tag: `steadfast release branch {} TAG`",
            record.stack
        ))
    })
}

/// What was asked for: as it failed, else as it is to be.
pub(super) fn asked(record: &StackRecord) -> Result<Point, Failure> {
    if let Standing::Quarantined(number) = record.standing
        && let Some(failed) = record.generation(number).and_then(made)
    {
        return Ok(failed);
    }
    let Some(request) = &record.request else {
        return Err(refused(String::from("nothing was asked for yet")));
    };
    let tag = &request.desired.tag;
    let commit = request.commits.get(tag).cloned();
    commit
        .map(|commit| Point::of(record, tag, commit))
        .ok_or_else(|| {
            let error = format!("{tag}, which is asked for, was not fetched from the repository yet");
            refused(error).way_out(format!(
                "`steadfast status {}` says what it waits for",
                record.stack
            ))
        })
}

/// The newest release that was proven good, else what runs.
pub(super) fn proven(record: &StackRecord) -> Result<Point, Failure> {
    let good = record.good().find_map(made);
    good.map_or_else(|| running(record), Ok).map_err(|_| {
        let error = "no release that was proven good, nor the one that runs, is of a commit";
        refused(String::from(error))
            .way_out("deploy a tag of the repository first: `steadfast pin STACK TAG`")
    })
}

fn refused(error: String) -> Failure {
    Failure::new(StatusCode::CONFLICT, 5, error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::view::sample;

    fn commit(digit: char) -> Commit {
        digit.to_string().repeat(40).parse().unwrap()
    }

    /// A situation in which every generation is of a commit: `1…` of the first, `2…` of the second.
    fn record(situation: &str) -> StackRecord {
        let mut record = sample::snapshot(situation).record;
        for (generation, digit) in record.generations.iter_mut().zip('1'..='9') {
            let mut made: Generation = (**generation).clone();
            let tag = made.release.tag.clone().unwrap();
            made.release.commits = [(tag, commit(digit))].into();
            *generation = made.into();
        }
        record
    }

    #[track_caller]
    fn check(found: Result<Point, Failure>, expected: &str) {
        let shown = match found {
            Ok(point) => format!("{point} {}", &point.commit.as_str()[..1]),
            Err(Failure(_, body)) => format!("{}: {}", body.code, body.error),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn after_a_rollback_the_hotfix_is_of_what_failed() {
        let record = record("rolled back");
        check(running(&record), "v1.5.0 (generation 2) 2");
        check(asked(&record), "v1.6.0 (generation 3) 3");
        check(proven(&record), "v1.5.0 (generation 2) 2");
    }

    #[test]
    fn while_all_is_well_it_is_of_what_is_asked_for() {
        let mut record = record("steady");
        check(
            asked(&record),
            "5: v1.5.0, which is asked for, was not fetched from the repository yet",
        );
        record.request.as_mut().unwrap().commits = [("v1.5.0".parse().unwrap(), commit('2'))].into();
        check(asked(&record), "v1.5.0 (generation 2) 2");
        // A tag that has moved since: no generation is of it.
        record.request.as_mut().unwrap().commits = [("v1.5.0".parse().unwrap(), commit('9'))].into();
        check(asked(&record), "v1.5.0 9");
    }

    #[test]
    fn what_is_of_no_commit_has_no_branch() {
        let record = sample::snapshot("steady").record;
        check(running(&record), "5: generation 2, which runs, is of no commit");
        check(
            proven(&record),
            "5: no release that was proven good, nor the one that runs, is of a commit",
        );
        check(
            running(&StackRecord::new("shop".parse().unwrap())),
            "5: nothing runs",
        );
    }
}
