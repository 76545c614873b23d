from django.db import connection
from django.db.migrations.executor import MigrationExecutor

for revision in "{revision}".split(","):
    # By its whole name: the command takes the beginning of one, and fails where two begin with it.
    app, name = revision.split(".", 1)
    executor = MigrationExecutor(connection)
    target = (app, None if name == "zero" else name)
    executor.migrate([target])
