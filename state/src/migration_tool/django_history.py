from django.db.migrations.exceptions import NodeNotFoundError
from django.db.migrations.loader import MigrationLoader

try:
    loader = MigrationLoader(None, replace_migrations=False)
except NodeNotFoundError:
    # Of what was squashed the files are gone, and others still name them.
    loader = MigrationLoader(None)


def reversible(operation):
    # What stands for others says of itself that it can be reversed.
    within = getattr(operation, "database_operations", [])
    return operation.reversible and all(map(reversible, within))


lines = {}
for key, migration in loader.disk_migrations.items():
    node = loader.graph.node_map.get(key)
    before = {parent.key for parent in node.parents} if node else set()
    before |= {tuple(old) for old in migration.replaces}
    # Where what it stands for is there as well, Django leaves its row as it is, whichever way it goes.
    stands_for = any(tuple(old) in loader.disk_migrations for old in migration.replaces)
    lines[key] = before, not stands_for and all(map(reversible, migration.operations))
for migration in loader.disk_migrations.values():
    # The database has a row for each of them as well.
    for old in migration.replaces:
        lines.setdefault(tuple(old), (set(), False))
print("\nsteadfast: # all migrations of the project")
for key, (before, back) in sorted(lines.items()):
    names = ", ".join("%s.%s" % one for one in sorted(before))
    print("steadfast: %s.%s <- %s%s" % (*key, names, "" if back else " (one way)"))
