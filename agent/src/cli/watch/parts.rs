//! The parts of the screen, each as the lines that it would like to have. No part knows how much room there is; what is said
//! is what `status` says.

mod gauge;
mod operation;

use anstyle::{AnsiColor, Effects};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};

use super::super::output::{BAD, BOLD, DIM, GOOD, WARN};
use super::super::problems;
use super::super::reader::{Reader, span};
use super::super::status::{self, Row};
use super::super::text::{hanging, labelled, printable, tail};
use super::screen::Screen;
use crate::view::{LogLine, Status};

pub(super) use gauge::gauge;
pub(super) use operation::operation;

/// Where the text of a labelled line begins.
const INDENT: usize = 13;

pub(super) type Lines = Vec<Line<'static>>;

/// Our styles, in the words of the library that draws.
pub(super) fn style(of: anstyle::Style) -> Style {
    let mut style = Style::new();
    if let Some(anstyle::Color::Ansi(colour)) = of.get_fg_color() {
        style = style.fg(match colour {
            AnsiColor::Green => Color::Green,
            AnsiColor::Cyan => Color::Cyan,
            AnsiColor::Yellow => Color::Yellow,
            AnsiColor::Red => Color::Red,
            _ => Color::Reset,
        });
    }
    if of.get_effects().contains(Effects::BOLD) {
        style = style.bold();
    }
    if of.get_effects().contains(Effects::DIMMED) {
        style = style.dim();
    }
    style
}

fn painted(text: impl Into<String>, of: anstyle::Style) -> Span<'static> {
    Span::styled(text.into(), style(of))
}

fn plain(text: &str) -> Lines {
    text.lines().map(|line| Line::raw(line.to_owned())).collect()
}

