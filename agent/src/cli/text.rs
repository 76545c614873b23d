//! Paragraphs and tables in as many columns as there are.

/// Where the text of a labelled line begins.
const INDENT: usize = 13;
/// No text is wrapped into less.
const NARROWEST: usize = 8;

/// A line with a label, wrapped under itself: `  runs       v1.5.0 …`.
pub(super) fn labelled(label: &str, text: &str, width: usize) -> String {
    let label = format!("  {label:<room$} ", room = INDENT - 3);
    hanging(&label, text, INDENT, width)
}

/// `text` after `prefix`, which may be painted; further lines begin at column `indent`.
pub(super) fn hanging(prefix: &str, text: &str, indent: usize, width: usize) -> String {
    let used = anstream::adapter::strip_str(prefix).to_string().chars().count();
    let lines = wrap_after(text, width.saturating_sub(used), width.saturating_sub(indent));
    let mut shown = prefix.to_owned();
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            shown.push_str(&format!("{:indent$}", ""));
        }
        shown.push_str(line);
        shown.truncate(shown.trim_end().len());
        shown.push('\n');
    }
    shown
}

/// `text` as a paragraph that begins at column `indent`.
pub(super) fn paragraph(indent: usize, text: &str, width: usize) -> String {
    hanging(&" ".repeat(indent), text, indent, width)
}

/// `text` in lines of at most `width` columns, broken at spaces; words that are longer are broken.
/// Control characters have no business on a terminal: they are shown, not sent.
#[cfg(test)]
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    wrap_after(text, width, width)
}

/// Likewise, with another width for the first line.
fn wrap_after(text: &str, first: usize, width: usize) -> Vec<String> {
    // A column of single letters is no text.
    let width = width.max(NARROWEST);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut word: Vec<char> = printable(word).chars().collect();
        let room = if lines.len() == 1 { first } else { width };
        let gap = usize::from(used > 0);
        let is_narrow = lines.len() == 1 && first < width;
        if used + gap + word.len() > room && (used > 0 || is_narrow) {
            lines.push(String::new());
            used = 0;
        }
        while word.len() > width {
            let rest = word.split_off(width);
            push(&mut lines, &word);
            lines.push(String::new());
            word = rest;
            used = 0;
        }
        if used > 0 {
            push(&mut lines, &[' ']);
            used += 1;
        }
        push(&mut lines, &word);
        used += word.len();
    }
    lines
}

fn push(lines: &mut [String], chars: &[char]) {
    if let Some(last) = lines.last_mut() {
        last.extend(chars);
    }
}

/// `text` without what a terminal would take as a command.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// The end of `text` in at most `width` columns, from a slash on where there is one: of an image,
/// the end tells most.
pub(super) fn tail(text: &str, width: usize) -> String {
    let text = printable(text);
    let length = text.chars().count();
    if length <= width {
        return text;
    }
    let end: String = text.chars().skip(length + 1 - width).collect();
    format!("…{}", end.find('/').map_or(end.as_str(), |at| &end[at..]))
}

/// Columns, two spaces apart, each as wide as its widest cell; the last one is wrapped into what is
/// left. Nothing trails.
pub(super) fn columns(rows: &[Vec<String>], indent: usize, width: usize) -> String {
    each_row(rows, indent, width).concat()
}

/// As [`columns`], but each cell of the last one goes below its line, and its heading nowhere.
pub(super) fn last_below(rows: &[Vec<String>], indent: usize, width: usize) -> String {
    let split = rows.iter().filter_map(|row| row.split_last());
    let (below, beside): (Vec<&String>, Vec<Vec<String>>) =
        split.map(|(last, before)| (last, before.to_vec())).unzip();
    let mut text = String::new();
    for (i, (line, below)) in each_row(&beside, indent, width).iter().zip(below).enumerate() {
        text.push_str(line);
        if i > 0 && !below.is_empty() {
            text.push_str(&paragraph(indent + 4, below, width));
        }
    }
    text
}

/// As wide as its widest cell, each but the last one.
fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (1..count).map(|column| widest(column - 1)).collect()
}

/// Where the last column begins.
pub(super) fn before_last(rows: &[Vec<String>], indent: usize) -> usize {
    indent + widths(rows).iter().map(|width| width + 2).sum::<usize>()
}

fn each_row(rows: &[Vec<String>], indent: usize, width: usize) -> Vec<String> {
    let (widths, last) = (widths(rows), before_last(rows, indent));
    let one = |row: &Vec<String>| {
        let mut line = " ".repeat(indent);
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{:width$}  ", printable(cell)));
        }
        let rest = row.get(widths.len()).map_or("", String::as_str);
        hanging(&line, rest, last, width)
    };
    rows.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wider_than_it_may_be_and_no_escape_gets_through() {
        let text = format!("a {} \u{1b}[31mred {}", "x".repeat(30), "y".repeat(9));
        let lines = wrap(&text, 10);
        assert!(lines.iter().all(|line| line.chars().count() <= 10), "{lines:?}");
        assert!(!lines.concat().contains('\u{1b}'));
        assert_eq!(lines.concat().matches('x').count(), 30);
    }

    #[test]
    fn of_an_image_the_end_is_kept() {
        assert_eq!(tail("registry.example/app/api:v1", 10), "…/api:v1");
        assert_eq!(tail("api:v1", 10), "api:v1");
    }
}
