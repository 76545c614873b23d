#!/usr/bin/env bash
# Very many simulated runs, and hundreds of real kills. Ends with `runs N faults N violations N`.
#
# usage: soak.sh [RUNS]     (default 1000000; of the simulation, from seed SIM_FROM on, which is 0)
#
# Resumable: what has been run of this commit is kept in target/soak.json and target/soak-kills; remove them to begin
# anew. STEADFAST_KILLS: how often the real agent is killed on a real engine first (default 300; 0: not at all); for ten
# kills an engine is struck once.
set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C
runs=${1:-1000000}
[[ $runs =~ ^[1-9][0-9]*$ ]] || {
    echo "RUNS is a number of runs, not '$runs'" >&2
    exit 2
}
target=${CARGO_TARGET_DIR:-target}

# What is run is known by its content: the commit, and whatever differs from it.
commit=$(git rev-parse HEAD 2>/dev/null || echo "no commit")
changes=$({
    git diff HEAD
    git ls-files --others --exclude-standard -z | xargs -0 --no-run-if-empty sha256sum
} 2>/dev/null | sha256sum | cut -c1-12)
[ "$changes" = "$(sha256sum </dev/null | cut -c1-12)" ] || commit="$commit with changes $changes"

kills=${STEADFAST_KILLS:-300}
[[ $kills =~ ^[0-9]+$ ]] || {
    echo "STEADFAST_KILLS is a number of kills, not '$kills'" >&2
    exit 2
}
failed=0
killed=$target/soak-kills
if [ "$kills" -gt 0 ] && [ "$(cat "$killed" 2>/dev/null)" != "$kills $commit" ]; then
    tests/tools/ready.sh
    if tests/engines/engine28.sh ensure; then eval "$(tests/engines/engine28.sh env)"; fi
    cargo build --locked --quiet -p steadfast
    STEADFAST_BIN=$(readlink -f "$target/debug/steadfast") STEADFAST_KILLS=$kills STEADFAST_STRIKES=$((kills / 10)) \
        cargo test --locked --quiet -p steadfast-tests --test e2e -- soak || failed=1
    [ "$failed" = 1 ] || echo "$kills $commit" >"$killed"
fi

SIM_SOAK=$runs SIM_SOAK_STATE=$target/soak.json SIM_SOAK_COMMIT=$commit \
    cargo test --profile soak --locked --quiet -p steadfast-tests --test simulation || failed=1
exit "$failed"
