from django.db.migrations.exceptions import NodeNotFoundError
from django.db.migrations.loader import MigrationLoader

try:
    loader = MigrationLoader(None, replace_migrations=False)
except NodeNotFoundError:
    # Of what was squashed the files are gone, and others still name them.
    loader = MigrationLoader(None)
lines = {}
for key, migration in loader.disk_migrations.items():
    node = loader.graph.node_map.get(key)
    before = {parent.key for parent in node.parents} if node else set()
    before |= {tuple(old) for old in migration.replaces}
    lines[key] = before, all(operation.reversible for operation in migration.operations)
for migration in loader.disk_migrations.values():
    # The database has a row for each of them as well.
    for old in migration.replaces:
        lines.setdefault(tuple(old), (set(), False))
print("\nsteadfast: # all migrations of the project")
for key, (before, back) in sorted(lines.items()):
    names = ", ".join("%s.%s" % one for one in sorted(before))
    print("steadfast: %s.%s <- %s%s" % (*key, names, "" if back else " (one way)"))
