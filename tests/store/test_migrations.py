"""The schema comes from the migrations, and they agree with the tables."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from store.database import Database, migrate
from store.tables import Table


def test_up_down_up(empty_url: str) -> None:
    database = Database(empty_url)
    migrate(empty_url)
    assert set(Table.metadata.tables) <= set(inspect(database.engine).get_table_names())
    migrate(empty_url, "base")
    database.close()
    assert set(inspect(database.engine).get_table_names()) <= {"alembic_version"}
    migrate(empty_url)
    migrate(empty_url)
    database.close()


def test_tables_and_migrations_agree(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
