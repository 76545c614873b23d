#!/bin/bash
# Behaves as the entrypoint of the official postgres image does, in what the tests rely on:
# POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB (and their _FILE forms), POSTGRES_HOST_AUTH_METHOD,
# initdb on an empty PGDATA, /docker-entrypoint-initdb.d/*.sql and *.sh, never as root.
set -euo pipefail

from_file() { # NAME: takes the value from the file that NAME_FILE points to
    local file="${1}_FILE"
    [ -z "${!file:-}" ] || export "$1=$(<"${!file}")"
}

if [ "${1:-postgres}" != postgres ]; then exec "$@"; fi

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown postgres:postgres "$PGDATA"
    chmod 0700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
fi

for name in POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB; do from_file "$name"; done
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
        echo "error: database is uninitialized and superuser password is not specified: set POSTGRES_PASSWORD" >&2
        exit 1
    fi
    initdb --username="$user" --encoding=UTF8 --no-sync --no-instructions \
        --auth-local=trust --auth-host="$method" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-unused}")
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
    pg_ctl -w -s -o "-c listen_addresses=''" start
    if [ "$database" != postgres ]; then
        psql -v ON_ERROR_STOP=1 --no-password --username "$user" --dbname postgres \
            --set db="$database" <<<'CREATE DATABASE :"db";'
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sql) psql -v ON_ERROR_STOP=1 --username "$user" --dbname "$database" -f "$file" ;;
        *.sh) bash "$file" ;;
        esac
    done
    pg_ctl -w -s -m fast stop
    echo "PostgreSQL init process complete; ready for start up."
fi

# Left behind by a kill -9. Its number may be anybody's by now; only a living postgres counts.
if [ -f "$PGDATA/postmaster.pid" ]; then
    owner=$(head -n 1 "$PGDATA/postmaster.pid")
    [ "$(cat "/proc/$owner/comm" 2>/dev/null)" = postgres ] || rm -f "$PGDATA/postmaster.pid"
fi
exec "$@" -c listen_addresses='*'
