#!/usr/bin/env bash
# Everything that is proven, on real engines. The last line is `N passed, N failed, N skipped`.
#
# usage: tests/run.sh [CARGO TEST ARGUMENTS]
#
# Installs what is missing, with apt-get. What the tests are told, where it is to be had:
#   STEADFAST_BIN            the binary under test
#   STEADFAST_TEST_ENGINE28  the socket of the second, newest engine
#   COMPOSE_V2, COMPOSE_V1   Docker Compose, new and old
#   STEADFAST_DEB            the directory with the Debian package of that binary, in two versions
# STEADFAST_TEST_SECONDS bounds the tests themselves (default 3000); STEADFAST_SIM_RUNS says how many runs of the
# simulation are drawn, where all is run (default 20000).
set -uo pipefail
# What failed is told in words, which are few enough to be said twice.
export LC_ALL=C RUST_BACKTRACE=0
cd "$(dirname "$0")/.." || exit
# Absolute: what is run beside the tests is run in another directory.
target=$(readlink -m "${CARGO_TARGET_DIR:-target}")
skipped=0

give_up() { # SENTENCE
    echo "$1"
    echo "0 passed, 1 failed, $skipped skipped"
    exit 1
}
skip() {
    echo "SKIPPED: $*"
    skipped=$((skipped + 1))
}

tests/tools/ready.sh || give_up "the machine could not be made ready for the tests"

if tests/engines/engine28.sh ensure; then
    eval "$(tests/engines/engine28.sh env)"
else
    skip "the second, newest engine: all that would run on it"
fi
if path=$(tests/tools/compose.sh v2 --path); then export COMPOSE_V2=$path; else skip "Compose v2: all that would ask it"; fi
if path=$(tests/tools/compose.sh v1 --path); then export COMPOSE_V1=$path; else skip "Compose v1: all that would ask it"; fi

cargo build --workspace --locked || give_up "it does not compile"
STEADFAST_BIN=$(readlink -f "$target/debug/steadfast")
export STEADFAST_BIN
if tests/tools/package.sh ensure; then
    STEADFAST_DEB=$target/packages
    export STEADFAST_DEB
    tests/tools/package.sh make "$STEADFAST_BIN" "$STEADFAST_DEB" || give_up "the Debian package cannot be made"
else
    skip "cargo-deb: all that would install the package"
fi

log=$target/test.log
drawn=$target/simulation.log
: >"$drawn"
deadline=$((SECONDS + ${STEADFAST_TEST_SECONDS:-3000}))
timeout --kill-after=20 $((deadline - SECONDS)) \
    cargo test --workspace --locked --no-run "$@" 2>&1 </dev/null | tee "$log" || give_up "the tests do not compile"

# The tests on engines mostly wait: the simulation takes what they leave of the processors. The tests themselves draw
# the first 240 seeds.
simulation=
stop() { [ -z "$simulation" ] || kill "$simulation" 2>/dev/null; }
trap stop EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'exit 129' HUP
runs=$((${STEADFAST_SIM_RUNS:-20000} - 240))
program=$(sed -n 's|.*Executable tests/simulation/main.rs (\(.*\)).*|\1|p' "$log")
if [ $# = 0 ] && [ "$runs" -gt 0 ]; then
    program=$(readlink -f "$program")
    (cd tests && SIM_FROM=240 SIM_RUNS=$runs exec nice timeout --kill-after=20 $((deadline - SECONDS)) \
        "$program" seeds_ >"$drawn" 2>&1 </dev/null) &
    simulation=$!
fi
# In the background and waited for, so that a signal is acted upon at once.
timeout --kill-after=20 $((deadline - SECONDS)) \
    cargo test --workspace --locked --no-fail-fast "$@" > >(tee "$log") 2>&1 </dev/null &
tests=$!
trap 'kill "$tests" 2>/dev/null; stop' EXIT
wait "$tests"
status=$?
if [ -n "$simulation" ]; then
    echo "waiting for the drawn runs of the simulation"
    wait "$simulation"
    drew=$?
    simulation=
    [ "$drew" = 0 ] || status=$drew
    cat "$drawn"
    cat "$drawn" >>"$log"
fi
trap - EXIT
[ "$status" != 124 ] || echo "the tests took too long and were ended"

# Standard: `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
read -r passed failed ignored < <(sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
    /^test result: / {
        for (i = 2; i <= NF; i++) {
            if ($i == "passed;") passed += $(i - 1)
            if ($i == "failed;") failed += $(i - 1)
            if ($i == "ignored;") ignored += $(i - 1)
        }
    }
    END { print passed + 0, failed + 0, ignored + 0 }')
# What failed is said once more where it is found: at the end of a long log.
if [ "$failed" != 0 ] || [ "$status" != 0 ]; then
    echo "engine: $(docker version --format '{{.Server.Version}} (API {{.Server.APIVersion}})' 2>&1), with $(docker info --format '{{.Driver}}' 2>&1)"
    sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
        /^failures:$/ { shown = 1; next }
        /^test result: / { shown = 0 }
        shown && lines++ < 300 { print }
        END { if (lines > 300) print "… " lines - 300 " more lines of it above" }'
fi
# A test binary that crashed, or did not compile, prints no result.
if [ "$status" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
if [ "$status" = 0 ] && [ "$passed" = 0 ]; then
    echo "no test was run"
    status=1
fi
echo "$passed passed, $failed failed, $((ignored + skipped)) skipped"
[ "$status" = 0 ] && [ "$failed" = 0 ]
