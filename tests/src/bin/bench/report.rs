//! What was measured, as a table and as `target/bench.json`. Nothing is measured here.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// One number, with what it is compared to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What was measured, and in which unit.
    pub(crate) name: String,
    /// Steadfast.
    pub(crate) ours: Option<f64>,
    /// What it is compared to, in the same unit.
    pub(crate) peer: Option<f64>,
    /// Ours by the peer's.
    pub(crate) ratio: Option<f64>,
    /// The most that is allowed: of the ratio where there is a peer, else of ours.
    pub(crate) target: Option<f64>,
    /// Whether it is met; `None`: reported only, or not measured.
    pub(crate) met: Option<bool>,
}

/// All of them.
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// Ours against a peer; `target` is of the ratio, `None`: reported only.
    pub(crate) fn ratio(&mut self, name: &str, ours: f64, peer: f64, target: Option<f64>) {
        let ratio = ours / peer;
        self.add(Row {
            name: name.to_owned(),
            ours: Some(ours),
            peer: Some(peer),
            ratio: Some(ratio),
            target,
            met: target.map(|target| ratio <= target),
        });
    }

    /// Ours against a limit.
    pub(crate) fn limit(&mut self, name: &str, ours: f64, target: f64) {
        self.add(Row {
            name: name.to_owned(),
            ours: Some(ours),
            peer: None,
            ratio: None,
            target: Some(target),
            met: Some(ours <= target),
        });
    }

    /// A part of the number before, reported only; the peer may have none of it.
    pub(crate) fn part(&mut self, name: &str, ours: f64, peer: f64) {
        self.add(Row {
            name: name.to_owned(),
            ours: Some(ours),
            peer: Some(peer),
            ratio: (peer > 0.0).then_some(ours / peer),
            target: None,
            met: None,
        });
    }

    /// Something that could not be measured here.
    pub(crate) fn not_measured(&mut self, name: &str, ours: Option<f64>, why: &str) {
        say(&format!("{name}: not measured: {why}"));
        self.rows.push(Row {
            name: name.to_owned(),
            ours,
            peer: None,
            ratio: None,
            target: None,
            met: None,
        });
    }

    fn add(&mut self, row: Row) {
        say(&line(&row));
        self.rows.push(row);
    }

    /// Prints the table and writes the file. A number that was missed is no failure of the bench.
    pub(crate) fn finish(self) -> Result<()> {
        println!();
        for row in &self.rows {
            println!("{}", line(row));
        }
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"),
            PathBuf::from,
        );
        let path = target.join("bench.json");
        fs::write(&path, serde_json::to_vec_pretty(&self.rows)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let missed = self.rows.iter().filter(|row| row.met == Some(false)).count();
        println!(
            "\n{} numbers, {missed} missed; written to target/bench.json",
            self.rows.len()
        );
        Ok(())
    }
}

fn line(row: &Row) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| String::from("-"), |v| format!("{v:.2}"));
    let mut line = format!("{:<44} {:>9}", row.name, number(row.ours));
    if row.peer.is_some() {
        line += &format!("  peer {:>9}  ratio {:>5}", number(row.peer), number(row.ratio));
    }
    match (row.met, row.target) {
        (Some(true), Some(target)) => line += &format!("  at most {target}: met"),
        (Some(false), Some(target)) => line += &format!("  at most {target}: MISSED"),
        _ => line += "  (reported only)",
    }
    line
}

/// Progress, on standard error.
pub(crate) fn say(words: &str) {
    eprintln!("bench: {words}");
}

/// The middle one.
pub(crate) fn median(mut samples: Vec<Duration>) -> f64 {
    samples.sort();
    let middle = samples.get(samples.len() / 2).copied().unwrap_or_default();
    middle.as_secs_f64() * 1000.0
}
