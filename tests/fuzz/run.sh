#!/usr/bin/env bash
# Runs the fuzz targets by coverage, one after another, for SECONDS_EACH seconds each (default 60).
#
# usage: tests/fuzz/run.sh [TARGET...]
#
# Needs `cargo fuzz` and a nightly toolchain. What is found, and what covers something new, is written into
# tests/fuzz/corpus (`tests/fuzz/run.sh --minimise` makes that small again); crashes into tests/fuzz/artifacts.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
seconds=${SECONDS_EACH:-60}
all="desired settings compose env journal ledger"

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz is not installed: cargo install cargo-fuzz --locked"
    echo "without it, the same functions run over mutations: FUZZ_RUNS=100000 cargo test -p steadfast-tests --test fuzz"
    exit 2
fi
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "there is no nightly toolchain, which the sanitizers need: rustup toolchain install nightly"
    exit 2
fi
minimise=
if [ "${1-}" = --minimise ]; then
    minimise=yes
    shift
fi
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
export CARGO_TARGET_DIR
failed=
for target in ${*:-$all}; do
    corpus=tests/fuzz/corpus/$target
    if [ -n "$minimise" ]; then
        echo "== $target: $(ls "$corpus" | wc -l) entries"
        cargo +nightly fuzz cmin --fuzz-dir tests/fuzz "$target" "$corpus" || failed="$failed $target"
        echo "== $target: $(ls "$corpus" | wc -l) entries are left"
        continue
    fi
    echo "== $target, for $seconds s"
    cargo +nightly fuzz run --fuzz-dir tests/fuzz "$target" "$corpus" -- \
        -max_total_time="$seconds" -dict="tests/fuzz/dictionaries/$target.dict" \
        -max_len=16384 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 || failed="$failed $target"
done
if [ -n "$failed" ]; then
    echo "FAILED:$failed. Copy the input from tests/fuzz/artifacts into the corpus: it is the regression test"
    exit 1
fi
