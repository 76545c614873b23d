#!/usr/bin/env bash
# The Debian package of a binary, for the tests: an older and a later one, which differ in nothing but the version.
#
# usage: tests/tools/package.sh ensure             installs cargo-deb where it is missing
#        tests/tools/package.sh make BINARY DIR    writes DIR/1.deb and DIR/2.deb
#
# Symbols are left out and little is compressed: it is to be quick.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/../.."

case ${1:-} in
ensure) exec make --no-print-directory cargo-deb ;;
make) ;;
*) sed -n '4,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
mkdir -p "$3"
directory=$(readlink -f "$3")
strip -o "$directory/steadfast" "$2"
for revision in 1 2; do
    make --no-print-directory deb BIN="$directory/steadfast" DEB_REVISION=$revision \
        DEB_FLAGS="--fast --output $directory/$revision.deb" >/dev/null
done
rm "$directory/steadfast"
