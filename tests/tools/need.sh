#!/usr/bin/env bash
# Installs the Debian packages named, those that are missing, and says which.
#
# usage: tests/tools/need.sh PACKAGE...
# A word `COMMAND=PACKAGE` asks for the package only where the command is not there.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

missing=()
for word in "$@"; do
    case $word in
    *=*) command -v "${word%%=*}" >/dev/null || missing+=("${word#*=}") ;;
    *) dpkg-query -W -f '${Status}' "$word" 2>/dev/null | grep -q '^install ok installed' || missing+=("$word") ;;
    esac
done
[ ${#missing[@]} -gt 0 ] || exit 0

printf '[need] installing with apt-get: %s\n' "${missing[*]}" >&2
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n --preserve-env=DEBIAN_FRONTEND "$@"; fi; }
install() {
    as_root timeout 600 apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 \
        -o Acquire::Check-Valid-Until=false install -y --no-install-recommends "${missing[@]}" </dev/null >&2
}
# The lists are refreshed only where the packages are not to be had without: that takes the longest.
install 2>/dev/null || {
    as_root timeout 300 apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 \
        -o Acquire::Check-Valid-Until=false update </dev/null >&2
    install
}
