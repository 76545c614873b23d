# The undo scripts below directory $1; $2 is the version table.
cd "$1" || exit
find . -name 'U*__*.sql' | sort | while read -r file; do
    version=${file##*/U}
    printf '\n-- Running downgrade %s -> \n' "$(printf %s "${version%%__*}" | tr _ .)"
    cat "$file"
    printf '\n;\nDELETE FROM "%s";\n' "$2"
done
