//! The fuzz targets (`tests/fuzz/targets`) without a fuzzer: every entry of the corpus, and seeded mutations of them.
//! What broke a promise is printed, and written into the corpus.
//!
//! More of them, or others: `FUZZ_RUNS=100000 FUZZ_SEED=7 cargo test -p steadfast-tests --test fuzz`

mod mutate;
#[path = "../../fuzz/targets/mod.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use rustix::time::{ClockId, clock_gettime};

/// The most of a processor's time that one input may take, in a build for debugging.
const LONGEST: Duration = Duration::from_secs(10);

/// One target: its name, what is fuzzed, and how many mutations of the corpus `make test` makes.
type Target = (&'static str, fn(&[u8]), u64);

const TARGETS: [Target; 6] = [
    ("desired", targets::desired, 4000),
    ("settings", targets::settings, 2000),
    ("compose", targets::compose, 1500),
    ("env", targets::env, 4000),
    ("journal", targets::journal, 2000),
    ("ledger", targets::ledger, 150),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = TARGETS.into_iter().flat_map(|target| {
        let (name, ..) = target;
        [
            Trial::test(format!("{name}_corpus"), move || corpus(&target)),
            Trial::test(format!("{name}_mutations"), move || mutations(&target)),
        ]
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The corpus of a target, in the order of its names.
fn entries(name: &str) -> Result<Vec<(PathBuf, Vec<u8>)>, Failed> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(home().join("corpus").join(name))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    paths.sort();
    if paths.is_empty() {
        return Err(Failed::from("the corpus is empty"));
    }
    let read = |path: PathBuf| Ok((path.clone(), std::fs::read(path)?));
    Ok(paths.into_iter().map(read).collect::<std::io::Result<_>>()?)
}

fn corpus(&(name, target, _): &Target) -> Result<(), Failed> {
    for (path, bytes) in entries(name)? {
        tried(target, &bytes).map_err(|why| format!("{}: {why}", path.display()))?;
    }
    Ok(())
}

fn mutations(&(name, target, runs): &Target) -> Result<(), Failed> {
    let corpus: Vec<Vec<u8>> = entries(name)?.into_iter().map(|(_, bytes)| bytes).collect();
    let words = mutate::dictionary(&std::fs::read_to_string(
        home().join(format!("dictionaries/{name}.dict")),
    )?);
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let mut mutator = mutate::Mutator::new(seed, &corpus, &words);
    for _ in 0..number("FUZZ_RUNS").unwrap_or(runs) {
        let input = mutator.draw();
        if let Err(why) = tried(target, &input) {
            let path = keep(name, &input)?;
            let shown = String::from_utf8_lossy(&input).into_owned();
            return Err(Failed::from(format!("{}: {why}\n{shown}", path.display())));
        }
    }
    Ok(())
}

/// One input: no panic, and in bounded time of its own.
fn tried(target: fn(&[u8]), input: &[u8]) -> Result<(), String> {
    let begun = spent();
    catch_unwind(AssertUnwindSafe(|| target(input))).map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        words
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| String::from("it panicked"))
    })?;
    let took = spent().saturating_sub(begun);
    if took > LONGEST {
        return Err(format!("it takes {took:?} of a processor"));
    }
    Ok(())
}

/// The processor's time of this thread: a machine that does something else takes none of it.
fn spent() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// A regression, once it is committed.
fn keep(name: &str, input: &[u8]) -> std::io::Result<PathBuf> {
    let digest = state::name::Digest::of(input);
    let path = home()
        .join("corpus")
        .join(name)
        .join(format!("found-{}", digest.short()));
    std::fs::write(&path, input)?;
    Ok(path)
}
