#!/usr/bin/env bash
# A second engine, the newest that Debian has (sid: 28 at the time of writing), beside the machine's own.
#
# usage: tests/engines/engine28.sh ensure       start it and give it the test images
#        tests/engines/engine28.sh start|stop   stop removes its containers, networks, volumes, bridge and rules
#        tests/engines/engine28.sh status       prints its version
#        tests/engines/engine28.sh env          prints the variables of its socket, for a shell to eval
#        tests/engines/engine28.sh restart      as a package upgrade does it: containers stop, and come back by their policies
#        tests/engines/engine28.sh crash        as a power cut: everything of it is killed, then started again
#        tests/engines/engine28.sh docker ...   its own client, speaking to it
#        tests/engines/engine28.sh purge        stop, and throw away the cached file system and images
#
# Exit codes: 0 done · 1 failed · 2 bad usage · 3 it cannot be had here, with the reason: count a skip.
#
# How: sid is unpacked into a directory, and dockerd runs in a mount namespace of its own in which /usr is
# sid's; all else is the machine's, so that bind mounts mean the same to both engines. It shares the network
# with the machine, so that ports and container addresses are reached as those of the other engine are. It
# leaves iptables alone, as the chains belong to the other engine: docker-proxy publishes its ports.
set -euo pipefail
export LC_ALL=C
self=$(readlink -f "$0")
tests=$(dirname "$(dirname "$self")")

cache=${STEADFAST_TEST_CACHE:-${XDG_CACHE_HOME:-/var/cache}/steadfast-test}
rootfs=$cache/engine28/rootfs
data=$cache/engine28/data
run=/run/steadfast-test
socket=$run/engine28.sock
pidfile=$run/engine28.pid
exec_root=$run/engine28
log=$run/engine28.log
bridge=sf-test28
bridge_address=10.228.0.1/24
pool=10.229.0.0/16 # of its networks, apart from those of the machine's engine
networks=$data/network/files/local-kv.db
packages=docker.io,docker-cli,iptables,iproute2,ca-certificates,fuse-overlayfs

