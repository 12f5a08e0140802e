"""The whole service on one machine, nothing to install: SQLite, Valkey, a Celery worker, the sweeper, the API.

One supervisor starts them in order, starts again what dies, and stops them in the reverse order. Data lies in
one folder; whatever is killed, and however, starting again loses nothing.
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from typing import Final

from pydantic import SecretStr

from multav.errors import Conflict, DependencyDown, NotFound
from multav.own_models import OwnModel, own_models
from service.commands import api_command, own_model_command, sweeper_command, worker_command
from service.instance import CannotStart, alone, usable_port
from service.model_folder import register_folder
from service.stall import worker_has_stalled
from service.supervised import Supervised
from service.supervisor import Supervisor, until_signalled
from service.valkey_server import ValkeyServer
from store import datasets, models
from store.database import Database, migrate
from store.queue import Queue
from store.settings import Settings

_log = logging.getLogger(__name__)
_BROKER_SECONDS: Final = 20.0


def serve(settings: Settings) -> int:
    """Run everything until SIGINT or SIGTERM; the exit code."""
    with until_signalled() as stop:
        try:
            with alone(settings.data_dir) as lock:
                port = usable_port(settings.host, settings.port)
                settings = settings.model_copy(update={"port": port})
                prepare(settings)
                with Supervisor(stop, settings.shutdown_seconds) as supervisor:
                    _serve(settings, supervisor, lock, stop)
        except CannotStart as reason:
            print(f"multav cannot start: {reason}", file=sys.stderr)
            return 1
    return 0


def serve_worker(settings: Settings) -> int:
    """Run a worker alone until SIGINT or SIGTERM, starting it again when it dies or takes no work; the exit code."""
    database = Database(settings.database)
    environment = {**os.environ, **settings.environment()}
    with until_signalled() as stop, Supervisor(stop, settings.shutdown_seconds) as supervisor:
        _register_own_models(settings, environment, stop)
        worker = supervisor.start(_worker(settings, environment))
        supervisor.watch(lambda: _kill_if_stalled(worker, database, settings))
    database.close()
    return 0


def prepare(settings: Settings) -> None:
    """Bring the schema up to date and register the models that come with the code or lie in the operator's folder."""
    migrate(settings.database)
    database = Database(settings.database)
    try:
        models.register_shipped(database)
        datasets.register_shipped(database)
        register_folder(database, settings)
        with database.read() as session:
            models.get(session, settings.default_model)
    except Conflict as error:
        raise CannotStart(f"a model that comes with the code cannot be registered: {error.detail}") from error
    except NotFound as error:
        if settings.default_model in _own_models(settings):
            # The workers make it and register it when they start.
            return
        raise CannotStart(f"MULTAV_DEFAULT_MODEL={settings.default_model}: {error.detail}") from error
    finally:
        database.close()


def require_parts(settings: Settings) -> None:
    """Raise `CannotStart` when a part that runs alone could never do its work with these settings.

    A queue or a database that is away at the moment is no reason: it may come back.
    """
    if not settings.broker_url.get_secret_value():
        raise CannotStart("no queue is set: give its URL in MULTAV_BROKER_URL, e.g. redis://localhost:6379/0")
    database = Database(settings.database)
    try:
        if not database.is_migrated():
            raise CannotStart(
                f"the database at {database.shown} has no tables yet: run `python -m service migrate` with the same "
                "settings first"
            )
    except DependencyDown as error:
        _log.warning("%s; starting all the same", error.detail)
    finally:
        database.close()


def _serve(settings: Settings, supervisor: Supervisor, lock: int, stop: threading.Event) -> None:
    if not settings.broker_url.get_secret_value():
        valkey = ValkeyServer.of(settings.data_dir / "valkey")
        supervisor.start(Supervised("valkey", valkey.command(), dict(os.environ), held=(lock,)))
        settings = settings.model_copy(update={"broker_url": SecretStr(valkey.url)})
    _wait_for_broker(settings, stop)
    environment = {**os.environ, **settings.environment()}
    _register_own_models(settings, environment, stop)
    supervisor.start(Supervised("api", api_command(settings), environment, held=(lock,)))
    worker = supervisor.start(_worker(settings, environment, lock))
    supervisor.start(Supervised("sweeper", sweeper_command(), environment, held=(lock,)))
    database, banner = Database(settings.database), _Banner(settings)

    def each_tick() -> None:
        banner.show_when_ready()
        _kill_if_stalled(worker, database, settings)

    supervisor.watch(each_tick)
    database.close()


def _register_own_models(settings: Settings, environment: dict[str, str], stop: threading.Event) -> None:
    """Have each piece of the operator's code tried in a process of its own, so that none stands in another's way."""
    for name in _own_models(settings):
        child = Supervised(f"own model {name}", own_model_command(name), environment)
        child.start()
        assert child.process is not None, "it was started"
        deadline = time.monotonic() + settings.check_in_seconds
        while child.process.poll() is None and time.monotonic() < deadline and not stop.wait(0.05):
            pass
        ended = child.process.poll()
        child.stop(settings.shutdown_seconds)
        if stop.is_set():
            return
        if ended is None:
            _log.error(
                "own model %s was not ready after %g s, and is not registered",
                name,
                settings.check_in_seconds,
            )
        elif ended:
            _log.error("own model %s was not registered (exit code %d); the reason is above", name, ended)


def _own_models(settings: Settings) -> Mapping[str, OwnModel]:
    try:
        return own_models(settings.own_models)
    except ValueError as error:
        raise CannotStart(str(error)) from error


def _worker(settings: Settings, environment: dict[str, str], *held: int) -> Supervised:
    # When its supervisor is killed, the worker may put its job back into the queue before it ends.
    return Supervised("worker", worker_command(settings), environment, held=held, death_signal=signal.SIGTERM)


def _kill_if_stalled(worker: Supervised, database: Database, settings: Settings) -> None:
    if worker_has_stalled(
        database, running_seconds=worker.running_seconds, stall_seconds=settings.worker_stall_seconds
    ):
        _log.error("the worker takes no work while jobs wait; starting it again")
        worker.kill()


def _wait_for_broker(settings: Settings, stop: threading.Event) -> None:
    queue = Queue(settings)
    deadline = time.monotonic() + _BROKER_SECONDS
    while not queue.ping() and not stop.wait(0.05):
        if time.monotonic() > deadline:
            raise CannotStart("the queue's server does not answer; its log is above")
    queue.close()


class _Banner:
    """Says once, as soon as the API answers, where it is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shown = False

    def show_when_ready(self) -> None:
        host, port = self._settings.host, self._settings.port
        if self._shown:
            return
        try:
            socket.create_connection((host, port), timeout=0.2).close()
        except OSError:
            return
        self._shown = True
        print(
            f"multav is ready on http://{host}:{port}  (documentation at /docs, data in {self._settings.data_dir}; "
            "Ctrl-C stops)",
            flush=True,
        )