/// At most so many columns; what is cut off is seen to be.
fn cut(text: &str, width: usize) -> String {
    let text = printable(text);
    if text.chars().count() <= width {
        return text;
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// The first line: who this is, when, and whether it is still so.
pub(super) fn title(screen: &Screen, width: usize) -> Line<'static> {
    let reader = &screen.reader;
    let clock = reader.time(reader.now);
    let (left, of) = match &screen.lost {
        Some(lost) => {
            let (since, long) = (reader.time(lost.since), span(reader.seconds_since(lost.since)));
            (
                format!("! no answer since {since} ({long}): {}", printable(&lost.why)),
                BAD,
            )
        }
        None if screen.statuses.len() > 1 => (format!("steadfast  {} stacks", screen.statuses.len()), BOLD),
        None => ("steadfast".to_owned(), BOLD),
    };
    let left = cut(&left, width.saturating_sub(clock.len() + 2));
    let room = width.saturating_sub(left.chars().count() + clock.len());
    Line::from(vec![
        painted(left, of),
        Span::raw(" ".repeat(room)),
        painted(clock, DIM),
    ])
}

/// Every stack in a line, where there are several.
pub(super) fn stacks(screen: &Screen, width: usize) -> Lines {
    if screen.statuses.len() < 2 {
        return Vec::new();
    }
    let names = screen.statuses.iter().map(|status| status.stack.chars().count());
    let column = names.max().unwrap_or(0).min(width / 3);
    let line = |(place, status): (usize, &Status)| {
        let (tone, words) = status::words(&screen.now(status), &screen.reader);
        let chosen = place == screen.place();
        let mark = if chosen { "> " } else { "  " };
        let name = format!("{mark}{:column$}  ", cut(&status.stack, column));
        let words = cut(&words, width.saturating_sub(column + 4));
        let line = Line::from(vec![painted(name, BOLD), painted(words, tone.style())]);
        if chosen {
            line.patch_style(Style::new().reversed())
        } else {
            line
        }
    };
    screen.statuses.iter().enumerate().map(line).collect()
}

/// How the selected stack is, and what is wrong with the files.
pub(super) fn headline(status: &Status, reader: &Reader) -> Lines {
    let (tone, words) = status::words(status, reader);
    let stack = format!("{}  ", printable(&status.stack));
    let mut lines = plain(&hanging(&stack, &words, INDENT, reader.width));
    for line in &mut lines {
        *line = std::mem::take(line).patch_style(style(tone.style()));
    }
    for problem in &status.problems {
        let text = hanging("  ! ", &problems::words(problem), 4, reader.width);
        let of = if problem.gravity == "error" { BAD } else { WARN };
        lines.extend(plain(&text).into_iter().map(|line| line.patch_style(style(of))));
    }
    lines
}

/// Why it is so, what comes next, what runs, and what a person can do: what hurts stands first.
pub(super) fn facts(status: &Status, reader: &Reader) -> Lines {
    let parts = [status::why, status::ahead, status::runs_and_asked];
    let rows = parts.iter().flat_map(|part| part(status, reader));
    let commands = status::commands(status).into_iter().enumerate();
    let commands = commands.map(|(i, (command, what))| {
        let label = if i == 0 { "you can" } else { "" };
        (label.to_owned(), format!("{command}: {what}"))
    });
    rows.chain(commands)
        .flat_map(|row| labels(&row, reader.width))
        .collect()
}

fn labels((label, words): &Row, width: usize) -> Lines {
    let mut lines = plain(&labelled(label, words, width));
    if label == "failing" || label == "failed" {
        for line in &mut lines {
            *line = std::mem::take(line).patch_style(style(BAD));
        }
    }
    lines
}

/// Each container.
pub(super) fn services(status: &Status, reader: &Reader) -> Lines {
    let rows = status.services.iter().map(|service| {
        let since = service.since.map(|at| span(reader.seconds_since(at)));
        let mark = if service.fine { ("✓", GOOD) } else { ("!", BAD) };
        let cells = [
            &service.service,
            &service.state,
            &since.unwrap_or_default(),
            &service.reference,
        ];
        (mark, cells.map(ToOwned::to_owned))
    });
    table(&rows.collect::<Vec<_>>(), tail, reader.width)
}

/// Each probe.
pub(super) fn probes(status: &Status, reader: &Reader) -> Lines {
    let rows = status.probes.iter().map(|probe| {
        let mark = match probe.phase.as_str() {
            "passing" => ("✓", GOOD),
            "failing" => ("✗", BAD),
            _ => ("?", WARN),
        };
        let advisory = if probe.required { "" } else { " (advisory)" };
        let at = probe.at.map(|at| reader.ago(at));
        let last = probe.last.as_ref().map(|last| format!(": {last}"));
        let cells = [
            probe.probe.clone(),
            format!("{}{advisory}", probe.phase),
            at.unwrap_or_default(),
            format!("{}{}", probe.service, last.unwrap_or_default()),
        ];
        (mark, cells)
    });
    table(&rows.collect::<Vec<_>>(), cut, reader.width)
}

/// A mark in its colour, and the columns beside it.
type Cells = ((&'static str, anstyle::Style), [String; 4]);

/// Columns: the first gives way, and the last is `shortened` to what is left.
fn table(rows: &[Cells], shortened: fn(&str, usize) -> String, width: usize) -> Lines {
    let widest = |column: usize| {
        rows.iter()
            .map(|(_, row)| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let (first, second, third) = (widest(0).min(width / 3), widest(1), widest(2));
    let room = width.saturating_sub(4 + first + 2 + second + 2 + third + 2);
    let line = |((mark, of), row): &Cells| {
        let (name, last) = (tail(&row[0], first), shortened(&row[3], room.max(1)));
        let text = format!("{name:first$}  {:second$}  {:third$}  {last}", row[1], row[2]);
        let text = cut(&text, width.saturating_sub(4));
        Line::from(vec![painted(format!("  {mark} "), *of), Span::raw(text)])
    };
    rows.iter().map(line).collect()
}

/// What was told, the oldest first, each in as many lines as it takes.
pub(super) fn log(screen: &Screen, reader: &Reader) -> Vec<Lines> {
    if screen.log.is_empty() {
        let none = Line::styled("  nothing was told since the daemon was started", style(DIM));
        return vec![vec![none]];
    }
    screen.log.iter().map(|line| told(line, reader)).collect()
}

fn told(line: &LogLine, reader: &Reader) -> Lines {
    let (word, of) = match line.level.as_str() {
        "error" => ("error: ", BAD),
        "warning" => ("warning: ", WARN),
        _ => ("", anstyle::Style::new()),
    };
    let time = format!("  {}  ", reader.time(line.at));
    let text = hanging(
        "",
        &format!("{word}{}", line.text),
        0,
        reader.width.saturating_sub(12),
    );
    let lines = plain(&text).into_iter().enumerate().map(|(i, line)| {
        let head = if i == 0 { time.clone() } else { " ".repeat(12) };
        let mut spans = vec![painted(head, DIM)];
        spans.extend(line.spans.into_iter().map(|span| span.style(style(of))));
        Line::from(spans)
    });
    lines.collect()
}

/// The keys.
pub(super) fn help() -> Lines {
    let keys = [
        ("q, Esc", "end"),
        ("j, Down", "the next stack"),
        ("k, Up", "the one before"),
        ("g, G", "the first, the last"),
        ("?", "this, and back"),
    ];
    let mut lines = vec![Line::default()];
    for (key, what) in keys {
        let key = painted(format!("  {key:<10}"), BOLD);
        lines.push(Line::from(vec![key, Span::raw(what)]));
    }
    lines.push(Line::default());
    for text in [
        "Nothing is changed from here. What you can do is",
        "said beside `you can`; in full:",
        "`steadfast status`, `history`, `plan`.",
    ] {
        lines.push(Line::raw(format!("  {text}")));
    }
    lines
}

/// The last line.
pub(super) fn footer(screen: &Screen, width: usize) -> Line<'static> {
    let mut left = String::from("q end   ? keys");
    if screen.statuses.len() > 1 {
        left.push_str("   j/k stack");
    }
    let status = screen.statuses.get(screen.place());
    let seen = status.map(|status| status::seen(status, &screen.reader));
    let mut seen = seen.unwrap_or_default();
    // How old it is says more than which operation it is older than.
    if left.chars().count() + 2 + seen.chars().count() > width {
        seen.truncate(seen.find(", ").unwrap_or(seen.len()));
    }
    let room = width.saturating_sub(left.chars().count() + seen.chars().count());
    Line::styled(
        cut(&format!("{left}{}{seen}", " ".repeat(room)), width),
        style(DIM),
    )
}

/// A rule with a title.
pub(super) fn rule(title: &str, width: usize) -> Line<'static> {
    let title = cut(title, width.saturating_sub(6));
    let rest = width.saturating_sub(title.chars().count() + 4);
    Line::styled(format!("── {title} {}", "─".repeat(rest)), style(DIM))
}