say() { printf '[engine28] %s\n' "$*" >&2; }
cannot() { say "cannot be had here: $*"; exit 3; }
pid() { cat "$pidfile" 2>/dev/null; }
# Is it our dockerd, and not somebody who got its number later?
alive() { local p; p=$(pid) && [ -n "$p" ] && { tr '\0' ' ' <"/proc/$p/cmdline"; } 2>/dev/null | grep -qF -- "--pidfile=$pidfile"; }
client() { nsenter --mount --target "$(pid)" -- /usr/bin/docker --host "unix://$socket" "$@"; }
version() { alive && timeout 10 curl -sf --unix-socket "$socket" http://engine/version | sed -n 's/.*"Version":"\([0-9][^"]*\)","ApiVersion":"\([^"]*\)".*/\1 (API \2)/p' | grep .; }

unpack() {
    [ ! -f "$rootfs/.complete" ] || return 0
    say "unpacking Debian sid with its docker.io (once, about half a minute)"
    "$tests/tools/need.sh" mmdebstrap=mmdebstrap debian-archive-keyring || cannot "mmdebstrap is missing"
    rm -rf "$rootfs"
    mkdir -p "$rootfs"
    timeout 300 mmdebstrap --quiet --mode=root --variant=apt --format=directory \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "3"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --include="$packages" sid "$rootfs" </dev/null >&2 ||
        { rm -rf "$rootfs"; cannot "mmdebstrap could not make a sid (network, or mounting not allowed)"; }
    touch "$rootfs/.complete"
}

# Runs in the new mount namespace: sid's programs and libraries, then dockerd in this process's place.
inside() { # STORAGE_DRIVER
    local pools=()
    # A dockerd that has both address pools of its own and a default bridge from before deletes `docker0`, which
    # is the other engine's. So the pools are given to a first start only; `stop` makes the next one a first.
    [ -e "$networks" ] || pools=(--default-address-pool="base=$pool,size=24")
    mount --bind "$rootfs/etc/alternatives" /etc/alternatives
    mount --bind "$rootfs/etc/ld.so.cache" /etc/ld.so.cache
    mount --bind "$rootfs/usr" /usr
    exec /usr/sbin/dockerd --config-file=/dev/null --host="unix://$socket" --pidfile="$pidfile" \
        --data-root="$data" --exec-root="$exec_root" --storage-driver="$1" \
        --bridge="$bridge" "${pools[@]}" \
        --iptables=false --ip6tables=false --ip-masq=false \
        --exec-opt=native.cgroupdriver=cgroupfs --cgroup-parent=/steadfast-test-engine28
}

# Where the machine's engine drops what it does not know, containers on one bridge must still hear each other.
rule() { # -I or -D
    local words=(FORWARD -m physdev --physdev-is-bridged -m comment --comment steadfast-test-engine28 -j ACCEPT)
    while iptables -w 5 -D "${words[@]}" 2>/dev/null; do :; done
    [ "$1" = -D ] || iptables -w 5 -I "${words[@]}" 2>/dev/null || cannot "iptables takes no rule for bridged traffic"
}

launch() { # STORAGE_DRIVER
    local child first='' end=$((SECONDS + 45))
    [ -e "$networks" ] || first=yes
    setsid nohup unshare --mount --propagation slave bash "$self" inside "$1" >"$log" 2>&1 </dev/null 9>&- &
    child=$!
    until version >/dev/null; do
        if [ "$SECONDS" -ge "$end" ] || ! kill -0 "$child" 2>/dev/null; then
            end_it
            [ -z "$first" ] || rm -f "$networks"
            return 1
        fi
        sleep 0.2
    done
}

start() {
    if version >/dev/null; then return; fi
    [ "$(id -u)" = 0 ] || cannot "needs root"
    [ "$(readlink /bin)" = usr/bin ] || cannot "this system's /bin is not a link to usr/bin"
    "$tests/tools/need.sh" curl=curl ip=iproute2 iptables=iptables || cannot "curl, ip or iptables is missing"
    mkdir -p "$run" "$cache/engine28"
    exec 9>"$run/engine28.lock"
    flock -w 420 9 || cannot "another start has not finished in seven minutes"
    if version >/dev/null; then return; fi
    unshare --mount true 2>/dev/null || cannot "mount namespaces are not allowed"
    unpack
    end_it
    ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" type bridge || cannot "no bridge can be made"
    ip address replace "$bridge_address" dev "$bridge"
    ip link set "$bridge" up
    rule -I
    # The driver that worked last time is kept: the images are under it.
    local driver
    for driver in $(cat "$cache/engine28/driver" 2>/dev/null) overlay2 fuse-overlayfs vfs; do
        if launch "$driver"; then
            echo "$driver" >"$cache/engine28/driver"
            say "engine $(version) at $socket, on $driver"
            exec 9>&-
            return
        fi
        say "not on $driver: $(grep -iE 'failed|error' "$log" | tail -n 1 | cut -c1-300)"
    done
    stop
    cannot "dockerd does not come up (see $log)"
}

# Every process of this engine: its dockerd, containerd and shims name its directories.
processes() {
    local directory
    for directory in /proc/[0-9]*; do
        [ "${directory#/proc/}" != $$ ] || continue
        if { tr '\0' ' ' <"$directory/cmdline"; } 2>/dev/null | grep -qE -- "(--pidfile=$pidfile|$exec_root/)"; then
            printf '%s ' "${directory#/proc/}"
        fi
    done
}

end_it() {
    local end list
    if alive; then kill "$(pid)"; fi
    end=$((SECONDS + 20))
    while [ -n "$(processes)" ] && [ "$SECONDS" -lt "$end" ]; do
        alive || break
        sleep 0.2
    done
    list=$(processes)
    # shellcheck disable=SC2086 # a list of numbers
    [ -z "$list" ] || kill -9 $list 2>/dev/null || true
    rm -f "$socket" "$pidfile"
}

stop() {
    [ "$(id -u)" = 0 ] || cannot "needs root"
    if version >/dev/null; then
        local list
        list=$(client ps -aq) || true
        [ -z "$list" ] || timeout 120 bash "$self" docker rm -fv $list >/dev/null || true
        for kind in network volume; do timeout 30 bash "$self" docker "$kind" prune -f >/dev/null || true; done
        list=$(client volume ls -q) || true
        [ -z "$list" ] || timeout 60 bash "$self" docker volume rm -f $list >/dev/null || true
    fi
    end_it
    rule -D
    ip link delete "$bridge" 2>/dev/null || true
    rm -rf "$exec_root" "$networks"
    find /sys/fs/cgroup -depth -type d -path '*/steadfast-test-engine28*' -exec rmdir {} + 2>/dev/null || true
}

# The images are copied from the machine's engine, those whose recipe differs.
load() {
    local names wanted
    names=$("$tests/images/build.sh" --list)
    wanted=$(comm -23 <(recipes docker $names) <(recipes client $names) | cut -d' ' -f2)
    [ -n "$wanted" ] || return 0
    say "giving it $(wc -l <<<"$wanted") images"
    # shellcheck disable=SC2086 # a list of names
    timeout 300 docker save $wanted | timeout 300 nsenter --mount --target "$(pid)" -- /usr/bin/docker --host "unix://$socket" load >/dev/null
}
recipes() { # CLIENT NAMES...
    "$1" image inspect --format '{{range .RepoTags}}{{index $.Config.Labels "test.steadfast.recipe"}} {{.}}{{"\n"}}{{end}}' \
        "${@:2}" 2>/dev/null | grep . | sort -u || true
}

case ${1:-} in
inside) inside "$2" ;;
start) start ;;
ensure)
    start
    "$tests/images/build.sh" >&2
    load
    ;;
stop) stop ;;
purge)
    stop
    rm -rf "$cache/engine28"
    ;;
restart) end_it && start ;;
crash)
    # shellcheck disable=SC2046 # a list of numbers
    kill -9 $(processes) 2>/dev/null || true
    start
    ;;
status) version || { say "not running"; exit 3; } ;;
env) echo "export STEADFAST_TEST_ENGINE28=unix://$socket" ;;
docker) alive || { say "not running"; exit 3; }; shift; client "$@" ;;
*) sed -n '2,13s/^# \{0,1\}//p' "$self" >&2; exit 2 ;;
esac
