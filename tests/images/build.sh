#!/usr/bin/env bash
# Makes the images of the tests and the demo from Debian packages: no image registry is asked.
#
# usage: tests/images/build.sh          (honours DOCKER_HOST; does nothing where they are there)
#        tests/images/build.sh --list   prints the names of all images
#
# Every image carries a label with the digest of its recipe; one whose recipe has not changed
# is not made again. Needs a reachable engine, mmdebstrap, gcc and, for mmdebstrap, root.
set -euo pipefail
export LC_ALL=C DOCKER_BUILDKIT=0
cd "$(dirname "$0")"

label=test.steadfast.recipe
api_tags="v1.4.0 v1.5.0 v1.6.0 v1.7.0 v1.8.0 v1.9.0 crash"
frontend_tags="v1.4.0 v1.5.0 v1.6.0 v1.7.0 v1.8.0"
tiny_tags="v1 v2 v3 bad crash"
# Releases with migrations of other tools, by how many they have.
django_tags="v1 v2 v3"
scripts_tags="v1 v2 v3"

list() {
    echo steadfast-test/base:latest
    echo steadfast-test/systemd:latest
    echo steadfast-test/postgres:15
    echo steadfast-test/redis:7
    local tag
    for tag in $api_tags; do echo "steadfast-test/api:$tag"; done
    for tag in $frontend_tags; do echo "steadfast-test/frontend:$tag"; done
    for tag in $tiny_tags; do echo "steadfast-test/tiny:$tag"; done
    for tag in $django_tags; do echo "steadfast-test/django:$tag"; done
    for tag in $scripts_tags; do echo "steadfast-test/scripts:$tag"; done
    echo steadfast-test/tiny:volume-v1
    echo steadfast-test/tiny:volume-v2
}

say() { printf '[images] %s\n' "$*"; }
need() { command -v "$1" >/dev/null || { say "$1 is missing: $2" >&2; exit 1; }; }

packages=alembic,python3-sqlalchemy,python3-psycopg2,python3-fastapi,uvicorn,postgresql-15,nginx-light,redis-server,curl,procps

# Left out: documentation, and the JIT of Postgres, whose LLVM alone is larger than the rest.
bootstrap() {
    mmdebstrap --quiet --variant=minbase --format=tar \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "3"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/lib/postgresql/*/lib/bitcode/*' \
        --dpkgopt='path-exclude=/usr/lib/postgresql/*/lib/llvmjit*' \
        --dpkgopt='path-exclude=/usr/lib/*/libLLVM*' --dpkgopt='path-exclude=/usr/lib/llvm*' \
        --dpkgopt='path-exclude=/usr/lib/*/libz3*' \
        --essential-hook='mkdir -p "$1/etc/postgresql-common" && echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"' \
        --include="$packages" bookworm -
}

# A host to install the package on: nothing but what boots. Documentation is left out by the same words.
host_packages=systemd-sysv,dbus
bootstrap_host() {
    mmdebstrap --quiet --variant=minbase --format=tar \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "3"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --include="$host_packages" bookworm -
}

# The digest of a recipe: what it is built on, its files with their modes, and its arguments.
recipe() { # DIRECTORY WORDS...
    local directory=$1
    shift
    {
        printf '%s\n' "$@"
        [ "$directory" = none ] || (cd "$directory" && find . -type f ! -name '*.pyc' -perm /u+x -printf 'x %p\n' | sort &&
            find . -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum)
    } | sha256sum | cut -c1-24
}

# What the engine has: one line "recipe name" for each image of ours.
look() {
    # shellcheck disable=SC2046 # a list of names
    docker image inspect --format \
        "{{range .RepoTags}}{{index \$.Config.Labels \"$label\"}} {{.}}{{\"\n\"}}{{end}}" \
        $(list) 2>/dev/null | sort -u || true
}
have() { grep -qxF "$2 $1" <<<"$present"; } # NAME RECIPE

made=0
build() { # DIRECTORY BUILD_ARGUMENTS AND OPTIONS: prints the ID
    local log
    if ! log=$(docker build --quiet --force-rm "${@:2}" "$1" 2>&1); then
        printf '%s\n' "$log" >&2
        return 1
    fi
    tail -n 1 <<<"$log"
}

image() { # NAME DIRECTORY BUILD_ARGUMENTS...
    local name=$1 directory=$2 digest
    digest=$(recipe "$directory" "$base" "$(declare -f build)" "${@:3}")
    if have "$name" "$digest"; then return; fi
    say "building $name"
    build "$directory" "${@:3}" --label "$label=$digest" --tag "$name" >/dev/null
    made=$((made + 1))
}

