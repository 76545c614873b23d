from django.db import connection
from django.db.migrations.exceptions import NodeNotFoundError
from django.db.migrations.loader import MigrationLoader

try:
    loader = MigrationLoader(None, replace_migrations=False)
except NodeNotFoundError:
    loader = MigrationLoader(None)


def reduces_to_sql(operation):
    within = getattr(operation, "database_operations", [])
    return operation.reduces_to_sql and all(map(reduces_to_sql, within))


for key, migration in sorted(loader.disk_migrations.items()):
    # It writes its SQL into a list. What has to ask the database first cannot be said without one.
    editor = connection.SchemaEditorClass(connection, collect_sql=True, atomic=True)
    editor.deferred_sql = []
    try:
        migration.unapply(loader.project_state(key, at_end=False), editor, collect_sql=True)
        for statement in editor.deferred_sql:
            editor.execute(statement)
    except Exception:
        continue
    print("\n-- Running downgrade %s.%s -> " % key)
    print("\n".join(editor.collected_sql))
    if not all(map(reduces_to_sql, migration.operations)):
        print("DO 'what is written in Python';")
    print("DELETE FROM django_migrations;")
