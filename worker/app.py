"""The Celery application: one task, early acknowledgement, prefork.

    celery --app worker.app worker

The parent process never touches torch, CUDA or the database; each child does, after the fork. A warm shutdown
sets an event that was made before the fork: running jobs see it at their next check, go back to the queue, and
the worker leaves within seconds instead of hours.
"""

# mypy: disable-error-code="untyped-decorator"

import logging
import multiprocessing
import os
import signal
from typing import Any, Final

from celery import Celery
from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from multav.die_with_parent import die_with_parent
from store.queue import TASK, celery_settings
from store.settings import load_settings
from worker.devices import pool_size

# Read when torch is loaded, in the children: threads that wait for each other sleep instead of spinning, because the
# decoder and the encoder run beside them (2 to 100 times faster on a busy machine, no slower on an idle one).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SETTINGS: Final = load_settings()
SHUTTING_DOWN: Final = multiprocessing.Event()

app = Celery("multav")
app.conf.update(celery_settings(SETTINGS))
# A child loads torch and the default model before it reports for work; a busy machine takes its time.
app.conf.worker_proc_alive_timeout = 300.0

_log = logging.getLogger(__name__)


@setup_logging.connect
def _configure_log(**_: Any) -> None:
    logging.basicConfig(
        level=SETTINGS.log_level, format="%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)


@worker_init.connect
def _size_the_pool(sender: Any, **_: Any) -> None:
    sender.concurrency = pool_size(SETTINGS)


@worker_shutting_down.connect
def _announce_shutdown(**_: Any) -> None:
    SHUTTING_DOWN.set()


@worker_process_init.connect
def _start_process(**_: Any) -> None:
    # A child whose parent was killed gets no more work, but would go on to hold its job and its memory.
    die_with_parent()
    from worker.process import WorkerProcess

    try:
        WorkerProcess.start(SETTINGS, SHUTTING_DOWN)
    except Exception:
        # A pool would start such a child again and again; its supervisor does so with growing pauses.
        _log.critical("the worker cannot start", exc_info=True)
        os.kill(os.getppid(), signal.SIGTERM)


@worker_process_shutdown.connect
def _stop_process(**_: Any) -> None:
    from worker.process import WorkerProcess

    WorkerProcess.stop_current()


@app.task(name=TASK)
def run_job(job_id: str) -> None:
    """Run the job if it still waits; a second message for the same job finds nothing to do."""
    from worker.process import WorkerProcess

    WorkerProcess.current().run(job_id)
