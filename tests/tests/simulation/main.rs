//! The real loop, executor, planner and journal over a simulated host: engine, files, database, probes, clock and
//! ledger, with faults and people, from a seed. Every invariant is asked for after every step.
//!
//! One seed again, with its trace: `SIM_SEED=17 cargo test -p steadfast-tests --test simulation`
//! So many seeds, from where: `SIM_RUNS=10000 SIM_FROM=0 cargo test -p steadfast-tests --test simulation`
//! Very many: `make soak RUNS=1000000`

mod bugs;
mod cases;
mod commands;
mod database;
mod dice;
mod edges;
mod engine;
mod fidelity;
mod hand;
mod laws;
mod points;
mod repository;
mod scenes;
mod schemas;
mod soak;
mod story;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use soak::Sums;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seeds that have once broken a law.
const REGRESSIONS: [u64; 46] = [
    22, 99, 149, 189, 287, 404, 513, 526, 531, 572, 580, 599, 680, 881, 1005, 1279, 1285, 1482, 2056, 2174,
    2900, 3171, 3718, 4489, 5621, 5918, 7408, 12128, 12880, 14676, 15908, 22971, 29947, 38941, 56499, 61401,
    61879, 78747, 95441, 146_713, 12917, 33197, 43381, 104_077, 158_421, 209_556,
];

fn main() -> ExitCode {
    // A kill is no news.
    let arguments = Arguments::from_args();
    if let Some(seed) = number("SIM_SEED") {
        return replay(seed);
    }
    if let Ok(only) = std::env::var("SIM_BUGS") {
        return bugs::table(&only);
    }
    if let Some(runs) = number("SIM_SOAK") {
        return soak::soak(runs);
    }
    let (runs, from) = (number("SIM_RUNS").unwrap_or(240), number("SIM_FROM").unwrap_or(0));
    // Ten at least in one trial, and no more than forty trials.
    let size = runs.div_ceil(40).max(10);
    let mut trials: Vec<Trial> = (0..runs.div_ceil(size))
        .map(|batch| {
            let first = from + batch * size;
            let last = (first + size).min(from + runs);
            Trial::test(format!("seeds_{first}_to_{last}"), move || batch_of(first..last))
        })
        .collect();
    trials.extend(cases::trials());
    trials.extend(commands::trials());
    trials.extend(schemas::trials());
    trials.push(Trial::test("regressions", || batch_of(REGRESSIONS)));
    trials.extend(story::tales::all());
    trials.extend(fidelity::trials());
    trials.extend(bugs::trials());
    trials.extend(story::deaths::trials());
    trials.push(Trial::test("a_seed_replays_exactly", || {
        let (first, second) = (story::trace(7), story::trace(7));
        if first.trace == second.trace {
            Ok(())
        } else {
            let at = first.trace.iter().zip(&second.trace).position(|(a, b)| a != b);
            Err(Failed::from(format!("the traces differ at {at:?}")))
        }
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn batch_of(seeds: impl IntoIterator<Item = u64>) -> Result<(), Failed> {
    let mut sums = Sums::default();
    for seed in seeds {
        sums.add(seed, story::run(seed));
    }
    if std::env::var_os("SIM_ENDINGS").is_some() {
        eprintln!("{}", sums.report());
    }
    if sums.broken.is_empty() {
        return Ok(());
    }
    let lines = sums.broken.iter().map(|(seed, words)| soak::again(*seed, words));
    Err(Failed::from(lines.collect::<Vec<_>>().join("\n")))
}

fn replay(seed: u64) -> ExitCode {
    let bug = std::env::var("SIM_BUG").ok();
    let _seeded = bug.map(|name| bugs::seeded(&name));
    let outcome = story::trace(seed);
    for line in &outcome.trace {
        println!("{line}");
    }
    println!(
        "{}: {} changes, {} kills, {} laws broken",
        outcome.ending,
        outcome.changes,
        outcome.kills,
        outcome.broken.len()
    );
    for broken in &outcome.broken {
        println!("{broken}");
    }
    if outcome.broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
