"""The database: SQLite in WAL mode or PostgreSQL, the same code for both.

SQLite is opened so that nothing is lost and nobody is told "database is locked": write-ahead log,
`synchronous=FULL` (an accepted job survives a power cut; a commit costs one fsync), and BEGIN IMMEDIATE for
writers, because a reader that becomes a writer fails at once without waiting.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.config import Config
from sqlalchemy import Double, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from alembic import command
from multav.errors import DependencyDown

_BUSY_SECONDS = 30
_VERSION_TABLE = "alembic_version"
_MIGRATIONS = Path(__file__).resolve().parent.parent / "alembic"

# Threads that ask a new process's first question at once must share one engine: the connections of a second one
# would never be closed. Held across a fork, so that no child is born with the lock of a thread it does not have.
_opening = threading.Lock()
os.register_at_fork(
    before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_opening.release
)


class now(FunctionElement[float]):  # noqa: N801 - an SQL function
    """The database's clock as seconds since 1970, the same for every process that asks."""

    type = Double()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_sqlite(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_postgresql(*_: Any, **__: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


class Database:
    """Transactions on one database. Safe to create before a fork: each process opens its own connections."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine: Engine | None = None
        self._process = 0

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self.url.startswith("sqlite")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads. Raises `DependencyDown` when the database is away."""
        with self._session(writes=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed when the block ends, and undone when it raises."""
        with self._session(writes=True) as session:
            yield session
            session.commit()

    def ping(self) -> None:
        """Raise `DependencyDown` unless the database answers."""
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def is_migrated(self) -> bool:
        """Whether the schema is there, of whatever version. Raises `DependencyDown`."""
        with self.read() as session:
            return inspect(session.connection()).has_table(_VERSION_TABLE)

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return make_url(self.url).render_as_string(hide_password=True)

    def close(self) -> None:
        """Close every connection."""
        with _opening:
            engine, self._engine = self._engine, None
        if engine is not None and self._process == os.getpid():
            engine.dispose()

    @contextmanager
    def _session(self, *, writes: bool) -> Iterator[Session]:
        try:
            connection = self.engine.connect()
        except (OperationalError, InterfaceError) as error:
            raise DependencyDown(f"the database cannot be reached: {error.orig}") from error
        try:
            with connection:
                if self.is_sqlite:
                    connection.info["begin"] = "BEGIN IMMEDIATE" if writes else "BEGIN"
                with Session(bind=connection, expire_on_commit=False, autoflush=False) as session:
                    yield session
        except (OperationalError, InterfaceError) as error:
            raise DependencyDown(f"the database does not answer: {error.orig}") from error

    @property
    def engine(self) -> Engine:
        """The connections of this process, the same for all of its threads."""
        with _opening:
            if self._engine is None or self._process != os.getpid():
                # Connections of a parent process must not be used, nor closed, by a child.
                if self._engine is not None:
                    self._engine.dispose(close=False)
                self._engine = _sqlite(self.url) if self.is_sqlite else _postgresql(self.url)
                self._process = os.getpid()
            return self._engine


def migrate(url: str, revision: str = "head") -> None:
    """Bring the schema of the database at `url` up (or down) to `revision`."""
    configuration = Config()
    configuration.set_main_option("script_location", str(_MIGRATIONS))
    configuration.attributes["url"] = url
    downgrade = revision == "base" or revision.startswith("-")
    (command.downgrade if downgrade else command.upgrade)(configuration, revision)


def _sqlite(url: str) -> Engine:
    path = url.removeprefix("sqlite:///")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
        pool_size=20,
        max_overflow=30,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        # The driver's own BEGIN would come too late and deferred.
        connection.isolation_level = None
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise DependencyDown(
                f"SQLite cannot keep a write-ahead log at {path} (mode {mode}): use a local disk"
            )
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(connection.info.get("begin", "BEGIN IMMEDIATE"))

    return engine


def _postgresql(url: str) -> Engine:
    return create_engine(
        url, pool_pre_ping=True, pool_size=20, max_overflow=30, connect_args={"connect_timeout": 5}
    )
