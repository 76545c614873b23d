//! What `--help` teaches of `steadfast init`.

/// Of `init`.
pub(in crate::cli) const INIT: &str = "\
Examples:
  steadfast init                          every Compose project that runs
  steadfast init --project shop
  steadfast init /srv/shop                whether it runs or not
  steadfast init /srv/shop --file docker-compose.prod.yml
  steadfast init --print                  show the files, write nothing
  steadfast init --output-dir ./try --json

It looks at the containers and the Compose files for tags, the database, what
migrates it, health pages and files to track, and says what the first run would
do. What it could not find out it lists, with what to do. Secrets are named,
never copied. Afterwards: steadfast check.

Touches: steadfast.toml, desired.toml, and the drop-in of the unit
(/etc/systemd/system/steadfast.service.d/stacks.conf; beside the others where
these are not in /etc/steadfast). Never a file that is there, unless --force,
which keeps it as NAME.old. Services are asked for their health pages; no
container is changed, and nothing is run in one.

Exit codes:
  0 written, or shown    1 no project that can be kept, or it failed
  2 bad usage    3 the engine is not reachable    5 files are there already";
