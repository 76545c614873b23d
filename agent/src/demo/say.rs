//! What the demo says, and when: lines with the time since its start, one live line on a terminal, the
//! table at the end. Nothing is found out here.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table, TableComponent, presets};
use tokio::time::Instant;

const TIME: Style = Style::new().dimmed();
const PHASE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// How often a live line is said again where there is no terminal to say it over.
const SELDOM: Duration = Duration::from_secs(5);

/// The voice of the demo.
pub(super) struct Narrator {
    began: Instant,
    terminal: bool,
    live: Option<Instant>,
    rows: Vec<Row>,
}

/// A line of the table.
pub(super) struct Row {
    pub(super) phase: &'static str,
    pub(super) asked: &'static str,
    pub(super) serves: String,
    pub(super) took: Duration,
}

impl Narrator {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            terminal: std::io::stdout().is_terminal(),
            live: None,
            rows: Vec::new(),
        }
    }

    /// A line without a time.
    pub(super) fn plain(&mut self, text: &str) {
        self.line(text);
    }

    /// The heading of a phase.
    pub(super) fn phase(&mut self, text: &str) {
        self.line(&format!("\n{PHASE}{text}{PHASE:#}"));
    }

    /// Something that happened.
    pub(super) fn event(&mut self, text: &str) {
        let at = self.stamp();
        self.line(&format!("{at}  {text}"));
    }

    /// Something that was checked, and holds.
    pub(super) fn proven(&mut self, text: &str) {
        let at = self.stamp();
        self.line(&format!("{at}  {GOOD}ok{GOOD:#} {text}"));
    }

    /// Something that went wrong.
    pub(super) fn wrong(&mut self, text: &str) {
        let at = self.stamp();
        self.line(&format!("{at}  {BAD}failed{BAD:#} {text}"));
    }

    /// What somebody else wrote, set off from our own words.
    pub(super) fn quote(&mut self, text: &str) {
        for line in text.trim_end().lines() {
            self.line(&format!("         | {line}"));
        }
    }

    /// The line that is written over again while something is waited for.
    pub(super) fn live(&mut self, text: &str) {
        let now = Instant::now();
        if self.terminal {
            let at = self.stamp();
            let text: String = text.chars().take(88).collect();
            let mut out = anstream::stdout().lock();
            // The demo goes on where its words cannot be shown.
            let _ = write!(out, "\r\x1b[K{at}  .. {text}").and_then(|()| out.flush());
            self.live = Some(now);
        } else if self.live.is_none_or(|last| now - last >= SELDOM) {
            let at = self.stamp();
            self.line(&format!("{at}  .. {text}"));
            self.live = Some(now);
        }
    }

    /// Notes a line of the table.
    pub(super) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The table.
    pub(super) fn table(&mut self) {
        let table = table_of(&self.rows);
        self.line(&format!("\n{table}"));
    }

    /// Since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn stamp(&self) -> String {
        format!("{TIME}{:>6} s{TIME:#}", seconds(self.began.elapsed()))
    }

    fn line(&mut self, text: &str) {
        let over = if self.live.take().is_some() && self.terminal {
            "\r\x1b[K"
        } else {
            ""
        };
        let mut out = anstream::stdout().lock();
        let _ = writeln!(out, "{over}{text}").and_then(|()| out.flush());
    }
}

fn table_of(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    for line_between_rows in [
        TableComponent::HorizontalLines,
        TableComponent::MiddleIntersections,
        TableComponent::LeftBorderIntersections,
        TableComponent::RightBorderIntersections,
    ] {
        table.remove_style(line_between_rows);
    }
    table.set_header(["phase", "asked for", "serves", "seconds"]);
    for row in rows {
        table.add_row([row.phase, row.asked, &row.serves, &seconds(row.took)]);
    }
    if let Some(column) = table.column_mut(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Seconds with one digit: `3.4`.
pub(super) fn seconds(span: Duration) -> String {
    format!("{:.1}", span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_phase_and_no_more() {
        let row = |phase, serves: &str, tenths: u64| Row {
            phase,
            asked: "v1.8.0",
            serves: serves.to_owned(),
            took: Duration::from_millis(100 * tenths),
        };
        let rows = [
            row("failing", "v1.8.0 (500)", 208),
            row("rolled back", "v1.5.0", 24),
        ];
        let text = table_of(&rows).to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        expect_test::expect![[r"
            ──────────────────────────────────────────────────
             phase         asked for   serves         seconds
            ══════════════════════════════════════════════════
             failing       v1.8.0      v1.8.0 (500)      20.8
             rolled back   v1.8.0      v1.5.0             2.4
            ──────────────────────────────────────────────────"]]
        .assert_eq(&lines.join("\n"));
    }
}