# A release is the application of its directory with a version, and a page that shows it. It is committed from
# a container rather than built: each step of the old builder costs more than a second.
release() { # NAME DIRECTORY VERSION BUILD_ARGUMENTS...
    local name=$1 directory=$2 version=$3 digest application
    digest=$(recipe "$directory" "$base" "$(declare -f build release)" "${@:3}")
    if have "$name" "$digest"; then return; fi
    say "building $name"
    application=$(build "$directory" "${@:4}")
    container=$(docker create "$application")
    if [ "$directory" = frontend ]; then
        sed "s/@VERSION@/$version/" frontend/index.html >"$scratch/index.html"
        printf '%s\n' "$version" >"$scratch/version"
        docker cp -q "$scratch/index.html" "$container:/srv/www/index.html"
        docker cp -q "$scratch/version" "$container:/srv/www/version"
    fi
    docker commit --change "ENV VERSION=$version" --change "LABEL $label=$digest" "$container" "$name" >/dev/null
    docker rm "$container" >/dev/null
    container=
    made=$((made + 1))
}

# One static file and nothing else: a container of it takes next to no memory, and an import of it no time.
tiny_image() { # TAG VERSION MORE_CHANGES...
    local name=steadfast-test/tiny:$1 version=$2 digest change changes=()
    digest=$(recipe tiny "$(declare -f tiny_image)" "$@")
    if have "$name" "$digest"; then return; fi
    say "building $name"
    if [ ! -x "$scratch/tiny" ]; then
        need gcc "apt-get install gcc libc6-dev"
        gcc -D_GNU_SOURCE -Wall -Wextra -static -Os -s -o "$scratch/tiny" tiny/tiny.c
    fi
    for change in "ENV VERSION=$version" 'ENTRYPOINT ["/tiny"]' 'CMD ["serve"]' 'EXPOSE 8080' "LABEL $label=$digest" "${@:3}"; do
        changes+=(--change "$change")
    done
    tar -C "$scratch" -c tiny | docker import "${changes[@]}" - "$name" >/dev/null
    made=$((made + 1))
}

if [ "${1:-}" = --list ]; then list; exit; fi
need docker "install docker.io"
docker version >/dev/null || { say "the engine is not reachable" >&2; exit 3; }
exec 9>"${TMPDIR:-/tmp}/steadfast-test-images.lock"
flock -w 600 9 || { say "another build has not finished in ten minutes" >&2; exit 1; }
scratch=$(mktemp -d)
container=
trap 'rm -rf "$scratch"; [ -z "$container" ] || docker rm -f "$container" >/dev/null' EXIT
present=$(look)

base=$(recipe none "$(declare -f bootstrap)" "$packages")
if ! have steadfast-test/base:latest "$base"; then
    need mmdebstrap "apt-get install mmdebstrap"
    say "building steadfast-test/base from Debian packages (about a minute)"
    bootstrap | docker import --change "LABEL $label=$base" --change 'CMD ["bash"]' - steadfast-test/base:latest >/dev/null
    made=$((made + 1))
fi

host=$(recipe none "$(declare -f bootstrap_host)" "$host_packages")
if ! have steadfast-test/systemd:latest "$host"; then
    need mmdebstrap "apt-get install mmdebstrap"
    say "building steadfast-test/systemd from Debian packages (half a minute)"
    bootstrap_host | docker import --change "LABEL $label=$host" --change 'CMD ["/lib/systemd/systemd"]' - \
        steadfast-test/systemd:latest >/dev/null
    made=$((made + 1))
fi

image steadfast-test/postgres:15 postgres
image steadfast-test/redis:7 redis
for tag in $api_tags; do
    head=0001
    case $tag in v1.8.0) head=0002 ;; v1.9.0) head=0003 ;; esac
    release "steadfast-test/api:$tag" api "$tag" --build-arg "HEAD=$head"
done
for tag in $frontend_tags; do release "steadfast-test/frontend:$tag" frontend "$tag"; done
for tag in $tiny_tags; do tiny_image "$tag" "$tag"; done
# For the carrying over of anonymous volumes: an image that declares one, twice.
for tag in v1 v2; do tiny_image "volume-$tag" "$tag" 'VOLUME /data'; done
# The first of them installs Django, from Debian packages too; the others have that from the engine's cache.
for tag in $django_tags; do image "steadfast-test/django:$tag" django --build-arg "HEAD=000${tag#v}"; done
for tag in $scripts_tags; do image "steadfast-test/scripts:$tag" scripts --build-arg "HEAD=${tag#v}"; done
say "$made built, $(($(list | wc -l) - made)) already there"
