#!/usr/bin/env bash
# Docker Compose, old and new, as the oracles of the conformance tests. Nothing at run time needs them.
#
# usage: tests/tools/compose.sh v2 [--path | ARGUMENTS...]   2.40 from Debian sid, unpacked and never installed
#        tests/tools/compose.sh v1 [--path | ARGUMENTS...]   1.29.2 from Debian 12, installed where missing
#
# Exit code 3: it cannot be had here, with the reason: count a skip. Else Compose's own.
set -euo pipefail
tools=$(dirname "$(readlink -f "$0")")
cache=${STEADFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$([ -w /var/cache ] && echo /var/cache || echo "$HOME/.cache")}/steadfast-test}/compose

cannot() { printf '[compose] cannot be had here: %s\n' "$*" >&2; exit 3; }

# apt with a world of its own: the machine's sources, lists and packages are neither used nor changed.
apt_of_sid() {
    apt-get -qq -o Dir::State="$cache/apt/state" -o Dir::State::status=/dev/null -o Dir::Cache="$cache/apt/cache" \
        -o Dir::Etc::sourcelist="$cache/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferencesparts=/dev/null -o Acquire::Check-Valid-Until=false -o Acquire::Retries=3 \
        -o Acquire::Languages=none -o APT::Sandbox::User="$(id -un)" "$@" </dev/null >&2
}

fetch_v2() {
    [ ! -x "$cache/v2" ] || return 0
    printf '[compose] downloading docker-compose of Debian sid (once)\n' >&2
    mkdir -p "$cache" || cannot "no place for it ($cache)"
    exec 9>"$cache/lock"
    flock -w 300 9 || cannot "another download has not finished in five minutes"
    [ ! -x "$cache/v2" ] || return 0
    mkdir -p "$cache"/apt/{state/lists/partial,cache/archives/partial}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian sid main" >"$cache/apt/sources.list"
    (
        cd "$cache/apt"
        export -f apt_of_sid
        export cache
        timeout 240 bash -c 'apt_of_sid update && apt_of_sid download docker-compose' &&
            dpkg-deb -x docker-compose_*.deb unpacked
    ) || cannot "the package could not be downloaded or unpacked"
    local plugin=$cache/apt/unpacked/usr/libexec/docker/cli-plugins/docker-compose
    "$plugin" version >/dev/null 2>&1 || cannot "it does not run: $("$plugin" version 2>&1 | head -n 1)"
    mv "$plugin" "$cache/v2"
    rm -rf "$cache/apt"
    exec 9>&-
}

find_v1() {
    local program
    "$tools/need.sh" docker-compose=docker-compose >&2 || cannot "the package docker-compose could not be installed"
    program=$(command -v docker-compose)
    "$program" version --short 2>/dev/null | grep -q '^1\.29\.' || cannot "$program is not 1.29"
    echo "$program"
}

case ${1:-} in
v2) fetch_v2; program=$cache/v2 ;;
v1) program=$(find_v1) ;;
*) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
shift
if [ "${1:-}" = --path ]; then echo "$program"; else exec "$program" "$@"; fi
