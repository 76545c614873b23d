"""Adds notes. Its way back is broken, as ways back are that nobody has tried: it fails, and what it has written by then
on a connection of its own stays written."""
import sqlalchemy as sa
from alembic import context, op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("backtests", sa.Column("notes", sa.Text, nullable=True))


def downgrade():
    if not context.is_offline_mode():
        with op.get_bind().engine.begin() as other:
            other.execute(sa.text("UPDATE backtests SET notes = NULL"))
    op.drop_column("backtests", "notes")
    raise RuntimeError("nobody has tried this")
