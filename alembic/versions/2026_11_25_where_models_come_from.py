"""Where models come from: own code without a checkpoint, the SHA-256 beside the card, and what was asked for."""

import sqlalchemy as sa

from alembic import op

revision = "7a1f0c92d4e8"
down_revision = "c51030b753ef"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Every model there was came with the code.
    with op.batch_alter_table("models", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sha256", sa.String(length=64), nullable=True))
        batch_op.add_column(
            sa.Column("origin", sa.String(length=16), nullable=False, server_default="shipped")
        )
        batch_op.add_column(sa.Column("upload_hash", sa.String(length=64), nullable=True))
    op.execute("UPDATE models SET sha256 = (SELECT blobs.sha256 FROM blobs WHERE blobs.id = models.blob_id)")
    with op.batch_alter_table("models", schema=None) as batch_op:
        batch_op.alter_column("sha256", existing_type=sa.String(length=64), nullable=False)
        batch_op.alter_column("origin", existing_type=sa.String(length=16), server_default=None)
        batch_op.alter_column("blob_id", existing_type=sa.String(length=32), nullable=True)
        batch_op.create_index(batch_op.f("ix_models_upload_hash"), ["upload_hash"], unique=False)


def downgrade() -> None:
    # Models without a checkpoint have no place in the older schema; their operator's settings still name them.
    op.execute("DELETE FROM models WHERE blob_id IS NULL")
    with op.batch_alter_table("models", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_models_upload_hash"))
        batch_op.alter_column("blob_id", existing_type=sa.String(length=32), nullable=False)
        batch_op.drop_column("upload_hash")
        batch_op.drop_column("origin")
        batch_op.drop_column("sha256")
