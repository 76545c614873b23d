//! What is shown of the releases that a repository has, and what is known of each on this host.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use state::name::{Commit, Tag};
use state::record::{StackRecord, Standing};
use state::release::{Generation, GenerationNumber, Verdict};

use super::FORMAT;
use crate::source::TagInfo;

/// Answer to `release list --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReleaseList {
    /// [`FORMAT`].
    pub format: u32,
    /// The stack.
    pub stack: String,
    /// Which tags are releases, as the settings say.
    pub pattern: String,
    /// Why the repository could not be asked, so that all of this is from before; none: it was.
    pub stale: Option<String>,
    /// The tags, the newest version first.
    pub tags: Vec<TagRow>,
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TagRow {
    /// The tag.
    pub tag: String,
    /// The first twelve digits of the commit that it names now.
    pub commit: String,
    /// When that was committed.
    pub at: Timestamp,
    /// The first line of its message.
    pub subject: String,
    /// What is known of this commit by this tag.
    pub known: Vec<KnownRow>,
    /// What the tag was before, where that still counts for something.
    pub moved: Option<MovedTag>,
}

/// Something that is known of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KnownRow {
    /// `asked_for`, `runs`, `built`, `good`, `bad` or `quarantined`.
    pub what: String,
    /// The newest generation of which that is so; none where there is no generation of it yet.
    pub generation: Option<u64>,
}

/// A tag that names another commit than it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MovedTag {
    /// The first twelve digits of the commit that it was.
    pub commit: String,
    /// The newest generation that was made of that.
    pub generation: Option<u64>,
    /// Whether what is asked for is still that commit, so that a `retry` applies the other one.
    pub in_force: bool,
}

impl ReleaseList {
    /// `tags` as the repository has them; `stale`: why they are from before.
    pub fn of(record: &StackRecord, pattern: &str, tags: &[TagInfo], stale: Option<String>) -> Self {
        Self {
            format: FORMAT,
            stack: record.stack.to_string(),
            pattern: pattern.to_owned(),
            stale,
            tags: tags.iter().map(|tag| TagRow::of(record, tag)).collect(),
        }
    }
}

impl TagRow {
    fn of(record: &StackRecord, tag: &TagInfo) -> Self {
        Self {
            tag: tag.name.to_string(),
            commit: tag.commit.short().to_owned(),
            at: Timestamp::from_millisecond(tag.at).unwrap_or(Timestamp::UNIX_EPOCH),
            subject: tag.subject.clone(),
            known: known(record, &tag.name, &tag.commit),
            moved: MovedTag::of(record, &tag.name, &tag.commit),
        }
    }
}

/// The newest generation that was made of this commit by this tag, and is so.
fn newest(
    record: &StackRecord,
    (tag, commit): (&Tag, &Commit),
    is: impl Fn(&Generation) -> bool,
) -> Option<GenerationNumber> {
    let mut made = record.generations.iter().rev();
    let found = made.find(|g| g.release.commits.get(tag) == Some(commit) && is(g));
    found.map(|g| g.number)
}

fn is_asked_for(record: &StackRecord, tag: &Tag) -> bool {
    let request = record.request.as_ref();
    request.is_some_and(|request| request.desired.tags().contains(tag))
}

/// The commit that a tag of the request in force was resolved to.
fn commit_asked_for<'r>(record: &'r StackRecord, tag: &Tag) -> Option<&'r Commit> {
    record.request.as_ref()?.commits.get(tag)
}

fn known(record: &StackRecord, tag: &Tag, commit: &Commit) -> Vec<KnownRow> {
    let newest = |is: &dyn Fn(&Generation) -> bool| newest(record, (tag, commit), is);
    let row = |what: &str, generation: Option<GenerationNumber>| KnownRow {
        what: what.into(),
        generation: generation.map(|n| n.0),
    };
    // What was not fetched yet will be what the tag names.
    let is_this = commit_asked_for(record, tag).is_none_or(|of| of == commit);
    let asked = (is_asked_for(record, tag) && is_this).then(|| {
        let became = match record.standing {
            Standing::Pending => None,
            Standing::Applied(number) | Standing::Quarantined(number) => Some(number),
        };
        row(
            "asked_for",
            became.filter(|number| newest(&|g| g.number == *number).is_some()),
        )
    });
    let quarantined = |g: &Generation| record.quarantine.iter().any(|q| q.generation == g.number);
    let by_generation = [
        ("runs", newest(&|g| record.current == Some(g.number))),
        (
            "built",
            newest(&|g| matches!(g.verdict, Verdict::Trial | Verdict::Superseded)),
        ),
        ("good", newest(&|g| g.verdict == Verdict::Good)),
        ("bad", newest(&|g| g.verdict == Verdict::Bad)),
        ("quarantined", newest(&quarantined)),
    ];
    let found = by_generation
        .into_iter()
        .filter_map(|(what, number)| Some(row(what, Some(number?))));
    asked.into_iter().chain(found).collect()
}

