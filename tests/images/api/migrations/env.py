"""Runs the migrations against DATABASE_URL, or prints their SQL (`--sql`) without a database."""
import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import create_engine, pool

fileConfig(context.config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
