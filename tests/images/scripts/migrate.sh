#!/bin/sh
# Migrations with nothing but psql and files: NUMBER_NAME.up.sql, and a .down.sql where there is a way back.
#
# usage: migrate.sh history           what there is, the oldest first
#        migrate.sh sql               what the ways back would do
#        migrate.sh up                all that is not applied
#        migrate.sh down REVISION     back to that one; `base` is none of them
set -eu
cd "$(dirname "$0")/migrations"
ask() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$DATABASE_URL" "$@"; }
names() { for file in *.up.sql; do echo "${file%.up.sql}"; done | sort -n; }
# A file and its row, in one transaction.
run() { # FILE STATEMENT
    { cat "$1"; echo ";$2;"; } | ask --single-transaction
}

case $1 in
history)
    for name in $(names); do
        if [ -e "$name.down.sql" ]; then echo "$name"; else echo "$name (one way)"; fi
    done
    ;;
sql)
    for name in $(names | sort -rn); do
        [ -e "$name.down.sql" ] || continue
        printf -- '-- Running downgrade %s -> \n' "$name"
        cat "$name.down.sql"
        printf 'DELETE FROM applied;\n'
    done
    ;;
up)
    ask -c "CREATE TABLE IF NOT EXISTS applied (number int PRIMARY KEY, name text NOT NULL)"
    for name in $(names); do
        number=${name%%_*}
        [ -z "$(ask -c "SELECT 1 FROM applied WHERE number = $number")" ] || continue
        run "$name.up.sql" "INSERT INTO applied VALUES ($number, '$name')"
    done
    ;;
down)
    keep=0
    [ "$2" = base ] || keep=${2%%_*}
    for name in $(ask -c "SELECT name FROM applied WHERE number > $keep ORDER BY number DESC"); do
        run "$name.down.sql" "DELETE FROM applied WHERE name = '$name'"
    done
    ;;
*)
    echo "usage: migrate.sh history | sql | up | down REVISION" >&2
    exit 2
    ;;
esac
