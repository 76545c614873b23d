#!/usr/bin/env bash
# Asks Compose anew what it makes of every case, and writes its answers beside the case:
#
#   oracle/config.json      the resolved model (`config --format json`) of Compose v2
#   oracle/inspect.json     what v2 creates on the engine, where `engine = true`
#   oracle/inspect-v1.json  what 1.29.2 creates, where `v1 = true`
#   refused/*/oracle.json   whether v2 refuses the file, and in which words
#
# usage: oracle.sh [NAME ...]     all cases, or those named
#
# COMPOSE_V2 and COMPOSE_V1 name the two programs; without them `tests/tools/compose.sh` fetches them.
# The engine is the one that `docker` talks to. Nothing is started; all that is created is removed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
v2=${COMPOSE_V2:-$("$here/../tools/compose.sh" v2 --path)}
v1=${COMPOSE_V1:-$("$here/../tools/compose.sh" v1 --path)}
# Seconds for one question. Compose answers SIGTERM by going on.
patience=60
label=io.steadfast.test=conformance
v2_version=$("$v2" version --short)
v1_version=$("$v1" version --short)
engine_version=$(docker version --format '{{.Server.Version}} (API {{.Server.APIVersion}})')

# The value of a one-line list or word in case.toml; such a line is JSON too.
setting() { # FILE KEY DEFAULT
  local value
  value=$(sed -n "s/^$2 *= *//p" "$1")
  printf '%s' "${value:-$3}"
}

# Runs Compose in a clean environment: only what the case sets is seen.
compose() { # PROGRAM ARGUMENT...
  local program=$1
  shift
  env -i PATH="$PATH" HOME=/nonexistent DOCKER_HOST="${DOCKER_HOST:-}" COMPOSE_PROJECT_NAME="$project" \
    "${environment[@]}" timeout --signal=KILL "$patience" "$program" "${files[@]}" "${profiles[@]}" "$@"
}

words() {
  jq --arg dir "$dir" --arg project "$project" --from-file "$here/words.jq"
}

# The networks and volumes that the case expects to be there already.
outside() { # create | remove
  local name
  for name in $(setting "$case_file" networks '[]' | jq -r '.[]'); do
    if [ "$1" = create ]; then docker network create --label "$label" "$project-$name" >/dev/null
    else docker network rm "$project-$name" >/dev/null; fi
  done
  for name in $(setting "$case_file" volumes '[]' | jq -r '.[]'); do
    if [ "$1" = create ]; then docker volume create --label "$label" "$project-$name" >/dev/null
    else docker volume rm "$project-$name" >/dev/null; fi
  done
}

# Writes an answer with the version that gave it.
record() { # FILE ORACLE
  jq --sort-keys --arg oracle "$2" '{oracle: $oracle, answer: .}' >"$1.new"
  mv "$1.new" "$1"
}

# Reads case.toml; sets dir, project, files, profiles, environment.
open_case() { # DIRECTORY
  local file
  dir=$1
  case_file=$dir/case.toml
  project=sf-conformance-$(basename "$dir" | cut -d- -f1)-$$
  files=() profiles=()
  for file in $(setting "$case_file" files '["compose.yaml"]' | jq -r '.[]'); do
    files+=(--file "$dir/$file")
  done
  for file in $(setting "$case_file" profiles '[]' | jq -r '.[]'); do
    profiles+=(--profile "$file")
  done
  mapfile -t environment < <(setting "$case_file" env '[]' | jq -r '.[]')
  cd "$dir"
}

ask() { # DIRECTORY
  open_case "$1"
  mkdir -p "$dir/oracle"
  if ! compose "$v2" config --format json >"$scratch" 2>"$scratch.err"; then
    cat "$scratch.err" >&2
    echo "$(basename "$dir"): $v2_version refused it" >&2
    return 1
  fi
  words <"$scratch" | record "$dir/oracle/config.json" "Compose $v2_version"
  if [ "$(setting "$case_file" engine false)" = true ]; then
    create "$v2" "$v2_version" inspect.json create --pull never --build=false || return 1
  fi
  if [ "$(setting "$case_file" v1 false)" = true ]; then
    create "$v1" "$v1_version" inspect-v1.json up --no-start || return 1
  fi
}

create() { # PROGRAM VERSION FILE ARGUMENT...
  local program=$1 version=$2 file=$3
  shift 3
  outside create
  if ! compose "$program" "$@" >"$scratch" 2>&1; then
    cat "$scratch" >&2
    "$here/remove.sh" "$project"
    outside remove
    echo "$(basename "$dir"): $program $version refused it" >&2
    return 1
  fi
  "$here/inspect.sh" "$project" "$dir" | record "$dir/oracle/$file" "Compose $version on Docker Engine $engine_version"
  "$here/remove.sh" "$project"
  outside remove
}

# A file that must be refused: what v2 says of it. Its words are a second opinion; ours are in refused.toml.
ask_refused() { # DIRECTORY
  open_case "$1"
  local refuses=true
  if [ "$(setting "$case_file" ask true)" = false ]; then
    refuses=null
    echo "not asked" >"$scratch"
  elif compose "$v2" config --format json >/dev/null 2>"$scratch"; then
    refuses=false
    : >"$scratch"
  fi
  jq --raw-input --slurp --argjson refuses "$refuses" \
    '{refuses: $refuses, words: rtrimstr("\n")}' "$scratch" | words |
    record "$dir/oracle.json" "Compose $v2_version"
}

scratch=$(mktemp)
project=none
trap 'rm -f "$scratch" "$scratch.err"; [ "$project" = none ] || "$here/remove.sh" "$project"' EXIT
"$here/images.sh"
failed=0
for directory in "$here"/cases/*/ "$here"/refused/*/; do
  directory=${directory%/}
  name=$(basename "$directory")
  if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
  case $directory in
    "$here"/cases/*) ask "$directory" || failed=1 ;;
    *) ask_refused "$directory" || failed=1 ;;
  esac
done
exit $failed
