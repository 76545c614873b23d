//! What came of many runs. A soak is very many of them, on every core, resumable: what has been run is kept in a file, and the next soak of the same commit
//! goes on where this one was ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::story::{self, Outcome};

/// Seeds that one thread runs before what came of them is kept.
const ROUND: u64 = 500;
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// So many seeds that have broken a law are enough to look at.
const KEPT_VIOLATIONS: usize = 100;

/// What has been run so far.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sums {
    /// What was run: another commit begins anew.
    commit: String,
    /// The first seed.
    #[serde(default)]
    first: u64,
    runs: u64,
    violations: u64,
    /// The first seeds that have broken a law, and which.
    pub(crate) broken: BTreeMap<u64, String>,
    /// Changes through the engine and writes to the ledger: each a state that was checked.
    states: u64,
    kills: u64,
    faults: BTreeMap<String, u64>,
    points: BTreeMap<String, u64>,
    endings: BTreeMap<String, u64>,
    real: Duration,
    simulated: Duration,
}

impl Sums {
    pub(crate) fn add(&mut self, seed: u64, outcome: Outcome) {
        self.runs += 1;
        self.states += outcome.states;
        self.kills += u64::from(outcome.kills);
        self.simulated += outcome.simulated;
        for (kind, times) in outcome.faults {
            *self.faults.entry(kind.to_owned()).or_default() += times;
        }
        for (point, times) in outcome.points {
            *self.points.entry(point).or_default() += u64::from(times);
        }
        *self.endings.entry(outcome.ending).or_default() += 1;
        if let Some(first) = outcome.broken.into_iter().next() {
            self.violations += 1;
            eprintln!("{}", again(seed, &first));
            if self.broken.len() < KEPT_VIOLATIONS {
                self.broken.insert(seed, first);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.violations += other.violations;
        self.broken.extend(other.broken);
        self.states += other.states;
        self.kills += other.kills;
        self.simulated += other.simulated;
        for (mine, theirs) in [
            (&mut self.faults, other.faults),
            (&mut self.points, other.points),
            (&mut self.endings, other.endings),
        ] {
            for (key, times) in theirs {
                *mine.entry(key).or_default() += times;
            }
        }
    }

    fn injected(&self) -> u64 {
        self.faults.values().sum::<u64>() + self.kills
    }

    fn progress(&self, wanted: u64) -> String {
        let seconds = self.real.as_secs_f64().max(0.001);
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let (rate, times) = (self.runs as f64 / seconds, self.simulated.as_secs_f64() / seconds);
        format!(
            "{} of {wanted} runs, {rate:.0} a second, {} faults, {} states, {} violations, {times:.0} times real time",
            self.runs,
            self.injected(),
            self.states,
            self.violations
        )
    }

    pub(crate) fn report(&self) -> String {
        let table = |title: &str, rows: &BTreeMap<String, u64>| {
            let rows: String = rows
                .iter()
                .map(|(key, times)| format!("  {times:>12} {key}\n"))
                .collect();
            format!("{title}\n{rows}")
        };
        format!(
            "{}{}{}",
            table("faults", &self.faults),
            table(&format!("{} crash points", self.points.len()), &self.points),
            table("endings", &self.endings)
        )
    }
}

/// What a seed has broken, and the command that shows it again.
pub(crate) fn again(seed: u64, words: &str) -> String {
    format!("seed {seed}: {words}\n  again: SIM_SEED={seed} cargo test -p steadfast-tests --test simulation")
}

/// Runs until there are so many, and tells what came of them.
pub(crate) fn soak(wanted: u64) -> ExitCode {
    match run(wanted) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: u64) -> Result<u64> {
    let first = crate::number("SIM_FROM").unwrap_or(0);
    let file = std::env::var_os("SIM_SOAK_STATE").map(PathBuf::from);
    let commit = std::env::var("SIM_SOAK_COMMIT").unwrap_or_default();
    let mut sums = file
        .as_deref()
        .map_or_else(|| Ok(Sums::default()), |file| kept(file, &commit, first))?;
    sums.commit = commit;
    sums.first = first;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let mut told = Instant::now();
    println!("{}", sums.progress(wanted));
    while sums.runs < wanted {
        let begun = Instant::now();
        let from = sums.runs;
        let until = (from + ROUND * threads).min(wanted);
        for part in round(first + from, first + until, threads) {
            sums.merge(part);
        }
        sums.real += begun.elapsed();
        if let Some(file) = &file {
            keep(file, &sums)?;
        }
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            println!("{}", sums.progress(wanted));
        }
    }
    print!("{}", sums.report());
    println!("{}", sums.progress(wanted));
    println!(
        "runs {} faults {} violations {}",
        sums.runs,
        sums.injected(),
        sums.violations
    );
    Ok(sums.violations)
}

/// The seeds from..until. Which kind of story one is shows in its number, and some take longer: so each thread takes
/// the next one when it is done with the last.
fn round(from: u64, until: u64, threads: u64) -> Vec<Sums> {
    let next = AtomicU64::new(from);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut sums = Sums::default();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= until {
                            return sums;
                        }
                        sums.add(seed, story::run(seed));
                    }
                })
            })
            .collect();
        let joined = parts
            .into_iter()
            .map(|part| part.join().expect("a run does not panic"));
        joined.collect()
    })
}

/// What an earlier soak of the same commit, from the same seed on, has kept.
fn kept(file: &Path, commit: &str, first: u64) -> Result<Sums> {
    let Ok(text) = std::fs::read_to_string(file) else {
        return Ok(Sums::default());
    };
    let sums: Sums = serde_json::from_str(&text)
        .with_context(|| format!("{} is no kept soak: remove it to begin anew", file.display()))?;
    Ok(if sums.commit == commit && sums.first == first {
        sums
    } else {
        Sums::default()
    })
}

fn keep(file: &Path, sums: &Sums) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, serde_json::to_vec_pretty(sums)?)
        .with_context(|| format!("cannot write {}", new.display()))?;
    std::fs::rename(&new, file).with_context(|| format!("cannot write {}", file.display()))
}
