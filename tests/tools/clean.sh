#!/usr/bin/env bash
# Removes what the tests and the demo left on the machine's engine, and the second engine.
#
# usage: tests/tools/clean.sh                 containers, networks, volumes, the second engine
#        tests/tools/clean.sh --images        the test images and the caches too
#        tests/tools/clean.sh --remember FILE writes down what is there now, and removes nothing
#        tests/tools/clean.sh --since FILE    only what is not in FILE
#
# Ours is what carries a label io.steadfast.test*, belongs to a stack whose name begins with sf- or
# steadfast-demo, or is a container of a steadfast-test/* image. Nothing else is ever touched.
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "$0")/../.." && pwd)
engine28=$root/tests/engines/engine28.sh

inspect() { # KIND IDS...
    [ $# -gt 1 ] || { echo '[]'; return; }
    docker "$1" inspect "${@:2}" 2>/dev/null || true
}

ours() { # what `docker KIND inspect` prints: gives the identifiers of what is ours
    jq -r '
        def stack: test("^(sf-|steadfast-demo)");
        def labels: (.Config.Labels // .Labels // {});
        .[] | select(
            (labels | to_entries | any(.key | startswith("io.steadfast.test")))
            or (labels["com.docker.compose.project"] // "" | stack)
            or (labels["io.steadfast.keeper"] // "" | stack)
            or (.Name // "" | ltrimstr("/") | ltrimstr("io.steadfast.owner.") | stack)
            or (.Config.Image // "" | startswith("steadfast-test/")))
        | .Id // .Name'
}

# One line "kind identifier" for each thing of ours.
find_ours() {
    local kind
    # shellcheck disable=SC2046 # lists of identifiers
    for kind in container network volume; do
        case $kind in
        container) inspect container $(docker container ls -aq --no-trunc) ;;
        *) inspect "$kind" $(docker "$kind" ls -q) ;;
        esac | ours | sed "s/^/$kind /"
    done
}

remove() { # lines "kind identifier" on standard input
    local kind identifier
    while read -r kind identifier; do
        case $kind in
        container) timeout 60 docker rm -fv "$identifier" ;;
        *) timeout 30 docker "$kind" rm "$identifier" ;;
        esac >/dev/null </dev/null && echo "removed $kind $identifier" || true
    done
}

reachable() { command -v docker >/dev/null && command -v jq >/dev/null && timeout 10 docker version >/dev/null 2>&1; }

case ${1:-} in
--remember)
    : >"$2"
    if "$engine28" status >/dev/null 2>&1; then echo engine28 >>"$2"; fi
    if reachable; then find_ours >>"$2"; fi
    exit
    ;;
--since) before=$2 ;;
'' | --images) before=/dev/null ;;
*) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

if ! grep -qx engine28 "$before"; then
    if [ "${1:-}" = --images ]; then "$engine28" purge || true; else "$engine28" stop || true; fi
fi
if reachable; then
    # Containers first: they hold the networks and volumes.
    find_ours | { grep -vxFf "$before" || true; } | remove
    if [ "${1:-}" = --images ]; then
        # shellcheck disable=SC2046 # a list of names
        docker image rm $(docker image ls --format '{{.Repository}}:{{.Tag}}' 'steadfast-test/*') >/dev/null 2>&1 || true
        docker image prune -f --filter label=test.steadfast.recipe >/dev/null
    fi
fi
