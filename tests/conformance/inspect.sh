#!/usr/bin/env bash
# Prints what the engine holds of a project, normalised.
# usage: inspect.sh PROJECT DIRECTORY     (of the case; absolute)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
project=$1 directory=$2
filter=label=com.docker.compose.project=$project

raw() { # KIND ID...
  local kind=$1
  shift
  if [ $# = 0 ]; then echo '[]'; else docker "$kind" inspect "$@"; fi
}

# A container made with nothing but an image: what is said of it is the engine's default.
bare() {
  local id
  id=$(docker create --label io.steadfast.test=conformance steadfast-test/conformance:plain)
  docker inspect "$id"
  docker rm "$id" >/dev/null
}

mapfile -t containers < <(docker ps --all --quiet --filter "$filter")
mapfile -t networks < <(docker network ls --quiet --filter "$filter")
mapfile -t volumes < <(docker volume ls --quiet --filter "$filter")
jq --null-input --from-file "$here/normalise.jq" \
  --slurpfile bare <(bare) \
  --slurpfile containers <(raw container "${containers[@]}") \
  --slurpfile networks <(raw network "${networks[@]}") \
  --slurpfile volumes <(raw volume "${volumes[@]}") |
  jq --arg dir "$directory" --arg project "$project" --from-file "$here/words.jq"
