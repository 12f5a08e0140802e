"""Trainings: their curves, and where they go on."""

import sqlalchemy as sa

from alembic import op

revision = "c52e90b7d148"
down_revision = "b3d8e5a10f27"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "training_points",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("series", sa.String(length=16), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Double(), nullable=False),
        sa.Column("loss", sa.Double(), nullable=True),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("learning_rate", sa.Double(), nullable=True),
        sa.Column("gradient_norm", sa.Double(), nullable=True),
        sa.Column("waiting", sa.Double(), nullable=True),
        sa.Column("clean_accuracy", sa.Double(), nullable=True),
        sa.Column("robust_accuracy", sa.Double(), nullable=True),
        sa.Column("train_clean_accuracy", sa.Double(), nullable=True),
        sa.Column("train_robust_accuracy", sa.Double(), nullable=True),
        sa.Column("best", sa.Boolean(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "series", "step"),
    )
    op.create_index("ix_training_points_job_version", "training_points", ["job_id", "version"])
    op.create_table(
        "training_checkpoints",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("blob_id", sa.String(length=32), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("written_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"]),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("ix_training_checkpoints_blob_id", "training_checkpoints", ["blob_id"])


def downgrade() -> None:
    op.drop_table("training_checkpoints")
    op.drop_table("training_points")
