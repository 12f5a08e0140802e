"""`python -m worker.health`: exit code 0 while a worker process of this machine gives signs of life.

For container engines. It asks the database and not the worker: a process that computes has no time for answers.
"""

import socket
import sys
from typing import Final

from multav.errors import MultavError
from store import workers
from store.database import Database
from store.settings import load_settings

_FRESH_SECONDS: Final = 15.0


def main() -> int:
    """The exit code."""
    database = Database(load_settings().database)
    try:
        with database.read() as session:
            alive = workers.alive(session, within_seconds=_FRESH_SECONDS)
    except MultavError as error:
        print(error.detail)
        return 1
    finally:
        database.close()
    here = [worker for worker in alive if worker.id.startswith(f"{socket.gethostname()}:")]
    print(f"{len(here)} worker processes alive on {socket.gethostname()}")
    return 0 if here else 1


if __name__ == "__main__":
    sys.exit(main())
