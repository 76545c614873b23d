#!/usr/bin/env bash
# Formatting, clippy, documentation, licences, shell: all of it, before it fails for one. Works offline.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
failed=()
check() { # NAME COMMAND...
    echo "== $1"
    "${@:2}" || failed+=("$1")
}
skip() { echo "== $1: skipped, $2"; }

if cargo fmt --version >/dev/null 2>&1; then check format cargo fmt --all --check; else skip format "this toolchain has no rustfmt"; fi
if cargo clippy --version >/dev/null 2>&1; then
    check clippy cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
else
    skip clippy "this toolchain has no clippy"
fi
RUSTDOCFLAGS="-D warnings" check documentation cargo doc --workspace --no-deps --locked --quiet
# What the simulation breaks on purpose (docs/reference/proof.md), and the situations that tests show, are no part of what is
# released.
has() { cargo tree --locked -e features -p "$1" | grep "steadfast[a-z-]* feature \"$2\"" >/dev/null; } # PACKAGE FEATURE
not_released() { ! has steadfast "$1" && has steadfast-tests "$1"; }                                  # FEATURE
check seeded-bugs not_released seeded-bugs
check samples not_released samples
if [ ! -f deny.toml ]; then
    skip licences "there is no deny.toml"
elif cargo deny --version >/dev/null 2>&1; then
    check licences cargo deny --offline check bans licenses sources
else
    skip licences "cargo-deny is not installed"
fi
if command -v shellcheck >/dev/null; then
    check shell shellcheck --severity=warning .ci/run tests/run.sh tests/*/*.sh tests/images/*/*.sh systemd/debian/post*
else
    skip shell "shellcheck is not installed"
fi

if command -v promtool >/dev/null; then
    check alerts promtool check rules docs/monitoring/alerts.yml
else
    skip alerts "promtool is not installed"
fi

if [ ${#failed[@]} -gt 0 ]; then
    echo "lint: failed: ${failed[*]}"
    exit 1
fi
echo "lint: clean"
