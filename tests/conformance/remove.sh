#!/usr/bin/env bash
# Removes what the engine holds of a test project: containers, networks and volumes.
# usage: remove.sh PROJECT     (it must begin with sf-conformance-)
set -euo pipefail
[[ $1 == sf-conformance-* ]] || exit 2
filter=label=com.docker.compose.project=$1
docker ps --all --quiet --filter "$filter" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
docker network ls --quiet --filter "$filter" | xargs --no-run-if-empty docker network rm >/dev/null
docker volume ls --quiet --filter "$filter" | xargs --no-run-if-empty docker volume rm >/dev/null
