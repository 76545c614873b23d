#!/bin/sh
# Starts the api. Migrations are run only where MIGRATE_ON_START=1 asks for it.
set -eu
if [ "$VERSION" = crash ]; then
    echo "api crash: this release ends at once" >&2
    exit 1
fi
if [ "$1" = uvicorn ] && [ "${MIGRATE_ON_START:-0}" = 1 ]; then alembic upgrade head; fi
exec "$@"
