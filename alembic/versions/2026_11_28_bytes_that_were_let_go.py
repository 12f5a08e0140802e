"""Bytes that were let go while they were in hand: they need no grace period."""

import sqlalchemy as sa

from alembic import op

revision = "e91c4a7d2b60"
down_revision = "c52e90b7d148"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("blobs", sa.Column("let_go", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("blobs", "let_go")
