"""The whole service on one machine, nothing to install: SQLite, Valkey, a Celery worker, the sweeper, the API.

One supervisor starts them in order, starts again what dies, and stops them in the reverse order. Data lies in
one folder; whatever is killed, and however, starting again loses nothing.
"""

import fcntl
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from pydantic import SecretStr

from multav.errors import MultavError
from service.supervised import Supervised
from service.valkey_server import ValkeyServer
from store import jobs, models, workers
from store.database import Database, migrate
from store.queue import Queue
from store.settings import Settings

_log = logging.getLogger(__name__)
_TICK: Final = 0.5
_BROKER_SECONDS: Final = 20.0


def serve(settings: Settings) -> int:
    """Run everything until SIGINT or SIGTERM; the exit code."""
    stop = threading.Event()
    handlers = {number: signal.signal(number, _stopper(stop)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _alone(settings.data_dir), _port_is_free(settings):
            return _serve(settings, stop)
    except _CannotStart as reason:
        print(f"multav cannot start: {reason}", file=sys.stderr)
        return 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class _CannotStart(Exception):
    """The service cannot start; the message says why and what to do."""


def _serve(settings: Settings, stop: threading.Event) -> int:
    prepare(settings)
    database = Database(settings.database)
    processes: list[Supervised] = []
    try:
        if not settings.broker_url.get_secret_value():
            valkey = ValkeyServer.of(settings.data_dir / "valkey")
            # Valkey rewrites its own process title, and a group of its own keeps it apart from Ctrl-C.
            processes.append(Supervised("valkey", valkey.command(), dict(os.environ)))
            settings = settings.model_copy(update={"broker_url": SecretStr(valkey.url)})
            processes[0].start()
        queue = Queue(settings)
        _wait_for_broker(queue, stop)
        environment = {**os.environ, **settings.environment()}
        worker = Supervised("worker", worker_command(settings), environment)
        processes.append(worker)
        processes.append(Supervised("sweeper", [sys.executable, "-m", "worker.sweeper"], environment))
        processes.append(Supervised("api", api_command(settings), environment))
        for process in processes:
            if process.process is None:
                process.start()
        print(
            f"multav on http://{settings.host}:{settings.port}  (documentation at /docs, data in {settings.data_dir}; "
            "Ctrl-C stops)",
            flush=True,
        )
        while not stop.wait(_TICK):
            for process in processes:
                process.keep_alive()
            _restart_if_stalled(worker, database, settings)
    finally:
        for process in reversed(processes):
            process.stop(settings.shutdown_seconds)
        database.close()
    return 0


def prepare(settings: Settings) -> None:
    """Bring the schema up to date and register the models that come with the code."""
    migrate(settings.database)
    database = Database(settings.database)
    models.register_shipped(database)
    database.close()


def worker_command(settings: Settings) -> list[str]:
    """The Celery worker's command line."""
    return [
        sys.executable,
        "-m",
        "celery",
        "--app",
        "worker.app",
        "worker",
        "--pool",
        "prefork",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "--loglevel",
        settings.log_level.lower(),
    ]


def api_command(settings: Settings) -> list[str]:
    """The API's command line."""
    return [
        sys.executable,
        "-m",
        "uvicorn",
        "service.app:app_from_environment",
        "--factory",
        "--host",
        settings.host,
        "--port",
        str(settings.port),
        "--log-level",
        settings.log_level.lower(),
        "--no-access-log",
        "--timeout-graceful-shutdown",
        "3",
    ]


def _restart_if_stalled(worker: Supervised, database: Database, settings: Settings) -> None:
    """End a worker that lives but takes no work: every process idle while a job has waited for long."""
    try:
        with database.read() as session:
            waited = jobs.oldest_waiting_seconds(session) or 0.0
            if waited < settings.worker_stall_seconds:
                return
            alive = workers.alive(session, within_seconds=10.0)
    except MultavError:
        return
    stalled = [each for each in alive if (each.idle_seconds or 0.0) > settings.worker_stall_seconds]
    if alive and len(stalled) == len(alive):
        _log.error("the worker is idle while a job has waited for %.0f s; starting it again", waited)
        worker.restart()
        with database.write() as session:
            for each in stalled:
                workers.leave(session, each.id)


def _wait_for_broker(queue: Queue, stop: threading.Event) -> None:
    deadline = time.monotonic() + _BROKER_SECONDS
    while not queue.ping():
        if time.monotonic() > deadline:
            raise _CannotStart("the queue's server does not answer; its log is above")
        if stop.wait(0.05):
            return


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Hold the data folder's lock, so that two services never share one."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _CannotStart(
                f"another multav service uses {data_dir.absolute()}: stop it, or choose another --data-dir"
            ) from None
        yield


@contextmanager
def _port_is_free(settings: Settings) -> Iterator[None]:
    """Refuse a port that somebody else listens on, before anything is started."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise _CannotStart(
                f"port {settings.port} of {settings.host} cannot be used ({error.strerror}): stop what listens there, "
                "or choose another --port"
            ) from None
    yield


def _stopper(stop: threading.Event):  # type: ignore[no-untyped-def]
    def handle(_: int, __: FrameType | None) -> None:
        stop.set()

    return handle
