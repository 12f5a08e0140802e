"""What one worker process holds: its name, its device, its models, and its signs of life."""

import logging
import multiprocessing
import os
import socket
import threading
import uuid
from typing import ClassVar, Self

from multav.errors import MultavError
from store import workers
from store.database import Database
from store.queue import Queue
from store.settings import Settings
from store.work_folders import WorkFolders
from worker.dataset_cache import DatasetCache
from worker.devices import choose_device, pool_size, share_threads
from worker.memory import keep_large_buffers
from worker.model_cache import ModelCache, warm_up
from worker.run_job import run_job
from worker.running_job import Flag

_log = logging.getLogger(__name__)
_SIGN_SECONDS = 2.0


class WorkerProcess:
    """Made once in each child of the pool, after the fork."""

    _current: ClassVar["WorkerProcess | None"] = None

    def __init__(self, settings: Settings, shutting_down: Flag) -> None:
        self.settings = settings
        self.shutting_down = shutting_down
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.database = Database(settings.database)
        self.queue = Queue(settings)
        keep_large_buffers()
        threads = share_threads(pool_size(settings))
        self.device = choose_device(settings, _index_in_pool())
        self.folders = WorkFolders(settings.data_dir / "work")
        self.models = ModelCache(self.database, self.device, self.folders, settings)
        self.datasets = DatasetCache(self.database, settings)
        self.job_id: str | None = None
        self._stopped = threading.Event()
        self._signs = threading.Thread(target=self._give_signs, name="signs-of-life", daemon=True)
        _log.info("worker %s on %s with %d threads", self.owner, self.device, threads)

    @classmethod
    def start(cls, settings: Settings, shutting_down: Flag) -> Self:
        """Make this process's worker, load the default model, and begin to give signs of life."""
        process = cls(settings, shutting_down)
        process.folders.remove_stale()
        try:
            warm_up(process.models.get(settings.default_model))
        except MultavError as error:
            _log.warning("the default model is not loaded ahead: %s", error)
        process._signs.start()
        WorkerProcess._current = process
        return process

    @classmethod
    def current(cls) -> "WorkerProcess":
        """This process's worker."""
        if cls._current is None:
            raise RuntimeError("no worker was started in this process")
        return cls._current

    def run(self, job_id: str) -> None:
        """Run the job if it still waits."""
        self.job_id = job_id
        try:
            run_job(
                job_id,
                owner=self.owner,
                database=self.database,
                queue=self.queue,
                settings=self.settings,
                process=self,
                shutting_down=self.shutting_down,
            )
        finally:
            self.job_id = None

    @classmethod
    def stop_current(cls) -> None:
        """Take leave, if a worker was started."""
        if cls._current is not None:
            cls._current._stop()

    def _stop(self) -> None:
        self._stopped.set()
        try:
            with self.database.write() as session:
                workers.leave(session, self.owner)
        except MultavError:
            _log.warning("could not sign off", exc_info=True)

    def _give_signs(self) -> None:
        while not self._stopped.is_set():
            try:
                with self.database.write() as session:
                    workers.beat(session, self.owner, device=self.device, job_id=self.job_id)
            except Exception:
                # A process that goes silent is taken for dead: whatever goes wrong, try again.
                _log.warning("a sign of life was lost", exc_info=True)
            self._stopped.wait(_SIGN_SECONDS)


def _index_in_pool() -> int:
    """Number of this process in its pool, from 0."""
    process = multiprocessing.current_process()
    return int(getattr(process, "index", 0) or 0)