impl MovedTag {
    /// Whether `tag`, which names `commit` now, was another one for the request in force, or for a generation that is
    /// kept.
    pub fn of(record: &StackRecord, tag: &Tag, commit: &Commit) -> Option<Self> {
        let asked = commit_asked_for(record, tag).filter(|_| is_asked_for(record, tag));
        let in_force = asked.is_some_and(|of| of != commit);
        let mut made = record.generations.iter().rev();
        let made = made.find_map(|g| g.release.commits.get(tag).filter(|of| *of != commit));
        let before = asked.filter(|_| in_force).or(made)?;
        Some(Self {
            commit: before.short().to_owned(),
            generation: newest(record, (tag, before), |_| true).map(|n| n.0),
            in_force,
        })
    }

    /// In words, with what can be done about it.
    pub fn words(&self, stack: &str) -> String {
        let when = match self.generation {
            Some(number) => format!("when generation {number} was made"),
            None => String::from("when it was asked for"),
        };
        let then = if self.in_force {
            format!("; `steadfast retry {stack}` applies it")
        } else {
            String::new()
        };
        format!("moved: it was {} {when}{then}", self.commit)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::sample;
    use super::*;

    fn commit(digit: char) -> Commit {
        digit.to_string().repeat(40).parse().unwrap()
    }

    /// A situation in which these generations are of these commits, by their own tags.
    fn record(situation: &str, commits: &[(u64, char)]) -> StackRecord {
        let mut record = sample::snapshot(situation).record;
        for generation in &mut record.generations {
            let of = commits.iter().find(|(number, _)| generation.number.0 == *number);
            let Some((_, digit)) = of else { continue };
            let mut made: Generation = (**generation).clone();
            let tag = made.release.tag.clone().unwrap();
            made.release.commits = [(tag, commit(*digit))].into();
            *generation = made.into();
        }
        record
    }

    /// What is said of `tag` when it names that commit now.
    #[track_caller]
    fn check(record: &StackRecord, tag: &str, digit: char, expected: &str) {
        let tag: Tag = tag.parse().unwrap();
        let known = known(record, &tag, &commit(digit)).into_iter();
        let known = known.map(|row| match row.generation {
            Some(number) => format!("{} {number}", row.what),
            None => row.what,
        });
        let moved = MovedTag::of(record, &tag, &commit(digit)).map(|moved| moved.words("shop"));
        let said: Vec<String> = known.chain(moved).collect();
        assert_eq!(said.join(", "), expected, "{tag}");
    }

    #[test]
    fn what_is_known_comes_from_the_generations_of_that_commit() {
        let record = record("rolled back", &[(1, '1'), (2, '2'), (3, '3')]);
        check(&record, "v1.4.0", '1', "good 1");
        check(&record, "v1.5.0", '2', "runs 2, good 2");
        check(&record, "v1.6.0", '3', "asked_for 3, bad 3, quarantined 3");
        check(&record, "v1.7.0", '7', "");
    }

    #[test]
    fn what_is_on_its_way_is_asked_for_and_built() {
        let record = record("trial", &[(3, '3')]);
        check(&record, "v1.6.0", '3', "asked_for 3, runs 3, built 3");
        let mut record = sample::snapshot("not deployed").record;
        record.standing = Standing::Pending;
        record.generations.clear();
        record.quarantine.clear();
        check(&record, "v1.6.0", '3', "asked_for");
    }

    #[test]
    fn a_tag_that_has_moved_is_said_to_have() {
        let mut record = record("steady", &[(1, '1'), (2, '2')]);
        record.request.as_mut().unwrap().commits = [("v1.5.0".parse().unwrap(), commit('2'))].into();
        check(&record, "v1.5.0", '2', "asked_for 2, runs 2, good 2");
        check(
            &record,
            "v1.5.0",
            '8',
            "moved: it was 222222222222 when generation 2 was made; `steadfast retry shop` applies it",
        );
        // An older generation is not what anybody asks for: nothing applies it.
        check(
            &record,
            "v1.4.0",
            '8',
            "moved: it was 111111111111 when generation 1 was made",
        );
        // It has moved after it was asked for, and before anything was made of it.
        record.request.as_mut().unwrap().commits = [("v1.5.0".parse().unwrap(), commit('5'))].into();
        check(
            &record,
            "v1.5.0",
            '8',
            "moved: it was 555555555555 when it was asked for; `steadfast retry shop` applies it",
        );
    }
}
