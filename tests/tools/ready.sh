#!/usr/bin/env bash
# Makes the machine ready for the demo and the tests: an engine that answers, and the images.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ "$(id -u)" != 0 ] && ! docker version >/dev/null 2>&1 && ! sudo -n true 2>/dev/null; then
    echo "this needs root, or sudo without a password: it installs Docker and makes images" >&2
    exit 1
fi
command -v cargo >/dev/null || { echo "a Rust toolchain is missing: see https://rustup.rs or apt-get install cargo" >&2; exit 1; }
"$root/tests/tools/need.sh" gcc=gcc make=make curl=curl jq=jq mmdebstrap=mmdebstrap libc6-dev debian-archive-keyring
"$root/tests/engines/engine20.sh" ensure
"$root/tests/images/build.sh"
