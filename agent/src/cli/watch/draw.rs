//! The drawing: from a [`Screen`] and the size of the terminal to its cells, and nothing else goes in. What does not fit gives
//! way in the order in which it can be done without.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use ratatui::text::Line;

use super::parts::{self, Lines};
use super::screen::Screen;
use super::terminal::Look;
use crate::cli::reader::Reader;
use crate::view::Status;

/// Into less nothing is drawn.
const LEAST: (usize, usize) = (40, 10);
/// No line of text is longer: no eye finds the next one.
const WIDEST: usize = 120;

/// Draws `screen`.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let area = frame.area();
    let lines = page(screen, usize::from(area.width), usize::from(area.height));
    let buffer = frame.buffer_mut();
    for (y, line) in (area.top()..area.bottom()).zip(&lines) {
        buffer.set_line(area.left(), y, line, area.width);
    }
    tame(buffer, screen.look);
}

/// What the terminal cannot show is not sent to it.
fn tame(buffer: &mut Buffer, look: Look) {
    for cell in &mut buffer.content {
        if !look.colours {
            (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
        }
        if !look.symbols && !cell.symbol().is_ascii() {
            let plain = match cell.symbol() {
                "─" => "-",
                "█" => "#",
                "░" | "·" => ".",
                "✓" => "+",
                "✗" => "x",
                "…" => "~",
                _ => "?",
            };
            cell.set_symbol(plain);
        }
    }
}

/// The lines from the top, as many as there are rows.
fn page(screen: &Screen, width: usize, height: usize) -> Lines {
    if width < LEAST.0 || height < LEAST.1 {
        return too_small(screen, width, height);
    }
    // A copy that is as wide as this terminal, which may be another one than `Reader` found.
    let reader = Reader {
        width: width.min(WIDEST),
        ..screen.reader.clone()
    };
    let mut lines = vec![parts::title(screen, width)];
    if screen.help {
        lines.extend(parts::help());
    } else {
        let stacks = parts::stacks(screen, width);
        let room = stacks.len().min(height / 4);
        lines.extend(around(stacks, room, screen.place()));
        let left = height - lines.len() - 1;
        match screen.status() {
            Some(status) => lines.extend(body(screen, &status, &reader, left)),
            None => lines.push(Line::raw("  the daemon has not looked at any stack yet")),
        }
    }
    lines.resize(height - 1, Line::default());
    lines.push(parts::footer(screen, width));
    lines
}

fn too_small(screen: &Screen, width: usize, height: usize) -> Lines {
    let mut lines = vec![
        Line::raw(format!("too small: {width}x{height},")),
        Line::raw(format!("needs {}x{}", LEAST.0, LEAST.1)),
    ];
    // The least that somebody wants to know.
    if let Some(status) = screen.statuses.get(screen.place()) {
        let state = status.state.as_str().replace('_', " ");
        lines.push(Line::raw(state));
    }
    lines.truncate(height);
    lines
}

/// A part of the page.
struct Part {
    title: Option<String>,
    lines: Lines,
    /// So many lines it has before any other gets more.
    least: usize,
    keep: Keep,
}

/// What is seen of a part that is too long.
enum Keep {
    /// Its beginning.
    First,
    /// Its end, of entries that have so many lines each.
    Last(Vec<usize>),
    /// What is around a line.
    Around(usize),
}

/// The parts in as many rows as there are.
fn body(screen: &Screen, status: &Status, reader: &Reader, room: usize) -> Lines {
    let all = all(screen, status, reader);
    let shares = share(&all, room);
    let mut lines = Vec::new();
    for (part, mut share) in all.into_iter().zip(shares) {
        if share == 0 {
            continue;
        }
        if let Some(title) = &part.title {
            lines.push(parts::rule(title, reader.width));
            share -= 1;
        }
        lines.extend(match part.keep {
            Keep::First => first(part.lines, share),
            Keep::Last(entries) => last(part.lines, share, &entries),
            Keep::Around(line) => around(part.lines, share, line),
        });
    }
    lines
}

/// From top to bottom. What is done stands above why, while something is done.
fn all(screen: &Screen, status: &Status, reader: &Reader) -> Vec<Part> {
    let part = |title: Option<&str>, lines: Lines, least: usize, keep: Keep| Part {
        title: title.map(str::to_owned),
        lines,
        least,
        keep,
    };
    let running = status.operation.is_some();
    let (title, steps, now) = parts::operation(screen, status, reader);
    let least = if running { 4 } else { 0 };
    let operation = part(Some(&title), steps, least, Keep::Around(now));
    let log = parts::log(screen, reader);
    let entries = log.iter().map(Vec::len).collect();
    let mut all = vec![
        part(None, parts::headline(status, reader), 2, Keep::First),
        part(None, parts::gauge(status, reader), 1, Keep::First),
        part(None, parts::facts(status, reader), 3, Keep::First),
        part(Some("services"), parts::services(status, reader), 0, Keep::First),
        part(Some("probes"), parts::probes(status, reader), 0, Keep::First),
        part(Some("log"), log.concat(), 2, Keep::Last(entries)),
    ];
    all.insert(if running { 2 } else { 5 }, operation);
    all
}

/// How many rows each part gets, its title among them: first the least of all of them, then the rest, from the top.
fn share(parts: &[Part], room: usize) -> Vec<usize> {
    let mut left = room;
    let mut shares = vec![0; parts.len()];
    for whole in [false, true] {
        for (part, share) in parts.iter().zip(&mut shares) {
            let title = usize::from(part.title.is_some());
            let least = part.lines.len().min(part.least);
            let lines = if whole { part.lines.len() } else { least };
            let wanted = if lines == 0 { 0 } else { lines + title };
            let more = wanted.saturating_sub(*share).min(left);
            // A title alone says nothing.
            if *share + more > title {
                *share += more;
                left -= more;
            }
        }
    }
    shares
}

/// The beginning; where there is more, this is said.
fn first(mut lines: Lines, room: usize) -> Lines {
    if lines.len() > room && room > 1 {
        let more = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(Line::raw(format!("  … {more} more lines")));
    }
    lines.truncate(room);
    lines
}

/// The end, of whole entries; of one that is too long by itself the beginning.
fn last(mut lines: Lines, room: usize, entries: &[usize]) -> Lines {
    let newest = entries.last().copied().unwrap_or(0);
    let mut kept = newest;
    for entry in entries.iter().rev().skip(1) {
        if kept + entry > room {
            break;
        }
        kept += entry;
    }
    first(lines.split_off(lines.len().saturating_sub(kept)), room)
}

/// So many lines that `line` is among them, with what comes after it rather than what was.
fn around(mut lines: Lines, room: usize, line: usize) -> Lines {
    let from = line
        .saturating_sub(room / 3)
        .min(lines.len().saturating_sub(room));
    let mut shown = lines.split_off(from);
    shown.truncate(room);
    shown
}
