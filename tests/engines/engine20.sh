#!/usr/bin/env bash
# The machine's own engine, which the tests call the old one: Debian's docker.io.
#
# usage: tests/engines/engine20.sh ensure     installs and starts it where there is none
#        tests/engines/engine20.sh status     prints its version
#        tests/engines/engine20.sh env        prints DOCKER_HOST for a shell to eval
#
# Exit codes: 0 it answers · 1 failed · 3 it cannot be had here.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
log=/var/log/steadfast-test-dockerd.log

say() { printf '[engine] %s\n' "$*" >&2; }
cannot() { say "cannot be had here: $*"; exit 3; }
version() { timeout 10 docker version --format '{{.Server.Version}} (API {{.Server.APIVersion}})' 2>/dev/null; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

wait_for_it() { # SECONDS
    local end=$((SECONDS + $1))
    until version >/dev/null; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.3
    done
}

start() {
    say "starting dockerd"
    if [ -d /run/systemd/system ]; then
        as_root systemctl start docker
    else
        as_root mkdir -p /run
        as_root sh -c "nohup setsid dockerd >'$log' 2>&1 </dev/null &"
    fi
    wait_for_it 60 && return
    # The usual reason in a sandbox: no overlay on top of this file system.
    [ -d /run/systemd/system ] || [ ! -r "$log" ] || tail -n 5 "$log" >&2
    return 1
}

case ${1:-} in
ensure)
    if command -v docker >/dev/null && version >/dev/null; then exit 0; fi
    "$here/../tools/need.sh" docker.io iptables
    # Newer Debians have the client in a package of its own.
    "$here/../tools/need.sh" docker=docker-cli
    wait_for_it 2 || start || cannot "dockerd does not answer within a minute (see $log)"
    say "engine $(version)"
    ;;
status) version || { say "no engine answers"; exit 3; } ;;
env) echo "export DOCKER_HOST=${DOCKER_HOST:-unix:///var/run/docker.sock}" ;;
*) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
