"""Is the worker alive but taking no work? It happens to queue clients after a server was reset."""

from multav.errors import MultavError
from service.alive_workers import alive_workers
from service.machine import on_this_machine
from store import jobs
from store.database import Database


def worker_has_stalled(database: Database, *, running_seconds: float, stall_seconds: float) -> bool:
    """Whether a job has waited for long while no worker process of this machine does anything.

    A process that works, or that has only just become idle, is no stall; one that gives no sign of life is.
    """
    if running_seconds < stall_seconds:
        return False
    try:
        with database.read() as session:
            if (jobs.oldest_waiting_seconds(session) or 0.0) < stall_seconds:
                return False
            alive = alive_workers(session)
    except MultavError:
        # Nobody can work without the database, and a new worker could not either.
        return False
    here = [worker for worker in alive if on_this_machine(worker)]
    return all((worker.idle_seconds or 0.0) > stall_seconds for worker in here)
