"""Adds notes. Its way back is broken, as ways back are that nobody has tried."""
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("backtests", sa.Column("notes", sa.Text, nullable=True))


def downgrade():
    op.drop_column("backtests", "notes")
    raise RuntimeError("nobody has tried this")
