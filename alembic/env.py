"""Runs migrations for `store.database.migrate`, or for the alembic command with MULTAV_DATABASE_URL set."""

from sqlalchemy import create_engine, pool

from alembic import context
from store.settings import Settings
from store.tables import Table


def run() -> None:
    """Bring the schema to the wanted revision in one transaction."""
    url = context.config.attributes.get("url") or Settings().database
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=Table.metadata, render_as_batch=True, compare_type=True
        )
        with context.begin_transaction():
            context.run_migrations()


run()
