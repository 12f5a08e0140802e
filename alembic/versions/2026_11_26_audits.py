"""Audits: jobs in parts, what a job uses, datasets, and what is known of each clip."""

import sqlalchemy as sa

from alembic import op

revision = "b3d8e5a10f27"
down_revision = "7a1f0c92d4e8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_uses",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("thing", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "thing", "name"),
    )
    op.create_index("ix_job_uses_thing_name", "job_uses", ["thing", "name"])
    op.execute(
        "INSERT INTO job_uses (job_id, thing, name) "
        "SELECT id, 'model', model_name FROM jobs WHERE model_name IS NOT NULL"
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_model_name"))
        batch_op.drop_column("model_name")
        batch_op.add_column(sa.Column("parent_id", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("place", sa.Integer(), nullable=False, server_default=sa.text("0")))
        batch_op.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default=sa.text("1")))
        batch_op.add_column(sa.Column("paused_at", sa.Double(), nullable=True))
        batch_op.create_foreign_key("fk_jobs_parent", "jobs", ["parent_id"], ["id"], ondelete="CASCADE")
        batch_op.create_index("ix_jobs_parent_state", ["parent_id", "state"])
        batch_op.create_index("ix_jobs_turn", ["state", "priority", "created_at", "parent_id", "place"])
    op.create_table(
        "datasets",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("root", sa.Text(), nullable=True),
        sa.Column("blob_id", sa.String(length=32), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("listing", sa.JSON(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"]),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("ix_datasets_blob_id", "datasets", ["blob_id"])
    op.create_table(
        "audit_clips",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("clip", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("label", sa.Integer(), nullable=False),
        sa.Column("group", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "position"),
    )
    op.create_table(
        "audit_outcomes",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("cell", sa.String(length=100), nullable=False),
        sa.Column("tested_on", sa.String(length=100), nullable=False),
        sa.Column("clip", sa.Integer(), nullable=False),
        sa.Column("label", sa.Integer(), nullable=False),
        sa.Column("clean", sa.Integer(), nullable=True),
        sa.Column("clean_confidence", sa.Double(), nullable=True),
        sa.Column("predicted", sa.Integer(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("attacked", sa.Boolean(), nullable=False),
        sa.Column("loss_start", sa.Double(), nullable=True),
        sa.Column("loss_end", sa.Double(), nullable=True),
        sa.Column("size", sa.Double(), nullable=True),
        sa.Column("l2", sa.Double(), nullable=True),
        sa.Column("changed", sa.Double(), nullable=True),
        sa.Column("epsilon", sa.Double(), nullable=True),
        sa.Column("gradients", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "model", "cell", "tested_on", "clip"),
    )
    op.create_index("ix_audit_outcomes_job_version", "audit_outcomes", ["job_id", "version", "place"])
    op.create_table(
        "speeds",
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("precision", sa.String(length=16), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("measured_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("model_sha256", "device", "precision"),
    )


def downgrade() -> None:
    for table in ("speeds", "audit_outcomes", "audit_clips"):
        op.drop_table(table)
    op.drop_index("ix_datasets_blob_id", "datasets")
    op.drop_table("datasets")
    # The older schema knows no jobs in parts.
    op.execute("DELETE FROM jobs WHERE parent_id IS NOT NULL")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index("ix_jobs_turn")
        batch_op.drop_index("ix_jobs_parent_state")
        batch_op.drop_constraint("fk_jobs_parent", type_="foreignkey")
        for column in ("paused_at", "priority", "place", "parent_id"):
            batch_op.drop_column(column)
        batch_op.add_column(sa.Column("model_name", sa.String(length=255), nullable=True))
        batch_op.create_index(batch_op.f("ix_jobs_model_name"), ["model_name"])
    op.execute(
        "UPDATE jobs SET model_name = (SELECT min(name) FROM job_uses "
        "WHERE job_uses.job_id = jobs.id AND job_uses.thing = 'model')"
    )
    op.drop_index("ix_job_uses_thing_name", "job_uses")
    op.drop_table("job_uses")
