# The down scripts in directory $1; $2 is the version table.
cd "$1" || exit
for file in *.down.sql; do
    [ -e "$file" ] || continue
    version=${file%%_*}
    while case $version in 0?*) ;; *) false ;; esac; do version=${version#0}; done
    printf '\n-- Running downgrade %s -> \n' "$version"
    cat "$file"
    printf '\n;\nDELETE FROM "%s";\n' "$2"
done
