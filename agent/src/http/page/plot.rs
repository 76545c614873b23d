//! What a probe has answered lately, as a small plot: a bar for each answer, the newest at the right. A pass is as high as it was
//! slow, but never as high as a fail, which has all of the height; where nothing could be said there is a stub.

use jiff::Timestamp;
use maud::{Markup, html};

use crate::cli::Reader;
use crate::view::{AnswerRow, RecentAnswers};

/// So many bars have room.
const BARS: usize = 120;
/// A bar and the space beside it.
const STEP: usize = 4;
/// The height of the whole, of a fail, and of the slowest pass.
const HEIGHT: usize = 44;
const FAIL: usize = 40;
const SLOWEST: u64 = 24;
const FASTEST: u64 = 4;
const STUB: usize = 3;

/// The plot, with its times below it.
pub(super) fn plot(recent: &RecentAnswers, reader: &Reader) -> Markup {
    let (Some(first), Some(last)) = (recent.answers.first(), recent.answers.last()) else {
        return html! { p class="note" { "no answer yet" } };
    };
    let paths = Paths::of(recent);
    let width = BARS * STEP;
    html! {
        svg class="plot" role="img" aria-label=(in_words(recent, reader)) viewBox={ "0 0 " (width) " " (HEIGHT) }
            preserveAspectRatio="none" {
            @for (class, path) in [("p", &paths.pass), ("f", &paths.fail), ("u", &paths.unknown), ("t", &paths.turn), ("g", &paths.gap)] {
                @if !path.is_empty() { path class=(class) d=(path) {} }
            }
        }
        p class="axis" {
            span { (since(first.at, reader)) }
            @if let Some(middle) = turn(recent) { span { (middle) } }
            span { (reader.at(last.at)) }
        }
    }
}

/// What it shows, for who does not see it: also the numbers that a plot has no room for.
pub(super) fn in_words(recent: &RecentAnswers, reader: &Reader) -> String {
    let count = |said: &str| recent.answers.iter().filter(|answer| answer.said == said).count();
    let since = recent.answers.first().map(|answer| reader.at(answer.at));
    let mut text = format!(
        "{} answers since {}: {} passed, {} failed",
        recent.answers.len(),
        since.unwrap_or_default(),
        count("pass"),
        count("fail")
    );
    if count("unknown") > 0 {
        text.push_str(&format!(", {} said nothing", count("unknown")));
    }
    if let Some(took) = latency(recent) {
        text.push_str(&format!("; {took}"));
    }
    text
}

/// `12 ms, at most 40 ms`: the middle one of the passes, and the slowest.
pub(super) fn latency(recent: &RecentAnswers) -> Option<String> {
    let (middle, most) = took(recent)?;
    Some(format!("{middle} ms, at most {most} ms"))
}

fn took(recent: &RecentAnswers) -> Option<(u32, u32)> {
    let passes = recent.answers.iter().filter(|answer| answer.said == "pass");
    let mut took: Vec<u32> = passes.map(|answer| answer.milliseconds).collect();
    took.sort_unstable();
    Some((*took.get(took.len() / 2)?, *took.last()?))
}

/// `13:40` is what somebody looks for in a log, `20m ago` what they want to know.
fn since(first: Timestamp, reader: &Reader) -> String {
    format!("{} · {}", reader.at(first), reader.ago(first))
}

/// Which generation the answers are about, where that has changed.
fn turn(recent: &RecentAnswers) -> Option<String> {
    let generations: Vec<u32> = recent.answers.iter().map(|answer| answer.generation).collect();
    let turn = generations.windows(2).rev().find(|two| two[0] != two[1])?;
    Some(format!("generation {} │ {}", turn[0], turn[1]))
}

#[derive(Debug, Default)]
struct Paths {
    pass: String,
    fail: String,
    unknown: String,
    /// Another generation.
    turn: String,
    /// Nobody has asked.
    gap: String,
}

enum Column<'a> {
    Answer(&'a AnswerRow),
    Turn,
    Gap,
}

impl Paths {
    fn of(recent: &RecentAnswers) -> Self {
        let columns = columns(recent);
        // By the middle one: a single slow answer would make all others look like nothing.
        let full = took(recent).map_or(1, |(middle, _)| u64::from(middle).max(1) * 3);
        let mut paths = Self::default();
        let left = BARS - columns.len();
        for (i, column) in columns.iter().enumerate() {
            let x = (left + i) * STEP + STEP / 2;
            let (path, height) = match column {
                Column::Answer(answer) => match answer.said.as_str() {
                    "pass" => {
                        let more = u64::from(answer.milliseconds).min(full) * (SLOWEST - FASTEST) / full;
                        (&mut paths.pass, usize::try_from(FASTEST + more).unwrap_or(FAIL))
                    }
                    "fail" => (&mut paths.fail, FAIL),
                    _ => (&mut paths.unknown, STUB),
                },
                Column::Turn => (&mut paths.turn, HEIGHT),
                Column::Gap => (&mut paths.gap, HEIGHT),
            };
            path.push_str(&format!("M{x} {HEIGHT}v-{height}"));
        }
        paths
    }
}

/// The newest, as many as there is room for, with what came between.
fn columns(recent: &RecentAnswers) -> Vec<Column<'_>> {
    let longest = 3 * i64::try_from(recent.interval_seconds.max(1)).unwrap_or(i64::MAX / 3);
    let mut columns = Vec::new();
    let mut before: Option<&AnswerRow> = None;
    for answer in &recent.answers {
        if let Some(before) = before {
            if answer.at.as_second() - before.at.as_second() > longest {
                columns.push(Column::Gap);
            }
            if answer.generation != before.generation {
                columns.push(Column::Turn);
            }
        }
        columns.push(Column::Answer(answer));
        before = Some(answer);
    }
    columns.split_off(columns.len().saturating_sub(BARS))
}
