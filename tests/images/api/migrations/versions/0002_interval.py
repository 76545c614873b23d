"""Adds the interval of a backtest (multi-timeframe strategies)."""
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("backtests", sa.Column("interval", sa.Text, nullable=True))


def downgrade():
    op.drop_column("backtests", "interval")
